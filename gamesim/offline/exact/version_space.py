"""Version spaces: the functions that the data do not refute as values of a policy, and the most pessimistic of them.

    L(f', f, pi; D) = (1/n) sum_k (f'(s_k, a_k) - r_k - discount f(t_k, pi))^2,     f(t, pi) = E_{a ~ pi(. | t)} f(t, a)
    E(f, pi; D)     = L(f, f, pi; D) - min_{f' in F} L(f', f, pi; D)
    F(pi, eps)      = {f in F : E(f, pi; D) <= eps}

The second term of E takes away the variance of targets, which the first one has for every f. For linear F = {phi theta}
let G = mean phi phi^T, b = mean phi r, M = mean phi(s, a) phi(t, pi)^T, B = G - discount M and w = phi(S0, pi). The
inner minimum is a projection, and everything has a closed form:

    E(theta)                     = |B theta - b|^2 in the norm of G^-1
    min over F(pi, eps) of f(S0) = w^T B^-1 b - sqrt(eps) |B^-T w|_G
    argmin f(S0) + lambda E      = B^-1 (b - G B^-T w / 2 lambda)

Tables are the case of one indicator for each pair that was seen: G = diag nu, the inner minimum is the empirical
Bellman operator, and B^-T w over nu is d / nu, the visits of pi in the empirical model over those of the data. Nothing
bounds a pair without data but the least value there is, which is what the minimum takes there.

Xie, Cheng, Jiang, Mineiro and Agarwal, "Bellman-consistent pessimism for offline reinforcement learning", NeurIPS 2021,
arXiv 2106.06926; with transformers of permutation-invariant agents, Zhang et al., NeurIPS 2022, arXiv 2209.09845.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.offline.exact.tables import state_values, visits
from gamesim.shapes import broadcast_shapes


class Least(NamedTuple):
    """A most pessimistic function of a version space."""

    value: Tensor
    """f(S0, pi), [...]."""
    function: Tensor
    """f itself: a table [..., s, a], or theta[..., d]."""
    misfit: Tensor
    """E(f, pi), [...]."""


def radius(dimension: float | Tensor, samples: int, spread: float, delta: float, policies: int = 1) -> float | Tensor:
    """eps with which Q^pi is in F(pi, eps) for all of so many policies together with probability 1 - delta.

    Where F is linear and complete, E(Q^pi) is the square of the noise of n targets projected on F. Targets lie within
    `spread` of each other given (s, a), so the noise is subgaussian with sigma = spread / 2, and with
    l = log(policies / delta) (Hsu, Kakade and Zhang, "A tail inequality for quadratic forms of subgaussian random
    vectors", Electronic Communications in Probability 17, 2012)

        n E <= sigma^2 (d + 2 sqrt(d l) + 2 l)
    """
    if not 0 < delta < 1:
        raise refuse("delta", delta, "a probability between 0 and 1, ends excluded")
    log = math.log(policies / delta)
    return (spread / 2) ** 2 * (dimension + 2 * (dimension * log) ** 0.5 + 2 * log) / samples


@dataclass(frozen=True, eq=False)
class Projected:
    """What data say of one policy in a linear class; leading dimensions are a batch of data and policies."""

    gram: Tensor
    """G[..., d, d]."""
    paid: Tensor
    """b[..., d]."""
    follow: Tensor
    """M[..., d, d], of the policy."""
    start: Tensor
    """w[..., d] = phi(S0, pi)."""
    discount: float

    @cached_property
    def equation(self) -> Tensor:
        """B[..., d, d]."""
        return self.gram - self.discount * self.follow

    @cached_property
    def centre(self) -> Tensor:
        """theta with E = 0, [..., d]: least squares temporal differences (Bradtke and Barto, 1996)."""
        return _solve(self.equation, self.paid)

    @cached_property
    def reach(self) -> Tensor:
        """B^-T w[..., d]: what a residual costs at the start."""
        return _solve(self.equation.mT, self.start)

    @property
    def coverage(self) -> Tensor:
        """|(1 - discount) B^-T w|_G^2[...]: how far the data are from what the policy visits, 1 if they are that."""
        return (1 - self.discount) ** 2 * self._length.square()

    @cached_property
    def _length(self) -> Tensor:
        return _inner(self.reach, self._spread).clamp(min=0).sqrt()

    @cached_property
    def _spread(self) -> Tensor:
        """G B^-T w."""
        return (self.gram @ self.reach[..., None])[..., 0]

    def bellman_error(self, theta: Tensor) -> Tensor:
        """E(theta)[...]."""
        left = (self.equation @ theta[..., None])[..., 0] - self.paid
        return _inner(left, _solve(self.gram, left))

    def least(self, epsilon: float | Tensor) -> Least:
        """The minimum of f(S0, pi) over F(pi, epsilon)."""
        root = torch.as_tensor(epsilon, dtype=self.gram.dtype, device=self.gram.device).sqrt()
        value = _inner(self.start, self.centre) - root * self._length
        step = (root / self._length.clamp(min=torch.finfo(self.gram.dtype).tiny))[..., None] * self._spread
        return Least(value, self.centre - _solve(self.equation, step), root.square().expand(value.shape))

    def penalized(self, weight: float | Tensor) -> Least:
        """The f that minimises f(S0, pi) + weight E(f)."""
        weight = torch.as_tensor(weight, dtype=self.gram.dtype, device=self.gram.device)
        theta = self.centre - _solve(self.equation, self._spread / (2 * weight[..., None]))
        return Least(_inner(self.start, theta), theta, (self._length / (2 * weight)).square())


@dataclass(frozen=True, eq=False)
class Visits:
    """Data of a Markov decision process as tables: how often each (s, a, t) was seen, and what (s, a) pays."""

    counts: Tensor
    """[..., s, a, t]."""
    reward: Tensor
    """The mean of what was paid, [..., s, a]; any number where nothing was seen."""
    discount: float

    @cached_property
    def samples(self) -> Tensor:
        """n[...]."""
        return self.counts.sum((-3, -2, -1))

    @cached_property
    def seen(self) -> Tensor:
        """[..., s, a]."""
        return self.counts.sum(-1) > 0

    @cached_property
    def share(self) -> Tensor:
        """nu[..., s, a], the share of data at each pair."""
        return self.counts.sum(-1) / self.samples[..., None, None]

    @cached_property
    def law(self) -> Tensor:
        """The empirical law[..., s, a, t], zeros where nothing was seen."""
        return self.counts / self.counts.sum(-1, keepdim=True).clamp(min=1)

    def backed_up(self, f: Tensor, policy: Tensor) -> Tensor:
        """r + discount E f(t, pi)[..., s, a], by the empirical law."""
        return self.reward + self.discount * (self.law * (policy * f).sum(-1)[..., None, None, :]).sum(-1)

    def loss(self, other: Tensor, f: Tensor, policy: Tensor) -> Tensor:
        """L(other, f, pi) less the variance of targets within pairs, which no function changes: [...]."""
        return (self.share * (other - self.backed_up(f, policy)).square()).sum((-2, -1))


@dataclass(frozen=True, eq=False)
class TabularClass:
    """All tables with f >= `least` where nothing was seen."""

    data: Visits
    least_value: float = 0.0

    @property
    def dimension(self) -> Tensor:
        """How many pairs were seen, [...]."""
        return self.data.seen.sum((-2, -1)).to(self.data.counts.dtype)

    def bellman_error(self, f: Tensor, policy: Tensor) -> Tensor:
        """E(f, pi)[...] of f[..., s, a]: the inner minimum is the empirical Bellman operator."""
        return self.data.loss(f, f, policy)

    def least(self, policy: Tensor, initial: Tensor, epsilon: float | Tensor) -> Least:
        """The minimum of f(S0, pi) over F(pi, epsilon), for policy[..., s, a] and S0 ~ initial[..., s]."""
        met = self._met(policy, initial)
        length = (met / self._share * met).sum((-2, -1)).sqrt()
        root = torch.as_tensor(epsilon, dtype=met.dtype, device=met.device).sqrt()
        return self._moved(policy, initial, met, root / length.clamp(min=torch.finfo(met.dtype).tiny))

    def penalized(self, policy: Tensor, initial: Tensor, weight: float | Tensor) -> Least:
        """The f that minimises f(S0, pi) + weight E(f, pi)."""
        met = self._met(policy, initial)
        return self._moved(policy, initial, met, 1 / (2 * torch.as_tensor(weight, dtype=met.dtype, device=met.device)))

    @property
    def _share(self) -> Tensor:
        """nu, 1 where nothing was seen."""
        return torch.where(self.data.seen, self.data.share, 1.0)

    @property
    def _known(self) -> Tensor:
        """What pairs pay: the least value where nothing was seen, which is where visits end."""
        return torch.where(self.data.seen, self.data.reward, self.least_value)

    def _met(self, policy: Tensor, initial: Tensor) -> Tensor:
        """Visits of seen pairs in the empirical model, [..., s, a]."""
        return torch.where(self.data.seen, visits(policy, initial, self.data.law, self.data.discount), 0.0)

    def _moved(self, policy: Tensor, initial: Tensor, met: Tensor, step: Tensor) -> Least:
        """The function whose Bellman residual is -step d / nu, for step[...]."""
        residual = step[..., None, None] * met / self._share
        paid = self._known - residual
        values = state_values(policy, paid, self.data.law, self.data.discount)
        f = paid + self.data.discount * (self.data.law * values[..., None, None, :]).sum(-1)
        return Least((initial * values).sum(-1), f, (residual.square() * self._share).sum((-2, -1)))


@dataclass(frozen=True, eq=False)
class LinearClass:
    """f = phi theta with features phi[..., s, a, d]."""

    data: Visits
    features: Tensor

    @property
    def dimension(self) -> int:
        return self.features.shape[-1]

    def about(self, policy: Tensor, initial: Tensor) -> Projected:
        """What the data say of policy[..., s, a]."""
        phi, share = self.features, self.data.share
        weighted = share[..., None] * phi
        gram = torch.einsum("...sad,...sae->...de", weighted, phi)
        if bool((torch.linalg.matrix_rank(gram, hermitian=True) < phi.shape[-1]).any()):
            raise refuse("samples", int(self.data.samples.min()), f"data in which {phi.shape[-1]} features differ")
        paid = (weighted * self.data.reward[..., None]).sum((-3, -2))
        after = torch.einsum("...sad,...sat->...dt", weighted, self.data.law)
        ahead = torch.einsum("...sa,...sad->...sd", policy, phi)
        return Projected(gram, paid, after @ ahead, (initial[..., None] * ahead).sum(-2), self.data.discount)

    def bellman_error(self, theta: Tensor, policy: Tensor, initial: Tensor) -> Tensor:
        return self.about(policy, initial).bellman_error(theta)

    def least(self, policy: Tensor, initial: Tensor, epsilon: float | Tensor) -> Least:
        """The minimum over F(pi, epsilon); its function is a table [..., s, a]."""
        return self._as_table(self.about(policy, initial).least(epsilon))

    def penalized(self, policy: Tensor, initial: Tensor, weight: float | Tensor) -> Least:
        return self._as_table(self.about(policy, initial).penalized(weight))

    def _as_table(self, found: Least) -> Least:
        return found._replace(function=(self.features * found.function[..., None, None, :]).sum(-1))


@dataclass(frozen=True, eq=False)
class FiniteClass:
    """Finitely many tables, members[..., f, s, a]: everything by enumeration."""

    data: Visits
    members: Tensor

    def bellman_errors(self, policy: Tensor) -> Tensor:
        """E(f, pi)[..., f] of every member: L(f, f) less the smallest L(f', f) among members f'."""
        targets = self._of_each(policy)
        left = self.members[..., :, None, :, :] - targets[..., None, :, :, :]  # [..., f', f, s, a]
        losses = (self.data.share[..., None, None, :, :] * left.square()).sum((-2, -1))
        return losses.diagonal(dim1=-2, dim2=-1) - losses.amin(-2)

    def least(self, policy: Tensor, initial: Tensor, epsilon: float | Tensor) -> Least:
        """The minimum over F(pi, epsilon); infinite, with the first member, where no member is in it."""
        errors = self.bellman_errors(policy)
        inside = errors <= torch.as_tensor(epsilon)[..., None]
        begun = ((policy[..., None, :, :] * self.members).sum(-1) * initial[..., None, :]).sum(-1)
        value, which = torch.where(inside, begun, torch.inf).min(-1)
        members = self.members.expand(*which.shape, *self.members.shape[-3:])
        function = members.take_along_dim(which[..., None, None, None], -3)[..., 0, :, :]
        return Least(value, function, errors.take_along_dim(which[..., None], -1)[..., 0])

    def _of_each(self, policy: Tensor) -> Tensor:
        """Targets of every member, [..., f, s, a]."""
        values = (policy[..., None, :, :] * self.members).sum(-1)
        ahead = torch.einsum("...sat,...ft->...fsa", self.data.law, values)
        return self.data.reward[..., None, :, :] + self.data.discount * ahead


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    batch = broadcast_shapes(matrix.shape[:-2], right.shape[:-1])
    matrix, right = matrix.expand(*batch, *matrix.shape[-2:]), right.expand(*batch, right.shape[-1])
    found: Tensor = torch.linalg.solve(matrix, right[..., None])[..., 0]
    return found


def _inner(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(-1)
