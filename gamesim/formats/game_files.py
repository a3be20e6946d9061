"""Games in files of other programs: Gambit's .nfg and .efg, and the .gam of GameTracer, GAMUT and QuantEcon.

A `GameFile` holds the payoffs twice: as float64, and as the numbers that stand in the file, so that 3/2, 0.1 and 1e-3
stay what they are. The second are kept as text and taken as fractions one by one, when they are asked for.

    .nfg   Gambit's strategic game, payoff or outcome form: read and written
    .gam   GameTracer's list of payoffs, without names: read and written
    .efg   Gambit's extensive game: read into its reduced strategic form

Files are read as data only: nothing in them is executed or fetched, and what they declare is checked against what they
hold before anything of that size is made.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from numbers import Rational, Real
from pathlib import Path
from typing import Any

import numpy as np

from gamesim.errors import InvalidInput, refuse
from gamesim.files import write_text
from gamesim.formats.reading import STRING, read_text, require_file, shown

BYTES_LIMIT = 2 * 10**8
ENTRIES_LIMIT = 2 * 10**7  # payoffs of a game
PLAYERS_LIMIT = 31  # numpy 1.26 has 32 dimensions
BITS_LIMIT = 10_000  # of a fraction, so that it can be written and read again
KINDS = (".nfg", ".gam", ".efg")
FORMS = ("payoff", "outcome")


@dataclass(frozen=True, eq=False)
class GameFile:
    """A game as a file holds it; players and actions without a name are called by their numbers, from 1.

    Payoffs that are given as floats count as the shortest decimals that name them (0.1 is 1/10); given as fractions or
    integers in an array of objects, they are kept exactly.
    """

    title: str
    players: tuple[str, ...]
    actions: tuple[tuple[str, ...], ...]
    """The names of each player's actions, in the order of the file."""

    payoffs: np.ndarray
    """float64 [player, a1, ..., an]"""

    comment: str = ""
    words: Sequence[str] | None = field(default=None, repr=False)
    """The numbers as they are written: all players' payoffs of a profile side by side, player 1's action fastest."""

    def __post_init__(self) -> None:
        payoffs, words = np.asarray(self.payoffs), self.words
        counts = tuple(len(names) for names in self.actions)
        if not 0 < len(self.players) == len(counts) <= PLAYERS_LIMIT:
            found = f"{len(self.players)} players, actions of {len(counts)}"
            raise refuse("players", found, f"as many lists of actions as players, from 1 to {PLAYERS_LIMIT}")
        if 0 in counts:
            raise refuse(f"actions of player {counts.index(0) + 1}", "none", "at least one action")
        if payoffs.shape != (len(counts), *counts):
            raise refuse("payoffs", f"shape {payoffs.shape}", f"shape {(len(counts), *counts)}: [player, a1, ..., an]")
        if payoffs.dtype.kind not in "biufO":
            raise refuse("payoffs", f"type {payoffs.dtype}", "real numbers")
        if words is None and payoffs.dtype.kind in "iuO":
            words = [_written(x) for x in payoffs.T.ravel().tolist()]
        if words is not None and len(words) != payoffs.size:
            raise refuse("words", f"{len(words)} numbers", f"{payoffs.size}, one for each payoff")
        try:
            payoffs = np.ascontiguousarray(payoffs, dtype=float)
        except OverflowError:
            raise refuse("payoffs", "a number above 1.8e308", "finite numbers") from None
        if not np.isfinite(payoffs).all():
            player, *profile = (int(i) for i in np.argwhere(~np.isfinite(payoffs))[0])
            raise refuse(f"payoffs[{player}, {profile}]", payoffs[(player, *profile)], "a finite number")
        names = tuple(named(part) for part in self.actions)
        for name, value in (("players", named(self.players)), ("actions", names), ("payoffs", payoffs)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "words", words)

    @cached_property
    def numbers(self) -> Sequence[str]:
        """The payoffs as text, in the order of `words`; these, or the shortest decimals of the floats."""
        return [_written(x) for x in self.payoffs.T.ravel().tolist()] if self.words is None else self.words

    def rational(self, player: int, profile: tuple[int, ...]) -> Fraction:
        """A payoff exactly as it is written; players and actions count from 0."""
        shape = self.payoffs.shape
        place = (player, *profile)
        if len(place) != len(shape) or not all(0 <= i < size for i, size in zip(place, shape, strict=True)):
            raise refuse("player and profile", place, f"one number from 0 for each of {shape}")
        at, scale = 0, 1
        for i, size in zip(place, shape, strict=True):
            at, scale = at + int(i) * scale, scale * size
        return Fraction(self.numbers[at])

    def __eq__(self, other: object) -> bool:
        """The same names, texts and exact payoffs; how a number is written does not matter."""
        if not isinstance(other, GameFile):
            return NotImplemented
        mine, theirs = (
            (game.title, game.comment, game.players, game.actions, game.payoffs.shape) for game in (self, other)
        )
        if mine != theirs or not np.array_equal(self.payoffs, other.payoffs):
            return False
        return all(a == b or Fraction(a) == Fraction(b) for a, b in zip(self.numbers, other.numbers, strict=True))


def named(names: Sequence[str]) -> tuple[str, ...]:
    """Names, with its number in place of each empty one."""
    return tuple(name or str(i) for i, name in enumerate(names, 1))


def numbered(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(1, count + 1)))


def _written(x: Any) -> str:
    """A number in the shortest text that is exactly it."""
    if isinstance(x, Rational):
        exact = Fraction(x)
        if exact.numerator.bit_length() + exact.denominator.bit_length() > BITS_LIMIT:
            raise refuse("payoffs", f"a fraction of more than {BITS_LIMIT:,} bits", "shorter fractions")
        return str(exact)
    if isinstance(x, Real):
        return repr(float(x)).removesuffix(".0")
    raise refuse("payoffs", f"{x!r} of type {type(x).__name__}", "fractions, integers or floats")


def quoted(text: str, what: str) -> str:
    """A text in quotation marks, as the formats of Gambit have it."""
    found = '"' + text.replace('"', '\\"') + '"'
    try:
        found.encode()
        if STRING.fullmatch(found):
            return found
    except UnicodeEncodeError:
        pass
    wanted = "a text in Unicode, without a backslash before a quotation mark or at its end"
    raise refuse(what, text.encode("utf-8", "replace").decode(), f"{wanted}: the format has no way to write that")


def require_entries(counts: Sequence[int], wrong: Callable[[object, str], InvalidInput]) -> int:
    """The number of payoffs of a game, checked before anything of that size is made."""
    players, profiles = len(counts), math.prod(counts)
    if players > PLAYERS_LIMIT:
        raise wrong(f"{players:,} players", f"at most {PLAYERS_LIMIT}: payoffs are a table of all profiles")
    if players * profiles > ENTRIES_LIMIT:
        found = f"{' x '.join(map(str, counts))} profiles of {players} players"
        raise wrong(found, f"at most {ENTRIES_LIMIT:,} payoffs")
    return players * profiles


def side_by_side(lists: Sequence[Sequence[str]]) -> list[str]:
    """One list of numbers per player, joined so that all players' payoffs of a profile stand side by side."""
    return list(itertools.chain.from_iterable(zip(*lists, strict=True)))


def read_game_file(path: str | Path) -> GameFile:
    """The game in a file; .efg becomes its reduced strategic form.

    Raises InvalidInput, in one line: the file, line and column, what stands there, and what would be right.
    """
    from gamesim.formats.efg import parse_efg
    from gamesim.formats.gam import parse_gam
    from gamesim.formats.nfg import parse_nfg

    file = require_file("game", path, KINDS, BYTES_LIMIT)
    parse = {".nfg": parse_nfg, ".gam": parse_gam, ".efg": parse_efg}[file.suffix.lower()]
    return parse(read_text("game", file, BYTES_LIMIT), shown(path))


def write_game_file(path: str | Path, game_file: GameFile, form: str = "payoff") -> None:
    """Write a game to .nfg, in payoff or outcome form, or to .gam; the file is there whole or not at all."""
    from gamesim.formats.gam import format_gam
    from gamesim.formats.nfg import format_nfg

    kind = Path(path).suffix.lower()
    if kind not in (".nfg", ".gam"):
        raise refuse("game", str(path), "a file whose name ends in .nfg or .gam")
    if kind == ".gam" and form != "payoff":
        raise refuse("form", form, "payoff: a .gam has no other")
    text = format_nfg(game_file, form) if kind == ".nfg" else format_gam(game_file)
    try:
        write_text(Path(path).expanduser(), text)
    except (OSError, ValueError, RuntimeError) as error:
        raise refuse("game", str(path), f"a file that can be written to ({error})") from None
