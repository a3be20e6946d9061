"""Attention within sets as it is defined, in torch alone: what every faster path is held to.

    s_ij = scale <q_i, k_j> + key_bias_j,    for queries i and keys j of one set
    softmax   o_i = sum_j e^{s_ij} v_j / sum_j e^{s_ij},    lse_i = log sum_j e^{s_ij}
    topk      the same, over the keys whose score is at least the k-th largest of the row: ties are all kept
    sigmoid   o_i = sum_j v_j / (1 + e^{-s_ij - b}),    b = -log N_k of the set, unless given
    linear    o_i = sum_j w_ij v_j / sum_j w_ij,    w_ij = <phi(q_i), phi(k_j)> e^{key_bias_j},    phi(x) = elu(x) + 1
              lse_i = log sum_j w_ij;    not normalised: o_i = sum_j w_ij v_j / N_k

causal: query i of a set sees its keys j <= i + N_k - N_q, so that queries are the last rows of the set, and no value
behind them reaches o_i, not even NaN. N_k in the b of sigmoids stays that of the set.

Where a set has no keys, o = 0 and lse = -inf, with gradients of 0. Attention over some of the keys is merged with that
over the others, with no error but rounding:

    l = log(e^{l_1} + e^{l_2}),    o = e^{l_1 - l} o_1 + e^{l_2 - l} o_2

Sets are padded here to [..., set, head, longest, d]; numbers that no set has are never read.

Vaswani et al., NeurIPS 2017; Katharopoulos et al., "Transformers are RNNs", ICML 2020; Ramapuram et al., "Theory,
analysis, and best practices for sigmoid self-attention", ICLR 2025.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from gamesim.attention.layout import Layout

Kind = Literal["softmax", "sigmoid", "linear", "topk"]
Feature = Literal["elu", "identity"]
Part = tuple[Tensor, Tensor]
"""Attention over some keys: o[..., row, head, d] and lse[..., row, head]."""
TIES = 8
"""Rounding errors, of size eps |q| |k|, within which scores are the same: equal keys have sums of another order."""


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    queries: Layout,
    keys: Layout,
    *,
    kind: Kind = "softmax",
    scale: float = 1.0,
    top: int | None = None,
    bias: float | Tensor | None = None,
    key_bias: Tensor | None = None,
    feature: Feature = "elu",
    normalised: bool = True,
    causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """o[..., row, head, d'] and lse[..., row, head] (none where weights have no sum to divide by).

    q[..., row, head, d]; k[..., row', head, d] and v[..., row', head, d'] with their own layout of as many sets;
    key_bias[..., row', head]; bias [..., head] or a number.
    """
    q, k, v = by_set(q, queries), by_set(k, keys), by_set(v, keys)
    hidden = absent(keys)
    offset = None if key_bias is None else by_set(key_bias[..., None], keys).mT
    later = future(queries, keys) if causal else None
    hidden = hidden if later is None else join(hidden, later)
    if kind == "linear":
        out, total = linear(q, k, v, hidden, offset, feature)
        if not normalised:
            return by_row(out / counts(keys, q), queries), None
        none = total == 0
        whole = total.masked_fill(none, 1.0)
        return by_row(out / whole, queries), by_row(whole.log().masked_fill(none, -math.inf), queries).squeeze(-1)
    scores = q @ k.mT * scale
    if offset is not None:
        scores = scores + offset
        hidden = join(hidden, offset == -math.inf)
    if kind == "sigmoid":
        return by_row(mix(hide(torch.sigmoid(scores + shift(bias, keys, q)), hidden, 0.0), v, later), queries), None
    scores = hide(scores, hidden, -math.inf)
    if kind == "topk" and top is not None and top < scores.shape[-1]:
        reach = q.detach().norm(dim=-1, keepdim=True) * k.detach().norm(dim=-1).amax(-1)[..., None, None]
        within = (TIES * torch.finfo(q.dtype).eps * abs(scale)) * reach
        low = scores < scores.topk(top, -1).values[..., -1:] - within
        scores = scores.masked_fill(low, -math.inf)
    peak = scores.detach().amax(-1, keepdim=True) if scores.shape[-1] else scores.new_zeros(*scores.shape[:-1], 1)
    peak = peak.masked_fill(peak == -math.inf, 0.0)
    weights = (scores - peak).exp()
    total = weights.sum(-1, keepdim=True)
    none = total == 0
    whole = total.masked_fill(none, 1.0)
    lse = (whole.log() + peak).masked_fill(none, -math.inf)
    return by_row(mix(weights, v, later) / whole, queries), by_row(lse, queries).squeeze(-1)


def linear(
    q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None, offset: Tensor | None, feature: Feature
) -> tuple[Tensor, Tensor]:
    """sum_j w_ij v_j and sum_j w_ij, by way of phi(k)^T v: the cost grows with the number of keys, not its square."""
    q, k = (phi(x) if feature == "elu" else x for x in (q, k))
    k = k if offset is None else k * offset.exp().mT
    k = hide(k, None if hidden is None else hidden.mT, 0.0)
    return q @ (k.mT @ v), q @ k.sum(-2)[..., None]


def phi(x: Tensor) -> Tensor:
    """elu(x) + 1, to full precision where it is small."""
    return torch.where(x > 0, x + 1, x.clamp(max=0.0).exp())


def merged(*parts: Part) -> Part:
    """Attention over all keys from attention over groups of them, which share none: softmax, normalised linear.

    >>> layout, x = Layout.of([3]), torch.eye(3)[:, None]
    >>> some = [attend(x, x[j], x[j], layout, Layout.of([len(j)])) for j in ([0, 2], [1])]
    >>> out, _ = merged(*some)
    >>> torch.allclose(out, attend(x, x, x, layout, layout)[0])
    True
    """
    peak = torch.stack([lse.detach() for _, lse in parts]).amax(0)
    peak = peak.masked_fill(peak == -math.inf, 0.0)
    masses = [(lse - peak).exp() for _, lse in parts]
    total = torch.stack(masses).sum(0)
    none = total == 0
    whole = total.masked_fill(none, 1.0)
    shares = [(mass / whole).to(o.dtype)[..., None] * o for mass, (o, _) in zip(masses, parts, strict=True)]
    out = torch.stack(shares).sum(0)
    return out, (whole.log() + peak).masked_fill(none, -math.inf)


def by_set(x: Tensor, layout: Layout) -> Tensor:
    """x[..., row, head, d] as [..., set, head, longest, d], with zeros behind smaller sets."""
    padded: Tensor = layout.pad(x.flatten(-2)).unflatten(-1, x.shape[-2:])
    return padded.transpose(-3, -2)


def by_row(x: Tensor, layout: Layout) -> Tensor:
    """x[..., set, head, longest, d] as [..., row, head, d]."""
    x = x.transpose(-3, -2)
    rows: Tensor = layout.unpad(x.flatten(-2)).unflatten(-1, x.shape[-2:])
    return rows


def absent(keys: Layout) -> Tensor | None:
    """Where a padded set has no key, [set, 1, 1, longest]; none where all sets are full."""
    if keys.even is not None:
        return None
    return (torch.arange(keys.longest, device=keys.offsets.device) >= keys.sizes[:, None])[:, None, None]


def future(queries: Layout, keys: Layout) -> Tensor:
    """Keys behind a query, where the sets of both end together: [set or 1, 1, longest, longest']."""
    device = queries.offsets.device
    i, j = torch.arange(queries.longest, device=device)[:, None], torch.arange(keys.longest, device=device)
    if queries.even is not None and keys.even is not None:
        return (j > i + (keys.even - queries.even))[None, None]
    return j > i + (keys.sizes - queries.sizes)[:, None, None, None]


def mix(weights: Tensor, v: Tensor, later: Tensor | None) -> Tensor:
    """sum_j w_ij v_j; values that are `later` stay out of the sum, where 0 times NaN would be NaN."""
    if later is None:
        return weights @ v
    wrong = ~v.isfinite()
    met = (~later).to(v.dtype) @ wrong.to(v.dtype) > 0
    return (weights @ v.masked_fill(wrong, 0.0)).masked_fill(met, math.nan)


def counts(keys: Layout, like: Tensor) -> Tensor:
    """N_k of each set, at least 1: [set, 1, 1, 1], or a number where all have as many."""
    if keys.even is not None:
        return like.new_tensor(max(keys.even, 1))
    return keys.sizes.clamp(min=1).to(like.dtype)[:, None, None, None]


def shift(bias: float | Tensor | None, keys: Layout, like: Tensor) -> float | Tensor:
    """What sigmoid attention adds to scores: the given number, one of each head, or -log N_k."""
    if bias is None:
        return -counts(keys, like).log()
    return bias[..., None, :, None, None] if isinstance(bias, Tensor) and bias.dim() else bias


def join(one: Tensor | None, other: Tensor) -> Tensor:
    return other if one is None else one | other


def hide(x: Tensor, hidden: Tensor | None, value: float) -> Tensor:
    return x if hidden is None else x.masked_fill(hidden, value)
