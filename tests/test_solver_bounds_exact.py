"""Steps of solvers at their limits: choices of many actions and far ones, batches, settings on the edge of refusal."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gamesim import regularizers
from gamesim.algorithms import FTRL, GMFGPPO, Extragradient, PolicyGradient, PolicyMirrorDescent
from gamesim.feedback import Reinforce
from gamesim.games import MatrixGame, Policy, StochasticGame, TabularGame
from gamesim.graphons.families import ErdosRenyi
from gamesim.randomness import Stream
from gamesim.regularizers import LogBarrier, Regularizer, Tsallis
from gamesim.simplex import mirror_step
from random_games import Array, Tables, drawn_tables, numbers, solved
from refusals import f64, said

EPS = 2.0**-52


def slopes(h: Regularizer, x: Tensor) -> Tensor:
    """theta'(x): of -log z, or of -z^q / (q (1 - q))."""
    return -1 / x if isinstance(h, LogBarrier) else -(x ** (h.q - 1)) / (1 - h.q)  # type: ignore[attr-defined]


@pytest.mark.parametrize("h", [LogBarrier(), Tsallis(0.5), Tsallis(0.3), Tsallis(0.9)], ids=str)
def test_a_choice_of_many_actions_has_the_slopes_of_its_scores(h: Regularizer) -> None:
    """theta'(x_a) = y_a - lam with one lam for all; a sum that is made one afterwards does not make up for it."""
    y = torch.from_numpy(numbers(131).normal(size=(6, 500))) * f64(0.01, 0.1, 1, 10, 100, 1000)[:, None]
    x = h.choose(y)
    lam = y - slopes(h, x)
    size = slopes(h, x).abs().amin(-1)
    assert bool((lam.amax(-1) - lam.amin(-1) <= 1e-10 * (size + y.abs().amax(-1))).all())


@pytest.mark.parametrize("gap", [1e20, 3e60, 7e100, 1.3e140])
def test_an_action_far_behind_keeps_its_digits(gap: float) -> None:
    """The leader has probability 1 to rounding, so that lam is below the rounding of lam + gap."""
    y = f64(0.0, -gap)
    assert float(LogBarrier().choose(y)[1]) == pytest.approx(1 / gap, rel=1e-15, abs=0)
    assert float(Tsallis(0.5).choose(y)[1]) == pytest.approx((2 / gap) ** 2, rel=1e-15, abs=0)


@pytest.mark.parametrize("h", [LogBarrier(), Tsallis(0.5), Tsallis(0.99)], ids=str)
def test_probabilities_sum_to_one_to_the_last_bits(h: Regularizer) -> None:
    """Also where x is the 100th power of something rounded."""
    for row in h.choose(torch.from_numpy(numbers(137).normal(size=(200, 5)))).tolist():
        assert abs(math.fsum(row) - 1) <= 4 * EPS


class Calls(TorchFunctionMode):
    """How often torch is called."""

    count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("h", [LogBarrier(), Tsallis(0.5), Tsallis(0.9), Tsallis(0.99)], ids=str)
def test_newtons_steps_end_by_themselves(h: Regularizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 1,000 actions they are as many whether 25 are allowed or 100."""
    y, counts = torch.from_numpy(numbers(163).normal(size=(3, 1000))), []
    for most in (25, 100):
        monkeypatch.setattr(regularizers, "NEWTON", most)
        with Calls() as calls:
            h.choose(y)
        counts.append(calls.count)
    assert counts[0] == counts[1] > 0


def test_a_mirror_step_of_a_batch_is_row_by_row() -> None:
    for rows in (2, 3):  # as many rows as actions, too
        y, q = torch.from_numpy(numbers(139).normal(size=(2, 4, rows, 3)))
        found = mirror_step(y, q, 0.7)
        assert found.shape == (4, rows, 3)
        for i in range(4):
            for j in range(rows):
                moved = [a + 0.7 * b for a, b in zip(y[i, j].tolist(), q[i, j].tolist(), strict=True)]
                assert found[i, j].tolist() == pytest.approx([m - max(moved) for m in moved], abs=1e-14)


def test_a_step_of_mirror_descent_below_one_over_the_temperature() -> None:
    """For every member of a batch; the line says which product is too large."""
    edge = f64(0.1, 0.5, 1.999)
    assert PolicyMirrorDescent(step_size=0.5, temperature=edge).temperature is edge  # type: ignore[arg-type]
    for wrong in (f64(0.1, 2.0, 0.1), f64(2.5, 3.0, 4.0)):
        line = said(lambda wrong=wrong: PolicyMirrorDescent(step_size=0.5, temperature=wrong))  # type: ignore[misc]
        assert line.startswith("step_size: got constant(0.5), expected temperature x step_size < 1 (it is tensor([")
        assert line.endswith("at iteration 0); lower one, or use gmfg-ppo")
    assert said(lambda: PolicyMirrorDescent(step_size="power(4, 1, 2)", temperature=0.5)) == (  # type: ignore[arg-type]
        "step_size: got power(4, 1, 2), expected temperature x step_size < 1 (it is 1.0 at iteration 0); "
        "lower one, or use gmfg-ppo"
    )


@dataclass(frozen=True, kw_only=True)
class Begun(Tables):
    """A random graphon game, from a policy without symmetry."""

    first: Tensor

    def start(self) -> Policy:
        return (self.first,)


def test_proximal_steps_move_away_from_where_they_begin() -> None:
    """log pi' = (log pi + eta Q) / (1 + eta lam) + const, from a pi that is not uniform."""
    draw = numbers(149)
    first = torch.from_numpy(draw.dirichlet(np.ones(2), (3, 2, 2)))
    game = Begun(horizon=3, graphon=ErdosRenyi(0.9), positions=2, tables=drawn_tables(draw, 1, 2, 2, 2), first=first)
    solver = GMFGPPO(step_size=0.8, temperature=0.25)  # type: ignore[arg-type]
    state = solver.init(game)
    assert torch.allclose(state.policy[0], first, atol=1e-15)
    q = game.values((first,), game.flow((first,)), 0.25).q
    weights = ((first.log() + 0.8 * q) / 1.2).exp()
    found = solver.step(0, game, state, Stream(0)).policy[0]
    assert torch.allclose(found, weights / weights.sum(-1, keepdim=True), atol=1e-13)


def test_looking_ahead_in_a_stochastic_game_follows_values_without_entropy() -> None:
    """x + gamma Q(x + gamma Q(x)) with the action values of two players who are not paid for entropy."""
    draw = numbers(151)
    R, P = draw.normal(size=(2, 2, 2, 2)), draw.dirichlet(np.ones(2), (2, 2, 2))
    game, solver = StochasticGame(R, P, discount=0.5), Extragradient(step_size=0.05)  # type: ignore[arg-type]

    def values(x: list[Array]) -> list[Array]:
        V = solved(R, P, 0.5, x)
        Q = R + 0.5 * np.einsum("sabt,it->isab", P, V)
        return [np.einsum("sab,sb->sa", Q[0], x[1]), np.einsum("sab,sa->sb", Q[1], x[0])]

    def moved(v: list[Array]) -> list[Array]:  # within the simplex of two actions, where only the difference counts
        return [0.5 + 0.05 * (q - q.mean(-1, keepdims=True)) for q in v]

    wanted = moved(values(moved(values([np.full((2, 2), 0.5)] * 2))))
    found = solver.step(0, game, solver.init(game), Stream(0)).policy
    for p, x in zip(found, wanted, strict=True):
        np.testing.assert_allclose(p, x, atol=1e-13)


HEARD: list[tuple[int, Any]] = []
"""How many steps of which game were asked for."""


class Leader(FTRL):
    def leap(self, t: int, until: int, game: Any, *rest: Any, **more: Any) -> tuple[Any, ...] | None:
        HEARD.append((until - t, game))
        return super().leap(t, until, game, *rest, **more)


class Gradient(PolicyGradient):
    def leap(self, t: int, until: int, game: Any, *rest: Any, **more: Any) -> tuple[Any, ...] | None:
        HEARD.append((until - t, game))
        return super().leap(t, until, game, *rest, **more)


def two_states() -> StochasticGame:
    draw = numbers(157)
    return StochasticGame(draw.normal(size=(2, 2, 2, 2)), draw.dirichlet(np.ones(2), (2, 2, 2)), discount=0.5)


@pytest.mark.parametrize(
    ("solver", "game", "leaps"),
    [
        (Leader(), MatrixGame.zero_sum([[2.0, -1.0], [-1.0, 1.0]]), True),
        (Gradient(feedback=Reinforce(episodes=1000)), two_states(), True),
        (Gradient(feedback=Reinforce(baseline="value")), two_states(), False),
        (Gradient(), two_states(), False),
    ],
    ids=["ftrl", "reinforce", "reinforce with a baseline", "gradients"],
)
def test_what_is_prepared_is_a_leap_where_there_will_be_one(solver: Any, game: Any, leaps: bool) -> None:
    """The first leap compiles, so one is taken ahead, in the same game."""
    HEARD.clear()
    solver.prepare(game)
    assert len(HEARD) == leaps
    assert all(steps > 0 and played is game for steps, played in HEARD)


class Lopsided(TabularGame):
    """A user's game whose first states have a probability of 1.2 together."""

    reward = torch.ones(1, 2, 2, dtype=torch.float64)
    transition = f64(0.5, 0.5).expand(2, 2, 2)
    initial = f64(0.6, 0.6)
    discount = 0.5


def test_tables_that_are_no_game_are_refused_in_the_same_words_before_anything_compiles() -> None:
    game = Lopsided()
    line = said(game.validate)
    assert line.startswith("initial: got ")
    assert said(lambda: PolicyGradient(feedback=Reinforce()).prepare(game)) == line
