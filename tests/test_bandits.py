"""Bandits: laws of nature against closed forms, indices by hand, unbiased estimates, stopping times, logs, refusals."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gamesim.algorithms.exp3 import EXP3
from gamesim.algorithms.exp3_spec import EXP3Spec
from gamesim.algorithms.fixed_policy import FixedPolicy
from gamesim.algorithms.ftrl import FTRL
from gamesim.algorithms.hedge_spec import HedgeSpec
from gamesim.algorithms.thompson import PROPOSALS, Thompson, gamma_variates
from gamesim.algorithms.ucb import UCB
from gamesim.algorithms.ucb_spec import UCBSpec
from gamesim.envs.bandits.acceptance_log import AcceptanceLog
from gamesim.envs.bandits.bernoulli import Bernoulli
from gamesim.envs.bandits.speculative_decoding import SpeculativeDecoding, truncated_geometric
from gamesim.errors import Caution, InvalidInput
from gamesim.feedback import Bandit, Realised
from gamesim.formats.acceptance import Acceptance, read_acceptance
from gamesim.games import MatrixGame
from gamesim.games.bandit import BanditGame
from gamesim.games.luck import Ahead
from gamesim.loop import Status, solve
from gamesim.parameters import build
from gamesim.randomness import Stream
from gamesim.schedules import Power
from gamesim.states import expanded, tensors
from gamesim.testing import check_batch, check_game, check_solver

SOLVERS = {
    "ucb-spec": UCBSpec(),
    "ucb": UCB(),
    "exp3-spec": EXP3Spec(),
    "exp3": EXP3(),
    "hedge-spec": HedgeSpec(),
    "thompson": Thompson(),
    "fixed-policy": FixedPolicy(),
}
LOG = Acceptance.of([[1, 3, 2], [2, 1, 5], [4, 4, 1], [1, 2, 2]])


def games() -> dict[str, BanditGame]:
    return {
        "bernoulli": Bernoulli(means=(0.2, 0.9, 0.5)),
        "stationary": SpeculativeDecoding(tokens=50.0),
        "drifting": SpeculativeDecoding(tokens=150.0, drift="drifting", period=20),
        "piecewise": SpeculativeDecoding(tokens=150.0, drift="piecewise", period=7),
        "log": AcceptanceLog(data=LOG, tokens=150.0),
        "samples": AcceptanceLog(data=LOG, tokens=150.0, replay="samples"),
    }


def uniform(draws: int, arms: int) -> Tensor:
    return Stream(3).uniform((draws, arms))


def near(found: Tensor, expected: Tensor, spread: Tensor, draws: int) -> None:
    """A mean of so many independent draws, within five of its standard errors."""
    assert bool(((found - expected).abs() < 5 * spread / math.sqrt(draws) + 1e-12).all()), (found, expected)


# --- nature ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 4, 9])
def test_lengths_are_truncated_geometric(length: int) -> None:
    draws, p = 20_000, torch.tensor([0.05, 0.5, 0.85, 0.99], dtype=torch.float64)
    lengths = truncated_geometric(uniform(draws, 4), p, length)
    assert set(lengths.unique().tolist()) <= set(range(1, length + 2))
    law = torch.stack([p ** (x - 1) * (1 - p) for x in range(1, length + 1)] + [p**length])
    for x in range(1, length + 2):
        q = law[x - 1]
        near((lengths == x).double().mean(0), q, (q * (1 - q)).sqrt(), draws)
    mean = (1 - p ** (length + 1)) / (1 - p)
    near(lengths.mean(0), mean, lengths.std(0), draws)
    game = SpeculativeDecoding(rates=tuple(p.tolist()), length=length)
    torch.testing.assert_close(game.mean_rewards(0), mean, rtol=1e-12, atol=0)
    torch.testing.assert_close((law * torch.arange(1, length + 2)[:, None]).sum(0), mean, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", sorted(games()))
def test_rewards_have_the_means_that_the_game_says(name: str) -> None:
    game, draws = games()[name], 4000
    low, high = game.bounds
    for t in (0, 5, 23):
        means = game.mean_rewards(t)
        paid = game.paid(uniform(draws, means.shape[-1]), t)
        assert low <= float(paid.min()) <= float(paid.max()) <= high
        near(paid.mean(0), means.expand(paid.shape[1:]), paid.std(0), draws)
    if game.stationary:
        torch.testing.assert_close(game.mean_rewards(0), game.mean_rewards(11))


@pytest.mark.parametrize(("name", "period"), [("drifting", 20), ("piecewise", 28), ("log", 4)])
def test_lasting_means_are_means_over_a_period(name: str, period: int) -> None:
    game = games()[name]
    mean = torch.stack([game.mean_rewards(t) for t in range(period)]).mean(0)
    torch.testing.assert_close(game.lasting_rewards, mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(game.mean_rewards(3), game.mean_rewards(3 + period), rtol=1e-12, atol=0)


def test_piecewise_arms_move_on() -> None:
    game = SpeculativeDecoding(rates=(0.1, 0.2, 0.3), drift="piecewise", period=10)
    assert [game.rates_at(t)[0].item() for t in (0, 9, 10, 20, 30)] == [0.1, 0.1, 0.2, 0.3, 0.1]


@pytest.mark.parametrize("name", sorted(games()))
def test_they_are_games(name: str) -> None:
    game = games()[name]
    check_game(game)
    check_batch(game)
    (x,) = game.start()
    means = game.lasting_rewards
    torch.testing.assert_close(game.exploitability((x,)), means.max() - means.mean())
    actions = torch.tensor([[0], [2], [1]])
    (answers,) = game.answers(actions, Stream([1, 2, 3], 4))
    torch.testing.assert_close(game.play(actions, Stream([1, 2, 3], 4)), answers.gather(-1, actions), rtol=0, atol=0)
    with pytest.raises(InvalidInput, match=r"generator: got None, expected a Stream"):
        game.play(actions)


def test_expected_rounds_solve_the_renewal_equation() -> None:
    game = SpeculativeDecoding(rates=(0.5,), length=1)  # one token or two, evenly
    expected = {1: 1.0, 2: 1.5, 3: 2.25, 4: 2.875}
    for tokens, rounds in expected.items():
        assert float(game.expected_rounds(tokens)) == pytest.approx(rounds)
    wald = SpeculativeDecoding().expected_rounds(10_000) * SpeculativeDecoding().mean_rewards(0)
    assert bool(((wald >= 10_000) & (wald < 10_004)).all())  # tokens, and less than L beyond
    with pytest.raises(InvalidInput, match="one stationary game"):
        SpeculativeDecoding(drift="drifting").expected_rounds(10)


def test_luck_drawn_ahead_is_the_luck_of_each_round() -> None:
    for seeds in (7, [7, 1, 4]):
        lead = () if isinstance(seeds, int) else (3,)
        stream = Stream(seeds)
        ahead = Ahead(stream, 40)
        for t in (2, 3, 39, 5):
            one, other = stream.at(t), ahead.at(t)
            for shape in ((*lead, 1), (*lead, 5), (*lead, 1)):
                assert torch.equal(one.quick(shape), other.quick(shape))
            assert torch.equal(one.normal((*lead, 2)), other.normal((*lead, 2)))


# --- algorithms -----------------------------------------------------------------------------------------------------


def test_the_index_of_ucb1_by_hand() -> None:
    game = AcceptanceLog(data=Acceptance.of([[1, 2], [1, 2], [1, 2]]), tokens=1e9)
    result = solve(game, UCB(), iterations=20, every=20)
    pulls, sums, arms = [0, 0], [0.0, 0.0], []
    for t in range(20):
        if t < 2:
            arm = t
        else:
            index = [sums[a] / pulls[a] + math.sqrt(2 * math.log(t) / pulls[a]) for a in (0, 1)]
            arm = index.index(max(index))
        pulls[arm], sums[arm] = pulls[arm] + 1, sums[arm] + (1 + arm)
        arms.append(arm)
    assert result.state.pulls.tolist() == pulls
    assert result.state.sums.tolist() == sums
    assert float(result.metric("regret")[0, -1]) == pytest.approx(pulls[0] / 2)  # in rounds: the best arm brings 2


def test_the_radius_of_ucb_spec_by_hand() -> None:
    pulls, t, delta, L = torch.tensor([3.0, 40.0]).double(), torch.tensor([43.0]).double(), 0.05, 4
    found = L / 2 * UCBSpec(delta).radius(pulls, t)
    for n, radius in zip((3, 40), found.tolist(), strict=True):
        inside = math.log(2 * 43**2 * (1 + n) ** 0.5 / delta)
        assert radius == pytest.approx(L / 2 * math.sqrt((1 + n) / n**2 * (1 + 2 * inside)), rel=1e-12)


def test_every_arm_once_and_then_the_best() -> None:
    game = Bernoulli(means=(0.0, 0.0, 1.0, 0.0))
    for solver in (UCBSpec(), UCB()):
        first = solve(game, solver, iterations=4, every=4).state.pulls
        assert first.tolist() == [1, 1, 1, 1]
        assert int(solve(game, solver, iterations=1500, every=1500).state.pulls.argmax()) == 2


@pytest.mark.parametrize("solver", [EXP3Spec(), EXP3(0.2)], ids=["exp3-spec", "exp3"])
def test_estimates_of_exponential_weights_are_unbiased(solver: Any) -> None:
    """Averaged over the arm that is drawn, what one round adds to each arm is its own loss or reward."""
    game, seeds = AcceptanceLog(data=Acceptance.of([[1, 3, 5]]), tokens=1e9), 20_000
    begun = solve(game, solver, iterations=2, every=2)
    (p,) = begun.policy
    weights = begun.state.losses if isinstance(solver, EXP3Spec) else begun.state.weights
    after = solver.step(2, game, expanded(begun.state, (seeds,)), Stream(list(range(seeds)), 2))
    moved = (after.losses if isinstance(solver, EXP3Spec) else after.weights) - weights
    reward = torch.tensor([0.0, 0.5, 1.0]).double()
    expected = 1 - reward if isinstance(solver, EXP3Spec) else 0.2 / 3 * reward
    near(moved.mean(0), expected, moved.std(0), seeds)
    drawn = after.tally.fixed.new_tensor((moved != 0).double().mean(0).tolist())
    near(drawn[expected != 0], p[expected != 0], (p * (1 - p)).sqrt()[expected != 0], seeds)


def test_the_first_step_of_exp3_spec_by_hand() -> None:
    game = AcceptanceLog(data=Acceptance.of([[1, 1], [1, 1]]), tokens=1e9, longest=5)
    result = solve(game, EXP3Spec(), iterations=1)
    eta = math.sqrt(math.log(2) / (2 * 2))  # for the second round, t = 2
    pulled = math.exp(-eta * 1 / 0.5)
    assert sorted(result.policy[0].tolist()) == pytest.approx(sorted([pulled / (1 + pulled), 1 / (1 + pulled)]))


def test_hedge_by_hand() -> None:
    game = AcceptanceLog(data=LOG, tokens=1e9)
    (p,) = solve(game, HedgeSpec(), iterations=3, every=3).policy
    losses = (5 - torch.tensor([[1, 3, 2], [2, 1, 5], [4, 4, 1]]).double()).sum(0) / 4
    torch.testing.assert_close(p, torch.softmax(-math.sqrt(8 * math.log(3) / 4) * losses, -1))


def test_gamma_variates_have_their_moments() -> None:
    shape, draws = torch.tensor([1.0, 2.5, 40.0]).double(), 40_000
    found = gamma_variates(shape, Stream(5).uniform((draws, 3, 2 * PROPOSALS)))
    near(found.mean(0), shape, shape.sqrt(), draws)
    near(found.var(0), shape, (shape * (2 * shape + 6)).sqrt(), draws)
    near((found[:, 0] > 1).double().mean(0), torch.tensor(math.exp(-1)).double(), torch.tensor(0.5).double(), draws)


def test_thompson_counts_and_finds_the_best_arm() -> None:
    game = Bernoulli(means=(0.1, 0.8, 0.3))
    result = solve(game, Thompson(), iterations=400, every=400, seeds=20)
    pulls = result.state.successes + result.state.failures
    assert bool((pulls.sum(-1) == 400).all())
    assert bool((pulls.argmax(-1) == 1).all())
    assert float(result.metric("regret")[:, -1].mean()) < 40  # chance loses 160


def test_ftrl_plays_against_nature() -> None:
    game = Bernoulli(means=(0.1, 0.8, 0.3))
    for feedback in (Realised(), Bandit(Power(0.5, 0.4))):
        result = solve(game, FTRL(Power(0.5, 0.8), feedback=feedback), iterations=400, every=400, seeds=30)
        assert float(result.exploitability[:, 0].mean()) == pytest.approx(0.4)
        assert float(result.exploitability[:, -1].mean()) < 0.2


# --- runs -----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::gamesim.errors.Caution")
@pytest.mark.parametrize("game", sorted(games()))
@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_a_batch_of_seeds_is_one_by_one_bit_for_bit(name: str, game: str) -> None:
    played = games()[game]
    many = solve(played, SOLVERS[name], iterations=30, every=15, seeds=3, seed=4)
    for i in (0, 2):
        one = solve(played, SOLVERS[name], iterations=30, every=1, seed=4 + i)
        for key, x in tensors(one.state).items():
            assert torch.equal(tensors(many.state)[key][i], x), key
        assert torch.equal(many.metric("regret")[i, -1], one.metric("regret")[0, -1])


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_steps_are_pure(name: str) -> None:
    check_solver(SOLVERS[name], Bernoulli())


@pytest.mark.parametrize(
    ("one", "field", "values"),
    [(UCBSpec, "delta", [0.01, 0.5]), (UCB, "scale", [0.5, 2.0]), (EXP3, "exploration", [0.1, 1.0]),
     (EXP3Spec, "scale", [0.3, 1.0]), (HedgeSpec, "scale", [0.3, 1.0])],
    ids=["ucb-spec", "ucb", "exp3", "exp3-spec", "hedge-spec"],
)  # fmt: skip
def test_a_batch_of_hyper_parameters_is_one_by_one(one: Any, field: str, values: list[float]) -> None:
    game = SpeculativeDecoding(tokens=torch.tensor([60.0, 200.0, 90.0]).double())
    many = solve(game, one(**{field: torch.tensor(values).double()}), iterations=100, every=100, seeds=2)
    assert many.metric("rounds").shape == (2, 2, 3, 2)
    for i, value in enumerate(values):
        alone = solve(SpeculativeDecoding(tokens=200.0), one(**{field: value}), iterations=100, every=100, seeds=2)
        torch.testing.assert_close(many.metric("rounds")[:, i, 1], alone.metric("rounds"), rtol=0, atol=0)
        torch.testing.assert_close(many.metric("regret")[:, i, 1], alone.metric("regret"), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_stopping_times_are_between_their_ends(name: str) -> None:
    game = SpeculativeDecoding(tokens=97.0, length=3)
    result = solve(game, SOLVERS[name], iterations=97, every=1, seeds=6)
    rounds, reward = result.metric("rounds"), result.metric("reward")
    assert bool((rounds[:, -1] >= 97 / 4).all())
    assert bool((rounds[:, -1] <= 97).all())
    assert bool((reward[:, -1] >= 97).all())
    assert bool((reward[:, -1] <= 97 + 3).all())
    ended = reward[:, :-1] >= 97
    assert bool((rounds.diff(dim=-1) == (~ended).double()).all())
    assert bool((reward.diff(dim=-1)[ended] == 0).all())
    assert bool((result.metric("regret").diff(dim=-1)[ended].abs() < 1e-12).all())
    longer = solve(game, SOLVERS[name], iterations=300, every=300, seeds=6)  # once all have ended nothing moves
    for key, x in tensors(longer.state).items():
        assert torch.equal(x, tensors(result.state)[key]), key


def test_regret_in_rounds_is_that_of_stopping_times() -> None:
    """Wald's identity: E[ST] - min_i E[ST_i] is the mean of the regret metric, up to an overshoot below L / mu*."""
    tokens, seeds = 300, 400
    game = SpeculativeDecoding(rates=(0.3, 0.8), tokens=float(tokens))
    result = solve(game, FixedPolicy(), iterations=tokens, every=tokens, seeds=seeds)
    rounds, regret = result.metric("rounds")[:, -1], result.metric("regret")[:, -1]
    mu = game.mean_rewards(0)
    expected = tokens / float(mu.mean()) - tokens / float(mu.max())
    error = 4 * float(rounds.std()) / math.sqrt(seeds)
    difference = float(rounds.mean() - game.expected_rounds(tokens).min())
    assert abs(difference - float(regret.mean())) < error + 4 / float(mu.max())
    assert abs(float(regret.mean()) - expected) < error + 4 / float(mu.max())
    best = solve(game, FixedPolicy(1), iterations=tokens, every=tokens, seeds=seeds)
    assert float(best.metric("regret").abs().max()) < 1e-9
    assert abs(float(best.metric("rounds")[:, -1].mean() - game.expected_rounds(tokens)[1])) < error


def test_regret_without_a_goal_is_in_rewards() -> None:
    result = solve(Bernoulli(means=(0.25, 0.75)), FixedPolicy(0), iterations=40, every=10)
    assert result.metric("regret")[0].tolist() == [0.0, 5.0, 10.0, 15.0, 20.0]
    assert result.metric("rounds")[0].tolist() == [0.0, 10.0, 20.0, 30.0, 40.0]


def test_regret_against_changing_arms_is_that_of_the_best_arm_pulled_always() -> None:
    game = AcceptanceLog(data=Acceptance.of([[1, 4], [3, 1], [3, 1]]), tokens=1e9)
    result = solve(game, FixedPolicy(1), iterations=30, every=30)
    behind = 10 * (1 + 3 + 3) - 10 * (4 + 1 + 1)
    assert float(result.metric("regret")[0, -1]) == pytest.approx(behind / (7 / 3))


def test_seeing_all_lengths_beats_seeing_one() -> None:
    game, seeds = SpeculativeDecoding(tokens=600.0), 40
    full, ucb, exp3 = (
        solve(game, solver, iterations=600, every=600, seeds=seeds).metric("rounds")[:, -1]
        for solver in (HedgeSpec(), UCBSpec(), EXP3Spec())
    )
    for other in (ucb, exp3):
        gain = other - full
        assert float(gain.mean()) > 3 * float(gain.std()) / math.sqrt(seeds)


def test_ucb_spec_falls_for_arms_that_take_turns() -> None:
    game = AcceptanceLog(data=Acceptance.of([[1, 5], [5, 1]]), tokens=900.0)
    with pytest.warns(Caution, match="arms that stay"):
        caught = solve(game, UCBSpec(), iterations=900, every=900)
    assert float(caught.metric("rounds")[0, -1]) == 900  # one token in every round
    fair = solve(game, EXP3Spec(), iterations=900, every=900, seeds=20)
    assert float(fair.metric("rounds")[:, -1].max()) < 450


def test_one_arm() -> None:
    game = SpeculativeDecoding(rates=(0.5,), tokens=20.0)
    for solver in SOLVERS.values():
        result = solve(game, solver, iterations=20, every=20, seeds=2)
        assert result.status is Status.OUT_OF_ITERATIONS
        assert float(result.metric("regret").abs().max()) == 0


def test_probabilities_that_underflow_do_no_harm() -> None:
    game = Bernoulli(means=(0.0, 1.0))
    result = solve(game, EXP3Spec(scale=1000.0), iterations=3000, every=3000, seeds=5)
    assert result.status is Status.OUT_OF_ITERATIONS
    assert bool(result.state.losses.isfinite().all())


# --- logs -----------------------------------------------------------------------------------------------------------


def written(folder: Path, text: str, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_is_read_in_any_order(tmp_path: Path) -> None:
    rows = "# by hand\nAccepted,round,arm,model\n3,10,eagle,x\n1,7,pld,x\n2,7,eagle,x\n\n5,10,pld,x\n"
    log = read_acceptance(written(tmp_path, rows))
    assert (log.arms, log.complete, log.source) == (("eagle", "pld"), True, "log.csv")
    assert [x.tolist() for x in log.lengths] == [[2, 3], [1, 5]]
    game = AcceptanceLog(data=log)
    assert game.bounds == (1.0, 5.0)
    assert not game.stationary
    assert [game.mean_rewards(t).tolist() for t in range(3)] == [[2, 1], [3, 5], [2, 1]]
    objects = [{"round": t, "arm": a, "accepted": y} for t, a, y in ((10, "eagle", 3), (7, "pld", 1), (7, "eagle", 2))]
    lines = "\n".join(map(json.dumps, [*objects, {"round": 10, "arm": "pld", "accepted": 5, "text": "left out"}]))
    other = read_acceptance(written(tmp_path, lines, "log.jsonl"))
    assert (other.arms, [x.tolist() for x in other.lengths]) == (log.arms, [x.tolist() for x in log.lengths])


def test_sequences_are_sampled_from(tmp_path: Path) -> None:
    path = written(tmp_path, "round\tarm\taccepted\n1\t2\t4\n2\t10\t1\n3\t2\t2\n4\t2\t3\n", "log.tsv")
    game = AcceptanceLog(data=str(path))
    assert game.log.arms == ("2", "10")  # as numbers, not as text
    assert game.stationary
    assert game.lasting_rewards.tolist() == [3.0, 1.0]
    paid = game.paid(uniform(3000, 2), 0)
    assert set(paid[:, 0].tolist()) == {2.0, 3.0, 4.0}
    with pytest.raises(InvalidInput, match="some rounds lack some arms"):
        AcceptanceLog(data=str(path), replay="rows")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rounds"),
        ("round,arm,accepted\n", "no rounds"),
        ("round,arm\n1,a\n", "line 1: .*round, arm, accepted once each; see accepted"),
        ("round,arm,accepted\n1,a,2\n2,a\n", "line 3: got '2 values', expected 3"),
        ("round,arm,accepted\n1,a,nan\n", "line 2, accepted: got 'nan', expected a whole number from 1"),
        ("round,arm,accepted\n1,a,0\n", "the target model's own token counts"),
        ("round,arm,accepted\n1,a,2.5\n", "line 2, accepted: got '2.5'"),
        ("round,arm,accepted\n-1,a,2\n", "line 2, round: got '-1', expected a whole number"),
        ("round,arm,accepted\n1,,2\n", "line 2, arm: got '', expected a name"),
        ("round,arm,accepted\n1,a,2\n1,a,3\n", "line 3: got 'round 1 of arm a again', expected each arm at most once"),
        ('round,arm,accepted\n1,"a,2\n', "quotes that end in the same line"),
    ],
    ids=["empty", "header", "column", "torn", "nan", "zero", "half", "negative", "unnamed", "twice", "quote"],
)
def test_broken_logs_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_acceptance(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "line 1: got '{', expected a JSON object"), ("[1]", "expected a JSON object"),
     ('{"round": 1, "arm": "a"}', "with round, arm, accepted"),
     ('{"round": 1, "arm": "a", "accepted": NaN}', "accepted: got 'nan'"),
     ('{"round": 1, "arm": "a", "accepted": null}', "accepted: got None")],
    ids=["torn", "list", "column", "nan", "null"],
)  # fmt: skip
def test_broken_objects_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_acceptance(written(tmp_path, text, "log.jsonl"))


def test_files_that_are_no_logs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="an existing file"):
        AcceptanceLog(data=str(tmp_path / "none.csv"))
    with pytest.raises(InvalidInput, match="ends in one of"):
        read_acceptance(written(tmp_path, "x", "log.pkl"))


@pytest.mark.parametrize(
    ("made", "parameters", "message"),
    [
        (SpeculativeDecoding, {"rates": "[0.5, 1]"}, r"rates\[1\]: got 1.0, expected a number between 0 and 1"),
        (SpeculativeDecoding, {"rates": "[0.5, nan]"}, r"rates: got"),
        (SpeculativeDecoding, {"rates": "[]"}, "rates: got 'shape .0.', expected a number for each arm"),
        (SpeculativeDecoding, {"rates": torch.tensor([0.2, 1.5])}, "rates: got .*ends excluded"),
        (SpeculativeDecoding, {"length": "0"}, "length: got 0, expected a whole number from 1"),
        (SpeculativeDecoding, {"tokens": "0"}, "tokens: got 0.0, expected a number from 1"),
        (SpeculativeDecoding, {"drift": "wild"}, "drift: got 'wild', expected one of"),
        (SpeculativeDecoding, {"period": "0"}, "period: got 0"),
        (Bernoulli, {"means": "[0.5, -0.1]"}, r"means\[1\]: got -0.1, expected a probability"),
        (Bernoulli, {"means": torch.tensor([0.5, math.nan])}, "means: got"),
        (AcceptanceLog, {"data": LOG, "longest": "4"}, "longest: got 4, expected a whole number from 5"),
        (UCBSpec, {"delta": "0"}, "delta: got 0.0, expected a number between 0 and 1"),
        (UCB, {"scale": "0"}, "scale: got 0.0"),
        (EXP3, {"exploration": "0"}, "exploration: got 0.0, expected a number above 0 and at most 1"),
        (FixedPolicy, {"arm": "-1"}, "arm: got -1"),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, dict) else getattr(x, "__name__", "message"),
)
def test_bad_parameters_are_refused(made: Any, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        build(made, parameters)


def test_bad_tables_and_misfits_are_refused() -> None:
    for table, message in (([[1, 0]], r"data\[0, 1\]: got 0.0"), ([], "a table"), ([[1.5]], "whole"), ("x", "a table")):
        with pytest.raises(InvalidInput, match=message):
            Acceptance.of(table)
    with pytest.raises(InvalidInput, match="an arm of the game, from 0 to 2"):
        solve(Bernoulli(), FixedPolicy(3))
    with pytest.raises(InvalidInput, match="a BanditGame, which UCBSpec needs"):
        solve(MatrixGame.zero_sum([[0, 1], [1, 0]]), UCBSpec())
    assert UCBSpec().cautions(SpeculativeDecoding()) == []
    assert EXP3Spec().cautions(SpeculativeDecoding(drift="drifting")) == []
