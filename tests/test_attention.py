"""Attention within sets, on every path, against a loop over sets; merging, sinks, masks, poison, permutations."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gamesim.attention import Layout, compiled, merged, plain, set_attention
from gamesim.attention.attend import answer
from gamesim.attention.call import Call
from gamesim.attention.compiled import Kernel
from gamesim.attention.paths import PATHS, Path
from gamesim.errors import InvalidInput
from gamesim.kernels import fused

F64 = torch.float64
KINDS = {
    "softmax": {"kind": "softmax"},
    "sigmoid": {"kind": "sigmoid"},
    "sigmoid-0": {"kind": "sigmoid", "bias": 0.0},
    "topk": {"kind": "topk", "top": 2},
    "linear": {"kind": "linear"},
    "linear-mean": {"kind": "linear", "normalised": False},
    "identity": {"kind": "linear", "normalised": False, "feature": "identity"},
}
EVERY = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
SERVED = {"plain": set(KINDS), "sdpa": {"softmax"}, "fused": {"softmax", "sigmoid", "sigmoid-0", "topk"}}
PATH = pytest.mark.parametrize("path", SERVED)
MASSES = pytest.mark.parametrize("path", ["plain", "fused"])  # those that tell the log-sum-exp
WAY = pytest.mark.parametrize(
    ("path", "options"),
    [
        pytest.param(path, KINDS[kind], id=f"{path}-{kind}")
        for path, kinds in SERVED.items()
        for kind in KINDS
        if kind in kinds
    ],
)
CROSS = ([3, 0, 1, 7, 2], [4, 2, 0, 1, 5])


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64).to(dtype)


def rows(sizes: list[int], *front: int, heads: int = 2, d: int = 4, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return drawn(*front, sum(sizes), heads, d, seed=seed, dtype=dtype)


def looped(
    q,
    k,
    v,
    sizes,
    sizes_k,
    kind="softmax",
    top=None,
    bias=None,
    feature="elu",
    normalised=True,
    key_bias=None,
    sink=None,
):
    """One set, one head, one query at a time, as the equations are written."""
    out, lse = (
        torch.zeros(*q.shape[:-1], v.shape[-1], dtype=q.dtype),
        torch.full(q.shape[:-1], -math.inf, dtype=q.dtype),
    )
    ends, ends_k = [0, *torch.tensor(sizes).cumsum(0).tolist()], [0, *torch.tensor(sizes_k).cumsum(0).tolist()]
    for b, count in enumerate(sizes_k):
        for i in range(ends[b], ends[b + 1]):
            for h in range(q.shape[-2]):
                j = slice(ends_k[b], ends_k[b + 1])
                added = torch.zeros(count, dtype=q.dtype) if key_bias is None else key_bias[j, h]
                slot = -math.inf if sink is None else float(sink[h])
                query, keys, values = q[i, h], k[j, h], v[j, h]
                if kind == "linear":
                    if feature == "elu":
                        query, keys = torch.nn.functional.elu(query) + 1, torch.nn.functional.elu(keys) + 1
                    w = (keys @ query) * added.exp()
                    total = w.sum() + math.exp(slot)
                    if count:
                        out[i, h] = w @ values / (total if normalised else count)
                    lse[i, h] = total.log()
                    continue
                s = keys @ query / q.shape[-1] ** 0.5 + added
                if kind == "sigmoid":
                    b_ = -math.log(max(count, 1)) if bias is None else bias
                    out[i, h] = torch.sigmoid(s + b_) @ values
                    continue
                if kind == "topk" and count > top:
                    keep = s >= s.sort(descending=True).values[top - 1]
                    s, values = s[keep], values[keep]
                s = torch.cat([s, torch.tensor([slot], dtype=q.dtype)])
                lse[i, h] = s.logsumexp(0)
                if count or sink is not None:
                    out[i, h] = torch.softmax(s, 0)[:-1] @ values
    return out, lse


def able(path: str, q: Tensor, k: Tensor, v: Tensor, **options: object) -> None:
    """Skips where compiled loops are off, or do not serve this."""
    if path != "fused":
        return
    try:
        set_attention(q, k, v, path=path, explain=True, **options)  # type: ignore[call-overload]
    except InvalidInput as error:
        pytest.skip(str(error))


@WAY
def test_every_kind_and_path_is_what_a_loop_over_sets_computes(path, options) -> None:
    sizes, sizes_k = CROSS
    q, k, v = rows(sizes), rows(sizes_k, seed=1), rows(sizes_k, seed=2)
    sets = {"cu_q": Layout.of(sizes), "cu_k": Layout.of(sizes_k)}
    able(path, q, k, v, **sets, **options)
    out = set_attention(q, k, v, **sets, **options, path=path)
    assert torch.allclose(out, looped(q, k, v, sizes, sizes_k, **options)[0], atol=1e-12)
    assert out[3].abs().max() == 0 or sizes[2] == 0 or sizes_k[2] > 0


@MASSES
@pytest.mark.parametrize("kind", ["softmax", "topk", "linear"])
@pytest.mark.parametrize("sink", [False, True], ids=["no sink", "sink"])
def test_log_sum_exp_biases_of_keys_and_sinks_are_those_of_the_loop(path, kind, sink) -> None:
    sizes, sizes_k = CROSS
    q, k, v, bias = rows(sizes), rows(sizes_k, seed=1), rows(sizes_k, seed=2), rows(sizes_k, d=1, seed=3)[..., 0]
    options = {"kind": kind, "key_bias": bias} | ({"top": 2} if kind == "topk" else {})
    options |= {"sink": drawn(2, seed=4)} if sink else {}
    sets = {"cu_q": Layout.of(sizes), "cu_k": Layout.of(sizes_k)}
    able(path, q, k, v, **sets, **options, return_lse=True)
    found = set_attention(q, k, v, **sets, **options, path=path, return_lse=True)
    for x, y in zip(found, looped(q, k, v, sizes, sizes_k, **options), strict=True):
        assert torch.allclose(x, y, atol=1e-12)


@EVERY
def test_gradients_are_those_of_finite_differences_through_empty_sets_too(options) -> None:
    sizes, sizes_k = [2, 0, 1, 3], [2, 3, 0, 4]
    inputs = [x.requires_grad_() for x in (rows(sizes, d=2), rows(sizes_k, d=2, seed=1), rows(sizes_k, d=2, seed=2))]
    inputs.append(rows(sizes_k, d=1, seed=3)[..., 0].requires_grad_())
    summed = options["kind"] == "sigmoid" or "normalised" in options
    inputs += [] if summed else [drawn(2, seed=4).requires_grad_()]
    sets = {"cu_q": Layout.of(sizes), "cu_k": Layout.of(sizes_k)}

    def f(q, k, v, key_bias, sink=None):
        found = set_attention(
            q, k, v, **sets, **options, key_bias=key_bias, sink=sink, return_lse=not summed, path="plain"
        )
        return found if summed else (found[0], found[1].nan_to_num(neginf=0.0))

    assert torch.autograd.gradcheck(f, inputs)
    assert torch.autograd.gradgradcheck(lambda q: f(q, *inputs[1:]), inputs[:1])


@WAY
def test_gradients_of_fast_paths_are_those_of_the_plain_twin(path, options) -> None:
    sizes, sizes_k = CROSS
    found = []
    for way in (path, "plain"):
        q, k, v = (x.requires_grad_() for x in (rows(sizes, 2), rows(sizes_k, 2, seed=1), rows(sizes_k, 2, seed=2)))
        bias = rows(sizes_k, d=1, seed=3)[..., 0].requires_grad_()
        sets = {"cu_q": Layout.of(sizes), "cu_k": Layout.of(sizes_k), "key_bias": bias}
        able(way, q, k, v, **sets, **options)
        out = set_attention(q, k, v, **sets, **options, path=way)
        found.append(torch.autograd.grad((out * drawn(*out.shape, seed=9)).sum(), [q, k, v, bias]))
    for x, y in zip(*found, strict=True):
        assert torch.allclose(x, y, atol=1e-12)


@pytest.mark.parametrize("kind", ["softmax", "linear"])
@pytest.mark.parametrize("cut", [0, 1, 3], ids=["none of the first", "few", "all of some"])
def test_attention_over_parts_of_the_keys_merges_to_that_over_all(kind, cut) -> None:
    sizes = [3, 0, 5]
    q, k, v = rows(sizes), rows(sizes, seed=1), rows(sizes, seed=2)
    first = torch.tensor(
        [i for b, at in ((0, 0), (2, 3)) for i in range(at, at + min(cut, sizes[b]))], dtype=torch.long
    )
    second = torch.tensor([i for i in range(8) if i not in first.tolist()])
    parts = []
    for j in (first, second):
        mine = Layout.of([int((j < 3).sum()), 0, int((j >= 3).sum())])
        parts.append(set_attention(q, k[j], v[j], cu_q=Layout.of(sizes), cu_k=mine, kind=kind, return_lse=True))
    whole = set_attention(q, k, v, cu_q=Layout.of(sizes), kind=kind, return_lse=True)
    for x, y in zip(merged(*parts), whole, strict=True):
        assert torch.allclose(x, y, atol=1e-12)


def test_parts_of_sigmoid_attention_just_add_up() -> None:
    q, k, v = rows([6]), rows([6], seed=1), rows([6], seed=2)
    halves = [set_attention(q, k[j], v[j], kind="sigmoid", bias=-math.log(6)) for j in (slice(0, 2), slice(2, 6))]
    assert torch.allclose(halves[0] + halves[1], set_attention(q, k, v, kind="sigmoid"), atol=1e-12)


@MASSES
def test_merging_nothing_with_nothing_is_nothing_and_has_no_gradient(path) -> None:
    none = Layout.of([0, 0])
    q = rows([2, 1]).requires_grad_()
    k = rows([0]).requires_grad_()
    sets = {"cu_q": Layout.of([2, 1]), "cu_k": none}
    able(path, q, k, k, **sets, return_lse=True)
    part = set_attention(q, k, k, **sets, path=path, return_lse=True)
    out, lse = merged(part, part)
    assert torch.equal(out, torch.zeros_like(out))
    assert torch.equal(lse, torch.full_like(lse, -math.inf))
    assert torch.equal(torch.autograd.grad(out.sum(), q)[0], torch.zeros_like(q))
    shut = set_attention(q, k, k, **sets, sink=torch.zeros(2, dtype=F64), path=path, return_lse=True)
    assert torch.equal(shut[0], torch.zeros_like(out))
    assert torch.equal(shut[1], torch.zeros_like(lse))


@WAY
@pytest.mark.parametrize("sizes", [[], [0, 0], [1], [1, 1, 1], [0, 3, 0]], ids=str)
def test_sets_of_none_and_of_one(path, options, sizes) -> None:
    x = rows(sizes, d=3)
    able(path, x, x, x, cu_q=Layout.of(sizes), **options)
    if path == "sdpa" and not sum(sizes):
        path = None  # which torch's own does not serve
    out = set_attention(x, x, x, cu_q=Layout.of(sizes), **options, path=path)
    assert torch.allclose(out, looped(x, x, x, sizes, sizes, **options)[0], atol=1e-12)
    if options["kind"] in ("softmax", "topk") and set(sizes) == {1}:
        assert torch.allclose(out, x)


@WAY
@pytest.mark.parametrize("size", [1, 6, 30, 333])
def test_permuting_the_rows_of_sets_permutes_what_comes_out(path, options, size) -> None:
    sizes = [size, 3, size]
    layout, generator = Layout.of(sizes), torch.Generator().manual_seed(1)
    x = rows(sizes, dtype=torch.float32)
    if options["kind"] == "topk":
        x[: size // 2] = x[0]  # equal keys: all of them are kept, or none
    able(path, x, x, x, cu_q=layout, **options)
    out = set_attention(x, x, x, cu_q=layout, **options, path=path)
    for _ in range(100 if size <= 30 else 5):
        order = torch.cat([layout.offsets[b] + torch.randperm(n, generator=generator) for b, n in enumerate(sizes)])
        moved = set_attention(*(3 * [x[order]]), cu_q=layout, **options, path=path)
        assert (moved - out[order]).abs().max() <= 1e-5 * max(1.0, float(out.abs().max()))


def test_a_thousand_rows_on_all_paths() -> None:
    sizes = [1000, 1]
    x = rows(sizes, dtype=torch.float32)
    exact = set_attention(*(3 * [x.double()]), cu_q=Layout.of(sizes), path="plain")
    for name in ("sdpa", "plain", None):
        out = set_attention(x, x, x, cu_q=Layout.of(sizes), path=name)
        assert (out - exact).abs().max() < 1e-5


@MASSES
@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
def test_ties_by_value_are_all_kept(path, dtype) -> None:
    """Scores of equal keys are sums in another order at other places, and differ by rounding."""
    for seed, n in enumerate([3, 5, 17, 30, 64, 200] * 3):
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
        k = drawn(n, 1, 17, seed=seed, dtype=dtype)
        k[order[: n - 1]] = k[order[0]].clone()
        q, v = drawn(1, 1, 17, seed=100, dtype=dtype), drawn(n, 1, 17, seed=101, dtype=dtype)
        k = k if (q * k[order[0]]).sum() > (q * k[order[-1]]).sum() else -k
        sets = {"cu_q": Layout.of([1]), "cu_k": Layout.of([n]), "kind": "topk", "top": 1}
        able(path, q, k, v, **sets)
        out = set_attention(q, k, v, **sets, path=path)
        assert torch.allclose(out[0], v[order[:-1]].mean(0), atol=1e-5)


def test_topk_of_at_least_all_keys_is_softmax() -> None:
    x = rows([3, 5])
    for top in (5, 50):
        out = set_attention(x, x, x, cu_q=Layout.of([3, 5]), kind="topk", top=top)
        assert torch.allclose(out, set_attention(x, x, x, cu_q=Layout.of([3, 5])), atol=1e-12)


@WAY
def test_a_hidden_key_is_one_that_is_not_there_whatever_stands_in_it(path, options) -> None:
    sizes, sizes_k, left = [2, 3, 1], [4, 3, 2], [[0, 3], [5], [7, 8]]
    q, k, v = rows(sizes), rows(sizes_k, seed=1), rows(sizes_k, seed=2)
    keep = torch.tensor([i for at in left for i in at])
    mask = torch.ones(9, dtype=torch.bool)
    mask[keep] = False
    sets = {"cu_q": Layout.of(sizes), "cu_k": Layout.of(sizes_k)}
    able(path, q, k, v, **sets, **options)
    wanted = set_attention(q, k[keep], v[keep], cu_q=Layout.of(sizes), cu_k=Layout.of([2, 1, 2]), **options)
    k[mask], v[mask] = math.nan, math.inf
    q, k, v = (x.requires_grad_() for x in (q, k, v))
    out = set_attention(q, k, v, **sets, mask=mask, **options, path=path)
    assert torch.allclose(out, wanted, atol=1e-12)
    for x, hidden in zip(torch.autograd.grad(out.square().sum(), [q, k, v]), (None, mask, mask), strict=True):
        assert bool(x.isfinite().all())
        assert hidden is None or x[hidden].abs().max() == 0


@WAY
def test_padded_sets_are_packed_ones_and_poison_in_padding_stays_there(path, options) -> None:
    lengths, lengths_k = torch.tensor([2, 0, 3]), torch.tensor([1, 2, 4])
    q, k, v = drawn(2, 3, 3, 2, 4), drawn(2, 3, 4, 2, 4, seed=1), drawn(2, 3, 4, 2, 4, seed=2)
    real = torch.arange(3) < lengths[:, None]
    real_k = torch.arange(4) < lengths_k[:, None]
    packed = [q[:, real], k[:, real_k], v[:, real_k]]
    sets = {"cu_q": Layout.of(lengths), "cu_k": Layout.of(lengths_k)}
    able(path, *packed, **sets, **options)
    wanted = set_attention(*packed, **sets, **options)
    q[:, ~real], k[:, ~real_k], v[:, ~real_k] = math.nan, math.nan, math.nan
    q, k, v = (x.requires_grad_() for x in (q, k, v))
    out = set_attention(q, k, v, lengths=lengths, lengths_k=lengths_k, **options, path=path)
    assert torch.allclose(out[:, real], wanted, atol=1e-12)
    assert out[:, ~real].abs().max() == 0
    for x, there in zip(torch.autograd.grad(out.square().sum(), [q, k, v]), (real, real_k, real_k), strict=True):
        assert bool(x.isfinite().all())
        assert x[:, ~there].abs().max() == 0


def test_masks_biases_and_sinks_of_padded_sets_are_those_of_packed_ones() -> None:
    lengths = torch.tensor([2, 1, 3])
    real = torch.arange(3) < lengths[:, None]
    x, bias, sink = drawn(3, 3, 2, 4), drawn(3, 3, 2, seed=1), drawn(3, 3, 2, seed=2)
    mask = torch.zeros(3, 3, dtype=torch.bool)
    mask[0, 1] = mask[2, 0] = mask[1, 2] = True
    some = {"mask": mask, "key_bias": bias, "sink": sink}
    out, lse = set_attention(x, x, x, lengths=lengths, **some, return_lse=True)
    cut = {name: value[real] for name, value in some.items()}
    wanted = set_attention(*(3 * [x[real]]), cu_q=Layout.of(lengths), **cut, return_lse=True)
    assert torch.allclose(out[real], wanted[0])
    assert torch.allclose(lse[real], wanted[1])
    assert torch.equal(lse[~real], torch.full_like(lse[~real], -math.inf))
    shared = set_attention(x, x, x, lengths=lengths, key_bias=bias[..., 0])
    spread = set_attention(x, x, x, lengths=lengths, key_bias=bias[..., :1].expand(3, 3, 2))
    assert torch.equal(shared, spread)


@EVERY
@pytest.mark.parametrize("path", ["plain", None], ids=["plain", "chosen"])
def test_leading_dimensions_are_one_by_one(options, path) -> None:
    sizes, sizes_k = CROSS
    q, k, v = rows(sizes, 3, 2), rows(sizes_k, 2, seed=1), rows(sizes_k, 3, 1, seed=2)
    options = dict(options) | {"key_bias": rows(sizes_k, 2, d=1, seed=3)[..., 0]}
    if options["kind"] == "sigmoid":
        options["bias"] = drawn(3, 1, 2, seed=4)
    elif "normalised" not in options:
        options["sink"] = drawn(3, 2, 2, seed=4)
    sets = {"cu_q": Layout.of(sizes), "cu_k": Layout.of(sizes_k)}
    out = set_attention(q, k, v, **sets, **options, path=path)
    for i in range(3):
        for j in range(2):
            here = dict(options) | {"key_bias": options["key_bias"][j]}
            here |= {"bias": options["bias"][i, 0]} if options["kind"] == "sigmoid" else {}
            here |= {"sink": options["sink"][i, j]} if "sink" in options else {}
            alone = set_attention(q[i, j], k[j], v[i, 0], **sets, **here, path="plain")
            assert torch.allclose(out[i, j], alone, atol=1e-12)


@MASSES
def test_a_sink_for_each_row_is_one_more_key(path) -> None:
    sizes, x = [2, 4], rows([2, 4])
    slot = drawn(2, 4, seed=5)  # a key of value 0 in every set, one for each head
    scores = (x * slot).sum(-1) / 2
    more = torch.cat([x[:2], slot[None], x[2:], slot[None]])
    values = torch.cat([x[:2], 0 * slot[None], x[2:], 0 * slot[None]])
    wanted = set_attention(x, more, values, cu_q=Layout.of(sizes), cu_k=Layout.of([3, 5]), return_lse=True)
    able(path, x, x, x, cu_q=Layout.of(sizes), sink=scores, return_lse=True)
    found = set_attention(x, x, x, cu_q=Layout.of(sizes), sink=scores, path=path, return_lse=True)
    for a, b in zip(found, wanted, strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def test_keys_at_minus_infinity_are_hidden_from_their_head() -> None:
    x = rows([3]).requires_grad_()
    bias = torch.zeros(3, 2, dtype=F64)
    bias[1, 0], bias[:, 1] = -math.inf, -math.inf
    bias.requires_grad_()
    out, lse = set_attention(x, x, x, key_bias=bias, return_lse=True, path="plain")
    assert torch.allclose(
        out[:, 0], set_attention(x, x[[0, 2]], x[[0, 2]], cu_q=Layout.of([3]), cu_k=Layout.of([2]))[:, 0]
    )
    assert bool((out[:, 1] == 0).all())
    assert bool((lse[:, 1] == -math.inf).all())
    for grad in torch.autograd.grad(out.square().sum(), [x, bias]):
        assert bool(grad.isfinite().all())


@MASSES
def test_large_scores_do_not_overflow(path) -> None:
    x = rows([4], dtype=torch.float32) * 1e3
    able(path, x, x, x, return_lse=True)
    out, lse = set_attention(x, x, x, return_lse=True, path=path)
    assert bool(out.isfinite().all())
    assert bool(lse.isfinite().all())


def test_features_that_underflow_attend_to_nothing() -> None:
    x = rows([4], dtype=torch.float32) * 1e3
    far = set_attention(-x.abs(), -x.abs(), x, kind="linear")
    assert bool(far.isfinite().all())


def test_without_layouts_all_rows_are_one_set() -> None:
    x, y = rows([5]), rows([7], seed=1)
    assert torch.equal(set_attention(x, x, x), set_attention(x, x, x, cu_q=Layout.of([5])))
    crossed = set_attention(x, y, y, cu_q=Layout.of([5]), cu_k=Layout.of([7]))
    assert torch.equal(set_attention(x, y, y), crossed)
    assert torch.equal(
        set_attention(x, y, y, cu_q=torch.tensor([0, 5], dtype=torch.int32), cu_k=torch.tensor([0, 7])), crossed
    )


def test_values_may_be_wider_than_keys() -> None:
    sizes = [3, 2]
    x, v = rows(sizes), rows(sizes, d=7, seed=1)
    out = set_attention(x, x, v, cu_q=Layout.of(sizes))
    assert torch.allclose(out, looped(x, x, v, sizes, sizes)[0])


def test_prompt_counts_reweight_a_base_chain() -> None:
    """p(j | prompt, i) is proportional to n_j P_ij, exactly: Ildiz et al., arXiv 2402.13512, section 2."""
    states, length = 5, 12
    chain = drawn(states, states).softmax(-1)
    prompt = torch.randint(states, (length,), generator=torch.Generator().manual_seed(3))
    one = torch.eye(states, dtype=F64)
    last = one[prompt[-1:]]
    q = (last @ chain.log())[:, None]  # scores of tokens: log P_ij; values: the tokens
    keys = one[prompt][:, None]
    found = set_attention(q, keys, keys, cu_q=Layout.of([1]), cu_k=Layout.of([length]), scale=1.0)[0, 0]
    weighted = torch.bincount(prompt, minlength=states) * chain[prompt[-1]]
    assert torch.allclose(found, weighted / weighted.sum(), atol=1e-14)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "H3"])
def test_linear_attention_is_one_step_of_preconditioned_gradient_descent(weighted) -> None:
    """x W X^T diag(w) y / n is least squares from 0 after a step W: Li et al., arXiv 2407.10005."""
    n, d = 9, 4
    x, theta, preconditioner, query = drawn(n, d), drawn(d, seed=1), drawn(d, d, seed=2), drawn(3, d, seed=3)
    y = x @ theta
    w = drawn(n, seed=4).exp() if weighted else torch.ones(n, dtype=F64)
    start = torch.zeros(d, dtype=F64, requires_grad=True)
    loss = 0.5 * (w * (x @ start - y).square()).mean()
    step = -preconditioner @ torch.autograd.grad(loss, start)[0]
    found = set_attention(
        (query @ preconditioner)[:, None],
        x[:, None],
        y[:, None, None],
        kind="linear",
        feature="identity",
        normalised=False,
        key_bias=w.log(),
    )
    assert torch.allclose(found[:, 0, 0], query @ step, atol=1e-13)


@pytest.mark.parametrize("n", [1, 3, 300])
def test_sigmoid_attention_less_log_n_does_not_grow_with_the_set(n) -> None:
    x = torch.full((n, 1, 4), 0.5)
    out = set_attention(x, x, x, kind="sigmoid")
    weight = 1 / (1 + n * math.exp(-0.5))  # of each key
    assert torch.allclose(out, torch.full_like(out, 0.5 * n * weight))
    assert float(out.max()) < 0.5 * math.exp(0.5)


def test_what_is_explained_is_what_is_taken_and_every_other_path_has_a_reason() -> None:
    x = rows([3, 5])
    choice = set_attention(x, x, x, cu_q=Layout.of([3, 5]), explain=True)
    assert set(choice.others) | {choice.path} == PATHS.keys()
    assert choice.path not in choice.others
    assert all(choice.others.values())
    assert "not triton: for GPUs only" in str(choice)
    with fused(False):
        off = set_attention(x, x, x, cu_q=Layout.of([3, 5]), explain=True)
    assert off.path == "sdpa"
    assert off.others["fused"] == "fused kernels are turned off"
    assert set_attention(x, x, x, path="plain", explain=True).why == "asked for"
    with pytest.raises(InvalidInput, match=r"path: got .sdpa.*log-sum-exp"):
        set_attention(x, x, x, path="sdpa", return_lse=True)
    with pytest.raises(InvalidInput, match="did you mean"):
        set_attention(x, x, x, path="fusd")


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # of torch's own forward derivatives
def test_transforms_of_torch_leave_fused_kernels_out() -> None:
    x = rows([3, 5])
    layout = Layout.of([3, 5])

    def f(x: Tensor) -> Tensor:
        return set_attention(x, x, x, cu_q=layout)

    stacked = torch.stack([x, 2 * x])
    assert torch.allclose(torch.vmap(f)(stacked), f(stacked), atol=1e-12)
    tangent = rows([3, 5], seed=1)
    _, moved = torch.func.jvp(f, (x,), (tangent,))
    assert torch.allclose(moved, (f(x + 1e-6 * tangent) - f(x - 1e-6 * tangent)) / 2e-6, atol=1e-7)
    grad = torch.func.grad(lambda x: f(x).square().sum())(x)
    leaf = x.clone().requires_grad_()
    assert torch.allclose(grad, torch.autograd.grad(f(leaf).square().sum(), leaf)[0], atol=1e-12)


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_anomaly_mode_finds_nothing_in_the_plain_twin() -> None:
    sizes, sizes_k = CROSS
    x = [y.requires_grad_() for y in (rows(sizes), rows(sizes_k, seed=1), rows(sizes_k, seed=2))]
    with torch.autograd.detect_anomaly(check_nan=True):
        out, lse = plain.attend(*x, Layout.of(sizes), Layout.of(sizes_k))
        (out.sum() + lse[lse.isfinite()].sum()).backward()
    assert all(bool(y.grad.isfinite().all()) for y in x)


class Foreign:
    """Kernels that know what those of a GPU know: sinks of heads or none, no scores for single rows."""

    def serves(self, q, k, v, kind, longest_q, longest_k, wants_lse):
        return None if kind == "softmax" else "softmax only"

    def attend(self, q, k, v, offsets_q, offsets_k, *, kind, scale, bias=None, key_bias=None, sink=None):
        assert sink is None or sink.shape == (2, 2)  # [leading, head]
        out, lse = plain.attend(q, k, v, Layout.at(offsets_q), Layout.at(offsets_k), scale=scale, key_bias=key_bias)
        if sink is None:
            return out, lse
        return merged((out, lse), (torch.zeros_like(out), sink[..., None, :].expand(lse.shape)))


@pytest.mark.parametrize("sinks", ["heads", "none"])
@pytest.mark.parametrize("rows_too", [False, True], ids=["of heads", "of rows"])
def test_kernels_that_know_less_of_sinks_are_completed(monkeypatch, sinks, rows_too) -> None:
    monkeypatch.setattr(compiled, "load", lambda name: Foreign())
    kernel = Kernel("foreign", "", "cpu", sinks, key_bias=False, bias_by_set=False)
    path = Path("foreign", "", kernel.serves, kernel.attend, kernel.takes_sink)
    x, layout = rows([2, 3], 2), Layout.of([2, 3])
    sink = drawn(2, 5, 2, seed=1) if rows_too else drawn(2, 1, 2, seed=1)
    call = Call(x, x, x, layout, layout, "softmax", 0.5, sink=sink)
    with fused(True):
        assert kernel.serves(call) is None
        assert kernel.takes_sink(call) == (sinks == "heads" and not rows_too)
        assert torch.allclose(
            answer(path, call)[0],
            set_attention(x, x, x, cu_q=layout, scale=0.5, sink=sink, path="plain"),
            atol=1e-12,
        )
        assert kernel.serves(replace(call, key_bias=drawn(5, 2))) == "it knows no biases of keys"
        assert kernel.serves(replace(call, kind="linear", normalised=False)) is not None
        assert kernel.serves(replace(call, kind="sigmoid")) == "softmax only"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@EVERY
@pytest.mark.parametrize("path", ["chosen", "sdpa", "plain", "triton"])
def test_a_gpu_gives_the_numbers_of_the_cpu(path, options) -> None:
    sizes, sizes_k = CROSS
    q, k, v = (x.float() for x in (rows(sizes, 2), rows(sizes_k, 2, seed=1), rows(sizes_k, 2, seed=2)))
    found = []
    for device, way in (("cpu", "plain"), ("cuda", None if path == "chosen" else path)):
        there = [x.to(device).requires_grad_() for x in (q, k, v)]
        sets = {"cu_q": Layout.of(sizes, device), "cu_k": Layout.of(sizes_k, device)}
        try:
            out = set_attention(*there, **sets, **options, path=way)
        except InvalidInput as error:
            pytest.skip(str(error))
        found.append([out, *torch.autograd.grad(out.square().sum(), there)])
    for here, other in zip(*found, strict=True):
        assert (here - other.cpu()).abs().max() < 2e-3  # products of a GPU may round to tf32
