"""One-round environments of PettingZoo as normal-form games, by playing every joint action.

    tabulate_pettingzoo(env)      what one round of a parallel environment pays, as a MatrixGame
    pettingzoo_classic("rps_v2")  the same for a classic of PettingZoo, by name

Terry et al., "PettingZoo: gym for multi-agent reinforcement learning", NeurIPS 2021.
"""

import importlib
from itertools import product
from math import prod
from typing import Any

import gymnasium
import torch

from gamesim.errors import missing_extra, refuse
from gamesim.games import MatrixGame

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
        raise missing_extra(f"pettingzoo.classic.{name}", str(error.name), "pettingzoo[classic]") from None
    if not hasattr(module, "parallel_env"):
        raise refuse("name", name, "a classic that all players play at the same time, as rps_v2")
    return tabulate_pettingzoo(module.parallel_env(**parameters))
