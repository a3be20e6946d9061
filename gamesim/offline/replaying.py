"""Whether recorded steps are what a world does, and states from what agents saw of them.

Two definitions of a world that share a name differ in their very first step: the share of recorded transitions that
the world repeats tells which one the data are from.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.data import SetData
from gamesim.errors import refuse
from gamesim.games.worlds import SetWorld

TOLERANCE = 1e-3
"""Of positions, velocities and rewards, beside their size: contacts are stiff, and data are stored in float32."""


@dataclass(frozen=True)
class Agreement:
    """How many of some transitions a world repeats."""

    transitions: int
    states: int
    """Of which it leads to the same next state,"""
    rewards: int
    """and pays the same rewards."""

    @property
    def whole(self) -> bool:
        """All but a few that stand on the edge of a collision."""
        return min(self.states, self.rewards) >= 0.99 * self.transitions

    def __str__(self) -> str:
        return f"{self.states:,} next states and {self.rewards:,} rewards of {self.transitions:,} transitions"


@torch.no_grad()
def replayed(data: SetData, world: SetWorld, place: int = 0, most: int = 1000) -> Agreement:
    """Play the first step of up to `most` transitions of world `place` of the data again, in this world."""
    k = (data.world[data.episode] == place).nonzero()[:, 0]
    k = k[:: max(1, len(k) // most)][:most]
    if not len(k):
        return Agreement(0, 0, 0)
    before, after = (states_of(data, world, at[k]) for at in (data.before, data.after))
    acts, _ = data.acts_of(k)
    actions = data.actions[acts].view(len(k), world.acting, *data.actions.shape[1:])
    discrete = not actions.is_floating_point()
    state, paid = world.step(world.restored(before), actions.long() if discrete else actions.to(before))
    rewards = data.rewards[acts].view(len(k), world.acting).to(paid)
    return Agreement(len(k), int(_close(world.tokens(state), after).sum()), int(_close(paid, rewards).sum()))


def states_of(data: SetData, world: SetWorld, states: Tensor) -> Tensor:
    """Tokens [b, e, d] of states of the data, in the world's dtype; refused if they cannot be its own."""
    rows, _ = data.rows_of(states)
    found = data.tokens[rows].to(**world.like)
    shape = (len(states), world.entities, len(world.features))
    if found.numel() != shape[0] * shape[1] * shape[2] or bool((data.entities[states] != shape[1]).any()):
        here = f"{int(data.entities[states[0]])} entities of {found.shape[-1]} numbers"
        raise refuse("tokens", here, f"{shape[1]} of {shape[2]}, as in {type(world).__name__}")
    return found.view(shape)


@torch.no_grad()
def seen_states(world: SetWorld, observations: Tensor) -> Tensor:
    """Tokens [k, e, 4] of the states in which agents see these observations [k, n, o], in float64.

    For worlds where an agent sees its own velocity and position, and all else from there: landmarks, then the others.
    Each state is observed again; refused where that gives something else.
    """
    n, look = world.acting, getattr(world, "observations", None)
    shape, least = list(observations.shape), 2 * (1 + world.entities)
    if look is None or len(shape) != 3 or shape[1] != n or shape[2] < least or shape[2] % 2:
        raise refuse("observations", f"shape {shape}", f"[k, {n}, o]: own velocity and position, and all others")
    pairs = observations.double().unflatten(-1, (-1, 2))
    wrong = 0
    for own, fast in ((1, 0), (0, 1)):
        here = pairs[:, :, own]
        rest = here[:, :1] + pairs[:, 0, 2 : 2 + world.entities - n]
        position = torch.cat([here, rest], 1)
        velocity = torch.cat([pairs[:, :, fast], torch.zeros_like(rest)], 1)
        tokens = torch.cat([position, velocity], -1)
        again = look(world.restored(tokens.to(**world.like)))
        if not isinstance(again, Tensor) or again.shape != observations.shape:
            many = f"{again.shape[-1]} numbers" if isinstance(again, Tensor) else "different numbers in each team"
            raise refuse("observations", f"{observations.shape[-1]} numbers", f"what agents see in this world: {many}")
        fine = _close(again, observations.to(again))
        if bool(fine.all()):
            return tokens
        wrong = max(wrong, int((~fine).nonzero()[0]))
    raise refuse(f"observations[{wrong}]", "no view of a state", "what agents of this world and variant see of one")


def _close(x: Tensor, y: Tensor) -> Tensor:
    """[k, ...] -> [k]."""
    return ((x - y).abs() <= TOLERANCE * (1 + y.abs())).flatten(1).all(-1)
