"""Code blocks of the pages, and what their shell lines would ask of gamesim: bash reads them, and runs nothing."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    page.relative_to(ROOT)
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("**/*.md"))
    if "_build" not in page.parts
)
SHELLS = {"sh", "bash", "console"}
FENCE = re.compile(r"(?ms)^(?P<margin> *)```(?P<kind>[\w-]*)[^\n]*\n(?P<body>.*?)^(?P=margin)```")
STUBS = r"""
gamesim() { printf '%s\0' "$@" >> "$CALLS"; printf '\n\0' >> "$CALLS"; }
python() { if [ "$1 $2" = "-m gamesim" ]; then shift 2; gamesim "$@"; fi; }
command_not_found_handle() { return 0; }
cd() { :; }; kill() { :; }; exec() { :; }; source() { :; }; .() { :; }; exit() { :; }; enable() { :; }
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: where it stands, what it is, and its lines."""

    page: Path
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> list[Block]:
    """Every fenced block of every page, dedented."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for m in FENCE.finditer(text):
            body = re.sub(rf"(?m)^{m['margin']}", "", m["body"])
            found.append(Block(page, text.count("\n", 0, m.start()) + 1, m["kind"], body))
    return found


def calls(script: str, folder: Path) -> list[list[str]]:
    """The arguments of each `gamesim ...` of a script, loops, variables and quotes done by bash; nothing else runs.

    There is no program on the path, so that all but bash's own words do nothing.
    """
    if re.search(r"(?m)^\$ ", script):  # a session: lines with a prompt, and what was printed
        script = "\n".join(line[2:] for line in script.splitlines() if line.startswith(("$ ", "> ")))
    record = folder / "calls"
    record.write_bytes(b"")
    done = subprocess.run(
        ["/bin/bash", "--noprofile", "--norc", "-c", STUBS + script],
        cwd=folder,
        env={"PATH": str(folder / "nothing"), "CALLS": str(record), "HOME": str(folder)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=30,
        check=False,
    )
    if "syntax error" in done.stderr or "unexpected" in done.stderr:
        raise AssertionError(done.stderr)
    found, own = list[list[str]](), list[str]()
    for word in record.read_text(encoding="utf-8").split("\0")[:-1]:
        if word == "\n":
            found.append(own)
            own = []
        else:
            own.append(word)
    return found
