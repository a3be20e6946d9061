"""Hedge over arms whose rewards are all seen: in speculative decoding every draft can be verified after the fact.

    p_{t,i} ~ exp(-eta_t sum_{s < t} Z_{s,i}),    eta_t = sqrt(8 log K / t)
    Z_{t,i} = (high - Y_{t,i}) / (high - low),    I_t ~ p_t

What is lost against the best arm in T rounds, of arms that may change in any oblivious way, in units of high - low, is
at most 2 sqrt((T / 2) log K) + sqrt(log K / 8): the arms cost a logarithm where a bandit pays a root of their number.

Cesa-Bianchi and Lugosi, "Prediction, learning, and games", 2006, Theorem 2.3. That drafts can be judged so, and that it
beats bandits: "Not-a-bandit: provably no-regret drafter selection in speculative decoding for LLMs", arXiv 2510.20064.
"""

import math
from dataclasses import dataclass
from typing import Any

from gamesim.feedback.rounds import Losses, Rounds, play_round
from gamesim.games.bandit import BanditGame
from gamesim.parameters import Positive, check
from gamesim.randomness import Stream
from gamesim.simplex import softmax


@dataclass(frozen=True)
class HedgeSpec(Rounds):
    """Exponential weights on what every arm would have paid."""

    scale: Positive = 1.0
    """What eta_t is multiplied by; the theorem has 1."""

    def __post_init__(self) -> None:
        check(self)

    def init(self, game: BanditGame) -> Losses:
        return Losses.of(game)

    def step(self, t: int, game: Any, state: Losses, generator: Stream) -> Losses:
        pulled, rewards, tally = play_round(game, t, state, generator)
        playing = pulled.amax(-1, keepdim=True)
        losses = state.losses + playing * (1 - game.normalized(rewards))
        eta = self.scale * (8 * math.log(losses.shape[-1]) / (tally.rounds + 1)).sqrt()
        return Losses((softmax(-eta * losses),), tally, losses)
