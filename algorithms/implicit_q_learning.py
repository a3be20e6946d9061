"""Implicit Q-learning: no action is ever asked about that the data do not hold.

    u      = min_j fbar_j(S, A) - V(S)
    value    mean |expectile - 1[u < 0]| u^2                                    down
    critic   mean (f_j(S, A) - y)^2,  y = clip(r + discount (1 - end) V(S'))    down
    actor    mean min(e^{beta u}, 100) log pi(A | S)                            up

V is an expectile of the values of the data's actions: 1/2 is their mean, and near 1 it tends to the largest value among
actions that the data do take, without a maximum over others. Kostrikov, Nair and Levine, "Offline reinforcement
learning with implicit Q-learning", ICLR 2022. Here A is the joint action of a set, f and V are invariant, and
log pi(A | S) is the mean over its agents, so that sets of different sizes count alike.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from gamesim.games.recorded import Recorded
from gamesim.networks import Network, SetTransformer
from gamesim.networks.adam import Trained, Weights, adam
from gamesim.offline.critics import blank, critic_of, followed, twins, value_of
from gamesim.offline.learners import Judged, Offline
from gamesim.offline.targets import beside, target_of
from gamesim.parameters import Count, Fraction, NonNegative, Probability
from gamesim.randomness import Stream
from gamesim.schedules import Constant, StepSize

LARGEST = 100.0
"""The largest weight of an action, as in the paper's code."""


@dataclass(frozen=True)
class Implicit(Judged):
    """Policy and critics, and the value of states; reported is its mean V(S)."""

    worth: Trained
    """V."""


@dataclass(frozen=True)
class ImplicitQLearning(Offline):
    """A policy that imitates the better actions of the data."""

    network: Network = SetTransformer()
    """Of the policy, values and critics: set-transformer, deep-sets, gcn or mlp."""
    expectile: Fraction = 0.7
    """Of the values of the data's actions in a state, which one is its value: 0.5 the mean, near 1 the best."""
    beta: NonNegative = 3.0
    """How much better actions count more, with rewards in standard deviations: 0 imitates all alike."""
    batch_size: Count = 256
    """Transitions of a minibatch."""
    step_size: StepSize = Constant(1e-3)
    """Of Adam, for all networks."""
    rate: Probability = 0.02
    """How far the targets of the critics follow in a step."""

    advice: ClassVar[str] = "lower step_size, or raise batch_size"

    def init(self, game: Recorded) -> Implicit:
        actor, worth = (blank(x.network, game) for x in (self.actor(game), value_of(game, self.network)))
        critics = blank(critic_of(game, self.network).network, game, 2)
        nothing = torch.zeros((), **game.like)
        return Implicit(actor, critics, critics.parameters, nothing, nothing, worth)

    def step(self, t: int, game: Recorded, state: Implicit, generator: Stream) -> Implicit:
        lesson, value = self.lesson(game, state, generator), value_of(game, self.network)
        actor, critic, front = lesson.actor, lesson.critic, lesson.front
        steps, step_size = t + 1, self.step_size(t)
        if t == 0:
            state = lesson.begun(state, critic=critic.network, actor=actor.network, worth=value.network)
            state = replace(state, target=state.critic.parameters)
        batch = lesson.minibatch(self.batch_size)
        sets, here, done = batch.sets, twins(batch.tokens), twins(batch.actions)
        f_bar = critic(state.target, here, done, sets).amin(-2)
        errors = list[Tensor]()

        def value_loss(weights: Weights) -> Tensor:
            u = f_bar - value(weights, batch.tokens, sets)
            return ((beside(self.expectile, 1) - (u.detach() < 0).to(u)).abs() * u.square()).mean(-1)

        worth = adam(state.worth, value_loss, step_size, steps, front)
        both = value(worth.parameters, torch.cat([batch.tokens, batch.after], -2), sets.times(2))
        v, v_after = both.chunk(2, -1)
        weight = (beside(self.beta, 1) * (f_bar - v)).exp().clamp(max=LARGEST)
        y = target_of(game, batch, v_after).unsqueeze(-2)

        def actor_loss(weights: Weights) -> Tensor:
            log_prob = actor.head.log_prob(actor(weights, batch.tokens, sets), batch.actions)
            return -(weight * sets.team_mean(log_prob)).mean(-1)

        def critic_loss(weights: Weights) -> Tensor:
            errors.append((critic(weights, here, done, sets) - y).square().mean(-1))
            return errors[0]

        moved = adam(state.critic, critic_loss, step_size, steps, front)
        return Implicit(
            actor=adam(state.actor, actor_loss, step_size, steps, front),
            critic=moved,
            target=followed(state.target, moved.parameters, self.rate, front),
            value=v.mean(-1) * game.reward_scale,
            residual=errors[0].detach()[..., 0].sqrt() * game.reward_scale,
            worth=worth,
        )
