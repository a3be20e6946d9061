"""Deep sets: each row by itself, then the mean.

    h_i = phi(x_i),    f(X) = rho(mean_i h_i),    g(X)_i = rho([h_i, mean_j h_j])

with layers of ReLU in phi and rho. Every continuous invariant function has this form if phi is wide enough (Zaheer et
al., "Deep sets", NeurIPS 2017); no row of phi sees another one.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from gamesim.attention import Layout
from gamesim.attention.blocks import Linear
from gamesim.networks.kinds import Depth, Network
from gamesim.parameters import Count, check


@dataclass(frozen=True)
class DeepSets(Network):
    """Rows by themselves, their mean, and layers on it."""

    width: Count = 64
    """Numbers in a hidden layer."""
    layers: Depth = 2
    """Hidden layers on each row, and as many layers behind the mean, the last of them linear."""

    def __post_init__(self) -> None:
        check(self)

    def module(self, inputs: int, outputs: int, *, pooled: bool, most: int) -> nn.Module:
        return DeepSetsLayers(self, inputs, outputs, pooled)


class DeepSetsLayers(nn.Module):
    def __init__(self, network: DeepSets, inputs: int, outputs: int, pooled: bool) -> None:
        super().__init__()
        width, layers = network.width, network.layers
        self.pooled = pooled
        self.rows = rectified(inputs, *[width] * layers)
        self.sets = rectified(width if pooled else 2 * width, *[width] * (layers - 1))
        self.last = Linear(width if pooled or layers > 1 else 2 * width, outputs)

    def forward(self, x: Tensor, layout: Layout, acting: Tensor) -> Tensor:
        h = self.rows(x)
        pool = layout.mean(h)
        if not self.pooled:
            pool = torch.cat([h, layout.spread(pool)], -1).index_select(-2, acting)
        out: Tensor = self.last(self.sets(pool))
        return out


def rectified(*sizes: int) -> nn.Sequential:
    """Linear layers between these sizes, ReLU after each."""
    layers: list[Any] = []
    for into, out in pairwise(sizes):
        layers += [Linear(into, out), nn.ReLU()]
    return nn.Sequential(*layers)
