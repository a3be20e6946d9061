"""What theory predicts of a chain x' = x - g (F(x) + U) with errors U of mean 0 and covariance C, near a zero x* of F.

With J = F'(x*) and a small step, for an interior x*, the first order in g being the same for extra-gradient methods,

    limit of the scaled average      sqrt(T) (mean - E x) -> N(0, J^-1 C J^-T)           exact if F is linear
    stationary covariance            g S with J S + S J' = C,                            exact: ... - g J S J' = C
    bias                             E x - x* = g Delta + O(g^2),  Delta = -J^-1 F''(x*)[S] / 2

Dieuleveut, Durmus and Bach, "Bridging the gap between constant step size stochastic gradient descent and Markov
chains", Annals of Statistics 48 (2020), theorem 4, whose symmetric J is not needed.
"""

from typing import Any

import torch
from torch import Tensor

from gamesim.errors import refuse


def stationary_covariance(jacobian: Tensor, noise: Tensor, step_size: float = 0.0) -> Tensor:
    """S[d, d] of J S + S J' - g J S J' = C: the covariance of x' = x - g (J x + U) is g S; g = 0 is its limit."""
    J, C = jacobian.contiguous(), noise
    one = torch.eye(len(J), dtype=J.dtype, device=J.device)
    system = torch.kron(J, one) + torch.kron(one, J) - step_size * torch.kron(J, J)
    found: Tensor = torch.linalg.solve(system, C.flatten())
    return found.reshape(C.shape)


def limit_covariance(problem: Any, noise: Tensor | None = None) -> Tensor:
    """J^-1 C J^-T, the covariance of sqrt(T) times the average, for small steps; noise C[d, d] is 1 if left out."""
    J = _derivative(problem, _solution(problem))
    C = torch.eye(len(J), dtype=J.dtype, device=J.device) if noise is None else noise
    found: Tensor = torch.linalg.solve(J, torch.linalg.solve(J, C).mT)
    return found


def leading_bias(problem: Any, noise: Tensor | None = None) -> Tensor:
    """Delta[d]: the bias of stationary means is step * Delta + o(step). Needs the solution, inside the domain."""
    x = _solution(problem)
    J = _derivative(problem, x)
    C = torch.eye(len(J), dtype=J.dtype, device=J.device) if noise is None else noise
    S = stationary_covariance(J, C)
    second = torch.func.jacrev(lambda z: _derivative(problem, z))(x)  # F_i'' [i, j, k]
    pushed: Tensor = torch.linalg.solve(J, torch.einsum("ijk,jk->i", second, S))
    return -pushed / 2


def _solution(problem: Any) -> Tensor:
    solution = getattr(problem, "solution", lambda: None)()
    if solution is None:
        raise refuse("problem", type(problem).__name__, "one whose solution() is known")
    return torch.cat(solution, -1)


def _derivative(problem: Any, point: Tensor) -> Tensor:
    """F'(x)[d, d], by automatic differentiation."""
    sizes = [len(x) for x in problem.solution()]
    found: Tensor = torch.func.jacrev(lambda z: torch.cat(problem.operator(z.split(sizes, -1)), -1))(point)
    return found
