"""Runs of this version, kept for ever: every later version must load, draw, continue and export them.

    .venv/bin/python tests/keep_runs.py       # writes tests/old_runs/VERSION, which must not be there

Run it once, when a version is released; never write the folder of an old version anew. Each run stops half way:
`HALF` iterations are kept, and beside them, in continued.csv, the trace of the same run to `WHOLE` iterations.
"""

import json
import math
import os
import shutil
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import gamesim as gs
from gamesim import cli, running
from gamesim.loop import Observer, Run, Status
from gamesim.parameters import build
from gamesim.planning.language import sessions
from gamesim.planning.language.endpoint import Answer, Endpoint
from gamesim.records import Record, settings

HERE = Path(__file__).parent
ROOM = HERE / "old_runs"
HALF, WHOLE = 6, 12
DATA = "data"
"""Files that runs read, by names relative to the folder of the version."""
RUNS: dict[str, tuple[str, ...]] = {
    "tabular": ("matrix/shapley", "ftrl", "-s", "feedback=bandit", "--every", "log", "--seeds", "3"),
    "file": ("data/battle.nfg", "policy-mirror-descent", "--average", "--start", "random"),
    "graphon": ("graphon/sis", "gmfg-ppo", "-g", "positions=3", "-g", "horizon=3", "-s", "feedback=noisy(0.1)"),
    "fitted": ("graphon/fitted", "online-mirror-descent", "-g", "data=data/agents.fit.json"),
    "mean-field": ("mean-field/beach-bar", "fictitious-play", "-g", "horizon=3", "--start", "random", "--seeds", "2"),
    "stochastic": ("stochastic/climate", "policy-gradient", "-s", "feedback=reinforce", "--every", "3", "--seeds", "2"),
    "q-learning": ("stochastic/climate", "independent-q-learning", "-s", "episodes=4"),
    "bandit": ("bandits/bernoulli", "exp3", "--seeds", "4", "--every", "log"),
    "sets": (
        "sets/offline", "bc", "-g", "data=data/spread.npz", "-g", "evaluation_episodes=2", "-s", "batch_size=8",
        "-s", "network=deep-sets(width=8)", "--every", "2",
    ),
    "planner": ("latent/needle", "bail", "-g", "boxes=4", "-s", "planner=openai(backoff=0)", "--seeds", "2"),
    "variational": ("variational/bilinear", "extragradient", "-g", "dimension=3"),
    "diverged": ("variational/bilinear", "gradient-descent-ascent", "-g", "dimension=3", "-s", "step_size=1e40"),
}  # fmt: skip
"""As typed after `gamesim run`, in the folder of the version."""
MADE = {
    "agents.fit.json": ("fit", "data/agents.csv", "--bootstrap", "0"),
    "spread.npz": (
        "data", "make", "sets/spread", "--agents", "2", "--behaviour", "random", "--episodes", "3",
        "--out", "data/spread.npz",
    ),
}  # fmt: skip


class Canned(Endpoint):
    """A language model of this process: opens boxes in turn."""

    def __init__(self, *given: Any) -> None:
        self.address = "http://127.0.0.1:1/v1"

    def models(self) -> list[str]:
        return ["canned"]

    def ask(self, request: Mapping[str, Any]) -> Answer:
        return Answer("ok", f"Open box {1 + len(json.dumps(request['messages'])) % 4}!", (), 10, 2)

    def try_out(self, model: str, **more: Any) -> Answer:
        return Answer("ok", "quartz", (("A", -0.1),))

    def close(self) -> None:
        pass


class Killed(Observer):
    """The process dies after so many iterations: nothing is written any more."""

    def iterated(self, run: Run) -> Status | None:
        if run.iteration == HALF:
            raise KeyboardInterrupt
        return None


def run(name: str, out: str, iterations: int, *more: str) -> int:
    """`gamesim run` of one of RUNS, without its figures; the exit code."""
    undrawn = patch.object(running, "save", lambda *given: [Path("none.png")]), patch.object(running, "draw", id)
    with undrawn[0], undrawn[1], patch.object(sessions, "Endpoint", Canned), warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.Caution)
        return cli.main(["run", *RUNS[name], "--iterations", str(iterations), "--out", out, "--json", *more])


def killed(out: str) -> None:
    """The first half of a run of two seeds, as a process leaves it that is killed: no summary, no DONE."""
    classes = (gs.catalog.find("games", "matrix/chicken"), gs.catalog.find("solvers", "ftrl"))
    game, solver = (build(kind, {}, what="") for kind in classes)
    config = settings(
        game, solver, ids=("matrix/chicken", "ftrl"), iterations=WHOLE, seeds=2, every=2, start="random",
        tolerance=None, command="gamesim run matrix/chicken ftrl --seeds 2 --every 2 --start random",
    )  # fmt: skip
    record = Record(out, config, checkpoint_every=-1.0)
    try:
        gs.solve(
            game, solver, iterations=WHOLE, seeds=2, every=2, observers=[record, Killed()],
            start=running.random_start(game, 2, 0),
        )  # fmt: skip
    except KeyboardInterrupt:
        record.abandon()


def partly(out: str) -> None:
    """A batch of step sizes of which one diverges."""
    import torch

    game = gs.make("variational/bilinear", dimension=3)
    solver = gs.make_solver("gradient-descent-ascent", step_size=torch.tensor([0.1, 1e40], dtype=torch.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.Caution)
        record = Record(out, settings(game, solver, iterations=HALF, seeds=2))
        record.finish(gs.solve(game, solver, iterations=HALF, seeds=[0, 0], observers=[record]))


def main() -> None:
    room = ROOM / gs.__version__
    if room.exists():
        sys.exit(f"{room} is there: what a version has left is never written anew")
    (room / DATA).mkdir(parents=True)
    for file in (HERE / "agents.csv", HERE / "games" / "battle.nfg"):
        shutil.copy(file, room / DATA)
    os.chdir(room)
    for name, command in MADE.items():
        assert cli.main([*command, "--json"]) == 0, name
        assert (Path(DATA) / name).is_file(), name
    for name in RUNS:
        code = run(name, name, HALF)
        assert code == (1 if name == "diverged" else 0), (name, code)
        if code == 0:
            shutil.copytree(name, f"{name}.whole")
            assert run(name, f"{name}.whole", WHOLE, "--resume") == 0
            shutil.move(f"{name}.whole/trace.csv", f"{name}/continued.csv")
            shutil.rmtree(f"{name}.whole")
    killed("killed")
    partly("partly-diverged")
    for spare in [*room.rglob(".lock"), *room.rglob("figures"), *room.glob("data/*.p[dn][fg]")]:
        spare.unlink() if spare.is_file() else shutil.rmtree(spare)
    size = sum(path.stat().st_size for path in room.rglob("*") if path.is_file())
    print(f"{room}: {math.ceil(size / 1000)} KB")


if __name__ == "__main__":
    main()
