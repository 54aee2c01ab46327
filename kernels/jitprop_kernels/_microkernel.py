"""
The innermost loop of a matrix product: a block of C that stays in the processor's registers.

Numba has no vectors, and LLVM finds no such loop in plain ones (28 to 75 GFLOP/s of the 110 that
this reaches on a core of Zen 4, where OpenBLAS gives 60 to 100). So it is written here in LLVM's
own terms, once for every kind of processor: the width of its vectors and the number of its
registers come from the target of the compilation. The scheme is that of F. Van Zee and R. van de
Geijn, *BLIS*, ACM Transactions on Mathematical Software 41, 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types

from jitprop_kernels._jit import INTERPRETED, intrinsic, read
from jitprop_kernels._types import Array, Scalar
from jitprop_kernels.arrays import pointer
from jitprop_kernels.records import Matrix, Part, Product, Sink
from jitprop_kernels.vectors import declare, integers, splat_value

INT32, INT64, BOOL = ir.IntType(32), ir.IntType(64), ir.IntType(1)
BYTES = ir.IntType(8).as_pointer()
VECTORS = 2
"""Vectors to a row of the block."""
SHARING_ROWS, SHARING_COLUMNS = 16, 4
"""A block of its own for narrow matrices, whose rows share vectors: of 16 lanes, 4 rows of up to 4
numbers each. It computes the last layer of a net with few outputs in less than half the time."""


class Shape(NamedTuple):
    """The block of C in registers, for one processor and one type of number."""

    rows: int
    lanes: int
    """Numbers to a vector; a row has VECTORS of them."""


def block_shape(context: Any, number: Any) -> Shape:
    """Rows x 2 vectors of accumulators, beside 2 vectors of B: all but a few of the registers."""
    triple, _, features = context.codegen().magic_tuple()
    if "+avx512f" in features:
        vector_bytes, rows = 64, 12
    elif "+avx," in features + ",":
        vector_bytes, rows = 32, 6
    elif triple.startswith(("aarch64", "arm64")):
        vector_bytes, rows = 16, 12
    else:
        vector_bytes, rows = 16, 6
    return Shape(rows, vector_bytes * 8 // number.bitwidth)


def heights(context: Any, number: Any) -> list[int]:
    """Rows of the blocks that there is code for, ascending."""
    full = block_shape(context, number).rows
    return [rows for rows in (1, 2, 4, 8) if rows < full] + [full]


@intrinsic
def largest_block(typing_context: Any, product: Any, rows: Any) -> Any:
    """Rows of the largest block of a `Product` that ``rows`` rows have room for."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind, chosen = signature.args[0].record, INT64(1)
        dtype = kind[kind.fields.index("C")][0].dtype
        for height in heights(context, dtype)[1:]:
            fits = builder.icmp_signed(">=", args[1], INT64(height))
            chosen = builder.select(fits, INT64(height), chosen)
        if block_shape(context, dtype).lanes < 2 * SHARING_COLUMNS:
            return chosen

        def number_at(*names: str) -> Any:
            return read(context, builder, signature.args[0], args[0], *names)[0]

        # Rows of A are read by four neighbouring numbers.
        whole = builder.icmp_signed("==", builder.and_(number_at("depth"), INT64(3)), INT64(0))
        side_by_side = builder.icmp_signed("==", number_at("A", "column"), INT64(1))
        narrow = builder.icmp_signed("<=", number_at("width"), INT64(SHARING_COLUMNS))
        fits = builder.icmp_signed(">=", args[1], INT64(SHARING_ROWS))
        shares = builder.and_(builder.and_(whole, side_by_side), builder.and_(narrow, fits))
        return builder.select(shares, INT64(SHARING_ROWS), chosen)

    return types.int64(product, types.int64), codegen


@intrinsic
def block_columns(typing_context: Any, array: Any) -> Any:
    """Columns of the block, for the array's type: a constant."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return INT64(VECTORS * block_shape(context, array.dtype).lanes)

    return types.int64(array), codegen


def _sum(builder: Any, suffix: str, alpha: Any, x: Any, beta: Any, y: Any) -> Any:
    """Alpha x + beta y; the second product is rounded, and then the sum."""
    kind = ir.FunctionType(x.type, [x.type] * 3)
    name = f"llvm.fma.{suffix}"
    function = declare(builder.module, kind, name)
    return builder.call(function, [alpha, x, builder.fmul(beta, y)])


@intrinsic
def scaled_sum(typing_context: Any, alpha: Any, x: Any, beta: Any, y: Any) -> Any:
    """Alpha x + beta y, of four numbers of one type, rounded as by `multiply_block`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _sum(builder, f"f{x.bitwidth}", *args)

    return x(x, x, x, x), codegen


def _kind(number: Any) -> Any:
    """Type of the functions that compute a block."""
    pointer = number.as_pointer()
    return ir.FunctionType(
        ir.VoidType(),
        [
            *[INT64, INT64, number, pointer, INT64, INT64, pointer, INT64],
            *[number, BOOL, pointer, INT64, pointer, INT64],
        ],
    )


def _masked(module: Any, vector: Any) -> tuple[Any, Any]:
    """LLVM's functions that load and store the chosen lanes of a vector."""
    number, lanes = vector.element, vector.count
    suffix = f"v{lanes}f{64 if number == ir.DoubleType() else 32}"
    flags = ir.VectorType(BOOL, lanes)
    load_kind = ir.FunctionType(vector, [vector.as_pointer(), INT32, flags, vector])
    store_kind = ir.FunctionType(ir.VoidType(), [vector, vector.as_pointer(), INT32, flags])
    return (
        declare(module, load_kind, f"llvm.masked.load.{suffix}.p0{suffix}"),
        declare(module, store_kind, f"llvm.masked.store.{suffix}.p0{suffix}"),
    )


def _sharing_function(module: Any, number: Any, lanes: int) -> Any:
    """The function for a block whose rows share vectors; else as `_function`."""
    name = f"multiply_block.shared.{number}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, _kind(number), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    columns, depth, alpha, a, row, _, b, ldb, beta, times, kept, ldk, c, ldc = function.args
    entry, loop, done = (function.append_basic_block(x) for x in ("entry", "loop", "done"))
    builder = ir.IRBuilder(entry)
    width, align = SHARING_COLUMNS, INT32(8 if number == ir.DoubleType() else 4)
    short, vector = ir.VectorType(number, width), ir.VectorType(number, lanes)
    load, store = _masked(module, short)
    suffix = f"f{64 if number == ir.DoubleType() else 32}"
    multiply_kind = ir.FunctionType(vector, [vector] * 3)
    multiply_add = declare(module, multiply_kind, f"llvm.fma.v{lanes}{suffix}")
    numbers = ir.Constant(ir.VectorType(INT64, width), list(range(width)))
    inside = builder.icmp_signed("<", numbers, splat_value(builder, columns, width))
    keep = builder.fcmp_unordered("!=", beta, number(0.0))
    keep = builder.and_(inside, splat_value(builder, keep, width))
    zero = ir.Constant(short, [0.0] * width)

    def at(base: Any, step: Any, i: int) -> Any:
        place = builder.gep(base, [builder.mul(step, INT64(i))])
        return builder.bitcast(place, short.as_pointer())

    def some_of(x: Any, order: list[int], y: Any = None) -> Any:
        return builder.shuffle_vector(x, x if y is None else y, integers(order))

    def side_by_side(parts: list[Any]) -> Any:
        while len(parts) > 1:
            order = list(range(2 * parts[0].type.count))
            parts = [some_of(x, order, y) for x, y in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    builder.branch(loop)
    builder.position_at_end(loop)
    k, a_row, b_row = builder.phi(INT64), builder.phi(a.type), builder.phi(b.type)
    share = lanes // width
    sums = [builder.phi(vector) for _ in range(SHARING_ROWS // share)]
    b_vectors = [
        some_of(
            builder.call(load, [at(b_row, ldb, i), align, inside, zero]), [*range(width)] * share
        )
        for i in range(width)
    ]
    totals = []
    for v, total in enumerate(sums):
        rows = range(v * share, (v + 1) * share)
        x = side_by_side([builder.load(at(a_row, row, i), align=align.constant) for i in rows])
        for i, y in enumerate(b_vectors):
            each = some_of(x, [q // width * width + i for q in range(lanes)])
            total = builder.call(multiply_add, [each, y, total])
        totals.append(total)
    next_k = builder.add(k, INT64(width))
    after = [next_k, builder.gep(a_row, [INT64(width)])]
    after.append(builder.gep(b_row, [builder.mul(ldb, INT64(width))]))
    nothing = ir.Constant(vector, [0.0] * lanes)
    first = [INT64(0), a, b] + [nothing] * len(sums)
    for phi, value, following in zip([k, a_row, b_row, *sums], first, after + totals, strict=True):
        phi.add_incoming(value, entry)
        phi.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", next_k, depth), loop, done)

    builder.position_at_end(done)
    factors = [splat_value(builder, x, width) for x in (alpha, beta)]
    with builder.if_else(times) as branches:
        for branch, wanted in zip(branches, (inside, keep), strict=True):
            with branch:
                for i in range(SHARING_ROWS):
                    q = i % share * width
                    total = some_of(totals[i // share], list(range(q, q + width)))
                    old = builder.call(load, [at(kept, ldk, i), align, wanted, zero])
                    if wanted is inside:
                        new = builder.fmul(total, old)
                    else:
                        alphas, betas = factors
                        new = _sum(builder, f"v{width}{suffix}", alphas, total, betas, old)
                    builder.call(store, [new, at(c, ldc, i), align, inside])
    builder.ret_void()
    return function


def _function(module: Any, number: Any, rows: int, vectors: int, lanes: int) -> Any:
    """
    The function for a block of so many rows and vectors; see `multiply_block`.

    The last vector may be shorter: what lies beyond ``columns`` is neither read nor written.
    """
    pointer, vector = number.as_pointer(), ir.VectorType(number, lanes)
    flags = ir.VectorType(BOOL, lanes)
    name = f"multiply_block.{rows}.{vectors}.{number}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, _kind(number), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    columns, depth, alpha, a, row, step, b, ldb, beta, times, kept, ldk, c, ldc = function.args
    entry, loop, done = (function.append_basic_block(x) for x in ("entry", "loop", "done"))
    builder = ir.IRBuilder(entry)

    def splat(value: Any, kind: Any) -> Any:
        undefined = ir.Constant(kind, ir.Undefined)
        first = builder.insert_element(undefined, value, INT32(0))
        zeros = ir.Constant(ir.VectorType(INT32, lanes), [0] * lanes)
        return builder.shuffle_vector(first, undefined, zeros)

    zero = splat(number(0.0), vector)
    suffix = f"v{lanes}f{64 if number == ir.DoubleType() else 32}"
    align = INT32(8 if number == ir.DoubleType() else 4)
    multiply_kind = ir.FunctionType(vector, [vector] * 3)
    # Not a product and a sum that LLVM may fuse: under NUMBA_OPT=0 it does so in all rows but one.
    multiply_add = declare(module, multiply_kind, f"llvm.fma.{suffix}")
    masked_load, masked_store = _masked(module, vector)

    numbers = ir.Constant(ir.VectorType(INT64, lanes), list(range(lanes)))
    in_last = builder.sub(columns, INT64(lanes * (vectors - 1)))
    short = builder.icmp_signed("<", numbers, splat(in_last, numbers.type))
    keep = splat(builder.fcmp_unordered("!=", beta, number(0.0)), flags)

    def at(base: Any, offset: Any) -> Any:
        return builder.bitcast(builder.gep(base, [offset]), vector.as_pointer())

    # Rows of A are found from every third: base, base + row, base + 2 row are addresses that
    # x86 computes by itself, and twelve pointers would not fit into its registers.
    twice, thrice = builder.mul(row, INT64(2)), builder.mul(row, INT64(3))
    thirds = [a]
    while 3 * len(thirds) < rows:
        thirds.append(builder.gep(thirds[-1], [thrice]))
    # Where C is changed rather than made, ask for it now: it is not needed before the end.
    with builder.if_then(builder.icmp_signed("==", ldk, ldc)):
        prefetch_kind = ir.FunctionType(ir.VoidType(), [BYTES, INT32, INT32, INT32])
        prefetch = declare(module, prefetch_kind, "llvm.prefetch.p0i8")
        for i in range(rows):
            for v in range(vectors):
                line = builder.gep(c, [builder.add(builder.mul(ldc, INT64(i)), INT64(lanes * v))])
                to_write, keep_near, is_data = INT32(1), INT32(3), INT32(1)
                builder.call(prefetch, [builder.bitcast(line, BYTES), to_write, keep_near, is_data])
    entry = builder.block
    builder.branch(loop)

    builder.position_at_end(loop)
    k, b_row = builder.phi(INT64), builder.phi(pointer)
    bases = [builder.phi(pointer) for _ in thirds]
    sums = [[builder.phi(vector) for _ in range(vectors)] for _ in range(rows)]
    next_k = builder.add(k, INT64(1))
    b_vectors = [
        builder.call(masked_load, [at(b_row, INT64(lanes * v)), align, short, zero])
        if v == vectors - 1
        else builder.load(at(b_row, INT64(lanes * v)), align=align.constant)
        for v in range(vectors)
    ]
    totals = []
    for i in range(rows):
        base = bases[i // 3]
        if i % 3:
            base = builder.gep(base, [row if i % 3 == 1 else twice])
        x = splat(builder.load(base), vector)
        totals.append(
            [
                builder.call(multiply_add, [x, y, total])
                for y, total in zip(b_vectors, sums[i], strict=True)
            ]
        )
    following = [next_k, builder.gep(b_row, [ldb])]
    following += [builder.gep(base, [step]) for base in bases]
    first = [INT64(0), b, *thirds]
    for phi, before, after in zip([k, b_row, *bases], first, following, strict=True):
        phi.add_incoming(before, entry)
        phi.add_incoming(after, loop)
    for phis, values in zip(sums, totals, strict=True):
        for phi, value in zip(phis, values, strict=True):
            phi.add_incoming(zero, entry)
            phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", next_k, depth), loop, done)

    builder.position_at_end(done)
    factor, share = splat(alpha, vector), splat(beta, vector)

    # The rest of a row's last vector lies where the next rows stand, in a matrix as narrow as this.
    # A load waits for a store before it even if what the store left out is all that they share: 29
    # cycles a row instead of 5. So rows are read before others are written.
    ahead = rows if vectors == 1 else 1

    def store(change: Callable[[Any, Any], Any], read: Any) -> None:
        def row(base: Any, ld: Any, i: int) -> list[Any]:
            start = builder.gep(base, [builder.mul(ld, INT64(i))])
            return [at(start, INT64(lanes * v)) for v in range(vectors)]

        def old_row(i: int) -> list[Any]:
            wanted = [read] * (vectors - 1) + [builder.and_(read, short)]
            return [
                builder.call(masked_load, [place, align, flags, zero])
                for place, flags in zip(row(kept, ldk, i), wanted, strict=True)
            ]

        old = [old_row(i) for i in range(min(ahead, rows))]
        for i in range(rows):
            if i + ahead < rows:
                old.append(old_row(i + ahead))
            *full, last = row(c, ldc, i)
            new = list(map(change, totals[i], old[i]))
            for place, value in zip(full, new[:-1], strict=True):
                builder.store(value, place, align=align.constant)
            builder.call(masked_store, [new[-1], last, align, short])

    def add(total: Any, old: Any) -> Any:
        return _sum(builder, suffix, factor, total, share, old)

    every = ir.Constant(flags, [1] * lanes)
    # Most products have an alpha and beta of 1. A sum gives the same bits, and leaves the
    # multipliers to the loops before and after.
    is_sum = builder.and_(*(builder.fcmp_ordered("==", x, number(1.0)) for x in (alpha, beta)))
    with builder.if_else(times) as (then, otherwise):
        with then:
            store(builder.fmul, every)
        with otherwise, builder.if_else(is_sum) as (then, otherwise):
            with then:
                store(builder.fadd, every)
            with otherwise:
                store(add, keep)
    builder.ret_void()
    return function


@intrinsic
def multiply_block(
    typing_context: Any, product: Any, i: Any, j: Any, rows: Any, columns: Any
) -> Any:
    """
    The ``rows`` and ``columns`` of a `Product` from C[i, j] on, in one block; depth of 1 or more.

    With beta 0, D is not read, but with ``times``. The sum runs in the order of the depth, whatever
    the block: how C is cut into blocks does not change a bit.
    """
    integer = types.int64
    signature = types.void(product, integer, integer, integer, integer)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        product, i, j, rows, columns = args
        kind = signature.args[0]
        array_kind = kind.record[kind.record.fields.index("C")][0]
        number = context.get_value_type(array_kind.dtype)
        shape = block_shape(context, array_kind.dtype)

        def number_at(*names: str) -> Any:
            return read(context, builder, kind, product, *names)[0]

        def cast(value: Any) -> Any:
            return value if number == value.type else builder.fptrunc(value, number)

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
            *[columns, depth, cast(number_at("alpha")), place("A", builder.mul(i, row)), row, step],
            *[place("B", at_b), builder.select(packed, columns, ldb)],
            *[cast(number_at("beta")), number_at("times")],
            *[place("D", builder.add(builder.mul(i, ldd), j)), ldd],
            *[place("C", builder.add(builder.mul(i, ldc), j)), ldc],
        ]
        end, never = builder.append_basic_block("end"), builder.append_basic_block("never")
        wide = builder.icmp_signed(">", columns, INT64(shape.lanes))
        code = builder.add(builder.mul(rows, INT64(2)), builder.zext(wide, INT64))
        switch = builder.switch(code, never)
        for i in heights(context, array_kind.dtype):
            for vectors in (1, 2):
                block = builder.append_basic_block()
                switch.add_case(INT64(2 * i + vectors - 1), block)
                builder.position_at_end(block)
                function = _function(builder.module, number, i, vectors, shape.lanes)
                builder.call(function, handed)
                builder.branch(end)
        if shape.lanes >= 2 * SHARING_COLUMNS:
            block = builder.append_basic_block()
            switch.add_case(INT64(2 * SHARING_ROWS), block)
            builder.position_at_end(block)
            builder.call(_sharing_function(builder.module, number, shape.lanes), handed)
            builder.branch(end)
        builder.position_at_end(never)
        builder.unreachable()
        builder.position_at_end(end)
        return context.get_dummy_value()

    return signature, codegen


def _summing_function(module: Any, number: Any, lanes: int) -> Any:
    """The function of `sum_columns`."""
    name = f"sum_columns.{number}"
    if name in module.globals:
        return module.globals[name]
    start, vector = number.as_pointer(), ir.VectorType(number, lanes)
    kind = [start, INT64, INT64, INT64, INT64, number, number, start]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kind), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    a, row, rows, columns, rounded, alpha, beta, c = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    load, store = _masked(module, vector)
    align, zero = INT32(8 if number == ir.DoubleType() else 4), ir.Constant(vector, [0.0] * lanes)
    suffix = f"v{lanes}f{64 if number == ir.DoubleType() else 32}"
    multiply_add = declare(module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.{suffix}")
    numbers = ir.Constant(ir.VectorType(INT64, lanes), list(range(lanes)))
    inside, rounds = (
        builder.icmp_signed("<", numbers, splat_value(builder, n, lanes))
        for n in (columns, rounded)
    )
    place = builder.bitcast(c, vector.as_pointer())

    def add_rows(a: Any, count: Any, sums: list[Any]) -> tuple[Any, list[Any]]:
        """Add ``count`` times as many rows as there are sums."""
        loop, body, done = (function.append_basic_block() for _ in range(3))
        before = builder.block
        builder.branch(loop)
        builder.position_at_end(loop)
        i, at, *totals = (builder.phi(x.type) for x in (count, a, *sums))
        builder.cbranch(builder.icmp_signed("<", i, count), body, done)
        builder.position_at_end(body)
        following, added = at, []
        for total in totals:
            there = builder.bitcast(following, vector.as_pointer())
            added.append(builder.fadd(total, builder.call(load, [there, align, inside, zero])))
            following = builder.gep(following, [row])
        values = [INT64(0), a, *sums], [builder.add(i, INT64(1)), following, *added]
        for phi, first, after in zip([i, at, *totals], *values, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(after, body)
        builder.branch(loop)
        builder.position_at_end(done)
        return at, totals

    at, (v0, v1, v2, v3) = add_rows(a, builder.udiv(rows, INT64(4)), [zero] * 4)
    _, (v0,) = add_rows(at, builder.urem(rows, INT64(4)), [v0])
    total = builder.fadd(builder.fadd(v0, v1), builder.fadd(v2, v3))
    alphas, betas = (splat_value(builder, x, lanes) for x in (alpha, beta))
    keep = splat_value(builder, builder.fcmp_unordered("!=", beta, number(0.0)), lanes)
    old = builder.call(load, [place, align, builder.and_(inside, keep), zero])
    scaled = builder.fmul(alphas, total)
    scaled = builder.select(keep, builder.call(multiply_add, [betas, old, scaled]), scaled)
    other = builder.call(multiply_add, [alphas, total, builder.fmul(betas, old)])
    builder.call(store, [builder.select(rounds, scaled, other), place, align, inside])
    builder.ret_void()
    return function


@intrinsic
def sum_columns(
    typing_context: Any, part: Any, at: Any, n: Any, columns: Any, rounded: Any, sink: Any, c: Any
) -> Any:
    """
    C <- alpha sums + beta_bias C, of some columns, up to half `block_columns`.

    Row after row, n numbers apart, stands from ``at`` on in the memory of a `Part`, one for each of
    its samples. C is the sink's, from c on. Four sums take turns: one would wait for itself.
    In the first ``rounded`` columns alpha times the sum is rounded; in others beta_bias times C.
    """
    integer = types.int64
    signature = types.void(part, integer, integer, integer, integer, sink, integer)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        part, at, n, columns, rounded, sink, c = args
        kind, sink_kind = signature.args[0], signature.args[5]
        array, array_kind = read(context, builder, kind, part, "memory")
        target, target_kind = read(context, builder, sink_kind, sink, "array")
        rows = read(context, builder, kind, part, "size")[0]
        begin, alpha, beta = (
            read(context, builder, sink_kind, sink, name)[0]
            for name in ("at", "alpha", "beta_bias")
        )
        number = context.get_value_type(array_kind.dtype)
        alpha, beta = (x if number == x.type else builder.fptrunc(x, number) for x in (alpha, beta))
        lanes = block_shape(context, array_kind.dtype).lanes
        function = _summing_function(builder.module, number, lanes)
        place = pointer(context, builder, target_kind, target, builder.add(begin, c))
        source = pointer(context, builder, array_kind, array, at)
        builder.call(function, [source, n, rows, columns, rounded, alpha, beta, place])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def transpose_block(typing_context: Any, A: Any, a: Any, lda: Any, C: Any, c: Any, ldc: Any) -> Any:
    """C[j, i] <- A[i, j], for i and j up to half of `block_columns`: one vector each."""
    signature = types.void(A, types.int64, types.int64, C, types.int64, types.int64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        A, a, lda, C, c, ldc = args
        kind = signature.args[0]
        number, lanes = context.get_value_type(kind.dtype), block_shape(context, kind.dtype).lanes
        vector = ir.VectorType(number, lanes)

        def row(kind: Any, array: Any, index: Any, ld: Any, i: int) -> Any:
            place = builder.add(index, builder.mul(ld, INT64(i)))
            at = pointer(context, builder, kind, array, place)
            return builder.bitcast(at, vector.as_pointer())

        align = kind.dtype.bitwidth // 8
        rows = [builder.load(row(kind, A, a, lda, i), align=align) for i in range(lanes)]
        # Swap ever smaller off-diagonal squares.
        side = lanes // 2
        while side:
            upper = [
                i + (lanes if i & side else 0) - (side if i & side else 0) for i in range(lanes)
            ]
            lower = [i + (side if not i & side else lanes) for i in range(lanes)]
            for i in range(lanes):
                if not i & side:
                    one, two = rows[i], rows[i + side]
                    for place, order in ((i, upper), (i + side, lower)):
                        mask = ir.Constant(ir.VectorType(INT32, lanes), order)
                        rows[place] = builder.shuffle_vector(one, two, mask)
            side //= 2
        for i in range(lanes):
            builder.store(rows[i], row(signature.args[3], C, c, ldc, i), align=align)
        return context.get_dummy_value()

    return signature, codegen


if INTERPRETED:  # an intrinsic has no Python body

    def largest_block(product: Product, rows: int) -> int:
        return min(rows, 12)

    def block_columns(array: Array) -> int:
        return 32

    def scaled_sum(alpha: Scalar, x: Scalar, beta: Scalar, y: Scalar) -> Scalar:
        return alpha * x + beta * y

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

    def sum_columns(
        part: Part, at: int, n: int, columns: int, rounded: int, sink: Sink, c: int
    ) -> None:
        places = at + np.arange(part.size)[:, None] * n + np.arange(columns)
        rows, rest = part.memory[places], part.size // 4 * 4
        s0, s1, s2, s3 = (rows[i:rest:4].sum(axis=0) for i in range(4))
        total = ((s0 + rows[rest:].sum(axis=0)) + s1) + (s2 + s3)
        total *= sink.alpha
        C = sink.array[sink.at + c :][:columns]
        C[:] = total + sink.beta_bias * C if sink.beta_bias != 0.0 else total
