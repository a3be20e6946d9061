"""One copy of an environment in whole numbers: of gymnasium, or of PettingZoo with all agents at once or in turns.

Every step asks for an action of every player. Who has no turn, has left or has not come yet observes a number of its
own, the last one (`away`); what its policy says there is asked for and not used, so nothing can be learned there.

Where an environment says which actions are legal (`action_mask`, in observations or infos), an illegal one is

    refuse      an error that says how to go on
    redirect    the next legal one, counting up and from the last to the first; `redirected` counts how often
    allow       handed on: what the environment does with it is part of the game
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import gymnasium
import numpy as np

from gamesim.envs.wrappers.copying import another
from gamesim.envs.wrappers.spaces import Coding, coding
from gamesim.errors import refuse

Illegal = Literal["refuse", "redirect", "allow"]
Answer = tuple[list[int], list[float], bool, bool]
"""Observations and rewards of all players, terminated, truncated."""

ACTIONS = "gymnasium.wrappers.DiscretizeAction(env, bins) makes one of a bounded Box"
OBSERVATIONS = "gymnasium.wrappers.DiscretizeObservation(env, bins) makes one of a bounded Box"
UNBOUNDED = (
    "bound it by gymnasium.wrappers.TransformObservation, then gymnasium.wrappers.DiscretizeObservation(env, bins)"
)


class Copy(ABC):
    """One copy: `reset` and `step`, with everything numbered."""

    def __init__(self, env: Any, illegal: Illegal, away: bool) -> None:
        self.env, self.illegal, self.redirected = env, illegal, 0
        self.players: tuple[str, ...] = ()
        self.actions: list[Coding] = []
        self.seen: list[Coding] = []
        self.away = away

    @property
    def action_counts(self) -> tuple[int, ...]:
        return tuple(c.size for c in self.actions)

    @property
    def observation_counts(self) -> tuple[int, ...]:
        return tuple(c.size + self.away for c in self.seen)

    @abstractmethod
    def reset(self, seed: int) -> list[int]:
        """Begin an episode: what every player sees."""

    @abstractmethod
    def step(self, actions: Sequence[int]) -> Answer:
        """One action of every player, those that are not asked for included."""

    def close(self) -> None:
        self.env.close()

    def clone(self) -> "Copy":
        """A copy that goes on from here by itself."""
        other = copy.copy(self)
        other.env = another(self.env)
        return other

    def chosen(self, player: int, action: int, mask: Any, who: str) -> Any:
        """The action as the environment takes it, once it is known what is legal."""
        found = self.actions[player]
        if mask is not None and self.illegal != "allow":
            legal = np.asarray(mask)
            if legal.shape != (found.size,):
                wanted = f"{found.size} numbers, one for each action; or illegal=allow, which does not look at them"
                raise refuse(f"action_mask of {who}", f"shape {list(legal.shape)}", wanted)
            if not legal[action]:
                action = self._instead(action, legal, who)
        return found.element(action)

    def _instead(self, action: int, legal: Any, who: str) -> int:
        if self.illegal == "refuse":
            wanted = "redirect (an illegal action stands for the next legal one) or allow (the environment decides)"
            raise refuse("illegal", f"refuse, and {who} has drawn action {action}, which action_mask forbids", wanted)
        allowed = np.flatnonzero(legal)
        if not len(allowed):
            raise refuse(f"action_mask of {who}", "no legal action", "at least one where an action is asked for")
        self.redirected += 1
        return int(allowed[np.searchsorted(allowed, action) % len(allowed)])


class Alone(Copy):
    """A gymnasium environment: one player."""

    def __init__(self, env: Any, illegal: Illegal) -> None:
        super().__init__(env, illegal, away=False)
        self.players = ("1",)
        space = env.observation_space
        bounded = not isinstance(space, gymnasium.spaces.Box) or space.is_bounded("both")
        self.actions = [coding(env.action_space, "action_space", ACTIONS)]
        self.seen = [coding(space, "observation_space", OBSERVATIONS if bounded else UNBOUNDED)]
        self.mask: Any = None

    def reset(self, seed: int) -> list[int]:
        observed, info = self.env.reset(seed=seed)
        self.mask = info.get("action_mask")
        return [self.seen[0].encode(observed)]

    def step(self, actions: Sequence[int]) -> Answer:
        action = self.chosen(0, actions[0], self.mask, "the player")
        observed, reward, terminated, truncated, info = self.env.step(action)
        self.mask = info.get("action_mask")
        return [self.seen[0].encode(observed)], [number_of(reward, "reward")], bool(terminated), bool(truncated)


def number_of(reward: Any, field: str) -> float:
    try:
        found = float(reward if isinstance(reward, float | int) else np.asarray(reward).item())
    except (TypeError, ValueError):
        raise refuse(field, reward, "a number") from None
    if not math.isfinite(found):
        raise refuse(field, found, "a finite reward")
    return found
