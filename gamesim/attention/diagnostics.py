"""Who attends to whom within sets: the probabilities themselves, attention sinks, and how many a token attends to.

    P_ij                                                    the weight of v_j in o_i, as in gamesim.attention.plain
    alpha_j = mean_i P_ij                                   what token j receives, of one set and head
    Sink_eps(g) = share of (layer, head) with E[max_(j in g) alpha_j] > eps,  the mean over sets;  eps = 0.3
    exp(-sum_j p_ij log p_ij),  1 / sum_j p_ij^2            effective numbers of tokens, p_ij = P_ij / sum_j' P_ij'

A set has no first token, so a sink has to sit on a type (an agent, a landmark, a token of zeros). Grouped by their
place in the set instead, tokens of one type receive the same: a place that stands out tells of broken invariance.
Probabilities are written out, [..., set, head, longest, longest]: this is for looking, not for training.

Gu, Pang, Du, Liu, Zhang, Du, Wang and Lin, "When attention sink emerges in language models: an empirical view", ICLR
2025, arXiv 2410.10781.
"""

from dataclasses import dataclass
from typing import Literal, Unpack

import torch
from torch import Tensor

from gamesim.attention.attend import Options, set_attention
from gamesim.attention.layout import Layout
from gamesim.attention.plain import by_set
from gamesim.errors import refuse

EPSILON = 0.3


def attention_weights(
    q: Tensor, k: Tensor, layout: Layout, layout_k: Layout | None = None, **options: Unpack[Options]
) -> Tensor:
    """P_ij, [..., b, head, i, j], of q[..., row, head, d] and k[..., row', head, d]; 0 beyond a set.

    Options are those of `set_attention` (kind, top, bias, key_bias, sink, mask, ...): P is what it gives where the
    value of token j is the j-th unit vector. A sink takes its share and is not among j.

    >>> x = torch.tensor([[[0.0]], [[0.0]], [[1.0]]])
    >>> attention_weights(x, x, Layout.of([2, 1]))[:, 0].tolist()
    [[[0.5, 0.5], [0.5, 0.5]], [[1.0, 0.0], [0.0, 0.0]]]
    """
    layout_k = layout if layout_k is None else layout_k
    if k.dim() < 3 or k.shape[-3] != layout_k.rows:
        raise refuse("k.shape", list(k.shape), f"[..., {layout_k.rows}, head, d]: {layout_k}")
    unit = torch.nn.functional.one_hot(layout_k.places, max(1, layout_k.longest)).to(q.dtype)
    v = unit[:, None].expand(-1, k.shape[-2], -1)
    everything: Options = {"cu_q": layout, "cu_k": layout_k, "path": "plain", **options}
    rows = set_attention(q, k, v, **everything)
    return by_set(rows, layout)[..., : layout_k.longest]


def received(weights: Tensor, layout: Layout, layout_k: Layout | None = None, *, normalized: bool = False) -> Tensor:
    """alpha: the mean over the queries of its set of the weight of each token, [..., row', head].

    normalized: rows are divided by their sums first, as for attention that does not add up to 1 (sigmoid, a sink).
    """
    layout_k = layout if layout_k is None else layout_k
    rows = _shares(weights) if normalized else weights
    queries = layout.sizes.clamp(min=1).to(weights.dtype)[:, None, None]
    return layout_k.unpad((rows.sum(-2) / queries).mT)


@dataclass(frozen=True)
class Sinks:
    """What groups of tokens receive, [..., head, group]: means over the sets that have a token of the group, else 0."""

    mass: Tensor
    """All tokens of the group together."""
    share: Tensor
    """What they would receive if everybody attended to all alike: their share of the set."""
    strongest: Tensor
    """The one that receives most."""

    def score(self, epsilon: float = EPSILON) -> Tensor:
        """Sink_eps, [group]: the share of layers and heads (all leading dimensions) with a sink in the group."""
        return self.by_head(epsilon).flatten(0, -2).mean(0)

    def by_head(self, epsilon: float = EPSILON) -> Tensor:
        """1 where the strongest token receives more than epsilon, else 0, [..., head, group]."""
        return (self.strongest > epsilon).to(self.strongest.dtype)


def sinks(alpha: Tensor, layout_k: Layout, groups: Tensor, count: int | None = None) -> Sinks:
    """Sums up alpha[..., row', head] by groups[row'] (whole numbers below `count`): types, or `layout_k.places`.

    >>> layout = Layout.of([2, 3])
    >>> alpha = torch.tensor([0.9, 0.1, 0.5, 0.25, 0.25])[:, None]
    >>> found = sinks(alpha, layout, groups=torch.tensor([0, 1, 0, 1, 1]))
    >>> [[round(x, 3) for x in row.flatten().tolist()] for row in (found.mass, found.share, found.score())]
    [[0.7, 0.3], [0.417, 0.583], [1.0, 0.0]]
    """
    if groups.shape != (layout_k.rows,) or groups.is_floating_point() or alpha.shape[-2] != layout_k.rows:
        raise refuse("groups", list(groups.shape), f"a whole number for each of {layout_k.rows} tokens")
    groups = groups.long()
    if bool((groups < 0).any()):
        raise refuse("groups", int(groups.min()), "whole numbers of at least 0")
    count = int(groups.max()) + 1 if count is None and layout_k.rows else count or 1
    cell = layout_k.owners * count + groups  # of a table [set, group]
    front, heads = alpha.shape[:-2], alpha.shape[-1]
    index = cell[:, None].expand(layout_k.rows, heads)
    empty = alpha.new_zeros(*front, layout_k.count * count, heads)
    mass = empty.index_add(-2, cell, alpha)
    strongest = empty.scatter_reduce(-2, index.expand_as(alpha), alpha, "amax")
    size = alpha.new_zeros(layout_k.count * count).index_add(0, cell, alpha.new_ones(layout_k.rows))
    size = size.reshape(layout_k.count, count)
    share = size / layout_k.sizes.clamp(min=1).to(alpha.dtype)[:, None]
    having = (size > 0).to(alpha.dtype)
    times = having.sum(0).clamp(min=1)

    def mean(x: Tensor) -> Tensor:
        table = x.reshape(*front, layout_k.count, count, heads)
        return (table.sum(-3) / times[:, None]).mT

    return Sinks(mean(mass), ((share * having).sum(0) / times).expand(*front, heads, count), mean(strongest))


def effective_number(
    weights: Tensor, layout: Layout, *, measure: Literal["entropy", "participation"] = "entropy"
) -> Tensor:
    """How many tokens each token attends to, [..., row, head]: 1 is one of them, N is all N alike; 0 sees nothing.

    entropy: exp of the entropy of a row. participation: 1 over the sum of squares, at most the former.
    """
    p = _shares(weights)
    if measure == "entropy":
        number = torch.special.entr(p).sum(-1).exp()
    elif measure == "participation":
        number = 1 / p.square().sum(-1)
    else:
        raise refuse("measure", measure, "entropy or participation")
    number = torch.where(weights.sum(-1) > 0, number, torch.zeros_like(number))
    return layout.unpad(number.mT)


def _shares(weights: Tensor) -> Tensor:
    """Rows that add up to 1; a row of zeros stays."""
    total = weights.sum(-1, keepdim=True)
    return weights / torch.where(total > 0, total, torch.ones_like(total))
