"""Confidence sets of models by total variation, and the worst model of a set for a policy.

Two Gaussian laws of the next state with independent errors N(0, sigma^2) of every number differ along one line only:

    TV( N(u, sigma^2 I), N(v, sigma^2 I) ) = erf( |u - v|_F / (2 sqrt(2) sigma) )
    M(zeta) = { F : (1/n) sum_k TV( P_F(. | S_k, A_k), P_hat(. | S_k, A_k) )^2 <= zeta }

|.|_F grows like sqrt(N) where every agent is wrong by as much, and TV tends to 1; `scaled` divides by sqrt(N). By
Pinsker's inequality TV^2 <= KL / 2, and 2 n KL of a maximum likelihood fit of P parameters is about chi^2 of P degrees:

    zeta = (P + 2 sqrt(P l) + 2 l) / 4 n,  l = log(1 / delta)            exact for linear models with Gaussian errors
    zeta = (P log(N P n) + l) / 4 n                                      uniform over models, as the theory has it

Zhang et al., "Relational reasoning via set transformers", NeurIPS 2022, arXiv 2209.09845; Uehara and Sun, "Pessimistic
model-based offline reinforcement learning under partial coverage", ICLR 2022, arXiv 2107.06226.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gamesim.attention.layout import Layout
from gamesim.errors import refuse
from gamesim.shapes import broadcast_shapes


def total_variation(mean_difference: Tensor, layout: Layout, sigma: float | Tensor, scaled: bool = False) -> Tensor:
    """TV of the two laws of each set's next state, [..., b], for differences of their means [..., row, d].

    sigma is the standard deviation of every number, or a tensor that broadcasts against [..., b]. `scaled` divides
    distances by the root of the number of rows of a set. A set without rows has 0.
    """
    if not bool((torch.as_tensor(sigma) > 0).all()):
        raise refuse("sigma", sigma, "a standard deviation above 0")
    squared = layout.sum(mean_difference.square()).sum(-1)
    if scaled:
        squared = squared / layout.sizes.clamp(min=1).to(squared.dtype)
    safe = torch.where(squared > 0, squared, 1.0)  # the root has no gradient at 0
    return gaussian_variation(torch.where(squared > 0, safe.sqrt(), 0.0), sigma)


def gaussian_variation(distance: Tensor, sigma: float | Tensor) -> Tensor:
    """erf(distance / (2 sqrt(2) sigma))[...], of distances |u - v| of means."""
    return torch.erf(distance / (2 * math.sqrt(2) * sigma))


def fitted_radius(parameters: int, samples: int, delta: float) -> float:
    """zeta with which the true model is in M(zeta) with probability 1 - delta, for linear models, Gaussian errors."""
    log = math.log(1 / delta)
    return (parameters + 2 * math.sqrt(parameters * log) + 2 * log) / (4 * samples)


def uniform_radius(parameters: int, agents: int, samples: int, delta: float) -> float:
    """zeta of a uniform bound over models of so many parameters: it grows like log N."""
    return (parameters * math.log(agents * parameters * samples) + math.log(1 / delta)) / (4 * samples)


STEPS, SHORT = 6, 0.999
"""Trials of how far a line may be followed, and how much less than seems possible after one that was too far."""
PARTS = (0.25, 0.5, 0.75, 1.0)
"""Of the way to the boundary, tried along the first lines: the worst model need not be there."""
STRIDES = (0.5, 0.15)
"""Of the width of the set: how far models move downhill before they are drawn back."""


class Worst(NamedTuple):
    """The worst model that was found in a confidence set."""

    value: Tensor
    """[...]."""
    model: Tensor
    """Its parameters[..., w]."""


def worst_model(
    value: Callable[[Tensor], Tensor],
    distance: Callable[[Tensor], Tensor],
    centre: Tensor,
    metric: Tensor,
    zeta: float,
    *,
    within: Callable[[Tensor], Tensor] = lambda model: model,
    rounds: int = 12,
) -> Worst:
    """min V(w) over distance(w) <= zeta, for models w[..., w] of a few parameters, all of a batch together.

    distance is the mean squared total variation from `centre`, about quadratic there with a form like
    metric[..., w, w], and `within` moves parameters to where they are lawful. Lines from the centre are tried down the
    gradient, against it and along the axes of the metric; from the best point on, steps go down the gradient and are
    drawn back towards the centre into the set. What is found is in the set, so its value is an upper bound of the
    minimum.
    """
    batch = broadcast_shapes(centre.shape[:-1], value(centre).shape)
    centre = centre.expand(*batch, centre.shape[-1])
    factor = torch.linalg.cholesky(metric).expand(*batch, *metric.shape[-2:])
    best, model = value(centre), centre

    def consider(here: Tensor) -> None:
        nonlocal best, model
        found = value(here)
        lower = found < best
        best, model = torch.where(lower, found, best), torch.where(lower[..., None], here, model)

    def allowed(w: Tensor) -> Tensor:
        return distance(within(w))

    def steepest(of: Callable[[Tensor], Tensor], here: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient, and the way up as the metric has it."""
        with torch.enable_grad():
            leaf = here.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(of(leaf).sum(), leaf)
        up: Tensor = torch.cholesky_solve(gradient[..., None], factor)[..., 0]
        return gradient, up

    def unit(way: Tensor) -> Tensor:
        """Of length 1 in the metric."""
        length: Tensor = (factor.mT @ way[..., None])[..., 0].square().sum(-1, keepdim=True).sqrt()
        return way / length.clamp(min=torch.finfo(way.dtype).tiny)

    def down(here: Tensor, along: bool) -> Tensor:
        """Down the gradient, or as far along the boundary of the set as it leads out of it."""
        _, up = steepest(value, here)
        if along:
            normal, out = steepest(allowed, here)
            leaves = (-(up * normal).sum(-1, keepdim=True)).clamp(min=0)
            up = up + leaves / (out * normal).sum(-1, keepdim=True).clamp(min=1e-30) * out
        return unit(-up)

    first = down(centre, False)
    identity = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    axes = torch.linalg.solve_triangular(factor.mT, identity, upper=True)
    width = torch.zeros_like(best)
    for line in (first, -first, *(sign * axis for axis in axes.unbind(-1) for sign in (1, -1))):
        far = _reaching(allowed, centre, line, zeta)
        width = torch.maximum(width, far.clamp(max=2 * math.sqrt(zeta)))
        for part in PARTS:
            consider(within(centre + part * far[..., None] * line))
    for k in range(rounds):
        ahead = down(model, along=k % 4 > 0)
        for stride in STRIDES:
            line = within(model + (stride * 0.8**k * width)[..., None] * ahead) - centre
            far = _reaching(allowed, centre, line, zeta, torch.ones_like(width)).clamp(max=1)
            consider(within(centre + far[..., None] * line))
    return Worst(best, model)


def _reaching(
    distance: Callable[[Tensor], Tensor], centre: Tensor, unit: Tensor, zeta: float, far: Tensor | None = None
) -> Tensor:
    """How far along unit[..., w] one may go until distance = zeta, from within: exact at once where it is quadratic."""
    far = torch.full_like(unit[..., 0], math.sqrt(zeta)) if far is None else far
    low, high = torch.zeros_like(far), torch.full_like(far, torch.inf)
    for _ in range(STEPS):
        found = distance(centre + far[..., None] * unit)
        inside = found <= zeta
        low, high = torch.where(inside, torch.maximum(low, far), low), torch.where(inside, high, far)
        guess = far * (zeta / found.clamp(min=zeta / 16)).sqrt() * torch.where(inside, 1.0, SHORT)
        far = torch.where((guess > low) & (guess < high), guess, (low + high.clamp(max=1e9)) / 2)
    return low
