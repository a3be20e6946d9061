"""Attention in causal order: every path against torch and against its plain twin, gradients, and what must not leak."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close

from gamesim.attention import Layout, set_attention
from gamesim.attention.attend import attend_within
from gamesim.attention.blocks import SAB, SetAttention
from gamesim.attention.paths import CPU
from gamesim.errors import InvalidInput
from gamesim.kernels import fused

RAGGED = (3, 1, 17, 0, 30, 2, 2, 33, 5)
PATHS = [path.name for path in CPU]
KINDS: dict[str, dict[str, Any]] = {
    "softmax": {},
    "topk": {"kind": "topk", "top": 3},
    "sigmoid": {"kind": "sigmoid"},
}


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def three(rows: int, keys: int | None = None, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [
        drawn(2, n, 3, 5, seed=seed, dtype=dtype).requires_grad_()
        for seed, n in enumerate((rows, keys or rows, keys or rows))
    ]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [1, 7, 16, 17, 49])
def test_sets_of_one_size_as_torch_has_them(path: str, size: int) -> None:
    q, k, v = three(4 * size)
    found = set_attention(q, k, v, cu_q=Layout.repeated(size, 4), causal=True, path=path)
    turned = [x.unflatten(1, (4, size)).transpose(2, 3) for x in (q, k, v)]
    wanted = scaled_dot_product_attention(*turned, is_causal=True).transpose(2, 3).flatten(1, 2)
    assert_close(found, wanted)
    weights = drawn(*found.shape, seed=9)
    for one, other in zip(*(torch.autograd.grad((x * weights).sum(), (q, k, v)) for x in (found, wanted)), strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [0, 1, 20], ids=["own", "one-before", "many-before"])
def test_ragged_sets_row_by_row(kind: str, more: int) -> None:
    """Row i attends to the keys up to its own, as if there were no others; queries are the last rows of the keys."""
    layout = Layout.of(RAGGED)
    keys = layout if not more else Layout.of([n + more * (n > 0) for n in RAGGED])
    q, k, v = three(layout.rows, keys.rows)
    bias: dict[str, Any] = {"bias": -1.5} if kind == "sigmoid" else {}
    rows = []
    for b, n in enumerate(RAGGED):
        at, begin = int(layout.offsets[b]), int(keys.offsets[b])
        for i in range(n):
            seen = slice(begin, begin + more + i + 1)
            given = q[:, at + i : at + i + 1], k[:, seen], v[:, seen]
            rows.append(set_attention(*given, path="plain", **KINDS[kind], **bias))
    wanted = torch.cat(rows, 1)
    weights = drawn(*wanted.shape, seed=9)
    aims = torch.autograd.grad((wanted * weights).sum(), (q, k, v), retain_graph=True)
    for path in PATHS:
        if path != "sdpa" or kind == "softmax":
            found = set_attention(q, k, v, cu_q=layout, cu_k=keys, causal=True, path=path, **KINDS[kind], **bias)
            assert_close(found, wanted)
            for one, other in zip(torch.autograd.grad((found * weights).sum(), (q, k, v)), aims, strict=True):
                assert_close(one, other)


def test_biases_of_keys_sinks_and_sums_of_the_past() -> None:
    layout = Layout.of(RAGGED)
    q, k, v = three(layout.rows)
    added = {
        "key_bias": drawn(2, layout.rows, 3, seed=4).requires_grad_(),
        "sink": drawn(2, layout.rows, 3, seed=5).requires_grad_(),
    }
    leaves = (q, k, v, *added.values())
    answers = []
    for path in ("plain", "fused"):
        o, lse = set_attention(q, k, v, cu_q=layout, causal=True, path=path, return_lse=True, **added)  # type: ignore[call-overload]
        grads = torch.autograd.grad((o.square().sum() + lse.sin().sum()), leaves)
        answers.append((o, lse, *grads))
    for one, other in zip(*answers, strict=True):
        assert_close(one, other)
    biased = [
        set_attention(q, k, v, cu_q=layout, causal=True, path=path, key_bias=added["key_bias"])
        for path in ("plain", "sdpa")
    ]
    assert_close(*biased)


def test_gradients_are_those_of_differences() -> None:
    layout = Layout.of([2, 5])
    qkv = drawn(7, 3, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: attend_within(x, layout, causal=True), (qkv,))
    q, k, v = (x.detach().requires_grad_() for x in qkv.unbind(1))
    for path in ("plain", "fused"):

        def last(q: Tensor, k: Tensor, v: Tensor, path: str = path) -> Tensor:
            return set_attention(q[2:4], k, v, cu_q=Layout.of([1, 1]), cu_k=Layout.of([3, 4]), causal=True, path=path)

        assert torch.autograd.gradcheck(last, (q, k, v))


@pytest.mark.parametrize("path", ["plain", "fused"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nothing_of_the_future_reaches_the_past(path: str, bad: float) -> None:
    size, cut = 37, 20
    q, k, v = (x.detach() for x in three(2 * size))
    layout = Layout.repeated(size, 2)
    clean = set_attention(q, k, v, cu_q=layout, causal=True, path=path)
    for x in (q, k, v):
        x[:, cut:size] = bad  # of the first set
    found = set_attention(q, k, v, cu_q=layout, causal=True, path=path)
    assert torch.equal(found[:, :cut], clean[:, :cut])
    assert torch.equal(found[:, size:], clean[:, size:])
    assert not found[:, cut:size].isfinite().any()


def test_values_that_are_no_numbers_stay_such_where_they_are_seen() -> None:
    q, k, v = (x.detach() for x in three(9))
    v[:, 4, :, 2] = math.nan
    for path in ("plain", "fused"):
        found = set_attention(q, k, v, causal=True, path=path).isnan()
        assert found[:, 4:, :, 2].all()
        assert int(found.sum()) == found[:, 4:, :, 2].numel()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_a_prefix_has_the_bits_of_the_whole(dtype: torch.dtype) -> None:
    q, k, v = (x.detach() for x in three(40, dtype=dtype))
    whole = set_attention(q, k, v, causal=True, path="fused")
    for n in (1, 15, 16, 17, 39):
        assert torch.equal(set_attention(q[:, :n], k[:, :n], v[:, :n], causal=True, path="fused"), whole[:, :n])


def test_padded_sets_end_where_their_lengths_say() -> None:
    lengths, longer = torch.tensor([2, 0, 3]), torch.tensor([5, 1, 3])
    q, k, v = drawn(3, 3, 2, 4, seed=1), drawn(3, 5, 2, 4, seed=2), drawn(3, 5, 2, 4, seed=3)
    found = set_attention(q, k, v, lengths=lengths, lengths_k=longer, causal=True)
    for b in range(3):
        n, m = int(lengths[b]), int(longer[b])
        for i in range(n):
            seen = slice(0, m - n + i + 1)
            alone = set_attention(q[b, i : i + 1], k[b, seen], v[b, seen])
            assert_close(found[b, i : i + 1], alone)
    assert not found[1].any()


@pytest.mark.parametrize("grad", [False, True], ids=["between-products", "with-gradients"])
def test_blocks_have_an_order(grad: bool) -> None:
    """What follows a row does not change it; without gradients attention and products are one loop."""
    block = SAB(16, 2, causal=True).reset(torch.Generator().manual_seed(0))
    x, layout = drawn(14, 16, dtype=torch.float32), Layout.of([9, 5])
    with torch.set_grad_enabled(grad):
        whole = block(x, layout)
        part = block(x[:4], Layout.of([4]))
        assert_close(whole[:4], part)
        with fused(False):
            assert_close(block(x, layout), whole, atol=2e-6, rtol=2e-6)
        free = SAB(16, 2).reset(torch.Generator().manual_seed(0))(x, layout)
    assert not torch.allclose(free[:4], whole[:4], atol=1e-2)


def test_vmap_and_compile_free_calls_agree() -> None:
    q, k, v = (x.detach() for x in three(6))
    found = torch.vmap(lambda q, k, v: set_attention(q, k, v, causal=True))(q, k, v)
    assert_close(found, set_attention(q, k, v, causal=True))


def test_refusals_say_what_would_be_right() -> None:
    q, k, v = (x.detach() for x in three(6))
    with pytest.raises(InvalidInput, match="linear attention of the past"):
        set_attention(q, k, v, kind="linear", causal=True)
    with pytest.raises(InvalidInput, match="key_bias -inf hides one"):
        set_attention(q, k, v, mask=torch.zeros(6, dtype=torch.bool), causal=True)
    with pytest.raises(InvalidInput, match="causal queries are the last rows"):
        set_attention(q, k[:, :4], v[:, :4], cu_q=Layout.of([3, 3]), cu_k=Layout.of([2, 2]), causal=True)
    with pytest.raises(InvalidInput, match="linear attention of the past"):
        SetAttention(8, 2, kind="linear", causal=True)
    choice = set_attention(q, k, v, causal=True, explain=True)
    assert choice.path == "fused"
    assert set(choice.others) == {"triton", "varlen", "sdpa", "plain"}
