"""The low level of the grid world: a slippery grid, and an actor who walks to a cell as value iteration says.

A move goes where it should with probability 1 - slip, and as a move drawn at random otherwise; staying is a move, and
walls hold. Towards the cell of subgoal g the actor takes, with V_g the fixed point,

    V_g(s) = 1{s = goal} + discount max_a sum_t P(t | s, a) V_g(t),       pi_g(s) = the first a that attains the maximum
"""

import torch
from torch import Tensor

MOVES = ("up", "down", "left", "right", "stay")
STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0))
DISCOUNT = 0.95
"""Of the actor's values: it counts the steps at its goal, the sooner the better."""
TIE = 1e-9
"""Values that differ by less are the same."""


def grid_kernel(size: int, slip: float) -> Tensor:
    """P(t | s, a) on a square grid, cells row by row: [a, s, t]."""
    cells = torch.arange(size * size)
    row, column = cells // size, cells % size
    table = torch.zeros(len(STEPS), len(cells), len(cells), dtype=torch.float64)
    for a, (down, right) in enumerate(STEPS):
        to = (row + down).clamp(0, size - 1) * size + (column + right).clamp(0, size - 1)
        table[a, cells, to] = 1.0
    return (1 - slip) * table + slip * table.mean(0)


def perimeter(size: int) -> Tensor:
    """The cells along the walls, clockwise from the upper left corner: [4 (size - 1)]."""
    along = torch.arange(size - 1)
    top, right = along, along * size + size - 1
    return torch.cat([top, right, size * size - 1 - top, size * size - 1 - right])


def value_iteration(kernel: Tensor, goals: Tensor, discount: float = DISCOUNT) -> Tensor:
    """V_g, [g, s], for kernel[a, s, t] and goals[g], cells; to 1e-12 relative."""
    paid = torch.nn.functional.one_hot(goals, kernel.shape[-1]).to(kernel)
    values = paid
    while True:
        after = paid + discount * best_of(kernel, values).amax(-1)
        if float((after - values).abs().max()) <= 1e-12 / (1 - discount):
            return after
        values = after


def best_of(kernel: Tensor, values: Tensor) -> Tensor:
    """sum_t P(t | s, a) V_g(t), [g, s, a]."""
    return torch.einsum("ast,gt->gsa", kernel, values)


def greedy(scores: Tensor) -> Tensor:
    """The policy that takes the first best action, [..., a]."""
    best = (scores >= scores.amax(-1, keepdim=True) - TIE).to(torch.uint8).argmax(-1)
    return torch.nn.functional.one_hot(best, scores.shape[-1]).to(scores)


def exact_actor(kernel: Tensor, goals: Tensor) -> Tensor:
    """pi_g(a | s) of value iteration, [g, s, a]."""
    return greedy(best_of(kernel, value_iteration(kernel, goals)))
