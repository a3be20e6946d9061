"""Fictitious play: everyone answers the average population so far, and the average absorbs the answer.

Perrin et al., "Fictitious play for mean field games: continuous time analysis and applications", NeurIPS 2020:

    pi^   = best response in the flow of the average           (softmax(Q*/lam) with a temperature)
    rho'  = (1 - alpha_t) rho + alpha_t mu(pi^) pi^            occupancy [h, k, s, a];  alpha_t = 1 / (t + 2)
    pi'   = rho' / sum_a rho'                                  uniform where nobody has been

The flow of the answer moves in its own aggregates (`self-consistent`) or in those of the average (`frozen`).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gamesim.games import GraphonGame, Policy
from gamesim.parameters import Temperature, check
from gamesim.randomness import Stream
from gamesim.schedules import Power, Share


@dataclass(frozen=True)
class Average:
    """The average occupancy[..., h, k, s, a]."""

    occupancy: Tensor

    @cached_property
    def policy(self) -> Policy:
        mass = self.occupancy.sum(-1, keepdim=True)
        return (torch.where(mass > 0, self.occupancy / mass, 1 / self.occupancy.shape[-1]),)


@dataclass(frozen=True)
class FictitiousPlay:
    """Best responses to the average so far."""

    averaging: Share = Power(1.0, 1.0, 2.0)
    """alpha: weight of the newest answer; power(1, 1, 2) is the plain average."""
    temperature: Temperature = 0.0
    """lam: weight of the entropy; above 0 the answers are smooth."""
    averaging_variant: Literal["self-consistent", "frozen"] = "self-consistent"
    """Whose aggregates move the answer: its own, or those of the average."""

    requires: ClassVar[type] = GraphonGame

    def __post_init__(self) -> None:
        check(self)

    @property
    def measures(self) -> dict[str, Any]:
        return {"temperature": self.temperature}

    def init(self, game: GraphonGame) -> Average:
        policy = game.start()
        return Average(game.flow(policy)[..., None] * policy[0])

    def step(self, t: int, game: GraphonGame, state: Average, generator: Stream) -> Average:
        flow = state.occupancy.sum(-1)
        answer = game.best_response(flow, self.temperature)
        moved = game.flow(answer, frozen=flow if self.averaging_variant == "frozen" else None)
        alpha = self.averaging(t)
        return Average(torch.lerp(state.occupancy, moved[..., None] * answer[0], alpha))
