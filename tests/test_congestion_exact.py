"""Congestion games against sums over every profile, in any batch, and the words of what is refused."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from gamesim.games import CongestionGame
from gamesim.randomness import Stream
from refusals import f64, said

SETS = [[{0}, {1, 2}, set()], [{0, 3}, {1}], [{2, 3}, {0, 1, 2, 3}, {1}, {3}]]
COUNTS = tuple(map(len, SETS))


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return Stream(seed).normal(shape)


def pays(costs: Tensor, profile: tuple[int, ...], player: int) -> float:
    """Minus what the resources of a player cost, each at the number of players who have it."""
    chosen = [SETS[i][a] for i, a in enumerate(profile)]
    return -sum(float(costs[r, sum(r in own for own in chosen) - 1]) for r in chosen[player])


def climbed(costs: Tensor, profile: tuple[int, ...]) -> float:
    """Rosenthal's potential: the resources of players who come one after the other."""
    loads, found = [0] * len(costs), 0.0
    for i, a in enumerate(profile):
        for r in SETS[i][a]:
            found, loads[r] = found - float(costs[r, loads[r]]), loads[r] + 1
    return found


def test_values_are_sums_over_what_all_others_may_choose() -> None:
    costs, x = numbers(3, 4, 3), [torch.softmax(numbers(5, 1, n, seed=n), -1) for n in COUNTS]
    found = CongestionGame.of(SETS, costs).values(tuple(x))
    assert [v.shape for v in found] == [(5, 3, n) for n in COUNTS]
    for b, g, i in itertools.product((0, 4), range(3), range(3)):
        wanted = [0.0] * COUNTS[i]
        for profile in itertools.product(*map(range, COUNTS)):
            chance = math.prod(float(x[j][b, 0, a]) for j, a in enumerate(profile) if j != i)
            wanted[profile[i]] += chance * pays(costs[g], profile, i)
        assert found[i][b, g].tolist() == pytest.approx(wanted, abs=1e-13)


def test_every_profile_pays_and_climbs_as_by_hand_in_a_batch_of_games() -> None:
    costs = numbers(2, 3, 4, 3)
    many = CongestionGame.of(SETS, costs)
    assert (many.batch, many.action_counts) == ((2, 3), COUNTS)
    profiles = torch.cartesian_prod(*map(torch.arange, COUNTS))[:, None, None]  # [profile, 1, 1, player]
    paid, answers, potential = many.play(profiles), many.answers(profiles), many.potential(profiles)
    assert paid.shape == (24, 2, 3, 3)
    assert [v.shape for v in answers] == [(24, 2, 3, n) for n in COUNTS]
    assert potential.shape == (24, 2, 3)
    for k, profile in enumerate(itertools.product(*map(range, COUNTS))):
        for g, h in itertools.product(range(2), range(3)):
            own = [pays(costs[g, h], profile, i) for i in range(3)]
            assert paid[k, g, h].tolist() == pytest.approx(own, abs=1e-13)
            assert float(potential[k, g, h]) == pytest.approx(climbed(costs[g, h], profile), abs=1e-13)
            for i, a in itertools.product(range(3), range(3)):
                if a < COUNTS[i]:
                    other = (*profile[:i], a, *profile[i + 1 :])
                    assert float(answers[i][k, g, h, a]) == pytest.approx(pays(costs[g, h], other, i), abs=1e-13)


def test_one_game_answers_one_profile_and_a_batch_of_them() -> None:
    costs = numbers(4, 3)
    game = CongestionGame.of(SETS, costs)
    assert game.batch == ()
    profiles = torch.tensor([[[0, 0, 1], [2, 1, 3]], [[1, 1, 1], [1, 0, 0]]])
    paid, potential = game.play(profiles), game.potential(profiles)
    for k in itertools.product(range(2), range(2)):
        profile = tuple(profiles[k].tolist())
        assert paid[k].tolist() == pytest.approx([pays(costs, profile, i) for i in range(3)], abs=1e-13)
        assert float(potential[k]) == pytest.approx(climbed(costs, profile), abs=1e-13)
        assert float(game.potential(profiles[k])) == float(potential[k])
        assert game.play(profiles[k]).tolist() == paid[k].tolist()


def test_the_last_dimensions_are_found_whatever_stands_before_them() -> None:
    """Costs of so many leading dimensions as there are names for the last ones."""
    costs = numbers(2, 1, 2, 4, 3)
    game = CongestionGame.of(SETS, costs)
    assert game.batch == (2, 1, 2)
    actions = torch.tensor([1, 0, 1])
    assert game.play(actions)[1, 0, 1].tolist() == pytest.approx([pays(costs[1, 0, 1], (1, 0, 1), i) for i in range(3)])
    assert float(game.potential(actions)[1, 0, 0]) == pytest.approx(climbed(costs[1, 0, 0], (1, 0, 1)))
    with pytest.raises(RuntimeError):
        game.play(actions.expand(3, 1, 1, 3))  # three batches of profiles and two of games


# --- what a game is made of -----------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_costs() -> None:
    plain = CongestionGame.of([[[0], [1]]] * 2, [[1, 2], [3, 5]])
    assert plain.like == {"dtype": torch.float64, "device": torch.device("cpu")}
    assert plain.play(torch.tensor([0, 0])).tolist() == [-2.0, -2.0]
    single = CongestionGame.of([[[0], [1]]] * 2, torch.tensor([[1.0, 2.0], [3.0, 5.0]]))
    assert single.like["dtype"] == torch.float32
    assert single.uses.dtype == torch.float32
    assert single.play(torch.tensor([1, 1])).dtype == torch.float32
    assert single.potential(torch.tensor([1, 1])).dtype == torch.float32
    assert single.values(single.start())[0].tolist() == [-1.5, -4.0]
    whole = CongestionGame(torch.tensor([[[1, 0], [0, 1]]] * 2), f64([1.0, 2.0], [3.0, 5.0]))
    assert whole.values(whole.start())[0].tolist() == [-1.5, -4.0]
    assert whole.action_counts == (2, 2)


def test_a_resource_that_a_set_names_twice_is_used_once() -> None:
    game = CongestionGame.of([[[1, 1], []], [[0, 1]]], [[1.0, 10.0], [2.0, 5.0]])
    assert game.uses.tolist() == [[[0, 1], [0, 0]], [[1, 1], [0, 0]]]
    assert game.action_counts == (2, 1)
    assert game.play(torch.tensor([0, 0])).tolist() == [-5.0, -6.0]
    assert game.play(torch.tensor([1, 0])).tolist() == [0.0, -3.0]


def test_sets_that_nobody_has_are_left_out() -> None:
    uses = torch.zeros(2, 4, 1)
    uses[:, :2] = 1
    game = CongestionGame(uses, f64([1.0, 2.0]), (1, 2))
    assert game.action_counts == (1, 2)
    assert [v.tolist() for v in game.values((f64(1.0), f64(0.5, 0.5)))] == [[-2.0], [-2.0, -2.0]]
    assert game.uses.shape == (2, 2, 1)
    assert CongestionGame(uses, f64([1.0, 2.0]), (4, 4)).action_counts == (4, 4)
    assert CongestionGame(uses[:1, :1], f64([7.0])).play(torch.tensor([0])).tolist() == [-7.0]  # one of each


def test_one_number_is_too_many_for_a_limit_and_not_the_limit_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    sets: list[list[list[int]]] = [[[0], [1], [3]], [[2]]]  # 2 players x 3 sets x 4 resources
    monkeypatch.setattr("gamesim.games.congestion.LARGEST", 24)
    assert CongestionGame.of(sets, f64(*[[0.0, 1.0]] * 4)).uses.numel() == 24
    monkeypatch.setattr("gamesim.games.congestion.LARGEST", 23)
    wanted = "sets: got 2 x 3 x 4, expected at most 23 numbers"
    assert said(lambda: CongestionGame.of(sets, f64(*[[0.0, 1.0]] * 4))) == wanted


def uses(*rows: list[float]) -> Tensor:
    """Of one player."""
    return f64(*rows)[None]


ONE = f64([1.0])
ALL_OF_EACH = "expected [player, action, resource], at least one of each"
LOADS = "a cost for each load, of at least one resource"
REFUSED: dict[str, tuple[Any, str]] = {
    "uses of a player": (lambda: CongestionGame(f64([1.0]), ONE), f"uses: got shape [1, 1], {ALL_OF_EACH}"),
    "uses in a batch": (
        lambda: CongestionGame(torch.ones(1, 1, 1, 1), ONE),
        f"uses: got shape [1, 1, 1, 1], {ALL_OF_EACH}",
    ),
    "no players": (
        lambda: CongestionGame(torch.ones(0, 1, 1), torch.ones(1, 0)),
        f"uses: got shape [0, 1, 1], {ALL_OF_EACH}",
    ),
    "no actions": (lambda: CongestionGame(torch.ones(1, 0, 1), ONE), f"uses: got shape [1, 0, 1], {ALL_OF_EACH}"),
    "twice": (lambda: CongestionGame(uses([1.0], [2.0]), ONE), "uses: got a number that is neither, expected 0 or 1"),
    "minus": (lambda: CongestionGame(uses([-1.0], [0.0]), ONE), "uses: got a number that is neither, expected 0 or 1"),
    "a load too many": (
        lambda: CongestionGame(uses([1.0]), f64([1.0, 2.0])),
        "costs: got shape [1, 2], expected [..., 1, 1]: a cost for each load",
    ),
    "a resource too many": (
        lambda: CongestionGame(uses([1.0]), f64([1.0], [2.0])),
        "costs: got shape [2, 1], expected [..., 1, 1]: a cost for each load",
    ),
    "a list": (
        lambda: CongestionGame(uses([1.0]), f64(1.0)),
        "costs: got shape [1], expected [..., 1, 1]: a cost for each load",
    ),
    "whole numbers": (
        lambda: CongestionGame(uses([1.0]), torch.tensor([[1]])),
        "costs: got dtype torch.int64, expected floating-point numbers",
    ),
    "infinite": (
        lambda: CongestionGame(uses([1.0, 0.0]), f64([3.0], [math.inf])),
        "costs[1, 0]: got inf, expected a finite cost",
    ),
    "no number": (
        lambda: CongestionGame(uses([1.0, 0.0]), f64([[3.0], [4.0]], [[math.nan], [-math.inf]])),
        "costs[1, 0, 0]: got nan, expected a finite cost",
    ),
    "counts for two": (
        lambda: CongestionGame(uses([1.0], [0.0]), ONE, (1, 1)),
        "action_counts: got (1, 1), expected 1 numbers from 1 to 2",
    ),
    "a number of sets": (
        lambda: CongestionGame(torch.ones(2, 2, 1), f64([1.0, 2.0]), 2),
        "action_counts: got 2, expected 2 numbers from 1 to 2",
    ),
    "an array of counts": (
        lambda: CongestionGame(torch.ones(2, 2, 1), f64([1.0, 2.0]), torch.tensor([2, 2])),
        "action_counts: got tensor([2, 2]), expected 2 numbers from 1 to 2",
    ),
    "a player without sets": (
        lambda: CongestionGame(torch.ones(2, 2, 1), f64([1.0, 2.0]), (2, 0)),
        "action_counts: got (2, 0), expected 2 numbers from 1 to 2",
    ),
    "a set too many": (
        lambda: CongestionGame(torch.ones(2, 2, 1), f64([1.0, 2.0]), (1, 3)),
        "action_counts: got (1, 3), expected 2 numbers from 1 to 2",
    ),
    "nobody": (lambda: CongestionGame.of([], ONE), "sets: got [], expected at least one player, and one set for each"),
    "a player who has nothing": (
        lambda: CongestionGame.of([[[0]], []], ONE),
        "sets: got [1, 0], expected at least one player, and one set for each",
    ),
    "costs that are a list": (
        lambda: CongestionGame.of([[[0]]], [1.0]),
        f"costs: got shape [1], expected [..., resource, 1]: {LOADS}",
    ),
    "costs of nothing": (
        lambda: CongestionGame.of([[[]], [[]]], torch.zeros(0, 2)),
        f"costs: got shape [0, 2], expected [..., resource, 2]: {LOADS}",
    ),
    "a resource beyond the last": (
        lambda: CongestionGame.of([[[0], [1, 2]]], f64([1.0], [1.0])),
        "sets[0][1]: got 2, expected a resource from 0 to 1",
    ),
    "a resource below the first": (
        lambda: CongestionGame.of([[[0]], [[-1]]], f64([1.0, 2.0])),
        "sets[1][0]: got -1, expected a resource from 0 to 0",
    ),
    "half a resource": (
        lambda: CongestionGame.of([[[0.5]]], ONE),  # type: ignore[list-item]
        "sets[0][0]: got 0.5, expected a resource from 0 to 0",
    ),
    "the name of a resource": (
        lambda: CongestionGame.of([["a"]], ONE),  # type: ignore[list-item]
        "sets[0][0]: got a, expected a resource from 0 to 0",
    ),
    "two hundred million numbers": (
        lambda: CongestionGame.of([[[0]], [[0], [1]]], torch.zeros(1, 1).expand(50_000_000, 2)),
        "sets: got 2 x 2 x 50000000, expected at most 100,000,000 numbers",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_game_is_refused_in_these_words(case: str) -> None:
    build, words = REFUSED[case]
    assert said(build) == words
