"""Translate an estimator's attributes to what a backend takes: a spec and one flat vector."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.backends import Backend, load
from jitprop.net.losses import HalfSquaredError, Loss
from jitprop.net.optimizers import SGD, Adam, Optimizer
from jitprop.net.spec import SklearnRules, Spec, make_spec
from jitprop.sklearn import parameters, prepared
from jitprop.sklearn.prepared import OfSpec
from jitprop.training.evaluation import lent

OUTPUTS = {
    "logistic": ("sigmoid", "binary_cross_entropy"),
    "softmax": ("softmax", "cross_entropy"),
}
"""For each ``out_activation_`` of a classifier: jitprop's name of it, and the loss."""

CLIPPED_ABOVE = 5.0
"""
Losses of one output above this are reported as scikit-learn reports them.

scikit-learn computes the loss from the rounded probability. A loss up to this value means a
probability of at least exp(-5), and rounding that changes hardly a digit of the loss.
"""


def backend() -> Backend:
    """Return the backend: numba, or NumPy if numba is not installed."""
    return load("auto")


def optimizer_of(model: Any) -> Optimizer:
    """Return the optimizer that ``solver`` names."""
    if model.solver == "adam":
        return Adam(model.beta_1, model.beta_2, model.epsilon, epsilon_hat=True)
    # scikit-learn allows momentum=1 and SGD does not. The largest number below 1 differs from it
    # by less than a rounding error.
    momentum = min(float(model.momentum), math.nextafter(1.0, 0.0))
    return SGD(momentum, bool(model.nesterovs_momentum) and momentum > 0.0)


def spec_of(model: Any, optimizer: Optimizer | None = None) -> Spec:
    """Return the spec of the estimator's net and of its training."""
    loss: str | Loss
    output = model.out_activation_
    if output in OUTPUTS:
        output, loss = OUTPUTS[output]
    else:
        loss = parameters.loss(model)
    sizes = [len(model.coefs_[0]), *(len(b) for b in model.intercepts_)]
    spec = make_spec(
        layer_sizes=sizes,
        activation=parameters.activations(model.activation, len(sizes) - 2),
        output_activation=output,
        loss=loss,
        optimizer=optimizer or SGD(),
        learning_rate=1.0,
        dropout=model.dropout,
    )
    clipped = model.out_activation_ in ("logistic", "softmax")
    rules = SklearnRules(
        l2=float(model.alpha),
        reported_l2=float(model.alpha) / 2 * loss_divisor(spec),
        clipped_above=CLIPPED_ABOVE if clipped else math.inf,
        batches_by_size=True,
    )
    return replace(spec, sklearn=rules)


def loss_divisor(spec: Spec) -> int:
    """
    Return the number by which scikit-learn divides the sum over outputs in a reported loss.

    For the squared error it is the number of outputs. The gradient is that of the sum all the same.
    """
    return spec.layer_sizes[-1] if spec.loss.name == "half_squared_error" else 1


def dtype(model: Any) -> np.dtype[Any]:
    """Return float32 if all of ``coefs_`` and ``intercepts_`` are float32, else float64."""
    kind = np.result_type(*model.coefs_, *model.intercepts_)
    return np.dtype(np.float32 if kind == np.float32 else np.float64)


def pack(model: Any, spec: Spec, dtype: np.dtype[Any]) -> Array:
    """Copy ``coefs_`` and ``intercepts_`` into one flat vector."""
    params = np.empty(spec.n_parameters, dtype)
    for views, arrays in zip(spec.split(params), (model.coefs_, model.intercepts_), strict=True):
        for view, array in zip(views, arrays, strict=True):
            view[...] = array
    return params


def unpack(model: Any, spec: Spec, params: Array) -> None:
    """Set ``coefs_`` and ``intercepts_`` to views of the vector."""
    model.coefs_, model.intercepts_ = spec.split(params)
    model._prepared = prepared.of(model).around(params, model.coefs_, model.intercepts_)


def initialize(model: Any, sizes: list[int], dtype: np.dtype[Any]) -> None:
    """
    Draw ``coefs_`` and ``intercepts_`` as scikit-learn does, from the same generator.

    Weights and biases are uniform in [-bound, bound], where bound is sqrt(6 / (n_in + n_out)), or
    sqrt(2 / (n_in + n_out)) with the logistic activation (Glorot and Bengio, AISTATS 2010).
    """
    hidden = parameters.activations(model.activation, len(sizes) - 2)
    model.coefs_, model.intercepts_ = [], []
    # scikit-learn draws the output layer as if it had the hidden layers' activation.
    activations = [*hidden, hidden[-1] if hidden else model.activation]
    for (n_in, n_out), activation in zip(pairwise(sizes), activations, strict=True):
        factor = 2.0 if activation in ("sigmoid", "logistic") else 6.0
        bound = np.sqrt(factor / (n_in + n_out))
        for arrays, shape in ((model.coefs_, (n_in, n_out)), (model.intercepts_, n_out)):
            # The bits of `uniform`, in whose one expression a compiler may fuse product and sum.
            drawn = -bound + (bound + bound) * model._random_state.random_sample(shape)
            arrays.append(drawn.astype(dtype, copy=False))


def outputs(model: Any, X: Array) -> Array:
    """Return the net's outputs, (n_samples, n_outputs), in the dtype that `_cast` chooses."""
    X, spec = _cast(model, X), spec_of(model)
    return _predict(model, spec, pack(model, spec, X.dtype), X)


def logits(model: Any, X: Array) -> Array:
    """
    Return the output layer's z = a @ W + b, before its activation.

    z keeps the digits of probabilities that round to 0 or 1.

    Returns
    -------
    (n_samples, n_outputs) array, or with K members (K, n_samples, n_outputs)
    """
    X = _cast(model, X)
    if hasattr(model, "fleet_"):
        spec, members = model.fleet_._model.spec, model.fleet_.parameters
    else:
        spec = spec_of(model)
        members = [pack(model, spec, X.dtype)]
    plain = replace(spec, activations=(*spec.activations[:-1], "identity"), loss=HalfSquaredError())
    made = np.stack(
        [_predict(model, plain, params.astype(X.dtype, copy=False), X) for params in members]
    )
    return made if hasattr(model, "fleet_") else made[0]


def _cast(model: Any, X: Array) -> Array:
    """Cast samples to float32 if they and all parameters fit in it, else to float64."""
    single = np.result_type(X, np.float32, *model.coefs_) == np.float32
    return np.ascontiguousarray(X, np.float32 if single else np.float64)


def _predict(model: Any, spec: Spec, params: Array, X: Array) -> Array:
    n_threads = checks.optional_integer("n_threads", model.n_threads, low=1)
    nets = OfSpec(prepared.of(model).nets, spec, n_threads)
    with lent(nets, backend(), spec, X, n_threads) as evaluation:
        return evaluation.predict(params, X)


def hidden_activations(model: Any, X: Array) -> list[Array]:
    """
    Return the outputs of each hidden layer: a list of (n_samples, n_units) arrays.

    Each layer is computed as a net of its own.
    """
    made, X = [], _cast(model, X)
    for coefs, intercepts, activation in zip(
        model.coefs_[:-1],
        model.intercepts_[:-1],
        parameters.activations(model.activation, len(model.coefs_) - 1),
        strict=True,
    ):
        spec = make_spec(
            layer_sizes=coefs.shape,
            activation=(),
            output_activation=activation,
        )
        params = np.concatenate([coefs.ravel(), intercepts]).astype(X.dtype, copy=False)
        X = _predict(model, spec, params, X)
        made.append(X)
    return made
