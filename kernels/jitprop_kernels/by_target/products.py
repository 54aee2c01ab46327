"""
A block of a matrix product, which stays in the processor's registers: C <- alpha A B + beta D.

Numba has no vectors, and LLVM finds no such loop in plain ones (28 to 75 GFLOP/s of the 110 that
this reaches on a core of Zen 4, where OpenBLAS gives 60 to 100). The scheme is that of F. Van Zee
and R. van de Geijn, *BLIS*, ACM Transactions on Mathematical Software 41, 2015.

Each number of C is one sum in the order of the depth, each product fused with the sum: its bits do
not depend on the block that it is in. A row of two vectors may be shorter than both. Then the
second one begins earlier, and what lies in both is computed twice: no vector has to leave lanes
out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir

from jitprop_kernels.by_target.lanes import Lanes
from jitprop_kernels.by_target.shape import SHARING_COLUMNS, SHARING_ROWS, Shape
from jitprop_kernels.by_target.sharing import sharing_function
from jitprop_kernels.llvm_terms import BOOL, INT32, INT64, by_llvm, declare, integers, splat_value

BYTES = ir.IntType(8).as_pointer()

LARGEST = ir.FunctionType(INT64, [INT64] * 4)
"""(rows, width, depth, step) -> rows of the largest block that ``rows`` rows have room for, in a
product of this width and depth; ``step`` is the distance of neighbours in a row of A."""


def kind_of(number: Any, *before: Any) -> Any:
    """
    Return the type of the functions that compute a block.

    (columns, depth, alpha, A, its row and step, B, its row, beta, times, D, its row, C, its row).
    A matrix comes as the pointer to its first number and the distance of its rows. With ``times``
    C <- A B times D.
    """
    pointer = number.as_pointer()
    return ir.FunctionType(
        ir.VoidType(),
        [
            *before,
            *[INT64, INT64, number, pointer, INT64, INT64, pointer, INT64],
            *[number, BOOL, pointer, INT64, pointer, INT64],
        ],
    )


def largest_block(function: Any, number: Any, shape: Shape) -> None:
    """Write the function of `LARGEST`."""
    rows, width, depth, step = function.args
    builder, chosen = ir.IRBuilder(function.append_basic_block()), INT64(1)
    for height in shape.heights[1:]:
        fits = builder.icmp_signed(">=", rows, INT64(height))
        chosen = builder.select(fits, INT64(height), chosen)
    if shape.shares:
        # Rows of A are read by four neighbouring numbers.
        whole = builder.icmp_signed("==", builder.and_(depth, INT64(3)), INT64(0))
        side_by_side = builder.icmp_signed("==", step, INT64(1))
        narrow = builder.icmp_signed("<=", width, INT64(SHARING_COLUMNS))
        fits = builder.icmp_signed(">=", rows, INT64(SHARING_ROWS))
        shares = builder.and_(builder.and_(whole, side_by_side), builder.and_(narrow, fits))
        chosen = builder.select(shares, INT64(SHARING_ROWS), chosen)
    builder.ret(chosen)


class Block(NamedTuple):
    """A block that there is code for; with ``masked`` its only vector may be shorter."""

    rows: int
    vectors: int
    lanes: int
    masked: bool = False


def multiply_block(function: Any, number: Any, shape: Shape) -> None:
    """Write the function that chooses the block of ``rows``, its first argument, and columns."""
    rows, *handed = function.args
    columns, lanes = handed[0], shape.lanes
    builder = ir.IRBuilder(function.append_basic_block())
    never, end = (function.append_basic_block(name) for name in ("never", "end"))
    # The choice: 0 for two vectors, 1 for a full one, from 2 on for a shorter one.
    n = 3 if shape.masks else lanes + 1
    short = INT64(2) if shape.masks else builder.add(columns, INT64(1))
    full = builder.icmp_signed("==", columns, INT64(lanes))
    wide = builder.icmp_signed(">", columns, INT64(lanes))
    choice = builder.select(wide, INT64(0), builder.select(full, INT64(1), short))
    switch = builder.switch(builder.add(builder.mul(rows, INT64(n)), choice), never)

    def case(rows: int, choice: int, called: Any) -> None:
        block = function.append_basic_block()
        switch.add_case(INT64(rows * n + choice), block)
        builder.position_at_end(block)
        builder.call(called, handed)
        builder.branch(end)

    for height in shape.heights:
        blocks = [Block(height, 2, lanes), Block(height, 1, lanes)]
        if shape.masks:
            blocks.append(Block(height, 1, lanes, masked=True))
        else:
            blocks.extend(Block(height, 1, some) for some in range(1, lanes))
        for i, block in enumerate(blocks):
            writer = _Writer(function.module, number, block)
            writer.write(shape.by_lane)
            case(height, i, writer.function)
    if shape.shares:
        case(SHARING_ROWS, 2, sharing_function(function.module, kind_of(number), number, lanes))
    builder.position_at_end(never)
    builder.unreachable()
    builder.position_at_end(end)
    builder.ret_void()


class _Writer(Lanes):
    """Writes the function for one `Block`."""

    def __init__(self, module: Any, number: Any, block: Block) -> None:
        name = f"block.{block.rows}.{block.vectors}.{block.lanes}.{block.masked}.{number}"
        self.function = ir.Function(module, kind_of(number), name)
        self.function.linkage = "internal"
        self.function.attributes.add("noinline")
        super().__init__(self.function, number, block.lanes)
        self.block = block
        (
            self.columns, self.depth, self.alpha, self.a, self.row, self.step, self.b, self.ldb,
            self.beta, self.times, self.kept, self.ldk, self.c, self.ldc,
        ) = self.function.args  # fmt: skip
        builder = self.builder
        self.offsets = [INT64(0), builder.sub(self.columns, INT64(block.lanes))][: block.vectors]
        if block.masked:
            self.keep_first(self.columns)

    def write(self, by_lane: bool) -> None:
        """Write it. ``by_lane``: A is read by pairs, whose numbers are lanes in products."""
        self._prefetch()
        builder, rows = self.builder, self.block.rows
        nothing = [self.zero] * (rows * self.block.vectors)

        def rest() -> list[Any]:
            start = [INT64(0), self.b, *self._thirds(), *nothing]
            if not by_lane:
                return self._loop(1, start, self._one)[-len(nothing) :]
            side_by_side = builder.icmp_signed("==", self.step, INT64(1))
            several = builder.icmp_signed(">=", self.depth, INT64(2))
            after = self._if(
                builder.and_(side_by_side, several),
                lambda: self._loop(2, start, self._pair_of_depth),
                lambda: start,
            )
            left = builder.icmp_signed("<", after[0], self.depth)
            ended = self._if(left, lambda: self._loop(1, after, self._one), lambda: after)
            return ended[-len(nothing) :]

        if by_lane and rows % 2 == 0:
            start = [INT64(0), self.b, self.a, *nothing]
            sums = self._if(
                builder.icmp_signed("==", self.row, INT64(1)),
                lambda: self._loop(1, start, self._pairs_of_rows)[-len(nothing) :],
                rest,
            )
        else:
            sums = rest()
        self._store(sums)
        builder.ret_void()

    def _prefetch(self) -> None:
        """Ask for C where it is changed rather than made: it is not needed before the end."""
        builder = self.builder
        with builder.if_then(builder.icmp_signed("==", self.ldk, self.ldc)):
            kind = ir.FunctionType(ir.VoidType(), [BYTES, INT32, INT32, INT32])
            prefetch = declare(self.function.module, kind, "llvm.prefetch.p0i8")
            to_write, keep_near, is_data = INT32(1), INT32(3), INT32(1)
            for i in range(self.block.rows):
                for line in self._places(self.c, self.ldc, i):
                    place = builder.bitcast(line, BYTES)
                    builder.call(prefetch, [place, to_write, keep_near, is_data])

    def _thirds(self) -> list[Any]:
        """
        Return pointers to every third row of A.

        base, base + row, base + 2 row are addresses that x86 computes by itself, and twelve
        pointers would not fit into its registers.
        """
        builder = self.builder
        thirds, thrice = [self.a], builder.mul(self.row, INT64(3))
        self.twice = builder.mul(self.row, INT64(2))
        while 3 * len(thirds) < self.block.rows:
            thirds.append(builder.gep(thirds[-1], [thrice]))
        return thirds

    def _row_of_a(self, thirds: list[Any], i: int) -> Any:
        base = thirds[i // 3]
        return self.builder.gep(base, [self.row if i % 3 == 1 else self.twice]) if i % 3 else base

    def _loop(self, chunk: int, start: list[Any], body: Callable[..., list[Any]]) -> list[Any]:
        """
        Write a loop over the depth, ``chunk`` at a time, and return the values after it.

        The values are how much of the depth is done, pointers, and the sums. There must be one
        round at least.
        """
        builder, before = self.builder, self.builder.block
        loop, done = (self.function.append_basic_block() for _ in range(2))
        builder.branch(loop)
        builder.position_at_end(loop)
        values = [builder.phi(value.type) for value in start]
        n_sums = self.block.rows * self.block.vectors
        k, b_row, *thirds = values[:-n_sums]
        after = [
            builder.add(k, INT64(chunk)),
            builder.gep(b_row, [builder.mul(self.ldb, INT64(chunk))]),
            *body(b_row, thirds, sums := list(values[-n_sums:])),
            *sums,
        ]
        for value, first, following in zip(values, start, after, strict=True):
            value.add_incoming(first, before)
            value.add_incoming(following, builder.block)
        last = builder.add(after[0], INT64(chunk - 1))
        builder.cbranch(builder.icmp_signed("<", last, self.depth), loop, done)
        builder.position_at_end(done)
        return after

    def _if(
        self, condition: Any, one: Callable[[], list[Any]], other: Callable[[], list[Any]]
    ) -> list[Any]:
        """Return the values of one way or the other."""
        ends = []
        with self.builder.if_else(condition) as branches:
            for branch, way in zip(branches, (one, other), strict=True):
                with branch:
                    values = way()
                    ends.append((values, self.builder.block))
        merged = [self.builder.phi(value.type) for value in ends[0][0]]
        for values, block in ends:
            for phi, value in zip(merged, values, strict=True):
                phi.add_incoming(value, block)
        return merged

    # The bodies of loops. Each adds to the sums, and returns the pointers into A of the next round.

    def _one(self, b_row: Any, thirds: list[Any], sums: list[Any]) -> list[Any]:
        """One number of each row of A."""
        y = self._row_of_b(b_row)
        for i in range(self.block.rows):
            self._add(sums, i, self.splat(self.builder.load(self._row_of_a(thirds, i))), y)
        return [self.builder.gep(third, [self.step]) for third in thirds]

    def _pair_of_depth(self, b_row: Any, thirds: list[Any], sums: list[Any]) -> list[Any]:
        """Two neighbouring numbers of each row of A."""
        ys = [self._row_of_b(row) for row in (b_row, self.builder.gep(b_row, [self.ldb]))]
        for i in range(self.block.rows):
            pair = self._pair(self._row_of_a(thirds, i))
            for j, y in enumerate(ys):
                self._add(sums, i, self._each(pair, j), y)
        return [self.builder.gep(third, [INT64(2)]) for third in thirds]

    def _pairs_of_rows(self, b_row: Any, a: list[Any], sums: list[Any]) -> list[Any]:
        """One number of each row of A, where numbers of neighbouring rows are neighbours."""
        y = self._row_of_b(b_row)
        for i in range(0, self.block.rows, 2):
            pair = self._pair(self.builder.gep(a[0], [INT64(i)]))
            for j in range(2):
                self._add(sums, i + j, self._each(pair, j), y)
        return [self.builder.gep(a[0], [self.step])]

    def _row_of_b(self, start: Any) -> list[Any]:
        return [self.load(self.builder.gep(start, [offset])) for offset in self.offsets]

    def _pair(self, place: Any) -> Any:
        kind = ir.VectorType(self.number, 2).as_pointer()
        return self.builder.load(self.builder.bitcast(place, kind), align=self.align)

    def _each(self, pair: Any, lane: int) -> Any:
        return self.builder.shuffle_vector(pair, pair, integers([lane] * self.lanes))

    def _add(self, sums: list[Any], i: int, x: Any, row_of_b: list[Any]) -> None:
        for v, y in enumerate(row_of_b, i * self.block.vectors):
            sums[v] = by_llvm("fma", self.builder, x, y, sums[v])

    def _places(self, start: Any, ld: Any, i: int) -> list[Any]:
        row = self.builder.gep(start, [self.builder.mul(ld, INT64(i))])
        return [self.builder.gep(row, [offset]) for offset in self.offsets]

    def _store(self, sums: list[Any]) -> None:
        """Make C of the sums."""
        builder = self.builder
        alphas, betas = self.splat(self.alpha), self.splat(self.beta)
        keep = builder.fcmp_unordered("!=", self.beta, self.number(0.0))
        keep = splat_value(builder, keep, self.lanes)

        def add(total: Any, old: Any) -> Any:
            old = builder.select(keep, old, self.zero)  # else it may be nan
            return by_llvm("fma", builder, alphas, total, builder.fmul(betas, old))

        # Most products have an alpha and beta of 1. A sum gives the same bits, and leaves the
        # multipliers to the loops before and after.
        one = self.number(1.0)
        is_one = [builder.fcmp_ordered("==", x, one) for x in (self.alpha, self.beta)]
        with builder.if_else(self.times) as (then, otherwise):
            with then:
                self._store_rows(sums, builder.fmul)
            with otherwise, builder.if_else(builder.and_(*is_one)) as (then, otherwise):
                with then:
                    self._store_rows(sums, builder.fadd)
                with otherwise:
                    self._store_rows(sums, add)

    def _store_rows(self, sums: list[Any], change: Callable[[Any, Any], Any]) -> None:
        # The rest of a row's masked vector lies where the next rows stand, in a matrix as narrow as
        # this. A load waits for a store before it even if what the store left out is all that they
        # share: 29 cycles a row instead of 5. So rows are read before others are written.
        rows, vectors, masked = self.block.rows, self.block.vectors, self.block.masked
        ahead = rows if masked else 1
        old: list[Any] = []
        for i in range(rows):
            for j in range(len(old), min(rows, i + ahead + 1)):
                old.append([self.load(place) for place in self._places(self.kept, self.ldk, j)])
            totals = sums[i * vectors : (i + 1) * vectors]
            new = list(map(change, totals, old[i]))
            for value, place in zip(new, self._places(self.c, self.ldc, i), strict=True):
                self.store(value, place)
