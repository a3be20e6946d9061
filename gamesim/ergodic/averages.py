"""The average of one correlated series with an interval, by batch means; and whether several series have mixed.

The long-run variance sigma^2 = lim T Var(mean of T) from means m_k of batches of b values, with B = T / b batches:

    batch means     b / (B - 1) sum_k (m_k - m)^2                        over batches side by side
    overlapping     T b / ((T - b)(T - b + 1)) sum_j (m_j - m)^2         over all batches of b in a row
    lugsail         max(V(b), 2 V(b) - V(b / 3)) with V of overlapping ones: errs upwards, where V errs downwards

Intervals are mean +- t sigma / sqrt(T), Student's with as many degrees of freedom as such an estimate has.

Meketon and Schmeiser, Winter Simulation Conference 1984; Flegal and Jones, Annals of Statistics 38 (2010); lugsail:
Vats and Flegal, Biometrika 109 (2022). Split R-hat: Gelman et al., Bayesian Data Analysis, 3rd ed., section 11.4.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from gamesim.errors import refuse, unknown

Method = Literal["batch-means", "overlapping", "lugsail"]
DEGREES = {"batch-means": 1.0, "overlapping": 1.5, "lugsail": 1.0}
"""Degrees of freedom, over those of batch means: exact, asymptotic, and chosen to keep the level of short series."""


@dataclass(frozen=True)
class Average:
    """A long-run average with its interval; every tensor has the shape of the series without time."""

    mean: Tensor
    low: Tensor
    high: Tensor
    variance: Tensor
    """sigma^2: T times the variance of the mean, for long series."""
    effective_size: Tensor
    """How many independent values would give as good a mean."""


def average(series: Tensor, level: float = 0.95, method: Method = "lugsail", batch: int | None = None) -> Average:
    """The mean of series[..., t] over time with an interval; `batch` values to a batch, sqrt(T) if left out."""
    from scipy.stats import t as student

    if not 0 < level < 1:
        raise refuse("level", level, "a number between 0 and 1, ends excluded")
    variance = long_run_variance(series, method, batch)
    T = series.shape[-1]
    batches = T // _batch(series, batch)
    mean = series.mean(-1)
    factor = float(student.ppf((1 + level) / 2, DEGREES[method] * (batches - 1)))
    half = factor * (variance / T).sqrt()
    spread = series.var(-1)
    size = torch.where(variance > 0, T * spread / variance, torch.where(spread > 0, math.inf, float(T)))
    return Average(mean, mean - half, mean + half, variance, size)


def long_run_variance(series: Tensor, method: Method = "lugsail", batch: int | None = None) -> Tensor:
    """sigma^2 of series[..., t] -> [...]: T times the variance of the mean over time, for long series.

    >>> long_run_variance(torch.tensor([1.0, 1.0, 3.0, 3.0]), "batch-means", batch=2)
    tensor(4.)
    """
    if method not in get_args(Method):
        raise unknown("method", str(method), get_args(Method))
    b = _batch(series, batch)
    if method == "batch-means":
        means: Tensor = series[..., : series.shape[-1] // b * b].unflatten(-1, (-1, b)).mean(-1)
        return means.var(-1) * b
    if method == "overlapping":
        return _overlapping(series, b)
    plain = _overlapping(series, b)
    return torch.maximum(plain, 2 * plain - _overlapping(series, max(1, b // 3)))


def _overlapping(series: Tensor, b: int) -> Tensor:
    T = series.shape[-1]
    away = series - series.mean(-1, keepdim=True)  # first, so that sums do not lose the digits
    total: Tensor = torch.nn.functional.pad(away.cumsum(-1), (1, 0))
    means = (total[..., b:] - total[..., :-b]) / b
    return T * b / ((T - b) * (T - b + 1)) * means.square().sum(-1)


def _batch(series: Tensor, batch: int | None) -> int:
    """How many values make a batch, after a look at the series."""
    if series.dim() == 0 or series.shape[-1] < 4:
        raise refuse("series", f"shape {tuple(series.shape)}", "[..., t] with at least 4 values in time")
    if not series.is_floating_point():
        raise refuse("series", f"dtype {series.dtype}", "a floating-point tensor")
    if not bool(series.isfinite().all()):
        index = (~series.isfinite()).nonzero()[0].tolist()
        raise refuse(f"series{index}", float(series[tuple(index)]), "a finite number")
    T = int(series.shape[-1])
    b = math.isqrt(T) if batch is None else batch
    if not isinstance(b, int) or isinstance(b, bool) or not 1 <= b <= T // 2:
        raise refuse("batch", batch, f"a whole number from 1 to {T // 2}, half the series")
    return b


def split_r_hat(series: Tensor) -> Tensor:
    """Gelman and Rubin's diagnostic of series[seed, ..., t], each cut in two -> [...]: near 1 if mixed and stationary.

    sqrt(((n - 1) W / n + V) / W) with W the mean variance within a half and V the variance of the halves' means.
    """
    if series.dim() < 2 or series.shape[0] < 2:
        raise refuse("series", f"shape {tuple(series.shape)}", "[seed, ..., t] with at least 2 seeds")
    _batch(series, None)
    n = series.shape[-1] // 2
    halves = torch.cat([series[..., :n], series[..., -n:]])
    within, between = halves.var(-1).mean(0), halves.mean(-1).var(0)
    return torch.where(within > 0, ((n - 1) / n + between / within).sqrt(), torch.where(between > 0, math.inf, 1.0))
