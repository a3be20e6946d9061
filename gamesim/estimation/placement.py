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

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gamesim.estimation.counts import Counts
from gamesim.estimation.laws import FLOOR, LEAST, Places, Response, efficient_weights
from gamesim.estimation.projection import Problem, Sample
from gamesim.estimation.search import minimize
from gamesim.randomness import Stream
from gamesim.simplex import project

ROUNDS = 30


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
    scale = (spread + FLOOR * squared.sum() / visits.sum()).clamp(min=1e-300)
    paid = (earned / seen - mean) * (seen / scale).sqrt() * (visits > 0)
    table = torch.cat([moved.flatten(1), paid.flatten(1)], -1)
    left, value, _ = torch.linalg.svd(table - table.mean(0), full_matrices=False)
    leading: Tensor = (left * value)[:, :components]
    return leading


def sorted_positions(counts: Counts) -> Tensor:
    """Positions (i - 1/2) / N in the order of the scores, and in the reversed order: [2, n]."""
    rank = scores(counts)[:, 0].argsort().argsort()
    n = len(rank)
    up = (rank + 0.5) / n
    return torch.stack([up, 1 - up]).double()


class Labelled(NamedTuple):
    """The best of the starts: labels[n], the sample added up by label, free[1, p], and log-likelihoods[r] of all."""

    labels: Tensor
    sample: Sample
    free: Tensor
    likelihoods: Tensor


def find_labels(problem: Problem, counts: Counts, blocks: int, restarts: int, generator: Stream) -> Labelled:
    """Labels of agents and the blocks' graphon, by alternating maximisation from several starts at once."""
    free = _starts(problem, restarts, generator)
    labels = _first_labels(counts, blocks, len(free), generator)
    x = (torch.arange(blocks, dtype=torch.float64) + 0.5) / blocks

    def grouped(labels: Tensor) -> Sample:
        members = one_hot(labels, blocks).mT.double()  # [r, l, n]
        return Sample(counts.grouped(members), x, members.mean(-1))

    likelihood = torch.full((len(free),), -torch.inf, dtype=torch.float64)
    for round in range(ROUNDS):
        sample = grouped(labels)
        with torch.no_grad():
            places = problem.places(free, sample)
            weights = efficient_weights(None, places)
        free = minimize(problem.objective(sample, weights), free, iterations=50 if round == 0 else 10, tolerance=0.1).x
        with torch.no_grad():
            places = problem.places(free, sample)
            response = problem.respond(free, places, weights)
            each = _log_likelihood(response, places, counts, blocks)  # [r, n, l]
            before, labels = labels, each.argmax(-1)
            likelihood = each.amax(-1).sum(-1)
        if bool((labels == before).all()):
            break
    best = int(likelihood.nan_to_num(-torch.inf).argmax())
    labels = labels[best : best + 1]
    return Labelled(labels[0], grouped(labels), free[best : best + 1], likelihood)


def _starts(problem: Problem, restarts: int, generator: Stream) -> Tensor:
    own = problem.law.centre.expand(restarts, -1)
    return torch.cat([problem.shape.starts(restarts + 1, generator)[1:], own], -1)  # the even start is a saddle


def _first_labels(counts: Counts, blocks: int, restarts: int, generator: Stream) -> Tensor:
    """Equal parts by the first score, then k-means on the leading scores, with other noise at each start: [r, n]."""
    from scipy.cluster.vq import kmeans2

    agents = counts.moves.shape[-4]
    table = scores(counts, min(blocks, agents))
    rank = table[:, 0].argsort().argsort()
    found = [rank * blocks // agents]
    noisy = table + table.std(0) * 0.3 * generator.normal((restarts, *table.shape))
    for start in noisy[1:]:
        _, labels = kmeans2(start.numpy(), start[torch.linspace(0, agents - 1, blocks).long()].numpy(), minit="matrix")
        found.append(torch.from_numpy(labels).long())
    return torch.stack(found)


def _log_likelihood(response: Response, places: Places, counts: Counts, blocks: int) -> Tensor:
    """log P(agent n | label l), [r, n, l]."""
    horizon = len(counts.moves)
    P = project(response.transition(0, places.z)).clamp(min=LEAST)  # [r, hl, s, a, t]
    P = P.unflatten(1, (horizon, blocks)).log().flatten(3).movedim(2, 3)  # [r, h, sat, l]
    moves = counts.moves.flatten(2)  # [h, n, sat]
    found = (moves @ P).sum(1)
    r = response.reward(0, places.z).unflatten(1, (horizon, blocks)).flatten(3).movedim(2, 3)  # [r, h, sa, l]
    visits, earned = counts.visits.flatten(2), counts.earned.flatten(2)
    squared = counts.squared.sum((0, 2, 3))  # [n]
    missed = squared[:, None] + (visits @ r**2 - 2 * earned @ r).sum(1)  # [r, n, l]
    best = missed.amin(-1).sum(-1)
    spread = counts.squared.sum() - counts.earned.sum() ** 2 / counts.total
    noise = (best.clamp(min=0) + FLOOR * spread) / counts.total
    likelihood: Tensor = found - missed / (2 * noise.clamp(min=1e-300)[:, None, None])
    return likelihood
