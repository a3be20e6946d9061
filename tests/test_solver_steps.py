"""The first steps of every solver, written out in numpy from its formula: one game, every variant, every default."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gamesim.algorithms import (
    FTRL,
    GMFGPPO,
    Extragradient,
    FictitiousPlay,
    OnlineMirrorDescent,
    PolicyGradient,
    PolicyMirrorDescent,
    Replicator,
)
from gamesim.algorithms.extragradient import REACH
from gamesim.algorithms.ftrl import Leader
from gamesim.errors import InvalidInput
from gamesim.feedback import Exact, Reinforce
from gamesim.games import Game, GraphonGame, MatrixGame, Policy, StochasticGame
from gamesim.graphons.families import ErdosRenyi
from gamesim.randomness import Stream
from gamesim.regularizers import Entropic, Euclidean, LogBarrier, Regularizer, Tsallis
from gamesim.schedules import Constant, Power
from random_games import Array, Tables, drawn_tables, laws, numbers

U = numbers(107).normal(size=(2, 2, 3))
"""Payoffs of two players with 2 and 3 actions."""
BEGIN = np.array([0.7, 0.3]), np.array([0.2, 0.3, 0.5])
Pair = tuple[Array, Array]


class Begun(MatrixGame):
    """The game, from a policy without symmetry."""

    def start(self) -> Policy:
        return tuple(map(torch.from_numpy, BEGIN))


GAME = Begun(U)


def values(x: Pair) -> Pair:
    return U[0] @ x[1], U[1].T @ x[0]


def softmax(y: Array) -> Array:
    e = np.exp(y - y.max())
    return e / e.sum()


def nearest(y: Array) -> Array:
    """The nearest point of the simplex, by bisection."""
    low, high = y.min() - 1, y.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(y - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(y - low, 0)


def plus(y: Pair, by: float, v: Pair) -> Pair:
    return y[0] + by * v[0], y[1] + by * v[1]


def each(f: Any, y: Pair) -> Pair:
    return f(y[0]), f(y[1])


def agree(solver: Any, expected: list[Pair], game: Any = GAME) -> None:
    """The policies after each step are those expected, from the start on."""
    state = solver.init(game)
    for t, x in enumerate(expected):
        for p, q in zip(state.policy, x, strict=True):
            np.testing.assert_allclose(p, q, atol=1e-12)
        state = solver.step(t, game, state, Stream(0, t))


@pytest.mark.parametrize("leader", ["plain", "optimistic", "extra-gradient", "generalized"])
def test_follow_the_regularised_leader(leader: Any) -> None:
    solver = FTRL(leader=leader, anticipation=0.6)
    share = {"plain": 0.0, "optimistic": 1.0, "extra-gradient": 0.0, "generalized": 0.6}[leader]
    assert solver.lead == share
    y, last, expected = each(np.log, BEGIN), (np.zeros(2), np.zeros(3)), [BEGIN]
    for _ in range(4):
        fresh = values(each(softmax, y)) if leader == "extra-gradient" else last
        half = y if leader == "plain" else plus(y, 0.1 * (1.0 if leader == "extra-gradient" else share), fresh)
        last = values(each(softmax, half))
        y = plus(y, 0.1, last)
        expected.append(each(softmax, y))
    agree(solver, expected)
    assert FTRL(leader="generalized").lead == 1.0


def test_mirror_descents() -> None:
    y, z, online, regularised = each(np.log, BEGIN), each(np.log, BEGIN), [BEGIN], [BEGIN]
    for _ in range(4):
        y = plus(y, 0.1, values(each(softmax, y)))
        online.append(each(softmax, y))
        q = values(each(softmax, z))
        z = plus((0.95 * z[0], 0.95 * z[1]), 0.5, q)  # 1 - 0.1 x 0.5
        regularised.append(each(softmax, z))
    agree(OnlineMirrorDescent(), online)
    agree(PolicyMirrorDescent(), regularised)
    mixed = PolicyMirrorDescent(mixing=Constant(0.2))
    found = mixed.step(0, GAME, mixed.init(GAME), Stream(0)).policy
    for p, x in zip(found, regularised[1], strict=True):
        np.testing.assert_allclose(p, 0.8 * x + 0.2 / len(x), atol=1e-12)


def test_runge_kutta_of_the_replicator() -> None:
    y, expected = each(np.log, BEGIN), [BEGIN]
    for _ in range(3):
        k1 = values(each(softmax, y))
        k2 = values(each(softmax, plus(y, 0.05, k1)))
        k3 = values(each(softmax, plus(y, 0.05, k2)))
        k4 = values(each(softmax, plus(y, 0.1, k3)))
        for k, weight in ((k1, 1), (k2, 2), (k3, 2), (k4, 1)):
            y = plus(y, 0.1 * weight / 6, k)
        expected.append(each(softmax, y))
    agree(Replicator(), expected)


@pytest.mark.parametrize("variant", list(REACH))
def test_looking_ahead(variant: Any) -> None:
    x, before, seen, expected = BEGIN, BEGIN, (np.zeros(2), np.zeros(3)), [BEGIN]
    for _ in range(4):
        if variant == "extragradient":
            new = each(nearest, plus(x, 0.1, values(each(nearest, plus(x, 0.1, values(x))))))
        elif variant == "past":
            seen = values(each(nearest, plus(x, 0.1, seen)))
            new = each(nearest, plus(x, 0.1, seen))
        elif variant == "reflected":
            new = each(nearest, plus(x, 0.1, values((2 * x[0] - before[0], 2 * x[1] - before[1]))))
        else:
            now = values(x)
            new, seen = each(nearest, plus(plus(x, 0.2, now), -0.1, seen)), now
        x, before = new, x
        expected.append(x)
    agree(Extragradient(variant=variant), expected)


def test_the_steps_that_are_known_to_converge() -> None:
    assert {"extragradient": 1.0, "past": 0.5, "reflected": pytest.approx(0.41421356), "optimistic": 0.5} == REACH


def test_averages_of_best_responses() -> None:
    x, expected = BEGIN, [BEGIN]
    for t in range(4):
        answer = tuple(np.eye(len(v))[v.argmax()] for v in values(x))
        x = tuple(p + (a - p) / (t + 2) for p, a in zip(x, answer, strict=True))  # type: ignore[assignment]
        expected.append(x)
    agree(FictitiousPlay(), expected)
    smooth = FictitiousPlay(temperature=0.5)
    first = tuple((p + softmax(v / 0.5)) / 2 for p, v in zip(BEGIN, values(BEGIN), strict=True))
    agree(smooth, [BEGIN, first])  # type: ignore[list-item]
    nobody = torch.tensor([[0.0, 0.0, 0.0], [0.2, 0.6, 0.0]])
    from gamesim.algorithms.fictitious_play import Average

    found = Average((nobody,)).policy[0]
    assert torch.allclose(found, torch.tensor([[1 / 3] * 3, [0.25, 0.75, 0.0]]))


@pytest.mark.parametrize("variant", ["self-consistent", "frozen"])
def test_fictitious_play_of_a_crowd(variant: Any) -> None:
    draw = numbers(109)
    game = Tables(horizon=3, graphon=ErdosRenyi(0.9), positions=2, tables=drawn_tables(draw, 3, 2, 2, 2))
    solver = FictitiousPlay(averaging_variant=variant)
    state = solver.init(game)
    rho = game.occupancy(game.start())[0]
    assert torch.equal(state.occupancy[0], rho)
    for t in range(3):
        answer = game.best_response(rho.sum(-1))
        flow = game.flow(answer, rho.sum(-1) if variant == "frozen" else None)
        rho = rho + (flow[..., None] * answer[0] - rho) / (t + 2)
        state = solver.step(t, game, state, Stream(0, t))
        assert torch.allclose(state.occupancy[0], rho, atol=1e-12)
    other = FictitiousPlay(averaging_variant="frozen" if variant == "self-consistent" else "self-consistent")
    assert not torch.allclose(
        other.step(2, game, state, Stream(0)).occupancy[0], solver.step(2, game, state, Stream(0)).occupancy[0]
    )


def test_the_first_step_in_the_averaged_flow() -> None:
    draw = numbers(111)
    game = Tables(horizon=3, graphon=ErdosRenyi(0.9), positions=2, tables=drawn_tables(draw, 3, 2, 2, 2))
    solver = GMFGPPO()
    state = solver.init(game)
    pi, flow = game.start()[0], game.flow(game.start())
    assert torch.equal(state.policy[0], pi)
    assert torch.equal(state.flow, flow)
    y = pi.log()
    for t in range(3):  # eta 1, lam 0.1, alpha 0.3, in the averaged flow
        y = (y + game.values((pi,), flow, 0.1).q) / 1.1
        pi = torch.softmax(y, -1)
        flow = flow + 0.3 * (game.flow((pi,)) - flow)
        state = solver.step(t, game, state, Stream(0, t))
        assert torch.allclose(state.policy[0], pi, atol=1e-12)
        assert torch.allclose(state.flow, flow, atol=1e-12)


def stochastic() -> tuple[StochasticGame, Policy]:
    draw = numbers(113)
    law = draw.dirichlet(np.ones(3), (3, 2, 3))
    return StochasticGame(draw.normal(size=(2, 3, 2, 3)), law, discount=0.6), tuple(
        torch.from_numpy(laws(draw, 3, c)) for c in (2, 3)
    )


@pytest.mark.parametrize(
    "solver", [FTRL(), FTRL(leader="optimistic"), OnlineMirrorDescent(), OnlineMirrorDescent(step_size="0.2")], ids=str
)  # type: ignore[arg-type]
def test_values_without_entropy_are_followed(solver: Any) -> None:
    """In a stochastic game a temperature would change them."""
    game, _ = stochastic()
    x, step = game.start(), float(solver.step_size(0))
    scores, last, state = tuple(p.log() for p in x), tuple(map(torch.zeros_like, x)), solver.init(game)
    for t in range(3):
        half = x
        if getattr(solver, "leader", "plain") == "optimistic":
            half = tuple(torch.softmax(y + step * v, -1) for y, v in zip(scores, last, strict=True))
        last = game.values(half)
        scores = tuple(y + step * v for y, v in zip(scores, last, strict=True))
        x = tuple(torch.softmax(y, -1) for y in scores)
        state = solver.step(t, game, state, Stream(0, t))
        for p, q in zip(state.policy, x, strict=True):
            assert torch.allclose(p, q, atol=1e-12)


CHOICES = [
    (natural, kind, leader)
    for natural in (False, True)
    for kind in ("eager", "lazy", "softmax")
    for leader in ("plain", "optimistic", "extra-gradient")
]


@pytest.mark.parametrize(("natural", "kind", "leader"), CHOICES, ids=str)
def test_policy_gradients(natural: bool, kind: str, leader: Any) -> None:
    game, _ = stochastic()
    solver = PolicyGradient(
        natural=natural,
        leader=leader,
        projection="eager" if kind == "eager" else "lazy",
        parametrization="softmax" if kind == "softmax" else "direct",
    )

    def gradient(x: Policy) -> Policy:
        found = game.values(x) if natural else game.gradients(x)
        if kind != "softmax" or natural:
            return found
        return tuple(p * (v - (p * v).sum(-1, keepdim=True)) for p, v in zip(x, found, strict=True))

    def choose(y: Tensor) -> Tensor:
        if kind == "softmax":
            return torch.softmax(y, -1)
        return torch.from_numpy(np.stack([nearest(row) for row in y.numpy()]))

    x = game.start()
    y = tuple(p.log() for p in x) if kind == "softmax" else x
    last, state = tuple(map(torch.zeros_like, x)), solver.init(game)
    for t in range(3):
        ahead = gradient(x) if leader == "extra-gradient" else last
        half = x if leader == "plain" else tuple(choose(a + 0.1 * v) for a, v in zip(y, ahead, strict=True))
        last = gradient(half)
        y = tuple(a + 0.1 * v for a, v in zip(y, last, strict=True))
        x = tuple(map(choose, y))
        y = x if kind == "eager" else y
        state = solver.step(t, game, state, Stream(0, t))
        for p, q in zip(state.policy, x, strict=True):
            assert torch.allclose(p, q, atol=1e-12)


def test_what_solvers_take_and_refuse() -> None:
    game, _ = stochastic()
    assert (OnlineMirrorDescent().requires, OnlineMirrorDescent(optimal_values=True).requires) == (Game, GraphonGame)
    assert Tsallis().q == 0.5
    for make in (
        lambda: PolicyMirrorDescent(step_size=2.0, temperature=0.5),  # type: ignore[arg-type]
        lambda: PolicyMirrorDescent(step_size=1.0, temperature=torch.tensor([0.5, 1.0])),  # type: ignore[arg-type]
        lambda: PolicyMirrorDescent(step_size=3.0, temperature=0.5),  # type: ignore[arg-type]
        lambda: OnlineMirrorDescent(step_size=-1.0),  # type: ignore[arg-type]
        lambda: FTRL(anticipation=-1.0),
        lambda: FictitiousPlay(temperature=-1.0),
        lambda: Replicator(step_size=-1.0),  # type: ignore[arg-type]
        lambda: GMFGPPO(temperature=-1.0),
        lambda: Tsallis(1.5),
        lambda: PolicyGradient(parametrization="softmax", projection="eager"),
        lambda: PolicyGradient(natural=True, feedback=Reinforce()),
        lambda: PolicyGradient().init(GAME),
    ):
        with pytest.raises(InvalidInput):
            make()
    assert PolicyMirrorDescent(step_size=1.999, temperature=0.5).step_size(0) == 1.999  # type: ignore[arg-type]
    assert PolicyGradient(feedback=Reinforce()).init(game).policy[0].shape == (3, 2)
    assert isinstance(PolicyGradient().feedback, Exact)


def test_leaps_are_the_steps_that_they_leap_over() -> None:
    pennies = MatrixGame.zero_sum([[2.0, -1.0], [-1.0, 1.0]])
    solver = FTRL(step_size=Power(0.3, 0.5, 1.0))
    solver.prepare(pennies)
    state = solver.init(pennies)
    landed = solver.leap(0, 6, pennies, state, Stream(0))
    for t in range(6):
        state = solver.step(t, pennies, state, Stream(0, t))
    assert landed is not None
    after, reached = landed
    assert reached == 6
    assert isinstance(after, Leader)
    for p, q in zip(after.policy, state.policy, strict=True):
        assert torch.allclose(p, q, atol=1e-12)
    target = tuple(torch.eye(2, dtype=torch.float64)[0] for _ in range(2))
    watched = solver.leap(0, 6, pennies, solver.init(pennies), Stream(0), target)
    assert watched is not None
    assert len(watched) == 3
    assert FTRL(leader="optimistic").leap(0, 6, pennies, FTRL(leader="optimistic").init(pennies), Stream(0)) is None
    game, _ = stochastic()
    PolicyGradient(feedback=Reinforce()).prepare(game)
    PolicyGradient().prepare(game)


@pytest.mark.parametrize("h", [Entropic(), Euclidean(), Tsallis(0.5), Tsallis(0.3), LogBarrier()], ids=str)
def test_a_mirror_map_is_the_maximiser_that_its_slopes_say(h: Regularizer) -> None:
    draw = numbers(127)
    y = torch.from_numpy(draw.normal(size=(50, 4)) * 3)
    x = h.choose(y)
    assert torch.allclose(x.sum(-1), torch.ones(50, dtype=torch.float64))
    assert float(x.min()) >= 0
    inner = x.clamp(min=1e-12).requires_grad_()
    (slope,) = torch.autograd.grad(h.value(inner).sum(), inner)  # theta'(x)
    slack = (y - slope).detach()
    on = x > 1e-9
    spread = torch.where(on, slack, slack.new_tensor(math.nan)).nan_to_num(-math.inf).amax(-1)
    lowest = torch.where(on, slack, slack.new_tensor(math.inf)).amin(-1)
    assert torch.allclose(spread, lowest, atol=1e-7)  # the same lam on the support
    if h.steep:
        assert bool(on.all())
        assert torch.allclose(h.scores(x), slope.detach() + (h.scores(x) - slope.detach())[:, :1], atol=1e-6)
    else:
        assert not bool(on.all())
        assert bool((slack <= spread[:, None] + 1e-7).all())
    assert h.steep == (not isinstance(h, Euclidean))
    p = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(h.value(p), p, create_graph=True)
    if first.requires_grad:
        (second,) = torch.autograd.grad(first, p)
        assert h.curvature(0.3) == pytest.approx(float(second))
    far = torch.tensor([[0.0, -1e6, -1e12]], dtype=torch.float64)
    assert float(h.choose(far).sum()) == pytest.approx(1)
    if h.steep and not isinstance(h, Entropic):
        assert float(h.choose(far)[0, 1]) > 0
