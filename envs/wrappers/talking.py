"""Latent worlds in words: environments of gymnasium and PettingZoo whose observations and actions are text.

    Talking         a world of one actor, for gymnasium: a task and reports are read, a subgoal is written
    SpokenActors    each actor by itself, for PettingZoo

What is written is data: it is matched against the names of subgoals as a language model's reply is, whole words only.
What names none, or several, is replaced by a draw of the world's exploration law, and `infos` say so (`invalid`).
"""

import itertools
import string
from collections.abc import Sequence
from typing import Any

import gymnasium
import torch

from gamesim.envs.wrappers.latent import Actors, Run
from gamesim.errors import refuse
from gamesim.games.latent import LatentWorld
from gamesim.planning.language import text
from gamesim.planning.language.parsing import Names
from gamesim.simplex import drawn


def words_of(*parts: str | Sequence[str], most: int) -> gymnasium.spaces.Text:
    """The space of texts made of these and of what can be typed."""
    characters = {*string.printable, *itertools.chain.from_iterable(itertools.chain.from_iterable(parts))}
    return gymnasium.spaces.Text(max_length=most, min_length=0, charset="".join(sorted(characters)))


class Voice:
    """What is said to an actor in a run of a latent world."""

    def __init__(self, run: Run, style: text.Style | None) -> None:
        self.run, self.style, self.names = run, style, Names(tuple(run.world.subgoals))
        if style is not None and style not in text.STYLES:
            raise refuse("style", style, f"one of {', '.join(text.STYLES)}, or none: only what is new")
        self.system = text.system(run.world)
        world = run.world
        parts = [world.about, *world.tasks, *world.subgoals, *world.observations]
        each = max(map(len, parts[1:])) + 60
        most = len(self.system) + each * (world.actors * world.horizon * 2 + 4) * (2 + run.episodes)
        self.observation_space = words_of(parts, most=most)
        self.action_space = words_of(parts, most=2 * each)

    def first(self, actor: int) -> str:
        """When a run has begun."""
        return f"{self.system}\n\n{self._now(actor)}"

    def after(self, actor: int, paid: float, report: int, instead: int | None) -> str:
        """After a decision that was answered by a report."""
        world, run = self.run.world, self.run
        said = [] if instead is None else [f"That names no subgoal; instead: {world.subgoals[instead]}"]
        said.append(f"Report: {world.observations[report]} (pays {paid:.6g})")
        if run.over:
            return "\n".join([*said, "This was the last decision."])
        if self.style is not None:
            return "\n".join([self.system, "", *said, self._now(actor)])
        return "\n".join([*said, self._now(actor)])

    def _now(self, actor: int) -> str:
        """What is new, and the question; or all that was heard."""
        world, run = self.run.world, self.run
        if self.style is not None:
            return text.prompt(world, run.history, (), actor, self.style)
        whom = "" if world.actors == 1 else f" for actor {actor + 1} of {world.actors}"
        question = f"Decision {run.h + 1} of {world.horizon}: which subgoal is next{whom}?"
        if run.h:
            return question
        opening = f"Task: {world.tasks[int(run.task)]}\nFirst: {world.observations[int(run.report)]}"
        return f"Episode {run.played + 1} of {run.episodes}\n{opening}\n{question}"

    def understood(self, replies: Sequence[object]) -> tuple[list[int], list[bool]]:
        """Subgoals of all actors, and which of them were not understood."""
        run = self.run
        found = [self.names.find(reply) for reply in replies]
        law = run.world.explore(run.h, run.report).expand(run.world.actors, -1)
        other = drawn(law, torch.from_numpy(run.luck.random(len(found))).to(law)).tolist()
        return [o if f is None else f for f, o in zip(found, other, strict=True)], [f is None for f in found]


class Talking(gymnasium.Env[str, str]):
    """A latent world of one actor in words. With a style every observation tells all that was heard, else what is new.

    >>> from gamesim.envs.latent.needle import Needle
    >>> env = Talking(Needle(boxes=3, truth="box 2", prize=1.0), episodes=2)
    >>> print(env.reset(seed=0)[0].splitlines()[-1])
    Decision 1 of 1: which subgoal is next?
    >>> print(env.step("I open box 2.")[0].splitlines()[0])
    Report: box 2 holds the prize (pays 1)
    """

    def __init__(self, world: LatentWorld, episodes: int = 1, style: text.Style | None = None) -> None:
        self.metadata = {"render_modes": []}
        self.render_mode = None
        self.run = Run(world, episodes)
        if world.actors > 1:
            raise refuse("world", f"{world.actors} actors", "one; as_text has an agent for each actor")
        self.voice = Voice(self.run, style)
        self.observation_space, self.action_space = self.voice.observation_space, self.voice.action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[str, dict[str, Any]]:
        """Another run; with a seed all that follows is determined, without one luck goes on."""
        super().reset(seed=seed)
        self.run.begin(self.np_random)
        return self.voice.first(0), {"invalid": False} | self.run.info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        run = self.run
        if run.over:
            raise refuse("step", "an episode that is over", "reset() first")
        chosen, invalid = self.voice.understood([action])
        paid = run.say(chosen)
        said = self.voice.after(0, paid, run.last, chosen[0] if invalid[0] else None)
        return said, paid, run.over, False, {"invalid": invalid[0]} | run.info


class SpokenActors(Actors):
    """Each actor of a latent world by itself, in words."""

    def __init__(
        self, world: LatentWorld, episodes: int, style: text.Style | None, agents: Sequence[str] | None
    ) -> None:
        super().__init__(world, episodes, agents)
        self.metadata["name"] = "gamesim_spoken_actors_v0"
        self.voice = Voice(self.run, style)
        self.observation_spaces = dict.fromkeys(self.possible_agents, self.voice.observation_space)
        self.action_spaces = dict.fromkeys(self.possible_agents, self.voice.action_space)

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        _, infos = super().reset(seed, options)
        said = {agent: self.voice.first(k) for k, agent in enumerate(self.agents)}
        return said, {agent: {"invalid": False} | info for agent, info in infos.items()}

    def step(self, actions: dict[str, str]) -> tuple[dict[str, Any], ...]:
        run, agents = self.run, self.agents
        if run.over:
            raise refuse("step", "an episode that is over", "reset() first")
        chosen, invalid = self.voice.understood([actions.get(agent) for agent in agents])
        paid, over = run.say(chosen), run.over
        self.agents = [] if over else agents
        instead = [subgoal if lost else None for subgoal, lost in zip(chosen, invalid, strict=True)]
        return (
            {agent: self.voice.after(k, paid, run.last, instead[k]) for k, agent in enumerate(agents)},
            dict.fromkeys(agents, paid),
            dict.fromkeys(agents, over),
            dict.fromkeys(agents, False),
            {agent: {"invalid": invalid[k]} | run.info for k, agent in enumerate(agents)},
        )
