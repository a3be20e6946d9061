"""All equilibria of a two-player game, in exact arithmetic.

With A, B made positive, the strategies x and y are, up to scaling, the points of the best-response polytopes

    P = {x >= 0, B^T x <= 1},   Q = {y >= 0, A y <= 1}

and (x, y) is an equilibrium where each action is played with probability 0 or is a best response: the labels of x and
y together are all labels. The *extreme* equilibria are pairs of vertices; every other is a convex combination of them,
within a maximal Nash subset conv(X) x conv(Y), a maximal biclique of the graph of extreme equilibria. Complete for
degenerate games, too. Avis, Rosenberg, Savani and von Stengel, "Enumeration of Nash equilibria for two-player games",
Economic Theory 42 (2010); Winkels (1979); Mangasarian (1964).
"""

from itertools import combinations, islice

import numpy as np
from numpy.typing import NDArray

from gamesim.equilibria.dominance import undominated
from gamesim.equilibria.exact import Floats, Payoffs, Rational, Whole, bimatrix_array, fractions_of, whole
from gamesim.equilibria.lemke_howson import in_floats, in_whole_numbers
from gamesim.equilibria.profiles import Equilibria, judge
from gamesim.equilibria.pure import pure_equilibria
from gamesim.equilibria.supports import equalised, support_enumeration, tied
from gamesim.equilibria.vertices import LIMIT, Vertices, vertices

__all__ = ["all_equilibria", "support_enumeration"]

Subsets = tuple[tuple[int, ...], ...]

SUBSETS = 1000
"""Maximal Nash subsets that are listed, and strategies of a player that they are looked for in, at most."""
LARGE = 10
"""Actions of both players above which a constant-sum game is first tried for having a single equilibrium."""
LABELS = 64
"""Paths of Lemke and Howson that are walked where the walk over vertices was stopped, at most."""
SHORT = 100
"""Pivots of such a path, at most, for each action."""


def all_equilibria(A: Payoffs, B: Payoffs, rational: Rational | None = None, limit: int = LIMIT) -> Equilibria:
    """Every extreme equilibrium of the game that pays A[a1, a2] and B[a1, a2], in lexicographic order, exactly.

    `rational(player, (a1, a2))` has the payoffs as they were written; without it the floats are taken at their word.
    Where the walk over vertices would take more work than `limit`, what is found is listed and `complete` is False.

    >>> found = all_equilibria([[3, 0], [0, 2]], [[2, 0], [0, 3]])
    >>> [str(p) for p in found[1].profile[0]], found.complete
    (['3/5', '2/5'], True)
    """
    u = bimatrix_array(A, B)
    game = [whole(fractions_of(u, rational, player)) for player in range(2)]
    kept = undominated(u, rounded=rational is not None)
    first, second = (w.matrix[np.ix_(*kept)] for w in game)
    removed = sum(u.shape[1:]) - sum(map(len, kept))
    about = f"; strictly dominated actions, {removed}, were removed first" if removed else ""
    if min(first.shape) > LARGE and (only := _only_solution(u, game)):
        return only
    xs = vertices(second.T, limit)
    ys = vertices(first, limit) if xs.complete else xs
    if not ys.complete:
        return _unfinished(u, game, rational, limit)
    rows = [_everywhere(z, kept[0], u.shape[1]) for z in xs.weights]
    columns = [_everywhere(z, kept[1], u.shape[2]) for z in ys.weights]
    pairs = _complementary(xs, ys, *first.shape)
    found = [(judge(game, (rows[i], columns[j])), i, j) for i, j in pairs]
    found.sort(key=lambda each: each[0].profile, reverse=True)
    equilibria = tuple(each for each, _, _ in found)
    if xs.simple and ys.simple:
        subsets: Subsets = tuple((k,) for k in range(len(found)))
        return Equilibria(equilibria, True, False, f"all equilibria: the game is not degenerate{about}", subsets)
    several = _maximal_subsets([(i, j) for _, i, j in found])
    return Equilibria(equilibria, True, True, _describe(several, len(found)) + about, several or ())


def _complementary(xs: Vertices, ys: Vertices, m: int, n: int) -> list[tuple[int, int]]:
    """The pairs of vertices whose labels together are all m + n."""
    right = [(z & (1 << n) - 1) << m | z >> n for z in ys.labels]  # Q counts its columns first
    missing = [z ^ (1 << m + n) - 1 for z in xs.labels]
    if xs.simple and ys.simple:  # no label twice: the partner is known
        place = {labels: j for j, labels in enumerate(right)}
        return [(i, place[lacks]) for i, lacks in enumerate(missing) if lacks in place]
    count = -(-(m + n) // 64)
    have, found = _words(right, count), []
    for i, lacks in enumerate(_words(missing, count)):
        found += [(i, int(j)) for j in np.flatnonzero(((have & lacks) == lacks).all(-1))]
    return found


def _words(labels: list[int], count: int) -> NDArray[np.uint64]:
    """Sets of labels as rows of 64-bit words."""
    rows = [[z >> 64 * k & (1 << 64) - 1 for k in range(count)] for z in labels]
    return np.array(rows, dtype=np.uint64).reshape(len(labels), count)


def _everywhere(weights: list[int], kept: list[int], count: int) -> list[int]:
    """Weights of the actions that were kept, and 0 for the others."""
    row = dict(zip(kept, weights, strict=True))
    return [row.get(a, 0) for a in range(count)]


def _unfinished(u: Floats, game: list[Whole], rational: Rational | None, limit: int) -> Equilibria:
    """Pure equilibria and the ends of Lemke-Howson paths: at least one equilibrium, exact like the others."""
    labels = range(min(LABELS, sum(u.shape[1:])))
    paths = {end.supports for label in labels if (end := in_floats(u, label, SHORT))}
    ends = [judge(game, weights) for supports in sorted(paths) if (weights := _mixing(game, supports))]
    ends = [each for each in ends if each.max_regret == 0] or [in_whole_numbers(game, 0)]
    pure = pure_equilibria(u, rational)
    ends += [
        judge(game, [np.eye(n, dtype=int)[a].tolist() for n, a in zip(u.shape[1:], e.profile, strict=True)])
        for e in pure
    ]
    found = sorted({each.profile: each for each in ends}.values(), key=lambda each: each.profile, reverse=True)
    message = (
        f"stopped: to list the vertices of the best-response polytopes takes more work than the limit of {limit:,}; "
        f"listed are the pure ones and those at the ends of Lemke-Howson paths, in all {len(found)}; others are likely"
    )
    return Equilibria(tuple(found), False, not all(e.strict for e in pure), message)


def _mixing(game: list[Whole], supports: tuple[tuple[int, ...], ...]) -> list[list[int]] | None:
    """Weights on exactly these actions that make them equally good, where the equations have one answer."""
    rows, columns = supports
    weights = equalised(game, rows, columns) if len(rows) == len(columns) else None
    return weights if weights and min(map(min, weights)) >= 0 else None


def _only_solution(u: Floats, game: list[Whole]) -> Equilibria | None:
    """The equilibrium of a constant-sum game where it can be seen to be the only one.

    Equilibria of such games are interchangeable: each x goes with this y, so it plays best responses to y and equalises
    what y plays. Where the equations have one answer and nobody has a best response outside the support, x is known.
    """
    first, second = game
    if first.unit != second.unit or len(set((first.matrix + second.matrix).flat)) > 1:
        return None
    end = in_floats(u, 0, SHORT)
    weights = _mixing(game, end.supports) if end else None
    if weights is None or tied(game, weights) or (one := judge(game, weights)).max_regret:
        return None
    message = "the only equilibrium: the game is constant-sum and its solution is not degenerate"
    return Equilibria((one,), True, False, message, ((0,),))


def _maximal_subsets(edges: list[tuple[int, int]]) -> Subsets | None:
    """The maximal bicliques of the graph whose edges are the extreme equilibria, or None where they are too many."""
    import networkx

    sides = [sorted({edge[i] for edge in edges}) for i in range(2)]
    if max(map(len, sides)) > SUBSETS:
        return None
    graph = networkx.Graph(((0, i), (1, j)) for i, j in edges)
    for side, strategies in enumerate(sides):  # with each side made complete, bicliques are cliques
        graph.add_edges_from(combinations([(side, k) for k in strategies], 2))
    place = {edge: k for k, edge in enumerate(edges)}
    found = []
    for clique in islice(networkx.find_cliques(graph), SUBSETS + 1):
        xs, ys = ([k for side, k in clique if side == own] for own in range(2))
        if xs and ys:
            found.append(tuple(sorted(place[i, j] for i in xs for j in ys)))
    return tuple(sorted(found)) if len(found) <= SUBSETS else None


def _describe(subsets: Subsets | None, count: int) -> str:
    start = f"all {count} extreme equilibria of a degenerate game"
    if subsets is None:
        return f"{start}; the others are, player by player, convex combinations of some of them"
    if all(len(subset) == 1 for subset in subsets):
        return f"{start}; there are no others"
    continua = sum(len(subset) > 1 for subset in subsets)
    return (
        f"{start}; each other one is, player by player, a convex combination within a maximal Nash subset, of which "
        f"there are {len(subsets)}, continua among them {continua}"
    )
