"""Every code block of the pages is a test: Python is run or compiled, shell lines are read by the parser itself."""

import ast
import dataclasses
import importlib
import inspect
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import gamesim
from gamesim import catalog
from gamesim.cli import cli
from gamesim.errors import InvalidInput
from gamesim.parameters import convert, default_of, describe, hints_of
from page_blocks import PAGES, ROOT, SHELLS, Block, blocks, calls

BLOCKS = blocks()
KINDS = {"python", "math", "toml", "text", "json", "bibtex", "{toctree}", *SHELLS}
COMPILED = {
    "CONTRIBUTING.md",
    "docs/certificates.md",
    "docs/equilibria.md",
    "docs/interoperability.md",
}
"""Pages with Python that is too long to run: it is compiled, and the names that it takes from gamesim are there."""
FILE = re.compile(r"# (\w+\.(?:py|toml))\n")


def test_blocks_are_of_a_known_kind() -> None:
    assert len(PAGES) > 50
    assert len(BLOCKS) > 200
    known = [str(b) for b in BLOCKS if b.kind not in KINDS and not (b.kind == "" and ":" in b.text)]
    assert known == []


def test_python_is_run_or_compiled() -> None:
    """Blocks with >>> are doctests of their page; others are refused, but for a few pages', which are compiled."""
    wrong = []
    for block in BLOCKS:
        if block.kind != "python" or ">>>" in block.text:
            continue
        if FILE.match(block.text):
            continue  # test_a_file_of_a_page_is_a_game
        if str(block.page) not in COMPILED:
            wrong.append(f"{block}: Python without >>> is not run; write it as a session")
            continue
        try:
            tree = ast.parse(block.text)
        except SyntaxError as error:
            wrong.append(f"{block}: {error}")
            continue
        wrong += [f"{block}: {text}" for text in absent(tree)]
    assert wrong == []


def test_a_file_of_a_page_is_a_game() -> None:
    """A block that begins with the name of a file, `# crossing.py`, is run, and every game in it is checked."""
    checked = 0
    for block in BLOCKS:
        if block.kind == "python" and FILE.match(block.text):
            space = dict[str, Any]()
            exec(compile(block.text, str(block), "exec"), space)
            for game in [v for v in space.values() if isinstance(v, type) and hasattr(v, "feedback")]:
                gamesim.check_game(game())
                gamesim.check_batch(game())
                checked += 1
    assert checked


def absent(tree: ast.AST) -> Iterator[str]:
    """Names that code takes from gamesim and that are not there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("gs", "gamesim"):
            if not hasattr(gamesim, node.attr):
                yield f"gs.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gamesim"):
            module = importlib.import_module(str(node.module))
            yield from (f"{node.module}.{a.name}" for a in node.names if not hasattr(module, a.name))


def test_toml_is_read(tmp_path: Path) -> None:
    """A file of a sweep is planned as `gamesim sweep --plan` would plan it."""
    from gamesim.sweeps.design import plan_of

    seen = 0
    for block in BLOCKS:
        if block.kind == "toml":
            data = tomllib.loads(block.text)
            if "runs" in data:
                seen += 1
                assert plan_of(block.text).runs, str(block)
    assert seen


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Block, list[str]]]:
    """Every different line that the pages ask of gamesim."""
    folder = tmp_path_factory.mktemp("pages")
    found = dict[tuple[str, ...], tuple[Block, list[str]]]()
    for block in BLOCKS:
        if block.kind in SHELLS:
            for words in calls(block.text, folder):
                found.setdefault(tuple(words), (block, words))
    return list(found.values())


def test_every_line_of_a_shell_is_found(asked: list[tuple[Block, list[str]]]) -> None:
    """What bash was made to say is all there is: no line that begins with gamesim is missing."""
    for block in BLOCKS:
        if block.kind in SHELLS:
            lines = re.findall(r"(?m)^(?:\$ )?gamesim (\S+)", block.text)
            words = {w[0] for b, w in asked if w}
            assert set(lines) <= words | {"--help"}, str(block)
    assert len(asked) > 100
    assert {"run", "list", "describe", "reproduce", "equilibria", "certify", "sweep"} <= {w[0] for _, w in asked if w}


def test_shell_lines_are_understood(
    asked: list[tuple[Block, list[str]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Commands, options, ids, parameters and their values are right; nothing is run, and files need not be there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: self.coerce_path_result(value))
    wrong = []
    for block, words in asked:
        try:
            for problem in problems(words):
                wrong.append(f"{block}: gamesim {' '.join(words)}: {problem}")
        except (click.ClickException, InvalidInput) as error:
            wrong.append(f"{block}: gamesim {' '.join(words)}: {error}")
    assert wrong == []


def problems(words: list[str]) -> list[str]:
    """What is wrong with a line, beyond what its parser says by raising."""
    command: click.Command = cli
    context: click.Context | None = None
    name = "gamesim"
    while True:
        try:
            context = command.make_context(name, list(words), parent=context)
        except click.exceptions.Exit:
            return []  # --help and --version
        if not isinstance(command, click.Group):
            break
        words = [*context._protected_args, *context.args]
        if not words:
            return []
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
    return list(meaning(context.params, str(name)))


def meaning(given: dict[str, Any], command: str) -> Iterator[str]:
    """Ids and parameters that the catalogue does not know."""
    game = given.get("game", given.get("world"))
    if game is not None:
        yield from of_a_class("games", str(game), given.get("game_options", ()), "-g")
    solver = given.get("solver") or ("ftrl" if command == "certify" else "bail" if "world" in given else None)
    if solver is not None and given.get("solver_options") is not None:
        yield from of_a_class("solvers", str(solver), given["solver_options"], "-s")
    for experiment in given.get("experiments") or ():
        catalog.find("experiments", experiment)
    if given.get("suite") is not None and given["suite"] not in catalog.table("benchmarks"):
        yield f"no suite {given['suite']}"
    everything = {n for kind in ("games", "solvers", "experiments") for n in catalog.entries(kind)}
    asked_of = (given.get("name"),) if command == "describe" else given.get("ids") or ()
    yield from (f"no id {n}" for n in asked_of if n not in everything and ":" not in str(n))


def of_a_class(kind: str, name: str, options: tuple[str, ...], flag: str) -> Iterator[str]:
    if ":" in name and name.partition(":")[0].isidentifier():  # a module of the reader
        return
    found, own = catalog.named(kind, name)
    if not dataclass_like(found):
        return
    heads = {p.name.partition(".")[0] for p in describe(found)}
    values = dict[str, Any](own)
    for option in options:
        parameter, equals, value = option.partition("=")
        if not equals:
            yield f"{flag} {option} is not name=value"
        values[parameter] = value
    for parameter, value in values.items():
        head, dot, rest = parameter.partition(".")
        if head not in heads:
            yield f"{name} has no parameter {head}"
        elif not dot:
            if not re.search(r"(?i)\.(npz|json|csv|graphml|jsonl|nfg|toml)$|://|:[A-Z]|\$|^RUN$", value):
                convert(value, hints_of(found)[head], head)
        else:
            base = convert(values[head], hints_of(found)[head], head) if head in values else None
            if base is None:
                base = default_of({f.name: f for f in dataclasses.fields(found)}[head])
            if rest not in inspect.signature(type(base)).parameters:
                yield f"{head} of {name} has no {rest}"


def dataclass_like(found: type) -> bool:
    return hasattr(found, "__dataclass_fields__")


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("run graphon/siss gmfg-ppo", "did you mean graphon/sis"),
        ("run graphon/sis gmfg-ppo -g infektion=1", "no parameter infektion"),
        ("run graphon/sis gmfg-ppo -g infection=2", "probability"),
        ("run graphon/sis gmfg-ppo -g graphon=power-law -g graphon.b=2", "no b"),
        ("run graphon/sis gmfg-ppo --iteration 3 --nothing", "No such option"),
        ("reproduce graphon-rates", "graphon-rate"),
        ("describe gmfg", "no id gmfg"),
        ("lists", "list"),
    ],
)
def test_a_line_that_is_wrong_is_noticed(line: str, wrong: str) -> None:
    try:
        said = " ".join(problems(line.split()))
    except (click.ClickException, InvalidInput) as error:
        said = str(error)
    assert wrong in said


def test_links_lead_somewhere() -> None:
    """Links between pages and to pictures; anchors are checked by the build of the site."""
    wrong = []
    for page in PAGES:
        text = re.sub(r"(?s)```.*?```|`[^`\n]*`", "", (ROOT / page).read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if not re.match(r"[a-z]+:", target) and not ((ROOT / page).parent / target).exists():
                wrong.append(f"{page}: {target}")
    assert wrong == []


def test_every_module_stands_on_a_page_of_the_reference() -> None:
    """A module that is new has a line in docs/reference, or is named here with what stands for it."""
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES if "reference" in page.parts)
    named = {m for names in re.findall(r"<!-- generated: modules ([^>]*) -->", text) for m in names.split()}
    elsewhere = {"__init__", "__main__", "cli", "kernels", "envs", "algorithms", "experiments", "benchmarks"}
    found = {p.stem for p in (ROOT / "gamesim").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert {f"gamesim.{name}" for name in found - elsewhere} <= named
    families = {name.partition("/")[0] for name in catalog.table("games")}
    assert families == set(re.findall(r"<!-- generated: games ([\w-]+) -->", text))


def test_the_gallery_has_every_experiment() -> None:
    """Written by docs/make_gallery.py, with a small picture each."""
    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(?m)^### (\S+)$", text)) == set(catalog.table("experiments"))
    pictures = sorted((ROOT / "docs" / "images" / "gallery").glob("*.png"))
    shown = set(re.findall(r"\(images/gallery/([\w-]+)\.png\)", text))
    assert {p.stem for p in pictures} == shown
    assert len(shown) >= len(catalog.table("experiments")) - 4, "those that take longest may be left out, and say so"
    sizes = [p.stat().st_size for p in pictures]
    assert max(sizes) < 60_000
    assert sum(sizes) < 3_000_000


@pytest.mark.slow
def test_the_tutorial_is_run(tmp_path: Path) -> None:
    """Every shell block of the tutorial in one folder, in order, as a reader would type it."""
    script = "set -e\n" + "\n".join(
        b.text
        for b in BLOCKS
        if b.page == Path("docs/tutorial.md") and b.kind in SHELLS and "pip install" not in b.text
    )
    for block in BLOCKS:
        named = FILE.match(block.text)
        if block.page == Path("docs/tutorial.md") and named:
            (tmp_path / named[1]).write_text(block.text, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gamesim").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gamesim "$@"\n', encoding="utf-8")
    (tmp_path / "bin" / "gamesim").chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["/bin/bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
