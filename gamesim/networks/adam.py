"""Adam on tuples of weights, for a batch of networks at once.

    m <- beta_1 m + (1 - beta_1) g,    v <- beta_2 v + (1 - beta_2) g^2
    w <- w - step_size (m / (1 - beta_1^k)) / (sqrt(v / (1 - beta_2^k)) + small)    the k-th step

AdamW also takes step_size decay w away, from the weights as they were.

Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015; Loshchilov and Hutter, "Decoupled weight decay
regularization", ICLR 2019.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

BETA_1, BETA_2, SMALL = 0.9, 0.999, 1e-5
"""Kingma and Ba, ICLR 2015; the last as in the first public PPO."""
Weights = tuple[Tensor, ...]
"""The parameters of a network, in its own order; leading dimensions are a batch of networks."""


@dataclass(frozen=True)
class Trained:
    """Networks, and Adam's running means of their gradients and of the squares of these."""

    parameters: Weights
    mean: Weights
    square: Weights

    @classmethod
    def fresh(cls, parameters: Weights) -> "Trained":
        """Networks that have not moved yet."""
        zero = tuple(map(torch.zeros_like, parameters))
        return cls(parameters, zero, zero)


def adam(
    trained: Trained,
    loss: Callable[[Weights], Tensor],
    step_size: float | Tensor,
    steps: int,
    front: tuple[int, ...] = (),
) -> Trained:
    """The networks after one more step down a loss, which makes so many; losses of a batch of networks are added up.

    A batch of step sizes [*b, 1] goes with the last of the leading dimensions `front` of the weights.
    """
    return descended(trained, gradients(loss, trained.parameters), step_size, steps, front)


def gradients(loss: Callable[..., Tensor], *networks: Weights) -> Weights:
    """The gradients of a loss by the weights of some networks, one after the other; losses of a batch are added up."""
    with torch.enable_grad():
        leaves = [tuple(x.detach().requires_grad_() for x in weights) for weights in networks]
        return torch.autograd.grad(loss(*leaves).sum(), [x for weights in leaves for x in weights])


def descended(
    trained: Trained,
    gradient: Weights,
    step_size: float | Tensor,
    steps: int,
    front: tuple[int, ...] = (),
    decay: float = 0.0,
    small: float = SMALL,
) -> Trained:
    """The networks after one more step against a gradient.

    A batch of step sizes [*b, 1] goes with the last of the leading dimensions `front` of the weights.
    """
    sizes = paces(step_size, trained.parameters, front)
    mean = tuple(torch.lerp(g, m, BETA_1) for m, g in zip(trained.mean, gradient, strict=True))
    square = tuple(torch.lerp(g * g, s, BETA_2) for s, g in zip(trained.square, gradient, strict=True))
    first, second = 1 - BETA_1**steps, 1 - BETA_2**steps
    moved = (
        (x * (1 - size * decay) if decay else x) - size * (m / first) / ((s / second).sqrt() + small)
        for x, m, s, size in zip(trained.parameters, mean, square, sizes, strict=True)
    )
    return Trained(tuple(moved), mean, square)


def paces(number: float | Tensor, weights: Weights, front: tuple[int, ...]) -> tuple[float | Tensor, ...]:
    """One number, or a batch of them [*b, 1] for the last of the leading dimensions, against each of the weights.

    >>> [x.shape for x in paces(torch.ones(3, 1), (torch.ones(2, 3, 8, 4), torch.ones(2, 3, 4)), (2, 3))]
    [torch.Size([3, 1, 1]), torch.Size([3, 1])]
    """
    if not isinstance(number, Tensor) or number.dim() == 0 or not front:
        return (number,) * len(weights)
    batch = number[..., 0]
    return tuple(batch.reshape(*batch.shape, *[1] * (x.dim() - len(front))) for x in weights)
