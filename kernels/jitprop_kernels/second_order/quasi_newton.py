"""
L-BFGS: quasi-Newton steps from the last changes of the parameters and of the gradient.

Pairs s = w' - w and y = g' - g of some last steps stand for the inverse of the second derivatives.
The length of each step satisfies the strong Wolfe conditions.

Source: Nocedal and Wright, *Numerical Optimization*, 2nd edition, 2006: algorithms 7.4 and 7.5, and
for the line search 3.5 and 3.6.
"""

from __future__ import annotations

import numpy as np

from jitprop_kernels._jit import jit
from jitprop_kernels._types import Route
from jitprop_kernels.elementary import smaller
from jitprop_kernels.plan import Plan
from jitprop_kernels.records import Descent, Point, Seat
from jitprop_kernels.second_order.objective import (
    BY_GRADIENT,
    BY_STEP,
    BY_TOLERANCE,
    NOT_ENDED,
    accept,
    begin,
    dot,
    evaluate,
    has_left,
    largest,
    put_trial,
    whole,
)
from jitprop_kernels.simd import fma, square_root
from jitprop_kernels.sizes import DESCENT_NUMBERS

C1, C2, LINE_STEPS, MIN_GRADIENT, TOLERANCE = range(5)
"""Places in ``Descent.settings``."""

ENDED, COUNT, PAIRS = range(3)
"""
Rows of ``Descent.slots``.

Of the first two only the first number is used: why the method has ended, and how many pairs were
kept. From ``PAIRS`` on stand a row s of each pair, and then a row y of each. With room for m pairs,
pair number k has place k mod m. A count of 2 m becomes m.
"""

COLUMNS = 3
"""It tells the gradient's norm, the step's length, and how many gradients were computed."""

DIRECTION = 2
"""Which of the vectors in ``Descent.gradients`` is the direction."""

EDGE = 0.1
"""How near to an end of the interval, as a part of it, the next step of a line search may be."""


@jit()
def memory_of(work: Descent) -> int:
    """How many pairs there is room for."""
    return (work.slots.size // work.params.size - PAIRS) // 2


@jit()
def put_direction(work: Descent, count: int) -> None:
    """Write -H g, with the inverse H that the pairs stand for: the loops of algorithm 7.4."""
    slots, gradients, system = work.slots, work.gradients, work.system
    n, m = work.params.size, memory_of(work)
    T = type(slots[0])
    d, products, factors = DIRECTION * n, DESCENT_NUMBERS, DESCENT_NUMBERS + m
    for i in range(n):
        gradients[d + i] = -gradients[n + i]
    oldest = count - smaller(count, m)
    for k in range(count - 1, oldest - 1, -1):
        s, y = (PAIRS + k % m) * n, (PAIRS + m + k % m) * n
        factor = dot(slots, s, gradients, d, n) / system[products + k % m]
        system[factors + k % m] = factor
        for i in range(n):
            gradients[d + i] = fma(T(-factor), slots[y + i], gradients[d + i])
    if count > 0:
        last = (count - 1) % m
        y = (PAIRS + m + last) * n
        size = T(system[products + last] / dot(slots, y, slots, y, n))
        for i in range(n):
            gradients[d + i] *= size
    for k in range(oldest, count):
        s, y = (PAIRS + k % m) * n, (PAIRS + m + k % m) * n
        factor = system[factors + k % m] - (
            dot(slots, y, gradients, d, n) / system[products + k % m]
        )
        for i in range(n):
            gradients[d + i] = fma(T(factor), slots[s + i], gradients[d + i])


@jit()
def put_products(work: Descent, count: int) -> None:
    """Write s^T y of all pairs to where `put_direction` reads them."""
    slots, n, m = work.slots, work.params.size, memory_of(work)
    for k in range(smaller(count, m)):
        s, y = (PAIRS + k) * n, (PAIRS + m + k) * n
        work.system[DESCENT_NUMBERS + k] = dot(slots, s, slots, y, n)


@jit()
def keep_pair(work: Descent, count: int) -> int:
    """
    Keep the change to ``trial`` and of its gradient as a pair, and return how many there are then.

    None are left if rounding took the curvature away.
    """
    slots, gradients, n, m = work.slots, work.gradients, work.params.size, memory_of(work)
    s, y = (PAIRS + count % m) * n, (PAIRS + m + count % m) * n
    for i in range(n):
        slots[s + i] = work.trial[i] - work.params[i]
        slots[y + i] = gradients[i] - gradients[n + i]
    product = dot(slots, s, slots, y, n)
    work.system[DESCENT_NUMBERS + count % m] = product
    if not product > 0.0:
        return 0
    count += 1
    return m if count == 2 * m else count


@jit()
def between(low: Point, high: Point) -> float:
    """
    Where the cubic through both points, with their slopes, is lowest; not too near to either.

    Equation 3.59 of the source. In the middle if that is no number.
    """
    width = high.step - low.step
    d1 = low.slope + high.slope - 3.0 * (low.value - high.value) / (low.step - high.step)
    root = square_root(d1 * d1 - low.slope * high.slope)
    d2 = root if width > 0.0 else -root
    part = 1.0 - (high.slope + d2 - d1) / (high.slope - low.slope + 2.0 * d2)
    if not np.isfinite(part):
        part = 0.5
    part = EDGE if part < EDGE else (1.0 - EDGE if part > 1.0 - EDGE else part)
    return low.step + part * width


@jit()
def search(
    plan: Plan,
    route: Route,
    work: Descent,
    seat: Seat,
    objective: float,
    slope: float,
    first: float,
) -> tuple[Point, int]:
    """
    Find a step along the direction that satisfies the strong Wolfe conditions.

    ``objective`` and ``slope`` are those at ``params``; ``first`` is the first length to try.
    Returns what is at ``trial`` then, and how many gradients were computed. If there are no more to
    be computed, it is the lowest point found that satisfies the first condition; or one with a step
    of 0, if there is none.
    """
    gradients, n, settings = work.gradients, work.params.size, work.settings
    T = type(gradients[0])
    origin = Point(0.0, objective, slope, 0.0)
    low = high = origin
    step, bracketed, computed = np.float64(T(first)), False, 0
    while computed < settings[LINE_STEPS]:
        put_trial(work, gradients, DIRECTION * n, step)
        loss, value = evaluate(plan, route, work, seat)
        computed += 1
        if has_left(seat):
            return origin, computed
        here = Point(step, value, dot(gradients, DIRECTION * n, gradients, 0, n), loss)
        enough = value <= fma(settings[C1] * step, slope, objective)
        finite = np.isfinite(value) and np.isfinite(here.slope)
        if not (enough and value < low.value and finite):
            high, bracketed = here, True
        else:
            if abs(here.slope) <= -settings[C2] * slope:
                return here, computed
            ahead = high.step - low.step if bracketed else 1.0
            if here.slope * ahead >= 0.0:
                high, bracketed = low, True
            low = here
        step = np.float64(T(between(low, high) if bracketed else 2.0 * step))
    if low.step != 0.0:
        put_trial(work, gradients, DIRECTION * n, low.step)
        evaluate(plan, route, work, seat)
        computed += 1
    return low, computed


@jit()
def descend(plan: Plan, route: Route, work: Descent, seat: Seat, start: int, stop: int) -> int:
    """
    Train by L-BFGS, as rank 0 of `by_gradients`.

    ``work.system`` has two more numbers of each pair that there is room for.
    """
    settings, slots, gradients = work.settings, work.slots, work.gradients
    n = work.params.size
    T = type(slots[0])
    if slots[ENDED] != T(NOT_ENDED):
        slots[ENDED], slots[COUNT * n] = T(NOT_ENDED), T(0.0)
    objective = begin(plan, route, work, seat)
    if has_left(seat) or not np.isfinite(objective):
        return start
    put_products(work, whole(slots[COUNT * n]))
    epoch = start
    while epoch < stop:
        norm = largest(gradients, n, n)
        if norm <= settings[MIN_GRADIENT]:
            slots[ENDED] = T(BY_GRADIENT)
            return epoch
        count = whole(slots[COUNT * n])
        put_direction(work, count)
        slope, first = dot(gradients, DIRECTION * n, gradients, n, n), 1.0
        if not slope < 0.0:
            slots[COUNT * n], count = T(0.0), 0
            put_direction(work, count)
            slope = dot(gradients, DIRECTION * n, gradients, n, n)
        if count == 0:
            first = 1.0 / square_root(-slope)
        found, computed = search(plan, route, work, seat, objective, slope, first)
        if has_left(seat):
            return epoch
        if found.step == 0.0:
            if count == 0:
                slots[ENDED] = T(BY_STEP)
                return epoch
            slots[COUNT * n] = T(0.0)
            continue
        if found.slope > slope:
            slots[COUNT * n] = T(keep_pair(work, count))
        accept(work)
        work.losses[epoch] = found.loss
        told = epoch * COLUMNS
        work.told[told], work.told[told + 1], work.told[told + 2] = norm, found.step, computed
        epoch += 1
        if objective - found.value < settings[TOLERANCE] * abs(objective):
            slots[ENDED] = T(BY_TOLERANCE)
            return epoch
        objective = found.value
    return epoch
