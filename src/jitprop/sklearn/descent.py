"""The parts of a fit that change between epochs: optimizer state, sample order and patience."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import elementary
from jitprop._types import Array
from jitprop.files import encoding
from jitprop.net.optimizers import Optimizer
from jitprop.net.spec import Spec
from jitprop.net.state import writable


@dataclass
class Descent:
    """
    The optimizer with its settings and its state.

    One call of ``partial_fit`` hands it on to the next. As in scikit-learn, the settings of the
    first call stay; later changes have no effect.
    """

    optimizer: Optimizer
    schedule: str
    learning_rate_init: float
    power_t: float
    learning_rate: float
    """The rate of the next epoch."""
    slots: Array
    updates: int = 0
    dropout_key: int = 0
    rows: npt.NDArray[np.int64] | None = None
    """The order of samples in the last epoch, if the next ``fit`` resumes from it."""

    def rates(self, epochs: int, t: int, n_samples: int) -> npt.NDArray[np.float64]:
        """Return the learning rates of the next epochs; t samples were seen so far."""
        rates = np.full(epochs, self.learning_rate)
        if self.schedule == "invscaling":
            seen = t + n_samples * np.arange(1, epochs)
            rates[1:] = self.learning_rate_init / elementary.power(seen + 1, self.power_t)
        return rates

    def plain(self) -> dict[str, Any]:
        """
        Return the state as numbers, strings and arrays only, for pickles.

        A user who opens a file with skops or MLflow then trusts no class but the estimator's.
        """
        return vars(self) | {"optimizer": encoding.encoded("solver", self.optimizer)}

    @classmethod
    def from_plain(cls, state: dict[str, Any]) -> Descent:
        """Restore a descent from what `plain` returned."""
        arrays = {k: writable(v) for k, v in state.items() if isinstance(v, np.ndarray)}
        return cls(**state | arrays | {"optimizer": encoding.decoded(state["optimizer"], {})})


def begin(model: Any, spec: Spec, dtype: np.dtype[Any]) -> Descent:
    """Return a descent before its first update."""
    rate = float(model.learning_rate_init)
    return Descent(
        optimizer=spec.optimizer,
        schedule=model.learning_rate if model.solver == "sgd" else "constant",
        learning_rate_init=rate,
        power_t=float(model.power_t),
        learning_rate=rate,
        slots=np.zeros((spec.n_slots, spec.n_parameters), dtype),
        # scikit-learn has no dropout and draws no such number. Without dropout its stream is kept.
        # The default dtype is a C long, which has 32 bits on Windows.
        dropout_key=int(model._random_state.randint(2**62, dtype=np.int64))
        if any(spec.dropout)
        else 0,
    )


def advances(model: Any) -> bool:
    """Return whether an epoch draws a shuffle even if no result depends on it."""
    # A generator made from an integer seed is used by one fit alone.
    made = isinstance(model.random_state, int | np.integer)
    return bool(model.shuffle) and (bool(model.keep_optimizer) or not made)


class Shuffles:
    """
    The order of samples in each epoch, as in scikit-learn: each shuffles the order before it.

    Parameters
    ----------
    random : numpy.random.RandomState
    n_samples : int
    needed : bool
        Whether the epochs depend on the order.
    advance : bool
        Whether to shuffle even if no epoch depends on the order, since later draws from the
        generator must not change.
    rows : (n_samples,) array or None
        The order to shuffle first; None for 0, 1, 2, ...
    """

    def __init__(
        self,
        random: np.random.RandomState,
        n_samples: int,
        needed: bool,
        advance: bool,
        rows: npt.NDArray[np.int64] | None,
    ) -> None:
        self.random, self.needed, self.advance = random, needed, needed or advance
        self.rows = rows if rows is not None and len(rows) == n_samples else np.arange(n_samples)

    def draw(self, epochs: int) -> npt.NDArray[np.int64] | None:
        """Return the order in the next epochs, (epochs, n_samples); None if it is not needed."""
        order = np.empty((epochs if self.needed else 0, len(self.rows)), np.int64)
        for epoch in range(epochs if self.advance else 0):
            self.random.shuffle(self.rows)
            if self.needed:
                order[epoch] = self.rows
        return order if self.needed else None

    def snapshot(self) -> Callable[[], None]:
        """Return a function that restores the present state."""
        if not self.advance:
            return lambda: None
        state, rows = self.random.get_state(), self.rows.copy()

        def restore() -> None:
            self.random.set_state(state)
            self.rows[:] = rows

        return restore


@dataclass
class Patience:
    """
    The number of epochs in a row without an improvement of the loss.

    Attributes
    ----------
    best : float
        The lowest loss so far.
    count : int
        Epochs since the last improvement.
    tol : float
        An improvement is at least as large.
    limit : float
        More epochs than this without an improvement end the fit.
    """

    best: float
    count: int
    tol: float
    limit: float

    @classmethod
    def of(cls, model: Any) -> Patience:
        """Return the patience that an estimator has left."""
        best = math.inf if model.best_loss_ is None else model.best_loss_
        return cls(best, model._no_improvement_count, float(model.tol), model.n_iter_no_change)

    def update(self, losses: npt.NDArray[np.float64]) -> int | None:
        """
        Count the losses of the next epochs, up to the first that exceeds the limit.

        Returns
        -------
        int or None
            The index of that epoch; None if no epoch exceeds the limit.
        """
        bests = np.fmin.accumulate(np.concatenate([[self.best], losses]))
        worse = losses > bests[:-1] - self.tol
        epochs = np.arange(len(losses))
        better = np.maximum.accumulate(np.where(worse, -1, epochs))
        counts = np.where(better < 0, self.count + epochs + 1, epochs - better)
        exceeding = np.flatnonzero(counts > self.limit)
        last = int(exceeding[0]) if exceeding.size else len(losses) - 1
        self.best, self.count = float(bests[last + 1]), int(counts[last])
        return last if exceeding.size else None


SMALLEST_RATE = 1e-6
"""At this rate or below, learning_rate="adaptive" stops instead of dividing the rate by 5."""


@dataclass
class Tally:
    """
    What epochs change in the attributes of an estimator, besides its parameters.

    Attributes
    ----------
    model : estimator
    descent : Descent
    patience : Patience
    n_samples : int
        The number of training samples.
    scored : bool
        Whether early stopping watches a score, in place of the loss.
    """

    model: Any
    descent: Descent
    patience: Patience
    n_samples: int
    scored: bool

    def record(self, reported: npt.NDArray[np.float64]) -> None:
        """Update the model's curves and counts, and print the epochs if asked."""
        model = self.model
        for i, loss in enumerate(reported if model.verbose else ()):
            print(f"Iteration {model.n_iter_ + i + 1}, loss = {loss:.8f}")
        if model.verbose and self.scored:
            print(f"Validation score: {model.validation_scores_[-1]:f}")
        model.n_iter_ += len(reported)
        model.t_ += len(reported) * self.n_samples
        model.loss_curve_ += reported.tolist()
        model.loss_ = model.loss_curve_[-1]
        model._no_improvement_count = self.patience.count
        if not self.scored:
            model.best_loss_ = self.patience.best
        if self.descent.schedule == "invscaling":
            self.descent.learning_rate = float(
                self.descent.learning_rate_init
                / elementary.power(model.t_ + 1, self.descent.power_t)
            )

    def stop_or_reduce_rate(self) -> bool:
        """Divide the rate of an adaptive schedule by 5, or return True to stop."""
        model, descent = self.model, self.descent
        what = "Validation score" if self.scored else "Training loss"
        message = (
            f"{what} did not improve more than tol={model.tol:f} for {model.n_iter_no_change} "
            "consecutive epochs."
        )
        if descent.schedule != "adaptive":
            end = "Stopping."
        elif descent.learning_rate <= SMALLEST_RATE:
            end = "Learning rate too small. Stopping."
        else:
            descent.learning_rate /= 5.0
            end = f"Setting learning rate to {descent.learning_rate:f}"
            self.patience.count = model._no_improvement_count = 0
        if model.verbose:
            print(message, end)
        return end.endswith("Stopping.")
