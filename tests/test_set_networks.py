"""Networks on sets: what is invariant is, what is not is not, and batches of sets and of weights are what they say."""

import dataclasses
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from gamesim.attention import Layout
from gamesim.errors import InvalidInput
from gamesim.networks import GCN, MLP, DeepSets, Network, SetTransformer
from gamesim.networks.adam import Weights
from gamesim.networks.gcn import maximum, mean_of_others
from gamesim.networks.stateless import Stateless
from gamesim.parameters import convert
from gamesim.randomness import Stream

INPUTS, OUTPUTS = 5, 3
INVARIANT = (
    "set-transformer(width=16, heads=2)",
    "set-transformer(width=16, heads=2, attention=sigmoid)",
    "set-transformer(width=16, heads=2, attention=linear)",
    "set-transformer(width=16, heads=2, points=3)",
    "set-transformer(width=16, heads=2, blocks=1, pool=pma)",
    "set-transformer(width=16, heads=2, points=3, attention=sigmoid, pool=pma)",
    "set-transformer(width=16, heads=2, blocks=1, loops=3)",
    "deep-sets(width=16)",
    "deep-sets(width=16, layers=1)",
    "gcn(width=16)",
    "gcn(width=16, layers=3, pool=max)",
)
ALL = (*INVARIANT, "mlp(width=16)", "mlp(width=16, layers=1)")


def network(text: str) -> Network:
    found: Network = convert(text, Network, "network")
    return found


def made(
    text: str, *, pooled: bool, most: int = 8, front: tuple[int, ...] = (), dtype: torch.dtype = torch.float64
) -> tuple[Stateless, Weights]:
    f = Stateless(network(text).module(INPUTS, OUTPUTS, pooled=pooled, most=most))
    return f, f.draw(front, Stream(1), dtype)


def rows(layout: Layout, front: tuple[int, ...] = (), dtype: torch.dtype = torch.float64) -> Tensor:
    return Stream(2).normal((*front, layout.rows, INPUTS), dtype)


def everyone(layout: Layout) -> Tensor:
    return torch.arange(layout.rows)


def shuffled(layout: Layout, k: int) -> Tensor:
    """Rows in another order, each within its set."""
    u = Stream(3, k).uniform((layout.rows,))
    return (layout.owners + u).argsort()


# --- as choices -------------------------------------------------------------------------------------------------------


def test_kinds_are_typed_and_printed_as_calls() -> None:
    assert sorted(Network.kinds) == ["deep-sets", "gcn", "mlp", "set-transformer"]
    assert network("set-transformer(48, 2, points=8)") == SetTransformer(width=48, heads=2, points=8)
    assert [str(kind()) for kind in (SetTransformer, DeepSets, GCN, MLP)] == [
        "set-transformer",
        "deep-sets",
        "gcn",
        "mlp",
    ]
    for text in ALL:
        assert network(str(network(text))) == network(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("set-transformer(width=10, heads=4)", "network.width: got 10, expected a multiple of heads, 4"),
        ("set-transformer(width=0)", "network.width: got 0"),
        ("set-transformer(points=-1)", "network.points: got -1"),
        ("set-transformer(pool=sum)", "expected one of mean, pma"),
        ("gcn(pool=sum)", "expected one of max, mean"),
        ("gcn(heads=4)", "unknown parameter of gcn"),
        ("deep-sets(layers=0)", "network.layers: got 0"),
        ("transformer", "did you mean set-transformer"),
    ],
)
def test_what_no_network_is_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        network(text)
    if words.startswith("unknown"):
        assert "heads" in str(refusal.value)
    else:
        assert words in str(refusal.value)


@pytest.mark.parametrize("text", ALL)
@pytest.mark.parametrize("pooled", [True, False])
def test_numbers_of_a_network(text: str, pooled: bool) -> None:
    f, weights = made(text, pooled=pooled, most=8, front=(2,))
    kind, w = network(text), 16
    linear = lambda into, out: (into + 1) * out  # noqa: E731
    match kind:
        case DeepSets():
            behind = [w if pooled else 2 * w, *[w] * (kind.layers - 1)]
            sizes = [INPUTS, *[w] * kind.layers]
            expected = sum(linear(a, b) for a, b in pairwise(sizes))
            expected += sum(linear(a, b) for a, b in zip(behind, [*behind[1:], OUTPUTS], strict=True))
        case GCN():
            expected = 2 * linear(INPUTS, w) + 2 * (kind.layers - 1) * linear(w, w)
            expected += linear(w if pooled else 2 * w, OUTPUTS)
        case MLP():
            expected = linear(8 * INPUTS, w) + (kind.layers - 1) * linear(w, w)
            expected += linear(w, OUTPUTS if pooled else 8 * OUTPUTS)
        case SetTransformer():  # what a block has is said by its own tests: loops add none, and blocks as many each
            more = dataclasses.replace(kind, loops=kind.loops + 4)
            assert Stateless(more.module(INPUTS, OUTPUTS, pooled=pooled, most=8)).size == f.size
            sizes = [
                Stateless(dataclasses.replace(kind, blocks=n).module(INPUTS, OUTPUTS, pooled=pooled, most=8)).size
                for n in (1, 2, 3)
            ]
            assert sizes[2] - sizes[1] == sizes[1] - sizes[0] > 4 * w * w
            expected = f.size
    assert f.size == expected == sum(x[0].numel() for x in weights)


# --- order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", INVARIANT)
def test_order_does_not_matter(text: str) -> None:
    layout = Layout.of([1, 2, 3, 6, 30, 100])
    x = rows(layout, dtype=torch.float32)
    f, weights = made(text, pooled=True, front=(2,), dtype=torch.float32)
    g, more = made(text, pooled=False, front=(2,), dtype=torch.float32)
    values, answers = f(weights, x, layout, everyone(layout)), g(more, x, layout, everyone(layout))
    assert values.shape == (2, 6, OUTPUTS)
    assert answers.shape == (2, layout.rows, OUTPUTS)
    for k in range(100):
        order = shuffled(layout, k)
        other = f(weights, x[order], layout, everyone(layout))
        torch.testing.assert_close(other, values, atol=1e-5, rtol=0)
        moved = g(more, x[order], layout, everyone(layout))
        torch.testing.assert_close(moved, answers[:, order], atol=1e-5, rtol=0)
    assert values.std() > 0.05
    assert answers.std() > 0.05


@pytest.mark.parametrize("pooled", [True, False])
def test_order_matters_to_an_mlp(pooled: bool) -> None:
    layout = Layout.repeated(4, 3)
    x, order = rows(layout), shuffled(layout, 0)
    f, weights = made("mlp(width=16)", pooled=pooled)
    before, after = f(weights, x, layout, everyone(layout)), f(weights, x[order], layout, everyone(layout))
    assert (after - (before if pooled else before[order])).abs().max() > 0.1


@pytest.mark.parametrize("text", INVARIANT)
def test_a_thousand_rows(text: str) -> None:
    layout = Layout.of([1000])
    x, order = rows(layout, dtype=torch.float32), shuffled(layout, 0)
    f, weights = made(text, pooled=True, dtype=torch.float32)
    torch.testing.assert_close(
        f(weights, x[order], layout, everyone(layout)), f(weights, x, layout, everyone(layout)), atol=1e-5, rtol=0
    )


# --- batches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ALL)
@pytest.mark.parametrize("pooled", [True, False])
def test_sets_of_many_sizes_are_as_each_alone(text: str, pooled: bool) -> None:
    layout = Layout.of([3, 1, 0, 8, 3, 2])
    x = rows(layout, (2,))
    f, weights = made(text, pooled=pooled, front=(2,))
    found = f(weights, x, layout, everyone(layout))
    each = []
    for begin, end in pairwise(layout.offsets.tolist()):
        alone = Layout.of([end - begin])
        each.append(f(weights, x[:, begin:end], alone, everyone(alone)))
    torch.testing.assert_close(found, torch.cat(each, -2), atol=1e-12, rtol=1e-12)
    assert found.isfinite().all()  # of the empty set too


@pytest.mark.parametrize("text", ALL)
@pytest.mark.parametrize("pooled", [True, False])
def test_a_batch_of_networks_is_one_by_one(text: str, pooled: bool) -> None:
    layout = Layout.of([3, 2, 5])
    f, weights = made(text, pooled=pooled, front=(2, 3))
    own, shared = rows(layout, (2, 3)), rows(layout)
    together, same = (f(weights, x, layout, everyone(layout)) for x in (own, shared))
    for i in range(2):
        for j in range(3):
            one = tuple(w[i, j] for w in weights)
            torch.testing.assert_close(together[i, j], f(one, own[i, j], layout, everyone(layout)))
            torch.testing.assert_close(same[i, j], f(one, shared, layout, everyone(layout)))
    assert (together[0, 0] - together[1, 2]).abs().max() > 1e-3


@pytest.mark.parametrize("text", ALL)
def test_only_those_who_act_are_answered(text: str) -> None:
    layout, acting = Layout.of([3, 2, 5]), torch.tensor([0, 1, 3, 5, 6])
    x = rows(layout)
    f, weights = made(text, pooled=False)
    torch.testing.assert_close(f(weights, x, layout, acting), f(weights, x, layout, everyone(layout))[acting])


@pytest.mark.parametrize("text", ALL)
@pytest.mark.parametrize("pooled", [True, False])
def test_no_sets_and_empty_sets(text: str, pooled: bool) -> None:
    f, weights = made(text, pooled=pooled, front=(2,))
    for sizes in ([], [0], [0, 0]):
        layout = Layout.of(sizes)
        found = f(weights, rows(layout, (2,)), layout, everyone(layout))
        assert found.shape == (2, len(sizes) if pooled else 0, OUTPUTS)
        assert found.isfinite().all()


@pytest.mark.parametrize("text", ALL)
@pytest.mark.parametrize("pooled", [True, False])
def test_gradients(text: str, pooled: bool) -> None:
    layout = Layout.of([2, 0, 1])
    f, weights = made(text, pooled=pooled, most=3)
    x = rows(layout)
    leaves = [t.clone().requires_grad_() for t in (x, *(w + 0.1 for w in weights))]  # no ReLU stands at 0

    def outputs(x: Tensor, *w: Tensor) -> Tensor:
        return f(w, x, layout, everyone(layout)).square().sum()

    assert torch.autograd.gradcheck(outputs, leaves, fast_mode=True)


# --- against the definitions ------------------------------------------------------------------------------------------


def named(f: Stateless, weights: Weights) -> dict[str, Tensor]:
    return dict(zip(f.names, weights, strict=True))


def test_deep_sets_written_out() -> None:
    layout = Layout.of([3, 1])
    x = rows(layout)
    for pooled in (True, False):
        f, weights = made("deep-sets(width=16)", pooled=pooled)
        w = named(f, weights)
        step = lambda h, name: h @ w[f"{name}.weight"] + w[f"{name}.bias"]  # noqa: B023, E731
        h = step(step(x, "rows.0").relu(), "rows.2").relu()
        mean = torch.stack([h[:3].mean(0), h[3]])
        pool = mean if pooled else torch.cat([h, mean[[0, 0, 0, 1]]], -1)
        torch.testing.assert_close(f(weights, x, layout, everyone(layout)), step(step(pool, "sets.0").relu(), "last"))


def test_gcn_is_that_of_pic() -> None:
    """Of PIC's repository: relu of adjacency @ (x W) with 1/(n - 1) off the diagonal, relu of x W, halved sum, max."""
    n = 4
    layout = Layout.repeated(n, 2)
    x = rows(layout)
    f, weights = made("gcn(width=16, pool=max)", pooled=True)
    w = named(f, weights)
    adjacency = (torch.ones(n, n) - torch.eye(n)).double() / (n - 1)
    h = x.reshape(2, n, INPUTS)
    for k in ("0", "1"):
        others = adjacency @ (h @ w[f"others.{k}.weight"]) + w[f"others.{k}.bias"]
        own = h @ w[f"own.{k}.weight"] + w[f"own.{k}.bias"]
        h = (others.relu() + own.relu()) / 2
    expected = h.amax(1) @ w["last.weight"] + w["last.bias"]
    torch.testing.assert_close(f(weights, x, layout, everyone(layout)), expected)


def test_others_and_maxima_of_rows() -> None:
    layout = Layout.of([3, 0, 1, 2])
    x = rows(layout, (2,))
    others = mean_of_others(x, layout)
    for i in range(layout.rows):
        mine = [j for j in range(layout.rows) if layout.owners[j] == layout.owners[i] and j != i]
        expected = x[:, mine].mean(1) if mine else torch.zeros(2, INPUTS, dtype=x.dtype)
        torch.testing.assert_close(others[:, i], expected, atol=1e-14, rtol=0)
    largest = maximum(-x.abs(), layout)
    torch.testing.assert_close(largest[:, 0], (-x.abs())[:, :3].amax(1))
    assert (largest[:, 1] == 0).all()


def test_an_mlp_sees_rows_in_order_and_zeros_behind() -> None:
    f, weights = made("mlp(width=16)", pooled=False, most=4)
    w, x = named(f, weights), rows(Layout.of([3]))
    h = torch.cat([x.flatten(), torch.zeros(INPUTS, dtype=x.dtype)])
    for name in ("hidden.0", "hidden.2"):
        h = (h @ w[f"{name}.weight"] + w[f"{name}.bias"]).relu()
    expected = (h @ w["last.weight"] + w["last.bias"]).reshape(4, OUTPUTS)
    torch.testing.assert_close(f(weights, x, Layout.of([3]), torch.tensor([2, 0])), expected[[2, 0]])


def test_an_mlp_refuses_sets_it_was_not_made_for() -> None:
    f, weights = made("mlp(width=16)", pooled=True, most=4)
    layout = Layout.of([5, 2])
    with pytest.raises(InvalidInput, match=r"5 rows.* at most 4"):
        f(weights, rows(layout), layout, everyone(layout))
    with pytest.raises(InvalidInput, match="most: got 0"):
        MLP().module(INPUTS, OUTPUTS, pooled=True, most=0)


@pytest.mark.parametrize("text", INVARIANT)
def test_what_a_set_is_worth_does_not_grow_with_its_size(text: str) -> None:
    """A mean is pooled, never a sum: copies of one row are worth the same, however many."""
    f, weights = made(text, pooled=True)
    row = rows(Layout.of([1]))
    layout = Layout.of([200, 2000])
    found = f(weights, row.expand(layout.rows, INPUTS), layout, everyone(layout))
    allowed = 0.05 if "sigmoid" in text else 1e-10  # its weights on equal rows add up to e^s / (1 + e^s / N)
    torch.testing.assert_close(found, found[:1].expand_as(found), atol=allowed, rtol=0)
