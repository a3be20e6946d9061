"""Random games that are made to have a given equilibrium, to try certificates and theorems on.

Of a random game with rewards r, its laws of the next state and a policy pi, take Q_i(s, a) and V_i(s) and pay

    R_i(s, a) = r_i(s, a) - (Q_i(s, a_i) - V_i(s)) - gap_i(s, a_i)

with a gap of 0 where pi_i(a_i | s) > 0, and from margin to 2 margin elsewhere. Under pi the first correction has mean 0
and the second is not played, so that values stay V_i, and now every action that pi plays is worth V_i(s), and every
other one is worth less by its gap: nobody gains by a deviation, in any state. What pi is depends on the kind:

    strict       one action in every state: strict, and second-order stationary
    interior     all actions in every state
    partial      two actions in the first half of the states, one in the others
    duplicate    strict, save that in the first state the first player has a second action that is the first in all but
                 its name: pure, and not strict
    unvisited    strict in every state, but play under pi never comes to the last one; deviations may

The identity is that of Kakade and Langford, "Approximately optimal approximate reinforcement learning", ICML 2002: a
deviation gains what its actions are worth above V along its own visits.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, final

import torch
from torch import Tensor

from gamesim.envs.stochastic.families import MOTION, Chance, Garnet, Some
from gamesim.envs.stochastic.table import UpTo1, along
from gamesim.errors import refuse
from gamesim.games import Policy, Sparse, StochasticGame
from gamesim.parameters import Bounds

Gap = Annotated[float, Bounds("a number above 0", 0, low_open=True)]


@final
@dataclass(frozen=True, kw_only=True)
class Constructed(Garnet):
    """A random game with a known equilibrium of a known kind."""

    built: Literal["strict", "interior", "partial", "duplicate", "unvisited"] = "strict"
    """What the equilibrium is like."""
    player_count: Some = 2
    """Number of players."""
    margin: Gap = 0.1
    """What an action that is not played is worse by, at least."""
    discount: UpTo1 = 1.0
    """Weight of the next step."""
    stop: Chance = 0.5
    """Chance that the episode ends after a step, besides the discount."""

    def agree(self) -> None:
        super().agree()
        if self.built in ("partial", "unvisited") and self.state_count < 2:
            raise refuse("state_count", self.state_count, f"at least 2 for built={self.built}")
        if self.built in ("interior", "partial") and max(self.action_counts) < 2:
            raise refuse("action_count", list(self.action_counts), "an action more for somebody: there is no choice")
        if self.built == "duplicate" and self.action_counts[0] < 2:
            raise refuse("action_count", list(self.action_counts), "at least 2 for the first player")

    def opening(self) -> Tensor:
        if self.built != "unvisited":
            return super().opening()
        rho = torch.full((self.state_count,), 1 / (self.state_count - 1), dtype=torch.float64)
        rho[-1] = 0.0
        return rho

    @property
    def equilibrium(self) -> Policy:
        """pi, a policy [..., s, a] for each player."""
        return tuple(x.to(**self.like).expand(*self.batch, *x.shape[-2:]) for x in self._parts[0])

    @cached_property
    def _parts(self) -> tuple[Policy, list[Tensor], Policy]:
        """The policy, one action that it plays in each state [..., s], and the gaps [..., s, a]."""
        stream, policy, favourites, gaps = self.stream().at(MOTION - 1), list[Tensor](), list[Tensor](), list[Tensor]()
        for count in self.action_counts:
            u = (1 + self.draw(stream, self.state_count, count)) / 2
            favourite, actions = u.argmax(-1), torch.arange(count)
            steps = (actions - favourite[..., None]) % count
            if self.built == "interior":
                played = steps >= 0
            elif self.built == "partial":
                early = along(torch.arange(self.state_count) < (self.state_count + 1) // 2, 0, 2)
                played = steps <= early.long()
            else:
                played = steps == 0
            weight = torch.where(played, 0.2 + u, 0.0)
            policy.append(weight / weight.sum(-1, keepdim=True))
            favourites.append(favourite)
            gaps.append(torch.where(played, 0.0, self.margin * (3 + self.draw(stream, self.state_count, count)) / 2))
        return tuple(policy), favourites, tuple(gaps)

    def motion(self) -> Tensor | Sparse:
        law = super().motion()
        if isinstance(law, Sparse):
            law = Sparse(law.successors.clone(), law.probabilities)
        if self.built == "unvisited":
            law = self._kept_away(law)
        if self.built == "duplicate":
            if isinstance(law, Sparse):
                return Sparse(self._copied(law.successors, 1), self._copied(law.probabilities, 1))
            return self._copied(law, 1)
        return law

    def _kept_away(self, law: Tensor | Sparse) -> Tensor | Sparse:
        """What pi would lead to the last state leads to the first one instead."""
        n, last = len(self.action_counts), self.state_count - 1
        on_path = torch.ones(1, dtype=torch.bool)
        for i, (favourite, count) in enumerate(zip(self._parts[1], self.action_counts, strict=True)):
            own = favourite[..., None] == torch.arange(count)
            on_path = on_path & own.reshape(*own.shape[:-1], *[count if k == i else 1 for k in range(n)])
        on_path = on_path & (along(torch.arange(self.state_count), 0, 1 + n) != last)
        if isinstance(law, Sparse):
            off = on_path[..., None] & (law.successors == last)
            return Sparse(torch.where(off, 0, law.successors), law.probabilities)
        moved, law = torch.where(on_path, law[..., last], 0.0), law.clone()
        law[..., 0] += moved
        law[..., last] = torch.where(on_path, 0.0, law[..., last])
        return law

    def _copied(self, table: Tensor, behind: int) -> Tensor:
        """table[..., s, a1, ..., an, *behind] in which the action after the favourite is as the favourite is."""
        n, count = len(self.action_counts), self.action_counts[0]
        favourite = self._parts[1][0]
        second = (torch.arange(count) - favourite[..., None]) % count == 1
        copies = second & (along(torch.arange(self.state_count), 0, 2) == 0)
        source = torch.where(copies, favourite[..., None], torch.arange(count))
        extra = table.dim() - behind - n - source.dim() + 1  # the player's dimension of rewards
        source = source.reshape(*self.many, *[1] * extra, self.state_count, count, *[1] * (n - 1 + behind))
        return table.gather(-n - behind, source.expand(table.shape))

    def payments(self) -> Tensor:
        policy, _, gaps = self._parts
        n = len(self.action_counts)
        raw = self.draw(self.stream(), n, *self.places)
        game = StochasticGame(raw, self.motion(), self.opening(), self.discount, player_count=n)
        values, q = game.state_values(policy), game.values(policy)
        found = []
        for i, count in enumerate(self.action_counts):
            less = q[i] - values.select(-2, i)[..., None] + gaps[i]
            own = less.reshape(*less.shape[:-1], *[count if k == i else 1 for k in range(n)])
            found.append(raw.select(-2 - n, i) - own)
        rewards = torch.stack(found, -2 - n)
        return self._copied(rewards, 0) if self.built == "duplicate" else rewards
