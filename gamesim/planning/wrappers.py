"""Planners around planners: how a law of subgoals is decoded, and how wrong it is.

    tempered   p_g^(1 / temperature), normalised; 0 is greedy, and ties are shared
    nucleus    the likeliest subgoals that together have a probability of at least top_p (Holtzman et al., ICLR 2020)
    blurred    (1 - error) p + error uniform: a pretraining error of total variation at most `error`

Whatever cuts a support may cut the truth: greedy decoding or top-p below 1 may be linear with two latents.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.latent import Belief, LatentWorld, shared
from gamesim.parameters import Probability, Temperature, check
from gamesim.planning.exact import Bail
from gamesim.planning.planner import Planner, Proposal
from gamesim.randomness import Stream
from gamesim.simplex import TIE, drawn, nucleus


@dataclass(frozen=True)
class Around(Planner, kind=""):
    """A planner whose laws are another's, changed."""

    planner: Planner = field(default_factory=Bail)
    """Who is asked."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def exact(self) -> bool:  # type: ignore[override]
        return self.planner.exact

    @property
    def has_law(self) -> bool:  # type: ignore[override]
        return self.planner.has_law

    @property
    def asks(self) -> bool:  # type: ignore[override]
        return self.planner.asks

    @property
    def believes(self) -> bool:
        return self.planner.believes

    def require(self, world: LatentWorld) -> None:
        self.planner.require(world)
        if not self.planner.has_law:
            wanted = "one that knows the law of what it says, or its own parameters, as openai(temperature=0.5)"
            raise refuse("planner", f"{self.planner}, to be {self.typed}", wanted)

    def require_length(self, episodes: int) -> None:
        self.planner.require_length(episodes)

    def cautions(self, world: LatentWorld) -> list[str]:
        return self.planner.cautions(world)

    def begin(self, world: LatentWorld, front: tuple[int, ...]) -> Any:
        return self.planner.begin(world, front)

    def meet(self, world: LatentWorld, memory: Any, task: Tensor, observation: Tensor, generator: Stream) -> Any:
        return self.planner.meet(world, memory, task, observation, generator)

    def hear(self, world: LatentWorld, h: int, memory: Any, subgoal: Tensor, observation: Tensor) -> Any:
        return self.planner.hear(world, h, memory, subgoal, observation)

    def belief(self, memory: Any) -> Belief | None:
        return self.planner.belief(memory)

    def law(self, world: LatentWorld, h: int, task: Tensor, memory: Any) -> Tensor:
        return self.changed(self.planner.law(world, h, task, memory))

    def propose(
        self, world: LatentWorld, h: int, task: Tensor, memory: Any, generator: Stream, needed: Tensor | None = None
    ) -> Proposal:
        if not self.asks:
            return super().propose(world, h, task, memory, generator, needed)
        said = self.planner.propose(world, h, task, memory, generator, needed)
        assert said.law is not None
        law = self.changed(said.law)
        return Proposal(drawn(law, shared(generator, law.shape[:-2], law.shape[-2])), law, said.invalid)

    def changed(self, law: Tensor) -> Tensor:
        """Another law of the same shape, [..., k, g]."""
        raise NotImplementedError


@dataclass(frozen=True)
class Tempered(Around):
    """Sharper below a temperature of 1, and greedy at 0."""

    temperature: Temperature = 1.0

    def changed(self, law: Tensor) -> Tensor:
        if isinstance(self.temperature, float) and self.temperature == 0:
            best = (law >= law.amax(-1, keepdim=True) - TIE).to(law.dtype)
            return best / best.sum(-1, keepdim=True)
        log = law.log()
        temperature = _wide(self.temperature)
        return _except(temperature, 1.0, law, torch.softmax((log - log.amax(-1, keepdim=True)) / temperature, -1))


@dataclass(frozen=True)
class Nucleus(Around):
    """The likeliest subgoals alone."""

    top_p: Probability = 1.0

    def changed(self, law: Tensor) -> Tensor:
        top_p = _wide(self.top_p)
        return _except(top_p, 1.0, law, nucleus(law, top_p))


@dataclass(frozen=True)
class Blurred(Around):
    """Now and then any subgoal at all."""

    error: Probability = 0.0

    def changed(self, law: Tensor) -> Tensor:
        error = _wide(self.error)
        return (1 - error) * law + error / law.shape[-1]


def _wide(number: float | Tensor) -> float | Tensor:
    """A batch of numbers [*b, 1] against laws [..., k, g]."""
    return number if isinstance(number, float) or number.dim() == 0 else number.unsqueeze(-1)


def _except(number: float | Tensor, nothing: float, law: Tensor, changed: Tensor) -> Tensor:
    """The changed law, but where a number changes nothing the law itself, not rounded: a batch is its runs alone."""
    return torch.where(torch.as_tensor(number, device=law.device) == nothing, law, changed)


def decoded(planner: Planner, temperature: Any = 1.0, top_p: Any = 1.0, error: Any = 0.0) -> Planner:
    """A planner with wrong laws where `error` is not 0, then tempered, then cut, as sampling from a model goes."""
    for wrapper, value, nothing in (
        (lambda p: Blurred(p, error), error, 0.0),
        (lambda p: Tempered(p, temperature), temperature, 1.0),
        (lambda p: Nucleus(p, top_p), top_p, 1.0),
    ):
        if isinstance(value, Tensor) or value != nothing:
            planner = wrapper(planner)
    return planner
