"""Graphons from observed networks, against the graphons they were drawn from, over seeds and with intervals."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor

import gamesim as gs
from gamesim.errors import InvalidInput
from gamesim.estimation import adjacency
from gamesim.estimation.adjacency import (
    USVT,
    GraphonEstimate,
    SortAndSmooth,
    StochasticBlocks,
    clustered,
    fit_graphon,
    smoothed,
    thresholded,
)
from gamesim.estimation.rearrangement import rearrangement_distance
from gamesim.graphons import (
    BlockGraphon,
    Empirical,
    ErdosRenyi,
    Exponential,
    Graphon,
    RankedAttachment,
    StochasticBlock,
    UniformAttachment,
)
from gamesim.randomness import Stream

METHODS = ["sort-and-smooth", "stochastic-blocks", "usvt"]
SEEDS = range(5)
THREE = BlockGraphon(((0.9, 0.2, 0.4), (0.2, 0.7, 0.1), (0.4, 0.1, 0.3)))
SMOOTH: list[Graphon] = [Exponential(3.0), UniformAttachment(), RankedAttachment()]
FAMILIES: list[Graphon] = [*SMOOTH, StochasticBlock(0.9, 0.3, 0.7), THREE]


def draw(
    graphon: Graphon, nodes: int, networks: int = 1, seed: int = 0, rho: float = 1.0, grid: bool = False
) -> tuple[Tensor, Tensor]:
    """Networks[g, n, n] with edges of probability rho W at uniform positions[n], or on a grid in random order."""
    x = Stream(seed).uniform((nodes,))
    x = (x.argsort().argsort() + 0.5).double() / nodes if grid else x
    uniform = Stream(seed, 1).uniform((networks, nodes, nodes)).triu(1)
    edges = (uniform + uniform.mT < rho * graphon(x[:, None], x)).double()
    edges.diagonal(dim1=-2, dim2=-1).zero_()
    return edges, x


def error(graphon: Graphon, x: Tensor, found: GraphonEstimate) -> float:
    """Root mean square over pairs of nodes of the estimate at their estimated positions."""
    p = found.positions
    gap = (found.graphon(p[:, None], p) - graphon(x[:, None], x)).fill_diagonal_(0)
    return float((gap**2).mean().sqrt())


def constant(graphon: Graphon, x: Tensor) -> float:
    """The same of the best constant."""
    values = graphon(x[:, None], x)
    return float((values - values.mean()).fill_diagonal_(0).pow(2).mean().sqrt())


def surely_above(values: list[float], bound: float) -> bool:
    """The mean is above the bound by three standard errors."""
    x = np.array(values)
    return bool(x.mean() - 3 * x.std(ddof=1) / len(x) ** 0.5 > bound)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("graphon", FAMILIES, ids=["exp", "uniform", "ranked", "two-blocks", "three-blocks"])
def test_the_error_falls_with_the_nodes_and_beats_the_constant(graphon: Graphon, method: str) -> None:
    falls, beats = [], []
    for seed in range(
        12 if method == "stochastic-blocks" and graphon not in SMOOTH else 5
    ):  # one greedy draw of blocks varies more
        (small, few), (large, many) = ((draw(graphon, n, seed=seed)) for n in (40, 160))
        options = {"bandwidth": 2} if method == "usvt" else {}
        errors = [
            error(graphon, x, fit_graphon(e, method, seed=seed, **options)) for e, x in ((small, few), (large, many))
        ]
        falls.append(errors[0] - errors[1])
        beats.append(constant(graphon, many) / (1.3 if graphon is THREE else 2.4) - errors[1])
    assert surely_above(falls, 0.0)
    assert surely_above(beats, 0.0)


@pytest.mark.parametrize("graphon", SMOOTH, ids=str)
def test_sorting_by_degree_recovers_graphons_of_monotone_degree(graphon: Graphon) -> None:
    """In the order of its own positions: the nodes end up near their positions, the graphon near W itself."""
    falling = not isinstance(graphon, Exponential)
    far = {}
    for nodes in (60, 240):
        shifts = []
        for seed in SEEDS:
            edges, x = draw(graphon, nodes, seed=seed)
            found = fit_graphon(edges, descending=falling)
            shifts.append(float((found.positions - x).abs().mean()))
        far[nodes] = np.array(shifts)
    assert surely_above(list(far[60] / far[240]), 1.2)
    assert far[240].max() < 0.08
    grid = (torch.arange(100).double() + 0.5) / 100
    assert float((found.graphon(grid[:, None], grid) - graphon(grid[:, None], grid)).abs().mean()) < 0.05
    other = fit_graphon(edges, descending=not falling)
    torch.testing.assert_close(other.positions, 1 - found.positions, atol=0.03, rtol=0)  # but for ties
    assert rearrangement_distance(found.graphon, graphon).distance < 0.08


def test_degrees_that_agree_defeat_sorting_and_nothing_else() -> None:
    """Two equal blocks: every degree is 1/2, so that sorting sees no difference; the other two tell them apart."""
    graphon = StochasticBlock(0.8, 0.2, 0.5)
    for seed in range(3):
        edges, x = draw(graphon, 150, seed=seed, grid=True)
        assert error(graphon, x, fit_graphon(edges)) > 0.2
        assert error(graphon, x, fit_graphon(edges, "usvt")) < 0.1
        found = fit_graphon(edges, "stochastic-blocks", seed=seed)
        assert error(graphon, x, found) < 0.06
        assert rearrangement_distance(found.graphon, graphon).distance < 0.05


def test_stochastic_blocks_finds_the_labels() -> None:
    """Three blocks, two networks: every node of 150 in a block of its own kind, at four seeds of five or more."""
    right = 0
    for seed in range(5):
        edges, x = draw(THREE, 150, 2, seed)
        found = fit_graphon(edges, "stochastic-blocks", seed=seed)
        cuts = torch.tensor(found.graphon.cuts).double()
        block = torch.searchsorted(cuts, found.positions)
        true = (x * 3).long()
        right += all(len(true[block == b].unique()) == 1 for b in block.unique())
    assert right >= 4


@pytest.mark.parametrize("method", METHODS)
def test_more_networks_are_better(method: str) -> None:
    gains = []
    for seed in SEEDS:
        edges, x = draw(Exponential(3.0), 100, 6, seed)
        one, six = (fit_graphon(e, method, seed=seed) for e in (edges[0], edges))
        gains.append(error(Exponential(3.0), x, one) / error(Exponential(3.0), x, six))
    assert surely_above(gains, 1.3)


def test_smoothing_helps_and_a_histogram_wants_wider_blocks() -> None:
    ratios, wider = [], []
    for seed in SEEDS:
        edges, x = draw(Exponential(3.0), 200, seed=seed)
        smooth, raw, wide = (
            error(Exponential(3.0), x, fit_graphon(edges, **options))
            for options in ({}, {"smooth": False}, {"smooth": False, "bandwidth": 14})
        )
        ratios.append(raw / smooth)
        wider.append(raw / wide)
    assert surely_above(ratios, 1.3)
    assert surely_above(wider, 1.1)


# ---- the parts, against definitions ----


def test_total_variation_smoothing_is_a_minimum() -> None:
    """The problem is convex: what no small step improves is the minimum. The ends are the data and its mean."""
    noise = Stream(3).uniform((6, 6))
    means = (noise + noise.mT) / 2

    def loss(w: Tensor) -> float:
        down, right = w[1:, :-1] - w[:-1, :-1], w[:-1, 1:] - w[:-1, :-1]
        return float(0.1 * (down**2 + right**2).sqrt().sum() + ((w - means) ** 2).sum() / 2)

    found = smoothed(means, 0.1)
    assert loss(found) < loss(means) - 0.05
    for seed in range(200):
        step = Stream(seed, 9).normal((6, 6))
        assert loss(found + 1e-3 * step) > loss(found) - 1e-7
    torch.testing.assert_close(smoothed(means, 1e-9), means, atol=1e-6, rtol=0)
    torch.testing.assert_close(smoothed(means, 1e3)[:-1, :-1], means.mean().expand(5, 5), atol=0.1, rtol=0)
    torch.testing.assert_close(found, found.mT)


def test_block_means_leave_the_diagonal_out() -> None:
    weights = Stream(2).uniform((2, 9, 9)).triu(1)
    weights = weights + weights.mT
    block = torch.tensor([0, 1, 1, 0, 2, 1, 0, 0, 1])
    means, noise = adjacency._block_means(adjacency._networks(weights), block, 3)
    variances = []
    for k in range(3):
        for l in range(3):
            pairs = [(i, j) for i in range(9) for j in range(9) if i != j and block[i] == k and block[j] == l]
            if pairs:
                entries = np.array([float(w[i, j]) for w in weights for i, j in pairs])
                assert float(means[k, l]) == pytest.approx(entries.mean())
                variances.append(entries.var() / len(entries))
    assert noise == pytest.approx(np.mean(variances) ** 0.5)
    assert float(means[2, 2]) == pytest.approx(float(weights[:, 4].sum()) / 16)  # one node has no pair of its own


def test_rows_of_two_networks_estimate_the_squared_distance_without_bias() -> None:
    graphon, nodes = StochasticBlock(0.9, 0.3, 0.6), 30
    x = draw(graphon, nodes)[1]
    values = graphon(x[:, None], x)
    wanted = torch.tensor(
        [
            [
                sum(float(values[i, k] - values[j, k]) ** 2 for k in range(nodes) if k not in (i, j))
                for j in range(nodes)
            ]
            for i in range(nodes)
        ]
    ) / (nodes - 2)
    draws = []
    for seed in range(200):
        uniform = Stream(seed, 5).uniform((2, nodes, nodes)).triu(1)
        edges = (uniform + uniform.mT < values).double()
        edges.diagonal(dim1=-2, dim2=-1).zero_()
        draws.append(adjacency._distances("rows", list(edges)))
    found = torch.stack(draws)
    z = (found.mean(0) - wanted) / (found.std(0) / 200**0.5 + 1e-12)
    off = ~torch.eye(nodes, dtype=torch.bool)
    assert float(z[off].abs().max()) < 5
    assert float(z[off].abs().mean()) < 1.2  # about 0.8 for standard normal numbers


def test_products_bound_the_squared_distance_from_one_network() -> None:
    """Without noise (weights W themselves): mean_k (W_ik - W_jk)^2 <= 2 d_ij up to the diagonal, O(1/n)."""
    x = Stream(1).uniform((200,))
    for graphon in FAMILIES:
        values = graphon(x[:, None], x).fill_diagonal_(0)
        squared = ((values[:, None] - values) ** 2).mean(-1)
        assert float((squared - 2 * adjacency._distances("products", [values])).max()) < 6 / 200


def test_clusters_are_those_of_a_plain_loop() -> None:
    point = Stream(4).uniform((40,))
    distance = (point[:, None] - point) ** 2
    order, deltas = Stream(5).uniform((40,)).argsort(), torch.tensor([0.01, 0.1, 0.3, 2.0]).double()
    labels = clustered(distance, deltas, order)
    for d, delta in enumerate(deltas.tolist()):
        free, wanted, cluster = set(range(40)), [0] * 40, 0
        for pivot in order.tolist():
            if pivot in free:
                for node in sorted(free):
                    if float(distance[pivot, node]) <= delta**2:
                        wanted[node] = cluster
                        free.remove(node)
                cluster += 1
        assert labels[d].tolist() == wanted
    assert labels[-1].unique().tolist() == [0]


def test_singular_values_of_noise_alone_are_not_kept() -> None:
    """Erdos-Renyi networks have one value above the noise, their density; three random blocks have three."""
    for seed in SEEDS:
        edges, _ = draw(ErdosRenyi(0.5), 150, seed=seed)
        probabilities, kept, threshold = thresholded(edges[0])
        assert kept == 1
        assert threshold <= 2.05 * (150 / 4) ** 0.5 + 1e-12
        assert float((probabilities - 0.5).abs().mean()) < 0.06
    values = THREE((x := Stream(2).uniform((300,)))[:, None], x)
    kept_values, kept, threshold = thresholded(values)
    assert kept == int((np.linalg.svd(values.numpy(), compute_uv=False) >= threshold).sum()) == 2
    assert bool(((kept_values >= 0) & (kept_values <= 1)).all())


# ---- what goes in, and what comes out ----


def test_every_kind_of_adjacency_gives_the_same() -> None:
    edges, _ = draw(Exponential(3.0), 40, 2)
    one = edges[0]
    wanted = fit_graphon(one)
    for same in (
        one.numpy(),
        one.bool(),
        sparse.csr_matrix(one.numpy()),
        Empirical(one.numpy()),
        one[None],
        one.tolist(),
    ):
        assert fit_graphon(same).graphon == wanted.graphon
    several = fit_graphon(edges)
    for same in (edges.numpy(), [e.numpy() for e in edges], [Empirical(e.numpy()) for e in edges], tuple(edges)):
        assert fit_graphon(same).graphon == several.graphon
    assert fit_graphon([sparse.coo_array(e.numpy()) for e in edges]).graphon == several.graphon


@pytest.mark.parametrize("method", METHODS)
def test_the_names_of_the_nodes_do_not_matter(method: str) -> None:
    edges = draw(Exponential(3.0), 60, 2)[0] * 0.9
    weights = Stream(8).uniform((60, 60)).triu(1)
    edges = edges * (0.5 + (weights + weights.mT) / 2)  # no two degrees agree
    shuffle = Stream(9).uniform((60,)).argsort()
    options: dict[str, Any] = {"delta": 0.2} if method == "stochastic-blocks" else {}
    if method != "stochastic-blocks":  # whose nodes are drawn by number
        here, there = (fit_graphon(e, method, **options) for e in (edges, edges[:, shuffle][:, :, shuffle]))
        np.testing.assert_allclose(here.graphon.values, there.graphon.values, atol=1e-6)
        torch.testing.assert_close(here.positions[shuffle], there.positions)
    found = fit_graphon(edges, method, **options)
    assert found.method == method
    assert found.order.sort().values.tolist() == list(range(60))
    torch.testing.assert_close(found.positions[found.order], (torch.arange(60).double() + 0.5) / 60)
    again = fit_graphon(edges, method, **options)
    assert again.graphon == found.graphon
    assert again.note == found.note


def test_a_method_may_be_given_with_its_parameters() -> None:
    edges, _ = draw(Exponential(3.0), 40)
    for name, method, options in (
        ("sort-and-smooth", SortAndSmooth(bandwidth=8, smooth=False), {"bandwidth": 8, "smooth": False}),
        ("stochastic-blocks", StochasticBlocks(delta=0.3), {"delta": 0.3}),
        ("usvt", USVT(bandwidth=5), {"bandwidth": 5}),
    ):
        assert fit_graphon(edges, method).graphon == fit_graphon(edges, name, **options).graphon
    assert len(fit_graphon(edges, "usvt", bandwidth=5).graphon.values) == 8
    assert fit_graphon(edges, "usvt", bandwidth=5).bandwidth == 5


def test_a_sparse_network_determines_rho_times_w() -> None:
    graphon, rho = Exponential(3.0), 0.2
    edges, x = draw(graphon, 400, 3, rho=rho)
    dense, given, estimated = (fit_graphon(edges, density=d, bandwidth=20) for d in (None, rho, "estimate"))  # type: ignore[arg-type]
    assert (dense.density, given.density) == (1.0, rho)
    scaled = np.array(dense.graphon.values) / rho
    np.testing.assert_allclose(given.graphon.values, scaled.clip(max=1), rtol=1e-12)
    assert given.clipped == int((scaled > 1 + 1e-9).sum())
    np.testing.assert_allclose(estimated.density * np.array(estimated.graphon.values), dense.graphon.values, rtol=1e-12)
    assert np.max(estimated.graphon.values) == 1
    assert "up to a factor" in estimated.scale
    assert "rho given" in given.scale
    assert "dense" in dense.scale
    assert error(graphon, x, given) < constant(graphon, x) / 2
    low = fit_graphon(edges, density=0.1, bandwidth=20)  # less than the truth: W would pass 1
    assert low.clipped == int((np.array(dense.graphon.values) > 0.1 * (1 + 1e-9)).sum()) > 0
    assert np.max(low.graphon.values) == 1


def test_a_large_sparse_network_takes_memory_of_its_edges() -> None:
    """200,000 nodes would be 320 GB dense."""
    n, m = 200_000, 400_000
    i, j = ((Stream(1, k).uniform((m,)) ** 0.5 * n).long().numpy() for k in range(2))
    upper = sparse.coo_matrix((np.ones(m), (np.minimum(i, j), np.maximum(i, j))), shape=(n, n)).tocsr()
    upper.data[:] = 1
    upper.setdiag(0)
    found = fit_graphon(upper + upper.T, bandwidth=10_000, density="estimate")
    assert len(found.graphon.values) == 20
    assert float(np.corrcoef(found.positions.numpy(), np.arange(n))[0, 1]) > 0.5


def test_two_nodes_one_block_and_a_game() -> None:
    pair = fit_graphon(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert pair.graphon.values == ((1.0, 1.0), (1.0, 1.0))  # the diagonal of a single node is unobserved
    edges, _ = draw(Exponential(3.0), 60)
    one = fit_graphon(edges, bandwidth=60)
    assert one.graphon.values == ((pytest.approx(float(edges.sum()) / 60 / 59),),)
    assert fit_graphon(edges, "stochastic-blocks", delta=5.0).graphon.values == one.graphon.values
    game = gs.make("graphon/sis", graphon=fit_graphon(edges).graphon, positions=11, horizon=5)
    assert float(game.exploitability(game.start())) > 0
    assert dataclasses.is_dataclass(one)


EDGES = draw(Exponential(3.0), 20)[0][0]


def changed(i: int, j: int, value: float) -> Tensor:
    other = EDGES.clone()
    other[i, j] = value
    return other


BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "directed": (changed(0, 1, 0.5), {}, "graph: got 'adjacency, a directed edge between nodes 0 and 1'"),
    "not a number": (changed(0, 1, float("nan")), {}, "a weight that is not finite"),
    "a loop": (changed(3, 3, 1.0), {}, "node 3 joined to itself', expected no self-loops"),
    "negative": (changed(0, 1, -1.0), {}, "weights from -1 to 1"),
    "not square": (EDGES[:5], {}, r"an adjacency of shape \[5, 20\]', expected a square adjacency"),
    "no edges": (torch.zeros(4, 4), {}, "no edges"),
    "a vector": (torch.zeros(4), {}, "expected a square"),
    "nothing": (torch.zeros(0, 3, 3), {}, "adjacency: got 'no networks'"),
    "ragged": ([[0, 1], [1]], {}, "got 'adjacency, rows of unequal length, or no numbers', expected a square matrix"),
    "an empty list": ([], {}, "expected a square adjacency"),
    "unequal": (
        [EDGES, EDGES[:9, :9]],
        {},
        r"adjacency: got 'networks of \[20, 9\] nodes', expected networks on the same",
    ),
    "one of several": ([EDGES, changed(2, 2, 1.0)], {}, "graph: got 'adjacency 1, node 2 joined to itself'"),
    "bandwidth zero": (EDGES, {"bandwidth": 0}, "bandwidth: got 0, expected a whole number from 1"),
    "more blocks than nodes": (EDGES, {"bandwidth": 21}, "bandwidth: got 21, expected at most 20, the number of nodes"),
    "too many blocks": (
        sparse.eye(5000, k=1) + sparse.eye(5000, k=-1),
        {"bandwidth": 2},
        "bandwidth: got 2, expected at least 10: 5000 nodes make more than 500 blocks",
    ),
    "too many nodes": (
        sparse.eye(5000, k=1) + sparse.eye(5000, k=-1),
        {"method": "usvt"},
        "adjacency: got '5000 nodes', expected at most 2000 with usvt; sort-and-smooth takes large networks",
    ),
    "weight": (EDGES, {"weight": -1.0}, "weight: got -1.0, expected a number of at least 0"),
    "method": (EDGES, {"method": "sas"}, "method: got 'sas', expected one of sort-and-smooth, stochastic-blocks, usvt"),
    "method object": (EDGES, {"method": 3}, "method: got 'int', expected one of"),
    "option of another": (EDGES, {"delta": 0.2}, "parameter of sort-and-smooth: got 'delta'"),
    "option twice": (EDGES, {"method": USVT(), "bandwidth": 2}, r"bandwidth: got 2, expected it inside USVT\(...\)"),
    "delta": (EDGES, {"method": "stochastic-blocks", "delta": 0.0}, "delta: got 0.0, expected a number above 0"),
    "rows of one": (EDGES, {"method": "stochastic-blocks", "distance": "rows"}, "expected products, or at least two"),
    "density": (EDGES, {"density": 0.0}, "density: got 0.0, expected a number above 0 and at most 1"),
    "dense density": (EDGES, {"density": 2.0}, "density: got 2.0"),
    "too sparse": (
        sparse.eye(60, k=1) + sparse.eye(60, k=-1),
        {"method": "usvt"},
        "method: got 'usvt', expected sort-and-smooth: no singular value of 60 is above the noise",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_refusals(case: str) -> None:
    value, options, words = BAD[case]
    with pytest.raises(InvalidInput, match=words) as refusal:
        fit_graphon(value, **options)
    assert "\n" not in str(refusal.value)
