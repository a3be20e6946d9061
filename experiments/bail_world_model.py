"""bail-world-model: planning with the predictions of a language model that averages over worlds.

The model predicts reports, P(o | g, heard) = sum_z P(z | heard) P_z(o | g), and the planner takes the best plan for the
episode under it, by backward induction on all that may be said and heard (gamesim.planning.world_model). Such a plan is
deterministic: what it does not expect to pay in this episode it never tries. So where following the mixture of experts
saturates (two arms, one a trap; eight random worlds that differ in two rows of their kernels) its regret is linear
without exploration. Where worlds differ in a third of all rows it saturates as well, and loses less than the mixture,
since it plans for what it will hear within an episode. Exploring whole episodes with the probability of the theory has
a regret like the root of T wherever the theory's probability is below one.

He, Chen, Zhang and Yang, "From words to actions", ICML 2024, arXiv 2405.19883, section on world models.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from gamesim.algorithms.bail import BAIL
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.latent.needle import Needle
from gamesim.envs.latent.random_hierarchy import RandomHierarchy
from gamesim.envs.latent.trap import Trap
from gamesim.experiments.over_seeds import below, mean_interval
from gamesim.experiments.planning_regret import curve, exponent_claim, regret_of, rows_of, shown
from gamesim.games.latent import LatentWorld
from gamesim.games.latent_tables import TabularWorld
from gamesim.planning.exploration import Theory
from gamesim.planning.regret import exploring_bound, exponent
from gamesim.planning.world_model import Tree, WorldModel
from gamesim.study import Claim, Scale, Study, at_least, at_most


@dataclass(frozen=True)
class Effort:
    boxes: tuple[int, ...]
    trap: tuple[int, ...]
    random: tuple[int, ...]
    """For both kinds of random worlds."""
    seeds: int


EFFORT: Mapping[Scale, Effort] = {
    "quick": Effort((64, 128, 256, 512), (128, 512, 2048), (64, 256, 1024), 32),
    "full": Effort((64, 128, 256, 512, 1024), (128, 512, 2048, 8192), (64, 256, 1024, 4096), 96),
}
NAMES = {"needle": "T boxes", "trap": "the trap", "random": "random worlds", "alike": "worlds nearly alike"}
DIFFERENT = {"redrawn": 12, "concentration": 0.3}
"""A third of all rows, far from uniform: eta = 0.4, whereas by default two rows differ and eta = 0.03."""


@dataclass(frozen=True)
class BailWorldModel:
    """The best plan under the mixture of worlds, with and without exploration, on three kinds of worlds."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        effort = EFFORT[scale]
        trap, random, alike = Trap(truth="bold"), RandomHierarchy(**DIFFERENT), RandomHierarchy()  # type: ignore[arg-type]
        plain, seeds = BAIL(planner=WorldModel()), effort.seeds
        boxes = [(Needle(boxes=n), n) for n in effort.boxes]
        found = {
            "needle": {"world-model": apart(boxes, plain, 4 * seeds), "exploring": apart(boxes, None, 4 * seeds)},
            "trap": both(trap, effort.trap, seeds),
            "random": both(random, effort.random, seeds),
            "alike": both(alike, effort.random, seeds, explores=False),
        }
        sizes = {"needle": effort.boxes, "trap": effort.trap, "random": effort.random, "alike": effort.random}
        for name, regret in found.items():
            say(f"  {NAMES[name]}, T = {list(sizes[name])}: {shown(regret)}")
        claims = [by_brute_force(), *judged(found, sizes)]
        bounds = {
            "needle": [exploring_bound(n, n, world.distinguishability()) for world, n in boxes],
            "trap": [_bound(trap, t) for t in effort.trap],
            "random": [_bound(random, t) for t in effort.random],
        }
        panels = list[Panel]()
        for name, regret in found.items():
            curves = [curve(planner, sizes[name], y) for planner, y in regret.items()]
            if name in bounds:
                parts = [mean_interval(regret["exploring"][:, i] / y) for i, y in enumerate(bounds[name])]
                mean, interval = max(parts, key=lambda part: part[1][1])
                statement = f"{NAMES[name]}: exploring, regret over the bound of the theory, at most 1 at every T"
                claims.append(at_most(f"{name}-bound", statement, mean, 1.0, interval))
                curves.append(Curve("bound of exploring", [float(t) for t in sizes[name]], bounds[name], dashed=True))
            panels.append(Panel(NAMES[name], "episodes T", "regret", curves, log_x=True))
        rows = [row for name, y in found.items() for row in rows_of(y, sizes[name], world=name)]
        notes = (
            "Regret against the expert who knows the world, by exact advantages; each run in random worlds has a "
            "latent of its own, drawn from the prior. A plan stops learning where the best one no longer tells the "
            "latents that are left from each other, which worlds that are nearly alike let it do at once: for these "
            "the theory's probability of exploring is 1 up to hundreds of episodes, so that it is not shown."
        )
        return Study(claims, [Chart("regret", panels)], rows, notes)


def apart(worlds: Sequence[tuple[LatentWorld, int]], solver: BAIL | None, seeds: int) -> Tensor:
    """Regret of runs of different lengths, [seed, T]; exploring, if no solver is given."""
    columns = list[Tensor]()
    for world, t in worlds:
        chosen = BAIL(planner=WorldModel(), exploration=Theory(t)) if solver is None else solver
        columns.append(regret_of(world, chosen, (t,), seeds)[..., 0])
    return torch.stack(columns, -1)


def both(world: LatentWorld, sizes: Sequence[int], seeds: int, explores: bool = True) -> dict[str, Tensor]:
    """Regret without exploration and with it, and of the mixture of experts, [seed, T]."""
    exploring = {"exploring": apart([(world, t) for t in sizes], None, seeds)} if explores else {}
    return {
        "world-model": regret_of(world, BAIL(planner=WorldModel()), sizes, seeds),
        **exploring,
        "mixture of experts": regret_of(world, BAIL(), sizes, seeds),
    }


def _bound(world: LatentWorld, t: int) -> float:
    return exploring_bound(t, len(world.prior), world.distinguishability(), world.horizon, world.coverage)


def judged(found: Mapping[str, Mapping[str, Tensor]], sizes: Mapping[str, Sequence[int]]) -> list[Claim]:
    claims = list[Claim]()
    for name, low, high in (("needle", 0.9, 1.1), ("trap", 0.97, 1.03)):
        fit = exponent(sizes[name], found[name]["world-model"])
        claims.append(exponent_claim(f"{name}-linear", f"{NAMES[name]}: without exploration", fit, low, high))
    fit = exponent(sizes["alike"], found["alike"]["world-model"])
    statement = f"{NAMES['alike']}: without exploration regret grows faster than a root: exponent of T, at least 0.65"
    claims.append(at_least("alike-linear", statement, fit.value, 0.65, fit.interval))
    for name in ("needle", "random"):
        fit = exponent(sizes[name], found[name]["exploring"])
        claims.append(exponent_claim(f"{name}-root", f"{NAMES[name]}: exploring", fit, 0.45, 0.65))
    fit = exponent(sizes["trap"], found["trap"]["exploring"])
    statement = "the trap: exploring, exponent of T, at most 0.65"
    claims.append(at_most("trap-root", statement, fit.value, 0.65, fit.interval))
    for name, planner in (("random", "world-model"), ("random", "mixture of experts"), ("alike", "mixture of experts")):
        mean, interval = mean_interval(found[name][planner][:, -1] - found[name][planner][:, -2])
        statement = f"{NAMES[name]}: {planner} adds at most 0.1 from T = {sizes[name][-2]:,} to {sizes[name][-1]:,}"
        claims.append(at_most(f"{name}-{planner.split()[0]}-saturates", statement, mean, 0.1, interval))
    mean, interval = mean_interval(found["random"]["world-model"][:, -1] - found["random"]["mixture of experts"][:, -1])
    statement = f"{NAMES['random']}: planning loses less than the mixture of experts (difference)"
    claims.append(at_most("random-plan-below-mixture", statement, mean, 0.0, interval))
    mean, interval = mean_interval(found["trap"]["mixture of experts"][:, -1] / sizes["trap"][-1])
    statement = (
        f"the trap: the mixture of experts loses at most 0.02 an episode up to T = {sizes['trap'][-1]:,}, planning 0.3"
    )
    claims.append(at_most("trap-mixture", statement, mean, 0.02, interval))
    last = [found["trap"][planner][:, -1] + 0.5 for planner in ("exploring", "world-model")]
    statement = f"the trap: at T = {sizes['trap'][-1]:,} exploring loses less than not"
    claims.append(below("trap-exploring-below", statement, *last))
    return claims


def by_brute_force() -> Claim:
    """Values of the tree against a sum over all histories, on a tiny world at random weights."""
    world = RandomHierarchy(latent_count=3, report_count=2, subgoal_count=2, episode=3, redrawn=2)
    tree, weights = Tree.of(world), torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    away = 0.0
    for task, first in product(range(2), range(2)):
        q = tree.values(0, torch.tensor(task), tree.first[first], weights)
        given = [float(weights[z] * world.initial[z] @ world.emission[z][:, first]) for z in range(3)]
        for g in range(2):
            away = max(away, abs(float(q[g]) - expectimax(world, 0, task, first, given, g)))
    statement = "values of all plans are those of a recursion over all histories (largest difference)"
    return at_most("brute-force", statement, away, 1e-12)


def expectimax(world: TabularWorld, h: int, task: int, state: int, weights: Sequence[float], subgoal: int) -> float:
    """The expected reward of a subgoal and the best continuation, by weights of latents; states are reported."""
    total = 0.0
    for o in range(world.transition.shape[-1]):
        after = [w * float(world.transition[z, state, subgoal, o]) for z, w in enumerate(weights)]
        total += sum(after) * float(world.reward[task, o])
        if h < world.horizon - 1:
            total += max(expectimax(world, h + 1, task, o, after, g) for g in range(world.transition.shape[2]))
    return total
