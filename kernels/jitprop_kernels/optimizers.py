"""
What an optimizer does with a gradient: the parameters ``params[start:stop]`` change in place.

The gradient stands in the first P of ``gradients``. Plain SGD on whole batches needs none: its
update and its gradient are one product (`training.update_rows`).
"""

from __future__ import annotations

import numpy as np

from jitprop_kernels import codes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Scalar, Settings
from jitprop_kernels.elementary import power
from jitprop_kernels.plan import BIASES, N_OUT, Plan
from jitprop_kernels.records import Run, Update, Work
from jitprop_kernels.simd import fma, lane_sum, lanes, load, splat, square_root, widened


@jit(apart=True)
def sum_of_squares(gradients: Array, start: int, stop: int) -> float:
    """Of ``gradients[start:stop]``, in float64; the order is always the same."""
    side = lanes(gradients)
    rest = start + (stop - start) // (2 * side) * (2 * side)
    v0 = v1 = widened(splat(type(gradients[0])(0.0)))
    for i in range(start, rest, 2 * side):
        x, y = widened(load(gradients, i)), widened(load(gradients, i + side))
        v0 = fma(x, x, v0)
        v1 = fma(y, y, v1)
    total: float = lane_sum(v0 + v1)
    for i in range(rest, stop):
        g = np.float64(gradients[i])
        total = fma(g, g, total)
    return total


@jit()
def end_of_decay(plan: Plan, l: int) -> int:
    """Where the parameters of layer l end that decay: they begin with its weights."""
    end: int = plan.layers[l, BIASES]
    return end + plan.layers[l, N_OUT] if plan.decay_biases else end


@jit()
def run_below(plan: Plan, last: int) -> Run:
    """The layers up to ``last`` whose learning rates have the same factors."""
    factors, first = plan.factors, last
    factor, factor_bias = factors[2 * last], factors[2 * last + 1]
    while first > 0 and factors[2 * first - 2] == factor and factors[2 * first - 1] == factor_bias:
        first -= 1
    return Run(last, first, factor, factor_bias)


@jit()
def velocity_rates(plan: Plan, rate: Scalar) -> tuple[Scalar, Scalar]:
    """
    ``inner`` and ``outer`` of `momentum_step` and `rmsprop_step` for a learning rate.

    With the rate inside the velocity they are rate and 1. With the rate outside they are -1 and
    -rate: the velocity is then a sum of gradients.
    """
    one = type(rate)(1.0)
    return (rate, one) if plan.rate_in_velocity else (-one, -rate)


@jit()
def momentum_step(
    p: Scalar, v: Scalar, g: Scalar, inner: Scalar, outer: Scalar, keep: Scalar, nesterov: bool
) -> tuple[Scalar, Scalar]:
    """
    v <- keep v - inner g, then p <- p + outer v; with Nesterov p <- p + outer (keep v - inner g).

    Nesterov takes the new v. Returns p and v. Source: Sutskever et al., *On the importance of
    initialization and momentum in deep learning*, ICML 2013, in the form of scikit-learn, or with
    the other `velocity_rates` in that of PyTorch.
    """
    step = inner * g
    v = fma(keep, v, -step)
    return fma(outer, fma(keep, v, -step) if nesterov else v, p), v


@jit()
def adam_step(
    p: Scalar,
    m: Scalar,
    v: Scalar,
    g: Scalar,
    rate: Scalar,
    shrink: Scalar,
    epsilon: Scalar,
    settings: Settings,
) -> tuple[Scalar, Scalar, Scalar]:
    """
    m <- beta_1 m + (1 - beta_1) g;  v <- beta_2 v + (1 - beta_2) g**2;
    p <- shrink p - rate m / (sqrt(v) + epsilon).

    ``rate`` and ``epsilon`` carry the correction of the bias, ``shrink`` AdamW's decay; g has the
    other decay in it. Returns p, m and v. Source: Kingma and Ba, *Adam*, arXiv:1412.6980, the order
    of computation at the end of section 2. With epsilon sqrt(1 - beta_2**t) for epsilon it is
    their Algorithm 1: see `corrected_epsilon`.
    """
    beta_1, beta_2, _, _ = settings
    T = type(p)
    m = fma(T(beta_1), m, T(1.0 - beta_1) * g)
    v = fma(T(beta_2), v, T(1.0 - beta_2) * (g * g))
    return fma(shrink, p, -rate * m / (square_root(v) + epsilon)), m, v


@jit()
def corrected_epsilon(settings: Settings, root: float) -> float:
    """
    What `adam_step` adds to sqrt(v) in an update where ``root`` is sqrt(1 - beta_2**t).

    Algorithm 1 divides m_hat by sqrt(v_hat) + epsilon, where m_hat = m / (1 - beta_1**t) and
    v_hat = v / (1 - beta_2**t). Times ``root``, that is sqrt(v) + epsilon ``root``. The settings'
    last number is the least result: epsilon itself for the form with epsilon_hat.
    """
    _, _, epsilon, least = settings
    corrected = epsilon * root
    return corrected if corrected > least else least


@jit()
def change_of(plan: Plan, rate: float, decay: float, t: int, rose: bool) -> Update:
    """Update number t, for all parameters: powers of beta are computed once."""
    root, divisor, epsilon = 1.0, 1.0, 0.0
    if plan.optimizer == codes.ADAM or plan.optimizer == codes.ADAMW:
        beta_1, beta_2, _, _ = plan.settings
        root, divisor = square_root(1.0 - power(beta_2, t)), 1.0 - power(beta_1, t)
        epsilon = corrected_epsilon(plan.settings, root)
    return Update(rate, decay, 1.0, t, rose, root, divisor, epsilon)


@jit()
def times(change: Update, factor: float) -> Update:
    """The same update, by a gradient that is multiplied by the factor first."""
    return Update(
        change.rate,
        change.decay,
        factor,
        change.t,
        change.rose,
        change.root,
        change.divisor,
        change.epsilon,
    )


@jit()
def sgd(work: Work, start: int, stop: int, rate: float, decay: float) -> None:
    """p <- p - rate (g + decay p)."""
    params, gradients = work.params, work.gradients
    T = type(params[0])
    rate_, decay_ = T(rate), T(decay)
    for i in range(start, stop):
        p = params[i]
        params[i] = fma(-rate_, fma(decay_, p, gradients[i]), p)


@jit()
def momentum(
    plan: Plan, work: Work, start: int, stop: int, rate: float, decay: float, nesterov: bool
) -> None:
    """`momentum_step` of a range. ``slots`` holds v."""
    params, slots, gradients = work.params, work.slots, work.gradients
    T = type(params[0])
    decay_, keep = T(decay), T(plan.settings[0])
    inner, outer = velocity_rates(plan, T(rate))
    for i in range(start, stop):
        p = params[i]
        g = fma(decay_, p, gradients[i])
        params[i], slots[i] = momentum_step(p, slots[i], g, inner, outer, keep, nesterov)


@jit()
def adam(
    work: Work,
    start: int,
    stop: int,
    rate: float,
    decay: float,
    shrink: float,
    epsilon: float,
    settings: Settings,
) -> None:
    """`adam_step` of a range. ``slots`` holds m, then v."""
    params, slots, gradients = work.params, work.slots, work.gradients
    T = type(params[0])
    n = params.size
    rate_, decay_, shrink_, epsilon_ = T(rate), T(decay), T(shrink), T(epsilon)
    for i in range(start, stop):
        p, m, v = params[i], slots[i], slots[n + i]
        g = fma(decay_, p, gradients[i])
        params[i], slots[i], slots[n + i] = adam_step(
            p, m, v, g, rate_, shrink_, epsilon_, settings
        )


@jit()
def rmsprop_step(
    p: Scalar, v: Scalar, u: Scalar, g: Scalar, inner: Scalar, outer: Scalar, settings: Settings
) -> tuple[Scalar, Scalar, Scalar]:
    """
    v <- rho v + (1 - rho) g**2;  u <- keep u - inner g / (sqrt(v + below) + beside);
    p <- p + outer u.

    Of ``below`` and ``beside`` one is epsilon and the other is 0. For ``inner`` and ``outer`` see
    `velocity_rates`. Returns p, v and u. Source: Hinton, Srivastava and Swersky, *Neural Networks
    for Machine Learning*, lecture 6e.
    """
    rho, keep, beside, below = settings
    T = type(p)
    v = fma(T(rho), v, T(1.0 - rho) * (g * g))
    step = -inner * g / (square_root(v + T(below)) + T(beside))
    u = fma(T(keep), u, step) if keep != 0.0 else step
    return fma(outer, u, p), v, u


@jit(apart=True)
def rmsprop(plan: Plan, work: Work, start: int, stop: int, rate: float, decay: float) -> None:
    """`rmsprop_step` of a range. ``slots`` holds v and, with a momentum, then u."""
    params, slots, gradients, settings = work.params, work.slots, work.gradients, plan.settings
    T, keeps = type(params[0]), settings[1] != 0.0
    n, decay_ = params.size, T(decay)
    inner, outer = velocity_rates(plan, T(rate))
    for i in range(start, stop):
        p, v, u = params[i], slots[i], slots[n + i] if keeps else T(0.0)
        g = fma(decay_, p, gradients[i])
        params[i], slots[i], u = rmsprop_step(p, v, u, g, inner, outer, settings)
        if keeps:
            slots[n + i] = u


@jit(apart=True)
def rprop(
    work: Work, start: int, stop: int, first: float, decay: float, settings: Settings, back: bool
) -> None:
    """
    p <- p - sign(g) d, each parameter with a step d of its own.

    d grows by eta_plus where the sign is that of the update before, shrinks by eta_minus where it
    is the other: there p stays, and the next update leaves d as it is. With ``back`` p does not
    stay there: the update before is taken back, which was its sign times its d. g is the gradient
    plus ``decay * p``. ``slots`` holds d, then the sign; ``first``, where it is not 0, is the first
    update's d. Source: iRprop- and, with ``back`` where the objective rose, iRprop+ in Igel and
    Huesken, *Improving the Rprop Learning Algorithm*, 2000.
    """
    params, slots, gradients = work.params, work.slots, work.gradients
    eta_minus, eta_plus, step_min, step_max = settings
    T = type(params[0])
    n, zero, one = params.size, T(0.0), T(1.0)
    first_, decay_, low, high = T(first), T(decay), T(step_min), T(step_max)
    shrink, grow = T(eta_minus), T(eta_plus)
    for i in range(start, stop):
        p = params[i]
        g = fma(decay_, p, gradients[i])
        s = one if g > zero else (-one if g < zero else g)  # nan stays
        before = slots[n + i] * slots[i]
        same = s * slots[n + i]
        d = first_ if first != 0.0 else slots[i]
        d *= grow if same > zero else (shrink if same < zero else one)
        d = low if d < low else (high if d > high else d)
        turned = same < zero
        s = zero if turned else s
        slots[i] = d
        slots[n + i] = s
        params[i] = p + before if back and turned else p - s * d


@jit()
def update(plan: Plan, work: Work, start: int, stop: int, change: Update, part: int) -> None:
    """
    One update of ``params[start:stop]`` by the plan's optimizer.

    ``part`` is 2 l for weights of layer l, and 2 l + 1 for its biases.
    ``plan.settings`` are momentum; beta_1, beta_2, epsilon and the least of `corrected_epsilon`;
    rho, momentum, and epsilon beside and below the root; or eta_minus, eta_plus, step_min,
    step_max.
    """
    if plan.factors[part] == 0.0:
        return
    rate, settings = change.rate * plan.factors[part], plan.settings
    decay = change.decay if part % 2 == 0 or plan.decay_biases else 0.0
    if change.factor != 1.0:
        gradients = work.gradients
        factor = type(gradients[0])(change.factor)
        for i in range(start, stop):
            gradients[i] *= factor
    if plan.optimizer == codes.SGD:
        sgd(work, start, stop, rate, decay)
    elif plan.optimizer == codes.MOMENTUM or plan.optimizer == codes.NESTEROV:
        nesterov = plan.optimizer == codes.NESTEROV
        momentum(plan, work, start, stop, rate, decay, nesterov)
    elif plan.optimizer == codes.RMSPROP:
        rmsprop(plan, work, start, stop, rate, decay)
    elif plan.optimizer == codes.RPROP or plan.optimizer == codes.RPROP_PLUS:
        rprop(work, start, stop, rate if change.t == 1 else 0.0, decay, settings, change.rose)
    else:
        shrink = 1.0
        if plan.optimizer == codes.ADAMW:
            shrink, decay = 1.0 - rate * decay, 0.0
        corrected = rate * change.root / change.divisor
        adam(work, start, stop, corrected, decay, shrink, change.epsilon, settings)
