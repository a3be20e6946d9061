"""Normal-form games as parallel environments of PettingZoo, played once or again and again."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]

from gamesim.envs.wrappers.walks import Observe, agents_of, chosen_by
from gamesim.games import NormalFormGame


class Rounds(ParallelEnv[str, Any, int]):  # type: ignore[misc]
    """Agents are the game's players; each observes what everybody did in the last round: action + 1, 0 before any.

    With observe="one-hot" these are written in zeros and ones, one block for each player.
    """

    def __init__(
        self, game: NormalFormGame, rounds: int, observe: Observe = "plain", agents: Sequence[str] | None = None
    ) -> None:
        self.metadata = {"name": "gamesim_rounds_v0", "render_modes": [], "is_parallelizable": True}
        self.render_mode = None
        self.game, self.rounds, self.played, self.observe = game, rounds, 0, observe
        counts, names = game.action_counts, agents_of(game, agents)
        self.possible_agents, self.agents = list(names), list[str]()
        self.last = np.zeros(len(counts), dtype=np.int64)
        self.seen = np.array([k + 1 for k in counts])
        self.action_spaces = {agent: gymnasium.spaces.Discrete(k) for agent, k in zip(names, counts, strict=True)}
        self.observation_spaces: dict[str, gymnasium.spaces.Space[Any]] = {agent: self._space() for agent in names}

    def _space(self) -> gymnasium.spaces.Space[Any]:
        if self.observe == "one-hot":
            return gymnasium.spaces.Box(0, 1, (int(self.seen.sum()),), np.float32)
        return gymnasium.spaces.MultiDiscrete(self.seen)

    def action_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        return self.action_spaces[agent]

    def observation_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        return self.observation_spaces[agent]

    def observed(self) -> Any:
        """What everybody sees now."""
        if self.observe == "plain":
            return self.last.copy()
        found = np.zeros(self.seen.sum(), dtype=np.float32)
        found[self.last + self.seen.cumsum() - self.seen] = 1
        return found

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Nothing is random: the seed is taken and not needed."""
        self.agents, self.played = list(self.possible_agents), 0
        self.last = np.zeros(len(self.agents), dtype=np.int64)
        return {agent: self.observed() for agent in self.agents}, {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, int]) -> tuple[dict[str, Any], ...]:
        found = chosen_by(self, actions)
        agents = self.agents
        chosen = torch.tensor(found, device=self.game.like["device"])
        paid = self.game.play(chosen).tolist()
        self.last, self.played = chosen.cpu().numpy() + 1, self.played + 1
        over = self.played >= self.rounds
        self.agents = [] if over else agents
        return (
            {agent: self.observed() for agent in agents},
            dict(zip(agents, paid, strict=True)),
            dict.fromkeys(agents, over),
            dict.fromkeys(agents, False),
            {agent: {} for agent in agents},
        )

    def render(self) -> None:
        """Nothing to see."""

    def close(self) -> None:
        """Nothing to close."""
