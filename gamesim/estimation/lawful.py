"""Least squares whose rows are laws: a primal-dual interior point method, batched.

    min_theta  sum_t theta_t' G theta_t / 2 - b_t' theta_t      every row theta[d, :] >= 0, with sum one

With the slacks s of theta >= 0 and the multipliers nu of the sums, G theta_t - b_t - s_t + nu = 0. A Newton step on
theta s = mu falls apart over the columns t: each has the system G + diag(s_t / theta_t), and one more of the same size
joins them. The start (uniform rows) is strictly feasible, so that <theta, s> always is the distance to the optimum.

Mehrotra, SIAM Journal on Optimization 2 (1992); Nocedal and Wright, "Numerical optimization", 2nd ed., chapter 16.6.
"""

import torch
from torch import Tensor

STEPS = 60
SHORT = 0.995
"""Of the way to the boundary that a step may go."""


def lawful_rows(gram: Tensor, moment: Tensor, tolerance: float = 1e-12) -> Tensor:
    """The minimiser[..., d, t] for gram[..., d, d], positive definite, and moment[..., d, t], to within a tolerance.

    The tolerance is of the minimum and relative to the largest entries of the problem. Every entry is above 0.
    """
    if moment.shape[-1] == 1:
        return torch.ones_like(moment)
    b = moment.mT  # [..., t, d]: columns are systems
    law = torch.full_like(b, 1 / b.shape[-2])
    slope = law @ gram - b
    spread = slope.amax(-2, keepdim=True) - slope.amin(-2, keepdim=True)
    scale = (gram.abs().amax((-2, -1)) + b.abs().amax((-2, -1))).clamp(min=1e-300)
    slack = slope - slope.amin(-2, keepdim=True) + spread + 1e-3 * scale[..., None, None]
    for _ in range(STEPS):
        gap = (law * slack).sum((-2, -1))
        going = (gap > tolerance * scale)[..., None, None]
        if not bool(going.any()):
            break
        newton = _Newton(gram, law, slack)
        d_law, d_slack = newton.step(-slack)
        reach = _reach(law, d_law, slack, d_slack)
        here = (law * slack).mean((-2, -1), keepdim=True)
        ahead = ((law + reach * d_law) * (slack + reach * d_slack)).mean((-2, -1), keepdim=True)
        centre = (ahead / here) ** 3 * here
        d_law, d_slack = newton.step((centre - d_law * d_slack) / law - slack)
        reach = torch.where(going, SHORT * _reach(law, d_law, slack, d_slack), 0.0)
        law, slack = law + reach * d_law, slack + reach * d_slack
    return (law / law.sum(-2, keepdim=True)).mT


class _Newton:
    """The linear system of one step, factored once."""

    def __init__(self, gram: Tensor, law: Tensor, slack: Tensor) -> None:
        self.ratio = slack / law
        factor = torch.linalg.cholesky(gram.unsqueeze(-3) + torch.diag_embed(self.ratio))
        self.inverse = torch.cholesky_inverse(factor)  # [..., t, d, d]
        self.joint = torch.linalg.cholesky(self.inverse.sum(-3))

    def step(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Changes of the laws and the slacks, [..., t, d], with law d_slack + slack d_law = law target."""
        alone = (self.inverse @ target[..., None])[..., 0]
        nu = torch.cholesky_solve(alone.sum(-2)[..., None], self.joint)  # [..., d, 1]
        d_law = alone - (self.inverse @ nu.unsqueeze(-3))[..., 0]
        return d_law, target - self.ratio * d_law


def _reach(law: Tensor, d_law: Tensor, slack: Tensor, d_slack: Tensor) -> Tensor:
    """The largest step up to 1 that leaves both at 0 or above, [..., 1, 1]."""
    steepest = torch.maximum(
        (-d_law / law).amax((-2, -1), keepdim=True), (-d_slack / slack).amax((-2, -1), keepdim=True)
    )
    return 1 / steepest.clamp(min=1)
