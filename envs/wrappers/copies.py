"""Which kind of environment it is, as a copy in whole numbers."""

from typing import Any

import gymnasium
from pettingzoo import AECEnv, ParallelEnv  # type: ignore[import-untyped]

from gamesim.envs.wrappers.agents import Together, Turns
from gamesim.envs.wrappers.single import Alone, Copy, Illegal
from gamesim.errors import refuse


def copy_of(env: Any, illegal: Illegal = "refuse", absent: bool | None = None) -> Copy:
    """The right kind of copy for an environment."""
    if isinstance(env, gymnasium.vector.VectorEnv):
        raise refuse("env", type(env).__name__, "one environment; `copies` says how many of it are stepped together")
    if isinstance(env, gymnasium.Env):
        return Alone(env, illegal)
    if isinstance(env, AECEnv) or callable(getattr(env, "agent_iter", None)):
        return Turns(env, illegal)
    if isinstance(env, ParallelEnv) or (callable(getattr(env, "action_space", None)) and hasattr(env, "agents")):
        return Together(env, illegal, bool(absent))
    wanted = "a gymnasium.Env, or a ParallelEnv or AECEnv of PettingZoo, or a function that makes one"
    if callable(getattr(env, "step", None)) and hasattr(env, "action_space"):
        wanted += "; shimmy.GymV21CompatibilityV0 makes one of an environment of the old gym"
    raise refuse("env", type(env).__name__, wanted)


def makes(env: Any) -> bool:
    """Whether it is a function or class that makes an environment."""
    return callable(env) and (isinstance(env, type) or not hasattr(env, "step"))
