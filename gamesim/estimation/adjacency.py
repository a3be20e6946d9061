"""A graphon from observed networks: A_ij ~ Bernoulli(rho W(x_i, x_j)) for i < j, the positions x unknown and uniform.

    sort-and-smooth   nodes in the order of their degrees; H = means of A over blocks of h nodes;
                      W = argmin TV(W) lam + |W - H|^2 / 2     (Chan and Airoldi, ICML 2014)
    stochastic-blocks d_ij = estimate of int (W(x_i, y) - W(x_j, y))^2 dy; a node drawn at random takes all that are
                      free within Delta^2, then another; W = means of A over these blocks
                      (Airoldi, Costa and Chan, NeurIPS 2013)
    usvt              the part of A above the noise in singular value, cut to [0, 1]   (Chatterjee, Annals of Statistics
                      2015)

Positions are names: W is determined up to a rearrangement of [0, 1], and the result lists the nodes by degree. In a
sparse network only rho W is determined; what was done about rho is part of the result.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gamesim.errors import refuse, unknown
from gamesim.graphons import BlockGraphon, Empirical
from gamesim.parameters import Count, NonNegative, Positive, build, check
from gamesim.randomness import Stream

LEVELS = tuple(0.01 + 0.99 * i / 19 for i in range(20))
ORDER, FOLDS = 2**32 - 33, 2**32 - 34  # streams of their own: the data may have been drawn with the same seed
BLOCKS = 500
NODES = 2000  # for what takes n^3 operations
SMOOTHED = 100  # blocks of a side by default: a second or so of total variation


@dataclass(frozen=True)
class GraphonEstimate:
    """A step graphon, where each node stands in it, and what was done to get it."""

    graphon: BlockGraphon
    order: Tensor
    """Nodes from position 0 to 1, [n]."""
    positions: Tensor
    """The estimated position of each node, (rank + 1/2) / n, [n]."""
    method: str
    bandwidth: float
    """Nodes to a block (for stochastic-blocks: on average)."""
    density: float
    """rho: the network is taken as drawn from rho W."""
    scale: str
    """Whether rho was given, taken as 1 or estimated, and what that leaves undetermined."""
    clipped: int
    """Block values that had to be moved into [0, 1]."""
    note: str
    """What the method chose and found."""


@dataclass(frozen=True)
class Blocks:
    """What a method returns: probabilities[k, k] of an edge between blocks, the block[n] of each node, and a note."""

    probabilities: Tensor
    block: Tensor
    note: str


class Method(ABC):
    """A way to estimate the probabilities of edges."""

    kinds: ClassVar[dict[str, type]] = {}
    kind: ClassVar[str]

    def __init_subclass__(cls, kind: str) -> None:
        Method.kinds[kind] = cls
        cls.kind = kind

    @abstractmethod
    def estimate(self, networks: list[Empirical], seed: int) -> Blocks:
        """From networks on the same n nodes; blocks are numbered by degree, smallest first."""


@dataclass(frozen=True)
class SortAndSmooth(Method, kind="sort-and-smooth"):
    """Consistent where the degree int W(x, y) dy is strictly monotone in some order of the positions. O(edges)."""

    bandwidth: Count | None = None
    """h, nodes to a block. Left out: log n, as in the paper, and so many that there are at most 100 blocks."""
    smooth: bool = True
    """Total variation smoothing; without it a histogram, which wants h of about sqrt(n)."""
    weight: NonNegative = 1.5
    """lam in units of the noise of a block mean, which is estimated from the blocks."""

    def __post_init__(self) -> None:
        check(self)

    def estimate(self, networks: list[Empirical], seed: int) -> Blocks:
        n = len(networks[0])
        default = max(round(math.log(n)), math.ceil(n / SMOOTHED))
        h = _require_bandwidth(self.bandwidth, min(default, n), n)
        block, count = _consecutive(networks, h)
        means, noise = _block_means(networks, block, count)
        note = f"{count} blocks of about {n / count:.4g} nodes"
        if not self.smooth or count == 1:
            return Blocks(means, block, note)
        return Blocks(smoothed(means, float(self.weight) * noise), block, f"{note}, smoothed")


@dataclass(frozen=True)
class StochasticBlocks(Method, kind="stochastic-blocks"):
    """Also where degrees do not tell positions apart; for few blocks the most exact of the three. O(n^3)."""

    delta: Positive | None = None
    """Delta. Left out: the one of 20 quantiles of the distances that predicts pairs best that were left out."""
    distance: Literal["rows", "products"] | None = None
    """rows: d_ij = mean_k (A_ik - A_jk)(A'_ik - A'_jk) of two halves of the networks, unbiased, as in the paper.
    products: d_ij = max_k |<A_i - A_j, A_k>| / n, which one network is enough for (Zhang, Levina and Zhu, Biometrika
    2017): at least half of the integral, up to noise. Left out: with Delta rows, else the one that predicts better;
    from a single network always products."""

    def __post_init__(self) -> None:
        check(self)

    def estimate(self, networks: list[Empirical], seed: int) -> Blocks:
        n = len(networks[0])
        _require_dense("stochastic-blocks", n)
        if self.distance == "rows" and len(networks) < 2:
            raise refuse("distance", "rows", "products, or at least two networks on the same nodes")
        half = len(networks) // 2
        halves = [_mean(networks[:half]), _mean(networks[half:])] if half else [_mean(networks)]
        names = [self.distance or "rows"] if self.delta is not None or self.distance else ["rows", "products"]
        names = names if half else ["products"]
        order = Stream(seed, ORDER).uniform((n,)).argsort()
        if self.delta is not None:
            name, delta, how = names[0], torch.tensor(float(self.delta), dtype=torch.float64), "given"
        else:
            risks = torch.stack([_left_out(name, halves, order, seed) for name in names])
            best = int(risks.argmin())
            name = names[best // len(LEVELS)]
            delta = _quantiles(_distances(name, halves))[best % len(LEVELS)]
            how = f"of {risks.numel()} tried the best at pairs left out"
        (label,) = clustered(_distances(name, halves), delta[None], order)
        block = _by_degree(label, _degrees(networks))
        count = int(block.max()) + 1
        if count > BLOCKS:
            raise refuse("delta", float(delta), f"a larger one: with it there are {count} blocks")
        note = f"{count} blocks at Delta {float(delta):.4g} of {name} ({how}), networks: {len(networks)}"
        return Blocks(_block_means(networks, block, count)[0], block, note)


@dataclass(frozen=True)
class USVT(Method, kind="usvt"):
    """Universal singular value thresholding: for any W, best where it is of low rank or smooth. O(n^3)."""

    bandwidth: Count | None = None
    """Nodes averaged into a block. Left out: 1, one block to each node, and beyond 500 nodes as few as make 500 blocks:
    neighbours in degree are then averaged, which mixes nodes of one degree and different kinds."""
    margin: Positive = 0.05
    """eta: kept are singular values above (2 + eta) times the standard deviation of the noise times sqrt(n)."""

    def __post_init__(self) -> None:
        check(self)

    def estimate(self, networks: list[Empirical], seed: int) -> Blocks:
        n = len(networks[0])
        _require_dense("usvt", n)
        h = _require_bandwidth(self.bandwidth, math.ceil(n / BLOCKS), n)
        probabilities, kept, threshold = thresholded(_mean(networks), len(networks), float(self.margin))
        if not kept:
            raise refuse(
                "method", "usvt", f"sort-and-smooth: no singular value of {n} is above the noise {threshold:.4g}"
            )
        block, count = _consecutive(networks, h)
        member = torch.nn.functional.one_hot(block, count).double()
        member = member / member.sum(0)
        note = f"{kept} of {n} singular values above {threshold:.4g}, {count} blocks"
        return Blocks(member.mT @ probabilities @ member, block, note)


def fit_graphon(
    adjacency: Any,
    method: Method | str = "sort-and-smooth",
    *,
    density: float | Literal["estimate"] | None = None,
    descending: bool = False,
    seed: int = 0,
    **options: Any,
) -> GraphonEstimate:
    """A step graphon from one observed network or from several on the same nodes.

    adjacency: [n, n] or [networks, n, n] of weights in [0, 1] (NumPy, torch, scipy sparse, an `Empirical` graphon, or a
    list of these), symmetric with an empty diagonal. options: the parameters of the method, where it is given by name.
    density: rho; None takes the network as dense, rho = 1; "estimate" takes the largest block for W = 1. Nodes stand in
    the order of their degrees, smallest first or, descending, largest first. The seed serves stochastic-blocks.

    >>> ring = torch.roll(torch.eye(12), 1, 0)
    >>> fit_graphon(ring + ring.T, bandwidth=4, smooth=False).graphon.values[0]
    (0.5, 0.0625, 0.0625)
    """
    networks = _networks(adjacency)
    if isinstance(method, str):
        if method not in Method.kinds:
            raise unknown("method", method, Method.kinds)
        method = build(Method.kinds[method], options, what=method)
    elif not isinstance(method, Method):
        raise refuse("method", type(method).__name__, f"one of {', '.join(sorted(Method.kinds))}")
    elif options:
        raise refuse(next(iter(options)), next(iter(options.values())), f"it inside {type(method).__name__}(...)")
    if not (density is None or density == "estimate" or (isinstance(density, int | float) and 0 < density <= 1)):
        raise refuse("density", density, "a number above 0 and at most 1, 'estimate', or None for a dense network")
    found = method.estimate(networks, seed)
    n, count = len(networks[0]), len(found.probabilities)
    probabilities, block = found.probabilities, found.block
    if descending:
        probabilities, block = probabilities.flip(0, 1), count - 1 - block
    rho, scale = _scale(density, probabilities)
    values = (probabilities + probabilities.mT) / (2 * rho)
    clipped = int(((values > 1 + 1e-9) | (values < -1e-9)).sum())
    widths = torch.bincount(block, minlength=count).double() / n
    cuts = (widths.cumsum(0)[:-1]).tolist()
    degree = _degrees(networks)
    by_degree = degree.argsort(descending=descending, stable=True)
    order = by_degree[block[by_degree].argsort(stable=True)]
    positions = torch.empty(n, dtype=torch.float64)
    positions[order] = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    graphon = BlockGraphon(tuple(map(tuple, values.clamp(0, 1).tolist())), tuple(cuts))
    return GraphonEstimate(graphon, order, positions, method.kind, n / count, rho, scale, clipped, found.note)


def smoothed(means: Tensor, weight: float) -> Tensor:
    """argmin_W weight TV(W) + |W - H|^2 / 2 over [k, k], with TV the sum of the lengths of the discrete gradient."""
    import cvxpy

    cp: Any = cvxpy  # its atoms are not in its types

    smooth = cp.Variable(tuple(means.shape))
    loss = cp.sum_squares(smooth - means.numpy()) / 2
    cp.Problem(cp.Minimize(weight * cp.tv(smooth) + loss)).solve(solver=cp.CLARABEL)
    values = torch.from_numpy(smooth.value)
    return ((values + values.mT) / 2).clamp(float(means.min()), float(means.max()))


def clustered(distance: Tensor, deltas: Tensor, order: Tensor) -> Tensor:
    """Greedy clusters for each Delta, labels[delta, n]: the first free node of the order takes all free ones within it.

    distance[n, n] is squared, deltas[delta] are not.
    """
    near = distance[order][:, order] <= deltas[:, None, None] ** 2
    labels = torch.full((len(deltas), len(order)), -1)
    rows = torch.arange(len(deltas))
    for cluster in range(len(order)):
        free = labels < 0
        if not bool(free.any()):
            break
        pivot = free.int().argmax(1)
        taken = near[rows, pivot] & free
        taken[rows, pivot] = free[rows, pivot]
        labels[taken] = cluster
    return torch.empty_like(labels).index_copy(1, order, labels)


def thresholded(mean: Tensor, networks: int = 1, margin: float = 0.05) -> tuple[Tensor, int, float]:
    """The singular values of mean[n, n] above (2 + margin) sqrt(n v), cut to [0, 1]; how many, and the threshold.

    v = max_i d_i (1 - d_i) / networks with d_i the mean of row i: no row's noise has a larger variance, whatever the
    weights in [0, 1] are (1/4 in the original, which this is at most).
    """
    n = len(mean)
    row = mean.sum(1) / max(n - 1, 1)
    threshold = (2 + margin) * math.sqrt(n * float((row * (1 - row)).max()) / networks)
    value, vector = torch.linalg.eigh(mean)
    kept = value.abs() >= threshold
    return ((vector * torch.where(kept, value, 0.0)) @ vector.mT).clamp(0, 1), int(kept.sum()), threshold


def _networks(adjacency: Any) -> list[Empirical]:
    """Each observed network, checked: square, symmetric, finite, in [0, 1], no self-loops."""
    from scipy.sparse import issparse

    if isinstance(adjacency, Empirical):
        return [adjacency]
    if isinstance(adjacency, Tensor):
        adjacency = adjacency.detach().cpu().numpy()
    several = isinstance(adjacency, list | tuple) and any(
        isinstance(part, Empirical) or issparse(part) or getattr(part, "ndim", 0) == 2 for part in adjacency
    )
    if not several and getattr(adjacency, "ndim", 2) != 3:
        return [Empirical(adjacency, "adjacency")]
    if not len(adjacency):
        raise refuse("adjacency", "no networks", "at least one")
    networks = [
        part if isinstance(part, Empirical) else Empirical(part, f"adjacency {i}") for i, part in enumerate(adjacency)
    ]
    sizes = [len(network) for network in networks]
    if len(set(sizes)) > 1:
        raise refuse("adjacency", f"networks of {sizes} nodes", "networks on the same nodes")
    return networks


def _degrees(networks: list[Empirical]) -> Tensor:
    """The mean weight between a node and another, [n]."""
    import numpy as np

    total = sum(np.asarray(network.adjacency.sum(0)).ravel() for network in networks)
    return torch.from_numpy(np.asarray(total)) / (len(networks) * max(len(networks[0]) - 1, 1))


def _consecutive(networks: list[Empirical], bandwidth: int) -> tuple[Tensor, int]:
    """The block[n] of each node when nodes in the order of their degrees fill nearly equal blocks, and their number."""
    n = len(networks[0])
    count = n // bandwidth
    rank = torch.empty(n, dtype=torch.long)
    rank[_degrees(networks).argsort(stable=True)] = torch.arange(n)
    return rank * count // n, count


def _mean(networks: list[Empirical]) -> Tensor:
    """The mean adjacency, dense, [n, n]."""
    total = sum(network.adjacency for network in networks)
    return torch.from_numpy(total.toarray()) / len(networks)


def _sums(networks: list[Empirical], block: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Between blocks, [k, k]: the sums of weights and of their squares, and the number of pairs; each once or twice."""
    import numpy as np
    from scipy import sparse

    n = len(block)
    member = sparse.csr_matrix((np.ones(n), (block.numpy(), np.arange(n))), shape=(count, n))
    total = sum(network.adjacency for network in networks)
    squares = sum(network.adjacency.multiply(network.adjacency) for network in networks)
    first, second = (torch.from_numpy((member @ part @ member.T).toarray()) for part in (total, squares))
    size = torch.bincount(block, minlength=count).double()
    return first, second, len(networks) * (torch.outer(size, size) - torch.diag(size))


def _block_means(networks: list[Empirical], block: Tensor, count: int) -> tuple[Tensor, float]:
    """The mean weight between blocks [k, k], and the root mean square of its noise.

    A block of one node has no pair of its own: there its mean with all the others stands in.
    """
    total, squares, pairs = _sums(networks, block, count)
    alone = pairs == 0
    fill = (total.sum(1) / pairs.sum(1).clamp(min=1))[:, None].expand_as(total)
    means = torch.where(alone, fill, total / pairs.clamp(min=1))
    variance = (squares / pairs.clamp(min=1) - means**2).clamp(min=0) / pairs.clamp(min=1)
    return means, float(variance[~alone].mean().sqrt())


def _distances(name: str, halves: list[Tensor]) -> Tensor:
    """Squared distances d_ij of nodes, [n, n], without the columns i and j."""
    n = len(halves[0])
    if name == "rows":
        one, other = halves
        product = one @ other
        own = product.diagonal()
        return (own[:, None] + own - product - product.mT - 2 * one * other) / max(n - 2, 1)
    mean = torch.stack(halves).mean(0)
    product = mean @ mean / n
    rows = []
    for i in range(n):  # n^3 numbers do not fit at once
        gap = (product[i] - product).abs()
        gap[:, i] = 0
        rows.append(gap.fill_diagonal_(0).amax(1))
    return torch.stack(rows)


def _quantiles(distance: Tensor) -> Tensor:
    """The Deltas that are tried, [20]."""
    upper = distance[tuple(torch.triu_indices(len(distance), len(distance), 1))].clamp(min=0).sqrt()
    few = upper[:: 1 + len(upper) // 1_000_000]
    return torch.quantile(few, torch.tensor(LEVELS, dtype=few.dtype))


def _left_out(name: str, halves: list[Tensor], order: Tensor, seed: int) -> Tensor:
    """The squared error at pairs of nodes left out, a tenth of them five times, for each quantile, [20].

    Left out is a pair in all networks: it counts as no edge, and all others for the more (Li, Levina and Zhu, "Network
    cross-validation by edge sampling", Biometrika 2020).
    """
    n = len(order)
    mean = torch.stack(halves).mean(0)
    fold = (10 * Stream(seed, FOLDS).uniform((n, n))).long().triu(1)
    fold = fold + fold.mT
    error = torch.zeros(len(LEVELS), dtype=mean.dtype)
    for f in range(1, 6):
        kept = (fold != f).double().fill_diagonal_(0)
        share = float(kept.sum()) / (n * (n - 1))
        distance = _distances(name, [half * kept / share for half in halves])
        for level, label in enumerate(clustered(distance, _quantiles(distance), order)):
            member = torch.nn.functional.one_hot(label, int(label.max()) + 1).double()
            pairs, total = member.mT @ kept @ member, member.mT @ (mean * kept) @ member
            guess = torch.where(pairs > 0, total / pairs.clamp(min=1), total.sum() / pairs.sum())
            error[level] += ((mean - guess[label][:, label])[fold == f] ** 2).sum()
    return error


def _by_degree(label: Tensor, degree: Tensor) -> Tensor:
    """Clusters renumbered by the mean degree of their nodes, smallest first."""
    size = torch.bincount(label).double()
    mean = torch.bincount(label, degree) / size
    return mean.argsort(stable=True).argsort()[label]


def _scale(density: float | str | None, probabilities: Tensor) -> tuple[float, str]:
    if density is None:
        return 1.0, "taken as dense, rho = 1: W is the probability of an edge"
    if density == "estimate":
        words = "rho estimated so that the largest block of W is 1: W is determined up to a factor, rho W is not"
        return float(probabilities.max()), words
    return float(density), "rho given: W is the probability of an edge over rho"


def _require_bandwidth(bandwidth: int | float | Tensor | None, default: int, n: int) -> int:
    h = default if bandwidth is None else int(bandwidth)
    if h > n:
        raise refuse("bandwidth", h, f"at most {n}, the number of nodes")
    if n // h > BLOCKS:
        raise refuse("bandwidth", h, f"at least {math.ceil(n / BLOCKS)}: {n} nodes make more than {BLOCKS} blocks")
    return h


def _require_dense(method: str, n: int) -> None:
    if n > NODES:
        raise refuse("adjacency", f"{n} nodes", f"at most {NODES} with {method}; sort-and-smooth takes large networks")
