"""The file of a sweep: TOML, checked whole, and turned into the plan of every run before anything starts.

    iterations = 200                  # as of `gamesim run`; seeds, seed, every, tolerance, start, average, device
    seeds = 10
    [[runs]]                          # a block: what is in it is crossed; a file may have several
    game = ["matrix/shapley", "matrix/chicken"]
    solver = "ftrl"
    g = { size = 3 }                  # as -g
    s = { step_size = [0.1, 1.0] }    # as -s

The design of a block (points.py) makes the configurations; they are crossed with its games, solvers and seeds.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

from gamesim.errors import InvalidInput, refuse, unknown
from gamesim.parameters import Bounds, Natural, build, convert
from gamesim.sweeps.axes import DRAWN, MOST, SPACED, axis
from gamesim.sweeps.checking import require_buildable, require_few, require_once
from gamesim.sweeps.plans import Block, Plan, Planned, Settings
from gamesim.sweeps.points import points_of

LARGEST = 10**6
"""Bytes of a file that is read, at most."""
DOTTED = re.compile(r"(?:[^\s.\[\]{}=,#]{1,200}+[ \t]*+\.[ \t]*+){60}")
Draws = Annotated[int, Bounds("a whole number from 1 to 100,000", 1, MOST)]


def read_plan(path: Path, allow: Sequence[str] = ()) -> Plan:
    """The plan that a file makes. allow: the `module:Class` that the file may name, since importing is running."""
    try:
        if path.exists() and not path.is_file():
            raise refuse("file", str(path), "a TOML file; this is no regular file")
        if path.stat().st_size > LARGEST:
            raise refuse("file", str(path), f"a sweep of at most {LARGEST:,} bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        if isinstance(error, InvalidInput):
            raise
        raise refuse("file", str(path), f"a TOML file that can be read ({reason})") from None
    return plan_of(text, allow)


def plan_of(text: str, allow: Sequence[str] = ()) -> Plan:
    """The plan that the text of a file makes; every game and solver is built once, so that nothing fails later."""
    try:
        if DOTTED.search(text):  # tomllib takes the square of their number
            raise ValueError("a key of more than 60 parts")
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise InvalidInput(f"file: no TOML: {str(error) or 'too deep'}") from None
    names = [f.name for f in fields(Settings)]
    for key in data:
        if key not in (*names, "runs", "tune"):
            raise unknown("key of the file", key, [*names, "runs", "tune"])
    blocks = data.get("runs")
    if not isinstance(blocks, list) or not blocks or not all(isinstance(b, dict) for b in blocks):
        raise refuse("runs", blocks, "at least one table [[runs]] with a game and a solver")
    shared = {key: data[key] for key in data if key in names}
    _settings(shared, "")
    tune = data.get("tune")
    if tune is not None and not isinstance(tune, dict):
        raise refuse("tune", tune, "a table [tune]")
    read = [_block(b, shared, f"runs[{i}]", tuning=tune is not None) for i, b in enumerate(blocks)]
    if tune is not None:
        if len(read) != 1 or len(read[0].games) * len(read[0].solvers) != 1:
            raise refuse("tune", f"{len(read)} blocks", "one block [[runs]] of one game and one solver")
        open_ = tuple(a for a in read[0].axes if a.law != "values" or len(a.values) > 1)
        if not open_:
            raise refuse(
                "tune", "nothing to choose", "a parameter with a list, or with uniform, log-uniform, integers, choice"
            )
        from gamesim.sweeps.tuning import tuning_of

        tuning_of(tune, open_)
        first = trial(read[0], {a.name: a.at(0.5) for a in open_}, "0")
        require_buildable([first], allow)
        return Plan(first, text, tune, open_)
    runs = tuple(_named([run for block in read for run in _runs(block)]))
    require_once(runs)
    require_buildable([runs], allow)
    return Plan(runs, text)


def _settings(data: Mapping[str, Any], where: str) -> Settings:
    given = {
        k: str(v) if k == "every" and isinstance(v, int) and not isinstance(v, bool) else v for k, v in data.items()
    }
    try:
        return build(Settings, given, what="a sweep")
    except InvalidInput as error:
        raise InvalidInput(f"{where}{error}") from None


def _block(data: Mapping[str, Any], shared: Mapping[str, Any], where: str, *, tuning: bool) -> Block:
    names = [f.name for f in fields(Settings)]
    own = {"game", "solver", "g", "s", "design", "draws", "design_seed"}
    for key in data:
        if key not in names and key not in own:
            raise unknown(f"key of {where}", key, [*names, *own])
    settings = _settings({**shared, **{k: v for k, v in data.items() if k in names}}, f"{where}.")
    axes = [
        axis(f"{part}.{name}", value, f"{where}.{part}.{name}")
        for part in ("g", "s")
        for name, value in _flat(data.get(part, {}), f"{where}.{part}").items()
    ]
    design = data.get("design", "grid")
    if design not in ("grid", "list", "random", "sobol"):
        raise unknown(f"{where}.design", str(design), ("grid", "list", "random", "sobol"))
    drawing = design in ("random", "sobol")
    for a in axes:
        if a.law != "values" and not drawing and not tuning:
            raise refuse(f"{where}.{a.name}", a.law, 'design = "random" or "sobol" beside it, or a table [tune]')
    for key in ("draws", "design_seed"):
        if key in data and not drawing:
            raise refuse(f"{where}.{key}", data[key], 'design = "random" or "sobol" beside it')
    if drawing and "draws" not in data:
        raise refuse(f"{where}.draws", None, "how often to draw, a whole number of at least 1")
    draws = convert(data.get("draws", 1), Draws, f"{where}.draws")
    seed = convert(data.get("design_seed", 0), Natural, f"{where}.design_seed")
    games, solvers = (_ids(data.get(key), f"{where}.{key}") for key in ("game", "solver"))
    return Block(where, settings, games, solvers, tuple(axes), design, draws, seed)


def _ids(value: Any, where: str) -> tuple[str, ...]:
    found = value if isinstance(value, list) else [value]
    if not found or not all(isinstance(x, str) for x in found) or len(set(found)) < len(found):
        raise refuse(where, value, "an id of `gamesim list`, or a list of different ones")
    return tuple(found)


def _flat(table: Any, where: str) -> dict[str, Any]:
    """Parameters by dotted names; a table that is no law reaches inside: graphon.a = 0.3."""
    if not isinstance(table, dict):
        raise refuse(where, table, "a table of parameters, as { step_size = [0.1, 1.0] }")
    found = dict[str, Any]()
    for name, value in table.items():
        if isinstance(value, dict) and value and not any(k in SPACED + DRAWN for k in value):
            found |= {f"{name}.{inner}": v for inner, v in _flat(value, f"{where}.{name}").items()}
        else:
            found[name] = value
    return found


def _runs(block: Block) -> list[Planned]:
    points = points_of(block)
    require_few(block, [len(points)])
    return [
        run
        for game in block.games
        for solver in block.solvers
        for point in points
        for run in configured(block.settings, game, solver, point)
    ]


def configured(settings: Settings, game: str, solver: str, point: Mapping[str, str]) -> list[Planned]:
    """The runs of one configuration, one for each seed; point: values by `g.name` and `s.name`."""
    g, s = ({k[2:]: v for k, v in point.items() if k.startswith(f"{part}.")} for part in ("g", "s"))
    first, count = settings.seed, settings.seeds
    return [Planned("", game, solver, g, s, first + i, settings) for i in range(count)]


def trial(block_or_run: Block | Planned, point: Mapping[str, str], prefix: str) -> tuple[Planned, ...]:
    """The runs of one trial of a tuner: the block's own values, and the chosen ones in place of its axes."""
    if isinstance(block_or_run, Planned):
        kept, game, solver, own = block_or_run.varied, block_or_run.game, block_or_run.solver, block_or_run.settings
    else:
        block = block_or_run
        kept = {a.name: a.values[0] for a in block.axes if a.values}
        game, solver, own = block.games[0], block.solvers[0], block.settings
    runs = configured(own, game, solver, {**kept, **point})
    width = len(str(max(own.seeds - 1, 0)))
    return tuple(replace(run, name=f"{prefix}-{i:0{width}d}") for i, run in enumerate(runs))


def _named(runs: Sequence[Planned]) -> list[Planned]:
    if len(runs) > MOST:
        raise refuse("runs", f"{len(runs):,} of them", f"at most {MOST:,}")
    width = len(str(len(runs) - 1))
    return [replace(run, name=f"{i:0{width}d}") for i, run in enumerate(runs)]
