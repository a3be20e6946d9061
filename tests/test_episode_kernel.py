"""REINFORCE in the many-seeds loops against a plain twin, draw by draw, and against itself in pieces."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from gamesim.algorithms.policy_gradient import Ascent, PolicyGradient
from gamesim.envs.stochastic.two_state import TwoState
from gamesim.errors import InvalidInput
from gamesim.feedback import Reinforce, rollout_lanes
from gamesim.games import Policy, Sparse, StochasticGame
from gamesim.kernels import episodes as kernel
from gamesim.kernels import fused
from gamesim.randomness import Stream
from gamesim.schedules import Constant, Power
from gamesim.simplex import explore, project
from gamesim.watching import distance, squared_distance

GAMMA, EPS = Power(0.3, 0.6, 10.0), Power(0.5, 0.3, 10.0)


@dataclass(frozen=True)
class Job:
    """What is learnt in: reward[game, player, s, j], continuation[game, s, j, t], initial[game, s]; a game a lane."""

    counts: tuple[int, ...]
    reward: Tensor
    continuation: Tensor
    initial: Tensor
    lanes: int
    steps: int = 100
    episodes: int = 1
    lazy: bool = True
    to_go: bool = False
    seed: int = 0

    @property
    def keys(self) -> Tensor:
        return Stream(range(self.seed, self.seed + self.lanes)).keys

    @property
    def game(self) -> Tensor:
        return torch.arange(self.lanes) % len(self.reward)

    @property
    def start(self) -> Policy:
        states = self.reward.shape[2]
        return tuple(torch.full((self.lanes, states, a), 1 / a, dtype=torch.float64) for a in self.counts)

    def learn(self, **options: Any) -> kernel.Learned:
        given: dict[str, Any] = {
            "scores": self.start, "policy": self.start, "keys": self.keys, "game": self.game, "first_iteration": 0,
            "steps": self.steps, "episodes": self.episodes, "lazy": self.lazy, "to_go": self.to_go,
        } | options  # fmt: skip
        times = range(given["first_iteration"], given["first_iteration"] + given.pop("steps"))
        gamma, eps = ([schedule(t) for t in times] for schedule in (GAMMA, EPS))
        tables = kernel.tables(self.reward, self.continuation, self.initial, self.counts)
        start = given.pop("scores"), given.pop("policy"), given.pop("keys")
        return kernel.learn(tables, *start, given.pop("gamma", gamma), given.pop("eps", eps), **given)


def drawn(counts: tuple[int, ...], states: int, games: int = 1, lanes: int = 5, sparse: int = 0, **options: Any) -> Job:
    """A job with random tables; with `sparse`, about so many states can follow."""
    rng = np.random.default_rng(states + 100 * len(counts))
    joints = int(np.prod(counts))
    reward = rng.standard_normal((games, len(counts), states, joints))
    law = rng.dirichlet(np.ones(states), (games, states, joints))
    if sparse:
        law *= rng.random(law.shape) < sparse / states
        law /= np.maximum(law.sum(-1, keepdims=True), 1e-300)
    law *= rng.uniform(0.2, 0.9, (games, states, joints, 1))
    initial = rng.dirichlet(np.ones(states), games)
    return Job(counts, *map(torch.from_numpy, (reward, law, initial)), lanes=lanes, **options)


def twin(job: Job, first: int = 0) -> tuple[Policy, Policy, Tensor, list[Policy]]:
    """Scores, policy, environment steps, and the policies after every iteration: whole arrays, a loop over time."""
    lanes, n, m = torch.arange(job.lanes), len(job.counts), job.episodes
    reward, law, begin = (x[job.game] for x in (job.reward, job.continuation, job.initial))
    x, y = job.start, job.start
    taken, path = torch.zeros(job.lanes, dtype=torch.int64), [x]
    for t in range(first, first + job.steps):
        stream = Stream(range(job.seed, job.seed + job.lanes), t)
        played = tuple(explore(p, EPS(t)) for p in x)
        inside, state, visits = torch.ones(job.lanes, m, dtype=torch.bool), torch.zeros(job.lanes, m).long(), []
        earned = torch.zeros(job.lanes, m, n, dtype=torch.float64)
        while inside.any():
            u = stream.quick((job.lanes, m, n + 2))
            if not visits:
                state = (begin.cumsum(-1)[:, None, :-1] <= u[..., n + 1 :]).sum(-1)
            rows = [p[lanes[:, None], state] for p in played]
            chosen = [(p.cumsum(-1)[..., :-1] <= u[..., i : i + 1]).sum(-1) for i, p in enumerate(rows)]
            joint = torch.zeros_like(state)
            for a, count in zip(chosen, job.counts, strict=True):
                joint = joint * count + a
            visits.append((inside, state, chosen, rows, earned))
            paid = reward[lanes[:, None], :, state, joint]
            earned = earned + torch.where(inside[..., None], paid, 0.0)
            after = (law[lanes[:, None], state, joint].cumsum(-1) <= u[..., n : n + 1]).sum(-1)
            inside = inside & (after < law.shape[-1])
            state = torch.where(inside, after, 0)
        estimates = [torch.zeros_like(p) for p in x]
        for alive, at, actions, rows, before in visits:
            taken += alive.sum(-1)
            for i in range(n):
                gain = earned[..., i] - before[..., i] if job.to_go else earned[..., i]
                weight = gain / rows[i].gather(-1, actions[i][..., None])[..., 0] / m * alive
                estimates[i].index_put_((lanes[:, None].expand_as(at), at, actions[i]), weight, accumulate=True)
        y = tuple((a if job.lazy else p) + GAMMA(t) * v for a, p, v in zip(y, x, estimates, strict=True))
        x = tuple(map(project, y))
        path.append(x)
    return y, x, taken, path


JOBS = {
    "two-state": drawn((2, 2), 2, lanes=70, steps=300),
    "one-player": drawn((3,), 2),
    "one-player/episodes": drawn((3,), 3, episodes=3),
    "unequal": drawn((2, 3), 4, games=3, lanes=6),
    "eager": drawn((3, 2), 3, lazy=False),
    "to-go": drawn((2, 4), 5, to_go=True),
    "eager/to-go/episodes": drawn((4, 4), 2, lazy=False, to_go=True, episodes=3),
    "three-players": drawn((2, 3, 2), 3, games=2, episodes=3, to_go=True),
    "twenty-states": drawn((2, 2), 20, episodes=2),
    "hundred-states": drawn((2, 3), 100, games=2, lanes=3, sparse=5),
    "one-state": drawn((5, 2), 1),
    "one-action": drawn((1, 3), 2),
}


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_the_loops_follow_the_plain_twin(job: Job) -> None:
    scores, policy, steps, path = twin(job)
    times = [0, 1, 7, 50, job.steps]
    target = tuple(p[0] for p in path[-1])
    found = job.learn(target=target, record=times)
    assert torch.equal(found.steps, steps)
    assert_close(found.policy, policy, atol=1e-9, rtol=0)
    assert_close(found.scores, scores if job.lazy else policy, atol=1e-9, rtol=1e-9)
    apart = [[(a - b).abs().sum((-1, -2)) for a, b in zip(p, target, strict=True)] for p in path]
    squared = [sum(((a - b) ** 2).sum((-1, -2)) for a, b in zip(path[t], target, strict=True)) for t in times]
    assert found.watched is not None
    assert_close(found.watched.records, torch.stack(squared), atol=1e-9, rtol=0)  # type: ignore[arg-type]
    assert_close(found.watched.squared, found.watched.records[-1], atol=0, rtol=0)
    assert_close(found.watched.farthest, torch.stack([sum(d) for d in apart]).amax(0) / 2, atol=1e-9, rtol=0)  # type: ignore


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_a_lane_is_the_same_alone_and_two_calls_are_one(job: Job) -> None:
    job = replace(job, steps=60)
    target = tuple(torch.eye(a, dtype=torch.float64)[0].expand(job.reward.shape[2], a) for a in job.counts)
    whole = job.learn(target=target, record=[60])
    for lane in (0, job.lanes - 1):
        one = [slice(lane, lane + 1)]
        start, keys = tuple(x[one[0]] for x in job.start), job.keys[one[0]]
        alone = job.learn(scores=start, policy=start, keys=keys, game=job.game[one[0]], target=target, record=[60])
        same(alone, whole, one[0])
    first = job.learn(steps=23, target=target)
    rest = job.learn(steps=37, first_iteration=23, scores=first.scores, policy=first.policy, target=target, record=[60])
    a, b = first.watched, rest.watched
    assert a is not None
    assert b is not None
    joined = replace(b, wrong=torch.maximum(a.wrong, b.wrong), farthest=torch.maximum(a.farthest, b.farthest))
    same(replace(rest, steps=first.steps + rest.steps, watched=joined), whole, slice(None))


def same(one: kernel.Learned, other: kernel.Learned, lanes: slice) -> None:
    """Bit for bit."""
    pairs = [(one.steps, other.steps), *zip(one.scores, other.scores, strict=True)]
    pairs += zip(one.policy, other.policy, strict=True)
    if one.watched and other.watched:
        pairs += [(x, getattr(other.watched, name)) for name, x in vars(one.watched).items()]
    assert all(torch.equal(x, y[..., lanes] if y.dim() < 3 else y[lanes]) for x, y in pairs)


def test_wrong_counts_the_iterations_after_which_the_policy_was_not_exactly_the_target() -> None:
    game = TwoState()
    job = Job((2, 2), game.reward.flatten(-2)[None], game.law.dense()[None], game.initial[None], lanes=50, steps=2500)
    found = job.learn(target=game.equilibrium)
    saw = found.watched
    assert saw is not None
    assert int(saw.wrong.min()) > 10
    assert bool((saw.wrong < 2500).any())
    there = torch.stack([(x == y).all(-1).all(-1) for x, y in zip(found.policy, game.equilibrium, strict=True)]).all(0)
    assert torch.equal(there, saw.wrong < 2500)
    for lane in there.nonzero()[:5, 0].tolist():
        last, part = int(saw.wrong[lane]), slice(lane, lane + 1)
        start = tuple(x[part] for x in job.start)
        run = {"scores": start, "policy": start, "keys": job.keys[part], "game": job.game[part]}
        before, after = (replace(job, steps=last + k).learn(**run, target=game.equilibrium).policy for k in (0, 1))
        assert any(bool((x != y).any()) for x, y in zip(before, game.equilibrium, strict=True))
        assert all(bool((x == y).all()) for x, y in zip(after, game.equilibrium, strict=True))
    home = tuple(x.expand(50, 2, 2) for x in game.equilibrium)
    at_home = job.learn(policy=home, scores=home, eps=np.zeros(2500), target=game.equilibrium)
    assert at_home.watched is not None
    assert bool((at_home.watched.wrong == -1).all())
    assert bool((at_home.watched.farthest == 0).all())
    assert bool((at_home.watched.squared == 0).all())


@pytest.mark.parametrize("name", ["two-state", "unequal"])
def test_late_iterations_of_a_few_lanes(name: str) -> None:
    """Slots without a lane stay inside their tables."""
    job = replace(JOBS[name], lanes=2, steps=3)
    assert bool((job.learn(first_iteration=10**8).steps >= 3).all())


def test_small_tables_and_lists_of_successors_are_the_same_game() -> None:
    """The loops of two by two actions, and those of any game."""
    for states, to_go in ((2, False), (3, True)):
        job = drawn((2, 2), states, games=2, lanes=7, to_go=to_go)
        listed = torch.arange(states).expand(job.continuation.shape)
        small, any_ = (kernel.tables(job.reward, job.continuation, job.initial, (2, 2), k) for k in (None, listed))
        assert small.few
        assert not any_.few
        target = tuple(torch.eye(2, dtype=torch.float64)[0].expand(7, states, 2) for _ in range(2))
        gamma, eps = ([schedule(t) for t in range(300)] for schedule in (GAMMA, EPS))
        one, other = (
            kernel.learn(tables, job.start, job.start, job.keys, gamma, eps, episodes=2, to_go=to_go, game=job.game,
                         target=target, record=[3, 90])
            for tables in (small, any_)
        )  # fmt: skip
        assert torch.equal(one.steps, other.steps)
        assert_close(one.policy, other.policy, atol=1e-11, rtol=0)
        assert one.watched is not None
        assert other.watched is not None
        assert torch.equal(one.watched.wrong, other.watched.wrong)
        assert_close(one.watched.records, other.watched.records, atol=1e-11, rtol=0)
        assert_close(one.watched.farthest, other.watched.farthest, atol=1e-11, rtol=0)


# --- the solver -------------------------------------------------------------------------------------------------------


def game_of(job: Job) -> StochasticGame:
    """One game, or a batch of games."""
    games, n = len(job.reward), len(job.counts)
    reward = job.reward.reshape(games, n, -1, *job.counts)
    law = job.continuation.reshape(games, -1, *job.counts, job.reward.shape[2])
    one = reward, law, job.initial
    return StochasticGame(*(x[0] if games == 1 else x for x in one), player_count=n)


def steps_and_leap(
    game: StochasticGame, solver: PolicyGradient, batch: tuple[int, ...], target: Policy, steps: int = 60
) -> tuple[Ascent, Any, list[Policy]]:
    """Where the plain solver and the leap end, from the same start, and the policies on the way."""
    start = solver.init(game)
    begin = Ascent(*(tuple(x.expand(*batch, *x.shape[-2:]) for x in part) for part in (start.scores, start.policy)))
    assert isinstance(solver.feedback, Reinforce)
    stream, state, path = Stream(range(batch[0])), begin, [begin.policy]
    landed = rollout_lanes.leap(
        game, begin.scores, begin.policy, solver.feedback, solver.step_size, solver.projection == "lazy", stream, 5,
        5 + steps, target,
    )  # fmt: skip
    assert landed is not None
    assert landed.reached == 5 + steps
    for t in range(5, 5 + steps):
        state = solver.step(t, game, state, stream.at(t))
        path.append(state.policy)
    return state, landed, path


@pytest.mark.parametrize("name", ["two-state", "one-player/episodes", "three-players", "eager", "hundred-states"])
def test_a_leap_is_the_plain_solver(name: str) -> None:
    job = replace(JOBS[name], reward=JOBS[name].reward[:1])
    job = replace(job, continuation=job.continuation[:1], initial=job.initial[:1])
    feedback = Reinforce(EPS, job.episodes, "to-go" if job.to_go else "whole")
    solver = PolicyGradient(GAMMA, feedback, "lazy" if job.lazy else "eager")
    game = game_of(job)
    target = tuple(torch.eye(a, dtype=torch.float64)[0].expand(game.state_count, a) for a in job.counts)
    state, landed, path = steps_and_leap(game, solver, (4,), target)
    assert_close(landed.policy, state.policy, atol=1e-9, rtol=0)
    assert_close(landed.scores, state.scores, atol=1e-9, rtol=1e-9)
    assert_close(landed.farthest, torch.stack([distance(x, target) for x in path]).amax(0), atol=1e-9, rtol=0)
    wrong = torch.full((4,), -1)
    for k, x in enumerate(path):
        wrong = torch.where(squared_distance(x, target) > 0, 5 + k, wrong)
    assert torch.equal(landed.last_wrong, wrong)


def test_leaps_of_seeds_schedules_and_games_in_one_batch() -> None:
    job = drawn((2, 3), 3, games=2)
    sizes, shares = (torch.tensor(x, dtype=torch.float64).reshape(3, 1, 1, 1) for x in ([0.1, 0.3, 0.5], [0.5, 0.3, 1]))
    solver = PolicyGradient(Power(sizes, 0.6, 10.0), Reinforce(Power(shares, 0.3)))
    target = tuple(torch.eye(a, dtype=torch.float64)[:2, None].expand(2, 3, a) for a in job.counts)  # one for each game
    state, landed, _ = steps_and_leap(game_of(job), solver, (4, 3, 2), target, steps=25)
    assert landed.policy[1].shape == (4, 3, 2, 3, 3)
    assert_close(landed.policy, state.policy, atol=1e-9, rtol=0)
    assert landed.farthest.shape == landed.last_wrong.shape == (4, 3, 2)


def test_successors_in_any_order_are_drawn_as_the_plain_solver_draws_them() -> None:
    rng = np.random.default_rng(8)
    reward = rng.standard_normal((2, 6, 2, 2))
    law = Sparse(
        torch.from_numpy(rng.integers(0, 6, (6, 2, 2, 3))), torch.from_numpy(rng.dirichlet([1] * 3, (6, 2, 2)))
    )
    game = StochasticGame(reward, law, discount=0.8)  # type: ignore[arg-type]
    solver = PolicyGradient(GAMMA, Reinforce(Constant(0.2)))
    state, landed, _ = steps_and_leap(game, solver, (5,), game.start())
    assert_close(landed.policy, state.policy, atol=1e-9, rtol=0)


def test_what_only_steps_can_do_is_not_leapt() -> None:
    game = TwoState()
    x = game.start()
    given = GAMMA, True, Stream(0), 0, 10

    def leap(feedback: Any = None, game: Any = game, policy: Policy = x) -> Any:
        return rollout_lanes.leap(game, policy, policy, feedback or Reinforce(EPS), *given)

    class Own(StochasticGame):
        def rollout(self, policy: Policy, episodes: int, generator: Stream) -> Any:
            raise NotImplementedError

    assert leap() is not None
    assert leap(Reinforce(EPS, 2, baseline="others")) is None
    assert leap(Reinforce(EPS, baseline="value")) is None
    assert leap(game=Own(game.reward, game.transition, game.initial)) is None
    assert leap(policy=tuple(y.clone().requires_grad_() for y in x)) is None
    assert leap(policy=tuple(y * torch.nan for y in x)) is None
    each = Power(torch.tensor([0.1, 0.2], dtype=torch.float64), 0.6)  # a step size for each action
    assert rollout_lanes.leap(game, x, x, Reinforce(EPS), each, True, Stream(0), 0, 10) is None
    with fused(False):
        assert leap() is None


def test_a_leap_is_cut_where_it_would_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    game, x = TwoState(), TwoState().start()
    monkeypatch.setattr(rollout_lanes, "AT_ONCE", 600 * rollout_lanes.BLOCK)
    landed = rollout_lanes.leap(game, x, x, Reinforce(EPS, episodes=3), GAMMA, True, Stream(0), 7, 1000)
    assert landed is not None
    assert 7 + 95 <= landed.reached <= 7 + 105


# --- bad input --------------------------------------------------------------------------------------------------------

SMALL = drawn((2, 2), 2, lanes=3, steps=4)
BAD_TABLES: dict[str, tuple[str, Any]] = {
    "shape of rewards": ("reward", {"reward": torch.zeros(1, 3, 2, 4).double()}),
    "rewards that are not finite": ("reward", {"reward": SMALL.reward * torch.inf}),
    "single precision": ("reward", {"reward": SMALL.reward.float()}),
    "play that does not stop": ("continuation", {"continuation": torch.full((1, 2, 4, 2), 0.5).double()}),
    "negative probabilities": ("continuation", {"continuation": -SMALL.continuation}),
    "probabilities that are not numbers": ("continuation", {"continuation": SMALL.continuation * torch.nan}),
    "initial law": ("initial", {"initial": torch.full((1, 2), 0.4).double()}),
    "initial law of three states": ("initial", {"initial": torch.full((1, 3), 1 / 3).double()}),
    "numbers of games": ("reward", {"initial": SMALL.initial.expand(2, 2), "reward": SMALL.reward.expand(3, 2, 2, 4)}),
    "no actions": ("counts", {"counts": (2, 0)}),
    "successors": ("successors", {"successors": torch.full((1, 2, 4, 2), 2)}),
}
BAD_RUNS: dict[str, tuple[str, Any]] = {
    "policy": ("policy", {"policy": tuple(2 * x for x in SMALL.start)}),
    "policy of one player": ("policy", {"policy": SMALL.start[:1]}),
    "scores": ("scores", {"scores": tuple(x * torch.nan for x in SMALL.start)}),
    "keys": ("keys", {"keys": SMALL.keys[:2]}),
    "game": ("game", {"game": torch.tensor([0, 1, 0])}),
    "schedule": ("schedule", {"schedule": torch.tensor([0.0, 0.0, 0.0])}),
    "gamma": ("gamma", {"gamma": [0.1, np.inf], "eps": 0.1}),
    "no iterations": ("gamma", {"gamma": [], "eps": []}),
    "eps": ("eps", {"eps": [0.1, 0.2, 0.3, 1.1]}),
    "no episodes": ("episodes", {"episodes": 0}),
    "first iteration": ("first_iteration", {"first_iteration": -1}),
    "times": ("record", {"record": [3, 2], "target": tuple(x[0] for x in SMALL.start)}),
    "times without a target": ("record", {"record": [3]}),
    "target": ("target", {"target": tuple(x[0, 0] for x in SMALL.start)}),
}


@pytest.mark.parametrize(("field", "given"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_bad_tables_are_refused(field: str, given: Any) -> None:
    good = {"reward": SMALL.reward, "continuation": SMALL.continuation, "initial": SMALL.initial, "counts": (2, 2)}
    with pytest.raises(InvalidInput, match=field):
        kernel.tables(**(good | given))


@pytest.mark.parametrize(("field", "given"), BAD_RUNS.values(), ids=BAD_RUNS)
def test_bad_runs_are_refused(field: str, given: Any) -> None:
    with pytest.raises(InvalidInput, match=field):
        SMALL.learn(**given)


def test_rewards_that_overflow_do_not_hang_the_loops() -> None:
    for counts, states in (((2, 2), 2), ((3, 2), 3)):
        job = drawn(counts, states)
        found = replace(job, reward=job.reward * 1e307).learn(gamma=np.full(50, 1e10), eps=0.3)
        assert not all(bool(x.isfinite().all()) for x in found.scores)
