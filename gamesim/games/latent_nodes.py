"""What an expert may know at each decision of an episode, states or the beliefs that can be reached, and its worth.

A belief b(s) leads by subgoal g and report o to b'(t) ~ gamma(o | t) sum_s b(s) P(t | s, g). Those of one latent are
listed decision by decision, from what first reports leave open; values follow from the last decision on,

    Q_h(m, g) = sum_o l(m, g, o) [ r_h(o, omega) + max_g' Q_{h+1}(m', g') ]
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gamesim.errors import refuse

BELIEFS = 100_000
"""Beliefs of a latent that are listed at most, over all decisions of an episode."""
TIE = 1e-9
"""Values that differ by less are the same."""


@dataclass(frozen=True)
class Nodes:
    """What an expert may know at a decision h, for every latent: states, or beliefs; padded to the most of a latent."""

    values: Tensor
    """Q*_h[z, w, m, g]."""
    after: Tensor | None
    """Where a subgoal and a report lead to, [z, m, g, o]; None at the last decision."""

    @cached_property
    def best(self) -> Tensor:
        """The expert's subgoal, the first of ties, [z, w, m]."""
        return (self.values >= self.values.amax(-1, keepdim=True) - TIE).to(torch.uint8).argmax(-1)

    @cached_property
    def gaps(self) -> Tensor:
        """V* - Q*, [z, w, m, g]; ties are none."""
        gaps = self.values.amax(-1, keepdim=True) - self.values
        return torch.where(gaps <= TIE, 0.0, gaps)


@dataclass(frozen=True)
class Listed:
    """Beliefs that can be reached: where first reports lead, [o] or [z, o], and the decisions."""

    roots: Tensor
    nodes: tuple[Nodes, ...]


def list_beliefs(transition: Tensor, emission: Tensor, initial: Tensor, reward: Tensor) -> Listed:
    """The beliefs of one latent: transition[s, g, t], emission[s, o], initial[s], reward[w, h, o]."""
    horizon = reward.shape[1]
    layer, roots = _different((initial * emission.T), initial)
    layers, afters, likelihoods = [layer], list[Tensor](), list[Tensor]()
    total = len(layer)
    for _ in range(horizon - 1):
        moved = torch.einsum("ms,sgt->mgt", layer, transition)
        joint = moved[:, :, None, :] * emission.T
        layer, after = _different(joint, initial)
        total += len(layer)
        if total > BELIEFS:
            wanted = f"at most {BELIEFS:,} that can be reached: fewer reports, or a shorter horizon"
            raise refuse("world", f"more than {total:,} beliefs of an expert", wanted)
        layers.append(layer)
        afters.append(after)
        likelihoods.append(joint.sum(-1))
    values: Any = None
    nodes = list[Nodes]()
    paid = torch.einsum("sgt,to,who->whsg", transition, emission, reward)
    for h in reversed(range(horizon)):
        q = torch.einsum("ms,wsg->wmg", layers[h], paid[:, h])
        if values is not None:
            q = q + (likelihoods[h] * values[:, afters[h]]).sum(-1)
        nodes.append(Nodes(q, afters[h] if h < horizon - 1 else None))
        values = q.amax(-1)
    return Listed(roots, tuple(reversed(nodes)))


def stacked(parts: Iterable[Listed]) -> Listed:
    """Latents side by side, [z, ...], each padded to the most nodes of any."""
    parts = list(parts)
    nodes = list[Nodes]()
    for layer in zip(*(part.nodes for part in parts), strict=True):
        most = max(node.values.shape[-2] for node in layer)
        values = torch.stack([_padded(node.values, -2, most) for node in layer])
        afters = [node.after for node in layer]
        after = None if afters[0] is None else torch.stack([_padded(x, 0, most) for x in afters if x is not None])
        nodes.append(Nodes(values, after))
    return Listed(torch.stack([part.roots for part in parts]), tuple(nodes))


def _different(joint: Tensor, otherwise: Tensor) -> tuple[Tensor, Tensor]:
    """The different beliefs [m, s] among unnormalised joint[..., s], and the number of each, [...]."""
    rows = normalised(joint, otherwise).flatten(0, -2)
    impossible = joint.sum(-1).flatten() <= 0
    _, number = torch.unique((rows * 1e10).round(), dim=0, return_inverse=True)
    number[impossible] = number[~impossible][0] if bool((~impossible).any()) else 0
    kept, number = torch.unique(number, return_inverse=True)
    first = torch.full((len(kept),), len(number)).scatter_reduce(0, number, torch.arange(len(number)), "amin")
    return rows[first], number.reshape(joint.shape[:-1])


def normalised(joint: Tensor, otherwise: Tensor) -> Tensor:
    """joint[..., s] with rows that sum to one; where nothing is left, what else there is."""
    total = joint.sum(-1, keepdim=True)
    found = joint / total
    return torch.where(total > 0, found, otherwise / otherwise.sum(-1, keepdim=True))


def _padded(x: Tensor, dim: int, most: int) -> Tensor:
    """With zeros up to so many along a dimension."""
    short = most - x.shape[dim]
    if not short:
        return x
    shape = list(x.shape)
    shape[dim] = short
    return torch.cat([x, x.new_zeros(shape)], dim)
