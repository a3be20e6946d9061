"""UCB1: the greatest upper confidence bound, for rewards in an interval of length b - a that stay as they are.

Each arm once, in order; then after t rounds, with n_i pulls of arm i,

    I_{t+1} = argmax_i  muhat_i + (b - a) sqrt(scale log(t) / n_i),    scale = 2

Auer, Cesa-Bianchi and Fischer, "Finite-time analysis of the multiarmed bandit problem", Machine Learning 47 (2002).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from gamesim.feedback.rounds import Means, Rounds, optimistic, play_round
from gamesim.games.bandit import BanditGame
from gamesim.parameters import Positive, check
from gamesim.randomness import Stream


@dataclass(frozen=True)
class UCB(Rounds):
    """The greatest upper confidence bound, by Hoeffding's inequality."""

    scale: Positive = 2.0
    """Of the logarithm under the root: 2 is UCB1, less explores less."""

    needs_stationary: ClassVar[str] = "UCB's bound is for arms that stay as they are"

    def __post_init__(self) -> None:
        check(self)

    def init(self, game: BanditGame) -> Means:
        return Means.of(game)

    def step(self, t: int, game: Any, state: Means, generator: Stream) -> Means:
        pulled, rewards, tally = play_round(game, t, state, generator)
        pulls, sums = state.pulls + pulled, state.sums + pulled * rewards
        low, high = game.bounds
        index = sums / pulls + (high - low) * (self.scale * tally.rounds.log() / pulls).sqrt()
        return Means((optimistic(index, pulls),), tally, pulls, sums)
