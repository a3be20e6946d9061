"""Small environments by their tables, from playing out every joint action in every state.

    the environment has a table P       toy_text of gymnasium: its laws as they are, whatever luck is in them; episodes
                                        are played, and a step that the table does not know is refused
    otherwise                           states breadth first from reset(): each is stepped once for every joint action,
                                        from copies (copy.deepcopy) or, where there are none, by playing up to it again

What is observed must be the state. That is tested: a state that is reached again in another way is played out again,
and has to answer the same. A step that draws random numbers shows by the generators that the environment holds, and is
refused: laws come from a table, or by counting (gamesim.envs.wrappers.estimated).

An end (terminated) stops play. A cut (truncated) does not, since the state goes on behind it. A stochastic game wants a
positive probability to stop everywhere, so there is a discount, 0.99 unless another one is given: values are those of
the discounted game, and not the undiscounted returns of the environment.
"""

import math
from collections import Counter
from itertools import product
from math import isqrt, prod
from typing import Any

import numpy as np
import torch
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from gamesim.envs.wrappers.agents import Turns
from gamesim.envs.wrappers.copies import copy_of, makes
from gamesim.envs.wrappers.search import SAME, THROUGH, Search
from gamesim.envs.wrappers.single import Alone, Copy, Illegal
from gamesim.errors import InvalidInput, refuse
from gamesim.games import Sparse, StochasticGame
from gamesim.games.matrix import LARGEST
from gamesim.parameters import Count, Fraction, Natural, convert

STATES = 10_000
"""States that are played out at most, where nobody says how many."""
MOST = isqrt(LARGEST)
"""States of a game, at most: values take a system of S x S."""
NUMBERS = 10**8
"""Numbers of the tables, at most."""


def tabulate_environment(
    env: Any,
    *,
    discount: float = 0.99,
    seed: int = 0,
    resets: int = 32,
    states: int | None = None,
    compact: bool = False,
    pooled: bool = False,
    illegal: Illegal = "refuse",
) -> StochasticGame:
    """A small environment of gymnasium or PettingZoo, or a function that makes one, as a stochastic game.

    states:   at most so many are played out; the tables are refused before they would not fit.
    resets:   episodes begun with seeds from `seed` on; the first state's law is how often each was begun in.
    compact:  only the states that were reached, in that order; otherwise states are numbered as they are observed, so
              that policies of the game are policies of the simulator, and unreached ones stop at once and pay nothing.
    pooled:   let everybody see what all agents see together, where they see different things (compact then).

    >>> import gymnasium
    >>> lake = tabulate_environment(gymnasium.make("FrozenLake-v1"))
    >>> lake.state_count, lake.action_counts
    (16, (4,))
    """
    if discount != 1:
        discount = convert(discount, Fraction, "discount")
    seed, resets = convert(seed, Natural, "seed"), convert(resets, Count, "resets")
    limit = STATES if states is None else convert(states, Count, "states")
    if limit > MOST:
        raise refuse("states", f"{limit:,}", f"at most {MOST:,}: values take a system of S x S numbers")
    one = copy_of(bare(env() if makes(env) else env), illegal)
    table = getattr(one.env, "P", None)
    if isinstance(table, dict) and isinstance(one, Alone) and one.env.unwrapped is one.env:
        return _from_table(one, table, discount, limit, range(seed, seed + resets))
    compact = compact or pooled or isinstance(one, Turns)
    sizes = {c.size for c in one.seen}
    if not pooled and len(sizes) > 1:
        raise refuse("observation_space", f"spaces of {sorted(sizes)} elements", SAME)
    rows = limit if compact else max(sizes)
    _require_size(rows, prod(one.action_counts), 1, len(one.players), limit, "observation_space")
    search = Search(one, range(seed, seed + resets), limit, pooled)
    search.run()
    return _game(search, one, discount, compact)


def bare(env: Any) -> Any:
    """Without the wrappers that change no law: a limit of time is a cut, and cuts are not ends."""
    while isinstance(env, TimeLimit | OrderEnforcing | PassiveEnvChecker):
        env = env.env
    return env


def _from_table(one: Alone, table: Any, discount: float, limit: int, seeds: range) -> StochasticGame:
    """P[s][a] = [(probability, next state, reward, terminated), ...] of gymnasium's toy_text."""
    states, actions = one.seen[0].size, one.action_counts[0]
    likely = max(len(table[s][a]) for s in range(states) for a in range(actions))
    _require_size(states, actions, likely, 1, limit, "observation_space")
    successors = np.zeros((states, actions, likely), dtype=np.int64)
    probabilities, reward = np.zeros((states, actions, likely)), np.zeros((1, states, actions))
    for s, a in product(range(states), range(actions)):
        total = sum(row[0] for row in table[s][a])
        if abs(total - 1) > 1e-6:
            raise refuse(f"P[{s}][{a}]", f"probabilities that sum to {total:.6g}", "a sum of 1")
        for k, (p, t, paid, terminated) in enumerate(table[s][a]):
            successors[s, a, k], probabilities[s, a, k] = int(t), 0.0 if terminated else p
            reward[0, s, a] += p * paid
    _play_by(table, one, seeds)
    initial = getattr(one.env, "initial_state_distrib", None)
    return StochasticGame(
        torch.from_numpy(reward),
        Sparse(torch.from_numpy(successors), torch.from_numpy(probabilities)),
        None if initial is None else torch.as_tensor(np.asarray(initial, dtype=float)),
        discount,
        players=one.players,
        player_count=1,
        title=str(one.env),
    )


def _play_by(table: Any, one: Alone, seeds: range) -> None:
    """Episodes of which every step must stand in the table; each takes the action that was tried least."""
    tried = Counter[tuple[int, int]]()
    try:
        env = one.clone().env
    except InvalidInput:  # it holds what cannot be copied
        env = one.env
    for seed in seeds:
        state, over, steps = one.seen[0].encode(env.reset(seed=seed)[0]), False, 0
        while not over and steps < THROUGH:
            action = min(range(one.action_counts[0]), key=lambda a: (tried[state, a], a * seed % 7))
            tried[state, action] += 1
            seen, paid, terminated, truncated, _ = env.step(one.actions[0].element(action))
            after = one.seen[0].encode(seen)
            known = ((t, bool(end), r) for p, t, r, end in table[state][action] if p > 0)
            if not any((t, end) == (after, terminated) and math.isclose(r, paid, abs_tol=1e-9) for t, end, r in known):
                what = f"a step from state {state} to {after} that pays {float(paid):.6g} (action {action})"
                wanted = "one that its table P knows; estimate_game(simulator) counts instead"
                raise refuse("env", what, wanted)
            state, over, steps = after, terminated or truncated, steps + 1


def _require_size(states: int, joint: int, likely: int, players: int, limit: int, field: str) -> None:
    """Refuse tables that would not fit, before anything is played."""
    numbers = states * joint * (players + 2 * likely)
    shown = f"{states:,} states x {joint:,} joint actions = {states * joint:,} steps, {numbers:,} numbers"
    if states > limit:
        wanted = f"at most {limit:,} states; compact=True counts those that are reached alone, up to states={MOST:,}"
        raise refuse(field, shown, wanted)
    if numbers > NUMBERS:
        raise refuse(field, shown, f"at most {NUMBERS:,} numbers; as_simulator(env) needs no tables")


def _game(search: Search, one: Copy, discount: float, compact: bool) -> StochasticGame:
    """The tables of what was answered."""
    counts, players, reached = one.action_counts, len(one.players), list(search.answers)
    number = {state: k if compact else state[0] for k, state in enumerate(reached)}
    states = len(reached) if compact else one.seen[0].size
    reward = np.zeros((players, states, *counts))
    successors, probabilities = np.zeros((states, *counts), dtype=np.int64), np.zeros((states, *counts))
    for state, replies in search.answers.items():
        s, shape = number[state], search.shape(state)
        reward[:, s] = np.array([paid for paid, _ in replies]).T.reshape(players, *shape)
        successors[s] = np.array([0 if after is None else number[after] for _, after in replies]).reshape(shape)
        probabilities[s] = np.array([float(after is not None) for _, after in replies]).reshape(shape)
    initial = np.zeros(states)
    for state, times in search.begun.items():
        initial[number[state]] = times / len(search.seeds)
    return StochasticGame(
        torch.from_numpy(reward),
        Sparse(torch.from_numpy(successors)[..., None], torch.from_numpy(probabilities)[..., None]),
        torch.from_numpy(initial),
        discount,
        players=one.players,
        states=tuple(" ".join(map(str, state)) for state in reached) if compact else (),
        player_count=players,
        title=str(one.env),
    )
