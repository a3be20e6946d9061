"""Symmetric games: everyone has the same actions, and is paid by their own and by how many others chose each.

    u_i(a) = f(a_i; k_1, ..., k_{A-1})        k_c = number of players j != i with a_j = c

Players are anonymous: the table f has A n^{A-1} numbers instead of n A^n, and the expectations that payoff vectors are
take O(n^A) operations for all players together, exactly (gamesim.games.counting). Action 0 is chosen by the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.counting import expect_alike, expect_others
from gamesim.games.game import Policy
from gamesim.games.structured import StructuredGame
from gamesim.shapes import broadcast_shapes

LARGEST = 10**7
"""Numbers of a table, at most: 4 actions of 135 players, 3 of 1,800, 2 of millions."""
MOST = 30
"""Actions, at most: the table has a dimension for each."""


@dataclass(frozen=True, eq=False)
class SymmetricGame(StructuredGame):
    """A game of anonymous players.

    >>> party = SymmetricGame.of(lambda others: torch.stack([0 * others[..., 1], 2 - others[..., 1]], -1), 4, 2)
    >>> party.play(torch.tensor([1, 1, 1, 0])).tolist()
    [0.0, 0.0, 0.0, 0.0]
    """

    table: Tensor
    """f[..., a, k1, ..., kK], one dimension of counts 0..n - 1 for each action but the first; leading dimensions are a
    batch of games. Entries whose counts add up to more than n - 1 play no part."""
    action_count: int
    """A, at least 2."""

    def __post_init__(self) -> None:
        if not isinstance(self.table, Tensor):
            raise refuse("table", type(self.table).__name__, "a tensor of payoffs [..., a, k1, ..., kK]")
        if (
            isinstance(self.action_count, bool)
            or not isinstance(self.action_count, int)
            or not 2 <= self.action_count <= MOST
        ):
            raise refuse("action_count", self.action_count, f"a whole number of actions from 2 to {MOST}")
        shape, actions = self.table.shape, self.action_count
        table = tuple(shape[-actions:])
        if len(shape) < actions or table != (actions, *[table[-1]] * (actions - 1)) or table[-1] < 1:
            wanted = f"[..., {actions}, n" + (", n" * (actions - 2)) + "]: own action, then counts of others from 0 on"
            raise refuse("table", f"shape {list(shape)}", wanted)
        if not self.table.is_floating_point():
            raise refuse("table", f"dtype {self.table.dtype}", "floating-point numbers")
        require_size(shape[-1], actions)
        if not bool(self.table.isfinite().all()):
            index = tuple((~self.table.isfinite()).nonzero()[0].tolist())
            raise refuse(f"table{list(index)}", float(self.table[index]), "a finite payoff; 0 where counts cannot be")

    @classmethod
    def of(
        cls, payoffs: Callable[[Tensor], Tensor], players: int, actions: int, dtype: torch.dtype = torch.float64
    ) -> "SymmetricGame":
        """From f: counts[..., a] of the others' choices -> what each own action is paid, [..., a]."""
        require_size(players, actions)
        if not dtype.is_floating_point:
            raise refuse("dtype", dtype, "one of floating-point numbers")
        counted = torch.stack(torch.meshgrid(*[torch.arange(players)] * (actions - 1), indexing="ij"), -1)
        rest = players - 1 - counted.sum(-1, keepdim=True)
        paid = payoffs(torch.cat([rest.clamp(min=0), counted], -1).to(dtype)).to(dtype)
        return cls(torch.where(rest >= 0, paid, 0.0).movedim(-1, 0), actions)

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (self.action_count,) * self.table.shape[-1]

    @property
    def batch(self) -> tuple[int, ...]:
        return tuple(self.table.shape[: -self.action_count])

    @property
    def like(self) -> dict[str, Any]:
        return {"dtype": self.table.dtype, "device": self.table.device}

    def vectors(self, x: Tensor) -> Tensor:
        return expect_others(x, self.table)

    def replies(self, actions: Tensor) -> Tensor:
        n, chosen = self.table.shape[-1], torch.arange(1, self.action_count, device=actions.device)
        own = (actions.unsqueeze(-1) == chosen).long()  # [..., player, counted action]
        others = own.sum(-2, keepdim=True) - own
        place = (others * n ** torch.arange(self.action_count - 2, -1, -1, device=actions.device)).sum(-1)
        table = self.table.flatten(1 - self.action_count)
        batch = broadcast_shapes(place.shape[:-1], self.batch)
        place = place.expand(*batch, n).unsqueeze(-2).expand(*batch, self.action_count, n)
        return table.expand(*batch, *table.shape[-2:]).gather(-1, place).transpose(-1, -2)

    def everyone(self, x: Tensor) -> Policy:
        """The policies in which all players choose by x[..., a]."""
        return (x,) * self.table.shape[-1]

    def values_among(self, x: Tensor) -> Tensor:
        """What each action is paid where all others choose by x[..., a], [..., a]: at a symmetric profile."""
        return expect_alike(x, self.table, self.table.shape[-1] - 1)


def require_size(players: int, actions: int) -> None:
    """Refuse a table that would be too large, before it is made."""
    if not isinstance(players, Integral) or not isinstance(actions, Integral):
        raise refuse("players, actions", f"{players}, {actions}", "whole numbers")
    if players < 1 or actions < 2:
        raise refuse("players, actions", f"{players}, {actions}", "at least 1 player and 2 actions")
    if actions > MOST or actions * players ** (actions - 1) > LARGEST:
        raise refuse(
            "players",
            f"{players} with {actions} actions",
            f"at most {LARGEST:,} numbers: actions x players^(actions - 1)",
        )
