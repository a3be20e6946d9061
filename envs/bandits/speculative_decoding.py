"""Speculative decoding: which draft to use, when each round is paid by the tokens that the target model accepts.

Arm i (a draft model, a tree shape, a length) proposes L tokens, each accepted with probability p_i if those before it
were; the target model adds one token of its own. The number of tokens of a round is a truncated geometric variable,

    P(Y = x) = p^{x-1} (1 - p),  x = 1..L,    P(Y = L + 1) = p^L,    E[Y] = (1 - p^{L+1}) / (1 - p)

What is generated has the same law whatever the arms, so only the number of rounds matters: ST, when `tokens` are there.
Since 1 <= Y <= L + 1, tokens / (L + 1) <= ST <= tokens.

    stationary    p_i(t) = rates_i
    drifting      logit p_i(t) = logit rates_i + amplitude sin(2 pi (t / period + i / K))
    piecewise     p_i(t) = rates_{(i + floor(t / period)) mod K}: every `period` rounds each arm becomes as the next one

Arms and truncated lengths: Hou et al., "BanditSpec", ICML 2025, arXiv 2505.15141. The two that change are ours.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, final

import numpy as np
import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.bandit import BanditGame, as_arms
from gamesim.parameters import Bounds, Count, Fraction, NonNegative, check

Tokens = Annotated[float | Tensor, Bounds("a number from 1 to 1e9", 1, 1e9)]
Length = Annotated[int, Bounds("a whole number from 1 to 1,000", 1, 1000)]
SAMPLED = 4096
"""Rounds of a period, at most, that the mean over time is taken of."""


@final
@dataclass(frozen=True, kw_only=True)
class SpeculativeDecoding(BanditGame):
    """Drafts that are accepted more or less often."""

    rates: tuple[Fraction, ...] | Tensor = (0.2, 0.5, 0.7, 0.85)
    """p_i: how often each arm's next token is accepted; in Python also a tensor [..., a]: a batch of games."""
    length: Length = 4
    """L: tokens of a draft."""
    tokens: Tokens = 10_000.0
    """How many are to be generated; a run ends there."""
    drift: Literal["stationary", "drifting", "piecewise"] = "stationary"
    """How the rates change with time."""
    period: Count = 1000
    """Rounds of a whole oscillation, or between two changes."""
    amplitude: NonNegative = 1.0
    """How far drifting rates go, in logits."""

    def __post_init__(self) -> None:
        check(self)
        as_arms(self.rates, Fraction, "rates")

    @property
    def bounds(self) -> tuple[float, float]:
        return 1.0, self.length + 1.0

    @property
    def stationary(self) -> bool:
        return self.drift == "stationary"

    @property
    def goal(self) -> float | Tensor:
        return self.tokens

    @cached_property
    def _rates(self) -> Tensor:
        return as_arms(self.rates, Fraction, "rates")

    @cached_property
    def _first_means(self) -> Tensor:
        return mean_length(self._rates, self.length)

    def rates_at(self, t: int) -> Tensor:
        """p_i(t)[..., a]."""
        if self.drift == "stationary":
            return self._rates
        arms = self._rates.shape[-1]
        if self.drift == "piecewise":
            return self._rates.roll(-((t // self.period) % arms), -1)
        phase = (t % self.period) / self.period + torch.arange(arms, dtype=torch.float64) / arms
        return torch.sigmoid(torch.logit(self._rates) + self.amplitude * torch.sin(2 * math.pi * phase))

    def mean_rewards(self, t: int) -> Tensor:
        return self._first_means if self.drift == "stationary" else mean_length(self.rates_at(t), self.length)

    @cached_property
    def _lasting(self) -> Tensor:
        if self.drift == "piecewise":
            return self._first_means.mean(-1, keepdim=True).expand(self._first_means.shape)
        step = math.ceil(self.period / SAMPLED)
        return torch.stack([self.mean_rewards(t) for t in range(0, self.period, step)]).mean(0)

    @property
    def lasting_rewards(self) -> Tensor:
        return self._first_means if self.drift == "stationary" else self._lasting

    def paid(self, u: Tensor, t: int) -> Tensor:
        return truncated_geometric(u, self.rates_at(t), self.length)

    def expected_rounds(self, tokens: int) -> Tensor:
        """E[ST] of each arm pulled always, [a], for arms that stay.

        By the renewal equation m(n) = 1 + sum_x P(Y = x) m(n - x), with m(n) = 0 for n <= 0.
        """
        from scipy.signal import lfilter

        if not self.stationary or self._rates.dim() > 1:
            what = self.drift if not self.stationary else f"rates of shape {list(self._rates.shape)}"
            raise refuse("game", what, "one stationary game; play the others with fixed-policy")
        found = []
        for p in self._rates.tolist():
            law = [p ** (x - 1) * (1 - p) for x in range(1, self.length + 1)] + [p**self.length]
            found.append(float(lfilter([1.0], [1.0, *(-q for q in law)], np.ones(tokens))[-1]))
        return torch.tensor(found, dtype=torch.float64)


def mean_length(rates: Tensor, length: int) -> Tensor:
    """(1 - p^{L+1}) / (1 - p) = 1 + p + ... + p^L, of rates p[...]."""
    total = torch.ones_like(rates)
    for _ in range(length):
        total = 1 + rates * total
    return total


def truncated_geometric(u: Tensor, rates: Tensor, length: int) -> Tensor:
    """The lengths 1..L+1 with P(Y > x) = p^x, of uniform numbers u[..., a] and rates p[..., a].

    >>> truncated_geometric(torch.tensor([0.9, 0.4, 0.2, 0.01]), torch.tensor(0.5), 3)
    tensor([1., 2., 3., 4.])
    """
    drawn: Tensor = 1 + (u.log() / rates.log()).floor()
    return drawn.clamp(max=length + 1)
