"""graphon-real-network: an epidemic game on networks that were measured, and what a coarse model of them costs.

SIS (Cui and Koeppl, ICLR 2022) on Zachary's karate club and on the characters of Les Miserables (Knuth), one position
per node. A policy learned on a coarse model of the network (B blocks after sorting by degree; B = 1 is Erdos-Renyi with
the same density) is carried to the nodes and judged in the true game: what does the coarseness cost?
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from gamesim.algorithms import GMFGPPO
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs import SIS
from gamesim.loop import solve
from gamesim.schedules import Constant
from gamesim.study import Claim, Scale, Study, at_least, at_most

NETWORKS = ("karate-club", "les-miserables")
TEMPERATURE = 0.2


def epidemic(network: str, blocks: int | None = None) -> SIS:
    """SIS with an infection strong enough for a sparse network."""
    return SIS(graph=network, blocks=blocks, infection=1.0, recovery=0.1)


@dataclass(frozen=True)
class GraphonRealNetwork:
    """Who stays in on a real network, and the exploitability of policies learned on coarse models of it."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        claims, rows, cost, who = list[Claim](), list[dict[str, object]](), list[Curve](), list[Curve]()
        solver = GMFGPPO(Constant(1.0), TEMPERATURE, Constant(0.3))
        iterations = 150 if scale == "quick" else 600
        for network in NETWORKS:
            game = epidemic(network)
            result = solve(game, solver, iterations=iterations, every=iterations)
            gap = float(result.regularized_exploitability[0, -1])
            claims.append(
                at_most(
                    f"{network}-solved",
                    f"{network}: regularized exploitability below 1e-8 after {iterations} iterations",
                    gap,
                    1e-8,
                )
            )
            stays = (game.flow(result.policy)[..., None] * result.policy[0])[..., 1].sum(-1).mean(0)
            degree = game.degrees[0][:, 0] * len(game.grid)
            rank, interval = rank_correlation(degree.numpy(), stays.numpy())
            claims.append(
                at_least(
                    f"{network}-hubs",
                    f"{network}: the better connected stay in more often (rank correlation at least 0.5)",
                    rank,
                    0.5,
                    interval,
                )
            )
            who.append(Curve(network, *by_degree(degree.numpy(), stays.numpy()), dots=True))
            nodes, sizes, gaps = len(game.grid), [1, 2, 4, 8, 16, 32], []
            for blocks in sizes:
                coarse = epidemic(network, blocks)
                learned = solve(coarse, solver, iterations=iterations, every=iterations).policy
                carried = carry(coarse, learned[0], nodes)
                gaps.append(float(game.exploitability((carried,), TEMPERATURE)))
                rows.append(
                    {"network": network, "nodes": nodes, "blocks": blocks, "regularized_exploitability": gaps[-1]}
                )
            rows.append({"network": network, "nodes": nodes, "blocks": nodes, "regularized_exploitability": gap})
            say(f"  {network}: cost of 1..32 blocks " + ", ".join(f"{g:.3g}" for g in gaps))
            cost.append(Curve(network, sizes, gaps, dots=True))
            claims.append(
                at_most(
                    f"{network}-blocks",
                    f"{network}: 8 blocks cost at most a third of what 1 block (Erdos-Renyi) costs",
                    gaps[3] / gaps[0],
                    1 / 3,
                )
            )
        panels = [
            Panel(
                "What a coarse model costs",
                "blocks of the model",
                "regularized exploitability in the true game",
                cost,
                log_x=True,
            ),
            Panel("Who stays in", "degree", "probability to stay in, mean over the game", who, log_y=False),
        ]
        return Study(claims, [Chart("real-network", panels)], rows)


def carry(coarse: SIS, policy: torch.Tensor, nodes: int) -> torch.Tensor:
    """A policy on blocks given to the nodes of each block (nodes are in the same order, by degree)."""
    edges = coarse.grid.weights.cumsum(0)
    centres = (torch.arange(nodes, dtype=edges.dtype) + 0.5) / nodes
    return policy.index_select(-3, torch.searchsorted(edges, centres).clamp(max=len(edges) - 1))


def rank_correlation(x: np.ndarray, y: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Spearman's rank correlation with a 95% bootstrap interval over nodes."""
    from scipy.stats import spearmanr

    generator = np.random.default_rng(np.random.SeedSequence(0))
    draws = generator.integers(0, len(x), (2000, len(x)))
    found = [spearmanr(x[i], y[i]).statistic for i in draws]
    return float(spearmanr(x, y).statistic), (float(np.percentile(found, 2.5)), float(np.percentile(found, 97.5)))


def by_degree(degree: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]]:
    """The mean of y over the nodes of each degree."""
    values = np.unique(degree.round().astype(int))
    return [float(v) for v in values], [float(y[degree.round() == v].mean()) for v in values]
