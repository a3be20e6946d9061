"""Correlated equilibria: linear programs against OpenSpiel's, their hard cases, concave objectives, regret of play.

Payoffs are uniform on [0, 1]; games whose best profile is an equilibrium are left out, since they take no program at
all. OpenSpiel's meta-solvers ask for ECOS, which cvxpy no longer ships: they are given HiGHS instead.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import torch

from gamesim.benchmarks.timing import Row, interleaved, row
from gamesim.equilibria.correlated import correlated_equilibrium
from gamesim.equilibria.exact import Floats
from gamesim.equilibria.regret import swap_regret

GAMES = 6
SECONDS = 0.06  # for the best welfare of a game 30 x 30


def rows() -> Iterator[Row]:
    """Rows as they are measured; a ratio above 1 is in our favour."""
    yield from welfare((30, 30), bar=1.0)
    yield from welfare((8, 8, 8), bar=None)
    yield from welfare((5, 5, 5, 5), bar=None)
    yield from harder()
    yield from regret()


def drawn(counts: tuple[int, ...], games: int = GAMES) -> list[Floats]:
    """Games u[player, a1, ..., an] whose profile of the best welfare is no equilibrium."""
    found, seed = list[Floats](), 0
    while len(found) < games:
        u, seed = np.random.default_rng(seed).random((len(counts), *counts)), seed + 1
        best = np.unravel_index(u.sum(0).argmax(), counts)
        if any(np.moveaxis(u[i], i, -1)[best[:i] + best[i + 1 :]].max() > u[i][best] for i in range(len(counts))):
            found.append(u)
    return found


def welfare(counts: tuple[int, ...], bar: float | None) -> Iterator[Row]:
    """The best welfare of correlated and coarse correlated equilibria, against OpenSpiel."""
    games, size = drawn(counts), " x ".join(map(str, counts))
    for kind, meta_solver in (("correlated", "mwce"), ("coarse", "mwcce")):
        contestants: dict[str, Callable[[], object]] = {
            "ours": lambda kind=kind: [correlated_equilibrium(u, kind=kind) for u in games]  # type: ignore[misc]
        }
        if theirs := open_spiel(meta_solver):
            contestants["theirs"] = lambda theirs=theirs: [theirs(u) for u in games]  # type: ignore[misc]
        seconds = interleaved(contestants, rounds=3)
        ours, note = seconds["ours"] / len(games), f"{size}, mean of {len(games)} games, building included"
        if bar is not None:
            yield row(f"{kind}/{size}/seconds", ours, SECONDS, bar, f"{note}; the bar is {SECONDS} s")
        peer = seconds["theirs"] / len(games) if "theirs" in seconds else None
        yield row(f"{kind}/{size}/open_spiel", ours, peer, None, note if peer else "open_spiel is not installed")


def harder() -> Iterator[Row]:
    """Where hundreds of incentives bind, and objectives that are not linear."""
    games = drawn((30, 30), 2)
    jobs: dict[str, Callable[[], object]] = {
        "least-welfare": lambda: [correlated_equilibrium(u, sense="min") for u in games],
        "fair": lambda: [correlated_equilibrium(u, "fair") for u in games],
        "entropy": lambda: [correlated_equilibrium(u, "entropy") for u in games],
        "gini": lambda: [correlated_equilibrium(u, "gini") for u in games],
    }
    for name, seconds in interleaved(jobs, rounds=2).items():
        yield row(f"correlated/30 x 30/{name}", seconds / len(games), None, None, "30 x 30, seconds per game")


def regret() -> Iterator[Row]:
    """Swap regret of a thousand histories of a thousand rounds."""
    history = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (1000, 1000, 2)))
    u = drawn((3, 3), 1)[0]
    seconds = interleaved({"ours": lambda: swap_regret(u, history)}, rounds=3)["ours"]
    yield row("regret/swap", seconds / 1e6, None, None, "3 x 3, 1,000 histories x 1,000 rounds: seconds per round")


def open_spiel(meta_solver: str) -> Callable[[Floats], object] | None:
    """The meta-solver mwce or mwcce of OpenSpiel's JPSRO, where it is installed."""
    if find_spec("open_spiel") is None:
        return None
    jpsro = import_module("open_spiel.python.algorithms.jpsro")
    solve = getattr(jpsro, f"_{meta_solver}")
    jpsro.DEFAULT_ECOS_SOLVER_KWARGS.clear()
    jpsro.DEFAULT_ECOS_SOLVER_KWARGS.update(solver="HIGHS")
    return lambda u: solve(u, [np.ones(count, dtype=int) for count in u.shape[1:]])
