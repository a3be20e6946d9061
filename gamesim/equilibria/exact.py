"""Exact arithmetic of small games: payoffs as fractions or whole numbers, and elimination without rounding.

Multiplying a player's payoffs by a positive number and adding a constant leaves every best response as it was, so a
matrix of fractions becomes one of positive whole numbers. Elimination keeps whole numbers whole by dividing each step
by the pivot before it: the entries are minors of the first matrix (Edmonds, J. Res. Nat. Bur. Standards 71B, 1967;
Bareiss, Math. Comp. 22, 1968). Arrays of dtype object hold Python's unbounded whole numbers.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gamesim.errors import refuse

Rational = Callable[[int, tuple[int, ...]], Fraction]
"""(player, profile) -> the payoff exactly as it was written."""

Exact = NDArray[Any]
"""An array of dtype object: Python's whole numbers or fractions."""

Floats = NDArray[np.float64]

Payoffs = Tensor | Floats | list[Any]


def payoff_array(payoffs: Payoffs, field: str = "payoffs") -> Floats:
    """u[player, a1, ..., an] in float64, checked: as many dimensions of actions as players, none empty, all finite."""
    u = _floats(payoffs, field)
    if u.ndim < 2 or u.shape[0] != u.ndim - 1:
        raise refuse(field, f"shape {list(u.shape)}", "one game, [player, a1, ..., an] with n players")
    if u.size == 0:
        raise refuse(field, f"a player without actions: shape {list(u.shape)}", "at least one action for each player")
    return _finite(u, field)


def bimatrix_array(first: Payoffs, second: Payoffs) -> Floats:
    """u[2, a1, a2] from the two matrices A[a1, a2] and B[a1, a2], checked."""
    a, b = _floats(first, "A"), _floats(second, "B")
    if a.ndim != 2 or a.size == 0:
        raise refuse("A", f"shape {list(a.shape)}", "a matrix [a1, a2] with at least one action for each player")
    if a.shape != b.shape:
        raise refuse("B", f"shape {list(b.shape)}", f"the shape of A, {list(a.shape)}")
    return np.stack([_finite(a, "A"), _finite(b, "B")])


def _floats(values: Payoffs, field: str) -> Floats:
    raw = values.detach().cpu().double().numpy() if isinstance(values, Tensor) else values
    try:
        return np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise refuse(field, type(values).__name__, "a tensor, an array or nested lists of numbers") from None


def _finite(u: Floats, field: str) -> Floats:
    bad = ~np.isfinite(u)
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        raise refuse(f"{field}{list(index)}", float(u[index]), "a finite payoff")
    return u


def fractions_of(u: Floats, rational: Rational | None = None, player: int | None = None) -> Exact:
    """Exact payoffs, as u[player, a1, ..., an] or one player's; without `rational` floats are what they say."""
    players = range(len(u)) if player is None else [player]
    found = np.empty((len(players), *u.shape[1:]), dtype=object)
    for row, i in enumerate(players):
        if rational is None:
            found[row] = np.vectorize(Fraction, otypes=[object])(u[i])
        else:
            for profile in np.ndindex(*u.shape[1:]):
                found[(row, *profile)] = Fraction(rational(i, profile))
    return found if player is None else found[0]


class Whole(NamedTuple):
    """One player's payoffs as base + unit * matrix: the same best responses in whole numbers of at least 1."""

    matrix: Exact
    unit: Fraction
    base: Fraction


def whole(payoffs: Exact) -> Whole:
    """Fractions scaled and shifted to whole numbers of at least 1.

    >>> whole(np.array([[Fraction(1, 2), Fraction(-1, 3)]], dtype=object)).matrix.tolist()
    [[2, 1]]
    """
    scale = math.lcm(*(x.denominator for x in payoffs.flat))
    numbers = np.array([x.numerator * (scale // x.denominator) for x in payoffs.flat], dtype=object)
    least = int(numbers.min())
    numbers -= least
    common = math.gcd(*numbers) or 1
    return Whole(
        (numbers // common + 1).reshape(payoffs.shape), Fraction(common, scale), Fraction(least - common, scale)
    )


def pivot(table: Exact, row: int, column: int, previous: int) -> Exact:
    """One step of elimination without fractions; `previous` is the pivot before it, 1 at first."""
    moved: Exact = (table * table[row, column] - np.outer(table[:, column], table[row])) // previous
    moved[row] = table[row]
    return moved


def equalising_weights(matrix: Exact) -> list[int] | None:
    """Whole numbers z in proportion to the solution of M z = 1, M square, their sign that of det M; None if singular.

    >>> equalising_weights(np.array([[3, 1], [1, 2]], dtype=object))
    [1, 2]
    """
    size = len(matrix)
    table = np.ones((size, size + 1), dtype=object)
    table[:, :-1] = matrix
    previous = 1
    for k in range(size):
        row = next((r for r in range(k, size) if table[r, k] != 0), None)
        if row is None:
            return None
        table[[k, row]] = table[[row, k]]
        table, previous = pivot(table, k, k, previous), table[k, k]
    sign = 1 if previous > 0 else -1
    return [sign * int(z) for z in table[:, -1]]
