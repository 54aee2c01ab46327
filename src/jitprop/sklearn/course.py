"""
The course of a fit by "sgd" or "adam": shuffles, learning rates, when to stop.

scikit-learn looks at the loss after each epoch. Here a call of the backend trains many, and only
then are their losses looked at. If the fit ought to have stopped on the way, it goes back to where
the call began and, training being deterministic, forward to that epoch.
"""

from __future__ import annotations

import math
import sys
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning

from jitprop._types import Array
from jitprop.backends.threads import one_blas_thread
from jitprop.data.samples import Samples
from jitprop.interrupts import Interrupts, take_new
from jitprop.net.state import State, writable
from jitprop.sklearn import losses, net, parameters
from jitprop.sklearn.descent import Descent, Patience, Shuffles, begin
from jitprop.sklearn.validation import Validation, name_of
from jitprop.training.errors import see_own
from jitprop.training.sources import ORDER_SIZE, STEP_WORK, Arrays

CHEAP = 1e7
"""Multiply-adds that may be done in vain when a fit stops: 1 ms, as long as 20 calls of a backend
take that do nothing."""

LOST = 1e9
"""Multiply-adds of a call: Ctrl-C takes back at most 0.1 s."""

SMALLEST_RATE = 1e-6
"""Below it learning_rate="adaptive" stops instead of dividing the rate by 5."""


CALLERS = ("sklearn.", "joblib.")
"""Modules that run many fits: Ctrl-C is meant for all of them."""

TRANSPARENT = ("sklearn.pipeline", "sklearn.base", "sklearn.utils.")
"""Modules of scikit-learn that hand on one fit of the user's."""


class Course:
    """
    One call of ``fit`` or ``partial_fit``.

    Parameters
    ----------
    model : estimator
        Its attributes change as epochs pass.
    X, y, weights : arrays
        To be trained on.
    validation : Validation or None
        Samples held out; early stopping goes by their score.
    incremental : bool
        ``partial_fit``: one epoch.
    first : bool
        Nothing was trained before.
    """

    def __init__(
        self,
        model: Any,
        X: Array,
        y: Array,
        weights: Array | None,
        validation: Validation | None,
        incremental: bool,
        first: bool,
    ) -> None:
        self.model, self.validation, self.incremental = model, validation, incremental
        self.scored = validation is not None and bool(model.early_stopping)
        self.callbacks = parameters.callbacks(model)
        n = len(X)
        spec = net.spec_of(model, net.optimizer_of(model))
        goes_on = incremental or (model.keep_optimizer and not first)
        if not (goes_on and hasattr(model, "_optimizer")):
            model._optimizer = begin(model, spec, X.dtype)
        self.descent: Descent = model._optimizer
        self.descent.slots = writable(self.descent.slots)
        spec = replace(
            spec, optimizer=self.descent.optimizer, batch_size=samples_in_batch(model.batch_size, n)
        )
        self.spec, self.n = spec, n
        self.state = State(
            params=net.pack(model, spec, X.dtype),
            slots=self.descent.slots.copy(),
            rng=np.random.default_rng(0),
            dropout_key=self.descent.dropout_key,
            split=0,
            updates=self.descent.updates,
        )
        # A warm start of scikit-learn's forgets the best weights when it begins to change them.
        self.best: Array | None = self.state.params
        if first:  # what nothing was trained of is not the best of anything
            self.best = None
        elif self.scored and (incremental or model.keep_optimizer):
            self.best = self.state.params.copy()
        if self.scored and incremental:
            self.best = getattr(model, "_best", self.best)
        self.any_score = False
        if validation is not None and model.validation_loss_curve_ is None:
            model.validation_loss_curve_ = []
        if self.scored and model.validation_scores_ is None:
            model.validation_scores_, model.best_validation_score_ = [], -np.inf
        self.epochs = 1 if incremental else int(model.max_iter)
        self.source = Arrays(
            net.backend(), spec, Samples(X, y, weights), self.epochs, None, False, model.n_threads
        )
        self.shuffles = Shuffles(
            model._random_state,
            n,
            needed=bool(model.shuffle) and self.source.n_batches > 1,
            # A generator made from an integer seed is used by this fit alone.
            advance=bool(model.shuffle)
            and (model.keep_optimizer or not isinstance(model.random_state, int | np.integer)),
            rows=None if incremental else self.descent.rows,
        )
        self.descent.rows = self.shuffles.rows if model.keep_optimizer else None
        self.rest = losses.constants(spec, y)
        self.stopped = False
        self.weights = weights
        self.patience = Patience(
            model.best_loss_ if model.best_loss_ is not None else math.inf,
            model._no_improvement_count,
            float(model.tol),
            model.n_iter_no_change,
        )

    def stop(self) -> None:
        """End after the epoch under way; any thread may say so."""
        self.stopped = True

    def run(self) -> None:
        """Train; leave the net in the model."""
        self.model.n_iter_, self.model.stopped_ = 0, False
        self.model._under_way = self
        if self.validation is not None:
            self.validation.scored._under_way = self
        if self.callbacks:  # they are shown the net as it is
            net.unpack(self.model, self.spec, self.state.params)
        with Interrupts() as self.interrupts:  # so that the model is left whole
            try:
                with one_blas_thread():
                    self._run()
            except KeyboardInterrupt:
                if called_by_scikit_learn():
                    raise
                warnings.warn("Training interrupted by user.", stacklevel=5)
            finally:
                self.source.close()
                self.descent.slots = self.state.slots
                self.descent.updates = self.state.updates
                best = self.best if self.scored else None
                if self.scored and self.incremental:
                    self.model._best = None if best is None else best.copy()
                    best = best if self.model.stopped_ else None
                net.unpack(self.model, self.spec, self.state.params if best is None else best)
        if self.scored and self.model.n_iter_ and not self.any_score:
            self._warn_of_no_score()

    def _warn_of_no_score(self) -> None:
        """Early stopping had nothing to go by."""
        if self.incremental and not self.model.stopped_:
            return
        name = name_of(self.model.scoring)
        warnings.warn(
            f"early_stopping goes by the validation score, and {name!r} was nan or -inf in every "
            "epoch: there are no best weights. Those of the last epoch are kept, or those that "
            "a fit before this one found best",
            stacklevel=6,
        )

    def _run(self) -> None:
        while self.model.n_iter_ < self.epochs:
            self.interrupts.arm()
            self.model.stopped_ = self._train_block(self._block())
            self._tell()
            if self.model.stopped_ or self.stopped or self.incremental:
                return
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({self.epochs}) reached and the "
            "optimization hasn't converged yet.",
            ConvergenceWarning,
            stacklevel=6,
        )

    def _block(self) -> int:
        """How many epochs to train before their losses are looked at."""
        if self.validation is not None or self.callbacks or self.model.verbose:
            return 1
        left: int = self.epochs - self.model.n_iter_
        step_work = 3 * self.source.batch * self.spec.n_parameters + STEP_WORK
        work = step_work * self.source.n_batches
        block = max(self._safe(left), int(CHEAP / work), self.model.n_iter_ // 8)
        block = min(block, max(1, int(LOST / work)))
        if self.shuffles.needed:
            block = min(block, max(1, ORDER_SIZE // self.n))
        return int(min(left, block))

    def _safe(self, left: int) -> int:
        """Epochs of which at most the last can be the one to stop at."""
        return int(min(left, max(1, self.patience.limit + 1 - self.patience.count)))

    def _train_block(self, epochs: int) -> bool:
        """Train so many, or up to where the fit has to stop; whether it has to."""
        state = self.state
        snapshot, restore_order = state.snapshot(), self.shuffles.snapshot()
        try:
            with self.interrupts.heard():
                told = self._train(epochs)
                loss, score = self._measure(bool(np.isnan(told[0])))
            found = self._stop(told, loss, score)
            if found is not None and found + 1 < epochs:
                state.restore(snapshot)
                restore_order()
                with self.interrupts.heard():
                    told = self._train(found + 1)
        except BaseException:
            state.restore(snapshot)
            restore_order()
            raise
        self._write(told)
        if found is None:
            return False
        return self._stopping()

    def _train(self, epochs: int) -> npt.NDArray[np.float64]:
        """Train so many epochs; their losses as scikit-learn tells them."""
        order = self.shuffles.draw(epochs)
        rates = self.descent.rates(epochs, self.model.t_, self.n)
        told = np.zeros(epochs)
        reached = self.source.train(self.state, told, rates, order, self.interrupts)
        if reached.epoch < epochs:
            epoch = self.model.n_iter_ + reached.epoch + 1
            where = (
                f"The loss was inf or nan in epoch {epoch}, batch {reached.batch + 1}, with "
                f"learning rate {rates[reached.epoch]:g}."
                f"{see_own(self.spec.custom_functions, ' See {}.')}"
            )
            if not self.scored or self.best is None:
                raise ValueError(
                    "Solver produced non-finite parameter weights. The input data may contain "
                    f"large values and need to be preprocessed. {where}"
                )
            warnings.warn(
                f"{where} The weights of the best score are kept.",
                ConvergenceWarning,
                stacklevel=8,
            )
            return np.full(1, np.nan)
        told /= net.loss_divisor(self.spec)
        if self.rest is not None:
            told += self._constants(self.rest, order, epochs)
        return told

    def _constants(
        self, rest: Array, order: npt.NDArray[np.int64] | None, epochs: int
    ) -> npt.NDArray[np.float64]:
        """What the loss of each epoch has beside jitprop's."""
        if self.weights is None:
            return np.full(epochs, rest.mean())
        made = np.empty(epochs)
        starts = np.arange(0, self.n, self.source.batch)
        sizes = np.diff([*starts, self.n])
        for epoch in range(epochs):
            rows = slice(None) if order is None else order[epoch]
            w = self.weights[rows].astype(np.float64)
            wholes = np.add.reduceat(w, starts)
            means = np.add.reduceat(w * rest[rows], starts) / np.where(wholes > 0, wholes, 1)
            made[epoch] = means @ sizes / self.n
        return made

    def _measure(self, diverged: bool) -> tuple[float, float]:
        """The loss of the samples held out and their score, as far as there are such."""
        if self.validation is None or diverged:
            return math.nan, math.nan
        params = self.state.params
        loss = self.validation.loss(params)
        return loss, self.validation.score(params, loss) if self.scored else math.nan

    def _stop(self, told: npt.NDArray[np.float64], loss: float, score: float) -> int | None:
        """Which of these epochs is the first not to be borne any more."""
        model, patience = self.model, self.patience
        diverged = bool(np.isnan(told[0]))
        if self.validation is not None:
            model.validation_loss_curve_.append(loss)
        if self.validation is None or not self.scored:
            return patience.update(told)
        model.validation_scores_.append(score)
        self.any_score |= score > -math.inf
        if score >= model.best_validation_score_ + patience.tol:
            patience.count = 0
        else:  # so is nan
            patience.count += 1
        if score > model.best_validation_score_:
            model.best_validation_score_ = score
            self.best = self.state.params.copy()
        return 0 if diverged or patience.count > patience.limit else None

    def _write(self, told: npt.NDArray[np.float64]) -> None:
        """Take these epochs down."""
        model = self.model
        for i, loss in enumerate(told if model.verbose else ()):
            print(f"Iteration {model.n_iter_ + i + 1}, loss = {loss:.8f}")
        if model.verbose and self.scored:
            print(f"Validation score: {model.validation_scores_[-1]:f}")
        model.n_iter_ += len(told)
        model.t_ += len(told) * self.n
        model.loss_curve_ += told.tolist()
        model.loss_ = model.loss_curve_[-1]
        model._no_improvement_count = self.patience.count
        if not self.scored:
            model.best_loss_ = self.patience.best
        if self.descent.schedule == "invscaling":
            self.descent.learning_rate = float(
                self.descent.learning_rate_init / (model.t_ + 1) ** self.descent.power_t
            )

    def _tell(self) -> None:
        """Call the callbacks."""
        model = self.model
        logs = {"loss": model.loss_, "learning_rate": self.descent.learning_rate}
        if self.validation is not None:
            logs["validation_loss"] = model.validation_loss_curve_[-1]
        if self.scored:
            logs["validation_score"] = model.validation_scores_[-1]
        epoch = len(model.loss_curve_) - 1
        with self.interrupts.heard():
            for function in self.callbacks:
                function(model, epoch, dict(logs))
                take_new()

    def _stopping(self) -> bool:
        """Whether to stop, or go on with a smaller rate."""
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


def called_by_scikit_learn() -> bool:
    """Whether the fit is one of a search, an ensemble and the like; a pipeline does not count."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        name = str(frame.f_globals.get("__name__"))
        if name.startswith(CALLERS) and not name.startswith(TRANSPARENT):
            return True
    return False


def samples_in_batch(batch_size: Any, n_samples: int) -> int:
    """Samples in a batch."""
    if batch_size == "auto":
        return min(200, n_samples)
    if batch_size > n_samples:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=6,
        )
    return int(min(batch_size, n_samples))
