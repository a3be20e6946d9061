"""Controllers that play worlds well: what "expert" means in a dataset.

    Spread            agents are assigned to landmarks at the beginning, so that the sum of distances is least (the
                      Hungarian method; Kuhn 1955), and go there
    Tag               predators go where the nearest prey will be, prey away from near predators and from the edge
    Reference,        who knows a goal says its number; who hears one goes there
    SpeakerListener

An expert is a function of a state, made once an episode has begun. It is strong, not optimal: scores above 100 exist.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamesim.errors import InvalidInput
from gamesim.games.worlds import FORCES, SetWorld
from gamesim.offline.motion import Motion, parts

HORIZON = 3
"""Steps that a controller looks ahead."""
LEAD = 0.3
"""Time by which predators aim ahead of their prey."""
INSIDE = 0.8
"""Prey never aim further out than this: they are paid for staying in sight."""
OPPOSED = ("Tag",)
"""Worlds of two teams: what one gets the other loses, and no one number says how well all play."""

Controller = Callable[[Any], Tensor]


def expert_of(world: SetWorld, state: Any) -> Controller:
    """The controller for episodes that begin in this state: state -> moves [..., n] or actions [..., n, size]."""
    make = EXPERTS.get(type(world).__name__)
    if make is None:
        known = ", ".join(sorted(EXPERTS))
        raise InvalidInput(
            f"behaviour: {type(world).__name__} has no expert ({known} have); random play is all there is"
        )
    return make(world, state)


def has_expert(world: SetWorld) -> bool:
    """Whether `expert_of` knows one."""
    return type(world).__name__ in EXPERTS


def comparable(world: SetWorld) -> bool:
    """Whether returns of random play and of the expert are the ends of a scale."""
    return has_expert(world) and type(world).__name__ not in OPPOSED


def assigned(agents: Tensor, targets: Tensor) -> Tensor:
    """The target of each agent, [..., n], so that the sum of distances is least; -1 for who has none."""
    from scipy.optimize import linear_sum_assignment

    front, n = agents.shape[:-2], agents.shape[-2]
    apart = agents.double()[..., :, None, :] - targets.double()[..., None, :, :]
    costs = apart.square().sum(-1).sqrt().reshape(-1, n, targets.shape[-2])
    found = np.full((len(costs), n), -1)
    for i, cost in enumerate(costs.cpu().numpy()):  # scipy takes one at a time
        rows, columns = linear_sum_assignment(cost)
        found[i, rows] = columns
    return torch.from_numpy(found).view(*front, n).to(agents.device)


def _cover(world: SetWorld, state: Any) -> Controller:
    """To the landmarks, each agent to its own."""
    motion, n = Motion.of(world, HORIZON), world.acting
    position, _ = parts(world, state)
    here, targets = position[..., :n, :], position[..., n:, :]
    chosen = assigned(here, targets)
    goal = targets.gather(-2, chosen.clamp(min=0)[..., None].expand(*chosen.shape, 2))
    goal = torch.where(chosen[..., None] < 0, here, goal)  # who has no landmark stays

    def act(state: Any) -> Tensor:
        position, velocity = parts(world, state)
        return motion.towards(goal, position[..., :n, :], velocity[..., :n, :])

    return act


def _hunt(world: SetWorld, state: Any) -> Controller:
    """After the nearest prey; away from predators and the edge."""
    motion, n = Motion.of(world, HORIZON), world.acting
    hunters = int((world.types[:n] == world.kinds_of_entity.index("predator")).sum())

    def act(state: Any) -> Tensor:
        position, velocity = parts(world, state)
        chasing, fleeing = position[..., :hunters, :], position[..., hunters:n, :]
        ahead = fleeing + LEAD * velocity[..., hunters:n, :]
        apart = fleeing[..., :, None, :] - chasing[..., None, :, :]
        square = apart.square().sum(-1)
        nearest = square.argmin(-2)[..., None].expand(*chasing.shape)
        away = (apart / (square[..., None] + 1e-3)).sum(-2)
        refuge = (fleeing + away).clamp(-INSIDE, INSIDE)
        goal = torch.cat([ahead.gather(-2, nearest), refuge], -2)
        return motion.towards(goal, position[..., :n, :], velocity[..., :n, :])

    return act


def _tell(world: SetWorld, state: Any) -> Controller:
    """A word is the number of a landmark."""
    motion, n = Motion.of(world, HORIZON), world.acting
    colours = [i for i, name in enumerate(world.features) if name.startswith("colour_")]
    words = [i for i, name in enumerate(world.features) if name.startswith("said_")]

    def act(state: Any) -> Tensor:
        tokens = world.tokens(state)
        agents, landmarks = tokens[..., :n, :], tokens[..., n:, :2]
        known, heard = agents[..., colours], agents.flip(-2)[..., words][..., : landmarks.shape[-2]]
        told = (heard.amax(-1) > 0)[..., None]
        there = landmarks.gather(-2, heard.argmax(-1)[..., None].expand(*heard.shape[:-1], 2))
        goal = torch.where(told, there, agents[..., :2])
        move = motion.towards(goal, agents[..., :2], agents[..., 2:4])
        word = known.argmax(-1)
        if motion.discrete:
            return move + len(FORCES) * word
        return torch.cat([move, torch.nn.functional.one_hot(word, len(words)).to(move.dtype)], -1)

    return act


EXPERTS: dict[str, Callable[[SetWorld, Any], Controller]] = {
    "Spread": _cover,
    "Tag": _hunt,
    "Reference": _tell,
    "SpeakerListener": _tell,
}
