"""Random games: seed s names one game, and `games` makes a batch of the games s, s + 1, ...

    random              u_i(a) independent, uniform on (-1, 1) or standard normal
    zero-sum            two players, u_2 = -u_1
    common-interest     u_i = phi, one draw for all players
    potential           u_i(a) = phi(a) + d_i(a_-i): what a deviation brings is what it adds to phi
    covariant           u(a) normal with variance 1 and correlation rho between players; rho = 1 is common interest and
                        rho = -1 / (n - 1), the least there is, sums to zero
    random-coordination u_i uniform on (0, 1) where all choose the same action, and on (-1, 0) elsewhere
    majority-voting     u_i(a) = U_i(winner), U uniform on (0, 1)

Where nothing else is said, numbers are independent of one another. The kinds are those of GAMUT (Nudelman, Wortman,
Shoham and Leyton-Brown, AAMAS 2004); potential games are of Monderer and Shapley, Games and Economic Behavior 14
(1996).
"""

import math
from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import Tensor

from gamesim.envs.matrix.table import Few, Law, SeededGame, profiles
from gamesim.errors import refuse
from gamesim.parameters import Bounds, NonNegative


@final
@dataclass(frozen=True, kw_only=True)
class RandomGame(SeededGame):
    """Every payoff drawn on its own."""

    player_count: Few = 2
    """Number of players."""
    law: Law = "uniform"
    """Of payoffs: uniform on (-1, 1), or standard normal."""

    def table(self) -> Tensor:
        return self.draw(self.stream(), self.player_count, *self.action_counts, law=self.law)


@final
@dataclass(frozen=True, kw_only=True)
class RandomZeroSum(SeededGame):
    """Two players, what one wins the other loses; of more players, `matrix/covariant` with rho = -1 / (n - 1)."""

    law: Law = "uniform"
    """Of the row player's payoffs: uniform on (-1, 1), or standard normal."""

    def table(self) -> Tensor:
        first = self.draw(self.stream(), *self.action_counts, law=self.law)
        return torch.stack([first, -first], -3)


@final
@dataclass(frozen=True, kw_only=True)
class CommonInterest(SeededGame):
    """All players have the same payoffs, and the best profile is an equilibrium."""

    player_count: Few = 2
    """Number of players."""
    law: Law = "uniform"
    """Of payoffs: uniform on (-1, 1), or standard normal."""

    def table(self) -> Tensor:
        n = self.player_count
        phi = self.draw(self.stream(), *self.action_counts, law=self.law).unsqueeze(-n - 1)
        return phi.expand(*phi.shape[: -n - 1], n, *self.action_counts)


@final
@dataclass(frozen=True, kw_only=True)
class RandomPotential(SeededGame):
    """An exact potential game: play that improves step by step ends in a pure equilibrium."""

    player_count: Few = 2
    """Number of players."""
    law: Law = "uniform"
    """Of phi and of d: uniform on (-1, 1), or standard normal."""
    externality: NonNegative = 1.0
    """Scale of d_i, what others' choices bring or cost whatever one does; 0 leaves a game of common interest."""

    def validate(self) -> None:
        if isinstance(self.externality, Tensor):
            raise refuse("externality", "a tensor", "one number; `games` makes a batch")

    @property
    def potential(self) -> Tensor:
        """phi[..., a1, ..., an]."""
        phi = self.draw(self.stream(), *self.action_counts, law=self.law)
        return phi.to(self.device, getattr(torch, self.dtype))

    def table(self) -> Tensor:
        stream, n = self.stream(), self.player_count
        phi = self.draw(stream, *self.action_counts, law=self.law)
        found = []
        for i in range(n):
            others = [1 if j == i else count for j, count in enumerate(self.action_counts)]
            found.append(phi + self.externality * self.draw(stream, *others, law=self.law))
        return torch.stack(found, -n - 1)


@final
@dataclass(frozen=True, kw_only=True)
class Covariant(SeededGame):
    """Normal payoffs with one correlation between any two players, from pure conflict to pure agreement."""

    player_count: Few = 2
    """Number of players, n."""
    rho: Annotated[float, Bounds("a number from -1 to 1", -1, 1)] = 0.5
    """The correlation; at least -1 / (n - 1)."""

    def validate(self) -> None:
        if self.rho * (self.player_count - 1) < -1 - 1e-12:  # room for the rounding of -1 / (n - 1)
            least = f"-1/{self.player_count - 1}"
            raise refuse("rho", self.rho, f"a number from {least} to 1 for {self.player_count} players")

    def table(self) -> Tensor:
        n = self.player_count
        z = self.draw(self.stream(), n, *self.action_counts, law="normal")
        mean = z.mean(-n - 1, keepdim=True)
        agreement = max(0.0, 1 + (n - 1) * self.rho)
        return math.sqrt(1 - self.rho) * (z - mean) + math.sqrt(agreement) * mean


@final
@dataclass(frozen=True, kw_only=True)
class RandomCoordination(SeededGame):
    """To choose the same is better for all than anything else, but they may differ on what."""

    player_count: Few = 2
    """Number of players."""

    def validate(self) -> None:
        if len(set(self.action_counts)) > 1:
            raise refuse("action_count", list(self.action_counts), "the same number for every player")

    def table(self) -> Tensor:
        u = (1 + self.draw(self.stream(), self.player_count, *self.action_counts)) / 2
        choice = profiles(self.action_counts)
        return torch.where((choice == choice[0]).all(0), u, u - 1)


@final
@dataclass(frozen=True, kw_only=True)
class MajorityVoting(SeededGame):
    """Everyone votes for a candidate; the one with most votes wins, of equals the first."""

    player_count: Few = 3
    """Number of voters; the actions are the candidates."""

    def validate(self) -> None:
        if len(set(self.action_counts)) > 1:
            raise refuse("action_count", list(self.action_counts), "the same number for every voter")

    def table(self) -> Tensor:
        candidates = self.action_counts[0]
        ballots = profiles(self.action_counts)
        winner = torch.zeros(self.action_counts, dtype=torch.long)
        most = (ballots == 0).sum(0)
        for candidate in range(1, candidates):
            votes = (ballots == candidate).sum(0)
            winner, most = torch.where(votes > most, candidate, winner), torch.maximum(most, votes)
        utility = (1 + self.draw(self.stream(), self.player_count, candidates)) / 2
        return utility[..., winner]
