"""The engine `ray`: a task of a Ray cluster for each batch, on this machine or on many.

Tasks have no state but what is on disk: one whose worker or node died is begun anew by Ray, finds the folder of its
batch, and goes on from the last checkpoint. An exception of a game or a solver is not retried. All machines see the
sweep's folder under one path. What was measured comes back as tensors, through Ray's object store.

Ray's own processes tell each other Python objects with pickle. A cluster started here listens on the loopback device
alone and asks for a token; one that is joined by its address runs code for whoever reaches it, and is trusted.
"""

import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gamesim.errors import refuse
from gamesim.records import read_trace
from gamesim.sweeps.batches import Batch
from gamesim.sweeps.clusters import RETRIES, Cluster, first_line, imported, join, require_address, signals_kept
from gamesim.sweeps.engines import End, Event
from gamesim.sweeps.local import ended, workers_for
from gamesim.sweeps.work import folder_of, log_of

Traces = Mapping[str, Any]
"""The iterations measured, and by metric a tensor [measure, row]."""


class Ray:
    """Tasks of a Ray cluster: of one that is started here and ends with the sweep, or of the one at an address."""

    def __init__(self, slots: int | None = None, address: str | None = None, gpus: float = 0.0) -> None:
        if slots is not None and not 1 <= slots <= 1024:
            raise refuse("workers", slots, "a whole number from 1 to 1024")
        if not 0 <= gpus <= 64 or (gpus > 1 and gpus != int(gpus)):
            raise refuse("gpus", gpus, "GPUs for each batch: a share from 0 to 1, or a whole number")
        if address is not None:
            require_address(address)
        self._ray = imported(own=address is None)
        self.slots, self.address = slots or 1, address
        self.traces: dict[str, Traces] = {}
        """By name of a batch, what it measured."""
        self._asked, self._gpus, self._threads, self._root = slots, gpus, 1, Path()
        self._cluster: Cluster | None = None
        self._joined = False
        self._refs: dict[Any, Batch] = {}
        self._refused: list[Event] = []
        self._reached: dict[str, int] = {}
        self._waiting: dict[str, int] = {}
        """By name of a batch that has not begun, how long its log is already."""

    def open(self, root: Path, threads: int) -> None:
        self._root, self._threads = root.absolute(), threads
        (root / "logs").mkdir(exist_ok=True)
        if self._joined:
            return
        if self._ray.is_initialized():
            raise refuse("engine", "ray", "a process that has not called ray.init() itself")
        self._joined = True
        with signals_kept():
            if self.address is None:
                self._cluster = Cluster()
                self._cluster.start(self._ray, workers_for(threads, self._asked) * threads, threads)
            else:
                join(self._ray, self.address, threads)
        processors = [node["Resources"].get("CPU", 0) for node in self._ray.nodes() if node["Alive"]]
        if max(processors, default=0) < threads:
            raise refuse("threads", threads, f"at most {max(processors, default=0):g}, as many as a node of Ray has")
        self.slots = self._asked or max(1, sum(int(n // threads) for n in processors))
        self._task = self._ray.remote(task)
        self._ray._private.worker.print_to_stdstream = partial(note, self._root / "logs" / "ray.txt")

    def start(self, batch: Batch) -> None:
        gpus = (self._gpus or 1.0) if batch.runs[0].settings.device.startswith("cuda") else 0.0
        most = max((n["Resources"].get("GPU", 0) for n in self._ray.nodes() if n["Alive"]), default=0)
        if gpus > most:
            words = str(refuse("gpus", gpus, f"at most {most:g}, as many as a node of Ray has"))
            self._refused.append(Event(batch, 0, "refused", words))
            return
        work = self._task.options(
            num_cpus=self._threads, num_gpus=gpus, max_retries=RETRIES, retry_exceptions=False, name=batch.name
        )
        self._waiting[batch.name] = _size(log_of(self._root, batch))
        plan = self._ray.put(batch)  # once, whatever dies
        self._refs[work.remote(str(self._root), plan, self._threads)] = batch

    def wait(self, seconds: float) -> list[Event]:
        events, self._refused = self._refused, []
        if events or not self._refs:
            time.sleep(0 if events else seconds)
            return events
        ready, busy = self._ray.wait(list(self._refs), num_returns=1, timeout=seconds)
        events = [self._ended(ref, self._refs.pop(ref)) for ref in ready]
        for batch in (self._refs[ref] for ref in busy):
            if _size(log_of(self._root, batch)) <= self._waiting.get(batch.name, -1):
                continue
            reached = last_iteration(folder_of(self._root, batch) / "trace.csv")
            begun = self._waiting.pop(batch.name, None) is not None
            if begun or reached != self._reached.get(batch.name, 0):  # less than before, where another worker goes on
                self._reached[batch.name] = reached
                events.append(Event(batch, reached))
        return events

    def _ended(self, ref: Any, batch: Batch) -> Event:
        known = self._ray.exceptions
        reached = self._reached.pop(batch.name, 0)
        self._waiting.pop(batch.name, None)
        try:
            end, error, traces = self._ray.get(ref)
        except known.TaskCancelledError:
            return Event(batch, reached, "interrupted")
        except known.RayTaskError as wrong:
            return Event(batch, reached, "failed", first_line(getattr(wrong, "cause", None) or wrong))
        except known.RayError as gone:  # its worker or its node, more often than it was begun again
            return Event(batch, reached, "lost", first_line(gone))
        if end == "done":
            self.traces[batch.name] = traces
        return Event(batch, reached, end, error)

    def end(self, batch: Batch) -> None:
        for ref, own in self._refs.items():
            if own.name == batch.name:
                with suppress(Exception):  # it may have ended meanwhile
                    self._ray.cancel(ref, force=True)

    def stop(self) -> None:
        for ref in self._refs:
            with suppress(Exception):  # it may have ended meanwhile
                self._ray.cancel(ref)  # as Ctrl-C does: it saves its state

    def close(self) -> None:
        if self._joined:
            for ref in self._refs:
                with suppress(Exception):  # as above
                    self._ray.cancel(ref, force=True)
            self._refs.clear()
            with signals_kept():
                self._ray.shutdown()
            self._joined = False
        if self._cluster is not None:
            self._cluster.end()
            self._cluster = None


def task(root: str, batch: Batch, threads: int) -> tuple[End, str, Traces]:
    """What a worker does: the batch, with its words in a file; how it ended, and what was measured."""
    place = Path(root)
    if not (place / "logs").is_dir():
        wanted = f"a folder that every node of the cluster sees; {socket.gethostname()} does not"
        return "refused", str(refuse("out", root, wanted)), {}
    with saying(log_of(place, batch)):
        print(f"begun by process {os.getpid()} of {socket.gethostname()}", flush=True)
        end, error = ended(place, batch, threads, lambda iteration: None)
    if end != "done":
        return end, error, {}
    trace = read_trace(folder_of(place, batch))
    metrics = {name: torch.stack(list(values)) for name, values in trace.metrics.items()}
    return end, error, {"iterations": torch.tensor(trace.iterations), **metrics}


def note(log: Path, said: Mapping[str, Any], ignore_prefix: bool = False) -> None:
    """What Ray says of workers that died, which it would print among the results."""
    with suppress(OSError), log.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in said.get("lines", ()))


@contextmanager
def saying(log: Path) -> Iterator[None]:
    """What is printed goes to a file; workers of Ray are used again, so it goes back after."""
    kept = [os.dup(1), os.dup(2)]
    try:
        with log.open("a", encoding="utf-8") as file:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            yield
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        for number, before in zip((1, 2), kept, strict=True):
            os.dup2(before, number)
            os.close(before)


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def last_iteration(trace: Path) -> int:
    """How far a batch is, by the last whole line of its trace: no state is kept elsewhere."""
    try:
        with trace.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            lines = file.read().split(b"\n")[1:-1]
        return int(lines[-1].split(b",")[0])
    except (OSError, ValueError, IndexError):
        return 0
