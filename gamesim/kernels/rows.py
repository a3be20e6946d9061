"""Row functions: what a game writes so that compiled loops can play it. Games import this without importing numba.

A row function is a method of the game over again, for one step h and a chunk of positions, which come last:

    reward(h, z[s, k], out[s, a, k], parameters[:])                           out = r
    expect(h, value[t, k], z[s, k], out[s, a, k], parameters[:])              out = sum_t P(t | s, a, z) value(t)
    push(h, mass[s, k], policy[s, a, k], z[s, k], out[t, k], parameters[:])   out = where the mass goes

It is plain Python in the subset that numba compiles, and it fills all of `out`, which comes with old numbers in it.
"""

import linecache
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial, update_wrapper
from typing import Any
from zlib import crc32

from torch import Tensor

# No sum is reordered and no number assumed finite: fused multiply-adds are all that may differ from the torch code.
OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}}


def cached(decorator: Callable[..., Any], *signature: Any, **options: Any) -> Callable[..., Any]:
    """A numba decorator with its cache on disk; without one where neither the package nor the user's is writable."""

    def compile(function: Any) -> Any:
        if not function.__qualname__.endswith(borrowed := _borrowed(function)):
            function.__qualname__ += borrowed
        try:
            return decorator(*signature, cache=True, **OPTIONS, **options)(function)
        except RuntimeError as problem:
            if "cannot cache" not in str(problem):
                raise
            return decorator(*signature, **OPTIONS, **options)(function)

    return compile


def _borrowed(function: Any) -> str:
    """What marks a name in the cache with the other files whose numba functions are imported: numba sees one file."""
    compiled = [x for x in function.__globals__.values() if type(x).__module__.startswith("numba.")]
    files = {x.__wrapped__.__code__.co_filename for x in compiled if hasattr(x, "__wrapped__")}
    files.discard(function.__code__.co_filename)
    text = "".join(line for file in sorted(files) for line in linecache.getlines(file))
    return f".{crc32(text.encode()):08x}" if files else ""


def arguments(letters: str) -> Any:
    """A numba signature from letters: i an integer, a digit a contiguous array of so many dimensions."""
    from numba import float64, int64, types, void

    return void(*(int64 if letter == "i" else types.Array(float64, int(letter), "C") for letter in letters))


class Row:
    """A row function, compiled to a C function when first wanted.

    The loops call it by its address, so that they are compiled once for all games and both stay on disk. Were they
    given a jitted function instead, numba would compile them again for every game in every process.
    """

    __name__: str

    def __init__(self, function: Callable[..., None], letters: str) -> None:
        update_wrapper(self, function)
        self.function, self.letters = function, letters

    def __call__(self, *given: Any) -> None:
        self.function(*given)

    def __reduce__(self) -> str:
        return self.__name__  # by name, as functions are, so that a game can be pickled

    @cached_property
    def compiled(self) -> Any:
        from numba import cfunc

        return cached(cfunc, arguments(self.letters))(self.function)

    @cached_property
    def address(self) -> int:
        return int(self.compiled.address)


REWARD, EXPECT, PUSH = "i231", "i2231", "i23221"
reward, expect, push = (partial(Row, letters=letters) for letters in (REWARD, EXPECT, PUSH))


@expect
def expect_table(h, value, z, out, parameters):  # type: ignore[no-untyped-def]
    """P as its entries (s, a, t, P), laid end to end."""
    out[:] = 0.0
    for i in range(0, parameters.size, 4):
        s, a, t, p = int(parameters[i]), int(parameters[i + 1]), int(parameters[i + 2]), parameters[i + 3]
        for k in range(out.shape[2]):
            out[s, a, k] += p * value[t, k]


@push
def push_table(h, mass, policy, z, out, parameters):  # type: ignore[no-untyped-def]
    """P as its entries (s, a, t, P), laid end to end."""
    out[:] = 0.0
    for i in range(0, parameters.size, 4):
        s, a, t, p = int(parameters[i]), int(parameters[i + 1]), int(parameters[i + 2]), parameters[i + 3]
        for k in range(out.shape[1]):
            out[t, k] += p * mass[s, k] * policy[s, a, k]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The row functions of a game: reward, with expect and push or with a table P[s, a, t] in which z plays no part."""

    reward: Row
    parameters: Sequence[float | Tensor] = ()
    """What the row functions are given, laid end to end: numbers, and tensors flattened."""
    expect: Row = expect_table
    push: Row = push_table
    transition: Tensor | None = None
