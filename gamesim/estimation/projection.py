"""Variable projection: the graphon is sought, the response at each graphon is solved for.

    min_W  L(W),    L(W) = min_f  loss(f, z(W)),    z_h(n; W) = sum_j q_j W(x_n, x_j) mu_h(j)

mu_h(j) is the empirical law of the states of agent j over the episodes and q_j its share of the unit interval. At the
best f the slope of L is that of the loss with f held fixed (envelope theorem), so torch needs to know nothing of how f
was found. Starts, and resamples of the data, are the leading dimension.

Golub and Pereyra, Inverse Problems 19 (2003); the loss is that of Zhang, Tan, Wang and Yang, arXiv 2310.17531.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gamesim.estimation.counts import Counts
from gamesim.estimation.laws import Law
from gamesim.estimation.observed import Observed
from gamesim.estimation.responses import Response
from gamesim.estimation.search import Function, Minimum, minimize
from gamesim.estimation.shapes import WIDE, Shape

KEPT = 3
"""Starts that are followed to their end, of those that are tried."""
AT_ONCE = 32
"""Starts that are looked at in one batch."""
ROUNDS = 3
"""Searches, each with the weights that the one before it asks for."""


@dataclass(frozen=True)
class Sample:
    """Agents, or groups of them, at positions x[n] with shares q[..., n] of the unit interval, and what they did."""

    counts: Counts
    x: Tensor
    q: Tensor
    members: Tensor | None = None
    """Of each group the agents, zeros and ones [..., group, agent]; None where every agent is for itself."""

    def again(self, counts: Counts) -> "Sample":
        """The same agents in other episodes: counts of single agents, resamples or folds in front."""
        return replace(self, counts=counts if self.members is None else counts.grouped(self.members))


@dataclass(frozen=True)
class Problem:
    """What is sought: a shape of the graphon and a law of the response, in one vector free[..., p]."""

    shape: Shape
    law: Law
    normalize: bool = False

    @property
    def size(self) -> int:
        return self.shape.size + self.law.size

    @property
    def moving(self) -> list[int]:
        """The numbers in which the data fit has a slope."""
        return [i for i in range(self.size) if i not in self.shape.jumping]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the natural parameters: the graphon's, then the law's."""
        return (*self.shape.names, *self.law.numbers_of(self.law.centre))

    def natural(self, free: Tensor, scale: float = 1.0) -> Tensor:
        """The parameters as people know them, of `scale` times the graphon: free[..., p] -> [..., q]."""
        own = self.shape.rescaled(self.shape.natural(free[..., : self.shape.size]), scale)
        law = self.law.numbers_of(free[..., self.shape.size :])
        return torch.cat([own, *(value[..., None] for value in law.values())], -1)

    def influence(self, free: Tensor, sample: Sample) -> Tensor:
        """What each agent adds to the aggregate of another, [..., n, n], under the graphon numbered free[..., p]."""
        own = free[..., : self.shape.size]
        w = self.shape.matrix(own, sample.x) * self.shape.widths(own, sample.q).unsqueeze(-2)
        return w / w.sum(-1, keepdim=True).clamp(min=1e-12) if self.normalize else w

    def aggregate(self, free: Tensor, sample: Sample) -> Tensor:
        """z[..., k, s] at the places k = (h, n)."""
        z: Tensor = self.influence(free, sample).unsqueeze(-3) @ sample.counts.flow
        return z.flatten(-3, -2)

    def variants(self, free: Tensor, x: Tensor) -> Tensor:
        """free[p] with what moves by jumps elsewhere, [v, p]."""
        shape = self.shape.variants(free[: self.shape.size], x)
        return torch.cat([shape, free[self.shape.size :].expand(len(shape), -1)], -1)

    def penalty(self, free: Tensor) -> Tensor:
        """Of the priors, [...]."""
        own = free[..., self.shape.size :] - self.law.centre
        return self.shape.penalty(free[..., : self.shape.size]) + own.square().sum(-1) / (2 * WIDE**2)

    def objective(self, sample: Sample, seen: Observed, before: Response | None = None) -> Function:
        """free[b, p] -> minus the log-posterior, the response projected out, [b]."""

        def loss(free: Tensor) -> Tensor:
            z = self.aggregate(free, sample)
            return self.law.fit(seen, z, free[..., self.shape.size :], before).misfit + self.penalty(free)

        return loss

    def at(self, free: Tensor, sample: Sample, seen: Observed, before: Response | None = None) -> "Found":
        """The best response, and how well it does, with the graphons numbered free[b, p]."""
        with torch.no_grad():
            z = self.aggregate(free, sample)
            response, misfit = self.law.fit(seen, z, free[..., self.shape.size :], before)
            return Found(free, misfit + self.penalty(free), z, seen, response)


@dataclass(frozen=True)
class Found:
    """Graphons free[b, p] with their value[b], the aggregates z[b, k, s], what was observed, and the best response."""

    free: Tensor
    value: Tensor
    z: Tensor
    seen: Observed
    response: Response
    converged: bool = True

    def weighed(self) -> Observed:
        """What was observed, with the weights that this response asks for."""
        with torch.no_grad():
            return self.seen.weighed(self.response.transition(0, self.z))


def project_out(problem: Problem, sample: Sample, start: Tensor) -> Found:
    """The best graphon and response of one sample, from several starts[b, p]; the result has b = 1.

    Starts that promise little are dropped at once, all but the best after the first search.
    """
    seen = Observed.of(sample.counts)
    with torch.no_grad():
        z = problem.aggregate(start[:1], sample)
        before = problem.law.fit(seen, z, start[:1, problem.shape.size :]).response  # for its features
    start = torch.cat([problem.variants(row, sample.x) for row in start])
    free = _least(problem.objective(sample, seen, before), start, KEPT if problem.moving else 1)
    converged, inverse = True, None
    for round in range(ROUNDS):
        objective = problem.objective(sample, seen, before)
        if round:
            free = _least(objective, problem.variants(free[0], sample.x), 1)
        if problem.moving:
            end = descend(problem, objective, free, inverse)
            best = int(end.value.nan_to_num(torch.inf).argmin())
            free, inverse, converged = end.x[best : best + 1], end.inverse[best], bool(end.converged[best])
        found = problem.at(free, sample, seen, before)
        seen = found.weighed()
    return replace(found, converged=converged)


def descend(problem: Problem, objective: Function, free: Tensor, inverse: Tensor | None = None, **how: Any) -> Minimum:
    """`minimize` over the numbers in which the objective has a slope; those that jump stay as they are."""
    end = minimize(fixing(problem, objective, free), free[:, problem.moving], inverse=inverse, **how)
    return end._replace(x=free.index_copy(1, torch.tensor(problem.moving), end.x))


def fixing(problem: Problem, objective: Function, free: Tensor) -> Function:
    """The objective as a function of the numbers in which it has a slope."""
    which = torch.tensor(problem.moving)
    return lambda moving: objective(free.index_copy(1, which, moving))


def _least(function: Function, x: Tensor, count: int) -> Tensor:
    """The few x[b, p] of least value."""
    if len(x) <= count:
        return x
    with torch.no_grad():
        value = torch.cat([function(some) for some in x.split(AT_ONCE)])
    return x[value.nan_to_num(torch.inf).argsort(stable=True)[:count]]
