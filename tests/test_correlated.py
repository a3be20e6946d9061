"""Correlated equilibria against closed forms, dense programs and brute force; regret against the same."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gamesim.equilibria import programs
from gamesim.equilibria.correlated import Unsolved, correlated_equilibrium, welfare_range
from gamesim.equilibria.incentives import coarse_conditions, correlated_conditions
from gamesim.equilibria.regret import empirical_play, external_regret, is_correlated, swap_regret, violations
from gamesim.errors import InvalidInput
from gamesim.games import MatrixGame

CHICKEN = np.array([[[6.0, 2.0], [7.0, 0.0]], [[6.0, 7.0], [2.0, 0.0]]])
DILEMMA = np.array([[[3.0, 0.0], [5.0, 1.0]], [[3.0, 5.0], [0.0, 1.0]]])
ROCK = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
PENNIES = np.array([[1.0, -1.0], [-1.0, 1.0]])
KINDS = ["correlated", "coarse"]
OBJECTIVES = ["welfare", "player:0", "fair", "bargaining", "entropy", "gini"]


def drawn(counts: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(len(counts), *counts))


def incentives(u: np.ndarray, kind: str) -> np.ndarray:
    """The textbook's rows, profile by profile: gains[row, profile] with gains @ p <= 0."""
    counts = u.shape[1:]
    profiles = list(itertools.product(*map(range, counts)))
    rows = []
    for i, count in enumerate(counts):
        for told, better in itertools.product([None] if kind == "coarse" else range(count), range(count)):
            row = []
            for a in profiles:
                other = (*a[:i], better, *a[i + 1 :])
                row.append(u[(i, *other)] - u[(i, *a)] if told in (None, a[i]) else 0.0)
            rows.append(row)
    return np.array(rows)


def by_dense_program(u: np.ndarray, kind: str, goal) -> float:
    """The best value by cvxpy on the textbook's rows; goal(p) is concave."""
    import cvxpy

    p = cvxpy.Variable(u[0].size)
    conditions = [p >= 0, cvxpy.sum(p) == 1, incentives(u, kind) @ p <= 0]
    return float(cvxpy.Problem(cvxpy.Maximize(goal(p)), conditions).solve(solver="CLARABEL"))


@pytest.mark.parametrize("kind", KINDS)
def test_aumann_s_game_of_chicken(kind):
    found = correlated_equilibrium(CHICKEN, kind=kind)
    assert found.value == pytest.approx(10.5, abs=1e-9)
    torch.testing.assert_close(found.distribution, torch.tensor([[0.5, 0.25], [0.25, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(found.payoffs, torch.tensor([5.25, 5.25], dtype=torch.float64))
    # p(C, C) = x and p(C, D) = p(D, C) = y: from D nobody moves to C while 2 p(D, D) <= y, so the least welfare is
    # at p = (0, y, y, y / 2), y = 2 / 5, with 2 * 9 * 2 / 5.
    assert welfare_range(CHICKEN, kind) == pytest.approx((7.2, 10.5), abs=1e-9)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_where_there_is_one_equilibrium_every_objective_finds_it(objective):
    for kind in KINDS:
        dilemma = correlated_equilibrium(DILEMMA, objective, kind)
        assert float(dilemma.distribution[1, 1]) == pytest.approx(1, abs=1e-6)
        pennies = correlated_equilibrium(np.stack([PENNIES, -PENNIES]), objective, kind)
        if kind == "correlated" or objective in ("entropy", "gini"):
            torch.testing.assert_close(pennies.distribution, torch.full((2, 2), 0.25).double(), atol=1e-4, rtol=0)
    rock = correlated_equilibrium(np.stack([ROCK, -ROCK]), objective)
    torch.testing.assert_close(rock.distribution, torch.full((3, 3), 1 / 9).double(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("counts", [(3, 4), (2, 3, 2), (5, 1), (2, 2, 2, 2)], ids=str)
def test_linear_objectives_against_a_dense_program(counts, kind):
    u = drawn(counts, sum(counts))
    flat = u.reshape(len(u), -1)
    c = np.random.default_rng(1).normal(size=counts)
    weights = np.arange(1.0, len(u) + 1)
    for objective, parts in [
        ("welfare", flat.sum(0)),
        ("player:1", flat[1]),
        (weights, weights @ flat),
        (c, c.ravel()),
    ]:
        for sense, sign in [("max", 1), ("min", -1)]:
            truth = sign * by_dense_program(u, kind, lambda p, parts=parts, sign=sign: sign * parts @ p)
            found = correlated_equilibrium(u, objective, kind, sense)
            assert found.value == pytest.approx(truth, abs=1e-6)
            assert float((found.distribution * torch.from_numpy(parts.reshape(counts))).sum()) == pytest.approx(
                truth, abs=1e-6
            )
    import cvxpy

    truth = by_dense_program(u, kind, lambda p: cvxpy.min(flat @ p))
    assert correlated_equilibrium(u, "fair", kind).value == pytest.approx(truth, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("counts", [(3, 3), (2, 3, 2)], ids=str)
def test_entropy_and_gini_meet_their_optimality_conditions(counts, kind):
    u = drawn(counts, 5)
    rows = incentives(u, kind)
    from scipy.optimize import minimize

    def dual(y: np.ndarray) -> tuple[float, np.ndarray]:  # min_{y >= 0} log sum exp(-G^T y) is the largest entropy
        z = -y @ rows
        p = np.exp(z - z.max())
        p /= p.sum()
        return float(np.log(np.exp(z - z.max()).sum()) + z.max()), -rows @ p

    bound = minimize(dual, np.zeros(len(rows)), jac=True, bounds=[(0, None)] * len(rows), options={"maxiter": 5000})
    found = correlated_equilibrium(u, "entropy", kind)
    assert found.value == pytest.approx(bound.fun, abs=2e-5)
    # The nearest point of the polytope to 0: <p, q> >= <p, p> for every other equilibrium q.
    p = correlated_equilibrium(u, "gini", kind).distribution
    least = correlated_equilibrium(u, p, kind, "min").value
    assert least == pytest.approx(float((p * p).sum()), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_bargaining_meets_its_optimality_condition(kind):
    from gamesim.equilibria.zero_sum import solve_zero_sum

    u = drawn((3, 3), 11)
    sure = [float(solve_zero_sum(u[0]).value), float(solve_zero_sum(u[1].T).value)]
    found = correlated_equilibrium(u, "bargaining", kind)
    gains = found.payoffs.numpy() - sure
    assert (gains > 0.01).all()
    assert found.value == pytest.approx(gains.prod())
    # At the maximiser of sum_i log g_i no equilibrium has a larger sum_i g_i(q) / g_i(p).
    best = correlated_equilibrium(u, 1 / gains, kind).value
    assert best - float((np.array(sure) / gains).sum()) == pytest.approx(2, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_more_may_be_had_by_less_obedience(seed):
    u = drawn((4, 4), seed)
    from gamesim.equilibria.bimatrix import all_equilibria

    low, high = welfare_range(u)
    coarse_low, coarse_high = welfare_range(u, "coarse")
    assert coarse_low <= low + 1e-7
    assert high <= coarse_high + 1e-7
    found = [e.probabilities for e in all_equilibria(u[0], u[1])]
    assert found
    mixes = torch.stack([torch.from_numpy(np.outer(x, y)) for x, y in found])
    for p in [*mixes, mixes.mean(0)]:  # products of Nash equilibria, and the same with a public coin
        assert bool(is_correlated(u, p))
        assert low - 1e-7 <= float((p * torch.from_numpy(u.sum(0))).sum()) <= high + 1e-7


def test_coarse_equilibria_of_zero_sum_games_pay_the_value():
    matrix = np.random.default_rng(3).normal(size=(5, 6))
    from gamesim.equilibria.zero_sum import solve_zero_sum

    value = float(solve_zero_sum(matrix).value)
    game = MatrixGame.zero_sum(matrix)
    c = np.random.default_rng(4).normal(size=(5, 6))
    for objective in ("welfare", c, "fair", "entropy"):
        p = correlated_equilibrium(game, objective, "coarse").distribution
        x, y = p.sum(1), p.sum(0)
        assert float((torch.from_numpy(matrix) * p).sum()) == pytest.approx(value, abs=1e-6)
        assert float(game.exploitability((x, y))) < 1e-6


def test_coarse_equilibria_of_rock_paper_scissors_are_more_than_one():
    u, same = np.stack([ROCK, -ROCK]), np.eye(3)  # with even marginals nobody has anything to gain
    assert correlated_equilibrium(u, same, "coarse").value == pytest.approx(1, abs=1e-9)
    assert correlated_equilibrium(u, same, "coarse", "min").value == pytest.approx(0, abs=1e-9)
    assert correlated_equilibrium(u, same).value == pytest.approx(1 / 3, abs=1e-9)


def test_when_the_dual_simplex_method_is_slow_the_interior_point_method_finds_the_same(monkeypatch):
    import scipy.optimize

    tried, linprog = [], scipy.optimize.linprog

    def watched(*args, **kwargs):
        kwargs["options"].update({"maxiter": 1} if kwargs["options"].get("maxiter") else {})
        tried.append(kwargs["method"])
        return linprog(*args, **kwargs)

    u = drawn((6, 6), 0)
    truth = correlated_equilibrium(u, sense="min").value
    monkeypatch.setattr(scipy.optimize, "linprog", watched)
    assert correlated_equilibrium(u, sense="min").value == pytest.approx(truth, abs=1e-8)
    assert tried == ["highs-ds", "highs-ipm"]


@pytest.mark.parametrize("objective", ["welfare", "entropy"])
def test_a_solver_that_fails_is_an_error_with_advice(monkeypatch, objective):
    import cvxpy
    import scipy.optimize

    def refused(*args, **kwargs):
        raise cvxpy.SolverError("broken")

    monkeypatch.setattr(cvxpy.Problem, "solve", refused)
    gone = scipy.optimize.OptimizeResult(status=4, message="numerical difficulties", x=None)
    monkeypatch.setattr(scipy.optimize, "linprog", lambda *args, **kwargs: gone)
    with pytest.raises(Unsolved, match="Rescale or round"):
        correlated_equilibrium(CHICKEN, objective)


def test_an_answer_that_its_incentives_refute_is_refused(monkeypatch):
    from gamesim.equilibria import correlated

    monkeypatch.setattr(correlated, "program", lambda *args: np.full(4, 0.25))
    with pytest.raises(Unsolved, match=r"gains 1\.9e-01"):  # told C: 0.25 (8 - 6 + 1.5 - 2), of stakes 8 - 6
        correlated_equilibrium(np.array([[[6.0, 2.0], [8.0, 1.5]], [[6.0, 7.0], [2.0, 0.0]]]))
    monkeypatch.setattr(correlated, "program", lambda *args: np.zeros(4))
    with pytest.raises(Unsolved, match="no probability"):
        correlated_equilibrium(CHICKEN)
    assert programs.Unsolved is Unsolved


def test_conditions_are_the_textbook_s():
    u = drawn((3, 2, 2), 8)
    for kind in KINDS:
        rows = incentives(u, kind)
        for p in np.random.default_rng(0).dirichlet(np.ones(12), 20):
            if kind == "correlated":
                ours = correlated_conditions(u).at_most @ p
                assert ours.max() > 0
                assert (rows @ p).max() > 0
                assert len(ours) <= len(rows)
            else:
                z = coarse_conditions(u)
                own = z.equal.shape[1] - 12
                rest = np.linalg.lstsq(z.equal[:, 12:].toarray(), -z.equal[:, :12] @ p, rcond=None)[0]
                assert len(rest) == own
                full = np.append(p, rest)
                scale = [np.ptp(np.moveaxis(u[i], i, 0), axis=0).max() for i in range(3)]
                expected = rows @ p / np.repeat(scale, [3, 2, 2])
                np.testing.assert_allclose(z.at_most @ full, expected, atol=1e-12)


@given(
    arrays(
        np.float64,
        st.sampled_from([(2, 2, 3), (2, 1, 3), (3, 2, 1, 2), (1, 4), (2, 1, 1)]),
        elements=st.integers(-3, 3).map(float),
    ),
    st.sampled_from([1.0, 1e9, 1e-9, 1e90, 1e-200]),
    st.sampled_from(["welfare", "player:0", "fair"]),
    st.sampled_from(KINDS),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_game_at_any_scale(u, scale, objective, kind):
    found = correlated_equilibrium(scale * u, objective, kind)
    assert float(found.distribution.min()) >= 0
    assert float(found.distribution.sum()) == pytest.approx(1, abs=1e-14)
    assert found.max_violation <= 1e-8
    assert found.rounding <= 1e-8
    assert bool(is_correlated(scale * u, found.distribution, kind, 1e-8))
    assert (incentives(u, kind) @ found.distribution.numpy().ravel()).max() <= 1e-7
    plain = correlated_equilibrium(u, objective, kind)
    assert found.value / scale == pytest.approx(plain.value, abs=1e-7)
    low, high = welfare_range(u, kind)
    assert low <= high
    assert low - 1e-7 <= plain.welfare <= high + 1e-7


def test_players_measured_in_very_different_units():
    u = drawn((4, 4), 2)
    scaled = u * np.array([1e9, 1e-9])[:, None, None]
    whole = correlated_equilibrium(u, "player:1")
    assert correlated_equilibrium(scaled, "player:1").value * 1e9 == pytest.approx(whole.value, abs=1e-7)
    # Adding to a player's payoffs what the others decide changes no incentive.
    moved = u + np.stack([1e3 * np.arange(4.0)[None, :] + np.zeros((4, 1)), np.zeros((4, 4))])
    found = correlated_equilibrium(moved, "player:1")
    assert found.value == pytest.approx(whole.value, abs=1e-7)
    assert found.max_violation < 1e-8


@pytest.mark.parametrize(
    ("payoffs", "more", "named"),
    [
        (CHICKEN * np.nan, {}, "payoffs"),
        (np.stack([CHICKEN, CHICKEN]), {}, "payoffs"),
        (np.zeros((2, 0, 3)), {}, "payoffs"),
        (np.zeros((2, 3)), {}, "payoffs"),
        (CHICKEN * 1e150, {}, "payoffs"),
        ("chicken", {}, "payoffs"),
        (CHICKEN, {"objective": "wellfare"}, "objective"),
        (CHICKEN, {"objective": "player:2"}, "objective"),
        (CHICKEN, {"objective": "player:x"}, "objective"),
        (CHICKEN, {"objective": [1.0, 2.0, 3.0]}, "objective"),
        (CHICKEN, {"objective": [1.0, np.inf]}, "objective"),
        (CHICKEN, {"objective": [[1.0, 2.0], [3.0, np.nan]]}, "objective"),
        (CHICKEN, {"objective": object()}, "objective"),
        (CHICKEN, {"objective": "entropy", "sense": "min"}, "sense"),
        (CHICKEN, {"sense": "most"}, "sense"),
        (CHICKEN, {"kind": "coarsely"}, "kind"),
    ],
    ids=[str(i) for i in range(16)],
)
def test_bad_input_is_refused_by_name(payoffs, more, named):
    with pytest.raises(InvalidInput, match=f"^{named}"):
        correlated_equilibrium(payoffs, **more)


def test_games_too_large_to_write_out_are_refused_before_they_are():
    u = np.broadcast_to(np.zeros(()), (2, 400, 400)).copy()
    u[0] += np.random.default_rng(0).normal(size=(400, 400))
    with pytest.raises(InvalidInput, match="coarse"):
        correlated_conditions(u)


def swaps_by_hand(u: np.ndarray, history: np.ndarray, player: int) -> tuple[float, float]:
    """External and swap regret by trying every constant and every map from actions to actions."""
    count = u.shape[1 + player]

    def total(replace) -> float:
        out = 0.0
        for a in history:
            b = list(a)
            b[player] = replace[a[player]]
            out += u[(player, *b)]
        return out

    played = total(range(count))
    return (
        max(total([b] * count) for b in range(count)) - played,
        max(total(m) for m in itertools.product(range(count), repeat=count)) - played,
    )


@pytest.mark.parametrize("counts", [(3, 3), (2, 3, 2), (4,), (1, 3)], ids=str)
def test_regret_of_a_history_by_brute_force(counts):
    u = drawn(counts, 1)
    history = torch.from_numpy(np.random.default_rng(2).integers(0, counts, (25, len(counts))))
    truth = np.array([swaps_by_hand(u, history.numpy(), i) for i in range(len(counts))])
    np.testing.assert_allclose(external_regret(u, history), truth[:, 0], atol=1e-12)
    np.testing.assert_allclose(swap_regret(u, history), truth[:, 1], atol=1e-12)


@pytest.mark.parametrize("counts", [(3, 4), (2, 3, 2)], ids=str)
def test_average_regret_is_the_violation_of_empirical_play(counts):
    games = torch.from_numpy(np.stack([drawn(counts, seed) for seed in range(3)]))
    game = MatrixGame(games, player_count=len(counts))
    history = torch.from_numpy(np.random.default_rng(7).integers(0, counts, (3, 40, len(counts))))
    play = empirical_play(history, counts)
    assert play.shape == (3, *counts)
    torch.testing.assert_close(external_regret(game, history, True), violations(game, play, "coarse"))
    torch.testing.assert_close(swap_regret(game, history, True), violations(game, play))
    torch.testing.assert_close(swap_regret(game, history), 40 * violations(game, play))
    for g in range(3):  # a batch is its members
        torch.testing.assert_close(external_regret(game, history)[g], external_regret(games[g], history[g]))
    one_hot = tuple(torch.nn.functional.one_hot(history[..., i], c).double() for i, c in enumerate(counts))
    torch.testing.assert_close(external_regret(game, one_hot), external_regret(game, history))
    torch.testing.assert_close(swap_regret(game, one_hot), swap_regret(game, history))


def test_regret_of_mixed_play_is_that_of_the_average_of_products():
    u, rng = drawn((3, 2, 2), 4), np.random.default_rng(5)
    history = tuple(torch.from_numpy(rng.dirichlet(np.ones(c), 12)) for c in (3, 2, 2))
    p = torch.einsum("ta,tb,tc->abc", *history) / 12
    torch.testing.assert_close(external_regret(u, history, average=True), violations(u, p, "coarse"))
    torch.testing.assert_close(swap_regret(u, history, average=True), violations(u, p))


def test_violations_are_the_best_deviation_s_gain():
    u = drawn((3, 3), 9)
    for p in np.random.default_rng(1).dirichlet(np.ones(9), 5).reshape(-1, 3, 3):
        for i in range(2):
            coarse = max((np.moveaxis(u[i], i, 0)[b] * p.sum(i)).sum() for b in range(3)) - (u[i] * p).sum()
            told = sum(
                max(
                    np.moveaxis(p, i, 0)[a] @ (np.moveaxis(u[i], i, 0)[b] - np.moveaxis(u[i], i, 0)[a])
                    for b in range(3)
                )
                for a in range(3)
            )
            assert float(violations(u, p, "coarse")[i]) == pytest.approx(coarse, abs=1e-12)
            assert float(violations(u, p)[i]) == pytest.approx(told, abs=1e-12)
    assert float(violations(PENNIES[None] * np.array([1, -1])[:, None, None], [[0.5, 0], [0.5, 0]], "coarse")[0]) == 1
    assert not bool(is_correlated(CHICKEN, [[1.0, 0.0], [0.0, 0.0]]))
    assert bool(is_correlated(CHICKEN, [[0.0, 1.0], [0.0, 0.0]]))


def test_external_regret_can_be_negative_and_swap_regret_cannot():
    game = MatrixGame.zero_sum(PENNIES)
    history = torch.tensor([[0, 0], [1, 1]])
    assert external_regret(game, history)[0] == -2
    assert swap_regret(game, history)[0] == 0
    assert swap_regret(game, history)[1] == 4


def test_long_histories_in_parts_are_the_same(monkeypatch):
    from gamesim.equilibria import regret

    u = drawn((3, 2), 0)
    history = torch.from_numpy(np.random.default_rng(2).integers(0, (3, 2), (4, 50, 2)))
    whole = swap_regret(u, history)
    monkeypatch.setattr(regret, "AT_ONCE", 28)
    torch.testing.assert_close(swap_regret(u, history), whole)
    mixed = tuple(torch.nn.functional.one_hot(history[..., i], c).double() for i, c in enumerate((3, 2)))
    torch.testing.assert_close(swap_regret(u, mixed), whole)


@pytest.mark.parametrize(
    ("history", "named"),
    [
        (torch.zeros(3, dtype=torch.long), "history"),
        (torch.zeros(0, 2, dtype=torch.long), "history"),
        (torch.zeros(3, 2), "history"),
        (torch.tensor([[0, 2]]), r"history\[0, 1\]"),
        (torch.tensor([[0, -1]]), r"history\[0, 1\]"),
        ((torch.full((3, 2), 0.5), torch.full((4, 2), 0.5)), "history"),
        ((torch.full((3, 2), 0.5), torch.full((3, 2), 0.6)), r"history\[1\]"),
        ((torch.full((3, 3), 1 / 3), torch.full((3, 2), 0.5)), "history"),
    ],
    ids=[str(i) for i in range(8)],
)
def test_bad_histories_are_refused_by_name(history, named):
    with pytest.raises(InvalidInput, match=f"^{named}"):
        external_regret(MatrixGame(CHICKEN), history)


def test_bad_distributions_are_refused_by_name():
    for p in (np.full((2, 2), 0.3), np.full((2, 3), 1 / 6), [[1.5, -0.5], [0, 0]], np.full((2, 2), np.nan)):
        with pytest.raises(InvalidInput, match=r"^distribution"):
            violations(CHICKEN, p)
    with pytest.raises(InvalidInput, match=r"^kind"):
        violations(CHICKEN, np.full((2, 2), 0.25), "swap")
