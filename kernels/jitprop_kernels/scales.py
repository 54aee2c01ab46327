"""
The scales of the inputs: the first weights are W = diag(s) V, and training changes V and s.

The last ``plan.scale_rows`` rows of the slots hold, one after the other: V, in a row of its own and
there in the places of W; s, (n_in,); and what the optimizer keeps for s, (n_in,) for each number.
What it keeps for V stands where other nets keep that of W.
"""

from __future__ import annotations

from jitprop_kernels import codes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Scalar
from jitprop_kernels.optimizers import (
    adam_step,
    momentum_step,
    rmsprop_step,
    times,
    update,
    velocity_rates,
)
from jitprop_kernels.plan import N_IN, N_OUT, Plan
from jitprop_kernels.records import Update, Work
from jitprop_kernels.simd import fma, lane_sum, lanes, load, splat


@jit(apart=True)
def begin_scales(plan: Plan, work: Work) -> None:
    """Begin anew with s = 1 and V = W, unless W is what s and V make: somebody has set W then."""
    params, slots = work.params, work.slots
    n_in, n_out = plan.layers[0, N_IN], plan.layers[0, N_OUT]
    V = slots.size - plan.scale_rows * params.size
    s = V + params.size
    for i in range(n_in):
        for j in range(i * n_out, (i + 1) * n_out):
            if slots[s + i] * slots[V + j] != params[j]:
                for k in range(n_in):
                    slots[s + k] = 1.0
                for k in range(n_in * n_out):
                    slots[V + k] = params[k]
                return


@jit()
def dot(a: Array, i: int, b: Array, j: int, n: int) -> Scalar:
    """The sum of ``a[i + k] * b[j + k]`` for k < n; the order is always the same."""
    side = lanes(a)
    rest = n // side * side
    x = splat(type(a[0])(0.0))
    for k in range(0, rest, side):
        x = fma(load(a, i + k), load(b, j + k), x)
    total = lane_sum(x)
    for k in range(rest, n):
        total = fma(a[i + k], b[j + k], total)
    return total


@jit()
def update_scale(plan: Plan, slots: Array, at: int, g: Scalar, change: Update) -> None:
    """One update of the scale ``slots[at]`` by its gradient g. Scales do not decay."""
    T, n_in, settings = type(g), plan.layers[0, N_IN], plan.settings
    rate, s = change.rate * plan.scale_rate, slots[at]
    inner, outer = velocity_rates(plan, T(rate))
    first, second = at + n_in, at + 2 * n_in
    if plan.optimizer == codes.SGD:
        s = fma(-T(rate), g, s)
    elif plan.optimizer == codes.MOMENTUM or plan.optimizer == codes.NESTEROV:
        nesterov = plan.optimizer == codes.NESTEROV
        keep = T(settings[0])
        s, slots[first] = momentum_step(s, slots[first], g, inner, outer, keep, nesterov)
    elif plan.optimizer == codes.RMSPROP:
        s, slots[first], slots[second] = rmsprop_step(
            s, slots[first], slots[second], g, inner, outer, settings
        )
    else:
        corrected = T(rate * change.root / change.divisor)
        s, slots[first], slots[second] = adam_step(
            s, slots[first], slots[second], g, corrected, T(1.0), T(change.epsilon), settings
        )
    slots[at] = s


@jit(apart=True)
def update_scaled(plan: Plan, work: Work, first: int, stop: int, change: Update) -> None:
    """
    One update of rows ``first`` to ``stop`` of V and s, from the gradient G of W = diag(s) V.

    dE/dV = diag(s) G, and dE/ds_i is the sum of V_ij G_ij over j.
    """
    params, slots, gradients = work.params, work.slots, work.gradients
    n_out, factor = plan.layers[0, N_OUT], type(params[0])(change.factor)
    V = slots.size - plan.scale_rows * params.size
    s = V + params.size
    clipped = times(change, 1.0)
    for i in range(first, stop):
        row, scale = i * n_out, slots[s + i]
        for j in range(row, row + n_out):
            params[j] = slots[V + j]
            gradients[j] *= factor
        g = dot(params, row, gradients, row, n_out)
        for j in range(row, row + n_out):
            gradients[j] *= scale
        update(plan, work, row, row + n_out, clipped, 0)
        update_scale(plan, slots, s + i, g, clipped)
        scale = slots[s + i]
        for j in range(row, row + n_out):
            slots[V + j] = params[j]
            params[j] *= scale
