"""The parts of the experiment on critics: examples, targets and scores, against brute force and what is known."""

import dataclasses

import pytest
import torch

from gamesim.experiments.relational_critic import (
    AHEAD,
    CASES,
    DISCOUNT,
    EFFORT,
    NETWORKS,
    Examples,
    Learned,
    Learner,
    best,
    discounted,
    examples,
    explained,
    grows,
    judged,
    learn,
    world_of,
)
from gamesim.networks import MLP, DeepSets
from gamesim.randomness import Stream


@pytest.mark.parametrize("case", CASES)
def test_examples_are_states_moves_and_what_they_bring(case: str) -> None:
    world = world_of(3)
    seen = examples(world, CASES[case], 4, 2, 0)
    assert seen.inputs.shape == (2, 4 * world.steps, 6, 11)
    assert seen.target.shape == (2, 4 * world.steps)
    tokens, kinds, moves = seen.inputs.split([4, 2, 5], -1)
    assert torch.equal(kinds[0, 0], torch.eye(2).repeat_interleave(3, 0))
    assert torch.equal(moves.sum(-1), kinds[..., 0])  # agents move, landmarks do not
    state = world.restored(tokens)
    rewards = []
    for k in range(AHEAD):  # the first steps of episodes, played again from their tokens
        at = slice(k, None, world.steps)
        state, paid = world.step(world.restored(tokens[:, at]), moves[:, at, :3].argmax(-1))
        rewards.append(paid.mean(-1))
        distance = (state.position[..., :3, None, :] - state.position[..., None, 3:, :]).norm(dim=-1)
        torch.testing.assert_close(rewards[-1], -distance.amin(-2).sum(-1))
    expected = sum(DISCOUNT**k * r for k, r in enumerate(rewards)) if case == "return" else rewards[0]
    torch.testing.assert_close(seen.target[:, :: world.steps], expected, atol=1e-4, rtol=1e-4)


def test_draws_and_seeds_differ_and_a_seed_is_itself_alone() -> None:
    world, case = world_of(3), CASES["reward"]
    seen, fresh, one = (examples(world, case, 2, seeds, draw) for seeds, draw in ((2, 0), (2, 1), (1, 0)))
    assert torch.equal(seen.inputs[:1], one.inputs)
    assert not torch.allclose(seen.inputs[0, 0, :, :2], seen.inputs[1, 0, :, :2])
    assert not torch.allclose(seen.inputs[0, 0, :, :2], fresh.inputs[0, 0, :, :2])


def test_half_of_the_moves_are_random() -> None:
    """An agent at rest with its nearest landmark to the right goes there, but for four in five of random moves."""
    seen = examples(world_of(3), CASES["reward"], 1000, 1, 0)
    tokens, _, moves = seen.inputs[0].split([4, 2, 5], -1)
    here, landmarks = tokens[:, :3, :2], tokens[:, 3:, :2]
    far = torch.cdist(here, landmarks)
    goal = landmarks.gather(1, far.argmin(-1)[..., None].expand(-1, -1, 2)) - here
    right = (goal[..., 0] > 0.4) & (goal[..., 0] > 2 * goal[..., 1].abs()) & (tokens[:, :3, 2:].norm(dim=-1) < 0.2)
    chosen = moves[:, :3][right]
    assert len(chosen) > 400
    assert abs(float(chosen[:, 2].mean()) - 0.6) < 0.08  # three standard errors


def test_discounted_rewards_by_hand() -> None:
    rewards = Stream(0).normal((2, 14))
    found = discounted(rewards)
    assert found.shape == (2, 14 - AHEAD + 1)
    for t in range(found.shape[1]):
        by_hand = sum(DISCOUNT**k * rewards[:, t + k] for k in range(AHEAD))
        torch.testing.assert_close(found[:, t], by_hand)


def test_r_squared_is_that_of_others() -> None:
    from sklearn.metrics import r2_score

    target, guess = Stream(0).normal((3, 50)), Stream(1).normal((3, 50))
    expected = [r2_score(t, g) for t, g in zip(target.numpy(), guess.numpy(), strict=True)]
    torch.testing.assert_close(explained(target, guess), torch.tensor(expected, dtype=torch.float64))
    assert explained(target, target.mean(1, keepdim=True)).abs().max() < 1e-12
    assert (explained(target, target) == 1).all()


@pytest.mark.parametrize("network", NETWORKS)
def test_what_is_a_sum_over_rows_is_learned_by_all(network: str) -> None:
    """r = sum_i x_i1: linear, and so within reach of each of them."""
    inputs = Stream([0, 1]).normal((2, 600, 4, 3), torch.float32)
    both = Examples(inputs, inputs[..., 0].sum(-1))
    seen, fresh = (Examples(both.inputs[:, at], both.target[:, at]) for at in (slice(0, 500), slice(500, None)))
    learned = learn(EFFORT["quick"].learners[network], seen, fresh, 150)
    assert learned.test.shape == (2,)
    assert (learned.test > 0.9).all()
    rows = learned.rows("reward", 4, network, 150)
    assert [row["seed"] for row in rows] == [0, 1]


def test_noise_is_not_learned() -> None:
    """On noise a network that memorises has a test R^2 below 0, and what it was shown above."""
    inputs, target = Stream([0, 1]).normal((2, 600, 4, 3), torch.float32), Stream([2, 3]).normal((2, 600))
    seen, fresh = (Examples(inputs[:, at], target[:, at].float()) for at in (slice(0, 500), slice(500, None)))
    learned = learn(Learner(MLP(width=128), 0.003), seen, fresh, 400)
    assert (learned.test < 0).all()
    assert (learned.train > 0.8).all()


def test_seeds_learn_apart() -> None:
    """A batch of seeds is learned as each of them alone would be."""
    inputs = Stream([0, 1]).normal((2, 200, 4, 3), torch.float32)
    both = Examples(inputs, inputs[..., 0].amax(-1))
    first = Examples(inputs[:1], both.target[:1])
    learner = Learner(DeepSets(width=8), 0.01)
    together, alone = learn(learner, both, both, 20), learn(learner, first, first, 20)
    torch.testing.assert_close(together.test[:1], alone.test, atol=1e-4, rtol=1e-3)


def test_verdicts() -> None:
    test = {
        "set-transformer": torch.tensor([0.8, 0.82, 0.81]),
        "gcn": torch.tensor([0.6, 0.61, 0.62]),
        "deep-sets": torch.tensor([0.3, 0.2, 0.25]),
        "mlp": torch.tensor([0.1, 0.12, 0.11]),
    }
    assert [(c.id, c.verdict) for c in judged(6, test)] == [
        ("set-transformer-6", "holds"),
        ("gcn-6", "holds"),
        ("mlp-6", "holds"),
    ]
    assert len(judged(3, test)) == 2
    turned = test | {"gcn": test["set-transformer"] + 0.1, "mlp": test["mlp"] + 0.5}
    assert [c.verdict for c in judged(6, turned)] == ["fails", "holds", "fails"]
    noisy = test | {"gcn": torch.tensor([0.2, 0.9, 0.7])}
    assert judged(6, noisy)[0].verdict == "undecided"
    assert best("return", 3, test).verdict == "holds"
    assert grows({3: turned, 30: test}).verdict == "holds"
    assert grows({3: test, 30: turned}).verdict == "fails"


def test_learned_says_what_it_is() -> None:
    learned = Learned(torch.tensor([0.5, 0.7]), torch.tensor([0.9, 0.9]), 12)
    assert learned.said == "0.600 (0.500 0.700), on what was learned from 0.900"
    assert dataclasses.astuple(learned)[2] == 12
