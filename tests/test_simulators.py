"""Black boxes played in batches: against exact values, one by one, in any number of copies, here or elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import pytest
import torch

import gamesim as gs
from gamesim.envs.wrappers import GymnasiumSimulator, as_pettingzoo, as_simulator
from gamesim.errors import InvalidInput
from gamesim.games import StochasticGame, simulator
from gamesim.games.simulator import Moment, Simulator
from gamesim.randomness import Stream
from little_environments import Corridor, Drift, Leaving, Nim, Switches


@dataclass(frozen=True)
class Ladder(Simulator):
    """Two players on one ladder of rungs 0, 1, 2; both must climb (action 1) to rise, and the top pays and ends."""

    width: int | None = None
    longest: int | None = None
    paid: float = 1.0

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (2, 2)

    @property
    def observation_counts(self) -> tuple[int, ...]:
        return (3, 3)

    def reset(self, seeds: Sequence[int]) -> torch.Tensor:
        self.__dict__["rung"] = torch.tensor([seed % 2 for seed in seeds])
        return self.rung[:, None].expand(-1, 2)  # type: ignore[attr-defined]

    def step(self, actions: torch.Tensor) -> Moment:
        rung = self.rung + actions.prod(-1)  # type: ignore[attr-defined]
        self.__dict__["rung"] = rung.clamp(max=2)
        reward = torch.where(rung > 2, self.paid, -0.5)[:, None] * torch.tensor([1.0, 2.0])
        return Moment(self.rung[:, None].expand(-1, 2), reward, rung > 2, torch.zeros_like(rung, dtype=torch.bool))  # type: ignore[attr-defined]


def same(one: Any, two: Any) -> bool:
    names = ("observations", "actions", "rewards", "alive")
    return all(torch.equal(getattr(one, name), getattr(two, name)) for name in names)


def random_game(states: int = 3, stop: float = 0.2, seed: int = 0) -> StochasticGame:
    stream = Stream(seed)
    table = stream.uniform((states, 2, 3, states))
    transition = (1 - stop) * table / table.sum(-1, keepdim=True)
    return StochasticGame(stream.normal((2, states, 2, 3)), transition, stream.uniform((states,)).softmax(-1))


def tilted(game: Any) -> tuple[torch.Tensor, ...]:
    return tuple(torch.softmax(torch.sin(torch.arange(x.numel()).double()).reshape(x.shape), -1) for x in game.start())


# --- rollouts -------------------------------------------------------------------------------------------------------


def test_the_number_of_copies_changes_nothing() -> None:
    whole = Ladder().rollout(tilted(Ladder()), 40, Stream(3))
    for width in (1, 7, 40, 100):
        assert same(Ladder(width=width).rollout(tilted(Ladder()), 40, Stream(3)), whole)


def test_a_seed_in_a_batch_plays_as_it_does_alone() -> None:
    game = Ladder()
    policy = tilted(game)
    stream = Stream([5, 6, 7])
    together = game.rollout(tuple(x.expand(3, *x.shape) for x in policy), 10, stream)
    alone_stream = Stream(6)
    alone = game.rollout(policy, 10, alone_stream)
    longest = alone.alive.shape[-1]
    assert torch.equal(together.actions[1][:, :longest], alone.actions)
    assert torch.equal(together.rewards[1][:, :longest], alone.rewards)
    assert not bool(together.alive[1][:, longest:].any())
    after, after_alone = stream.uniform((3, 4)), alone_stream.uniform((4,))  # lengths differ, later draws do not
    assert torch.equal(after[1], after_alone)


def test_what_comes_after_the_end_is_zero() -> None:
    played = Ladder().rollout(tilted(Ladder()), 50, Stream(0))
    assert 1 < int(played.lengths.min()) < int(played.lengths.max())
    for x in (played.observations, played.actions, played.rewards):
        assert not bool(x[~played.alive].any())
    ends = played.rewards.gather(-2, (played.lengths - 1)[..., None, None].expand(-1, 1, 2))[:, 0]
    assert torch.equal(ends, torch.tensor([1.0, 2.0]).double().expand(50, 2))


def test_batches_of_policies_share_their_luck() -> None:
    game = Ladder()
    both = tuple(torch.stack([x, y]) for x, y in zip(game.start(), tilted(game), strict=True))
    found = game.rollout(both, 20, Stream(1))
    for k in range(2):
        one = game.rollout(tuple(x[k] for x in both), 20, Stream(1))
        assert torch.equal(found.actions[k][:, : one.alive.shape[-1]], one.actions)


def test_returns_are_those_of_the_exact_game() -> None:
    """Four standard errors, of 4,000 episodes: the environment is ours, its values are known."""
    game = random_game()
    for player_first in (tilted(game), game.start()):
        box = as_simulator(lambda: as_pettingzoo(game), copies=256)
        assert box.observation_counts == (3, 3)
        played = box.rollout(player_first, 4000, Stream(11)).returns
        error = played.std(-2) / 4000**0.5
        assert bool(((played.mean(-2) - game.payoffs_of(player_first)).abs() < 4 * error).all())


def test_measures_are_functions_of_the_policy() -> None:
    game = as_simulator(lambda: gymnasium.make("FrozenLake-v1"), evaluation_episodes=30)
    policy = tilted(game)
    once, again = game.metrics(policy), game.metrics(policy)
    assert list(once) == ["return"]
    assert torch.equal(once["return"], again["return"])
    batch = game.metrics(tuple(torch.stack([x, x.flip(-1)]) for x in policy))["return"]
    assert torch.equal(batch[0], once["return"])
    two = Ladder()
    found = two.metrics(two.start())
    assert list(found) == ["return", "return_1", "return_2"]
    assert torch.allclose(found["return_2"], 2 * found["return_1"])
    assert torch.equal(found["return"], two.returns_of(two.start()).mean(-1))


def test_episodes_without_an_end_are_refused_or_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "ENDLESS", 300)
    never = tuple(torch.tensor([1.0, 0.0]).double().expand(3, 2) for _ in range(2))
    with pytest.raises(InvalidInput, match=r"longest: got .* after 300 steps', expected .* longest=300"):
        Ladder().rollout(never, 1, Stream(0))
    played, cut, last = Ladder(longest=5).play_out(never, 2, Stream(0))
    assert played.lengths.tolist() == [5, 5]
    assert cut.tolist() == [True, True]
    assert torch.equal(last[:, 0], played.observations[:, -1, 0])


def test_what_a_simulator_answers_is_checked() -> None:
    with pytest.raises(InvalidInput, match=r"rewards\[\d+, 0\]: got nan, expected a finite reward"):
        Ladder(paid=float("nan")).rollout(Ladder().start(), 5, Stream(0))

    class Wrong(Ladder):
        def reset(self, seeds: Sequence[int]) -> torch.Tensor:
            return super().reset(seeds) + 7

    with pytest.raises(InvalidInput, match=r"observations\[0, 0\]: got \d, expected a number from 0 to 2"):
        Wrong().rollout(Ladder().start(), 5, Stream(0))
    with pytest.raises(InvalidInput, match=r"policy\[1\]: got 'shape \[3, 3\]', expected \[..., 3, 2\]"):
        Ladder().rollout((Ladder().start()[0], torch.full((3, 3), 1 / 3)), 5, Stream(0))
    with pytest.raises(InvalidInput, match="episodes: got 0"):
        Ladder().rollout(Ladder().start(), 0, Stream(0))


# --- copies of environments -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (Switches, {}),
        (Nim, {"illegal": "redirect"}),
        (Leaving, {"absent": True}),
        (lambda: Drift(luck=0.3), {}),
    ],
    ids=["switches", "nim", "leaving", "drift"],
)
def test_processes_play_as_one_row_of_copies_does(make: Any, parameters: dict[str, Any]) -> None:
    alone = as_simulator(make, copies=1, **parameters)
    row = as_simulator(make, copies=5, **parameters)
    elsewhere = as_simulator(make, copies=5, workers="async", **parameters)
    try:
        policy = tuple(x.expand(2, *x.shape) for x in tilted(row))
        played = [game.rollout(policy, 12, Stream([2, 3])) for game in (alone, row, elsewhere)]
        assert same(played[0], played[1])
        assert same(played[0], played[2])
        assert alone.redirected == row.redirected == elsewhere.redirected
    finally:
        elsewhere.close()


def test_an_environment_given_as_an_object_is_copied() -> None:
    env = Drift(luck=0.3)
    found = as_simulator(env, copies=3).rollout(tilted(as_simulator(env)), 9, Stream(0))
    assert same(found, as_simulator(lambda: Drift(luck=0.3)).rollout(tilted(as_simulator(env)), 9, Stream(0)))
    assert not hasattr(env, "dice"), "the user's own object is not played"


def test_errors_of_a_process_come_through() -> None:
    game = as_simulator(lambda: Drift(broken="nan"), copies=2, workers="async")
    try:
        with pytest.raises(InvalidInput, match=r"rewards\['left_0'\]: got nan, expected a finite reward"):
            game.rollout(game.start(), 2, Stream(0))
    finally:
        game.close()


def test_a_limit_of_time_is_a_cut_and_no_end() -> None:
    game = as_simulator(lambda: gymnasium.wrappers.TimeLimit(Corridor(), 3))
    _, cut, last = game.play_out(tilted(game), 8, Stream(0))
    assert bool(cut.all())
    assert game.observation_counts == (4,)
    right = (torch.tensor([0.0, 1.0]).double().expand(4, 2),)
    played, cut, _ = as_simulator(Corridor).play_out(right, 2, Stream(0))
    assert not bool(cut.any())
    assert torch.allclose(played.returns, torch.full((2, 1), 0.7).double())
    assert bool((last < 4).all())


# --- learning -------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::gamesim.errors.Caution")
def test_policy_gradient_learns_in_a_simulator() -> None:
    game = as_simulator(Corridor, longest=40, evaluation_episodes=10)
    solver = gs.make_solver("policy-gradient", feedback="reinforce(0.3, episodes=10)", step_size=0.2)
    result = gs.solve(game, solver, iterations=60, every=60, seeds=2)
    assert result.target == "return"
    start, end = result.metric("return").unbind(-1)
    assert bool((end > start + 0.5).all())
    assert bool((end > 0.69).all())  # straight out: 1 - 3 * 0.1
    alone = gs.solve(game, solver, iterations=3, every=3, seed=1)
    both = gs.solve(game, solver, iterations=3, every=3, seeds=2)
    assert torch.equal(alone.policy[0], both.policy[0][1])
    assert torch.equal(alone.metric("return")[0], both.metric("return")[1])


def test_exact_gradients_of_a_black_box_are_refused() -> None:
    with pytest.raises(InvalidInput, match="feedback: got exact, expected reinforce"):
        gs.solve(as_simulator(Corridor), gs.make_solver("policy-gradient"), iterations=1)


def test_the_catalogue_reaches_registered_environments() -> None:
    game = GymnasiumSimulator(environment="FrozenLake-v1", options='is_slippery=false, map_name="8x8"')
    assert game.observation_counts == (64,)
    assert not game.first.env.unwrapped.spec.kwargs["is_slippery"]
    with pytest.raises(InvalidInput, match=r"environment: got 'FrozenLake-v99', expected an id that gymnasium knows"):
        GymnasiumSimulator(environment="FrozenLake-v99").validate()
    with pytest.raises(InvalidInput, match=r"options: got 'ice=1', expected what FrozenLake-v1 takes"):
        GymnasiumSimulator(options="ice=1").validate()
    for text in ("is_slippery=", "{1: 2}", "a = 1\nb = 2", "a.b=3, 'x y'=1"):
        with pytest.raises(InvalidInput, match="options: got"):
            GymnasiumSimulator(options=text).validate()
