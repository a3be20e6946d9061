"""Policy gradient: its steps by hand, its gradients against automatic ones, REINFORCE against its own promises."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim.algorithms import PolicyGradient
from gamesim.errors import InvalidInput
from gamesim.feedback import Reinforce
from gamesim.games import MatrixGame, Policy, StochasticGame
from gamesim.randomness import Stream
from gamesim.schedules import Power
from gamesim.simplex import explore, project, softmax
from gamesim.testing import check_solver
from gamesim.watching import Settling, squared_distance
from test_tabular_games import drawn, policy_of

SAMPLED: list[dict[str, Any]] = [
    {},
    {"episodes": 3},
    {"returns": "to-go"},
    {"episodes": 3, "baseline": "others"},
    {"episodes": 2, "returns": "to-go", "baseline": "others"},
    {"baseline": "value"},
    {"returns": "to-go", "baseline": "value"},
]


def named(options: dict[str, Any]) -> str:
    return "-".join(map(str, options.values())) or "plain"


def strict_game() -> StochasticGame:
    """Two states, two players, each better off with the first action whatever else happens; half of all steps end."""
    reward = torch.zeros(2, 2, 2, 2, dtype=torch.float64)
    reward[0, :, 0], reward[0, :, 1] = 1.0, 0.3
    reward[1, :, :, 0], reward[1, :, :, 1] = 1.0, 0.3
    first = Stream(0).uniform((2, 2, 2))
    return StochasticGame(reward, torch.stack([first, 1 - first], -1) / 2)


FIRST = (torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64),) * 2


# --- steps ----------------------------------------------------------------------------------------------------------


def ascent(game: StochasticGame, policy: Policy, natural: bool = False) -> Policy:
    return game.values(policy) if natural else game.gradients(policy)


@pytest.mark.parametrize("natural", [False, True])
@pytest.mark.parametrize("leader", ["plain", "optimistic", "extra-gradient"])
@pytest.mark.parametrize("projection", ["lazy", "eager"])
def test_direct_steps_by_hand(projection: str, leader: str, natural: bool) -> None:
    game, gamma = drawn(3, (2, 3)), 0.05
    solver = PolicyGradient(step_size=gamma, projection=projection, leader=leader, natural=natural)  # type: ignore[arg-type]
    found = gs.solve(game, solver, iterations=3).policy
    y = x = game.start()
    last = tuple(map(torch.zeros_like, x))
    for _ in range(3):
        base = y if projection == "lazy" else x
        ahead = {"plain": None, "optimistic": last, "extra-gradient": ascent(game, x, natural)}[leader]
        half = x if ahead is None else tuple(project(b + gamma * v) for b, v in zip(base, ahead, strict=True))
        last = ascent(game, half, natural)
        y = tuple(b + gamma * v for b, v in zip(base, last, strict=True))
        x = tuple(map(project, y))
    for p, q in zip(found, x, strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("natural", [False, True])
def test_softmax_steps_follow_the_gradient_in_the_logits(natural: bool) -> None:
    game, gamma = drawn(3, (2, 3)), 0.7
    solver = PolicyGradient(step_size=gamma, parametrization="softmax", natural=natural)
    start = policy_of(game)
    found = gs.solve(game, solver, iterations=1, start=start).policy
    for i in range(2):
        theta = start[i].log().requires_grad_()
        if natural:
            moved = theta + gamma * game.values(start)[i]
        else:
            pay = game.payoffs_of((*start[:i], softmax(theta), *start[i + 1 :]))[i]
            moved = theta + gamma * torch.autograd.grad(pay, theta)[0]
        torch.testing.assert_close(found[i], softmax(moved.detach()), atol=1e-13, rtol=0)


def test_natural_softmax_is_mirror_descent_on_action_values() -> None:
    game = drawn(3, (2, 3))
    natural = PolicyGradient(step_size=0.3, parametrization="softmax", natural=True)
    mirror = gs.make_solver("online-mirror-descent", step_size=0.3)
    for p, q in zip(*(gs.solve(game, s, iterations=20).policy for s in (natural, mirror)), strict=True):
        torch.testing.assert_close(p, q, atol=1e-12, rtol=0)


def test_lazy_steps_in_a_game_of_one_shot_are_euclidean_ftrl() -> None:
    game = StochasticGame(Stream(5).normal((2, 1, 3, 3)), torch.zeros(1, 3, 3, 1))
    matrix = MatrixGame(game.reward[:, 0])
    pg = gs.solve(game, PolicyGradient(step_size=0.1), iterations=30).policy
    ftrl = gs.solve(matrix, gs.make_solver("ftrl", regularizer="euclidean", step_size=0.1), iterations=30).policy
    for p, q in zip(pg, ftrl, strict=True):
        torch.testing.assert_close(p[0], q, atol=1e-12, rtol=0)


# --- REINFORCE ------------------------------------------------------------------------------------------------------


def centred(v: Tensor) -> Tensor:
    return v - v.mean(-1, keepdim=True)


@pytest.mark.parametrize("options", SAMPLED, ids=named)
def test_estimates_have_the_gradient_as_their_mean(options: dict[str, Any]) -> None:
    """On the tangent space, of what is played, within four standard errors in every coordinate; 20,000 estimates."""
    game, feedback, many = drawn(3, (2, 3), seed=2), Reinforce(exploration=0.3, **options), 20_000
    policy = policy_of(game, seed=3)
    wide = tuple(x.expand(many, *x.shape) for x in policy)
    estimates = feedback(game, wide, 0.0, Stream(range(many)))
    exact = game.gradients(tuple(explore(x, 0.3) for x in policy))
    for found, v in zip(estimates, exact, strict=True):
        error = centred(found).std(0) / math.sqrt(many)
        assert bool(((centred(found).mean(0) - centred(v)).abs() <= 4 * error).all())


def spread(game: StochasticGame, policy: Policy, **options: Any) -> float:
    many = 4000
    wide = tuple(x.expand(many, *x.shape) for x in policy)
    found = Reinforce(exploration=0.2, **options)(game, wide, 0.0, Stream(range(many)))
    return sum(float(centred(x).var(0).sum()) for x in found)


def test_rewards_to_go_and_baselines_lower_the_variance() -> None:
    game = drawn(3, (2, 3), seed=2)
    game = StochasticGame(game.reward + 3, game.transition, game.initial)  # returns that are all positive
    policy = policy_of(game, seed=3)
    whole = spread(game, policy)
    assert spread(game, policy, returns="to-go") < 0.9 * whole
    assert spread(game, policy, returns="to-go", baseline="value") < 0.5 * whole
    ten = spread(game, policy, episodes=10)
    assert ten == pytest.approx(whole / 10, rel=0.2)
    assert spread(game, policy, episodes=10, baseline="others") < 0.8 * ten


@pytest.mark.parametrize("epsilon", [0.02, 0.2, 1.0])
def test_the_variance_keeps_to_its_bound(epsilon: float) -> None:
    """sum E|vhat_i|^2 <= 24 |A_i|^2 / (eps zeta^4) for rewards within [-1, 1], at a deterministic policy."""
    game, many = strict_game(), 20_000
    wide = tuple(x.expand(many, *x.shape) for x in FIRST)
    for found in Reinforce(exploration=epsilon)(game, wide, 0.0, Stream(range(many))):
        assert float(found.square().sum((-2, -1)).mean()) <= 24 * 2**2 / (epsilon * 0.5**4)


def test_a_batch_of_hyper_parameters_shares_its_luck() -> None:
    game = strict_game()
    sizes = torch.tensor([0.01, 0.01, 0.03], dtype=torch.float64)
    solver = PolicyGradient(step_size=sizes, feedback=Reinforce(0.3))
    found = gs.solve(game, solver, iterations=20, seeds=4).policy
    for p in found:
        assert torch.equal(p[:, 0], p[:, 1])
        assert not torch.equal(p[:, 0], p[:, 2])
    for b, seed in enumerate(range(4)):
        alone = gs.solve(game, PolicyGradient(step_size=0.03, feedback=Reinforce(0.3)), iterations=20, seed=seed).policy
        for p, q in zip(found, alone, strict=True):
            torch.testing.assert_close(p[b, 2], q, atol=1e-14, rtol=0)


@pytest.mark.parametrize(
    "feedback", ["exact", "noisy(0.3)", "reinforce(0.3)", "reinforce(0.3, episodes=4, baseline=others)"]
)
@pytest.mark.parametrize(
    "options", [{}, {"projection": "eager"}, {"parametrization": "softmax", "leader": "optimistic"}]
)
def test_steps_are_pure(feedback: str, options: dict[str, Any]) -> None:
    check_solver(gs.make_solver("policy-gradient", feedback=feedback, **options), drawn(3, (2, 3)))


# --- convergence ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"projection": "eager"}, {"leader": "extra-gradient"}, {"leader": "optimistic"}], ids=named
)
def test_exact_gradients_reach_a_strict_policy_exactly(options: dict[str, Any]) -> None:
    result = gs.solve(strict_game(), Settling(PolicyGradient(step_size=0.1, **options), FIRST), iterations=100)
    assert 0 < int(result.metric("last_wrong")[0, -1]) < 60
    assert float(squared_distance(result.policy, FIRST)) == 0
    assert float(result.exploitability[0, -1]) == 0


def test_softmax_comes_near_at_the_rate_of_its_kind() -> None:
    """Plain softmax gradients slow down like 1 / t, natural ones do not."""
    plain = gs.solve(
        strict_game(), PolicyGradient(step_size=1.0, parametrization="softmax"), iterations=4000, every=2000
    )
    gaps = plain.exploitability[0]
    assert float(gaps[1] / gaps[2]) == pytest.approx(2, rel=0.1)
    natural = PolicyGradient(step_size=1.0, parametrization="softmax", natural=True)
    assert float(gs.solve(strict_game(), natural, iterations=100).exploitability[0, -1]) < 1e-12


@pytest.mark.parametrize(
    ("p", "r", "within", "flagged"), [(0.6, 0.3, 30_000, True), (0.8, 0.4, 100_000, False)], ids=["0.6-0.3", "0.8-0.4"]
)
def test_lazy_reinforce_arrives_for_good_with_every_one_of_a_hundred_seeds(
    p: float, r: float, within: int, flagged: bool
) -> None:
    solver = PolicyGradient(step_size=Power(0.3, p, 10.0), feedback=Reinforce(Power(0.5, r, 10.0)))
    assert bool(solver.cautions(None)) is flagged
    game = gs.make("stochastic/two-state")
    result = gs.solve(game, Settling(solver, game.equilibrium), iterations=within, seeds=100, every=within)
    assert bool((result.metric("squared_distance")[:, -1] == 0).all())
    assert bool((result.metric("last_wrong")[:, -1] < within).all())


def test_eager_reinforce_does_not() -> None:
    feedback = Reinforce(Power(0.5, 0.4, 10.0))
    solver = PolicyGradient(step_size=Power(0.3, 0.8, 10.0), feedback=feedback, projection="eager")
    game = gs.make("stochastic/two-state")
    result = gs.solve(game, Settling(solver, game.equilibrium), iterations=30_000, seeds=100, every=30_000)
    assert int((result.metric("last_wrong")[:, -1] < 20_000).sum()) == 0


def test_a_target_for_each_game_of_a_batch() -> None:
    games = gs.make("stochastic/constructed", built="strict", games=3)
    solver = Settling(PolicyGradient(step_size=0.05), games.equilibrium, inner=2)
    result = gs.solve(games, solver, iterations=40, seeds=2)
    assert result.metric("last_wrong").shape == (2, 3, 41)
    one = gs.make("stochastic/constructed", built="strict", seed=1)
    alone = gs.solve(one, Settling(PolicyGradient(step_size=0.05), one.equilibrium), iterations=40)
    assert torch.equal(result.metric("last_wrong")[0, 1], alone.metric("last_wrong")[0])


def test_settling_sees_every_iteration() -> None:
    """Measured rarely or always, the last wrong iterate is the same, and it is where the distance was last above 0."""
    solver = Settling(PolicyGradient(step_size="power(0.5, 0.7, 10)", feedback=Reinforce("power(0.5, 0.3, 10)")), FIRST)
    often = gs.solve(strict_game(), solver, iterations=150, seeds=5)
    rarely = gs.solve(strict_game(), solver, iterations=150, seeds=5, every=60)
    assert torch.equal(often.metric("last_wrong")[:, -1], rarely.metric("last_wrong")[:, -1])
    apart = often.metric("squared_distance")
    for row, last in zip(apart, often.metric("last_wrong")[:, -1], strict=True):
        assert int(row.nonzero().max()) == int(last)


# --- schedules and refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "r", "flagged"),
    [
        (0.8, 0.4, []),
        (0.6, 0.3, ["2p - r = 0.9", "p + r = 0.9"]),
        (0.7, 0.35, []),
        (0.9, 0.0, ["does not fall", "p + r = 0.9"]),
        (0.7, 0.4, ["2p - r = 1,"]),
        (1.0, 0.5, ["2 mu step_size > q"]),
        (1.2, 0.5, ["sums to a finite number"]),
    ],
)
def test_the_schedule_checker_names_the_condition(p: float, r: float, flagged: list[str]) -> None:
    exploration = f"power(0.5, {r}, 10)"
    said = gs.make_solver(
        "policy-gradient", step_size=f"power(0.3, {p}, 10)", feedback=f"reinforce({exploration})"
    ).cautions(None)
    assert len(said) == len(flagged)
    for words, part in zip(said, flagged, strict=True):
        assert part in words


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"parametrization": "softmax", "projection": "eager"}, "projection: got 'eager', expected lazy with"),
        ({"natural": True, "feedback": "reinforce"}, "natural: got 'true', expected false with feedback=reinforce"),
        (
            {"feedback": "reinforce(0.3, baseline=others)"},
            "feedback.baseline: got 'others', expected episodes of at least 2",
        ),
        ({"feedback": "reinforce(0)"}, "feedback.exploration: got"),
        ({"step_size": -1}, "step_size: got constant(-1)"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        gs.make_solver("policy-gradient", **options)
    assert str(caught.value).startswith(words)


def test_a_game_without_episodes_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"an? EpisodicGame, which PolicyGradient needs"):
        gs.solve(gs.make("matrix/chicken"), gs.make_solver("policy-gradient"))
    with pytest.raises(InvalidInput, match="played in episodes, which feedback=reinforce"):
        gs.solve(gs.make("matrix/chicken"), gs.make_solver("ftrl", feedback="reinforce"))
