"""Comparisons: held to rliable's numbers, to scipy, and to resamples that are written out; and what they refuse."""

import csv
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import gamesim as gs
import gamesim.comparison
from gamesim import figures
from gamesim.cli import comparing  # noqa: F401  registers the command
from gamesim.cli.shell import main
from gamesim.comparison import Run, Table, compare, draw_comparison, estimates, read_table, table_of
from gamesim.comparison.ranking import holm, pair_tests, rank_test
from gamesim.comparison.resampling import (
    draw_counts,
    generator_of,
    interquartile_mean,
    mean,
    percentile,
    probability_below,
    quantile,
    share_below,
)
from gamesim.errors import InvalidInput
from gamesim.loop import Status
from gamesim.records import settings
from gamesim.traces import Trace

HEADER = "run,game,solver,seed,status,iteration,metric,value"

# Two algorithms, five tasks, nine and seven runs; the numbers of rliable 1.2.0 (arch 7.2.0, NumPy 2.4.6) on them:
# metrics.aggregate_iqm, aggregate_mean, aggregate_optimality_gap(gamma=1.5), probability_of_improvement, and percentile
# intervals of get_interval_estimates with 20,000 resamples (5,000 for the probability; profiles at 0.5, 1, 1.5, 2, 3).
X = [
    [1.001, 0.552, 1.342, 1.518, 0.331, 0.894, 0.399, 0.616, 1.069],
    [1.496, 1.337, 1.539, 0.746, 1.168, 0.521, 1.051, 1.281, 1.339],
    [1.448, 2.835, 1.665, 1.36, 1.067, 1.324, 1.156, 2.3, 1.079],
    [1.486, 1.644, 1.472, 1.22, 2.077, 1.871, 1.516, 1.605, 1.947],
    [1.961, 1.889, 2.183, 1.661, 2.299, 2.27, 3.09, 2.135, 3.46],
]
Y = [
    [0.507, 2.029, 1.934, 1.45, 1.141, 1.893, 1.942],
    [2.45, 0.925, 1.534, 1.272, 2.502, 0.689, 1.355],
    [1.979, 1.943, 2.516, 1.986, 3.153, 1.572, 1.629],
    [1.774, 2.715, 3.944, 1.53, 1.48, 2.111, 2.005],
    [5.464, 2.347, 2.056, 2.107, 1.997, 3.93, 4.403],
]
RLIABLE: dict[str, dict[str, tuple[float, float, float]]] = {
    "x": {
        "iqm": (1.45286957, 1.34856522, 1.57108696),
        "mean": (1.516, 1.39417722, 1.6474),
        "optimality_gap": (0.23877778, 0.17051, 0.30846722),
        "median": (1.472, 1.337, 1.518),
    },
    "y": {
        "iqm": (1.93778947, 1.77378816, 2.14784474),
        "mean": (2.12182857, 1.86234143, 2.39523),
        "optimality_gap": (0.09088571, 0.03022857, 0.16428571),
        "median": (1.979, 1.774, 2.056),
    },
}
RLIABLE_BETTER = (0.26031746, 0.14603175, 0.38095238)
RLIABLE_PROFILE = {
    "x": ((0.95555556, 0.84444444, 0.44444444, 0.2, 0.04444444), (0.88888889, 0.75555556, 0.35555556, 0.11111111, 0.0)),
    "y": ((1.0, 0.91428571, 0.77142857, 0.42857143, 0.14285714), (1.0, 0.82857143, 0.65714286, 0.28571429, 0.05714286)),
}


def runs_of(values: dict[str, list[list[float]]], metric: str = "gap", **more: Any) -> Table:
    """A table with a run for each number: solver -> task -> seed."""
    found = []
    for solver, tasks in values.items():
        for t, seeds in enumerate(tasks):
            for seed, value in enumerate(seeds):
                trace = {metric: (np.array([0, 5]), np.array([1.0, value]))}
                found.append(Run({"game": f"g{t}", "solver": solver}, seed, "", trace, "here"))
    return Table(("game", "solver"), tuple(found), **more)


def row_of(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    (row,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return row


def write(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


# The statistics


@pytest.mark.parametrize("metric", ["return", "gap"])
def test_aggregates_are_those_of_rliable(metric: str) -> None:
    sign = 1 if metric == "return" else -1  # a distance is minus what rises
    values = {"x": [[sign * v for v in task] for task in X], "y": [[sign * v for v in task] for task in Y]}
    found = compare(runs_of(values, metric), resamples=20_000, threshold=sign * 1.5)
    assert found.rises == (metric == "return")
    for name, statistics in RLIABLE.items():
        row = row_of(found.table(), group=name)
        for key, (value, low, high) in statistics.items():
            turned = sign if key != "optimality_gap" else 1
            assert row[key] == pytest.approx(turned * value, abs=1e-8), key
            ends = sorted((turned * row[f"{key}_low"], turned * row[f"{key}_high"]))
            assert ends == pytest.approx([low, high], abs=0.012), key  # the luck of 20,000 resamples, twice
    row = row_of(found.table("improvement"), better="x", than="y")
    assert row["probability"] == pytest.approx(RLIABLE_BETTER[0], abs=1e-8)
    assert [row["probability_low"], row["probability_high"]] == pytest.approx(RLIABLE_BETTER[1:], abs=0.012)
    other = row_of(found.table("improvement"), better="y", than="x")
    assert other["probability"] == pytest.approx(1 - row["probability"], abs=1e-12)


def test_profiles_are_those_of_rliable() -> None:
    taus = -np.array([0.5, 1.0, 1.5, 2.0, 3.0])
    for name, tasks in (("x", X), ("y", Y)):
        pooled = np.sort(-np.concatenate([np.array(task) for task in tasks]))
        exact = share_below(pooled, np.ones_like(pooled, int), taus)
        assert exact == pytest.approx(RLIABLE_PROFILE[name][0], abs=1e-8)
        parts = [np.sort(-np.array(task)) for task in tasks]
        generator = generator_of(0, name)
        drawn = sum(share_below(part, draw_counts(generator, len(part), 20_000), taus) for part in parts) / len(parts)
        assert percentile(drawn, 0.025) == pytest.approx(RLIABLE_PROFILE[name][1], abs=1 / len(pooled) + 1e-6)


def test_the_profile_counts_runs_up_to_each_threshold() -> None:
    found = compare(runs_of({"x": X, "y": Y}))
    pooled = np.sort(np.concatenate([np.array(task) for task in X]))
    rows = [row for row in found.table("profile") if row["group"] == "x"]
    for row in rows:
        assert row["share"] == pytest.approx(np.mean(pooled <= row["tau"]), abs=1e-12)
        assert row["low"] <= row["share"] <= row["high"]
    assert rows[-1]["share"] == 1.0
    assert rows[0]["tau"] == pytest.approx(0.331)
    assert np.ptp(np.diff(np.log([row["tau"] for row in rows]))) < 1e-9  # even in logarithms


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 11])
@pytest.mark.parametrize("lost", [0, 1, 3])
def test_statistics_of_counts_are_those_of_the_resample_written_out(n: int, lost: int) -> None:
    values = np.sort(np.random.Generator(np.random.Philox(n)).normal(size=n))
    values[n - min(lost, n) :] = np.inf
    counts = draw_counts(generator_of(3, "x"), n, 40)
    others = np.array([-0.4, -0.4, 0.2, np.inf])
    drawn = draw_counts(generator_of(4, "y"), 4, 40)
    assert (counts.sum(-1) == n).all()
    middle, average, better = (
        interquartile_mean(values, counts),
        mean(values, counts),
        probability_below(values, counts, others, drawn),
    )
    for i, (here, there) in enumerate(zip(counts, drawn, strict=True)):
        whole, beside = np.repeat(values, here), np.repeat(others, there)
        cut = n // 4
        assert middle[i] == pytest.approx(np.mean(whole[cut : n - cut]), abs=1e-12)
        assert average[i] == pytest.approx(np.mean(whole), abs=1e-12)
        for q in (0.1, 0.25, 0.5, 0.9):
            mine = quantile(values, counts, q)[i]
            place = q * (n - 1)
            ends = whole[math.floor(place)], whole[math.ceil(place)]
            wanted = ends[0] if place % 1 == 0 else np.inf if np.inf in ends else np.quantile(whole, q)
            assert mine == pytest.approx(wanted, abs=1e-12)
        if np.isfinite(whole).all():
            assert middle[i] == pytest.approx(stats.trim_mean(whole, 0.25), abs=1e-12)
        pairs = (whole[:, None] < beside) + 0.5 * (whole[:, None] == beside)
        assert better[i] == pytest.approx(pairs.mean(), abs=1e-12)


def test_the_probability_of_improvement_is_that_of_mann_and_whitney() -> None:
    x, y = np.sort(X[0]), np.sort(Y[0])
    u = stats.mannwhitneyu(y, x, alternative="greater").statistic / (len(x) * len(y))
    mine = probability_below(x, np.ones(len(x), int), y, np.ones(len(y), int))
    assert mine == pytest.approx(u, abs=1e-12)


def test_intervals_are_those_of_scipy() -> None:
    found = compare(runs_of({"x": X[:1]}), resamples=20_000, confidence=0.9)
    theirs = stats.bootstrap(
        (np.array(X[0]),), np.median, method="percentile", confidence_level=0.9, n_resamples=20_000,
        rng=np.random.Generator(np.random.Philox(1)),
    ).confidence_interval  # fmt: skip
    row = found.table()[0]
    assert [row["median_low"], row["median_high"]] == pytest.approx([theirs.low, theirs.high], abs=0.02)


def test_intervals_depend_on_neither_blocks_nor_company(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = compare(runs_of({"x": X, "y": Y}))
    alone = compare(runs_of({"y": Y})).table()[0]
    together = row_of(whole.table(), group="y")
    assert all(alone[key] == together[key] for key in alone if not key.startswith("rank"))
    monkeypatch.setattr(estimates, "BLOCK", 30_000)
    assert compare(runs_of({"x": X, "y": Y})).tables == whole.tables
    assert compare(runs_of({"x": X, "y": Y}), seed=1).table()[0]["iqm_low"] != whole.table()[0]["iqm_low"]


def test_intervals_cover_as_often_as_they_say() -> None:
    generator = np.random.Generator(np.random.Philox(5))
    covered, trials = 0, 400
    for trial in range(trials):
        values = np.sort(generator.normal(size=30))
        drawn = interquartile_mean(values, draw_counts(generator_of(trial, "x"), 30, 400))
        covered += int(percentile(drawn, 0.05) <= 0 <= percentile(drawn, 0.95))
    # the percentile interval of 30 values is a little short of its 90%; an interval of half the width has 59%
    assert stats.binomtest(covered, trials).proportion_ci(0.999).high > 0.88
    assert covered / trials < 0.95


# Ranks


def test_ranks_share_ties_and_are_of_medians() -> None:
    values = {"a": [[1.0, 3.0, 2.0]] * 2, "b": [[2.0, 2.0, 2.0], [9.0, 9.0, 9.0]], "c": [[5.0] * 3, [0.0] * 3]}
    found = compare(runs_of(values))
    each = {(row["group"], row["task"]): row["rank"] for row in found.table("ranks")}
    assert [each[name, "g0"] for name in "abc"] == [1.5, 1.5, 3.0]
    assert [each[name, "g1"] for name in "abc"] == [2.0, 3.0, 1.0]
    assert [each[name, "all tasks"] for name in "abc"] == [1.75, 2.25, 2.0]
    assert row_of(found.table(), group="a")["rank"] == 1.75
    assert row_of(found.table(), group="b")["rank_low"] >= 2.0  # it is last on g1 whatever is drawn


def test_tests_of_ranks_are_those_of_scipy() -> None:
    medians = np.random.Generator(np.random.Philox(2)).normal(size=(3, 9)) + np.array([[0.0], [0.5], [1.5]])
    tested = rank_test(medians)
    assert (tested.name, tested.p) == ("friedman", pytest.approx(stats.friedmanchisquare(*medians).pvalue))
    plain = [stats.wilcoxon(medians[i], medians[j]).pvalue for i, j in ((1, 0), (2, 0), (2, 1))]
    pairs = pair_tests(medians)
    assert [pairs[1, 0], pairs[2, 0], pairs[2, 1]] == pytest.approx(holm(plain))
    assert pairs[0, 1] == pairs[1, 0]
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert rank_test(np.arange(12.0).reshape(2, 6)).p == 2 / 2**6  # all tied, and exact all the same
    many = np.random.Generator(np.random.Philox(3)).normal(0.3, 1, size=(2, 30))
    assert rank_test(many).p == pytest.approx(stats.wilcoxon(*many, method="asymptotic").pvalue)


def test_tests_are_silent_where_they_would_say_nothing() -> None:
    assert rank_test(np.zeros((3, 5))).p is None
    assert "fewer than 6" in rank_test(np.zeros((3, 5))).words
    assert rank_test(np.zeros((3, 6))).p is None
    assert rank_test(np.zeros((2, 6))).p is None
    assert rank_test(np.zeros((1, 6))).p is None
    assert np.isnan(pair_tests(np.full((2, 8), np.inf))).all()
    lost = np.stack([np.full(8, np.inf), np.arange(8.0)])
    assert pair_tests(lost)[0, 1] < 0.05  # to diverge everywhere is to be worse


# Runs that diverged, ended early, or are missing


def test_a_diverged_run_is_the_worst_and_is_told() -> None:
    values = {"a": [[0.1, 0.2, 0.3, 0.4, math.nan]], "b": [[1.0, 2.0, 3.0, 4.0, 5.0]], "c": [[math.inf] * 5]}
    found = compare(runs_of(values), threshold=0.35)
    a, c = (row_of(found.table(), group=name) for name in "ac")
    assert a["diverged"] == 1
    assert a["iqm"] == pytest.approx(0.3)  # of five values the middle three
    assert (a["mean"], a["optimality_gap"], c["iqm"], c["median"]) == (math.inf,) * 4
    assert (a["reached"], c["reached"]) == (0.6, 0.0)
    assert a["iqm_high"] == math.inf  # resamples with two of it have it in the middle half
    assert max(row["share"] for row in found.table("profile") if row["group"] == "a") == 0.8
    assert row_of(found.table("improvement"), better="a", than="b")["probability"] == 0.8
    assert "1 of 5 runs of a diverged and count as the worst" in found.notes
    assert json.loads(json.dumps(found.plain()["notes"]))


def test_what_rises_is_the_mirror_of_what_falls() -> None:
    up = compare(runs_of({"x": X, "y": Y}, "score"))
    down = compare(runs_of({n: [[-v for v in task] for task in tasks] for n, tasks in (("x", X), ("y", Y))}, "gap"))
    for a, b in zip(up.table(), down.table(), strict=True):
        assert a["rank"] == b["rank"]
        assert (a["iqm"], a["iqm_low"], a["iqm_high"]) == (-b["iqm"], -b["iqm_high"], -b["iqm_low"])
        assert (a["lower_quartile"], a["upper_quartile"]) == (-b["upper_quartile"], -b["lower_quartile"])
    assert up.table("improvement") == down.table("improvement")
    lost = compare(runs_of({"x": [[1.0, math.nan]], "y": [[0.5, 0.6]]}, "score"))
    assert row_of(lost.table(), group="x")["mean"] == -math.inf


def trace(iterations: list[int], values: list[float]) -> dict[str, Any]:
    return {"gap": (np.array(iterations), np.array(values))}


def test_the_point_of_comparison() -> None:
    runs = (
        Run({"solver": "a"}, 0, "out-of-iterations", trace([0, 5, 10], [3.0, 1.0, 2.0])),
        Run({"solver": "a"}, 1, "converged", trace([0, 5], [3.0, 0.5])),
        Run({"solver": "b"}, 0, "diverged", trace([0, 5, 10], [3.0, 0.25, math.nan])),
        Run({"solver": "b"}, 1, "diverged", trace([0, 5], [3.0, 7.0])),  # larger than can be: no NaN in its trace
    )
    table = Table(("solver",), runs)
    medians = {at: [row["median"] for row in compare(table, at=at).table()] for at in ("last", "best", 5, 10)}
    assert medians["last"] == [1.25, math.inf]
    assert [row["diverged"] for row in compare(table).table()] == [0, 2]
    assert medians["best"] == [0.75, (0.25 + 3.0) / 2]
    assert medians[5] == [0.75, (0.25 + 7.0) / 2]
    assert medians[10] == [1.25, math.inf]
    assert any("1 runs had ended before iteration 10" in note for note in compare(table, at=10).notes)
    with pytest.raises(InvalidInput, match=r"at: got 7, expected one that every run has: 0, 5 \(2 of 4 runs"):
        compare(table, at=7)
    with pytest.raises(InvalidInput, match="at: got 11"):
        compare(table, at=11)


def test_curves_go_on_where_a_run_has_ended() -> None:
    runs = (
        Run({"solver": "a"}, 0, "out-of-iterations", trace([0, 5, 10], [4.0, 3.0, 2.0])),
        Run({"solver": "a"}, 1, "converged", trace([0, 5], [3.0, 0.5])),
        Run({"solver": "a"}, 2, "diverged", trace([0, 5, 10], [5.0, 6.0, math.nan])),
    )
    rows = compare(Table(("solver",), runs)).table("curves")
    assert [(row["iteration"], row["runs"], row["median"]) for row in rows] == [(0, 3, 4.0), (5, 3, 3.0), (10, 3, 2.0)]
    assert [row["upper_quartile"] for row in rows] == [4.5, 4.5, math.inf]
    assert rows[1]["lower_quartile"] == np.percentile([3.0, 0.5, 6.0], 25)
    lost = Run({"solver": "a"}, 0, "diverged", trace([0, 5], [4.0, 1e9]))  # larger than can be
    assert [row["median"] for row in compare(Table(("solver",), (lost,))).table("curves")] == [4.0, math.inf]


def test_what_is_missing_is_said() -> None:
    table = runs_of({"a": [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], "b": [[2.0, 3.0], []], "c": [[2.0, 3.0, 4.0], [5.0]]})
    found = compare(table)
    assert found.shared == ("g0",)
    assert found.tasks == ("g0", "g1")
    notes = "\n".join(found.notes)
    assert "incomplete: b lacks seed 2 of g0; b has no run of g1; c lacks seeds 1, 2 of g1" in notes
    assert "1 of 2 tasks are not of every group" in notes
    assert "one seed only, so no interval: c on g1" in notes
    assert row_of(found.table("tasks"), group="c", task="g1")["median_low"] is None
    assert row_of(found.table(), group="a")["runs"] == 3  # of the task that all share
    with pytest.raises(InvalidInput, match="task in common"):
        compare(runs_of({"a": [[1.0], []], "b": [[], [1.0]]}))


def test_one_seed_has_no_interval() -> None:
    found = compare(runs_of({"a": [[1.0]], "b": [[2.0, 3.0]]}))
    a, b = found.table()
    assert (a["iqm"], a["iqm_low"], a["rank_low"]) == (1.0, None, None)
    assert b["iqm_low"] == 2.0
    assert row_of(found.table("improvement"), better="a", than="b")["probability_low"] is None
    assert "one seed only, so no interval: a on g0" in found.notes
    partly = compare(runs_of({"a": [[1.0], [2.0, 3.0]]}))
    assert partly.table()[0]["iqm_low"] is None  # a task that cannot vary would make it too short
    assert row_of(partly.table("tasks"), task="g1")["median_low"] == 2.0


# Groups and tasks


def steps(values: dict[tuple[str, str], list[float]]) -> Table:
    runs = [
        Run({"game": "g", "solver": solver, **({"s.step_size": step} if step else {})}, seed, "", trace([1], [value]))
        for (solver, step), seeds in values.items()
        for seed, value in enumerate(seeds)
    ]
    return Table(("game", "solver", "s.step_size"), tuple(runs))


def test_groups_are_solvers_with_the_parameters_that_vary() -> None:
    table = steps({("ftrl", "0.1"): [1.0, 2.0], ("ftrl", "1.0"): [3.0, 4.0], ("exp3", ""): [5.0, 6.0]})
    found = compare(table)
    assert found.by == ("solver", "s.step_size")
    assert found.names == ("ftrl step_size=0.1", "ftrl step_size=1.0", "exp3")
    assert found.tasks == ("g",)
    pooled = compare(table, by="solver", pool="s.step_size")
    assert [(row["group"], row["runs"], row["median"]) for row in pooled.table()] == [
        ("ftrl", 4, 2.5),
        ("exp3", 2, 5.5),
    ]
    assert any(note.startswith("pooled: s.step_size has 3 values") for note in pooled.notes)
    assert compare(table, pool="s.step_size").by == ("solver",)
    with pytest.raises(InvalidInput, match="task in common"):  # then the step size is part of the task
        compare(table, by="solver")


def test_one_parameter_for_all_is_no_group() -> None:
    table = steps({("ftrl", "0.1"): [1.0, 2.0], ("exp3", "0.1"): [5.0, 6.0]})
    assert compare(table).names == ("ftrl", "exp3")
    crossed = steps({(s, e): [1.0, 2.0] for s in ("ftrl", "exp3") for e in ("0.1", "1.0")})
    assert compare(crossed, by="s.step_size").tasks == ("ftrl", "exp3")
    assert compare(crossed, by=["s.step_size"]).names == ("step_size=0.1", "step_size=1.0")


# Reading


def test_a_sweep_is_read(tmp_path: Path) -> None:
    lines = [f"g-{s}-{i},g,{s},{i},out-of-iterations,{t},{m},{v + i + t}" for s, v in (("a", 1), ("b", 2))
             for i in range(3) for t in (0, 4) for m in ("exploitability", "distance")]  # fmt: skip
    write(tmp_path / "s/results.csv", *lines, "g-b-3,g,b,3,failed,,,")
    failures = [{"run": name, "error": "x"} for name in ("g-c-0", "g-a-0")]  # one that diverged is in the table, too
    (tmp_path / "s/failures.json").write_text(json.dumps(failures))
    table = read_table(tmp_path / "s")
    assert table.metrics == ["exploitability", "distance"]
    assert len(table.runs) == 7
    found = compare(tmp_path / "s")
    assert found.metric == "exploitability"
    assert [row["median"] for row in found.table()] == [6.0, 7.0]
    notes = "\n".join(found.notes)
    assert "1 run of" in notes
    assert "has not ended" in notes
    assert "left out: 1 run with status failed" in notes
    (tmp_path / "s/DONE").write_text("done")
    assert "has not ended" not in "\n".join(read_table(tmp_path / "s").notes)
    assert compare(tmp_path / "s", tmp_path / "s/results.csv").table()[0]["runs"] == 3  # twice is once
    other = write(tmp_path / "t.csv", "x,g,a,0,done,0,exploitability,9")
    with pytest.raises(InvalidInput, match="differ for the same configuration and seed 0"):
        read_table(tmp_path / "s", other)


def test_runs_are_read(tmp_path: Path) -> None:
    game = gs.make("matrix/rock-paper-scissors")
    results = {}
    for name, step in (("slow", 0.1), ("fast", 0.5)):
        solver = gs.make_solver("ftrl", step_size=step, feedback="bandit")
        typed: Any = ({}, {"step_size": str(step)})
        ids = ("matrix/rock-paper-scissors", "ftrl")
        record = gs.Record(tmp_path / name, settings(game, solver, iterations=9, seeds=4, ids=ids, given=typed))
        results[name] = gs.solve(game, solver, iterations=9, seeds=4, observers=[record])
        record.finish(results[name])
    found = compare(tmp_path / "slow", tmp_path / "fast")
    assert found.names == ("ftrl step_size=0.1", "ftrl step_size=0.5")
    wanted = [float(np.median(results[name].exploitability[:, -1].numpy())) for name in ("slow", "fast")]
    assert [row["median"] for row in found.table()] == pytest.approx(wanted, abs=1e-15)
    named = compare(results)
    assert named.names == ("slow", "fast")
    assert [row["iqm_low"] for row in named.table()] != [None, None]
    assert len(table_of(results).runs) == 8
    with pytest.raises(InvalidInput, match="there are runs in it"):
        read_table(tmp_path)
    (tmp_path / "slow/DONE").unlink()
    with pytest.raises(InvalidInput, match="no run has a exploitability"):
        compare(tmp_path / "slow")
    (tmp_path / "sweep/batches").mkdir(parents=True)
    (tmp_path / "sweep/plan.json").write_text("[]")
    (tmp_path / "fast").rename(tmp_path / "sweep/batches/fast")
    with pytest.raises(InvalidInput, match="the sweep that this batch is of"):
        read_table(tmp_path / "sweep/batches/fast")
    with pytest.raises(InvalidInput, match=r"it has no results\.csv"):
        read_table(tmp_path / "sweep")


def test_one_member_of_a_batch_diverges_alone() -> None:
    measured = Trace()
    for iteration, values in ((0, [1.0, 1.0, 1.0]), (5, [0.5, math.nan, 0.25])):
        measured.add(iteration, {"gap": torch.tensor(values, dtype=torch.float64)})
    table = table_of({"a": SimpleNamespace(trace=measured, status=Status.DIVERGED)})
    assert [run.diverged for run in table.runs] == [False, True, False]
    (row,) = compare(table).table()
    assert (row["median"], row["diverged"]) == (0.5, 1)


def test_cells_come_back_as_they_were(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.csv", "a,'-0.5,0.0,3,gap,", "a,'-0.5,0.0,1,gap,2", "a,-0.5,1,3,gap,1e-3", "",
        header="\ufeffsolver,s.shift,seed,iteration,metric,value",
    )  # fmt: skip
    table = read_table(path)
    assert table.cells("s.shift") == ["-0.5"]
    assert [run.seed for run in table.runs] == [0, 1]
    times, values = table.runs[0].traces["gap"]
    assert (times.tolist(), values[0], np.isnan(values[1])) == ([1, 3], 2.0, True)  # in order of iterations


def test_parquet_is_read(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="reading Parquet needs pandas")
    pytest.importorskip("pyarrow", reason="reading Parquet needs pyarrow")
    frame = pandas.DataFrame(
        {"solver": ["a", "a", "b"], "s.step": [0.5, 0.5, math.nan], "seed": [0, 1, 0], "iteration": 3, "metric": "gap",
         "value": [1.0, 2.0, math.nan]}
    )  # fmt: skip
    frame.to_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert [run.cells for run in table.runs] == [{"solver": "a", "s.step": "0.5"}] * 2 + [{"solver": "b"}]
    assert compare(table).table()[1]["diverged"] == 1
    (tmp_path / "bad.parquet").write_text("none")
    with pytest.raises(InvalidInput, match="not a table in Parquet"):
        read_table(tmp_path / "bad.parquet")


GOOD = ("r,g,a,0,done,5,gap,0.5", "q,g,b,0,done,5,gap,0.7")
BAD_LINES = {
    "cells": ("r,g,a,1,done,5", "line 4 has 6 cells where there are 8 columns"),
    "value": ("r,g,a,1,done,5,gap,abc", "line 4: value: got 'abc'"),
    "iteration": ("r,g,a,1,done,-5,gap,1", "line 4: iteration: got '-5'"),
    "huge iteration": ("r,g,a,1,done,99999999999999999999,gap,1", "line 4: iteration"),
    "seed": ("r,g,a,one,done,5,gap,1", "seed: got 'one'"),
    "twice": ("r,g,a,0,done,5,gap,0.5", "gap stands twice for one run at iteration 5"),
    "two runs": ("z,g,a,0,done,6,gap,0.5", "a column must tell them apart"),
    "endless": ("r," + "x" * 200_000 + ",a,1,done,5,gap,1", "not a table in CSV"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_lines_are_refused_in_one(tmp_path: Path, name: str) -> None:
    line, words = BAD_LINES[name]
    path = write(tmp_path / "t.csv", *GOOD, line)
    with pytest.raises(InvalidInput) as refused:
        read_table(path)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (HEADER.encode() + b"\n", "nothing was measured"),
        (HEADER.encode() + b"\nr,g,a,0,done,5,gap,0.", "may be cut short"),
        (b"\xff\xfe\x00\n", "not UTF-8"),
        (b"seed,seed,iteration,metric,value\n", "column seed stands twice"),
        (b"solver,seed,iteration,metrik,value\n", "has no column metric"),
    ],
    ids=["empty", "header", "torn", "bytes", "twice", "column"],
)
def test_bad_files_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InvalidInput, match=words):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metric": "gab"}, "metric: got 'gab', expected one of gap; did you mean gap"),
        ({"by": "slover"}, "did you mean solver"),
        ({"by": "solver,solver"}, "each once"),
        ({"pool": "solvers"}, "pool: got 'solvers'"),
        ({"at": -1}, "at: got -1"),
        ({"at": "first"}, "at: got 'first'"),
        ({"at": True}, "at: got True"),
        ({"confidence": math.nan}, "confidence: got nan"),
        ({"confidence": 1.0}, "confidence"),
        ({"resamples": 10**9}, "resamples"),
        ({"seed": -1}, "seed: got -1"),
        ({"threshold": math.inf}, "threshold: got inf"),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, dict) else "",
)
def test_bad_questions_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        compare(runs_of({"a": [[1.0, 2.0]]}), **options)


def test_other_refusals() -> None:
    with pytest.raises(InvalidInput, match="give at least one"):
        compare()
    with pytest.raises(InvalidInput, match="no such file"):
        compare("nowhere")
    with pytest.raises(InvalidInput, match="a mapping of names"):
        compare(3)
    with pytest.raises(InvalidInput, match=r"a Result of gs\.solve"):
        compare({"a": 1})
    with pytest.raises(InvalidInput, match="at most 40 groups, not 41"):
        compare(runs_of({f"s{i}": [[1.0]] for i in range(41)}))
    mixed = Table(("solver",), (*runs_of({"a": [[1.0]]}, "gap").runs, *runs_of({"b": [[1.0]]}, "regret").runs))
    with pytest.raises(InvalidInput, match="no exploitability; name one of gap, regret"):
        compare(mixed)
    found = compare(mixed, metric="gap")
    assert found.names == ("a",)
    assert "left out: 1 run of b without gap" in found.notes
    with pytest.raises(InvalidInput, match="part: got 'group'"):
        found.table("group")  # type: ignore[arg-type]


# The command and its pictures


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    generator = np.random.Generator(np.random.Philox(11))
    lines = []
    for game in ("g1", "g2"):
        for solver, rate in (("fast", 1.2), ("slow", 0.5)):
            for seed in range(5):
                for t in (0, 1, 3, 10):
                    value = math.nan if (game, solver, seed, t) == ("g2", "slow", 4, 10) else (1 + t) ** -rate
                    value *= float(np.exp(0.2 * generator.normal()))
                    lines.append(f"{game}-{solver}-{seed},{game},{solver},{seed},done,{t},exploitability,{value!r}")
    write(folder / "results.csv", *lines)
    (folder / "DONE").write_text("done\n")
    return folder


def test_the_command_answers_in_words_json_and_pictures(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "pictures"
    assert main(["compare", str(sweep), "--threshold", "0.2", "--out", str(out), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["groups"][1]["mean"] is None  # infinite
    assert data["groups"][0]["iqm"] < data["groups"][1]["iqm"]
    names = {"curves", "profile", "estimates", "ranks"}
    assert {path.name for path in out.iterdir()} == {
        *(f"{name}.{ending}" for name in names for ending in ("png", "pdf", "csv")), "tasks.csv", "improvement.csv",
    }  # fmt: skip
    assert sorted(data["figures"]) == sorted(str(path) for path in out.iterdir())
    with (out / "profile.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = compare(sweep, threshold=0.2)
    assert [float(row["share"]) for row in rows] == [row["share"] for row in found.table("profile")]
    assert [row["iqm"] for row in data["groups"]] == [row["iqm"] for row in found.table()]
    monkeypatch.setattr(gamesim.comparison, "draw_comparison", lambda found, out: [])
    assert main(["compare", str(sweep), "--at", "10", "--threshold", "0.2", "--out", str(out)]) == 0
    words = capsys.readouterr().out
    assert "exploitability (iteration 10), less is better, 2 tasks" in words
    assert "note: 1 of 10 runs of slow diverged and count as the worst" in words
    assert "no test of ranks: 2 tasks" in words
    assert words.index("fast") < words.index("slow")
    assert main(["compare", str(sweep), "--at", "7"]) == 2
    assert main(["compare", str(sweep), "--at", "0x7"]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_the_same_estimates_give_the_same_bytes(tmp_path: Path) -> None:
    from gamesim.figures import save_as
    from gamesim.figures.comparisons import draw_estimates

    pair = [draw_estimates(["a", "b"], {"iqm": [(1.0, None, None), (2.0, 1.0, math.inf)]}) for _ in range(2)]
    assert [len(line.get_xdata()) for line in pair[0].axes[0].lines] == [1, 2, 1]  # no bar without an interval
    paths = [save_as(figure, tmp_path / f"{i}.png") for i, figure in enumerate(pair)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_pictures_of_what_has_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = dict[str, Any]()
    monkeypatch.setattr(figures, "save", lambda figure, folder, name: saved.setdefault(name, figure) and [])
    worst = [[1e308, -1e308, math.nan, math.inf]]
    found = compare(runs_of({"a": worst, "$b^": [[math.nan] * 4], "c": [[0.0] * 4]}), resamples=100)
    draw_comparison(found, tmp_path)
    assert set(saved) == {"curves", "profile", "estimates", "ranks"}
    for figure in saved.values():
        figure.draw_without_rendering()


def test_tables_come_as_frames() -> None:
    pandas = pytest.importorskip("pandas", reason="frame() needs pandas")
    found = compare(runs_of({"a": [[1.0, 2.0]]}))
    assert isinstance(found.frame(), pandas.DataFrame)
    assert list(found.frame("tasks")["task"]) == ["g0"]
