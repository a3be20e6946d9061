"""sparse-bandit-regret: rewards that come of a few choices long before can be learned at the price of those few.

Qin, Li, Pasqualetti, Fazel and Oymak, "Stochastic contextual bandits with long horizon rewards", AAAI 2023, arXiv
2302.00814: if the reward of a round depends on s of the last h choices of contexts in R^d, sparsity allows a regret of
order sqrt(s d T), without h; a linear bandit that knows of the present choice alone has a linear one.

T = 6,400, d = 5, K = 10, at h = 50, s = 3 and h = 200, s = 4.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gamesim.algorithms.sparse_bandit import SparseBandit
from gamesim.charts import Chart, Panel
from gamesim.envs.bandits.long_horizon import LongHorizon
from gamesim.experiments.over_seeds import band, below, mean_interval, slope
from gamesim.loop import solve
from gamesim.study import Claim, Scale, Study, at_least, at_most

Lags = Literal["sparse", "present", "none"]
LAGS: Mapping[Lags, str] = {
    "sparse": "lags found",
    "present": "the present alone",
    "none": "chance",
}
REFERENCE: Mapping[tuple[int, int], Mapping[Lags, float]] = {
    (50, 3): {"sparse": 571, "present": 2715, "none": 4417},
    (200, 4): {"sparse": 702, "present": 2487, "none": 4427},
}
"""Regret at T = 6,400 in an independent simulation, each a mean of five runs."""
RUNS_OF_REFERENCE = 5
LENGTHS = (1600, 3200, 6400, 12_800)
EFFORT: Mapping[Scale, tuple[int, int]] = {"quick": (5, 2), "full": (10, 10)}
"""Seeds, and instances for each."""


@dataclass(frozen=True)
class SparseBanditRegret:
    """Regret against the number of rounds: with lags found, with the present one alone, and by chance."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        seeds, instances = EFFORT[scale]
        claims, rows, panels = list[Claim](), list[dict[str, object]](), list[Panel]()
        for (h, s), figures in REFERENCE.items():
            game = LongHorizon(horizon=h, sparsity=s, rounds=LENGTHS[-1], instance=tuple(range(instances)))
            regret, found = dict[Lags, Tensor](), 0.0
            for lags in LAGS:
                regret[lags], support = play(game, SparseBandit(lags=lags), seeds)
                rows += [
                    {
                        "h": h,
                        "s": s,
                        "lags": lags,
                        "T": T,
                        "seed": i,
                        "instance": j,
                        "regret": float(regret[lags][i, j, k]),
                    }
                    for k, T in enumerate(LENGTHS)
                    for i in range(seeds)
                    for j in range(instances)
                ]
                if lags == "sparse":
                    found = float(((game.weights > 0) <= (support > 0)).all(-1).double().mean())
                say(
                    f"  h = {h}, s = {s}, {lags}: {[round(x) for x in regret[lags].mean((0, 1)).tolist()]} at {LENGTHS}"
                )
            claims += judge(f"h{h}", regret, figures, found)
            x = [float(T) for T in LENGTHS]
            curves = [band(words, x, regret[lags].flatten(0, 1), dots=True) for lags, words in LAGS.items()]
            panels.append(Panel(f"h = {h}, s = {s}", "T", "regret", curves, log_x=True, theory={"root of T": 0.5}))
        notes = (
            f"Means over {seeds} seeds of contexts and noise times {instances} instances of lags, weights and theta. "
            "The scale of the contexts and the weights reproduces the reference's regret of chance; its noise is not "
            "stated, and is 0.1 here."
        )
        return Study(claims, [Chart("regret", panels)], rows, notes)


def play(game: LongHorizon, solver: SparseBandit, seeds: int) -> tuple[Tensor, Tensor]:
    """Regret[seed, instance, T] at the lengths, and the support[seed, instance, h] found in the end."""
    every = math.gcd(*LENGTHS)
    result = solve(game, solver, iterations=LENGTHS[-1], every=every, seeds=seeds)
    at = torch.tensor([T // every for T in LENGTHS])
    return result.metric("regret")[..., at], result.state.support


def judge(id: str, regret: Mapping[Lags, Tensor], figures: Mapping[Lags, float], found: float) -> list[Claim]:
    """Agreement, growth, order and support."""
    claims, at = list[Claim](), LENGTHS.index(6400)
    for lags, figure in figures.items():
        y = regret[lags][..., at].flatten()
        error = float(y.std()) * math.sqrt(1 / RUNS_OF_REFERENCE + 1 / len(y))
        away = abs(float(y.mean()) - figure) / error
        statement = f"{id}, {LAGS[lags]}: regret {float(y.mean()):.4g} at T = 6,400, reference {figure:g}"
        claims.append(at_most(f"{id}-{lags}", f"{statement}; standard errors apart, at most 3", away, 3.0))
    sparse = regret["sparse"].mean(1)
    _, (low, high) = mean_interval(sparse[:, at + 1] / sparse[:, at])
    statement = f"{id}: twice the rounds multiply the regret by 1.3 to 1.45, like a root (distance from 1.375)"
    claims.append(at_most(f"{id}-doubling", statement, max(abs(low - 1.375), abs(high - 1.375)), 0.075))
    fit, interval = slope(LENGTHS, sparse)
    statement = f"{id}: regret grows at most like T^0.6 with lags found (the theory's exponent is 1/2)"
    claims.append(at_most(f"{id}-exponent", statement, fit, 0.6, interval))
    present = regret["present"].mean(1)
    ratio, interval = mean_interval(present[:, at + 1] / present[:, at])
    statement = (
        f"{id}: with the present lag alone twice the rounds cost at least 1.68 times, nearer to T than to a root"
    )
    claims.append(at_least(f"{id}-present-linear", statement, ratio, 1.68, interval))
    statement = f"{id}: at T = 6,400 regret is lower with lags found than with the present one alone"
    claims.append(below(f"{id}-order", statement, sparse[:, at], present[:, at]))
    statement = f"{id}: the found lags hold the true ones (share of runs)"
    claims.append(at_least(f"{id}-support", statement, found, 1.0))
    return claims
