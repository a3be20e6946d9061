"""The file of a sweep: TOML, checked whole, and turned into the plan of every run before anything starts.

    iterations = 200                  # as of `gamesim run`; seeds, seed, every, tolerance, start, average, device
    seeds = 10
    [[runs]]                          # a block: what is in it is crossed; a file may have several
    game = ["matrix/shapley", "matrix/chicken"]
    solver = "ftrl"
    g = { size = 3 }                  # as -g
    s = { step_size = [0.1, 1.0] }    # as -s

Designs of a block: `grid` crosses all axes, `list` takes them side by side, `random` and `sobol` draw the parameters so
many times (`draws`, `design_seed`) and cross them with games and solvers. Sobol' points: scipy.stats.qmc, scrambled.
"""

import itertools
import re
import shlex
import tomllib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from gamesim import catalog
from gamesim.errors import Caution, InvalidInput, refuse, unknown
from gamesim.loop import require_fit
from gamesim.parameters import Bounds, Count, Device, Natural, build, check, convert, plain
from gamesim.sweeps.axes import DRAWN, MOST, SPACED, Axis, axis, typed

LARGEST = 10**6
"""Bytes of a file that is read, at most."""
DOTTED = re.compile(r"(?:[^\s.\[\]{}=,#]{1,200}+[ \t]*+\.[ \t]*+){60}")
Seeds = Annotated[int, Bounds("a whole number from 1 to 100,000", 1, MOST)]
Tolerance = Annotated[float, Bounds("a number of at least 0", 0)]
Draws = Annotated[int, Bounds("a whole number from 1 to 100,000", 1, MOST)]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `gamesim run` takes as options, and how many runs go into one batch."""

    iterations: Natural = 100
    seeds: Seeds = 1
    seed: Natural = 0
    every: str = "1"
    tolerance: Tolerance | None = None
    start: Literal["game", "random"] = "game"
    average: bool = False
    device: Device = "cpu"
    batch: Count = 128
    """Runs of one batch, at most; 1: each run alone."""

    def __post_init__(self) -> None:
        check(self)
        if self.every != "log" and not (self.every.isdecimal() and self.every.isascii() and 0 < int(self.every) < 1e12):
            raise refuse("every", self.every, 'a whole number of at least 1, or "log"')

    @property
    def measured(self) -> Any:
        return "log" if self.every == "log" else int(self.every)


@dataclass(frozen=True)
class Planned:
    """One run: one configuration with one seed."""

    name: str
    game: str
    solver: str
    g: Mapping[str, str]
    s: Mapping[str, str]
    seed: int
    settings: Settings = field(repr=False)

    @property
    def varied(self) -> dict[str, str]:
        return {**{f"g.{k}": v for k, v in self.g.items()}, **{f"s.{k}": v for k, v in self.s.items()}}

    @property
    def command(self) -> str:
        """What does this run alone."""
        words = ["gamesim", "run", self.game, self.solver]
        words += [w for k, v in self.g.items() for w in ("-g", f"{k}={v}")]
        words += [w for k, v in self.s.items() for w in ("-s", f"{k}={v}")]
        own = self.settings
        words += ["--iterations", str(own.iterations), "--every", own.every, "--seed", str(self.seed)]
        words += [] if own.tolerance is None else ["--tolerance", repr(own.tolerance)]
        words += [] if own.start == "game" else ["--start", own.start]
        words += ["--average"] if own.average else []
        words += [] if own.device == "cpu" else ["--device", own.device]
        return shlex.join(words)


@dataclass(frozen=True)
class Plan:
    """Every run of a sweep, in order; `text` is the file that said so."""

    runs: tuple[Planned, ...]
    text: str = field(repr=False)
    tune: Mapping[str, Any] | None = None
    axes: tuple[Axis, ...] = ()
    """What a tuner may choose, as `g.name` and `s.name`; only with a table [tune]."""

    def plain(self) -> list[dict[str, Any]]:
        """The runs as JSON data."""
        return [
            {"run": r.name, "game": r.game, "solver": r.solver, "g": dict(r.g), "s": dict(r.s), "seed": r.seed}
            | {"settings": plain_settings(r.settings)}
            for r in self.runs
        ]


def plain_settings(settings: Settings) -> dict[str, Any]:
    data = cast(dict[str, Any], plain(settings))
    return {name: value for name, value in data.items() if name not in ("kind", "seeds", "seed")}


@dataclass(frozen=True)
class Block:
    """A table [[runs]]: settings, axes, and how they are combined."""

    where: str
    settings: Settings
    games: tuple[str, ...]
    solvers: tuple[str, ...]
    axes: tuple[Axis, ...]
    design: str
    draws: int
    design_seed: int


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
        _require_buildable([first], allow)
        return Plan(first, text, tune, open_)
    runs = tuple(_named([run for block in read for run in _runs(block)]))
    _require_once(runs)
    _require_buildable([runs], allow)
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


def _points(block: Block) -> list[dict[str, str]]:
    """The values of all parameters of a block, for each of its configurations."""
    axes = block.axes
    if block.design == "grid":
        _require_few(block, [len(a.values) for a in axes])
        return [dict(zip((a.name for a in axes), v, strict=True)) for v in itertools.product(*(a.values for a in axes))]
    if block.design == "list":
        length = max((len(a.values) for a in axes), default=1)
        for a in axes:
            if len(a.values) not in (1, length):
                raise refuse(
                    f"{block.where}.{a.name}", f"{len(a.values)} values", f"one, or {length} as the longest has"
                )
        return [{a.name: a.values[i % len(a.values)] for a in axes} for i in range(length)]
    return [{a.name: a.at(u) for a, u in zip(axes, row, strict=True)} for row in _shares(block)]


def _shares(block: Block) -> list[list[float]]:
    """Points of the unit cube, [draw][axis]."""
    import numpy as np

    width = len(block.axes)
    if not width:
        raise refuse(f"{block.where}.design", block.design, "grid: no parameter is there to be drawn")
    if block.design == "random":
        rows = np.random.default_rng(np.random.SeedSequence(block.design_seed)).random((block.draws, width))
    else:
        from scipy.stats import qmc

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a number of points which is no power of two is less balanced
            rows = qmc.Sobol(width, rng=np.random.default_rng(block.design_seed)).random(block.draws)
    return cast(list[list[float]], np.minimum(rows, np.nextafter(1, 0)).tolist())


def _require_few(block: Block, lengths: Sequence[int]) -> None:
    total = len(block.games) * len(block.solvers) * block.settings.seeds
    for n in lengths:
        total *= n
    if total > MOST:
        raise refuse(block.where, f"{total:,} runs", f"at most {MOST:,}: fewer values or seeds, or a random design")


def _runs(block: Block) -> list[Planned]:
    points = _points(block)
    _require_few(block, [len(points)])
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


def trial(block_or_run: "Block | Planned", point: Mapping[str, str], prefix: str) -> tuple[Planned, ...]:
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


def _require_once(runs: Sequence[Planned]) -> None:
    seen = dict[Any, str]()
    for run in runs:
        key = run.command
        if key in seen:
            raise refuse("runs", run.command, f"each run once; it stands twice, as {seen[key]} and {run.name}")
        seen[key] = run.name


def _require_buildable(groups: Sequence[Sequence[Planned]], allow: Sequence[str]) -> None:
    """Build every game and every solver once, and see that they fit: what is wrong is said before anything runs."""
    from gamesim.sweeps.work import built_game, built_solver

    games, solvers, pairs = dict[Any, Any](), dict[Any, Any](), set[Any]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)
        for run in itertools.chain.from_iterable(groups):
            g, s = (run.game, run.settings.device, *run.g.items()), (run.solver, *run.s.items())
            try:
                if g not in games:
                    if len(games) > 8:  # they may be large
                        games.clear()
                    require_allowed("game", run.game, allow)
                    games[g] = built_game(run)
                if s not in solvers:
                    require_allowed("solver", run.solver, allow)
                    solvers[s] = built_solver(run)
                if (g, s) not in pairs:
                    require_fit(games[g], solvers[s])
                    pairs.add((g, s))
            except InvalidInput as error:
                raise type(error)(f"runs: {run.game} {run.solver} {_words(run)}: {error}") from None


def _words(run: Planned) -> str:
    return " ".join(f"-{k[0]} {k[2:]}={v}" for k, v in run.varied.items()) or "(no parameters)"


def require_allowed(what: str, name: str, allow: Sequence[str]) -> None:
    """A file may name ids of the catalogue; a class of the user's only where the command line allows it."""
    if ":" in name and name not in catalog.entries(f"{what}s") and name not in allow:
        raise refuse(what, name, f"an id of `gamesim list {what}s`, or --allow {name} on the command line: "
                     "a file of settings imports nothing by itself")  # fmt: skip


__all__ = ["Plan", "Planned", "Settings", "configured", "plan_of", "read_plan", "trial", "typed"]
