"""A policy that never learns, for comparison: all arms alike, or one arm always."""

from dataclasses import dataclass
from typing import Any

from gamesim.errors import refuse
from gamesim.feedback.rounds import Learned, Rounds, play_round
from gamesim.games.bandit import BanditGame, Tally
from gamesim.parameters import Natural, check
from gamesim.randomness import Stream


@dataclass(frozen=True)
class FixedPolicy(Rounds):
    """Draw every arm alike, or pull one of them always."""

    arm: Natural | None = None
    """The arm, from 0; none draws all arms alike."""

    def __post_init__(self) -> None:
        check(self)

    def init(self, game: BanditGame) -> Learned:
        (policy,) = game.start()
        if self.arm is not None:
            if self.arm >= policy.shape[-1]:
                raise refuse("arm", self.arm, f"an arm of the game, from 0 to {policy.shape[-1] - 1}")
            policy = 0 * policy
            policy[..., self.arm] = 1
        return Learned((policy,), Tally.of(game))

    def step(self, t: int, game: Any, state: Learned, generator: Stream) -> Learned:
        return Learned(state.policy, play_round(game, t, state, generator).tally)
