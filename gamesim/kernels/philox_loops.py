"""Philox4x32-10 in a loop: the numbers of `gamesim.randomness`, bit for bit, a hundred times as fast."""

# mypy: ignore-errors
from numba import float64, int64, njit, types, uint64, void

from gamesim.kernels.rows import OPTIONS, cached

MASK = 0xFFFFFFFF


@njit(inline="always", **OPTIONS)
def words(low, high, iteration, draw, k0, k1, rounds):
    """Four words of 32 random bits of a counter (low and high half of the place, iteration, draw), key (k0, k1)."""
    mask, half = uint64(MASK), uint64(32)
    c0, c1, c2, c3 = low, high, iteration, draw
    for _ in range(rounds):
        left, right = uint64(0xD2511F53) * c0, uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (right >> half) ^ c1 ^ k0, right & mask, (left >> half) ^ c3 ^ k1, left & mask
        k0, k1 = (k0 + uint64(0x9E3779B9)) & mask, (k1 + uint64(0xBB67AE85)) & mask
    return c0, c1, c2, c3


@njit(inline="always", **OPTIONS)
def bits(low, high, iteration, draw, k0, k1):
    """52 random bits."""
    c0, c1, _, _ = words(low, high, iteration, draw, k0, k1, 10)
    return (c0 << uint64(20)) | (c1 >> uint64(12))


@cached(njit, void(types.Array(int64, 2, "C"), int64, int64, int64, int64, types.Array(float64, 2, "C")), nogil=True)
def uniform(keys, start, iteration, draw, digits, out):
    """out[b, i] = the number at place start + i under keys[b], with so many binary digits."""
    drop, unit = uint64(52 - digits), 2.0**-digits
    for b in range(len(out)):
        k0, k1 = uint64(keys[b, 0]), uint64(keys[b, 1])
        for i in range(out.shape[1]):
            place = uint64(start + i)
            word = bits(place & uint64(MASK), place >> uint64(32), uint64(iteration), uint64(draw), k0, k1)
            out[b, i] = (float64(word >> drop) + 0.5) * unit


@cached(njit, void(types.Array(int64, 2, "C"), int64, int64, int64, types.Array(float64, 2, "C")), nogil=True)
def quick(keys, iteration, draw, digits, out):
    """out[b, i] = word i % 4 of block i // 4 of seven rounds under keys[b], with so many binary digits."""
    drop, unit, count = uint64(32 - digits), 2.0**-digits, out.shape[1]
    for b in range(len(out)):
        k0, k1 = uint64(keys[b, 0]), uint64(keys[b, 1])
        for block in range((count + 3) // 4):
            four = words(uint64(block), uint64(0), uint64(iteration), uint64(draw), k0, k1, 7)
            for j in range(min(4, count - 4 * block)):
                out[b, 4 * block + j] = (float64(four[j] >> drop) + 0.5) * unit
