"""
How sure a net that was trained by least squares is: the variances of noise and parameters.

With E_D = 1/2 sum v (a - y)**2 and the Jacobian J of the outputs at the end of a fit, the errors
have the variance s**2, and the parameters have the covariance C::

    LevenbergMarquardt        s**2 = 2 E_D / (N - P)      C = s**2 (J.T v J + d I)**-1
    BayesianRegularization    s**2 = 1 / beta             C = (beta J.T v J + alpha I)**-1

N is the number of targets, samples times outputs, and P that of parameters; d is the weight decay
in units of E_D. A new observation of an output with the derivatives g by all parameters has the
variance s**2 + g.T C g.

Sources: Seber and Wild, *Nonlinear Regression*, 1989, section 5.1. MacKay, *A Practical Bayesian
Framework for Backpropagation Networks*, Neural Computation 4, 1992.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from jitprop import elementary
from jitprop._types import Array
from jitprop.backends import Backend
from jitprop.checks import quoted
from jitprop.data.samples import Arrays, Samples
from jitprop.net.second_order import BayesianRegularization, LevenbergMarquardt
from jitprop.net.spec import Spec
from jitprop.net.state import State

LOSSES = BayesianRegularization.losses

MOST_PARAMETERS = 2000
"""The inverse of a matrix of all parameters is kept up to this number: 32 MB."""

MOST_COPIED = 1 << 16
"""The most numbers of samples that are copied, to compute what is known when it is asked for."""

ALPHA, BETA = 3, 4
"""Rows of the slots of `BayesianRegularization`."""

SMALLEST = 2.0**-1022
"""The smallest sum of weights that losses are divided by."""


class Posterior(NamedTuple):
    """
    What is known at the end of a fit.

    Attributes
    ----------
    params : (P,) array
        The parameters that it belongs to. If those of the net differ, it is of no use.
    noise : float
        The variance s**2 of the errors.
    root : (P, P) float64 array
        An upper triangle S, with S S.T = C.
    """

    params: Array
    noise: float
    root: Array


class Pending(NamedTuple):
    """
    What a `Posterior` is computed from when it is first asked for.

    Attributes
    ----------
    state : State
        Its parameters and slots are copies.
    samples : Samples
        Copies.
    """

    state: State
    samples: Samples


def later(state: State, samples: Samples) -> Pending | None:
    """
    Return copies from which the `Posterior` can be computed later; None if they are large.

    To compute it takes as long as a first fit of a small net, and few ask for it.
    """
    if samples.in_files:
        return None
    arrays = samples.read()
    if sum(array.size for array in arrays if array is not None) > MOST_COPIED:
        return None
    X, y, weights = (None if array is None else array.copy() for array in arrays)
    assert X is not None
    assert y is not None
    slots = state.slots.copy()
    return Pending(replace(state, params=state.params.copy(), slots=slots), Samples(X, y, weights))


def is_known(spec: Spec) -> bool:
    """Return whether a fit of such a net ends with a `Posterior`."""
    return (
        isinstance(spec.optimizer, LevenbergMarquardt | BayesianRegularization)
        and spec.loss.name in LOSSES
        and spec.n_parameters <= MOST_PARAMETERS
    )


def posterior(
    backend: Backend, spec: Spec, state: State, samples: Samples, n_threads: int | None
) -> Posterior | None:
    """
    Compute what is known at the end of a fit on these samples.

    None if it cannot be known: with `LevenbergMarquardt` there must be more targets than
    parameters.
    """
    arrays, params, P = samples.read(), state.params, spec.n_parameters
    N, of_loss = _counted(spec, samples)
    divisor = spec.divisor(len(samples.X), samples.weights)
    q = of_loss / (divisor if divisor >= SMALLEST else 1.0)  # the reduced loss is q E_D
    decays = np.zeros(P)
    if isinstance(spec.optimizer, BayesianRegularization):
        alpha, beta = (float(state.slots[row, 0]) for row in (ALPHA, BETA))
        if alpha == 0.0 or beta == 0.0:
            return None
        decays[:] = q * alpha / beta
        noise = 1.0 / beta
    else:
        if N <= P:
            return None
        decays = spec.decays()
        noise = 2.0 * _summed(backend, spec, params, arrays, n_threads) / of_loss / (N - P)
    root = backend.root_of_inverse(spec, params, arrays, decays, n_threads)
    if root is None or not math.isfinite(noise):
        return None
    root *= math.sqrt(noise * q)
    return Posterior(params.copy(), noise, root) if np.isfinite(root).all() else None


def _summed(
    backend: Backend, spec: Spec, params: Array, samples: Arrays, n_threads: int | None
) -> float:
    """Return the loss, summed over the samples."""
    n = len(samples[0])
    net: Any = backend.prepare_pass(spec, n, params.dtype, n_threads, False)
    try:
        return backend.evaluate(net, params, samples, n, False)
    finally:
        backend.close(net)


def _counted(spec: Spec, samples: Samples) -> tuple[int, float]:
    """Return N, without samples of weight 0, and how many E_D the summed loss is."""
    n, mean, weights = len(samples.X), 1.0, samples.weights
    if weights is not None:
        n = max(1, int(np.count_nonzero(weights)))
        total = elementary.total(weights)
        mean = total / n if total >= SMALLEST else 1.0
    return n * spec.layer_sizes[-1], mean * (2.0 if spec.loss.name == "squared_error" else 1.0)


def check(spec: Spec, known: Posterior | None, params: Array) -> Posterior:
    """
    Return what is known of a net with these parameters.

    Raises
    ------
    ValueError
        Saying what is needed.
    """
    if not isinstance(spec.optimizer, LevenbergMarquardt | BayesianRegularization):
        raise ValueError(
            "return_std=True needs the optimizer LevenbergMarquardt or BayesianRegularization; "
            f"got {type(spec.optimizer).__name__}"
        )
    if spec.loss.name not in LOSSES:
        raise ValueError(
            f"return_std=True needs the loss {' or '.join(map(repr, LOSSES))}; "
            f"got {quoted(spec.loss.name)}"
        )
    P = spec.n_parameters
    if P > MOST_PARAMETERS:
        raise ValueError(
            f"return_std=True needs a net of at most {MOST_PARAMETERS:,} parameters, since a "
            f"matrix of their square is kept; this one has {P:,}"
        )
    if known is None or not np.array_equal(known.params, params):
        more = ""
        if isinstance(spec.optimizer, LevenbergMarquardt):
            more = f", on more target values (samples times outputs) than the {P} parameters"
        raise ValueError(
            f"return_std=True needs a fit that was not interrupted{more}, after which the "
            "parameters did not change"
        )
    return known
