"""Sixteen numbers at a time: a small vector type for numba, so that speed does not hang on the auto-vectoriser.

Each function below is one LLVM vector instruction over WIDTH neighbouring elements; LLVM maps it to what the processor has.
A flat array and an offset name the elements; nothing is bounds-checked. Kernels use LANES elements (sequences) per block.
"""

import math

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

WIDTH = 16
LANES = 64

# without reference counts, which would be taken at every call in a loop: kernels get all room from outside
kernel = numba.njit(cache=True, error_model="numpy", _nrt=False)
# the same for what only kernels call
inner = numba.njit(cache=True, error_model="numpy", _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def square_of(dtype):
    """Numbers in 64 bytes."""
    return 512 // dtype.bitwidth


class Vector(types.Type):
    """WIDTH elements of `dtype`, held in registers."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        element = ir.IntType(1) if kind.dtype == types.boolean else manager.lookup(kind.dtype).get_value_type()
        super().__init__(manager, kind, ir.VectorType(element, WIDTH))


def _integer(dtype):
    return types.int32 if dtype.bitwidth == 32 else types.int64


def _format(dtype):  # mantissa bits and exponent bias
    return (23, 127) if dtype.bitwidth == 32 else (52, 1023)


def _pointer(context, builder, kind, array, offset):
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), ir.VectorType(data.type.pointee, WIDTH).as_pointer())


def _spread(builder, value):
    one = builder.insert_element(ir.Constant(ir.VectorType(value.type, WIDTH), ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH))


def _whole(dtype, number):
    return ir.Constant(ir.VectorType(ir.IntType(dtype.bitwidth), WIDTH), [number] * WIDTH)


@intrinsic
def load(typing, array, offset):
    def code(context, builder, signature, args):
        out = builder.load(_pointer(context, builder, signature.args[0], *args))
        out.align = array.dtype.bitwidth // 8
        return out

    return Vector(array.dtype)(array, types.intp), code


@intrinsic
def store(typing, array, offset, value):
    def code(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
        builder.store(args[2], pointer).align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, value), code


@intrinsic
def splat(typing, value):
    """The same number in every element."""

    def code(context, builder, signature, args):
        return _spread(builder, args[0])

    return Vector(value)(value), code


@intrinsic
def mul(typing, a, b):
    def code(context, builder, signature, args):
        return builder.fmul(*args, flags=("contract",))

    return a(a, a), code


@intrinsic
def add(typing, a, b):
    def code(context, builder, signature, args):
        return (builder.add if isinstance(a.dtype, types.Integer) else builder.fadd)(*args)

    return a(a, a), code


@intrinsic
def sub(typing, a, b):
    def code(context, builder, signature, args):
        return builder.fsub(*args)

    return a(a, a), code


@intrinsic
def div(typing, a, b):
    def code(context, builder, signature, args):
        return builder.fdiv(*args)

    return a(a, a), code


@intrinsic
def fma(typing, a, b, c):
    """a·b + c, in one rounding where the processor can."""

    def code(context, builder, signature, args):
        return builder.fadd(builder.fmul(args[0], args[1], flags=("contract",)), args[2], flags=("contract",))

    return a(a, a, a), code


@intrinsic
def equals(typing, codes, value):
    """Elements of an unsigned vector that equal one number."""

    def code(context, builder, signature, args):
        return builder.icmp_unsigned("==", args[0], _spread(builder, args[1]))

    return Vector(types.boolean)(codes, codes.dtype), code


@intrinsic
def above(typing, a, b):
    """a > b; false where either is NaN."""

    def code(context, builder, signature, args):
        return builder.fcmp_ordered(">", *args)

    return Vector(types.boolean)(a, a), code


@intrinsic
def pick(typing, mask, a, b):
    """a where the mask is true, b elsewhere."""

    def code(context, builder, signature, args):
        return builder.select(*args)

    return a(mask, a, a), code


@intrinsic
def widen(typing, a):
    """The same numbers in float64."""

    def code(context, builder, signature, args):
        if a.dtype.bitwidth == 64:
            return args[0]
        return builder.fpext(args[0], ir.VectorType(ir.DoubleType(), WIDTH))

    return Vector(types.float64)(a), code


@intrinsic
def exponent(typing, a):
    """floor(log2 a) of positive numbers, as integers; minus the bias for zero."""
    mantissa, bias = _format(a.dtype)

    def code(context, builder, signature, args):
        bits = builder.bitcast(args[0], ir.VectorType(ir.IntType(a.dtype.bitwidth), WIDTH))
        return builder.sub(builder.lshr(bits, _whole(a.dtype, mantissa)), _whole(a.dtype, bias))

    return Vector(_integer(a.dtype))(a), code


@intrinsic
def power(typing, dtype_of, whole):
    """2^-n for whole n, in the float type of `dtype_of`; n must stay within the normal exponents."""
    mantissa, bias = _format(dtype_of.dtype)

    def code(context, builder, signature, args):
        bits = builder.shl(builder.sub(_whole(dtype_of.dtype, bias), args[1]), _whole(dtype_of.dtype, mantissa))
        return builder.bitcast(bits, args[0].type)

    return dtype_of(dtype_of, whole), code


@intrinsic
def exponential(typing, a):
    """e^a for a <= 0, within two units in the last place; 0 below the normal numbers.

    a = n ln 2 + r with whole n and |r| <= ln(2)/2; e^r by its Taylor sum; n is added to the exponent bits.
    """
    mantissa, bias = _format(a.dtype)
    terms, high = (8, 0.693359375) if a.dtype.bitwidth == 32 else (14, 0.6931471803691238)
    low = -2.12194440054690583e-4 if a.dtype.bitwidth == 32 else 1.90821492927058770e-10
    least = -(bias - 2) * math.log(2)

    def code(context, builder, signature, args):
        def constant(number):
            return ir.Constant(args[0].type, [number] * WIDTH)

        def fused(x, y, z):
            return builder.fadd(builder.fmul(x, y, flags=("contract",)), z, flags=("contract",))

        whole = ir.VectorType(ir.IntType(a.dtype.bitwidth), WIDTH)
        vanishes = builder.fcmp_ordered("<", args[0], constant(least))
        x = builder.select(vanishes, constant(least), args[0])
        magic = constant(1.5 * 2.0**mantissa)
        shifted = fused(x, constant(1 / math.log(2)), magic)
        n = builder.fsub(shifted, magic)
        r = fused(n, constant(-low), fused(n, constant(-high), x))
        total = constant(1 / math.factorial(terms - 1))
        for k in range(terms - 2, -1, -1):
            total = fused(total, r, constant(1 / math.factorial(k)))
        moved = builder.shl(builder.bitcast(shifted, whole), _whole(a.dtype, mantissa))
        scaled = builder.bitcast(builder.add(builder.bitcast(total, whole), moved), args[0].type)
        return builder.select(vanishes, constant(0.0), scaled)

    return a(a), code


@intrinsic
def take(typing, array, offset):
    """One element, the offset not wrapped round."""

    def code(context, builder, signature, args):
        return builder.load(builder.gep(context.make_array(signature.args[0])(context, builder, args[0]).data, [args[1]]))

    return array.dtype(array, types.intp), code


@intrinsic
def put(typing, array, offset, value):
    """Set one element, the offset not wrapped round."""

    def code(context, builder, signature, args):
        builder.store(args[2], builder.gep(context.make_array(signature.args[0])(context, builder, args[0]).data, [args[1]]))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), code


@intrinsic
def expect(typing, array, offset):
    """Ask for the cache line of one element, to be written soon."""

    def code(context, builder, signature, args):
        place = builder.gep(context.make_array(signature.args[0])(context, builder, args[0]).data, [args[1]])
        place = builder.bitcast(place, ir.IntType(8).as_pointer())
        whole = ir.IntType(32)
        fetch = builder.module.declare_intrinsic(
            "llvm.prefetch", [place.type], ir.FunctionType(ir.VoidType(), [place.type, *[whole] * 3])
        )
        builder.call(fetch, [place, whole(1), whole(3), whole(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), code


def _transposed(builder, rows):
    """Rounds of the perfect shuffle: interleave the first half of the rows with the second."""
    wide = len(rows)
    half = wide // 2
    masks = [
        ir.Constant(ir.VectorType(ir.IntType(32), wide), [k // 2 + begin + (k % 2) * wide for k in range(wide)])
        for begin in (0, half)
    ]
    for _ in range(wide.bit_length() - 1):
        pairs = [(rows[i], rows[i + half]) for i in range(half)]
        rows = [builder.shuffle_vector(a, b, mask) for a, b in pairs for mask in masks]
    return rows


@intrinsic
def transpose(typing, source, offsets, first, shift, target, to):
    """WIDTH stretches of WIDTH elements, beginning at offsets[first + r] + shift, as columns of rows LANES apart at `to`."""

    def code(context, builder, signature, args):
        places = context.make_array(signature.args[1])(context, builder, args[1]).data
        rows = []
        for r in range(WIDTH):
            place = builder.load(builder.gep(places, [builder.add(args[2], ir.IntType(64)(r))]))
            row = builder.load(_pointer(context, builder, signature.args[0], args[0], builder.add(place, args[3])))
            row.align = source.dtype.bitwidth // 8
            rows.append(row)
        for r, row in enumerate(_transposed(builder, rows)):
            at = builder.add(args[5], ir.IntType(64)(r * LANES))
            builder.store(row, _pointer(context, builder, signature.args[4], args[4], at)).align = source.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(source, offsets, types.intp, types.intp, target, types.intp), code


@intrinsic
def scatter(typing, source, at, target, places, first, shift):
    """A square of `source`, its rows LANES apart from `at`, into `target`: column r to places[first + r] + shift onwards.

    The square is as wide as `square_of` says: then it fits the registers and each column is a cache line.
    """
    wide = square_of(source.dtype)

    def code(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        out = context.make_array(signature.args[2])(context, builder, args[2]).data
        spots = context.make_array(signature.args[3])(context, builder, args[3]).data
        row = ir.VectorType(data.type.pointee, wide).as_pointer()
        rows = []
        for r in range(wide):
            rows.append(
                builder.load(builder.bitcast(builder.gep(data, [builder.add(args[1], ir.IntType(64)(r * LANES))]), row))
            )
            rows[-1].align = source.dtype.bitwidth // 8
        for r, column in enumerate(_transposed(builder, rows)):
            place = builder.load(builder.gep(spots, [builder.add(args[4], ir.IntType(64)(r))]))
            pointer = builder.bitcast(builder.gep(out, [builder.add(place, args[5])]), row)
            builder.store(column, pointer).align = source.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(source, types.intp, target, places, types.intp, types.intp), code
