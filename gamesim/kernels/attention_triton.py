"""Attention within sets on a GPU: many small sets in one tile; gamesim.kernels.attention_cuda says what comes and goes.

A program takes one head of one tile: rows [first, last) of queries, and the keys [begin, end) of their sets, as `tiles`
has them. Scores of a whole tile are one product on the tensor cores; those of a query with the keys of another set are
hidden by comparing the numbers of the sets (block-diagonal). Where sets are larger than a tile, keys come in blocks and
the softmax is summed up as they come. Sums are float32; probabilities are rounded to the type of the values before
they meet them, as in every attention on tensor cores.

    forward        out_i = sum_j p_ij v_j,    lse_i = log(exp(sink) + sum_j exp(s_ij))       softmax
    backward       ds_ij = p_ij (<do_i, v_j> - delta_i),    delta_i = <do_i, out_i> - dlse_i  softmax
                   ds_ij = p_ij (1 - p_ij) <do_i, v_j>                                       sigmoid
                   dq_i = scale sum_j ds_ij k_j,   dk_j = scale sum_i ds_ij q_i,   dv_j = sum_i p_ij do_i

Exponentials are powers of two: scores are scaled by log2(e). Rows of 0 times a number that is not finite are not 0: a
NaN in one set reaches the others of its tile.

All of it is in one file, which imports without triton (then it is only text).
"""

# mypy: ignore-errors
try:
    import triton
    import triton.language as tl

    jit = triton.jit
except ModuleNotFoundError:
    from types import SimpleNamespace

    tl = SimpleNamespace(constexpr=object)

    def jit(function):
        return function


@jit
def _rows(X, lead, rows, head, inside, STEP_LEAD, STEP_ROW, STEP_HEAD, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """x[lead, rows, head, :] of a tensor with these steps, zeros elsewhere, [row, BLOCK]."""
    column = tl.arange(0, BLOCK)
    at = lead * STEP_LEAD + rows.to(tl.int64)[:, None] * STEP_ROW + head * STEP_HEAD + column[None, :]
    return tl.load(X + at, mask=inside[:, None] & (column < WIDTH)[None, :], other=0.0)


@jit
def _put(X, x, lead, rows, head, inside, total, heads, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """x[lead, rows, head, :] of a contiguous tensor [lead, total, heads, WIDTH] becomes x."""
    column = tl.arange(0, BLOCK)
    at = ((lead * total + rows.to(tl.int64)[:, None]) * heads + head) * WIDTH + column[None, :]
    tl.store(X + at, x.to(X.dtype.element_ty), mask=inside[:, None] & (column < WIDTH)[None, :])


@jit
def _scores(
    q, k, KEY_BIAS, lead, keys, head, there, seen, scale, SB0, SB1, SB2,
    HAS_KEY_BIAS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """scale <q_i, k_j> + key_bias_j in units of log 2, -inf where i does not see j."""
    s = tl.dot(q, tl.trans(k), input_precision=PRECISION) * (scale * 1.4426950408889634)
    if HAS_KEY_BIAS:
        offset = tl.load(KEY_BIAS + lead * SB0 + keys.to(tl.int64) * SB1 + head * SB2, mask=there, other=0.0)
        s += (offset.to(tl.float32) * 1.4426950408889634)[None, :]
    return tl.where(seen, s, float("-inf"))


@jit
def _probabilities(s, seen, lse, shift, SOFTMAX: tl.constexpr):
    """p_ij from scores in units of log 2: of a softmax by its lse, of a sigmoid by its shift (both natural)."""
    if SOFTMAX:
        return tl.exp2(s - tl.where(lse == float("-inf"), 0.0, lse * 1.4426950408889634)[:, None])
    return tl.where(seen, 1.0 / (1.0 + tl.exp2(-s - (shift * 1.4426950408889634)[:, None])), 0.0)


@jit
def forward(
    Q, K, V, KEY_BIAS, SINK, SHIFT, OUT, LSE, OWNER_Q, OWNER_K, TILES,
    Q0, Q1, Q2, K0, K1, K2, V0, V1, V2, B0, B1, B2, S0, S1, H0, H1, H2,
    scale, heads, tiles, total,
    SOFTMAX: tl.constexpr, HAS_KEY_BIAS: tl.constexpr, HAS_SINK: tl.constexpr,
    D: tl.constexpr, DV: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """out [lead, row, head, DV] and lse [lead, row, head] (of a softmax)."""
    program = tl.program_id(0)
    head = program % heads
    tile = (program // heads) % tiles
    lead = (program // heads // tiles).to(tl.int64)
    first, last = tl.load(TILES + tile * 4), tl.load(TILES + tile * 4 + 1)
    begin, end = tl.load(TILES + tile * 4 + 2), tl.load(TILES + tile * 4 + 3)
    rows = first + tl.arange(0, M)
    inside = rows < last
    owner = tl.load(OWNER_Q + rows, mask=inside, other=-1)
    q = _rows(Q, lead, rows, head, inside, Q0, Q1, Q2, D, BLOCK_D)
    out = tl.zeros((M, BLOCK_DV), tl.float32)
    top = tl.full((M,), float("-inf"), tl.float32)
    mass = tl.zeros((M,), tl.float32)
    shift = tl.zeros((M,), tl.float32)
    if SOFTMAX:
        if HAS_SINK:
            top = tl.zeros((M,), tl.float32) + tl.load(SINK + lead * S0 + head * S1).to(tl.float32) * 1.4426950408889634
            mass += 1.0
    else:
        shift = tl.load(SHIFT + lead * H0 + rows.to(tl.int64) * H1 + head * H2, mask=inside, other=0.0).to(tl.float32)
    for start in range(begin, end, N):
        keys = start + tl.arange(0, N)
        there = keys < end
        seen = owner[:, None] == tl.load(OWNER_K + keys, mask=there, other=-2)[None, :]
        k = _rows(K, lead, keys, head, there, K0, K1, K2, D, BLOCK_D)
        v = _rows(V, lead, keys, head, there, V0, V1, V2, DV, BLOCK_DV)
        s = _scores(q, k, KEY_BIAS, lead, keys, head, there, seen, scale, B0, B1, B2, HAS_KEY_BIAS, PRECISION)
        if SOFTMAX:
            peak = tl.maximum(top, tl.max(s, 1))
            safe = tl.where(peak == float("-inf"), 0.0, peak)
            p = tl.exp2(s - safe[:, None])
            shrink = tl.exp2(top - safe)
            mass = mass * shrink + tl.sum(p, 1)
            out = out * shrink[:, None]
            top = peak
        else:
            p = _probabilities(s, seen, mass, shift, SOFTMAX)
        out += tl.dot(p.to(v.dtype), v, input_precision=PRECISION)
    if SOFTMAX:
        out = out / tl.where(mass == 0.0, 1.0, mass)[:, None]
        lse = tl.where(
            mass == 0.0, float("-inf"), (top + tl.log2(tl.where(mass == 0.0, 1.0, mass))) * 0.6931471805599453
        )
        tl.store(LSE + (lead * total + rows.to(tl.int64)) * heads + head, lse, mask=inside)
    _put(OUT, out, lead, rows, head, inside, total, heads, DV, BLOCK_DV)


@jit
def backward_queries(
    Q, K, V, KEY_BIAS, SHIFT, DO, LSE, DELTA, DQ, DSHIFT, OWNER_Q, OWNER_K, TILES,
    Q0, Q1, Q2, K0, K1, K2, V0, V1, V2, B0, B1, B2, H0, H1, H2, G0, G1, G2,
    scale, heads, tiles, total,
    SOFTMAX: tl.constexpr, HAS_KEY_BIAS: tl.constexpr, WANTS_SHIFT: tl.constexpr,
    D: tl.constexpr, DV: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """dq [lead, row, head, D], and the gradient of a sigmoid's shift [lead, row, head]."""
    program = tl.program_id(0)
    head = program % heads
    tile = (program // heads) % tiles
    lead = (program // heads // tiles).to(tl.int64)
    first, last = tl.load(TILES + tile * 4), tl.load(TILES + tile * 4 + 1)
    begin, end = tl.load(TILES + tile * 4 + 2), tl.load(TILES + tile * 4 + 3)
    rows = first + tl.arange(0, M)
    inside = rows < last
    owner = tl.load(OWNER_Q + rows, mask=inside, other=-1)
    q = _rows(Q, lead, rows, head, inside, Q0, Q1, Q2, D, BLOCK_D)
    do = _rows(DO, lead, rows, head, inside, G0, G1, G2, DV, BLOCK_DV)
    at = (lead * total + rows.to(tl.int64)) * heads + head
    lse = tl.zeros((M,), tl.float32)
    delta = tl.zeros((M,), tl.float32)
    shift = tl.zeros((M,), tl.float32)
    if SOFTMAX:
        lse = tl.load(LSE + at, mask=inside, other=0.0)
        delta = tl.load(DELTA + at, mask=inside, other=0.0)
    else:
        shift = tl.load(SHIFT + lead * H0 + rows.to(tl.int64) * H1 + head * H2, mask=inside, other=0.0).to(tl.float32)
    dq = tl.zeros((M, BLOCK_D), tl.float32)
    dshift = tl.zeros((M,), tl.float32)
    for start in range(begin, end, N):
        keys = start + tl.arange(0, N)
        there = keys < end
        seen = owner[:, None] == tl.load(OWNER_K + keys, mask=there, other=-2)[None, :]
        k = _rows(K, lead, keys, head, there, K0, K1, K2, D, BLOCK_D)
        v = _rows(V, lead, keys, head, there, V0, V1, V2, DV, BLOCK_DV)
        s = _scores(q, k, KEY_BIAS, lead, keys, head, there, seen, scale, B0, B1, B2, HAS_KEY_BIAS, PRECISION)
        p = _probabilities(s, seen, lse, shift, SOFTMAX)
        dp = tl.dot(do, tl.trans(v), input_precision=PRECISION)
        ds = p * (dp - delta[:, None]) if SOFTMAX else p * (1.0 - p) * dp
        dq += tl.dot(ds.to(k.dtype), k, input_precision=PRECISION)
        if WANTS_SHIFT:
            dshift += tl.sum(ds, 1)
    _put(DQ, dq * scale, lead, rows, head, inside, total, heads, D, BLOCK_D)
    if WANTS_SHIFT:
        tl.store(DSHIFT + at, dshift, mask=inside)


@jit
def backward_keys(
    Q, K, V, KEY_BIAS, SHIFT, DO, LSE, DELTA, DK, DV_, DBIAS, OWNER_Q, OWNER_K, TILES,
    Q0, Q1, Q2, K0, K1, K2, V0, V1, V2, B0, B1, B2, H0, H1, H2, G0, G1, G2,
    scale, heads, tiles, total, total_k,
    SOFTMAX: tl.constexpr, HAS_KEY_BIAS: tl.constexpr, WANTS_BIAS: tl.constexpr,
    D: tl.constexpr, DV: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """dk, dv [lead, row', head, :] and the gradient of key_bias [lead, row', head]; here tiles are of N keys."""
    program = tl.program_id(0)
    head = program % heads
    tile = (program // heads) % tiles
    lead = (program // heads // tiles).to(tl.int64)
    first, last = tl.load(TILES + tile * 4), tl.load(TILES + tile * 4 + 1)
    begin, end = tl.load(TILES + tile * 4 + 2), tl.load(TILES + tile * 4 + 3)
    keys = first + tl.arange(0, N)
    there = keys < last
    owner = tl.load(OWNER_K + keys, mask=there, other=-2)
    k = _rows(K, lead, keys, head, there, K0, K1, K2, D, BLOCK_D)
    v = _rows(V, lead, keys, head, there, V0, V1, V2, DV, BLOCK_DV)
    dk = tl.zeros((N, BLOCK_D), tl.float32)
    dv = tl.zeros((N, BLOCK_DV), tl.float32)
    dbias = tl.zeros((N,), tl.float32)
    for start in range(begin, end, M):
        rows = start + tl.arange(0, M)
        inside = rows < end
        seen = tl.load(OWNER_Q + rows, mask=inside, other=-1)[:, None] == owner[None, :]
        q = _rows(Q, lead, rows, head, inside, Q0, Q1, Q2, D, BLOCK_D)
        do = _rows(DO, lead, rows, head, inside, G0, G1, G2, DV, BLOCK_DV)
        at = (lead * total + rows.to(tl.int64)) * heads + head
        lse = tl.zeros((M,), tl.float32)
        delta = tl.zeros((M,), tl.float32)
        shift = tl.zeros((M,), tl.float32)
        if SOFTMAX:
            lse = tl.load(LSE + at, mask=inside, other=0.0)
            delta = tl.load(DELTA + at, mask=inside, other=0.0)
        else:
            where = lead * H0 + rows.to(tl.int64) * H1 + head * H2
            shift = tl.load(SHIFT + where, mask=inside, other=0.0).to(tl.float32)
        s = _scores(q, k, KEY_BIAS, lead, keys, head, there, seen, scale, B0, B1, B2, HAS_KEY_BIAS, PRECISION)
        p = _probabilities(s, seen, lse, shift, SOFTMAX)
        dv += tl.dot(tl.trans(p.to(do.dtype)), do, input_precision=PRECISION)
        dp = tl.dot(do, tl.trans(v), input_precision=PRECISION)
        ds = p * (dp - delta[:, None]) if SOFTMAX else p * (1.0 - p) * dp
        dk += tl.dot(tl.trans(ds.to(q.dtype)), q, input_precision=PRECISION)
        if WANTS_BIAS:
            dbias += tl.sum(ds, 0)
    _put(DK, dk * scale, lead, keys, head, there, total_k, heads, D, BLOCK_D)
    _put(DV_, dv, lead, keys, head, there, total_k, heads, DV, BLOCK_DV)
    if WANTS_BIAS:
        tl.store(DBIAS + (lead * total_k + keys.to(tl.int64)) * heads + head, dbias, mask=there)


@jit
def backward_packed(
    Q, K, V, KEY_BIAS, SHIFT, DO, LSE, DELTA, DQ, DK, DV_, DBIAS, DSHIFT, OWNER_Q, OWNER_K, TILES,
    Q0, Q1, Q2, K0, K1, K2, V0, V1, V2, B0, B1, B2, H0, H1, H2, G0, G1, G2,
    scale, heads, tiles, total, total_k,
    SOFTMAX: tl.constexpr, HAS_KEY_BIAS: tl.constexpr, WANTS_BIAS: tl.constexpr, WANTS_SHIFT: tl.constexpr,
    D: tl.constexpr, DV: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """All gradients in one pass, where the keys of a tile's sets fit in one block and belong to no other tile."""
    program = tl.program_id(0)
    head = program % heads
    tile = (program // heads) % tiles
    lead = (program // heads // tiles).to(tl.int64)
    first, last = tl.load(TILES + tile * 4), tl.load(TILES + tile * 4 + 1)
    begin, end = tl.load(TILES + tile * 4 + 2), tl.load(TILES + tile * 4 + 3)
    rows, keys = first + tl.arange(0, M), begin + tl.arange(0, N)
    inside, there = rows < last, keys < end
    owner = tl.load(OWNER_Q + rows, mask=inside, other=-1)
    seen = owner[:, None] == tl.load(OWNER_K + keys, mask=there, other=-2)[None, :]
    q = _rows(Q, lead, rows, head, inside, Q0, Q1, Q2, D, BLOCK_D)
    k = _rows(K, lead, keys, head, there, K0, K1, K2, D, BLOCK_D)
    v = _rows(V, lead, keys, head, there, V0, V1, V2, DV, BLOCK_DV)
    do = _rows(DO, lead, rows, head, inside, G0, G1, G2, DV, BLOCK_DV)
    at = (lead * total + rows.to(tl.int64)) * heads + head
    lse = tl.zeros((M,), tl.float32)
    delta = tl.zeros((M,), tl.float32)
    shift = tl.zeros((M,), tl.float32)
    if SOFTMAX:
        lse = tl.load(LSE + at, mask=inside, other=0.0)
        delta = tl.load(DELTA + at, mask=inside, other=0.0)
    else:
        shift = tl.load(SHIFT + lead * H0 + rows.to(tl.int64) * H1 + head * H2, mask=inside, other=0.0).to(tl.float32)
    s = _scores(q, k, KEY_BIAS, lead, keys, head, there, seen, scale, B0, B1, B2, HAS_KEY_BIAS, PRECISION)
    p = _probabilities(s, seen, lse, shift, SOFTMAX)
    dv = tl.dot(tl.trans(p.to(do.dtype)), do, input_precision=PRECISION)
    _put(DV_, dv, lead, keys, head, there, total_k, heads, DV, BLOCK_DV)
    dp = tl.dot(do, tl.trans(v), input_precision=PRECISION)
    ds = p * (dp - delta[:, None]) if SOFTMAX else p * (1.0 - p) * dp
    if WANTS_SHIFT:
        tl.store(DSHIFT + at, tl.sum(ds, 1), mask=inside)
    if WANTS_BIAS:
        tl.store(DBIAS + (lead * total_k + keys.to(tl.int64)) * heads + head, tl.sum(ds, 0), mask=there)
    dq = tl.dot(ds.to(k.dtype), k, input_precision=PRECISION)
    _put(DQ, dq * scale, lead, rows, head, inside, total, heads, D, BLOCK_D)
    dk = tl.dot(tl.trans(ds.to(q.dtype)), q, input_precision=PRECISION)
    _put(DK, dk * scale, lead, keys, head, there, total_k, heads, D, BLOCK_D)
