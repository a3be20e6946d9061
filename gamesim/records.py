"""A run on disk: enough to draw it, judge it and continue it, and never half written.

    RUN/config.json            what was asked: game, solver, iterations, seeds; versions, commit
    RUN/trace.csv              tidy (iteration, seed, metric, value), appended as the run goes
    RUN/state.safetensors      the solver's state, and state.previous.safetensors the one before
    RUN/manifest.json          hashes of the states, threads, versions, processor
    RUN/best.safetensors       the best policy measured (families whose later policies may be worse)
    RUN/play.safetensors       the final policy and flow, for pictures (games with a picture)
    RUN/summary.json           what `gamesim run --json` prints
    RUN/figures/               drawn from the files above
    RUN/DONE                   written last: how the run ended

Nothing random is saved (randomness is a function of seed and iteration), no time stands in the trace: a run that was
killed and resumed leaves the same bits as one that was not.
"""

import csv
import errno
import io
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gamesim import kernels
from gamesim.errors import InvalidInput, refuse
from gamesim.files import Lock, fingerprint, naming, own_folder, read_json, to_json, write_json, write_text, write_with
from gamesim.loop import Observer, Result, Run, Status
from gamesim.parameters import plain
from gamesim.states import tensors as tensors_of
from gamesim.traces import HEADER, Every, Snapshot, Trace, next_due, rises

STATE, PREVIOUS, BEST = "state.safetensors", "state.previous.safetensors", "best.safetensors"
SAME = ("game", "solver", "seeds", "seed", "every", "start", "average", "threads", "fused")
"""The settings that a resumed run must share with the one that it continues."""


@cache
def versions() -> dict[str, str | None]:
    """Versions of what the numbers depend on."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("gamesim", "torch", "numpy", "scipy", "numba"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def commit() -> str | None:
    """The git commit of the source, where it is a checkout."""
    try:
        here = Path(__file__).resolve().parent
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None


def settings(
    game: Any,
    solver: Any,
    *,
    iterations: int,
    seeds: int | None = None,
    seed: int = 0,
    every: Every = 1,
    start: str = "game",
    average: bool = False,
    ids: tuple[str, str] | None = None,
    given: tuple[dict[str, str], dict[str, str]] = ({}, {}),
    **others: Any,
) -> dict[str, Any]:
    """The config.json of a run: what `solve` is asked to do, with every parameter of the game and the solver."""
    parts = dict[str, Any]()
    for name, thing, id, typed in zip(("game", "solver"), (game, solver), ids or (None, None), given, strict=True):
        home = f"{type(thing).__module__}:{type(thing).__qualname__}"
        parts[name] = {"id": id or home, "given": typed, "parameters": plain(thing)}
    parts["device"] = getattr(game, "device", "cpu")
    asked = {"iterations": iterations, "seeds": seeds, "seed": seed, "every": every, "start": start, "average": average}
    return {**parts, **asked, "threads": torch.get_num_threads(), "fused": kernels.allowed(), **others}


class Record(Observer):
    """Writes a run as it goes: an observer of `solve`, opened before it, and finished with its result after it.

    `snapshot` is where an earlier run in the folder was, to be passed on as `solve(..., resume=record.snapshot)`.
    """

    def __init__(
        self, folder: Path | str, config: dict[str, Any], *, resume: bool = False, checkpoint_every: float = 10.0
    ) -> None:
        """config: see `settings`; checkpoint_every: seconds between saved states."""
        self.folder = Path(folder)
        self.config = config
        self.checkpoint_every = checkpoint_every
        self._trace: io.TextIOWrapper | None = None
        self._endless = set[str]()
        self._saved = time.monotonic()
        self._saved_at: int | None = None
        self._made = [p for p in (self.folder, *self.folder.parents) if not p.exists()]
        own_folder(self.folder)
        self.lock = Lock(self.folder)
        try:
            self.snapshot = self._open(resume)
        except BaseException:  # Ctrl-C, too: the next one may have the folder
            self.abandon()
            raise

    def _open(self, resume: bool) -> Snapshot | None:
        spares = [*self.folder.glob(".*.tmp"), *self.folder.glob(".tmp*")]  # ours, and those of safetensors
        taken = sorted({p.name for p in self.folder.iterdir()} - {p.name for p in spares} - {".lock"})
        if taken and not resume:
            raise refuse(
                "out",
                str(self.folder),
                f"an absent or empty folder (it holds {taken[0]}); "
                "add --resume to continue that run, or name another folder",
            )
        if taken and "config.json" not in taken:
            raise refuse("out", str(self.folder), "the folder of a run to resume: it has no config.json")
        for spare in spares:  # of a process that was killed
            spare.unlink(missing_ok=True)
        if not taken:
            return None
        before = read_json(self.folder / "config.json")
        if not isinstance(before, dict):
            raise refuse("out", str(self.folder), "the folder of a run to resume: its config.json is none of gamesim's")
        for key in SAME:
            earlier = before.get(key, "game" if key == "start" else None)  # runs from before there was a choice
            found = first_difference(
                key, _meant(earlier), _meant(self.config.get(key, "game" if key == "start" else None))
            )
            if found:
                raise refuse("resume", found, "the settings that the run began with, or another folder")
        snapshot = load_snapshot(self.folder, self.config["every"])
        if snapshot is not None and snapshot.iteration > self.config["iterations"]:
            raise refuse("iterations", self.config["iterations"], f"at least {snapshot.iteration}: the run is that far")
        self._saved_at = None if snapshot is None else snapshot.iteration
        return snapshot

    def abandon(self) -> None:
        """Let the folder go; what was made for a run that then was refused is taken away again."""
        unused = self.folder.is_dir() and {p.name for p in self.folder.iterdir()} <= {".lock"}
        self.lock.release(remove=not (self.folder / "config.json").exists())
        if unused:
            for folder in self._made:
                try:
                    folder.rmdir()
                except OSError:  # somebody else's by now
                    break

    def begin(self, run: Run) -> None:
        begun = tensors_of(run.state)  # what is infinite there may stay so, as a goal that is never reached
        self._endless = {name for name, x in begun.items() if x.is_floating_point() and bool(x.isposinf().any())}
        (self.folder / "DONE").unlink(missing_ok=True)
        write_json(self.folder / "config.json", self.config | {"versions": versions(), "commit": commit()})
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([HEADER, *_texts(run.trace)])
        write_text(self.folder / "trace.csv", text.getvalue())
        self._trace = (self.folder / "trace.csv").open("a", newline="", encoding="utf-8")
        if run.trace.iterations[-1:] == [run.iteration] and getattr(run.game, "keeps_best", False):
            self._keep_if_best(run)  # it may have been stopped in between

    def measured(self, run: Run) -> Status | None:
        assert self._trace is not None
        with naming(self.folder / "trace.csv"):
            csv.writer(self._trace, lineterminator="\n").writerows(_texts(run.trace, last=True))
            self._trace.flush()
        if getattr(run.game, "keeps_best", False):
            self._keep_if_best(run)
        return None

    def _keep_if_best(self, run: Run) -> None:
        """Save the policy where the first metric, mean over the batch, is the best so far."""
        name = next(iter(run.trace.metrics))
        means = [float(x.nanmean()) * (1 if rises(name) else -1) for x in run.trace.metrics[name]]
        finite = [x for x in means if math.isfinite(x)]
        if not math.isfinite(means[-1]) or means[-1] < max(finite) or means[-1] in finite[:-1]:
            return
        parts = {f"policy.{i}": x.detach().cpu().contiguous().clone() for i, x in enumerate(run.policy)}
        self.lock.require()
        note = {"note": to_json({"iteration": run.iteration, "metric": name, "value": float(means[-1])})}
        write_with(self.folder / BEST, lambda spare: _save(parts, spare, metadata=note))

    def iterated(self, run: Run) -> Status | None:
        if time.monotonic() - self._saved > self.checkpoint_every:
            self.checkpoint(run)
        return None

    def checkpoint(self, run: Run) -> None:
        """Save the state, keeping the one before; a state that is not finite is never saved."""
        if self._saved_at == run.iteration:
            return
        state = {name: x.detach().contiguous().cpu() for name, x in tensors_of(run.state).items()}
        numbers = {name: x for name, x in state.items() if x.is_floating_point() and name not in self._endless}
        if not all(bool((x.isfinite() | x.isneginf()).all()) for x in numbers.values()):
            return
        self.lock.require()
        self._sync_trace()
        path = self.folder / STATE
        note = {"iteration": str(run.iteration)}

        def write(spare: Path) -> None:
            _save({name: x.clone() if _shares(x, state) else x for name, x in state.items()}, spare, metadata=note)
            self.lock.require()  # of the folder that the state will be put into
            known = read_hashes(self.folder)
            there = {p: fingerprint(p) for p in (self.folder / PREVIOUS, path) if p.is_file()}
            whole = there.get(path) in known  # a broken one must not displace the one before
            self._manifest([*(x for x in there.values() if x in known), fingerprint(spare)])
            self.lock.require()
            if whole:
                path.replace(self.folder / PREVIOUS)

        write_with(path, write)
        self._saved, self._saved_at = time.monotonic(), run.iteration

    def _sync_trace(self) -> None:
        if self._trace is not None:
            with naming(self.folder / "trace.csv"):
                self._trace.flush()
                os.fsync(self._trace.fileno())

    def _manifest(self, hashes: list[str]) -> None:
        facts = {
            "states": hashes,
            "best": (self.folder / BEST).is_file(),
            "threads": torch.get_num_threads(),
            "processor": platform.processor() or platform.machine(),
            "versions": versions(),
        }
        write_json(self.folder / "manifest.json", facts)

    def end(self, run: Run) -> None:
        if self._trace is None:
            return
        try:
            self.lock.require()
            self._sync_trace()
            self.checkpoint(run)
            self._play(run)
        finally:
            file, self._trace = self._trace, None
            with naming(self.folder / "trace.csv"):  # it may still hold what the disk refused
                file.close()

    def _play(self, run: Run) -> None:
        """The final policy and flow of a family that has a picture, for figures."""
        if run.status is Status.DIVERGED or not callable(getattr(run.game, "picture", None)):
            return
        tensors, words = run.game.picture(run.going())
        parts = {name: x.detach().cpu().contiguous().clone() for name, x in tensors.items()}
        note = {"words": to_json(words)}  # one entry: safetensors writes several in any order
        write_with(self.folder / "play.safetensors", lambda spare: _save(parts, spare, metadata=note))

    def finish(self, result: Result) -> dict[str, Any]:
        """The summary and, last of all, DONE; then the folder is released. Returns the summary."""
        self.lock.require()
        summary = summarize(self.folder, self.config, result)
        write_json(self.folder / "summary.json", summary)
        write_text(self.folder / "DONE", f"{summary['status']} after {summary['iterations']} iterations\n")
        self.lock.release()
        return summary


def _texts(trace: Trace, last: bool = False) -> list[tuple[int, int, str, str]]:
    return [(iteration, seed, metric, repr(value)) for iteration, seed, metric, value in trace.rows(last)]


def _save(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write tensors; what the disk refuses is an error of the system, as of any other file."""
    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:
        raise OSError(errno.EIO, f"cannot be written ({error})", str(path)) from None


def _shares(x: Tensor, state: dict[str, Tensor]) -> bool:
    return sum(x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr() for y in state.values()) > 1


def _meant(setting: Any) -> Any:
    """What was meant, however it was typed."""
    return {k: v for k, v in setting.items() if k != "given"} if isinstance(setting, dict) else setting


def first_difference(name: str, before: Any, now: Any) -> str | None:
    """The first place where two configurations differ, in words."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            found = first_difference(f"{name}.{key}", before.get(key), now.get(key))
            if found:
                return found
        return None
    if before == now:
        return None
    if name.endswith(".sha256"):
        return f"{name.removesuffix('.sha256')}: a file that has changed since the run began"
    return f"{name} = {now!r} where the run has {before!r}"


def read_hashes(folder: Path) -> list[str]:
    path = folder / "manifest.json"
    found = read_json(path) if path.exists() else {}
    states = found.get("states", []) if isinstance(found, dict) else None
    if not isinstance(states, list):
        raise InvalidInput(f"{path}: not the manifest of a run: it has no list `states`")
    return [str(x) for x in states]


def load_snapshot(folder: Path, every: Every = 1) -> Snapshot | None:
    """The newest state whose hash the manifest knows, with the trace up to it; None if the run never saved one.

    A state that the trace does not lead up to, measured as often as `every` says, is passed over.
    """
    manifest = folder / "manifest.json"
    kept = read_json(manifest) if manifest.exists() else {}
    if isinstance(kept, dict) and kept.get("best") and not (folder / BEST).is_file():
        return None  # only the whole run can say again which policy was best
    known = read_hashes(folder)
    for name in (STATE, PREVIOUS):
        path = folder / name
        if not path.is_file() or fingerprint(path) not in known:
            continue
        try:
            with safe_open(path, framework="pt") as f:
                iteration = int((f.metadata() or {})["iteration"])
                saved = {key: f.get_tensor(key) for key in f.keys()}  # noqa: SIM118  safe_open has no __iter__
        except (OSError, SafetensorError, KeyError, ValueError):
            continue
        try:
            trace = read_trace(folder, until=iteration, whole=False)
        except InvalidInput:
            continue  # nothing leads up to the state: the run begins again
        if _leads_up(set(trace.iterations), iteration, every):
            return Snapshot(iteration, saved, trace)
    return None


def load_best(folder: Path | str) -> tuple[tuple[Tensor, ...], int]:
    """The best policy that a run has kept, and the iteration it is of."""
    path = Path(folder) / BEST
    if not path.is_file():
        raise InvalidInput(f"{path}: no such file; runs that learn from recorded play keep their best policy there")
    try:
        with safe_open(path, framework="pt") as f:
            count = len(f.keys())
            iteration = int(json.loads((f.metadata() or {})["note"])["iteration"])
            return tuple(f.get_tensor(f"policy.{i}") for i in range(count)), iteration
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InvalidInput(f"{path}: no policy that gamesim kept ({type(error).__name__})") from None


def _leads_up(measured: set[int], iteration: int, every: Every) -> bool:
    """Whether every measure that is due before an iteration is there; ends at the first that is not."""
    t = 0
    while t < iteration:
        if t not in measured:
            return False
        t = next_due(t, every)
    return True


def read_trace(folder: Path, until: int | None = None, whole: bool = True) -> Trace:
    """The trace of a run; a torn last line and rows after `until` are left out; not `whole`: all from a bad line on."""
    path = folder / "trace.csv"
    if not path.is_file():
        raise InvalidInput(f"{path}: no such file; is {folder} the folder of a run?")
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = text[: text.rfind("\n") + 1].splitlines()
    if not lines or tuple(lines[0].split(",")) != HEADER:
        raise InvalidInput(f"{path}: its first line is not {','.join(HEADER)}")
    cells = dict[int, dict[str, dict[int, float]]]()
    for number, line in enumerate(lines[1:], start=2):
        try:
            ((at, which, metric, number_),) = csv.reader([line])
            iteration, seed, value = int(at), int(which), float(number_)
        except (ValueError, csv.Error):
            if not whole:
                break
            raise InvalidInput(f"{path}: line {number} is not iteration,seed,metric,value") from None
        if until is None or iteration <= until:
            cells.setdefault(iteration, {}).setdefault(metric, {})[seed] = value
    seeds_met = {seed for metrics in cells.values() for seeds in metrics.values() for seed in seeds}
    trace = Trace(first_seed=min(seeds_met, default=0))
    widths = {len(seeds) for metrics in cells.values() for seeds in metrics.values()}
    width = max(widths, default=0)
    for iteration in sorted(cells):
        metrics = cells[iteration]
        if any(len(seeds) != width for seeds in metrics.values()) or (
            trace.metrics and metrics.keys() != trace.metrics.keys()
        ):
            break  # the last measure was being written when the run was killed
        rows = {m: torch.tensor([v[s] for s in sorted(v)], dtype=torch.float64) for m, v in metrics.items()}
        trace.add(iteration, rows)
    return trace


def summarize(folder: Path, config: Mapping[str, Any], result: Result) -> dict[str, Any]:
    """The JSON of `gamesim run`: means of every metric of the trace, over the seeds that did not diverge."""
    metrics, adding = {}, getattr(result.state, "metrics", {})  # what adds up along a run is best read at its end
    for name, values in result.trace.metrics.items():
        means = [float(v.nanmean()) for v in values]
        finite = [m for m in means if math.isfinite(m)]
        best = means[-1] if name in adding else (max if rises(name) else min)(finite, default=math.nan)
        metrics[name] = {"first": means[0], "last": means[-1], "best": best}
    return {
        "run": str(folder),
        "game": config["game"]["id"],
        "solver": config["solver"]["id"],
        "iterations": result.iterations,
        "status": result.status.label,
        "message": result.status.value,
        "metrics": metrics,
        "diverged": [{"seed": seed, "iteration": iteration} for seed, iteration in result.trace.losses()],
        "seconds": round(result.seconds, 6),
    }
