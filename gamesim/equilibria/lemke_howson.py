"""One equilibrium of a two-player game for each label, by complementary pivoting.

With A, B made positive, tables of the two best-response polytopes, columns in the order of the labels:

    P: B^T x + s = 1  (x_i has label i, s_j label m + j)        Q: r + A y = 1  (r_i has label i, y_j label m + j)

Start at (0, 0), which has all labels; drop one, and let each variable that leaves one table enter the other with the
same label, until the dropped label leaves. The lexicographic ratio test makes the path unique, so it ends in degenerate
games, too. Lemke and Howson, J. SIAM 12 (1964); von Stengel, Handbook of Game Theory 3, ch. 45 (2002). The path in
floating point is checked at its end and, should it have lost its way, walked again in whole numbers. Exponentially
long paths: Savani and von Stengel, Econometrica 74 (2006).
"""

from typing import Any

import numpy as np

from gamesim.equilibria.exact import Floats, Payoffs, Rational, Whole, bimatrix_array, fractions_of, pivot, whole
from gamesim.equilibria.profiles import Equilibrium, judge, judge_floats
from gamesim.equilibria.vertices import leaving_row
from gamesim.errors import refuse

TOLERANCE = 1e-9
"""Regret, relative to the range of a player's payoffs, up to which the end of a path in floating point is accepted."""
TIE = 1e-11
"""Relative difference up to which two ratios in floating point are a tie, and size up to which an entry is zero."""
PIVOTS = 10_000
"""Pivots in floating point, at most, for each action of the game; whole numbers have no limit, they cannot cycle."""
REFRESH = 200
"""Pivots after which the tables are made afresh from the payoffs, before rounding adds up."""


def lemke_howson(
    A: Payoffs, B: Payoffs, label: int = 0, rational: Rational | None = None, exact: bool = True
) -> Equilibrium:
    """The equilibrium at the end of the path that drops `label`: a row 0..m-1, or a column m..m+n-1.

    `exact` pivots in whole numbers and answers in fractions; otherwise in floating point, with a regret of at most 1e-9
    of the payoffs' range. Paths are short as a rule, but there are games in which their length grows exponentially.

    >>> lemke_howson([[1, -1], [-1, 1]], [[-1, 1], [1, -1]]).profile[0]
    (Fraction(1, 2), Fraction(1, 2))
    """
    u = bimatrix_array(A, B)
    if not 0 <= label < sum(u.shape[1:]):
        raise refuse("label", label, f"a whole number from 0 to {sum(u.shape[1:]) - 1}")
    if not exact:
        found = in_floats(u, label)
        if found is not None:
            return found
    found = in_whole_numbers([whole(fractions_of(u, rational, player)) for player in range(2)], label)
    if exact:
        return found
    return judge_floats(u, found.probabilities)


def lemke_howson_all(A: Payoffs, B: Payoffs, rational: Rational | None = None, exact: bool = True) -> list[Equilibrium]:
    """The distinct equilibria over all labels; in some games others are not reached by any."""
    labels = sum(bimatrix_array(A, B).shape[1:])
    found: list[Equilibrium] = []
    for label in range(labels):
        new = lemke_howson(A, B, label, rational, exact)
        if not any(_same(new, old) for old in found):
            found.append(new)
    return found


def _same(one: Equilibrium, other: Equilibrium) -> bool:
    if one.exact:
        return one.profile == other.profile
    return all(np.allclose(p, q, atol=1e-8) for p, q in zip(one.probabilities, other.probabilities, strict=True))


def in_whole_numbers(game: list[Whole], label: int) -> Equilibrium:
    """The path in whole numbers: exact, and always at an end."""
    m, n = game[0].matrix.shape
    tables = _tables(game[1].matrix.T, game[0].matrix)
    bases = [list(range(m, m + n)), list(range(m))]
    slacks = [range(m, m + n), range(m)]
    previous, entering, side = [1, 1], label, 0 if label < m else 1
    while True:
        row = leaving_row(tables[side], entering, slacks[side])
        entry = tables[side][row, entering]
        tables[side], previous[side] = pivot(tables[side], row, entering, previous[side]), entry
        bases[side][row], entering = entering, bases[side][row]
        if entering == label:
            break
        side = 1 - side
    right = [dict(zip(basis, table[:, -1].tolist(), strict=True)) for basis, table in zip(bases, tables, strict=True)]
    return judge(game, ([right[0].get(i, 0) for i in range(m)], [right[1].get(m + j, 0) for j in range(n)]))


def _tables(first: Any, second: Any) -> list[Any]:
    """[B^T | I | 1] and [I | A | 1]."""
    (n, m), dtype = first.shape, first.dtype
    p, q = np.zeros((n, m + n + 1), dtype=dtype), np.zeros((m, m + n + 1), dtype=dtype)
    p[:, :m], p[np.arange(n), m + np.arange(n)], p[:, -1] = first, 1, 1
    q[:, m:-1], q[np.arange(m), np.arange(m)], q[:, -1] = second, 1, 1
    return [p, q]


def in_floats(u: Floats, label: int, pivots: int = PIVOTS) -> Equilibrium | None:
    """The path in floating point, or None where its end is no equilibrium or farther than so many pivots per action."""
    m, n = u.shape[1:]
    low, high = u.min((1, 2), keepdims=True), u.max((1, 2), keepdims=True)
    scaled = (u - low) / np.where(high > low, high - low, 1.0) + 1
    start, tables = (_tables(scaled[1].T, scaled[0]) for _ in range(2))
    bases = [np.arange(m, m + n), np.arange(m)]
    slacks = [range(m, m + n), range(m)]
    entering, side = label, 0 if label < m else 1
    for count in range(1, pivots * (m + n)):
        table = tables[side]
        row = _leaving_row_of_floats(table, entering, slacks[side])
        if row is None:
            return None
        table[row] /= table[row, entering]
        column = table[:, entering].copy()
        column[row] = 0
        table -= np.outer(column, table[row])
        leaving = int(bases[side][row])
        bases[side][row], entering = entering, leaving
        if entering == label:
            return _settled(u, scaled, bases)
        side = 1 - side
        if count % REFRESH == 0:
            try:
                tables = [np.linalg.solve(t[:, basis], t) for t, basis in zip(start, bases, strict=True)]
            except np.linalg.LinAlgError:
                return None
    return None


def _leaving_row_of_floats(table: Floats, column: int, slacks: range) -> int | None:
    """`leaving_row` with ties up to rounding; None where no entry is clearly positive."""
    entering = table[:, column]
    rows = np.flatnonzero(entering > TIE)
    for other in (-1, *slacks):
        if len(rows) < 2:
            break
        ratios = table[rows, other] / entering[rows]
        rows = rows[ratios <= ratios.min() + TIE * max(1.0, float(np.abs(ratios).min()))]
    return int(rows[0]) if len(rows) else None


def _settled(u: Floats, scaled: Floats, bases: list[Any]) -> Equilibrium | None:
    """The profile of two bases, solved afresh from the payoffs so that the pivots' rounding is left behind."""
    m, n = u.shape[1:]
    found = []
    for basis, table, own in zip(bases, _tables(scaled[1].T, scaled[0]), (range(m), range(m, m + n)), strict=True):
        try:
            solution = np.linalg.solve(table[:, basis], table[:, -1])
        except np.linalg.LinAlgError:
            return None
        z = np.zeros(m + n)
        z[basis] = solution
        x = z[own.start : own.stop].clip(min=0)
        if not x.sum() > 0:
            return None
        found.append(x / x.sum())
    return judge_floats(u, found) if judge_floats(scaled, found).max_regret <= TOLERANCE else None
