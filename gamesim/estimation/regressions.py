"""Regressions of where agents go and what they earn on features of the aggregate, one for each state and action.

    min_theta  1/2 sum_k w_k sum_{moves at k} |one-hot(t) - phi(z_k) theta|^2  +  lam |theta|^2 / 2
    min_rho    sum_k sum_{moves at k} (reward - phi(z_k) rho)^2  +  lam |rho|^2

The intercept is not penalised. Both need the data only through the moments of phi with the counts. Their least value
is minus the log-likelihood up to a constant, with rewards as Gaussian: half the first, and half N log of the second.

Zhang, Tan, Wang and Yang, arXiv 2310.17531, section 4 (kernel mean embedding of state, action and population, here with
delta functions on states and actions).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from gamesim.estimation.features import Features
from gamesim.estimation.lawful import lawful_rows
from gamesim.estimation.observed import Observed
from gamesim.estimation.responses import Regressed, Response
from gamesim.estimation.ridge import Moments, RidgeFit, solve_ridge, squared_error, validation_error

PENALTIES = torch.logspace(-8, 0, 17, dtype=torch.float64)
"""What cross-validation tries."""
TINY = 1e-9
"""A penalty that keeps a system solvable where features coincide."""


class Fit(NamedTuple):
    """A response, and minus the log-likelihood of the data under it, [...], up to a constant.

    Its slope in the aggregates is that with the response held fixed: at the best response that is all of it (envelope
    theorem).
    """

    response: Response
    misfit: Tensor


def move_moments(seen: Observed, phi: Tensor) -> Moments:
    """Of the one-hot next states, a system for each (s, a): gram[..., s, a, d, d], moment[..., s, a, d, t]."""
    moment = (phi.mT @ seen.weighted_moves.flatten(-3)).unflatten(-1, seen.moves.shape[-3:]).movedim(-4, -2)
    return Moments(_gram(seen.weighted_visits, phi), moment, seen.weighted_moves.sum(-4), seen.weighted_visits.sum(-3))


def pay_moments(seen: Observed, phi: Tensor) -> Moments:
    """Of the rewards, in the same way, with one target."""
    moment = (phi.mT @ seen.earned.flatten(-2)).unflatten(-1, seen.earned.shape[-2:]).movedim(-3, -1)
    return Moments(_gram(seen.visits, phi), moment[..., None], seen.squared.sum(-3)[..., None], seen.visits.sum(-3))


def _gram(visits: Tensor, phi: Tensor) -> Tensor:
    """sum_k visits(k, s, a) phi(k) phi(k)', [..., s, a, d, d]."""
    squares = (phi[..., :, None] * phi[..., None, :]).flatten(-2)  # [..., k, dd]
    flat: Tensor = visits.flatten(-2).mT @ squares
    gram: Tensor = flat.unflatten(-2, visits.shape[-2:]).unflatten(-1, phi.shape[-1:] * 2)
    return gram


def regress(
    features: Features, seen: Observed, z: Tensor, penalty: float, reward_penalty: float, lawful: bool = False
) -> Fit:
    """Both regressions, with penalties beside the mean squares. A pair never seen goes anywhere alike, for nothing.

    With `lawful` the features must be 1 and z, and P is a mixture: a law wherever z >= 0 sums to at most one.
    """
    phi = features(z)
    moves, pays = move_moments(seen, phi), pay_moments(seen, phi)
    with torch.no_grad():
        theta = mixture(moves) if lawful else ridge(moves, penalty).coefficients
        rho = ridge(pays, reward_penalty).coefficients
    lost = penalised_error(moves, theta, penalty).sum((-2, -1)) / 2
    if seen.rewards_tell:
        paid = penalised_error(pays, rho, reward_penalty).sum((-2, -1)) + seen.reward_noise
        lost = lost + 0.5 * seen.total * (paid / seen.total).log()
    anywhere = torch.zeros_like(theta)
    anywhere[..., 0, :] = 1 / theta.shape[-1]
    unseen = (moves.weight == 0)[..., None, None]
    rho = torch.cat([rho[..., :1, 0] + seen.level[..., None], rho[..., 1:, 0]], -1)
    return Fit(Regressed(features, torch.where(unseen, anywhere, theta), rho), lost)


def ridge(moments: Moments, penalty: float) -> RidgeFit:
    return solve_ridge(moments, (penalty + TINY) * moments.weight)


def penalised_error(moments: Moments, theta: Tensor, penalty: float) -> Tensor:
    """What `ridge` makes least, [...]."""
    slopes = theta[..., 1:, :].square().sum((-2, -1))
    return squared_error(moments, theta) + (penalty + TINY) * moments.weight * slopes


def mixture(moments: Moments) -> Tensor:
    """P = M_0 + sum_s' z(s') (M_s' - M_0) with every row of every M a law; outcomes never seen have probability 0."""
    outcomes = moments.energy.reshape(-1, *moments.energy.shape[-3:]).sum(0) > 0  # [s, a, t]
    most = int(outcomes.sum(-1).max().clamp(min=1))
    which = outcomes.double().topk(most, -1).indices[..., None, :]  # [s, a, 1, most]
    one = torch.eye(moments.gram.shape[-1]).to(moments.gram)
    corners = one.clone()  # from the laws M_0, M_1, ... to the coefficients of 1 and z
    corners[1:, 0] = -1
    weight = moments.weight.clamp(min=1e-300)[..., None, None]
    gram, moment = corners.mT @ (moments.gram / weight) @ corners, corners.mT @ (moments.moment / weight)
    which = which.expand(*moment.shape[:-1], most)
    found = torch.zeros_like(moment).scatter(-1, which, lawful_rows(gram + TINY * one, moment.gather(-1, which)))
    found = found * (outcomes | ~outcomes.any(-1, keepdim=True))[..., None, :]  # TINY puts some there
    coefficients: Tensor = corners @ (found / found.sum(-1, keepdim=True))
    return coefficients


def conditions(features: Features, seen: Observed, z: Tensor) -> Tensor:
    """Condition numbers of the regressions, [..., s, a]: infinite where nothing was seen."""
    return ridge(move_moments(seen, features(z)), 0.0).condition


def cross_validated(folds: Moments) -> float:
    """The penalty of least squared error on the folds left out: moments of each, [f, s, a]."""
    tried = (PENALTIES.to(folds.weight) + TINY)[:, None, None] * folds.pooled().weight
    return float(PENALTIES[int(validation_error(folds, tried).sum((-2, -1)).argmin())])
