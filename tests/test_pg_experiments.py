"""What the experiments on policy gradient and soccer measure with, against brute force and closed forms."""

import itertools

import pytest
import torch

from gamesim.envs.stochastic.families import RandomStochastic
from gamesim.envs.stochastic.soccer import Soccer
from gamesim.envs.stochastic.two_state import TwoState
from gamesim.experiments import pg_rate, pg_sos_attraction, soccer, strict_games
from gamesim.games import StochasticGame
from gamesim.watching import distance


def test_margins_are_positive_exactly_for_policies_that_no_single_other_action_improves() -> None:
    """By the values of all policies, one by one: a strict policy is worse for whoever changes one action."""
    game = RandomStochastic(seed=3, state_count=2, discount=0.5)
    every = strict_games.listed(game)
    assert len(every) == 16
    assert len({tuple(row.flatten().tolist()) for row in every}) == 16
    found = strict_games.margins(game, every)
    for actions, margin in zip(every, found, strict=True):
        paid = game.payoffs_of(strict_games.deterministic(game, actions))
        losses = []
        for i, s in itertools.product(range(2), range(2)):
            other = actions.clone()
            other[i, s] = 1 - other[i, s]
            losses.append(float((paid - game.payoffs_of(strict_games.deterministic(game, other)))[i]))
        assert (float(margin) > 0) == (min(losses) > 0)


def test_reordered_games_are_the_same_games_with_other_names() -> None:
    game = RandomStochastic(seed=5, state_count=2, action_count=(2, 3), discount=0.5)
    chosen = torch.tensor([[1, 0], [2, 1]])
    reward, law = strict_games.reordered(game, chosen)
    other = StochasticGame(reward, law)
    first = strict_games.deterministic(other, strict_games.first_actions(other))
    given = strict_games.deterministic(game, chosen)
    torch.testing.assert_close(other.state_values(first), game.state_values(given))
    for one, two in zip(other.values(first), game.values(given), strict=True):
        torch.testing.assert_close(one.sort(-1).values, two.sort(-1).values)


def test_strict_games_have_the_first_actions_as_a_strict_equilibrium() -> None:
    family = strict_games.strict_games(3, 0.15, 2, 2)
    assert family.count == 3
    assert float(family.game.gains(family.policy).max()) == 0
    assert float(strict_games.margins(family.game, strict_games.first_actions(family.game)).min()) >= 0.15
    away = strict_games.near(family.policy, 0.1)
    assert away[0].tolist() == [[0.9, 0.1], [0.9, 0.1]]


@pytest.mark.parametrize("power", [-0.5, -1.3])
def test_a_power_law_is_fitted_where_enough_runs_are_elsewhere(power: float) -> None:
    times = [0, *(round(10 ** (k / 6)) for k in range(6, 25))]
    t = torch.tensor(times, dtype=torch.float64).clamp(min=1)
    scatter = torch.linspace(0.5, 1.5, 40, dtype=torch.float64)[:, None, None]
    squared = scatter * t**power * torch.ones(40, 2, 1, dtype=torch.float64)
    squared[..., t > 3000] = 0.0
    near = torch.ones(40, 2, dtype=torch.bool)
    squared[7, 1], near[7, 1] = 100.0, False  # left: not on the event that the theorem is about
    found = pg_rate.Path(times, squared, near).fitted()
    assert found.value == pytest.approx(power, abs=1e-9)
    assert found.interval == pytest.approx((power, power), abs=1e-6)
    assert 2000 < found.window[1] <= 3000
    assert found.there == pytest.approx(79 / 80)


@pytest.mark.parametrize("projection", ["lazy", "eager"])
def test_bounds_of_exact_gradients_hold_and_are_not_idle(projection: pg_rate.Projection) -> None:
    two = TwoState()
    game = StochasticGame(two.reward[None], two.law.dense().reshape(1, 2, 2, 2, 2), player_count=2)
    claims = pg_rate.exactly(strict_games.StrictGames("two", game, two.equilibrium), projection, "")
    for claim in claims:
        assert claim.verdict == "holds"
        assert claim.statistic > 0.5


@pytest.mark.parametrize("first", [1.0, 2.0, 4.0])
def test_meeting_places_have_nine_equilibria_of_which_four_are_strict(first: float) -> None:
    game = pg_sos_attraction.meeting_places(first)
    for played in itertools.product((1, 2, 3), repeat=2):
        policy = pg_sos_attraction.meeting(*played, first=first)
        assert float(game.gains(policy).max()) < 1e-12
    pure = torch.tensor([[a, b] for a, b in itertools.product(range(2), repeat=2)])
    assert float(strict_games.margins(game, pure[:, None].expand(4, 2, 2)).min()) > 0.1


def test_runs_begin_at_the_radius() -> None:
    policy = pg_sos_attraction.meeting(1, 3)
    start = pg_sos_attraction.around(policy, 50, seed=1)
    assert [tuple(x.shape) for x in start] == [(50, 2, 2)] * 2
    torch.testing.assert_close(distance(start, policy), torch.full((50,), pg_sos_attraction.RADIUS).double())
    for x in start:
        torch.testing.assert_close(x.sum(-1), torch.ones(50, 2).double())
    assert float(torch.stack([x.min() for x in start]).min()) >= 0


def test_what_a_deterministic_policy_guarantees_by_trying_them_all() -> None:
    """Two states, each a matching-pennies game: every deterministic policy against its exact best response."""
    reward = torch.stack([torch.tensor([[[2.0, -1.0], [-1.0, 1.0]], [[1.0, -2.0], [-3.0, 4.0]]]).double()] * 2)
    reward[1] *= -1
    law = 0.8 * torch.rand(2, 2, 2, 2, generator=torch.Generator().manual_seed(0)).double().softmax(-1)
    game = StochasticGame(reward, law)
    found = []
    for actions in itertools.product(range(2), repeat=2):
        mine = strict_games.deterministic(game, torch.tensor([actions, actions]))
        found.append(-game.best_responses(mine)[1][1])
    best = torch.stack(found).amax(0)
    torch.testing.assert_close(soccer.guaranteed(game), best, rtol=0, atol=1e-9)


def test_whoever_is_sure_to_go_one_way_is_blocked() -> None:
    """Littman, 1994: any deterministic policy of the player with the ball can be blocked for ever."""
    game = Soccer(rows=2, columns=3)
    sure = soccer.guaranteed(game)[game.initial > 0]
    assert float(sure.max()) == pytest.approx(0, abs=1e-9)
