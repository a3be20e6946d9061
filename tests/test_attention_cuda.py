"""Attention within sets on a GPU: how sets fall into tiles, what is refused; and numbers, where there is a device.

Without one, triton interprets the kernels on a CPU where it is installed.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gamesim.attention import Layout, plain
from gamesim.errors import InvalidInput
from gamesim.kernels import attention_cuda
from gamesim.kernels.attention_cuda import Plan, largest, plan, tiling, triton_attend, triton_serves, varlen_serves

ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
SIZES = ([3, 6, 0, 1, 7, 5, 2, 8], [6] * 11, [30, 12, 3, 17, 29], [100, 12, 3], [1] * 5, [130, 64, 65], [0, 0])


def offsets(sizes: list[int]) -> Tensor:
    return Layout.of(sizes).offsets


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.sampled_from([32, 64, 128]))
def test_every_row_is_in_one_tile_with_all_keys_of_its_set(sizes: list[int], most: int) -> None:
    o = offsets(sizes)
    rows = int(o[-1])
    check_tiles(plan(o, o, rows, rows, most), sizes, sizes, most)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=40))
def test_tiles_of_queries_and_keys_of_other_sizes(sizes: list[tuple[int, int]]) -> None:
    queries, keys = (list(x) for x in zip(*sizes, strict=True))
    both = plan(offsets(queries), offsets(keys), sum(queries), sum(keys))
    check_tiles(both, queries, keys, 128)


def check_tiles(both: Plan, queries: list[int], keys: list[int], most: int) -> None:
    assert both.block <= most
    for tiles, owners, others in (
        (both.tiles_q, both.owners_q, both.owners_k),
        (both.tiles_k, both.owners_k, both.owners_q),
    ):
        covered = [row for first, last, _, _ in tiles.tolist() for row in range(first, last)]
        assert covered == list(range(len(owners)))
        for first, last, begin, end in tiles.tolist():
            assert last - first <= both.block
            assert not both.packed or end - begin <= both.block
            mine, met = set(owners[first:last].tolist()), others[begin:end].tolist()
            assert all(met.count(s) == int((others == s).sum()) for s in mine)
    assert both.owners_q.tolist() == [b for b, n in enumerate(queries) for _ in range(n)]
    sizes = torch.tensor(keys)[both.owners_q.long()].clamp(min=1)
    torch.testing.assert_close(both.shift, -sizes.float().log())


def test_small_sets_fill_their_tiles() -> None:
    for n in (3, 6, 15, 16, 30, 32, 64, 128):
        assert tiling(n) // n * n > tiling(n) / 2
        even = plan(*[offsets([n] * 256)] * 2, 256 * n, 256 * n)
        assert len(even.tiles_q) == -(-256 // (even.block // n))
    ragged = offsets([3 + 7 * i % 28 for i in range(1000)])
    rows = int(ragged[-1])
    both = plan(ragged, ragged, rows, rows)
    assert both.packed
    assert rows > 0.7 * both.block * len(both.tiles_q)
    assert tiling(129) == tiling(40, most=32) == 0
    assert largest(torch.bfloat16, 16) == 128
    assert largest(torch.float32, 64) == 32


def test_plans_are_kept_with_their_offsets_until_these_change() -> None:
    o = offsets([3, 3, 2])
    first = plan(o, o, 8, 8)
    assert plan(o, o, 8, 8) is first
    assert plan(o, o, 8, 8, 64) is not first
    assert plan(o, o.clone(), 8, 8) is not first
    first = plan(o, o, 8, 8)
    o[1] = 2
    changed = plan(o, o, 8, 8)
    assert changed is not first
    assert changed.owners_q.tolist() == [0, 0, 1, 1, 1, 1, 2, 2]


def test_offsets_that_do_not_fit_are_refused() -> None:
    o = offsets([3, 3])
    for bad in (o.int(), torch.tensor([0, 4, 3, 6]), torch.tensor([0, 5])):
        with pytest.raises(InvalidInput, match="offsets_q"):
            plan(bad, o, 6, 6)
    with pytest.raises(InvalidInput, match="as many as of queries"):
        plan(o, offsets([2, 2, 2]), 6, 6)


def test_reasons_name_what_is_missing() -> None:
    x = torch.zeros(5, 2, 16)
    for kind, word in (("topk", "topk"), ("softmax", "CUDA")):
        for serves in (varlen_serves, triton_serves):
            assert word in str(serves(x, x, x, kind, 5, 5, False))
    takes = attention_cuda.triton_takes
    assert takes(x, x, x, "softmax", True) is None
    assert "float64" not in str(takes(x.double(), x.double(), x.double(), "softmax", False)).split("takes")[0]
    assert "float32" in str(takes(x.double(), x.double(), x.double(), "softmax", False))
    assert "log-sum-exp" in str(takes(x, x, x, "sigmoid", True))
    wide = torch.zeros(5, 2, 100)
    assert "64 numbers" in str(takes(wide, wide, wide, "softmax", False))
    assert takes(*[wide.half()] * 3, "softmax", False) is None


def test_the_lse_of_torch_is_turned_to_rows_of_heads() -> None:
    out, lse = torch.zeros(7, 2, 8), torch.arange(14.0).reshape(2, 7)
    assert torch.equal(attention_cuda.by_row(lse, out), lse.mT)
    assert torch.equal(attention_cuda.by_row(lse.mT, out), lse.mT)


# --- numbers ----------------------------------------------------------------------------------------------------------


def compare(
    sizes: list[int], keys: list[int] | None, kind: Any, dtype: torch.dtype, device: str, near: float, *,
    front: tuple[int, ...] = (), d: int = 16, width: int = 16, extras: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Values and gradients of the kernel against the plain twin in float64 on the CPU."""
    generator = torch.Generator().manual_seed(0)
    queries = Layout.of(sizes)
    met = queries if keys is None else Layout.of(keys)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*front, *shape, generator=generator, dtype=torch.float64).to(dtype)

    shapes = {"q": (queries.rows, 2, d), "k": (met.rows, 2, d), "v": (met.rows, 2, width)}
    shapes |= {name: {"key_bias": (met.rows, 2), "sink": (2,), "bias": (2,)}[name] for name in extras}
    given = {name: drawn(*shape) for name, shape in shapes.items()}
    weights, slopes = drawn(queries.rows, 2, width).double(), drawn(queries.rows, 2).double()
    answers = []
    for fast in (False, True):
        x = {n: t.to(device) if fast else t.double() for n, t in given.items()}
        x = {n: t.clone().requires_grad_() for n, t in x.items()}
        options = {n: t for n, t in x.items() if n not in "qkv"}
        if fast:
            sides = queries.offsets.to(device), met.offsets.to(device)
            sides = (sides[0], sides[0]) if keys is None else sides
            out, lse = triton_attend(x["q"], x["k"], x["v"], *sides, kind=kind, scale=0.3, **options)
        else:
            sink = options.pop("sink", None)
            found = plain.attend(x["q"], x["k"], x["v"], queries, met, kind=kind, scale=0.3, **options)
            out, lse = found[0], torch.zeros_like(found[0][..., 0]) if found[1] is None else found[1]
            if sink is not None:
                slot = torch.zeros_like(out), sink[..., None, :].expand(lse.shape)
                out, lse = plain.merged((out, lse), slot)
        loss = (out.double() * weights.to(out.device)).sum()
        if kind == "softmax":
            seen = lse.isfinite()
            loss = loss + (lse.double().masked_fill(~seen, 0.0) * slopes.to(out.device)).sum()
        answers.append([out, lse, *torch.autograd.grad(loss, list(x.values()))])
    for exact, found in zip(*answers, strict=True):
        torch.testing.assert_close(found.detach().cpu().double(), exact.detach(), rtol=near, atol=near)


CASES: list[tuple[list[int], list[int] | None, str, dict[str, Any]]] = [
    *((sizes, None, kind, {}) for sizes in SIZES for kind in ("softmax", "sigmoid")),
    ([6, 3, 30], None, "softmax", {"extras": ("key_bias", "sink"), "front": (2,)}),
    ([6, 3, 30], None, "sigmoid", {"extras": ("key_bias", "bias"), "d": 20, "width": 12}),
    ([3, 0, 5, 20, 1], [4, 6, 0, 40, 2], "softmax", {"extras": ("key_bias", "sink")}),
    ([3, 0, 5, 20, 1], [4, 6, 0, 40, 2], "softmax", {}),
    (
        [3, 0, 5, 20, 1],
        [4, 6, 0, 40, 2],
        "sigmoid",
        {"extras": ("key_bias", "bias"), "front": (2,), "d": 1, "width": 1},
    ),
    ([100, 12, 3], None, "softmax", {"extras": ("key_bias", "sink")}),
    ([3, 0, 70, 20, 1], [4, 6, 0, 140, 2], "softmax", {"extras": ("key_bias", "sink"), "front": (2,)}),
    ([3, 0, 70, 20, 1], [4, 6, 0, 140, 2], "sigmoid", {"extras": ("key_bias", "bias")}),
]


def every_case(dtype: torch.dtype, device: str, near: float) -> None:
    for sizes, keys, kind, options in CASES:
        compare(sizes, keys, kind, dtype, device, near, **options)


@pytest.mark.gpu
@ON_GPU
@pytest.mark.parametrize(
    ("dtype", "near"), [(torch.float32, 2e-5), (torch.float16, 1e-2), (torch.bfloat16, 6e-2)], ids=["32", "16", "b16"]
)
def test_the_packed_kernel_gives_the_numbers_of_the_plain_twin(dtype: torch.dtype, near: float) -> None:
    every_case(dtype, "cuda", near)


@pytest.mark.gpu
@ON_GPU
@pytest.mark.parametrize("front", [(), (2,)], ids=["alone", "seeds"])
def test_varlen_gives_the_numbers_of_the_plain_twin(front: tuple[int, ...]) -> None:
    layout = Layout.of([3, 6, 1, 30])
    x = [torch.randn(*front, 40, 2, 16, generator=torch.Generator().manual_seed(s)).half() for s in range(3)]
    exact, total = plain.attend(*(t.double() for t in x), layout, layout, scale=0.25)
    there = [t.cuda().requires_grad_() for t in x]
    o = layout.offsets.cuda()
    assert varlen_serves(*there, "softmax", 30, 30, False) is None
    assert "gradient" in str(varlen_serves(*there, "softmax", 30, 30, True))
    out, lse = attention_cuda.varlen_attend(*there, o, o, scale=0.25)
    assert total is not None
    torch.testing.assert_close(out.cpu().double(), exact, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(lse.detach().cpu().double(), total, rtol=1e-2, atol=1e-2)
    assert all(g.isfinite().all() for g in torch.autograd.grad(out.float().sum(), there))


def test_the_packed_kernel_as_triton_interprets_it() -> None:
    """Not in bfloat16, whose products triton's interpreter gets wrong."""
    pytest.importorskip("triton", reason="triton is not installed: pip install triton")
    code = "import torch, test_attention_cuda as t; t.every_case(torch.float32, 'cpu', 2e-5)"
    code += "; t.compare([6, 3, 30], None, 'softmax', torch.float16, 'cpu', 1e-2, extras=('key_bias', 'sink'))"
    here = Path(__file__).resolve().parent
    path = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
