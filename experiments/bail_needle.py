"""bail-needle: with as many boxes as episodes the Bayes mixture of experts opens boxes; who explores reads the sign.

He et al., "From words to actions", ICML 2024, arXiv 2405.19883: for every T there is an instance on which following the
model has a regret of at least T / 2 (1 - 1/|Z|)^T, and exploring whole episodes with probability

    eps = min{ 1, sqrt( H log(c_Z |Z| sqrt T) / (T eta) ) }

brings it to the order of sqrt(T log T). The instance is n = |Z| = T boxes and a sign that no expert reads. With prizes
in half of all episodes and the truth drawn from the prior, two planners have a regret in closed form, whatever they are
told: the greedy one opens the boxes in order, again and again until it finds a prize,

    E Reg(T) = p (1 - p/2) (n - 1),  p = 1/2                and the deluded one stays with its first box:  p (1 - 1/n) T

Exploring only while no box has a posterior of 0.9 is not in the paper.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamesim.algorithms.bail import BAIL
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.latent.needle import Needle
from gamesim.experiments.over_seeds import below, mean_interval
from gamesim.experiments.planning_regret import agreement, curve, exponent_claim, regret_of, rows_of, shown
from gamesim.planning.exact import Bail
from gamesim.planning.exploration import Gated, Theory
from gamesim.planning.regret import exploring_bound, exponent, naive_bound
from gamesim.study import Claim, Scale, Study, at_least, at_most

REFERENCE: Mapping[str, Mapping[int, float]] = {
    "naive": {64: 25.3, 128: 52.2, 256: 103.5, 512: 184.8, 1024: 400.6, 2048: 810.4},
    "greedy": {64: 23.0, 128: 47.3, 256: 88.0, 512: 189.4, 1024: 379.9, 2048: 880.2},
    "exploring": {64: 17.4, 128: 25.9, 256: 38.5, 512: 55.6, 1024: 81.9, 2048: 118.0},
    "greedy, exploring": {64: 16.8, 128: 26.0, 256: 37.7, 512: 54.7, 1024: 80.4, 2048: 119.1},
}
"""Regret in an independent simulation of 48 runs."""
RUNS_OF_REFERENCE = 48
ETA: Mapping[int, float] = {64: 0.390, 256: 0.441, 2048: 0.478}
LINEAR, ROOT = ("naive", "greedy", "deluded"), ("exploring", "greedy, exploring")
CONFIDENCE = 0.9
EFFORT: Mapping[Scale, tuple[tuple[int, ...], int]] = {
    "quick": ((32, 64, 128, 256), 160),
    "full": ((64, 128, 256, 512, 1024, 2048), 48),
}


def planners(episodes: int) -> dict[str, Any]:
    """The planners that are compared, for runs of so many episodes."""
    theory = Theory(episodes)
    return {
        "naive": BAIL(),
        "greedy": BAIL(temperature=0.0),
        "deluded": BAIL(planner=Bail(delusion=1.0)),
        "exploring": BAIL(exploration=theory),
        "greedy, exploring": BAIL(exploration=theory, temperature=0.0),
        "gated": BAIL(exploration=Gated(CONFIDENCE)),
    }


@dataclass(frozen=True)
class BailNeedle:
    """Regret after T episodes on T boxes, for T in powers of two: exponents, the lower bound, and the remedy."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        sizes, seeds = EFFORT[scale]
        found = dict[str, list[Tensor]]()
        for n in sizes:
            world = Needle(boxes=n)
            for name, solver in planners(n).items():
                found.setdefault(name, []).append(regret_of(world, solver, (n,), seeds)[..., 0])
            say(f"  |Z| = T = {n}: " + ", ".join(f"{name} {float(y[-1].mean()):.1f}" for name, y in found.items()))
        regret = {name: torch.stack(columns, -1) for name, columns in found.items()}
        claims = [*growths(regret, sizes), *bounds(regret, sizes), *closed_forms(regret, sizes)]
        for name, reference in REFERENCE.items():
            claim = agreement(_id(name), name, regret[name], sizes, reference, RUNS_OF_REFERENCE)
            claims += [claim] if claim else []
        notes = f"Mean regret at T = {list(sizes)}: {shown(regret)}."
        return Study(claims, [Chart("regret", [panel(regret, sizes)])], list(rows_of(regret, sizes)), notes)


def growths(regret: Mapping[str, Tensor], sizes: Sequence[int]) -> list[Claim]:
    claims = list[Claim]()
    for name in LINEAR:
        claims.append(exponent_claim(f"{_id(name)}-exponent", name, exponent(sizes, regret[name]), 0.9, 1.1))
    for name in ROOT:
        claims.append(exponent_claim(f"{_id(name)}-exponent", name, exponent(sizes, regret[name]), 0.45, 0.65))
    statement = f"at T = {sizes[-1]} exploring loses less than"
    claims.append(below("exploring-below-naive", f"{statement} following", *_last(regret, "exploring", "naive")))
    statement = (
        f"at T = {sizes[-1]} exploring while no box has a posterior of {CONFIDENCE:g} loses less than the theory's"
    )
    claims.append(below("gated-below-exploring", statement, *_last(regret, "gated", "exploring")))
    return claims


def _last(regret: Mapping[str, Tensor], *names: str) -> list[Tensor]:
    """The last columns, with a little added: a run may lose nothing."""
    return [regret[name][:, -1] + 0.5 for name in names]


def bounds(regret: Mapping[str, Tensor], sizes: Sequence[int]) -> list[Claim]:
    claims = list[Claim]()
    parts = [mean_interval(regret["naive"][:, i] / naive_bound(n, n)) for i, n in enumerate(sizes)]
    mean, interval = min(parts, key=lambda part: part[1][0])
    statement = "naive: regret over T / 2 (1 - 1/T)^T, at least 1 at every T"
    claims.append(at_least("naive-lower-bound", statement, mean, 1.0, interval))
    parts = [mean_interval(regret["exploring"][:, i] / _upper(n)) for i, n in enumerate(sizes)]
    mean, interval = max(parts, key=lambda part: part[1][1])
    statement = "exploring: regret over 2 sqrt(T log(|Z| sqrt T) / eta), at most 1 at every T"
    claims.append(at_most("exploring-upper-bound", statement, mean, 1.0, interval))
    for n, eta in ETA.items():
        if n in sizes:
            away = abs(Needle(boxes=n).distinguishability() - eta)
            claims.append(at_most(f"eta-{n}", f"eta at {n:,} boxes is {eta:.3f}; distance", away, 0.0005))
    return claims


def _upper(n: int) -> float:
    return exploring_bound(n, n, Needle(boxes=n).distinguishability())


def closed_forms(regret: Mapping[str, Tensor], sizes: Sequence[int]) -> list[Claim]:
    """The mean of the greedy and of the deluded planner, in standard errors of their known laws."""
    claims = list[Claim]()
    runs = len(regret["greedy"])
    for name, mean, deviation in (
        ("greedy", lambda n: 0.375 * (n - 1), lambda n: 0.1614 * n),
        ("deluded", lambda n: 0.5 * (n - 1), lambda n: 0.5 * math.sqrt(n - 1)),
    ):
        apart = [
            abs(float(regret[name][:, i].mean()) - mean(n)) / (deviation(n) / math.sqrt(runs))
            for i, n in enumerate(sizes)
        ]
        statement = f"{name}: mean regret is the closed form at every T; standard errors apart, at most 4"
        claims.append(at_most(f"{_id(name)}-closed-form", statement, max(apart), 4.0))
    return claims


def panel(regret: Mapping[str, Tensor], sizes: Sequence[int]) -> Panel:
    x = [float(n) for n in sizes]
    curves = [curve(name, sizes, y) for name, y in regret.items()]
    curves.append(Curve("T/2 (1 - 1/T)^T", x, [naive_bound(n, n) for n in sizes], dashed=True))
    return Panel("As many boxes as episodes", "T = |Z|", "regret", curves, log_x=True)


def _id(name: str) -> str:
    return name.replace(", ", "-")
