"""Batches of small networks on numbered observations, and Adam: one tensor of weights for all seeds and players.

    x_1 = W_1[s] + b_1,    x_{l+1} = tanh(x_l) W_{l+1} + b_{l+1}                    a row of x for each observation s
    m <- beta_1 m + (1 - beta_1) g,    v <- beta_2 v + (1 - beta_2) g^2
    w <- w - step_size (m / (1 - beta_1^k)) / (sqrt(v / (1 - beta_2^k)) + small)    the k-th step of Adam

A network that is used alone has the same bits as in a batch.

Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import pad

from gamesim.randomness import Stream

BETA_1, BETA_2, SMALL = 0.9, 0.999, 1e-5
"""Of Adam: Kingma and Ba, ICLR 2015; the last as in the first public PPO."""
LINE = 16
"""Numbers to whole cache lines of 64 bytes, of float32 too."""
Parameters = tuple[Tensor, ...]
"""W_1, b_1, W_2, b_2, ...: weights [..., player, in, out] and biases [..., player, 1, out]."""


@dataclass(frozen=True)
class Trained:
    """Networks of a few players, and Adam's running means of their gradients and of the squares of these."""

    parameters: Parameters
    mean: Parameters
    square: Parameters


def blank(sizes: Sequence[int], like: Tensor) -> Trained:
    """Networks of zeros with layers of these sizes, for the leading dimensions of like[..., player, s, a]."""
    shapes = [shape for into, out in pairwise(sizes) for shape in ((into, out), (1, out))]
    zero = tuple(like.new_zeros(*like.shape[:-2], *shape) for shape in shapes)
    return Trained(zero, zero, zero)


def drawn(trained: Trained, front: tuple[int, ...], generator: Stream) -> Trained:
    """Weights of hidden layers with mean 0 and variance 1 / inputs, of which the first layer sees one that is not 0."""
    parameters = list(trained.parameters)
    for k in range(0, len(parameters) - 2, 2):
        shape = parameters[k].shape
        normal = generator.normal((*front, *shape[-3:]), parameters[k].dtype, parameters[k].device)
        parameters[k] = (normal / (1 if k == 0 else shape[-2] ** 0.5)).expand(shape)
    return Trained(tuple(parameters), trained.mean, trained.square)


def network(parameters: Parameters) -> Tensor:
    """The outputs at every observation, [..., player, s, out]: one-hot inputs pick rows of the first weights."""
    x = parameters[0] + parameters[1]
    for weight, bias in zip(parameters[2::2], parameters[3::2], strict=True):
        x = product(torch.tanh(x), weight) + bias
    return x


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x @ weight, with zeros up to whole cache lines: what rounding depends on is then the same for each of a batch."""
    inner, outputs = weight.shape[-2:]
    padded = pad(weight, (0, -outputs % LINE, 0, -inner % LINE))
    return (pad(x, (0, -inner % LINE)) @ padded)[..., :outputs]


def adam(trained: Trained, loss: Callable[[Parameters], Tensor], step_size: float | Tensor, steps: int) -> Trained:
    """The networks after one more step, which makes so many; losses of different networks are added up."""
    with torch.enable_grad():
        leaves = tuple(x.detach().requires_grad_() for x in trained.parameters)
        gradients = torch.autograd.grad(loss(leaves).sum(), leaves)
    mean = tuple(torch.lerp(g, m, BETA_1) for m, g in zip(trained.mean, gradients, strict=True))
    square = tuple(torch.lerp(g * g, s, BETA_2) for s, g in zip(trained.square, gradients, strict=True))
    first, second = 1 - BETA_1**steps, 1 - BETA_2**steps
    moved = (
        x - step_size * (m / first) / ((s / second).sqrt() + SMALL)
        for x, m, s in zip(trained.parameters, mean, square, strict=True)
    )
    return Trained(tuple(moved), mean, square)
