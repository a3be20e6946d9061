"""Normal-form games: payoff vectors against sums over all profiles, shapes, batches, and what is refused."""

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim.errors import InvalidInput
from gamesim.games import MatrixGame
from gamesim.games.matrix import action_counts
from gamesim.simplex import entropy
from gamesim.testing import check_batch, check_game

SHAPES = [(1,), (3,), (2, 2), (3, 4), (1, 3), (2, 3, 2), (2, 2, 2, 3)]


def game_of(counts: tuple[int, ...], seed: int = 0, **options: Any) -> MatrixGame:
    u = np.random.default_rng(seed).normal(size=(len(counts), *counts))
    return MatrixGame(u, **options)


def policies(counts: tuple[int, ...], *batch: int, seed: int = 1) -> tuple[Tensor, ...]:
    rng = np.random.default_rng(seed)
    return tuple(torch.from_numpy(rng.dirichlet(np.ones(count), size=batch)) for count in counts)


@pytest.mark.parametrize("counts", SHAPES)
def test_payoff_vectors_are_sums_over_all_profiles(counts: tuple[int, ...]) -> None:
    game, x = game_of(counts), policies(counts)
    for i, v in enumerate(game.values(x)):
        wanted = torch.zeros(counts[i], dtype=torch.float64)
        for profile in itertools.product(*map(range, counts)):
            weight = math.prod(float(x[j][a]) for j, a in enumerate(profile) if j != i)
            wanted[profile[i]] += weight * float(game.payoffs[(i, *profile)])
        torch.testing.assert_close(v, wanted, rtol=1e-12, atol=1e-13)
    regrets = [float(v.max() - v @ y) for v, y in zip(game.values(x), x, strict=True)]
    np.testing.assert_allclose(game.regrets(x).numpy(), regrets, atol=1e-12)
    assert float(game.exploitability(x)) == pytest.approx(sum(regrets), abs=1e-12)
    earned = [float(v @ y) for v, y in zip(game.values(x), x, strict=True)]
    np.testing.assert_allclose(game.payoffs_of(x).numpy(), earned, atol=1e-12)


@pytest.mark.parametrize("counts", SHAPES)
def test_it_is_a_game_and_takes_batches(counts: tuple[int, ...]) -> None:
    check_game(game_of(counts))
    check_batch(game_of(counts))


@pytest.mark.parametrize("counts", SHAPES)
def test_answers_and_play_are_the_entries(counts: tuple[int, ...]) -> None:
    game = game_of(counts)
    profiles = torch.cartesian_prod(*map(torch.arange, counts)).reshape(-1, len(counts))
    answers, paid = game.answers(profiles), game.play(profiles)
    for row, profile in enumerate(profiles.tolist()):
        for i in range(len(counts)):
            assert float(paid[row, i]) == float(game.payoffs[(i, *profile)])
            line = game.payoffs[(i, *profile[:i], slice(None), *profile[i + 1 :])]
            assert torch.equal(answers[i][row], line)
    for one, other in zip(answers, game.values(game.chosen(profiles)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


def test_a_batch_of_games_against_a_batch_of_policies() -> None:
    u = np.random.default_rng(0).normal(size=(5, 2, 3, 4))
    games, x = MatrixGame(u), policies((3, 4), 7, 5)
    assert games.batch == (5,)
    assert games.start()[1].shape == (5, 4)
    actions = torch.from_numpy(np.random.default_rng(2).integers(3, size=(7, 5, 2)))
    for g in range(5):
        one = MatrixGame(u[g])
        mine = tuple(p[:, g] for p in x)
        for many, alone in zip(games.values(x), one.values(mine), strict=True):
            torch.testing.assert_close(many[:, g], alone, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(games.exploitability(x)[:, g], one.exploitability(mine), rtol=1e-12, atol=1e-13)
        assert torch.equal(games.play(actions)[:, g], one.play(actions[:, g]))
        for many, alone in zip(games.answers(actions), one.answers(actions[:, g]), strict=True):
            assert torch.equal(many[:, g], alone)


def test_temperature_makes_the_quantal_response_the_equilibrium() -> None:
    game, lam = MatrixGame.bimatrix([[1, 0], [0, 1]], [[1, 0], [0, 1]]), 1.0
    uniform = game.start()
    assert float(game.exploitability(uniform, lam)) == pytest.approx(0, abs=1e-15)
    x = policies((2, 2))
    best = sum(float(lam * torch.logsumexp(v / lam, -1) - v @ y - lam * entropy(y))
               for v, y in zip(game.values(x), x, strict=True))  # fmt: skip
    assert float(game.exploitability(x, lam)) == pytest.approx(best, abs=1e-12)
    assert set(game.metrics(x, lam)) == {"exploitability", "regularized_exploitability"}


def test_shapes_that_could_be_read_in_two_ways() -> None:
    assert action_counts(torch.zeros(3, 2, 3, 3)) == (2, 3, 3)
    assert action_counts(torch.zeros(3, 2, 3, 3), player_count=2) == (3, 3)
    assert MatrixGame.zero_sum(np.zeros((3, 3, 3))).batch == (3,)
    assert MatrixGame(np.zeros((3, 2, 3, 3)), player_count=2).batch == (3,)


def test_dtype_and_names_follow_what_is_given() -> None:
    single = MatrixGame(torch.zeros(2, 2, 2, dtype=torch.float32))
    assert single.start()[0].dtype == torch.float32
    assert MatrixGame([[[1, 0], [0, 1]], [[1, 0], [0, 1]]]).start()[0].dtype == torch.float64
    named = MatrixGame.bimatrix([[1]], [[2]], players=("Ann", "Bob"), actions=(("go",), ("stay",)), title="one")
    assert (named.players, named.actions, named.title) == (("Ann", "Bob"), (("go",), ("stay",)), "one")
    assert single.actions == (("1", "2"), ("1", "2"))


def test_payoffs_may_be_exact() -> None:
    third = MatrixGame([[1 / 3, 0.25]], exact=lambda player, profile: Fraction(1, 3 + profile[0]))
    assert third.rational(0, (0,)) == Fraction(1, 3)
    assert MatrixGame([[0.1, 0.25]]).rational(0, (0,)) == Fraction(0.1) != Fraction(1, 10)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: MatrixGame([[1.0, math.nan]]), "payoffs[0, 1]: got nan, expected a finite payoff"),
        (lambda: MatrixGame(np.zeros((2, 2))), "as many players as dimensions of actions"),
        (lambda: MatrixGame(np.zeros((2, 3, 0))), "a player without actions"),
        (lambda: MatrixGame("no"), "payoffs: got 'str', expected a tensor"),
        (lambda: MatrixGame([[1, 2], [3]]), "payoffs: got 'list', expected a tensor"),
        (lambda: MatrixGame(np.zeros((2, 2, 2)), players=("a",)), "players: got 1 names, expected 2"),
        (lambda: MatrixGame(np.zeros((2, 2, 2)), actions=(("a",), ("b", "c"))), "actions: got [1, 2] names"),
        (lambda: MatrixGame.bimatrix([[1, 2]], [[1], [2]]), "second: got shape [2, 1]"),
        (lambda: MatrixGame.zero_sum([1, 2]), "first: got shape [2], expected a matrix"),
        (lambda: MatrixGame(np.zeros((3, 2, 3, 3)), player_count=4), "4 players and dimensions of actions"),
    ],
)
def test_what_is_no_game_is_refused(build: Any, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        build()
    assert words in str(caught.value).replace("'", "") or words in str(caught.value)


def test_a_profile_off_the_simplex_is_refused() -> None:
    game = game_of((2, 2))
    for bad, words in (([[0.5, 0.6], [1, 0]], "sums to 1.1"), ([[1.5, -0.5], [1, 0]], "at least 0")):
        with pytest.raises(InvalidInput, match=words):
            gs.exploitability(game, tuple(torch.tensor(row).double() for row in bad))
    with pytest.raises(InvalidInput, match=r"policy\[0\]: got 'shape \(3,\)'|policy\[0\]: got shape"):
        gs.exploitability(game, (torch.ones(3).double() / 3, torch.ones(2).double() / 2))
