"""Uniform random numbers by the compiled Philox: torch's arithmetic takes 100 ns a number, the loop takes one."""

import sys

import torch
from torch import Tensor

from gamesim.kernels import allowed

MANY = 10_000  # numbers: for fewer, torch is done before numba is imported


def serves(keys: Tensor, count: int) -> bool:
    """Whether the loop may stand in for torch on keys[b, 2] and so many numbers."""
    return allowed() and keys.device.type == "cpu" and (count >= MANY or "gamesim.kernels.philox_loops" in sys.modules)


def uniform(keys: Tensor, start: int, iteration: int, draw: int, digits: int, count: int) -> Tensor:
    """The numbers at places start, start + 1, ... under each of keys[b, 2]: float64 [b, count]."""
    from gamesim.kernels import philox_loops

    found = torch.empty(len(keys), count, dtype=torch.float64)
    philox_loops.uniform(keys.numpy(), start, iteration, draw, digits, found.numpy())
    return found


def quick(keys: Tensor, iteration: int, draw: int, digits: int, count: int) -> Tensor:
    """The numbers of seven rounds, four to a block, under each of keys[b, 2]: float64 [b, count]."""
    from gamesim.kernels import philox_loops

    found = torch.empty(len(keys), count, dtype=torch.float64)
    philox_loops.quick(keys.numpy(), iteration, draw, digits, found.numpy())
    return found
