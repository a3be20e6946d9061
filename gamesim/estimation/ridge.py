"""Ridge regression on sufficient statistics: batches of systems, folds and penalties are leading dimensions.

    G = sum_i w_i phi_i phi_i',   b = sum_i w_i phi_i y_i',   e = sum_i w_i y_i^2
    theta = argmin sum_i w_i |y_i - theta' phi_i|^2 + lam |theta|^2 = (G + lam I)^-1 b

With an intercept feature 0 is the constant 1 and is not penalised: it is eliminated first, so that a column of targets
that sum to one is fitted by rows that sum to one at every penalty. lam is chosen

    by K folds        lam = argmin sum_f e_f - 2 <theta_-f, b_f> + <theta_-f, G_f theta_-f>
    by generalised    lam = argmin RSS / (1 - df / n)^2,   df = tr G (G + lam I)^-1,   n = sum_i w_i

Hoerl and Kennard, Technometrics 1970; Golub, Heath and Wahba, Technometrics 1979. Everything is differentiable.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from gamesim.errors import refuse


@dataclass(frozen=True)
class Moments:
    """Weighted data, compressed: gram[..., d, d], moment[..., d, c], energy[..., c] and weight[...]."""

    gram: Tensor
    moment: Tensor
    energy: Tensor
    weight: Tensor

    @classmethod
    def of(cls, features: Tensor, targets: Tensor, weights: Tensor | None = None) -> "Moments":
        """From features[..., n, d], targets[..., n, c] and weights[..., n] of at least 0 (1 where left out)."""
        weights = require_data(features, targets, weights)
        weighted = features * weights[..., None]
        return cls(
            weighted.mT @ features,
            weighted.mT @ targets,
            (weights[..., None] * targets**2).sum(-2),
            weights.expand(features.shape[:-1]).sum(-1),
        )

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.gram, self.moment, self.energy, self.weight

    def pooled(self, dim: int = 0) -> "Moments":
        """The data of a leading dimension put together."""
        if dim < 0:
            raise refuse("dim", dim, "a leading dimension, counted from 0")
        return Moments(*(part.sum(dim) for part in self.parts))

    def without(self) -> "Moments":
        """For each entry f of the leading dimension all the data but its own."""
        others = 1 - torch.eye(len(self.weight), dtype=self.gram.dtype, device=self.gram.device)
        return Moments(*(torch.tensordot(others, part, 1) for part in self.parts))  # no differences: 0 stays 0

    def unsqueeze(self, dim: int = 0) -> "Moments":
        return Moments(*(part.unsqueeze(dim) for part in self.parts))


@dataclass(frozen=True)
class RidgeFit:
    """theta[..., d, c] of each system, with what is known of how well it is determined."""

    coefficients: Tensor
    penalty: Tensor
    centred: Tensor
    """The gram without the intercept's share, [..., d', d']."""
    empty: Tensor
    """Systems without any data, [...]: their coefficients are 0."""
    intercept: bool

    def predict(self, features: Tensor) -> Tensor:
        """features[..., n, d] -> [..., n, c]."""
        return features @ self.coefficients

    @cached_property
    def spectrum(self) -> Tensor:
        """Eigenvalues of the centred gram, ascending, [..., d']."""
        eigenvalues: Tensor = torch.linalg.eigvalsh(self.centred.detach())
        return eigenvalues.clamp(min=0)

    @property
    def condition(self) -> Tensor:
        """(largest + lam) / (smallest + lam), [...]; infinite where the data alone do not determine theta."""
        if not self.spectrum.shape[-1]:
            return torch.ones_like(self.penalty.expand(self.empty.shape))
        lam = self.penalty.detach()
        ratio = (self.spectrum[..., -1] + lam) / (self.spectrum[..., 0] + lam)
        return torch.where(self.empty, torch.inf, ratio)

    @property
    def freedom(self) -> Tensor:
        """Effective degrees of freedom for each target, the intercept's one among them, [...]."""
        lam = self.penalty.detach()[..., None]
        share = torch.where(self.spectrum > 0, self.spectrum / (self.spectrum + lam), 0.0).sum(-1)
        return torch.where(self.empty, 0.0, share + float(self.intercept))


@dataclass(frozen=True)
class Choice:
    """The penalty[...] of least error, the errors[p, ...] of the whole grid, and where the grid was too short."""

    penalty: Tensor
    errors: Tensor
    at_edge: Tensor
    """True where the best penalty is the first or the last of the grid, [...]."""


def solve_ridge(moments: Moments, penalty: float | Tensor, *, intercept: bool = True) -> RidgeFit:
    """theta = (G + lam I)^-1 b for every system, penalty a number or [...]; an intercept is feature 0.

    Refused where the system is singular to rounding: a penalty of 0 with collinear features.
    """
    fit, singular = _solve(moments, _require_penalty(penalty, moments.gram), intercept)
    if bool(singular.any()):
        smallest = float(fit.penalty.detach().expand(singular.shape)[singular].min())
        raise refuse("penalty", smallest, "a larger one: with it the features are collinear to rounding")
    return fit


def _solve(moments: Moments, lam: Tensor, intercept: bool) -> tuple[RidgeFit, Tensor]:
    """The fit, and which systems are singular to rounding, [...]: their coefficients mean nothing."""
    gram, moment, empty = moments.gram, moments.moment, moments.weight <= 0
    if bool(empty.all()):
        raise refuse("weights", "nothing but 0", "data: some weight above 0")
    centred, cross, size = gram, moment, gram.diagonal(dim1=-2, dim2=-1)
    if intercept:
        count = torch.where(empty, 1.0, gram[..., 0, 0])[..., None, None]
        mean = gram[..., 1:, :1] / count
        centred = gram[..., 1:, 1:] - mean @ gram[..., :1, 1:]
        cross, size = moment[..., 1:, :] - mean @ moment[..., :1, :], size[..., 1:]
    one = torch.eye(centred.shape[-1], dtype=gram.dtype, device=gram.device)
    factor, failed = torch.linalg.cholesky_ex(centred + torch.where(empty, 1.0, lam)[..., None, None] * one)
    rounding = 4 * centred.shape[-1] * torch.finfo(gram.dtype).eps * size
    singular = (failed > 0) | (factor.detach().diagonal(dim1=-2, dim2=-1) ** 2 <= rounding).any(-1) & ~empty
    theta = torch.cholesky_solve(cross.expand(*factor.shape[:-2], *cross.shape[-2:]), factor)
    if intercept:
        level = moment[..., :1, :] / count - mean.mT @ theta
        theta = torch.cat([level, theta], -2)
    return RidgeFit(theta, lam, centred, empty.expand(theta.shape[:-2]), intercept), singular


def squared_error(moments: Moments, coefficients: Tensor) -> Tensor:
    """sum_i w_i |y_i - theta' phi_i|^2 from the statistics, summed over targets: [...]; at least 0."""
    cross = (coefficients * moments.moment).sum(-2)
    square = (coefficients * (moments.gram @ coefficients)).sum(-2)
    return (moments.energy - 2 * cross + square).sum(-1).clamp(min=0)


def validation_error(folds: Moments, penalties: Tensor, *, intercept: bool = True) -> Tensor:
    """Squared error on the folds left out, summed over them: folds[f, ...], penalties[p] or [p, ...] -> [p, ...]."""
    if folds.weight.dim() < 1 or folds.weight.shape[0] < 2:
        raise refuse("folds", list(folds.weight.shape), "at least 2, as the leading dimension of every statistic")
    lam = _against(penalties, folds.weight.dim() - 1).unsqueeze(1)
    fit, singular = _solve(folds.without().unsqueeze(), _require_penalty(lam, folds.gram), intercept)
    error = squared_error(folds.unsqueeze(), fit.coefficients)
    return torch.where(singular, torch.inf, error).sum(1)


def generalised_error(moments: Moments, penalties: Tensor, *, intercept: bool = True) -> Tensor:
    """RSS / (1 - df/n)^2: moments[...], penalties[p] or [p, ...] -> [p, ...]; infinite where df reaches n."""
    lam = _against(penalties, moments.weight.dim())
    fit, singular = _solve(moments.unsqueeze(), _require_penalty(lam, moments.gram), intercept)
    spare = torch.where(fit.empty, 1.0, 1 - fit.freedom / moments.weight.clamp(min=1e-300))
    error = squared_error(moments.unsqueeze(), fit.coefficients) / spare**2
    return torch.where(singular | (spare <= 0), torch.inf, error)


def penalty_grid(moments: Moments, size: int = 21, *, intercept: bool = True) -> Tensor:
    """Penalties from 1e-8 to 100 times the mean eigenvalue of each system's centred gram, [p, ...]."""
    gram = moments.gram.detach()
    trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
    features = gram.shape[-1]
    if intercept:
        share = (gram[..., 1:, 0] ** 2).sum(-1) / gram[..., 0, 0].clamp(min=1e-300)
        trace, features = trace - gram[..., 0, 0] - share, features - 1
    scale = trace / max(features, 1)
    floor = 1e-12 * gram.diagonal(dim1=-2, dim2=-1).amax(-1)  # constant features
    scale = torch.where(scale > floor, scale, torch.where(moments.weight > 0, moments.weight, 1.0))
    steps = torch.logspace(-8, 2, size, dtype=gram.dtype, device=gram.device)
    return steps.reshape(-1, *[1] * scale.dim()) * scale


def choose_penalty(
    moments: Moments,
    penalties: Tensor | None = None,
    *,
    by: Literal["folds", "generalised"] = "folds",
    shared: bool = False,
    intercept: bool = True,
) -> Choice:
    """The penalty of least error on a grid[p] or [p, ...], for each system or, shared, one for all of them.

    by="folds" takes the statistics of each fold, [f, ...]; by="generalised" those of all the data, [...].
    """
    if by not in ("folds", "generalised"):
        raise refuse("by", by, "folds or generalised")
    together = moments.pooled() if by == "folds" else moments
    if penalties is None:
        penalties = penalty_grid(together, intercept=intercept)
        if shared:
            penalties = penalties.flatten(1).mean(1)
    score = validation_error if by == "folds" else generalised_error
    errors = score(moments, penalties, intercept=intercept).detach()
    judged = errors.flatten(1).sum(1) if shared else errors
    if not bool(judged.amin(0).isfinite().all()):
        tried = f"{float(penalties.min()):g} to {float(penalties.max()):g}"
        raise refuse("penalties", tried, "larger ones, or more data: under each of them a system is singular")
    best = judged.argmin(0)
    grid = penalties if shared else _against(penalties, errors.dim() - 1).expand(errors.shape)
    chosen = grid.gather(0, best.unsqueeze(0)).squeeze(0)
    return Choice(chosen, errors, (best == 0) | (best == len(penalties) - 1))


def require_data(features: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """The weights[..., n] of features[..., n, d] and targets[..., n, c], refused unless all of them are fit to use."""
    if features.dim() < 2 or targets.dim() < 2 or features.shape[-2] != targets.shape[-2]:
        shapes = list(features.shape), list(targets.shape)
        raise refuse("features, targets", shapes, "[..., n, d] and [..., n, c] with the same n")
    if not features.shape[-2]:
        raise refuse("features", "no rows", "at least one")
    weights = torch.ones_like(features[..., 0]) if weights is None else weights
    if weights.shape[-1:] != features.shape[-2:-1]:
        raise refuse("weights", list(weights.shape), f"[..., {features.shape[-2]}], one for each row")
    for name, values in (("features", features), ("targets", targets), ("weights", weights)):
        if not bool(values.isfinite().all()):
            where = (~values.isfinite()).nonzero()[0].tolist()
            raise refuse(f"{name}{where}", float(values[tuple(where)]), "a finite number")
    if bool((weights < 0).any()):
        raise refuse("weights", float(weights.min()), "numbers of at least 0")
    if not bool((weights > 0).any()):
        raise refuse("weights", "nothing but 0", "data: some weight above 0")
    return weights


def _require_penalty(penalty: float | Tensor, like: Tensor) -> Tensor:
    lam = torch.as_tensor(penalty, dtype=like.dtype, device=like.device)
    bad = ~((lam >= 0) & lam.isfinite())
    if bool(bad.any()):
        raise refuse("penalty", float(lam[bad][0]), "a number of at least 0")
    return lam


def _against(penalties: Tensor, batch: int) -> Tensor:
    """penalties[p] or [p, ...] with `batch` dimensions behind p."""
    if penalties.dim() < 1 or not len(penalties):
        raise refuse("penalties", list(penalties.shape), "at least one, as [p] or [p, ...]")
    return penalties.reshape(-1, *[1] * batch) if penalties.dim() == 1 else penalties
