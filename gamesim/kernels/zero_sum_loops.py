"""The simplex method on matrix games in a loop, one thread: gamesim.equilibria.tableau over again, tableau by tableau.

Rows are updated four at a time, and the pass that updates a tableau adds up the column norms which price the next
pivot: a pivot reads and writes the tableau once.
"""

# mypy: ignore-errors
import numpy as np
from numba import float64, int64, njit, types, uint64, void

from gamesim.kernels.rows import OPTIONS, cached

F1, F2, F3 = (types.Array(float64, d, "C") for d in (1, 2, 3))
COST, PIVOT, TIE, ZERO = 1e-11, 1e-9, 1e-12, 1e-13  # as in gamesim.equilibria.tableau

_plain = njit(**OPTIONS)
_vector = njit(error_model="numpy", fastmath={"contract", "reassoc", "nsz", "nnan"})  # minima and sums in any order
_honest = njit(error_model="numpy", fastmath={"contract", "reassoc", "nsz"})  # the same, but NaN stays NaN


@_vector
def _update(T, column, row, norm):
    """T -= column row^T, and norm[s] = 1 + |T[:, s]|^2 of what results."""
    m, n = T.shape
    for s in range(n):
        norm[s] = 1.0
    r = 0
    while r + 3 < m:
        a0, a1, a2, a3 = column[r], column[r + 1], column[r + 2], column[r + 3]
        t0, t1, t2, t3 = T[r], T[r + 1], T[r + 2], T[r + 3]
        for s in range(n):
            q = row[s]
            x0, x1, x2, x3 = t0[s] - a0 * q, t1[s] - a1 * q, t2[s] - a2 * q, t3[s] - a3 * q
            t0[s], t1[s], t2[s], t3[s] = x0, x1, x2, x3
            norm[s] += (x0 * x0 + x1 * x1) + (x2 * x2 + x3 * x3)
        r += 4
    while r < m:
        for s in range(n):
            x0 = T[r, s] - column[r] * row[s]
            T[r, s] = x0
            norm[s] += x0 * x0
        r += 1


@_vector
def _enter(cost, norm, price):
    """The column of the steepest edge, -1 at the optimum."""
    best = 0.0
    for s in range(len(cost)):
        price[s] = cost[s] * cost[s] / norm[s] if cost[s] > COST else 0.0
        best = max(best, price[s])
    if best > 0.0:
        for s in range(len(cost)):
            if price[s] == best:
                return s
    return -1


@_vector
def _leave(column, bound, order, ratio):
    """The row that blocks first; among rows that tie, the one that would block first under the perturbation."""
    lowest = np.inf
    for r in range(len(column)):
        ratio[r] = bound[r] / column[r] if column[r] > PIVOT else np.inf
        lowest = min(lowest, ratio[r])
    found, least = -1, np.inf
    if lowest < np.inf:
        for r in range(len(column)):
            if ratio[r] <= lowest + TIE and order[r] / column[r] < least:
                found, least = r, order[r] / column[r]
    return found


@_vector
def _optimise(T, bound, order, cost, norm, basic, other, row, column, price, ratio, limit):
    """Pivots from the slack basis to the optimum; basic[r] and other[s] name the variables of rows and columns."""
    m, n = T.shape
    for pivots in range(limit):
        s = _enter(cost, norm, price)
        if s < 0:
            return pivots
        for r in range(m):
            column[r] = T[r, s]
        r = _leave(column, bound, order, ratio)
        if r < 0:
            return pivots
        for i in range(m):
            T[i, s] = 0.0
        inverse = 1.0 / column[r]
        for j in range(n):
            row[j] = T[r, j] * inverse
            T[r, j] = 0.0
        row[s] = inverse
        first, second, price_of = bound[r] * inverse, order[r] * inverse, cost[s]
        for i in range(m):
            left = bound[i] - column[i] * first
            bound[i] = left if left > ZERO else 0.0
            order[i] -= column[i] * second
        bound[r], order[r] = first, second
        cost[s] = 0.0
        for j in range(n):
            cost[j] -= price_of * row[j]
        column[r] = -1.0
        _update(T, column, row, norm)
        basic[r], other[s] = other[s], basic[r]
    return limit


@_honest
def _judge(A, low, unit, x, y, felt):
    """max (A - low) y and min x^T (A - low), the payoffs in units of 1 / unit."""
    m, n = A.shape
    for s in range(n):
        felt[s] = 0.0
    most, least = -np.inf, np.inf
    for r in range(m):
        total = 0.0
        for s in range(n):
            total += (A[r, s] * unit - low) * y[s]
        if total > most or total != total:
            most = total
        if x[r] != 0.0:
            for s in range(n):
                felt[s] += (A[r, s] * unit - low) * x[r]
    for s in range(n):
        if felt[s] < least or felt[s] != felt[s]:
            least = felt[s]
    return most, least


@_honest
def _normalise(x):
    """x / sum x, uniform where nothing was found."""
    total = 0.0
    for i in range(len(x)):
        total += x[i]
    for i in range(len(x)):
        x[i] = x[i] / total if total > 0.0 else 1.0 / len(x)


@_plain
def _scale(A):
    """The least payoff, what it is scaled by lest ranges overflow, and the payoff range, or 1."""
    m, n = A.shape
    low = high = A[0, 0]
    for r in range(m):
        for s in range(n):
            low, high = min(low, A[r, s]), max(high, A[r, s])
    unit = 1.0 if 0.5 * high - 0.5 * low < 8e307 else 0.5
    low, high = low * unit, high * unit
    extent = high - low
    divisor = extent if extent > 0.0 else 1.0
    return low, unit, divisor


@_plain
def _set_up(A, low, unit, divisor, ties, T, bound, order, cost, norm, basic, other):
    """The tableau of payoffs between 1 and 2, with all rows basic."""
    m, n = A.shape
    norm[:] = 1.0
    for r in range(m):
        for s in range(n):
            entry = 1.0 + (A[r, s] * unit - low) / divisor
            T[r, s] = entry
            norm[s] += entry * entry
        bound[r], order[r], basic[r] = 1.0, ties[r], n + r
    for s in range(n):
        cost[s], other[s] = 1.0, s


@_plain
def _between(most, least, low, unit, divisor):
    """The value, the gap and the gap over the payoff range, from what both players can be held to."""
    left = most - least
    left = 0.0 if left < 0.0 else left  # max() might take NaN for 0
    return (low + 0.5 * (most + least)) / unit, left / unit, left / divisor


@_plain
def _break_ties(ties):
    """Numbers between 1 and 2 without relations between them, from a congruential generator."""
    word = uint64(1)
    for r in range(len(ties)):
        word = word * uint64(6364136223846793005) + uint64(1442695040888963407)
        ties[r] = 1.0 + float64(word >> uint64(11)) * 2.0**-53


@cached(njit, void(F3, F2, F2, F1, F1, F1, int64), nogil=True)
def solve(games, rows, columns, value, gap, relative, limit):
    """Strategies rows[g, r], columns[g, s] of games[g, r, s], value, gap, gap / payoff range; at most limit pivots."""
    count, m, n = games.shape
    T, norm, cost, row = np.empty((m, n)), np.empty(n), np.empty(n), np.empty(n)
    column, bound, order, ties = np.empty(m), np.empty(m), np.empty(m), np.empty(m)
    price, ratio = np.empty(n), np.empty(m)
    basic, other = np.empty(m, np.int64), np.empty(n, np.int64)
    _break_ties(ties)
    for g in range(count):
        A = games[g]
        low, unit, divisor = _scale(A)
        _set_up(A, low, unit, divisor, ties, T, bound, order, cost, norm, basic, other)
        _optimise(T, bound, order, cost, norm, basic, other, row, column, price, ratio, limit)
        x, y = rows[g], columns[g]
        x[:], y[:] = 0.0, 0.0
        for r in range(m):
            if basic[r] < n:
                y[basic[r]] = bound[r]
        for s in range(n):
            if other[s] >= n:
                x[other[s] - n] = max(-cost[s], 0.0)
        _normalise(x)
        _normalise(y)
        most, least = _judge(A, low, unit, x, y, row)
        value[g], gap[g], relative[g] = _between(most, least, low, unit, divisor)
