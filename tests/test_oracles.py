"""A thousand random games of every kind against answers that share no code with gamesim: plain loops, enumeration, LPs.

The games come in batches, up to 6 x 6, and gamesim answers a batch at once; what checks it goes through them one by one
in numpy, or asks scipy or cvxpy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog
from torch import Tensor

from gamesim.equilibria.bimatrix import all_equilibria
from gamesim.equilibria.correlated import correlated_equilibrium
from gamesim.equilibria.shapley import solve_shapley
from gamesim.equilibria.zero_sum import solve_zero_sum
from gamesim.games import MatrixGame, StochasticGame
from gamesim.games.bandit import BanditGame, Tally
from gamesim.graphons import Graphon
from gamesim.graphons.families import ErdosRenyi, UniformAttachment
from gamesim.randomness import Stream
from random_games import Array, Tables, drawn_tables, dynamic_program, laws, loops, numbers, solved

SHAPES = list(product(range(1, 7), repeat=2))
"""Of two players: 36 shapes."""
EACH = 28
"""Games of each shape, 1,008 in all."""
SEVERAL = [((2, 2, 2), 50), ((3, 2, 4), 25), ((2, 3, 2, 2), 25), ((4,), 25)]


def games(count: int, counts: tuple[int, ...]) -> tuple[Array, list[Array]]:
    """Payoffs[game, player, a1, ..., an], a quarter of them of small whole numbers with many ties, and policies."""
    draw = numbers(count, *counts)
    u = draw.normal(size=(count, len(counts), *counts)) * 10.0 ** draw.integers(-3, 4)
    u[::4] = draw.integers(-2, 3, size=u[::4].shape)
    return u, [laws(draw, count, c) for c in counts]


@pytest.mark.parametrize(("counts", "count"), [((m, n), EACH) for m, n in SHAPES] + SEVERAL, ids=str)
def test_payoffs_regrets_and_nash_conv_are_those_of_plain_loops(counts: tuple[int, ...], count: int) -> None:
    u, policy = games(count, counts)
    game = MatrixGame(u, player_count=len(counts))
    x = tuple(map(torch.from_numpy, policy))
    paid, gained = zip(*(loops(u[k], [p[k] for p in policy]) for k in range(count)), strict=True)
    scale = np.abs(u).max()
    np.testing.assert_allclose(game.payoffs_of(x), paid, rtol=0, atol=1e-13 * scale)
    np.testing.assert_allclose(game.regrets(x), gained, rtol=0, atol=1e-13 * scale)
    np.testing.assert_allclose(game.exploitability(x), np.sum(gained, 1), rtol=0, atol=1e-13 * scale)


def test_values_of_zero_sum_games_are_those_of_a_linear_program() -> None:
    for m, n in SHAPES:
        draw = numbers(7, m, n)
        A = draw.normal(size=(EACH, m, n))
        A[::4] = draw.integers(-2, 3, size=A[::4].shape)
        found = solve_zero_sum(A)
        assert float(found.gap.max()) < 1e-9
        for k in range(EACH):  # max v where A^T x >= v
            program = linprog(
                np.r_[np.zeros(m), -1.0],
                A_ub=np.c_[-A[k].T, np.ones(n)],
                b_ub=np.zeros(n),
                A_eq=np.r_[np.ones(m), 0.0][None],
                b_eq=[1.0],
                bounds=[(0, None)] * m + [(None, None)],
            )
            assert abs(float(found.value[k]) + program.fun) < 1e-8


def vertices(A: Array) -> list[tuple[Array, frozenset[int]]]:
    """The vertices but 0 of {x >= 0, A x <= 1} with the inequalities that bind, from every choice of them.

    A[..., r, c] > 0; inequality c of x_c >= 0 has number c, that of row r has number `columns` + r.
    """
    rows, columns = A.shape
    normals, right = np.r_[-np.eye(columns), A], np.r_[np.zeros(columns), np.ones(rows)]
    choices = np.array(list(combinations(range(rows + columns), columns)))
    systems = normals[choices]
    regular = np.abs(np.linalg.det(systems)) > 1e-12
    points = np.linalg.solve(systems[regular], right[choices[regular]][..., None])[..., 0]
    inside = (points @ normals.T <= right + 1e-10).all(1) & (points.sum(1) > 1e-10)
    return [(x, frozenset(c)) for x, c in zip(points[inside], choices[regular][inside].tolist(), strict=True)]


def enumerated(A: Array, B: Array) -> list[Array]:
    """All equilibria (x, y) of a game that is not degenerate: pairs of vertices that together have every label."""
    m, n = A.shape
    A, B = A - A.min() + 1, B - B.min() + 1
    found = []
    for x, bind in vertices(B.T):  # labels: x_i = 0 is i, column j a best reply is m + j
        for y, other in vertices(A):  # y_j = 0 is m + j, row i a best reply is i
            labels = set(bind) | {c + m if c < n else c - n for c in other}
            if len(labels) == m + n:
                found.append(np.r_[x / x.sum(), y / y.sum()])
    return found


@pytest.mark.parametrize(("counts", "count"), [((2, 2), 300), ((2, 3), 250), ((3, 3), 300), ((4, 2), 150)], ids=str)
def test_all_equilibria_are_the_pairs_of_vertices_with_every_label(counts: tuple[int, int], count: int) -> None:
    draw = numbers(11, *counts)
    some = 0
    for u in draw.integers(-1000, 1001, size=(count, 2, *counts)).astype(float):
        theirs = enumerated(*u)
        ours = all_equilibria(*u)
        assert ours.complete
        if ours.degenerate:
            continue
        mine = sorted(np.concatenate(e.probabilities).round(7).tolist() for e in ours.equilibria)
        assert len(theirs) % 2 == 1
        assert mine == pytest.approx(np.array(sorted(x.round(7).tolist() for x in theirs)), abs=2e-7)
        some += 1
    assert some > 0.95 * count


def incentives(u: Array, coarse: bool) -> Array:
    """<row, p> <= 0 for every deviation: what it changes, profile by profile."""
    counts, rows = u.shape[1:], []
    for i, count in enumerate(counts):
        for told, other in product([None] if coarse else range(count), range(count)):
            row = np.zeros(counts)
            for a in np.ndindex(*counts):
                if told is None or a[i] == told:
                    row[a] = u[(i, *a[:i], other, *a[i + 1 :])] - u[(i, *a)]
            rows.append(row.ravel())
    return np.stack(rows)


@pytest.mark.parametrize("kind", ["correlated", "coarse"])
@pytest.mark.parametrize(("counts", "count"), [((2, 2), 60), ((3, 4), 40), ((2, 2, 2), 40), ((6, 6), 5)], ids=str)
def test_the_best_correlated_welfare_is_that_of_a_program_in_cvxpy(
    counts: tuple[int, ...], count: int, kind: Any
) -> None:
    import cvxpy

    draw, size = numbers(13, *counts), int(np.prod(counts))
    p = cvxpy.Variable(size, nonneg=True)
    goal = cvxpy.Parameter(size)
    u = draw.normal(size=(count, len(counts), *counts))
    rows = cvxpy.Parameter(incentives(u[0], kind == "coarse").shape)
    program = cvxpy.Problem(cvxpy.Maximize(goal @ p), [cvxpy.sum(p) == 1, rows @ p <= 0])
    for game in u:
        goal.value, rows.value = game.sum(0).ravel(), incentives(game, kind == "coarse")
        program.solve(solver="CLARABEL")
        found = correlated_equilibrium(game, kind=kind)
        assert found.value == pytest.approx(program.value, abs=1e-6)
        assert float((rows.value @ found.distribution.numpy().ravel()).max()) < 1e-7


STOCHASTIC = [((2, 2), 3, 500), ((3, 2), 2, 250), ((2, 2, 2), 2, 150), ((3,), 3, 100)]


@pytest.mark.parametrize(("counts", "states", "count"), STOCHASTIC, ids=str)
def test_stochastic_games_are_worth_what_their_linear_systems_and_all_pure_answers_say(
    counts: tuple[int, ...], states: int, count: int
) -> None:
    draw, n = numbers(17, states, *counts), len(counts)
    R = draw.normal(size=(count, n, states, *counts))
    P = draw.dirichlet(np.ones(states) / 2, (count, states, *counts))
    rho = draw.dirichlet(np.ones(states), count)
    policy = [laws(draw, count, states, c) for c in counts]
    game = StochasticGame(R, P, rho, discount=0.8, player_count=n)
    x = tuple(map(torch.from_numpy, policy))
    values, gains, exploitability = game.state_values(x), game.gains(x), game.exploitability(x)
    for k in range(count):
        own = [pi[k] for pi in policy]
        V = solved(R[k], P[k], 0.8, own)
        np.testing.assert_allclose(values[k], V, rtol=0, atol=1e-12)
        if k >= count // 5:  # the answers below are many
            continue
        best = np.full_like(V, -np.inf)
        for i, c in enumerate(counts):
            for pure in product(range(c), repeat=states):
                answer = [*own[:i], np.eye(c)[list(pure)], *own[i + 1 :]]
                best[i] = np.maximum(best[i], solved(R[k], P[k], 0.8, answer)[i])
        np.testing.assert_allclose(gains[k], best - V, rtol=0, atol=1e-12)
        assert float(exploitability[k]) == pytest.approx(((best - V) @ rho[k]).sum(), abs=1e-12)


def test_zero_sum_stochastic_games_are_worth_what_iterated_linear_programs_say() -> None:
    draw = numbers(19)
    R, P = draw.normal(size=(20, 2, 2, 3)), draw.dirichlet(np.ones(2), (20, 2, 2, 3))
    for reward, law in zip(R, P, strict=True):
        found = solve_shapley(StochasticGame(np.stack([reward, -reward]), law, discount=0.5), tolerance=1e-9)
        v = np.zeros(2)
        for _ in range(34):  # 2^-34 < 1e-10
            stages = reward + 0.5 * law @ v
            v = np.array([-linprog(**minimax(stage)).fun for stage in stages])
        np.testing.assert_allclose(found.values, v, atol=1e-8)


def minimax(A: Array) -> dict[str, Any]:
    m, n = A.shape
    rows = {"A_ub": np.c_[-A.T, np.ones(n)], "b_ub": np.zeros(n), "A_eq": np.r_[np.ones(m), 0.0][None], "b_eq": [1.0]}
    return {"c": np.r_[np.zeros(m), -1.0], "bounds": [(0, None)] * m + [(None, None)], **rows}


GRAPHONS = [(ErdosRenyi(0.7), 3, 100), (UniformAttachment(), 4, 100), (ErdosRenyi(1.0), 1, 50)]


@pytest.mark.parametrize(("graphon", "positions", "count"), GRAPHONS, ids=str)
def test_exploitability_in_graphon_games_is_that_of_a_plain_dynamic_program(
    graphon: Graphon, positions: int, count: int
) -> None:
    H, S, A = 3, 2, 3
    draw = numbers(23, positions)
    tables = drawn_tables(draw, count, positions, S, A)
    game = Tables(horizon=H, graphon=graphon, positions=positions, tables=tables)
    pi = laws(draw, count, H, positions, S, A)
    policy = (torch.from_numpy(pi),)
    x, weights = game.grid.positions, game.grid.weights.numpy()
    w = graphon(x[:, None], x[None]).numpy()
    found, flow = game.exploitability(policy), game.flow(policy)
    gains, values = game.gains(policy), game.values(policy, flow).v
    assert found.shape == (count,)
    for b in range(count):
        gained, own, mu = dynamic_program(w, weights, {n: t[b].numpy() for n, t in tables.items()}, pi[b])
        np.testing.assert_allclose(gains[b], gained, rtol=0, atol=1e-12)
        np.testing.assert_allclose(values[b, 0], own, rtol=0, atol=1e-12)
        np.testing.assert_allclose(flow[b], mu, rtol=0, atol=1e-12)
        assert float(found[b]) == pytest.approx(gained @ weights, abs=1e-12)


@dataclass(frozen=True)
class Changing(BanditGame):
    """Arms whose means[round, a] are given; an arm pays its mean and a little luck."""

    means: Tensor
    runs: int = 10

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.0, 2.0

    def mean_rewards(self, t: int) -> Tensor:
        return self.means[t].expand(self.runs, -1)

    def paid(self, u: Tensor, t: int) -> Tensor:
        return self.means[t] + u - 0.5

    @property
    def lasting_rewards(self) -> Tensor:
        return self.means.mean(0).expand(self.runs, -1)


def bandits() -> Iterator[tuple[Array, NDArray[np.int64]]]:
    for k in range(100):
        draw = numbers(29, k)
        rounds, arms = int(draw.integers(1, 9)), int(draw.integers(1, 6))
        means = draw.random((rounds, arms)) if k % 2 else np.tile(draw.random(arms), (rounds, 1))
        yield means, draw.integers(arms, size=(10, rounds))


def test_regret_of_bandits_is_what_the_best_arm_would_have_paid_more() -> None:
    for means, pulls in bandits():  # 100 bandits, 10 runs of each
        game = Changing(torch.from_numpy(means))
        tally = Tally.of(game)
        for t in range(len(means)):
            actions = torch.from_numpy(pulls[:, t : t + 1])
            tally = tally.play(game, t, actions, Stream(0, t)).tally
        for run, row in enumerate(pulls):
            best = max(sum(means[t, a] for t in range(len(means))) for a in range(means.shape[1]))
            expected = best - sum(means[t, a] for t, a in enumerate(row))
            assert float(tally.metrics["regret"][run]) == pytest.approx(expected, abs=1e-12)
            if (means == means[0]).all():  # the gaps times how often each arm is pulled
                pulled = np.bincount(row, minlength=means.shape[1])
                assert expected == pytest.approx(pulled @ (means[0].max() - means[0]), abs=1e-12)
        uniform = means.mean(0)
        assert game.exploitability(game.start()).tolist() == pytest.approx([uniform.max() - uniform.mean()] * 10)
