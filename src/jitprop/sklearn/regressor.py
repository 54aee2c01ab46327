"""The regressor."""

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
from jitprop.sklearn import parameters
from jitprop.sklearn.base import BaseMLP, has_partial_fit, targets_in, unchanged_if_refused
from jitprop.training import running


class MLPRegressor(RegressorMixin, BaseMLP):
    """
    A multilayer perceptron for numbers: ``sklearn.neural_network.MLPRegressor``, faster.

    Parameters
    ----------
    loss : str or Loss, default "squared_error"
        "squared_error" is 1/2 (a - y)**2, "poisson" half the Poisson deviance
        y log(y / a) - y + a, whose outputs a are the exponential of the last layer's sums and
        whose targets are at least 0; or "absolute_error",
        "huber", "quantile", or an object with settings: `jitprop.Huber`, `jitprop.Quantile`,
        `jitprop.CustomLoss`.
    hidden_layer_sizes : int or sequence of int, default (100,)
        Units of each hidden layer; none with ().
    activation : str, CustomActivation or sequence of them, default "relu"
        Of all hidden layers, or one for each: scikit-learn's "identity", "logistic", "tanh" and
        "relu", and all others of `jitprop.Trainer`.
    solver : {"lbfgs", "sgd", "adam"}, default "adam"
        "lbfgs" is scipy's L-BFGS-B on the loss of all samples, in float64; the others train by
        batches.
    alpha : float, default 0.0001
        The penalty alpha / 2 sum W**2 (weights, not biases) is added to the loss summed over the s
        samples of a batch, and so comes divided by s to their mean.
    batch_size : int or "auto", default "auto"
        "auto" is 200, or all samples if there are fewer. Not for "lbfgs".
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        For "sgd". "invscaling" is learning_rate_init / (t + 1)**power_t after t samples;
        "adaptive" divides the rate by 5 where training would otherwise stop, until it is below
        1e-6.
    learning_rate_init : float, default 0.001
    power_t : float, default 0.5
    max_iter : int, default 200
        Epochs at the most; of "lbfgs", iterations.
    shuffle : bool, default True
        Present the samples in another order each epoch.
    random_state : int, numpy.random.RandomState or None, default None
        Of the initial weights, the samples held out, and the shuffles.
    tol : float, default 1e-4
        An improvement of the loss, or with early stopping of the score, must be as large to count.
        Of "lbfgs", the gradient's largest component at the end.
    verbose : bool or int, default False
        Print each epoch's loss; of several members their mean.
    warm_start : bool, default False
        Let ``fit`` go on from the weights that are there.
    momentum : float, default 0.9
        For "sgd"; from 0 to 1.
    nesterovs_momentum : bool, default True
    early_stopping : bool, default False
        Hold some samples out, stop when their score does not improve, and keep the best weights.
    validation_fraction : float, default 0.1
        The share of the samples to hold out.
    beta_1, beta_2 : float, default 0.9 and 0.999
    epsilon : float, default 1e-8
        Of "adam": see `jitprop.Adam`.
    n_iter_no_change : int or inf, default 10
        Stop after more than so many epochs in a row without an improvement.
    max_fun : int, default 15000
        For "lbfgs": how often it may compute the loss.
    n_threads : int or None, default None
        As of `jitprop.Trainer`. The model does not depend on it, to the bit; workers of joblib keep
        to their share.
    dropout : float or sequence of float, default 0.0
        The share of a hidden layer's units left out at each update, of all layers or of each.
    keep_optimizer : bool, default False
        With ``warm_start``, ``fit`` goes on as one longer fit would: with momentum, Adam's moments,
        the learning rate, the shuffles, the samples held out and the best weights. Not for
        "lbfgs".
    scoring : "loss", str, callable or None, default None
        What early stopping goes by: None is R**2, "loss" the loss of the samples held
        out, else a scorer's name or a function (estimator, X, y).
    callbacks : function or list of functions, default None
        Called with (estimator, epoch, logs) after each epoch, counted from 0 over all calls;
        ``logs`` has "loss", "learning_rate", and with samples held out "validation_loss" and
        "validation_score". What they return is ignored; ``estimator.stop()`` ends the fit.
    n_members : int, default 1
        With more, as many nets are trained at once, as a `jitprop.Fleet`, each from weights and
        shuffles of its own, until it is done; predictions are their mean. Early stopping is then by
        the loss of the samples held out.
    bootstrap : bool, default False
        Let each of several members train on as many samples, drawn with replacement.

    Attributes
    ----------
    coefs_, intercepts_ : lists of arrays
        (n_in, n_out) and (n_out,) of each layer. Predictions are made from them.
    n_features_in_ : int
    feature_names_in_ : (n_features,) array
        If X had names.
    n_layers_, n_outputs_ : int
    out_activation_ : str
    loss_ : float
        Of the last epoch, with the penalty; of several members without.
    loss_curve_ : list of float
        Of all epochs.
    best_loss_ : float or None
        The least of them; None with early stopping.
    validation_scores_ : list of float, or None
    best_validation_score_ : float or None
        With early stopping.
    stopped_ : bool
        Whether training ended before ``max_iter`` since nothing got better.
    validation_loss_curve_ : list of float, or None
        The loss of the samples held out or given, after each epoch, without the penalty.
    fleet_ : Fleet
        Of several members. Then ``coefs_`` and ``intercepts_`` have the members as their first
        dimension, and ``loss_curve_`` is the mean of those that are still trained.
    n_iter_ : int
        Epochs of the last ``fit``.
    t_ : int
        Samples seen.

    Notes
    -----
    From the same ``random_state`` the weights, shuffles and updates are scikit-learn's, up to the
    order of sums. So is what it does with several outputs and the squared error: ``loss_`` has
    their mean, while training follows the gradient of their sum, and of the whole penalty.

    Examples
    --------
    >>> from jitprop.sklearn import MLPRegressor
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 4.0, 9.0]
    >>> model = MLPRegressor(8, solver="lbfgs", alpha=0.0, random_state=0).fit(X, y)
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
        """X and y, checked."""
        X, y = super()._validate_samples(X, y, reset)
        if y.dtype.kind not in "biuf":
            raise ValueError(f"y must be numbers; got {y.dtype}")
        if self._out_activation() == "exp" and y.min() < 0:
            raise ValueError(f"loss='poisson' needs y >= 0; got values from {y.min():g}")
        return X, y

    def _targets(self, y: Array, dtype: np.dtype[Any]) -> Array:
        """(n_samples, n_outputs)."""
        return targets_in(y, dtype)

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        """X, and y as (n_samples, n_outputs), both of X's dtype."""
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
    @running.one_at_a_time("estimator")
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
            As in `fit`; ``early_stopping`` needs them. When the patience is exhausted, ``stopped_``
            is True, the best weights are put back, and later calls train no more.

        Returns
        -------
        MLPRegressor
            This one.

        Raises
        ------
        ValueError
            As `fit` does.
        """
        self._publish()
        with unchanged_if_refused(self):
            train = self._prepare(X, y, sample_weight, X_val, y_val, incremental=True)
        self._train(train)
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """
        Outputs.

        Parameters
        ----------
        X : (n_samples, n_features) array-like or sparse matrix
        return_std : bool, default False
            Return the standard deviation of the members' outputs too.

        Returns
        -------
        (n_samples,) or (n_samples, n_outputs) array
            With several members, their mean; with ``return_std`` a tuple of it and of their
            standard deviation.

        Raises
        ------
        ValueError
            For ``return_std`` of one member.
        """
        check_is_fitted(self)
        if not return_std:
            return self._classes_of(self._outputs(X))
        if not hasattr(self, "fleet_"):
            raise ValueError("return_std=True needs n_members of at least 2")
        outputs = self.fleet_.predict(self._checked(X))
        return self._classes_of(outputs.mean(axis=0)), self._classes_of(outputs.std(axis=0))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """
        R**2 of the predictions, of several outputs their mean.

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
            For arrays that cannot be read, naming the argument.
        """
        with naming(y=y, sample_weight=sample_weight):
            return float(super().score(X, y, sample_weight))

    def _score_of(self, outputs: Array, y: Array, weights: Array | None) -> float:
        """R**2; nan if an output is not finite."""
        if not np.isfinite(outputs).all():
            return np.nan
        with np.errstate(over="ignore"):
            return float(r2_score(y, outputs, sample_weight=weights))
