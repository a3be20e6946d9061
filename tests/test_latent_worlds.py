"""Filters, experts, regrets and distances of latent worlds, against counting by hand."""

import itertools
import math

import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim.algorithms.bail import BAIL
from gamesim.envs.latent.needle import Needle
from gamesim.errors import Caution, InvalidInput
from gamesim.games.latent import Belief
from gamesim.randomness import Stream
from little_worlds import Little


def likelihood(world: Little, reports: list[int], subgoals: list[int]) -> Tensor:
    """P_z(reports of an episode), [z], by adding up all paths of states."""
    paths = torch.tensor(list(itertools.product(range(4), repeat=len(reports)))).T
    chance = world.initial[:, paths[0]] * world.emission[:, paths[0], reports[0]]
    for h, (g, o) in enumerate(zip(subgoals, reports[1:], strict=True)):
        chance = chance * world.transition[:, paths[h], g, paths[h + 1]] * world.emission[:, paths[h + 1], o]
    return chance.sum(-1)


@pytest.mark.parametrize("hidden", [True, False])
def test_the_filter_is_bayes_rule(hidden: bool) -> None:
    world, luck = Little(hidden=hidden), Stream(1)
    assert world.revealed is not hidden
    count, belief, log = len(world.observations), world.believe((1,)), world.prior.log()
    for _ in range(3):
        reports = [int(luck.uniform(()) * count) for _ in range(4)]
        subgoals = [int(luck.uniform(()) * 2) for _ in range(3)]
        belief = world.meet(belief, torch.tensor(reports[:1]))
        for h in range(3):
            belief = world.update(h, belief, torch.tensor([[subgoals[h]]]), torch.tensor([reports[h + 1]]))
        log = log + likelihood(world, reports, subgoals).log()
    torch.testing.assert_close(belief.posterior[0], torch.softmax(log, -1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("hidden", [True, False])
def test_experts_are_optimal_among_all_plans(hidden: bool) -> None:
    world = Little(hidden=hidden, horizon=2)

    def best(joint: Tensor, z: int, w: int, h: int) -> float:
        if h == 2:
            return 0.0
        found = []
        for g in range(2):
            after = (joint @ world.transition[z, :, g])[None] * world.emission[z].T
            paid = (after.sum(-1) * world.reward[w]).sum()
            found.append(float(paid) + sum(best(x, z, w, h + 1) for x in after))
        return max(found)

    for z in range(3):
        by_task = [sum(best(x, z, w, 0) for x in world.initial[z] * world.emission[z].T) for w in range(2)]
        assert float(world.value[z]) == pytest.approx(0.3 * by_task[0] + 0.7 * by_task[1], abs=1e-12)


@pytest.mark.parametrize("hidden", [True, False])
def test_eta_is_the_least_hellinger_distance_of_what_is_heard(hidden: bool) -> None:
    world = Little(hidden=hidden, horizon=2)
    count, roots = len(world.observations), list[Tensor]()
    for reports in itertools.product(range(count), repeat=3):
        for subgoals in itertools.product(range(2), repeat=2):
            roots.append((likelihood(world, list(reports), list(subgoals)) / 4).sqrt())
    root = torch.stack(roots)
    affinity = root.T @ root
    apart = min(1 - float(affinity[i, j]) for i in range(3) for j in range(i))
    assert world.distinguishability() == pytest.approx(apart, abs=1e-12)


@pytest.mark.parametrize("hidden", [True, False])
def test_regret_is_what_returns_lack(hidden: bool) -> None:
    """The performance difference: losses add up to J* - J, in the mean over runs."""
    world, seeds, episodes = Little(hidden=hidden), 1500, 20
    result = gs.solve(world, BAIL(exploration=0.3), iterations=episodes, seeds=seeds, every=episodes)
    best = world.value[result.state.latent] * episodes
    lacking = best - result.metric("return")[:, -1] * episodes - result.metric("regret")[:, -1]
    assert float(result.metric("regret")[:, -1].mean()) > 0.3
    assert abs(float(lacking.mean())) < 3 * float(lacking.std()) / math.sqrt(seeds)


@pytest.mark.parametrize("boxes", [2, 3, 64, 256, 2048])
def test_needles_eta_is_its_closed_form(boxes: int) -> None:
    a, b = 0.5 + 0.5 / boxes, 0.5 / boxes
    world = Needle(boxes=boxes)
    assert world.distinguishability() == pytest.approx(1 - (2 * math.sqrt(a * b) + (boxes - 2) * b), abs=1e-12)
    law = torch.full((boxes, boxes), b, dtype=torch.float64).fill_diagonal_(a)  # what the sign says, by latent
    affinity = (law[:1] * law[1:]).sqrt().sum(-1)
    assert world.distinguishability() == pytest.approx(1 - float(affinity.max()), abs=1e-12)


def test_needles_filter_is_bayes_rule() -> None:
    world = Needle(boxes=3, prize=0.6, luck=0.1, blur=0.4)
    given = {0: [0.4, 0.9, 0.9], 1: [0.9, 0.4, 0.9]}
    weights = torch.tensor(given[0]) * torch.tensor(given[1])
    weights = weights * torch.tensor([0.1, 0.1, 0.6]) * torch.tensor([0.4 / 3, 0.6 + 0.4 / 3, 0.4 / 3])
    belief = world.believe(())
    for subgoal, said in ((0, "box 1 is empty"), (1, "box 2 is empty"), (2, "box 3 holds the prize"), (3, "box 2")):
        report = next(
            i for i, name in enumerate(world.observations) if said in name and (subgoal < 3 or "sign" in name)
        )
        belief = world.update(0, belief, torch.tensor([subgoal]), torch.tensor(report))
    torch.testing.assert_close(belief.posterior, (weights / weights.sum()).double(), rtol=0, atol=1e-7)


def test_needles_reports_have_their_law() -> None:
    world, runs = Needle(boxes=4, prize=0.7, luck=0.2, blur=0.4), 20_000
    luck, latent = Stream(3), torch.full((runs,), 2)
    for subgoal, wanted in ((2, {"box 3 holds the prize": 0.7}), (0, {"box 1 holds the prize": 0.2}),
                            (4, {"the sign points at box 3": 0.7, "the sign points at box 1": 0.1})):  # fmt: skip
        _, report = world.move(0, latent, latent, torch.full((runs, 1), subgoal), luck.uniform((runs, 2)))
        for name, p in wanted.items():
            share = (report == world.observations.index(name)).double().mean()
            assert abs(float(share) - p) < 4 * math.sqrt(p * (1 - p) / runs)


def test_a_report_that_nothing_explains_leaves_the_posterior() -> None:
    log = torch.tensor([0.25, 0.75, 0.0]).double().log()
    same = Belief(log).weighed(torch.tensor([-math.inf, -math.inf, 0.0]).double(), ())
    torch.testing.assert_close(same.posterior, log.exp())


def test_a_prior_that_excludes_the_truth_is_said() -> None:
    world = Little()
    world.__dict__["_tables"] = (*world._tables[:4], torch.tensor([0.5, 0.5, 0.0]).double())
    assert world.coverage == math.inf
    object.__setattr__(world, "truth", 2)
    with pytest.warns(Caution) as said:
        gs.solve(world, BAIL(exploration="theory(10)"), iterations=2)
    words = " ".join(str(w.message) for w in said)
    assert "c_Z is infinite" in words
    assert "the prior rules it out" in words


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"truth": "box 9"}, "truth: got 'box 9'"),
        ({"truth": 8}, "its number, 0 to 7"),
        ({"luck": 0.5}, "luck: got 0.5, expected a probability below prize"),
        ({"boxes": 1}, "boxes: got 1"),
        ({"prize": float("nan")}, "prize: got nan"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidInput, match=r"truth|luck|boxes|prize") as error:
        gs.make("latent/needle", **parameters)
    assert words in str(error.value)


@pytest.mark.parametrize("hidden", [True, False])
def test_little_worlds_keep_the_rules(hidden: bool) -> None:
    gs.check_game(Little(hidden=hidden))


def test_check_game_finds_wrong_experts() -> None:
    world = Little(hidden=False)
    object.__setattr__(world.nodes[0], "best", 1 - world.nodes[0].best)
    with pytest.raises(AssertionError, match="the expert of the truth loses nothing"):
        gs.check_game(world)
