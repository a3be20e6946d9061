"""Action values estimated from sampled play: fitted Q iteration at sampled positions, in a fixed flow.

Zhang, Tan, Wang and Yang, "Learning regularized monotone graphon mean-field games", NeurIPS 2023, arXiv 2310.08089, the
estimation sub-module of Algorithm 1. With the flow mu held fixed, at N sampled positions x, K episodes each under a
behaviour policy that plays every action; then backward for h = H-1, ..., 0, with V_H = 0,

    Q_h = argmin_f  sum_{x, k} ( f(x, s_h, a_h) - r_h - V_{h+1}(x, s_{h+1}) )^2
    V_h(x, s) = sum_a pi_h(a | x, s) [ Q_h(x, s, a) - lam log pi_h(a | x, s) ]

Known rewards are added exactly, and the regression is of the next value alone.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from gamesim.feedback.draws import Counts, nearest
from gamesim.feedback.features import Linear, ridge_regression
from gamesim.games import GraphonGame
from gamesim.simplex import total


class Estimate(NamedTuple):
    """Estimated values and what they rest on."""

    q: Tensor
    """[..., h, k, s, a] on the grid of the game."""
    positions: Tensor
    """x[..., n], the sampled positions, increasing."""
    visits: Tensor
    """How often each pair was played, [..., h, n, s, a]."""

    @property
    def unvisited(self) -> Tensor:
        """The share of (h, n, s, a) that no episode came by, whose values are therefore filled in: [...]."""
        return (self.visits == 0).double().mean((-4, -3, -2, -1))


class Regression(Protocol):
    """(h, visits[..., n, s, a], mean next value[..., n, s, a], V_{h+1}[..., n, s]) -> Q_h at x and on the grid."""

    def __call__(self, h: int, visits: Tensor, mean: Tensor, value: Tensor) -> tuple[Tensor, Tensor]: ...


def fitted_values(
    horizon: int, counts: Counts, policy: Tensor, bonus: Tensor, fit: Regression
) -> tuple[Tensor, Tensor]:
    """The backward iteration: policy[..., h, n, s, a] and lam times its entropy[..., h, n, s] at the sampled positions.

    Returns Q[..., h, k, s, a] on the grid and visits[..., h, n, s, a].
    """
    found, seen = list[Tensor](), list[Tensor]()
    value = torch.zeros_like(bonus.select(-3, 0))
    for h in reversed(range(horizon)):
        moves = counts(h)
        visits = moves.sum(-1)
        mean = (moves * value[..., None, None, :]).sum(-1) / visits.clamp(min=1)
        q, on_grid = fit(h, visits, mean, value)
        value = total(policy.select(-4, h) * q) + bonus.select(-3, h)
        found.append(on_grid)
        seen.append(visits)
    return torch.stack(found[::-1], -4), torch.stack(seen[::-1], -4)


def by_cells(game: GraphonGame, x: Tensor, z: Tensor, known: bool) -> Regression:
    """Empirical means at each sampled position; a position of the grid takes the values of the nearest sampled one.

    Where (s, a) was not visited the next state counts as uniform, as in public code of the paper's lineage; an unknown
    reward there is the mean of those seen at that position and step.
    """
    place = nearest(x, game.grid.positions)[..., None, None]

    def fit(h: int, visits: Tensor, mean: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        reward = _reward(game, h, z, visits)
        if not known:  # a reward is a function of (s, a, z): one visit shows it
            seen = visits > 0
            usual = (reward * visits).sum((-2, -1), keepdim=True) / visits.sum((-2, -1), keepdim=True)
            reward = torch.where(seen, reward, usual)
        q = reward + torch.where(visits > 0, mean, value.mean(-1)[..., None, None])
        return q, torch.take_along_dim(q, place, -3)

    return fit


def by_features(
    game: GraphonGame, x: Tensor, z: Tensor, grid_z: Tensor, known: bool, features: Linear, ridge: float
) -> Regression:
    """Ridge regression on features, all positions together: the values of the grid are f's own.

    The ridge pulls towards the mean target of the step, not towards 0. Known rewards are added exactly, and f is then
    the next value alone.
    """
    (states, actions), grid = game.shape[-2:], game.grid.positions
    phi, phi_grid = features.rows(x, states, actions), features.rows(grid, states, actions)

    def fit(h: int, visits: Tensor, mean: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        target = mean if known else mean + _reward(game, h, z, visits)
        centre = (target * visits).sum((-3, -2, -1), keepdim=True) / visits.sum((-3, -2, -1), keepdim=True)
        w = ridge_regression(phi, features.fold(visits), features.fold(target - centre), ridge)
        q, on_grid = (
            centre + features.unfold((rows @ w[..., None])[..., 0], states, actions) for rows in (phi, phi_grid)
        )
        if known:
            q, on_grid = q + _reward(game, h, z, q), on_grid + _reward(game, h, grid_z, on_grid)
        return q, on_grid

    return fit


def _reward(game: GraphonGame, h: int, z: Tensor, like: Tensor) -> Tensor:
    """r[..., n, s, a] written out, in float64."""
    return game.reward(h, z.select(-3, h)).to(like).expand_as(like)
