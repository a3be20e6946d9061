"""What offline algorithms share: values of a set's joint action, policies of a set, targets that follow slowly.

    f(S, A)      an invariant network on the tokens, each acting one with its action beside it
    pi(A | S)    an equivariant network: one law for each agent, who act independently given the set

Weights have the leading dimensions of the run; twins and ensembles are one more of them, before the network's own.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import e, factorial
from typing import Any

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.recorded import Actor, Recorded, Sets
from gamesim.networks import Network
from gamesim.networks.adam import Trained, Weights, paces
from gamesim.networks.stateless import Stateless
from gamesim.randomness import Stream, philox
from gamesim.shapes import broadcast_shapes

LARGEST = 10**8
"""Weights of a network."""
BELOW = tuple(sum(1 / factorial(j) for j in range(k + 1)) / e for k in range(9))
"""The chance that a Poisson(1) variable is at most k."""


@dataclass(frozen=True)
class Critic:
    """f(S, A): [..., b] from tokens [..., row, d] and actions [..., agent, size]."""

    network: Stateless

    def __call__(self, weights: Weights, tokens: Tensor, actions: Tensor, sets: Sets) -> Tensor:
        return self.network(weights, joined(tokens, actions, sets), sets.layout, sets.acting)[..., 0]


@dataclass(frozen=True)
class Value:
    """V(S): [..., b] from tokens [..., row, d]."""

    network: Stateless

    def __call__(self, weights: Weights, tokens: Tensor, sets: Sets) -> Tensor:
        return self.network(weights, tokens, sets.layout, sets.acting)[..., 0]


def joined(tokens: Tensor, actions: Tensor, sets: Sets) -> Tensor:
    """Tokens with the action of each agent beside its own, and zeros beside what does not act."""
    front = broadcast_shapes(tokens.shape[:-2], actions.shape[:-2])
    empty = actions.new_zeros(*front, tokens.shape[-2], actions.shape[-1])
    beside = empty.index_copy(-2, sets.acting, actions.expand(*front, *actions.shape[-2:]))
    return torch.cat([tokens.expand(*front, *tokens.shape[-2:]), beside], -1)


def actor_of(task: Recorded, network: Network) -> Actor:
    """A policy network for a task."""
    return Actor(_made(network, task.inputs, task.head.outputs, False, task.most), task.head)


def critic_of(task: Recorded, network: Network) -> Critic:
    """A network of f(S, A) for a task."""
    return Critic(_made(network, task.inputs + task.head.size, 1, True, task.most))


def value_of(task: Recorded, network: Network) -> Value:
    """A network of V(S) for a task."""
    return Value(_made(network, task.inputs, 1, True, task.most))


@lru_cache(64)
def _made(network: Network, inputs: int, outputs: int, pooled: bool, most: int) -> Stateless:
    """A network of weights that are given with each call, so that one is enough for all steps of a run."""
    with torch.device("meta"):  # where nothing is allocated
        size = Stateless(network.module(inputs, outputs, pooled=pooled, most=most)).size
    if size > LARGEST:
        raise refuse("network", str(network), f"at most {LARGEST:,} weights; it has {size:,}")
    return Stateless(network.module(inputs, outputs, pooled=pooled, most=most))


def blank(network: Stateless, task: Recorded, *front: int) -> Trained:
    """Networks of zeros: they are drawn in the first step, which knows the seeds."""
    return Trained.fresh(tuple(torch.zeros(*front, *shape, **task.like) for shape in network.shapes))


def drawn(network: Stateless, like: Trained, front: tuple[int, ...], generator: Stream) -> Trained:
    """Networks drawn from the randomness of each seed, one for each hyper-parameter alike; twins are drawn apart."""
    x = like.parameters[0]
    twins = x.shape[len(front) : x.dim() - len(network.shapes[0])]
    weights = network.draw((*generator.alike(front), *twins), generator, x.dtype, x.device)
    return Trained.fresh(tuple(w.expand(y.shape).contiguous() for w, y in zip(weights, like.parameters, strict=True)))


def front_of(weights: Weights, network: Stateless) -> tuple[int, ...]:
    """The leading dimensions of a batch of networks."""
    return tuple(weights[0].shape[: weights[0].dim() - len(network.shapes[0])])


def followed(target: Weights, weights: Weights, rate: Any, front: tuple[int, ...] = ()) -> Weights:
    """Targets moved towards the weights by so much (Polyak averaging)."""
    rates = paces(rate, weights, front)
    return tuple(torch.lerp(x, y, r) for x, y, r in zip(target, weights, rates, strict=True))


def bounded(trained: Trained, network: Stateless, radius: Any, front: tuple[int, ...] = ()) -> Trained:
    """Networks whose matrices are projected on the ball ||W||_F <= radius."""
    found = []
    balls = paces(radius, trained.parameters, front)
    for x, shape, ball in zip(trained.parameters, network.shapes, balls, strict=True):
        if len(shape) == 2:
            norm = x.square().sum((-2, -1), keepdim=True).sqrt()
            x = torch.where(norm > ball, x * (ball / norm), x)
        found.append(x)
    return Trained(tuple(found), trained.mean, trained.square)


def one_of(weights: Weights, network: Stateless, which: int) -> Weights:
    """The weights of one of twins, or of an ensemble: without the dimension before the network's own."""
    return tuple(x.select(x.dim() - 1 - len(shape), which) for x, shape in zip(weights, network.shapes, strict=True))


def twins(x: Tensor) -> Tensor:
    """What all of twins, or of an ensemble, are shown: [..., 1, row, d]."""
    return x.unsqueeze(-3)


def model_of(task: Recorded, network: Network) -> Stateless:
    """A network of how the features of those who act change, [..., agent, d], from tokens and actions."""
    return _made(network, task.inputs + task.head.size, len(task.scale), False, task.most)


def resampled(chosen: Tensor, members: int, generator: Stream) -> Tensor:
    """How often a transition is in the bootstrap sample of each member, [..., member, b]: Poisson(1); all in the first.

    It is a function of the seed, the member and the number of the transition: nothing has to be kept.
    """
    key = generator.keys.to(chosen.device)
    key = key.reshape(*generator.alike(chosen.shape), 1, 2)
    place = chosen.unsqueeze(-2)
    member = torch.arange(1, members, device=chosen.device)[:, None]
    named = torch.broadcast_tensors(place, member, torch.full_like(place, 2**32 - 7), torch.zeros_like(place))
    u = (philox(named, (key[..., 0], key[..., 1]))[0].double() + 0.5) / 2**32
    drawn = torch.bucketize(u, torch.tensor(BELOW, dtype=torch.float64, device=u.device))
    return torch.cat([torch.ones_like(place), drawn], -2)
