"""Checks of the estimators' parameters, made when a fit begins, as in scikit-learn."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from jitprop import checks
from jitprop.checks import quoted
from jitprop.net import activations as kinds
from jitprop.net.activations import Activation
from jitprop.net.custom import CustomLoss
from jitprop.net.losses import (
    AbsoluteError,
    HalfSquaredError,
    Huber,
    Loss,
    Poisson,
    Quantile,
    SquaredError,
)
from jitprop.net.schedules import ReduceOnPlateau, Schedule
from jitprop.net.second_order import LevenbergMarquardt
from jitprop.net.spec import HIDDEN_ACTIVATIONS
from jitprop.training.callbacks import EarlyStopping

ACTIVATIONS = ("logistic", *HIDDEN_ACTIVATIONS)
SOLVERS = ("lbfgs", "sgd", "adam", "lm")
SCHEDULES = ("constant", "invscaling", "adaptive")
LOSSES: dict[str, Loss] = {
    "squared_error": HalfSquaredError(),
    "poisson": Poisson(),
    "absolute_error": AbsoluteError(),
    "huber": Huber(),
    "quantile": Quantile(),
}
OBJECTS = (HalfSquaredError, SquaredError, Poisson, AbsoluteError, Huber, Quantile, CustomLoss)
"""The classes of losses that a regressor takes: those with one output for each target."""


class ParameterError(ValueError, TypeError):
    """A parameter has a wrong type or value. scikit-learn's error is both classes too."""


def check(model: Any) -> None:
    """Refuse parameters of a wrong type or value."""
    try:
        _check(model)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{type(model).__name__}: {error}") from None


def _check(model: Any) -> None:
    if isinstance(model.learning_rate, numbers.Real):
        raise TypeError(
            f"learning_rate must be a schedule, one of {', '.join(SCHEDULES)}; the rate itself is "
            f"learning_rate_init: got {checks.shown(model.learning_rate)}"
        )
    for name, known in (
        ("solver", SOLVERS),
        ("learning_rate", SCHEDULES),
    ):
        checks.choice(name, getattr(model, name), known)
    if hasattr(model, "loss"):
        loss(model)
    bounds: tuple[tuple[str, dict[str, float]], ...] = (
        ("alpha", {"low": 0.0}),
        ("learning_rate_init", {"above": 0.0}),
        ("power_t", {"low": 0.0}),
        ("momentum", {"low": 0.0}),
        ("tol", {"low": 0.0}),
        ("validation_fraction", {"low": 0.0, "below": 1.0}),
        ("beta_1", {"low": 0.0, "below": 1.0}),
        ("beta_2", {"low": 0.0, "below": 1.0}),
        ("epsilon", {"above": 0.0}),
    )
    for name, limits in bounds:
        checks.number(name, getattr(model, name), **limits)
    if model.momentum > 1.0:
        raise ValueError(f"momentum must be at most 1; got {quoted(model.momentum)}")
    if not _is_infinite(model.n_iter_no_change):
        checks.integer("n_iter_no_change", model.n_iter_no_change, low=1)
    if not isinstance(model.batch_size, str):
        checks.integer("batch_size", model.batch_size, low=1)
    elif model.batch_size != "auto":
        raise ValueError(f"batch_size must be 'auto' or an integer; got {quoted(model.batch_size)}")
    for name in ("max_iter", "max_fun"):
        checks.integer(name, getattr(model, name), low=1)
    for name in ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping"):
        checks.boolean(name, getattr(model, name))
    if not isinstance(model.verbose, bool | np.bool_):
        checks.integer("verbose", model.verbose, low=0)
    activations(model.activation, len(hidden_layers(model)))
    _check_extensions(model)


def _check_extensions(model: Any) -> None:
    """Check the parameters that scikit-learn does not have."""
    if not checks.is_list(model.dropout):
        checks.number("dropout", model.dropout, low=0.0, below=1.0)
    for name in ("keep_optimizer", "bootstrap"):
        checks.boolean(name, getattr(model, name))
    checks.optional_integer("n_threads", model.n_threads, low=1)
    checks.integer("n_members", model.n_members, low=1)
    if model.bootstrap and model.n_members == 1:
        raise ValueError("bootstrap=True needs n_members of at least 2")
    callbacks(model)
    if not (model.scoring is None or isinstance(model.scoring, str) or callable(model.scoring)):
        raise TypeError(
            "scoring must be 'loss', a scorer's name or a function (estimator, X, y); "
            f"got {checks.shown(model.scoring)}"
        )
    for name, default, solvers in (
        ("dropout", 0.0, ("lbfgs", "lm")),
        ("callbacks", None, ("lbfgs", "lm")),
        ("keep_optimizer", False, ("lbfgs", "lm")),
        ("bootstrap", False, ("lm",)),
        ("n_members", 1, ("lbfgs",)),
    ):
        if model.solver in solvers and getattr(model, name) != default:
            others = " or ".join(repr(one) for one in ("sgd", "adam", "lm") if one not in solvers)
            raise ValueError(f"{name} needs solver {others}; got {model.solver!r}")
    if model.solver == "lm":
        _check_lm(model)


def _check_lm(model: Any) -> None:
    """Refuse what the solver "lm" cannot minimise or watch."""
    if model.early_stopping and model.scoring not in (None, "loss"):
        raise ValueError(
            "scoring must be None or 'loss' with solver 'lm', whose early stopping watches the "
            f"validation loss; got {quoted(model.scoring)}"
        )
    if not hasattr(model, "loss"):
        return
    made, allowed = loss(model), LevenbergMarquardt.losses
    if isinstance(made, CustomLoss) or made.name not in allowed:
        names = [name for name, known in LOSSES.items() if known.name in allowed]
        raise ValueError(
            f"loss must be one of {', '.join(names)} with solver 'lm'; got {quoted(made.name)}"
        )


def with_attributes(model: Any, attributes: dict[str, Any]) -> Any:
    """Return an estimator of the same class with these attributes, which are not copied."""
    made = object.__new__(type(model))
    made.__dict__.update(attributes)
    return made


def _is_infinite(value: Any) -> bool:
    return isinstance(value, numbers.Real) and float(value) == math.inf


def hidden_layers(model: Any) -> list[int]:
    """Return the number of units of each hidden layer; [] for no hidden layer."""
    sizes = model.hidden_layer_sizes
    sizes = sizes if checks.is_list(sizes) else [sizes]
    return [checks.integer("hidden_layer_sizes", n, low=1) for n in sizes]


def activations(given: Any, n_hidden: int) -> list[Activation]:
    """Return the activation of each hidden layer, by the name that `jitprop.Trainer` has for it."""
    given = list(given) if checks.is_list(given) else [given] * max(1, n_hidden)
    made: list[Activation] = []
    for activation in given:
        checked = kinds.resolve("activation", activation, ACTIVATIONS)
        made.append("sigmoid" if checked == "logistic" else checked)
    if n_hidden and len(made) != n_hidden:
        raise ValueError(
            f"activation must be one name, or one for each of the {n_hidden} hidden layers; "
            f"got {len(made)} names"
        )
    return made[:n_hidden]


def loss(model: Any) -> Loss:
    """Return the loss that trains a regressor."""
    if isinstance(model.loss, OBJECTS):
        return model.loss
    if isinstance(model.loss, Loss):
        raise ValueError(f"loss {model.loss.name!r} does not train a regressor")
    return LOSSES[checks.choice("loss", model.loss, tuple(LOSSES), "loss of a regressor")]


def callbacks(model: Any) -> list[Callable[..., Any]]:
    """Return the functions to call after each epoch."""
    given = model.callbacks
    if given is None:
        return []
    given = list(given) if checks.is_list(given) else [given]
    for function in given:
        kind = function if isinstance(function, type) else type(function)
        hint = ""
        if issubclass(kind, EarlyStopping):
            hint = ": write early_stopping=True"
        elif issubclass(kind, Schedule | ReduceOnPlateau):
            hint = ": the estimators' schedules are learning_rate='invscaling' and 'adaptive'"
        elif kind is function:
            hint = f": write {kind.__name__}(...)"
        if hint or not callable(function):
            raise TypeError(
                "callbacks must be a function (estimator, epoch, logs), or a list of them; "
                f"got {checks.shown(function)}{hint}"
            )
    return given
