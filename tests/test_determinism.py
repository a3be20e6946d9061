"""The same seed gives the same bits, whoever else is in the batch, and what is no number stops one member alone."""

import math
import os
import re
import subprocess
import sys
import textwrap
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim.loop import Observer, Run, Status
from gamesim.records import Record, settings
from golden_traces import CASES, Case
from same_bits import ROUNDED, SEEDS, Spoiled, differences, solved

DOCS = Path(__file__).parent.parent / "docs" / "reliability.md"
IDS = [" ".join(filter(None, case)) for case in CASES]


def bound(case: Case) -> float:
    """How far rounding may take a seed alone from the same seed in a batch, in a few iterations."""
    return 0.0 if case[0] not in ROUNDED else 1e-4 if case[0].startswith("sets/") else 1e-12


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_members_of_a_batch_know_nothing_of_one_another(case: Case) -> None:
    """A seed alone has the bits of the same seed among others, also where one of those stops being a number.

    The spoiled member is stepped once more before it is measured: nothing of it may reach the others, or raise.
    """
    among = solved(case, seeds=SEEDS)
    alone = solved(case, seed=SEEDS[0])
    apart = {name: x for name, x in differences(among, alone, 0).items() if name != "policy" or not bound(case)}
    assert max(apart.values()) <= bound(case), apart

    broken = solved(case, lambda solver: Spoiled(solver, at=0), SEEDS)
    assert broken.status is Status.DIVERGED
    assert broken.diverged.tolist() == [False, True, False]
    assert all(bool(p[1].isnan().all()) for p in broken.policy if p.is_floating_point())
    assert all(bool(v[-1][1].isnan()) for v in broken.trace.metrics.values())
    for i in (0, 2):
        assert max(differences(among, broken, i, i).values()) == 0.0


# --- many steps at once, hyper-parameters, averages -----------------------------------------------------------------

LEAPS = [
    *(("matrix/shapley", "ftrl", x) for x in ("", "feedback=bandit", "feedback=realised", "regularizer=euclidean")),
    ("stochastic/climate", "policy-gradient", "feedback=reinforce"),
    *(("bandits/bernoulli", x, "") for x in ("exp3", "ucb", "thompson")),
]


@pytest.mark.parametrize("case", LEAPS, ids=lambda case: " ".join(filter(None, case)))
def test_steps_taken_many_at_once_know_nothing_of_other_members_either(case: Case) -> None:
    many = {"iterations": 24, "every": 12}
    among, alone = solved(case, lambda s: s, SEEDS, **many), solved(case, lambda s: s, seed=SEEDS[2], **many)
    assert max(differences(among, alone, 2).values()) == 0.0


STEPS = [
    ("matrix/shapley", "ftrl", "step_size", {}),
    ("matrix/shapley", "ftrl", "step_size", {"feedback": "bandit"}),
    ("matrix/shapley", "ftrl", "step_size", {"leader": "optimistic"}),
    ("matrix/shapley", "replicator", "step_size", {}),
    ("matrix/shapley", "best-response-dynamics", "temperature", {}),
    ("matrix/shapley", "policy-mirror-descent", "temperature", {}),
    ("graphon/sis", "gmfg-ppo", "step_size", {}),
    ("graphon/sis", "gmfg-ppo", "temperature", {"feedback": "noisy(0.3)"}),
    ("graphon/sis", "policy-mirror-descent", "step_size", {}),
    ("graphon/sis", "online-mirror-descent", "step_size", {}),
    ("graphon/sis", "fictitious-play", "temperature", {}),
    ("graphon/sis", "fixed-point", "temperature", {}),
    ("stochastic/climate", "policy-gradient", "step_size", {}),
    ("stochastic/climate", "policy-gradient", "step_size", {"feedback": "reinforce"}),
    ("variational/bilinear", "extragradient", "step_size", {}),
    ("variational/bilinear", "gradient-descent-ascent", "step_size", {}),
    ("bandits/bernoulli", "exp3", "exploration", {}),
]
ONE_TEMPERATURE = (("graphon/sis", "gmfg-ppo"), ("graphon/sis", "fictitious-play"))
"""Pairs whose compiled loops take one temperature."""


def paired(way: tuple[str, str, str, dict[str, str]], values: list[float], seeds: list[int], **asked: Any) -> Any:
    """A batch of seeds with a hyper-parameter for each; of one, the run of that seed alone."""
    game, name, field, options = way
    many = len(values) > 1
    given = {field: torch.tensor(values, dtype=torch.float64) if many else values[0]}
    asked = {"iterations": 24, "every": 12, **asked} | ({"seeds": seeds} if many else {"seed": seeds[0]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.Caution)
        return gs.solve(gs.make(game), gs.make_solver(name, **options, **given), **asked)


@pytest.mark.parametrize("way", STEPS, ids=lambda way: " ".join([*way[:3], *way[3].values()]))
@pytest.mark.parametrize("average", [False, True])
def test_a_hyper_parameter_alone_has_the_bits_of_the_same_in_a_batch(way: Any, average: bool) -> None:
    values, seeds = [0.25, 0.1, 0.5], [3, 8, 3]
    among = paired(way, values, seeds, average=average)
    for i, (value, seed) in enumerate(zip(values, seeds, strict=True)):
        alone = paired(way, [value], [seed], average=average)
        apart = differences(among, alone, i)
        compiled = way[:2] in ONE_TEMPERATURE and way[2] == "temperature"  # a batch of them is taken in plain torch
        assert max(apart.values()) <= (1e-13 if compiled else 0.0), apart


# --- what is no number ----------------------------------------------------------------------------------------------

TOO_LARGE = [
    ("variational/bilinear", "gradient-descent-ascent", "step_size", {}),
    ("variational/bilinear", "gradient-descent-ascent", "step_size", {"order": "alternating"}),
    ("variational/bilinear", "extragradient", "step_size", {}),
    ("variational/bilinear", "extragradient", "step_size", {"variant": "past"}),
    ("variational/quadratic", "extragradient", "step_size", {"feedback": "noisy(0.1)"}),
]


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("way", TOO_LARGE, ids=lambda way: " ".join([*way[:2], *way[3].values()]))
def test_a_step_too_large_stops_its_own_member_with_advice(way: Any, average: bool) -> None:
    game, name, field, options = way
    sizes = torch.tensor([0.02, 1e60, 0.05], dtype=torch.float64)
    solver = gs.make_solver(name, **options, **{field: sizes})
    with pytest.warns(
        gs.Caution,
        match=r"seed 0 with step_size 1e\+60: no longer finite at iteration \d+ and stopped.*lower the step size",
    ):
        broken = gs.solve(gs.make(game), solver, iterations=12, every=3, seeds=[0, 0, 0], average=average)
    sizes[1] = 0.03
    fine = gs.solve(gs.make(game), gs.make_solver(name, **options, **{field: sizes}), iterations=12, every=3,
                    seeds=[0, 0, 0], average=average)  # fmt: skip
    assert broken.diverged.tolist() == [False, True, False]
    assert all(max(differences(fine, broken, i, i).values()) == 0.0 for i in (0, 2))


@dataclass(frozen=True)
class Cliff:
    """Pennies whose payoffs are no numbers once the first player plays heads often enough."""

    edge: float = 0.9

    def start(self) -> tuple[Tensor, Tensor]:
        return (torch.tensor([0.7, 0.3]).double(), torch.tensor([0.4, 0.6]).double())

    def feedback(self, policy: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        x, y = policy
        fallen = torch.where(x[..., :1] > self.edge, math.nan, 0.0)
        return y * 2 - 1 + fallen, 1 - x * 2 + fallen

    def exploitability(self, policy: tuple[Tensor, Tensor]) -> Tensor:
        values = self.feedback(policy)
        return sum((q.amax(-1) - (p * q).sum(-1) for p, q in zip(policy, values, strict=True)), torch.zeros(()))


@pytest.mark.parametrize("solver", ["online-mirror-descent", "ftrl", "policy-mirror-descent"])
@pytest.mark.parametrize("every", [1, 4, "log"])
def test_a_game_that_is_no_number_somewhere_stops_who_goes_there(solver: str, every: Any) -> None:
    x = torch.tensor([[0.5, 0.5], [0.88, 0.12], [0.6, 0.4]]).double()
    start = (x, torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.5, 0.5]]).double())
    asked = {"iterations": 12, "every": every, "seeds": [0, 1, 2]}
    with pytest.warns(gs.Caution, match="seed 1: no longer finite"):
        fell = gs.solve(Cliff(), gs.make_solver(solver), start=start, **asked)
    assert fell.diverged.tolist() == [False, True, False]
    level = gs.solve(Cliff(edge=2.0), gs.make_solver(solver), start=start, **asked)
    assert all(max(differences(level, fell, i, i).values()) == 0.0 for i in (0, 2))


@pytest.mark.parametrize("case", [c for c in CASES if c[0] in ("matrix/chicken", "graphon/sis", "sets/offline")])
def test_a_run_of_one_seed_stops_where_it_is_no_number(case: Case) -> None:
    result = solved(case, lambda solver: Spoiled(solver, at=1, which=...), seed=1)
    assert result.status is Status.DIVERGED
    assert result.iterations == 2


class Kill(Observer):
    def __init__(self, at: int) -> None:
        self.at = at

    def iterated(self, run: Run) -> None:
        if run.iteration == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("at", [3, 4, 6, 7])
def test_a_run_that_lost_a_member_and_was_killed_goes_on_with_the_same_bits(at: int, tmp_path: Path) -> None:
    game, solver = gs.make("matrix/chicken"), gs.make_solver("ftrl", feedback="noisy(0.3)")
    asked: dict[str, Any] = {"iterations": 10, "every": 2, "seeds": 3}
    config = settings(game, solver, **asked)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.Caution)
        whole = gs.solve(game, Spoiled(solver, at=2), **asked)
        record = Record(tmp_path / "run", config, checkpoint_every=-1.0)
        with pytest.raises(KeyboardInterrupt):
            gs.solve(game, Spoiled(solver, at=2), observers=[record, Kill(at)], **asked)
        record.abandon()
        record = Record(tmp_path / "run", config, resume=True)
        again = gs.solve(game, Spoiled(solver, at=2), observers=[record], resume=record.snapshot, **asked)
    assert record.finish(again)["diverged"] == [{"seed": 1, "iteration": 4}]
    assert again.diverged.tolist() == [False, True, False]
    assert max(differences(whole, again).values()) == 0.0


# --- threads --------------------------------------------------------------------------------------------------------

THREADED = """
    import hashlib, sys, warnings
    import torch
    from threadpoolctl import threadpool_limits
    import gamesim as gs

    warnings.simplefilter("ignore")
    torch.set_num_threads(int(sys.argv[1]))
    threadpool_limits(int(sys.argv[1]))
    for game, solver in (
        ("matrix/congestion", "ftrl"), ("graphon/sis", "gmfg-ppo"), ("graphon/beach", "online-mirror-descent"),
        ("mean-field/crowd-modelling", "online-mirror-descent"), ("stochastic/climate", "policy-gradient"),
        ("bandits/bernoulli", "exp3"), ("latent/grid", "bail"), ("variational/bilinear", "extragradient"),
    ):
        hashes = []
        for again in range(2):
            result = gs.solve(gs.make(game), gs.make_solver(solver), iterations=3, seeds=4)
            parts = [*result.policy, *(v for values in result.trace.metrics.values() for v in values)]
            hashes.append(hashlib.sha256(b"".join(p.contiguous().numpy().tobytes() for p in parts)).hexdigest())
        print(game, solver, *hashes)
"""


def test_the_number_of_threads_changes_no_bits() -> None:
    """At the sizes that games have by default; those that it does change are in the documentation."""
    said = []
    for threads in ("1", "2", "4"):
        limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), threads)
        command = [sys.executable, "-c", textwrap.dedent(THREADED), threads]
        asked = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **limits}, timeout=300, check=True
        )
        said.append(asked.stdout.split("\n"))
    assert said[0] == said[1] == said[2]
    assert all(line.split()[2] == line.split()[3] for line in said[0] if line)


def test_the_documentation_names_exactly_the_games_that_rounding_moves() -> None:
    table = DOCS.read_text(encoding="utf-8").partition("## Determinism")[2].partition("| game | product |")[2]
    named = re.findall(r"^\| `([^`]+)` \|", table.partition("\n\n")[0], re.MULTILINE)
    assert sorted(named) == sorted(ROUNDED)
