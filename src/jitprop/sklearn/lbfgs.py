"""The solver "lbfgs": scipy's optimizer on jitprop's loss and gradient."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning

from jitprop._types import Array
from jitprop.backends.threads import one_blas_thread
from jitprop.data.samples import Samples
from jitprop.interrupts import Interrupts
from jitprop.sklearn import losses, net
from jitprop.training.errors import see_own
from jitprop.training.evaluation import Evaluation


def fit(model: Any, X: Array, y: Array, weights: Array | None) -> None:
    """
    Minimize the loss over all samples.

    In float64, whatever the dtype of the samples: line searches need its digits.
    """
    spec = replace(net.spec_of(model), even=False)
    if spec.rounded_from < math.inf:
        spec = replace(spec, rounded_from=0.0)  # L-BFGS's steps depend on the last digits
    dtype, double = X.dtype, np.dtype(np.float64)
    X, y = X.astype(double, copy=False), y.astype(double, copy=False)
    weights = None if weights is None else weights.astype(double)
    samples, size = Samples(X, y, weights), spec.divisor(len(X), weights)
    params, gradient = net.pack(model, spec, double), np.empty(spec.n_parameters)
    evaluation = Evaluation(net.backend(), spec, X)
    rest = losses.constants(spec, y)
    constant = 0.0 if rest is None else float(np.average(rest, weights=weights))
    places = _places(spec.split(np.arange(spec.n_parameters)))
    coefs, d_coefs = spec.split(params)[0], spec.split(gradient)[0]

    def loss_and_gradient(packed: Array) -> tuple[float, Array]:
        params[places] = packed
        loss = evaluation.gradient(params, samples, gradient)
        loss = loss / net.told_share(spec) + constant
        for W, d in zip(coefs, d_coefs, strict=True):
            loss += model.alpha / 2 * float(np.vdot(W, W)) / size
            d += model.alpha / size * W
        return loss, gradient[places]

    told = model._under_way = _Told(bool(model.verbose))
    with Interrupts() as interrupts, one_blas_thread(), interrupts.heard():
        result = scipy.optimize.minimize(
            loss_and_gradient,
            params[places],
            method="L-BFGS-B",
            jac=True,
            callback=told,
            options={"maxfun": model.max_fun, "maxiter": model.max_iter, "gtol": model.tol},
        )
    if not math.isfinite(result.fun):
        raise ValueError(
            "the loss is inf or nan, and lbfgs went no further. The input data may contain large "
            f"values and need to be preprocessed.{see_own(spec.own_functions, ' See {}.')}"
        )
    if result.status != 0 and not told.stopped:
        warnings.warn(
            f"lbfgs failed to converge after {result.nit} iteration(s) (status={result.status}):\n"
            f"{result.message}\n\nIncrease the number of iterations to improve the convergence "
            f"(max_iter={model.max_iter}), or scale the data.",
            ConvergenceWarning,
            stacklevel=5,
        )
    params[places] = result.x
    model.n_iter_ = min(result.nit, model.max_iter)
    model.loss_ = float(result.fun)
    net.unpack(model, spec, params.astype(dtype, copy=False))


class _Told:
    """What scipy calls after each step; StopIteration is how it is told to end."""

    def __init__(self, verbose: bool) -> None:
        self.verbose, self.stopped = verbose, False

    def stop(self) -> None:
        """End after the step under way."""
        self.stopped = True

    def __call__(self, intermediate_result: Any) -> None:
        """Scipy knows what to hand over by the argument's name."""
        if self.verbose:
            print(f"loss = {intermediate_result.fun:.8f}")
        if self.stopped:
            raise StopIteration


def _places(split: tuple[list[Array], list[Array]]) -> Array:
    """Of each parameter in scikit-learn's order, all weights and then all biases, its place."""
    weights, biases = split
    return np.concatenate([places.ravel() for places in (*weights, *biases)])
