"""Agents of unknown positions: orders and labels from exact laws, then from samples."""

import pytest
import torch
from scipy import stats
from torch import Tensor

from gamesim.data import AgentData
from gamesim.envs import SIS, Investment
from gamesim.estimation import fit_game
from gamesim.estimation.blocks import Blocks
from gamesim.estimation.counts import Counts, count
from gamesim.estimation.laws import Mixture
from gamesim.estimation.mechanism import Mechanism
from gamesim.estimation.placement import _different, find_labels, positions_of, shares, sorted_positions
from gamesim.estimation.projection import Problem
from gamesim.games import GraphonGame
from gamesim.graphons import BlockGraphon, Exponential, Graphon, RankedAttachment, StochasticBlock, UniformAttachment
from gamesim.populations import sample_agents
from gamesim.randomness import Stream

TWO = StochasticBlock(0.9, 0.3, 0.7)
THREE = BlockGraphon(((1.0, 0.3, 0.1), (0.3, 0.6, 0.2), (0.1, 0.2, 0.1)), (0.3, 0.7))


def exact(game: GraphonGame, x: Tensor, episodes: float = 1000.0) -> Counts:
    """What so many episodes count on average under the uniform policy, for agents at x[n]."""
    policy = game.start()
    flow = game.flow(policy)
    z = game.felt(flow, x)
    mass, moves, earned, squared = game.initial.expand(len(x), -1), [], [], []
    actions = game.shape[-1]
    for h in range(game.horizon):
        P = game.kernel(h, z[h])
        played = (mass / actions)[..., None].expand(-1, -1, actions)
        r = game.reward(h, z[h]).expand(played.shape)
        moves.append(played[..., None] * P)
        earned.append(played * r)
        squared.append(played * r**2)
        mass = moves[-1].sum((1, 2))
    nothing = torch.zeros(game.shape[-2:], dtype=torch.float64)
    return Counts(*(episodes * torch.stack(part) for part in (moves, earned, squared)), nothing)


def test_shares_are_what_is_nearest() -> None:
    n = 7
    grid = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    torch.testing.assert_close(shares(grid), torch.full((n,), 1 / n).double())
    mixed = grid[torch.tensor([3, 1, 0, 6, 5, 2, 4])]
    torch.testing.assert_close(shares(mixed), torch.full((n,), 1 / n).double())
    x = Stream(0).uniform((5,))
    dense = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    nearest = torch.bincount((dense[:, None] - x).abs().argmin(1), minlength=5) / len(dense)
    torch.testing.assert_close(shares(x), nearest.double(), rtol=0, atol=1e-4)
    assert float(shares(torch.tensor([0.3, 0.3, 0.9])).sum()) == pytest.approx(1)
    assert shares(torch.tensor([0.3])).tolist() == [1.0]


def test_positions_lie_evenly_in_their_blocks() -> None:
    labels = torch.tensor([1, 0, 1, 1])
    x = positions_of(labels, torch.tensor([0.4], dtype=torch.float64))
    torch.testing.assert_close(x, torch.tensor([0.5, 0.2, 0.7, 0.9]).double())
    assert positions_of(torch.zeros(2, dtype=torch.long), torch.zeros(0).double()).tolist() == [0.25, 0.75]


@pytest.mark.parametrize("graphon", [Exponential(3.0), UniformAttachment(), RankedAttachment()])
@pytest.mark.parametrize("kind", [SIS, Investment])
def test_the_order_of_degrees_is_found(graphon: Graphon, kind: type[GraphonGame]) -> None:
    """From exact laws: every agent in its place, or all of them mirrored."""
    game = kind(graphon=graphon, horizon=8)
    x = Stream(4).uniform((17,))
    up, down = sorted_positions(exact(game, x))
    assert torch.equal(up.argsort(), x.argsort()) or torch.equal(down.argsort(), x.argsort())
    torch.testing.assert_close(up + down, torch.ones(17).double())


def test_the_order_is_nearly_found_from_samples() -> None:
    for seed in range(2):
        data = sample_agents(SIS(graphon=Exponential(3.0)), agents=30, episodes=500, positions="random", seed=seed)
        assert data.positions is not None
        learned = fit_game(data.without_positions(), graphon="exp", restarts=2)
        assert learned.estimate.placed == "sorted"
        rank = stats.spearmanr(learned.estimate.positions, data.positions).statistic
        assert rank > 0.97  # and not mirrored: exp rises


@pytest.mark.parametrize(
    ("graphon", "blocks", "known"),
    [(TWO, 2, False), (TWO, 3, True), (THREE, 3, False), (THREE, 3, True)],
)
def test_labels_are_found_from_exact_laws(graphon: Graphon, blocks: int, known: bool) -> None:
    """Also with a block too many, which is left out or splits a true one."""
    game = SIS(graphon=graphon, quadrature="block")
    x = Stream(7).uniform((24,))
    true = torch.searchsorted(graphon.blocks()[1], x, right=True)  # type: ignore[index]
    law = Mechanism(SIS()) if known else Mixture()
    found = find_labels(Problem(Blocks(blocks), law), exact(game, x), 3, Stream(0))
    for label in found.labels.unique():
        assert len(true[found.labels == label].unique()) == 1
    if blocks == 3 and graphon is THREE:
        assert len(found.labels.unique()) == 3
    degrees = graphon(torch.tensor([0.01, 0.99])[:, None].double(), x).sum(1)
    first = int(found.labels[(x < 0.2).nonzero()[0, 0]]) < int(found.labels[(x > 0.8).nonzero()[0, 0]])
    assert first == bool(degrees[0] > degrees[1])
    assert found.sample.q.sum() == pytest.approx(1)


def test_one_block_needs_no_search() -> None:
    data = sample_agents(SIS(graphon=StochasticBlock()), agents=6, episodes=50)
    found = fit_game(data.without_positions(), graphon="blocks(1)").estimate
    assert found.labels is not None
    assert found.labels.tolist() == [0] * 6
    assert found.graphon == BlockGraphon(((1.0,),))
    assert found.positions.tolist() == pytest.approx([(i + 0.5) / 6 for i in range(6)])


def test_agents_who_are_all_alike() -> None:
    """Copies of one agent: whatever the labels, the game is that of one block."""
    data = sample_agents(SIS(graphon=StochasticBlock()), agents=1, episodes=40)
    parts = (part.expand(-1, -1, 5) for part in (data.states, data.actions, data.rewards, data.next_states))
    found = fit_game(AgentData(*parts), graphon="blocks(3)", restarts=3).estimate
    assert found.labels is not None
    assert len(found.labels.unique()) == 1
    assert "agents were found in 1 of 3 blocks only" in found.warnings


def test_as_many_blocks_as_agents() -> None:
    data = sample_agents(SIS(graphon=Exponential(3.0)), agents=3, episodes=50).without_positions()
    assert bool(fit_game(data, graphon="blocks(3)", restarts=3).start()[0].isfinite().all())


def test_names_of_labels_do_not_matter() -> None:
    labels = torch.tensor([[0, 0, 1, 2], [2, 2, 0, 1], [0, 1, 1, 2], [0, 0, 1, 2]])
    likelihood = torch.tensor([-3.0, -2.0, -5.0, torch.nan])
    assert _different(labels, likelihood).tolist() == [1, 2]


def test_labels_do_not_depend_on_the_order_of_agents() -> None:
    game = SIS(graphon=StochasticBlock(0.9, 0.3, 0.7), quadrature="block")
    data = sample_agents(game, agents=20, episodes=200, positions="random", seed=3).without_positions()
    order = Stream(0).uniform((20,)).argsort()
    one, other = (fit_game(d, graphon="blocks(2)", restarts=3).estimate for d in (data, data.subset(agents=order)))
    assert one.labels is not None
    assert other.labels is not None
    assert torch.equal(one.labels[order], other.labels)
    assert other.log_likelihood == pytest.approx(one.log_likelihood, rel=1e-9)


def test_rewards_alone_place_agents() -> None:
    """Beach moves are the same everywhere; only what a crowd costs differs."""
    from gamesim.envs import Beach
    from gamesim.populations.behaviour import roam

    game = Beach(graphon=StochasticBlock(0.9, 0.3, 0.7), horizon=10, quadrature="block")
    data = sample_agents(game, roam(game), agents=20, episodes=50, positions="random", seed=1)
    assert data.positions is not None
    learned = fit_game(data.without_positions(), graphon="blocks(2)", law="linear").estimate
    second = data.positions >= 0.7
    assert learned.labels is not None
    assert len({(int(a), bool(b)) for a, b in zip(learned.labels, second, strict=True)}) == 2
    assert count(data).moves.shape[-1] == 10
