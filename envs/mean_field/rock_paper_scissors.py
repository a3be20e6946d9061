"""Rock-paper-scissors in a crowd: everyone picks a hand, and meets a hand drawn from all that were picked.

States 0 start, 1 rock, 2 paper, 3 scissors; action a leads to state 1 + a from anywhere; everyone starts in 0.

    r_h(1, z) = 2 z(3) - z(2)      r_h(2, z) = 4 z(1) - 2 z(3)      r_h(3, z) = 6 z(2) - 3 z(1)      r_h(0, z) = 0

whatever the action: the choice made at h is paid at h + 1, and the last action plays no part. The game is neither
zero-sum nor monotone. All three hands pay 6/11 at the equilibrium (26, 20, 31) / 77, the only one.

Cui and Koeppl, "Approximately solving mean field games via entropy-regularized deep reinforcement learning", AISTATS
2021. This is MFGLib's variant (`rock_paper_scissors`; its T is horizon - 1), exactly.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gamesim.games import GraphonGame
from gamesim.graphons import ErdosRenyi, Graphon
from gamesim.parameters import Count


@final
@dataclass(frozen=True, kw_only=True)
class RockPaperScissors(GraphonGame):
    """Rock, paper, scissors against the crowd."""

    horizon: Count = 2
    """Number of decision steps; the hand chosen at step h is paid at h + 1."""
    graphon: Graphon | tuple[Graphon, ...] = ErdosRenyi(1.0)
    """How positions feel one another; erdos-renyi(1) is the plain mean-field game."""
    positions: Count | None = 1
    """Grid points: 1 where all positions are alike; give more with another graphon."""

    @property
    def initial(self) -> Tensor:
        return torch.tensor([1.0, 0.0, 0.0, 0.0], **self.like)

    def reward(self, h: int, z: Tensor) -> Tensor:
        _, rock, paper, scissors = z.unbind(-1)
        hands = [torch.zeros_like(rock), 2 * scissors - paper, 4 * rock - 2 * scissors, 6 * paper - 3 * rock]
        return torch.stack([torch.stack(hands, -1)] * 3, -1)

    def transition(self, h: int, z: Tensor) -> Tensor:
        return torch.eye(4, **self.like)[1:].expand(4, 3, 4)
