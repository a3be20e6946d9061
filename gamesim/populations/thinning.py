"""Sparse networks in O(edges): candidates by a bound on each cell of the unit square, kept with probability p / bound.

Agents are sorted by position and cut into runs; runs A and B make a cell of |A| |B| pairs, on which the chance of an
edge, min(1, rho W), is at most the M of its corners if W is constant on blocks or monotone in each coordinate. Each
pair of a cell is a candidate with probability M, independently: lay all pairs on a line, each of length -log(1 - M),
let points fall on it at rate 1, and take the pairs that were hit. A candidate is kept with probability rho W / M.

The points are a Poisson process, so that gaps between them are exponential; Devroye, "Non-uniform random variate
generation", 1986, chapters VI and X (thinning); Batagelj and Brandes, Phys. Rev. E 71, 2005 (skipping over pairs).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.graphons import (
    CutoffPowerLaw,
    Exponential,
    Graphon,
    PowerLaw,
    RankedAttachment,
    UniformAttachment,
)
from gamesim.randomness import Stream

MONOTONE = (CutoffPowerLaw, Exponential, PowerLaw, RankedAttachment, UniformAttachment)
"""Graphons that are monotone in each coordinate; one of your own says so by a class attribute `monotone = True`."""
CERTAIN = 0.7
"""A bound above which all pairs of a cell are candidates: the line would be longer than there are pairs."""
RUNS = 128
"""Equal runs, refined towards both ends by halves, where power laws are steep."""


@dataclass(frozen=True)
class Cells:
    """The cells of a graphon at sorted agents."""

    order: Tensor
    """int64 [n]: the agents by position."""
    edges: Tensor
    """int64 [runs + 1]: where in that order a run begins."""
    one: Tensor
    """int64 [c]: the run of rows of a cell, one <= other."""
    other: Tensor
    """int64 [c]: its run of columns."""
    bound: Tensor
    """float64 [c]: M."""

    @property
    def pairs(self) -> Tensor:
        """int64 [c]: pairs of a cell; on the diagonal both orders and i = j are counted, and thrown away later."""
        size = self.edges.diff()
        return size[self.one] * size[self.other]

    @property
    def candidates(self) -> float:
        """The expected number of candidates, roughly."""
        return float((self.pairs * torch.where(self.bound > CERTAIN, 1.0, self.bound)).sum())


def cells_of(graphon: Graphon, x: Tensor, rho: float) -> Cells | None:
    """The cells of a graphon at positions x[n], or None where nothing bounds it on a cell."""
    blocks = graphon.blocks() if type(graphon).__name__ != "Empirical" else None
    if blocks is None and not (isinstance(graphon, MONOTONE) or getattr(graphon, "monotone", False)):
        return None
    n, order = len(x), torch.argsort(x, stable=True)
    at = x[order]
    equal = torch.arange(RUNS + 1) * n // RUNS
    halves = torch.tensor([2**i for i in range(math.ceil(math.log2(n)))], dtype=torch.int64)
    cuts = torch.zeros(0, dtype=torch.int64) if blocks is None else torch.searchsorted(at, blocks[1].to(at))
    edges = torch.cat([equal, halves, n - halves, cuts, torch.tensor([0, n])]).clamp(0, n).unique()
    one, other = torch.triu_indices(len(edges) - 1, len(edges) - 1).unbind(0)
    low, high = at[edges[:-1]], at[edges[1:] - 1]
    corners = [graphon(a[one], b[other]) for a in (low, high) for b in (low, high)]
    return Cells(order, edges, one, other, (rho * torch.stack(corners).amax(0)).clamp(0, 1))


def thinned(graphon: Graphon, x: Tensor, rho: float, stream: Stream) -> tuple[Tensor, Tensor]:
    """The pairs that are joined at positions x[n], each once: int64 [edges] twice."""
    cells = cells_of(graphon, x, rho)
    assert cells is not None, "ask cells_of() first"
    cell, pair = _candidates(cells, stream)
    size = cells.edges.diff()
    columns = size[cells.other[cell]]
    i = cells.edges[cells.one[cell]] + pair // columns
    j = cells.edges[cells.other[cell]] + pair % columns
    bound = torch.where(cells.bound > CERTAIN, 1.0, cells.bound)[cell]
    i, j, bound = (part[i < j] for part in (i, j, bound))  # on the diagonal each pair lies twice
    i, j = cells.order[i], cells.order[j]
    kept = stream.uniform((len(i),)) * bound < rho * graphon(x[i], x[j])
    return i[kept], j[kept]


def _candidates(cells: Cells, stream: Stream) -> tuple[Tensor, Tensor]:
    """The cell and the number within it of each candidate pair, int64 [candidates] each, in order."""
    pairs, certain = cells.pairs, cells.bound > CERTAIN
    length = torch.where(certain, 0.0, -torch.log1p(-cells.bound))
    ends = (pairs * length).cumsum(0)
    total = float(ends[-1])
    gaps = _gaps(total, stream)
    cell = torch.searchsorted(ends, gaps, right=True).clamp(max=len(ends) - 1)
    begins = ends - pairs * length
    pair = ((gaps - begins[cell]) / length[cell]).long().clamp(min=0)
    pair = torch.minimum(pair, pairs[cell] - 1)
    new = torch.ones_like(cell, dtype=torch.bool)
    new[1:] = (cell[1:] != cell[:-1]) | (pair[1:] != pair[:-1])  # a pair that was hit twice is one candidate
    everything = certain.nonzero()[:, 0]
    many = pairs[everything]
    before = torch.repeat_interleave(many.cumsum(0) - many, many)
    return (
        torch.cat([cell[new], torch.repeat_interleave(everything, many)]),
        torch.cat([pair[new], torch.arange(int(many.sum())) - before]),
    )


def _gaps(total: float, stream: Stream) -> Tensor:
    """The points of a Poisson process of rate 1 on [0, total), increasing."""
    parts, at = list[Tensor](), 0.0
    while at < total:
        left = total - at
        draw = stream.uniform((int(left + 6 * math.sqrt(left) + 16),))
        parts.append(at - torch.log(draw).cumsum(0))
        at = float(parts[-1][-1])
    points = torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)
    return points[points < total]
