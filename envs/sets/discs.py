"""What the particle worlds share: discs in the plane that push one another, moved by forces that agents choose.

The physics stands in `gamesim.kernels.particles`. A world adds how it begins, what it pays and what agents observe.
"""

from abc import abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from gamesim.envs.sets.episodes import Rolled, looped, replayed, wandered
from gamesim.envs.sets.moves import Outside, bounded_forces, whole_moves
from gamesim.errors import refuse
from gamesim.games.worlds import Particles, SetWorld
from gamesim.kernels.particles import DAMPING, STIFFNESS, TIME, Pay, Physics, Shown, ready, serves
from gamesim.parameters import Bounds, check
from gamesim.randomness import Stream
from gamesim.shapes import broadcast_shapes

Radius = Annotated[float, Bounds("a number above 0", 0, low_open=True)]
Share = Annotated[float, Bounds("a number from 0 to 1", 0, 1)]
Choice = Literal["discrete", "continuous"]
Precision = Literal["float32", "float64"]
MANY = 10**6  # of what has a place of its own
Crowd = Annotated[int, Bounds("a whole number from 1 to 1,000,000", 1, MANY)]
Several = Annotated[int, Bounds("a whole number from 0 to 1,000,000", 0, MANY)]


class Discs(SetWorld):
    """Particle worlds; fields `actions`, `outside`, `device` and `dtype` are those of every one of them."""

    actions: Choice
    outside: Outside
    device: str
    dtype: Precision

    def __post_init__(self) -> None:
        check(self)
        self.agree()

    def agree(self) -> None:
        """Refuse parameters that do not fit one another."""

    @property
    @abstractmethod
    def physics(self) -> Physics:
        """Sizes and strengths, and how positions and velocities move."""

    @property
    @abstractmethod
    def half(self) -> float:
        """Half the side of the square that agents begin in."""

    @abstractmethod
    def rewards(self, state: Particles) -> Tensor:
        """What each agent is paid for having come to a state, [..., n]."""

    @abstractmethod
    def observations(self, state: Particles) -> Tensor | tuple[Tensor, ...]:
        """What agents see, [..., n, o]; a tuple of teams where they see different things."""

    @property
    def like(self) -> dict[str, Any]:
        return {"dtype": getattr(torch, self.dtype), "device": self.device}

    @property
    def time(self) -> int:
        """Which dimension of actions of several steps is time."""
        return -2 if self.actions == "discrete" else -3

    @property
    def names(self) -> tuple[str, ...]:
        """Of the agents."""
        return tuple(f"agent_{i}" for i in range(self.acting))

    def begin(self, front: tuple[int, ...], generator: Stream) -> Particles:
        u = generator.uniform((*front, self.entities, 2), **self.like)
        position = self.half * (2 * u - 1)
        return Particles(self.placed(position, generator), torch.zeros_like(position))

    def placed(self, position: Tensor, generator: Stream) -> Tensor:
        """Where entities begin, from uniform positions; a world may say otherwise for some."""
        return position

    def step(self, state: Particles, actions: Tensor) -> tuple[Particles, Tensor]:
        self.require_room(state)
        checked = self.checked(actions, state.position)
        if self.fused(state, state.position.shape[:-2].numel(), checked):
            found = looped(self, state, checked.unsqueeze(self.time), 1)
            return found.final, found.rewards[..., 0, :]
        after = self.moved(state, self.forces_of(checked, state.position.dtype))
        return after, self.rewards(after)

    def replay(self, state: Particles, actions: Tensor, *, tokens: bool = True, observed: bool = False) -> Rolled:
        """What comes of these actions, [..., steps, n] or [..., steps, n, d], from a state on."""
        return replayed(self, state, actions, tokens, observed)

    def wander(
        self,
        front: tuple[int, ...],
        generator: Stream,
        steps: int | None = None,
        law: Tensor | None = None,
        *,
        tokens: bool = True,
        observed: bool = False,
    ) -> Rolled:
        """Episodes in which everyone draws every move from one law [a], or from the uniform one."""
        return wandered(self, front, generator, steps, law, tokens, observed)

    # --- compiled loops -----------------------------------------------------------------------------------------------

    @property
    def pay(self) -> Pay | None:
        """The reward as the compiled loops know it; none where they do not."""
        return None

    @property
    def shown(self) -> Shown | None:
        """The observations as the compiled loops know them; none where they do not."""
        return None

    def fused(self, state: Particles, worlds: int, *actions: Tensor, observed: bool = False) -> bool:
        """Whether the compiled loops do this, so many worlds times steps."""
        known = self.pay is not None and (self.shown is not None or not observed)
        return known and ready(worlds * self.acting) and serves(state.position, state.velocity, *actions)

    def moved(self, state: Particles, force: Tensor) -> Particles:
        """The state after a step under these forces, [..., n, 2]."""
        n, front = self.acting, broadcast_shapes(state.position.shape[:-2], force.shape[:-2])
        place, speed = (x.expand(*front, *x.shape[-2:]) for x in (state.position, state.velocity))
        agents = self.physics.moved(place, speed, force)
        position, velocity = (torch.cat([x, y[..., n:, :]], -2) for x, y in zip(agents, (place, speed), strict=True))
        return replace(state, position=position, velocity=velocity)

    def tokens(self, state: Particles) -> Tensor:
        return torch.cat([state.position, state.velocity], -1)

    def restored(self, tokens: Tensor) -> Particles:
        self.require_tokens(tokens)
        found = tokens.to(self.like["dtype"])
        return Particles(found[..., :2], found[..., 2:4])

    def require_tokens(self, tokens: Tensor) -> None:
        """Refuse what cannot be this world's tokens."""
        wanted = (self.entities, len(self.features))
        if tuple(tokens.shape[-2:]) != wanted or not tokens.is_floating_point():
            what = f"{tokens.dtype} of shape {list(tokens.shape)}"
            raise refuse("tokens", what, f"floating-point numbers [..., {wanted[0]}, {wanted[1]}]")
        if tokens.device != self.physics.radius.device:
            raise refuse("tokens", f"on {tokens.device}", f"tokens on {self.device}, where the world is")

    # --- actions ------------------------------------------------------------------------------------------------------

    def forces_of(self, actions: Tensor, dtype: torch.dtype) -> Tensor:
        """The force that each agent chose by a checked action, [..., n, 2] within [-1, 1]."""
        return self._forces.to(dtype)[actions] if self.actions == "discrete" else actions

    def require_room(self, state: Particles) -> None:
        """Refuse a state of another number of entities, another device or another precision."""
        for name, x in (("position", state.position), ("velocity", state.velocity)):
            if tuple(x.shape[-2:]) != (self.entities, 2) or not x.is_floating_point():
                what = f"{x.dtype} of shape {list(x.shape)}"
                raise refuse(f"state.{name}", what, f"floating-point numbers [..., {self.entities}, 2]")
            if x.device != self.physics.radius.device or x.dtype != self.like["dtype"]:
                what = f"{x.dtype} on {x.device}"
                raise refuse(f"state.{name}", what, f"{self.dtype} on {self.device}, as the world is")

    def checked(self, actions: Tensor, position: Tensor) -> Tensor:
        """Actions of this world: whole numbers below `action_count`, or forces, clipped where `outside` says so."""
        if not isinstance(actions, Tensor):
            raise refuse("actions", type(actions).__name__, "a tensor, one action for each agent")
        if actions.device != position.device:
            raise refuse("actions", f"on {actions.device}", f"actions on {position.device}, where the world is")
        if self.actions == "discrete":
            return whole_moves(actions, self.acting, self.action_count)
        return bounded_forces(actions, self.acting, self.lowest, self.outside).to(position.dtype)

    @cached_property
    def lowest(self) -> Tensor:
        """The least of each number of a continuous action; the largest is 1."""
        return torch.tensor([-1.0, -1.0], **self.like)

    @property
    def largest(self) -> float:
        """No number that an agent observes is larger in an episode: all contacts at once, always in one direction."""
        touching = 2 * float(self.physics.radius.max())
        contact = (STIFFNESS * touching + 0.1) * max(self.physics.colliding - 1, 0)
        fastest = TIME * (float(self.physics.strength.max()) + contact) / DAMPING
        return max(1.0, 2 * (self.half + TIME * fastest * self.steps), fastest)

    # --- one agent at a time, as environments of others have it -------------------------------------------------------

    def choices(self, agent: int) -> int:
        """How many discrete actions an agent has of its own."""
        return self.action_count

    def own(self, agent: int) -> list[int]:
        """Which numbers of a continuous action are an agent's own."""
        return list(range(self.action_size))

    def whole(self, agent: int, action: Tensor) -> Tensor:
        """An action of this world from one of the agent's own."""
        return action

    @cached_property
    def others(self) -> Tensor:
        """The numbers of all agents but each one, [n, n - 1]."""
        every = torch.arange(self.acting, device=self.device)
        return every.expand(self.acting, -1)[every[:, None] != every].reshape(self.acting, self.acting - 1)

    def relative(self, state: Particles) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Own velocity and position, and what is not an agent and the others as seen from there: [..., n, ., 2]."""
        n, front = self.acting, state.position.shape[:-2]
        here = state.position[..., :n, :]
        rest = state.position[..., None, n:, :] - here[..., :, None, :]
        others = here[..., self.others, :] - here[..., :, None, :]
        own = (x[..., :n, None, :].expand(*front, n, 1, 2) for x in (state.velocity, state.position))
        return (*own, rest, others)  # type: ignore[return-value]


def overlaps(position: Tensor, radius: Tensor) -> Tensor:
    """Whether entities overlap, [..., e, e], nobody with itself; from position[..., e, 2] and radius[e]."""
    square = (position[..., :, None, :] - position[..., None, :, :]).square().sum(-1)
    touching = radius[:, None] + radius
    own = torch.eye(len(radius), dtype=torch.bool, device=position.device)
    return (square.sqrt() < touching) & ~own
