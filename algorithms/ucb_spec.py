"""UCBSpec: be optimistic about every arm, by a bound that holds for all rounds at once.

Each arm once, in order; then after t rounds, with n_i pulls of arm i and rewards in an interval of length L,

    I_{t+1} = argmax_i  muhat_i + cr_i
    cr_i = (L / 2) sqrt( (1 + n_i) / n_i^2  (1 + 2 log( K t^2 (1 + n_i)^{1/2} / delta )) )

The radius is self-normalised: it asks that rewards have the mean mu_i whatever went before, not that they are
independent. With gaps Delta_i to the best mean mu*, over N tokens,

    Reg = O(H L^2 log N),    H = sum_{i: Delta_i > 0} 1 / (mu* Delta_i)

Hou et al., "BanditSpec: adaptive speculative decoding via bandit algorithms", ICML 2025, arXiv 2505.15141, Algorithm 4
and Theorem 4.3.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamesim.feedback.rounds import Means, Rounds, optimistic, play_round
from gamesim.games.bandit import BanditGame
from gamesim.parameters import Fraction, check
from gamesim.randomness import Stream


@dataclass(frozen=True)
class UCBSpec(Rounds):
    """The greatest upper confidence bound, self-normalised, for arms that stay as they are."""

    delta: Fraction = 0.1
    """How often, at most, a bound may fail in the whole run."""

    needs_stationary: ClassVar[str] = "UCBSpec's bound is for arms that stay as they are"

    def __post_init__(self) -> None:
        check(self)

    def init(self, game: BanditGame) -> Means:
        return Means.of(game)

    def step(self, t: int, game: Any, state: Means, generator: Stream) -> Means:
        pulled, rewards, tally = play_round(game, t, state, generator)
        pulls, sums = state.pulls + pulled, state.sums + pulled * rewards
        low, high = game.bounds
        index = sums / pulls + (high - low) / 2 * self.radius(pulls, tally.rounds)
        return Means((optimistic(index, pulls),), tally, pulls, sums)

    def radius(self, pulls: Tensor, rounds: Tensor) -> Tensor:
        """cr_i / (L / 2) for pulls n_i[..., a] after t[..., 1] rounds."""
        arms = pulls.shape[-1]
        inside = (
            2 * rounds.log()
            + 0.5 * (1 + pulls).log()
            + math.log(arms)
            - torch.as_tensor(self.delta, dtype=pulls.dtype, device=pulls.device).log()
        )
        return ((1 + pulls) * (1 + 2 * inside)).sqrt() / pulls
