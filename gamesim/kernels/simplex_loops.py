"""Softmax of rows in a loop, one thread; its own file, because normal-form games need nothing else of what is compiled.

A chunk of rows that fits the first-level cache is transposed, so that every inner loop is a vector loop over rows.
"""

# mypy: ignore-errors
import numpy as np
from llvmlite import ir
from numba import float64, njit, types, uint64, void
from numba.extending import intrinsic

from gamesim.kernels.rows import OPTIONS, cached

F2 = types.Array(float64, 2, "C")

_inner = njit(**OPTIONS)

# --- exponential, to about one unit in the last place, in a form that compiles to vector instructions -----------------


@intrinsic
def as_bits(context, x):
    return uint64(float64), lambda context, builder, signature, given: builder.bitcast(given[0], ir.IntType(64))


@intrinsic
def as_float(context, bits):
    return float64(uint64), lambda context, builder, signature, given: builder.bitcast(given[0], ir.DoubleType())


@_inner
def exponential(x):
    """exp x for x <= 0; zero below -708, where the exact value is no longer a normal number."""
    y = -708.0 if x < -708.0 else x
    t = y * 1.4426950408889634 + 6755399441055744.0  # the nearest integer lands in the low bits
    n = t - 6755399441055744.0
    r = (y - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10
    p = 1 / 6227020800.0
    p = p * r + 1 / 479001600.0
    p = p * r + 1 / 39916800.0
    p = p * r + 1 / 3628800.0
    p = p * r + 1 / 362880.0
    p = p * r + 1 / 40320.0
    p = p * r + 1 / 5040.0
    p = p * r + 1 / 720.0
    p = p * r + 1 / 120.0
    p = p * r + 1 / 24.0
    p = p * r + 1 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    scaled = p * as_float((as_bits(t) + uint64(1023)) << uint64(52))
    return 0.0 if x < -708.0 else scaled


# --- softmax ----------------------------------------------------------------------------------------------------------


@_inner
def chunk_of(positions, width):
    """How many positions to take at a time: equal chunks, whose policies fit the first-level cache."""
    most = min(max(3072 // width, 32), 1024)
    pieces = max((positions + most - 1) // most, 1)
    return (positions + pieces - 1) // pieces


@cached(njit, void(F2, F2), nogil=True)
def softmax(scores, out):
    """out[i, a] = exp(scores[i, a]) / sum_a exp(scores[i, a])."""
    rows, actions = scores.shape
    chunk = chunk_of(rows, actions)
    memory, most, total = np.empty((actions, chunk)), np.empty(chunk), np.empty(chunk)
    for start in range(0, rows, chunk):
        m = min(chunk, rows - start)
        for a in range(actions):
            for i in range(m):
                memory[a, i] = scores[start + i, a]
        for i in range(m):
            most[i], total[i] = memory[0, i], 0.0
        for a in range(1, actions):
            for i in range(m):
                most[i] = most[i] if most[i] >= memory[a, i] or most[i] != most[i] else memory[a, i]
        for a in range(actions):
            for i in range(m):
                memory[a, i] = exponential(memory[a, i] - most[i])
                total[i] += memory[a, i]
        for i in range(m):
            total[i] = 1.0 / total[i]
        for a in range(actions):
            for i in range(m):
                out[start + i, a] = memory[a, i] * total[i]
