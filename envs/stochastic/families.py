"""Random stochastic games: seed s names one game, and `games` makes a batch of the games s, s + 1, ...

    random      R_i(s, a) independent, uniform on (-1, 1) or standard normal
    zero-sum    two players, R_2 = -R_1
    team        R_i = R, one draw for all players
    potential   a Markov potential game: V_i(pi_i', pi_-i) - V_i(pi) = Phi(pi_i', pi_-i) - Phi(pi) in every state

A state and joint action lead to `branching` different states (to all of them if left out) with a law uniform on the
simplex, times 1 - stop: the GARNET problems of Archibald, McKinnon and Thomas, "On the generation of Markov decision
processes", JORS 46 (1995), with a joint action. Play starts anywhere, with equal chances.

Potential games are made in two ways in which the identity can be proved. Phi(pi) is what a team is worth that is paid
phi(s, a) for each step.

    controlled        R_i(s, a) = phi(s, a) + F_i(s) - E[F_i(next state)]        next state 0 and F_i = 0 after the end
    not controlled    R_i(s, a) = phi(s, a) + d_i(s, a_-i)                       where P(t | s) is of the state alone

In the first, what F adds telescopes to F_i(s) from the first state on, whatever anybody plays: V_i = Phi + F_i. In the
second, nobody moves the states, so that V_i is a sum over visits that are given, of potential games. Shaping that
changes no policy is of Ng, Harada and Russell, ICML 1999, Markov potential games are of Leonardos, Overman, Panageas
and Piliouras, ICLR 2022, arXiv 2106.01969.
"""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, final

import torch
from torch import Tensor

from gamesim.envs.matrix.table import PAYOFFS, Drawn, Law, Sizes
from gamesim.envs.stochastic.table import UpTo1, WrittenGame
from gamesim.errors import refuse
from gamesim.games import Policy, Sparse, StochasticGame
from gamesim.games.transitions import as_law
from gamesim.parameters import Bounds
from gamesim.randomness import Stream

Some = Annotated[int, Bounds("a whole number from 1 to 20", 1, 20)]
Chance = Annotated[float, Bounds("a probability, between 0 and 1", 0, 1)]
Scale = Annotated[float, Bounds("a number of at least 0", 0)]
MOTION = PAYOFFS - 1
"""The iteration whose random numbers make the law of the next state."""


@dataclass(frozen=True, kw_only=True)
class Garnet(Drawn, WrittenGame):
    """Random laws of the next state; rewards are left to the families."""

    state_count: Sizes = 5
    """Number of states, S."""
    action_count: Sizes | tuple[Sizes, ...] = 2
    """Actions of every player, or a list with a number for each player."""
    branching: Sizes | None = None
    """How many states can follow a state and joint action; none: all."""
    discount: UpTo1 = 0.9
    """Weight of the next step; 1 where play stops by chance."""
    stop: Chance = 0.0
    """Chance that the episode ends after a step, besides the discount."""

    player_count = 2

    def agree(self) -> None:
        each = self.action_count
        if isinstance(each, tuple) and len(each) != self.player_count:
            raise refuse("action_count", list(each), f"{self.player_count} numbers, one for each player")
        if self.branching is not None and self.branching > self.state_count:
            raise refuse("branching", self.branching, f"at most {self.state_count}, the number of states")
        if self.discount == 1 and self.stop == 0:
            raise refuse("discount", self.discount, "a number below 1, or stop above 0: play has to end")

    @property
    def action_counts(self) -> tuple[int, ...]:
        each = self.action_count
        return each if isinstance(each, tuple) else (each,) * (self.player_count or 0)

    @property
    def successor_count(self) -> int:
        return self.branching or self.state_count

    @property
    def places(self) -> tuple[int, ...]:
        """(s, a1, ..., an)."""
        return (self.state_count, *self.action_counts)

    def motion(self) -> Tensor | Sparse:
        return self.follow(self.stream().at(MOTION), *self.places)

    def follow(self, stream: Stream, *shape: int) -> Tensor | Sparse:
        """A law of the next state for each place of a shape."""
        count = self.successor_count
        weight = -stream.uniform((*self.many, *shape, count)).log()
        law = (1 - self.stop) * weight / weight.sum(-1, keepdim=True)
        if count == self.state_count:
            return law
        return Sparse(distinct(stream.uniform((*self.many, *shape, count)), self.state_count), law)


@final
@dataclass(frozen=True, kw_only=True)
class RandomStochastic(Garnet):
    """Every reward drawn on its own."""

    player_count: Some = 2
    """Number of players."""
    rewards: Law = "uniform"
    """Uniform on (-1, 1), or standard normal."""

    def payments(self) -> Tensor:
        return self.draw(self.stream(), self.player_count, *self.places, law=self.rewards)


@final
@dataclass(frozen=True, kw_only=True)
class ZeroSumStochastic(Garnet):
    """Two players, what one wins the other loses."""

    rewards: Law = "uniform"
    """Of the first player's: uniform on (-1, 1), or standard normal."""

    def payments(self) -> Tensor:
        first = self.draw(self.stream(), *self.places, law=self.rewards)
        return torch.stack([first, -first], -4)


@dataclass(frozen=True, kw_only=True)
class Together(Garnet):
    """One reward phi that all players have a part in."""

    player_count: Some = 2
    """Number of players."""
    rewards: Law = "uniform"
    """Uniform on (-1, 1), or standard normal."""

    def common(self) -> Tensor:
        """phi[..., s, a1, ..., an]."""
        return self.draw(self.stream(), *self.places, law=self.rewards)

    def shared(self) -> Tensor:
        """phi for each player, [..., player, s, a1, ..., an]."""
        phi, n = self.common().unsqueeze(-2 - self.player_count), self.player_count
        return phi.expand(*phi.shape[: -2 - n], n, *self.places)

    @abstractmethod
    def payments(self) -> Tensor: ...


@final
@dataclass(frozen=True, kw_only=True)
class Team(Together):
    """All players are paid the same: the best joint policy is an equilibrium."""

    def payments(self) -> Tensor:
        return self.shared()


@final
@dataclass(frozen=True, kw_only=True)
class PotentialStochastic(Together):
    """A Markov potential game: what a player gains by another policy, it adds to one function of all policies."""

    controlled: bool = True
    """Whether actions move the state; if not, each state is a potential game of its own, visited as chance has it."""
    externality: Scale = 1.0
    """Scale of F_i or d_i, what makes players differ; 0 leaves a team."""

    def motion(self) -> Tensor | Sparse:
        if self.controlled:
            return super().motion()
        law = self.follow(self.stream().at(MOTION), self.state_count, *[1] * self.player_count)
        if isinstance(law, Sparse):
            return Sparse(self._spread(law.successors), self._spread(law.probabilities))
        return self._spread(law)

    def _spread(self, table: Tensor) -> Tensor:
        return table.expand(*self.many, *self.places, table.shape[-1])

    def payments(self) -> Tensor:
        return self.shared() + self.externality * (self._shaping() if self.controlled else self._others())

    def _shaping(self) -> Tensor:
        """F_i(s) - E[F_i(next state)], [..., player, s, a1, ..., an]."""
        n = self.player_count
        f = self.draw(self.stream().at(MOTION - 1), n, self.state_count)
        law = as_law(self.motion(), self.action_counts, self.discount)
        after = law.expect(f.movedim(-2, 0)).movedim(0, -3)
        return f.reshape(*f.shape, *[1] * n) - after.reshape(*after.shape[:-1], *self.action_counts)

    def _others(self) -> Tensor:
        """d_i(s, a_-i), [..., player, s, a1, ..., an]."""
        stream, n, counts = self.stream().at(MOTION - 1), self.player_count, self.action_counts
        found = []
        for i in range(n):
            others = [1 if j == i else count for j, count in enumerate(counts)]
            term = self.draw(stream, self.state_count, *others)
            found.append(term.expand(*self.many, *self.places))
        return torch.stack(found, -2 - n)

    @cached_property
    def team(self) -> StochasticGame:
        """The game in which everyone is paid phi: its value is the potential."""
        return StochasticGame(
            self._put(self.shared()), self.transition, self.initial, self.discount, player_count=self.player_count
        )

    def potential(self, policy: Policy) -> Tensor:
        """Phi(pi) from each state, [..., s]."""
        found: Tensor = self.team.state_values(policy)[..., 0, :]
        return found


def distinct(u: Tensor, states: int) -> Tensor:
    """Different states [..., k] by as many numbers on (0, 1), all sets as likely (Floyd's algorithm)."""
    count, chosen = u.shape[-1], torch.empty(*u.shape[:-1], 0, dtype=torch.long)
    for k in range(count):
        top = states - count + k
        pick = (u[..., k : k + 1] * (top + 1)).long().clamp(max=top)
        taken = (chosen == pick).any(-1, keepdim=True)
        chosen = torch.cat([chosen, torch.where(taken, top, pick)], -1)
    return chosen
