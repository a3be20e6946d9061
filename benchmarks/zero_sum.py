"""Zero-sum games with standard normal payoffs: exact and first-order solvers against LP solvers and QuantEcon.

Exact are the solvers that return a vertex; Clarabel stops at a gap of about 1e-8.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from gamesim.benchmarks.timing import Row, interleaved, repeated, row
from gamesim.equilibria.zero_sum import solve_zero_sum

GAMES = 10_000


def rows() -> Iterator[Row]:
    """Rows as they are measured; a ratio above 1 is in our favour."""
    yield from batch()
    yield from exact(100, rounds=15, seconds=1.5e-3, bar=None)
    yield from exact(500, rounds=3, seconds=None, bar=1.0)
    yield from large()


def batch() -> Iterator[Row]:
    """Thousands of small games in one call, per game, against QuantEcon's loop over them."""
    games = np.random.default_rng(10).standard_normal((GAMES, 10, 10))
    contestants: dict[str, Callable[[], object]] = {"ours": lambda: solve_zero_sum(games)}
    if minmax := quantecon():
        contestants["quantecon"] = lambda: [minmax(game) for game in games]
    seconds = interleaved(contestants, rounds=3)
    ours, note = seconds["ours"] / GAMES, f"{GAMES} games 10 x 10, exact: seconds per game"
    yield row("zero-sum/10/seconds", ours, 1e-5, 1.0, f"{note}; the bar is 1e-5")
    if "quantecon" in seconds:
        yield row("zero-sum/10/quantecon", ours, seconds["quantecon"] / GAMES, None, note)
    else:
        yield row("zero-sum/10/quantecon", ours, None, None, "quantecon is not installed")


def exact(n: int, rounds: int, seconds: float | None, bar: float | None) -> Iterator[Row]:
    """One game n x n against every exact peer, and against an absolute bar."""
    A = np.random.default_rng(n).standard_normal((n, n))
    times = max(1, (300 // n) ** 2)
    contestants: dict[str, Callable[[], object]] = {
        "ours": repeated(lambda: solve_zero_sum(A), times),
        "highs-ds": lambda: by_scipy(A, "highs-ds"),
        "highs-ipm": lambda: by_scipy(A, "highs-ipm"),
        "clarabel": clarabel(A),
    }
    if minmax := quantecon():
        contestants["quantecon"] = repeated(lambda: minmax(A), times)
    found = interleaved(contestants, rounds)
    ours = found.pop("ours") / times
    note = f"{n} x {n}, exact"
    if seconds is not None:
        yield row(f"zero-sum/{n}/seconds", ours, seconds, 1.0, f"{note}; the bar is {seconds} s")
    for name, theirs in found.items():
        yield row(f"zero-sum/{n}/{name}", ours, theirs / times if name == "quantecon" else theirs, bar, note)
    if "quantecon" not in found:
        yield row(f"zero-sum/{n}/quantecon", ours, None, None, "quantecon is not installed")


def large() -> Iterator[Row]:
    """1,000 x 1,000: a gap of 1e-6 of the payoff range by first-order steps, and the exact solution."""
    A = np.random.default_rng(1000).standard_normal((1000, 1000))
    spread = A.max() - A.min()
    seconds = interleaved({m: lambda m=m: solve_zero_sum(A, m) for m in ("first-order", "auto")}, rounds=3)  # type: ignore[misc]
    gap = float(solve_zero_sum(A, "first-order").gap) / spread
    note = f"1,000 x 1,000, predictive regret matching+ to a gap of {gap:.1e}; the bar is a second"
    yield row("zero-sum/1000/first-order", seconds["first-order"], 1.0, 1.0, note)
    gap = float(solve_zero_sum(A).gap) / spread
    note = f"1,000 x 1,000, exact, a gap of {gap:.1e}; held against a second"
    yield row("zero-sum/1000/exact", seconds["auto"], 1.0, None, note)


def by_scipy(A: Any, method: str) -> float:
    """The value by one LP of scipy; its dual prices are the other player's strategy."""
    from scipy.optimize import linprog

    m, n = A.shape
    found = linprog(
        np.append(np.zeros(n), 1.0),
        A_ub=np.column_stack([A, -np.ones(m)]),
        b_ub=np.zeros(m),
        A_eq=np.append(np.ones(n), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * n + [(None, None)],
        method=method,
    )
    return float(found.fun)


def clarabel(A: Any) -> Callable[[], float]:
    """The same LP by Clarabel, called directly."""
    from scipy.sparse import csc_array

    solver, (m, n) = import_module("clarabel"), A.shape
    M = np.block([[np.ones((1, n)), np.zeros((1, 1))], [A, -np.ones((m, 1))], [-np.eye(n), np.zeros((n, 1))]])
    b = np.append(1.0, np.zeros(m + n))
    cones = [solver.ZeroConeT(1), solver.NonnegativeConeT(m + n)]
    settings = solver.DefaultSettings()
    settings.verbose = False

    def solve() -> float:
        nothing, q = csc_array((n + 1, n + 1)), np.append(np.zeros(n), 1.0)
        found = solver.DefaultSolver(nothing, q, csc_array(M), b, cones, settings).solve()
        return float(found.obj_val)

    return solve


def quantecon() -> Any:
    """QuantEcon's minmax, or None where it is not installed."""
    return import_module("quantecon.optimize").minmax if find_spec("quantecon") else None
