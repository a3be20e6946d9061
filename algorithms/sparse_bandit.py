"""Sparse regression in doubling epochs, for linear bandits whose rewards come of a few earlier choices.

Choices are random in the first 2 h rounds, and in round t later with probability min(1, exploration / sqrt t);
otherwise the context of the greatest <x, phi> is chosen. After 2 h, 4 h, 8 h, ... rounds rewards are regressed on the
choices made i rounds before, for all lags i < h,

    y_t ~ sum_{i in S} <x_{t-i}, phi_i>

and phi = sum_{i in S} phi_i, since a choice pays at all its lags. S is found by orthogonal matching pursuit on blocks
of d numbers: the lag that alone explains most of the residual is added as long as n log(RSS / n) + |S| d log n falls.
The phi_i on S are by ridge regression. Correlations with all lags are one Fourier transform.

The problem and the regret sqrt(s d T) that sparsity allows: Qin, Li, Pasqualetti, Fazel and Oymak, "Stochastic
contextual bandits with long horizon rewards", AAAI 2023, arXiv 2302.00814. The schedule of epochs and the search for S
are ours. For comparison `lags` may be `present`, the linear bandit that knows of no lags, or `none`, chance alone.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.game import Policy
from gamesim.games.lagged import LaggedBandit, over_rounds
from gamesim.parameters import Count, NonNegative, Positive, check
from gamesim.randomness import Stream

AT_ONCE = 2**24
"""Numbers worked on at once: beyond it rounds are taken in pieces, and so are runs."""


@dataclass(frozen=True)
class History:
    """What was chosen and paid; rounds to come are zeros."""

    policy: Policy
    """A tuple of phi[..., d]."""
    chosen: Tensor
    """x[..., t, d]."""
    rewards: Tensor
    """y[..., t]."""
    support: Tensor
    """1 at the lags in S, [..., h]."""
    regret: Tensor
    """What the choices lost so far, [...], on average over noise."""

    @property
    def metrics(self) -> dict[str, Tensor]:
        return {"regret": self.regret, "support": self.support.sum(-1)}


@dataclass(frozen=True)
class SparseBandit:
    """Learn at which few lags choices pay, and choose by the sum."""

    exploration: NonNegative = 5.0
    """Of the probability exploration / sqrt(t) of a random choice in round t."""
    ridge: Positive = 1.0
    """Weight of the ridge on the found lags."""
    first: Count | None = None
    """Rounds of the first epoch, all random; none: 2 h."""
    most: Count = 10
    """Lags that may be found, at most."""
    lags: Literal["sparse", "present", "none"] = "sparse"
    """Search for them, believe in the present one alone, or learn nothing."""

    requires: ClassVar[Any] = LaggedBandit

    def __post_init__(self) -> None:
        check(self)

    def init(self, game: LaggedBandit) -> History:
        (phi,) = game.start()
        chosen = phi.new_zeros(*phi.shape[:-1], game.rounds, phi.shape[-1])
        return History((phi,), chosen, chosen[..., 0], torch.zeros_like(game.weights), chosen[..., 0, 0])

    def step(self, t: int, game: LaggedBandit, state: History, generator: Stream) -> History:
        return self.leap(t, t + 1, game, state, generator)[0]

    def leap(self, t: int, until: int, game: LaggedBandit, state: History, generator: Stream) -> tuple[History, int]:
        """An epoch at a time: between its ends nothing is learned, so its rounds are one batch."""
        if until > game.rounds:
            raise refuse("iterations", until, f"at most the {game.rounds} rounds of the game; raise its `rounds`")
        (phi,), support, regret = state.policy, state.support, state.regret
        chosen, rewards = state.chosen.clone(), state.rewards.clone()  # filled in place, and nobody else's
        while t < until:
            epoch = self._epoch_end(t, game)
            end = min(epoch, until, t + max(1, AT_ONCE // (phi.numel() * game.contexts)))
            contexts, noise = game.shown(generator, t, end - t, phi.shape[:-1])
            x = self._choose(phi, contexts, t, game, generator)
            chosen[..., t:end, :] = x
            rewards[..., t:end] = game.paid(chosen[..., :end, :], t) + noise
            gains = (contexts * game.best[..., None, None, :]).sum(-1).amax(-1) - (x * game.best[..., None, :]).sum(-1)
            regret = torch.cat([regret[..., None], gains.expand(rewards[..., t:end].shape)], -1).cumsum(-1)[..., -1]
            t = end
            if t == epoch and self.lags != "none":
                phi, support = self._learn(chosen[..., :t, :], rewards[..., :t], game.weights.shape[-1])
        return History((phi,), chosen, rewards, support, regret), until

    def _epoch_end(self, t: int, game: LaggedBandit) -> int:
        """The first of `first` 1, 2, 4, 8, ... that is above t."""
        first = self.first or 2 * game.weights.shape[-1]
        return first if t < first else first * 2 ** (int(math.log2(t // first)) + 1)

    def _choose(self, phi: Tensor, contexts: Tensor, t: int, game: LaggedBandit, generator: Stream) -> Tensor:
        """x[..., t, d]: the greatest <x, phi>, or any."""
        count, arms = contexts.shape[-3], contexts.shape[-2]
        u = over_rounds(generator, t, count, phi.shape[:-1], 2, draw=1)
        at = torch.arange(t + 1, t + count + 1, dtype=phi.dtype, device=phi.device)
        first = self.first or 2 * game.weights.shape[-1]
        random = (u[..., 0] < self.exploration / at.sqrt()) | (at <= first) | (self.lags == "none")
        greedy = (contexts * phi[..., None, None, :]).sum(-1).argmax(-1)
        arm = torch.where(random, (u[..., 1] * arms).long(), greedy)[..., None, None]
        batch = arm.shape[:-3]
        index = arm.expand(*batch, count, 1, contexts.shape[-1])
        return contexts.expand(*batch, *contexts.shape[-3:]).gather(-2, index).squeeze(-2)

    def _learn(self, x: Tensor, y: Tensor, horizon: int) -> tuple[Tensor, Tensor]:
        """phi[..., d] and the support[..., h] from x[..., t, d] and y[..., t]."""
        batch, (n, d) = y.shape[:-1], x.shape[-2:]
        x, y = x.reshape(-1, n, d), y.reshape(-1, n)
        each = max(1, AT_ONCE // (n * d * max(d, self.most)))
        parts = [self._found(*part, horizon) for part in zip(x.split(each), y.split(each), strict=True)]
        phi, support = (torch.cat(part) for part in zip(*parts, strict=True))
        return phi.reshape(*batch, d), support.reshape(*batch, horizon)

    def _found(self, x: Tensor, y: Tensor, horizon: int) -> tuple[Tensor, Tensor]:
        if self.lags == "sparse":
            lags, kept = pursue(x, y, horizon, self.most)
        else:
            lags, kept = torch.zeros_like(y[:, :1], dtype=torch.long), torch.ones_like(y[:, :1])
        blocks, _ = regress(x, y, lags, kept, self.ridge)
        support = y.new_zeros(len(y), horizon).scatter_add(-1, lags, kept)
        return blocks.sum(-2), support


def pursue(x: Tensor, y: Tensor, horizon: int, most: int) -> tuple[Tensor, Tensor]:
    """Orthogonal matching pursuit on lags, for x[b, t, d] and y[b, t]: lags[b, k], and kept[b, k], 0 after the last."""
    (batch, n, d), most = x.shape, min(most, horizon, max(1, (y.shape[-1] - 1) // x.shape[-1]))
    squares = (x[..., :, None] * x[..., None, :]).cumsum(1)  # lag i is regressed on the choices of rounds 0..n-1-i
    last = (n - 1 - torch.arange(min(horizon, n), device=x.device)).clamp(min=0)
    grams = squares[:, last] + 1e-9 * torch.eye(d).to(x)
    lags, kept = torch.zeros(batch, 0, dtype=torch.long, device=x.device), y.new_zeros(batch, 0)
    residual, going = y, torch.ones(batch, dtype=torch.bool, device=x.device)
    least = 1e-20 * y.square().sum(-1) + 1e-300  # without noise a perfect fit ends the search
    criterion = n * (y.square().sum(-1).clamp(min=1e-300) / n).log()
    for size in range(1, most + 1):
        c = correlate(residual, x, len(last))
        gain = (c * torch.linalg.solve(grams, c)).sum(-1)
        gain = gain.scatter(-1, lags, -math.inf)
        tried = torch.cat([lags, gain.argmax(-1, keepdim=True)], -1)
        with_it = torch.cat([kept, going[:, None].to(y.dtype)], -1)
        _, left = regress(x, y, tried, with_it, 1e-9)
        found = n * (left.square().sum(-1).clamp(min=least) / n).log() + size * d * math.log(n)
        going = going & (found < criterion)
        criterion, residual = torch.where(going, found, criterion), torch.where(going[:, None], left, residual)
        lags, kept = tried, torch.cat([kept, going[:, None].to(y.dtype)], -1)
        if not bool(going.any()):
            break
    return lags, kept


def correlate(r: Tensor, x: Tensor, horizon: int) -> Tensor:
    """sum_t r_t x_{t-i} for i < h, [b, h, d], of r[b, t] and x[b, t, d]."""
    size = 1 << (2 * r.shape[-1] - 1).bit_length()
    product = torch.fft.rfft(r, size)[..., None] * torch.fft.rfft(x, size, dim=1).conj()
    found: Tensor = torch.fft.irfft(product, size, dim=1)
    return found[:, :horizon]


def regress(x: Tensor, y: Tensor, lags: Tensor, kept: Tensor, ridge: float | Tensor) -> tuple[Tensor, Tensor]:
    """Ridge regression of y[b, t] on x_{t - lags[b, k]} where kept[b, k] is 1: phi[b, k, d], and what is left[b, t]."""
    (batch, n, d), k = x.shape, lags.shape[-1]
    at = torch.arange(n, device=x.device)[None, :, None] - lags[:, None, :]
    index = at.clamp(min=0).reshape(batch, n * k, 1).expand(-1, -1, d)
    rows = x.gather(1, index).reshape(batch, n, k, d) * ((at >= 0) * kept[:, None, :])[..., None]
    rows = rows.reshape(batch, n, k * d)
    gram = rows.mT @ rows + ridge * torch.eye(k * d).to(x)
    phi = torch.linalg.solve(gram, (rows.mT @ y[..., None]))
    return phi.reshape(batch, k, d), y - (rows @ phi).squeeze(-1)
