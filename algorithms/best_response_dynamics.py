"""Best-response dynamics: at every moment a small share of each population switches to a best reply.

    dx_i / dt = BR_i(x_-i) - x_i        one step of length dt:  x_i' = x_i + dt (BR_i(x_-i) - x_i)

Gilboa and Matsui, "Social stability and equilibrium", Econometrica 59 (1991). With a temperature the reply is smooth,
softmax(v_i / lam): logit dynamics, whose rest points are quantal response equilibria (Fudenberg and Levine, 1998). A
falling rate 1 / (t + 2) makes it fictitious play.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from gamesim.games import NormalFormGame
from gamesim.parameters import Temperature, check
from gamesim.randomness import Stream
from gamesim.schedules import Constant, Share
from gamesim.states import Played


@dataclass(frozen=True)
class BestResponseDynamics:
    """A share of everyone switches to a best reply."""

    rate: Share = Constant(0.05)
    """dt: the share that switches in an iteration."""
    temperature: Temperature = 0.0
    """lam: above 0 replies are smooth (logit dynamics)."""

    requires: ClassVar[type] = NormalFormGame

    def __post_init__(self) -> None:
        check(self)

    @property
    def measures(self) -> dict[str, Any]:
        return {"temperature": self.temperature}

    def init(self, game: NormalFormGame) -> Played:
        return Played(game.start())

    def step(self, t: int, game: NormalFormGame, state: Played, generator: Stream) -> Played:
        replies = game.reply(state.policy, self.temperature)
        rate = self.rate(t)
        return Played(tuple(torch.lerp(x, reply, rate) for x, reply in zip(state.policy, replies, strict=True)))
