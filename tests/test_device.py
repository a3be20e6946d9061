"""Device and precision follow the game: float32 on any machine, CUDA where there is a device."""

import pytest
import torch

import gamesim as gs
from gamesim import catalog
from gamesim.kernels import fused
from gamesim.parameters import hints_of
from small_games import PAIRS, small, small_solver

ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")

ANYWHERE = [(game, solver) for game, solver in PAIRS if "dtype" in hints_of(catalog.find("games", game))]
"""Bandits and inequalities count in float64 on a CPU."""


@pytest.mark.parametrize(("name", "solver"), ANYWHERE)
def test_float32_stays_float32_and_agrees_with_float64(name: str, solver: str) -> None:
    single, double = (
        gs.solve(small(name, dtype=d), small_solver(solver), iterations=2) for d in ("float32", "float64")
    )
    assert {p.dtype for p in single.policy} == {torch.float32}
    first, other = single.metric(single.target)[0, 0], double.metric(double.target)[0, 0]
    torch.testing.assert_close(first, other, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
@ON_GPU
@pytest.mark.parametrize(("name", "solver"), ANYWHERE)
def test_a_gpu_gives_the_numbers_of_the_cpu(name: str, solver: str) -> None:
    with fused(False):
        here, there = (gs.solve(small(name, device=d), small_solver(solver), iterations=3) for d in ("cpu", "cuda"))
    assert {p.device.type for p in there.policy} == {"cuda"}
    torch.testing.assert_close(there.metric(there.target), here.metric(here.target), rtol=1e-9, atol=1e-9)


@pytest.mark.gpu
@ON_GPU
@pytest.mark.parametrize("operator", ["dense", "prefix-sum"])
def test_operators_and_noise_on_a_gpu(operator: str) -> None:
    game = small("graphon/sis", device="cuda", operator=operator)
    solver = gs.make_solver("gmfg-ppo", feedback="noisy(0.1)")
    twin = small("graphon/sis", operator=operator)
    found, wanted = (gs.solve(g, solver, iterations=3, seeds=4).exploitability for g in (game, twin))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
