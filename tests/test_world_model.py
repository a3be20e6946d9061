"""Planning with a model of the world: values against all plans by hand, worlds with traps, and what is refused."""

import warnings

import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim.algorithms.bail import BAIL
from gamesim.envs.latent.grid import Grid
from gamesim.envs.latent.lock import Lock
from gamesim.envs.latent.many_actors import ManyActors
from gamesim.envs.latent.needle import Needle
from gamesim.envs.latent.random_hierarchy import RandomHierarchy
from gamesim.envs.latent.trap import Trap
from gamesim.errors import Caution, InvalidInput
from gamesim.experiments import bail_world_model
from gamesim.games.latent import Belief
from gamesim.games.latent_tables import TabularWorld
from gamesim.planning.world_model import Tree, WorldModel
from gamesim.randomness import Stream
from gamesim.study import Study
from gamesim.testing import check_solver
from little_worlds import Little


def by_hand(world: TabularWorld, h: int, task: int, joint: list[Tensor], subgoal: int) -> float:
    """The expected reward of a subgoal and the best plan after it; joint[z][s] are weights of what is not known."""
    total = 0.0
    for o in range(len(world.observations)):
        after = [x @ world.transition[z, :, subgoal] * world.emission[z, :, o] for z, x in enumerate(joint)]
        total += float(world.reward[task, o]) * float(sum(x.sum() for x in after))
        if h < world.horizon - 1:
            total += max(by_hand(world, h + 1, task, after, g) for g in range(len(world.subgoals)))
    return total


@pytest.mark.parametrize("hidden", [True, False])
def test_values_at_every_decision_are_those_of_all_plans(hidden: bool) -> None:
    world, planner, luck = Little(hidden=hidden), WorldModel(), Stream(3)
    prior = Belief.of(luck.normal((1, 3)))
    for task in range(2):
        first = task  # another one for each
        memory = planner.begin(world, (1,))
        memory = type(memory)(prior, memory.before, memory.node)
        memory = planner.meet(world, memory, torch.tensor([task]), torch.tensor([first]), luck)
        joint = [prior.posterior[0, z] * world.initial[z] * world.emission[z, :, first] for z in range(3)]
        for h in range(3):
            found = planner.values(world, h, torch.tensor([task]), memory)[0]
            wanted = [by_hand(world, h, task, joint, g) for g in range(2)]
            torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-12)
            law = planner.law(world, h, torch.tensor([task]), memory)
            assert int(law.argmax()) == max(range(2), key=wanted.__getitem__)
            subgoal, report = int(luck.uniform(()) * 2), int(luck.uniform(()) * 3)
            memory = planner.hear(world, h, memory, torch.tensor([[subgoal]]), torch.tensor([report]))
            joint = [x @ world.transition[z, :, subgoal] * world.emission[z, :, report] for z, x in enumerate(joint)]
        held, total = planner.belief(memory).posterior[0], sum(x.sum() for x in joint)
        torch.testing.assert_close(held, torch.stack([x.sum() / total for x in joint]), rtol=0, atol=1e-12)


def test_runs_side_by_side_are_the_runs_one_by_one() -> None:
    world, luck = Little(hidden=False), Stream(5)
    tree = Tree.of(world)
    weights = torch.softmax(luck.normal((6, 3)), -1)
    task, node = torch.tensor([0, 1, 0, 1, 0, 1]), torch.tensor([0, 3, 2, 1, 1, 0])
    together = tree.values(0, task, node, weights)
    alone = [tree.values(0, task[i], node[i], weights[i]) for i in range(6)]
    torch.testing.assert_close(together, torch.stack(alone))


def test_of_one_decision_it_takes_the_box_that_is_likeliest_to_be_right() -> None:
    world, planner = Needle(boxes=5, luck=0.1), WorldModel()
    posterior = torch.tensor([[0.1, 0.2, 0.4, 0.2, 0.1], [0.3, 0.1, 0.1, 0.3, 0.2]], dtype=torch.float64)
    memory = planner.begin(world, (2,))
    memory = type(memory)(Belief(posterior.log()), memory.before, memory.node)
    none = torch.zeros(2, dtype=torch.long)
    memory = planner.meet(world, memory, none, none, Stream(0))
    assert planner.law(world, 0, none, memory).argmax(-1).tolist() == [[2], [0]]
    values = planner.values(world, 0, none, memory)
    torch.testing.assert_close(values[:, :5] - values[:, 5:], 0.1 + 0.4 * posterior)


def test_a_trap_costs_the_same_for_ever_unless_it_explores() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)
        found = [
            gs.solve(Trap(truth="bold"), BAIL(planner="world-model", exploration=e), iterations=200, seeds=8, every=100)
            for e in ("none", "theory(200)")
        ]
    plain, exploring = (result.metric("regret") for result in found)
    torch.testing.assert_close(plain[:, -1], torch.full((8,), 0.3 * 200, dtype=torch.float64))
    assert float(exploring[:, -1].max()) < 20
    assert float((exploring[:, -1] - exploring[:, -2]).max()) == 0.0


def test_it_says_that_it_does_not_explore() -> None:
    with pytest.warns(Caution, match="without exploration its regret may be linear"):
        gs.solve(Trap(), BAIL(planner="world-model"), iterations=1)


@pytest.mark.parametrize(
    ("world", "words"),
    [
        (ManyActors(), "ManyActors of 4 actors and 1 decisions', expected a world of tables"),
        (RandomHierarchy(episode=5), "a tree of 10,365,630 nodes"),
        (Needle(boxes=5000), "25,005,000 numbers"),
    ],
    ids=["actors", "long", "wide"],
)
def test_what_it_cannot_plan_in_is_refused_with_the_reason(world: object, words: str) -> None:
    with pytest.raises(InvalidInput) as error:
        gs.solve(world, BAIL(planner="world-model"), iterations=1)
    assert words in str(error.value)


@pytest.mark.parametrize("hidden", [True, False])
def test_steps_are_pure_and_resume(hidden: bool) -> None:
    check_solver(BAIL(planner="world-model", exploration=0.2), Little(hidden=hidden))


def test_reports_that_never_come_have_no_place_in_the_tree() -> None:
    tree, world = Tree.of(Lock()), Lock()
    possible = int((torch.einsum("zsgt,zto->go", world.transition, world.emission) > 0).sum())
    assert len(tree.subgoal) == possible < world.transition.shape[2] * len(world.observations)
    assert [x.shape[1] for x in tree.pays] == [possible**h for h in range(world.horizon)]


def test_the_study_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    small = bail_world_model.Effort((8, 16, 32), (16, 32, 64), (8, 16, 32), 6)
    monkeypatch.setitem(bail_world_model.EFFORT, "quick", small)  # type: ignore[arg-type]
    study: Study = bail_world_model.BailWorldModel().run("quick", lambda text: None)
    verdicts = {claim.id: claim.verdict for claim in study.claims}
    assert verdicts["brute-force"] == verdicts["trap-linear"] == "holds"
    assert verdicts["needle-bound"] == verdicts["random-bound"] == "holds"
    assert {row["world"] for row in study.data} == set(bail_world_model.NAMES)


def test_with_parts_that_were_learned_it_plans_by_those() -> None:
    """Its filter is the learned one, so its tree must be, too."""
    world = Grid(size=3, walks=2, reporter="learned", pairs=20)
    assert world.imagined is not None
    tree, learned, true = Tree.of(world), Tree.of(world.imagined), Tree.of(Grid(size=3, walks=2))
    assert all(torch.equal(x, y) for x, y in zip(tree.pays, learned.pays, strict=True))
    assert not all(x.shape == y.shape and torch.allclose(x, y) for x, y in zip(tree.pays, true.pays, strict=True))
