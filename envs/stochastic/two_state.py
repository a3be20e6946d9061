"""The game of two states in which the first action is better, whatever the others do.

    S = 2, A = 2, N = 2;    R_i(s, a) = 1 if a_i = 1 else 0.3        (actions are numbered from 1)
    P(. | s, a) = (1 - stop) times a law uniform on the simplex, drawn for each (s, a);    rho = (1/2, 1/2)

The same share of the episodes stops everywhere, so that a policy is worth E[R] / stop wherever play begins: the best
answer is always the first action, by 0.7 in each step, and to play it everywhere is the only equilibrium, strict.

It is a strict policy of Giannou, Lotidis, Mertikopoulos and Vlatakis-Gkaragkounis, NeurIPS 2022, arXiv 2210.08857: lazy
policy gradient reaches it exactly, in finitely many iterations.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gamesim.envs.matrix.table import Drawn
from gamesim.envs.stochastic.table import UpTo1, WrittenGame
from gamesim.games import Policy


@final
@dataclass(frozen=True, kw_only=True)
class TwoState(Drawn, WrittenGame):
    """Two states, two players, two actions, of which the first is always better by 0.7."""

    stop: UpTo1 = 0.5
    """Chance that the episode ends after a step."""

    action_counts = (2, 2)
    state_count = 2

    def payments(self) -> Tensor:
        own = torch.tensor([1.0, 0.3], dtype=torch.float64)
        return torch.stack([own[:, None].expand(2, 2), own.expand(2, 2)])[:, None].expand(2, 2, 2, 2)

    def motion(self) -> Tensor:
        first = self.stream().uniform((*self.many, 2, 2, 2))
        return (1 - self.stop) * torch.stack([first, 1 - first], -1)

    @property
    def equilibrium(self) -> Policy:
        """The first action everywhere, a policy [..., s, a] for each player."""
        first = torch.tensor([1.0, 0.0], **self.like).expand(*self.batch, 2, 2)
        return first, first
