"""
The inverse of the curvature M = R^T R + diag(d), by its Cholesky factor U.

M^-1 = U^-1 U^-T. So its trace is the sum of the squares of U^-1, and log det M is twice the sum of
the logarithms of U's diagonal.

Where M is singular but for rounding, a small number is added to its diagonal: 1e-15 of its largest
number, and ten times that until there is a factor.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Route
from jitprop_kernels.elementary import log, smaller
from jitprop_kernels.meeting import asked, meet
from jitprop_kernels.plan import Plan
from jitprop_kernels.records import Descent, Places, Seat
from jitprop_kernels.second_order.cholesky import (
    ASKED_TO_LEAVE,
    FACTORED,
    NOT_DEFINITE,
    factor,
    invert_rows,
    to_upper,
)
from jitprop_kernels.second_order.normal import equations, form_normal
from jitprop_kernels.second_order.passes import (
    left,
    load_tile,
    stays,
    summed_loss,
    weight_sum_of_all,
)
from jitprop_kernels.simd import fma
from jitprop_kernels.sizes import INVERTED

FIRST_ADDED = 1e-15
MOST_TRIALS = 40


class Summary(NamedTuple):
    """What is known of the inverse."""

    found: np.int64
    """FACTORED, NOT_DEFINITE or ASKED_TO_LEAVE."""
    trace: float
    log_determinant: float
    """Of M."""


@jit()
def factor_definite(work: Descent, places: Places, seat: Seat) -> np.int64:
    """Factor M; if it is singular, with a little added to its diagonal. Return as `factor`."""
    system, row, n = work.system, places.row, places.n
    largest = 0.0
    for p in range(n):
        m = system[places.diagonal + p] + system[places.decays + p]
        largest = m if m > largest else largest
    added, found = 0.0, np.int64(NOT_DEFINITE)
    for _ in range(MOST_TRIALS):
        to_upper(system, equations(places), seat)
        for p in range(n * seat.rank // seat.ranks, n * (seat.rank + 1) // seat.ranks):
            m = system[places.diagonal + p] + system[places.decays + p]
            system[p * row + p] = m + added
            system[p * row + n] = 0.0
        meet(seat.gate, seat.ranks)
        found = np.int64(factor(system, equations(places), seat))
        if found != NOT_DEFINITE:
            break
        added = FIRST_ADDED * largest if added == 0.0 else 10.0 * added
    return found


@jit()
def summarize(work: Descent, places: Places, seat: Seat) -> Summary:
    """Factor M, and compute the trace of its inverse and its determinant. All threads do."""
    system, at = work.system, equations(places)
    n, row = places.n, places.row
    found = factor_definite(work, places, seat)
    if found != FACTORED:
        return Summary(found, 0.0, 0.0)
    scratch = places.inverse + seat.rank * INVERTED * row
    squares = places.inverse + seat.ranks * INVERTED * row
    for first in range(INVERTED * seat.rank, n, INVERTED * seat.ranks):
        if asked(seat.gate):
            break
        invert_rows(system, at, first, scratch)
        for i in range(first, smaller(first + INVERTED, n)):
            v, total = scratch + (i - first) * row, 0.0
            for j in range(v + i, v + n):
                total = fma(system[j], system[j], total)
            system[squares + i] = total
    if left(seat):
        return Summary(np.int64(ASKED_TO_LEAVE), 0.0, 0.0)
    trace = logs = 0.0
    for i in range(n):
        trace += system[squares + i]
        logs += log(system[i * row + i])
    meet(seat.gate, seat.ranks)
    return Summary(found, trace, 2.0 * logs)


@jit()
def root_of_inverse(
    plan: Plan, route: Route, work: Descent, places: Places, out: Array, seat: Seat
) -> int:
    """
    Write U^-1 to ``out``, (P * P,), which is 0 before.

    ``system`` has the decays before.

    Returns
    -------
    int
        FACTORED; or NOT_DEFINITE, also if threads were asked to leave.
    """
    P, row, system = places.n, places.row, work.system
    weight_sum = weight_sum_of_all(plan, work)
    if stays(plan, work, seat):
        load_tile(plan, route, work, 0, weight_sum)
        summed_loss(plan, route, work, work.params, seat, weight_sum)
    if not form_normal(plan, route, work, places, seat, weight_sum):
        return NOT_DEFINITE
    found = factor_definite(work, places, seat)
    if found != FACTORED:
        return NOT_DEFINITE
    scratch = places.inverse + seat.rank * INVERTED * row
    for first in range(INVERTED * seat.rank, P, INVERTED * seat.ranks):
        if asked(seat.gate):
            break
        invert_rows(system, equations(places), first, scratch)
        for i in range(first, smaller(first + INVERTED, P)):
            v = scratch + (i - first) * row
            for j in range(i, P):
                out[i * P + j] = system[v + j]
    return NOT_DEFINITE if left(seat) else FACTORED
