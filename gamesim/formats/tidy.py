"""Tidy tables as CSV: lines read back one by one, and text that a spreadsheet would take for a formula.

Such text begins with =, +, - or @ and is no number; it is written with a quote before it, and read without.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from gamesim.errors import InvalidInput

FORMULA = ("=", "+", "-", "@")


def quoted(text: str) -> str:
    """A cell that no spreadsheet computes.

    >>> quoted("=1+1"), quoted("-0.5"), quoted("ftrl")
    ("'=1+1", '-0.5', 'ftrl')
    """
    if not text.startswith(FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return "'" + text
    return text


def unquoted(cell: str) -> str:
    """A cell as it was before it was `quoted`."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(FORMULA) else cell


def lines_of(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines of a table with their numbers, that of the columns first; one that was cut short is refused."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            size = file.tell()
            file.seek(max(0, size - 1))
            last = file.read()
        if not size:
            raise InvalidInput(f"{path}: an empty file; a table begins with a line of its columns")
        if last not in (b"\n", b"\r"):
            raise InvalidInput(f"{path}: its last line has no end, so the table may be cut short; write it again")
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, strict=True)
            for line in lines:
                yield lines.line_num, line
    except FileNotFoundError:
        raise InvalidInput(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not UTF-8 text (byte {error.start})") from None
    except csv.Error as error:
        raise InvalidInput(f"{path}: not a table in CSV ({error})") from None
