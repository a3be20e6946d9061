"""Many copies of an environment stepped together: one after another here, or in processes of their own.

Processes are those of gymnasium's AsyncVectorEnv. Each holds several copies behind one small environment whose actions
say what to do with each of them: begin an episode with this seed, or step. So nothing resets on its own, an episode
ends when its environment says so, and one message a step serves all copies of a process.
"""

import contextlib
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from gamesim.envs.wrappers.single import Copy

STEP, REST = -1, -2
"""What stands in place of a seed where a copy is to step, or to do nothing."""


class Pool(ABC):
    """Copies of one environment."""

    size: int

    @abstractmethod
    def reset(self, seeds: Sequence[int]) -> Any:
        """Begin an episode in the first copies: what everyone sees, whole numbers [count, player]."""

    @abstractmethod
    def step(self, actions: Any) -> tuple[Any, Any, Any, Any]:
        """Observations and rewards [count, player], terminated and truncated [count]; ended copies rest."""

    @property
    @abstractmethod
    def redirected(self) -> int:
        """How many illegal actions were redirected so far."""

    @abstractmethod
    def close(self) -> None:
        """End what was started."""


class Row(Pool):
    """Copies stepped one after another."""

    def __init__(self, copies: Sequence[Copy]) -> None:
        self.copies, self.size = list(copies), len(copies)
        self.running = list[bool]()

    def reset(self, seeds: Sequence[int]) -> Any:
        self.running = [True] * len(seeds)
        return np.array([one.reset(seed) for one, seed in zip(self.copies, seeds, strict=False)], dtype=np.int64)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any]:
        rest = [0] * actions.shape[1], [0.0] * actions.shape[1], True, True
        answers = [
            self.copies[k].step(chosen) if self.running[k] else rest for k, chosen in enumerate(actions.tolist())
        ]
        seen, paid, terminated, truncated = zip(*answers, strict=True)
        self.running = [not (over or cut) for over, cut in zip(terminated, truncated, strict=True)]
        return np.array(seen, dtype=np.int64), np.array(paid, dtype=float), np.array(terminated), np.array(truncated)

    @property
    def redirected(self) -> int:
        return sum(one.redirected for one in self.copies)

    def close(self) -> None:
        for one in self.copies:
            one.close()


class Remote(gymnasium.Env[Any, Any]):
    """Several copies in one process, as AsyncVectorEnv wants them: rows of numbers in, rows of numbers out."""

    def __init__(self, copies: Sequence[Copy]) -> None:
        self.copies = list(copies)
        players = len(self.copies[0].actions)
        rows = [(len(copies), 2 * players + 3), (len(copies), 1 + players)]
        self.observation_space, self.action_space = (
            gymnasium.spaces.Box(-np.inf, np.inf, shape, dtype=np.float64) for shape in rows
        )

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(self.observation_space.shape or ()), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        said = np.zeros(self.observation_space.shape or ())
        players = action.shape[1] - 1
        for k, (what, *chosen) in enumerate(action.astype(np.int64).tolist()):
            if what >= 0:
                said[k, :players] = self.copies[k].reset(what)
            elif what == STEP:
                seen, paid, terminated, truncated = self.copies[k].step(chosen)
                said[k] = [*seen, *paid, terminated, truncated, 0]
            said[k, -1] = self.copies[k].redirected
        return said, 0.0, False, False, {}

    def close(self) -> None:
        for one in self.copies:
            one.close()


class Processes(Pool):
    """Copies in processes of their own, so many in each."""

    def __init__(self, make: Callable[[], Copy], copies: int, processes: int) -> None:
        each = -(-copies // processes)
        self.size, self.each, self.processes = copies, each, -(-copies // each)
        self.players = 0
        rooms = [lambda: Remote([make() for _ in range(each)])] * self.processes
        with quiet():
            self.env = AsyncVectorEnv(rooms, autoreset_mode=AutoresetMode.DISABLED, copy=False)
        self.env.reset()
        self.count = np.zeros(self.processes * each, dtype=np.int64)
        self.running = np.zeros(0, dtype=bool)

    def _ask(self, what: Any) -> Any:
        rows = np.full((self.processes * self.each, what.shape[1]), float(REST))
        rows[: len(what)] = what
        try:
            with quiet():
                said = self.env.step(rows.reshape(self.processes, self.each, -1))[0]
        except BaseException:  # Ctrl-C, too: no process of the pool outlives it
            self.close()
            raise
        said = np.asarray(said).reshape(self.processes * self.each, -1)
        self.count = said[:, -1].astype(np.int64)
        return said[: len(what)].copy()

    def reset(self, seeds: Sequence[int]) -> Any:
        self.players = (self.env.single_action_space.shape or (0, 0))[1] - 1
        self.running = np.ones(len(seeds), dtype=bool)
        said = self._ask(np.column_stack([np.asarray(seeds, dtype=float), np.zeros((len(seeds), self.players))]))
        return said[:, : self.players].astype(np.int64)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any]:
        n = self.players
        said = self._ask(np.column_stack([np.where(self.running, STEP, REST), actions]).astype(float))
        terminated, truncated = said[:, 2 * n] > 0, said[:, 2 * n + 1] > 0
        self.running = self.running & ~(terminated | truncated)
        return said[:, :n].astype(np.int64), said[:, n : 2 * n], terminated, truncated

    @property
    def redirected(self) -> int:
        return int(self.count.sum())

    def close(self) -> None:
        with quiet():
            self.env.close(terminate=True)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what gymnasium logs of an error that is raised anyway, and of processes that are forked or ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def cores() -> int:
    """Processors that this process may use."""
    with contextlib.suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
