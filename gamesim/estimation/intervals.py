"""How surely the named numbers are known: 95% intervals over episodes, the agents' places held fixed.

    curvature    value -+ 1.96 sqrt(J' H^-1 J),  H that of the log-posterior and J the slope of the natural numbers
    bootstrap    percentiles over resamples of the episodes, a batch of searches that begin at the estimate

The curvature takes every reward for an observation of its own. Where rewards depend on the aggregate it is far too
sure: what is uncertain then is the aggregate itself, which all agents share.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.data import AgentData
from gamesim.estimation.counts import CELLS, count
from gamesim.estimation.observed import Observed
from gamesim.estimation.projection import Found, Problem, Sample, descend, fixing
from gamesim.estimation.search import curvature, inverse_curvature
from gamesim.estimation.shapes import WIDE
from gamesim.randomness import Stream

PERCENTILES = (0.025, 0.975)
NORMAL = 1.96


@dataclass(frozen=True)
class Information:
    """What the data say of the named numbers: value[q], covariance[q, q], and the deviation[q] of the prior alone."""

    names: tuple[str, ...]
    value: Tensor
    covariance: Tensor
    before: Tensor

    @property
    def error(self) -> Tensor:
        """Standard errors, [q]; 0 for what the scale fixes or what moves by jumps."""
        return self.covariance.diagonal().clamp(min=0).sqrt()

    @property
    def interval(self) -> tuple[Tensor, Tensor]:
        """The ends of the 95% intervals, [q]."""
        return self.value - NORMAL * self.error, self.value + NORMAL * self.error

    @classmethod
    def of(cls, problem: Problem, sample: Sample, best: Found, scale: float = 1.0) -> "Information":
        """From the curvature at the estimate, of `scale` times the graphon."""
        value = problem.natural(best.free[0], scale)
        inverse = value.new_zeros(problem.size, problem.size)
        if problem.moving:
            objective = fixing(problem, problem.objective(sample, best.seen, best.response), best.free)
            hessian = curvature(objective, best.free[:, problem.moving])[0]
            at, vector = torch.linalg.eigh(hessian)  # where the graphon has a kink it may curve the wrong way
            moving = torch.tensor(problem.moving)
            inverse[moving[:, None], moving] = vector @ (vector.mT / at.abs().clamp(min=0.1 / WIDE**2)[:, None])
        slope = value.new_zeros(0, 0)
        if problem.names:
            slope = torch.autograd.functional.jacobian(lambda free: problem.natural(free, scale), best.free[0])
        before = slope.square().sum(-1).sqrt() * WIDE
        return cls(problem.names, value, slope @ inverse @ slope.mT, before)


def bootstrapped(
    data: AgentData, problem: Problem, sample: Sample, best: Found, scale: float, resamples: int, stream: Stream
) -> tuple[Tensor, Tensor]:
    """The ends of the 95% percentile intervals of the named numbers, [q], over resamples of the episodes."""
    if not problem.moving:
        value = problem.natural(best.free[0], scale)
        return value, value
    cells = data.horizon * data.agents * (data.state_count or 1) ** 2 * (data.action_count or 1)
    at_once = max(1, min(resamples, CELLS // 8 // cells))
    objective = fixing(problem, problem.objective(sample, best.seen, best.response), best.free)
    inverse = inverse_curvature(objective, best.free[:, problem.moving])[0]
    found = []
    for first in range(0, resamples, at_once):  # as many at once as memory allows
        many = min(at_once, resamples - first)
        drawn = (stream.uniform((many, data.episodes)) * data.episodes).long()
        weights = torch.zeros(many, data.episodes, dtype=torch.float64)
        weights.scatter_add_(1, drawn, torch.ones_like(weights))
        again = sample.again(count(data, weights))
        start = best.free.expand(many, -1)
        with torch.no_grad():
            law = best.response.transition(0, problem.aggregate(start, again))
        seen = Observed.of(again.counts).weighed(law)
        end = descend(problem, problem.objective(again, seen, best.response), start, inverse)
        found.append(problem.natural(end.x, scale))
    low, high = torch.cat(found).quantile(torch.tensor(PERCENTILES, dtype=torch.float64), 0)
    return low, high
