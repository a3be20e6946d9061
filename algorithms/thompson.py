"""Thompson sampling: draw a mean for each arm from what is believed of it, and pull the arm of the greatest.

Beliefs are Beta(1 + S_i, 1 + F_i). A reward x in [0, 1] (others are scaled to it) counts as a success with probability
x, so that the regret for Bernoulli arms is that for any arms within the bounds,

    b ~ Bernoulli(x),    S_I += b,  F_I += 1 - b,    theta_i ~ Beta(1 + S_i, 1 + F_i),    I = argmax_i theta_i

Agrawal and Goyal, "Analysis of Thompson sampling for the multi-armed bandit problem", COLT 2012, Algorithm 2.

Beta(a, b) is G_a / (G_a + G_b) of two Gamma variates. They are drawn by rejection from d (1 + z / sqrt(9 d))^3, with
d = a - 1/3 and z normal: Marsaglia and Tsang, ACM Trans. Mathematical Software 26 (2000). So that a round always takes
the same numbers from the stream, there are eight proposals at once and the last stands if none is accepted, which
happens with a probability below 1e-10.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamesim.feedback.rounds import Learned, Rounds, play_round
from gamesim.games.bandit import BanditGame, Tally
from gamesim.randomness import Stream

PROPOSALS = 8


@dataclass(frozen=True)
class Beliefs(Learned):
    """Successes and failures of each arm, [..., a]."""

    successes: Tensor
    failures: Tensor


@dataclass(frozen=True)
class Thompson(Rounds):
    """Pull the arm of the greatest mean drawn from Beta beliefs."""

    needs_stationary: ClassVar[str] = "Thompson sampling's bound is for arms that stay as they are"

    def init(self, game: BanditGame) -> Beliefs:
        start = game.start()
        zero = torch.zeros_like(start[0])
        return Beliefs(start, Tally.of(game), zero, zero)

    def step(self, t: int, game: Any, state: Beliefs, generator: Stream) -> Beliefs:
        pulled, rewards, tally = play_round(game, t, state, generator)
        front = generator.alike(pulled.shape[:-1])
        coin = generator.quick((*front, 1), device=pulled.device)
        success = (coin < game.normalized(rewards)).to(pulled.dtype)
        successes, failures = state.successes + pulled * success, state.failures + pulled * (1 - success)
        u = generator.quick((*front, pulled.shape[-1], 2, 2 * PROPOSALS), device=pulled.device)
        of_success, of_failure = gamma_variates(1 + torch.stack([successes, failures], -1), u).unbind(-1)
        theta = of_success / (of_success + of_failure)
        chosen = torch.zeros_like(theta).scatter(-1, theta.argmax(-1, keepdim=True), 1.0)
        policy = torch.where(tally.playing, chosen, state.policy[0])
        return Beliefs((policy,), tally, successes, failures)


def gamma_variates(shape: Tensor, u: Tensor) -> Tensor:
    """Gamma variates of shapes a[...] >= 1 and scale 1, from uniform numbers u[..., 2 m] for m proposals each."""
    z, coin = torch.special.ndtri(u[..., :PROPOSALS]), u[..., PROPOSALS:]
    d = (shape - 1 / 3)[..., None]
    v = (1 + z / (9 * d).sqrt()) ** 3
    accepted = (v > 0) & (coin.log() < z * z / 2 + d * (1 - v + v.clamp(min=1e-300).log()))
    accepted[..., -1] = True
    first = accepted.to(torch.int8).argmax(-1, keepdim=True)
    drawn: Tensor = (d * v.clamp(min=0)).gather(-1, first)
    return drawn.squeeze(-1)
