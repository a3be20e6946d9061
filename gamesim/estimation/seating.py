"""Agents in their places, with the best graphon and response there: known, sorted, or found by label."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.estimation.counts import Counts
from gamesim.estimation.likelihood import log_likelihood
from gamesim.estimation.placement import find_labels, positions_of, shares
from gamesim.estimation.projection import Found, Problem, Sample, project_out
from gamesim.graphons import Graphon
from gamesim.randomness import Stream


@dataclass(frozen=True)
class Seated:
    """What was found where agents sit at positions[n], perhaps with labels[n]."""

    problem: Problem
    sample: Sample
    best: Found
    positions: Tensor
    labels: Tensor | None = None

    @property
    def own(self) -> Tensor:
        """The graphon's free numbers, [p]."""
        return self.best.free[0, : self.problem.shape.size]

    @property
    def likelihood(self) -> float:
        return float(log_likelihood(self.best.response, self.best.z, self.sample.counts))

    def graphon(self, scale: float) -> Graphon:
        return self.problem.shape.graphon(self.own, scale)

    def scale(self, mean: float) -> float:
        """What W must be multiplied by for a mean of W, from the gauge in which it is at most 1; refused above 1."""
        w, q = self.problem.shape.matrix(self.own, self.sample.x), self.problem.shape.widths(self.own, self.sample.q)
        here = float(q @ w @ q)
        if mean > here * (1 + 1e-6):
            words = f"at most {here:.3g}: somewhere the graphon of these data is {1 / here:.3g} times its mean"
            raise refuse("mean", mean, f"{words}, and at most 1")
        return mean / here


def seated(problem: Problem, counts: Counts, choices: Tensor, restarts: int, stream: Stream) -> Seated:
    """The likeliest of some choices[c, n] of positions."""
    shape = problem.shape.starts(restarts, stream)
    start = torch.cat([shape, problem.law.centre.expand(len(shape), -1)], -1)
    for x in choices:
        infinite = ~problem.shape.matrix(shape[0], x).isfinite()
        if bool(infinite.any()):
            worst = int(infinite.sum(-1).argmax())
            raise refuse(f"positions[{worst}]", float(x[worst]), f"one where {problem.shape} is finite")
    samples = [Sample(counts, x, shares(x)) for x in choices]
    tried = [Seated(problem, sample, project_out(problem, sample, start), sample.x) for sample in samples]
    return max(tried, key=lambda one: one.likelihood) if len(tried) > 1 else tried[0]


def labelled(problem: Problem, counts: Counts, restarts: int, stream: Stream) -> Seated:
    """The likeliest labels."""
    found = find_labels(problem, counts, restarts, stream)
    shape = found.problem.shape
    best = project_out(found.problem, found.sample, found.free)
    widths = shape.widths(best.free[0, : shape.size], found.sample.q)
    positions = positions_of(found.labels, widths.cumsum(0)[:-1])
    return Seated(found.problem, found.sample, best, positions, found.labels)
