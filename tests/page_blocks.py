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
FILE = re.compile(r"# ([\w/]+\.(?:py|toml))\n")
"""The first line of a block that is a file of the reader."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: where it stands, what it is, and its lines."""

    page: Path
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """Which file of the reader it is, if it is one."""
        named = FILE.match(self.text)
        return named[1] if named else None

    @property
    def script(self) -> str:
        """The lines that are typed: of a session, those with a prompt."""
        if self.kind != "console":
            return self.text
        return "\n".join(line[2:] for line in self.text.splitlines() if line.startswith(("$ ", "> ")))

    @property
    def answers(self) -> list[str]:
        """What a session shows as printed."""
        lines = self.text.splitlines() if self.kind == "console" else []
        return [line for line in lines if not line.startswith(("$ ", "> ")) and line not in ("", "...")]


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
