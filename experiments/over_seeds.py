"""What several seeds leave open: bands, slopes and ratios of y[seed, x], with intervals over seeds."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gamesim.charts import Curve
from gamesim.study import Claim, Interval, at_most, fit_slope


def band(label: str, x: Sequence[float], y: Tensor, *, dashed: bool = False, dots: bool = False) -> Curve:
    """The mean of positive y[seed, x] with one standard error around it, in logarithms; one seed has no band."""
    mean = y.mean(0)
    if len(y) == 1:
        return Curve(label, x, mean.tolist(), dashed=dashed, dots=dots)
    factor = (y.std(0) / math.sqrt(len(y)) / mean).exp()
    return Curve(label, x, mean.tolist(), (mean / factor).tolist(), (mean * factor).tolist(), dashed, dots)


def mean_interval(y: Tensor) -> tuple[float, Interval]:
    """The mean of y[seed] and its 95% interval (Student)."""
    from scipy.stats import t

    mean, half = float(y.mean()), float(t.ppf(0.975, len(y) - 1) * y.std() / math.sqrt(len(y)))
    return mean, (mean - half, mean + half)


def slope(x: Sequence[float], y: Tensor) -> tuple[float, Interval]:
    """The slope of log y[seed, x] in log x; the interval joins that over seeds with the regression's and its windows'.

    >>> value, interval = slope([1, 2, 4, 8], torch.tensor([[1.0, 0.5, 0.25, 0.125], [2.0, 1.0, 0.5, 0.25]]))
    >>> round(value, 6), round(interval[0], 6), round(interval[1], 6)
    (-1.0, -1.0, -1.0)
    """
    fit = fit_slope(x, y.log().mean(0).exp().tolist())
    if len(y) == 1:
        return fit.value, fit.interval
    u = torch.tensor(x, dtype=y.dtype).log()
    u = u - u.mean()
    _, (low, high) = mean_interval((y.log() * u).sum(-1) / (u * u).sum())
    return fit.value, (min(low, fit.interval[0]), max(high, fit.interval[1]))


def below(id: str, statement: str, less: Tensor, more: Tensor) -> Claim:
    """A claim that less[seed] is below more[seed]: the geometric mean of their ratio, paired by seed, is below 1."""
    mean, (low, high) = mean_interval((less / more).log())
    return at_most(id, f"{statement} (ratio below 1)", math.exp(mean), 1.0, (math.exp(low), math.exp(high)))
