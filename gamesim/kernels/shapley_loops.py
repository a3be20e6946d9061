"""Matrix games that were solved before and have changed a little, in a loop, one thread: gamesim.equilibria.stages.

A basis is tried first: one LU factorisation gives both players' strategies on it, and what these guarantee says whether
they are still optimal. Where they are not, pivots begin anew (zero_sum_loops).
"""

# mypy: ignore-errors
import numpy as np
from numba import boolean, int64, njit, types, void

from gamesim.kernels.rows import cached
from gamesim.kernels.zero_sum_loops import (
    F1,
    F2,
    F3,
    _between,
    _break_ties,
    _judge,
    _normalise,
    _optimise,
    _scale,
    _set_up,
)

B2 = types.Array(boolean, 2, "C")
KEPT = 1e-13  # as in gamesim.equilibria.stages

_plain = njit(error_model="numpy", fastmath={"contract"})


@_plain
def _on_basis(A, low, unit, divisor, basis, x, y, M, inside, order):
    """x and y that make the basic rows and columns equally good, normalised; False without a basis."""
    m, n = A.shape
    k = kc = 0
    for r in range(m):
        x[r] = 0.0
        if basis[r]:
            inside[0, k] = r
            k += 1
    for s in range(n):
        y[s] = 0.0
        if basis[m + s]:
            inside[1, kc] = s
            kc += 1
    if k == 0 or k != kc:
        return False
    rows, columns, right, left = inside[0], inside[1], M[-1], M[-2]
    for i in range(k):
        order[i] = i
        for j in range(k):
            M[i, j] = 1.0 + (A[rows[i], columns[j]] * unit - low) / divisor
    for i in range(k):  # rows change places so that what is divided by is the largest of its column
        best = i
        for j in range(i + 1, k):
            if abs(M[j, i]) > abs(M[best, i]):
                best = j
        if M[best, i] == 0.0:
            return False
        if best != i:
            order[i], order[best] = order[best], order[i]
            for j in range(k):
                M[i, j], M[best, j] = M[best, j], M[i, j]
        inverse = 1.0 / M[i, i]
        for j in range(i + 1, k):
            factor = M[j, i] * inverse
            M[j, i] = factor
            for c in range(i + 1, k):
                M[j, c] -= factor * M[i, c]
    for i in range(k):  # L U y = 1, the right-hand side being the same in any order
        total = 1.0
        for j in range(i):
            total -= M[i, j] * right[j]
        right[i] = total
    for i in range(k - 1, -1, -1):
        total = right[i]
        for j in range(i + 1, k):
            total -= M[i, j] * right[j]
        right[i] = total / M[i, i]
    for i in range(k):  # U^T L^T x = 1, x in the order of the rows of L U
        total = 1.0
        for j in range(i):
            total -= M[j, i] * left[j]
        left[i] = total / M[i, i]
    for i in range(k - 1, -1, -1):
        total = left[i]
        for j in range(i + 1, k):
            total -= M[j, i] * left[j]
        left[i] = total
    for i in range(k):
        y[columns[i]] = max(right[i], 0.0)
        x[rows[order[i]]] = max(left[i], 0.0)
    _normalise(x)
    _normalise(y)
    return True


@cached(njit, void(F3, B2, F2, F2, F1, F1, F1, int64), nogil=True)
def solve(games, basis, rows, columns, value, gap, relative, limit):
    """Strategies rows[g, r], columns[g, s], value, gap, gap / payoff range; basis[g, r then s] is used and replaced."""
    count, m, n = games.shape
    T, norm, cost, row = np.empty((m, n)), np.empty(n), np.empty(n), np.empty(n)
    column, bound, order, ties = np.empty(m), np.empty(m), np.empty(m), np.empty(m)
    price, ratio = np.empty(n), np.empty(m)
    basic, other = np.empty(m, np.int64), np.empty(n, np.int64)
    least_count, most_count = min(m, n), max(m, n)
    M, inside, places = (
        np.empty((least_count + 2, least_count)),
        np.empty((2, most_count), np.int64),
        np.empty(m, np.int64),
    )
    _break_ties(ties)
    for g in range(count):
        A, x, y = games[g], rows[g], columns[g]
        low, unit, divisor = _scale(A)
        most, least = np.inf, 0.0
        if _on_basis(A, low, unit, divisor, basis[g], x, y, M, inside, places):
            most, least = _judge(A, low, unit, x, y, row)
        if not most - least <= KEPT * divisor:
            _set_up(A, low, unit, divisor, ties, T, bound, order, cost, norm, basic, other)
            _optimise(T, bound, order, cost, norm, basic, other, row, column, price, ratio, limit)
            x[:], y[:] = 0.0, 0.0
            basis[g, :] = False
            for r in range(m):
                if basic[r] < n:
                    y[basic[r]] = bound[r]
                    basis[g, m + basic[r]] = True
            for s in range(n):
                if other[s] >= n:
                    x[other[s] - n] = max(-cost[s], 0.0)
                    basis[g, other[s] - n] = True
            _normalise(x)
            _normalise(y)
            most, least = _judge(A, low, unit, x, y, row)
        value[g], gap[g], relative[g] = _between(most, least, low, unit, divisor)
