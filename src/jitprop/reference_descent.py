"""
Scaled conjugate gradients and L-BFGS in plain NumPy, written to be read beside a textbook.

Both need no more than the objective and its gradient g. The objective is the training loss plus
1/2 weight_decay sum W**2. Vectors have the dtype of the net, and their products are summed in
float64.

Sources: Møller, *A Scaled Conjugate Gradient Algorithm for Fast Supervised Learning*, Neural
Networks 6, 1993. Nocedal and Wright, *Numerical Optimization*, 2nd edition, 2006.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from jitprop._types import Array
from jitprop.data.samples import Arrays, Steps
from jitprop.net.descent import (
    LARGEST_SCALE,
    LBFGS,
    SMALLEST_SCALE,
    ScaledConjugateGradient,
)
from jitprop.net.second_order import BY_GRADIENT, BY_STEP, BY_TOLERANCE, NOT_ENDED
from jitprop.net.spec import Spec
from jitprop.reference_net import SMALLEST, backpropagate

ENDED = 0
"""The row of the slots whose first number is why a method has ended."""

SCALE, COUNT, DIRECTION = 1, 2, 3
"""
Further rows of scaled conjugate gradients.

The scale, 0 before the first step; the number of steps since the direction was -g; and the
direction of the next step.
"""

TRIES, WORST = 60, -1000.0
"""The most steps that are tried along one direction, and the worst that is believed of one."""

N_PAIRS, PAIRS = 1, 2
"""Further rows of L-BFGS: the number of pairs that were kept, and then all s and all y."""

EDGE = 0.1
"""How near to an end of its interval, as a part of it, a line search may step."""


class Point(NamedTuple):
    """
    Parameters with all that is known of them.

    Attributes
    ----------
    params : (P,) array
    loss : float
        Of the data, summed over the samples.
    objective : float
    gradient : (P,) array
        Of the objective.
    """

    params: Array
    loss: float
    objective: float
    gradient: Array


Compute: TypeAlias = Callable[[Array], Point]
"""Computes the point for some parameters."""


class Step(NamedTuple):
    """
    A step along a direction, as a line search sees it.

    Attributes
    ----------
    length : float
        The step is ``length * direction``.
    slope : float
        The derivative of the objective with respect to the length.
    point : Point
        Where the step leads to.
    """

    length: float
    slope: float
    point: Point


def point(spec: Spec, samples: Arrays, params: Array) -> Point:
    """Compute the loss, the objective and its gradient."""
    X, y, weights = samples
    loss, d_weights, d_biases = backpropagate(spec, params, X, y, weights)
    gradient, penalty = np.empty_like(params), 0.0
    for W, dW, g in zip(spec.split(params)[0], d_weights, spec.split(gradient)[0], strict=True):
        g[:] = dW + spec.weight_decay * W
        penalty += 0.5 * spec.weight_decay * float(np.sum(W.astype(np.float64) ** 2))
    own = spec.weight_decay if spec.decay_biases else 0.0
    for b, db, g in zip(spec.split(params)[1], d_biases, spec.split(gradient)[1], strict=True):
        g[:] = db + own * b
        penalty += 0.5 * own * float(np.sum(b.astype(np.float64) ** 2))
    divisor = spec.divisor(len(X), weights)
    objective = loss / (divisor if divisor >= SMALLEST else 1.0) + penalty
    return Point(params, loss, objective, gradient)


def dot(x: Array, y: Array) -> np.float64:
    """Return the sum of the products, in float64. Unlike a float, it may be divided by when 0."""
    return np.float64(np.dot(x.astype(np.float64), y.astype(np.float64)))


def train(spec: Spec, params: Array, slots: Array, steps: Steps) -> int:
    """Train by scaled conjugate gradients or L-BFGS: see `jitprop.reference_second_order.train`."""
    method, samples = spec.optimizer, (steps.X, steps.y, steps.weights)

    def compute(at: Array) -> Point:
        return point(spec, samples, at)

    if isinstance(method, ScaledConjugateGradient):
        return scaled_conjugate_gradients(method, compute, params, slots, steps)
    assert isinstance(method, LBFGS)
    return lbfgs(method, compute, params, slots, steps)


def accept(params: Array, steps: Steps, epoch: int, new: Point, told: tuple[float, ...]) -> None:
    """Take a step: change the parameters, and write the loss and what the method tells."""
    params[:] = new.params
    steps.losses[epoch] = new.loss
    if steps.told is not None:
        steps.told[epoch] = told


def has_stalled(before: float, after: float, tolerance: float) -> bool:
    """Whether the objective fell by less than ``tolerance``, relative to itself."""
    return before - after < tolerance * abs(before)


def scaled_conjugate_gradients(
    method: ScaledConjugateGradient, compute: Compute, params: Array, slots: Array, steps: Steps
) -> int:
    """
    Train by Møller's algorithm, whose steps are numbered in comments.

    ``compute`` gives the objective and its gradient for some parameters.
    """
    if slots[ENDED, 0] != NOT_ENDED or slots[SCALE, 0] == 0:
        slots[:, 0] = 0
        slots[SCALE, 0] = method.scale
    here = compute(params.copy())
    if not np.isfinite(here.objective):
        return steps.start
    p, epoch = slots[DIRECTION], steps.start
    while epoch < steps.stop:
        g = here.gradient
        gradient_norm = float(np.abs(g).max())
        if gradient_norm <= method.min_gradient:
            slots[ENDED, 0] = BY_GRADIENT
            return epoch
        if slots[COUNT, 0] == 0 or not dot(p, g) < 0:
            p[:], slots[COUNT, 0] = -g, 0
        scaled = float(slots[SCALE, 0])
        new, scale, computed = conjugate_step(method, compute, here, p, scaled)
        if new is here:
            if slots[COUNT, 0] == 0:
                slots[ENDED, 0] = BY_STEP
                return epoch
            slots[COUNT, 0], slots[SCALE, 0] = 0, method.scale  # try -g
            continue
        slots[SCALE, 0] = min(max(scale, SMALLEST_SCALE), LARGEST_SCALE)
        slots[COUNT, 0] = (slots[COUNT, 0] + 1) % len(params)  # 7: from time to time, -g
        beta = (dot(new.gradient, new.gradient) - dot(new.gradient, g)) / -dot(p, g)
        p[:] = -new.gradient + params.dtype.type(beta) * p
        accept(params, steps, epoch, new, (gradient_norm, scaled, computed))
        before, here, epoch = here.objective, new, epoch + 1
        if has_stalled(before, here.objective, method.tolerance):
            slots[ENDED, 0] = BY_TOLERANCE
            return epoch
    return epoch


def conjugate_step(
    method: ScaledConjugateGradient, compute: Compute, here: Point, p: Array, scale: float
) -> tuple[Point, float, int]:
    """
    Find a step along p that lowers the objective: the steps 2 to 8 of Møller's algorithm.

    Returns where it leads to, the next scale, and how many gradients were computed. Without such a
    step, it leads nowhere: the point is ``here``.
    """
    T, slope, squares = p.dtype.type, dot(p, here.gradient), dot(p, p)
    # 2: the curvature along p, from a second gradient; 3: scale it
    short = T(method.sigma / np.sqrt(squares))
    curvature: float = (dot(p, compute(here.params + short * p).gradient) - slope) / float(short)
    curvature += scale * squares
    if not np.isfinite(curvature):
        curvature = squares
    if curvature <= 0:  # 4: make it positive
        scale, curvature = 2 * (scale - curvature / squares), scale * squares - curvature
    for tried in range(TRIES):
        # 5 and 6: the step, and the fall beside that of the parabola
        new = compute(here.params + T(-slope / curvature) * p)
        fall: float = 2 * curvature * (here.objective - new.objective) / slope**2
        if np.isfinite(new.objective) and new.objective < here.objective:
            if fall < 0.25:  # 8
                scale += curvature * (1 - fall) / squares
            elif fall >= 0.75:  # 7
                scale /= 4
            return new, scale, tried + 2
        fall = max(fall, WORST) if np.isfinite(fall) else WORST
        scale += curvature * (1 - fall) / squares
        curvature *= 2 - fall
    return here, scale, TRIES + 1


def lbfgs(method: LBFGS, compute: Compute, params: Array, slots: Array, steps: Steps) -> int:
    """Train by L-BFGS. ``compute`` gives the objective and its gradient for some parameters."""
    if slots[ENDED, 0] != NOT_ENDED:
        slots[[ENDED, N_PAIRS], 0] = 0
    here = compute(params.copy())
    if not np.isfinite(here.objective):
        return steps.start
    m, epoch = method.memory, steps.start
    S, Y = slots[PAIRS : PAIRS + m], slots[PAIRS + m :]
    while epoch < steps.stop:
        gradient_norm = float(np.abs(here.gradient).max())
        if gradient_norm <= method.min_gradient:
            slots[ENDED, 0] = BY_GRADIENT
            return epoch
        count = int(slots[N_PAIRS, 0])
        order = [k % m for k in range(max(0, count - m), count)]  # the oldest pair first
        direction = -inverse_times(here.gradient, S[order], Y[order])
        if not dot(direction, here.gradient) < 0:
            count, direction = 0, -here.gradient
        slope = dot(direction, here.gradient)
        first = 1.0 if count > 0 else float(1 / np.sqrt(-slope))
        step, computed = line_search(method, compute, here, direction, first)
        if step.length == 0:
            if count == 0:
                slots[ENDED, 0] = BY_STEP
                return epoch
            slots[N_PAIRS, 0] = 0
            continue
        if step.slope > slope:
            s, y = S[count % m], Y[count % m]
            s[:], y[:] = step.point.params - params, step.point.gradient - here.gradient
            count = count + 1 if dot(s, y) > 0 else 0
        slots[N_PAIRS, 0] = m if count == 2 * m else count
        accept(params, steps, epoch, step.point, (gradient_norm, step.length, computed))
        before, here, epoch = here.objective, step.point, epoch + 1
        if has_stalled(before, here.objective, method.tolerance):
            slots[ENDED, 0] = BY_TOLERANCE
            return epoch
    return epoch


def inverse_times(g: Array, S: Array, Y: Array) -> Array:
    """
    Return H g, where the pairs s and y stand for H, the inverse of the second derivatives.

    Algorithm 7.4 of Nocedal and Wright, beginning with s.T y / y.T y of the last pair.
    """
    T, pairs = g.dtype.type, list(zip(S, Y, strict=True))
    factors: list[float] = []
    for s, y in reversed(pairs):
        factors.insert(0, dot(s, g) / dot(s, y))
        g = g - T(factors[0]) * y
    if pairs:
        s, y = pairs[-1]
        g = T(dot(s, y) / dot(y, y)) * g
    for (s, y), factor in zip(pairs, factors, strict=True):
        g = g + T(factor - dot(y, g) / dot(s, y)) * s
    return g


def line_search(
    method: LBFGS, compute: Compute, here: Point, direction: Array, first: float
) -> tuple[Step, int]:
    """
    Return a step that satisfies the strong Wolfe conditions, and how many gradients that took.

    Algorithms 3.5 and 3.6 of Nocedal and Wright in one loop: steps double until two of them bracket
    a minimum, and then the cubic through both gives the next one. ``low`` is the lowest step so far
    that satisfies the first condition. It is returned if the steps run out.
    """
    T, slope = direction.dtype.type, dot(direction, here.gradient)
    low = Step(0.0, slope, here)
    high: Step | None = None
    length = np.float64(T(first))
    for computed in range(1, method.line_steps + 1):
        new = compute(here.params + T(length) * direction)
        step = Step(length, dot(direction, new.gradient), new)
        enough = new.objective <= here.objective + method.c1 * length * slope
        finite = np.isfinite(new.objective) and np.isfinite(step.slope)
        if not (enough and new.objective < low.point.objective and finite):
            high = step
        else:
            if abs(step.slope) <= -method.c2 * slope:
                return step, computed
            ahead = 1.0 if high is None else high.length - low.length
            if step.slope * ahead >= 0:
                high = low
            low = step
        length = np.float64(T(2 * length if high is None else between(low, high)))
    return low, method.line_steps + (low.length != 0)


def between(low: Step, high: Step) -> float:
    """
    Return where the cubic through two steps is lowest, but not too near to either of them.

    Equation 3.59 of Nocedal and Wright. In the middle if that is no number.
    """
    width = high.length - low.length
    rise = high.point.objective - low.point.objective
    d1 = low.slope + high.slope - 3 * rise / width
    d2 = np.sign(width) * np.sqrt(d1**2 - low.slope * high.slope)
    part = 1 - (high.slope + d2 - d1) / (high.slope - low.slope + 2 * d2)
    part = min(max(part, EDGE), 1 - EDGE) if np.isfinite(part) else 0.5
    return float(low.length + part * width)
