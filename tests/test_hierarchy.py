"""Hierarchies against rollouts of their low level, and learned parts against what they are learned from."""

import math

import pytest
import torch
from torch import Tensor

from gamesim.envs.latent.grid_actor import MOVES, best_of, exact_actor, grid_kernel, perimeter, value_iteration
from gamesim.errors import InvalidInput
from gamesim.games.hierarchy import Hierarchy
from gamesim.planning.actor import experienced, learned_actor
from gamesim.planning.reporter import distance, learned_reporter
from gamesim.randomness import Stream


def rows(*shape: int, seed: int = 0) -> Tensor:
    """Random laws."""
    x = -Stream(seed).uniform(shape).log()
    return x / x.sum(-1, keepdim=True)


def low(steps: int = 4, changing: bool = False, latents: int = 2) -> Hierarchy:
    kernel = rows(latents, 3, 5, 5, seed=1) if latents else rows(3, 5, 5, seed=1)
    actor = rows(steps, 2, 5, 3, seed=2) if changing else rows(2, 5, 3, seed=2)
    return Hierarchy(kernel=kernel, actor=actor, steps=steps)


@pytest.mark.parametrize("changing", [False, True])
@pytest.mark.parametrize("latents", [0, 2])
def test_the_high_level_is_what_walks_do(changing: bool, latents: int) -> None:
    hierarchy = low(4, changing, latents)
    high = hierarchy.compiled
    assert high.shape == (max(latents, 1), 5, 2, 5)
    assert torch.allclose(high.sum(-1), torch.ones(()).double(), atol=1e-12)
    many = 4000
    z, s, g = torch.meshgrid(torch.arange(len(high)), torch.arange(5), torch.arange(2), indexing="ij")
    u = Stream(3).uniform((*z.shape, many, 4, 2))
    lift = [x[..., None].expand(*z.shape, many) for x in (z, s, g)]
    passed, taken = hierarchy.walk(lift[0], lift[1], lift[2], u)
    assert passed.shape == (*z.shape, many, 5)
    assert taken.shape == (*z.shape, many, 4)
    share = torch.nn.functional.one_hot(passed[..., -1], 5).double().mean(-2)
    error = (high * (1 - high) / many).sqrt()
    assert float(((share - high).abs() / error).max()) < 4


def test_a_policy_that_does_not_change_is_the_same_as_one_for_each_step() -> None:
    once = low(3)
    again = Hierarchy(kernel=once.kernel, actor=once.actor.expand(3, *once.actor.shape), steps=3)
    assert torch.allclose(once.compiled, again.compiled, atol=1e-14)
    reached = once.reaches(torch.tensor([4, 1]))
    assert torch.equal(reached[..., 0], once.compiled[..., 0, 4])
    assert torch.equal(reached[..., 1], once.compiled[..., 1, 1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": 0}, "steps: got 0"),
        ({"kernel": rows(3, 5, 4)}, "kernel: got 'shape"),
        ({"kernel": rows(3, 5, 5) * 2}, "kernel.*a row that sums to 2"),
        ({"kernel": torch.ones(5, 5)}, "kernel: got"),
        ({"kernel": torch.ones(3, 5, 5, dtype=torch.long)}, "kernel: got 'torch.int64"),
        ({"actor": rows(2, 5, 4)}, "actor: got 'shape"),
        ({"actor": rows(3, 2, 5, 3)}, "actor: got 'policies for 3 steps"),
        ({"actor": rows(2, 5, 3).float()}, "actor: got 'torch.float32"),
        ({"actor": rows(2, 5, 3) * math.nan}, "actor.* finite"),
        ({"subgoals": ("a", "a")}, "subgoals: got '2 names, 1 of them different"),
        ({"states": ("a",)}, "states: got '1 names"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], said: str) -> None:
    fits: dict[str, object] = {"kernel": rows(3, 5, 5), "actor": rows(2, 5, 3), "steps": 2}
    with pytest.raises(InvalidInput, match=said):
        Hierarchy(**{**fits, **change})  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="u: got 'shape"):
        low(4).walk(*torch.zeros(3, 1, dtype=torch.long), torch.rand(1, 3, 2))


def test_value_iteration_is_a_fixed_point_and_its_actor_takes_the_shortest_way() -> None:
    kernel, goals = grid_kernel(5, 0.2), torch.cat([perimeter(5), torch.tensor([12])])
    assert len(set(goals.tolist())) == 17
    values = value_iteration(kernel, goals, 0.9)
    paid = torch.nn.functional.one_hot(goals, 25).double()
    assert torch.allclose(values, paid + 0.9 * best_of(kernel, values).amax(-1), atol=1e-10)
    firm = grid_kernel(5, 0.0)
    arrives = [Hierarchy(kernel=firm, actor=exact_actor(firm, goals), steps=k).reaches(goals)[0] for k in range(1, 9)]
    cells = torch.arange(25)
    far = (cells[:, None] // 5 - goals // 5).abs() + (cells[:, None] % 5 - goals % 5).abs()
    for k, there in enumerate(arrives, start=1):
        assert torch.equal(there, (far <= k).double())


def test_an_actor_learns_to_reach_every_goal_from_what_happened() -> None:
    kernel, goals = grid_kernel(5, 0.0), perimeter(5)
    past = experienced(kernel, 2000, seed=[0, 1, 2])
    learned = learned_actor(past, goals, 25, len(MOVES), 0.95)
    assert learned.shape == (3, 16, 25, 5)
    for actor in learned:  # all pairs were tried, and nothing slips: it arrives as soon as can be
        exact = Hierarchy(kernel=kernel, actor=exact_actor(kernel, goals), steps=4).reaches(goals)
        assert torch.equal(Hierarchy(kernel=kernel, actor=actor, steps=4).reaches(goals), exact)
    alone = learned_actor(experienced(kernel, 2000, seed=1), goals, 25, len(MOVES), 0.95)
    assert torch.equal(alone, learned[1])
    slippery = grid_kernel(5, 0.2)
    arrives = [
        float(Hierarchy(kernel=slippery, actor=actor, steps=6).reaches(goals).mean())
        for actor in [
            *(learned_actor(experienced(slippery, n), goals, 25, 5) for n in (100, 10_000)),
            exact_actor(slippery, goals),
        ]
    ]
    assert arrives[0] < arrives[1] - 0.1
    assert arrives[1] > arrives[2] - 0.02


def test_a_reporter_learns_what_goes_with_what() -> None:
    emission, met = rows(6, 4, seed=5), rows(6, seed=6)
    features = torch.eye(6, dtype=torch.float64)
    few, many = (learned_reporter(emission, features, met, n, seed=[0, 1]) for n in (200, 100_000))
    assert torch.allclose(many.sum(-1), torch.ones(()).double(), atol=1e-12)
    assert bool((distance(many, emission, met) < 0.03).all())
    assert bool((distance(few, emission, met) > 0.06).all())
    assert torch.equal(
        learned_reporter(emission, features, met, 200, seed=0), learned_reporter(emission, features, met, 200)
    )
    with pytest.raises(InvalidInput, match="features: got"):
        learned_reporter(emission, features[:3], met, 10)
    with pytest.raises(InvalidInput, match="samples: got 0"):
        learned_reporter(emission, features, met, 0)
