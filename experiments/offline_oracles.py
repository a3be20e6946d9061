"""Exact oracles of offline pessimism for many agents: random problems, data, and what both methods make of them.

Each seed is a problem with its data; problems of a seed are the same for every number of agents.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.offline.confidence import Worst, gaussian_variation, uniform_radius, worst_model
from gamesim.offline.exact.counted import Crowd, Luck
from gamesim.offline.exact.linear_dynamics import Costs, fit, returns, rows
from gamesim.offline.exact.local_models import Fitted
from gamesim.offline.exact.pairs import Behaviour, Local, acting, features, forms, local_policies, worth
from gamesim.offline.exact.version_space import Projected, TabularClass, Visits, radius
from gamesim.randomness import Stream

DELTA, DISCOUNT = 0.05, 0.8
SPREAD = {"counts": 1.0, "linear": 2.0}
"""How far targets are taken to lie apart, in eps. In the first Vmax is 5."""
COSTS = Costs(effort=0.1, together=1.0, discount=DISCOUNT, sigma=0.3)
EVEN = torch.tensor([0.5, 0.5], dtype=torch.float64)
"""Half of the agents begin in each local state."""


@dataclass(frozen=True)
class Judged:
    """What one method did for one number of agents, [seed] each."""

    gap: Tensor
    """J(pi*) - J(pi_hat), pi* the best of the policies that are compared."""
    bound: Tensor
    """J(pi*) - the least value of pi*, which bounds the gap where that is below the truth."""
    holds: Tensor
    """Whether the least values of all policies are below the truth."""
    coverage: Tensor | None = None
    """Of pi* by the data, as the model-free method needs it."""

    @classmethod
    def of(cls, truth: Tensor, least: Tensor, coverage: Tensor | None = None) -> "Judged":
        """From J(pi) and least values, [seed, policy]."""
        best, which = truth.max(-1, keepdim=True)
        gap = best - truth.gather(-1, least.argmax(-1, keepdim=True))
        bound = best - least.gather(-1, which)
        holds = (least <= truth + 1e-9).all(-1)
        return cls(gap[:, 0], bound[:, 0], holds, None if coverage is None else coverage.gather(-1, which)[:, 0])


@dataclass(frozen=True)
class Counts:
    """Agents of two local states and two actions."""

    agents: int
    seeds: range
    luck: Luck = "shared"
    behaviour: Behaviour = "groups"

    @property
    def policies(self) -> Tensor:
        """[policy, z, u]."""
        return local_policies(2, 2, 3)

    @property
    def problem(self) -> Local:
        """One for each seed, [seed, 1, ...]: the second dimension is for policies."""
        drawn = Local.drawn((len(self.seeds),), 2, 2, self.luck, DISCOUNT, Stream(self.seeds))
        return Local(drawn.kernel[:, None], drawn.own[:, None], drawn.company[:, None], self.luck, DISCOUNT)

    def truth(self) -> Tensor:
        """J(pi)[seed, policy]."""
        return self.problem.returns(self.policies, EVEN, self.agents)

    def model_free(self, samples: int) -> Judged:
        problem, policies = self.problem, self.policies
        data = problem.sampled((len(self.seeds), 1), samples, self.agents, self.behaviour, self._data)
        shares, after = data.pairs / self.agents, data.after / self.agents
        phi = features(shares)
        ahead = acting(forms(4)[:, None], policies, self.agents)  # phi(t, pi) as forms, [d, policy, z, z']
        next_to = torch.einsum("spnd,spnz,spny->spdzy", phi, after, after) / samples
        about = Projected(
            phi.mT @ phi / samples,
            (phi * worth(problem.reward[:, None], shares)[..., None]).mean(-2),
            torch.einsum("sqdzy,epzy->spde", next_to, ahead),
            worth(ahead, EVEN).mT,
            DISCOUNT,
        )
        eps = radius(phi.shape[-1], samples, SPREAD["counts"], DELTA, len(policies))
        return Judged.of(self.truth(), about.least(eps).value, about.coverage)

    def model_based(self, samples: int) -> Judged:
        return Judged.of(self.truth(), self.worst(samples).value)

    def worst(self, samples: int) -> Worst:
        problem = self.problem
        fitted = Fitted.of(problem.sampled((len(self.seeds), 1), samples, self.agents, self.behaviour, self._data))
        zeta = uniform_radius(fitted.parameters, self.agents, samples, DELTA)
        return fitted.worst(problem, self.policies, EVEN, self.agents, zeta)

    def tables(self, samples: int) -> Judged:
        """The model-free method with all tables over multisets, a class that grows with the number of agents."""
        problem, crowd = self.problem, Crowd(self.agents, 2, 2)
        data = problem.sampled((len(self.seeds), 1), samples, self.agents, self.behaviour, self._data)
        (s, a), t = crowd.number(data.pairs), crowd.states.number(data.after)
        shape = (*crowd.possible.shape, crowd.states.count)
        flat = (s * shape[1] + a) * shape[2] + t
        counts = torch.zeros(*flat.shape[:-1], math.prod(shape), dtype=torch.float64)
        counts.scatter_add_(-1, flat, torch.ones_like(flat, dtype=torch.float64))
        paid = worth(problem.reward[:, :, None, None], crowd.plays.double() / self.agents)
        data_tables = Visits(counts.unflatten(-1, shape), torch.where(crowd.possible, paid, 0.0), DISCOUNT)
        functions = TabularClass(data_tables)
        policies = self.policies
        eps = radius(functions.dimension, samples, SPREAD["counts"], DELTA, len(policies))
        begun = torch.nn.functional.one_hot(crowd.states.number(EVEN * self.agents), shape[0]).double()
        found = functions.least(crowd.acting(policies[:, None]), begun, eps)
        return Judged.of(self.truth(), found.value)

    @property
    def _data(self) -> Stream:
        return Stream(self.seeds, iteration=self.agents)


@dataclass(frozen=True)
class LinearDynamics:
    """Agents on a line, s' = A s + B a + C mean(s) + N(0, sigma^2), steered by a = K s + L mean(s)."""

    agents: int
    seeds: range

    @property
    def policies(self) -> Tensor:
        """[K L], [policy, 1, 2]."""
        k, ell = torch.linspace(-0.8, 0, 5, dtype=torch.float64), torch.linspace(-0.6, 0, 5, dtype=torch.float64)
        return torch.cartesian_prod(k, ell)[:, None]

    @property
    def weights(self) -> Tensor:
        """[A B C], [seed, 1, 3]: stable under all policies."""
        low, width = torch.tensor([[0.5, 0.4, -0.3], [0.4, 0.4, 0.3]], dtype=torch.float64)
        drawn: Tensor = low + width * Stream(self.seeds).uniform((len(self.seeds), 3))
        return drawn[:, None]

    def returns(self, weights: Tensor) -> Tensor:
        """J[..., policy] of models [..., policy, 3]: agents begin around 1, with variance 1."""
        one = torch.ones(1, 1, dtype=torch.float64)
        return returns(weights[..., None, :], self.policies, one[0], one, self.agents, COSTS)

    def sampled(self, samples: int) -> tuple[Tensor, Tensor, Tensor]:
        """s, a, s'[seed, n, N]: how far agents are apart, and how they act, is drawn anew for every transition."""
        stream = Stream(self.seeds, iteration=self.agents)
        front = (len(self.seeds), samples)
        apart, gain, wild = stream.uniform((*front, 3))[..., None].unbind(-2)
        means = stream.normal((*front, 2))[..., None].unbind(-2)
        own = stream.normal((*front, 3, self.agents)).unbind(-2)
        s = means[0] + 1.5 * apart * own[0]
        a = means[1] - gain * s + wild * own[1]
        w = self.weights[..., None, :]
        after = w[..., 0] * s + w[..., 1] * a + w[..., 2] * s.mean(-1, keepdim=True) + COSTS.sigma * own[2]
        return s, a, after

    def model_free(self, samples: int) -> Judged:
        s, a, after = self.sampled(samples)
        phi = quadratics(s, a)
        reward = -(phi[..., 0] + COSTS.effort * phi[..., 2] + COSTS.together * phi[..., 3])
        after_phi = quadratics(after, after)[..., [0, 3, 6]]
        ahead = substituted(*self.policies[:, 0].unbind(-1))  # [policy, d, 3]
        begun = torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64)
        about = Projected(
            (phi.mT @ phi / samples)[:, None],
            (phi * reward[..., None]).mean(-2)[:, None],
            (phi.mT @ after_phi / samples)[:, None] @ ahead.mT,
            ahead @ begun,
            DISCOUNT,
        )
        eps = radius(phi.shape[-1], samples, SPREAD["linear"], DELTA, len(ahead))
        return Judged.of(self.returns(self.weights), about.least(eps).value, about.coverage)

    def fitted(self, samples: int) -> tuple[Tensor, Tensor]:
        """W by least squares [seed, 1, 3], and sum_i x_i x_i^T of every transition, [seed, n, 3, 3]."""
        s, a, after = self.sampled(samples)
        x = rows(s[..., None], a[..., None])
        return fit(x, after[..., None]), x.mT @ x

    def model_based(self, samples: int) -> Judged:
        return Judged.of(self.returns(self.weights), self.worst(samples).value)

    def worst(self, samples: int) -> Worst:
        centre, grams = self.fitted(samples)
        flat = grams.flatten(-2).mT  # [seed, 9, n]

        def distance(weights: Tensor) -> Tensor:
            off = weights - centre
            squared = (off[..., :, None] * off[..., None, :]).flatten(-2) @ flat
            return gaussian_variation(squared.clamp(min=0).sqrt(), COSTS.sigma).square().mean(-1)

        zeta = uniform_radius(3, self.agents, samples, DELTA)
        return worst_model(self.returns, distance, centre, grams.mean(-3)[:, None], zeta)

    def errors(self, samples: int) -> tuple[Tensor, Tensor]:
        """Root mean squares of |F_hat - F|_F over what least squares leaves, and of one agent's, [seed]."""
        centre, grams = self.fitted(samples)
        off = (centre - self.weights)[:, 0]
        squared = torch.einsum("si,snij,sj->s", off, grams, off) / samples
        expected = COSTS.sigma**2 * 3 / samples
        return (squared / expected).sqrt(), (squared / self.agents).sqrt()


def quadratics(s: Tensor, a: Tensor) -> Tensor:
    """mean s^2, mean s a, mean a^2, mean(s)^2, mean(s) mean(a), mean(a)^2 and 1, [..., 7] from [..., N]."""
    mean_s, mean_a = s.mean(-1), a.mean(-1)
    both = [(s * s).mean(-1), (s * a).mean(-1), (a * a).mean(-1)]
    return torch.stack([*both, mean_s**2, mean_s * mean_a, mean_a**2, torch.ones_like(mean_s)], -1)


def substituted(k: Tensor, ell: Tensor) -> Tensor:
    """The seven under a = K s + L mean(s), in mean s^2, mean(s)^2 and 1: [policy, 7, 3]."""
    zero, one, both = torch.zeros_like(k), torch.ones_like(k), k + ell
    table = [
        [one, zero, zero],
        [k, ell, zero],
        [k * k, both * both - k * k, zero],
        [zero, one, zero],
        [zero, both, zero],
        [zero, both * both, zero],
        [zero, zero, one],
    ]
    return torch.stack([torch.stack(row, -1) for row in table], -2)
