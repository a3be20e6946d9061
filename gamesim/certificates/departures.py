"""A search for policies near a given one from which gradients do not lead back: it tries to refute a certificate.

Second-order stationarity is <v(pi), pi - pi*> <= -mu ||pi - pi*||^2 near pi*. The search looks for the largest

    q(r) = <v(pi), pi - pi*> / ||pi - pi*||^2        over feasible pi with ||pi - pi*|| = r

and knows nothing of faces or advantages: single rows move towards every vertex, random sets of rows towards random
vertices, faces and mixtures, and the best of these are varied a few times. At a strict policy q(r) is at most -mu for
small r; at any other Nash equilibrium it is at least -O(r).
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gamesim.certificates.standing import AT_ONCE, slow
from gamesim.games import Policy, TabularGame
from gamesim.randomness import Stream
from gamesim.shapes import broadcast_shapes

SHARPNESS = (0.0, 1.0, 4.0, 40.0)
"""Powers of the weights of a random target: from the centre of a face to nearly a vertex."""
KEPT = 16
"""How many of the best are varied in a round."""


class Departure(NamedTuple):
    """The largest ratio that was found at each radius, and where."""

    ratio: Tensor
    """q[radius, ...]."""
    distance: Tensor
    """||pi - pi*||[radius, ...]: the radius, or down to half of it where a target is nearer."""
    policy: Policy
    """pi[radius, ..., s, a]."""


def depart(
    game: TabularGame, center: Policy, radii: Tensor, generator: Stream, *, count: int = 1000, rounds: int = 3
) -> Departure:
    """The largest q at radii[radius, ...] around policies [..., s, a], of a batch of games or of one.

    count: random targets, beside a vertex for each row and action; rounds: how often the best ones are varied.
    """
    batch = broadcast_shapes(game.batch, radii.shape[1:], *(x.shape[:-2] for x in center))
    center = tuple(x.expand(*batch, *x.shape[-2:]) for x in center)
    radii = radii.expand(len(radii), *batch)
    fixed, drawn = vertices(center), targets(center, count, generator)
    first = tuple(torch.cat(pair)[:, None] for pair in zip(fixed, drawn, strict=True))  # [k, 1, ..., s, a]
    aims = tuple(x.expand(-1, len(radii), *x.shape[2:]) for x in first)
    ratio = _ratios(game, center, aims, radii)
    for _ in range(rounds):
        kept = _best(aims, ratio, min(KEPT, len(ratio)))
        new = _varied(kept, center, generator)
        aims = tuple(torch.cat(pair) for pair in zip(kept[1], new, strict=True))
        ratio = torch.cat([kept[0], _ratios(game, center, new, radii)])
    top = _best(aims, ratio, 1)
    policy, distance = _moved(center, top[1], radii)
    return Departure(top[0][0], distance[0], tuple(x[0] for x in policy))


def vertices(center: Policy) -> Policy:
    """For each row and action the policies with that row at that vertex: [k, ..., s, a]."""
    found: list[list[Tensor]] = [[] for _ in center]
    for i, x in enumerate(center):
        for s in range(x.shape[-2]):
            for a in range(x.shape[-1]):
                moved = x.clone()
                moved[..., s, :] = 0
                moved[..., s, a] = 1
                for j, y in enumerate(center):
                    found[j].append(moved if j == i else y)
    return tuple(map(torch.stack, found))


def targets(center: Policy, count: int, generator: Stream) -> Policy:
    """Random policies of which a random share of the rows is moved, [k, ..., s, a]."""
    place = torch.arange(count, device=center[0].device)
    power = torch.tensor(SHARPNESS, dtype=center[0].dtype, device=center[0].device)[place % len(SHARPNESS)]
    rows = sum(x.shape[-2] for x in center)
    share = rows ** (-(place % 7) / 6)  # from all rows down to one of them
    batch = center[0].shape[:-2]
    lift = (count, *[1] * (len(batch) + 2))
    found = []
    for x in center:
        like: dict[str, Any] = {"dtype": x.dtype, "device": x.device}
        u = generator.uniform((count, *x.shape), **like)
        weight = (-u.log()).log() * power.reshape(lift)
        here = generator.uniform((count, *x.shape), **like) < 0.6  # of the actions, a face
        here = here | (here.sum(-1, keepdim=True) == 0)
        aim = torch.softmax(torch.where(here, weight, -math.inf), -1)
        moves = generator.uniform((count, *x.shape[:-1], 1), **like) < share.reshape(lift)
        found.append(torch.where(moves, aim, x))
    return tuple(found)


def _moved(center: Policy, aims: Policy, radii: Tensor) -> tuple[Policy, Tensor]:
    """pi* moved so far towards targets [k, radius, ..., s, a], and how far it came, [k, radius, ...]."""
    ways = [aim - x for aim, x in zip(aims, center, strict=True)]
    length = torch.stack([(way * way).sum((-2, -1)) for way in ways]).sum(0).sqrt()
    part = (radii / length.clamp(min=1e-300)).clamp(max=1)
    policy = tuple(x + part[..., None, None] * way for x, way in zip(center, ways, strict=True))
    return policy, part * length


def _ratios(game: TabularGame, center: Policy, aims: Policy, radii: Tensor) -> Tensor:
    """q[k, radius, ...]; minus infinity where a target is nearer than half the radius."""
    each = radii.numel() * game.state_count * (game.joint_count * (game.state_count + len(center)) + game.state_count)
    width, found = max(1, AT_ONCE // max(each, 1)), []
    for first in range(0, len(aims[0]), width):
        policy, distance = _moved(center, tuple(x[first : first + width] for x in aims), radii)
        q = slow(game, center, policy) / (distance * distance).clamp(min=1e-300)
        found.append(torch.where(distance >= radii / 2, q, -torch.inf))
    return torch.cat(found)


def _best(aims: Policy, ratio: Tensor, count: int) -> tuple[Tensor, Policy]:
    """So many of the largest for each radius and element of the batch."""
    top = ratio.topk(count, 0)
    index = top.indices[..., None, None]
    return top.values, tuple(x.gather(0, index.expand(*index.shape[:-2], *x.shape[-2:])) for x in aims)


def _varied(kept: tuple[Tensor, Policy], center: Policy, generator: Stream) -> Policy:
    """Of each, rows put back, exchanged with the next best, or drawn towards random targets."""
    count, found = len(kept[0]), []
    for x, aim in zip(center, kept[1], strict=True):
        like: dict[str, Any] = {"dtype": x.dtype, "device": x.device}
        other = targets((x,), count, generator)[0][:, None].expand_as(aim)
        step = generator.uniform((count, *[1] * (aim.dim() - 1)), **like) ** 2
        near = aim + step * (other - aim)
        u = generator.uniform((3, *aim.shape[:-1], 1), **like)
        back = torch.where(u[0] < 0.3, x, aim)
        crossed = torch.where(u[1] < 0.5, aim, aim.roll(1, 0))
        found.append(torch.cat([near, back, crossed, torch.where(u[2] < 0.5, near, back)]))
    return tuple(found)
