"""What a planner is: it keeps what it has heard in tensors, and says the next subgoals, or only a law of them.

A planner is a choice, as `planner=bail(window=16)`. Its memory is tensors of fixed shapes, so that runs are saved and
resumed like those of any solver, and leading dimensions `...` are runs side by side.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.latent import Belief, LatentWorld, aggregated, shared
from gamesim.parameters import kind_of, spelled
from gamesim.randomness import Stream
from gamesim.simplex import drawn


@dataclass(frozen=True)
class Proposal:
    """What a planner says at a decision."""

    subgoal: Tensor
    """Whole numbers [..., k]."""
    law: Tensor | None = None
    """What they were drawn from, [..., k, g], where that is known."""
    invalid: Tensor | None = None
    """How many subgoals were not understood and are somebody else's, whole numbers [...]."""


class Planner(ABC):
    """A way to say subgoals; a concrete one is a frozen dataclass, and its kind is its name as it is typed.

    >>> from gamesim.planning import Bail, PosteriorSampling
    >>> str(Bail()), str(Bail(window=8)), str(PosteriorSampling())
    ('bail', 'bail(window=8)', 'posterior-sampling')
    """

    kinds: ClassVar[dict[str, type]] = {}
    typed: ClassVar[str]
    """Its kind."""
    has_law: bool = True
    """Whether it knows the law of what it says."""
    asks: bool = False
    """Whether a law costs something, so that it is asked for once and only where somebody listens."""
    exact: bool = False
    """Whether what it believes is the exact posterior after everything that was heard."""

    def __init_subclass__(cls, kind: str | None = None, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if kind != "" and not cls.__name__.startswith("_"):  # an empty kind is for those that others are made of
            cls.typed = kind or kind_of(cls)
            Planner.kinds[cls.typed] = cls

    def require(self, world: LatentWorld) -> None:  # noqa: B027  most take any
        """Refuse a world that this planner cannot plan in, before any work."""

    def require_length(self, episodes: int) -> None:  # noqa: B027  most take any
        """Refuse a run of so many episodes, before any work."""

    def cautions(self, world: LatentWorld) -> list[str]:
        """What no theorem covers, in sentences."""
        return []

    @abstractmethod
    def begin(self, world: LatentWorld, front: tuple[int, ...]) -> Any:
        """The memory of who has heard nothing."""

    @abstractmethod
    def meet(self, world: LatentWorld, memory: Any, task: Tensor, observation: Tensor, generator: Stream) -> Any:
        """The memory when an episode begins with this task and first report, [...] each."""

    def law(self, world: LatentWorld, h: int, task: Tensor, memory: Any) -> Tensor:
        """The law of the subgoals it says, [..., k, g]."""
        raise refuse("planner", str(self), "one that knows the law of what it says")

    def propose(
        self,
        world: LatentWorld,
        h: int,
        task: Tensor,
        memory: Any,
        generator: Stream,
        needed: Tensor | None = None,
    ) -> Proposal:
        """What it says; where `needed` [...] is false, nobody will listen."""
        law = self.law(world, h, task, memory)
        u = shared(generator, law.shape[:-2], law.shape[-2])
        return Proposal(drawn(law, u), law)

    @abstractmethod
    def hear(self, world: LatentWorld, h: int, memory: Any, subgoal: Tensor, observation: Tensor) -> Any:
        """The memory after the subgoals [..., k] that were sent, its own or not, and the report."""

    def belief(self, memory: Any) -> Belief | None:
        """What it holds of the latent, where it does."""
        return None

    @property
    def believes(self) -> bool:
        """Whether it holds something of the latent."""
        return type(self).belief is not Planner.belief

    def __str__(self) -> str:
        return spelled(self, self.typed)


def mixture(world: LatentWorld, h: int, task: Tensor, belief: Belief, weights: Tensor | None = None) -> Tensor:
    """sum_z w_z pi*_z(g), [..., k, g]: the experts weighed by a law of latents, the posterior unless given."""
    weights = belief.posterior if weights is None else weights
    return aggregated(world.experts(h, task, belief), weights, len(world.subgoals))
