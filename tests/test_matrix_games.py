"""Classics and random families: payoffs as printed, equilibria as known, properties as promised; other libraries."""

import itertools
import math
import sys
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim import catalog
from gamesim.envs.wrappers import as_pettingzoo, pettingzoo_classic, tabulate_pettingzoo
from gamesim.equilibria.bimatrix import all_equilibria
from gamesim.equilibria.dominance import undominated
from gamesim.equilibria.pure import pure_equilibria
from gamesim.errors import InvalidInput, MissingExtra
from gamesim.games import DenseGame, MatrixGame
from gamesim.games.adapters import from_openspiel

FAMILIES = ("random", "zero-sum", "common-interest", "potential", "covariant", "random-coordination")
DRAWN = (*FAMILIES, "majority-voting", "dominance-solvable", "cyclic")
DENSE = sorted(
    name
    for name in catalog.table("games")
    if name.startswith("matrix/") and name != "matrix/file" and issubclass(catalog.find("games", name), DenseGame)
)


def make(name: str, **parameters: Any) -> Any:
    return gs.make(f"matrix/{name}", **parameters)


def pure(game: Any) -> set[tuple[int, ...]]:
    return {e.profile for e in pure_equilibria(game.payoffs)}


# --- classics -------------------------------------------------------------------------------------------------------

PRINTED: dict[str, Any] = {
    "prisoners-dilemma": ([[3, 0], [5, 1]], [[3, 5], [0, 1]]),
    "battle-of-the-sexes": ([[3, 0], [0, 2]], [[2, 0], [0, 3]]),
    "chicken": ([[6, 2], [7, 0]], [[6, 7], [2, 0]]),
    "stag-hunt": ([[2, 0], [1, 1]], [[2, 1], [0, 1]]),
    "matching-pennies": ([[1, -1], [-1, 1]], [[-1, 1], [1, -1]]),
    "rock-paper-scissors": ([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], [[0, 1, -1], [-1, 0, 1], [1, -1, 0]]),
    "coordination": ([[1, 0], [0, 1]], [[1, 0], [0, 1]]),
    "shapley": ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
}
EQUILIBRIA: dict[str, list[tuple[list[str], list[str]]]] = {
    "prisoners-dilemma": [(["0", "1"], ["0", "1"])],
    "battle-of-the-sexes": [(["1", "0"], ["1", "0"]), (["0", "1"], ["0", "1"]), (["3/5", "2/5"], ["2/5", "3/5"])],
    "chicken": [(["1", "0"], ["0", "1"]), (["0", "1"], ["1", "0"]), (["2/3", "1/3"], ["2/3", "1/3"])],
    "stag-hunt": [(["1", "0"], ["1", "0"]), (["0", "1"], ["0", "1"]), (["1/2", "1/2"], ["1/2", "1/2"])],
    "matching-pennies": [(["1/2", "1/2"], ["1/2", "1/2"])],
    "rock-paper-scissors": [(["1/3", "1/3", "1/3"], ["1/3", "1/3", "1/3"])],
    "coordination": [(["1", "0"], ["1", "0"]), (["0", "1"], ["0", "1"]), (["1/2", "1/2"], ["1/2", "1/2"])],
    "shapley": [(["1/3", "1/3", "1/3"], ["1/3", "1/3", "1/3"])],
}


@pytest.mark.parametrize("name", PRINTED)
def test_two_player_classics_have_the_payoffs_that_books_print(name: str) -> None:
    wanted = torch.tensor(PRINTED[name], dtype=torch.float64)
    assert torch.equal(make(name).payoffs, wanted)


@pytest.mark.parametrize("name", EQUILIBRIA)
def test_two_player_classics_have_their_known_equilibria_and_no_others(name: str) -> None:
    a, b = make(name).payoffs.tolist()
    found = {tuple(tuple(map(str, x)) for x in e.profile) for e in all_equilibria(a, b).equilibria}
    assert found == {tuple(map(tuple, profile)) for profile in EQUILIBRIA[name]}


def test_jordan_has_the_uniform_equilibrium_alone() -> None:
    game = make("jordan")
    assert not pure(game)
    assert float(game.exploitability(game.start())) == 0
    grid = torch.linspace(0, 1, 21, dtype=torch.float64)
    p, q, r = (x.reshape(-1) for x in torch.meshgrid(grid, grid, grid, indexing="ij"))
    gap = game.exploitability(tuple(torch.stack([x, 1 - x], -1) for x in (p, q, r)))
    assert [p[gap < 1e-9].tolist(), q[gap < 1e-9].tolist(), r[gap < 1e-9].tolist()] == [[0.5]] * 3


def test_hands_beat_half_of_the_others_and_losing_may_weigh_more() -> None:
    five = make("rock-paper-scissors", hands=5)
    beaten = {(a, b) for a in range(5) for b in range(5) if five.payoffs[0, a, b] == 1}
    names = ("rock", "paper", "scissors", "spock", "lizard")
    rule = "scissors paper,paper rock,rock lizard,lizard spock,spock scissors,scissors lizard,lizard paper,paper spock"
    wanted = {tuple(map(names.index, words.split())) for words in f"{rule},spock rock,rock scissors".split(",")}
    assert beaten == wanted
    assert five.actions[0] == names
    assert make("rock-paper-scissors", hands=3, win=0.1, loss=2).payoffs[:, 0, 1].tolist() == [-2, 0.1]


# A plain function of the profile for each parametrised classic: what pays whom, written a second time.
Plain = Callable[[tuple[int, ...]], list[float]]


def traveller(c: tuple[int, ...]) -> list[float]:
    low = 2 + min(c)
    bonus = 0 if c[0] == c[1] else 2
    return [low + bonus if own == min(c) else low - bonus for own in c]


def centipede(s: tuple[int, ...]) -> list[float]:
    moves, node = 4, 0
    while node < moves and s[node % 2] != node // 2:
        node += 1
    pile = [0.4 * 2**node, 0.1 * 2**node]
    return pile if node % 2 == 0 else pile[::-1]


def market(q: tuple[int, ...]) -> list[float]:
    price = max(0.0, 10 - sum(q))
    return [own * (price - 1) for own in q]


def bertrand(p: tuple[int, ...]) -> list[float]:
    low = min(p)
    return [(low - 2) * (10 - low) / p.count(low) if own == low else 0.0 for own in p]


def vendors(place: tuple[int, ...]) -> list[float]:
    sold = [0.0] * len(place)
    for customer in range(5):
        ways = [abs(customer - where) for where in place]
        for i, way in enumerate(ways):
            sold[i] += (way == min(ways)) / ways.count(min(ways))
    return sold


def guesses(g: tuple[int, ...]) -> list[float]:
    away = [abs(3 * own - Fraction(2, 3) * sum(g)) for own in g]
    return [(way == min(away)) / away.count(min(away)) for way in away]


def attrition(t: tuple[int, ...]) -> list[float]:
    return [4 * (0.5 if t[0] == t[1] else float(own == max(t))) - min(t) for own in t]


def dollar(t: tuple[int, ...]) -> list[float]:
    return [-1.0, -1.0] if t[0] == t[1] else [1.0 if own == min(t) else 0.0 for own in t]


FORMULAS: dict[str, Plain] = {
    "travelers-dilemma": traveller,
    "centipede": centipede,
    "minimum-effort": lambda e: [0.2 * (1 + min(e)) - 0.1 * (1 + own) + 0.6 for own in e],
    "public-goods": lambda c: [4 - own + 0.5 * sum(c) for own in c],
    "volunteers-dilemma": lambda a: [(2.0 if 0 in a else 0.0) - (own == 0) for own in a],
    "dispersion": lambda a: [float(a.count(own) == 1) for own in a],
    "cournot": market,
    "bertrand": bertrand,
    "location": vendors,
    "war-of-attrition": attrition,
    "grab-the-dollar": dollar,
    "guess-two-thirds": guesses,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_every_profile_pays_what_a_plain_function_says(name: str) -> None:
    game = make(name, high=12) if name == "travelers-dilemma" else make(name)
    profiles = list(itertools.product(*map(range, game.action_counts)))
    wanted = torch.tensor([FORMULAS[name](profile) for profile in profiles], dtype=torch.float64)
    torch.testing.assert_close(game.play(torch.tensor(profiles)), wanted, rtol=1e-14, atol=1e-14)


def later(count: int) -> set[tuple[int, ...]]:
    return {(0, t) for t in range(1, count)} | {(t, 0) for t in range(1, count)}


PURE: dict[str, set[tuple[int, ...]]] = {
    "travelers-dilemma": {(0, 0)},
    "centipede": {(0, 0)},
    "minimum-effort": {(e, e, e) for e in range(7)},
    "public-goods": {(0, 0, 0)},
    "volunteers-dilemma": {(0, 1, 1), (1, 0, 1), (1, 1, 0)},
    "dispersion": set(itertools.permutations(range(3))),
    "cournot": {(3, 3), (2, 4), (4, 2)},
    "bertrand": {(2, 2), (3, 3)},
    "location": {(2, 2)},
    "war-of-attrition": {(0, 4), (0, 5), (4, 0), (5, 0)},
    "grab-the-dollar": later(4),
    "guess-two-thirds": {(0, 0, 0)},
}


@pytest.mark.parametrize("name", PURE)
def test_parametrised_classics_have_their_known_pure_equilibria(name: str) -> None:
    assert pure(make(name)) == PURE[name]


@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_symmetric_equilibrium_of_the_volunteers_dilemma_is_diekmanns(n: int) -> None:
    game = make("volunteers-dilemma", player_count=n, benefit=5, cost=2)
    away = (2 / 5) ** (1 / (n - 1))
    x = torch.tensor([1 - away, away], dtype=torch.float64)
    assert float(game.exploitability((x,) * n)) == pytest.approx(0, abs=1e-14)
    assert float(game.exploitability((torch.tensor([0.9, 0.1]).double(),) * n)) > 0.01


@pytest.mark.parametrize("n", [2, 3, 5])
def test_cournot_firms_make_what_the_formula_says(n: int) -> None:
    game = make("cournot", player_count=n, intercept=3 * (n + 1) + 1, quantities=5)
    assert (3,) * n in pure(game)


def test_an_odd_centipede_ends_with_its_first_player() -> None:
    game = make("centipede", moves=3)
    assert game.action_counts == (3, 2)
    assert game.actions == (("take 1", "take 3", "pass"), ("take 2", "pass"))
    assert game.payoffs[:, 1, 1].tolist() == pytest.approx([1.6, 0.4])
    assert game.payoffs[:, 2, 1].tolist() == pytest.approx([0.8, 3.2])
    assert make("centipede", moves=1).action_counts == (2, 1)


@pytest.mark.parametrize(
    ("name", "field", "values"),
    [
        ("chicken", "crash", [0.0, -10.0]),
        ("rock-paper-scissors", "win", [1.0, 0.3]),
        ("jordan", "stake", [1.0, 3.0]),
        ("war-of-attrition", "second_prize", [1.0, 8.0]),
        ("centipede", "growth", [1.5, 3.0]),
        ("grab-the-dollar", "low", [-1.0, -7.0]),
        ("public-goods", "factor", [1.1, 2.9]),
    ],
)
def test_a_tensor_of_parameters_is_a_batch_of_games(name: str, field: str, values: list[float]) -> None:
    many = make(name, **{field: torch.tensor(values)})
    assert many.batch == (2,)
    for i, value in enumerate(values):
        one = make(name, **{field: float(torch.tensor(value))})
        assert torch.equal(many.payoffs[i], one.payoffs)
        assert torch.equal(many.exploitability(many.start())[i], one.exploitability(one.start()))


@pytest.mark.parametrize("name", DENSE)
def test_every_tensor_is_contiguous_float64_and_as_large_as_announced(name: str) -> None:
    game = gs.make(name)
    assert game.payoffs.shape == (len(game.action_counts), *game.action_counts)
    assert game.payoffs.dtype == torch.float64
    assert game.payoffs.is_contiguous()
    assert len(game.players) == len(game.actions) == len(game.action_counts)
    assert tuple(map(len, game.actions)) == game.action_counts
    single = gs.make(name, dtype="float32")
    assert torch.equal(single.payoffs, game.payoffs.float())


# --- random families ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DRAWN)
def test_a_batch_is_the_games_of_its_seeds_and_a_seed_is_one_game(name: str) -> None:
    many = make(name, seed=5, games=3)
    assert many.batch == (3,)
    for i in range(3):
        one = make(name, seed=5 + i)
        assert torch.equal(many.payoffs[i], one.payoffs)
        assert torch.equal(one.payoffs, make(name, seed=5 + i).payoffs)
    assert not torch.equal(many.payoffs[0], many.payoffs[1])


@pytest.mark.parametrize("name", [name for name in DRAWN if name not in ("zero-sum",)])
def test_families_have_any_number_of_players(name: str) -> None:
    game = make(name, player_count=4, action_count=2)
    assert game.payoffs.shape == (4, 2, 2, 2, 2)


@pytest.mark.parametrize("name", ["random", "common-interest", "potential", "covariant", "dominance-solvable"])
def test_players_may_have_different_numbers_of_actions(name: str) -> None:
    assert make(name, player_count=3, action_count=[2, 1, 4]).payoffs.shape == (3, 2, 1, 4)


def test_a_run_shares_no_numbers_with_the_game_of_its_seed() -> None:
    from gamesim.randomness import Stream

    drawn = make("random", seed=3, law="normal").payoffs.reshape(-1)
    assert not torch.isin(drawn, Stream(3).normal((1000,))).any()


def test_laws_have_their_means_and_spreads() -> None:
    uniform = make("random", games=4000).payoffs
    normal = make("random", games=4000, law="normal").payoffs
    for u, spread in ((uniform, math.sqrt(1 / 3)), (normal, 1.0)):
        n = u.numel()
        assert abs(float(u.mean())) < 4 * spread / math.sqrt(n)
        assert float(u.std()) == pytest.approx(spread, rel=4 / math.sqrt(n))
    assert float(uniform.abs().max()) < 1


def test_zero_sum_games_sum_to_zero_and_common_interests_agree() -> None:
    assert float(make("zero-sum", games=50, action_count=[2, 5]).payoffs.sum(1).abs().max()) == 0
    shared = make("common-interest", games=20, player_count=3).payoffs
    assert torch.equal(shared, shared[:, :1].expand_as(shared))


@pytest.mark.parametrize("counts", [(3, 3), (2, 3, 4)])
def test_a_potential_says_what_every_deviation_brings(counts: tuple[int, ...]) -> None:
    n = len(counts)
    game = make("potential", player_count=n, action_count=counts, seed=1)
    for i in range(n):
        gained = game.payoffs[i] - game.payoffs[i].select(i, 0).unsqueeze(i)
        added = game.potential - game.potential.select(i, 0).unsqueeze(i)
        torch.testing.assert_close(gained, added, rtol=0, atol=1e-14)
    assert pure(game) >= {tuple(map(int, torch.unravel_index(game.potential.argmax(), counts)))}
    assert not torch.allclose(game.payoffs[0], game.payoffs[1])
    same = make("potential", player_count=n, action_count=counts, externality=0)
    assert torch.equal(same.payoffs[0], same.payoffs[1])


@pytest.mark.parametrize(("n", "rho"), [(2, -1.0), (2, 0.5), (3, -0.5), (3, 0.0), (4, 0.9), (5, 1.0)])
def test_covariant_payoffs_have_their_correlation(n: int, rho: float) -> None:
    u = make("covariant", player_count=n, rho=rho, action_count=2, games=3000).payoffs
    rows = u.movedim(1, 0).reshape(n, -1)
    size = rows.shape[1]
    assert float(rows.mean(1).abs().max()) < 5 / math.sqrt(size)
    assert float((rows.var(1) - 1).abs().max()) < 5 * math.sqrt(2 / size)
    for i, j in itertools.combinations(range(n), 2):
        found = float(torch.corrcoef(rows[[i, j]])[0, 1])
        assert abs(found - rho) <= 5 * (1 - rho**2) / math.sqrt(size) + 1e-12
    if rho * (n - 1) == -1:
        assert float(rows.sum(0).abs().max()) < 1e-12


@pytest.mark.parametrize(("n", "actions"), [(2, 3), (2, 6), (3, 3), (4, 2)])
def test_dominance_leaves_the_only_pure_equilibrium_and_takes_several_rounds(n: int, actions: int) -> None:
    several = 0
    for u in make("dominance-solvable", player_count=n, action_count=actions, games=30).payoffs:
        left = undominated(u.numpy())
        assert [len(kept) for kept in left] == [1] * n
        (only,) = pure_equilibria(u)
        assert only.strict
        assert only.profile == tuple(kept[0] for kept in left)
        several += not all(once(u, i).all() for i in range(n))
    assert several > 10


def once(u: Tensor, player: int) -> Tensor:
    """Which actions but the best one are strictly dominated in the whole game."""
    own = u[player].movedim(player, 0).flatten(1)
    dominated = (own[:, None] < own[None]).all(-1).any(1)
    return dominated.sort(descending=True).values[:-1]


def test_dominance_solvable_games_of_unequal_sizes() -> None:
    for u in make("dominance-solvable", player_count=3, action_count=[2, 5, 1], games=20).payoffs:
        assert [len(kept) for kept in undominated(u.numpy())] == [1, 1, 1]


@pytest.mark.parametrize(("n", "actions"), [(2, 2), (2, 3), (2, 7), (3, 2), (3, 4), (5, 2)])
def test_cyclic_games_have_no_pure_equilibrium(n: int, actions: int) -> None:
    for u in make("cyclic", player_count=n, action_count=actions, games=25).payoffs:
        assert not pure_equilibria(u)


def test_best_replies_of_a_cyclic_game_visit_every_action() -> None:
    a, b = make("cyclic", action_count=5).payoffs
    column, visited = 0, []
    for _ in range(5):
        row = int(a[:, column].argmax())
        visited.append(row)
        column = int(b[row].argmax())
    assert sorted(visited) == list(range(5))


@pytest.mark.parametrize("n", [2, 3])
def test_choosing_the_same_is_a_strict_equilibrium_of_random_coordination(n: int) -> None:
    for u in make("random-coordination", player_count=n, action_count=3, games=10).payoffs:
        strict = {e.profile for e in pure_equilibria(u) if e.strict}
        assert strict >= {(a,) * n for a in range(3)}


def test_votes_are_counted() -> None:
    game = make("majority-voting", player_count=4, action_count=3, seed=2)
    for profile in itertools.product(range(3), repeat=4):
        winner = max(range(3), key=lambda c: (profile.count(c), -c))
        assert torch.equal(game.payoffs[(slice(None), *profile)], game.payoffs[(slice(None), *[winner] * 4)])
    assert len(game.payoffs.unique()) == 12


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("prisoners-dilemma", {"temptation": 3}, "temptation: got 3.0, expected a number above reward, which is 3.0"),
        ("prisoners-dilemma", {"sucker": "nan"}, "sucker: got 'nan', expected a finite number"),
        ("chicken", {"crash": torch.tensor([0.0, 2.0])}, "sucker: .* above crash"),
        ("battle-of-the-sexes", {"apart": 2}, "other: got 2.0, expected a number above apart"),
        ("rock-paper-scissors", {"hands": 4}, "hands: got 4, expected an odd number from 3 to 4,999"),
        ("coordination", {"rewards": "[]"}, r"rewards: got \[\], expected a number for each action"),
        ("travelers-dilemma", {"low": 5, "high": 5}, "high: got 5, expected a number above low, which is 5"),
        ("travelers-dilemma", {"high": 10**6}, "payoffs: got .2.0e.12 numbers .*, expected at most 100,000,000"),
        ("centipede", {"growth": 4}, "large: got 0.4, expected a number above growth x small"),
        ("public-goods", {"factor": 3}, "factor: got 3.0, expected a number between 1 and the 3 players"),
        ("minimum-effort", {"player_count": 21}, "player_count: got 21, expected a whole number from 2 to 20"),
        ("minimum-effort", {"player_count": 12}, "payoffs: got .1.7e.11 numbers"),
        ("random", {"action_count": 0}, "action_count: got 0, expected a whole number from 1 to 100,000"),
        ("random", {"action_count": [2, 3, 4]}, r"action_count: got \[2, 3, 4\], expected 2 numbers"),
        ("random", {"action_count": 100, "games": 10**7}, "payoffs: got .2.0e.11 numbers .*10000000 games"),
        ("random", {"games": 0}, "games: got 0, expected a whole number from 1"),
        ("random", {"seed": -1}, "seed: got -1, expected a whole number from 0"),
        ("random", {"law": "cauchy"}, "law: got 'cauchy', expected one of normal, uniform"),
        ("covariant", {"player_count": 3, "rho": -0.6}, "rho: got -0.6, expected a number from -1/2 to 1 for 3"),
        ("covariant", {"rho": 1.1}, "rho: got 1.1, expected a number from -1 to 1"),
        ("cyclic", {"action_count": 1}, r"action_count: got \[1, 1\], expected the same number for every player, 2"),
        ("cyclic", {"action_count": [2, 3]}, r"action_count: got \[2, 3\], expected the same number"),
        ("majority-voting", {"action_count": [2, 2, 3]}, "the same number for every voter"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(name: str, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        make(name, **parameters)


def test_what_is_too_large_is_refused_before_memory_is_taken() -> None:
    import tracemalloc

    tracemalloc.start()
    try:
        for name, parameters in (
            ("random", {"player_count": 20, "action_count": 100_000}),
            ("volunteers-dilemma", {"player_count": 20, "benefit": torch.arange(2.0, 100.0)}),
        ):
            with pytest.raises(InvalidInput, match="payoffs"):
                make(name, **parameters)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


# --- PettingZoo and OpenSpiel ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["jordan", "battle-of-the-sexes", "centipede"])
@pytest.mark.parametrize("rounds", [1, 3])
def test_a_game_as_an_environment_and_back_is_itself(name: str, rounds: int) -> None:
    env = as_pettingzoo(make(name), rounds=rounds)
    assert torch.equal(tabulate_pettingzoo(env).payoffs, make(name).payoffs)


@pytest.mark.filterwarnings("ignore")  # pygame and PettingZoo warn of one another
def test_the_environment_passes_pettingzoos_own_test(capsys: pytest.CaptureFixture[str]) -> None:
    from pettingzoo.test import parallel_api_test

    parallel_api_test(as_pettingzoo(make("minimum-effort"), rounds=4), num_cycles=50)
    assert "Passed" in capsys.readouterr().out


def test_agents_observe_the_last_round_and_the_game_ends() -> None:
    env = as_pettingzoo(make("prisoners-dilemma"), rounds=2)
    observed, _ = env.reset()
    assert observed["1"].tolist() == [0, 0]
    observed, rewards, over, cut, _ = env.step({"1": 1, "2": 0})
    assert (observed["2"].tolist(), rewards, over) == ([2, 1], {"1": 5.0, "2": 0.0}, {"1": False, "2": False})
    over = env.step({"1": 0, "2": 0})[2]
    assert over == {"1": True, "2": True}
    assert cut == {"1": False, "2": False}
    assert env.agents == []
    with pytest.raises(InvalidInput, match=r"expected reset\(\) first"):
        env.step({"1": 0, "2": 0})
    env.reset()
    with pytest.raises(InvalidInput, match=r"actions\['2'\]: got 2, expected a whole number from 0 to 1"):
        env.step({"1": 0, "2": 2})
    with pytest.raises(InvalidInput, match="rounds: got 0"):
        as_pettingzoo(make("chicken"), rounds=0)
    with pytest.raises(InvalidInput, match="not a batch"):
        as_pettingzoo(make("random", games=2))


def test_an_environment_that_throws_dice_is_refused() -> None:
    env = as_pettingzoo(make("chicken"))
    luck = iter(range(100))
    env.game = type("Dice", (MatrixGame,), {"play": lambda self, actions: torch.full((2,), float(next(luck)))})(
        make("chicken").payoffs
    )
    with pytest.raises(InvalidInput, match="expected rewards that follow from the actions alone"):
        tabulate_pettingzoo(env)


@pytest.mark.filterwarnings("ignore")  # pygame and PettingZoo warn of one another
def test_pettingzoos_rock_paper_scissors_is_ours() -> None:
    pytest.importorskip("pygame", reason="PettingZoo's rps_v2 imports pygame, which is not installed")
    for hands in (3, 5, 7):
        theirs = pettingzoo_classic("rps_v2", num_actions=hands)
        assert torch.equal(theirs.payoffs, make("rock-paper-scissors", hands=hands).payoffs)


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    monkeypatch.delitem(sys.modules, "pettingzoo.classic.rps.rps", raising=False)
    monkeypatch.delitem(sys.modules, "pettingzoo.classic.rps_v2", raising=False)
    with pytest.raises(MissingExtra, match=r"pettingzoo.classic.rps_v2 needs pygame: pip install"):
        pettingzoo_classic("rps_v2")
    with pytest.raises(InvalidInput, match=r"name: got 'nothing', expected a module of pettingzoo.classic"):
        pettingzoo_classic("nothing")
    monkeypatch.setitem(sys.modules, "pyspiel", None)
    with pytest.raises(MissingExtra, match=r"from_openspiel\(\) needs OpenSpiel: pip install 'gamesim\[peers\]'"):
        from_openspiel("matrix_rps")


def test_openspiels_games_are_ours() -> None:
    pytest.importorskip("pyspiel", reason="OpenSpiel is not installed (pip install open_spiel)")
    for theirs, ours in (
        ("matrix_bos", "battle-of-the-sexes"),
        ("matrix_rps", "rock-paper-scissors"),
        ("matrix_mp", "matching-pennies"),
        ("matrix_sh", "stag-hunt"),
        ("matrix_coordination", "coordination"),
    ):
        assert torch.equal(from_openspiel(theirs).payoffs, make(ours).payoffs), theirs
    assert from_openspiel("matrix_sh").actions[0] == ("Stag", "Hare")
    blotto = from_openspiel("blotto(coins=3,fields=2,players=3)")
    assert blotto.action_counts == (4, 4, 4)
    assert float(blotto.payoffs.sum(0).abs().max()) == 0
    kuhn = from_openspiel("kuhn_poker")
    assert kuhn.action_counts == (64, 64)
    assert float(kuhn.exploitability(kuhn.start())) == pytest.approx(11 / 12)
    for name in ("nonsense", "chess", "leduc_poker"):
        with pytest.raises(InvalidInput, match="game: got"):
            from_openspiel(name)


def test_wins_follow_one_another_around_the_circle() -> None:
    """Each hand loses to the next one, whatever their number."""
    u = make("rock-paper-scissors", hands=9).payoffs[0]
    assert all(u[b, a] == 1 for a, b in pairwise(range(9)))
    assert u.sum(0).abs().max() == 0
