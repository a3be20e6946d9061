"""The luck of many rounds drawn at once, bit for bit that of one round after another.

A round of a bandit is a few operations on small tensors, and Philox in tensor arithmetic would take most of its time.
Since a number is a function of (seed, iteration, place), those of a thousand iterations are one batch as well.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gamesim.randomness import Stream, philox

AT_ONCE = 2**17
"""Numbers drawn at once."""


def quick_rounds(
    stream: Stream, first: int, count: int, shape: Sequence[int], draw: int = 0, device: object = "cpu"
) -> Tensor:
    """Draw number `draw` of `stream.at(t).quick(shape)` for t = first, ..., first + count - 1: [count, *shape]."""
    keys = stream.at(first).take()[0].to(torch.device(str(device)))
    each = math.prod(shape) // len(keys)
    block = torch.arange((each + 3) // 4, device=keys.device)
    iteration = torch.arange(first, first + count, device=keys.device)[:, None, None]
    counter = (block, torch.zeros_like(block), iteration, torch.full_like(block, draw))
    words = torch.broadcast_tensors(*philox(counter, (keys[:, :1], keys[:, 1:]), rounds=7))
    bits = torch.stack(words, -1).flatten(-2)[..., :each]
    return ((bits.to(torch.float64) + 0.5) * 2.0**-32).reshape(count, *shape)


class Ahead(Stream):
    """The numbers of a stream, its quick ones made for many iterations at a time, none from `until` on."""

    def __init__(self, stream: Stream, until: int) -> None:
        self.seeds, self.iteration, self._drawn = stream.seeds, stream.iteration, 0
        self._keys, self._until = stream.at(0).take()[0], until
        self._made = dict[tuple[object, ...], tuple[int, Tensor]]()

    def at(self, iteration: int) -> "Ahead":
        other = object.__new__(Ahead)
        other.seeds, other.iteration, other._drawn = self.seeds, iteration, 0
        other._keys, other._until, other._made = self._keys, self._until, self._made
        return other

    def quick(self, shape: Sequence[int], dtype: torch.dtype = torch.float64, device: object = "cpu") -> Tensor:
        if dtype != torch.float64:
            return super().quick(shape, dtype, device)
        _, iteration, draw = self.take()
        name = (draw, *shape, str(device))
        begin, numbers = self._made.get(name, (0, None))
        if numbers is None or not begin <= iteration < begin + len(numbers):
            begin, most = iteration, max(1, AT_ONCE // max(1, math.prod(shape)))
            count = min(most, max(1, self._until - begin))
            numbers = quick_rounds(self, begin, count, shape, draw, device)
            self._made[name] = begin, numbers
        return numbers[iteration - begin]
