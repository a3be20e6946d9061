"""Agents of the continuum, sampled: who is in which state and does what, for thousands of episodes at once.

An agent of the *continuum* lives at a position x and feels the aggregate z_h(x) of a given flow: agents do not touch
one another, and an episode is a Markov chain of its own,

    a_h ~ pi_h(. | x, s_h),    s_{h+1} ~ P_h(. | s_h, a_h, z_h(x)),    r_h = r_h(s_h, a_h, z_h(x)).

This is how Zhang, Tan, Wang and Yang (arXiv 2310.17531) sample their data. Letters: e episode, n agent.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from gamesim.games import GraphonGame
from gamesim.graphons import interpolate
from gamesim.randomness import Stream
from gamesim.shapes import broadcast_shapes


class Play(NamedTuple):
    """What agents did, each [..., e, h, n]: `next_states` of the last step are where an episode ends."""

    states: Tensor
    actions: Tensor
    rewards: Tensor
    next_states: Tensor


def sample_play(
    game: GraphonGame, z: Tensor, policy: Tensor, initial: Tensor, episodes: int, generator: Stream
) -> Play:
    """Episodes of agents of the continuum who feel z[..., h, n, s] and play policy[..., h, n, s, a].

    initial[..., n, s] is the law of their first state. A batch of seeds is the leading dimension, as the Stream wants.
    """
    batch = broadcast_shapes(z.shape[:-3], policy.shape[:-4], initial.shape[:-2])
    horizon, agents, states = z.shape[-3:]
    actions = policy.shape[-1]
    shape = (*batch, episodes, agents)
    place = torch.arange(agents, device=z.device)
    s = draw(initial, place.expand(shape), generator)
    steps = []
    for h in range(horizon):
        z_h = z.select(-3, h)
        a = draw(policy.select(-4, h).flatten(-3, -2), place * states + s, generator)
        at = (place * states + s) * actions + a
        reward = game.reward(h, z_h)
        reward = reward.expand(*reward.shape[:-3], agents, states, actions).flatten(-3)[..., None]
        t = draw(game.kernel(h, z_h).flatten(-4, -2), at, generator)
        steps.append((s, a, _rows(reward, at)[..., 0], t))
        s = t
    return Play(*(torch.stack(part, -2) for part in zip(*steps, strict=True)))


def initial_at(game: GraphonGame, positions: Tensor) -> Tensor:
    """The law of the first state at positions x[n], that of the nearest grid position: [n, s]."""
    law = game.initial.to(**game.like)
    if law.dim() == 1 or len(law) == 1:
        return law.expand(len(positions), law.shape[-1])
    return interpolate(law, game.grid, positions)


def draw(law: Tensor, row: Tensor, generator: Stream) -> Tensor:
    """One outcome of law[..., row, o] for each row[..., e, n]: [..., e, n], a batch of seeds in front of row."""
    u = generator.uniform(row.shape, law.dtype, law.device)
    return (_rows(law.cumsum(-1)[..., :-1], row) < u[..., None]).sum(-1)


def _rows(table: Tensor, row: Tensor) -> Tensor:
    """table[..., row, o] at row[..., e, n]: [..., e, n, o]."""
    table = table.expand(*row.shape[:-2], *table.shape[-2:])
    rows = row.flatten(-2)[..., None].expand(*row.shape[:-2], -1, table.shape[-1])
    found: Tensor = table.gather(-2, rows).unflatten(-2, row.shape[-2:])
    return found
