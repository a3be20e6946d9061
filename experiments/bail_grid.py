"""bail-grid: Planner, Actor and Reporter together, on a slippery grid with 24 boxes and a sign.

The high level P(t | s, g) = (P^{pi_g})^{H_a} is compiled from the low one, on which the Actor walks as value iteration
says; the Reporter misreads numbers. He et al., "From words to actions", ICML 2024, arXiv 2405.19883, bound the regret
of a planner that explores whole episodes with eps = min{1, sqrt(H log(c_Z |Z| sqrt T) / (T eta))} by

    O~( H^{3/2} sqrt( (T / eta) log(c_Z |Z| sqrt T) ) )

and add a term linear in T for what pretraining leaves wrong. On a fixed number of latents, told apart by whatever is
done, following the planner costs a constant: its regret saturates. The last two parts measure that term: the planner
reasons with a Reporter learned from few pairs, or takes an Actor learned from few moves for the one of value iteration.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamesim.algorithms.bail import BAIL
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.latent.grid import Grid
from gamesim.experiments.over_seeds import below, mean_interval
from gamesim.experiments.planning_regret import curve, exponent_claim, regret_of, rows_of, shown
from gamesim.planning import MAP, Gated, Theory
from gamesim.planning.regret import exploring_bound, exponent
from gamesim.randomness import Stream
from gamesim.study import Claim, Scale, Study, at_least, at_most

REFERENCE: Mapping[str, float] = {"actor": 0.858, "value": 0.897}
"""Of an independent implementation: how often the Actor arrives from the start, and J*. That staying is a move, that a
slip may be any of five, and what the treasure pays were chosen so that both come out: these claims guard, no more."""
CONFIDENCE = 0.95
SOLVERS: Mapping[str, Any] = {
    "naive": BAIL(),
    "map": BAIL(planner=MAP()),
    "gated": BAIL(exploration=Gated(CONFIDENCE)),
}
PAIRS = (1_000, 5_000, 20_000)
TRANSITIONS = (300, 1_000, 2_000)
EFFORT: Mapping[Scale, tuple[tuple[int, ...], int, int, int]] = {
    "quick": ((25, 50, 100, 200, 400), 48, 2, 4_000),
    "full": ((25, 50, 100, 200, 400, 800, 1600), 256, 8, 40_000),
}


@dataclass(frozen=True)
class BailGrid:
    """Regret against episodes, low level against high level, and what learned parts cost."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        episodes, seeds, lessons, walks = EFFORT[scale]
        world = Grid()
        claims = parts(world, walks)
        regret = {name: regret_of(world, solver, episodes, seeds) for name, solver in SOLVERS.items()}
        exploring = [regret_of(world, BAIL(exploration=Theory(t)), (t,), seeds)[..., 0] for t in episodes]
        regret["exploring"] = torch.stack(exploring, -1)
        say(f"  {shown(regret)}")
        claims += growths(world, regret, episodes)
        learned, more, rows = learned_parts(episodes[2], seeds, lessons, regret["naive"][:, 2])
        say("  " + "; ".join(f"{name} {[round(x, 2) for x in y]}" for name, (_, y) in learned.items()))
        found = [*rows_of(regret, episodes, part="exact", seen=0), *rows]
        return Study([*claims, *more], charts(world, regret, episodes, learned), found, notes(world, regret))


def parts(world: Grid, walks: int) -> list[Claim]:
    """The Actor, the value of the experts, and the compiled kernel against walks on the low level."""
    arrival, value = world.actor_success, float(world.value.mean())
    claims = [
        at_most(f"{name}-reference", f"{words}: {y:.4f}, reference {to}; distance", abs(y - to), 0.0005)
        for name, words, y, to in (
            ("actor", "the Actor is at its subgoal after its steps", arrival, REFERENCE["actor"]),
            ("value", "an expert gets J* in an episode", value, REFERENCE["value"]),
        )
    ]
    away = walked(world, walks)
    statement = f"{walks:,} walks towards each subgoal end at it as often as the compiled kernel says; standard errors"
    return [*claims, at_most("compiled", f"{statement} apart, at most 4", away, 4.0)]


def walked(world: Grid, walks: int) -> float:
    """How far the share of walks from the start that arrive is from the compiled chance: the most standard errors."""
    low, goals = world.hierarchy, world.goals
    counts = torch.zeros(len(goals), dtype=torch.float64)
    for part in range(0, walks, 2_000):
        shape = (len(goals), min(2_000, walks - part))
        subgoal = torch.arange(len(goals))[:, None].expand(shape)
        state = torch.full(shape, world.begin)
        u = Stream(0, part).uniform((*shape, low.steps, 2))
        counts += (low.walk(torch.zeros_like(state), state, subgoal, u)[0][..., -1] == goals[:, None]).sum(-1)
    p = low.reaches(goals)[0, world.begin]
    return float(((counts / walks - p).abs() / (p * (1 - p) / walks).sqrt()).max())


def growths(world: Grid, regret: Mapping[str, Tensor], episodes: Sequence[int]) -> list[Claim]:
    fit = exponent(episodes, regret["exploring"])
    claims = [exponent_claim("exploring-exponent", "exploring", fit, 0.45, 0.65)]
    late = len(episodes) // 2
    for name in ("naive", "map"):
        found = exponent(episodes[late:], regret[name][:, late:])
        statement = f"{name}: saturates: the exponent of T from {episodes[late]} episodes on is below 0.3"
        claims.append(at_most(f"{name}-saturates", statement, found.value, 0.3, found.interval))
    n, eta = len(world.prior), world.distinguishability()
    ratio = [
        mean_interval(regret["exploring"][:, i] / exploring_bound(t, n, eta, world.horizon))
        for i, t in enumerate(episodes)
    ]
    mean, interval = max(ratio, key=lambda part: part[1][1])
    statement = "exploring: regret over 2 H^1.5 sqrt(T log(|Z| sqrt T) / eta), at most 1 at every T"
    claims.append(at_most("exploring-bound", statement, mean, 1.0, interval))
    last = {name: y[:, -1] + 0.5 for name, y in regret.items()}  # a run may lose nothing
    statement = f"at T = {episodes[-1]} following the planner loses less than exploring by the theory"
    claims.append(below("naive-below-exploring", statement, last["naive"], last["exploring"]))
    statement = f"exploring while no box has a posterior of {CONFIDENCE:g} loses less than following the planner"
    claims.append(below("gated-below-naive", statement, last["gated"], last["naive"]))
    return claims


Learned = Mapping[str, tuple[Sequence[int], Sequence[float]]]
"""By part: what was seen in learning, and the mean regret."""


def learned_parts(
    episodes: int, seeds: int, lessons: int, exact: Tensor
) -> tuple[Learned, list[Claim], list[dict[str, Any]]]:
    """Regret of the naive planner with a learned Reporter, and with a learned Actor, by how much they have seen."""
    costs = dict[tuple[str, int], Tensor]()
    quality = dict[tuple[str, int], Tensor]()
    for part, sizes in (("reporter", PAIRS), ("actor", TRANSITIONS)):
        for seen in sizes:
            worlds = [
                Grid(reporter="learned", pairs=seen, lesson=k)
                if part == "reporter"
                else Grid(actor="learned", transitions=seen, lesson=k)
                for k in range(lessons)
            ]
            costs[part, seen] = torch.stack([regret_of(w, BAIL(), (episodes,), seeds)[..., 0] for w in worlds]).mean(0)
            good = [w.reporter_distance if part == "reporter" else w.actor_success for w in worlds]
            quality[part, seen] = torch.tensor(good, dtype=torch.float64)
    few, many = PAIRS[0], PAIRS[-1]
    apart = float(quality["reporter", many].max())
    statement = f"a Reporter learned from {many:,} pairs is near the true one: mean total variation, worst of {lessons}"
    claims = [at_most("reporter-learned", statement, apart, 0.1)]
    mean, interval = mean_interval(costs["reporter", many] - exact)
    statement = (
        f"reasoning with it costs at most one episode's prize in {episodes}: regret beyond that with the true one"
    )
    claims.append(at_most("reporter-cost", statement, mean, 1.0, interval))
    mean, interval = mean_interval(costs["reporter", few] - exact)
    statement = f"with {few:,} pairs it costs regret: beyond that with the true one"
    claims.append(at_least("reporter-few", statement, mean, 0.0, interval))
    short = Grid().actor_success - float(quality["actor", TRANSITIONS[-1]].min())
    statement = (
        f"an Actor learned from {TRANSITIONS[-1]:,} moves arrives nearly as often as value iteration's: shortfall"
    )
    claims.append(at_most("actor-learned", statement, short, 0.02))
    rows = [
        {"part": part, "seen": seen, "planner": "naive", "episodes": episodes, "seed": seed, "regret": value}
        for (part, seen), y in costs.items()
        for seed, value in enumerate(y.tolist())
    ]
    found = {
        part: (sizes, [float(costs[part, seen].mean()) for seen in sizes])
        for part, sizes in (("reporter", PAIRS), ("actor", TRANSITIONS))
    }
    return found, claims, rows


def charts(world: Grid, regret: Mapping[str, Tensor], episodes: Sequence[int], learned: Learned) -> list[Chart]:
    x = [float(t) for t in episodes]
    curves = [curve(name, episodes, y) for name, y in regret.items()]
    bound = [exploring_bound(t, len(world.prior), world.distinguishability(), world.horizon) for t in episodes]
    curves.append(Curve("bound of exploring", x, bound, dashed=True))
    lessons = [
        Panel(
            f"A learned {name.capitalize()}",
            {"reporter": "pairs", "actor": "moves"}[name],
            "regret",
            [
                Curve("learned", [float(n) for n in sizes], list(y), dots=True),
                Curve(
                    "exact", [float(n) for n in sizes], [float(regret["naive"][:, 2].mean())] * len(sizes), dashed=True
                ),
            ],
            log_x=True,
            log_y=False,
        )
        for name, (sizes, y) in learned.items()
    ]
    return [
        Chart("regret", [Panel("Twenty-four boxes on a grid", "T", "regret", curves, log_x=True)]),
        Chart("learned", lessons),
    ]


def notes(world: Grid, regret: Mapping[str, Tensor]) -> str:
    return (
        f"eta of reading the sign in every decision is {world.distinguishability():.3f}; an episode of exploration "
        f"earns nothing and costs J* = {float(world.value.mean()):.3f}. Mean regret: {shown(regret)}. Regret "
        "with learned parts is of the naive planner, each run the mean over lessons; it is counted with the values of "
        "the world as it is. A learned Actor changes J*: counted is what taking it for the exact one costs."
    )
