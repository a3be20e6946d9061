"""The table [tune]: what is asked for, that it is the same again after a kill, and what is refused."""

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from gamesim.errors import InvalidInput, MissingExtra
from gamesim.sweeps import tuning
from gamesim.sweeps.axes import Axis
from gamesim.sweeps.batches import batched
from gamesim.sweeps.design import plan_of
from gamesim.sweeps.plans import Planned
from gamesim.sweeps.results import Ended, ended
from gamesim.sweeps.tuning import judged, trials, tuning_of
from gamesim.sweeps.work import perform
from gamesim.traces import Trace

needs_optuna = pytest.mark.skipif(find_spec("optuna") is None, reason="needs optuna: pip install 'gamesim[tune]'")
FILE = """
iterations = 20
every = 20
seeds = 3
[[runs]]
game = "matrix/rock-paper-scissors"
solver = "ftrl"
start = "random"
s = {{ step_size = {axis} }}
[tune]
metric = "exploitability"
trials = {trials}
{more}
"""


def file(axis: str = "{ log-uniform = [0.001, 10.0] }", trials: int = 12, more: str = "batch = 4") -> str:
    return FILE.format(axis=axis, trials=trials, more=more)


def measured(run: Planned, *values: float, metric: str = "exploitability") -> Ended:
    """A run that measured these."""
    trace = Trace()
    trace.iterations += list(range(len(values)))
    trace.metrics[metric] = [torch.tensor([x], dtype=torch.float64) for x in values]
    return Ended(run, "done", trace, 0)


def played(text: str, loss: Any, keep: int = 10**6) -> list[list[Planned]]:
    """The waves of a file, where a step size costs `loss(step size)`; nothing is found any more after `keep` waves."""
    found, waves = dict[str, Ended](), list[list[Planned]]()
    for wave in trials(plan_of(text), found):
        waves.append(list(wave))
        if len(waves) > keep:
            break
        for run in wave:
            found[run.name] = measured(run, loss(float(run.s["step_size"])))
    return waves


def points(waves: Sequence[Sequence[Planned]]) -> list[str]:
    return list(dict.fromkeys(run.s["step_size"] for wave in waves for run in wave))


# --- what is asked for ------------------------------------------------------------------------------------------------


@needs_optuna
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_waves_are_as_wide_as_asked_and_every_trial_has_all_seeds(sampler: str) -> None:
    waves = played(file(trials=10, more=f'batch = 4\nsampler = "{sampler}"'), lambda x: abs(math.log(x)))
    assert [len(wave) for wave in waves] == [12, 12, 6]
    names = [run.name for wave in waves for run in wave]
    assert len(set(names)) == 30
    assert names[:4] == ["t0-0", "t0-1", "t0-2", "t1-0"]
    assert {run.seed for run in waves[0]} == {0, 1, 2}
    assert all(0.001 <= float(x) <= 10 for x in points(waves))
    assert all(len(batched(wave)) == 1 for wave in waves)  # one tensor batch


@needs_optuna
def test_tpe_comes_nearer_than_chance() -> None:
    def loss(x: float) -> float:
        return abs(math.log(x / 0.3))

    late = {"tpe": list[float](), "random": list[float]()}
    for sampler, found in late.items():
        for seed in range(3):
            waves = played(file(trials=40, more=f'batch = 5\nsampler = "{sampler}"\nseed = {seed}'), loss)
            found += [loss(float(x)) for x in points(waves)[20:]]
    assert sum(late["tpe"]) / len(late["tpe"]) < 0.5 * sum(late["random"]) / len(late["random"])


@needs_optuna
@pytest.mark.parametrize("keep", [0, 1, 2])
def test_after_a_kill_the_same_trials_are_asked_for_again(keep: int) -> None:
    whole = played(file(), abs)
    stopped = played(file(), abs, keep)
    assert stopped == whole[: keep + 1]
    assert played(file(), abs) == whole
    assert points(played(file(more="batch = 4\nseed = 1"), abs)) != points(whole)


@needs_optuna
def test_a_point_that_is_asked_for_twice_is_done_once() -> None:
    waves = played(file("[0.1, 0.5]", trials=9, more="batch = 3"), abs)
    assert sorted(points(waves)) == ["0.1", "0.5"]
    assert sum(len(wave) for wave in waves) == 2 * 3


@needs_optuna
def test_what_failed_or_diverged_is_kept_away_from() -> None:
    found, asked = dict[str, Ended](), list[float]()
    for wave in trials(plan_of(file(trials=48, more="batch = 6")), found):
        for run in wave:
            x = float(run.s["step_size"])
            asked.append(x)
            if x < 5 and run.seed == 2 and x > 0.5:
                continue  # it raised
            found[run.name] = measured(run, math.nan if x > 0.5 else 1.0 + abs(math.log(x / 0.1)))
    assert sum(x > 0.5 for x in asked[:36]) > sum(x > 0.5 for x in asked[-36:])
    assert sum(x > 0.5 for x in asked[-36:]) < 0.2 * 36


@needs_optuna
def test_returns_are_made_large() -> None:
    text = file(trials=30, more="batch = 5").replace('metric = "exploitability"', 'metric = "return_mean"')
    found, asked = dict[str, Ended](), list[float]()
    for wave in trials(plan_of(text), found):
        asked += [float(run.s["step_size"]) for run in wave]
        found |= {run.name: measured(run, math.log(float(run.s["step_size"])), metric="return_mean") for run in wave}
    assert sum(map(math.log, asked[-30:])) > sum(map(math.log, asked[:30]))


@needs_optuna
@pytest.mark.parametrize(
    ("axis", "kinds"),
    [
        ("{ uniform = [0.5, 2.0] }", "float"),
        ("{ integers = [1, 4] }", "int"),
        ('{ choice = ["0.5", "power(0.5, 0.5)"] }', "text"),
    ],
    ids=["uniform", "integers", "choice"],
)
def test_every_law_of_a_design(axis: str, kinds: str) -> None:
    waves = list[tuple[Planned, ...]]()
    for wave in trials(plan_of(file(axis, trials=6)), {}):  # all of them fail
        waves.append(wave)
    said = points(waves)
    if kinds == "float":
        assert all(0.5 <= float(x) <= 2 for x in said)
    elif kinds == "int":
        assert set(said) <= {"1", "2", "3", "4"}
    else:
        assert set(said) <= {"0.5", "power(0.5, 0.5)"}


@needs_optuna
def test_on_a_game(tmp_path: Path) -> None:
    """Steps of mirror descent by their real exploitability, each wave a tensor batch on disk; replayed from there."""
    text, found = file(trials=6, more="batch = 3"), dict[str, Ended]()
    waves = list[tuple[Planned, ...]]()
    for i, wave in enumerate(trials(plan_of(text), found)):
        waves.append(wave)
        for batch in batched(wave, prefix=f"t{i:04d}-"):
            perform(tmp_path, batch, 1)
            found |= {end.run.name: end for end in ended(tmp_path, batch)}
    assert sorted(p.name for p in (tmp_path / "batches").iterdir()) == ["t0000-0", "t0001-0"]
    again = list[tuple[Planned, ...]]()
    for i, wave in enumerate(trials(plan_of(text), replayed := dict[str, Ended]())):
        again.append(wave)
        for batch in batched(wave, prefix=f"t{i:04d}-"):
            replayed |= {end.run.name: end for end in ended(tmp_path, batch)}
    assert again == waves


# --- what counts ------------------------------------------------------------------------------------------------------


def several(*rows: Sequence[float], metric: str = "exploitability") -> list[Ended]:
    run = plan_of(file()).runs[0]
    return [measured(run, *row, metric=metric) for row in rows]


def test_the_median_over_seeds_of_the_last_or_the_best() -> None:
    ends = several([3, 1, 2], [9, 4, 5], [8, 0.5, 7])
    assert judged(ends, "exploitability", "last") == 5
    assert judged(ends, "exploitability", "best") == 1
    assert judged(several([3, 1], [4, 9], metric="score"), "score", "best") == 6


def test_diverged_seeds_are_the_worst_and_most_of_them_leave_nothing() -> None:
    assert judged(several([1], [2], [math.nan]), "exploitability", "last") == 2
    assert math.isnan(judged(several([1], [math.nan], [math.nan]), "exploitability", "last"))
    assert judged(several([1], [2], [math.nan], metric="return"), "return", "last") == 1
    assert judged(several([1, math.nan], [2, math.nan]), "exploitability", "best") == 1.5


def test_a_metric_that_nothing_measures_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"tune\.metric.*regrett.*exploitability"):
        judged(several([1]), "regrett", "last")


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"trials": 5}, "tune.metric"),
        ({"metric": "regret"}, "tune.trials"),
        ({"metric": "regret", "trials": 0}, "tune.trials: got 0"),
        ({"metric": "regret", "trials": 10**6}, "tune.trials: got 1000000"),
        ({"metric": "regret", "trials": 2.5}, "tune.trials: got 2.5"),
        ({"metric": "regret", "trials": True}, "tune.trials: got True"),
        ({"metric": "regret", "trials": 5, "batch": 0}, "tune.batch: got 0"),
        ({"metric": "regret", "trials": 5, "seed": 2**32}, "tune.seed"),
        ({"metric": "regret", "trials": 5, "seed": -1}, "tune.seed"),
        ({"metric": "regret", "trials": 5, "at": "end"}, "tune.at"),
        ({"metric": 5, "trials": 5}, "tune.metric"),
        ({"metric": "regret", "trials": 5, "sampler": "annealing"}, "tune.sampler"),
        ({"metric": "regret", "trials": 5, "sampler": ["tpe"]}, "tune.sampler"),
        ({"metric": "regret", "trials": 5, "trails": 5}, "trails"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_tables_that_are_wrong(table: Mapping[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        tuning_of(table)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lists_are_nothing_for_cma_es() -> None:
    with pytest.raises(InvalidInput, match=r"tune\.sampler: got 'cma-es'.*s\.regularizer is a list"):
        tuning_of({"metric": "regret", "trials": 5, "sampler": "cma-es"}, [Axis("s.regularizer", ("a", "b"), "choice")])


@pytest.mark.parametrize(("sampler", "package"), [("tpe", "optuna"), ("cma-es", "cmaes")])
def test_without_the_extra_the_command_that_installs_it_is_said(
    sampler: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "find_spec", lambda name: None if name == package else object())
    with pytest.raises(MissingExtra, match=rf"{package}.*pip install 'gamesim\[tune\]'"):
        tuning_of({"metric": "regret", "trials": 5, "sampler": sampler})
