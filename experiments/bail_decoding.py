"""bail-decoding: how subgoals are decoded decides whether regret is linear, with two latents.

In the trap the safe arm pays in .6 of all episodes in both worlds, the risky one in .9 in the bold world, which is the
true one but has a prior of .3, and in .2 in the timid one. The Bayes mixture p of their experts says "risky" with the
posterior of the bold world; decoding turns it into

    temperature tau     p^(1/tau) / sum p^(1/tau);  0 is greedy
    top-p               the likeliest subgoals that hold so much of p

At temperature 1 the planner tries the risky arm until it knows, and Reg(T) = o(T) without exploration. Greedy decoding,
and top-p below .7, never try it: .3 T. Cold sampling tries it so seldom that regret is all but linear for any T of
practice. Exploring in 5% of the episodes repairs it.

The expected regret is also computed exactly, with its variance, by recursion over how often the risky arm has paid. It
says more than runs do: at temperature 1 it grows like log T. The odds of the truth fall below x with a probability of
order x, and then it takes about 1/x episodes to try again, so that every scale of x adds as much.

He et al., "From words to actions", ICML 2024, arXiv 2405.19883 (the mixture); the instance is ours.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from gamesim.algorithms.bail import BAIL
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.latent.trap import Trap
from gamesim.experiments.planning_regret import curve, exponent_claim, regret_of, rows_of, shown
from gamesim.planning.exploration import Constant
from gamesim.planning.regret import exponent
from gamesim.study import Claim, Scale, Study, at_least, at_most

DECODINGS: Mapping[str, tuple[float, float, float]] = {
    "temperature 1": (1.0, 1.0, 0.0),
    "temperature .7": (0.7, 1.0, 0.0),
    "temperature .3": (0.3, 1.0, 0.0),
    "temperature .1": (0.1, 1.0, 0.0),
    "top-p .9": (1.0, 0.9, 0.0),
    "top-p .7": (1.0, 0.7, 0.0),
    "temperature .1, exploring": (0.1, 1.0, 0.05),
    "greedy": (0.0, 1.0, 0.0),
}
"""Temperature, top-p and the share of episodes that explore."""
REFERENCE: Mapping[str, Mapping[int, float]] = {
    "temperature 1": {256: 2.7, 1024: 2.9, 4096: 2.9},
    "temperature .7": {256: 5.2, 1024: 7.7, 4096: 12.6},
    "temperature .3": {256: 14.7, 1024: 39.2, 4096: 128},
    "temperature .1": {256: 75, 1024: 281, 4096: 901},
    "top-p .9": {256: 10.9, 1024: 40.8, 4096: 161},
    "top-p .7": {256: 76.8, 1024: 307, 4096: 1229},
    "temperature .1, exploring": {256: 9.5, 1024: 9.5, 4096: 9.5},
}
"""Regret in an independent simulation."""
RUNS_OF_REFERENCE = 48
MOST = 64
"""Pays of the risky arm, and blanks, that are counted; more pays leave no doubt, and more blanks do not happen."""
LOSS = 0.3
"""What the safe arm loses in an episode of the bold world."""
EFFORT: Mapping[Scale, tuple[tuple[int, ...], int]] = {
    "quick": ((64, 128, 256, 512, 1024), 384),
    "full": ((64, 128, 256, 512, 1024, 2048, 4096), 1024),
}


@dataclass(frozen=True)
class BailDecoding:
    """Regret in the trap against episodes, for temperatures, top-p and greedy decoding; all meet the same luck."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        episodes, seeds = EFFORT[scale]
        regret = decoded_regret(episodes, seeds)
        say(f"  {shown(regret)}")
        exact = expected_regret(episodes)
        claims = [*growths(regret, exact, episodes), *exactness(regret, exact, episodes)]
        drawn = {"top-p .7, greedy" if name == "greedy" else name: name for name in regret if name != "top-p .7"}
        curves = [curve(label, episodes, regret[name]) for label, name in drawn.items()]
        x = [float(t) for t in episodes]
        known = [Curve(label, x, exact[name][0].tolist(), dashed=True) for label, name in drawn.items()]
        panels = [
            Panel("A trap for who never tries", "episodes T", "regret", curves, log_x=True),
            Panel("The same in expectation, exactly", "episodes T", "expected regret", known, log_x=True),
        ]
        rows = [{**row, "expected": _at(exact, row, episodes)} for row in rows_of(regret, episodes)]
        words = "; ".join(f"{name} {[round(v, 2) for v in mean.tolist()]}" for name, (mean, _) in exact.items())
        notes = f"Regret at T = {list(episodes)}, mean of runs: {shown(regret)}. Exactly: {words}."
        return Study(claims, [Chart("regret", panels)], rows, notes)


def _at(exact: Mapping[str, tuple[Tensor, Tensor]], row: Mapping[str, Any], episodes: Sequence[int]) -> float:
    return float(exact[row["planner"]][0][episodes.index(row["episodes"])])


def decoded_regret(episodes: Sequence[int], seeds: int) -> dict[str, Tensor]:
    """Regret[seed, T] by decoding: all that sample are one batch."""
    world = Trap(truth="bold")
    sampled = {name: how for name, how in DECODINGS.items() if how[0] > 0}
    temperature, top_p, chance = (torch.tensor(x, dtype=torch.float64) for x in zip(*sampled.values(), strict=True))
    solver = BAIL(temperature=temperature, top_p=top_p, exploration=Constant(chance))
    found = dict(zip(sampled, regret_of(world, solver, episodes, seeds).unbind(1), strict=True))
    found["greedy"] = regret_of(world, BAIL(temperature=0.0), episodes, 2)  # the same for all seeds
    return found


def expected_regret(episodes: Sequence[int]) -> dict[str, tuple[Tensor, Tensor]]:
    """E Reg(T) and its standard deviation in the bold world, [T] each, by decoding.

    By recursion over (pays, blanks) of the risky arm: of the weight of each, and of that times Reg and its square.
    """
    wins, blanks = torch.meshgrid(*[torch.arange(MOST, dtype=torch.float64)] * 2, indexing="ij")
    odds = math.log(0.3 / 0.7) + wins * math.log(0.9 / 0.2) + blanks * math.log(0.1 / 0.8)
    mixture = torch.stack([odds.neg().sigmoid(), odds.sigmoid()], -1)
    risky = torch.stack([chance + (1 - chance) * _decoded(mixture, *how) for *how, chance in DECODINGS.values()])[
        :, None
    ]
    weight = torch.zeros(len(DECODINGS), 3, MOST, MOST, dtype=torch.float64)  # moments 0, 1, 2 of the regret
    weight[:, 0, 0, 0] = 1
    means, deviations = list[Tensor](), list[Tensor]()
    for t in range(1, episodes[-1] + 1):
        tried = weight * risky
        m0, m1, m2 = (weight - tried).unbind(1)
        weight = torch.stack([m0, m1 + LOSS * m0, m2 + 2 * LOSS * m1 + LOSS**2 * m0], 1)
        weight[:, :, 1:] += 0.9 * tried[:, :, :-1]
        weight[:, :, :-1, 1:] += 0.1 * tried[:, :, :-1, :-1]
        weight[:, :, -1] += tried[:, :, -1]  # so many pays decide it
        if t in episodes:
            _, first, second = weight.sum((-1, -2)).unbind(1)
            means.append(first)
            deviations.append((second - first**2).clamp(min=0).sqrt())
    found = torch.stack(means, -1), torch.stack(deviations, -1)
    return {name: (found[0][i], found[1][i]) for i, name in enumerate(DECODINGS)}


def _decoded(law: Tensor, temperature: float, top_p: float) -> Tensor:
    """The chance of the second of two subgoals, after decoding."""
    if temperature == 0:
        return (law[..., 1] > law[..., 0]).to(law)
    law = (law.log() / temperature).softmax(-1)
    kept = torch.where(law.amax(-1) >= top_p, (law[..., 1] > law[..., 0]).to(law), law[..., 1])
    return law[..., 1] if top_p == 1 else kept


def growths(
    regret: Mapping[str, Tensor], exact: Mapping[str, tuple[Tensor, Tensor]], episodes: Sequence[int]
) -> list[Claim]:
    claims = list[Claim]()
    for name in ("greedy", "top-p .7"):
        claims.append(exponent_claim(f"{_id(name)}-exponent", name, exponent(episodes, regret[name]), 0.97, 1.03))
    found = exponent(episodes[-3:], regret["temperature .1"][:, -3:])
    statement = "temperature .1: exponent of T in the last three powers of two, at least 0.8"
    claims.append(at_least("temperature-.1-exponent", statement, found.value, 0.8, found.interval))
    last = {name: float(mean[-1]) for name, (mean, _) in exact.items()}
    names = ("temperature 1", "temperature .7", "temperature .3", "temperature .1", "greedy")
    for warm, cold in pairwise(names):
        statement = f"{cold} loses more than {warm} at T = {episodes[-1]:,}, in expectation (ratio above 1)"
        claims.append(at_least(f"{_id(cold)}-worse", statement, last[cold] / last[warm], 1.0))
    mean = exact["temperature 1"][0]
    ratio = float((mean[-1] - mean[-2]) / (mean[-2] - mean[-3]))
    statement = "temperature 1: in expectation, twice the episodes add as much regret as the doubling before (log T)"
    claims.append(at_most("temperature-1-logarithmic", f"{statement}: ratio minus 1, at most 0.1", ratio - 1, 0.1))
    mean = exact["temperature .1, exploring"][0]
    statement = f"temperature .1, exploring: added between T = {episodes[-2]:,} and {episodes[-1]:,}, in expectation"
    added = float(mean[-1] - mean[-2])
    claims.append(at_most("temperature-.1-exploring-flat", f"{statement}, at most 0.1", added, 0.1))
    return claims


def exactness(
    regret: Mapping[str, Tensor], exact: Mapping[str, tuple[Tensor, Tensor]], episodes: Sequence[int]
) -> list[Claim]:
    """Mean regret of runs, and that of the reference, against the recursion.

    Few runs may lose most, so that standard errors say little: Bernstein's inequality, for a chance of 1e-4.
    """
    claims = list[Claim]()
    for name, (mean, deviation) in exact.items():
        y, reference = regret[name], REFERENCE.get(name, {})
        apart = (y.mean(0) - mean).abs() / bernstein(deviation, episodes, len(y))
        statement = f"{name}: mean regret of runs is the exact expectation: distance over Bernstein's bound, at most 1"
        claims.append(at_most(f"{_id(name)}-exact", statement, float(apart.max()), 1.0))
        bounds = bernstein(deviation, episodes, RUNS_OF_REFERENCE)
        others = [
            abs(reference[t] - float(mean[i])) / (float(bounds[i]) + 0.005 * reference[t])  # it is rounded
            for i, t in enumerate(episodes)
            if t in reference
        ]
        if others:
            statement = f"{name}: so is that of an independent simulation: the same ratio, at most 1"
            claims.append(at_most(f"{_id(name)}-reference", statement, max(others), 1.0))
    return claims


def bernstein(deviation: Tensor, episodes: Sequence[int], runs: int, chance: float = 1e-4) -> Tensor:
    """How far the mean of so many runs is from its expectation but for a chance, [T]; no run loses more than .3 T."""
    size = math.log(2 / chance)
    most = LOSS * torch.tensor(episodes, dtype=torch.float64)
    return deviation * math.sqrt(2 * size / runs) + most * size / (3 * runs)


def _id(name: str) -> str:
    return name.replace(",", "").replace(" ", "-")
