"""Breadth first through the states of an environment that answers the same whenever it is asked the same."""

import random
from collections import Counter, deque
from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np

from gamesim.envs.wrappers.agents import Turns
from gamesim.envs.wrappers.copying import inside
from gamesim.envs.wrappers.single import Answer, Copy
from gamesim.errors import InvalidInput, refuse
from gamesim.games.simulator import EVALUATION
from gamesim.randomness import Stream

AGAIN = 16
"""Joint actions of a state reached again that are played again, at most."""
THROUGH = 1000
"""Steps of each episode that is compared with what was found, at most."""
SAME = "that all agents observe the same full state; pooled=True lets everybody see what all see together"

State = tuple[int, ...]
"""What everybody observes; in turns whose turn it is comes first."""
Reply = tuple[tuple[float, ...], State | None]
"""Rewards, and the next state, or None where play ends."""


class Retraced:
    """Where a course of play stands in an environment that cannot be copied: it is begun again and played up to there.

    One environment serves all of them, and knows which it is at.
    """

    def __init__(self, one: Copy, at: list[Any] | None = None, past: Any = None) -> None:
        self.one, self.at, self.past = one, [None] if at is None else at, past

    @property
    def env(self) -> Any:
        self.arrive()
        return self.one.env

    @property
    def turn(self) -> int:
        """Who acts."""
        self.arrive()
        return self.one.turn if isinstance(self.one, Turns) else 0

    def everyone(self) -> list[int]:
        """What every agent would see."""
        self.arrive()
        return self.one.everyone() if isinstance(self.one, Turns) else []

    def clone(self) -> "Retraced":
        return Retraced(self.one, self.at, self.past)

    def reset(self, seed: int) -> list[int]:
        self.past = (seed, ())
        self.at[0] = self.past
        return self.one.reset(seed)

    def arrive(self) -> None:
        """Play up to here, if the environment is elsewhere."""
        if self.past is not None and self.at[0] != self.past:
            seed, actions = self.past
            self.one.reset(seed)
            for chosen in actions:
                self.one.step(chosen)
            self.at[0] = self.past

    def step(self, actions: Sequence[int]) -> Answer:
        self.arrive()
        seed, before = self.past
        self.past = (seed, (*before, tuple(actions)))
        self.at[0] = self.past
        return self.one.step(actions)


class Search:
    """States, what every joint action answers in them, and where episodes begin."""

    def __init__(self, one: Copy, seeds: Sequence[int], limit: int, pooled: bool) -> None:
        self.seeds, self.limit, self.pooled = seeds, limit, pooled
        self.turns, self.counts = isinstance(one, Turns), one.action_counts
        self.answers = dict[State, list[Reply]]()
        self.begun = Counter[State]()
        self.first: Copy | Retraced = one
        try:
            here = one.clone()
            here.reset(seeds[0])
            here.clone()
        except InvalidInput:  # it holds what cannot be copied
            self.first = Retraced(one)

    def shape(self, state: State) -> tuple[int, ...]:
        """Of the joint actions that make a difference: in turns those of who acts."""
        if not self.turns:
            return self.counts
        return tuple(count if i == state[0] else 1 for i, count in enumerate(self.counts))

    def run(self) -> None:
        """Find all states that can be reached."""
        waiting, cut = deque[tuple[State, Any]](), set[State]()
        again, kept = set[State](), Counter[State]()
        for seed in self.seeds:
            here = self.first.clone()
            state = self._state(here, here.reset(seed))
            self.begun[state] += 1
            if self.begun[state] <= 2:
                waiting.append((state, here))
        while waiting:
            state, here = waiting.popleft()
            profiles = list(product(*map(range, self.shape(state))))
            if state in self.answers:
                if state not in again:  # reached in another way
                    again.add(state)
                    for j in range(0, len(profiles), -(-len(profiles) // AGAIN)):
                        self._compare(state, j, profiles[j], self._played(here.clone(), profiles[j])[0])
                continue
            self._require_room()
            cut.discard(state)
            self.answers[state] = []
            for profile in profiles:
                after = here.clone()
                reply, live = self._played(after, profile)
                self.answers[state].append(reply)
                if live and reply[1] is not None:
                    kept[reply[1]] += 1
                    if kept[reply[1]] <= 2:  # one to go on from, one to compare
                        waiting.append((reply[1], after))
                elif reply[1] is not None and reply[1] not in self.answers:
                    cut.add(reply[1])
        if cut:
            wanted = "a longer limit of time in the environment: nothing can be played behind a cut"
            raise refuse("env", f"the state {min(cut)}, which is only reached where an episode is cut off", wanted)
        self._play_through()

    def _require_room(self) -> None:
        if len(self.answers) == self.limit:
            wanted = "at most that many; states= says how many, and as_simulator(env) needs no tables"
            raise refuse("env", f"more than {self.limit:,} states", wanted)

    def _played(self, here: Any, profile: tuple[int, ...]) -> tuple[Reply, bool]:
        """What a joint action answers, and whether play goes on there."""
        before = luck_of(here.env)
        seen, paid, terminated, truncated = here.step(profile)
        if luck_of(here.env) != before:
            what = f"a step that draws random numbers (actions {list(profile)})"
            wanted = "one that follows from state and actions; estimate_game(simulator) counts instead"
            raise refuse("env", what, wanted)
        return (tuple(paid), None if terminated else self._state(here, seen)), not (terminated or truncated)

    def _state(self, here: Any, seen: list[int]) -> State:
        seen = here.everyone() if self.turns else seen
        if not self.pooled and any(x != seen[0] for x in seen):
            raise refuse("observations", f"{seen} at the same time", SAME)
        return (*([here.turn] if self.turns else []), *(seen if self.pooled else seen[:1]))

    def _compare(self, state: State, j: int, profile: tuple[int, ...], found: Reply) -> None:
        known = self.answers[state][j]
        if found[1] != known[1] or not np.allclose(found[0], known[0], rtol=1e-9, atol=1e-9):
            what = f"{_words(found)} after {_words(known)}, for the same observation {state} and actions"
            raise refuse("env", f"{what} {list(profile)}", "observations that are the whole state (Markov)")

    def _play_through(self) -> None:
        """Episodes at random must answer as before: a clock that nobody sees shows here."""
        for seed in self.seeds:
            here = self.first.clone()
            state: State | None = self._state(here, here.reset(seed))
            for u in Stream(seed, EVALUATION).uniform((THROUGH,)).tolist():
                if state not in self.answers:
                    break
                shape = self.shape(state)
                j = int(u * prod(shape))
                profile = tuple(int(a) for a in np.unravel_index(j, shape))
                reply, live = self._played(here, profile)
                self._compare(state, j, profile, reply)
                state = reply[1] if live else None


def _words(reply: Reply) -> str:
    paid = [float(f"{x:.6g}") for x in reply[0]]
    return f"rewards {paid} and {'the end' if reply[1] is None else f'observation {reply[1]}'}"


def luck_of(env: Any) -> list[Any]:
    """The states of all generators of random numbers that a step may draw from."""
    found: list[Any] = [random.getstate()]
    legacy: Any = np.random.get_state()  # noqa: NPY002 - it is looked at, not drawn from
    found.append((legacy[2], legacy[1].tobytes()))
    for part in inside(env):
        for value in list(getattr(part, "__dict__", {}).values()):
            if isinstance(value, np.random.Generator):
                found.append(str(value.bit_generator.state))
            elif isinstance(value, np.random.RandomState):
                found.append(str(value.get_state()))
            elif isinstance(value, random.Random):
                found.append(value.getstate())
    return found
