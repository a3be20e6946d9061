"""Planners against the definitions of what they say, and exploration against its formula."""

import math

import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim.algorithms.bail import BAIL
from gamesim.envs.latent.needle import Needle
from gamesim.errors import InvalidInput
from gamesim.games.latent import Belief
from gamesim.planning import (
    MAP,
    Anytime,
    Bail,
    Blurred,
    Gated,
    History,
    Nucleus,
    Planner,
    PosteriorSampling,
    Tempered,
    Theory,
    TransformerPlanner,
)
from gamesim.planning.wrappers import decoded
from gamesim.randomness import Stream
from gamesim.testing import check_solver
from little_worlds import Little

RUNS = 6


def talk(planner: Planner, world: Little, episodes: int, seed: int = 0) -> tuple[object, list[tuple[Tensor, ...]]]:
    """A planner that hears what some other one did; its memory, and what it heard, episode by episode."""
    luck, memory, heard = Stream(seed), planner.begin(world, (RUNS,)), list[tuple[Tensor, ...]]()
    for _ in range(episodes):
        task = (luck.uniform((RUNS,)) * 2).long()
        first = (luck.uniform((RUNS,)) * len(world.observations)).long()
        memory, parts = planner.meet(world, memory, task, first, luck), [task, first]
        for h in range(world.horizon):
            subgoal = (luck.uniform((RUNS, 1)) * 2).long()
            report = (luck.uniform((RUNS,)) * len(world.observations)).long()
            memory = planner.hear(world, h, memory, subgoal, report)
            parts += [subgoal, report]
        heard.append(tuple(parts))
    return memory, heard


def posterior(world: Little, heard: list[tuple[Tensor, ...]]) -> Belief:
    belief = world.believe((RUNS,))
    for task, first, *rest in heard:
        del task
        belief = world.meet(belief, first)
        for h in range(world.horizon):
            belief = world.update(h, belief, rest[2 * h], rest[2 * h + 1])
    return belief


@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize("window", [1, 2, 3])
def test_a_window_is_the_posterior_of_the_last_episodes(hidden: bool, window: int) -> None:
    world, planner = Little(hidden=hidden), Bail(window=window)
    memory, heard = talk(planner, world, 5)
    expected = posterior(world, heard[-window - 1 :])  # so many before the current one
    torch.testing.assert_close(planner.belief(memory).posterior, expected.posterior, rtol=0, atol=1e-12)


def test_a_window_that_holds_everything_changes_nothing() -> None:
    world = Needle(boxes=6)
    runs = [gs.solve(world, BAIL(planner=p), iterations=12, seeds=4) for p in (Bail(), Bail(window=12))]
    torch.testing.assert_close(runs[0].metric("regret"), runs[1].metric("regret"), rtol=0, atol=0)


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_delusion_takes_own_words_for_an_experts(power: float) -> None:
    world, planner = Little(hidden=True, horizon=1), Bail(delusion=power)
    memory, heard = talk(planner, world, 2)
    right, log = world.believe((RUNS,)), torch.zeros(RUNS, 3).double()
    for task, first, subgoal, report in heard:
        right = world.meet(right, first)
        said = (world.experts(0, task, right) == subgoal[:, None]).all(-1)
        log = log + power * torch.where(said, 0.0, torch.tensor(math.log(1e-9), dtype=torch.float64))
        right = world.update(0, right, subgoal, report)
    expected = torch.softmax(right.log + log, -1)
    torch.testing.assert_close(planner.belief(memory).posterior, expected, rtol=0, atol=1e-12)


def test_bail_says_the_mixture_and_map_the_likeliest_expert() -> None:
    world, luck = Little(hidden=False), Stream(0)
    memory, _ = talk(Bail(), world, 2)
    task, report = torch.zeros(RUNS, dtype=torch.long), torch.ones(RUNS, dtype=torch.long)
    memory = Bail().meet(world, memory, task, report, luck)
    weights, experts = memory.belief.posterior, world.experts(0, task, memory.belief)[..., 0]
    expected = torch.stack([(weights * (experts == g)).sum(-1) for g in range(2)], -1)
    torch.testing.assert_close(Bail().law(world, 0, task, memory)[:, 0], expected)
    best = experts.gather(-1, weights.argmax(-1, keepdim=True))[:, 0]
    assert torch.equal(MAP().law(world, 0, task, memory)[:, 0].argmax(-1), best)


def test_posterior_sampling_draws_latents_by_the_posterior_once_an_episode() -> None:
    world, runs, planner = Needle(boxes=4), 20_000, PosteriorSampling()
    memory = planner.begin(world, (runs,))
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4]).double()
    memory = planner.meet(
        world,
        type(memory)(Belief(weights.log().expand(runs, 4)), memory.task, memory.followed),
        memory.task,
        memory.task,
        Stream(list(range(runs))),
    )
    law = planner.law(world, 0, memory.task, memory)
    assert torch.equal(law.sum(-1), torch.ones(runs, 1).double())
    share = law[:, 0, :4].mean(0)
    assert bool(((share - weights).abs() < 4 * (weights * (1 - weights) / runs).sqrt()).all())


def test_wrappers_do_what_their_formulas_say() -> None:
    p = torch.tensor([[[0.5, 0.3, 0.2, 0.0]]]).double()
    tempered = p**2 / (p**2).sum()
    torch.testing.assert_close(Tempered(Bail(), 0.5).changed(p), tempered)
    assert Tempered(Bail(), 0.0).changed(p).tolist() == [[[1, 0, 0, 0]]]
    assert Tempered(Bail(), 0.0).changed(torch.tensor([[0.4, 0.4, 0.2]])).tolist() == [[0.5, 0.5, 0.0]]
    torch.testing.assert_close(Nucleus(Bail(), 0.6).changed(p), torch.tensor([[[0.625, 0.375, 0, 0]]]).double())
    assert Nucleus(Bail(), 0.5).changed(p).tolist() == [[[1, 0, 0, 0]]]
    assert Nucleus(Bail(), 0.0).changed(p).tolist() == [[[1, 0, 0, 0]]]
    torch.testing.assert_close(Blurred(Bail(), 0.2).changed(p), 0.8 * p + 0.05)
    assert decoded(Bail()) == Bail()
    assert (
        str(decoded(Bail(), 0.5, 0.9, 0.1))
        == "nucleus(planner=tempered(planner=blurred(error=0.1), temperature=0.5), top_p=0.9)"
    )


def test_batches_of_decoding_are_the_runs_one_by_one() -> None:
    world, many = Needle(boxes=6), torch.tensor([0.25, 0.5, 1.0]).double()
    for name in ("temperature", "top_p", "error"):
        both = gs.solve(world, BAIL(**{name: many}), iterations=15, seeds=3, every=15).metric("regret")
        for i, x in enumerate(many.tolist()):
            alone = gs.solve(world, BAIL(**{name: x}), iterations=15, seeds=3, every=15).metric("regret")
            assert torch.equal(both[:, i], alone)


def test_the_theorys_chance_is_its_formula() -> None:
    for boxes, wanted in ((64, 0.50), (128, 0.37), (256, 0.27), (512, 0.20), (1024, 0.147), (2048, 0.108)):
        assert Theory(boxes).chance(0, Needle(boxes=boxes), None) == pytest.approx(wanted, abs=0.005)
    world, t = Needle(boxes=256), 100
    terms = math.log(256 * math.sqrt(t + 1)) / (t * world.distinguishability())
    assert Anytime().chance(t, world, None) == pytest.approx(math.sqrt(terms), abs=1e-12)
    assert Theory(64, cap=0.1).chance(0, Needle(boxes=64), None) == 0.1


def test_the_theorys_chance_warns_where_it_only_burns_episodes() -> None:
    world = Needle(boxes=64)
    (words,) = Theory(60).cautions(world)
    horizon = 4 * math.log(64 * math.sqrt(60)) / world.distinguishability()
    assert f"below about {math.ceil(horizon)} episodes" in words
    assert Theory(60, cap=0.2).cautions(world) == []
    assert Theory(2000).cautions(world) == []
    assert "the run has 10" in Theory(20).cautions_of_length(10)[0]


def test_gates_follow_confidence() -> None:
    belief = Belief(torch.tensor([[0.9, 0.1], [0.99, 0.01]]).double().log())
    assert Gated(0.95).chance(0, Needle(boxes=2), belief).tolist() == [1, 0]
    with pytest.raises(InvalidInput, match="needs no belief"):  # and no model is trained before
        BAIL(TransformerPlanner(), exploration=Gated())
    assert BAIL(Tempered(temperature=0.5), exploration=Gated()).exploration == Gated()


def test_histories_forget_the_oldest_episode() -> None:
    world = Little(horizon=2)
    history = History.empty(world, (2,), 3)
    for t in range(5):
        history = history.met(torch.tensor([0, 1]), torch.tensor([t % 3, 0]))
        for h in range(2):
            history = history.heard(h, torch.tensor([[h], [0]]), torch.tensor([t % 3, h]))
    assert (history.episodes, history.kept, history.decisions) == (5, 3, 2)
    assert history.first[0].tolist() == [2, 0, 1]
    assert history.observations[0].tolist() == [[2, 2], [0, 0], [1, 1]]
    assert history.subgoals[0, :, :, 0].tolist() == [[0, 1]] * 3


@pytest.mark.parametrize(
    "solver",
    [
        BAIL(),
        BAIL(planner="posterior-sampling(window=2, delusion=0.5)", exploration="anytime"),
        BAIL(planner="map", exploration="gated", temperature=0.5, top_p=0.9, error=0.1),
    ],
    ids=["bail", "posterior-sampling", "map"],
)
@pytest.mark.parametrize("hidden", [True, False])
def test_steps_are_pure_and_resume(solver: BAIL, hidden: bool) -> None:
    check_solver(solver, Little(hidden=hidden))
