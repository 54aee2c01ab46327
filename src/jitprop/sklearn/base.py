"""The base class of the classifier and the regressor."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, is_regressor
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from jitprop._types import Array
from jitprop.checks import quoted
from jitprop.data.cast import check_total, naming
from jitprop.data.validation import check_counted
from jitprop.files import pickles
from jitprop.interrupts import Interrupts
from jitprop.sklearn import brief, ensemble, lbfgs, levenberg, net, parameters, prepared
from jitprop.sklearn.course import Course
from jitprop.sklearn.descent import Descent
from jitprop.sklearn.prepared import Prepared
from jitprop.sklearn.validation import Validation
from jitprop.training import running

P = ParamSpec("P")
R = TypeVar("R")

STOCHASTIC = ("sgd", "adam")


def has_partial_fit(model: Any) -> bool:
    """
    Return True if the estimator has ``partial_fit``.

    It has with one member and a stochastic solver.

    Raises
    ------
    AttributeError
        If it has not.
    """
    if model.n_members != 1:
        raise AttributeError(f"partial_fit needs n_members=1; got {quoted(model.n_members)}")
    if model.solver not in STOCHASTIC:
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. "
            f"{model.solver} is not stochastic."
        )
    return True


def before_running_fit(
    method: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[Any, P], R]:
    """Let a method use the estimator as it was before a running fit of another thread."""

    @wraps(method)
    def with_state_before(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return method(self._before_running_fit(), *args, **kwargs)

    return with_state_before


class BaseMLP(BaseEstimator):
    """The fit of both estimators. Subclasses define the targets and the score."""

    _split: Any
    _under_way: Any = None
    _prepared: Prepared | None = None

    @running.one_at_a_time("estimator")
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None
    ) -> Any:
        """
        Train the net.

        Parameters
        ----------
        X : (n_samples, n_features) array-like or sparse matrix
            A new net trains in float32 if X is float32, otherwise in float64. Later fits of the
            net cast X to its dtype. Sparse matrices become dense.
        y : (n_samples,) or (n_samples, n_outputs) array-like
        sample_weight : (n_samples,) array-like or float, default None
            The weights must be at least 0, and not all 0.
        X_val, y_val : as X and y, default None
            Validation samples. Their loss is in ``validation_loss_curve_``. Early stopping uses
            them instead of holding samples out.

        Returns
        -------
        estimator
            This one.

        Raises
        ------
        ValueError
            If a parameter or an array is invalid, if a warm start does not fit the present net, or
            if the loss or the parameters become inf or nan.
        RuntimeError
            If a callback or another thread calls it during a fit of this estimator.
        KeyboardInterrupt
            On Ctrl-C, in three cases: if scikit-learn or joblib calls ``fit``, as in a search, a
            cross-validation, an ensemble or a feature selection, all of which it ends; with
            ``n_members`` above 1; and with the solvers "lbfgs" and "lm". Otherwise, and in a single
            pipeline, the fit ends with a warning and keeps its completed epochs, as in
            scikit-learn.
        """
        self._publish(incremental=False)
        with unchanged_if_refused(self):
            train = self._prepare(X, y, sample_weight, X_val, y_val, incremental=False)
        return self._train(train)

    def _publish(self, incremental: bool) -> None:
        """Let other threads see the estimator as it is before this fit."""
        # From a seed a fit makes a new generator, and if it begins anew a new optimizer.
        anew = self.keep_optimizer is False
        kept = "_optimizer" if anew and not incremental else None
        kept_too = "_random_state" if anew and type(self.random_state) is int else None
        running.of(self).publish(self._snapshot(kept, kept_too))

    def _snapshot(self, *kept: str | None) -> dict[str, Any]:
        """Return the attributes, with copies of those that a fit changes in place."""
        made = {k: list(v) if isinstance(v, list) else v for k, v in self.__dict__.items()}
        for name in ("_optimizer", "_random_state"):
            if name in made and name not in kept:
                made[name] = copy.deepcopy(made[name])
        return made

    def _before_running_fit(self) -> Any:
        """Return the estimator to predict with: itself, or as before another thread's fit."""
        with running.changing():
            before = running.published_elsewhere(self)
            if before is None and not running.may_change(self):
                return self
            return parameters.with_attributes(self, self.__dict__ if before is None else before)

    def _go_back_to(self, before: dict[str, Any]) -> None:
        """Restore the attributes that a lost fit had published: see `training.running`."""
        self.__dict__.clear()
        self.__dict__.update(before)

    def _prepare(
        self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, incremental: bool
    ) -> Callable[[], None]:
        """Check and cast all input; return the function that trains."""
        kept = prepared.of(self)
        if kept.checked is None or not kept.checked.are_those_of(self):
            parameters.check(self)
            kept = kept._replace(checked=prepared.settings_of(self))
        self._prepared = kept
        if not incremental:
            self.__dict__.pop("_best", None)
        elif self.early_stopping:
            if X_val is None:
                raise ValueError(
                    "partial_fit does not support early_stopping=True without X_val and y_val"
                )
            if hasattr(self, "_best") and self.stopped_:  # an earlier partial_fit has stopped
                return lambda: None
        hidden = parameters.hidden_layers(self)
        first = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        with naming(X=X, y=y):
            X, y = self._validate_input(X, y, incremental, first)
        X = dense(X)
        weights = sample_weights(sample_weight, X)
        self.n_outputs_ = y.shape[1]
        weights = self._with_class_weights(weights, y, incremental)
        if weights is not None:
            check_total("sample_weight, times class_weight,", weights, X.dtype)
        held_out = self._given_validation(X_val, y_val, X.dtype)
        resumes = self.keep_optimizer and not first and not incremental
        if not resumes:
            self._random_state = check_random_state(self.random_state)
        sizes = [X.shape[1], *hidden, self.n_outputs_]
        averaged = self.n_members > 1 and self.solver != "lm"  # "lm" keeps the best member
        if averaged:
            ensemble.check(self)
        elif first:
            self.__dict__.pop("fleet_", None)
            self._initialize(sizes, X.dtype)
        else:
            self._check_sizes(sizes)
            # A fit by "lbfgs" leaves no curves, and one by "lm" its own.
            if self.solver in STOCHASTIC and not hasattr(self, "loss_curve_"):
                self._begin_curves()
        if self.solver == "lbfgs":
            if held_out is not None:
                raise ValueError("X_val needs solver 'sgd' or 'adam'; got 'lbfgs'")
            return partial(lbfgs.fit, self, X, y, weights)
        if self.early_stopping and held_out is None:
            X, y, weights, held_out = self._hold_out(X, y, weights, resumes)
        if self.solver == "lm":
            return levenberg.prepare(self, X, y, weights, held_out)
        if averaged:
            return ensemble.prepare(self, sizes, X, y, weights, held_out)
        validation = None if held_out is None else Validation(self, *held_out)
        return Course(self, X, y, weights, validation, incremental, first).run

    def _train(self, train: Callable[[], None]) -> Any:
        """Call the function that `_prepare` returned, and check the result."""
        with Interrupts() as interrupts:
            try:
                with interrupts.heard():
                    train()
            finally:
                self.__dict__.pop("_under_way", None)
        if not all(np.isfinite(array).all() for array in (*self.coefs_, *self.intercepts_)):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )
        return self

    def stop(self) -> None:
        """
        End the running fit of all members after the present epoch.

        Call it from a callback, a scorer or another thread. `fit` then returns as after its last
        epoch, without the warning that it has not converged. Without callbacks, validation and
        ``verbose``, the fit trains blocks of epochs and ends after the present block, which takes
        about a tenth of a second. The solver "lbfgs" ends after the present step. Outside a fit it
        does nothing.
        """
        if self._under_way is not None:
            self._under_way.stop()

    def _initialize(self, sizes: list[int], dtype: np.dtype[Any]) -> None:
        """Set the attributes of an untrained net."""
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(sizes)
        self.out_activation_ = self._out_activation()
        net.initialize(self, sizes, dtype)
        if self.solver in STOCHASTIC:
            self._begin_curves()

    def _begin_curves(self) -> None:
        self.loss_curve_: list[float] = []
        self.validation_loss_curve_: list[float] | None = None
        self.stopped_ = False
        self._no_improvement_count = 0
        self.best_loss_ = None if self.early_stopping else np.inf
        self.validation_scores_: list[float] | None = [] if self.early_stopping else None
        self.best_validation_score_ = -np.inf if self.early_stopping else None

    def _check_sizes(self, sizes: list[int]) -> None:
        """Check that the present net has the layer sizes that the parameters and data need."""
        present = [*self.coefs_[0].shape[:-1], *(b.shape[-1] for b in self.intercepts_)]
        if sizes != present:
            raise ValueError(
                "training can only continue with the present net, whose layer sizes are "
                f"{present}; hidden_layer_sizes, X and y need {sizes}"
            )

    def _hold_out(self, X: Array, y: Array, weights: Array | None, resumes: bool) -> Any:
        """Return X, y and weights of the training samples, and a tuple of the validation's."""
        arrays = [X, y] if weights is None else [X, y, weights]
        random = self._random_state
        if resumes and hasattr(self, "_split"):  # hold the same samples out
            random = np.random.RandomState()
            random.set_state(self._split)
        elif self.keep_optimizer:
            self._split = random.get_state()
        parts = train_test_split(
            *arrays,
            random_state=random,
            test_size=self.validation_fraction,
            stratify=y.astype(bool) if self._stratified() else None,
        )
        X, X_val, y, y_val, weights, weights_val = (*parts, None, None)[:6]
        check_counted("validation_fraction", weights, weights_val)
        if len(X_val) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size "
                "of your dataset."
            )
        return X, y, weights, (X_val, y_val, weights_val)

    def _given_validation(self, X_val: Any, y_val: Any, dtype: np.dtype[Any]) -> Any:
        """Return the given validation samples, checked and cast; None if there are none."""
        if X_val is None and y_val is None:
            return None
        if X_val is None or y_val is None:
            raise ValueError("X_val and y_val must be given together")
        with naming(X_val=X_val, y_val=y_val):
            X, y = self._validate_samples(X_val, y_val, reset=False)
        with np.errstate(over="ignore"):
            X = dense(X).astype(dtype, copy=False)
        _check_range("X_val", X)
        return X, self._targets(y, dtype), None

    def _validate_samples(self, X: Any, y: Any, reset: bool) -> tuple[Any, Array]:
        """Return X and y, checked; y of one column becomes (n_samples,)."""
        if brief.are_right(self, X, y, reset):
            self.n_features_in_ = X.shape[1]
        else:
            X, y = validate_data(
                self,
                X,
                y,
                accept_sparse=["csr", "csc"],
                multi_output=True,
                y_numeric=is_regressor(self),
                dtype=(np.float64, np.float32),
                reset=reset,
            )
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _in_dtype(self, X: Any, first: bool) -> Any:
        """Return the training samples, cast to the dtype of the present net unless it is new."""
        if first:
            return X
        with np.errstate(over="ignore"):
            cast = X.astype(net.dtype(self), copy=False)
        _check_range("X", cast.data if scipy.sparse.issparse(cast) else cast)
        return cast

    def _with_class_weights(
        self, weights: Array | None, y: Array, incremental: bool
    ) -> Array | None:
        """Return the samples' weights times those of their classes."""
        del y, incremental
        return weights

    def _checked(self, X: Any) -> Array:
        """Return the samples to predict for, checked."""
        with naming(X=X):
            made = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
            if made.dtype == object:  # which scikit-learn leaves of ints beyond 64 bits
                made = check_array(made, dtype=np.float64, input_name="X")
            return dense(made)

    def _outputs(self, X: Any) -> Array:
        """Check the samples and return the outputs, (n_samples, n_outputs)."""
        made = brief.outputs(self, X)
        if made is not None:
            return made
        check_is_fitted(self)
        X = self._checked(X)
        if hasattr(self, "fleet_"):
            mean: Array = self.fleet_.predict(X).mean(axis=0)
            return mean
        return net.outputs(self, X)

    @before_running_fit
    def hidden_activations(self, X: Any) -> list[Array]:
        """
        Return the outputs of the hidden layers.

        Parameters
        ----------
        X : (n_samples, n_features) array-like or sparse matrix

        Returns
        -------
        list of (n_samples, n_units) arrays
            The outputs of each hidden layer, from the first to the last.

        Raises
        ------
        ValueError
            If there are several members.
        """
        check_is_fitted(self)
        if hasattr(self, "fleet_"):
            raise ValueError(
                "hidden_activations needs n_members=1; see fleet_ for the nets of each member"
            )
        return net.hidden_activations(self, self._checked(X))

    def __getstate__(self) -> dict[str, Any]:
        with running.changing():
            before = running.published_elsewhere(self)
            if before is None:
                alone = not running.may_change(self)
                before = super().__getstate__() if alone else self._snapshot()
        state = pickles.stamped(before)
        state.pop("_under_way", None)  # a copy that a callback makes is not in a fit
        state.pop("_prepared", None)
        if "_optimizer" in state:
            state["_optimizer"] = state["_optimizer"].plain()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = pickles.opened(type(self).__name__, state)
        if isinstance(state.get("_optimizer"), dict):
            state["_optimizer"] = Descent.from_plain(state["_optimizer"])
        super().__setstate__(state)
        self._prepared = prepared.after_loading(self)

    def __copy__(self) -> Any:
        # Two estimators never share what training changes.
        return copy.deepcopy(self)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


@contextmanager
def unchanged_if_refused(model: Any) -> Iterator[None]:
    """Restore the attributes of an estimator if the check of its input raises an error."""
    before = model.__dict__.copy()
    with Interrupts() as interrupts:
        try:
            with interrupts.heard():
                yield
        except BaseException:
            model.__dict__.clear()
            model.__dict__.update(before)
            raise


def targets_in(y: Array, dtype: np.dtype[Any]) -> Array:
    """Return the targets as (n_samples, n_outputs), in the dtype of the samples."""
    with np.errstate(over="ignore"):
        made = np.ascontiguousarray(y, dtype).reshape(len(y), -1)
    _check_range("y", made)
    return made


def _check_range(name: str, cast: Array) -> None:
    """Refuse arrays whose finite numbers became inf in a cast."""
    if not np.isfinite(cast).all():
        raise ValueError(f"{name} must be finite in {cast.dtype}, the dtype of the net")


def dense(X: Any) -> Array:
    """Return X as a C-contiguous array that is not sparse."""
    return np.ascontiguousarray(X.toarray() if scipy.sparse.issparse(X) else X)


def sample_weights(sample_weight: Any, X: Array) -> Array | None:
    """Return the sample weights, checked and in the dtype of X; a number becomes an array of it."""
    if sample_weight is None:
        return None
    with naming(sample_weight=sample_weight):
        if isinstance(sample_weight, numbers.Number):
            sample_weight = np.full(len(X), sample_weight)
        weights: Array = check_array(
            sample_weight, ensure_2d=False, dtype=X.dtype, order="C", input_name="sample_weight"
        )
    if weights.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, got {weights.ndim}D array.")
    if len(weights) != len(X):
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(len(X),)}!")
    if not weights.any():
        raise ValueError("sample_weight must not be zero for all samples")
    if (weights < 0).any():
        raise ValueError(f"sample_weight must not be negative; got {weights.min():g}")
    return weights
