"""The errors a user meets: one line that names the field, the value and what would be right.

Everything that a person typed or passed in is checked before any work starts and refused with `InvalidInput`; the
command line prints its text alone and exits with 2. Anything else that is raised is a defect of gamesim.
"""

import difflib
import shlex
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

LISTED = 40
"""Known names that an error lists, at most."""


class InvalidInput(ValueError):
    """A value that gamesim refuses: the message names the field, the value and what would be right."""


class MissingExtra(InvalidInput):
    """An optional package is not installed: the message says which command installs it."""


def missing_extra(what: str, package: str, install: str) -> MissingExtra:
    """What cannot be had without a package that is not here, and what to give to pip, to be raised by the caller.

    >>> print(missing_extra("frame()", "pandas", "gamesim[data]"))
    frame() needs pandas: pip install 'gamesim[data]'
    """
    return MissingExtra(f"{what} needs {package}: pip install {shlex.quote(install)}")


NOTE = "note: "
"""How the line of a caution begins."""


class Caution(UserWarning):
    """Something runs all the same, but a theorem that one might count on does not cover it: the message says which."""


@contextmanager
def cautions_in_a_line() -> Iterator[None]:
    """A caution is a line on stderr; other warnings stay as Python prints them."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def shown(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, Caution):
                print(NOTE + " ".join(str(message).split()), file=sys.stderr)
            else:
                show(message, category, *place, **more)

        warnings.showwarning = shown
        warnings.simplefilter("always", Caution)
        yield


def refuse(field: str, value: object, wanted: str) -> InvalidInput:
    """The one form of a refusal, to be raised by the caller.

    >>> print(refuse("step_size", -1, "a number above 0"))
    step_size: got -1, expected a number above 0
    """
    shown = repr(value) if isinstance(value, str) else str(value)
    shown = " ".join(shown.split())
    return InvalidInput(
        f"{field}: got {shown if len(shown) < 160 else f'{shown[:78]}...{shown[-78:]}'}, expected {wanted}"
    )


def unknown(field: str, name: str, known: Iterable[str]) -> InvalidInput:
    """A name that is not among the known ones; the nearest are suggested.

    >>> print(unknown("solver", "gmfg-po", ["gmfg-ppo", "fixed-point"]))
    solver: got 'gmfg-po', expected one of fixed-point, gmfg-ppo; did you mean gmfg-ppo?
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    shown = ", ".join(known) if len(known) <= LISTED else f"{len(known)} names that `gamesim list` shows"
    return refuse(field, name, f"one of {shown}{hint}" if known else "nothing: no name is known here")
