"""Actors that must agree: reports, beliefs, losses and distances by counting, and what asking one by one costs."""

import itertools
import math
import warnings

import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim.algorithms.bail import BAIL
from gamesim.envs.latent.many_actors import ManyActors
from gamesim.envs.latent.needle import Needle
from gamesim.errors import Caution, InvalidInput
from gamesim.experiments import bail_many_actors
from gamesim.games.latent import Belief
from gamesim.planning.exploration import theory_epsilon
from gamesim.planning.planner import mixture

WORLD = ManyActors(actors=2, boxes=3, prize=0.25, blur=0.5)
JOINT = list(itertools.product(range(4), repeat=2))
"""What two actors may be told."""


def reports(latent: int, subgoal: tuple[int, ...]) -> Tensor:
    """The law of reports by counting luck on a grid that hits every chance exactly."""
    ticks = (torch.arange(24, dtype=torch.float64) + 0.5) / 24
    u = torch.cartesian_prod(ticks, ticks)
    z, zero = torch.full((len(u),), latent), torch.zeros(len(u), dtype=torch.long)
    _, report = WORLD.move(0, z, zero, torch.tensor(subgoal).expand(len(u), -1), u)
    return torch.bincount(report, minlength=len(WORLD.observations)).double() / len(u)


def test_beliefs_are_bayes_rule() -> None:
    before = Belief.of(torch.tensor([0.5, -0.3, 0.1], dtype=torch.float64))
    for subgoal in JOINT:
        laws = torch.stack([reports(z, subgoal) for z in range(3)])
        for o in laws.sum(0).nonzero()[:, 0].tolist():
            after = WORLD.update(0, before, torch.tensor(subgoal), torch.tensor(o)).posterior
            wanted = before.posterior * laws[:, o]
            torch.testing.assert_close(after, wanted / wanted.sum(), rtol=0, atol=1e-12)


def test_losses_are_what_rewards_lack() -> None:
    paid = WORLD.rewards(0, torch.tensor(0), torch.arange(len(WORLD.observations)))
    for z, subgoal in itertools.product(range(3), JOINT):
        expected = float(reports(z, subgoal) @ paid)
        loss = WORLD.losses(0, torch.tensor(0), torch.tensor(z), WORLD.believe(), torch.tensor(subgoal))
        assert float(loss) == pytest.approx(float(WORLD.value[z]) - expected, abs=1e-12)


def test_eta_is_the_distance_of_what_the_sign_says() -> None:
    everybody_reads = (3, 3)
    roots = torch.stack([reports(z, everybody_reads).sqrt() for z in range(3)])
    away = 1 - roots @ roots.T
    assert WORLD.distinguishability() == pytest.approx(float(away[0, 1]), abs=1e-12)
    law = WORLD.explore(0, torch.tensor(0))
    assert law.shape == (2, 4)
    assert law[:, 3].tolist() == [1.0, 1.0]


def test_the_experts_open_a_box_each_of_their_set() -> None:
    experts = WORLD.experts(0, torch.tensor(0), WORLD.believe(()))
    assert experts.tolist() == [[0, 1], [1, 2], [2, 0]]
    assert WORLD.opened(experts).tolist() == [0, 1, 2]
    assert WORLD.opened(torch.tensor([[3, 3], [3, 0], [0, 0]])).tolist() == [3, 4, 4]
    assert "box (j + k - 2) mod 3 + 1" in WORLD.about


def test_one_actor_is_the_needle() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)
        one, needle = (
            gs.solve(world, BAIL(exploration="theory(60)"), iterations=60, seeds=16, every=20)
            for world in (ManyActors(actors=1, boxes=8), Needle(boxes=8))
        )
    for name in ("regret", "return", "posterior_on_truth"):
        torch.testing.assert_close(one.metric(name), needle.metric(name))


def test_the_theorys_chance_has_the_root_of_k() -> None:
    found = [theory_epsilon(ManyActors(actors=k), 10_000) for k in (1, 4)]
    assert found[1] == pytest.approx(2 * found[0])


def test_asked_one_by_one_they_do_not_agree_and_with_one_latent_for_all_they_do() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)
        lost = {
            (planner, k): gs.solve(
                ManyActors(actors=k, boxes=8), BAIL(planner=planner), iterations=100, seeds=16, every=100
            ).metric("regret")[:, -1]
            for planner in ("bail", "posterior-sampling") for k in (1, 6)
        }  # fmt: skip
    assert float(lost["bail", 6].min()) > 45 > 30 > float(lost["bail", 1].max())
    torch.testing.assert_close(lost["posterior-sampling", 6], lost["posterior-sampling", 1])


def test_laws_of_products() -> None:
    belief = Belief(torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64).log())
    law = mixture(WORLD, 0, torch.tensor(0), belief)
    joint = bail_many_actors.product_law(law)
    for place, subgoal in enumerate(JOINT):
        assert float(joint[place]) == pytest.approx(float(law[0, subgoal[0]] * law[1, subgoal[1]]))
    assert bail_many_actors.products(trials=50).verdict == "holds"


def test_it_keeps_the_rules_and_refuses_what_has_no_meaning() -> None:
    gs.check_game(ManyActors(actors=3, boxes=4))
    assert ManyActors(truth="set 3").truth_law[2] == 1
    for parameters, words in (({"prize": 0}, "prize"), ({"actors": 0}, "actors"), ({"truth": "set 9"}, "truth")):
        with pytest.raises(InvalidInput, match=words):
            gs.make("latent/many-actors", **parameters)
    assert math.isfinite(ManyActors().coverage)


def test_the_study_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    small = bail_many_actors.Effort(4, 160, (80, 160), (8, 16), 8)
    monkeypatch.setitem(bail_many_actors.EFFORT, "quick", small)  # type: ignore[arg-type]
    study = bail_many_actors.BailManyActors().run("quick", lambda text: None)
    verdicts = {claim.id: claim.verdict for claim in study.claims}
    assert verdicts["bound-in-k"] == verdicts["agreement"] == verdicts["product-variation"] == "holds"
    assert {row["actors"] for row in study.data} == set(bail_many_actors.ACTORS)
