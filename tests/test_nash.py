"""Equilibria of normal-form games, held to brute force, closed forms, theorems and each other."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from gamesim.equilibria.bimatrix import all_equilibria, support_enumeration
from gamesim.equilibria.dominance import undominated
from gamesim.equilibria.exact import equalising_weights, fractions_of, whole
from gamesim.equilibria.lemke_howson import in_floats, lemke_howson, lemke_howson_all
from gamesim.equilibria.pure import pure_equilibria, strictness
from gamesim.equilibria.quantal import logit_path
from gamesim.equilibria.several import mixed_equilibria
from gamesim.equilibria.vertices import vertices
from gamesim.errors import InvalidInput

HALF = Fraction(1, 2)
ROCK_PAPER_SCISSORS = [[0, -1, 1], [1, 0, -1], [-1, 1, 0]]
PENNIES = [[1, -1], [-1, 1]]
CLASSICS = {
    "prisoners": ([[3, 0], [5, 1]], [[3, 5], [0, 1]], [("0 1", "0 1")]),
    "sexes": ([[3, 0], [0, 2]], [[2, 0], [0, 3]], [("1 0", "1 0"), ("3/5 2/5", "2/5 3/5"), ("0 1", "0 1")]),
    "pennies": (PENNIES, np.negative(PENNIES), [("1/2 1/2", "1/2 1/2")]),
    "rock-paper-scissors": (
        ROCK_PAPER_SCISSORS,
        np.negative(ROCK_PAPER_SCISSORS),
        [("1/3 1/3 1/3", "1/3 1/3 1/3")],
    ),
    "stag": ([[4, 0], [3, 3]], [[4, 3], [0, 3]], [("1 0", "1 0"), ("3/4 1/4", "3/4 1/4"), ("0 1", "0 1")]),
    "chicken": ([[0, 7], [2, 6]], [[0, 2], [7, 6]], [("1 0", "0 1"), ("1/3 2/3", "1/3 2/3"), ("0 1", "1 0")]),
    # the row player does not care: a continuum [1/2, 1] x {1}, [0, 1/2] x {2} and their bridge
    "indifferent": (
        [[1, 1], [1, 1]],
        [[1, 0], [0, 1]],
        [("1 0", "1 0"), ("1/2 1/2", "1 0"), ("1/2 1/2", "0 1"), ("0 1", "0 1")],
    ),
    # von Stengel, Handbook of Game Theory 3 (2002), the 3 x 2 example, and its degenerate variant of section 2.6
    "handbook": (
        [[3, 3], [2, 5], [0, 6]],
        [[3, 2], [2, 6], [3, 1]],
        [("1 0 0", "1 0"), ("4/5 1/5 0", "2/3 1/3"), ("0 1/3 2/3", "1/3 2/3")],
    ),
    "handbook-degenerate": (
        [[3, 3], [2, 5], [0, 6]],
        [[3, 3], [2, 6], [3, 1]],
        [("1 0 0", "1 0"), ("1 0 0", "2/3 1/3"), ("0 1/3 2/3", "1/3 2/3")],
    ),
}


def integer_game(seed, m, n, high=50):
    """Two matrices of whole numbers from 0 to high - 1."""
    return np.random.default_rng(seed).integers(0, high, (2, m, n)).astype(float)


def profiles(equilibria):
    return {each.profile for each in equilibria}


def mixture(text):
    return tuple(map(Fraction, text.split()))


@pytest.mark.parametrize("name", CLASSICS)
def test_classics(name):
    first, second, expected = CLASSICS[name]
    found = all_equilibria(first, second)
    assert found.complete
    assert [each.profile for each in found] == [(mixture(x), mixture(y)) for x, y in expected] or profiles(found) == {
        (mixture(x), mixture(y)) for x, y in expected
    }
    assert len(found) == len(expected)
    assert all(each.max_regret == 0 and each.exact for each in found)
    assert found.degenerate == (name in ("indifferent", "handbook-degenerate"))


def brute_force(A, B):
    """Extreme equilibria by trying every basis of equations: independent of pivoting, and slow."""
    u = np.stack([A, B])
    game = [whole(fractions_of(u, None, player)).matrix for player in range(2)]
    m, n = game[0].shape

    def corners(matrix):  # of {z >= 0, M z <= 1} but the origin, with their labels
        k, d = matrix.shape
        found = {}
        for size in range(1, min(k, d) + 1):
            for rows in itertools.combinations(range(k), size):
                for columns in itertools.combinations(range(d), size):
                    z = equalising_weights(matrix[np.ix_(rows, columns)])
                    if z is None or min(z) < 0:
                        continue
                    total = [sum(matrix[r, c] * w for c, w in zip(columns, z, strict=True)) for r in range(k)]
                    if max(total) > total[rows[0]]:
                        continue
                    row = [0] * d
                    for c, w in zip(columns, z, strict=True):
                        row[c] = w
                    zero = {("own", c) for c in range(d) if row[c] == 0}
                    tight = {("other", r) for r in range(k) if total[r] == max(total)}
                    found[tuple(Fraction(w, sum(row)) for w in row)] = zero | tight
        return found

    swap = {"own": "other", "other": "own"}
    everything = {("own", i) for i in range(m)} | {("other", j) for j in range(n)}
    return {
        (x, y)
        for x, left in corners(game[1].T).items()
        for y, right in corners(game[0]).items()
        if left | {(swap[side], k) for side, k in right} == everything
    }


@pytest.mark.parametrize("high", [2, 3, 5, 100])
@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 3), (4, 3), (4, 4)])
def test_all_equilibria_equal_brute_force_also_where_degenerate(shape, high):
    for seed in range(8):
        A, B = integer_game([seed, high], *shape, high)
        found = all_equilibria(A, B)
        assert found.complete
        assert profiles(found) == brute_force(A, B)
        assert all(each.max_regret == 0 for each in found)
        assert len(profiles(found)) == len(found) > 0


@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (3, 5), (5, 5), (6, 6)])
def test_three_methods_agree_and_the_number_is_odd(shape):
    compared = 0
    for seed in range(12):
        A, B = integer_game(seed, *shape, 1000)
        found = all_equilibria(A, B)
        if found.degenerate:
            continue
        compared += 1
        assert len(found) % 2 == 1
        by_support = support_enumeration(A, B)
        assert profiles(by_support) == profiles(found)
        assert not by_support.degenerate
        by_path = lemke_howson_all(A, B)
        assert profiles(by_path) <= profiles(found)
        in_floating_point = lemke_howson_all(A, B, exact=False)
        assert {each.supports for each in by_path} == {each.supports for each in in_floating_point}
        assert max(each.max_regret for each in in_floating_point) < 1e-9
    assert compared >= 10


@pytest.mark.parametrize("n", [1, 3, 6, 8])
def test_coordination_games_have_every_nonempty_support(n):
    found = all_equilibria(np.eye(n), np.eye(n))
    assert len(found) == 2**n - 1
    assert {each.supports[0] for each in found} == {
        s for k in range(1, n + 1) for s in itertools.combinations(range(n), k)
    }


def test_the_6_by_6_game_with_75_equilibria():
    # von Stengel, "New maximal numbers of equilibria in bimatrix games", Discrete Comput. Geom. 21 (1999)
    A = [
        [9504, -660, 19976, -20526, 1776, -8976],
        [-111771, 31680, -130944, 168124, -8514, 52764],
        [397584, -113850, 451176, -586476, 29216, -178761],
        [171204, -45936, 208626, -263076, 14124, -84436],
        [1303104, -453420, 1227336, -1718376, 72336, -461736],
        [737154, -227040, 774576, -1039236, 48081, -300036],
    ]
    B = np.transpose(
        [
            [72336, -461736, 1227336, -1718376, 1303104, -453420],
            [48081, -300036, 774576, -1039236, 737154, -227040],
            [29216, -178761, 451176, -586476, 397584, -113850],
            [14124, -84436, 208626, -263076, 171204, -45936],
            [1776, -8976, 19976, -20526, 9504, -660],
            [-8514, 52764, -130944, 168124, -111771, 31680],
        ]
    )
    found = all_equilibria(A, B)
    assert len(found) == 75
    assert found.complete
    assert profiles(support_enumeration(A, B)) == profiles(found)


def test_exact_payoffs_are_those_of_the_file():
    thirds = [[Fraction(1, 3), Fraction(0)], [Fraction(0), Fraction(1, 3) * 2]]
    A = [[float(x) for x in row] for row in thirds]
    found = all_equilibria(A, A, lambda player, profile: thirds[profile[0]][profile[1]])
    assert found[1].profile == (mixture("2/3 1/3"),) * 2
    assert found[1].payoffs == (Fraction(2, 9), Fraction(2, 9))
    assert all_equilibria(A, A)[1].payoffs != (Fraction(2, 9), Fraction(2, 9))  # the floats are not thirds


def test_maximal_subsets_are_products_of_equilibria():
    for seed in range(10):
        A, B = integer_game(seed, 4, 4, 2)
        found = all_equilibria(A, B)
        covered = set()
        for subset in found.subsets:
            covered.update(subset)
            xs, ys = ({found[k].profile[i] for k in subset} for i in range(2))
            assert len(subset) == len(xs) * len(ys)
            x = np.mean([[float(p) for p in each] for each in xs], axis=0)
            y = np.mean([[float(p) for p in each] for each in ys], axis=0)
            assert max((A @ y).max() - x @ A @ y, (x @ B).max() - x @ B @ y) < 1e-12
        assert covered == set(range(len(found)))


def test_scaling_and_shifting_payoffs_changes_nothing():
    A, B = integer_game(3, 4, 4, 30)
    assert profiles(all_equilibria(A, B)) == profiles(all_equilibria(2**300 * A - 2**300, B / 2**200))


def test_a_stopped_walk_says_so_and_lists_what_paths_lead_to():
    A, B = np.random.default_rng(0).normal(size=(2, 9, 9))
    everything, stopped = all_equilibria(A, B), all_equilibria(A, B, limit=1000)
    assert not stopped.complete
    assert "limit" in stopped.message
    pure = {tuple(tuple(int(b == a) for b in range(9)) for a in e.profile) for e in pure_equilibria([A, B])}
    assert profiles(lemke_howson_all(A, B)) | pure == profiles(stopped) <= profiles(everything)


def test_a_stopped_walk_lists_every_pure_equilibrium():
    A, B = np.random.default_rng(0).integers(0, 3, (2, 10, 10)).astype(float)
    stopped = all_equilibria(A, B, limit=1000)
    pure = [e.profile for e in pure_equilibria([A, B])]
    assert len(pure) > 10  # more than there are ends of paths
    assert {tuple(s[0] for s in e.supports) for e in stopped if max(map(len, e.supports)) == 1} == set(pure)
    assert stopped.degenerate  # as none of them is strict


def test_large_constant_sum_games_are_solved_by_their_only_equilibrium():
    A = np.random.default_rng(1).normal(size=(12, 14))
    found = all_equilibria(A, -A)
    assert found.complete
    assert len(found) == 1
    assert found[0].max_regret == 0
    assert profiles(found) == profiles([lemke_howson(A, -A)])
    degenerate = np.zeros((12, 12))
    degenerate[0] = 1
    degenerate[1] = 1
    assert len(all_equilibria(degenerate, -degenerate)) == 24


@pytest.mark.parametrize("n", [20, 50])
def test_lemke_howson_ends_on_zero_sum_games(n):
    A = np.random.default_rng(n).normal(size=(n, n))
    ends = [lemke_howson(A, -A, label, exact=False) for label in range(0, 2 * n, 7)]
    assert max(each.max_regret for each in ends) < 1e-9
    assert len({each.supports for each in ends}) == 1  # a zero-sum game of random numbers has one equilibrium
    if n == 20:
        assert lemke_howson(A, -A).supports == ends[0].supports


@pytest.mark.parametrize("high", [1, 2, 3])
def test_lemke_howson_ends_on_degenerate_games(high):
    for seed in range(10):
        A, B = integer_game(seed, 5, 4, high)
        extreme = profiles(all_equilibria(A, B))
        for label in range(9):
            assert lemke_howson(A, B, label).profile in extreme
            assert lemke_howson(A, B, label, exact=False).max_regret < 1e-9


def test_lemke_howson_without_floating_point_at_its_end():
    A, B = np.array([[1.0, 1.0 + 2**-50], [1.0 + 2**-50, 1.0]]), np.eye(2)[::-1].copy()
    assert lemke_howson(A, B).max_regret == 0
    assert in_floats(np.stack([A, B]), 0, pivots=0) is None


def pure_by_loops(u, exact):
    found = []
    for profile in itertools.product(*(range(count) for count in u.shape[1:])):
        margins = []
        for i, own in enumerate(profile):
            line = [exact(i, (*profile[:i], a, *profile[i + 1 :])) for a in range(u.shape[i + 1])]
            rest = line[:own] + line[own + 1 :]
            margins += [line[own] - max(rest)] if rest else []
        if min(margins, default=math.inf) >= 0:
            found.append((profile, min(margins, default=math.inf)))
    return found


@pytest.mark.parametrize("shape", [(4,), (3, 3), (1, 5), (2, 3, 2), (2, 2, 1, 3), (1, 1)])
def test_pure_equilibria_equal_loops(shape):
    for seed in range(20):
        u = np.random.default_rng(seed).integers(0, 4, (len(shape), *shape)) / 3  # thirds: many ties, none exact
        for rational in (None, lambda i, a, u=u: Fraction(round(u[(i, *a)] * 3), 3)):
            exact = rational or (lambda i, a, u=u: Fraction(float(u[(i, *a)])))
            found = pure_equilibria(torch.from_numpy(u), rational)
            assert [(e.profile, e.margin) for e in found] == pure_by_loops(u, exact)
            assert all(e.exact and e.strict == (e.margin > 0) for e in found)


def test_near_ties_are_decided_by_the_payoffs_as_written():
    tiny = Fraction(1, 10**30)
    u = np.full((2, 2, 2), 0.1)
    written = {0: Fraction(1, 10), 1: Fraction(1, 10) + tiny}
    (found,) = pure_equilibria(u, lambda i, a: written[a[i]])
    assert (found.profile, found.strict, found.margin) == ((1, 1), True, tiny)
    assert len(pure_equilibria(u)) == 4


def test_strictness_needs_only_the_payoff_vectors():
    assert strictness(([Fraction(1, 3), 0], [1, Fraction(2, 3)]), (0, 0)) == Fraction(1, 3)
    assert strictness((torch.tensor([1.0, 1.0]),), (0,)) == 0
    assert strictness(([0, 4], [3]), (0, 0)) == -4
    assert strictness(([0], [3]), (0, 0)) == math.inf
    with pytest.raises(InvalidInput, match="profile"):
        strictness(([0, 1],), (2,))


def test_strict_dominance_is_iterated():
    u = np.array([[[3.0, 0.0], [5.0, 1.0]], [[3.0, 5.0], [0.0, 1.0]]])
    assert undominated(u) == [[1], [1]]
    nearly = np.array([[[0.3, 0.3], [0.1 + 0.2, 0.1 + 0.2]], [[0.0, 1.0], [1.0, 0.0]]])
    assert undominated(nearly) == [[1], [0]]
    assert undominated(nearly, rounded=True) == [[0, 1], [0, 1]]


def test_vertices_of_a_cube():
    found = vertices(np.eye(4, dtype=int).astype(object))
    assert len(found.weights) == 2**4 - 1
    assert found.simple
    assert not vertices(np.eye(4, dtype=int).astype(object), limit=1).complete


def test_three_players_with_a_known_mixed_equilibrium():
    # everybody wants to match the other two: v(x) = (p q, (1 - p)(1 - q)); symmetric mixed at 1/2
    u = np.zeros((3, 2, 2, 2))
    u[:, 0, 0, 0] = u[:, 1, 1, 1] = 1
    found = mixed_equilibria(u)
    assert not found.complete
    assert [each.probabilities[0][0] for each in found] == pytest.approx([1, 0.5, 0])


def test_nine_equilibria_of_three_players_with_two_actions():
    # McKelvey and McLennan, Handbook of Computational Economics 1 (1996): two of the nine have everybody mix
    u = np.zeros((3, 2, 2, 2))
    u[:, 0, 0, 0], u[:, 1, 1, 0] = [9, 8, 12], [9, 8, 2]
    u[:, 1, 0, 1], u[:, 0, 1, 1] = [3, 4, 6], [3, 4, 4]
    found = mixed_equilibria(u)
    assert len(found) == 9
    assert sum(all(len(s) == 2 for s in each.supports) for each in found) == 2
    assert all(each.max_regret < 1e-9 for each in found)


def test_a_large_game_of_three_players_gets_at_least_one_equilibrium():
    u = np.random.default_rng(0).normal(size=(3, 12, 12, 12))
    found = mixed_equilibria(u)
    assert not found.complete
    assert len(found) > 0
    assert all(each.max_regret < 1e-8 for each in found)


def test_games_of_several_that_come_down_to_two_players_are_complete():
    A, B = np.array(CLASSICS["sexes"][0], float), np.array(CLASSICS["sexes"][1], float)
    u = np.zeros((3, 2, 3, 2))
    u[0, :, 1:, 1], u[1, :, 1:, 1] = A, B
    u[1, :, 0] = -1  # the second player's first action is dominated
    u[2, :, :, 1] = 1  # and the third player's
    found = mixed_equilibria(u)
    assert found.complete
    assert len(found) == 3
    assert found[1].profile == (mixture("3/5 2/5"), mixture("0 2/5 3/5"), mixture("0 1"))
    assert found[1].payoffs == (Fraction(6, 5), Fraction(6, 5), 1)
    assert profiles(mixed_equilibria(np.stack([A, B]))) == profiles(all_equilibria(A, B))
    assert [each.profile for each in mixed_equilibria([[1.0, 2.0, 2.0]])] == [(mixture("0 1 0"),), (mixture("0 0 1"),)]


@pytest.mark.parametrize("shape", [(2, 2, 2), (3, 3, 3), (2, 2, 2, 2)])
def test_equilibria_of_several_players_are_odd_in_number_and_without_regret(shape):
    for seed in range(5):
        u = np.random.default_rng(seed).normal(size=(len(shape), *shape))
        found = mixed_equilibria(u)
        assert len(found) % 2 == 1
        for each in found:
            assert each.max_regret < 1e-9
            x, letters = each.probabilities, "abcdef"[: len(shape)]
            for i in range(len(shape)):  # regret by hand
                others = [x[j] for j in range(len(shape)) if j != i]
                value = np.einsum(f"{letters},{','.join(letters.replace(letters[i], ''))}->{letters[i]}", u[i], *others)
                assert value.max() - x[i] @ value < 1e-9
        assert {e.profile for e in pure_equilibria(u)} == {
            tuple(s[0] for s in e.supports) for e in found if all(len(s) == 1 for s in e.supports)
        }


def test_a_continuum_of_several_players_is_listed_once():
    found = mixed_equilibria(np.zeros((3, 2, 2, 2)))
    assert found.degenerate
    assert not found.complete
    assert "not isolated" in found.message


def test_best_responses_that_are_not_played_make_a_game_of_several_players_degenerate():
    """Two by two by four, the third player indifferent: the equilibria are a segment (Nau et al., IJGT 32, 2004)."""
    outcomes = [2, 0, 0, 0, 2, 1, 0, 1, 1, 1, 0, 2, 1, 0, 2, 0, 1, 1, 0, 2, 1, 2, 0, 0]
    outcomes += [1, 0, 1, 0, 2, 0, 0, 1, 2, 2, 0, 1, 2, 0, 1, 0, 1, 2, 0, 2, 0, 1, 0, 1]
    found = mixed_equilibria(np.array(outcomes, float).reshape(4, 2, 2, 3).T)
    assert found.degenerate
    assert "degenerate" in found.message
    rows = [np.round(e.probabilities[2], 9).tolist() for e in found]
    assert [0, 0, 0.5, 0.5] in rows  # one end
    assert [0.5, 0.5, 0, 0] in rows
    assert all(e.max_regret < 1e-9 for e in found)
    minority = np.zeros((3, 2, 2, 2))
    for profile in np.ndindex(2, 2, 2):
        minority[(slice(None), *profile)] = [sum(a == b for b in profile) == 1 for a in profile]
    found = mixed_equilibria(minority)  # six pure equilibria, in each of which somebody does not care
    assert found.degenerate


@pytest.mark.parametrize("reward", [1.0, 4.0, 9.0])
def test_logit_path_of_asymmetric_matching_pennies_solves_its_fixed_point(reward):
    # Ochs, Games and Economic Behavior 10 (1995); at the equilibrium row mixes 1/2 and column 1 / (1 + reward)
    from scipy.optimize import brentq

    A, B = np.array([[reward, 0.0], [0.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    lams = [0.0, 0.1, 1.0, 3.0, 10.0, 100.0]
    path = logit_path(np.stack([A, B]), lams)
    assert path.lam.tolist() == pytest.approx(lams)
    for r, lam in enumerate(lams):

        def logistic(t):
            return 0.5 * (1 + math.tanh(t / 2))

        def row(q, lam=lam):
            return logistic(lam * (reward * q - (1 - q)))

        q = brentq(lambda q, lam=lam, row=row: q - logistic(lam * (1 - 2 * row(q))), 0, 1, xtol=1e-14)
        assert float(path.profiles[0][r, 0]) == pytest.approx(row(q), abs=1e-9)
        assert float(path.profiles[1][r, 0]) == pytest.approx(q, abs=1e-9)
    policies, regret = logit_path(np.stack([A, B])).limit
    assert regret < 1e-4
    assert [float(x[0]) for x in policies] == pytest.approx([0.5, 1 / (1 + reward)], abs=1e-3)


def test_logit_path_of_a_symmetric_game_stays_symmetric_and_selects_risk_dominance():
    from scipy.optimize import brentq

    A = np.array([[4.0, 0.0], [3.0, 3.0]])  # stag hunt: hare is risk dominant
    path = logit_path(np.stack([A, A.T]), [0.5, 1.0, 2.0])
    for lam, x, y in zip([0.5, 1.0, 2.0], path.profiles[0], path.profiles[1], strict=True):
        fixed = brentq(lambda p, lam=lam: p - 1 / (1 + math.exp(-lam * (4 * p - 3))), 0, 0.5, xtol=1e-14)
        assert float(x[0]) == pytest.approx(fixed, abs=1e-9)
        assert torch.allclose(x, y)
    policies, regret = logit_path(np.stack([A, A.T])).limit
    assert float(policies[0][1]) == pytest.approx(1)
    assert regret < 1e-9


def test_logit_path_goes_round_turning_points():
    turns = []
    for n, seed in [(3, 0), (3, 1), (3, 12), (3, 18), (4, 12), (5, 8)]:
        u = np.random.default_rng(seed).normal(size=(2, n, n))
        path = logit_path(u)
        turns.append(path.turns)
        policies, regret = path.limit
        assert regret < 1e-4
        nearest = min(
            max(np.abs(p - x.numpy()).max() for p, x in zip(each.probabilities, policies, strict=True))
            for each in all_equilibria(u[0], u[1])
        )
        assert nearest < 1e-3
        lam, (x, y) = path.lam[:, None], path.profiles  # every point solves the equations
        assert torch.allclose(x, torch.softmax(lam * (y @ torch.from_numpy(u[0]).T), -1), atol=1e-7)
        assert torch.allclose(y, torch.softmax(lam * (x @ torch.from_numpy(u[1])), -1), atol=1e-7)
    assert turns == [0, 2, 2, 2, 2, 2]  # what turns back in lam must turn again: the end is at infinity


def test_logit_path_crosses_the_pitchfork_of_a_symmetric_game_on_the_symmetric_branch():
    path = logit_path(np.stack([np.eye(2), np.eye(2)]), [0.0, 1.0, 2.0, 5.0, 100.0])
    assert torch.allclose(path.profiles[0], torch.full((5, 2), 0.5, dtype=torch.float64))
    assert "followed" in path.message


def test_logit_path_of_three_players_ends_at_an_equilibrium():
    for seed in range(3):
        u = np.random.default_rng(seed).normal(size=(3, 3, 3, 3))
        policies, regret = logit_path(u).limit
        assert regret < 1e-4
        distances = [
            max(np.abs(p - x.numpy()).max() for p, x in zip(each.probabilities, policies, strict=True))
            for each in mixed_equilibria(u)
        ]
        assert min(distances) < 1e-3


def test_logit_path_of_one_player_and_of_one_action():
    path = logit_path([[1.0, 2.0]], [0.0, 1.0])
    assert path.profiles[0][1].tolist() == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e)])
    assert logit_path([[[1.0]], [[2.0]]]).limit[1] == 0


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: all_equilibria([[1.0, math.nan]], [[1.0, 1.0]]), r"A\[0, 1\]"),
        (lambda: all_equilibria([[1.0]], [[1.0, 1.0]]), "B"),
        (lambda: all_equilibria([[1.0], [1.0, 2.0]], [[1.0]]), "A"),
        (lambda: all_equilibria(np.zeros((0, 2)), np.zeros((0, 2))), "A"),
        (lambda: pure_equilibria(np.zeros((3, 2, 2))), "payoffs"),
        (lambda: pure_equilibria(np.zeros((2, 2, 0))), "payoffs"),
        (lambda: mixed_equilibria(np.full((2, 2, 2), np.inf)), "payoffs"),
        (lambda: lemke_howson(PENNIES, PENNIES, 4), "label"),
        (lambda: logit_path(np.zeros((2, 2, 2)), [1.0, 0.5]), "lams"),
        (lambda: support_enumeration(np.zeros((20, 20)), np.zeros((20, 20))), "A"),
    ],
    ids=["nan", "shapes", "ragged", "empty", "players", "no-actions", "infinite", "label", "lams", "too-large"],
)
def test_bad_input_is_refused(call, names):
    with pytest.raises(InvalidInput, match=names):
        call()
