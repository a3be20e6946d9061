"""bail-many-actors: K actors that must act together, by a planner that is asked for each of them alone.

Each query of the model gives one actor's law, so that actions come from a product of K mixtures, whose total variation
from the expert's is at most K times that of one. With that in its bound the theory explores with probability

    eps = min{ 1, sqrt( H K log(c_Z |Z| sqrt T) / (T eta) ) },
    Reg(T) <= 2 H^{3/2} sqrt( K T log(c_Z |Z| sqrt T) / eta )

and the regret grows like the root of K. In this world (gamesim.envs.latent.many_actors) all must open the right boxes
of one set together, or all read the sign, whose eta does not depend on K. Three more things are measured: without
exploration actors who are asked one by one do not agree on a set often enough to learn, also where |Z| is fixed; a
planner that draws one latent for all of them (posterior sampling) has no such trouble; and with the eps of a single
actor the regret hardly grows with K: here the root of K is the price of the bound, not of the world.

He et al., "From words to actions", ICML 2024, arXiv 2405.19883, section on many actors; the instance is ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamesim.algorithms.bail import BAIL
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.latent.many_actors import ManyActors
from gamesim.experiments.over_seeds import mean_interval
from gamesim.experiments.planning_regret import curve, exponent_claim, regret_of, rows_of, shown, within
from gamesim.games.latent import Belief
from gamesim.planning.exact import PosteriorSampling
from gamesim.planning.exploration import Constant, Theory, theory_epsilon
from gamesim.planning.planner import mixture
from gamesim.planning.regret import exploring_bound, exponent, naive_bound
from gamesim.randomness import Stream
from gamesim.study import Claim, Scale, Study, at_least, at_most

ACTORS = (1, 2, 4, 8, 16)
SOME = 4
"""K where T or |Z| is what changes."""


@dataclass(frozen=True)
class Effort:
    boxes: int
    """|Z| where it is fixed."""
    episodes: int
    """T where it is fixed."""
    times: tuple[int, ...]
    sizes: tuple[int, ...]
    """|Z| = T."""
    seeds: int


EFFORT: Mapping[Scale, Effort] = {
    "quick": Effort(16, 1024, (256, 1024, 4096), (64, 128, 256, 512), 48),
    "full": Effort(64, 16_384, (256, 1024, 4096, 16_384), (64, 128, 256, 512, 1024, 2048), 96),
}


@dataclass(frozen=True)
class BailManyActors:
    """Regret against K, against T, and with |Z| = T; and the total variation of products."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        effort = EFFORT[scale]
        worlds = {k: ManyActors(actors=k, boxes=effort.boxes) for k in ACTORS}
        single = Constant(theory_epsilon(worlds[1], effort.episodes))
        solvers: Mapping[str, Any] = {
            "theory": BAIL(exploration=Theory(effort.episodes)),
            "theory of one actor": BAIL(exploration=single),
            "naive": BAIL(),
            "posterior sampling": BAIL(planner=PosteriorSampling()),
        }
        by_actors = {
            name: torch.cat([regret_of(w, solver, (effort.episodes,), effort.seeds) for w in worlds.values()], -1)
            for name, solver in solvers.items()
        }
        say(f"  K = {list(ACTORS)}, T = {effort.episodes:,}, |Z| = {effort.boxes}: {shown(by_actors)}")
        world = worlds[SOME]
        columns = [regret_of(world, BAIL(exploration=Theory(t)), (t,), effort.seeds) for t in effort.times]
        by_time = {
            "theory": torch.cat(columns, -1),
            "naive": regret_of(world, BAIL(), effort.times, effort.seeds),
            "posterior sampling": regret_of(world, solvers["posterior sampling"], effort.times, effort.seeds),
        }
        say(f"  K = {SOME}, T = {list(effort.times)}: {shown(by_time)}")
        columns = [regret_of(ManyActors(actors=SOME, boxes=n), BAIL(), (n,), effort.seeds) for n in effort.sizes]
        by_size = {"naive": torch.cat(columns, -1)}
        say(f"  K = {SOME}, T = |Z| = {list(effort.sizes)}: {shown(by_size)}")
        claims = [*in_actors(by_actors, worlds, effort), *in_time(by_time, by_size, world, effort), products()]
        upper = [_bound(w, effort.episodes) for w in worlds.values()]
        panels = [
            Panel(f"T = {effort.episodes:,}, |Z| = {effort.boxes}", "actors K", "regret", [
                *[curve(name, ACTORS, y) for name, y in by_actors.items()],
                Curve("bound", [float(k) for k in ACTORS], upper, dashed=True),
            ], log_x=True),
            Panel(f"{SOME} actors", "episodes T", "regret", [
                *[curve(name, effort.times, y) for name, y in by_time.items()],
                curve("naive, |Z| = T", effort.sizes, by_size["naive"]),
                Curve("bound", [float(t) for t in effort.times], [_bound(world, t) for t in effort.times], dashed=True),
            ], log_x=True),
        ]  # fmt: skip
        rows = [
            {"actors": ACTORS[i], "latents": effort.boxes, "planner": name, "episodes": effort.episodes, "regret": x}
            for name, y in by_actors.items() for i in range(len(ACTORS)) for x in y[:, i].tolist()
        ]  # fmt: skip
        for found, sizes, latents in ((by_time, effort.times, effort.boxes), (by_size, effort.sizes, None)):
            rows += [
                {"actors": SOME, "latents": latents or row["episodes"], "planner": row["planner"],
                 "episodes": row["episodes"], "regret": row["regret"]}
                for row in rows_of(found, sizes)
            ]  # fmt: skip
        chances = [round(theory_epsilon(w, effort.episodes), 3) for w in worlds.values()]
        notes = (
            f"The theory's eps at K = {list(ACTORS)}: {chances}; that of one actor is used for all K under its name. "
            "With exploration the posterior is off by a mass that falls geometrically, so that K factors need only "
            "log K more episodes of exploration, not K times as many."
        )
        return Study(claims, [Chart("regret", panels)], rows, notes)


def _bound(world: ManyActors, episodes: int) -> float:
    return exploring_bound(episodes, world.boxes, world.distinguishability(), actors=world.actors)


def in_actors(found: Mapping[str, Tensor], worlds: Mapping[int, ManyActors], effort: Effort) -> list[Claim]:
    """How regret grows with K."""
    fit = exponent(ACTORS, found["theory"])
    claims = [within("root-of-k", "the theory's eps: exponent of K", fit.value, 0.35, 0.65, fit.interval)]
    fit = exponent(ACTORS, found["theory of one actor"])
    words = "the eps of one actor for all K: exponent of K, at most 0.2"
    claims.append(at_most("one-actor-flat", words, fit.value, 0.2, fit.interval))
    parts = [mean_interval(found["theory"][:, i] / _bound(w, effort.episodes)) for i, w in enumerate(worlds.values())]
    mean, interval = max(parts, key=lambda part: part[1][1])
    words = "the theory's eps: regret over 2 sqrt(K T log(|Z| sqrt T) / eta), at most 1 at every K"
    claims.append(at_most("bound-in-k", words, mean, 1.0, interval))
    lost = found["naive"][:, ACTORS.index(SOME)] / (effort.episodes * worlds[SOME].prize)
    mean, interval = mean_interval(lost)
    words = f"{SOME} actors without exploration: share of all that there is that is lost, at least 0.9, with |Z| fixed"
    claims.append(at_least("no-agreement", words, mean, 0.9, interval))
    one, many = found["posterior sampling"][:, 0], found["posterior sampling"][:, -1]
    mean, interval = mean_interval(many - one)
    words = f"one latent drawn for all actors: {ACTORS[-1]} actors lose no more than 1 more than one (difference)"
    return [*claims, at_most("agreement", words, mean, 1.0, interval)]


def in_time(found: Mapping[str, Tensor], sized: Mapping[str, Tensor], world: ManyActors, effort: Effort) -> list[Claim]:
    """How regret grows with T, |Z| fixed, and with T = |Z|."""
    claims = [
        exponent_claim("root-of-t", f"K = {SOME}: exploring", exponent(effort.times, found["theory"]), 0.45, 0.65)
    ]
    fit = exponent(effort.times, found["naive"])
    claims.append(exponent_claim("fixed-linear", f"K = {SOME}, |Z| = {effort.boxes}: naive", fit, 0.9, 1.1))
    y = found["posterior sampling"]
    mean, interval = mean_interval(y[:, -1] - y[:, -2])
    words = f"K = {SOME}: posterior sampling adds at most 1 from T = {effort.times[-2]:,} to {effort.times[-1]:,}"
    claims.append(at_most("sampling-saturates", words, mean, 1.0, interval))
    fit = exponent(effort.sizes, sized["naive"])
    claims.append(exponent_claim("naive-linear", f"K = {SOME}, |Z| = T: naive", fit, 0.9, 1.1))
    parts = [mean_interval(sized["naive"][:, i] / naive_bound(n, n)) for i, n in enumerate(effort.sizes)]
    mean, interval = min(parts, key=lambda part: part[1][0])
    words = f"K = {SOME}, |Z| = T: naive: regret over T / 2 (1 - 1/T)^T, at least 1 at every T"
    return [*claims, at_least("naive-lower-bound", words, mean, 1.0, interval)]


def products(boxes: int = 3, trials: int = 500) -> Claim:
    """Total variation of products over K times that of their factors, for laws of random beliefs, K up to 4."""
    largest = 0.0
    for k in range(1, 5):
        world, generator = ManyActors(actors=k, boxes=boxes), Stream(k)
        beliefs = [Belief.of(4 * generator.normal((trials, boxes))) for _ in range(2)]
        none = torch.zeros(trials, dtype=torch.long)
        laws = [mixture(world, 0, none, belief) for belief in beliefs]  # [trial, k, g]
        each = (laws[0] - laws[1]).abs().sum(-1).sum(-1) / 2
        joint = (product_law(laws[0]) - product_law(laws[1])).abs().sum(-1) / 2
        largest = max(largest, float((joint / each.clamp(min=1e-12)).max()))
    words = "total variation of products of K laws over the sum of that of their factors, K = 1 ... 4 (largest)"
    return at_most("product-variation", words, largest, 1 + 1e-9)


def product_law(law: Tensor) -> Tensor:
    """The joint law of independent draws from law[..., k, g], [..., g^k]."""
    joint = law[..., 0, :]
    for k in range(1, law.shape[-2]):
        joint = (joint[..., :, None] * law[..., k, None, :]).flatten(-2)
    return joint
