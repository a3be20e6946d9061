"""Particle worlds for many worlds and steps in one loop, one thread; gamesim.kernels.particles says what comes
and goes.

Worlds are lanes: 64 of them stand side by side in rows of arrays that stay in the nearest caches, an entity to a row,
so that what is done to all of them is a vector loop. Which pairs of agents are near is asked of 64 worlds at once; only
those that are take an exponential. Contacts are added in the order of pairs, products are not fused with sums, and exp
and log1p are those of the C library: in float64 a step has the bits of numpy's loops.

All of it lives in this one file: numba's cache looks only at the file of the outermost function.
"""

# mypy: ignore-errors
import math

import numpy as np
from numba import njit, uint64

from gamesim.kernels.rows import cached

LANES = np.uint64(64)
NONE, ONE, TWO, THREE, FOUR, EIGHT = (np.uint64(n) for n in (0, 1, 2, 3, 4, 8))
TIME, KEPT, STIFFNESS, MARGIN = 0.1, 0.75, 100.0, 1e-3
FELT = 0.06  # beyond contact: e^-60 of a push is left
INNER, CATCH, FARTHEST = 0.9, 10.0, 10.0
UNPAID, SPREAD, TAG = np.uint64(0), np.uint64(1), np.uint64(2)


def _exact(*given, **options):
    return njit(*given, **{**options, "fastmath": False})


_pasted = njit(forceinline=True, error_model="numpy")

# --- random moves: the numbers of gamesim.randomness.Stream.quick -----------------------------------------------------

MASK, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
M0, M1, W0, W1 = (np.uint64(c) for c in (0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85))


@_pasted
def _throw(words, first, many, iteration, draw, k0, k1):
    """Blocks of four words of seven rounds, a row for each word of a block."""
    for q in range(many):
        c0, c1, c2, c3 = first + q, NONE, iteration, draw
        a, b = k0, k1
        for _ in range(7):
            left, right = M0 * (c0 & MASK), M1 * (c2 & MASK)
            c0, c1, c2, c3 = (right >> HALF) ^ c1 ^ a, right, (left >> HALF) ^ c3 ^ b, left
            a, b = a + W0, b + W1
        words[q], words[many + q] = c0 & MASK, c1 & MASK
        words[TWO * many + q], words[THREE * many + q] = c2 & MASK, c3 & MASK


@_pasted
def _choose(words, many, n, below, digits, moves, first, count, k):
    """moves[b, k, i]: how many of `below` do not exceed the number at place (b, i)."""
    drop, unit = np.uint64(32 - digits), 2.0**-digits
    for l in range(count):
        for i in range(n):
            place = l * n + i
            u = (np.float64(words[(place & THREE) * many + (place >> TWO)] >> drop) + 0.5) * unit
            found = 0
            for a in range(len(below)):
                found += below[a] <= u
            moves[first + l, k, i] = found


# --- physics ----------------------------------------------------------------------------------------------------------


@_pasted
def _pairs(x, y, fx, fy, hits, near, radius, n, c, teams, cut, pushing):
    """Contact forces on agents, added to theirs, and how many agents of other teams each one overlaps."""
    F = x.dtype.type
    nearby = near.view(np.uint64)
    for i in range(n if c else NONE):
        for j in range(i + ONE, c):
            touching = radius[i] + radius[j]
            felt = touching + F(FELT)
            felt *= felt
            for l in range(LANES):
                dx, dy = x[i * LANES + l] - x[j * LANES + l], y[i * LANES + l] - y[j * LANES + l]
                near[l] = dx * dx + dy * dy < felt
            for w in range(LANES // EIGHT):
                if nearby[w] == NONE:
                    continue
                for l in range(w * EIGHT, (w + ONE) * EIGHT):
                    if near[l]:
                        dx, dy = x[i * LANES + l] - x[j * LANES + l], y[i * LANES + l] - y[j * LANES + l]
                        d = math.sqrt(dx * dx + dy * dy)
                        if j < n and teams[i] != teams[j] and d < touching:
                            hits[i * LANES + l] += F(1)
                            hits[j * LANES + l] += F(1)
                        if pushing and d > 0 and not (cut and d > touching):
                            into = (touching - d) / F(MARGIN)
                            push = (max(into, F(0)) + math.log1p(math.exp(-abs(into)))) * F(MARGIN)
                            px, py = F(STIFFNESS) * dx / d * push, F(STIFFNESS) * dy / d * push
                            fx[i * LANES + l] += px
                            fy[i * LANES + l] += py
                            if j < n:
                                fx[j * LANES + l] -= px
                                fy[j * LANES + l] -= py


@_pasted
def _move(x, y, vx, vy, fx, fy, fastest, n, position_first, limited):
    F = x.dtype.type
    step, kept = F(TIME), F(KEPT)
    for i in range(n):
        if position_first:
            for r in range(i * LANES, (i + ONE) * LANES):
                x[r] += vx[r] * step
                y[r] += vy[r] * step
        for r in range(i * LANES, (i + ONE) * LANES):
            vx[r] = vx[r] * kept + fx[r] * step
            vy[r] = vy[r] * kept + fy[r] * step
        if limited:
            most = fastest[i]
            for r in range(i * LANES, (i + ONE) * LANES):
                speed = math.sqrt(vx[r] * vx[r] + vy[r] * vy[r])
                if speed > most:
                    vx[r] = vx[r] / speed * most
                    vy[r] = vy[r] / speed * most
        if not position_first:
            for r in range(i * LANES, (i + ONE) * LANES):
                x[r] += vx[r] * step
                y[r] += vy[r] * step


# --- rewards ----------------------------------------------------------------------------------------------------------


@_pasted
def _cover(x, y, best, worth, n, e, inverse):
    """worth = sum_l g(min_i |x_i - y_l|)."""
    F = x.dtype.type
    for l in range(LANES):
        worth[l] = F(0)
    for j in range(n, e):
        for l in range(LANES):
            best[l] = F(np.inf)
        for i in range(n):
            for l in range(LANES):
                dx, dy = x[i * LANES + l] - x[j * LANES + l], y[i * LANES + l] - y[j * LANES + l]
                square = dx * dx + dy * dy
                best[l] = square if square < best[l] else best[l]
        if inverse:
            for l in range(LANES):
                near = F(1) / math.sqrt(best[l])
                worth[l] += near if near < F(10) else F(10)
        else:
            for l in range(LANES):
                worth[l] -= math.sqrt(best[l])


@_pasted
def _pay_spread(worth, hits, weights, n, rewards, first, count, k):
    for l in range(count):
        every = worth.dtype.type(0)
        for i in range(n):
            every += hits[i * LANES + l]
        shared = weights[0] * worth[l]
        for i in range(n):
            rewards[first + l, k, i] = shared + weights[1] * hits[i * LANES + l] + weights[2] * every + weights[3]


@_pasted
def _beyond(z):
    F = type(z)
    z = abs(z)
    if z < F(INNER):
        return F(0)
    if z < F(1):
        return (z - F(INNER)) * F(10)
    return min(math.exp(F(2) * z - F(2)), F(FARTHEST))


@_pasted
def _pay_tag(x, y, hits, teams, n, rewards, first, count, k):
    F = x.dtype.type
    for l in range(count):
        every = F(0)
        for i in range(n):
            if teams[i]:
                every += hits[i * LANES + l]
        for i in range(n):
            r = i * LANES + l
            if teams[i]:
                rewards[first + l, k, i] = -F(CATCH) * hits[r] - (_beyond(x[r]) + _beyond(y[r]))
            else:
                rewards[first + l, k, i] = F(CATCH) * every


# --- what is shown ----------------------------------------------------------------------------------------------------


@_pasted
def _write_tokens(x, y, vx, vy, n, e, tokens, first, count, k):
    F = x.dtype.type
    for l in range(count):
        for i in range(n):
            r = i * LANES + l
            tokens[first + l, k, i, 0], tokens[first + l, k, i, 1] = x[r], y[r]
            tokens[first + l, k, i, 2], tokens[first + l, k, i, 3] = vx[r], vy[r]
        for i in range(n, e):
            r = i * LANES + l
            tokens[first + l, k, i, 0], tokens[first + l, k, i, 1] = x[r], y[r]
            tokens[first + l, k, i, 2], tokens[first + l, k, i, 3] = F(0), F(0)


@_pasted
def _observe(places, speeds, n, e, silent, position_first, out):
    """out[n * o] of one world, from its places[2 e] and speeds[2 n]."""
    F = places.dtype.type
    at = NONE
    for i in range(n):
        x, y = places[TWO * i], places[TWO * i + ONE]
        p, v = (at, at + TWO) if position_first else (at + TWO, at)
        out[p], out[p + ONE], out[v], out[v + ONE] = x, y, speeds[TWO * i], speeds[TWO * i + ONE]
        at += FOUR
        for j in range(n, e):
            out[at], out[at + ONE] = places[TWO * j] - x, places[TWO * j + ONE] - y
            at += TWO
        for j in range(i):
            out[at], out[at + ONE] = places[TWO * j] - x, places[TWO * j + ONE] - y
            at += TWO
        for j in range(i + ONE, n):
            out[at], out[at + ONE] = places[TWO * j] - x, places[TWO * j + ONE] - y
            at += TWO
        if silent:
            for q in range(at, at + TWO * (n - ONE)):
                out[q] = F(0)
            at += TWO * (n - ONE)


@cached(_exact, nogil=True)
def observe(position, velocity, n, silent, position_first, out):
    """out[b, n * o] from position[b, 2 e] and velocity[b, 2 e]."""
    agents, e = uint64(n), uint64(position.shape[1] // 2)
    for b in range(len(position)):
        _observe(position[b], velocity[b], agents, e, silent, position_first, out[b])


@cached(_exact, nogil=True)
def play(
    position, velocity, radius, strength, fastest, teams, colliding, position_first, limited, cut,
    pays, weights, inverse, moves, forces, keys, iteration, draw, below, digits,
    tokens, rewards, observations, silent, place_first, s, near, words,
):  # fmt: skip
    """Steps from position[b, e, 2] and velocity[b, e, 2], in place, by moves[b, k, i] or forces[b, k, i, 2].

    Moves are drawn where there are thresholds `below`, each of keys having as many worlds. Tokens and observations
    [b, 1 + steps, ...] are left out where these arrays are empty.
    """
    F = s.dtype.type
    n, e, c = uint64(len(strength)), uint64(len(radius)), uint64(colliding)
    steps, each = rewards.shape[1], uint64(len(position) // max(len(keys), 1))
    x, y = s[: e * LANES], s[e * LANES : TWO * e * LANES]
    rest = s[TWO * e * LANES :]
    size = n * LANES
    vx, vy, fx, fy = (
        rest[:size],
        rest[size : TWO * size],
        rest[TWO * size : THREE * size],
        rest[THREE * size : FOUR * size],
    )
    hits = rest[FOUR * size : (FOUR + ONE) * size]
    rest = rest[(FOUR + ONE) * size :]
    worth, best = rest[:LANES], rest[LANES : TWO * LANES]
    places = rest[TWO * LANES : TWO * (LANES + e)]
    speeds = rest[TWO * (LANES + e) : TWO * (LANES + e + n)]
    many, continuous, drawn = size // FOUR, forces.size > 0, below.size > 0
    last = uint64(len(position)) if not drawn else each
    for seed in range(max(len(keys), 1) if drawn else 1):
        k0, k1 = (uint64(keys[seed, 0]), uint64(keys[seed, 1])) if drawn else (NONE, NONE)
        for start in range(NONE, last, LANES):
            first, count = uint64(seed) * each + start, min(LANES, last - start)
            for l in range(LANES):
                b = first + min(l, count - ONE)
                for i in range(e):
                    x[i * LANES + l], y[i * LANES + l] = position[b, i, 0], position[b, i, 1]
                for i in range(n):
                    vx[i * LANES + l], vy[i * LANES + l] = velocity[b, i, 0], velocity[b, i, 1]
            for k in range(steps + 1):
                if k < steps:
                    if drawn:
                        _throw(words, start * n // FOUR, many, uint64(iteration), uint64(draw + k), k0, k1)
                        _choose(words, many, n, below, digits, moves, first, count, k)
                    for i in range(n):
                        hard = strength[i]
                        for l in range(LANES):
                            r, b = i * LANES + l, first + min(l, count - ONE)
                            if continuous:
                                fx[r], fy[r] = hard * forces[b, k, i, 0], hard * forces[b, k, i, 1]
                            else:
                                m = moves[b, k, i]
                                fx[r] = hard if m == 2 else (-hard if m == 1 else F(0))
                                fy[r] = hard if m == 4 else (-hard if m == 3 else F(0))
                for r in range(n * LANES):
                    hits[r] = F(0)
                _pairs(x, y, fx, fy, hits, near, radius, n, c, teams, cut, k < steps)
                if k > 0 and pays == SPREAD:
                    _cover(x, y, best, worth, n, e, inverse)
                    _pay_spread(worth, hits, weights, n, rewards, first, count, k - 1)
                if k > 0 and pays == TAG:
                    _pay_tag(x, y, hits, teams, n, rewards, first, count, k - 1)
                if tokens.size:
                    _write_tokens(x, y, vx, vy, n, e, tokens, first, count, k)
                if observations.size:
                    for l in range(count):
                        for i in range(e):
                            places[TWO * i], places[TWO * i + ONE] = x[i * LANES + l], y[i * LANES + l]
                        for i in range(n):
                            speeds[TWO * i], speeds[TWO * i + ONE] = vx[i * LANES + l], vy[i * LANES + l]
                        _observe(places, speeds, n, e, silent, place_first, observations[first + l, k])
                if k < steps:
                    _move(x, y, vx, vy, fx, fy, fastest, n, position_first, limited)
            for l in range(count):
                for i in range(n):
                    r = i * LANES + l
                    position[first + l, i, 0], position[first + l, i, 1] = x[r], y[r]
                    velocity[first + l, i, 0], velocity[first + l, i, 1] = vx[r], vy[r]
