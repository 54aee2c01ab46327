"""
The formulas of one step of training, as `Trainer.trace` shows them.

They use the names of `jitprop.reference`, with W and b for weights and biases. Except for the prime
of a derivative they are valid Python, so that tests can compute with them.
"""

from __future__ import annotations

import re

from jitprop.net.activations import Activation, Numbered
from jitprop.net.losses import (
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    GaussianNLL,
    HalfSquaredError,
    Huber,
    Poisson,
    Quantile,
    SquaredError,
)
from jitprop.net.optimizers import SGD, Adam, AdamW, RMSprop, Rprop
from jitprop.net.second_order import is_second_order
from jitprop.net.spec import Spec


def step(spec: Spec, n_samples: int, weighted: bool, updates: int) -> dict[str, str]:
    """
    Return the formula of each quantity of one step, in the order of computation.

    Parameters
    ----------
    spec : Spec
    n_samples : int
    weighted : bool
        Whether the samples have weights.
    updates : int
        The number of updates that were made before.

    Returns
    -------
    dict of str to str
        Formulas by the names of quantities, such as "z[0]" or "delta[1]". The formula of an update
        has a line for each quantity that it needs; the last line is the update itself. Quantities
        that are given, such as a[0], have the formula "".
    """
    L = len(spec.shapes)
    last = f"a[{L}]"
    over_n = f" / {n_samples}" if spec.reduction == "mean" and n_samples > 1 else ""
    dropped = [f" * mask[{l}]" if p > 0 else "" for l, p in enumerate((*spec.dropout, 0.0))]
    found = {"a[0]": ""}
    for l, activation in enumerate(spec.activations):
        found |= {f"W[{l}]": "", f"b[{l}]": ""}
        found[f"z[{l}]"] = f"a[{l}] @ W[{l}] + b[{l}]"
        if dropped[l]:
            found[f"mask[{l}]"] = ""
        found[f"a[{l + 1}]"] = _activated(activation, "", l) + dropped[l]

    value, derivative = _loss(spec, last)
    found |= {"y": ""}
    if weighted:
        value, derivative = f"w[:, None] * ({value})", f"w[:, None] * {derivative}"
        over_n = " / sum(w)" if spec.reduction == "mean" else ""
        found |= {"w": ""}
    found |= {"loss": f"sum({value}){over_n}"}
    if not spec.loss.outputs:
        derivative += " * " + _activated(spec.activations[-1], "'", L - 1)
    for l in reversed(range(L)):
        slope = _activated(spec.activations[l], "'", l) + dropped[l]
        back = f"(delta[{l + 1}] @ W[{l + 1}].T) * {slope}"
        found[f"delta[{l}]"] = derivative + over_n if l == L - 1 else back
        found[f"d_weights[{l}]"] = f"a[{l}].T @ delta[{l}]"
        found[f"d_biases[{l}]"] = f"delta[{l}].sum(axis=0)"

    found["learning_rate"] = ""
    for l in range(L):
        terms = [f"{spec.weight_decay!r} * W[{l}]"] if spec.weight_decay else []
        if spec.l2:
            terms.append(f"{spec.l2!r} * W[{l}] / {'sum(w)' if weighted else n_samples}")
        decay = " + ".join(terms) if len(terms) < 2 else f"({' + '.join(terms)})"
        of_weights = _update(spec, f"d_weights[{l}]", decay, updates + 1)
        decay_of_biases = decay.replace("W", "b") if spec.decay_biases else ""
        of_biases = _update(spec, f"d_biases[{l}]", decay_of_biases, updates + 1)
        of_weights = _factored(of_weights, spec.factors[l][0])
        if l == 0 and spec.input_scale_rate is not None:
            of_weights = _scaled(spec, spec.input_scale_rate, updates + 1)
        found[f"update_weights[{l}]"] = of_weights
        found[f"update_biases[{l}]"] = _factored(of_biases, spec.factors[l][1])
    return found


def _activated(activation: Activation, prime: str, l: int) -> str:
    """Return the formula of a layer's activation, or of its slope if ``prime`` is that sign."""
    if isinstance(activation, Numbered):
        return f"{activation.name}{prime}(z[{l}], {activation.number!r})"
    return f"{activation}{prime}(z[{l}])"


def _factored(update: str, factor: float) -> str:
    """Return the formula of an update with a learning rate factor."""
    if factor == 0.0:
        return "0"
    rate = "learning_rate"
    return update if factor == 1.0 else update.replace(rate, f"{factor!r} * {rate}")


def _scaled(spec: Spec, scale_rate: float, t: int) -> str:
    """
    Return the formula of an update of the first weights W = diag(s) V, for scaled inputs.

    What the optimizer keeps for s has its usual name with _s behind it.
    """
    decay = f"{spec.weight_decay!r} * V" if spec.weight_decay else ""
    of_V = _factored(_update(spec, "s[:, None] * d_weights[0]", decay, t), spec.factors[0][0])
    of_s = _factored(_update(spec, "(V * d_weights[0]).sum(axis=1)", "", t), scale_rate)
    of_s = re.sub(r"\b([cgmuv])\b", r"\1_s", of_s)
    *lines, step_of_V = of_V.split("\n")
    *lines_of_s, step_of_s = of_s.split("\n")
    lines += [line for line in lines_of_s if not line.startswith("norm")]
    lines += [f"step = {step_of_V}", f"step_s = {step_of_s}"]
    return "\n".join([*lines, "(s + step_s)[:, None] * (V + step) - W[0]"])


def _loss(spec: Spec, a: str) -> tuple[str, str]:
    """
    Return the formulas of a sample's loss and of its derivative, for outputs called ``a``.

    The derivative is dE/da. For losses that need a certain output activation it is dE/dz, since
    there the slope of the activation cancels.
    """
    match spec.loss:
        case HalfSquaredError():
            return f"1/2 * ({a} - y)**2", f"({a} - y)"
        case SquaredError():
            return f"({a} - y)**2", f"2 * ({a} - y)"
        case AbsoluteError():
            return f"abs({a} - y)", f"sign({a} - y)"
        case Huber(delta=d):
            near, far = f"({a} - y)**2 / 2", f"{d} * (abs({a} - y) - {d} / 2)"
            return f"where(abs({a} - y) <= {d}, {near}, {far})", f"clip({a} - y, -{d}, {d})"
        case Quantile(q=q):
            value = f"where(y > {a}, {q} * (y - {a}), (1 - {q}) * ({a} - y))"
            return value, f"where(y > {a}, -{q}, where(y < {a}, 1 - {q}, 0))"
        case Poisson() if spec.activations[-1] == "exp":
            return f"{a} - y * log({a})", f"({a} - y)"
        case Poisson():
            return f"exp({a}) - y * {a}", f"(exp({a}) - y)"
        case GaussianNLL():
            mean, s = f"{a}[:, :{spec.n_targets}]", f"{a}[:, {spec.n_targets}:]"
            square = f"(y - {mean})**2 * exp(-{s})"
            by_mean, by_s = f"({mean} - y) * exp(-{s})", f"(1 - {square}) / 2"
            return f"({s} + {square}) / 2", f"hstack([{by_mean}, {by_s}])"
        case BinaryCrossEntropy():
            return f"-(y * log({a}) + (1 - y) * log(1 - {a}))", f"({a} - y)"
        case CrossEntropy():
            return f"-y * log({a})", f"({a} - y)"
    return f"{spec.loss.name}({a}, y)", f"{spec.loss.name}'({a}, y)"


def _update(spec: Spec, gradient: str, decay: str, t: int) -> str:
    """
    Return the formula of an update by the optimizer.

    u, v, m, d, s and e stand for what the optimizer keeps, which is 0 before the first update.
    """
    optimizer = spec.optimizer
    decoupled, norm = "", []
    if spec.clip_norm is not None:
        norm = ["norm = sqrt(sum([(d**2).sum() for d in d_weights + d_biases]))"]
        gradient += f" * min(1, {spec.clip_norm!r} / norm)"
    if decay and isinstance(optimizer, AdamW):
        decoupled = f"-learning_rate * {decay} - "
    elif decay:
        gradient += f" + {decay}"
    if isinstance(optimizer, SGD):
        if optimizer.momentum == 0.0:
            lines = [f"-learning_rate * {f'({gradient})' if decay else gradient}"]
            return "\n".join(norm + lines)
        if optimizer.rate_in_velocity:
            velocity = f"{optimizer.momentum!r} * v - learning_rate * g"
            step = velocity if optimizer.nesterov else "v"
        else:
            velocity = f"{optimizer.momentum!r} * v + g"
            following = f"(g + {optimizer.momentum!r} * v)" if optimizer.nesterov else "v"
            step = f"-learning_rate * {following}"
        lines = [f"g = {gradient}", f"v = {velocity}", step]
    elif isinstance(optimizer, RMSprop):
        kept = f"{optimizer.momentum!r} * u" if optimizer.momentum else ""
        root = f"(sqrt(v) + {optimizer.epsilon!r})"
        if optimizer.epsilon_in_root:
            root = f"sqrt(v + {optimizer.epsilon!r})"
        velocity, step = f"{kept} - " if kept else "-", "u"
        velocity += f"learning_rate * g / {root}"
        if kept and not optimizer.rate_in_velocity:
            velocity, step = f"{kept} + g / {root}", "-learning_rate * u"
        lines = [
            f"g = {gradient}",
            f"v = {optimizer.rho!r} * v + (1 - {optimizer.rho!r}) * g**2",
            f"u = {velocity}",
            step,
        ]
    elif isinstance(optimizer, Rprop):
        grown = f"where(r > 0, {optimizer.eta_plus!r}, where(r < 0, {optimizer.eta_minus!r}, 1))"
        d = "learning_rate" if t == 1 else "d"
        lines = [
            f"g = {gradient}",
            "r = sign(g) * s",
            f"d = clip({d} * {grown}, {optimizer.step_min!r}, {optimizer.step_max!r})",
            "s = where(r < 0, 0, sign(g))",
            "-s * d",
        ]
        if optimizer.backtracking:
            half = spec.weight_decay / 2
            decayed = "W + b" if spec.decay_biases else "W"
            penalty = f" + {half!r} * sum([(w**2).sum() for w in {decayed}])" if half else ""
            lines.insert(1, "back = s * d")  # before both change
            lines[-1:] = [f"E = loss{penalty}", "where((r < 0) & (E > e), back, -s * d)"]
    elif is_second_order(optimizer):
        lines = [f"g = {gradient}", optimizer.step]
    else:
        assert isinstance(optimizer, Adam)
        beta_1, beta_2 = optimizer.beta_1, optimizer.beta_2
        of_mean, of_square = f"(1 - {beta_1!r}**{t})", f"(1 - {beta_2!r}**{t})"
        lines = [
            f"g = {gradient}",
            f"m = {beta_1!r} * m + (1 - {beta_1!r}) * g",
            f"v = {beta_2!r} * v + (1 - {beta_2!r}) * g**2",
        ]
        mean, square = f"m / {of_mean}", f"v / {of_square}"
        if optimizer.epsilon_hat:
            lines.append(f"c = sqrt{of_square} / {of_mean}")
            mean, square = "c * m", "v"
        step = f"learning_rate * {mean} / (sqrt({square}) + {optimizer.epsilon!r})"
        lines.append(f"{decoupled or '-'}{step}")
    return "\n".join(norm + lines)
