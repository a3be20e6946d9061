"""What a search for equilibria hands back: profiles with their payoffs and regrets, and whether they are all there are.

At a profile x the payoff vector of player i is v_i(x)[a] = u_i(a; x_-i); the regret is max_a v_i(x)[a] - <v_i(x), x_i>.
With fractions everything here is exact and an equilibrium has regret 0, not nearly 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamesim.equilibria.exact import Floats, Whole

Number = Fraction | float


@dataclass(frozen=True)
class Equilibrium:
    """A mixed profile, fractions where it is exact and floats where it is not."""

    profile: tuple[tuple[Number, ...], ...]
    """x_i(a), one tuple per player."""
    payoffs: tuple[Number, ...]
    """u_i(x)."""
    max_regret: Number
    """max_i of the regret: the fraction 0 where the profile is exact."""

    @property
    def exact(self) -> bool:
        """Whether every probability is a fraction and every comparison was made without rounding."""
        return all(isinstance(p, Fraction) for x in self.profile for p in x)

    @property
    def probabilities(self) -> tuple[Floats, ...]:
        """The profile in floating point, one array [a] per player."""
        return tuple(np.array([float(p) for p in x]) for x in self.profile)

    @property
    def supports(self) -> tuple[tuple[int, ...], ...]:
        """The actions played with positive probability, per player."""
        return tuple(tuple(a for a, p in enumerate(x) if p > 0) for x in self.profile)


@dataclass(frozen=True)
class Equilibria:
    """The equilibria found, whether no other is missing, and in words why."""

    equilibria: tuple[Equilibrium, ...]
    complete: bool
    """True only where it is proved that nothing is missing (in a degenerate game: no extreme equilibrium)."""
    degenerate: bool
    """Some strategy that mixes k actions has more than k best responses: equilibria may come in continua."""
    message: str
    subsets: tuple[tuple[int, ...], ...] = ()
    """Maximal Nash subsets: for each the equilibria, by place in the list, whose convex combinations (player by player)
    are all equilibria; empty where they were not asked for or are more than the limit."""

    def __len__(self) -> int:
        return len(self.equilibria)

    def __iter__(self) -> Any:
        return iter(self.equilibria)

    def __getitem__(self, place: int) -> Equilibrium:
        return self.equilibria[place]


def payoff_vectors(payoffs: Sequence[Any], profile: Sequence[Any]) -> list[Any]:
    """v_i for every player from u_i[a1, ..., an] and rows of weights x_i[a], in whole numbers or in floats."""
    found = []
    for i, value in enumerate(payoffs):
        for j in reversed(range(len(profile))):  # the last first: then axis j is still player j's
            if j != i:
                played = np.flatnonzero(profile[j])
                value = np.tensordot(value.take(played, axis=j), profile[j][played], axes=([j], [0]))
        found.append(value)
    return found


def judge(payoffs: Sequence[Whole], weights: Sequence[Sequence[int]]) -> Equilibrium:
    """The profile in proportion to whole numbers w_i[a], with exact payoffs and its exact largest regret."""
    rows = [np.array(w, dtype=object) for w in weights]
    totals = [sum(w) for w in weights]
    values = payoff_vectors([u.matrix for u in payoffs], rows)
    earned, regrets = [], []
    for u, row, value, total in zip(payoffs, rows, values, totals, strict=True):
        own, everyone = int(row @ value), math.prod(totals)
        earned.append(u.base + u.unit * Fraction(own, everyone))
        regrets.append(u.unit * Fraction(int(value.max()) * total - own, everyone))
    profile = tuple(tuple(Fraction(int(p), total) for p in w) for w, total in zip(weights, totals, strict=True))
    return Equilibrium(profile, tuple(earned), max(regrets))


def judge_floats(u: Floats, profile: Sequence[Floats]) -> Equilibrium:
    """The profile x_i[a] in floating point, with its payoffs and its largest regret up to rounding."""
    values = payoff_vectors(list(u), profile)
    earned = [float(x @ v) for x, v in zip(profile, values, strict=True)]
    regret = max(float(x @ (v.max() - v)) for x, v in zip(profile, values, strict=True))
    return Equilibrium(tuple(tuple(x.tolist()) for x in profile), tuple(earned), regret)


def payoff_slopes(u: Tensor, policy: Sequence[Tensor]) -> list[list[Tensor]]:
    """d v_i(x)[a] / d x_j(c) for j != i, [b, a, c], from u[player, a1, ..., an] and x_i[b, a]; v_i = slope x_j.

    The entry of i = j is zero: nobody's payoff vector depends on their own policy.
    """
    n, batch = len(policy), len(policy[0])
    found = []
    for i in range(n):
        row = (
            {}
            if n == 1
            else _against(u[i].expand(batch, *u.shape[1:]), list(range(n)), i, [j for j in range(n) if j != i], policy)
        )
        row[i] = u.new_zeros(batch, u.shape[i + 1], u.shape[i + 1])
        found.append([row[j] for j in range(n)])
    return found


def _against(
    value: Tensor, letters: list[int], own: int, others: list[int], policy: Sequence[Tensor]
) -> dict[int, Tensor]:
    """For each j of the others what is left, [b, a_own, a_j], when the rest have played; halves share their work."""
    if len(others) == 1:
        (j,) = others
        return {j: value if own < j else value.transpose(1, 2)}
    found, n = {}, len(policy)
    for kept in (others[: len(others) // 2], others[len(others) // 2 :]):
        part, left = value, letters
        for k in reversed([k for k in others if k not in kept]):
            rest = [letter for letter in left if letter != k]
            part, left = torch.einsum(part, [n, *left], policy[k], [n, k], [n, *rest]), rest
        found.update(_against(part, left, own, kept, policy))
    return found
