"""The equations of a known game, its numbers unknown: they are sought together with those of the graphon."""

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.estimation.laws import Law
from gamesim.estimation.numbers import Numbers
from gamesim.estimation.observed import Observed
from gamesim.estimation.regressions import Fit
from gamesim.estimation.responses import Response
from gamesim.games import GraphonGame
from gamesim.graphons import ErdosRenyi
from gamesim.shapes import broadcast_shapes

SHARED = frozenset(f.name for f in dataclasses.fields(GraphonGame))
"""What every graphon game has."""


@dataclass(frozen=True)
class Mechanism(Law):
    """The equations of a game that is known but for its numbers."""

    game: GraphonGame

    def __post_init__(self) -> None:
        if not isinstance(self.game, GraphonGame):
            raise refuse("law", self.game, "a graphon game by its id, such as graphon/sis")
        if len(self.game.shape) != 3:
            raise refuse("law", f"a batch of {self}", "one game")
        last = self.game.horizon - 1
        z = torch.full((1, self.game.shape[-2]), 0.3, **self.game.like)
        for name in ("reward", "kernel"):
            if not torch.equal(getattr(self.game, name)(0, z), getattr(self.game, name)(last, z)):
                raise refuse("law", str(self), f"a game whose {name} is the same at every step")

    def __str__(self) -> str:
        return type(self.game).__name__

    @cached_property
    def numbers(self) -> Numbers:
        """Its own numbers, not those of every graphon game."""
        return Numbers.of(self.game, SHARED)

    @property
    def size(self) -> int:  # type: ignore[override]
        return len(self.numbers)

    @property
    def centre(self) -> Tensor:
        return self.numbers.centre

    def numbers_of(self, free: Tensor) -> dict[str, Tensor]:
        return self.numbers.bound(free)

    def fit(self, seen: Observed, z: Tensor, free: Tensor, before: Response | None = None) -> Fit:
        response = Played(self.game, self.numbers.bound(free))
        return Fit(response, misfit(response, seen, z))


@dataclass(frozen=True, eq=False)
class Played(Response):
    """The equations of a game with these numbers."""

    of: GraphonGame
    numbers: dict[str, Tensor]
    """Each [...]."""

    @cached_property
    def game(self) -> GraphonGame:
        """Its graphon plays no part: only what happens at a given aggregate is asked."""
        bare = {"graphon": ErdosRenyi(1.0), "positions": 1, "horizon": 1, "graph": None, "blocks": None}
        return dataclasses.replace(self.of, **bare, **self.numbers)  # type: ignore[arg-type]

    def transition(self, h: int, z: Tensor) -> Tensor:
        return self.game.kernel(0, z)

    def reward(self, h: int, z: Tensor) -> Tensor:
        r = self.game.reward(0, z)
        return r.expand(broadcast_shapes(r.shape, (*z.shape[:-1], *self.game.shape[-2:])))

    def __getitem__(self, index: int) -> "Played":
        return Played(self.of, {name: value[index] for name, value in self.numbers.items()})

    def on(self, like: dict[str, Any]) -> "Played":
        dtype: Literal["float32", "float64"] = "float32" if like["dtype"] == torch.float32 else "float64"
        of = dataclasses.replace(self.of, dtype=dtype, device=like["device"])
        return Played(of, {name: value.to(**like) for name, value in self.numbers.items()})


def misfit(response: Response, seen: Observed, z: Tensor) -> Tensor:
    """Minus the log-likelihood of moves and rewards under any response, [...]: `regress` has the same from moments."""
    P, r = response.transition(0, z), response.reward(0, z) - seen.level
    moved = seen.visits - 2 * (seen.moves * P).sum(-1) + seen.visits * P.square().sum(-1)
    paid = (seen.squared - 2 * r * seen.earned + seen.visits * r.square()).sum((-3, -2, -1)).clamp(min=0)
    noise = (paid + seen.reward_noise) / seen.total
    return 0.5 * (seen.weights * moved).sum((-3, -2, -1)) + 0.5 * seen.total * noise.log()
