"""Worlds of sets as parallel environments of PettingZoo: agents see what the variant shows them, until time is up."""

from collections.abc import Sequence
from typing import Annotated, Any

import gymnasium
import numpy as np
import torch
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]

from gamesim.envs.sets.discs import Discs
from gamesim.errors import refuse
from gamesim.parameters import Bounds, convert
from gamesim.randomness import Stream

Seed = Annotated[int, Bounds("a whole number from 0 to 2^63 - 1", 0, 2**63 - 1)]


class Crowd(ParallelEnv[str, Any, Any]):  # type: ignore[misc]
    """One world, step by step; `state()` is the whole set as tokens [e, d].

    Discrete actions are those of mpe2. A continuous one is a force [x, y] in [-1, 1], and a loudness in [0, 1] for each
    word, where mpe2 has five numbers in [0, 1] that stand for [a2 - a1, a4 - a3].

    >>> from gamesim.envs.sets.spread import Spread
    >>> env = Crowd(Spread(agents=3))
    >>> observations, infos = env.reset(seed=0)
    >>> observations["agent_0"].shape, env.step({agent: 0 for agent in env.agents})[3]["agent_0"]
    ((18,), False)
    """

    def __init__(self, world: Discs, agents: Sequence[str] | None = None) -> None:
        if not isinstance(world, Discs):
            raise refuse("world", type(world).__name__, "a particle world: gamesim.make('sets/spread') makes one")
        self.metadata = {"name": "gamesim_crowd_v0", "render_modes": [], "is_parallelizable": True}
        self.render_mode = None
        names = tuple(world.names if agents is None else agents)
        if len(names) != world.acting or len(set(names)) < len(names):
            raise refuse("agents", list(names), f"{world.acting} different names, one for each agent")
        self.world, self.played, self.now = world, 0, world.begin((), Stream(0))
        self.luck: Stream | None = None
        self.possible_agents, self.agents = list(names), list[str]()
        shapes, most = [len(x) for x in self._observed()], np.float32(world.largest)
        self.observation_spaces = {
            agent: gymnasium.spaces.Box(-most, most, (size,), np.float32)
            for agent, size in zip(names, shapes, strict=True)
        }
        self.action_spaces = {agent: self._acts(i) for i, agent in enumerate(names)}

    def _acts(self, i: int) -> gymnasium.spaces.Space[Any]:
        if self.world.actions == "discrete":
            return gymnasium.spaces.Discrete(self.world.choices(i))
        low = self.world.lowest.cpu().numpy()[self.world.own(i)].astype(np.float32)
        return gymnasium.spaces.Box(low, np.ones_like(low), dtype=np.float32)

    def action_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        return self.action_spaces[agent]

    def observation_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        return self.observation_spaces[agent]

    @property
    def state_space(self) -> gymnasium.spaces.Space[Any]:
        """Of `state()`."""
        most = np.float32(self.world.largest)
        return gymnasium.spaces.Box(-most, most, self.state().shape, np.float32)

    def state(self) -> Any:
        """The whole set, one token for each entity, [e, d]."""
        return self.world.tokens(self.now).cpu().numpy().astype(np.float32)

    def _observed(self) -> list[Any]:
        """What each agent sees."""
        seen = self.world.observations(self.now)
        teams = seen if isinstance(seen, tuple) else (seen,)
        return [x for team in teams for x in team.cpu().numpy().astype(np.float32)]

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """A first state; with a seed all that follows is determined, without one luck goes on."""
        if seed is not None:
            self.luck = Stream(convert(seed, Seed, "seed"))
        elif self.luck is None:
            self.luck = Stream(int(np.random.default_rng().integers(2**62)))
        self.now, self.played, self.agents = self.world.begin((), self.luck), 0, list(self.possible_agents)
        return dict(zip(self.agents, self._observed(), strict=True)), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        agents = self.agents
        if not agents:
            raise refuse("step", "a world whose time is up", "reset() first")
        self.now, rewards = self.world.step(self.now, self._chosen(actions))
        self.played += 1
        cut = self.played >= self.world.steps
        self.agents = [] if cut else agents
        return (
            dict(zip(agents, self._observed(), strict=True)),
            dict(zip(agents, rewards.tolist(), strict=True)),
            dict.fromkeys(agents, False),
            dict.fromkeys(agents, cut),
            {agent: {} for agent in agents},
        )

    def _chosen(self, actions: dict[str, Any]) -> torch.Tensor:
        """The actions of all agents as the world takes them, refused where one is missing or none of its space."""
        world, found = self.world, []
        for i, agent in enumerate(self.agents):
            space, given = self.action_spaces[agent], actions.get(agent)
            if isinstance(space, gymnasium.spaces.Discrete):
                if given is None or not space.contains(given):
                    raise refuse(f"actions[{agent!r}]", given, f"a whole number from 0 to {int(space.n) - 1}")
                found.append(world.whole(i, torch.tensor(int(given), device=world.device)))
            else:
                try:
                    force = np.asarray([] if given is None else given, dtype=np.float32)
                except (TypeError, ValueError):
                    force = np.empty(0, np.float32)
                if force.shape != space.shape:
                    raise refuse(
                        f"actions[{agent!r}]", given, f"{space.shape[0]} numbers" if space.shape else "numbers"
                    )
                found.append(world.whole(i, torch.tensor(force, **world.like)))
        return torch.stack(found)

    def render(self) -> None:
        """Nothing to see."""

    def close(self) -> None:
        """Nothing to close."""
