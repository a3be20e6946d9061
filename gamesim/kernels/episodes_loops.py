"""REINFORCE for many seeds in one loop, one thread; gamesim.kernels.episodes says what comes in and goes out.

Lanes take environment steps side by side, each at its own episode and iteration: one that ends an episode begins the
next at once, and one that has done all its iterations makes room for another, so that none waits. Random numbers of all
are made in one vector loop; the rest of a step is scalar, on what one lane keeps of one state in adjacent memory:

    policy, scores, visits[, before]      each of every action of every player

visits sums 1 / pih_i(a | s) over visits in an episode, before sums (return before the visit) / pih_i(a | s).

All of it lives in this one file: numba's cache looks only at the file of the outermost function.
"""

# mypy: ignore-errors
import numpy as np
from llvmlite import ir
from numba import int64, njit, types, uint64
from numba.extending import intrinsic

from gamesim.kernels.rows import OPTIONS, cached

NONE, ONE, TWO, THREE, FOUR = (np.uint64(n) for n in range(5))  # signed and unsigned make a float
BITS = np.uint64(6)
"""States are marked in words of 2^6 bits."""
LANES = 64
FEW = np.uint64(8)
"""Successors up to which a row is read to its end, without a branch."""

W = LANES
SMALL = 3
"""States of two players with two actions each, at most, that have loops of their own, compiled for each number."""
BOTH = 4
"""Their actions together."""
EPS, GAMMA, NUMBER, TOTAL, PAID, CLOCK, DRAW, EPISODE, STATE, SEEN, KEY, PLACE = 0, 1, 2, 3, 5, 7, 8, 9, 10, 11, 12, 14
STEPS, OVER, WHOLE, LEFT, GAME, SCHEDULE, LANE, APART, OFF, FARTHEST, WRONG, NEXT, BEGIN = range(15, 28)
"""Rows of a lane's numbers, after those of its policies; at BEGIN sums of the laws and the target."""
NEVER = np.uint64(2**63)

_inner = njit(**OPTIONS)
_pasted = njit(forceinline=True, **OPTIONS)


@intrinsic
def _lowest(context, word):
    """The place of the lowest bit of a word that is not 0."""

    def generate(_, builder, signature, given):
        return builder.cttz(given[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@intrinsic
def _bits(context, x):
    """A float's bits as a whole number."""
    return types.uint64(types.float64), lambda _, builder, signature, given: builder.bitcast(given[0], ir.IntType(64))


@intrinsic
def _real(context, n):
    """The float of these bits: rows hold whole numbers so, because vector loops want a single array."""
    return types.float64(types.uint64), lambda _, builder, signature, given: builder.bitcast(given[0], ir.DoubleType())


# --- randomness -------------------------------------------------------------------------------------------------------

MASK, HALF, TINY = np.uint64(0xFFFFFFFF), np.uint64(32), 2.0**-32
M0, M1, W0, W1 = (np.uint64(c) for c in (0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85))


@_pasted
def _words(block, t, draw, k0, k1):
    """Four words of seven rounds; their high halves are garbage."""
    c0, c1, c2, c3 = block, NONE, t, draw
    for _ in range(7):
        left, right = M0 * (c0 & MASK), M1 * (c2 & MASK)
        c0, c1, c2, c3 = (right >> HALF) ^ c1 ^ k0, right, (left >> HALF) ^ c3 ^ k1, left
        k0, k1 = k0 + W0, k1 + W1
    return c0, c1, c2, c3


@_pasted
def _unit(word):
    return (np.float64(np.int64(word & MASK)) + 0.5) * TINY


@_inner
def _draw(u, lanes, blocks, first, t, draw, k0, k1):
    """u[4 j + i, l]: number i of block first[l] + j of a lane's draw."""
    for j in range(blocks):
        for l in range(lanes):
            c0, c1, c2, c3 = _words(first[l] + j, t[l], draw[l], k0[l], k1[l])
            u[4 * j, l], u[4 * j + 1, l] = _unit(c0), _unit(c1)
            u[4 * j + 2, l], u[4 * j + 3, l] = _unit(c2), _unit(c3)


@_pasted
def _count(below, at, many, u):
    """How many of below[at], below[at + 1], ... are at most u; they increase."""
    if many <= FEW:
        found = NONE
        for k in range(many):
            found += uint64(below[at + k] <= u)
        return found
    low, size = NONE, many
    while size > NONE:
        half = size >> ONE
        past = below[at + low + half] <= u
        low = low + half + ONE if past else low
        size = size - half - ONE if past else half
    return low


# --- a row ------------------------------------------------------------------------------------------------------------


@_pasted
def _project(s, y, x, actions):
    """s[x], ... = max(0, s[y] - tau), tau from below: it grows until what is above it sums to one."""
    if actions == TWO:
        first = (1.0 + s[y] - s[y + ONE]) / 2
        first = 0.0 if first < 0.0 else first
        first = 1.0 if first > 1.0 else first
        s[x], s[x + ONE] = first, 1.0 - first
        return
    top = s[y]
    for a in range(ONE, actions):
        v = s[y + a]
        top = v if v > top else top
    total, kept = 0.0, 0.0
    for a in range(actions):
        v = s[y + a] - top
        v = -1.0 if v < -1.0 else v
        s[x + a] = v
        total += v
        kept += 1.0
    tau = (total - 1.0) / kept
    for _ in range(actions):
        total, now = 0.0, 0.0
        for a in range(actions):
            above = s[x + a] > tau
            total += s[x + a] if above else 0.0
            now += 1.0 if above else 0.0
        if not now < kept:
            break
        kept = now
        tau = (total - 1.0) / kept
    for a in range(actions):
        v = s[x + a] - tau
        s[x + a] = 0.0 if v <= 0.0 else v


@_inner
def _look(s, at, b, now, states, rows, width, watching):
    """How far lane b, which begins at s[at], is from the target after `now` iterations: at times on record, too."""
    target, times, kept, records, wrong, farthest, squared = watching
    apart, square, off, goal = 0.0, 0.0, False, b if len(target) > 1 else NONE
    for state in range(states):
        for r in range(rows):
            d = s[at + state * width + r] - target[goal, state * rows + r]
            off |= d != 0.0
            apart += abs(d)
            square += d * d
    wrong[b] = int64(now) if off else wrong[b]
    farthest[b] = apart / 2 if apart / 2 > farthest[b] else farthest[b]
    squared[b] = square
    if kept[b] < len(times) and uint64(times[kept[b]]) == now:
        records[kept[b], b] = square
        kept[b] += 1


# --- the loop ---------------------------------------------------------------------------------------------------------


# --- two players of two actions in a few states -----------------------------------------------------------------------


@_pasted
def _whole(s, row, l):
    """What a row holds as whole numbers."""
    return _bits(s[row * W + l])


@_pasted
def _play_few(s, nodes, before, z, l):
    """The actions of a lane, and what they add to its visits; where it plays, and the number that moves it on."""
    states = len(nodes)
    visits, past = 2 * states * BOTH, 3 * states * BOTH
    c0, c1, c2, c3 = _words(
        _whole(s, z + EPISODE, l), _whole(s, z + CLOCK, l), _whole(s, z + DRAW, l), _whole(s, z + KEY, l),
        _whole(s, z + KEY + 1, l),
    )  # fmt: skip
    mixing, fresh = s[(z + EPS) * W + l], _whole(s, z + DRAW, l) == NONE
    state, number = NONE, _unit(c3)
    for k in range(states - 1):
        state += ONE if s[(z + BEGIN + k) * W + l] <= number else NONE
    state = state if fresh else _whole(s, z + STATE, l)
    s[(z + STATE) * W + l] = _real(state)
    s[(z + SEEN) * W + l] = _real(_whole(s, z + SEEN, l) | (ONE << state))
    first, second = s[(z + TOTAL) * W + l], s[(z + TOTAL + 1) * W + l]
    first, second = 0.0 if fresh else first, 0.0 if fresh else second
    s[(z + TOTAL) * W + l], s[(z + TOTAL + 1) * W + l] = first, second
    s[(z + NUMBER) * W + l] = _unit(c2)
    i, p = _sample_few(s, 0, nodes, state, _unit(c0), mixing, l)
    j, q = _sample_few(s, 2, nodes, state, _unit(c1), mixing, l)
    p, q = 1.0 / p, 1.0 / q
    for k in range(states):
        here, row = state == uint64(k), k * BOTH
        to_0, to_1 = p if here & (i == NONE) else 0.0, p if here & (i == ONE) else 0.0
        to_2, to_3 = q if here & (j == NONE) else 0.0, q if here & (j == ONE) else 0.0
        s[(visits + row) * W + l] += to_0
        s[(visits + row + 1) * W + l] += to_1
        s[(visits + row + 2) * W + l] += to_2
        s[(visits + row + 3) * W + l] += to_3
        if len(before):
            s[(past + row) * W + l] += to_0 * first
            s[(past + row + 1) * W + l] += to_1 * first
            s[(past + row + 2) * W + l] += to_2 * second
            s[(past + row + 3) * W + l] += to_3 * second
    s[(z + PLACE) * W + l] = _real((_whole(s, z + GAME, l) + state) * FOUR + i * TWO + j)


@_pasted
def _sample_few(s, x, nodes, state, number, mixing, l):
    """The action drawn from (1 - mixing) pi + mixing / 2 in this state, and its probability."""
    p, q = s[x * W + l], s[(x + 1) * W + l]
    for k in range(1, len(nodes)):
        other, another = s[(x + k * BOTH) * W + l], s[(x + k * BOTH + 1) * W + l]
        p, q = other if state == uint64(k) else p, another if state == uint64(k) else q
    p, q = p + mixing * (0.5 - p), q + mixing * (0.5 - q)
    beyond = p <= number
    return ONE if beyond else NONE, q if beyond else p


@_pasted
def _move_few(s, states, z, episodes, share, l):
    """The next state of a lane; where its episode ends, whether the iteration does, and gamma times the returns."""
    first = s[(z + TOTAL) * W + l] + s[(z + PAID) * W + l]
    second = s[(z + TOTAL + 1) * W + l] + s[(z + PAID + 1) * W + l]
    s[(z + TOTAL) * W + l], s[(z + TOTAL + 1) * W + l] = first, second
    number, after = s[(z + NUMBER) * W + l], NONE
    for k in range(states):
        after += ONE if s[(z + BEGIN + states + k) * W + l] <= number else NONE
    over = after == uint64(states)
    episode = _whole(s, z + EPISODE, l) + (ONE if over else NONE)
    whole = over & (episode == episodes)
    seen, ended, gone = _whole(s, z + SEEN, l), ONE if over else NONE, ONE if whole else NONE
    s[(z + STATE) * W + l] = _real(after)
    s[(z + DRAW) * W + l] = _real(NONE if over else _whole(s, z + DRAW, l) + ONE)
    s[(z + EPISODE) * W + l] = _real(NONE if whole else episode)
    s[(z + CLOCK) * W + l] = _real(_whole(s, z + CLOCK, l) + gone)
    s[(z + STEPS) * W + l] = _real(_whole(s, z + STEPS, l) + ONE)
    s[(z + OVER) * W + l], s[(z + WHOLE) * W + l] = _real(ended), _real(gone)
    s[(z + SEEN) * W + l] = _real(NONE if whole else seen)
    s[(z + LEFT) * W + l] = _real(seen if whole else NONE)
    s[(z + GAMMA) * W + l] *= share


@_pasted
def _learn_few(s, x, size, before, z, k, lazy, l):
    """The rows of state k, which begin at x, where a lane's episode ends; projected where its iteration does."""
    over, scale = _whole(s, z + OVER, l) == ONE, s[(z + GAMMA) * W + l]
    on = ((_whole(s, z + LEFT, l) >> k) & ONE) == ONE
    back = on & (not lazy)
    for i in range(2):  # a row is read before it is written: what was written with a mask cannot be read at once
        total, row = s[(z + TOTAL + i) * W + l], x + 2 * i
        p, q = s[row * W + l], s[(row + 1) * W + l]
        a, b = s[(row + size) * W + l], s[(row + size + 1) * W + l]
        visited, others = s[(row + 2 * size) * W + l], s[(row + 2 * size + 1) * W + l]
        up, down = total * visited, total * others
        if len(before):
            missed, lost = s[(row + 3 * size) * W + l], s[(row + 3 * size + 1) * W + l]
            up, down = up - missed, down - lost
            s[(row + 3 * size) * W + l], s[(row + 3 * size + 1) * W + l] = (
                0.0 if over else missed,
                0.0 if over else lost,
            )
        s[(row + 2 * size) * W + l], s[(row + 2 * size + 1) * W + l] = 0.0 if over else visited, 0.0 if over else others
        up, down = a + scale * up, b + scale * down
        a, b = up if over else a, down if over else b
        first = (1.0 + a - b) * 0.5
        first = 0.0 if first < 0.0 else first
        first = 1.0 if first > 1.0 else first
        second = 1.0 - first
        s[row * W + l], s[(row + 1) * W + l] = first if on else p, second if on else q
        s[(row + size) * W + l], s[(row + size + 1) * W + l] = first if back else a, second if back else b


@_pasted
def _look_few(s, size, goal, z):
    """Total variation from the target where an iteration has ended, and whether a lane is due on record."""
    for l in range(W):
        s[(z + APART) * W + l], s[(z + OFF) * W + l] = 0.0, _real(NONE)
    for r in range(size):
        for l in range(W):
            d = s[r * W + l] - s[(goal + r) * W + l]
            s[(z + APART) * W + l] += abs(d)
            s[(z + OFF) * W + l] = _real(_whole(s, z + OFF, l) | (ONE if d != 0.0 else NONE))
    due = NONE
    for l in range(W):
        whole, clock = _whole(s, z + WHOLE, l) == ONE, _whole(s, z + CLOCK, l)
        off, before = _whole(s, z + OFF, l) == ONE, _whole(s, z + WRONG, l)
        far, most = s[(z + APART) * W + l] / 2, s[(z + FARTHEST) * W + l]
        s[(z + FARTHEST) * W + l] = far if whole & (far > most) else most
        s[(z + WRONG) * W + l] = _real(clock if whole & off else before)
        due += ONE if whole & (clock == _whole(s, z + NEXT, l)) else NONE
    return due


@_inner
def _record_few(s, l, b, size, goal, z, now, watching):
    """The squared distance of a lane, on record where it is due."""
    _, times, kept, records, _, _, squared = watching
    square = 0.0
    for r in range(size):
        d = s[r * W + l] - s[(goal + r) * W + l]
        square += d * d
    squared[b] = square
    if kept[b] < len(times) and uint64(times[kept[b]]) == now:
        records[kept[b], b] = square
        kept[b] += 1
    s[(z + NEXT) * W + l] = _real(uint64(times[kept[b]]) if kept[b] < len(times) else NEVER)


@_inner
def _leave_few(s, l, b, states, parts, size, goal, z, out, steps, watching):
    """What a lane has come to, out of the rows."""
    for k in range(states):
        for c in range(parts * BOTH):
            out[b, k, c] = s[((c // BOTH) * size + k * BOTH + c % BOTH) * W + l]
    steps[b] = int64(_whole(s, z + STEPS, l))
    if watching[0].size:
        _record_few(s, l, b, size, goal, z, _whole(s, z + CLOCK, l), watching)
        watching[4][b], watching[5][b] = int64(_whole(s, z + WRONG, l)), s[(z + FARTHEST) * W + l]


@_inner
def _enter_few(s, l, b, states, parts, size, goal, z, out, first, watching):
    """A lane, into the rows."""
    for k in range(states):
        for c in range(parts * BOTH):
            s[((c // BOTH) * size + k * BOTH + c % BOTH) * W + l] = out[b, k, c]
    if watching[0].size:
        apart, off, own = 0.0, False, b if len(watching[0]) > 1 else NONE
        for r in range(size):
            d = s[r * W + l] - watching[0][own, r]
            apart += abs(d)
            off |= d != 0.0
            s[(goal + r) * W + l] = watching[0][own, r]
        s[(z + FARTHEST) * W + l], s[(z + WRONG) * W + l] = apart / 2, _real(first if off else uint64(watching[4][b]))
        _record_few(s, l, b, size, goal, z, first, watching)


@cached(njit, nogil=True)
def learn_few(
    nodes, before, reward, below, begin, game, keys, table, schedule, first, episodes, lazy, out, steps, watching, s,
):  # fmt: skip
    """What `learn` does, on out[lane, state, row]; table[schedule, t, 2] is of gamma and eps."""
    states, parts = len(nodes), 3 + len(before)
    size = states * BOTH
    z = parts * size
    goal = z + BEGIN + 2 * states
    batch, horizon = uint64(len(game)), uint64(table.shape[1])
    paid, bound, sizes = reward.reshape(-1), below.reshape(-1), table.reshape(-1)
    share, end, many, watched = 1.0 / np.float64(episodes), first + horizon, uint64(episodes), watching[0].size > 0
    waiting, done = NONE, ONE
    for l in range(W):
        s[(z + LANE) * W + l] = _real(batch)
    while True:
        if done > NONE:  # the first turn, and where lanes have come to their end
            playing = NONE
            for l in range(W):
                b = _whole(s, z + LANE, l)
                if b == batch or _whole(s, z + CLOCK, l) == end:
                    if b < batch:
                        _leave_few(s, l, b, states, parts, size, goal, z, out, steps, watching)
                    b = waiting
                    waiting += uint64(b < batch)
                    for c in range(BEGIN):
                        s[(z + c) * W + l] = _real(NONE)
                    s[(z + LANE) * W + l], s[(z + CLOCK) * W + l] = _real(b), _real(first)
                    s[(z + NEXT) * W + l], s[(z + SCHEDULE) * W + l] = _real(NEVER), _real(NONE - first)
                    if b < batch:
                        _enter_few(s, l, b, states, parts, size, goal, z, out, first, watching)
                        for k in range(states - 1):
                            s[(z + BEGIN + k) * W + l] = begin[game[b], k]
                        for c in range(2):
                            s[(z + KEY + c) * W + l] = _real(uint64(keys[b, c]))
                        s[(z + GAME) * W + l] = _real(uint64(game[b]) * uint64(states))
                        s[(z + SCHEDULE) * W + l] = _real(uint64(schedule[b]) * horizon - first)
                playing += uint64(b < batch)
            if playing == NONE:
                return
        for l in range(W):
            at = (_whole(s, z + SCHEDULE, l) + _whole(s, z + CLOCK, l)) * TWO
            s[(z + GAMMA) * W + l], s[(z + EPS) * W + l] = sizes[at], sizes[at + ONE]
        for l in range(W):
            _play_few(s, nodes, before, z, l)
        for l in range(W):
            place = _whole(s, z + PLACE, l)
            s[(z + PAID) * W + l], s[(z + PAID + 1) * W + l] = paid[place * TWO], paid[place * TWO + ONE]
            for k in range(states):
                s[(z + BEGIN + states + k) * W + l] = bound[place * uint64(states) + uint64(k)]
        for l in range(W):
            _move_few(s, states, z, many, share, l)
        for k in range(states):
            for l in range(W):
                _learn_few(s, k * BOTH, size, before, z, uint64(k), lazy, l)
        if watched and _look_few(s, size, goal, z) > NONE:
            for l in range(W):
                clock, b = _whole(s, z + CLOCK, l), _whole(s, z + LANE, l)
                if clock == _whole(s, z + NEXT, l) and _whole(s, z + WHOLE, l) == ONE and b < batch:
                    _record_few(s, l, b, size, goal, z, clock, watching)
        done = NONE
        for l in range(W):
            done += ONE if _whole(s, z + CLOCK, l) == end else NONE


# --- any game ---------------------------------------------------------------------------------------------------------


@cached(njit, nogil=True)
def learn(
    counts, reward, below, after, begin, game, keys, gamma, eps, schedule, first, episodes, lazy, to_go, s, steps,
    watching, scratch,
):  # fmt: skip
    """Iterations first, first + 1, ... on s[lane * states * width], in place; without a target where that is empty."""
    u, lane, block, clock, draw, k0, k1, episode, state, total, seen, touched, live, fresh, ended = scratch
    n, batch, horizon = uint64(len(counts)), uint64(len(game)), uint64(gamma.shape[1])
    states, joints, many = uint64(below.shape[1]), uint64(below.shape[2]), uint64(below.shape[3])
    rows = NONE
    for i in range(n):
        rows += counts[i]
    width = rows * (FOUR if to_go else THREE)
    size, words = states * width, (states + uint64(63)) >> BITS
    slots, blocks = uint64(len(lane)), uint64(len(u)) // FOUR
    paid, bound, goes, starts = reward.reshape(-1), below.reshape(-1), after.reshape(-1), begin.reshape(-1)
    watched = watching[0].size > 0
    share = 1.0 / np.float64(episodes)
    waiting = NONE  # the first lane without a slot
    playing, news, over = NONE, NONE, NONE  # how many of live, fresh and ended there are
    for l in range(slots):
        lane[l] = batch
        ended[over] = l
        over += ONE
    while True:
        news = NONE
        changed = False
        for p in range(over):  # from the second turn on: slots whose episode has just ended
            l = ended[p]
            b = lane[l]
            if b < batch:
                time = clock[l] - first
                scale = gamma[schedule[b], time] * share
                whole = episode[l] + ONE == uint64(episodes)
                for w in range(words):
                    here = seen[l * words + w]
                    seen[l * words + w] = NONE
                    some = here | touched[l * words + w]
                    touched[l * words + w] = NONE if whole else some
                    while here > NONE:
                        row = b * size + ((w << BITS) + _lowest(here)) * width + rows
                        here &= here - ONE
                        for i in range(n):
                            earned = total[l * n + i]
                            for _ in range(counts[i]):
                                weight = earned * s[row + rows]
                                s[row + rows] = 0.0
                                if to_go:
                                    weight -= s[row + TWO * rows]
                                    s[row + TWO * rows] = 0.0
                                s[row] += scale * weight
                                row += ONE
                    while whole and some > NONE:
                        row = b * size + ((w << BITS) + _lowest(some)) * width
                        some &= some - ONE
                        for i in range(n):
                            _project(s, row + rows, row, counts[i])
                            for a in range(counts[i]):
                                s[row + rows + a] = s[row + rows + a] if lazy else s[row + a]
                            row += counts[i]
                episode[l] += ONE
                if whole:
                    episode[l] = NONE
                    clock[l] += ONE
                    if watched:
                        _look(s, b * size, b, clock[l], states, rows, width, watching)
            if b == batch or clock[l] - first == horizon:
                b = waiting
                waiting += uint64(waiting < batch)
                changed |= b != lane[l]
                lane[l] = b
                if b < batch:
                    clock[l], episode[l] = first, NONE
                    k0[l], k1[l] = uint64(keys[b, 0]), uint64(keys[b, 1])
                    if watched:
                        _look(s, b * size, b, first, states, rows, width, watching)
            if b < batch:
                draw[l] = NONE
                block[l] = (episode[l] * (n + TWO)) >> TWO
                fresh[news] = l
                news += ONE
        if changed:
            playing = NONE
            for l in range(slots):
                if lane[l] < batch:
                    live[playing] = l
                    playing += ONE
        if playing == NONE:
            return
        _draw(u, slots, blocks, block, clock, draw, k0, k1)
        for p in range(news):
            l = fresh[p]
            at = ((episode[l] * (n + TWO)) & THREE) + n + ONE
            state[l] = _count(starts, uint64(game[lane[l]]) * (states - ONE), states - ONE, u[at, l])
            for i in range(n):
                total[l * n + i] = 0.0
        over = NONE
        for p in range(playing):
            l = live[p]
            b = lane[l]
            now, at = state[l], (episode[l] * (n + TWO)) & THREE
            mixing = eps[schedule[b], clock[l] - first]
            seen[l * words + (now >> BITS)] |= ONE << (now & uint64(63))
            row, joint = b * size + now * width, NONE
            for i in range(n):
                number, even = u[at + i, l], 1.0 / np.float64(counts[i])
                chosen, chance = NONE, s[row] + mixing * (even - s[row])
                past = chance
                for a in range(ONE, counts[i]):
                    each = s[row + a] + mixing * (even - s[row + a])
                    beyond = past <= number
                    chosen = a if beyond else chosen
                    chance = each if beyond else chance
                    past += each
                inverse = 1.0 / chance
                s[row + TWO * rows + chosen] += inverse
                if to_go:
                    s[row + THREE * rows + chosen] += total[l * n + i] * inverse
                joint = joint * counts[i] + chosen
                row += counts[i]
            place = (uint64(game[b]) * states + now) * joints + joint
            for i in range(n):
                total[l * n + i] += paid[place * n + i]
            k = _count(bound, place * many, many, u[at + n, l])
            then = uint64(goes[place * (many + ONE) + k])
            state[l] = then
            draw[l] += ONE
            steps[b] += 1
            ended[over] = l
            over += uint64(then == states)


def scratch(players, states, episodes, batch):
    """The arrays that `learn` works in: made here, because numpy's functions take long to compile."""
    words, slots = (states + 63) // 64, min(LANES, batch)
    blocks = max((e * (players + 2) % 4 + players + 5) // 4 for e in range(min(4, episodes)))
    one = (np.zeros(slots, np.uint64) for _ in range(11))
    lane, block, clock, draw, k0, k1, episode, state, live, fresh, ended = one
    seen, touched = (np.zeros(slots * words, np.uint64) for _ in range(2))
    u, total = np.zeros((4 * blocks, slots)), np.zeros(slots * players)
    return u, lane, block, clock, draw, k0, k1, episode, state, total, seen, touched, live, fresh, ended


def serves_few(counts, states):
    """Whether there are loops of their own for these."""
    return tuple(counts) == (2, 2) and states <= SMALL


def scratch_few(states, parts):
    """The array that `learn_few` works in."""
    return np.zeros(((parts + 1) * states * BOTH + BEGIN + 2 * states) * LANES)
