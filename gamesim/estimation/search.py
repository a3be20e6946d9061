"""Minimising many functions at once: BFGS with a leading dimension of starts, resamples or data sets.

    x' = x - t H g,    H' = (I - s y' / y's) H (I - y s' / y's) + s s' / y's,    s = x' - x,    y = g' - g,

each row with a step t of its own by backtracking (Armijo). The gradient is torch's. H begins as the inverse of the
curvature, with the signs of its eigenvalues taken off, so that numbers of very different weight do no harm; when a
search has ended it is begun once more from there, which shows whether it had only lost its way.

Nocedal and Wright, "Numerical optimization", 2nd ed., chapters 3.4 and 6.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]
"""x[b, p] -> [b], row by row."""
ARMIJO = 1e-4
NOISE = 1e-9
"""Of a value: what rounding may have moved it by."""
QUARTERINGS = 12
"""Steps that are tried along a direction, each a quarter of the one before."""
FLATTEST = 1e-3
"""The smallest curvature that a step is divided by."""


class Minimum(NamedTuple):
    """Where the search ended: x[b, p] and value[b]; converged[b] says that no more than the tolerance was to be had."""

    x: Tensor
    value: Tensor
    converged: Tensor
    inverse: Tensor
    """What became of H, [b, p, p]."""


def minimize(
    function: Function, start: Tensor, *, iterations: int = 50, tolerance: float = 1e-3, inverse: Tensor | None = None
) -> Minimum:
    """Minimise f: x[b, p] -> [b], each row by itself, from start[b, p].

    With the inverse[..., p, p] of the curvature of a similar function the search is begun once, with that. A row has
    converged when it expects to gain less than `tolerance` (g' H g / 2, in units of f); a row that cannot descend any
    more, or whose value is not finite, stays where it is.
    """
    x = start.detach().clone()
    here = _Point(x, *value_and_gradient(function, x))
    H = inverse_curvature(function, x) if inverse is None else inverse.expand(*x.shape, x.shape[-1])
    for attempt in range(2 if inverse is None else 1):
        if attempt:
            H = inverse_curvature(function, here.x)
        here, H, converged = _descend(function, here, H, iterations, tolerance)
        if not attempt and bool(converged.all()) and torch.equal(here.x, x):
            break  # there was nothing to do
    return Minimum(here.x, here.value, converged & here.value.isfinite(), H)


@dataclass(frozen=True)
class _Point:
    """x[b, p] with the value[b] and the gradient[b, p] there."""

    x: Tensor
    value: Tensor
    gradient: Tensor

    @property
    def rounding(self) -> Tensor:
        """What the value may be wrong by, [b]."""
        return NOISE * self.value.abs()


def _descend(
    function: Function, here: _Point, H: Tensor, iterations: int, tolerance: float
) -> tuple[_Point, Tensor, Tensor]:
    """BFGS until every row is done: where it ended, H, and which rows have converged."""
    converged = torch.zeros_like(here.value, dtype=torch.bool)
    done = ~here.value.isfinite()
    for _ in range(iterations):
        direction = -(H @ here.gradient[..., None])[..., 0]
        slope = (direction * here.gradient).sum(-1)
        enough = ~done & (-slope / 2 < tolerance + here.rounding)
        converged, done = converged | enough, done | enough
        if bool(done.all()):
            break
        there, step = _backtrack(function, here, direction, slope, done)
        moved = step > 0
        enough = (step == 1) & (here.value - there.value < tolerance + here.rounding)
        done = done | ~moved
        converged, done = converged | enough, done | enough
        s = torch.where(moved[:, None], there.x - here.x, 0.0)
        y = torch.where(moved[:, None], there.gradient - here.gradient, 0.0)
        H = _updated(H, s, y)
        here = _Point(
            here.x + s,
            torch.where(moved, there.value, here.value),
            torch.where(moved[:, None], there.gradient, here.gradient),
        )
    return here, H, converged


def _backtrack(
    function: Function, here: _Point, direction: Tensor, slope: Tensor, done: Tensor
) -> tuple[_Point, Tensor]:
    """The first point along the direction that is low enough, for each row, and how far it is; 0 where none was."""
    step = torch.where(done, 0.0, 1.0).to(here.x)
    for _ in range(QUARTERINGS):
        x = here.x + step[:, None] * direction
        there = _Point(x, *value_and_gradient(function, x))
        short = ~done & ~(there.value <= here.value + ARMIJO * step * slope + here.rounding / 10)
        if not bool(short.any()):
            break
        step = torch.where(short, step / 4, step)
    return there, torch.where(short, 0.0, step)


def _updated(H: Tensor, s: Tensor, y: Tensor) -> Tensor:
    """H after a step s with the change y of the gradient; as it was where y's shows no curvature."""
    curved = (s * y).sum(-1)
    useful = (curved > 1e-12 * s.norm(dim=-1) * y.norm(dim=-1)) & (curved > 0)
    safe = torch.where(useful, curved, 1.0)[:, None, None]
    half = torch.eye(s.shape[-1]).to(s) - s[:, :, None] * y[:, None, :] / safe
    updated = half @ H @ half.mT + s[:, :, None] * s[:, None, :] / safe
    return torch.where(useful[:, None, None], updated, H)


def value_and_gradient(function: Function, x: Tensor) -> tuple[Tensor, Tensor]:
    """f(x)[b] and its gradient[b, p], detached; rows do not touch one another."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        value = function(x)
        (gradient,) = torch.autograd.grad(value[value.isfinite()].sum() + 0 * x.sum(), x)
    return value.detach(), torch.where(gradient.isfinite(), gradient, 0.0)


def curvature(function: Function, x: Tensor, width: float = 1e-2) -> Tensor:
    """The Hessian[b, p, p] of f at x[b, p], by central differences of the gradient."""
    shifts = width * torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    rows = [value_and_gradient(function, x + e)[1] - value_and_gradient(function, x - e)[1] for e in shifts]
    hessian = torch.stack(rows, -2) / (2 * width)
    return (hessian + hessian.mT) / 2


def inverse_curvature(function: Function, x: Tensor) -> Tensor:
    """A positive definite stand-in for the inverse Hessian: its eigenvalues in absolute value, none of them tiny."""
    value, vector = torch.linalg.eigh(curvature(function, x).nan_to_num())
    value = value.abs()
    least = (1e-12 * value.amax(-1, keepdim=True)).clamp(min=FLATTEST)
    inverse: Tensor = vector @ (vector.mT / value.maximum(least)[..., None])
    return inverse
