"""Set transformers as learning theory has them: one head, rows in the unit ball, a mean in the end.

    Z    = SM(G W_QK G^T) G W_V                          SM the softmax of each row; scores are not scaled
    G'   = Pi[rFF(Pi[Z + G])],   rFF_k(x) = sum_j a_kj relu(<b_kj, x>),  j = 1..m for each output k
    f(X) = 1/N sum_i <G_i, w>                            Pi projects each row on the unit ball

With |a_kj| <= B_a, ||b_kj|| <= B_b and spectral norms of W_QK, W_V below B_QK, B_V, the covering number of these
functions does not depend on N: on rows in the unit ball, ||SM(G W G^T) G - SM(G W' G^T) G||_{2,inf} <= ||W - W'||_2.
A sum instead of the mean, or sigmoid attention without -log N, loses that.

Zhang et al., "Relational reasoning via set transformers: provable efficiency and applications to MARL", NeurIPS 2022,
arXiv 2209.09845.
"""

import torch
from torch import Tensor, nn

from gamesim.attention.attend import set_attention
from gamesim.attention.layers import Block, affine, count
from gamesim.attention.layout import Layout
from gamesim.attention.plain import Kind


class BallBlock(Block):
    """G' from G[..., row, width]: equivariant. `skip` leaves G out of Z + G where it is False.

    bias: of sigmoid attention, -log N of each set unless given.
    """

    def __init__(
        self, width: int, hidden: int, *, kind: Kind = "softmax", bias: float | None = None, skip: bool = True
    ) -> None:
        super().__init__()
        self.width, self.hidden, self.kind, self.bias, self.skip = width, hidden, kind, bias, skip
        self.scores = nn.Parameter(torch.zeros(count("width", width), width))
        self.values = nn.Parameter(torch.zeros(width, width))
        self.inner = nn.Parameter(torch.zeros(width, width * count("hidden", hidden)))
        self.outer = nn.Parameter(torch.zeros(width, hidden))
        self.spreads = {"scores": width**-0.5, "values": width**-0.5, "inner": width**-0.5, "outer": hidden**-0.5}

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        q, v = affine(x, self.scores, None), affine(x, self.values, None)
        scale = None if self.kind == "linear" else 1.0
        z = set_attention(
            *(part.unsqueeze(-2) for part in (q, x, v)), cu_q=layout, kind=self.kind, scale=scale, bias=self.bias
        ).squeeze(-2)
        return in_ball(self.feed_forward(in_ball(z + x if self.skip else z)))

    def feed_forward(self, x: Tensor) -> Tensor:
        """rFF: m hidden numbers of its own for each output."""
        inner = torch.relu(affine(x, self.inner, None)).unflatten(-1, (self.width, self.hidden))
        found: Tensor = (inner * self.outer[..., None, :, :]).sum(-1)
        return found


class BallTransformer(Block):
    """f(X), [..., b], of sets X[..., row, width] whose rows lie in the unit ball: invariant."""

    def __init__(
        self,
        width: int,
        hidden: int,
        blocks: int,
        *,
        kind: Kind = "softmax",
        bias: float | None = None,
        skip: bool = True,
    ) -> None:
        super().__init__()
        many = range(count("blocks", blocks))
        self.blocks = nn.ModuleList(BallBlock(width, hidden, kind=kind, bias=bias, skip=skip) for _ in many)
        self.weight = nn.Parameter(torch.zeros(width))
        self.spreads = {"weight": width**-0.5}

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        found: Tensor = (layout.mean(self.rows(x, layout)) * self.weight[..., None, :]).sum(-1)
        return found

    def rows(self, x: Tensor, layout: Layout) -> Tensor:
        """G of the last block, [..., row, width]: equivariant."""
        for block in self.blocks:
            x = block(x, layout)
        return x


def in_ball(x: Tensor) -> Tensor:
    """Each row x[..., d] at the nearest point of the unit ball.

    >>> in_ball(torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000],
            [0.0000, 0.0000]])
    """
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / length.clamp(min=1.0)
