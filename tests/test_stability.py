"""Whether learners stay at an equilibrium: the statistic, where runs begin, what is found, and the command line."""

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim import cli
from gamesim.algorithms import FTRL, FictitiousPlay, Replicator
from gamesim.certificates import Probability, Stability, certify_equilibrium
from gamesim.certificates.learners import STEP, learner, magnitude, span
from gamesim.certificates.profiles import INSIDE, policy_of, sphere
from gamesim.errors import InvalidInput
from gamesim.games import MatrixGame, NormalFormGame, Policy
from gamesim.loop import solve
from gamesim.randomness import Stream
from gamesim.schedules import Constant, Power
from gamesim.watching import Watched, distance

BATTLE = MatrixGame.bimatrix([[3, 0], [0, 2]], [[2, 0], [0, 3]], actions=(("opera", "fight"), ("opera", "fight")))
PENNIES = MatrixGame.zero_sum([[1, -1], [-1, 1]])
COPY = MatrixGame.bimatrix([[2, 0, 0], [0, 1, 1], [0, 1, 1]], [[2, 0, 0], [0, 1, 1], [0, 1, 1]])
MIXED = ([0.6, 0.4], [0.4, 0.6])
SHORT: dict[str, Any] = {"runs": 150, "iterations": 400, "level": 0.9}


def point(*rows: list[float]) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(row, dtype=torch.float64) for row in rows)


class Crowd(NormalFormGame):
    """Twelve players who like company at the first action, and a little at the second; no tensor is written."""

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (2,) * 12

    def values(self, policy: Policy) -> Policy:
        total = torch.stack([x[..., 0] for x in policy]).sum(0)
        others = [total - x[..., 0] for x in policy]
        return tuple(torch.stack([there, 0.1 * there], -1) for there in others)


# --- the interval ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 1000])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_all_and_none_have_the_closed_form(n: int, confidence: float) -> None:
    edge = ((1 - confidence) / 2) ** (1 / n)
    low, high = Probability(n, n, confidence).interval
    assert (low, high) == (pytest.approx(edge, rel=1e-12), 1.0)
    low, high = Probability(0, n, confidence).interval
    assert (low, high) == (0.0, pytest.approx(1 - edge, rel=1e-12))


def test_the_interval_is_that_of_scipy_and_inverts_the_binomial_tails() -> None:
    from scipy.stats import binom, binomtest

    for k, n, confidence in [(1, 2, 0.9), (3, 50, 0.95), (49, 50, 0.99), (970, 1000, 0.99), (12_345, 100_000, 0.999)]:
        low, high = Probability(k, n, confidence).interval
        theirs = binomtest(k, n).proportion_ci(confidence, "exact")
        assert (low, high) == (pytest.approx(theirs.low, rel=1e-9), pytest.approx(theirs.high, rel=1e-9))
        assert binom.sf(k - 1, n, low) == pytest.approx((1 - confidence) / 2, rel=1e-8)
        assert binom.cdf(k, n, high) == pytest.approx((1 - confidence) / 2, rel=1e-8)


def test_the_interval_covers_at_least_as_often_as_it_says() -> None:
    from scipy.stats import binom

    n, p = 40, 0.93
    inside = [low <= p <= high for low, high in (Probability(k, n, 0.9).interval for k in range(n + 1))]
    assert binom.pmf(np.arange(n + 1), n, p)[inside].sum() >= 0.9


# --- where runs begin -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [1e-9, 0.1, 0.5])
@pytest.mark.parametrize(
    "target",
    [([1.0, 0.0], [1.0, 0.0]), ([0.5, 0.5], [0.4, 0.6]), ([0.2, 0.3, 0.5], [1.0], [0.25] * 4)],
    ids=["pure", "mixed", "one-action"],
)
def test_starts_are_at_the_radius_and_in_the_simplex(target: tuple[list[float], ...], radius: float) -> None:
    x = point(*target)
    starts = sphere(x, radius, 400, Stream(3))
    for start, own in zip(starts, x, strict=True):
        assert start.shape == (400, len(own))
        assert float(start.min()) >= 0
        torch.testing.assert_close(start.sum(-1), torch.ones(400).double(), rtol=0, atol=1e-12)
        if len(own) > 1:
            assert float(start.min()) > 0  # on the boundary scores of steep regularisers are infinite
    away = distance(starts, x)
    assert float(away.max()) <= radius * (1 + 1e-6)
    if radius < 0.5:
        torch.testing.assert_close(away, torch.full((400,), radius).double(), rtol=1e-6, atol=0)


def test_starts_go_no_further_than_the_simplex() -> None:
    x = point([0.95, 0.05])
    away = distance(sphere(x, 0.3, 400, Stream(3)), x)
    near = away < 0.299
    torch.testing.assert_close(away[near], torch.full_like(away[near], 0.05 * INSIDE), rtol=1e-9, atol=0)
    assert 0 < float(near.double().mean()) < 1


def test_starts_point_in_all_directions_and_differ_by_seed() -> None:
    x = point([1 / 3] * 3, [1.0, 0.0])
    first, second = sphere(x, 0.1, 2000, Stream(0)), sphere(x, 0.1, 2000, Stream(1))
    assert not torch.equal(first[0], second[0])
    angle = torch.atan2(first[0][:, 1] - first[0][:, 2], math.sqrt(3) * (first[0][:, 0] - 1 / 3))
    assert int(torch.histc(angle, 12, -math.pi, math.pi).min()) > 50
    torch.testing.assert_close(sphere(x, 0.1, 5, Stream(0)), sphere(x, 0.1, 5, Stream(0)))


# --- what is found --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feedback", ["exact", "realised", "bandit(power(0.5, 0.3, 10))"])
@pytest.mark.parametrize("regularizer", ["entropic", "euclidean"])
def test_strict_equilibria_hold_and_others_fail(regularizer: str, feedback: str) -> None:
    def certify(game: MatrixGame, profile: Any) -> Stability:
        solver = learner(game, regularizer=regularizer, feedback=feedback)
        return certify_equilibrium(game, profile, solver, **SHORT)

    strict = certify(BATTLE, (0, 0))
    assert (strict.verdict, strict.strict, strict.pure, strict.margin) == ("holds", True, (0, 0), 2)
    assert "as the theorem says" in strict.reason
    for game, profile in ((BATTLE, MIXED), (PENNIES, ([0.5, 0.5],) * 2), (COPY, (1, 1))):
        other = certify(game, profile)
        assert (other.verdict, other.strict, other.margin) == ("fails", False, 0)
        assert "as the theorem says" in other.reason


def test_the_counts_are_those_of_watched_runs() -> None:
    solver = FTRL(Constant(0.05), feedback="bandit(0.3)")
    limits = {"radius": 0.2, "within": 0.3, "closeness": 0.2}
    found = certify_equilibrium(PENNIES, ([0.5, 0.5],) * 2, solver, runs=30, iterations=12, **limits)
    target = point([0.5, 0.5], [0.5, 0.5])
    stayed = back = 0
    starts = sphere(target, 0.2, 30, Stream(0, iteration=2**32 - 1))
    for seed in range(30):
        state = solve(PENNIES, solver, iterations=0, start=tuple(x[seed] for x in starts)).state
        apart = [float(distance(state.policy, target))]
        for t in range(12):
            state = solver.step(t, PENNIES, state, Stream(seed, t))
            apart.append(float(distance(state.policy, target)))
        stayed += max(apart) <= 0.3
        back += max(apart) <= 0.3 and apart[-1] <= 0.2
    assert 0 < back < stayed < 30
    assert (found.stays.successes, found.converges.successes) == (stayed, back)


def test_the_same_seed_is_the_same_answer() -> None:
    one, same, other = (
        certify_equilibrium(BATTLE, MIXED, runs=60, iterations=100, seed=seed).plain() for seed in (5, 5, 1000)
    )
    assert one == same
    assert one != other


def test_margins_are_exact_where_payoffs_are() -> None:
    third = Fraction(1, 3)
    exact = {(0, (0, 0)): third, (0, (1, 0)): third - Fraction(1, 10**30), (1, (0, 0)): 1, (1, (0, 1)): 0}
    floats = [[[1 / 3, 0], [1 / 3, 1]], [[1, 0], [0, 1]]]
    game = MatrixGame(floats, exact=lambda player, profile: exact.get((player, profile), Fraction(0)))
    found = certify_equilibrium(game, (0, 0), runs=2, iterations=1)
    assert (found.strict, found.margin) == (True, Fraction(1, 10**30))
    tie = certify_equilibrium(MatrixGame(floats), (0, 0), runs=2, iterations=1)
    assert (tie.strict, tie.margin) == (False, 0)


def test_a_game_without_a_tensor() -> None:
    solver = learner(Crowd(), feedback="realised")
    found = certify_equilibrium(Crowd(), (0,) * 12, solver, runs=100, iterations=100, level=0.9)
    assert (found.verdict, found.strict, found.margin) == ("holds", True, pytest.approx(9.9))
    assert not certify_equilibrium(Crowd(), (1,) * 12, runs=2, iterations=1).strict


def test_three_players_one_action_and_one_player() -> None:
    three = np.zeros((3, 2, 2, 2))
    three[:, 0, 0, 0], three[:, 1, 1, 1] = 2, 1
    assert certify_equilibrium(MatrixGame(three), (0, 0, 0), **SHORT).verdict == "holds"
    assert certify_equilibrium(MatrixGame([[1.0, 3.0, 0.0]]), (1,), **SHORT).verdict == "holds"
    nobody = certify_equilibrium(MatrixGame([[[1.0]], [[2.0]]]), (0, 0), **SHORT)
    assert (nobody.verdict, nobody.margin, nobody.plain()["margin"]) == ("holds", math.inf, None)
    lone = MatrixGame.bimatrix([[1, 3, 0]], [[0, 2, 1]])
    assert certify_equilibrium(lone, (0, 1), **SHORT).margin == 1


def test_other_ways_to_learn() -> None:
    few: dict[str, Any] = {"runs": 100, "iterations": 150, "level": 0.9}
    for solver in (FictitiousPlay(), Replicator()):
        found = certify_equilibrium(BATTLE, ("opera", "opera"), solver, **few)
        assert (found.verdict, found.cautions) == ("holds", ())
        assert certify_equilibrium(BATTLE, MIXED, solver, **few).verdict == "fails"


def test_a_single_run_and_no_iterations_decide_nothing_in_favour() -> None:
    alone = certify_equilibrium(BATTLE, (0, 0), runs=1, iterations=2000)
    assert alone.converges.value == 1
    assert (alone.verdict, "more runs" in alone.reason) == ("undecided", True)
    still = certify_equilibrium(BATTLE, (0, 0), runs=100, iterations=0)
    assert (still.stays.value, still.converges.value) == (1, 0)
    assert "more iterations" in still.reason
    thrown = certify_equilibrium(BATTLE, (0, 0), learner(BATTLE, step_size="power(9, 0.7)"), runs=300, iterations=300)
    assert thrown.verdict == "fails"
    assert "smaller steps" in thrown.reason


def test_runs_that_blow_up_count_as_gone_and_are_named() -> None:
    huge = MatrixGame.bimatrix([[1e200, 0], [0, 1]], [[1, 0], [0, 1e200]])
    found = certify_equilibrium(huge, (0, 0), FTRL(Constant(1e200)), runs=4, iterations=5)
    assert found.stays.value == 0
    assert "no longer finite" in found.cautions[-1]


def test_a_learner_takes_steps_in_units_of_the_payoffs_and_of_the_regulariser() -> None:
    def scale(game: MatrixGame, **parameters: Any) -> Any:
        found = learner(game, 0.1, **parameters)
        assert found.cautions(game) == []
        assert (found.step_size.exponent, found.step_size.offset) == (0.7, 10)
        return found.step_size.scale

    hundred = MatrixGame(100 * BATTLE.payoffs)
    shifted = MatrixGame(100 + BATTLE.payoffs)
    assert (span(BATTLE), magnitude(BATTLE), span(shifted), magnitude(shifted)) == (3, 3, 3, 103)
    assert scale(BATTLE) == pytest.approx(STEP / 3)
    assert scale(hundred) == pytest.approx(STEP / 300)
    assert scale(shifted) == pytest.approx(STEP / 103, rel=1e-5)  # an importance-weighted payoff is as large as it is
    assert scale(shifted, feedback="realised") == pytest.approx(STEP / 3)
    for regularizer, units in (("euclidean", 0.1), ("tsallis(0.5)", 0.1**-0.5), ("log-barrier", 10)):
        assert scale(BATTLE, regularizer=regularizer) == pytest.approx(STEP * units / 3, rel=1e-5)
    assert learner(BATTLE, step_size=0.25).step_size == Constant(0.25)
    assert isinstance(learner(BATTLE).step_size, Power)


def test_a_profile_may_be_actions_names_or_policies() -> None:
    for profile in (
        (1, 0),
        ("fight", "opera"),
        (np.int64(1), 0),
        ([0, 1], [1.0, 0]),
        (torch.tensor([0.0, 1.0]), [1, 0]),
    ):
        for found, wanted in zip(policy_of(BATTLE, profile), point([0, 1], [1, 0]), strict=True):
            assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    ("profile", "options", "words"),
    [
        ((0,), {}, "equilibrium: got '1 players', expected 2"),
        ((0, 2), {}, r"equilibrium\[1\]: got 2"),
        ((0, -1), {}, r"equilibrium\[1\]: got -1"),
        ((0, True), {}, r"equilibrium\[1\]: got True"),
        (("opera", "cinema"), {}, r"equilibrium\[1\]: got 'cinema'"),
        ((0, [0.5, 0.5]), {}, r"equilibrium\[1\]"),
        ("00", {}, "an action or a policy for each player"),
        (([0.6, 0.4], [0.4, 0.7]), {}, "sums to 1.1"),
        (([0.6, 0.4], [math.nan, 0.7]), {}, "finite"),
        (([0.6, 0.4], [-0.1, 1.1]), {}, "at least 0"),
        (([0.6, 0.4], [10**400, 0]), {}, r"equilibrium\[1\]"),
        (([0.6, 0.4], [0.4, 0.6, 0.0]), {}, "shape"),
        ((0, 1), {}, "a profile with a regret of 2', expected a Nash equilibrium"),
        (([0.61, 0.39], [0.4, 0.6]), {}, "a profile with a regret of 0.0"),
        ((0, 0), {"radius": 0}, "radius"),
        ((0, 0), {"radius": math.nan}, "radius"),
        ((0, 0), {"radius": 1.5}, "radius"),
        ((0, 0), {"within": 0.05}, "within: got 0.05, expected at least the radius"),
        ((0, 0), {"closeness": 0.2}, "closeness: got 0.2, expected at most the radius"),
        ((0, 0), {"closeness": 0}, "closeness"),
        ((0, 0), {"runs": 0}, "runs"),
        ((0, 0), {"runs": 10**7}, "runs"),
        ((0, 0), {"iterations": -1}, "iterations"),
        ((0, 0), {"level": 1.0}, "level"),
        ((0, 0), {"confidence": 0}, "confidence"),
        ((0, 0), {"seed": -1}, "seed"),
        ((0, 0), {"solver": "ftrl"}, "solver"),
        ((0, 0), {"solver": FTRL}, "solver"),
    ],
    ids=str,
)
def test_bad_input(profile: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as refused:
        certify_equilibrium(BATTLE, profile, **({"runs": 2, "iterations": 1} | options))
    assert "\n" not in str(refused.value)


def test_games_that_have_no_such_certificate() -> None:
    for game, words in ((gs.make("graphon/sis"), "certificates of their own"), (MatrixGame(torch.zeros(4, 2, 2, 2),
                        player_count=2), "a batch of games")):  # fmt: skip
        with pytest.raises(InvalidInput, match=words):
            certify_equilibrium(game, (0, 0))  # type: ignore[arg-type]


def test_watching_in_one_call_sees_what_step_by_step_sees() -> None:
    target, solver = point([1, 0], [1, 0]), learner(BATTLE)
    starts = sphere(target, 0.2, 20, Stream(9))
    runs: dict[str, Any] = {"iterations": 150, "seeds": 20, "start": starts}
    leaping = solve(BATTLE, Watched(solver, target), every=150, **runs)
    walking = solve(BATTLE, Watched(solver, target), every=1, **runs)
    torch.testing.assert_close(leaping.state.farthest, walking.state.farthest, rtol=1e-6, atol=1e-9)


# --- the command line -----------------------------------------------------------------------------------------------

THIRDS = """NFG 1 R "Thirds" { "row" "column" } { { "left" "right" } { "up" "down" } }

{ { "" 1/3, 1/2 } { "" 0, 0 } { "" 0, 0 } { "" 1/6, 1/3 } }
1 2 3 4
"""


@pytest.fixture
def thirds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("thirds.nfg").write_text(THIRDS, encoding="utf-8")
    return "thirds.nfg"


def test_certify_a_file(thirds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["certify", thirds, "--runs", "200", "--iterations", "500", "--seed", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"game", "solver", "equilibria"}
    assert found["game"] == thirds
    keys = {
        "profile", "pure", "strict", "margin", "max_regret", "verdict", "reason", "stays", "converges", "level",
        "radius", "within", "closeness", "iterations", "cautions",
    }  # fmt: skip
    assert all(set(each) == keys for each in found["equilibria"])
    kinds = {str(each["pure"]): each for each in found["equilibria"]}
    assert kinds.keys() == {"[0, 0]", "[1, 1]", "None"}
    assert kinds["[0, 0]"]["margin"] == 1 / 3
    assert kinds["[1, 1]"]["margin"] == 1 / 6
    assert [kinds[k]["verdict"] for k in ("[0, 0]", "None")] == ["holds", "fails"]
    np.testing.assert_allclose(kinds["None"]["profile"], [[0.4, 0.6], [1 / 3, 2 / 3]])
    stays = kinds["[0, 0]"]["stays"]
    assert stays["runs"] == 200
    assert 0 < stays["interval"][0] <= stays["probability"] <= stays["interval"][1] == 1


def test_what_a_person_reads(thirds: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["certify", thirds, "--equilibrium", "left,up", "--runs", "200", "--iterations", "500"]
    assert cli.main([*asked, "-s", "regularizer=euclidean", "-s", "feedback=realised", "-s", "step_size=0.01"]) == 0
    captured = capsys.readouterr()
    assert "(0,0: left, up)  strict, margin 0.3333; from 0.1 away, within 0.3, to 0.05" in captured.out
    assert "as the theorem says of a strict equilibrium" in captured.out
    assert captured.err.startswith("note: step_size: constant(0.01) is not square-summable")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--equilibrium", "0"], "2 actions"),
        (["--equilibrium", "0,0,0"], "2 actions"),
        (["--equilibrium", "left,left"], "equilibrium[1]"),
        (["--equilibrium", "0,2"], "equilibrium[1]"),
        (["--equilibrium", "[[0.4, 0.7], [0.5, 0.5]]"], "sums to 1.1"),
        (["--equilibrium", "[[0.4, 0.6], [0.5, 0.5]]"], "regret of 0.0"),
        (["--equilibrium", "[[0.4, 0.6]"], "probabilities such as"),
        (["--equilibrium", "left,down"], "regret of 0.5"),
        (["--radius", "0"], "radius"),
        (["--radius", "0.2", "--within", "0.1"], "within"),
        (["--closeness", "0.5"], "closeness"),
        (["--level", "2"], "level"),
        (["--runs", "0"], "runs"),
        (["--iterations", "-1"], "iterations"),
        (["--temperature", "1"], "nothing: thirds.nfg is a normal-form game"),
        (["--pairs", "5"], "whose options are equilibrium"),
        (["-s", "radius=0.2"], "parameter of ftrl"),
        (["-s", "regularizer=entropy"], "entropic"),
        (["--solver", "ftlr"], "did you mean ftrl"),
        (["--solver", "gmfg-ppo"], "GraphonGame"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_refusals_are_one_line(
    thirds: str, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert cli.main(["certify", thirds, *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    assert words in error


def test_graphon_games_have_options_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["certify", "graphon/sis", "--runs", "10"]) == 2
    assert "is a graphon game, whose options are temperature, pairs" in capsys.readouterr().err
