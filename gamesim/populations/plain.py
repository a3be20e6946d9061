"""Worlds of finitely many agents played in torch, one step at a time: what the compiled loops are held to.

It plays every game, on any device, in any precision; see `gamesim.populations.worlds` for the equations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gamesim.games.graphon import at_play
from gamesim.graphons.operators import Sparse, compressed
from gamesim.populations.networks import Network

if TYPE_CHECKING:
    from gamesim.populations.worlds import Worlds

ONE = 1 + 1e-9  # an aggregate of exactly 1 may be rounded up


def plain_play(
    worlds: Worlds, first: int, episodes: int, flow: bool, watch: Tensor, record: bool
) -> tuple[Tensor | float, ...]:
    """The parts of a Chunk."""
    game, index, like = worlds.game, worlds.index.to(worlds.game.device), worlds.game.like
    g, p, deviator, which = index.unbind(-1)
    where = worlds.where[g]
    count, n = where.shape
    states, actions = worlds.policy.shape[-2:]
    shape, row = (count, episodes, n), torch.arange(count, device=index.device)
    stream, deviates = worlds.streams.at(worlds.streams.iteration), deviator >= 0

    def draw(law: Tensor) -> Tensor:
        """One outcome of law[w, e, n, o] for each agent."""
        u = stream.uniform(shape, law.dtype, law.device, start=first * n)
        return (law.cumsum(-1)[..., :-1] < u[..., None]).sum(-1)

    def of_own(table: Tensor, own: Tensor) -> Tensor:
        """table[w, n, s, ...] in the agents' own states[w, e, n]."""
        return table[row[:, None, None], torch.arange(n, device=own.device), own]

    def played(tables: Tensor, deviations: Tensor, h: int) -> Tensor:
        """What each agent plays or gets at a step, [w, n, s, ...], of tables[p, h, k, s, ...] on the grid."""
        found = tables[p[:, None], h, where]
        if bool(deviates.any()):
            found[row[deviates], deviator[deviates]] = deviations[which[deviates], h]
        return found

    operators = [_operators(network, like) for network in worlds.networks]
    law = game.initial.to(**like)
    law = law[where] if law.dim() > 1 and len(law) > 1 else law.expand(count, n, states)
    own = draw(law[:, None].expand(*shape, states))
    returns = torch.zeros(shape, **like)
    population = torch.zeros(count, game.horizon, states, dtype=torch.int64, device=index.device)
    above = torch.zeros(count, dtype=torch.int64, device=index.device)
    lowest, laws, felt, stood, trail = 0.0, [], [], [], []
    watched = watch.to(index.device)[:, None, :].expand(-1, episodes, -1)
    for h in range(game.horizon):
        of = torch.nn.functional.one_hot(own, states)
        z, cut = _aggregates(worlds, operators[worlds.which[h]], worlds.networks[worlds.which[h]], g, of)
        above += cut
        chances = played(worlds.policy, worlds.deviation, h)
        a = draw(of_own(chances, own))
        reward = game.reward(h, z)
        gained = at_play(reward.expand(*shape, states, actions)[..., None], own, a)[..., 0]
        moves = game.law(h, own, a, z)
        lowest = min(lowest, float(moves.min()))
        population[:, h] = of.sum((1, 2))
        laws.append(of.sum(1) if flow else of.new_zeros(0))
        felt.append(z.gather(2, watched[..., None].expand(*watched.shape, states)))
        stood.append(own.gather(2, watched))
        trail.append((own.int(), a.int(), gained) if record else (of.new_zeros(0),) * 3)
        if len(worlds.value):
            now, then = (worlds.value.expand(len(worlds.where), -1, -1, -1)[:, :, t][g] for t in (h, h + 1))
            q = reward + game.expect(h, then[:, None].expand(z.shape), z)
            mine = own[..., None, None].expand(*shape, 1, actions)
            q = q.expand(*shape, states, actions).gather(-2, mine)[..., 0, :]
            gained = (of_own(chances, own) * q).sum(-1) - of_own(now, own)
        if worlds.temperature:
            gained = gained + of_own(played(worlds.bonus, worlds.deviation_bonus, h), own)
        returns = returns + gained
        own = draw(moves)
    taken = [torch.stack(part, 2 if record else 0) for part in zip(*trail, strict=True)]
    ever = torch.cat([taken[0], own.int()[:, :, None]], 2) if record else taken[0]
    seen = (torch.stack(felt, 2), torch.stack(stood, 2))
    return (returns, population, torch.stack(laws, 1 if flow else 0), *seen, ever, *taken[1:], above, lowest)


def _operators(network: Network, like: dict[str, Any]) -> list[tuple[Sparse, Tensor]]:
    """The adjacency of each of g networks, and the degrees[n, 1]."""
    here = torch.zeros(0, **like)
    degrees = network.degrees.to(here)
    return [
        (Sparse(compressed(network.matrix(i), here)), degree[:, None])
        for i, degree in enumerate(degrees.view(-1, len(network)))
    ]


def _aggregates(
    worlds: Worlds, operators: list[tuple[Sparse, Tensor]], network: Network, g: Tensor, of: Tensor
) -> tuple[Tensor, Tensor]:
    """G[w, e, n, s] of agents in states of[w, e, n, s], bounded as the game says, and how many were cut in a world."""
    game, scale = worlds.game, 1 / (len(network) * network.density)
    found = torch.zeros(of.shape, **game.like)
    for i, (operator, degree) in enumerate(operators):
        here = g == i if len(operators) > 1 else slice(None)
        z = operator(of[here].to(found)) * scale
        found[here] = game._bounded(z, degree * scale if game.normalize else None)
    if not game.z_is_probability or game.normalize or game.clip:
        return found, of.new_zeros(len(of))
    return found.clamp(max=1), (found > ONE).any(-1).sum((1, 2))
