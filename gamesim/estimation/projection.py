"""Variable projection: the graphon is sought, the response at each graphon is solved for.

    min_W  L(W),    L(W) = min_f  loss(f, z(W)),    z_h(n; W) = sum_j q_j W(x_n, x_j) mu_h(j)

mu_h(j) is the empirical law of the states of agent j over the episodes and q_j its share of the unit interval. At the
best f the slope of L is that of the loss with f held fixed (envelope theorem), so torch needs to know nothing of how f
was found. Starts, and resamples of the data, are the leading dimension.

Golub and Pereyra, Inverse Problems 19 (2003); the loss is that of Zhang, Tan, Wang and Yang, arXiv 2310.17531.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.estimation.counts import Counts
from gamesim.estimation.laws import Law, Places, Response, efficient_weights, log_likelihood, misfit
from gamesim.estimation.search import minimize
from gamesim.estimation.shapes import WIDE, Shape

KEPT = 3
"""Starts that are followed to their end, of those that are tried."""
ROUNDS = 2
"""Times that the weights are brought up to date."""


@dataclass(frozen=True)
class Sample:
    """Agents, or groups of them, at positions x[n] with shares q[..., n] of the unit interval, and what they did."""

    counts: Counts
    x: Tensor
    q: Tensor


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
    def names(self) -> tuple[str, ...]:
        """Of the natural parameters: the graphon's, then the law's."""
        return (*self.shape.names, *self.law.numbers_of(self.law.centre))

    def natural(self, free: Tensor, scale: float = 1.0) -> Tensor:
        """The parameters as people know them, of `scale` times the graphon: free[..., p] -> [..., q]."""
        own = self.shape.rescaled(self.shape.natural(free[..., : self.shape.size]), scale)
        law = self.law.numbers_of(free[..., self.shape.size :])
        return torch.cat([own, *(value[..., None] for value in law.values())], -1)

    def aggregate(self, free: Tensor, sample: Sample) -> Tensor:
        """z[..., h, n, s] of the graphon numbered free[..., p]."""
        w = self.shape.matrix(free[..., : self.shape.size], sample.x) * sample.q.unsqueeze(-2)
        if self.normalize:
            w = w / w.sum(-1, keepdim=True).clamp(min=1e-12)
        return w.unsqueeze(-3) @ sample.counts.flow

    def places(self, free: Tensor, sample: Sample) -> Places:
        return Places.of(sample.counts, self.aggregate(free, sample))

    def respond(self, free: Tensor, places: Places, weights: Tensor, before: Response | None = None) -> Response:
        """The best response of the law at these aggregates."""
        return self.law.fit(places, weights, free[..., self.shape.size :], before)

    def penalty(self, free: Tensor) -> Tensor:
        """Of the priors, [...]."""
        own = free[..., self.shape.size :]
        return self.shape.penalty(free[..., : self.shape.size]) + ((own - self.law.centre) ** 2).sum(-1) / (2 * WIDE**2)

    def objective(self, sample: Sample, weights: Tensor, before: Response | None = None) -> Callable[[Tensor], Tensor]:
        """free[b, p] -> minus the log-likelihood, the response projected out, [b]."""
        memory = [before]

        def loss(free: Tensor) -> Tensor:
            places = self.places(free, sample)
            if self.law.size:
                response = self.respond(free, places, weights)
            else:
                with torch.no_grad():
                    response = memory[0] = self.respond(free, places, weights, memory[0])
            return misfit(response, places, weights) + self.penalty(free)

        return loss


@dataclass(frozen=True)
class Found:
    """The end of a search: free[b, p], minus the log of the posterior[b], the response, its places and weights."""

    free: Tensor
    value: Tensor
    response: Response
    places: Places
    weights: Tensor
    converged: Tensor


def project_out(
    problem: Problem,
    sample: Sample,
    start: Tensor,
    *,
    rounds: int = ROUNDS,
    tolerance: float = 1e-3,
    inverse: Tensor | None = None,
    response: Response | None = None,
) -> Found:
    """The best graphon and response from each start[b, p]; several starts of one sample end as the best of them."""
    single = sample.counts.moves.dim() == 5
    free = _promising(problem, sample, start) if single else start
    for round in range(rounds + 1):
        with torch.no_grad():
            places = problem.places(free, sample)
            weights = efficient_weights(response, places)
        converged = torch.ones(len(free), dtype=torch.bool)
        if problem.size:
            found = minimize(problem.objective(sample, weights, response), free, tolerance=tolerance, inverse=inverse)
            free, converged = found.x, found.converged
            if single and round == 0 and len(free) > 1:
                least = int(found.value.nan_to_num(torch.inf).argmin())
                best = slice(least, least + 1)
                free, converged = free[best], converged[best]
                weights = weights[best] if len(weights) > 1 else weights
        with torch.no_grad():
            places = problem.places(free, sample)
            response = problem.respond(free, places, weights)
    assert response is not None
    with torch.no_grad():
        value = problem.penalty(free) - log_likelihood(response, places)
    return Found(free, value, response, places, weights, converged)


def _promising(problem: Problem, sample: Sample, start: Tensor) -> Tensor:
    """The few starts of least value."""
    if not problem.size or len(start) <= KEPT:
        return start
    with torch.no_grad():
        places = problem.places(start, sample)
        weights = efficient_weights(None, places)
        value = problem.objective(sample, weights)(start)
    return start[value.nan_to_num(torch.inf).argsort()[:KEPT]]
