"""All vertices of a best-response polytope, exactly, by walking its edges from pivot to pivot.

For M[k, d] of positive whole numbers the polytope {z >= 0, M z <= 1} has the *labels* j where z_j = 0 and d + r where
row r is tight. A vertex where more than d labels meet has many bases; raising the right-hand sides by eps, eps^2, ...
(the lexicographic rule) splits it into simple ones, so the walk over lexicographically feasible bases is connected,
ends, and misses no vertex (Dantzig, Orden and Wolfe, Pacific J. Math. 5, 1955; Avis, lrs, 2000). The walk is depth
first and undoes its pivots on the way back: whole numbers do not drift, and only the bases seen are kept.
"""

from typing import NamedTuple

import numpy as np

from gamesim.equilibria.exact import Exact, pivot

LIMIT = 2 * 10**8
"""Work of a walk, at most: entries of the table times ten more than their words of 64 bits, summed over pivots. Ten
seconds or so, enough for 12 x 12."""


class Vertices(NamedTuple):
    """Labels (as bits) and weights in proportion to z of every vertex but the origin."""

    labels: list[int]
    weights: list[list[int]]
    complete: bool
    simple: bool
    """No vertex has more than d labels."""


def leaving_row(table: Exact, column: int, slacks: range) -> int:
    """The row of the lexicographically least ratio (right-hand side, then the slacks' columns) / entering column."""
    entering = table[:, column].tolist()
    rows = [r for r, entry in enumerate(entering) if entry > 0]
    for other in (-1, *slacks):
        if len(rows) == 1:
            break
        ratios = table[:, other].tolist()
        least = [rows[0]]
        for r in rows[1:]:
            difference = ratios[r] * entering[least[0]] - ratios[least[0]] * entering[r]
            if difference < 0:
                least = [r]
            elif difference == 0:
                least.append(r)
        rows = least
    return rows[0]


def starting_table(matrix: Exact) -> Exact:
    """[M | I | 1]: the basis of slacks, at z = 0."""
    k, d = matrix.shape
    table = np.zeros((k, d + k + 1), dtype=object)
    table[:, :d], table[:, -1] = matrix, 1
    table[np.arange(k), d + np.arange(k)] = 1
    return table


def vertices(matrix: Exact, limit: int = LIMIT) -> Vertices:
    """All vertices of {z >= 0, M z <= 1} but the origin, for M[k, d] of positive whole numbers.

    >>> found = vertices(np.array([[2, 1], [1, 3]], dtype=object))
    >>> sorted(found.weights)
    [[0, 1], [1, 0], [2, 1]]
    """
    k, d = matrix.shape
    table, previous = starting_table(matrix), 1
    basis, slacks = list(range(d, d + k)), range(d, d + k)
    found: dict[int, list[int]] = {}
    seen, simple, work = {sum(1 << b for b in basis)}, True, 0
    path: list[tuple[int, int, int]] = []  # row, the variable that left it, the pivot before
    choices = [_edges(table, basis, slacks)]
    while choices:
        if not choices[-1]:  # all neighbours seen: back along the edge that led here
            choices.pop()
            if path:
                row, column, before = path.pop()
                table, previous = pivot(table, row, column, previous), before
                basis[row] = column
            continue
        row, column = choices[-1].pop()
        neighbour = sum(1 << b for b in basis) ^ (1 << basis[row]) ^ (1 << column)
        if neighbour in seen:
            continue
        if work > limit:
            return Vertices(list(found), list(found.values()), False, simple)
        seen.add(neighbour)
        path.append((row, basis[row], previous))
        entry = table[row, column]
        table, previous = pivot(table, row, column, previous), entry
        basis[row] = column
        work += table.size * (10 + previous.bit_length() // 64)
        positive = {b for b, right in zip(basis, table[:, -1], strict=True) if right}
        labels = sum(1 << j for j in range(d + k) if j not in positive)
        simple = simple and labels.bit_count() == d
        weights = dict(zip(basis, table[:, -1].tolist(), strict=True))
        found[labels] = [weights.get(j, 0) for j in range(d)]
        choices.append(_edges(table, basis, slacks))
    found = {labels: z for labels, z in found.items() if any(z)}
    return Vertices(list(found), list(found.values()), True, simple)


def _edges(table: Exact, basis: list[int], slacks: range) -> list[tuple[int, int]]:
    """The (row, column) of every pivot to a neighbouring basis."""
    inside = set(basis)
    return [(leaving_row(table, j, slacks), j) for j in range(table.shape[1] - 1) if j not in inside]
