"""What the estimate of action values is drawn from: sampled positions and counted transitions.

An agent at a sampled position feels the aggregate of a fixed flow there and otherwise lives in a Markov decision
process of its own. All that a regression needs of an episode is which (s, a, t) it passed at each step, so play is kept
as counts. Letters: e episode, n sampled position.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gamesim.games import GraphonGame
from gamesim.populations import sample_play
from gamesim.randomness import Stream
from gamesim.shapes import broadcast_shapes

AT_ONCE = 500_000
"""Agent steps drawn at once, for each seed."""

Counts = Callable[[int], Tensor]
"""Step h -> how often each transition was seen, [..., n, s, a, t] in float64; asked for once, from the last step on."""


def play_episodes(
    game: GraphonGame, z: Tensor, policy: Tensor, initial: Tensor, episodes: int, generator: Stream
) -> Counts:
    """K episodes of each agent who feels z[..., h, n, s] and plays policy[..., h, n, s, a]."""
    horizon, agents, states, actions = policy.shape[-4:]
    each, codes = max(1, AT_ONCE // (agents * horizon)), list[Tensor]()
    for begin in range(0, episodes, each):
        play = sample_play(game, z, policy, initial, min(each, episodes - begin), generator)
        code = (play.states.long() * actions + play.actions) * states + play.next_states
        codes.append(code.to(torch.int32))  # half the memory, and states are never so many
    code = torch.cat(codes, -3)

    def counts(h: int) -> Tensor:
        cells = _count(code.select(-2, h).long().transpose(-2, -1), states * actions * states)
        return cells.reshape(*cells.shape[:-1], states, actions, states)

    return counts


def draw_transitions(game: GraphonGame, z: Tensor, batch: Sequence[int], draws: int, generator: Stream) -> Counts:
    """K fresh next states of every (s, a) at every step: a generative model instead of episodes."""
    agents, states, actions = z.shape[-2], *game.shape[-2:]
    each = max(1, AT_ONCE // (agents * states * actions))

    def counts(h: int) -> Tensor:
        law = game.kernel(h, z.select(-3, h)).expand(*batch, agents, states, actions, states)
        below, found = law.cumsum(-1)[..., :-1].contiguous(), torch.zeros_like(law, dtype=torch.float64)
        for begin in range(0, draws, each):
            shape = (*law.shape[:-1], min(each, draws - begin))
            found += _count(torch.searchsorted(below, generator.uniform(shape, law.dtype, law.device)), states)
        return found

    return counts


def _count(code: Tensor, cells: int) -> Tensor:
    """How often each of so many cells was named by code[..., e]: [..., cells]."""
    counts = torch.zeros(*code.shape[:-1], cells, dtype=torch.float64, device=code.device)
    return counts.scatter_add_(-1, code, counts.new_ones(()).expand_as(code))


def nearest(x: Tensor, to: Tensor) -> Tensor:
    """The index of the nearest of increasing positions x[..., n] to each of to[..., k]: [..., k]; left in a tie.

    >>> nearest(torch.tensor([0.1, 0.5]), torch.tensor([0.0, 0.3, 0.31, 1.0]))
    tensor([0, 0, 1, 1])
    """
    middle = (x[..., 1:] + x[..., :-1]) / 2
    batch = broadcast_shapes(x.shape[:-1], to.shape[:-1])
    middle, to = middle.expand(*batch, middle.shape[-1]), to.expand(*batch, to.shape[-1])
    return torch.searchsorted(middle.contiguous(), to.contiguous())
