"""What one layer of linear attention can do at best on linear regression in context, in closed form.

    prompt   x_1, y_1, ..., x_n, y_n, x:   y_i = <beta, x_i> + noise,   x ~ N(0, S),   beta ~ N(0, B),   variance s2
    predict  <x, W X^T y>                      attention without softmax; one step of preconditioned gradient descent

With M = tr(B S) + s2 and K(W) = n (n + 1) S B S + n M S the risk is exact for any W,

    L(W) = M - 2 n tr(S W S B) + tr(S W K W^T)                                                              (risk)
    W*   = n B S K^-1,   L* = M - n sum_(i <= r) lambda_i^2 / ((n + 1) lambda_i + M)                     (optimum)

lambda_i are the eigenvalues of S^(1/2) B S^(1/2), largest first, and r is the rank of W. With S = B = I,
L* = d + s2 - n d / (n + d + 1 + s2).

Retrieved examples, x_i = a x + sqrt(1 - a^2) g_i: the best W is w I, and L(w) is a quadratic with exact moments
(`retrieved`); the literature's L = d + s2 - k n d / (k n + d + s2), k = a^2 d + 1, is an approximation of it.

Weights omega_i of the examples, as a gated convolution (H3) has them, with tasks beta_i whose correlations are
C_ij = E beta_i beta_j and c_i = E beta_i beta of unit variance, and noise s_i: the best ones solve
(C + diag((d + 1) C_ii + s_i)) omega = c, and L* = d + s2 - d <c, omega> (`weighted`).

Li, Rawat and Oymak, "Fine-grained analysis of in-context linear estimation: data, architecture, and beyond", NeurIPS
2024, arXiv 2407.10005; the exact risks of retrieved and weighted examples are derived here, and tested by simulation.
"""

import torch
from torch import Tensor

from gamesim.errors import refuse


def optimal_risk(eigenvalues: Tensor, examples: int, noise: float, rank: int | None = None) -> Tensor:
    """L* for the eigenvalues[..., d] of S^(1/2) B S^(1/2), at most `rank` of which W may use."""
    _check(examples, noise)
    lam = eigenvalues.sort(-1, descending=True).values
    total = lam.sum(-1) + noise
    gained = lam.square() / ((examples + 1) * lam + total[..., None])
    return total - examples * gained[..., :rank].sum(-1)


def optimal_weights(inputs: Tensor, tasks: Tensor, examples: int, noise: float, rank: int | None = None) -> Tensor:
    """W*[..., d, d] for the covariances S of inputs and B of tasks, [..., d, d] each, S of full rank."""
    _check(examples, noise)
    value, vector = torch.linalg.eigh(inputs)
    if bool((value <= 0).any()):
        raise refuse("inputs", float(value.min()), "a covariance of full rank: eigenvalues above 0")
    root = vector * value.sqrt()[..., None, :] @ vector.mT
    back = vector / value.sqrt()[..., None, :] @ vector.mT
    lam, basis = torch.linalg.eigh(root @ tasks @ root)
    total = lam.sum(-1, keepdim=True) + noise
    used = lam / ((examples + 1) * lam + total)
    if rank is not None:
        used[..., : lam.shape[-1] - rank] = 0.0
    found: Tensor = back @ (basis * used[..., None, :] @ basis.mT) @ back
    return found


def risk(weights: Tensor, inputs: Tensor, tasks: Tensor, examples: int, noise: float) -> Tensor:
    """L(W) of weights[..., d, d], exactly."""
    _check(examples, noise)
    n, mean = examples, _trace(tasks @ inputs) + noise
    second = n * (n + 1) * inputs @ tasks @ inputs + (n * mean)[..., None, None] * inputs
    return mean - 2 * n * _trace(inputs @ weights @ inputs @ tasks) + _trace(inputs @ weights @ second @ weights.mT)


def retrieved(d: int, examples: int, noise: float, relevance: float) -> tuple[float, float]:
    """The best w and the risk of W = w I for S = B = I and examples of correlation `relevance` with the query."""
    _check(examples, noise)
    if not -1 <= relevance <= 1:
        raise refuse("relevance", relevance, "a correlation, -1 to 1")
    n, a2 = examples, relevance**2
    c2 = 1 - a2
    m1, m2, m3 = d, d * (d + 2), d * (d + 2) * (d + 4)  # moments of |x|^2
    hit = a2 * m2 + c2 * m1  # E <x, x_i>^2
    pairs = a2**2 * m3 + 2 * a2 * c2 * m2 + c2**2 * m1  # E <x, x_i> <x_i, x_j> <x_j, x>
    alone = a2**2 * m3 + 6 * a2 * c2 * m2 + 3 * c2**2 * m1 + c2 * (d - 1) * (a2 * m2 + c2 * m1)  # E <x, x_i>^2 |x_i|^2
    first, second = n * hit, n * (n - 1) * pairs + n * alone + noise * n * hit
    return first / second, d + noise - first**2 / second


def retrieved_roughly(d: int, examples: int, noise: float, relevance: float) -> float:
    """The approximation in the literature."""
    many = (relevance**2 * d + 1) * examples
    return d + noise - many * d / (many + d + noise)


def weighted(d: int, noise: Tensor, query: Tensor, among: Tensor, noise_of_query: float) -> tuple[Tensor, Tensor]:
    """The best omega[..., n] and the risk for S = I: noise[..., n], c = query[..., n], C = among[..., n, n]."""
    own = (d + 1) * among.diagonal(dim1=-2, dim2=-1) + noise
    omega = torch.linalg.solve(among + torch.diag_embed(own), query)
    return omega, d + noise_of_query - d * (query * omega).sum(-1)


def alike(d: int, noise: Tensor, query: Tensor, among: Tensor, noise_of_query: float) -> Tensor:
    """The risk where all examples have the same, best, weight: what attention without a convolution reaches."""
    own = (d + 1) * among.diagonal(dim1=-2, dim2=-1) + noise
    return d + noise_of_query - d * query.sum(-1) ** 2 / (among.sum((-2, -1)) + own.sum(-1))


def _trace(x: Tensor) -> Tensor:
    return x.diagonal(dim1=-2, dim2=-1).sum(-1)


def _check(examples: int, noise: float) -> None:
    if examples < 1:
        raise refuse("examples", examples, "a whole number of at least 1")
    if noise < 0:
        raise refuse("noise", noise, "a variance of at least 0")
