"""Stationary equilibria of random general-sum games, judged by best responses, against what sgamesolver takes.

Rewards are standard normal, transitions uniform on the simplex, the discount is 0.95. sgamesolver 1.0.2
needs NumPy 1 and is not run here: its CPU seconds are those of its QRE homotopy on one core, at gains of up to 5e-4.
"""

import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch

from gamesim.benchmarks.timing import Row, row
from gamesim.equilibria.stationary import find_stationary
from gamesim.games.stochastic import StochasticGame

SEEDS = 10
PEER = {(4, 2, 2): 0.06, (16, 4, 2): 1.3, (64, 4, 2): 31.9, (16, 4, 3): 5.5, (8, 3, 4): 0.93}
"""Seconds of sgamesolver by states, actions and players."""
BAR = (64, 4, 2)
SECONDS = 30.0
GAIN = 1e-6


def rows() -> Iterator[Row]:
    """Rows as they are measured; a ratio above 1 is in our favour."""
    for (states, actions, players), theirs in PEER.items():
        seconds, gains = solved(states, actions, players)
        name = f"stationary/{states}x{actions}x{players}"
        share = f"{sum(gain <= GAIN for gain in gains)} of {SEEDS} games to a gain of {GAIN:g}"
        note = f"S={states}, A={actions}, N={players}, {share}, worst {max(seconds):.2f} s"
        yield row(f"{name}/sgamesolver", statistics.median(seconds), theirs, None, f"{note}; median")
        if (states, actions, players) == BAR:
            yield row(f"{name}/seconds", max(seconds), SECONDS, 1.0, f"the slowest; the bar is {SECONDS:g} s")
            worst = max(max(gains), 1e-16)
            yield row(
                f"{name}/gain", worst, GAIN, 1.0, f"the largest over players, states and games; the bar is {GAIN:g}"
            )


def solved(states: int, actions: int, players: int) -> tuple[list[float], list[float]]:
    """CPU seconds and gains, game by game."""
    seconds, gains = [], []
    for seed in range(SEEDS):
        game = random_game(states, actions, players, seed)
        started = time.process_time()
        policy = find_stationary(game, tolerance=GAIN).policy
        seconds.append(time.process_time() - started)
        gains.append(float(game.gains(policy).max()))
    return seconds, gains


def random_game(states: int, actions: int, players: int, seed: int) -> StochasticGame:
    """Standard normal rewards, transitions drawn uniformly from the simplex."""
    rng, counts = np.random.default_rng(seed), (actions,) * players
    reward = torch.from_numpy(rng.standard_normal((players, states, *counts)))
    transition = torch.from_numpy(rng.dirichlet(np.ones(states), size=(states, *counts)))
    return StochasticGame(reward, transition, discount=0.95)
