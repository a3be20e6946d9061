"""Shapley iteration: solve the matrix game of every state as if play went on at the last values, and take their values.

    A_s(V) = R_1(s, .) + sum_t P(t | s, .) V(t),    (x_s, y_s) an equilibrium of A_s(V_k)

    value iteration     V_{k+1}(s) = val A_s(V_k)
    policy iteration    V_{k+1} = values of the policies (x, y)

Shapley, PNAS 39 (1953); Pollatschek and Avi-Itzhak, Management Science 15 (1969). The second is Newton's method with a
line search, and always converges (`gamesim.equilibria.shapley`). All stage games of an iteration, of a batch of games
too, are solved in one call. The policy is the stage equilibrium (x, y) at the values for which the error bound is
smallest.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from gamesim.equilibria.shapley import Iterate, Sweep, ZeroSumTabularGame, begin, require_zero_sum, sweep
from gamesim.errors import refuse
from gamesim.games import TabularGame
from gamesim.parameters import check
from gamesim.randomness import Stream


@dataclass(frozen=True)
class ShapleyIteration:
    """Stage games solved at the last values, all states at once."""

    method: Sweep = "policy-iteration"
    """How values follow from stage games: policy-iteration or value-iteration."""

    requires: ClassVar[type] = ZeroSumTabularGame

    def __post_init__(self) -> None:
        check(self)

    def init(self, game: TabularGame) -> Iterate:
        if not isinstance(game, TabularGame):
            raise refuse("start", "a policy", "none: Shapley iteration begins with values, at 0")
        require_zero_sum(game)
        return begin(game)

    def step(self, t: int, game: TabularGame, state: Iterate, generator: Stream) -> Iterate:
        # a stage game wants numbers: what has none stays so, and stops nobody else
        lost = ~state.values.isfinite().all(-1, keepdim=True)
        if not bool(lost.any()):
            return sweep(game, state, self.method)
        swept = sweep(game, replace(state, values=state.values.masked_fill(lost, 0.0)), self.method)
        policy = tuple(x.masked_fill(lost[..., None], torch.nan) for x in swept.policy)
        return replace(swept, values=swept.values.masked_fill(lost, torch.nan), policy=policy)
