"""Linear-quadratic: steer towards where the population is on average, at a quadratic cost.

Places x = -(n // 2), ..., n - 1 - n // 2, moves a = -side..side, and the mean felt by the agent is m = sum_x x z(x).

    P: x -> wall(round(x + (reversion (m - x) + a) delta + volatility sqrt(delta) e)),    e = -3..3, about normal
    r_h = delta (-a^2 / 2 + cross a (m - x) - kappa / 2 (m - x)^2)                        h < H - 1
    r_h = -terminal_cost / 2 (m - x)^2                                                    h = H - 1; mu_0 = uniform

With `terminal` off there is no last step of the second kind: all H steps pay the first reward.

| variant  | n  | horizon | side | delta | volatility | reversion | wall  | P(e)                                      |
|----------|----|---------|------|-------|------------|-----------|-------|-------------------------------------------|
| textbook | 10 | 11      | 3    | 1     | 1          | 0         | torus | Phi(e + 1/2) - Phi(e - 1/2), tails at +-3 |
| mfglib   | 11 | 4       | 2    | 0.1   | 3          | 1         | clamp | exp(-e^2 / 2), normalised                 |

Perrin et al., "Fictitious play for mean field games: continuous time analysis and applications", NeurIPS 2020, section
4.1, is its origin. `textbook` has the parameters of OpenSpiel's `mean_field_lin_quad`: places go round, while their
mean does not. Where OpenSpiel charges a move one step late, against the mean of that step, and never charges the
terminal cost, this one charges the move when it is made and the terminal cost at an eleventh step. `mfglib` is
`linear_quadratic` of MFGLib 0.3 with the volatility used once (MFGLib multiplies the noise by it twice and weighs e by
it, so that at volatility 3 only 2% of the mass feels it); the two agree exactly at volatility 1.

Rounding makes P jump where a place is half-way between two, as happens with mfglib's delta 0.1 for the symmetric m = 0:
what is within 1e-6 of a half is rounded to even, so that rounding noise in m decides nothing.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, final

import torch
from torch import Tensor

from gamesim.envs.mean_field.variants import fill
from gamesim.games import GraphonGame
from gamesim.graphons import ErdosRenyi, Graphon
from gamesim.parameters import Count, NonNegative, Positive, Real
from gamesim.simplex import lift

DEFAULTS = {
    "textbook": {"places": 10, "horizon": 11, "side": 3, "delta": 1.0, "volatility": 1.0, "reversion": 0.0},
    "mfglib": {"places": 11, "horizon": 4, "side": 2, "delta": 0.1, "volatility": 3.0, "reversion": 1.0},
}


@final
@dataclass(frozen=True, kw_only=True)
class LinearQuadratic(GraphonGame):
    """Agents on a line who want to be where the others are on average."""

    variant: Literal["textbook", "mfglib"] = "textbook"
    """Whose version: it fixes the walls and the law of the noise, and what is left out below."""
    horizon: Count = None  # type: ignore[assignment]
    """Number of steps, the terminal one included; left out, the variant's: 11 or 4."""
    graphon: Graphon | tuple[Graphon, ...] = ErdosRenyi(1.0)
    """How positions feel one another; erdos-renyi(1) is the plain mean-field game."""
    positions: Count | None = 1
    """Grid points: 1 where all positions are alike; give more with another graphon."""
    places: Count = None  # type: ignore[assignment]
    """Places on the line; left out, the variant's: 10 or 11."""
    side: Count = None  # type: ignore[assignment]
    """Moves to each side; left out, the variant's: 3 or 2."""
    delta: Positive = None  # type: ignore[assignment]
    """Duration of a step; left out, the variant's: 1 or 0.1."""
    volatility: NonNegative = None  # type: ignore[assignment]
    """Size of the noise; left out, the variant's: 1 or 3."""
    reversion: NonNegative = None  # type: ignore[assignment]
    """Pull of the mean on the motion; left out, the variant's: 0 or 1."""
    cross: Real = 0.01
    """Reward of moving towards the mean."""
    kappa: NonNegative = 0.5
    """Cost of the distance to the mean, per unit of time."""
    terminal_cost: NonNegative = 1.0
    """Cost of the distance to the mean at the end."""
    terminal: bool = True
    """Whether the last step is the terminal one; false: every step pays the running reward."""

    def __post_init__(self) -> None:
        fill(self, "variant", DEFAULTS)
        super().__post_init__()

    @property
    def initial(self) -> Tensor:
        return torch.full((self.places,), 1 / self.places, **self.like)

    @cached_property
    def line(self) -> Tensor:
        """x[s]."""
        return torch.arange(self.places, **self.like) - self.places // 2

    @cached_property
    def moves(self) -> Tensor:
        """The move of each action, [a]."""
        return torch.arange(-self.side, self.side + 1, **self.like)

    @cached_property
    def noise(self) -> tuple[Tensor, Tensor]:
        """e and its law."""
        e = torch.arange(-3, 4, **self.like)
        if self.variant == "mfglib":
            return e, torch.softmax(-(e**2) / 2, -1)
        below = torch.special.ndtr(torch.arange(-2.5, 3, **self.like))
        return e, torch.cat([below[:1], below.diff(), 1 - below[-1:]])

    def gap(self, z: Tensor) -> Tensor:
        """m - x: z[..., k, s] -> [..., k, s]."""
        return (z * self.line).sum(-1, keepdim=True) - self.line

    def reward(self, h: int, z: Tensor) -> Tensor:
        gap, a = self.gap(z)[..., None], self.moves
        if self.terminal and h + 1 == self.horizon:
            return -lift(self.terminal_cost, 3) / 2 * gap**2 + torch.zeros_like(a)
        running = -(a**2) / 2 + lift(self.cross, 3) * a * gap - lift(self.kappa, 3) / 2 * gap**2
        return lift(self.delta, 3) * running

    def transition(self, h: int, z: Tensor) -> Tensor:
        return self.unpulled if isinstance(self.reversion, float) and self.reversion == 0 else self.moved(self.gap(z))

    @cached_property
    def unpulled(self) -> Tensor:
        """P[..., s, a, t] where the mean does not pull."""
        return self.moved(torch.zeros_like(self.line))

    def moved(self, gap: Tensor) -> Tensor:
        """P[..., s, a, t] from gap[..., s]."""
        e, law = self.noise
        drift = self.line + lift(self.reversion, 2) * gap * lift(self.delta, 2)
        shock = lift(self.volatility, 4) * lift(self.delta, 4) ** 0.5 * e
        aim = drift[..., None, None] + self.moves[:, None] * lift(self.delta, 4) + shock
        place = aim.round(decimals=6).round().long() + self.places // 2
        place = place.clamp(0, self.places - 1) if self.variant == "mfglib" else place.remainder(self.places)
        nowhere = torch.zeros(*place.shape[:-1], self.places, **self.like)
        return nowhere.scatter_add(-1, place, law.expand(place.shape))
