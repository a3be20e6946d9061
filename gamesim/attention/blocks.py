"""Blocks of set transformers: multi-head attention within sets, then each row by itself, rows normalised after both.

    Att(X, Y) = concat_h(o_h) W_O,  o_h = attention of X W_Q to Y W_K, Y W_V,  between rows of the same set
    MAB(X, Y) = norm(H + rFF(H)),   H = norm(X + Att(X, Y))
    SAB(X)    = MAB(X, X)                       all pairs, O(N^2)
    ISAB(X)   = MAB(X, MAB(I, X))               by way of m points I that are learned, O(N m)
    PMA(X)    = MAB(S, X)                       a set as k rows, S learned: invariant

All but PMA are equivariant. Rows of bounded length, and means or PMA for sums, are what keeps bounds on such networks
free of N (Zhang et al., arXiv 2209.09845). Weights may have leading dimensions: see gamesim.attention.layers.

Lee et al., "Set transformer: a framework for attention-based permutation-invariant neural networks", ICML 2019.
"""

from typing import Literal, TypedDict, Unpack, get_args

import torch
from torch import Tensor, nn

from gamesim.attention.attend import attend_within, set_attention
from gamesim.attention.layers import Block, FeedForward, Linear, Norm, affine, count, repeated
from gamesim.attention.layout import Layout
from gamesim.attention.plain import Kind
from gamesim.errors import refuse, unknown
from gamesim.kernels import attention as kernel

__all__ = ["ISAB", "MAB", "PMA", "SAB", "FeedForward", "Linear", "Looped", "Norm", "SetAttention"]

Sink = Literal["none", "logit", "key"]
Residual = Literal["input", "query"]


class Choices(TypedDict, total=False):
    """Keywords of `SetAttention`, which blocks pass on."""

    kind: Kind
    top: int | None
    scale: float | None
    sink: Sink
    residual: Residual
    causal: bool


class SetAttention(Block):
    """Att(X, Y): projections to queries, keys and values in one product, attention within sets, projection back.

    scale: of scores, 1 / sqrt(width / heads) unless given. sink: one more key of value 0 for each head, by its score
    ("logit") or by the key itself ("key", Gu et al., ICLR 2025). residual: "query" adds the queries to what attention
    gives and leaves W_O out, as the first public code of set transformers does. causal: rows have an order, and none
    sees those behind it.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        kind: Kind = "softmax",
        top: int | None = None,
        scale: float | None = None,
        sink: Sink = "none",
        residual: Residual = "input",
        causal: bool = False,
    ) -> None:
        super().__init__()
        if count("width", width) % count("heads", heads):
            raise refuse("width", width, f"a multiple of heads, {heads}")
        for name, value, known in (("kind", kind, Kind), ("sink", sink, Sink), ("residual", residual, Residual)):
            if value not in get_args(known):
                raise unknown(name, value, get_args(known))
        if kind == "linear" and causal:
            raise refuse("causal", True, "False: linear attention of the past is a running sum, which no path here has")
        if kind == "linear" and scale is not None:
            raise refuse("scale", scale, "nothing: linear attention has no scores to scale")
        if kind == "sigmoid" and sink != "none":
            raise refuse("sink", sink, "none: weights of sigmoid attention are divided by no sum")
        if kind == "topk":
            count("top", top)  # type: ignore[arg-type]
        self.width, self.heads, self.kind, self.top, self.scale = width, heads, kind, top, scale
        self.projection = Linear(width, 3 * width)
        self.out = Linear(width, width) if residual == "input" else None
        self.sink_kind, self.residual, self.causal = sink, residual, causal
        if sink != "none":
            self.sink = nn.Parameter(torch.zeros(heads if sink == "logit" else width))

    def forward(
        self, x: Tensor, layout: Layout, y: Tensor | None = None, layout_y: Layout | None = None, copies: int = 1
    ) -> Tensor:
        """Rows x attend to rows y of the same set, or to each other; x stands `copies` times one behind the other."""
        kind, top, scale = self.kind, self.top, self.scale
        if y is None and self.out is not None and self.sink_kind != "key":
            inward, outward = ((e.weight, e.bias) for e in (self.projection, self.out))
            if kernel.serves_between(x, inward, outward, self.heads, kind, layout.longest) is None:
                return kernel.attend_between(  # products and attention in one loop, where nobody asks for gradients
                    x, inward, outward, self.heads, layout.offsets, kind=kind, top=top,
                    scale=(self.width // self.heads) ** -0.5 if scale is None else scale,
                    sink=None if self.sink_kind == "none" else self.sink.unsqueeze(-2), causal=self.causal,
                )  # fmt: skip
        if y is None:
            qkv = self.projection(x).unflatten(-1, (3, self.heads, self.width // self.heads))
            q = qkv.select(-3, 0)
            sink = self.sink_scores(q)
            out = attend_within(qkv, layout, kind=kind, top=top, scale=scale, sink=sink, causal=self.causal)
        else:
            q, k, v = self.projected(x, y, copies)
            others = layout if layout_y is None else layout_y
            out = set_attention(
                q, k, v, cu_q=layout, cu_k=others, kind=kind, top=top, scale=scale, sink=self.sink_scores(q),
                causal=self.causal,
            )  # fmt: skip
        if self.out is None:
            heads: Tensor = q + out
            return heads.flatten(-2)
        found: Tensor = self.out(out.flatten(-2))
        return found

    def projected(self, x: Tensor, y: Tensor | None = None, copies: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, [..., row, head, d]."""
        weight, bias, d = self.projection.weight, self.projection.bias, self.width
        assert bias is not None
        if y is None:
            q, k, v = self.projection(x).unflatten(-1, (3, self.heads, d // self.heads)).unbind(-3)
            return q, k, v
        q = affine(x, weight[..., :d], bias[..., :d])
        q = repeated(q, copies).unflatten(-1, (self.heads, d // self.heads))
        k, v = affine(y, weight[..., d:], bias[..., d:]).unflatten(-1, (2, self.heads, d // self.heads)).unbind(-3)
        return q, k, v

    def sink_scores(self, q: Tensor) -> Tensor | None:
        """Scores of the sink, [..., head], or [..., row, head] where they depend on the query."""
        if self.sink_kind == "none":
            return None
        if self.sink_kind == "logit":
            return self.sink.to(q.dtype)
        key = self.sink.to(q.dtype).unflatten(-1, q.shape[-2:])[..., None, :, :]
        scores: Tensor = (q * key).sum(-1) * (self.scale if self.scale is not None else q.shape[-1] ** -0.5)
        return scores

    def extra_repr(self) -> str:
        return f"{self.width}, {self.heads}, kind={self.kind}"


class MAB(Block):
    """norm(H + rFF(H)), H = norm(X + Att(X, Y))."""

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int | None = None,
        **attention: Unpack[Choices],
    ) -> None:
        super().__init__()
        self.attention = SetAttention(width, heads, **attention)
        self.residual = attention.get("residual", "input")
        self.first_norm, self.feed_forward, self.second_norm = Norm(width), FeedForward(width, hidden), Norm(width)

    def forward(
        self, x: Tensor, layout: Layout, y: Tensor | None = None, layout_y: Layout | None = None, copies: int = 1
    ) -> Tensor:
        """Rows x attend to rows y; x stands for `copies` sets, one behind the other."""
        h = self.attention(x, layout, y, layout_y, copies)
        h = self.first_norm(h if self.residual == "query" else repeated(x, copies) + h)
        out: Tensor = self.second_norm(h + self.feed_forward(h))
        return out


class SAB(MAB):
    """MAB(X, X): every row attends to all rows of its set."""

    def forward(  # type: ignore[override]
        self, x: Tensor, layout: Layout
    ) -> Tensor:
        return super().forward(x, layout)


class ISAB(Block):
    """MAB(X, MAB(I, X)): rows see each other by way of `points` learned rows, with as many scores for each row."""

    def __init__(
        self,
        width: int,
        heads: int,
        points: int,
        hidden: int | None = None,
        **attention: Unpack[Choices],
    ) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.zeros(count("points", points), width))
        self.spreads = {"points": 1.0}
        self.gather = MAB(width, heads, hidden, **attention)
        self.scatter = MAB(width, heads, hidden, **attention)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        points = Layout.repeated(self.points.shape[-2], layout.count, x.device)
        h = self.gather(self.points, points, x, layout, copies=layout.count)
        out: Tensor = self.scatter(x, layout, h, points)
        return out


class PMA(Block):
    """MAB(S, X): each set as `seeds` rows, [..., b * seeds, d], those of a set one behind the other."""

    def __init__(
        self,
        width: int,
        heads: int,
        seeds: int = 1,
        hidden: int | None = None,
        **attention: Unpack[Choices],
    ) -> None:
        super().__init__()
        self.seeds = nn.Parameter(torch.zeros(count("seeds", seeds), width))
        self.spreads = {"seeds": 1.0}
        self.gather = MAB(width, heads, hidden, **attention)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        seeds = Layout.repeated(self.seeds.shape[-2], layout.count, x.device)
        out: Tensor = self.gather(self.seeds, seeds, x, layout, copies=layout.count)
        return out


class Looped(Block):
    """The same block so many times: a looped transformer, with the weights of one layer."""

    def __init__(self, block: nn.Module, loops: int) -> None:
        super().__init__()
        self.block, self.loops = block, count("loops", loops)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        for _ in range(self.loops):
            x = self.block(x, layout)
        return x
