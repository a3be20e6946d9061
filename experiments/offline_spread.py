"""offline-spread: who learns cooperative navigation from recorded play alone, against the number of agents.

Zhang et al., "Relational reasoning via set transformers: provable efficiency and applications to multi-agent
reinforcement learning", NeurIPS 2022, arXiv 2209.09845: pessimistic learners with set transformers, model-free and
model-based, learn from recorded play, and networks that are invariant under renaming of agents do better than one that
is not, the more so the more agents there are. The baselines are those of the offline multi-agent literature (Pan et
al., "Plan better amid conservatism", ICML 2022, for OMAR), and imitation, which is hard to beat: Formanek et al.,
NeurIPS 2024, arXiv 2406.09068.

Data are mixed: episodes on five rungs from random play to the expert, as if recorded while somebody learned. A score is
0 for random play and 100 for the expert. Judged is the policy of the last iteration, not the best one on the way, which
nobody can know who may not play.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gamesim import making
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.sets.recorded import RecordedPlay
from gamesim.experiments.over_seeds import mean_interval
from gamesim.loop import Result, solve
from gamesim.study import Claim, Interval, Scale, Study, at_least

OURS = ("atac", "model-based-pessimism")
BASELINES = ("bc", "td3-bc", "iql", "cql", "ma-cql", "omar")


class Effort(NamedTuple):
    """How much is learned from, by which networks, and for how long."""

    agents: tuple[int, ...]
    iterations: int
    step_size: float
    seeds: int
    episodes: int
    batch_size: int
    networks: dict[str, str]
    solvers: tuple[str, ...]
    evaluation_episodes: int


QUICK = {"set-transformer": "set-transformer(width=16, heads=2, blocks=1)", "mlp": "mlp(width=64)"}
FULL = {"set-transformer": "set-transformer", "deep-sets": "deep-sets", "gcn": "gcn", "mlp": "mlp(width=256)"}


def effort_of(scale: Scale) -> Effort:
    """The full scale needs a GPU beyond three agents: a step of 30 agents takes more than a second without."""
    if scale == "quick":
        return Effort((3,), 1200, 3e-3, 3, 400, 64, QUICK, ("bc", *OURS), 64)
    if torch.cuda.is_available():
        return Effort((3, 6, 15, 30), 20_000, 1e-3, 10, 4000, 256, FULL, BASELINES + OURS, 256)
    small = {"set-transformer": "set-transformer(width=32, blocks=1)", "mlp": "mlp(width=128)"}
    return Effort((3,), 3000, 1e-3, 5, 2000, 64, small, BASELINES + OURS, 256)


@dataclass(frozen=True)
class OfflineSpread:
    """Pessimists, baselines and imitation, by networks and numbers of agents."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        effort, rows = effort_of(scale), list[dict[str, object]]()
        scores, still = dict[tuple[int, str, str], Tensor](), dict[int, float]()
        traces = dict[str, Result]()
        for n in effort.agents:
            task = task_of(n, effort)
            still[n] = float(task.metrics((one_hot(torch.tensor(0), task.worlds[0].action_count).float(),))["score"])
            say(f"  N = {n}: who stands still has a score of {still[n]:.1f}")
            for solver in effort.solvers:
                for network in networks_of(solver, effort):
                    result = learned(task, solver, effort, effort.networks[network])
                    scores[n, solver, network] = last = result.metric("score")[:, -1]
                    if n == effort.agents[0] and network == "set-transformer":
                        traces[solver] = result
                    rows += rows_of(n, solver, network, result)
                    mean, (low, high) = mean_interval(last)
                    say(f"  N = {n}, {solver}, {network}: score {mean:.1f} [{low:.1f}, {high:.1f}]")
        claims = judged(effort, scores, still)
        panels = [along(traces), *([against(effort, scores)] if len(effort.agents) > 1 else [])]
        return Study(claims, [Chart("offline-spread", panels)], rows, notes(effort))


def task_of(agents: int, effort: Effort) -> RecordedPlay:
    return RecordedPlay(
        agents=agents, behaviour="replay", episodes=effort.episodes, discount=0.9,  # type: ignore[arg-type]
        evaluation_episodes=effort.evaluation_episodes, device="cuda" if torch.cuda.is_available() else "cpu",
    )  # fmt: skip


def networks_of(solver: str, effort: Effort) -> tuple[str, ...]:
    """All of them for ours and for imitation, where there is time; a world of MLPs is left to the full scale."""
    all_of_them = solver in ("atac", "bc") or (solver in OURS and effort.iterations >= 2000)
    return tuple(effort.networks) if all_of_them else ("set-transformer",)


def learned(task: RecordedPlay, solver: str, effort: Effort, network: str) -> Result:
    given: dict[str, Any] = {"network": network, "batch_size": effort.batch_size, "step_size": effort.step_size}
    if solver == "atac":
        given |= {"warm_start": effort.iterations // 3}
    if solver == "model-based-pessimism":
        given |= {"fit": effort.iterations // 2, "members": 2 if effort.iterations < 2000 else 5, "horizon": 2}
    every = max(1, effort.iterations // 10)
    made = making.make_solver(solver, **given)
    return solve(task, made, iterations=effort.iterations, every=every, seeds=effort.seeds)


def judged(effort: Effort, scores: dict[tuple[int, str, str], Tensor], still: dict[int, float]) -> list[Claim]:
    """Differences of scores paired by seed, with 95% intervals."""

    def ahead(id: str, statement: str, one: tuple[int, str, str], other: tuple[int, str, str]) -> Claim:
        mean, interval = mean_interval(scores[one] - scores[other])
        return at_least(id, f"{statement} (difference of scores)", mean, 0.0, interval)

    claims, best = [], "set-transformer"
    for n in effort.agents:
        at = f"N = {n}"
        for solver, name in zip(OURS, ("model-free", "model-based"), strict=True):
            own = (n, solver, best)
            words = f"{at}: {name} pessimism has a higher score than standing still, {still[n]:.1f}"
            claims.append(at_least(f"{solver}-learns-{n}", words, *held_against(scores[own], still[n])))
            words = f"{at}: {name} pessimism is above imitation after as many steps"
            claims.append(ahead(f"{solver}-imitation-{n}", words, own, (n, "bc", best)))
            if (n, solver, "mlp") in scores:
                words = f"{at}: {name}, a set transformer is above an MLP"
                claims.append(ahead(f"{solver}-relations-{n}", words, own, (n, solver, "mlp")))
        if "cql" in effort.solvers:
            words = f"{at}: conservative Q-learning is above imitation after as many steps"
            claims.append(ahead(f"cql-imitation-{n}", words, (n, "cql", best), (n, "bc", best)))
    if len(effort.agents) > 1:
        few, many = effort.agents[0], effort.agents[-1]
        lead = {n: scores[n, "atac", best] - scores[n, "atac", "mlp"] for n in (few, many)}
        mean, interval = mean_interval(lead[many] - lead[few])
        words = f"model-free: the lead of the set transformer is larger at N = {many} than at N = {few}"
        claims.append(at_least("lead-grows", words, mean, 0.0, interval))
    return claims


def held_against(found: Tensor, bound: float) -> tuple[float, float, Interval]:
    """A mean over seeds, what it is held against, and its interval."""
    mean, interval = mean_interval(found)
    return mean, bound, interval


def along(traces: dict[str, Result]) -> Panel:
    """Scores along learning, by solver."""
    curves = []
    for solver, result in traces.items():
        found = result.metric("score")
        error = found.std(0) / len(found) ** 0.5
        mean = found.mean(0)
        times = [float(t) for t in result.trace.iterations]
        curves.append(Curve(solver, times, mean.tolist(), (mean - error).tolist(), (mean + error).tolist()))
    return Panel("Along learning", "iteration", "score", curves, log_y=False)


def against(effort: Effort, scores: dict[tuple[int, str, str], Tensor]) -> Panel:
    """Scores against the number of agents, by solver and network."""
    curves = []
    for solver, network in sorted({(s, k) for _, s, k in scores}):
        mean = [float(scores[n, solver, network].mean()) for n in effort.agents]
        error = [float(scores[n, solver, network].std()) / effort.seeds**0.5 for n in effort.agents]
        low, high = ([m + k * e for m, e in zip(mean, error, strict=True)] for k in (-1, 1))
        label = solver if network == "set-transformer" else f"{solver}, {network}"
        curves.append(Curve(label, effort.agents, mean, low, high, dashed=network != "set-transformer", dots=True))
    return Panel("Against the number of agents", "agents", "score", curves, log_x=True, log_y=False)


def rows_of(agents: int, solver: str, network: str, result: Result) -> list[dict[str, object]]:
    return [
        {
            "agents": agents, "solver": solver, "network": network, "iteration": t, "seed": seed,
            "return": float(result.metric("return")[seed, k]), "score": float(result.metric("score")[seed, k]),
        }
        for k, t in enumerate(result.trace.iterations)
        for seed in range(len(result.metric("score")))
    ]  # fmt: skip


def notes(effort: Effort) -> str:
    without = (
        ""
        if torch.cuda.is_available() or len(effort.agents) > 1
        else (" No GPU was found, so that there are three agents only: more take days on a CPU.")
    )
    return (
        f"{effort.episodes} episodes of 25 steps on five rungs from random to expert, world sets/spread of variant "
        f"mpe2; {effort.iterations:,} steps of Adam on minibatches of {effort.batch_size}, {effort.seeds} seeds as one "
        f"batch; networks: {', '.join(effort.networks.values())}. Scores of {effort.evaluation_episodes} episodes, the "
        "same for everyone, in which each agent does what is likeliest. On every rung the likeliest move is the "
        "expert's, so that imitation would come to the expert's score with data and steps enough: what is compared is "
        f"equally many steps.{without}"
    )
