"""
The Cholesky factor of a symmetric matrix, and the solution of its equations, in float64.

The matrix A (n, n) shares its memory with the factor U, U^T U = A: A keeps the lower triangle, U
takes the upper one with the diagonal. So A is there for another try with another diagonal. A row
has ``row`` numbers, at least n + 1 and a multiple of 4. Column n begins as the right side b and
becomes U^-T b on the way; behind it stand zeros.

Source: Golub and Van Loan, *Matrix Computations*, 4th edition, section 4.2.
"""

from __future__ import annotations

from typing import NamedTuple

from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array
from jitprop_kernels.blocks import multiply
from jitprop_kernels.elementary import smaller
from jitprop_kernels.meeting import agree, asked, meet
from jitprop_kernels.records import Matrix, Product, Seat
from jitprop_kernels.simd import fma, lane_sum, lanes, load, splat, square_root, store
from jitprop_kernels.sizes import AGREED, INVERTED

PANEL = 32
"""Rows of U that are computed together. The rows above go into them by one matrix product."""

COLUMNS = 1024
"""Columns of a panel between two looks whether to leave: with 20,000 rows above, 0.05 s."""

SMALLEST_PIVOT = 4e-16
"""Of the diagonal of A: below it, rounding alone may have left what a pivot is."""

ASKED_TO_LEAVE, NOT_DEFINITE, FACTORED = -1, 0, 1


class Equations(NamedTuple):
    """Where the equations A x = b stand in an array."""

    n: int
    row: int
    """Numbers of a row."""
    matrix: int
    """Where A and U begin;"""
    pivots: int
    """the inverses of U's diagonal, and behind these whether the last panel was definite;"""
    solution: int
    """and x, (row,), with zeros behind it."""


@jit()
def to_upper(system: Array, at: Equations, seat: Seat) -> None:
    """Copy A from the lower triangle to the upper one. The diagonal is left as it is."""
    n, row, begin = at.n, at.row, at.matrix
    for first in range(8 * seat.rank, n, 8 * seat.ranks):
        if asked(seat.gate):  # `factor` lets all threads leave
            break
        last = smaller(first + 8, n)
        for i in range(last):
            for j in range(i + 1 if i + 1 > first else first, last):
                system[begin + i * row + j] = system[begin + j * row + i]


@jit()
def subtract_rows(
    system: Array, at: Equations, i: int, above: tuple[int, int], columns: tuple[int, int]
) -> None:
    """U[i, c] <- U[i, c] - sum U[q, i] U[q, c] for the rows q ``above``, and some columns c."""
    row, begin, side = at.row, at.matrix, lanes(system)
    (first, last), (j, end) = above, columns
    to = begin + i * row
    while j + 4 * side <= end:
        x0, x1 = load(system, to + j), load(system, to + j + side)
        x2, x3 = load(system, to + j + 2 * side), load(system, to + j + 3 * side)
        for q in range(begin + first * row, begin + last * row, row):
            u = splat(-system[q + i])
            x0 = fma(u, load(system, q + j), x0)
            x1 = fma(u, load(system, q + j + side), x1)
            x2 = fma(u, load(system, q + j + 2 * side), x2)
            x3 = fma(u, load(system, q + j + 3 * side), x3)
        store(system, to + j, x0)
        store(system, to + j + side, x1)
        store(system, to + j + 2 * side, x2)
        store(system, to + j + 3 * side, x3)
        j += 4 * side
    while j + side <= end:
        x0 = load(system, to + j)
        for q in range(begin + first * row, begin + last * row, row):
            x0 = fma(splat(-system[q + i]), load(system, q + j), x0)
        store(system, to + j, x0)
        j += side
    while j < end:
        x = system[to + j]
        for q in range(begin + first * row, begin + last * row, row):
            x = fma(-system[q + i], system[q + j], x)
        system[to + j] = x
        j += 1


@jit()
def divide_by_pivot(system: Array, at: Equations, i: int, columns: tuple[int, int]) -> None:
    """U[i, c] <- U[i, c] / U[i, i] for some columns c, by the inverse of the pivot."""
    inverse, to = system[at.pivots + i], at.matrix + i * at.row
    for j in range(to + columns[0], to + columns[1]):
        system[j] *= inverse


@jit()
def factor_corner(system: Array, at: Equations, first: int, last: int, end: int) -> bool:
    """
    Compute rows ``first`` to ``last - 1`` of U up to column ``end``, which is ``last`` or more.

    Return whether all pivots are positive.
    """
    for i in range(first, last):
        place = at.matrix + i * at.row + i
        least = SMALLEST_PIVOT * system[place]
        subtract_rows(system, at, i, (0, i), (i, end))
        pivot = system[place]
        if not (pivot > least and pivot > 0.0):
            return False
        pivot = square_root(pivot)
        system[place] = pivot
        system[at.pivots + i] = 1.0 / pivot
        divide_by_pivot(system, at, i, (i + 1, end))
    return True


@jit()
def factor(system: Array, at: Equations, seat: Seat) -> int:
    """
    Turn the upper triangle into U, and column n into U^-T b.

    Returns
    -------
    int
        FACTORED; NOT_DEFINITE if a pivot is not positive; or ASKED_TO_LEAVE.
    """
    n, row, begin = at.n, at.row, at.matrix
    verdict = at.pivots + n
    for k in range(0, n, PANEL):
        last = smaller(k + PANEL, n)
        width = row - last
        low = last + width * seat.rank // seat.ranks
        high = last + width * (seat.rank + 1) // seat.ranks
        for column in range(low, high if k > 0 else low, COLUMNS):
            if asked(seat.gate):
                break
            rest = Matrix(system, begin + k * row + column, row, 1)
            multiply(
                Product(
                    height=last - k,
                    width=smaller(COLUMNS, high - column),
                    depth=k,
                    A=Matrix(system, begin + k, 1, row),
                    B=Matrix(system, begin + column, row, 1),
                    C=rest,
                    D=rest,
                    alpha=-1.0,
                    beta=1.0,
                    times=False,
                    rows_outside=True,
                )
            )
        # Nothing was subtracted from the first panel yet, so one thread takes its rows whole.
        end = row if k == 0 and seat.ranks == 1 else last
        low = low if end == last else row
        if seat.rank == 0:
            system[verdict] = 1.0 if factor_corner(system, at, k, last, end) else 0.0
        agree(seat.gate, seat.rank)
        meet(seat.gate, seat.ranks)
        if seat.gate[AGREED] != 0:
            return ASKED_TO_LEAVE
        if system[verdict] == 0.0:
            return NOT_DEFINITE
        for i in range(k, last):
            subtract_rows(system, at, i, (k, i), (low, high))
            divide_by_pivot(system, at, i, (low, high))
        meet(seat.gate, seat.ranks)
    return FACTORED


@jit()
def substitute_back(system: Array, at: Equations) -> None:
    """Solve U x = U^-T b for x; one thread alone."""
    n, row, begin, x, side = at.n, at.row, at.matrix, at.solution, lanes(system)
    for i in range(row):
        system[x + i] = 0.0
    for i in range(n - 1, -1, -1):
        # The vectors begin before column i + 1, where x is still 0, and they end at the row's end.
        u, j = begin + i * row, (i + 1) // side * side
        x0 = x1 = splat(0.0)
        while j + 2 * side <= row:
            x0 = fma(load(system, u + j), load(system, x + j), x0)
            x1 = fma(load(system, u + j + side), load(system, x + j + side), x1)
            j += 2 * side
        if j < row:
            x0 = fma(load(system, u + j), load(system, x + j), x0)
        system[x + i] = (system[u + n] - lane_sum(x0 + x1)) * system[at.pivots + i]


@jit()
def invert_rows(system: Array, at: Equations, i: int, to: int) -> None:
    """
    Write rows i to i + 3 of the inverse of U to ``system[to:]``, each with ``at.row`` numbers.

    What stands there before column i and from column n on is of no use. Rows from n on are 0 up to
    column n. A row x of the inverse solves x U = e_i, column by column.
    """
    n, row, side = at.n, at.row, lanes(system)
    for r in range(INVERTED):
        v = to + r * row
        for j in range(v + i, v + n):
            system[j] = 0.0
        if i + r < n:
            system[v + i + r] = 1.0
    v0, v1, v2, v3 = to, to + row, to + 2 * row, to + 3 * row
    for k in range(i, n):
        u, inverse = at.matrix + k * row, system[at.pivots + k]
        x0, x1 = system[v0 + k] * inverse, system[v1 + k] * inverse
        x2, x3 = system[v2 + k] * inverse, system[v3 + k] * inverse
        system[v0 + k], system[v1 + k], system[v2 + k], system[v3 + k] = x0, x1, x2, x3
        s0, s1, s2, s3 = splat(-x0), splat(-x1), splat(-x2), splat(-x3)
        j = k + 1
        while j + side <= n:
            y = load(system, u + j)
            store(system, v0 + j, fma(s0, y, load(system, v0 + j)))
            store(system, v1 + j, fma(s1, y, load(system, v1 + j)))
            store(system, v2 + j, fma(s2, y, load(system, v2 + j)))
            store(system, v3 + j, fma(s3, y, load(system, v3 + j)))
            j += side
        while j < n:
            z = system[u + j]
            system[v0 + j] = fma(-x0, z, system[v0 + j])
            system[v1 + j] = fma(-x1, z, system[v1 + j])
            system[v2 + j] = fma(-x2, z, system[v2 + j])
            system[v3 + j] = fma(-x3, z, system[v3 + j])
            j += 1
