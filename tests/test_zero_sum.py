"""Zero-sum games against closed forms, HiGHS, and the gap recomputed from the strategies."""

import itertools
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from gamesim.equilibria import first_order, tableau, zero_sum, zero_sum_lp
from gamesim.equilibria.zero_sum import ZeroSum, solve_zero_sum
from gamesim.errors import InvalidInput
from gamesim.kernels import fused

METHODS = ["auto", "simplex", "double-oracle", "highs", "first-order"]
EXACT = ["auto", "simplex", "double-oracle", "highs"]


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def integers(low: int, high: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(low, high + 1, shape, generator=torch.Generator().manual_seed(seed)).double()


def certify(A: Tensor, found: ZeroSum, tolerance: float = 1e-9) -> None:
    """Strategies on the simplex, and a gap as reported and within the tolerance, by other arithmetic."""
    for x in (found.row, found.column):
        assert bool((x >= 0).all())
        assert_close(x.sum(-1), torch.ones(x.shape[:-1], dtype=x.dtype), rtol=0, atol=1e-12)
    low = A.amin((-1, -2), keepdim=True)
    spread = (A.amax((-1, -2)) - low[..., 0, 0]).clamp(min=1e-300)
    above = ((A - low) @ found.column[..., None])[..., 0].amax(-1)
    below = ((A - low).mT @ found.row[..., None])[..., 0].amin(-1)
    rounding = 1e-13 + 1e-14 * A.abs().amax((-1, -2)) / spread
    assert bool(((above - below) / spread <= tolerance + rounding).all())
    assert bool(((above - below - found.gap).abs() / spread <= rounding).all())
    assert bool(((found.value - low[..., 0, 0] - below) / spread >= -rounding).all())
    assert bool(((above - (found.value - low[..., 0, 0])) / spread >= -rounding).all())


@pytest.mark.parametrize("method", METHODS)
def test_two_by_two_against_the_formula(method: Any) -> None:
    A = gaussian(200, 2, 2)
    (a, b), (c, d) = A.permute(1, 2, 0)
    no_saddle = torch.minimum(a, d) > torch.maximum(b, c)
    no_saddle |= torch.maximum(a, d) < torch.minimum(b, c)
    assert int(no_saddle.sum()) > 30
    found = solve_zero_sum(A, method)
    total = a + d - b - c
    tolerance = {"rtol": 0, "atol": 1e-5 if method == "first-order" else 1e-12}
    assert_close(found.value[no_saddle], ((a * d - b * c) / total)[no_saddle], **tolerance)
    saddle = torch.maximum(torch.minimum(a, b), torch.minimum(c, d))
    assert_close(found.value[~no_saddle], saddle[~no_saddle], **tolerance)
    if method != "first-order":
        assert_close(found.row[no_saddle, 0], ((d - c) / total)[no_saddle], rtol=0, atol=1e-9)
        assert_close(found.column[no_saddle, 0], ((d - b) / total)[no_saddle], rtol=0, atol=1e-9)


KNOWN = {
    "matching-pennies": ([[1, -1], [-1, 1]], 0, [1 / 2, 1 / 2]),
    "rock-paper-scissors": ([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], 0, [1 / 3, 1 / 3, 1 / 3]),
    "diagonal": (np.diag([1.0, 2.0, 4.0]), 4 / 7, [4 / 7, 2 / 7, 1 / 7]),
    "saddle": ([[3, 1, 4], [5, 2, 6], [0, 1, 9]], 2, [0, 1, 0]),
    "constant": ([[7.0, 7.0], [7.0, 7.0]], 7, None),
    "one-row": ([[3.0, -2.0, 5.0]], -2, [1]),
    "one-column": ([[3.0], [-2.0], [5.0]], 5, [0, 0, 1]),
    "one-payoff": ([[-3.0]], -3, [1]),
    "duplicates": ([[1, 1, -1], [-1, -1, 1], [1, 1, -1]], 0, None),
    "morra": ([[0, 2, -3, 0], [-2, 0, 0, 3], [3, 0, 0, -4], [0, -3, 4, 0]], 0, None),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", KNOWN)
def test_known_games(name: str, method: Any) -> None:
    A, value, row = KNOWN[name]
    found = solve_zero_sum(A, method)
    tolerance = 1e-5 if method == "first-order" else 1e-12
    assert float(found.value) == pytest.approx(value, abs=tolerance)
    if row is not None:
        assert found.row.tolist() == pytest.approx(row, abs=1e-2 if method == "first-order" else 1e-12)
    certify(torch.as_tensor(np.asarray(A, float)), found, 1e-6 if method == "first-order" else 1e-12)


def kuhn_poker() -> Tensor:
    """27 x 64 expected payoffs: per card bet, pass-fold or pass-call; per card an answer to a pass and one to a bet."""
    payoffs = torch.zeros(27, 64, dtype=torch.float64)
    first = list(itertools.product(("bet", "fold", "call"), repeat=3))
    second = list(itertools.product(itertools.product(("check", "bet"), ("fold", "call")), repeat=3))
    for (i, plan), (j, answer) in itertools.product(enumerate(first), enumerate(second)):
        for one, two in itertools.permutations(range(3), 2):
            sign = 1 if one > two else -1
            if plan[one] == "bet":
                paid = 2 * sign if answer[two][1] == "call" else 1
            elif answer[two][0] == "check":
                paid = sign
            else:
                paid = 2 * sign if plan[one] == "call" else -1
            payoffs[i, j] += paid / 6
    return payoffs


@pytest.mark.parametrize("method", EXACT)
def test_kuhn_poker_is_worth_minus_an_eighteenth(method: Any) -> None:
    A = kuhn_poker()
    found = solve_zero_sum(A, method)
    assert float(found.value) == pytest.approx(-1 / 18, abs=1e-12)
    certify(A, found, 1e-12)


CYCLING = {  # min c x, M x <= b, x >= 0, and the optimum: the simplex method with the largest cost first cycles on each
    "beale": ([[1 / 4, -8, -1, 9], [1 / 2, -12, -1 / 2, 3], [0, 0, 1, 0]], [0, 0, 1], [-3 / 4, 20, -1 / 2, 6], -5 / 4),
    "kuhn": ([[-2, -9, 1, 9], [1 / 3, 1, -1 / 3, -2], [2, 3, -1, -12]], [0, 0, 2], [-2, -3, 1, 12], -2),
    "chvatal": ([[0.5, -5.5, -2.5, 9], [0.5, -1.5, -0.5, 1], [1, 0, 0, 0]], [0, 0, 1], [-10, 57, 9, 24], -1),
}


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("name", CYCLING)
def test_programs_on_which_the_simplex_method_cycles(name: str, compiled: bool) -> None:
    """As the symmetric game of Dantzig, whose equilibria hold primal and dual solutions; it is as degenerate."""
    M, b, c, optimum = (np.asarray(each, float) for each in CYCLING[name])
    m, n = M.shape
    game = np.zeros((m + n + 1, m + n + 1))
    game[:m, m:-1], game[:m, -1], game[m:-1, -1] = M, -b, -c
    game[m:-1, :m], game[-1, :m], game[-1, m:-1] = -M.T, b, c
    with fused(compiled):
        found = solve_zero_sum(game, "simplex")
    certify(torch.from_numpy(game), found, 1e-12)
    assert float(found.value) == pytest.approx(0, abs=1e-12)
    scale = float(found.column[-1])
    assert scale > 1e-6
    assert float(found.column[m:-1] @ torch.from_numpy(c)) / scale == pytest.approx(float(optimum), abs=1e-9)


BATCHES = {
    "gaussian": gaussian(60, 7, 7),
    "wide": gaussian(40, 4, 9, seed=1),
    "tall": gaussian(40, 9, 4, seed=2),
    "signs": integers(0, 1, 60, 8, 8, seed=3) * 2 - 1,
    "ties": integers(-2, 2, 60, 6, 7, seed=4),
    "sparse": gaussian(40, 12, 12, seed=5) * (integers(0, 9, 40, 12, 12, seed=6) == 0),
    "rank-2": gaussian(20, 15, 2, seed=7) @ gaussian(20, 2, 15, seed=8),
    "skew": integers(-3, 3, 20, 11, 11, seed=9).triu(1) - integers(-3, 3, 20, 11, 11, seed=9).triu(1).mT,
    "middling": gaussian(3, 40, 45, seed=10),
}


@pytest.mark.parametrize("name", BATCHES)
def test_random_batches_against_highs(name: str) -> None:
    A = BATCHES[name]
    reference = solve_zero_sum(A, "highs")
    certify(A, reference)
    found = solve_zero_sum(A, "simplex")
    certify(A, found, 1e-12)
    assert_close(found.value, reference.value, rtol=0, atol=1e-9)
    with fused(False):
        assert_close(solve_zero_sum(A, "simplex").value, found.value, rtol=0, atol=1e-12)
    assert_close(solve_zero_sum(A, "double-oracle").value, found.value, rtol=0, atol=1e-11)
    approximate = solve_zero_sum(A, "first-order", tolerance=1e-3)
    certify(A, approximate, 1e-3)


def test_a_batch_is_its_games_one_by_one() -> None:
    A = gaussian(2, 3, 5, 6)
    A[0, 1], A[1, 2] = integers(-1, 1, 5, 6), 3.0
    for method in EXACT:
        together = solve_zero_sum(A, method)  # type: ignore[arg-type]
        assert together.value.shape == together.gap.shape == (2, 3)
        assert together.row.shape == (2, 3, 5)
        assert together.column.shape == (2, 3, 6)
        for i, j in itertools.product(range(2), range(3)):
            alone = solve_zero_sum(A[i, j], method)  # type: ignore[arg-type]
            for name in ("value", "row", "column", "gap"):
                assert_close(getattr(together, name)[i, j], getattr(alone, name), rtol=0, atol=1e-14)
    empty = solve_zero_sum(torch.zeros(0, 3, 2))
    assert (empty.value.shape, empty.row.shape, empty.column.shape) == ((0,), (0, 3), (0, 2))


MATRIX = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.lists(st.integers(-3, 3), min_size=n, max_size=n), min_size=1, max_size=5)
)


def exact_gap(A: list[list[int]], x: list[float], y: list[float]) -> Fraction:
    rows, columns = [Fraction(p) for p in x], [Fraction(p) for p in y]
    above = max(sum((a * q for a, q in zip(row, columns, strict=True)), Fraction(0)) for row in A) / sum(columns)
    below = min(sum((a * p for a, p in zip(c, rows, strict=True)), Fraction(0)) for c in zip(*A, strict=True))
    return above - below / sum(rows)


@given(MATRIX)
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
def test_small_integer_games_with_ties(A: list[list[int]]) -> None:
    found = solve_zero_sum(A, "simplex")
    gap = exact_gap(A, found.row.tolist(), found.column.tolist())
    assert -Fraction(1, 10**15) <= gap <= Fraction(1, 10**13)
    with fused(False):
        assert float(solve_zero_sum(A, "simplex").value) == pytest.approx(float(found.value), abs=1e-13)
    other = solve_zero_sum([[-a for a in column] for column in zip(*A, strict=True)], "simplex")
    assert float(other.value) == pytest.approx(-float(found.value), abs=1e-13)


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize(
    ("scale", "shift"),
    [(1e-12, 0), (1e12, 0), (1, 1e6), (1e-6, 1), (1e-310, 0), (1e300, 0), (5e307, 0), (1e12, -1e15)],
)
def test_payoffs_of_any_size(method: Any, scale: float, shift: float) -> None:
    A = integers(-2, 2, 4, 5, 6, seed=11)
    A[:, 0, 0], A[:, 1, 1] = 2, -2
    plain, moved = solve_zero_sum(A, method), solve_zero_sum(scale * A + shift, method)
    rounding = 1e-12 + 1e-15 * abs(shift) / scale + 5e-324 / scale
    assert_close((moved.value - shift) / scale, plain.value, rtol=0, atol=10 * rounding)
    assert bool((moved.gap / scale <= 1e-9).all())


def test_a_range_that_is_no_number() -> None:
    largest = sys.float_info.max
    for compiled in (True, False):
        with fused(compiled):
            found = solve_zero_sum(torch.tensor([[largest, -largest], [-largest, largest]], dtype=torch.float64))
        assert abs(float(found.value)) < 1e-12 * largest
        assert found.row.tolist() == pytest.approx([0.5, 0.5], abs=1e-15)


def test_payoffs_of_every_size_in_one_game() -> None:
    exponents = gaussian(300, 5, 8, seed=12) * 6
    A = gaussian(300, 5, 8, seed=13) * 10**exponents
    certify(A, solve_zero_sum(A))


def test_what_the_simplex_method_leaves_open_goes_to_highs(monkeypatch: pytest.MonkeyPatch) -> None:
    A = gaussian(4, 5, 5)
    right = solve_zero_sum(A)
    wrong = right.row.clone()
    wrong[2] = torch.eye(5, dtype=torch.float64)[0]
    monkeypatch.setattr(
        zero_sum, "by_simplex", lambda games: zero_sum.judged(games, wrong.clone(), right.column.clone())
    )
    assert float(solve_zero_sum(A, "simplex").gap[2]) > 1e-2
    certify(A, solve_zero_sum(A))
    monkeypatch.setattr(zero_sum_lp, "solve", lambda payoffs: (np.full(5, 0.2), np.full(5, 0.2)))
    with pytest.warns(RuntimeWarning, match="of the payoff range is left"):
        left = solve_zero_sum(A)
    assert float(left.gap[2]) > 1e-2
    assert_close(left.value[:2], right.value[:2])


def test_strategies_that_are_no_numbers_are_never_certified(monkeypatch: pytest.MonkeyPatch) -> None:
    A = gaussian(3, 3)
    nothing = torch.full((1, 3), torch.nan, dtype=torch.float64)
    monkeypatch.setattr(zero_sum, "by_simplex", lambda games: zero_sum.judged(games, nothing, nothing))
    certify(A, solve_zero_sum(A))


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6, 1e-8])
def test_first_order_reaches_its_gap(tolerance: float) -> None:
    A = gaussian(3, 60, 50, seed=14)
    found = solve_zero_sum(A, "first-order", tolerance)
    certify(A, found, tolerance)
    exact = solve_zero_sum(A, "simplex").value
    spread = A.amax((-1, -2)) - A.amin((-1, -2))
    assert bool(((found.value - exact).abs() / spread <= tolerance).all())


def test_first_order_keeps_its_best_when_time_is_up() -> None:
    A = gaussian(2, 20, 20, seed=15).sigmoid()
    gaps = [first_order.gap(A, *first_order.approximate(A, 1e-12, limit)) for limit in (1, 30, 300)]
    assert bool((gaps[0] > gaps[1]).all())
    assert bool((gaps[1] > gaps[2]).all())


def test_first_order_iterations_are_those_of_the_box() -> None:
    """Three iterations in plain arithmetic."""
    A = gaussian(4, 3, seed=16).sigmoid()
    a = A.numpy()
    x, y, R, Q, g, mean_x, mean_y = np.full(4, 1 / 4), np.full(3, 1 / 3), np.zeros(4), np.zeros(3), np.zeros(4), 0, 0
    for t in (1, 2, 3):
        ahead = np.maximum(R + g, 0)
        x = ahead / ahead.sum() if ahead.sum() > 0 else x
        h = (x @ a) @ y - x @ a
        Q = np.maximum(Q + h, 0)
        ahead = np.maximum(Q + h, 0)
        y = ahead / ahead.sum() if ahead.sum() > 0 else y
        g = a @ y - x @ a @ y
        R = np.maximum(R + g, 0)
        mean_x, mean_y = mean_x + t**2 * x, mean_y + t**2 * y
    (row,), (column,) = first_order.approximate(A[None], 1e-12, limit=3)
    assert_close(row, torch.from_numpy(mean_x / 14), rtol=0, atol=1e-12)
    assert_close(column, torch.from_numpy(mean_y / 14), rtol=0, atol=1e-12)


def test_double_oracle_adds_what_it_began_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_order, "approximate", lambda A, gap: (A.new_ones(1, 30) / 30, A.new_ones(1, 25) / 25))
    monkeypatch.setattr("gamesim.equilibria.double_oracle.NEAR", 0.0)
    A = gaussian(30, 25, seed=17)
    certify(A, solve_zero_sum(A, "double-oracle"), 1e-11)


@pytest.mark.parametrize("compiled", [True, False])
def test_large_games_take_the_way_that_is_fast(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for name in ("by_double_oracle", "by_highs", "by_simplex"):
        true = getattr(zero_sum, name)
        monkeypatch.setattr(zero_sum, name, lambda games, name=name, true=true: calls.append(name) or true(games))
    monkeypatch.setattr(zero_sum, "LARGE", 12)
    monkeypatch.setattr(zero_sum, "PLAIN", 100)
    A = gaussian(2, 12, 14, seed=19)
    with fused(compiled):
        certify(A, solve_zero_sum(A))
        assert calls[0] == ("by_double_oracle" if compiled else "by_highs")
        calls.clear()
        certify(A[:, :11], solve_zero_sum(A[:, :11]))
        assert calls[0] == ("by_simplex" if compiled else "by_highs")
        calls.clear()
        certify(A[:, :3], solve_zero_sum(A[:, :3]))
        assert calls == ["by_simplex"]


def test_pivots_stop_at_the_limit() -> None:
    A = 1 + gaussian(2, 9, 9, seed=18).sigmoid()
    x, y = tableau.solve(A, 2)
    assert_close(x.sum(-1), torch.ones(2, dtype=torch.float64))
    assert bool((first_order.gap(A, x, y) > 1e-3).all())
    x, y = tableau.solve(A, 100)
    assert bool((first_order.gap(A, x, y) < 1e-12).all())


@pytest.mark.parametrize(
    "A", [[[1, -1], [-1, 1]], np.array([[1, -1], [-1, 1]], np.int8), torch.tensor([[1.0, -1.0], [-1.0, 1.0]])]
)
def test_what_may_come_in(A: Any) -> None:
    reversed_, locked = np.asarray(A)[::-1], np.broadcast_to(np.asarray(A), (3, 2, 2))[0]
    for given_ in (A, torch.as_tensor(A).float().requires_grad_(), torch.as_tensor(A).mT, reversed_, locked):
        found = solve_zero_sum(given_)
        assert found.row.dtype == found.value.dtype == torch.float64
        assert not found.row.requires_grad
        assert found.row.tolist() == pytest.approx([0.5, 0.5], abs=1e-15)


def test_numbers_keep_their_digits() -> None:
    assert float(solve_zero_sum([[0.1]]).value) == 0.1
    assert float(solve_zero_sum([[1, 2**40 + 1]]).value) == 1
    assert float(solve_zero_sum([[2**40 + 1]]).value) == 2**40 + 1


@pytest.mark.parametrize(
    ("A", "message"),
    [
        ([[1.0, float("nan")]], r"A\[0, 1\]: got nan, expected a finite payoff"),
        (torch.tensor([[[1.0]], [[torch.inf]]]), r"A\[1, 0, 0\]: got inf"),
        ([1.0, 2.0], r"A: got 'shape \(2,\)', expected \[..., m, n\]"),
        (torch.zeros(3, 0), r"A: got 'shape \(3, 0\)'"),
        (torch.zeros(0, 3), r"A: got 'shape \(0, 3\)'"),
        ([["a"]], "A: got 'list', expected a matrix of numbers"),
        (None, "A: got 'NoneType'"),
        ([[1.0], [1.0, 2.0]], "A: got 'list', expected a matrix of numbers"),
        ([[1j]], "A: got 'dtype torch.complex128'"),
    ],
    ids=["nan", "inf", "vector", "no-columns", "no-rows", "text", "none", "ragged", "complex"],
)
def test_bad_payoffs_are_refused(A: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        solve_zero_sum(A)


def test_bad_options_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"method: got 'simplx'.*did you mean simplex"):
        solve_zero_sum([[1.0]], "simplx")  # type: ignore[arg-type]
    for tolerance in (0.0, -1.0, float("nan"), 1.0):
        with pytest.raises(InvalidInput, match="tolerance: got"):
            solve_zero_sum([[1.0]], tolerance=tolerance)
