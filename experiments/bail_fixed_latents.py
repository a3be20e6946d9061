"""bail-fixed-latents: the honest negative: where latents do not grow in number the remedy costs more than the disease.

Let Z be finite and fixed, the posterior exact and subgoals drawn from the mixture itself. Then 1 / P_t(truth) is a
non-negative supermartingale, so a latent z' that stays believed is followed for ever, would be found out unless reports
under its expert and under the true one have the same law in both worlds, and hence pays as much:

    J_z(pi*_z') = J_z'(pi*_z') >= J_z'(pi*_z) = J_z(pi*_z)          so that Reg(T) = o(T) without exploration

Exploring with the theory's eps keeps paying of order sqrt(T log T). It is better than following while T is a few times
|Z|, and worse for good from some T on. On random hierarchies, where whoever plays also learns, it is worse at every T.

He et al., "From words to actions", ICML 2024, arXiv 2405.19883, has the rates; the lemma is ours.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamesim.algorithms.bail import BAIL
from gamesim.charts import Chart, Panel
from gamesim.envs.latent.needle import Needle
from gamesim.envs.latent.random_hierarchy import RandomHierarchy
from gamesim.experiments.over_seeds import mean_interval
from gamesim.experiments.planning_regret import (
    agreement,
    curve,
    exponent_claim,
    growth,
    regret_of,
    rows_of,
    shown,
)
from gamesim.games.latent import LatentWorld
from gamesim.planning.exact import PosteriorSampling
from gamesim.planning.exploration import Constant, theory_epsilon
from gamesim.planning.regret import exponent
from gamesim.study import Claim, Scale, Study, at_least, at_most

REFERENCE: Mapping[str, Mapping[int, float]] = {
    "naive": {256: 70.6, 16384: 105.7},
    "exploring": {256: 37.6, 1024: 76.8, 2048: 110.6, 16384: 329.4},
}
"""Regret at |Z| = 128 in an independent simulation of 48 runs."""
CROSSOVER = 1900
"""From how many episodes on exploring is worse, about, in that simulation."""
RUNS_OF_REFERENCE = 48
LITTLE = 0.02
"""On random hierarchies: what following may still add from a quarter of a run to its end, of what exploring adds."""
WORLD: Mapping[str, Any] = {"redrawn": 12, "concentration": 0.3}
"""Latents that differ in a third of the rows of a kernel far from uniform: eta = .37 to .44."""


@dataclass(frozen=True)
class Effort:
    boxes: int
    episodes: tuple[int, ...]
    runs: int
    instances: int
    short: tuple[int, ...]
    """Episodes on random hierarchies."""


EFFORT: Mapping[Scale, Effort] = {
    "quick": Effort(64, (64, 128, 256, 512, 1024, 2048), 96, 2, (64, 128, 256)),
    "full": Effort(128, (256, 512, 1024, 2048, 4096, 8192, 16384), 48, 4, (64, 128, 256, 512, 1024, 2048, 4096)),
}


@dataclass(frozen=True)
class BailFixedLatents:
    """Following against the theory's exploration as T grows: the needle with few boxes, and random hierarchies."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        effort = EFFORT[scale]
        needle = compared(Needle(boxes=effort.boxes), effort.episodes, effort.runs)
        say(f"  {effort.boxes} boxes: {shown(needle)}")
        found = dict[str, list[Tensor]]()
        for instance in range(effort.instances):
            world = RandomHierarchy(instance=instance, **WORLD)
            for name, y in compared(world, effort.short, effort.runs, more=True).items():
                found.setdefault(name, []).append(y)
        random = {name: torch.stack(parts).mean(0) for name, parts in found.items()}
        say(f"  random hierarchies: {shown(random)}")
        claims = [*needle_claims(needle, effort), *random_claims(found, effort.short)]
        panels = [
            Panel(title, "episodes T", "regret", [curve(name, x, y) for name, y in regret.items()], log_x=True)
            for title, x, regret in (
                (f"{effort.boxes} boxes and a sign", effort.episodes, needle),
                ("Random hierarchies", effort.short, random),
            )
        ]
        rows = [
            *rows_of(needle, effort.episodes, world="needle"),
            *rows_of(random, effort.short, world="random hierarchies"),
        ]
        cross = crossing(needle, effort.episodes)
        notes = (
            f"{effort.boxes} boxes, T = {list(effort.episodes)}: {shown(needle)}; exploring is worse from about "
            f"T = {cross:,.0f} on. Random hierarchies, mean over worlds, T = {list(effort.short)}: {shown(random)}. "
            "Exploring has, for each T, the eps of that T; all meet the same luck."
        )
        return Study(claims, [Chart("regret", panels)], rows, notes)


def compared(world: LatentWorld, episodes: Sequence[int], runs: int, more: bool = False) -> dict[str, Tensor]:
    """Regret[seed, T] of following, and of exploring with the eps of each T: a batch of chances."""
    chance = torch.tensor([0.0, *(theory_epsilon(world, t) for t in episodes)], dtype=torch.float64)
    y = regret_of(world, BAIL(exploration=Constant(chance)), episodes, runs)
    found = {"naive": y[:, 0], "exploring": y[:, 1:].diagonal(dim1=1, dim2=2)}
    if more:
        found["greedy"] = regret_of(world, BAIL(temperature=0.0), episodes, runs)
        found["posterior sampling"] = regret_of(world, BAIL(planner=PosteriorSampling()), episodes, runs)
    return found


def needle_claims(regret: Mapping[str, Tensor], effort: Effort) -> list[Claim]:
    episodes, (naive, exploring) = effort.episodes, (regret["naive"], regret["exploring"])
    last = episodes[-1]
    mean, interval = growth(naive)
    most = (last - episodes[-2]) / 2
    part = (interval[0] / most, interval[1] / most)
    statement = f"naive saturates: of what can be lost between T = {episodes[-2]:,} and {last:,} it loses at most 1%"
    claims = [at_most("naive-saturates", statement, mean / most, 0.01, part)]
    found = exponent(episodes, exploring)
    claims.append(exponent_claim("exploring-exponent", "exploring", found, 0.45, 0.65))
    early = next(i for i, t in enumerate(episodes) if t >= 4 * effort.boxes)
    for id, who, i, less, more in (
        ("exploring-better-early", "exploring loses less than naive", early, exploring, naive),
        ("naive-better-late", "naive loses less than exploring", -1, naive, exploring),
    ):
        mean, interval = mean_interval(less[:, i] - more[:, i])
        claims.append(at_most(id, f"{who} at T = {episodes[i]:,} (difference)", mean, 0.0, interval))
    if effort.boxes == 128:
        for name, reference in REFERENCE.items():
            claim = agreement(name, name, regret[name], episodes, reference, RUNS_OF_REFERENCE)
            claims += [claim] if claim else []
        away = abs(math.log2(crossing(regret, episodes) / CROSSOVER))
        statement = f"exploring is worse from about T = {CROSSOVER:,} on, up to a factor of 2; doublings apart"
        claims.append(at_most("crossover", statement, away, 1.0))
    return claims


def crossing(regret: Mapping[str, Tensor], episodes: Sequence[int]) -> float:
    """Where mean regrets cross for the last time, by interpolation in logarithms; nan where they do not."""
    gap = (regret["exploring"].mean(0) / regret["naive"].mean(0)).log().tolist()
    for i in reversed(range(len(gap) - 1)):
        if gap[i] < 0 <= gap[i + 1]:
            return float(episodes[i] * (episodes[i + 1] / episodes[i]) ** (gap[i] / (gap[i] - gap[i + 1])))
    return math.nan


def random_claims(found: Mapping[str, Sequence[Tensor]], episodes: Sequence[int]) -> list[Claim]:
    claims = list[Claim]()
    quarter = len(episodes) - 3
    for name in ("naive", "greedy", "posterior sampling"):
        parts = [
            mean_interval((y[:, -1] - y[:, quarter]) / (e[:, -1] - e[:, quarter]).mean())
            for y, e in zip(found[name], found["exploring"], strict=True)
        ]
        mean, interval = max(parts, key=lambda part: part[1][1])
        statement = f"random hierarchies, {name}: of what exploring adds between T = {episodes[quarter]:,} and "
        statement += f"{episodes[-1]:,}, it adds"
        id = f"random-{name.replace(' ', '-')}-saturates"
        claims.append(at_most(id, f"{statement}, in the worst world, at most {LITTLE:g}", mean, LITTLE, interval))
    parts = [mean_interval(e[:, 0] - y[:, 0]) for e, y in zip(found["exploring"], found["naive"], strict=True)]
    mean, interval = min(parts, key=lambda part: part[1][0])
    statement = f"random hierarchies: exploring loses more than naive already at T = {episodes[0]:,}, in every world"
    claims.append(at_least("random-exploring-worse", f"{statement} (difference)", mean, 0.0, interval))
    fit = exponent(episodes, torch.stack(list(found["exploring"])).mean(0))
    claims.append(exponent_claim("random-exploring-exponent", "random hierarchies, exploring", fit, 0.45, 0.65))
    return claims
