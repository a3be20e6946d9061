"""Gains of best responses in units of what counts as none, where near ties would else add up to more than a gain.

A gain that is at most the difference of actions that counts as none is none. An episode has at most 1 / zeta steps in
the mean, each with such a difference, so that 100 / zeta times as much is a gain for sure; and so is 100 times as much
in one step, sum_a pi_i(a | s) (max_b Q_i(s, b) - Q_i(s, a)). What is between is asked again: without near ties,

    A_i(s, a) = Q_i(s, a) - V_i(s)    where that is more than counts as none, else 0

are paid for deviations. Then pi pays nothing, a best response to this pays what it gains by the performance difference
identity (Kakade and Langford, ICML 2002), and that is compared with the number of steps in which it deviates.
"""

import torch
from torch import Tensor

from gamesim.games import Policy, StochasticGame, TabularGame

CLEAR = 100.0
"""What is this many times above the tolerance counts as positive; between the two nothing is said."""


def surplus(game: TabularGame, policy: Policy, losses: Policy, gains: Tensor, small: Tensor, slight: Tensor) -> Tensor:
    """gains[..., player, s] in units of what counts as none: nobody gains up to 1, somebody does from `CLEAR` on.

    losses: max_b Q_i(s, b) - Q_i(s, a), [..., s, a] of each player; small and slight[..., player]: of one step, and of
    1 / zeta of them.
    """
    one, many = (x.clamp(min=1e-300)[..., None] for x in (small, slight))
    regrets = torch.stack([(x * loss).sum(-1) for x, loss in zip(policy, losses, strict=True)], -2)
    none, sure = gains <= one, torch.maximum(gains / many, regrets / one)
    doubtful = ~none & (sure <= CLEAR)
    if bool(doubtful.any()):
        sure = torch.where(
            doubtful, torch.maximum(_asked_again(game, policy, losses, regrets, one), regrets / one), sure
        )
    return torch.where(none, gains / one, sure)


def _asked_again(game: TabularGame, policy: Policy, losses: Policy, regrets: Tensor, one: Tensor) -> Tensor:
    """What deviations gain without near ties, in units of what counts as none, [..., player, s]."""
    n, counts = len(policy), game.action_counts
    worth = list[Tensor]()
    for i, loss in enumerate(losses):
        advantage = regrets[..., i, :, None] - loss
        worth.append(torch.where(advantage.abs() > one[..., i, :, None], advantage, 0.0))
    paid = [x.reshape(*x.shape[:-1], *[counts[i] if k == i else 1 for k in range(n)]) for i, x in enumerate(worth)]
    reward = torch.stack([x.expand(*x.shape[:-n], *counts) for x in paid], -2 - n)
    without = StochasticGame(reward, game.transition, game.initial, game.discount, player_count=n)
    replies, gained = without.best_responses(policy)
    found = list[Tensor]()
    for i, (reply, x) in enumerate(zip(replies, worth, strict=True)):
        chain = game.chain((*policy[:i], reply, *policy[i + 1 :]))
        identity = torch.eye(chain.shape[-1], dtype=chain.dtype, device=chain.device)
        steps = torch.linalg.solve(identity - chain, (reply * (x != 0)).sum(-1))
        found.append(gained[..., i, :] / (steps.clamp(min=1) * one[..., i, :]))
    return torch.stack(found, -2)
