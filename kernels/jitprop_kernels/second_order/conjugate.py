"""
Scaled conjugate gradients: conjugate directions, whose steps need no line search.

With the gradient g, the direction p and the scale c, the curvature along p is

    curvature = p^T (g(w + s p) - g(w)) / s + c p^T p,    s = sigma / norm(p),

and the step is -p^T g / curvature. Where the objective falls as this parabola says, the scale
shrinks. Where it falls less, or rises, the scale grows and steps become shorter.

Source: Moller, *A Scaled Conjugate Gradient Algorithm for Fast Supervised Learning*, Neural
Networks 6, 1993.
"""

from __future__ import annotations

import numpy as np

from jitprop_kernels._jit import jit
from jitprop_kernels._types import Route
from jitprop_kernels.plan import Plan
from jitprop_kernels.records import Descent, Seat
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

SIGMA, SCALE, MIN_GRADIENT, TOLERANCE = range(4)
"""Places in ``Descent.settings``."""

ENDED, KEPT_SCALE, COUNT, DIRECTION = range(4)
"""
Rows of ``Descent.slots``.

Of the first three only the first number is used: why the method has ended, the scale (0 before the
first step), and the steps since the direction was that of steepest descent. The last row is the
direction of the next step, which has no meaning where the count is 0.
"""

COLUMNS = 3
"""It tells the gradient's norm, the scale, and how many gradients were computed."""

LEAST_SCALE, MOST_SCALE = 1e-30, 1e30
"""So that float32 holds the scale, and it is never 0."""

TRIES = 60
"""Steps that are tried along one direction. Each is at most half as long as the one before."""

WORST = -1000.0
"""The worst that is believed of a step, for the next one: far off, an objective may be inf."""


@jit()
def begin_descent(work: Descent) -> tuple[float, float]:
    """Return the slope and the square of -g, which becomes the direction; the count becomes 0."""
    slots, gradients, n = work.slots, work.gradients, work.params.size
    slots[COUNT * n] = 0.0
    for i in range(n):
        slots[DIRECTION * n + i] = -gradients[n + i]
    squares = dot(gradients, n, gradients, n, n)
    return -squares, squares


@jit()
def put_conjugate(work: Descent, slope: float) -> None:
    """Write the next direction, from the gradients of ``trial`` and of ``params``."""
    slots, gradients, n = work.slots, work.gradients, work.params.size
    T = type(slots[0])
    change = dot(gradients, 0, gradients, 0, n) - dot(gradients, 0, gradients, n, n)
    beta = T(change / -slope)
    for i in range(n):
        p = DIRECTION * n + i
        slots[p] = fma(beta, slots[p], -gradients[i])


@jit()
def limited(work: Descent, scale: float) -> float:
    """Return the scale as the slots can hold it."""
    scale = MOST_SCALE if not scale < MOST_SCALE else scale
    scale = LEAST_SCALE if scale < LEAST_SCALE else scale
    return np.float64(type(work.slots[0])(scale))


@jit()
def descend(plan: Plan, route: Route, work: Descent, seat: Seat, start: int, stop: int) -> int:
    """Train by scaled conjugate gradients, as rank 0 of `by_gradients`."""
    settings, slots, gradients = work.settings, work.slots, work.gradients
    n = work.params.size
    T = type(slots[0])
    if slots[ENDED] != T(NOT_ENDED) or slots[KEPT_SCALE * n] == T(0.0):
        slots[ENDED], slots[COUNT * n] = T(NOT_ENDED), T(0.0)
        slots[KEPT_SCALE * n] = T(limited(work, settings[SCALE]))
    objective = begin(plan, route, work, seat)
    if has_left(seat) or not np.isfinite(objective):
        return start
    epoch = start
    while epoch < stop:
        norm = largest(gradients, n, n)
        if norm <= settings[MIN_GRADIENT]:
            slots[ENDED] = T(BY_GRADIENT)
            return epoch
        slope = squares = 0.0
        if slots[COUNT * n] != T(0.0):
            slope = dot(slots, DIRECTION * n, gradients, n, n)
            squares = dot(slots, DIRECTION * n, slots, DIRECTION * n, n)
        if not slope < 0.0:  # the first step, or since the last one the gradient has changed
            slope, squares = begin_descent(work)
        before: float = np.float64(slots[KEPT_SCALE * n])
        scale: float = before
        short = np.float64(T(settings[SIGMA] / square_root(squares)))
        put_trial(work, slots, DIRECTION * n, short)
        evaluate(plan, route, work, seat)
        if has_left(seat):
            return epoch
        curvature: float = (dot(slots, DIRECTION * n, gradients, 0, n) - slope) / short
        curvature += scale * squares
        if not np.isfinite(curvature):
            curvature = squares
        if curvature <= 0.0:
            grown = 2.0 * (scale - curvature / squares)
            curvature = scale * squares - curvature
            scale = grown
        tries, accepted, loss, tried, fall = 0, False, 0.0, 0.0, 0.0
        while not accepted and tries < TRIES:
            tries += 1
            put_trial(work, slots, DIRECTION * n, -slope / curvature)
            loss, tried = evaluate(plan, route, work, seat)
            if has_left(seat):
                return epoch
            accepted = tried < objective and np.isfinite(tried)
            fall = 2.0 * curvature * (objective - tried) / (slope * slope)
            if not accepted:
                fall = fall if fall > WORST else WORST  # also of nan
                scale += curvature * (1.0 - fall) / squares
                curvature *= 2.0 - fall
        if not accepted:
            if slots[COUNT * n] == T(0.0):
                slots[ENDED] = T(BY_STEP)
                return epoch
            slots[COUNT * n], slots[KEPT_SCALE * n] = T(0.0), T(limited(work, settings[SCALE]))
            continue
        if fall < 0.25:
            scale += curvature * (1.0 - fall) / squares
        elif fall >= 0.75:
            scale *= 0.25
        count = whole(slots[COUNT * n]) + 1
        slots[COUNT * n] = T(count if count < n else 0)
        slots[KEPT_SCALE * n] = T(limited(work, scale))
        put_conjugate(work, slope)
        accept(work)
        work.losses[epoch] = loss
        told = epoch * COLUMNS
        work.told[told], work.told[told + 1], work.told[told + 2] = norm, before, tries + 1
        epoch += 1
        if objective - tried < settings[TOLERANCE] * abs(objective):
            slots[ENDED] = T(BY_TOLERANCE)
            return epoch
        objective = tried
    return epoch
