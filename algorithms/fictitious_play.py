"""Fictitious play: everyone answers the average play so far, and the average absorbs the answer.

Brown, "Iterative solution of games by fictitious play", 1951, for games played once, and Perrin et al., "Fictitious
play for mean field games: continuous time analysis and applications", NeurIPS 2020:

    pi^   = best response to the average           (softmax(Q*/lam) with a temperature: stochastic fictitious play)
    rho'  = (1 - alpha_t) rho + alpha_t rho(pi^)   occupancy [h, k, s, a] or [a];  alpha_t = 1 / (t + 2)
    pi'   = rho' / sum_a rho'                      uniform where nobody has been

In a mean field the occupancy of the answer is rho(pi^) = mu(pi^) pi^, and its flow mu moves in its own aggregates
(`self-consistent`) or in those of the average (`frozen`); of a game played once it is the answer itself.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gamesim.games import OccupancyGame, Policy
from gamesim.parameters import Temperature, check
from gamesim.randomness import Stream
from gamesim.schedules import Power, Share


@dataclass(frozen=True)
class Average:
    """The average occupancy of each player or population, [..., a]."""

    occupancy: tuple[Tensor, ...]

    @cached_property
    def policy(self) -> Policy:
        return tuple(map(_shares, self.occupancy))


def _shares(occupancy: Tensor) -> Tensor:
    mass = occupancy.sum(-1, keepdim=True)
    return torch.where(mass <= 0, 1 / occupancy.shape[-1], occupancy / mass)  # what is no number stays none


@dataclass(frozen=True)
class FictitiousPlay:
    """Best responses to the average so far."""

    averaging: Share = Power(1.0, 1.0, 2.0)
    """alpha: weight of the newest answer; power(1, 1, 2) is the plain average."""
    temperature: Temperature = 0.0
    """lam: weight of the entropy; above 0 the answers are smooth."""
    averaging_variant: Literal["self-consistent", "frozen"] = "self-consistent"
    """Whose aggregates move the answer of a mean field: its own, or those of the average."""

    requires: ClassVar[type] = OccupancyGame

    def __post_init__(self) -> None:
        check(self)

    @property
    def measures(self) -> dict[str, Any]:
        return {"temperature": self.temperature}

    def init(self, game: OccupancyGame) -> Average:
        return Average(game.occupancy(game.start()))

    def step(self, t: int, game: OccupancyGame, state: Average, generator: Stream) -> Average:
        rho = state.occupancy
        answer = game.reply(rho, self.temperature)
        moved = game.occupancy(answer, frozen=rho if self.averaging_variant == "frozen" else None)
        alpha = self.averaging(t)
        return Average(tuple(torch.lerp(x, y, alpha) for x, y in zip(rho, moved, strict=True)))
