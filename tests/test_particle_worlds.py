"""Particle worlds against their definitions written as loops, against symmetry, and against bad input."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim.envs.sets.discs import Discs
from gamesim.envs.sets.reference import Reference
from gamesim.envs.sets.speaker_listener import SpeakerListener
from gamesim.envs.sets.spread import Spread
from gamesim.envs.sets.tag import Tag
from gamesim.envs.sets.variants import DEFINITIONS, differences, variant_facts
from gamesim.errors import InvalidInput
from gamesim.games.worlds import Particles
from gamesim.kernels import fused
from gamesim.randomness import Stream

VARIANTS = pytest.mark.parametrize("variant", DEFINITIONS)
ON = pytest.mark.parametrize("on", [True, False], ids=["fused", "plain"])
WORLDS: dict[str, Any] = {
    "spread": lambda **k: Spread(agents=4, landmarks=3, **k),
    "tag": lambda **k: Tag(predators=3, prey=2, **k),
    "reference": lambda **k: Reference(**k),
    "speaker-listener": lambda **k: SpeakerListener(**k),
}
ALL = pytest.mark.parametrize("name", WORLDS)


# --- definitions as loops ---------------------------------------------------------------------------------------------


def crowded(world: Discs, worlds: int, seed: int = 0) -> Particles:
    """Entities close enough that they overlap, and moving."""
    state = world.begin((worlds,), Stream(seed))
    velocity = Stream(seed + 1).normal(tuple(state.velocity.shape)).to(state.velocity)
    velocity[..., world.acting :, :] = 0
    return Particles(0.4 * state.position / world.half, velocity, state.extra)


def step_by_loops(world: Any, position: Any, velocity: Any, force: Any) -> tuple[Any, Any]:
    """Lists in, lists out: the equations of the docstring, one pair after another."""
    n, e = world.acting, world.entities
    sizes, hard, limits = (getattr(world.physics, k).tolist() for k in ("radius", "strength", "fastest"))
    total = [[hard[i] * u for u in force[i]] for i in range(n)]
    for i in range(n):
        for j in range(world.physics.colliding):
            d = math.dist(position[i], position[j])
            if i == j or (world.physics.cut and d > sizes[i] + sizes[j]):
                continue
            push = 100 * 1e-3 * math.log1p(math.exp(min((sizes[i] + sizes[j] - d) / 1e-3, 700)))
            for k in (0, 1):
                total[i][k] += push * (position[i][k] - position[j][k]) / d
    speed = [[0.75 * velocity[i][k] + 0.1 * total[i][k] for k in (0, 1)] for i in range(n)]
    for i in range(n):
        fast = math.hypot(*speed[i])
        if fast > limits[i]:
            speed[i] = [v / fast * limits[i] for v in speed[i]]
    moving = velocity if world.physics.position_first else speed
    place = [[position[i][k] + 0.1 * moving[i][k] for k in (0, 1)] for i in range(n)]
    return place + position[n:], speed + [[0.0, 0.0]] * (e - n)


@pytest.mark.parametrize(
    "world",
    [
        *(
            Spread(agents=4, landmarks=3, variant=v, radius=1.5, actions="continuous", dtype="float64")
            for v in DEFINITIONS
        ),
        Tag(predators=3, prey=2, actions="continuous", dtype="float64"),
        Tag(predators=2, prey=2, variant="openai", obstacles=0, actions="continuous", dtype="float64"),
    ],
    ids=lambda w: f"{type(w).__name__.lower()}-{w.variant}",
)
@ON
def test_a_step_is_its_equations(world: Any, on: bool) -> None:
    state = crowded(world, 40)
    force = (2 * Stream(5).uniform((40, world.acting, 2)) - 1).double()
    with fused(on):
        after, _ = world.step(state, force)
    for b in range(40):
        place, speed = step_by_loops(world, state.position[b].tolist(), state.velocity[b].tolist(), force[b].tolist())
        torch.testing.assert_close(after.position[b], torch.tensor(place, dtype=torch.float64), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(after.velocity[b], torch.tensor(speed, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def covering(variant: str, x: Any, y: Any, ratio: float) -> list[float]:
    """The rewards of spread, each from its own sentence."""
    n = len(x)
    nearest = [min(math.dist(a, l) for a in x) for l in y]
    meets = [sum(math.dist(a, b) < 0.3 for b in x) - 1 for a in x]  # but itself
    if variant in ("mpe2", "jaxmarl"):
        return [-(1 - ratio) * sum(nearest) - ratio * m for m in meets]
    if variant == "openai":
        return [sum(-sum(nearest) - (m + 1) for m in meets)] * n
    if variant == "vmas":
        return [-n * sum(nearest) - sum(meets)] * n
    if variant == "omar":
        return [sum(min(1 / d, 10) for d in nearest) - 5 * m for m in meets]
    return [-sum(nearest) - sum(meets)] * n


@VARIANTS
@ON
def test_rewards_of_spread_are_what_their_sources_say(variant: Any, on: bool) -> None:
    ratio = 0.25 if variant in ("mpe2", "jaxmarl") else None
    world = Spread(agents=5, landmarks=4, variant=variant, local_ratio=ratio, radius=1.5, dtype="float64")
    state = crowded(world, 30)
    with fused(on):
        after, rewards = world.step(state, torch.zeros(30, 5, dtype=torch.long))
    met = 0.0
    for b in range(30):
        x = after.position[b].tolist()
        due = covering(variant, x[:5], x[5:], ratio or 0.0)
        met += sum(math.dist(p, q) < 0.3 for p in x[:5] for q in x[:5]) - 5
        torch.testing.assert_close(rewards[b], torch.tensor(due, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    assert met > 10


@pytest.mark.parametrize("shaped", [False, True])
@ON
def test_rewards_of_tag_are_what_their_source_says(shaped: bool, on: bool) -> None:
    world = Tag(predators=3, prey=2, shaped=shaped, dtype="float64")
    state = crowded(world, 60)
    spread_out = Particles(state.position * torch.linspace(0.1, 4, 60)[:, None, None], state.velocity)
    with fused(on):
        after, rewards = world.step(spread_out, torch.zeros(60, 5, dtype=torch.long))

    def bound(z: float) -> float:
        return 0.0 if z < 0.9 else 10 * (z - 0.9) if z < 1 else min(math.exp(2 * z - 2), 10.0)

    caught = 0
    for b in range(60):
        x = after.position[b].tolist()
        pairs = [[math.dist(x[i], x[j]) < 0.125 for j in (3, 4)] for i in range(3)]
        caught += sum(map(sum, pairs))
        way = [min(math.dist(x[i], x[j]) for j in (3, 4)) for i in range(3)]
        due = [10 * sum(map(sum, pairs)) - (0.1 * sum(way) if shaped else 0.0)] * 3
        for j in (3, 4):
            away = 0.1 * sum(math.dist(x[i], x[j]) for i in range(3)) if shaped else 0.0
            due.append(away - 10 * sum(p[j - 3] for p in pairs) - sum(bound(abs(z)) for z in x[j]))
        torch.testing.assert_close(rewards[b], torch.tensor(due, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    assert caught > 5


def test_words_are_heard_and_goals_are_paid() -> None:
    world = Reference(dtype="float64", local_ratio=0.25)
    state = world.begin((3,), Stream(0))
    assert world.tokens(state)[..., 7:].abs().sum() == 0
    after, rewards = world.step(state, torch.tensor([[2 + 5 * 9, 0 + 5 * 3]]))
    assert after.extra[0].argmax(-1).tolist() == [[9, 3]] * 3
    assert world.observations(after)[0, 0, -10:].argmax() == 3
    for b in range(3):
        x, goals = after.position[b].tolist(), state.extra[1][b].tolist()
        own = [-math.dist(x[1 - i], x[2 + goals[i]]) for i in (0, 1)]
        due = [0.75 * sum(own) / 2 + 0.25 * l for l in own]
        assert rewards[b].tolist() == pytest.approx(due, abs=1e-12)


@VARIANTS
def test_observations_hold_what_their_facts_say(variant: Any) -> None:
    world = Spread(agents=4, landmarks=3, variant=variant, radius=1.5, dtype="float64")
    state = crowded(world, 2)
    seen = world.observations(state)
    x, v = state.position, state.velocity
    for i in range(4):
        marks = [x[:, 4 + l] - x[:, i] for l in range(3)]
        others = [x[:, j] - x[:, i] for j in range(4) if j != i]
        if variant == "pic":
            marks, others = (_sorted(z) for z in (marks, others))
        own = [x[:, i], v[:, i]] if variant == "vmas" else [v[:, i], x[:, i]]
        silence = [] if variant in ("vmas", "pic") else [torch.zeros(2, 6, dtype=x.dtype)]
        torch.testing.assert_close(seen[:, i], torch.cat([*own, *marks, *others, *silence], -1))


def _sorted(relative: list[Tensor]) -> list[Tensor]:
    together = torch.stack(relative, 1)
    order = together.norm(dim=-1).argsort(-1)
    return list(torch.stack([row[o] for row, o in zip(together, order, strict=True)]).unbind(1))


# --- symmetry, batches, seeds -----------------------------------------------------------------------------------------


@ALL
def test_nothing_changes_when_entities_of_a_kind_are_renamed(name: str) -> None:
    world = WORLDS[name](dtype="float64")
    state = world.begin((20,), Stream(3))
    moves = (Stream(4).uniform((20, world.acting)) * world.action_count).long()
    order = torch.cat([(world.types == k).nonzero().flatten().flip(0) for k in range(len(world.kinds_of_entity))])
    colours = "colour_0" in world.features
    if colours:  # landmarks are told apart by their colours
        order = torch.cat([order[:2], torch.arange(2, 5)])
    agents = order[: world.acting]
    extra = tuple(x[:, agents] for x in state.extra)
    renamed = Particles(state.position[:, order], state.velocity[:, order], extra)
    (one, paid), (other, due) = world.step(state, moves), world.step(renamed, moves[:, agents])
    torch.testing.assert_close(world.tokens(other), world.tokens(one)[:, order], rtol=0, atol=1e-12)
    torch.testing.assert_close(due, paid[:, agents], rtol=0, atol=1e-12)


@ALL
@pytest.mark.parametrize("actions", ["discrete", "continuous"])
def test_tokens_restore_the_state(name: str, actions: Any) -> None:
    world = WORLDS[name](actions=actions, dtype="float64")
    state = world.begin((2, 5), Stream([1, 2]))
    moves = world.played((Stream(4).uniform((2, 5, world.acting)) * world.action_count).long())
    after, _ = world.step(state, moves)
    tokens = world.tokens(after)
    assert tokens.shape == (2, 5, world.entities, len(world.features))
    again = world.restored(tokens)
    for (p, r), (q, s) in zip((world.step(x, moves) for x in (after, again)), ((after, 0), (again, 0)), strict=True):
        assert p.position.shape == q.position.shape
        assert r.shape == (2, 5, world.acting)
        assert s == 0
    one, two = world.step(after, moves), world.step(again, moves)
    assert torch.equal(world.tokens(one[0]), world.tokens(two[0]))
    assert torch.equal(one[1], two[1])


@pytest.mark.parametrize("variant", ["mpe2", "pic"])
def test_a_seed_begins_alone_as_in_a_batch(variant: Any) -> None:
    world = Spread(agents=8, variant=variant)
    together, alone = world.begin((2, 30), Stream([3, 4])), world.begin((30,), Stream(4))
    assert torch.equal(together.position[1], alone.position)
    assert bool((alone.position.abs() <= world.half).all())


def test_landmarks_of_pic_stand_apart() -> None:
    world = Spread(agents=30, variant="pic", dtype="float64")
    marks = world.begin((20,), Stream(0)).position[:, 30:]
    assert float(torch.stack([torch.nn.functional.pdist(x) for x in marks]).min()) >= 0.675


def test_worlds_are_games_of_one_law() -> None:
    world = Spread(agents=2)
    law = torch.tensor([[0.2] * 5, [1.0, 0, 0, 0, 0]])
    assert [tuple(x.shape) for x in world.start()] == [(5,)]
    found = world.metrics((law,))["return"]
    assert found.shape == (2,)
    torch.testing.assert_close(found[:1], world.metrics((law[:1],))["return"])
    recording = world.play(lambda k, state: torch.zeros(7, 2, dtype=torch.long), (7,), Stream(0))
    assert recording.tokens.shape == (7, 26, 4, 4)
    assert recording.returns.shape == (7,)


def test_variants_say_how_they_differ() -> None:
    for first in DEFINITIONS:
        assert differences(first, first) == []
        for second in DEFINITIONS:
            if first != second:
                assert differences(first, second), (first, second)
    assert Spread(variant="omar", agents=6).facts["entities begin within"] == "2 for 6 agents"
    assert variant_facts("pic", 30)["entities begin within"] == "3 for 30 agents"
    with pytest.raises(InvalidInput, match="did you mean mpe2"):
        variant_facts("mpe3")


@pytest.mark.parametrize(("agents", "radius"), [(1, 3.0), (3, 3.0), (6, 1.5), (15, 2.2), (100, 5.0), (800, 14.0)])
def test_the_square_of_pic_grows_with_agents(agents: int, radius: float) -> None:
    assert Spread(agents=agents, variant="pic").half == radius


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Spread(agents=0), "agents: got 0"),
        (lambda: Spread(landmarks=0), "landmarks: got 0"),
        (lambda: Spread(radius=-1), "radius: got -1"),
        (lambda: Spread(variant="v3"), "variant: got 'v3'"),  # type: ignore[arg-type]
        (lambda: Spread(variant="vmas", local_ratio=0.5), "local_ratio: got 0.5, expected none"),
        (lambda: Spread(local_ratio=1.5), "local_ratio: got 1.5"),
        (lambda: Spread(agents=30, variant="pic", radius=1.0), "radius: got 1.0"),
        (lambda: Spread(device="cuda:99"), "device: got 'cuda:99'"),
        (lambda: Tag(predators=0), "predators: got 0"),
        (lambda: Tag(prey=0), "prey: got 0"),
        (lambda: Reference(steps=0), "steps: got 0"),
    ],
)
def test_bad_parameters_are_refused(make: Any, complaint: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        make()
    assert str(refusal.value).startswith(complaint)


BAD: list[tuple[Any, Any, str]] = [
    ("discrete", torch.tensor([[0, 7, 0]]), "actions[0, 1]: got 7, expected a whole number from 0 to 4"),
    ("discrete", torch.tensor([[0, -1, 0]]), "actions[0, 1]: got -1"),
    ("discrete", torch.tensor([[0, 1]]), "actions: got torch.int64 of shape [1, 2]"),
    ("discrete", torch.tensor([[0.0, 1.0, 1.0]]), "actions: got torch.float32"),
    ("discrete", torch.tensor([[True, False, True]]), "actions: got torch.bool"),
    ("continuous", torch.full((1, 3, 2), math.nan), "actions[0, 0, 0]: got nan, expected a number"),
    ("continuous", torch.zeros(1, 3, 2, dtype=torch.long), "actions: got torch.int64"),
    ("continuous", torch.zeros(1, 2, 2), "actions: got torch.float32 of shape [1, 2, 2]"),
    ("continuous", torch.zeros(1, 3, 2, device="meta"), "actions: got on meta"),
]


@pytest.mark.parametrize(("actions", "given", "complaint"), BAD)
@ON
def test_actions_outside_the_space_are_refused(actions: Any, given: Tensor, complaint: str, on: bool) -> None:
    world = Spread(actions=actions)
    state = world.begin((1,), Stream(0))
    for play in (lambda: world.step(state, given), lambda: world.replay(state, given[:, None])):
        with fused(on), pytest.raises(InvalidInput) as refusal:
            play()
        assert str(refusal.value).startswith("actions")
    with fused(on), pytest.raises(InvalidInput) as refusal:
        world.step(state, given)
    assert str(refusal.value).replace("'", "").startswith(complaint)


def test_a_force_that_is_too_large_is_clipped_or_refused() -> None:
    strong = torch.full((1, 3, 2), 3.0)
    clipping = Spread(actions="continuous")
    state = clipping.begin((1,), Stream(0))
    assert torch.equal(clipping.step(state, strong)[0].velocity, clipping.step(state, strong / 3)[0].velocity)
    with pytest.raises(InvalidInput, match=r"actions\[0, 0, 0\]: got 3.0, expected from -1 to 1"):
        Spread(actions="continuous", outside="refuse").step(state, strong)
    loud = Reference(actions="continuous", outside="refuse")
    action = torch.zeros(1, 2, 12)
    action[..., -1] = -0.5
    with pytest.raises(InvalidInput, match=r"actions\[0, 0, 11\]: got -0.5, expected from 0 to 1"):
        loud.step(loud.begin((1,), Stream(0)), action)


def test_states_of_other_worlds_are_refused() -> None:
    world = Spread(agents=3)
    moves = torch.zeros(1, 3, dtype=torch.long)
    for state, complaint in (
        (Spread(agents=2).begin((1,), Stream(0)), "state.position: got torch.float32 of shape [1, 4, 2]"),
        (Spread(dtype="float64").begin((1,), Stream(0)), "state.position: got torch.float64 on cpu"),
        (Particles(*(torch.zeros(1, 6, 2, device="meta"),) * 2), "state.position: got torch.float32 on meta"),
    ):
        with pytest.raises(InvalidInput) as refusal:
            world.step(state, moves)
        assert str(refusal.value).replace("'", "").startswith(complaint)
    for tokens in (torch.zeros(1, 5, 4), torch.zeros(1, 6, 3), torch.zeros(1, 6, 4, dtype=torch.long)):
        with pytest.raises(InvalidInput, match="tokens"):
            world.restored(tokens)
    with pytest.raises(InvalidInput, match="law"):
        world.wander((1,), Stream(0), law=torch.ones(3) / 3)
    with pytest.raises(InvalidInput, match="steps"):
        world.wander((1,), Stream(0), 0)
    with pytest.raises(InvalidInput, match="at least one step"):
        world.replay(world.begin((1,), Stream(0)), torch.zeros(1, 0, 3, dtype=torch.long))


def test_a_catalogue_names_them() -> None:
    for name in WORLDS:
        try:
            world = gs.make(f"sets/{name}", device="cpu")
        except InvalidInput as error:
            pytest.skip(str(error))
        assert isinstance(world, Discs)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@ALL
def test_a_gpu_plays_as_the_cpu_does(name: str) -> None:
    here, there = (WORLDS[name](dtype="float64", device=d) for d in ("cpu", "cuda"))
    ours, theirs = (w.wander((50,), Stream(0), 6, observed=True) for w in (here, there))
    torch.testing.assert_close(theirs.tokens.cpu(), ours.tokens, rtol=0, atol=1e-9)
    torch.testing.assert_close(theirs.rewards.cpu(), ours.rewards, rtol=0, atol=1e-9)
