"""What becomes of files on the way: bytes flipped, cut off, doubled, exchanged with those of another file, words and
numbers replaced by odd ones, declared sizes grown; in archives the members, with their checksums right again.
"""

import re
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from gamesim.benchmarks.fuzzing.files import COMMANDS, READERS

WORDS = (
    b"", b"nan", b"-1", b"0", b"1e999", b"inf", b"1/0", b"999999999", b"1000000000000", b"9" * 5000, b"null", b"{}",
    b"[]", b'""', b'"', b"\\", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n\n", b",", b";", b"\t", b"{", b"}",
    b"[", b"]", b"<", b"&lol;", b"#", b"//", b"-", b"e", b"../../x", b"/etc/passwd", b"true", b"\xe2\x80\xa8",
    b"\xf0\x9f\x92\xa5", b"\xed\xa0\x80", b"A" * 3000, b"[" * 3000, b"NaN", b"-Infinity", b"\x80\x04",
)  # fmt: skip
PLACES = re.compile(rb"[A-Za-z_]+|[0-9.]+|[^\sA-Za-z0-9_.]|\s+")


def changed(data: bytes, other: bytes = b"") -> SearchStrategy[bytes]:
    """A file, changed in one to four ways."""
    return st.lists(_change(), min_size=1, max_size=4).map(lambda ways: _after(ways, data, other))


def _change() -> SearchStrategy[tuple[str, int, int, bytes]]:
    ways = (
        "word",
        "word",
        "word",
        "words",
        "byte",
        "cut",
        "drop",
        "double",
        "insert",
        "splice",
        "swap",
        "line",
        "grow",
    )
    odd = st.one_of(
        st.sampled_from(WORDS), st.binary(max_size=6), st.integers(-3, 10**10).map(lambda i: str(i).encode())
    )
    return st.tuples(st.sampled_from(ways), st.integers(0, 2**20), st.integers(0, 2**20), odd)


def _after(ways: list[tuple[str, int, int, bytes]], data: bytes, other: bytes) -> bytes:
    for way, i, j, odd in ways:
        a, b = sorted((i % (len(data) + 1), j % (len(data) + 1)))
        if way in ("word", "words", "swap"):
            places = [m.span() for m in PLACES.finditer(data)]
            if not places:
                continue
            a, b = places[i % len(places)]
            if way == "words":
                data = data.replace(data[a:b], odd) if data.count(data[a:b]) * len(odd) < 10**6 else data
            elif way == "swap":
                c, d = places[j % len(places)]
                data = data[:a] + data[c:d] + data[b:]
            else:
                data = data[:a] + odd + data[b:]
        elif way == "byte" and data:
            at = i % len(data)
            data = data[:at] + bytes([j % 256]) + data[at + 1 :]
        elif way == "cut":
            data = data[:a]
        elif way == "drop":
            data = data[:a] + data[min(b, a + 40) :]
        elif way == "double":
            data = data[:b] + data[a:b][:4000] + data[b:]
        elif way == "insert":
            data = data[:a] + odd + data[a:]
        elif way == "splice":
            data = data[:a] + other[j % (len(other) + 1) :]
        elif way == "line":
            lines = data.splitlines(keepends=True)
            if lines:
                lines.insert(j % len(lines), lines[i % len(lines)])
                data = b"".join(lines)
        elif way == "grow":
            data = re.sub(rb"[0-9]+", lambda m: m[0] + b"000000000", data, count=1 + i % 3)
    return data


def broken(folder: Path) -> SearchStrategy[tuple[str, bytes]]:
    """A file of the folder by its name, and what stands in it now: itself changed, another kind's, or anything."""
    names = sorted({name for files in READERS.values() for name in files} | set(COMMANDS))
    every = {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}

    def of(pair: tuple[str, str]) -> SearchStrategy[tuple[str, bytes]]:
        mine, other = every[pair[0]], every[pair[1]]
        archive = mine[:2] == b"PK"
        inside = [_repacked(mine)] * 2 if archive else []
        some = st.one_of(changed(mine, other), changed(mine, other), *inside, st.just(other), st.binary(max_size=200))
        return some.map(lambda data: (pair[0], data))

    return st.tuples(st.sampled_from(sorted(every)), st.sampled_from(sorted(every))).flatmap(of)


def _repacked(data: bytes) -> SearchStrategy[bytes]:
    """An archive with one member changed, its checksums right again."""
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def packed(found: tuple[str, bytes]) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
            for name, inner in (members | {found[0]: found[1]}).items():
                made.writestr(name, inner)
        return out.getvalue()

    return st.sampled_from(sorted(members)).flatmap(
        lambda name: changed(members[name], members[sorted(members)[0]]).map(lambda inner: packed((name, inner)))
    )
