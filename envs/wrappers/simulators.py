"""Environments of gymnasium and PettingZoo as simulators: solvers that learn from episodes play in them.

    as_simulator(make_env)      from a function that makes an environment, or from an environment that can be copied
    simulator/gymnasium         a registered environment by its id
    simulator/pettingzoo        a module that has parallel_env or env, or a function `module:name`

Spaces are finite (gamesim.envs.wrappers.spaces numbers their elements); what agents in turns observe and what becomes
of illegal actions is told in gamesim.envs.wrappers.single.
"""

import importlib
import json
import tomllib
import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, final

import gymnasium
import torch
from torch import Tensor

from gamesim.envs.wrappers.copies import copy_of, makes
from gamesim.envs.wrappers.copying import another
from gamesim.envs.wrappers.pools import Pool, Processes, Row, cores
from gamesim.envs.wrappers.single import Copy, Illegal
from gamesim.errors import MissingExtra, missing_extra, refuse
from gamesim.games.matrix import LARGEST
from gamesim.games.simulator import Moment, Simulator
from gamesim.parameters import Count, check

Workers = Literal["serial", "async"]


@dataclass(frozen=True, kw_only=True)
class Environments(Simulator):
    """Copies of an environment that `make` makes."""

    copies: Count = 64
    """How many copies are stepped together; nothing but speed depends on it."""
    workers: Workers = "serial"
    """Step the copies one after another, or (async) in a process for each core; that pays where a step takes 0.1 ms."""
    illegal: Illegal = "refuse"
    """What becomes of an action that action_mask forbids: refuse, redirect (to the next legal one) or allow."""
    absent: bool | None = None
    """Whether agents may be away while others play; none: in turns they are, at the same time they are not."""
    longest: Count | None = None
    """Steps after which an episode is cut off; none refuses an environment without an end."""
    evaluation_episodes: Count = 50
    """Episodes behind a measure, with the same luck for every policy."""

    def __post_init__(self) -> None:
        check(self)

    @abstractmethod
    def make(self) -> Any:
        """A new environment."""

    def validate(self) -> None:
        """Make the first copy, so that what is wrong with the environment is said before any work."""
        _ = self.first

    @cached_property
    def first(self) -> Copy:
        """The copy that is asked for spaces and names; in a row of copies it plays, too."""
        found = self._copy()
        for i, (seen, actions) in enumerate(zip(found.observation_counts, found.action_counts, strict=True)):
            if seen * actions > LARGEST:
                wanted = f"a policy of at most {LARGEST:,} numbers: a wrapper that tells fewer observations apart"
                who = f"observation_space of {found.players[i]!r}"
                raise refuse(who, f"{seen:.3g} observations x {actions:,} actions", wanted)
        return found

    def _copy(self) -> Copy:
        return copy_of(self.make(), self.illegal, self.absent)

    @cached_property
    def pool(self) -> Pool:
        """The copies."""
        if self.workers == "async":
            self.first.close()
            return Processes(self._copy, self.copies, min(self.copies, cores()))
        return Row([self.first, *(self._copy() for _ in range(self.copies - 1))])

    @property
    def width(self) -> int:  # type: ignore[override]
        return self.copies

    @property
    def action_counts(self) -> tuple[int, ...]:
        return self.first.action_counts

    @property
    def observation_counts(self) -> tuple[int, ...]:
        return self.first.observation_counts

    @property
    def players(self) -> tuple[str, ...]:
        return self.first.players

    @property
    def redirected(self) -> int:
        """How many illegal actions were redirected so far."""
        return self.pool.redirected

    def reset(self, seeds: Sequence[int]) -> Tensor:
        if len(seeds) > self.pool.size:
            raise refuse("seeds", f"{len(seeds)} of them", f"at most {self.pool.size}, one for each of the copies")
        return torch.from_numpy(self.pool.reset(seeds))

    def step(self, actions: Tensor) -> Moment:
        return Moment(*map(torch.from_numpy, self.pool.step(actions.numpy())))

    def close(self) -> None:
        """End the copies, and their processes if there are any."""
        if "pool" in vars(self):
            self.pool.close()
        elif "first" in vars(self):
            self.first.close()


def as_simulator(make_env: Any, **parameters: Any) -> "GivenSimulator":
    """A user's environment as a simulator: from a function that makes it, or from one that can be copied.

    Parameters are the fields of `Environments`: copies, workers, illegal, absent, longest, evaluation_episodes.

    >>> game = as_simulator(lambda: gymnasium.make("FrozenLake-v1", is_slippery=False), copies=4)
    >>> game.observation_counts, game.action_counts
    ((16,), (4,))
    """
    made = make_env if makes(make_env) else lambda: another(make_env)
    game = GivenSimulator(make_env=made, **parameters)
    game.validate()
    return game


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class GivenSimulator(Environments):
    """An environment from a function."""

    make_env: Callable[[], Any]
    """Makes a new environment."""

    def make(self) -> Any:
        return self.make_env()

    def plain(self) -> dict[str, Any]:
        """What JSON says of it."""
        return {"kind": "GivenSimulator", "env": str(self.first.env), "copies": self.copies, "longest": self.longest}


@final
@dataclass(frozen=True, kw_only=True)
class GymnasiumSimulator(Environments):
    """A registered environment of gymnasium with discrete spaces, as one player's game."""

    environment: str = "FrozenLake-v1"
    """Its id; `module:id` imports the module first."""
    options: str | None = None
    """What it is made with, as is_slippery=false, map_name="8x8"; or a JSON object."""

    def make(self) -> Any:
        options = parsed(self.options)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # an id that is out of date is refused below
                return gymnasium.make(self.environment, disable_env_checker=True, **options)
        except gymnasium.error.DependencyNotInstalled as error:
            raise MissingExtra(f"environment: {self.environment} needs more: {error}") from None
        except (gymnasium.error.Error, ModuleNotFoundError) as error:
            raise refuse("environment", self.environment, f"an id that gymnasium knows; it says: {error}") from None
        except TypeError as error:
            raise refuse("options", self.options, f"what {self.environment} takes; it says: {error}") from None


@final
@dataclass(frozen=True, kw_only=True)
class PettingZooSimulator(Environments):
    """A game of PettingZoo with discrete spaces: agents at the same time, or in turns."""

    environment: str
    """A module with parallel_env or env, as pettingzoo.classic.rps_v2; or a function, as mymodule:make_env."""
    options: str | None = None
    """What it is made with, as num_actions=5, max_cycles=10; or a JSON object."""

    def make(self) -> Any:
        options = parsed(self.options)
        try:
            return self._function()(**options)
        except TypeError as error:
            raise refuse("options", self.options, f"what {self.environment} takes; it says: {error}") from None

    def _function(self) -> Callable[..., Any]:
        name, _, function = self.environment.partition(":")
        if not all(part.isidentifier() for part in (*name.split("."), *([function] if function else []))):
            raise refuse("environment", self.environment, "a module, as pettingzoo.classic.rps_v2, or module:function")
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(f"{error.name}.")):
                raise refuse("environment", self.environment, f"a module; there is no {error.name!r} here") from None
            if name.startswith("pettingzoo.classic"):
                raise missing_extra(f"environment: {name}", str(error.name), "pettingzoo[classic]") from None
            raise MissingExtra(f"environment: {name} needs {error.name}: install it") from None
        for tried in [function] if function else ["parallel_env", "env"]:
            found = getattr(module, tried, None)
            if callable(found):
                made: Callable[..., Any] = found
                return made
        what = f"no {function!r} that can be called" if function else "neither parallel_env nor env"
        raise refuse("environment", f"{name} with {what}", "a function that makes an environment")


def parsed(text: str | None) -> dict[str, Any]:
    """Keyword parameters from text: a JSON object, or name=value of TOML with commas between.

    >>> parsed('is_slippery=false, map_name="8x8"') == parsed('{"is_slippery": false, "map_name": "8x8"}')
    True
    """
    text = text or ""
    try:
        if text.lstrip().startswith("{"):
            found = json.loads(text)
        else:
            found = tomllib.loads(f"options = {{{text}}}" if text.strip() else "options = {}")["options"]
    except (ValueError, RecursionError):
        raise refuse("options", text, 'name=value, ... as is_slippery=false, map_name="8x8"; or JSON') from None
    if not isinstance(found, dict) or not all(isinstance(name, str) and name.isidentifier() for name in found):
        raise refuse("options", text, 'names and values, as is_slippery=false, map_name="8x8"')
    return found
