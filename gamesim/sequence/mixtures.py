"""Prompts whose examples come of several concepts: which share has each, for two kinds of Bayesians.

Example i has a concept z_i of its own, drawn by shares pi, and says P(r_i | c_i, z_i) = l_i(z_i) of it. Who believes in
one concept for all holds a posterior P(z | S) that becomes a point mass on the concept with the largest likelihood,
however mixed the examples are. Who believes in a mixed population, pi ~ Dirichlet(alpha), learns the shares:

    P(pi | S) ~ prod_z pi_z^(alpha_z - 1) prod_i sum_z pi_z l_i(z) = sum_m w_m prod_z pi_z^(m_z + alpha_z - 1)

where m counts the examples of each concept and w_m sums over all ways to count so. Each term is a Dirichlet, so that

    E[pi_z | S] = sum_m v_m (m_z + alpha_z) / (n + sum alpha),    v_m ~ w_m prod_z Gamma(m_z + alpha_z),

exactly, in as many terms as there are counts m. The next answer is then sum_z E[pi_z | S] P(r | c, z).

Task superposition is that prompted models do the second: Xiong et al., "Everything everywhere all at once: LLMs can
in-context learn multiple tasks in superposition", arXiv 2410.05603.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from gamesim.errors import refuse

MOST = 10**6
"""Counts of examples that are held for one prompt, at most."""


def shares(log_likelihoods: Tensor, concentration: Tensor) -> Tensor:
    """E[pi | S], [..., z], of log P(r_i | c_i, z)[..., i, z] and alpha[z]."""
    *batch, n, k = log_likelihoods.shape
    if concentration.shape != (k,) or not bool((concentration > 0).all()):
        raise refuse("concentration", concentration.tolist(), f"a number above 0 for each of {k} concepts")
    terms = (n + 1) ** (k - 1)
    if terms > MOST:
        raise refuse("log_likelihoods", f"{n} examples of {k} concepts", f"at most {MOST:,} counts, (n + 1)^(z - 1)")
    likelihoods = (log_likelihoods - log_likelihoods.amax(-1, keepdim=True)).exp().reshape(math.prod(batch), n, k)
    counts = torch.cartesian_prod(*[torch.arange(n + 1)] * max(k - 1, 1)).reshape(terms, -1)[:, : k - 1]
    counts = torch.cat([counts, n - counts.sum(-1, keepdim=True)], -1)  # m[term, z]; impossible ones below 0
    possible = counts[:, -1] >= 0
    chances = torch.lgamma(counts[possible] + concentration).sum(-1)
    means = (counts[possible] + concentration) / (n + concentration.sum())
    found = [
        torch.softmax(_weights(part).reshape(len(part), -1)[:, possible].log() + chances, -1) @ means
        for part in likelihoods.split(max(1, 4 * MOST // terms))
    ]
    return torch.cat(found).reshape(*batch, k)


def _weights(likelihoods: Tensor) -> Tensor:
    """w_m up to a factor, by the counts of all concepts but the last, of likelihoods[b, i, z]: [b, m_1, m_2, ...]."""
    batch, n, k = likelihoods.shape
    weights = likelihoods.new_ones(batch, *[1] * (k - 1))
    for i in range(n):
        each = likelihoods[:, i].reshape(batch, k, *[1] * (k - 1))
        grown = pad(weights * each[:, k - 1], [0, 1] * (k - 1))
        for z in range(k - 1):  # one more of z; dimensions are padded from the last on
            room = [side for other in reversed(range(k - 1)) for side in ((1, 0) if other == z else (0, 1))]
            grown = grown + pad(weights * each[:, z], room)
        weights = grown / grown.reshape(batch, -1).amax(-1).reshape(batch, *[1] * (k - 1))
    return weights


def proportions(law: Tensor, laws: Tensor) -> Tensor:
    """The shares w that come nearest to law[..., r] ~ sum_z w_z laws[..., z, r], by least squares, sum 1: [..., z].

    No bound below: a share under 0 tells that the law is none of a mixture.
    """
    base = laws[..., -1:, :]
    directions, rest = (laws[..., :-1, :] - base).mT, (law[..., None, :] - base).mT
    found = torch.linalg.lstsq(directions, rest).solution[..., 0]
    return torch.cat([found, 1 - found.sum(-1, keepdim=True)], -1)
