"""What the reference says is read from the program while the site is built: nothing of it is copied by hand.

A page holds a marker, `<!-- generated: games matrix -->`, which becomes Markdown. `games FAMILY`, `solvers`,
`experiments` and `benchmarks` are the catalogue, `commands` the command line, `names` what `import gamesim` has,
`modules NAME...` modules with all below them, `bibliography` what is cited, and `contents` what the sidebar has of a
table of pages.
"""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any

from docstrings import to_rest

from gamesim import catalog
from gamesim.citations import cited_by, references

MARKER = re.compile(r"<!-- generated: (\w+)((?: [\w./-]+)*) -->")
CONTENTS = "<!-- generated: contents -->"
ROW = re.compile(r"(?m)^\| \[[^\]]+\]\(([^)#]+)\.md\) \|")
NAMED = ("gamesim.envs.wrappers.", "gamesim.estimation.")
"""Modules that stand by name elsewhere in the reference, too."""
HIDDEN = ("gamesim.envs.", "gamesim.algorithms.", "gamesim.experiments.", "gamesim.benchmarks.")
"""Rooms whose modules stand in the catalogue, id by id."""


def rest(lines: list[str]) -> list[str]:
    """reStructuredText within Markdown."""
    return ["````{eval-rst}", *lines, "````", ""]


def prose(text: str | None) -> list[str]:
    return rest(to_rest(inspect.cleandoc(text))) if text and text.strip() else []


def entries(kind: str, family: str = "") -> Iterator[str]:
    """Ids of the catalogue with their modules' words, equations, parameters and papers."""
    homes = dict[str, list[str]]()
    for name, (path, _) in catalog.table(kind).items():
        if not family or name.partition("/")[0] == family:
            homes.setdefault(path.partition(":")[0], []).append(name)
    for home, names in homes.items():
        module = importlib.import_module(home)
        shared = len(names) > 1
        if shared:
            yield from [f"## {home.rpartition('.')[2].replace('_', ' ').capitalize()}", "", *prose(module.__doc__)]
        for name in names:
            yield from [f"{'###' if shared else '##'} {name}", "", *_summary(kind, name)]
            if not shared:
                yield from prose(module.__doc__)
            yield from _entry(kind, name)


def home_of(found: type) -> str:
    return f"{found.__module__}.{found.__qualname__}"


def _summary(kind: str, name: str) -> list[str]:
    """The line of `gamesim list`, unless the class says it in the same words."""
    summary = catalog.table(kind)[name][1]
    about = " ".join((catalog.find(kind, name).__doc__ or "").split()).lower()
    return [] if about.startswith(summary.lower()[:40]) else [f"{summary[0].upper()}{summary[1:]}.", ""]


def _entry(kind: str, name: str) -> Iterator[str]:
    from gamesim.parameters import describe

    found = catalog.find(kind, name)
    elsewhere = ["   :no-index:"] if home_of(found).startswith(NAMED) else []  # a page by name has it, too
    yield from rest([f".. autoclass:: {home_of(found)}", "   :no-members:", *elsewhere, ""])
    parameters = sorted(describe(found), key=lambda p: p.name in ("dtype", "device"))  # what is its own comes first
    if parameters:
        yield from ["| parameter | type | default | |", "|---|---|---|---|"]
        for p in parameters:
            default = "required" if p.default is None else f"`{_cell(p.default)}`" if p.default else ""
            yield f"| `{p.name}` | {_cell(p.type)} | {default} | {_inline(p.help)} |"
        yield ""
    papers = cited_by(name)
    if papers:
        links = "; ".join(f"[{_inline(p.words().rstrip('.'))}](../bibliography.md#{p.key})" for p in papers)
        yield from [f"Cited (`gamesim cite {name}`): {links}.", ""]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _inline(text: str) -> str:
    """Words of a docstring in a cell of a table: code stays, everything else means itself."""
    parts = re.split(r"(`[^`]+`)", _cell(text))
    return "".join(p if p.startswith("`") else re.sub(r"([*_<>\[\]$])", r"\\\1", p) for p in parts)


def benchmarks() -> Iterator[str]:
    for name, (path, summary) in sorted(catalog.table("benchmarks").items()):
        module = importlib.import_module(path.partition(":")[0])
        yield from [f"## {name}", "", summary + ".", "", f"`gamesim bench {name}`", "", *prose(module.__doc__)]


def commands() -> Iterator[str]:
    import click

    from gamesim.cli import cli
    from gamesim.cli.shell import cli as group

    def tell(command: click.Command, path: str, context: click.Context | None) -> Iterator[str]:
        with click.Context(command, parent=context, info_name=path.rpartition(" ")[2]) as here:
            usage = " ".join(command.collect_usage_pieces(here))
            yield from [f"{'#' * (path.count(' ') + 1)} {path}", "", f"`{path} {usage}`".replace(" `", "`"), ""]
            about, _, example = inspect.cleandoc(command.help or "").partition("Example: ")
            yield from prose(about.replace("\b\n", "").replace("\f", ""))
            if example:
                yield from ["```sh", *example.strip().splitlines(), "```", ""]
            options = [p.get_help_record(here) for p in command.get_params(here)]
            rows = [r for r in options if r and not r[0].startswith(("-h", "--version"))]
            if rows:
                yield from ["| option | |", "|---|---|"]
                yield from (f"| `{_cell(left)}` | {_inline(right)} |" for left, right in rows)
                yield ""
            if isinstance(command, click.Group):
                for name in command.list_commands(here):
                    child = command.get_command(here, name)
                    if child is not None and not child.hidden:
                        yield from tell(child, f"{path} {name}", here)

    assert cli is group
    with click.Context(cli, info_name="gamesim") as top:
        for name in cli.list_commands(top):
            child = cli.get_command(top, name)
            assert child is not None
            if not child.hidden:
                yield from tell(child, f"gamesim {name}", top)


def names() -> Iterator[str]:
    import gamesim

    yield from ["| name | what it is | where |", "|---|---|---|"]
    for name, home in sorted(gamesim._HOMES.items(), key=lambda item: item[0].lower()):
        found = getattr(gamesim, name)
        path = f"{getattr(found, '__module__', home)}.{getattr(found, '__qualname__', name)}"
        if not hasattr(found, "__qualname__") or not path.startswith("gamesim."):  # an alias of a type
            path, about = f"{home}.{name}", "a type"
        else:
            about = _inline((inspect.getdoc(found) or "").partition("\n\n")[0])
        yield f"| {{py:obj}}`gs.{name} <{path}>` | {about} | `{home}` |"
    yield ""


def below(name: str) -> list[str]:
    """A module and all modules below it, without those whose names begin with an underscore."""
    module = importlib.import_module(name)
    paths = getattr(module, "__path__", None)
    inner = [] if paths is None else [m.name for m in pkgutil.iter_modules(paths, f"{name}.")]
    return [name, *(m for i in sorted(inner) if not i.rpartition(".")[2].startswith("_") for m in below(i))]


def modules(*tops: str) -> Iterator[str]:
    for top in tops:
        for name in below(top):
            importlib.import_module(name)
            yield from [f"{'##' if name == top else '###'} {name}", ""]
            yield from rest([f".. automodule:: {name}", "   :members:", "   :ignore-module-all:", ""])


def bibliography() -> Iterator[str]:
    for key, paper in sorted(references().items(), key=lambda item: (item[1].words().lower(), item[0])):
        yield from [f"({key})=", f"**{_inline(paper.words())}**", ""]
        if paper.used_by:
            yield from ["Behind " + ", ".join(f"`{name}`" for name in paper.used_by) + ".", ""]


HOW: dict[str, Callable[..., Iterator[str]]] = {
    "games": lambda family: entries("games", family),
    "solvers": lambda: entries("solvers"),
    "experiments": lambda: entries("experiments"),
    "benchmarks": benchmarks,
    "commands": commands,
    "names": names,
    "modules": modules,
    "bibliography": bibliography,
}


def contents(section: str) -> str:
    """A table of pages is also what the sidebar shows, under the section's title."""
    title = re.findall(r"(?m)^## (.+)$", section)[-1]
    pages = ROW.findall(section[section.rindex(f"## {title}") :])
    return "\n".join(["```{toctree}", ":hidden:", f":caption: {title}", "", *pages, "```"])


def fill(text: str) -> str:
    """A page with its markers replaced."""
    *sections, rest_of_it = text.split(CONTENTS)
    text = "".join(s + contents(s) for s in sections) + rest_of_it
    return MARKER.sub(lambda found: "\n".join(HOW[found[1]](*found[2].split())), text)


def setup(app: Any) -> dict[str, bool]:
    def read(app: Any, page: str, source: list[str]) -> None:
        source[0] = fill(source[0])

    def without_private_signature(
        app: Any, what: str, name: str, obj: Any, options: Any, signature: Any, result: Any
    ) -> Any:
        catalogued = what == "class" and name.startswith(HIDDEN) and name in SHOWN
        return ("", None) if catalogued else None

    SHOWN = {path.replace(":", ".") for kind in catalog.ROOMS for path, _ in catalog.table(kind).values()}
    app.connect("source-read", read)
    app.connect("autodoc-process-signature", without_private_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
