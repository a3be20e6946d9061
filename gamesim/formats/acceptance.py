"""Acceptance logs of speculative decoding: how many tokens each draft brought in each round.

    .csv .tsv   a header line with the columns round, arm, accepted, in any order; others are left out
    .jsonl      an object with these keys on each line; others are left out

`accepted` counts the target model's own token, so it is a whole number of at least 1. Arms are names, in the order of
the alphabet, or of numbers where all are; rounds are whole numbers and are ranked. Where every round has every arm the
log is a table of what each arm would have brought; otherwise it is a sequence for each arm. Lines that begin with # are
comments. Files are read as data only.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gamesim.errors import refuse
from gamesim.formats.reading import read_text, require_file, shown

KINDS = (".csv", ".tsv", ".jsonl")
COLUMNS = ("round", "arm", "accepted")
SIZE_LIMIT = 200 * 10**6
ARMS_LIMIT = 1000
LONGEST = 1001
WHOLE = re.compile(r"[0-9]{1,18}(?:\.0*)?", re.ASCII)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Acceptance:
    """What each arm brought, in the order of rounds."""

    arms: tuple[str, ...]
    lengths: tuple[Array, ...]
    """Whole numbers from 1, one array [round] for each arm."""
    complete: bool
    """Whether the arrays are of the same rounds, so that they are the columns of a table."""
    source: str = ""

    @classmethod
    def of(cls, table: Any) -> "Acceptance":
        """From a table [round, arm] of whole numbers from 1, as an array, a tensor or nested lists."""
        try:
            found = np.asarray(table, dtype=np.float64)
        except (TypeError, ValueError):
            raise refuse("data", type(table).__name__, "a table [round, arm] of numbers") from None
        if found.ndim != 2 or 0 in found.shape:
            raise refuse("data", f"shape {list(found.shape)}", "a table [round, arm], at least one of each")
        bad = np.argwhere(~((found >= 1) & (found <= LONGEST) & (found == np.floor(found))))
        if len(bad):
            i, j = map(int, bad[0])
            raise refuse(f"data[{i}, {j}]", found[i, j], f"a whole number from 1 to {LONGEST}")
        return cls(tuple(map(str, range(found.shape[1]))), tuple(found.T.copy()), True)

    def plain(self) -> dict[str, Any]:
        """What JSON says of it."""
        rounds = [len(x) for x in self.lengths]
        return {"kind": "Acceptance", "source": self.source, "arms": list(self.arms), "rounds": rounds}


def read_acceptance(source: str | Path) -> Acceptance:
    """The log in a file. Raises InvalidInput, in one line: the file, the line and what would be right there."""
    path = require_file("data", source, KINDS, SIZE_LIMIT)
    text, name = read_text("data", path, SIZE_LIMIT), shown(source)
    rows = _objects(text, name) if path.suffix.lower() == ".jsonl" else _table(text, name, path.suffix.lower())
    found = dict[str, dict[int, float]]()
    for where, cells in rows:
        t, arm, accepted = (cells[column] for column in COLUMNS)
        if not WHOLE.fullmatch(t):
            raise refuse(f"{where}, round", t, "a whole number")
        if not arm or not arm.isprintable():
            raise refuse(f"{where}, arm", arm, "a name in printable letters")
        if not WHOLE.fullmatch(accepted) or not 1 <= float(accepted) <= LONGEST:
            wanted = (
                f"a whole number from 1 to {LONGEST}; the target model's own token counts, so add 1 if it is left out"
            )
            raise refuse(f"{where}, accepted", accepted, wanted)
        sequence = found.setdefault(arm, {})
        if int(float(t)) in sequence:
            raise refuse(where, f"round {t} of arm {arm} again", "each arm at most once in a round")
        if len(found) > ARMS_LIMIT:
            raise refuse(where, f"arm {arm}", f"at most {ARMS_LIMIT} arms")
        sequence[int(float(t))] = float(accepted)
    if not found:
        raise refuse(f"data {name}", "no rounds", f"lines with {', '.join(COLUMNS)}")
    arms = sorted(found, key=lambda arm: (0, int(arm), arm) if arm.isdecimal() and arm.isascii() else (1, 0, arm))
    rounds = sorted(found[arms[0]])
    complete = all(found[arm].keys() == found[arms[0]].keys() for arm in arms)
    order = {arm: rounds if complete else sorted(found[arm]) for arm in arms}
    lengths = tuple(np.array([found[arm][t] for t in order[arm]]) for arm in arms)
    return Acceptance(tuple(arms), lengths, complete, Path(name).name)


Rows = Iterator[tuple[str, Mapping[str, str]]]


def _table(text: str, name: str, suffix: str) -> Rows:
    """Where a row stands, and its cells by column."""
    header: list[str] | None = None
    separator = "\t" if suffix == ".tsv" else ","
    for at, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"data {name} line {at}"
        if line.count('"') % 2 or len(line) > 100_000:
            raise refuse(where, line.strip(), "quotes that end in the same line, and at most 100,000 letters")
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]
        if header is None:
            header = [cell.lower() for cell in cells]
            lacking = [column for column in COLUMNS if header.count(column) != 1]
            if lacking:
                wanted = f"a header line with {', '.join(COLUMNS)} once each; see {lacking[0]}"
                raise refuse(where, ", ".join(cells), wanted)
        elif len(cells) != len(header):
            raise refuse(where, f"{len(cells)} values", f"{len(header)}, one for each column of the header line")
        else:
            yield where, dict(zip(header, cells, strict=True))


def _objects(text: str, name: str) -> Rows:
    for at, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"data {name} line {at}"
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or not all(column in found for column in COLUMNS):
            raise refuse(where, line.strip(), f"a JSON object with {', '.join(COLUMNS)}") from None
        for column in COLUMNS:
            if isinstance(found[column], bool) or not isinstance(found[column], str | int | float):
                raise refuse(f"{where}, {column}", found[column], "a number" if column != "arm" else "a name")
        yield where, {column: str(found[column]).strip() for column in COLUMNS}
