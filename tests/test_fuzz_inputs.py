"""Generated files and values: whatever they are, they are taken or refused in a line."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hypothesis", reason="hypothesis is not installed")

import hypothesis
from hypothesis import strategies as st

from gamesim.benchmarks.fuzzing import child
from gamesim.benchmarks.fuzzing.trials import Outcome, judge, tried
from gamesim.benchmarks.fuzzing.values import good, spelled, typed
from gamesim.errors import InvalidInput, refuse
from gamesim.parameters import Count, Probability, convert


@pytest.mark.parametrize(("room", "count"), [("files", 120), ("catalogue", 150), ("public classes", 100)])
def test_inputs_are_taken_or_refused(room: str, count: int, tmp_path: Path) -> None:
    found = child.meet(room, count, None, tmp_path)
    assert not found["defects"], found["defects"]
    assert found["inputs"] >= count * 0.8
    assert found["refused"] > found["inputs"] / 5
    assert found["succeeded"] > found["inputs"] / 50


@pytest.mark.parametrize(
    ("code", "out", "err", "as_json", "verdict"),
    [
        (0, "fine", "", False, "succeeded"),
        (0, '{"a": 1}', "note: slow\n", True, "succeeded"),
        (0, '{"a": NaN}', "", True, "defect"),
        (0, "fine", "error: x\n", False, "defect"),
        (0, "", "Traceback (most recent call last)\n", False, "defect"),
        (1, "", "error: memory: too little\n", False, "stopped"),
        (2, "", "error: game: got 'x'\n", False, "refused"),
        (2, "", "note: a\nerror: game: got 'x'\n", False, "refused"),
        (2, "", "error: a\nerror: b\n", False, "defect"),
        (2, "", "", False, "defect"),
        (2, "{", "error: a\n", True, "defect"),
        (2, "", "error: " + "x" * 5000 + "\n", False, "defect"),
        (3, "", "", False, "defect"),
    ],
)
def test_the_judge_of_commands(code: int, out: str, err: str, as_json: bool, verdict: str) -> None:
    assert judge(code, out, err, as_json).verdict == verdict


def test_the_judge_of_calls() -> None:
    def no() -> None:
        raise refuse("a", 1, "2")

    def lines() -> None:
        raise InvalidInput("a\nb")

    assert tried(lambda: 1) == Outcome("succeeded")
    assert tried(no).verdict == "refused"
    assert tried(lines).verdict == "defect"
    assert tried(lambda: 1 // 0).verdict == "defect"
    assert "ZeroDivisionError" in tried(lambda: 1 // 0).words


def test_a_hang_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    from gamesim.benchmarks.fuzzing import trials

    def spin() -> None:
        while True:
            pass

    with pytest.raises(trials.TimeUp), trials.limited(cpu=0.05, clock=60):
        spin()
    with pytest.raises(trials.TimeUp), trials.limited(cpu=5, clock=0.05):
        time.sleep(10)
    monkeypatch.setattr(trials, "CPU_SECONDS", 0.05)
    assert "more than 0.05 s of CPU time" in tried(spin).words


@pytest.mark.parametrize("hint", [Count, Probability, bool, tuple[Probability, ...]], ids=str)
def test_good_values_are_good(hint: Any) -> None:
    """What the generators call good is taken, so that refusals are not all there is."""

    @hypothesis.settings(max_examples=30, derandomize=True, database=None)
    @hypothesis.given(good(hint))
    def each(value: Any) -> None:
        assert convert(spelled(value), hint, "x") == convert(value, hint, "x")

    each()


@hypothesis.settings(max_examples=200, derandomize=True, database=None)
@hypothesis.given(
    st.sampled_from([int, float, Count, Probability, tuple[float, ...]]).flatmap(
        lambda hint: st.tuples(st.just(hint), typed(hint))
    )
)
def test_texts_become_values_or_a_refusal(found: tuple[Any, str]) -> None:
    hint, text = found
    assert tried(lambda: convert(text, hint, "x")).verdict in ("succeeded", "refused")


def test_the_child_has_bounded_memory_and_says_what_came_of_it() -> None:
    command = [sys.executable, "-m", "gamesim.benchmarks.fuzzing.child", "public classes", "10", "1", "4"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=300
    )
    assert done.returncode == 0, done.stderr[-1000:]
    found = json.loads(done.stdout)
    assert found["inputs"] == 10
    assert found["defect"] == 0
