"""Beach bar: stand near the bar, but not where everybody stands.

Places s = 0..n-1 with a bar in one of them, n // 2 unless told otherwise; actions 0, 1, 2 move by -1, 0, +1.

    P: s -> wall(s + (a - 1) + e),    e = 0 with `still`, -1 and +1 with (1 - still) / 2 each
    r_h(s, a, z) = near(s) - [a moves] / n - log(z(s) + epsilon)         mu_0 = uniform

| variant   | n   | horizon | wall  | still | near(s)                | epsilon | last move |
|-----------|-----|---------|-------|-------|------------------------|---------|-----------|
| openspiel | 10  | 10      | torus | 1/3   | 1 - |s - bar| / (n//2) | 1e-25   | free      |
| perrin    | 100 | 15      | torus | 1/3   | 1 - |s - bar| / (n//2) | 1e-25   | charged   |
| mfglib    | 4   | 3       | clamp | 1/2   | -(distance on a circle)| 1e-20   | charged   |

`torus` takes s modulo n, though the distance of `openspiel` and `perrin` is not circular; `clamp` stops at the ends,
once, after move and noise, though the distance of `mfglib` is circular. The game is monotone (-log z decreases).

`openspiel` is the game that OpenSpiel's `mfg_crowd_modelling` declares, with the move of every step but the last
charged to who makes it. OpenSpiel charges it one step later and keeps values by (place, time) alone, so that it really
charges each place the move of its first visitor; its figures are those of that other game (docs/games/mean-field.md).
`perrin`: Perrin et al., "Fictitious play for mean field games: continuous time analysis and applications", NeurIPS
2020, whose reward is log mu itself; its n, horizon and law of e are from memory of the paper, and any may be given.
`mfglib`: `beach_bar` of MFGLib 0.3, exactly; its T is horizon - 1.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor

from gamesim.envs.mean_field import fused
from gamesim.envs.mean_field.variants import fill
from gamesim.errors import refuse
from gamesim.games import GraphonGame
from gamesim.graphons import ErdosRenyi, Graphon
from gamesim.kernels.rows import Rows
from gamesim.parameters import Count, Natural, Probability
from gamesim.simplex import lift


class Rules(NamedTuple):
    """What a variant fixes."""

    torus: bool
    """Places go round; otherwise they end in walls."""
    circular: bool
    """Distance to the bar around the circle and in places; otherwise straight and in units of n // 2."""
    charges_last: bool
    """The move of the last step costs, too."""
    epsilon: float


RULES = {
    "openspiel": Rules(torus=True, circular=False, charges_last=False, epsilon=1e-25),
    "perrin": Rules(torus=True, circular=False, charges_last=True, epsilon=1e-25),
    "mfglib": Rules(torus=False, circular=True, charges_last=True, epsilon=1e-20),
}
DEFAULTS = {
    "openspiel": {"places": 10, "horizon": 10, "still": 1 / 3},
    "perrin": {"places": 100, "horizon": 15, "still": 1 / 3},
    "mfglib": {"places": 4, "horizon": 3, "still": 0.5},
}


@final
@dataclass(frozen=True, kw_only=True)
class BeachBar(GraphonGame):
    """A beach with a bar that everyone wants to be near and nobody wants to share."""

    variant: Literal["openspiel", "perrin", "mfglib"] = "openspiel"
    """Whose version: it fixes walls, distance, epsilon and costs, and what is left out below."""
    horizon: Count = None  # type: ignore[assignment]
    """Number of decision steps; left out, the variant's: 10, 15 or 3."""
    graphon: Graphon | tuple[Graphon, ...] = ErdosRenyi(1.0)
    """How positions feel one another; erdos-renyi(1) is the plain mean-field game."""
    positions: Count | None = 1
    """Grid points: 1 where all positions are alike; give more with another graphon."""
    places: Count = None  # type: ignore[assignment]
    """Places of the beach, at least 2; left out, the variant's: 10, 100 or 4."""
    bar: Natural | None = None
    """The place of the bar; left out, places // 2."""
    still: Probability = None  # type: ignore[assignment]
    """Chance to end where one meant to go; left out, the variant's: 1/3, 1/3 or 1/2."""

    def __post_init__(self) -> None:
        fill(self, "variant", DEFAULTS)
        super().__post_init__()
        if self.places < 2:
            raise refuse("places", self.places, "a whole number of at least 2")
        if self.bar is not None and self.bar >= self.places:
            raise refuse("bar", self.bar, f"a place from 0 to {self.places - 1}")

    @property
    def initial(self) -> Tensor:
        return torch.full((self.places,), 1 / self.places, **self.like)

    @cached_property
    def rules(self) -> Rules:
        return RULES[self.variant]

    @cached_property
    def near(self) -> Tensor:
        """The reward of each place on an empty beach, [s, 1]."""
        bar = self.places // 2 if self.bar is None else self.bar
        straight = (torch.arange(self.places, **self.like) - bar).abs()
        if self.rules.circular:
            return -torch.minimum(straight, self.places - straight)[:, None]
        return 1 - straight[:, None] / (self.places // 2)

    def reward(self, h: int, z: Tensor) -> Tensor:
        base = self.near - self.cost if h < self.charged else self.near
        return base - (z + self.rules.epsilon).log()[..., None]

    @cached_property
    def charged(self) -> int:
        """How many steps' moves cost."""
        return self.horizon if self.rules.charges_last else self.horizon - 1

    @cached_property
    def cost(self) -> Tensor:
        """What each move costs, [a]."""
        return torch.tensor([1.0, 0.0, 1.0], **self.like) / self.places

    @cached_property
    def moves(self) -> Tensor:
        """P[..., s, a, t]."""
        here = torch.arange(self.places, device=self.device)[:, None]
        step = torch.arange(-1, 2, device=self.device)
        identity = torch.eye(self.places, **self.like)

        def land(place: Tensor) -> Tensor:
            place = place.remainder(self.places) if self.rules.torus else place.clamp(0, self.places - 1)
            return identity[place]

        meant, beside = land(here + step), (land(here + step - 1) + land(here + step + 1)) / 2
        return torch.lerp(beside, meant, torch.as_tensor(lift(self.still, 4), **self.like))

    def transition(self, h: int, z: Tensor) -> Tensor:
        return self.moves

    def rows(self) -> Rows:
        parameters = (self.rules.epsilon, self.charged, self.near, self.cost)
        return Rows(reward=fused.shy_reward, parameters=parameters, transition=self.moves)
