"""Bandits whose nature is written down: regret, accounts of a run round by round, and what is met in a batch."""

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from gamesim.games.bandit import BanditGame, Tally, as_arms
from gamesim.parameters import Probability, Real
from gamesim.randomness import Stream
from refusals import f64, said


@dataclass
class Written(BanditGame):
    """Means of rounds [t, ..., a], the last for ever; an arm pays its mean, or what `pay` says."""

    means: Tensor
    end: Any = math.inf
    pay: Any = None

    @property
    def bounds(self) -> tuple[float, float]:
        return (1.0, 5.0)

    @property
    def goal(self) -> Any:
        return self.end

    def mean_rewards(self, t: int) -> Tensor:
        return self.means[min(t, len(self.means) - 1)]

    def paid(self, u: Tensor, t: int) -> Tensor:
        return self.mean_rewards(t) + 0 * u if self.pay is None else self.pay(u, t)


class Least(BanditGame):
    """Nothing but what must be written."""

    @property
    def bounds(self) -> tuple[float, float]:
        return (0.0, 1.0)

    def mean_rewards(self, t: int) -> Tensor:
        return f64(0.25, 0.5, 0.75) + t

    def paid(self, u: Tensor, t: int) -> Tensor:
        return u


def test_what_need_not_be_written_is_the_first_round_for_ever() -> None:
    game = Least()
    assert game.stationary is True
    assert game.goal == math.inf
    assert game.lasting_rewards.tolist() == [0.25, 0.5, 0.75]
    (x,) = game.start()
    assert x.tolist() == [1 / 3] * 3


def test_the_start_has_the_batch_of_means_and_goals() -> None:
    for means, goal, shape in (
        (f64([0.1, 0.9]), math.inf, (2,)),
        (f64([0.1, 0.9]), f64(5.0, 6.0, 7.0), (3, 2)),
        (torch.zeros(1, 4, 1, 2), f64(5.0, 6.0, 7.0), (4, 3, 2)),
        (torch.zeros(1, 4, 3, 2), 9.0, (4, 3, 2)),
        (torch.zeros(1, 5, 4, 3, 2), f64(9.0), (5, 4, 3, 2)),
    ):
        (x,) = Written(means, goal).start()
        assert x.shape == shape
        assert bool((x == 0.5).all())


def test_regret_is_the_best_arms_mean_less_ones_own() -> None:
    game = Written(f64([[0.5, 2.0, 1.0], [3.0, 1.0, 1.0]]))  # two games of three arms
    x = f64([0.5, 0.25, 0.25], [0.2, 0.3, 0.5])
    assert game.feedback((x,))[0].tolist() == [[0.5, 2.0, 1.0], [3.0, 1.0, 1.0]]
    own = [0.5 * 0.5 + 0.25 * 2.0 + 0.25 * 1.0, 0.2 * 3.0 + 0.3 * 1.0 + 0.5 * 1.0]
    plain = [2.0 - own[0], 3.0 - own[1]]
    assert game.exploitability((x,)).tolist() == pytest.approx(plain)
    many = x.expand(4, 2, 3)
    assert game.feedback((many,))[0].shape == (4, 2, 3)
    assert game.feedback((many.float(),))[0].dtype == torch.float32
    for lam in (0.5, 2.0):
        smooth = []
        for p, mu, mine in zip(x.tolist(), game.means[0].tolist(), own, strict=True):
            best = lam * math.log(sum(math.exp(m / lam) for m in mu))
            smooth.append(best - mine + lam * sum(q * math.log(q) for q in p))
        assert game.exploitability((x,), lam).tolist() == pytest.approx(smooth)
        found = game.metrics((x,), lam)
        assert list(found) == ["exploitability", "regularized_exploitability"]
        assert found["exploitability"].tolist() == pytest.approx(plain)
        assert found["regularized_exploitability"].tolist() == pytest.approx(smooth)
        given = torch.tensor(lam, dtype=torch.float64)
        assert game.metrics((x,), given)["regularized_exploitability"].tolist() == pytest.approx(smooth)
    for found in (game.metrics((x,)), game.metrics((x,), 0.0)):
        assert list(found) == ["exploitability"]
        assert found["exploitability"].tolist() == pytest.approx(plain)


def test_everyone_of_a_seed_meets_the_same_nature_and_round() -> None:
    game = Written(f64([0.0, 0.0, 0.0]), pay=lambda u, t: u + 10 * t)
    actions = torch.tensor([[[0], [2]], [[1], [0]], [[2], [2]], [[1], [1]]])  # [4, 2, 1]
    (answers,) = game.answers(actions, Stream(7, 5))
    assert answers.shape == (4, 2, 3)
    assert bool((answers == answers[0, 0]).all())
    assert bool(((answers > 50) & (answers < 51)).all())
    assert len(set(answers[0, 0].tolist())) == 3
    paid = game.play(actions, Stream(7, 5))
    assert paid.shape == (4, 2, 1)
    for k in ((0, 0), (0, 1), (1, 0), (3, 1)):
        assert float(paid[k]) == float(answers[k][int(actions[k])])
    (several,) = game.answers(actions, Stream([7, 8, 7, 9], 5))
    assert torch.equal(several[0], answers[0])
    assert torch.equal(several[2], several[0])
    assert bool((several[1] != several[0]).all())
    assert bool((several[1, 0] == several[1, 1]).all())
    (one,) = game.answers(torch.tensor([1]), Stream(7, 5))
    assert torch.equal(one, answers[0, 0])
    wanted = "generator: got None, expected a Stream, which nature takes its luck from"
    assert said(lambda: game.play(actions)) == wanted
    assert said(lambda: game.answers(actions, None)) == wanted


def test_rewards_as_numbers_from_0_to_1() -> None:
    assert Written(f64([0.0])).normalized(f64(1.0, 2.0, 4.0, 5.0)).tolist() == [0.0, 0.25, 0.75, 1.0]


# --- the accounts of a run ------------------------------------------------------------------------------------------

MEANS = [[0.5, 2.0], [1.5, 1.0], [1.0, 3.0], [2.0, 0.5]]
"""Of four rounds."""
PAID = [[1.0, 2.5], [1.0, 0.5], [2.0, 3.5], [4.0, 1.0]]
PULLED = [0, 1, 1, 0]


def run(goal: float, rounds: int) -> Tally:
    game = Written(f64(*MEANS), goal, lambda u, t: f64(*PAID)[t].expand(u.shape))
    tally = Tally.of(game)
    for t in range(rounds):
        tally = tally.play(game, t, torch.tensor([PULLED[t]]), Stream(0, t)).tally
    return tally


@pytest.mark.parametrize("goal", [math.inf, 100.0, 1.5, 1.0, 5.0, 0.0])
@pytest.mark.parametrize("rounds", range(5))
def test_accounts_and_regret_by_hand(goal: float, rounds: int) -> None:
    played, reward, own, fixed = 0, 0.0, 0.0, [0.0, 0.0]
    for t in range(rounds):
        if reward < goal:  # a goal that is met to the digit is met
            played += 1
            reward += PAID[t][PULLED[t]]
            own += MEANS[t][PULLED[t]]
            fixed = [a + b for a, b in zip(fixed, MEANS[t], strict=True)]
    tally = run(goal, rounds)
    assert (tally.rounds.tolist(), tally.reward.tolist(), tally.own.tolist()) == ([played], [reward], [own])
    assert (tally.fixed.tolist(), tally.goal.tolist()) == (fixed, [goal])
    assert tally.playing.tolist() == [reward < goal]
    regret = max(fixed) - own
    if math.isfinite(goal) and played:
        regret /= max(fixed) / played  # in rounds
    found = tally.metrics
    assert list(found) == ["regret", "rounds", "reward"]
    assert {name: x.item() for name, x in found.items()} == pytest.approx(
        {"regret": regret, "rounds": played, "reward": reward}
    )
    assert all(x.shape == () for x in found.values())


def test_a_round_says_what_was_pulled_and_what_all_arms_would_have_paid() -> None:
    goals = f64(1.0, 2.0, math.inf)
    game = Written(f64([[[1.0, 2.0]], [[3.0, 0.5]]]), goals)  # means [2, 1, arm] and goals [3]: runs [2, 3]
    tally = Tally.of(game)
    shapes = [(2, 3, 1)] * 3 + [(2, 3, 2), (2, 3, 1)]
    parts = (tally.rounds, tally.reward, tally.own, tally.fixed, tally.goal)
    assert [x.shape for x in parts] == shapes
    assert [float(x.abs().sum()) for x in parts[:4]] == [0.0] * 4
    assert tally.goal[..., 0].tolist() == [[1.0, 2.0, math.inf]] * 2
    assert bool(tally.playing.all())
    actions = torch.tensor([[[0], [1], [0]], [[1], [0], [1]]])
    first = tally.play(game, 0, actions, Stream(0, 0))
    assert first.rewards.tolist() == [[[1.0, 2.0]] * 3, [[3.0, 0.5]] * 3]
    assert first.pulled.tolist() == [[[1, 0], [0, 1], [1, 0]], [[0, 1], [1, 0], [0, 1]]]
    assert first.tally.reward[..., 0].tolist() == [[1.0, 2.0, 1.0], [0.5, 3.0, 0.5]]
    assert first.tally.playing[..., 0].tolist() == [[False, False, True], [True, False, True]]
    second = first.tally.play(game, 1, 1 - actions, Stream(0, 1))
    assert second.pulled.tolist() == [[[0, 0], [0, 0], [0, 1]], [[1, 0], [0, 0], [1, 0]]]
    assert second.tally.rounds[..., 0].tolist() == [[1, 1, 2], [2, 1, 2]]
    assert second.tally.reward[..., 0].tolist() == [[1.0, 2.0, 3.0], [3.5, 3.0, 3.5]]
    assert second.tally.fixed.tolist() == [[[1, 2], [1, 2], [2, 4]], [[6, 1], [3, 0.5], [6, 1]]]
    found = second.tally.metrics
    assert {x.shape for x in found.values()} == {(2, 3)}
    assert found["regret"].tolist() == [[1 / 2, 0.0, 4.0 - 3.0], [(6 - 3.5) / 3, 0.0, 6 - 3.5]]
    assert found["rounds"].tolist() == [[1, 1, 2], [2, 1, 2]]


# --- arms -----------------------------------------------------------------------------------------------------------


def test_arms_are_numbers_each_as_its_rule_wants_it() -> None:
    found = as_arms((0, 0.5, 1), Probability, "means")
    assert (found.tolist(), found.dtype) == ([0.0, 0.5, 1.0], torch.float64)
    assert as_arms((0.5,), Probability, "means").tolist() == [0.5]
    assert as_arms(torch.tensor([[0.25, 0.5]]), Probability, "means").tolist() == [[0.25, 0.5]]
    wanted = "expected a number for each arm, at least one"
    assert said(lambda: as_arms(0.5, Real, "rates")) == f"rates: got shape [], {wanted}"
    assert said(lambda: as_arms((), Real, "rates")) == f"rates: got shape [0], {wanted}"
    assert said(lambda: as_arms(torch.zeros(0, 3), Real, "rates")) == f"rates: got shape [0, 3], {wanted}"
    assert said(lambda: as_arms((0.5, 1.5), Probability, "means")).startswith("means")
