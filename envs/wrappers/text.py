"""Games in words: any game of ours as a parallel environment of PettingZoo whose observations and actions are text.

What all did is read, an action is written. What is written is data: it is matched against the names of actions as a
language model's reply is, whole words only. What names none, or several, is replaced by a uniform action, and `infos`
say so (`invalid`). Latent worlds are told in gamesim.envs.wrappers.talking.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]
from pettingzoo.utils import parallel_to_aec  # type: ignore[import-untyped]

from gamesim.envs.sets.discs import Discs
from gamesim.envs.wrappers.outward import as_pettingzoo
from gamesim.envs.wrappers.rounds import Rounds
from gamesim.envs.wrappers.simulated import Simulated
from gamesim.envs.wrappers.talking import SpokenActors, words_of
from gamesim.envs.wrappers.walks import States
from gamesim.errors import refuse
from gamesim.games import NormalFormGame, TabularGame
from gamesim.games.latent import LatentWorld
from gamesim.games.simulator import Simulator
from gamesim.planning.language.parsing import Names
from gamesim.planning.language.text import Style

PROFILES = 64
"""Joint choices up to which the rules of a game say what each pays."""
NUMBERS = 64
"""Numbers of an observation that are said, at most."""
MOVES = ("nothing", "left", "right", "down", "up")


class Spoken(ParallelEnv[str, str, str]):  # type: ignore[misc]
    """A parallel environment of whole numbers in words.

    `actions` are names by agent; `seen` says what an agent observes, or nothing; `rules` are told first.
    """

    def __init__(
        self,
        env: Any,
        actions: dict[str, tuple[str, ...]],
        rules: Callable[[str], str],
        seen: Callable[[str, Any], str],
        turn: str,
    ) -> None:
        self.metadata = {"name": "gamesim_spoken_v0", "render_modes": [], "is_parallelizable": True}
        self.render_mode = None
        self.env, self.rules, self.seen, self.turn = env, rules, seen, turn
        self.possible_agents, self.agents = list(env.possible_agents), list[str]()
        self.names = {agent: Names(actions[agent]) for agent in self.possible_agents}
        self.played = 0
        self.luck = np.random.default_rng()
        parts = [rules(agent) for agent in self.possible_agents] + [name for a in actions.values() for name in a]
        longest = max(map(len, [*parts, *self.possible_agents]))
        most = longest + (longest + 40) * (len(self.possible_agents) + 2) + sum(map(len, parts)) + 30 * NUMBERS
        self.observation_spaces = {
            agent: words_of(parts, self.possible_agents, most=most) for agent in env.possible_agents
        }
        each = 2 * max(len(name) for a in actions.values() for name in a) + 60
        self.action_spaces = {agent: words_of(parts, most=each) for agent in env.possible_agents}

    def action_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        return self.action_spaces[agent]

    def observation_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        return self.observation_spaces[agent]

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """From the start; with a seed all that follows is determined, without one luck goes on."""
        if seed is not None:
            self.luck = np.random.default_rng([seed, 1])
        observations, infos = self.env.reset(seed=seed, options=options)
        self.agents, self.played = list(self.env.agents), 0
        said = {
            a: " ".join(filter(None, [self.rules(a), self.seen(a, observations[a]), self._asked(a)]))
            for a in self.agents
        }
        return said, {agent: infos[agent] | {"invalid": False} for agent in self.agents}

    def step(self, actions: dict[str, str]) -> tuple[dict[str, Any], ...]:
        agents = self.agents
        if not agents:
            raise refuse("step", "a game that is over", "reset() first")
        found = {agent: self.names[agent].find(actions.get(agent)) for agent in agents}
        chosen = {a: int(self.luck.integers(len(self.names[a].names))) if k is None else k for a, k in found.items()}
        observations, rewards, ended, cut, infos = self.env.step(chosen)
        self.agents, self.played = list(self.env.agents), self.played + 1
        said = {}
        for agent in agents:
            did = [f"{'You' if a == agent else called(a)} chose {self.names[a].names[chosen[a]]}" for a in agents]
            did.sort(key=lambda words: not words.startswith("You "))
            unread = "That names no action, and one was drawn. " if found[agent] is None else ""
            over = agent not in self.agents
            parts = [self.seen(agent, observations[agent]), "The game is over." if over else self._asked(agent)]
            happened = f"{self.turn} {self.played}. {unread}{', '.join(did)}; you were paid {rewards[agent]:.6g}."
            said[agent] = " ".join(filter(None, [happened, *parts]))
        told = {agent: infos[agent] | {"invalid": found[agent] is None} for agent in agents}
        return said, rewards, ended, cut, told

    def _asked(self, agent: str) -> str:
        names = self.names[agent].names
        listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
        return f"{self.turn} {self.played + 1}: choose {listed}."

    def render(self) -> None:
        """Nothing to see."""

    def close(self) -> None:
        self.env.close()


def as_text(
    game: NormalFormGame | TabularGame | LatentWorld | Discs | Simulator,
    rounds: int | None = None,
    *,
    longest: int | None = None,
    episodes: int = 1,
    style: Style | None = None,
    agents: Sequence[str] | None = None,
) -> Spoken | SpokenActors:
    """Any game of ours as a parallel environment whose observations and actions are text.

    A normal-form game is played for so many rounds (1), a stochastic game or a simulator until it stops or for
    `longest` steps, a latent world for so many episodes with one latent, told in a style or only what is new.

    >>> from gamesim.games import MatrixGame
    >>> dilemma = MatrixGame.bimatrix([[3, 0], [5, 1]], [[3, 5], [0, 1]], actions=[["cooperate", "defect"]] * 2)
    >>> env = as_text(dilemma, rounds=2)
    >>> observations, infos = env.reset(seed=0)
    >>> print(env.step({"1": "I cooperate", "2": "Defect!"})[0]["1"])
    Round 1. You chose cooperate, player 2 chose defect; you were paid 0. Round 2: choose cooperate or defect.
    """
    if isinstance(game, LatentWorld):
        for name, given in (("rounds", rounds), ("longest", longest)):
            if given is not None:
                raise refuse(name, given, "episodes, for a latent world")
        return SpokenActors(game, episodes, style, agents)
    if episodes != 1 or style is not None:
        raise refuse("episodes, style", f"{episodes}, {style}", "a latent world, which these are of")
    if isinstance(game, Simulator):
        return _simulated(game, longest, agents)
    env = as_pettingzoo(game, rounds, longest=longest, agents=agents)
    if isinstance(env, Rounds):
        names = dict(zip(env.possible_agents, _actions(env.game), strict=True))
        return Spoken(env, names, _payoffs(env, names), lambda agent, seen: "", "Round")
    if isinstance(env, States):
        names = dict(zip(env.possible_agents, _actions(env.game), strict=True))
        states = list(getattr(env.game, "states", ())) or [str(s + 1) for s in range(env.game.state_count)]
        return Spoken(
            env, names, _rules(len(names), "step"), lambda agent, seen: f"State: {states[int(seen)]}.", "Step"
        )
    spaces = [env.action_space(agent) for agent in env.possible_agents]
    if not all(isinstance(space, gymnasium.spaces.Discrete) for space in spaces):
        raise refuse("game", "continuous actions", "actions=discrete, which have names")
    counts = [int(space.n) for space in spaces]  # type: ignore[attr-defined]
    moves = [MOVES if k == len(MOVES) else tuple(f"action {a + 1}" for a in range(k)) for k in counts]
    names = dict(zip(env.possible_agents, moves, strict=True))
    return Spoken(env, names, _rules(len(names), "step"), lambda agent, seen: _numbers(seen), "Step")


def as_text_aec(game: Any, rounds: int | None = None, **more: Any) -> Any:
    """The same as an AEC environment: agents write one after another, and none reads what others wrote in that step."""
    return parallel_to_aec(as_text(game, rounds, **more))


def called(agent: str) -> str:
    """An agent in a sentence."""
    return f"player {agent}" if agent.isdigit() else agent.replace("_", " ")


def _simulated(game: Simulator, longest: int | None, agents: Sequence[str] | None) -> Spoken:
    env = Simulated(game, longest, agents)
    names = dict(zip(env.possible_agents, _actions(game), strict=True))
    return Spoken(env, names, _rules(len(names), "step"), lambda agent, seen: f"You see {seen + 1}.", "Step")


def _actions(game: Any) -> list[tuple[str, ...]]:
    """Names that can be told apart in what is written; numbered where the game's own cannot."""
    counts = game.action_counts
    given = list(getattr(game, "actions", ())) or [()] * len(counts)
    found = []
    for names, count in zip(given, counts, strict=True):
        if len(names) != count or not all(any(c.isalpha() for c in name) for name in names):
            names = tuple(f"action {a + 1}" for a in range(count))
        found.append(tuple(names))
    return found


def _rules(players: int, turn: str) -> Callable[[str], str]:
    others = "" if players == 1 else f", one of {players} players; in each {turn} all choose at the same time"
    return lambda agent: f"You are {called(agent)}{others}."


def _payoffs(env: Rounds, names: dict[str, tuple[str, ...]]) -> Callable[[str], str]:
    """The rules of a normal-form game; of a small one with what each joint choice pays."""
    agents, counts = env.possible_agents, env.game.action_counts
    many = 1
    for count in counts:
        many *= count
    rounds = "one round" if env.rounds == 1 else f"{env.rounds} rounds"
    profiles = list(itertools.product(*map(range, counts))) if many <= PROFILES else []
    device = env.game.like["device"]
    paid = [env.game.play(torch.tensor(profile, device=device)).tolist() for profile in profiles]

    def rules(agent: str) -> str:
        i = agents.index(agent)
        table = []
        for profile, pays in zip(profiles, paid, strict=True):
            others = [f"{called(a)} chooses {names[a][k]}" for a, k in zip(agents, profile, strict=True) if a != agent]
            own = f"you choose {names[agent][profile[i]]}"
            table.append(f"If {' and '.join([own, *others])}, you are paid {pays[i]:.6g}.")
        whole = [
            f"You are {called(agent)}, one of {len(agents)} players who all choose at the same time, for {rounds}."
        ]
        return " ".join([*whole, *table])

    return rules


def _numbers(seen: Any) -> str:
    given = np.ravel(seen)
    said = ", ".join(f"{x:.3g}" for x in given[:NUMBERS])
    return f"You see {said}{', and more' if len(given) > NUMBERS else ''}."
