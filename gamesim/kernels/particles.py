"""Discs that push one another, in batches of worlds: one step of all agents of all worlds as one tensor expression.

With u_i the force that agent i chooses, d_ij = |x_i - x_j| and s_ij the sum of the radii of entities i and j,

    F_i = c_i u_i + sum_{j != i} 100 k log(1 + exp((s_ij - d_ij) / k)) (x_i - x_j) / d_ij,        k = 0.001
    v_i <- (1 - 0.25) v_i + 0.1 F_i        and no faster than the agent's limit
    x_i <- x_i + 0.1 v_i                   with v_i from before that (position first) or from after it

The sum is over entities that collide; two at the same place do not push one another. `cut` leaves out pushes beyond
contact, d_ij > s_ij. These are the constants of the multi-agent particle environments (Lowe et al., "Multi-agent
actor-critic for mixed cooperative-competitive environments", NeurIPS 2017) and of what has grown from them.
"""

import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from gamesim.kernels import allowed

TIME, DAMPING, STIFFNESS, MARGIN = 0.1, 0.25, 100.0, 1e-3


@dataclass(frozen=True)
class Physics:
    """What moves, how hard and how fast; tensors share dtype and device."""

    radius: Tensor
    """Of every entity, [e]; the first n act."""
    strength: Tensor
    """Of the force that an agent may choose, c_i, [n]; 0 for one that stays where it is."""
    fastest: Tensor
    """The speed limit of each agent, [n]; infinity for none."""
    colliding: int
    """How many entities collide: the first ones."""
    position_first: bool
    """Whether positions move by the velocity from before a step."""
    limited: bool = False
    """Whether any agent has a speed limit."""
    cut: bool = False
    """Whether entities that do not touch leave one another alone."""

    def moved(self, position: Tensor, velocity: Tensor, force: Tensor) -> tuple[Tensor, Tensor]:
        """Agents' positions and velocities [..., n, 2] after a step; position[..., e, 2], chosen force[..., n, 2]."""
        n = len(self.strength)
        total = self.strength[:, None] * force + self.pushes(position).sum(-2)
        here, before = position[..., :n, :], velocity[..., :n, :]
        after = before * (1 - DAMPING) + total * TIME
        if self.limited:
            speed = after.square().sum(-1, keepdim=True)
            over = speed > self.fastest[:, None].square()
            slowed = after / torch.where(over, speed, 1.0).sqrt() * self.fastest[:, None]
            after = torch.where(over, slowed, after)
        return here + TIME * (before if self.position_first else after), after

    def pushes(self, position: Tensor) -> Tensor:
        """The contact force on each agent of each colliding entity, [..., n, c, 2]."""
        n, c = len(self.strength), self.colliding
        apart = position[..., :n, None, :] - position[..., None, :c, :]
        square = apart.square().sum(-1)
        there = square > 0
        distance = torch.where(there, square, 1.0).sqrt()
        touching = self.radius[:n, None] + self.radius[:c]
        into = (touching - distance) / MARGIN
        push = torch.logaddexp(into, torch.zeros_like(into)) * MARGIN
        push = torch.where(there & (distance <= touching) if self.cut else there, push, 0.0)
        return STIFFNESS * apart / distance[..., None] * push[..., None]


# --- many steps in compiled loops -------------------------------------------------------------------------------------

MANY = 2_000
"""Agents times steps of one call, below which torch is done before numba is imported."""


@dataclass(frozen=True)
class Pay:
    """Which reward the loops pay, and its numbers."""

    kind: str
    """spread, or tag."""
    weights: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    """Of the reward of spread: of what is covered, own overlaps, everyone's, and a constant."""
    inverse: bool = False
    """Whether a landmark is worth min(1 / distance, 10), and not minus the distance."""
    teams: tuple[int, ...] = ()
    """Only agents of different teams overlap; of tag 0 hunts and 1 is hunted."""


@dataclass(frozen=True)
class Shown:
    """How the loops write observations."""

    silent: bool
    """With two zeros for each other agent."""
    place_first: bool
    """Own position before own velocity."""


@dataclass(frozen=True)
class Drawn:
    """Moves drawn from one law: thresholds below[a - 1], and what names the numbers."""

    below: Tensor
    keys: Tensor
    iteration: int
    draw: int


@dataclass(frozen=True)
class Played:
    """What came of several steps; without tokens or observations where they were not asked for."""

    position: Tensor
    """[b, e, 2] at the end."""
    velocity: Tensor
    rewards: Tensor
    """[b, steps, n]."""
    actions: Tensor
    """[b, steps, n] or [b, steps, n, 2], given or drawn."""
    tokens: Tensor | None
    """[b, steps + 1, e, 4]."""
    observations: Tensor | None
    """[b, steps + 1, n * o]."""


def serves(*given: Tensor) -> bool:
    """Whether the loops can take these: floating-point numbers of one type in memory, nothing being differentiated."""
    return (
        allowed()
        and all(type(x) is Tensor and x.device.type == "cpu" and not x.requires_grad for x in given)
        and len({x.dtype for x in given if x.is_floating_point()}) == 1
        and given[0].dtype in (torch.float32, torch.float64)
        and not any(torch._C._functorch.is_functorch_wrapped_tensor(x) for x in given)
        and forward_ad._current_level < 0
    )


def ready(work: int) -> bool:
    """Whether so many agents times steps are worth it: numba is imported once there is enough to do."""
    return work >= MANY or "gamesim.kernels.particles_loops" in sys.modules


def play(
    physics: Physics,
    pay: Pay,
    position: Tensor,
    velocity: Tensor,
    actions: Tensor | Drawn,
    steps: int,
    *,
    tokens: bool = False,
    shown: Shown | None = None,
) -> Played:
    """So many steps of all worlds from position[b, e, 2], by moves[b, steps, n], forces[b, steps, n, 2] or a law.

    With a law of several keys, each has as many worlds, one after another.
    """
    from gamesim.kernels import particles_loops as loops

    batch, e, n, like = len(position), position.shape[-2], len(physics.strength), position.new_empty
    kind = position.numpy().dtype
    moves, forces = torch.empty(0, 0, 0, dtype=torch.int64), like(0, 0, 0, 0)
    below, keys, iteration, draw = torch.empty(0, dtype=torch.float64), torch.empty(0, 2, dtype=torch.int64), 0, 0
    if isinstance(actions, Drawn):
        below, keys = actions.below.to(torch.float64), actions.keys
        iteration, draw = actions.iteration, actions.draw
        moves = torch.empty(batch, steps, n, dtype=torch.int64)
    elif actions.is_floating_point():
        forces = actions
    else:
        moves = actions
    wide = 4 + 2 * (e - 1) + (2 * (n - 1) if shown is not None and shown.silent else 0)
    after, speed = (x.clone(memory_format=torch.contiguous_format) for x in (position, velocity))
    paid = like(batch, steps, n)
    written = like(batch, steps + 1, e, 4) if tokens else like(0, 0, 0, 0)
    seen = like(batch, steps + 1, n * wide) if shown is not None else like(0, 0, 0)
    lanes = int(loops.LANES)
    teams = np.array(pay.teams or range(n), np.int64)
    loops.play(
        *(x.numpy() for x in (after, speed, physics.radius, physics.strength, physics.fastest)),
        *(teams, physics.colliding, physics.position_first, physics.limited, physics.cut),
        *({"spread": loops.SPREAD, "tag": loops.TAG}[pay.kind], np.array(pay.weights, kind), pay.inverse),
        *(np.ascontiguousarray(x.numpy()) for x in (moves, forces)),
        *(np.ascontiguousarray(keys.numpy()), iteration, draw, np.ascontiguousarray(below.numpy())),
        32 if kind == np.float64 else 23,
        *(x.numpy() for x in (written, paid, seen)),
        *((shown.silent, shown.place_first) if shown is not None else (False, False)),
        np.empty((2 * e + 5 * n + 2) * lanes + 2 * (e + n), kind),
        np.empty(lanes, np.uint8),
        np.empty(n * lanes, np.uint64),
    )
    done = moves if isinstance(actions, Drawn) else actions
    return Played(after, speed, paid, done, written if tokens else None, seen if shown is not None else None)


def observe(position: Tensor, velocity: Tensor, agents: int, shown: Shown) -> Tensor:
    """What agents see, [b, n, o], from position[b, e, 2] and velocity[b, e, 2]."""
    from gamesim.kernels import particles_loops as loops

    batch, e = position.shape[:2]
    wide = 4 + 2 * (e - 1) + (2 * (agents - 1) if shown.silent else 0)
    out = position.new_empty(batch, agents * wide)
    flat = (x.contiguous().reshape(batch, 2 * e).numpy() for x in (position, velocity))
    loops.observe(*flat, agents, shown.silent, shown.place_first, out.numpy())
    return out.reshape(batch, agents, wide)
