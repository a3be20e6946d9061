"""Model-based pessimism: the best policy in the worst world that the data allow.

    S' = F(S, A) + e,   rows of e normal with variance s^2;    F^ = argmin_F mean_k ||S'_k - F(S_k, A_k)||_F^2
    M  = { F : mean_k TV(P_F(. | S_k, A_k), P_F^(. | S_k, A_k))^2 <= zeta },    TV = erf(||F - F^||_F / (2 sqrt2 s))
    pi^ = argmax_pi min_{F in M} V^pi_F(S)

(Zhang et al., arXiv 2209.09845, algorithm 2; F equivariant under renaming of agents, the closed form of TV is that of
two normal laws of one variance). The first `fit` steps fit F^ by maximum likelihood, with an invariant network for the
reward, while the policy imitates the data. Then, with F-rollouts S = S_0, S_1, ..., S_h from states of the data,

    J(pi, F) = mean [ sum_{k<h} discount^k r(S_k, A_k) + discount^h f(S_h, A_h) ],    A_k ~ pi(S_k)

is followed upwards by pi, through the model, where the minimum over F has one of three forms:

    adversary   min_F J + weight mean TV^2            F begins at F^ and moves against pi (Rigter et al., RAMBO, 2022)
    ensemble    the least J of the members in M       F_k fitted to bootstrap samples of the data (Poisson weights)
    penalty     r - penalty max_k ||F_k - Fbar||_F / sqrt(N)                       (Yu et al., MOPO, NeurIPS 2020)

f is learned by temporal differences on rollouts and on data. TV is taken of ||.||_F / sqrt(N), as `scaled` says:
without that it is near 1 for every large set, however well each agent is foretold.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.recorded import Batch, Recorded
from gamesim.networks import Network, SetTransformer
from gamesim.networks.adam import Trained, Weights, adam
from gamesim.offline.behaviours import Share
from gamesim.offline.critics import blank, critic_of, followed, model_of, one_of, resampled, twins
from gamesim.offline.imagined import Imagined, Transitions, first_member, lifted
from gamesim.offline.learners import Learned, Lesson, Offline
from gamesim.offline.luck import common
from gamesim.offline.targets import beside
from gamesim.parameters import Bounds, Count, NonNegative, Probability
from gamesim.randomness import Stream
from gamesim.schedules import Constant, StepSize

Spread = Annotated[float, Bounds("a number above 0", 0, low_open=True)]
Few = Annotated[int, Bounds("a whole number from 1 to 1,000", 1, 1000)]
FORGET = 0.02
"""The weight of the newest minibatch in running means of errors and distances."""


@dataclass(frozen=True)
class Tried(Learned):
    """The policy, the worlds it is tried in, and what was found."""

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
    def metrics(self) -> dict[str, Tensor]:
        return {"value": self.value, "model_error": self.error[..., 0], "model_distance": self.apart.amax(-1)}


@dataclass(frozen=True)
class ModelBasedPessimism(Offline):
    """The best policy in the worst world that the data allow."""

    network: Network = SetTransformer()
    """Of the policy, values, rewards and worlds: set-transformer, deep-sets, gcn or mlp."""
    surrogate: Literal["adversary", "ensemble", "penalty"] = "ensemble"
    """What stands for the worst world."""
    members: Few = 5
    """Worlds fitted: one by maximum likelihood, the others to bootstrap samples. An adversary needs one."""
    weight: NonNegative = 100.0
    """Of the adversary's distance to F^, mean TV^2, against the return that it may take away."""
    penalty: NonNegative = 1.0
    """Of the disagreement of members."""
    zeta: NonNegative = 0.25
    """Members further than this from F^, in mean squared total variation, are left out."""
    scaled: bool = True
    """Total variation of ||.||_F / sqrt(N), about one agent; false: of ||.||_F, as in the theory, near 1 for many."""
    noise: Spread = 0.1
    """s, in units of how much features change in a step, where the fit is not worse than that."""
    fit: Count = 1000
    """Steps of maximum likelihood, in which the policy imitates; a run that is no longer does nothing else."""
    horizon: Few = 3
    """Steps of a rollout, h."""
    real: Share = 0.5
    """Weight of the data, against rollouts, in what f learns from."""
    batch_size: Count = 128
    """Transitions of a minibatch."""
    step_size: StepSize = Constant(1e-3)
    """Of Adam, for everything but the policy."""
    actor_step_size: StepSize = Constant(3e-4)
    """Of Adam, for the policy."""
    rate: Probability = 0.02
    """How far targets follow in a step."""

    imitating: ClassVar[str] = "fit"
    advice: ClassVar[str] = "lower step_size or horizon, or raise fit"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.surrogate != "adversary" and self.members < 2:
            raise refuse("members", self.members, f"at least 2: {self.surrogate} compares worlds")

    def init(self, game: Recorded) -> Tried:
        actor, critic, model = self.actor(game), critic_of(game, self.network), model_of(game, self.network)
        critics, models = blank(critic.network, game, 2), blank(model, game, self.members)
        nothing, members = torch.zeros((), **game.like), torch.zeros(self.members, **game.like)
        return Tried(
            blank(actor.network, game), critics, critics.parameters, models, blank(critic.network, game),
            blank(model, game), members, members, nothing,
        )  # fmt: skip

    def step(self, t: int, game: Recorded, state: Tried, generator: Stream) -> Tried:
        penalty = beside(self.penalty, 2) if self.surrogate == "penalty" else None
        lesson = self.lesson(game, state, generator)
        world = Imagined(lesson, self.horizon, self.noise, self.scaled, penalty)
        if t == 0:
            f, pi = lesson.critic.network, lesson.actor.network
            state = lesson.begun(state, critic=f, actor=pi, models=world.model, rewards=f)
            state = replace(state, target=state.critic.parameters)
        batch = lesson.minibatch(self.batch_size)
        if t < self.fit:
            return self._fitted(t, lesson, world, state, batch)
        if t == self.fit:
            state = replace(state, adversary=Trained.fresh(one_of(state.models.parameters, world.model, 0)))
        if self.surrogate == "adversary":
            state = self._opposed(t, lesson, world, state, batch)
        return self._improved(t, lesson, world, state, batch)

    def _fitted(self, t: int, lesson: Lesson, world: Imagined, state: Tried, batch: Batch) -> Tried:
        """A step of maximum likelihood for F_k and r, of temporal differences for f, of imitation for pi."""
        sets, tokens, actions = batch.sets, batch.tokens, batch.actions
        copies, true = resampled(batch.chosen, self.members, lesson.luck).to(tokens), twins(world.changed(batch))
        errors = list[Tensor]()

        def likelihood(models: Weights) -> Tensor:
            error = world.change(models, twins(tokens), twins(actions), sets) - true
            errors.append(error.detach())
            return (copies * sets.team_mean(error.square().mean(-1))).mean(-1)

        def rewarding(rewards: Weights) -> Tensor:
            return (world.critic(rewards, tokens, actions, sets) - batch.rewards).square().mean(-1)

        def imitating(policy: Weights) -> Tensor:
            return -world.actor.head.log_prob(world.actor(policy, tokens, sets), actions).mean(-1)

        state = replace(
            self._valued(t, lesson, world, state, batch, []),
            models=adam(state.models, likelihood, self.step_size(t), t + 1, lesson.front),
            rewards=adam(state.rewards, rewarding, self.step_size(t), t + 1, lesson.front),
            actor=adam(state.actor, imitating, self.step_size(t), t + 1, lesson.front),
        )
        share = 1.0 if t == 0 else FORGET
        squared = sets.team_mean(errors[0].square().mean(-1)).mean(-1)
        error = torch.lerp(state.error, squared.expand(state.error.shape), share)
        far = world.variation(errors[0] - errors[0][..., :1, :, :], sets, error[..., :1]).square().mean(-1)
        return replace(state, error=error, apart=torch.lerp(state.apart, far.expand(state.apart.shape), share))

    def _opposed(self, t: int, lesson: Lesson, world: Imagined, state: Tried, batch: Batch) -> Tried:
        """The adversary's step: against the policy, and not far from F^."""
        known = world.change(one_of(state.models.parameters, world.model, 0), batch.tokens, batch.actions, batch.sets)
        tail, luck = one_of(state.critic.parameters, world.critic.network, 0), lesson.luck.aside()

        def loss(model: Weights) -> Tensor:
            value, _ = world.rollout(model, state.policy, state.rewards.parameters, tail, batch, luck)
            apart = world.change(model, batch.tokens, batch.actions, batch.sets) - known
            far = world.variation(apart, batch.sets, state.error[..., 0]).square().mean(-1)
            found: Tensor = value.mean(-1) + beside(self.weight, 0) * far
            return found

        # as slow as the policy: it has to stay near F^
        moved = adam(state.adversary, loss, self.actor_step_size(t), t - self.fit + 1, lesson.front)
        return replace(state, adversary=moved)

    def _improved(self, t: int, lesson: Lesson, world: Imagined, state: Tried, batch: Batch) -> Tried:
        """The policy's step in the worst world, and the critics' on what happened there."""
        front, luck = lesson.front, lesson.luck.aside()
        rewards, tail = state.rewards.parameters, one_of(state.critic.parameters, world.critic.network, 0)
        several = self.surrogate != "adversary"
        models, start = state.adversary.parameters, batch
        if several:
            rewards, tail = (lifted(x, world.critic.network) for x in (rewards, tail))
            models, start = state.models.parameters, replace(batch, tokens=twins(batch.tokens))
            luck = common(luck, (*front, self.members))  # worlds are compared, not their luck
        found = list[tuple[Tensor, list[Transitions]]]()

        def loss(policy: Weights) -> Tensor:
            own = lifted(policy, world.actor.network) if several else policy
            value, steps = world.rollout(models, own, rewards, tail, start, luck)
            worst = value.mean(-1)
            if self.surrogate == "ensemble":
                inside = state.apart <= beside(self.zeta, 1)  # the first one is F^, 0 away
                worst = torch.where(inside, worst, torch.inf).amin(-1)
            elif self.surrogate == "penalty":
                worst = worst.mean(-1)
            found.append((worst.detach(), steps))
            return -worst

        actor = adam(state.actor, loss, self.actor_step_size(t), t + 1, front)
        value, steps = found[0]
        if several:  # critics learn from what happened in F^
            steps = [first_member(step) for step in steps]
        state = replace(state, actor=actor, value=(value * lesson.game.reward_scale).expand(front))
        return self._valued(t, lesson, world, state, batch, steps)

    def _valued(
        self, t: int, lesson: Lesson, world: Imagined, state: Tried, batch: Batch, steps: list[Transitions]
    ) -> Tried:
        """f towards r + discount min_j fbar_j(S', pi), on the data and on what was imagined."""
        real = (batch.tokens, batch.actions, batch.rewards, batch.after, 1 - batch.terminated)
        front, parts = lesson.front, [real, *steps]
        sets = batch.sets.times(len(parts))

        def together(which: int, dims: int) -> Tensor:
            pieces = [part[which].detach() for part in parts]
            return torch.cat([x.expand(*front, *x.shape[x.dim() - dims :]) for x in pieces], -dims)

        tokens, actions, after = (together(i, 2) for i in (0, 1, 3))
        rewards, going_on = (together(i, 1) for i in (2, 4))
        chosen, _ = world.actor.head.sample(world.actor(state.policy, after, sets), lesson.luck)
        f_bar = world.critic(state.target, twins(after), twins(chosen), sets).amin(-2)
        y = (rewards + lesson.game.discount * going_on * f_bar).clamp(*lesson.game.bounds)[..., None, :]
        imagined = (1 - self.real) / max(len(steps), 1)
        shares = [self.real if steps else 1.0, *[imagined] * len(steps)]
        share = torch.cat([y.new_full(batch.rewards.shape[-1:], w * len(parts)) for w in shares])

        def loss(critics: Weights) -> Tensor:
            f = world.critic(critics, twins(tokens), twins(actions), sets)
            return (share * (f - y).square()).mean(-1)

        critic = adam(state.critic, loss, self.step_size(t), t + 1, front)
        return replace(state, critic=critic, target=followed(state.target, critic.parameters, self.rate, front))
