"""
The formulas of one step, in the words of `jitprop.reference`: what `Trainer.trace` shows.

They are valid Python, but for the prime of a derivative, with W and b for weights and biases; so
tests compute with them.
"""

from __future__ import annotations

from jitprop.optimizers import SGD, AdamW, RMSprop, Rprop
from jitprop.spec import Spec

LOSSES: dict[str, tuple[str, str]] = {
    "half_squared_error": ("1/2 * ({a} - y)**2", "({a} - y)"),
    "squared_error": ("({a} - y)**2", "2 * ({a} - y)"),
    "binary_cross_entropy": ("-(y * log({a}) + (1 - y) * log(1 - {a}))", "({a} - y)"),
    "cross_entropy": ("-y * log({a})", "({a} - y)"),
}
"""The loss of one output, and its derivative: by a, or by z for the cross-entropies, whose
derivative by a cancels the slope of their output's activation."""


def step(spec: Spec, n_samples: int, updates: int) -> dict[str, str]:
    """
    The formula of each quantity of one step, in the order of computation.

    Parameters
    ----------
    spec : Spec
    n_samples : int
    updates : int
        How many came before.

    Returns
    -------
    dict
        Of a formula by the quantity's name, "z[0]" or "delta[1]"; that of an update has a line
        for each thing it computes, the update itself last. What is given has the formula "".
    """
    L = len(spec.shapes)
    last = f"a[{L}]"
    over_n = f" / {n_samples}" if spec.reduction == "mean" and n_samples > 1 else ""
    found = {"a[0]": ""}
    for l, name in enumerate(spec.activations):
        found |= {f"W[{l}]": "", f"b[{l}]": ""}
        found[f"z[{l}]"] = f"a[{l}] @ W[{l}] + b[{l}]"
        found[f"a[{l + 1}]"] = f"{name}(z[{l}])"

    value, derivative = (text.format(a=last) for text in LOSSES[spec.loss.name])
    found |= {"y": "", "loss": f"sum({value}){over_n}"}
    if spec.loss.output is None:
        derivative += f" * {spec.activations[-1]}'(z[{L - 1}])"
    for l in reversed(range(L)):
        slope = f"{spec.activations[l]}'(z[{l}])"
        back = f"(delta[{l + 1}] @ W[{l + 1}].T) * {slope}"
        found[f"delta[{l}]"] = derivative + over_n if l == L - 1 else back
        found[f"d_weights[{l}]"] = f"a[{l}].T @ delta[{l}]"
        found[f"d_biases[{l}]"] = f"delta[{l}].sum(axis=0)"

    found["learning_rate"] = ""
    for l in range(L):
        decay = f"{spec.weight_decay!r} * W[{l}]" if spec.weight_decay else ""
        found[f"update_weights[{l}]"] = _update(spec, f"d_weights[{l}]", decay, updates + 1)
        found[f"update_biases[{l}]"] = _update(spec, f"d_biases[{l}]", "", updates + 1)
    return found


def _update(spec: Spec, gradient: str, decay: str, t: int) -> str:
    """The update by the optimizer; u, v, m, d and s begin as what it keeps of the parameters."""
    optimizer = spec.optimizer
    decoupled = ""
    if decay and isinstance(optimizer, AdamW):
        decoupled = f"-learning_rate * {decay} - "
    elif decay:
        gradient += f" + {decay}"
    if isinstance(optimizer, SGD):
        if optimizer.momentum == 0.0:
            return f"-learning_rate * {f'({gradient})' if decay else gradient}"
        momentum = f"{optimizer.momentum!r} * v - learning_rate * g"
        lines = [f"g = {gradient}", f"v = {momentum}", momentum if optimizer.nesterov else "v"]
    elif isinstance(optimizer, RMSprop):
        kept = f"{optimizer.momentum!r} * u - " if optimizer.momentum else "-"
        lines = [
            f"g = {gradient}",
            f"v = {optimizer.rho!r} * v + (1 - {optimizer.rho!r}) * g**2",
            f"u = {kept}learning_rate * g / (sqrt(v) + {optimizer.epsilon!r})",
            "u",
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
    else:
        beta_1, beta_2 = optimizer.beta_1, optimizer.beta_2
        lines = [
            f"g = {gradient}",
            f"m = {beta_1!r} * m + (1 - {beta_1!r}) * g",
            f"v = {beta_2!r} * v + (1 - {beta_2!r}) * g**2",
            f"c = sqrt(1 - {beta_2!r}**{t}) / (1 - {beta_1!r}**{t})",
            f"{decoupled or '-'}learning_rate * c * m / (sqrt(v) + {optimizer.epsilon!r})",
        ]
    return "\n".join(lines)
