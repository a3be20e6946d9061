"""FTRL and its relatives: identities, rates, feedback from play, and the dynamics in continuous time."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim.algorithms import FTRL, BestResponseDynamics, FictitiousPlay, Replicator
from gamesim.errors import InvalidInput
from gamesim.feedback import Bandit, Realised, draw_actions
from gamesim.games import MatrixGame
from gamesim.kernels import fused
from gamesim.loop import Status, solve
from gamesim.randomness import Stream
from gamesim.schedules import Constant, Power
from gamesim.simplex import divergence, explore
from gamesim.states import tensors
from gamesim.traces import Snapshot
from gamesim.watching import Watched, distance

BATTLE = MatrixGame.bimatrix([[3, 0], [0, 2]], [[2, 0], [0, 3]])
PENNIES = MatrixGame.zero_sum([[1, -1], [-1, 1]])
HANDS = MatrixGame.zero_sum([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
DILEMMA = MatrixGame.bimatrix([[3, 0], [5, 1]], [[3, 5], [0, 1]])
SHAPLEY = MatrixGame.bimatrix([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
REGULARIZERS = ["entropic", "euclidean", "tsallis(0.5)", "log-barrier"]
SCALE = {"entropic": 0.5, "euclidean": 0.2, "tsallis(0.5)": 1.0, "log-barrier": 2.0}  # moves of like size
FEEDBACKS = ["exact", "noisy(0.5)", "realised", "bandit(power(0.5, 0.4))"]


def three_players() -> MatrixGame:
    return MatrixGame(np.random.default_rng(0).uniform(size=(3, 2, 3, 4)))


def point(*rows: list[float]) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(row, dtype=torch.float64) for row in rows)


# --- the algorithm --------------------------------------------------------------------------------------------------


def test_entropic_ftrl_is_online_mirror_descent() -> None:
    one = solve(three_players(), FTRL("power(0.5, 0.5)"), iterations=30)
    other = solve(three_players(), gs.make_solver("online-mirror-descent", step_size="power(0.5, 0.5)"), iterations=30)
    for x, y in zip(one.policy, other.policy, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-14)


def test_a_step_of_each_leader_by_hand() -> None:
    start, gamma = point([0.7, 0.3], [0.4, 0.6]), 0.3
    for leader in ("plain", "optimistic", "extra-gradient", "generalized"):
        solver = FTRL(Constant(gamma), "entropic", leader, 0.5)
        result = solve(BATTLE, solver, iterations=2, start=start)
        y, last = [x.log() for x in start], [torch.zeros(2).double() for _ in start]
        for _ in range(2):
            lead = {"plain": 0.0, "optimistic": 1.0, "generalized": 0.5}.get(leader, 0.0)
            ahead = BATTLE.values(tuple(s.softmax(-1) for s in y)) if leader == "extra-gradient" else last
            weight = gamma if leader == "extra-gradient" else gamma * lead
            half = tuple((s + weight * v).softmax(-1) for s, v in zip(y, ahead, strict=True))
            last = list(BATTLE.values(half))
            y = [s + gamma * v for s, v in zip(y, last, strict=True)]
        for x, s in zip(result.policy, y, strict=True):
            torch.testing.assert_close(x, s.softmax(-1), rtol=1e-12, atol=0)


def test_the_last_iterate_cycles_without_a_leading_step_and_converges_with_one() -> None:
    start = point([0.5, 0.3, 0.2], [0.2, 0.5, 0.3])
    gaps = {
        leader: solve(HANDS, FTRL(0.5, leader=leader), iterations=800, every=800, start=start).exploitability[0]  # type: ignore[arg-type]
        for leader in ("plain", "optimistic", "extra-gradient")
    }
    assert float(gaps["plain"][-1]) > float(gaps["plain"][0])
    assert float(gaps["optimistic"][-1]) < 1e-4
    assert float(gaps["extra-gradient"][-1]) < 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_regret_is_within_the_bound_of_the_regulariser(seed: int) -> None:
    """At most (max h - min h) / gamma + gamma T / 2, for payoffs in [-1/2, 1/2] and h 1-strongly convex."""
    T, gamma, A = 400, 0.1, 3
    u = np.random.default_rng(seed).uniform(-0.5, 0.5, size=(A, A))
    game = MatrixGame.zero_sum(u)
    for h, spread in (("entropic", math.log(A)), ("euclidean", 0.5 * (1 - 1 / A))):
        played, earned = torch.zeros(A).double(), 0.0
        solver = FTRL(Constant(gamma), h)
        state = solver.init(game)
        for t in range(T):
            values = game.values(state.policy)[0]
            played, earned = played + values, earned + float(values @ state.policy[0])
            state = solver.step(t, game, state, Stream(0, t))
        assert 0 <= float(played.max()) - earned <= spread / gamma + gamma * T / 2


# --- rates at a strict equilibrium ----------------------------------------------------------------------------------


def distances(regularizer: str, counts: list[int], gamma: float = 0.1) -> list[float]:
    target = point([1, 0], [1, 0])
    found, start = [], point([0.7, 0.3], [0.7, 0.3])
    for n in counts:
        result = solve(BATTLE, FTRL(Constant(gamma), regularizer), iterations=n, every=n, start=start)
        found.append(float(sum((x - y).abs().sum() / 2 for x, y in zip(result.policy, target, strict=True))))
    return found


def test_the_rate_is_a_matter_of_the_regulariser() -> None:
    """Geometric, finite, S^-2, S^-1: the rates of the theorem, within 5%."""
    entropic = distances("entropic", [40, 80])
    assert math.log(entropic[0] / entropic[1]) / (0.1 * 40) == pytest.approx(2.5, abs=0.6)  # 3 and 2, the margins
    assert distances("euclidean", [20])[0] == 0.0
    for name, slope in (("tsallis(0.5)", -2.0), ("log-barrier", -1.0)):
        near, far = distances(name, [100, 400], gamma=5.0)
        assert math.log(far / near) / math.log(4) == pytest.approx(slope, rel=0.05)


@pytest.mark.parametrize("feedback", FEEDBACKS)
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_strict_equilibria_attract_and_the_mixed_one_is_left(regularizer: str, feedback: str) -> None:
    solver = FTRL(f"power({SCALE[regularizer]}, 0.7, 20)", regularizer, feedback=feedback)
    near, mixed = point([0.95, 0.05], [0.95, 0.05]), point([0.6, 0.4], [0.4, 0.6])
    runs: Any = {"iterations": 500, "every": 500, "seeds": 60}
    stayed = solve(BATTLE, solver, start=near, **runs)
    assert float((distance(stayed.policy, point([1, 0], [1, 0])) < 0.1).double().mean()) > 0.9
    if feedback != "exact":  # without noise a run that begins exactly there never moves
        left = solve(BATTLE, solver, start=mixed, **runs)
        assert float((distance(left.policy, mixed) < 0.02).double().mean()) < 0.2


# --- feedback from play ---------------------------------------------------------------------------------------------


def averaged(feedback: Any, game: MatrixGame, policy: tuple[Tensor, ...], seeds: int = 20_000) -> list[Any]:
    many = tuple(x.expand(seeds, *x.shape) for x in policy)
    values = feedback(game, many, 0.0, Stream(list(range(seeds)), 5))
    return [(v.mean(0), v.std(0) / math.sqrt(seeds), v) for v in values]


def test_realised_values_are_unbiased() -> None:
    game = three_players()
    policy = point([0.3, 0.7], [0.2, 0.5, 0.3], [0.1, 0.2, 0.3, 0.4])
    for (mean, error, _), v in zip(averaged(Realised(), game, policy), game.values(policy), strict=True):
        assert bool(((mean - v).abs() < 5 * error + 1e-12).all())


def test_bandit_values_have_the_mean_of_what_is_played_and_the_variance_of_the_weights() -> None:
    game, epsilon = three_players(), 0.2
    policy = point([1.0, 0.0], [0.2, 0.5, 0.3], [0.1, 0.2, 0.3, 0.4])
    played = tuple(explore(x, epsilon) for x in policy)
    found = averaged(Bandit(Constant(epsilon)), game, policy)
    for (mean, error, values), v, x in zip(found, game.values(played), played, strict=True):
        assert bool(((mean - v).abs() < 5 * error).all())
        assert bool((values.var(0) <= 1 / x).all())  # payoffs of at most 1
        assert bool(((values != 0).sum(-1) <= 1).all())


def test_draws_have_the_frequencies_of_the_policy() -> None:
    policy = point([0.0, 0.25, 0.75], [1.0])
    many = tuple(x.expand(40_000, *x.shape) for x in policy)
    drawn = draw_actions(many, Stream(list(range(40_000))))
    assert int(drawn[:, 1].max()) == 0
    counts = torch.bincount(drawn[:, 0], minlength=3).tolist()
    assert counts[0] == 0
    assert abs(counts[1] - 10_000) < 5 * math.sqrt(40_000 * 0.25 * 0.75)


def test_games_and_hyper_parameters_of_a_batch_meet_the_same_luck() -> None:
    sizes = torch.tensor([0.05, 0.2], dtype=torch.float64)
    both = solve(BATTLE, FTRL(Constant(sizes), feedback="realised"), iterations=20, seeds=3)
    for i, size in enumerate(sizes.tolist()):
        one = solve(BATTLE, FTRL(Constant(size), feedback="realised"), iterations=20, seeds=3)
        for x, y in zip(both.policy, one.policy, strict=True):
            torch.testing.assert_close(x[:, i], y, rtol=1e-12, atol=1e-14)


def test_a_batch_of_different_games_is_one_by_one() -> None:
    u = np.random.default_rng(1).uniform(size=(4, 3, 3))
    games = MatrixGame.zero_sum(u)
    for feedback in FEEDBACKS[2:]:
        many = solve(games, FTRL("power(0.5, 0.8)", feedback=feedback), iterations=25, seeds=5)
        for g in range(4):
            one = solve(MatrixGame.zero_sum(u[g]), FTRL("power(0.5, 0.8)", feedback=feedback), iterations=25, seeds=5)
            for x, y in zip(many.policy, one.policy, strict=True):
                torch.testing.assert_close(x[:, g], y, rtol=1e-12, atol=1e-14)


def test_a_game_that_cannot_be_played_out_is_refused() -> None:
    with pytest.raises(InvalidInput, match="with play"):
        solve(gs.make("graphon/sis", positions=3, horizon=3), FTRL(feedback="realised"), iterations=1)


@pytest.mark.parametrize(
    ("step_size", "feedback", "words"),
    [
        (Constant(0.1), "exact", []),
        (Power(1.0, 1.5), "exact", ["sums to a finite number"]),
        (Constant(0.1), "noisy(0)", []),
        (Constant(0.1), "noisy(1)", ["not square-summable"]),
        (Power(1.0, 0.5), "realised", ["not square-summable"]),
        (Power(1.0, 0.6), "realised", []),
        (Power(1.0, 0.6), "bandit(power(0.2, 0.3))", ["2p - r = 0.9"]),  # much used, and outside
        (Power(1.0, 0.8), "bandit(power(0.2, 0.4))", []),
        (Power(1.0, 0.8), "bandit(0.1)", ["does not fall"]),
        (Power(1.0, 2 / 3), "bandit(power(0.2, 0.33333))", ["2p - r = 1"]),
    ],
)
def test_cautions_name_the_condition_that_fails(step_size: Any, feedback: str, words: list[str]) -> None:
    found = FTRL(step_size, feedback=feedback).cautions(BATTLE)
    if words == ["2p - r = 1"]:  # on the line itself, a hair inside
        assert len(found) <= 1
        return
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))


@pytest.mark.parametrize("exploration", ["0", "-0.1", "1.5", "nan", "power(0.1, -1)"])
def test_an_exploration_that_is_no_share_is_refused(exploration: str) -> None:
    with pytest.raises(InvalidInput, match=r"feedback\.exploration"):
        FTRL(feedback=f"bandit({exploration})")


def test_steps_that_blow_up_stop_with_advice_and_keep_what_was_run() -> None:
    huge = MatrixGame.bimatrix([[1e200, 0], [0, 1]], [[1, 0], [0, 1e200]])
    result = solve(huge, FTRL(Constant(1e200)), iterations=50)
    assert result.status is Status.DIVERGED
    assert "lower the step size" in result.status.value
    assert result.exploitability.shape[1] >= 2


# --- watching -------------------------------------------------------------------------------------------------------


def test_watching_sees_every_iterate_and_changes_none() -> None:
    target = point([1, 0], [1, 0])
    solver = FTRL("power(0.5, 0.8)", feedback="realised")
    seen = solve(BATTLE, Watched(solver, target), iterations=40, every=40, seeds=6)
    plain = solve(BATTLE, solver, iterations=40, every=40, seeds=6)
    assert torch.equal(seen.policy[0], plain.policy[0])
    farthest = torch.stack(
        [distance(solve(BATTLE, solver, iterations=n, every=40, seeds=6).policy, target) for n in range(41)]
    ).amax(0)
    assert torch.equal(seen.state.farthest, farthest)


# --- other dynamics -------------------------------------------------------------------------------------------------


def test_replicator_dynamics_keep_the_divergence_from_an_interior_equilibrium_of_a_zero_sum_game() -> None:
    start, centre = point([0.5, 0.3, 0.2], [0.2, 0.5, 0.3]), HANDS.start()

    def energy(policy: tuple[Tensor, ...]) -> float:
        return float(sum(divergence(c, x) for c, x in zip(centre, policy, strict=True)))

    drift = []
    for dt in (0.2, 0.1):
        end = solve(HANDS, Replicator(Constant(dt)), iterations=round(40 / dt), every=1000, start=start)
        drift.append(abs(energy(end.policy) - energy(start)))
    assert drift[0] < 1e-4
    assert drift[1] < drift[0] / 10  # of order four: a sixteenth


def test_dynamics_find_the_dominant_actions_of_the_dilemma() -> None:
    for solver in (Replicator(), BestResponseDynamics(), FictitiousPlay(), FTRL(0.5), FTRL(0.5, "euclidean")):
        assert float(solve(DILEMMA, solver, iterations=400, every=400).exploitability[0, -1]) < 0.02


def test_fictitious_play_converges_in_zero_sum_games_and_circles_in_shapleys() -> None:
    """Robinson (1951); Shapley (1964)."""
    start = point([0.5, 0.3, 0.2], [0.2, 0.5, 0.3])
    zero_sum = solve(HANDS, FictitiousPlay(), iterations=4000, every=4000, start=start).exploitability[0]
    circling = solve(SHAPLEY, FictitiousPlay(), iterations=4000, every=100, start=start).exploitability[0]
    assert float(zero_sum[-1]) < 0.06
    assert float(circling[10:].min()) > 0.1


def test_fictitious_play_by_hand() -> None:
    result = solve(BATTLE, FictitiousPlay(), iterations=2, start=point([0.9, 0.1], [0.2, 0.8]))
    # column plays 0.2: row earns 0.6 and 1.6; row plays 0.9: column earns 1.8 and 0.3
    first = ([0.45, 0.55], [0.6, 0.4])
    # then row earns 1.8 and 0.8; column 0.9 and 1.65
    second = ([0.3 + 1 / 3, 1.1 / 3], [0.4, 0.8 / 3 + 1 / 3])
    one = solve(BATTLE, FictitiousPlay(), iterations=1, start=point([0.9, 0.1], [0.2, 0.8]))
    for found, rows in ((one, first), (result, second)):
        for x, row in zip(found.policy, rows, strict=True):
            np.testing.assert_allclose(x.numpy(), row, rtol=1e-12)


def test_logit_dynamics_rest_at_the_quantal_response_equilibrium() -> None:
    game = MatrixGame.bimatrix([[9, 0], [0, 1]], [[0, 1], [1, 0]])
    found = solve(game, BestResponseDynamics(temperature=0.5), iterations=3000, every=3000)
    assert float(found.regularized_exploitability[0, -1]) < 1e-12
    same = solve(
        game, gs.make_solver("policy-mirror-descent", temperature=0.5, step_size=0.05), iterations=4000, every=4000
    )
    for x, y in zip(found.policy, same.policy, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-6)


# --- many steps at once ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feedback", ["exact", "realised", "bandit(power(0.5, 0.4))"])
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_leaps_are_the_steps_watching_included(regularizer: str, feedback: str) -> None:
    target = point([1, 0, 0], [0, 1, 0])
    game = MatrixGame(np.random.default_rng(4).uniform(size=(2, 3, 3)))
    solver = Watched(FTRL("power(0.5, 0.7)", regularizer, feedback=feedback), target)
    leaping = solve(game, solver, iterations=60, every="log", seeds=5)
    with fused(False):
        walking = solve(game, solver, iterations=60, every="log", seeds=5)
    for x, y in zip(leaping.policy, walking.policy, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(leaping.exploitability, walking.exploitability, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(leaping.state.farthest, walking.state.farthest, rtol=1e-10, atol=1e-12)


def test_leaps_of_seeds_hyper_parameters_and_games_in_one_batch() -> None:
    games = MatrixGame.zero_sum(np.random.default_rng(5).normal(size=(4, 2, 3)))
    sizes = torch.tensor([[0.1], [0.4]], dtype=torch.float64)
    shares = torch.tensor([[0.3], [0.2]], dtype=torch.float64)
    solver = FTRL(Power(sizes, 0.7), feedback=Bandit(Power(shares, 0.3)))
    leaping = solve(games, solver, iterations=50, every=50, seeds=3)
    with fused(False):
        walking = solve(games, solver, iterations=50, every=50, seeds=3)
    assert leaping.policy[1].shape == (3, 2, 1, 4, 3)
    for x, y in zip(leaping.policy, walking.policy, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-12)


def test_a_resumed_run_of_leaps_has_the_same_bits() -> None:
    solver = FTRL("power(0.5, 0.7)", feedback="realised")
    whole = solve(three_players(), solver, iterations=70, every="log", seeds=4)
    half = solve(three_players(), solver, iterations=33, every="log", seeds=4)
    rest = solve(
        three_players(), solver, iterations=70, every="log", seeds=4,
        resume=Snapshot(33, tensors(half.state), half.trace),
    )  # fmt: skip
    assert rest.trace.rows() == whole.trace.rows()
    for x, y in zip(rest.policy, whole.policy, strict=True):
        assert torch.equal(x, y)


def test_what_only_steps_can_do_is_stepped() -> None:
    for solver in (FTRL(0.1, leader="optimistic"), FTRL(0.1, feedback="noisy(0.1)")):
        assert solver.leap(0, 10, BATTLE, solver.init(BATTLE), Stream(0)) is None
    sparse, dense = (solve(BATTLE, FTRL(0.1, leader="optimistic"), iterations=20, every=e) for e in (10, 1))
    assert torch.equal(sparse.policy[0], dense.policy[0])


def test_a_class_that_answers_in_its_own_way_is_stepped() -> None:
    class Taxed(MatrixGame):
        def values(self, policy: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(v / 2 for v in super().values(policy))

    taxed = Taxed(BATTLE.payoffs)
    assert FTRL(0.1).leap(0, 10, taxed, FTRL(0.1).init(taxed), Stream(0)) is None
    start = point([0.7, 0.3], [0.7, 0.3])
    half = solve(taxed, FTRL(0.2), iterations=30, every=30, start=start).policy
    whole = solve(BATTLE, FTRL(0.1), iterations=30, every=30, start=start).policy
    torch.testing.assert_close(half[0], whole[0], rtol=1e-10, atol=0)
