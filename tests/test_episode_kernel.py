"""REINFORCE in the many-seeds loops against a plain twin, draw by draw, and against itself in pieces."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from gamesim.errors import InvalidInput
from gamesim.games import Policy
from gamesim.kernels import episodes as kernel
from gamesim.kernels import fused
from gamesim.randomness import Stream
from gamesim.schedules import Power
from gamesim.simplex import explore, project

GAMMA, EPS = Power(0.3, 0.6, 10.0), Power(0.5, 0.3, 10.0)


@dataclass(frozen=True)
class Job:
    """What is learnt in: reward[game, player, s, j], continuation[game, s, j, t], initial[game, s]; a game a lane."""

    counts: tuple[int, ...]
    reward: Tensor
    continuation: Tensor
    initial: Tensor
    lanes: int
    steps: int = 200
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


def drawn(
    counts: tuple[int, ...], states: int, games: int = 1, lanes: int = 5, sparse: int = 0, **options: Any
) -> Job:
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
    "two-state": drawn((2, 2), 2, lanes=70),
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
    rest = job.learn(
        steps=37, first_iteration=23, scores=first.scores, policy=first.policy, target=target, record=[60]
    )
    a, b = first.watched, rest.watched
    assert a is not None and b is not None
    joined = replace(b, wrong=torch.maximum(a.wrong, b.wrong), farthest=torch.maximum(a.farthest, b.farthest))
    same(replace(rest, steps=first.steps + rest.steps, watched=joined), whole, slice(None))


def same(one: kernel.Learned, other: kernel.Learned, lanes: slice) -> None:
    """Bit for bit."""
    pairs = [(one.steps, other.steps), *zip(one.scores, other.scores, strict=True)]
    pairs += zip(one.policy, other.policy, strict=True)
    if one.watched and other.watched:
        pairs += [(x, getattr(other.watched, name)) for name, x in vars(one.watched).items()]
    assert all(torch.equal(x, y[..., lanes] if y.dim() < 3 else y[lanes]) for x, y in pairs)
