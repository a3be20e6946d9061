"""Pessimistic soft policy iteration: the policy follows, in the mirror, the most pessimistic function that fits.

    f_t = argmin_f  f(S0, pi_t) + weight E(f, pi_t; D)
    pi_{t+1}(A | S) ~ pi_t(A | S) exp(step_size f_t(S, A))

The Lagrangian of max_pi min {f(S0, pi) : E(f, pi; D) <= eps}. f_t has a closed form for tables and for linear functions
(`gamesim.offline.exact.version_space`). The softmax is over joint actions and does not factor over agents: here it is
over plays, multisets of what agents do, each as likely at first as it is when everyone acts alone. `lower` is
f_t(S0, pi_t), and `misfit` E(f_t); both are 0 before the first step.

Xie, Cheng, Jiang, Mineiro and Agarwal, "Bellman-consistent pessimism for offline reinforcement learning", NeurIPS 2021,
arXiv 2106.06926 (PSPI); its guarantee is about the mean of what the policies pi_1, ..., pi_T earn.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from gamesim.offline.exact.counted_task import CountedTask, Functions
from gamesim.offline.exact.version_space import Least
from gamesim.parameters import Positive, check
from gamesim.randomness import Stream
from gamesim.schedules import Constant, StepSize
from gamesim.simplex import mirror_step, softmax


@dataclass(frozen=True)
class Pessimist:
    """Scores of plays, and the most pessimistic function of the policy."""

    scores: tuple[Tensor, ...]
    function: Tensor
    """f_t, of this policy."""
    lower: Tensor
    misfit: Tensor

    @cached_property
    def policy(self) -> tuple[Tensor, ...]:
        return tuple(map(softmax, self.scores))

    @property
    def metrics(self) -> dict[str, Tensor]:
        return {"lower": self.lower, "misfit": self.misfit}


@dataclass(frozen=True)
class PSPI:
    """Soft policy iteration on the most pessimistic functions."""

    step_size: StepSize = Constant(0.5)
    """eta: weight of each function in the scores."""
    weight: Positive = 10.0
    """lambda: how much a misfit costs; small is pessimistic."""
    functions: Functions = "tables"
    """F: all tables, or functions quadratic in the shares of agents."""

    requires: ClassVar[type] = CountedTask

    def __post_init__(self) -> None:
        check(self)

    def init(self, game: CountedTask) -> Pessimist:
        scores = tuple(p.log() for p in game.start())
        nothing = torch.zeros_like(scores[0][..., 0, 0])  # rewards are never negative, so 0 is a lower bound
        return Pessimist(scores, torch.zeros_like(scores[0]), nothing, nothing)

    def step(self, t: int, game: CountedTask, state: Pessimist, generator: Stream) -> Pessimist:
        f = self._least(game, state.policy[0]).function if t == 0 else state.function
        scores = mirror_step(state.scores[0], f, self.step_size(t))
        found = self._least(game, softmax(scores))
        return Pessimist((scores,), found.function, found.value, found.misfit)

    def _least(self, game: CountedTask, policy: Tensor) -> Least:
        weight = self.weight
        if isinstance(weight, Tensor) and weight.dim():
            weight = weight[..., 0, 0]  # of [...], not of policies [..., s, a]
        return game.functions(self.functions).penalized(policy, game.initial, weight)
