"""What the estimators' parameters may be: checked when a fit begins, as scikit-learn does."""

from __future__ import annotations

import math
import numbers
from typing import Any

from jitprop import checks

ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
SOLVERS = ("lbfgs", "sgd", "adam")
SCHEDULES = ("constant", "invscaling", "adaptive")
LOSSES = ("squared_error", "poisson")


class ParameterError(ValueError, TypeError):
    """A parameter is not what it may be; both errors, as scikit-learn's own is."""


def check(model: Any) -> None:
    """Refuse parameters that no fit could use."""
    try:
        _check(model)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{type(model).__name__}: {error}") from None


def _check(model: Any) -> None:
    for name, known in (
        ("activation", ACTIVATIONS),
        ("solver", SOLVERS),
        ("learning_rate", SCHEDULES),
    ):
        checks.choice(name, getattr(model, name), known)
    if hasattr(model, "loss"):
        checks.choice("loss", model.loss, LOSSES)
    bounds: tuple[tuple[str, dict[str, float]], ...] = (
        ("alpha", {"low": 0.0}),
        ("learning_rate_init", {"above": 0.0}),
        ("power_t", {"low": 0.0}),
        ("momentum", {"low": 0.0}),
        ("validation_fraction", {"low": 0.0, "below": 1.0}),
        ("beta_1", {"low": 0.0, "below": 1.0}),
        ("beta_2", {"low": 0.0, "below": 1.0}),
        ("epsilon", {"above": 0.0}),
    )
    for name, limits in bounds:
        checks.number(name, getattr(model, name), **limits)
    if model.momentum > 1.0:
        raise ValueError(f"momentum must be at most 1; got {model.momentum!r}")
    if not _is_infinite(model.tol):
        checks.number("tol", model.tol, low=0.0)
    if not _is_infinite(model.n_iter_no_change):
        checks.integer("n_iter_no_change", model.n_iter_no_change, low=1)
    if not isinstance(model.batch_size, str):
        checks.integer("batch_size", model.batch_size, low=1)
    elif model.batch_size != "auto":
        raise ValueError(f"batch_size must be 'auto' or an integer; got {model.batch_size!r}")
    for name in ("max_iter", "max_fun"):
        checks.integer(name, getattr(model, name), low=1)
    for name in ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping"):
        checks.boolean(name, getattr(model, name))
    if not isinstance(model.verbose, bool):
        checks.integer("verbose", model.verbose, low=0)
    hidden_layers(model)


def _is_infinite(value: Any) -> bool:
    return isinstance(value, numbers.Real) and float(value) == math.inf


def hidden_layers(model: Any) -> list[int]:
    """Units of each hidden layer, of which there may be none."""
    sizes = model.hidden_layer_sizes
    if not hasattr(sizes, "__iter__"):
        sizes = [sizes]
    return [checks.integer("hidden_layer_sizes", n, low=1) for n in sizes]
