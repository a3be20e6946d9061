"""Reading of files that strangers wrote: what every reader checks first, and texts cut into tokens.

Texts of games are made of quoted strings (a quotation mark inside has a backslash before it), braces, commas and words,
apart by white space. Whatever is wrong becomes one line: the file, line and column, what stands there, and what would
be right. Numbers are integers, decimals with or without an exponent, and ratios of integers; nothing else that `float`
would take (nan, inf, 1_000, digits of other scripts) is a number here.
"""

import contextlib
import itertools
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from gamesim.errors import InvalidInput, refuse

SPACE = " \t\r\n\v\f"
STRING = re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
BLANK = re.compile(rf"[{SPACE}]*")
TOKEN = re.compile(
    rf'[{SPACE}]*+(?:"(?P<text>[^"\\]*+(?:\\.[^"\\]*+)*+)"|(?P<mark>[{{}},])|(?P<word>[^{SPACE}{{}},"]++))', re.DOTALL
)
STRAY_COMMA = re.compile(rf",[{SPACE}]*+(?:[,{{]|\Z)|\{{[{SPACE}]*+,")
WORD = re.compile(rf"[^{SPACE},]+")
COUNT = re.compile(r"[0-9]{1,9}")
NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:/[0-9]+|\.?[0-9]*(?:[eE][-+]?[0-9]+)?)|\.[0-9]+(?:[eE][-+]?[0-9]+)?)")
LETTERS_LIMIT = 4000  # of a number: an int of Python has at most 4,300 digits in text
LONG_EXPONENT = re.compile(r"e[-+]?[0-9]{4}")  # 1e-9999999 would be a number of ten million digits
BAD_RATIO = re.compile(rf"/(?![0-9]+(?:[{SPACE}]|\Z))")
IN_NUMBERS = f"0123456789+-./eE{SPACE}".encode()


def shown(source: object) -> str:
    """The name of a source in one printable line."""
    return " ".join(str(source).encode("utf-8", "replace").decode().split())


def require_file(
    field: str, source: str | Path, kinds: Sequence[str], limit: int, missing: str = "", advice: str = ""
) -> Path:
    """The path of a file that can be read, whose name ends in one of `kinds`, of at most `limit` bytes.

    `missing` is what is wanted where there is no such file, `advice` what helps against a large one.
    """
    wanted = ", ".join(kinds)
    if not isinstance(source, str | Path):
        raise refuse(field, source, f"the name of a file ({wanted})")
    try:
        path = Path(source).expanduser()
        if not path.exists():
            raise refuse(field, str(source), missing or f"an existing file ({wanted})")
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "no regular file"
            raise refuse(field, str(source), f"a file ({wanted}); this is {kind}")
        size = path.stat().st_size
    except InvalidInput:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise refuse(field, str(source), f"a file that can be read ({error})") from None
    if not path.suffix or not path.name.lower().endswith(tuple(kinds)):
        raise refuse(field, str(source), f"a file whose name ends in one of {wanted}")
    if size > limit:
        raise refuse(field, f"{source}, {size / 1e6:.0f} MB", f"at most {limit / 1e6:.0f} MB{advice}")
    return path


@contextlib.contextmanager
def refusing(field: str, source: str, what: str) -> Iterator[None]:
    """Whatever a parser raises on a malformed file becomes one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InvalidInput:
        raise
    except Exception as error:  # numpy, networkx, zipfile and gzip raise what they like on a broken file
        words = " ".join(str(error).split())[:200]
        raise refuse(field, source, f"{what} ({type(error).__name__}: {words})") from None


def read_text(field: str, path: Path, limit: int) -> str:
    """The text of a file in UTF-8, with or without a byte order mark, or else in Latin-1, as old programs write it."""
    with refusing(field, shown(path), "a file that can be read"), path.open("rb") as file:
        data = file.read(limit + 1)  # the file may have grown since it was measured
        if len(data) > limit:
            raise refuse(field, shown(path), f"at most {limit / 1e6:.0f} MB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.removeprefix(b"\xef\xbb\xbf").decode("latin-1")


class Tokens:
    """The tokens of a text, one by one: `at` is where the next one is looked for, `start` where the last began."""

    def __init__(self, text: str, source: str) -> None:
        self.text, self.source = text, source
        self.at = 1 if text.startswith("\ufeff") else 0
        self.start = self.at

    def wrong(self, found: object, wanted: str, at: int | None = None) -> InvalidInput:
        """The refusal of what stands at a place, by default where the last token began."""
        before = self.text[: self.start if at is None else at].removeprefix("\ufeff")
        before = before.replace("\r\n", "\n").replace("\r", "\n")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return refuse(f"game {self.source} line {line} column {column}", found, wanted)

    def next(self, wanted: str) -> tuple[str, str]:
        """The next token: its kind (`text`, `mark` or `word`) and what it says; refused at the end of the text."""
        match = TOKEN.match(self.text, self.at)
        if match is None:
            self.start = self._ahead()
            if self.text.startswith('"', self.start):
                raise self.wrong("a text without end", 'a closing "')
            raise self.wrong("the end of the file", wanted)
        self.at = match.end()
        kind = match.lastgroup or ""
        said = match[kind]
        self.start = self.at - len(said) - 2 * (kind == "text")
        return kind, said.replace('\\"', '"') if kind == "text" and "\\" in said else said

    def _ahead(self) -> int:
        """Where the next token begins, or the text ends."""
        match = BLANK.match(self.text, self.at)
        return match.end() if match else self.at

    def peek(self) -> str:
        """The letter with which the next token begins; empty at the end of the text."""
        at = self._ahead()
        return self.text[at : at + 1]

    def expect(self, kind: str, wanted: str, said: str = "") -> str:
        """The next token, which must be of a kind, and say something if that is given."""
        found, says = self.next(wanted)
        if found != kind or (said and says != said):
            raise self.wrong(self.text[self.start : self.at], wanted)
        return says

    def count(self, wanted: str, least: int = 0) -> int:
        """A whole number of at most nine digits."""
        word = self.expect("word", wanted)
        if not COUNT.fullmatch(word) or int(word) < least:
            raise self.wrong(word, wanted)
        return int(word)

    def number(self, wanted: str) -> str:
        """A number, as it is written."""
        word = self.expect("word", wanted)
        if problem := problem_of(word):
            raise self.wrong(word, problem)
        return word

    def payoffs(self, players: int) -> list[str]:
        """One number for each player up to a closing brace, with commas between them or without."""
        wanted = f"a payoff for each of {players} players, then }}"
        words = list[str]()
        while self.peek() != "}":
            if words and self.peek() == ",":
                self.next("")
            words.append(self.number(wanted))
            if len(words) > players:
                raise self.wrong(f"payoff {len(words)}, {words[-1]}", wanted)
        self.next("")
        if len(words) < players:
            raise self.wrong(f"}} after {len(words)} payoffs", wanted)
        return words

    def header(self, name: str, version: str) -> tuple[str, tuple[str, ...]]:
        """`NAME VERSION R "title" { "player" ... }`: the title and the players."""
        self.expect("word", f"{name}, with which such a file begins", name)
        self.expect("word", f"the version {version}", version)
        if self.expect("word", "R, or D in old files") not in ("R", "D"):
            raise self.wrong(self.text[self.start : self.at], "R, or D in old files")
        title = self.expect("text", "the title in quotation marks")
        self.expect("mark", "{ and the names of the players", "{")
        names = self.texts("the name of a player in quotation marks, or }")
        if not names:
            raise self.wrong("no players", "at least one player")
        return title, names

    def texts(self, wanted: str) -> tuple[str, ...]:
        """Texts up to a closing brace."""
        found = []
        while True:
            kind, said = self.next(wanted)
            if kind == "text":
                found.append(said)
            elif said == "}":
                return tuple(found)
            else:
                raise self.wrong(said, wanted)

    def numbers(self, expected: int, what: str) -> tuple[list[str], np.ndarray]:
        """The words from here to the end and their values; so many are `expected`, and `what` says why."""
        begin, self.at = self.at, len(self.text)
        body = self.text[begin:]
        if "," in body:
            if stray := STRAY_COMMA.search("{" + body):  # the brace stands for the beginning
                raise self.wrong(",", "a single comma between two numbers, or none", begin + max(stray.start() - 1, 0))
            body = body.replace(",", " ")
        words = body.split()
        values = values_of(words, body)
        if values is None:
            for match in WORD.finditer(body):
                if problem := problem_of(match[0]):
                    raise self.wrong(match[0], problem, begin + match.start())
            values = np.array([value_of(word) for word in words])
        if len(words) != expected:
            at = begin + (nth(body, expected) if len(words) > expected else len(body.rstrip()))
            raise self.wrong(f"{len(words):,} numbers", f"{expected:,}: {what}", at)
        return words, values


def nth(text: str, i: int) -> int:
    """Where word i begins, counted from 0."""
    return next(itertools.islice(WORD.finditer(text), i, None)).start()


def problem_of(word: str) -> str:
    """What should stand in place of a word that is no number; empty if it is one."""
    if len(word) > LETTERS_LIMIT:
        return f"a number of at most {LETTERS_LIMIT} letters"
    if not NUMBER.fullmatch(word):
        return "a number such as 3, -0.5, 2e-3 or 3/2"
    if LONG_EXPONENT.search(word.lower()):
        return "an exponent of at most three digits"
    if "/" in word and int(word.partition("/")[2]) == 0:
        return "a denominator that is not zero"
    return "" if np.isfinite(value_of(word)) else "a finite number, below 1.8e308"


def value_of(word: str) -> float:
    """The float nearest to a number; infinite where that is too large."""
    top, slash, bottom = word.partition("/")
    try:
        return int(top) / int(bottom) if slash else float(word)
    except OverflowError:
        return float("inf")


def values_of(words: list[str], body: str) -> np.ndarray | None:
    """The values of all words of a text at once, or None if any of them may be no number."""
    if not body.isascii() or body.encode().translate(None, IN_NUMBERS):
        return None
    if len(max(words, key=len, default="")) > LETTERS_LIMIT:
        return None
    if ("e" in body or "E" in body) and LONG_EXPONENT.search(body.lower()):
        return None
    try:
        if "/" not in body:
            values = np.fromiter(map(float, words), float, len(words))
            return values if np.isfinite(values).all() else None
        if BAD_RATIO.search(body):
            return None
        parts = [word.partition("/") for word in words]
        if any(slash and not top.lstrip("+-").isdigit() for top, slash, _ in parts):
            return None
        tops = np.fromiter((float(top) for top, _, _ in parts), float, len(words))
        bottoms = np.fromiter((float(bottom or 1) for _, _, bottom in parts), float, len(words))
    except ValueError:
        return None
    if not bottoms.all():
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        values = tops / bottoms
        rounded = np.flatnonzero((bottoms != 1) & (np.maximum(abs(tops), bottoms) >= 2.0**53))
    for i in rounded.tolist():  # the quotient of two rounded integers is not the nearest float
        values[i] = value_of(words[i])
    return values if np.isfinite(values).all() else None
