"""Common luck: what a seed draws is drawn once and shown to all its hyper-parameters, which differ in nothing else."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gamesim.randomness import Stream


class Common(Stream):
    """A stream that draws numbers [seed, hyper-parameter, ...] alike for all hyper-parameters."""

    batch: tuple[int, ...]

    def uniform(
        self, shape: Sequence[int], dtype: torch.dtype = torch.float64, device: object = "cpu", start: int = 0
    ) -> Tensor:
        """The numbers that one hyper-parameter alone would see, in views where there are several."""
        shape, many = tuple(shape), len(self.batch)
        if len(shape) < many or any(x not in (1, y) for x, y in zip(shape, self.batch, strict=False)):
            return super().uniform(shape, dtype, device, start)
        return super().uniform((*self.alike(self.batch), *shape[many:]), dtype, device, start).expand(shape)


def common(generator: Stream, batch: tuple[int, ...]) -> Stream:
    """The stream from here on for a run with these leading dimensions."""
    if len(batch) == len(generator.front):
        return generator
    found = object.__new__(Common)
    found.__dict__.update(generator.__dict__)
    found.batch = batch
    return found
