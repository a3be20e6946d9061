"""Attention within sets on a GPU: torch's own over packed sets (`varlen`), and a kernel that packs sets into tiles.

    out_i = sum_j p_ij v_j,    s_ij = scale <q_i, k_j> + key_bias_j,    keys j of the set of query i
    softmax:  p_ij = exp(s_ij - lse_i),  lse_i = log(exp(sink) + sum_j exp(s_ij))
    sigmoid:  p_ij = 1 / (1 + exp(-s_ij - bias)),  bias = -log(keys of the set) unless given

Flash attention computes tiles of 64 to 128 queries of one set: for six agents, less than a tenth of a tile is used. The
kernel here (gamesim.kernels.attention_triton, compiled by triton on first use) fills a tile with as many whole sets as
go in and hides scores between them. A query without keys has out 0 and lse -inf. How sets fall into tiles depends on
the offsets alone and is kept with them, so that a layout that is used again costs no look at numbers on the device.

Backward passes cannot be differentiated themselves. Sums are float32; float64 is left to the plain twin.
"""

from bisect import bisect_right
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from weakref import ReferenceType, ref

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.weak import WeakTensorKeyDictionary

from gamesim.errors import refuse
from gamesim.shapes import broadcast_shapes

KINDS = ("softmax", "sigmoid")
WIDEST = {torch.float16: 128, torch.bfloat16: 128, torch.float32: 64}
"""Numbers of a head, at most, for the kernel here: beyond, registers do not hold a tile."""
FLASH_WIDEST = 256
LEAST = 16
"""What a product on tensor cores is at least, in every direction."""


def varlen_serves(
    q: Tensor, k: Tensor, v: Tensor, kind: str, longest_q: int, longest_k: int, wants_lse: bool
) -> str | None:
    """Why `varlen_attend` does not take q, k, v [..., t, h, d], or None if it does."""
    if kind != "softmax":
        return f"torch's varlen attention knows softmax, not {kind}"
    if any(x.device.type != "cuda" for x in (q, k, v)):
        return "torch's varlen attention is for CUDA devices"
    if find_spec("torch.nn.attention.varlen") is None:
        return "torch has varlen attention from 2.10 on"
    if torch.version.cuda is None or torch.cuda.get_device_capability(q.device) < (8, 0):
        return "torch's varlen attention wants an NVIDIA GPU of compute capability 8.0 or more"
    if q.dtype not in (torch.float16, torch.bfloat16) or not q.dtype == k.dtype == v.dtype:
        return "torch's varlen attention takes float16 or bfloat16, the same for all"
    if not q.shape[-1] == k.shape[-1] == v.shape[-1] or q.shape[-1] % 8 or q.shape[-1] > FLASH_WIDEST:
        return f"torch's varlen attention wants heads of 8, 16, ... up to {FLASH_WIDEST} numbers, values too"
    if not min(longest_q, longest_k, q.numel(), k.numel()):
        return "torch's varlen attention wants at least one query and one key"
    if wants_lse and torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return "torch's varlen attention gives the log-sum-exp no gradient"
    return None


def varlen_attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    offsets_q: Tensor,
    offsets_k: Tensor,
    *,
    kind: str = "softmax",
    scale: float,
    bias: Tensor | float | None = None,
    key_bias: Tensor | None = None,
    sink: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Out [..., t, h, d] and lse [..., t, h] of q[..., t, h, d], k and v[..., t', h, d]; the lse has no gradient."""
    from torch.nn.attention.varlen import AuxRequest, varlen_attn

    for name, given in (("bias", bias), ("key_bias", key_bias), ("sink", sink)):
        if given is not None or kind != "softmax":
            raise refuse(name, "a value", "None: torch's varlen attention is a softmax of plain scores")
    front = broadcast_shapes(q.shape[:-3], k.shape[:-3], v.shape[:-3])
    both = plan(offsets_q, offsets_k, q.shape[-3], k.shape[-3])
    query, key, value = (_as_heads(x.expand(*front, *x.shape[-3:])) for x in (q, k, v))
    out, lse = varlen_attn(
        query,
        key,
        value,
        both.cu_q,
        both.cu_k,
        both.longest_q,
        both.longest_k,
        return_aux=AuxRequest(lse=True),
        scale=scale,
    )
    lse = by_row(lse, out)
    heads = q.shape[-2]
    out, lse = out.unflatten(1, (*front, heads)), lse.unflatten(1, (*front, heads))
    return out.movedim(0, -3), lse.movedim(0, -2)


def _as_heads(x: Tensor) -> Tensor:
    """x[..., t, h, d] with leading dimensions as further heads, [t, h', d]: they share the sets."""
    x = x.movedim(-3, 0).flatten(1, -2)
    return x if x.stride(-1) == 1 else x.contiguous()


def by_row(lse: Tensor, out: Tensor) -> Tensor:
    """lse[t, h]: torch documents that and returns [h, t]; where both are one number, what kernels return is meant."""
    return lse.mT if lse.shape == (out.shape[1], out.shape[0]) else lse


def triton_serves(
    q: Tensor, k: Tensor, v: Tensor, kind: str, longest_q: int, longest_k: int, wants_lse: bool
) -> str | None:
    """Why `triton_attend` does not take q, k, v [..., t, h, d], or None if it does."""
    if kind not in KINDS:
        return f"the packed kernel knows {' and '.join(KINDS)}, not {kind}"
    if any(x.device.type != "cuda" for x in (q, k, v)):
        return "the packed kernel is for CUDA devices"
    if find_spec("triton") is None:
        return "triton is not installed"
    return triton_takes(q, k, v, kind, wants_lse)


def triton_takes(q: Tensor, k: Tensor, v: Tensor, kind: str, wants_lse: bool) -> str | None:
    """What `triton_serves` asks of tensors apart from their device (triton interprets kernels on a CPU)."""
    if q.dtype not in WIDEST or not q.dtype == k.dtype == v.dtype:
        return "the packed kernel takes float16, bfloat16 or float32, the same for all"
    if not 0 < max(q.shape[-1], v.shape[-1]) <= WIDEST[q.dtype]:
        return f"the packed kernel takes heads of at most {WIDEST[q.dtype]} numbers of {q.dtype}"
    if wants_lse and kind == "sigmoid":
        return "sigmoid attention has no log-sum-exp"
    return None


def triton_attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    offsets_q: Tensor,
    offsets_k: Tensor,
    *,
    kind: str = "softmax",
    scale: float,
    bias: Tensor | float | None = None,
    key_bias: Tensor | None = None,
    sink: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Out [..., t, h, d'] and lse [..., t, h] (0 for sigmoid) of q[..., t, h, d], k[..., t', h, d], v[..., t', h, d'].

    Set b has queries offsets_q[b] to offsets_q[b + 1] and keys offsets_k[b] to offsets_k[b + 1]. What follows is
    broadcast: bias[..., h] of sigmoids, key_bias[..., t', h] (-inf hides a key), sink[..., h] of a softmax.
    """
    if kind not in KINDS:
        raise refuse("kind", kind, "softmax or sigmoid")
    front = broadcast_shapes(q.shape[:-3], k.shape[:-3], v.shape[:-3])
    q, k, v = (x.expand(*front, *x.shape[-3:]) for x in (q, k, v))
    if k.shape[-3:-1] != v.shape[-3:-1] or q.shape[-2:] != k.shape[-2:]:
        raise refuse("k", list(k.shape), f"as many heads and numbers as q{list(q.shape)} and v{list(v.shape)}")
    rows, rows_k, heads = q.shape[-3], k.shape[-3], q.shape[-2]
    both = plan(offsets_q, offsets_k, rows, rows_k, largest(q.dtype, max(q.shape[-1], v.shape[-1])))
    shift: Tensor | None = None
    if kind == "sigmoid":
        if sink is not None:
            raise refuse("sink", "a tensor", "None: sigmoid attention has no sum that a sink could take from")
        if bias is None:
            shift = both.shift[:, None].expand(*front, rows, heads)
        else:
            given = torch.as_tensor(bias, dtype=torch.float32, device=q.device)
            shift = given.expand(*front, heads)[..., None, :].expand(*front, rows, heads)
    elif bias is not None:
        raise refuse("bias", bias, "None: adding a number to all scores changes no softmax")
    wide_bias = None if key_bias is None else key_bias.expand(*front, rows_k, heads)
    wide_sink = None if sink is None else sink.expand(*front, heads)
    found: tuple[Tensor, Tensor] = _Packed.apply(
        q, k, v, wide_bias, wide_sink, shift, both, kind == "softmax", float(scale)
    )
    return found


# --- how sets fall into tiles -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Plan:
    """Tiles of one pair of offsets: rows int32 [tile, 4] of a side from, to, and of what they meet from, to."""

    longest_q: int
    longest_k: int
    cu_q: Tensor
    cu_k: Tensor
    owners_q: Tensor
    owners_k: Tensor
    shift: Tensor
    """-log(keys of the set of a query), float32 [t]."""
    block: int
    """Queries of a tile, and keys of a block."""
    packed: bool
    """Whether a tile has whole sets, whose keys fit in one block."""
    tiles_q: Tensor
    tiles_k: Tensor
    """The same for keys, which queries meet."""


Known = tuple[int, ReferenceType[Tensor], int, dict[int, Plan]]
_plans: Any = WeakTensorKeyDictionary()  # offsets_q -> its version, offsets_k, the version of that, plans by largest


def plan(offsets_q: Tensor, offsets_k: Tensor, rows_q: int, rows_k: int, most: int = 128) -> Plan:
    """The tiles of two offsets, of at most so many rows; from memory where these tensors came before, unchanged."""
    known: Known | None = _plans.get(offsets_q)
    if known is not None:
        version, other, other_version, plans = known
        if other() is offsets_k and version == offsets_q._version and other_version == offsets_k._version:
            if most not in plans:
                plans[most] = _plan(offsets_q, offsets_k, rows_q, rows_k, most)
            return plans[most]
    found = _plan(offsets_q, offsets_k, rows_q, rows_k, most)
    _plans[offsets_q] = (offsets_q._version, ref(offsets_k), offsets_k._version, {most: found})
    return found


def largest(dtype: torch.dtype, width: int) -> int:
    """Rows of a tile, at most, whose scores and sums stay in registers: from what ptxas reports for sm_90."""
    if dtype == torch.float32:
        return 64 if width <= 16 else 32
    return 128 if width <= 32 else 64 if width <= 64 else 32


def _plan(offsets_q: Tensor, offsets_k: Tensor, rows_q: int, rows_k: int, most: int) -> Plan:
    for name, offsets, rows in (("offsets_q", offsets_q, rows_q), ("offsets_k", offsets_k, rows_k)):
        if offsets.dtype != torch.int64 or offsets.dim() != 1 or not len(offsets):
            raise refuse(name, f"{offsets.dtype} {list(offsets.shape)}", "torch.int64 [b + 1]")
        if int(offsets[0]) != 0 or int(offsets[-1]) != rows or bool((offsets.diff() < 0).any()):
            raise refuse(name, f"from {int(offsets[0])} to {int(offsets[-1])}", f"0 to {rows}, never falling")
    if len(offsets_q) != len(offsets_k):
        raise refuse("offsets_k", f"{len(offsets_k) - 1} sets", f"{len(offsets_q) - 1}, as many as of queries")
    sizes_q, sizes_k = offsets_q.diff(), offsets_k.diff()
    longest_q, longest_k = (int(x.max()) if len(x) else 0 for x in (sizes_q, sizes_k))
    sets = torch.arange(len(sizes_q), device=offsets_q.device)
    owners_q, owners_k = (
        torch.repeat_interleave(sets, x, output_size=rows) for x, rows in ((sizes_q, rows_q), (sizes_k, rows_k))
    )
    block = tiling(max(longest_q, longest_k), most)
    packed = block > 0
    if packed:
        tiles = _whole(block, offsets_q, offsets_k)
        tiles_k = tiles.roll(2, -1)
    else:
        block = min(64, most)
        tiles = _straddling(block, rows_q, owners_q, offsets_k)
        tiles_k = _straddling(block, rows_k, owners_k, offsets_q)
    return Plan(
        longest_q,
        longest_k,
        offsets_q.to(torch.int32),
        offsets_k.to(torch.int32),
        owners_q.to(torch.int32),
        owners_k.to(torch.int32),
        -sizes_k.clamp(min=1).to(torch.float32).log()[owners_q],
        block,
        packed,
        tiles,
        tiles_k,
    )


def tiling(longest: int, most: int = 128) -> int:
    """Rows of a tile of whole sets: the fewest of which the largest set takes half, or all; 0 where it does not go in.

    >>> tiling(6), tiling(32), tiling(33), tiling(129), tiling(33, most=32)
    (32, 32, 128, 0, 0)
    """
    sizes = [m for m in (32, 64, 128) if m <= most]
    return next((m for m in sizes if longest <= m / 2 or longest == m), sizes[-1] if longest <= sizes[-1] else 0)


def _whole(block: int, offsets_q: Tensor, offsets_k: Tensor) -> Tensor:
    """Tiles of as many sets in a row as have at most so many queries, and as many keys."""
    queries, keys, cuts = offsets_q.tolist(), offsets_k.tolist(), [0]
    while cuts[-1] < len(queries) - 1:
        begin = cuts[-1]
        cuts.append(min(bisect_right(x, x[begin] + block) for x in (queries, keys)) - 1)
    at = torch.tensor(cuts, device=offsets_q.device)
    parts = [x[side] for x in (offsets_q, offsets_k) for side in (at[:-1], at[1:])]
    return torch.stack(parts, -1).to(torch.int32).contiguous()


def _straddling(block: int, rows: int, owners: Tensor, others: Tensor) -> Tensor:
    """Tiles of so many rows wherever sets end, and the rows of the other side that their sets have."""
    first = torch.arange(0, rows, block, device=owners.device)
    last = (first + block).clamp(max=rows)
    return torch.stack([first, last, others[owners[first]], others[owners[last - 1] + 1]], -1).to(torch.int32)


# --- launching --------------------------------------------------------------------------------------------------------


class _Packed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        key_bias: Tensor | None,
        sink: Tensor | None,
        shift: Tensor | None,
        both: Plan,
        softmax: bool,
        scale: float,
    ) -> tuple[Tensor, Tensor]:
        from gamesim.kernels import attention_triton as kernels

        ctx.set_materialize_grads(False)
        front, rows, heads, rows_k = q.shape[:-3], q.shape[-3], q.shape[-2], k.shape[-3]
        lead = front.numel()
        flat = [_flat(x, lead) for x in (q, k, v)]
        bias, slot, moved = (_flat(x, lead, n) for x, n in ((key_bias, 2), (sink, 1), (shift, 2)))
        out = q.new_empty(*front, rows, heads, v.shape[-1])
        lse = torch.zeros(*front, rows, heads, dtype=torch.float32, device=q.device)
        tiles = len(both.tiles_q)
        if tiles * heads * lead:
            kernels.forward[(tiles * heads * lead,)](
                *flat, _or(bias, q), _or(slot, q), _or(moved, q), out, lse, both.owners_q, both.owners_k, both.tiles_q,
                *_steps(*flat), *_stride(bias, 3), *_stride(slot, 2), *_stride(moved, 3), scale, heads, tiles, rows,
                SOFTMAX=softmax, HAS_KEY_BIAS=bias is not None, HAS_SINK=slot is not None, **_shape(q, v, both),
            )  # fmt: skip
        ctx.save_for_backward(*flat, bias, slot, moved, out, lse)
        ctx.settings = both, softmax, scale, front, rows_k
        if not softmax:
            ctx.mark_non_differentiable(lse)
        return out, lse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, out_grad: Tensor | None, lse_grad: Tensor | None) -> Any:
        from gamesim.kernels import attention_triton as kernels

        q, k, v, bias, slot, moved, out, lse = ctx.saved_tensors
        both, softmax, scale, front, rows_k = ctx.settings
        if out_grad is None and (lse_grad is None or not softmax):
            return (None,) * 9
        lead, rows, heads = q.shape[:3]
        do = torch.zeros_like(out) if out_grad is None else out_grad
        do = _flat(do, lead)
        assert do is not None
        delta = lse
        if softmax:
            delta = (do.float() * out.view(do.shape).float()).sum(-1)
            if lse_grad is not None:
                delta = delta - lse_grad.reshape(delta.shape)
        wants_bias, wants_sink, wants_shift = ctx.needs_input_grad[3:6]
        dq, dk, dv = (torch.zeros(x.shape, dtype=x.dtype, device=x.device) for x in (q, k, v))
        dbias = torch.zeros(lead, rows_k, heads, dtype=torch.float32, device=q.device) if wants_bias else None
        dshift = torch.zeros(lead, rows, heads, dtype=torch.float32, device=q.device) if wants_shift else None
        given = (q, k, v, _or(bias, q), _or(moved, q), do, lse, delta)
        owners = (both.owners_q, both.owners_k)
        steps = (*_steps(q, k, v), *_stride(bias, 3), *_stride(moved, 3), *do.stride()[:3])
        common = {"SOFTMAX": softmax, "HAS_KEY_BIAS": bias is not None, **_shape(q, v, both)}
        tiles, tiles_k = len(both.tiles_q), len(both.tiles_k)
        if both.packed and tiles * heads * lead:
            kernels.backward_packed[(tiles * heads * lead,)](
                *given, dq, dk, dv, _or(dbias, q), _or(dshift, q), *owners, both.tiles_q,
                *steps, scale, heads, tiles, rows, rows_k, WANTS_BIAS=wants_bias, WANTS_SHIFT=wants_shift, **common,
            )  # fmt: skip
        elif heads * lead:
            if tiles:
                kernels.backward_queries[(tiles * heads * lead,)](
                    *given, dq, _or(dshift, q), *owners, both.tiles_q, *steps, scale, heads, tiles, rows,
                    WANTS_SHIFT=wants_shift, **common,
                )  # fmt: skip
            if tiles_k:
                kernels.backward_keys[(tiles_k * heads * lead,)](
                    *given, dk, dv, _or(dbias, q), *owners, both.tiles_k, *steps, scale, heads, tiles_k, rows, rows_k,
                    WANTS_BIAS=wants_bias, **common,
                )  # fmt: skip
        dslot = None
        if wants_sink:
            weight = torch.exp(slot.float()[:, None] - lse.view(lead, rows, heads))
            dslot = -(torch.where(weight.isfinite(), weight, 0.0) * delta).sum(1).to(slot.dtype).reshape(*front, heads)
        return (
            *(x.reshape(*front, *x.shape[1:]) for x in (dq, dk, dv)),
            None if dbias is None else dbias.to(bias.dtype).reshape(*front, rows_k, heads),
            dslot,
            None if dshift is None else dshift.reshape(*front, rows, heads),
            None,
            None,
            None,
        )


def _tensor_cores(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def _flat(x: Tensor | None, lead: int, entries: int = 3) -> Any:
    """Leading dimensions as one; the numbers of a head side by side."""
    if x is None:
        return None
    x = x.reshape(lead, *x.shape[x.dim() - entries :])
    return x.contiguous() if entries == 3 and x.shape[-1] > 1 and x.stride(-1) != 1 else x


def _steps(*tensors: Tensor) -> list[int]:
    return [step for x in tensors for step in x.stride()[:3]]


def _stride(x: Tensor | None, entries: int) -> tuple[int, ...]:
    return (0,) * entries if x is None else x.stride()


def _or(x: Tensor | None, other: Tensor) -> Tensor:
    """A pointer that is not read where there is nothing."""
    return other if x is None else x


def _shape(q: Tensor, v: Tensor, both: Plan) -> dict[str, Any]:
    d, width = q.shape[-1], v.shape[-1]
    precision = "ieee"
    if q.dtype == torch.float32 and torch.version.hip is None and _tensor_cores(q.device):
        precision = "tf32" if torch.backends.cuda.matmul.allow_tf32 else "tf32x3"  # the latter as exact as float32
    return {
        "D": d,
        "DV": width,
        "BLOCK_D": max(LEAST, 1 << (d - 1).bit_length()),
        "BLOCK_DV": max(LEAST, 1 << (width - 1).bit_length()),
        "M": both.block,
        "N": both.block,
        "PRECISION": precision,
        "num_warps": 8 if both.block == 128 else 4,
    }
