"""The loops themselves, one thread. Inside, positions come last: [s, a, k], so that every inner loop is a vector loop.

A sweep takes positions in chunks that fit the first-level cache: it copies a chunk of the policy, transposed, calls
the row functions of the game on it and writes the answer back. The exponential is that of the softmax (simplex_loops).
"""

# mypy: ignore-errors
import numpy as np
from numba import boolean, float64, int64, njit, types, uint64, void

from gamesim.kernels.row_calls import call_expect, call_push, call_reward
from gamesim.kernels.rows import OPTIONS, cached
from gamesim.kernels.simplex_loops import as_bits, as_float, chunk_of, exponential

F1, F2, F4, F5 = (types.Array(float64, d, "C") for d in (1, 2, 4, 5))
VIEW4, VIEW5 = (types.Array(float64, d, "A") for d in (4, 5))
INDEX = types.Array(int64, 1, "C")
OPERATOR = (int64, F2, F2, INDEX, INDEX, F1, boolean)
DENSE, LOW_RANK, PREFIX_SUM, STEP, SPARSE = range(5)  # known to gamesim.kernels.graphon too

_inner = njit(**OPTIONS)
_reordering = njit(error_model="numpy", fastmath={"contract", "reassoc", "nsz"})  # sums in any order: vector sums

# --- logarithm, to about one unit in the last place, in a form that compiles to vector instructions -------------------


@_inner
def _log(x):
    """log x of a normal x > 0, after fdlibm's e_log.c; finite at 0, so that 0 log 0 = 0."""
    u = as_bits(x) + uint64(0x00095F619980C433)  # from sqrt(1/2): the exponent rounds to the nearest power of two
    k = as_float((u >> uint64(52)) | uint64(0x4330000000000000)) - 4503599627371519.0  # an integer made a float by hand
    f = as_float((u & uint64(0x000FFFFFFFFFFFFF)) + uint64(0x3FE6A09E667F3BCD)) - 1.0
    s = f / (2.0 + f)
    z = s * s
    r = z * (
        0.6666666666666735130
        + z * (0.3999999999940941908 + z * (0.2857142874366239149 + z * (0.2222219843214978396
        + z * (0.1818357216161805012 + z * (0.1531383769920937332 + z * 0.1479819860511658591)))))
    )  # fmt: skip
    h = 0.5 * f * f
    return k * 6.93147180369123816490e-01 - ((h - (s * (h + r) + k * 1.90821492927058770002e-10)) - f)


# --- what a graphon does to a population: mass[c, k] -> z[c, k], where c runs over batch and state --------------------


@_reordering
def _dense(matrix, mass, z):
    """z = matrix mass; four columns at a time, so that a matrix larger than the cache is read a quarter as often."""
    columns, n = mass.shape
    c = 0
    while c < columns:
        if columns - c >= 4:
            for k in range(n):
                w = matrix[k]
                z0 = z1 = z2 = z3 = 0.0
                for j in range(n):
                    z0 += w[j] * mass[c, j]
                    z1 += w[j] * mass[c + 1, j]
                    z2 += w[j] * mass[c + 2, j]
                    z3 += w[j] * mass[c + 3, j]
                z[c, k], z[c + 1, k], z[c + 2, k], z[c + 3, k] = z0, z1, z2, z3
            c += 4
        elif columns - c >= 2:
            for k in range(n):
                w = matrix[k]
                z0 = z1 = 0.0
                for j in range(n):
                    z0 += w[j] * mass[c, j]
                    z1 += w[j] * mass[c + 1, j]
                z[c, k], z[c + 1, k] = z0, z1
            c += 2
        else:
            for k in range(n):
                w = matrix[k]
                z0 = 0.0
                for j in range(n):
                    z0 += w[j] * mass[c, j]
                z[c, k] = z0
            c += 1


@_reordering
def _low_rank(right, left, mass, z):
    """z = left^T (right mass) with right[r, j] and left[r, k]; z is built by pieces that stay in the cache."""
    columns, n = mass.shape
    rank = len(right)
    felt = np.zeros((columns, rank))
    piece = 1024
    for start in range(0, n, piece):
        stop = min(start + piece, n)
        for c in range(columns):
            for r in range(rank):
                total = 0.0
                for j in range(start, stop):
                    total += right[r, j] * mass[c, j]
                felt[c, r] += total
    for start in range(0, n, piece):
        stop = min(start + piece, n)
        for c in range(columns):
            for k in range(start, stop):
                z[c, k] = felt[c, 0] * left[0, k]
            for r in range(1, rank):
                for k in range(start, stop):
                    z[c, k] += felt[c, r] * left[r, k]


@_inner
def _prefix_sum(rising, falling, mass, z):
    """z = falling(k) sum_{j <= k} rising(j) m(j) + rising(k) sum_{j > k} falling(j) m(j): halves[3, k] with weights.

    Both running sums advance in one loop, from the two ends: neither waits for the other.
    """
    columns, n = mass.shape
    weights = rising[1]
    for c in range(columns):
        for k in range(n):
            z[c, k] = 0.0
        below = above = 0.0
        for k in range(n):
            down = n - 1 - k
            below += rising[0, k] * weights[k] * mass[c, k]
            z[c, k] += falling[0, k] * below
            z[c, down] += rising[0, down] * above
            above += falling[0, down] * weights[down] * mass[c, down]


@_inner
def _step(values, weights, block, mass, z):
    """Add up each block, let the blocks feel one another by values[i, j], and give each position its block's."""
    columns, n = mass.shape
    blocks = len(values)
    inside, felt = np.zeros((columns, blocks)), np.empty((columns, blocks))
    for c in range(columns):
        for k in range(n):
            inside[c, block[k]] += weights[0, k] * mass[c, k]
    _dense(values, inside, felt)
    for c in range(columns):
        for k in range(n):
            z[c, k] = felt[c, block[k]]


@_inner
def _sparse(data, starts, column, mass, z):
    """Compressed rows: data[0, i] in column[i], row k from starts[k] to starts[k + 1]."""
    columns, n = mass.shape
    for c in range(columns):
        for k in range(n):
            total = 0.0
            for i in range(starts[k], starts[k + 1]):
                total += data[0, i] * mass[c, column[i]]
            z[c, k] = total


@_inner
def _feel(kind, first, second, index, starts, degree, clip, mass, z):
    """z_h of the population, as the game bounds it."""
    if kind == DENSE:
        _dense(first, mass, z)
    elif kind == LOW_RANK:
        _low_rank(first, second, mass, z)
    elif kind == PREFIX_SUM:
        _prefix_sum(first, second, mass, z)
    elif kind == STEP:
        _step(first, second, index, mass, z)
    else:
        _sparse(first, starts, index, mass, z)
    columns, n = mass.shape
    if len(degree):
        for c in range(columns):
            for k in range(n):
                z[c, k] = z[c, k] / degree[k] if degree[k] > 0 else 0.0  # who knows nobody feels nothing
    if clip:
        for c in range(columns):
            for k in range(n):
                z[c, k] = 1.0 if z[c, k] > 1.0 else z[c, k]


# --- sweeps -----------------------------------------------------------------------------------------------------------


@_inner
def _read_states(x, b, h, start, out):
    states, m = out.shape
    for s in range(states):
        for i in range(m):
            out[s, i] = x[b, h, start + i, s]


@_inner
def _write_states(x, out, b, h):
    states, n = x.shape
    for s in range(states):
        for k in range(n):
            out[b, h, k, s] = x[s, k]


@_inner
def _read_actions(x, b, h, start, out):
    states, actions, m = out.shape
    for s in range(states):
        for a in range(actions):
            for i in range(m):
                out[s, a, i] = x[b, h, start + i, s, a]


@_inner
def _mean(pi, q, temperature, v):
    """v[k] = sum_a pi (q - temperature log pi), pi[a, k] and q[a, k]."""
    actions, m = q.shape
    for i in range(m):
        v[i] = 0.0
    for a in range(actions):
        if temperature == 0.0:
            for i in range(m):
                v[i] += pi[a, i] * q[a, i]
        else:
            for i in range(m):
                v[i] += pi[a, i] * (q[a, i] - temperature * _log(pi[a, i]))


@_inner
def _largest(q, v):
    """v[k] = max_a q[a, k]; NaN stays."""
    actions, m = q.shape
    for i in range(m):
        v[i] = q[0, i]
    for a in range(1, actions):
        for i in range(m):
            v[i] = v[i] if v[i] >= q[a, i] or v[i] != v[i] else q[a, i]


@_inner
def _soft_maximum(q, temperature, scratch, v):
    """v[k] = temperature log sum_a exp(q / temperature), or max_a q at 0, q[a, k]."""
    actions, m = q.shape
    _largest(q, v)
    if temperature != 0.0:
        total, sharpness = scratch[0], 1.0 / temperature
        for i in range(m):
            total[i] = 0.0
        for a in range(actions):
            for i in range(m):
                total[i] += exponential((q[a, i] - v[i]) * sharpness)
        for i in range(m):
            v[i] += temperature * _log(total[i])


@cached(njit, void(*OPERATOR, VIEW4, F4), nogil=True)
def aggregate(kind, first, second, index, starts, degree, clip, flow, out):
    """out[b, h, k, s] = z of a flow[b, h, k, s]."""
    batch, steps, n, states = flow.shape
    mass, z = np.empty((states, n)), np.empty((states, n))
    for b in range(batch):
        for h in range(steps):
            _read_states(flow, b, h, 0, mass)
            _feel(kind, first, second, index, starts, degree, clip, mass, z)
            _write_states(z, out, b, h)


@cached(njit, void(int64, F1, *OPERATOR, F2, VIEW5, VIEW4, boolean, F4, F4, boolean), nogil=True)
def flow(
    push, parameters, kind, first, second, index, starts, degree, clip, initial, policy, given, frozen, out, z_out, keep
):
    """From initial[k, s], out[b, h, k, s] under policy[b, h, k, s, a]; in given[b, h, k, s] if frozen, else in its z.

    With keep, z_out[b, h, k, s] is that z, of the last step too.
    """
    batch, steps, n, states, actions = policy.shape
    chunk = chunk_of(n, states * actions)
    mass, z = np.empty((batch * states, n)), np.empty((batch * states, n))
    memory = np.empty((3, states * chunk))
    policies = np.empty(states * actions * chunk)
    for b in range(batch):
        for s in range(states):
            for k in range(n):
                mass[b * states + s, k] = out[b, 0, k, s] = initial[k, s]
    for h in range(steps):
        if not frozen and (keep or h < steps - 1):
            _feel(kind, first, second, index, starts, degree, clip, mass, z)
        if keep:
            for b in range(batch):
                _write_states(z[b * states : (b + 1) * states], z_out, b, h)
        if h == steps - 1:
            break
        for b in range(batch):
            for start in range(0, n, chunk):
                m = min(chunk, n - start)
                pi = policies[: states * actions * m].reshape(states, actions, m)
                mu = memory[0, : states * m].reshape(states, m)
                felt = memory[1, : states * m].reshape(states, m)
                landed = memory[2, : states * m].reshape(states, m)
                _read_actions(policy, b, h, start, pi)
                for s in range(states):
                    for i in range(m):
                        mu[s, i] = mass[b * states + s, start + i]
                if frozen:
                    _read_states(given, b, h, start, felt)
                else:
                    for s in range(states):
                        for i in range(m):
                            felt[s, i] = z[b * states + s, start + i]
                call_push(push, (h, mu, pi, felt, landed, parameters))
                for s in range(states):
                    for i in range(m):
                        mass[b * states + s, start + i] = landed[s, i]
                        out[b, h + 1, start + i, s] = landed[s, i]


# Backwards a position needs its own next value only, so all steps of one chunk come before the next chunk.


@cached(njit, void(int64, F1, int64, F1, VIEW4, VIEW5, boolean, float64, F5, F4), nogil=True)
def values(reward, parameters, expect, dynamics, z, policy, follow, temperature, q_out, v_out):
    """Q[b, h, k, s, a] and V[b, h, k, s] in z[b, h, k, s] of policy[b, h, k, s, a] if follow, else the optimal ones."""
    batch, steps, n, states, actions = q_out.shape
    chunk = chunk_of(n, states * actions)
    memory, policies = np.empty((2, states * chunk)), np.empty((3, states * actions * chunk))
    for b in range(batch):
        for start in range(0, n, chunk):
            m = min(chunk, n - start)
            v = memory[0, : states * m].reshape(states, m)
            felt = memory[1, : states * m].reshape(states, m)
            q = policies[0, : states * actions * m].reshape(states, actions, m)
            r = policies[1, : states * actions * m].reshape(states, actions, m)
            pi = policies[2, : states * actions * m].reshape(states, actions, m)
            for s in range(states):
                for i in range(m):
                    v[s, i] = 0.0
            for h in range(steps - 1, -1, -1):
                _read_states(z, b, h, start, felt)
                call_reward(reward, (h, felt, r, parameters))
                call_expect(expect, (h, v, felt, q, dynamics))
                if follow:
                    _read_actions(policy, b, h, start, pi)
                for s in range(states):
                    for a in range(actions):
                        for i in range(m):
                            q[s, a, i] += r[s, a, i]
                        for i in range(m):
                            q_out[b, h, start + i, s, a] = q[s, a, i]
                    if follow:
                        _mean(pi[s], q[s], temperature, v[s])
                    else:
                        _soft_maximum(q[s], temperature, r[s], v[s])
                    for i in range(m):
                        v_out[b, h, start + i, s] = v[s, i]


@_inner
def _regret(q, pi, temperature, v, regret):
    """max_p <q, p> + temperature H(p) into v[i], and what pi[a, i] misses of it into regret[i]; q[a, i] is spoilt.

    Values are centred first, so that the regret keeps its digits near zero (gamesim.simplex.regret is the twin).
    """
    actions, m = q.shape
    _largest(q, v)
    for a in range(actions):
        for i in range(m):
            q[a, i] -= v[i]
    for i in range(m):
        regret[i] = 0.0
    if temperature == 0.0:
        for a in range(actions):
            for i in range(m):
                regret[i] -= pi[a, i] * q[a, i]
        return
    for a in range(actions):
        for i in range(m):
            regret[i] += exponential(q[a, i] / temperature)
    for i in range(m):
        bonus = temperature * _log(regret[i])
        v[i] += bonus
        regret[i] = bonus
    for a in range(actions):
        for i in range(m):
            regret[i] += pi[a, i] * (temperature * _log(pi[a, i]) - q[a, i])
    for i in range(m):
        regret[i] = 0.0 if regret[i] < 0.0 else regret[i]  # keeps NaN


@cached(njit, void(int64, F1, int64, F1, VIEW4, VIEW4, VIEW5, float64, F2), nogil=True)
def gains(reward, parameters, expect, dynamics, z, own, policy, temperature, out):
    """out[b, k] = sum_h E_own[regret of policy[b, h, k, s, a] against Q*_h], own[b, h, k, s] the policy's flow in z."""
    batch, steps, n, states, actions = policy.shape
    chunk = chunk_of(n, states * actions)
    memory, policies, regret = np.empty((3, states * chunk)), np.empty((3, states * actions * chunk)), np.empty(chunk)
    for b in range(batch):
        for start in range(0, n, chunk):
            m = min(chunk, n - start)
            v = memory[0, : states * m].reshape(states, m)
            felt = memory[1, : states * m].reshape(states, m)
            mass = memory[2, : states * m].reshape(states, m)
            q = policies[0, : states * actions * m].reshape(states, actions, m)
            r = policies[1, : states * actions * m].reshape(states, actions, m)
            pi = policies[2, : states * actions * m].reshape(states, actions, m)
            for s in range(states):
                for i in range(m):
                    v[s, i] = 0.0
            total = out[b, start : start + m]
            for i in range(m):
                total[i] = 0.0
            for h in range(steps - 1, -1, -1):
                _read_states(z, b, h, start, felt)
                _read_states(own, b, h, start, mass)
                _read_actions(policy, b, h, start, pi)
                call_reward(reward, (h, felt, r, parameters))
                call_expect(expect, (h, v, felt, q, dynamics))
                for s in range(states):
                    for a in range(actions):
                        for i in range(m):
                            q[s, a, i] += r[s, a, i]
                    _regret(q[s], pi[s], temperature, v[s], regret[:m])
                    for i in range(m):
                        total[i] += mass[s, i] * regret[i]
