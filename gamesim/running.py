"""A run from names to a folder: build the game and the solver, solve, record, draw; what `gamesim run` does."""

import hashlib
import re
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open

from gamesim.errors import Caution, refuse
from gamesim.figures import draw, save
from gamesim.files import to_json, write_json
from gamesim.games import Policy
from gamesim.games.game import require_policy
from gamesim.kernels import fused as fused_kernels
from gamesim.loop import Observer, Result, Status, listed_seeds, solve
from gamesim.parameters import build
from gamesim.populations.behaviour import roam
from gamesim.progress import Progress, announced
from gamesim.randomness import Stream
from gamesim.records import SAME, Record, settings
from gamesim.reporting import Report, Reporter, report_to, reporter_named
from gamesim.signals import Interrupted, Signals
from gamesim.traces import Every

Two = tuple[Any, Any]


@dataclass(frozen=True)
class Outcome:
    """How it ended: the summary (None if it was stopped at once), the figures and the exit code."""

    code: int
    summary: dict[str, Any] | None = None
    figures: list[Path] = field(default_factory=list)


def run_on_disk(
    classes: Two, ids: tuple[str, str], given: tuple[dict[str, str], dict[str, str]], *, iterations: int,
    tolerance: float | None, seeds: int, seed: int, every: Every, average: bool, device: str, fused: bool,
    start: str = "game", out: Path | None, resume: bool, show: bool, command: str, log: Sequence[str] = (),
) -> Outcome:  # fmt: skip
    """Solve and write the run; classes, ids and given parameters are pairs (game, solver); log: tools that are told."""
    tools = [reporter_named(text) for text in log]
    if device != "cpu":
        if "device" not in getattr(classes[0], "__dataclass_fields__", {}):
            raise refuse("device", device, f"cpu: {ids[0]} has no parameter `device`")
        given[0].setdefault("device", device)
    game, solver = (build(kind, typed, what=id) for kind, typed, id in zip(classes, given, ids, strict=True))
    with Signals() as signals, fused_kernels(fused):
        config = settings(
            game, solver, ids=ids, given=given, iterations=iterations, tolerance=tolerance, seeds=seeds, seed=seed,
            every=every, start=start, average=average, command=command,
        )  # fmt: skip
        record = Record(out or Path("runs") / name_of(config), config, resume=resume)
        return solve_on_disk(
            game, solver, record, iterations=iterations, tolerance=tolerance, seeds=None if seeds == 1 else seeds,
            seed=seed, every=every, average=average, start=start, signals=signals, figures=True,
            observers=[*reports(tools, record), *([Progress()] if show else [])],
        )  # fmt: skip


def reports(tools: Sequence[Reporter], record: Record, group: str = "") -> list[Report]:
    """Observers that tell a run on disk to tools; where one is refused the folder is let go."""
    try:
        return [report_to(tool, record, group=group) for tool in tools]
    except BaseException:  # Ctrl-C, too: the next one may have the folder
        record.abandon()
        raise


def solve_on_disk(
    game: Any, solver: Any, record: Record, *, iterations: int, tolerance: float | None,
    seeds: int | Sequence[int] | None, seed: int, every: Every, average: bool, start: str, signals: Signals,
    figures: bool, observers: Sequence[Observer] = (),
) -> Outcome:  # fmt: skip
    """Solve into an open record: prepare, run, draw, finish; what is interrupted can be resumed, what fails, too."""
    keeping = getattr(solver, "kept_in", nullcontext)  # what a solver writes beside its run
    try:
        with announced("compiling the fused kernels, once on this machine (about ten seconds)"):
            getattr(game, "prepare", lambda: None)()
            if every != 1:  # only then does a solver take many steps at once
                getattr(solver, "prepare", lambda game: None)(game)
        with keeping(record.folder) as kept:
            result = solve(
                game, solver, iterations=iterations, tolerance=tolerance, seeds=seeds, seed=seed, every=every,
                average=average, resume=record.snapshot, observers=[record, signals, *observers],
                start=None if start == "game" else random_start(game, seeds, seed),
            )  # fmt: skip
        _say_if_solved(result, start)
        drawn = save(draw(record.folder), record.folder / "figures", "convergence") if figures else []
        usage = getattr(kept, "usage", None)
        if usage is not None:
            write_json(record.folder / "usage.json", usage)
        summary = record.finish(result) | ({} if usage is None else {"usage": usage})
    except BaseException as stop:  # whatever it is, the folder is let go and can be resumed
        record.abandon()
        if isinstance(stop, Interrupted):
            return Outcome(128 + int(stop.args[0]))
        raise
    codes = {Status.INTERRUPTED: 128 + signals.caught, Status.DIVERGED: 1}
    return Outcome(codes.get(result.status, 0), summary, drawn)


def random_start(game: Any, seeds: int | Sequence[int] | None, seed: int) -> Policy:
    """A policy for each seed whose rows are uniform on the simplex, drawn apart from what play draws."""
    own = game.start()
    require_policy(own, field="start")
    stream = Stream(seed if seeds is None else listed_seeds(seeds, seed), iteration=2**32 - 2)
    spread = [-stream.uniform((*stream.front, *x.shape), x.dtype, x.device).log() for x in own]
    return tuple(y / y.sum(-1, keepdim=True) for y in spread)


def _say_if_solved(result: Result, start: str) -> None:
    """A game whose own start is an equilibrium shows nothing of a solver."""
    first = result.trace.metrics.get("exploitability", [])[:1]
    if start == "game" and first and result.trace.iterations[0] == 0 and bool((first[0] == 0).all()):
        words = "start: the game's own starting policy is an equilibrium, where solvers stay; try --start random"
        warnings.warn(words, Caution, stacklevel=2)


def name_of(config: dict[str, Any]) -> str:
    """The default name of a run: its game, its solver, and a hash of what a resumed run must share."""
    digest = hashlib.sha256(to_json({key: config[key] for key in SAME}).encode()).hexdigest()[:8]
    game = config["game"]["id"]
    game = Path(game).name if config["game"]["given"].get("file") == game else game  # of a file without its folders
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{game}-{config['solver']['id']}")
    return f"{stem[:80].lstrip('_.-')}-{digest}"


def policy_named(game: Any, name: str, seed: int) -> Policy:
    """What agents may be told to play: uniform, roam, or the last policy of a run on disk."""
    if name == "uniform":
        start: Policy = game.start()
        return start
    if name == "roam":
        return roam(game, seed)
    path = Path(name) / "play.safetensors"
    if not path.is_file():
        raise refuse("policy", name, "uniform, roam, or the folder of a run of a graphon game")
    with safe_open(path, framework="pt") as file:
        if "positions" not in file.keys():  # noqa: SIM118  safe_open has no __iter__
            raise refuse("policy", name, "the folder of a run of a graphon game")
        policy, positions = file.get_tensor("policy"), file.get_tensor("positions")
    like = game.start()[0]
    if policy.dim() != 4 or policy.shape[0] != like.shape[0] or policy.shape[2:] != like.shape[2:]:
        words = f"[h, k, s, a] = {list(policy.shape)}"
        raise refuse("policy", f"{name}: {words}", f"one for {list(like.shape)}: a run of the same game")
    nearest = (game.grid.positions[:, None] - positions).abs().argmin(-1)  # a picture keeps at most 400 positions
    return (policy[:, nearest].to(like),)
