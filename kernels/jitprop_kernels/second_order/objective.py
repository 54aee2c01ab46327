"""
The objective of all samples and its gradient, for methods that need no more than these.

The objective is the reduced loss plus 1/2 weight_decay sum W**2. Threads share the work of the
gradient. What a method does with vectors of P numbers is little beside it, and rank 0 does that
alone. So no number depends on how many threads there are.
"""

from __future__ import annotations

import numpy as np

from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Route, Scalar
from jitprop_kernels.meeting import meet
from jitprop_kernels.network import gradient, sum_of_weights
from jitprop_kernels.optimizers import end_of_decay, sum_of_squares
from jitprop_kernels.plan import N_IN, WEIGHTS, Plan
from jitprop_kernels.records import Descent, Pass, Seat
from jitprop_kernels.simd import fma, lane_sum, lanes, load, skipped, splat, widened
from jitprop_kernels.sizes import AGREED, DESCENT_NUMBERS, DESCENT_VECTORS

COMMAND, DIVISOR = range(DESCENT_NUMBERS)
"""
Places in ``Descent.system``.

They hold whether the other threads shall help or leave, and what the summed loss is divided by.
Behind them stands what a method keeps there.
"""

LEAVE, HELP = 0.0, 1.0

NOT_ENDED, BY_GRADIENT, BY_STEP, BY_TOLERANCE = range(4)
"""Why a method has ended: see `jitprop.net.second_order.REASONS`."""


@jit(apart=True)
def dot(x: Array, at: int, y: Array, begin: int, n: int) -> float:
    """Sum of the products of n numbers from ``x[at]`` and from ``y[begin]`` on, in float64."""
    side = lanes(x)
    rest = n // (2 * side) * (2 * side)
    v0 = v1 = widened(splat(type(x[0])(0.0)))
    for i in range(0, rest, 2 * side):
        v0 = fma(widened(load(x, at + i)), widened(load(y, begin + i)), v0)
        v1 = fma(widened(load(x, at + i + side)), widened(load(y, begin + i + side)), v1)
    total: float = lane_sum(v0 + v1)
    for i in range(rest, n):
        total = fma(np.float64(x[at + i]), np.float64(y[begin + i]), total)
    return total


@jit(apart=True)
def largest(x: Array, at: int, n: int) -> float:
    """Find the largest absolute value of n numbers from ``x[at]`` on."""
    found = 0.0
    for i in range(at, at + n):
        size = abs(np.float64(x[i]))
        found = size if size > found else found
    return found


@jit()
def whole(x: Scalar) -> Scalar:
    """Return a count that the slots hold, as an integer."""
    return np.int64(x)


@jit()
def put_trial(work: Descent, direction: Array, at: int, step: float) -> None:
    """Write ``params + step * direction`` to ``trial``; the direction begins at ``at``."""
    params, trial = work.params, work.trial
    step_ = type(params[0])(step)
    for i in range(params.size):
        trial[i] = fma(step_, direction[at + i], params[i])


@jit(apart=True)
def accept(work: Descent) -> None:
    """Let the parameters and their gradient be those of ``trial``."""
    params, gradients, n = work.params, work.gradients, work.params.size
    for i in range(n):
        params[i] = work.trial[i]
        gradients[n + i] = gradients[i]


@jit()
def compute(plan: Plan, route: Route, work: Descent, seat: Seat) -> float:
    """
    Compute the gradient of the data at ``trial``, in all threads. Rank 0 returns the loss.

    Vectors of P numbers stand in ``gradients``: the gradient at ``trial``, that at ``params``, and
    one for the method. Behind these `DESCENT_VECTORS`, several threads have one more each.
    """
    n, n_samples = work.params.size, work.samples.X.size // plan.layers[0, N_IN]
    n_tiles = (n_samples + plan.batch_size - 1) // plan.batch_size
    passed = Pass(work.trial, work.samples, work.memory, work.parts, n_tiles)
    of_threads = skipped(work.gradients, DESCENT_VECTORS * n)
    return gradient(plan, route, passed, work.gradients, of_threads, seat)


@jit()
def has_left(seat: Seat) -> bool:
    """Whether the threads have agreed to leave. Then numbers of the last pass are of no use."""
    return bool(seat.gate[AGREED] != 0)


@jit(apart=True)
def help_on(plan: Plan, route: Route, work: Descent, seat: Seat) -> None:
    """Help rank 0 with gradients until it has no more work."""
    while True:
        meet(seat.gate, seat.ranks)
        if work.system[COMMAND] == LEAVE:
            return
        compute(plan, route, work, seat)
        if has_left(seat):
            return


@jit()
def dismiss(work: Descent, seat: Seat) -> None:
    """Let the other threads leave, unless they have."""
    if not has_left(seat):
        work.system[COMMAND] = LEAVE
        meet(seat.gate, seat.ranks)


@jit()
def set_divisor(plan: Plan, work: Descent) -> None:
    """Write what the summed loss is divided by."""
    n_samples = work.samples.X.size // plan.layers[0, N_IN]
    divisor = 1.0
    if plan.mean:
        weights = sum_of_weights(plan, work.samples, 0, n_samples)
        divisor = weights if plan.weighted else float(n_samples)
    work.system[DIVISOR] = divisor


@jit(apart=True)
def evaluate(plan: Plan, route: Route, work: Descent, seat: Seat) -> tuple[float, float]:
    """
    Return the summed loss and the objective at ``trial``.

    The gradient of the objective becomes the first P of ``gradients``. Rank 0 calls this while the
    others are in `help_on`.
    """
    work.system[COMMAND] = HELP
    meet(seat.gate, seat.ranks)
    loss = compute(plan, route, work, seat)
    trial, gradients, penalty = work.trial, work.gradients, 0.0
    if plan.weight_decay != 0.0:
        decay = type(trial[0])(plan.weight_decay)
        for l in range(len(plan.layers)):
            start, stop = plan.layers[l, WEIGHTS], end_of_decay(plan, l)
            penalty += 0.5 * plan.weight_decay * sum_of_squares(trial, start, stop)
            for i in range(start, stop):
                gradients[i] = fma(decay, trial[i], gradients[i])
    return loss, loss / work.system[DIVISOR] + penalty


@jit()
def begin(plan: Plan, route: Route, work: Descent, seat: Seat) -> float:
    """Compute the gradient at ``params``, and return the objective."""
    set_divisor(plan, work)
    for i in range(work.params.size):
        work.trial[i] = work.params[i]
    _, objective = evaluate(plan, route, work, seat)
    accept(work)
    return objective
