"""Worlds in which agents say words: an action is a move and a word, and everyone hears what was said a step ago.

Two agents and three landmarks, each of its own colour. A discrete action is move + 5 word; a continuous one is a force
and a loudness in [0, 1] for each word. Lowe et al., NeurIPS 2017.
"""

import math
from abc import abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from gamesim.envs.sets.discs import Discs
from gamesim.games.worlds import FORCES, Particles
from gamesim.kernels.particles import Physics
from gamesim.randomness import Stream

LANDMARKS, MOVES = 3, len(FORCES)


class Talking(Discs):
    """Of two agents that do not collide; `extra` of a state is what was said [..., n, w] and who knows which goal.

    A goal is the number of a landmark, int64 [..., n]; -1 for an agent that knows none.
    """

    words: ClassVar[int]
    knowing: ClassVar[int]
    """How many agents, the first ones, know a goal."""
    variant: str
    radius: float | None

    @property
    def acting(self) -> int:
        return 2

    @property
    def facts(self) -> dict[str, str]:
        """What is particular to the variant, by name of the fact."""
        first = self.variant == "mpe2"
        return {"integration": "position, then velocity" if first else "velocity, then position"}

    @property
    def half(self) -> float:
        return 1.0 if self.radius is None else self.radius

    @property
    @abstractmethod
    def strengths(self) -> tuple[float, float]:
        """Of the agents' forces; 0 for one that stays where it is."""

    @cached_property
    def physics(self) -> Physics:
        n = self.acting
        return Physics(
            torch.full((n + LANDMARKS,), 0.05, **self.like),
            torch.tensor(self.strengths, **self.like),
            torch.full((n,), math.inf, **self.like),
            colliding=0,
            position_first=self.variant == "mpe2",
        )

    def begin(self, front: tuple[int, ...], generator: Stream) -> Particles:
        still = super().begin(front, generator)
        u = generator.uniform((*front, self.acting), **self.like)
        goals = (u * LANDMARKS).long().clamp(max=LANDMARKS - 1)
        goals = torch.where(torch.arange(self.acting, device=self.device) < self.knowing, goals, -1)
        silence = torch.zeros(*front, self.acting, self.words, **self.like)
        return replace(still, extra=(silence, goals))

    def step(self, state: Particles, actions: Tensor) -> tuple[Particles, Tensor]:
        self.require_room(state)
        checked = self.checked(actions, state.position)
        after = self.moved(state, self.forces_of(checked, state.position.dtype))
        said, goals = self.said(checked, state.position.dtype), state.extra[1]
        front = after.position.shape[:-2]
        spoken = said.expand(*front, self.acting, self.words), goals.expand(*front, self.acting)
        after = replace(after, extra=spoken)
        return after, self.rewards(after)

    @property
    @abstractmethod
    def speaking(self) -> Tensor:
        """Who is heard: 1 or 0 for each agent, [n]."""

    def said(self, actions: Tensor, dtype: torch.dtype) -> Tensor:
        """Words [..., n, w]: one-hot, or as loud as they were said."""
        loud = actions[..., 2:] if self.actions == "continuous" else self._spoken[actions // MOVES]
        return (loud * self.speaking[:, None]).to(dtype)

    @cached_property
    def _spoken(self) -> Tensor:
        return torch.eye(self.words, **self.like)

    def forces_of(self, actions: Tensor, dtype: torch.dtype) -> Tensor:
        return actions[..., :2] if self.actions == "continuous" else self._forces.to(dtype)[actions % MOVES]

    @cached_property
    def lowest(self) -> Tensor:
        return torch.tensor([-1.0, -1.0] + [0.0] * self.words, **self.like)

    def played(self, moves: Tensor) -> Tensor:
        if self.actions == "discrete":
            return moves
        return torch.cat([self._forces[moves % MOVES], self._spoken[moves // MOVES]], -1)

    def tokens(self, state: Particles) -> Tensor:
        """[..., e, 7 + w]: place and velocity, the colour that a landmark has or an agent knows, what it said."""
        said, goals = state.extra
        front, n = state.position.shape[:-2], self.acting
        known = torch.nn.functional.one_hot(goals + 1, LANDMARKS + 1)[..., 1:].to(state.position.dtype)
        own = torch.eye(LANDMARKS, dtype=known.dtype, device=known.device).expand(*front, LANDMARKS, LANDMARKS)
        quiet = said.new_zeros(*front, LANDMARKS, self.words)
        parts = state.position, state.velocity, torch.cat([known.expand(*front, n, LANDMARKS), own], -2)
        return torch.cat([*parts, torch.cat([said.expand(*front, n, self.words), quiet], -2)], -1)

    def restored(self, tokens: Tensor) -> Particles:
        self.require_tokens(tokens)
        n, tokens = self.acting, tokens.to(self.like["dtype"])
        colours, said = tokens[..., :n, 4 : 4 + LANDMARKS], tokens[..., :n, 4 + LANDMARKS :]
        goals = torch.where(colours.sum(-1) > 0, colours.argmax(-1), -1)
        return Particles(tokens[..., :2], tokens[..., 2:4], (said, goals))

    def target(self, state: Particles) -> Tensor:
        """Where the landmark stands that an agent knows as the goal, [..., n, 2]; the first where it knows none."""
        goals = state.extra[1].clamp(min=0)[..., None]
        landmarks = state.position[..., self.acting :, :]
        return landmarks.gather(-2, goals.expand(*landmarks.shape[:-2], self.acting, 2))
