"""The catalogue: id -> ("module:Class", one line of help). Data only, so that listing it imports nothing heavy.

Each room keeps its own table (`gamesim.envs.TABLE`, ...); other distributions add theirs by entry points in the groups
`gamesim.games`, `gamesim.solvers` and `gamesim.experiments`; `module:Class` names anything importable.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gamesim.errors import InvalidInput, refuse, unknown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ROOMS = {
    "games": "gamesim.envs",
    "solvers": "gamesim.algorithms",
    "experiments": "gamesim.experiments",
    "benchmarks": "gamesim.benchmarks",
}
Table = dict[str, tuple[str, str]]


def table(kind: str) -> Table:
    """The built-in entries of a kind ("games", "solvers" or "experiments")."""
    found: Table = room(kind).TABLE
    return found


def room(kind: str) -> Any:
    """The package of a kind; its own table imports nothing heavy."""
    return importlib.import_module(ROOMS[kind])


def plugins(kind: str) -> "dict[str, EntryPoint]":
    """The installed plug-ins of a kind, by id; none is imported."""
    from importlib.metadata import entry_points  # late: a sixth of what the command line starts in

    return {point.name: point for point in entry_points(group=f"gamesim.{kind}")}


def entries(kind: str) -> Table:
    """Everything of a kind, built in or installed."""
    extra = {name: (p.value, f"plug-in of {p.dist.name if p.dist else '?'}") for name, p in plugins(kind).items()}
    return {**extra, **table(kind)}


def find(kind: str, name: str) -> Any:
    """The class behind an id or behind `module:Class`; unknown ids list the nearest ones."""
    known = table(kind)
    if not isinstance(name, str):
        raise refuse(kind[:-1], type(name).__name__, "an id of `gamesim list`, or module:Class, as text")
    if name in known:
        return load(known[name][0])
    if name in plugins(kind):
        return load(plugins(kind)[name].value, field=kind[:-1])
    if ":" in name:
        found = load(name, field=kind[:-1])
        if not isinstance(found, type):
            wanted = f"module:Class; {name.partition(':')[2]} is no class"
            if kind == "games":
                wanted += "; what makes an environment goes to simulator/pettingzoo or gymnasium, -g environment=..."
            raise refuse(kind[:-1], name, wanted)
        return found
    raise unknown(kind[:-1], name, entries(kind))


def named(kind: str, name: str) -> tuple[Any, dict[str, str]]:
    """The class behind a name, and the parameters that the name itself gives: a game may be the file that it is in.

    >>> named("games", "somewhere/battle.nfg")[1]
    {'file': 'somewhere/battle.nfg'}
    """
    files = getattr(room(kind), "FILES", {})
    suffix = next((end for end in files if isinstance(name, str) and name.lower().endswith(end)), None)
    return (find(kind, name), {}) if suffix is None else (find(kind, files[suffix]), {"file": name})


def load(path: str, field: str = "class") -> Any:
    """Import `module:Class`."""
    module, _, name = path.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise refuse(field, path, "an id of `gamesim list`, or module:Class")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InvalidInput(f"{field}: cannot import {module!r} of {path!r} ({error}); is it on PYTHONPATH?") from None
    except Exception as error:  # whatever a user's module raises while it is imported
        if module.partition(".")[0] == "gamesim":
            raise
        raise InvalidInput(
            f"{field}: importing {module!r} of {path!r} failed ({type(error).__name__}: {error}); mend the module"
        ) from error
    if not hasattr(found, name):
        raise unknown(f"{field} in {module}", name, [n for n in vars(found) if not n.startswith("_")])
    return getattr(found, name)


def lazily(room: str, entries: Table, also: dict[str, str] | None = None) -> tuple[Callable[[str], Any], list[str]]:
    """`__getattr__` and `__all__` for a room that exports the classes of its table without importing them."""
    paths = {path.partition(":")[2]: path for path, _ in entries.values()} | (also or {})

    def getter(name: str) -> Any:
        if name not in paths:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return load(paths[name])

    return getter, sorted(paths)
