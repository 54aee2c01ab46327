"""Estimators with ``n_members`` above 1: all members are trained at once, as a fleet."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from jitprop import elementary
from jitprop._types import Array
from jitprop.checks import quoted
from jitprop.fleet import Fleet
from jitprop.interrupts import Interrupts
from jitprop.net.activations import Activation
from jitprop.net.custom import CustomActivation
from jitprop.net.spec import Spec
from jitprop.sklearn import losses, net
from jitprop.sklearn.course import samples_in_batch
from jitprop.training.callbacks import EarlyStopping


def check(model: Any) -> None:
    """Refuse settings that do not work with several members."""
    for name, allowed in (
        ("warm_start", (False,)),
        ("dropout", (0.0,)),
        ("callbacks", (None,)),
        ("scoring", (None, "loss")),
        ("learning_rate", ("constant",)),
    ):
        if name == "learning_rate" and model.solver == "adam":
            continue  # adam ignores learning_rate
        value = getattr(model, name)
        if not any(value is known or value == known for known in allowed):
            raise ValueError(
                f"{name} must be {' or '.join(map(repr, allowed))} with n_members > 1; "
                f"got {quoted(value)}"
            )


def prepare(
    model: Any,
    sizes: list[int],
    X: Array,
    y: Array,
    weights: Array | None,
    held_out: Any,
) -> Callable[[], None]:
    """Set ``fleet_``, whose members have different weights; return the function that trains it."""
    k, random = model.n_members, model._random_state
    drawn: list[tuple[list[Array], list[Array]]] = []
    for _ in range(k):
        model._initialize(sizes, X.dtype)
        drawn.append((model.coefs_, model.intercepts_))
    weights_0, biases_0 = (
        [np.stack(layers) for layers in zip(*(member[part] for member in drawn), strict=True)]
        for part in (0, 1)
    )
    spec = net.spec_of(model)
    batch = samples_in_batch(model.batch_size, len(X))
    seeds = _seeds(random, k)
    if model.bootstrap:
        counted = np.ones(len(X), bool) if weights is None else weights > 0
        counts = [_bootstrap_counts(random, counted) for _ in range(k)]
        weights = np.array(counts, X.dtype) * (1 if weights is None else weights)
    # scikit-learn divides alpha by the sum of the weights in a batch. A fleet has one weight decay
    # for all batches, so here alpha is divided by the mean of these sums.
    mean_weight = 1.0 if weights is None else np.apply_along_axis(elementary.mean, -1, weights)
    fleet = Fleet(
        sizes,
        members=k,
        activation=[_known(activation) for activation in spec.activations[:-1]],
        output_activation=_known(spec.activations[-1]),
        loss=spec.loss,
        optimizer=net.optimizer_of(model),
        learning_rate=float(model.learning_rate_init),
        weight_decay=float(model.alpha) / batch / mean_weight,
        batch_size=batch,
        shuffle=bool(model.shuffle),
        dtype=X.dtype,
        seed=seeds,
        init=(weights_0, biases_0),
        n_threads=model.n_threads,
    )
    # The parameters are views, so the model has the trained ones however the fit ends.
    model.fleet_, model.coefs_, model.intercepts_ = fleet, fleet.weights, fleet.biases
    return partial(_fit, model, spec, X, y, weights, held_out)


def _fit(model: Any, spec: Spec, X: Array, y: Array, weights: Array | None, held_out: Any) -> None:
    """Train all members, each until it stops improving, and set the model's curves and counts."""
    fleet = model.fleet_
    under_way = model._under_way = UnderWay(fleet)
    callbacks: list[Any] = [print_losses] if model.verbose else []
    if np.isfinite(model.n_iter_no_change):
        callbacks.append(
            EarlyStopping(
                "validation_loss" if model.early_stopping else "loss",
                patience=int(model.n_iter_no_change) + 1,
                min_delta=float(model.tol),
                restore_best=bool(model.early_stopping),
            )
        )
    validation = None
    if held_out is not None:
        validation = tuple(part for part in held_out if part is not None)
    with Interrupts() as interrupts:
        try:
            with interrupts.heard():
                history = fleet.fit(
                    X,
                    y,
                    int(model.max_iter),
                    sample_weight=weights,
                    validation_data=validation,
                    callbacks=callbacks,
                )
        except BaseException:
            model.n_iter_ = int(fleet.epochs_trained.max())
            raise
        model.n_iter_ = len(history.loss)
        model.t_ = model.n_iter_ * len(X)
        model.stopped_ = not under_way.stopped and bool((history.epochs < model.max_iter).all())
        model.loss_curve_ = _curve(spec, history.loss, y)
        model.loss_ = model.loss_curve_[-1] if model.loss_curve_ else np.nan
        if history.validation_loss is not None:
            model.validation_loss_curve_ = _curve(spec, history.validation_loss, held_out[1])
        if model.early_stopping:
            model.validation_scores_ = [-loss for loss in model.validation_loss_curve_]
            model.best_validation_score_ = best_score(model.validation_scores_)
        else:
            model.best_loss_ = -best_score([-loss for loss in model.loss_curve_])
    if not model.stopped_ and not under_way.stopped:
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({model.max_iter}) reached and the "
            "optimization hasn't converged yet.",
            ConvergenceWarning,
            stacklevel=5,
        )


class UnderWay:
    """The running fit, and whether `stop` has ended it."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.stopped = fleet, False

    def stop(self) -> None:
        """End the fit after the present epoch; any thread may call this."""
        self.stopped = True
        self.fleet.stop()


def _seeds(random: np.random.RandomState, k: int) -> list[int]:
    """Draw a seed for each member."""
    # The default dtype is a C long, which has 32 bits on Windows: other numbers would be drawn.
    seeds: list[int] = random.randint(2**31 - 1, size=k, dtype=np.int64).tolist()
    return seeds


def _bootstrap_counts(random: np.random.RandomState, counted: Array) -> Array:
    """
    Draw a bootstrap sample: how often each sample is in it.

    ``counted`` says which samples have a weight above 0. It draws until one of these is in it.
    """
    n = len(counted)
    while True:
        counts = np.bincount(random.randint(n, size=n, dtype=np.int64), minlength=n)
        if counts[counted].any():
            return counts


def print_losses(fleet: Any, epoch: int, logs: Any) -> None:
    """Print the mean loss of the members that still train, for ``verbose``."""
    del fleet
    print(f"Iteration {epoch + 1}, loss = {np.nanmean(logs['loss'], axis=0):.8f}")


def best_score(scores: list[float]) -> float:
    """Return the highest score that is not nan; -inf if there is none."""
    return float(np.fmax.reduce(scores, initial=-np.inf))


def _curve(spec: Any, member_losses: Array, y: Array) -> list[float]:
    """Return the mean of the members' losses in each epoch, as scikit-learn reports losses."""
    constants = losses.constants(spec, y)
    known = ~np.isnan(member_losses)
    sums, counts = member_losses.sum(axis=1, where=known), known.sum(axis=1)
    means = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    curve = means / net.loss_divisor(spec)
    constant = 0.0 if constants is None else elementary.mean(constants)
    made: list[float] = (curve + constant).tolist()
    return made


def _known(activation: Activation) -> Activation:
    if isinstance(activation, CustomActivation):
        raise ValueError(f"custom activations need n_members=1; got {activation}")
    return activation
