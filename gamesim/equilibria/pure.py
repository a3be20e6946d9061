"""Pure equilibria, and how strict they are, decided without rounding.

A profile a* has the margin

    c(a*) = min_i ( u_i(a*) - max_{a != a_i*} u_i(a; a*_-i) )

It is a Nash equilibrium where c >= 0 and a strict one, in which everybody has a single best response, where c > 0;
then <v(a*), x - a*> <= -(c / 2) ||x - a*||_1 for every mixed x, the norm summed over players. A player with one action
cannot deviate and takes no part in the minimum; where nobody can, c is infinite.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from gamesim.equilibria.dominance import ROUNDING
from gamesim.equilibria.exact import Floats, Payoffs, Rational, payoff_array
from gamesim.errors import refuse


@dataclass(frozen=True)
class PureEquilibrium:
    """A pure Nash equilibrium."""

    profile: tuple[int, ...]
    """a_i*, counted from 0."""
    strict: bool
    """Every player has a single best response: the margin is above 0."""
    margin: Fraction | float
    """c: a fraction where exact; infinite where nobody has a second action."""
    exact: bool
    """Whether the comparisons and the margin are free of rounding."""


def pure_equilibria(payoffs: Payoffs, rational: Rational | None = None) -> list[PureEquilibrium]:
    """All pure equilibria of u[player, a1, ..., an], in lexicographic order, with exact margins.

    Without `rational` the floats are taken as exact. With it they are used to leave out what is clearly no equilibrium,
    and fractions decide the rest.

    >>> [(e.profile, e.strict, str(e.margin)) for e in pure_equilibria([[[3, 0], [0, 2]], [[2, 0], [0, 2]]])]
    [((0, 0), True, '2'), ((1, 1), True, '2')]
    """
    u = payoff_array(payoffs)
    possible = np.ones(u.shape[1:], dtype=bool)
    for i, own in enumerate(u):
        best = own.max(axis=i, keepdims=True)
        guard = 0.0 if rational is None else ROUNDING * np.maximum(np.abs(own), np.abs(best))
        possible &= own >= best - guard
    line = _Lines(u, rational)
    found = []
    for row in np.argwhere(possible).tolist():
        profile = tuple(row)
        margin = min((line.margin(i, profile) for i in range(len(u)) if u.shape[i + 1] > 1), default=math.inf)
        if margin >= 0:
            found.append(PureEquilibrium(profile, margin > 0, margin, True))
    return found


def strictness(values: Sequence[Any], profile: Sequence[int]) -> Fraction | float:
    """The margin c of a profile from the payoff vectors at it, v_i[a] = u_i(a; a*_-i): all that a large game needs.

    Fractions and whole numbers give an exact fraction; floats and tensors are subtracted as they are. Above 0: a strict
    equilibrium; 0: an equilibrium that is not strict; below: what somebody gains by deviating.

    >>> strictness(([3, 1], [Fraction(1, 2), 0, 0]), (0, 0))
    Fraction(1, 2)
    """
    if len(values) != len(profile):
        raise refuse("profile", list(profile), f"{len(values)} actions, one for each payoff vector")
    margins: list[Fraction | float] = []
    for i, (value, action) in enumerate(zip(values, profile, strict=True)):
        row = value.tolist() if hasattr(value, "tolist") else list(value)
        if not 0 <= action < len(row):
            raise refuse(f"profile[{i}]", action, f"an action from 0 to {len(row) - 1}")
        if any(isinstance(v, float) and not math.isfinite(v) for v in row):
            raise refuse(f"values[{i}]", row, "finite payoffs")
        own, others = row.pop(action), row
        if others:
            margins.append(own - max(others) if isinstance(own, float) else Fraction(own) - max(others))
    return min(margins, default=math.inf)


class _Lines:
    """The largest and second largest payoff of a player along each line, exactly, worked out once per line."""

    def __init__(self, u: Floats, rational: Rational | None) -> None:
        self.u, self.rational = u, rational
        self.known: dict[tuple[int, tuple[int, ...]], tuple[int, Fraction, Fraction]] = {}

    def margin(self, player: int, profile: tuple[int, ...]) -> Fraction:
        """u_i(a) less the best of the player's other actions."""
        others = profile[:player] + profile[player + 1 :]
        if (player, others) not in self.known:
            self.known[player, others] = self._best(player, profile)
        place, best, second = self.known[player, others]
        return best - second if place == profile[player] else self.exact(player, profile) - best

    def exact(self, player: int, profile: tuple[int, ...]) -> Fraction:
        return Fraction(float(self.u[(player, *profile)]) if self.rational is None else self.rational(player, profile))

    def _best(self, player: int, profile: tuple[int, ...]) -> tuple[int, Fraction, Fraction]:
        """Where the best action is, its payoff and that of the next best; only close contenders are made exact."""
        at: tuple[int | slice, ...] = (player, *profile[:player], slice(None), *profile[player + 1 :])
        line: Floats = self.u[at]
        second = np.partition(line, -2)[-2]
        guard = ROUNDING * max(abs(float(second)), abs(float(line.max()))) * 2
        close = np.flatnonzero(line >= second - guard).tolist()
        ranked = sorted((-self.exact(player, (*profile[:player], a, *profile[player + 1 :])), a) for a in close)
        return ranked[0][1], -ranked[0][0], -ranked[1][0]
