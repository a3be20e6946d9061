"""One copy of a PettingZoo environment in whole numbers: all agents at once, or in turns.

Whoever is not asked for an action observes a number of their own, the last one (see gamesim.envs.wrappers.single). What
breaks PettingZoo's contract is refused with what is wrong.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium

from gamesim.envs.wrappers.single import Answer, Copy, Illegal, number_of
from gamesim.envs.wrappers.spaces import coding
from gamesim.errors import refuse

AGENTS = "a wrapper derived from pettingzoo.utils.BaseParallelWrapper (or BaseWrapper) can round it to a Discrete space"


class Agents(Copy):
    """What both kinds of PettingZoo's environments share: agents by name."""

    def __init__(self, env: Any, illegal: Illegal, away: bool) -> None:
        super().__init__(env, illegal, away)
        agents = getattr(env, "possible_agents", None)
        if not agents:
            raise refuse("env", "no possible_agents", "the list of all agents that may ever act")
        if len(set(agents)) < len(agents):
            raise refuse("possible_agents", list(agents), "names that differ")
        self.agents = list(agents)
        self.place = {agent: i for i, agent in enumerate(agents)}
        self.players = tuple(map(str, agents))
        self.actions = [coding(env.action_space(a), f"action_space({a!r})", AGENTS) for a in agents]
        self.seen = [coding(_looked_at(env.observation_space(a)), f"observation_space({a!r})", AGENTS) for a in agents]

    def number(self, agent: Any, observed: Any) -> int:
        """What an agent sees."""
        return self.seen[self.place[agent]].encode(_looked_at(observed))

    def require_known(self, agents: Any) -> None:
        for agent in agents:
            if agent not in self.place:
                raise refuse("env.agents", repr(agent), f"agents of possible_agents, {self.agents}")


class Together(Agents):
    """A parallel environment: whoever is there acts in every step."""

    def reset(self, seed: int) -> list[int]:
        given = self.env.reset(seed=seed)
        if not isinstance(given, tuple) or len(given) != 2:
            raise refuse("reset()", type(given).__name__, "(observations, infos), two dictionaries by agent")
        self.live = list(self.env.agents)
        if not self.live:
            raise refuse("env.agents", "nobody after reset()", "those who act")
        return self._observed(*given, "reset()")

    def step(self, actions: Sequence[int]) -> Answer:
        chosen = {a: self.chosen(i, actions[i], self.masks.get(a), repr(a)) for a, i in self._living()}
        given = self.env.step(chosen)
        if not isinstance(given, tuple) or len(given) != 5:
            wanted = "(observations, rewards, terminations, truncations, infos), five dictionaries by agent"
            raise refuse("step()", f"{len(given)} things" if isinstance(given, tuple) else type(given).__name__, wanted)
        observations, rewards, terminations, truncations, infos = given
        for name, found in (("rewards", rewards), ("terminations", terminations), ("truncations", truncations)):
            missing = [agent for agent in self.live if agent not in found]
            if missing:
                raise refuse(f"step(): {name}", f"none for {missing[0]!r}", "one for every agent that has acted")
        self.require_known([*rewards, *self.env.agents])
        over = {agent: bool(terminations[agent] or truncations[agent]) for agent in self.live}
        for agent in self.live:
            if over[agent] and agent in self.env.agents:
                raise refuse("env.agents", f"{agent!r}, who is terminated or truncated", "those who go on, alone")
            if not over[agent] and agent not in self.env.agents:
                wanted = "that whoever leaves is terminated or truncated in that step"
                raise refuse("env.agents", f"no {agent!r}, who is neither terminated nor truncated", wanted)
        paid = [0.0] * len(self.agents)
        for agent, reward in rewards.items():
            paid[self.place[agent]] += number_of(reward, f"rewards[{agent!r}]")
        ended = any(bool(terminations[agent]) for agent in self.live)
        self.live = list(self.env.agents)
        if self.live:
            return self._observed(observations, infos, "step()"), paid, False, False
        if ended:  # nobody acts on what is seen last, so it may be missing
            return [coding.size - 1 + self.away for coding in self.seen], paid, True, False
        self.live = list(over)
        return self._observed(observations, infos, "step()"), paid, False, True

    def _living(self) -> list[tuple[Any, int]]:
        return [(agent, self.place[agent]) for agent in self.live]

    def _observed(self, observations: Any, infos: Any, when: str) -> list[int]:
        self.require_known(self.live)
        if len(self.live) < len(self.agents) and not self.away:
            gone = next(agent for agent in self.agents if agent not in self.live)
            wanted = "absent=True, which gives those who have left or not yet come an observation of their own"
            raise refuse("absent", f"False, and {gone!r} is away while others play", wanted)
        found = [coding.size for coding in self.seen]
        self.masks = dict[Any, Any]()
        for agent, i in self._living():
            if agent not in observations:
                raise refuse(f"{when}: observations", f"none for {agent!r}", "one for every agent that is to act")
            found[i] = self.number(agent, observations[agent])
            self.masks[agent] = _mask(observations[agent], infos.get(agent) if isinstance(infos, dict) else None)
        return found


class Turns(Agents):
    """An environment of turns: in every step one agent acts and the others are away."""

    def __init__(self, env: Any, illegal: Illegal) -> None:
        super().__init__(env, illegal, away=True)

    def reset(self, seed: int) -> list[int]:
        self.env.reset(seed=seed)
        self.require_known(self.env.agents)
        self._paid = [0.0] * len(self.agents)
        self._pass_over()
        if not self.env.agents:
            raise refuse("env.agents", "nobody after reset()", "those who act")
        return self._observed()

    def step(self, actions: Sequence[int]) -> Answer:
        agent = self.env.agent_selection
        i = self.place[agent]
        self._paid = [0.0] * len(self.agents)
        self.env.step(self.chosen(i, actions[i], self._legal, repr(agent)))
        self._collect()
        ended = any(map(bool, self.env.terminations.values()))
        self._pass_over()
        done = not self.env.agents
        seen = [coding.size for coding in self.seen] if done else self._observed()
        return seen, self._paid, done and ended, done and not ended

    @property
    def turn(self) -> int:
        """Who acts, as a number; nobody is as many as there are agents."""
        return self.place[self.env.agent_selection] if self.env.agents else len(self.agents)

    def everyone(self) -> list[int]:
        """What every agent would see, whose turn it is or not."""
        return [self.number(agent, self.env.observe(agent)) for agent in self.agents]

    def _pass_over(self) -> None:
        """Agents that are done take their leave by a step of None."""
        env = self.env
        while env.agents:
            agent = env.agent_selection
            if agent not in self.place or agent not in env.agents:
                raise refuse("agent_selection", repr(agent), f"one of env.agents, {list(env.agents)}")
            for name in ("terminations", "truncations"):
                if agent not in getattr(env, name):
                    raise refuse(f"env.{name}", f"none for {agent!r}", "one for every agent of env.agents")
            if not (env.terminations[agent] or env.truncations[agent]):
                return
            env.step(None)
            self._collect()

    def _collect(self) -> None:
        self.require_known(self.env.rewards)
        missing = [agent for agent in self.env.agents if agent not in self.env.rewards]
        if missing:
            raise refuse("env.rewards", f"none for {missing[0]!r}", "one for every agent of env.agents")
        for agent, reward in self.env.rewards.items():
            self._paid[self.place[agent]] += number_of(reward, f"rewards[{agent!r}]")

    def _observed(self) -> list[int]:
        agent = self.env.agent_selection
        observed, _, _, _, info = self.env.last()
        found = [coding.size for coding in self.seen]
        found[self.place[agent]] = self.number(agent, observed)
        self._legal = _mask(observed, info)
        return found


def _looked_at(observed: Any) -> Any:
    """Without the mask that PettingZoo packs beside what is observed; of a value or of its space."""
    parts = observed.spaces if isinstance(observed, gymnasium.spaces.Dict) else observed
    packed = isinstance(parts, dict) and "action_mask" in parts and "observation" in parts
    return parts["observation"] if packed else observed


def _mask(observed: Any, info: Any) -> Any:
    if isinstance(observed, dict) and "action_mask" in observed:
        return observed["action_mask"]
    return info.get("action_mask") if isinstance(info, dict) else None
