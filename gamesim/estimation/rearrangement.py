"""How far apart two graphons are when only the names of the positions differ: the distance modulo rearrangement.

    d(W, W') = inf_phi ||W(phi(.), phi(.)) - W'||_2,    phi: [0, 1] -> [0, 1] preserving the length of sets

For step functions with values V, V' and widths w, w' this is a quadratic programme over couplings of the blocks,

    d^2 = min_pi sum_ijkl pi_ik pi_jl (V_ij - V'_kl)^2 = w'V^2 w + w''V'^2 w' - 2 max_pi <V pi V', pi>,

and a coupling is a rearrangement that splits blocks. Few blocks are taken as they are; any other graphon is sampled at
midpoints and the coupling kept a permutation: a quadratic assignment. Frank and Wolfe's method with an exact line
search (on permutations: the fast approximate quadratic assignment, FAQ) runs from several starts, among them the
alignment by degree; permutations are then improved by exchanges of pairs; where up to 8 blocks have the same widths
all their permutations are tried. What comes out is a rearrangement, hence an upper bound of d (of d between the
samples); the spectrum and the sorted degrees give a lower bound.

Lovasz, "Large networks and graph limits", AMS 2012, chapter 8; Vogelstein et al., "Fast approximate quadratic
programming for graph matching", PLoS ONE 2015; Hoffman and Wielandt, Duke Mathematical Journal 1953.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.graphons import Empirical, Graphon, quadrature
from gamesim.randomness import Stream

POINTS = 64
LARGEST = 512
FEW = 8  # blocks: 8! permutations are tried one by one
CELLS = 256  # pairs of blocks: up to here step graphons keep their own blocks


@dataclass(frozen=True)
class Rearrangement:
    """Two graphons laid over one another as well as was found."""

    distance: float
    """||W(phi, phi) - W'||_2 of the rearrangement found: an upper bound of d, or of d between the samples."""
    lower: float
    """No rearrangement does better than this; equal to the distance where the search is proved to be exact."""
    cut: tuple[float, float]
    """Bounds of the cut distance, inf_phi sup_{S, T} |int_{S x T} W(phi, phi) - W'|."""
    match: Tensor
    """phi at the midpoints of the second graphon, [points]: match[i] is the position of the first graphon that stands
    for position (i + 1/2) / points of the second, W(match[i], match[j]) ~ W'(x_i, x_j)."""


def rearrangement_distance(
    first: Any, second: Any, *, points: int | None = None, restarts: int = 16, seed: int = 0
) -> Rearrangement:
    """The distance of two graphons modulo rearrangement, and the rearrangement that attains it.

    A graphon, a function W(x, y) or a symmetric matrix of block values. points: how many midpoints are matched, and how
    many stand for a graphon without few blocks (64, or the next multiple that fits the blocks). restarts: random starts
    besides the others, drawn with the seed.
    """
    if points is not None and not 2 <= points <= LARGEST:
        raise refuse("points", points, f"a whole number from 2 to {LARGEST}")
    if restarts < 0:
        raise refuse("restarts", restarts, "a whole number of at least 0")
    graphons = [_graphon(first, "first"), _graphon(second, "second")]
    one, other = (_blocks(graphon) for graphon in graphons)
    points = points or _fitting(one, other)
    sampled = False
    if one is None or other is None or len(one[1]) * len(other[1]) > CELLS:
        sampled, one, other = True, _sampled(graphons[0], points, "first"), _sampled(graphons[1], points, "second")
    plan, proved = _couple_in_order(one, other, restarts, seed, whole=sampled)
    k, l = (plan > 0).nonzero(as_tuple=True)
    mass = plan[k, l]
    gap = one[0][k[:, None], k] - other[0][l[:, None], l]
    distance = float((mass @ gap**2 @ mass).clamp(min=0).sqrt())
    root = mass.sqrt()
    spread = float(torch.linalg.matrix_norm(root[:, None] * gap * root, 2))
    cut = min(spread, float(mass @ gap.abs() @ mass))
    lower, cut_lower = _lower_bounds(one, other)
    lower = distance if proved else min(lower, distance)
    x = quadrature("midpoint", points).positions
    return Rearrangement(distance, lower, (min(cut_lower, cut), cut), _carried(plan, one[1], other[1], x))


Blocks = tuple[Tensor, Tensor]
"""Values[k, k] and widths[k] of a step function."""


def _couple_in_order(one: Blocks, other: Blocks, restarts: int, seed: int, *, whole: bool) -> tuple[Tensor, bool]:
    """`_couple` of both sorted by degree, in a fixed order of the two: the names of blocks do not change the search."""
    orders = [(values @ widths).argsort(stable=True) for values, widths in (one, other)]
    first, second = ((v[k][:, k], w[k]) for (v, w), k in zip((one, other), orders, strict=True))
    if _key(first) > _key(second):
        plan, proved = _couple(second, first, restarts, seed, whole=whole)
        plan = plan.mT
    else:
        plan, proved = _couple(first, second, restarts, seed, whole=whole)
    named = torch.zeros_like(plan)
    named[orders[0][:, None], orders[1]] = torch.where(plan > 1e-13, plan, 0.0)
    return named, proved


def _couple(one: Blocks, other: Blocks, restarts: int, seed: int, *, whole: bool) -> tuple[Tensor, bool]:
    """The best coupling pi[k, l] found, of whole cells if asked, and whether none can be better."""
    (v, w), (v2, w2) = one, other
    stream = Stream(seed)
    independent = w[:, None] * w2
    ordered = _monotone(w, w2, (v @ w).argsort(stable=True), (v2 @ w2).argsort(stable=True))
    starts = [independent, ordered, (ordered + independent) / 2]
    starts += [(_transport(stream.normal(independent.shape), w, w2) + independent) / 2 for _ in range(restarts)]
    found = [_frank_wolfe(start, v, v2, w, w2, 20) for start in starts] + [ordered]
    proved, plans = False, torch.stack(found)
    even = _even(w, w2)
    if even:
        plans = torch.cat([plans[:0] if whole else plans, _exchanged(plans, v, v2)])
    if len(w) == len(w2) <= FEW and bool(((w.sort().values - w2.sort().values).abs() < 1e-12).all()):
        plans = torch.cat([plans, _best_permutation(v, v2, w, w2)[None]])
        proved = even and _convex(v, v2)
    best = plans[int(((v @ plans @ v2) * plans).sum((-2, -1)).argmax())]
    return best if whole or proved else _frank_wolfe(best, v, v2, w, w2, 100), proved


def _frank_wolfe(plan: Tensor, v: Tensor, v2: Tensor, w: Tensor, w2: Tensor, iterations: int) -> Tensor:
    """Uphill in <V pi V', pi>: towards the coupling that the gradient likes best, as far as pays."""
    for _ in range(iterations):
        gradient = v @ plan @ v2
        toward = _transport(-gradient, w, w2) - plan
        slope, bend = float((gradient * toward).sum()), float(((v @ toward @ v2) * toward).sum())
        if slope <= 1e-12:
            break
        plan = plan + (1.0 if bend >= 0 or slope >= -bend else slope / -bend) * toward
    return plan.clamp(min=0)


def _transport(cost: Tensor, w: Tensor, w2: Tensor) -> Tensor:
    """The coupling of widths w[k] and w2[l] of least cost[k, l]."""
    import numpy as np
    from scipy import sparse
    from scipy.optimize import linear_sum_assignment, linprog

    k, l = cost.shape
    if _even(w, w2):
        rows, columns = linear_sum_assignment(cost.numpy())
        plan = torch.zeros_like(cost)
        plan[torch.from_numpy(rows), torch.from_numpy(columns)] = w[0]
        return plan
    sums = sparse.vstack(
        [sparse.kron(sparse.eye(k), np.ones((1, l))), sparse.kron(np.ones((1, k)), sparse.eye(l))], format="csr"
    )[:-1]  # the last follows from the others
    solved = linprog(cost.flatten().numpy(), A_eq=sums, b_eq=torch.cat([w, w2[:-1]]).numpy(), method="highs")
    return torch.from_numpy(solved.x).reshape(k, l).clamp(min=0)


def _even(w: Tensor, w2: Tensor) -> bool:
    """Whether all blocks have the same width, up to rounding: then couplings are permutations and their mixtures."""
    return len(w) == len(w2) and bool(((torch.cat([w, w2]) - 1 / len(w)).abs() < 1e-12).all())


def _monotone(w: Tensor, w2: Tensor, order: Tensor, order2: Tensor) -> Tensor:
    """The coupling that lays blocks in one order over blocks in the other."""
    end, end2 = w[order].cumsum(0), w2[order2].cumsum(0)
    begin, begin2 = end - w[order], end2 - w2[order2]
    shared = (torch.minimum(end[:, None], end2) - torch.maximum(begin[:, None], begin2)).clamp(min=0)
    shared = torch.where(shared > 1e-14, shared, 0.0)
    plan = torch.zeros_like(shared)
    plan[order[:, None], order2] = shared
    return plan


def _best_permutation(v: Tensor, v2: Tensor, w: Tensor, w2: Tensor) -> Tensor:
    """The best of all couplings that lay whole blocks over blocks of the same width."""
    every = torch.tensor(list(permutations(range(len(w)))))
    every = every[((w[every] - w2).abs() < 1e-12).all(-1)]
    gap = (v[every[:, :, None], every[:, None, :]] - v2) ** 2
    best = every[int(torch.einsum("k,pkl,l->p", w2, gap, w2).argmin())]
    plan = torch.zeros(len(w), len(w), dtype=v.dtype)
    plan[best, torch.arange(len(w))] = w2
    return plan


def _convex(v: Tensor, v2: Tensor) -> bool:
    """Whether <V pi V', pi> is convex over couplings: then a permutation of equal blocks attains its maximum."""
    spectra = []
    for values in (v, v2):
        centred = values - values.mean(0) - values.mean(1, keepdim=True) + values.mean()
        spectra.append(torch.linalg.eigvalsh(centred))
    small = 1e-12
    return any(all(bool((sign * s >= -small).all()) for s in spectra) for sign in (1, -1))


def _exchanged(plans: Tensor, v: Tensor, v2: Tensor) -> Tensor:
    """Couplings of equal widths rounded to permutations, then the best exchange of two again and again: [r, k, k]."""
    from scipy.optimize import linear_sum_assignment

    many, n = len(plans), v.shape[-1]
    order = torch.stack(
        [torch.from_numpy(linear_sum_assignment(-plan.mT.numpy())[1]) for plan in plans]
    )  # of the first
    rows = torch.arange(many)
    diagonal2 = v2.diagonal()
    for _ in range(20 * n):
        laid = v[order[:, :, None], order[:, None, :]]
        cross = laid @ v2
        own, diagonal = cross.diagonal(dim1=-2, dim2=-1), laid.diagonal(dim1=-2, dim2=-1)
        all_others = cross + cross.mT - own[:, :, None] - own[:, None, :]
        at_i = (laid - diagonal[:, :, None]) * (diagonal2[:, None] - v2)
        at_j = (diagonal[:, None, :] - laid) * (v2 - diagonal2)
        both = (diagonal[:, None, :] - diagonal[:, :, None]) * (diagonal2[:, None] - diagonal2)
        gain = (2 * (all_others - at_i - at_j) + both).flatten(1)
        best, place = gain.max(1)
        better = best > 1e-10
        if not bool(better.any()):
            break
        i, j = place // n, place % n
        here, there = order[rows, i], order[rows, j]
        order[rows, i], order[rows, j] = torch.where(better, there, here), torch.where(better, here, there)
    laid_over = torch.zeros(many, n, n, dtype=v.dtype)
    laid_over[rows[:, None], order, torch.arange(n)] = 1 / n
    return laid_over


def _lower_bounds(one: Blocks, other: Blocks) -> tuple[float, float]:
    """What no rearrangement can beat, in L2 and in cut norm.

    L2: the sorted eigenvalues (Hoffman and Wielandt), and the sorted degrees, which are averages. Cut: half of the
    mean difference of the sorted degrees, and the difference of the means.
    """
    spectra = []
    for (values, widths), zeros in ((one, len(other[1])), (other, len(one[1]))):
        root = widths.sqrt()
        spectra.append(torch.cat([torch.linalg.eigvalsh(root[:, None] * values * root), torch.zeros(zeros).to(root)]))
    spectrum = float((spectra[0].sort().values - spectra[1].sort().values).norm())
    degree, degree2 = (values @ widths for values, widths in (one, other))
    plan = _monotone(one[1], other[1], degree.argsort(), degree2.argsort())
    gap = degree[:, None] - degree2
    means = abs(float((plan * gap).sum()))
    return max(spectrum, float((plan * gap**2).sum().sqrt())), max(means, float((plan * gap.abs()).sum()) / 2)


def _carried(plan: Tensor, w: Tensor, w2: Tensor, x: Tensor) -> Tensor:
    """phi(x): the share pi_kl of block l lies, in the order of k, over the share of block k in the order of l."""
    k, l = (plan.mT > 0).nonzero(as_tuple=True)[::-1]  # by l, then by k
    before, before2 = plan.cumsum(1) - plan, plan.cumsum(0) - plan
    start = ((w.cumsum(0) - w)[:, None] + before)[k, l]
    start2 = ((w2.cumsum(0) - w2) + before2)[k, l]
    cell = (torch.searchsorted(start2.contiguous(), x + 1e-12, right=True) - 1).clamp(min=0)
    return (start[cell] + x - start2[cell]).clamp(0, 1)


def _graphon(value: Any, field: str) -> Graphon:
    graphon = value if isinstance(value, Graphon) else Graphon.adopt(value, field)
    if graphon is None:
        raise refuse(field, type(value).__name__, "a graphon, a function W(x, y) or a symmetric matrix of block values")
    return graphon


def _blocks(graphon: Graphon) -> Blocks | None:
    if isinstance(graphon, Empirical) and len(graphon) > LARGEST:
        raise refuse("graph", f"{graphon}, {len(graphon)} nodes", f"at most {LARGEST}: take graph.averaged(blocks)")
    found = graphon.blocks()
    if found is None or found[0].dim() != 2:
        return None
    edges = torch.cat([torch.zeros(1, dtype=torch.float64), found[1].double(), torch.ones(1, dtype=torch.float64)])
    return found[0].double(), edges.diff()


def _sampled(graphon: Graphon, points: int, field: str) -> Blocks:
    grid = quadrature("midpoint", points)
    x = grid.positions
    values = graphon(x[:, None], x)
    if values.dim() != 2:
        raise refuse(field, list(values.shape), "one graphon, not a batch of them")
    if not bool(values.isfinite().all()) or float((values - values.mT).abs().max()) > 1e-9:
        raise refuse(field, str(graphon), "a finite W with W(x, y) = W(y, x)")
    return values, grid.weights


def _fitting(*steps: Blocks | None) -> int:
    """The first multiple, from 64 on, of a number of points that puts every cut of the blocks between two cells."""
    cuts = [float(c) for blocks in steps if blocks is not None for c in blocks[1].cumsum(0)[:-1]]
    near = [Fraction(c).limit_denominator(200) for c in cuts]
    common = math.lcm(*(f.denominator for f in near)) if near else 1
    if common > 4 * POINTS or any(abs(float(f) - c) > 1e-9 for f, c in zip(near, cuts, strict=True)):
        return POINTS
    return common * math.ceil(POINTS / common)


def _key(blocks: Blocks) -> list[float]:
    values, widths = blocks
    return [float(len(widths)), float(widths @ values @ widths), *values.flatten().tolist(), *widths.tolist()]
