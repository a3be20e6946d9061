"""Long-horizon bandit: rewards that come of a few earlier choices, at lags that nobody tells.

An instance has s lags, drawn without replacement from 0, ..., h - 1; their weights are uniform on [0.5, 1.5], divided
by their sum, so that w sums to one; theta is uniform on the sphere. See `gamesim.games.lagged` for the model.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, final

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.lagged import LaggedBandit
from gamesim.parameters import Bounds, Natural, check
from gamesim.randomness import Stream

Size = Annotated[int, Bounds("a whole number from 1 to 10,000", 1, 10_000)]
Few = Annotated[int, Bounds("a whole number from 1 to 1,000", 1, 1000)]
Noise = Annotated[float, Bounds("a number of at least 0", 0)]
MOST = 10**8
"""Numbers of the choices that a run remembers, at most."""
Rounds = Annotated[int, Bounds("a whole number from 1 to 10,000,000", 1, 10**7)]


@final
@dataclass(frozen=True, kw_only=True)
class LongHorizon(LaggedBandit):
    """Contexts whose choice pays later."""

    horizon: Size = 50
    """h: a choice pays in its own round and in the h - 1 that follow."""
    sparsity: Size = 3
    """s: in how many of them it pays."""
    dimension: Few = 5
    """d of contexts."""
    contexts: Few = 10
    """K: how many there are to choose from in each round."""
    noise: Noise = 0.1
    """Standard deviation of the noise in rewards."""
    rounds: Rounds = 6400
    """T: the most that can be played."""
    instance: Natural | tuple[Natural, ...] = 0
    """Which lags, weights and theta; several are a batch of games."""

    def __post_init__(self) -> None:
        check(self)
        if self.sparsity > self.horizon:
            raise refuse("sparsity", self.sparsity, f"at most horizon={self.horizon}")
        if self.rounds * self.dimension > MOST:
            raise refuse("rounds", self.rounds, f"at most {MOST // self.dimension:,} with dimension={self.dimension}")
        if self.instance == ():
            raise refuse("instance", "[]", "at least one")

    @cached_property
    def _drawn(self) -> tuple[Tensor, Tensor]:
        """w and theta."""
        many = self.instance if isinstance(self.instance, tuple) else (self.instance,)
        stream, h, s = Stream(list(many)), self.horizon, self.sparsity
        lags = stream.uniform((len(many), h)).argsort(-1)[:, :s]
        size = 0.5 + stream.uniform((len(many), s))
        weights = torch.zeros(len(many), h, dtype=torch.float64).scatter(-1, lags, size / size.sum(-1, keepdim=True))
        theta = torch.nn.functional.normalize(stream.normal((len(many), self.dimension)), dim=-1)
        return (weights, theta) if isinstance(self.instance, tuple) else (weights[0], theta[0])

    @property
    def weights(self) -> Tensor:
        return self._drawn[0]

    @property
    def theta(self) -> Tensor:
        return self._drawn[1]
