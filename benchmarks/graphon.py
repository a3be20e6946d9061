"""The suite `graphon`: how much faster than plain loops, what a batch saves, MFGLib, and a million positions."""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import torch

from gamesim.algorithms import GMFGPPO, FixedPoint, OnlineMirrorDescent
from gamesim.benchmarks import plain_loops
from gamesim.benchmarks.timing import Row, interleaved, repeated, row
from gamesim.diagnosis import OPTIONAL
from gamesim.envs import SIS, Beach, BeachBar
from gamesim.games import GraphonGame
from gamesim.graphons import Dense, Exponential, LowRank, UniformAttachment
from gamesim.kernels import fused
from gamesim.loop import Solver
from gamesim.randomness import Stream
from gamesim.schedules import Constant

PAPER, TIMED = 101, 11
"""Positions of the papers' runs, and those at which the plain loops are timed (their cost grows with the square)."""
TEMPERATURE = 0.101
PUBLISHED = "public code at 101 positions: 17.9 + 30.7 CPU seconds (update + exploitability), measured elsewhere"


def suite() -> Iterator[Row]:
    """Rows as they are measured."""
    yield from against_loops()
    yield batch_of_games()
    yield from fused_against_torch()
    yield against_mfglib()
    yield from million_positions()


def stepper(game: GraphonGame, solver: Solver, times: int = 1) -> Callable[[], None]:
    """A call that does so many iterations from the start, without measuring."""
    stream = Stream(0)

    def run() -> None:
        state = solver.init(game)
        for t in range(times):
            state = solver.step(t, game, state, stream)

    return run


def against_loops() -> Iterator[Row]:
    """A fixed-point iteration and an exploitability at the paper's size against plain loops of the same arithmetic."""
    game, small = (SIS(positions=k, quadrature="endpoint", graphon=UniformAttachment()) for k in (PAPER, TIMED))
    alphas, start = np.linspace(0, 1, TIMED), np.full((TIMED, game.horizon, 2, 2), 0.5)

    def w(x: float, y: float) -> float:
        return 1 - max(x, y)

    solver, stream = FixedPoint(TEMPERATURE), Stream(0)
    played, played_small = solver.init(game), solver.init(small)
    ours = float(small.exploitability(solver.step(0, small, played_small, stream).policy))
    answer = plain_loops.iterate(w, alphas, start, TEMPERATURE)
    flow = plain_loops.forward(w, alphas, answer)
    theirs = plain_loops.exploitability(w, alphas, flow, answer)
    agree = f"same numbers at {TIMED} positions to {abs(ours - theirs):.0e}"
    scale = (PAPER / TIMED) ** 2
    for name, on, bar in (("torch", False, 1000.0), ("fused", True, None)):
        with fused(on):
            seconds = interleaved(
                {
                    "step": repeated(lambda: solver.step(0, game, played, stream), 20),
                    "gap": repeated(lambda: game.exploitability(played.policy), 20),
                    "their step": lambda: plain_loops.iterate(w, alphas, start, TEMPERATURE),
                    "their gap": lambda: plain_loops.exploitability(w, alphas, flow, answer),
                },
                rounds=5,
            )
        step, gap = seconds["step"] / 20, seconds["gap"] / 20
        their_step, their_gap = seconds["their step"] * scale, seconds["their gap"] * scale
        note = f"SIS, {PAPER} positions; loops timed at {TIMED}, scaled by {scale:.1f}; {agree}; {PUBLISHED}"
        yield row(f"loops/{name}/update", step, their_step, bar, note)
        yield row(f"loops/{name}/update+exploitability", step + gap, their_step + their_gap, bar, note)


def batch_of_games() -> Row:
    """100 games of 51 positions as one torch batch against one at a time."""
    count, k = 100, 51
    batch = SIS(positions=k, infection=torch.linspace(0.3, 0.9, count, dtype=torch.float64), graphon=Exponential(3.0))
    alone = SIS(positions=k, infection=0.6, graphon=Exponential(3.0))
    solver = GMFGPPO()
    with fused(False):
        seconds = interleaved({"batch": stepper(batch, solver, 3), "alone": stepper(alone, solver, 3)})
    return row(
        "batch/100-games",
        seconds["batch"] / count / 3,
        seconds["alone"] / 3,
        6.0,
        "GMFG-PPO, seconds per game and iteration, torch alone",
    )


def fused_against_torch() -> Iterator[Row]:
    """A GMFG-PPO iteration with the fused kernels against the same in plain torch."""
    solver = GMFGPPO()
    games: dict[str, GraphonGame] = {
        "sis-11": SIS(positions=11), "sis-101": SIS(positions=101),
        "sis-1000-rank": SIS(positions=1000, graphon=Exponential(3.0)),
        "beach-10": Beach(positions=10), "beach-100": Beach(positions=100),
    }  # fmt: skip
    peak = gemm_rate()
    for name, game in games.items():
        with fused(True):
            quick = stepper(game, solver, 10)
        seconds = interleaved({"fused": _with(True, quick), "torch": _with(False, stepper(game, solver, 10))})
        flops = arithmetic(game)
        limit = flops / peak
        ours = seconds["fused"] / 10
        yield row(
            f"fused/{name}",
            ours,
            seconds["torch"] / 10,
            None,
            f"{flops / 1e6:.1f} Mflop: {ours / limit:.1f} times the arithmetic limit at {peak / 1e9:.0f} GF/s",
        )


def _with(on: bool, call: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        with fused(on):
            call()

    return run


def arithmetic(game: GraphonGame) -> float:
    """Flops of one iteration: aggregates as the operator does them, push and backup with P dense, 25 a policy entry."""
    *_, k, s, a = game.shape
    match game.operators[0]:
        case LowRank(left, _):
            width = 4.0 * left.shape[-1]
        case Dense(_):
            width = 2.0 * k
        case _:  # a few running sums for each position
            width = 6.0
    return game.horizon * (k * s * width + 4.0 * k * s * a * s + 25.0 * k * s * a)


def gemm_rate() -> float:
    """float64 flops per second of a matrix product here."""
    x = torch.rand(600, 600, dtype=torch.float64)
    return 2 * 600**3 / interleaved({"gemm": lambda: x @ x})["gemm"]


def against_mfglib() -> Row:
    """An online mirror descent step on MFGLib's beach bar with 100 places, if it is installed."""
    game = BeachBar(variant="mfglib", places=100, horizon=16)
    solver = OnlineMirrorDescent(Constant(0.1))
    stream, state = Stream(0), solver.init(game)
    contestants = {"ours": repeated(lambda: solver.step(0, game, state, stream), 5)}
    try:
        from gamesim.benchmarks.peers import mfglib_step

        contestants["peer"] = repeated(mfglib_step(100, 15), 5)
        note = "one OMD step, float64 against its float32"
    except ImportError:
        note = f"mfglib is not installed: {OPTIONAL['mfglib']}"
    seconds = interleaved(contestants)
    return row(
        "mfglib/beach-bar-100", seconds["ours"] / 5, seconds["peer"] / 5 if "peer" in seconds else None, 5.0, note
    )


MILLION = """
import json, resource, sys, time
import torch
torch.set_num_threads(1)
from gamesim.algorithms import GMFGPPO
from gamesim.envs import SIS
from gamesim.graphons import Exponential
from gamesim.loop import solve
found = {}
for k in (10_000, 1_000_000):
    game = SIS(positions=k, graphon=Exponential(3.0), operator="low-rank")
    started = time.perf_counter()
    result = solve(game, GMFGPPO(), iterations=10, every=10)
    gap, rank = float(result.exploitability[0, -1]), game.operators[0].left.shape[-1]
    found[k] = {"seconds": time.perf_counter() - started, "exploitability": gap, "rank": rank}
    del result, game
found["gigabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps(found))
"""


def million_positions() -> Iterator[Row]:
    """Ten iterations of SIS with 10^6 positions, in a process of its own so that its memory can be told."""
    asked = subprocess.run([sys.executable, "-c", MILLION], capture_output=True, text=True, timeout=1800, check=False)
    if asked.returncode:
        yield row("million/memory", math.inf, None, None, "failed: " + asked.stderr.strip().rpartition("\n")[2]) | {
            "ours": 0.0,
            "holds": False,
        }
        return
    found = json.loads(asked.stdout)
    big, small = found["1000000"], found["10000"]
    difference = abs(big["exploitability"] - small["exploitability"])
    note = (
        f"SIS, 10^6 positions, horizon 50, exp graphon at rank {big['rank']}, ten iterations in {big['seconds']:.0f} s"
    )
    yield row("million/gigabytes", found["gigabytes"], 16.0, 1.0, f"peak memory against 16 GB; {note}")
    yield row(
        "million/exploitability",
        difference,
        1e-6,
        1.0,
        f"difference from 10^4 positions against 1e-6; {note}",
        ratio=1e-6 / max(difference, 1e-300),
    )
