"""Bernoulli arms: arm a pays 1 with probability mu_a, and nothing otherwise.

The plainest stochastic bandit: Lai and Robbins, "Asymptotically efficient adaptive allocation rules", Advances in
Applied Mathematics 6 (1985), whose lower bound on regret(T) / log T is sum_a Delta_a / kl(mu_a, mu*).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from gamesim.games.bandit import BanditGame, as_arms
from gamesim.parameters import Probability, check


@final
@dataclass(frozen=True, kw_only=True)
class Bernoulli(BanditGame):
    """Arms that pay 1 or nothing."""

    means: tuple[Probability, ...] | Tensor = (0.2, 0.5, 0.6)
    """mu_a of each arm; in Python also a tensor [..., a]: a batch of games."""

    def __post_init__(self) -> None:
        check(self)
        as_arms(self.means, Probability, "means")

    @cached_property
    def _means(self) -> Tensor:
        return as_arms(self.means, Probability, "means")

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0

    def mean_rewards(self, t: int) -> Tensor:
        return self._means

    def paid(self, u: Tensor, t: int) -> Tensor:
        return (u < self._means).to(torch.float64)
