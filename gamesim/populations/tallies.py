"""Episodes in parts: worlds are played some at a time and what is kept of them is added up: memory is bounded."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gamesim.populations.worlds import Chunk, Worlds

NUMBERS = 20_000_000
"""Numbers held at once."""
LANES = 64
"""Episodes that the compiled loops take side by side: parts are multiples of it."""


def parts(worlds: Worlds, episodes: int, *, record: bool = False, watched: int = 0) -> Iterator[tuple[Worlds, int]]:
    """Some of the worlds at a time, and how many of their episodes to play at a time."""
    n = worlds.positions.shape[1]
    each = n * worlds.numbers(record) + watched * worlds.game.horizon * worlds.policy.shape[-2]
    together = min(len(worlds.index), max(1, NUMBERS // (each * min(episodes, LANES))))
    at_once = max(1, NUMBERS // (each * together))
    at_once -= at_once % LANES if at_once > LANES else 0
    for first in range(0, len(worlds.index), together):
        yield worlds.only(slice(first, first + together)), min(episodes, at_once)


@dataclass
class Moments:
    """Mean and spread of x[w, e, ...] over e, from parts: Chan, Golub and LeVeque, "Updating formulae", 1979."""

    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(()))
    spread: Tensor = field(default_factory=lambda: torch.zeros(()))
    """Sum of squared distances from the mean."""

    def add(self, x: Tensor) -> None:
        m, mean = x.shape[1], x.mean(1)
        spread = (x - mean[:, None]).square().sum(1)
        count, shift = self.count + m, mean - self.mean
        self.spread = self.spread + spread + shift.square() * (self.count * m / count)
        self.mean = self.mean + shift * (m / count)
        self.count = count

    @property
    def variance(self) -> Tensor:
        """Of the mean, unbiased; NaN for one episode."""
        return self.spread / (self.count - 1) / self.count if self.count > 1 else torch.full_like(self.mean, torch.nan)


class Tally:
    """What some worlds did in all episodes played so far."""

    def __init__(self) -> None:
        self.agents, self.crowd = Moments(), Moments()
        self.population = self.above = self.flow = torch.zeros((), dtype=torch.int64)
        self.each, self.chunks = list[Tensor](), list[Chunk]()

    def add(self, chunk: Chunk, *, each: bool, record: bool) -> None:
        self.agents.add(chunk.returns)
        self.crowd.add(chunk.returns.mean(-1))
        self.population = self.population + chunk.population
        self.above = self.above + chunk.above
        self.flow = self.flow + chunk.flow
        self.each += [chunk.returns] if each else []
        self.chunks += [chunk] if record else []
