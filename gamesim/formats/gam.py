"""GameTracer's games, `.gam`, which GAMUT and QuantEcon write as well: numbers, and nothing else.

    2
    3 2

    1 0 0 1 0 2
    1 2 2 1 3 0

are the number of players, how many actions each has, and then all payoffs of player 1, all of player 2, and so on,
each list with player 1's action fastest. GameTracer's readers know no comments and no fractions; here lines that begin
with # or // are comments, and a/b is read. What has a finite decimal is written as one, so that only thirds and the
like stay fractions. Titles and names have no place in the format and are left out.

Source: the README of GameTracer 0.2 (Blum and Shelton, 2002); GAMUT's writer (Nudelman et al., AAMAS 2004).
"""

import re
from fractions import Fraction

from gamesim.formats.game_files import GameFile, numbered, require_entries, side_by_side
from gamesim.formats.reading import LETTERS_LIMIT, Tokens

COMMENT = re.compile(r"(?:^|(?<=\r))[ \t\v\f]*+(?:#|//)[^\r\n]*+", re.MULTILINE)


def parse_gam(text: str, source: str = "text") -> GameFile:
    """The game in a text; comment lines become its comment."""
    comments = list[str]()

    def blank(match: re.Match[str]) -> str:
        comments.append(match[0].strip().lstrip("#/").strip())
        return " " * len(match[0])  # places in the text stay what they are

    if "#" in text or "//" in text:
        text = COMMENT.sub(blank, text)
    tokens = Tokens(text, source)
    players = tokens.count("the number of players, from 1", least=1)
    counts = list[int]()
    while len(counts) < players:
        counts.append(tokens.count(f"the number of actions of player {len(counts) + 1}, from 1", least=1))
    entries = require_entries(counts, tokens.wrong)
    size = entries // players
    shown = " x ".join(map(str, counts))
    words, values = tokens.numbers(entries, f"for each of {players} players the payoffs of {shown} profiles")
    payoffs = values.reshape(players, *counts[::-1]).transpose(0, *range(players, 0, -1))
    words = side_by_side([words[i : i + size] for i in range(0, entries, size)])
    return GameFile("", numbered(players), tuple(map(numbered, counts)), payoffs, "\n".join(comments), words)


def format_gam(game_file: GameFile) -> str:
    """The text of a game, without its title, names and comment."""
    players = len(game_file.players)
    words = [_decimal(word) for word in game_file.numbers]
    counts = " ".join(str(len(names)) for names in game_file.actions)
    return "\n".join([str(players), counts, "", *(" ".join(words[i::players]) for i in range(players))]) + "\n"


def _decimal(word: str) -> str:
    """A number without a fraction bar, if it has a finite decimal that can be read again."""
    if "/" not in word:
        return word
    number = Fraction(word)
    twos = (number.denominator & -number.denominator).bit_length() - 1
    rest, fives = number.denominator >> twos, 0
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    digits = max(twos, fives)
    if rest > 1 or digits > LETTERS_LIMIT // 2 or len(word) > LETTERS_LIMIT // 2:
        return word
    scaled = str(abs(number.numerator) * 10**digits // number.denominator).zfill(digits + 1)
    whole, decimals = scaled[: len(scaled) - digits], scaled[len(scaled) - digits :]
    return f"{'-' if number < 0 else ''}{whole}{'.' if digits else ''}{decimals}"
