"""Calibration: how far a planner's laws of subgoals are from the exact posterior mixture, step by step.

At each decision the planner's law p is held against pi(g) = sum_z P(z | heard) pi*_z(g), which knows everything that
was heard and reads subgoals as interventions, on the history that the planner itself has made:

    TV = 1/2 sum_g |p - pi|,    KL = sum_g pi log(pi / p)

and its confidence c = max_g p(g) against pi at that subgoal, which is the chance that the true expert would say it. In
bins of c, with share w_b of the decisions,

    ECE = sum_b w_b | mean c - mean pi |

the expected calibration error (Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017,
arXiv 1706.04599) with probabilities in place of outcomes, which takes their noise out.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim import simplex
from gamesim.errors import refuse
from gamesim.games.latent import LatentWorld, shared
from gamesim.planning.exploration import Exploration, NoExploration
from gamesim.planning.planner import Planner, mixture
from gamesim.randomness import Stream
from gamesim.simplex import drawn


@dataclass(frozen=True)
class Calibration:
    """Distances of laws, and confidence in bins."""

    total_variation: Tensor
    """[...]: from 0 to 1."""
    divergence: Tensor
    """KL(exact || law), [...], in nats; infinite where the law leaves out what the exact one may say."""
    share: Tensor
    """[bin]: of the decisions; bins are equal intervals of [0, 1] and hold their upper end."""
    confidence: Tensor
    """[bin]: the mean of max_g p(g); nan in a bin without decisions."""
    chance: Tensor
    """[bin]: the mean exact probability of that subgoal; nan in a bin without decisions."""

    @property
    def expected_error(self) -> float:
        """ECE, from 0 to 1."""
        return float((self.share * (self.confidence - self.chance).abs().nan_to_num()).sum())

    @property
    def overconfidence(self) -> float:
        """Mean confidence minus mean chance: above 0 where the planner is surer than what was heard allows."""
        return float((self.share * (self.confidence - self.chance).nan_to_num()).sum())


def calibration(law: Tensor, exact: Tensor, bins: int = 10) -> Calibration:
    """Laws p[..., g] against exact ones [..., g] of the same shape.

    >>> found = calibration(torch.tensor([[0.9, 0.1], [0.3, 0.7]]), torch.tensor([[0.5, 0.5], [0.3, 0.7]]))
    >>> [round(x, 3) for x in found.total_variation.tolist()], round(found.expected_error, 3)
    ([0.4, 0.0], 0.2)
    """
    if law.shape != exact.shape or not law.dim() or not law.numel():
        raise refuse("law", f"shape {list(law.shape)}", f"that of the exact laws, {list(exact.shape)}, not empty")
    if bins < 1:
        raise refuse("bins", bins, "a whole number of at least 1")
    law, exact = law.double(), exact.double()
    top, said = law.max(-1)
    chance = exact.gather(-1, said[..., None]).squeeze(-1)
    which = ((top * bins).ceil().long() - 1).clamp(0, bins - 1).flatten()
    count, tops, chances = (
        torch.zeros(bins, dtype=torch.float64, device=law.device).scatter_add(0, which, x.flatten())
        for x in (torch.ones_like(top), top, chance)
    )
    return Calibration(
        0.5 * (law - exact).abs().sum(-1),
        simplex.divergence(exact, law),
        count / count.sum(),
        tops / count,
        chances / count,
    )


def calibrate(
    world: LatentWorld,
    planner: Planner,
    *,
    episodes: int,
    runs: int = 64,
    seed: int = 0,
    exploration: Exploration | None = None,
    bins: int = 10,
) -> Calibration:
    """Let a planner play, and hold each of its laws against the exact mixture: total_variation[run, episode, h, k].

    What it would say is compared in episodes of exploration, too.
    """
    if not planner.has_law:
        raise refuse("planner", str(planner), "one that knows the law of what it says")
    for name, value in (("episodes", episodes), ("runs", runs)):
        if value < 1:
            raise refuse(name, value, "a whole number of at least 1")
    explore, stream, front = exploration or NoExploration(), Stream([seed + i for i in range(runs)]), (runs,)
    explore.require(planner)
    planner.require(world)
    memory, belief = planner.begin(world, front), world.believe(front)
    latent = drawn(world.truth_law, shared(stream, front, 1)[..., 0])
    laws, exact = list[Tensor](), list[Tensor]()
    for t in range(episodes):
        luck = stream.at(t + 1)
        task = drawn(world.task_law, shared(luck, front, 1)[..., 0])
        explores = shared(luck, front, 1)[..., 0] < explore.chance(t, world, planner.belief(memory))
        state, report = world.open(latent, shared(luck, front, 2))
        memory, belief = planner.meet(world, memory, task, report, luck), world.meet(belief, report)
        for h in range(world.horizon):
            law = planner.law(world, h, task, memory)
            laws.append(law)
            exact.append(mixture(world, h, task, belief).expand(law.shape))
            said = torch.where(explores[..., None, None], world.explore(h, report), law)
            subgoal = drawn(said, shared(luck, front, world.actors))
            state, report = world.move(h, latent, state, subgoal, shared(luck, front, 2))
            memory = planner.hear(world, h, memory, subgoal, report)
            belief = world.update(h, belief, subgoal, report)
    law, mix = (torch.stack(x, 1).unflatten(1, (episodes, world.horizon)) for x in (laws, exact))
    return calibration(law, mix, bins)
