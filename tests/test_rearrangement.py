"""The distance of graphons modulo rearrangement: zero where it must be, brute force, closed forms, and its bounds."""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import quadratic_assignment
from torch import Tensor

from gamesim.errors import InvalidInput
from gamesim.estimation import rearrangement
from gamesim.estimation.rearrangement import Rearrangement, rearrangement_distance
from gamesim.graphons import (
    BlockGraphon,
    CutoffPowerLaw,
    Empirical,
    ErdosRenyi,
    Exponential,
    FunctionGraphon,
    Graphon,
    PowerLaw,
    RankedAttachment,
    StochasticBlock,
    UniformAttachment,
    quadrature,
)
from gamesim.randomness import Stream


def steps(count: int, seed: int, even: bool = True) -> BlockGraphon:
    """Random values, random or even widths."""
    stream = Stream(seed)
    v = stream.uniform((count, count))
    cuts = stream.uniform((count - 1,)).sort().values if not even else torch.arange(1, count).double() / count
    return BlockGraphon(tuple(map(tuple, ((v + v.mT) / 2).tolist())), tuple(cuts.tolist()))


def shuffled(graphon: BlockGraphon, seed: int) -> BlockGraphon:
    """The blocks of a step graphon in another order."""
    values, cuts = graphon.blocks()
    widths = torch.cat([torch.zeros(1), cuts, torch.ones(1)]).diff()
    order = Stream(seed).uniform((len(widths),)).argsort()
    return BlockGraphon(
        tuple(map(tuple, values[order][:, order].tolist())), tuple(widths[order].cumsum(0)[:-1].tolist())
    )


def reflected(graphon: Graphon) -> FunctionGraphon:
    return FunctionGraphon(lambda x, y: graphon(1 - x, 1 - y))


def attained(first: Graphon, second: Graphon, found: Rearrangement) -> float:
    """The distance on the midpoints when the first graphon is read at the matched positions."""
    x, phi = quadrature("midpoint", len(found.match)).positions, found.match
    gap = first(phi[:, None], phi) - second(x[:, None], x)
    return float((gap**2).mean().sqrt())


SMOOTH: list[Graphon] = [Exponential(3.0), UniformAttachment(), RankedAttachment(), CutoffPowerLaw(0.5), PowerLaw(0.3)]


@pytest.mark.parametrize("graphon", SMOOTH, ids=str)
def test_a_reflected_graphon_is_the_same(graphon: Graphon) -> None:
    found = rearrangement_distance(graphon, reflected(graphon), points=40)
    assert found.distance < 1e-12
    if not isinstance(graphon, CutoffPowerLaw):  # flat below c: positions there are all alike
        torch.testing.assert_close(found.match, 1 - quadrature("midpoint", 40).positions)


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("count", [2, 4, 7, 12])
def test_blocks_in_another_order_are_the_same(count: int, even: bool) -> None:
    for seed in range(3):
        first = steps(count, seed, even)
        second = shuffled(first, seed + 10)
        found = rearrangement_distance(first, second, points=200)
        assert found.distance < 1e-6
        # the matched positions lie in blocks of the same values; a cut may pass through a cell of the 200
        x = quadrature("midpoint", 200).positions
        same = (first(found.match[:, None], found.match) - second(x[:, None], x)).abs() < 1e-9
        assert float(same.double().mean()) > (1 if even and 200 % count == 0 else 1 - 4 * count / 200) - 1e-12


def test_the_reflected_stochastic_block_graphon_by_blocks_and_by_samples() -> None:
    graphon = StochasticBlock(0.9, 0.3, 0.7)
    for other in (StochasticBlock(0.9, 0.3, 0.3), reflected(graphon)):
        found = rearrangement_distance(graphon, other)
        assert found.distance < 1e-9
        assert attained(graphon, other, found) < 1e-9


@pytest.mark.parametrize("count", [3, 4, 5])
def test_definite_blocks_of_equal_width_against_brute_force(count: int) -> None:
    """Both positive semidefinite: the maximum of a convex function over couplings is at a permutation."""
    for seed in range(4):
        stream = Stream(seed)
        v, v2 = (x @ x.mT / x.shape[-1] for x in stream.uniform((2, count, 6)))
        orders = [torch.tensor(p) for p in permutations(range(count))]
        wanted = min(float(((v[p][:, p] - v2) ** 2).mean().sqrt()) for p in orders)
        found = rearrangement_distance(v, v2)
        assert found.distance == pytest.approx(wanted, abs=1e-9)
        assert found.lower == found.distance  # and it knows


@pytest.mark.parametrize("seed", range(8))
def test_two_blocks_against_two_by_scanning_every_coupling(seed: int) -> None:
    """One number describes a coupling of 2 and 2 blocks; where the two disagree in sign the best one splits blocks."""
    first, second = steps(2, seed, even=False), steps(2, seed + 100, even=False)
    (v, c), (v2, c2) = first.blocks(), second.blocks()
    a, b = float(c), float(c2)
    t = torch.linspace(max(0.0, a + b - 1), min(a, b), 20_001, dtype=torch.float64)
    plan = torch.stack([torch.stack([t, a - t], -1), torch.stack([b - t, 1 - a - b + t], -1)], -2)
    w, w2 = torch.tensor([a, 1 - a]).double(), torch.tensor([b, 1 - b]).double()
    squared = w @ v**2 @ w + w2 @ v2**2 @ w2 - 2 * ((v @ plan @ v2) * plan).sum((-2, -1))
    found = rearrangement_distance(first, second)
    assert found.distance == pytest.approx(float(squared.min().clamp(min=0).sqrt()), abs=1e-6)


def test_splitting_blocks_can_beat_every_permutation() -> None:
    like, unlike = torch.tensor([[0.6, 0.3], [0.3, 0.6]]), torch.tensor([[0.3, 0.6], [0.6, 0.3]])
    found = rearrangement_distance(like, unlike)
    assert found.distance == pytest.approx(0.045**0.5)  # both halves mixed evenly; the permutations give 0.3
    assert attained(*(BlockGraphon(tuple(map(tuple, v.tolist()))) for v in (like, unlike)), found) == pytest.approx(
        found.distance
    )


def test_only_what_is_convex_is_called_exact() -> None:
    like, unlike = torch.tensor([[0.6, 0.3], [0.3, 0.6]]).double(), torch.tensor([[0.3, 0.6], [0.6, 0.3]]).double()
    assert rearrangement._convex(like, like)
    assert rearrangement._convex(unlike, unlike)
    assert not rearrangement._convex(like, unlike)
    beaten = 0
    for seed in range(6):
        v, v2 = (steps(4, seed + k).blocks()[0] for k in (0, 50))
        best = min(float(((v[p][:, p] - v2) ** 2).mean().sqrt()) for p in map(torch.tensor, permutations(range(4))))
        found = rearrangement_distance(v, v2)
        assert found.lower < found.distance <= best + 1e-12
        beaten += found.distance < best - 1e-4
    assert beaten


@pytest.mark.parametrize(("theta", "other"), [(3.0, 1.0), (3.0, 5.0), (0.5, 8.0)])
def test_two_exponential_graphons_are_aligned_as_they_are(theta: float, other: float) -> None:
    def mixed(x: Tensor, y: Tensor) -> Tensor:
        x, y = ((shuffle[(z * points).long()] + 0.5).double() / points for z in (x, y))
        return Exponential(other)(x, y)

    grid = quadrature("gauss-legendre", 60)
    x = grid.positions
    gap = Exponential(theta)(x[:, None], x) - Exponential(other)(x[:, None], x)
    wanted = float((grid.weights @ gap**2 @ grid.weights).sqrt())
    for points in (20, 80):
        found = rearrangement_distance(Exponential(theta), Exponential(other), points=points)
        assert found.distance == pytest.approx(wanted, abs=0.3 / points**2)
        torch.testing.assert_close(found.match, quadrature("midpoint", points).positions)
        shuffle = Stream(7).uniform((points,)).argsort()
        again = rearrangement_distance(Exponential(theta), mixed, points=points)
        assert again.distance == pytest.approx(found.distance, abs=1e-9)
        torch.testing.assert_close(again.match, (shuffle + 0.5).double() / points)


PAIRS: list[tuple[Any, Any]] = [
    (ErdosRenyi(0.5), Exponential(3.0)),
    (UniformAttachment(), RankedAttachment()),
    (StochasticBlock(), Exponential(3.0)),
    (StochasticBlock(0.9, 0.3, 0.7), StochasticBlock(0.8, 0.4, 0.45)),
    (steps(3, 1), steps(5, 2, even=False)),
    (steps(20, 1), steps(20, 2)),
    (PowerLaw(0.3), ErdosRenyi(0.9)),
    (lambda x, y: torch.exp(-(((x - y) / 0.3) ** 2)), UniformAttachment()),
]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda p: "-".join(getattr(g, "kind", "function") for g in p))
def test_bounds_symmetry_and_what_is_attained(pair: tuple[Any, Any]) -> None:
    points = 32  # whose midpoints are no cuts of 20 blocks, where the last digit of a match would choose the side
    there, back = (rearrangement_distance(*p, points=points, restarts=3) for p in (pair, pair[::-1]))
    assert there.distance == pytest.approx(back.distance, abs=1e-12)
    first, second = (g if isinstance(g, Graphon) else FunctionGraphon(g) for g in pair)
    x = quadrature("midpoint", points).positions
    few = all(g.blocks() is not None for g in (first, second)) and "20" not in str(len(first.blocks()[0]))  # type: ignore[index]
    if few:
        means = [float(w @ v @ w) for v, w in (rearrangement._blocks(g) for g in (first, second))]  # type: ignore[misc]
    else:
        means = [float(g(x[:, None], x).mean()) for g in (first, second)]
        assert attained(first, second, there) == pytest.approx(there.distance)
    assert abs(means[0] - means[1]) <= there.lower + 1e-12
    assert there.lower <= there.distance
    assert abs(means[0] - means[1]) <= there.cut[0] + 1e-12
    assert there.cut[0] <= there.cut[1] <= there.distance + 1e-12
    assert sorted(there.match.tolist()) == pytest.approx(there.match.sort().values.tolist())
    assert float(there.match.min()) >= 0
    assert float(there.match.max()) <= 1


def test_a_match_preserves_length() -> None:
    """The matched midpoints fill every interval of the first graphon with the share that it has."""
    found = rearrangement_distance(steps(3, 5, even=False), steps(4, 6, even=False), points=500)
    share = torch.histc(found.match, 20, 0, 1) / 500
    assert float((share - 0.05).abs().max()) < 0.02  # 12 pieces, each off by a cell of 1/500 at most


def test_the_distance_is_invariant() -> None:
    first, second = steps(5, 3), steps(5, 4)
    wanted = rearrangement_distance(first, second).distance
    for seed in range(3):
        assert rearrangement_distance(shuffled(first, seed), second).distance == pytest.approx(wanted, abs=1e-6)
        assert rearrangement_distance(first, shuffled(second, seed)).distance == pytest.approx(wanted, abs=1e-6)


def test_the_triangle_inequality_holds_for_what_is_proved() -> None:
    values = [x @ x.mT / 6 for x in Stream(3).uniform((3, 4, 6))]
    ab, bc, ac = (rearrangement_distance(values[i], values[j]) for i, j in ((0, 1), (1, 2), (0, 2)))
    assert all(d.lower == d.distance for d in (ab, bc, ac))
    assert ac.distance <= ab.distance + bc.distance


@pytest.mark.parametrize("seed", range(3))
def test_the_search_is_no_worse_than_that_of_scipy(seed: int) -> None:
    """FAQ and 2-opt of scipy on the same matrices; exchanges end where no exchange helps."""
    n = 14
    a, b = (steps(n, seed + k).blocks()[0] for k in (0, 50))
    found = rearrangement_distance(a, b, restarts=8)
    for method, options in (("faq", {"P0": np.full((n, n), 1 / n)}), ("2opt", {"partial_guess": np.c_[:n, :n]})):
        chosen = {"maximize": True, "rng": np.random.default_rng(0), **options}
        order = quadratic_assignment(a.numpy(), b.numpy(), method, chosen).col_ind
        assert found.distance <= float(((a - b[order][:, order]) ** 2).mean().sqrt()) + 1e-12
    plan = rearrangement._exchanged(torch.full((1, n, n), 1 / n**2, dtype=torch.float64), a, b)[0]
    order = plan.argmax(0)
    best = ((a[order][:, order] - b) ** 2).sum()
    for i in range(n):
        for j in range(i):
            other = order.clone()
            other[i], other[j] = order[j], order[i]
            assert float(((a[other][:, other] - b) ** 2).sum() - best) > -1e-9


def test_the_seed_names_the_search() -> None:
    first, second = (rearrangement_distance(steps(12, 1), steps(12, 2), seed=5) for _ in range(2))
    assert first.distance == second.distance
    assert torch.equal(first.match, second.match)


def test_one_block_one_point_of_each_and_a_network() -> None:
    assert rearrangement_distance(ErdosRenyi(0.5), ErdosRenyi(0.2)).distance == pytest.approx(0.3)
    ring = torch.roll(torch.eye(10), 1, 0)
    order = Stream(1).uniform((10,)).argsort()
    ring = ring + ring.mT
    found = rearrangement_distance(Empirical(ring.numpy()), Empirical(ring[order][:, order].numpy()), points=10)
    assert found.distance < 1e-9


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "points": (lambda: rearrangement_distance(ErdosRenyi(), ErdosRenyi(), points=1), "points: got 1, expected a whole"),
    "many points": (lambda: rearrangement_distance(ErdosRenyi(), ErdosRenyi(), points=10**6), "points: got 1000000"),
    "restarts": (lambda: rearrangement_distance(ErdosRenyi(), ErdosRenyi(), restarts=-1), "restarts: got -1"),
    "not a graphon": (lambda: rearrangement_distance(ErdosRenyi(), "exp"), "second: got 'str', expected a graphon"),
    "a batch": (
        lambda: rearrangement_distance(Exponential(torch.tensor([1.0, 2.0])), ErdosRenyi()),
        r"first: got \[2, 64, 64\], expected one graphon",
    ),
    "not a number": (
        lambda: rearrangement_distance(lambda x, y: x * y / 0, ErdosRenyi()),
        r"first: got 'custom', expected a finite W",
    ),
    "asymmetric": (lambda: rearrangement_distance(ErdosRenyi(), lambda x, y: x + 0 * y), "second: got 'custom'"),
    "a large network": (
        lambda: rearrangement_distance(Empirical(torch.ones(600, 600).fill_diagonal_(0).numpy()), ErdosRenyi()),
        r"graph: got 'graph, 600 nodes', expected at most 512: take graph.averaged\(blocks\)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_refusals(case: str) -> None:
    call, words = BAD[case]
    with pytest.raises(InvalidInput, match=words) as refusal:
        call()
    assert "\n" not in str(refusal.value)


def test_couplings_have_the_right_margins() -> None:
    w, w2 = (x / x.sum() for x in (Stream(1).uniform((4,)), Stream(2).uniform((6,))))
    cost: Tensor = Stream(3).normal((4, 6))
    for plan in (rearrangement._transport(cost, w, w2), rearrangement._monotone(w, w2, w.argsort(), w2.argsort())):
        torch.testing.assert_close(plan.sum(1), w)
        torch.testing.assert_close(plan.sum(0), w2)
