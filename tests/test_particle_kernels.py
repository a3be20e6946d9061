"""The compiled loops of particle worlds and their plain twin: the same moves, motion, rewards and observations."""

from typing import Any

import pytest
import torch
from torch import Tensor

from gamesim.envs.sets.discs import Discs
from gamesim.envs.sets.episodes import Rolled
from gamesim.envs.sets.reference import Reference
from gamesim.envs.sets.spread import Spread
from gamesim.envs.sets.tag import Tag
from gamesim.games.worlds import Particles
from gamesim.kernels import fused, particles_loops
from gamesim.randomness import Stream

WORLDS: dict[str, Any] = {
    "mpe2": lambda **k: Spread(agents=3, **k),
    "openai": lambda **k: Spread(agents=7, landmarks=4, variant="openai", **k),
    "vmas": lambda **k: Spread(agents=5, variant="vmas", **k),
    "omar": lambda **k: Spread(agents=4, variant="omar", **k),
    "pic": lambda **k: Spread(agents=6, variant="pic", radius=1.6, **k),
    "alone": lambda **k: Spread(agents=1, **k),
    "tag": lambda **k: Tag(**k),
    "tag-many": lambda **k: Tag(predators=5, prey=3, obstacles=0, variant="openai", **k),
}
KINDS = pytest.mark.parametrize("actions", ["discrete", "continuous"])
assert particles_loops.LANES == 64  # imported, so that even a single world goes through the loops


def both(play: Any) -> tuple[Any, Any]:
    """What the loops answer, and what torch does."""
    with fused(True):
        ours = play()
    with fused(False):
        return ours, play()


def agree(ours: Rolled, twin: Rolled, within: float, observed: bool) -> None:
    torch.testing.assert_close(ours.tokens, twin.tokens, rtol=0, atol=within)
    torch.testing.assert_close(ours.rewards, twin.rewards, rtol=within, atol=within)
    torch.testing.assert_close(ours.actions, twin.actions, rtol=0, atol=0)
    torch.testing.assert_close(ours.final.position, twin.final.position, rtol=0, atol=within)
    torch.testing.assert_close(ours.final.velocity, twin.final.velocity, rtol=0, atol=10 * within)
    if observed:
        torch.testing.assert_close(ours.observations, twin.observations, rtol=0, atol=within)


@pytest.mark.parametrize("name", WORLDS)
@KINDS
def test_loops_play_as_torch_does(name: str, actions: Any) -> None:
    world: Discs = WORLDS[name](actions=actions, dtype="float64")
    shown = world.shown is not None
    ours, twin = both(lambda: world.wander((2, 35), Stream([3, 4]), 8, observed=shown))
    agree(ours, twin, 1e-11, shown)
    assert torch.equal(ours.tokens[..., -1, :, :], world.tokens(ours.final))


@pytest.mark.parametrize("name", ["mpe2", "vmas", "tag"])
def test_loops_in_single_precision(name: str) -> None:
    world: Discs = WORLDS[name](dtype="float32")
    ours, twin = both(lambda: world.wander((70,), Stream(5), 5))
    agree(ours, twin, 1e-4, False)
    assert ours.rewards.dtype == torch.float32


@pytest.mark.parametrize("worlds", [1, 63, 64, 65, 130])
def test_a_world_knows_nothing_of_its_neighbours(worlds: int) -> None:
    world = Spread(agents=4, dtype="float64")
    whole = world.begin((130,), Stream(1))
    moves = (Stream(2).uniform((130, 6, 4)) * 5).long()
    every = world.replay(whole, moves)
    few = world.replay(Particles(whole.position[:worlds], whole.velocity[:worlds]), moves[:worlds])
    assert torch.equal(every.tokens[:worlds], few.tokens)
    assert torch.equal(every.rewards[:worlds], few.rewards)


@pytest.mark.parametrize("on", [True, False], ids=["fused", "plain"])
def test_a_seed_plays_alone_as_in_a_batch(on: bool) -> None:
    world = Spread(agents=3, dtype="float64")
    with fused(on):
        alone = world.wander((5,), Stream(8), 4)
        together = world.wander((3, 5), Stream([7, 8, 9]), 4)
    assert torch.equal(together.actions[1], alone.actions)
    assert torch.equal(together.tokens[1], alone.tokens)


def test_a_law_says_how_often_moves_are_drawn() -> None:
    world, law = Spread(agents=3), torch.tensor([0.1, 0.0, 0.5, 0.4, 0.0])
    ours, twin = both(lambda: world.wander((400,), Stream(0), 10, law=law))
    assert torch.equal(ours.actions, twin.actions)
    share = torch.bincount(ours.actions.flatten(), minlength=5) / ours.actions.numel()
    assert share[1] == share[4] == 0
    torch.testing.assert_close(share, law, atol=0.015, rtol=0)


def test_draws_continue_after_an_episode() -> None:
    world, stream, other = Spread(agents=2), Stream(3), Stream(3)
    with fused(True):
        first = world.wander((9,), stream, 3), world.wander((9,), stream, 3)
    with fused(False):
        second = world.wander((9,), other, 3), world.wander((9,), other, 3)
    assert torch.equal(first[1].actions, second[1].actions)
    assert not torch.equal(first[0].actions, first[1].actions)
    assert stream.take()[1:] == other.take()[1:]


def test_one_step_is_the_first_of_many() -> None:
    for name in ("mpe2", "tag"):
        world: Discs = WORLDS[name](dtype="float64")
        state = world.begin((40,), Stream(1))
        moves = (Stream(2).uniform((40, 3, world.acting)) * 5).long()
        whole, seen = world.replay(state, moves), state
        for k in range(3):
            seen, rewards = world.step(seen, moves[:, k])
            assert torch.equal(world.tokens(seen), whole.tokens[:, k + 1])
            assert torch.equal(rewards, whole.rewards[:, k])


def test_entities_at_one_place_leave_one_another_alone() -> None:
    world = Spread(agents=2, dtype="float64")
    state = Particles(torch.zeros(1, 4, 2, dtype=torch.float64), torch.zeros(1, 4, 2, dtype=torch.float64))
    (ours, paid), (twin, due) = both(lambda: world.step(state, torch.zeros(1, 2, dtype=torch.long)))
    assert torch.equal(ours.position, twin.position)
    assert not bool(ours.velocity.any())
    assert torch.equal(paid, due)


def test_leading_dimensions_are_a_batch_and_inputs_stay_as_they_were() -> None:
    world = Spread(agents=3, dtype="float64")
    state = world.begin((4,), Stream(0))
    kept = state.position.clone()
    moves = (Stream(1).uniform((6, 1, 3)) * 5).long()
    (ours, paid), (twin, _) = both(lambda: world.step(state, moves))
    assert ours.position.shape == (6, 4, 6, 2)
    assert paid.shape == (6, 4, 3)
    torch.testing.assert_close(ours.position, twin.position, rtol=0, atol=1e-13)
    assert torch.equal(state.position, kept)
    turned = Particles(state.position.mT.contiguous().mT, state.velocity)  # the same numbers, strided otherwise
    assert torch.equal(world.step(turned, moves)[0].position, ours.position)
    assert world.step(world.begin((), Stream(0)), moves[0, 0])[1].shape == (3,)
    assert world.wander((0,), Stream(0), 2).tokens.shape == (0, 3, 6, 4)


def test_gradients_and_functional_transforms_take_the_plain_twin() -> None:
    world = Spread(agents=3, actions="continuous", dtype="float64")
    state = world.begin((2,), Stream(0))

    def paid(force: Tensor) -> Tensor:
        after, first = world.step(state, force)
        return first.sum() + world.step(after, force)[1].sum()

    force = 0.5 * Stream(1).normal((2, 3, 2)).clamp(-1, 1)
    assert torch.autograd.gradcheck(paid, (force.clone().requires_grad_(),))
    (slope,) = torch.autograd.grad(paid(leaf := force.clone().requires_grad_()), leaf)
    torch.testing.assert_close(torch.func.grad(paid)(force), slope)
    many = torch.func.vmap(lambda u: world.physics.moved(state.position[0], state.velocity[0, :3], u)[0])(force)
    torch.testing.assert_close(many[1], world.physics.moved(state.position[0], state.velocity[0, :3], force[1])[0])


def test_worlds_that_the_loops_do_not_know_are_played_in_torch() -> None:
    world = Reference(dtype="float64")
    ours, twin = both(lambda: world.wander((6,), Stream(2), 3, observed=True))
    assert torch.equal(ours.tokens, twin.tokens)
    assert ours.observations.shape == (6, 4, 2, 21)
