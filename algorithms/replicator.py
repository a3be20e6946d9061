"""Replicator dynamics: actions grow by how much better than average they do.

    dx_i[a] / dt = x_i[a] (v_i(x)[a] - <x_i, v_i(x)>)        which is  dy_i / dt = v_i(softmax(y)) in scores

Taylor and Jonker, Mathematical Biosciences 40 (1978); the continuous time of entropic FTRL. Integrated in scores by the
classical Runge-Kutta method of order 4, so that policies stay inside the simplex and in zero-sum games the divergence
from an interior equilibrium, sum_i KL(x_i* || x_i), is kept up to O(dt^4).
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gamesim.games import NormalFormGame, Policy
from gamesim.parameters import check
from gamesim.randomness import Stream
from gamesim.regularizers import centred
from gamesim.schedules import Constant, StepSize
from gamesim.simplex import softmax
from gamesim.states import Scored


@dataclass(frozen=True)
class Replicator:
    """Replicator dynamics in continuous time, one Runge-Kutta step an iteration."""

    step_size: StepSize = Constant(0.1)
    """dt: time that passes in an iteration."""

    requires: ClassVar[type] = NormalFormGame

    def __post_init__(self) -> None:
        check(self)

    def init(self, game: NormalFormGame) -> Scored:
        return Scored(tuple(x.log() for x in game.start()))

    def step(self, t: int, game: NormalFormGame, state: Scored, generator: Stream) -> Scored:
        dt, y = self.step_size(t), state.scores

        def slope(scores: tuple[Tensor, ...]) -> Policy:
            return game.values(tuple(map(softmax, scores)))

        def moved(by: float | Tensor, slopes: Policy) -> tuple[Tensor, ...]:
            return tuple(score + by * k for score, k in zip(y, slopes, strict=True))

        k1 = slope(y)
        k2 = slope(moved(dt / 2, k1))
        k3 = slope(moved(dt / 2, k2))
        k4 = slope(moved(dt, k3))
        mean = tuple((a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
        return Scored(tuple(map(centred, moved(dt, mean))))
