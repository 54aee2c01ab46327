"""
A fit by "sgd" or "adam": shuffles, learning rates and when to stop.

scikit-learn checks the loss after each epoch. Here one call of the backend trains a block of many
epochs, and their losses are checked after it. If the fit should have stopped within the block, it
returns to the start of the block and trains again up to that epoch. Training is deterministic, so
the result is the same.
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

from jitprop import elementary
from jitprop._types import Array
from jitprop.backends import one_blas_thread
from jitprop.data.samples import Samples
from jitprop.interrupts import Interrupts, take_new
from jitprop.net.state import State, writable
from jitprop.sklearn import losses, net, parameters, prepared
from jitprop.sklearn.descent import Descent, Patience, Shuffles, Tally, advances, begin
from jitprop.sklearn.prepared import OfSpec
from jitprop.sklearn.validation import Validation, name_of
from jitprop.training.errors import see_own
from jitprop.training.sources import ORDER_SIZE, STEP_WORK, Arrays

CHEAP_WORK = 1e7
"""Multiply-adds that may be wasted when a fit stops. They take 1 ms, like 20 empty calls."""

MAX_WORK = 1e9
"""The most multiply-adds of a block, about 0.1 s. Ctrl-C undoes at most that much."""

CALLERS = ("sklearn.", "joblib.")
"""Modules that run many fits. If they call ``fit``, Ctrl-C ends all of these fits."""

TRANSPARENT = ("sklearn.pipeline", "sklearn.base", "sklearn.utils.")
"""Modules of scikit-learn that pass one fit of the user on."""


class Course:
    """
    One call of ``fit`` or ``partial_fit``.

    Parameters
    ----------
    model : estimator
        The estimator; its attributes are updated after each block.
    X, y, weights : arrays
        The training samples.
    validation : Validation or None
        The validation samples; early stopping watches their score.
    incremental : bool
        Whether this is ``partial_fit``, which trains one epoch.
    first : bool
        Whether the net is untrained.
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
        resumes = incremental or (model.keep_optimizer and not first)
        if not (resumes and hasattr(model, "_optimizer")):
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
            counts=np.array([0, self.descent.updates]),
        )
        # As in scikit-learn, a warm start forgets the best weights: here they are the array that
        # training changes. With keep_optimizer they are a copy.
        self.best: Array | None = self.state.params
        if first:  # untrained weights are never the best
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
            net.backend(),
            spec,
            Samples(X, y, weights),
            self.epochs,
            None,
            False,
            model.n_threads,
            OfSpec(prepared.of(model).nets, spec, model.n_threads),
        )
        self.shuffles = Shuffles(
            model._random_state,
            n,
            needed=bool(model.shuffle) and self.source.n_batches > 1,
            advance=advances(model),
            rows=None if incremental else self.descent.rows,
        )
        self.descent.rows = self.shuffles.rows if model.keep_optimizer else None
        self.constants = losses.constants(spec, y)
        self.stopped = False
        self.weights = weights
        self.patience = Patience.of(model)
        self.tally = Tally(model, self.descent, self.patience, n, self.scored)

    def stop(self) -> None:
        """End the fit after the present block; any thread may call this."""
        self.stopped = True

    def run(self) -> None:
        """Train, and store the net in the model."""
        self.model.n_iter_, self.model.stopped_ = 0, False
        self.model._under_way = self
        if self.validation is not None:
            self.validation.scored._under_way = self
        if self.callbacks:  # callbacks see the weights of the present epoch
            net.unpack(self.model, self.spec, self.state.params)
        with Interrupts() as self.interrupts:  # Ctrl-C waits while the model is updated
            try:
                with one_blas_thread(net.backend(), self.validation is not None):
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
        """Warn that no epoch had a validation score."""
        if self.incremental and not self.model.stopped_:
            return
        name = name_of(self.model.scoring)
        warnings.warn(
            f"early_stopping needs a validation score, but {name!r} was nan or -inf in every "
            "epoch, so there are no best weights. The model keeps the weights of the last epoch, "
            "or the best weights of an earlier fit",
            stacklevel=6,
        )

    def _run(self) -> None:
        while self.model.n_iter_ < self.epochs:
            self.interrupts.arm()
            self.model.stopped_ = self._train_block(self._block_length())
            self._call_callbacks()
            if self.model.stopped_ or self.stopped or self.incremental:
                return
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({self.epochs}) reached and the "
            "optimization hasn't converged yet.",
            ConvergenceWarning,
            stacklevel=6,
        )

    def _block_length(self) -> int:
        """Return how many epochs to train before their losses are checked."""
        if self.validation is not None or self.callbacks or self.model.verbose:
            return 1
        left: int = self.epochs - self.model.n_iter_
        step_work = 3 * self.source.batch * self.spec.n_parameters + STEP_WORK
        work = step_work * self.source.n_batches
        block = max(
            self._epochs_without_stop(left), int(CHEAP_WORK / work), self.model.n_iter_ // 8
        )
        block = min(block, max(1, int(MAX_WORK / work)))
        if self.shuffles.needed:
            block = min(block, max(1, ORDER_SIZE // self.n))
        return int(min(left, block))

    def _epochs_without_stop(self, left: int) -> int:
        """Return how many epochs can pass before patience can run out, the last one included."""
        return int(min(left, max(1, self.patience.limit + 1 - self.patience.count)))

    def _train_block(self, epochs: int) -> bool:
        """Train a block, or its epochs up to the one to stop at; return whether to stop."""
        state = self.state
        snapshot, restore_order = state.snapshot(), self.shuffles.snapshot()
        try:
            with self.interrupts.heard():
                reported = self._train(epochs)
                loss, score = self._validate(bool(np.isnan(reported[0])))
            last = self._last_epoch(reported, loss, score)
            if last is not None and last + 1 < epochs:
                state.restore(snapshot)
                restore_order()
                with self.interrupts.heard():
                    reported = self._train(last + 1)
        except BaseException:
            state.restore(snapshot)
            restore_order()
            raise
        self.tally.record(reported)
        if last is None:
            return False
        return self.tally.stop_or_reduce_rate()

    def _train(self, epochs: int) -> npt.NDArray[np.float64]:
        """Train so many epochs; return their losses as scikit-learn reports them."""
        order = self.shuffles.draw(epochs)
        rates = self.descent.rates(epochs, self.model.t_, self.n)
        reported = np.zeros(epochs)
        reached = self.source.train(self.state, reported, rates, order, self.interrupts)
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
        reported /= net.loss_divisor(self.spec)
        if self.constants is not None:
            reported += self._mean_constants(self.constants, order, epochs)
        return reported

    def _mean_constants(
        self, constants: Array, order: npt.NDArray[np.int64] | None, epochs: int
    ) -> npt.NDArray[np.float64]:
        """Return the mean of the samples' constant terms in each epoch, taken batch by batch."""
        if self.weights is None:
            return np.full(epochs, elementary.mean(constants))
        made = np.empty(epochs)
        starts = np.arange(0, self.n, self.source.batch)
        sizes = np.diff([*starts, self.n])
        for epoch in range(epochs):
            rows = slice(None) if order is None else order[epoch]
            w = self.weights[rows].astype(np.float64)
            totals = np.add.reduceat(w, starts)
            means = np.add.reduceat(w * constants[rows], starts) / np.where(totals > 0, totals, 1)
            made[epoch] = (means * sizes).sum() / self.n
        return made

    def _validate(self, diverged: bool) -> tuple[float, float]:
        """Return the validation loss and the validation score; nan for what there is not."""
        if self.validation is None or diverged:
            return math.nan, math.nan
        params = self.state.params
        loss = self.validation.loss(params)
        return loss, self.validation.score(params, loss) if self.scored else math.nan

    def _last_epoch(
        self, reported: npt.NDArray[np.float64], loss: float, score: float
    ) -> int | None:
        """Return the index in the block of the epoch to stop at; None if patience lasts."""
        model, patience = self.model, self.patience
        diverged = bool(np.isnan(reported[0]))
        if self.validation is not None:
            model.validation_loss_curve_.append(loss)
        if self.validation is None or not self.scored:
            return patience.update(reported)
        model.validation_scores_.append(score)
        self.any_score |= score > -math.inf
        if score >= model.best_validation_score_ + patience.tol:
            patience.count = 0
        else:  # nan is no improvement either
            patience.count += 1
        if score > model.best_validation_score_:
            model.best_validation_score_ = score
            self.best = self.state.params.copy()
        return 0 if diverged or patience.count > patience.limit else None

    def _call_callbacks(self) -> None:
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


def called_by_scikit_learn() -> bool:
    """Return whether scikit-learn runs this fit as one of many; a pipeline does not count."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        name = str(frame.f_globals.get("__name__"))
        if name.startswith(CALLERS) and not name.startswith(TRANSPARENT):
            return True
    return False


def samples_in_batch(batch_size: Any, n_samples: int) -> int:
    """Return the number of samples in a batch."""
    if batch_size == "auto":
        return min(200, n_samples)
    if batch_size > n_samples:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=6,
        )
    return int(min(batch_size, n_samples))
