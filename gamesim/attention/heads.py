"""What comes behind the blocks: outputs for each row (equivariant), or for each set (invariant).

Sets are pooled by the mean of their rows or by attention of learned ones (PMA), never by a sum.
"""

from typing import Literal

from torch import Tensor

from gamesim.attention.blocks import PMA
from gamesim.attention.layers import Block, Linear
from gamesim.attention.layout import Layout
from gamesim.attention.plain import Kind
from gamesim.errors import unknown


class RowHead(Block):
    """Outputs for each row, [..., row, outputs]: equivariant."""

    def __init__(self, width: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.last = Linear(width, outputs, gain=gain)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        out: Tensor = self.last(x)
        return out


class SetHead(Block):
    """Outputs for each set, [..., b, outputs]: invariant. The mean of its rows, or PMA, then a linear layer.

    An empty set has the mean 0.
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        pool: Literal["mean", "pma"] = "mean",
        heads: int = 1,
        seeds: int = 1,
        gain: float = 1.0,
        kind: Kind = "softmax",
    ) -> None:
        super().__init__()
        if pool not in ("mean", "pma"):
            raise unknown("pool", pool, ("mean", "pma"))
        self.pool = PMA(width, heads, seeds, kind=kind) if pool == "pma" else None
        self.last = Linear(width * (seeds if pool == "pma" else 1), outputs, gain=gain)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        if self.pool is None:
            pooled = layout.mean(x)
        else:
            rows = self.pool(x, layout)
            pooled = rows.reshape(*rows.shape[:-2], layout.count, self.last.inputs)
        out: Tensor = self.last(pooled)
        return out
