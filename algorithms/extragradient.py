"""Extragradient and its relatives: look ahead first, then move by what is seen there.

    X_{t+1/2} = P(X_t - lead_t g_t),     X_{t+1} = P(X_t - gamma_t g_{t+1/2}),      g_{t+1/2} = F(X_{t+1/2}) + U_{t+1/2}

    extragradient    g_t = F(X_t) + U_t, fresh and with an error of its own: two queries an iteration; SEG if noisy
    past             g_t = g_{t-1/2}, the last query again: one query
    reflected        X_{t+1/2} = X_t + (X_t - X_{t-1}) instead, which need not be feasible: one query, one projection
    optimistic       X_{t+1} = P(X_t - gamma_t (2 g_t - g_{t-1})) with g_t = F(X_t) + U_t: one query, one projection

lead_t is gamma_t unless given; with errors a lead that is longer than the step converges where equal ones may not.
Queries start from nothing remembered, g_{-1} = 0 and X_{-1} = X_0. Without constraints and with a constant step past,
reflected and optimistic make the same queries: what optimistic calls X_t the others call X_{t+1/2}.

Korpelevich, Matekon 13 (1977); Popov, Math. Notes 28 (1980); Malitsky, SIAM J. Optim. 25 (2015); Daskalakis et al.,
ICLR 2018; compared by Hsieh, Iutzeler, Malick and Mertikopoulos, NeurIPS 2019, and with two step sizes, NeurIPS 2020.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from gamesim.feedback import Exact, Feedback
from gamesim.games.operators import assumption_cautions
from gamesim.games.variational import Point, VariationalInequality
from gamesim.parameters import check
from gamesim.randomness import Stream
from gamesim.schedules import Constant, StepSize

REACH = {"extragradient": 1.0, "past": 0.5, "reflected": 2**0.5 - 1, "optimistic": 0.5}
"""Times 1 / L, the steps below which each variant is known to converge where F is monotone."""


@dataclass(frozen=True)
class Looking:
    """The point X, and what the method remembers: its last query g or its last point."""

    policy: Point
    last: Point = ()


@dataclass(frozen=True)
class Extragradient:
    """Extragradient, past extragradient, reflected and optimistic gradient steps."""

    step_size: StepSize = Constant(0.1)
    """gamma: a number, or power(gamma, p, m) for gamma / (t + m)^p."""
    variant: Literal["extragradient", "past", "reflected", "optimistic"] = "extragradient"
    """What is known when looking ahead."""
    lead: StepSize | None = None
    """Step of the look ahead, of extragradient and past; none for the step size itself."""
    feedback: Feedback = Exact()
    """What is known of the operator: exact, or noisy(scale); realised or bandit for a game of actions."""

    requires: ClassVar[type] = VariationalInequality

    def __post_init__(self) -> None:
        check(self)

    def cautions(self, game: Any) -> list[str]:
        L = getattr(game, "lipschitz", None)
        limit = REACH[self.variant] / L if L else None
        return assumption_cautions(game, self.step_size, limit, noisy=not isinstance(self.feedback, Exact))

    def init(self, game: Any) -> Looking:
        x = game.start()
        if self.variant == "extragradient":
            return Looking(x)
        return Looking(x, x if self.variant == "reflected" else tuple(map(torch.zeros_like, x)))

    def step(self, t: int, game: Any, state: Looking, generator: Stream) -> Looking:
        gamma, x = self.step_size(t), state.policy
        lead = gamma if self.lead is None else self.lead(t)

        def ascent(point: Point) -> Point:  # -F, with its error
            return self.feedback(game, point, 0.0, generator)

        def moved(by: Any, direction: Point) -> Point:
            return tuple(a + by * v for a, v in zip(x, direction, strict=True))

        match self.variant:
            case "extragradient":
                half = game.project(moved(lead, ascent(x)))
                return Looking(game.project(moved(gamma, ascent(half))))
            case "past":
                seen = ascent(game.project(moved(lead, state.last)))
                return Looking(game.project(moved(gamma, seen)), seen)
            case "reflected":
                seen = ascent(moved(1.0, tuple(a - b for a, b in zip(x, state.last, strict=True))))
                return Looking(game.project(moved(gamma, seen)), x)
            case "optimistic":
                seen = ascent(x)
                twice = tuple(2 * g - h for g, h in zip(seen, state.last, strict=True))
                return Looking(game.project(moved(gamma, twice)), seen)
