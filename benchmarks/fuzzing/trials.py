"""One input, judged: it succeeds, or it is refused in one line. Whatever else happens is a defect.

succeeded   exit code 0, and with --json one JSON document on stdout; a call that returns
stopped     exit code 1 where that is documented: a run that diverged, a claim that fails, memory or disk that ends
refused     exit code 2, one line `error: ...` on stderr, the folder as it was; InvalidInput of one line
defect      a traceback, another exit code, more than one line, no JSON, something left behind, five seconds of CPU;
            of a process also death by a signal, and more memory or time than it may have
"""

import contextlib
import json
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gamesim.errors import InvalidInput

CPU_SECONDS = 5.0
CLOCK_SECONDS = 60.0
GIGABYTES = 4.0
LONGEST = 2000  # letters of an error: it names a value of at most 160, and what would be right


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
def limited(cpu: float, clock: float) -> Iterator[None]:
    """At most so many seconds of this process, and of the clock, for what sleeps."""

    def ring(number: int, frame: Any) -> None:
        raise TimeUp(f"{cpu:g} s of CPU time or {clock:g} s")

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
            with limited(CPU_SECONDS, CLOCK_SECONDS), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return call()
        except TimeUp as up:
            found = Outcome("defect", f"more than {up}: {place()}")
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
        except Exception as error:  # that is what is looked for
            if isinstance(error, RuntimeError) and "allocate memory" in str(error):
                return Outcome("stopped", "memory")
            return Outcome("defect", f"{type(error).__name__}: {short(error)} {place()}")
        return Outcome("succeeded")

    return timed(judged)


def judge(code: int, out: str, err: str, as_json: bool) -> Outcome:
    """What an exit code, stdout and stderr say of a command."""
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    if "Traceback (most recent call last)" in out + err:
        return Outcome("defect", f"a traceback: {short(err[-300:])}")
    if code == 2:
        if len(errors) != 1 or err.splitlines()[-1:] != errors:
            return Outcome("defect", f"exit code 2 and stderr {short(err)!r}")
        if as_json and out.strip():
            return Outcome("defect", f"refused, and stdout says {short(out)!r}")
        return _of_words(errors[0].removeprefix("error: "))
    if code not in (0, 1) or (code == 0 and errors):
        return Outcome("defect", f"exit code {code} and stderr {short(err)!r}")
    if as_json and not errors and out.strip():
        try:
            json.loads(out, parse_constant=lambda text: json.loads(f"{text}!"))
        except ValueError:
            return Outcome("defect", f"stdout is not JSON: {short(out)!r}")
    return Outcome("stopped", short(" ".join(errors) or err[-200:])) if code else Outcome("succeeded")


def _of_words(words: str) -> Outcome:
    """A refusal, if its words are fit for one line."""
    if not words.strip() or "\n" in words or len(words) > LONGEST:
        return Outcome("defect", f"a refusal of {len(words)} letters, not one line: {short(words)!r}")
    if re.search(r"<class '|object at 0x", words):
        return Outcome("refused", f"unclear: {words}")
    return Outcome("refused", words)


def short(x: object) -> str:
    return " ".join(str(x).split())[:240]


def place() -> str:
    """Where in gamesim the error was raised."""
    frames = [f for f in traceback.extract_tb(sys.exc_info()[2]) if "fuzzing" not in f.filename]
    own = [f for f in frames if "/site-packages/" not in f.filename and "/lib/python" not in f.filename]
    return " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in [*frames[-1:], *reversed(own[-3:])])
