"""Second-order stationarity: verdicts against how games are made, numbers by brute force and finite differences."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from gamesim.certificates.candidates import at_rest, candidates
from gamesim.certificates.departures import depart
from gamesim.certificates.faces import on_face, slopes
from gamesim.certificates.moduli import moduli
from gamesim.certificates.second_order import as_policy, certify_policies, certify_policy
from gamesim.certificates.standing import slow, stand
from gamesim.envs.stochastic.constructed import Constructed
from gamesim.envs.stochastic.families import PotentialStochastic, RandomStochastic, ZeroSumStochastic
from gamesim.envs.stochastic.two_state import TwoState
from gamesim.equilibria.stationary import pure_stationary
from gamesim.errors import InvalidInput
from gamesim.games import Policy, StochasticGame, TabularGame
from gamesim.randomness import Stream

SHAPE: dict[str, Any] = {"state_count": 3, "action_count": (3, 2), "games": 12}


def one_state(first: list[list[float]], second: list[list[float]], stop: float = 0.5) -> StochasticGame:
    """A matrix game that is played again with probability 1 - stop."""
    reward = torch.tensor([[first], [second]], dtype=torch.float64)
    return StochasticGame(reward, torch.full((1, *reward.shape[2:], 1), 1 - stop, dtype=torch.float64))


def inner(game: TabularGame, center: Policy, policy: Policy) -> Tensor:
    """<v(pi), pi - pi*>, from the game's gradients as they are."""
    parts = zip(game.gradients(policy), policy, center, strict=True)
    return sum(((v * (x - y)).sum((-2, -1)) for v, x, y in parts), torch.zeros(()))


def away(x: Tensor, part: Tensor, stream: Stream) -> Tensor:
    """Pure rows moved by `part` towards random faces of the other actions."""
    drawn = stream.uniform((2, *part.shape[:-1], x.shape[-1]))
    weight = (1 - x) * torch.where(drawn[1] < 0.7, drawn[0], 1e-9)
    return (1 - part) * x + part * weight / weight.sum(-1, keepdim=True)


def as_close(one: Any, other: Any) -> bool:
    """Whether plain data agree, numbers up to rounding."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(as_close(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(as_close, one, other))
    if isinstance(one, float):
        return bool(one == pytest.approx(other, rel=1e-9, abs=1e-12))
    return bool(one == other)


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("players", [2, 3])
@pytest.mark.parametrize(
    ("kind", "shown"),
    [("strict", None), ("interior", "supported"), ("partial", "supported"), ("duplicate", "unused"),
     ("unvisited", "unvisited")],
)  # fmt: skip
def test_constructed_equilibria_are_judged_as_they_were_made(kind: Any, shown: str | None, players: int) -> None:
    sizes = (3, 2) if players == 2 else (2, 3, 2)
    game = Constructed(built=kind, games=12, state_count=3, action_count=sizes, player_count=players)
    found = certify_policies(game, game.equilibrium)
    assert len(found) == 12
    for each in found:
        assert each.verdict == ("strict" if shown is None else "nash-not-sos")
        assert each.sos is (shown is None)
        assert each.perfect
        assert each.exploitability < 1e-12
        assert each.unvisited == ((2,) if kind == "unvisited" else ())
        if shown is None:
            assert each.margin is not None
            assert each.margin > 0.0999
            assert each.direction is None
        else:
            assert each.direction is not None
            assert each.direction.kind == shown
            assert min(each.direction.ratios) > -1e-9
            assert each.direction.own_block < 1e-12
            assert each.direction.eigenvalue > -1e-12


def test_a_policy_that_is_no_equilibrium_comes_with_a_better_one() -> None:
    game = RandomStochastic(seed=3, state_count=3, action_count=(2, 3))
    start = game.start()
    found = certify_policy(game, start)
    assert found.verdict == "not-nash"
    assert found.deviation is not None
    i, s = found.deviation.player, found.deviation.state
    other = list(start)
    other[i] = torch.tensor(found.deviation.reply, dtype=torch.float64)
    gained = game.state_values(tuple(other)) - game.state_values(start)
    assert found.deviation.gain == pytest.approx(float(gained[i, s]), rel=1e-12)
    assert found.deviation.from_start == pytest.approx(float(gained[i] @ game.initial), rel=1e-12)
    assert found.exploitability == pytest.approx(float(game.exploitability(start)), rel=1e-12)


def test_gains_behind_the_states_that_are_visited() -> None:
    """Home pays 1; action 2 leads to another state, in which player 1 may take 10 or 0 from then on."""
    reward = torch.zeros(1, 2, 2, dtype=torch.float64)
    reward[0, 0, 0], reward[0, 1, 0] = 1.0, 10.0
    law = torch.zeros(2, 2, 2, dtype=torch.float64)
    law[0, 0, 0], law[0, 1, 1], law[1, :, 0] = 0.5, 0.5, 0.1
    home = torch.tensor([1.0, 0.0], dtype=torch.float64)
    for pay, verdict, perfect in ((10.0, "not-nash", False), (1.5, "nash-not-sos", False)):
        reward[0, 1, 0] = pay
        game = StochasticGame(reward.clone(), law, home)
        found = certify_policy(game, [[0, 1]])
        assert (found.verdict, found.perfect) == (verdict, perfect)
        assert found.unvisited == (1,)
    assert "not Markov perfect: player 0 would gain 1.5" in found.reason
    assert certify_policy(game, [[0, 0]]).perfect
    assert certify_policy(StochasticGame(reward, law), [[0, 0]]).verdict == "strict"  # begins anywhere


@pytest.mark.parametrize(
    ("gap", "verdict"), [(1e-11, "nash-not-sos"), (1e-8, "not-certified"), (1e-6, "strict"), (-1e-6, "not-nash"),
                         (-1e-8, "not-certified"), (-1e-11, "nash-not-sos")]
)  # fmt: skip
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_tolerances_are_relative_to_the_span(gap: float, verdict: str, scale: float) -> None:
    own = [[scale, 0.0], [scale * (1 - gap), 0.0]]
    game = one_state(own, [[scale, 0.0], [0.0, scale]])
    assert certify_policy(game, [[0], [0]]).verdict == verdict


def test_policies_near_an_equilibrium_are_not_at_one() -> None:
    game = TwoState()
    almost = torch.tensor([[1.0, 0.0], [1 - 1e-8, 1e-8]], dtype=torch.float64)
    found = certify_policy(game, (almost, game.equilibrium[1]))
    assert found.verdict == "not-certified"
    rounded = torch.tensor([[1.0, 0.0], [1 - 1e-12, 1e-12]], dtype=torch.float64)
    found = certify_policy(game, (rounded, game.equilibrium[1]))
    assert (found.verdict, found.dropped) == ("strict", 1e-12)
    assert found.policy[0] == ((1.0, 0.0), (1.0, 0.0))


def test_a_state_that_is_hardly_visited_is_not_certified() -> None:
    for chance, verdict in ((1e-12, "not-certified"), (1e-6, "strict"), (0.0, "nash-not-sos")):
        game = TwoState()
        home = torch.tensor([1 - chance, chance], dtype=torch.float64)
        law = 0.5 * torch.eye(2, dtype=torch.float64)[:, None, None].expand(2, 2, 2, 2)
        assert certify_policy(StochasticGame(game.reward, law, home), [[0, 0], [0, 0]]).verdict == verdict


def test_who_has_no_choice() -> None:
    lonely = StochasticGame(torch.rand(2, 3, 1, 1, dtype=torch.float64), torch.full((3, 1, 1, 3), 0.2).double())
    found = certify_policy(lonely, lonely.start())
    assert (found.verdict, found.reason, found.margin) == ("strict", "nobody has a choice", None)
    passive = one_state([[1.0], [0.25]], [[0.0], [5.0]])
    assert certify_policy(passive, [[0], [0]]).margin == 0.75
    nothing = one_state([[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]])
    assert certify_policy(nothing, nothing.start()).verdict == "nash-not-sos"


def test_a_batch_is_judged_as_each_of_it_is_alone() -> None:
    game = RandomStochastic(seed=5, games=6, state_count=2)
    policy = tuple(torch.eye(2, dtype=torch.float64)[[0, 1]].expand(6, 2, 2) for _ in range(2))
    together = certify_policies(game, policy)
    for k, each in enumerate(together):
        alone = RandomStochastic(seed=5 + k, state_count=2)
        assert as_close(certify_policy(alone, tuple(x[k] for x in policy)).plain(), each.plain())


def test_all_policies_of_random_games_against_brute_force() -> None:
    """Pure policies listed by another search are the Nash ones, strict as it says."""
    for seed in range(6):
        game = RandomStochastic(seed=seed, state_count=2, action_count=2, discount=0.8)
        rows = torch.cartesian_prod(*[torch.arange(2)] * 4).reshape(-1, 2, 2)
        policy = tuple(torch.nn.functional.one_hot(rows[:, i], 2).double() for i in range(2))
        found = {each.pure: each for each in certify_policies(game, policy) if each.verdict == "strict"}
        listed = pure_stationary(game)
        assert set(found) == {tuple(map(tuple, each.tolist())) for each in listed.actions}
        for actions, margin in zip(listed.actions, listed.margin, strict=True):
            one = found[tuple(map(tuple, actions.tolist()))]
            assert one.margin == pytest.approx(float(margin), rel=1e-9)


# --- the modulus ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [1e-3, 0.5])
def test_the_modulus_holds_in_its_ball(margin: float) -> None:
    game = Constructed(built="strict", margin=margin, **SHAPE)
    found = certify_policies(game, game.equilibrium)
    measured = moduli(game, stand(game, game.equilibrium, 1e-9))
    stream = Stream(1)
    for part in (1.0, 0.5, 0.1):
        eps = part * measured.largest
        sharp, mu = measured.sharpness(eps), measured.modulus(eps)
        split = stream.uniform((2, 500, 12, 3, 1))
        shares = eps[:, None, None] * split / split.sum(0)  # the two players share eps in each state
        moved = tuple(away(x, share, stream) for x, share in zip(game.equilibrium, shares, strict=True))
        pairs = list(zip(moved, game.equilibrium, strict=True))
        far = torch.stack([(x - y).abs().sum((-2, -1)) / 2 for x, y in pairs]).sum(0)
        square = torch.stack([((x - y) ** 2).sum((-2, -1)) for x, y in pairs]).sum(0)
        product = inner(game, game.equilibrium, moved)
        assert bool((product <= -sharp * far + 1e-12).all())
        assert bool((product <= -mu * square + 1e-12).all())
        if part == 0.5:
            assert [each.modulus for each in found] == pytest.approx(mu.tolist(), rel=1e-12)
            assert [each.radius for each in found] == pytest.approx(eps.tolist(), rel=1e-12)


def test_margins_by_hand() -> None:
    game = TwoState()
    found = certify_policy(game, game.equilibrium)
    assert found.margin == pytest.approx(0.7, rel=1e-12)
    assert found.weighted_margin == pytest.approx(0.7 * float(game.occupancy(game.equilibrium).min()), rel=1e-12)
    assert sum(found.visits) == pytest.approx(2)  # half of all steps are the last
    solo = StochasticGame([[[1.0, 0.0]]], [[[0.5], [0.5]]])
    alone = certify_policy(solo, [[0]])  # V = 2, Q = (2, 1), so eps_0 = 1 / (2 * (1/2) * 1 / (1/2)) = 1/2
    assert (alone.margin, alone.weighted_margin, alone.radius) == (1.0, 2.0, 0.25)
    assert alone.modulus == pytest.approx((1 / (1 - 0.75 / 2)) * (1 - 0.25 * 2) / 0.5)


# --- the face ---------------------------------------------------------------------------------------------------------


def test_slopes_agree_with_finite_differences() -> None:
    game = RandomStochastic(seed=2, games=3, state_count=3, action_count=(2, 3))
    stream, h = Stream(4), 1e-4
    policy = tuple(torch.softmax(stream.normal((3, *x.shape[-2:])), -1) for x in game.start())
    ways = tuple(stream.normal((4, *x.shape)) for x in policy)
    exact = slopes(game, policy, ways)
    at = [game.gradients(tuple(x + k * h * z for x, z in zip(policy, ways, strict=True))) for k in (-2, -1, 1, 2)]
    for one, *f in zip(exact, *at, strict=True):
        torch.testing.assert_close(one, (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h), rtol=1e-7, atol=1e-7)


def test_the_derivative_on_an_interior_face() -> None:
    """All rows of an interior equilibrium are free: J by finite differences, on an orthonormal basis."""
    game = Constructed(built="interior", state_count=2, action_count=(3, 2), seed=1)
    policy, basis = game.equilibrium, list[tuple[int, Policy]]()
    for i, x in enumerate(policy):
        rows = torch.linalg.qr(torch.eye(x.shape[-1]).double() - 1 / x.shape[-1])[0][:, : x.shape[-1] - 1]
        for s in range(2):
            for z in rows.T:
                way = [torch.zeros_like(y) for y in policy]
                way[i][s] = z
                basis.append((i, tuple(way)))
    h, columns = 1e-5, list[list[float]]()
    for _, way in basis:
        up, down = (
            game.gradients(tuple(x + sign * h * z for x, z in zip(policy, way, strict=True))) for sign in (1, -1)
        )
        change = [(a - b) / (2 * h) for a, b in zip(up, down, strict=True)]
        columns.append([float(sum((c * z).sum() for c, z in zip(change, other, strict=True))) for _, other in basis])
    J = torch.tensor(columns).double().T
    player = torch.tensor([i for i, _ in basis])
    found = on_face(game, stand(game, policy, 1e-9))
    assert float(J[player[:, None] == player].abs().max()) < 1e-8
    assert float(found.own) < 1e-12
    assert float(found.eigenvalue) == pytest.approx(float(torch.linalg.eigvalsh((J + J.T) / 2)[-1]), rel=1e-6)
    assert float(found.eigenvalue) > 0.01
    off = tuple(0.7 * x + 0.3 / x.shape[-1] for x in policy)  # no equilibrium: its own blocks do not vanish
    e = tuple(torch.zeros(1, *x.shape).double() for x in policy)
    e[0][0, :, 0], e[0][0, :, 1] = 1, -1
    assert abs(float((slopes(game, off, e)[0] * e[0]).sum())) > 1e-3
    assert abs(float((slopes(game, policy, e)[0] * e[0]).sum())) < 1e-12


def test_faces_are_the_best_actions() -> None:
    game = Constructed(built="duplicate", state_count=3, action_count=3, seed=4)
    found = certify_policy(game, game.equilibrium)
    (face,) = found.faces
    q = game.values(game.equilibrium)[face.player][face.state]
    assert (face.player, face.state) == (0, 0)
    assert set(face.actions) == set((q >= q.max() - 1e-12).nonzero()[:, 0].tolist())
    assert len(face.actions) == 2


# --- the search -------------------------------------------------------------------------------------------------------


def test_the_search_stays_feasible_and_reports_what_it_found() -> None:
    game = Constructed(built="partial", **SHAPE)
    radii = torch.tensor([0.1, 0.01]).double()[:, None]
    found = depart(game, game.equilibrium, radii, Stream(0), count=50, rounds=2)
    square = torch.zeros(2, 12).double()
    for x, y in zip(found.policy, game.equilibrium, strict=True):
        assert float(x.min()) >= -1e-15
        torch.testing.assert_close(x.sum(-1), torch.ones_like(x.sum(-1)))
        square += ((x - y) ** 2).sum((-2, -1))
    torch.testing.assert_close(square.sqrt(), found.distance)
    assert bool((found.distance <= radii * (1 + 1e-9)).all())
    assert bool((found.distance >= radii / 2).all())
    torch.testing.assert_close(inner(game, game.equilibrium, found.policy) / square, found.ratio, atol=1e-9, rtol=1e-7)
    assert bool((found.ratio >= -1e-9).all())


def test_the_search_does_not_refute_strict_policies_and_does_others() -> None:
    """What decides is the search alone: the certificate is not asked."""
    radii = torch.tensor([1e-4, 1e-5]).double()[:, None]
    for kind in ("strict", "interior", "duplicate", "unvisited"):
        game = Constructed(built=kind, **SHAPE)  # type: ignore[arg-type]
        ratio = depart(game, game.equilibrium, radii, Stream(0), count=50, rounds=1).ratio
        if kind == "strict":
            assert bool((ratio < -1).all())
            assert bool((ratio[1] / ratio[0] > 9).all())  # like -c / r
        else:
            assert bool((ratio > -1e-6).all())


def test_rounds_only_raise_the_ratio() -> None:
    game = Constructed(built="strict", **SHAPE)
    radii = torch.tensor([0.3, 0.01]).double()[:, None]
    few, many = (depart(game, game.equilibrium, radii, Stream(7), count=50, rounds=k).ratio for k in (0, 4))
    assert bool((many >= few - 1e-12).all())
    assert bool((many > few + 1e-6).any())


def test_products_keep_their_digits() -> None:
    """Along a face of one player the product is 0, however short the step."""
    game = Constructed(built="interior", **SHAPE)
    for h, low in ((1e-3, 1e-18), (1e-7, 1e-22)):
        z = torch.tensor([1.0, -1.0, 0.0]).double()
        moved = (game.equilibrium[0] + h * z, game.equilibrium[1])
        assert float(slow(game, game.equilibrium, moved).abs().max()) < low


# --- what is tried by default -----------------------------------------------------------------------------------------


def test_candidates_are_all_pure_equilibria_and_one_other() -> None:
    pennies = one_state([[1.0, -1.0], [-1.0, 1.0]], [[-1.0, 1.0], [1.0, -1.0]])
    (only,) = candidates(pennies).policies
    assert all(torch.allclose(x, torch.full_like(x, 0.5)) for x in only)
    meet = one_state([[2.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 1.0]])
    assert [x[0].argmax(-1).item() for x, _ in candidates(meet).policies][:2] == [0, 1]  # the widest margin is first
    found = candidates(ZeroSumStochastic(seed=1, state_count=3))
    assert all(float(ZeroSumStochastic(seed=1, state_count=3).exploitability(x)) < 1e-7 for x in found.policies)


def test_best_replies_rest_at_equilibria() -> None:
    game = PotentialStochastic(seed=8, state_count=3, action_count=2, discount=0.7)  # there they always do
    known = {tuple(map(tuple, each.tolist())) for each in pure_stationary(game).actions}
    found = {tuple(tuple(x.argmax(-1).tolist()) for x in each) for each in at_rest(game, 32)}
    assert found
    assert found <= known
    assert len(at_rest(game, 32)) == len(found)


# --- bad input --------------------------------------------------------------------------------------------------------


def test_what_is_refused() -> None:
    game = TwoState()
    for policy, words in (
        ([[0, 1]], "players"),
        ("0,1", "table"),
        ([[0, 1], [0, 2]], r"policy\[1\]: got \[0, 2\]"),
        ([[0, 1], [0, 1, 0]], r"policy\[1\]"),
        ([[[1, 0], [0.5, 0.6]], [0, 0]], "sums to"),
        ([[[1, 0], [math.nan, 1]], [0, 0]], "finite"),
        ([[[1, 0], [1.5, -0.5]], [0, 0]], "at least 0"),
        ([[None, 1], [0, 0]], r"policy\[0\]"),
    ):
        with pytest.raises(InvalidInput, match=words):
            certify_policy(game, policy)  # type: ignore[arg-type]
    for tolerance in (0.0, -1.0, 0.1, math.nan):
        with pytest.raises(InvalidInput, match="tolerance"):
            certify_policy(game, game.equilibrium, tolerance=tolerance)
    with pytest.raises(InvalidInput, match="float64"):
        certify_policy(TwoState(dtype="float32"), [[0, 0], [0, 0]])
    with pytest.raises(InvalidInput, match="certify_policies"):
        certify_policy(TwoState(games=2), [[0, 0], [0, 0]])
    with pytest.raises(InvalidInput, match="stochastic game"):
        certify_policy(object(), [[0]])  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="broadcasts"):
        certify_policies(TwoState(games=2), tuple(x.expand(3, 2, 2) for x in game.equilibrium))
    assert torch.equal(as_policy(game, [[0, 1], [1, 1]])[0], torch.eye(2).double())
