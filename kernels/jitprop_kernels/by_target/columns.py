"""Sums of columns, and the turning of blocks."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from jitprop_kernels.by_target.lanes import Lanes
from jitprop_kernels.by_target.shape import Shape
from jitprop_kernels.llvm_terms import INT64, by_llvm, integers, splat_value


def sum_kind(number: Any) -> Any:
    """Return the type of (A, its row, rows, columns, alpha, beta, C): C <- alpha sums + beta C."""
    pointer = number.as_pointer()
    kinds = [pointer, INT64, INT64, INT64, number, number, pointer]
    return ir.FunctionType(ir.VoidType(), kinds)


def sum_columns(function: Any, number: Any, shape: Shape) -> None:
    """Write the function that chooses by the number of columns, up to one vector of them."""
    columns, lanes = function.args[3], shape.lanes
    builder = ir.IRBuilder(function.append_basic_block())
    never, end = (function.append_basic_block(name) for name in ("never", "end"))
    if shape.masks:
        full = builder.icmp_signed("==", columns, INT64(lanes))
        switch = builder.switch(full, never)
        choices = {ir.IntType(1)(1): (lanes, False), ir.IntType(1)(0): (lanes, True)}
    else:
        switch = builder.switch(columns, never)
        choices = {INT64(n): (n, False) for n in range(1, lanes + 1)}
    for choice, how in choices.items():
        block = function.append_basic_block()
        switch.add_case(choice, block)
        builder.position_at_end(block)
        builder.call(_summing(function.module, number, *how), function.args)
        builder.branch(end)
    builder.position_at_end(never)
    builder.unreachable()
    builder.position_at_end(end)
    builder.ret_void()


def _summing(module: Any, number: Any, lanes: int, masked: bool) -> Any:
    """Return the function for so many columns, or with ``masked`` for fewer."""
    function = ir.Function(module, sum_kind(number), f"sums.{lanes}.{masked}.{number}")
    function.linkage = "internal"
    function.attributes.add("noinline")
    a, row, rows, columns, alpha, beta, c = function.args
    writer = Lanes(function, number, lanes)
    builder = writer.builder
    if masked:
        writer.keep_first(columns)

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
            added.append(builder.fadd(total, writer.load(following)))
            following = builder.gep(following, [row])
        values = [INT64(0), a, *sums], [builder.add(i, INT64(1)), following, *added]
        for phi, first, after in zip([i, at, *totals], *values, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(after, body)
        builder.branch(loop)
        builder.position_at_end(done)
        return at, totals

    # Four sums take turns: one would wait for itself.
    at, (v0, v1, v2, v3) = add_rows(a, builder.udiv(rows, INT64(4)), [writer.zero] * 4)
    _, (v0,) = add_rows(at, builder.urem(rows, INT64(4)), [v0])
    total = builder.fadd(builder.fadd(v0, v1), builder.fadd(v2, v3))
    keep = splat_value(builder, builder.fcmp_unordered("!=", beta, number(0.0)), lanes)
    old = builder.select(keep, writer.load(c), writer.zero)  # else it may be nan
    old = builder.fmul(writer.splat(beta), old)
    writer.store(by_llvm("fma", builder, writer.splat(alpha), total, old), c)
    builder.ret_void()
    return function


def transpose_kind(number: Any) -> Any:
    """Return the type of (A, its row, C, its row): C <- A^T."""
    pointer = number.as_pointer()
    return ir.FunctionType(ir.VoidType(), [pointer, INT64, pointer, INT64])


def transpose_block(function: Any, number: Any, shape: Shape) -> None:
    """Write the function, for one vector of rows and of columns."""
    A, lda, C, ldc = function.args
    writer, lanes = Lanes(function, number, shape.lanes), shape.lanes
    builder = writer.builder
    rows = [writer.load(builder.gep(A, [builder.mul(lda, INT64(i))])) for i in range(lanes)]
    # Swap ever smaller off-diagonal squares.
    side = lanes // 2
    while side:
        upper = [i + (lanes if i & side else 0) - (side if i & side else 0) for i in range(lanes)]
        lower = [i + (side if not i & side else lanes) for i in range(lanes)]
        for i in range(lanes):
            if not i & side:
                one, two = rows[i], rows[i + side]
                for place, order in ((i, upper), (i + side, lower)):
                    rows[place] = builder.shuffle_vector(one, two, integers(order))
        side //= 2
    for i, row in enumerate(rows):
        writer.store(row, builder.gep(C, [builder.mul(ldc, INT64(i))]))
    builder.ret_void()
