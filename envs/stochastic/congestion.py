"""Facilities that are better the more come, until a crowd makes everybody keep a distance.

Each of N players chooses a facility k; n_k of them choose it. With weights w_k and a penalty c

    safe          R_i = w_k n_k           where i chooses k
    distancing    R_i = w_k n_k - c

The next state is distancing where more than N / 2 players are at one facility, and safe where at most N / 4 are at
each; otherwise the state remains. Leonardos, Overman, Panageas and Piliouras, "Global convergence of multi-agent policy
gradient in Markov potential games", ICLR 2022, arXiv 2106.01969, section 5, with N = 8, w = (1, 2, 4, 6), c = 100 and a
discount of 0.99. Each state is a congestion game, with Rosenthal's potential sum_k w_k n_k (n_k + 1) / 2; weights below
0 are delays that grow with the load. That each state has a potential does not make it one of the whole game by itself.
"""

from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import Tensor

from gamesim.envs.matrix.table import Few, profiles
from gamesim.envs.stochastic.table import Below1, WrittenGame, along
from gamesim.errors import refuse
from gamesim.parameters import Bounds, Real

Weight = Annotated[float, Bounds("a finite number")]
Share = Annotated[float, Bounds("a share above 0 and at most 1", 0, 1, low_open=True)]


@final
@dataclass(frozen=True, kw_only=True)
class DistancingCongestion(WrittenGame):
    """A facility is worth its weight for each who comes, and crowds are paid for afterwards."""

    player_count: Few = 4
    """Number of players, N."""
    weights: tuple[Weight, ...] = (1.0, 2.0, 4.0, 6.0)
    """What each facility pays for each player who is there, w_k."""
    penalty: Real = 100.0
    """What everyone pays in the state of distancing, c."""
    crowd: Share = 0.5
    """Distancing begins where more than this share of all are at one facility."""
    spread: Share = 0.25
    """It ends where no more than this share are at any."""
    discount: Below1 = 0.99
    """Weight of the next step."""

    state_count = 2
    states = ("safe", "distancing")

    def agree(self) -> None:
        if len(self.weights) < 1:
            raise refuse("weights", "an empty list", "a number for each facility")
        if self.spread > self.crowd:
            raise refuse("spread", self.spread, f"at most crowd, which is {self.crowd}")

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (len(self.weights),) * self.player_count

    @property
    def load(self) -> Tensor:
        """How many are at each facility, [facility, a1, ..., an]."""
        choices = profiles(self.action_counts)
        return torch.stack([(choices == k).sum(0) for k in range(len(self.weights))])

    def potential(self) -> Tensor:
        """Rosenthal's potential of the states' games, [a1, ..., an]; the penalty is everybody's whatever they do."""
        w = along(torch.tensor(self.weights, dtype=torch.float64), 0, 1 + self.player_count)
        return (w * self.load * (self.load + 1) / 2).sum(0)

    def payments(self) -> Tensor:
        n = self.player_count
        (penalty,) = self.lifted("penalty")
        choices = profiles(self.action_counts).long()
        w = torch.tensor(self.weights, dtype=torch.float64)
        paid = w[choices] * self.load.gather(0, choices)
        return paid.unsqueeze(1) - penalty * along(torch.tensor([0.0, 1.0]), 1, 2 + n)

    def motion(self) -> Tensor:
        n, fullest = self.player_count, self.load.amax(0)
        crowded = fullest > self.crowd * n + 1e-9  # 0.2 of 5 is 1
        apart = ~crowded & (fullest <= self.spread * n + 1e-9)
        distancing = torch.stack([crowded, ~apart]).double()
        return torch.stack([1 - distancing, distancing], -1)
