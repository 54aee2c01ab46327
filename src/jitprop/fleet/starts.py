"""A function fitted from many starts: the samples are scaled, and the best net is returned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop import checks, elementary
from jitprop._types import Array
from jitprop.data import cast, validation
from jitprop.fleet.fleet import Fleet
from jitprop.fleet.settings import MOST_MEMBERS
from jitprop.hints import ARGUMENTS, hinting
from jitprop.net import optimizers
from jitprop.net.activations import Activation
from jitprop.net.optimizers import Optimizer
from jitprop.net.second_order import LevenbergMarquardt, SecondOrder, is_second_order
from jitprop.net.seeds import streams
from jitprop.trainer import Trainer
from jitprop.training.callbacks import EarlyStopping
from jitprop.training.history import frame

if TYPE_CHECKING:
    import pandas as pd

Numbers = npt.NDArray[np.float64]

HIDDEN_FACTOR = 2.0
"""Initial weights of hidden layers are those of "glorot_uniform" times this number."""

CONSTANT = 1e-14
"""A column counts as constant if its standard deviation is at most its largest number times this.
What is left is rounding, and putting such a scaling into a layer would lose all digits."""

OUTPUTS_AT_ONCE = 1 << 21
"""So many outputs of starts are computed at a time: 16 MB."""

WORDS = ARGUMENTS | {
    "hidden_layer_sizes": "hidden",
    "hidden_layers": "hidden",
    "layer_sizes": "hidden",
    "members": "starts",
    "n_members": "starts",
    "restarts": "starts",
}


@dataclass(frozen=True, eq=False)
class Starts:
    """
    The table of the starts of `fit_function`: arrays with one entry for each start.

    Attributes
    ----------
    seed : tuple of int
        The seed of each start.
    loss : (starts,) float64 array
        The training objective at the end: half the mean squared error of the standardised targets,
        summed over the targets, plus 1/2 ``weight_decay`` sum W**2.
    validation_loss : (starts,) float64 array
        The same error of the held-out samples, without the weight decay. It is nan without
        ``validation_fraction``.
    rmse : (starts,) or (starts, n_targets) float64 array
        The root mean squared error on the training samples, in the units of the targets. It has two
        dimensions if there are several targets.
    epochs : (starts,) int64 array
        How many steps were taken.
    ended : tuple of str
        Why each start ended by itself, as in `History.ended`.

    Examples
    --------
    >>> from jitprop import fit_function
    >>> starts = fit_function([0.0, 1.0, 2.0], [1.0, 3.0, 5.0], hidden=(), starts=2, seed=0).starts
    >>> bool((starts.rmse < 1e-6).all()), len(starts)
    (True, 2)
    """

    seed: tuple[int, ...]
    loss: Numbers
    validation_loss: Numbers
    rmse: Numbers
    epochs: npt.NDArray[np.int64]
    ended: tuple[str, ...]

    def __len__(self) -> int:
        """The number of starts."""
        return len(self.loss)

    @property
    def columns(self) -> dict[str, Any]:
        """
        All columns by name.

        The validation loss is left out if there is none. With several targets, "rmse" is "rmse_0",
        "rmse_1" and so on.
        """
        validated = np.isnan(self.validation_loss).all()
        errors = {"rmse": self.rmse}
        if self.rmse.ndim == 2:
            errors = {f"rmse_{k}": column for k, column in enumerate(self.rmse.T)}
        return {
            "seed": self.seed,
            "loss": self.loss,
            **({} if validated else {"validation_loss": self.validation_loss}),
            **errors,
            "epochs": self.epochs,
            "ended": self.ended,
        }

    def to_frame(self) -> pd.DataFrame:
        """
        Return a data frame with a row for each start.

        Returns
        -------
        pandas.DataFrame
            Its index is named "start" and counts from 0.

        Raises
        ------
        ImportError
            If pandas cannot be imported.
        """
        return frame(self.columns, "start")

    def __repr__(self) -> str:
        return f"Starts({len(self)} starts, loss {self.loss.min():.6g} to {self.loss.max():.6g})"


@dataclass(frozen=True, eq=False)
class FunctionFit:
    """
    What `fit_function` returns.

    Attributes
    ----------
    trainer : Trainer
        The net of the best start. It takes X and gives y in their own units. Its history is empty.
    starts : Starts
        The table of all starts.
    best : int
        The number of the best start.

    Examples
    --------
    >>> from jitprop import fit_function
    >>> fitted = fit_function([0.0, 1.0, 2.0], [1.0, 3.0, 5.0], hidden=(), starts=2, seed=0)
    >>> fitted.trainer.predict([[10.0]]).round(3).tolist()
    [[21.0]]
    """

    trainer: Trainer
    starts: Starts
    best: int

    def __repr__(self) -> str:
        return f"FunctionFit({self.trainer!r}, {self.starts!r}, best={self.best})"


class Scaling(NamedTuple):
    """
    Columns in their own units are ``shift + scale * z``, with standardised columns z.

    Attributes
    ----------
    shift, scale : (n_columns,) float64 arrays
    """

    shift: Numbers
    scale: Numbers

    @classmethod
    def of(cls, columns: Numbers, weights: Numbers | None) -> Scaling:
        """Return the mean and the standard deviation of each column; 1 for a constant."""
        made = [_mean_and_deviation(column, weights) for column in columns.T]
        shift, scale = np.array(made).T
        return cls(shift, scale)

    def standardised(self, columns: Numbers) -> Numbers:
        """Return columns of mean 0 and standard deviation 1."""
        # Half of each number: the difference of two large ones may be beyond float64.
        made: Numbers = (columns / 2 - self.shift / 2) / (self.scale / 2)
        return made


def _mean_and_deviation(x: Numbers, weights: Numbers | None) -> tuple[float, float]:
    if x.min() == x.max():
        return float(x[0]), 1.0
    largest = float(np.abs(x).max())  # the squares of the quotients neither overflow nor vanish
    scaled = x / largest
    mean = elementary.mean(scaled, weights)
    spread = math.sqrt(elementary.mean(np.square(scaled - mean), weights)) * largest
    constant = spread <= CONSTANT * largest or spread < float(np.finfo(float).tiny)
    return mean * largest, 1.0 if constant else spread


def with_own_units(
    weights: Sequence[Array], biases: Sequence[Array], inputs: Scaling, outputs: Scaling
) -> tuple[list[Array], list[Array]]:
    """
    Put both scalings into the first and the last layer.

    With z = (x - m) / s the first layer computes z @ W + b = x @ (W / s) + b - (m / s) @ W. The
    last one's outputs are multiplied by the scale of the targets, and their shift is added.

    Parameters
    ----------
    weights, biases : sequences of arrays
        Those of a net that takes standardised inputs and gives standardised outputs, which are the
        last layer's z, without an activation.
    inputs, outputs : Scaling

    Returns
    -------
    weights, biases : lists of new arrays
    """
    W, b = [array.copy() for array in weights], [array.copy() for array in biases]
    W[0] /= inputs.scale[:, None]
    b[0] -= (inputs.shift[:, None] * W[0]).sum(axis=0)
    W[-1] *= outputs.scale
    b[-1] *= outputs.scale
    b[-1] += outputs.shift
    return W, b


class _Samples(NamedTuple):
    """Samples with a weight above 0, in their own units."""

    X: Numbers
    y: Numbers
    weights: Numbers | None

    def take(self, rows: Any) -> _Samples:
        weights = None if self.weights is None else self.weights[rows]
        return _Samples(self.X[rows], self.y[rows], weights)


@hinting("fit_function", WORDS)
def fit_function(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    hidden: int | Sequence[int] = 5,
    *,
    starts: int = 64,
    activation: Activation | Sequence[Activation] = "tanh",
    epochs: int = 500,
    optimizer: str | Optimizer | None = None,
    weight_decay: float = 0.0,
    validation_fraction: float | None = None,
    sample_weight: npt.ArrayLike | None = None,
    seed: int | None = None,
    backend: str = "auto",
    n_threads: int | None = None,
) -> FunctionFit:
    """
    Fit a function from many starts, and return the best net.

    X and y are standardised: each column has mean 0 and standard deviation 1. A `Fleet` trains all
    starts at once. The best one is returned as a `Trainer` that takes X and gives y as they are:
    the scaling is part of its first and of its last layer. All is computed in float64.

    Parameters
    ----------
    X : (n_samples, n_inputs) or (n_samples,) array-like or data frame
        A single input may have one dimension here. The trainer's methods need two.
    y : (n_samples,) or (n_samples, n_targets) array-like or data frame
    hidden : int or sequence of int, default 5
        The number of units of the hidden layer, or of each one. () is a linear function.
    starts : int, default 64
        The number of starts.
    activation : str, object or sequence of them, default "tanh"
        That of all hidden layers, or of each one. Outputs have none.
    epochs : int, default 500
        The largest number of steps of a start. Most starts end before.
    optimizer : str or object, default None
        A second-order method. None is ``LevenbergMarquardt()``. With `BayesianRegularization` the
        best start is the one with the smallest training loss: its evidence is not compared.
    weight_decay : float, default 0.0
        Adds 1/2 ``weight_decay`` sum W**2 to the loss of the standardised net.
    validation_fraction : float or None, default None
        The share of samples to hold out, above 0 and below 1. Then each start ends when their loss
        has not fallen for 10 epochs, and goes back to its best epoch, as `EarlyStopping` does. The
        best start is the one with the smallest validation loss. With None all samples train, and
        the best start has the smallest training objective.
    sample_weight : (n_samples,) array-like, optional
        As in `Trainer.fit`. Means, standard deviations and errors are weighted by it, too. Samples
        with weight 0 are left out.
    seed : int or None, default None
        Start i has the seed ``seed + i``. None takes a seed from the operating system. The first
        starts are the same for any number of starts.
    backend, n_threads
        As for `Fleet`. Results do not depend on the number of threads, bit for bit.

    Returns
    -------
    FunctionFit
        The best net, ``.trainer``; the table of starts, ``.starts``; and the number of the best
        one, ``.best``.

    Raises
    ------
    TypeError, ValueError
        For a bad argument. The message names it. Also if no start reaches a finite loss.
    KeyboardInterrupt
        On Ctrl-C. Nothing is returned.

    Warns
    -----
    RuntimeWarning
        As from `Fleet.fit`, if some starts diverged.

    Notes
    -----
    Initial weights are uniform in [-b, b], with b = sqrt(6 / (n_in + n_out)) for the output layer
    (Glorot and Bengio, AISTATS 2010) and twice as much for hidden layers. Biases are 0. On the
    sets of NNbenchmark the factor 2 finds the best minimum from more starts than 1 does.

    The trainer can be trained on, but its `Trainer.fit` sees X and y in their own units. So its
    ``weight_decay`` then acts on the weights of those units, which is another objective.

    Putting the scaling into the layers rounds. Where the mean of a column is c times its standard
    deviation, outputs change by about 1e-16 c, relative to their range. A column with c above 1e14
    counts as constant.

    Examples
    --------
    >>> import numpy as np
    >>> from jitprop import fit_function
    >>> x = np.linspace(0, 1000, 50)
    >>> fitted = fit_function(x, 1e6 * np.sin(x / 200), hidden=4, starts=8, seed=0)
    >>> len(fitted.starts), bool(fitted.starts.rmse[fitted.best] < 1e4)
    (8, True)
    >>> fitted.trainer.predict([[314.159265]]).round(-4).tolist()
    [[1000000.0]]
    """
    starts = checks.integer("starts", starts, low=1)
    if starts > MOST_MEMBERS:
        raise ValueError(f"starts must be at most {MOST_MEMBERS:,}; got {starts:,}")
    seed = checks.optional_integer("seed", seed, low=0)
    weight_decay = checks.number("weight_decay", weight_decay, low=0.0)
    names = cast.names_of(X)
    given = _samples(X, y, sample_weight)
    method = _method(optimizer)
    sizes = [given.X.shape[1], *_hidden(hidden), given.y.shape[1]]
    _check_size(sizes, method)
    shared: dict[str, Any] = {
        "activation": activation,
        "output_activation": "identity",
        "optimizer": method,
        "weight_decay": weight_decay,
        "dtype": "float64",
        "backend": backend,
        "n_threads": n_threads,
    }
    fleet = Fleet(sizes, members=starts, seed=seed, **shared)
    for weights in fleet.weights[:-1]:
        weights *= HIDDEN_FACTOR
    train, held_out = given, None
    if validation_fraction is not None:
        split = int(streams(fleet.seeds[0]).split.generate_state(1)[0])
        rows, others = validation.hold_out(len(given.X), validation_fraction, split)
        train, held_out = given.take(rows), given.take(others)
    scalings = Scaling.of(train.X, train.weights), Scaling.of(train.y, train.weights)
    table = _trained(fleet, epochs, scalings, train, held_out)
    losses = table.loss if held_out is None else table.validation_loss
    best = int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))
    if not np.isfinite(losses[best]):
        raise ValueError(
            f"X and y must be numbers that a net can fit: none of the {starts} starts reached a "
            "finite loss. Try activation='tanh', or look for outliers"
        )
    init = with_own_units(
        [array[best] for array in fleet.weights], [array[best] for array in fleet.biases], *scalings
    )
    trainer = Trainer(sizes, seed=table.seed[best], init=init, **shared)
    trainer._model.names = names
    return FunctionFit(trainer, table, best)


def _samples(X: Any, y: Any, sample_weight: Any) -> _Samples:
    """Check and cast samples, and leave out those with weight 0."""
    inputs, targets = (_columns(name, data) for name, data in (("X", X), ("y", y)))
    if len(inputs) != len(targets):
        raise ValueError(
            f"y must have one row for each of the {len(inputs)} rows of X; got {len(targets)} rows"
        )
    weights = cast.weights(sample_weight, len(inputs), np.dtype(np.float64))
    made = _Samples(inputs, targets, weights)
    return made if weights is None else made.take(weights > 0)


def _columns(name: str, data: Any) -> Numbers:
    """Return finite numbers as (n_samples, n_columns), with at least one of each."""
    array = cast.real(name, data)
    if array.ndim not in (1, 2) or array.size == 0:
        raise ValueError(
            f"{name} must have shape (n_samples, n_columns) or (n_samples,), with at least one "
            f"sample and one column; got shape {array.shape}"
        )
    return cast.finite(name, array.reshape(len(array), -1), np.dtype(np.float64))


def _hidden(hidden: Any) -> list[int]:
    if not checks.is_list(hidden):
        return [checks.integer("hidden", hidden, low=1)]
    return [checks.integer(f"hidden[{i}]", n, low=1) for i, n in enumerate(hidden)]


def _method(optimizer: Any) -> SecondOrder:
    method = LevenbergMarquardt() if optimizer is None else optimizers.resolve(optimizer)
    if not is_second_order(method):
        raise ValueError(
            "optimizer must be a second-order method, as 'lm' is; the others need a learning rate "
            f"and many more epochs: got {checks.shown(optimizer)}"
        )
    return method


def _check_size(sizes: list[int], method: SecondOrder) -> None:
    """Refuse a net that is too large for the method, before memory is asked for."""
    n, most = sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes)), method.most_parameters
    if most is not None and n > most:
        raise ValueError(
            f"hidden must make a net of at most {most:,} parameters with the "
            f"optimizer {type(method).__name__}; layers of {sizes} units have {n:,}"
        )


def _trained(
    fleet: Fleet,
    epochs: Any,
    scalings: tuple[Scaling, Scaling],
    train: _Samples,
    held_out: _Samples | None,
) -> Starts:
    """Train all starts, and return their table."""

    def scaled(part: _Samples) -> _Samples:
        inputs, outputs = scalings
        return _Samples(inputs.standardised(part.X), outputs.standardised(part.y), part.weights)

    X, y, weights = scaled(train)
    other = None if held_out is None else scaled(held_out)
    validation_data: Any = other
    if other is not None and other.weights is None:
        validation_data = other[:2]
    history = fleet.fit(
        X,
        y,
        epochs,
        sample_weight=weights,
        validation_data=validation_data,
        callbacks=() if other is None else EarlyStopping(),
    )
    loss = fleet.evaluate(X, y, sample_weight=weights)
    penalty = sum(np.square(W).sum(axis=(1, 2)) for W in fleet.weights)
    loss = loss + fleet.weight_decay / 2 * penalty
    validated = np.full(len(fleet), np.nan)
    if other is not None:
        validated = fleet.evaluate(other.X, other.y, sample_weight=other.weights)
    errors = _errors(fleet, X, y, weights) * scalings[1].scale
    return Starts(
        tuple(fleet.seeds),
        loss,
        validated,
        errors[:, 0] if errors.shape[1] == 1 else errors,
        history.epochs,
        history.ended,
    )


def _errors(fleet: Fleet, X: Numbers, y: Numbers, weights: Numbers | None) -> Numbers:
    """Return each member's root mean squared error of each output, (K, n_outputs)."""
    step = max(1, OUTPUTS_AT_ONCE // y.size)
    made = []
    for first in range(0, len(fleet), step):
        squares = np.square(fleet[first : first + step].predict(X) - y)
        if weights is None:
            made.append(squares.mean(axis=1))
        else:
            made.append((weights[:, None] * squares).sum(axis=1) / weights.sum())
    errors: Numbers = np.sqrt(np.concatenate(made))
    return errors
