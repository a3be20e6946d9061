"""Kernel ridge regression: vector-valued outputs, weights, an optional table of cells, batches of data sets.

    f = argmin sum_i w_i |y_i - f(x_i)|^2 + lam ||f - level||^2
      = level + sum_i alpha_i k(., x_i),    (K + lam W^-1) alpha = y - level,    sum_i alpha_i = 0

`level` is the unpenalised intercept (without it: 0, and the last equation falls away). What is left out has a closed
form. Let M = W^1/2 K W^1/2 + lam I, H = W^1/2 times the indicators of the intercepts, y also times W^1/2, and
R = M^-1 - M^-1 H (H'M^-1 H)^-1 H'M^-1. Then

    sqrt(w_i) (y_i - f_-i(x_i)) = (R y)_i / R_ii    for one row,    R_FF^-1 (R y)_F    for a fold F,

and one eigendecomposition of W^1/2 K W^1/2 for each bandwidth gives M^-1 at every penalty.

For finite states and actions with a continuous aggregate z the kernel is the product delta(s, a) k(z, z'): `cells`
numbers the pairs, each has an intercept of its own and none borrows from another. With k linear this is the linear
second-level kernel on the mean embeddings omega = delta_(s,a) x z of Zhang, Tan, Wang and Yang, arXiv 2310.17531
(<omega, omega'> = 1{same (s, a)} <z, z'>); with k Gaussian it differs from a Gaussian of ||omega - omega'||, which
would still couple unlike cells, by exp(-(|z|^2 + |z'|^2) / 2 bandwidth^2).

Saunders, Gammerman and Vovk, ICML 1998; the closed forms: Golub, Heath and Wahba, Technometrics 1979.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Self

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.estimation.ridge import require_data
from gamesim.randomness import Stream
from gamesim.shapes import broadcast_shapes

FOLDS = 2**32 - 35  # a stream of its own: the data may have been drawn with the same seed
ENTRIES = 200_000_000
"""The largest batch of kernel matrices: 1.6 GB."""


By = int | Literal["leave-one-out"]


@dataclass(frozen=True)
class KernelRidge:
    """What is chosen before the data is seen; `fit` and `tuned` take the data."""

    kernel: Literal["gaussian", "linear", "polynomial"] = "gaussian"
    """exp(-|x - x'|^2 / 2 b^2), <x, x'> / b^2, or (<x, x'> / b^2 + offset)^degree, with b the bandwidth."""
    penalty: float | Tensor = 1e-3
    """lam, a number or [...]."""
    bandwidth: float | Tensor | None = None
    """b, a number or [...]; left out: the median distance of the rows for the Gaussian kernel, 1 for the others."""
    degree: int = 3
    offset: float = 1.0
    intercept: bool = True

    def __post_init__(self) -> None:
        if self.kernel not in ("gaussian", "linear", "polynomial"):
            raise refuse("kernel", self.kernel, "gaussian, linear or polynomial")
        _require("penalty", self.penalty, "a number of at least 0", zero=True)
        if self.bandwidth is not None:
            _require("bandwidth", self.bandwidth, "a number above 0, or None for the median distance")
        if self.degree < 1:
            raise refuse("degree", self.degree, "a whole number of at least 1")
        _require("offset", self.offset, "a number of at least 0", zero=True)

    def fit(
        self, features: Tensor, targets: Tensor, *, weights: Tensor | None = None, cells: Tensor | None = None
    ) -> "KernelFit":
        """From features[..., n, d], targets[..., n, c], weights[..., n] and whole numbers cells[..., n]."""
        rows = _Rows.of(features, targets, weights, cells)
        width = rows.width(self)
        scaled = rows.kernel(self, width)
        lam = _number(self.penalty, scaled)
        one = torch.eye(scaled.shape[-1], dtype=scaled.dtype, device=scaled.device)
        factor, failed = torch.linalg.cholesky_ex(scaled + lam[..., None, None] * one)
        if bool((failed > 0).any()):
            raise refuse("penalty", float(lam.min()), "a larger one: the kernel matrix is singular to rounding")
        sides = rows.sides(self.intercept)
        sides = sides.expand(*factor.shape[:-2], *sides.shape[-2:])
        solved, level, _ = rows.split(torch.cholesky_solve(sides, factor), self.intercept)
        dual = rows.root[..., None] * solved
        return KernelFit(self, width, rows.features, rows.cells, dual, level, rows.seen, scaled)

    def errors(
        self,
        features: Tensor,
        targets: Tensor,
        penalties: Tensor,
        bandwidths: Tensor,
        *,
        by: By = "leave-one-out",
        weights: Tensor | None = None,
        cells: Tensor | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Weighted squared error of what is left out, over penalties[p] and bandwidths[q] or [q, ...]: [p, q, ...].

        by="leave-one-out", or a number of folds drawn with the seed. A cell's only row is not judged.
        """
        return self._errors(_Rows.of(features, targets, weights, cells), penalties, bandwidths, by, seed)

    def tuned(
        self,
        features: Tensor,
        targets: Tensor,
        *,
        penalties: Tensor | None = None,
        bandwidths: Tensor | None = None,
        by: By = "leave-one-out",
        weights: Tensor | None = None,
        cells: Tensor | None = None,
        seed: int = 0,
    ) -> Self:
        """This kernel with the penalty[...] and bandwidth[...] of least `errors`, for each data set of a batch.

        The grids, left out: penalties from 1e-8 to 10 times the mean diagonal of the kernel, 13 of them; bandwidths of
        a Gaussian from 1/4 to 4 times what it has, 5 of them.
        """
        rows = _Rows.of(features, targets, weights, cells)
        if bandwidths is None:
            width = rows.width(self)
            steps = torch.tensor([0.25, 0.5, 1.0, 2.0, 4.0] if self.kernel == "gaussian" else [1.0]).to(width)
            bandwidths = steps.reshape(-1, *[1] * width.dim()) * width
        if penalties is None:
            size = rows.kernel(self, rows.width(self)).diagonal(dim1=-2, dim2=-1).mean()
            lowest = max(-8.0, math.log10(100 * torch.finfo(size.dtype).eps))  # below it rounding decides
            penalties = size * torch.logspace(lowest, 1, 13, dtype=size.dtype, device=size.device)
        errors = self._errors(rows, penalties, bandwidths, by, seed)
        best = errors.flatten(0, 1).argmin(0)
        batch = [1] * (errors.dim() - 2)
        widths = (bandwidths.reshape(-1, *batch) if bandwidths.dim() == 1 else bandwidths).expand(errors.shape[1:])
        pick = (best % len(widths)).unsqueeze(0)
        return replace(self, penalty=penalties[best // len(widths)], bandwidth=widths.gather(0, pick).squeeze(0))

    @torch.no_grad()
    def _errors(self, rows: "_Rows", penalties: Tensor, bandwidths: Tensor, by: By, seed: int) -> Tensor:
        _require("penalties", penalties, "numbers above 0, [p]")
        _require("bandwidths", bandwidths, "numbers above 0, [q] or [q, ...]")
        batch = broadcast_shapes(rows.root.shape[:-1], rows.features.shape[:-2], rows.targets.shape[:-2])
        widths = bandwidths.reshape(-1, *[1] * len(batch)) if bandwidths.dim() == 1 else bandwidths
        value, vector = torch.linalg.eigh(rows.kernel(self, widths))  # [q, ..., n, n]
        shifted = value.clamp(min=0) + penalties.reshape(-1, *[1] * value.dim())
        sides = vector @ ((vector.mT @ rows.sides(self.intercept)) / shifted[..., None])
        solved, _, (left, right) = rows.split(sides, self.intercept)
        if by == "leave-one-out":
            diagonal = (vector**2 @ (1 / shifted)[..., None])[..., 0] - (left * right).sum(-1)
            residual = torch.where(rows.alone(self.intercept)[..., None], 0.0, solved / diagonal[..., None])
        else:
            fold = rows.folds(by, seed, self.intercept)
            if shifted.numel() * shifted.shape[-1] > ENTRIES:
                raise refuse("by", by, f"leave-one-out: folds need more than {ENTRIES} numbers here")
            inverse = vector @ (vector.mT / shifted[..., None]) - left @ right.mT
            residual = torch.linalg.solve(inverse * (fold[:, None] == fold), solved)
        squares: Tensor = (residual**2).sum((-2, -1))
        return squares


@dataclass(frozen=True)
class KernelFit:
    """A fitted f: the weight of each row, alpha[..., n, c], and the intercept of each cell, level[..., g, c]."""

    model: KernelRidge
    bandwidth: Tensor
    """What the model gave or the median heuristic found, [...]."""
    points: Tensor
    cells: Tensor
    dual: Tensor
    level: Tensor
    seen: Tensor
    """Cells with any data, [..., g]: of the others nothing is known, and a prediction is refused."""
    scaled: Tensor
    """W^1/2 K W^1/2, [..., n, n]."""

    def predict(self, features: Tensor, cells: Tensor | None = None) -> Tensor:
        """features[..., m, d] and, where the fit had them, cells[..., m] -> [..., m, c]."""
        if features.dim() < 2 or features.shape[-1] != self.points.shape[-1]:
            raise refuse("features", list(features.shape), f"[..., m, {self.points.shape[-1]}]")
        count = self.seen.shape[-1]
        if cells is None:
            if count > 1:
                raise refuse("cells", None, f"whole numbers below {count}, [..., m], as the fit had them")
            cells = torch.zeros(features.shape[-2], dtype=torch.long, device=features.device)
        member = _one_hot(cells, count)
        lost = ~(member & self.seen[..., None, :]).any(-1)
        if bool(lost.any()):
            raise refuse("cells", int(cells.expand(lost.shape)[lost][0]), "a cell that had data in the fit")
        kernel = _kernel(self.model, self.bandwidth, features, self.points) * (
            cells[..., :, None] == self.cells[..., None, :]
        )
        return kernel @ self.dual + member.to(features) @ self.level

    @cached_property
    def spectrum(self) -> Tensor:
        """Eigenvalues of W^1/2 K W^1/2, ascending, [..., n]."""
        eigenvalues: Tensor = torch.linalg.eigvalsh(self.scaled.detach())
        return eigenvalues.clamp(min=0)

    @property
    def condition(self) -> Tensor:
        """(largest + lam) / (smallest + lam) of the system that was solved, [...]."""
        lam = _number(self.model.penalty, self.scaled).detach()
        return (self.spectrum[..., -1] + lam) / (self.spectrum[..., 0] + lam)


@dataclass(frozen=True)
class _Rows:
    """Checked data: features[..., n, d], targets[..., n, c], sqrt of weights[..., n], cells[..., n], seen[..., g]."""

    features: Tensor
    targets: Tensor
    root: Tensor
    cells: Tensor
    seen: Tensor

    @classmethod
    def of(cls, features: Tensor, targets: Tensor, weights: Tensor | None, cells: Tensor | None) -> "_Rows":
        weights = require_data(features, targets, weights)
        n = features.shape[-2]
        _require_small(n, weights.numel() // n)
        cells = torch.zeros(n, dtype=torch.long, device=features.device) if cells is None else cells
        if cells.shape[-1:] != (n,) or cells.is_floating_point() or bool((cells < 0).any()):
            raise refuse("cells", f"{cells.dtype} {list(cells.shape)}", f"whole numbers of at least 0, [..., {n}]")
        member = _one_hot(cells, int(cells.max()) + 1)
        return cls(features, targets, weights.sqrt(), cells, (member & (weights > 0)[..., None]).any(-2))

    def width(self, model: KernelRidge) -> Tensor:
        """The model's bandwidth, or the median distance between rows that count, [...]."""
        if model.bandwidth is not None or model.kernel != "gaussian":
            return _number(1.0 if model.bandwidth is None else model.bandwidth, self.features)
        used = self.root > 0
        pairs = (used[..., :, None] & used[..., None, :]).triu(1)
        distance = _square_distance(self.features, self.features).sqrt()
        median = torch.where(pairs, distance, torch.nan).flatten(-2).nanmedian(-1).values.detach()
        if not bool((median > 0).all()):
            raise refuse("bandwidth", "a median distance of 0 between the rows", "a number above 0, chosen by you")
        return median

    def kernel(self, model: KernelRidge, width: Tensor) -> Tensor:
        """W^1/2 K W^1/2, [..., n, n]."""
        n = self.features.shape[-2]
        _require_small(n, max(width.numel(), self.root.numel() // n))
        kernel = _kernel(model, width, self.features, self.features) * self.root[..., :, None] * self.root[..., None, :]
        return kernel * (self.cells[..., :, None] == self.cells[..., None, :])

    def sides(self, intercept: bool) -> Tensor:
        """W^1/2 times the targets and, next to them, the indicators of the intercepts, [..., n, c + g]."""
        member = _one_hot(self.cells, self.seen.shape[-1] if intercept else 0).to(self.targets)
        shape = broadcast_shapes(self.targets.shape[:-1], member.shape[:-1], self.root.shape)
        both = torch.cat([self.targets.expand(*shape, -1), member.expand(*shape, -1)], -1)
        return both * self.root[..., None]

    def split(self, solved: Tensor, intercept: bool) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """From M^-1 (y, H): R y, the intercepts[..., g, c], and the factors of M^-1 - R."""
        count = self.targets.shape[-1]
        y, h = solved[..., :count], solved[..., count:]
        indicators = self.sides(intercept)[..., count:]
        inner = indicators.mT @ h + torch.diag_embed((~self.seen).to(h)) if intercept else indicators.mT @ h
        level = torch.linalg.solve(inner, indicators.mT @ y)
        left = torch.linalg.solve(inner, h.mT).mT
        zero = y.new_zeros(*y.shape[:-2], self.seen.shape[-1], count)
        return y - h @ level, level if intercept else zero, (left, h)

    def alone(self, intercept: bool) -> Tensor:
        """Rows that are the only one of their cell, [..., n]: without them its intercept is unknown."""
        used = self.root > 0
        same = (self.cells[..., :, None] == self.cells[..., None, :]) & used[..., None, :]
        return (same.sum(-1) <= 1) & intercept

    def folds(self, by: int, seed: int, intercept: bool) -> Tensor:
        """The fold of each row, [n]: as even as can be, at random."""
        n = self.features.shape[-2]
        if not 2 <= by <= n:
            raise refuse("by", by, f"leave-one-out, or 2 to {n} folds for {n} rows")
        fold = (Stream(seed, FOLDS).uniform((n,)).argsort().argsort() % by).to(self.cells.device)
        member = _one_hot(self.cells, self.seen.shape[-1]) & (self.root > 0)[..., None]
        inside = _one_hot(fold, by).to(self.root).mT @ member.to(self.root)  # [..., fold, g]
        if intercept and bool(((inside == inside.sum(-2, keepdim=True)) & (inside > 0)).any()):
            raise refuse("by", by, "leave-one-out: a cell has all its rows in one fold, so its intercept is unknown")
        return fold


def _kernel(model: KernelRidge, width: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """k(x_i, y_j), [..., n, m], with width[...]."""
    scale = width[..., None, None] ** 2
    if model.kernel == "gaussian":
        return torch.exp(-_square_distance(x, y) / (2 * scale))
    product = x @ y.mT / scale
    return product if model.kernel == "linear" else (product + model.offset) ** model.degree


def _square_distance(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|^2, [..., n, m]; from the middle of y, so that a common offset costs no digits."""
    middle = y.detach().mean(-2, keepdim=True)
    x, y = x - middle, y - middle
    return ((x**2).sum(-1)[..., :, None] + (y**2).sum(-1)[..., None, :] - 2 * x @ y.mT).clamp(min=0)


def _number(value: float | Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)


def _one_hot(cells: Tensor, count: int) -> Tensor:
    return cells[..., None] == torch.arange(count, device=cells.device)


def _require_small(rows: int, matrices: int) -> None:
    if matrices * rows**2 > ENTRIES:
        numbers = f"{matrices} kernel matrices of {rows} rows are more than {ENTRIES} numbers"
        raise refuse("features", [matrices, rows], f"fewer rows or data sets: {numbers}")


def _require(field: str, value: float | Tensor, wanted: str, *, zero: bool = False) -> None:
    number = torch.as_tensor(value)
    bad = ~(number.isfinite() & ((number >= 0) if zero else (number > 0)))
    if not number.numel() or bool(bad.any()):
        raise refuse(field, float(number[bad][0]) if number.numel() else "nothing", wanted)
