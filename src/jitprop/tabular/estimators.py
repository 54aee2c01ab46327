"""The estimators for tables: a classifier and a regressor."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from jitprop import checks
from jitprop._types import Array
from jitprop.data.cast import naming
from jitprop.files import pickles
from jitprop.files.saving import refusing
from jitprop.hints import TABULAR, hinting
from jitprop.interrupts import Interrupts
from jitprop.tabular import export, fitting, importances, intervals, rows, saving, targets
from jitprop.tabular.fitting import Settings
from jitprop.tabular.importances import Importances
from jitprop.tabular.model import TabularNet
from jitprop.tabular.recipe import CLASSES, QUANTITIES, Recipe
from jitprop.tabular.table import Column, Table, quoted, table_of
from jitprop.tabular.targets import Classes
from jitprop.training import running

Numbers = npt.NDArray[np.float64]

FITTED = ("n_features_in_", "feature_names_in_", "net_", "left_out_", "classes_", "history_")
"""The attributes that a fit sets."""


class ParameterError(ValueError, TypeError):
    """A parameter has a wrong type or value. scikit-learn's error is both classes too."""


class BaseTabular(BaseEstimator):
    """What both estimators have in common."""

    _recipe: ClassVar[Recipe]
    _classifies: ClassVar[bool]

    hidden: Any
    epochs: Any
    batch_size: Any
    learning_rate: Any
    validation_fraction: Any
    keep: Any
    n_members: Any
    random_state: Any
    n_threads: Any
    verbose: Any

    @running.one_at_a_time("estimator")
    def fit(
        self, X: Any, y: Any, X_val: Any = None, y_val: Any = None, sample_weight: Any = None
    ) -> Self:
        """
        Learn the columns, and train the nets.

        Parameters
        ----------
        X : DataFrame of pandas or polars, pyarrow Table, dict of columns, or 2-D array-like
            Columns of numbers, categories, booleans, dates and texts, with missing values.
        y : (n_rows,) array-like
            The targets, without missing values.
        X_val, y_val : as X and y, default None
            Rows that choose the best epoch, in place of some that are held out.
        sample_weight : (n_rows,) array-like or float, default None
            Weights of at least 0, not all 0. Whole numbers are counts of rows.

        Returns
        -------
        estimator
            This one.

        Raises
        ------
        TypeError, ValueError
            For bad input, in a sentence that names the argument or the column. An estimator that
            was fitted before stays as it was, also after any other error and after Ctrl-C.
        DivergenceError
            If the loss becomes inf or nan.
        RuntimeError
            If another thread fits this estimator already.
        KeyboardInterrupt
            On Ctrl-C, within a second.
        """
        settings = self._settings()
        blank = object.__new__(type(self))
        with naming(X=X):
            table = _table(blank, "X", X, reset=True)
        unknown = [each for each in settings.keep if each not in table]
        if unknown:
            raise ValueError(f"keep must name columns of X; got {quoted(unknown[0])}")
        values = self._targets("y", y)
        validation = None
        if X_val is not None or y_val is not None:
            if X_val is None or y_val is None:
                raise ValueError("X_val and y_val must be given together")
            with naming(X_val=X_val):
                validation = (
                    _table(blank, "X_val", X_val, reset=False),
                    self._targets("y_val", y_val),
                )
        net = fitting.fit(
            table,
            values,
            self._classifies,
            settings,
            sample_weight=sample_weight,
            validation=validation,
        )
        if self.verbose:
            _report(net)
        self._become(blank.__dict__, net)
        return self

    def _become(self, seen: dict[str, Any], net: TabularNet) -> None:
        """Set the attributes of a fitted estimator, all at once."""
        made = {name: seen[name] for name in FITTED[:2] if name in seen}
        made |= {"net_": net, "left_out_": dict(net.columns.left_out)}
        made["history_"] = [course.history for course in net.courses]
        if isinstance(net.target, Classes):
            made["classes_"] = net.target.values
        with Interrupts(), running.changing():
            kept = {name: value for name, value in self.__dict__.items() if name not in FITTED}
            self.__dict__ = kept | made

    def _settings(self) -> Settings:
        """Check the parameters."""
        try:
            hidden = self.hidden if checks.is_list(self.hidden) else [self.hidden]
            rate = self._recipe.learning_rate
            if self.learning_rate is not None:
                rate = checks.number("learning_rate", self.learning_rate, above=0.0)
            if not isinstance(self.verbose, bool | np.bool_):
                checks.integer("verbose", self.verbose, low=0)
            return Settings(
                replace(
                    self._recipe,
                    hidden=tuple(checks.integer("hidden", n, low=1) for n in hidden),
                    epochs=checks.integer("epochs", self.epochs, low=1),
                    batch_size=checks.integer("batch_size", self.batch_size, low=1),
                    learning_rate=rate,
                ),
                n_members=checks.integer("n_members", self.n_members, low=1),
                seed=_seed(self.random_state),
                validation_fraction=checks.number(
                    "validation_fraction", self.validation_fraction, above=0.0, below=1.0
                ),
                n_threads=checks.optional_integer("n_threads", self.n_threads, low=1),
                keep=_names("keep", self.keep),
            )
        except (TypeError, ValueError) as error:
            raise ParameterError(f"{type(self).__name__}: {error}") from None

    def _targets(self, name: str, y: Any) -> Array:
        """Return the targets, checked."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target {name} is None"
            )
        with naming(**{name: y}):
            shape = y.shape if hasattr(y, "shape") else np.asarray(y).shape
            if len(shape) == 2 and shape[1] == 1:
                warnings.warn(
                    f"A column-vector {name} was passed when a 1d array was expected: its shape "
                    f"should be (n_rows,), for example by {name}.ravel()",
                    DataConversionWarning,
                    stacklevel=4,
                )
            if not self._classifies:
                return targets.numbers_of(name, y)
            values = targets.values_of(name, y)
        check_classification_targets(values)
        return values

    def _inputs(self, X: Any) -> npt.NDArray[np.float32]:
        """Check the rows to predict for, and return the inputs of the nets."""
        check_is_fitted(self, "net_")
        inputs: npt.NDArray[np.float32] = self.net_.inputs(self._table(X))
        return inputs

    def _table(self, X: Any) -> Table:
        with naming(X=X):
            return _table(self, "X", X, reset=False)

    def _importances(
        self, score: Any, X: Any, n_targets: int, n_repeats: Any, random_state: Any
    ) -> Importances:
        seed = _seed(self.random_state if random_state is None else random_state)
        table = self._table(X)
        rows.check_lengths("X", table.n_rows, n_targets)
        return importances.importances(self.net_, table, score, n_repeats, seed)

    def save(self, path: str | os.PathLike[str]) -> None:
        """
        Write the fitted estimator to one file, without pickle.

        The file has the safetensors format. It is written completely or not at all.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        OSError
            If the file cannot be written.
        """
        check_is_fitted(self, "net_")
        names = getattr(self, "feature_names_in_", None)
        parameters = self.get_params()
        if not isinstance(self.random_state, int | np.integer):
            parameters["random_state"] = None
        extra = {
            "estimator": type(self).__name__,
            "parameters": {name: _plain(value) for name, value in parameters.items()},
            "n_features": self.n_features_in_,
            "feature_names": None if names is None else names.tolist(),
        }
        saving.write(path, self.net_, extra)

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """
        Write an ONNX file that takes the columns as they are.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ImportError, OSError, ValueError
            As `jitprop.tabular.export.to_onnx` raises them.
        """
        check_is_fitted(self, "net_")
        export.to_onnx(self.net_, path)

    def to_c(self, path: str | os.PathLike[str], *, name: str = "net") -> None:
        """
        Write a file of C99 that takes the columns as they are.

        Parameters
        ----------
        path : str or path-like
        name : str, default "net"
            The first part of the names in the file.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        OSError, TypeError, ValueError
            As `jitprop.tabular.export.to_c` raises them.
        """
        check_is_fitted(self, "net_")
        export.to_c(self.net_, path, name=name)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """
        Read an estimator that `save` wrote. Nothing in the file is run.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        estimator
            Its predictions are those of the saved one, bit for bit. ``history_`` is empty.

        Raises
        ------
        CheckpointError
            For a file that `save` did not write, that was altered, or that holds another estimator.
        OSError
            If the file cannot be read.
        """
        net, extra = saving.read(path)
        with refusing(path):
            if isinstance(net.target, Classes) != cls._classifies:
                other = "TabularClassifier" if not cls._classifies else "TabularRegressor"
                raise ValueError(f"it holds a {other}, which {other}.load reads")
            made, seen = cls(), _seen(extra, net)
            parameters = extra.get("parameters")
            if not isinstance(parameters, dict) or parameters.keys() != made.get_params().keys():
                raise ValueError(f"it has no parameters of a {cls.__name__}")
            lists = {name: tuple(v) for name, v in parameters.items() if isinstance(v, list)}
            made.set_params(**parameters | lists)
            made._settings()
            made._become(seen, net)
        return made

    def __getstate__(self) -> dict[str, Any]:
        return pickles.stamped(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(pickles.opened(type(self).__name__, state))

    def __copy__(self) -> Any:
        return copy.deepcopy(self)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


class TabularClassifier(ClassifierMixin, BaseTabular):
    """
    A net for tables that predicts classes.

    It takes columns of numbers, categories, booleans, dates and texts with missing values as they
    are. The recipe is RealMLP-TD-S: see docs/tables.md.

    Parameters
    ----------
    hidden : int or sequence of int, default (256, 256, 256)
        The number of units of each hidden layer.
    epochs : int, default 256
        How many epochs are trained. The last of the epochs with the smallest loss of the rows held
        out is kept.
    batch_size : int, default 256
        An epoch has as many updates as this goes into the rows, at least one, and they share the
        rows evenly.
    learning_rate : float or None, default None
        The largest learning rate of the schedule; None is 0.04.
    validation_fraction : float, default 0.2
        The share of the rows of each class that is held out, to choose the best epoch and to
        calibrate the probabilities.
    keep : sequence of str, default ()
        Columns to use although they look like ids: see ``left_out_``.
    n_members : int, default 1
        The number of nets whose probabilities are averaged. Each has a seed of its own. Each also
        holds out other rows, as in cross-validation, so that together they learn from all.
    random_state : int, numpy.random.RandomState or None, default None
        The source of the rows held out, the initial weights and the shuffles. With the same int the
        same rows give the same bits, in whatever order and in whatever kind of frame they come.
    n_threads : int or None, default None
        The most threads. Results do not depend on it, bit for bit.
    verbose : bool or int, default False
        Print a line for each net, and for each column that is left out.

    Attributes
    ----------
    classes_ : (n_classes,) array
        The classes, sorted.
    n_features_in_ : int
        The number of columns.
    feature_names_in_ : (n_columns,) array of str
        Their names, if X had names.
    left_out_ : dict of str to str
        The columns that are not used, and why.
    net_ : TabularNet
        What predicts.
    history_ : list of History
        The course of each net's training; empty after `load`.

    Notes
    -----
    The outputs before the softmax are divided by a temperature, which minimises the log-loss of the
    rows held out: see `jitprop.tabular.calibration`.

    References
    ----------
    Holzmueller, Grinsztajn and Steinwart, *Better by Default: Strong Pre-Tuned MLPs and Boosted
    Trees on Tabular Data*, NeurIPS 2024, arXiv:2407.04491.

    Examples
    --------
    >>> from jitprop.tabular import TabularClassifier
    >>> table = {"size": [1, 2, None, 9, 8, 9] * 5, "colour": ["red", "blue", "red"] * 10}
    >>> y = ["small", "small", "small", "large", "large", "large"] * 5
    >>> model = TabularClassifier(epochs=20, random_state=0).fit(table, y)
    >>> model.predict({"size": [1.5, 8.5], "colour": ["red", "green"]}).tolist()
    ['small', 'large']
    """

    _recipe = CLASSES
    _classifies = True

    @hinting("TabularClassifier", TABULAR)
    def __init__(
        self,
        hidden: Any = (256, 256, 256),
        *,
        epochs: int = 256,
        batch_size: int = 256,
        learning_rate: float | None = None,
        validation_fraction: float = 0.2,
        keep: Sequence[str] = (),
        n_members: int = 1,
        random_state: Any = None,
        n_threads: int | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.keep = keep
        self.n_members = n_members
        self.random_state = random_state
        self.n_threads = n_threads
        self.verbose = verbose

    def predict_proba(self, X: Any) -> Numbers:
        """
        Predict the probability of each class.

        Parameters
        ----------
        X : as in `fit`

        Returns
        -------
        (n_rows, n_classes) float64 array
            In the order of ``classes_``.

        Raises
        ------
        ValueError
            If a column is missing, or holds values of another kind than in training.
        """
        inputs = self._inputs(X)
        made: Numbers = self.net_.outputs(inputs)
        return made

    def predict(self, X: Any) -> Array:
        """
        Predict the most probable class.

        Parameters
        ----------
        X : as in `fit`

        Returns
        -------
        (n_rows,) array of classes

        Raises
        ------
        ValueError
            As in `predict_proba`.
        """
        best = self.predict_proba(X).argmax(axis=1)
        made: Array = self.classes_[best]
        return made

    def importances(
        self, X: Any, y: Any, n_repeats: int = 5, random_state: int | None = None
    ) -> Importances:
        """
        Measure how much the accuracy falls where the values of one column are shuffled.

        Parameters
        ----------
        X, y : as in `fit`
            Best rows that were not trained on.
        n_repeats : int, default 5
            The number of shuffles of each column.
        random_state : int or None, default None
            Of the shuffles; None is that of the estimator.

        Returns
        -------
        Importances

        Notes
        -----
        The numbers are those of ``sklearn.inspection.permutation_importance``. It encodes all
        columns for each shuffle, and this once.
        """
        check_is_fitted(self, "net_")
        codes = self.net_.target.codes("y", self._targets("y", y))
        return self._importances(
            lambda outputs: importances.accuracy(codes, outputs),
            X, len(codes), n_repeats, random_state,
        )  # fmt: skip


class TabularRegressor(RegressorMixin, BaseTabular):
    """
    A net for tables that predicts a number.

    It takes columns of numbers, categories, booleans, dates and texts with missing values as they
    are. The recipe is RealMLP-TD-S: see docs/tables.md.

    Parameters
    ----------
    hidden : int or sequence of int, default (256, 256, 256)
        The number of units of each hidden layer.
    epochs : int, default 256
        How many epochs are trained. The last of the epochs with the smallest loss of the rows held
        out is kept.
    batch_size : int, default 256
        An epoch has as many updates as this goes into the rows, at least one, and they share the
        rows evenly.
    learning_rate : float or None, default None
        The largest learning rate of the schedule; None is 0.07.
    validation_fraction : float, default 0.2
        The share of the rows that is held out, to choose the best epoch and for
        `predict_interval`.
    keep : sequence of str, default ()
        Columns to use although they look like ids: see ``left_out_``.
    n_members : int, default 1
        The number of nets whose predictions are averaged. Each has a seed of its own. Each also
        holds out other rows, as in cross-validation, so that together they learn from all.
    random_state : int, numpy.random.RandomState or None, default None
        The source of the rows held out, the initial weights and the shuffles. With the same int the
        same rows give the same bits, in whatever order and in whatever kind of frame they come.
    n_threads : int or None, default None
        The most threads. Results do not depend on it, bit for bit.
    verbose : bool or int, default False
        Print a line for each net, and for each column that is left out.

    Attributes
    ----------
    n_features_in_, feature_names_in_, left_out_, net_, history_
        As of `TabularClassifier`.

    Notes
    -----
    The net learns (y - mean) / deviation. Predictions are clipped to the range of the targets that
    were trained on.

    References
    ----------
    As of `TabularClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from jitprop.tabular import TabularRegressor
    >>> size = np.random.default_rng(0).permutation(200) / 10
    >>> table = {"size": size, "colour": ["red", "blue"] * 100}
    >>> y = 3 * size + np.where(np.arange(200) % 2 == 0, 5, 0)
    >>> model = TabularRegressor(epochs=50, random_state=0).fit(table, y)
    >>> bool(model.score(table, y) > 0.9)
    True
    """

    _recipe = QUANTITIES
    _classifies = False

    @hinting("TabularRegressor", TABULAR)
    def __init__(
        self,
        hidden: Any = (256, 256, 256),
        *,
        epochs: int = 256,
        batch_size: int = 256,
        learning_rate: float | None = None,
        validation_fraction: float = 0.2,
        keep: Sequence[str] = (),
        n_members: int = 1,
        random_state: Any = None,
        n_threads: int | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.keep = keep
        self.n_members = n_members
        self.random_state = random_state
        self.n_threads = n_threads
        self.verbose = verbose

    def predict(self, X: Any) -> Numbers:
        """
        Predict the target.

        Parameters
        ----------
        X : as in `fit`

        Returns
        -------
        (n_rows,) float64 array

        Raises
        ------
        ValueError
            If a column is missing, or holds values of another kind than in training.
        """
        inputs = self._inputs(X)
        made: Numbers = self.net_.outputs(inputs)
        return made

    def predict_interval(self, X: Any, confidence: float = 0.9) -> Numbers:
        """
        Predict intervals that hold the target with this probability.

        Parameters
        ----------
        X : as in `fit`
        confidence : float, default 0.9
            Above 0 and below 1.

        Returns
        -------
        (n_rows, 2) float64 array
            The lower and the upper end for each row.

        Raises
        ------
        ValueError
            If a column is missing or has changed, or if too few rows were held out for this
            confidence.

        Notes
        -----
        The ends are the prediction minus and plus a quantile of the errors of the rows held out:
        see `jitprop.tabular.intervals`. All intervals have the same width.
        """
        check_is_fitted(self, "net_")
        width = intervals.half_width(self.net_.residuals, confidence)
        middle = self.predict(X)
        return np.stack([middle - width, middle + width], axis=1)

    def importances(
        self, X: Any, y: Any, n_repeats: int = 5, random_state: int | None = None
    ) -> Importances:
        """
        Measure how much R**2 falls where the values of one column are shuffled.

        Parameters
        ----------
        X, y : as in `fit`
            Best rows that were not trained on.
        n_repeats : int, default 5
            The number of shuffles of each column.
        random_state : int or None, default None
            Of the shuffles; None is that of the estimator.

        Returns
        -------
        Importances

        Notes
        -----
        As of `TabularClassifier.importances`.
        """
        check_is_fitted(self, "net_")
        values = self._targets("y", y)
        return self._importances(
            lambda outputs: importances.r2(values, outputs),
            X, len(values), n_repeats, random_state,
        )  # fmt: skip


def _table(estimator: Any, name: str, X: Any, reset: bool) -> Table:
    """Return X as a table; let scikit-learn check its names and the number of columns."""
    if isinstance(X, Mapping | Table) and not hasattr(X, "toarray"):  # a sparse matrix may be one
        table = _with_columns(name, table_of(X))
        X = np.empty((table.n_rows, len(table.names)))
        if reset and table.named:
            estimator.n_features_in_ = len(table.names)
            estimator.feature_names_in_ = np.array(table.names, object)
        elif reset:
            validate_data(estimator, X, skip_check_array=True)
        return table
    if not hasattr(X, "columns"):
        if isinstance(X, list | tuple) and np.asarray(X).dtype.kind in "US":
            X = np.asarray(X, object)  # NumPy made texts of numbers
        X = check_array(
            X, dtype=None, ensure_all_finite=False, estimator=type(estimator).__name__,
            input_name=name,
        )  # fmt: skip
    table = _with_columns(name, table_of(X))
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    return table if reset else _renamed(estimator, table)


def _with_columns(name: str, table: Table) -> Table:
    if not table.names:
        raise ValueError(f"{name} must have at least one column; got none")
    return table


def _renamed(estimator: Any, table: Table) -> Table:
    """
    Return a table with the names of the fit, if only one of the two had names.

    scikit-learn warns of it, and goes by the places of the columns.
    """
    seen = getattr(estimator, "feature_names_in_", None)
    if (seen is not None) == table.named:
        return table
    names = [f"x{i}" for i in range(len(table.names))] if seen is None else seen.tolist()
    columns = [Column(name, c.kind, c.values) for name, c in zip(names, table, strict=True)]
    return Table(columns, named=not table.named)


def _seed(random_state: Any) -> int:
    """Return the seed that a random state gives."""
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        return checks.integer("random_state", random_state, low=0)
    return int(check_random_state(random_state).randint(2**31, dtype=np.int64))


def _seen(extra: Any, net: TabularNet) -> dict[str, Any]:
    """Return ``n_features_in_`` and ``feature_names_in_`` of an estimator in a file."""
    if not isinstance(extra, dict):
        raise ValueError("it holds a net of the command line, which jitprop predict reads")
    n = checks.integer("n_features", extra.get("n_features"), low=1)
    names = extra.get("feature_names")
    if names is None:
        return {"n_features_in_": n}
    good = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not good or len(names) != n or len({*names}) != n:
        raise ValueError(
            f"its feature_names must be {n} different texts; got {checks.shown(names)}"
        )
    for encoder in net.columns.encoders:
        if encoder.name not in names:
            raise ValueError(f"its column {quoted(encoder.name)} is none of its feature_names")
    return {"n_features_in_": n, "feature_names_in_": np.array(names, object)}


def _plain(value: Any) -> Any:
    """Return a parameter as JSON can hold it."""
    if checks.is_list(value):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _names(name: str, given: Any) -> tuple[str, ...]:
    """Return names of columns, checked."""
    if not checks.is_list(given) or not all(isinstance(each, str) for each in given):
        raise TypeError(f"{name} must be a list of names of columns; got {checks.shown(given)}")
    return tuple(given)


def _report(net: TabularNet) -> None:
    """Print what ``verbose`` shows of a fit."""
    for name, reason in net.columns.left_out.items():
        print(f"column {name!r} is left out: {reason}")
    for i, course in enumerate(net.courses, start=1):
        history = course.history
        print(
            f"net {i} of {len(net.courses)}: {len(history.loss)} epochs in "
            f"{history.seconds.sum():.1f} s, best epoch {course.best_epoch + 1}"
        )
