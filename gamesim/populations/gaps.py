"""What a study of N agents against the continuum finds: value gaps, and gains by a deviation, with bands over networks.

    |J_i^N(pi) - J(x_i)|                    the value of agent i against that of its position
    J_i^N(b, pi_{-i}) - J_i^N(pi)           its gain by a deviation b, for two of them:
                                            the best answer to what it felt among N, and the one of the continuum

Noise. Returns are `steadied` (gamesim.populations.responses): sums with the same mean, less all that a value function
foresees; without interaction nothing is left. What remains biases a modulus or a maximum upward. So the mean square
over agents has the estimated variances taken off, which makes it unbiased (and, near zero, sometimes negative); the
largest difference is chosen on one half of the episodes and measured on the other, which can only be too small.
Responses are computed from one set of episodes and paid in another, against the same luck as the policy itself. Bands
are 95% t-intervals over networks: they hold that noise too.

That both vanish is proved for dense networks by Cui and Koeppl, ICLR 2022, for sparse ones by Fabian, Cui and Koeppl,
AISTATS 2023; fluctuations of a neighbourhood suggest the rates N^(-1/2) and (N rho_N)^(-1/2) for values.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from gamesim.errors import refuse

Quantity = Literal["value_gap", "largest_gap", "bias", "gain", "mean_field_gain"]


class Band(NamedTuple):
    """One number for each N, and its 95% interval over networks (over episodes, where there is one network)."""

    mean: Tensor
    low: Tensor
    high: Tensor


class PowerFit(NamedTuple):
    """y ~ N^slope by least squares in logarithms, with the 95% interval of the regression."""

    slope: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class FiniteGap:
    """What was measured: c sizes, g networks of each, d deviating agents of each network."""

    agents: tuple[int, ...]
    """N, [c]."""
    density: tuple[float, ...]
    """rho_N, [c]."""
    value: float
    """The value of the policy in the continuum, mean over the positions of the grid."""
    square: Tensor
    """[c, g]: mean over agents of (J_i^N - J(x_i))^2, unbiased."""
    largest: Tensor
    """[c, g]: the largest |J_i^N - J(x_i)|, chosen on one half of the episodes and measured on the other."""
    raw_largest: Tensor
    """[c, g]: the same chosen and measured on all episodes: too large by the noise."""
    bias: Tensor
    """[c, g]: mean over agents of J_i^N - J(x_i)."""
    bias_error: Tensor
    """[c, g]: its standard error over episodes."""
    gains: Tensor
    """[c, g, d, 2]: of the best answer to what was felt among N, and of the continuum's."""
    gain_errors: Tensor
    """[c, g, d, 2]: their standard errors over paired episodes."""
    deviators: Tensor
    """[c, g, d]: positions of the agents that deviate."""
    cut: Tensor
    """[c, g]: share of the aggregates that passed 1 and were cut to it."""
    episodes: int
    temperature: float

    def band(self, quantity: Quantity) -> Band:
        """Mean and interval of a quantity: value_gap is the root of the mean square; gains are means over agents."""
        match quantity:
            case "value_gap":
                mean, low, high = _interval(self.square)
                return Band(*(x.clamp(min=0).sqrt() for x in (mean, low, high)))
            case "largest_gap":
                return _interval(self.largest)
            case "bias":
                return _interval(self.bias, self.bias_error)
            case "gain" | "mean_field_gain":
                if not self.gains.shape[2]:
                    raise refuse("quantity", quantity, "a study with deviators")
                which = int(quantity == "mean_field_gain")
                errors = self.gain_errors[..., which].square().mean(-1).div(self.gains.shape[2]).sqrt()
                return _interval(self.gains[..., which].mean(-1), errors)
        raise refuse("quantity", quantity, "value_gap, largest_gap, bias, gain or mean_field_gain")

    def fit(self, quantity: Quantity = "value_gap") -> PowerFit:
        """The power of N that a quantity follows (bias: its modulus), where it is above zero at all sizes; else NaN."""
        from scipy.stats import linregress, t

        y = self.band(quantity).mean
        y = y.abs() if quantity == "bias" else y
        n = torch.tensor(self.agents, dtype=torch.float64)
        if len(n) < 3 or not bool((y > 0).all()):
            return PowerFit(math.nan, math.nan, math.nan)
        line = linregress(n.log().numpy(), y.cpu().double().log().numpy())
        half = float(t.ppf(0.975, len(n) - 2) * line.stderr)
        return PowerFit(float(line.slope), float(line.slope) - half, float(line.slope) + half)

    def rows(self) -> list[dict[str, Any]]:
        """Tidy rows, one for each N and network."""
        return [
            {
                "agents": n,
                "density": self.density[c],
                "network": g,
                "mean_square_gap": float(self.square[c, g]),
                "largest_gap": float(self.largest[c, g]),
                "bias": float(self.bias[c, g]),
                "gain": float(self.gains[c, g, :, 0].mean()),
                "mean_field_gain": float(self.gains[c, g, :, 1].mean()),
                "cut": float(self.cut[c, g]),
            }
            for c, n in enumerate(self.agents)
            for g in range(self.square.shape[1])
        ]

    def __str__(self) -> str:
        gap, fit = self.band("value_gap"), self.fit()
        falls = "" if math.isnan(fit.slope) else f"; value gap falls like N^{fit.slope:.2f}"
        lines = [f"value in the continuum {self.value:.4g}{falls}"]
        for c, n in enumerate(self.agents):
            line = f"N = {n}: value gap {gap.mean[c]:.3g} [{gap.low[c]:.3g}, {gap.high[c]:.3g}]"
            if self.gains.shape[2]:
                gain = self.band("gain")
                line += f", gain of a deviation {gain.mean[c]:.3g} [{gain.low[c]:.3g}, {gain.high[c]:.3g}]"
            cut = float(self.cut[c].mean())
            lines.append(line + (f"; {100 * cut:.2g}% of the aggregates cut to 1" if cut else ""))
        return "\n".join(lines)


def _interval(x: Tensor, errors: Tensor | None = None) -> Band:
    """The mean of x[c, g] over networks and its 95% t-interval; of one network the error of its own, if known."""
    from scipy.stats import norm, t

    graphs, mean = x.shape[1], x.mean(1)
    if graphs > 1:
        half = float(t.ppf(0.975, graphs - 1)) * x.std(1) / graphs**0.5
    else:
        half = torch.full_like(mean, torch.nan) if errors is None else float(norm.ppf(0.975)) * errors[:, 0]
    return Band(mean, mean - half, mean + half)
