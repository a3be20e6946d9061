"""Batches that crash or never come back: killed after some patience, taken apart, said; done once the cause is gone."""

import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gamesim.cli import main
from gamesim.errors import InvalidInput
from gamesim.files import read_json
from gamesim.sweeps.batches import Batch, batched
from gamesim.sweeps.design import plan_of
from gamesim.sweeps.engines import End, Event
from gamesim.sweeps.scheduler import TICK, UnderWay, sweep
from test_sweeps import SMALL, Here, rows
from test_sweeps_ray import needs_ray

pytestmark = pytest.mark.filterwarnings("ignore::gamesim.errors.Caution")


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gamesim.sweeps.scheduler.figures_of", lambda root: [])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that only waiting moves."""
    clock = SimpleNamespace(now=0.0)
    timing = SimpleNamespace(monotonic=lambda: clock.now, perf_counter=lambda: clock.now)
    monkeypatch.setattr("gamesim.sweeps.scheduler.time", timing)
    return clock


class Hanging(Here):
    """Every batch with the run `stuck` begins, measures twice, four seconds apart, and is silent then."""

    def __init__(self, clock: SimpleNamespace, stuck: str, *, dies_as: End = "lost") -> None:
        super().__init__()
        self.clock, self.stuck, self.dies_as = clock, stuck, dies_as
        self.killed, self.hung = list[str](), list[tuple[float, Event]]()

    def start(self, batch: Batch) -> None:
        if all(run.name != self.stuck for run in batch.runs):
            super().start(batch)
            return
        self.started.append(batch.name)
        self.hung = [(self.clock.now + 4 * i, Event(batch, 5 * i)) for i in range(3)]

    def wait(self, seconds: float) -> list[Event]:
        due = [event for at, event in self.hung if at <= self.clock.now]
        self.hung = [x for x in self.hung if x[0] > self.clock.now]
        self.clock.now += seconds
        return [*super().wait(seconds), *due]

    def end(self, batch: Batch) -> None:
        self.killed.append(batch.name)
        self._events.append(Event(batch, 0, self.dies_as, "killed by signal 9" if self.dies_as == "lost" else ""))


@pytest.mark.parametrize("dies_as", ["lost", "interrupted"])  # as processes say it, and as Ray does
def test_it_is_killed_taken_apart_and_said(dies_as: End, clock: SimpleNamespace, tmp_path: Path) -> None:
    engine = Hanging(clock, "2", dies_as=dies_as)
    summary, code = sweep(plan_of(SMALL), tmp_path / "s", engine, patience=7)
    assert engine.killed == ["b0", "b0.2"]  # once each, and not begun again as one that died is
    assert engine.started == ["b0", "b0.0", "b0.1", "b0.2", "b0.3", "b1"]
    assert (code, summary["status"], summary["done"], summary["failed"], summary["missing"]) == (1, "failed", 7, 1, 0)
    (failure,) = summary["failures"]
    assert failure["run"] == "2"
    assert failure["error"] == "stalled: nothing was measured for 7 s after iteration 10"
    assert failure["command"].startswith("gamesim run matrix/chicken ftrl")
    assert 2 * (8 + 7) <= clock.now <= 2 * (8 + 7) + 10 * 0.25
    again = Here()
    assert sweep(plan_of(SMALL), tmp_path / "s", again, patience=7, resume=True)[0]["status"] == "done"
    sweep(plan_of(SMALL), tmp_path / "whole", Here())
    assert rows(tmp_path / "s") == rows(tmp_path / "whole")


def test_measures_that_come_in_time_are_signs_of_life(clock: SimpleNamespace, tmp_path: Path) -> None:
    """Eight seconds in all, four between two of them: a patience of six is not for the whole."""
    engine = Hanging(clock, "0")
    sweep(plan_of(SMALL), tmp_path / "s", engine, patience=6)
    assert clock.now >= 2 * (8 + 6)


def test_one_that_ended_while_it_was_killed_is_taken_as_it_is(clock: SimpleNamespace, tmp_path: Path) -> None:
    class Late(Hanging):
        def end(self, batch: Batch) -> None:
            self.killed.append(batch.name)
            Here.start(self, batch)

    engine = Late(clock, "2")
    summary, code = sweep(plan_of(SMALL), tmp_path / "s", engine, patience=7)
    assert (code, summary["done"], engine.killed) == (0, 8, ["b0"])


def test_an_error_of_its_own_is_what_is_said(clock: SimpleNamespace, tmp_path: Path) -> None:
    class Raising(Hanging):
        def end(self, batch: Batch) -> None:
            self._events.append(Event(batch, 0, "failed", "ValueError: no"))

    summary, _ = sweep(plan_of(SMALL), tmp_path / "s", Raising(clock, "2"), patience=7)
    assert [f["error"] for f in summary["failures"]] == ["ValueError: no"]


def test_time_counts_from_the_beginning_and_a_stop_of_the_sweep_counts_little() -> None:
    (batch, *_) = batched(plan_of(SMALL).runs)
    under_way = UnderWay(batch)
    assert not any(under_way.wait(1, patience=2) for _ in range(100)), "it waits for a machine"
    under_way.hear(Event(batch, 0))
    assert not under_way.wait(3600, patience=2 * TICK), "the sweep itself was stopped, and has not listened"
    assert not under_way.wait(3600, patience=2 * TICK)
    assert under_way.wait(0.1, patience=2 * TICK)
    assert not under_way.wait(3600, patience=2 * TICK), "once"
    assert under_way.stalled


def test_without_patience_nobody_is_killed(clock: SimpleNamespace, tmp_path: Path) -> None:
    class Slow(Hanging):
        def wait(self, seconds: float) -> list[Event]:
            if self.clock.now > 10_000 and self.waiting is not None:
                Here.start(self, self.waiting)
                self.waiting = None
            return super().wait(seconds)

        def start(self, batch: Batch) -> None:
            super().start(batch)
            self.waiting: Batch | None = batch if batch.name == "b0" else None

    engine = Slow(clock, "0")
    summary, code = sweep(plan_of(SMALL), tmp_path / "s", engine)
    assert (code, summary["done"], engine.killed) == (0, 8, [])


@pytest.mark.parametrize("patience", [0, 0.5, -1, float("nan"), float("inf"), "soon", True])
def test_seconds(patience: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidInput, match=r"^patience: got .*, expected a"):
        sweep(plan_of(SMALL), tmp_path / "s", Here(), patience=patience)
    file = tmp_path / "s.toml"
    file.write_text(SMALL)
    assert main(["sweep", str(file), "--plan", "--patience", str(patience)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "s").exists()


STUCK = '''
"""A solver that does not come back from its sixth step: it crashes, or hangs and lets nobody tell it to end."""
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from gamesim.algorithms.ftrl import FTRL


@dataclass(frozen=True)
class Stuck(FTRL):
    way: str = "well"

    def step(self, t, game, state, generator):
        if self.way != "well" and t == 5 and Path("stuck").exists():
            if self.way == "crashes":
                os.abort()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            while True:
                time.sleep(0.01)
        return super().step(t, game, state, generator)
'''
FILE = """
iterations = 10
[[runs]]
game = "matrix/chicken"
solver = "stuck:Stuck"
s = { feedback = "exact", way = ["hangs", "well", "crashes"] }
"""


@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=[needs_ray, pytest.mark.slow])])
def test_a_process_that_hangs(engine: str, tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text(STUCK)
    (tmp_path / "study.toml").write_text(FILE)
    (tmp_path / "stuck").touch()
    command = [sys.executable, "-m", "gamesim", "sweep", "study.toml", "--allow", "stuck:Stuck", "--patience", "3"]
    command += ["--engine", engine]

    def run(*more: str) -> Any:
        return subprocess.run(
            [*command, *more], cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip

    done = run()
    assert done.returncode == 1, done.stderr
    assert "run 0: stalled: nothing was measured for 3 s after iteration" in done.stderr
    out = tmp_path / "runs/study"
    failures = read_json(out / "failures.json")
    assert [f["run"] for f in failures] == ["0", "2"]
    if engine == "local":
        assert failures[1]["error"] == f"killed by signal {signal.SIGABRT.value}"
        for failure in failures:
            said = (tmp_path / failure["log"]).read_text()
            assert re.search(r'stuck\.py", line \d+ in step', said), "it says where it was"
    with (out / "results.csv").open(newline="") as file:
        assert {r["run"] for r in csv.DictReader(file)} == {"1"}
    (tmp_path / "stuck").unlink()
    assert run("--resume").returncode == 0
    with (out / "results.csv").open(newline="") as file:
        values = [(r["run"], r["iteration"], r["metric"], r["value"]) for r in csv.DictReader(file)]
    first, *others = ([x[1:] for x in values if x[0] == run] for run in "012")
    assert others == [first, first], "exact feedback: the three are one run"
    assert len(first) >= 11
