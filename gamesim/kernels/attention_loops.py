"""Attention within sets, one thread, forward and backward; gamesim.kernels.attention says what comes in and goes out.

A set's head is done by itself, LANES queries at a time: scores stand as rows of keys with queries in the lanes, so that
maximum, exponential and sum of a softmax are vertical. All five products are one loop over registers,

    out[r, :] = sum_t a[r, t] b[t, :]        r < rows, a register each

with a[r, t] spread over the lanes: b is the transposed queries and a the keys for scores, b is the values and a the
probabilities for the output. No lane and no row is filled up, so what is computed for a set depends on this set alone.

All of it lives in this one file: numba's cache looks only at the file of the outermost function.
"""

# mypy: ignore-errors
import math
import operator

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

from gamesim.kernels.rows import OPTIONS, cached

WIDE = binding.get_host_cpu_features().get("avx512f", False)
LANES = {types.float32: 16 if WIDE else 8, types.float64: 8 if WIDE else 4}
SOFTMAX, SIGMOID, TOPK = 0, 1, 2

_inner = njit(**OPTIONS)
_pasted = njit(forceinline=True, **OPTIONS)

# --- vectors: LANES numbers in a register -----------------------------------------------------------------------------


class Vector(types.Type):
    """LANES numbers of one type."""

    def __init__(self, element):
        self.element = element
        super().__init__(name=f"Vector({element}, {LANES[element]})")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, ir.VectorType(_ir(kind.element), LANES[kind.element]))


def _ir(element):
    return ir.FloatType() if element == types.float32 else ir.DoubleType()


def _word(element):
    return ir.IntType(element.bitwidth)


def _constant(builder, like, value):
    return ir.Constant(like, [ir.Constant(like.element, value)] * like.count)


def _fused(builder, a, b, c):
    """a b + c, rounded once where the machine can."""
    name = f"llvm.fmuladd.v{a.type.count}f{32 if a.type.element == ir.FloatType() else 64}"
    call = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.type, [a.type] * 3), name)
    return builder.call(call, [a, b, c])


def _spread(builder, x, lanes):
    kind = ir.VectorType(x.type, lanes)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), x, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)


def _place(context, builder, kind, array, at):
    """The address of the number `at` of a flat array."""
    data = cgutils.create_struct_proxy(kind)(context, builder, array).data
    return builder.gep(data, [at])


def _load(builder, element, address):
    vector = ir.VectorType(_ir(element), LANES[element])
    return builder.load(builder.bitcast(address, vector.as_pointer()), align=element.bitwidth // 8)


def _store(builder, element, vector, address):
    builder.store(vector, builder.bitcast(address, vector.type.as_pointer()), align=element.bitwidth // 8)


@intrinsic
def get(context, array, at):
    """LANES numbers of a flat array."""

    def code(context, builder, signature, given):
        kind = signature.args[0]
        return _load(builder, kind.dtype, _place(context, builder, kind, *given))

    return Vector(array.dtype)(array, types.intp), code


@intrinsic
def put(context, array, at, vector):
    def code(context, builder, signature, given):
        kind = signature.args[0]
        _store(builder, kind.dtype, given[2], _place(context, builder, kind, *given[:2]))
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), code


def _far(context, builder, kind, place):
    """The address of a number of a tensor: places count numbers from address 0 on."""
    size = ir.Constant(place.type, kind.dtype.bitwidth // 8)
    return builder.inttoptr(builder.mul(place, size), _ir(kind.dtype).as_pointer())


@intrinsic
def one_of(context, array, place):
    """A number of a tensor, of the type of the array."""

    def code(context, builder, signature, given):
        return builder.load(_far(context, builder, signature.args[0], given[1]))

    return array.dtype(array, types.intp), code


@intrinsic
def set_one(context, array, place, x):
    def code(context, builder, signature, given):
        builder.store(given[2], _far(context, builder, signature.args[0], given[1]))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), code


@intrinsic
def get_of(context, array, place):
    """LANES numbers of a tensor, of the type of the array."""

    def code(context, builder, signature, given):
        kind = signature.args[0]
        return _load(builder, kind.dtype, _far(context, builder, kind, given[1]))

    return Vector(array.dtype)(array, types.intp), code


@intrinsic
def put_of(context, array, place, vector):
    def code(context, builder, signature, given):
        kind = signature.args[0]
        _store(builder, kind.dtype, given[2], _far(context, builder, kind, given[1]))
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), code


@intrinsic
def soon(context, array, place):
    """Asks for the numbers from a place of a tensor on before they are wanted. The place may be nowhere."""

    def code(context, builder, signature, given):
        byte = ir.IntType(8).as_pointer()
        at = builder.bitcast(_far(context, builder, signature.args[0], given[1]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte] + [ir.IntType(32)] * 3)
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(call, [at, *(ir.Constant(ir.IntType(32), n) for n in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp), code


@intrinsic
def every(context, array, x):
    """A vector of one number x, of the type of the array."""

    def code(context, builder, signature, given):
        return _spread(builder, given[1], LANES[signature.args[0].dtype])

    return Vector(array.dtype)(array, array.dtype), code


def _between(name, function):
    """An operation of two vectors."""

    @intrinsic
    def operation(context, a, b):
        return a(a, a), lambda _, builder, signature, given: function(builder, *given)

    operation.__name__ = name
    return operation


_add = _between("add", lambda builder, a, b: builder.fadd(a, b))
_sub = _between("sub", lambda builder, a, b: builder.fsub(a, b))
_mul = _between("mul", lambda builder, a, b: builder.fmul(a, b))
_div = _between("div", lambda builder, a, b: builder.fdiv(a, b))
larger = _between("larger", lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))
smaller = _between("smaller", lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b), b, a))


def _writes(symbol, operation):
    """Lets loops write the operation as a symbol."""

    @overload(symbol, jit_options={**OPTIONS, "forceinline": True})
    def of_two(a, b):
        if isinstance(a, Vector) and isinstance(b, Vector):
            return lambda a, b: operation(a, b)
        return None


_writes(operator.add, _add)
_writes(operator.sub, _sub)
_writes(operator.mul, _mul)
_writes(operator.truediv, _div)


@intrinsic
def fused(context, a, b, c):
    return a(a, a, a), lambda _, builder, signature, given: _fused(builder, *given)


@intrinsic
def where_less(context, a, b, c, d):
    """c where a < b, else d."""
    return a(a, a, a, a), lambda _, builder, signature, given: builder.select(
        builder.fcmp_ordered("<", *given[:2]), *given[2:]
    )


EXP = {
    types.float32: (
        (-87.3, 1.4426950408889634, 1.5 * 2.0**23, 23),
        (0.693359375, -2.12194440e-4),
        (1.987569150e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1),
    ),
    types.float64: (
        (-708.0, 1.4426950408889634, 1.5 * 2.0**52, 52),
        (0.6931471803691238, 1.9082149292705877e-10),
        tuple(1 / math.factorial(n) for n in range(13, 1, -1)),
    ),
}
"""Lowest, 1 / log 2, what rounds, bits of the mantissa; log 2 in two parts; coefficients of the series."""


@intrinsic
def exp(context, z):
    """exp(z) for z <= 88: 2^k e^r with |r| <= log(2) / 2; 0 where it would be subnormal; no branch."""

    def code(context, builder, signature, given):
        (z,), element = given, signature.args[0].element
        (lowest, per_log2, rounds, mantissa), (high, low), series = EXP[element]
        c = lambda value: _constant(builder, z.type, value)  # noqa: E731
        under = builder.fcmp_ordered("<", z, c(lowest))
        bounded = builder.select(under, c(lowest), z)
        shifted = _fused(builder, bounded, c(per_log2), c(rounds))  # a whole number, in the low bits
        k = builder.fsub(shifted, c(rounds))
        r = _fused(builder, k, c(-low), _fused(builder, k, c(-high), bounded))
        tail = c(series[0])
        for each in series[1:]:
            tail = _fused(builder, tail, r, c(each))
        e = builder.fadd(_fused(builder, tail, builder.fmul(r, r), r), c(1.0))
        whole = ir.VectorType(_word(element), z.type.count)
        shift = ir.Constant(whole, [ir.Constant(whole.element, mantissa)] * whole.count)
        power = builder.add(builder.bitcast(e, whole), builder.shl(builder.bitcast(shifted, whole), shift))
        found = builder.select(under, c(0.0), builder.bitcast(power, z.type))
        return builder.select(builder.fcmp_unordered("uno", z, z), z, found)

    return z(z), code


LOG = {
    types.float32: ((23, 0x3F3504F3), EXP[types.float32][1], [1 / n for n in (9, 7, 5, 3)]),
    types.float64: ((52, 0x3FE6A09E667F3BCD), EXP[types.float64][1], [1 / n for n in range(21, 2, -2)]),
}
"""Bits of the mantissa, bits of the root of a half; log 2 in two parts; coefficients of artanh(s) / s - 1."""


@intrinsic
def log(context, z):
    """log(z) for finite z >= 1: k log 2 + 2 artanh(s) with s = (m - 1) / (m + 1), |s| < 0.172."""

    def code(context, builder, signature, given):
        (z,), element = given, signature.args[0].element
        (mantissa, root), (high, low), series = LOG[element]
        c = lambda value: _constant(builder, z.type, value)  # noqa: E731
        whole = ir.VectorType(_word(element), z.type.count)
        n = lambda value: ir.Constant(whole, [ir.Constant(whole.element, value)] * whole.count)  # noqa: E731
        bits = builder.bitcast(z, whole)
        k = builder.ashr(builder.sub(bits, n(root)), n(mantissa))
        m = builder.bitcast(builder.sub(bits, builder.shl(k, n(mantissa))), z.type)
        s = builder.fdiv(builder.fsub(m, c(1.0)), builder.fadd(m, c(1.0)))
        w = builder.fmul(s, s)
        tail = c(series[0])
        for each in series[1:]:
            tail = _fused(builder, tail, w, c(each))
        s = builder.fadd(s, s)
        k = builder.sitofp(k, z.type)
        near = _fused(builder, k, c(low), _fused(builder, builder.fmul(tail, w), s, s))
        found = _fused(builder, k, c(high), near)
        return builder.select(builder.fcmp_unordered("uno", z, z), z, found)

    return z(z), code


# --- products ---------------------------------------------------------------------------------------------------------


def _turned(builder, rows):
    """The transpose of a square of vectors: blocks of 1, 2, 4, ... change places."""
    rows, lanes, step = list(rows), len(rows), 1
    while step < lanes:
        for i in range(lanes):
            if not i & step:
                low = [l if not l & step else lanes + l - step for l in range(lanes)]
                high = [l + step if not l & step else lanes + l for l in range(lanes)]
                masks = (ir.Constant(ir.VectorType(ir.IntType(32), lanes), picked) for picked in (low, high))
                x, y = rows[i], rows[i + step]
                rows[i], rows[i + step] = (builder.shuffle_vector(x, y, mask) for mask in masks)
        step *= 2
    return rows


@intrinsic
def _transpose(context, a, at, row, b, to):
    """b[d, l] = a[l, d] for a square of LANES; rows of a are `row` apart."""

    def code(context, builder, signature, given):
        a, at, row, b, to = given
        kind, lanes = signature.args[0], LANES[signature.args[0].dtype]
        index = at.type
        start = _place(context, builder, kind, a, at)
        rows = [
            _load(builder, kind.dtype, builder.gep(start, [builder.mul(row, ir.Constant(index, i))]))
            for i in range(lanes)
        ]
        rows = _turned(builder, rows)
        start = _place(context, builder, kind, b, to)
        for i in range(lanes):
            _store(builder, kind.dtype, rows[i], builder.gep(start, [ir.Constant(index, i * lanes)]))
        return context.get_dummy_value()

    return types.void(a, types.intp, types.intp, b, types.intp), code


@intrinsic
def _tile(context, rows, s, to, to_row, a, a_row, a_step, b, b_step, length, onto):
    """s[to + r to_row + l] = sum_t s[a + r a_row + t a_step] s[b + t b_step + l] for r < rows, all in registers.

    `rows` is a tuple with as many entries; `onto` adds to what is there.
    """
    count = len(rows)

    def code(context, builder, signature, given):
        _, s, to, to_row, a, a_row, a_step, b, b_step, length, onto = given
        kind = signature.args[1]
        element, lanes = kind.dtype, LANES[kind.dtype]
        index, vector = to.type, ir.VectorType(_ir(kind.dtype), LANES[kind.dtype])
        base = cgutils.create_struct_proxy(kind)(context, builder, s).data
        results = [
            builder.gep(base, [builder.add(to, builder.mul(to_row, ir.Constant(index, r)))]) for r in range(count)
        ]
        starts = [builder.gep(base, [builder.add(a, builder.mul(a_row, ir.Constant(index, r)))]) for r in range(count)]
        first = builder.gep(base, [b])
        sums = [cgutils.alloca_once(builder, vector) for _ in range(count)]
        with builder.if_else(onto) as (then, otherwise):
            with then:
                for total, result in zip(sums, results, strict=True):
                    builder.store(_load(builder, element, result), total)
            with otherwise:
                for total in sums:
                    builder.store(_constant(builder, vector, 0.0), total)
        with cgutils.for_range(builder, length, intp=index) as loop:
            y = _load(builder, element, builder.gep(first, [builder.mul(loop.index, b_step)]))
            along = builder.mul(loop.index, a_step)
            for start, total in zip(starts, sums, strict=True):
                x = _spread(builder, builder.load(builder.gep(start, [along])), lanes)
                builder.store(_fused(builder, x, y, builder.load(total)), total)
        for total, result in zip(sums, results, strict=True):
            _store(builder, element, builder.load(total), result)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(rows, s, whole, whole, whole, whole, whole, whole, whole, whole, types.boolean), code


EIGHT, FOUR, TWO, ONE = (0,) * 8, (0,) * 4, (0,) * 2, (0,)
PANEL = (0,) * (4 if WIDE else 2)
SIX = (0,) * 6
UNIT, AFRESH, ONTO = (
    np.int64(1),
    np.bool_(False),
    np.bool_(True),
)  # as literals they would have functions compiled for themselves


@_inner
def _multiply(s, rows, to, to_row, a, a_row, a_step, b, b_step, length, onto):
    """s[to + r to_row + l] = sum_t s[a + r a_row + t a_step] s[b + t b_step + l] for r < rows."""
    r = 0
    while rows - r >= 8:
        _tile(EIGHT, s, to + r * to_row, to_row, a + r * a_row, a_row, a_step, b, b_step, length, onto)
        r += 8
    if rows - r >= 4:
        _tile(FOUR, s, to + r * to_row, to_row, a + r * a_row, a_row, a_step, b, b_step, length, onto)
        r += 4
    if rows - r >= 2:
        _tile(TWO, s, to + r * to_row, to_row, a + r * a_row, a_row, a_step, b, b_step, length, onto)
        r += 2
    if rows - r >= 1:
        _tile(ONE, s, to + r * to_row, to_row, a + r * a_row, a_row, a_step, b, b_step, length, onto)


def _width(s):
    """LANES of an array's type, known when it is compiled."""


@overload(_width, jit_options={**OPTIONS, "forceinline": True})
def _width_of(s):
    lanes = LANES[s.dtype]
    return lambda s: np.int64(lanes)  # no literal: functions would be compiled for each combination of those


@_inner
def _take(s, to, wide, at, row, rows, size):
    """Rows of a tensor into the scratch, `wide` apart; what is beyond `size` in a row is 0."""
    W = _width(s)
    for i in range(rows):
        d = 0
        while d + W <= size:
            put(s, to + i * wide + d, get_of(s, at + i * row + d))
            soon(s, at + (rows + i) * row + d)
            d += W
        if d < size:
            put(s, to + i * wide + d, every(s, s.dtype.type(0)))
            for e in range(d, size):
                s[to + i * wide + e] = one_of(s, at + i * row + e)


@_inner
def _give(s, begin, wide, factor, step, at, row, rows, size):
    """Rows of the scratch into a tensor, the i-th times s[factor + i step]."""
    W = _width(s)
    for i in range(rows):
        by = s[factor + i * step]
        times = every(s, by)
        d = 0
        while d + W <= size:
            put_of(s, at + i * row + d, get(s, begin + i * wide + d) * times)
            soon(s, at + (rows + i) * row + d)
            d += W
        for e in range(d, size):
            set_one(s, at + i * row + e, s[begin + i * wide + e] * by)


@_pasted
def _turn(s, begin, wide, to):
    """Rows of LANES queries as columns."""
    W = _width(s)
    for d in range(0, wide, W):
        _transpose(s, begin + d, wide, s, to + d * W)


@intrinsic
def _turn_from(context, places, which, shift, s, to):
    """s[to + d, l] = tensor[places[which + l] + shift + d] for d < LANES."""

    def code(context, builder, signature, given):
        places, which, shift, s, to = given
        kind = signature.args[3]
        first = _place(context, builder, signature.args[0], places, which)
        rows = []
        for i in range(LANES[kind.dtype]):
            at = builder.add(builder.load(builder.gep(first, [ir.Constant(to.type, i)])), shift)
            rows.append(_load(builder, kind.dtype, _far(context, builder, kind, at)))
        start = _place(context, builder, kind, s, to)
        for i, row in enumerate(_turned(builder, rows)):
            _store(builder, kind.dtype, row, builder.gep(start, [ir.Constant(to.type, i * len(rows))]))
        return context.get_dummy_value()

    return types.void(places, types.intp, types.intp, s, types.intp), code


@intrinsic
def _turn_into(context, s, begin, places, which, shift):
    """tensor[places[which + l] + shift + d] = s[begin + d, l] for d < LANES."""

    def code(context, builder, signature, given):
        s, begin, places, which, shift = given
        kind = signature.args[0]
        lanes = LANES[kind.dtype]
        first = _place(context, builder, signature.args[2], places, which)
        start = _place(context, builder, kind, s, begin)
        rows = [
            _load(builder, kind.dtype, builder.gep(start, [ir.Constant(begin.type, i * lanes)])) for i in range(lanes)
        ]
        for i, row in enumerate(_turned(builder, rows)):
            at = builder.add(builder.load(builder.gep(first, [ir.Constant(begin.type, i)])), shift)
            _store(builder, kind.dtype, row, _far(context, builder, kind, at))
        return context.get_dummy_value()

    return types.void(s, types.intp, places, types.intp, types.intp), code


@intrinsic
def _grid(context, rows, columns, s, to, to_row, to_column, a, a_row, a_step, b, b_column, b_step, length, onto):
    """s[to + r to_row + c to_column] = sum_t s[a + r a_row + t a_step] s[b + c b_column + t b_step], lane by lane."""
    m, n = len(rows), len(columns)

    def code(context, builder, signature, given):
        _, _, s, to, to_row, to_column, a, a_row, a_step, b, b_column, b_step, length, onto = given
        kind = signature.args[2]
        element, index = kind.dtype, to.type
        vector = ir.VectorType(_ir(element), LANES[element])
        base = cgutils.create_struct_proxy(kind)(context, builder, s).data

        def at(begin, *parts):
            for number, step in parts:
                begin = builder.add(begin, builder.mul(ir.Constant(index, number), step))
            return builder.gep(base, [begin])

        results = [at(to, (r, to_row), (c, to_column)) for r in range(m) for c in range(n)]
        left, above = [at(a, (r, a_row)) for r in range(m)], [at(b, (c, b_column)) for c in range(n)]
        sums = [cgutils.alloca_once(builder, vector) for _ in results]
        with builder.if_else(onto) as (then, otherwise):
            with then:
                for total, result in zip(sums, results, strict=True):
                    builder.store(_load(builder, element, result), total)
            with otherwise:
                for total in sums:
                    builder.store(_constant(builder, vector, 0.0), total)
        with cgutils.for_range(builder, length, intp=index) as loop:
            i, j = builder.mul(loop.index, a_step), builder.mul(loop.index, b_step)
            x = [_load(builder, element, builder.gep(start, [i])) for start in left]
            y = [_load(builder, element, builder.gep(start, [j])) for start in above]
            for at_sum, total in enumerate(sums):
                builder.store(_fused(builder, x[at_sum // n], y[at_sum % n], builder.load(total)), total)
        for total, result in zip(sums, results, strict=True):
            _store(builder, element, builder.load(total), result)
        return context.get_dummy_value()

    return types.void(rows, columns, s, *[types.intp] * 10, types.boolean), code


@_inner
def _cross(s, rows, columns, to, to_row, to_column, a, a_row, a_step, b, b_column, b_step, length, onto):
    """s[to + r to_row + c to_column] = sum_t s[a + r a_row + t a_step] s[b + c b_column + t b_step], lane by lane."""
    for r in range(0, rows - 1, 2):
        x, y = to + r * to_row, a + r * a_row
        c = 0
        while columns - c >= 4:
            z = b + c * b_column
            _grid(
                TWO, FOUR, s, x + c * to_column, to_row, to_column, y, a_row, a_step, z, b_column, b_step, length, onto
            )
            c += 4
        while columns - c >= 1:
            z = b + c * b_column
            _grid(
                TWO, ONE, s, x + c * to_column, to_row, to_column, y, a_row, a_step, z, b_column, b_step, length, onto
            )
            c += 1
    if rows & 1:
        x, y = to + (rows - 1) * to_row, a + (rows - 1) * a_row
        c = 0
        while columns - c >= 4:
            z = b + c * b_column
            _grid(
                ONE, FOUR, s, x + c * to_column, to_row, to_column, y, a_row, a_step, z, b_column, b_step, length, onto
            )
            c += 4
        while columns - c >= 1:
            z = b + c * b_column
            _grid(
                ONE, ONE, s, x + c * to_column, to_row, to_column, y, a_row, a_step, z, b_column, b_step, length, onto
            )
            c += 1


@intrinsic
def _panel(context, rows, columns, s, x, x_row, weight, weight_row, bias, out, out_row, length):
    """out[r, c] = bias[c] + sum_t x[r, t] weight[t, c], all of them tensors, columns c in vectors, all in registers."""
    m, n = len(rows), len(columns)

    def code(context, builder, signature, given):
        _, _, _, x, x_row, weight, weight_row, bias, out, out_row, length = given
        kind = signature.args[2]
        element, index = kind.dtype, x.type
        lanes, vector = LANES[element], ir.VectorType(_ir(element), LANES[element])
        at = lambda place, r, row: builder.add(place, builder.mul(ir.Constant(index, r), row))  # noqa: E731
        starts = [_far(context, builder, kind, at(x, r, x_row)) for r in range(m)]
        above = _far(context, builder, kind, weight)
        sums = [[cgutils.alloca_once(builder, vector) for _ in range(n)] for _ in range(m)]
        for c in range(n):
            first = cgutils.alloca_once_value(builder, _constant(builder, vector, 0.0))
            with builder.if_then(builder.icmp_signed("!=", bias, ir.Constant(index, 0))):
                from_bias = builder.gep(_far(context, builder, kind, bias), [ir.Constant(index, c * lanes)])
                builder.store(_load(builder, element, from_bias), first)
            for r in range(m):
                builder.store(builder.load(first), sums[r][c])
        with cgutils.for_range(builder, length, intp=index) as loop:
            row = builder.gep(above, [builder.mul(loop.index, weight_row)])
            w = [_load(builder, element, builder.gep(row, [ir.Constant(index, c * lanes)])) for c in range(n)]
            for r in range(m):
                each = _spread(builder, builder.load(builder.gep(starts[r], [loop.index])), lanes)
                for c in range(n):
                    builder.store(_fused(builder, each, w[c], builder.load(sums[r][c])), sums[r][c])
        for r in range(m):
            to = _far(context, builder, kind, at(out, r, out_row))
            for c in range(n):
                _store(builder, element, builder.load(sums[r][c]), builder.gep(to, [ir.Constant(index, c * lanes)]))
        return context.get_dummy_value()

    return types.void(rows, columns, s, *[types.intp] * 8), code


@_inner
def _product(s, x, x_row, weight, weight_row, bias, out, out_row, rows, inputs, outputs):
    """out = x weight + bias; outputs are a multiple of LANES, bias 0 is none."""
    W = _width(s)
    c = 0
    while c < outputs:
        wide = W * len(PANEL) if outputs - c >= W * len(PANEL) else W
        w, b = weight + c, bias + c if bias else bias
        r = 0
        while r < rows:
            y, to = x + r * x_row, out + r * out_row + c
            if rows - r >= 6:
                if wide > W:
                    _panel(SIX, PANEL, s, y, x_row, w, weight_row, b, to, out_row, inputs)
                else:
                    _panel(SIX, ONE, s, y, x_row, w, weight_row, b, to, out_row, inputs)
                r += 6
            else:
                if wide > W:
                    _panel(ONE, PANEL, s, y, x_row, w, weight_row, b, to, out_row, inputs)
                else:
                    _panel(ONE, ONE, s, y, x_row, w, weight_row, b, to, out_row, inputs)
                r += 1
        c += wide


# --- probabilities: rows of keys, a query (or a query of a set) in each lane ------------------------------------------


@_pasted
def _finite(s, top):
    """What to take away from scores: 0 where there is nothing but -inf."""
    F = s.dtype.type
    return where_less(top, every(s, F(-np.finfo(F).max)), every(s, F(0)), top)


@_pasted
def _keep_top(s, p, keys, top, kept):
    """Scores below the top-th largest of their lane become -inf; equal ones stay. Rows `kept` are scratch."""
    W, F = _width(s), s.dtype.type
    lowest = every(s, F(-np.inf))
    for j in range(top):
        put(s, kept + j * W, lowest)
    for n in range(keys):
        x = get(s, p + n * W)
        for j in range(top):
            y = get(s, kept + j * W)
            put(s, kept + j * W, larger(x, y))
            x = smaller(x, y)
    least = get(s, kept + (top - 1) * W)
    for n in range(keys):
        x = get(s, p + n * W)
        put(s, p + n * W, where_less(x, least, lowest, x))


@_pasted
def _sigmoid(s, p, keys):
    W, F = _width(s), s.dtype.type
    zero, one = every(s, F(0)), every(s, F(1))
    for n in range(keys):
        x = get(s, p + n * W)
        e = exp(smaller(x, zero - x))
        put(s, p + n * W, where_less(x, zero, e, one) / (one + e))


@_inner
def _weigh(s, p, keys, kind, top, sunk, factor, ends, kept):
    """Scores to probabilities but for a factor. Row `ends` has the sink's scores, then the log-sum-exp."""
    W, F = _width(s), s.dtype.type
    zero, one = every(s, F(0)), every(s, F(1))
    if kind == SIGMOID:
        _sigmoid(s, p, keys)
        put(s, factor, one)
        return
    if kind == TOPK and top < keys:
        _keep_top(s, p, keys, top, kept)
    m = get(s, ends) if sunk else every(s, F(-np.inf))
    for n in range(keys):
        m = larger(get(s, p + n * W), m)
    m = _finite(s, m)
    total = exp(get(s, ends) - m) if sunk else zero
    for n in range(keys):
        e = exp(get(s, p + n * W) - m)
        put(s, p + n * W, e)
        total = total + e
    none = every(s, F(0.5))  # a sum is 0 or at least 1
    put(s, factor, where_less(total, none, zero, one / total))
    put(s, ends, where_less(total, none, every(s, F(-np.inf)), m + log(total)))


@_inner
def _weigh_back(s, p, ds, keys, kind, top, ends, given, kept):
    """Scores p to probabilities, and rows ds from derivatives by probabilities to derivatives by scores.

    Row `ends` has the log-sum-exp, row `given` its derivative, and then minus what was taken from all rows of ds.
    """
    W, F = _width(s), s.dtype.type
    if kind == SIGMOID:
        one = every(s, F(1))
        _sigmoid(s, p, keys)
        for n in range(keys):
            x = get(s, p + n * W)
            put(s, ds + n * W, x * (one - x) * get(s, ds + n * W))
        return
    if kind == TOPK and top < keys:
        _keep_top(s, p, keys, top, kept)
    m = _finite(s, get(s, ends))
    zero = every(s, F(0))
    delta = zero - get(s, given)
    for n in range(keys):
        x = exp(get(s, p + n * W) - m)
        put(s, p + n * W, x)
        delta = fused(x, get(s, ds + n * W), delta)
    for n in range(keys):
        put(s, ds + n * W, get(s, p + n * W) * (get(s, ds + n * W) - delta))
    put(s, ends, m)
    put(s, given, zero - delta)


# --- one set and head, queries in lanes -------------------------------------------------------------------------------

KIND, TOP, HEADS, SIZE, FIRST, LAST, LONGEST, LEADS = np.arange(8)
Q, K, V, KEY_BIAS, SINK, BIAS, OUT, LSE, OUT_GRAD, LSE_GRAD = np.arange(8, 48, 4)
Q_GRAD, K_GRAD, V_GRAD, KEY_BIAS_GRAD, SINK_GRAD, BIAS_GRAD = np.arange(48, 72, 4)
X, INWARD, INWARD_BIAS, OUTWARD, OUTWARD_BIAS, Y, WIDTHS, CAUSAL = np.arange(72, 104, 4)
TABLE = 101
"""What `table` has: settings, then of each tensor its place (0: there is none) and its steps of lead, row and head."""


@_pasted
def _at(table, tensor, lead, row, h):
    """The place of a row and head of a tensor."""
    return table[tensor] + lead * table[tensor + 1] + row * table[tensor + 2] + h * table[tensor + 3]


@_pasted
def _rows_alone(longest, D, W):
    """Where in the scratch k, v, dk, dv, q, g, their transposes qt, gt, o, p, ds and single rows of lanes stand."""
    q = 4 * longest * D
    p = q + 5 * W * D
    one = p + 2 * longest * W
    whole = (np.int64(0), longest * D, 2 * longest * D, 3 * longest * D, q, q + W * D, q + 2 * W * D, q + 3 * W * D)
    return (*whole, q + 4 * W * D, p, p + longest * W, one, one + W, one + 2 * W, one + 3 * W)


@_inner
def _scaled(s, table, p, keys, scale, lead, b, begin, h):
    """Scores p[n] <- scale p[n] + bias of the set + bias of the key, each a row of lanes."""
    W, F = _width(s), s.dtype.type
    times = every(s, F(scale))
    shift = one_of(s, _at(table, BIAS, lead, b, h)) if table[BIAS] else F(0)
    for n in range(keys):
        add = shift + (one_of(s, _at(table, KEY_BIAS, lead, begin + n, h)) if table[KEY_BIAS] else F(0))
        put(s, p + n * W, fused(get(s, p + n * W), times, every(s, add)))


@_inner
def _row(s, table, tensor, lead, i, h, count, to):
    """A number of each of so many rows into lanes; the others have 0."""
    put(s, to, every(s, s.dtype.type(0)))
    for l in range(count):
        s[to + l] = one_of(s, _at(table, tensor, lead, i + l, h))


@_pasted
def _seen(table, queries, keys, begin, count):
    """Of a set's keys, those that the first of some queries sees, and those that the last of them does.

    In causal order query i sees key j where j <= i + keys - queries; in none, all see all.
    """
    first = keys - queries + begin + 1
    return (first, first + count - 1) if table[CAUSAL] else (keys, keys)


@_inner
def _past(s, p, first, last, x):
    """Rows of keys `first` to `last`: x in the lanes of queries before them."""
    W = _width(s)
    for n in range(first, last):
        for l in range(n - first + 1):
            s[p + n * W + l] = x


@_inner
def _multiply_past(s, rows, to, to_row, a, b, b_step, first, last):
    """`_multiply` of a[key, query], where query r sees `first` + r keys: what is beyond is not read, NaN or not."""
    W = _width(s)
    _multiply(s, rows, to, to_row, a, UNIT, W, b, b_step, first, AFRESH)
    if first < last:
        a, b = a + first * W, b + first * b_step
        for r in range(1, rows):
            _tile(ONE, s, to + r * to_row, to_row, a + r, UNIT, W, b, b_step, np.int64(r), ONTO)


@njit(inline="always", **OPTIONS)
def _forward_alone(s, table, scale, offsets_q, offsets_k, lead, b, h):
    W, F = _width(s), s.dtype.type
    kind, size, longest = table[KIND], table[SIZE], table[LONGEST]
    D = (size + W - 1) // W * W
    row_k, row_v, _, _, row_q, _, row_qt, _, row_o, row_p, _, factor, ends, _, kept = _rows_alone(longest, D, W)
    begin, whole = offsets_k[b], offsets_k[b + 1] - offsets_k[b]
    begin_q, queries = offsets_q[b], offsets_q[b + 1] - offsets_q[b]
    _take(s, row_k, D, _at(table, K, lead, begin, h), table[K + 2], whole, size)
    _take(s, row_v, D, _at(table, V, lead, begin, h), table[V + 2], whole, size)
    for i in range(begin_q, offsets_q[b + 1], W):
        count = min(W, offsets_q[b + 1] - i)
        first, keys = _seen(table, queries, whole, i - begin_q, count)
        _take(s, row_q, D, _at(table, Q, lead, i, h), table[Q + 2], count, size)
        _turn(s, row_q, D, row_qt)
        _multiply(s, keys, row_p, W, row_k, D, UNIT, row_qt, W, size, AFRESH)
        _scaled(s, table, row_p, keys, scale, lead, b, begin, h)
        _past(s, row_p, first, keys, F(-np.inf))
        if table[SINK]:
            _row(s, table, SINK, lead, i, h, count, ends)
        _weigh(s, row_p, keys, kind, table[TOP], table[SINK] != 0, factor, ends, kept)
        for d in range(0, D, W):
            _multiply_past(s, count, row_o + d, D, row_p, row_v + d, D, first, keys)
        _give(s, row_o, D, factor, UNIT, _at(table, OUT, lead, i, h), table[OUT + 2], count, size)
        if kind != SIGMOID:
            for l in range(count):
                set_one(s, _at(table, LSE, lead, i + l, h), s[ends + l])


@_inner
def _added(s, table, tensor, lead, row, h, x):
    """Adds a number to one of a tensor."""
    at = _at(table, tensor, lead, row, h)
    set_one(s, at, one_of(s, at) + x)


@njit(inline="always", **OPTIONS)
def _backward_alone(s, table, scale, offsets_q, offsets_k, lead, b, h):
    W, F = _width(s), s.dtype.type
    kind, size, longest = table[KIND], table[SIZE], table[LONGEST]
    D = (size + W - 1) // W * W
    rows = _rows_alone(longest, D, W)
    row_k, row_v, row_dk, row_dv, row_q, row_g, row_qt, row_gt, row_dq, row_p, row_ds, factor, ends, gap, kept = rows
    begin, whole = offsets_k[b], offsets_k[b + 1] - offsets_k[b]
    begin_q, queries = offsets_q[b], offsets_q[b + 1] - offsets_q[b]
    _take(s, row_k, D, _at(table, K, lead, begin, h), table[K + 2], whole, size)
    _take(s, row_v, D, _at(table, V, lead, begin, h), table[V + 2], whole, size)
    if queries == 0 or table[CAUSAL]:
        for n in range(row_dk, row_dk + whole * D):
            s[n] = s[n - row_dk + row_dv] = F(0)
    for i in range(begin_q, offsets_q[b + 1], W):
        count = min(W, offsets_q[b + 1] - i)
        first, keys = _seen(table, queries, whole, i - begin_q, count)
        onto = i > begin_q or table[CAUSAL] != 0
        _take(s, row_q, D, _at(table, Q, lead, i, h), table[Q + 2], count, size)
        _turn(s, row_q, D, row_qt)
        _take(s, row_g, D, _at(table, OUT_GRAD, lead, i, h), table[OUT_GRAD + 2], count, size)
        _turn(s, row_g, D, row_gt)
        _multiply(s, keys, row_p, W, row_k, D, UNIT, row_qt, W, size, AFRESH)
        _multiply(s, keys, row_ds, W, row_v, D, UNIT, row_gt, W, size, AFRESH)
        _scaled(s, table, row_p, keys, scale, lead, b, begin, h)
        _past(s, row_p, first, keys, F(-np.inf))
        _past(s, row_ds, first, keys, F(0))
        _row(s, table, LSE, lead, i, h, count, ends)
        _row(s, table, LSE_GRAD, lead, i, h, count if table[LSE_GRAD] else 0, gap)
        _weigh_back(s, row_p, row_ds, keys, kind, table[TOP], ends, gap, kept)
        if table[SINK_GRAD]:
            _row(s, table, SINK, lead, i, h, count, factor)
            put(s, factor, exp(get(s, factor) - get(s, ends)) * get(s, gap))
            for l in range(count):
                set_one(s, _at(table, SINK_GRAD, lead, i + l, h), s[factor + l])
        if table[KEY_BIAS_GRAD]:
            for n in range(keys):
                for l in range(count):
                    _added(s, table, KEY_BIAS_GRAD, lead, begin + n, h, s[row_ds + n * W + l])
        if table[BIAS_GRAD]:
            for l in range(count):
                for n in range(keys):
                    _added(s, table, BIAS_GRAD, lead, b, h, s[row_ds + n * W + l])
        for d in range(0, D, W):
            _multiply(s, keys, row_dv + d, D, row_p, W, UNIT, row_g + d, D, count, onto)
            _multiply(s, keys, row_dk + d, D, row_ds, W, UNIT, row_q + d, D, count, onto)
            _multiply_past(s, count, row_dq + d, D, row_ds, row_k + d, D, first, keys)
        s[factor] = F(scale)
        _give(s, row_dq, D, factor, 0 * UNIT, _at(table, Q_GRAD, lead, i, h), table[Q_GRAD + 2], count, size)
    s[factor], s[ends] = F(scale), F(1)
    _give(s, row_dk, D, factor, 0 * UNIT, _at(table, K_GRAD, lead, begin, h), table[K_GRAD + 2], whole, size)
    _give(s, row_dv, D, ends, 0 * UNIT, _at(table, V_GRAD, lead, begin, h), table[V_GRAD + 2], whole, size)


# --- small sets of one size, (set, head) in lanes ---------------------------------------------------------------------

OF_SET, OF_HEAD, OF_ROWS, PLACES = np.arange(4)


@_inner
def _lanes(places, table, b, first, count, W):
    """Which set and head each lane has. Lanes to spare do the last one again."""
    at, h = b + first // table[HEADS], first % table[HEADS]
    for l in range(W):
        places[OF_SET * W + l], places[OF_HEAD * W + l] = at, h
        if l < count - 1:
            h += 1
            if h == table[HEADS]:
                at, h = at + 1, 0


@_inner
def _find(places, table, tensor, lead, offsets, W):
    """Where each lane's set and head begin in a tensor."""
    for l in range(W):
        places[OF_ROWS * W + l] = _at(table, tensor, lead, offsets[places[l]], places[OF_HEAD * W + l])


@_inner
def _from_lanes(s, to, places, table, tensor, lead, offsets, rows):
    """Rows of a tensor, a set and head in each lane: s[to + (i D + d) LANES + l]."""
    W = _width(s)
    size, step = table[SIZE], table[tensor + 2]
    D = (size + W - 1) // W * W
    _find(places, table, tensor, lead, offsets, W)
    ahead = W // table[HEADS] * rows * step
    for i in range(rows):
        d = 0
        while d + W <= size:
            for l in range(W):
                soon(s, places[OF_ROWS * W + l] + i * step + d + ahead)
            _turn_from(places, OF_ROWS * W, i * step + d, s, to + (i * D + d) * W)
            d += W
        for e in range(d, size):
            for l in range(W):
                s[to + (i * D + e) * W + l] = one_of(s, places[OF_ROWS * W + l] + i * step + e)


@_inner
def _into_lanes(s, begin, places, table, tensor, lead, offsets, rows):
    """The way back."""
    W = _width(s)
    size, step = table[SIZE], table[tensor + 2]
    D = (size + W - 1) // W * W
    _find(places, table, tensor, lead, offsets, W)
    ahead = W // table[HEADS] * rows * step
    for i in range(rows):
        d = 0
        while d + W <= size:
            for l in range(W):
                soon(s, places[OF_ROWS * W + l] + i * step + d + ahead)
            _turn_into(s, begin + (i * D + d) * W, places, OF_ROWS * W, i * step + d)
            d += W
        for e in range(d, size):
            for l in range(W):
                set_one(s, places[OF_ROWS * W + l] + i * step + e, s[begin + (i * D + e) * W + l])


@_inner
def _row_of_lanes(s, places, table, tensor, lead, offsets, i, to):
    """A number of row i of each lane's set."""
    W = _width(s)
    for l in range(W):
        s[to + l] = one_of(s, _at(table, tensor, lead, offsets[places[l]] + i, places[OF_HEAD * W + l]))


@_inner
def _score(s, places, table, offsets_k, lead, rows, queries, keys, scale):
    """Scores of all queries and keys, lane by lane."""
    W, F = _width(s), s.dtype.type
    size = table[SIZE]
    D = (size + W - 1) // W * W
    q, k, p, added = rows
    _cross(s, queries, keys, p, keys * W, W, q, D * W, W, k, D * W, W, size, AFRESH)
    for n in range(keys):
        put(s, added + n * W, every(s, F(0)))
    if table[BIAS] or table[KEY_BIAS]:
        for l in range(W):
            b, h = places[l], places[OF_HEAD * W + l]
            shift = one_of(s, _at(table, BIAS, lead, b, h)) if table[BIAS] else F(0)
            for n in range(keys):
                add = one_of(s, _at(table, KEY_BIAS, lead, offsets_k[b] + n, h)) if table[KEY_BIAS] else F(0)
                s[added + n * W + l] = shift + add
    times = every(s, F(scale))
    for i in range(queries):
        for n in range(keys):
            at = p + (i * keys + n) * W
            put(s, at, fused(get(s, at), times, get(s, added + n * W)))


@_inner
def _times(s, begin, rows, factor):
    W = _width(s)
    times = get(s, factor)
    for i in range(rows):
        put(s, begin + i * W, get(s, begin + i * W) * times)


@_pasted
def _rows_together(queries, keys, D, W):
    """Where q, k, v, g, p, ds, what is added to scores, factors and single rows stand."""
    k = queries * D * W
    v, g = k + keys * D * W, k + 2 * keys * D * W
    p = g + queries * D * W
    added = p + 2 * queries * keys * W
    factor = added + keys * W
    ends = factor + queries * W
    return np.int64(0), k, v, g, p, p + queries * keys * W, added, factor, ends, ends + W, ends + 2 * W


@njit(inline="always", **OPTIONS)
def _forward_together(s, places, table, scale, offsets_q, offsets_k, lead, b, count):
    """Out and lse of the sets and heads in lanes, all as large as set b; the first `count` lanes count."""
    W = _width(s)
    queries, keys = offsets_q[b + 1] - offsets_q[b], offsets_k[b + 1] - offsets_k[b]
    kind, size = table[KIND], table[SIZE]
    D = (size + W - 1) // W * W
    row_q, row_k, row_v, _, row_p, _, added, factor, ends, _, kept = _rows_together(queries, keys, D, W)
    _from_lanes(s, row_q, places, table, Q, lead, offsets_q, queries)
    _from_lanes(s, row_k, places, table, K, lead, offsets_k, keys)
    _from_lanes(s, row_v, places, table, V, lead, offsets_k, keys)
    _score(s, places, table, offsets_k, lead, (row_q, row_k, row_p, added), queries, keys, scale)
    for i in range(queries):
        if table[SINK]:
            _row_of_lanes(s, places, table, SINK, lead, offsets_q, i, ends)
        p = row_p + i * keys * W
        _weigh(s, p, keys, kind, table[TOP], table[SINK] != 0, factor + i * W, ends, kept)
        if kind != SIGMOID:
            for l in range(count):
                at = _at(table, LSE, lead, offsets_q[places[l]] + i, places[OF_HEAD * W + l])
                set_one(s, at, s[ends + l])
    _cross(s, queries, size, row_q, D * W, W, row_p, keys * W, W, row_v, W, D * W, keys, AFRESH)
    for i in range(queries):
        _times(s, row_q + i * D * W, size, factor + i * W)
    _into_lanes(s, row_q, places, table, OUT, lead, offsets_q, queries)


@njit(inline="always", **OPTIONS)
def _backward_together(s, places, table, scale, offsets_q, offsets_k, lead, b, count):
    W, F = _width(s), s.dtype.type
    queries, keys = offsets_q[b + 1] - offsets_q[b], offsets_k[b + 1] - offsets_k[b]
    kind, size = table[KIND], table[SIZE]
    D = (size + W - 1) // W * W
    row_q, row_k, row_v, row_g, row_p, row_ds, added, factor, ends, gap, kept = _rows_together(queries, keys, D, W)
    _from_lanes(s, row_q, places, table, Q, lead, offsets_q, queries)
    _from_lanes(s, row_k, places, table, K, lead, offsets_k, keys)
    _from_lanes(s, row_v, places, table, V, lead, offsets_k, keys)
    _from_lanes(s, row_g, places, table, OUT_GRAD, lead, offsets_q, queries)
    _score(s, places, table, offsets_k, lead, (row_q, row_k, row_p, added), queries, keys, scale)
    _cross(s, queries, keys, row_ds, keys * W, W, row_g, D * W, W, row_v, D * W, W, size, AFRESH)
    for i in range(queries):
        p, ds = row_p + i * keys * W, row_ds + i * keys * W
        _row_of_lanes(s, places, table, LSE, lead, offsets_q, i, ends)
        put(s, gap, every(s, F(0)))
        if table[LSE_GRAD]:
            _row_of_lanes(s, places, table, LSE_GRAD, lead, offsets_q, i, gap)
        _weigh_back(s, p, ds, keys, kind, table[TOP], ends, gap, kept)
        if table[SINK_GRAD]:
            _row_of_lanes(s, places, table, SINK, lead, offsets_q, i, factor)
            put(s, factor, exp(get(s, factor) - get(s, ends)) * get(s, gap))
            for l in range(count):
                at = _at(table, SINK_GRAD, lead, offsets_q[places[l]] + i, places[OF_HEAD * W + l])
                set_one(s, at, s[factor + l])
        for l in range(count):
            if table[KEY_BIAS_GRAD]:
                for n in range(keys):
                    at = offsets_k[places[l]] + n
                    _added(s, table, KEY_BIAS_GRAD, lead, at, places[OF_HEAD * W + l], s[ds + n * W + l])
            if table[BIAS_GRAD]:
                for n in range(keys):
                    _added(s, table, BIAS_GRAD, lead, places[l], places[OF_HEAD * W + l], s[ds + n * W + l])
    # each takes the place of what is not needed any more
    _cross(s, keys, size, row_v, D * W, W, row_p, W, keys * W, row_g, W, D * W, queries, AFRESH)
    _cross(s, queries, size, row_g, D * W, W, row_ds, keys * W, W, row_k, W, D * W, keys, AFRESH)
    _cross(s, keys, size, row_k, D * W, W, row_ds, W, keys * W, row_q, W, D * W, queries, AFRESH)
    put(s, factor, every(s, F(scale)))
    _times(s, row_g, queries * D, factor)
    _times(s, row_k, keys * D, factor)
    _into_lanes(s, row_g, places, table, Q_GRAD, lead, offsets_q, queries)
    _into_lanes(s, row_k, places, table, K_GRAD, lead, offsets_k, keys)
    _into_lanes(s, row_v, places, table, V_GRAD, lead, offsets_k, keys)


# --- all sets ---------------------------------------------------------------------------------------------------------

FEW, SHORT = 8, 256
"""Queries and keys of a small set, at most, and numbers of them all: beyond, lanes of queries are as fast."""


@_inner
def _run(offsets_q, offsets_k, b, last):
    """Where the sets end that have as many queries and keys as set b."""
    queries, keys = offsets_q[b + 1] - offsets_q[b], offsets_k[b + 1] - offsets_k[b]
    end = b + 1
    while end < last and offsets_q[end + 1] - offsets_q[end] == queries and offsets_k[end + 1] - offsets_k[end] == keys:
        end += 1
    return end, queries, keys


def _over_sets(alone, together):
    @njit(inline="always", **OPTIONS)
    def over(table, scale, offsets_q, offsets_k, s, places, lead, first, last):
        W, heads = _width(s), table[HEADS]
        b = first
        while b < last:
            end, queries, keys = _run(offsets_q, offsets_k, b, last)
            pairs = (end - b) * heads
            short = 0 < queries <= FEW and 0 < keys <= FEW and (queries + keys) * table[SIZE] <= SHORT
            if short and not table[CAUSAL] and 2 * pairs >= W:
                for pair in range(0, pairs, W):
                    count = min(W, pairs - pair)
                    _lanes(places, table, b, pair, count, W)
                    together(s, places, table, scale, offsets_q, offsets_k, lead, b, count)
            else:
                for each in range(b, end):
                    for h in range(heads):
                        alone(s, table, scale, offsets_q, offsets_k, lead, each, h)
            b = end

    return over


_forward_sets = _over_sets(_forward_alone, _forward_together)
_backward_sets = _over_sets(_backward_alone, _backward_together)


@_pasted
def _before(s, table, lead, begin, rows, room):
    """Queries, keys and values of some rows into `room`, from where the sets' loops take them."""
    inputs, inner = table[WIDTHS], table[HEADS] * table[SIZE]
    x, weight, bias = _at(table, X, lead, begin, 0), _at(table, INWARD, lead, 0, 0), _at(table, INWARD_BIAS, lead, 0, 0)
    _product(s, x, table[X + 2], weight, table[INWARD + 2], bias, room, 3 * inner, rows, inputs, 3 * inner)
    for n in range(3):
        table[Q + 4 * n] = room + n * inner - begin * 3 * inner
        table[Q + 4 * n + 1], table[Q + 4 * n + 2], table[Q + 4 * n + 3] = 0, 3 * inner, table[SIZE]
    out = room + rows * 3 * inner
    table[OUT], table[OUT + 1], table[OUT + 2], table[OUT + 3] = out - begin * inner, 0, inner, table[SIZE]
    lse = out + rows * inner
    table[LSE], table[LSE + 1], table[LSE + 2], table[LSE + 3] = lse - begin * table[HEADS], 0, table[HEADS], 1
    return out


@cached(njit, nogil=True)
def forward(table, scale, offsets_q, offsets_k, s, places):
    """Out and lse of all sets of the table; arrays are offsets, scratch and where lanes are.

    Where the table has X, between two products, piece by piece: x to y without a q, k, v or out in memory.
    """
    inner = table[HEADS] * table[SIZE]
    for lead in range(table[LEADS]):
        first = table[FIRST]
        while first < table[LAST]:
            last, out = table[LAST], table[X]
            begin, rows = offsets_q[first], np.int64(0)
            if table[X]:
                last = first + 1
                while last < table[LAST] and offsets_q[last + 1] - begin <= table[WIDTHS + 2]:
                    last += 1
                rows = offsets_q[last] - begin
                out = _before(s, table, lead, begin, rows, table[WIDTHS + 3])
            _forward_sets(table, scale, offsets_q, offsets_k, s, places, lead, first, last)
            if table[X]:
                y, weight = _at(table, Y, lead, begin, 0), _at(table, OUTWARD, lead, 0, 0)
                bias, outputs = _at(table, OUTWARD_BIAS, lead, 0, 0), table[WIDTHS + 1]
                _product(s, out, inner, weight, table[OUTWARD + 2], bias, y, table[Y + 2], rows, inner, outputs)
            first = last


@cached(njit, nogil=True)
def backward(table, scale, offsets_q, offsets_k, s, places):
    """Gradients of what went into `forward`; probabilities are computed again from lse."""
    for lead in range(table[LEADS]):
        _backward_sets(table, scale, offsets_q, offsets_k, s, places, lead, table[FIRST], table[LAST])


def scratch(longest, size, top, dtype):
    """What one thread works in, from a multiple of 64 bytes on, and where its lanes are."""
    W = LANES[types.float32 if np.dtype(dtype) == np.float32 else types.float64]
    D = (size + W - 1) // W * W
    alone = 4 * longest * D + 5 * W * D + 2 * longest * W
    together = (4 * FEW * D + 2 * FEW * FEW + 2 * FEW) * W if 2 * size <= SHORT else 0
    some = np.zeros(max(alone, together) + (4 + top) * W + 16, dtype)
    begin = -some.ctypes.data % 64 // some.itemsize
    return some[begin:], np.zeros(PLACES * W, np.int64)
