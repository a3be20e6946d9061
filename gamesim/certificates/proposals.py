"""Step sizes from the eigenvalues kappa of the derivative of Lambda at the equilibrium.

At the equilibrium the values Q^pi do not change to first order with pi in a fixed flow, since pi is optimal in it. So
dQ/dy has the eigenvalues lam kappa, and with a = lam eta the error of policy mirror descent is multiplied by

    1 - a (1 - kappa)                                                      a = lam eta < 1

along each eigenvector; that of GMFG-PPO, with a = lam eta' / (1 + lam eta') and averaging alpha, by the matrix

    [ 1 - a               a                    ]
    [ alpha kappa (1 - a)   1 - alpha + alpha kappa a ]

whose alpha = 1 is the line above. Proposed are the a and alpha of the smallest spectral radius over all kappa found, 0,
and kappa a tenth larger. In a weakly monotone game with P independent of z every kappa has real part <= 0, so some step
converges near the equilibrium; with a symmetric linear interaction kappa is in [-c, 0] and, without the tenth,

    policy mirror descent    a = 2 / (2 + c)                              error times c / (c + 2) per iteration
    GMFG-PPO                 a = alpha = 2 (sqrt(1 + c) - 1) / c          error times 1 - a, where a^2 c = 4 (1 - a)

The averaged flow of GMFG-PPO damps as momentum does: about sqrt(c) / 2 iterations for each c / 2.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gamesim.certificates.contraction import Contraction
from gamesim.certificates.equilibrium import descend, negligible
from gamesim.games import GraphonGame

MARGIN = 1.1
"""Factor by which eigenvalues may be larger than found."""
LARGEST_PULL = 0.95
SHRINK = (1.0, 0.5, 0.25)
"""Multiples of the proposed a and alpha that are tried, in this order."""
AT_ZERO = (
    "without entropy the best response jumps, so no constant step is proposed; online mirror descent with steps that "
    "fall like 1/sqrt(t) keeps its average regret falling, its scale is that of multiplicative weights and not tuned; "
    "a small temperature gives more"
)


@dataclass(frozen=True)
class Tuning:
    """Parameters of one solver, what theory expects of them, and what a trial from the uniform policy gave."""

    step_size: float
    averaging: float | None
    """None where the solver has no such thing."""
    rate: float | None
    """Expected factor of the error per iteration near the equilibrium; exploitability falls by its square."""
    iterations: int | None
    """Iterations until the regularised exploitability is 1e-9 of its start; None where it was not reached."""


@dataclass(frozen=True)
class Proposal:
    """What to give to the solvers, with the reason."""

    temperature: float
    reason: str
    policy_mirror_descent: Tuning | None
    gmfg_ppo: Tuning | None
    online_mirror_descent: str | None
    """A schedule for temperature 0, as the command line writes it."""


class Pull(NamedTuple):
    """a = lam eta of mirror descent, averaging alpha, and the spectral radius that they give."""

    a: float
    alpha: float
    rate: float


def propose(game: GraphonGame, found: Contraction, iterations: int) -> Proposal:
    """Step sizes for policy mirror descent and GMFG-PPO, tried from the uniform policy for so many iterations."""
    lam = found.temperature
    if lam == 0:
        return Proposal(lam, AT_ZERO, None, None, _decreasing(game))
    kappa = torch.tensor([0j, *(complex(*pair) for pair in found.eigenvalues)], dtype=torch.complex128)
    if float(kappa.real.max()) >= 1:
        what = "the equilibrium repels every step size" if found.local is not None else "no equilibrium was found"
        reason = (
            f"an eigenvalue has real part {float(kappa.real.max()):.3g}, not below 1: {what}; raise the temperature"
        )
        return Proposal(lam, reason, None, None, None)
    plain, first = _tried(game, lam, kappa, best_pull(kappa, averaged=False), iterations)
    averaged, second = _tried(game, lam, kappa, best_pull(kappa, averaged=True), iterations)
    return Proposal(
        lam,
        _reason(found, kappa, iterations, first, second),
        Tuning(plain.a / lam, None, plain.rate, first),
        Tuning(averaged.a / (1 - averaged.a) / lam, averaged.alpha, averaged.rate, second),
        None,
    )


def spectral_radius(kappa: Tensor, a: Tensor, alpha: Tensor) -> Tensor:
    """The larger eigenvalue, in absolute value, of the error's matrix for kappa, a and alpha[...] that broadcast."""
    trace, determinant = 2 - a - alpha + alpha * a * kappa, (1 - a) * (1 - alpha)
    root = torch.sqrt(trace**2 - 4 * determinant + 0j)
    return torch.maximum((trace + root).abs(), (trace - root).abs()) / 2


def best_pull(kappa: Tensor, *, averaged: bool) -> Pull:
    """The a, and with `averaged` the alpha, of the smallest spectral radius over eigenvalues kappa[i]."""
    known = torch.cat([kappa, torch.where(kappa.real < 0, MARGIN * kappa, kappa)])
    least = min(1e-3, 0.5 / (1 + float(known.abs().max())))
    grid = torch.logspace(math.log10(least), math.log10(LARGEST_PULL), 150, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    alpha = torch.cat([grid, one]) if averaged else one
    radius = torch.stack([spectral_radius(known, a, alpha[:, None]).amax(-1) for a in grid])
    i, j = divmod(int(radius.argmin()), len(alpha))
    return _rated(kappa, float(grid[i]), float(alpha[j]))


def _rated(kappa: Tensor, a: float, alpha: float) -> Pull:
    exact = torch.tensor([a, alpha], dtype=torch.float64)
    return Pull(a, alpha, float(spectral_radius(kappa, exact[0], exact[1]).max()))


def _tried(game: GraphonGame, lam: float, kappa: Tensor, pull: Pull, iterations: int) -> tuple[Pull, int | None]:
    """The largest multiple of a pull that reaches the target from the uniform policy, and its iterations.

    Eigenvalues speak of the neighbourhood of the equilibrium; the way there may need smaller steps.
    """
    target = negligible(game, lam)
    best, least = pull, torch.inf
    for factor in SHRINK if iterations else ():
        tried = _rated(kappa, pull.a * factor, pull.alpha * factor if pull.alpha < 1 else 1.0)
        a, alpha = torch.tensor([tried.a], **game.like), torch.tensor([tried.alpha], **game.like)
        gap = descend(game, lam, a, alpha, iterations, target).exploitability[:, 0]
        if float(gap[-1]) <= target:
            return tried, len(gap)
        if float(gap[-1]) < least:
            best, least = tried, float(gap[-1])
    return best, None


def _decreasing(game: GraphonGame) -> str:
    """sqrt(8 log A) / (span of Q) / sqrt(t + 1), the step of multiplicative weights, in the units of the game."""
    (q,) = game.feedback(game.start())
    span = float((q.amax(-1) - q.amin(-1)).max())
    scale = math.sqrt(8 * math.log(q.shape[-1])) / span if span > 0 and q.shape[-1] > 1 else 1.0
    return f"power({scale:.3g}, 0.5)"


def _reason(found: Contraction, kappa: Tensor, iterations: int, *counts: int | None) -> str:
    low, turn, high = float(kappa.real.min()), float(kappa.imag.abs().max()), float(kappa.real.max())
    where = "at the equilibrium" if found.local is not None else "where the search for an equilibrium ended"
    words = f"the response to the population has eigenvalues with real parts {low:.3g} to {high:.3g} {where}"
    if turn > 1e-6:
        words += f" and imaginary parts up to {turn:.3g}"
    words += "; these steps have the smallest spectral radius for them"
    if iterations and None in counts:
        words += (
            f"; a trial of {iterations} iterations did not reach the target: lower the steps or raise the temperature"
        )
    return words
