"""Random stochastic games around a strict policy, in which everybody's first action is the right one in every state.

The margin of a deterministic policy is the least by which the gradient of a player's payoff puts the action that it
plays above another,

    min over i, s, a != pi_i(s) of d(s) (Q_i(s, pi_i(s)) - Q_i(s, a))

and the policy is strict where that is positive. All deterministic policies are listed, games drawn until enough of them
have one with the margin that is asked for, and actions are put in an order that begins with it.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.envs.stochastic.families import RandomStochastic
from gamesim.games import Policy, StochasticGame, TabularGame


@dataclass(frozen=True, eq=False)
class StrictGames:
    """A batch of games, [game], and a policy that is strict in all of them."""

    name: str
    game: TabularGame
    policy: Policy
    """The first action everywhere, [s, a] for each player."""

    @property
    def count(self) -> int:
        return math.prod(self.game.batch)


def leads(game: TabularGame, policy: Policy, actions: Tensor) -> Tensor:
    """By how much v_i(s, .) at a policy puts actions[..., player, s] above the best other one, [..., player, s]."""
    found = list[Tensor]()
    for i, v in enumerate(game.gradients(policy)):
        place = actions[..., i, :, None].expand(*v.shape[:-1], 1)
        found.append(v.gather(-1, place)[..., 0] - v.scatter(-1, place, -torch.inf).amax(-1))
    return torch.stack(found, -2)


def margins(game: TabularGame, actions: Tensor) -> Tensor:
    """The margins of deterministic policies, actions[..., player, s] -> [...]."""
    return leads(game, deterministic(game, actions), actions).amin((-2, -1))


def deterministic(game: TabularGame, actions: Tensor) -> Policy:
    """The policies [..., s, a] that play actions[..., player, s]."""
    each = zip(actions.unbind(-2), game.action_counts, strict=True)
    return tuple(torch.nn.functional.one_hot(chosen, count).to(**game.like) for chosen, count in each)


def listed(game: TabularGame) -> Tensor:
    """The actions of every deterministic policy, [policy, player, s]."""
    rows = [torch.arange(count) for count in game.action_counts for _ in range(game.state_count)]
    return torch.cartesian_prod(*rows).reshape(-1, len(game.action_counts), game.state_count)


def first_actions(game: TabularGame) -> Tensor:
    """Everybody's first action in every state, [player, s]."""
    return torch.zeros(len(game.action_counts), game.state_count, dtype=torch.long)


def near(policy: Policy, away: float) -> Policy:
    """A deterministic policy with so much of the probability spread over the other actions."""
    return tuple((1 - away) * x + away * (1 - x) / (x.shape[-1] - 1) for x in policy)


def strict_games(count: int, least: float, states: int, actions: int, players: int = 2) -> StrictGames:
    """So many random games with a strict policy of at least that margin; play stops with a chance of a half."""
    rewards, laws, seed = list[Tensor](), list[Tensor](), 0
    while len(rewards) < count:
        drawn = RandomStochastic(
            seed=seed, state_count=states, action_count=actions, player_count=players, discount=0.5
        )
        every = listed(drawn)
        found = margins(drawn, every)
        if float(found.max()) >= least:
            reward, law = reordered(drawn, every[int(found.argmax())])
            rewards.append(reward)
            laws.append(law)
        seed += 1
    game = StochasticGame(torch.stack(rewards), torch.stack(laws), player_count=players)
    name = f"{count} random games (S = {states}, A = {actions}, N = {players})"
    return StrictGames(name, game, deterministic(game, first_actions(game)))


def reordered(game: TabularGame, actions: Tensor) -> tuple[Tensor, Tensor]:
    """R and discount * P of one game in which everybody's actions[player, s] have changed places with the first."""
    counts, S, n = game.action_counts, game.state_count, len(game.action_counts)
    place = [torch.arange(S).reshape(S, *[1] * n)]
    for i, count in enumerate(counts):
        order = torch.arange(count).repeat(S, 1)
        order = torch.where(order == actions[i, :, None], 0, order)
        order[:, 0] = actions[i]
        place.append(order.reshape(S, *[count if k == i else 1 for k in range(n)]))
    law = game.law.dense().reshape(S, *counts, S)
    paid = game.reward.movedim(0, -1)[tuple(place)].movedim(-1, 0)
    return paid, law[tuple(place)]
