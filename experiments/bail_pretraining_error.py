"""bail-pretraining-error: a model that is wrong by a constant amount loses a constant amount in every episode.

Pretrained imperfectly, the planner's law is (1 - error) times the Bayes mixture plus error times the uniform law, off
by at most `error` in total variation. Once the posterior knows the truth, an episode loses what this law loses there,

    slope = J*_z - J_z((1 - error) pi*_z + error Unif) = sum_h E[ V*_h(o_h) - Q*_h(o_h, g_h) ]

exactly, by the occupation of reports under the blurred expert, and about error times a constant of the world: the term
H^2 T Delta_p of the theory, in which Delta_p gathers all errors of pretraining. More data at test time does not help.

He, Chen, Zhang and Yang, "From words to actions", ICML 2024, arXiv 2405.19883.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.algorithms.bail import BAIL
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.latent.random_hierarchy import RandomHierarchy
from gamesim.experiments.planning_regret import APART, curve, exponent_claim, regret_of, rows_of
from gamesim.games.latent_tables import TabularWorld
from gamesim.planning.regret import exponent
from gamesim.study import Claim, Scale, Study, at_most

ERRORS = (0.01, 0.03, 0.1)
TRUTH = 0
EFFORT: Mapping[Scale, tuple[tuple[int, ...], int, int]] = {
    "quick": ((64, 128, 256, 512), 96, 2),
    "full": ((256, 512, 1024, 2048, 4096), 192, 4),
}


@dataclass(frozen=True)
class BailPretrainingError:
    """Regret against episodes for errors of 1, 3 and 10%, in random hierarchies; slopes against their exact values."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        episodes, seeds, instances = EFFORT[scale]
        claims, rows = list[Claim](), list[dict[str, object]]()
        regrets, slopes = list[Tensor](), list[Tensor]()
        for instance in range(instances):
            world = RandomHierarchy(instance=instance, redrawn=12, concentration=0.3, truth=TRUTH)
            y = regret_of(world, BAIL(error=torch.tensor((0.0, *ERRORS), dtype=torch.float64)), episodes, seeds)
            exact = slopes_of(world, (0.0, *ERRORS))
            regrets.append(y)
            slopes.append(exact)
            claims += judged(f"world-{instance}", y, exact, episodes)
            names = {f"error {e:g}": y[:, i] for i, e in enumerate((0.0, *ERRORS))}
            rows += rows_of(names, episodes, world=instance)
            found = (y[..., -1] - y[..., 0]).mean(0) / (episodes[-1] - episodes[0])
            say(f"  world {instance}: slopes {_shown(found)}, exactly {_shown(exact)}")
        pooled = torch.stack(regrets).mean(0)
        for i, e in enumerate(ERRORS, start=1):
            late = exponent(episodes, pooled[:, i] - pooled[:, 0])
            statement = f"error {e:g}, beyond that of none"
            claims.append(exponent_claim(f"error-{e:g}-linear", statement, late, 0.8, 1.2))
        return Study(
            claims, [Chart("regret", panels(pooled, torch.stack(slopes).mean(0), episodes))], rows, notes(slopes)
        )


def slopes_of(world: TabularWorld, errors: Sequence[float], truth: int = TRUTH) -> Tensor:
    """What the expert of the truth loses in an episode when it is blurred, [error]; reports tell the state."""
    tasks, goals = world.task_law, len(world.subgoals)
    error = torch.tensor(errors, dtype=torch.float64)[:, None, None, None]
    seen = world.initial[truth].expand(len(errors), len(tasks), -1)  # where an episode is, [error, w, s]
    lost = torch.zeros(len(errors), len(tasks), dtype=torch.float64)
    for node in world.nodes:
        expert = torch.nn.functional.one_hot(node.best[truth], goals).double()  # [w, s, g]
        law = (1 - error) * expert + error / goals
        lost += torch.einsum("ews,ewsg,wsg->ew", seen, law, node.gaps[truth])
        seen = torch.einsum("ews,ewsg,sgt->ewt", seen, law, world.transition[truth])
    return lost @ tasks


def judged(id: str, y: Tensor, exact: Tensor, episodes: Sequence[int]) -> list[Claim]:
    """y[seed, error, T]: slopes over the run but for its first part, against their exact values."""
    span = episodes[-1] - episodes[0]
    slope = (y[..., -1] - y[..., 0]) / span
    error = slope.std(0) / math.sqrt(len(y))
    apart = ((slope.mean(0) - exact).abs() / error.clamp(min=1e-12))[1:]
    statement = f"{id}: regret in an episode is the exact loss of the blurred expert, for each error"
    claims = [
        at_most(f"{id}-slope", f"{statement}; standard errors apart, at most {APART:g}", float(apart.max()), APART)
    ]
    ratio = exact[1:] / torch.tensor(ERRORS, dtype=torch.float64)
    spread = float(ratio.max() / ratio.min())
    statement = f"{id}: the exact slope is error times a constant, {float(ratio.mean()):.3f}: largest over smallest"
    return [*claims, at_most(f"{id}-proportional", f"{statement}, at most 1.1", spread, 1.1)]


def panels(y: Tensor, exact: Tensor, episodes: Sequence[int]) -> list[Panel]:
    x = [float(t) for t in episodes]
    curves = [curve(f"error {e:g}", episodes, y[:, i]) for i, e in enumerate((0.0, *ERRORS))]
    lines = [
        Curve(f"error {e:g}: exact slope", x, [float(exact[i]) * t for t in x], dashed=True)
        for i, e in enumerate(ERRORS, start=1)
    ]
    return [Panel("Random hierarchies", "episodes T", "regret", [*curves, *lines], log_x=True)]


def notes(slopes: Sequence[Tensor]) -> str:
    words = "; ".join(f"world {i}: {_shown(x[1:] / torch.tensor(ERRORS))}" for i, x in enumerate(slopes))
    return f"Exact slopes over errors {list(ERRORS)}: {words}."


def _shown(x: Tensor) -> list[float]:
    return [round(v, 5) for v in x.tolist()]
