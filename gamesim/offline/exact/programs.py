"""Version spaces of bounded tables as convex programs: exact where the closed form leaves the bounds, and its check.

    minimise    f(S0, pi)
    subject to  sum_{s, a} nu(s, a) (f - r - discount P f(., pi))^2 <= eps,     low <= f <= high

a linear objective, one convex quadratic constraint and bounds; Clarabel through cvxpy, one problem at a time.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.offline.exact.version_space import Least, Visits


def bounded_least(
    data: Visits,
    policy: Tensor,
    initial: Tensor,
    epsilon: float,
    low: float,
    high: float,
    features: Tensor | None = None,
) -> Least:
    """The minimum over tables, or over phi theta for features[s, a, d], that are between low and high everywhere."""
    import cvxpy

    cp: Any = cvxpy  # untyped in parts

    if policy.dim() != 2 or data.counts.dim() != 3:
        raise refuse("policy", f"shape {list(policy.shape)}", "[s, a]: programs are solved one at a time")
    states, actions = policy.shape
    wide = torch.einsum("tb,tc->tbc", torch.eye(states, dtype=policy.dtype), policy).flatten(1)  # f -> f(t, pi)
    law = data.law.reshape(-1, states)
    unknown = cp.Variable(states * actions if features is None else features.shape[-1])
    f = unknown if features is None else features.flatten(0, 1).numpy() @ unknown
    root = data.share.flatten().sqrt().numpy()
    left = cp.multiply(root, f - data.reward.flatten().numpy() - data.discount * ((law @ wide).numpy() @ f))
    if features is not None:  # what no function of the class can explain is not held against it
        basis = np.linalg.qr(root[:, None] * features.flatten(0, 1).numpy())[0]
        left = basis.T @ left
    goal = (initial @ wide).numpy() @ f
    program = cp.Problem(cp.Minimize(goal), [cp.norm(left) <= epsilon**0.5, f >= low, f <= high])
    program.solve(solver=cp.CLARABEL)
    if program.status != cp.OPTIMAL:
        raise refuse(
            "epsilon", epsilon, f"a radius with a function between {low:g} and {high:g} inside: {program.status}"
        )
    found = torch.from_numpy(np.asarray(f.value)).reshape(states, actions)
    misfit = torch.tensor(float(np.square(left.value).sum()), dtype=policy.dtype)
    return Least(torch.tensor(float(program.value), dtype=policy.dtype), found, misfit)
