"""Learning a game from agents, whole: what the estimate says of the truth, and what its equilibrium is worth there."""

import dataclasses
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

import gamesim as gs
from gamesim.data import AgentData
from gamesim.envs import SIS, Beach
from gamesim.errors import InvalidInput
from gamesim.estimation import FittedGame, Learner, fit_game
from gamesim.graphons import ErdosRenyi, Exponential, StochasticBlock, UniformAttachment
from gamesim.populations import sample_agents
from gamesim.populations.behaviour import roam

LAWS = ["mixture", "linear", "polynomial(2)", "kernel(0.3)", "graphon/sis"]
BLOCKS = SIS(graphon=StochasticBlock(0.9, 0.3, 0.7), reward_scale=5.0, quadrature="block")
EXP = SIS(graphon=Exponential(3.0), reward_scale=5.0)


def upper(values: list[float], level: float = 0.95) -> float:
    """The upper end of a one-sided interval for the mean."""
    x = torch.tensor(values)
    return float(x.mean() + stats.t.ppf(level, len(x) - 1) * x.std() / len(x) ** 0.5)


def some(game: Any, agents: int = 12, episodes: int = 100, **options: Any) -> AgentData:
    return sample_agents(game, agents=agents, episodes=episodes, **options)


def coupling(learned: FittedGame, x: Tensor) -> Tensor:
    """What one position does to another: dP(infected | susceptible, go out) / dz(infected) times W."""
    slope = learned.estimate.slopes(torch.tensor([0.3, 0.2], dtype=torch.float64))[0, 0, 1, 1]
    return slope * learned.estimate.graphon(x[:, None], x)


@pytest.mark.parametrize(("law", "bound"), [("graphon/sis", 0.4), ("mixture", 2.5)])
def test_unknown_positions_of_blocks(law: str, bound: float) -> None:
    """50 agents, 1,000 episodes: labels right in at least 99%, plug-in exploitability below 0.4; constants above 25.

    With nothing known of how agents respond it is more, and still a tenth of what constant graphons give.
    """
    right, gaps = [], []
    for seed in range(2):
        data = sample_agents(BLOCKS, agents=50, episodes=1000, positions="random", seed=seed)
        assert data.positions is not None
        second = data.positions >= 0.7
        learned = fit_game(data.without_positions(), graphon="blocks(2)", law=law)
        labels = learned.estimate.labels
        assert labels is not None
        same = (labels == second).double().mean()
        right.append(float(torch.maximum(same, 1 - same)))
        policy = gs.solve(learned, gs.make_solver("policy-mirror-descent", temperature=1.0, step_size=0.5)).policy
        places = torch.stack([learned.estimate.positions[second == b].median() for b in (False, True)])
        gaps.append(float(BLOCKS.exploitability(learned.carried(policy, BLOCKS, places), 1.0)))
    assert sum(right) / 2 >= 0.99
    assert sum(gaps) / 2 < bound
    for p in (1.0, 0.5, 0.0):
        constant = dataclasses.replace(BLOCKS, graphon=ErdosRenyi(p), positions=1)
        policy = gs.solve(constant, gs.make_solver("policy-mirror-descent", temperature=1.0, step_size=0.5)).policy
        assert float(BLOCKS.exploitability((policy[0].expand(-1, 2, -1, -1),), 1.0)) > 25


@pytest.mark.parametrize("law", ["mixture", "graphon/sis"])
def test_exp_on_a_known_grid(law: str) -> None:
    """50 agents, 1,000 episodes: the error of infection times W is below 0.004 on average."""
    x = (torch.arange(50, dtype=torch.float64) + 0.5) / 50
    true, errors = 0.8 * Exponential(3.0)(x[:, None], x), []
    for seed in range(10, 22):
        data = sample_agents(EXP, agents=50, episodes=1000, seed=seed)
        errors.append(float((coupling(fit_game(data, graphon="exp", law=law), x) - true).square().mean().sqrt()))
    assert upper(errors) < 0.004


def test_the_parameters_of_a_known_game_are_covered_by_their_intervals() -> None:
    """Twenty data sets: 95% intervals miss few of the sixty numbers, and a wrong one would be missed by most."""
    missed = []
    for seed in range(20):
        learned = fit_game(some(EXP, 20, 300, seed=seed), graphon="exp", law="graphon/sis")
        numbers = learned.estimate.numbers
        assert numbers["reward_scale"].value == pytest.approx(5.0, rel=1e-3)
        for name, true in (("theta", 3.0), ("infection", 0.8), ("recovery", 0.2)):
            missed.append(not numbers[name].low <= true <= numbers[name].high)
            assert numbers[name].high - numbers[name].low < 4.0
    assert sum(missed) <= 8  # 3 are expected; 9 or more have probability 0.002 if the level is right


def test_bootstrap_and_curvature_agree() -> None:
    data = some(EXP, 20, 400, seed=5)
    one = fit_game(data, graphon="exp", law="graphon/sis").estimate.numbers["theta"]
    other = fit_game(data, graphon="exp", law="graphon/sis", bootstrap=100).estimate.numbers["theta"]
    assert (one.source, other.source) == ("curvature", "bootstrap")
    assert one.value == other.value
    assert 0.6 < (other.high - other.low) / (one.high - one.low) < 1.6


@pytest.mark.parametrize(
    ("graphon", "true"),
    [("exp", EXP), ("low-rank(2, 2)", SIS(graphon=UniformAttachment(), reward_scale=5.0)),
     ("stochastic-block", BLOCKS)],
)  # fmt: skip
def test_known_positions_are_learned(graphon: str, true: SIS) -> None:
    """The learned equilibrium is worth far more in the true game than the uniform policy."""
    learned = fit_game(some(true, 40, 400), graphon=graphon)
    solver = gs.make_solver("policy-mirror-descent", temperature=1.0, step_size=0.5)
    policy = learned.carried(gs.solve(learned, solver, iterations=60).policy, true)
    assert float(true.exploitability(policy, 1.0)) < 0.05 * float(true.exploitability(true.start(), 1.0))


def test_more_episodes_help() -> None:
    x = (torch.arange(20, dtype=torch.float64) + 0.5) / 20
    true, ratios = 0.8 * Exponential(3.0)(x[:, None], x), []
    for seed in range(8):
        few, many = (
            (coupling(fit_game(some(EXP, 20, n, seed=seed), graphon="exp"), x) - true).square().mean().sqrt()
            for n in (30, 1000)
        )
        ratios.append(float((many / few).log()))
    assert upper(ratios) < 0


def test_only_graphon_times_response_is_known() -> None:
    """Another scale of the graphon is the same game: flow and values do not change."""
    data = some(BLOCKS, 20, 200)
    one, other = fit_game(data, graphon="blocks(2)"), fit_game(data, graphon="blocks(2)", mean=0.3)
    assert "largest value is 1" in one.estimate.scale
    assert "0.3" in other.estimate.scale
    w = other.estimate.graphon(other.grid.positions[:, None], other.grid.positions)
    assert float(other.mean(other.mean(w))) == pytest.approx(0.3, abs=0.02)  # over agents, not over blocks
    flow = one.flow(one.start())
    torch.testing.assert_close(other.flow(other.start()), flow, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(other.feedback(other.start())[0], one.feedback(one.start())[0], rtol=1e-6, atol=1e-6)


def test_what_no_data_can_tell_is_said() -> None:
    learned = fit_game(some(SIS(graphon=ErdosRenyi(0.5)), 10, 100), graphon="erdos-renyi")
    assert learned.estimate.graphon == ErdosRenyi(1.0)
    assert "only graphon times response" in learned.estimate.scale
    policy = Beach(horizon=3, positions=5).start()
    never_right = policy[0].clone()
    never_right[..., 2], never_right[..., 1] = 0.0, 2 / 3
    data = some(Beach(horizon=3, positions=5), 5, 50, policy=(never_right,))
    warnings = " ".join(fit_game(data, graphon="exp").estimate.warnings)
    assert "10 of 30 pairs (state, action) were never seen" in warnings


def test_laws_that_are_none_are_counted_and_replaced() -> None:
    beach = Beach(horizon=10, positions=20)
    learned = fit_game(some(beach, 8, 10, policy=roam(beach)), graphon="exp", law="linear(0)")
    assert any("no distributions" in w for w in learned.estimate.warnings)
    P = learned.transition(0, torch.full((3, 10), 0.5, dtype=torch.float64))
    torch.testing.assert_close(P.sum(-1), torch.ones_like(P[..., 0]))
    assert float(P.min()) >= 0


def test_a_learned_game_is_like_any_other() -> None:
    learned = dataclasses.replace(fit_game(some(BLOCKS, 12, 100), graphon="blocks(2)"), horizon=8)
    for name in ("gmfg-ppo", "online-mirror-descent", "fictitious-play", "fixed-point", "policy-mirror-descent"):
        result = gs.solve(learned, gs.make_solver(name), iterations=5, seeds=2)
        assert bool(result.exploitability.isfinite().all())
    assert learned.horizon == 8


@pytest.mark.parametrize(
    ("assumptions", "field"),
    [
        ({"graphon": "blocks(13)"}, "graphon"),
        ({"graphon": "blocks(0)"}, "count"),
        ({"graphon": "low-rank(0)"}, "rank"),
        ({"graphon": "nothing"}, "graphon"),
        ({"law": "kernel(0)"}, "bandwidth"),
        ({"law": "linear(-1)"}, "penalty"),
        ({"law": "graphon/siss"}, "did you mean graphon/sis"),
        ({"law": "graphon/beach"}, "states"),
        ({"positions": "somewhere"}, "positions"),
        ({"graphon": "exp", "positions": "labels"}, "positions"),
        ({"graphon": "exp", "mean": 0.5}, "mean"),
        ({"mean": -1.0}, "mean"),
        ({"mean": 5.0}, "mean"),
        ({"restarts": 0}, "restarts"),
        ({"bootstrap": -1}, "bootstrap"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_bad_assumptions(assumptions: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=field) as refused:
        fit_game(some(EXP, 12, 20), **assumptions)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("agents", "episodes", "horizon"), [(1, 1, 1), (1, 50, 5), (2, 1, 3), (30, 2, 1)])
def test_hardly_any_data(agents: int, episodes: int, horizon: int) -> None:
    data = some(SIS(horizon=horizon, positions=3), agents, episodes)
    for law in LAWS:
        learned = fit_game(data, graphon="exp", law=law)
        assert bool(learned.exploitability(learned.start()).isfinite().all())
    fit_game(data.without_positions(), graphon="exp")
    fit_game(data.without_positions(), graphon="blocks(1)")


def test_options_and_learner_are_the_same() -> None:
    data = some(EXP, 6, 40)
    one, other = fit_game(data, graphon="exp", seed=3), FittedGame(data=Learner(graphon="exp", seed=3).learn(data))  # type: ignore[arg-type]
    assert torch.equal(one.feedback(one.start())[0], other.feedback(other.start())[0])
