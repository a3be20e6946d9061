"""Data of sampled agents from files: what `AgentData.save` writes, and what other people have.

    .npz                       arrays states, actions, rewards, next_states, each [e, h, n]; positions [n] if known.
                               Without next_states, states is [e, h + 1, n]. Read as well where they are there:
                               state_count, action_count, state_names, action_names
    .csv .tsv .csv.gz .tsv.gz  a row for each step of each agent, in any order, under a header line with the columns
                               episode, step, agent, state, action, reward, next_state; position if known

Names may be in the singular or in the plural. Other columns and arrays are left out. Episodes, steps and agents may be
numbered in any way and are ranked; every episode has the same steps of the same agents. States and actions are numbers
from 0, or names. Where no next states are given, they are the states of the next step; a last step without one is left
out. What is left out stands in `notes`. Lines that begin with # are comments.

Files are read as data only: nothing in them is executed or fetched, and the sizes they declare are checked first.
"""

import contextlib
import csv
import gzip
import itertools
import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np

from gamesim.data import FORMAT, MOST, AgentData, BadEntry, require_names
from gamesim.errors import InvalidInput, refuse, unknown
from gamesim.files import fingerprint
from gamesim.formats.reading import refusing, require_file, shown

ARRAYS_LIMIT = 2 * 10**9  # bytes of an archive, and of the arrays that it declares
TEXT_LIMIT = 10**9  # bytes of text, also when unpacked
EMPTY_LIMIT = 10**6  # lines without a row
PACKED_LEAST, PACKED_RATIO = (
    10**7,
    200,
)  # a .gz unpacks to so many bytes, or so many times its own; tables reach 60 times
LINE_LIMIT = 100_000  # letters: the csv module ends at 131,072
ROWS_AT_ONCE = 200_000

PLACE = ("episode", "step", "agent")
PLAYED = ("state", "action", "reward")
OPTIONAL = ("next_state", "position")
REQUIRED = (*PLACE, *PLAYED)
COLUMNS = (*REQUIRED, *OPTIONAL)
SETTINGS = ("state_count", "action_count", "state_name", "action_name", "source", "note", "format")
MEASURED = ("reward", "position")  # numbers of which every bit is kept
NAMED = {"state": "state", "next_state": "state", "action": "action"}  # columns that may hold names, and of what
KINDS = (".npz", ".csv", ".tsv", ".csv.gz", ".tsv.gz")

Array = np.ndarray[Any, Any]
Place = Callable[[str, tuple[int, ...]], str]


def read_agents(
    source: str | Path,
    *,
    state_count: int | None = None,
    action_count: int | None = None,
    state_names: Sequence[str] | None = None,
    action_names: Sequence[str] | None = None,
) -> AgentData:
    """The data in a file. What is given here goes before what the file says.

    Names in a column are numbered in the order of `state_names` and `action_names`, or else of the alphabet.
    Raises InvalidInput, in one line: the file, the first place in it that is wrong, and what would be right.
    """
    limit = ARRAYS_LIMIT if str(source).lower().endswith(".npz") else TEXT_LIMIT
    path = require_file("data", source, KINDS, limit, advice="; an .npz is smaller")
    source = shown(source)
    given: dict[str, Any] = {"state_count": state_count, "action_count": action_count}
    given |= {
        name: None if names is None else require_names(names, name)
        for name, names in (("state_names", state_names), ("action_names", action_names))
    }
    given = {name: value for name, value in given.items() if value is not None and value != ()}
    about = {"source": Path(source).name, "file": source}
    with refusing("data", source, "a file that can be read"):
        about["sha256"] = fingerprint(path)
    if path.name.lower().endswith(".npz"):
        return _archive(path, source, about, given)
    return _table(path, source, about, given)


def wrong(source: str, where: str, value: object, wanted: str) -> InvalidInput:
    """The refusal of what stands somewhere in a source."""
    return refuse(f"data {source}{where}", value, wanted)


def _known(name: str, known: tuple[str, ...]) -> str:
    """The name as this module writes it: small letters, underscores, the singular."""
    name = name.strip().lower().replace(" ", "_").replace("-", "_")
    return name.removesuffix("s") if name.removesuffix("s") in known else name


def _listed(names: Sequence[str]) -> str:
    """A few names for a message."""
    few = [name or "(no name)" for name in names[:12]]
    return ", ".join(few) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _left_out(what: str, names: Sequence[str]) -> list[str]:
    return [f"{what}{'s' * (len(names) != 1)} left out: {_listed(names)}"] if names else []


def _made(source: str, place: Place, fields: dict[str, Any]) -> AgentData:
    """Data that are checked; an entry that is refused is told by its place in the file."""
    try:
        return AgentData(**fields)
    except BadEntry as bad:
        raise wrong(source, place(bad.field, bad.index), bad.value, bad.wanted) from None
    except InvalidInput as error:
        raise InvalidInput(f"data {source}, {error}") from None


def _without_last(parts: dict[str, Array]) -> str:
    """Take next states from the states of the next step, in place; the last step has none."""
    last = parts["states"][:, -1].size
    parts["next_states"] = parts["states"][:, 1:]
    for name in ("states", "actions", "rewards"):
        parts[name] = parts[name][:, :-1]
    return f"no next states given: the actions and rewards of the last step are left out ({last} of each)"


# --- arrays ---------------------------------------------------------------------------------------------------------


def _archive(path: Path, source: str, about: dict[str, Any], given: dict[str, Any]) -> AgentData:
    """Every declared size is checked before an array is read, from the same member; nothing is unpickled."""
    known = (*PLAYED, *OPTIONAL, *SETTINGS)
    members, others = dict[str, zipfile.ZipInfo](), list[str]()
    with refusing("data", source, "an .npz archive of numpy.savez"), zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = _known(member.filename.removesuffix(".npy"), known)
            if name not in known:
                others.append(member.filename.removesuffix(".npy"))
            elif name in members:
                raise wrong(source, "", f"{members[name].filename} and {member.filename}", "each array once")
            else:
                members[name] = member
        missing = [f"{name}s" for name in PLAYED if name not in members]
        if missing:
            found = f"arrays {_listed([*(m.filename.removesuffix('.npy') for m in members.values()), *others])}"
            wanted = "states, actions, rewards, next_states, each [episodes, steps, agents]"
            raise wrong(source, "", found, f"{wanted}; {', '.join(missing)} missing")
        total = sum(_declared_bytes(archive, member, name, source) for name, member in members.items())
        if total > ARRAYS_LIMIT:
            raise wrong(source, "", f"{total / 1e9:.3g} GB of arrays", f"at most {ARRAYS_LIMIT / 1e9:.0f} GB")
        arrays = {name: _array(archive, member) for name, member in members.items()}
        kind = arrays["format"].item() if "format" in arrays else FORMAT
        if kind != FORMAT:
            raise wrong(source, ", format", str(kind), f"{FORMAT}, which this version of gamesim reads")
        for name in set(SETTINGS) & set(arrays):
            array = arrays[name]
            if name.endswith(("name", "note")):
                about[f"{name}s"] = array.ravel().tolist()
            elif array.size != 1:
                raise wrong(source, f", {name}", f"shape {list(array.shape)}", "one value")
            elif name != "format" and array.item() != "":
                about[name] = array.item()
    parts = {f"{name}s": arrays[name] for name in (*PLAYED, *OPTIONAL) if name in arrays}
    notes = [*about.pop("notes", []), *_left_out("array", others)]
    for what in ("state", "action"):
        if f"{what}_names" in given:  # they say how many there are
            about.pop(f"{what}_count", None)
    if moved := "next_states" not in parts:
        shape, played = list(parts["states"].shape), list(parts["actions"].shape)
        if len(shape) == 3 and played == [shape[0], shape[1] - 1, shape[2]]:
            parts["next_states"], parts["states"] = parts["states"][:, 1:], parts["states"][:, :-1]
        elif len(shape) == 3 and played == shape and shape[1] > 1:
            notes.append(_without_last(parts))
        else:
            wanted = "next_states, or states with one step more than actions"
            raise wrong(source, "", f"states of shape {shape}, actions of shape {played}", wanted)

    def place(field: str, index: tuple[int, ...]) -> str:
        if moved and field == "next_states":
            field, index = "states", (index[0], index[1] + 1, index[2])
        return f", {field}[{', '.join(map(str, index))}]"

    return _made(source, place, {**parts, **about, **given, "notes": tuple(notes)})


def _declared_bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, source: str) -> int:
    """The size of an array by its header, which must be the size that the archive gives."""
    from numpy.lib import format as npy

    where = f", array {member.filename.removesuffix('.npy')}"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise wrong(source, where, f"compression {member.compress_type}", "none, or deflate, as numpy writes")
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise wrong(source, where, f"npy version {version}", "a plain array, of npy version 1 or 2")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
        header = file.tell()
    text = name in SETTINGS and not name.endswith("count")
    if dtype.kind not in ("U" if text else "biuf") or dtype.itemsize == 0:
        wanted = "text" if text else "numbers"
        raise wrong(source, where, f"type {dtype}", f"plain {wanted}: nothing is unpickled or converted")
    if name in SETTINGS and math.prod(shape) > MOST:
        raise wrong(source, where, f"shape {list(shape)}", f"at most {MOST:,} entries")
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or header + size != member.file_size:
        raise wrong(source, where, f"shape {list(shape)}", f"{member.file_size - header} bytes, as the archive says")
    return size


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    with archive.open(member) as file:
        return cast(Array, np.lib.format.read_array(cast(Any, file), allow_pickle=False))


# --- tables ---------------------------------------------------------------------------------------------------------


class _Lines:
    """The lines of a text, without comments and empty ones, counted: `at` is the number of the last, `text` itself."""

    def __init__(self, file: TextIO, source: str, most: int = TEXT_LIMIT) -> None:
        self._file, self._source, self._most = file, source, most
        self.at, self.text = 0, ""

    def all(self) -> Iterator[str]:
        size, without, read = 0, 0, self._file.readline
        while text := read(LINE_LIMIT):
            self.at += 1
            size += len(text)
            if text[0] == "#" or text.isspace():
                without += 1
                if without > EMPTY_LIMIT:
                    found = f"more than {EMPTY_LIMIT:,} empty lines and comments"
                    raise wrong(self._source, f" line {self.at}", found, "a row for each step of each agent")
            if len(text) >= LINE_LIMIT or size > self._most:
                long = len(text) >= LINE_LIMIT
                raise wrong(
                    self._source,
                    f" line {self.at}",
                    f"more than {LINE_LIMIT if long else self._most:,} letters",
                    "shorter lines" if long else "a smaller file, or less empty: an .npz holds more",
                )
            yield text

    def rows(self) -> Iterator[str]:
        for line in self.all():
            if line.isspace() or ("#" in line and line.lstrip().startswith("#")):
                continue
            self.text = line
            if '"' in line and line.count('"') % 2:
                raise wrong(self._source, f" line {self.at}", line.strip(), "quotes that end in the same line")
            yield line

    def header(self, separator: str) -> list[str]:
        """The names of the columns; also in a comment, as numpy.savetxt writes them."""
        for line in self.all():
            comment = line.lstrip().startswith("#")
            names = _cells(line.lstrip("# \t") if comment else line, separator)
            complete = {_known(name, REQUIRED) for name in names} >= set(REQUIRED)
            if complete or (any(names) and not comment):
                return names
        raise wrong(self._source, "", "no lines", f"a header line with the columns {', '.join(REQUIRED)}, and rows")


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line.strip("\r\n")], delimiter=separator), [])]


@contextlib.contextmanager
def _opened(path: Path, source: str) -> Iterator[_Lines]:
    with refusing("data", source, "a text file in UTF-8"):
        packed = path.suffix.lower() == ".gz"
        with gzip.open(path, "rt", encoding="utf-8-sig") if packed else path.open(encoding="utf-8-sig") as file:
            most = max(PACKED_LEAST, PACKED_RATIO * path.stat().st_size) if packed else TEXT_LIMIT
            yield _Lines(cast(TextIO, file), source, min(most, TEXT_LIMIT))


class _Codes(dict[str, int]):
    """Numbers of names: of given ones in their order, or of new ones as they come."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names, self.fixed = list(names), bool(names)
        super().__init__((name, i) for i, name in enumerate(names))

    def __missing__(self, text: str) -> int:
        name = text.strip()
        if name not in self.keys():
            if self.fixed or not name.isprintable() or not name or len(self.names) == MOST:
                raise KeyError(name)
            self.names.append(name)
        code = self[text] = self[name] = self.get(name, len(self.names) - 1)
        return code


def _table(path: Path, source: str, about: dict[str, Any], given: dict[str, Any]) -> AgentData:
    columns, codes, others = _columns(path, source, given)

    def at(row: int) -> str:
        """The line of a row, by reading once more."""
        with _opened(path, source) as lines:
            lines.header(_separator(path))
            next(itertools.islice(lines.rows(), row, None))
            return f" line {lines.at}"

    row_of, steps = _ordered({name: columns.pop(name) for name in PLACE}, source, at)
    parts = {f"{name}s": columns.pop(name)[row_of] for name in COLUMNS if name in columns}
    notes = _left_out("column", others)
    moved = "next_states" not in parts
    if moved:
        if row_of.shape[1] < 2:
            raise wrong(source, "", "no column next_state and one step", "next_state, or at least two steps")
        apart = np.diff(steps)
        if (apart != apart[0]).any():
            i = int((apart != apart[0]).argmax())
            found = f"no column next_state and steps {steps[i]}, then {steps[i + 1]}"
            raise wrong(source, "", found, f"next_state, or steps that are all {apart[0]} apart")
        notes.append(_without_last(parts))
    if "positions" in parts:
        x = parts["positions"]
        differ = (x != x[0, 0]) & ~(np.isnan(x) & np.isnan(x[0, 0]))
        if differ.any():
            e, h, n = (int(i) for i in np.argwhere(differ)[0])
            wanted = f"{x[0, 0, n]}, as in{at(int(row_of[0, 0, n]))}: an agent stays where it is"
            raise wrong(source, f"{at(int(row_of[e, h, n]))}, position", x[e, h, n], wanted)
        parts["positions"] = x[0, 0]

    def place(field: str, index: tuple[int, ...]) -> str:
        e, h, n = index if len(index) == 3 else (0, 0, *index)
        if moved and field == "next_states":
            field, h = "states", h + 1
        return f"{at(int(row_of[e, h, n]))}, {field.removesuffix('s')}"

    return _made(source, place, {**parts, **about, **codes, **given, "notes": tuple(notes)})


def _separator(path: Path) -> str:
    return "\t" if ".tsv" in path.name.lower()[-7:] else ","


def _columns(path: Path, source: str, given: dict[str, Any]) -> tuple[dict[str, Array], dict[str, Any], list[str]]:
    """The columns by name, as numbers [row]; names of states and actions, if they stood there; what was left out."""
    separator, chunks = _separator(path), list[Any]()
    with _opened(path, source) as lines:
        header = lines.header(separator)
        names = [_known(name, COLUMNS) for name in header]
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            by = "tabs" if separator == "\t" else "commas"
            wanted = f"a header line with {', '.join(COLUMNS)}, separated by {by}; {', '.join(missing)} missing"
            raise wrong(source, f" line {lines.at}", f"columns {_listed(header)}", wanted)
        twice = [name for name in COLUMNS if names.count(name) > 1]
        if twice:
            raise wrong(source, f" line {lines.at}", f"columns {_listed(header)}", f"one column {twice[0]}")
        rows = lines.rows()
        first = next(rows, None)
        if first is None:
            raise wrong(source, "", "a header line alone", "a row for each step of each agent")
        cells = dict(zip(names, _cells(first, separator), strict=False))
        named = {NAMED[name] for name in NAMED if name in cells and not _is_number(cells[name])}
        codes = {what: _Codes(given.get(f"{what}_names", ())) for what in named}
        by_column = {i: codes[NAMED[name]] for i, name in enumerate(names) if NAMED.get(name) in named}
        # A column that is left out is text of one letter: it costs nothing, and rows of another length are still seen.
        form = np.dtype([(f"{i}", "f8" if name in COLUMNS else "U1") for i, name in enumerate(names)])
        while first is not None:
            try:
                chunk = np.loadtxt(
                    itertools.chain([first], rows),
                    form,
                    comments=None,
                    delimiter=separator,
                    quotechar='"',
                    ndmin=1,
                    encoding=None,
                    max_rows=ROWS_AT_ONCE,
                    converters={i: code.__getitem__ for i, code in by_column.items()},
                )
            except (UnicodeError, InvalidInput):
                raise
            except (ValueError, KeyError) as error:
                raise _bad_line(lines, source, names, separator, by_column, error) from None
            part = {name: chunk[f"{i}"] for i, name in enumerate(names) if name in COLUMNS}
            chunks.append({name: x.copy() if name in MEASURED else _compact(x) for name, x in part.items()})
            first = next(rows, None)
    columns = {name: np.concatenate([chunk.pop(name) for chunk in chunks]) for name in COLUMNS if name in names}
    for what, code in codes.items():
        order = np.argsort(np.array(code.names)) if f"{what}_names" not in given else np.arange(len(code.names))
        rank = np.argsort(order).astype(np.int32)
        for name in NAMED:
            if NAMED[name] == what and name in columns:
                columns[name] = rank[columns[name]]
        code.names = [code.names[i] for i in order]
    others = [column for column, name in zip(header, names, strict=True) if name not in COLUMNS]
    return columns, {f"{what}_names": tuple(code.names) for what, code in codes.items()}, others


def _compact(x: Array) -> Array:
    """A copy of whole numbers in half the memory, where they are whole and small."""
    with np.errstate(invalid="ignore"):
        whole = x.astype(np.int32)
    return whole if (whole == x).all() else x.copy()


def _is_number(text: str) -> bool:
    try:
        float(text or "0")  # an empty cell is no name: it is refused as a number that lacks
    except ValueError:
        return False
    return True


def _bad_line(
    lines: _Lines, source: str, names: list[str], separator: str, by_column: dict[int, _Codes], error: Exception
) -> InvalidInput:
    """What is wrong with the last line read."""
    cells, where = _cells(lines.text, separator), f" line {lines.at}"
    if len(cells) != len(names):
        return wrong(source, where, f"{len(cells)} values", f"{len(names)}, one for each column of the header line")
    for i, (name, cell) in enumerate(zip(names, cells, strict=True)):
        if i in by_column:
            try:
                by_column[i][cell]
            except KeyError:
                if cell and by_column[i].fixed:
                    return unknown(f"data {source}{where}, {name}", cell, by_column[i].names)
                return wrong(source, f"{where}, {name}", cell, f"a name in printable letters, one of at most {MOST:,}")
        elif name in COLUMNS and not (cell and _is_number(cell)):
            late = cell and name in NAMED
            return wrong(source, f"{where}, {name}", cell, "a number, as in the first row" if late else "a number")
    return wrong(source, where, lines.text.strip(), f"a row of numbers ({error})")


def _ordered(columns: dict[str, Array], source: str, at: Callable[[int], str]) -> tuple[Array, Array]:
    """The row of each episode, step and agent, [e, h, n], each of them there once; and the numbers of the steps."""
    ranked = [_ranked(columns[name], name, source, at) for name in PLACE]
    (e, episodes), (h, steps), (n, agents) = ranked
    E, H, N, rows = len(episodes), len(steps), len(agents), len(e)

    def called(i: int, j: int, k: int) -> str:
        return f"episode {episodes[i]}, step {steps[j]}, agent {agents[k]}"

    wanted = f"one row for each of {N} agents at each of {H} steps of each of {E} episodes"
    if rows == E * H * N:
        place = (e * H + h) * N + n
        row_of = np.full(rows, -1)
        row_of[place] = np.arange(rows)
        if (row_of >= 0).all():
            return row_of.reshape(E, H, N), steps
    order = np.lexsort((n, h, e))
    same = (np.diff(e[order]) == 0) & (np.diff(h[order]) == 0) & (np.diff(n[order]) == 0)
    if same.any():
        before, again = order[:-1][same], order[1:][same]
        first = int(again.argmin())
        row = int(again[first])
        found = f"{called(int(e[row]), int(h[row]), int(n[row]))} again, as in{at(int(before[first]))}"
        raise wrong(source, at(row), found, wanted)
    near = e <= rows // (H * N)  # the first gap is among these, and their places are numbers of 64 bits
    place = np.sort((e[near] * H + h[near]) * N + n[near])
    gap = next(iter(np.flatnonzero(place != np.arange(len(place)))), len(place))
    i, j, k = (int(x) for x in (gap // (H * N), gap // N % H, gap % N))
    raise wrong(source, "", f"no row for {called(i, j, k)} ({E * H * N - rows:,} missing)", wanted)


def _ranked(ids: Array, column: str, source: str, at: Callable[[int], str]) -> tuple[Array, Array]:
    """The rank of each number among all that occur, and these."""
    if ids.dtype.kind == "f":
        whole = (ids == np.floor(ids)) & (np.abs(ids) < 2**53)
        if not whole.all():
            row = int(whole.argmin())
            raise wrong(source, f"{at(row)}, {column}", ids[row], "a whole number below 2^53")
    ids = ids.astype(np.int64)
    low = int(ids.min())
    span = int(ids.max()) - low + 1
    if span > 4 * len(ids) + 1000:
        values, rank = np.unique(ids, return_inverse=True)
        return rank.ravel(), values
    ids -= low
    seen = np.zeros(span, dtype=bool)
    seen[ids] = True
    return (np.cumsum(seen) - 1)[ids], np.flatnonzero(seen) + low
