"""graphon-estimation-rate: how fast does a learned graphon approach the true one?

Zhang, Tan, Wang and Yang, "Learning regularized graphon mean-field games with unknown graphons", arXiv 2310.17531: the
error of the estimated transitions, rewards and graphon falls with the number of agents N and of episodes L, in three
regimes: positions known on a grid, known but random, and unknown.

SIS (infection 0.8), exp graphon, agents who play uniformly. The response is learned with nothing known of it; reported
is what one position does to another, dP(infected | susceptible, go out) / dz(infected) times W(x, y), against
infection times the true W: the root of the mean square over [0, 1]^2, in which graphon and response cannot trade scale.
The error of a mean over L episodes is L^(-1/2). Unknown positions are ranks: their error does not vanish with L alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamesim.charts import Chart, Curve, Panel
from gamesim.envs import SIS
from gamesim.estimation import Learner
from gamesim.estimation.estimate import Estimate
from gamesim.estimation.shapes import Family
from gamesim.experiments.over_seeds import band, mean_interval, slope
from gamesim.graphons import Exponential
from gamesim.populations import sample_agents
from gamesim.study import Claim, Scale, Study, at_most

INFECTION, MOST_AGENTS, MOST_EPISODES = 0.8, 50, 1000
REGIMES = {"known grid": ("grid", "known"), "random": ("random", "known"), "unknown": ("random", "sorted")}
TRUE = Exponential(3.0)
EFFORT: Mapping[Scale, tuple[int, list[int], list[int]]] = {
    "quick": (8, [30, 100, 300, 1000], [10, 50]),
    "full": (20, [10, 30, 100, 300, 1000, 3000], [7, 12, 25, 50, 100]),
}
"""Seeds, and numbers of episodes and of agents: the most of both are among them."""


@dataclass(frozen=True)
class GraphonEstimationRate:
    """The error of the learned graphon against episodes and against agents."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        seeds, episodes, agents = EFFORT[scale]
        rows, claims = list[dict[str, Any]](), list[Claim]()
        by_episodes, by_agents = list[Curve](), list[Curve]()
        for regime in REGIMES:
            over_l = errors(regime, [(MOST_AGENTS, n) for n in episodes], seeds)
            fewer = errors(regime, [(n, MOST_EPISODES) for n in agents if n != MOST_AGENTS], seeds)
            both = over_l[:, episodes.index(MOST_EPISODES)]  # where the two sweeps meet
            at = agents.index(MOST_AGENTS)
            over_n = torch.cat([fewer[:, :at], both[:, None], fewer[:, at:]], 1)
            by_episodes.append(band(regime, episodes, over_l, dots=True))
            by_agents.append(band(regime, agents, over_n, dots=True))
            rows += tidy(regime, "episodes", episodes, over_l) + tidy(regime, "agents", agents, over_n)
            claims += judged(regime, episodes, over_l, agents, over_n)
            if regime == "known grid":
                more = torch.tensor([error(regime, MOST_AGENTS, MOST_EPISODES, s) for s in range(seeds, 3 * seeds)])
                mean, interval = mean_interval(torch.cat([both, more]))
                words = f"{regime}: mean error of {MOST_AGENTS} agents and {MOST_EPISODES} episodes below 0.004"
                claims.append(at_most("known-grid-error", words, mean, 0.004, interval))
            say(f"  {regime}: error {over_l[:, -1].mean():.3g}")
        words = "error of infection times W"
        panels = [
            Panel(f"{MOST_AGENTS} agents", "episodes", words, by_episodes, log_x=True, theory={"L^(-1/2)": -0.5}),
            Panel(f"{MOST_EPISODES} episodes", "agents", words, by_agents, log_x=True, theory={"N^(-1/2)": -0.5}),
        ]
        return Study(claims, [Chart("estimation-rate", panels)], rows)


def errors(regime: str, sizes: list[tuple[int, int]], seeds: int) -> Tensor:
    """The error of each seed and size, [seed, size]."""
    return torch.tensor([[error(regime, n, episodes, seed) for n, episodes in sizes] for seed in range(seeds)])


def error(regime: str, agents: int, episodes: int, seed: int) -> float:
    """Root mean square of the learned infection times W, less the true one."""
    drawn, taken = REGIMES[regime]
    game = SIS(graphon=TRUE, infection=INFECTION)
    data = sample_agents(game, agents=agents, episodes=episodes, positions=drawn, seed=seed)  # type: ignore[arg-type]
    learner = Learner(graphon=Family("exp"), positions=taken, seed=seed, restarts=3)  # type: ignore[arg-type]
    return missed(learner.learn(data if taken == "known" else data.without_positions()))


def missed(estimate: Estimate) -> float:
    """The distance to the truth on a grid of 50 positions."""
    x = (torch.arange(50, dtype=torch.float64) + 0.5) / 50
    strength = estimate.slopes(torch.full((2,), 0.25, dtype=torch.float64))[0, 0, 1, 1]
    learned, true = strength * estimate.graphon(x[:, None], x), INFECTION * TRUE(x[:, None], x)
    return float((learned - true).square().mean().sqrt())


def judged(regime: str, episodes: list[int], over_l: Tensor, agents: list[int], over_n: Tensor) -> list[Claim]:
    id = regime.replace(" ", "-")
    found = list[Claim]()
    if regime == "known grid":
        value, interval = slope(episodes, over_l)
        found.append(
            at_most(f"{id}-episodes", f"{regime}: the error falls at least like L^(-0.4)", value, -0.4, interval)
        )
    for what, sizes, y in (("episodes", episodes, over_l), ("agents", agents, over_n)):
        ratio, (low, high) = mean_interval((y[:, -1] / y[:, 0]).log())
        numbers = [float(torch.tensor(v).exp()) for v in (ratio, low, high)]
        words = f"{regime}: the error falls from {sizes[0]} to {sizes[-1]} {what} (ratio below 1)"
        found.append(at_most(f"{id}-{what}-fall", words, numbers[0], 1.0, (numbers[1], numbers[2])))
    return found


def tidy(regime: str, what: str, sizes: list[int], y: Tensor) -> list[dict[str, Any]]:
    return [
        {"regime": regime, "against": what, "size": size, "seed": seed, "error": float(y[seed, i])}
        for seed in range(len(y)) for i, size in enumerate(sizes)
    ]  # fmt: skip
