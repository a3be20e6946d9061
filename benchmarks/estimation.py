"""The suite `estimation`: what learning from agents costs, and how near it comes, at the size of the papers.

The accuracies are means over seeds of what the tests hold, too: labels, plug-in exploitability, error of the graphon.
"""

from collections.abc import Iterator

import torch

from gamesim.benchmarks.timing import Row, interleaved, row
from gamesim.data import AgentData
from gamesim.envs import SIS
from gamesim.estimation import Blocks, Learner
from gamesim.estimation.counts import count
from gamesim.estimation.features import Monomials
from gamesim.estimation.observed import Observed
from gamesim.estimation.placement import shares
from gamesim.estimation.regressions import regress
from gamesim.estimation.shapes import Family
from gamesim.experiments.graphon_estimation_rate import error
from gamesim.experiments.learned import learned_gap
from gamesim.graphons import Exponential, StochasticBlock
from gamesim.populations import sample_agents

AGENTS, EPISODES, SEEDS = 50, 1000, 5
SIZE = f"SIS, {AGENTS} agents x {EPISODES} episodes x 50 steps"


def suite() -> Iterator[Row]:
    """Rows as they are measured."""
    game = SIS(graphon=Exponential(3.0), reward_scale=5.0)
    data = sample_agents(game, agents=AGENTS, episodes=EPISODES, seed=0)
    yield from regression(data)
    yield from fits(data)
    yield from accuracy()


def regression(data: AgentData) -> Iterator[Row]:
    """The response at a known graphon, from counts, against scikit-learn on the moves themselves."""
    assert data.positions is not None
    w = Exponential(3.0)(data.positions[:, None], data.positions) * shares(data.positions)
    z = w @ data.flow

    def ours() -> None:
        regress(Monomials(), Observed.of(count(data)), z.flatten(0, 1), 0.0, 0.0)

    try:
        from sklearn.linear_model import Ridge
    except ModuleNotFoundError:
        yield row("regression/scikit-learn", interleaved({"ours": ours})["ours"], None, None, "no scikit-learn here")
        return
    features = z.expand(data.episodes, *z.shape).reshape(-1, z.shape[-1]).numpy()
    pair = (data.states * 2 + data.actions).reshape(-1).numpy()
    target = torch.nn.functional.one_hot(data.next_states.long(), 2).double().reshape(-1, 2).numpy()
    rewards = data.rewards.reshape(-1, 1).numpy()

    def theirs() -> None:
        for which in range(4):
            some = pair == which
            for y in (target, rewards):
                Ridge(alpha=1e-6, solver="cholesky").fit(features[some], y[some])

    seconds = interleaved({"ours": ours, "theirs": theirs}, rounds=5)
    note = f"{SIZE}: laws of the next state and of the reward for every (s, a), counting the moves included"
    yield row("regression/scikit-learn", seconds["ours"], seconds["theirs"], None, note)


def fits(data: AgentData) -> Iterator[Row]:
    """Whole fits, from the data to the estimate, against the second that the specification allows."""
    learners = {
        "exp": Learner(graphon=Family("exp")),
        "labels": Learner(graphon=Blocks(2), positions="labels"),
        "exp-bootstrap-100": Learner(graphon=Family("exp"), bootstrap=100),
    }
    for name, learner in learners.items():
        seconds = interleaved({"fit": lambda learner=learner: learner.learn(data)}, rounds=3)["fit"]  # type: ignore[misc]
        note = f"{SIZE}: CPU seconds of a whole fit, law=mixture; the bar is a second for the plain fit"
        yield row(f"fit/{name}", seconds, 1.0, 0.5 if name == "exp" else None, note)


def accuracy() -> Iterator[Row]:
    """Means over seeds; ratio is the bar divided by what was found, so that more than 1 holds."""
    found = sum(error("known grid", AGENTS, EPISODES, seed) for seed in range(SEEDS)) / SEEDS
    yield row("accuracy/exp-known-grid", found, 0.004, 1.0, f"{SIZE}, {SEEDS} seeds: error of infection times W")
    game = SIS(graphon=StochasticBlock(0.9, 0.3, 0.7), reward_scale=5.0, quadrature="block")
    for law, bar in (("graphon/sis", 1.0), ("mixture", None)):
        gaps, right = list[float](), list[float]()
        for seed in range(SEEDS):
            data = sample_agents(game, agents=AGENTS, episodes=EPISODES, positions="random", seed=seed)
            gap, learned = learned_gap(game, data, 1.0, graphon="blocks(2)", law=law)
            gaps.append(gap)
            assert data.positions is not None
            assert learned.estimate.labels is not None
            same = float((learned.estimate.labels == (data.positions >= 0.7)).double().mean())
            right.append(max(same, 1 - same))
        wrong = 1 - sum(right) / SEEDS
        note = f"law={law}: share of agents in the wrong block"
        yield row(f"accuracy/{law}/labels-wrong", wrong, 0.01, 1.0, note, 0.01 / max(wrong, 1e-3))
        note = f"law={law}: regularised exploitability in the true game; constant graphons give more than 25"
        yield row(f"accuracy/{law}/plug-in", sum(gaps) / SEEDS, 0.4, bar, note)
