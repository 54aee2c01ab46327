"""The solver "lbfgs": scipy's optimizer on jitprop's loss and gradient."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning

from jitprop import elementary
from jitprop._types import Array
from jitprop.backends.threads import one_blas_thread
from jitprop.data.samples import Samples
from jitprop.interrupts import Interrupts
from jitprop.net.spec import Spec
from jitprop.sklearn import losses, net
from jitprop.training.errors import see_own
from jitprop.training.evaluation import Evaluation


def fit(model: Any, X: Array, y: Array, weights: Array | None) -> None:
    """
    Minimize the loss over all samples.

    It computes in float64, whatever the dtype of the samples, since a line search needs the digits.
    """
    spec = net.spec_of(model)
    rules = replace(spec.sklearn, batches_by_size=False)
    if rules.clipped_above < math.inf:
        # The steps depend on the last digits of the loss, so all losses are scikit-learn's.
        rules = replace(rules, clipped_above=0.0)
    spec = replace(spec, sklearn=rules)
    dtype, double = X.dtype, np.dtype(np.float64)
    X, y = X.astype(double, copy=False), y.astype(double, copy=False)
    weights = None if weights is None else weights.astype(double)
    samples, size = Samples(X, y, weights), spec.divisor(len(X), weights)
    params, gradient = net.pack(model, spec, double), np.empty(spec.n_parameters)
    evaluation = Evaluation(net.backend(), spec, X, model.n_threads, backward=True)
    constants = losses.constants(spec, y)
    constant = 0.0 if constants is None else elementary.mean(constants, weights)
    order = _sklearn_order(spec)
    coefs, d_coefs = spec.split(params)[0], spec.split(gradient)[0]

    def loss_and_gradient(packed: Array) -> tuple[float, Array]:
        params[order] = packed
        loss = evaluation.gradient(params, samples, gradient)
        loss = loss / net.loss_divisor(spec) + constant
        for W, d in zip(coefs, d_coefs, strict=True):
            loss += model.alpha / 2 * float(np.vdot(W, W)) / size
            d += model.alpha / size * W
        return loss, gradient[order]

    after_step = model._under_way = _AfterStep(bool(model.verbose))
    with Interrupts() as interrupts, one_blas_thread(), interrupts.heard():
        result = scipy.optimize.minimize(
            loss_and_gradient,
            params[order],
            method="L-BFGS-B",
            jac=True,
            callback=after_step,
            options={"maxfun": model.max_fun, "maxiter": model.max_iter, "gtol": model.tol},
        )
    if not math.isfinite(result.fun):
        raise ValueError(
            "the loss became inf or nan, and lbfgs stopped. The input data may contain large "
            f"values and need to be preprocessed.{see_own(spec.custom_functions, ' See {}.')}"
        )
    if result.status != 0 and not after_step.stopped:
        warnings.warn(
            f"lbfgs failed to converge after {result.nit} iteration(s) (status={result.status}):\n"
            f"{result.message}\n\nIncrease the number of iterations to improve the convergence "
            f"(max_iter={model.max_iter}), or scale the data.",
            ConvergenceWarning,
            stacklevel=5,
        )
    params[order] = result.x
    with Interrupts():
        model.n_iter_ = min(result.nit, model.max_iter)
        model.loss_ = float(result.fun)
        net.unpack(model, spec, params.astype(dtype, copy=False))


class _AfterStep:
    """The callback that scipy calls after each step."""

    def __init__(self, verbose: bool) -> None:
        self.verbose, self.stopped = verbose, False

    def stop(self) -> None:
        """End the fit after the present step."""
        self.stopped = True

    def __call__(self, intermediate_result: Any) -> None:
        """Print the loss; end the fit if `stop` was called."""
        # scipy looks at the argument's name to choose what it passes, and ends on StopIteration.
        if self.verbose:
            print(f"loss = {intermediate_result.fun:.8f}")
        if self.stopped:
            raise StopIteration


def _sklearn_order(spec: Spec) -> Array:
    """Return the index of each parameter, in scikit-learn's order: all weights, then all biases."""
    weights, biases = spec.split(np.arange(spec.n_parameters))
    return np.concatenate([indices.ravel() for indices in (*weights, *biases)])
