"""Polymatrix games against sums written out edge by edge, and what is refused, to the boundary and to the letter."""

from itertools import product
from math import inf, nan
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gamesim.games import PolymatrixGame
from random_games import Array, laws, numbers
from refusals import f64, said

Edges = list[tuple[int, int]]

# Few players, of whom all have many neighbours, and many with few: payoffs are summed in two ways.
NETWORKS: dict[str, tuple[Edges, tuple[int, ...]]] = {
    "two": ([(0, 1), (1, 0)], (3, 2)),
    "everybody": ([(i, j) for i in range(4) for j in range(4) if i != j], (2, 3, 1, 4)),
    "star": ([(0, 2), (0, 1), (3, 0)], (3, 1, 2, 2)),
    "chain": ([(i, i + 1) for i in range(11)] + [(i + 1, i) for i in range(11)], (2, 3, 1, 3, 2, 2, 1, 3, 3, 2, 1, 2)),
    "one way": ([(8, 0), (3, 8), (0, 3)], (2, 1, 1, 3, 1, 1, 1, 1, 2)),
    "twice": ([(0, 1), (5, 2), (0, 1), (2, 0), (5, 2), (9, 0)], (2,) * 10),
    "twice among few": ([(0, 1), (1, 0), (0, 1)], (2, 2)),
}


def drawn(name: str, *batch: int) -> tuple[Edges, tuple[int, ...], Array]:
    """Edges, numbers of actions, and matrices[*batch, edge, a, b], padded with zeros."""
    edges, counts = NETWORKS[name]
    A = numbers(81, len(edges), *batch).normal(size=(*batch, len(edges), max(counts), max(counts)))
    for e, (i, j) in enumerate(edges):
        A[..., e, counts[i] :, :] = 0
        A[..., e, :, counts[j] :] = 0
    return edges, counts, A


def paid(edges: Edges, counts: tuple[int, ...], A: Array, laws_of: list[Array]) -> list[list[float]]:
    """v_i(a), edge by edge and action by action."""
    v = [[0.0] * c for c in counts]
    for e, (i, j) in enumerate(edges):
        for a, b in product(range(counts[i]), range(counts[j])):
            v[i][a] += A[e, a, b] * laws_of[j][b]
    return v


@pytest.mark.parametrize("name", NETWORKS)
def test_payoffs_are_the_sums_over_edges(name: str) -> None:
    edges, counts, A = drawn(name, 3)
    draw = numbers(83, len(edges))
    policy = [laws(draw, 4, 3, c) for c in counts]  # four policies for each of three games
    x = tuple(map(torch.from_numpy, policy))
    actions = torch.from_numpy(np.stack([draw.integers(c, size=5) for c in counts], -1))
    many = PolymatrixGame(torch.tensor(edges), torch.from_numpy(A), counts)
    assert many.batch == (3,)
    assert many.action_counts == counts
    values, answers, play = many.values(x), many.answers(actions[:, None]), many.play(actions[:, None])
    assert play.shape == (5, 3, len(counts))
    for k in range(3):
        one = PolymatrixGame(torch.tensor(edges), torch.from_numpy(A[k]), counts)
        assert one.batch == ()
        alone = one.values(tuple(p[:, k] for p in x))
        for s in range(4):
            wanted = paid(edges, counts, A[k], [p[s, k] for p in policy])
            for i, v in enumerate(wanted):
                assert values[i].shape == (4, 3, counts[i])
                assert values[i][s, k].tolist() == pytest.approx(v, abs=1e-13)
                assert alone[i][s].tolist() == pytest.approx(v, abs=1e-13)
        replies, got = one.answers(actions), one.play(actions)
        for s in range(5):
            pure = [np.eye(c)[a] for c, a in zip(counts, actions[s].tolist(), strict=True)]
            for i, v in enumerate(paid(edges, counts, A[k], pure)):
                assert answers[i][s, k].tolist() == pytest.approx(v, abs=1e-13)
                assert replies[i][s].tolist() == pytest.approx(v, abs=1e-13)
                chosen = v[int(actions[s, i])]
                assert float(play[s, k, i]) == pytest.approx(chosen, abs=1e-13)
                assert float(got[s, i]) == pytest.approx(chosen, abs=1e-13)
        assert torch.equal(one.play(actions[0]), got[0])
        assert one.play(actions[:0]).shape == (0, len(counts))


@pytest.mark.parametrize("name", ["everybody", "chain"])
def test_a_game_may_be_given_pair_by_pair(name: str) -> None:
    edges, counts, A = drawn(name, 2)
    pairs = {(i, j): A[:, e, : counts[i], : counts[j]] for e, (i, j) in enumerate(edges)}
    pairs[edges[0]] = pairs[edges[0]][1]  # one matrix for both games
    A[:, 0] = A[1, 0]
    game = PolymatrixGame.between(pairs)
    assert game.action_counts == counts
    assert game.edges.tolist() == [list(e) for e in edges]
    assert torch.equal(game.matrices, torch.from_numpy(A))


def test_who_is_only_a_neighbour_or_nowhere_has_actions_all_the_same() -> None:
    game = PolymatrixGame.between({(4, 1): [[1, 2, 3], [4, 5, 6]]})
    assert game.action_counts == (1, 3, 1, 1, 2)
    assert game.like == {"dtype": torch.float64, "device": torch.device("cpu")}
    x = (f64(1.0), f64(0.5, 0.25, 0.25), f64(1.0), f64(1.0), f64(0.5, 0.5))
    assert [v.tolist() for v in game.values(x)] == [[0.0], [0.0, 0.0, 0.0], [0.0], [0.0], [1.75, 4.75]]
    assert game.play(torch.tensor([0, 2, 0, 0, 1])).tolist() == [0.0, 0.0, 0.0, 0.0, 6.0]
    single = PolymatrixGame.between({(0, 1): torch.ones(2, 2, dtype=torch.float32)})
    assert single.matrices.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("n", [3, 100], ids=["few", "many"])
def test_edges_may_be_whole_numbers_of_any_length(dtype: torch.dtype, n: int) -> None:
    edges = torch.tensor([(i, (i + 1) % n) for i in range(n)], dtype=dtype)
    game = PolymatrixGame(edges, torch.arange(float(n), dtype=torch.float32)[:, None, None].expand(n, 2, 2))
    assert game.action_counts == (2,) * n
    for v in (torch.stack(game.values(game.start())), torch.stack(game.answers(torch.zeros(n, dtype=torch.long)))):
        assert v.dtype == torch.float32
        assert v.tolist() == [[float(i)] * 2 for i in range(n)]


def test_a_million_players_in_a_ring() -> None:
    """The table of everybody with everybody would have 4,000,000,000,000 numbers."""
    n = 10**6
    i = torch.arange(n)
    A = torch.arange(4.0 * n).reshape(n, 2, 2)
    game = PolymatrixGame(torch.stack([i, (i + 1) % n], -1), A)
    found = game.vectors(torch.tensor([0.25, 0.75]).expand(n, 2))
    assert torch.equal(found, A[..., 0] / 4 + A[..., 1] * 3 / 4)
    assert torch.equal(game.replies(torch.zeros(n, dtype=torch.long)), A[..., 0])


# --- what is refused ------------------------------------------------------------------------------------------------


def pair(*rows: tuple[int, ...]) -> Tensor:
    return torch.tensor(rows or ((0, 1),))


def ones(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.float64)


WHOLE, SQUARE = "whole numbers [edge, 2]", "[..., edge, a_i, a_j], padded to squares"
NOT_A_GAME: dict[str, tuple[tuple[Any, ...], str]] = {
    "edges in a list": (([(0, 1)], ones(1, 2, 2)), "edges: got list, expected a tensor"),
    "matrices in a list": ((pair(), [[[1.0]]]), "matrices: got list, expected a tensor"),
    "one edge alone": ((pair()[0], ones(1, 2, 2)), f"edges: got torch.int64 of shape [2], expected {WHOLE}"),
    "edges of three": ((pair((0, 1, 2)), ones(1, 2, 2)), f"edges: got torch.int64 of shape [1, 3], expected {WHOLE}"),
    "fractions": ((pair() / 1, ones(1, 2, 2)), f"edges: got torch.float32 of shape [1, 2], expected {WHOLE}"),
    "truths": ((pair() > 0, ones(1, 2, 2)), f"edges: got torch.bool of shape [1, 2], expected {WHOLE}"),
    "complex": ((pair() * 1j, ones(1, 2, 2)), f"edges: got torch.complex64 of shape [1, 2], expected {WHOLE}"),
    "a matrix alone": ((pair(), ones(2, 2)), f"matrices: got shape [2, 2], expected {SQUARE}"),
    "a wide matrix": ((pair(), ones(1, 2, 3)), f"matrices: got shape [1, 2, 3], expected {SQUARE}"),
    "a tall matrix": ((pair(), ones(1, 3, 2)), f"matrices: got shape [1, 3, 2], expected {SQUARE}"),
    "nobody chooses": (
        (pair(), ones(1, 0, 0)),
        "action_counts: got (0, 0), expected numbers from 1 to 0, one for each player, 0 for one",
    ),
    "one who cannot choose": (
        (pair(), ones(1, 2, 2), (0, 2)),
        "action_counts: got (0, 2), expected numbers from 1 to 2, one for each player, 2 for one",
    ),
    "nobody chooses from all": (
        (pair(), ones(1, 3, 3), [2, 2]),
        "action_counts: got [2, 2], expected numbers from 1 to 3, one for each player, 3 for one",
    ),
    "more actions than rows": (
        (pair(), ones(1, 3, 3), (3, 4)),
        "action_counts: got (3, 4), expected numbers from 1 to 3, one for each player, 3 for one",
    ),
    "half an action": (
        (pair(), ones(1, 2, 2), (2, 1.5)),
        "action_counts: got (2, 1.5), expected numbers from 1 to 2, one for each player, 2 for one",
    ),
    "a number of actions": (
        (pair(), ones(1, 2, 2), 2),
        "action_counts: got 2, expected numbers from 1 to 2, one for each player, 2 for one",
    ),
    "an array of counts": (
        (pair(), ones(1, 2, 2), torch.tensor([2, 2])),
        "action_counts: got tensor([2, 2]), expected numbers from 1 to 2, one for each player, 2 for one",
    ),
    "no players": (
        (pair()[:0], ones(0, 2, 2)),
        "action_counts: got (), expected numbers from 1 to 2, one for each player, 2 for one",
    ),
    "a player behind the last": (
        (pair((0, 1), (0, 2)), ones(2, 2, 2), (2, 2)),
        "edges: got [0, 2], expected pairs of two different players from 0 to 1",
    ),
    "a player before the first": (
        (pair((0, 1), (-1, 0)), ones(2, 2, 2)),
        "edges: got [-1, 0], expected pairs of two different players from 0 to 1",
    ),
    "alone": (
        (pair((0, 1), (2, 1), (2, 2), (3, 3)), ones(4, 2, 2)),
        "edges: got [2, 2], expected pairs of two different players from 0 to 3",
    ),
    "a matrix too many": (
        (pair(), ones(3, 2, 2, 2)),
        "matrices: got torch.float64 of shape [3, 2, 2, 2], expected floating-point numbers [..., 1, 2, 2]",
    ),
    "whole payoffs": (
        (pair(), ones(1, 2, 2).long()),
        "matrices: got torch.int64 of shape [1, 2, 2], expected floating-point numbers [..., 1, 2, 2]",
    ),
    "one payoff without a number": (
        (pair((0, 1), (1, 0)), f64([[1.0, 2.0], [3.0, 4.0]], [[1.0, inf], [nan, 2.0]])),
        "matrices[1, 0, 1]: got inf, expected finite payoffs",
    ),
}


@pytest.mark.parametrize("case", NOT_A_GAME)
def test_what_is_no_polymatrix_game_is_refused_in_these_words(case: str) -> None:
    given, words = NOT_A_GAME[case]
    assert said(lambda: PolymatrixGame(*given)) == words


def test_pairs_that_do_not_go_together_are_refused_in_these_words() -> None:
    def refused(pairs: Any) -> str:
        return said(lambda: PolymatrixGame.between(pairs))

    wanted = "expected a matrix for each pair (i, j) whose second player pays the first"
    assert refused({}) == f"matrices: got nothing, {wanted}"
    for empty in ((0, 2), (2, 0), (2,), (), (0, 2, 2)):
        assert refused({(0, 2): ones(2, 2), (1, 2): ones(*empty)}) == (
            f"matrices[1, 2]: got shape {list(empty)}, expected [..., a_i, a_j], at least one each"
        )
    assert refused({(0, 1): ones(5, 2, 3), (1, 0): ones(5, 2, 2)}) == (
        "matrices[1, 0]: got shape [2, 2], expected [3, 2], as other matrices of these players have"
    )
    assert refused({(0, 1): ones(2, 2), (2, 1): ones(2, 3)}) == (
        "matrices[0, 1]: got shape [2, 2], expected [2, 3], as other matrices of these players have"
    )
    assert refused({(0, 1): ones(2, 2, 2), (1, 0): ones(3, 2, 2)}) == (
        "matrices: got shapes do not broadcast: [2], [3], expected as many games of each pair"
    )
    for i, j in ((-1, 0), (0, -1), (-3, -2), (0.5, 1), (1, 0.5)):
        assert refused({(0, 1): ones(2, 2), (i, j): ones(2, 2)}) == (
            f"matrices: got the key ({i}, {j}), expected pairs (i, j) of players counted from 0 on"
        )
    for key in (0, (0,), (0, 1, 2), "ab", None):
        assert refused({(0, 1): ones(2, 2), key: ones(2, 2)}) == (
            f"matrices: got the key {key}, expected pairs (i, j) of players counted from 0 on"
        )
    assert refused([ones(2, 2)]) == f"matrices: got list, {wanted}"
    assert refused({(1, 1): ones(2, 2)}) == "edges: got [1, 1], expected pairs of two different players from 0 to 1"
    assert refused({(0, 1): [[1.0, 2.0], [3.0]]}) == (
        "matrices[0, 1]: got list, expected a tensor, an array or nested lists of numbers"
    )


def spokes(degree: int) -> Tensor:
    """The first player is paid by so many others."""
    return torch.stack([torch.zeros(degree, dtype=torch.long), torch.arange(1, degree + 1)], -1)


def star(players: int, degree: int, widest: int = 1, games: int = 1) -> PolymatrixGame:
    matrices = torch.zeros(1).expand(games, degree, widest, widest)
    return PolymatrixGame(spokes(degree), matrices, (*[1] * (players - 1), widest))


def test_games_have_up_to_a_hundred_million_numbers() -> None:
    wanted = "expected at most 100,000,000 numbers: everyone takes the room of the best connected"
    # all players with all players, where one has a fourth of them as neighbours; from there on everyone has the same
    assert len(star(10_000, 2500).action_counts) == 10_000
    assert said(lambda: star(10_001, 2501)) == (
        f"edges: got 10001 players with up to 2501 neighbours, 1.0e+08 numbers, {wanted}"
    )
    assert len(star(10_004, 2500).action_counts) == 10_004
    assert said(lambda: star(10_004, 2501)).startswith("edges: got 10004 players with up to 2501 neighbours, 1.0e+08 ")
    # matrices of 4 by 4, and four games
    assert star(2500, 625, 4).batch == (1,)
    assert said(lambda: star(2501, 626, 4)).startswith("edges: got 2501 players with up to 626 neighbours, 1.0e+08 ")
    assert star(5000, 1250, games=4).batch == (4,)
    assert said(lambda: star(5001, 1251, games=4)).startswith("edges: got 5001 players with up to 1251 neighbours")
    # with few neighbours everyone takes the room of the best connected
    assert len(star(10_000, 1, 100).action_counts) == 10_000
    assert said(lambda: star(10_001, 1, 100)) == (
        f"edges: got 10001 players with up to 1 neighbours, 1.0e+08 numbers, {wanted}"
    )
    assert len(star(5000, 2, 100).action_counts) == 5000
    assert said(lambda: star(5001, 2, 100)) == (
        f"edges: got 5001 players with up to 2 neighbours, 1.0e+08 numbers, {wanted}"
    )
    assert len(star(10_000, 0, 100).action_counts) == 10_000
    assert said(lambda: star(10_001, 0, 100)).startswith("edges: got 10001 players with up to 1 neighbours")


def test_players_far_away_are_refused_before_they_are_counted() -> None:
    wanted = "expected at most 100,000,000 numbers in a matrix for each"
    assert len(PolymatrixGame.between({(0, 9999): ones(100, 100)}).action_counts) == 10_000
    assert len(PolymatrixGame(pair((0, 9999)), ones(1, 100, 100)).action_counts) == 10_000
    many = PolymatrixGame.between({(0, 9999): ones(5000, 1, 1)})  # games take no room of a player's matrix
    assert (many.batch, many.action_counts) == ((5000,), (1,) * 10_000)
    assert said(lambda: PolymatrixGame.between({(10_000, 0): ones(100, 1), (0, 1): ones(1, 2)})) == (
        f"edges: got 10001 players with up to 100 actions, {wanted}"
    )
    for far in (10_000, 10**12):
        words = f"edges: got {far + 1} players with up to 100 actions, {wanted}"
        assert said(lambda far=far: PolymatrixGame(pair((1, 0), (0, far)), ones(2, 100, 100))) == words
        assert said(lambda far=far: PolymatrixGame.between({(1, 0): ones(2, 2), (0, far): ones(2, 100)})) == words
