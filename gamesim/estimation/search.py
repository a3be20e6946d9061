"""Minimising many functions at once: BFGS with a leading dimension of starts, resamples or data sets.

    x' = x - t H g,    H' = (I - s y' / y's) H (I - y s' / y's) + s s' / y's,    s = x' - x,    y = g' - g,

each with a step t of its own by backtracking (Armijo). The gradient is torch's. H begins as the inverse of the
curvature, with the signs of its eigenvalues taken off, so that numbers of very different weight do no harm; when a
search has ended it is begun once more from there, which shows whether it had only lost its way.

Nocedal and Wright, "Numerical optimization", 2nd ed., chapters 3.4 and 6.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

ARMIJO = 1e-4
NOISE = 1e-9
"""Of a value: what rounding may have moved it by."""


class Minimum(NamedTuple):
    """Where the search ended: x[b, p] and value[b]; converged[b] says that no more than the tolerance was to be had."""

    x: Tensor
    value: Tensor
    converged: Tensor


def minimize(
    function: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    iterations: int = 50,
    tolerance: float = 1e-3,
    inverse: Tensor | None = None,
) -> Minimum:
    """Minimise f: x[b, p] -> [b], each row by itself, from start[b, p].

    With the inverse[p, p] of the curvature of a similar function the search is begun once, with that. A row has
    converged when it expects to gain less than `tolerance` (g' H g / 2, in units of f); a row that cannot descend any
    more, or whose value is not finite, stays where it is.
    """
    x = start.detach().clone()
    value, gradient = value_and_gradient(function, x)
    converged = torch.zeros_like(value, dtype=torch.bool)
    given = inverse
    for _ in range(2 if given is None else 1):
        inverse = inverse_curvature(function, x) if given is None else given.expand(len(x), -1, -1)
        first = -((gradient[:, None] @ inverse) @ gradient[..., None])[:, 0, 0]
        converged = (-first / 2 < tolerance + NOISE * value.abs()) & value.isfinite()
        if bool(converged.all()):
            break
        x, value, gradient, converged = _descend(
            function, x, value, gradient, inverse, converged | ~value.isfinite(), iterations, tolerance
        )
    return Minimum(x, value, converged & value.isfinite())


def _descend(
    function: Callable[[Tensor], Tensor], x: Tensor, value: Tensor, gradient: Tensor, inverse: Tensor, done: Tensor,
    iterations: int, tolerance: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """BFGS until every row is done: x, value, gradient, and which rows have converged."""
    one = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    converged = done.clone()
    for _ in range(iterations):
        direction = -(inverse @ gradient[..., None])[..., 0]
        slope = (direction * gradient).sum(-1)
        enough = ~done & (-slope / 2 < tolerance + NOISE * value.abs())
        converged |= enough
        done = done | enough
        if bool(done.all()):
            break
        step = torch.where(done, 0.0, 1.0).to(x)
        for _ in range(12):
            new_value, new_gradient = value_and_gradient(function, x + step[:, None] * direction)
            short = ~done & ~(new_value <= value + ARMIJO * step * slope + NOISE / 10 * value.abs())
            if not bool(short.any()):
                break
            step = torch.where(short, step / 4, step)
        moved = ~done & ~short
        done = done | short
        s = torch.where(moved, step, 0.0)[:, None] * direction
        y = torch.where(moved[:, None], new_gradient - gradient, 0.0)
        x = x + s
        enough = moved & (value - new_value < tolerance + NOISE * value.abs())  # a fresh start will tell
        converged, done = converged | enough, done | enough
        value, gradient = torch.where(moved, new_value, value), torch.where(moved[:, None], new_gradient, gradient)
        curved = (s * y).sum(-1)
        useful = moved & (curved > 1e-12 * s.norm(dim=-1) * y.norm(dim=-1)) & (curved > 0)
        safe = torch.where(useful, curved, 1.0)[:, None, None]
        half = one - s[:, :, None] * y[:, None, :] / safe
        updated = half @ inverse @ half.mT + s[:, :, None] * s[:, None, :] / safe
        inverse = torch.where(useful[:, None, None], updated, inverse)
    return x, value, gradient, converged


def value_and_gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """f(x)[b] and its gradient[b, p], detached; rows do not touch one another."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        value = function(x)
        (gradient,) = torch.autograd.grad(value[value.isfinite()].sum() + 0 * x.sum(), x)
    return value.detach(), torch.where(gradient.isfinite(), gradient, 0.0)


def curvature(function: Callable[[Tensor], Tensor], x: Tensor, width: float = 1e-2) -> Tensor:
    """The Hessian[b, p, p] of f at x[b, p], by central differences of the gradient."""
    shifts = width * torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    rows = [value_and_gradient(function, x + e)[1] - value_and_gradient(function, x - e)[1] for e in shifts]
    hessian = torch.stack(rows, -2) / (2 * width)
    return (hessian + hessian.mT) / 2


def inverse_curvature(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A positive definite stand-in for the inverse Hessian: its eigenvalues in absolute value, none of them tiny."""
    value, vector = torch.linalg.eigh(curvature(function, x).nan_to_num())
    value = value.abs()
    inverse: Tensor = vector @ (
        vector.mT / value.clamp(min=1e-3).maximum(1e-12 * value.amax(-1, keepdim=True))[..., None]
    )
    return inverse
