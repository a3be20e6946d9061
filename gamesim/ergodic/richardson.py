"""Richardson-Romberg extrapolation: averages at several steps, weighed so that the first powers of the step cancel.

With E_{pi_g} x = x* + g Delta_1 + g^2 Delta_2 + ... and steps g_1, ..., g_m the weights of Lagrange's polynomial at 0,

    sum_k c_k = 1,    sum_k c_k g_k^j = 0 (j = 1, ..., m - 1),        c_k = prod_{j != k} g_j / (g_j - g_k)

leave x* + O(g^m): 2 x_g - x_{2g} for two steps. Chains with common random numbers keep the variance small.

Richardson, Phil. Trans. A 210 (1911); of stochastic gradient chains: Dieuleveut, Durmus and Bach, Annals of Statistics
48 (2020); of variational inequalities: Vlatakis-Gkaragkounis, Giannou, Chen and Xie, AISTATS 2024.
"""

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from gamesim.errors import refuse


def richardson_weights(step_sizes: Sequence[float]) -> list[float]:
    """c for distinct steps above 0, computed exactly and rounded once.

    >>> richardson_weights([1, 2]), richardson_weights([0.5, 1])
    ([2.0, -1.0], [2.0, -1.0])
    """
    steps = list(step_sizes)
    if not steps:
        raise refuse("step_sizes", "none", "at least one number above 0")
    for k, g in enumerate(steps):
        if not 0 < g < float("inf"):
            raise refuse(f"step_sizes[{k}]", g, "a number above 0")
        if g in steps[:k]:
            raise refuse(f"step_sizes[{k}]", g, "steps that differ from one another")
    exact = [Fraction(g) for g in steps]
    weights = []
    for k, own in enumerate(exact):
        c = Fraction(1)
        for j, other in enumerate(exact):
            if j != k:
                c *= other / (other - own)
        weights.append(float(c))
    return weights


def richardson_romberg(averages: Tensor, step_sizes: Sequence[float]) -> Tensor:
    """The extrapolation to step 0 of averages[..., step, d] -> [..., d].

    >>> richardson_romberg(torch.tensor([[1.5], [2.0]]), [0.5, 1.0])
    tensor([1.])
    """
    if averages.dim() < 2 or averages.shape[-2] != len(step_sizes):
        raise refuse("averages", f"shape {tuple(averages.shape)}", f"[..., step, d] with {len(step_sizes)} steps")
    weights = torch.tensor(richardson_weights(step_sizes), dtype=averages.dtype, device=averages.device)
    return (weights[:, None] * averages).sum(-2)
