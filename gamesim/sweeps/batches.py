"""Runs that differ only in seed or in continuous parameters of the solver, as one tensor batch.

A parameter is continuous where its type allows a tensor (`float | Tensor`), inside schedules and other choices, too.
Zero stands alone, since it often switches something off. What a batch is depends on the plan alone, never on who does
the work or on what is finished.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from gamesim.errors import InvalidInput
from gamesim.parameters import hints_of, plain
from gamesim.sweeps.plans import Planned, plain_settings


@dataclass(frozen=True)
class Batch:
    """Runs done together; their rows are in the order of `runs`."""

    name: str
    runs: tuple[Planned, ...]
    log: tuple[str, ...] = ()
    """Tools that are told, as `--log` of `gamesim run` names them."""

    def alone(self) -> "list[Batch]":
        """Each run as a batch of its own: where one of them raises, the others are not lost."""
        return [Batch(f"{self.name}.{run.name}", (run,), self.log) for run in self.runs]


def batched(runs: Sequence[Planned], prefix: str = "b", log: Sequence[str] = ()) -> list[Batch]:
    """The batches of a plan, in the order of their first runs."""
    from gamesim.sweeps.work import built_solver

    groups, shapes = dict[str, list[list[Planned]]](), dict[Any, str]()
    for run in runs:
        said = (run.solver, *run.s.items())
        if said not in shapes:
            shapes[said] = json.dumps(shape_of(built_solver(run)))
        key = json.dumps([run.game, sorted(run.g.items()), run.solver, shapes[said], plain_settings(run.settings)])
        found = groups.setdefault(key, [[]])
        if len(found[-1]) == run.settings.batch:
            found.append([])
        found[-1].append(run)
    chosen = [part for found in groups.values() for group in found for part in _stackable(group)]
    chosen.sort(key=lambda group: group[0].name)
    width = len(str(len(chosen) - 1))
    return [Batch(f"{prefix}{i:0{width}d}", tuple(group), tuple(log)) for i, group in enumerate(chosen)]


def _stackable(group: list[Planned]) -> list[list[Planned]]:
    """The group, or one group for each solver where their stack is refused."""
    from gamesim.sweeps.work import built_solver

    by_solver = dict[Any, list[Planned]]()
    for run in group:
        by_solver.setdefault(tuple(run.s.items()), []).append(run)
    try:
        stack([built_solver(part[0]) for part in by_solver.values()])
    except InvalidInput:
        return list(by_solver.values())
    return [group]


def shape_of(thing: Any) -> Any:
    """A solver as JSON data with `*` for every number that a tensor may take the place of."""
    if not dataclasses.is_dataclass(thing) or isinstance(thing, type):
        return plain(thing)
    data = {"kind": f"{type(thing).__module__}:{type(thing).__qualname__}"}
    for field in dataclasses.fields(thing):
        if field.init:
            value = getattr(thing, field.name)
            data[field.name] = "*" if _continuous(type(thing), field.name, value) else shape_of(value)
    return data


def _continuous(cls: type, name: str, value: Any) -> bool:
    return isinstance(value, float) and value != 0 and _mentions_tensor(hints_of(cls).get(name))


def _mentions_tensor(hint: Any) -> bool:
    return hint is Tensor or any(_mentions_tensor(part) for part in get_args(hint) if part is not None)


def stack(solvers: Sequence[Any]) -> Any:
    """One solver whose numbers that differ are tensors, one entry for each of these solvers of the same shape."""
    first = solvers[0]
    changed = dict[str, Any]()
    for field in dataclasses.fields(first) if dataclasses.is_dataclass(first) else ():
        values = [getattr(solver, field.name) for solver in solvers]
        if not field.init:
            continue
        if _continuous(type(first), field.name, values[0]):
            if any(value != values[0] for value in values):
                changed[field.name] = torch.tensor(values, dtype=torch.float64)
        elif dataclasses.is_dataclass(values[0]):
            inner = stack(values)
            if inner is not values[0]:
                changed[field.name] = inner
    return dataclasses.replace(first, **changed) if changed else first
