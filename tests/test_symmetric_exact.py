"""Symmetric games against sums over every profile of the others; what is refused, to the boundary and to the letter."""

from itertools import product
from math import comb, inf, nan, prod
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gamesim.games import SymmetricGame
from gamesim.games.symmetric import require_size
from random_games import Array, laws, numbers
from refusals import f64, said

SIZES = [(1, 2), (2, 2), (5, 2), (1, 3), (2, 3), (4, 3), (3, 4)]


def drawn(n: int, actions: int, *batch: int) -> Array:
    """f[*batch, a, k1, ..., kK]; where the counts are more than n - 1 a number so large that it could not be missed."""
    f = numbers(91, n, actions).normal(size=(*batch, actions, *[n] * (actions - 1)))
    for counts in product(range(n), repeat=actions - 1):
        if sum(counts) > n - 1:
            f[(..., *counts)] = 1e9
    return f


def paid(f: Array, own: int, others: tuple[int, ...]) -> float:
    return float(f[(own, *(others.count(c) for c in range(1, len(f))))])


def values(f: Array, policy: list[Array], i: int) -> list[float]:
    """v_i(a), summed over every profile of the others."""
    rest = policy[:i] + policy[i + 1 :]
    found = [0.0] * len(f)
    for others in product(range(len(f)), repeat=len(rest)):
        weight = prod(float(p[a]) for p, a in zip(rest, others, strict=True))
        for own in range(len(f)):
            found[own] += weight * paid(f, own, others)
    return found


@pytest.mark.parametrize(("n", "actions"), SIZES)
def test_payoffs_are_sums_over_what_the_others_choose(n: int, actions: int) -> None:
    f, draw = drawn(n, actions, 3), numbers(93, n, actions)
    policy = [laws(draw, 2, 3, actions) for _ in range(n)]  # two policies for each of three games
    x = tuple(map(torch.from_numpy, policy))
    profiles = torch.from_numpy(draw.integers(actions, size=(6, n)))
    many = SymmetricGame(torch.from_numpy(f), actions)
    assert many.batch == (3,)
    assert many.action_counts == (actions,) * n
    assert many.like == {"dtype": torch.float64, "device": torch.device("cpu")}
    found, answers, play = many.values(x), many.answers(profiles[:, None]), many.play(profiles[:, None])
    assert play.shape == (6, 3, n)
    for k in range(3):
        one = SymmetricGame(torch.from_numpy(f[k]), actions)
        assert one.batch == ()
        for s, i in product(range(2), range(n)):
            wanted = values(f[k], [p[s, k] for p in policy], i)
            assert found[i].shape == (2, 3, actions)
            assert found[i][s, k].tolist() == pytest.approx(wanted, abs=1e-13)
            assert one.values(tuple(p[s, k] for p in x))[i].tolist() == pytest.approx(wanted, abs=1e-13)
        alone = one.answers(profiles)
        for s, i in product(range(6), range(n)):
            chosen = profiles[s].tolist()
            others = (*chosen[:i], *chosen[i + 1 :])
            wanted = [paid(f[k], own, others) for own in range(actions)]
            assert answers[i][s, k].tolist() == alone[i][s].tolist() == wanted
            assert float(play[s, k, i]) == float(one.play(profiles)[s, i]) == wanted[chosen[i]]


@pytest.mark.parametrize(("n", "actions"), SIZES)
def test_among_players_who_choose_alike_payoffs_are_those_of_each(n: int, actions: int) -> None:
    f, chance = drawn(n, actions, 3), laws(numbers(95, n, actions), 5, 1, actions)
    x = torch.from_numpy(chance)
    game = SymmetricGame(torch.from_numpy(f), actions)
    alike, everyone = game.values_among(x), game.everyone(x)
    assert len(everyone) == n
    assert all(torch.equal(p, x) for p in everyone)
    assert alike.shape == (5, 3, actions)
    assert game.values_among(x[0, 0]).shape == (3, actions)
    for s, k in product(range(5), range(3)):
        wanted = values(f[k], [chance[s, 0]] * n, 0)
        assert alike[s, k].tolist() == pytest.approx(wanted, abs=1e-13)
        one = SymmetricGame(torch.from_numpy(f[k]), actions)
        assert one.values_among(x)[s, 0].tolist() == pytest.approx(wanted, abs=1e-13)
        assert len(one.everyone(x)) == n
    for v in game.values(everyone):
        assert torch.allclose(v, alike, rtol=0, atol=1e-13)


def test_a_function_is_asked_for_counts_that_add_up() -> None:
    """Everyone's counts are handed over, action 0's first; where they cannot be the table has 0, whatever is said."""
    seen = list[Tensor]()

    def payoffs(counts: Tensor) -> Tensor:
        seen.append(counts)
        own = torch.stack([1 + counts[..., 0], 10 + counts[..., 1], 100 * counts[..., 2]], -1)
        return torch.where(counts.sum(-1, keepdim=True) == 3, own, nan)

    game = SymmetricGame.of(payoffs, 4, 3)
    (counts,) = seen
    assert counts.shape == (4, 4, 3)
    assert counts.dtype == torch.float64
    for k1, k2 in product(range(4), repeat=2):
        rest = 3 - k1 - k2
        wanted = [1.0 + rest, 10.0 + k1, 100.0 * k2] if rest >= 0 else [0.0, 0.0, 0.0]
        assert counts[k1, k2].tolist() == [max(rest, 0), k1, k2]
        assert game.table[:, k1, k2].tolist() == wanted
    assert game.play(torch.tensor([0, 1, 2, 2])).tolist() == [1.0, 10.0, 100.0, 100.0]
    assert game.play(torch.tensor([0, 0, 0, 2])).tolist() == [3.0, 3.0, 3.0, 0.0]
    assert game.play(torch.tensor([0, 1, 1, 1])).tolist() == [1.0, 12.0, 12.0, 12.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_games_keep_the_numbers_they_were_asked_for_in(dtype: torch.dtype) -> None:
    seen = list[torch.dtype]()

    def payoffs(counts: Tensor) -> Tensor:
        seen.append(counts.dtype)
        return counts.double() / 3

    game = SymmetricGame.of(payoffs, 3, 2, dtype)
    assert seen == [dtype]
    third = torch.tensor(1 / 3, dtype=dtype)
    assert torch.equal(game.table, torch.stack([third * torch.tensor([2, 1, 0]), third * torch.tensor([0, 1, 2])]))
    assert game.like["dtype"] == game.table.dtype == dtype
    assert game.play(torch.tensor([0, 1, 1])).dtype == dtype
    assert {v.dtype for v in game.values(game.start())} == {dtype}


def test_among_hundreds_who_choose_alike_counts_are_binomial() -> None:
    n, p = 200, 0.3
    game = SymmetricGame(torch.arange(2.0 * n, dtype=torch.float64).reshape(2, n) ** 2, 2)
    law = [comb(n - 1, k) * p**k * (1 - p) ** (n - 1 - k) for k in range(n)]
    wanted = [sum(w * k**2 for k, w in enumerate(law)), sum(w * (n + k) ** 2 for k, w in enumerate(law))]
    assert game.values_among(f64(1 - p, p)).tolist() == pytest.approx(wanted, rel=1e-12)


# --- what is refused ------------------------------------------------------------------------------------------------


def ones(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.float64)


TWO = "expected [..., 2, n]: own action, then counts of others from 0 on"
FOUR = "expected [..., 4, n, n, n]: own action, then counts of others from 0 on"
NOT_A_GAME: dict[str, tuple[tuple[Any, Any], str]] = {
    "a list": (([[1.0], [1.0]], 2), "table: got list, expected a tensor of payoffs [..., a, k1, ..., kK]"),
    "a number alone": ((torch.tensor(1.0), 2), f"table: got shape [], {TWO}"),
    "too few dimensions": ((ones(2), 2), f"table: got shape [2], {TWO}"),
    "nobody": ((ones(2, 0), 2), f"table: got shape [2, 0], {TWO}"),
    "three actions for two": ((ones(3, 4), 2), f"table: got shape [3, 4], {TWO}"),
    "two counts for three": ((ones(4, 5, 5), 4), f"table: got shape [4, 5, 5], {FOUR}"),
    "another first count": ((ones(4, 4, 5, 5), 4), f"table: got shape [4, 4, 5, 5], {FOUR}"),
    "another last count": ((ones(4, 5, 5, 4), 4), f"table: got shape [4, 5, 5, 4], {FOUR}"),
    "nobody of four": ((ones(7, 4, 0, 0, 0), 4), f"table: got shape [7, 4, 0, 0, 0], {FOUR}"),
    "whole numbers": ((ones(2, 3).long(), 2), "table: got dtype torch.int64, expected floating-point numbers"),
    "one without a number": (
        (f64([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [inf, nan]]), 2),
        "table[1, 1, 0]: got inf, expected a finite payoff; 0 where counts cannot be",
    ),
}


@pytest.mark.parametrize("case", NOT_A_GAME)
def test_what_is_no_symmetric_game_is_refused_in_these_words(case: str) -> None:
    given, words = NOT_A_GAME[case]
    assert said(lambda: SymmetricGame(*given)) == words


def test_numbers_of_actions_are_from_2_to_30() -> None:
    for bad in (True, 2.0, "2", None, 1, 0, -2, 31):
        assert said(lambda bad=bad: SymmetricGame(ones(2, 3), bad)) == (
            f"action_count: got {bad}, expected a whole number of actions from 2 to 30"
        )
    f = torch.arange(30.0, dtype=torch.float64)
    alone = SymmetricGame(f.reshape(30, *[1] * 29), 30)  # a player and nobody else
    assert alone.action_counts == (30,)
    assert torch.equal(alone.values(alone.start())[0], f)
    assert alone.play(torch.tensor([[7], [29]])).tolist() == [[7.0], [29.0]]


def test_a_table_has_up_to_ten_million_numbers() -> None:
    wanted = "expected at most 10,000,000 numbers: actions x players^(actions - 1)"
    for players, actions in ((5_000_000, 2), (1825, 3), (135, 4), (1, 30), (1, 2)):
        require_size(players, actions)
    for players, actions in ((5_000_001, 2), (1826, 3), (136, 4), (1, 31), (2, 30)):
        words = f"players: got {players} with {actions} actions, {wanted}"
        assert said(lambda p=players, a=actions: require_size(p, a)) == words
        assert said(lambda p=players, a=actions: SymmetricGame.of(lambda k: k, p, a)) == words
    zero = torch.zeros(1)
    for shape in ((2, 5_000_001), (1, 2, 5_000_001)):
        assert said(lambda shape=shape: SymmetricGame(zero.expand(shape), 2)) == (
            f"players: got 5000001 with 2 actions, {wanted}"
        )
    assert said(lambda: SymmetricGame(zero.expand(3, 1826, 1826), 3)) == f"players: got 1826 with 3 actions, {wanted}"
    for players, actions in ((0, 2), (-1, 2), (1, 1), (3, 0)):
        words = f"players, actions: got {players}, {actions}, expected at least 1 player and 2 actions"
        assert said(lambda p=players, a=actions: SymmetricGame.of(lambda k: k, p, a)) == words
    for half in ((2.5, 2), (2, 2.0)):
        words = f"players, actions: got {half[0]}, {half[1]}, expected whole numbers"
        assert said(lambda half=half: SymmetricGame.of(lambda k: k, *half)) == words
    count = np.int64(3)
    assert SymmetricGame.of(lambda k: k, count, 2).table.equal(SymmetricGame.of(lambda k: k, 3, 2).table)  # type: ignore[arg-type]


def test_a_game_of_a_function_is_of_floating_point_numbers() -> None:
    assert said(lambda: SymmetricGame.of(lambda k: k, 3, 2, torch.long)) == (
        "dtype: got torch.int64, expected one of floating-point numbers"
    )
    assert said(lambda: SymmetricGame.of(lambda k: k[..., :1], 3, 2)) == f"table: got shape [1, 3], {TWO}"
    assert np.isfinite(SymmetricGame.of(lambda k: k, 1, 2).table.numpy()).all()
