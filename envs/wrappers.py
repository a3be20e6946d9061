"""Normal-form games to and from PettingZoo: the only file of the environments that imports pettingzoo and gymnasium.

    tabulate_pettingzoo(env)      what one round of a parallel environment pays, as a MatrixGame
    pettingzoo_classic("rps_v2")  the same for a classic of PettingZoo, by name
    as_pettingzoo(game, rounds)   a normal-form game as a parallel environment, played once or again and again

Terry et al., "PettingZoo: gym for multi-agent reinforcement learning", NeurIPS 2021.
"""

import importlib
from itertools import product
from math import prod
from typing import Any

import gymnasium
import numpy as np
import torch
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]

from gamesim.errors import MissingExtra, refuse
from gamesim.games import MatrixGame, NormalFormGame
from gamesim.parameters import Count, convert

PLAYED = 10**6
"""Rounds that `tabulate_pettingzoo` plays, at most."""


def tabulate_pettingzoo(env: Any, seed: int = 0) -> MatrixGame:
    """The rewards of the first round of a parallel environment, by playing every joint action after `reset(seed)`.

    The environment's action spaces are Discrete; its rewards must follow from the actions, which is tried out once.
    """
    if not callable(getattr(env, "action_space", None)) or not callable(getattr(env, "step", None)):
        raise refuse("env", type(env).__name__, "a parallel environment of PettingZoo")
    agents = list(env.possible_agents)
    spaces = [env.action_space(agent) for agent in agents]
    for agent, space in zip(agents, spaces, strict=True):
        if not isinstance(space, gymnasium.spaces.Discrete):
            raise refuse(f"action_space({agent!r})", space, "Discrete")
    counts = [int(space.n) for space in spaces]
    if prod(counts) > PLAYED:
        raise refuse("env", f"{prod(counts):,} joint actions", f"at most {PLAYED:,}: each is played")
    firsts = [int(space.start) for space in spaces]

    def paid(profile: tuple[int, ...], seed: int) -> list[float]:
        env.reset(seed=seed)
        chosen = {agent: first + a for agent, first, a in zip(agents, firsts, profile, strict=True)}
        rewards = env.step(chosen)[1]
        return [float(rewards.get(agent, 0.0)) for agent in agents]

    profiles = list(product(*map(range, counts)))
    table = [paid(profile, seed) for profile in profiles]
    for place in {0, len(profiles) // 2, len(profiles) - 1}:
        again = paid(profiles[place], seed + 1)
        if again != table[place]:
            wanted = "rewards that follow from the actions alone"
            raise refuse("env", f"{again} after {table[place]} for the actions {list(profiles[place])}", wanted)
    payoffs = torch.tensor(table, dtype=torch.float64).T.reshape(len(agents), *counts)
    return MatrixGame(payoffs, players=tuple(map(str, agents)), player_count=len(agents))


def pettingzoo_classic(name: str, **parameters: Any) -> MatrixGame:
    """A one-round classic of PettingZoo, "rps_v2" with num_actions=3, 5, ..., as a MatrixGame."""
    if not name.isidentifier():
        raise refuse("name", name, "a module of pettingzoo.classic, as rps_v2")
    try:
        module = importlib.import_module(f"pettingzoo.classic.{name}")
    except ModuleNotFoundError as error:
        if error.name == f"pettingzoo.classic.{name}":
            raise refuse("name", name, "a module of pettingzoo.classic, as rps_v2") from None
        raise MissingExtra(f"pettingzoo.classic.{name} needs {error.name}: pip install 'pettingzoo[classic]'") from None
    if not hasattr(module, "parallel_env"):
        raise refuse("name", name, "a classic that all players play at the same time, as rps_v2")
    return tabulate_pettingzoo(module.parallel_env(**parameters))


def as_pettingzoo(game: NormalFormGame, rounds: int = 1) -> "Rounds":
    """A normal-form game as a parallel environment of so many rounds.

    >>> env = as_pettingzoo(MatrixGame.zero_sum([[1, -1], [-1, 1]]), rounds=2)
    >>> observations, infos = env.reset(seed=0)
    >>> env.step({"1": 0, "2": 1})[1]
    {'1': -1.0, '2': 1.0}
    """
    if not isinstance(game, NormalFormGame) or game.batch:
        raise refuse("game", type(game).__name__, "one normal-form game, not a batch")
    return Rounds(game, convert(rounds, Count, "rounds"))


class Rounds(ParallelEnv[str, Any, int]):  # type: ignore[misc]
    """Agents are the game's players; each observes what everybody did in the last round: action + 1, 0 before any."""

    def __init__(self, game: NormalFormGame, rounds: int) -> None:
        self.metadata = {"name": "gamesim_rounds_v0", "render_modes": [], "is_parallelizable": True}
        self.render_mode = None
        self.game, self.rounds, self.played = game, rounds, 0
        names, counts = game.players, game.action_counts
        if len(set(names)) < len(names):
            names = tuple(f"player_{i}" for i in range(len(names)))
        self.possible_agents, self.agents = list(names), list[str]()
        self.last = np.zeros(len(counts), dtype=np.int64)
        self.action_spaces = {agent: gymnasium.spaces.Discrete(k) for agent, k in zip(names, counts, strict=True)}
        seen = [k + 1 for k in counts]
        self.observation_spaces = {agent: gymnasium.spaces.MultiDiscrete(seen) for agent in names}

    def action_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        return self.action_spaces[agent]

    def observation_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        return self.observation_spaces[agent]

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Nothing is random: the seed is taken and not needed."""
        self.agents, self.played = list(self.possible_agents), 0
        self.last = np.zeros(len(self.agents), dtype=np.int64)
        return {agent: self.last.copy() for agent in self.agents}, {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, int]) -> tuple[dict[str, Any], ...]:
        if not self.agents:
            raise refuse("step", "a game that is over", "reset() first")
        for agent in self.agents:
            if agent not in actions or not self.action_spaces[agent].contains(actions[agent]):
                wanted = f"a whole number from 0 to {self.action_spaces[agent].n - 1}"
                raise refuse(f"actions[{agent!r}]", actions.get(agent), wanted)
        agents = self.agents
        chosen = torch.tensor([int(actions[agent]) for agent in agents], device=self.game.like["device"])
        paid = self.game.play(chosen).tolist()
        self.last, self.played = chosen.cpu().numpy() + 1, self.played + 1
        over = self.played >= self.rounds
        self.agents = [] if over else agents
        return (
            {agent: self.last.copy() for agent in agents},
            dict(zip(agents, paid, strict=True)),
            dict.fromkeys(agents, over),
            dict.fromkeys(agents, False),
            {agent: {} for agent in agents},
        )

    def render(self) -> None:
        """Nothing to see."""
