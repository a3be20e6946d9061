"""Where policies of a stochastic game stand: gains, advantages, visits, and the faces on which nothing is lost.

For a batch of games and policies at once, with Q_i, d and V_i of `gamesim.games.stochastic`:

    gains       max V_i - V_i in each state                             0 in every visited state: a Nash equilibrium
    losses      max_b Q_i(s, b) - Q_i(s, a)                             0: a best action
    visited     the states that play can reach from rho; no number decides it, so d(s) = 0 exactly elsewhere
    unit        the span of what joint actions are worth, R_i + P V_i - V_i over all (s, a): what tolerances are told in

The face of a Nash equilibrium lets each player mix its best actions in every visited state. Where none of those leaves
a choice, but some state is not visited, its rows are the face: they move no payoff.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.certificates.surplus import CLEAR, surplus
from gamesim.games import Policy, TabularGame
from gamesim.shapes import broadcast_shapes

ROUNDING = 64.0
"""In units of the format's precision, times the largest value: differences that are none."""
AT_ONCE = 20_000_000
"""Numbers written out at once."""


@dataclass(frozen=True, eq=False)
class Standing:
    """What is measured of policies; leading dimensions are a batch."""

    policy: Policy
    """[..., s, a], without what was dropped."""
    dropped: Tensor
    """The largest probability that was taken as 0, [...]."""
    values: Tensor
    """V[..., player, s]."""
    replies: Policy
    """A best response of each player, [..., s, a]."""
    gains: Tensor
    """[..., player, s]."""
    losses: Policy
    """[..., s, a] of each player."""
    visits: Tensor
    """d[..., s], 0 where play does not come."""
    visited: Tensor
    """[..., s]."""
    unit: Tensor
    """[..., player]."""
    small: Tensor
    """The difference of two actions' values that counts as none, [..., player]."""
    surplus: Tensor
    """Gains in units of what counts as none, [..., player, s]."""
    vague: Tensor
    """Whether values are so large that equal actions and others cannot be told apart, [..., player]."""

    def flat(self) -> "Standing":
        """With one dimension of a batch."""

        def flatten(x: Tensor, inner: int) -> Tensor:
            return x.reshape(-1, *x.shape[x.dim() - inner :])

        policy, replies, losses = (tuple(flatten(x, 2) for x in y) for y in (self.policy, self.replies, self.losses))
        values, gains = flatten(self.values, 2), flatten(self.gains, 2)
        visits, visited = flatten(self.visits, 1), flatten(self.visited, 1)
        unit, small, vague = (flatten(x, 1) for x in (self.unit, self.small, self.vague))
        known = visits, visited, unit, small, flatten(self.surplus, 2), vague
        return Standing(policy, flatten(self.dropped, 0), values, replies, gains, losses, *known)

    @property
    def faces(self) -> tuple[Tensor, ...]:
        """Whether an action belongs to the face, [..., s, a] of each player; False where there is no choice."""
        found = list[Tensor]()
        for i, loss in enumerate(self.losses):
            best = (loss <= self.small[..., i, None, None]) & self.visited[..., None]
            found.append(best & (best.sum(-1, keepdim=True) > 1))
        some = torch.stack([face.flatten(-2).any(-1) for face in found]).any(0)[..., None, None]
        idle = ~self.visited[..., None]
        return tuple(torch.where(some, face, idle & (face.shape[-1] > 1)) for face in found)


def stand(game: TabularGame, policy: Policy, tolerance: float) -> Standing:
    """Measure policies [..., s, a]; probabilities of at most the tolerance are dropped."""
    batch = broadcast_shapes(game.batch, *(x.shape[:-2] for x in policy))
    kept, dropped = list[Tensor](), list[Tensor]()
    for x in policy:
        x = x.expand(*batch, *x.shape[-2:])
        dropped.append(torch.where(x <= tolerance, x, 0.0).amax((-2, -1)))
        x = torch.where(x <= tolerance, 0.0, x)
        kept.append(x / x.sum(-1, keepdim=True))
    policy = tuple(kept)
    chain = game.chain(policy)
    visited = _reached(chain > 0, game.initial.expand(*batch, game.state_count) > 0)
    visits = torch.where(visited, game.occupancy(policy), 0.0)
    values = game.state_values(policy)
    worth = game.stage(values).flatten(-len(policy))
    apart = (worth - values[..., None]).flatten(-2)
    unit = apart.amax(-1) - apart.amin(-1)
    precision = torch.finfo(values.dtype).eps
    rounding = ROUNDING * precision * worth.abs().amax((-2, -1))
    small = tolerance * unit + rounding
    paid = game.reward.flatten(-1 - len(policy))
    span = paid.amax(-1) - paid.amin(-1)
    idle = (unit <= rounding) & ((span == 0) | (rounding <= CLEAR * tolerance * span))  # nothing is at stake
    alone = torch.tensor([x.shape[-1] == 1 for x in policy], device=unit.device)
    vague = (rounding > CLEAR * tolerance * unit) & ~idle & ~alone
    q = game.answers_to(policy, values)
    losses = tuple(x.amax(-1, keepdim=True) - x for x in q)
    replies, gains = game.best_responses(policy)[0], game.gains(policy)
    slight = small / game.stopping.flatten(-1 - len(policy)).amin(-1)[..., None]
    over = surplus(game, policy, losses, gains, small, slight)
    return Standing(
        policy, torch.stack(dropped).amax(0), values, replies, gains, losses, visits, visited, unit, small, over, vague
    )  # fmt: skip


def _reached(edges: Tensor, start: Tensor) -> Tensor:
    """The states that can be reached: edges[..., s, t], start[..., s] -> [..., s]."""
    found, ways = start, edges.to(torch.float32)
    while True:
        more = found | ((found[..., None, :].to(torch.float32) @ ways)[..., 0, :] > 0)
        if torch.equal(more, found):
            return found
        found = more


def slow(game: TabularGame, center: Policy, policy: Policy) -> Tensor:
    """<v(pi), pi - pi*>, the sum over players, for policies [..., s, a] around a centre pi*: [...]."""
    parts = []
    for v, x, y in zip(game.gradients(policy), policy, center, strict=True):
        parts.append(((v - v.mean(-1, keepdim=True)) * (x - y)).sum((-2, -1)))  # rows of x - y sum to 0
    return torch.stack(parts).sum(0)
