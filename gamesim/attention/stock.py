"""Attention within sets by torch's own kernels, over sets padded to the longest."""

import torch
from torch.nn.functional import scaled_dot_product_attention

from gamesim.attention import plain
from gamesim.attention.call import Answer, Call, transformed


def serves(call: Call) -> str | None:
    if call.kind != "softmax":
        return f"torch's attention has no {call.kind}"
    if call.wants_lse or call.sink is not None:
        return "torch's attention does not tell the log-sum-exp"
    if call.q.numel() == 0 or call.k.numel() == 0:
        return "nothing attends, or to nothing"
    return None if torch.compiler.is_compiling() else transformed(call.q, call.k, call.v)


def attend(call: Call) -> Answer:
    q, k, v = plain.by_set(call.q, call.queries), plain.by_set(call.k, call.keys), plain.by_set(call.v, call.keys)
    front = q.shape[:-3]
    mask = None
    hidden = plain.absent(call.keys)
    alike = call.queries is call.keys or (call.even and call.queries.even == call.keys.even)
    ordered = call.causal and alike and call.key_bias is None  # rows of padding are behind all others
    if ordered:
        hidden = None
    elif call.causal:
        later = plain.future(call.queries, call.keys)
        hidden = later if hidden is None else hidden | later
    if call.key_bias is not None:
        mask = plain.by_set(call.key_bias[..., None], call.keys).mT
        mask = mask if hidden is None else mask.masked_fill(hidden, -torch.inf)
        mask = mask.expand(*front, q.shape[-3], q.shape[-2], k.shape[-2]).flatten(0, -4)
    elif hidden is not None:
        seen = ~hidden
        if call.keys.longest:  # an empty set sees one key of zeros, and has 0
            seen[..., 0] = True
        mask = seen.expand(*front, 1, q.shape[-2], k.shape[-2]).flatten(0, -4)
    q, k, v = q.flatten(0, -4), k.flatten(0, -4), v.flatten(0, -4)
    out = scaled_dot_product_attention(q, k, v, mask, is_causal=ordered, scale=call.scale)
    return plain.by_row(out.unflatten(0, front), call.queries), None
