"""Values from an oracle: exact, or with independent errors; and what every feedback is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamesim.games import Policy
from gamesim.games.game import values_of
from gamesim.parameters import NonNegative, check
from gamesim.randomness import Stream
from gamesim.schedules import Schedule


class Feedback(ABC):
    """(game, policy, temperature, generator, flow) -> values shaped like the policy."""

    kinds: ClassVar[dict[str, type]] = {}

    def __init_subclass__(cls) -> None:
        Feedback.kinds[cls.__name__.lower()] = cls

    def __str__(self) -> str:
        return type(self).__name__.lower()

    @abstractmethod
    def __call__(
        self, game: Any, policy: Policy, temperature: Any, generator: Stream, flow: Tensor | None = None
    ) -> Policy: ...

    def require(self, game: Any) -> None:  # noqa: B027  most take any game
        """Refuse a game that cannot give such values; asked before a run begins."""

    def cautions(self, step_size: Schedule) -> list[str]:
        """What the theory of learning from such values asks of the step sizes, where they do not keep to it."""
        if step_size.decay > 1:
            return [
                f"step_size: {step_size} sums to a finite number (exponent above 1), so scores can stop "
                "before an equilibrium; take an exponent of at most 1"
            ]
        return []


@dataclass(frozen=True)
class Exact(Feedback):
    """The values themselves, by the family's backward equations."""

    def __call__(
        self, game: Any, policy: Policy, temperature: Any, generator: Stream, flow: Tensor | None = None
    ) -> Policy:
        return exact(game, policy, temperature, flow)


@dataclass(frozen=True)
class Noisy(Feedback):
    """The values with independent Gaussian errors: a noisy oracle."""

    scale: NonNegative = 0.1
    """Standard deviation of the error of each action value."""

    def __post_init__(self) -> None:
        check(self)

    def __str__(self) -> str:
        return f"noisy({self.scale:g})" if isinstance(self.scale, float) else f"noisy({self.scale})"

    def cautions(self, step_size: Schedule) -> list[str]:
        noisy = bool(torch.as_tensor(self.scale > 0).any())
        return super().cautions(step_size) + (unbiased_cautions(step_size) if noisy else [])

    def __call__(
        self, game: Any, policy: Policy, temperature: Any, generator: Stream, flow: Tensor | None = None
    ) -> Policy:
        values = exact(game, policy, temperature, flow)
        return tuple(q + self.scale * generator.normal(q.shape, q.dtype, q.device) for q in values)


def unbiased_cautions(step_size: Schedule) -> list[str]:
    """With errors of mean zero the step sizes must be square-summable."""
    if step_size.decay > 0.5:
        return []
    return [
        f"step_size: {step_size} is not square-summable (exponent at most 1/2), so the errors of the values need not "
        "average out: take power(scale, p) with 1/2 < p <= 1"
    ]


def exact(game: Any, policy: Policy, temperature: Any = 0.0, flow: Tensor | None = None) -> Policy:
    """The family's own values: of the policy in its own flow, or in the given one."""
    return values_of(game, policy, temperature) if flow is None else (game.values(policy, flow, temperature).q,)
