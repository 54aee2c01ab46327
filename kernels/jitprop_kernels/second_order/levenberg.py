"""
Levenberg-Marquardt: Gauss-Newton steps, damped until the objective falls.

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

import numpy as np

from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Route
from jitprop_kernels.meeting import meet
from jitprop_kernels.plan import BIASES, N_IN, N_OUT, WEIGHTS, Plan
from jitprop_kernels.records import Descent, Places, Seat
from jitprop_kernels.second_order.cholesky import ASKED_TO_LEAVE, FACTORED
from jitprop_kernels.second_order.normal import (
    SCALES,
    damping_of,
    form_dual,
    form_normal,
    put_gradient,
    solve,
)
from jitprop_kernels.second_order.passes import (
    divisor_of,
    left,
    summed_loss,
    weight_sum_of_all,
)
from jitprop_kernels.simd import fma

DAMPING, DECREASE, INCREASE, MAX_DAMPING, MIN_SCALE, MIN_GRADIENT, TOLERANCE = range(7)
"""Places in ``Descent.settings``."""

ENDED, KEPT_DAMPING = range(2)
"""Rows of ``Descent.slots``, whose first numbers the method uses. Behind them stand the scales."""

NOT_ENDED, BY_GRADIENT, BY_STEP, BY_TOLERANCE = range(4)
"""Why it ended: see `jitprop.net.second_order.REASONS`."""

LEAST_DAMPING, MOST_GROWTH = 1e-20, 2.0

COLUMNS = 3
"""It tells of each epoch its damping, the gradient's norm and how many steps were rejected."""


@jit()
def put_decays(plan: Plan, work: Descent, places: Places) -> None:
    """Write each parameter's weight decay: biases have none."""
    decays = places.decays
    for l in range(len(plan.layers)):
        first, biases = plan.layers[l, WEIGHTS], plan.layers[l, BIASES]
        for p in range(first, first + plan.layers[l, N_IN] * plan.layers[l, N_OUT]):
            work.system[decays + p] = plan.weight_decay
        for p in range(biases, biases + plan.layers[l, N_OUT]):
            work.system[decays + p] = 0.0


@jit()
def penalty(work: Descent, places: Places, params: Array) -> float:
    """1/2 sum d w**2."""
    total = 0.0
    for p in range(params.size):
        w = float(params[p])
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
        step = float(work.trial[p]) - float(work.params[p])
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
def train_levenberg(
    plan: Plan, route: Route, work: Descent, places: Places, seat: Seat, start: int, stop: int
) -> int:
    """
    Train the epochs from ``start`` up to ``stop``.

    Returns
    -------
    int
        The first epoch that was not trained. Less than ``stop`` if it ended by itself, which
        ``slots`` says; if threads were asked to leave; or if the first loss is not finite.
    """
    settings, slots, P = work.settings, work.slots, work.params.size
    T = type(work.params[0])
    weight_sum = weight_sum_of_all(plan, work)
    divisor = divisor_of(plan, work, weight_sum)
    damping = float(slots[KEPT_DAMPING * P])
    anew = slots[ENDED * P] != T(0.0) or damping == 0.0
    damping = settings[DAMPING] if anew else damping
    meet(seat.gate, seat.ranks)
    if seat.rank == 0:
        put_decays(plan, work, places)
        slots[ENDED * P] = T(NOT_ENDED)
        if anew:
            for p in range(SCALES * P, (SCALES + 1) * P):
                slots[p] = T(0.0)
    loss = summed_loss(plan, route, work, work.params, seat, weight_sum)
    objective = loss / divisor + penalty(work, places, work.params)
    if left(seat) or not np.isfinite(objective):
        return start
    meet(seat.gate, seat.ranks)
    epoch, tried = start, objective
    while epoch < stop:
        if places.dual:
            formed = form_dual(plan, route, work, places, seat, weight_sum)
        else:
            formed = form_normal(plan, route, work, places, seat, weight_sum)
        if not formed:
            return epoch
        put_gradient(work, places, seat)
        norm = norm_of_gradient(work, places)
        ended = np.int64(BY_GRADIENT if norm <= settings[MIN_GRADIENT] else NOT_ENDED)
        rejected, accepted, growth = 0, False, settings[INCREASE]
        while ended == NOT_ENDED and not accepted:
            found = solve(work, places, damping, settings[MIN_SCALE], seat)
            if found == ASKED_TO_LEAVE:
                return epoch
            if found == FACTORED:
                loss = summed_loss(plan, route, work, work.trial, seat, weight_sum)
                tried = loss / divisor + penalty(work, places, work.trial)
                if left(seat):
                    return epoch
                meet(seat.gate, seat.ranks)
                accepted = tried < objective
            if not accepted:
                rejected += 1
                damping *= growth
                growth *= 2.0
                ended = np.int64(BY_STEP if damping > settings[MAX_DAMPING] else NOT_ENDED)
        if ended == NOT_ENDED and objective - tried < settings[TOLERANCE] * objective:
            ended = np.int64(BY_TOLERANCE)
        if accepted:
            predicted = predicted_fall(work, places, damping, settings[MIN_SCALE])
            gain = (objective - tried) / predicted
            objective = tried
            meet(seat.gate, seat.ranks)  # all have read the parameters
            told = epoch * COLUMNS
            if seat.rank == 0:
                for p in range(P):
                    work.params[p] = work.trial[p]
                work.losses[epoch] += loss
                work.told[told], work.told[told + 1] = damping, norm
                work.told[told + 2] = rejected
            epoch += 1
            damping = float(T(next_damping(damping, gain, settings[DECREASE])))
        if seat.rank == 0:
            most = settings[MAX_DAMPING]  # float32 can hold it
            slots[ENDED * P] = T(ended)
            slots[KEPT_DAMPING * P] = T(damping if damping < most else most)
        meet(seat.gate, seat.ranks)
        if ended != NOT_ENDED:
            break
    return epoch
