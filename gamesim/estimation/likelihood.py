"""How probable what agents did is under a response: moves by its laws, rewards as Gaussian with the variance it leaves.

    log L = sum_moves log P(t | s, a, z) - (1 / 2) sum_moves (reward - r(s, a, z))^2 / v,    v the mean of these squares

What a response thinks impossible has probability 1e-9, and v is not below a small share of the rewards' variance.
"""

import torch
from torch import Tensor

from gamesim.estimation.counts import Counts
from gamesim.estimation.observed import least_squares
from gamesim.estimation.responses import Response
from gamesim.simplex import project

LEAST = 1e-9
"""Probability of what a response thinks impossible."""


def log_likelihoods(response: Response, z: Tensor, counts: Counts) -> Tensor:
    """log L of each agent at each place: z[..., h, l, s] of places l -> [..., n, l]; v is that of their best places."""
    law = project(response.transition(0, z.flatten(-3, -2))).clamp(min=LEAST)  # [..., hl, s, a, t]
    places = z.shape[-3:-1]
    log_law = law.unflatten(-4, places).log().flatten(-3).mT  # [..., h, sat, l]
    found = (counts.moves.flatten(2) @ log_law).sum(-3)
    r = (response.reward(0, z.flatten(-3, -2)) - counts.level).unflatten(-3, places).flatten(-2).mT  # [..., h, sa, l]
    visits, earned, squared = counts.visits.flatten(2), counts.earned.flatten(2), counts.squared.sum((0, 2, 3))
    missed = squared[:, None] + (visits @ r**2 - 2 * earned @ r).sum(-3)  # [..., n, l]
    likelihoods: Tensor = found - missed / (2 * _variance(missed.amin(-1).sum(-1), counts))[..., None, None]
    return likelihoods


def log_likelihood(response: Response, z: Tensor, counts: Counts) -> Tensor:
    """log L of all agents, at z[..., k, s] with k = (h, n): [...]; with the normalisation of the Gaussian."""
    places = counts.moves.shape[-5:-3]
    law = project(response.transition(0, z)).clamp(min=LEAST).unflatten(-4, places)
    r = (response.reward(0, z) - counts.level).unflatten(-3, places)
    every = tuple(range(-4, 0))
    missed = (counts.squared - 2 * r * counts.earned + counts.visits * r**2).sum(every)
    moved = (counts.moves * law.log()).sum((-5, *every))
    likelihood: Tensor = moved - 0.5 * counts.total * (1 + (2 * torch.pi * _variance(missed, counts)).log())
    return likelihood


def _variance(missed: Tensor, counts: Counts) -> Tensor:
    """v from the sum of squares that a response leaves, [...]."""
    least = least_squares(counts.visits.sum((-4, -3)), counts.squared.sum((-4, -3)), counts.level)
    return (missed.clamp(min=0) + least) / counts.total
