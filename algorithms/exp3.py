"""EXP3: exponential weights on importance-weighted rewards, and a share of every draw set aside for exploring.

For rewards x in [0, 1] (others are scaled to it), in round t = 1, 2, ...,

    p_{t,i} = (1 - gamma) w_{t,i} / sum_j w_{t,j} + gamma / K,    w_{t+1,i} = w_{t,i} exp(gamma xhat_{t,i} / K)
    xhat_{t,i} = 1{I_t = i} x_{t,i} / p_{t,i},    I_t ~ p_t

The regret is at most (e - 1) gamma G + (K log K) / gamma, G being the sum of rewards of the best arm.

Auer, Cesa-Bianchi, Freund and Schapire, "The nonstochastic multiarmed bandit problem", SIAM J. Computing 32 (2002).
"""

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from gamesim.feedback.rounds import Learned, Rounds, play_round, weighted
from gamesim.games.bandit import BanditGame, Tally
from gamesim.parameters import Bounds, check
from gamesim.randomness import Stream
from gamesim.simplex import explore, softmax

Share = Annotated[float | Tensor, Bounds("a number above 0 and at most 1", 0, 1, low_open=True)]


@dataclass(frozen=True)
class Weights(Learned):
    """log w[..., a]."""

    weights: Tensor


@dataclass(frozen=True)
class EXP3(Rounds):
    """Exponential weights with explicit exploration."""

    exploration: Share = 0.1
    """gamma: the share of uniform draws, which also sets the step size gamma / K."""

    def __post_init__(self) -> None:
        check(self)

    def init(self, game: BanditGame) -> Weights:
        start = game.start()
        return Weights(start, Tally.of(game), torch.zeros_like(start[0]))

    def step(self, t: int, game: Any, state: Weights, generator: Stream) -> Weights:
        (p,) = state.policy
        pulled, rewards, tally = play_round(game, t, state, generator)
        estimates = weighted(pulled, game.normalized(rewards), p)
        weights = state.weights + self.exploration * estimates / p.shape[-1]
        return Weights((explore(softmax(weights), self.exploration),), tally, weights)
