"""What theorems ask of an operator F, looked for by cheap checks: where a method is run without it, a sentence says so.

monotone     <F(x) - F(y), x - y> >= 0, and curvature <F(x) - F(y), x - y> / |x - y|^2 is never negative
step sizes   that stay below a limit of the method's theorem, and fall where there is noise
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gamesim.games.variational import Point, distance
from gamesim.randomness import Stream
from gamesim.schedules import Schedule


def curvature(problem: Any, one: Point, other: Point) -> Tensor:
    """<F(x) - F(y), x - y> / |x - y|^2 [...]: never negative where F is monotone."""
    rise = [
        (f - g).neg() * (x - y) for x, y, f, g in zip(one, other, *map(problem.feedback, (one, other)), strict=True)
    ]
    return torch.stack([r.sum(-1) for r in rise]).sum(0) / distance(one, other).square().clamp(min=1e-300)


def violation(problem: Any, pairs: int = 256, scales: Sequence[float] = (0.1, 1.0, 10.0)) -> tuple[Point, Point] | None:
    """A pair of feasible points at which F is not monotone, the worst of some random pairs; None if none is found.

    Finding none proves nothing. Points are projections of normal ones around the start, at a few scales.
    """
    start, stream = problem.start(), Stream(0)

    def draw(scale: float) -> Point:
        normal = tuple(x + scale * stream.normal((pairs, *x.shape), x.dtype, x.device) for x in start)
        feasible: Point = problem.project(normal)
        return feasible

    worst: tuple[float, tuple[Point, Point] | None] = (0.0, None)
    for scale in scales:
        one, other = draw(scale), draw(scale)
        found = curvature(problem, one, other)
        found = torch.where(distance(one, other) > 1e-6 * scale, found, math.inf).reshape(pairs, -1).amin(-1)
        lowest = int(torch.where(found.isfinite(), found, math.inf).argmin())
        size = max(1.0, float(found[found.isfinite()].abs().amax())) if bool(found.isfinite().any()) else 1.0
        if float(found[lowest]) < min(worst[0], -1e-9 * size):
            pair = tuple(x[lowest] for x in one), tuple(x[lowest] for x in other)
            worst = float(found[lowest]), pair
    return worst[1]


def assumption_cautions(problem: Any, step_size: Schedule, limit: float | None, noisy: bool) -> list[str]:
    """Sentences on what is missing for convergence: monotonicity, a step within its limit, a falling one with noise."""
    found = []
    if not _monotone(problem):
        mu, slack = getattr(problem, "mu", None), getattr(problem, "slack", None)
        if mu and slack is not None:
            found.append(
                f"game: the operator is not monotone, only weakly quasi-strongly so (mu = {mu:g}, slack = {slack:g}): "
                f"small steps are sure to bring iterates within about {math.sqrt(slack / mu):.3g} of the solution, "
                "but not to it"
            )
        else:
            found.append(
                "game: the operator is not monotone, which the theorems on this method assume: iterates may circle, "
                "or stop where nobody would; look at the residual, or the exploitability, and try several starts"
            )
    first = float(torch.as_tensor(step_size(0)).max())
    if limit is not None and first > limit:
        found.append(f"step_size: {first:.4g} at the start is above {limit:.4g}, up to where convergence is known")
    if noisy and step_size.decay == 0:
        found.append(
            f"step_size: {step_size} does not fall, so with noisy feedback iterates keep moving about the solution: "
            "average them (gamesim.ergodic), or take power(scale, p) with 1/2 < p <= 1"
        )
    return found


def _monotone(problem: Any) -> bool:
    """As declared; where nothing is, whether a few hundred random pairs contradict it."""
    declared = getattr(problem, "monotone", None)
    return violation(problem) is None if declared is None else bool(declared)
