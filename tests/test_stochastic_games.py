"""Environments of stochastic games: closed forms, rules by brute force, promised properties, and what is refused."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim.envs.matrix.classics import PrisonersDilemma
from gamesim.envs.matrix.many import RandomPolymatrix
from gamesim.envs.stochastic.climate import Climate
from gamesim.envs.stochastic.commons import Fishery, Resource
from gamesim.envs.stochastic.congestion import DistancingCongestion
from gamesim.envs.stochastic.constructed import Constructed
from gamesim.envs.stochastic.families import (
    PotentialStochastic,
    RandomStochastic,
    Team,
    ZeroSumStochastic,
    distinct,
)
from gamesim.envs.stochastic.grids import GridCoordination
from gamesim.envs.stochastic.repeated import Repeated
from gamesim.envs.stochastic.soccer import Soccer
from gamesim.envs.stochastic.table import MOVES, merged, rounded
from gamesim.envs.stochastic.two_state import TwoState
from gamesim.errors import InvalidInput
from gamesim.games import MatrixGame, Policy, Sparse, StochasticGame, TabularGame
from gamesim.randomness import Stream
from gamesim.testing import check_game

NORTH, EAST, SOUTH, WEST, STAND = range(5)
KINDS = ("strict", "interior", "partial", "duplicate", "unvisited")
GAMES: dict[str, Callable[[], Any]] = {
    "two-state": TwoState,
    "random": RandomStochastic,
    "random, sparse": lambda: RandomStochastic(state_count=6, branching=2, action_count=(1, 2, 3), player_count=3),
    "random, one player": lambda: RandomStochastic(player_count=1),
    "random, stopping": lambda: RandomStochastic(stop=0.3, discount=1.0, rewards="normal"),
    "random, many": lambda: RandomStochastic(games=3, branching=2),
    "zero-sum": ZeroSumStochastic,
    "team": Team,
    "potential": PotentialStochastic,
    "potential, not controlled": lambda: PotentialStochastic(controlled=False, branching=2, games=2),
    "soccer": lambda: Soccer(rows=2, columns=3),
    "soccer that stops": lambda: Soccer(rows=3, columns=2, after_goal="stop"),
    "crossed": GridCoordination,
    "shared": lambda: GridCoordination(task="shared", barrier=0.5, noise=0.1),
    "meet": lambda: GridCoordination(task="meet", rows=2, columns=2, noise=torch.tensor([0.1, 0.2])),
    "three walkers": lambda: GridCoordination(player_count=3, rows=2, task="shared"),
    "congestion": DistancingCongestion,
    "congestion, many": lambda: DistancingCongestion(player_count=2, penalty=torch.tensor([1.0, 2.0])),
    "fishery": Fishery,
    "resource": Resource,
    "climate": Climate,
    "climate, many": lambda: Climate(rate=torch.tensor([0.1, 0.9]), player_count=3, action_count=3, tipping=None),
    "repeated": Repeated,
    "repeated, long memory": lambda: Repeated(game="matrix/zero-sum", memory=2),
    "repeated, many": lambda: Repeated(game=MatrixGame(torch.rand(4, 2, 2, 3, generator=torch.Generator()))),
    **{kind: lambda kind=kind: Constructed(built=kind, action_count=3, player_count=3) for kind in KINDS},
}


def drawn(game: TabularGame, seed: int = 0) -> Policy:
    """A random policy."""
    stream = Stream(seed)
    weight = [-stream.uniform(x.shape).log() for x in game.start()]
    return tuple((w / w.sum(-1, keepdim=True)).to(**game.like) for w in weight)


def pure(game: TabularGame, *actions: Callable[[int], int] | int) -> Policy:
    """The policy in which player i plays actions[i], a number or a function of the state."""
    rows = [[a if isinstance(a, int) else a(s) for s in range(game.state_count)] for a in actions]
    one_hot = torch.nn.functional.one_hot
    return tuple(one_hot(torch.tensor(r), c).to(**game.like) for r, c in zip(rows, game.action_counts, strict=True))


def dense(game: TabularGame) -> Tensor:
    """P[..., s, a1, ..., an, t]."""
    return as_dense(game.transition, game.state_count)


def as_dense(transition: Tensor | Sparse, states: int) -> Tensor:
    if isinstance(transition, Tensor):
        return transition
    to, p = torch.broadcast_tensors(transition.successors, transition.probabilities)
    return p.new_zeros(*p.shape[:-1], states).scatter_add_(-1, to, p)


def close(a: Any, b: Any, tolerance: float = 1e-10) -> None:
    b = torch.as_tensor(b, dtype=torch.float64)
    torch.testing.assert_close(
        torch.as_tensor(a).double(), b.expand_as(torch.as_tensor(a)), rtol=tolerance, atol=tolerance
    )


# --- every environment ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GAMES)
def test_an_environment_is_a_game_that_stops(name: str) -> None:
    game = GAMES[name]()
    check_game(game)
    assert len(game.players) == len(game.action_counts)
    assert tuple(map(len, game.actions)) == tuple(game.action_counts)
    assert len(set(game.states)) == game.state_count
    total = dense(game).sum(-1)
    assert bool((total <= 1 + 1e-12).all())
    close(game.stopping, 1 - game.discount * total)
    assert float(game.stopping.min()) > 0
    close(game.initial.sum(-1), 1.0)
    assert game.reward.dtype == torch.float64


@pytest.mark.parametrize("name", GAMES)
def test_tables_of_an_environment_are_a_stochastic_game_of_the_same_values(name: str) -> None:
    game = GAMES[name]()
    n = len(game.action_counts)
    plain = StochasticGame(game.reward, dense(game), game.initial, game.discount, player_count=n)
    policy = drawn(game)
    for mine, other in (
        (game.state_values(policy), plain.state_values(policy)),
        (game.occupancy(policy), plain.occupancy(policy)),
        (game.exploitability(policy), plain.exploitability(policy)),
    ):
        close(mine, other, 1e-8)


@pytest.mark.parametrize("name", ["random", "soccer", "shared", "fishery", "repeated", "partial"])
def test_online_mirror_descent_runs_on_environments(name: str) -> None:
    result = gs.solve(GAMES[name](), gs.make_solver("online-mirror-descent"), iterations=3)
    assert bool(result.exploitability.isfinite().all())


@pytest.mark.parametrize(
    "make",
    [
        TwoState,
        lambda **k: RandomStochastic(branching=2, player_count=3, **k),
        lambda **k: ZeroSumStochastic(rewards="normal", **k),
        Team,
        PotentialStochastic,
        lambda **k: PotentialStochastic(controlled=False, **k),
        *[lambda kind=kind, **k: Constructed(built=kind, branching=3, **k) for kind in KINDS],
    ],
)
def test_a_game_of_a_batch_is_the_game_of_its_seed_alone(make: Callable[..., Any]) -> None:
    many, alone = make(games=4, seed=5), make(seed=7)
    close(many.reward.expand(4, *alone.reward.shape)[2], alone.reward, 1e-14)
    assert torch.equal(dense(many)[2], dense(alone))
    assert many.batch == (4,)
    if hasattr(alone, "equilibrium"):
        assert all(torch.equal(x[2], y) for x, y in zip(many.equilibrium, alone.equilibrium, strict=True))
    assert not torch.equal(dense(many)[1], dense(many)[2])


@pytest.mark.parametrize(
    ("make", "name", "values"),
    [
        (GridCoordination, "noise", (0.0, 0.3)),
        (GridCoordination, "barrier", (0.2, 0.5)),
        (GridCoordination, "prize", (1.0, 7.0)),
        (GridCoordination, "collision", (0.0, 7.0)),
        (DistancingCongestion, "penalty", (0.0, 7.0)),
        (Resource, "cost", (0.0, 0.5)),
        (Climate, "rate", (0.1, 0.9)),
        (Climate, "recovery", (0.1, 0.9)),
        (Climate, "damage", (0.1, 9.0)),
        (Climate, "benefit", (0.1, 9.0)),
    ],
)
def test_a_parameter_that_is_a_tensor_makes_a_batch(make: Any, name: str, values: tuple[float, ...]) -> None:
    many = make(**{name: torch.tensor(values, dtype=torch.float64)})
    assert many.batch == (2,)
    for k, value in enumerate(values):
        alone = make(**{name: value})
        policy = drawn(alone)
        close(many.state_values(policy)[k], alone.state_values(policy), 1e-9)


def test_tables_in_float32_are_those_of_float64_rounded() -> None:
    game, exact = Constructed(dtype="float32"), Constructed()
    assert game.like["dtype"] == game.equilibrium[0].dtype == torch.float32
    torch.testing.assert_close(game.reward.double(), exact.reward, rtol=1e-6, atol=1e-6)
    assert float(game.exploitability(game.equilibrium)) < 1e-5


# --- two states and random families ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [0.5, 0.25, 1.0])
def test_two_states_have_the_values_of_their_closed_form(stop: float) -> None:
    game = TwoState(stop=stop, games=5)
    close(dense(game).sum(-1), 1 - stop)
    close(game.payoffs_of(game.start()), 0.65 / stop)
    close(game.exploitability(game.start()), 2 * 0.35 / stop)
    close(game.state_values(game.equilibrium), 1 / stop)
    close(game.exploitability(game.equilibrium), 0.0)
    for q in game.values(game.equilibrium):
        close(q[..., 0] - q[..., 1], 0.7)


def test_the_law_of_two_states_is_uniform() -> None:
    share = dense(TwoState(games=4000))[..., 0] / 0.5
    edges = torch.linspace(0, 1, 11, dtype=torch.float64)
    counts = torch.histogram(share.flatten(), edges).hist
    expected = share.numel() / 10
    assert float(((counts - expected) ** 2 / expected).sum()) < 27.9  # 99.9% of chi-square with 9 degrees of freedom


@pytest.mark.parametrize("branching", [1, 2, 5, None])
def test_random_states_lead_to_as_many_others_as_asked(branching: int | None) -> None:
    game = RandomStochastic(state_count=5, branching=branching, stop=0.2, games=20)
    table = dense(game)
    assert bool(((table > 0).sum(-1) == (branching or 5)).all())
    close(table.sum(-1), 0.8)
    assert isinstance(game.transition, Sparse) == (branching in (1, 2))


def test_successors_are_different_and_all_sets_are_as_likely() -> None:
    found = distinct(Stream(3).uniform((12000, 2)), 4).sort(-1).values
    assert bool((found[:, 0] != found[:, 1]).all())
    counts = torch.bincount(found[:, 0] * 4 + found[:, 1], minlength=16)
    counts = counts[counts > 0].double()
    assert len(counts) == 6
    assert float(((counts - 2000) ** 2 / 2000).sum()) < 20.5  # 99.9% of chi-square with 5 degrees of freedom


def test_zero_sum_and_team_games_are_what_they_say() -> None:
    assert ZeroSumStochastic().zero_sum
    assert not RandomStochastic().zero_sum
    values = ZeroSumStochastic(games=3).state_values(drawn(ZeroSumStochastic(games=3)))
    close(values.sum(-2), 0.0)
    team = Team(player_count=3, action_count=(2, 3, 1))
    assert torch.equal(team.reward[0], team.reward[2])


@pytest.mark.parametrize("branching", [None, 2])
@pytest.mark.parametrize("controlled", [True, False])
@pytest.mark.parametrize("discount", [0.9, 1.0])
def test_what_a_player_gains_by_another_policy_it_adds_to_the_potential(
    controlled: bool, branching: int | None, discount: float
) -> None:
    game = PotentialStochastic(
        player_count=3,
        action_count=(2, 3, 2),
        controlled=controlled,
        branching=branching,
        stop=0.3,
        discount=discount,
        games=4,
    )
    before, other = drawn(game, 1), drawn(game, 2)
    for i in range(3):
        after = (*before[:i], other[i], *before[i + 1 :])
        gained = (game.state_values(after) - game.state_values(before))[..., i, :]
        close(gained, game.potential(after) - game.potential(before), 1e-9)
    spread = game.reward - game.reward.mean(-5, keepdim=True)
    assert float(spread.abs().max()) > 0.1  # players differ: it is no team


def test_without_externality_a_potential_game_is_the_team() -> None:
    for controlled in (True, False):
        assert torch.equal(PotentialStochastic(externality=0.0, controlled=controlled).reward, Team().reward)
    uncontrolled = dense(PotentialStochastic(controlled=False))
    assert bool((uncontrolled == uncontrolled[:, :1, :1]).all())


# --- soccer ---------------------------------------------------------------------------------------------------------


def soccer_by_hand(game: Soccer, state: tuple[int, int, int], moves: tuple[int, int], first: int) -> tuple[Any, int]:
    """The situation after both moves, or None after a goal, and A's points: the rules, one line after another."""
    rows, columns = game.rows, game.columns
    cells, ball = [divmod(state[0], columns), divmod(state[1], columns)], state[2]
    for me in (first, 1 - first):
        other = 1 - me
        r, c = cells[me][0] + MOVES[moves[me]][0], cells[me][1] + MOVES[moves[me]][1]
        middle = {rows // 2, (rows - 1) // 2}
        if ball == me and r in middle and c == (-1 if me == 0 else columns):
            return None, 1 if me == 0 else -1
        if (r, c) == cells[other]:
            ball = other
        elif 0 <= r < rows and 0 <= c < columns:
            cells[me] = (r, c)
    return (cells[0][0] * columns + cells[0][1], cells[1][0] * columns + cells[1][1], ball), 0


@pytest.mark.parametrize("after_goal", ["restart", "stop"])
@pytest.mark.parametrize(("rows", "columns"), [(2, 3), (3, 4), (4, 2)])
def test_soccer_follows_its_rules(rows: int, columns: int, after_goal: Any) -> None:
    game = Soccer(rows=rows, columns=columns, after_goal=after_goal)
    situations = [tuple(x) for x in game.situations.tolist()]
    number = {situation: s for s, situation in enumerate(situations)}
    assert len(number) == game.state_count == 2 * rows * columns * (rows * columns - 1)
    start = [number[*game.first_cells, ball] for ball in (0, 1)]
    table, points = torch.zeros(game.state_count, 5, 5, game.state_count).double(), torch.zeros(game.state_count, 5, 5)
    for s, a, b, first in itertools.product(range(game.state_count), range(5), range(5), range(2)):
        after, point = soccer_by_hand(game, situations[s], (a, b), first)
        points[s, a, b] += point / 2
        if after is not None:
            table[s, a, b, number[after]] += 0.5
        elif after_goal == "restart":
            table[s, a, b, start] += 0.25
    close(dense(game), table)
    close(game.reward, torch.stack([points, -points]))


def test_littmans_soccer_has_his_board() -> None:
    game = Soccer()
    assert (game.state_count, game.action_counts, game.discount) == (760, (5, 5), 0.9)
    assert [divmod(cell, 5) for cell in game.first_cells] == [(2, 3), (1, 1)]
    assert game.zero_sum
    assert sorted(game.states[int(s)] for s in game.initial.nonzero()) == ["A 3,4 B 2,2*", "A 3,4* B 2,2"]
    assert game.transition.successors.shape[-1] <= 4


def test_soccer_looks_the_same_from_both_sides() -> None:
    """Half a turn of the board swaps the players: who is in the other's place has the other's value."""
    game = Soccer()
    last = game.rows * game.columns - 1
    a, b, ball = game.situations.unbind(-1)
    turned = game.state_of(last - b, last - a, 1 - ball)
    opposite = torch.tensor([SOUTH, WEST, NORTH, EAST, STAND])
    x = drawn(game)[0]
    values = game.state_values((x, x[turned][:, opposite]))
    close(values[0], -values[0][turned], 1e-9)
    close(game.payoffs_of((x, x[turned][:, opposite])), 0.0, 1e-9)


def test_an_open_goal_is_worth_a_point_and_the_kick_off() -> None:
    """With the ball before the goal A scores at once; the game starts again with a value of 0 by symmetry."""
    game = Soccer(rows=2, columns=3)
    s = int(game.state_of(torch.tensor(0), torch.tensor(5), torch.tensor(0)))
    assert game.reward[0, s, WEST].tolist() == [1.0] * 5
    close(game.state_values(pure(game, WEST, STAND))[0, s], 1 + 0.9 * game.payoffs_of(pure(game, WEST, STAND))[0])


# --- grids ----------------------------------------------------------------------------------------------------------


def walked_by_hand(
    game: GridCoordination, cells: tuple[int, ...], moves: tuple[int, ...]
) -> tuple[list[int], list[float]]:
    """Cells after a step that nobody fails, and payments."""
    n, columns, goals = game.player_count, game.columns, game.goals
    want = list[int]()
    for cell, move in zip(cells, moves, strict=True):
        r, c = cell // columns + MOVES[move][0], cell % columns + MOVES[move][1]
        want.append(r * columns + c if 0 <= r < game.rows and 0 <= c < columns else cell)
    if game.task == "meet":
        return want, [float(game.prize) * (len(set(want)) == 1)] * n
    paid, hit = [0.0] * n, set[int]()
    while True:
        bad = set[int]()
        for i, j in itertools.permutations(range(n), 2):
            same = want[i] == want[j] and not (want[i] == goals[i] == goals[j])
            if same or (want[i], want[j]) == (cells[j], cells[i]):
                bad.add(i)
        hit |= bad
        sent = [cells[i] if i in bad else want[i] for i in range(n)]
        if sent == want:
            break
        want = sent
    for i in range(n):
        paid[i] = float(game.prize) * (want[i] == goals[i]) - float(game.collision) * (i in hit)
    return want, paid


@pytest.mark.parametrize(
    "game",
    [
        GridCoordination(),
        GridCoordination(task="shared"),
        GridCoordination(task="meet", rows=2),
        GridCoordination(player_count=3, rows=2, task="crossed"),
        GridCoordination(player_count=3, rows=2, task="shared"),
    ],
    ids=lambda game: f"{game.task}, {game.player_count}",
)
def test_walkers_follow_the_rules(game: GridCoordination) -> None:
    situations = [tuple(x) for x in game.situations.tolist()]
    number = {cells: s for s, cells in enumerate(situations)}
    table, n = dense(game), game.player_count
    for s, moves in itertools.product(range(0, len(situations), 3), itertools.product(range(5), repeat=n)):
        after, paid = walked_by_hand(game, situations[s], moves)
        assert game.reward[(slice(None), s, *moves)].tolist() == paid
        ended = any(cell == goal for cell, goal in zip(after, game.goals, strict=True))
        row = table[(s, *moves)]
        assert float(row.sum()) == (0.0 if ended else 1.0)
        assert ended or float(row[number[tuple(after)]]) == 1.0


def test_a_step_fails_by_noise_and_at_the_barrier() -> None:
    game = GridCoordination(noise=0.2, barrier=0.5, task="shared")
    start = game.state_of(*game.first_cells)
    row = dense(game)[start, NORTH, STAND]
    close(row[game.state_of(3, 8)], 0.8 * 0.5)
    close(row[start], 1 - 0.8 * 0.5)
    close(dense(game)[game.state_of(3, 8), NORTH, STAND, game.state_of(0, 8)], 0.8)


def test_grid_game_1_has_the_equilibrium_of_its_source() -> None:
    """Both walk along edges that do not meet and arrive with the fourth step, as soon as one can."""
    game = GridCoordination()
    row, column = (torch.arange(9) // 3).tolist(), (torch.arange(9) % 3).tolist()
    situations = game.situations.tolist()
    first = pure(game, lambda s: EAST if column[situations[s][0]] < 2 else NORTH, lambda s: 0)[0]
    second = pure(game, lambda s: 0, lambda s: NORTH if row[situations[s][1]] > 0 else WEST)[1]
    close(game.payoffs_of((first, second)), 100 * 0.99**3)
    close(game.exploitability((first, second)), 0.0)


def test_grid_game_2_has_the_equilibrium_of_its_source() -> None:
    """One goes round through the middle, the other through the barrier and arrives as soon half of the time."""
    game = GridCoordination(task="shared", barrier=0.5)
    situations = game.situations.tolist()
    first = pure(game, lambda s: EAST if situations[s][0] % 3 == 0 else NORTH, lambda s: 0)[0]
    second = pure(game, lambda s: 0, lambda s: NORTH if situations[s][1] // 3 > 0 else WEST)[1]
    close(game.payoffs_of((first, second)), torch.tensor([1.0, 0.5]).double() * 100 * 0.99**2)
    close(game.regrets((first, second))[0], 0.0)


def test_to_meet_is_a_team() -> None:
    game = GridCoordination(task="meet", player_count=3, rows=2, noise=0.1)
    assert torch.equal(game.reward[0], game.reward[2])
    together = game.state_of(4, 4, 4)
    close(game.state_values(pure(game, STAND, STAND, STAND))[:, together], 100 / 0.01, 1e-9)


# --- congestion and commons -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("players", "weights"), [(4, (1.0, 2.0, 4.0, 6.0)), (3, (-1.0, -2.0)), (8, (1.0, 3.0))])
def test_states_of_the_congestion_game_have_rosenthals_potential(players: int, weights: tuple[float, ...]) -> None:
    game = DistancingCongestion(player_count=players, weights=weights)
    phi = game.potential()
    for i in range(players):
        gained = game.reward[i].diff(dim=1 + i)
        close(gained, phi.diff(dim=i).expand_as(gained))
    assert game.reward.shape == (players, 2, *[len(weights)] * players)


def test_crowds_bring_distancing_and_spreading_ends_it() -> None:
    game = DistancingCongestion()
    table = dense(game)
    for profile, from_safe, from_distancing in (
        ((0, 1, 2, 3), 0, 0),
        ((3, 3, 3, 1), 1, 1),
        ((3, 3, 1, 1), 0, 1),
    ):
        assert table[:, *profile].argmax(-1).tolist() == [from_safe, from_distancing]
    assert game.reward[:, 0, 3, 3, 3, 1].tolist() == [18.0, 18.0, 18.0, 2.0]
    assert game.reward[:, 1, 3, 3, 3, 1].tolist() == [-82.0, -82.0, -82.0, -98.0]


def test_the_congestion_game_of_the_paper_has_its_size() -> None:
    game = DistancingCongestion(player_count=8)
    assert game.reward.shape == (8, 2, *[4] * 8)
    everybody_apart = tuple(sorted([0, 1, 2, 3] * 2))
    assert dense(game)[(1, *everybody_apart)].tolist() == [1.0, 0.0]


def fish_value(x: Tensor, own: float, all_: float, growth: float, discount: float) -> Tensor:
    """A + B log x, B = 1 / (1 - growth discount), solved for a fisher who always takes its share."""
    b = 1 / (1 - growth * discount)
    a = (math.log(own) + discount * b * growth * math.log(1 - all_)) / (1 - discount)
    return a + b * x.log()


def test_fishery_has_the_values_of_levhari_and_mirman() -> None:
    game = Fishery(shares=(0.1, 0.3), player_count=2)
    values = game.state_values(pure(game, 0, 1))
    close(values[0], fish_value(game.stock, 0.1, 0.4, 0.5, 0.9))
    close(values[1], fish_value(game.stock, 0.3, 0.4, 0.5, 0.9))


@pytest.mark.parametrize("players", [1, 2, 3])
def test_the_great_fish_war_ends_where_its_closed_form_says(players: int) -> None:
    def game(shares: tuple[float, ...]) -> Fishery:
        return Fishery(player_count=players, shares=shares, lowest=0.01, levels=6)

    war, peace = game((0.1,)).competitive_share, game((0.1,)).cooperative_share
    assert (war > peace + 0.01) == (players > 1)
    shares = tuple(sorted({war, peace, 0.9 * war, 1.1 * war, 0.05}))
    found = game(shares)
    everyone = [pure(found, *[shares.index(x)] * players) for x in (war, peace)]
    close(found.gains(everyone[0]), 0.0)
    assert players == 1 or float(found.regrets(everyone[1]).min()) > 0.01
    better = found.payoffs_of(everyone[1]) - found.payoffs_of(everyone[0])
    assert players == 1 or bool((better > 0.01).all())


def test_units_of_the_pool_are_shared_and_grow() -> None:
    game = Resource(cost=0.0, rate=0.5, capacity=10, most=3)
    table, pool = dense(game), torch.arange(11.0).double()
    for x, a, b in itertools.product(range(11), range(4), range(4)):
        served = min(1.0, x / (a + b)) if a + b else 0.0
        close(game.reward[:, x, a, b], torch.tensor([a * served, b * served], dtype=torch.float64))
        left = x - (a + b) * served
        close((table[x, a, b] * pool).sum(), min(10.0, left + 0.5 * left * (1 - left / 10)))
        assert int((table[x, a, b] > 1e-12).sum()) <= 2
    assert table[2, 3, 3].tolist() == [1.0] + [0.0] * 10
    close(game.state_values(pure(game, 3, 3))[:, 4], 2.0)  # a last share, then nothing for ever
    assert game.state_values(pure(game, 0, 0)).abs().max() == 0


def test_the_climate_warms_and_recovers_short_of_the_tipping_point() -> None:
    game = Climate()
    table = dense(game)
    for level, a, b in itertools.product(range(5), range(2), range(2)):
        mean = (a + b) / 2
        up, down = 0.6 * mean * (level < 4), 0.3 * (1 - mean) * (0 < level < 3)
        wanted = torch.zeros(5).double()
        wanted[level] = 1 - up - down
        wanted[min(level + 1, 4)] += up
        wanted[max(level - 1, 0)] += down
        close(table[level, a, b], wanted)
        close(game.reward[:, level, a, b], torch.tensor([a, b]) - 4 * (level / 4) ** 2)
    lost = game.state_values(pure(game, 0, 0))[:, 3]
    close(lost, -4 * (3 / 4) ** 2 / 0.05)  # beyond the tipping point nothing recovers
    close(game.state_values(pure(game, 1, 1))[:, 4], (1 - 4) / 0.05)


# --- repeated games -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("discount", [0.3, 0.5, 0.9])
def test_grim_trigger_is_an_equilibrium_from_the_folk_theorems_discount_on(discount: float) -> None:
    game = Repeated(discount=discount)  # reward 3, temptation 5, punishment 1
    kind = {game.state_of(): 0, game.state_of((0, 0)): 0}
    grim = pure(game, *[lambda s: kind.get(s, 1)] * 2)
    close(game.payoffs_of(grim), 3 / (1 - discount))
    gain = max(0.0, 5 + discount / (1 - discount) - 3 / (1 - discount))
    close(game.regrets(grim), gain)
    assert (gain < 1e-12) == (discount >= (5 - 3) / (5 - 1))


def test_tit_for_tat_answers_a_defection_for_ever_with_turns() -> None:
    game = Repeated(discount=0.8)
    policy = pure(game, lambda s: (s - 1) % 2 if s else 0, lambda s: (s - 1) // 2 if s else 0)
    close(game.payoffs_of(policy), 3 / 0.2)
    once = game.state_of((1, 0))  # the first has defected: now 0, 5, 0, 5, ... and 5, 0, 5, 0, ...
    values = game.state_values(policy)[:, once]
    close(values, torch.tensor([0.8 * 5, 5.0]).double() / (1 - 0.64))


@pytest.mark.parametrize("memory", [0, 1, 2, 3])
def test_states_of_a_repeated_game_are_what_was_played(memory: int) -> None:
    game = Repeated(game="matrix/battle-of-the-sexes", memory=memory)
    assert game.state_count == sum(4**k for k in range(memory + 1))
    table, profiles = game.transition.successors[..., 0], list(itertools.product(range(2), repeat=2))
    for length in range(memory + 1):
        for rounds in itertools.product(profiles, repeat=length):
            for profile in profiles:
                assert int(table[(game.state_of(*rounds), *profile)]) == game.state_of(*rounds, profile)
    assert game.states[0] == "start"


def test_a_repeated_game_takes_any_normal_form_game() -> None:
    harsh = Repeated(game=PrisonersDilemma(temptation=9.0))
    assert harsh.reward[0, 3, 1, 0] == 9.0
    many = Repeated(game=RandomPolymatrix(player_count=3, action_count=2, games=2), memory=1)
    assert many.reward.shape == (2, 3, 9, 2, 2, 2)
    policy = drawn(many)
    start = tuple(x[..., 0, :] for x in policy)
    once = Repeated(game=many.game, memory=0)
    close(once.payoffs_of(tuple(x[..., :1, :] for x in policy)), many.game.payoffs_of(start) / 0.1)


# --- constructed equilibria -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("branching", [None, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_constructed_equilibria_are_what_they_are_said_to_be(kind: Any, branching: int | None) -> None:
    game = Constructed(built=kind, state_count=4, action_count=(3, 2), branching=branching, games=20, margin=0.2)
    policy = game.equilibrium
    close(game.gains(policy), 0.0, 1e-12)
    values, visits = game.state_values(policy), game.occupancy(policy)
    for i, (x, q) in enumerate(zip(policy, game.values(policy), strict=True)):
        gap = values[..., i, :, None] - q
        close(gap[x > 0], 0.0, 1e-12)
        close(x.sum(-1), 1.0)
        other = gap[x == 0]
        copies = int((other.abs() < 1e-12).sum())
        assert copies == (20 if kind == "duplicate" and i == 0 else 0)
        assert not len(other) or float(other[other > 1e-12].min()) > 0.2 - 1e-12
        played = (x > 0).sum(-1)
        wanted = {"interior": [x.shape[-1]] * 4, "partial": [2, 2, 1, 1]}.get(kind, [1] * 4)
        assert bool((played == torch.tensor(wanted)).all())
    assert bool((visits[..., :3] > 0).all())
    assert bool((visits[..., 3] == 0).all()) == (kind == "unvisited")


@pytest.mark.parametrize("branching", [None, 1])
def test_deviations_may_come_where_the_equilibrium_never_is(branching: int | None) -> None:
    game = Constructed(built="unvisited", branching=branching, state_count=3, games=10)
    assert bool((game.occupancy(game.start())[..., -1] > 0).any())
    close(dense(game).sum(-1), 0.5)


def test_a_duplicate_action_is_the_other_in_all_but_its_name() -> None:
    for branching in (None, 2):
        game = Constructed(built="duplicate", action_count=(3, 2), branching=branching)
        best = int(game.equilibrium[0][0].argmax())
        second = (best + 1) % 3
        assert torch.equal(game.reward[:, 0, best], game.reward[:, 0, second])
        assert torch.equal(dense(game)[0, best], dense(game)[0, second])


def test_no_policy_of_one_player_beats_a_constructed_equilibrium() -> None:
    """All pure stationary deviations, one after another: what policy iteration says, without it."""
    game = Constructed(built="interior", state_count=3, action_count=2)
    policy = game.equilibrium
    for i in range(2):
        for actions in itertools.product(range(2), repeat=3):
            deviation = torch.eye(2).double()[list(actions)]
            payoffs = game.payoffs_of((*policy[:i], deviation, *policy[i + 1 :]))
            close(payoffs[i], game.payoffs_of(policy)[i])


# --- parts and refusals ---------------------------------------------------------------------------------------------


def test_merged_outcomes_are_the_same_law() -> None:
    stream = Stream(1)
    to = (stream.uniform((50, 6)) * 5).long() - 1
    p = stream.uniform((50, 6)) / 6
    found = as_dense(merged(to, p), 4)
    wanted = torch.zeros(50, 5).double().scatter_add_(-1, to + 1, p)[:, 1:]
    close(found, wanted)
    assert merged(torch.tensor([[2, 2, 2]]), torch.tensor([0.5, 0.25, 0.25])).successors.tolist() == [[2]]


def test_rounded_levels_keep_the_mean() -> None:
    values = torch.tensor([0.0, 0.25, 1.5, 3.0, -2.0, 7.0]).double()
    found = rounded(values, 4)
    close((found.successors * found.probabilities).sum(-1), values.clamp(0, 3))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TwoState(stop=0.0), "stop: got 0"),
        (lambda: TwoState(games=0), "games: got 0"),
        (lambda: RandomStochastic(branching=9), "branching: got 9, expected at most 5"),
        (lambda: RandomStochastic(discount=1.0), "discount: got 1.0, expected a number below 1, or stop above 0"),
        (lambda: RandomStochastic(action_count=(2, 2, 2)), "action_count: got \\[2, 2, 2\\], expected 2 numbers"),
        (lambda: RandomStochastic(state_count=100_000, action_count=9), "tables: got .*e.*numbers .100,000 states"),
        (lambda: RandomStochastic(player_count=20, action_count=50), "tables: got"),
        (lambda: PotentialStochastic(externality=float("nan")), "externality: got nan"),
        (lambda: Soccer(columns=1), "columns: got 1, expected at least 2"),
        (lambda: Soccer(rows=1), "rows: got 1, expected at least 2"),
        (lambda: Soccer(rows=1000, columns=1000), "tables: got"),
        (lambda: Soccer(discount=1.0), "discount: got 1.0"),
        (lambda: GridCoordination(player_count=4), "columns: got 3, expected at least 4"),
        (lambda: GridCoordination(rows=1), "rows: got 1"),
        (lambda: GridCoordination(rows=30, columns=30, player_count=3), "tables: got '7.3e\\+11 outcomes"),
        (lambda: GridCoordination(noise=1.5), "noise: got 1.5"),
        (
            lambda: GridCoordination(noise=torch.zeros(2), prize=torch.zeros(3)),
            "prize: got .*shapes.* expected tensors of parameters that broadcast",
        ),
        (lambda: GridCoordination().state_of(4, 4), "cells: got \\[4, 4\\]"),
        (lambda: DistancingCongestion(weights=()), "weights: got 'an empty list'"),
        (lambda: DistancingCongestion(spread=0.9), "spread: got 0.9, expected at most crowd"),
        (lambda: DistancingCongestion(player_count=20), "tables: got"),
        (lambda: Fishery(shares=()), "shares: got 'an empty list'"),
        (lambda: Fishery(shares=(0.5,)), "shares: got \\[0.5\\], expected shares below 1 / 2"),
        (lambda: Fishery(lowest=0.0), "lowest: got 0"),
        (lambda: Resource(capacity=0), "capacity: got 0"),
        (lambda: Climate(tipping=5), "tipping: got 5, expected a level below 5, or none"),
        (lambda: Repeated(game="bandits/bernoulli"), "game: got 'bandits/bernoulli', expected a normal-form game"),
        (lambda: Repeated(game="matrix/prisoner"), "did you mean"),
        (lambda: Repeated(memory=14), "tables: got .* states, 4 joint actions"),
        (lambda: Repeated().state_of((0, 2)), "rounds: got \\(0, 2\\)"),
        (lambda: Repeated().state_of((0,)), "rounds: got \\(0,\\)"),
        (lambda: Constructed(built="unvisited", state_count=1), "state_count: got 1, expected at least 2"),
        (lambda: Constructed(built="interior", action_count=1), "action_count: got \\[1, 1\\]"),
        (lambda: Constructed(built="duplicate", action_count=(1, 3)), "action_count: got \\[1, 3\\]"),
        (lambda: Constructed(built="odd"), "built"),
        (lambda: Constructed(margin=0.0), "margin: got 0"),
    ],
)
def test_what_makes_no_game_is_refused_before_any_work(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        make()
