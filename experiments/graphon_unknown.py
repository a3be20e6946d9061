"""graphon-unknown: does learning the graphon from sampled agents help, and by how much?

Zhang, Tan, Wang and Yang, "Learning regularized graphon mean-field games with unknown graphons", arXiv 2310.17531: the
equilibrium of a game whose transitions, rewards and graphon are learned from sampled agents of unknown positions is
played in the true game; the comparison is with the equilibria for the constant graphons 1, 0.5 and 0, as in the
authors' experiments, and with the true graphon. Constant graphons are given the true transitions and rewards, so they
err in the graphon alone; the learned game knows none of the three.

SIS (reward scale 5, horizon 50) and Beach (crowd 8, horizon 15), temperature 1, 50 agents, positions i.i.d. and not
recorded. exp is learned by sorting the agents, blocks by labelling them. Agents of SIS play uniformly; a uniform policy
would leave the beach evenly crowded, and what agents make of a crowd unidentified, so those of Beach follow common
random desires that change every five steps.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from gamesim.charts import Chart, Curve, Panel
from gamesim.envs import SIS, Beach
from gamesim.experiments.learned import equilibrium, learned_gap
from gamesim.experiments.over_seeds import band, mean_interval
from gamesim.games import GraphonGame
from gamesim.graphons import ErdosRenyi, Exponential, Graphon, StochasticBlock
from gamesim.populations import sample_agents
from gamesim.populations.behaviour import roam
from gamesim.study import Claim, Scale, Study, at_least, at_most

TEMPERATURE, AGENTS = 1.0, 50
GRAPHONS: dict[str, tuple[Graphon, str]] = {
    "exp": (Exponential(3.0), "exp"),
    "blocks": (StochasticBlock(0.9, 0.3, 0.7), "blocks(2)"),
}
CONSTANTS = (1.0, 0.5, 0.0)
EFFORT: Mapping[Scale, tuple[Sequence[int], int]] = {"quick": ([30, 1000], 5), "full": ([10, 30, 100, 300, 1000], 10)}
"""Numbers of episodes, and of seeds."""
LAWS = {"equations known": "graphon/{}", "nothing known": "mixture"}


@dataclass(frozen=True)
class GraphonUnknown:
    """Plug-in exploitability against the number of episodes, with what constant graphons give."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        quick = scale == "quick"
        episodes, seeds = EFFORT[scale]
        claims, rows, panels = list[Claim](), list[dict[str, Any]](), list[Panel]()
        for name, graphon in GRAPHONS.items():
            for game in true_games(graphon[0]):
                kind = type(game).__name__.lower()
                words = f"{'SIS' if kind == 'sis' else 'beach'}, {name}"
                given = constants(game)
                rows += [row(kind, name, f"constant {p:g}", 0, 0, gap) for p, gap in given.items()]
                curves = [
                    Curve(f"constant {p:g}", episodes, [g] * len(episodes), dashed=True) for p, g in given.items()
                ]
                truth = float(game.exploitability(equilibrium(game, TEMPERATURE), TEMPERATURE))
                rows.append(row(kind, name, "true graphon", 0, 0, truth))
                for what, law in LAWS.items():
                    if quick and kind == "beach" and law == "mixture":
                        continue  # ten places, each with a response of its own: for the full scale
                    assumed = {"graphon": graphon[1], "law": law.format(kind)}
                    gaps = torch.tensor([[one(game, n, seed, assumed) for n in episodes] for seed in range(seeds)])
                    rows += [
                        row(kind, name, what, n, seed, float(gaps[seed, i]))
                        for seed in range(seeds) for i, n in enumerate(episodes)
                    ]  # fmt: skip
                    curves.append(band(f"learned, {what}", episodes, gaps, dots=True))
                    found = judged(f"{kind}-{name}-{law.partition('/')[0]}", f"{words}, {what}", kind, gaps, given)
                    claims += found[: 1 if quick else 2]  # few seeds cannot tell a trend
                    say(f"  {words}, {what}: {gaps[:, -1].mean():.3g} against {min(given.values()):.3g}")
                panels.append(
                    Panel(words, "episodes", "regularized exploitability in the true game", curves, log_x=True)
                )
        return Study(claims, [Chart("unknown", panels)], rows)


def true_games(graphon: Graphon) -> list[GraphonGame]:
    """The games of the paper; blocks are played exactly, one position for each."""
    where: Any = {"quadrature": "block"} if graphon.blocks() is not None else {"positions": 50}
    return [SIS(graphon=graphon, reward_scale=5.0, **where), Beach(graphon=graphon, horizon=15, crowd=8.0, **where)]


def constants(game: GraphonGame) -> dict[float, float]:
    """The exploitability, in the game, of the equilibria for constant graphons."""
    found = {}
    for p in CONSTANTS:
        other = replace(game, graphon=ErdosRenyi(p), positions=1, quadrature="midpoint")
        (policy,) = equilibrium(other, TEMPERATURE)
        everywhere = policy.expand(-1, len(game.grid), -1, -1)
        found[p] = float(game.exploitability((everywhere,), TEMPERATURE))
    return found


def one(game: GraphonGame, episodes: int, seed: int, assumed: dict[str, str]) -> float:
    """The exploitability of one learned game."""
    policy = roam(game, seed) if isinstance(game, Beach) else None
    data = sample_agents(game, policy, agents=AGENTS, episodes=episodes, positions="random", seed=seed)
    return learned_gap(game, data, TEMPERATURE, **assumed)[0]


def judged(id: str, words: str, kind: str, gaps: torch.Tensor, given: dict[float, float]) -> list[Claim]:
    """With the most episodes: how far below every constant graphon, and that more episodes help."""
    best, factor = min(given.values()), 10.0 if kind == "sis" else 1.0
    mean, (low, high) = mean_interval(gaps[:, -1])
    times = "at least 10 times" if factor > 1 else "still"
    fewer, interval = mean_interval((gaps[:, -1] / gaps[:, 0]).log())
    ratio = [float(torch.tensor(x).exp()) for x in (fewer, *interval)]
    return [
        at_least(
            f"{id}-beats-constants", f"{words}: mean exploitability {times} below that of every constant graphon",
            best / mean, factor, (best / high, best / max(low, 1e-3 * mean)),
        ),
        at_most(
            f"{id}-falls", f"{words}: it falls with the number of episodes (last over first)",
            ratio[0], 1.0, (ratio[1], ratio[2]),
        ),
    ]  # fmt: skip


def row(game: str, graphon: str, how: str, episodes: int, seed: int, gap: float) -> dict[str, Any]:
    return {"game": game, "graphon": graphon, "how": how, "episodes": episodes, "seed": seed, "exploitability": gap}
