"""What must not change, or must change along, when a game is written down differently: thousands of random games.

Payoffs are shifted and scaled, players, actions, states, positions, agents and latents get other numbers, an action is
added that nobody would play. CI takes 200 games of each kind, `pytest -m slow tests/test_metamorphic.py` takes 2,000.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim.attention import Layout
from gamesim.equilibria.bimatrix import all_equilibria
from gamesim.equilibria.correlated import correlated_equilibrium
from gamesim.equilibria.shapley import solve_shapley
from gamesim.equilibria.supports import support_enumeration
from gamesim.equilibria.zero_sum import solve_zero_sum
from gamesim.games import MatrixGame, Policy, StochasticGame
from gamesim.games.latent_tables import TabularWorld
from gamesim.graphons import Empirical
from gamesim.networks import Network
from gamesim.networks.stateless import Stateless
from gamesim.parameters import convert
from gamesim.randomness import Stream
from little_worlds import Little
from random_games import Tables, drawn_tables, laws, numbers

COUNTS = pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.slow)])
SHAPES = pytest.mark.parametrize("counts", [(3, 4), (2, 3, 2), (6, 6)], ids=str)


def drawn(count: int, *counts: int) -> tuple[np.random.Generator, Tensor, Policy]:
    """Payoffs u[game, player, a1, ..., an], a policy of each game, and more luck."""
    draw = numbers(73, count, *counts)
    u = torch.from_numpy(draw.normal(size=(count, len(counts), *counts)))
    return draw, u, tuple(torch.from_numpy(laws(draw, count, c)) for c in counts)


def made(u: Tensor) -> MatrixGame:
    return MatrixGame(u, player_count=u.shape[1])


def near(x: Tensor, y: Tensor, by: float = 1e-10) -> None:
    assert x.shape == y.shape
    assert float((x - y).abs().max()) <= by


def orders(draw: np.random.Generator, counts: tuple[int, ...]) -> list[Tensor]:
    return [torch.from_numpy(draw.permutation(c)) for c in counts]


def reordered(u: Tensor, new: list[Tensor]) -> Tensor:
    """The same games with action new[i][a] of player i called a."""
    for i, order in enumerate(new):
        u = u.index_select(2 + i, order)
    return u


def seated(u: Tensor, seats: list[int]) -> Tensor:
    """The same games with player seats[i] called i."""
    return u[:, seats].movedim([2 + s for s in seats], list(range(2, 2 + len(seats)))).contiguous()


# --- exploitability, regrets and values of games played once --------------------------------------------------------


@COUNTS
@SHAPES
def test_exploitability_is_never_negative_and_zero_where_an_equilibrium_was_built(
    count: int, counts: tuple[int, ...]
) -> None:
    _, u, x = drawn(count, *counts)
    assert float(made(u).regrets(x).min()) >= -1e-12
    n, values = len(counts), made(u).values(x)
    built = u.clone()
    for i, v in enumerate(values):  # every action pays the same against x, those that x leaves out pay less
        less = v + torch.where(x[i] > 0, 0.0, 1.0)
        built[:, i] -= less.reshape(count, *[1] * i, counts[i], *[1] * (n - 1 - i))
    assert float(made(built).exploitability(x).abs().max()) <= 1e-12
    for lam in (0.1, 1.0):
        assert float(made(u).regrets(x, lam).min()) >= -1e-12


@COUNTS
@SHAPES
def test_what_the_others_do_may_pay_more_and_units_may_change(count: int, counts: tuple[int, ...]) -> None:
    draw, u, x = drawn(count, *counts)
    n, values, regrets = len(counts), made(u).values(x), made(u).regrets(x)
    c = torch.from_numpy(draw.normal(size=(count, n)) * 10)
    shifted = u + c.reshape(count, n, *[1] * n)
    near(made(shifted).regrets(x), regrets)
    for v, w, by in zip(made(shifted).values(x), values, c.unbind(1), strict=True):
        near(v, w + by[:, None])
    granted = u.clone()  # a gift that depends on what the others play
    for i in range(n):
        shape = [count, *(1 if j == i else counts[j] for j in range(n))]
        granted[:, i] += torch.from_numpy(draw.normal(size=shape))
    near(made(granted).regrets(x), regrets)
    unit = torch.from_numpy(draw.uniform(0.1, 10, size=(count, n)))
    scaled = u * unit.reshape(count, n, *[1] * n)
    near(made(scaled).regrets(x), regrets * unit)
    near(made(8 * u).regrets(x, 0.8), 8 * made(u).regrets(x, 0.1))


@COUNTS
@SHAPES
def test_actions_and_players_may_have_other_numbers(count: int, counts: tuple[int, ...]) -> None:
    draw, u, x = drawn(count, *counts)
    game, new = made(u), orders(draw, counts)
    renamed, y = made(reordered(u, new)), tuple(p[:, o] for p, o in zip(x, new, strict=True))
    near(renamed.regrets(y, 0.3), game.regrets(x, 0.3))
    for v, w, o in zip(renamed.values(y), game.values(x), new, strict=True):
        near(v, w[:, o])
    seats = draw.permutation(len(counts)).tolist()
    moved, z = made(seated(u, seats)), tuple(x[s] for s in seats)
    near(moved.regrets(z, 0.3), game.regrets(x, 0.3)[:, seats])
    near(moved.exploitability(z), game.exploitability(x))
    for i, s in enumerate(seats):
        near(moved.values(z)[i], game.values(x)[s])


def with_a_bad_action(u: Tensor, draw: np.random.Generator) -> Tensor:
    """One more action for player 1 that pays less than another whatever the rest do; the others are paid anything."""
    extra = torch.from_numpy(draw.normal(size=(*u.shape[:2], 1, *u.shape[3:])))
    extra[:, 0] = u[:, 0, :1] - torch.from_numpy(draw.uniform(0.1, 1, size=extra[:, 0].shape))
    return torch.cat([u, extra], 2)


@COUNTS
@SHAPES
def test_an_action_that_is_dominated_changes_no_exploitability(count: int, counts: tuple[int, ...]) -> None:
    draw, u, x = drawn(count, *counts)
    more = made(with_a_bad_action(u, draw))
    y = (torch.nn.functional.pad(x[0], (0, 1)), *x[1:])
    near(more.regrets(y), made(u).regrets(x))
    played = (0.9 * y[0] + 0.1 * torch.eye(counts[0] + 1, dtype=torch.float64)[-1], *x[1:])
    assert float(more.regrets(played)[:, 0].min()) >= 0.1 * 0.1 - 1e-12  # and whoever plays it could do better


# --- equilibria -----------------------------------------------------------------------------------------------------


@COUNTS
@pytest.mark.parametrize("counts", [(3, 4), (6, 6), (1, 5)], ids=str)
def test_values_of_zero_sum_games(count: int, counts: tuple[int, int]) -> None:
    draw, u, _ = drawn(count, *counts)
    A = u[:, 0]
    value = solve_zero_sum(A).value
    near(solve_zero_sum(3 * A - 7).value, 3 * value - 7, 1e-7)
    near(solve_zero_sum(-A.mT).value, -value, 1e-7)  # the players change places
    new = orders(draw, counts)
    near(solve_zero_sum(A[:, new[0]][:, :, new[1]]).value, value, 1e-8)
    more = with_a_bad_action(u, draw)[:, 0]
    found = solve_zero_sum(more)
    near(found.value, value, 1e-8)
    assert float(found.row[:, -1].max()) < 1e-6
    near(solve_zero_sum(torch.cat([A, A.mean(1, keepdim=True)], 1)).value, value, 1e-8)  # a mixture of its rows
    assert float((solve_zero_sum(torch.cat([A, u[:, 1, :1]], 1)).value - value).min()) > -1e-8  # more to choose from


def profiles(found: Any) -> list[list[float]]:
    """All equilibria, player after player, in an order of their own."""
    return sorted(np.concatenate(e.probabilities).round(9).tolist() for e in found.equilibria)


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_equilibria_move_with_their_game(count: int) -> None:
    draw = numbers(79)
    for u in draw.integers(-99, 100, size=(count, 2, 3, 3)).astype(float):
        A, B = u
        here = profiles(all_equilibria(A, B))
        assert here == profiles(all_equilibria(2 * A + draw.integers(-9, 10, size=3), B * 4 + 5))
        rows, columns = draw.permutation(3), draw.permutation(3)
        renamed = profiles(all_equilibria(A[rows][:, columns], B[rows][:, columns]))
        assert sorted([*np.array(e[:3])[rows], *np.array(e[3:])[columns]] for e in here) == renamed
        assert sorted(e[3:] + e[:3] for e in here) == profiles(all_equilibria(B.T, A.T))
        more = np.r_[A, A[:1] - draw.integers(1, 9, size=(1, 3))], np.r_[B, draw.integers(-99, 100, size=(1, 3))]
        assert sorted([*e[:3], 0.0, *e[3:]] for e in here) == profiles(all_equilibria(*more))
        supports = support_enumeration(A, B)
        assert not supports.complete or profiles(supports) == here


@pytest.mark.parametrize("count", [40, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["correlated", "coarse"])
def test_correlated_equilibria_move_with_their_game(kind: Any, count: int) -> None:
    draw = numbers(83)
    for u in draw.normal(size=(count, 2, 3, 3)):
        best, least = (correlated_equilibrium(u, kind=kind, sense=sense).value for sense in ("max", "min"))
        c = draw.normal(size=2)
        assert correlated_equilibrium(2 * u + c[:, None, None], kind=kind).value == pytest.approx(2 * best + c.sum())
        assert least <= best + 1e-9
        rows, columns = draw.permutation(3), draw.permutation(3)
        assert correlated_equilibrium(u[:, rows][:, :, columns], kind=kind).value == pytest.approx(best)
        assert correlated_equilibrium(u[::-1].transpose(0, 2, 1).copy(), kind=kind).value == pytest.approx(best)
        assert correlated_equilibrium(u[::-1].transpose(0, 2, 1).copy(), "player:1", kind=kind).value == pytest.approx(
            correlated_equilibrium(u, "player:0", kind=kind).value
        )
        if kind == "correlated":
            more = with_a_bad_action(torch.from_numpy(u)[None], draw)[0].numpy()
            found = correlated_equilibrium(more)
            assert found.value == pytest.approx(best)
            assert float(found.distribution[-1].sum()) < 1e-7


# --- trajectories ---------------------------------------------------------------------------------------------------


def trajectory(solver: Any, game: Any, steps: int = 6) -> list[Policy]:
    state = solver.init(game)
    found = [state.policy]
    for t in range(steps):
        state = solver.step(t, game, state, Stream(0, t))
        found.append(state.policy)
    return found


def same(one: list[Policy], other: list[Policy], by: float = 1e-9) -> None:
    for x, y in zip(one, other, strict=True):
        for p, q in zip(x, y, strict=True):
            near(p, q, by)
    assert any(float((p - q).abs().max()) > 1e-3 for p, q in zip(one[0], one[-1], strict=True)), "nothing moves"


LEADERS = [f"ftrl(leader={leader})" for leader in ("optimistic", "extra-gradient", "generalized")]
REGULARIZERS = [f"ftrl(regularizer={each})" for each in ("entropic", "euclidean", "tsallis(0.5)", "log-barrier")]
STEPPED = [*REGULARIZERS, *LEADERS, "online-mirror-descent()", "replicator()"]
PROJECTED = [f"extragradient(variant={each})" for each in ("extragradient", "past", "reflected", "optimistic")]
OTHERS = [
    "fictitious-play()",
    "fictitious-play(temperature=0.3)",
    "best-response-dynamics(rate=0.3)",
    "policy-mirror-descent(step_size=0.4, temperature=0.2)",
]
ALL = [*STEPPED, *PROJECTED, *OTHERS]


def solver_of(text: str, **more: Any) -> Any:
    """A solver as it would be typed: name(field=value, ...)."""
    name, _, rest = text.rstrip(")").partition("(")
    fields = dict(part.split("=", 1) for part in rest.split(", ") if part)
    fields = {key: value + ")" * (value.count("(") - value.count(")")) for key, value in fields.items()}
    return gs.make_solver(name, **fields, **more)


def step_of(text: str) -> float:
    return 0.4 if "log-barrier" not in text else 2.0


@COUNTS
@pytest.mark.parametrize("text", ALL)
def test_a_trajectory_is_renamed_with_its_game(text: str, count: int) -> None:
    counts = (2, 3, 2)
    draw, u, _ = drawn(count, *counts)
    solver = solver_of(text, **({"step_size": step_of(text)} if text in (*STEPPED, *PROJECTED) else {}))
    here, new = trajectory(solver, made(u)), orders(draw, counts)
    renamed = [tuple(p[:, o] for p, o in zip(x, new, strict=True)) for x in here]
    same(renamed, trajectory(solver, made(reordered(u, new))))
    seats = [2, 0, 1]
    same([tuple(x[s] for s in seats) for x in here], trajectory(solver, made(seated(u, seats))))


@COUNTS
@pytest.mark.parametrize("text", ALL)
def test_a_constant_for_each_player_leaves_trajectories_as_they_are(text: str, count: int) -> None:
    _, u, _ = drawn(count, 2, 3, 2)
    solver = solver_of(text, **({"step_size": step_of(text)} if text in (*STEPPED, *PROJECTED) else {}))
    shifted = u + torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64).reshape(1, 3, 1, 1, 1)
    same(trajectory(solver, made(u)), trajectory(solver, made(shifted)))


@COUNTS
@pytest.mark.parametrize("text", [*STEPPED, *PROJECTED])
def test_larger_payoffs_with_smaller_steps_are_the_same_trajectory(text: str, count: int) -> None:
    _, u, _ = drawn(count, 2, 3, 2)
    step = step_of(text)
    here = trajectory(solver_of(text, step_size=step), made(u))
    same(here, trajectory(solver_of(text, step_size=step / 8), made(8 * u)))


@COUNTS
def test_entropy_in_larger_units_is_the_same_trajectory(count: int) -> None:
    _, u, _ = drawn(count, 2, 3, 2)
    one = gs.make_solver("policy-mirror-descent", step_size=0.4, temperature=0.2)
    large = gs.make_solver("policy-mirror-descent", step_size=0.4 / 8, temperature=0.2 * 8)
    same(trajectory(one, made(u)), trajectory(large, made(8 * u)))
    one, large = (gs.make_solver("fictitious-play", temperature=x) for x in (0.3, 2.4))
    same(trajectory(one, made(u)), trajectory(large, made(8 * u)))
    same(
        trajectory(gs.make_solver("fictitious-play"), made(u)),
        trajectory(gs.make_solver("fictitious-play"), made(8 * u)),
    )


# --- stochastic games -----------------------------------------------------------------------------------------------


def stochastic(count: int) -> tuple[np.random.Generator, dict[str, Any], Policy]:
    draw = numbers(89, count)
    law = draw.dirichlet(np.ones(4), (count, 4, 2, 3))
    tables = {
        "reward": draw.normal(size=(count, 2, 4, 2, 3)),
        "transition": law,
        "initial": draw.dirichlet(np.ones(4), count),
    }
    x = tuple(torch.from_numpy(laws(draw, count, 4, c)) for c in (2, 3))
    return draw, {name: torch.from_numpy(t) for name, t in tables.items()}, x


def played(tables: dict[str, Any]) -> StochasticGame:
    return StochasticGame(**tables, discount=0.8, player_count=2)


GRADIENTS = [
    "policy-gradient()",
    "policy-gradient(projection=eager)",
    "policy-gradient(parametrization=softmax)",
    "policy-gradient(natural=true)",
    "policy-gradient(leader=optimistic)",
]


@COUNTS
def test_states_may_have_other_numbers(count: int) -> None:
    draw, tables, x = stochastic(count)
    game, o = played(tables), torch.from_numpy(draw.permutation(4))
    law = tables["transition"][:, o][..., o]
    renamed = played({"reward": tables["reward"][:, :, o], "transition": law, "initial": tables["initial"][:, o]})
    y = tuple(p[:, o] for p in x)
    near(renamed.state_values(y, 0.2), game.state_values(x, 0.2)[..., o])
    near(renamed.gains(y, 0.2), game.gains(x, 0.2)[..., o])
    near(renamed.exploitability(y), game.exploitability(x))
    near(renamed.occupancy(y), game.occupancy(x)[..., o])
    for text in GRADIENTS:
        solver = solver_of(text, step_size=0.2)
        moved = [tuple(p[:, o] for p in each) for each in trajectory(solver, game)]
        same(moved, trajectory(solver, renamed))


@COUNTS
def test_actions_players_and_units_of_stochastic_games(count: int) -> None:
    draw, tables, x = stochastic(count)
    game, (a, b) = played(tables), orders(draw, (2, 3))
    R, P = tables["reward"], tables["transition"]
    renamed = played(tables | {"reward": R[:, :, :, a][..., b], "transition": P[:, :, a][:, :, :, b]})
    y = (x[0][..., a], x[1][..., b])
    near(renamed.gains(y), game.gains(x))
    swapped = played(tables | {"reward": R.flip(1).transpose(-1, -2), "transition": P.transpose(-2, -3)})
    near(swapped.gains(x[::-1]), game.gains(x).flip(1))
    shifted = played(tables | {"reward": R + 3})  # 3 in every step, 3 / (1 - 0.8) in all
    near(shifted.state_values(x), game.state_values(x) + 15)
    near(shifted.gains(x), game.gains(x))
    scaled = played(tables | {"reward": 4 * R})
    near(scaled.gains(x, 0.8), 4 * game.gains(x, 0.2))
    assert float(game.gains(x).min()) >= -1e-12
    worse = R[:, :, :, :1].clone()
    worse[:, 0] -= 0.5
    more = played(tables | {"reward": torch.cat([R, worse], 3), "transition": torch.cat([P, P[:, :, :1]], 2)})
    near(more.gains((torch.nn.functional.pad(x[0], (0, 1)), x[1])), game.gains(x))  # as the first, but for 0.5 less
    for text in GRADIENTS:
        solver = solver_of(text, step_size=0.2)
        here = trajectory(solver, game)
        same([(p[..., a], q[..., b]) for p, q in here], trajectory(solver, renamed))
        same([(q, p) for p, q in here], trajectory(solver, swapped))
        same(here, trajectory(solver_of(text, step_size=0.05), scaled))
        same(here, trajectory(solver, shifted))


@pytest.mark.parametrize("count", [20, pytest.param(2000, marks=pytest.mark.slow)])
def test_values_of_zero_sum_stochastic_games(count: int) -> None:
    draw, tables, _ = stochastic(count)
    R, P = tables["reward"][:, 0], tables["transition"]
    tables = tables | {"reward": torch.stack([R, -R], 1)}
    value = solve_shapley(played(tables)).values
    o = torch.from_numpy(draw.permutation(4))
    renamed = {"reward": tables["reward"][:, :, o], "transition": P[:, o][..., o], "initial": tables["initial"][:, o]}
    near(solve_shapley(played(renamed)).values, value[:, o], 3e-6)
    other = torch.stack([-R, R], 1).transpose(-1, -2)
    near(solve_shapley(played(tables | {"reward": other, "transition": P.transpose(-2, -3)})).values, -value, 3e-6)
    near(solve_shapley(played(tables | {"reward": 2 * tables["reward"]})).values, 2 * value, 6e-6)


# --- graphon games --------------------------------------------------------------------------------------------------


@COUNTS
def test_positions_of_a_network_may_have_other_numbers(count: int) -> None:
    K, H, S, A = 5, 3, 2, 3
    draw = numbers(97)
    tables = drawn_tables(draw, count, K, S, A)
    edges = np.triu(draw.integers(0, 2, size=(K, K)), 1)
    adjacency = (edges + edges.T).astype(float)
    pi, o = torch.from_numpy(laws(draw, count, H, K, S, A)), draw.permutation(K)

    def game(order: Any, **more: Any) -> Tables:
        network = Empirical(adjacency[np.ix_(order, order)])
        return Tables(
            horizon=H,
            graphon=network,
            quadrature="block",
            tables=tables | {"initial": tables["initial"][:, order]} | more,
        )

    one, other = game(np.arange(K)), game(o)
    here, there = (pi,), (pi[:, :, o],)
    near(other.flow(there), one.flow(here)[:, :, o])
    near(other.gains(there, 0.2), one.gains(here, 0.2)[:, o])
    near(other.exploitability(there), one.exploitability(here))
    assert float(one.gains(here).min()) >= -1e-12
    richer = game(np.arange(K), base=tables["base"] + 2)  # 2 in each of 3 steps
    near(richer.gains(here, 0.2), one.gains(here, 0.2))
    near(richer.values(here, one.flow(here)).v[:, 0], one.values(here, one.flow(here)).v[:, 0] + 6)
    scaled = game(np.arange(K), base=4 * tables["base"], slope=4 * tables["slope"])
    near(scaled.gains(here, 0.8), 4 * one.gains(here, 0.2))
    names = torch.tensor([2, 0, 1])  # actions, too
    acted = game(
        np.arange(K),
        base=tables["base"][..., names],
        slope=tables["slope"][:, :, names],
        one=tables["one"][:, :, names],
        other=tables["other"][:, :, names],
    )
    near(acted.gains((pi[..., names],)), one.gains(here))
    for text in ("online-mirror-descent()", "gmfg-ppo(averaging=0.3)", "policy-mirror-descent()", "fictitious-play()"):
        solver = solver_of(text)
        moved = [(p[:, :, o],) for (p,) in trajectory(solver, one)]
        same(moved, trajectory(solver, other))
        same([(p[..., names],) for (p,) in trajectory(solver, one)], trajectory(solver, acted))
        same(trajectory(solver, one), trajectory(solver, richer))


# --- sets and latent worlds -----------------------------------------------------------------------------------------


@COUNTS
@pytest.mark.parametrize("text", ["set-transformer(width=8, heads=2, blocks=1)", "deep-sets(width=8)", "gcn(width=8)"])
def test_networks_do_not_know_the_numbers_of_agents(text: str, count: int) -> None:
    agents, draw = 6, numbers(101)
    network: Network = convert(text, Network, "network")
    x = torch.from_numpy(draw.normal(size=(count, agents, 4)))
    order, layout = torch.from_numpy(draw.permutation(agents)), Layout.of([agents] * count)
    rows, shuffled = x.flatten(0, 1), x[:, order].flatten(0, 1)
    for pooled in (True, False):
        f = Stateless(network.module(4, 3, pooled=pooled, most=agents))
        weights, acting = f.draw((), Stream(1), torch.float64), torch.arange(count * agents)
        one, other = f(weights, rows, layout, acting), f(weights, shuffled, layout, acting)
        if pooled:
            near(other, one, 1e-9)
        else:
            near(other.unflatten(0, (count, agents)), one.unflatten(0, (count, agents))[:, order], 1e-9)


@dataclass(frozen=True, kw_only=True)
class Renamed(TabularWorld):
    """Another world with its latents and subgoals in another order."""

    world: Little
    latent_order: tuple[int, ...]
    subgoal_order: tuple[int, ...]
    truth: int | str = "prior"
    about = "somewhere"

    def __post_init__(self) -> None: ...

    @property
    def horizon(self) -> int:  # type: ignore[override]
        return self.world.horizon

    @cached_property
    def order(self) -> list[int]:
        return list(self.latent_order)

    @property
    def transition(self) -> Tensor:
        return self.world.transition[self.order][:, :, list(self.subgoal_order)]

    @property
    def emission(self) -> Tensor:
        return self.world.emission[self.order]

    @property
    def initial(self) -> Tensor:
        return self.world.initial[self.order]

    @property
    def reward(self) -> Tensor:
        return self.world.reward

    @property
    def prior(self) -> Tensor:
        return self.world.prior[self.order]

    @property
    def task_law(self) -> Tensor:
        return self.world.task_law

    @property
    def latents(self) -> tuple[str, ...]:
        return tuple(self.world.latents[z] for z in self.order)

    @property
    def tasks(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.world.tasks

    @property
    def subgoals(self) -> tuple[str, ...]:
        return tuple(self.world.subgoals[g] for g in self.subgoal_order)

    @property
    def observations(self) -> tuple[str, ...]:
        return self.world.observations


@pytest.mark.parametrize("count", [20, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("hidden", [False, True])
def test_latents_and_subgoals_may_have_other_numbers(hidden: bool, count: int) -> None:
    for seed in range(count):
        world = Little(hidden=hidden, seed=seed, horizon=2)
        draw = numbers(103, seed)
        latents, subgoals = draw.permutation(3).tolist(), draw.permutation(2).tolist()
        other = Renamed(world=world, latent_order=tuple(latents), subgoal_order=tuple(subgoals))
        near(other.value, world.value[latents])
        assert other.distinguishability() == pytest.approx(world.distinguishability(), abs=1e-12)
        assert other.coverage == pytest.approx(world.coverage)
        reports = torch.from_numpy(draw.integers(len(world.observations), size=3))
        said = torch.from_numpy(draw.integers(2, size=(2, 1)))
        task = torch.tensor(seed % 2)
        here, there = world.meet(world.believe(), reports[0]), other.meet(other.believe(), reports[0])
        for h in range(2):
            near(there.posterior, here.posterior[latents])
            chosen = torch.tensor(subgoals)[other.experts(h, task, there)]  # in the words of the first
            assert torch.equal(chosen, world.experts(h, task, here)[latents])
            again = torch.tensor([subgoals.index(int(said[h]))])
            here = world.update(h, here, said[h], reports[h + 1])
            there = other.update(h, there, again, reports[h + 1])
        near(there.posterior, here.posterior[latents])
