"""Recorded datasets: the ladder of behaviours, controllers against what is known, the same bits from the same seeds."""

import itertools
import math
from typing import Any

import pytest
import torch

from gamesim.data import SetData
from gamesim.envs.sets.spread import Spread
from gamesim.envs.sets.tag import Tag
from gamesim.errors import InvalidInput
from gamesim.games.worlds import SetWorld
from gamesim.offline import recording
from gamesim.offline.behaviours import Behaviour, Medium, Replay, acting
from gamesim.offline.experts import assigned, expert_of
from gamesim.offline.motion import Motion
from gamesim.offline.recording import described, episode_seeds, measured_references, record_sets
from gamesim.offline.replaying import replayed, seen_states
from gamesim.parameters import convert
from gamesim.randomness import Stream


def worlds() -> dict[str, SetWorld]:
    from gamesim.envs.sets.reference import Reference
    from gamesim.envs.sets.speaker_listener import SpeakerListener

    found: dict[str, SetWorld] = {}
    for cls, options in ((Spread, {"agents": 4, "landmarks": 3}), (Tag, {}), (Reference, {}), (SpeakerListener, {})):
        for actions in ("discrete", "continuous"):
            found[f"{cls.__name__}-{actions}"] = cls(actions=actions, **options)  # type: ignore[arg-type]
    return found


WORLDS = worlds()


@pytest.mark.parametrize("name", WORLDS)
def test_every_world_repeats_what_was_recorded(name: str) -> None:
    world = WORLDS[name]
    data = record_sets(world, "replay", 10, seed=3, references=False)
    assert (len(data), data.episodes) == (10 * world.steps, 10)
    assert bool((data.agents == world.acting).all())
    assert not data.terminated.any()
    assert data.truncated.sum() == 10
    told = replayed(data, world)
    assert (told.states, told.rewards) == (told.transitions, told.transitions) == (len(data), len(data))
    assert told.whole


def test_another_variant_does_not() -> None:
    data = record_sets(Spread(variant="mpe2"), "medium", 20, references=False)
    for variant, repeats in (("mpe2", True), ("jaxmarl", True), ("openai", False), ("vmas", False), ("omar", False)):
        assert replayed(data, Spread(variant=variant)).whole == repeats  # type: ignore[arg-type]


def test_an_episode_is_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [Spread(agents=3), Spread(agents=7, actions="discrete", variant="omar")]
    many = record_sets(places, "replay", 60, seed=5, references=False)
    few = record_sets(places, "replay", 7, seed=5, references=False)
    assert many.select([*range(7), *range(60, 67)]).content == few.content
    monkeypatch.setattr(recording, "AT_ONCE", 1)
    assert record_sets(places, "replay", 60, seed=5, references=False).content == many.content
    assert record_sets(places, "replay", 60, seed=6, references=False).content != many.content
    assert many.seed[:60].tolist() == episode_seeds(5, 60)
    assert len(set(episode_seeds(0, 1000)) | set(episode_seeds(1, 1000))) == 2000


def test_behaviours_have_episodes_of_their_own() -> None:
    data = record_sets(Spread(steps=3), ["random", "expert"], 20, references=False)
    assert data.header["behaviours"] == ["random", "expert"]
    assert len(data.seed.unique()) == 40


def test_the_ladder() -> None:
    data = record_sets(Spread(), "replay", 600)
    assert data.header["behaviours"] == [f"replay({x})" for x in ("1", "0.75", "0.5", "0.25", "0")]
    scores = [data.scores[data.behaviour == b] for b in range(5)]
    means = [float(s.mean()) for s in scores]
    errors = [float(s.std() / len(s) ** 0.5) for s in scores]
    assert means == sorted(means)
    assert abs(means[0]) < 4 * errors[0] + 4  # other episodes than those of the references
    assert abs(means[4] - 100) < 4 * errors[4] + 4
    known = data.header["references"]["0"]
    assert known["random"] + 10 * known["random_error"] < known["expert"]


@pytest.mark.parametrize("actions", ["discrete", "continuous"])
def test_random_moves_come_as_often_as_epsilon_says(actions: str) -> None:
    world = Spread(agents=20, actions=actions)  # type: ignore[arg-type]
    begun = world.begin((400,), Stream(0))
    wanted = expert_of(world, begun)(begun)
    for epsilon in (0.0, 0.3, 1.0):
        acts = acting(world, torch.full((400,), epsilon), Stream(1))(0, begun)
        same = acts == wanted
        share = float((same.all(-1) if same.dim() == 3 else same).double().mean())
        lucky = 0.2 if actions == "discrete" else 0.0  # a random move may be the expert's
        error = 5 * math.sqrt(0.25 / same[..., 0].numel() if same.dim() == 3 else 0.25 / same.numel())
        assert abs(share - (1 - epsilon + lucky * epsilon)) < error + 0.02
        if epsilon == 1.0 and actions == "continuous":
            assert float(acts.mean()) == pytest.approx(0.0, abs=0.03)
            assert float(acts.var()) == pytest.approx(1 / 3, abs=0.02)
        if epsilon == 1.0 and actions == "discrete":
            assert torch.bincount(acts.flatten()).tolist() == pytest.approx([1600] * 5, abs=200)


def test_assignment_is_the_best_of_all() -> None:
    draw = Stream(4)
    agents, targets = draw.normal((30, 5, 2)), draw.normal((30, 5, 2))
    cost = torch.cdist(agents, targets)
    best = torch.stack([cost[:, range(5), list(p)].sum(-1) for p in itertools.permutations(range(5))]).amin(0)
    chosen = assigned(agents, targets)
    assert torch.allclose(cost.gather(-1, chosen[..., None])[..., 0].sum(-1), best, atol=1e-9)
    few = assigned(agents, targets[:, :3])
    assert bool(((few >= 0).sum(-1) == 3).all())
    many = assigned(agents[:, :2], targets)
    assert bool((many >= 0).all())


@pytest.mark.parametrize(("variant", "force", "late"), [("mpe2", 5.0, 1), ("openai", 5.0, 0), ("vmas", 1.0, 0)])
def test_motion_is_that_of_the_equations(variant: str, force: float, late: int) -> None:
    measured = Motion.of(Spread(agents=2, variant=variant, dtype="float64"), 4)  # type: ignore[arg-type]
    a, b, x, y, v, w = [], [], 0.0, 0.0, 1.0, 0.1 * force
    for k in range(4):  # position by the velocity from before a step, or from after it
        if not late:
            v = 0.75 * v
        x += 0.1 * v
        if late:
            v = 0.75 * v
        y += 0.1 * w if k >= late else 0.0
        w *= 0.75 if k >= late else 1.0
        a.append(x)
        b.append(y)
    assert measured.coast[:, 0].tolist() == pytest.approx(a, abs=1e-9)
    assert measured.push[:, 1].tolist() == pytest.approx(b, abs=1e-9)


@pytest.mark.parametrize("actions", ["discrete", "continuous"])
def test_steering_is_the_best_force(actions: str) -> None:
    motion = Motion.of(Spread(agents=1, actions=actions, dtype="float64"), 3)  # type: ignore[arg-type]
    draw = Stream(2)
    goal, x, v = (draw.normal((50, 1, 2)) * 0.3 for _ in range(3))
    chosen = motion.towards(goal, x, v)
    if actions == "discrete":
        forces = motion.moves
        found = forces[chosen]
    else:
        grid = torch.linspace(-1, 1, 201, dtype=torch.float64)
        forces = torch.cartesian_prod(grid, grid)
        found = chosen
    a, b = motion.coast[:, 0], motion.push[:, 0]

    def far(u: Any) -> Any:  # [50, ..., 2] -> [50, ...]
        ends = x[:, 0, None] + a[:, None] * v[:, 0, None] - goal[:, 0, None]
        return (ends[:, :, None] + b[:, None, None] * u[:, None]).square().sum((1, -1))

    best = far(forces.expand(50, -1, 2)).amin(-1)
    assert torch.all(far(found)[:, 0] <= best + 1e-3)


def test_teams_hunt_and_flee() -> None:
    world = Tag()

    def catches(hunters: float, prey: float) -> float:
        act = acting(world, torch.full((200,), hunters), Stream(1)), acting(world, torch.full((200,), prey), Stream(2))

        def both(k: int, state: Any) -> Any:
            return torch.cat([act[0](k, state)[:, :3], act[1](k, state)[:, 3:]], -1)

        return float(world.play(both, (200,), Stream(0)).rewards[..., 0].sum(-1).mean())

    assert catches(0, 1) > 3 * catches(1, 1) > 0
    assert catches(1, 0) < 0.5 * catches(1, 1)
    assert measured_references(world) == {}  # no one number says how well two teams play
    assert torch.isnan(record_sets(world, "expert", 3).scores).all()


def test_worlds_without_an_expert_have_random_play() -> None:
    class Other(Spread):  # type: ignore[misc]
        """A world that nobody has a controller for."""

    assert len(record_sets(Other(), "random", 2)) == 50
    with pytest.raises(InvalidInput, match="behaviour: Other has no expert"):
        record_sets(Other(), "medium", 2)
    assert described(Other())["id"].endswith("test_worlds_without_an_expert_have_random_play.<locals>.Other")
    assert described(Spread(agents=5))["id"] == "sets/spread"
    assert "device" not in described(Spread())["parameters"]


@pytest.mark.parametrize("variant", ["mpe2", "openai", "vmas", "omar"])
def test_states_from_observations(variant: str) -> None:
    world = Spread(agents=4, landmarks=2, variant=variant)  # type: ignore[arg-type]
    data = record_sets(world, "medium", 3, references=False)
    tokens = data.tokens.view(-1, world.entities, 4)
    seen = world.observations(world.restored(tokens))
    assert torch.allclose(seen_states(world, seen).float(), tokens, atol=1e-6)
    seen[5, 2, 7] += 0.1
    with pytest.raises(InvalidInput, match=r"observations\[5\]: got 'no view of a state'"):
        seen_states(world, seen)
    with pytest.raises(InvalidInput, match="observations: got"):
        seen_states(world, seen[..., :-1])


def test_bad_requests() -> None:
    with pytest.raises(InvalidInput, match="did you mean expert"):
        record_sets(Spread(), "expet", 2)
    with pytest.raises(InvalidInput, match=r"epsilon: got 2.0, expected a probability"):
        record_sets(Spread(), "medium(2)", 2)
    with pytest.raises(InvalidInput, match="episodes: got 1000000000, expected fewer"):
        record_sets(Spread(), "random", 10**9)
    with pytest.raises(InvalidInput, match="worlds: got 'none'"):
        record_sets([], "random", 1)
    with pytest.raises(InvalidInput, match="world: got 'int'"):
        record_sets([3], "random", 1)  # type: ignore[list-item]
    with pytest.raises(InvalidInput, match="behaviour: got 'none'"):
        record_sets(Spread(), [], 1)
    assert str(convert("replay(3)", Behaviour, "behaviour")) == str(Replay(3)) == "replay(3)"
    assert convert("medium", Behaviour, "behaviour") == Medium(0.5)


def test_several_numbers_of_agents_in_one(tmp_path: Any) -> None:
    data = record_sets([Spread(agents=n, steps=5) for n in (1, 3, 8)], "medium", 4)
    assert data.plain()["transitions_by_agents"] == {"1": 20, "3": 20, "8": 20}
    assert sorted(data.header["references"]) == ["0", "1", "2"]
    assert SetData.load(data.save(tmp_path / "several.npz")).content == data.content
