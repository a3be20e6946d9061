"""Where agents sit when nobody says: sorted along a line, or put into blocks, by what they do.

*Sorting* serves graphons whose degree rises or falls along [0, 1]: agents are ordered by how they respond, the first
principal component of their frequencies, and agent number i gets the position (i - 1/2) / N. This is the permutation
that the paper minimises over, found without a search.

*Labels* serve blocks: alternate, from several starts at once,

    labels  <-  argmax_l  sum_h log P(what agent n did | s, a, z_h(l))         given graphon and response
    graphon and response  <-  variable projection on the moves added up by label

until no label changes. Rewards enter as Gaussian, with the variance that the fit leaves.

Zhang, Tan, Wang and Yang, arXiv 2310.17531 (unknown positions); Dempster, Laird and Rubin 1977, in its hard form.
"""

import warnings
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gamesim.estimation.blocks import Blocks, SizedBlocks
from gamesim.estimation.counts import Counts
from gamesim.estimation.likelihood import log_likelihoods
from gamesim.estimation.observed import Observed, least_squares
from gamesim.estimation.projection import KEPT, Problem, Sample
from gamesim.estimation.search import minimize
from gamesim.randomness import Stream

ROUNDS = 30
ROUGH = 0.1
"""Tolerance of the searches between two labellings."""
JITTER = 0.3
"""Noise that is added to the scores for another start, in units of their standard deviation."""


def shares(x: Tensor) -> Tensor:
    """How much of the unit interval is nearest to each position x[n]: weights that sum to one; 1 / n on a grid.

    >>> shares(torch.tensor([0.5, 0.1]))
    tensor([0.7000, 0.3000])
    """
    order = x.argsort(stable=True)
    at = x[order]
    edges = torch.cat([torch.zeros(1).to(x), (at[1:] + at[:-1]) / 2, torch.ones(1).to(x)])
    return torch.zeros_like(x).scatter(0, order, edges.diff())


def scores(counts: Counts, components: int = 1) -> Tensor:
    """How agents respond: the leading principal components of their frequencies, [n, c].

    A frequency is that of going to t from (s, a), over the whole episode, and the mean reward there; each is centred
    and divided by its standard error, so that what is rarely seen says little.
    """
    moves, visits = counts.moves.sum(0), counts.visits.sum(0)  # [n, s, a, t], [n, s, a]
    pooled = moves.sum(0) / visits.sum(0).clamp(min=1)[..., None]
    noise = (pooled * (1 - pooled)).clamp(min=1e-4)
    seen = visits.clamp(min=1)
    moved = (moves / seen[..., None] - pooled) * (seen[..., None] / noise).sqrt() * (visits > 0)[..., None]
    earned, squared = counts.earned.sum(0), counts.squared.sum(0)
    mean = earned.sum(0) / visits.sum(0).clamp(min=1)
    spread = squared.sum(0) / visits.sum(0).clamp(min=1) - mean**2
    scale = (spread + least_squares(visits.sum(0), squared.sum(0), counts.level) / visits.sum()).clamp(min=1e-300)
    paid = (earned / seen - mean) * (seen / scale).sqrt() * (visits > 0)
    table = torch.cat([moved.flatten(1), paid.flatten(1)], -1)
    left, value, _ = torch.linalg.svd(table - table.mean(0), full_matrices=False)
    leading: Tensor = (left * value)[:, :components]
    return leading


def sorted_positions(counts: Counts) -> Tensor:
    """Positions (i - 1/2) / N in the order of the scores, and in the reversed order: [2, n]."""
    rank = scores(counts)[:, 0].argsort(stable=True).argsort()
    up = (rank.double() + 0.5) / len(rank)
    return torch.stack([up, 1 - up])


def positions_of(labels: Tensor, cuts: Tensor) -> Tensor:
    """Positions of agents with labels[n], evenly within the blocks that begin at 0 and at cuts[l - 1]: [n]."""
    ends = torch.cat([torch.zeros(1), cuts, torch.ones(1)]).double()
    same = labels[:, None] == labels
    within = (same.tril().sum(-1) - 0.5) / same.sum(-1)
    return ends[labels] + within * ends.diff()[labels]


class Labelled(NamedTuple):
    """The best of the starts: the problem with as many blocks as were found, in the order of their degrees, their
    widths free; the sample added up by block; free[1, p]; labels[n]; and log-likelihoods[r] where starts ended."""

    problem: Problem
    sample: Sample
    free: Tensor
    labels: Tensor
    likelihoods: Tensor


def find_labels(problem: Problem, counts: Counts, restarts: int, generator: Stream) -> Labelled:
    """Labels of agents and the blocks' graphon, by alternating maximisation from several starts at once."""
    assert isinstance(problem.shape, Blocks)
    blocks = problem.shape.count
    free = _starts(problem, restarts, generator)
    labels = _first_labels(counts, blocks, restarts, generator)
    likelihood, inverse = torch.full((restarts,), -torch.inf, dtype=torch.float64), None
    for _ in range(ROUNDS):
        sample = grouped(counts, labels, blocks)
        seen = Observed.of(sample.counts)
        if problem.size:
            end = minimize(problem.objective(sample, seen), free, tolerance=ROUGH, inverse=inverse)
            free, inverse = end.x, end.inverse
        found = problem.at(free, sample, seen)
        each = log_likelihoods(found.response, found.z.unflatten(-2, (-1, blocks)), counts)  # [r, n, l]
        before, labels = labels, each.argmax(-1)
        likelihood = each.amax(-1).sum(-1)
        if bool((labels == before).all()):
            break
        kept = _different(labels, likelihood)
        free, labels, likelihood = free[kept], labels[kept], likelihood[kept]
        inverse = None if inverse is None else inverse[kept]
    best = int(likelihood.nan_to_num(-torch.inf).argmax())
    return _arranged(problem, counts, free[best : best + 1], labels[best], likelihood)


def grouped(counts: Counts, labels: Tensor, blocks: int) -> Sample:
    """The agents of each label as one, in blocks of equal width: labels[..., n]."""
    members = one_hot(labels, blocks).mT.double()  # [..., l, n]
    x = (torch.arange(blocks, dtype=torch.float64) + 0.5) / blocks
    return Sample(counts.grouped(members), x, members.mean(-1), members)


def _arranged(problem: Problem, counts: Counts, free: Tensor, labels: Tensor, likelihoods: Tensor) -> Labelled:
    """Blocks in the order of their degree, those without agents left out, their widths free."""
    assert isinstance(problem.shape, Blocks)
    own, rest = free[:, : problem.shape.size], free[:, problem.shape.size :]
    shape, own, labels = SizedBlocks.of(problem.shape, own, labels)
    sample = grouped(counts, labels, shape.count)
    edges = torch.cat([torch.zeros(1), shape.edges, torch.ones(1)])
    sample = replace(sample, x=(edges[1:] + edges[:-1]) / 2)
    return Labelled(replace(problem, shape=shape), sample, torch.cat([own, rest], -1), labels, likelihoods)


def _different(labels: Tensor, likelihood: Tensor) -> Tensor:
    """The few likeliest labels[r, n] that divide the agents differently, under whatever names: their numbers r."""
    best = dict[bytes, int]()
    for i in likelihood.nan_to_num(-torch.inf).argsort(descending=True, stable=True).tolist():
        first = (labels[i][:, None] == labels[i]).int().argmax(0)  # the first agent of the same label
        best.setdefault(first.numpy().tobytes(), i)
    return torch.tensor(list(best.values())[:KEPT])


def _starts(problem: Problem, restarts: int, generator: Stream) -> Tensor:
    own = problem.law.centre.expand(restarts, -1)
    return torch.cat([problem.shape.starts(restarts + 1, generator)[1:], own], -1)  # the even start is a saddle


def _first_labels(counts: Counts, blocks: int, restarts: int, generator: Stream) -> Tensor:
    """Equal parts by the first score, then k-means on the leading scores, with other noise at each start: [r, n]."""
    from scipy.cluster.vq import kmeans2

    agents = counts.moves.shape[-4]
    table = scores(counts, min(blocks, agents))
    rank = table[:, 0].argsort(stable=True).argsort()
    found = [rank * blocks // agents]
    spread = (table - table.mean(0)).square().mean(0).sqrt()
    noisy = table + JITTER * spread * generator.normal((restarts, *table.shape))
    seats = torch.linspace(0, agents - 1, blocks).long()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a start may leave a label without agents
        for start in noisy[1:]:
            first = start[start[:, 0].argsort(stable=True)][seats]
            _, labels = kmeans2(start.numpy(), first.numpy(), minit="matrix")
            found.append(torch.from_numpy(labels).long())
    return torch.stack(found)
