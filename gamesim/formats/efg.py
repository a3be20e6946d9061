"""Gambit's extensive games, `.efg`, read into their reduced strategic form.

    EFG 2 R "title" { "player 1" "player 2" } "comment"
    c "node" 1 "information set" { "heads" 1/2 "tails" 1/2 } 0
    p "node" 1 1 "information set" { "stay" "go" } 0
    t "node" 1 "outcome" { 2, 0 }
    ...

The body is the tree in prefix order: chance nodes `c` (name, information set, actions with probabilities, outcome),
nodes of players `p` (name, player, information set, actions, outcome), terminal nodes `t` (name, outcome). Outcomes of
inner nodes add up along a path; 0 is the outcome that pays nothing. An information set or an outcome is described where
it comes first, and may be described in the same way again.

A reduced strategy says what a player does at each of the information sets that the player's own choices leave within
reach, and nothing (`*`) at the others; it is called by the numbers of its actions, 1*2, with commas between them where
an information set has ten actions or more. The order is Gambit's: information sets as a traversal of the tree meets
them, strategies so that the first information set changes slowest. That is how its manual orders information sets, and
strategies, order and payoffs were compared with those that its own tests state; Gambit 17 keeps the order and calls
strategies 1, 2, .... With imperfect recall (Kuhn, Contributions to the Theory of Games II, 1953) a choice can change
which information set a traversal of what is still within reach meets next; the order is then that of the traversal.

Payoffs are sums over terminal nodes of chance times payoff, as integers over a common denominator: they stay exact.
Chances must add up to 1. Programs that write floats (OpenSpiel's, 0.16666666666666666 six times) miss that by the last
digits; such chances are divided by their sum, with a caution that counts how often.
"""

import math
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from gamesim.errors import Caution, InvalidInput
from gamesim.formats.game_files import ENTRIES_LIMIT, PLAYERS_LIMIT, GameFile, require_entries
from gamesim.formats.reading import Tokens

NODES_LIMIT = 10**6
VISITS_LIMIT = 5 * 10**6  # of nodes, to find the strategies of a player who forgets
ADDITIONS_LIMIT = 5 * 10**8  # of payoffs of terminal nodes to cells of the table
WHOLE_LIMIT = 10**6  # payoffs that need integers of more than 53 bits
CHANCE_BITS = 4096
LAST_DIGITS = Fraction(1, 10**12)  # by which chances that a program wrote out of floats may miss a sum of 1

Wrong = Callable[[object, str], InvalidInput]
Numbers = tuple[Fraction, ...]


@dataclass
class _InformationSet:
    """Of a player, or of chance with `player` -1; `number` counts a player's sets as they come, from 0."""

    player: int
    number: int
    name: str
    actions: tuple[str, ...]
    chances: Numbers
    before: set[int] = field(default_factory=set)
    """The player's own past at its nodes: one sequence if the player remembers."""


@dataclass
class _Tree:
    """What is read: a player's past is a sequence, which a shorter sequence and an action make longer; 0 is no past."""

    players: int
    sets: list[list[_InformationSet]]
    sequences: list[list[tuple[int, int, int]]]
    """Of each player: the sequence before, the number of the information set, the action."""

    sums: dict[tuple[int, ...], list[Fraction]]
    """Chance times payoffs of the terminal nodes that share a past."""

    largest: Fraction
    nodes: list[tuple[_InformationSet | None, list[int]]]
    """In prefix order: who moves, and the nodes that follow."""


def parse_efg(text: str, source: str = "text") -> GameFile:
    """The reduced strategic form of the game in a text."""
    tokens = Tokens(text, source)
    title, players = tokens.header("EFG", "2")
    if len(players) > PLAYERS_LIMIT:
        raise tokens.wrong(f"{len(players):,} players", f"at most {PLAYERS_LIMIT}")
    comment = tokens.next("")[1] if tokens.peek() == '"' else ""
    tree = _Reader(tokens, len(players)).tree()

    def wrong(found: object, wanted: str) -> InvalidInput:
        return tokens.wrong(found, f"{wanted} in the reduced strategic form", 0)

    choices = [_strategies(tree, player, wrong) for player in range(len(players))]
    actions = tuple(_names(rows, tree.sets[player]) for player, rows in enumerate(choices))
    numerators, denominator = _payoffs(tree, choices, wrong)
    payoffs = np.asarray(numerators / denominator, dtype=float)
    return GameFile(title, players, actions, payoffs.T, comment, _Ratios(numerators.ravel(), denominator))


class _Ratios(Sequence[str]):
    """Integers over a common denominator, as text."""

    def __init__(self, numerators: np.ndarray, denominator: int) -> None:
        self._numerators, self._denominator = numerators, denominator

    def __len__(self) -> int:
        return len(self._numerators)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        return str(Fraction(int(self._numerators[i]), self._denominator))


# --- the tree -------------------------------------------------------------------------------------------------------


class _Reader:
    """Reads the nodes one after the other, without recursion; what is on the way down is kept on a stack."""

    def __init__(self, tokens: Tokens, players: int) -> None:
        self._tokens, self._players = tokens, players
        self._sets = dict[tuple[int, int], _InformationSet]()
        self._outcomes = dict[int, Numbers]()
        self._nothing: Numbers = (Fraction(),) * players
        self._own = [list[_InformationSet]() for _ in range(players)]
        self._sequences = [[(0, -1, -1)] for _ in range(players)]
        self._longer = dict[tuple[int, int, int, int], int]()
        self._divided = 0

    def tree(self) -> _Tree:
        tokens = self._tokens
        sums, largest = dict[tuple[int, ...], list[Fraction]](), Fraction()
        nodes = list[tuple[_InformationSet | None, list[int]]]()
        chance, paid, past = Fraction(1), self._nothing, (0,) * self._players
        way = list[tuple[_InformationSet, Fraction, Numbers, tuple[int, ...], list[int]]]()
        while True:
            if len(nodes) == NODES_LIMIT:
                raise tokens.wrong("more nodes", f"at most {NODES_LIMIT:,} nodes")
            if way:
                way[-1][-1].append(len(nodes))
            found = self._node(past)
            outcome = self._outcome()
            if outcome is not self._nothing:
                paid = tuple(a + b for a, b in zip(paid, outcome, strict=True))
                self._require_short(paid)
            children = list[int]()
            nodes.append((found, children))
            if found is not None:
                way.append((found, chance, paid, past, children))
            elif paid is not self._nothing:
                total = sums.setdefault(past, [Fraction()] * self._players)
                for i, x in enumerate(paid):
                    total[i] += chance * x
                    largest = max(largest, abs(x))
                self._require_short(total)
            while way and len(way[-1][-1]) == len(way[-1][0].actions):
                way.pop()
            if not way:
                break
            chance, paid, past = self._follow(*way[-1])
        if tokens.peek():
            raise tokens.wrong(tokens.next("")[1], "the end of the file: all branches of the tree have come")
        if self._divided:
            words = "game {}: chances that add up to 1 only up to their last digits were divided by their sum, {} times"
            warnings.warn(words.format(tokens.source, self._divided), Caution, stacklevel=2)
        return _Tree(self._players, self._own, self._sequences, sums, largest, nodes)

    def _follow(
        self, at: _InformationSet, chance: Fraction, paid: Numbers, past: tuple[int, ...], children: list[int]
    ) -> tuple[Fraction, Numbers, tuple[int, ...]]:
        """What holds after the next action of a node."""
        action, i = len(children), at.player
        if i < 0:
            chance = chance * at.chances[action]
            self._require_short([chance])
            return chance, paid, past
        key = (i, past[i], at.number, action)
        if key not in self._longer:
            self._longer[key] = len(self._sequences[i])
            self._sequences[i].append(key[1:])
        return chance, paid, (*past[:i], self._longer[key], *past[i + 1 :])

    def _require_short(self, numbers: Sequence[Fraction]) -> None:
        if any(max(x.denominator, abs(x.numerator)).bit_length() > CHANCE_BITS for x in numbers):
            raise self._tokens.wrong(
                "a product of chances or sum of payoffs", f"fractions of at most {CHANCE_BITS:,} bits"
            )

    def _node(self, past: tuple[int, ...]) -> _InformationSet | None:
        """The information set of a node; none at a terminal one."""
        tokens = self._tokens
        wanted = "a node: c, p or t"
        kind = tokens.expect("word", wanted)
        if kind not in ("c", "p", "t"):
            raise tokens.wrong(kind, wanted)
        tokens.expect("text", "the name of the node in quotation marks")
        if kind == "t":
            return None
        player = -1
        if kind == "p":
            wanted = f"the number of a player, from 1 to {self._players}"
            player = tokens.count(wanted, least=1) - 1
            if player >= self._players:
                raise tokens.wrong(player + 1, wanted)
        number = tokens.count("the number of an information set, from 1", least=1)
        begin = tokens.start
        known = self._sets.get((player, number))
        if tokens.peek() != '"':
            if known is None:
                raise tokens.wrong(number, "an information set that was described before, or its name and actions here")
        else:
            name = tokens.expect("text", "the name of the information set")
            tokens.expect("mark", "{ and the actions", "{")
            actions, chances = self._chances() if kind == "c" else (tokens.texts("an action or }"), ())
            if not actions:
                raise tokens.wrong("no actions", "at least one action")
            if known is None:
                own = self._own[player] if player >= 0 else []
                known = self._sets[player, number] = _InformationSet(player, len(own), name, actions, chances)
                own.append(known)
            elif (known.name, known.actions, known.chances) != (name, actions, chances):
                raise tokens.wrong(f"information set {number} anew", "the same description as before, or none", begin)
        if player >= 0:
            known.before.add(past[player])
        return known

    def _chances(self) -> tuple[tuple[str, ...], Numbers]:
        """Actions of chance and their probabilities, after the opening brace."""
        tokens = self._tokens
        begin = tokens.start
        actions, chances = list[str](), list[Fraction]()
        while tokens.peek() != "}":
            actions.append(tokens.expect("text", "an action of chance in quotation marks, or }"))
            word = tokens.number("the probability of an action of chance")
            chances.append(Fraction(word))
            if chances[-1] < 0:
                raise tokens.wrong(word, "a probability from 0 to 1")
        tokens.next("")
        total = sum(chances, Fraction())
        if actions and total != 1:
            if abs(total - 1) > LAST_DIGITS:
                raise tokens.wrong(f"probabilities that add up to {total}", "a sum of exactly 1", begin)
            chances = [chance / total for chance in chances]
            self._divided += 1
        return tuple(actions), tuple(chances)

    def _outcome(self) -> Numbers:
        """What an outcome adds to the payoffs."""
        tokens = self._tokens
        number = tokens.count("the number of an outcome, or 0 for none")
        begin = tokens.start
        known = self._outcomes.get(number)
        if tokens.peek() not in ('"', "{"):
            if number and known is None:
                raise tokens.wrong(number, "an outcome that was described before, or its name and payoffs here")
            return known or self._nothing
        if tokens.peek() == '"':
            tokens.next("")
        if number == 0:
            raise tokens.wrong("a description of outcome 0", "none: outcome 0 pays nothing", begin)
        tokens.expect("mark", "{ and the payoffs", "{")
        paid = tuple(map(Fraction, tokens.payoffs(self._players)))
        if known not in (None, paid):
            raise tokens.wrong(f"outcome {number} anew", "the same payoffs as before, or none", begin)
        return self._outcomes.setdefault(number, paid)


# --- strategies -----------------------------------------------------------------------------------------------------


def _strategies(tree: _Tree, player: int, wrong: Wrong) -> np.ndarray:
    """The reduced strategies of a player: actions [information set, strategy], -1 for none."""
    sets = tree.sets[player]

    def require(count: int, more: str = "") -> None:
        if count * max(len(sets), 1) > ENTRIES_LIMIT:
            found = f"{count:,}{more} strategies of player {player + 1}, over {len(sets):,} information sets"
            raise wrong(found, f"at most {ENTRIES_LIMIT:,} choices of a player")

    if any(len(at.before) > 1 for at in sets):
        return _found_by_traversal(tree, player, wrong, require)
    following: dict[int, list[int]] = {}
    for at in sets:
        following.setdefault(min(at.before), []).append(at.number)
    after = {(h, a): s for s, (_, h, a) in enumerate(tree.sequences[player])}
    # How many ways there are to go on from an information set, and from each of its actions; capped, as they may be
    # exponentially many. Sets that follow have larger numbers.
    cap = ENTRIES_LIMIT + 1
    ways, onward = [1] * len(sets), list[list[int]]()

    def joint(sequence: int) -> int:
        total = 1
        for h in following.get(sequence, ()):
            total = min(total * ways[h], cap)
        return total

    for at in reversed(sets):
        onward.append([joint(after[at.number, a]) for a in range(len(at.actions))])
        ways[at.number] = min(sum(onward[-1]), cap)
    onward.reverse()
    total = joint(0)
    require(total, " or more" if total == cap else "")

    # Strategies that agree up to an information set stand side by side: each such run is cut by the action there.
    choices = np.full((len(sets), total), -1, dtype=np.int32)
    runs = np.array([total])
    for at in sets:
        h, weights = at.number, np.array(onward[at.number])
        _, last, action = tree.sequences[player][min(at.before)]
        starts = np.cumsum(runs) - runs
        reached = np.ones(len(runs), bool) if last < 0 else choices[last, starts] == action
        parts = np.where(reached, len(weights), 1)
        of = np.repeat(np.arange(len(runs)), parts)
        taken = np.arange(len(of)) - (np.cumsum(parts) - parts)[of]
        runs = np.where(reached[of], runs[of] // ways[h] * weights[taken], runs[of])
        choices[h] = np.repeat(np.where(reached[of], taken, -1), runs)
    return choices


def _found_by_traversal(tree: _Tree, player: int, wrong: Wrong, require: Callable[[int, str], None]) -> np.ndarray:
    """The same for a player who forgets: follow all that is within reach, and branch at each new information set."""
    found, visits = list[dict[int, int]](), 0
    open_ends: list[tuple[Any, dict[int, int]]] = [((0, None), {})]  # nodes to come: the next one, and the others
    while open_ends:
        agenda, chosen = open_ends.pop()
        while agenda:
            node, agenda = agenda
            at, children = tree.nodes[node]
            visits += 1
            if at is not None and at.player != player:
                for child in reversed(children):
                    agenda = (child, agenda)
            elif at is not None:
                if at.number not in chosen:
                    for action in reversed(range(1, len(children))):
                        open_ends.append(((children[action], agenda), {**chosen, at.number: action}))
                        visits += len(chosen) // 10  # for the copy
                    chosen[at.number] = 0
                agenda = (children[chosen[at.number]], agenda)
            if visits > VISITS_LIMIT:
                raise wrong(f"a player {player + 1} with imperfect recall", f"at most {VISITS_LIMIT:,} nodes to visit")
        found.append(chosen)
        require(len(found), " or more")
    choices = np.full((len(tree.sets[player]), len(found)), -1, dtype=np.int32)
    for column, chosen in enumerate(found):
        for number, action in chosen.items():
            choices[number, column] = action
    return choices


def _names(choices: np.ndarray, sets: Sequence[_InformationSet]) -> tuple[str, ...]:
    """Strategies by the numbers of their actions."""
    if not sets:
        return ("*",)
    if max(len(at.actions) for at in sets) > 9:
        return tuple(",".join("*" if a < 0 else str(a + 1) for a in column) for column in choices.T.tolist())
    letters = np.array(list("*123456789"))[choices.T + 1]
    return tuple(np.ascontiguousarray(letters).view(f"U{len(sets)}").ravel().tolist())


# --- payoffs --------------------------------------------------------------------------------------------------------


def _payoffs(tree: _Tree, choices: Sequence[np.ndarray], wrong: Wrong) -> tuple[np.ndarray, int]:
    """Payoffs as integers [an, ..., a1, player] over a common denominator."""
    counts = [rows.shape[1] for rows in choices]
    entries = require_entries(counts, wrong)
    denominator = math.lcm(*{x.denominator for total in tree.sums.values() for x in total})
    if denominator.bit_length() > CHANCE_BITS:
        raise wrong("a common denominator of the payoffs", f"one of at most {CHANCE_BITS:,} bits")
    if tree.largest > Fraction(sys.float_info.max):
        raise wrong("a sum of outcomes above 1.8e308", "finite payoffs")
    largest = max(math.ceil(tree.largest * denominator), denominator)
    kind: Any = np.int64
    if largest >= 2**53:  # beyond, the quotient of two rounded integers is not the nearest float
        if entries <= WHOLE_LIMIT:
            kind = object
        elif largest >= 2**62:
            raise wrong(
                f"{entries:,} payoffs with a common denominator of {denominator.bit_length()} bits",
                f"at most {WHOLE_LIMIT:,} of more than 62 bits",
            )
    within = [_within(rows, sequences) for rows, sequences in zip(choices, tree.sequences, strict=True)]
    additions = sum(math.prod(len(rows[s]) for rows, s in zip(within, past, strict=True)) for past in tree.sums)
    if additions * len(counts) > ADDITIONS_LIMIT:
        raise wrong(f"{additions:,} times that a terminal node adds to a profile", f"at most {ADDITIONS_LIMIT:,}")
    numerators = np.zeros((*counts[::-1], len(counts)), dtype=kind)
    table = numerators.T
    for past, total in tree.sums.items():
        cells = np.ix_(*(rows[s] for rows, s in zip(within, past, strict=True)))
        for i, x in enumerate(total):
            if x:
                table[i][cells] += int(x * denominator)
    return numerators, denominator


def _within(choices: np.ndarray, sequences: Sequence[tuple[int, int, int]]) -> list[np.ndarray]:
    """The strategies that allow each sequence."""
    found = [np.arange(choices.shape[1])]
    split = dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]()
    for before, h, action in sequences[1:]:
        if (before, h) not in split:  # by all actions at once: there may be as many of them as strategies
            taken = choices[h, found[before]]
            order = np.argsort(taken, kind="stable")
            split[before, h] = found[before][order], np.searchsorted(taken[order], np.arange(taken.max(initial=-1) + 2))
        rows, ends = split[before, h]
        found.append(rows[ends[action] : ends[action + 1]] if action + 1 < len(ends) else rows[:0])
    return found
