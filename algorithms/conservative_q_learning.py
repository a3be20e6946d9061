"""Conservative Q-learning: values of actions that the data do not hold are pushed down, and the policy climbs the rest.

    y      = clip(r + discount (1 - end) min_j fbar_j(S', a')),  a' ~ pi(S')
    critic   1/2 mean (f_j(S, A) - y)^2 + conservatism mean [ log sum_a e^{f_j(S, a)} - f_j(S, A) ]    down
    actor    mean min_j f_j(S, a) + alpha H(pi),  a ~ pi(S)                                            up

Kumar, Zhou, Tucker and Levine, "Conservative Q-learning for offline reinforcement learning", NeurIPS 2020, (4): CQL(H)
with a fixed weight. The logarithm is over joint actions of a set (`deviation=joint`), by samples that are even, of
pi(S) and of pi(S'), over their densities. There are exponentially many, even samples carry nearly all of that sum, and
with many agents it says little about where the policy goes.

`deviation=single`, multi-agent CQL, has one agent at a time do something else, the others what the data say:

    critic   1/2 mean (f_j(S, A) - y)^2 + conservatism mean_i mean [ log sum_a e^{f_j(S, (a, A_-i))} - f_j(S, A) ]
    actor    mean_i mean E min_j f_j(S, (a, A_-i)) + alpha H(pi),  a ~ pi_i(S)

Shao et al., "Counterfactual conservative Q learning for offline multi-agent reinforcement learning", NeurIPS 2023,
arXiv 2309.12696, with equal weights of agents: conservatism does not grow with N. Sum and expectation are exact for
moves. The mean over i is estimated by one agent of each set, drawn anew in each step.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from gamesim.games.recorded import Batch, Recorded
from gamesim.networks import Network, SetTransformer
from gamesim.networks.adam import Weights, adam
from gamesim.networks.heads import Categorical
from gamesim.offline.critics import blank, critic_of, followed, twins
from gamesim.offline.deviations import deviating, everyone, gaps, moves, sampled, someone, valued
from gamesim.offline.learners import Judged, Lesson, Offline
from gamesim.offline.targets import beside, target_of
from gamesim.parameters import Count, Natural, NonNegative, Probability
from gamesim.randomness import Stream
from gamesim.schedules import Constant, StepSize


@dataclass(frozen=True)
class Conservative(Judged):
    """Policy and critics; the value is mean min_j f_j(S, pi), 0 while the policy imitates."""

    gap: Tensor
    """log sum e^f_1(S, a) - f_1(S, A), in units of reward: how much better other actions seem, [...]."""

    reported: ClassVar[tuple[str, ...]] = ("value", "residual", "gap")


@dataclass(frozen=True)
class ConservativeQLearning(Offline):
    """An actor and critics that think little of what the data do not hold."""

    network: Network = SetTransformer()
    """Of the policy and of the critics: set-transformer, deep-sets, gcn or mlp."""
    conservatism: NonNegative = 1.0
    """How hard values of other actions are pushed down, rewards in standard deviations: 0 is plain actor-critic."""
    deviation: Literal["joint", "single"] = "joint"
    """Whose other actions: everyone's at once, or one agent's at a time while the others do what the data say."""
    samples: Count = 4
    """Other actions of a transition: so many even ones, of pi(S) and of pi(S'); single moves are all gone through."""
    batch_size: Count = 256
    """Transitions of a minibatch."""
    step_size: StepSize = Constant(1e-3)
    """Of Adam, for the critics."""
    actor_step_size: StepSize = Constant(3e-4)
    """Of Adam, for the policy."""
    warm_start: Natural = 500
    """Steps in which the policy imitates the data while critics learn, so that it does not settle on nothing yet."""
    rate: Probability = 0.02
    """How far targets follow in a step."""
    alpha: NonNegative = 0.02
    """Weight of the policy's entropy, in units of the reward's standard deviation."""

    imitating: ClassVar[str] = "warm_start"
    advice: ClassVar[str] = "lower step_size or conservatism, or raise batch_size"

    def init(self, game: Recorded) -> Conservative:
        actor, critics = blank(self.actor(game).network, game), blank(critic_of(game, self.network).network, game, 2)
        nothing = torch.zeros((), **game.like)
        return Conservative(actor, critics, critics.parameters, nothing, nothing, nothing)

    def step(self, t: int, game: Recorded, state: Conservative, generator: Stream) -> Conservative:
        lesson = self.lesson(game, state, generator)
        if t == 0:
            state = lesson.begun(state, critic=lesson.critic.network, actor=lesson.actor.network)
            state = replace(state, target=state.critic.parameters)
        batch = lesson.minibatch(self.batch_size)
        who = everyone(batch.sets) if self.deviation == "joint" else someone(batch.sets, lesson.alike, lesson.luck)
        state = self._criticised(t, lesson, state, batch, who)
        return self._acted(t, lesson, state, batch, who)

    def _criticised(self, t: int, lesson: Lesson, state: Conservative, batch: Batch, who: Tensor) -> Conservative:
        """The critics' step: towards the data, and down elsewhere."""
        game, critic, head, sets = lesson.game, lesson.critic, lesson.actor.head, batch.sets
        agents = len(sets.acting)
        out = lesson.actor(state.policy, torch.cat([batch.tokens, batch.after], -2), sets.times(2))
        here, after = out.chunk(2, -2)
        following = head.sample(after, lesson.luck)[0]
        y = target_of(game, batch, critic(state.target, twins(batch.after), twins(following), sets).amin(-2))
        if self.deviation == "single" and isinstance(head, Categorical):
            others, density = moves(head, agents, out)
        else:
            others, density = sampled(head, (here, after), self.samples, lesson.alike, agents, lesson.luck, out)
        said = list[tuple[Tensor, Tensor]]()

        def loss(weights: Weights) -> Tensor:
            f, gap = gaps(critic, weights, batch, who, others, density)
            error = (f - y.unsqueeze(-2)).square().mean(-1)
            said.append((error.detach()[..., 0], gap.detach().mean(-1)[..., 0]))
            return error / 2 + beside(self.conservatism, 1) * gap.mean(-1)

        moved = adam(state.critic, loss, self.step_size(t), t + 1, lesson.front)
        error, gap = said[0]
        return replace(
            state,
            critic=moved,
            target=followed(state.target, moved.parameters, self.rate, lesson.front),
            residual=error.sqrt() * game.reward_scale,
            gap=gap * game.reward_scale,
        )

    def _acted(self, t: int, lesson: Lesson, state: Conservative, batch: Batch, who: Tensor) -> Conservative:
        """The policy's step: up, by what the more doubtful critic says, and not too sure of itself."""
        actor, critic, head, sets = lesson.actor, lesson.critic, lesson.actor.head, batch.sets
        values = list[Tensor]()

        def imitation(weights: Weights) -> Tensor:
            return -sets.team_mean(head.log_prob(actor(weights, batch.tokens, sets), batch.actions)).mean(-1)

        if t < self.warm_start:
            return replace(state, actor=adam(state.actor, imitation, self.step_size(t), t + 1, lesson.front))
        exact = self.deviation == "single" and isinstance(head, Categorical)
        if isinstance(head, Categorical) and exact:
            others, _ = moves(head, len(sets.acting), batch.actions)
            tried = deviating(batch.actions, who, others)
            f_moves = valued(critic, state.critic.parameters, twins(batch.tokens), twins(tried), sets).amin(-3)

        def loss(weights: Weights) -> Tensor:
            out = actor(weights, batch.tokens, sets)
            if exact:
                log_policy = out.log_softmax(-1)
                policy = log_policy.exp()
                chances = sets.teams.sum(torch.where(who[..., None], policy, 0.0)).mT
                f, entropy = (chances * f_moves).sum(-2).mean(-1), -sets.team_mean((policy * log_policy).sum(-1))
            else:
                actions, log_prob = head.sample(out, lesson.luck)
                done = torch.where(who[..., None], actions, batch.actions)
                f = critic(state.critic.parameters, twins(batch.tokens), twins(done), sets).amin(-2).mean(-1)
                entropy = -sets.team_mean(log_prob)
            values.append(f.detach())
            return -f - beside(self.alpha, 0) * entropy.mean(-1)

        moved = adam(state.actor, loss, self.actor_step_size(t), t + 1, lesson.front)
        return replace(state, actor=moved, value=values[0] * lesson.game.reward_scale)


@dataclass(frozen=True)
class MultiAgentCQL(ConservativeQLearning):
    """Conservative Q-learning that doubts one agent at a time, so that it does not grow with their number."""

    deviation: Literal["joint", "single"] = "single"
    """Whose other actions: everyone's at once, or one agent's at a time while the others do what the data say."""
