"""The bias ladder: stationary means over step sizes, how fast they leave the solution, and what extrapolation does.

Chains share their random numbers, so the seeds are the replicates of everything here: of a mean, of a norm, of an
extrapolation. Intervals resample them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gamesim.ergodic.chains import run_chains
from gamesim.ergodic.richardson import richardson_weights
from gamesim.errors import refuse
from gamesim.games.domains import length
from gamesim.randomness import Stream

Interval = tuple[float, float]
RESAMPLED = 1000


@dataclass(frozen=True)
class Ladder:
    """Stationary means over step sizes."""

    step_sizes: tuple[float, ...]
    averages: Tensor = field(repr=False)
    """[seed, step, d], one for each seed."""
    solution: Tensor = field(repr=False)
    """x*[d]; where a problem knows none, the mean extrapolated over all steps."""

    @property
    def bias(self) -> Tensor:
        """Mean minus solution, [step, d]."""
        return self.averages.mean(0) - self.solution

    @property
    def error(self) -> Tensor:
        """Standard error of the bias over seeds, [step, d]."""
        return self.averages.std(0) / math.sqrt(len(self.averages))

    @property
    def norm(self) -> Tensor:
        """|bias|[step]."""
        return length(self.bias)

    @property
    def norm_error(self) -> Tensor:
        """Standard error of the norm of the bias, [step]."""
        return length(self._resampled - self.solution).std(0)

    @property
    def slope(self) -> tuple[float, Interval]:
        """The exponent p of |bias| ~ step^p by least squares in logarithms, with its 95% interval over seeds."""
        if len(self.step_sizes) < 2:
            raise refuse("step_sizes", list(self.step_sizes), "at least two, to fit an exponent")
        u = torch.tensor(self.step_sizes, dtype=self.averages.dtype).log()
        u = (u - u.mean()) / (u - u.mean()).square().sum()

        def fit(means: Tensor) -> Tensor:
            return (length(means - self.solution).cpu().log() * u).sum(-1)

        return float(fit(self.averages.mean(0))), _interval(fit(self._resampled))

    def only(self, *step_sizes: float) -> "Ladder":
        """The same of some step sizes."""
        for g in step_sizes:
            if g not in self.step_sizes:
                raise refuse("step_sizes", g, f"among {list(self.step_sizes)}")
        which = [self.step_sizes.index(g) for g in step_sizes]
        return Ladder(tuple(step_sizes), self.averages[:, which], self.solution)

    def extrapolated(self, *step_sizes: float) -> "Ladder":
        """The Richardson-Romberg mean from some steps (all if none is named), as a ladder of one, of the first."""
        part = self.only(*(step_sizes or self.step_sizes))
        weights = torch.tensor(richardson_weights(part.step_sizes)).to(part.averages)
        return Ladder(part.step_sizes[:1], (weights[:, None] * part.averages).sum(-2, keepdim=True), self.solution)

    def coefficient(self, *step_sizes: float) -> tuple[Tensor, Tensor]:
        """Delta[d] of bias = step Delta + O(step^2), by extrapolating bias / step from some steps, and its error."""
        part = self.only(*(step_sizes or self.step_sizes))
        steps = torch.tensor(part.step_sizes).to(part.averages)
        weights = torch.tensor(richardson_weights(part.step_sizes)).to(part.averages) / steps
        each = (weights[:, None] * (part.averages - self.solution)).sum(-2)
        return each.mean(0), each.std(0) / math.sqrt(len(each))

    def ratio(self, step_sizes: Sequence[float]) -> tuple[float, Interval]:
        """|bias| of the extrapolation from some steps over |bias| at the first of them, and its 95% interval."""
        better, raw = self.extrapolated(*step_sizes), self.only(step_sizes[0])

        def norms(ladder: "Ladder", means: Tensor) -> Tensor:
            return length(means - self.solution)[..., 0]

        value = float(better.norm[0] / raw.norm[0])
        return value, _interval(norms(better, better._resampled) / norms(raw, raw._resampled))

    @property
    def _resampled(self) -> Tensor:
        """Means of resampled seeds, [sample, step, d]: the same seeds for every ladder."""
        n = len(self.averages)
        which = (Stream(0).uniform((RESAMPLED, n)) * n).long().clamp(max=n - 1)
        counts = torch.zeros(RESAMPLED, n).scatter_add_(1, which, torch.ones(RESAMPLED, n)).to(self.averages)
        means: Tensor = (counts @ self.averages.flatten(1) / n).unflatten(1, self.averages.shape[1:])
        return means


def bias_ladder(problem: Any, solver: Any, step_sizes: Sequence[float], **chains: Any) -> Ladder:
    """The ladder of a solver on a problem, with the parameters of `run_chains`; means are `adjusted`."""
    steps = tuple(float(g) for g in step_sizes)
    weights = richardson_weights(steps)
    found = run_chains(problem, solver, step_sizes=steps, **chains)
    bad = ~found.averages.isfinite().all(-1).all(0)
    if bool(bad.any()):
        k = int(bad.nonzero()[0])
        raise refuse(f"step_sizes[{k}]", steps[k], "a smaller step: with this one a chain leaves the finite numbers")
    averages = found.adjusted
    known = getattr(problem, "solution", lambda: None)()
    if known is None:
        solution = (torch.tensor(weights).to(averages)[:, None] * averages).sum(-2).mean(0)
    else:
        solution = torch.cat(known, -1)
    return Ladder(steps, averages, solution)


def _interval(samples: Tensor) -> Interval:
    low, high = torch.quantile(
        samples, torch.tensor([0.025, 0.975], dtype=samples.dtype, device=samples.device)
    ).tolist()
    return low, high
