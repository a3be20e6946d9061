"""FTRL for many seeds in one loop over steps, one thread; gamesim.kernels.learning says what comes in and goes out.

Seeds are lanes: 64 of them stand side by side in rows of a scratch that stays in the first-level cache, so that every
inner loop is a vector loop, whatever its length in memory, and a lane never sees another one. A row of the scratch is
an action of a player, or a number of its own; rows are found by counting, in one flat array, because the compiler sees
through constants where it would have to compare addresses. The last block is filled up with copies of the last seed.

Two players of a few actions have loops of their own, unrolled by the types of `one` and `two`, tuples with as many
entries as the players have actions: a step is then three or four passes, with payoffs as rows and no gather.

All of it lives in this one file: numba's cache looks only at the file of the outermost function.
"""

# mypy: ignore-errors
import math

import numpy as np
from llvmlite import ir
from numba import njit, types, uint64
from numba.extending import intrinsic, overload

from gamesim.kernels.rows import OPTIONS, cached

LANES = np.uint64(64)
FEW = 4
"""Actions of each of two players, at most, that have loops of their own, compiled for each size."""
NEWTON = 40
"""Steps at most; 9 do for 10 actions, 15 for 1,000."""
ENTROPIC, EUCLIDEAN, POWER = np.uint64(0), np.uint64(1), np.uint64(2)
EXACT, REALISED, BANDIT = np.uint64(0), np.uint64(1), np.uint64(2)
NONE, ONE, TWO, THREE, FOUR = (np.uint64(n) for n in range(5))  # signed and unsigned make a float

_inner = njit(**OPTIONS)
_pasted = njit(forceinline=True, **OPTIONS)

# --- numbers ----------------------------------------------------------------------------------------------------------

BITS = {types.float32: types.int32, types.float64: types.int64}


@intrinsic
def _bits(context, x):
    """A float's bits as an integer."""
    return BITS[x](x), lambda _, builder, signature, given: builder.bitcast(given[0], ir.IntType(x.bitwidth))


@intrinsic
def _real(context, n):
    """The float of these bits."""
    real, kind = (types.float32, ir.FloatType()) if n == types.int32 else (types.float64, ir.DoubleType())
    return real(n), lambda _, builder, signature, given: builder.bitcast(given[0], kind)


def _exp(z):
    """exp(z) for z <= 0: 2^k e^r with |r| <= log(2) / 2; 0 where it would be subnormal; no branch, so a vector."""


def _log(z):
    """log(z) for 1 <= z: k log 2 + 2 artanh(s) with s = (m - 1) / (m + 1), |s| < 0.172."""


S = np.float32
LOWEST, PER_LOG2, ROUND = S(-87.3), S(1.4426950408889634), S(1.5 * 2.0**23)
HIGH, LOW = S(0.693359375), S(-2.12194440e-4)  # log 2 in two parts
E2, E3, E4, E5, E6, E7 = (
    S(c) for c in (5.0000001201e-1, 1.6666665459e-1, 4.1665795894e-2, 8.3334519073e-3, 1.3981999507e-3, 1.987569150e-4)
)
MANTISSA, ROOT_HALF = np.int32(23), np.int32(0x3F3504F3)


def _exp_single(z):
    bounded = LOWEST if z < LOWEST else z
    shifted = bounded * PER_LOG2 + ROUND  # rounds to a whole number, and leaves it in the low bits
    k = shifted - ROUND
    r = bounded - k * HIGH - k * LOW
    tail = ((((E7 * r + E6) * r + E5) * r + E4) * r + E3) * r + E2
    power = _real(np.int32(_bits(tail * (r * r) + r + S(1)) + (_bits(shifted) << MANTISSA)))
    return S(0) if z < LOWEST else power


def _log_single(z):
    k = np.int32(_bits(z) - ROOT_HALF) >> MANTISSA
    m = _real(np.int32(_bits(z) - (k << MANTISSA)))
    s = (m - S(1)) / (m + S(1))
    w = s * s
    series = (((S(1 / 9) * w + S(1 / 7)) * w + S(1 / 5)) * w + S(1 / 3)) * w
    whole = _real(np.int32(k + _bits(ROUND))) - ROUND
    found = whole * HIGH + (whole * LOW + (S(2) * s * series + S(2) * s))
    return z if z != z else found


LOWEST_D, PER_LOG2_D, ROUND_D = -708.0, 1.4426950408889634, 1.5 * 2.0**52
HIGH_D, LOW_D = 0.6931471803691238, 1.9082149292705877e-10
F3, F4, F5, F6, F7, F8, F9, F10, F11, F12, F13 = (1 / math.factorial(n) for n in range(3, 14))
MANTISSA_D, ROOT_HALF_D = np.int64(52), np.int64(0x3FE6A09E667F3BCD)


def _exp_double(z):
    bounded = LOWEST_D if z < LOWEST_D else z
    shifted = bounded * PER_LOG2_D + ROUND_D
    k = shifted - ROUND_D
    r = bounded - k * HIGH_D - k * LOW_D
    tail = ((((F13 * r + F12) * r + F11) * r + F10) * r + F9) * r + F8
    tail = (((((tail * r + F7) * r + F6) * r + F5) * r + F4) * r + F3) * r + 0.5
    power = _real(_bits(tail * (r * r) + r + 1.0) + (_bits(shifted) << MANTISSA_D))
    return 0.0 if z < LOWEST_D else power


def _log_double(z):
    k = (_bits(z) - ROOT_HALF_D) >> MANTISSA_D
    m = _real(_bits(z) - (k << MANTISSA_D))
    s = (m - 1.0) / (m + 1.0)
    w = s * s
    series = ((((w * (1 / 21) + 1 / 19) * w + 1 / 17) * w + 1 / 15) * w + 1 / 13) * w + 1 / 11
    series = (((((series * w + 1 / 9) * w + 1 / 7) * w + 1 / 5) * w + 1 / 3) * w) * s
    whole = _real(k + _bits(ROUND_D)) - ROUND_D
    found = whole * HIGH_D + (whole * LOW_D + (2.0 * series + 2.0 * s))
    return z if z != z else found


@overload(_exp, jit_options={**OPTIONS, "forceinline": True})
def _exp_of(z):
    return _exp_double if z == types.float64 else _exp_single


@overload(_log, jit_options={**OPTIONS, "forceinline": True})
def _log_of(z):
    return _log_double if z == types.float64 else _log_single


# --- randomness -------------------------------------------------------------------------------------------------------

MASK, HALF, DROPPED = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(9)
M0, M1, W0, W1 = (np.uint64(c) for c in (0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85))


@_pasted
def _words(block, t, k0, k1):
    """Four words of seven rounds; their high halves are garbage."""
    c0, c1, c2, c3 = block, NONE, t, NONE
    for _ in range(7):
        left, right = M0 * (c0 & MASK), M1 * (c2 & MASK)
        c0, c1, c2, c3 = (right >> HALF) ^ c1 ^ k0, right, (left >> HALF) ^ c3 ^ k1, left
        k0, k1 = k0 + W0, k1 + W1
    return c0, c1, c2, c3


@_pasted
def _unit(s, word):
    """A uniform number of the dtype of s."""
    F = s.dtype.type
    if s.itemsize == 4:
        return (F(np.int32((word & MASK) >> DROPPED)) + F(0.5)) * F(2.0**-23)
    return (F(np.int64(word & MASK)) + F(0.5)) * F(2.0**-32)


@_inner
def _draw_two(s, u, keys, t):
    """Rows u and u + 1: the first two numbers of Stream.quick at iteration t."""
    for l in range(LANES):
        c0, c1, _, _ = _words(NONE, t, keys[l], keys[LANES + l])
        s[u * LANES + l], s[(u + ONE) * LANES + l] = _unit(s, c0), _unit(s, c1)


@_inner
def _draw_four(s, u, keys, t, block):
    """Rows u, ..., u + 3: the block-th four numbers of Stream.quick at iteration t."""
    for l in range(LANES):
        c0, c1, c2, c3 = _words(block, t, keys[l], keys[LANES + l])
        s[u * LANES + l], s[(u + ONE) * LANES + l] = _unit(s, c0), _unit(s, c1)
        s[(u + TWO) * LANES + l], s[(u + THREE) * LANES + l] = _unit(s, c2), _unit(s, c3)


# --- mirror maps: rows y, ... to rows x, ...; each player has a maximum of 0 ------------------------------------------


@_inner
def _centre(s, y, actions, top):
    for l in range(LANES):
        s[top * LANES + l] = s[y * LANES + l]
    for a in range(ONE, actions):
        for l in range(LANES):
            v, best = s[(y + a) * LANES + l], s[top * LANES + l]
            s[top * LANES + l] = v if (v > best) | (v != v) else best  # what is not a number spreads in its lane
    for a in range(actions):
        for l in range(LANES):
            s[(y + a) * LANES + l] -= s[top * LANES + l]


@_inner
def _normalise(s, x, actions, total):
    F = s.dtype.type
    for l in range(LANES):
        s[total * LANES + l] = F(1) / s[total * LANES + l]
    for a in range(actions):
        for l in range(LANES):
            s[(x + a) * LANES + l] *= s[total * LANES + l]


@_inner
def _entropic(s, y, x, actions, total):
    """Softmax."""
    F = s.dtype.type
    for l in range(LANES):
        s[total * LANES + l] = F(0)
    for a in range(actions):
        for l in range(LANES):
            e = _exp(s[(y + a) * LANES + l])
            s[(x + a) * LANES + l] = e
            s[total * LANES + l] += e
    _normalise(s, x, actions, total)


@_inner
def _euclidean(s, y, x, actions, work):
    """max(0, y - tau): tau grows to where the rest sums to one, Michelot, J. Optim. Theory Appl. 50 (1986)."""
    F = s.dtype.type
    tau, kept, total = work, work + ONE, work + TWO
    for l in range(LANES):
        s[tau * LANES + l] = F(-np.inf)
    for _ in range(actions + ONE):
        for l in range(LANES):
            s[kept * LANES + l], s[total * LANES + l] = F(0), F(-1)
        for a in range(actions):
            for l in range(LANES):
                v, t = s[(y + a) * LANES + l], s[tau * LANES + l]
                s[kept * LANES + l] += F(1) if v > t else F(0)
                s[total * LANES + l] += v if v > t else F(0)
        grown = 0
        for l in range(LANES):
            t, then = s[tau * LANES + l], s[total * LANES + l] / s[kept * LANES + l]
            grown += 1 if then > t else 0
            s[tau * LANES + l] = then if then > t else t
        if grown == 0:
            break
    for a in range(actions):
        for l in range(LANES):
            d = s[(y + a) * LANES + l] - s[tau * LANES + l]
            s[(x + a) * LANES + l] = F(0) if d <= F(0) else d


@_inner
def _power(s, y, x, actions, work, q):
    """x_a = [(1 - q)(lam - y_a)]^(-1 / (1 - q)), lam by Newton's method from the left; a lane that has it is left."""
    F = s.dtype.type
    lam, total, slope = work, work + ONE, work + TWO
    p, exponent = F(1 - q), F(-1 / (1 - q))
    close = F(4 * 2.0**-23) if s.itemsize == 4 else F(4 * 2.0**-52)
    for l in range(LANES):
        s[lam * LANES + l] = F(1) / p
    for _ in range(NEWTON):
        for l in range(LANES):
            s[total * LANES + l], s[slope * LANES + l] = F(0), F(0)
        for a in range(actions):
            if q == 0.5:
                for l in range(LANES):
                    r = F(1) / (p * (s[lam * LANES + l] - s[(y + a) * LANES + l]))
                    s[(x + a) * LANES + l] = r * r
                    s[total * LANES + l] += r * r
                    s[slope * LANES + l] += r * r * r
            elif q == 0.0:
                for l in range(LANES):
                    r = F(1) / (s[lam * LANES + l] - s[(y + a) * LANES + l])
                    s[(x + a) * LANES + l] = r
                    s[total * LANES + l] += r
                    s[slope * LANES + l] += r * r
            else:
                for l in range(LANES):
                    d = p * (s[lam * LANES + l] - s[(y + a) * LANES + l])
                    z = _exp(exponent * _log(d))
                    s[(x + a) * LANES + l] = z
                    s[total * LANES + l] += z
                    s[slope * LANES + l] += z / d
        moved = 0
        for l in range(LANES):
            before = s[lam * LANES + l]
            move = (s[total * LANES + l] - F(1)) / s[slope * LANES + l]
            far = move > close * before
            moved += 1 if far else 0
            s[lam * LANES + l] = before + move if far else before
        if moved == 0:
            break
    _normalise(s, x, actions, total)


@_inner
def _choose(s, y, x, actions, work, regularizer, q):
    if regularizer == ENTROPIC:
        _entropic(s, y, x, actions, work)
    elif regularizer == EUCLIDEAN:
        _euclidean(s, y, x, actions, work)
    else:
        _power(s, y, x, actions, work, q)


# --- two players of a few actions: rows y, x, u, gamma, eps, then payoffs [player, a1, a2] ----------------------------


@_pasted
def _entropic_few(s, y, x, one):
    F, W = s.dtype.type, np.int64(LANES)
    for l in range(W):
        total = F(0)
        for a in range(len(one)):
            e = _exp(s[(y + a) * W + l])
            s[(x + a) * W + l] = e
            total += e
        scale = F(1) / total
        for a in range(len(one)):
            s[(x + a) * W + l] *= scale


@_pasted
def _centre_few(s, y, one, l):
    W = np.int64(LANES)
    top = s[y * W + l]
    for a in range(1, len(one)):
        v = s[(y + a) * W + l]
        top = v if (v > top) | (v != v) else top
    for a in range(len(one)):
        s[(y + a) * W + l] -= top


@_pasted
def _sample_few(s, x, u, one, mixing, l):
    """The action drawn from (1 - mixing) x + mixing / actions, and its probability."""
    F, W = s.dtype.type, np.int64(LANES)
    share = F(1 / len(one))
    number = s[u * W + l]
    chosen, p = np.int32(0), s[x * W + l] + mixing * (share - s[x * W + l])
    below = p
    for a in range(1, len(one)):
        each = s[(x + a) * W + l] + mixing * (share - s[(x + a) * W + l])
        past = below <= number
        chosen = np.int32(a) if past else chosen
        p = each if past else p
        below += each
    return chosen, p


@_pasted
def _bandit_few(s, one, two, y, x, u, table):
    F, W = s.dtype.type, np.int64(LANES)
    m, n = len(one), len(two)
    for l in range(W):
        gamma, mixing = s[(u + 2) * W + l], s[(u + 3) * W + l]
        i, p = _sample_few(s, x, u, one, mixing, l)
        j, q = _sample_few(s, x + m, u + 1, two, mixing, l)
        first = second = F(0)
        for b in range(n):
            to_first, to_second = s[(table + b) * W + l], s[(table + m * n + b) * W + l]
            for a in range(1, m):
                v, w = s[(table + a * n + b) * W + l], s[(table + (m + a) * n + b) * W + l]
                to_first = v if i == a else to_first
                to_second = w if i == a else to_second
            first = to_first if j == b else first
            second = to_second if j == b else second
        first, second = gamma * (first / p), gamma * (second / q)
        for a in range(m):
            s[(y + a) * W + l] += first if i == a else F(0)
        for b in range(n):
            s[(y + m + b) * W + l] += second if j == b else F(0)
        _centre_few(s, y, one, l)
        _centre_few(s, y + m, two, l)


@_pasted
def _realised_few(s, one, two, y, x, u, table):
    F, W = s.dtype.type, np.int64(LANES)
    m, n = len(one), len(two)
    for l in range(W):
        gamma = s[(u + 2) * W + l]
        i, _ = _sample_few(s, x, u, one, F(0), l)
        j, _ = _sample_few(s, x + m, u + 1, two, F(0), l)
        for a in range(m):
            v = s[(table + a * n) * W + l]
            for b in range(1, n):
                w = s[(table + a * n + b) * W + l]
                v = w if j == b else v
            s[(y + a) * W + l] += gamma * v
        for b in range(n):
            v = s[(table + m * n + b) * W + l]
            for a in range(1, m):
                w = s[(table + (m + a) * n + b) * W + l]
                v = w if i == a else v
            s[(y + m + b) * W + l] += gamma * v
        _centre_few(s, y, one, l)
        _centre_few(s, y + m, two, l)


@_pasted
def _exact_few(s, one, two, y, x, u, table):
    F, W = s.dtype.type, np.int64(LANES)
    m, n = len(one), len(two)
    for l in range(W):
        gamma = s[(u + 2) * W + l]
        for a in range(m):
            v = F(0)
            for b in range(n):
                v += s[(table + a * n + b) * W + l] * s[(x + m + b) * W + l]
            s[(y + a) * W + l] += gamma * v
        for b in range(n):
            v = F(0)
            for a in range(m):
                v += s[(table + (m + a) * n + b) * W + l] * s[(x + a) * W + l]
            s[(y + m + b) * W + l] += gamma * v
        _centre_few(s, y, one, l)
        _centre_few(s, y + m, two, l)


# --- any players: payoffs[game, player, profile], profiles in the order of memory -------------------------------------


@_inner
def _sample(s, x, u, actions, eps, mixed, work):
    """Rows work and work + 1: the action drawn, as a float, and its probability; work + 2 is scratch."""
    F = s.dtype.type
    share, mixture = F(1 / actions), F(1 if mixed else 0)
    chosen, chance, below = work, work + ONE, work + TWO
    for l in range(LANES):
        p = s[x * LANES + l] + mixture * s[eps * LANES + l] * (share - s[x * LANES + l])
        s[chance * LANES + l] = s[below * LANES + l] = p
        s[chosen * LANES + l] = F(0)
    for a in range(ONE, actions):
        for l in range(LANES):
            each = s[(x + a) * LANES + l] + mixture * s[eps * LANES + l] * (share - s[(x + a) * LANES + l])
            past = s[below * LANES + l] <= s[u * LANES + l]
            action, p = s[chosen * LANES + l], s[chance * LANES + l]
            s[chosen * LANES + l] = F(a) if past else action
            s[chance * LANES + l] = each if past else p
            s[below * LANES + l] += each


@_inner
def _play(s, counts, strides, payoffs, lane_game, y, x, u, eta, work, profile, bandit):
    """Scores after actions drawn from x; rows eta and eta + 1 are gamma and eps, work + 3 i what player i draws."""
    F = s.dtype.type
    players, size = uint64(len(counts)), uint64(payoffs.shape[2])
    flat = payoffs.reshape(-1)
    for l in range(LANES):
        profile[l] = uint64(lane_game[l]) * players * size
    row = NONE
    for i in range(players):
        chosen = work + THREE * i
        _sample(s, x + row, u + i, counts[i], eta + ONE, bandit, chosen)
        for l in range(LANES):
            profile[l] += uint64(np.int64(s[chosen * LANES + l])) * strides[i]
        row += counts[i]
    row = NONE
    for i in range(players):
        chosen = work + THREE * i
        weight = chosen + TWO
        if bandit:
            for l in range(LANES):
                s[weight * LANES + l] = flat[profile[l] + i * size]
            for l in range(LANES):
                s[weight * LANES + l] = s[eta * LANES + l] * (s[weight * LANES + l] / s[(chosen + ONE) * LANES + l])
            for a in range(counts[i]):
                for l in range(LANES):
                    gain = s[weight * LANES + l]
                    s[(y + row + a) * LANES + l] += gain if s[chosen * LANES + l] == F(a) else F(0)
        else:
            at = profile[LANES:]
            for l in range(LANES):
                at[l] = profile[l] + i * size - uint64(np.int64(s[chosen * LANES + l])) * strides[i]
            for a in range(counts[i]):
                for l in range(LANES):
                    s[weight * LANES + l] = flat[at[l] + a * strides[i]]
                for l in range(LANES):
                    s[(y + row + a) * LANES + l] += s[eta * LANES + l] * s[weight * LANES + l]
        row += counts[i]


@_inner
def _values_of(s, payoffs, lane_game, shared, i, own, stride, x, others, step, v):
    """One of two players: v[a] = sum_c u(a, c) x[c], four at a time; shared or not, the same sums."""
    F = s.dtype.type
    game = lane_game[0]
    for a in range(own):
        to, at = v + a, a * stride
        for l in range(LANES):
            s[to * LANES + l] = F(0)
        whole = others // FOUR * FOUR
        for c in range(NONE, whole, FOUR):
            k0 = at + c * step
            k1, k2, k3 = k0 + step, k0 + TWO * step, k0 + THREE * step
            r0 = x + c
            r1, r2, r3 = r0 + ONE, r0 + TWO, r0 + THREE
            if shared:
                p0, p1, p2, p3 = payoffs[game, i, k0], payoffs[game, i, k1], payoffs[game, i, k2], payoffs[game, i, k3]
                for l in range(LANES):
                    found = s[to * LANES + l] + p0 * s[r0 * LANES + l] + p1 * s[r1 * LANES + l]
                    s[to * LANES + l] = found + p2 * s[r2 * LANES + l] + p3 * s[r3 * LANES + l]
            else:
                for l in range(LANES):
                    g = lane_game[l]
                    p0, p1, p2, p3 = payoffs[g, i, k0], payoffs[g, i, k1], payoffs[g, i, k2], payoffs[g, i, k3]
                    found = s[to * LANES + l] + p0 * s[r0 * LANES + l] + p1 * s[r1 * LANES + l]
                    s[to * LANES + l] = found + p2 * s[r2 * LANES + l] + p3 * s[r3 * LANES + l]
        for c in range(whole, others):
            k = at + c * step
            if shared:
                p = payoffs[game, i, k]
                for l in range(LANES):
                    s[to * LANES + l] += p * s[(x + c) * LANES + l]
            else:
                for l in range(LANES):
                    s[to * LANES + l] += payoffs[lane_game[l], i, k] * s[(x + c) * LANES + l]


@_inner
def _values(s, counts, payoffs, lane_game, shared, x, v, digits, work):
    """Rows v: payoff vectors, profile by profile; each adds to one action of each player what the others weigh."""
    F = s.dtype.type
    players = uint64(len(counts))
    rows = NONE
    for i in range(players):
        digits[i] = NONE
        rows += counts[i]
    for r in range(rows):
        for l in range(LANES):
            s[(v + r) * LANES + l] = F(0)
    game = lane_game[0]
    for profile in range(uint64(payoffs.shape[2])):
        row = NONE
        for i in range(players):
            for l in range(LANES):
                s[work * LANES + l] = F(1)
            other = NONE
            for j in range(players):
                if j != i:
                    at = x + other + digits[j]
                    for l in range(LANES):
                        s[work * LANES + l] *= s[at * LANES + l]
                other += counts[j]
            to = v + row + digits[i]
            if shared:
                paid = payoffs[game, i, profile]
                for l in range(LANES):
                    s[to * LANES + l] += paid * s[work * LANES + l]
            else:
                for l in range(LANES):
                    s[to * LANES + l] += payoffs[lane_game[l], i, profile] * s[work * LANES + l]
            row += counts[i]
        i = players - ONE
        digits[i] += ONE
        while i > NONE and digits[i] == counts[i]:
            digits[i] = NONE
            i -= ONE
            digits[i] += ONE


# --- what is kept of every step ---------------------------------------------------------------------------------------


@_inner
def _look(s, x, target, rows, work, radius, n, seen, whole):
    """Distance of rows x to rows target: lanes of seen are the distance, its minimum and maximum; of whole, times."""
    F = s.dtype.type
    for l in range(LANES):
        s[work * LANES + l] = F(0)
    for r in range(rows):
        for l in range(LANES):
            s[work * LANES + l] += abs(s[(x + r) * LANES + l] - s[(target + r) * LANES + l])
    for l in range(LANES):
        far = np.float64(s[work * LANES + l]) / 2
        seen[l] = far
        near, most = seen[LANES + l], seen[TWO * LANES + l]
        seen[LANES + l] = far if far < near else near
        seen[TWO * LANES + l] = far if far > most else most
        inside = far <= radius
        entered, left = whole[l], whole[LANES + l]
        whole[l] = n if inside and entered < 0 else entered
        whole[LANES + l] = left if inside or left >= 0 else n


@_inner
def _keep(s, begin, rows, out, first):
    """out[r, first + l] = rows of the scratch, for the lanes there are."""
    live = min(LANES, uint64(out.shape[1]) - first)
    for r in range(rows):
        for l in range(live):
            out[r, first + l] = s[(begin + r) * LANES + l]


# --- the loop ---------------------------------------------------------------------------------------------------------


@cached(njit, nogil=True)
def learn(
    one, two, counts, payoffs, game, keys, gamma, eps, schedule, first_iteration,
    regularizer, q, feedback, scores, policy, times, records, record_scores,
    target, radius, seen, whole, total, scratch,
):  # fmt: skip
    """Steps first_iteration, ... on scores[row, b], in place; without times, target or total where those are empty."""
    s, words, profile, digits, strides, lane_game, lane_schedule, lane_seen, lane_whole, lane_total = scratch
    few, players, rows = len(one) > 0, uint64(len(counts)), uint64(len(one) + len(two))
    if not few:
        for i in range(players):
            rows += counts[i]
    y, x, u = NONE, rows, TWO * rows
    eta = u + (TWO if players <= TWO else (players + THREE) // FOUR * FOUR)
    after = eta + TWO
    v = after  # payoff vectors, or the payoffs of few actions
    work = after + (TWO * uint64(len(one) * len(two)) if few else rows)
    goal = work + THREE + THREE * players
    F = s.dtype.type
    batch, steps = uint64(scores.shape[1]), gamma.shape[1]
    for first in range(NONE, batch, LANES):
        shared, same = True, True
        for l in range(LANES):
            b = min(first + l, batch - ONE)
            words[l], words[LANES + l] = uint64(keys[b, 0]), uint64(keys[b, 1])
            lane_game[l], lane_schedule[l] = game[b], schedule[b]
            shared &= game[b] == lane_game[0]
            same &= schedule[b] == lane_schedule[0]
            for r in range(rows):
                s[(y + r) * LANES + l] = scores[r, b]
            if few:
                for i in range(TWO):
                    for p in range(uint64(payoffs.shape[2])):
                        s[(v + i * uint64(payoffs.shape[2]) + p) * LANES + l] = payoffs[game[b], i, p]
            if target.size:
                for r in range(rows):
                    s[(goal + r) * LANES + l] = target[r, b]
                for r in range(THREE):
                    lane_seen[r * LANES + l] = seen[r, b]
                for r in range(TWO):
                    lane_whole[r * LANES + l] = whole[r, b]
            if total.size:
                for r in range(rows):
                    lane_total[r * LANES + l] = total[r, b]
        row = NONE
        for i in range(players):
            _centre(s, y + row, counts[i], work)
            row += counts[i]
        kept = 0
        for k in range(steps + 1):
            n = first_iteration + k
            if few and regularizer == ENTROPIC:
                _entropic_few(s, 0, len(one) + len(two), one)
                _entropic_few(s, len(one), 2 * len(one) + len(two), two)
            else:
                row = NONE
                for i in range(players):
                    _choose(s, y + row, x + row, counts[i], work, regularizer, q)
                    row += counts[i]
            if target.size and k > 0:
                _look(s, x, goal, rows, work, radius, n, lane_seen, lane_whole)
            while kept < len(times) and times[kept] <= n:
                _keep(s, y if record_scores else x, rows, records[kept], first)
                kept += 1
            if k == steps:
                break
            if total.size:
                for r in range(rows):
                    for l in range(LANES):
                        lane_total[r * LANES + l] += np.float64(s[(x + r) * LANES + l])
            if feedback != EXACT:
                if players <= TWO:
                    _draw_two(s, u, words, uint64(n))
                else:
                    for i in range(NONE, players, FOUR):
                        _draw_four(s, u + i, words, uint64(n), i // FOUR)
            step, mixing = F(gamma[lane_schedule[0], k]), F(eps[lane_schedule[0], k])
            for l in range(LANES):
                s[eta * LANES + l], s[(eta + ONE) * LANES + l] = step, mixing
            if not same:
                for l in range(LANES):
                    s[eta * LANES + l] = F(gamma[lane_schedule[l], k])
                    s[(eta + ONE) * LANES + l] = F(eps[lane_schedule[l], k])
            if few:
                both = len(one) + len(two)
                place = 0, both, 2 * both, 2 * both + 4  # y, x, u and v, known when it is compiled
                if feedback == BANDIT:
                    _bandit_few(s, one, two, *place)
                elif feedback == REALISED:
                    _realised_few(s, one, two, *place)
                else:
                    _exact_few(s, one, two, *place)
                continue
            if feedback == EXACT:
                if players == TWO:
                    own, others = counts[0], counts[1]
                    _values_of(s, payoffs, lane_game, shared, NONE, own, others, x + own, others, ONE, v)
                    _values_of(s, payoffs, lane_game, shared, ONE, others, ONE, x, own, others, v + own)
                else:
                    _values(s, counts, payoffs, lane_game, shared, x, v, digits, work)
                for r in range(rows):
                    for l in range(LANES):
                        s[(y + r) * LANES + l] += s[eta * LANES + l] * s[(v + r) * LANES + l]
            else:
                _play(s, counts, strides, payoffs, lane_game, y, x, u, eta, work, profile, feedback == BANDIT)
            row = NONE
            for i in range(players):
                _centre(s, y + row, counts[i], work)
                row += counts[i]
        _keep(s, y, rows, scores, first)
        _keep(s, x, rows, policy, first)
        for l in range(min(LANES, batch - first)):
            if target.size:
                for r in range(THREE):
                    seen[r, first + l] = lane_seen[r * LANES + l]
                for r in range(TWO):
                    whole[r, first + l] = lane_whole[r * LANES + l]
            if total.size:
                for r in range(rows):
                    total[r, first + l] = lane_total[r * LANES + l]


def scratch(counts, dtype, total):
    """The arrays that `learn` works in: made here, because numpy's functions take long to compile."""
    players, rows, lanes = len(counts), sum(counts), int(LANES)
    most = 2 * counts[0] * counts[1] if players == 2 and max(counts) <= FEW else rows
    s = np.zeros((3 * rows + (players + 3) // 4 * 4 + 2 + most + 3 + 3 * players) * lanes, dtype)
    words, profile, digits = (np.zeros(n, np.uint64) for n in (2 * lanes, 2 * lanes, players))
    strides = np.array([math.prod(counts[i + 1 :]) for i in range(players)], np.uint64)
    game, schedule, whole = (np.zeros(n, np.int64) for n in (lanes, lanes, 2 * lanes))
    return (
        s,
        words,
        profile,
        digits,
        strides,
        game,
        schedule,
        np.zeros(3 * lanes),
        whole,
        np.zeros(total * rows * lanes),
    )


@_inner
def exp(z):
    """exp of an array [n] of numbers of at most 0."""
    out = np.empty_like(z)
    for i in range(len(z)):
        out[i] = _exp(z[i])
    return out


@_inner
def log(z):
    """log of an array [n] of numbers of at least 1."""
    out = np.empty_like(z)
    for i in range(len(z)):
        out[i] = _log(z[i])
    return out


numbers = (exp, log)


@_inner
def spin(words, times):
    """256 32-bit operations on each of words[n], additions and exclusive ors: what vectors do at most."""
    c, d = np.uint32(0x9E3779B9), np.uint32(0x85EBCA6B)
    for _ in range(times):
        for l in range(len(words)):
            v = words[l]
            w, x, y = v ^ c, v ^ d, v + c  # four chains, so that none waits
            for _ in range(32):
                v, w = np.uint32(np.uint32(v + c) ^ d), np.uint32(np.uint32(w + c) ^ d)
                x, y = np.uint32(np.uint32(x + c) ^ d), np.uint32(np.uint32(y + c) ^ d)
            words[l] = v ^ w ^ x ^ y
