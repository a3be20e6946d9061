"""What an agent can expect of its neighbourhood, and its best answer to that, by dynamic programming on its own states.

In the continuum an agent at x feels z_h(x), and its values are the game's. Among finitely many agents it feels a random
G_h; against the averages over sampled aggregates,

    Pbar_h(t | s, a) = E[P_h(t | s, a, G_h)],    rbar_h(s, a) = E[r_h(s, a, G_h)],

Q_h = rbar_h + Pbar_h V_{h+1} gives the best policy of its own state and time, as far as what it feels next does not
depend on what it felt or did. That policy is one deviation among all, so what it gains is a lower bound.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, einsum

from gamesim.games import GraphonGame, Policy
from gamesim.simplex import entropy, soft_argmax, soft_maximum

NUMBERS = 20_000_000
"""Entries of P written out at once."""


def mean_field_values(game: GraphonGame, policy: Policy, positions: Tensor, temperature: float = 0.0) -> Tensor:
    """V_h(s) at x of the policy of the nearest grid position, in what the continuum makes x feel: [n, h + 1, s].

    The last is zero; the value of x is J(x) = E V_0(s_0).
    """
    here = positions.to(**game.like)
    z, (pi,) = game.felt(game.flow(policy), here), game.at(policy, here)
    found = game._values(z, pi, temperature).v
    return torch.cat([found, torch.zeros_like(found[:1])]).movedim(0, 1)


def mean_field_response(game: GraphonGame, policy: Policy, positions: Tensor, temperature: float = 0.0) -> Tensor:
    """The best answer at positions x[n] in the flow of a policy: [n, h, s, a]."""
    z = game.felt(game.flow(policy), positions)
    return soft_argmax(game._values(z, None, temperature).q, temperature).movedim(-3, -4)


class Averages(NamedTuple):
    """What agents can expect."""

    moves: Tensor
    """Pbar[w, q, h, s, a, t]."""
    gains: Tensor
    """rbar[w, q, h, s, a]."""

    def response(self, temperature: float = 0.0) -> Tensor:
        """The best answer to them, [w, q, h, s, a]."""
        value, found = torch.zeros_like(self.gains[:, :, 0, :, 0]), []
        for h in reversed(range(self.gains.shape[2])):
            q = self._values_of_actions(h, value)
            value = soft_maximum(q, temperature)
            found.append(soft_argmax(q, temperature))
        return torch.stack(found[::-1], 2)

    def values(self, policy: Tensor, temperature: float = 0.0) -> Tensor:
        """V of policy[w, q, h, s, a] in them, [w, q, h + 1, s]: the last is zero."""
        found = [torch.zeros_like(self.gains[:, :, 0, :, 0])]
        for h in reversed(range(self.gains.shape[2])):
            pi = policy[:, :, h]
            found.append((pi * self._values_of_actions(h, found[-1])).sum(-1) + temperature * entropy(pi))
        return torch.stack(found[::-1], 2)

    def _values_of_actions(self, h: int, value: Tensor) -> Tensor:
        return self.gains[:, :, h] + einsum("wqsat,wqt->wqsa", self.moves[:, :, h], value)


@dataclass
class Neighbourhood:
    """What agents felt so far, as sums."""

    game: GraphonGame
    count: int = 0
    moves: Tensor | float = 0.0
    gains: Tensor | float = 0.0

    def add(self, felt: Tensor) -> None:
        """More of it, felt[w, e, h, q, s]."""
        w, episodes, horizon, q, states = felt.shape
        actions = self.game.shape[-1]
        for some in felt.split(max(1, NUMBERS // (w * q * states * states * actions)), 1):
            moves, gains = [], []
            for h in range(horizon):
                z = some[:, :, h]
                shape = (*z.shape[:-1], states, actions)
                moves.append(_over_episodes(self.game.kernel(h, z).expand(*shape, states)))
                gains.append(_over_episodes(self.game.reward(h, z).expand(shape)))
            self.moves = self.moves + torch.stack(moves, 2)
            self.gains = self.gains + torch.stack(gains, 2)
        self.count += episodes

    @property
    def averages(self) -> Averages:
        """Its mean over episodes."""
        return Averages(torch.as_tensor(self.moves) / self.count, torch.as_tensor(self.gains) / self.count)


def _over_episodes(x: Tensor) -> Tensor:
    """The sum of x[w, e, ...] over e, quick where all are the same."""
    return x[:, 0] * x.shape[1] if x.stride(1) == 0 else x.sum(1)


def steadied(
    game: GraphonGame, felt: Tensor, stood: Tensor, policy: Tensor, value: Tensor, start: Tensor, temperature: float
) -> Tensor:
    """Returns[w, e, q] of agents with the same mean and much less noise, given any value[w, q, h + 1, s], 0 at the end.

        E V_0(s_0) + sum_h ( sum_a pi_h(a | s_h) [r_h + P_h V_{h+1}](s_h, a, G_h) + lam H(pi_h(. | s_h)) - V_h(s_h) )

    has the mean of the return, since P_h V_{h+1} is that of V_{h+1}(s_{h+1}): the sum telescopes. What is left of the
    noise is what the value of the averages does not foresee. felt[w, e, h, q, s] are aggregates, stood[w, e, h, q]
    states, start[w, q, s] the law of the first ones.
    """
    states, actions = policy.shape[-2:]
    total = (start * value[:, :, 0]).sum(-1)[:, None].expand(stood[:, :, 0].shape)
    for h in range(stood.shape[2]):
        z, own = felt[:, :, h], stood[:, :, h]
        pi = policy[:, :, h]
        then = value[:, None, :, h + 1].expand(z.shape)
        q = (game.reward(h, z) + game.expect(h, then, z)).expand(*z.shape[:-1], states, actions)
        foreseen = (pi[:, None] * q).sum(-1) + (temperature * entropy(pi) - value[:, :, h])[:, None]
        total = total + foreseen.gather(-1, own[..., None])[..., 0]
    return total
