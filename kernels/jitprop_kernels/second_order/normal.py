"""The equations of a step: H = R^T R and g = R^T r, or the dual ones, from rows of R."""

from __future__ import annotations

import numpy as np

from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Route
from jitprop_kernels.blocks import multiply
from jitprop_kernels.elementary import smaller
from jitprop_kernels.meeting import asked, meet
from jitprop_kernels.network import pack_weights
from jitprop_kernels.plan import N_OUT, Plan
from jitprop_kernels.records import Descent, Matrix, Places, Product, Seat
from jitprop_kernels.second_order.cholesky import (
    COLUMNS,
    FACTORED,
    PANEL,
    Equations,
    factor,
    substitute_back,
    to_upper,
)
from jitprop_kernels.second_order.jacobian import (
    Rows,
    pass_forward,
    put_roots,
    put_rows,
    width_of,
)
from jitprop_kernels.second_order.passes import (
    divisor_of,
    left,
    n_samples_of,
    n_tiles_of,
    tile_size,
)
from jitprop_kernels.simd import fma, four_sums, lane_sum, lanes, load, splat, store

FOUR = 4

SCALES = 2
"""The row of ``slots`` that has the parameters' scales."""

MOST_SCALE = 1e30
"""A scale is at most this number, which float32 can hold."""


@jit()
def equations(places: Places) -> Equations:
    """Where the equations stand in ``system``."""
    return Equations(places.n, places.row, 0, places.pivots, places.solution)


@jit()
def add_block(rows: Rows, system: Array, row: int, i: int, j: int) -> None:
    """Add to rows i and i + 1 of H, and its columns j to j + 3."""
    array, width, stride, side = rows.array, rows.width, rows.stride, lanes(rows.array)
    a, b0 = rows.at + i * stride, rows.at + j * stride
    b1, b2, b3 = b0 + stride, b0 + 2 * stride, b0 + 3 * stride
    x0 = x1 = x2 = x3 = y0 = y1 = y2 = y3 = splat(0.0)
    for s in range(0, width, side):
        x, y = load(array, a + s), load(array, a + stride + s)
        b = load(array, b0 + s)
        x0, y0 = fma(x, b, x0), fma(y, b, y0)
        b = load(array, b1 + s)
        x1, y1 = fma(x, b, x1), fma(y, b, y1)
        b = load(array, b2 + s)
        x2, y2 = fma(x, b, x2), fma(y, b, y2)
        b = load(array, b3 + s)
        x3, y3 = fma(x, b, x3), fma(y, b, y3)
    to = i * row + j
    store(system, to, load(system, to) + four_sums(x0, x1, x2, x3))
    to += row
    store(system, to, load(system, to) + four_sums(y0, y1, y2, y3))


@jit()
def add_corner(rows: Rows, system: Array, row: int, i: int) -> None:
    """Add to rows i to i + 3 of H, from column i to the diagonal."""
    array, width, stride, side = rows.array, rows.width, rows.stride, lanes(rows.array)
    a0 = rows.at + i * stride
    a1, a2, a3 = a0 + stride, a0 + 2 * stride, a0 + 3 * stride
    zero = splat(0.0)
    x00 = x10 = x11 = x20 = x21 = x22 = x30 = x31 = x32 = x33 = zero
    for s in range(0, width, side):
        v0, v1 = load(array, a0 + s), load(array, a1 + s)
        v2, v3 = load(array, a2 + s), load(array, a3 + s)
        x00, x10, x11 = fma(v0, v0, x00), fma(v1, v0, x10), fma(v1, v1, x11)
        x20, x21, x22 = fma(v2, v0, x20), fma(v2, v1, x21), fma(v2, v2, x22)
        x30, x31, x32, x33 = fma(v3, v0, x30), fma(v3, v1, x31), fma(v3, v2, x32), fma(v3, v3, x33)
    to = i * row + i
    store(system, to, load(system, to) + four_sums(x00, zero, zero, zero))
    to += row
    store(system, to, load(system, to) + four_sums(x10, x11, zero, zero))
    to += row
    store(system, to, load(system, to) + four_sums(x20, x21, x22, zero))
    to += row
    store(system, to, load(system, to) + four_sums(x30, x31, x32, x33))


@jit()
def add_row(rows: Rows, system: Array, row: int, i: int, j: int) -> None:
    """Add to row i of H, and its columns j to j + 7."""
    array, width, stride, side = rows.array, rows.width, rows.stride, lanes(rows.array)
    a, b0 = rows.at + i * stride, rows.at + j * stride
    b1, b2, b3, b4 = b0 + stride, b0 + 2 * stride, b0 + 3 * stride, b0 + 4 * stride
    b5, b6, b7 = b4 + stride, b4 + 2 * stride, b4 + 3 * stride
    x0 = x1 = x2 = x3 = x4 = x5 = x6 = x7 = splat(0.0)
    for s in range(0, width, side):
        x = load(array, a + s)
        x0, x1 = fma(x, load(array, b0 + s), x0), fma(x, load(array, b1 + s), x1)
        x2, x3 = fma(x, load(array, b2 + s), x2), fma(x, load(array, b3 + s), x3)
        x4, x5 = fma(x, load(array, b4 + s), x4), fma(x, load(array, b5 + s), x5)
        x6, x7 = fma(x, load(array, b6 + s), x6), fma(x, load(array, b7 + s), x7)
    to = i * row + j
    store(system, to, load(system, to) + four_sums(x0, x1, x2, x3))
    store(system, to + FOUR, load(system, to + FOUR) + four_sums(x4, x5, x6, x7))


@jit()
def add_products(rows: Rows, system: Array, row: int, seat: Seat) -> None:
    """
    Add R^T R to the lower triangle of H, and R^T r to the row behind it.

    What stands above the diagonal nobody reads. Threads share the columns of H, four at a time: the
    four rows of R stay in the first cache, and the others pass by. A number is one sum for each
    tile of samples, whichever function adds it. A thread that is asked to leave stops here. Behind
    it, `left` must let all of them leave.
    """
    n = rows.n
    for j in range(FOUR * seat.rank, n + 1, FOUR * seat.ranks):
        if asked(seat.gate):
            break
        i = j
        if j + FOUR <= n + 1:
            add_corner(rows, system, row, j)
            i += FOUR
        while i < n:
            add_block(rows, system, row, i, j)
            i += 2
        if i == n and j % (2 * FOUR) == 0:  # the last row is alone
            if j + 2 * FOUR <= row:
                add_row(rows, system, row, n, j)
            else:
                add_block(rows, system, row, n, j)


@jit()
def share_of_samples(plan: Plan, work: Descent, weight_sum: float) -> float:
    """Each sample's share of the loss, where samples have no weights."""
    return 1.0 if plan.weighted else 1.0 / divisor_of(plan, work, weight_sum)


@jit()
def form_normal(
    plan: Plan, route: Route, work: Descent, places: Places, seat: Seat, weight_sum: float
) -> bool:
    """
    Form H in the lower triangle of the matrix, and g behind it as row P. Keep H's diagonal too.

    Tiles go to the threads in turns, and then all threads add them, tile by tile. Return whether
    the threads were not asked to leave.
    """
    system, row, P = work.system, places.row, places.n
    K, n_tiles = plan.layers[len(plan.layers) - 1, N_OUT], n_tiles_of(plan, work)
    T = type(work.memory[0])
    share = T(share_of_samples(plan, work, weight_sum))
    for i in range(row * seat.rank // seat.ranks * row, row * (seat.rank + 1) // seat.ranks * row):
        system[i] = 0.0
    pack_weights(plan, route, work.params, work.memory, True)
    stride = width_of(work.memory, smaller(plan.batch_size, n_samples_of(plan, work)))
    size = row * stride
    for begin in range(0, n_tiles, seat.ranks):
        # A thread without a tile takes the last one, in vain.
        tile = smaller(begin + seat.rank, n_tiles - 1)
        part, outputs = pass_forward(plan, route, work, tile, weight_sum, seat)
        width = width_of(work.memory, part.size)
        for k in range(K):
            mine = Rows(work.rows, (seat.rank * K + k) * size, P, width, stride)
            put_roots(plan, work.memory, outputs, k, share, mine)
            put_rows(plan, route, work, part, mine, places.turned)
        if left(seat):
            return False
        for i in range(smaller(seat.ranks, n_tiles - begin) * K):
            width = width_of(work.memory, tile_size(plan, work, begin + i // K))
            add_products(Rows(work.rows, i * size, P, width, stride), system, row, seat)
        meet(seat.gate, seat.ranks)
    for p in range(P * seat.rank // seat.ranks, P * (seat.rank + 1) // seat.ranks):
        system[places.diagonal + p] = system[p * row + p]
    # Sums that were cut short are no gradient, and a small one would end the method.
    return not left(seat)


@jit()
def form_dual(
    plan: Plan, route: Route, work: Descent, places: Places, seat: Seat, weight_sum: float
) -> bool:
    """Write all rows of R, and r: there is one tile. Return as `form_normal`."""
    K, T = plan.layers[len(plan.layers) - 1, N_OUT], type(work.memory[0])
    if seat.rank == 0:
        share = T(share_of_samples(plan, work, weight_sum))
        pack_weights(plan, route, work.params, work.memory, True)
        part, outputs = pass_forward(plan, route, work, 0, weight_sum, seat)
        width = width_of(work.memory, part.size)
        for k in range(K):
            at = places.rows + k * width
            rows = Rows(work.system, at, work.params.size, width, places.row)
            put_roots(plan, work.memory, outputs, k, share, rows)
            put_rows(plan, route, work, part, rows, places.turned)
    return not left(seat)


@jit()
def put_gradient(work: Descent, places: Places, seat: Seat) -> None:
    """Write the gradient of the objective, from the equations' right side."""
    system, params, P, row = work.system, work.params, work.params.size, places.row
    side, residuals = lanes(system), places.rows + P * row
    for p in range(P * seat.rank // seat.ranks, P * (seat.rank + 1) // seat.ranks):
        if places.dual:
            at, x = places.rows + p * row, splat(0.0)
            for i in range(0, row, side):
                x = fma(load(system, at + i), load(system, residuals + i), x)
            g = lane_sum(x)
        else:
            g = system[P * row + p]
        system[places.gradient + p] = fma(system[places.decays + p], np.float64(params[p]), g)
    meet(seat.gate, seat.ranks)


@jit()
def raise_scales(work: Descent, places: Places, seat: Seat) -> None:
    """Raise each parameter's scale, in ``slots``, to the largest that H's diagonal was so far."""
    system, P, row = work.system, work.params.size, places.row
    side, scales, T = lanes(system), SCALES * P, type(work.params[0])
    for p in range(P * seat.rank // seat.ranks, P * (seat.rank + 1) // seat.ranks):
        if places.dual:
            at, x = places.rows + p * row, splat(0.0)
            for i in range(0, row, side):
                of_row = load(system, at + i)
                x = fma(of_row, of_row, x)
            h = lane_sum(x)
        else:
            h = system[places.diagonal + p]
        if np.float64(work.slots[scales + p]) < h:
            work.slots[scales + p] = T(h if h < MOST_SCALE else MOST_SCALE)
    meet(seat.gate, seat.ranks)


@jit()
def damping_of(work: Descent, p: int, damping: float, least: float) -> float:
    """What is added to H for a parameter: the damping times its scale, at least ``least``."""
    scale = np.float64(work.slots[SCALES * work.params.size + p])
    return damping * (scale if scale > least else least)


@jit()
def damp_normal(work: Descent, places: Places, damping: float, least: float, seat: Seat) -> None:
    """Put H with the damping to the upper triangle, and the gradient with a minus behind it."""
    system, row, P = work.system, places.row, places.n
    to_upper(system, equations(places), seat)
    for p in range(P * seat.rank // seat.ranks, P * (seat.rank + 1) // seat.ranks):
        added = system[places.decays + p] + damping_of(work, p, damping, least)
        system[p * row + p] = system[places.diagonal + p] + added
        system[p * row + P] = -system[places.gradient + p]
    meet(seat.gate, seat.ranks)


@jit()
def damp_dual(work: Descent, places: Places, damping: float, least: float, seat: Seat) -> None:
    """Put I + R D^-1 R^T to the upper triangle, and r - R D^-1 d W behind it; D = damping + d."""
    system, params, P, n, row = work.system, work.params, work.params.size, places.n, places.row
    for p in range(P * seat.rank // seat.ranks, P * (seat.rank + 1) // seat.ranks):
        inverse = 1.0 / (system[places.decays + p] + damping_of(work, p, damping, least))
        at, to = places.rows + p * row, places.scaled + p * row
        for i in range(row):
            system[to + i] = system[at + i] * inverse
    meet(seat.gate, seat.ranks)
    for i in range(PANEL * seat.rank, n, PANEL * seat.ranks):
        for j in range(i, n, COLUMNS):
            if asked(seat.gate):  # `factor` lets all threads leave
                break
            target = Matrix(system, i * row + j, row, 1)
            multiply(
                Product(
                    height=smaller(PANEL, n - i),
                    width=smaller(COLUMNS, n - j),
                    depth=P,
                    A=Matrix(system, places.rows + i, 1, row),
                    B=Matrix(system, places.scaled + j, row, 1),
                    C=target,
                    D=target,
                    alpha=1.0,
                    beta=0.0,
                    times=False,
                    rows_outside=True,
                )
            )
    meet(seat.gate, seat.ranks)
    if seat.rank == 0:
        right = places.solution
        for i in range(n):
            system[right + i] = system[places.rows + P * row + i]
        for p in range(P):
            if asked(seat.gate):
                break
            decayed = system[places.decays + p] * np.float64(params[p])
            if decayed != 0.0:
                for i in range(n):
                    scaled = system[places.scaled + p * row + i]
                    system[right + i] = fma(-decayed, scaled, system[right + i])
        for i in range(n):
            system[i * row + i] += 1.0
            system[i * row + n] = system[right + i]
    meet(seat.gate, seat.ranks)


@jit()
def put_trial(work: Descent, places: Places, damping: float, least: float, seat: Seat) -> None:
    """Write the parameters after a step to ``trial``, from the solution of the equations."""
    system, params, P, row = work.system, work.params, work.params.size, places.row
    side = lanes(system)
    T = type(params[0])
    for p in range(P * seat.rank // seat.ranks, P * (seat.rank + 1) // seat.ranks):
        before = np.float64(params[p])
        if places.dual:
            at, x = places.scaled + p * row, splat(0.0)
            for i in range(0, row, side):
                x = fma(load(system, at + i), load(system, places.solution + i), x)
            decay = system[places.decays + p]
            damped = decay + damping_of(work, p, damping, least)
            after = before - fma(decay / damped, before, lane_sum(x))
        else:
            after = before + system[places.solution + p]
        work.trial[p] = T(after)
    meet(seat.gate, seat.ranks)


@jit()
def solve(work: Descent, places: Places, damping: float, least: float, seat: Seat) -> int:
    """
    Try a step with this damping: write the parameters behind it to ``trial``.

    Returns
    -------
    int
        FACTORED; NOT_DEFINITE, and then there is no step; or ASKED_TO_LEAVE.
    """
    if places.dual:
        damp_dual(work, places, damping, least, seat)
    else:
        damp_normal(work, places, damping, least, seat)
    found = factor(work.system, equations(places), seat)
    if found != FACTORED:
        return found
    if seat.rank == 0:
        substitute_back(work.system, equations(places))
    meet(seat.gate, seat.ranks)
    put_trial(work, places, damping, least, seat)
    return FACTORED
