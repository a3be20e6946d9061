"""Copies of environments where they stand."""

import copy
from typing import Any

import gymnasium

from gamesim.errors import refuse


def inside(env: Any) -> list[Any]:
    """An environment and those that it wraps, from the outside in."""
    found = list[Any]()
    while env is not None and all(env is not part for part in found):
        found.append(env)
        held = getattr(env, "__dict__", {})
        env = next((held[name] for name in ("env", "aec_env", "par_env") if name in held), None)
    return found


def another(env: Any) -> Any:
    """A copy of an environment where it stands.

    What derives from EzPickle would be copied by making it anew; its attributes are what is wanted here.
    """
    memo = dict[int, Any]()
    try:
        for part in reversed(inside(env)):
            if isinstance(part, gymnasium.utils.EzPickle):
                memo[id(part)] = other = object.__new__(type(part))
                other.__dict__.update(copy.deepcopy(vars(part), memo))
            else:
                copy.deepcopy(part, memo)
        return copy.deepcopy(env, memo)
    except Exception as error:  # whatever an environment that holds a window or a socket raises
        wanted = "a function that makes one, since this object cannot be copied"
        raise refuse("env", f"{type(env).__name__} ({type(error).__name__}: {error})", wanted) from None
