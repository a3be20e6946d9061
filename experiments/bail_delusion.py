"""bail-delusion: who takes its own words for an expert's proves itself right, and exploration cannot repair it.

A model that was trained on demonstrations of experts alone, and not on experts' labels of somebody else's play, has in
its posterior a factor for each subgoal g that was said, by itself, too:

    P(z | heard) ~ P_Z(z) prod P_z(o_{h+1} | tau_h, g_h)  prod pi*_z(g_h | tau_h, omega)

An expert says something else with a chance of 1e-9 here, so the first word decides. In the trap (bold world, prior .3)
it is "safe" with probability .7, and .3 is lost in every episode from then on; among n boxes the first is wrong with
probability 1 - 1/n, and 1/2 is lost:

    E Reg(T) = .21 T   in the trap,        (1 - 1/n) T / 2   on the needle

Exploring in a tenth of the episodes tells who listens which world it is, long before the end. The deluded planner hears
it, too, and weighs it against all that it has said itself.

Delusions: Ortega et al., "Shaking the foundations: delusions in sequence models for interaction and control",
arXiv 2110.10819. The mixture: He et al., ICML 2024, arXiv 2405.19883.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.algorithms.bail import BAIL
from gamesim.charts import Chart, Panel
from gamesim.envs.latent.needle import Needle
from gamesim.envs.latent.trap import Trap
from gamesim.experiments.over_seeds import mean_interval
from gamesim.experiments.planning_regret import APART, curve, exponent_claim, measured, rows_of, shown
from gamesim.games.latent import LatentWorld
from gamesim.planning.exact import Bail
from gamesim.planning.exploration import Constant
from gamesim.planning.regret import exponent
from gamesim.study import Claim, Scale, Study, at_least, at_most

CHANCE = 0.1
"""Of an episode that explores."""
PLANNERS: Mapping[str, tuple[float, float]] = {
    "deluded": (1.0, 0.0),
    "deluded, exploring": (1.0, CHANCE),
    "naive": (0.0, 0.0),
    "exploring": (0.0, CHANCE),
}
"""Weight of the factor of own words, and the chance to explore."""
BOXES = 64
WORLDS: Mapping[str, tuple[LatentWorld, float, float]] = {
    "trap": (Trap(truth="bold"), 0.7, 0.3),
    "needle": (Needle(boxes=BOXES), 1 - 1 / BOXES, 0.5),
}
"""With the chance that the first word is wrong, and what each wrong one loses."""
REFERENCE: Mapping[int, float] = {128: 28.4, 8192: 1818.8}
"""Regret of the deluded planner in the trap, mean of 48 runs of an independent simulation."""
RUNS_OF_REFERENCE = 48
EFFORT: Mapping[Scale, tuple[tuple[int, ...], int]] = {
    "quick": ((64, 128, 256, 512, 1024), 192),
    "full": ((128, 256, 512, 1024, 2048, 4096, 8192), 192),
}


@dataclass(frozen=True)
class BailDelusion:
    """Regret with and without the factor of own words, exploring and not, in two worlds."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        episodes, seeds = EFFORT[scale]
        claims, panels, rows, words = list[Claim](), list[Panel](), list[dict[str, object]](), list[str]()
        for world, (game, chance, loss) in WORLDS.items():
            regret, posterior = compared(game, episodes, seeds)
            say(f"  {world}: {shown(regret)}")
            claims += judged(world, regret, posterior, episodes)
            claims += closed_form(world, regret["deluded"], episodes, chance, loss)
            curves = [curve(name, episodes, y) for name, y in regret.items()]
            panels.append(Panel(f"The {world}", "episodes T", "regret", curves, log_x=True))
            rows += rows_of(regret, episodes, world=world)
            words.append(f"{world}: {shown(regret)}")
        notes = f"Mean regret at T = {list(episodes)}. " + ". ".join(words) + ". All meet the same luck."
        return Study(claims, [Chart("regret", panels)], rows, notes)


def compared(world: LatentWorld, episodes: Sequence[int], seeds: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Regret[seed, T] and the exact posterior of the truth, of all that was heard, by planner: one batch."""
    delusion, chance = (torch.tensor(x, dtype=torch.float64) for x in zip(*PLANNERS.values(), strict=True))
    solver = BAIL(planner=Bail(delusion=delusion), exploration=Constant(chance))
    found = measured(world, solver, episodes, seeds)
    regret, posterior = (
        dict(zip(PLANNERS, found[name].unbind(1), strict=True)) for name in ("regret", "posterior_on_truth")
    )
    return regret, posterior


def judged(
    world: str, regret: Mapping[str, Tensor], posterior: Mapping[str, Tensor], episodes: Sequence[int]
) -> list[Claim]:
    claims = list[Claim]()
    for name in ("deluded", "deluded, exploring"):
        found = exponent(episodes, regret[name])
        claims.append(exponent_claim(f"{world}-{_id(name)}-exponent", f"{world}, {name}", found, 0.97, 1.03))
    last = episodes[-1]
    mean, interval = mean_interval(regret["deluded, exploring"][:, -1] / regret["deluded"][:, -1].mean())
    statement = f"{world}: exploring in {CHANCE:.0%} of the episodes keeps at least half of a deluded planner's regret"
    claims.append(at_least(f"{world}-no-repair", f"{statement} at T = {last:,} (ratio)", mean, 0.5, interval))
    heard = float(posterior["deluded, exploring"][:, -1].mean())
    statement = (
        f"{world}: what a deluded planner that explores has heard proves the truth: its exact posterior is at least"
    )
    claims.append(at_least(f"{world}-heard", f"{statement} 0.99", heard, 0.99))
    own = {"trap": 0.0, "needle": CHANCE / 2 * last}[world]  # what exploring costs by itself
    mean, interval = mean_interval((regret["exploring"][:, -1] - own) / regret["deluded, exploring"][:, -1].mean())
    statement = f"{world}: without delusion exploring loses, its own cost aside, at most 5% as much at T = {last:,}"
    claims.append(at_most(f"{world}-undeluded", statement, mean, 0.05, interval))
    return claims


def closed_form(world: str, y: Tensor, episodes: Sequence[int], chance: float, loss: float) -> list[Claim]:
    """The share of runs whose first word was wrong, in standard errors of its law."""
    error = math.sqrt(chance * (1 - chance))
    share = y[:, -1] / (loss * episodes[-1])
    away = abs(float(share.mean()) - chance) / (error / math.sqrt(len(y)))
    statement = f"{world}, deluded: mean regret is {chance:.3g} x {loss:g} T: standard errors apart, at most {APART:g}"
    claims = [at_most(f"{world}-closed-form", statement, away, APART)]
    compared = [t for t in episodes if t in REFERENCE] if world == "trap" else []
    if compared:
        error *= math.sqrt(1 / RUNS_OF_REFERENCE)
        away = max(abs(REFERENCE[t] / (loss * t) - chance) / error for t in compared)
        statement = (
            f"{world}, deluded: so is that of an independent simulation at T = {compared}: standard errors apart"
        )
        claims.append(at_most(f"{world}-reference", statement, away, APART))
    return claims


def _id(name: str) -> str:
    return name.replace(", ", "-")
