"""One input, judged: it succeeds, or it is refused in one line. Whatever else happens is a defect.

succeeded   exit code 0, and with --json one JSON document on stdout; a call that returns
stopped     exit code 1 where that is documented: a run that diverged, a claim that fails, memory or disk that ends
refused     exit code 2, one line `error: ...` on stderr, the folder as it was; InvalidInput of one line
defect      a traceback, another exit code, more than one line, no JSON, something left behind, five seconds of CPU
"""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gamesim.catalog import load
from gamesim.errors import InvalidInput

CPU_SECONDS = 5.0
CLOCK_SECONDS = 60.0
LONGEST = 2000  # letters of an error: it names a value of at most 160, and what would be right
LINES = ("note: ", "usage: ")


class TimeUp(BaseException):
    """Raised by a timer; no `except Exception` keeps it."""


@dataclass(frozen=True)
class Outcome:
    """What came of an input."""

    verdict: str
    """succeeded, stopped, refused or defect."""
    words: str = ""
    """The refusal, or what is wrong."""


@contextlib.contextmanager
def limited(cpu: float = CPU_SECONDS, clock: float = CLOCK_SECONDS) -> Iterator[None]:
    """At most so many seconds of this process, and of the clock, for what sleeps."""

    def ring(number: int, frame: Any) -> None:
        raise TimeUp

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, cpu), (signal.SIGALRM, signal.ITIMER_REAL, clock))
    before = [signal.signal(number, ring) for number, _, _ in timers]
    try:
        for _, timer, seconds in timers:
            signal.setitimer(timer, seconds)
        yield
    finally:
        for (number, timer, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def timed(call: Callable[[], Outcome]) -> Outcome:
    """What comes of a call; one that takes too long is called again, as kernels are compiled by their first call."""
    for _ in range(2):
        try:
            with limited(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return call()
        except TimeUp:
            found = Outcome("defect", f"more than {CPU_SECONDS:g} s of CPU time or {CLOCK_SECONDS:g} s: {_place()}")
    return found


def tried(call: Callable[[], object]) -> Outcome:
    """Call something of the library."""

    def judged() -> Outcome:
        try:
            call()
        except InvalidInput as error:
            return _of_words(str(error))
        except MemoryError:
            return Outcome("stopped", "memory")
        except Exception as error:
            if isinstance(error, RuntimeError) and "allocate memory" in str(error):
                return Outcome("stopped", "memory")
            return Outcome("defect", f"{type(error).__name__}: {_short(error)} {_place()}")
        return Outcome("succeeded")

    return timed(judged)


class Sandbox:
    """A folder with files in it, in which commands run; it is as it was before each of them."""

    def __init__(self, pristine: Path, folder: Path) -> None:
        self.pristine, self.folder = pristine, folder
        self._restore()

    def _restore(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.pristine, self.folder, symlinks=True)
        self._state, self._put = self._look(), False

    def _look(self) -> dict[str, tuple[int, int]]:
        found = dict[str, tuple[int, int]]()
        for path in self.folder.rglob("*"):
            about = path.lstat()
            found[str(path.relative_to(self.folder))] = (
                about.st_size * path.is_file(),
                about.st_mtime_ns * path.is_file(),
            )
        return found

    def put(self, name: str, data: bytes) -> None:
        """Another text for a file of the folder, until the next command is done."""
        (self.folder / name).write_bytes(data)
        self.look()

    def look(self) -> None:
        """Take the folder as it now is for what the next command finds; after that it is as it was at first."""
        self._state, self._put = self._look(), True

    def command(self, arguments: Sequence[str]) -> Outcome:
        """Run a command line in the folder, in this process."""
        outcome = timed(lambda: self._judged(arguments))
        now, before, put = self._look(), self._state, self._put
        if now == before and put:
            self._restore()
        if now != before:
            changed = sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
            spares = [name for name in now if name.endswith(".tmp")]
            self._restore()
            if outcome.verdict == "refused":
                return Outcome("defect", f"refused, but it left {', '.join(changed[:4])} behind ({outcome.words})")
            if spares and outcome.verdict != "defect":
                return Outcome("defect", f"it left {spares[0]} behind")
        return outcome

    def _judged(self, arguments: Sequence[str]) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        kept = list(sys.path), Path.cwd(), sys.argv
        sys.argv = ["gamesim", *arguments]
        os.chdir(self.folder)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = load("gamesim.cli:main")(list(arguments))
        except (Exception, SystemExit) as error:
            return Outcome("defect", f"{type(error).__name__}: {_short(error)} {_place()}")
        finally:
            sys.path[:], sys.argv = kept[0], kept[2]
            os.chdir(kept[1])
        return judge(code, out.getvalue(), err.getvalue(), "--json" in arguments)


def judge(code: int, out: str, err: str, as_json: bool) -> Outcome:
    """What an exit code, stdout and stderr say of a command."""
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    if "Traceback (most recent call last)" in out + err:
        return Outcome("defect", f"a traceback: {_short(err[-300:])}")
    if code == 2:
        if len(errors) != 1 or err.splitlines()[-1:] != errors:
            return Outcome("defect", f"exit code 2 and stderr {_short(err)!r}")
        if as_json and out.strip():
            return Outcome("defect", f"refused, and stdout says {_short(out)!r}")
        return _of_words(errors[0].removeprefix("error: "))
    if code not in (0, 1) or (code == 0 and errors):
        return Outcome("defect", f"exit code {code} and stderr {_short(err)!r}")
    if as_json and not errors and out.strip():
        try:
            json.loads(out, parse_constant=lambda text: json.loads(f"{text}!"))
        except ValueError:
            return Outcome("defect", f"stdout is not JSON: {_short(out)!r}")
    return Outcome("stopped", _short(" ".join(errors) or err[-200:])) if code else Outcome("succeeded")


def _of_words(words: str) -> Outcome:
    """A refusal, if its words are fit for one line."""
    if not words.strip() or "\n" in words or len(words) > LONGEST:
        return Outcome("defect", f"a refusal of {len(words)} letters, not one line: {_short(words)!r}")
    if re.search(r"<class '|object at 0x", words):
        return Outcome("refused", f"unclear: {words}")
    return Outcome("refused", words)


def _short(x: object) -> str:
    return " ".join(str(x).split())[:240]


def _place() -> str:
    """Where in gamesim the error was raised."""
    frames = [f for f in traceback.extract_tb(sys.exc_info()[2]) if "fuzzing" not in f.filename]
    own = [f for f in frames if "/site-packages/" not in f.filename and "/lib/python" not in f.filename]
    return " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in [*frames[-1:], *reversed(own[-3:])])
