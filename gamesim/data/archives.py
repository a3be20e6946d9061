"""Datasets of sets on disk: an .npz of plain arrays, with a header that holds the sha256 of each.

Whole numbers are stored in the smallest type that holds them. The header is a text in JSON, the array `header`; its own
hash is in it, too. A file is read as data only: nothing is unpickled, and what its arrays declare is checked against
one another and against the file before any of them is allocated.
"""

import hashlib
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from gamesim.data.headers import SETS_FORMAT
from gamesim.errors import InvalidInput, refuse
from gamesim.files import write_with
from gamesim.parameters import plain

LIMIT = 16 * 10**9
"""Bytes of a file, and of all arrays that it declares."""
HEADER_LIMIT = 4 * 10**6
"""Bytes of a header."""

Array = np.ndarray[Any, Any]
Made = TypeVar("Made")


def to_text(data: Any) -> str:
    """JSON that is the same for equal data."""
    return json.dumps(plain(data), sort_keys=True, allow_nan=False, ensure_ascii=True)


def write_sets(path: str | Path, arrays: Mapping[str, Array], header: Mapping[str, Any]) -> Path:
    """Write arrays and their header, whole or not at all."""
    try:
        path = Path(path).expanduser()
        if path.suffix.lower() != ".npz":
            raise refuse("path", str(path), "a name that ends in .npz")
        stored = {name: _compact(array) for name, array in arrays.items()}
        signed = {**plain(header), "arrays": {name: _signature(array) for name, array in stored.items()}}
        signed["sha256"] = hashlib.sha256(to_text(signed).encode()).hexdigest()
        written = {"header": np.array(to_text(signed)), **stored}

        def write(spare: Path) -> None:
            with spare.open("wb") as file:  # a name would be given a second suffix
                np.savez(file, **cast(Any, written))

        write_with(path, write)
    except InvalidInput:
        raise
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise refuse("path", str(path), f"a file that can be written ({reason})") from None
    return path


def reading(path: str | Path, make: Callable[[dict[str, Any], dict[str, Array]], Made]) -> Made:
    """What `make(header, arrays)` makes of a file of `write_sets`; whatever is wrong is told with the file's name."""
    source = " ".join(str(path).split())
    try:
        with open_archive(path) as archive:
            header, arrays = _read(archive)
        return make(header, arrays)
    except InvalidInput as error:
        raise of_file(source, error) from None


def of_file(source: str, error: InvalidInput) -> InvalidInput:
    """A refusal with the name of the file, unless it has it already."""
    words = " ".join(str(error).split())  # a header may hold anything
    return InvalidInput(words if words.startswith(("data ", "data:")) else f"data {source}, {words}")


def open_archive(path: str | Path) -> zipfile.ZipFile:
    """The archive of arrays in a file, after a look at its size."""
    try:
        file = Path(path).expanduser()
        if not file.is_file():
            found = "a folder" if file.is_dir() else "no such file"
            raise refuse("data", str(path), f"an .npz file; this is {found}")
        if file.stat().st_size > LIMIT:
            raise refuse("data", f"{path}, {file.stat().st_size / 1e9:.3g} GB", f"at most {LIMIT / 1e9:.0f} GB")
        return zipfile.ZipFile(file)
    except InvalidInput:
        raise
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, OverflowError) as error:
        words = " ".join(str(error).split())[:120]
        raise refuse("data", str(path), f"an .npz archive of numpy.savez, whole ({words})") from None


def declared(archive: zipfile.ZipFile) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and type of each array by its own header, which must agree with the archive; nothing else is read."""
    found = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]()
    total = 0
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in found:
            raise refuse(name, "two arrays", "each array once")
        if name == member.filename:
            continue  # no array
        found[name] = _declared(archive, member, name)
        total += member.file_size
        if total > LIMIT:
            raise refuse(name, f"{total / 1e9:.3g} GB of arrays up to here", f"at most {LIMIT / 1e9:.0f} GB")
    return found


def read_array(archive: zipfile.ZipFile, name: str) -> Array:
    """One array of an archive, after `declared`."""
    try:
        with archive.open(f"{name}.npy") as file:
            return cast(Array, np.lib.format.read_array(cast(Any, file), allow_pickle=False))
    except MemoryError:
        raise refuse(name, "an array larger than the memory", "a machine with more of it, or fewer episodes") from None
    except Exception as error:  # zipfile, zlib and numpy raise what they like on a broken file
        words = " ".join(str(error).split())[:120]
        raise refuse(name, "damage", f"the array that was written ({type(error).__name__}: {words})") from None


def _declared(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    from numpy.lib import format as npy

    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise refuse(name, f"compression {member.compress_type}", "none, or deflate, as numpy writes")
    try:
        with archive.open(member) as file:
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"npy version {version}")
            shape, _, dtype = read(file)
            begins = file.tell()
    except Exception as error:  # as above
        words = " ".join(str(error).split())[:120]
        raise refuse(name, "damage", f"an array of numpy ({type(error).__name__}: {words})") from None
    if dtype.kind not in "biufU" or dtype.itemsize == 0 or (dtype.kind == "U" and name != "header"):
        raise refuse(name, f"type {dtype}", "plain numbers: nothing is unpickled or converted")
    if min(shape, default=0) < 0 or begins + math.prod(shape) * dtype.itemsize != member.file_size:
        raise refuse(name, f"shape {list(shape)}", f"{member.file_size - begins} bytes, as the archive says")
    return shape, dtype


def _read(archive: zipfile.ZipFile) -> tuple[dict[str, Any], dict[str, Array]]:
    found = declared(archive)
    if "header" not in found:
        here = ", ".join(list(found)[:12]) or "nothing"
        wanted = f"an array `header`, as SetData.save writes; other files: gamesim data import (here: {here})"
        raise refuse("header", "none", wanted)
    shape, dtype = found["header"]
    if shape != () or dtype.kind != "U" or dtype.itemsize > 4 * HEADER_LIMIT:
        raise refuse("header", f"{dtype} of shape {list(shape)}", f"one text of at most {HEADER_LIMIT:,} letters")
    header = _header(str(read_array(archive, "header")[()]))
    written = header.pop("arrays")
    for name in sorted(set(written) | (set(found) - {"header"})):
        stored = _said(*found[name]) if name in found else {}
        promised = {part: written.get(name, {}).get(part) for part in ("shape", "type")}
        if stored != promised:
            words = [
                f"{said['shape']} of {said['type']}" if said.get("type") else "nothing" for said in (stored, promised)
            ]
            raise refuse(name, words[0], f"{words[1]}, as the header says")
    arrays = dict[str, Array]()
    for name, about in written.items():
        arrays[name] = read_array(archive, name)
        if _signature(arrays[name])["sha256"] != about.get("sha256"):
            raise refuse(name, "other numbers than were written", "the sha256 in the header; the file is damaged")
    return header, arrays


def _header(text: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise refuse("header", text[:60], f"JSON ({' '.join(str(error).split())[:80]})") from None
    if not isinstance(header, dict):
        raise refuse("header", type(header).__name__, "an object of JSON")
    if header.get("format") != SETS_FORMAT:
        raise refuse("header.format", header.get("format"), f"{SETS_FORMAT}, which this version of gamesim reads")
    signed = header.pop("sha256", None)
    if signed != hashlib.sha256(to_text(header).encode()).hexdigest():
        raise refuse("header", "other words than were written", "the sha256 in it; the file is damaged")
    written = header.get("arrays")
    if not isinstance(written, dict) or not all(isinstance(about, dict) for about in written.values()):
        raise refuse("header.arrays", written, "the shape, type and sha256 of each array")
    return header


def _compact(array: Array) -> Array:
    """Little-endian and contiguous, whole numbers in the smallest type that holds them."""
    if array.dtype.kind in "iu" and array.size:
        low, high = int(array.min()), int(array.max())
        array = array.astype(np.result_type(np.min_scalar_type(low), np.min_scalar_type(high)), copy=False)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _said(shape: tuple[int, ...], dtype: np.dtype[Any]) -> dict[str, Any]:
    return {"shape": list(shape), "type": dtype.str}


def _signature(array: Array) -> dict[str, Any]:
    digest = hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"").hexdigest()
    return {**_said(array.shape, array.dtype), "sha256": digest}
