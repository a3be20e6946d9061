"""EXP3Spec: weigh the arms by the losses that they are estimated to have had, with no probability set aside.

For rewards Y in [low, high], in round t = 1, 2, ...,

    p_{t,i} ~ exp(-eta_t sum_{s < t} Z_{s,i}),    eta_t = sqrt(log K / (t K))
    Z_{t,i} = 1{I_t = i} (high - Y) / ((high - low) p_{t,i}),    I_t ~ p_t

For lengths in [1, L + 1] this is (L + 1 - Y) / (L p). No number of rounds is to be known, and arms may change in any
way that does not depend on what was pulled: against the best of them, if it takes the fewest rounds with certainty,

    Reg <= 2 L min{ sqrt(N K log K),  2 L K log K + sqrt(min_i ST_i K log K) }

Hou et al., "BanditSpec: adaptive speculative decoding via bandit algorithms", ICML 2025, arXiv 2505.15141, Theorem 5.3.
"""

import math
from dataclasses import dataclass
from typing import Any

from gamesim.feedback.rounds import Losses, Rounds, play_round, weighted
from gamesim.games.bandit import BanditGame
from gamesim.parameters import Positive, check
from gamesim.randomness import Stream
from gamesim.simplex import softmax


@dataclass(frozen=True)
class EXP3Spec(Rounds):
    """Exponential weights on importance-weighted losses, with step sizes for any number of rounds."""

    scale: Positive = 1.0
    """What eta_t is multiplied by; the theorem has 1."""

    def __post_init__(self) -> None:
        check(self)

    def init(self, game: BanditGame) -> Losses:
        return Losses.of(game)

    def step(self, t: int, game: Any, state: Losses, generator: Stream) -> Losses:
        (p,) = state.policy
        pulled, rewards, tally = play_round(game, t, state, generator)
        losses = state.losses + weighted(pulled, 1 - game.normalized(rewards), p)
        arms = p.shape[-1]
        eta = self.scale * (math.log(arms) / ((tally.rounds + 1) * arms)).sqrt()
        return Losses((softmax(-eta * losses),), tally, losses)
