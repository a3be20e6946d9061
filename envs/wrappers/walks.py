"""Stochastic games as parallel environments of PettingZoo: everybody sees the state, and play ends where it stops.

A discount is a stopping probability, so the mean return of an agent is its value <rho, V_i>, with nothing to discount.
"""

from collections.abc import Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]

from gamesim.errors import refuse
from gamesim.games import TabularGame
from gamesim.games.transitions import SparseLaw

Observe = Literal["plain", "one-hot"]
"""States and actions as whole numbers, or as zeros and ones, which a network takes as they are."""


class Walk:
    """A stochastic game played one step at a time, with the numbers of a NumPy generator."""

    def __init__(self, game: TabularGame) -> None:
        if game.batch:
            raise refuse("game", f"a batch of games of shape {list(game.batch)}", "one game")
        self.counts, self.states = game.action_counts, game.state_count
        reward = game.reward.reshape(len(self.counts), self.states, game.joint_count)
        self.reward = reward.permute(1, 2, 0).contiguous().cpu().double().numpy()
        self.initial = game.initial.cpu().double().cumsum(-1).numpy()
        law = game.law
        sparse = isinstance(law, SparseLaw)
        likely = law.probabilities if isinstance(law, SparseLaw) else law.dense()
        shape = (self.states, game.joint_count, likely.shape[-1])
        self.below = likely.cpu().double().cumsum(-1).expand(shape).numpy()
        self.after = law.successors.expand(shape).cpu().numpy() if isinstance(law, SparseLaw) and sparse else None

    def begin(self, luck: np.random.Generator) -> int:
        """A first state."""
        return min(int(np.searchsorted(self.initial[:-1], luck.random(), side="right")), self.states - 1)

    def step(self, state: int, actions: Sequence[int], luck: np.random.Generator) -> tuple[list[float], int | None]:
        """Rewards, and the next state, or None where play stops."""
        joint = 0
        for action, count in zip(actions, self.counts, strict=True):
            joint = joint * count + action
        below = self.below[state, joint]
        k = int(np.searchsorted(below, luck.random(), side="right"))
        paid: list[float] = self.reward[state, joint].tolist()
        if k == len(below):
            return paid, None
        return paid, k if self.after is None else int(self.after[state, joint, k])


def state_space(states: int, observe: Observe) -> gymnasium.spaces.Space[Any]:
    """Of a state as it is observed."""
    if observe == "one-hot":
        return gymnasium.spaces.Box(0, 1, (states,), np.float32)
    return gymnasium.spaces.Discrete(states)


def shown(state: int, states: int, observe: Observe) -> Any:
    """A state as it is observed."""
    if observe == "plain":
        return np.int64(state)
    found = np.zeros(states, dtype=np.float32)
    found[state] = 1
    return found


class States(ParallelEnv[str, Any, int]):  # type: ignore[misc]
    """Agents are the game's players; all observe the state, and terminate where play stops, with its last state."""

    def __init__(
        self,
        game: TabularGame,
        observe: Observe = "plain",
        longest: int | None = None,
        agents: Sequence[str] | None = None,
    ) -> None:
        self.metadata = {"name": "gamesim_states_v0", "render_modes": [], "is_parallelizable": True}
        self.render_mode = None
        self.game, self.walk, self.observe, self.longest = game, Walk(game), observe, longest
        names = agents_of(game, agents)
        self.possible_agents, self.agents = list(names), list[str]()
        self.now, self.played = 0, 0
        self.luck: np.random.Generator | None = None
        counts = game.action_counts
        self.action_spaces = {agent: gymnasium.spaces.Discrete(k) for agent, k in zip(names, counts, strict=True)}
        self.observation_spaces = {agent: state_space(game.state_count, observe) for agent in names}

    def action_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        return self.action_spaces[agent]

    def observation_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        return self.observation_spaces[agent]

    @property
    def state_space(self) -> gymnasium.spaces.Space[Any]:
        """Of `state()`."""
        return self.observation_spaces[self.possible_agents[0]]

    def state(self) -> Any:
        """The state, as everybody sees it."""
        return shown(self.now, self.walk.states, self.observe)

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """A first state; with a seed all that follows is determined, without one luck goes on."""
        if seed is not None or self.luck is None:
            self.luck = np.random.default_rng(seed)
        self.agents, self.played = list(self.possible_agents), 0
        self.now = self.walk.begin(self.luck)
        return {agent: self.state() for agent in self.agents}, {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, int]) -> tuple[dict[str, Any], ...]:
        chosen = chosen_by(self, actions)
        agents = self.agents
        assert self.luck is not None
        paid, after = self.walk.step(self.now, chosen, self.luck)
        over = after is None
        self.now, self.played = self.now if after is None else after, self.played + 1
        cut = not over and self.longest is not None and self.played >= self.longest
        self.agents = [] if over or cut else agents
        return (
            {agent: self.state() for agent in agents},
            dict(zip(agents, paid, strict=True)),
            dict.fromkeys(agents, over),
            dict.fromkeys(agents, cut),
            {agent: {} for agent in agents},
        )

    def render(self) -> None:
        """Nothing to see."""

    def close(self) -> None:
        """Nothing to close."""


def agents_of(game: Any, agents: Sequence[str] | None) -> tuple[str, ...]:
    """A name for each agent, all different: the given ones, or the players'."""
    players: tuple[str, ...] = tuple(game.players)
    if agents is None:
        return players if len(set(players)) == len(players) else tuple(f"player_{i}" for i in range(len(players)))
    if len(agents) != len(players) or len(set(agents)) < len(players):
        raise refuse("agents", list(agents), f"{len(players)} different names, one for each player")
    return tuple(agents)


def chosen_by(env: Any, actions: dict[str, int]) -> list[int]:
    """The actions of all agents, refused where one is missing or none of the game's."""
    if not env.agents:
        raise refuse("step", "a game that is over", "reset() first")
    for agent in env.agents:
        if agent not in actions or not env.action_spaces[agent].contains(actions[agent]):
            wanted = f"a whole number from 0 to {env.action_spaces[agent].n - 1}"
            raise refuse(f"actions[{agent!r}]", actions.get(agent), wanted)
    return [int(actions[agent]) for agent in env.agents]
