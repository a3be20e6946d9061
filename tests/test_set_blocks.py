"""Blocks of set transformers against the equations of Lee et al. (2019), permutations, and weights in batches."""

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from gamesim.attention import Layout
from gamesim.attention.ball import BallBlock, BallTransformer, in_ball
from gamesim.attention.blocks import ISAB, MAB, PMA, SAB, FeedForward, Linear, Looped, Norm, SetAttention
from gamesim.attention.heads import RowHead, SetHead
from gamesim.errors import InvalidInput
from gamesim.kernels import fused

F64 = torch.float64
SIZES = [3, 0, 1, 7, 2]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=F64).to(dtype)


class Chain(nn.Module):
    """A network of blocks."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        for block in self.blocks:
            x = block(x, layout)
        return x


EQUIVARIANT = {
    "SAB": lambda: SAB(16, 4),
    "SAB sigmoid": lambda: SAB(16, 4, kind="sigmoid"),
    "SAB linear": lambda: SAB(16, 4, kind="linear"),
    "SAB topk": lambda: SAB(16, 4, kind="topk", top=5),
    "SAB sink": lambda: SAB(16, 4, sink="key"),
    "ISAB": lambda: ISAB(16, 4, 5, sink="logit"),
    "looped": lambda: Looped(SAB(16, 4), 3),
    "ball": lambda: BallBlock(16, 8),
    "rows": lambda: Chain(SAB(16, 4), RowHead(16, 5)),
}
INVARIANT = {
    "PMA": lambda: PMA(16, 4, 3),
    "mean": lambda: Chain(SAB(16, 4), SetHead(16, 5)),
    "PMA head": lambda: Chain(SAB(16, 4), SetHead(16, 5, "pma", heads=4, seeds=2)),
    "ball": lambda: BallTransformer(16, 8, 2),
}


def made(block: nn.Module, seed: int = 0, spread: float = 0.3) -> nn.Module:
    """All weights drawn, those that are made as zeros and ones too."""
    g = generator(seed)
    for module in block.modules():
        if hasattr(module, "spreads"):
            module.reset(g)
            break
    with torch.no_grad():
        for x in block.parameters():
            x.add_(spread * torch.randn(x.shape, generator=g).to(x))
    return block


@pytest.mark.parametrize("kind", EQUIVARIANT)
@pytest.mark.parametrize("size", [1, 2, 30, 1000])
def test_blocks_are_equivariant(kind, size) -> None:
    block = made(EQUIVARIANT[kind]())
    layout, g = Layout.of([size, 4]), generator(1)
    x = drawn(size + 4, 16, dtype=torch.float32)
    with torch.no_grad():
        out = block(x, layout)
        for _ in range({1000: 1, 30: 100}.get(size, 10)):
            order = torch.cat([torch.randperm(size, generator=g), size + torch.randperm(4, generator=g)])
            assert (block(x[order], layout) - out[order]).abs().max() <= 1e-5 * max(
                1.0, float(out.detach().abs().max())
            )


@pytest.mark.parametrize("kind", INVARIANT)
@pytest.mark.parametrize("size", [1, 2, 30, 1000])
def test_pools_are_invariant(kind, size) -> None:
    block = made(INVARIANT[kind]())
    layout, g = Layout.of([size, 4]), generator(1)
    x = drawn(size + 4, 16, dtype=torch.float32)
    with torch.no_grad():
        out = block(x, layout)
        for _ in range({1000: 1, 30: 100}.get(size, 10)):
            order = torch.cat([torch.randperm(size, generator=g), size + torch.randperm(4, generator=g)])
            assert (block(x[order], layout) - out).abs().max() <= 1e-5 * max(1.0, float(out.detach().abs().max()))


@pytest.mark.parametrize("kind", EQUIVARIANT | INVARIANT)
def test_sets_of_a_batch_are_as_they_are_alone(kind) -> None:
    block = made((EQUIVARIANT | INVARIANT)[kind]()).double()
    x, layout = drawn(sum(SIZES), 16), Layout.of(SIZES)
    out = block(x, layout)
    alone = [block(part, Layout.of([len(part)])) for part in x.split(SIZES)]
    assert torch.allclose(out, torch.cat(alone), atol=1e-12)
    assert bool(out.isfinite().all())


@pytest.mark.parametrize("kind", EQUIVARIANT | INVARIANT)
def test_stacked_weights_are_networks_one_by_one(kind) -> None:
    blocks = [made((EQUIVARIANT | INVARIANT)[kind](), seed).double() for seed in range(3)]
    layout, x = Layout.of(SIZES), drawn(3, sum(SIZES), 16)
    named = [dict(block.named_parameters()) for block in blocks]
    stacked = {name: torch.stack([one[name].detach() for one in named]) for name in named[0]}
    wanted = torch.stack([block(part, layout) for block, part in zip(blocks, x, strict=True)])
    assert torch.allclose(functional_call(blocks[0], stacked, (x, layout)), wanted, atol=1e-12)
    shared = torch.stack([block(x[0], layout) for block in blocks])
    assert torch.allclose(functional_call(blocks[0], stacked, (x[0], layout)), shared, atol=1e-12)
    front = {name: weight[:, None] for name, weight in stacked.items()}  # three networks, each on all three batches
    both = functional_call(blocks[0], front, (x, layout))
    assert torch.allclose(both[1], torch.stack([blocks[1](part, layout) for part in x]), atol=1e-12)


@pytest.mark.parametrize("kind", ["SAB", "SAB linear", "ISAB", "rows", "PMA head"])
def test_a_network_has_the_same_bits_alone_as_in_a_batch(kind) -> None:
    module, layout = EQUIVARIANT | INVARIANT, Layout.of(SIZES)
    blocks = [made(module[kind](), seed) for seed in range(3)]
    stacked = {
        name: torch.stack([dict(one.named_parameters())[name].detach() for one in blocks])
        for name, _ in blocks[0].named_parameters()
    }
    x = drawn(3, sum(SIZES), 16, dtype=torch.float32)
    found, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)  # how rows fall to threads is no part of the promise
    for part in (slice(0, 3), slice(1, 2)):
        weights = {name: weight[part].requires_grad_() for name, weight in stacked.items()}
        out = functional_call(blocks[0], weights, (x[part], layout))
        found.append([out, *torch.autograd.grad(out.square().sum(), list(weights.values()))])
    torch.set_num_threads(threads)
    for together, alone in zip(*found, strict=True):
        assert torch.equal(together[1], alone[0])


@pytest.mark.parametrize("kind", EQUIVARIANT | INVARIANT)
def test_blocks_and_their_gradients_are_the_same_without_fused_kernels(kind) -> None:
    block = made((EQUIVARIANT | INVARIANT)[kind]()).double()
    layout, x = Layout.of(SIZES), drawn(2, sum(SIZES), 16).requires_grad_()
    stacked = {
        name: torch.stack([w.detach(), 1.1 * w.detach()]).requires_grad_() for name, w in block.named_parameters()
    }
    found = []
    for on in (True, False):
        with fused(on):
            out = functional_call(block, stacked, (x, layout))
            up = drawn(*out.shape, seed=7)
            found.append([out, *torch.autograd.grad((out * up).sum(), [x, *stacked.values()])])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-11)


@pytest.mark.parametrize("kind", ["SAB", "SAB sink", "ISAB", "mean", "PMA head"])
def test_blocks_run_in_half_precision_and_on_no_sets(kind) -> None:
    block = made((EQUIVARIANT | INVARIANT)[kind]())
    layout, x = Layout.of(SIZES), drawn(sum(SIZES), 16, dtype=torch.float32)
    with torch.no_grad():
        out = block(x, layout)
        with torch.autocast("cpu", torch.bfloat16):
            assert (block(x, layout) - out).abs().max() < 0.2 * out.abs().max()
        assert block(x[:0], Layout.of([])).shape[0] == 0


@pytest.mark.parametrize("kind", ["SAB", "SAB sigmoid", "SAB sink", "ISAB", "ball"])
def test_gradients_of_blocks_are_those_of_finite_differences(kind) -> None:
    block = made(EQUIVARIANT[kind]()).double()
    x, layout = drawn(4, 16).requires_grad_(), Layout.of([1, 0, 3])
    assert torch.autograd.gradcheck(lambda x: block(x, layout), (x,))
    names = dict(block.named_parameters())
    out, up = block(x, layout), drawn(4, 16, seed=6)
    grads = torch.autograd.grad((out * up).sum(), names.values())
    step = {name: drawn(*weight.shape, seed=5) for name, weight in names.items()}
    with torch.no_grad():
        there, back = (
            functional_call(block, {name: weight + by * step[name] for name, weight in names.items()}, (x, layout))
            for by in (1e-6, -1e-6)
        )
    slope = ((there - back) * up).sum() / 2e-6
    along = sum((grad * step[name]).sum() for grad, name in zip(grads, names, strict=True))
    assert float(along) == pytest.approx(float(slope), rel=1e-5)


class Published:
    """MAB of the first public code, from its equations, with weights of ours: for sets of one size, x[b, n, d].

    Q = X W_q + b_q, K, V alike; O = norm(Q + concat_h softmax(Q_h K_h^T / sqrt(d)) V_h); norm(O + relu(O W_o + b_o)).
    """

    def __init__(self, block: MAB) -> None:
        self.block, self.d, self.heads = block, block.attention.width, block.attention.heads

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        at = self.block.attention.projection
        (w_q, w_k, w_v), (b_q, b_k, b_v) = at.weight.split(self.d, -1), at.bias.split(self.d, -1)
        q, k, v = x @ w_q + b_q, y @ w_k + b_k, y @ w_v + b_v
        parts = []
        for a, b, c in zip(*(z.split(self.d // self.heads, -1) for z in (q, k, v)), strict=True):
            parts.append(a + torch.softmax(a @ b.transpose(1, 2) / self.d**0.5, -1) @ c)
        out = self.norm(torch.cat(parts, -1), self.block.first_norm)
        first = self.block.feed_forward.first
        return self.norm(out + torch.relu(out @ first.weight + first.bias), self.block.second_norm)

    def norm(self, x: Tensor, norm: Norm) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.scale + norm.shift


def published(block: nn.Module) -> nn.Module:
    """With a feed-forward of one layer: the second is the identity."""
    block = made(block).double()
    for part in block.modules():
        if isinstance(part, FeedForward):
            part.second.weight.data.copy_(torch.eye(part.second.inputs))
            part.second.bias.data.zero_()
    return block


def test_blocks_are_those_of_the_first_public_code() -> None:
    d, m, b, n = 12, 5, 4, 7
    options = {"hidden": d, "scale": d**-0.5, "residual": "query"}
    x, layout = drawn(b, n, d), Layout.repeated(n, b)
    flat = x.flatten(0, 1)
    sab = published(SAB(d, 3, **options))
    assert torch.allclose(sab(flat, layout).unflatten(0, (b, n)), Published(sab)(x, x), atol=1e-12)
    isab = published(ISAB(d, 3, m, **options))
    points = isab.points.expand(b, m, d)
    wanted = Published(isab.scatter)(x, Published(isab.gather)(points, x))
    assert torch.allclose(isab(flat, layout).unflatten(0, (b, n)), wanted, atol=1e-12)
    pma = published(PMA(d, 3, 2, **options))
    wanted = Published(pma.gather)(pma.seeds.expand(b, 2, d), x)
    assert torch.allclose(pma(flat, layout).unflatten(0, (b, 2)), wanted, atol=1e-12)


def test_a_block_is_that_of_the_paper_and_of_torch() -> None:
    """MAB with the output projection and the input as residual is torch's own encoder layer."""
    d, heads, hidden = 12, 3, 20
    ours = made(SAB(d, heads, hidden)).double()
    theirs = nn.TransformerEncoderLayer(d, heads, hidden, dropout=0.0, batch_first=True, dtype=F64)
    copied = {
        "self_attn.in_proj_weight": ours.attention.projection.weight.mT,
        "self_attn.in_proj_bias": ours.attention.projection.bias,
        "self_attn.out_proj.weight": ours.attention.out.weight.mT,
        "self_attn.out_proj.bias": ours.attention.out.bias,
        "linear1.weight": ours.feed_forward.first.weight.mT,
        "linear1.bias": ours.feed_forward.first.bias,
        "linear2.weight": ours.feed_forward.second.weight.mT,
        "linear2.bias": ours.feed_forward.second.bias,
        "norm1.weight": ours.first_norm.scale,
        "norm1.bias": ours.first_norm.shift,
        "norm2.weight": ours.second_norm.scale,
        "norm2.bias": ours.second_norm.shift,
    }
    theirs.load_state_dict({name: x.detach() for name, x in copied.items()})
    x = drawn(2, 5, d)
    assert torch.allclose(ours(x.flatten(0, 1), Layout.repeated(5, 2)), theirs(x).flatten(0, 1), atol=1e-12)


def test_a_loop_is_its_block_unrolled_and_its_gradient_the_sum_over_turns() -> None:
    block = made(SAB(8, 2)).double()
    tied = Looped(block, 3)
    x, layout = drawn(5, 8), Layout.of([2, 3])
    copies = [made(SAB(8, 2)).double() for _ in range(3)]
    assert torch.equal(tied(x, layout), Chain(*copies)(x, layout))
    summed = torch.autograd.grad(tied(x, layout).square().sum(), list(block.parameters()))
    single = torch.autograd.grad(Chain(*copies)(x, layout).square().sum(), [y for c in copies for y in c.parameters()])
    for at, grad in enumerate(summed):
        assert torch.allclose(grad, sum(single[at :: len(summed)]), atol=1e-12)


def test_a_looped_block_can_be_newtons_method_for_an_inverse() -> None:
    """X <- X (2 I - A X) squares the residual I - A X in every turn."""

    class Newton(nn.Module):
        def forward(self, x: Tensor, a: Tensor) -> Tensor:
            return x @ (2 * torch.eye(len(a), dtype=a.dtype) - a @ x)

    root = drawn(6, 6)
    a = root @ root.T + torch.eye(6, dtype=F64)
    start = a.T / (torch.linalg.matrix_norm(a, 1) * torch.linalg.matrix_norm(a, torch.inf))
    residual = torch.eye(6, dtype=F64) - a @ start
    for loops in range(1, 8):
        found = torch.eye(6, dtype=F64) - a @ Looped(Newton(), loops)(start, a)
        assert torch.allclose(found, torch.linalg.matrix_power(residual, 2**loops), atol=1e-10)


def test_the_network_of_the_theory_is_its_equations() -> None:
    d, m = 5, 3
    net = made(BallTransformer(d, m, 2), spread=1.0).double()
    sizes = [4, 1]
    x = in_ball(drawn(5, d))
    net.requires_grad_(False)
    found = net(x, Layout.of(sizes))
    for part, value in zip(x.split(sizes), found, strict=True):
        g = part
        for block in net.blocks:
            z = torch.softmax(g @ block.scores @ g.T, -1) @ g @ block.values + g
            z = z / z.norm(dim=-1, keepdim=True).clamp(min=1)
            b = block.inner.reshape(d, d, m)  # b_kj = b[:, k, j]
            rows = [
                [sum(block.outer[k, j] * torch.relu(b[:, k, j] @ r) for j in range(m)) for k in range(d)] for r in z
            ]
            g = torch.stack([torch.stack(row) for row in rows])
            g = g / g.norm(dim=-1, keepdim=True).clamp(min=1)
        assert float(value) == pytest.approx(float((g @ net.weight).mean()), abs=1e-12)
    assert float(net.rows(x, Layout.of(sizes)).norm(dim=-1).max()) <= 1 + 1e-12


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_the_network_of_the_theory_moves_no_more_in_large_sets(kind) -> None:
    """||SM(G W G^T) G - SM(G W' G^T) G||_{2,inf} <= ||W - W'||_2 on rows of the unit ball, whatever N."""
    d = 6
    w, change = drawn(d, d), 1e-3 * drawn(d, d, seed=1)
    for n in (3, 30, 1000):
        x = in_ball(drawn(n, d, seed=n))
        block = BallBlock(d, 1, kind=kind).double().requires_grad_(False)
        block.values.data.copy_(torch.eye(d))
        block.inner.data.copy_(torch.eye(d))  # rFF(z) = relu(z): 1-Lipschitz
        block.outer.data.fill_(1.0)
        values = []
        for weight in (w, w + change):
            block.scores.data.copy_(weight)
            values.append(block(x, Layout.of([n])))
        bound = float(torch.linalg.matrix_norm(change, 2)) * (1.0 if kind == "softmax" else float(w.norm().exp()))
        assert float((values[0] - values[1]).norm(dim=-1).max()) <= bound


def test_a_module_draws_nothing_until_it_is_told_and_then_from_its_generator() -> None:
    state = torch.random.get_rng_state()
    block = ISAB(8, 2, 3)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert {float(x) for y in block.parameters() for x in y.detach().unique()} == {0.0, 1.0}
    assert block.reset(generator(1)) is block
    again = ISAB(8, 2, 3).reset(generator(1))
    assert all(torch.equal(x, y) for x, y in zip(block.parameters(), again.parameters(), strict=True))
    large = Linear(256, 512, gain=2.0).reset(generator())
    assert float(large.weight.detach().std()) == pytest.approx(2 / 16, rel=0.02)
    assert float(large.bias.detach().abs().max()) == 0


def test_blocks_train_as_torch_modules() -> None:
    """The largest of a set's numbers, from its rows."""
    layout = Layout.of([2, 3, 5] * 20)
    x = drawn(layout.rows, 1, dtype=torch.float32)
    wanted = torch.stack([part.max() for part in x.split(layout.sizes.tolist())])[:, None]
    net = Chain(Wide(1, 16), SAB(16, 2), SetHead(16, 1, "pma", heads=2))
    for block in net.blocks:
        block.reset(generator())
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(150):
        loss = (net(x, layout) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * float(wanted.var())


class Wide(Linear):
    def forward(self, x: Tensor, layout: Layout) -> Tensor:  # type: ignore[override]
        return super().forward(x)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SAB(10, 4), r"width: got 10, expected a multiple of heads, 4"),
        (lambda: SAB(8, 0), r"heads: got 0, expected a whole number above 0"),
        (lambda: SAB(8, 2, kind="soft"), r"kind: got 'soft'.*softmax"),
        (lambda: SAB(8, 2, kind="topk"), r"top: got None"),
        (lambda: SAB(8, 2, kind="sigmoid", sink="key"), r"sink: got 'key', expected none"),
        (lambda: SAB(8, 2, kind="linear", scale=1.0), r"scale: got 1.0, expected nothing"),
        (lambda: ISAB(8, 2, 0), r"points: got 0"),
        (lambda: PMA(8, 2, -1), r"seeds: got -1"),
        (lambda: SetHead(8, 2, "sum"), r"pool: got 'sum', expected one of mean, pma"),
        (lambda: Looped(SAB(8, 2), 0), r"loops: got 0"),
        (lambda: Linear(0, 2), r"inputs: got 0"),
        (lambda: SAB(8, 2)(torch.ones(4, 8), Layout.of([3])), r"cu_q\[-1\]: got 3, expected 4, the rows of q"),
        (lambda: SAB(8, 2)(torch.ones(4, 7), Layout.of([4])), r"x.shape: got \[4, 7\], expected \[..., row, 8\]"),
        (lambda: SetAttention(8, 2, residual="both"), r"residual: got 'both'"),
    ],
    ids=[
        "width",
        "heads",
        "kind",
        "top",
        "sink",
        "scale",
        "points",
        "seeds",
        "pool",
        "loops",
        "inputs",
        "layout",
        "x",
        "residual",
    ],
)
def test_blocks_refuse_by_name(make, said) -> None:
    with pytest.raises(InvalidInput, match=said):
        make()
