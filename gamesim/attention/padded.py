"""Padded sets, x[..., b, N, head, d] with a length each, as packed rows and back."""

from typing import NamedTuple

import torch
from torch import Tensor

from gamesim.attention.checks import Sets, leading, require_rows
from gamesim.attention.layout import Layout
from gamesim.errors import refuse


class Packed(NamedTuple):
    """Rows that are no padding, and where those of q stood."""

    q: Tensor
    k: Tensor
    v: Tensor
    queries: Layout
    keys: Layout
    mask: Tensor | None
    key_bias: Tensor | None
    sink: Tensor | None
    places: Tensor
    sets: int
    padded_to: int


def packed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_q: Sets | None,
    cu_k: Sets | None,
    lengths: Tensor | None,
    lengths_k: Tensor | None,
    mask: Tensor | None,
    key_bias: Tensor | None,
    sink: Tensor | None,
) -> Packed:
    """From the arguments of `set_attention`."""
    if cu_q is not None or cu_k is not None:
        raise refuse("cu_q", "offsets", "either offsets of packed rows or lengths of padded ones")
    if lengths is None:
        raise refuse("lengths", None, "the lengths of the sets of queries, where those of the keys are given")
    require_rows(q, k, v, 4, "[..., b, N, head, d], padded, as lengths are given")
    count, most, most_k = q.shape[-4], q.shape[-3], k.shape[-3]
    if k.shape[-4] != count:
        raise refuse("k.shape", list(k.shape), f"{count} sets, as q has")
    if lengths_k is None and most_k != most:
        raise refuse("lengths_k", None, f"lengths of the keys, which are padded to {most_k}, not to {most}")
    queries = _lengths("lengths", lengths, count, most, q)
    keys = queries if lengths_k is None else _lengths("lengths_k", lengths_k, count, most_k, k)
    places = queries.owners * most + queries.places
    places_k = places if lengths_k is None else keys.owners * most_k + keys.places
    front = len(leading(q[..., 0, :, :, :], k[..., 0, :, :, :], v[..., 0, :, :, :]))
    if mask is not None:
        if mask.shape != (count, most_k):
            raise refuse("mask.shape", list(mask.shape), f"[{count}, {most_k}]: a value for each padded key")
        mask = mask.flatten()[places_k]
    if key_bias is not None:
        flat = key_bias.dim() == 2
        if key_bias.dim() < 2 or key_bias.shape[(-2 if flat else -3) :][:2] != (count, most_k):
            wanted = f"[{count}, {most_k}] or [..., {count}, {most_k}, {q.shape[-2]}]: a number for each padded key"
            raise refuse("key_bias.shape", list(key_bias.shape), wanted)
        key_bias = key_bias.flatten()[places_k] if flat else key_bias.flatten(-3, -2).index_select(-2, places_k)
    if sink is not None and sink.dim() == front + 3:
        if sink.shape[-3:-1] != (count, most):
            raise refuse("sink.shape", list(sink.shape), f"[..., head] or [..., {count}, {most}, head]")
        sink = sink.flatten(-3, -2).index_select(-2, places)
    return Packed(
        q.flatten(-4, -3).index_select(-3, places),
        k.flatten(-4, -3).index_select(-3, places_k),
        v.flatten(-4, -3).index_select(-3, places_k),
        queries,
        keys,
        mask,
        key_bias,
        sink,
        places,
        count,
        most,
    )


def _lengths(name: str, lengths: Tensor, count: int, most: int, x: Tensor) -> Layout:
    if lengths.device != x.device:
        raise refuse(f"{name}.device", lengths.device, f"{x.device}, where q is")
    if lengths.shape != (count,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise refuse(name, f"{lengths.dtype} {list(lengths.shape)}", f"whole numbers [{count}], one for each set")
    wrong = ((lengths < 0) | (lengths > most)).nonzero()
    if len(wrong):
        at = int(wrong[0])
        raise refuse(f"{name}[{at}]", int(lengths[at]), f"a whole number from 0 to {most}")
    return Layout.of(lengths.to(torch.int64))


def spread(x: Tensor, dim: int, packed: Packed, value: float) -> Tensor:
    """x, whose rows are its dimension `dim` (below 0), with them where they stood, and `value` where no row was."""
    shape = list(x.shape)
    shape[dim] = packed.sets * packed.padded_to
    placed: Tensor = x.new_full(shape, value).index_copy(dim, packed.places, x)
    found: Tensor = placed.unflatten(dim, (packed.sets, packed.padded_to))
    return found
