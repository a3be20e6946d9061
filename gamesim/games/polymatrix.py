"""Polymatrix games: everyone plays a two-player game with each neighbour, one action for all of them.

    u_i(a) = sum over neighbours j of A_ij[a_i, a_j]        v_i(x) = sum_j A_ij x_j

so that payoffs are linear in what each neighbour does, and a game of n players is its edges instead of a tensor of n
dimensions. Yanovskaya, Litovskii Matematicheskii Sbornik 8 (1968); Cai, Candogan, Daskalakis and Papadimitriou,
"Zero-sum polymatrix games", Mathematics of Operations Research 41 (2016).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.finite import are_counts, left_out
from gamesim.games.matrix import LARGEST, as_tensor
from gamesim.games.structured import StructuredGame
from gamesim.shapes import broadcast_shapes

CROWDED = 4  # from n / CROWDED neighbours on one whole matrix serves better than lists of neighbours
WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, eq=False)
class PolymatrixGame(StructuredGame):
    """Two-player games along the edges of a graph.

    >>> same, other = [[1, -1], [-1, 1]], [[-1, 1], [1, -1]]
    >>> chain = PolymatrixGame.between({(0, 1): same, (1, 0): other, (1, 2): [[2, 0], [0, 2]]})
    >>> chain.play(torch.tensor([0, 0, 1])).tolist()
    [1.0, -1.0, 0.0]
    """

    edges: Tensor
    """[edge, 2], pairs (i, j): what j does pays i. An edge that pays both stands twice, once in each direction."""
    matrices: Tensor
    """A_ij[..., edge, a_i, a_j]; leading dimensions are a batch of games."""
    action_counts: tuple[int, ...] = ()
    """Actions of each player, as many as the matrices have rows if left out; the largest must be that."""

    def __post_init__(self) -> None:
        for name in ("edges", "matrices"):
            if not isinstance(getattr(self, name), Tensor):
                raise refuse(name, type(getattr(self, name)).__name__, "a tensor")
        if self.edges.dim() != 2 or self.edges.shape[-1] != 2 or self.edges.dtype not in WHOLE:
            raise refuse("edges", f"{self.edges.dtype} of shape {list(self.edges.shape)}", "whole numbers [edge, 2]")
        object.__setattr__(self, "edges", self.edges.long())
        if self.matrices.dim() < 3 or self.matrices.shape[-2] != self.matrices.shape[-1]:
            raise refuse("matrices", f"shape {list(self.matrices.shape)}", "[..., edge, a_i, a_j], padded to squares")
        widest = self.matrices.shape[-1]
        named = int(self.edges.max()) + 1 if len(self.edges) else 0
        require_room(named, widest)
        counts = (widest,) * named if left_out(self.action_counts) else self.action_counts
        if not are_counts(counts) or max(counts) != widest:
            wanted = f"numbers from 1 to {widest}, one for each player, {widest} for one"
            raise refuse("action_counts", counts, wanted)
        object.__setattr__(self, "action_counts", tuple(counts))
        n = len(counts)
        bad = ((self.edges < 0) | (self.edges >= n)).any(-1) | (self.edges[:, 0] == self.edges[:, 1])
        if bool(bad.any()):
            raise refuse("edges", self.edges[bad][0].tolist(), f"pairs of two different players from 0 to {n - 1}")
        if self.matrices.shape[-3] != len(self.edges) or not self.matrices.is_floating_point():
            shape = f"{self.matrices.dtype} of shape {list(self.matrices.shape)}"
            raise refuse("matrices", shape, f"floating-point numbers [..., {len(self.edges)}, {widest}, {widest}]")
        if not bool(self.matrices.isfinite().all()):
            index = tuple((~self.matrices.isfinite()).nonzero()[0].tolist())
            raise refuse(f"matrices{list(index)}", float(self.matrices[index]), "finite payoffs")
        kept = n * (n if self._crowded else self._degree) * widest**2 * prod(self.batch)
        if kept > LARGEST:
            shown = f"{n} players with up to {self._degree} neighbours, {kept:.1e} numbers"
            raise refuse("edges", shown, f"at most {LARGEST:,} numbers: everyone takes the room of the best connected")

    @classmethod
    def between(cls, matrices: Mapping[tuple[int, int], Any]) -> "PolymatrixGame":
        """From {(i, j): A_ij[..., a_i, a_j]}, matrices of any sizes; players without a pair have nothing to choose."""
        if not isinstance(matrices, Mapping) or not matrices:
            shown = type(matrices).__name__ if matrices else "nothing"
            raise refuse("matrices", shown, "a matrix for each pair (i, j) whose second player pays the first")
        for pair in matrices:
            two = isinstance(pair, tuple) and len(pair) == 2
            if not two or not all(isinstance(i, Integral) and int(i) >= 0 for i in pair):
                raise refuse("matrices", f"the key {pair}", "pairs (i, j) of players counted from 0 on")
        tables = {(i, j): as_tensor(table, f"matrices[{i}, {j}]").double() for (i, j), table in matrices.items()}
        for (i, j), table in tables.items():
            if table.dim() < 2 or 0 in table.shape:
                raise refuse(f"matrices[{i}, {j}]", f"shape {list(table.shape)}", "[..., a_i, a_j], at least one each")
        try:
            broadcast_shapes(*(table.shape[:-2] for table in tables.values()))
        except RuntimeError as error:
            raise refuse("matrices", str(error), "as many games of each pair") from None
        require_room(1 + max(map(max, tables)), max(max(table.shape[-2:]) for table in tables.values()))
        counts = [1] * (1 + max(map(max, tables)))
        for (i, j), table in tables.items():
            counts[i], counts[j] = max(counts[i], table.shape[-2]), max(counts[j], table.shape[-1])
        for (i, j), table in tables.items():
            if table.shape[-2:] != (counts[i], counts[j]):
                wanted = f"[{counts[i]}, {counts[j]}], as other matrices of these players have"
                raise refuse(f"matrices[{i}, {j}]", f"shape {list(table.shape[-2:])}", wanted)
        widest, pad = max(counts), torch.nn.functional.pad
        padded = [pad(t, (0, widest - t.shape[-1], 0, widest - t.shape[-2])) for t in tables.values()]
        stacked = torch.stack(torch.broadcast_tensors(*padded), -3)
        return cls(torch.tensor(list(tables), device=stacked.device), stacked, tuple(counts))

    @property
    def batch(self) -> tuple[int, ...]:
        return tuple(self.matrices.shape[:-3])

    @property
    def like(self) -> dict[str, Any]:
        return {"dtype": self.matrices.dtype, "device": self.matrices.device}

    def vectors(self, x: Tensor) -> Tensor:
        if self._crowded:
            found = (x.flatten(-2).unsqueeze(-2) @ self._whole).squeeze(-2)
            return found.reshape(*found.shape[:-1], *x.shape[-2:])
        near = x[..., self._neighbours, :].flatten(-2)
        return torch.einsum("...iq,...iqa->...ia", near, self._near)

    def replies(self, actions: Tensor) -> Tensor:
        if self.batch:
            return self.vectors(self.stacked(self.chosen(actions)))
        sources = actions if self._crowded else actions[..., self._neighbours].flatten(-2)
        place = torch.arange(sources.shape[-1], device=actions.device) * max(self.action_counts)
        rows, table = (place + sources), self._whole if self._crowded else self._near.flatten(0, -2)
        bags = rows.reshape(-1, len(self.action_counts) if self._crowded else self._degree)
        found = torch.nn.functional.embedding_bag(bags, table, mode="sum")  # adds up rows without copying them
        return found.reshape(*actions.shape, max(self.action_counts))

    @cached_property
    def _degree(self) -> int:
        """The most neighbours that pay one player, 1 at least."""
        return max(1, int(self.edges[:, 0].bincount().max())) if len(self.edges) else 1

    @property
    def _crowded(self) -> bool:
        """Whether lists of neighbours would be about as long as everybody."""
        return CROWDED * self._degree >= len(self.action_counts)

    @cached_property
    def _whole(self) -> Tensor:
        """One matrix: what player and action (j, b) bring to player and action (i, a), [..., (j, b), (i, a)]."""
        n, widest = len(self.action_counts), max(self.action_counts)
        found = self.matrices.new_zeros(*self.batch, n * n, widest, widest)
        place = self.edges[:, 1] * n + self.edges[:, 0]
        found.index_add_(-3, place, self.matrices.mT)
        found = found.reshape(*self.batch, n, n, widest, widest).transpose(-3, -2)
        return found.reshape(*self.batch, n * widest, n * widest)

    @cached_property
    def _neighbours(self) -> Tensor:
        """Who pays whom, [player, slot]; unused slots have a matrix of zeros."""
        found = torch.zeros(len(self.action_counts) * self._degree, dtype=torch.long, device=self.edges.device)
        return found.index_copy(0, self._slots, self.edges[:, 1]).reshape(-1, self._degree)

    @cached_property
    def _near(self) -> Tensor:
        """The matrices of each player's slots, [..., player, (slot, b), a]."""
        n, widest = len(self.action_counts), max(self.action_counts)
        found = self.matrices.new_zeros(*self.batch, n * self._degree, widest, widest)
        found = found.index_copy(-3, self._slots, self.matrices.mT)
        return found.reshape(*self.batch, n, self._degree * widest, widest)

    @cached_property
    def _slots(self) -> Tensor:
        """The slot of each edge among those of all players."""
        heads = self.edges[:, 0]
        order = heads.argsort(stable=True)
        first = torch.searchsorted(heads[order], heads[order])
        slots = heads[order] * self._degree + torch.arange(len(heads), device=heads.device) - first
        return torch.empty_like(slots).index_copy(0, order, slots)


def require_room(players: int, widest: int) -> None:
    """Refuse so many players that a matrix for each would be too large, before they are counted one by one."""
    if players * widest**2 > LARGEST:
        shown = f"{players} players with up to {widest} actions"
        raise refuse("edges", shown, f"at most {LARGEST:,} numbers in a matrix for each")
