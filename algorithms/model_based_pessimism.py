"""Model-based pessimism: the best policy in the worst world that the data allow.

    S' = F(S, A) + e,   rows of e normal with variance s^2;    F^ = argmin_F mean_k ||S'_k - F(S_k, A_k)||_F^2
    M  = { F : mean_k TV(P_F(. | S_k, A_k), P_F^(. | S_k, A_k))^2 <= zeta },    TV = erf(||F - F^||_F / (2 sqrt2 s))
    pi^ = argmax_pi min_{F in M} V^pi_F(S)

(Li et al., arXiv 2209.09845, algorithm 2; F equivariant under renaming of agents, the closed form of TV is that of two
normal laws of one variance). The first `fit` steps fit F^ by maximum likelihood, with an invariant network for the
reward, while the policy imitates the data. Then, with F-rollouts S = S_0, S_1, ..., S_h from states of the data,

    J(pi, F) = mean [ sum_{k<h} discount^k r(S_k, A_k) + discount^h f(S_h, A_h) ],    A_k ~ pi(S_k)

is followed upwards by pi, through the model, where the minimum over F has one of three forms:

    adversary   min_F J + weight mean TV^2            F begins at F^ and moves against pi (Rigter et al., RAMBO, 2022)
    ensemble    the least J of the members in M       F_k fitted to bootstrap samples of the data (Poisson weights)
    penalty     r - weight max_k ||F_k - Fbar||_F / sqrt(N)                        (Yu et al., MOPO, NeurIPS 2020)

f is learned by temporal differences on rollouts and on data. TV is taken of ||.||_F / sqrt(N), as `scaled` says:
without that it is near 1 for every large set, however well each agent is foretold.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from gamesim.offline.confidence import total_variation
from torch import Tensor
from torch.nn.functional import pad

from gamesim.errors import refuse
from gamesim.games.recorded import Actor, Batch, Recorded, Sets
from gamesim.networks import Network, SetTransformer
from gamesim.networks.adam import Trained, Weights, descended, gradients
from gamesim.offline.critics import (
    actor_of,
    blank,
    critic_of,
    drawn,
    followed,
    front_of,
    joined,
    minibatch,
    model_of,
    one_of,
    resampled,
    twins,
)
from gamesim.parameters import Count, NonNegative, Positive, Probability, check
from gamesim.randomness import Stream
from gamesim.schedules import Constant, StepSize


@dataclass(frozen=True)
class Imagined:
    """The policy, the worlds it is tried in, and what was found."""

    actor: Trained
    critic: Trained
    """f, twins [..., 2, ...]."""
    target: Weights
    models: Trained
    """F_k, [..., member, ...]; the first is F^."""
    rewards: Trained
    """r(S, A)."""
    adversary: Trained
    """F that moves against the policy."""
    error: Tensor
    """The mean squared error of each member, in units of how much features change, [..., member]."""
    apart: Tensor
    """mean TV^2 of each member to F^, [..., member]."""
    value: Tensor
    """J in units of reward, [...]."""

    @property
    def policy(self) -> Weights:
        return self.actor.parameters

    @property
    def metrics(self) -> dict[str, Tensor]:
        return {"value": self.value, "model_error": self.error[..., 0], "model_distance": self.apart.amax(-1)}


@dataclass(frozen=True)
class ModelBasedPessimism:
    """The best policy in the worst world that the data allow."""

    network: Network = SetTransformer()
    """Of the policy, values, rewards and worlds: set-transformer, deep-sets, gcn or mlp."""
    surrogate: Literal["adversary", "ensemble", "penalty"] = "ensemble"
    """What stands for the worst world."""
    members: Count = 5
    """Worlds fitted: one by maximum likelihood, the others to bootstrap samples. An adversary needs one."""
    weight: NonNegative = 1.0
    """Of the distance to F^ (adversary), or of the disagreement of members (penalty)."""
    zeta: NonNegative = 0.25
    """Members further than this from F^, in mean squared total variation, are left out."""
    scaled: bool = True
    """Total variation of ||.||_F / sqrt(N)."""
    noise: Positive = 0.1
    """s, in units of how much features change in a step, where the fit is not worse than that."""
    fit: Count = 1000
    """Steps of maximum likelihood before the policy leaves the data."""
    horizon: Count = 3
    """Steps of a rollout, h."""
    real: Probability = 0.5
    """Weight of the data, against rollouts, in what f learns from."""
    batch_size: Count = 128
    """Transitions of a minibatch."""
    step_size: StepSize = Constant(5e-4)
    """Of Adam, for everything but the policy."""
    actor_step_size: StepSize = Constant(1e-4)
    """Of Adam, for the policy."""
    rate: Probability = 0.005
    """How far targets follow in a step."""

    requires: ClassVar[type] = Recorded

    def __post_init__(self) -> None:
        check(self)
        if self.surrogate != "adversary" and self.members < 2:
            raise refuse("members", self.members, f"at least 2: {self.surrogate} compares worlds")

    def actor(self, game: Recorded) -> Actor:
        """The policy network, whose weights `result.policy` are."""
        return actor_of(game, self.network)

    def measures(self, game: Recorded) -> dict[str, Any]:
        return {"actor": self.actor(game)}

    def limits(self, game: Recorded) -> dict[str, tuple[float, str]]:
        most = 3 * game.reward_scale * max(map(abs, game.bounds))
        return {"value": (most, "the world or the critics run away: lower step_size or horizon, or raise fit")}

    def init(self, game: Recorded) -> Imagined:
        actor, critic, model = self.actor(game), critic_of(game, self.network), model_of(game, self.network)
        critics, nothing = blank(critic.network, game, 2), torch.zeros((), **game.like)
        members = nothing.expand(self.members).clone()
        models = blank(model, game, self.members)
        return Imagined(
            blank(actor.network, game), critics, critics.parameters, models, blank(critic.network, game),
            blank(model, game), members, members, nothing,
        )  # fmt: skip

    def step(self, t: int, game: Recorded, state: Imagined, generator: Stream) -> Imagined:
        world = Worlds(game, self)
        front = front_of(state.policy, world.actor.network)
        if t == 0:
            state = self._begun(world, state, front, generator)
        batch = minibatch(game, self.batch_size, generator, front)
        if t < self.fit:
            return self._fitted(t, world, state, batch, generator)
        if t == self.fit:
            state = replace(state, adversary=Trained.fresh(one_of(state.models.parameters, world.model, 0)))
        state = self._against(t, world, state, batch, generator)
        return self._improved(t, world, state, batch, generator)

    def _begun(self, world: "Worlds", state: Imagined, front: tuple[int, ...], generator: Stream) -> Imagined:
        critics = drawn(world.critic.network, state.critic, front, generator, 2)
        return replace(
            state,
            actor=drawn(world.actor.network, state.actor, front, generator),
            critic=critics,
            target=critics.parameters,
            models=drawn(world.model, state.models, front, generator, self.members),
            rewards=drawn(world.critic.network, state.rewards, front, generator),
        )

    def _fitted(self, t: int, world: "Worlds", state: Imagined, batch: Batch, generator: Stream) -> Imagined:
        """A step of maximum likelihood for F_k and r, of temporal differences for f, of imitation for pi."""
        errors = list[Tensor]()
        weights = resampled(batch.chosen, self.members, generator).to(batch.tokens)

        def likelihood(models: Weights) -> Tensor:
            error = world.change(models, twins(batch.tokens), twins(batch.actions), batch.sets)
            error = error - twins(world.changed(batch))
            each = batch.sets.team_mean(error.square().mean(-1))
            errors.append(each.detach().mean(-1))
            return (weights * each).mean(-1)

        def rewarding(rewards: Weights) -> Tensor:
            error = world.critic(rewards, batch.tokens, batch.actions, batch.sets) - batch.rewards
            return error.square().mean(-1)

        def imitating(policy: Weights) -> Tensor:
            head = world.actor.head
            return -head.log_prob(world.actor(policy, batch.tokens, batch.sets), batch.actions).mean(-1)

        def moved(network: Trained, loss: Any) -> Trained:
            return descended(network, gradients(loss, network.parameters), self.step_size(t), t + 1)

        real = (batch.tokens, batch.actions, batch.rewards, batch.after, 1 - batch.terminated)
        state = self._critics(t, world, state, [real], [1.0], batch.sets, generator)
        state = replace(
            state,
            models=moved(state.models, likelihood),
            rewards=moved(state.rewards, rewarding),
            actor=moved(state.actor, imitating),
        )
        fresh = errors[0].expand(state.error.shape)
        error = fresh if t == 0 else torch.lerp(state.error, fresh, 0.02)
        apart = world.apart(state.models.parameters, twins(batch.tokens), twins(batch.actions), batch.sets, error)
        return replace(state, error=error, apart=torch.lerp(state.apart, apart.detach(), 0.02 if t else 1.0))

    def _against(self, t: int, world: "Worlds", state: Imagined, batch: Batch, generator: Stream) -> Imagined:
        """The adversary's step: against the policy, and not far from F^."""
        if self.surrogate != "adversary":
            return state
        best = one_of(state.models.parameters, world.model, 0)
        known = world.change(best, batch.tokens, batch.actions, batch.sets)
        sigma = world.sigma(state.error[..., 0])
        noise = generator.aside()

        def loss(weights: Weights) -> Tensor:
            value = world.rollout(weights, state.policy, state, batch, noise)[0]
            apart = world.change(weights, batch.tokens, batch.actions, batch.sets) - known
            tv = total_variation(apart, batch.sets.teams, sigma[..., None], scaled=self.scaled)
            return value.mean(-1) + self.weight * tv.square().mean(-1)

        gradient = gradients(loss, state.adversary.parameters)
        return replace(state, adversary=descended(state.adversary, gradient, self.step_size(t), t - self.fit + 1))

    def _improved(self, t: int, world: "Worlds", state: Imagined, batch: Batch, generator: Stream) -> Imagined:
        """The policy's step in the worst world, and the critics' on what happened there."""
        noise, values = generator.aside(), list[Tensor]()
        played = list[Any]()

        def loss(policy: Weights) -> Tensor:
            if self.surrogate == "adversary":
                value, steps = world.rollout(state.adversary.parameters, policy, state, batch, noise)
                worst = value.mean(-1)
            else:
                everyone = tuple(
                    x.unsqueeze(x.dim() - len(s)) for x, s in zip(policy, world.actor.network.shapes, strict=True)
                )
                value, steps = world.rollout(state.models.parameters, everyone, state, batch, noise, members=True)
                each = value.mean(-1)
                if self.surrogate == "penalty":
                    worst = each.mean(-1)
                else:
                    allowed = state.apart <= self.zeta  # F^ itself is 0 away from F^
                    worst = torch.where(allowed, each, torch.inf).amin(-1)
            values.append(worst.detach())
            played.append(steps)
            return -worst

        actor = descended(state.actor, gradients(loss, state.policy), self.actor_step_size(t), t + 1)
        value = (values[0] * world.game.reward_scale).expand(state.value.shape)
        real = (batch.tokens, batch.actions, batch.rewards, batch.after, 1 - batch.terminated)
        parts = [real, *([x.detach() for x in step] for step in played[0])]
        weights: list[Any] = [self.real, *[(1 - self.real) / len(played[0])] * len(played[0])]
        state = replace(state, actor=actor, value=value)
        return self._critics(t, world, state, parts, weights, batch.sets, generator)

    def _critics(
        self, t: int, world: "Worlds", state: Imagined, parts: list[Any], weights: list[Any], sets: Sets,
        generator: Stream,
    ) -> Imagined:  # fmt: skip
        """f towards r + discount min_j fbar_j(S', pi), on several lots of transitions."""
        low, high = world.game.bounds
        several = sets.times(len(parts))
        front = torch.broadcast_shapes(*(x.shape[:-2] for part in parts for x in (part[0], part[1])))
        tokens, actions, after = (
            torch.cat([x[i].expand(*front, *x[i].shape[-2:]) for x in parts], -2) for i in (0, 1, 3)
        )
        rewards, going_on = (torch.cat([x[i].expand(*front, x[i].shape[-1]) for x in parts], -1) for i in (2, 4))
        share = torch.cat(
            [rewards.new_full(x[2].shape[-1:], w * len(parts)) for w, x in zip(weights, parts, strict=True)]
        )
        chosen = world.actor.head.sample(world.actor(state.policy, after, several), generator)[0]
        f_bar = world.critic(state.target, twins(after), twins(chosen), several).amin(-2)
        y = (rewards + world.game.discount * going_on * f_bar).clamp(low, high)

        def loss(critics: Weights) -> Tensor:
            f = world.critic(critics, twins(tokens), twins(actions), several)
            return (share * (f - y[..., None, :]).square()).mean(-1)

        critic = descended(state.critic, gradients(loss, state.critic.parameters), self.step_size(t), t + 1)
        return replace(state, critic=critic, target=followed(state.target, critic.parameters, self.rate))


class Worlds:
    """The networks of a task as worlds: what F, r and f make of a state."""

    def __init__(self, game: Recorded, solver: ModelBasedPessimism) -> None:
        self.game, self.solver = game, solver
        self.actor, self.critic = solver.actor(game), critic_of(game, solver.network)
        self.model = model_of(game, solver.network)

    def change(self, models: Weights, tokens: Tensor, actions: Tensor, sets: Sets) -> Tensor:
        """By how much F changes the features of those who act, over `change_scale`: [..., agent, d]."""
        return self.model(models, joined(tokens, actions, sets), sets.layout, sets.acting)

    def changed(self, batch: Batch) -> Tensor:
        """By how much they did change."""
        acting, d = batch.sets.acting, len(self.game.change_scale)
        moved = batch.after.index_select(-2, acting) - batch.tokens.index_select(-2, acting)
        return moved[..., :d] / self.game.change_scale

    def sigma(self, error: Tensor) -> Tensor:
        """s, from the mean squared error of F^."""
        return error.sqrt().clamp(min=self.solver.noise)

    def apart(self, models: Weights, tokens: Tensor, actions: Tensor, sets: Sets, error: Tensor) -> Tensor:
        """mean TV^2 of each member to F^ on a minibatch, [..., member]."""
        with torch.no_grad():
            found = self.change(models, tokens, actions, sets)
            sigma = self.sigma(error[..., :1])[..., None]
            tv: Tensor = total_variation(found - found[..., :1, :, :], sets.teams, sigma, scaled=self.solver.scaled)
            return tv.square().mean(-1)

    def rollout(
        self, models: Weights, policy: Weights, state: Imagined, batch: Batch, noise: Stream, members: bool = False
    ) -> tuple[Tensor, list[Any]]:
        """J of each start, [..., b] or [..., member, b], and the transitions S, A, r, S', 1 of the (first) world."""
        solver, game, sets, luck = self.solver, self.game, batch.sets, noise.aside()
        lift = twins if members else (lambda x: x)
        tokens = lift(batch.tokens)
        shape = (*models[0].shape[: models[0].dim() - len(self.model.shapes[0])], *tokens.shape[-2:])
        tokens = tokens.expand(shape)
        rewards = self._lifted(state.rewards.parameters) if members else state.rewards.parameters
        total: Any = 0.0
        steps = list[Any]()
        for k in range(solver.horizon):
            actions, _ = self.actor.head.sample(self.actor(policy, tokens, sets), luck)
            paid = self.critic(rewards, tokens, actions, sets)
            change = self.change(models, tokens, actions, sets)
            if solver.surrogate == "penalty" and members:
                paid = paid - solver.weight * self._disagreement(models, tokens, actions, sets)
            following = tokens.index_add(
                -2, sets.acting, pad(change * game.change_scale, (0, tokens.shape[-1] - change.shape[-1]))
            )
            total = total + game.discount**k * paid
            one = [x[..., 0, :, :] if members else x for x in (tokens, actions, following)]
            pay = paid[..., 0, :] if members else paid
            steps.append((one[0], one[1], pay, one[2], torch.ones_like(pay)))
            tokens = following
        actions, _ = self.actor.head.sample(self.actor(policy, tokens, sets), luck)
        first = one_of(state.critic.parameters, self.critic.network, 0)
        tail = self.critic(self._lifted(first) if members else first, tokens, actions, sets)
        return total + game.discount**solver.horizon * tail, steps

    def _disagreement(self, models: Weights, tokens: Tensor, actions: Tensor, sets: Sets) -> Tensor:
        """max_k ||F_k - Fbar||_F / sqrt(N) where each member is, [..., member, b]: members of others at its states."""
        every = tuple(x.unsqueeze(x.dim() - 1 - len(s)) for x, s in zip(models, self.model.shapes, strict=True))
        found = self.change(every, twins(tokens), twins(actions), sets)
        apart = (found - found.mean(-3, keepdim=True)).square().sum(-1)
        return sets.team_mean(apart).sqrt().amax(-2)

    def _lifted(self, weights: Weights) -> Weights:
        """Weights of one network for all members."""
        return tuple(x.unsqueeze(x.dim() - len(s)) for x, s in zip(weights, self.critic.network.shapes, strict=True))
