"""The suite `attention`: attention within sets against every option that torch has, side by side in one process.

A block is what nn.MultiheadAttention computes, width 64 and 4 heads: queries, keys and values in one product, attention
within sets, product of the heads. Each option has the same weights and numbers; those that know no sets of different
sizes have them padded to the longest, with a mask, and padding is not charged to them. Memory is as warm for one as
for the other, since they take turns. Seconds of one thread.

    MHA      nn.MultiheadAttention, with and without the weights that it returns unless told not to
    SDPA     scaled_dot_product_attention between two products
    naive    softmax(q k^T / sqrt(d)) v as it is written, eager and compiled: inductor takes `scores * scale` for SDPA
             and puts it in, which is slower for small sets, and does not know `scores / sqrt(d)` for what it is
    lanes    the same with sets innermost in memory, compiled: for sets of a few
    varlen   packed sets; torch has it on the GPU only
    nested   jagged tensors, which torch takes apart on the CPU or refuses
"""

import math
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from gamesim.attention import Layout
from gamesim.attention.attend import set_attention
from gamesim.attention.blocks import ISAB, SetAttention
from gamesim.benchmarks.timing import Row, interleaved, row
from gamesim.errors import InvalidInput

WIDTH, HEADS = 64, 4
EACH = WIDTH // HEADS
DENSE = {3: 4096, 6: 2048, 15: 1024, 30: 512, 100: 128, 300: 32, 1000: 8}
"""Rows of a set, and how many sets."""
RAGGED = {(3, 30): 1024, (3, 100): 256}
COMPILED_TO = 30
"""Rows of a set up to which stock code is compiled too: each takes seconds to compile, and SDPA wins beyond."""
BARS = {3: 1.8, 6: 1.8, 15: 1.4, 30: 1.4, 300: 0.95, 1000: 0.95}
RAGGED_BAR = 2.0
GPU_BARS = {3: 3.0, 6: 3.0, 15: 3.0, 30: 3.0}

Call = Callable[[], object]
Attention = Callable[[Tensor], Tensor]


def suite() -> Iterator[Row]:
    """Rows as they are measured; ours and peer are seconds of a call."""
    with _one_thread():
        for size, count in DENSE.items():
            yield from Case(f"dense-{size}", [size] * count).rows(BARS.get(size), size <= COMPILED_TO)
        for (least, most), count in RAGGED.items():
            drawn = torch.randint(least, most + 1, (count,), generator=torch.Generator().manual_seed(0))
            yield from Case(f"ragged-{least}-{most}", drawn.tolist()).rows(RAGGED_BAR, True)
        yield from packed()
        for size in (300, 1000):
            yield from other_mathematics(size, DENSE[size])
        if torch.cuda.is_available():
            yield from gpu()
        else:
            yield row("gpu", math.nan, None, None, "no CUDA device here: no rows for the GPU")


class Case:
    """Sets of these sizes, a block with its weights, and all that can compute it."""

    def __init__(
        self, name: str, sizes: Sequence[int], device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        self.name, self.layout = name, Layout.of(sizes, device)
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(self.layout.rows, WIDTH, generator=generator).to(device, dtype)
        self.padded = self.layout.pad(self.x)
        places = torch.arange(self.layout.longest, device=device)
        self.hidden = None if self.layout.even else places >= self.layout.sizes[:, None]  # True in padding
        self.block = SetAttention(WIDTH, HEADS).reset(generator).to(device, dtype)
        assert self.block.out is not None
        self.inward, self.outward = self.block.projection, self.block.out
        self.mha = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).to(device, dtype)
        with torch.no_grad():
            self.mha.in_proj_weight.copy_(self.inward.weight.mT)
            self.mha.out_proj.weight.copy_(self.outward.weight.mT)

    def rows(self, bar: float | None, compiled: bool) -> Iterator[Row]:
        """Forward, forward and backward, and the core between the products."""
        yield self._forward(bar, compiled)
        yield self._training()
        yield self._core()

    def _forward(self, bar: float | None, compiled: bool) -> Row:
        options = self._options()
        missing = ""
        if compiled:
            more, missing = self._compiled()
            options |= more
        with torch.no_grad():
            wanted = self.ours()
            calls: dict[str, Call] = {"ours": self.ours, "products alone": self._products}
            for name, option in options.items():
                found = option(self.padded)
                far = ((self.layout.unpad(found) if found.dim() == 3 else found) - wanted).abs().max()
                if not far < 1e-4:
                    raise AssertionError(f"{name} computes something else: {float(far):.1e}")
                calls[name] = partial(option, self.padded)
            taken = interleaved(calls, 9)
        return self._held("forward", taken, bar, missing)

    def _training(self) -> Row:
        """Gradients of the input and of all weights."""
        inputs = self.x.clone().requires_grad_(), self.padded.clone().requires_grad_()
        above = torch.randn(self.x.shape, generator=torch.Generator().manual_seed(2))
        above_padded = self.layout.pad(above)
        ours = [inputs[0], *self.block.parameters()]
        calls: dict[str, Call] = {"ours": lambda: torch.autograd.grad(self.block(inputs[0], self.layout), ours, above)}
        for name, option in self._options().items():
            weights = self.mha.parameters() if name.startswith("MHA") else self.block.parameters()
            wanted = [inputs[1], *weights]
            calls[name] = partial(self._backward, option, inputs[1], wanted, above_padded)
        return self._held("forward-backward", interleaved(calls, 7), None, "")

    @staticmethod
    def _backward(option: Attention, x: Tensor, wanted: list[Tensor], above: Tensor) -> object:
        return torch.autograd.grad(option(x), wanted, above)

    def _core(self) -> Row:
        """Between the products: from what the first gives to what the second takes."""
        with torch.no_grad():
            given, padded = self.inward(self.x), self.inward(self.padded)
            q, k, v = given.unflatten(-1, (3, HEADS, EACH)).unbind(-3)
            calls: dict[str, Call] = {
                "ours": lambda: set_attention(q, k, v, cu_q=self.layout).flatten(-2),
                "SDPA": lambda: self._between(padded),
            }
            taken = interleaved(calls, 9)
        return row(f"{self.name}/core", taken["ours"], taken["SDPA"], None, "attention alone, against SDPA alone")

    def _held(self, part: str, taken: dict[str, float], bar: float | None, missing: str) -> Row:
        ours = taken.pop("ours")
        alone = taken.pop("products alone", None)
        best = min(taken, key=lambda name: taken[name])
        if part == "forward" and self.layout.even and self.layout.longest <= COMPILED_TO:
            peer = min(taken["MHA"], taken["SDPA"])
            note = f"best of MHA and SDPA; {taken[best] / ours:.2f} times as fast as the best of all, {best}"
        else:
            peer, note = taken[best], f"best of all, {best}"
        note += "; " + ", ".join(f"{name} {1e3 * each:.1f}" for name, each in taken.items()) + " ms"
        if alone is not None:
            note += f"; the products alone {1e3 * alone:.1f} ms"
        if part == "forward":
            note += f"; path {set_attention(*self._example(), cu_q=self.layout, explain=True).path}"
        return row(f"{self.name}/{part}", ours, peer, bar, note + missing)

    def _example(self) -> tuple[Tensor, Tensor, Tensor]:
        x = self.x.unflatten(-1, (HEADS, EACH))
        return x, x, x

    def ours(self) -> Tensor:
        found: Tensor = self.block(self.x, self.layout)
        return found

    def _products(self) -> object:
        return self.outward(self.inward(self.x)[..., :WIDTH])

    # --- what there is --------------------------------------------------------------------------------------------

    def _options(self) -> dict[str, Attention]:
        options: dict[str, Attention] = {
            "MHA with weights": partial(self._multihead, weights=True),
            "MHA": partial(self._multihead, weights=False),
            "SDPA": self._sdpa,
            "naive": self._naive_times,
        }
        return options

    def _multihead(self, x: Tensor, weights: bool) -> Tensor:
        found: Tensor = self.mha(x, x, x, key_padding_mask=self.hidden, need_weights=weights)[0]
        return found

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k and v [b, head, row, d] of x[b, row, d]."""
        q, k, v = x.unflatten(-1, (3, HEADS, EACH)).permute(2, 0, 3, 1, 4).unbind()
        return q, k, v

    def _between(self, x: Tensor) -> Tensor:
        q, k, v = self._heads(x)
        seen = None if self.hidden is None else ~self.hidden[:, None, None]
        return scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).flatten(-2)

    def _sdpa(self, x: Tensor) -> Tensor:
        found: Tensor = self.outward(self._between(self.inward(x)))
        return found

    def _naive(self, x: Tensor, over: bool) -> Tensor:
        q, k, v = self._heads(self.inward(x))
        scores = q @ k.mT / math.sqrt(EACH) if over else q @ k.mT * EACH**-0.5
        if self.hidden is not None:
            scores = scores.masked_fill(self.hidden[:, None, None], -math.inf)
        found: Tensor = self.outward((scores.softmax(-1) @ v).transpose(1, 2).flatten(-2))
        return found

    def _naive_times(self, x: Tensor) -> Tensor:
        return self._naive(x, False)

    def _naive_over(self, x: Tensor) -> Tensor:
        return self._naive(x, True)

    def _lanes(self, x: Tensor) -> Tensor:
        """Sets innermost: q[row, head, d, b]."""
        q, k, v = self.inward(x).unflatten(-1, (3, HEADS, EACH)).permute(2, 1, 3, 4, 0).contiguous().unbind()
        scores = (q[:, None] * k).sum(-2) / math.sqrt(EACH)
        out = (scores.softmax(1).unsqueeze(-2) * v).sum(1)
        found: Tensor = self.outward(out.permute(3, 0, 1, 2).flatten(-2))
        return found

    def _compiled(self) -> tuple[dict[str, Attention], str]:
        """Options that inductor compiles, and why there are none where it cannot."""
        if shutil.which("g++") is None and shutil.which("clang++") is None:
            return {}, "; nothing compiled: torch.compile finds no C++ compiler here"
        torch._dynamo.reset()
        written = {"compiled, * scale": self._naive_times, "compiled, / sqrt(d)": self._naive_over}
        if self.layout.even is not None and self.layout.longest <= 6:
            written["compiled lanes"] = self._lanes
        return {name: torch.compile(option, dynamic=False) for name, option in written.items()}, ""


def packed() -> Iterator[Row]:
    """What torch has for packed sets: what it says on the CPU, or how long it takes for ragged-3-30, the core alone."""
    drawn = torch.randint(3, 31, (RAGGED[3, 30],), generator=torch.Generator().manual_seed(0))
    case = Case("ragged-3-30", drawn.tolist())
    offsets = case.layout.offsets
    with torch.no_grad():
        q, k, v = case.inward(case.x).unflatten(-1, (3, HEADS, EACH)).unbind(-3)
    whole = [x.contiguous() for x in (q, k, v)]  # jagged tensors want that

    def varlen() -> Tensor:
        from torch.nn.attention.varlen import varlen_attn  # since torch 2.10

        short = offsets.int()
        return cast(Tensor, varlen_attn(q, k, v, short, short, case.layout.longest, case.layout.longest))

    def nested() -> Tensor:
        x, y, z = (torch.nested.nested_tensor_from_jagged(each, offsets).transpose(1, 2) for each in whole)
        return scaled_dot_product_attention(x, y, z).transpose(1, 2).values()

    def ours() -> Tensor:
        return set_attention(q, k, v, cu_q=case.layout)

    for name, call in (("varlen", varlen), ("nested", nested)):
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nested tensors are a prototype
            try:
                if not (call() - ours()).abs().max() < 1e-4:
                    raise AssertionError(f"{name} computes something else")
                taken = interleaved({"ours": ours, name: call}, 3)
            except (NotImplementedError, RuntimeError, ImportError) as problem:
                said = f"{type(problem).__name__}: {' '.join(str(problem).split())[:100]}"
                yield row(f"ragged-3-30/{name}", math.nan, None, None, said)
            else:
                yield row(f"ragged-3-30/{name}", taken["ours"], taken[name], None, "the core alone, sets packed")


def other_mathematics(size: int, count: int) -> Iterator[Row]:
    """Attention that costs as much for each row however large the set: not the same function as softmax attention."""
    case = Case(f"dense-{size}", [size] * count)
    generator = torch.Generator().manual_seed(3)
    kernel = SetAttention(WIDTH, HEADS, kind="linear").reset(generator)
    points = ISAB(WIDTH, HEADS, 16).reset(generator)
    inner = Layout.repeated(16, count)

    def induced() -> Tensor:
        """The two attentions of an ISAB, without what each row does by itself: as much as the others do."""
        h = points.gather.attention(points.points, inner, case.x, case.layout, copies=count)
        found: Tensor = points.scatter.attention(case.x, case.layout, h, inner)
        return found

    with torch.no_grad():
        calls: dict[str, Call] = {
            "linear": lambda: kernel(case.x, case.layout),
            "isab": induced,
            "SDPA": lambda: case._sdpa(case.padded),
            "ours": case.ours,
        }
        taken = interleaved(calls, 9)
    for name in ("linear", "isab"):
        note = f"against softmax by SDPA; {taken['ours'] / taken[name]:.1f} times as fast as our softmax"
        yield row(f"dense-{size}/{name}", taken[name], taken["SDPA"], 1.0, note)


def gpu() -> Iterator[Row]:
    """The same on the GPU in bfloat16: packed sets by our kernel, padded by SDPA, packed by varlen; by the clock."""
    free = torch.cuda.get_device_properties(0).name
    sizes = {f"dense-{size}": [size] * (16 * DENSE[size]) for size in GPU_BARS}
    drawn = torch.randint(3, 31, (16 * 1024,), generator=torch.Generator().manual_seed(0))
    for name, each in {**sizes, "ragged-3-30": drawn.tolist()}.items():
        case = Case(f"gpu/{name}", each, "cuda", torch.bfloat16)
        with torch.no_grad():
            padded = case.inward(case.padded)
            q, k, v = case.inward(case.x).unflatten(-1, (3, HEADS, EACH)).unbind(-3)
            calls: dict[str, Call] = {
                "ours": partial(set_attention, q, k, v, cu_q=case.layout),
                "SDPA": partial(case._between, padded),
                "varlen": partial(set_attention, q, k, v, cu_q=case.layout, path="varlen"),
            }
            taken, missing = dict[str, float](), ""
            for option, call in calls.items():
                try:
                    taken[option] = _by_the_clock(call)
                except (NotImplementedError, RuntimeError, ImportError, InvalidInput) as problem:
                    if option == "ours":
                        raise
                    taken[option], missing = math.inf, f"; {option}: {' '.join(str(problem).split())[:100]}"
        ours, peers = taken["ours"], {option: taken[option] for option in ("SDPA", "varlen")}
        ragged = name.startswith("ragged")
        peer = peers["varlen"] if ragged else min(peers.values())
        moved = 4 * case.x.numel() * case.x.element_size()  # q, k, v and out, once each
        copied = torch.empty(2 * moved, dtype=torch.uint8, device="cuda")
        fastest = 2 * moved / _by_the_clock(partial(copied[:moved].copy_, copied[moved:]))
        note = f"{free}; {moved / ours / fastest:.0%} of the speed of a copy; " + ", ".join(
            f"{option} {1e6 * each:.0f}" for option, each in peers.items()
        )
        bar = RAGGED_BAR if ragged else GPU_BARS[case.layout.longest]
        yield row(f"{case.name}/core", ours, peer, bar, f"{note} us{missing}")


def _by_the_clock(call: Call, times: int = 50) -> float:
    """Seconds of a call on the GPU: many in a row, the best of five."""
    best = math.inf
    for _ in range(5):
        call()
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(times):
            call()
        torch.cuda.synchronize()
        best = min(best, (time.perf_counter() - started) / times)
    return best


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
