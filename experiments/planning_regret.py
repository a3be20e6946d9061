"""What experiments on planners share: regret of runs at some numbers of episodes, and claims about it."""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from gamesim.charts import Curve
from gamesim.errors import Caution
from gamesim.experiments.over_seeds import mean_interval
from gamesim.games.latent import LatentWorld
from gamesim.loop import solve
from gamesim.planning.regret import Exponent
from gamesim.study import Claim, Interval, Verdict, at_least, at_most

APART = 4.0
"""Standard errors that a measurement may be from an independent one; many are compared."""


def regret_of(world: LatentWorld, solver: Any, episodes: Sequence[int], seeds: int) -> Tensor:
    """Cumulative regret of one run to the last number of episodes, [seed, *batch, episodes], at each of them.

    Numbers of episodes are multiples of the first.
    """
    return measured(world, solver, episodes, seeds)["regret"]


def measured(world: LatentWorld, solver: Any, episodes: Sequence[int], seeds: int) -> dict[str, Tensor]:
    """Every metric of the same, [seed, *batch, episodes]."""
    first = episodes[0]
    if any(t % first for t in episodes):
        raise ValueError(f"episodes {list(episodes)} are no multiples of the first")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)  # what no theorem covers is what is studied
        result = solve(world, solver, iterations=episodes[-1], every=first, seeds=seeds)
    rows = [result.trace.iterations.index(t) for t in episodes]
    return {name: result.metric(name)[..., rows] for name in result.trace.metrics}


def within(id: str, statement: str, statistic: float, low: float, high: float, interval: Interval) -> Claim:
    """A claim that a number lies in [low, high]: decided by the whole interval."""
    verdicts = (at_least(id, "", statistic, low, interval).verdict, at_most(id, "", statistic, high, interval).verdict)
    verdict: Verdict = "fails" if "fails" in verdicts else "undecided" if "undecided" in verdicts else "holds"
    return Claim(id, f"{statement}, in [{low:g}, {high:g}]", verdict, statistic, interval)


def exponent_claim(id: str, statement: str, found: Exponent, low: float, high: float) -> Claim:
    """A claim about the exponent of T in the regret."""
    return within(id, f"{statement}: exponent of T", found.value, low, high, found.interval)


def agreement(
    id: str, name: str, y: Tensor, episodes: Sequence[int], reference: Mapping[int, float], seeds: int
) -> Claim | None:
    """Mean regret of y[seed, T] against reference values of so many seeds, in standard errors of both.

    Rounding of the reference counts as half a per cent. None where no number of episodes is in the reference.
    """
    apart = list[float]()
    for i, t in enumerate(episodes):
        if t in reference:
            error = float(y[:, i].std()) * math.sqrt(1 / len(y) + 1 / seeds)
            apart.append(abs(float(y[:, i].mean()) - reference[t]) / math.hypot(error, 0.005 * reference[t]))
    if not apart:
        return None
    compared = ", ".join(f"{t:,}" for t in episodes if t in reference)
    statement = f"{name}: regret at T = {compared} agrees with an independent simulation; standard errors apart"
    return at_most(f"{id}-agrees", f"{statement}, at most {APART:g}", max(apart), APART)


def growth(y: Tensor) -> tuple[float, Interval]:
    """How much is added from the second last column of y[seed, T] to the last: the mean and its interval."""
    return mean_interval(y[:, -1] - y[:, -2])


def curve(label: str, episodes: Sequence[int], y: Tensor, *, dashed: bool = False) -> Curve:
    """The mean over runs of y[seed, T] with one standard error around it; runs may have regret 0."""
    mean, error = y.mean(0), y.std(0) / math.sqrt(len(y))
    low, high = (mean - error).maximum(mean / 10), mean + error
    return Curve(label, [float(t) for t in episodes], mean.tolist(), low.tolist(), high.tolist(), dashed, dots=True)


def rows_of(regret: Mapping[str, Tensor], episodes: Sequence[int], **more: Any) -> Iterable[dict[str, Any]]:
    """Tidy rows of y[seed, T] by planner."""
    for name, y in regret.items():
        for i, t in enumerate(episodes):
            for seed, value in enumerate(y[:, i].tolist()):
                yield {**more, "planner": name, "episodes": t, "seed": seed, "regret": value}


def shown(regret: Mapping[str, Tensor]) -> str:
    """Mean regrets on one line, by planner."""
    return "; ".join(f"{name} {[round(x, 2) for x in y.mean(0).tolist()]}" for name, y in regret.items())
