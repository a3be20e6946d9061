"""The compiled attention against torch, one set at a time: values, gradients, sizes, and what must not leak."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from gamesim.errors import InvalidInput
from gamesim.kernels import attention, fused
from gamesim.kernels.attention import attend, attend_between, attend_within, serves, serves_between

RAGGED = (3, 1, 17, 0, 30, 2, 2, 2, 2, 5, 5, 40, 1, 1, 1, 1, 1)
KINDS: dict[str, dict[str, Any]] = {
    "softmax": {"kind": "softmax"},
    "sigmoid": {"kind": "sigmoid"},
    "topk": {"kind": "topk", "top": 3},
}
TOLERANCE = {torch.float32: {"atol": 2e-6, "rtol": 2e-6}, torch.float64: {"atol": 1e-13, "rtol": 1e-12}}


def offsets(sizes: Any) -> Tensor:
    return torch.cat([torch.zeros(1, dtype=torch.int64), torch.tensor(sizes, dtype=torch.int64).cumsum(0)])


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def plain(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    offsets_q: Tensor,
    offsets_k: Tensor,
    *,
    kind: str = "softmax",
    scale: float,
    top: int = 0,
    bias: Any = None,
    key_bias: Tensor | None = None,
    sink: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Set by set."""
    outs, lses = [], []
    for b in range(len(offsets_q) - 1):
        rows, keys = (slice(int(at[b]), int(at[b + 1])) for at in (offsets_q, offsets_k))
        x = torch.einsum("...ihd,...nhd->...ihn", q[..., rows, :, :], k[..., keys, :, :]) * scale
        if key_bias is not None:
            x = x + key_bias.expand(*k.shape[:-1])[..., keys, :].mT.unsqueeze(-3)
        if kind == "sigmoid":
            size = max(1, keys.stop - keys.start)
            shift = -torch.tensor(float(size), dtype=q.dtype).log() if bias is None else bias
            if isinstance(shift, Tensor) and shift.dim():
                shift = shift[..., b, None, :, None]
            p, lse = torch.sigmoid(x + shift), x.new_zeros(x.shape[:-1])
        else:
            if kind == "topk" and x.shape[-1] > top:
                x = x.masked_fill(x < x.topk(top, -1).values[..., -1:], -torch.inf)
            if sink is not None:
                x = torch.cat([x, sink.expand(*q.shape[:-1])[..., rows, :, None]], -1)
            lse = x.logsumexp(-1)
            p = (x - lse.unsqueeze(-1)).exp()
            p = p.masked_fill((lse == -torch.inf).unsqueeze(-1), 0.0)
            p = p[..., : keys.stop - keys.start]
        outs.append(torch.einsum("...ihn,...nhd->...ihd", p, v[..., keys, :, :]))
        lses.append(lse)
    return torch.cat(outs, -3), torch.cat(lses, -2)


def same(inputs: list[Tensor], options: dict[str, Any], *where: Tensor) -> None:
    """Values, and gradients of everything that has one."""
    leaves = [x for x in (*inputs, *options.values()) if isinstance(x, Tensor) and x.requires_grad]
    found, wanted = attend(*inputs, *where, **options), plain(*inputs, *where, **options)
    close = TOLERANCE[inputs[0].dtype]
    assert_close(found[0], wanted[0], **close)
    weights = [drawn(*x.shape, seed=5, dtype=x.dtype) for x in found]
    if options["kind"] == "sigmoid":
        found, wanted = found[:1], wanted[:1]
    else:
        assert_close(found[1], wanted[1], **close)
    grads = [
        torch.autograd.grad(sum(((y * w).sum() for y, w in zip(out, weights, strict=False)), torch.zeros(())), leaves)
        for out in (found, wanted)
    ]
    for one, other in zip(*grads, strict=True):
        assert_close(one, other, atol=4 * close["atol"], rtol=close["rtol"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [16, 5, 24, 64])
def test_ragged_sets_as_one_at_a_time(kind: str, dtype: torch.dtype, size: int) -> None:
    where = offsets(RAGGED)
    inputs = [drawn(2, int(where[-1]), 3, size, seed=seed, dtype=dtype).requires_grad_() for seed in range(3)]
    keep = int(where[3]), int(where[4])
    assert keep[0] == keep[1]  # a set without anybody
    same(inputs, {**KINDS[kind], "scale": size**-0.5}, where, where)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [(1,) * 9, (2,) * 9, (6,) * 9, (8,) * 9, (16,) * 3, (17,), (300,)])
def test_sets_of_one_size(kind: str, sizes: tuple[int, ...]) -> None:
    where = offsets(sizes)
    inputs = [drawn(int(where[-1]), 4, 16, seed=seed).requires_grad_() for seed in range(3)]
    same(inputs, {**KINDS[kind], "scale": 0.25}, where, where)


@pytest.mark.parametrize("kind", KINDS)
def test_queries_and_keys_of_other_sizes(kind: str) -> None:
    where = offsets((1, 4, 20, 3, 3, 3, 3)), offsets((30, 2, 7, 5, 5, 5, 5))
    q = drawn(int(where[0][-1]), 4, 8, seed=1).requires_grad_()
    k, v = (drawn(int(where[1][-1]), 4, 8, seed=seed).requires_grad_() for seed in (2, 3))
    same([q, k, v], {**KINDS[kind], "scale": 0.3}, *where)


@pytest.mark.parametrize("sizes", [RAGGED, (3,) * 7])
def test_biases_and_sinks(sizes: tuple[int, ...]) -> None:
    where = offsets(sizes)
    rows = int(where[-1])
    inputs = [drawn(2, rows, 3, 8, seed=seed).requires_grad_() for seed in range(3)]
    key_bias = drawn(2, rows, 3, seed=7).requires_grad_()
    per_head = drawn(3, seed=8).requires_grad_()
    for options in ({"kind": "softmax"}, {"kind": "topk", "top": 2}):
        same(inputs, {**options, "scale": 0.4, "key_bias": key_bias, "sink": per_head}, where, where)
    same(inputs, {"kind": "softmax", "scale": 0.4, "sink": drawn(2, rows, 3).requires_grad_()}, where, where)
    bias = drawn(2, len(sizes), 3, seed=9).requires_grad_()
    same(inputs, {"kind": "sigmoid", "scale": 0.4, "key_bias": key_bias, "bias": bias}, where, where)
    same(inputs, {"kind": "sigmoid", "scale": 0.4, "bias": -1.5}, where, where)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [(4, 0, 1), (3,) * 8])
def test_gradients_against_differences(kind: str, sizes: tuple[int, ...]) -> None:
    where = offsets(sizes)
    inputs = [drawn(int(where[-1]), 2, 3, seed=seed).requires_grad_() for seed in range(3)]
    chosen = slice(1) if kind == "sigmoid" else slice(2)
    options = {**KINDS[kind], "scale": 0.5}
    assert torch.autograd.gradcheck(lambda *x: attend(*x, where, where, **options)[chosen], inputs)


def test_slices_of_one_projection_need_no_copy() -> None:
    where = offsets(RAGGED)
    together = drawn(2, int(where[-1]), 3, 4, 16, dtype=torch.float32).requires_grad_()
    q, k, v = together.unbind(-3)
    apart = [x.detach().clone(memory_format=torch.contiguous_format) for x in (q, k, v)]
    weights = drawn(*q.shape, seed=4, dtype=torch.float32)
    found = attend_within(together, where, scale=0.25)
    assert torch.equal(found[0], attend(*apart, where, where, scale=0.25)[0])
    one = torch.autograd.grad((found[0] * weights).sum(), together)[0]
    other = torch.autograd.grad((attend(q, k, v, where, where, scale=0.25)[0] * weights).sum(), together)[0]
    assert torch.equal(one, other)
    wide = drawn(int(where[-1]), 4, 16, 3, dtype=torch.float32).unbind(-1)  # the last stride is 3
    assert "side by side" in str(serves(*wide, "softmax", 40, 40, False))
    assert_close(attend(*wide, where, where, scale=0.25), plain(*wide, where, where, scale=0.25), atol=2e-6, rtol=2e-6)


def test_leading_dimensions_are_broadcast_and_gradients_summed() -> None:
    where = offsets((3, 5, 2))
    q = drawn(2, 3, 10, 2, 4).requires_grad_()
    k, v = drawn(3, 10, 2, 4, seed=1).requires_grad_(), drawn(10, 2, 4, seed=2).requires_grad_()
    same([q, k, v], {"kind": "softmax", "scale": 0.5}, where, where)
    expanded = drawn(1, 2, 4, seed=3).expand(10, 2, 4)
    same([expanded, v, v], {"kind": "softmax", "scale": 0.5}, where, where)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [RAGGED, (2,) * 9, (6,) * 20])
def test_a_set_alone_is_the_same_to_the_bit(kind: str, sizes: tuple[int, ...]) -> None:
    where = offsets(sizes)
    together = drawn(2, int(where[-1]), 3, 4, 16, dtype=torch.float32).requires_grad_()
    options = {**KINDS[kind], "scale": 0.25}
    found = attend_within(together, where, **options)
    grad = torch.autograd.grad(found[0].square().sum(), together)[0]
    for b in range(len(sizes)):
        rows = slice(int(where[b]), int(where[b + 1]))
        alone = together.detach()[1, rows].clone().requires_grad_()
        single = attend_within(alone, offsets(sizes[b : b + 1]), **options)
        assert torch.equal(found[0][1, rows], single[0])
        assert torch.equal(found[1][1, rows], single[1])
        assert torch.equal(grad[1, rows], torch.autograd.grad(single[0].square().sum(), alone)[0])


def test_threads_change_nothing() -> None:
    where = offsets(RAGGED * 8)
    together = drawn(int(where[-1]), 3, 4, 16, dtype=torch.float32).requires_grad_()
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            out = attend_within(together, where, scale=0.25)
            found.append((*out, torch.autograd.grad(out[0].square().sum(), together)[0]))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [(17, 3, 20, 1), (3,) * 12])
def test_what_is_not_a_number_stays_in_its_set(kind: str, sizes: tuple[int, ...]) -> None:
    where = offsets(sizes)
    clean = drawn(int(where[-1]), 3, 4, 16, dtype=torch.float32)
    bad = clean.clone()
    rows = slice(int(where[1]), int(where[2]))
    bad[rows] = torch.nan
    options = {**KINDS[kind], "scale": 0.25}
    grads, outs = [], []
    for x in (clean.requires_grad_(), bad.requires_grad_()):
        outs.append(attend_within(x, where, **options)[0])
        grads.append(torch.autograd.grad(outs[-1].sum(), x)[0])
    for one, other in (outs, grads):
        assert other[rows].isnan().all()
        kept = torch.ones(len(one), dtype=torch.bool)
        kept[rows] = False
        assert torch.equal(one[kept], other[kept])


def test_one_number_that_is_none_spoils_its_query_only() -> None:
    where = offsets((20,))
    q, k, v = drawn(20, 3, 1, 16, dtype=torch.float32).unbind(-3)
    q = q.clone()
    q[7, 0, 3] = torch.nan
    out, lse = attend(q, k, v, where, where, scale=0.25)
    assert out.isnan().all((1, 2)).nonzero().tolist() == [[7]]
    assert out.isnan().any((1, 2)).nonzero().tolist() == [[7]]
    assert lse.isnan().nonzero().tolist() == [[7, 0]]


@pytest.mark.parametrize("rows", [2, 20])
def test_nobody_to_attend_to(rows: int) -> None:
    q = drawn(9 * rows, 2, 4).requires_grad_()
    k, v = (drawn(9, 2, 4, seed=seed).requires_grad_() for seed in (1, 2))
    queries = offsets((rows,) * 9)
    nobody = offsets((0,) * 8 + (9,))
    hidden = torch.full((9, 2), -torch.inf).double()
    for keys, key_bias in ((nobody, None), (offsets((1,) * 9), hidden)):
        out, lse = attend(q, k, v, queries, keys, scale=0.5, key_bias=key_bias)
        empty = slice(0, 8 * rows)
        assert bool((out[empty] == 0).all())
        assert bool((lse[empty] == -torch.inf).all())
        for grad in torch.autograd.grad(out.sum(), (q, k, v)):
            assert bool(grad.isfinite().all())
    out, lse = attend(q, k, v, queries, nobody, scale=0.5, sink=torch.tensor(0.7).double())
    assert_close(lse[:rows], torch.full((rows, 2), 0.7).double())
    assert attend(q[:0], k[:0], v[:0], offsets(()), offsets(()), scale=1.0)[0].shape == (0, 2, 4)
    assert attend(q, k[:0], v[:0], queries, offsets((0,) * 9), scale=1.0)[0].eq(0).all()


def test_hidden_keys_are_as_if_absent() -> None:
    q, k, v = drawn(12, 3, 2, 4).unbind(-3)
    key_bias = torch.zeros(12, 2).double()
    key_bias[5] = -torch.inf
    found = attend(q, k, v, offsets((12,)), offsets((12,)), scale=0.5, key_bias=key_bias)
    kept = [n for n in range(12) if n != 5]
    assert_close(found, attend(q, k[kept], v[kept], offsets((12,)), offsets((11,)), scale=0.5))


def test_equal_scores_are_all_kept() -> None:
    q, v = torch.ones(5, 1, 4).double(), drawn(5, 1, 4)
    out, _ = attend(q, torch.ones(5, 1, 4).double(), v, offsets((5,)), offsets((5,)), kind="topk", top=2, scale=1.0)
    assert_close(out, v.mean(0, keepdim=True).expand_as(out))


@pytest.mark.parametrize("size", [1.0, 1e4, 1e15])
def test_large_scores(size: float) -> None:
    x = size * drawn(2, 20, 3, 2, 8, dtype=torch.float32)
    where = offsets((18, 2))
    out, lse = attend_within(x, where, scale=0.5)
    wanted = plain(*x.unbind(-3), where, where, scale=0.5)
    assert_close(out, wanted[0], rtol=2e-6, atol=2e-6 * size)  # one key has it all
    assert_close(lse, wanted[1], rtol=2e-6, atol=2e-6 * size**2)


def test_the_gradient_has_no_gradient() -> None:
    x = drawn(4, 3, 2, 4).requires_grad_()
    out, _ = attend_within(x, offsets((4,)), scale=0.5)
    with pytest.raises(InvalidInput, match="second derivative"):
        torch.autograd.grad(out.sum(), x, create_graph=True)


def test_only_what_is_wanted_has_a_gradient() -> None:
    where = offsets((4, 2))
    q, k, v = drawn(6, 3, 2, 4).unbind(-3)
    lse = attend(q.clone().requires_grad_(), k, v, where, where, scale=0.5)[1]
    assert lse.requires_grad
    q = q.clone().requires_grad_()
    grad = torch.autograd.grad(attend(q, k, v, where, where, scale=0.5)[1].sum(), q)[0]
    assert_close(grad, torch.autograd.grad(plain(q, k, v, where, where, scale=0.5)[1].sum(), q)[0])
    assert not attend(q, k, v, where, where, kind="sigmoid", scale=0.5)[1].requires_grad


def between(x: Tensor, inward: Any, outward: Any, heads: int, where: Tensor, **options: Any) -> Tensor:
    """Products of torch around one set at a time."""

    def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return x @ weight if bias is None else x @ weight + bias.unsqueeze(-2)

    q, k, v = affine(x, *inward).unflatten(-1, (3, heads, -1)).unbind(-3)
    return affine(plain(q, k, v, where, where, **options)[0].flatten(-2), *outward)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [RAGGED, (3,) * 200, (300, 2, 100)])
def test_products_and_attention_in_one_loop(sizes: tuple[int, ...], kind: str, dtype: torch.dtype) -> None:
    where = offsets(sizes)
    options = {**KINDS[kind], "scale": 0.3}
    x = drawn(int(where[-1]), 20, dtype=dtype)
    inward = drawn(20, 144, seed=1, dtype=dtype) / 5, drawn(144, seed=2, dtype=dtype)
    outward = drawn(48, 80, seed=3, dtype=dtype) / 7, drawn(80, seed=4, dtype=dtype)
    wanted = between(*(x.double(), [w.double() for w in inward], [w.double() for w in outward]), 3, where, **options)
    found = attend_between(x, inward, outward, 3, where, **options)
    assert serves_between(x, inward, outward, 3, kind, 300) is None
    if kind == "topk" and dtype == torch.float32:  # which is third may be a matter of rounding
        assert float((found - wanted).abs().amax(-1).gt(1e-5).double().mean()) < 0.02
    else:
        close = {torch.float32: 4e-6, torch.float64: 1e-13}[dtype]
        assert_close(found.double(), wanted, atol=close * max(1.0, float(wanted.abs().max())), rtol=close)


def test_products_of_many_seeds_in_one_loop() -> None:
    where = offsets(RAGGED)
    x = drawn(3, int(where[-1]), 16, dtype=torch.float32)
    inward = drawn(3, 16, 48, seed=1, dtype=torch.float32) / 4, drawn(3, 48, seed=2, dtype=torch.float32)
    outward = drawn(3, 16, 16, seed=3, dtype=torch.float32) / 4, None
    sink = drawn(3, 1, 2, seed=4, dtype=torch.float32)
    found = attend_between(x, inward, outward, 2, where, scale=0.3, sink=sink)
    assert_close(found, between(x, inward, outward, 2, where, scale=0.3, sink=sink), atol=4e-6, rtol=4e-6)
    for seed in range(3):
        weights = (inward[0][seed], inward[1][seed]), (outward[0][seed], None)
        assert torch.equal(found[seed], attend_between(x[seed], *weights, 2, where, scale=0.3, sink=sink[seed]))
    shared = attend_between(x, (inward[0][1], inward[1][1]), (outward[0][1], None), 2, where, scale=0.3, sink=sink[1])
    assert torch.equal(shared[1], found[1])
    part = slice(int(where[4]), int(where[5]))
    weights = (inward[0][2], inward[1][2]), (outward[0][2], None)
    alone = attend_between(x[2, part], *weights, 2, offsets((30,)), scale=0.3, sink=sink[2])
    assert torch.equal(alone, found[2, part])


def test_one_loop_says_what_it_does_not_take() -> None:
    x, inward, outward = drawn(4, 16), (drawn(16, 48), drawn(48)), (drawn(16, 16), None)
    assert serves_between(x, inward, outward, 2, "softmax", 4) is None
    assert "multiples of 8" in str(serves_between(x, (drawn(16, 36), None), (drawn(12, 16), None), 2, "softmax", 4))
    assert "[d, 3 d']" in str(serves_between(x, (drawn(12, 48), None), outward, 2, "softmax", 4))
    assert "type" in str(serves_between(x.float(), inward, outward, 2, "softmax", 4))
    assert "one piece" in str(serves_between(x, (drawn(48, 16).mT, None), outward, 2, "softmax", 4))
    assert "not linear" in str(serves_between(x, inward, outward, 2, "linear", 4))
    learned = drawn(16, 48).requires_grad_(), None
    assert "no gradient" in str(serves_between(x, learned, outward, 2, "softmax", 4))
    with torch.no_grad():
        assert serves_between(x, learned, outward, 2, "softmax", 4) is None
    assert "as wide" in str(serves_between(x, (inward[0], drawn(16)), outward, 2, "softmax", 4))
    with pytest.raises(InvalidInput, match="multiples of 8"):
        attend_between(x, (drawn(16, 36), None), (drawn(12, 16), None), 2, offsets((4,)), scale=1.0)
    empty = attend_between(x[:0], inward, outward, 2, offsets((0, 0)), scale=1.0)
    assert empty.shape == (0, 16)


def test_it_says_what_it_does_not_take() -> None:
    x = drawn(4, 2, 8)
    assert serves(x, x, x, "softmax", 4, 4, True) is None
    assert "not linear" in str(serves(x, x, x, "linear", 4, 4, False))
    assert "float32 or float64" in str(serves(x.half(), x, x, "softmax", 4, 4, False))
    assert "log-sum-exp" in str(serves(x, x, x, "sigmoid", 4, 4, True))
    assert "beyond" in str(serves(x, x, x, "softmax", 4, attention.LONGEST + 1, False))
    assert "as wide" in str(serves(x, x, x[..., :4], "softmax", 4, 4, False))
    assert "at most" in str(serves(*[drawn(1, 1, 300)] * 3, "softmax", 1, 1, False))
    assert "CPU" in str(serves(*[x.to("meta")] * 3, "softmax", 4, 4, False))
    reasons: list[Any] = []
    torch.func.vmap(lambda y: (reasons.append(serves(y, y, y, "softmax", 2, 2, False)), y)[1])(x)
    assert "torch.func" in reasons[0]
    with fused(False):
        assert "off" in str(serves(x, x, x, "softmax", 4, 4, False))


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("kind", {"kind": "hard"}),
        ("top", {"kind": "topk"}),
        ("top", {"kind": "topk", "top": 0}),
        ("bias", {"bias": 1.0}),
        ("sink", {"kind": "sigmoid", "sink": torch.zeros(2)}),
    ],
    ids=["kind", "no-top", "top-0", "bias", "sink"],
)
def test_bad_options_are_refused(field: str, change: dict[str, Any]) -> None:
    x = drawn(4, 2, 8)
    with pytest.raises(InvalidInput, match=field):
        attend(x, x, x, offsets((4,)), offsets((4,)), **{"scale": 1.0, **change})


@pytest.mark.parametrize(
    ("field", "queries", "keys"),
    [
        ("offsets_q", [0, 3], [0, 4]),
        ("offsets_k", [0, 4], [0, 5]),
        ("offsets_k", [0, 4], [0, 2, 4]),
        ("offsets_q", [0, 5, 2, 4], [0, 1, 2, 4]),
        ("offsets_q", [1, 4], [0, 4]),
    ],
    ids=["short", "long", "count", "falling", "start"],
)
def test_offsets_outside_the_tensor_are_refused(field: str, queries: list[int], keys: list[int]) -> None:
    x = drawn(4, 2, 8)
    with pytest.raises(InvalidInput, match=field):
        attend(x, x, x, torch.tensor(queries), torch.tensor(keys), scale=1.0)
    with pytest.raises(InvalidInput, match="offsets_q"):
        attend(x, x, x, torch.tensor([0.0, 4.0]), torch.tensor(keys), scale=1.0)


def test_tensors_that_do_not_go_together_are_refused() -> None:
    x = drawn(4, 2, 8)
    with pytest.raises(InvalidInput, match="k"):
        attend(x, x[:, :1], x[:, :1], offsets((4,)), offsets((4,)), scale=1.0)
