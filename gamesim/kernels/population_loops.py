"""The game of finitely many agents in loops; gamesim.populations.finite has it in torch, and says what it is.

Episodes are lanes: 64 of them (8 where there are few) stand side by side in the inner loops. The state of an agent in
64 episodes is a row of 64 bytes for each state but the first, 1 where the agent is in it, so that counting neighbours
is adding rows, eight bytes to a word. Who has few episodes at a time takes several agents at a time instead, so that
the row functions of the game always see about 64 columns.
"""

# mypy: ignore-errors
import numpy as np
from numba import boolean, float64, int32, int64, njit, types, uint8, uint64, void

from gamesim.kernels.philox_loops import MASK, bits
from gamesim.kernels.row_calls import call_expect, call_push, call_reward
from gamesim.kernels.rows import OPTIONS, cached

LANES = 64
PLANES = 16  # states beyond the first: with more of them, one look at each neighbour is cheaper than so many rows
ONE = 1 + 1e-9  # an aggregate of exactly 1 may be rounded up

F1, F2, F3, F4, F5 = (types.Array(float64, d, "C") for d in range(1, 6))
I1, I2, I3, I4 = (types.Array(int64, d, "C") for d in range(1, 5))
S1, S4 = (types.Array(int32, d, "C") for d in (1, 4))

_inner = njit(**OPTIONS)


@njit(inline="always", **OPTIONS)
def _uniform(place, iteration, draw, k0, k1):
    """The number of Stream.uniform at a place."""
    word = bits(place & uint64(MASK), place >> uint64(32), iteration, draw, k0, k1)
    return (float64(word) + 0.5) * 2.0**-52


@_inner
def _draws(first, stride, live, m, iteration, draw, k0, k1, u):
    """u[l] for lanes l = (agent a, episode e): the numbers at the places first + e stride + a."""
    for a in range(m):
        row = u[a * live : (a + 1) * live]
        for e in range(live):
            row[e] = _uniform(uint64(first + e * stride + a), uint64(iteration), uint64(draw), k0, k1)


@_inner
def _add_rows(columns, start, stop, plane, words, sums):
    """sums[w] = the rows plane[j] of at most 255 neighbours j added up, every byte for itself."""
    if words == 1:
        c0 = uint64(0)
        for i in range(start, stop):
            c0 += plane[columns[i], 0]
        sums[0] = c0
        return
    c0 = c1 = c2 = c3 = c4 = c5 = c6 = c7 = uint64(0)
    for i in range(start, stop):
        row = plane[columns[i]]
        c0 += row[0]
        c1 += row[1]
        c2 += row[2]
        c3 += row[3]
        c4 += row[4]
        c5 += row[5]
        c6 += row[6]
        c7 += row[7]
    sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6], sums[7] = c0, c1, c2, c3, c4, c5, c6, c7


@_inner
def _count(columns, start, stop, planes, state, live, words, sums, z):
    """z[s, e] = how many of the neighbours columns[start:stop] are in s in episode e."""
    states = len(z)
    if len(planes) == 0:
        z[:] = 0.0
        for i in range(start, stop):
            row = state[columns[i]]
            for e in range(live):
                z[row[e], e] += 1.0
        return
    parts = sums.view(np.uint8)
    for e in range(live):
        z[0, e] = stop - start
    for s in range(1, states):
        for e in range(live):
            z[s, e] = 0.0
        for i in range(start, stop, 255):
            _add_rows(columns, i, min(i + 255, stop), planes[s - 1], words, sums)
            for e in range(live):
                z[s, e] += float64(parts[e])
        for e in range(live):
            z[0, e] -= z[s, e]


@_inner
def _weigh(columns, weights, start, stop, state, live, z):
    """The same with weights: their sums. Returns the weight of all neighbours."""
    z[:] = 0.0
    degree = 0.0
    for i in range(start, stop):
        row = state[columns[i]]
        degree += weights[i]
        for e in range(live):
            z[row[e], e] += weights[i]
    return degree


@_inner
def _bound(z, live, scale, degree, normalize, clip, probability):
    """What the game makes of the sums z[s, e]. Returns in how many episodes an entry was above 1, and cut to it."""
    states, above = len(z), 0
    mass = degree * scale
    for s in range(states):
        for e in range(live):
            z[s, e] *= scale
        if normalize:
            for e in range(live):
                z[s, e] = z[s, e] / mass if mass > 0.0 else 0.0
    if clip:
        for s in range(states):
            for e in range(live):
                z[s, e] = 1.0 if z[s, e] > 1.0 else z[s, e]
    elif probability and mass > 1.0:  # else no entry can be above 1
        for e in range(live):
            cut = 0
            for s in range(states):
                if z[s, e] > ONE:
                    cut = 1
                z[s, e] = 1.0 if z[s, e] > 1.0 else z[s, e]
            above += cut
    return above


@_inner
def _set_planes(state, planes, words, live):
    """Bytes of 1 where an agent is in a state, from state[n, e]."""
    for s in range(len(planes)):
        for i in range(len(state)):
            row = planes[s, i].view(np.uint8)
            for e in range(live):
                row[e] = uint8(1) if state[i, e] == s + 1 else uint8(0)


ARGUMENTS = (
    *(int64, int64, int64, F1, F1),  # reward, expect, push, parameters, dynamics
    *(I2, S1, F1, float64, boolean, boolean, boolean),  # starts, columns, weights, scale, normalize, clip, probability
    *(I2, I2, I2, I2, I2),  # worlds, keys, network, where, watch
    *(F2, F5, F4, F4, F3, F4),  # initial, policy, bonus, deviation, deviation's bonus, value
    *(int64, int64),  # iteration, first episode
    *(F3, I3, I4, F5, I4, S4, S4, F4, I1, F1),  # returns, population, flow, felt, stood, states, actions, rewards, ...
)


@cached(njit, void(*ARGUMENTS), nogil=True)
def simulate(
    reward, expect, push, parameters, dynamics,
    starts, columns, weights, scale, normalize, clip, probability,
    worlds, keys, network, where, watch,
    initial, policy, bonus, deviation, deviation_bonus, value,
    iteration, first,
    returns, population, flow, felt, stood, states_out, actions_out, rewards_out, above, lowest,
):  # fmt: skip
    """returns[w, e, n] of episodes first, first + 1, ..., and what else has room: see gamesim.kernels.population."""
    count, episodes, n = returns.shape
    horizon, states, actions = policy.shape[1], policy.shape[3], policy.shape[4] + 1
    words = 8 if episodes >= 24 else 1
    width = 8 * words
    few = states - 1 <= PLANES and len(weights) == 0
    planes = np.zeros((states - 1 if few else 0, n, words), np.uint64)
    state, after = np.zeros((n, width), np.int32), np.zeros((n, width), np.int32)
    sums = np.zeros(8, np.uint64)
    numbers = np.empty((3, LANES))
    chosen, landed = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    z_memory, mass_memory, out_memory = np.empty(states * LANES), np.zeros(states * LANES), np.empty(states * LANES)
    one_memory, v_memory = np.empty(states * width), np.empty(states * LANES)
    pi_memory = np.zeros(states * actions * LANES)
    r_memory, q_memory = np.empty(states * actions * LANES), np.empty(states * actions * LANES)
    for w in range(count):
        g, p, deviator, which = worlds[w]
        k0, k1 = uint64(keys[w, 0]), uint64(keys[w, 1])
        stage = g if len(value) > 1 else 0
        for begin in range(0, episodes, width):
            live = min(width, episodes - begin)
            group = max(1, LANES // live)
            for i0 in range(0, n, group):
                m = min(group, n - i0)
                u = numbers[0]
                _draws((first + begin) * n + i0, n, live, m, iteration, 0, k0, k1, u)
                for a in range(m):
                    law = initial[where[g, i0 + a] if len(initial) > 1 else 0]
                    for e in range(live):
                        s = 0
                        for t in range(states - 1):
                            s += law[t] < u[a * live + e]
                        state[i0 + a, e] = s
                        returns[w, begin + e, i0 + a] = 0.0
            for h in range(horizon):
                if few:
                    _set_planes(state, planes, words, live)
                net = network[w, h]
                seen = 0
                for i0 in range(0, n, group):
                    m = min(group, n - i0)
                    lanes = m * live
                    z = z_memory[: states * lanes].reshape(states, lanes)
                    mass = mass_memory[: states * lanes].reshape(states, lanes)
                    out = out_memory[: states * lanes].reshape(states, lanes)
                    pi = pi_memory[: states * actions * lanes].reshape(states, actions, lanes)
                    r = r_memory[: states * actions * lanes].reshape(states, actions, lanes)
                    q = q_memory[: states * actions * lanes].reshape(states, actions, lanes)
                    own = one_memory[: states * live].reshape(states, live)
                    u, v, total = numbers[0], numbers[1], numbers[2]
                    place = (first + begin) * n + i0
                    _draws(place, n, live, m, iteration, 1 + 2 * h, k0, k1, u)
                    _draws(place, n, live, m, iteration, 2 + 2 * h, k0, k1, v)
                    for a in range(m):
                        i = i0 + a
                        start, stop = starts[net, i], starts[net, i + 1]
                        degree = float64(stop - start)
                        if len(weights) > 0:
                            degree = _weigh(columns, weights, start, stop, state, live, own)
                        else:
                            _count(columns, start, stop, planes, state, live, words, sums, own)
                        above[w] += _bound(own, live, scale, degree, normalize, clip, probability)
                        for s in range(states):
                            for e in range(live):
                                z[s, a * live + e] = own[s, e]
                        here = where[g, i]
                        for e in range(live):
                            s, c = state[i, e], 0
                            for o in range(actions - 1):
                                below = deviation[which, h, s, o] if i == deviator else policy[p, h, here, s, o]
                                c += below < u[a * live + e]
                            chosen[a * live + e] = c
                            mass[s, a * live + e] = 1.0
                            pi[s, c, a * live + e] = 1.0
                    call_reward(reward, (h, z, r, parameters))
                    if value.size:
                        then = v_memory[: states * lanes].reshape(states, lanes)
                        for a in range(m):
                            for s in range(states):
                                then[s, a * live : (a + 1) * live] = value[stage, i0 + a, h + 1, s]
                        call_expect(expect, (h, then, z, q, dynamics))
                    call_push(push, (h, mass, pi, z, out, dynamics))
                    for l in range(lanes):
                        total[l], landed[l] = 0.0, 0
                    for t in range(states - 1):
                        for l in range(lanes):
                            total[l] += out[t, l]
                            landed[l] += total[l] < v[l]
                    for t in range(states):
                        for l in range(lanes):
                            lowest[0] = min(lowest[0], out[t, l])
                    for a in range(m):
                        i = i0 + a
                        here = where[g, i]
                        for e in range(live):
                            l = a * live + e
                            s, c = state[i, e], chosen[l]
                            mass[s, l] = 0.0
                            pi[s, c, l] = 0.0
                            gained = r[s, c, l]
                            after[i, e] = landed[l]
                            population[w, h, s] += 1
                            if flow.size:
                                flow[w, h, i, s] += 1
                            if states_out.size:
                                states_out[w, begin + e, h, i] = s
                                actions_out[w, begin + e, h, i] = c
                                rewards_out[w, begin + e, h, i] = gained
                            if value.size:  # what could be foreseen of the next state, and of the action
                                gained, before = -value[stage, i, h, s], 0.0
                                for o in range(actions):
                                    below = 1.0
                                    if o < actions - 1:
                                        below = deviation[which, h, s, o] if i == deviator else policy[p, h, here, s, o]
                                    gained += (below - before) * (r[s, o, l] + q[s, o, l])
                                    before = below
                            if bonus.size:
                                gained += deviation_bonus[which, h, s] if i == deviator else bonus[p, h, here, s]
                            returns[w, begin + e, i] += gained
                        while seen < watch.shape[1] and watch[w, seen] == i:
                            for e in range(live):
                                stood[w, begin + e, h, seen] = state[i, e]
                                for s in range(states):
                                    felt[w, begin + e, h, seen, s] = z[s, a * live + e]
                            seen += 1
                state, after = after, state
            if states_out.size:
                for e in range(live):
                    for i in range(n):
                        states_out[w, begin + e, horizon, i] = state[i, e]
