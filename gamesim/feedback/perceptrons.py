"""Batches of small networks on numbered observations: one tensor of weights for all seeds and players.

    x_1 = W_1[s] + b_1,    x_{l+1} = tanh(x_l) W_{l+1} + b_{l+1}                    a row of x for each observation s

A network that is used alone has the same bits as in a batch.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import pad

from gamesim.networks.adam import Trained, Weights
from gamesim.randomness import Stream

LINE = 16
"""Numbers to whole cache lines of 64 bytes, of float32 too."""
Parameters = Weights
"""W_1, b_1, W_2, b_2, ...: weights [..., player, in, out] and biases [..., player, 1, out]."""


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
