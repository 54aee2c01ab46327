"""Levenberg-Marquardt: Gauss-Newton steps, damped until the objective falls. See `damped`."""

from __future__ import annotations

import numpy as np

from jitprop_kernels._jit import jit
from jitprop_kernels._types import Route
from jitprop_kernels.meeting import meet
from jitprop_kernels.plan import BIASES, N_IN, N_OUT, WEIGHTS, Plan
from jitprop_kernels.records import Descent, Places, Seat
from jitprop_kernels.second_order.cholesky import ASKED_TO_LEAVE
from jitprop_kernels.second_order.damped import (
    BY_GRADIENT,
    BY_TOLERANCE,
    DAMPING,
    ENDED,
    KEPT_DAMPING,
    MIN_GRADIENT,
    NOT_ENDED,
    TOLERANCE,
    begin,
    find_step,
    norm_of_gradient,
    penalty,
    take_step,
)
from jitprop_kernels.second_order.normal import (
    form_dual,
    form_normal,
    put_gradient,
    raise_scales,
)
from jitprop_kernels.second_order.passes import (
    divisor_of,
    left,
    summed_loss,
    weight_sum_of_all,
)

COLUMNS = 3
"""It tells of each epoch its damping, the gradient's norm and how many steps were rejected."""


@jit()
def put_decays(plan: Plan, work: Descent, places: Places) -> None:
    """Write each parameter's weight decay."""
    decays = places.decays
    for l in range(len(plan.layers)):
        first, biases = plan.layers[l, WEIGHTS], plan.layers[l, BIASES]
        for p in range(first, first + plan.layers[l, N_IN] * plan.layers[l, N_OUT]):
            work.system[decays + p] = plan.weight_decay
        for p in range(biases, biases + plan.layers[l, N_OUT]):
            work.system[decays + p] = plan.weight_decay if plan.decay_biases else 0.0


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
    damping = np.float64(slots[KEPT_DAMPING * P])
    anew = slots[ENDED * P] != T(0.0) or damping == 0.0
    damping = settings[DAMPING] if anew else damping
    begin(plan, route, work, anew, seat, weight_sum)
    if seat.rank == 0:
        put_decays(plan, work, places)
    loss = summed_loss(plan, route, work, work.params, seat, weight_sum)
    objective = loss / divisor + penalty(work, places, work.params)
    if left(seat) or not np.isfinite(objective):
        return start
    meet(seat.gate, seat.ranks)
    epoch, ended = start, np.int64(NOT_ENDED)
    while epoch < stop and ended == NOT_ENDED:
        if places.dual:
            formed = form_dual(plan, route, work, places, seat, weight_sum)
        else:
            formed = form_normal(plan, route, work, places, seat, weight_sum)
        if not formed:
            return epoch
        put_gradient(work, places, seat)
        raise_scales(work, places, seat)
        norm = norm_of_gradient(work, places)
        if norm <= settings[MIN_GRADIENT]:
            ended = np.int64(BY_GRADIENT)
        else:
            step = find_step(plan, route, work, places, seat, weight_sum, objective, damping)
            if step.ended == ASKED_TO_LEAVE:
                return epoch
            ended, damping = step.ended, np.float64(T(step.next_damping))
            if ended == NOT_ENDED:
                if objective - step.objective < settings[TOLERANCE] * objective:
                    ended = np.int64(BY_TOLERANCE)
                objective = step.objective
                take_step(work, seat, step, norm, epoch, COLUMNS)
                epoch += 1
        if seat.rank == 0:
            slots[ENDED * P], slots[KEPT_DAMPING * P] = T(ended), T(damping)
        meet(seat.gate, seat.ranks)
    return epoch
