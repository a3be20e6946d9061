"""TD3+BC: follow the critic, but stay close to what the data do.

    a'     = pi'(S') + noise, clipped                          y = clip(r + discount (1 - end) min_j fbar_j(S', a'))
    critic   mean (f_j(S, A) - y)^2, j = 1, 2                                                      down
    actor    lambda mean f_1(S, pi(S)) - mean |pi(S) - A|^2,   lambda = alpha / mean |f_1(S, pi)|  up, every other step

Fujimoto and Gu, "A minimalist approach to offline reinforcement learning", NeurIPS 2021, on top of Fujimoto, van Hoof
and Meger, "Addressing function approximation error in actor-critic methods", ICML 2018: the smaller of two targets, a
policy that moves less often than its critics, and targets that follow slowly, those of the policy too. Here f sees the
joint action of a set. Of moves, a policy has no noise to be added and no square distance: moves are drawn, straight
through, and log pi(A | S) stands for -|pi(S) - A|^2.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from gamesim.games.recorded import Batch, Recorded
from gamesim.networks import Network, SetTransformer
from gamesim.networks.adam import Weights, adam
from gamesim.networks.heads import Categorical
from gamesim.offline.critics import blank, critic_of, followed, one_of, twins
from gamesim.offline.learners import Judged, Lesson, Offline
from gamesim.offline.targets import beside, decided, distance, target_of
from gamesim.parameters import Count, NonNegative, Probability
from gamesim.randomness import Stream
from gamesim.schedules import Constant, StepSize

CLIP = 2.5
"""The largest noise in standard deviations: 0.5 for 0.2, as in the paper."""


@dataclass(frozen=True)
class Delayed(Judged):
    """Policy and critics; the value is mean f_1(S, pi)."""

    followed: Weights
    """pi', which follows the policy."""


@dataclass(frozen=True)
class TD3BC(Offline):
    """A policy that climbs its critic and imitates the data, at once."""

    network: Network = SetTransformer()
    """Of the policy and of the critics: set-transformer, deep-sets, gcn or mlp."""
    alpha: NonNegative = 2.5
    """Weight of the critic, whose values are taken over their mean size: 0 imitates, large ones trust the critic."""
    batch_size: Count = 256
    """Transitions of a minibatch."""
    step_size: StepSize = Constant(1e-3)
    """Of Adam, for the policy and the critics."""
    delay: Count = 2
    """The policy and all targets move once in so many steps."""
    noise: NonNegative = 0.2
    """Standard deviation of what is added to forces in targets, 2.5 times that at most."""
    rate: Probability = 0.02
    """How far targets follow when they move."""

    advice: ClassVar[str] = "lower step_size or alpha, or raise batch_size"

    def init(self, game: Recorded) -> Delayed:
        actor, critics = blank(self.actor(game).network, game), blank(critic_of(game, self.network).network, game, 2)
        nothing = torch.zeros((), **game.like)
        return Delayed(actor, critics, critics.parameters, nothing, nothing, actor.parameters)

    def step(self, t: int, game: Recorded, state: Delayed, generator: Stream) -> Delayed:
        lesson = self.lesson(game, state, generator)
        if t == 0:
            state = lesson.begun(state, actor=lesson.actor.network, critic=lesson.critic.network)
            state = replace(state, followed=state.policy, target=state.critic.parameters)
        batch = lesson.minibatch(self.batch_size)
        state = self._criticised(t, lesson, state, batch)
        return state if (t + 1) % self.delay else self._acted(t, lesson, state, batch)

    def _criticised(self, t: int, lesson: Lesson, state: Delayed, batch: Batch) -> Delayed:
        game, critic, sets, front = lesson.game, lesson.critic, batch.sets, lesson.front
        following = self._smoothed(lesson, lesson.actor(state.followed, batch.after, sets))
        y = target_of(game, batch, critic(state.target, twins(batch.after), twins(following), sets).amin(-2))
        errors = list[Tensor]()

        def loss(weights: Weights) -> Tensor:
            f = critic(weights, twins(batch.tokens), twins(batch.actions), sets)
            errors.append((f - y.unsqueeze(-2)).square().mean(-1))
            return errors[0]

        moved = adam(state.critic, loss, self.step_size(t), t + 1, front)
        residual = errors[0].detach()[..., 0].sqrt() * game.reward_scale
        return replace(state, critic=moved, residual=residual.expand(front))

    def _acted(self, t: int, lesson: Lesson, state: Delayed, batch: Batch) -> Delayed:
        actor, critic, sets, front = lesson.actor, lesson.critic, batch.sets, lesson.front
        first = one_of(state.critic.parameters, critic.network, 0)
        values = list[Tensor]()

        def loss(weights: Weights) -> Tensor:
            out = actor(weights, batch.tokens, sets)
            f = critic(first, batch.tokens, decided(actor.head, out, lesson.luck), sets)
            values.append(f.detach().mean(-1))
            trust = beside(self.alpha, 0) / f.detach().abs().mean(-1).clamp(min=1e-6)
            return sets.team_mean(distance(actor.head, out, batch.actions)).mean(-1) - trust * f.mean(-1)

        moved = adam(state.actor, loss, self.step_size(t), (t + 1) // self.delay, front)
        return replace(
            state,
            actor=moved,
            followed=followed(state.followed, moved.parameters, self.rate, front),
            target=followed(state.target, state.critic.parameters, self.rate, front),
            value=values[0] * lesson.game.reward_scale,
        )

    def _smoothed(self, lesson: Lesson, out: Tensor) -> Tensor:
        """What the followed policy does after: forces with clipped noise, moves as they are drawn."""
        actions = decided(lesson.actor.head, out, lesson.luck)
        if isinstance(lesson.actor.head, Categorical):
            return actions
        noise = lesson.luck.normal((*lesson.alike, *actions.shape[-2:]), out.dtype, out.device)
        return (actions + beside(self.noise, 2) * noise.clamp(-CLIP, CLIP)).clamp(-1, 1)
