"""Opponents as Moore machines: what each state plays, and which state follows what both have played.

    b ~ output(. | q),    q' = successor(q, a, b)        a of the planner, b of the opponent, q_0 = 0

With a tremble eps the hand slips: the action that was meant is replaced by each of the others with probability
eps / (count - 1), and everybody, the machine included, goes by what was played. Two actions, the first to cooperate:

    ALLC, ALLD   always the same
    TFT          tit for tat: what the other has just played
    GRIM         cooperates until the other defects, and then never again
    WSLS         win stay, lose shift (Pavlov): repeats what paid at least the mean payoff, and changes otherwise
    RAND         a coin

In any game of two: `always ACTION`, `uniform`, `equilibrium` (a mixed one, in every round), `mirror` (repeats the
other's last action, where both have as many), `best-reply` (to the other's last action) and `win-stay-lose-shift`.

Axelrod, "The evolution of cooperation", 1984; Nowak and Sigmund, Nature 364 (1993); Rubinstein, "Finite automata play
the repeated prisoner's dilemma", Journal of Economic Theory 39 (1986).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamesim.errors import refuse, unknown
from gamesim.games import DenseGame
from gamesim.games.matrix import as_tensor

MOST_STATES = 10_000
"""Of one automaton."""
PURE = 10
"""Actions up to which each is a type of its own where no types are named."""


@dataclass(frozen=True, eq=False)
class Automaton:
    """A Moore machine that plays the second seat of a matrix game; it begins in state 0.

    >>> alternating = Automaton("alternating", [[1, 0], [0, 1]], [[[1, 1], [1, 1]], [[0, 0], [0, 0]]])
    >>> alternating.states
    ('1', '2')
    """

    name: str
    output: Tensor
    """The law of the own action in each state, [state, b]; arrays and nested lists are taken, too."""
    successor: Tensor
    """The next state after the planner's action and the own one, whole numbers [state, a, b]."""
    states: tuple[str, ...] = ()
    """A name for each state; 1, 2, ... if left out."""

    def __post_init__(self) -> None:
        output = as_tensor(self.output, "output").to(torch.float64)
        given = as_tensor(self.successor, "successor")
        if output.dim() != 2 or not 0 < output.shape[0] <= MOST_STATES or not output.shape[1]:
            raise refuse("output", f"shape {list(output.shape)}", f"[state, b], at most {MOST_STATES:,} states")
        sums = output.sum(-1)
        if not bool((output >= 0).all()) or not bool(((sums - 1).abs() <= 1e-6).all()):
            worst = int(torch.where(output.amin(-1) < 0, math.inf, (sums - 1).abs()).nan_to_num(math.inf).argmax())
            raise refuse(f"output[{worst}]", output[worst].tolist(), "probabilities that sum to 1")
        states, count = output.shape
        if given.dim() != 3 or given.shape[0] != states or given.shape[2] != count or not given.shape[1]:
            raise refuse("successor", f"shape {list(given.shape)}", f"[{states}, a, {count}], as output has it")
        if not bool(((given >= 0) & (given < states) & (given == given.floor())).all()):
            raise refuse("successor", f"numbers from {given.min()} to {given.max()}", f"states, 0 to {states - 1}")
        names = tuple(self.states) or tuple(str(q + 1) for q in range(states))
        if len(names) != states:
            raise refuse("states", f"{len(names)} names", f"{states}")
        for name, value in (("output", output), ("successor", given.long()), ("states", names)):
            object.__setattr__(self, name, value)

    def trembling(self, tremble: float) -> Tensor:
        """The law of what is played in each state, [state, b]: each other action with tremble / (count - 1)."""
        others = self.output.shape[-1] - 1
        if not others:
            return self.output
        return (1 - tremble) * self.output + tremble * (1 - self.output) / others

    def plain(self) -> dict[str, Any]:
        """What JSON says of it."""
        return {
            "kind": "Automaton",
            "name": self.name,
            "output": self.output.tolist(),
            "successor": self.successor.tolist(),
            "states": list(self.states),
        }


def automaton(name: str, game: DenseGame) -> Automaton:
    """An opponent for the second seat of a game, by name; unknown names list those that the game has."""
    known = automata(game)
    asked = " ".join(name.split())
    found = next((key for key in known if key.lower() == asked.lower()), None)
    if found is None:
        raise unknown("types", name, known)
    return known[found](game)


def usual(game: DenseGame) -> tuple[str, ...]:
    """The types that are taken where none are named: the classics, or pure ones if few, and others."""
    if game.action_counts == (2, 2):
        return tuple(CLASSICS)
    few = game.action_counts[1] <= PURE
    pure = tuple(f"always {action}" for action in game.actions[1]) if few else ()
    return (
        *pure,
        *(name for name in ("uniform", "mirror", "best-reply", "win-stay-lose-shift") if name in automata(game)),
    )


def automata(game: DenseGame) -> Mapping[str, Callable[[DenseGame], Automaton]]:
    """The named opponents that a game has, in order."""
    rows, columns = game.action_counts
    found = dict[str, Callable[[DenseGame], Automaton]](CLASSICS if (rows, columns) == (2, 2) else {})
    for b, action in enumerate(game.actions[1]):
        found[f"always {action}"] = lambda game, b=b, action=action: always(game, b, f"always {action}")  # type: ignore[misc]
    found |= {"uniform": uniform, "equilibrium": equilibrium}
    if rows == columns:
        found["mirror"] = mirror
        if rows == 2:
            found["tit-for-tat"] = lambda game: mirror(game, "tit-for-tat")
    return found | {"best-reply": best_reply, "win-stay-lose-shift": win_stay_lose_shift}


def always(game: DenseGame, action: int, name: str = "") -> Automaton:
    """The same action in every round."""
    law = torch.nn.functional.one_hot(torch.tensor(action), game.action_counts[1]).double()
    return _steady(game, name or f"always {game.actions[1][action]}", law)


def uniform(game: DenseGame, name: str = "uniform") -> Automaton:
    """All actions alike."""
    count = game.action_counts[1]
    return _steady(game, name, torch.full((count,), 1 / count, dtype=torch.float64))


def equilibrium(game: DenseGame, name: str = "equilibrium") -> Automaton:
    """The second player's part in one equilibrium of a round: the optimal one of a zero-sum game, else the first found
    that mixes, or a pure one where none does."""
    from gamesim.equilibria.several import mixed_equilibria
    from gamesim.equilibria.zero_sum import solve_zero_sum

    first, second = game.payoffs.double()
    if bool(((first + second) == 0).all()):
        return _steady(game, name, solve_zero_sum(first).column)
    found = mixed_equilibria(game.payoffs.double().cpu().numpy(), game.rational).equilibria
    laws = [torch.tensor([float(p) for p in e.probabilities[1]], dtype=torch.float64) for e in found]
    if not laws:
        raise refuse("types", name, "another type: no equilibrium of this game was found")
    return _steady(game, name, max(laws, key=lambda law: int((law > 0).sum())))


def mirror(game: DenseGame, name: str = "mirror") -> Automaton:
    """What the other has just played, by number; first the first action."""
    rows, columns = game.action_counts
    if rows != columns:
        raise refuse("types", name, f"another type: the players have {rows} and {columns} actions")
    return _remembering(game, name, torch.arange(rows)[:, None].expand(rows, columns))


def best_reply(game: DenseGame, name: str = "best-reply") -> Automaton:
    """The best reply to what the other has just played, of ties the first; first that to uniform play."""
    second = game.payoffs[1].double()
    opening = int(second.mean(0).argmax())
    return _remembering(game, name, second.argmax(-1)[:, None].expand(second.shape), opening)


def win_stay_lose_shift(game: DenseGame, name: str = "win-stay-lose-shift") -> Automaton:
    """The same again after a payoff of at least the mean of the table, else the next action."""
    second = game.payoffs[1].double()
    own = torch.arange(second.shape[-1])
    wins = second >= second.mean()
    return _remembering(game, name, torch.where(wins, own, (own + 1) % len(own)))


def grim(game: DenseGame, name: str = "GRIM") -> Automaton:
    """The first action until the other plays another than its first, and then the last one for ever."""
    rows, columns = game.action_counts
    output = torch.zeros(2, columns, dtype=torch.float64)
    output[0, 0] = output[1, -1] = 1.0
    successor = torch.ones(2, rows, columns, dtype=torch.long)
    successor[0, 0] = 0
    return Automaton(name, output, successor, ("calm", "provoked"))


CLASSICS: Mapping[str, Callable[[DenseGame], Automaton]] = {
    "ALLC": lambda game: always(game, 0, "ALLC"),
    "ALLD": lambda game: always(game, 1, "ALLD"),
    "TFT": lambda game: mirror(game, "TFT"),
    "GRIM": grim,
    "WSLS": lambda game: win_stay_lose_shift(game, "WSLS"),
    "RAND": lambda game: uniform(game, "RAND"),
}
"""Of games of two actions each, the first to cooperate."""


def _steady(game: DenseGame, name: str, law: Tensor) -> Automaton:
    return Automaton(name, law[None], torch.zeros(1, *game.action_counts, dtype=torch.long))


def _remembering(game: DenseGame, name: str, following: Tensor, opening: int = 0) -> Automaton:
    """The next own action follows[a, b] from what was played in the last round: a state for each own action.

    State 0 plays the opening; states are the other actions in order.
    """
    count = game.action_counts[1]
    order = torch.tensor([opening, *(b for b in range(count) if b != opening)])
    place = order.argsort()
    successor = place[following].expand(count, *game.action_counts)
    names = tuple(game.actions[1][int(b)] for b in order)
    return Automaton(name, torch.eye(count, dtype=torch.float64)[order], successor, names)
