"""Worlds as networks: what a model F of a task makes of states and actions, and rollouts of a policy in it.

    S'_i = S_i + change_scale F(S, A)_i,    J = mean [ sum_{k<h} discount^k r(S_k, A_k) + discount^h f(S_h, A_h) ]

Everything is differentiable: a policy is followed upwards, and a model downwards, through the rollout.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from gamesim.games.recorded import Batch, Sets
from gamesim.networks.adam import Weights
from gamesim.networks.stateless import Stateless
from gamesim.offline.confidence import total_variation
from gamesim.offline.critics import joined, model_of, twins
from gamesim.offline.learners import Lesson
from gamesim.randomness import Stream

Transitions = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""S, A, r, S' and 1 where it goes on."""


class Imagined:
    """The networks of a task as worlds. Members of an ensemble are one dimension more, before a network's own."""

    def __init__(self, lesson: Lesson, horizon: int, noise: float, scaled: bool, penalty: Any = None) -> None:
        """horizon: steps of a rollout; noise: the least s; penalty: of disagreement, in the reward of members."""
        self.game, self.actor, self.critic = lesson.game, lesson.actor, lesson.critic
        self.model = model_of(lesson.game, lesson.network)
        self.horizon, self.noise, self.scaled, self.penalty = horizon, noise, scaled, penalty

    def change(self, models: Weights, tokens: Tensor, actions: Tensor, sets: Sets) -> Tensor:
        """By how much F changes the features of those who act, over `change_scale`: [..., agent, d]."""
        return self.model(models, joined(tokens, actions, sets), sets.layout, sets.acting)

    def changed(self, batch: Batch) -> Tensor:
        """By how much they did change."""
        acting, d = batch.sets.acting, len(self.game.change_scale)
        moved = batch.after.index_select(-2, acting) - batch.tokens.index_select(-2, acting)
        return moved[..., :d] / self.game.change_scale

    def sigma(self, error: Tensor) -> Tensor:
        """s, from the mean squared error of F^; infinite where F^ ran away, which the loop will see."""
        return error.sqrt().nan_to_num(nan=torch.inf, posinf=torch.inf).clamp(min=self.noise)

    def variation(self, apart: Tensor, sets: Sets, error: Tensor) -> Tensor:
        """TV of two worlds whose changes are so far apart, [..., b]; error [...] of F^."""
        return total_variation(apart, sets.teams, self.sigma(error)[..., None], scaled=self.scaled)

    def rollout(
        self, models: Weights, policy: Weights, rewards: Weights, tail: Weights, batch: Batch, luck: Stream
    ) -> tuple[Tensor, list[Transitions]]:
        """J of each start, [..., b], and the transitions of every step.

        All weights may have the dimension of members, and `batch` then one of size 1 in its place.
        """
        sets, total = batch.sets, torch.zeros((), **self.game.like)
        tokens, steps = batch.tokens, list[Transitions]()
        for k in range(self.horizon):
            actions, _ = self.actor.head.sample(self.actor(policy, tokens, sets), luck)
            change = self.change(models, tokens, actions, sets)
            paid = self.critic(rewards, tokens, actions, sets)
            if self.penalty is not None:
                paid = paid - self.penalty * self.disagreement(models, tokens, actions, sets)
            moved = pad(change * self.game.change_scale, (0, tokens.shape[-1] - change.shape[-1]))
            following = tokens.expand(*moved.shape[:-2], *tokens.shape[-2:]).index_add(-2, sets.acting, moved)
            steps.append((tokens.expand_as(following), actions, paid, following, torch.ones_like(paid)))
            total, tokens = total + self.game.discount**k * paid, following
        actions, _ = self.actor.head.sample(self.actor(policy, tokens, sets), luck)
        value: Tensor = total + self.game.discount**self.horizon * self.critic(tail, tokens, actions, sets)
        return value, steps

    def disagreement(self, models: Weights, tokens: Tensor, actions: Tensor, sets: Sets) -> Tensor:
        """max_k ||F_k - Fbar||_F / sqrt(N) at the states of each member, [..., member, b]."""
        everyone = lifted(models, self.model, 1)
        found = self.change(everyone, twins(tokens), twins(actions), sets)
        apart = (found - found.mean(-3, keepdim=True)).square().sum(-1)
        return sets.team_mean(apart).sqrt().amax(-2)


def lifted(weights: Weights, network: Stateless, inner: int = 0) -> Weights:
    """Weights of one network for all members; `inner`: before so many dimensions that it has of its own."""
    return tuple(x.unsqueeze(x.dim() - inner - len(s)) for x, s in zip(weights, network.shapes, strict=True))


def first_member(step: Transitions) -> Transitions:
    """What happened in the world of the first member."""
    s, a, r, after, going_on = step
    return s[..., 0, :, :], a[..., 0, :, :], r[..., 0, :], after[..., 0, :, :], going_on[..., 0, :]
