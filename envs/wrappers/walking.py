"""The low level of a hierarchy as an environment of gymnasium: an actor's steps towards one subgoal."""

from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.hierarchy import Hierarchy
from gamesim.simplex import drawn


class Walking(gymnasium.Env[Any, Any]):
    """A subgoal is drawn and told; so many actions later, to stand at its goal pays 1.

    Observed is [subgoal, state]. `goals` names a state for each subgoal, -1 for one that is nowhere and not drawn;
    `initial` is the law of first states, uniform unless given; of several latents each reset draws one.
    """

    def __init__(self, hierarchy: Hierarchy, goals: Tensor, initial: Tensor | None = None) -> None:
        self.metadata = {"render_modes": []}
        self.render_mode = None
        states, subgoals = hierarchy.kernel.shape[-1], len(hierarchy.subgoals)
        if (
            goals.shape != (subgoals,)
            or goals.is_floating_point()
            or bool((goals >= states).any() | (goals < -1).any())
        ):
            raise refuse("goals", goals, f"a state of {states} for each of {subgoals} subgoals, or -1")
        if not bool((goals >= 0).any()):
            raise refuse("goals", goals, "one subgoal at least that is somewhere")
        self.hierarchy, self.goals = hierarchy, goals
        like = hierarchy.kernel
        self.initial = torch.full((states,), 1 / states).to(like) if initial is None else initial.to(like)
        if (
            self.initial.shape != (states,)
            or not np.isclose(float(self.initial.sum()), 1)
            or bool((self.initial < 0).any())
        ):
            raise refuse("initial", self.initial, f"a law of {states} states")
        self.observation_space = gymnasium.spaces.MultiDiscrete([subgoals, states])
        self.action_space = gymnasium.spaces.Discrete(len(hierarchy.actions))
        self.over = True

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Another subgoal and first state; with a seed all that follows is determined, without one luck goes on."""
        super().reset(seed=seed)
        kernel, somewhere = self.hierarchy.kernel, (self.goals >= 0).nonzero().flatten().tolist()
        self.law = kernel if kernel.dim() == 3 else kernel[int(self.np_random.integers(len(kernel)))]
        self.subgoal = int(self.np_random.choice(somewhere))
        self.state = int(drawn(self.initial, self._uniform()))
        self.taken, self.over = 0, False
        return self._observed()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.over:
            raise refuse("step", "an episode that is over", "reset() first")
        if not self.action_space.contains(action):
            raise refuse("action", action, f"a whole number from 0 to {len(self.hierarchy.actions) - 1}")
        self.state = int(drawn(self.law[int(action), self.state], self._uniform()))
        self.taken += 1
        self.over = self.taken == self.hierarchy.steps
        paid = float(self.over and self.state == int(self.goals[self.subgoal]))
        observed, info = self._observed()
        return observed, paid, self.over, False, info

    def _uniform(self) -> Tensor:
        return torch.tensor(self.np_random.random(), dtype=self.initial.dtype, device=self.initial.device)

    def _observed(self) -> tuple[Any, dict[str, Any]]:
        """Numbers, and the same in words."""
        words = {"subgoal": self.hierarchy.subgoals[self.subgoal], "state": self.hierarchy.states[self.state]}
        return np.array([self.subgoal, self.state], dtype=np.int64), words
