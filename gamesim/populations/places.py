"""How many agents, where they are, and how dense their network is."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.parameters import convert
from gamesim.randomness import Stream
from gamesim.schedules import Schedule

Positions = Literal["grid", "random", "unknown"] | Tensor | Sequence[float]
Density = float | Schedule | Callable[[int], float] | str

MOST_AGENTS = 10**7
"""Beyond, no memory holds their states."""


def density_at(density: Density, agents: int) -> float:
    """rho_N: a number, a function of N, or a schedule, counted so that power(1, 0.3) is N^(-0.3).

    >>> density_at("power(1, 0.5)", 100), density_at(lambda n: 10 / n, 100)
    (0.1, 0.1)
    """
    rule = density
    if isinstance(density, str | Schedule) or not callable(density):
        rule = convert(density, Schedule, "density")
    try:
        found = float(rule(agents - 1) if isinstance(rule, Schedule) else rule(agents))  # type: ignore[operator]
    except (ArithmeticError, TypeError, ValueError, RuntimeError):  # whatever a function of N does
        found = float("nan")
    if not 0 < found <= 1:
        at = "" if isinstance(density, float | int) else f"{density} at {agents} agents = "
        raise refuse("density", f"{at}{found:g}", "a density above 0 and at most 1")
    return found


def place_agents(positions: Positions, agents: int | None, generator: Stream) -> Tensor:
    """Positions in [0, 1], float64 [..., n]: (i + 1/2) / n, independent uniform ones, or those that are given.

    `unknown` is `random`: what is not known is not recorded, elsewhere. A batch of seeds is the leading dimension.
    """
    if not isinstance(positions, str):
        x = torch.as_tensor(positions, dtype=torch.float64).detach().cpu()
        if x.dim() != 1 or not len(x):
            raise refuse("positions", f"shape {list(x.shape)}", "grid, random, unknown, or numbers [n], one per agent")
        if agents not in (None, len(x)):
            raise refuse("positions", f"{len(x)} positions", f"{agents}, one per agent")
        bad = (~((x >= 0) & (x <= 1))).nonzero()
        if len(bad):
            raise refuse(f"positions[{int(bad[0, 0])}]", float(x[bad[0, 0]]), "a position between 0 and 1")
        return x
    if positions not in ("grid", "random", "unknown"):
        raise refuse("positions", positions, "grid, random, unknown, or numbers between 0 and 1")
    n = require_agents(agents)
    if positions == "grid":
        return (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return generator.uniform((*generator.front, n))


def require_agents(agents: int | None, least: int = 1) -> int:
    """A number of agents, as an int."""
    found: int = convert(agents, int, "agents")
    if not least <= found <= MOST_AGENTS:
        raise refuse("agents", found, f"a whole number from {least} to {MOST_AGENTS:,}")
    return found
