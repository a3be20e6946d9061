"""Zero-sum stochastic games by Shapley iteration: every stage game of a sweep in one call, against LPs one by one.

Games are random, rewards standard normal and laws of the next state uniform on the simplex, discount 0.95; soccer is
Littman's.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamesim.benchmarks.timing import Row, interleaved, row
from gamesim.benchmarks.zero_sum import by_scipy, quantecon
from gamesim.envs.stochastic.soccer import Soccer
from gamesim.equilibria.shapley import begin, solve_shapley, stage_payoffs, sweep
from gamesim.games import StochasticGame

STATES, ACTIONS, DISCOUNT = 100, 5, 0.95


def rows() -> Iterator[Row]:
    """Rows as they are measured; a ratio above 1 is in our favour."""
    yield from solved()
    yield from value_iteration()
    yield from agreement()
    yield from many()
    yield from soccer()


def solved() -> Iterator[Row]:
    """From the game to values, policies and the exact gap of these."""
    game = random_game(STATES)
    note = f"S = {STATES}, A = {ACTIONS}, to 1e-6, the exact gap included; the bar is 0.1 s"
    ways: dict[str, Any] = {
        m: lambda m=m: solve_shapley(game, 1e-6, m).gap for m in ("policy-iteration", "value-iteration")
    }
    for method, seconds in interleaved(ways, rounds=15).items():
        sweeps = solve_shapley(game, 1e-6, method).sweeps  # type: ignore[arg-type]
        yield row(f"shapley/{method}/seconds", seconds, 0.1, 1.0, f"{note}; {sweeps} sweeps")


def value_iteration() -> Iterator[Row]:
    """Shapley's iteration with his own bound: the same sweeps for everybody, and what differs is who solves a stage."""
    game = random_game(STATES)
    payoffs, transition = game.reward[0].numpy(), game.law.dense().unflatten(-2, game.action_counts).numpy()

    def one_by_one(value: Callable[[Any], float], sweeps: int | None = None) -> int:
        V, count = np.zeros(STATES), 0
        while True:
            last, V, count = V, np.array([value(A) for A in payoffs + transition @ V]), count + 1
            if DISCOUNT / (1 - DISCOUNT) * np.abs(V - last).max() <= 1e-6 or count == sweeps:
                return count

    sweeps = plainly(game)
    contestants: dict[str, Callable[[], object]] = {"ours": lambda: plainly(game)}
    if minmax := quantecon():
        contestants["quantecon"] = lambda: one_by_one(lambda A: float(minmax(A)[0]))
    found = interleaved(contestants, rounds=5)
    scipy = interleaved({"scipy": lambda: one_by_one(lambda A: by_scipy(A, "highs-ds"), sweeps=2)}, rounds=1)["scipy"]
    ours, note = found["ours"], f"S = {STATES}, A = {ACTIONS}, to 1e-6 by delta / (1 - delta) |V' - V|: {sweeps} sweeps"
    yield row("shapley/plain/seconds", ours, 0.1, 1.0, f"{note}; the bar is 0.1 s")
    peer = found.get("quantecon")
    yield row("shapley/plain/quantecon", ours, peer, None, note if peer else "quantecon is not installed")
    yield row("shapley/plain/scipy", ours, scipy * sweeps / 2, None, f"{note}; scipy's by two of them")


def plainly(game: StochasticGame) -> int:
    """Sweeps until Shapley's bound is 1e-6."""
    at, count = begin(game), 0
    while True:
        last, at, count = at, sweep(game, at, "value-iteration"), count + 1
        if DISCOUNT / (1 - DISCOUNT) * float((at.values - last.values).abs().amax()) <= 1e-6:
            return count


def agreement() -> Iterator[Row]:
    """How far values that were run on to 1e-10 are from those of scipy: |V - V*| <= |T V - V| / (1 - delta)."""
    game = random_game(STATES)
    found = solve_shapley(game, 1e-10)
    stages = stage_payoffs(game, found.values).numpy()
    off = max(abs(by_scipy(A, "highs-ds") - v) for A, v in zip(stages, found.values.tolist(), strict=True))
    note = f"bound on the distance from the solution by LPs, gap {float(found.gap):.1e}; the bar is 1e-8"
    yield row("shapley/100/agreement", off / (1 - DISCOUNT), 1e-8, 1.0, note)


def many() -> Iterator[Row]:
    """A thousand games in one call."""
    games = random_game(1000, 10, actions=3)
    seconds = interleaved({"ours": lambda: solve_shapley(games, 1e-9)}, rounds=3)["ours"] / 1000
    yield row("shapley/batch/seconds", seconds, None, None, "1,000 games, S = 10, A = 3, to 1e-9: seconds per game")


def soccer() -> Iterator[Row]:
    """Littman's game, with the few states that can follow."""
    game = Soccer()
    _ = game.law
    seconds = interleaved({"ours": lambda: solve_shapley(game, 1e-8)}, rounds=3)["ours"]
    found = solve_shapley(game, 1e-8)
    note = f"S = {game.state_count}, to 1e-8, {found.sweeps} sweeps, gap {float(found.gap):.1e}; the bar is a second"
    yield row("shapley/soccer/seconds", seconds, 1.0, 1.0, note)


def random_game(*sizes: int, actions: int = ACTIONS) -> StochasticGame:
    """[..., s] games, always the same."""
    rng = np.random.default_rng(0)
    shape = (*sizes, actions, actions)
    R = torch.from_numpy(rng.standard_normal(shape))
    P: Tensor = torch.from_numpy(rng.dirichlet(np.ones(sizes[-1]), size=shape))
    return StochasticGame(torch.stack([R, -R], -4), P, discount=DISCOUNT, player_count=2)
