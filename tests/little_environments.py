"""Environments of a page or less, for tests of the bridges: nothing in them comes from gamesim."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from pettingzoo import AECEnv, ParallelEnv


class Corridor(gymnasium.Env):
    """Cells 1 to `length`; left or right, 1 for leaving on the right, -0.1 a step. Nothing is random."""

    def __init__(self, length: int = 4) -> None:
        self.length = length
        self.observation_space = spaces.Discrete(length, start=1)
        self.action_space = spaces.Discrete(2, start=-1)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.cell = 1
        return self.cell, {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self.cell = max(1, self.cell + (1 if action == 0 else -1))
        out = self.cell > self.length
        self.cell = min(self.cell, self.length)
        return self.cell, 1.0 if out else -0.1, out, False, {}


class Switches(gymnasium.Env):
    """Three switches and a dial: spaces of several parts. Pays the number of the state; ends when all are on."""

    def __init__(self) -> None:
        self.observation_space = spaces.Dict({"on": spaces.MultiBinary(3), "dial": spaces.Discrete(2, start=5)})
        self.action_space = spaces.Tuple([spaces.Discrete(3), spaces.MultiDiscrete([2, 2], start=[0, 1])])

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.on, self.dial = np.zeros(3, dtype=np.int8), 5
        return self._seen(), {}

    def _seen(self) -> dict[str, Any]:
        return {"on": self.on.copy(), "dial": self.dial}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        which, (value, dial) = action
        self.on[which], self.dial = value, 4 + int(dial)
        return self._seen(), float(4 * self.on[0] + 2 * self.on[1] + self.on[2]), bool(self.on.all()), False, {}


class Leaving(ParallelEnv):
    """Agents see the time; agent i leaves after step i + 1 and is paid its action there, and 1 in every step."""

    metadata: ClassVar[dict[str, Any]] = {"name": "leaving_v0"}

    def __init__(self, agents: int = 3) -> None:
        self.possible_agents = [f"agent_{i}" for i in range(agents)]
        self.spaces = {a: (spaces.Discrete(agents + 1), spaces.Discrete(2)) for a in self.possible_agents}

    def observation_space(self, agent: str) -> Any:
        return self.spaces[agent][0]

    def action_space(self, agent: str) -> Any:
        return self.spaces[agent][1]

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents, self.time = list(self.possible_agents), 0
        return dict.fromkeys(self.agents, 0), {a: {} for a in self.agents}

    def step(self, actions: dict[str, int]) -> Any:
        assert set(actions) == set(self.agents), "actions of those who are there, and of nobody else"
        self.time += 1
        was = self.agents
        leaves = was[0]
        self.agents = was[1:]
        return (
            dict.fromkeys(was, self.time),
            {a: 1.0 + (actions[a] if a == leaves else 0) for a in was},
            {a: a == leaves for a in was},
            dict.fromkeys(was, False),
            {a: {} for a in was},
        )


class Drift(ParallelEnv):
    """Two agents on a ring of `size`, moved by the sum of their actions and, at times, by luck; ends at 0.

    `broken` names a way in which PettingZoo's contract is not kept.
    """

    metadata: ClassVar[dict[str, Any]] = {"name": "drift_v0"}

    def __init__(self, size: int = 5, luck: float = 0.0, limit: int | None = None, broken: str = "") -> None:
        self.size, self.luck, self.limit, self.broken = size, luck, limit, broken
        self.possible_agents = [] if broken == "nobody" else ["left_0", "right_0"]
        self.observed = {a: spaces.Discrete(size) for a in self.possible_agents}
        self.acts = {a: spaces.Discrete(2) for a in self.possible_agents}

    def observation_space(self, agent: str) -> Any:
        return self.observed[agent]

    def action_space(self, agent: str) -> Any:
        return self.acts[agent]

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        if seed is not None or not hasattr(self, "dice"):
            self.dice = np.random.default_rng(seed)
        self.agents, self.place, self.time = list(self.possible_agents), 1, 0
        if self.broken == "reset":
            return dict.fromkeys(self.agents, 1)
        if self.broken == "stranger":
            self.agents.append("ghost_0")
        seen = dict.fromkeys(self.agents, 1)
        if self.broken == "unseen":
            del seen["right_0"]
        return seen, {a: {} for a in self.agents}

    def step(self, actions: dict[str, int]) -> Any:
        lucky = self.luck > 0 and self.dice.random() < self.luck
        a, b = actions["left_0"], actions["right_0"]
        paid = float(self.place * (1 if a == b else -1))
        self.place = (self.place + a + b + lucky) % self.size
        self.time += 1
        over, cut = self.place == 0, self.limit is not None and self.time >= self.limit
        was = self.agents
        rewards: dict[str, Any] = {"left_0": paid, "right_0": -paid}
        if over or cut:
            self.agents = []
        seen: dict[str, Any] = {a: np.int64(self.place) for a in was}
        ended, stopped = dict.fromkeys(was, over), dict.fromkeys(was, cut and not over)
        match self.broken:
            case "rewards":
                del rewards["right_0"]
            case "nan":
                rewards["left_0"] = float("nan")
            case "words":
                rewards["left_0"] = "much"
            case "outside":
                seen["left_0"] = self.size
            case "flags":
                ended = {}
            case "stays":
                ended, self.agents = dict.fromkeys(was, True), was
            case "vanishes":
                self.agents = was[:1]
            case "four":
                return seen, rewards, ended, {}
            case "renamed":
                rewards["ghost_0"] = 1.0
        return seen, rewards, ended, stopped, {a: {} for a in was}


class Nim(AECEnv):
    """Take one to three from a heap, in turns; who takes the last one wins 1. More than there are is illegal."""

    metadata: ClassVar[dict[str, Any]] = {"name": "nim_v0", "is_parallelizable": False}

    def __init__(self, heap: int = 5, mask: bool = True) -> None:
        self.heap, self.masked = heap, mask
        self.possible_agents = ["player_0", "player_1"]
        self.seen, self.acts = spaces.Discrete(heap + 1), spaces.Discrete(3)

    def observation_space(self, agent: str) -> Any:
        return self.seen

    def action_space(self, agent: str) -> Any:
        return self.acts

    def reset(self, seed: int | None = None, options: Any = None) -> None:
        self.agents, self.left = list(self.possible_agents), self.heap
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations, self.truncations = dict.fromkeys(self.agents, False), dict.fromkeys(self.agents, False)
        self.infos = {a: {} for a in self.agents}
        self.agent_selection = "player_0"
        self._look()

    def _look(self) -> None:
        if self.masked:
            self.infos[self.agent_selection] = {"action_mask": (np.arange(3) < self.left).astype(np.int8)}

    def observe(self, agent: str) -> Any:
        return np.int64(self.left)

    def step(self, action: int | None) -> None:
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            return self._was_dead_step(action)
        assert action is not None
        assert not self.masked or action < self.left, "an illegal action came through"
        other = "player_1" if agent == "player_0" else "player_0"
        self.left = max(0, self.left - 1 - int(action))
        self._cumulative_rewards[agent] = 0.0
        self.rewards = dict.fromkeys(self.agents, 0.0)
        if self.left == 0:
            self.rewards = {agent: 1.0, other: -1.0}
            self.terminations = dict.fromkeys(self.agents, True)
        self._accumulate_rewards()
        self.agent_selection = other
        return self._look()

    def render(self) -> None:
        pass

    def close(self) -> None:
        pass
