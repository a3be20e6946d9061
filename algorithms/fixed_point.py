"""Fixed-point iteration: answer the last flow, greedily or with a Boltzmann policy.

    mu = flow of pi_t,    pi' = softmax(Q*(mu) / temperature),    argmax with ties shared at temperature 0

Cui and Koeppl, "Approximately solving mean field games via entropy-regularized deep reinforcement learning", AISTATS
2021, and "Learning graphon mean field games and approximate Nash equilibria", ICLR 2022. Q* are the unregularised
optimal values. The iteration need not converge: at low temperatures it cycles.
"""

from dataclasses import dataclass
from typing import ClassVar

from gamesim.games import GraphonGame
from gamesim.parameters import Temperature, check
from gamesim.randomness import Stream
from gamesim.simplex import soft_argmax
from gamesim.states import Played


@dataclass(frozen=True)
class FixedPoint:
    """Greedy or Boltzmann response to the last flow."""

    temperature: Temperature = 0.0
    """Boltzmann temperature on the unregularised optimal values; 0 is greedy."""

    requires: ClassVar[type] = GraphonGame

    def __post_init__(self) -> None:
        check(self)

    def init(self, game: GraphonGame) -> Played:
        return Played(game.start())

    def step(self, t: int, game: GraphonGame, state: Played, generator: Stream) -> Played:
        values = game.optimal_values(game.flow(state.policy)).q
        return Played((soft_argmax(values, self.temperature),))
