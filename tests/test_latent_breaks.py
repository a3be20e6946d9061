"""Latent worlds, planners and tournaments in the hands of somebody clumsy: what once broke, and how it is refused."""

import json
import math
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from gamesim.algorithms.bail import BAIL
from gamesim.cli import main
from gamesim.envs.latent.grid import Grid
from gamesim.envs.latent.imagined import Imagined
from gamesim.envs.latent.lock import Lock
from gamesim.envs.latent.needle import Needle
from gamesim.envs.latent.opponents import Opponents
from gamesim.envs.latent.random_hierarchy import RandomHierarchy
from gamesim.envs.latent.trap import Trap
from gamesim.errors import InvalidInput
from gamesim.games import MatrixGame
from gamesim.games.latent_tables import TabularWorld
from gamesim.loop import Status, solve
from gamesim.planning import MAP, Bail, Constant, PosteriorSampling, Theory, WorldModel
from gamesim.planning.exploiting import Match, exploit, laws, machine_policy
from gamesim.planning.wrappers import Nucleus, Tempered

F = torch.float64
TABLES: dict[str, Any] = {
    "transition": torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]] * 2, [[[1.0, 0.0], [0.0, 1.0]]] * 2], dtype=F),
    "emission": torch.eye(2, dtype=F).expand(2, 2, 2),
    "initial": torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=F),
    "reward": torch.tensor([[0.0, 1.0]], dtype=F),
    "prior": torch.tensor([0.5, 0.5], dtype=F),
    "task_law": torch.ones(1, dtype=F),
    "horizon": 2,
    "actors": 1,
    "latents": ("a", "b"),
    "tasks": ("t",),
    "subgoals": ("x", "y"),
    "observations": ("o", "p"),
    "truth": "prior",
}


class Told(TabularWorld):
    """A world of whatever tables it is given."""

    about = "somewhere"  # type: ignore[assignment]
    transition = emission = initial = reward = prior = task_law = TABLES["prior"]
    horizon = 2  # type: ignore[assignment]
    latents = tasks = subgoals = observations = ()  # type: ignore[assignment]

    def __init__(self, **given: Any) -> None:
        for name, value in (TABLES | given).items():
            setattr(self, name, value)


def with_entry(name: str, value: float) -> Tensor:
    found = TABLES[name].clone()
    found.view(-1)[0] = value
    return found


BROKEN: list[tuple[str, Any, str]] = [
    ("transition", with_entry("transition", 0.5), "transition[0, 0, 0]: got 'a row that sums to 1.5'"),
    ("transition", with_entry("transition", math.nan), "transition[0, 0, 0, 0]: got 'nan'"),
    ("transition", TABLES["transition"][0], "transition: got 'shape [2, 2, 2]'"),
    ("transition", TABLES["transition"][None], "transition: got 'shape [1, 2, 2, 2, 2]'"),
    ("transition", TABLES["transition"].tolist(), "transition: got 'list', expected a tensor"),
    ("transition", TABLES["transition"].numpy(), "transition: got 'ndarray', expected a tensor"),
    ("transition", None, "transition: got 'NoneType', expected a tensor"),
    ("transition", TABLES["transition"].float(), "transition: got 'dtype torch.float32', expected torch.float64"),
    ("emission", [[1.0]], "emission: got 'list'"),
    ("initial", with_entry("initial", 0.5), "initial[0]: got 'a row that sums to 0.5'"),
    ("reward", TABLES["reward"] * math.nan, "reward: got 'nan to nan', expected 0 to 1"),
    ("reward", [[0.0, 1.0]], "reward: got 'list'"),
    ("task_law", torch.tensor([0.5], dtype=F), "task_law: got 'a row that sums to 0.5'"),
    ("task_law", torch.tensor([math.nan], dtype=F), "task_law[0]: got 'nan'"),
    ("task_law", torch.ones(1, 1, dtype=F), "task_law: got 'shape [1, 1]', expected 1 dimension"),
    ("task_law", torch.ones(0, dtype=F), "task_law: got 'shape [0]'"),
    ("horizon", 0, "horizon: got 0, expected a whole number of at least 1"),
    ("horizon", 1.5, "horizon: got 1.5"),
    ("horizon", "2", "horizon: got '2'"),
    ("horizon", True, "horizon: got True"),
    ("actors", 2, "actors: got 2, expected 1"),
    ("latents", None, "latents: got None, expected a tuple of texts"),
    ("latents", (1, 2), "latents: got (1, 2), expected a tuple of texts"),
    ("observations", ("o", "o"), "observations: got '2 names, 1 different'"),
    ("tasks", ("t", "u"), "tasks: got '2 names, 2 different', expected 1"),
    ("truth", 1.5, "truth: got 1.5, expected prior, the name of a latent, or its number, 0 to 1"),
    ("truth", True, "truth: got True, expected prior"),
    ("truth", None, "truth: got None"),
    ("truth", [0], "truth: got [0]"),
]


@pytest.mark.parametrize(("name", "value", "words"), BROKEN, ids=range(len(BROKEN)))
def test_a_world_that_is_none_is_refused_before_anything_is_played(name: str, value: Any, words: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        solve(Told(**{name: value}), BAIL(), iterations=1)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_world_that_the_broken_ones_are_made_of_is_fine() -> None:
    assert solve(Told(), BAIL(), iterations=2).metric("regret").isfinite().all()


@pytest.mark.parametrize("law", [[[0.5, 0.6]], [[math.nan, 1.0]], [0.5, 0.5], [[0.5, 0.25, 0.25]]])
def test_a_law_of_exploration_that_is_none_is_refused(law: list[Any]) -> None:
    class Exploring(Told):
        def explore(self, h: int, observation: Tensor) -> Tensor:
            return torch.tensor(law, dtype=F)

    with pytest.raises(InvalidInput, match=r"^explore\(0, reports\)"):
        solve(Exploring(), BAIL(exploration=Constant(1.0)), iterations=1)


def test_a_truth_that_is_not_there_is_refused_without_a_list_of_all_latents() -> None:
    for make in (lambda: Needle(boxes=10_000, truth="boks"), lambda: Lock(dials=8, positions=2, truth="left")):
        with pytest.raises(InvalidInput, match="prior, the name of a latent, or its number") as refusal:
            make()
        assert len(str(refusal.value)) < 200
    with pytest.raises(InvalidInput, match="one of bold, prior, timid"):
        Trap(truth="brave")


@pytest.mark.parametrize("start", [torch.full((8,), 0.125, dtype=F), torch.full((2, 8), 0.125, dtype=F)])
def test_a_planner_begins_with_the_prior_alone(start: Tensor) -> None:
    with pytest.raises(InvalidInput, match=r"^start: got 'a policy', expected none"):
        solve(Needle(), BAIL(), start=(start,), seeds=2)


def test_worlds_that_are_alike_have_an_eta_of_zero_and_not_of_rounding() -> None:
    assert Trap(bold=0.1, timid=0.1).distinguishability() == 0
    assert RandomHierarchy(redrawn=0).distinguishability() == 0
    assert Opponents(types=("ALLC", "always cooperate")).distinguishability() == 0
    assert Needle(boxes=7, blur=1.0).distinguishability() == 0
    assert Theory(5).cautions(Trap(bold=0.1, timid=0.1)) == [
        "exploration: it tells two latents apart in no way (eta = 0), so every episode explores"
    ]


def test_eta_of_many_latents_is_closed_or_refused_at_once() -> None:
    assert Lock(dials=12, positions=2).distinguishability() == 2 / 4096
    small = Lock(dials=2, positions=3)
    assert small.distinguishability() == pytest.approx(TabularWorld.distinguishability(small), abs=1e-12)
    with pytest.raises(InvalidInput, match=r"^world: got '64 latents, .* numbers to compare"):
        RandomHierarchy(latent_count=64, report_count=64, subgoal_count=2).distinguishability()


def test_a_huge_delusion_is_no_nan() -> None:
    for planner in (Bail(delusion=1e308), Bail(window=2, delusion=1e308)):
        found = solve(Needle(), BAIL(planner=planner), iterations=10, seeds=2)
        assert found.status is Status.OUT_OF_ITERATIONS


def test_a_batch_is_its_runs_alone_where_decoding_changes_nothing() -> None:
    law = torch.softmax(torch.linspace(0, 3, 7, dtype=F), -1).expand(2, 1, 7)
    ones = torch.ones(2, 1, dtype=F)
    assert torch.equal(Nucleus(Bail(), ones).changed(law), law)
    assert torch.equal(Tempered(Bail(), ones).changed(law), law)


def test_planners_of_impossible_things_keep_a_posterior() -> None:
    world = Trap(bold_prior=0.0, bold=1.0, timid=0.0, truth="bold")
    for planner in (Bail(), MAP(window=2), PosteriorSampling(delusion=1.0), WorldModel()):
        solver = BAIL(planner=planner, exploration=Constant(1.0))
        found = solve(world, solver, iterations=20, seeds=2)
        assert torch.equal(found.metric("posterior_on_truth")[:, -1], torch.zeros(2, dtype=F))
        torch.testing.assert_close(found.policy[0].sum(-1), torch.ones(2, dtype=F), rtol=0, atol=1e-12)


def test_a_tree_that_nobody_can_count_is_refused_all_the_same() -> None:
    with pytest.raises(InvalidInput, match=r"^world: got 'a tree of 10\^\d{4} nodes"):
        WorldModel().require(Opponents(rounds=8000))


def test_what_a_planner_takes_a_world_for_has_its_tasks() -> None:
    world = RandomHierarchy(latent_count=2, report_count=3, subgoal_count=2, task_count=3)
    assert Imagined(of=world, high=world.transition, seen=world.emission).tasks == world.tasks
    assert Grid(size=3, reporter="learned", pairs=1).imagined is not None


def test_games_whose_reports_say_nothing_are_refused() -> None:
    table = torch.zeros(2, 2, 2, dtype=F)
    with pytest.raises(InvalidInput, match=r"^game: got \"actions \['x', 'x'\]\""):
        Opponents(game=MatrixGame(table, actions=(("x", "x"), ("y", "z"))))
    table[0, 0] = torch.tensor([1.7e308, -1.7e308], dtype=F)
    with pytest.raises(InvalidInput, match=r"^game: got 'payoffs from -1.7e\+308"):
        Opponents(game=MatrixGame(table))


# --- best responses ------------------------------------------------------------------------------------------------

WORLD = Opponents(rounds=2)


@dataclass(frozen=True)
class Misuse:
    field: str
    given: dict[str, Any] = field(default_factory=dict)
    planner: Any = Bail()  # noqa: RUF009  frozen
    memory: Any = None


MISUSES = [
    Misuse("planner", planner="bale"),
    Misuse("planner", planner=None),
    Misuse("rounds", {"rounds": 1.5}),
    Misuse("rounds", {"rounds": "one"}),
    Misuse("rounds", {"rounds": 0}),
    Misuse("front", {"front": 2}),
    Misuse("front", {"front": (-1,)}),
    Misuse("front", {"front": (0,)}),
    Misuse("task", {"task": 1}),
    Misuse("task", {"task": "x"}),
    Misuse("generator", {"generator": torch.Generator()}),
    Misuse("opponent", {"opponent": torch.tensor([0.5, 0.6])}),
    Misuse("opponent[0]", {"opponent": torch.tensor([math.nan, 1.0])}),
    Misuse("opponent[0]", {"opponent": torch.tensor([-1.0, 2.0])}),
    Misuse("opponent", {"opponent": torch.tensor(1.0)}),
    Misuse("opponent", {"opponent": "uniform"}),
    Misuse("memory", {"front": (2,)}, memory=Bail().begin(WORLD, (3,))),
    Misuse("memory", planner=Bail(window=2), memory=Bail().begin(WORLD, (1,))),
    Misuse("memory", memory=Bail().begin(Needle(), (1,))),
    Misuse("state", memory="what I remember"),
]


@pytest.mark.parametrize("misuse", MISUSES, ids=range(len(MISUSES)))
def test_best_responses_to_what_is_no_planner_of_that_world_are_refused(misuse: Misuse) -> None:
    with pytest.raises(InvalidInput) as refusal:
        exploit(misuse.planner, WORLD, misuse.memory, **misuse.given)
    assert str(refusal.value).startswith(f"{misuse.field}: ")


def test_best_responses_take_a_planner_as_it_is_typed_and_lists() -> None:
    planner: Any = "bail"
    opponent: Any = [0.5, 0.5]
    typed = exploit(planner, WORLD, opponent=opponent)
    assert torch.equal(typed.gains, exploit(Bail(), WORLD).gains)
    rounds: Any = "1"
    assert laws(Bail(), WORLD, rounds=rounds).shape == (1, 1, 2)


@pytest.mark.parametrize("rounds", [0, -1, 1.5, "a", None, math.nan])
def test_matches_have_a_whole_number_of_rounds(rounds: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^rounds: "):
        Match(MatrixGame.zero_sum([[1, -1], [-1, 1]]), rounds)
    with pytest.raises(InvalidInput, match=r"^rounds: "):
        machine_policy(torch.ones(1, 2) / 2, torch.zeros(1, 2, 2, dtype=torch.long), rounds)
    with pytest.raises(InvalidInput, match=r"^game: "):
        Match(None, 1)  # type: ignore[arg-type]


# --- the command line ----------------------------------------------------------------------------------------------

HELD = ("tournament", "matrix/prisoners-dilemma", "--rounds", "10", "--seeds", "1", "--json")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--entrant", "TFT", "--tremble", "nan"), "tremble: got nan, expected a probability"),
        (("--entrant", "TFT", "--type", "nope"), "types: got 'nope', expected one of"),
        (("--entrant", "TFT", "--entrant", "tft"), "entrant: got ['TFT', 'TFT'], expected"),
        (("--entrant", "bail", "--entrant", " bail"), "entrant: got ['bail', 'bail'], expected"),
        (("--entrant", "TFT", "--out", "FOLDER.json"), "out: got "),
    ],
)
def test_tournaments_refuse_in_one_line(
    words: tuple[str, ...], error: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "FOLDER.json"
    folder.mkdir()
    code = main([*HELD, *(str(folder) if word == folder.name else word for word in words)])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {error}")
    assert err.count("\n") == 1


def test_automata_are_named_as_they_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*HELD, "--entrant", "tft", "--entrant", " Always  COOPERATE "]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["entrants"]] == ["TFT", "always cooperate"]


def test_a_run_from_anywhere_else_is_refused_and_leaves_nothing(
    tmp_path: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "latent/trap", "bail", "--iterations", "2", "--start", "random"]) == 2
    assert capsys.readouterr().err == (
        "error: start: got 'a policy', expected none: what a planner begins with is the prior of its world\n"
    )
    assert not list(tmp_path.rglob("*.csv"))
