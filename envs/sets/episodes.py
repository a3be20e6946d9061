"""Whole episodes of particle worlds at once: of actions that are known, or drawn at random."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.worlds import Particles, Recording
from gamesim.kernels.particles import Drawn, play
from gamesim.parameters import Count, convert
from gamesim.randomness import Stream
from gamesim.shapes import broadcast_shapes

if TYPE_CHECKING:
    from gamesim.envs.sets.discs import Discs


@dataclass(frozen=True)
class Rolled(Recording):
    """Episodes as they were played; tokens are empty where they were not asked for."""

    observations: Any = None
    """[..., steps + 1, n, o], where they were asked for; a tuple where teams see different things."""


def replayed(world: "Discs", state: Particles, actions: Tensor, tokens: bool, observed: bool) -> Rolled:
    """What comes of actions, [..., steps, n] or [..., steps, n, d], from a state on."""
    world.require_room(state)
    time = world.time
    if actions.dim() < -time or not actions.shape[time]:
        raise refuse("actions", f"shape {list(actions.shape)}", "actions of at least one step, [..., steps, n]")
    checked, steps = world.checked(actions, state.position), actions.shape[time]
    state = widened(state, broadcast_shapes(state.position.shape[:-2], actions.shape[:time]))
    if world.fused(state, steps * state.position.shape[:-2].numel(), checked, observed=observed):
        return looped(world, state, checked, steps, tokens=tokens, observed=observed)
    chosen = iter(checked.unbind(time))
    return stepped(world, state, lambda k: next(chosen), steps, tokens, observed)


def wandered(
    world: "Discs",
    front: tuple[int, ...],
    generator: Stream,
    steps: int | None,
    law: Tensor | None,
    tokens: bool,
    observed: bool,
) -> Rolled:
    """Episodes in which everyone draws every move from one law [a], or from the uniform one."""
    law = world.start()[0] if law is None else law.to(**world.like)
    if tuple(law.shape) != (world.action_count,):
        raise refuse("law", f"shape {list(law.shape)}", f"[{world.action_count}], a probability for each move")
    if not bool((law >= 0).all()) or abs(float(law.sum()) - 1) > 1e-4:
        raise refuse("law", law.tolist(), "probabilities that sum to 1")
    state, below = world.begin(front, generator), law.cumsum(-1)[:-1]
    steps = world.steps if steps is None else convert(steps, Count, "steps")
    if world.actions == "discrete" and world.fused(state, steps * math.prod(front), observed=observed):
        keys, iteration, draw = generator.take()
        for _ in range(steps - 1):
            generator.take()  # one draw for each step, as below
        drawn = Drawn(below, keys, iteration, draw)
        return looped(world, state, drawn, steps, tokens=tokens, observed=observed)

    def draw_moves(k: int) -> Tensor:
        u = generator.quick((*front, world.acting), **world.like)
        return world.played((below <= u[..., None]).sum(-1))

    return stepped(world, state, draw_moves, steps, tokens, observed)


def widened(state: Particles, front: tuple[int, ...]) -> Particles:
    """The state expanded to these leading dimensions."""
    own = state.position.dim() - 2
    position, velocity, *extra = (
        x.expand(*front, *x.shape[own:]) for x in (state.position, state.velocity, *state.extra)
    )
    return Particles(position, velocity, tuple(extra))


def stepped(
    world: "Discs", state: Any, act: Callable[[int], Tensor], steps: int, tokens: bool, observed: bool
) -> Rolled:
    """One step after another."""
    seen, shown = [world.tokens(state)] if tokens else [], [world.observations(state)] if observed else []
    done, paid = list[Tensor](), list[Tensor]()
    for k in range(steps):
        done.append(act(k))
        state, rewards = world.step(state, done[-1])
        paid.append(rewards)
        if tokens:
            seen.append(world.tokens(state))
        if observed:
            shown.append(world.observations(state))
    teams = [x if isinstance(x, tuple) else (x,) for x in shown]
    together = tuple(torch.stack(x, -3) for x in zip(*teams, strict=True))
    return Rolled(
        torch.stack(seen, -3) if tokens else state.position.new_empty(0),
        torch.stack(done, world.time),
        torch.stack(paid, -2),
        state,
        None if not observed else together if isinstance(shown[0], tuple) else together[0],
    )


def looped(
    world: "Discs",
    state: Particles,
    actions: Tensor | Drawn,
    steps: int,
    *,
    tokens: bool = False,
    observed: bool = False,
) -> Rolled:
    """The same in compiled loops."""
    front, time = state.position.shape[:-2], world.time
    if isinstance(actions, Tensor):
        front = broadcast_shapes(front, actions.shape[:time])
        actions = actions.expand(*front, *actions.shape[time:]).reshape(-1, *actions.shape[time:])
    state = widened(state, front)
    position, velocity = (x.reshape(-1, *x.shape[-2:]) for x in (state.position, state.velocity))
    assert world.pay is not None
    shown = world.shown if observed else None
    found = play(world.physics, world.pay, position, velocity, actions, steps, tokens=tokens, shown=shown)

    def whole(x: Tensor | None) -> Tensor:
        return position.new_empty(0) if x is None else x.reshape(*front, *x.shape[1:])

    seen = None if found.observations is None else whole(found.observations.unflatten(-1, (world.acting, -1)))
    final = replace(state, position=whole(found.position), velocity=whole(found.velocity))
    return Rolled(whole(found.tokens), whole(found.actions), whole(found.rewards), final, seen)
