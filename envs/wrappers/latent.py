"""Latent worlds as everybody's environments: gymnasium's for who speaks to all actors, PettingZoo's for each of them.

One episode of these environments is `episodes` episodes of the world with one latent, drawn anew by every reset. They
observe [task, decision, report, ended]: the task, how many decisions were taken, the last report, and the report that
ended the episode before (as many as there are reports, where there was none). With one episode of one task the report
is observed alone.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]

from gamesim.envs.wrappers.walks import chosen_by
from gamesim.errors import refuse
from gamesim.games.latent import Belief, LatentWorld
from gamesim.parameters import Count, convert
from gamesim.planning.history import History
from gamesim.simplex import drawn


class Run:
    """One run in a world, with the numbers of a NumPy generator."""

    def __init__(self, world: LatentWorld, episodes: int) -> None:
        if not isinstance(world, LatentWorld):
            raise refuse("world", type(world).__name__, "a latent world: gamesim.make('latent/needle') makes one")
        self.world, self.episodes = world, convert(episodes, Count, "episodes")
        self.plain = self.episodes == 1 and len(world.tasks) == 1
        self.over = True

    @property
    def space(self) -> gymnasium.spaces.Space[Any]:
        """Of what is observed."""
        reports = len(self.world.observations)
        if self.plain:
            return gymnasium.spaces.Discrete(reports)
        return gymnasium.spaces.MultiDiscrete([len(self.world.tasks), self.world.horizon + 1, reports, reports + 1])

    def begin(self, luck: np.random.Generator) -> None:
        """Another latent, and its first episode."""
        world = self.world
        self.luck, self.over = luck, False
        self.latent = drawn(world.truth_law, self._uniform(1)[0])
        self.belief: Belief = world.believe(())
        self.history = History.empty(world, (), self.episodes)
        self.ended, self.played, self.regret = len(world.observations), 0, 0.0
        self._open()

    def _uniform(self, count: int) -> torch.Tensor:
        return torch.from_numpy(self.luck.random(count)).to(**self.world.like)

    def _open(self) -> None:
        world = self.world
        self.task = drawn(world.task_law, self._uniform(1)[0])
        self.hidden, self.report = world.open(self.latent, self._uniform(2))
        self.belief = world.meet(self.belief, self.report)
        self.history = self.history.met(self.task, self.report)
        self.h = 0

    def say(self, subgoals: Sequence[int]) -> float:
        """One decision: what its report pays. After the last one of an episode the next has begun."""
        if self.over:
            raise refuse("step", "an episode that is over", "reset() first")
        world, h = self.world, self.h
        chosen = torch.tensor(list(subgoals), device=world.like["device"])
        self.regret += float(world.losses(h, self.task, self.latent, self.belief, chosen))
        self.hidden, self.report = world.move(h, self.latent, self.hidden, chosen, self._uniform(2))
        self.belief = world.update(h, self.belief, chosen, self.report)
        self.history = self.history.heard(h, chosen, self.report)
        paid, self.last = float(world.rewards(h, self.task, self.report)), int(self.report)
        self.h += 1
        if self.h == world.horizon:
            self.played += 1
            self.over = self.played == self.episodes
            if not self.over:
                self.ended = int(self.report)
                self._open()
        return paid

    @property
    def observed(self) -> Any:
        if self.plain:
            return np.int64(self.report)
        return np.array([int(self.task), self.h, int(self.report), self.ended], dtype=np.int64)

    @property
    def info(self) -> dict[str, Any]:
        """In words; at the end what was hidden, and the regret, which nobody can know before."""
        world = self.world
        found: dict[str, Any] = {"task": world.tasks[int(self.task)], "report": world.observations[int(self.report)]}
        if self.over:
            found |= {"latent": world.latents[int(self.latent)], "regret": self.regret}
        return found


class Planning(gymnasium.Env[Any, Any]):
    """Who plans: says a subgoal (of several actors, one for each), and observes reports.

    >>> from gamesim.envs.latent.needle import Needle
    >>> env = Planning(Needle(boxes=3, truth="box 2", prize=1.0))
    >>> env.reset(seed=0)[1]["report"], env.step(1)[1:3], env.run.info["latent"]
    ('nothing yet', (1.0, True), 'box 2')
    """

    def __init__(self, world: LatentWorld, episodes: int = 1) -> None:
        self.metadata = {"render_modes": []}
        self.render_mode = None
        self.run = Run(world, episodes)
        count, actors = len(world.subgoals), world.actors
        self.observation_space = self.run.space
        one, several = gymnasium.spaces.Discrete(count), gymnasium.spaces.MultiDiscrete([count] * actors)
        self.action_space: gymnasium.spaces.Space[Any] = one if actors == 1 else several

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Another run; with a seed all that follows is determined, without one luck goes on."""
        super().reset(seed=seed)
        self.run.begin(self.np_random)
        return self.run.observed, self.run.info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not self.action_space.contains(action):
            raise refuse("action", action, f"an element of {self.action_space}")
        paid = self.run.say([int(a) for a in np.ravel(action)])
        return self.run.observed, paid, self.run.over, False, self.run.info


class Actors(ParallelEnv[str, Any, Any]):  # type: ignore[misc]
    """Each actor of a world by itself: all observe the same reports and are paid the same."""

    def __init__(self, world: LatentWorld, episodes: int = 1, agents: Sequence[str] | None = None) -> None:
        self.metadata = {"name": "gamesim_actors_v0", "render_modes": [], "is_parallelizable": True}
        self.render_mode = None
        self.run = Run(world, episodes)
        names = tuple(f"actor_{k + 1}" for k in range(world.actors)) if agents is None else tuple(agents)
        if len(names) != world.actors or len(set(names)) < len(names):
            raise refuse("agents", list(names), f"{world.actors} different names, one for each actor")
        self.possible_agents, self.agents = list(names), list[str]()
        self.luck: np.random.Generator | None = None
        self.action_spaces: dict[str, gymnasium.spaces.Space[Any]] = {
            agent: gymnasium.spaces.Discrete(len(world.subgoals)) for agent in names
        }
        self.observation_spaces = {agent: self.run.space for agent in names}

    def action_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        return self.action_spaces[agent]

    def observation_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        return self.observation_spaces[agent]

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Another run; with a seed all that follows is determined, without one luck goes on."""
        if seed is not None or self.luck is None:
            self.luck = np.random.default_rng(seed)
        self.agents = list(self.possible_agents)
        self.run.begin(self.luck)
        return {a: self.run.observed for a in self.agents}, {a: self.run.info for a in self.agents}

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        paid = self.run.say(chosen_by(self, actions))
        agents, over = self.agents, self.run.over
        self.agents = [] if over else agents
        return (
            {agent: self.run.observed for agent in agents},
            dict.fromkeys(agents, paid),
            dict.fromkeys(agents, over),
            dict.fromkeys(agents, False),
            {agent: self.run.info for agent in agents},
        )

    def render(self) -> None:
        """Nothing to see."""

    def close(self) -> None:
        """Nothing to close."""
