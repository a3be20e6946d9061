"""Values that are quadratic in who is where: a class of functions that every N shares, closed under Bellman operators.

Let m_x / N be the share of agents at x = (z, u). Where agents act alone by pi(u | z), move by p(t | x), and are paid
together r = (own luck or shared luck, `gamesim.offline.exact.counted`)

    r(S, A) = 1/2 sum_x (m_x / N) rho(x) + 1/2 sum_{z, z'} (c_z / N) (c_z' / N) G(z, z')

the functions f(S, A) = (m / N)^T Theta (m / N) are mapped into themselves by T^pi: with A = pi Theta pi^T over local
states and B = p Psi p^T over pairs,

    E[f(S', A') | S']   = (c / N)^T Psi (c / N),      Psi = A + (l_z + l_z') / 2N,   l_z = sum_u pi Theta_xx - A_zz
    E[g(S') | S, A], own luck     (m / N)^T (B + (l_x + l_y) / 2N) (m / N),          l_x = sum_t p(t | x) Psi_tt - B_xx
                     shared luck  (m / N)^T (B + diag l_x) (m / N)

So Q^pi is exact for any N by one small linear system, and F = {Theta symmetric} has X (X + 1) / 2 dimensions whatever N
is: realisable and complete. Numbers are between 0 and 1, rewards too.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from gamesim.offline.exact.counted import Luck
from gamesim.offline.exact.multisets import Multisets
from gamesim.randomness import Stream
from gamesim.shapes import broadcast_shapes

Behaviour = Literal["spread", "groups", "independent"]
GROUPS = 4


class Transitions(NamedTuple):
    """Data of a crowd, as counts."""

    pairs: Tensor
    """m_x before, [..., n, x]."""
    after: Tensor
    """c_t after, [..., n, t]."""
    draws: Tensor
    """How often luck took x to t, [..., x, t]: agents, or groups of them where luck is shared."""


@dataclass(frozen=True, eq=False)
class Local:
    """The tables of one agent, which are those of all: leading dimensions are a batch of problems."""

    kernel: Tensor
    """p(t | x)[..., x, t], pairs x = (z, u) with z before u."""
    own: Tensor
    """rho(x)[..., x]."""
    company: Tensor
    """G(z, z')[..., z, z'], symmetric."""
    luck: Luck
    discount: float

    @classmethod
    def drawn(
        cls, front: tuple[int, ...], states: int, actions: int, luck: Luck, discount: float, generator: Stream
    ) -> "Local":
        """Kernels uniform on the simplex, rewards uniform on [0, 1]."""
        exponential = -generator.uniform((*front, states * actions, states)).log()
        company = generator.uniform((*front, states, states))
        own = generator.uniform((*front, states * actions))
        return cls(exponential / exponential.sum(-1, keepdim=True), own, (company + company.mT) / 2, luck, discount)

    @property
    def states(self) -> int:
        return self.kernel.shape[-1]

    @property
    def reward(self) -> Tensor:
        """R[..., x, y] with r = (m / N)^T R (m / N)."""
        each = self.kernel.shape[-2] // self.states
        where = torch.arange(self.kernel.shape[-2], device=self.kernel.device) // each
        pair = self.company[..., where[:, None], where]
        return (self.own[..., :, None] + self.own[..., None, :]) / 4 + pair / 2

    def moving(self, form: Tensor, agents: int) -> Tensor:
        """Theta[..., x, y] with E[(c' / N)^T Psi (c' / N) | m] = (m / N)^T Theta (m / N), for Psi[..., t, t']."""
        mean = self.kernel @ form @ self.kernel.mT
        left = (self.kernel @ form.diagonal(dim1=-2, dim2=-1)[..., None])[..., 0] - mean.diagonal(dim1=-2, dim2=-1)
        if self.luck == "shared":
            return mean + torch.diag_embed(left)
        return mean + (left[..., :, None] + left[..., None, :]) / (2 * agents)

    def values(self, policy: Tensor, agents: int) -> Tensor:
        """Q^pi as Theta[..., x, y], for pi[..., z, u]; batches of problems and of policies broadcast."""
        size = self.kernel.shape[-2]
        basis = torch.eye(size * size, dtype=self.kernel.dtype, device=self.kernel.device).reshape(-1, size, size)
        batch = broadcast_shapes(self.kernel.shape[:-2], policy.shape[:-2])
        basis = basis.reshape(size * size, *[1] * len(batch), size, size)
        mapped = self.moving(acting(basis, policy, agents), agents).expand(size * size, *batch, size, size)
        matrix = torch.eye(size * size, dtype=mapped.dtype, device=mapped.device)
        matrix = matrix - self.discount * mapped.movedim(0, -1).flatten(-3, -2)
        right = self.reward.flatten(-2).expand(*batch, size * size)
        found: Tensor = torch.linalg.solve(matrix, right[..., None]).reshape(*batch, size, size)
        return found

    def returns(self, policy: Tensor, start: Tensor, agents: int) -> Tensor:
        """J(pi)[...] from the shares start[..., z] of agents in each local state."""
        return worth(acting(self.values(policy, agents), policy, agents), start)

    def sampled(
        self, front: tuple[int, ...], count: int, agents: int, behaviour: Behaviour, generator: Stream
    ) -> Transitions:
        """So many transitions for each of `front`: (S, A) ~ nu, S' ~ P. `front` begins with the seeds of the stream.

        spread:      all multisets of pairs are alike (shares of agents are uniform on the simplex where N is large)
        groups:      agents come in four groups of one size, each at a pair of its own: the law of shares is that for
                     every N that four divides
        independent: every agent's pair is uniform, whatever the others': shares are near their mean where N is large
        """
        pairs, states = self.kernel.shape[-2:]
        if behaviour == "spread":
            shares = -generator.uniform((*front, count, pairs)).log()
            below = (shares / shares.sum(-1, keepdim=True)).cumsum(-1)[..., :-1]
            who = torch.searchsorted(below.contiguous(), generator.uniform((*front, count, agents)), right=True)
        else:
            own = GROUPS if behaviour == "groups" else agents
            at = (pairs * generator.uniform((*front, count, own))).long()
            who = at[..., torch.arange(agents) * own // agents].contiguous()
        m = torch.zeros(*front, count, pairs, dtype=self.kernel.dtype)
        m.scatter_add_(-1, who, torch.ones_like(who, dtype=m.dtype))
        edges = self.kernel.cumsum(-1)[..., :-1].expand(*front, pairs, states - 1)
        luck = generator.uniform((*front, count, agents if self.luck == "own" else pairs))
        if self.luck == "own":
            levels = edges[..., None, :, :].expand(*front, count, pairs, states - 1)
            to = (levels.take_along_dim(who[..., None], -2) <= luck[..., None]).sum(-1)
            after = torch.zeros(*front, count, states, dtype=m.dtype)
            after.scatter_add_(-1, to, torch.ones_like(to, dtype=m.dtype))
            draws = torch.zeros(*front, pairs * states, dtype=m.dtype)
            flat = (who * states + to).flatten(-2)
            draws.scatter_add_(-1, flat, torch.ones_like(flat, dtype=m.dtype))
            return Transitions(m, after, draws.unflatten(-1, (pairs, states)))
        to = torch.nn.functional.one_hot((edges[..., None, :, :] <= luck[..., None]).sum(-1), states).to(m.dtype)
        after = (m[..., None] * to).sum(-2)
        return Transitions(m, after, (to * (m > 0)[..., None]).sum(-3))


def acting(form: Tensor, policy: Tensor, agents: int) -> Tensor:
    """Psi[..., z, z'] with E[(m / N)^T Theta (m / N) | c] = (c / N)^T Psi (c / N); Theta[..., x, y], pi[..., z, u]."""
    z, u = policy.shape[-2:]
    blocks = form.reshape(*form.shape[:-2], z, u, z, u)
    mean = torch.einsum("...au,...aubv,...bv->...ab", policy, blocks, policy)
    own = form.diagonal(dim1=-2, dim2=-1).reshape(*form.shape[:-2], z, u)
    left = (policy * own).sum(-1) - mean.diagonal(dim1=-2, dim2=-1)
    return mean + (left[..., :, None] + left[..., None, :]) / (2 * agents)


def worth(form: Tensor, shares: Tensor) -> Tensor:
    """shares^T form shares, [...]."""
    return (shares * (form @ shares[..., None])[..., 0]).sum(-1)


def features(shares: Tensor) -> Tensor:
    """phi[..., d], the products of shares[..., x], each once: f = phi . theta."""
    i, j = torch.triu_indices(shares.shape[-1], shares.shape[-1])
    return shares[..., i] * shares[..., j]


def forms(pairs: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Theta[d, x, y] of each feature."""
    i, j = torch.triu_indices(pairs, pairs)
    found = torch.zeros(len(i), pairs, pairs, dtype=dtype)
    which = torch.arange(len(i))
    found[which, i, j] += 0.5
    found[which, j, i] += 0.5
    return found


def local_policies(states: int, actions: int, levels: int) -> Tensor:
    """All pi(u | z) whose probabilities are multiples of 1 / (levels - 1), [policy, z, u]."""
    rows = Multisets(levels - 1, actions).table.double() / (levels - 1)
    return rows[torch.cartesian_prod(*[torch.arange(len(rows))] * states).reshape(-1, states)]
