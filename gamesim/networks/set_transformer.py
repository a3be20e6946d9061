"""Set transformers: every row attends to every other one, and the mean of what comes out is a value of the set.

    h_i = W x_i,    h <- block(h), for each block, `loops` times,    f(X) = w mean_i h_i,    g(X)_i = w h_i

Lee et al., "Set transformer: a framework for attention-based permutation-invariant neural networks", ICML 2019, for
blocks on all pairs, on a few inducing points, and for pooling by attention; rows are normalised in every block and
pooled by a mean, so that bounds on generalisation do not depend on the size of sets (Zhang et al., arXiv 2209.09845).
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from gamesim.attention import Layout
from gamesim.attention.blocks import ISAB, SAB, Linear
from gamesim.attention.heads import RowHead, SetHead
from gamesim.errors import refuse
from gamesim.networks.kinds import Depth, Network
from gamesim.parameters import Count, Natural, check


@dataclass(frozen=True)
class SetTransformer(Network):
    """Blocks of attention among the rows of a set."""

    width: Count = 64
    """Numbers of a row between blocks; a multiple of heads."""
    heads: Count = 4
    """Attentions side by side in a block, each on width / heads numbers."""
    blocks: Depth = 2
    """Blocks, one behind the other."""
    attention: Literal["softmax", "sigmoid", "linear"] = "softmax"
    """What becomes of scores: weights that sum to one, weights of their own (less log N), or products of features."""
    points: Natural = 0
    """Inducing points of a block, through which rows see each other: cost grows with N, not N^2. 0: all pairs."""
    pool: Literal["mean", "pma"] = "mean"
    """How a set becomes one row: the mean, or attention of one learned query."""
    loops: Depth = 1
    """How often the blocks are gone through, with the same weights."""

    def __post_init__(self) -> None:
        check(self)
        if self.width % self.heads:
            raise refuse("width", self.width, f"a multiple of heads, {self.heads}")

    def module(self, inputs: int, outputs: int, *, pooled: bool, most: int) -> nn.Module:
        return SetTransformerLayers(self, inputs, outputs, pooled)


class SetTransformerLayers(nn.Module):
    def __init__(self, network: SetTransformer, inputs: int, outputs: int, pooled: bool) -> None:
        super().__init__()
        width, heads, kind = network.width, network.heads, network.attention
        self.pooled, self.loops = pooled, network.loops
        self.first = Linear(inputs, width)
        self.blocks = nn.ModuleList(
            ISAB(width, heads, network.points, kind=kind) if network.points else SAB(width, heads, kind=kind)
            for _ in range(network.blocks)
        )
        self.head = SetHead(width, outputs, network.pool, heads, kind=kind) if pooled else RowHead(width, outputs)

    def forward(self, x: Tensor, layout: Layout, acting: Tensor) -> Tensor:
        h = self.first(x)
        for _ in range(self.loops):
            for block in self.blocks:
                h = block(h, layout)
        out: Tensor = self.head(h if self.pooled else h.index_select(-2, acting), layout)
        return out
