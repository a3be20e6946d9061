"""Code blocks of the pages: Python is run, TOML planned, lines held to the parser (test_pages_run.py runs them)."""

import ast
import dataclasses
import inspect
import re
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


def test_blocks_are_of_a_known_kind() -> None:
    assert len(PAGES) > 50
    assert len(BLOCKS) > 200
    known = [str(b) for b in BLOCKS if b.kind not in KINDS and not (b.kind == "" and ":" in b.text)]
    assert known == []


def test_python_is_run() -> None:
    """Sessions are doctests of their page, files are run below; anything else would not be run, and is refused."""
    loose = [str(b) for b in BLOCKS if b.kind == "python" and ">>>" not in b.text and b.file is None]
    assert loose == []


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.kind == "python" and b.file is not None], ids=str)
def test_a_file_of_a_page_is_run(block: Block) -> None:
    """A block that begins with the name of a file, `# crossing.py`: it is run, and every game in it is checked."""
    own = {"__name__": Path(str(block.file)).stem}
    exec(compile(block.text, str(block), "exec"), space := dict[str, Any](own))
    made = [n.name for n in ast.parse(block.text).body if isinstance(n, ast.ClassDef)]
    for game in [space[name] for name in made if hasattr(space[name], "feedback")]:
        gamesim.check_game(game())
        gamesim.check_batch(game())


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
            for words in calls(block.script, folder):
                found.setdefault(tuple(words), (block, words))
    return list(found.values())


def test_every_line_of_a_shell_is_found(asked: list[tuple[Block, list[str]]]) -> None:
    """What bash was made to say is all there is: no line that begins with gamesim is missing."""
    for block in BLOCKS:
        if block.kind in SHELLS:
            lines = re.findall(r"(?m)^gamesim (\S+)", block.script)
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
