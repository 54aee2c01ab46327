"""
Bayesian regularization: Levenberg-Marquardt with a weight decay that is found from the data.

With E_D = 1/2 sum v (a - t)**2 over the N numbers that are to be predicted, and E_W = 1/2 sum w**2
over all P parameters, the objective is beta E_D + alpha E_W. The weights v of the samples have the
mean 1. After each step

    gamma = P - alpha tr(A^-1),    A = beta J^T V J + alpha I,
    alpha = gamma / (2 E_W),       beta = (N - gamma) / (2 E_D).

The equations of a step are in units of the reduced loss, q E_D. So H = q J^T V J, the decay of each
parameter is d = q alpha / beta, and A = (beta / q) (H + d I).

Sources: MacKay, *A Practical Bayesian Framework for Backpropagation Networks*, Neural Computation
4, 1992; Foresee and Hagan, *Gauss-Newton Approximation to Bayesian Learning*, ICNN 1997.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jitprop_kernels import codes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Route
from jitprop_kernels.elementary import log
from jitprop_kernels.meeting import meet
from jitprop_kernels.plan import N_OUT, SMALLEST, Plan
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
from jitprop_kernels.second_order.inverse import summarize
from jitprop_kernels.second_order.normal import form_normal, put_gradient, raise_scales
from jitprop_kernels.second_order.passes import (
    divisor_of,
    left,
    n_samples_of,
    summed_loss,
    weight_sum_of_all,
)
from jitprop_kernels.simd import fma, square_root

ALPHA, BETA, CHANGE = 3, 4, 5
"""Rows of ``Descent.slots`` behind the scales: alpha, beta, and by how much of itself d changed
last."""

COLUMNS, GAMMA = 7, 3
"""It tells what Levenberg-Marquardt tells, and then gamma, the evidence, alpha and beta."""

LEAST, MOST = 1e-30, 1e30
"""The range of alpha and beta, which float32 can hold."""

LEAST_GAMMA = 1e-10
"""gamma is at least so large, and N - gamma at least so large a part of N."""

FIRST_ALPHA = 0.01
"""The first alpha, times the mean square of the parameters. Foresee and Hagan begin with 1, which
takes some nets to 0, from where they never come back: 5 of 6 starts on uDmod1 of NNbenchmark."""

LOG_2_PI = 1.8378770664093453


class Scale(NamedTuple):
    """How the loss is measured."""

    N: float
    """Numbers to be predicted, without those of samples of weight 0."""
    of_loss: float
    """The summed loss is so many E_D,"""
    q: float
    """and the reduced loss so many."""


@jit()
def scale_of(plan: Plan, work: Descent, divisor: float) -> Scale:
    """Return how the loss is measured."""
    weights, counted, total = work.samples.weights, n_samples_of(plan, work), 0.0
    K = plan.layers[len(plan.layers) - 1, N_OUT]
    of_loss = 2.0 if plan.loss == codes.SQUARED_ERROR else 1.0
    if plan.weighted:
        counted = 0
        for i in range(weights.size):
            if weights[i] > 0.0:
                counted += 1
                total += weights[i]
        counted = counted if counted > 0 else 1
        of_loss *= total / counted if total >= SMALLEST else 1.0
    return Scale(float(counted * K), of_loss, of_loss / divisor)


@jit()
def half_square(params: Array) -> float:
    """1/2 sum w**2."""
    total = 0.0
    for p in range(params.size):
        w = np.float64(params[p])
        total = fma(w, w, total)
    return 0.5 * total


@jit()
def put_decay(work: Descent, places: Places, decay: float, seat: Seat) -> None:
    """Write the same weight decay for each parameter."""
    P = work.params.size
    for p in range(P * seat.rank // seat.ranks, P * (seat.rank + 1) // seat.ranks):
        work.system[places.decays + p] = decay
    meet(seat.gate, seat.ranks)


@jit()
def with_trial(work: Descent) -> Descent:
    """Return the same, with the parameters after a step in the place of the parameters."""
    return Descent(
        work.trial,
        work.slots,
        work.samples,
        work.losses,
        work.told,
        work.settings,
        work.trial,
        work.gradients,
        work.parts,
        work.system,
        work.rows,
        work.memory,
    )


@jit()
def within(x: float) -> float:
    """Return x, or what is nearest to it in the range of alpha and beta."""
    x = x if x > LEAST else LEAST
    return x if x < MOST else MOST


@jit()
def effective(P: int, N: float, decay: float, trace: float) -> float:
    """Return gamma, the number of effective parameters: above 0, and below N."""
    most = (1.0 - LEAST_GAMMA) * N
    most = most if most < P else float(P)
    gamma = P - decay * trace
    gamma = gamma if gamma > LEAST_GAMMA else LEAST_GAMMA
    return gamma if gamma < most else most


@jit()
def train_bayesian(
    plan: Plan, route: Route, work: Descent, places: Places, seat: Seat, start: int, stop: int
) -> int:
    """Train the epochs from ``start`` up to ``stop``. Return as `levenberg.train_levenberg`."""
    settings, slots, P = work.settings, work.slots, work.params.size
    T = type(work.params[0])
    weight_sum = weight_sum_of_all(plan, work)
    divisor = divisor_of(plan, work, weight_sum)
    scale = scale_of(plan, work, divisor)
    settled = square_root(settings[TOLERANCE])
    damping, alpha = np.float64(slots[KEPT_DAMPING * P]), np.float64(slots[ALPHA * P])
    beta: float = np.float64(slots[BETA * P])
    change: float = np.float64(slots[CHANGE * P])
    anew = slots[ENDED * P] != T(0.0) or damping == 0.0
    damping = settings[DAMPING] if anew else damping
    begin(plan, route, work, anew, seat, weight_sum)
    loss = summed_loss(plan, route, work, work.params, seat, weight_sum)
    E_W, E_D = half_square(work.params), loss / scale.of_loss
    if left(seat) or not np.isfinite(loss) or not np.isfinite(E_W):
        return start
    meet(seat.gate, seat.ranks)
    if alpha == 0.0 or beta == 0.0:
        mean_square = 2.0 * E_W / P
        alpha = np.float64(
            T(within(FIRST_ALPHA / mean_square if mean_square > 0.0 else FIRST_ALPHA))
        )
        beta = np.float64(T(within(0.5 * scale.N / E_D if E_D > 0.0 else MOST)))
        change = 1.0
    decay = scale.q * alpha / beta
    put_decay(work, places, decay, seat)
    if not form_normal(plan, route, work, places, seat, weight_sum):
        return start
    ahead = with_trial(work)
    epoch, ended = start, np.int64(NOT_ENDED)
    while epoch < stop and ended == NOT_ENDED:
        put_gradient(work, places, seat)
        raise_scales(work, places, seat)
        norm = norm_of_gradient(work, places)
        if norm <= settings[MIN_GRADIENT] and change <= settled:
            ended = np.int64(BY_GRADIENT)
        else:
            objective = loss / divisor + penalty(work, places, work.params)
            step = find_step(plan, route, work, places, seat, weight_sum, objective, damping)
            if step.ended == ASKED_TO_LEAVE:
                return epoch
            ended, damping = step.ended, np.float64(T(step.next_damping))
            if ended == NOT_ENDED:
                # Whoever is asked to leave here leaves everything as it was before the step.
                if not form_normal(plan, route, ahead, places, seat, weight_sum):
                    return epoch
                summary = summarize(ahead, places, seat)
                if summary.found == ASKED_TO_LEAVE:
                    return epoch
                loss = step.loss
                E_D, E_W = loss / scale.of_loss, half_square(work.trial)
                gamma = effective(P, scale.N, decay, summary.trace)
                take_step(work, seat, step, norm, epoch, COLUMNS)
                if seat.rank == 0:
                    logs = fma(float(P), log(beta / scale.q), summary.log_determinant)
                    evidence = P * log(alpha) + scale.N * (log(beta) - LOG_2_PI) - logs
                    told = epoch * COLUMNS + GAMMA
                    work.told[told] = gamma
                    work.told[told + 1] = 0.5 * evidence - fma(alpha, E_W, beta * E_D)
                    work.told[told + 2], work.told[told + 3] = alpha, beta
                alpha = np.float64(T(within(0.5 * gamma / E_W)))
                beta = np.float64(T(within(0.5 * (scale.N - gamma) / E_D)))
                before, decay = decay, scale.q * alpha / beta
                larger = before if before > decay else decay
                change = np.float64(T(abs(decay - before) / larger))
                fall = objective - step.objective
                if fall < settings[TOLERANCE] * objective and change <= settled:
                    ended = np.int64(BY_TOLERANCE)
                put_decay(work, places, decay, seat)
                epoch += 1
        if seat.rank == 0:
            slots[ENDED * P], slots[KEPT_DAMPING * P] = T(ended), T(damping)
            slots[ALPHA * P], slots[BETA * P] = T(alpha), T(beta)
            slots[CHANGE * P] = T(change)
        meet(seat.gate, seat.ranks)
    return epoch
