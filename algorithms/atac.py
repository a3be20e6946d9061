"""Bellman-consistent pessimism: a critic that is as low as the data allow, and a policy that is good even so.

    L(f', f, pi) = mean_k (f'(S_k, A_k) - r_k - discount f(S'_k, pi))^2,    E(f, pi) = L(f, f, pi) - min_f' L(f', f, pi)
    pi^ = argmax_pi min_f  f(S_0, pi)   among f with E(f, pi) <= epsilon

(Zhang et al., arXiv 2209.09845, algorithm 1; Xie et al., "Bellman-consistent pessimism for offline reinforcement
learning", NeurIPS 2021), here in the form of a Lagrangian with networks, ATAC0 (Cheng et al., "Adversarially trained
actor critic for offline reinforcement learning", ICML 2022). On a minibatch, with a' ~ pi(S'), a_0 ~ pi(S_0) and
a ~ pi(S):

    y      = clip(r + discount (1 - end) min_j fbar_j(S', a'), V_min, V_max)
    E_j    = 1/2 mean (f_j(S, A) - y)^2 + 1/2 mean (f_j(S, A) - r - discount (1 - end) f_j(S', a'))^2
    critic   (mean f_j(S_0, a_0) + beta E_j) / max(beta, 1)                      down;    ||W||_F <= radius
    actor    mean f_1(S, a) + alpha H(pi)                                        up
    fbar   <- (1 - rate) fbar + rate f

The second square has a gradient through both of its values: without the first it would be biased by the randomness of
transitions, with both it follows E (double Q residual algorithm of the paper). `pessimism=relative` has
mean f_j(S, a) - f_j(S, A) in place of mean f_j(S_0, a_0), which is ATAC. f is invariant and pi equivariant under
renaming of agents; the reward is the mean of the team, so that V_max is one for any number of agents.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from gamesim.games.recorded import Batch, Recorded
from gamesim.networks import Network, SetTransformer
from gamesim.networks.adam import Weights, adam
from gamesim.offline.critics import blank, bounded, critic_of, followed, one_of, twins
from gamesim.offline.learners import Judged, Lesson, Offline
from gamesim.offline.targets import beside
from gamesim.parameters import Count, Natural, NonNegative, Positive, Probability
from gamesim.randomness import Stream
from gamesim.schedules import Constant, StepSize


@dataclass(frozen=True)
class Adversaries(Judged):
    """Policy and critics; the value is mean f_1(S_0, pi), of f_1(S, pi) - f_1(S, A) where pessimism is relative."""


@dataclass(frozen=True)
class ATAC(Offline):
    """An actor against critics that are as pessimistic as the data allow."""

    network: Network = SetTransformer()
    """Of the policy and of the critics: set-transformer, deep-sets, gcn or mlp."""
    beta: Positive = 16.0
    """Weight of consistency with the data: small ones are pessimistic."""
    pessimism: Literal["initial", "relative"] = "initial"
    """Of which value: that of the first states, as in the theory, or that of the policy over the data's."""
    batch_size: Count = 256
    """Transitions of a minibatch."""
    step_size: StepSize = Constant(1e-3)
    """Of Adam, for the critics."""
    actor_step_size: StepSize = Constant(3e-4)
    """Of Adam, for the policy: below that of the critics, who have to keep up."""
    warm_start: Natural = 1000
    """Steps in which the policy imitates and critics learn its value; a run that is no longer does nothing else."""
    rate: Probability = 0.02
    """How far targets follow in a step."""
    radius: Positive = 100.0
    """The largest Frobenius norm of a matrix of a critic."""
    alpha: NonNegative = 0.02
    """Weight of the policy's entropy, in units of the reward's standard deviation."""

    imitating: ClassVar[str] = "warm_start"
    advice: ClassVar[str] = "lower step_size or radius, or raise beta or batch_size"

    def init(self, game: Recorded) -> Adversaries:
        actor, critics = blank(self.actor(game).network, game), blank(critic_of(game, self.network).network, game, 2)
        nothing = torch.zeros((), **game.like)
        return Adversaries(actor, critics, critics.parameters, nothing, nothing)

    def step(self, t: int, game: Recorded, state: Adversaries, generator: Stream) -> Adversaries:
        lesson = self.lesson(game, state, generator)
        if t == 0:
            state = lesson.begun(state, actor=lesson.actor.network, critic=lesson.critic.network)
            state = replace(state, target=state.critic.parameters)
        batch = lesson.minibatch(self.batch_size)
        state = self._criticised(t, lesson, state, batch)
        return self._acted(t, lesson, state, batch)

    def _criticised(self, t: int, lesson: Lesson, state: Adversaries, batch: Batch) -> Adversaries:
        """The critics' step: towards the data, and down."""
        game, actor, critic, sets, front = lesson.game, lesson.actor, lesson.critic, batch.sets, lesson.front
        discount, relative = game.discount, self.pessimism == "relative"
        place = batch.tokens if relative else batch.starts  # where the critics are pessimistic
        out = actor(state.policy, torch.cat([batch.after, place], -2), sets.times(2))
        following, argued = actor.head.sample(out, lesson.luck)[0].chunk(2, -2)
        r, going_on = batch.rewards[..., None, :], (1 - batch.terminated)[..., None, :]
        f_bar = critic(state.target, twins(batch.after), twins(following), sets).amin(-2, keepdim=True)
        y = (r + discount * going_on * f_bar).clamp(*game.bounds)

        three, beta = sets.times(3), torch.as_tensor(self.beta).to(y)
        tokens = twins(torch.cat([batch.tokens, batch.after, place], -2))
        actions = twins(torch.cat([batch.actions.expand_as(following), following, argued], -2))
        said = list[tuple[Tensor, Tensor]]()

        def loss(weights: Weights) -> Tensor:
            f, f_after, f_argued = critic(weights, tokens, actions, three).chunk(3, -1)
            towards_target = (f - y).square().mean(-1)
            residual = (f - r - discount * going_on * f_after).square().mean(-1)
            consistency = (towards_target + residual) / 2
            value = f_argued.mean(-1) - (f.mean(-1) if relative else 0.0)
            said.append((value.detach(), towards_target.detach()))
            return consistency if t < self.warm_start else (value + beta * consistency) / beta.clamp(min=1.0)

        moved = adam(state.critic, loss, self.step_size(t), t + 1, front)
        moved = bounded(moved, critic.network, self.radius, front)
        value, error = (x[..., 0] for x in said[0])
        return replace(
            state,
            critic=moved,
            target=followed(state.target, moved.parameters, self.rate, front),
            value=(value * game.reward_scale).expand(front),
            residual=(error.sqrt() * game.reward_scale).expand(front),
        )

    def _acted(self, t: int, lesson: Lesson, state: Adversaries, batch: Batch) -> Adversaries:
        """The policy's step: up, by what the first critic says, and not too sure of itself."""
        actor, critic, sets = lesson.actor, lesson.critic, batch.sets
        first, alpha = one_of(state.critic.parameters, critic.network, 0), beside(self.alpha, 0)

        def loss(weights: Weights) -> Tensor:
            out = actor(weights, batch.tokens, sets)
            if t < self.warm_start:
                return -actor.head.log_prob(out, batch.actions).mean(-1)
            actions, log_prob = actor.head.sample(out, lesson.luck)
            found: Tensor = alpha * log_prob.mean(-1) - critic(first, batch.tokens, actions, sets).mean(-1)
            return found

        # while it imitates, the policy moves as fast as the critics do
        step_size = self.step_size(t) if t < self.warm_start else self.actor_step_size(t)
        return replace(state, actor=adam(state.actor, loss, step_size, t + 1, lesson.front))
