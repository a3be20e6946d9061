"""result.frame(): every number of the trace once, beside the seed and the hyper-parameters that it is of."""

from typing import Any

import pytest
import torch

import gamesim as gs
from gamesim.schedules import Constant, Power

pandas = pytest.importorskip("pandas", reason="pip install 'gamesim[data]'")


def solved(step_size: Any = 0.1, game: Any = None, **more: Any) -> Any:
    solver = gs.make_solver("ftrl", step_size=step_size, feedback="noisy(1.0)")
    return gs.solve(game or gs.make("matrix/shapley"), solver, iterations=2, **more)


def test_seeds_alone() -> None:
    frame = solved(seeds=3, seed=5).frame()
    assert list(frame) == ["iteration", "seed", "metric", "value"]
    assert sorted(frame["seed"].unique()) == [5, 6, 7]
    one = solved(seed=9).frame()
    assert list(one) == list(frame)
    assert set(one["seed"]) == {9}


def test_hyper_parameters_are_columns() -> None:
    steps = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64)
    result = solved(Constant(steps), seeds=2, seed=4, average=True)
    frame = result.frame()
    assert list(frame) == ["iteration", "seed", "step_size", "metric", "value"]
    for i, seed in enumerate((4, 5)):
        for j, step in enumerate(steps.tolist()):
            own = frame[(frame["seed"] == seed) & (frame["step_size"] == step) & (frame["metric"] == "exploitability")]
            assert own["iteration"].tolist() == [0, 1, 2]
            assert own["value"].tolist() == result.exploitability[i, j].tolist()
    without = solved(Constant(steps), seed=3).frame()
    assert list(without) == list(frame)
    assert set(without["seed"]) == {3}
    assert set(without["step_size"]) == set(steps.tolist())


def test_two_batches_paired_and_crossed() -> None:
    crossed = solved(Power(torch.tensor([[0.1], [0.2]]), 0.5, torch.tensor([1.0, 2.0, 3.0])), seeds=2).frame()
    assert list(crossed)[2:4] == ["step_size.scale", "step_size.offset"]
    assert len(crossed.drop_duplicates(["seed", "step_size.scale", "step_size.offset"])) == 12
    paired = solved(Constant(torch.tensor([0.1, 0.5, 2.0])), seeds=[7, 3, 7]).frame()
    assert paired["seed"].tolist()[:3] == [7, 3, 7]
    assert paired["step_size"].tolist()[:3] == pytest.approx([0.1, 0.5, 2.0])


def test_batches_of_games() -> None:
    payoffs = torch.rand(4, 2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    result = solved(game=gs.MatrixGame(payoffs, player_count=2), seeds=3)
    frame = result.frame()
    assert list(frame) == ["iteration", "seed", "game", "metric", "value"]
    own = frame[(frame["seed"] == 1) & (frame["game"] == 2) & (frame["metric"] == "exploitability")]
    assert own["value"].tolist() == result.exploitability[1, 2].tolist()
