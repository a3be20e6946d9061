"""Nash-Q for zero-sum games of two players, also known as minimax-Q: values of joint actions, learned from episodes.

Q(s, a1, a2) is what player 1 expects, and -Q player 2. One iteration plays episodes under the equilibria (x, y) of the
matrix games Q(s), with exploration, pih_i = (1 - eps) pi_i + eps / A_i, and every step moves

    Q(s, a1, a2) <- Q(s, a1, a2) + alpha (r_1 + discount V(s') - Q(s, a1, a2))
    V(s) = val Q(s) = max_x min_y x^T Q(s) y

with V = 0 after the end, in turn (`gamesim.feedback.temporal`). The games Q(s) of all states that were visited, of all
seeds, are then solved in one batch. Every player sees the actions of both.

Q tends to the values of the stage games of the equilibrium, and V to the value of Shapley (1953), if every state and
joint action is played for ever and the step sizes add up to infinity, and their squares to less.

Littman, "Markov games as a framework for multi-agent reinforcement learning", ICML 1994; Littman and Szepesvari, "A
generalized reinforcement-learning model", ICML 1996; Hu and Wellman, "Nash Q-learning for general-sum stochastic
games", JMLR 4 (2003): in zero-sum games their Nash-Q is this, and beyond them it converges only where all stage games
on the way have a saddle point or a common optimum, which nobody can check beforehand.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamesim.equilibria.shapley import ZeroSumTabularGame
from gamesim.equilibria.zero_sum import solve_zero_sum
from gamesim.feedback.temporal import Clock, Finite, UpTo1, following, require_countable, shares, step_cautions, visited
from gamesim.games import Policy, TabularGame
from gamesim.parameters import Count, Probability, check
from gamesim.randomness import Stream
from gamesim.schedules import Constant, Power, Share
from gamesim.simplex import explore


@dataclass(frozen=True)
class Stages:
    """The stage games as they are believed to be, how often they were played, and their solutions."""

    q: Tensor
    """What player 1 expects, [..., s, a1, a2]."""
    visits: Tensor
    """Whole numbers [..., s, a1, a2]."""
    values: Tensor
    """V[..., s], of player 1."""
    policy: Policy
    """x[..., s, a1] and y[..., s, a2], without exploration."""


@dataclass(frozen=True)
class NashQ:
    """Both players learn the values of joint actions from episodes, and play the equilibria of these."""

    step_size: Share = Power(10.0, 1.0, 10.0)
    """alpha; power(H + 1, 1, H + 1) is (H + 1) / (H + n) at the n-th visit, power(1, w) is 1 / n^w."""
    clock: Clock = "visits"
    """What step sizes fall with: earlier visits of the state and joint action, or iterations."""
    exploration: UpTo1 = Constant(0.5)
    """eps: share of the uniform policy in what is played; the values learned are those of play without it."""
    episodes: Count = 10
    """Episodes of an iteration."""
    discount: Probability = 1.0
    """Weight of the next value, besides what the game discounts by stopping."""
    initial_value: Finite = 0.0
    """Q at the beginning."""

    requires: ClassVar[type] = ZeroSumTabularGame

    def __post_init__(self) -> None:
        check(self)
        require_countable(self.step_size, self.clock)

    def cautions(self, game: Any) -> list[str]:
        return step_cautions(self.step_size)

    def init(self, game: TabularGame) -> Stages:
        x, y = start = game.start()
        q = torch.zeros_like(x[..., None] * y[..., None, :]) + self.initial_value
        return Stages(q, torch.zeros_like(q, dtype=torch.long), q.amax((-2, -1)), start)

    def step(self, t: int, game: TabularGame, state: Stages, generator: Stream) -> Stages:
        played = tuple(explore(x, self.exploration(t)) for x in state.policy)
        episodes = game.rollout(played, self.episodes, generator)
        observed, actions = episodes.observations[..., 0], episodes.actions
        target = episodes.rewards[..., 0] + self.discount * following(state.values, observed, episodes.alive)
        place = observed * game.joint_count + actions[..., 0] * state.q.shape[-1] + actions[..., 1]
        alpha = shares(self.step_size, self.clock, t)
        moved, counted = visited(state.q.flatten(-3), state.visits.flatten(-3), place, target, episodes.alive, alpha)
        q, visits = (x.unflatten(-1, state.q.shape[-3:]) for x in (moved, counted))
        return solved(state, q, visits)


def solved(state: Stages, q: Tensor, visits: Tensor) -> Stages:
    """The stage games that changed are solved anew, all at once; those that are no numbers have no solution."""
    changed, lost = (visits != state.visits).any(-1).any(-1), ~q.isfinite().all(-1).all(-1)
    found = solve_zero_sum(q[changed].masked_fill(lost[changed][:, None, None], 0.0))

    def put(old: Tensor, new: Tensor) -> Tensor:
        whole = old.expand(*changed.shape, *new.shape[1:]).clone()
        whole[changed] = new.to(old)
        whole[lost] = torch.nan
        return whole

    values, (x, y) = put(state.values, found.value), state.policy
    return Stages(q, visits, values, (put(x, found.row), put(y, found.column)))
