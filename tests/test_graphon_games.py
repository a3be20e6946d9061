"""Graphon games and operators against plain Python written from the papers' formulas, and against published numbers.

The twins below are deliberately naive: loops over positions, states and actions, a dense W, no torch.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from gamesim.envs import SIS, Beach, Cyber, HeterogeneousCyber, Investment
from gamesim.errors import InvalidInput
from gamesim.games import GraphonGame
from gamesim.graphons import (
    BlockGraphon,
    CutoffPowerLaw,
    Empirical,
    ErdosRenyi,
    Exponential,
    FunctionGraphon,
    PowerLaw,
    RankedAttachment,
    StochasticBlock,
    UniformAttachment,
    quadrature,
)
from gamesim.kernels import fused

# --- the twins ------------------------------------------------------------------------------------------------------


@dataclass
class Twin:
    """S states, A actions, initial law, P(s, a, z) -> law, r(s, a, z) -> number."""

    states: int
    actions: int
    initial: list[float]
    P: Callable[[int, int, list[float]], list[float]]
    r: Callable[[int, int, list[float]], float]


def sis(infection: float = 0.8, recovery: float = 0.2, reward_scale: float = 1.0) -> Twin:
    def P(s: int, a: int, z: list[float]) -> list[float]:
        if s == 1:
            return [recovery, 1 - recovery]
        p = infection * z[1] * (1 - a)
        return [1 - p, p]

    return Twin(2, 2, [0.5, 0.5], P, lambda s, a, z: reward_scale * (-2 * (s == 1) - 0.5 * a))


def beach(noise: float = 0.1, crowd: float = 3.0, states: int = 10, bar: int = 5, move_cost: float = 0.2) -> Twin:
    def P(s: int, a: int, z: list[float]) -> list[float]:
        law = [0.0] * states
        for e, p in ((-1, noise / 2), (0, 1 - noise), (1, noise / 2)):
            law[(s + a - 1 + e) % states] += p
        return law

    def r(s: int, a: int, z: list[float]) -> float:
        around = min((s - bar) % states, (bar - s) % states)
        return -around / (states / 2) - move_cost * (a != 1) - crowd * z[s]

    return Twin(states, 3, [1 / states] * states, P, r)


def investment(payoff: float = 0.3, cost: float = 2.0, qualities: int = 10) -> Twin:
    def P(s: int, a: int, z: list[float]) -> list[float]:
        law = [0.0] * qualities
        if a == 1 and s < qualities - 1:
            law[s + 1] = (qualities - 1 - s) / qualities
            law[s] = (1 + s) / qualities
        else:
            law[s] = 1.0
        return law

    def r(s: int, a: int, z: list[float]) -> float:
        return payoff * s / (1 + sum(x * z[x] for x in range(qualities))) - cost * a

    return Twin(qualities, 2, [1.0] + [0.0] * (qualities - 1), P, r)


def any_of(a: float, b: float, c: float) -> float:
    """Inclusion and exclusion: the chance of at least one of three independent events."""
    return a + b + c - a * b - a * c - b * c + a * b * c


def cyber(sectors: int, contacts: Any, recovery: Any, costs: Any, wish: float = 0.3, v: float = 0.1) -> Twin:
    """contacts[sector][own level] = (from D, from U), recovery[level], costs[sector] = (defence, infection)."""

    def P(s: int, a: int, z: list[float]) -> list[float]:
        c, own, healthy = s // 4, s % 4 // 2, s % 2
        g_d = min(1.0, sum(z[4 * x] for x in range(sectors)))
        g_u = min(1.0, sum(z[4 * x + 2] for x in range(sectors)))
        from_d, from_u = contacts[c][own]
        infected = any_of(v * (0.05, 0.1)[own], from_d * g_d, from_u * g_u) if healthy else 1 - recovery[own]
        law = [0.0] * (4 * sectors)
        for level in (0, 1):
            moves = a * wish if level != own else 1 - a * wish
            law[4 * c + 2 * level] = moves * infected
            law[4 * c + 2 * level + 1] = moves * (1 - infected)
        return law

    def r(s: int, a: int, z: list[float]) -> float:
        defence, infection = costs[s // 4]
        return -defence * (s % 4 < 2) - infection * (s % 2 == 0)

    return Twin(4 * sectors, 2, [1 / (4 * sectors)] * 4 * sectors, P, r)


plain_cyber = cyber(1, [[(0.1, 0.2), (0.7, 0.8)]], (0.3, 0.2), [(0.7, 2.0)])
private_and_corporate = [[(0.2, 0.3), (0.9, 1.0)], [(0.1, 0.2), (0.7, 0.8)]]
mixed_cyber = cyber(2, private_and_corporate, (0.4, 0.3), [(0.7, 2.0), (0.6, 2.0)])

GAMES: list[tuple[type[GraphonGame], dict[str, Any], Twin]] = [
    (SIS, {}, sis()),
    (SIS, {"infection": 0.6, "recovery": 0.1, "reward_scale": 5.0}, sis(0.6, 0.1, 5.0)),
    (Beach, {}, beach()),
    (Beach, {"states": 7, "bar": 1, "noise": 0.4, "crowd": 8.0, "move_cost": 0.5}, beach(0.4, 8.0, 7, 1, 0.5)),
    (Investment, {}, investment()),
    (Investment, {"qualities": 4, "payoff": 1.5, "cost": 0.7}, investment(1.5, 0.7, 4)),
    (Cyber, {}, plain_cyber),
    (
        Cyber,
        {"update": 0.5, "attack": 0.6, "contact_uu": 0.3, "recovery_defended": 0.9, "defence_cost": 0.1},
        cyber(1, [[(0.1, 0.2), (0.7, 0.3)]], (0.9, 0.2), [(0.1, 2.0)], 0.5, 0.6),
    ),
    (HeterogeneousCyber, {}, mixed_cyber),
]
GRAPHONS = {
    "uniform-attachment": (UniformAttachment(), lambda x, y: 1 - max(x, y)),
    "stochastic-block": (StochasticBlock(), lambda x, y: 0.9 if (x < 0.7) == (y < 0.7) else 0.3),
}
IDS = [f"{cls.__name__}-{i}" for i, (cls, _, _) in enumerate(GAMES)]


def softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(weights / weights.sum(-1, keepdims=True))


def naive_aggregate(W: Callable[[float, float], float], x: list[float], w: list[float], mu: Any) -> Any:
    return [
        [sum(w[j] * W(x[i], x[j]) * mu[j][s] for j in range(len(x))) for s in range(len(mu[0]))] for i in range(len(x))
    ]


def naive_flow(twin: Twin, W: Any, x: Any, w: Any, pi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """mu[h][k][s] and z[h][k][s]."""
    mass = [list(twin.initial) for _ in x]
    flow, felt = [], []
    for policy in pi:
        z = naive_aggregate(W, x, w, mass)
        flow.append(mass)
        felt.append(z)
        after = [[0.0] * twin.states for _ in x]
        for k, s, a in itertools.product(range(len(x)), range(twin.states), range(twin.actions)):
            for t, p in enumerate(twin.P(s, a, z[k])):
                after[k][t] += mass[k][s] * policy[k][s][a] * p
        mass = after
    return np.array(flow), np.array(felt)


def naive_values(twin: Twin, z: np.ndarray, pi: np.ndarray | None, lam: float) -> tuple[np.ndarray, np.ndarray]:
    """Q[h, k, s, a] and V[h, k, s] of a policy, or of the best response where there is none."""
    H, K = len(z), len(z[0])
    Q, V = np.zeros((H, K, twin.states, twin.actions)), np.zeros((H + 1, K, twin.states))
    for h, k, s in itertools.product(reversed(range(H)), range(K), range(twin.states)):
        felt = list(z[h, k])
        for a in range(twin.actions):
            Q[h, k, s, a] = twin.r(s, a, felt) + sum(p * V[h + 1, k, t] for t, p in enumerate(twin.P(s, a, felt)))
        q = Q[h, k, s]
        if pi is not None:
            V[h, k, s] = sum(p * (q[a] - lam * math.log(p)) for a, p in enumerate(pi[h, k, s]) if p > 0)
        elif lam > 0:
            V[h, k, s] = q.max() + lam * math.log(sum(math.exp((y - q.max()) / lam) for y in q))
        else:
            V[h, k, s] = q.max()
    return Q, V[:-1]


def some_policy(game: GraphonGame, seed: int = 0) -> np.ndarray:
    return softmax(np.random.default_rng(seed).normal(0, 2, (game.horizon, *game.shape)))


def close(found: torch.Tensor, wanted: Any, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=tolerance, atol=tolerance)


@pytest.fixture(params=[True, False], ids=["fused", "torch"])
def path(request: pytest.FixtureRequest) -> Any:
    """Both ways to play a game: compiled loops where there are any, and plain torch."""
    with fused(request.param):
        yield


# --- each game is its formulas --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "given", "twin"), GAMES, ids=IDS)
def test_one_step_is_the_formula(cls: type[GraphonGame], given: dict[str, Any], twin: Twin) -> None:
    """reward, expect and push at aggregates that no flow need reach: for Cyber also above 1."""
    game = cls(positions=3, horizon=2, **given)
    rng = np.random.default_rng(1)
    z = rng.uniform(0, 1 if game.z_is_probability else 2, (3, twin.states))
    value, mass = rng.normal(size=(3, twin.states)), rng.dirichlet(np.ones(twin.states), 3)
    pi = softmax(rng.normal(size=(3, twin.states, twin.actions)))
    tensors = [torch.from_numpy(part) for part in (z, value, mass, pi)]
    P = np.array(
        [[[twin.P(s, a, list(z[k])) for a in range(twin.actions)] for s in range(twin.states)] for k in range(3)]
    )
    r = np.array(
        [[[twin.r(s, a, list(z[k])) for a in range(twin.actions)] for s in range(twin.states)] for k in range(3)]
    )
    close(game.reward(1, tensors[0]).expand(r.shape), r)
    close(game.expect(1, tensors[1], tensors[0]), np.einsum("ksat,kt->ksa", P, value))
    close(game.push(1, tensors[2], tensors[3], tensors[0]), np.einsum("ks,ksa,ksat->kt", mass, pi, P))
    close(game.initial, twin.initial)
    game.validate()


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("name", GRAPHONS)
@pytest.mark.parametrize(("cls", "given", "twin"), GAMES, ids=IDS)
def test_flow_and_values_are_the_naive_ones(cls: type[GraphonGame], given: Any, twin: Twin, name: str) -> None:
    graphon, W = GRAPHONS[name]
    game = cls(positions=4, horizon=3, graphon=graphon, **given)
    x, w = game.grid.positions.tolist(), game.grid.weights.tolist()
    pi = some_policy(game)
    policy = (torch.from_numpy(pi),)
    mu, z = naive_flow(twin, W, x, w, pi)
    flow = game.flow(policy)
    close(flow, mu)
    close(game.aggregate(flow), z)
    close(flow.sum(-1), np.ones(flow.shape[:-1]))
    for lam in (0.0, 0.7):
        q, v = naive_values(twin, z, pi, lam)
        best_q, best_v = naive_values(twin, z, None, lam)
        found, best = game.values(policy, flow, lam), game.optimal_values(flow, lam)
        for ours, theirs in ((found.q, q), (found.v, v), (best.q, best_q), (best.v, best_v)):
            close(ours, theirs)
        gain = (np.array(twin.initial) * (best_v[0] - v[0])).sum(-1)
        close(game.gains(policy, lam), gain, 1e-11)
        close(game.exploitability(policy, lam), np.dot(gain, w), 1e-11)
        close(game.feedback(policy, lam)[0], q)
        close(game.returns(policy, flow, lam), (np.array(twin.initial) * v[0]).sum(-1))


@pytest.mark.usefixtures("path")
def test_performance_difference_is_a_divergence() -> None:
    """J*(mu) - J(pi, mu) = lam E_{pi in mu} sum_h KL(pi_h || pi*_h), for any frozen flow mu."""
    game, lam = Cyber(positions=5, horizon=6), 0.4
    mu = game.flow((torch.from_numpy(some_policy(game, 1)),))
    policy = (torch.from_numpy(some_policy(game, 2)),)
    (best,) = game.best_response(mu, lam)
    own = game.flow(policy, frozen=mu)
    divergence = (policy[0] * (policy[0].log() - best.log())).sum(-1)
    wanted = lam * (own * divergence).sum((-3, -1))
    gap = game.returns((best,), mu, lam) - game.returns(policy, mu, lam)
    close(gap, wanted.numpy(), 1e-11)
    close(game.gains(policy, lam, flow=mu), wanted.numpy(), 1e-11)


# --- batches --------------------------------------------------------------------------------------------------------

BATCHES: list[tuple[type[GraphonGame], dict[str, list[float]]]] = [
    (SIS, {"infection": [0.2, 0.8, 1.0], "recovery": [0.1, 0.2, 0.5], "reward_scale": [1.0, 5.0, 2.0]}),
    (Beach, {"crowd": [0.0, 3.0, 8.0], "noise": [0.0, 0.1, 0.5], "move_cost": [0.2, 0.0, 1.0]}),
    (Beach, {"distance_cost": [0.5, 1.0, 2.0]}),
    (Investment, {"payoff": [0.3, 0.5, 2.0], "cost": [2.0, 1.0, 0.0]}),
    (Investment, {"cost": [2.0, 1.0, 0.0]}),
    (Cyber, {"update": [0.1, 0.3, 1.0], "contact_du": [0.0, 0.7, 0.9], "infection_cost": [2.0, 1.0, 0.5]}),
    (Cyber, {"update": [0.1, 0.3, 1.0]}),
    (Cyber, {"attack": [0.1, 0.5, 1.0], "recovery_unprotected": [0.1, 0.2, 0.3]}),
    (HeterogeneousCyber, {"update": [0.1, 0.3, 1.0], "private_contact_uu": [0.1, 0.5, 1.0]}),
    (HeterogeneousCyber, {"corporate_defence_cost": [0.1, 0.6, 1.0], "attack_defended": [0.1, 0.6, 1.0]}),
]


@pytest.mark.parametrize(("cls", "given"), BATCHES)
def test_a_batch_of_games_is_its_games(cls: type[GraphonGame], given: dict[str, list[float]]) -> None:
    batch = cls(positions=4, horizon=3, **{name: torch.tensor(v, dtype=torch.float64) for name, v in given.items()})
    assert batch.shape[0] == 3
    pi = torch.softmax(
        torch.randn(3, 3, *batch.shape[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(0)), -1
    )
    flow = batch.flow((pi,))
    values, best = batch.values((pi,), flow, 0.3), batch.optimal_values(flow)
    found = batch.exploitability((pi,))
    shared, all_of_one = batch.flow((pi[0],)), batch.exploitability((pi[0],))  # one policy in three games
    for i in range(3):
        one = cls(positions=4, horizon=3, **{name: v[i] for name, v in given.items()})
        alone = one.flow((pi[i],))
        torch.testing.assert_close(flow[i], alone, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(values.q[i], one.values((pi[i],), alone, 0.3).q, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(best.v[i], one.optimal_values(alone).v, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found[i], one.exploitability((pi[i],)), rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(shared[i], one.flow((pi[0],)), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(all_of_one[i], one.exploitability((pi[0],)), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("cls", [SIS, Beach, Investment, Cyber, HeterogeneousCyber])
def test_a_batch_of_policies_is_its_policies(cls: type[GraphonGame]) -> None:
    game = cls(positions=3, horizon=3)
    pi = torch.stack([torch.from_numpy(some_policy(game, seed)) for seed in range(6)]).unflatten(0, (2, 3))
    found, flow = game.exploitability((pi,), 0.2), game.flow((pi,))
    for i, j in itertools.product(range(2), range(3)):
        torch.testing.assert_close(found[i, j], game.exploitability((pi[i, j],), 0.2), rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(flow[i, j], game.flow((pi[i, j],)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cls", [SIS, Beach, Investment, Cyber, HeterogeneousCyber])
def test_mass_is_conserved_and_float32_agrees(cls: type[GraphonGame]) -> None:
    game, single = cls(positions=7), cls(positions=7, dtype="float32")
    pi = torch.from_numpy(some_policy(game))
    flow = game.flow((pi,))
    close(flow.sum(-1), np.ones((50, 7)), 1e-13)
    assert bool((flow >= 0).all())
    rough = single.flow((pi.float(),))
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough.double(), flow, rtol=0, atol=1e-5)
    gap = single.exploitability((pi.float(),))
    assert gap.dtype == torch.float32
    torch.testing.assert_close(gap.double(), game.exploitability((pi,)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("cls", "name"), [(SIS, "infection"), (Beach, "crowd"), (Investment, "cost"), (Cyber, "contact_uu")]
)
def test_exploitability_is_differentiable_in_a_parameter(cls: type[GraphonGame], name: str) -> None:
    def gap(x: float | torch.Tensor) -> torch.Tensor:
        game = cls(positions=3, horizon=4, **{name: x})
        return game.exploitability((torch.from_numpy(some_policy(game)),), 0.5)

    x = torch.tensor(0.45, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(gap(x), x)
    with torch.no_grad():
        secant = (gap(0.45 + 1e-6) - gap(0.45 - 1e-6)) / 2e-6
    torch.testing.assert_close(slope, secant, rtol=1e-6, atol=1e-7)


def test_transitions_that_ignore_the_aggregate_are_not_built_at_every_position() -> None:
    for game, shape in ((Beach(positions=5), (10, 3, 10)), (Investment(positions=5), (10, 2, 10))):
        assert game.transition(0, torch.zeros(5, 10)).shape == shape


def test_a_game_by_its_transition_is_the_game_by_expect_and_push() -> None:
    class PlainSIS(GraphonGame):
        z_is_probability = True
        initial = torch.tensor([0.5, 0.5], dtype=torch.float64)

        def reward(self, h: int, z: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[0.0, -0.5], [-2.0, -2.5]], dtype=torch.float64)

        def transition(self, h: int, z: torch.Tensor) -> torch.Tensor:
            p, zero = 0.8 * z[..., 1], torch.zeros_like(z[..., 1])
            out = torch.stack([1 - p, p], -1), torch.stack([zero + 1, zero], -1)
            back = torch.stack([zero + 0.2, zero + 0.8], -1)
            return torch.stack([torch.stack(out, -2), torch.stack([back, back], -2)], -3)

    mine, ours = PlainSIS(positions=4, horizon=5), SIS(positions=4, horizon=5)
    policy = (torch.from_numpy(some_policy(ours)),)
    mine.validate()
    torch.testing.assert_close(mine.flow(policy), ours.flow(policy), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mine.exploitability(policy), ours.exploitability(policy), rtol=1e-12, atol=1e-12)


# --- published numbers ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("path")
def test_beach_by_mirror_descent_gives_the_numbers_of_fabian_cui_and_koeppl() -> None:
    """Their code with 10 positions, printed after 1, 2 and 3 iterations of y += 0.1 Q* (Q of the best response)."""
    game = Beach(positions=10)
    (pi,) = game.start()
    y, found = torch.zeros_like(pi), []
    for _ in range(3):
        y = y + 0.1 * game.optimal_values(game.flow((pi,))).q
        pi = torch.softmax(y, -1)
        found.append(float(game.exploitability((pi,))))
    assert found == pytest.approx([24.9444, 22.1299, 19.7145], rel=1e-5, abs=1e-4)


@pytest.mark.usefixtures("path")
def test_sis_by_fixed_point_gives_the_numbers_of_cui_and_koeppl() -> None:
    """Their code with 11 end points, after 1 to 4 iterations of pi = softmax(Q* / 0.101), Q* unregularised."""
    game = SIS(positions=11, quadrature="endpoint")
    policy, found = game.start(), []
    for _ in range(4):
        policy = (torch.softmax(game.optimal_values(game.flow(policy)).q / 0.101, -1),)
        found.append(float(game.exploitability(policy)))
    assert found == pytest.approx([1.37589, 2.31354, 5.06445, 2.25700], abs=1e-5)


def test_sis_values_converge_with_the_grid_as_they_should() -> None:
    """The value of the uniform policy: end points are off by O(1/M), midpoints by O(1/M^2)."""

    def value(positions: int, rule: Any) -> float:
        game = SIS(positions=positions, quadrature=rule)
        policy = game.start()
        return float(game.mean(game.returns(policy, game.flow(policy))))

    ends = [value(m, "endpoint") for m in (11, 21, 51, 101, 201)]
    middles = [value(m, "midpoint") for m in (11, 21, 51, 101, 201)]
    assert ends == pytest.approx([-23.421, -23.529, -23.607, -23.636, -23.651], abs=1e-3)
    assert middles == pytest.approx([-23.702, -23.676, -23.668, -23.667, -23.666], abs=1e-3)


# --- brute force ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("horizon", [2, 3])
def test_best_responses_are_those_of_brute_force(horizon: int) -> None:
    """Every deterministic policy of one agent at each of two positions, evaluated by hand in the flow of the crowd."""
    game, twin = SIS(positions=2, horizon=horizon), sis()
    pi = some_policy(game)
    mu, z = naive_flow(twin, lambda x, y: 1 - max(x, y), [0.25, 0.75], [0.5, 0.5], pi)
    gains = []
    for k in range(2):
        best = -math.inf
        for choice in itertools.product(range(2), repeat=2 * horizon):
            alone = np.zeros((horizon, 1, 2, 2))
            for (h, s), a in zip(itertools.product(range(horizon), range(2)), choice, strict=True):
                alone[h, 0, s, a] = 1.0
            _, v = naive_values(twin, z[:, k : k + 1], alone, 0.0)
            best = max(best, float(np.dot(twin.initial, v[0, 0])))
        _, own = naive_values(twin, z[:, k : k + 1], pi[:, k : k + 1], 0.0)
        found = game.optimal_values(torch.from_numpy(mu)).v[0, k]
        assert float(found @ game.initial) == pytest.approx(best, abs=1e-12)
        gains.append(best - float(np.dot(twin.initial, own[0, 0])))
    policy = (torch.from_numpy(pi),)
    close(game.gains(policy), gains)
    assert float(game.exploitability(policy)) == pytest.approx(sum(gains) / 2, abs=1e-12)


# --- operators ------------------------------------------------------------------------------------------------------

NETWORK = np.triu(np.random.default_rng(0).random((23, 23)) < 0.3, 1).astype(float)
KINDS = [
    UniformAttachment(),
    RankedAttachment(),
    ErdosRenyi(0.4),
    PowerLaw(0.3),
    CutoffPowerLaw(0.5, 0.1),
    StochasticBlock(),
    BlockGraphon(((0.1, 0.5, 0.2), (0.5, 0.9, 0.3), (0.2, 0.3, 0.0)), (0.25, 0.6)),
    Exponential(3.0),
    FunctionGraphon(lambda x, y: torch.exp(-((x - y) ** 2))),
    Empirical(NETWORK + NETWORK.T),
]


@pytest.mark.parametrize("graphon", KINDS, ids=str)
@pytest.mark.parametrize("rule", ["midpoint", "endpoint", "gauss-legendre", "block"])
@pytest.mark.parametrize("positions", [23, 150])
def test_every_form_of_an_operator_gives_the_same_aggregate(graphon: Any, rule: Any, positions: int) -> None:
    like: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}
    if rule == "endpoint" and isinstance(graphon, PowerLaw):
        with pytest.raises(InvalidInput, match="infinite at position 0"):
            graphon.grid(rule, positions, **like)
        return
    if rule == "block" and graphon.blocks() is None:
        with pytest.raises(InvalidInput, match="step graphon"):
            graphon.grid(rule, None, **like)
        return
    grid = graphon.grid(rule, None if rule == "block" else positions, **like)
    assert float(grid.weights.sum()) == pytest.approx(1, abs=1e-12)
    columns = torch.rand(2, len(grid), 5, generator=torch.Generator().manual_seed(0), **like)
    W = [[float(graphon(x, y)) for y in grid.positions] for x in grid.positions] if len(grid) < 30 else None
    dense = graphon.operator(grid, "dense")(columns)
    if W is not None:
        close(dense, np.einsum("ij,j,bjc->bic", np.array(W), grid.weights.numpy(), columns.numpy()))
    forms = graphon.forms(grid.positions)
    assert "dense" in forms
    for form in ("dense", "low-rank", "step", "prefix-sum", "sparse", "auto"):
        try:
            found = graphon.operator(grid, form)(columns)  # type: ignore[arg-type]
        except InvalidInput as error:
            assert form not in forms, error  # noqa: PT017
            assert str(error).startswith("operator: got")  # noqa: PT017
        else:
            torch.testing.assert_close(found, dense, rtol=1e-12, atol=1e-12)


def test_low_rank_is_found_for_a_smooth_function() -> None:
    graphon = FunctionGraphon(lambda x, y: torch.exp(-((x - y) ** 2)))
    grid = quadrature("midpoint", 200)
    columns = torch.rand(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = graphon.operator(grid, "low-rank")(columns)
    torch.testing.assert_close(found, graphon.operator(grid, "dense")(columns), rtol=1e-12, atol=1e-12)
    kinked = FunctionGraphon(lambda x, y: 1 - torch.maximum(x, y))
    with pytest.raises(InvalidInput, match="not smooth enough"):
        kinked.operator(grid, "low-rank")


def test_no_narrow_block_is_missed() -> None:
    """A numerical low-rank form looks at some eighty positions only, so a graphon with blocks does not offer one."""
    graphon = BlockGraphon(((0.1, 0.5, 0.1), (0.5, 1.0, 0.9), (0.1, 0.9, 0.1)), (0.5037, 0.5041))
    grid = quadrature("midpoint", 20_000)
    with pytest.raises(InvalidInput, match="a form that step has: step, dense"):
        graphon.operator(grid, "low-rank")
    assert graphon.operator(grid).form == "step"


@pytest.mark.parametrize("operator", ["dense", "low-rank", "step", "prefix-sum", "auto"])
def test_a_game_is_the_same_with_every_operator(operator: Any) -> None:
    kinds = {"low-rank": RankedAttachment(), "step": StochasticBlock(), "prefix-sum": UniformAttachment()}
    graphon = kinds.get(operator, Exponential())
    plain, game = (SIS(graphon=graphon, positions=140, horizon=5, operator=form) for form in ("dense", operator))
    policy = (torch.from_numpy(some_policy(plain)),)
    torch.testing.assert_close(game.exploitability(policy), plain.exploitability(policy), rtol=1e-12, atol=1e-12)


def test_graphons_that_vary_with_time() -> None:
    W = (UniformAttachment(), StochasticBlock(), Exponential())
    game = Beach(graphon=W, positions=4, horizon=3)
    functions = [
        lambda x, y: 1 - max(x, y),
        lambda x, y: 0.9 if (x < 0.7) == (y < 0.7) else 0.3,
        lambda x, y: math.tanh(1.5 * x * y),
    ]
    flow = game.flow((torch.from_numpy(some_policy(game)),))
    x, w = game.grid.positions.tolist(), game.grid.weights.tolist()
    for h, function in enumerate(functions):
        close(game.aggregate(flow)[h], naive_aggregate(function, x, w, flow[h].tolist()))
        close(game.aggregate_at(h, flow[h]), naive_aggregate(function, x, w, flow[h].tolist()))


def test_normalize_and_clip() -> None:
    flow = torch.softmax(torch.randn(3, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), -1)
    shared = SIS(positions=6, horizon=3, normalize=True)
    close(shared.aggregate(flow).sum(-1), np.ones((3, 6)))
    clipped = SIS(positions=6, horizon=3, graphon=PowerLaw(0.5), clip=True)
    plain = Cyber(positions=6, horizon=3, graphon=PowerLaw(0.5))
    z = plain.aggregate(flow)
    assert float(z.max()) > 1
    close(clipped.aggregate(flow), z.clamp(max=1).numpy())
    isolated = SIS(positions=4, horizon=3, graphon=BlockGraphon(((0.5, 0.0), (0.0, 0.0))), normalize=True)
    z = isolated.aggregate(flow[:, :4])
    close(z.sum(-1), np.array([[1.0, 1.0, 0.0, 0.0]] * 3))  # who knows nobody feels nothing


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"graphon": PowerLaw(0.5)}, "normalize=true or clip=true"),
        ({"graphon": CutoffPowerLaw()}, "normalize=true or clip=true"),
        ({"graphon": PowerLaw(0.5), "clip": True, "quadrature": "endpoint"}, "infinite at position 0"),
        ({"graphon": lambda x, y: x * y - 0.5}, "at least 0"),
        ({"graphon": lambda x, y: 1 + x * y}, "at most 1"),
        ({"graphon": lambda x, y: x + 0 * y}, "W\\(x, y\\) = W\\(y, x\\)"),
        ({"graphon": lambda x, y: x * y / 0.0 * 0.0}, "a finite number"),
        ({"graphon": torch.tensor([[0.1, 0.2], [0.3, 0.4]])}, "W\\(x, y\\) = W\\(y, x\\)"),
        ({"graphon": torch.tensor([[0.1, 1.2], [1.2, 0.4]])}, "at most 1"),
        ({"graphon": torch.tensor([[0.1, 0.2, 0.3]])}, "square"),
        ({"graphon": 3}, "one of cutoff-power-law"),
        ({"graphon": "powerlaw"}, "did you mean power-law"),
        ({"graphon": (UniformAttachment(),) * 3}, "one for each step"),
        ({"positions": 0}, "positions: got 0, expected a whole number from 1"),
        ({"quadrature": "block"}, "a step graphon"),
        ({"graphon": ErdosRenyi(), "quadrature": "block", "positions": 7}, "one per block"),
        ({"operator": "step"}, "a form that uniform-attachment has"),
        ({"blocks": 3}, "nothing without a graph"),
        ({"graph": "karate-club", "graphon": ErdosRenyi()}, "no graphon beside it"),
        ({"infection": 1.5}, "infection: got 1.5, expected a probability"),
        ({"infection": torch.tensor([0.5, -0.1])}, "a probability"),
        ({"reward_scale": 0.0}, "above 0"),
    ],
)
def test_what_cannot_be_played_is_refused_in_one_line(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as refused:
        SIS(**{"positions": 5, **given})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("cls", "given"),
    [
        (Beach, {"bar": 10}),
        (Beach, {"noise": 1.1}),
        (Beach, {"crowd": -1.0}),
        (Beach, {"states": 0}),
        (Investment, {"qualities": 0}),
        (Investment, {"cost": float("nan")}),
        (Cyber, {"contact_dd": -0.1}),
        (HeterogeneousCyber, {"private_contact_uu": 1.01}),
    ],
)
def test_parameters_of_the_games_are_bounded(cls: type[GraphonGame], given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(given))):
        cls(positions=3, **given)


def test_the_cyber_games_need_no_clip_for_power_laws() -> None:
    for cls in (Cyber, HeterogeneousCyber):
        game = cls(positions=8, horizon=5, graphon=PowerLaw(0.7))
        flow = game.flow(game.start())
        close(flow.sum(-1), np.ones((5, 8)))
        assert bool((flow >= 0).all())


def test_the_grid_suits_the_graphon_of_every_step() -> None:
    """Blocks that differ have no common exact grid, and an infinite W at any step rules out the end points."""
    blocks = {"horizon": 2, "quadrature": "block"}
    with pytest.raises(InvalidInput, match="the same blocks at every step"):
        Beach(graphon=(StochasticBlock(cut=0.7), StochasticBlock(cut=0.4)), **blocks)
    assert len(Beach(graphon=(StochasticBlock(a=0.9), StochasticBlock(a=0.5)), **blocks).grid) == 2
    with pytest.raises(InvalidInput, match="infinite at position 0"):
        Beach(graphon=(UniformAttachment(), PowerLaw()), horizon=2, quadrature="endpoint", positions=3)
