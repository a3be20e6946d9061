"""The engine `local`: one process of this machine for each batch, forked from a server that has imported the most.

A process that is killed takes nobody with it; one whose sweep was killed ends by itself within a second.
"""

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, cast

from gamesim.errors import InvalidInput, cautions_in_a_line, refuse
from gamesim.kernels import PRELOADED
from gamesim.kernels.threads import THREADS
from gamesim.sweeps.batches import Batch
from gamesim.sweeps.engines import End, Event
from gamesim.sweeps.work import log_of, perform


@dataclass
class Worker:
    """A process at work on a batch, and the pipe on which it tells."""

    batch: Batch
    process: Any
    pipe: Connection
    event: Event | None = None


class Local:
    """Processes of this machine, `slots` at once."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._context = multiprocessing.get_context("forkserver")
        self._workers = list[Worker]()
        self._root, self._threads = Path(), 1

    def open(self, root: Path, threads: int) -> None:
        self._root, self._threads = root.absolute(), threads
        (root / "logs").mkdir(exist_ok=True)
        self._context.set_forkserver_preload(["gamesim.sweeps.work", "gamesim.sweeps.local", *PRELOADED])
        for name in THREADS:  # read when a library is loaded, which happens in the server
            os.environ.setdefault(name, str(threads))

    def start(self, batch: Batch) -> None:
        ours, theirs = self._context.Pipe(duplex=False)
        log = log_of(self._root, batch)
        arguments = (self._root, batch, self._threads, theirs, log)
        process = self._context.Process(target=work, args=arguments, daemon=True)
        with nobody_at_main():
            _started(process)
        theirs.close()
        self._workers.append(Worker(batch, process, ours))

    def wait(self, seconds: float) -> list[Event]:
        if not self._workers:
            time.sleep(seconds)
            return []
        wait([w.pipe for w in self._workers] + [w.process.sentinel for w in self._workers], seconds)
        return [event for worker in list(self._workers) for event in self._heard(worker)]

    def _heard(self, worker: Worker) -> list[Event]:
        events, dead = list[Event](), not worker.process.is_alive()
        try:
            while worker.pipe.poll():
                iteration, end, error = worker.pipe.recv()
                worker.event = Event(worker.batch, iteration, cast(End | None, end), error)
                if end is None:
                    events = [worker.event]
        except (EOFError, OSError):
            pass
        if not dead:
            return events
        worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)
        code = worker.process.exitcode
        if worker.event is None or worker.event.end is None:
            words = f"killed by signal {-code}" if code is not None and code < 0 else f"its process ended with {code}"
            return [Event(worker.batch, 0, "lost", words)]
        return [worker.event]

    def end(self, batch: Batch) -> None:
        for worker in self._workers:
            if worker.batch.name == batch.name and worker.process.is_alive():
                os.kill(worker.process.pid, signal.SIGUSR1)  # its log then says where it is
                time.sleep(0.2)
                worker.process.kill()

    def stop(self) -> None:
        for worker in self._workers:
            worker.process.terminate()  # the first is polite: it saves its state

    def close(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers.clear()


def _started(process: Any, tries: int = 50) -> None:
    """Start a process; where the server that forks is just dying, a new one takes its place."""
    for left in reversed(range(tries)):
        try:
            process.start()
            return
        except (ConnectionError, EOFError, BrokenPipeError):
            if not left:
                raise
            time.sleep(0.1)


def work(root: Path, batch: Batch, threads: int, pipe: Connection, log: Path) -> None:
    """What a process does: the batch, with its words in a file, and what became of it through the pipe."""
    threading.Thread(target=_end_with_the_sweep, daemon=True).start()
    with log.open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    faulthandler.enable()  # what crashes in a library says where
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    pipe.send((0, None, ""))
    reached, said = 0, 0.0

    def tell(iteration: int) -> None:
        nonlocal reached, said
        reached = iteration
        if time.monotonic() - said > 0.5:
            said = time.monotonic()
            pipe.send((iteration, None, ""))

    end, error = ended(root, batch, threads, tell)
    pipe.send((reached, end, error))


def ended(root: Path, batch: Batch, threads: int, tell: Any) -> tuple[End, str]:
    """Do a batch and say how it ended, in a word and, where it is wrong, a line."""
    try:
        with cautions_in_a_line():
            code = perform(root, batch, threads, tell)
    except InvalidInput as error:
        return "refused", str(error)
    except Exception as error:  # of a game, a solver or the machine; the sweep goes on with the others
        traceback.print_exc()
        return "failed", f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ("interrupted" if code >= 128 else "done"), ""


def _end_with_the_sweep() -> None:
    """Nobody waits for a worker whose sweep is gone; its state is on disk."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@contextmanager
def nobody_at_main() -> Iterator[None]:
    """New processes would import the script that started the sweep: without a guard it would start another."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = type(sys)("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def workers_for(threads: int, asked: int | None) -> int:
    """How many processes: those asked for, or one for each so many processors that this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if asked is not None and not 1 <= asked <= 1024:
        raise refuse("workers", asked, "a whole number from 1 to 1024")
    return asked or max(1, usable // threads)
