"""The estimator for classification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels

from jitprop import elementary
from jitprop._types import Array
from jitprop.checks import printable, quoted
from jitprop.data.cast import naming
from jitprop.hints import ESTIMATORS, hinting
from jitprop.sklearn import brief, net
from jitprop.sklearn.base import BaseMLP, before_running_fit, has_partial_fit, unchanged_if_refused
from jitprop.training import running


class MLPClassifier(ClassifierMixin, BaseMLP):
    """
    A multilayer perceptron for classification, in place of scikit-learn's ``MLPClassifier``.

    The loss is the cross-entropy. Three or more classes have one softmax output each. Two classes
    have one logistic output. In multilabel problems each label has one logistic output.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default (100,)
        The number of units of each hidden layer; () for no hidden layer.
    activation : str, object or sequence of them, default "relu"
        The activation of all hidden layers, or one for each. scikit-learn's names are "identity",
        "logistic", "tanh" and "relu"; those of `jitprop.Trainer` work too, and its
        objects, such as `LeakyReLU`.
    solver : {"lbfgs", "sgd", "adam", "lm"}, default "adam"
        "lbfgs" is scipy's L-BFGS-B on the loss of all samples, in float64. "lm" is
        `jitprop.LevenbergMarquardt`, in float64 too, for small nets: up to 20,000
        parameters. "sgd" and "adam" train in batches.
    alpha : float, default 0.0001
        The strength of the L2 penalty. For a batch of s samples, alpha / (2 s) sum W**2 is added to
        the mean loss. The sum is over weights, not biases.
    batch_size : int or "auto", default "auto"
        "auto" is 200, or all samples if there are fewer. "lbfgs" and "lm" ignore it.
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        The schedule of the learning rate, for "sgd" only. "invscaling" is
        learning_rate_init / (t + 1)**power_t after t samples. "adaptive" divides the rate by 5
        where training would otherwise stop. It stops when the rate is at most 1e-6.
    learning_rate_init : float, default 0.001
        The learning rate at the start, for "sgd" and "adam".
    power_t : float, default 0.5
        The exponent of "invscaling".
    max_iter : int, default 200
        The largest number of epochs; for "lbfgs", of iterations; for "lm", of steps.
    shuffle : bool, default True
        Shuffle the samples before each epoch.
    random_state : int, numpy.random.RandomState or None, default None
        The source of the initial weights, the validation split and the shuffles.
    tol : float, default 1e-4
        The smallest improvement that counts: of the loss, or with early stopping of the score.
        "lbfgs" stops when the largest component of the gradient is at most this. "lm" stops when a
        step lowers the loss by less than ``tol`` times the loss.
    verbose : bool or int, default False
        Print the loss of each epoch; with several members, their mean loss.
    warm_start : bool, default False
        Let ``fit`` start from the present weights.
    momentum : float, default 0.9
        The momentum of "sgd", from 0 to 1.
    nesterovs_momentum : bool, default True
        Use Nesterov's momentum, for "sgd" only.
    early_stopping : bool, default False
        Hold some samples out, stop when their score does not improve, and keep the best weights.
    validation_fraction : float, default 0.1
        The share of the samples to hold out.
    beta_1, beta_2 : float, default 0.9 and 0.999
        The decay rates of "adam": see `jitprop.Adam`.
    epsilon : float, default 1e-8
        The constant of "adam" that prevents a division by zero: see `jitprop.Adam`.
    n_iter_no_change : int or inf, default 10
        Stop after more than this many epochs in a row without an improvement. "lm" uses it with
        early stopping alone.
    max_fun : int, default 15000
        How often "lbfgs" may compute the loss.
    n_threads : int or None, default None
        The largest number of threads of fits and predictions, as in `jitprop.Trainer`. Results are
        the same, bit for bit, for any number. Inside a joblib worker, None means the worker's share
        of the cores.
    dropout : float or sequence of float, default 0.0
        The share of units that each update leaves out, for all hidden layers or for each.
    keep_optimizer : bool, default False
        With ``warm_start``, ``fit`` resumes the fit before it: several fits give the model of one
        longer fit. It keeps momentum, Adam's moments, the learning rate, the shuffles, the
        validation split and the best weights. Not for "lbfgs" and "lm".
    scoring : "loss", str, callable or None, default None
        The score that early stopping watches. None is the accuracy, "loss" the negative validation
        loss; otherwise a scorer's name or a function (estimator, X, y). "lm" always watches the
        loss.
    callbacks : function or list of functions, default None
        Called as function(estimator, epoch, logs) after each epoch. Epochs are counted from 0; a
        warm start and ``partial_fit`` count on. ``logs`` has "loss" and "learning_rate", with
        validation samples "validation_loss", and with early stopping "validation_score". Return
        values are ignored; ``estimator.stop()`` ends the fit. Not for "lbfgs" and "lm".
    n_members : int, default 1
        The number of nets to train at once, as a `jitprop.Fleet`. Each has its own initial weights
        and shuffles, and stops by itself. Predictions are the members' mean. Early stopping of
        several members monitors the validation loss. With "lm" it is the number of starts, and the
        model is the best one: that with the smallest training loss and penalty, or with early
        stopping the smallest validation loss.
    bootstrap : bool, default False
        Train each of several members on a bootstrap sample: n_samples samples, drawn with
        replacement.
    class_weight : dict, "balanced" or None, default None
        The weight of the samples of each class, in training and in the validation score. "balanced"
        weights are inversely proportional to the number of samples of the class. Multilabel
        problems take a list with one dict for each label.

    Attributes
    ----------
    classes_ : (n_classes,) array
        The classes, sorted.
    coefs_, intercepts_ : lists of arrays
        The weights (n_in, n_out) and biases (n_out,) of each layer. Predictions use them.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : (n_features,) array
        The names of the features, if X had names.
    n_layers_, n_outputs_ : int
        The number of layers, with the input layer, and of outputs.
    out_activation_ : str
        The activation of the output layer.
    loss_ : float
        The loss of the last epoch. It includes the penalty if there is one member, and with "lm".
    loss_curve_ : list of float
        The loss of each epoch. With "lm" it is without the penalty.
    best_loss_ : float or None
        The lowest loss; None with early stopping.
    validation_scores_ : list of float, or None
        The validation score of each epoch; None without early stopping.
    best_validation_score_ : float or None
        The highest validation score; None without early stopping.
    stopped_ : bool
        Whether training ended before ``max_iter`` for lack of improvement.
    validation_loss_curve_ : list of float, or None
        The loss of the validation samples after each epoch, without the penalty.
    fleet_ : Fleet
        The members, if there are several and the solver is not "lm". The first dimension of
        ``coefs_`` and ``intercepts_`` is then the member, and ``loss_curve_`` is the mean of the
        members that still train.
    n_iter_ : int
        The number of epochs in the last ``fit``; for "lbfgs", of iterations; for "lm", of steps of
        the best start.
    t_ : int
        The number of samples that training has seen.

    Notes
    -----
    With the same ``random_state``, the initial weights, the shuffles and the updates are those of
    scikit-learn, up to the order of sums. The reported loss is scikit-learn's too: it computes the
    loss from rounded probabilities, clipped to [epsilon, 1 - epsilon], where epsilon is that of
    the dtype.

    Examples
    --------
    >>> from jitprop.sklearn import MLPClassifier
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], ["no", "yes", "yes", "no"]
    >>> model = MLPClassifier(8, solver="lbfgs", random_state=0).fit(X, y)
    >>> model.predict(X).tolist()
    ['no', 'yes', 'yes', 'no']
    """

    @hinting("MLPClassifier", ESTIMATORS)
    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        n_threads: int | None = None,
        dropout: Any = 0.0,
        keep_optimizer: bool = False,
        scoring: Any = None,
        callbacks: Any = None,
        n_members: int = 1,
        bootstrap: bool = False,
        class_weight: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.n_threads = n_threads
        self.dropout = dropout
        self.keep_optimizer = keep_optimizer
        self.scoring = scoring
        self.callbacks = callbacks
        self.n_members = n_members
        self.bootstrap = bootstrap
        self.class_weight = class_weight

    def _validate_samples(self, X: Any, y: Any, reset: bool) -> tuple[Any, Array]:
        """Return X and y, checked."""
        return super()._validate_samples(X, labels(y), reset)

    def _targets(self, y: Array, dtype: np.dtype[Any]) -> Array:
        """Return the targets: a row of 0 and 1 for each sample."""
        rows = self._quick_targets(y)
        if rows is None:
            self._check_known(unique_labels(y))
            rows = self._label_binarizer.transform(y)
            rows = rows.toarray() if scipy.sparse.issparse(rows) else rows
        made: Array = rows.astype(dtype)
        return made

    def _quick_targets(self, y: Array) -> Array | None:
        """
        Return the targets of numbers or strings that are all in ``classes_``; None for others.

        LabelBinarizer takes 1 ms for this. A tiny net trains 10,000 epochs in that time.
        """
        known, indices = self.classes_, self._indices(y)
        if indices is None:
            return None
        columns = np.arange(len(known)) if len(known) > 2 else np.array([1])
        made: Array = indices[:, None] == columns
        return made

    def _indices(self, y: Array) -> Array | None:
        """Return the index of each sample's class, (n_samples,); None as `_quick_targets` does."""
        known = self.classes_
        if y.ndim > 1 or y.dtype.kind == "O" or y.dtype.kind != known.dtype.kind:
            return None
        indices: Array = np.minimum(np.searchsorted(known, y), len(known) - 1)
        return indices if np.array_equal(known[indices], y) else None

    def _with_class_weights(
        self, weights: Array | None, y: Array, incremental: bool
    ) -> Array | None:
        if self.class_weight is None:
            return weights
        if incremental and isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={quoted(self.class_weight)} needs all samples, but partial_fit sees "
                "only some: pass the weights that compute_class_weight computes from all samples"
            )
        labels = self._classes_of(y)
        _check_numbers(self.class_weight)
        if labels.ndim == 2:
            of_samples = compute_sample_weight(self.class_weight, labels)
        else:  # these samples need not include every class
            of_classes = compute_class_weight(self.class_weight, classes=self.classes_, y=labels)
            of_samples = of_classes[np.searchsorted(self.classes_, labels)]
        if (of_samples < 0).any():
            raise ValueError(f"class_weight must not be negative; got {quoted(self.class_weight)}")
        with np.errstate(over="ignore", invalid="ignore"):  # the sum is checked later
            of_samples = of_samples.astype(y.dtype)
            made: Array = of_samples if weights is None else weights * of_samples
        return made

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        """Return X, and y as a row of 0 and 1 for each sample, both in the dtype of X."""
        X, y = self._validate_samples(X, y, reset)
        X = self._in_dtype(X, reset)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        elif self.warm_start:
            self._check_classes(unique_labels(y))
        return X, self._targets(y, X.dtype)

    def _check_classes(self, classes: Array) -> None:
        if set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {listed(self.classes_)}, `y` has {listed(classes)}"
            )

    def _check_known(self, classes: Array) -> None:
        if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {listed(self.classes_)}. 'y' has {listed(classes)}."
            )

    def _out_activation(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _stratified(self) -> bool:
        return bool(self.n_outputs_ == 1)

    @available_if(has_partial_fit)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
    ) -> MLPClassifier:
        """
        Train for one epoch on these samples.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`. The samples need not include every class.
        classes : (n_classes,) array-like, default None
            All classes of all calls. The first call needs it.
        X_val, y_val : default None
            As in `fit`; ``early_stopping`` needs them. When patience runs out, ``stopped_`` becomes
            True, the best weights are restored, and later calls train no further.

        Returns
        -------
        MLPClassifier
            This one.

        Raises
        ------
        ValueError
            As in `fit`; if the first call lacks ``classes``, or a later call has different ones.
        """
        plain = sample_weight is None and X_val is None and y_val is None
        if not (plain and self._has_classes(classes) and brief.update(self, X, y)):
            self._fit_part(X, y, sample_weight, classes, X_val, y_val)
        return self

    def _fit_part(
        self, X: Any, y: Any, sample_weight: Any, classes: Any, X_val: Any, y_val: Any
    ) -> None:
        """Do one `partial_fit` with all checks."""
        with running.fit_of(self, "estimator"):
            self._publish(incremental=True)
            with unchanged_if_refused(self):
                with naming(classes=classes, y=y):
                    self._settle_classes(y, classes)
                train = self._prepare(X, y, sample_weight, X_val, y_val, incremental=True)
            self._train(train)

    def _has_classes(self, classes: Any) -> bool:
        """Return whether these plainly are the estimator's classes, or None."""
        if classes is None:
            return True
        if type(classes) is np.ndarray:
            classes = classes.tolist()
        known = self.__dict__.get("classes_")
        return type(classes) is list and known is not None and bool(classes == known.tolist())

    def _brief_targets(self, y: Any) -> Array | None:
        """Return the index of each sample's class for `brief.update`; None if it needs a check."""
        if type(y) is not np.ndarray or y.ndim != 1 or self._label_binarizer.sparse_input_:
            return None
        return self._indices(y)

    def _settle_classes(self, y: Any, classes: Any) -> None:
        """Set the classes in the first `partial_fit`; check that later calls have the same."""
        if classes is None:
            if not hasattr(self, "classes_"):
                raise ValueError("classes must be passed on the first call to partial_fit.")
            return
        classes = labels(classes)
        if not hasattr(self, "classes_"):
            self.classes_ = unique_labels(classes)
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        elif not np.array_equal(self.classes_, unique_labels(classes)):
            raise ValueError(
                f"`classes={listed(classes)}` is not the same as on last call to partial_fit, was: "
                f"{listed(self.classes_)}"
            )

    @before_running_fit
    def predict(self, X: Any) -> Array:
        """
        Predict the class of each sample.

        Parameters
        ----------
        X : (n_samples, n_features) array-like or sparse matrix

        Returns
        -------
        (n_samples,) array of classes, or for multilabel a (n_samples, n_classes) array of 0 and 1
        """
        return self._classes_of(self._outputs(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """
        Return the accuracy: the share of samples whose class, or whose labels all, are correct.

        Parameters
        ----------
        X : (n_samples, n_features) array-like or sparse matrix
        y : (n_samples,) or (n_samples, n_classes) array-like
        sample_weight : (n_samples,) array-like, default None

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If an array cannot be read. The message names the argument.
        """
        with naming(y=y, sample_weight=sample_weight):
            return float(super().score(X, y, sample_weight))

    @before_running_fit
    def predict_proba(self, X: Any) -> Array:
        """
        Predict the probability of each class.

        Parameters
        ----------
        X : (n_samples, n_features) array-like or sparse matrix

        Returns
        -------
        (n_samples, n_classes) array
        """
        outputs = self._outputs(X)
        if self.n_outputs_ > 1:
            return outputs
        made = np.empty((len(outputs), 2), outputs.dtype)
        np.subtract(1, outputs[:, 0], out=made[:, 0])
        made[:, 1] = outputs[:, 0]
        return made

    @before_running_fit
    def predict_log_proba(self, X: Any) -> Array:
        """
        Predict the logarithm of each probability; it is finite even if the probability rounds to 0.

        For such probabilities it is computed as log softmax(z), or for two classes as
        log sigmoid(z), where z is the output layer before its activation. scikit-learn returns
        -inf.

        Parameters
        ----------
        X : (n_samples, n_features) array-like or sparse matrix

        Returns
        -------
        (n_samples, n_classes) array
        """
        p = self.predict_proba(X)
        tiny = p < np.finfo(p.dtype).tiny
        made: Array = elementary.log(p).astype(p.dtype)
        if tiny.any():
            made[tiny] = self._log_proba(X)[tiny]
        return made

    def _log_proba(self, X: Any) -> Array:
        """Return log softmax(z) or log sigmoid(z), which is finite for tiny probabilities too."""
        logits = net.logits(self, self._checked(X))
        z = logits.astype(np.float64)
        if self.n_outputs_ == 1:
            z = np.concatenate([-z, z], axis=-1)
        if self.out_activation_ == "softmax":
            made: Array = z - _log_sum_exp(z, axis=-1)
        else:
            made = np.minimum(z, 0.0) - elementary.log(1.0 + elementary.exp(-np.abs(z)))
        if hasattr(self, "fleet_"):  # the mean of the members' probabilities
            made = _log_sum_exp(made, axis=0)[0] - elementary.log(len(made))
        return made.astype(logits.dtype)

    def _classes_of(self, outputs: Array) -> Array:
        outputs = outputs.ravel() if self.n_outputs_ == 1 else outputs
        # For one sample LabelBinarizer takes 20 times as long as these lines.
        kind, known = self._label_binarizer.y_type_, self._label_binarizer.classes_
        if kind == "multiclass":
            classes: Array = known[outputs.argmax(axis=1)]
        elif kind == "binary" and len(known) == 2:
            classes = known[(outputs > 0.5).astype(np.intp)]
        else:
            classes = self._label_binarizer.inverse_transform(outputs)
        return classes

    def _score_of(self, outputs: Array, y: Array, weights: Array | None) -> float:
        """Return the accuracy for y of 0 and 1; nan if an output is not finite."""
        if not np.isfinite(outputs).all():
            return np.nan
        if self.out_activation_ == "softmax":
            correct = outputs.argmax(axis=1) == y.argmax(axis=1)
        else:
            correct = ((outputs > 0.5) == (y > 0.5)).all(axis=1)
        return elementary.mean(correct, weights)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _log_sum_exp(x: Array, axis: int) -> Array:
    """Return log sum exp(x) along an axis, which stays with length 1."""
    top = x.max(axis=axis, keepdims=True)
    made: Array = top + elementary.log(elementary.exp(x - top).sum(axis=axis, keepdims=True))
    return made


def labels(y: Any) -> Any:
    """
    Convert labels of a nullable pandas dtype to NumPy's dtype of the same name.

    scikit-learn would convert Int64 and boolean to floats. Labels with missing values are returned
    as they are, and scikit-learn raises its own error.
    """
    dtype = getattr(getattr(y, "dtype", None), "numpy_dtype", None)
    if dtype is None or np.dtype(dtype).kind not in "biu" or y.isna().any():
        return y
    return y.to_numpy(dtype)


def _check_numbers(class_weight: Any) -> None:
    """Check that each class weight is a number; scikit-learn's error does not name the argument."""
    for of_classes in class_weight if isinstance(class_weight, list) else [class_weight]:
        for weight in of_classes.values() if isinstance(of_classes, Mapping) else ():
            try:
                float(weight)
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError(
                    f"class_weight must give each class a number; got {quoted(class_weight)}"
                ) from error


def listed(classes: Array) -> str:
    """Return classes for an error message, such as [0 1 2]: on one line, and shortened."""
    return printable(" ".join(str(classes).split()))
