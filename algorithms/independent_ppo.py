"""Independent proximal policy optimisation: everyone a policy and a value network of their own, and their own PPO.

Player i sees s, one of finitely many observations; its policy is softmax(log pi_start(s) + f_i(s)), f_i a network of
fully connected layers on the one-hot s, with V_i another. One iteration plays M episodes under pi_old and computes

    delta_k = r_k + discount V(s_{k+1}) - V(s_k),    A_k = delta_k + discount trace A_{k+1},    G_k = A_k + V(s_k)

(generalised advantages; V = A = 0 after the end, but V counts where a simulator cut an episode off), and standardises
A. Then, so many epochs over minibatches B of whole episodes, Adam steps on

    actor     mean_B [ min(r A, clip(r, 1 - c, 1 + c) A) + entropy H(pi(s)) ]    r = pi(a | s) / pi_old(a | s)    up
    critic    mean_B [ (V(s) - G)^2 / 2 ]                                                                         down

Networks are drawn from the seed's randomness in the first iteration; their last layer is 0, so that learning begins at
the game's start. Seeds, hyper-parameters and players of the same sizes are dimensions of one batch of networks.

A network is evaluated at each observation once, and both losses need no more of a minibatch than sums for each (s, a):
r A, clipped, is min(r, 1 + c) A where A > 0 and max(r, 1 - c) A where A < 0. So an Adam step costs the same however
many episodes there are, and is what it would be step by step.

Schulman, Wolski, Dhariwal, Radford and Klimov, "Proximal policy optimization algorithms", arXiv 1707.06347 (2017), and
with Levine, Moritz and Jordan, arXiv 1506.02438, for the advantages; de Witt et al., "Is independent learning all you
need in the StarCraft multi-agent challenge?", arXiv 2011.09533 (2020); Yu et al., "The surprising effectiveness of PPO
in cooperative multi-agent games", NeurIPS 2022, arXiv 2103.01955. Nothing is proved of it in games.
"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from math import prod
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.feedback.perceptrons import Parameters, blank, drawn, network
from gamesim.feedback.temporal import Played, following, play_out
from gamesim.games import EpisodicGame, Policy
from gamesim.games.episodic import ROOM
from gamesim.networks.adam import Trained, adam
from gamesim.parameters import Bounds, Count, Positive, Probability, check
from gamesim.randomness import Stream
from gamesim.schedules import Constant, Schedule, StepSize
from gamesim.simplex import softmax


@dataclass(frozen=True)
class Crew:
    """Players with as many observations and actions as one another, in one dimension before the last two."""

    actor: Trained
    critic: Trained
    prior: Tensor
    """log pi_start(a | s), [..., player, s, a]."""


@dataclass(frozen=True)
class Networks:
    """Everyone's networks, and the policies that they make."""

    crews: tuple[Crew, ...]
    policy: Policy


class Sums(NamedTuple):
    """All that the losses need to know of a minibatch, for each player; [..., player, s, a], or [..., player, s, 1]."""

    up: Tensor
    """Sum of A where A > 0, over the number of steps."""
    down: Tensor
    """Sum of -A where A < 0, over the number of steps."""
    visits: Tensor
    """Share of the steps at s."""
    returns: Tensor
    """Sum of G at s, over the number of steps."""


@dataclass(frozen=True)
class IndependentPPO:
    """Everyone learns a policy network by proximal policy optimisation, from episodes alone."""

    step_size: StepSize = Constant(0.01)
    """Of Adam, for policies and values."""
    episodes: Count = 32
    """Episodes of an iteration, M."""
    epochs: Count = 4
    """How often each iteration goes through its episodes."""
    minibatches: Count = 2
    """Into how many parts an epoch takes them."""
    clip: Positive = 0.2
    """c: how far the probability of an action may move before its gradient stops."""
    trace: Probability = 0.95
    """lambda of the advantages: 0 trusts the value network after one step, 1 only what was earned."""
    entropy: Annotated[Schedule, Bounds("a number or schedule of at least 0", 0)] = Constant(0.01)
    """Weight of the policy's entropy."""
    discount: Probability = 1.0
    """Weight of the next step, where the game does not discount by itself: tabular games do, by stopping."""
    hidden: tuple[Count, ...] = (32,)
    """Units of each hidden layer (tanh), of both networks."""

    requires: ClassVar[type] = EpisodicGame

    def __post_init__(self) -> None:
        check(self)
        if self.minibatches > self.episodes:
            raise refuse(
                "minibatches", self.minibatches, f"at most episodes, {self.episodes}: they are made of whole ones"
            )

    def init(self, game: EpisodicGame) -> Networks:
        start = game.start()
        for i, x in enumerate(start):
            if not bool((x > 0).all()):
                raise refuse(f"start[{i}]", "a probability of 0", "probabilities above 0: no network reaches 0")

        crews = []
        for players in alike(game):
            prior = torch.stack([start[i] for i in players], -3).log()
            states, actions = prior.shape[-2:]
            self._require_room("hidden", list(self.hidden), sum(a * b for a, b in pairwise((states, *self.hidden, 1))))
            actor, critic = (blank((states, *self.hidden, outputs), prior) for outputs in (actions, 1))
            crews.append(Crew(actor, critic, prior))
        return Networks(tuple(crews), start)

    def step(self, t: int, game: EpisodicGame, state: Networks, generator: Stream) -> Networks:
        like = state.policy[0]
        front = generator.alike(like.shape[:-2])
        # both are drawn before the episodes, which draw as many numbers as the longest of a batch needs
        crews = state.crews
        if t == 0:
            crews = tuple(
                replace(crew, actor=drawn(crew.actor, front, generator), critic=drawn(crew.critic, front, generator))
                for crew in crews
            )
        many = prod(front) * self.epochs * self.episodes
        self._require_room("epochs", f"{self.epochs:,} of {self.episodes:,} episodes", many)
        order = generator.uniform((*front, self.epochs, self.episodes), device=like.device).argsort(-1).argsort(-1)
        parts = order * self.minibatches // self.episodes
        played = play_out(game, state.policy, self.episodes, generator)
        policy, learned = list(state.policy), list[Crew]()
        for players, crew in zip(alike(game), crews, strict=True):
            learned.append(self._learned(t, crew, players, played, parts))
            for i, x in zip(players, softmax(scores(learned[-1])).unbind(-3), strict=True):
                policy[i] = x
        return Networks(tuple(learned), tuple(policy))

    @staticmethod
    def _require_room(field: str, given: object, numbers: int) -> None:
        if numbers > ROOM:
            raise refuse(field, f"{given}, {numbers:.1e} numbers", f"at most {ROOM:,} in memory at once")

    def _learned(self, t: int, crew: Crew, players: list[int], played: Played, parts: Tensor) -> Crew:
        episodes, cut, end = played
        observed, actions, rewards = (
            x[..., players].movedim(-1, -3) for x in (episodes.observations, episodes.actions, episodes.rewards)
        )
        alive, old = episodes.alive.unsqueeze(-3), scores(crew).log_softmax(-1)
        if cut is not None and end is not None:
            cut, end = cut.unsqueeze(-2), end[..., players].movedim(-1, -2)
        v = values(crew)
        after = following(v, observed, alive, cut, end)
        advantages, returns = self._advantages(v, observed, rewards.to(old), alive, after)
        place = observed * old.shape[-1] + actions
        actor, critic, steps = crew.actor, crew.critic, t * self.epochs * self.minibatches
        step_size, clip, bonus = (lifted(x) for x in (self.step_size(t), self.clip, self.entropy(t)))
        for part in parts.unbind(-2):
            for sums in self._minibatches(old, place, part[..., None, :, None], advantages, returns, alive):
                steps += 1
                surrogate = partial(actor_loss, prior=crew.prior, old=old, sums=sums, clip=clip, bonus=bonus)
                actor = adam(actor, surrogate, step_size, steps)
                critic = adam(critic, partial(critic_loss, sums=sums), step_size, steps)
        return Crew(actor, critic, crew.prior)

    def _advantages(
        self, v: Tensor, observed: Tensor, rewards: Tensor, alive: Tensor, after: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A, standardised, and G, [..., player, m, time]; 0 after the end; after is V(s_{k+1})."""
        flat = observed.flatten(-2)
        here = v.expand(*flat.shape[:-1], v.shape[-1]).gather(-1, flat).reshape(observed.shape)
        discount = lifted(self.discount)
        found = torch.where(alive, rewards + discount * after - here, 0.0)
        decay, reach = discount * lifted(self.trace), 1
        while reach < found.shape[-1]:  # sums over windows of 1, 2, 4, ... steps
            later = torch.cat([found[..., reach:], torch.zeros_like(found[..., :reach])], -1)
            found, decay, reach = found + decay * later, decay * decay, 2 * reach
        returns = found + here
        count = alive.sum((-2, -1), keepdim=True)
        centred = torch.where(alive, found - in_turn(found) / count, 0.0)
        return centred / ((in_turn(centred**2) / count).sqrt() + 1e-8), returns

    def _minibatches(
        self, like: Tensor, place: Tensor, part: Tensor, advantages: Tensor, returns: Tensor, alive: Tensor
    ) -> list[Sums]:
        """The sums of each minibatch, from what was played at place[..., player, m, time] in part[..., 1, m, 1]."""
        states, actions = like.shape[-2:]
        where = (part * (states * actions) + place).flatten(-2)
        count = self.minibatches * states * actions

        def add(x: Tensor) -> Tensor:
            x = x.expand(place.shape).flatten(-2)
            summed = x.new_zeros(*where.shape[:-1], count).scatter_add_(-1, where, x)
            return summed.reshape(*where.shape[:-1], self.minibatches, states, actions)

        played = add(alive.to(like))
        steps = played.sum((-2, -1), keepdim=True)
        up, down, seen, earned = (
            x / steps
            for x in (
                add(advantages.clamp(min=0)),
                add((-advantages).clamp(min=0)),
                played.sum(-1, keepdim=True),
                add(torch.where(alive, returns, 0.0)).sum(-1, keepdim=True),
            )
        )
        return [Sums(*x) for x in zip(*(x.unbind(-3) for x in (up, down, seen, earned)), strict=True)]


def alike(game: EpisodicGame) -> list[list[int]]:
    """The players by how many observations and actions they have."""
    found = dict[tuple[int, int], list[int]]()
    for i, sizes in enumerate(zip(game.observation_counts, game.action_counts, strict=True)):
        found.setdefault(sizes, []).append(i)
    return list(found.values())


def actor_loss(
    parameters: Parameters, prior: Tensor, old: Tensor, sums: Sums, clip: float | Tensor, bonus: float | Tensor
) -> Tensor:
    """Minus the clipped surrogate and the entropy, in parts [..., player, s, a]; old is log pi_old."""
    log_policy = (prior + network(parameters)).log_softmax(-1)
    ratio = (log_policy - old).exp()
    gained: Tensor = sums.up * ratio.clamp(max=1 + clip) - sums.down * ratio.clamp(min=1 - clip)
    negentropy: Tensor = log_policy.exp() * log_policy
    return bonus * sums.visits * negentropy - gained


def critic_loss(parameters: Parameters, sums: Sums) -> Tensor:
    """Half the mean squared error, but for a number that no parameter changes, in parts [..., player, s, 1]."""
    v = network(parameters)
    return v * (sums.visits * v / 2 - sums.returns)


def scores(crew: Crew) -> Tensor:
    """Of which the softmax is the policy, [..., player, s, a]."""
    return crew.prior + network(crew.actor.parameters)


def values(crew: Crew) -> Tensor:
    """V[..., player, s]."""
    return network(crew.critic.parameters)[..., 0]


def in_turn(x: Tensor) -> Tensor:
    """The sum of x[..., m, time] as [..., 1, 1], one after the other: zeros between and after change no digit."""
    return x.flatten(-2).cumsum(-1)[..., -1:, None]


def lifted(number: Any) -> Any:
    """A batch of numbers [..., 1, 1] against [..., player, s, a]."""
    return number[..., None] if isinstance(number, Tensor) and number.dim() else number
