"""A block of a narrow product, whose rows share vectors: see `shape.SHARING_ROWS`."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from jitprop_kernels.by_target.lanes import Lanes
from jitprop_kernels.by_target.shape import SHARING_COLUMNS, SHARING_ROWS
from jitprop_kernels.llvm_terms import INT64, by_llvm, integers, splat_value


def sharing_function(module: Any, kind: Any, number: Any, lanes: int) -> Any:
    """Return the function; its arguments are those of `products.kind_of`."""
    function = ir.Function(module, kind, f"block.shared.{number}")
    function.linkage = "internal"
    function.attributes.add("noinline")
    columns, depth, alpha, a, row, _, b, ldb, beta, times, kept, ldk, c, ldc = function.args
    width, share = SHARING_COLUMNS, lanes // SHARING_COLUMNS
    short, vector = Lanes(function, number, width), ir.VectorType(number, lanes)
    builder, entry = short.builder, short.builder.block
    loop, done = (function.append_basic_block(x) for x in ("loop", "done"))
    short.keep_first(columns)
    keep = splat_value(builder, builder.fcmp_unordered("!=", beta, number(0.0)), width)

    def at(base: Any, step: Any, i: int) -> Any:
        return builder.gep(base, [builder.mul(step, INT64(i))])

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
    sums = [builder.phi(vector) for _ in range(SHARING_ROWS // share)]
    b_vectors = [
        some_of(short.load(at(b_row, ldb, i)), [*range(width)] * share) for i in range(width)
    ]
    totals = []
    for v, total in enumerate(sums):
        rows = range(v * share, (v + 1) * share)
        x = side_by_side(
            [builder.load(short.at(at(a_row, row, i)), align=short.align) for i in rows]
        )
        for i, y in enumerate(b_vectors):
            each = some_of(x, [q // width * width + i for q in range(lanes)])
            total = by_llvm("fma", builder, each, y, total)
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
    alphas, betas = short.splat(alpha), short.splat(beta)
    with builder.if_else(times) as branches:
        for branch, multiplies in zip(branches, (True, False), strict=True):
            with branch:
                for i in range(SHARING_ROWS):
                    q = i % share * width
                    total = some_of(totals[i // share], list(range(q, q + width)))
                    old = short.load(at(kept, ldk, i))
                    if multiplies:
                        new = builder.fmul(total, old)
                    else:
                        old = builder.select(keep, old, short.zero)
                        new = by_llvm("fma", builder, alphas, total, builder.fmul(betas, old))
                    short.store(new, at(c, ldc, i))
    builder.ret_void()
    return function
