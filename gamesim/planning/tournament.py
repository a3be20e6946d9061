"""Tournaments: planners, learners and machines meet in a repeated matrix game, everyone with everyone.

Rounds come in matches: a planner supposes, as its world says, that its opponent begins anew with each of them, and so
machines do; what was learned stays. In round t both act, and each is told what the other did. Solvers learn as they
always do, in a game of one player whose payoffs u(., b_t) are those against what the other played:

    exact, realised feedback               they see the whole vector u(., b_t)
    bandit, reinforce, bandit solvers      their own payoff alone

Their step is a pure function, so it is asked twice with the same luck: once to see what it plays, and, once the other
has played, to learn. Regret is per round, against the best fixed action in hindsight,

    1/T max_a sum_t u(a, b_t) - u(a_t, b_t)

which says little where the other answers what one does: cooperation has regret.

Axelrod, "The evolution of cooperation", 1984.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, final

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.feedback import draw_actions
from gamesim.games import DenseGame, Episodes, EpisodicGame, Game, MatrixGame, Policy, TabularGame
from gamesim.games.bandit import BanditGame
from gamesim.games.latent import LatentWorld, drawn, shared
from gamesim.games.luck import Ahead
from gamesim.planning.planner import Planner
from gamesim.randomness import Stream

MOST = 10**9
"""Rounds of all matches of all seeds, at most."""


class Seat(ABC):
    """An entrant that sits in a game, its own payoffs u[a, b] first; states are tensors with a place for each seed."""

    @abstractmethod
    def begin(self, front: tuple[int, ...]) -> Any:
        """The state before anything was played."""

    def meet(self, state: Any, generator: Stream) -> Any:
        """A match begins."""
        return state

    @abstractmethod
    def act(self, t: int, h: int, state: Any, generator: Stream) -> Tensor:
        """The action in round t, which is round h of its match, [...]."""

    @abstractmethod
    def learn(self, t: int, h: int, state: Any, own: Tensor, other: Tensor, generator: Stream) -> Any:
        """The state after the round; the luck is that of `act` again."""


class Entrant(Protocol):
    """Who takes part, by a name that no other entrant has."""

    @property
    def name(self) -> str: ...

    def seated(self, game: DenseGame) -> Seat:
        """At the first seat of a game."""
        ...


# --- planners ------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Planned:
    """A planner, and the world of opponents that it supposes for the game of its seat."""

    name: str
    planner: Planner
    world: Callable[[DenseGame], LatentWorld]

    def seated(self, game: DenseGame) -> Seat:
        world = self.world(game)
        self.planner.require(world)
        return _Planner(self.planner, world, game.action_counts[1])


@dataclass(frozen=True)
class _Planner(Seat):
    planner: Planner
    world: LatentWorld
    columns: int

    def begin(self, front: tuple[int, ...]) -> Any:
        return torch.zeros(front, dtype=torch.long), self.planner.begin(self.world, front)

    def meet(self, state: Any, generator: Stream) -> Any:
        task, memory = state
        task = drawn(self.world.task_law, shared(generator, task.shape, 1)[..., 0].expand(task.shape))
        return task, self.planner.meet(self.world, memory, task, torch.zeros_like(task), generator)

    def act(self, t: int, h: int, state: Any, generator: Stream) -> Tensor:
        task, memory = state
        return self.planner.propose(self.world, h, task, memory, generator).subgoal[..., 0]

    def learn(self, t: int, h: int, state: Any, own: Tensor, other: Tensor, generator: Stream) -> Any:
        task, memory = state
        return task, self.planner.hear(self.world, h, memory, own.unsqueeze(-1), 1 + own * self.columns + other)


# --- machines ------------------------------------------------------------------------------------------------------


class Moore(Protocol):
    """An automaton of the second seat, as `gamesim.envs.latent.automata` has them."""

    @property
    def successor(self) -> Tensor: ...

    def trembling(self, tremble: float) -> Tensor: ...


@final
@dataclass(frozen=True)
class Machine:
    """An automaton; `made` makes it for the second seat of a game."""

    name: str
    made: Callable[[DenseGame], Moore]
    tremble: float = 0.0

    def seated(self, game: DenseGame) -> Seat:
        made = self.made(turned(game))
        return _Machine(made.trembling(self.tremble), made.successor)


@dataclass(frozen=True)
class _Machine(Seat):
    law: Tensor
    successor: Tensor

    def begin(self, front: tuple[int, ...]) -> Any:
        return torch.zeros(front, dtype=torch.long)

    def meet(self, state: Any, generator: Stream) -> Any:
        return torch.zeros_like(state)

    def act(self, t: int, h: int, state: Any, generator: Stream) -> Tensor:
        return drawn(self.law[state], shared(generator, state.shape, 1)[..., 0].expand(state.shape))

    def learn(self, t: int, h: int, state: Any, own: Tensor, other: Tensor, generator: Stream) -> Any:
        return self.successor[state, other, own]


# --- learners ------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Learner:
    """A solver that learns from every round, whatever it knows of games."""

    name: str
    solver: Any

    def seated(self, game: DenseGame) -> Seat:
        family = getattr(self.solver, "requires", Game)
        of_states = family is EpisodicGame
        seat = _Learner(self.solver, game.payoffs[0].double(), of_states)
        view = seat.facing(torch.zeros(1, dtype=torch.long))
        if not isinstance(view, family):
            needs = getattr(family, "__name__", str(family))
            raise refuse("entrant", self.name, f"a solver that learns from what was played; it needs a {needs}")
        require = getattr(getattr(self.solver, "feedback", None), "require", None)
        if callable(require):
            require(view)
        if (
            getattr(getattr(self.solver, "feedback", None), "episodes", 1) != 1
            or getattr(self.solver, "episodes", 1) != 1
        ):
            raise refuse("entrant", self.name, f"{self.name} with episodes=1: a round is one episode")
        return seat


@dataclass(frozen=True)
class _Learner(Seat):
    solver: Any
    payoffs: Tensor
    of_states: bool

    def facing(self, other: Tensor) -> "_Facing | _OneState":
        """The game of one player against what the other plays."""
        kind = _OneState if self.of_states else _Facing
        return kind(self.payoffs.mT[other], (float(self.payoffs.min()), float(self.payoffs.max())))

    def begin(self, front: tuple[int, ...]) -> Any:
        return self.solver.init(self.facing(torch.zeros(front, dtype=torch.long)))

    def act(self, t: int, h: int, state: Any, generator: Stream) -> Tensor:
        (policy,) = state.policy
        batch = policy.shape[: -2 if self.of_states else -1]
        probe = self.facing(torch.zeros(batch, dtype=torch.long))
        self.solver.step(t, probe, state, generator.aside())
        if probe.played:
            return probe.played[-1]
        (asked,) = probe.asked[-1] if probe.asked else (policy,)
        found: Tensor = draw_actions((asked.reshape(*batch, -1),), generator)[..., 0]
        return found

    def learn(self, t: int, h: int, state: Any, own: Tensor, other: Tensor, generator: Stream) -> Any:
        return self.solver.step(t, self.facing(other), state, generator.aside())


@dataclass(eq=False)
class _Facing(BanditGame):
    """Arms that pay u(., b) for what the other plays, and a note of what was asked for."""

    column: Tensor
    """u(., b), [..., a]."""
    bounds: tuple[float, float] = (0.0, 1.0)
    asked: list[Policy] = field(default_factory=list)
    """Policies whose values were asked for."""
    played: list[Tensor] = field(default_factory=list)
    """Actions that were drawn, [...]."""

    def mean_rewards(self, t: int) -> Tensor:
        return self.column

    def paid(self, u: Tensor, t: int) -> Tensor:
        return self.column

    def feedback(self, policy: Policy, temperature: Any = 0.0) -> Policy:
        self.asked.append(policy)
        return super().feedback(policy, temperature)

    def answers(self, actions: Tensor, generator: Stream | None = None) -> Policy:
        self.played.append(actions[..., 0])
        return (self.column.expand(*actions.shape[:-1], self.column.shape[-1]),)


@dataclass(eq=False)
class _OneState(TabularGame):
    """The same for solvers of games with states: one of them, and play stops."""

    column: Tensor
    bounds: tuple[float, float] = (0.0, 1.0)
    asked: list[Policy] = field(default_factory=list)
    played: list[Tensor] = field(default_factory=list)
    player_count = 1

    @property
    def reward(self) -> Tensor:
        return self.column[..., None, None, :]

    @property
    def transition(self) -> Tensor:
        return torch.zeros(1, self.column.shape[-1], 1, dtype=self.column.dtype)

    @property
    def initial(self) -> Tensor:
        return torch.ones(1, dtype=self.column.dtype)

    def gradients(self, policy: Policy) -> Policy:
        self.asked.append(policy)
        return super().gradients(policy)

    def feedback(self, policy: Policy, temperature: Any = 0.0) -> Policy:
        self.asked.append(policy)
        return super().feedback(policy, temperature)

    def rollout(self, policy: Policy, episodes: int, generator: Stream) -> Episodes:
        found = super().rollout(policy, episodes, generator)
        self.played.append(found.actions[..., 0, 0, 0])
        return found


# --- matches -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Played:
    """What two entrants got of each other, per round: [seed, player]."""

    payoffs: Tensor
    regrets: Tensor
    """Against the best fixed action in hindsight."""


@dataclass(frozen=True)
class Standings:
    """Who got what of whom."""

    names: tuple[str, ...]
    payoffs: Tensor
    """Of the entrant of the row against that of the column, per round, mean over both seats: [row, column, seed]."""
    regrets: Tensor
    """[row, column, seed]."""
    rounds: int
    """Of each pair."""
    match: int
    """Rounds of a match."""
    first_seed: int = 0

    @property
    def scores(self) -> Tensor:
        """The mean payoff over all opponents, a twin of oneself among them, [entrant, seed]."""
        return self.payoffs.mean(1)

    @property
    def ranking(self) -> list[int]:
        """Entrants by score, the best first; of ties the first named."""
        return self.scores.mean(-1).sort(descending=True, stable=True).indices.tolist()

    def plain(self) -> dict[str, Any]:
        """Plain data for JSON: means with half-widths of 95% intervals over seeds, null for one seed."""
        places = {index: place + 1 for place, index in enumerate(self.ranking)}
        score, regret = spread(self.scores), spread(self.regrets.mean(1))
        cells, regrets = spread(self.payoffs), spread(self.regrets)
        entrants = [
            {"name": name, "rank": places[i], "payoff": score[i], "regret": regret[i], "against": cells[i]}
            | {"regret_against": regrets[i]}
            for i, name in enumerate(self.names)
        ]
        seeds = self.payoffs.shape[-1]
        setting = {"rounds": self.rounds, "match": self.match, "seeds": seeds, "first_seed": self.first_seed}
        return setting | {"entrants": entrants}


def spread(y: Tensor) -> Any:
    """Nested lists of {mean, half} of y[..., seed], half of a 95% interval (Student)."""
    if y.dim() > 1:
        return [spread(x) for x in y]
    seeds = len(y)
    if seeds == 1:
        return {"mean": float(y[0]), "half": None}
    from scipy.stats import t

    return {"mean": float(y.mean()), "half": float(t.ppf(0.975, seeds - 1) * y.std() / math.sqrt(seeds))}


def tournament(
    game: DenseGame,
    entrants: Sequence[Entrant],
    *,
    rounds: int = 1000,
    match: int = 10,
    seeds: int = 32,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Standings:
    """Everyone meets everyone, and a twin, in so many rounds, from both seats where these differ.

    Refuses games that are not of two players, and two entrants of one name.
    """
    if len(game.action_counts) != 2 or game.batch:
        raise refuse("game", f"{len(game.action_counts)} players, batch {list(game.batch)}", "one game of two players")
    names = tuple(each.name for each in entrants)
    if not names or len(set(names)) < len(names):
        raise refuse("entrant", list(names), "at least one, and names that differ")
    for name, value in (("rounds", rounds), ("match", match), ("seeds", seeds)):
        if value < 1:
            raise refuse(name, value, "a number of at least 1")
    if rounds % match:
        raise refuse("rounds", rounds, f"a multiple of match, {match}: every match is played to its end")
    symmetric = game.action_counts[0] == game.action_counts[1] and torch.equal(game.payoffs[0], game.payoffs[1].mT)
    count = len(entrants)
    pairs = [(i, j) for i in range(count) for j in range(i if symmetric else 0, count)]
    if rounds * seeds * len(pairs) > MOST:
        raise refuse("rounds", f"{rounds * seeds * len(pairs):,} in all", f"at most {MOST:,}")
    seats = [[each.seated(side) for each in entrants] for side in (game, turned(game))]
    found = dict[tuple[int, int], Played]()
    for i, j in pairs:
        say(f"{names[i]} against {names[j]}")
        found[i, j] = play(game, seats[0][i], seats[1][j], rounds, match, seeds, seed)

    def between(i: int, j: int, what: str) -> Tensor:
        """Of i against j, mean over both seats."""
        sides = [getattr(found[i, j], what)[:, 0]] if (i, j) in found else []
        sides += [getattr(found[j, i], what)[:, 1]] if (j, i) in found else []
        return torch.stack(sides).mean(0)

    def table(what: str) -> Tensor:
        return torch.stack([torch.stack([between(i, j, what) for j in range(count)]) for i in range(count)])

    return Standings(names, table("payoffs"), table("regrets"), rounds, match, seed)


def play(
    game: DenseGame,
    first: Seat,
    second: Seat,
    rounds: int,
    match: int,
    seeds: int,
    seed: int = 0,
) -> Played:
    """Two entrants in matches of so many rounds each, until all rounds are played."""
    front = (seeds,)
    stream = Ahead(Stream([seed + i for i in range(seeds)]), rounds)
    payoffs = game.payoffs.double()
    rows, columns = game.action_counts
    seats, states = (first, second), [first.begin(front), second.begin(front)]
    joint = torch.zeros(seeds, rows * columns, dtype=torch.float64)
    for t in range(rounds):
        h, luck = t % match, stream.at(t)
        if h == 0:
            states = [seat.meet(x, luck.aside()) for seat, x in zip(seats, states, strict=True)]
        lucks = [luck.aside(2**21), luck.aside(2**21)]  # a learner's step has the first half of its own
        actions = [seat.act(t, h, x, copy.copy(u)) for seat, x, u in zip(seats, states, lucks, strict=True)]
        others = actions[::-1]
        states = [
            seat.learn(t, h, x, a, b, copy.copy(u))
            for seat, x, a, b, u in zip(seats, states, actions, others, lucks, strict=True)
        ]
        joint.scatter_add_(1, (actions[0] * columns + actions[1]).unsqueeze(1), joint.new_ones(seeds, 1))
    often = joint.reshape(seeds, rows, columns) / rounds
    got = torch.stack([(often * u).sum((-2, -1)) for u in payoffs], -1)
    fixed = torch.stack(
        [(payoffs[0] @ often.sum(1)[..., None])[..., 0].amax(-1), (often.sum(2) @ payoffs[1]).amax(-1)], -1
    )
    return Played(got, fixed - got)


def turned(game: DenseGame) -> MatrixGame:
    """The same game seen from the second seat: players change places."""
    payoffs = game.payoffs.flip(-3).mT.contiguous()
    players, actions = tuple(reversed(game.players)), tuple(reversed(game.actions))
    return MatrixGame(payoffs, players, actions, player_count=2, title=getattr(game, "title", ""))
