"""Equilibria of a stochastic game that are worth a certificate, found in a time that one waits for.

All pure stationary equilibria where pure policies are few enough to list; otherwise those at which best replies in turn
come to rest, from random pure policies, side by side. Then the values of a zero-sum game, or one equilibrium of any
kind (`gamesim.equilibria.stationary`) while the game is not large.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gamesim.equilibria.shapley import solve_shapley
from gamesim.equilibria.stationary import find_stationary, pure_stationary
from gamesim.games import Policy, TabularGame
from gamesim.randomness import Stream

LISTED = 2.0**20
"""Pure policies up to which all equilibria among them are looked for."""
AT_MOST = 1000
"""Pure equilibria that are listed, at most."""
STARTS, ROUNDS = 16, 30
"""Random pure policies, and rounds of best replies in turn from each."""
SMALL, LARGE = 600, 5000
"""States times joint actions up to which one equilibrium is sought besides pure ones; and any, by best replies."""
NEAR = 1e-9
"""Policies that differ by no more are one; also the gain that an equilibrium is sought to, in units of rewards."""


class Candidates(NamedTuple):
    """Policies, and what one should know of how they were found."""

    policies: list[Policy]
    notes: list[str]


def candidates(game: TabularGame, seed: int = 0) -> Candidates:
    """What was found for one game; the seed names where best replies begin."""
    size, notes, policies = game.state_count * game.joint_count, list[str](), list[Policy]()
    if game.state_count * sum(map(math.log, game.action_counts)) <= math.log(LISTED):
        pure = pure_stationary(game, AT_MOST)
        order = pure.margin.argsort(descending=True, stable=True)
        policies = [tuple(x[k].to(**game.like) for x in pure.policies) for k in order.tolist()]
        if not pure.complete:
            notes.append(f"policies: {len(pure)} pure equilibria, and there are more")
    elif size <= LARGE:
        policies = at_rest(game, STARTS, seed)
        notes.append("policies: pure equilibria are those that best replies came to; there may be others")
    if game.zero_sum:
        solved = solve_shapley(game, NEAR)
        _add(policies, tuple(x.to(**game.like) for x in solved.policy))
    elif size <= (SMALL if policies else LARGE):
        found = find_stationary(game, tolerance=NEAR)
        if found.converged or not policies:
            _add(policies, found.policy)
        if not found.converged:
            notes.append(f"policies: no equilibrium was found to {NEAR:g}, the best has a gain of {found.gain:.2g}")
    if not policies:
        notes.append("policies: none found in a game of this size; --policy names one")
    return Candidates(policies, notes)


def _add(policies: list[Policy], policy: Policy) -> None:
    for each in policies:
        if max(float((x - y).abs().max()) for x, y in zip(policy, each, strict=True)) <= NEAR:
            return
    policies.append(policy)


def at_rest(game: TabularGame, starts: int, seed: int = 0) -> list[Policy]:
    """Different pure policies at which best replies in turn come to rest, from random ones."""
    counts, states = game.action_counts, game.state_count
    stream = Stream(seed)
    drawn = [(stream.uniform((starts, states)) * count).long() for count in counts]
    policy: Policy = tuple(one_hot(a, count).to(**game.like) for a, count in zip(drawn, counts, strict=True))
    for _ in range(ROUNDS):
        before = policy
        for i, count in enumerate(counts):
            best, gains = game.best_responses(policy)[0][i], game.gains(policy)[..., i, :]
            small = NEAR * game.state_values(policy).abs().amax((-2, -1))
            moves = (gains.amax(-1) > small)[:, None, None]
            reply = one_hot(best.argmax(-1), count).to(policy[i])
            policy = (*policy[:i], torch.where(moves, reply, policy[i]), *policy[i + 1 :])
        if all(torch.equal(x, y) for x, y in zip(policy, before, strict=True)):
            break
    resting = game.gains(policy).amax((-2, -1)) <= NEAR * game.state_values(policy).abs().amax((-2, -1))
    rows: Tensor = torch.stack([x.argmax(-1) for x in policy], -2)[resting]
    different = rows.unique(dim=0)
    return [tuple(one_hot(each[i], count).to(**game.like) for i, count in enumerate(counts)) for each in different]
