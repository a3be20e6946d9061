"""Worlds whose agents are a set: entities with features, some of which act, and a team reward that knows no order.

A state is a set of tokens, one for each entity: [..., e, d], the acting ones first, each with the kind of entity that
it is. For every permutation psi of agents of a kind (Zhang et al., arXiv 2209.09845, section 2)

    P(psi S' | psi S, psi A) = P(S' | S, A),    r(psi S, psi A) = psi r(S, A).

Worlds are played in batches of any leading dimensions; a step is a pure function of tensors.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.game import Policy
from gamesim.parameters import Count
from gamesim.randomness import Stream
from gamesim.states import expanded

EVALUATION = 2**31 - 3
"""An iteration that no run reaches: episodes that measure share no random numbers with those that are learned from."""
FORCES = ((0.0, 0.0), (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0))
"""The five moves as forces: none, left, right, down, up."""


@dataclass(frozen=True)
class Particles:
    """Where everything is, and how fast it moves: a state of a batch of worlds."""

    position: Tensor
    """[..., e, 2], entities that act first."""
    velocity: Tensor
    """[..., e, 2]; 0 for what cannot move."""
    extra: tuple[Tensor, ...] = ()
    """What else a world keeps, as what was said."""


@dataclass(frozen=True)
class Recording:
    """Episodes as they were played."""

    tokens: Tensor
    """States, [..., steps + 1, e, d]."""
    actions: Tensor
    """Whole numbers [..., steps, n], or forces [..., steps, n, 2]."""
    rewards: Tensor
    """[..., steps, n]."""
    final: Any = None
    """The state at the end."""

    @property
    def returns(self) -> Tensor:
        """The undiscounted return of an episode, mean over agents, [...]."""
        return self.rewards.mean(-1).sum(-1)


Act = Callable[[int, Any], Tensor]
"""The actions of all agents at time k in a state, [..., n] or [..., n, 2]."""


class SetWorld(ABC):
    """A batch of worlds: `begin`, `step` and `tokens` make one. Concrete ones are frozen dataclasses.

    Episodes are cut off after `steps` steps, and never end by themselves.
    """

    kinds_of_entity: ClassVar[tuple[str, ...]]
    """Names of the kinds of entity, of which `types` speaks."""
    features: ClassVar[tuple[str, ...]] = ("x", "y", "vx", "vy")
    """What the numbers of a token are."""
    action_count: ClassVar[int] = len(FORCES)
    action_size: ClassVar[int] = 2
    instead: ClassVar[str] = "play is recorded first: sets/offline, -g world=ID or -g data=FILE of gamesim data make"
    """What takes it further where a solver does not take it."""
    evaluation_episodes: ClassVar[int] = 100
    """Episodes behind a measure."""
    steps: Count
    """Steps of an episode."""
    actions: Any
    """`discrete`: one of `action_count` moves; `continuous`: a force in [-1, 1]^2."""

    @property
    @abstractmethod
    def acting(self) -> int:
        """How many entities act, n: the first ones."""

    @property
    @abstractmethod
    def types(self) -> Tensor:
        """The kind of each entity, a number into `kinds_of_entity`: uint8 [e]."""

    @property
    @abstractmethod
    def like(self) -> dict[str, Any]:
        """dtype and device of its tensors."""

    @abstractmethod
    def begin(self, front: tuple[int, ...], generator: Stream) -> Any:
        """A state for each element of the leading dimensions; with a batch of seeds they begin with their number."""

    @abstractmethod
    def step(self, state: Any, actions: Tensor) -> tuple[Any, Tensor]:
        """The next state, and the reward of each agent, [..., n]."""

    @abstractmethod
    def tokens(self, state: Any) -> Tensor:
        """The state as a set, [..., e, d]."""

    @abstractmethod
    def restored(self, tokens: Tensor) -> Any:
        """The state that has these tokens."""

    @property
    def entities(self) -> int:
        return len(self.types)

    @cached_property
    def _forces(self) -> Tensor:
        return torch.tensor(FORCES, **self.like)

    def played(self, moves: Tensor) -> Tensor:
        """Moves, whole numbers [..., n], as actions of this world: themselves, or unit forces."""
        return self._forces[moves] if self.actions == "continuous" else moves

    def play(self, act: Act, front: tuple[int, ...], generator: Stream, steps: int | None = None) -> Recording:
        """Episodes in which everyone acts by `act(k, state)`, one for each element of the leading dimensions."""
        state = self.begin(front, generator)
        seen, done, paid = [self.tokens(state)], list[Tensor](), list[Tensor]()
        for k in range(self.steps if steps is None else steps):
            actions = act(k, state)
            state, rewards = self.step(state, actions)
            seen.append(self.tokens(state))
            done.append(actions)
            paid.append(rewards)
        if not done:
            raise refuse("steps", 0, "at least 1")
        time = -2 - (self.actions == "continuous")
        return Recording(torch.stack(seen, -3), torch.stack(done, time), torch.stack(paid, -2), state)

    # --- as a game of the catalogue: everyone draws from one law, whatever happens ------------------------------------

    def start(self) -> Policy:
        """Everyone moves at random: one law over the moves, [a]."""
        return (torch.full((self.action_count,), 1 / self.action_count, **self.like),)

    def metrics(self, policy: Policy) -> dict[str, Tensor]:
        """The mean return of `evaluation_episodes` episodes in which everyone draws moves from one law [..., a]."""
        return {"return": self.returns_of_law(policy[0])}

    def returns_of_law(self, law: Tensor, episodes: int | None = None, seed: int = 0) -> Tensor:
        """[...]; every law meets the same luck."""
        luck = Stream(seed, EVALUATION)
        many = self.evaluation_episodes if episodes is None else episodes
        dice = luck.aside()
        below = law.to(**self.like).cumsum(-1)[..., None, None, :-1]

        def act(k: int, state: Any) -> Tensor:
            u = dice.quick((many, self.acting), self.like["dtype"], self.like["device"])
            return self.played((below <= u[..., None]).sum(-1))

        alone = self.begin((many,), luck)
        state = expanded(alone, tuple(law.shape[:-1]))
        total: Any = 0.0
        for k in range(self.steps):
            state, rewards = self.step(state, act(k, state))
            total = total + rewards.mean(-1)
        found: Tensor = total.mean(-1)
        return found
