"""Graph convolutions on the complete graph of a set.

    h'_i = (ReLU(W_1 mean_{j != i} h_j) + ReLU(W_2 h_i)) / 2,    f(X) = w pool_i h_i,    g(X)_i = w [h_i, pool_j h_j]

Liu, Yeh and Schwing, "PIC: permutation invariant critic for multi-agent deep reinforcement learning", CoRL 2019, whose
pool is the maximum. All others weigh the same to a row: what it needs to know of a certain one is lost in their mean.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from gamesim.attention import Layout
from gamesim.attention.blocks import Linear
from gamesim.networks.kinds import Depth, Network
from gamesim.parameters import Count, check


@dataclass(frozen=True)
class GCN(Network):
    """Each row and the mean of the others, layer by layer."""

    width: Count = 64
    """Numbers in a hidden layer."""
    layers: Depth = 2
    """Graph convolutions."""
    pool: Literal["mean", "max"] = "mean"
    """What is taken over the rows of a set."""

    def __post_init__(self) -> None:
        check(self)

    def module(self, inputs: int, outputs: int, *, pooled: bool, most: int) -> nn.Module:
        return GCNLayers(self, inputs, outputs, pooled)


class GCNLayers(nn.Module):
    def __init__(self, network: GCN, inputs: int, outputs: int, pooled: bool) -> None:
        super().__init__()
        self.pooled, self.pool = pooled, network.pool
        sizes = [inputs, *[network.width] * network.layers]
        self.others = nn.ModuleList(Linear(into, network.width) for into in sizes[:-1])
        self.own = nn.ModuleList(Linear(into, network.width) for into in sizes[:-1])
        self.last = Linear(network.width * (1 if pooled else 2), outputs)

    def forward(self, x: Tensor, layout: Layout, acting: Tensor) -> Tensor:
        for others, own in zip(self.others, self.own, strict=True):
            x = (torch.relu(others(mean_of_others(x, layout))) + torch.relu(own(x))) / 2
        pool = layout.mean(x) if self.pool == "mean" else maximum(x, layout)
        if not self.pooled:
            pool = torch.cat([x, layout.spread(pool)], -1).index_select(-2, acting)
        out: Tensor = self.last(pool)
        return out


def mean_of_others(x: Tensor, layout: Layout) -> Tensor:
    """For each row of x[..., row, d] the mean of the other rows of its set; 0 for one that is alone."""
    others = layout.sizes.clamp(min=2).to(x.dtype)[:, None] - 1
    return layout.spread(layout.sum(x) / others) - x / layout.spread(others)


def maximum(x: Tensor, layout: Layout) -> Tensor:
    """The largest entries of x[..., row, d] in each set, [..., b, d]; an empty set has 0."""
    if layout.longest == 0:
        return layout.sum(x)
    found = layout.pad(x, -torch.inf).amax(-2)
    return found.masked_fill(layout.sizes[:, None] == 0, 0.0)
