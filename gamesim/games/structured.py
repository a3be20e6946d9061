"""Normal-form games of many players whose structure gives payoff vectors without the payoff tensor.

A structured game answers for all players at once, in tensors [..., player, a] in which players with fewer actions than
others have unused entries; the tuples of policies that solvers hold are put together and taken apart here.
"""

from abc import abstractmethod
from math import prod
from typing import Any

import torch
from torch import Tensor

from gamesim import simplex
from gamesim.errors import refuse
from gamesim.games.game import Policy
from gamesim.games.matrix import LARGEST, MatrixGame, NormalFormGame
from gamesim.randomness import Stream

PIECE = 2**20
"""Numbers of payoffs that `tabulate` asks for at once."""


class StructuredGame(NormalFormGame):
    """A normal-form game that knows the payoff vectors of all players together."""

    @abstractmethod
    def vectors(self, x: Tensor) -> Tensor:
        """v_i(x)[a] as [..., player, a], for policies x[..., player, a]; entries that are no actions are not read."""

    @abstractmethod
    def replies(self, actions: Tensor) -> Tensor:
        """u_i(a; a_-i) as [..., player, a], for choices actions[..., player]."""

    def values(self, policy: Policy) -> Policy:
        return self.split(self.vectors(self.stacked(policy)))

    def answers(self, actions: Tensor, generator: Stream | None = None) -> Policy:
        return self.split(self.replies(actions))

    def play(self, actions: Tensor, generator: Stream | None = None) -> Tensor:
        replies = self.replies(actions)
        return replies.gather(-1, actions.expand(replies.shape[:-1]).unsqueeze(-1)).squeeze(-1)

    def regrets(self, policy: Policy, temperature: Any = 0.0) -> Tensor:
        if len(set(self.action_counts)) > 1:
            return super().regrets(policy, temperature)
        x = self.stacked(policy)
        batched = isinstance(temperature, Tensor) and temperature.dim()
        return simplex.regret(x, self.vectors(x), temperature.unsqueeze(-2) if batched else temperature)

    def stacked(self, policy: Policy) -> Tensor:
        """One tensor [..., player, a]; what a player does not have is 0."""
        widest = max(self.action_counts)
        padded = [torch.nn.functional.pad(x, (0, widest - x.shape[-1])) if x.shape[-1] < widest else x for x in policy]
        return torch.stack(torch.broadcast_tensors(*padded), -2)

    def split(self, values: Tensor) -> Policy:
        """A tensor for each player, [..., a]."""
        return tuple(v[..., :count] for v, count in zip(values.unbind(-2), self.action_counts, strict=True))


def tabulate(game: NormalFormGame) -> MatrixGame:
    """The payoff tensor of any normal-form game, by playing every profile: for small games, and to compare with."""
    counts, batch = game.action_counts, game.batch
    size = len(counts) * prod(counts) * prod(batch)
    if size > LARGEST:
        raise refuse("game", f"{size:.1e} payoffs", f"at most {LARGEST:,}: such a game is played without its tensor")
    device, found = game.like["device"], []
    step = max(1, PIECE // (len(counts) * prod(batch)))
    for begin in range(0, prod(counts), step):
        place = torch.arange(begin, min(begin + step, prod(counts)), device=device)
        profile = torch.stack(torch.unravel_index(place, counts), -1)
        paid = game.play(profile.reshape(-1, *[1] * len(batch), len(counts)))
        found.append(paid.expand(-1, *batch, -1))
    payoffs = torch.cat(found).movedim(0, -1).unflatten(-1, counts)
    return MatrixGame(payoffs, game.players, game.actions, len(counts))
