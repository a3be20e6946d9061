"""What is told of a run: the same names and numbers to every tool.

    a single run          exploitability
    a batch               exploitability/mean, /q25, /median, /q75, and of at most 8 members exploitability/seed_3, ...

over the members whose value is finite; `exploitability/not_finite` counts the others where there are any. `seed` is
that of trace.csv. No number that is not finite is ever told.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch

from gamesim.files import to_json
from gamesim.loop import Run
from gamesim.parameters import plain
from gamesim.reporting.kinds import Point, Value
from gamesim.traces import Trace, rises

FEW = 8
"""Members of a batch that are told of one by one, at most."""
LONGEST = 250
"""Letters of a parameter; longer ones are cut."""
PASSWORD = re.compile(r"(://)[^/@\s]*@")
PLACES = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)


def newest_points(trace: Trace) -> list[Point]:
    """The points of the newest measure."""
    found, members = list[Point](), dict[str, list[tuple[int, float]]]()
    for _, seed, metric, value in trace.rows(last=True):
        members.setdefault(metric, []).append((seed, value))
    for metric, rows in members.items():
        found += [Point(trace.iterations[-1], name, x) for name, x in _summarized(metric, rows)]
    return found


def all_points(trace: Trace) -> list[Point]:
    """The points of every measure so far."""
    found = list[Point]()
    for i in range(len(trace.iterations)):
        measures = {name: [x[i]] for name, x in trace.metrics.items()}
        found += newest_points(Trace([trace.iterations[i]], measures, trace.first_seed))
    return found


def _summarized(metric: str, rows: list[tuple[int, float]]) -> list[tuple[str, float]]:
    finite = [x for _, x in rows if math.isfinite(x)]
    found = list[tuple[str, float]]()
    if finite and len(rows) == 1:
        found.append((metric, finite[0]))
    elif finite:
        values = torch.tensor(finite, dtype=torch.float64)
        quartiles = torch.quantile(values, PLACES).tolist()
        found.append((f"{metric}/mean", float(values.mean())))
        found += [(f"{metric}/{name}", x) for name, x in zip(("q25", "median", "q75"), quartiles, strict=True)]
        if len(rows) <= FEW:
            seeds = [seed for seed, _ in rows]
            names = seeds if len(set(seeds)) == len(seeds) else range(len(rows))  # the same seed may stand twice
            found += [(f"{metric}/seed_{i}", x) for i, (_, x) in zip(names, rows, strict=True) if math.isfinite(x)]
    if len(finite) < len(rows):
        found.append((f"{metric}/not_finite", float(len(rows) - len(finite))))
    return found


def ending(run: Run) -> dict[str, Value]:
    """How it ended: the last, first and best of every metric, means over the members that are finite."""
    found: dict[str, Value] = {"status": run.status.label, "message": run.status.value}
    found |= {"iterations": run.iteration, "seconds": round(run.seconds, 6)}
    adding = getattr(run.state, "metrics", {})  # what adds up along a run is best read at its end
    for metric, values in run.trace.metrics.items():
        means = [float(x[x.isfinite()].mean()) for x in values if bool(x.isfinite().any())]
        if means:
            best = means[-1] if metric in adding else (max if rises(metric) else min)(means)
            found |= {f"{metric}/first": means[0], f"{metric}/last": means[-1], f"{metric}/best": best}
    return found


def parameters_of(config: Mapping[str, Any]) -> dict[str, Value]:
    """A run's config.json as names and values: game.positions, solver.step_size.value, seeds, ...; no passwords."""
    found = dict[str, Value]()
    for part in ("game", "solver"):
        found[part] = _short(config[part]["id"])
        found |= _flat(part, {k: v for k, v in config[part]["parameters"].items() if k != "kind"})
    others = {k: v for k, v in config.items() if k not in ("game", "solver", "command", "versions", "commit")}
    for name, value in others.items():
        found |= _flat(name, value)
    return found


def _flat(name: str, value: Any) -> dict[str, Value]:
    value = plain(value)
    if isinstance(value, dict):
        found = dict[str, Value]()
        for key, inner in value.items():
            if key == "kind":
                found[name] = str(inner).rpartition(":")[2]
            else:
                found |= _flat(f"{name}.{key}", inner)
        return found
    return {name: _short(value)}


def _short(value: Any) -> Value:
    if isinstance(value, bool | int | float):
        return value
    text = "none" if value is None else value if isinstance(value, str) else " ".join(to_json(value).split())
    text = PASSWORD.sub(r"\1", text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
