"""Random games that are made to have an equilibrium structure: solved by dominance, or without pure equilibria.

Actions stand in hidden orders, 0 the best, and are shuffled at the end.

Dominance-solvable: players judge in turns, in a hidden order. Action k of player i pays a gap uniform on (0.1, 1) less
than action k - 1 does, against others of whom those who judge before i play an action below k, and those who judge
after i one up to k. So the last action of the first player can be eliminated, then the last one of the next, and so on
until one profile is left. All other payoffs are uniform on (-1, 1), so that few actions are dominated at the start.

Cyclic: everyone but the last player wants to match the next one, and the last wants to be one on from the first.
Payoffs are uniform on (0, 1), and 1 more where one's wish comes true. All wishes cannot, so no profile is an
equilibrium; with two players and three actions best replies circle as in Shapley's game.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gamesim.envs.matrix.table import Few, SeededGame, profiles
from gamesim.errors import refuse
from gamesim.randomness import Stream


@final
@dataclass(frozen=True, kw_only=True)
class DominanceSolvable(SeededGame):
    """Iterated strict dominance leaves one profile, which is the only equilibrium and a strict one."""

    player_count: Few = 2
    """Number of players."""

    def table(self) -> Tensor:
        stream, n = self.stream(), self.player_count
        u = self.draw(stream, n, *self.action_counts)
        gaps = (1.1 + 0.9 * self.draw(stream, n, *self.action_counts)) / 2
        turn = self.draw(stream, n).argsort(-1).argsort(-1)
        order = profiles(self.action_counts)
        found = []
        for i, own in enumerate(u.unbind(-n - 1)):
            gap, axis, levels = gaps.select(-n - 1, i), i - n, [own.narrow(i - n, 0, 1)]
            before = (turn < turn[..., i : i + 1]).reshape(*turn.shape, *[1] * n)
            others = torch.arange(n).reshape(-1, *[1] * n) != i
            stays = ((order + before) * others).amax(-n - 1)
            for k in range(1, self.action_counts[i]):
                worse = levels[-1] - gap.narrow(axis, k, 1)
                levels.append(torch.where(stays.narrow(axis, k, 1) <= k, worse, own.narrow(axis, k, 1)))
            found.append(torch.cat(levels, axis))
        return shuffled(torch.stack(found, -n - 1), self.action_counts, stream, self)


@final
@dataclass(frozen=True, kw_only=True)
class Cyclic(SeededGame):
    """Best replies go round and round: there is no pure equilibrium."""

    player_count: Few = 2
    """Number of players."""

    def validate(self) -> None:
        if len(set(self.action_counts)) > 1 or self.action_counts[0] < 2:
            raise refuse("action_count", list(self.action_counts), "the same number for every player, 2 at least")

    def table(self) -> Tensor:
        stream, n = self.stream(), self.player_count
        u = (1 + self.draw(stream, n, *self.action_counts)) / 2
        choice = profiles(self.action_counts)
        wish = choice.roll(-1, 0)
        wish[-1] = (choice[0] + 1) % self.action_counts[0]
        return shuffled(u + (choice == wish), self.action_counts, stream, self)


def shuffled(u: Tensor, counts: tuple[int, ...], stream: Stream, game: SeededGame) -> Tensor:
    """u[..., player, a1, ..., an] with everybody's actions in a random order."""
    n = len(counts)
    for i, count in enumerate(counts):
        order = game.draw(stream, count).argsort(-1)
        index = order.reshape(*order.shape[:-1], *[1] * (1 + i), count, *[1] * (n - 1 - i)).expand(u.shape)
        u = u.gather(i - n, index)
    return u
