"""A sweep of 1,000 runs: runs per minute and memory, on one and two cores, local and on Ray, against a shell loop.

The same thousand runs each time: FTRL under bandit feedback in Shapley's game, ten step sizes, a hundred seeds. Wall
time of the whole command, since starting processes is what a sweep is about; memory is the proportional share (PSS) of
every process that the command has started, at its largest.
"""

import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from gamesim.benchmarks.processes import megabytes, processes
from gamesim.benchmarks.timing import Row, row

FILE = """
iterations = 100
every = "log"
seeds = {seeds}
batch = {batch}
[[runs]]
game = "matrix/shapley"
solver = "ftrl"
s = {{ step_size = {{ log = [0.01, 1.0], count = 10 }}, feedback = "bandit" }}
"""
ALONE = 10
"""Of runs that have a process each, a tenth is timed."""
LOOPED = 10
"""Runs of the shell loop that are timed; it has no start-up of its own, so a thousand take a hundred times as long."""


def thousand() -> Iterator[Row]:
    """Rows of `gamesim bench scale` about a thousand runs."""
    cores = sorted(os.sched_getaffinity(0))
    sizes = sorted({1, min(2, len(cores))})
    for count in sizes:
        usable = cores[:count]
        loop, memory = _loop(usable)
        yield row(f"shell loop, {count} core(s)", loop, None, None, f"s for 1,000 runs; {_rate(loop)}; {memory:.0f} MB")
        for engine in ("local", "ray") if find_spec("ray") else ("local",):
            for words, batch in (("", 128), (", one process a run", 1)):
                if engine == "ray" and batch == 1 and count == 1:
                    continue
                ours, memory = _sweep(engine, batch, usable)
                note = f"s for 1,000 runs; {_rate(ours)}; {memory:.0f} MB"
                yield row(f"sweep {engine}, {count} core(s){words}", ours, loop, 1.0, note)


def _rate(seconds: float) -> str:
    return f"{60_000 / seconds:,.0f} runs a minute"


def _sweep(engine: str, batch: int, cores: Sequence[int]) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as here:
        part = 1 if batch > 1 else ALONE
        (Path(here) / "s.toml").write_text(FILE.format(seeds=100 // part, batch=batch))
        words = ["sweep", "s.toml", "--engine", engine, "--workers", str(len(cores)), "--json"]
        seconds, memory = watched([sys.executable, "-m", "gamesim", *words], here, cores)
    return seconds * part, memory


def _loop(cores: Sequence[int]) -> tuple[float, float]:
    """Ten of the thousand from a shell, so many at once as there are cores (xargs -P)."""
    with tempfile.TemporaryDirectory() as here:
        words = "-s feedback=bandit --iterations 100 --every log"
        line = f"{shlex.quote(sys.executable)} -m gamesim run matrix/shapley ftrl -s step_size=0.1 {words} --seed {{}}"
        script = f"seq {LOOPED} | xargs -P {len(cores)} -I{{}} {line} --out run-{{}}"
        seconds, memory = watched(["sh", "-c", script], here, cores)
    return seconds * 1000 / LOOPED, memory


def watched(command: Sequence[str], folder: str, cores: Sequence[int]) -> tuple[float, float]:
    """Wall seconds of a command on some cores, and the largest memory of all that it started, in MB of PSS."""
    before, peak, over = set(processes()), 0.0, threading.Event()

    def look() -> None:
        nonlocal peak
        while not over.wait(0.2):
            peak = max(peak, sum(megabytes(p) for p in processes() if p not in before))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    subprocess.run(
        ["taskset", "-c", ",".join(map(str, cores)), *command], cwd=folder, env=environment, check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    over.set()
    watcher.join()
    return seconds, peak
