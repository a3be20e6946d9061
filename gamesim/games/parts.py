"""Work on a batch of policies in parts: so many at once as memory holds, with the same bits as the whole."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gamesim.shapes import broadcast_shapes

AT_ONCE = 2**24
"""Numbers that are in memory at once."""


def in_parts(work: Callable[..., Any], given: tuple[Any, ...], games: tuple[int, ...], each: int) -> Any:
    """work(*given) of nested tuples of tensors [..., x, y] whose leading dimensions end with the batch of games.

    `each` is how many numbers one of the batch takes. A dimension in which there are different games stays whole.
    """
    batch = broadcast_shapes(games, *(x.shape[:-2] for x in tensors_in(given)))
    if math.prod(batch) * each <= AT_ONCE:
        return work(*given)
    own = (1,) * (len(batch) - len(games)) + games
    along = next((d for d, (size, kept) in enumerate(zip(batch, own, strict=True)) if size > 1 == kept), None)
    if along is None:
        return work(*given)
    last = along - len(batch)  # counted from the last dimension of the batch, with which all of them align
    size = max(1, AT_ONCE * batch[along] // (math.prod(batch) * each))
    parts = []
    for first in range(0, batch[along], size):
        count = min(size, batch[along] - first)
        parts.append(in_parts(work, tuple(part_of(x, last - 2, first, count) for x in given), games, each))
    return joined(parts, last - 2)


def tensors_in(tree: Any) -> list[Tensor]:
    """The tensors of nested tuples, numbers left out."""
    if isinstance(tree, tuple):
        return [x for part in tree for x in tensors_in(part)]
    return [tree] if isinstance(tree, Tensor) and tree.dim() > 1 else []


def part_of(tree: Any, dim: int, first: int, count: int) -> Any:
    """So many from the first on along a dimension counted from the end, of tensors that have more than one there."""
    if isinstance(tree, tuple):
        return tuple(part_of(x, dim, first, count) for x in tree)
    if not isinstance(tree, Tensor) or tree.dim() < -dim or tree.shape[dim] == 1:
        return tree
    return tree.narrow(dim, first, count)


def joined(parts: list[Any], dim: int) -> Any:
    """Parts put together along the dimension in which they were taken."""
    if isinstance(parts[0], tuple):
        return tuple(joined(list(x), dim) for x in zip(*parts, strict=True))
    return torch.cat(parts, dim)
