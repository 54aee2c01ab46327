"""
Vectors of neighbouring numbers, which a kernel handles like one number.

LLVM makes vectors of long loops by itself; of short ones, of sums and of what stands between
branches it makes few. Here a kernel says what it wants. A vector comes from `load` or `splat` or,
where ``T = type(x)``, from ``T(0.5)``; it takes + - * /, abs and < > >=. The functions of
`elementary` and `activations` choose by `select`, and so serve numbers and vectors alike.

Each operation has a function which says what LLVM shall do, and a Python body of the same
meaning, for interpreted kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from llvmlite import ir
from numba import types

from jitprop_kernels._jit import INTERPRETED, intrinsic
from jitprop_kernels._types import Array, Scalar, Width
from jitprop_kernels.arrays import Flat, pointer
from jitprop_kernels.llvm_terms import by_llvm, integers, splat_value
from jitprop_kernels.sizes import NARROW_BYTES, VECTOR_BYTES, WIDE_BYTES
from jitprop_kernels.vectors import VectorType

F = TypeVar("F", bound=Callable[..., Any])


class Vector(np.ndarray[Any, Any]):
    """A vector in interpreted kernels."""

    kind: type[Any]
    bytes: int = VECTOR_BYTES

    def __new__(cls, value: Any) -> Vector:
        """Fill all lanes with one value."""
        return np.full(cls.bytes // cls.kind().itemsize, value, cls.kind).view(cls)

    def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
        """Make a new vector, as of numbers: two names may stand for this one."""
        return self + other


class Vector32(Vector):
    """8 numbers of float32."""

    kind = np.float32


class Vector64(Vector):
    """4 numbers of float64."""

    kind = np.float64


class Quad32(Vector32):
    """32 numbers of float32."""

    bytes = 4 * VECTOR_BYTES


class Quad64(Vector64):
    """16 numbers of float64."""

    bytes = 4 * VECTOR_BYTES


class Narrow32(Vector32):
    """4 numbers of float32."""

    bytes = NARROW_BYTES


class Narrow64(Vector64):
    """2 numbers of float64."""

    bytes = NARROW_BYTES


class Wide32(Vector32):
    """16 numbers of float32."""

    bytes = WIDE_BYTES


class Wide64(Vector64):
    """8 numbers of float64."""

    bytes = WIDE_BYTES


class Four32(Vector32):
    """64 numbers of float32."""

    bytes = 4 * WIDE_BYTES


class Four64(Vector64):
    """32 numbers of float64."""

    bytes = 4 * WIDE_BYTES


VECTORS = {np.dtype(vector.kind): vector for vector in (Vector32, Vector64)}
WIDE_VECTORS = {np.dtype(vector.kind): vector for vector in (Wide32, Wide64)}
NARROW_VECTORS = {np.dtype(vector.kind): vector for vector in (Narrow32, Narrow64)}
FOUR_VECTORS = {
    Vector32: Quad32,
    Vector64: Quad64,
    Narrow32: Wide32,
    Narrow64: Wide64,
    Wide32: Four32,
    Wide64: Four64,
}


def _vector(dtype: Any, size: int = VECTOR_BYTES) -> VectorType:
    return VectorType(dtype, size * 8 // dtype.bitwidth)


def compiled(native: Callable[..., Any]) -> Callable[[F], F]:
    """Compile a function to ``native``; interpreted, its own body runs."""

    def decorate(function: F) -> F:
        return function if INTERPRETED else cast(F, intrinsic(native))

    return decorate


def _vector_at(context: Any, builder: Any, kind: Any, args: Any, vector: Any) -> tuple[Any, int]:
    """Pointer to the vector that begins at ``array[at]``, the first args, and its alignment."""
    array, at = args[:2]
    kind_of_pointer = context.get_data_type(vector).as_pointer()
    found = builder.bitcast(pointer(context, builder, kind, array, at), kind_of_pointer)
    return found, kind.dtype.bitwidth // 8


def _loaded(array: Any, vector: VectorType) -> Any:
    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer, align = _vector_at(context, builder, sig.args[0], args, vector)
        return builder.load(pointer, align=align)

    return vector(array, types.int64), code


def _load(typing: Any, array: Any, at: Any) -> Any:
    return _loaded(array, _vector(array.dtype))


@compiled(_load)
def load(array: Array, at: int) -> Scalar:
    """The numbers from ``array[at]`` on."""
    vector = VECTORS[array.dtype]
    return array[at : at + vector(0).size].copy().view(vector)


def _load_like(typing: Any, like: Any, array: Any, at: Any) -> Any:
    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer, align = _vector_at(context, builder, sig.args[1], args[1:], sig.args[0])
        return builder.load(pointer, align=align)

    return like(like, array, types.int64), code


@compiled(_load_like)
def load_like(like: Scalar, array: Array, at: int) -> Scalar:
    """As `load`, as many numbers as ``like`` has; of one number, one."""
    if not isinstance(like, Vector):
        return array[at]
    return array[at : at + like.size].copy().view(type(like))


def _store(typing: Any, array: Any, at: Any, x: Any) -> Any:
    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer, align = _vector_at(context, builder, sig.args[0], args, sig.args[2])
        builder.store(args[2], pointer, align=align)
        return context.get_dummy_value()

    return types.void(array, types.int64, x), code


@compiled(_store)
def store(array: Array, at: int, x: Scalar) -> None:
    """Write x from ``array[at]`` on."""
    array[at : at + x.size] = x


def _prefetched(to_write: int) -> Callable[..., Any]:
    def native(typing: Any, array: Any, at: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            pointer, _ = _vector_at(context, builder, sig.args[0], args, _vector(sig.args[0].dtype))
            byte, integer = ir.IntType(8).as_pointer(), ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [byte, integer, integer, integer])
            function = builder.module.declare_intrinsic("llvm.prefetch", (byte,), kind)
            keep_near, is_data = integer(3), integer(1)
            arguments = [builder.bitcast(pointer, byte), integer(to_write), keep_near, is_data]
            builder.call(function, arguments)
            return context.get_dummy_value()

        return types.void(array, types.int64), codegen

    return native


@compiled(_prefetched(0))
def prefetch(array: Array, at: int) -> None:
    """Ask for the cache line of ``array[at]``, which will be read soon; no harm if it is not."""


@compiled(_prefetched(1))
def prefetch_to_write(array: Array, at: int) -> None:
    """The same where it will be written: a store that has to wait keeps all behind it waiting."""


def _skipped(typing: Any, array: Any, n: Any) -> Any:
    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        flat = context.cast(builder, args[0], array, sig.return_type)
        data, size = (builder.extract_value(flat, i) for i in (0, 1))
        flat = builder.insert_value(flat, builder.gep(data, [args[1]]), 0)
        return builder.insert_value(flat, builder.sub(size, args[1]), 1)

    return Flat(array.dtype)(array, types.int64), code


@compiled(_skipped)
def skipped(array: Array, n: int) -> Array:
    """The array without its first n numbers."""
    return array[n:]


def _splatted(typing: Any, x: Any) -> Any:
    result = _vector(x)
    return result(x), lambda context, builder, sig, args: splat_value(
        builder, args[0], result.lanes
    )


@compiled(_splatted)
def splat(x: Scalar) -> Scalar:
    """x in each lane."""
    return VECTORS[x.dtype](x)


def _zeros(typing: Any, width: Any, array: Any) -> Any:
    vector = _vector(array.dtype, NARROW_BYTES if len(width) else WIDE_BYTES)

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(context.get_value_type(vector), [0.0] * vector.lanes)

    return vector(width, array), code


@compiled(_zeros)
def zeros(width: Width, array: Array) -> Scalar:
    """A vector of 0, a lane for each member of a group; the array says of which type."""
    return (NARROW_VECTORS if width else WIDE_VECTORS)[array.dtype](0.0)


def _lanes(typing: Any, array: Any) -> Any:
    n = _vector(array.dtype).lanes
    return types.int64(array), lambda context, builder, sig, args: ir.IntType(64)(n)


def _size(typing: Any, x: Any) -> Any:
    n = getattr(x, "lanes", 1)
    return types.int64(x), lambda context, builder, sig, args: ir.IntType(64)(n)


@compiled(_size)
def size_of(x: Scalar) -> int:
    """How many numbers a vector has; 1 for a number."""
    return int(x.size)


def _four_of(typing: Any, x: Any) -> Any:
    return VectorType(x.dtype, 4 * x.lanes)(x), _repeated


def _spread(typing: Any, like: Any, x: Any) -> Any:
    return like(like, x), _repeated


def _repeated(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    x, n = sig.args[-1], sig.return_type.lanes
    return builder.shuffle_vector(args[-1], args[-1], integers([i % x.lanes for i in range(n)]))


@compiled(_four_of)
def four_of(x: Scalar) -> Scalar:
    """A vector of a group beside itself, four times."""
    return np.tile(x, 4).view(FOUR_VECTORS[type(x)])


@compiled(_spread)
def spread(like: Scalar, x: Scalar) -> Scalar:
    """A vector beside itself, as often as ``like`` has room for it."""
    return np.tile(x, like.size // x.size).view(type(like))


def _beside(builder: Any, vectors: Any) -> Any:
    """Four vectors as one."""
    n = vectors[0].type.count
    pairs = [
        builder.shuffle_vector(*vectors[i : i + 2], integers(list(range(2 * n)))) for i in (0, 2)
    ]
    return builder.shuffle_vector(*pairs, integers(list(range(4 * n))))


def _four_beside(typing: Any, x0: Any, x1: Any, x2: Any, x3: Any) -> Any:
    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _beside(builder, args)

    return VectorType(x0.dtype, 4 * x0.lanes)(x0, x0, x0, x0), code


@compiled(_four_beside)
def four_beside(x0: Scalar, x1: Scalar, x2: Scalar, x3: Scalar) -> Scalar:
    """Four vectors as one."""
    return np.concatenate([x0, x1, x2, x3]).view(FOUR_VECTORS[type(x0)])


def _four_places(context: Any, builder: Any, kind: Any, args: Any, vector: Any) -> Any:
    """Pointers to the vectors that begin ``step`` numbers apart: array, at and step are args."""
    array, at, step = args
    for _ in range(4):
        yield _vector_at(context, builder, kind, (array, at), vector)
        at = builder.add(at, step)


def _load_four(typing: Any, array: Any, at: Any, step: Any) -> Any:
    quarter = _vector(array.dtype)

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        places = _four_places(context, builder, sig.args[0], args, quarter)
        return _beside(builder, [builder.load(place, align=align) for place, align in places])

    return VectorType(array.dtype, 4 * quarter.lanes)(array, types.int64, types.int64), code


@compiled(_load_four)
def load_four(array: Array, at: int, step: int) -> Scalar:
    """The vectors from ``array[at]``, ``array[at + step]`` and so on, four as one."""
    vectors = [load(array, at + i * step) for i in range(4)]
    return np.concatenate(vectors).view(FOUR_VECTORS[type(vectors[0])])


def _store_four(typing: Any, array: Any, at: Any, step: Any, x: Any) -> Any:
    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        n, x = sig.args[3].lanes // 4, args[3]
        vector = VectorType(sig.args[0].dtype, n)
        places = _four_places(context, builder, sig.args[0], args[:3], vector)
        for i, (place, align) in enumerate(places):
            quarter = integers(list(range(i * n, i * n + n)))
            builder.store(builder.shuffle_vector(x, x, quarter), place, align=align)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64, x), code


@compiled(_store_four)
def store_four(array: Array, at: int, step: int, x: Scalar) -> None:
    """Write the quarters of x from ``array[at]``, ``array[at + step]`` and so on."""
    for i, quarter in enumerate(x.reshape(4, -1)):
        array[at + i * step : at + i * step + quarter.size] = quarter


def _folded(typing: Any, like: Any, x: Any) -> Any:
    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _halved(builder, args[1], x.lanes, like.lanes)

    return like(like, x), code


@compiled(_folded)
def folded(like: Scalar, x: Scalar) -> Scalar:
    """The upper half of x onto the lower, until it is as short as ``like``."""
    half = x.size // 2
    return folded(like, x[:half] + x[half:]) if x.size > like.size else x.view(type(like))


def _folded_product(typing: Any, like: Any, x: Any, y: Any) -> Any:
    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if x == like:
            return builder.fmul(*args[1:])
        (x0, x1), (y0, y1) = (_halves(builder, v, x.lanes // 2) for v in args[1:])
        half = by_llvm("fma", builder, x0, y0, builder.fmul(x1, y1))
        return _halved(builder, half, x.lanes // 2, like.lanes)

    return like(like, x, x), code


@compiled(_folded_product)
def folded_product(like: Scalar, x: Scalar, y: Scalar) -> Scalar:
    """`folded` of x y."""
    return folded(like, x * y)


def _fma(typing: Any, x: Any, y: Any, z: Any) -> Any:
    return x(x, x, x), lambda context, builder, sig, args: by_llvm("fma", builder, *args)


@compiled(_fma)
def fma(x: Scalar, y: Scalar, z: Scalar) -> Scalar:
    """
    x y + z, rounded once: of numbers or, lane by lane, of vectors.

    Kernels are compiled so that LLVM fuses no other product with a sum. So processors with such an
    instruction give the same bits, however wide their vectors are. Interpreted, it rounds twice.
    """
    return x * y + z


@compiled(_lanes)
def lanes(array: Array) -> int:
    """How many numbers of the array one vector holds."""
    return VECTOR_BYTES // array.itemsize


def _item_size(typing: Any, array: Any) -> Any:
    n = array.dtype.bitwidth // 8
    return types.int64(array), lambda context, builder, sig, args: ir.IntType(64)(n)


@compiled(_item_size)
def item_size(array: Array) -> int:
    """Bytes of a number of the array."""
    return array.itemsize


def _select(typing: Any, condition: Any, x: Any, y: Any) -> Any:
    return x(condition, x, x), lambda context, builder, sig, args: builder.select(*args)


@compiled(_select)
def select(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, else y: of numbers or, lane by lane, of vectors."""
    if isinstance(x, Vector):
        return np.where(condition, x, y).view(type(x))
    return x if condition else y


def _with_sign_of(typing: Any, z: Any, x: Any) -> Any:
    return x(x, x), lambda context, builder, sig, args: by_llvm("copysign", builder, *args[::-1])


@compiled(_with_sign_of)
def with_sign_of(z: Scalar, x: Scalar) -> Scalar:
    """abs(x) with the sign of z, that of 0 included: of numbers or, lane by lane, of vectors."""
    return np.copysign(x, z)


def _square_root(typing: Any, x: Any) -> Any:
    return x(x), lambda context, builder, sig, args: by_llvm("sqrt", builder, args[0])


@compiled(_square_root)
def square_root(x: Scalar) -> Scalar:
    """Root of a number, or of each lane."""
    return np.sqrt(x)


def _halved(builder: Any, vector: Any, n: int, until: int) -> Any:
    """The upper half of n lanes onto the lower, ``until`` so many are left."""
    while n > until:
        n //= 2
        vector = builder.fadd(*_halves(builder, vector, n))
    return vector


def _halves(builder: Any, vector: Any, n: int) -> list[Any]:
    return [builder.shuffle_vector(vector, vector, integers(list(range(i, i + n)))) for i in (0, n)]


def _lane_sum(typing: Any, x: Any) -> Any:
    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = _halved(builder, args[0], x.lanes, 1)
        return builder.extract_element(vector, ir.IntType(32)(0))

    return x.dtype(x), code


@compiled(_lane_sum)
def lane_sum(x: Scalar) -> Scalar:
    """Sum of the lanes: the upper half onto the lower, until one is left."""
    half = x.size // 2
    return lane_sum(x[:half] + x[half:]) if half else x[0]


def _folded_parts(builder: Any, x: Any, y: Any, n: int) -> Any:
    """Of each n lanes the upper half onto the lower: n lanes of x and n of y in turns."""
    count = x.type.count
    parts = [part for start in range(0, count, n) for part in (start, count + start)]
    sides = ([part + side + i for part in parts for i in range(n // 2)] for side in (0, n // 2))
    return builder.fadd(*(builder.shuffle_vector(x, y, integers(side)) for side in sides))


def _four_sums(typing: Any, x0: Any, x1: Any, x2: Any, x3: Any) -> Any:
    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        n = x0.lanes
        even, odd = (_folded_parts(builder, args[i], args[i + 2], n) for i in (0, 1))
        x = _folded_parts(builder, even, odd, n // 2)
        if n == 8:  # two lanes for each sum
            sides = (integers(list(range(i, n, 2))) for i in (0, 1))
            x = builder.fadd(*(builder.shuffle_vector(x, x, side) for side in sides))
        return x

    return VectorType(x0.dtype, 4)(x0, x0, x0, x0), code


@compiled(_four_sums)
def four_sums(x0: Scalar, x1: Scalar, x2: Scalar, x3: Scalar) -> Scalar:
    """`lane_sum` of each, side by side: the same bits by half the operations."""
    vector = Narrow32 if x0.dtype == np.float32 else Vector64
    return np.array([lane_sum(x) for x in (x0, x1, x2, x3)]).view(vector)


def _first(typing: Any, n: Any, x: Any) -> Any:
    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lane = integers(list(range(x.lanes)), 64)
        kept = builder.icmp_signed("<", lane, splat_value(builder, args[0], x.lanes))
        return builder.select(kept, args[1], ir.Constant(args[1].type, [0.0] * x.lanes))

    return x(types.int64, x), code


@compiled(_first)
def first(n: int, x: Scalar) -> Scalar:
    """x in the first n lanes, 0 in the others."""
    return select(np.arange(x.size) < n, x, type(x)(0.0))


def _widened(typing: Any, x: Any) -> Any:
    result = VectorType(types.float64, x.lanes)

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return args[0] if x == result else builder.fpext(args[0], context.get_data_type(result))

    return result(x), code


@compiled(_widened)
def widened(x: Scalar) -> Scalar:
    """As many lanes of float64."""
    return x.astype(np.float64).view(Vector64)


def _is_single(typing: Any, x: Any) -> Any:
    single = getattr(x, "dtype", x) == types.float32
    return types.boolean(x), lambda context, builder, sig, args: ir.IntType(1)(single)


@compiled(_is_single)
def is_single(x: Any) -> bool:
    """Tell float32 from float64, while compiling."""
    return bool(x.dtype == np.float32)


def _power_of_two(typing: Any, t: Any) -> Any:
    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        single = getattr(t, "dtype", t) == types.float32
        bits = ir.IntType(32 if single else 64)
        shift, bias = bits(23 if single else 52), bits(0x3F800000 if single else 0x3FF << 52)
        if isinstance(t, VectorType):
            bits = ir.VectorType(bits, t.lanes)
            shift, bias = (splat_value(builder, number, t.lanes) for number in (shift, bias))
        moved = builder.shl(builder.bitcast(args[0], bits), shift)
        return builder.bitcast(builder.add(moved, bias), args[0].type)

    return t(t), code


@compiled(_power_of_two)
def power_of_two(t: Any) -> Any:
    """2**k, from t = k + ROUND: the low bits of t move to the exponent. 0 for the lowest k."""
    kind, shift, bias = (
        (np.int32, 23, 0x3F800000) if t.dtype == np.float32 else (np.int64, 52, 0x3FF << 52)
    )
    return ((t.view(kind) << kind(shift)) + kind(bias)).view(t.dtype)


def _reinterpreted(typing: Any, x: Any, dtype: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(sig.return_type))

    return dtype.instance_type(x, dtype), codegen


@compiled(_reinterpreted)
def reinterpret(x: Any, dtype: Any) -> Any:
    """The bits of a number as one of another type; each `x.view` compiles a function for it."""
    return x.view(dtype)
