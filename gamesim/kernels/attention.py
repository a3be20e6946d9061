"""Attention within sets by compiled loops, one pass forward and one backward: what gamesim.attention does in torch.

    out_i = sum_n p_in v_n,    x_in = scale <q_i, k_n> + key_bias_n,    keys n of the set of query i, head by head
    softmax:  p_in = exp(x_in - lse_i),  lse_i = log(exp(sink_i) + sum_n exp(x_in))
    topk:     softmax over the keys whose x_in is at least the top-th largest; all of those that are equal to it
    sigmoid:  p_in = 1 / (1 + exp(-x_in - bias)),  bias = -log(keys of the set) unless given

`attend_between` has the products before and after it in the same loop, without gradients: most of what attention of
small sets costs is those products, and memory between them.

A query without keys, or whose keys are all at -inf, has out 0 and lse -inf. The backward pass computes probabilities
again from lse and keeps nothing else; it cannot be differentiated itself, and says so: the plain twin can.
"""

import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from gamesim.errors import refuse, unknown
from gamesim.kernels import allowed
from gamesim.shapes import broadcast_shapes

KINDS = {"softmax": 0, "sigmoid": 1, "topk": 2}
LONGEST = 4096
"""Keys of a set, at most; beyond, matrix products of torch are as fast."""
WIDEST = 256
"""Numbers of a head, at most."""
ALONE = 1 << 18
"""Multiplications below which a second thread is not worth its start."""


def serves(q: Tensor, k: Tensor, v: Tensor, kind: str, longest_q: int, longest_k: int, wants_lse: bool) -> str | None:
    """Why `attend` does not take q, k, v [..., t, h, d], or None if it does."""
    if kind not in KINDS:
        return f"compiled loops know {', '.join(KINDS)}, not {kind}"
    if not allowed():
        return "compiled loops are off, or numba is missing"
    if any(x.device.type != "cpu" for x in (q, k, v)):
        return "compiled loops are for the CPU"
    if q.dtype not in (torch.float32, torch.float64) or not q.dtype == k.dtype == v.dtype:
        return "compiled loops take float32 or float64, the same for all"
    if any(x.layout != torch.strided or torch._C._functorch.is_functorch_wrapped_tensor(x) for x in (q, k, v)):
        return "compiled loops take plain tensors, outside torch.func transforms"
    if forward_ad._current_level >= 0:
        return "compiled loops have no forward-mode derivative"
    if q.shape[-1] != v.shape[-1]:
        return "compiled loops want values as wide as keys"
    if not 0 < q.shape[-1] <= WIDEST:
        return f"compiled loops take heads of at most {WIDEST} numbers"
    if any(x.stride(-1) != 1 and x.shape[-1] > 1 for x in (q, k, v)):
        return "compiled loops want the numbers of a head side by side"
    if wants_lse and kind == "sigmoid":
        return "sigmoid attention has no log-sum-exp"
    if longest_k > LONGEST:
        return f"a set has {longest_k} keys: beyond {LONGEST}, matrix products are as fast"
    return None


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    offsets_q: Tensor,
    offsets_k: Tensor,
    *,
    kind: str = "softmax",
    scale: float,
    top: int | None = None,
    bias: Tensor | float | None = None,
    key_bias: Tensor | None = None,
    sink: Tensor | None = None,
    causal: bool = False,
) -> tuple[Tensor, Tensor]:
    """Out [..., t, h, d] and lse [..., t, h] (0 for sigmoid) of q[..., t, h, d], k and v[..., t', h, d].

    Set b has queries offsets_q[b] to offsets_q[b + 1] and keys offsets_k[b] to offsets_k[b + 1]. What follows is
    broadcast: bias[..., b, h]; key_bias[..., t', h], where -inf hides a key; sink[..., t, h], a score without value.
    causal: the queries of a set are the last of its rows, and see no key behind their own.
    """
    front = broadcast_shapes(q.shape[:-3], k.shape[:-3], v.shape[:-3])
    q, k, v = (x.expand(*front, *x.shape[-3:]) for x in (q, k, v))
    if causal and bool((offsets_k.diff() < offsets_q.diff()).any()):
        raise refuse("offsets_k", "fewer keys than queries", "at least as many in each set, as order is causal")
    if k.shape[-3:] != v.shape[-3:] or q.shape[-2:] != k.shape[-2:]:
        raise refuse("k", f"{list(k.shape)}", f"as many heads and numbers as q{list(q.shape)} and v{list(v.shape)}")
    added = _added(q, k.shape[-3], offsets_q, offsets_k, kind, bias, key_bias, sink)
    found: tuple[Tensor, Tensor] = _Attention.apply(
        q, k, v, *added, offsets_q, offsets_k, KINDS[kind], _top(kind, top), float(scale), causal
    )
    return found


def attend_within(
    qkv: Tensor,
    offsets: Tensor,
    *,
    kind: str = "softmax",
    scale: float,
    top: int | None = None,
    bias: Tensor | float | None = None,
    key_bias: Tensor | None = None,
    sink: Tensor | None = None,
    causal: bool = False,
) -> tuple[Tensor, Tensor]:
    """`attend` of qkv[..., t, 3, h, d], what one projection gives: its gradient comes in one piece, without a copy."""
    added = _added(qkv.select(-3, 0), qkv.shape[-4], offsets, offsets, kind, bias, key_bias, sink)
    found: tuple[Tensor, Tensor] = _Attention.apply(
        qkv, None, None, *added, offsets, offsets, KINDS[kind], _top(kind, top), float(scale), causal
    )
    return found


PIECE = 256
"""Rows whose queries, keys and values are in the cache at a time, if their set is not larger."""

Affine = tuple[Tensor, Tensor | None]
"""Weight [..., in, out] and bias [..., out]."""


def serves_between(x: Tensor, inward: Affine, outward: Affine, heads: int, kind: str, longest: int) -> str | None:
    """Why `attend_between` does not take x[..., t, d], or None if it does."""
    given = [x, *(part for part in (*inward, *outward) if part is not None)]
    if torch.is_grad_enabled() and any(part.requires_grad for part in given):
        return "products and attention in one loop have no gradient"
    if any(part.device != x.device or part.dtype != x.dtype or part.layout != torch.strided for part in given):
        return "products and attention in one loop want tensors of one device and type"
    if any(part.stride(-1) != 1 for part in given):
        return "products and attention in one loop want rows in one piece"
    if any(torch._C._functorch.is_functorch_wrapped_tensor(part) for part in given):
        return "compiled loops take plain tensors, outside torch.func transforms"
    inner, rest = divmod(inward[0].shape[-1], 3)
    if rest or inner % heads or outward[0].shape[-2] != inner or inward[0].shape[-2] != x.shape[-1]:
        return "products and attention in one loop want weights [d, 3 d'] and [d', d'']"
    if any(shift is not None and shift.shape[-1] != weight.shape[-1] for weight, shift in (inward, outward)):
        return "biases want to be as wide as what they are added to"
    lanes = 16 if x.dtype == torch.float32 else 8
    if inner % lanes or outward[0].shape[-1] % lanes:
        return f"products in the loop want widths that are multiples of {lanes}"
    heads_of = x.new_empty(0, heads, inner // heads)
    return serves(heads_of, heads_of, heads_of, kind, longest, longest, False)


def attend_between(
    x: Tensor,
    inward: Affine,
    outward: Affine,
    heads: int,
    offsets: Tensor,
    *,
    kind: str = "softmax",
    scale: float,
    top: int | None = None,
    bias: Tensor | float | None = None,
    key_bias: Tensor | None = None,
    sink: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """Multi-head attention of rows x[..., t, d] between two products, [d, 3 d'] and [d', d'']: y[..., t, d''].

    Without gradients. Piece by piece, so that queries, keys, values and heads never leave the cache.
    """
    from gamesim.kernels import attention_loops

    with torch.no_grad():
        reason = serves_between(x, inward, outward, heads, kind, 0)
        if reason is not None:
            raise refuse("x", f"{x.dtype} {list(x.shape)} with these weights", f"what the loop takes: {reason}")
        front = broadcast_shapes(x.shape[:-2], inward[0].shape[:-2], outward[0].shape[:-2])
        x = x.expand(*front, *x.shape[-2:])
        rows, inner, outputs = x.shape[-2], inward[0].shape[-1] // 3, outward[0].shape[-1]
        size = inner // heads
        added = _added(
            x.new_empty(()).expand(*front, rows, heads, 1), rows, offsets, offsets, kind, bias, key_bias, sink
        )
        y = x.new_empty(*front, rows, outputs)
        longest, work = _sizes(offsets, offsets, front.numel() * inner)
        parts = [None, None, None, *added, *[None] * 10]
        found = [_steps(part, 2) for part in parts]
        for weight, shift in (inward, outward):
            found.append(_steps(weight.expand(*front, *weight.shape[-2:]), 2))
            found.append(_steps(None if shift is None else shift.expand(*front, shift.shape[-1]).unsqueeze(-1), 2))
        found.insert(16, _steps(x, 2))
        found.append(_steps(y, 2))
        places = [number for _, steps in found for number in steps]
        ends = offsets.numpy()
        most = max(PIECE, longest)
        settings = KINDS[kind], _top(kind, top), heads, size, longest, front.numel()

        def call(first: int, last: int) -> None:
            room = x.new_empty(most * (4 * inner + heads) + 16)
            place = -(-room.data_ptr() // 64) * 64 // room.element_size()
            table = np.array(
                [*settings[:4], first, last, *settings[4:], *places, x.shape[-1], outputs, PIECE, place, causal]
            )
            scratch = attention_loops.scratch(longest, size, _top(kind, top), y.numpy().dtype)
            attention_loops.forward(table, float(scale), ends, ends, *scratch)

        _spread(call, ends, work + rows * inner * outputs)
    return y


def _top(kind: str, top: int | None) -> int:
    if kind != "topk":
        return 0
    if top is None or top < 1:
        raise refuse("top", top, "a whole number of at least 1")
    return top


def _added(
    q: Tensor,
    rows_k: int,
    offsets_q: Tensor,
    offsets_k: Tensor,
    kind: str,
    bias: Tensor | float | None,
    key_bias: Tensor | None,
    sink: Tensor | None,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Key bias [..., t', h], sink [..., t, h] and bias [..., b, h], or None."""
    if kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    front, heads = q.shape[:-3], q.shape[-2]
    _checked("offsets_q", offsets_q, q.shape[-3])
    _checked("offsets_k", offsets_k, rows_k)
    if len(offsets_q) != len(offsets_k):
        raise refuse("offsets_k", f"{len(offsets_k) - 1} sets", f"{len(offsets_q) - 1}, as many as of queries")
    given_bias: Tensor | None = None
    if kind == "sigmoid":
        if bias is None:
            bias = -offsets_k.diff().clamp(min=1).to(q.dtype).log()[:, None]
        given_bias = torch.as_tensor(bias, dtype=q.dtype).expand(*front, len(offsets_q) - 1, heads)
        if sink is not None:
            raise refuse("sink", "a tensor", "None: sigmoid attention has no sum that a sink could take from")
    elif bias is not None:
        raise refuse("bias", bias, "None: adding a number to all scores changes no softmax")
    return (
        None if key_bias is None else key_bias.to(q.dtype).expand(*front, rows_k, heads),
        None if sink is None else sink.to(q.dtype).expand(*front, q.shape[-3], heads),
        given_bias,
    )


def _checked(name: str, offsets: Tensor, rows: int) -> None:
    """The loops trust these."""
    if offsets.dtype != torch.int64 or offsets.dim() != 1 or not len(offsets) or offsets.device.type != "cpu":
        raise refuse(name, f"{offsets.dtype} {list(offsets.shape)}", "torch.int64 [b + 1] in memory")
    numbers = offsets.detach().numpy()
    if numbers[0] != 0 or numbers[-1] != rows or bool((numbers[1:] < numbers[:-1]).any()):
        raise refuse(name, f"from {numbers[0]} to {numbers[-1]}", f"offsets from 0 to {rows} that never fall")


def _steps(x: Tensor | None, entries: int) -> tuple[Tensor | None, list[int]]:
    """A tensor [..., row, h] or [..., row, h, d] (`entries` 2 or 3) as the loops read it.

    With its place in memory, counted in numbers, 0 for none, and its steps of lead, row and head.
    """
    if x is None or x.numel() == 0:
        return None, [0, 0, 0, 0]
    x = x.detach()
    if entries == 3 and x.shape[-1] > 1 and x.stride(-1) != 1:
        x = x.contiguous()
    if x.data_ptr() % x.element_size():
        x = x.clone()
    x = x.reshape(x.shape[:-entries].numel(), *x.shape[-entries:])
    return x, [x.data_ptr() // x.element_size(), *x.stride()[:3]]


def _spread(call: Callable[[int, int], None], offsets: Any, work: int) -> None:
    """call(first, last) over all sets, by as many threads as torch has."""
    sets = len(offsets) - 1
    threads = min(torch.get_num_threads() if work > ALONE else 1, sets)
    if threads <= 1:
        call(0, sets)
        return
    cuts = np.searchsorted(offsets, np.linspace(0, offsets[-1], threads + 1)).clip(0, sets)
    cuts[0], cuts[-1] = 0, sets
    problems: list[BaseException] = []

    def other(first: int, last: int) -> None:
        try:
            call(first, last)
        except BaseException as problem:  # raised again by the thread that waits
            problems.append(problem)

    others = [threading.Thread(target=other, args=(int(first), int(last))) for first, last in pairwise(cuts[1:])]
    for each in others:
        each.start()
    other(0, int(cuts[1]))
    for each in others:
        each.join()
    if problems:
        raise problems[0]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor | None,
        v: Tensor | None,
        key_bias: Tensor | None,
        sink: Tensor | None,
        bias: Tensor | None,
        offsets_q: Tensor,
        offsets_k: Tensor,
        kind: int,
        top: int,
        scale: float,
        causal: bool,
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        query, key, value = q.unbind(-3) if k is None or v is None else (q, k, v)
        front, (rows, heads, size) = query.shape[:-3], query.shape[-3:]
        out = query.new_empty(*front, rows, heads, size)
        lse = query.new_empty(*front, rows, heads) if kind != KINDS["sigmoid"] else query.new_zeros(*front, rows, heads)
        longest, work = _sizes(offsets_q, offsets_k, front.numel() * heads * size)
        settings = kind, top, heads, size, longest, front.numel(), causal
        _run(False, settings, scale, offsets_q, offsets_k, (query, key, value, key_bias, sink, bias, out, lse), work)
        ctx.save_for_backward(q, k, v, key_bias, sink, bias, offsets_q, offsets_k, lse)
        ctx.settings = settings, scale, work
        if kind == KINDS["sigmoid"]:
            ctx.mark_non_differentiable(lse)
        return out, lse

    @staticmethod
    def backward(ctx: Any, out_grad: Tensor | None, lse_grad: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            raise refuse("create_graph", True, "False: compiled attention has no second derivative, its plain twin has")
        q, k, v, key_bias, sink, bias, offsets_q, offsets_k, lse = ctx.saved_tensors
        settings, scale, work = ctx.settings
        if out_grad is None and lse_grad is None:
            return (None,) * 12
        returned: tuple[Tensor | None, ...]
        if k is None:
            query, key, value = q.unbind(-3)
            together = torch.empty_like(q, memory_format=torch.contiguous_format)
            grads, returned = tuple(together.unbind(-3)), (together, None, None)
        else:
            query, key, value = q, k, v
            grads = tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))
            returned = grads
        if out_grad is None:
            out_grad = query.new_zeros(()).expand(query.shape).contiguous()
        wanted = [
            None if x is None or not needed else x.new_zeros(x.shape)
            for x, needed in zip((key_bias, sink, bias), ctx.needs_input_grad[3:6], strict=True)
        ]
        given = query, key, value, key_bias, sink, bias, None, lse, out_grad, lse_grad, *grads, *wanted
        _run(True, settings, scale, offsets_q, offsets_k, given, 3 * work)
        return (*returned, *wanted, None, None, None, None, None, None)


Settings = tuple[int, int, int, int, int, int, bool]
"""Kind, top, heads, size of a head, keys of the largest set, leading numbers, whether order is causal."""


def _run(
    back: bool,
    settings: Settings,
    scale: float,
    offsets_q: Tensor,
    offsets_k: Tensor,
    tensors: Sequence[Tensor | None],
    work: int,
) -> None:
    """Plays the loops; tensors in the order of their table."""
    from gamesim.kernels import attention_loops

    kind, top, heads, size, longest, leads, causal = settings
    rows = {0, 1, 2, 6, 8, 10, 11, 12}  # with numbers of a head
    found = [_steps(x, 3 if at in rows else 2) for at, x in enumerate(tensors)]
    ends, begins = offsets_q.numpy(), offsets_k.numpy()
    places = [number for _, steps in found for number in steps]
    dtype = np.float64 if any(x is not None and x.dtype == torch.float64 for x in tensors) else np.float32

    def call(first: int, last: int) -> None:
        table = np.zeros(attention_loops.TABLE, np.int64)
        table[: 8 + len(places)] = [kind, top, heads, size, first, last, longest, leads, *places]
        table[-1] = causal
        loop = attention_loops.backward if back else attention_loops.forward
        loop(table, scale, ends, begins, *attention_loops.scratch(longest, size, top, dtype))

    _spread(call, ends, work)


def _sizes(offsets_q: Tensor, offsets_k: Tensor, each: int) -> tuple[int, int]:
    """Keys of the largest set, and multiplications."""
    if len(offsets_k) < 2:
        return 0, 0
    keys = np.diff(offsets_k.numpy())
    return int(keys.max()), int((keys * np.diff(offsets_q.numpy())).sum()) * each
