"""Batched BFGS against scipy, one start at a time; the curvature against closed forms."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import Tensor

from gamesim.estimation.search import curvature, inverse_curvature, minimize, value_and_gradient
from gamesim.randomness import Stream

SCALES = torch.tensor([1.0, 1e3, 1e-2], dtype=torch.float64)


def quadratic(x: Tensor) -> Tensor:
    return 0.5 * (SCALES * (x - 1) ** 2).sum(-1)


def rosenbrock(x: Tensor) -> Tensor:
    return 100 * (x[..., 1:] - x[..., :-1] ** 2).square().sum(-1) + (1 - x[..., :-1]).square().sum(-1)


def logistic(x: Tensor) -> Tensor:
    """A likelihood with a weak prior."""
    rows = Stream(3).normal((40, 3))
    answers = (rows @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) > 0).double()
    score = x @ rows.T
    return (torch.nn.functional.softplus(score) - answers * score).sum(-1) + 0.05 * x.square().sum(-1)


def sharp(x: Tensor) -> Tensor:
    """A valley as the variance of noise-free rewards makes it: N log(distance), on top of a large constant."""
    return 1e5 * (1e-7 + (x[..., 0] - x[..., 1]).square()).log() + 10 * (x[..., 1] - 2).square() + x[..., 2].square()


FUNCTIONS: list[Callable[[Tensor], Tensor]] = [quadratic, rosenbrock, logistic, sharp]


def starts(count: int = 5) -> Tensor:
    return Stream(1).normal((count, 3))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_minimum_is_that_of_scipy(function: Callable[[Tensor], Tensor]) -> None:
    found = minimize(function, starts(), iterations=300, tolerance=1e-8)
    for x, value in zip(starts(), found.value, strict=True):
        theirs = optimize.minimize(
            lambda at: float(function(torch.from_numpy(at))),
            x.numpy(),
            jac=lambda at: value_and_gradient(function, torch.from_numpy(at)[None])[1][0].numpy(),
            method="BFGS",
        )
        assert float(value) <= theirs.fun + 1e-6 * max(1, abs(theirs.fun)) ** 0.5
    if function is not sharp:
        np.testing.assert_allclose(found.x, np.broadcast_to(found.x[0], found.x.shape), atol=1e-3)
        assert bool(found.converged.all())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_batch_is_one_by_one(function: Callable[[Tensor], Tensor]) -> None:
    together = minimize(function, starts())
    for i, start in enumerate(starts()):
        alone = minimize(function, start[None])
        torch.testing.assert_close(together.value[i], alone.value[0], rtol=1e-6, atol=1e-3)
        assert bool(together.converged[i]) == bool(alone.converged[0])


def test_rows_without_a_value_stay_and_do_not_disturb_the_others() -> None:
    def function(x: Tensor) -> Tensor:
        return torch.where(x[..., 0] > 50, torch.nan, quadratic(x))

    start = torch.cat([starts(2), torch.full((1, 3), 99.0, dtype=torch.float64)])
    found = minimize(function, start)
    torch.testing.assert_close(found.x[:2], minimize(quadratic, starts(2)).x)
    assert torch.equal(found.x[2], start[2])
    assert found.converged.tolist() == [True, True, False]


def test_the_inverse_of_a_similar_function_saves_the_curvature() -> None:
    calls = [0]

    def counted(x: Tensor) -> Tensor:
        calls[0] += 1
        return quadratic(x)

    inverse = torch.diag(1 / SCALES)
    found = minimize(counted, starts(), inverse=inverse)
    assert calls[0] <= 4
    torch.testing.assert_close(found.x, torch.ones_like(found.x), rtol=0, atol=1e-3)


def test_too_few_iterations_are_not_called_convergence() -> None:
    assert not bool(minimize(rosenbrock, starts(), iterations=2, tolerance=1e-8).converged.any())


def test_curvature_is_the_hessian() -> None:
    x = torch.ones(1, 3, dtype=torch.float64)
    torch.testing.assert_close(curvature(quadratic, x)[0], torch.diag(SCALES))
    exact = torch.autograd.functional.hessian(lambda at: logistic(at), x[0])
    torch.testing.assert_close(curvature(logistic, x)[0], exact, rtol=1e-3, atol=1e-3)


def test_the_inverse_of_a_saddle_is_positive() -> None:
    def saddle(x: Tensor) -> Tensor:
        return x[..., 0] ** 2 - 2 * x[..., 1] ** 2

    inverse = inverse_curvature(saddle, torch.zeros(1, 2, dtype=torch.float64))[0]
    torch.testing.assert_close(inverse, torch.diag(torch.tensor([0.5, 0.25], dtype=torch.float64)))
