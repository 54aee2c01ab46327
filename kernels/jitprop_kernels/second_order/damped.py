"""
A damped Gauss-Newton step: what Levenberg-Marquardt and Bayesian regularization have in common.

With R and r of `jacobian`, the weight decay d of each parameter, its scale s (`normal`) and the
damping c, a step solves

    (R^T R + diag(d) + c diag(s)) step = -(R^T r + d w).

If the objective, loss + 1/2 sum d w**2, falls, the step is taken, and c changes by how far it fell:
see `next_damping`. If not, c grows, by twice as much each time, and the step is tried again.

Sources: Levenberg, *A Method for the Solution of Certain Non-Linear Problems in Least Squares*,
Quarterly of Applied Mathematics 2, 1944; Marquardt, *An Algorithm for Least-Squares Estimation of
Nonlinear Parameters*, SIAM Journal 11, 1963; Nielsen, *Damping Parameter in Marquardt's Method*,
IMM-REP-1999-05, Technical University of Denmark, 1999.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Route
from jitprop_kernels.meeting import meet
from jitprop_kernels.plan import Plan
from jitprop_kernels.records import Descent, Places, Seat
from jitprop_kernels.second_order.cholesky import ASKED_TO_LEAVE, FACTORED
from jitprop_kernels.second_order.normal import SCALES, damping_of, solve
from jitprop_kernels.second_order.passes import (
    divisor_of,
    left,
    load_tile,
    stays,
    summed_loss,
)
from jitprop_kernels.simd import fma

DAMPING, DECREASE, INCREASE, MAX_DAMPING, MIN_SCALE, MIN_GRADIENT, TOLERANCE = range(7)
"""Places in ``Descent.settings``."""

ENDED, KEPT_DAMPING = range(2)
"""Rows of ``Descent.slots``, whose first numbers a method uses. Behind them stand the scales."""

NOT_ENDED, BY_GRADIENT, BY_STEP, BY_TOLERANCE = range(4)
"""Why it ended: see `jitprop.net.second_order.REASONS`."""

LEAST_DAMPING, MOST_GROWTH = 1e-20, 2.0


class Step(NamedTuple):
    """A step that was found, or why there is none."""

    ended: np.int64
    """NOT_ENDED; BY_STEP, if there is no step; or ASKED_TO_LEAVE."""
    loss: float
    """Summed over the samples, after the step;"""
    objective: float
    """and the objective."""
    damping: float
    """The damping of the step, or of the last one that was tried;"""
    next_damping: float
    """and that of the next epoch, not yet rounded to the net's dtype."""
    rejected: int
    """How many steps were tried in vain."""


@jit()
def begin(
    plan: Plan, route: Route, work: Descent, anew: bool, seat: Seat, weight_sum: float
) -> None:
    """
    Begin a call: load the samples if they stay in memory, and set ``slots``.

    They say that the method has not ended, and ``anew`` it begins with no scales.
    """
    if stays(plan, work, seat):
        load_tile(plan, route, work, 0, weight_sum)
    slots, P, T = work.slots, work.params.size, type(work.params[0])
    meet(seat.gate, seat.ranks)  # all have read the slots
    if seat.rank == 0:
        slots[ENDED * P] = T(NOT_ENDED)
        if anew:
            for p in range(SCALES * P, (SCALES + 1) * P):
                slots[p] = T(0.0)


@jit()
def penalty(work: Descent, places: Places, params: Array) -> float:
    """1/2 sum d w**2."""
    total = 0.0
    for p in range(params.size):
        w = np.float64(params[p])
        total = fma(work.system[places.decays + p] * w, w, total)
    return 0.5 * total


@jit()
def norm_of_gradient(work: Descent, places: Places) -> float:
    """The largest number of the gradient, without its sign."""
    largest = 0.0
    for p in range(places.gradient, places.gradient + work.params.size):
        g = abs(work.system[p])
        largest = g if g > largest else largest
    return largest


@jit()
def predicted_fall(work: Descent, places: Places, damping: float, least: float) -> float:
    """By how much the objective would fall if it were the parabola of the equations."""
    total = 0.0
    for p in range(work.params.size):
        step = np.float64(work.trial[p]) - np.float64(work.params[p])
        damped = damping_of(work, p, damping, least) * step
        total = fma(step, damped - work.system[places.gradient + p], total)
    return 0.5 * total


@jit()
def next_damping(damping: float, gain: float, decrease: float) -> float:
    """
    Damping of the next epoch: times 1 - (2 gain - 1)**3, but at least ``decrease`` and at most 2.

    ``gain`` is the objective's fall by the one that the equations predicted. If it was 1, the
    damping shrinks the most; if 1/2, it stays.
    """
    x = 2.0 * gain - 1.0
    factor = 1.0 - x * x * x
    factor = factor if factor > decrease else decrease  # of nan, too
    damping *= factor if factor < MOST_GROWTH else MOST_GROWTH
    return damping if damping > LEAST_DAMPING else LEAST_DAMPING


@jit()
def find_step(
    plan: Plan,
    route: Route,
    work: Descent,
    places: Places,
    seat: Seat,
    weight_sum: float,
    objective: float,
    damping: float,
) -> Step:
    """
    Try steps until one lowers the objective. The parameters behind it are written to ``trial``.

    The equations and the gradient were formed before, and the scales raised. ``objective`` is that
    of the parameters.
    """
    settings, divisor = work.settings, divisor_of(plan, work, weight_sum)
    loss, tried = 0.0, objective
    rejected, growth, least = 0, settings[INCREASE], settings[MIN_SCALE]
    most = settings[MAX_DAMPING]
    rounded = np.float64(type(work.params[0])(most))
    most = rounded if rounded > most else most  # what float32 keeps of it is not too large
    while damping <= most:
        found = solve(work, places, damping, least, seat)
        if found == ASKED_TO_LEAVE:
            return Step(np.int64(ASKED_TO_LEAVE), loss, objective, damping, damping, rejected)
        if found == FACTORED:
            loss = summed_loss(plan, route, work, work.trial, seat, weight_sum)
            tried = loss / divisor + penalty(work, places, work.trial)
            if left(seat):
                return Step(np.int64(ASKED_TO_LEAVE), loss, objective, damping, damping, rejected)
            meet(seat.gate, seat.ranks)
            if tried < objective:
                gain = (objective - tried) / predicted_fall(work, places, damping, least)
                following = next_damping(damping, gain, settings[DECREASE])
                following = following if following < most else most
                meet(seat.gate, seat.ranks)  # all have read the parameters
                return Step(np.int64(NOT_ENDED), loss, tried, damping, following, rejected)
        rejected += 1
        damping *= growth
        growth *= 2.0
    return Step(np.int64(BY_STEP), loss, objective, damping, settings[MAX_DAMPING], rejected)


@jit()
def take_step(work: Descent, seat: Seat, step: Step, norm: float, epoch: int, columns: int) -> None:
    """
    Copy ``trial`` to the parameters, and tell of the epoch.

    The first three ``columns`` of an epoch are the damping, the largest number of the gradient
    before the step, and how many steps were tried in vain.
    """
    if seat.rank == 0:
        for p in range(work.params.size):
            work.params[p] = work.trial[p]
        work.losses[epoch] += step.loss
        told = epoch * columns
        work.told[told], work.told[told + 1] = step.damping, norm
        work.told[told + 2] = step.rejected
    meet(seat.gate, seat.ranks)
