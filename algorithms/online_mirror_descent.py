"""Online mirror descent: scores accumulate action values, the policy is their softmax.

Perolat et al., "Scaling up mean field games with online mirror descent", AAMAS 2022:

    y' = y + eta_t Q(pi_t),    pi' = softmax(y')

It is the proximal step at temperature 0. With `optimal_values` the best response's values Q* take the place of Q, as in
the public code of Fabian, Cui and Koeppl, "Learning sparse graphon mean field games", AISTATS 2023.
"""

from dataclasses import dataclass
from typing import Any

from gamesim.feedback import Exact, Feedback
from gamesim.games import Game, GraphonGame, Policy
from gamesim.parameters import check
from gamesim.randomness import Stream
from gamesim.schedules import Constant, StepSize
from gamesim.simplex import mirror_step
from gamesim.states import Scored


@dataclass(frozen=True)
class OnlineMirrorDescent:
    """Softmax of accumulated action values."""

    step_size: StepSize = Constant(0.1)
    """eta: weight of each iteration's values."""
    optimal_values: bool = False
    """Accumulate the best response's values instead of the policy's own (needs a graphon game)."""
    feedback: Feedback = Exact()
    """What is known of the action values."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def requires(self) -> Any:
        return GraphonGame if self.optimal_values else Game

    def init(self, game: Game) -> Scored:
        return Scored(tuple(p.log() for p in game.start()))

    def step(self, t: int, game: Any, state: Scored, generator: Stream) -> Scored:
        if self.optimal_values:
            values: Policy = (game.optimal_values(game.flow(state.policy)).q,)
        else:
            values = self.feedback(game, state.policy, 0.0, generator)
        return Scored(tuple(mirror_step(y, q, self.step_size(t)) for y, q in zip(state.scores, values, strict=True)))
