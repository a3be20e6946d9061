"""What is refused before an attention is computed, by the name of the argument; and shapes in full."""

import math
from typing import get_args

from torch import Tensor

from gamesim.attention.layout import Layout
from gamesim.attention.plain import Feature, Kind
from gamesim.errors import refuse, unknown
from gamesim.shapes import broadcast_shapes

Sets = Tensor | Layout
"""How rows fall into sets: a layout, or offsets (`cu_seqlens`) [b + 1], of which one is made in every call."""


def require_rows(q: Tensor, k: Tensor, v: Tensor, rank: int = 3, shape: str = "[..., row, head, d]") -> None:
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.dim() < rank:
            raise refuse(f"{name}.shape", list(x.shape), shape)
        if not x.is_floating_point():
            raise refuse(f"{name}.dtype", x.dtype, "a floating-point type")
        if x.dtype != q.dtype:
            raise refuse(f"{name}.dtype", x.dtype, f"{q.dtype}, as q")
        if x.device != q.device:
            raise refuse(f"{name}.device", x.device, f"{q.device}, where q is")
    if q.shape[-2] == 0 or q.shape[-1] == 0:
        raise refuse("q.shape", list(q.shape), "at least one head of at least one number")
    if k.shape[-2:] != q.shape[-2:]:
        raise refuse("k.shape", list(k.shape), f"heads and numbers of q, {list(q.shape[-2:])}, in the end")
    if v.shape[-2] != q.shape[-2] or v.shape[-1] == 0:
        raise refuse("v.shape", list(v.shape), f"as many heads as q, {q.shape[-2]}, of at least one number")
    if v.shape[-rank:-2] != k.shape[-rank:-2]:
        raise refuse("v.shape", list(v.shape), f"the rows of k, {list(k.shape[-rank:-2])}")


def leading(q: Tensor, k: Tensor, v: Tensor) -> tuple[int, ...]:
    """Leading dimensions of all three."""
    if q.dim() == k.dim() == v.dim() == 3:
        return ()
    fronts = [x.shape[:-3] for x in (q, k, v)]
    try:
        return tuple(broadcast_shapes(*fronts))
    except RuntimeError as error:
        said = ", ".join(f"{name} {list(front)}" for name, front in zip("qkv", fronts, strict=True))
        raise refuse("leading dimensions", said, "shapes that broadcast") from error


def layouts(q: Tensor, k: Tensor, cu_q: Sets | None, cu_k: Sets | None) -> tuple[Layout, Layout]:
    if cu_q is None and cu_k is not None:
        raise refuse("cu_q", None, "the sets of the queries, where those of the keys are given")
    queries = _layout("cu_q", cu_q, "q", q)
    if cu_k is None and cu_q is not None:
        return queries, (queries if k.shape[-3] == queries.rows else _layout("cu_k", cu_q, "k", k))
    keys = queries if cu_k is cu_q and k.shape[-3] == queries.rows else _layout("cu_k", cu_k, "k", k)
    if keys.count != queries.count:
        raise refuse("cu_k", f"{keys.count} sets", f"{queries.count}, as many as cu_q has")
    return queries, keys


def _layout(name: str, given: Sets | None, rows: str, x: Tensor) -> Layout:
    if given is None:
        return Layout.repeated(x.shape[-3], 1, x.device)
    layout = given if isinstance(given, Layout) else Layout.at(given, name)
    if layout.offsets.device != x.device:
        raise refuse(f"{name}.device", layout.offsets.device, f"{x.device}, where {rows} is: {name}.to(device)")
    if layout.rows != x.shape[-3]:
        raise refuse(f"{name}[-1]", layout.rows, f"{x.shape[-3]}, the rows of {rows}")
    return layout


def require_kind(
    kind: str,
    top: int | None,
    scale: float | None,
    bias: float | Tensor | None,
    feature: str,
    normalised: bool,
    sink: Tensor | None,
    return_lse: bool,
    q: Tensor,
    front: tuple[int, ...],
) -> None:
    if kind not in get_args(Kind):
        raise unknown("kind", kind, get_args(Kind))
    if feature not in get_args(Feature):
        raise unknown("feature", feature, get_args(Feature))
    if kind == "topk":
        if top is None or isinstance(top, bool) or not isinstance(top, int) or top < 1:
            raise refuse("top", top, "a whole number above 0: how many keys topk keeps of each row")
    elif top is not None:
        raise refuse("top", top, f"nothing: {kind} keeps all keys")
    if kind == "linear":
        if feature == "identity" and normalised:
            raise refuse("normalised", normalised, "False with feature='identity', whose weights may be negative")
        if scale is not None:
            raise refuse("scale", scale, "nothing: linear attention has no scores to scale")
    elif feature != "elu" or not normalised:
        raise refuse("kind", kind, "linear, which alone has features and may be left without normalisation")
    if scale is not None and not math.isfinite(scale):
        raise refuse("scale", scale, "a finite number")
    summed = kind == "sigmoid" or not normalised
    if summed and (return_lse or sink is not None):
        name, value = ("return_lse", "True") if return_lse else ("sink", "a score")
        raise refuse(name, value, "nothing: these weights are divided by no sum, and parts of them just add up")
    if bias is not None:
        if kind != "sigmoid":
            raise refuse("bias", "a value", f"nothing: {kind} attention has none (key_bias adds to scores)")
        if isinstance(bias, Tensor):
            require_like("bias", bias, q)
            if bias.dim() > len(front) + 1 or (bias.dim() and bias.shape[-1] not in (1, q.shape[-2])):
                raise refuse("bias.shape", list(bias.shape), f"a number, or [..., {q.shape[-2]}] for each head")
    if sink is not None:
        require_like("sink", sink, q)
        fits = 1 <= sink.dim() <= len(front) + 2 and sink.shape[-1] in (1, q.shape[-2])
        if not fits or (sink.dim() == len(front) + 2 and sink.shape[-2] not in (1, q.shape[-3])):
            wanted = f"[..., {q.shape[-2]}] for each head, or [..., {q.shape[-3]}, {q.shape[-2]}] for each row"
            raise refuse("sink.shape", list(sink.shape), wanted)


def require_order(kind: str, mask: Tensor | None, queries: Layout, keys: Layout) -> None:
    """What causal attention has to be given."""
    if kind == "linear":
        raise refuse("causal", True, "False: linear attention of the past is a running sum, which no path here has")
    if mask is not None:
        raise refuse("mask", "a tensor", "nothing with causal: keys have places; key_bias -inf hides one")
    if queries is not keys and not (queries.even is not None and keys.even is not None and queries.even <= keys.even):
        short = (keys.sizes < queries.sizes).nonzero()
        if len(short):
            at = int(short[0])
            wanted = f"at least {int(queries.sizes[at])} in set {at}: causal queries are the last rows of the keys"
            raise refuse("cu_k", f"{int(keys.sizes[at])} keys", wanted)


def require_like(name: str, x: Tensor, q: Tensor) -> None:
    if x.dtype != q.dtype:
        raise refuse(f"{name}.dtype", x.dtype, f"{q.dtype}, as q")
    if x.device != q.device:
        raise refuse(f"{name}.device", x.device, f"{q.device}, where q is")


def wide_key_bias(key_bias: Tensor | None, k: Tensor, front: tuple[int, ...]) -> Tensor | None:
    """As [..., row', head]."""
    if key_bias is None:
        return None
    require_like("key_bias", key_bias, k)
    rows, heads = k.shape[-3:-1]
    wide = key_bias[:, None] if key_bias.dim() == 1 else key_bias
    if wide.dim() < 2 or wide.dim() > len(front) + 2 or wide.shape[-2] != rows or wide.shape[-1] not in (1, heads):
        raise refuse(
            "key_bias.shape", list(key_bias.shape), f"[{rows}] or [..., {rows}, {heads}]: a number for each key"
        )
    return wide.expand(*wide.shape[:-1], heads)
