"""What conservative critics are pushed down at: joint actions in which some agents do something else than the data.

    gap(S, A) = log sum_a' e^{f(S, a')} - f(S, A)        over a' that replace what everyone, or one agent alone, did

The sum (an integral where actions are forces) is exact for the moves of one agent, and else an average over samples
a'_1, ..., a'_m with their densities p:  log (1/m) sum_k e^{f(S, a'_k)} / p(a'_k).

Kumar, Zhou, Tucker and Levine, "Conservative Q-learning for offline reinforcement learning", NeurIPS 2020, appendix F,
for the samples; Shao et al., "Counterfactual conservative Q learning for offline multi-agent reinforcement learning",
NeurIPS 2023, arXiv 2309.12696, for one agent at a time. One agent of each set is drawn, not all N in turn: the mean is
the same, and memory does not grow with N^2.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gamesim.attention.layers import repeated
from gamesim.games.recorded import Batch, Sets
from gamesim.networks.adam import Weights
from gamesim.networks.heads import Categorical, Head
from gamesim.offline.critics import Critic, twins
from gamesim.randomness import Stream
from gamesim.shapes import broadcast_shapes


def everyone(sets: Sets) -> Tensor:
    """All agents, bool [agent]."""
    return torch.ones_like(sets.acting, dtype=torch.bool)


def someone(sets: Sets, front: tuple[int, ...], generator: Stream) -> Tensor:
    """One agent of each set, drawn evenly, bool [*front, agent]."""
    u = generator.uniform((*front, sets.teams.count), device=sets.acting.device)
    place = (u * sets.teams.sizes).long()
    return sets.teams.spread(place[..., None])[..., 0] == sets.teams.places


def moves(head: Categorical, agents: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Every move of each agent, [move, agent, size], and the density of an even draw among them, [move, agent]."""
    all_of_them = one_hot(torch.arange(head.count, device=like.device), head.count).to(like.dtype)
    found = all_of_them[:, None].expand(-1, agents, -1)
    return found, found.new_full(found.shape[:-1], -math.log(head.count))


def sampled(
    head: Head,
    outs: Sequence[Tensor],
    samples: int,
    front: tuple[int, ...],
    agents: int,
    generator: Stream,
    like: Tensor,
) -> tuple[Tensor, Tensor]:
    """So many even draws, and as many from each of some policies: [..., m, agent, size] and log p, [..., m, agent]."""
    even = head.uniform((*front, samples, agents), generator, like)
    volume = math.log(head.count) if isinstance(head, Categorical) else head.size * math.log(2)
    actions, densities = [even], [even.new_full(even.shape[:-1], -volume)]
    for out in outs:
        shown = out.unsqueeze(-3)
        drawn, log_prob = head.sample(shown.expand(*shown.shape[:-3], samples, *shown.shape[-2:]), generator)
        actions.append(drawn)
        densities.append(log_prob)
    shape = broadcast_shapes(*(x.shape for x in actions))
    return (
        torch.cat([x.expand(shape) for x in actions], -3),
        torch.cat([x.expand(shape[:-1]) for x in densities], -2),
    )


def deviating(actions: Tensor, who: Tensor, others: Tensor) -> Tensor:
    """Actions [..., agent, size] with those of some [..., agent] replaced in each of m ways: [..., m * agent, size].

    others [..., m, agent, size] says by what; the m joint actions of all sets come one behind the other.
    """
    found = torch.where(who[..., None, :, None], others, actions.unsqueeze(-3))
    return found.flatten(-3, -2)


def valued(critic: Critic, weights: Weights, tokens: Tensor, actions: Tensor, sets: Sets) -> Tensor:
    """Values of m joint actions of each set, [..., m, b], from actions [..., m * agent, size]."""
    many = actions.shape[-2] // len(sets.acting)
    found = critic(weights, repeated(tokens, many), actions, sets.times(many))
    return found.reshape(*found.shape[:-1], many, sets.teams.count)


def gaps(
    critic: Critic, weights: Weights, batch: Batch, who: Tensor, others: Tensor, log_density: Tensor
) -> tuple[Tensor, Tensor]:
    """f(S, A) and gap(S, A) of each twin, both [..., 2, b]; others and densities as `moves` or `sampled` give them."""
    actions = deviating(batch.actions, who, others)
    front = broadcast_shapes(batch.actions.shape[:-2], actions.shape[:-2])
    both = torch.cat([x.expand(*front, *x.shape[-2:]) for x in (batch.actions, actions)], -2)
    f = valued(critic, weights, twins(batch.tokens), twins(both), batch.sets)
    here, there = f[..., 0, :], f[..., 1:, :]
    log_p = batch.sets.teams.sum(torch.where(who[..., None, :], log_density, 0.0)[..., None])[..., 0]
    shifted = there - log_p.unsqueeze(-3)
    return here, shifted.logsumexp(-2) - math.log(there.shape[-2]) - here
