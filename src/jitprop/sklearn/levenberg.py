"""The solver "lm": the Levenberg-Marquardt method from one start or from several."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from jitprop import elementary
from jitprop._types import Array
from jitprop.fleet import Fleet, FleetHistory
from jitprop.interrupts import Interrupts
from jitprop.net.second_order import LevenbergMarquardt
from jitprop.net.spec import Spec
from jitprop.sklearn import losses, net
from jitprop.sklearn.ensemble import UnderWay, best_score, print_losses
from jitprop.training.callbacks import EarlyStopping


@dataclass(frozen=True)
class _Samples:
    """Training and validation samples in float64, and the spec of the net."""

    spec: Spec
    X: Array
    y: Array
    weights: Array | None
    held_out: tuple[Array, ...] | None
    """X and y, and weights if there are any."""

    @property
    def total(self) -> float:
        """The sum of the training weights, by which scikit-learn divides the penalty."""
        return float(len(self.X)) if self.weights is None else elementary.total(self.weights)

    def reported(self, found: Any, y: Array, weights: Array | None) -> Any:
        """Return losses as scikit-learn reports them."""
        constants = losses.constants(self.spec, y)
        constant = 0.0 if constants is None else elementary.mean(constants, weights)
        return found / net.loss_divisor(self.spec) + constant


def prepare(
    model: Any, X: Array, y: Array, weights: Array | None, held_out: Any
) -> Callable[[], None]:
    """
    Draw the initial weights of all starts; return the function that trains them.

    The first start is the present net: a new one, or with ``warm_start`` the trained one. All is
    computed in float64, as by "lbfgs".
    """
    spec, dtype = net.spec_of(model), X.dtype
    size, most = spec.n_parameters, LevenbergMarquardt.most_parameters
    if size > most:
        raise ValueError(
            f"hidden_layer_sizes must make a net of at most {most:,} parameters with solver 'lm'; "
            f"layers of {list(spec.layer_sizes)} units have {size:,}, and the matrix of the method "
            f"would take {8e-9 * size * size:,.1f} GB"
        )
    starts = [(model.coefs_, model.intercepts_)]
    for _ in range(model.n_members - 1):
        net.initialize(model, list(spec.layer_sizes), dtype)
        starts.append((model.coefs_, model.intercepts_))
    model.coefs_, model.intercepts_ = starts[0]
    model._begin_curves()

    def double(array: Any) -> Any:
        return None if array is None else array.astype(np.float64)

    others = None
    if held_out is not None:
        others = tuple(double(part) for part in held_out if part is not None)
    samples = _Samples(spec, double(X), double(y), double(weights), others)
    fleet = Fleet(
        spec.layer_sizes,
        members=len(starts),
        activation=list(spec.activations[:-1]),
        output_activation=spec.activations[-1],
        loss=spec.loss,
        optimizer=LevenbergMarquardt(tolerance=min(float(model.tol), math.nextafter(1.0, 0.0))),
        weight_decay=float(model.alpha) / samples.total,
        dtype="float64",
        seed=0,
        init=tuple(  # type: ignore[arg-type]
            [np.stack(layers) for layers in zip(*arrays, strict=True)]
            for arrays in zip(*starts, strict=True)
        ),
        n_threads=model.n_threads,
    )
    return partial(_fit, model, fleet, samples, dtype)


def _fit(model: Any, fleet: Fleet, samples: _Samples, dtype: np.dtype[Any]) -> None:
    """Train all starts, and store the best one in the model."""
    under_way = model._under_way = UnderWay(fleet)
    callbacks: list[Any] = [print_losses] if model.verbose else []
    if model.early_stopping:
        limit = min(float(model.n_iter_no_change), float(model.max_iter))
        callbacks.append(
            EarlyStopping("validation_loss", patience=int(limit) + 1, min_delta=float(model.tol))
        )
    with Interrupts() as interrupts:
        with interrupts.heard():
            history = fleet.fit(
                samples.X,
                samples.y,
                int(model.max_iter),
                sample_weight=samples.weights,
                validation_data=samples.held_out,
                callbacks=callbacks,
            )
        found = fleet.evaluate(samples.X, samples.y, sample_weight=samples.weights)
        penalty = fleet.weight_decay / 2 * sum(np.square(W).sum(axis=(1, 2)) for W in fleet.weights)
        compared = found + penalty
        if model.early_stopping and samples.held_out is not None:
            X, y, *weights = samples.held_out
            compared = fleet.evaluate(X, y, sample_weight=weights[0] if weights else None)
        best = int(np.argmin(np.where(np.isfinite(compared), compared, np.inf)))
        if not np.isfinite(compared[best]):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )
        _report(model, history, best, samples, under_way.stopped)
        reported = samples.reported(found[best], samples.y, samples.weights)
        model.loss_ = float(reported + penalty[best])
        net.unpack(model, samples.spec, fleet.parameters[best].astype(dtype))
    if not model.stopped_ and not under_way.stopped:
        warnings.warn(
            f"Levenberg-Marquardt: Maximum iterations ({model.max_iter}) reached and the "
            "optimization hasn't converged yet.",
            ConvergenceWarning,
            stacklevel=5,
        )


def _report(model: Any, history: FleetHistory, best: int, samples: _Samples, stopped: bool) -> None:
    """Set the curves and counts of the model to those of the best start."""
    n = int(history.epochs[best])
    model.n_iter_, model.t_ = n, n * len(samples.X)
    model.stopped_ = not stopped and (n < model.max_iter or bool(history.ended[best]))
    curve = samples.reported(history.loss[:n, best], samples.y, samples.weights)
    model.loss_curve_ = curve.tolist()
    if samples.held_out is not None:
        assert history.validation_loss is not None
        y, *weights = samples.held_out[1:]
        curve = samples.reported(
            history.validation_loss[:n, best], y, weights[0] if weights else None
        )
        model.validation_loss_curve_ = curve.tolist()
    if model.early_stopping:
        model.validation_scores_ = [-loss for loss in model.validation_loss_curve_]
        model.best_validation_score_ = best_score(model.validation_scores_)
    else:
        model.best_loss_ = -best_score([-loss for loss in model.loss_curve_])
