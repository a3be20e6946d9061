"""The shape of what is broadcast. PyTorch's own function imports sympy when it is first called, which costs 0.4 s."""

from collections.abc import Sequence
from itertools import zip_longest

import torch


def broadcast_shapes(*shapes: Sequence[int]) -> torch.Size:
    """The shape that tensors of these shapes have together; RuntimeError where there is none, as in PyTorch.

    >>> broadcast_shapes((3, 1), (2,), ())
    torch.Size([3, 2])
    """
    found = list[int]()
    for sizes in zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        size = next((n for n in sizes if n != 1), 1)
        if any(n not in (1, size) for n in sizes):
            raise RuntimeError(f"shapes do not broadcast: {', '.join(str(list(shape)) for shape in shapes)}")
        found.append(size)
    return torch.Size(reversed(found))
