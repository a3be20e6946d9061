"""vi-bias-richardson: a constant step leaves a bias that is linear in the step, and extrapolation takes it out.

Vlatakis-Gkaragkounis, Giannou, Chen and Xie, "Stochastic methods in variational inequalities: ergodicity, bias and
refinements", AISTATS 2024: for gradient descent ascent and extragradient with noise and a constant step g

    E_{pi_g} x - x* = g Delta + o(g)        and        2 E_{pi_g} x - E_{pi_2g} x - x* = o(g).

On the softplus saddle, F'' is not 0, N(0, 1) errors. Delta itself is known there in closed form, the same for all
methods: -J^-1 F''(x*)[S] / 2 with J S + S J' = 1. Of a linear operator the bias is exactly 0, unless a projection is
active. Chains share their random numbers between steps, and averages are adjusted for the numbers drawn.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gamesim.algorithms.extragradient import Extragradient
from gamesim.algorithms.gradient_descent_ascent import GradientDescentAscent
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.variational.quadratic import Quadratic
from gamesim.envs.variational.softplus import Softplus
from gamesim.ergodic import Ladder, bias_ladder, leading_bias
from gamesim.feedback import Noisy
from gamesim.games.domains import Ball
from gamesim.study import Claim, Scale, Study, at_least, at_most

STEPS = (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4)
NOISE = Noisy(1.0)
METHODS: Mapping[str, Any] = {
    "gradient descent ascent": GradientDescentAscent(feedback=NOISE),
    "extragradient": Extragradient(feedback=NOISE),
    "optimistic": Extragradient(variant="optimistic", feedback=NOISE),
}
REFERENCE = {
    "gradient descent ascent": {0.05: 0.0063, 0.1: 0.0128, 0.2: 0.0278, 0.4: 0.0665},
    "extragradient": {0.05: 0.0066, 0.1: 0.0135, 0.2: 0.0294, 0.4: 0.0715},
    "optimistic": {0.05: 0.0072, 0.1: 0.0167, 0.2: 0.0474, 0.4: 0.219},
}
"""|bias| measured by independent code with 256 chains, standard error REFERENCE_ERROR."""
REFERENCE_RICHARDSON = {
    "gradient descent ascent": {0.05: 2e-4, 0.1: 0.0023, 0.2: 0.0111},
    "extragradient": {0.05: 3e-4, 0.1: 0.0026, 0.2: 0.0131},
}
"""|2 x_g - x_2g - x*| by the same code."""
REFERENCE_ERROR = 2e-4
LINEAR_STEPS = (0.025, 0.05, 0.1)


@dataclass(frozen=True)
class VIBiasRichardson:
    """Bias ladders of three methods on a saddle that is not quadratic, on one that is, and on one with a wall."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        size = {"seeds": 256, "iterations": 12_000 if scale == "quick" else 100_000}
        linear = {"seeds": 256, "iterations": 3_000 if scale == "quick" else 100_000}
        claims, rows = list[Claim](), list[dict[str, object]]()
        raw, extrapolated = list[Curve](), list[Curve]()
        problem = Softplus()
        theory = float(leading_bias(problem).norm())
        for name, solver in METHODS.items():
            ladder = bias_ladder(problem, solver, STEPS, **size)
            claims += _judge(name, ladder, theory)
            rows += _rows("softplus", name, ladder)
            raw.append(_curve(name, [ladder.only(g) for g in STEPS]))
            extrapolated.append(_curve(name, [ladder.extrapolated(g, 2 * g) for g in STEPS[:-1]]))
            norms = ladder.norm.tolist()
            say(f"  {name}: |bias| {', '.join(f'{g:g}: {n:.2e}' for g, n in zip(STEPS, norms, strict=True))}")

        for name, solver in METHODS.items():
            ladder = bias_ladder(Quadratic(), solver, LINEAR_STEPS, **linear)
            rows += _rows("quadratic", name, ladder)
            z = float((ladder.bias / ladder.error).abs().amax())
            bound = _quantile(ladder.bias.numel())
            claims.append(
                at_most(
                    f"zero-{name.replace(' ', '-')}",
                    f"{name}: no bias on a linear operator, in standard errors",
                    z,
                    bound,
                )
            )
            say(f"  {name}, linear operator: largest bias {float(ladder.bias.abs().amax()):.1e}, {z:.1f} errors")
        held = bias_ladder(Quadratic(domain=Ball(0.55)), METHODS["gradient descent ascent"], LINEAR_STEPS, **linear)
        rows += _rows("quadratic in a ball", "gradient descent ascent", held)
        z = float((held.bias / held.error).abs().amax())
        claims.append(at_least("projection", "a projection that is active brings a bias, in standard errors", z, 5.0))
        notes = (
            "Reference figures are those of independent code with 256 chains and a standard error of 2e-4. "
            f"Theory says |bias| = {theory:.4f} g for small steps g, for every method; the optimistic one leaves "
            "the linear regime first, where extrapolation helps less."
        )
        panels = [
            Panel("Stationary mean minus solution", "step size g", "|bias|", raw, log_x=True, theory={"g": 1.0}),
            Panel("Extrapolated from g and 2g", "step size g", "|bias|", extrapolated, log_x=True, theory={"g^2": 2.0}),
        ]
        return Study(claims, [Chart("bias", panels)], rows, notes)


def _judge(name: str, ladder: Ladder, theory: float) -> list[Claim]:
    id = name.replace(" ", "-")
    found = []
    away = [
        (float(part.norm[0]) - figure) / math.hypot(float(part.norm_error[0]), REFERENCE_ERROR)
        for part, figure in [
            *((ladder.only(g), figure) for g, figure in REFERENCE[name].items()),
            *((ladder.extrapolated(g, 2 * g), figure) for g, figure in REFERENCE_RICHARDSON.get(name, {}).items()),
        ]
    ]
    worst = max(map(abs, away))
    found.append(at_most(f"reference-{id}", f"{name}: |bias| as the reference has it, in standard errors", worst, 3.0))

    slope, (low, high) = ladder.only(*STEPS[:2]).slope
    statement = f"{name}: |bias| is linear in small steps, exponent from g = {STEPS[0]} and {STEPS[1]} at"
    found.append(at_least(f"linear-least-{id}", f"{statement} least 0.8", slope, 0.8, (low, high)))
    found.append(at_most(f"linear-most-{id}", f"{statement} most 1.2", slope, 1.2, (low, high)))

    coefficient, error = ladder.coefficient(*STEPS[1:4])
    off, half = abs(float(coefficient.norm()) - theory) / theory, 3 * float(error.norm()) / theory
    words = f"{name}: the slope of the bias at 0 is what theory predicts, relative error at most 3 standard errors"
    found.append(at_most(f"theory-{id}", words, off, half))

    g = 0.0125 if name == "optimistic" else 0.05  # optimistic leaves the linear regime early
    ratio, interval = ladder.ratio((g, 2 * g))
    found.append(
        at_most(
            f"richardson-{id}", f"{name}: extrapolation leaves at most 1/5 of the bias at g = {g}", ratio, 0.2, interval
        )
    )
    if name != "optimistic":
        ratio, interval = ladder.ratio((0.1, 0.2))
        words = f"{name}: extrapolation leaves at most 1/3 of the bias at g = 0.1"
        found.append(at_most(f"richardson-wide-{id}", words, ratio, 1 / 3, interval))
    return found


def _curve(name: str, parts: list[Ladder]) -> Curve:
    """Norms of the bias with two standard errors around them; below a tenth of the norm a band is cut."""
    norms = [float(part.norm[0]) for part in parts]
    errors = [2 * float(part.norm_error[0]) for part in parts]
    low = [max(n - e, n / 10) for n, e in zip(norms, errors, strict=True)]
    high = [n + e for n, e in zip(norms, errors, strict=True)]
    return Curve(name, [part.step_sizes[0] for part in parts], norms, low, high, dots=True)


def _rows(problem: str, method: str, ladder: Ladder) -> list[dict[str, object]]:
    """Raw and extrapolated norms, tidy."""
    pairs = [g for g in ladder.step_sizes if 2 * g in ladder.step_sizes]
    parts = [("raw", ladder.only(g)) for g in ladder.step_sizes]
    parts += [("extrapolated", ladder.extrapolated(g, 2 * g)) for g in pairs]
    return [
        {
            "problem": problem,
            "method": method,
            "kind": kind,
            "step_size": part.step_sizes[0],
            "norm": float(part.norm[0]),
            "error": float(part.norm_error[0]),
        }
        for kind, part in parts
    ]


def _quantile(count: int) -> float:
    """What the largest of so many standard normal numbers exceeds once in a thousand."""
    from scipy.stats import norm

    return float(norm.isf(0.0005 / count))
