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
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamesim.games.recorded import Actor, Batch, Recorded
from gamesim.networks import Network, SetTransformer
from gamesim.networks.adam import Trained, Weights
from gamesim.networks.heads import Categorical
from gamesim.offline.critics import (
    Critic,
    actor_of,
    alike,
    blank,
    critic_of,
    drawn,
    followed,
    front_of,
    minibatch,
    one_of,
    twins,
)
from gamesim.offline.deviations import deviating, gaps, moves, sampled, someone, valued
from gamesim.offline.luck import common
from gamesim.offline.targets import beside, decided, distance, lowered, runaway, target_of
from gamesim.parameters import Count, NonNegative, Positive, Probability, check
from gamesim.randomness import Stream
from gamesim.schedules import Constant, StepSize


@dataclass(frozen=True)
class Guided:
    """The policy, its twin critics, what follows both, and what they said last."""

    actor: Trained
    critic: Trained
    """[..., 2, ...]: twins."""
    followed: Weights
    """Of the policy."""
    target: Weights
    """Of the critics."""
    value: Tensor
    """mean f_1(S, pi), in units of reward, [...]."""
    residual: Tensor
    """The root of mean (f_1 - y)^2, in units of reward, [...]."""
    gain: Tensor
    """mean f_1(S, (a*_i, A_-i)) - f_1(S, A), in units of reward: what the search found, [...]."""

    @property
    def policy(self) -> Weights:
        return self.actor.parameters

    @property
    def metrics(self) -> dict[str, Tensor]:
        return {"value": self.value, "residual": self.residual, "gain": self.gain}


@dataclass(frozen=True)
class OMAR:
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

    requires: ClassVar[type] = Recorded

    def __post_init__(self) -> None:
        check(self)

    def actor(self, game: Recorded) -> Actor:
        """The policy network, whose weights `result.policy` are."""
        return actor_of(game, self.network)

    def measures(self, game: Recorded) -> dict[str, Any]:
        return {"actor": self.actor(game)}

    def limits(self, game: Recorded) -> dict[str, tuple[float, str]]:
        return runaway(game, "lower step_size or conservatism, or raise batch_size")

    def init(self, game: Recorded) -> Guided:
        actor, critics = blank(self.actor(game).network, game), blank(critic_of(game, self.network).network, game, 2)
        nothing = torch.zeros((), **game.like)
        return Guided(actor, critics, actor.parameters, critics.parameters, nothing, nothing, nothing)

    def step(self, t: int, game: Recorded, state: Guided, generator: Stream) -> Guided:
        actor, critic = self.actor(game), critic_of(game, self.network)
        front = front_of(state.policy, actor.network)
        generator = common(generator, front)
        if t == 0:
            learned = drawn(actor.network, state.actor, front, generator)
            critics = drawn(critic.network, state.critic, front, generator, 2)
            state = replace(
                state, actor=learned, critic=critics, followed=learned.parameters, target=critics.parameters
            )
        batch = minibatch(game, self.batch_size, generator, front)
        who = someone(batch.sets, alike(generator, front), generator)
        state = self._criticised(t, game, critic, actor, state, batch, who, generator)
        return self._acted(t, game, critic, actor, state, batch, who, generator)

    def _criticised(
        self,
        t: int,
        game: Recorded,
        critic: Critic,
        actor: Actor,
        state: Guided,
        batch: Batch,
        who: Tensor,
        generator: Stream,
    ) -> Guided:
        """The critics' step: towards the data, and down elsewhere."""
        sets, head, front = batch.sets, actor.head, tuple(state.value.shape)
        following = decided(head, actor(state.followed, batch.after, sets), generator)
        y = target_of(game, batch, critic(state.target, twins(batch.after), twins(following), sets).amin(-2))
        agents = len(sets.acting)
        if isinstance(head, Categorical):
            others, density = moves(head, agents, following)
        else:
            luck = alike(generator, front)
            others, density = sampled(head, (), self.samples, luck, agents, generator, following)
        errors = list[Tensor]()

        def loss(weights: Weights) -> Tensor:
            f, gap = gaps(critic, weights, batch, who, others, density)
            errors.append((f - y.unsqueeze(-2)).square().mean(-1))
            return errors[0] / 2 + beside(self.conservatism, 1) * gap.mean(-1)

        moved = lowered(state.critic, loss, self.step_size(t), t + 1, front)
        return replace(
            state,
            critic=moved,
            target=followed(state.target, moved.parameters, self.rate, front),
            residual=errors[0].detach()[..., 0].sqrt() * game.reward_scale,
        )

    def _acted(
        self,
        t: int,
        game: Recorded,
        critic: Critic,
        actor: Actor,
        state: Guided,
        batch: Batch,
        who: Tensor,
        generator: Stream,
    ) -> Guided:
        """The policy's step: up, and towards what the search found."""
        sets, front = batch.sets, tuple(state.value.shape)
        first = one_of(state.critic.parameters, critic.network, 0)
        own = actor.head.mode(actor(state.policy, batch.tokens, sets))
        best, gain = self.searched(critic, first, actor, batch, who, own, generator)
        guidance = beside(self.guidance, 0)
        values = list[Tensor]()

        def loss(weights: Weights) -> Tensor:
            out = actor(weights, batch.tokens, sets)
            f = critic(first, batch.tokens, decided(actor.head, out, generator), sets).mean(-1)
            values.append(f.detach())
            missed = sets.teams.sum(torch.where(who, distance(actor.head, out, best), 0.0)[..., None])[..., 0]
            return guidance * missed.mean(-1) - (1 - guidance) * f

        moved = lowered(state.actor, loss, self.actor_step_size(t), t + 1, front)
        return replace(
            state,
            actor=moved,
            followed=followed(state.followed, moved.parameters, self.rate, front),
            value=values[0] * game.reward_scale,
            gain=gain.mean(-1) * game.reward_scale,
        )

    def searched(
        self, critic: Critic, weights: Weights, actor: Actor, batch: Batch, who: Tensor, own: Tensor, generator: Stream
    ) -> tuple[Tensor, Tensor]:
        """The best actions found for some agents, [..., agent, size], and what they gain over the data's, [..., b]."""
        sets, teams, agents = batch.sets, batch.sets.teams, len(batch.sets.acting)

        def scores(others: Tensor) -> Tensor:
            return valued(critic, weights, batch.tokens, deviating(batch.actions, who, others), sets)

        def shown(f: Tensor) -> Tensor:
            return teams.spread(f[..., None])

        if isinstance(actor.head, Categorical):
            tried = moves(actor.head, agents, own)[0]
        else:
            front = alike(generator, tuple(own.shape[:-2]))
            mu, sigma = torch.zeros_like(own), torch.zeros_like(own) + beside(self.spread, 2)
            for _ in range(self.rounds):
                luck = generator.normal((*front, self.samples, agents, own.shape[-1]), own.dtype, own.device)
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
