"""The estimator for regression."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from jitprop._types import Array
from jitprop.data.cast import naming
from jitprop.hints import ESTIMATORS, hinting
from jitprop.net.losses import Loss, Poisson
from jitprop.sklearn import brief, parameters
from jitprop.sklearn.base import (
    BaseMLP,
    before_running_fit,
    has_partial_fit,
    targets_in,
    unchanged_if_refused,
)
from jitprop.training import running


class MLPRegressor(RegressorMixin, BaseMLP):
    """
    A multilayer perceptron for regression, in place of scikit-learn's ``MLPRegressor``.

    Parameters
    ----------
    loss : str or Loss, default "squared_error"
        The loss of an output a and its target y. "squared_error" is 1/2 (a - y)**2. "poisson" is
        half the Poisson deviance, y log(y / a) - y + a; a is then exp(z), where z is the last layer
        before its activation, and y must be at least 0. Others are "absolute_error", "huber" and
        "quantile". `jitprop.Huber`, `jitprop.Quantile` and `jitprop.CustomLoss` are losses with
        settings.
    hidden_layer_sizes : int or sequence of int, default (100,)
        The number of units of each hidden layer; () for no hidden layer.
    activation : str, object or sequence of them, default "relu"
        The activation of all hidden layers, or one for each. scikit-learn's names are "identity",
        "logistic", "tanh" and "relu"; those of `jitprop.Trainer` work too, and its
        objects, such as `LeakyReLU`.
    solver : {"lbfgs", "sgd", "adam", "lm"}, default "adam"
        "lbfgs" is scipy's L-BFGS-B on the loss of all samples, in float64. "lm" is
        `jitprop.LevenbergMarquardt`, in float64 too, for small nets: up to 20,000 parameters,
        and the losses "squared_error", "poisson" and "huber". "sgd" and "adam" train in batches.
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
        The score that early stopping watches. None is R**2, "loss" the negative validation loss;
        otherwise a scorer's name or a function (estimator, X, y). "lm" always watches the loss.
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

    Attributes
    ----------
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
    scikit-learn, up to the order of sums. As in scikit-learn, with several outputs and the squared
    error ``loss_`` is the mean over outputs, while training follows the gradient of their sum plus
    the whole penalty.

    Examples
    --------
    >>> from jitprop.sklearn import MLPRegressor
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 4.0, 9.0]
    >>> model = MLPRegressor(
    ...     hidden_layer_sizes=8, solver="lbfgs", alpha=0.0, random_state=0
    ... ).fit(X, y)
    >>> model.predict([[2.0]]).round(1)
    array([4.])
    """

    @hinting("MLPRegressor", ESTIMATORS)
    def __init__(
        self,
        loss: str | Loss = "squared_error",
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
    ) -> None:
        self.loss = loss
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

    def _validate_samples(self, X: Any, y: Any, reset: bool) -> tuple[Any, Array]:
        """Return X and y, checked."""
        X, y = super()._validate_samples(X, y, reset)
        if y.dtype.kind not in "biuf":
            raise ValueError(f"y must hold numbers; got {y.dtype}")
        if self._out_activation() == "exp" and y.min() < 0:
            raise ValueError(f"loss='poisson' needs y >= 0; got values from {y.min():g}")
        return X, y

    def _targets(self, y: Array, dtype: np.dtype[Any]) -> Array:
        """Return y as (n_samples, n_outputs) in the dtype."""
        return targets_in(y, dtype)

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        """Return X, and y as (n_samples, n_outputs), both in the dtype of X."""
        del incremental
        X, y = self._validate_samples(X, y, reset)
        X = self._in_dtype(X, reset)
        return X, self._targets(y, X.dtype)

    def _classes_of(self, y: Array) -> Array:
        return y.ravel() if y.shape[1] == 1 else y

    def _out_activation(self) -> str:
        return "exp" if isinstance(parameters.loss(self), Poisson) else "identity"

    def _stratified(self) -> bool:
        return False

    @available_if(has_partial_fit)
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None
    ) -> MLPRegressor:
        """
        Train for one epoch on these samples.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        X_val, y_val : default None
            As in `fit`; ``early_stopping`` needs them. When patience runs out, ``stopped_`` becomes
            True, the best weights are restored, and later calls train no further.

        Returns
        -------
        MLPRegressor
            This one.

        Raises
        ------
        ValueError
            As in `fit`.
        """
        plain = sample_weight is None and X_val is None and y_val is None
        if not (plain and brief.update(self, X, y)):
            self._fit_part(X, y, sample_weight, X_val, y_val)
        return self

    def _fit_part(self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any) -> None:
        """Do one `partial_fit` with all checks."""
        with running.fit_of(self, "estimator"):
            self._publish(incremental=True)
            with unchanged_if_refused(self):
                train = self._prepare(X, y, sample_weight, X_val, y_val, incremental=True)
            self._train(train)

    def _brief_targets(self, y: Any) -> Array | None:
        """Return the targets for `brief.update`; None if they need a check or a cast."""
        right = type(y) is np.ndarray and (y.ndim == 1 or (y.ndim == 2 and y.shape[1] > 1))
        return y if right else None

    @before_running_fit
    def predict(self, X: Any, return_std: bool = False) -> Any:
        """
        Predict the targets.

        Parameters
        ----------
        X : (n_samples, n_features) array-like or sparse matrix
        return_std : bool, default False
            Also return the standard deviation of the members' outputs.

        Returns
        -------
        (n_samples,) or (n_samples, n_outputs) array
            The outputs; with several members, their mean. With ``return_std`` a tuple of the mean
            and the standard deviation.

        Raises
        ------
        ValueError
            For ``return_std`` with one member.
        """
        if not return_std:
            return self._classes_of(self._outputs(X))
        check_is_fitted(self)
        if not hasattr(self, "fleet_"):
            raise ValueError("return_std=True needs n_members of at least 2")
        outputs = self.fleet_.predict(self._checked(X))
        return self._classes_of(outputs.mean(axis=0)), self._classes_of(outputs.std(axis=0))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """
        Return R**2 of the predictions; with several outputs, its mean over the outputs.

        Parameters
        ----------
        X : (n_samples, n_features) array-like or sparse matrix
        y : (n_samples,) or (n_samples, n_outputs) array-like
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # scikit-learn's own lacks it. Libraries that look at it then train a net for each output.
        tags.target_tags.multi_output = True
        return tags

    def _score_of(self, outputs: Array, y: Array, weights: Array | None) -> float:
        """Return R**2; nan if an output is not finite."""
        if not np.isfinite(outputs).all():
            return np.nan
        with np.errstate(over="ignore"):
            return float(r2_score(y, outputs, sample_weight=weights))
