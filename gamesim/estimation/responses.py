"""How agents respond to the aggregate, as it was fitted: laws of the next state and mean rewards at any z."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor, einsum

from gamesim.estimation.features import Features


class Response(ABC):
    """A fitted response; leading dimensions are a batch of fits."""

    @abstractmethod
    def transition(self, h: int, z: Tensor) -> Tensor:
        """P[..., k, s, a, t] for z[..., k, s], before any repair."""

    @abstractmethod
    def reward(self, h: int, z: Tensor) -> Tensor:
        """r[..., k, s, a]."""

    @abstractmethod
    def __getitem__(self, index: int) -> "Response":
        """One of a batch."""

    @abstractmethod
    def on(self, like: dict[str, Any]) -> "Response":
        """The same with tensors of another dtype, on another device."""


@dataclass(frozen=True, eq=False)
class Regressed(Response):
    """P = phi(z) theta and r = phi(z) rho."""

    features: Features
    theta: Tensor
    """[..., s, a, d, t]."""
    rho: Tensor
    """[..., s, a, d]."""

    def transition(self, h: int, z: Tensor) -> Tensor:
        return einsum("...kd,...sadt->...ksat", self.features(z), self.theta)

    def reward(self, h: int, z: Tensor) -> Tensor:
        return einsum("...kd,...sad->...ksa", self.features(z), self.rho)

    def __getitem__(self, index: int) -> "Regressed":
        return Regressed(self.features, self.theta[index], self.rho[index])

    def on(self, like: dict[str, Any]) -> "Regressed":
        return Regressed(self.features.on(like), self.theta.to(**like), self.rho.to(**like))


@dataclass(frozen=True, eq=False)
class Rescaled(Response):
    """A response f told in the units of c W instead of W: f(z / c)."""

    inner: Response
    scale: float = 1.0

    def transition(self, h: int, z: Tensor) -> Tensor:
        return self.inner.transition(h, z / self.scale)

    def reward(self, h: int, z: Tensor) -> Tensor:
        return self.inner.reward(h, z / self.scale)

    def __getitem__(self, index: int) -> "Rescaled":
        return Rescaled(self.inner[index], self.scale)

    def on(self, like: dict[str, Any]) -> "Rescaled":
        return Rescaled(self.inner.on(like), self.scale)
