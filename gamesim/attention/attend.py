"""Attention of the rows of each set to those of the same set: one call for every kind, layout and device.

    o_i = sum_j p_ij v_j,    j over the keys of the set of i

What p is for each kind, and what empty sets have, stands in gamesim.attention.plain; which code computes it, in
gamesim.attention.paths.

A hidden key is one that is not there: it is dropped before any arithmetic, so that what stands there (NaN too) reaches
neither values nor gradients, and N_k of the set is the number of those that are left. Sinks are one more key whose
value is 0 (Gu et al., "When attention sink emerges in language models", ICLR 2025).
"""

import math
from typing import Literal, TypedDict, Unpack, overload

import torch
from torch import Tensor

from gamesim.attention import plain
from gamesim.attention.call import Answer, Call
from gamesim.attention.checks import (
    Sets,
    layouts,
    leading,
    require_kind,
    require_order,
    require_rows,
    wide_key_bias,
)
from gamesim.attention.layout import Layout
from gamesim.attention.padded import packed, spread
from gamesim.attention.paths import Choice, Path, choose, explained
from gamesim.attention.plain import Feature, Kind
from gamesim.errors import refuse


class Options(TypedDict, total=False):
    """Keywords of `set_attention`, in words there."""

    cu_q: Sets | None
    cu_k: Sets | None
    lengths: Tensor | None
    lengths_k: Tensor | None
    mask: Tensor | None
    kind: Kind
    top: int | None
    scale: float | None
    bias: float | Tensor | None
    key_bias: Tensor | None
    sink: Tensor | None
    feature: Feature
    normalised: bool
    causal: bool
    path: str | None
    check: bool


@overload
def set_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    return_lse: Literal[False] = ...,
    explain: Literal[False] = ...,
    **options: Unpack[Options],
) -> Tensor: ...
@overload
def set_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    return_lse: Literal[True],
    explain: Literal[False] = ...,
    **options: Unpack[Options],
) -> tuple[Tensor, Tensor]: ...
@overload
def set_attention(
    q: Tensor, k: Tensor, v: Tensor, *, return_lse: bool = ..., explain: Literal[True], **options: Unpack[Options]
) -> Choice: ...
def set_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    cu_q: Sets | None = None,
    cu_k: Sets | None = None,
    lengths: Tensor | None = None,
    lengths_k: Tensor | None = None,
    mask: Tensor | None = None,
    kind: Kind = "softmax",
    top: int | None = None,
    scale: float | None = None,
    bias: float | Tensor | None = None,
    key_bias: Tensor | None = None,
    sink: Tensor | None = None,
    feature: Feature = "elu",
    normalised: bool = True,
    causal: bool = False,
    return_lse: bool = False,
    explain: bool = False,
    path: str | None = None,
    check: bool = True,
) -> Tensor | tuple[Tensor, Tensor] | Choice:
    """o[..., row, head, d'] of q[..., row, head, d] to k[..., row', head, d] and v[..., row', head, d'].

    Sets: `cu_q`, and `cu_k` where keys are other rows; all rows are one set where neither is given. Leading dimensions
    are a batch, and share them. Or padded: q[..., b, N, head, d] with `lengths` [b] (and `lengths_k`), answered alike,
    with zeros in padding.
    mask: True where a key is hidden, [row'] or padded [b, N']. A set all of whose keys are hidden is refused unless
    there is a sink; `check=False` skips that, and such a set has 0 then. A mask is looked up in every call: a layout of
    the keys that are left is faster.
    top: how many keys `topk` keeps of each row, ties with the last of them too.
    scale: of scores, 1 / sqrt(d) unless given; linear attention has none.
    bias: of sigmoid attention, a number or [..., head]; -log N_k of each set unless given.
    key_bias: added to scores, [row'] or [..., row', head] (padded: [b, N'] or [..., b, N', head]).
    sink: a score that takes its share of the weights and gives nothing, [..., head] or [..., row, head].
    feature, normalised: of linear attention; "identity" has no sum to divide by.
    causal: a query sees no key behind its own place; those of a set are the last of its rows, all of them or fewer.
    return_lse: o and log of the sum of weights, [..., row, head]: `merged` puts partial attentions together.
    explain: compute nothing, and say which path this call takes, and why not the others.
    path: take this one, or refuse with the reason.

    >>> x = torch.arange(10.0).reshape(5, 1, 2) / 10
    >>> layout = Layout.of([2, 3])
    >>> set_attention(x, x, x, cu_q=layout)[:, 0].sum(-1)
    tensor([0.3014, 0.3071, 1.3338, 1.3488, 1.3635])
    """
    given = None
    if lengths is not None or lengths_k is not None:
        given = packed(q, k, v, cu_q, cu_k, lengths, lengths_k, mask, key_bias, sink)
        q, k, v, queries, keys, mask, key_bias, sink = given[:8]
    else:
        require_rows(q, k, v)
        queries, keys = layouts(q, k, cu_q, cu_k)
    front = leading(q, k, v)
    require_kind(kind, top, scale, bias, feature, normalised, sink, return_lse, q, front)
    if causal:
        require_order(kind, mask, queries, keys)
    key_bias = wide_key_bias(key_bias, k, front)
    if mask is not None:
        k, v, key_bias, keys = _visible(mask, k, v, key_bias, queries, keys, check and sink is None)
    if front:
        q, k, v = (x if x.shape[:-3] == front else x.expand(*front, *x.shape[-3:]) for x in (q, k, v))
    if sink is not None and sink.dim() < len(front) + 2:
        sink = sink.unsqueeze(-2)
    if scale is None:
        scale = 1.0 if kind == "linear" else q.shape[-1] ** -0.5
    call = Call(
        *(q, k, v, queries, keys, kind, scale, top, bias, key_bias, sink, feature, normalised),
        wants_lse=return_lse,
        causal=causal,
    )
    if explain:
        return explained(call, path)
    out, lse = answer(choose(call, path), call)
    if given is not None:
        out = spread(out, -3, given, 0.0)
        lse = None if lse is None else spread(lse, -2, given, -math.inf)
    if return_lse:
        assert lse is not None
        return out, lse
    return out


def attend_within(
    qkv: Tensor,
    layout: Layout,
    *,
    kind: Kind = "softmax",
    top: int | None = None,
    scale: float | None = None,
    sink: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """`set_attention` of the rows of each set to each other, from qkv[..., row, 3, head, d], one projection for all."""
    q, k, v = qkv.unbind(-3)
    layouts(q, k, layout, layout)
    front = q.shape[:-3]
    require_kind(kind, top, scale, None, "elu", True, sink, False, q, front)
    if causal:
        require_order(kind, None, layout, layout)
    if sink is not None and sink.dim() < len(front) + 2:
        sink = sink.unsqueeze(-2)
    if scale is None:
        scale = 1.0 if kind == "linear" else q.shape[-1] ** -0.5
    call = Call(q, k, v, layout, layout, kind, scale, top, sink=sink, causal=causal, qkv=qkv)
    return answer(choose(call), call)[0]


def answer(taken: Path, call: Call) -> Answer:
    """What a path gives, with the sink."""
    out, lse = taken.attend(call)
    if call.sink is not None and not taken.takes_sink(call):
        assert lse is not None
        return plain.merged((out, lse), (torch.zeros_like(out), call.sink.expand(lse.shape)))
    return out, lse


def _visible(
    mask: Tensor, k: Tensor, v: Tensor, key_bias: Tensor | None, queries: Layout, keys: Layout, check: bool
) -> tuple[Tensor, Tensor, Tensor | None, Layout]:
    """Keys that are not hidden, and how they fall into sets."""
    if mask.dtype != torch.bool or mask.shape != (keys.rows,):
        wanted = f"bool [{keys.rows}], True where a key is hidden; leading dimensions share it"
        raise refuse("mask", f"{mask.dtype} {list(mask.shape)}", wanted)
    if mask.device != k.device:
        raise refuse("mask.device", mask.device, f"{k.device}, where k is")
    left = (~mask).nonzero()[:, 0]
    sizes = keys.sizes.new_zeros(keys.count).index_add(0, keys.owners[left], torch.ones_like(left))
    if check:
        blind = ((sizes == 0) & (keys.sizes > 0) & (queries.sizes > 0)).nonzero()
        if len(blind):
            wanted = "at least one key that is left, a sink, or check=False (such a set has 0 then)"
            raise refuse("mask", f"every key of set {int(blind[0])} hidden", wanted)
    k, v = k.index_select(-3, left), v.index_select(-3, left)
    return k, v, None if key_bias is None else key_bias.index_select(-2, left), Layout.of(sizes)
