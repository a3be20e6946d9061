"""Games of many players without their tensor: equal to it where it fits, and to closed forms where not."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import gamesim as gs
from gamesim.errors import InvalidInput
from gamesim.games import CongestionGame, MatrixGame, PolymatrixGame, StructuredGame, SymmetricGame, tabulate
from gamesim.games.counting import expect_others
from gamesim.randomness import Stream

CATALOGUE = ("polymatrix", "congestion", "braess", "symmetric", "el-farol")


def make(name: str, **parameters: Any) -> Any:
    return gs.make(f"matrix/{name}", **parameters)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return Stream(seed).normal(shape)


def policies(game: Any, *batch: int, seed: int = 1) -> tuple[Tensor, ...]:
    """Policies without symmetry, [*batch, *games, a]."""
    stream = Stream(seed)
    drawn = [torch.softmax(stream.normal((*batch, *game.batch, count)), -1) for count in game.action_counts]
    return tuple(x.to(**game.like) for x in drawn)


def assert_tensor_says_the_same(game: StructuredGame, tolerance: float = 1e-12) -> None:
    table = tabulate(game)
    x = policies(game, 4)
    for ours, theirs in zip(game.values(x), table.values(x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    for method in ("regrets", "payoffs_of", "exploitability"):
        ours, theirs = getattr(game, method)(x), getattr(table, method)(x)
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(game.regrets(x, 0.3), table.regrets(x, 0.3), rtol=tolerance, atol=tolerance)
    u = Stream(2).uniform((5, *game.batch, len(game.action_counts)))
    actions = (u * torch.tensor(game.action_counts)).long()
    for ours, theirs in zip(game.answers(actions), table.answers(actions), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(game.play(actions), table.play(actions), rtol=tolerance, atol=tolerance)


# --- the tensor, written apart --------------------------------------------------------------------------------------


def polymatrix_tensor(matrices: dict[tuple[int, int], Tensor], counts: tuple[int, ...]) -> Tensor:
    u = torch.zeros(len(counts), *counts, dtype=torch.float64)
    for profile in itertools.product(*map(range, counts)):
        for (i, j), table in matrices.items():
            u[(i, *profile)] += table[profile[i], profile[j]]
    return u


@pytest.mark.parametrize(
    "pairs",
    [
        [(0, 1), (1, 0), (1, 2)],
        [(0, 1), (0, 2), (0, 3), (3, 1)],
        [(i, j) for i in range(4) for j in range(4) if i != j],
    ],
    ids=["chain", "star", "complete"],
)
def test_polymatrix_is_its_tensor_with_any_numbers_of_actions(pairs: list[tuple[int, int]]) -> None:
    counts = (2, 3, 1, 4)[: max(map(max, pairs)) + 1]
    matrices = {(i, j): normal(counts[i], counts[j], seed=7 * i + j) for i, j in pairs}
    game = PolymatrixGame.between(matrices)
    assert game.action_counts == counts
    torch.testing.assert_close(tabulate(game).payoffs, polymatrix_tensor(matrices, counts), rtol=0, atol=1e-14)
    assert_tensor_says_the_same(game)


@pytest.mark.parametrize("n", [3, 9], ids=["whole", "lists"])
def test_polymatrix_of_a_ring_is_its_tensor_alone_and_in_a_batch(n: int) -> None:
    edges = torch.tensor([(i, (i + 1) % n) for i in range(n)] + [(0, 1)])  # one pair twice: they add up
    many = normal(2, len(edges), 2, 2)
    assert_tensor_says_the_same(PolymatrixGame(edges, many))
    for i in range(2):
        one = PolymatrixGame(edges, many[i])
        assert_tensor_says_the_same(one)
        x = policies(one)
        batch = PolymatrixGame(edges, many).values(x)
        for v, w in zip(one.values(x), batch, strict=True):
            torch.testing.assert_close(v, w[i], rtol=0, atol=1e-14)


def congestion_tensor(sets: list[list[set[int]]], costs: Tensor) -> Tensor:
    counts = [len(own) for own in sets]
    u = torch.zeros(len(counts), *counts, dtype=torch.float64)
    for profile in itertools.product(*map(range, counts)):
        chosen = [sets[i][a] for i, a in enumerate(profile)]
        for i, own in enumerate(chosen):
            u[(i, *profile)] = -sum(costs[r, sum(r in other for other in chosen) - 1] for r in own)
    return u


SETS = [[{0}, {1, 2}, set()], [{0, 3}, {1}], [{2, 3}, {0, 1, 2, 3}, {1}, {3}], [{0}]]


def test_congestion_is_its_tensor_with_any_sets() -> None:
    costs = normal(4, 4)
    game = CongestionGame.of(SETS, costs)
    torch.testing.assert_close(tabulate(game).payoffs, congestion_tensor(SETS, costs), rtol=0, atol=1e-14)
    assert_tensor_says_the_same(game)


def test_congestion_in_a_batch_of_games_is_one_by_one() -> None:
    costs = normal(3, 4, 4)
    many = CongestionGame.of(SETS, costs)
    assert many.batch == (3,)
    x = policies(many, 2)
    actions = torch.tensor([0, 1, 1, 0]).expand(3, 4)
    for i in range(3):
        one = CongestionGame.of(SETS, costs[i])
        for v, w in zip(many.values(x), one.values(tuple(p[:, i] for p in x)), strict=True):
            torch.testing.assert_close(v[:, i], w, rtol=0, atol=1e-14)
        assert torch.equal(many.play(actions)[i], one.play(actions[i]))
        assert torch.equal(many.potential(actions)[i], one.potential(actions[i]))


def test_what_a_driver_gains_the_potential_loses() -> None:
    game = CongestionGame.of(SETS, normal(4, 4))
    u = tabulate(game).payoffs
    profiles = torch.cartesian_prod(*map(torch.arange, game.action_counts))
    potential = game.potential(profiles).reshape(game.action_counts)
    for i in range(4):
        gained, added = (v - v.select(i, 0).unsqueeze(i) for v in (u[i], potential))
        torch.testing.assert_close(gained, added, rtol=0, atol=1e-13)


def symmetric_tensor(game: SymmetricGame) -> Tensor:
    counts = game.action_counts
    u = torch.zeros(len(counts), *counts, dtype=torch.float64)
    for profile in itertools.product(*map(range, counts)):
        for i, own in enumerate(profile):
            others = profile[:i] + profile[i + 1 :]
            u[(i, *profile)] = game.table[(own, *(others.count(c) for c in range(1, counts[0])))]
    return u


@pytest.mark.parametrize(("n", "actions"), [(1, 2), (2, 2), (3, 2), (7, 2), (2, 3), (5, 3), (6, 3), (3, 4), (4, 4)])
def test_symmetric_is_its_tensor(n: int, actions: int) -> None:
    game = SymmetricGame(normal(actions, *[n] * (actions - 1), seed=n), actions)
    assert torch.equal(tabulate(game).payoffs, symmetric_tensor(game))
    assert_tensor_says_the_same(game)


def test_symmetric_in_a_batch_of_games_is_one_by_one() -> None:
    tables = normal(3, 2, 5)
    many = SymmetricGame(tables, 2)
    assert_tensor_says_the_same(many)
    x = policies(many)
    for i in range(3):
        for v, w in zip(many.values(x), SymmetricGame(tables[i], 2).values(tuple(p[i] for p in x)), strict=True):
            torch.testing.assert_close(v[i], w, rtol=0, atol=1e-14)


def test_a_function_of_the_counts_is_the_table() -> None:
    n = 6
    game = SymmetricGame.of(lambda k: torch.stack([k[..., 0] - k[..., 2], 1 / (1 + k[..., 1]), k.prod(-1)], -1), n, 3)
    actions = torch.tensor([0, 1, 2, 2, 0, 2])
    assert game.play(actions).tolist() == [1 - 3, 1.0, 2 * 1 * 2, 4, 1 - 3, 4]
    assert_tensor_says_the_same(game)


# --- many players ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 37, 64, 201])
def test_counts_of_others_follow_the_poisson_binomial_law(n: int) -> None:
    p = 0.05 + 0.9 * Stream(0).uniform((n,))
    indicators = torch.eye(n, dtype=torch.float64).unsqueeze(-2)  # [k, out, count]: P(count = k) for every k
    law = expect_others(torch.stack([1 - p, p], -1), indicators).squeeze(-1)  # [k, player]
    for i in {0, 1, n // 2, n - 1}:
        wanted = np.ones(1)
        for chance in [*p[:i].tolist(), *p[i + 1 :].tolist()]:
            wanted = np.convolve(wanted, [1 - chance, chance])
        torch.testing.assert_close(law[:, i], torch.from_numpy(wanted), rtol=1e-11, atol=1e-14)


def test_a_large_batch_is_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    game = make("symmetric", player_count=6, action_count=3)
    x = policies(game, 7, 2)
    whole = game.values(x)
    monkeypatch.setattr("gamesim.games.counting.PIECE", 200)
    for v, w in zip(whole, game.values(x), strict=True):
        assert torch.equal(v, w)
    many = make("congestion", games=5)
    y = policies(many, 3)
    pieces = many.values(y)
    monkeypatch.undo()
    for v, w in zip(pieces, many.values(y), strict=True):
        assert torch.equal(v, w)


def test_values_of_many_players_are_exact_at_pure_profiles() -> None:
    """Convex combinations keep what is certain: no rounding at all."""
    for name in CATALOGUE:
        game = make(name, player_count=40)
        u = Stream(3).uniform((40,))
        actions = (u * game.action_counts[0]).long()
        values, answers = game.values(game.chosen(actions)), game.answers(actions)
        for v, w in zip(values, answers, strict=True):
            torch.testing.assert_close(v, w, rtol=1e-14, atol=1e-13)


def test_el_farol_at_a_symmetric_profile_is_the_binomial_law() -> None:
    n, p = 100, 0.55
    game = make("el-farol", player_count=n)
    fits = stats.binom(n - 1, p).cdf(59)
    x = torch.tensor([1 - p, p], dtype=torch.float64)
    alike = game.game.values_among(x)
    assert alike.tolist() == pytest.approx([0.0, 2 * fits - 1], abs=1e-12)
    for v in game.values(game.game.everyone(x)):
        torch.testing.assert_close(v, alike, rtol=0, atol=1e-12)


def test_at_its_symmetric_equilibrium_the_bar_is_as_good_as_home() -> None:
    game = make("el-farol", player_count=30, capacity=0.6)
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        come = float(game.game.values_among(torch.tensor([1 - p, p], dtype=torch.float64))[1])
        low, high = (p, high) if come > 0 else (low, p)
    x = torch.tensor([1 - p, p], dtype=torch.float64)
    assert float(game.exploitability(game.game.everyone(x))) < 1e-12
    assert stats.binom(29, p).cdf(17) == pytest.approx(0.5)
    full = torch.arange(30) < 18  # the bar is exactly full: nobody wants to change
    assert float(game.exploitability(game.chosen(full.long()))) == 0
    assert game.play(full.long()).sum() == 18


def test_a_capacity_counts_players_and_not_rounding_errors() -> None:
    for n in range(2, 60):
        game = make("el-farol", player_count=n, capacity=0.6)
        assert int((game.game.table[1] == 1).sum()) == (6 * n) // 10


def test_braess_pays_83_without_the_bridge_and_92_with_it() -> None:
    without, bridged = make("braess", bridge=False), make("braess")
    halves = torch.tensor([0, 0, 0, 1, 1, 1])
    thirds = torch.tensor([0, 0, 1, 1, 2, 2])
    assert without.play(halves).tolist() == [-83.0] * 6
    assert float(without.exploitability(without.chosen(halves))) == 0
    assert bridged.play(thirds).tolist() == [-92.0] * 6
    assert float(bridged.exploitability(bridged.chosen(thirds))) == 0
    assert float(bridged.exploitability(bridged.chosen(halves))) > 0
    best = max(map(float, bridged.game.potential(torch.cartesian_prod(*[torch.arange(3)] * 6))))
    assert float(bridged.game.potential(thirds)) == best


@pytest.mark.parametrize("kind", ["general", "zero-sum", "coordination"])
@pytest.mark.parametrize(("n", "reach", "neighbours"), [(7, 2, 4), (6, 3, 5), (6, None, 5), (5, None, 4), (2, 1, 1)])
def test_polymatrix_kinds_have_their_pairs(kind: str, n: int, reach: int | None, neighbours: int) -> None:
    game = make("polymatrix", player_count=n, reach=reach, pairs=kind, action_count=2)
    edges = game.game.edges.tolist()
    assert len({tuple(e) for e in edges}) == len(edges) == n * neighbours
    assert_tensor_says_the_same(game)
    matrices = {tuple(e): m for e, m in zip(edges, game.game.matrices, strict=True)}
    for (i, j), table in matrices.items():
        other = matrices[j, i].mT
        if kind == "general":
            assert not torch.equal(table, other)
        else:
            assert torch.equal(table, -other if kind == "zero-sum" else other)
    if kind == "zero-sum":
        actions = (2 * Stream(0).uniform((20, n))).long()
        assert float(game.play(actions).sum(-1).abs().max()) < 1e-14


def test_hundreds_of_players_learn() -> None:
    game = make("polymatrix", player_count=200, reach=2, pairs="coordination", action_count=2)
    result = gs.solve(game, gs.make_solver("ftrl", step_size=1.0), iterations=60, seeds=2, every=60)
    gap = result.exploitability
    assert float(gap[:, -1].max()) < 0.01 * float(gap[:, 0].min())


# --- the catalogue --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CATALOGUE)
def test_catalogue_games_are_their_tensors(name: str) -> None:
    assert_tensor_says_the_same(make(name, player_count=5))


@pytest.mark.parametrize("name", CATALOGUE)
def test_float32_stays_float32(name: str) -> None:
    single, double = make(name, player_count=9, dtype="float32"), make(name, player_count=9)
    for v, w in zip(single.values(policies(single)), double.values(policies(double)), strict=True):
        assert v.dtype == torch.float32
        torch.testing.assert_close(v.double(), w, rtol=1e-5, atol=1e-4)
    assert single.play(torch.zeros(9, dtype=torch.long)).dtype == torch.float32


@pytest.mark.parametrize("name", ["polymatrix", "congestion", "symmetric"])
def test_a_batch_is_the_games_of_its_seeds(name: str) -> None:
    many = make(name, player_count=5, seed=3, games=3)
    assert many.batch == (3,)
    x = policies(make(name, player_count=5))
    found = many.values(x)
    for i in range(3):
        for v, w in zip(make(name, player_count=5, seed=3 + i).values(x), found, strict=True):
            torch.testing.assert_close(v, w[i], rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", CATALOGUE)
def test_feedback_from_play_is_right_on_average(name: str) -> None:
    """u_i(a; a_-i) for drawn a_-i has the mean v_i(x)."""
    game = make(name, player_count=4)
    x = policies(game)
    draws = 20_000
    u = Stream(5).uniform((draws, 4))
    actions = torch.stack([(p.cumsum(-1)[:-1] <= u[:, i, None]).sum(-1) for i, p in enumerate(x)], -1)
    for v, answers in zip(game.values(x), game.answers(actions), strict=True):
        error = 5 * answers.std(0) / math.sqrt(draws) + 1e-12
        assert bool(((answers.mean(0) - v).abs() <= error).all())


# --- refusals -------------------------------------------------------------------------------------------------------


def ones(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.float64)


NOT_A_GAME: dict[str, tuple[Any, str]] = {
    "polymatrix without players": (
        lambda: PolymatrixGame(torch.zeros(0, 2, dtype=torch.long), ones(0, 2, 2)),
        r"action_counts: got \(\)",
    ),
    "polymatrix with an empty pair": (lambda: PolymatrixGame.between({(0, 1): ones(2, 0)}), r"matrices\[0, 1\]: got"),
    "polymatrix of nothing": (lambda: PolymatrixGame.between({}), "matrices: got 'nothing'"),
    "polymatrix with oneself": (
        lambda: PolymatrixGame(torch.tensor([[0, 1], [1, 1]]), ones(2, 2, 2)),
        r"edges: got \[1, 1\], expected pairs of two different players from 0 to 1",
    ),
    "polymatrix with a stranger": (
        lambda: PolymatrixGame(torch.tensor([[0, -1]]), ones(1, 2, 2), (2, 2)),
        r"edges: got \[0, -1\]",
    ),
    "polymatrix with sizes that differ": (
        lambda: PolymatrixGame.between({(0, 1): ones(2, 3), (1, 0): ones(2, 2)}),
        r"matrices\[1, 0\]: got .shape \[2, 2\]., expected \[3, 2\]",
    ),
    "polymatrix with NaN": (
        lambda: PolymatrixGame(torch.tensor([[0, 1]]), torch.full((1, 2, 2), math.nan)),
        r"matrices\[0, 0, 0\]: got nan, expected finite payoffs",
    ),
    "polymatrix with a matrix too few": (
        lambda: PolymatrixGame(torch.tensor([[0, 1], [1, 0]]), ones(1, 2, 2)),
        r"matrices: got .*shape \[1, 2, 2\]",
    ),
    "polymatrix with a star too large": (
        lambda: PolymatrixGame(
            torch.stack([torch.zeros(29_999, dtype=torch.long), torch.arange(1, 30_000)], -1), ones(29_999, 2, 2)
        ),
        "edges: got .30000 players with up to 29999 neighbours",
    ),
    "congestion with a wrong resource": (
        lambda: CongestionGame.of([[[0]], [[2]]], ones(2, 2)),
        r"sets\[1\]\[0\]: got 2",
    ),
    "congestion without a set": (lambda: CongestionGame.of([[[0]], []], ones(2, 2)), r"sets: got \[1, 0\]"),
    "congestion with too few loads": (
        lambda: CongestionGame.of([[[0]]] * 3, ones(1, 2)),
        r"costs: got .shape \[1, 2\]",
    ),
    "congestion with NaN": (lambda: CongestionGame.of([[[0]]], ones(1, 1) / 0), r"costs\[0, 0\]: got inf"),
    "congestion with half a resource": (lambda: CongestionGame(ones(1, 1, 1) / 2, ones(1, 1)), "uses: got"),
    "symmetric with one action": (
        lambda: SymmetricGame(ones(1, 3), 1),
        "action_count: got 1, expected a whole number of actions from 2",
    ),
    "symmetric with counts of two lengths": (lambda: SymmetricGame(ones(3, 4, 5), 3), r"table: got .shape \[3, 4, 5\]"),
    "symmetric with NaN": (lambda: SymmetricGame(ones(2, 3) * math.nan, 2), r"table\[0, 0\]: got nan"),
    "symmetric of whole numbers": (lambda: SymmetricGame(ones(2, 3).long(), 2), "table: got 'dtype torch.int64'"),
    "symmetric too large": (lambda: SymmetricGame.of(lambda k: k, 400, 4), "players: got '400 with 4 actions'"),
    "symmetric without players": (lambda: SymmetricGame.of(lambda k: k, 0, 2), "players, actions: got '0, 2'"),
    "a tensor too large": (lambda: tabulate(make("el-farol", player_count=40)), "game: got '4.4e.13 payoffs'"),
    "polymatrix of the catalogue too large": (
        lambda: make("polymatrix", player_count=10_000, reach=None),
        r"matrices: got '9.0e.08 numbers \(10000 players with 10000 neighbours\)'",
    ),
    "links too many": (lambda: make("congestion", player_count=100_000, links=100), "costs: got '1.0e.09 numbers"),
    "random symmetric too large": (lambda: make("symmetric", player_count=1000, action_count=4), "players: got"),
    "a crowded bar that is fun": (lambda: make("el-farol", bad=1), "home: got 0.0, expected a number above bad"),
    "one player": (lambda: make("braess", player_count=1), "player_count: got 1, expected a whole number from 2"),
}


@pytest.mark.parametrize("case", NOT_A_GAME)
def test_what_is_no_game_is_refused(case: str) -> None:
    build, words = NOT_A_GAME[case]
    with pytest.raises(InvalidInput, match=words):
        build()


def test_players_without_neighbours_are_paid_nothing() -> None:
    nobody = PolymatrixGame(torch.zeros(0, 2, dtype=torch.long), ones(0, 2, 2), (2, 2, 1))
    assert [v.tolist() for v in nobody.values(nobody.start())] == [[0, 0], [0, 0], [0]]
    assert nobody.play(torch.tensor([1, 0, 0])).tolist() == [0, 0, 0]


def test_a_tensor_of_a_tensor_is_itself() -> None:
    for counts in ((2, 3, 2), (4,), (1, 1)):
        game = MatrixGame(normal(len(counts), *counts), player_count=len(counts))
        assert torch.equal(tabulate(game).payoffs, game.payoffs)
    many = MatrixGame(normal(5, 2, 2, 3), player_count=2)
    assert torch.equal(tabulate(PolymatrixGame.between({(0, 1): many.payoffs[:, 0]})).payoffs[:, 0], many.payoffs[:, 0])
