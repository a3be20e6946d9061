"""Agents of the continuum, networks of finitely many, and the random numbers that both are drawn with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse, stats
from torch import Tensor
from torch.testing import assert_close

from gamesim.data import AgentData
from gamesim.envs.graphon.beach import Beach
from gamesim.envs.graphon.cyber import Cyber
from gamesim.envs.graphon.heterogeneous_cyber import HeterogeneousCyber
from gamesim.envs.graphon.investment import Investment
from gamesim.envs.graphon.sis import SIS
from gamesim.errors import InvalidInput
from gamesim.games import GraphonGame
from gamesim.graphons import (
    CutoffPowerLaw,
    ErdosRenyi,
    Exponential,
    Graphon,
    PowerLaw,
    RankedAttachment,
    StochasticBlock,
    UniformAttachment,
)
from gamesim.kernels import fused
from gamesim.populations import Network, draw_network, place_agents, sample_agents, sample_play
from gamesim.populations.places import density_at
from gamesim.randomness import Stream

GAMES = [SIS, Beach, Investment, Cyber, HeterogeneousCyber]
GRAPHONS: list[Graphon] = [
    UniformAttachment(),
    RankedAttachment(),
    ErdosRenyi(0.7),
    PowerLaw(0.5),
    CutoffPowerLaw(),
    Exponential(),
    StochasticBlock(),
]


def probe(game: GraphonGame, seed: int = 0) -> Tensor:
    (pi,) = game.start()
    noise = torch.randn(pi.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.softmax(2 * noise, -1)


def grid(n: int) -> Tensor:
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


# --- random numbers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("seeds", [3, [3, 2**40, 0]])
def test_the_compiled_philox_draws_the_same_bits(dtype: torch.dtype, seeds: Any) -> None:
    count = 1 if isinstance(seeds, int) else 3
    quick, slow = Stream(seeds, 2**32 - 1), Stream(seeds, 2**32 - 1)
    for shape in ((count, 9001), (count, 5, 4000)):
        with fused(True):
            found = quick.uniform(shape, dtype, start=2**33)
        with fused(False):
            assert torch.equal(found, slow.uniform(shape, dtype, start=2**33))


def test_pieces_of_a_draw_make_up_the_whole() -> None:
    for on in (True, False):
        with fused(on):
            whole = Stream([1, 2], 3).uniform((2, 20_000))
            pieces = [Stream([1, 2], 3).uniform((2, 5000), start=i) for i in range(0, 20_000, 5000)]
            assert torch.equal(whole, torch.cat(pieces, 1))


def test_streams_of_a_batch_go_their_own_way() -> None:
    batch = Stream([5, 6], 1)
    batch.uniform((2, 3))
    one, other = batch.split()
    alone = Stream(6, 1)
    alone.uniform((3,))
    assert torch.equal(other.uniform((4,)), alone.uniform((4,)))
    one.uniform((4,))
    later = batch.uniform((2, 4))
    assert not torch.equal(later[0], one.at(1).uniform((4,)))
    assert bool((later != batch.at(1).uniform((2, 4))).all())


# --- what a game says at any position ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", GAMES)
def test_laws_of_agents_are_rows_of_the_kernel(kind: type[GraphonGame]) -> None:
    game = kind(positions=7, horizon=3)
    z = game.aggregate(game.flow((probe(game),)))[1] * 0.7
    P, (_, states, actions) = game.kernel(1, z), game.shape
    assert_close(P.sum(-1), torch.ones(7, states, actions, dtype=torch.float64))
    mass, policy = game.flow((probe(game, 1),))[2], probe(game, 2)[1]
    assert_close(game.push(1, mass, policy, z), torch.einsum("ks,ksa,ksat->kt", mass, policy, P))
    for s in range(states):
        for a in range(actions):
            full = torch.full((7,), s), torch.full((7,), a)
            assert_close(game.law(1, *full, z), P[:, s, a], rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(
    "fields", [{}, {"normalize": True}, {"graphon": PowerLaw(), "clip": True}, {"graph": "karate-club"}]
)
def test_what_agents_feel_on_the_grid_is_the_aggregate(fields: dict[str, Any]) -> None:
    game = SIS(horizon=5, **{"positions": None if "graph" in fields else 12, **fields})
    flow = game.flow((torch.stack([probe(game, i) for i in range(2)]),))
    assert_close(game.felt(flow, game.grid.positions), game.aggregate(flow), rtol=1e-13, atol=1e-15)


def test_what_agents_feel_when_the_graphon_changes() -> None:
    game = SIS(horizon=3, positions=9, graphon=(ErdosRenyi(0.9), UniformAttachment(), ErdosRenyi(0.1)))
    flow = game.flow(game.start())
    z = game.felt(flow, torch.tensor([0.2, 0.9]))
    assert_close(z[0], 0.9 * flow[0].mean(0).expand(2, 2))
    assert_close(z[1], (1 - torch.maximum(torch.tensor([[0.2], [0.9]]).double(), game.grid.positions)) @ flow[1] / 9)


# --- agents of the continuum ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SIS, Beach, Cyber])
def test_agents_of_the_continuum_follow_the_flow(kind: type[GraphonGame]) -> None:
    """Every frequency within 5 standard errors of the flow, and every mean return of the value of its position."""
    game, episodes = kind(positions=6, horizon=8), 4000
    policy = (probe(game),)
    data = sample_agents(game, policy, agents=6, episodes=episodes, seed=1)
    flow, found = game.flow(policy), data.flow
    error = (flow * (1 - flow) / episodes).sqrt()
    assert float(((found - flow).abs() / error.clamp(min=1e-3)).max()) < 5
    returns = data.rewards.sum(1)
    z = (returns.mean(0) - game.returns(policy, flow)) / (returns.std(0) / episodes**0.5)
    assert float(z.abs().max()) < 4.5
    played = torch.stack([(data.actions == a).double().mean((0, 1)) for a in range(game.shape[-1])], -1)
    wanted = torch.einsum("hks,hksa->ka", flow, policy[0]) / game.horizon
    assert float((played - wanted).abs().max()) < 5 / (episodes * 8) ** 0.5


def test_a_batch_of_seeds_is_one_by_one() -> None:
    game = SIS(positions=5, horizon=4)
    policy = torch.stack([probe(game, i) for i in range(2)])
    x = grid(3)
    z, pi = game.felt(game.flow((policy,)), x), game.at((policy,), x)[0]
    start = game.initial.expand(2, 3, 2)
    both = sample_play(game, z, pi, start, 50, Stream([4, 9], 7))
    for i, seed in enumerate((4, 9)):
        alone = sample_play(game, z[i], pi[i], start[i], 50, Stream(seed, 7))
        assert all(torch.equal(one[i], other) for one, other in zip(both, alone, strict=True))


def test_a_single_agent_state_and_step() -> None:
    game = Investment(qualities=1, horizon=1, positions=1)
    data = sample_agents(game, agents=1, episodes=1)
    assert data.states.shape == (1, 1, 1)


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["rows", "cells"])
@pytest.mark.parametrize("graphon", GRAPHONS, ids=str)
def test_edges_have_their_probabilities(graphon: Graphon, method: Any) -> None:
    """Chi-square over all pairs of 40 agents in 300 networks; and the number of edges has the variance of a sum."""
    n, draws, rho = 40, 300, 0.6
    x = torch.rand(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    networks = draw_network(graphon, x, rho, Stream(list(range(draws))), method)
    seen = np.stack([networks.matrix(i).toarray() for i in range(draws)])
    assert set(np.unique(seen)) <= {0.0, 1.0}
    assert (seen == seen.transpose(0, 2, 1)).all()
    assert not seen[:, np.arange(n), np.arange(n)].any()
    p = (rho * graphon(x[:, None], x)).clamp(max=1).numpy()
    i, j = np.triu_indices(n, 1)
    assert (seen.mean(0)[p == 1] == 1)[~np.eye(n, dtype=bool)[p == 1]].all()
    unsure = (p < 1) & (p > 0)
    i, j = i[unsure[i, j]], j[unsure[i, j]]
    chance = p[i, j]
    square = (draws * (seen.mean(0)[i, j] - chance) ** 2 / (chance * (1 - chance))).sum()
    assert 1e-3 < stats.chi2.cdf(square, len(i)) < 1 - 1e-3
    spread = seen[:, i, j].sum(1).var(ddof=1) / (chance * (1 - chance)).sum() * (draws - 1)
    assert 1e-3 < stats.chi2.cdf(spread, draws - 1) < 1 - 1e-3


@pytest.mark.parametrize("graphon", GRAPHONS, ids=str)
def test_a_hundred_thousand_agents_have_the_degrees_they_should(graphon: Graphon) -> None:
    """By thinning: the neighbours of 40 agents of each tenth of the positions, and of the first 40 agents."""
    n, rho = 100_000, 10 / 100_000
    network = draw_network(graphon, grid(n), rho, Stream(3))
    assert network.neighbours.dtype == torch.int32
    for first, step in ((0, 1), *((i * n // 10, n // 400) for i in range(10))):
        some = first + step * torch.arange(40)
        p = (rho * graphon(grid(n)[some][:, None], grid(n))).clamp(max=1)
        p[torch.arange(40), some] = 0.0
        assert abs(float(network.degrees[some].sum() - p.sum())) < 4.5 * float((p * (1 - p)).sum()) ** 0.5


def test_a_complete_network() -> None:
    for method in ("rows", "cells"):
        network = draw_network(ErdosRenyi(1.0), grid(30), 1.0, Stream([0, 1]), method)
        assert bool((network.degrees == 29).all())
    assert draw_network(ErdosRenyi(0.0), grid(30)).neighbours.numel() == 0


@pytest.mark.parametrize("method", ["rows", "cells"])
def test_a_batch_of_networks_is_one_by_one(method: Any) -> None:
    x = place_agents("random", 50, Stream([7, 8], 1))
    both = draw_network(PowerLaw(), x, 0.2, Stream([7, 8], 2), method)
    alone = draw_network(PowerLaw(), x[1], 0.2, Stream(8, 2), method)
    assert (both.matrix(1) != alone.matrix()).nnz == 0
    assert both.matrix(0).nnz + both.matrix(1).nnz == len(both.neighbours)
    assert_close(both.degrees[1], alone.degrees)


def test_positions_and_edges_of_one_stream_are_independent() -> None:
    """The same stream twice: draws that shared numbers would join agent 0 exactly where positions are small."""
    found = []
    for seed in range(40):
        stream = Stream(seed)
        x = place_agents("random", 200, stream)
        joined = draw_network(ErdosRenyi(0.5), x, 1.0, stream).matrix().toarray()[0, 1:]
        found.append(np.corrcoef(x[1:], joined)[0, 1])
    assert abs(np.mean(found)) < 4 / (40 * 199) ** 0.5


def test_a_network_of_ones_own() -> None:
    w = np.array([[0.0, 0.5, 0.0], [0.5, 0.0, 1.0], [0.0, 1.0, 0.0]])
    network = Network.of(sparse.csr_array(w), density=0.5)
    assert network.degrees.tolist() == [0.5, 1.5, 1.0]
    assert (network.matrix().toarray() == w).all()
    assert str(network) == "3 agents, mean degree 1, density 0.5"
    plain = Network.of((w > 0).astype(int))
    assert plain.weights is None
    assert plain.degrees.tolist() == [1.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("density", "agents", "found"),
    [(0.3, 10, 0.3), ("0.3", 10, 0.3), ("power(1, 0.5)", 100, 0.1), (lambda n: 5 / n, 50, 0.1), (1, 7, 1.0)],
)
def test_densities(density: Any, agents: int, found: float) -> None:
    assert density_at(density, agents) == pytest.approx(found)


@pytest.mark.parametrize(
    "density",
    [
        0,
        -0.1,
        1.5,
        float("nan"),
        "power(3, 0.1)",
        lambda n: 0.0,
        "thick",
        None,
        torch.tensor([0.1, 0.2]),
        lambda n: n / 0,
    ],
)
def test_no_density(density: Any) -> None:
    with pytest.raises(InvalidInput, match="density"):
        density_at(density, 10)


@pytest.mark.parametrize(
    ("positions", "agents", "words"),
    [
        ("gird", 3, "positions: got 'gird'"),
        ([0.1, 1.2], None, r"positions\[1\]: got 1.2, expected a position between 0 and 1"),
        ([0.1, float("nan")], None, r"positions\[1\]: got nan"),
        ([0.1, 0.2], 3, "positions: got '2 positions', expected 3"),
        (torch.zeros(2, 2), None, r"positions: got 'shape \[2, 2\]'"),
        ([], None, r"positions: got 'shape \[0\]'"),
        ("grid", 0, "agents: got 0"),
        ("grid", 2.5, "agents: got 2.5"),
        ("grid", None, "agents: got None"),
        ("grid", 10**10, "agents: got 10000000000"),
    ],
)
def test_no_positions(positions: Any, agents: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        place_agents(positions, agents, Stream(0))


@dataclass(frozen=True)
class Odd(Graphon):
    """Not a probability."""

    value: float = float("nan")

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return self.value + 0 * x * y


def test_no_network() -> None:
    with pytest.raises(InvalidInput, match="agents: got 1"):
        draw_network(ErdosRenyi(), grid(1))
    for value in (float("nan"), -0.2):
        with pytest.raises(InvalidInput, match="rho W = "):
            draw_network(Odd(value), grid(5))
    with pytest.raises(InvalidInput, match="all pairs are looked at where W is not known to be monotone"):
        draw_network(Odd(0.5), grid(300_000), 1e-5)
    with pytest.raises(InvalidInput, match="expected fewer than 1e\\+08 edges"):
        draw_network(ErdosRenyi(1.0), grid(10**6), 1e-3)
    with pytest.raises(InvalidInput, match="method: got 'cells'"):
        draw_network(Odd(0.5), grid(5), method="cells")


def test_a_graphon_of_ones_own_may_say_that_it_is_monotone() -> None:
    @dataclass(frozen=True)
    class Mine(Graphon):
        monotone = True

        def __call__(self, x: Tensor, y: Tensor) -> Tensor:
            return (1 - x) * (1 - y)

    network = draw_network(Mine(), grid(300_000), 1e-4, Stream(0))
    assert float(network.degrees.mean()) == pytest.approx(30 / 4, rel=0.01)


# --- agents as data ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("population", ["continuum", "finite"])
@pytest.mark.parametrize("positions", ["grid", "random", "unknown", [0.3, 0.9, 0.1]])
def test_sampled_agents(population: Any, positions: Any) -> None:
    game = SIS(positions=11, horizon=6)
    given = {"agents": None if isinstance(positions, list) else 3, "positions": positions, "population": population}
    data = sample_agents(game, episodes=7, seed=5, **given)
    again = sample_agents(game, episodes=7, seed=5, **given)
    other = sample_agents(game, episodes=7, seed=6, **given)
    assert isinstance(data, AgentData)
    assert data.states.shape == (7, 6, 3)
    assert torch.equal(data.states, again.states)
    assert torch.equal(data.rewards, again.rewards)
    assert not torch.equal(data.states, other.states)
    assert (data.positions is None) == (positions == "unknown")
    if isinstance(positions, list):
        assert data.positions is not None
        assert data.positions.tolist() == positions
    assert data.state_names == game.state_names
    assert (data.state_count, data.action_count) == (2, 2)


def test_unknown_positions_are_random_ones_unrecorded() -> None:
    game = SIS(positions=11, horizon=6)
    for population in ("continuum", "finite"):
        seen, hidden = (
            sample_agents(game, agents=20, episodes=9, positions=p, population=population)
            for p in ("random", "unknown")
        )
        assert torch.equal(seen.states, hidden.states)


def test_agents_on_a_real_network() -> None:
    game = SIS(graph="karate-club", horizon=4)
    for population in ("continuum", "finite"):
        data = sample_agents(game, episodes=3, population=population)
        assert data.positions is not None
        assert_close(data.positions, game.grid.positions)


def test_sampled_agents_are_written_and_read(tmp_path: Path) -> None:
    data = sample_agents(Beach(positions=5, horizon=3), agents=4, episodes=5)
    data.save(tmp_path / "agents.npz")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"population": "infinite"}, "population"),
        ({"agents": 0}, "agents"),
        ({"episodes": 0}, "episodes"),
        ({"seed": -1}, "seed"),
        ({"episodes": 10**9}, "episodes: got .* agent steps in a dataset"),
        ({"policy": (torch.ones(2, 2),)}, "policy"),
        ({"population": "finite", "density": 0.0}, "density"),
    ],
)
def test_no_agents(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        sample_agents(SIS(positions=5, horizon=3), **{"agents": 4, "episodes": 5, **given})
