"""
Blocks of a matrix product and of sums, as kernels call them.

Their code depends on the processor. Here they are declared and called; `by_target` makes it, for
one processor at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from jitprop_kernels._jit import INTERPRETED, intrinsic, read
from jitprop_kernels._types import Array
from jitprop_kernels.arrays import pointer
from jitprop_kernels.by_target import declared_for
from jitprop_kernels.llvm_terms import INT64
from jitprop_kernels.records import Matrix, Part, Product, Sink


def _called(context: Any, builder: Any, name: str, dtype: Any, args: list[Any]) -> Any:
    """Call a function of `by_target` for numbers of this type. Numbers are cast to it."""
    number = context.get_value_type(dtype)
    function = declared_for(builder.module, name, number)
    given = [
        arg if arg.type == kind else builder.fptrunc(arg, kind)
        for arg, kind in zip(args, function.function_type.args, strict=True)
    ]
    return builder.call(function, given)


def _dtype_of(product: Any) -> Any:
    record = getattr(product, "record", product)  # our own compiler hands on a pointer to it
    return record[record.fields.index("C")][0].dtype


@intrinsic
def largest_block(typing_context: Any, product: Any, rows: Any) -> Any:
    """Rows of the largest block of a `Product` that ``rows`` rows have room for."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.args[0]
        given = [args[1]]
        for names in (("width",), ("depth",), ("A", "column")):
            given.append(read(context, builder, kind, args[0], *names)[0])
        return _called(context, builder, "largest_block", _dtype_of(kind), given)

    return types.int64(product, types.int64), codegen


@intrinsic
def block_columns(typing_context: Any, array: Any) -> Any:
    """Columns of the largest block, for the array's type: a constant of the processor's."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _called(context, builder, "block_columns", array.dtype, [])

    return types.int64(array), codegen


@intrinsic
def multiply_block(
    typing_context: Any, product: Any, i: Any, j: Any, rows: Any, columns: Any
) -> Any:
    """
    The ``rows`` and ``columns`` of a `Product` from C[i, j] on, in one block; depth of 1 or more.

    With beta 0, the numbers of D do not count, but with ``times``. The sum runs in the order of the
    depth, whatever the block: how C is cut into blocks does not change a bit.
    """
    integer = types.int64
    signature = types.void(product, integer, integer, integer, integer)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        product, i, j, rows, columns = args
        kind = signature.args[0]

        def number_at(*names: str) -> Any:
            return read(context, builder, kind, product, *names)[0]

        def place(name: str, index: Any) -> Any:
            array, kind_of = read(context, builder, kind, product, name, "array")
            return pointer(
                context, builder, kind_of, array, builder.add(number_at(name, "at"), index)
            )

        row, step, ldb, depth = (
            number_at("A", "row"),
            number_at("A", "column"),
            number_at("B", "row"),
            number_at("depth"),
        )
        ldc, ldd = number_at("C", "row"), number_at("D", "row")
        packed = builder.icmp_signed("==", ldb, INT64(0))
        at_b = builder.select(packed, builder.mul(j, depth), j)
        handed = [
            *[rows, columns, depth, number_at("alpha")],
            *[place("A", builder.mul(i, row)), row, step],
            *[place("B", at_b), builder.select(packed, columns, ldb)],
            *[number_at("beta"), number_at("times")],
            *[place("D", builder.add(builder.mul(i, ldd), j)), ldd],
            *[place("C", builder.add(builder.mul(i, ldc), j)), ldc],
        ]
        _called(context, builder, "multiply_block", _dtype_of(kind), handed)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def sum_columns(
    typing_context: Any, part: Any, at: Any, n: Any, columns: Any, sink: Any, c: Any
) -> Any:
    """
    C <- alpha_bias sums + beta_bias C, of some columns, up to half `block_columns`.

    Row after row, n numbers apart, stands from ``at`` on in the memory of a `Part`, one for each of
    its samples. C is the sink's, from c on.
    """
    integer = types.int64
    signature = types.void(part, integer, integer, integer, sink, integer)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        part, at, n, columns, sink, c = args
        kind, sink_kind = signature.args[0], signature.args[4]
        array, array_kind = read(context, builder, kind, part, "memory")
        target, target_kind = read(context, builder, sink_kind, sink, "array")
        rows = read(context, builder, kind, part, "size")[0]
        begin, alpha, beta = (
            read(context, builder, sink_kind, sink, name)[0]
            for name in ("at", "alpha_bias", "beta_bias")
        )
        source = pointer(context, builder, array_kind, array, at)
        place = pointer(context, builder, target_kind, target, builder.add(begin, c))
        given = [source, n, rows, columns, alpha, beta, place]
        _called(context, builder, "sum_columns", array_kind.dtype, given)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def transpose_block(typing_context: Any, A: Any, a: Any, lda: Any, C: Any, c: Any, ldc: Any) -> Any:
    """C[j, i] <- A[i, j], for i and j up to half of `block_columns`: one vector each."""
    signature = types.void(A, types.int64, types.int64, C, types.int64, types.int64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        A, a, lda, C, c, ldc = args
        places = (
            pointer(context, builder, signature.args[i], array, at)
            for i, array, at in ((0, A, a), (3, C, c))
        )
        source, target = places
        given = [source, lda, target, ldc]
        _called(context, builder, "transpose_block", signature.args[0].dtype, given)
        return context.get_dummy_value()

    return signature, codegen


if INTERPRETED:  # an intrinsic has no Python body

    def largest_block(product: Product, rows: int) -> int:
        return min(rows, 12)

    def block_columns(array: Array) -> int:
        return 32

    def transpose_block(A: Array, a: int, lda: int, C: Array, c: int, ldc: int) -> None:
        for i in range(16):
            for j in range(16):
                C[c + j * ldc + i] = A[a + i * lda + j]

    def multiply_block(product: Product, i: int, j: int, rows: int, columns: int) -> None:
        def matrix(X: Matrix, at: int, height: int, width: int, row: int) -> Array:
            strides = (row * X.array.itemsize, X.column * X.array.itemsize)
            numbers = X.array[X.at + at :]
            return np.lib.stride_tricks.as_strided(numbers, (height, width), strides)

        A, B, C, D, depth = product.A, product.B, product.C, product.D, product.depth
        b, ldb = (j * depth, columns) if B.row == 0 else (j, B.row)
        left = matrix(A, i * A.row, rows, depth, A.row)
        value = left @ matrix(B, b, depth, columns, ldb)
        kept = matrix(D, i * D.row + j, rows, columns, D.row)
        value *= kept if product.times else product.alpha
        if product.beta != 0.0:
            value += product.beta * kept
        matrix(C, i * C.row + j, rows, columns, C.row)[:] = value

    def sum_columns(part: Part, at: int, n: int, columns: int, sink: Sink, c: int) -> None:
        places = at + np.arange(part.size)[:, None] * n + np.arange(columns)
        rows, rest = part.memory[places], part.size // 4 * 4
        s0, s1, s2, s3 = (rows[i:rest:4].sum(axis=0) for i in range(4))
        total = ((s0 + rows[rest:].sum(axis=0)) + s1) + (s2 + s3)
        total *= sink.alpha_bias
        C = sink.array[sink.at + c :][:columns]
        C[:] = total + sink.beta_bias * C if sink.beta_bias != 0.0 else total
