"""What was recorded of a world, as a problem: learn from it alone, and be measured in the world it came from.

    D = {(S_k, A_k, r_k, S'_k)},    S a set of tokens,    r the team's reward, mean over its agents,

so that values are bounded alike however many agents there are. Minibatches are drawn with replacement, stratified by
the worlds of the data (one for each number of agents): every seed then has the same numbers of sets of each size, and
all seeds share one layout. Measured is play in the world: each agent's likeliest action, episodes with common luck.

    score = 100 (return - return of random play) / (return of the expert - return of random play)

Zhang et al., "Relational reasoning via set transformers", NeurIPS 2022, arXiv 2209.09845, section 2 for the setting; Fu
et al., "D4RL", arXiv 2004.07219, for the score.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gamesim.attention import Layout
from gamesim.data.sets import SetData
from gamesim.errors import refuse
from gamesim.games.game import Policy
from gamesim.games.worlds import EVALUATION, SetWorld
from gamesim.networks.adam import Weights
from gamesim.networks.heads import Head, head_of
from gamesim.networks.stateless import Stateless
from gamesim.randomness import Stream
from gamesim.states import expanded

GOLDEN = (math.sqrt(5) - 1) / 2
"""Minibatches take turns in rounding their shares of each world by multiples of this, spread evenly in [0, 1]."""
ROOM = 10**8
"""Numbers of the tokens of a minibatch."""
AT_ONCE = 2**20
"""States whose kinds of entities are compared together."""


@dataclass(frozen=True)
class Sets:
    """Where the rows of a minibatch belong."""

    layout: Layout
    """Rows of tokens into sets."""
    acting: Tensor
    """The rows that are agents that act, int64 [agent]."""
    teams: Layout
    """Agents into sets."""

    def times(self, count: int) -> "Sets":
        """The same sets so many times over, one after the other."""
        copies = torch.arange(count, device=self.acting.device)[:, None]
        acting = (self.acting + copies * self.layout.rows).flatten()
        return Sets(self.layout.times(count), acting, self.teams.times(count))

    def team_mean(self, x: Tensor) -> Tensor:
        """What each agent has, [..., agent], as means over teams, [..., b]."""
        return self.teams.mean(x[..., None])[..., 0]


@dataclass(frozen=True)
class Batch:
    """A minibatch; b sets, `row` tokens of all of them, `agent` agents of all of them."""

    sets: Sets
    chosen: Tensor
    """Which transitions of the data these are, int64 [..., b]."""
    tokens: Tensor
    """S, [..., row, d]."""
    actions: Tensor
    """A as numbers, one-hot or forces: [..., agent, size]."""
    rewards: Tensor
    """r, mean over the team, over `reward_scale`: [..., b]."""
    after: Tensor
    """S', [..., row, d]."""
    terminated: Tensor
    """1 where S' is an end, of which nothing follows; 0 elsewhere, where time was up too: [..., b]."""
    starts: Tensor
    """States that episodes began in, of the same sizes: [..., row, d]."""


@dataclass(frozen=True)
class Actor:
    """A policy network, and what its outputs mean."""

    network: Stateless
    head: Head

    def __call__(self, weights: Weights, tokens: Tensor, sets: Sets) -> Tensor:
        """Outputs for each agent that acts, [..., agent, outputs]."""
        return self.network(weights, tokens, sets.layout, sets.acting)


class Recorded(ABC):
    """Data, the worlds to measure in, and how much the future counts."""

    takes: ClassVar[tuple[str, ...]] = ("actor",)
    """What `metrics` takes of a solver's `measures`."""
    keeps_best: ClassVar[bool] = True
    """The best policy measured is kept on disk: later ones may be worse, and nobody knows beforehand."""
    discount: float
    """Weight of the next step."""
    evaluation_episodes: int
    """Episodes behind a measure."""

    @property
    @abstractmethod
    def play(self) -> SetData:
        """What was recorded."""

    @property
    @abstractmethod
    def worlds(self) -> tuple[SetWorld, ...]:
        """Where policies are measured."""

    @property
    @abstractmethod
    def references(self) -> Sequence[Mapping[str, float] | None]:
        """Returns of `random` play and of the `expert` in each of `worlds`; none where there is no scale."""

    @property
    @abstractmethod
    def like(self) -> dict[str, Any]:
        """dtype and device of networks."""

    def require_solver(self, solver: Any) -> None:
        """Refuse a solver whose minibatches no memory holds."""
        most = ROOM // (self.most * self.inputs)
        if getattr(solver, "batch_size", 1) > most:
            raise refuse("batch_size", solver.batch_size, f"at most {most:,}, of sets of {self.most} entities")

    # --- what networks see --------------------------------------------------------------------------------------------

    @cached_property
    def head(self) -> Head:
        discrete, count = self.play.header["actions"]
        return head_of(discrete == "discrete", int(count))

    @property
    def inputs(self) -> int:
        """Numbers of a token: its features and its kind."""
        return self.play.tokens.shape[-1] + len(self.play.header["kinds_of_entity"])

    @cached_property
    def most(self) -> int:
        """Tokens of the largest set, in the data or in the worlds to measure in."""
        return max(int(self.play.offsets.diff().max()), *(w.entities for w in self.worlds))

    @cached_property
    def scale(self) -> Tensor:
        """The root mean square of each feature over the data: networks see features over it, [d]."""
        size = self.play.tokens.double().square().mean(0).sqrt()
        return torch.where(size > 0, size, 1.0).to(**self.like)

    @cached_property
    def change_scale(self) -> Tensor:
        """The root mean square of how much each feature of those who act changes in a step, over `scale`: [d]."""
        data = self.play
        agents = self._teams
        rows = data.offsets[data.before][agents.owners] + agents.places
        later = data.offsets[data.after][agents.owners] + agents.places
        size = (data.tokens[later].double() - data.tokens[rows].double()).square().mean(0).sqrt().to(**self.like)
        return torch.where(size > 0, size / self.scale, 1.0)

    @cached_property
    def reward_scale(self) -> float:
        """The standard deviation of the team's reward over the data; 1 where it never changes, but for rounding."""
        rewards = self.play.team_rewards
        spread = float(rewards.std(correction=0))
        return spread if spread > 1e-6 * float(rewards.abs().max()) else 1.0

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """Between which every value lies: the least and the largest reward seen, for ever; in units of reward_scale."""
        low, high = float(self.play.team_rewards.min()), float(self.play.team_rewards.max())
        horizon = 1 / (1 - self.discount) if self.discount < 1 else max(w.steps for w in self.worlds)
        return min(low, 0.0) * horizon / self.reward_scale, max(high, 0.0) * horizon / self.reward_scale

    def seen(self, tokens: Tensor, types: Tensor) -> Tensor:
        """Tokens [..., e, features] of entities of these kinds [e] as networks see them."""
        kinds = one_hot(types.long(), len(self.play.header["kinds_of_entity"])).to(**self.like)
        found = tokens.to(**self.like) / self.scale
        return torch.cat([found, kinds.expand(*found.shape[:-1], kinds.shape[-1])], -1)

    # --- minibatches --------------------------------------------------------------------------------------------------

    @cached_property
    def _teams(self) -> Layout:
        return Layout.of(self.play.agents)

    @cached_property
    def _groups(self) -> list["Group"]:
        """The transitions of each world, and of each size where the sets of one world differ."""
        data = self.play
        sizes, agents = data.entities[data.before], data.agents
        later = torch.cat([sizes.new_zeros(1, dtype=torch.bool), data.episode.diff() == 0])
        for name, has, is_, what in (
            ("after", data.entities[data.after], sizes, "entities"),
            ("agents", agents, torch.where(later, agents.roll(1), agents), "agents"),
        ):
            if bool((wrong := has != is_).any()):
                k = int(wrong.nonzero()[0])
                raise refuse(f"data.{name}[{k}]", f"{int(has[k])} {what}", f"{int(is_[k])}, as before in its episode")
        world = data.world.long()[data.episode]
        key = (world * (sizes.max() + 1) + sizes) * (agents.max() + 1) + agents
        first = data.time == 0
        found = []
        for one in key.unique():
            chosen = (key == one).nonzero()[:, 0]
            begun = chosen[first[chosen]]
            size, acting = int(sizes[chosen[0]]), int(agents[chosen[0]])
            types = self._kinds(torch.cat([data.before[chosen], data.after[chosen]]).unique(), size)
            found.append(Group(int(world[chosen[0]]), chosen, begun, size, acting, types.to(self.like["device"])))
        return found

    def _kinds(self, states: Tensor, size: int) -> Tensor:
        """The kinds of the entities of some states of one size, which are those of the first one, [size]."""
        data, lines = self.play, torch.arange(size)
        types = data.types[data.offsets[states[0]] + lines]
        for part in states.split(AT_ONCE):
            wrong = (data.types[data.offsets[part][:, None] + lines] != types).any(-1)
            if bool(wrong.any()):
                state = int(part[wrong.nonzero()[0, 0]])
                i = int(data.offsets[state])
                wanted = f"{types.tolist()}, as in state {int(states[0])} of the same world and size"
                raise refuse(f"data.types[{i}:{i + size}]", data.types[i + lines].tolist(), wanted)
        return types

    def batch(self, size: int, generator: Stream, front: tuple[int, ...] | None = None) -> Batch:
        """A minibatch of so many transitions for each element of `front`, which begins with the number of seeds."""
        if front is None:
            front = generator.front
        u, v = (generator.uniform((*front, size)) for _ in range(2))
        parts, done = list[tuple[Any, ...]](), 0
        total, phase = len(self.play.before), (generator.iteration * GOLDEN) % 1
        seen, counts = 0, []
        for group in self._groups:
            seen += len(group.transitions)
            upto = size if seen == total else min(size, math.floor(size * seen / total + phase))
            count, here = upto - done, slice(done, upto)
            if count:
                parts.append(self._part(group, u[..., here], v[..., here]))
                counts.append((count, group))
            done = upto
        joined = (torch.cat(x, -2 if i in (1, 2, 4, 6) else -1) for i, x in enumerate(zip(*parts, strict=True)))
        return Batch(self.sets(counts), *joined)

    def sets(self, counts: Sequence[tuple[int, "Group"]]) -> Sets:
        """The layout of so many sets of each group."""
        sizes = [(n, g.size, g.acting) for n, g in counts]
        if len(sizes) == 1:
            n, size, acting = sizes[0]
            layout, teams = (Layout.repeated(x, n, self.like["device"]) for x in (size, acting))
        else:
            many, *each = torch.tensor(sizes).unbind(-1)
            layout, teams = (Layout.of(x.repeat_interleave(many), self.like["device"]) for x in each)
        rows = teams.places + layout.offsets[:-1][teams.owners]
        return Sets(layout, rows, teams)

    def _part(self, group: "Group", u: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        """A minibatch of one world: everything in it has one size."""
        data = self.play
        k = group.transitions[(u * len(group.transitions)).long()]
        k0 = group.begun[(v * len(group.begun)).long()]
        lines = torch.arange(group.size)
        agents = self._teams.offsets[k][..., None] + torch.arange(group.acting)

        def rows(states: Tensor) -> Tensor:
            found = data.tokens[data.offsets[states][..., None] + lines]
            return self.seen(found, group.types).flatten(-3, -2)

        actions = data.actions[agents.flatten(-2)]
        if not actions.is_floating_point():
            actions = one_hot(actions.long(), self.head.size)
        rewards = data.rewards[agents].to(**self.like).mean(-1) / self.reward_scale
        return (
            k, rows(data.before[k]), actions.to(**self.like), rewards, rows(data.after[k]),
            data.terminated[k].to(**self.like), rows(data.before[k0]),
        )  # fmt: skip

    # --- measures -----------------------------------------------------------------------------------------------------

    def start(self) -> Policy:
        """Everyone moves at random: one law over the moves, [a]; networks begin elsewhere."""
        return tuple(x.to(**self.like) for x in self.worlds[0].start())

    @staticmethod
    def require(point: Any, field: str) -> None:
        """Refuse what is no network: policies here are weights, or one law of moves."""
        if field == "start":
            raise refuse(field, "a policy", "none: solvers draw their networks, each seed its own")
        if not isinstance(point, tuple) or not point or not all(isinstance(x, Tensor) for x in point):
            raise refuse(field, type(point).__name__, "a tuple of tensors: the weights of a policy network")
        for i, x in enumerate(point):
            if not x.is_floating_point() or not bool(x.isfinite().all()):
                raise refuse(f"{field}[{i}]", f"{x.dtype} of shape {list(x.shape)}", "finite floating-point weights")

    def metrics(self, policy: Policy, actor: Actor | None = None) -> dict[str, Tensor]:
        """The mean return over agents of an episode, and its score; of each world where there are several."""
        returns = [self._return(w, policy, actor) for w in self.worlds]
        found = {"return": torch.stack(returns).mean(0)}
        scales = [x for x in self.references if x is not None]
        if len(scales) == len(returns):
            scores = [
                100 * (x - s["random"]) / (s["expert"] - s["random"]) for x, s in zip(returns, scales, strict=True)
            ]
            found["score"] = torch.stack(scores).mean(0)
        if len(returns) > 1:
            found |= {f"return_{name}": x for name, x in zip(self._names, returns, strict=True)}
        return found

    @cached_property
    def _names(self) -> list[str]:
        """Of worlds: how many act, or where several have as many, their place."""
        acting = [str(w.acting) for w in self.worlds]
        return acting if len(set(acting)) == len(acting) else [f"world_{i}" for i in range(len(acting))]

    def _return(self, world: SetWorld, policy: Policy, actor: Actor | None) -> Tensor:
        if actor is None:
            return world.returns_of_law(policy[0], self.evaluation_episodes)
        front = tuple(policy[0].shape[: max(policy[0].dim() - len(actor.network.shapes[0]), 0)])
        given, wanted = [tuple(x.shape) for x in policy], [(*front, *shape) for shape in actor.network.shapes]
        if given != wanted:
            i = next(
                (i for i, (x, y) in enumerate(zip(given, wanted, strict=False)) if x != y), min(len(given), len(wanted))
            )
            what, other = (f"shape {list(s[i])}" if i < len(s) else "nothing" for s in (given, wanted))
            raise refuse(f"policy[{i}]", what, f"{other}, as this network has")
        return self.returned(world, policy, actor, front)

    @torch.no_grad()
    def returned(self, world: SetWorld, weights: Weights, actor: Actor, front: tuple[int, ...]) -> Tensor:
        """The mean return of `evaluation_episodes` episodes of each of a batch of policies, [*front]."""
        many = self.evaluation_episodes
        state = expanded(world.begin((many,), Stream(0, EVALUATION)), front)
        layout, teams = (Layout.repeated(n, many, self.like["device"]) for n in (world.entities, world.acting))
        sets = Sets(layout, teams.places + layout.offsets[:-1][teams.owners], teams)
        types, total = world.types.to(self.like["device"]), torch.zeros(front)
        for _ in range(world.steps):
            tokens = self.seen(world.tokens(state), types).flatten(-3, -2)
            out = actor(weights, tokens, sets)
            chosen = actor.head.played(actor.head.mode(out))
            shape = (*front, many, world.acting)
            actions = chosen.reshape(*shape, *chosen.shape[len(front) + 1 :])
            state, rewards = world.step(state, actions)
            total = total + rewards.mean(-1).mean(-1).to(total)
        return total


@dataclass(frozen=True)
class Group:
    """The transitions of one world of the data, in sets of one size."""

    world: int
    transitions: Tensor
    begun: Tensor
    """Those that begin an episode."""
    size: int
    acting: int
    types: Tensor
