"""OMAR: conservative critics, and a policy that is shown better actions, found by search.

    critic   of multi-agent CQL: one agent at a time does something else               (conservative_q_learning)
    search   a*_i = argmax_a f_1(S, (a, A_-i)),  over all moves; or over forces, from a ~ N(mu, sigma^2), mu = 0:
             mu <- sum_k e^{f_1(a_k)} a_k / sum_k e^{f_1(a_k)},  sigma^2 <- mean_k (a_k - mu)^2,  and the best of the
             last round, unless pi_i(S) itself is better
    actor    (1 - guidance) mean f_1(S, pi(S)) - guidance mean_i |pi_i(S) - a*_i|^2     up

Pan, Huang, Ma and Xu, "Plan better amid conservatism: offline multi-agent reinforcement learning with actor
rectification", ICML 2022: gradients of a conservative critic lead to bad local optima, the more so the more agents
there are. OMAR has a critic for each agent that sees its own action alone; here one invariant critic sees all, and the
search goes over the own action with the data's for the others, one agent of each set in a step. Of moves a policy is
drawn straight through, and log pi_i(a*_i | S) stands for the distance.
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
from gamesim.offline.deviations import deviating, gaps, moves, sampled, someone, valued
from gamesim.offline.learners import Judged, Lesson, Offline
from gamesim.offline.targets import beside, decided, distance, target_of
from gamesim.parameters import Count, NonNegative, Positive, Probability
from gamesim.randomness import Stream
from gamesim.schedules import Constant, StepSize


@dataclass(frozen=True)
class Guided(Judged):
    """Policy and critics; the value is mean f_1(S, pi)."""

    followed: Weights
    """pi', which follows the policy."""
    gain: Tensor
    """mean f_1(S, (a*_i, A_-i)) - f_1(S, A), in units of reward: what the search found, [...]."""

    reported: ClassVar[tuple[str, ...]] = ("value", "residual", "gain")


@dataclass(frozen=True)
class OMAR(Offline):
    """Conservative critics, and an actor led towards the best actions that a search finds."""

    network: Network = SetTransformer()
    """Of the policy and of the critics: set-transformer, deep-sets, gcn or mlp."""
    conservatism: NonNegative = 1.0
    """How hard values of other actions are pushed down, with rewards in standard deviations."""
    guidance: Probability = 0.7
    """Weight of the search against the critic's gradient: 0 is multi-agent CQL, 1 follows the search alone."""
    samples: Count = 10
    """Forces in a round of the search, and even ones that critics are pushed down at; moves are all gone through."""
    rounds: Count = 3
    """Of the search, among forces."""
    spread: Positive = 2.0
    """Standard deviation of forces in its first round; they are cut off at -1 and 1."""
    batch_size: Count = 256
    """Transitions of a minibatch."""
    step_size: StepSize = Constant(1e-3)
    """Of Adam, for the critics."""
    actor_step_size: StepSize = Constant(1e-3)
    """Of Adam, for the policy."""
    rate: Probability = 0.02
    """How far targets follow in a step."""

    advice: ClassVar[str] = "lower step_size or conservatism, or raise batch_size"

    def init(self, game: Recorded) -> Guided:
        actor, critics = blank(self.actor(game).network, game), blank(critic_of(game, self.network).network, game, 2)
        nothing = torch.zeros((), **game.like)
        return Guided(actor, critics, critics.parameters, nothing, nothing, actor.parameters, nothing)

    def step(self, t: int, game: Recorded, state: Guided, generator: Stream) -> Guided:
        lesson = self.lesson(game, state, generator)
        if t == 0:
            state = lesson.begun(state, actor=lesson.actor.network, critic=lesson.critic.network)
            state = replace(state, followed=state.policy, target=state.critic.parameters)
        batch = lesson.minibatch(self.batch_size)
        who = someone(batch.sets, lesson.alike, lesson.luck)
        state = self._criticised(t, lesson, state, batch, who)
        return self._acted(t, lesson, state, batch, who)

    def _criticised(self, t: int, lesson: Lesson, state: Guided, batch: Batch, who: Tensor) -> Guided:
        """The critics' step: towards the data, and down elsewhere."""
        game, critic, head, sets = lesson.game, lesson.critic, lesson.actor.head, batch.sets
        following = decided(head, lesson.actor(state.followed, batch.after, sets), lesson.luck)
        y = target_of(game, batch, critic(state.target, twins(batch.after), twins(following), sets).amin(-2))
        agents = len(sets.acting)
        if isinstance(head, Categorical):
            others, density = moves(head, agents, following)
        else:
            others, density = sampled(head, (), self.samples, lesson.alike, agents, lesson.luck, following)
        errors = list[Tensor]()

        def loss(weights: Weights) -> Tensor:
            f, gap = gaps(critic, weights, batch, who, others, density)
            errors.append((f - y.unsqueeze(-2)).square().mean(-1))
            return errors[0] / 2 + beside(self.conservatism, 1) * gap.mean(-1)

        moved = adam(state.critic, loss, self.step_size(t), t + 1, lesson.front)
        return replace(
            state,
            critic=moved,
            target=followed(state.target, moved.parameters, self.rate, lesson.front),
            residual=errors[0].detach()[..., 0].sqrt() * game.reward_scale,
        )

    def _acted(self, t: int, lesson: Lesson, state: Guided, batch: Batch, who: Tensor) -> Guided:
        """The policy's step: up, and towards what the search found."""
        actor, critic, head, sets = lesson.actor, lesson.critic, lesson.actor.head, batch.sets
        first = one_of(state.critic.parameters, critic.network, 0)
        best, gain = self.searched(lesson, first, batch, who, head.mode(actor(state.policy, batch.tokens, sets)))
        guidance = beside(self.guidance, 0)
        values = list[Tensor]()

        def loss(weights: Weights) -> Tensor:
            out = actor(weights, batch.tokens, sets)
            f = critic(first, batch.tokens, decided(head, out, lesson.luck), sets).mean(-1)
            values.append(f.detach())
            missed = sets.teams.sum(torch.where(who, distance(head, out, best), 0.0)[..., None])[..., 0]
            return guidance * missed.mean(-1) - (1 - guidance) * f

        moved = adam(state.actor, loss, self.actor_step_size(t), t + 1, lesson.front)
        return replace(
            state,
            actor=moved,
            followed=followed(state.followed, moved.parameters, self.rate, lesson.front),
            value=values[0] * lesson.game.reward_scale,
            gain=gain.mean(-1) * lesson.game.reward_scale,
        )

    def searched(
        self, lesson: Lesson, critic: Weights, batch: Batch, who: Tensor, own: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The best actions found for some agents, [..., agent, size], and what they gain over the data's, [..., b]."""
        head, sets, teams, agents = lesson.actor.head, batch.sets, batch.sets.teams, len(batch.sets.acting)

        def scores(others: Tensor) -> Tensor:
            return valued(lesson.critic, critic, batch.tokens, deviating(batch.actions, who, others), sets)

        def shown(f: Tensor) -> Tensor:
            return teams.spread(f[..., None])

        if isinstance(head, Categorical):
            tried = moves(head, agents, own)[0]
        else:
            shape = (*lesson.alike, self.samples, agents, own.shape[-1])
            mu, sigma = torch.zeros_like(own), torch.zeros_like(own) + beside(self.spread, 2)
            for _ in range(self.rounds):
                luck = lesson.luck.normal(shape, own.dtype, own.device)
                tried = (mu.unsqueeze(-3) + sigma.unsqueeze(-3) * luck).clamp(-1, 1)
                share = shown(scores(tried).softmax(-2))
                mu = (share * tried).sum(-3)
                sigma = (tried - mu.unsqueeze(-3)).square().mean(-3).sqrt()
            tried = torch.cat([tried, own.unsqueeze(-3)], -3)
        f = scores(tried)
        top, which = f.max(-2, keepdim=True)
        index = shown(which)
        best = tried.expand(*index.shape[:-3], *tried.shape[-3:]).gather(
            -3, index.expand(*index.shape[:-1], tried.shape[-1])
        )
        return best.squeeze(-3), top.squeeze(-2) - scores(batch.actions.unsqueeze(-3)).squeeze(-2)
