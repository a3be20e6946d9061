"""Finite spaces of gymnasium as numbers 0, 1, ...: several digits are written in mixed radix, the last one fastest.

Discrete is one digit; MultiDiscrete, MultiBinary and bounded Boxes of whole numbers are one for each of their places;
Tuple and Dict are those of their parts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from gamesim.errors import InvalidInput, refuse

MOST = 2**62
"""Elements of a space, at most: machine integers number them."""


@dataclass(frozen=True)
class Coding:
    """The elements of a finite space, numbered."""

    space: Any
    size: int
    number: Callable[[Any], int]
    element: Callable[[int], Any]
    field: str

    def encode(self, value: Any) -> int:
        """The number of an element, refused where it is none."""
        try:
            k = self.number(value)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError):
            k = -1
        if not 0 <= k < self.size:
            raise refuse(self.field, value, f"an element of {self.space}")
        return k


def coding(space: Any, field: str, helps: str = "") -> Coding:
    """The numbering of a finite space; others are refused with what helps."""
    try:
        size, number, element = _parts(space)
    except InvalidInput:
        wanted = "a discrete space" + (f"; {helps}" if helps else "")
        raise refuse(field, space, wanted) from None
    if size > MOST:
        raise refuse(field, f"{space}, 10^{math.log10(size):.0f} elements", f"at most {MOST:.0e} elements")
    return Coding(space, size, number, element, field)


def _parts(space: Any) -> tuple[int, Callable[[Any], int], Callable[[int], Any]]:
    if isinstance(space, spaces.Discrete):
        first = int(space.start)
        return int(space.n), lambda x: _whole(x) - first, lambda k: first + k
    if isinstance(space, spaces.MultiDiscrete):
        return _grid(space.nvec, space.start, space.dtype)
    if isinstance(space, spaces.MultiBinary):
        return _grid(np.full(space.shape, 2), np.zeros(space.shape, np.int64), space.dtype)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.integer):
        return _grid(space.high.astype(object) - space.low.astype(object) + 1, space.low, space.dtype)
    if isinstance(space, spaces.Tuple):
        inner = [_parts(part) for part in space.spaces]
        return _product(inner, range(len(inner)), tuple)
    if isinstance(space, spaces.Dict):
        inner = [_parts(part) for part in space.spaces.values()]
        names = list(space.spaces)
        return _product(inner, names, lambda values: dict(zip(names, values, strict=True)))
    raise refuse("space", space, "a discrete space")


def _whole(x: Any) -> int:
    number = int(x)
    if number != x:
        raise ValueError(x)
    return number


def _grid(counts: Any, first: Any, dtype: Any) -> tuple[int, Callable[[Any], int], Callable[[int], Any]]:
    """Numbers of an array: so many values at each place, from the first on."""
    shape, radix = np.shape(counts), [int(c) for c in np.ravel(counts)]
    low = np.asarray(first).astype(np.int64)

    def number(x: Any) -> int:
        given = np.asarray(x)
        if given.shape != shape or given.dtype.kind not in "iub":
            raise ValueError(x)
        found = 0
        for digit, count in zip((given.astype(np.int64) - low).ravel().tolist(), radix, strict=True):
            if not 0 <= digit < count:
                return -1
            found = found * count + digit
        return found

    def element(k: int) -> Any:
        digits = []
        for count in reversed(radix):
            k, digit = divmod(k, count)
            digits.append(digit)
        return (np.array(digits[::-1], dtype=np.int64).reshape(shape) + low).astype(dtype)

    return math.prod(radix), number, element


def _product(inner: Any, keys: Any, whole: Any) -> tuple[int, Callable[[Any], int], Callable[[int], Any]]:
    """Numbers of several parts, each found in a value by its key."""
    keys = list(keys)

    def number(x: Any) -> int:
        if len(x) != len(keys):
            raise ValueError(x)
        found = 0
        for key, (size, part, _) in zip(keys, inner, strict=True):
            digit = part(x[key])
            if not 0 <= digit < size:
                return -1
            found = found * size + digit
        return found

    def element(k: int) -> Any:
        values = []
        for size, _, part in reversed(inner):
            k, digit = divmod(k, size)
            values.append(part(digit))
        return whole(values[::-1])

    return math.prod(size for size, _, _ in inner), number, element
