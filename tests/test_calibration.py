"""Calibration against plain loops, and planners whose distance to the exact mixture is known."""

import math

import pytest
import torch
from torch import Tensor

from gamesim.envs.latent.needle import Needle
from gamesim.envs.latent.random_hierarchy import RandomHierarchy
from gamesim.envs.latent.trap import Trap
from gamesim.errors import InvalidInput
from gamesim.games.latent import LatentWorld
from gamesim.planning import Bail, Blurred, Constant, Planner, Tempered
from gamesim.planning.calibration import calibrate, calibration


def laws(*shape: int, seed: int = 0) -> Tensor:
    x = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x / x.sum(-1, keepdim=True)


def test_distances_and_bins_are_those_of_a_loop() -> None:
    law, exact, bins = laws(7, 5, 4), laws(7, 5, 4, seed=1), 6
    found = calibration(law, exact, bins)
    rows: list[list[tuple[float, float]]] = [[] for _ in range(bins)]
    for i in range(7):
        for j in range(5):
            p, q = law[i, j].tolist(), exact[i, j].tolist()
            assert float(found.total_variation[i, j]) == pytest.approx(
                sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2
            )
            divergence = sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
            assert float(found.divergence[i, j]) == pytest.approx(divergence)
            said = p.index(max(p))
            rows[math.ceil(p[said] * bins) - 1].append((p[said], q[said]))
    error = 0.0
    for b, row in enumerate(rows):
        assert float(found.share[b]) == pytest.approx(len(row) / 35)
        if row:
            sure, right = (sum(x) / len(row) for x in zip(*row, strict=True))
            assert (float(found.confidence[b]), float(found.chance[b])) == pytest.approx((sure, right))
            error += len(row) / 35 * abs(sure - right)
        else:
            assert math.isnan(found.confidence[b])
    assert found.expected_error == pytest.approx(error)


def test_ends_of_bins_and_what_is_left_out() -> None:
    exact = torch.tensor([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    found = calibration(torch.tensor([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]]), exact, bins=2)
    assert found.share.tolist() == pytest.approx([1 / 3, 2 / 3])  # a bin holds its upper end
    assert found.divergence.tolist() == [math.inf, 0.0, 0.0]
    assert found.overconfidence == pytest.approx(1 / 3)
    assert calibration(exact, exact).expected_error == 0


@pytest.mark.parametrize("world", [Needle(boxes=6), Trap(), RandomHierarchy(redrawn=12)])
def test_the_exact_planner_is_calibrated_and_a_blurred_one_off_by_what_it_is_blurred(world: LatentWorld) -> None:
    found = calibrate(world, Bail(), episodes=6, runs=32, exploration=Constant(0.3))
    assert found.total_variation.shape == (32, 6, world.horizon, 1)
    assert float(found.total_variation.max()) < 1e-12
    assert found.expected_error < 1e-12
    found = calibrate(world, Blurred(error=0.2), episodes=6, runs=32)
    count = len(world.subgoals)
    assert float(found.total_variation.max()) <= 0.2 * (1 - 1 / count) + 1e-12
    assert -0.2 <= found.overconfidence < 0
    assert bool(found.divergence.isfinite().all())


@pytest.mark.parametrize("planner", [Bail(delusion=1.0), Tempered(planner=Bail(), temperature=0.25)])
def test_who_is_too_sure_is_found_out(planner: Planner) -> None:
    found = calibrate(Needle(boxes=8), planner, episodes=12, runs=64)
    assert found.overconfidence > 0.05
    assert found.expected_error >= found.overconfidence
    assert float(found.total_variation[:, 2:].mean()) > 0.05


def test_seeds_are_runs() -> None:
    one = calibrate(Trap(), Tempered(temperature=0.5), episodes=5, runs=1, seed=3)
    many = calibrate(Trap(), Tempered(temperature=0.5), episodes=5, runs=4, seed=1)
    torch.testing.assert_close(one.total_variation[0], many.total_variation[2])


def test_what_does_not_fit_is_refused() -> None:
    for law, exact, bins, words in (
        (laws(2, 3), laws(2, 4), 10, "that of the exact laws"),
        (laws(0, 3), laws(0, 3), 10, "not empty"),
        (laws(2, 3), laws(2, 3), 0, "bins"),
    ):
        with pytest.raises(InvalidInput, match=words):
            calibration(law, exact, bins)
    with pytest.raises(InvalidInput, match="episodes"):
        calibrate(Trap(), Bail(), episodes=0)
