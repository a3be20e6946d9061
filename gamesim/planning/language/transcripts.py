"""A transcript: every call of a run, in a file of JSON lines that only grows, enough to play the run again.

    {"type": "header", "version": 1, "gamesim": ..., "world": {...}, "planner": {...}, "request": {...}, "system": ...}
    {"type": "runs", "seeds": [0, 1, ...]}
    {"type": "prompt", "hash": ..., "text": ...}                                a prompt, once
    {"type": "call", "run": 0, "episode": 3, "decision": 0, "actor": 0, "attempt": 0, "try": 0, "prompt": hash,
     "status": "ok", "reply": ..., "logprobs": [...], "prompt_tokens": ..., "reply_tokens": ..., "seconds": ..., ...}
    {"type": "unasked", "run": ..., "prompt": hash, "why": ...}                  the budget was spent, or nobody answers

`attempt` counts answers that were not understood, `try` requests that failed. A line is on disk before its answer is
used. A last line without its end, of a process that was killed, is dropped; anything else that is no such line is
refused by its number. Keys never come here: answers and errors are without them already.
"""

import fcntl
import hashlib
import json
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from gamesim.errors import InvalidInput, refuse
from gamesim.planning.language.endpoint import STATUSES, Answer, counted

VERSION = 1
SUFFIX = ".jsonl"
BEGINNING = b'{"type": "header"'
KEPT = ContextVar["Kept | None"]("KEPT", default=None)
"""Where transcripts are kept that have no place of their own: the folder of the run under way."""
OPEN = weakref.WeakValueDictionary[Path, "Transcript"]()
"""Those that this process writes to."""


@dataclass
class Kept:
    """A folder for transcripts, and the accounts of the runs that used it."""

    folder: Path
    accounts: list[Any] = field(default_factory=list)

    @property
    def usage(self) -> dict[str, Any] | None:
        """Calls, tokens, cost and the rest of the last run, if it asked a language model."""
        found: dict[str, Any] | None = self.accounts[-1].plain() if self.accounts else None
        return found


@contextmanager
def kept_in(folder: Path) -> Iterator[Kept]:
    """Runs in here leave their transcripts in this folder, unless they name a file."""
    kept = Kept(folder)
    token = KEPT.set(kept)
    try:
        yield kept
    finally:
        KEPT.reset(token)


class Place(NamedTuple):
    """Which request of a run it is."""

    run: int
    episode: int
    decision: int
    actor: int
    attempt: int = 0
    number: int = 0
    """How many requests of this attempt failed before; `try` in a file."""

    def words(self) -> str:
        said = f"run {self.run}, episode {self.episode}, decision {self.decision}"
        said += f", actor {self.actor}" if self.actor else ""
        return said + (f", attempt {self.attempt}, try {self.number}" if self.attempt or self.number else "")


@dataclass(frozen=True)
class Line:
    """What became of a request: an answer, or why none was asked for."""

    prompt: str
    """Hash of all that was said to the model."""
    answer: Answer | None
    why: str | None = None
    seed: int = 0
    """The seed that was asked for; few endpoints honour it."""


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass
class Recorded:
    """A transcript as read."""

    header: dict[str, Any]
    prompts: dict[str, str]
    lines: dict[Place, Line]
    seeds: list[int] | None = None
    size: int = 0
    """Bytes up to the end of the last whole line."""

    @property
    def seconds(self) -> float:
        return sum(line.answer.seconds for line in self.lines.values() if line.answer)


def read_transcript(path: Path | str) -> Recorded:
    """A transcript from its file; what is no transcript is refused, with the number of the line."""
    path = Path(path)
    found = Recorded({}, {}, {})
    if path.exists() and not path.is_file():
        raise refuse("transcript", str(path), "a file")
    try:
        file = path.open("rb")
    except OSError as error:
        raise refuse("transcript", str(path), f"a file that can be read ({error.strerror})") from None
    with file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):  # a process was killed while it wrote
                if not found.size and not line.startswith(BEGINNING[: len(line)]):
                    raise InvalidInput(f"{path}:1: no line of a transcript; it is another file")
                break
            try:
                entry = json.loads(line.decode("ascii"))
                _take(entry, found)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise InvalidInput(
                    f"{path}:{number}: no line of a transcript ({type(error).__name__}: {error}); name another file"
                ) from None
            found.size += len(line)
    return found


def _take(entry: Any, found: Recorded) -> None:
    match entry["type"]:
        case "header":
            if entry["version"] != VERSION or found.header:
                raise ValueError("a header of another version, or a second one")
            found.header = entry
        case "runs":
            found.seeds = [_whole(seed) for seed in entry["seeds"]]
        case "prompt":
            if not isinstance(entry["text"], str) or hash_of(entry["text"]) != entry["hash"]:
                raise ValueError("a prompt that is not what its hash says")
            found.prompts[entry["hash"]] = entry["text"]
        case "call" | "unasked" as type_:
            place = Place(*(_whole(entry[name]) for name in (*Place._fields[:-1], "try")))
            if place in found.lines or not isinstance(entry["prompt"], str):
                raise ValueError("a request that stands there already, or without its prompt")
            if type_ == "unasked":
                found.lines[place] = Line(entry["prompt"], None, str(entry["why"]))
                return
            found.lines[place] = Line(entry["prompt"], _answer(entry))
        case _:
            raise ValueError("an unknown type")


def _answer(entry: dict[str, Any]) -> Answer:
    pairs = tuple((str(token), float(log)) for token, log in entry["logprobs"])
    known = {f.name for f in fields(Answer)} - {"text", "logprobs"}
    answer = Answer(text=entry["reply"], logprobs=pairs, **{name: entry[name] for name in known})
    texts, counts = (answer.text, answer.finish, answer.error), (answer.prompt_tokens, answer.reply_tokens, answer.http)
    sound = (
        answer.status in STATUSES
        and all(text is None or isinstance(text, str) for text in texts)
        and all(n is None or counted(n) is not None for n in counts)
        and all(isinstance(x, int | float) and 0 <= x < 1e9 for x in (answer.seconds, answer.wait))
    )
    if not sound:
        raise ValueError("an answer that is none")
    return answer


def _whole(x: object) -> int:
    if isinstance(x, bool) or not isinstance(x, int) or x < 0:
        raise ValueError("a place is whole numbers")
    return x


class Transcript:
    """What is known of a run's requests: those of its file, if it has one, and those made since."""

    def __init__(self, path: Path | str | None, header: Mapping[str, Any]) -> None:
        """Open for writing; one of the same world and planner is continued, any other refused."""
        self.path = None if path is None else Path(path)
        self.name = "transcript" if path is None else str(path)
        self.recorded = Recorded(dict(header), {}, {})
        self._file: Any = None
        self._writing = threading.Lock()
        self._absent = False
        if self.path is None:
            return
        self._absent = not self.path.exists()  # then it is made when there is something to write
        if self.path.suffix != SUFFIX or self.path.is_symlink() or not (self._absent or self.path.is_file()):
            raise refuse("transcript", str(path), f"a file, no link, that ends in {SUFFIX}")
        if not self._absent:
            self._open(self.path, header)
        elif not (self.path.parent.is_dir() and os.access(self.path.parent, os.W_OK)):
            raise refuse("transcript", str(path), "a file in a folder that exists, and can be written to")

    def _open(self, path: Path, header: Mapping[str, Any]) -> None:
        self._absent = False
        try:
            file = path.open("ab", buffering=0)
        except OSError as error:
            raise refuse("transcript", str(path), f"a file that can be written to ({error.strerror})") from None
        earlier = OPEN.pop(path.resolve(), None)
        if earlier is not None:  # of a run of this process, ended by now
            earlier.close()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise refuse("transcript", str(path), "a file that no other process is writing to now") from None
        try:
            found = read_transcript(path)
            if found.header:
                require_same(found.header, header, path)
            elif found.lines or found.prompts:
                raise refuse("transcript", str(path), "a transcript, or a file that is not there yet")
        except BaseException:  # Ctrl-C, too: the next one may have the file
            file.close()
            raise
        file.truncate(found.size)
        self._file, self.recorded = file, found
        OPEN[path.resolve()] = self
        weakref.finalize(self, file.close)
        if not found.header:
            self.recorded.header = dict(header)
            self._write({"type": "header", "version": VERSION, **header})

    @classmethod
    def of(cls, recorded: Recorded, name: str) -> "Transcript":
        """One that is only read."""
        found = cls(None, recorded.header)
        found.recorded, found.name = recorded, name
        return found

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def known(self, place: Place, prompt: str) -> Line | None:
        """What became of a request before, if it was made; of another prompt it is refused."""
        line = self.recorded.lines.get(place)
        if line is not None and line.prompt != hash_of(prompt):
            differs = difference(self.recorded.prompts.get(line.prompt, ""), prompt)
            raise InvalidInput(
                f"{self.name}: {place.words()} was asked something else ({differs}); other seeds, settings or another "
                "version made it: name another file, or go back to those"
            )
        return line

    def require_seeds(self, seeds: Sequence[int]) -> None:
        """Note whose runs these are; those of other seeds are refused."""
        known = self.recorded.seeds
        if known is not None and known != list(seeds):
            raise refuse("seeds", str(list(seeds)), f"{known}, as the transcript has")
        if known is None:
            self._ready()
            self.recorded.seeds = list(seeds)
            if self._file is not None:
                self._write({"type": "runs", "seeds": list(seeds)})

    def keep(self, place: Place, prompt: str, line: Line) -> None:
        """Write what became of a request, before anything is made of it."""
        entry: dict[str, Any] = {"type": "unasked" if line.answer is None else "call", **place._asdict()}
        entry["try"], entry["prompt"], entry["seed"] = entry.pop("number"), line.prompt, line.seed
        if line.answer is None:
            entry["why"] = line.why
        else:
            answer = asdict(line.answer)
            entry |= {"reply": answer.pop("text"), **answer}
        with self._writing:
            if not self._ready():
                return
            if line.prompt not in self.recorded.prompts:
                self.recorded.prompts[line.prompt] = prompt
                self._write({"type": "prompt", "hash": line.prompt, "text": prompt})
            self._write(entry)

    def _ready(self) -> bool:
        """Whether there is a file to write to; it is made when it is needed first."""
        if self._file is None and self.path is not None:
            if not self._absent:
                raise refuse("transcript", str(self.path), "one run at a time: another one has taken it over")
            self._open(self.path, self.recorded.header)
        return self._file is not None

    def _write(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry, allow_nan=False).encode("ascii") + b"\n"
        rest = line
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError:  # the disk is full: half a line would spoil the next
            self._file.truncate(self.recorded.size)
            raise
        self.recorded.size += len(line)


def require_same(recorded: Mapping[str, Any], wanted: Mapping[str, Any], path: Path | str) -> None:
    """Refuse a transcript of another world or planner, saying where they differ first."""
    for name, value in wanted.items():
        there = recorded.get(name)
        if name != "gamesim" and there != value:
            raise refuse(
                f"transcript {path}", _differing(name, there, value), "one of this world and planner; name another"
            )


def _differing(name: str, a: Any, b: Any) -> str:
    if isinstance(a, dict) and isinstance(b, dict):
        key = next(key for key in sorted({*a, *b}) if a.get(key) != b.get(key))
        return _differing(f"{name}.{key}", a.get(key), b.get(key))
    if isinstance(a, str) and isinstance(b, str):
        return f"{name}: {difference(a, b)}"
    return f"{name} {a!r} there and {b!r} here"


def difference(before: str, now: str) -> str:
    """The first lines in which two texts differ."""
    a, b = before.splitlines(), now.splitlines()
    for i in range(max(len(a), len(b))):
        x, y = (lines[i] if i < len(lines) else "" for lines in (a, b))
        if x != y:
            return f"line {i + 1}: {x[:60]!r} there and {y[:60]!r} here"
    return "the same lines"
