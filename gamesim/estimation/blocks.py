"""Graphons that are constant on blocks, while they are being learned.

Block values are exp(free), divided by the largest. Where agents were put into blocks by label, the widths q of the
blocks are learned, too: of N agents at random positions the share n_l / N falls into block l, which is off q_l by
1 / sqrt(N), and an aggregate z(l) = sum_m W_lm q_m mu_m holds the width, not the share. W being symmetric, data tell

    q_l / q_m = (W_ml q_l) / (W_lm q_m);

the prior is what the labels say, -log p(q) = N sum_l (n_l / N) log(n_l / (N q_l)).
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from gamesim.errors import refuse
from gamesim.estimation.shapes import Shape
from gamesim.graphons import BlockGraphon, Graphon
from gamesim.parameters import Count, Fraction, check


@dataclass(frozen=True)
class Blocks(Shape, kind="blocks"):
    """Constant on blocks."""

    count: Count = 2
    """How many blocks."""
    cuts: tuple[Fraction, ...] = ()
    """Where a new block begins; left out, equal widths (known positions) or by label (unknown ones)."""

    def __post_init__(self) -> None:
        check(self)
        if self.cuts and (len(self.cuts) != self.count - 1 or list(self.cuts) != sorted(set(self.cuts))):
            raise refuse("graphon.cuts", list(self.cuts), f"{self.count - 1} increasing numbers")

    def __str__(self) -> str:
        return f"blocks({self.count})"

    @property
    def told_by_degree(self) -> bool:
        return self.count == 1

    @cached_property
    def edges(self) -> Tensor:
        """The inner cuts, [K - 1]."""
        equal = torch.arange(1, self.count, dtype=torch.float64) / self.count
        return torch.tensor(self.cuts, dtype=torch.float64) if self.cuts else equal

    @cached_property
    def pairs(self) -> Tensor:
        """Block pairs i <= j, [2, q]."""
        return torch.triu_indices(self.count, self.count)

    @cached_property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(f"W[{i},{j}]" for i, j in self.pairs.T.tolist())

    @property
    def size(self) -> int:  # type: ignore[override]
        return self.count * (self.count + 1) // 2

    def natural(self, free: Tensor) -> Tensor:
        return (free - free.amax(-1, keepdim=True)).exp()

    @cached_property
    def place(self) -> Tensor:
        """The number of each pair, [K, K]."""
        found = torch.zeros(self.count, self.count, dtype=torch.long)
        i, j = self.pairs
        found[i, j] = found[j, i] = torch.arange(len(i))
        return found

    def values(self, free: Tensor) -> Tensor:
        """The block values, symmetric, the largest one 1: [..., K, K]."""
        return self.natural(free)[..., self.place]

    def matrix(self, free: Tensor, x: Tensor) -> Tensor:
        block = torch.searchsorted(self.edges, x, right=True)
        return self.values(free)[..., block[:, None], block]

    def graphon(self, free: Tensor, scale: float = 1.0) -> Graphon:
        values = scale * self.values(free)
        return BlockGraphon(tuple(map(tuple, values.tolist())), tuple(self.edges.tolist()))


@dataclass(frozen=True)
class SizedBlocks(Blocks):
    """Blocks whose widths are free; they begin at `cuts` where widths are the shares of labels."""

    agents: Count = 1
    """How many have labels."""

    @classmethod
    def of(cls, blocks: Blocks, free: Tensor, labels: Tensor) -> "tuple[SizedBlocks, Tensor, Tensor]":
        """Blocks numbered free[..., p] of agents with labels[n]: the shape, its free numbers, and the new labels.

        In the order of the degrees, the greatest first; blocks without agents are left out.
        """
        share = torch.bincount(labels, minlength=blocks.count).double() / len(labels)
        degree = blocks.values(free).flatten(0, -3)[0] @ share
        order = degree.argsort(descending=True, stable=True)
        order = order[share[order] > 0]
        shape = cls(len(order), tuple(share[order].cumsum(0)[:-1].tolist()), len(labels))
        one, other = order[shape.pairs]
        values = free[..., blocks.place[one, other]]
        rank = torch.full((blocks.count,), -1)
        rank[order] = torch.arange(len(order))
        return shape, pad(values, (0, shape.count - 1)), rank[labels]

    @property
    def pair_count(self) -> int:
        """How many of the free numbers are values."""
        return self.count * (self.count + 1) // 2

    @property
    def size(self) -> int:  # type: ignore[override]
        return self.pair_count + self.count - 1

    @cached_property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        pairs = (f"W[{i},{j}]" for i, j in self.pairs.T.tolist())
        return (*pairs, *(f"width[{i}]" for i in range(self.count - 1)))

    @cached_property
    def shares(self) -> Tensor:
        """n_l / N, [l]."""
        ends = torch.tensor([0.0, *self.cuts, 1.0], dtype=torch.float64)
        return ends.diff()

    def widths(self, free: Tensor, q: Tensor) -> Tensor:
        """q_l, [..., l]."""
        moved = pad(free[..., self.pair_count :], (0, 1))
        return torch.softmax(self.shares.log() + moved, -1)

    def natural(self, free: Tensor) -> Tensor:
        values = free[..., : self.pair_count]
        scaled = (values - values.amax(-1, keepdim=True)).exp()
        return torch.cat([scaled, self.widths(free, self.shares)[..., :-1]], -1)

    def rescaled(self, natural: Tensor, scale: float) -> Tensor:
        return torch.cat([natural[..., : self.pair_count] * scale, natural[..., self.pair_count :]], -1)

    def penalty(self, free: Tensor) -> Tensor:
        """The weak prior of the values, and what the labels say of the widths."""
        apart = (self.shares * (self.shares / self.widths(free, self.shares)).log()).sum(-1)
        return super().penalty(free[..., : self.pair_count]) + self.agents * apart

    @property
    def centre(self) -> Tensor:
        return torch.zeros(self.pair_count, dtype=torch.float64)

    def graphon(self, free: Tensor, scale: float = 1.0) -> Graphon:
        values = scale * self.values(free)
        cuts = self.widths(free, self.shares).cumsum(-1)[..., :-1]
        return BlockGraphon(tuple(map(tuple, values.tolist())), tuple(cuts.tolist()))
