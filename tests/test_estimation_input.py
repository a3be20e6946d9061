"""What people may feed to an estimate: too little, too much, or what does not go together."""

import dataclasses
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from gamesim.data import AgentData
from gamesim.envs import SIS, Beach
from gamesim.errors import InvalidInput
from gamesim.estimation import Blocks, Estimate, Family, FittedGame, Learner, LowRank, fit_game
from gamesim.estimation.laws import Kernel
from gamesim.graphons import ErdosRenyi, Exponential, StochasticBlock
from gamesim.populations import sample_agents
from gamesim.populations.behaviour import roam
from gamesim.testing import check_batch, check_game

SMALL = SIS(graphon=Exponential(3.0), horizon=6)
LAWS = ["mixture", "linear", "polynomial(2)", "kernel(0.3)"]
GRAPHONS = ["exp", "blocks(2)", "low-rank(1, 1)", "stochastic-block", "erdos-renyi", "power-law", "uniform-attachment"]


def agents(n: int = 6, e: int = 20, game: Any = SMALL, **options: Any) -> AgentData:
    return sample_agents(game, agents=n, episodes=e, **options)


def sound(estimate: Estimate) -> None:
    """Everything is finite, and the game is one that solvers accept."""
    game = FittedGame(data=estimate, positions=4)
    check_game(game)
    for number in estimate.numbers.values():
        assert number.low <= number.value + 1e-9
        assert number.value <= number.high + 1e-9
    assert torch.tensor([n[:3] for n in estimate.numbers.values()]).isfinite().all()
    assert torch.tensor(estimate.log_likelihood).isfinite()


@pytest.mark.parametrize(
    ("assumptions", "words"),
    [
        ({"graphon": "blocks(7)"}, "graphon.count: got 7, expected at most 6 blocks: one agent for each"),
        ({"graphon": "blocks(2, [0.5])", "positions": "labels"}, "graphon.cuts: got [0.5], expected none with"),
        ({"graphon": "exp", "positions": "labels"}, "positions: got 'labels', expected sorted with graphon=exp"),
        ({"graphon": "exp", "mean": 0.5}, "mean: got 0.5, expected nothing with graphon=exp, which has a scale"),
        ({"graphon": "exp(3)", "mean": 0.5}, "mean: got 0.5, expected nothing with graphon=exp(3)"),
        ({"graphon": "blocks(2)", "mean": 0.5, "normalize": True}, "mean: got 0.5, expected nothing with normalize"),
        ({"graphon": "erdos-renyi", "mean": 1.5}, "mean: got 1.5, expected at most 1:"),
        ({"restarts": 10**6}, "restarts: got 1000000, expected at most 1000"),
        ({"law": "kernel(0)"}, "law.bandwidth: got 0.0, expected a number above 0"),
        ({"law": "kernel(0.3, landmarks=10000)"}, "landmarks: got 10000, expected at most 1000"),
        ({"law": "polynomial(11)"}, "degree: got 11, expected at most 10"),
        ({"law": "graphon/beach"}, "law: got 'Beach with 10 states and 3 actions', expected one with 2 and 2"),
        ({"law": SIS(normalize=True)}, "normalize: got 'false', expected true, or law=SIS without normalize"),
        ({"law": 3}, "law: got 3, expected one of kernel, linear, mixture, polynomial"),
        ({"graphon": 3}, "graphon: got 3, expected one of blocks, low-rank"),
        ({"graphon": "step"}, "graphon: got 'step', expected a family of numbers"),
    ],
)
def test_what_does_not_go_together(assumptions: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        fit_game(agents(), **assumptions)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_known_positions_must_be_there() -> None:
    with pytest.raises(InvalidInput, match="positions: got 'known', expected sorted or labels"):
        fit_game(agents().without_positions(), graphon="exp", positions="known")


def test_rewards_beyond_what_can_be_squared() -> None:
    data = agents()
    with pytest.raises(InvalidInput, match=r"rewards: got 1e\+200"):
        fit_game(dataclasses.replace(data, rewards=1e200 + data.rewards), graphon="exp")


@pytest.mark.parametrize(
    ("law", "graphon"), [*((law, "blocks(2)") for law in LAWS), *(("mixture", g) for g in GRAPHONS if g != "blocks(2)")]
)
def test_one_of_each(law: str, graphon: str) -> None:
    """One agent, one episode, one step; then one of each of these alone."""
    for n, e, h in ((2, 1, 1), (5, 1, 6)):
        data = agents(n, e, dataclasses.replace(SMALL, horizon=h))
        sound(fit_game(data, graphon=graphon, law=law, restarts=2).estimate)
    if graphon != "blocks(2)":
        sound(fit_game(agents(1, 1), graphon=graphon, law=law, restarts=1).estimate)


@pytest.mark.parametrize("law", ["mixture", "kernel(0.3)"])
def test_one_state_or_one_action(law: str) -> None:
    zero = torch.zeros(8, 3, 4, dtype=torch.int32)
    rewards = torch.arange(96, dtype=torch.float64).view(8, 3, 4)
    sound(fit_game(AgentData(zero, zero, rewards, zero), graphon="exp", law=law).estimate)
    data = agents(4, 30)
    one = dataclasses.replace(data, actions=0 * data.actions, action_count=1, action_names=())
    sound(fit_game(one, graphon="blocks(2)", law=law).estimate)


@pytest.mark.parametrize(
    ("law", "scale"), [*product(["mixture", "kernel(0.3)"], [0.0, 1e-12, 1e90]), ("graphon/sis", 0.0)]
)
def test_rewards_of_any_size(law: str, scale: float) -> None:
    """The fitted rewards are those of the data, and the graphon does not depend on their unit."""
    data = agents(8, 60)
    scaled = dataclasses.replace(data, rewards=data.rewards * scale)
    found = fit_game(scaled, graphon="exp", law=law)
    if law == "graphon/sis":
        return  # whose rewards cannot be 0; it must not fail
    z = torch.tensor([[0.2, 0.1]], dtype=torch.float64)
    truth = scale * SMALL.reward(0, z).expand(1, 2, 2)
    torch.testing.assert_close(found.reward(0, z), truth, rtol=1e-6, atol=1e-9 * abs(scale))
    plain = fit_game(data, graphon="exp", law=law).estimate.numbers["theta"].value
    assert found.estimate.numbers["theta"].value == pytest.approx(plain, rel=1e-3)


def test_constant_rewards_say_nothing() -> None:
    data = agents(8, 60)
    constant = dataclasses.replace(data, rewards=0 * data.rewards + 1e12)
    one, other = (fit_game(d, graphon="exp").estimate.numbers["theta"].value for d in (data, constant))
    assert one == pytest.approx(other, rel=1e-6)


def test_the_unit_of_rewards_does_not_matter_where_they_tell() -> None:
    game = Beach(graphon=Exponential(3.0), states=4, bar=2, horizon=6)
    data = sample_agents(game, roam(game), agents=8, episodes=60)
    plain = fit_game(data, graphon="exp", law="linear").estimate.numbers["theta"].value
    for rewards in (1e6 * data.rewards, 1e6 + data.rewards, -1e-6 * data.rewards):
        found = fit_game(dataclasses.replace(data, rewards=rewards), graphon="exp", law="linear").estimate
        assert found.numbers["theta"].value == pytest.approx(plain, rel=1e-4)


def test_a_thousand_agents() -> None:
    data = agents(1000, 1, dataclasses.replace(SMALL, horizon=2), positions="random")
    found = fit_game(data.without_positions(), graphon="blocks(2)", law="linear", restarts=2).estimate
    assert found.labels is not None
    assert len(found.labels) == 1000
    sound(found)


def test_agents_at_the_same_position_and_at_the_ends() -> None:
    x = torch.tensor([0.0, 0.0, 0.5, 0.5, 1.0, 1.0], dtype=torch.float64)
    data = agents(positions=x, n=None)  # type: ignore[arg-type]
    for graphon in ("exp", "low-rank(1, 1)", "uniform-attachment"):
        sound(fit_game(data, graphon=graphon, restarts=2).estimate)


def test_a_graphon_that_is_infinite_where_an_agent_sits() -> None:
    data = dataclasses.replace(agents(3), positions=torch.tensor([0.0, 0.4, 0.9]).double())
    with pytest.raises(InvalidInput, match=r"positions\[0\]: got 0.0, expected one where power-law is finite"):
        fit_game(data, graphon="power-law")


def test_normalised_aggregates() -> None:
    game = dataclasses.replace(SMALL, graphon=StochasticBlock(0.9, 0.3, 0.7), normalize=True)
    learned = fit_game(agents(20, 200, game), graphon="blocks(2, [0.7])", normalize=True)
    z = learned.aggregate(learned.flow(learned.start()))
    torch.testing.assert_close(z.sum(-1), torch.ones_like(z[..., 0]))
    assert "the scale of the graphon plays no part" in learned.estimate.scale
    sound(learned.estimate)


def test_a_mean_is_that_of_the_graphon() -> None:
    data = agents(20, 50, dataclasses.replace(SMALL, graphon=StochasticBlock(0.9, 0.3, 0.7)))
    for graphon in ("blocks(2, [0.7])", "low-rank(1, 2)", "stochastic-block"):
        w = fit_game(data, graphon=graphon, mean=0.25, restarts=2).estimate.graphon
        x = (torch.arange(20, dtype=torch.float64) + 0.5) / 20
        assert float(w(x[:, None], x).mean()) == pytest.approx(0.25, rel=1e-6)


def test_a_learned_game_in_single_precision_and_on_other_grids() -> None:
    learned = fit_game(agents(8, 60), graphon="exp", law="kernel(0.3)")
    for change in ({"dtype": "float32"}, {"positions": 3}, {"positions": 5, "quadrature": "gauss-legendre"}):
        other = dataclasses.replace(learned, **change)
        check_batch(other)
        assert float(other.exploitability(other.start())) == pytest.approx(
            float(learned.exploitability(learned.start())), rel=0.05
        )


def test_play_in_a_learned_game_is_learned_again() -> None:
    """Agents sampled from the estimate give nearly the estimate: the circle closes."""
    learned = fit_game(agents(20, 500, dataclasses.replace(SMALL, horizon=20)), graphon="exp")
    again = fit_game(sample_agents(learned, agents=20, episodes=4000), graphon="exp")

    def strength(game: FittedGame) -> Tensor:
        x = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
        slope = game.estimate.slopes(torch.tensor([0.3, 0.2], dtype=torch.float64))[0, 0, 1, 1]
        return slope * game.estimate.graphon(x[:, None], x)

    torch.testing.assert_close(strength(again), strength(learned), rtol=0, atol=0.05)


def test_a_policy_is_carried_by_position() -> None:
    learned = dataclasses.replace(fit_game(agents(8, 60), graphon="exp"), positions=4)
    policy = (torch.linspace(0, 1, 4)[:, None, None].double().expand(6, 4, 2, 1).repeat(1, 1, 1, 2),)
    policy[0][..., 1] = 1 - policy[0][..., 0]
    (moved,) = learned.carried(policy, dataclasses.replace(SMALL, positions=8))
    assert moved.shape == (6, 8, 2, 2)
    torch.testing.assert_close(moved[0, :, 0, 0], torch.linspace(0, 1, 4).double().repeat_interleave(2))
    (placed,) = learned.carried(policy, dataclasses.replace(SMALL, positions=2), torch.tensor([0.9, 0.1]).double())
    assert placed[0, :, 0, 0].tolist() == [1.0, 0.0]
    with pytest.raises(InvalidInput, match="game: got '10 states"):
        learned.carried(policy, Beach(horizon=6))
    with pytest.raises(InvalidInput, match="7 steps"):
        learned.carried(policy, dataclasses.replace(SMALL, horizon=7))


def test_learning_is_deterministic_and_touches_no_global_generator() -> None:
    data = agents(6, 30).without_positions()
    before = torch.get_rng_state()
    one, other = (fit_game(data, graphon="blocks(2)", restarts=2, bootstrap=3, seed=4).estimate for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert one.written == other.written


def test_objects_and_text_are_the_same_assumptions() -> None:
    one = Learner(graphon="low-rank(2, 3)", law="kernel(0.2)")  # type: ignore[arg-type]
    assert one == Learner(graphon=LowRank(2, 3), law=Kernel(0.2))
    assert Learner(graphon="exp") == Learner(graphon=Family("exp"))  # type: ignore[arg-type]
    assert Learner() == Learner(graphon=Blocks(2))
    assert fit_game(agents(), graphon=ErdosRenyi).estimate.numbers["p"].value == 1
