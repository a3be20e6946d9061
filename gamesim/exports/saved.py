"""A run on disk, read back: its configuration and trace at once; its game, solver and policy when they are asked for.

Only files that gamesim writes are read: JSON, CSV, safetensors. A policy takes the game and the solver of config.json
to be built again, which is refused where that would import a module which is not gamesim's own, unless it is allowed.
"""

import dataclasses
import importlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from gamesim import catalog
from gamesim.averaging import Averaged
from gamesim.errors import InvalidInput, refuse
from gamesim.files import read_json
from gamesim.games.game import Policy
from gamesim.parameters import build, hints_of
from gamesim.records import load_best, load_snapshot, read_trace
from gamesim.states import mapped, tensors
from gamesim.traces import Trace


@dataclass(frozen=True)
class SavedRun:
    """A run that is on disk; see `read_run`."""

    folder: Path
    config: Mapping[str, Any]
    """config.json: what was asked."""
    trace: Trace
    """What was measured; a batch is flat."""
    summary: Mapping[str, Any] | None
    """summary.json: how it ended; none where it has not."""
    allow: frozenset[str] = frozenset()
    """Classes of other modules that may be imported, as `module:Class`."""

    def frame(self) -> Any:
        """The trace as a tidy pandas.DataFrame: iteration, seed, metric, value."""
        return self.trace.frame()

    @property
    def ended(self) -> bool:
        """Whether it has come to an end, of whatever kind."""
        return self.summary is not None and (self.folder / "DONE").is_file()

    @cached_property
    def game(self) -> Any:
        """The game, built again from the configuration."""
        return self._built("games")

    @cached_property
    def solver(self) -> Any:
        """The solver, built again from the configuration."""
        return self._built("solvers")

    @cached_property
    def state(self) -> Any:
        """The solver's last saved state, with the leading dimensions of the run."""
        snapshot = load_snapshot(self.folder, self.config.get("every", 1))
        if snapshot is None:
            raise refuse("run", str(self.folder), "a run that has saved its state")
        one = first_of(self.solver)
        like = (Averaged(one) if self.config.get("average") else one).init(self.game)
        if tensors(like).keys() != snapshot.tensors.keys():
            raise InvalidInput(f"run: the state in {self.folder} is of another version of its solver")
        return mapped(like, lambda name, _: snapshot.tensors[name])

    @cached_property
    def policy(self) -> Policy:
        """The last policy saved, as `Result.policy`: NaN for members of a batch that diverged."""
        policy: Policy = self.state.policy
        lost = self.lost
        if not bool(lost.any()):
            return policy
        return tuple(torch.where(_over(lost, x), torch.full_like(x, torch.nan), x) for x in policy)

    @cached_property
    def best(self) -> Policy:
        """The best policy measured, where the run has kept it."""
        return load_best(self.folder)[0]

    @property
    def lost(self) -> Tensor:
        """Which members of the batch diverged, [member]."""
        width = max((x[-1].numel() for x in self.trace.metrics.values()), default=1)
        return self.trace.ended((width,))

    def _built(self, kind: str) -> Any:
        part = self.config[kind[:-1]]
        id, given = str(part["id"]), dict(part.get("given") or {})
        own = id in catalog.table(kind) and not id.startswith("simulator/")
        if kind == "games" and not own:
            found, named = catalog.named(kind, id) if ":" not in id else (None, {})
            own = bool(named) and found is not None  # a game in a file
        home = str(part["parameters"].get("kind", "")) if isinstance(part["parameters"], dict) else ""
        if not own and id not in self.allow and not home.startswith("gamesim."):
            raise refuse(kind[:-1], id, f"what comes with gamesim; if you trust it, allow={{{id!r}}} (--allow {id})")
        try:
            if home.startswith("gamesim.") and not id.startswith("simulator/"):
                return revived(part["parameters"])
        except InvalidInput:  # what cannot be written out in full; what was typed says it, too
            if not given and ":" in id:
                raise
        cls, named = catalog.named(kind, id)
        return build(cls, named | given, what=id)


def read_run(folder: Path | str, *, allow: Collection[str] = ()) -> SavedRun:
    """A run on disk: `.config`, `.trace`, `.summary`, `.frame()`, and `.policy`, `.best`, `.game`, `.solver`, `.state`.

    allow: classes of other modules that its configuration may name, as `module:Class`; importing one runs its code.
    """
    folder = Path(folder)
    config = read_json(folder / "config.json")
    parts = [config.get(name) for name in ("game", "solver")] if isinstance(config, dict) else [None]
    if not all(isinstance(x, dict) and isinstance(x.get("id"), str) and "parameters" in x for x in parts):
        raise refuse("run", str(folder), "the folder of a run: its config.json names no game and solver")
    summary = read_json(folder / "summary.json") if (folder / "summary.json").is_file() else None
    return SavedRun(folder, config, read_trace(folder), summary, frozenset(allow))


def revived(data: Any) -> Any:
    """What `gamesim.parameters.plain` wrote of a dataclass of gamesim, as that dataclass again.

    >>> from gamesim.parameters import plain
    >>> from gamesim.schedules import Power
    >>> revived(plain(Power(1.0, 0.5)))
    Power(scale=1.0, exponent=0.5, offset=1.0)
    """
    home = str(data.get("kind", "")) if isinstance(data, dict) else ""
    module, _, name = home.partition(":")
    if module.partition(".")[0] != "gamesim" or not all(x.isidentifier() for x in (*module.split("."), name)):
        raise refuse("parameters", home or type(data).__name__, "a dataclass of gamesim, written out in full")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        raise refuse("parameters", home, "a class of this version of gamesim") from None
    if not dataclasses.is_dataclass(cls) or not isinstance(cls, type):
        raise refuse("parameters", home, "a dataclass of gamesim")
    hints = hints_of(cls)
    return build(cls, {k: _value(v, hints.get(k)) for k, v in data.items() if k != "kind"}, what=name)


def _value(data: Any, hint: Any) -> Any:
    if isinstance(data, dict) and "kind" in data:
        return revived(data)
    if isinstance(data, list):
        if Tensor in _parts(hint):
            return torch.tensor(data, dtype=torch.float64)
        return tuple(_value(x, hint) for x in data)
    return data


def _parts(hint: Any) -> set[Any]:
    """The types that a declared type is made of."""
    found = {hint} if isinstance(hint, type) else set()
    if hasattr(hint, "kinds"):
        found.add(Tensor)  # a schedule of several numbers
    return found.union(*(_parts(x) for x in get_args(hint))) if get_args(hint) else found


def first_of(solver: Any) -> Any:
    """A solver with the first of each batch of hyper-parameters, in whose image the states of all are."""
    if not dataclasses.is_dataclass(solver) or isinstance(solver, type):
        return solver
    changed = dict[str, Any]()
    for field in dataclasses.fields(solver):
        value = getattr(solver, field.name)
        if isinstance(value, Tensor) and value.dim():
            changed[field.name] = value.flatten()[0]
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            changed[field.name] = first_of(value)
    return dataclasses.replace(solver, **changed) if changed else solver


def _over(lost: Tensor, x: Tensor) -> Tensor:
    """lost[member] against x, whose leading dimensions are those of the batch."""
    front = next((k for k in range(x.dim() + 1) if x.shape[:k].numel() == len(lost)), 0)
    return lost.reshape(*x.shape[:front], *[1] * (x.dim() - front))
