"""The probability simplex: every motion of every solver is one of these maps.

Policies move in *scores* y, with policy = softmax(y): a probability that underflows to zero could never return, a
score always can. One kernel serves the whole entropic family (`mirror_step`):

    y' = (y + eta Q) / (1 + eta lam)       p' = argmax_p  eta (<Q, p> + lam H(p)) - KL(p || softmax y)

GMFG-PPO's actor is this step; policy mirror descent is it with eta / (1 - lam eta) in place of eta; lam = 0 gives
online mirror descent; lam = 0, y = 0 and eta = 1/temperature gives a Boltzmann policy.

At the end: a point of the simplex cut to its likeliest part (`nucleus`), and an outcome of it (`drawn`).
"""

import torch
from torch import Tensor

from gamesim.kernels import simplex as fused

Number = float | Tensor
"""A hyper-parameter: one number, or a tensor that broadcasts against the policy (a batch of hyper-parameters)."""

TIE = 1e-9
"""Sums of probabilities that are no further apart than this are alike."""
ROUNDING = 64
"""Units of rounding of a row's largest value by which values of alike actions may differ."""
FEW = 8  # actions: up to here elementwise chains beat torch's reductions along a short last dimension


def lift(parameter: Number, dimensions: int) -> Number:
    """A batched parameter [...] with so many trailing dimensions of size 1; a plain number as it is."""
    if isinstance(parameter, Tensor) and parameter.dim():
        return parameter.reshape(*parameter.shape, *[1] * dimensions)
    return parameter


def per_state(parameter: Number) -> Number:
    """A parameter that broadcasts against policies [..., s, a], made to broadcast against [..., s]."""
    return parameter.squeeze(-1) if isinstance(parameter, Tensor) and parameter.dim() else parameter


def uniform_like(values: Tensor) -> Tensor:
    """The centre of the simplex, shaped like values[..., a]."""
    return torch.full_like(values, 1 / values.shape[-1])


def total(x: Tensor) -> Tensor:
    """sum_a x, [..., a] -> [...]: for a few actions on a CPU a chain of additions, faster than torch's sum."""
    if not 0 < x.shape[-1] <= FEW or x.device.type != "cpu":
        return x.sum(-1)
    first, *rest = x.unbind(-1)
    for part in rest:
        first = first + part
    return first


def softmax(scores: Tensor) -> Tensor:
    """exp(y) / sum_a exp(y) over the last dimension, scores[..., a]."""
    if fused.serves(scores):
        return fused.softmax(scores)
    if not 0 < scores.shape[-1] <= FEW or scores.device.type != "cpu":
        return torch.softmax(scores, dim=-1)
    weights = torch.exp(scores - scores.amax(-1, keepdim=True))
    return weights / total(weights)[..., None]


def log_total_exp(scores: Tensor) -> Tensor:
    """log sum_a exp(y), scores[..., a] -> [...]."""
    if not 0 < scores.shape[-1] <= FEW or scores.device.type != "cpu":
        return torch.logsumexp(scores, -1)
    top = scores.amax(-1)
    return top + total(torch.exp(scores - top[..., None])).log()


def entropy(policy: Tensor) -> Tensor:
    """H(p) = -sum_a p log p with 0 log 0 = 0, in nats: policy[..., a] -> [...]."""
    return total(torch.special.entr(policy))


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) in nats, p[..., a] and q[..., a] -> [...]; infinite where q = 0 < p.

    >>> divergence(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0]))
    tensor(inf)
    """
    ratio = torch.where(p > 0, p.log() - q.log(), torch.zeros_like(p))
    return total(p * ratio).clamp(min=0)


def mirror_step(scores: Tensor, values: Tensor, step_size: Number, temperature: Number = 0.0) -> Tensor:
    """One step of entropic mirror descent on scores[..., a], with action values of the same shape.

    >>> mirror_step(torch.zeros(2), torch.tensor([3.0, 1.0]), step_size=1.0, temperature=1.0)
    tensor([1.5000, 0.5000])
    """
    moved = scores + step_size * values
    if not isinstance(temperature, Tensor) and temperature == 0:
        return moved - moved.amax(-1, keepdim=True)  # only differences matter: keep them from growing for ever
    return moved / (1 + step_size * temperature)


def proximal(policy: Tensor, values: Tensor, step_size: Number, temperature: Number = 0.0) -> Tensor:
    """argmax_p step_size (<values, p> + temperature H(p)) - KL(p || policy), on probabilities [..., a].

    >>> proximal(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 1.0]), step_size=3.0)
    tensor([0.5000, 0.5000])
    """
    return softmax(mirror_step(policy.log(), values, step_size, temperature))


def soft_maximum(values: Tensor, temperature: Number) -> Tensor:
    """max_p <values, p> + temperature H(p): log-sum-exp, or the maximum at temperature 0. values[..., a] -> [...]."""
    if not isinstance(temperature, Tensor) and temperature == 0:
        return values.amax(-1)
    return per_state(temperature) * log_total_exp(values / temperature)


def soft_argmax(values: Tensor, temperature: Number, rounding: float = ROUNDING) -> Tensor:
    """The maximiser of `soft_maximum`, [..., a]: softmax(values / temperature); at 0 uniform over the best actions.

    Actions are as good as the best if so many units of `rounding` are between. Which of two actions that are worth the
    same is larger in the last digit depends on the processor and the order of sums, and a best response must not.

    >>> soft_argmax(torch.tensor([0.1 + 0.2, 0.3, 0.0], dtype=torch.float64), 0.0)
    tensor([0.5000, 0.5000, 0.0000], dtype=torch.float64)
    """
    if not isinstance(temperature, Tensor) and temperature == 0:
        best = values.amax(-1, keepdim=True)
        size = values.abs().nan_to_num(posinf=0.0).amax(-1, keepdim=True)
        alike = (values == best) | (values >= best - rounding * torch.finfo(values.dtype).eps * size)
        shares = alike.to(values.dtype)
        return shares / shares.sum(-1, keepdim=True)
    return softmax(values / temperature)


def regret(policy: Tensor, values: Tensor, temperature: Number = 0.0) -> Tensor:
    """What the best law of actions gains over the policy, entropy included: policy, values[..., a] -> [...] >= 0.

    max_p (<Q, p> + lam H(p)) - (<Q, pi> + lam H(pi)) = lam KL(pi || softmax(Q / lam)); without lam, <max Q - Q, pi>.
    Written so, it keeps its digits near zero, where the difference of two values would lose them.
    """
    if not isinstance(temperature, Tensor) and temperature == 0:
        return total(policy * (values.amax(-1, keepdim=True) - values))
    best = (values - values.amax(-1, keepdim=True)) / temperature  # centred: only differences matter, and keep digits
    best = best - log_total_exp(best)[..., None]
    divergence = total(torch.xlogy(policy, policy) - policy * best)
    return per_state(temperature) * divergence.clamp(min=0)  # rounding at the optimum may leave -1e-17


def explore(policy: Tensor, mixing: Number) -> Tensor:
    """(1 - mixing) policy + mixing Unif: stay off the boundary, policy[..., a]."""
    return policy + mixing * (1 / policy.shape[-1] - policy)


def explore_scores(scores: Tensor, mixing: Number) -> Tensor:
    """`explore` on scores[..., a]: log of (1 - mixing) softmax(scores) + mixing Unif; unchanged at mixing 0."""
    if not isinstance(mixing, Tensor) and mixing == 0:
        return scores
    return explore(softmax(scores), mixing).log()


def project(values: Tensor) -> Tensor:
    """The nearest point of the simplex in Euclidean distance, values[..., a] -> [..., a].

    max(0, values - tau) with the tau that makes it sum to one: Held, Wolfe and Crowder, Math. Programming 6 (1974).

    >>> project(torch.tensor([0.9, 0.3, -1.0]))
    tensor([0.8000, 0.2000, 0.0000])
    """
    if values.shape[-1] == 2:
        first = ((1 + values[..., 0] - values[..., 1]) / 2).clamp(0, 1)
        return torch.stack([first, 1 - first], -1)
    values = (values - values.amax(-1, keepdim=True)).clamp(min=-1)  # tau is never further below: larger gaps give 0
    ordered = values.sort(-1, descending=True).values
    place = torch.arange(1, values.shape[-1] + 1, dtype=values.dtype, device=values.device)
    tau = (ordered.cumsum(-1) - 1) / place
    kept = (ordered > tau).sum(-1, keepdim=True).clamp(min=1)  # what is no number compares with nothing
    return (values - tau.gather(-1, kept - 1)).clamp(min=0)


def nucleus(law: Tensor, top_p: Number) -> Tensor:
    """The fewest likeliest outcomes of law[..., a] that have a probability of at least top_p together, and no others.

    Of equals the first is kept, and the likeliest always. Holtzman et al., "The curious case of neural text
    degeneration", ICLR 2020.

    >>> nucleus(torch.tensor([0.2, 0.5, 0.3]), 0.7)
    tensor([0.0000, 0.6250, 0.3750])
    """
    ranked, order = law.sort(dim=-1, descending=True, stable=True)
    kept = ranked.cumsum(-1) - ranked < top_p - TIE
    kept = kept | (torch.arange(law.shape[-1], device=law.device) == 0)
    law = torch.zeros_like(law).scatter(-1, order, torch.where(kept, ranked, 0.0))
    return law / law.sum(-1, keepdim=True)


def drawn(law: Tensor, u: Tensor) -> Tensor:
    """Whole numbers [...] of law[..., a], by its inverse distribution function at u[...] of (0, 1).

    >>> drawn(torch.tensor([0.2, 0.0, 0.8, 0.0]), torch.tensor([0.1, 0.2, 1.0])).tolist()
    [0, 2, 2]
    """
    below = law.cumsum(-1)
    last = law.shape[-1] - 1 - (law > 0).flip(-1).to(torch.uint8).argmax(-1)  # sums that round below one
    found: Tensor = (below <= u.unsqueeze(-1)).sum(-1)
    return torch.minimum(found, last.expand(found.shape))
