"""Learning of many seeds: FTRL with all steps in one call, per seed and step; part of the suite `matrix`.

A seed-step is one update of all players of one seed. The bars are those of 1,000 seeds of bandit FTRL on a 3 x 3 game,
2e8 of them a second compiled and 2e7 in numpy. The roofline counts the vector instructions of such a step, moves left
out, and times as many of the cheapest there are, integer additions and exclusive ors in registers, in the same process.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from gamesim.algorithms.ftrl import FTRL
from gamesim.benchmarks.timing import Row, interleaved, repeated, row
from gamesim.feedback import Bandit
from gamesim.games import MatrixGame
from gamesim.kernels import fused, learning
from gamesim.randomness import Stream
from gamesim.schedules import Power
from gamesim.simplex import uniform_like
from gamesim.states import expanded

SEEDS = 1_000
COMPILED, NUMPY = 2e8, 2e7
STEP_SIZE, EXPLORATION = Power(0.1, 0.8, 10.0), Power(0.5, 0.4)
OPERATIONS = 306
"""Of bandit entropic FTRL on a 3 x 3 game: 122 for random numbers, 110 for the policies, 74 for playing and scores."""
SINGLE, DOUBLE = torch.float32, torch.float64


def rows() -> Iterator[Row]:
    """Rows as they are measured; ours and peer are seconds per seed-step."""
    yield from main_job()
    for regularizer in ("euclidean", "tsallis", "log-barrier"):
        yield other(f"{regularizer}", regularizer=regularizer)
    yield other("tsallis(0.3)", regularizer="tsallis", parameter=0.3)
    yield other("realised", feedback="realised")
    yield other("exact", feedback="exact")
    yield other("watched", watched=True)
    yield other("1000-games", games=SEEDS)
    yield other("float64", dtype=DOUBLE)
    yield other("2x2", counts=(2, 2))
    yield other("3x3x3", counts=(3, 3, 3))
    yield other("10x10", counts=(10, 10))
    yield other("100x100/exact", counts=(100, 100), steps=20, feedback="exact")


def main_job() -> Iterator[Row]:
    """The job with bars, the plain solver, the roofline and OpenSpiel, side by side."""
    steps, few = 2_000, 20
    game = MatrixGame(torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 3))).float())
    solver, stream = FTRL(STEP_SIZE, feedback=Bandit(EXPLORATION)), Stream(range(SEEDS))
    words = np.arange(256, dtype=np.uint32)
    spins = 10_000

    def plain() -> None:
        with fused(False):
            state = expanded(solver.init(game), (SEEDS,))
            for t in range(few):
                state = solver.step(t, game, state, stream.at(t))

    contestants: dict[str, Callable[[], object]] = {
        "compiled": job(steps=steps),
        "numpy": job(steps=steps // 10, compiled=False),
        "torch": plain,
        "spin": lambda: learning.spin(words, spins),
    }
    replicator = openspiel(game)
    if replicator is not None:
        contestants["openspiel"] = repeated(replicator, few)
    seconds = interleaved(contestants)
    ours, slow = seconds["compiled"] / (SEEDS * steps), seconds["numpy"] / (SEEDS * steps // 10)
    note = f"{SEEDS:,} seeds of bandit entropic FTRL, 3 x 3, float32"
    yield row("learn/compiled", ours, 1 / COMPILED, 1.0, f"{note}: {1 / ours:.3g} seed-steps/s; bar {COMPILED:g}")
    yield row("learn/numpy", slow, 1 / NUMPY, 1.0, f"{note}: {1 / slow:.3g} seed-steps/s; bar {NUMPY:g}")
    twin = seconds["torch"] / (SEEDS * few)
    yield row("learn/torch", ours, twin, None, f"{note}: the plain solver, {1 / twin:.3g} seed-steps/s")
    limit = OPERATIONS * seconds["spin"] / (256 * len(words) * spins)
    share = f"{limit / ours:.0%} of {1 / limit:.3g} seed-steps/s"
    yield row("learn/roofline", ours, limit, None, f"{note}: {share}, at {OPERATIONS} operations each")
    if replicator is None:
        yield row("learn/openspiel", ours, None, None, "open_spiel is not installed; about 2e4 updates/s elsewhere")
    else:
        theirs = seconds["openspiel"] / few
        yield row("learn/openspiel", ours, theirs, None, f"its replicator dynamics: {1 / theirs:.3g} updates/s")


def other(name: str, **options: Any) -> Row:
    """The compiled loops and numpy on another job."""
    steps = options.pop("steps", 500)
    contestants = {"ours": job(steps=steps, **options), "numpy": job(steps=steps // 20, compiled=False, **options)}
    seconds = interleaved(contestants, rounds=5)
    ours, slow = seconds["ours"] / (SEEDS * steps), seconds["numpy"] / (SEEDS * (steps // 20))
    note = f"{1 / ours:.3g} seed-steps/s; peer is numpy, {1 / slow:.3g}"
    return row(f"learn/{name}", ours, slow, None, note)


def job(
    counts: tuple[int, ...] = (3, 3), dtype: torch.dtype = SINGLE, games: int = 1, feedback: str = "bandit",
    steps: int = 500, watched: bool = False, **options: Any,
) -> Callable[[], object]:  # fmt: skip
    """So many steps of all seeds, in one call."""
    payoffs = torch.from_numpy(np.random.default_rng(0).standard_normal((games, len(counts), *counts))).to(dtype)
    scores = tuple(torch.zeros(SEEDS, a, dtype=dtype) for a in counts)
    keys, game = Stream(range(SEEDS)).keys, torch.arange(SEEDS) % games
    gamma, eps = ([schedule(t) for t in range(steps)] for schedule in (STEP_SIZE, EXPLORATION))
    watch = learning.Watch(tuple(uniform_like(y[0]) for y in scores), 0.5) if watched else None

    def run() -> object:
        return learning.learn(payoffs, scores, keys, gamma, eps, feedback=feedback, game=game, watch=watch, **options)

    return run


def openspiel(game: MatrixGame) -> Callable[[], object] | None:
    """One step of OpenSpiel's replicator dynamics on the game, where it is installed."""
    if find_spec("open_spiel") is None:
        return None
    from open_spiel.python.egt import dynamics

    motion = dynamics.MultiPopulationDynamics(game.payoffs.double().numpy(), dynamics.replicator)
    policy = np.full(6, 1 / 3)
    return lambda: policy + 0.01 * motion(policy)
