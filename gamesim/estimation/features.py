"""Functions of the aggregate z that a response is linear in; the first is the constant 1.

    Monomials    all products of at most `degree` of the z(s)
    Bumps        Gaussian kernels at landmarks m:   k(z, m) K^(-1/2),   K = k(m, m'),   k = exp(-|z - m|^2 / 2 width^2)

The bumps are whitened, so that the square of the coefficients is the norm of the function in the kernel's space: ridge
regression on them is kernel ridge regression restricted to the landmarks' span (Nystrom), exact where every place is
one. Williams and Seeger, "Using the Nystrom method to speed up kernel machines", NeurIPS 2001.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import torch
from torch import Tensor

SMALLEST = 1e-10
"""Eigenvalues of K below this share of the largest are left out: they are rounding."""


@dataclass(frozen=True)
class Monomials:
    """1, z(s), and the products of up to `degree` of them."""

    degree: int = 1

    def __call__(self, z: Tensor) -> Tensor:
        """z[..., k, s] -> [..., k, d]."""
        padded = torch.cat([torch.ones_like(z[..., :1]), z], -1)
        if self.degree == 1:
            return padded
        products = list(combinations_with_replacement(range(padded.shape[-1]), self.degree))
        return padded[..., torch.tensor(products, device=z.device)].prod(-1)

    def on(self, like: dict[str, Any]) -> "Monomials":
        """The same on tensors of another kind."""
        return self


@dataclass(frozen=True, eq=False)
class Bumps:
    """1, and whitened Gaussian kernels at landmarks[m, s]."""

    landmarks: Tensor
    width: float
    whitening: Tensor
    """K^(-1/2), [m, d - 1]."""

    @classmethod
    def at(cls, landmarks: Tensor, width: float) -> "Bumps":
        value, vector = torch.linalg.eigh(_kernel(landmarks, landmarks, width))
        kept = value > SMALLEST * value[-1]
        return cls(landmarks, width, vector[:, kept] / value[kept].sqrt())

    def __call__(self, z: Tensor) -> Tensor:
        """z[..., k, s] -> [..., k, d]."""
        bumps = _kernel(z, self.landmarks, self.width) @ self.whitening
        return torch.cat([torch.ones_like(z[..., :1]), bumps], -1)

    def on(self, like: dict[str, Any]) -> "Bumps":
        """The same on tensors of another kind."""
        return Bumps(self.landmarks.to(**like), self.width, self.whitening.to(**like))


def _kernel(x: Tensor, y: Tensor, width: float) -> Tensor:
    return torch.exp(-(x.unsqueeze(-2) - y).square().sum(-1) / (2 * width**2))


Features = Monomials | Bumps
