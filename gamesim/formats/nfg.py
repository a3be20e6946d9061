"""Gambit's strategic games, `.nfg`.

    NFG 1 R "title" { "player 1" "player 2" } { 3 2 } "comment"
    1 1  0 2  0 2  1 1  0 3  2 0

is the payoff form: profiles with player 1's strategy fastest, all players' payoffs of a profile side by side. Instead
of { 3 2 } the strategies may have names, { { "a" "b" "c" } { "x" "y" } }. In the outcome form a list of outcomes
follows, { { "name" 1, 1 } { "" 0, 2 } }, and then the number of the outcome of each profile; 0 is the outcome that pays
nothing. The comment, the names of outcomes and commas between payoffs may be left out; old files have D for R. White
space has no meaning outside quotation marks.

Source: the file formats in the documentation of Gambit (gambitproject.readthedocs.io), and files that come with it.
"""

import itertools
import re
from collections.abc import Sequence

import numpy as np

from gamesim.errors import refuse
from gamesim.formats.game_files import FORMS, GameFile, numbered, quoted, require_entries
from gamesim.formats.reading import SPACE, STRAY_COMMA, STRING, Tokens, nth, value_of, values_of

OUTCOME = re.compile(rf'[{SPACE}]*+\{{[{SPACE}]*+(?:{STRING.pattern})?([^{{}}"]*+)\}}', re.DOTALL)


def parse_nfg(text: str, source: str = "text") -> GameFile:
    """The game in a text, of payoff or outcome form."""
    tokens = Tokens(text, source)
    title, players = tokens.header("NFG", "1")
    counts, names = _strategies(tokens, len(players))
    entries = require_entries(counts, tokens.wrong)
    comment = tokens.next("")[1] if tokens.peek() == '"' else ""
    profiles = f"{' x '.join(map(str, counts))} profiles"
    if tokens.peek() == "{":
        outcomes, table = _outcomes(tokens, len(players))
        begin = tokens.at
        chosen, indices = tokens.numbers(entries // len(players), f"an outcome for each of {profiles}")
        known = np.array([word.isdigit() for word in chosen]) & (indices < len(table))
        if not known.all():
            i = int(known.argmin())
            wanted = f"the number of an outcome, from 0 to {len(table) - 1}"
            raise tokens.wrong(chosen[i], wanted, begin + nth(text[begin:], i))
        index = indices.astype(int)
        words = list(itertools.chain.from_iterable(map(outcomes.__getitem__, index.tolist())))
        values = table[index]
    else:
        words, values = tokens.numbers(entries, f"{len(players)} for each of {profiles}")
    payoffs = values.reshape(*counts[::-1], len(players)).T
    return GameFile(title, players, names or tuple(map(numbered, counts)), payoffs, comment, words)


def _strategies(tokens: Tokens, players: int) -> tuple[list[int], tuple[tuple[str, ...], ...]]:
    """How many strategies each player has, and their names if they have any."""
    tokens.expect("mark", "{ with the number of strategies, or a list of their names, for each player", "{")
    nested = tokens.peek() == "{"
    wanted = f"one {'list of names' if nested else 'number'} of strategies for each of {players} players"
    counts, names = list[int](), list[tuple[str, ...]]()
    while tokens.peek() != "}":
        if nested:
            tokens.expect("mark", wanted, "{")
            names.append(tokens.texts("the name of a strategy in quotation marks, or }"))
            counts.append(len(names[-1]))
        else:
            counts.append(tokens.count("the number of strategies of a player, from 1, or }"))
        if counts[-1] == 0:
            raise tokens.wrong(f"no strategies of player {len(counts)}", "at least one strategy")
        if len(counts) > players:
            raise tokens.wrong(f"strategies of player {len(counts)}", wanted)
    tokens.next("")
    if len(counts) != players:
        raise tokens.wrong(f"strategies of {len(counts)} players", wanted)
    return counts, tuple(names)


def _outcomes(tokens: Tokens, players: int) -> tuple[list[Sequence[str]], np.ndarray]:
    """The payoffs of each outcome, as written and as numbers [outcome, player]; the first one pays nothing."""
    tokens.next("")
    begin, parts = tokens.at, list[str]()
    while match := OUTCOME.match(tokens.text, tokens.at):
        parts.append(match[2])
        tokens.at = match.end()
    joined = " { ".join(["", *parts, ""])
    fine = tokens.peek() == "}" and not ("," in joined and STRAY_COMMA.search(joined))
    words = joined.replace(",", " ").split()
    width = players + 1
    fine = fine and len(words) == width * len(parts) + 1 and words[::width].count("{") == len(parts) + 1
    rows = [words[i : i + players] for i in range(1, len(words), width)]
    del words[::width]
    values = values_of(words, joined.replace(",", " ").replace("{", " ")) if fine else None
    if values is None:  # slowly, for the place of what is wrong, or for a number that needs care
        tokens.at = begin
        rows = []
        while tokens.peek() != "}":
            tokens.expect("mark", 'an outcome such as { "name" 1, 2 }, or }', "{")
            if tokens.peek() == '"':
                tokens.next("")
            rows.append(tokens.payoffs(players))
        values = np.array([value_of(word) for row in rows for word in row])
    tokens.next("")
    return [("0",) * players, *rows], np.concatenate([np.zeros((1, players)), values.reshape(-1, players)])


def format_nfg(game_file: GameFile, form: str = "payoff") -> str:
    """The text of a game, in payoff or outcome form; profiles that pay the same share an outcome."""
    if form not in FORMS:
        raise refuse("form", form, f"one of {', '.join(FORMS)}")
    players, words = len(game_file.players), list(game_file.numbers)
    rows = [tuple(words[i : i + players]) for i in range(0, len(words), players)]
    counts = [len(names) for names in game_file.actions]
    title, names = quoted(game_file.title, "title"), _list(game_file.players, "players")
    if form == "payoff" and game_file.actions == tuple(map(numbered, counts)):
        strategies = f"{{ {' '.join(map(str, counts))} }}"
    else:
        strategies = "\n".join(["{", *(_list(part, "actions") for part in game_file.actions), "}"])
    lines = [f"NFG 1 R {title} {names}", strategies, quoted(game_file.comment, "comment") if game_file.comment else ""]
    if form == "payoff":
        return "\n".join([*lines, *map(" ".join, rows)]) + "\n"
    nothing = ("0",) * players
    number = {nothing: 0}
    chosen = [number.setdefault(row, len(number)) for row in rows]
    outcomes = [f'{{ "" {", ".join(row)} }}' for row in number if row != nothing]
    per_line = counts[0]
    table = [" ".join(map(str, chosen[i : i + per_line])) for i in range(0, len(chosen), per_line)]
    return "\n".join([*lines, "{", *outcomes, "}", *table]) + "\n"


def _list(names: Sequence[str], what: str) -> str:
    return f"{{ {' '.join(quoted(name, what) for name in names)} }}"
