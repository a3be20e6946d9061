"""vi-clt: averages of a constant-step method obey a central limit theorem, and batch means estimate its variance.

Vlatakis-Gkaragkounis, Giannou, Chen and Xie, "Stochastic methods in variational inequalities: ergodicity, bias and
refinements", AISTATS 2024: with noise and a constant step g the iterates have a unique stationary law pi_g, and

    sqrt(T) ((1/T) sum_t x_t - E_{pi_g} x) -> N(0, Sigma_g),

so that the variance of the scaled average settles as T grows, its law is normal, and one chain gives an interval.
Thousands of stationary chains on the softplus saddle, N(0, 1) errors, g = 0.1; for small g Sigma is J^-1 J^-T.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamesim.algorithms.extragradient import Extragradient
from gamesim.algorithms.gradient_descent_ascent import GradientDescentAscent
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.variational.softplus import Softplus
from gamesim.ergodic import Average, average, limit_covariance, long_run_variance, run_chains, split_r_hat
from gamesim.feedback import Noisy
from gamesim.study import Claim, Scale, Study, at_least, at_most

STEP = 0.1
LENGTHS = (200, 1000, 5000)
WIDTH = 50
REFERENCE = {200: 0.33, 1000: 0.33, 5000: 0.34}
"""Variance of sqrt(T) times the first coordinate's average of gradient descent ascent, by independent code."""
REFERENCE_ERROR = 0.005
METHODS: Mapping[str, Any] = {
    "gradient descent ascent": GradientDescentAscent(feedback=Noisy(1.0)),
    "extragradient": Extragradient(feedback=Noisy(1.0)),
}


@dataclass(frozen=True)
class VIClt:
    """The variance of scaled averages over T, against batch means and theory; normality; coverage of the intervals."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        seeds = 2_000 if scale == "quick" else 20_000
        claims, rows, curves, densities = list[Claim](), list[dict[str, object]](), list[Curve](), list[Curve]()
        problem = Softplus()
        limit = float(limit_covariance(problem)[0, 0])
        for name, solver in METHODS.items():
            found = run_chains(
                problem, solver, step_sizes=[STEP], seeds=seeds, burn_in=500, iterations=500 + LENGTHS[-1],
                cells=LENGTHS[-1] // WIDTH,
            )  # fmt: skip
            cells = found.cells[:, 0]  # [seed, d, cell]
            centre = cells.mean((0, -1))
            scaled = {T: math.sqrt(T) * (cells[:, 0, : T // WIDTH].mean(-1) - centre[0]) for T in LENGTHS}
            intervals = average(cells[:, 0])
            batch = WIDTH * long_run_variance(cells[:, 0], "overlapping")  # cells are means of WIDTH values
            claims += _judge(name, scaled, batch, intervals, float(centre[0]))
            mixed = float(split_r_hat(cells).max())
            claims.append(at_most(f"mixed-{_id(name)}", f"{name}: chains have mixed, split R-hat", mixed, 1.01))
            for T, sample in scaled.items():
                variance, error = _variance(sample)
                row = {"method": name, "T": T, "variance": variance, "error": error, "kurtosis": _kurtosis(sample)}
                rows.append({**row, "batch_means": float(batch.mean()), "limit": limit})
                say(f"  {name}, T = {T}: variance {variance:.4f} +- {error:.4f}, kurtosis {row['kurtosis']:.2f}")
            y = [_variance(sample)[0] for sample in scaled.values()]
            errors = [1.96 * _variance(sample)[1] for sample in scaled.values()]
            low, high = ([v + sign * e for v, e in zip(y, errors, strict=True)] for sign in (-1, 1))
            curves.append(Curve(name, LENGTHS, y, low, high, dots=True))
            curves.append(Curve(f"{name}, batch means", LENGTHS, [float(batch.mean())] * 3, dashed=True))
            densities.append(_histogram(name, scaled[LENGTHS[-1]] / batch.mean().sqrt()))
        x = torch.linspace(-4, 4, 81, dtype=torch.float64)
        normal = (-x.square() / 2).exp() / math.sqrt(2 * math.pi)
        densities.append(Curve("standard normal", x.tolist(), normal.tolist(), dashed=True))
        panels = [
            Panel("Variance of the scaled average", "T", "variance", curves, log_x=True, log_y=False),
            Panel(
                f"Its law at T = {LENGTHS[-1]}",
                "sqrt(T) (mean - E x) / sigma, sigma by batch means",
                "density",
                densities,
                log_y=False,
            ),
        ]
        notes = f"{seeds} chains. For small steps theory says {limit:.4f}; at step {STEP} a little more."
        return Study(claims, [Chart("clt", panels)], rows, notes)


def _judge(name: str, scaled: Mapping[int, Tensor], batch: Tensor, intervals: Average, centre: float) -> list[Claim]:
    from scipy.stats import binomtest, jarque_bera

    id, found = _id(name), list[Claim]()
    variances = {T: _variance(sample) for T, sample in scaled.items()}
    last, last_error = variances[LENGTHS[-1]]
    drift = max(abs(v - last) / math.hypot(e, last_error) for v, e in variances.values())
    words = f"{name}: the variance at T = {LENGTHS[0]}, {LENGTHS[1]} is that at {LENGTHS[2]}, in standard errors"
    found.append(at_most(f"stable-{id}", words, drift, 3.0))

    ratio, half = float(batch.mean()) / last, 1.96 * last_error / last
    words = f"{name}: mean batch-means estimate over the variance between chains, at"
    found.append(at_least(f"batch-means-least-{id}", f"{words} least 0.9", ratio, 0.9, (ratio - half, ratio + half)))
    found.append(at_most(f"batch-means-most-{id}", f"{words} most 1.1", ratio, 1.1, (ratio - half, ratio + half)))

    p = min(1.0, len(scaled) * min(float(jarque_bera(sample.numpy()).pvalue) for sample in scaled.values()))
    found.append(at_least(f"normal-{id}", f"{name}: scaled averages pass for normal, p (Jarque-Bera)", p, 0.01))
    error = math.sqrt(24 / len(batch))
    off = max(abs(_kurtosis(sample) - 3) for sample in scaled.values())
    found.append(at_most(f"kurtosis-{id}", f"{name}: kurtosis is 3, within 3.5 standard errors", off / error, 3.5))

    inside = (intervals.low <= centre) & (centre <= intervals.high)
    hits = binomtest(int(inside.sum()), len(inside)).proportion_ci(0.95, "exact")
    words = f"{name}: 95% intervals of single chains cover the stationary mean"
    share = float(inside.double().mean())
    found.append(at_least(f"coverage-{id}", words, share, 0.93, (float(hits.low), float(hits.high))))

    if name == "gradient descent ascent":
        away = max(abs(v - REFERENCE[T]) / math.hypot(e, REFERENCE_ERROR) for T, (v, e) in variances.items())
        words = f"{name}: the variance is the reference's .33, .33, .34, in standard errors"
        found.append(at_most(f"reference-{id}", words, away, 3.0))
    return found


def _id(name: str) -> str:
    return name.replace(" ", "-")


def _variance(sample: Tensor) -> tuple[float, float]:
    """The variance and its standard error, of nearly normal numbers."""
    variance = float(sample.var())
    return variance, variance * math.sqrt(2 / (len(sample) - 1))


def _kurtosis(sample: Tensor) -> float:
    away = sample - sample.mean()
    return float(away.pow(4).mean() / away.square().mean().square())


def _histogram(name: str, sample: Tensor) -> Curve:
    edge = float(4 * sample.std())
    counts = torch.histc(sample, 40, -edge, edge)
    width = 2 * edge / 40
    x = [-edge + (k + 0.5) * width for k in range(40)]
    return Curve(name, x, (counts / len(sample) / width).tolist(), dots=True)
