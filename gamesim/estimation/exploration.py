"""Whether the behaviour that was sampled let the data tell what they are asked: variances against sampling errors.

The law of states mu_h(j) of an agent is a mean over E_j trajectories, with the error (diag(mu) - mu mu') / E_j; so the
aggregate z_h(n) = sum_j w_nj mu_h(j) has the error sum_j w_nj^2 (diag(mu) - mu mu')(h, j) / E_j.
"""

import torch
from torch import Tensor

from gamesim.estimation.projection import Found, Problem, Sample


def exploration(problem: Problem, sample: Sample, best: Found) -> Tensor:
    """The variance of z over places against that of its sampling error, in the directions between them, [s' - 1].

    Ascending; of the s' states that were visited. How z varies along (1, 1, ...) is known without error, and left out.
    """
    flow, z = sample.counts.flow, best.z[0]
    visited = flow.sum((0, 1)) > 0
    flow, z = flow[..., visited], z[:, visited]
    if z.shape[-1] < 2:
        return z.new_zeros(0)
    each = sample.counts.visits.sum((-2, -1))  # [h, n]: trajectories
    share = problem.influence(best.free, sample)[0].square().mean(0) / each.clamp(min=1)
    second = flow.mT @ (share[..., None] * flow)
    noise = torch.diag((share[..., None] * flow).sum((0, 1))) - second.sum(0)
    spread = z - z.mean(0)
    total = spread.mT @ spread / len(z)
    across = torch.linalg.svd(torch.ones(1, z.shape[-1]).to(z)).Vh[1:]  # directions that sum to zero
    noise, total = across @ (noise / len(flow)) @ across.mT, across @ total @ across.mT
    value, vector = torch.linalg.eigh(noise)
    root = vector / value.clamp(min=1e-12 * float(value.amax().clamp(min=1e-300))).sqrt()
    ratios: Tensor = torch.linalg.eigvalsh(root.mT @ total @ root)
    return ratios


def difference(sample: Sample) -> float:
    """The variance of agents' laws of states around their mean at each step, in units of that of its sampling error."""
    flow, each = sample.counts.flow, sample.counts.visits.sum((-2, -1))  # [h, n, s] and trajectories, [h, n]
    pooled = (flow * each[..., None]).sum(1, keepdim=True) / each.sum(1)[:, None, None]
    kept = pooled > 0
    squares = torch.where(kept, (flow - pooled) ** 2 / torch.where(kept, pooled, 1.0), 0.0) * each[..., None]
    freedom = (kept.sum(-1) - 1).clamp(min=0).sum() * (flow.shape[1] - 1)
    return float(squares.sum() / freedom) if freedom else 0.0
