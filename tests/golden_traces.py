"""Golden traces: what every solver does on every game that it takes, kept, so that a change that moves it is seen.

    .venv/bin/python tests/golden_traces.py      # writes tests/golden/*.csv anew, and says what has drifted

A row is a metric of one short run, at iterations 0, 4 and 8; `policy` is a weighted sum over the last policy, which
sees what no metric does. The steps between are taken at once by solvers that can. Review the diff before it is kept.
"""

import csv
import math
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch

import gamesim as gs
from gamesim import catalog
from gamesim.running import random_start
from small_games import FAMILY, PAIRS, small, small_solver

FOLDER = Path(__file__).parent / "golden"
EVERY, ITERATIONS, SEED = 4, 8, 1
MEASURED = tuple(range(0, ITERATIONS + 1, EVERY))
HEADER = ("game", "solver", "options", "metric", *map(str, MEASURED))
STARTED = ("matrix", "graphon", "mean-field", "stochastic")
"""Families whose own start may be an equilibrium, where solvers stay: they begin at a random policy."""
QUICK: dict[str, dict[str, Any]] = {
    "independent-ppo": {"episodes": 8, "epochs": 2, "minibatches": 2, "hidden": (8,)},
    "independent-q-learning": {"episodes": 4},
}
"""What makes solvers that play episodes quick."""
VARIANTS: dict[str, list[tuple[str, str]]] = {
    "matrix/shapley": [
        *(("ftrl", f"feedback={x}") for x in ("bandit", "realised", "noisy(0.3)")),
        *(("ftrl", f"leader={x}") for x in ("optimistic", "extra-gradient", "generalized")),
        *(("ftrl", f"regularizer={x}") for x in ("euclidean", "tsallis", "log-barrier")),
        *(("extragradient", f"variant={x}") for x in ("past", "reflected", "optimistic")),
    ],
    "graphon/sis": [
        *(("gmfg-ppo", f"feedback={x}") for x in ("noisy(0.3)", "sampled")),
        *(("policy-mirror-descent", f"feedback={x}") for x in ("noisy(0.3)", "sampled")),
        ("online-mirror-descent", "optimal_values=true"),
        ("gmfg-ppo", "averaging_variant=frozen"),
    ],
    "stochastic/climate": [
        *(("policy-gradient", f"feedback={x}") for x in ("reinforce", "noisy(0.3)")),
        ("policy-gradient", "parametrization=softmax"),
        ("policy-gradient", "natural=true"),
        ("policy-gradient", "leader=optimistic"),
    ],
    "variational/bilinear": [
        ("extragradient", "feedback=noisy(0.3)"),
        ("gradient-descent-ascent", "order=alternating"),
    ],
}
"""Other ways of the solvers, each on one game."""

Case = tuple[str, str, str]
CASES: list[Case] = sorted(
    [(game, solver, "") for game, solver in PAIRS]
    + [(game, solver, options) for game, ways in VARIANTS.items() for solver, options in ways]
)


@cache
def game_of(name: str) -> Any:
    return small(name)


def solver_of(name: str, options: str = "") -> Any:
    """A quick solver; options as on the command line."""
    if options:
        return gs.make_solver(name, **dict([options.split("=", 1)]))
    return gs.make_solver(name, **QUICK[name]) if name in QUICK else small_solver(name)


def start_of(game: str, solver: str, seeds: list[int] | None = None, seed: int = SEED) -> Any:
    """Where a run begins, [seed, ...] if there are some; None for the game's own start."""
    own = FAMILY[game] not in STARTED or solver == "shapley-iteration"  # which begins with values, at no policy
    return None if own else random_start(game_of(game), seeds, seed)


def trace(case: Case) -> dict[str, list[float]]:
    """Every metric of a run at the iterations measured, and what stands for its last policy."""
    game, solver, options = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.Caution)
        result = gs.solve(
            game_of(game), solver_of(solver, options),
            iterations=ITERATIONS, every=EVERY, seed=SEED, start=start_of(game, solver),
        )  # fmt: skip
    found = {name: [float(v) for v in values] for name, values in result.trace.metrics.items()}
    parts = [p.detach().to("cpu", torch.float64).flatten() for p in result.policy]
    weighed = sum(float((p * torch.cos(torch.arange(len(p)) + float(i))).sum()) for i, p in enumerate(parts))
    return found | {"policy": [weighed]}


def read() -> dict[Case, dict[str, list[float]]]:
    """What is kept."""
    kept: dict[Case, dict[str, list[float]]] = {}
    for path in sorted(FOLDER.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        assert tuple(rows[0]) == HEADER, f"{path}: its first line is not {','.join(HEADER)}"
        for game, solver, options, metric, *values in rows[1:]:
            kept.setdefault((game, solver, options), {})[metric] = [float(x) for x in values if x]
    return kept


def tolerance(solver: str) -> float:
    """How far numbers of a solver may be from those kept, relative to the largest of the row."""
    return 1e-3 if "network" in getattr(catalog.find("solvers", solver), "__dataclass_fields__", {}) else 1e-9


def drifts(case: Case, kept: dict[str, list[float]], now: dict[str, list[float]]) -> Iterator[tuple[int, float, str]]:
    """(iteration, how far, words) of whatever is not as kept."""
    name = " ".join(filter(None, case))
    for metric in kept.keys() | now.keys():
        before, after = kept.get(metric, []), now.get(metric, [])
        if len(before) != len(after):
            yield 0, math.inf, f"{name}: {metric} has {len(after)} values, where {len(before)} are kept"
            continue
        scale = max([abs(x) for x in before if math.isfinite(x)], default=0.0)
        for t, x, y in zip(MEASURED if len(before) > 1 else (ITERATIONS,), before, after, strict=True):
            away = 0.0 if x == y or (math.isnan(x) and math.isnan(y)) else abs(x - y)
            if not away <= tolerance(case[1]) * scale + 1e-12:
                far = away / scale if scale else math.inf
                yield t, far, f"{name}: {metric} at iteration {t} is {y!r}, where {x!r} is kept ({far:.1e} of its size)"


def write(traces: dict[Case, dict[str, list[float]]]) -> None:
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.csv"):
        path.unlink()
    for family in sorted(set(FAMILY.values())):
        with (FOLDER / f"{family}.csv").open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(HEADER)
            for case, metrics in traces.items():
                if FAMILY[case[0]] == family:
                    out.writerows(_row(case, metric, values) for metric, values in metrics.items())


def _row(case: Case, metric: str, values: list[float]) -> list[str]:
    cells = [f"{x:.12g}" for x in values]
    return [*case, metric, *[""] * (len(MEASURED) - len(cells)), *cells]


def main() -> None:
    before, now = read(), {case: trace(case) for case in CASES}
    write(now)
    found = sorted(x for case in CASES if case in before for x in drifts(case, before[case], now[case]))
    print(
        f"{len(now)} traces in {FOLDER}: {len(now.keys() - before.keys())} new, {len(before.keys() - now.keys())} gone"
    )
    print(f"{len({words.partition(':')[0] for *_, words in found})} drifted" + ", the first of them:" * bool(found))
    print("\n".join(words for *_, words in found[:20]))


if __name__ == "__main__":
    sys.exit(main())
