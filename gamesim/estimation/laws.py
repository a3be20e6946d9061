"""What may be assumed of how agents respond to the aggregate they feel; a law is fitted at a given z.

    mixture       P(t | s, a, z) = (1 - |z|) M_0(t) + sum_s' z(s') M_s'(t), every M a law: one meets someone or nobody
    linear        P(t | s, a, z) = theta_0(t) + sum_s' theta_s'(t) z(s')
    polynomial    the same in all products of at most `degree` of the z(s')
    kernel        kernel ridge regression on z with a Gaussian kernel, compressed to landmarks
    a game        its own equations, its parameters free: `graphon/sis`

Zhang, Tan, Wang and Yang, arXiv 2310.17531, section 4.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamesim import catalog
from gamesim.errors import refuse
from gamesim.estimation.features import Bumps, Features, Monomials
from gamesim.estimation.observed import Observed
from gamesim.estimation.regressions import Fit, cross_validated, move_moments, pay_moments, regress
from gamesim.estimation.responses import Regressed, Response
from gamesim.games import GraphonGame
from gamesim.parameters import Count, NonNegative, Positive, build, check

FAINT = 1e-8
"""The penalty while the graphon is sought, where it is to be chosen by cross-validation afterwards."""

MOST = 1000
"""Landmarks of a kernel."""
HIGHEST = 10
"""Degree of a polynomial."""


class Law(ABC):
    """What is assumed of the response; `fit` finds it at a given aggregate."""

    kinds: ClassVar[dict[str, type]] = {}

    def __init_subclass__(cls, kind: str | None = None) -> None:
        if kind:
            Law.kinds[kind] = cls

    @classmethod
    def adopt(cls, value: Any, field: str) -> "Law | None":
        """A game, its class or its id (`graphon/sis`) stands for its own equations."""
        from gamesim.estimation.mechanism import Mechanism

        found = catalog.find("games", value) if isinstance(value, str) and ("/" in value or ":" in value) else value
        if isinstance(found, type) and issubclass(found, GraphonGame):
            found = build(found, {})
        if isinstance(found, GraphonGame):
            return Mechanism(found)
        if found is not value:
            raise refuse(field, value, "a graphon game, such as graphon/sis")
        return None

    size: int = 0
    """Free numbers that are sought together with the graphon's."""

    @property
    def centre(self) -> Tensor:
        """Where their prior sits, [p]."""
        return torch.zeros(self.size, dtype=torch.float64)

    def numbers_of(self, free: Tensor) -> dict[str, Tensor]:
        """The same numbers within their bounds, by name."""
        return {}

    @abstractmethod
    def fit(self, seen: Observed, z: Tensor, free: Tensor, before: Response | None = None) -> Fit:
        """The response that fits best where the aggregate is z[..., k, s]; its features are those of one `before`."""


class Regression(Law):
    """Least squares on features of z, with penalties on all coefficients but the intercept."""

    kind: ClassVar[str]
    lawful: ClassVar[bool] = False
    """Whether P is kept a law at every z."""
    penalty: float | None
    """Weight of |theta|^2 beside the mean squared error of moves; None: by cross-validation over episodes."""
    reward_penalty: float | None
    """The same for rewards."""

    def __post_init__(self) -> None:
        check(self)

    @abstractmethod
    def features(self, z: Tensor) -> Features:
        """phi, from the aggregates at which it is first asked for; it stays as it is afterwards."""

    def fit(self, seen: Observed, z: Tensor, free: Tensor, before: Response | None = None) -> Fit:
        features = before.features if isinstance(before, Regressed) else self.features(z.detach())
        penalty, reward_penalty = (FAINT if p is None else float(p) for p in (self.penalty, self.reward_penalty))
        return regress(features, seen, z, penalty, reward_penalty, lawful=self.lawful)

    def tuned(self, features: Features, folds: Observed, z: Tensor) -> "Regression":
        """With the penalties that were left open chosen by cross-validation over folds, the leading dimension."""
        found, phi = dict[str, float](), features(z)
        if self.penalty is None:
            found["penalty"] = cross_validated(move_moments(folds, phi))
        if self.reward_penalty is None and folds.rewards_tell:
            found["reward_penalty"] = cross_validated(pay_moments(folds, phi))
        return replace(self, **found)  # type: ignore[type-var]

    def __str__(self) -> str:
        shown = [f"{float(x):g}" for x in self.shown if x is not None]
        named = [] if self.reward_penalty is None else [f"reward_penalty={self.reward_penalty:g}"]
        return f"{self.kind}({', '.join(shown + named)})" if shown or named else self.kind

    @property
    def shown(self) -> tuple[float | Tensor | None, ...]:
        """What stands first when the law is written down."""
        return (self.penalty,)


@dataclass(frozen=True)
class Mixture(Regression, kind="mixture"):
    """One meets a neighbour, whose state decides, or nobody: linear in z, and a law for every z."""

    reward_penalty: NonNegative | None = None  # type: ignore[assignment]
    """Weight of |rho|^2 beside the mean squared error of rewards; left out, by cross-validation over episodes."""
    kind: ClassVar[str] = "mixture"
    lawful: ClassVar[bool] = True
    penalty: ClassVar[float] = 0.0  # type: ignore[misc]

    @property
    def shown(self) -> tuple[float | Tensor | None, ...]:
        return ()

    def features(self, z: Tensor) -> Features:
        return Monomials()


@dataclass(frozen=True)
class Linear(Regression, kind="linear"):
    """Linear in z, by ridge regression."""

    penalty: NonNegative | None = None  # type: ignore[assignment]
    """Weight of |theta|^2 beside the mean squared error of moves; left out, by cross-validation over episodes."""
    reward_penalty: NonNegative | None = None  # type: ignore[assignment]
    """The same for rewards."""
    kind: ClassVar[str] = "linear"

    def features(self, z: Tensor) -> Features:
        return Monomials()


@dataclass(frozen=True)
class Polynomial(Regression, kind="polynomial"):
    """All products of at most `degree` of the z, by ridge regression."""

    degree: Count = 2
    """Largest number of factors."""
    penalty: NonNegative | None = None  # type: ignore[assignment]
    """Weight of |theta|^2 beside the mean squared error of moves; left out, by cross-validation over episodes."""
    reward_penalty: NonNegative | None = None  # type: ignore[assignment]
    """The same for rewards."""
    kind: ClassVar[str] = "polynomial"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.degree > HIGHEST:
            raise refuse("law.degree", self.degree, f"at most {HIGHEST}")

    @property
    def shown(self) -> tuple[float | Tensor | None, ...]:
        return (self.degree, self.penalty)

    def features(self, z: Tensor) -> Features:
        return Monomials(self.degree)


@dataclass(frozen=True)
class Kernel(Regression, kind="kernel"):
    """Kernel ridge regression with a Gaussian kernel on z, compressed to landmarks."""

    bandwidth: Positive = 0.3
    """Width of the kernel, in units of the aggregate."""
    penalty: NonNegative | None = None  # type: ignore[assignment]
    """Weight of the squared norm beside the mean squared error of moves; left out, by cross-validation."""
    reward_penalty: NonNegative | None = None  # type: ignore[assignment]
    """The same for rewards."""
    landmarks: Count = 30
    """Centres of the kernel, spread over the aggregates that were felt."""
    kind: ClassVar[str] = "kernel"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.landmarks > MOST:
            raise refuse("law.landmarks", self.landmarks, f"at most {MOST}")

    @property
    def shown(self) -> tuple[float | Tensor | None, ...]:
        return (self.bandwidth, self.penalty)

    def features(self, z: Tensor) -> Features:
        z = z.flatten(0, -2)
        some = torch.linspace(0, len(z) - 1, min(self.landmarks, len(z)), device=z.device).long()
        return Bumps.at(z[z.sum(-1).argsort(stable=True)][some], float(self.bandwidth))
