"""A black box as a parallel environment of PettingZoo."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]

from gamesim.games.simulator import Simulator


class Simulated(ParallelEnv[str, int, int]):  # type: ignore[misc]
    """One copy of a black box."""

    def __init__(self, game: Simulator, longest: int | None, agents: Sequence[str] | None) -> None:
        self.metadata = {"name": "gamesim_simulated_v0", "render_modes": [], "is_parallelizable": True}
        self.render_mode = None
        self.game, self.longest = game, longest or game.longest
        players = tuple(getattr(game, "players", ())) or tuple(str(i + 1) for i in range(len(game.action_counts)))
        self.possible_agents, self.agents = list(agents or players), list[str]()
        self.luck: np.random.Generator | None = None

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        if seed is not None or self.luck is None:
            self.luck = np.random.default_rng(seed)
        self.agents, self.played = list(self.possible_agents), 0
        seen = self.game.reset([int(self.luck.integers(2**31))])[0].tolist()
        return dict(zip(self.agents, seen, strict=True)), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, int]) -> tuple[dict[str, Any], ...]:
        agents = self.agents
        moment = self.game.step(torch.tensor([[actions[agent] for agent in agents]]))
        self.played += 1
        over = bool(moment.terminated[0])
        cut = not over and (bool(moment.truncated[0]) or self.played == self.longest)
        self.agents = [] if over or cut else agents
        return (
            dict(zip(agents, moment.observations[0].tolist(), strict=True)),
            dict(zip(agents, map(float, moment.rewards[0]), strict=True)),
            dict.fromkeys(agents, over),
            dict.fromkeys(agents, cut),
            {agent: {} for agent in agents},
        )

    def close(self) -> None:
        """The copies are the simulator's."""
