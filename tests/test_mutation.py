"""Mutation testing itself: the mistakes it makes, that a test that fails is noticed, and that what is listed exists."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mutation.mutating import mutants, mutated

HERE = Path(__file__).resolve().parent
SOURCE = '''
"""A text that is left alone."""

LIMIT = 3


def least(x: int, low: int = 0) -> int:
    """Another."""
    if x < LIMIT and not low:
        raise ValueError(f"{x}")
    return min(x, -low, key=abs)
'''
NAMES = [
    "(module) | LIMIT = 3 | 3 -> 4",
    "(module) | def least(x: int, low: int=0) -> int: | 0 -> 1",
    "least | if x < LIMIT and (not low): | if not (x < LIMIT and (not low)):",
    "least | if x < LIMIT and (not low): | x < LIMIT and (not low) -> x < LIMIT or not low",
    "least | if x < LIMIT and (not low): | x < LIMIT -> x <= LIMIT",
    "least | if x < LIMIT and (not low): | x < LIMIT -> x >= LIMIT",
    "least | if x < LIMIT and (not low): | not low -> low",
    "least | raise ValueError(f'{x}') | pass",
    "least | return min(x, -low, key=abs) | return None",
    "least | return min(x, -low, key=abs) | min -> max",
    "least | return min(x, -low, key=abs) | -low -> low",
]


def test_every_small_mistake_is_made_once() -> None:
    found = mutants(SOURCE, "least.py")
    assert [m.name for m in found] == NAMES
    assert len({(m.place, m.variant) for m in found}) == len(NAMES)
    codes = set()
    for mutant in found:
        space: dict[str, object] = {}
        exec(mutated(SOURCE, mutant, "least.py"), space)
        code = space["least"].__code__  # type: ignore[attr-defined]
        codes.add(
            (code.co_code, repr(code.co_consts), code.co_names, repr(space["LIMIT"]), repr(space["least"].__defaults__))
        )  # type: ignore[attr-defined]
    assert len(codes) == len(NAMES), "every mutant is another program"


def test_a_mutant_keeps_its_name_when_lines_move() -> None:
    moved = SOURCE.replace("LIMIT = 3", "# why three\n\nLIMIT = 3")
    assert [m.name for m in mutants(moved, "least.py")] == NAMES
    assert [m.lines[0] for m in mutants(moved, "least.py")] != [m.lines[0] for m in mutants(SOURCE, "least.py")]


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    given = [sys.executable, str(HERE / "mutation"), *arguments]
    return subprocess.run(
        given, capture_output=True, text=True, cwd=HERE.parent, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def test_what_is_listed_exists() -> None:
    """A mutant that is listed as equivalent stands in the code, and every file of tests is there."""
    import runpy

    listed = runpy.run_path(str(HERE / "mutation" / "__main__.py"), run_name="listed")
    names: dict[str, set[str]] = {}
    for target in listed["targets"]():
        assert all((HERE.parent / each).exists() for each in target["tests"]), target
        names.setdefault(target["file"], set()).update(m.name for m in listed["of"](target))
        assert names[target["file"]], f"no mutants: {target}"
    for file, some in listed["equivalent"]().items():
        assert set(some) <= names[file], f"{file}: no such mutant; was the line changed?"
        assert all(len(why) > 10 for why in some.values())


@pytest.mark.slow
def test_a_test_that_fails_kills_and_one_that_does_not_reach_a_line_does_not(tmp_path: Path) -> None:
    out = tmp_path / "mutants.jsonl"
    done = command("--group", "validation", "--file", "gamesim/errors.py", "--name", "LISTED", "--out", str(out))
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows, done.stderr
    assert all(row["outcome"] == "killed" for row in rows), done.stdout
    assert ast.parse((HERE / "mutation" / "serving.py").read_text())
