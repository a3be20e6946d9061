"""Tournaments: planners, learners and machines meet in a repeated matrix game, everyone with everyone.

Rounds come in matches: a planner supposes, as its world says, that its opponent begins anew with each of them, and so
machines do; what was learned stays. Regret is per round, against the best fixed action in hindsight,

    1/T max_a sum_t u(a, b_t) - u(a_t, b_t)

which says little where the other answers what one does: cooperation has regret.

Axelrod, "The evolution of cooperation", 1984.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games import DenseGame
from gamesim.games.luck import Ahead
from gamesim.planning.seats import Entrant, Seat, turned
from gamesim.randomness import Stream

MOST = 10**9
"""Rounds of all matches of all seeds, at most."""


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
