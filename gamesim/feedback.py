"""What a solver is told about its actions: exact or noisy values, all of one shape, that of the policy.

A feedback is asked for the values of a policy, in its own flow or in another one when the family has flows. Solvers
hold one as a parameter, so that learning from worse information changes nothing in the algorithm.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from gamesim.games import Policy
from gamesim.games.game import values_of
from gamesim.parameters import NonNegative, check
from gamesim.randomness import Stream


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
        return f"noisy({self.scale:g})"

    def __call__(
        self, game: Any, policy: Policy, temperature: Any, generator: Stream, flow: Tensor | None = None
    ) -> Policy:
        values = exact(game, policy, temperature, flow)
        return tuple(q + self.scale * generator.normal(q.shape, q.dtype, q.device) for q in values)


def exact(game: Any, policy: Policy, temperature: Any = 0.0, flow: Tensor | None = None) -> Policy:
    """The family's own values: of the policy in its own flow, or in the given one."""
    return values_of(game, policy, temperature) if flow is None else (game.values(policy, flow, temperature).q,)
