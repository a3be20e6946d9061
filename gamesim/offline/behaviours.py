"""Who acts while data are recorded: a ladder from random moves to an expert's, by name.

    random   epsilon = 1        medium   epsilon = 1/2
    expert   epsilon = 0        replay   epsilon = 1, 3/4, ..., 0 in turn, an episode each

An agent moves at random with chance epsilon, on its own and at each step, and otherwise as the expert does. Random
moves are uniform over the moves, or over the numbers that an action may have. The ladder is that of D4RL (Fu et al.,
arXiv 2004.07219) without training: the expert is a controller (gamesim.offline.experts).
"""

import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from gamesim.games.worlds import SetWorld
from gamesim.offline.experts import expert_of
from gamesim.parameters import Bounds, check
from gamesim.randomness import Stream

Share = Annotated[float, Bounds("a probability, between 0 and 1", 0, 1)]
Rungs = Annotated[int, Bounds("a whole number from 2 to 100", 2, 100)]


class Behaviour(ABC):
    """A policy that data are recorded of; `rung(i)` says which of `names` and `epsilons` acts in episode i.

    >>> from gamesim.offline.behaviours import Replay
    >>> Replay(3).names
    ('replay(1)', 'replay(0.5)', 'replay(0)')
    """

    kinds: ClassVar[dict[str, type]] = {}

    def __init_subclass__(cls) -> None:
        Behaviour.kinds[re.sub(r"(?<=[a-z])(?=[A-Z])", "-", cls.__name__).lower()] = cls

    @property
    @abstractmethod
    def epsilons(self) -> tuple[float, ...]:
        """The chances of a random move, one for each rung."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the header of a dataset calls the rungs."""
        return (type(self).__name__.lower(),)

    def __str__(self) -> str:
        numbers = ", ".join(f"{x:g}" for x in dataclasses.astuple(self))  # type: ignore[call-overload]
        return type(self).__name__.lower() + (f"({numbers})" if numbers else "")

    def rung(self, episode: Tensor) -> Tensor:
        """The rung of episodes by their numbers: they take turns, so that more of them are more of the same."""
        return episode % len(self.epsilons)


@dataclass(frozen=True)
class Random(Behaviour):
    """Uniform moves."""

    @property
    def epsilons(self) -> tuple[float, ...]:
        return (1.0,)


@dataclass(frozen=True)
class Expert(Behaviour):
    """The controller of the world."""

    @property
    def epsilons(self) -> tuple[float, ...]:
        return (0.0,)


@dataclass(frozen=True)
class Medium(Behaviour):
    """The expert, with random moves in between."""

    epsilon: Share = 0.5
    """The chance of one, for each agent at each step."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def epsilons(self) -> tuple[float, ...]:
        return (self.epsilon,)

    @property
    def names(self) -> tuple[str, ...]:
        return ("medium" if self.epsilon == 0.5 else f"medium({self.epsilon:g})",)


@dataclass(frozen=True)
class Replay(Behaviour):
    """As if recorded while somebody learned: episodes on every rung from random to expert."""

    rungs: Rungs = 5
    """How many, evenly apart."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def epsilons(self) -> tuple[float, ...]:
        return tuple(1 - i / (self.rungs - 1) for i in range(self.rungs))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"replay({epsilon:.3g})" for epsilon in self.epsilons)


def acting(world: SetWorld, epsilon: Tensor, dice: Stream) -> Callable[[int, Any], Tensor]:
    """What everyone does at time k in a state, for `world.play`; epsilon [b], an episode each.

    The expert is asked only where somebody listens, so that every world has random play.
    """
    shape = (len(epsilon), world.acting)
    like = {"dtype": world.like["dtype"], "device": world.like["device"]}
    chance = epsilon.to(**like)[:, None]
    low = torch.as_tensor(getattr(world, "lowest", -1.0), **like)  # words are said from 0 to 1
    plan: list[Callable[[Any], Tensor]] = []

    def act(k: int, state: Any) -> Tensor:
        if world.actions == "continuous":
            u = dice.quick((*shape, world.action_size + 1), **like)
            wandering, noise = u[..., 0] < chance, low + (1 - low) * u[..., 1:]
        else:
            u = dice.quick(shape, **like)
            wandering = u < chance
            noise = (u / chance.clamp(min=1e-9) * world.action_count).long().clamp(max=world.action_count - 1)
        if bool((chance == 1).all()):
            return noise
        if k == 0:
            plan[:] = [expert_of(world, state)]
        heard = wandering if noise.dim() == wandering.dim() else wandering[..., None]
        return torch.where(heard, noise, plan[0](state))

    return act
