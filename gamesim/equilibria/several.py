"""Mixed equilibria of games of any number of players.

What strict dominance leaves of a game may have two players with a choice: then all its equilibria are known exactly.
Otherwise pure equilibria are exact and all there are, and mixed ones are looked for numerically, support by support
(gamesim.equilibria.systems); that none is missing is then not proved, and `complete` is False. A regular game has an
odd number of equilibria (Wilson, SIAM J. Applied Mathematics 21, 1971; Harsanyi, Int. J. Game Theory 2, 1973), so an
even number is looked into with more starts.
"""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import torch

from gamesim.equilibria.bimatrix import all_equilibria
from gamesim.equilibria.dominance import undominated
from gamesim.equilibria.exact import Floats, Payoffs, Rational, payoff_array
from gamesim.equilibria.profiles import Equilibria, Equilibrium, judge_floats, payoff_vectors
from gamesim.equilibria.pure import pure_equilibria
from gamesim.equilibria.quantal import logit_path
from gamesim.equilibria.systems import APART, TOLERANCE, polish, possible_supports, solve_supports

CANDIDATES = 10_000
"""Supports that are looked at, at most, from small to large."""
WORK = 3 * 10**8
"""Numbers that one Newton step of all systems takes, at most: players^2 profiles + (actions + players)^3 for each."""
FOLLOWED = 10_000
"""Payoffs up to which the logit path is followed, too, where the search over supports leaves questions."""


def mixed_equilibria(payoffs: Payoffs, rational: Rational | None = None, starts: int = 16, seed: int = 0) -> Equilibria:
    """Equilibria of u[player, a1, ..., an]: exact and all where two players have a choice, else what is found.

    Of three or more players pure equilibria are exact and mixed ones have a regret of at most 1e-10, payoffs divided by
    their range.

    >>> found = mixed_equilibria([[[[1, 0], [0, 0]], [[0, 0], [0, 1]]]] * 3)
    >>> len(found), found.complete
    (3, False)
    """
    u = payoff_array(payoffs)
    kept = undominated(u, rounded=rational is not None)
    chosen = [i for i, actions in enumerate(kept) if len(actions) > 1]
    if len(chosen) <= 2:
        return _of_two(u, rational, kept, chosen)
    game = u[np.ix_(range(len(u)), *kept)]
    everything = tuple(range(1, u.ndim))
    low, high = game.min(everything, keepdims=True), game.max(everything, keepdims=True)
    scaled = (game - low) / np.where(high > low, high - low, 1.0)
    total = math.prod(2**count - 1 for count in scaled.shape[1:])
    supports = list(possible_supports(scaled, CANDIDATES))
    tried = supports[: int(WORK / starts / (u.ndim * scaled.size + (sum(scaled.shape[1:]) + len(u)) ** 3))]
    certain = pure_equilibria(u, rational)
    pure = [_exact(u, e.profile, rational) for e in certain]
    dense = torch.from_numpy(scaled)
    every = len(tried) == len(supports) and total <= CANDIDATES
    mixed, continua = solve_supports(dense, tried, starts, seed)
    degenerate = continua or not all(e.strict for e in certain) or any(_tied(scaled, x) for x in mixed)
    even = (len(mixed) + len(pure)) % 2 == 0
    if even and every and not degenerate:
        mixed, continua = solve_supports(dense, tried, 8 * starts, seed + 1, mixed)
        degenerate, even = continua, (len(mixed) + len(pure)) % 2 == 0
    approximate: list[list[Floats]] = []
    nothing = not mixed and not pure
    if nothing or (scaled.size <= FOLLOWED and (even or degenerate or not every)):
        end = logit_path(scaled).limit
        exact = [x.numpy() for x in end[0]] if end[1] <= TOLERANCE else polish(dense, end[0])
        known = [[x[actions] for x, actions in zip(e.probabilities, kept, strict=True)] for e in pure] + mixed
        if exact and all(max(map(_distance, exact, other)) > APART for other in known):
            mixed = [*mixed, exact]
        elif nothing:
            approximate = [[x.numpy() for x in end[0]]]
    found = pure + [judge_floats(u, _everywhere(x, kept, u.shape[1:])) for x in mixed + approximate]
    message = (
        f"pure equilibria are all there are; mixed ones were looked for numerically on {len(tried):,} of {total:,} "
        f"supports, {starts} starts each"
    )
    if every:
        message += " (dominance and counting rule out the others unless the game is degenerate)"
    if approximate:
        message += "; none was found: listed is the end of the logit path, close to one"
    elif continua:
        message += "; some are not isolated, at least one of each continuum that was met is listed"
    elif degenerate:
        message += "; the game is degenerate, somebody has best responses that are not played: there may be continua"
    elif len(found) % 2 == 0:
        message += "; a regular game has an odd number, so one is missing or the game is degenerate"
    found.sort(key=lambda each: [[float(p) for p in x] for x in each.profile], reverse=True)
    return Equilibria(tuple(found), False, degenerate, f"{message}; others cannot be ruled out")


def _tied(u: Floats, x: list[Floats]) -> bool:
    """Whether somebody has a best response to x_i[a] that is not played, for payoffs with a range of 1."""
    values = payoff_vectors(list(u), x)
    return any(((v > v.max() - TOLERANCE) & (p == 0)).any() for v, p in zip(values, x, strict=True))


def _distance(x: Floats, y: Floats) -> float:
    return float(np.abs(x - y).max())


def _everywhere(x: list[Floats], kept: list[list[int]], counts: tuple[int, ...]) -> list[Floats]:
    """Policies of the actions that were kept, and 0 for the others."""
    rows = [np.zeros(count) for count in counts]
    for row, actions, own in zip(rows, kept, x, strict=True):
        row[actions] = own
    return rows


def _of_two(u: Floats, rational: Rational | None, kept: list[list[int]], chosen: list[int]) -> Equilibria:
    """All equilibria, exactly, where at most two players have a choice that is not dominated."""
    pair = sorted({*chosen, *range(min(2, len(u)))}, key=lambda i: (i not in chosen, i))[:2]
    pair.sort()
    fixed = [actions[0] for actions in kept]

    def place(profile: tuple[int, ...]) -> tuple[int, ...]:
        full = list(fixed)
        for i, a in zip(pair, profile, strict=False):
            full[i] = kept[i][a]
        return tuple(full)

    at = np.ix_(*(kept[i] if i in pair else [fixed[i]] for i in range(len(u))))
    shape = (*(len(kept[i]) for i in pair), 1)[:2]
    matrices = [u[i][at].reshape(shape) for i in pair]
    matrices += [np.zeros(shape)] * (2 - len(pair))

    def written(player: int, profile: tuple[int, ...]) -> Fraction:
        if player >= len(pair) or rational is None:
            return Fraction(float(matrices[player][profile]))
        return rational(pair[player], place(profile))

    inner = all_equilibria(matrices[0], matrices[1], None if rational is None else written)
    found = []
    for each in inner:
        profile = [[Fraction(0)] * count for count in u.shape[1:]]
        for i, a in enumerate(fixed):
            profile[i][a] = Fraction(1)
        for i, x in zip(pair, each.profile, strict=False):
            profile[i][fixed[i]] = Fraction(0)
            for a, p in zip(kept[i], x, strict=True):
                profile[i][a] = p
        found.append(_exact_mixture(u, tuple(map(tuple, profile)), rational, each.max_regret))
    removed = sum(u.shape[1:]) - sum(map(len, kept))
    about = f"strictly dominated actions, {removed}, leave {len(chosen)} players with a choice; " if removed else ""
    return Equilibria(tuple(found), inner.complete, inner.degenerate, about + inner.message, inner.subsets)


def _exact(u: Floats, actions: tuple[int, ...], rational: Rational | None) -> Equilibrium:
    profile = tuple(
        tuple(Fraction(int(a == b)) for b in range(count)) for a, count in zip(actions, u.shape[1:], strict=True)
    )
    return _exact_mixture(u, profile, rational, Fraction(0))


def _exact_mixture(
    u: Floats, profile: tuple[tuple[Fraction, ...], ...], rational: Rational | None, regret: Fraction | float
) -> Equilibrium:
    """A profile whose regret is known, with its exact payoffs: a sum over the actions that are played."""
    earned = [Fraction(0)] * len(u)
    for actions in product(*([a for a, p in enumerate(x) if p] for x in profile)):
        chance = Fraction(1)
        for x, a in zip(profile, actions, strict=True):
            chance *= x[a]
        for i in range(len(u)):
            earned[i] += chance * (Fraction(float(u[(i, *actions)])) if rational is None else rational(i, actions))
    return Equilibrium(profile, tuple(earned), regret)
