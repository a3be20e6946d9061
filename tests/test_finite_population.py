"""The game of finitely many agents: against every path, plain Python, a chain solved exactly, and the continuum."""

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.testing import assert_close

import gamesim.populations.tallies
from gamesim.envs.graphon.beach import Beach
from gamesim.envs.graphon.cyber import Cyber
from gamesim.envs.graphon.heterogeneous_cyber import HeterogeneousCyber
from gamesim.envs.graphon.investment import Investment
from gamesim.envs.graphon.sis import SIS
from gamesim.envs.mean_field.crowd_modelling import CrowdModelling
from gamesim.errors import InvalidInput
from gamesim.figures import draw_chart
from gamesim.games import GraphonGame
from gamesim.graphons import ErdosRenyi, PowerLaw
from gamesim.kernels import fused
from gamesim.kernels import population as compiled
from gamesim.populations import Deviation, Network, Simulation, finite_gap, gap_chart, simulate
from gamesim.populations.gap_study import checked
from gamesim.populations.responses import Neighbourhood, mean_field_response, mean_field_values, steadied
from gamesim.populations.settings import deviating, make_worlds
from gamesim.populations.tallies import Moments
from gamesim.populations.worlds import PLAY
from gamesim.randomness import Stream
from gamesim.simplex import entropy


def probe(game: GraphonGame, seed: int = 0) -> Tensor:
    (pi,) = game.start()
    noise = torch.randn(pi.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.softmax(2 * noise, -1)


def answers(game: GraphonGame, count: int, seed: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, game.horizon, *game.shape[-2:])
    return torch.softmax(2 * torch.randn(shape, generator=generator, dtype=torch.float64), -1)


@dataclass(frozen=True, kw_only=True)
class Rumour(GraphonGame):
    """A game of one's own: P written out, rewards of z, an initial law of each position, no rows."""

    @property
    def initial(self) -> Tensor:
        x = self.grid.positions
        return torch.stack([1 - x / 2, x / 2], -1)

    def reward(self, h: int, z: Tensor) -> Tensor:
        return torch.tensor([[0.0, -0.1], [1.0, 0.5]], **self.like) * (1 - z[..., 1, None, None]) + 0.01 * h

    def transition(self, h: int, z: Tensor) -> Tensor:
        heard = (0.9 * z[..., 1])[..., None] * torch.tensor([1.0, 0.3], **self.like)
        ignorant = torch.stack([1 - heard, heard], -1)
        knowing = torch.tensor([[0.1, 0.9], [0.4, 0.6]], **self.like).expand_as(ignorant)
        return torch.stack([ignorant, knowing], -3)


# --- exact laws -------------------------------------------------------------------------------------------------------


def paths(game: GraphonGame, policy: Tensor, adjacency: Any, where: list[int]) -> dict[tuple[int, ...], float]:
    """The probability of every course of the whole game, by enumeration: states and actions of all agents, in order."""
    n, states, actions = len(where), *game.shape[-2:]
    law = game.initial.expand(len(game.grid), states)
    found = dict[tuple[int, ...], float]()

    def on(h: int, now: tuple[int, ...], so_far: tuple[int, ...], p: float) -> None:
        if h == game.horizon:
            found[so_far + now] = found.get(so_far + now, 0.0) + p
            return
        z = torch.zeros(n, states, dtype=torch.float64)
        for i, j in itertools.product(range(n), repeat=2):
            z[i, now[j]] += adjacency[i][j] / n
        P = game.kernel(h, z)
        for play in itertools.product(range(actions), repeat=n):
            q = p * float(np.prod([policy[h, where[i], now[i], play[i]] for i in range(n)]))
            for then in itertools.product(range(states), repeat=n):
                chance = float(np.prod([P[i, now[i], play[i], then[i]] for i in range(n)]))
                if q * chance > 0:
                    on(h + 1, then, so_far + now + play, q * chance)

    for first in itertools.product(range(states), repeat=n):
        on(0, first, (), float(np.prod([law[where[i], first[i]] for i in range(n)])))
    return found


@pytest.mark.parametrize("on", [True, False], ids=["loops", "torch"])
@pytest.mark.parametrize("kind", [SIS, Rumour])
def test_two_agents_against_every_path(kind: type[GraphonGame], on: bool) -> None:
    """2 agents, 2 states, 2 actions, 2 steps: chi-square of all courses of 40,000 episodes."""
    game = kind(horizon=2, positions=2)
    policy, adjacency, episodes = probe(game), [[0.0, 1.0], [1.0, 0.0]], 40_000
    law = paths(game, policy, adjacency, [0, 1])
    assert sum(law.values()) == pytest.approx(1)
    with fused(on):
        played = simulate(game, (policy,), network=adjacency, episodes=episodes, seed=3, record=True)
    data = played.data
    assert data is not None
    course = torch.cat([torch.stack([data.states, data.actions], 2).flatten(1), data.next_states[:, -1]], 1)
    seen = dict[tuple[int, ...], int]()
    for row in course.tolist():
        seen[tuple(row)] = seen.get(tuple(row), 0) + 1
    assert set(seen) <= set(law)
    common = [path for path, p in law.items() if p * episodes >= 5]
    observed = [seen.get(path, 0) for path in common]
    expected = [law[path] * episodes for path in common]
    observed.append(episodes - sum(observed))
    expected.append(episodes - sum(expected))
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_a_complete_network_against_its_chain() -> None:
    """On the complete graph the number of infected is a Markov chain: the mean return solved exactly."""
    game, n, episodes = SIS(horizon=12, graphon=ErdosRenyi(1.0), positions=1), 9, 20_000
    out = 0.5  # the uniform policy goes out half of the time
    chance = stats.binom.pmf(np.arange(n + 1), n, 0.5)
    value = 0.0
    for _ in range(game.horizon):
        value += float((chance * (-2.0 * np.arange(n + 1) / n)).sum()) - 0.5 * (1 - out)
        step = np.zeros((n + 1, n + 1))
        for k in range(n + 1):
            caught = stats.binom.pmf(np.arange(n - k + 1), n - k, out * 0.8 * k / n)
            step[k] = np.convolve(caught, stats.binom.pmf(np.arange(k + 1), k, 0.8))
        chance = chance @ step
    played = simulate(game, game.start(), agents=n, episodes=episodes, seed=1)
    assert float(played.networks[0].degrees.min()) == n - 1
    assert abs(float(played.mean) - value) < 4 * float(played.mean_error)
    assert float(played.mean_error) < 0.05


def test_many_agents_are_the_continuum() -> None:
    game = SIS(horizon=15, graphon=ErdosRenyi(0.6), positions=1)
    value = float(game.returns(game.start(), game.flow(game.start())))
    played = simulate(game, game.start(), agents=1500, episodes=300, graphs=2, seed=4)
    few = simulate(game, game.start(), agents=8, episodes=4000, graphs=2, seed=4)
    assert bool(((played.mean - value).abs() < 4 * played.mean_error + 0.02).all())
    assert bool((few.mean - value > 0.3).all())  # few agents infect each other less
    flow = game.flow(game.start())[:, 0]
    assert float((played.population - flow).abs().max()) < 0.01


# --- plain Python, one agent at a time --------------------------------------------------------------------------------


def one_by_one(game: GraphonGame, policy: Tensor, network: Any, scale: float, x: Tensor, episodes: int, seed: int,
               deviation: tuple[int, Tensor] | None = None) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """States, actions and rewards [e, h, n] of the same luck, with a loop for everything."""
    n, states, stream = len(x), game.shape[-2], Stream(seed, PLAY)
    law = game.initial.expand(len(game.grid), states)
    where = [int((game.grid.positions - at).abs().argmin()) for at in x]
    luck = [stream.uniform((episodes, n)) for _ in range(1 + 2 * game.horizon)]

    def pick(chances: Tensor, u: float) -> int:
        total, outcome = 0.0, 0
        for p in chances[:-1].tolist():
            total += p
            outcome += total < u
        return outcome

    kept = []
    for e in range(episodes):
        now = [pick(law[where[i]], float(luck[0][e, i])) for i in range(n)]
        for h in range(game.horizon):
            row, then = [], []
            for i in range(n):
                z, degree = torch.zeros(1, states, dtype=torch.float64), 0.0
                for j in range(n):
                    z[0, now[j]] += network[i, j]
                    degree += network[i, j]
                z *= scale
                if game.normalize:
                    z = z / (degree * scale) if degree else 0 * z
                if game.clip or game.z_is_probability:
                    z = z.clamp(max=1)
                chances = policy[h, where[i], now[i]]
                if deviation is not None and i == deviation[0]:
                    chances = deviation[1][h, now[i]]
                a = pick(chances, float(luck[1 + 2 * h][e, i]))
                reward = game.reward(h, z)
                row.append((now[i], a, float(reward.expand(1, *game.shape[-2:])[0, now[i], a])))
                then.append(pick(game.kernel(h, z)[0, now[i], a], float(luck[2 + 2 * h][e, i])))
            kept.append(row)
            now = then
    found = torch.tensor(kept, dtype=torch.float64).unflatten(0, (episodes, game.horizon))
    states_, actions, rewards = found.unbind(-1)
    return states_.int(), actions.int(), rewards


SETTINGS: dict[str, tuple[GraphonGame, dict[str, Any]]] = {
    "sis": (SIS(horizon=4, positions=3), {}),
    "sparse": (SIS(horizon=4, positions=3), {"density": 0.3, "positions": "random"}),
    "normalize": (SIS(horizon=4, positions=3, normalize=True), {"density": 0.3}),
    "clip": (Cyber(horizon=4, positions=3, clip=True, graphon=PowerLaw()), {"density": 0.5}),
    "beach": (Beach(horizon=3, positions=3, states=4, bar=2), {"positions": [0.9, 0.1, 0.4, 0.4, 0.0, 1.0]}),
    "rumour": (Rumour(horizon=4, positions=3), {}),
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("on", [True, False], ids=["loops", "torch"])
def test_against_a_loop_over_agents(name: str, on: bool) -> None:
    game, given = SETTINGS[name]
    policy = probe(game)
    with fused(on):
        played = simulate(game, (policy,), **{"agents": 6, "episodes": 5, "seed": 8, "record": True, **given})
    data, network = played.data, played.networks[0]
    assert data is not None
    scale = 1 / (6 * network.density)
    wanted = one_by_one(game, policy, network.matrix().toarray(), scale, played.positions[0], 5, 8)
    assert torch.equal(data.states, wanted[0])
    assert torch.equal(data.actions, wanted[1])
    assert_close(data.rewards, wanted[2])
    assert_close(played.returns[0], wanted[2].sum(1).mean(0))


def test_a_deviation_against_a_loop_over_agents() -> None:
    game = SIS(horizon=5, positions=3)
    policy, b = probe(game), answers(game, 4).unflatten(0, (2, 2))
    for on in (True, False):
        with fused(on):
            played = simulate(game, (policy,), agents=5, episodes=4, graphs=2, seed=2, each=True,
                              deviation=Deviation([[1, 4], [0, 0]], b))  # fmt: skip
        assert played.each is not None
        for g, d in itertools.product(range(2), range(2)):
            who = [[1, 4], [0, 0]][g][d]
            network = played.networks[0].matrix(g).toarray()
            wanted = one_by_one(game, policy, network, 1 / 5, played.positions[g], 4, 2 + g, (who, b[g, d]))
            assert_close(played.each[g, d], wanted[2].sum(1))


# --- the loops against torch ------------------------------------------------------------------------------------------


def same(one: Simulation, other: Simulation) -> None:
    """Equal states and actions, returns to rounding."""
    for name in ("returns", "errors", "mean", "mean_error", "each"):
        assert_close(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-10, equal_nan=True)
    for name in ("population", "cut", "flow"):
        assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=0)
    if one.data is not None and other.data is not None:
        for name in ("states", "actions", "next_states"):
            assert torch.equal(getattr(one.data, name), getattr(other.data, name))
        assert_close(one.data.rewards, other.data.rewards)


def both(game: GraphonGame, policy: Tensor, **given: Any) -> Simulation:
    given = {"flow": True, "each": True, "temperature": 0.3, "seed": 1, **given}
    if game.graph is None:
        assert compiled.serves(make_worlds(game, (policy,), 3, "grid", 1.0, None, 1, 0, 0.0))
    found = simulate(game, (policy,), **given)
    with fused(False):
        same(found, simulate(game, (policy,), **given))
    return found


@pytest.mark.parametrize("kind", [SIS, Beach, Investment, Cyber, HeterogeneousCyber])
@pytest.mark.parametrize("fields", [{}, {"normalize": True}, {"clip": True, "graphon": PowerLaw()}], ids=str)
def test_loops_are_torch(kind: type[GraphonGame], fields: dict[str, Any]) -> None:
    game = kind(horizon=4, positions=7, **fields)
    both(game, probe(game), agents=19, episodes=70, graphs=2)
    both(game, probe(game), agents=19, episodes=9, record=True)
    both(
        game,
        probe(game),
        agents=11,
        episodes=30,
        graphs=2,
        density=0.2,
        deviation=Deviation([0, 3, 10], answers(game, 3)),
    )


@pytest.mark.parametrize(
    ("agents", "episodes"), [(2, 1), (2, 130), (9, 8), (65, 1), (70, 23), (70, 24), (40, 65), (300, 3)]
)
def test_loops_of_every_size(agents: int, episodes: int) -> None:
    game = SIS(horizon=3, positions=4)
    both(game, probe(game), agents=agents, episodes=episodes, graphs=2, density=0.5)


def test_loops_with_more_than_255_neighbours() -> None:
    game = SIS(horizon=2, positions=4, graphon=ErdosRenyi(1.0))
    both(game, probe(game), agents=520, episodes=65)


def test_loops_with_many_states() -> None:
    game = CrowdModelling(horizon=3, places=5)
    assert game.shape[-2] > 20
    both(game, probe(game), agents=12, episodes=70)


def test_loops_on_networks_of_ones_own() -> None:
    rng = np.random.default_rng(0)
    weights = np.triu(rng.random((13, 13)) * (rng.random((13, 13)) < 0.5), 1)
    weights[0] = 0.0  # agent 0 may know nobody
    weights[:, 0] = 0.0
    for game in (
        SIS(horizon=4, positions=5),
        SIS(horizon=4, positions=5, normalize=True),
        Beach(horizon=3, positions=5),
    ):
        both(game, probe(game), network=Network.of(weights + weights.T, 0.4), episodes=70, graphs=2)
        both(game, probe(game), network=(weights + weights.T > 0) * 1.0, episodes=7, graphs=2)
    karate = SIS(horizon=4, graph="karate-club")
    assert both(karate, probe(karate), episodes=70).returns.shape == (1, 34)


def test_who_knows_nobody_feels_nothing() -> None:
    game = SIS(horizon=6, positions=1, normalize=True, recovery=0.0)
    data = simulate(game, game.start(), network=[[0, 0, 0], [0, 0, 1], [0, 1, 0]], episodes=300, record=True).data
    assert data is not None
    healthy = data.states[:, 0, 0] == 0
    assert not bool(data.next_states[healthy, :, 0].any())
    assert bool(data.next_states[data.states[:, 0, 1] == 0, -1, 1].any())


# --- what a simulation keeps ------------------------------------------------------------------------------------------


def test_networks_seeds_and_policies_of_a_batch_are_one_by_one() -> None:
    game = SIS(horizon=4, positions=5)
    policies = torch.stack([probe(game, i) for i in range(2)])
    given: dict[str, Any] = {"agents": 8, "episodes": 40, "positions": "random", "density": 0.5, "flow": True}
    whole = simulate(game, (policies,), graphs=3, seed=5, **given)
    assert whole.returns.shape == (2, 3, 8)
    assert whole.flow is not None
    for p, g in itertools.product(range(2), range(3)):
        alone = simulate(game, (policies[p],), seed=5 + g, **given)
        assert alone.flow is not None
        assert torch.equal(whole.returns[p, g], alone.returns[0])
        assert torch.equal(whole.positions[g], alone.positions[0])
        assert torch.equal(whole.flow[p, g], alone.flow[0])
    assert torch.equal(whole.returns, simulate(game, (policies,), graphs=3, seed=5, **given).returns)
    assert not torch.equal(whole.returns[0, 0], simulate(game, (policies[0],), seed=9, **given).returns[0])


@pytest.mark.parametrize("on", [True, False], ids=["loops", "torch"])
def test_parts_make_up_the_whole(on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    game = SIS(horizon=3, positions=5)
    given: dict[str, Any] = {"agents": 6, "episodes": 200, "graphs": 3, "each": True, "flow": True}
    given["deviation"] = Deviation([0, 2], answers(game, 2))
    with fused(on):
        whole = simulate(game, (probe(game),), **given)
        for numbers in (30, 1000, 6000) if on else (3000, 30_000):
            monkeypatch.setattr(gamesim.populations.tallies, "NUMBERS", numbers)
            same(whole, simulate(game, (probe(game),), **given))


def test_statistics_are_those_of_the_episodes() -> None:
    game = Beach(horizon=3, positions=5)
    found = simulate(game, (probe(game),), agents=7, episodes=150, graphs=2, each=True, flow=True, record=False)
    assert found.each is not None
    assert found.flow is not None
    assert_close(found.returns, found.each.mean(-2))
    assert_close(found.errors, found.each.std(-2) / 150**0.5)
    assert_close(found.mean_error, found.each.mean(-1).std(-1) / 150**0.5)
    assert_close(found.flow.mean(-2), found.population)
    assert_close(found.flow.sum(-1), torch.ones(2, 3, 7, dtype=torch.float64))
    assert bool(simulate(game, (probe(game),), agents=7, episodes=1).errors.isnan().all())


def test_a_temperature_pays_for_entropy() -> None:
    game = SIS(horizon=4, positions=2)
    policy = probe(game)
    cold, warm = (
        simulate(game, (policy,), agents=2, episodes=60, each=True, record=True, temperature=t) for t in (0.0, 0.7)
    )
    assert cold.data is not None
    assert cold.each is not None
    assert warm.each is not None
    assert torch.equal(cold.data.states, warm.data.states)  # type: ignore[union-attr]
    h, n = torch.arange(4)[:, None], torch.arange(2)
    bonus = 0.7 * entropy(policy)[h, n, cold.data.states.long()].sum(1)
    assert_close(warm.each[0], cold.each[0] + bonus)
    assert_close(cold.data.rewards.sum(1), cold.each[0])


def test_a_deviation_to_the_same_policy_changes_nothing() -> None:
    game = SIS(horizon=5, positions=3)
    policy, who = probe(game), [0, 4]
    where = [0, 2]
    plain = simulate(game, (policy,), agents=5, episodes=30, each=True)
    also = simulate(
        game, (policy,), agents=5, episodes=30, each=True, deviation=Deviation(who, policy[:, where].movedim(1, 0))
    )
    assert plain.each is not None
    assert also.each is not None
    for d in range(2):
        assert torch.equal(also.each[0, d], plain.each[0])


def test_aggregates_above_one_are_cut_and_counted() -> None:
    """Three agents that all know each other at density 0.5: two infected neighbours weigh 4/3."""
    game = SIS(horizon=3, positions=1)
    star = Network.of(1 - np.eye(3), density=0.5)
    found = simulate(game, game.start(), network=star, episodes=500, record=True)
    assert found.data is not None
    infected = found.data.states.double().sum(-1)
    others = infected[..., None] - found.data.states
    above = ((others == 2) | (others == 0)).double().mean()  # two infected, or two susceptible, neighbours
    assert float(found.cut) == pytest.approx(float(above))
    assert "% of the aggregates passed 1 and were cut to it" in str(found)
    for fields in ({"normalize": True}, {"clip": True}):
        quiet = simulate(replace(game, **fields), game.start(), network=star, episodes=50)
        assert float(quiet.cut) == 0
    assert "cut" not in str(quiet)


@dataclass(frozen=True, kw_only=True)
class Trusting(Rumour):
    """Its P leaves [0, 1] where z passes 1.12; it does not say so."""


def test_a_game_whose_law_breaks_is_refused() -> None:
    game = Trusting(horizon=4, positions=2)
    network = Network.of(1 - np.eye(6), density=0.1)
    with pytest.raises(InvalidInput, match=r"Trusting: P.* fell to -.*; set Trusting.z_is_probability = True"):
        simulate(game, game.start(), network=network, episodes=50)


@dataclass(frozen=True, kw_only=True)
class Placed(Rumour):
    """Its rewards know the grid, which agents elsewhere do not have."""

    def reward(self, h: int, z: Tensor) -> Tensor:
        return self.grid.positions[:, None, None].expand(-1, 2, 2)


def test_rewards_of_the_grid_are_refused() -> None:
    game = Placed(horizon=2, positions=4)
    with pytest.raises(InvalidInput, match=r"Placed: reward\(h, z\) and transition\(h, z\) must take z of any number"):
        simulate(game, game.start(), agents=7)


def test_a_network_for_each_graphon() -> None:
    """Nobody is joined at first, all are at last: infections come in the second half only."""
    game = SIS(horizon=6, positions=1, recovery=0.0, graphon=(ErdosRenyi(0.0),) * 3 + (ErdosRenyi(1.0),) * 3)
    found = simulate(game, game.start(), agents=10, episodes=200)
    infected = found.population[0, :, 1]
    assert [float(n.degrees.mean()) for n in found.networks] == [0.0, 9.0]
    assert_close(infected[:4], infected[:1].expand(4), rtol=0, atol=1e-12)
    assert bool((infected[4:].diff() > 0).all())


def test_float32() -> None:
    game = SIS(horizon=3, positions=4, dtype="float32")
    found = simulate(game, game.start(), agents=6, episodes=400)
    assert found.returns.dtype == torch.float32
    double = simulate(SIS(horizon=3, positions=4), SIS(horizon=3, positions=4).start(), agents=6, episodes=400)
    assert abs(float(found.mean - double.mean)) < 5 * float(double.mean_error)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"agents": 1}, "agents: got 1, expected a whole number from 2"),
        ({"agents": None}, "agents: say how many"),
        ({"agents": "many"}, "agents"),
        ({"agents": 10**8}, "agents: got"),
        ({"agents": 3, "positions": [0.1, 0.2]}, "positions: got '2 positions', expected 3"),
        ({"density": 0.0}, "density: got '0', expected a density above 0"),
        ({"density": float("nan")}, "density"),
        ({"episodes": 0}, "episodes"),
        ({"graphs": 0}, "graphs"),
        ({"seed": -1}, "seed"),
        ({"temperature": -1.0}, "temperature"),
        ({"network": np.ones((4, 4))}, "graph: got 'network, node 0 joined to itself'"),
        ({"network": [[0, 1], [1, 0]]}, "agents: got 4, expected 2, the agents of the network"),
        ({"network": [[0, 1], [1, 0]], "agents": None, "positions": "random"}, "positions"),
        ({"record": True, "graphs": 2}, "record"),
        ({"record": True, "episodes": 10**8}, "record"),
        ({"each": True, "episodes": 10**9}, "each"),
        ({"deviation": Deviation([4], torch.zeros(3, 2, 2))}, "deviation.agents: got 4, expected a number from 0 to 3"),
        ({"deviation": Deviation([0.5], torch.zeros(3, 2, 2))}, "deviation.agents"),
        ({"deviation": Deviation([], torch.zeros(3, 2, 2))}, "deviation.agents"),
        ({"deviation": Deviation([[0], [1]], torch.zeros(3, 2, 2))}, "deviation.agents"),
        ({"deviation": Deviation([0], torch.zeros(3, 2, 2))}, r"deviation.policy\[0\]"),
        ({"deviation": Deviation([0], torch.ones(3, 2) / 2)}, "deviation.policy"),
        ({"deviation": Deviation([0], torch.ones(5, 3, 2, 2) / 2)}, "deviation.policy"),
    ],
)
def test_no_simulation(given: dict[str, Any], words: str) -> None:
    game = SIS(horizon=3, positions=5)
    with pytest.raises(InvalidInput, match=words):
        simulate(game, game.start(), **{"agents": 4, "episodes": 5, **given})


def test_no_simulation_of_other_games() -> None:
    game = SIS(horizon=3, positions=5)
    with pytest.raises(InvalidInput, match=r"policy\[0\]: got"):
        simulate(game, SIS(horizon=3, positions=4).start(), agents=4)
    batch = SIS(horizon=3, positions=5, infection=torch.tensor([0.1, 0.2], dtype=torch.float64))
    with pytest.raises(InvalidInput, match="game: got 'a batch of SIS'"):
        simulate(batch, batch.start(), agents=4)
    with pytest.raises(InvalidInput, match="game: got 'NoneType', expected a GraphonGame"):
        simulate(None, game.start(), agents=4)
    karate = SIS(horizon=3, graph="karate-club")
    with pytest.raises(InvalidInput, match="agents: got 10, expected 34, one for each node of karate-club"):
        simulate(karate, karate.start(), agents=10)


# --- values, best responses, and the study ----------------------------------------------------------------------------


def test_values_and_responses_on_the_grid_are_those_of_the_game() -> None:
    for game in (SIS(horizon=6, positions=7), Rumour(horizon=4, positions=5)):
        policy, x = (probe(game),), game.grid.positions
        for lam in (0.0, 0.4):
            values = mean_field_values(game, policy, x, lam)
            assert_close(values[:, :-1].movedim(0, 1), game.values(policy, game.flow(policy), lam).v)
            assert not bool(values[:, -1].any())
            best = mean_field_response(game, policy, x, lam)
            assert_close(best.movedim(0, 1), game.best_response(game.flow(policy), lam)[0])


def test_a_response_against_every_policy() -> None:
    """The best of all 64 deterministic policies against averages of what was felt, by enumeration."""
    game = Rumour(horizon=3, positions=2)
    felt = torch.rand(1, 20, 3, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.5
    around = Neighbourhood(game)
    around.add(felt[:, :9])
    around.add(felt[:, 9:])
    P = torch.stack([game.kernel(h, felt[0, :, h, 0]).mean(0) for h in range(3)])
    r = torch.stack([game.reward(h, felt[0, :, h, 0]).mean(0) for h in range(3)])

    def value(pi: Tensor) -> float:
        v = torch.zeros(2, dtype=torch.float64)
        for h in reversed(range(3)):
            v = (pi[h] * (r[h] + P[h] @ v)).sum(-1)
        return float(v.sum())

    eye = torch.eye(2, dtype=torch.float64)
    every = [eye[torch.tensor(play).view(3, 2)] for play in itertools.product(range(2), repeat=6)]
    assert value(around.averages.response()[0, 0]) == pytest.approx(max(map(value, every)), abs=1e-12)
    soft = around.averages.response(0.2)[0, 0]
    assert bool((soft > 0).all())


def test_steadied_returns_have_the_mean_of_returns_and_less_noise() -> None:
    """Any value will do for the mean: that of the averages of other episodes, and one made up."""
    for game in (SIS(horizon=6, positions=3), Rumour(horizon=5, positions=3)):
        who, lam, pi = torch.tensor([[1, 6]]), 0.3, probe(game)
        worlds = make_worlds(game, (pi,), 8, "grid", 1.0, None, 1, 2, lam)
        own = pi.movedim(1, 0)[worlds.where.gather(1, who)]
        start = game.initial.expand(3, 2)[worlds.where.gather(1, who)]
        around = Neighbourhood(game)
        around.add(worlds.play(0, 500, watch=who).felt)
        chunk = worlds.play(500, 4000, watch=who)
        raw = chunk.returns[:, :, [1, 6]]
        found = around.averages.values(own, lam)
        made_up = torch.randn(found.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        made_up[:, :, -1] = 0.0
        for value, less in ((found, 0.5), (made_up, 5.0)):
            quiet = steadied(game, chunk.felt, chunk.stood, own, value, start, lam)
            z = (quiet - raw).mean(1) / ((quiet - raw).std(1) / 4000**0.5)
            assert float(z.abs().max()) < 4
            assert float((quiet.std(1) / raw.std(1)).max()) < less


@pytest.mark.parametrize("kind", [SIS, Beach, Cyber, Rumour])
@pytest.mark.parametrize("episodes", [5, 70])
def test_worlds_with_a_value_are_steadied_in_loops_and_in_torch(kind: type[GraphonGame], episodes: int) -> None:
    game, lam = kind(horizon=4, positions=3), 0.3
    generator = torch.Generator().manual_seed(1)
    worlds = make_worlds(game, (probe(game),), 9, "random", 0.5, None, 2, 2, lam)
    worlds = deviating(worlds, Deviation([2, 8], answers(game, 2)))
    for graphs in (1, 2):
        value = torch.randn(graphs, 9, 5, game.shape[-2], generator=generator, dtype=torch.float64)
        value[:, :, -1] = 0.0
        some = replace(worlds, foreseen=value)
        found = some.play(3, episodes, watch=torch.tensor([[0, 8]] * 4))
        with fused(False):
            wanted = some.play(3, episodes, watch=torch.tensor([[0, 8]] * 4))
        assert torch.equal(found.stood, wanted.stood)
        assert_close(found.returns, wanted.returns, rtol=1e-9, atol=1e-10)
        assert_close(found.felt, wanted.felt)
        # agent 0 deviates in no world, agent 8 in worlds 1 and 3
        g, p = worlds.index[:, 0], torch.zeros(4, dtype=torch.int64)
        policy = worlds.policy.movedim(2, 1)[p[:, None], worlds.where[g][:, [0, 8]]]
        policy[[1, 3], 1] = worlds.deviation[worlds.index[[1, 3], 3]]
        start = game.initial.expand(3, -1)[worlds.where[g][:, [0, 8]]]
        own = value.expand(2, -1, -1, -1)[g][:, [0, 8]]
        told = steadied(game, found.felt, found.stood, policy, own, start, lam)
        assert_close(found.returns[:, :, [0, 8]], told)


def test_a_value_changes_no_mean() -> None:
    """With the values of the continuum the returns of every agent keep their means, and lose most of their noise."""
    game = SIS(horizon=10, positions=5)
    policy = (probe(game),)
    worlds = make_worlds(game, policy, 12, "grid", 1.0, None, 1, 2, 0.4)
    value = mean_field_values(game, policy, worlds.positions[0], 0.4)
    raw = worlds.play(0, 8000).returns[0]
    quiet = replace(worlds, foreseen=value[None]).play(0, 8000).returns[0]
    z = (quiet - raw).mean(0) / ((quiet - raw).std(0) / 8000**0.5)
    assert float(z.abs().max()) < 4
    assert float(quiet.var() / raw.var()) < 0.2


def test_without_interaction_there_is_no_gap() -> None:
    """W = 0: agents are the continuum's, and all that they do could be foreseen."""
    game = SIS(horizon=8, positions=5, graphon=ErdosRenyi(0.0))
    policy = (probe(game),)
    gap = finite_gap(game, policy, [10, 40], episodes=100, graphs=3, deviators=2)
    for found in (gap.square.abs().sqrt(), gap.largest, gap.raw_largest, gap.bias, gap.bias_error, gap.gain_errors):
        assert float(found.abs().max()) < 1e-12
    for c in range(2):
        gains = torch.stack([game.gains(policy)[(x * 5).long()] for x in gap.deviators[c]])
        assert_close(gap.gains[c], gains[..., None].expand_as(gap.gains[c]))


def test_noise_is_taken_off() -> None:
    """The unbiased square and the checked maximum of pure noise are zero within their errors; the raw ones are not."""
    noise = torch.randn(2, 400, 64, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = Moments()
    for half in noise:
        whole.add(half)
    square = (whole.mean.square() - whole.variance).mean(-1)
    assert abs(float(square.mean())) < 4 * float(square.std()) / 400**0.5
    one, two = noise.mean(2)
    largest = (checked(one, two) + checked(two, one)) / 2
    assert abs(float(largest.mean())) < 4 * float(largest.std()) / 400**0.5
    assert float(whole.mean.abs().amax(-1).min()) > 0.1
    game = SIS(horizon=8, positions=5)
    rough, fine = (finite_gap(game, (probe(game),), [8], episodes=e, graphs=60, deviators=0) for e in (4, 400))
    more = (rough.square - fine.square)[0]
    assert abs(float(more.mean())) < 4 * float(more.std()) / 60**0.5
    assert float(more.std()) / 60**0.5 < 0.2 * float(fine.square.mean())
    shifted = checked(one + 3.0, two + 3.0)  # a difference that is there is found
    assert float(shifted.mean()) == pytest.approx(3.0, abs=0.05)


def test_the_gap_closes_with_more_agents() -> None:
    game = SIS(horizon=10, positions=11)
    gap = finite_gap(game, game.start(), [10, 40, 160], episodes=400, graphs=6, deviators=2, seed=3)
    for quantity in ("value_gap", "largest_gap", "bias", "gain", "mean_field_gain"):
        band = gap.band(quantity)  # type: ignore[arg-type]
        assert bool((band.low <= band.mean).all() & (band.mean <= band.high).all())
    values = gap.band("value_gap")
    assert bool((values.mean[1:] < values.mean[:-1]).all())
    assert float(values.high[2]) < float(values.low[0])
    fit = gap.fit()
    assert -0.8 < fit.slope < -0.3
    assert fit.low < fit.slope < fit.high
    assert len(gap.rows()) == 18
    assert str(gap).count("\n") == 3
    figure = draw_chart(gap_chart({"SIS": gap}))
    assert len(figure.axes) == 2


def test_gains_at_an_equilibrium_are_smaller_than_elsewhere() -> None:
    """Against the uniform policy an agent gains about what it would in the continuum."""
    game = SIS(horizon=10, positions=11, reward_scale=2.0)
    gap = finite_gap(game, game.start(), [200], episodes=300, graphs=3, deviators=3)
    wanted = game.gains(game.start())[(gap.deviators[0, 0] * 11).long()]
    found = gap.gains[0, :, :, 1]
    assert float((found.mean(0) - wanted).abs().max()) < 0.15 * float(wanted.max()) + 0.3
    assert float(gap.gains[0, ..., 0].mean()) > 0.9 * float(found.mean())


def test_a_study_is_reproducible_and_sparse_studies_count_what_they_cut() -> None:
    game = SIS(horizon=5, positions=5)
    one, two = (
        finite_gap(
            game, game.start(), [20], episodes=50, graphs=2, deviators=1, density="power(1, 0.8)", positions="random"
        )
        for _ in range(2)
    )
    assert torch.equal(one.gains, two.gains)
    assert torch.equal(one.square, two.square)
    assert one.density == (pytest.approx(20**-0.8),)
    assert float(one.cut.max()) > 0
    assert "of the aggregates cut to 1" in str(one)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"agents": []}, "agents"),
        ({"agents": [1]}, "agents: got 1"),
        ({"agents": [10, 3]}, "deviators: got 4, expected at most 3"),
        ({"episodes": 3}, "episodes: got 3, expected at least 4"),
        ({"positions": "unknown"}, "positions"),
        ({"deviators": -1}, "deviators"),
        ({"temperature": float("nan")}, "temperature"),
        ({"policy": (torch.ones(2, 3, 5, 2, 2) / 2,)}, "policy"),
    ],
)
def test_no_study(given: dict[str, Any], words: str) -> None:
    game = SIS(horizon=3, positions=5)
    given = {"policy": game.start(), "agents": [5], "episodes": 8, "graphs": 2, **given}
    with pytest.raises(InvalidInput, match=words):
        finite_gap(game, **given)
