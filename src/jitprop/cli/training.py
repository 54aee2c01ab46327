"""Prepare a table for training, train the net and score it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop import (
    BayesianRegularization,
    DivergenceError,
    EarlyStopping,
    LevenbergMarquardt,
    Trainer,
)
from jitprop._types import Array
from jitprop.cli import columns, scores, targets, values
from jitprop.cli.column_types import InferredTable
from jitprop.cli.columns import Column
from jitprop.cli.frames import TableColumn
from jitprop.cli.numerals import PLAIN
from jitprop.cli.refused import RefusedError
from jitprop.cli.scores import BASELINE, TRAINING, VALIDATION, Scores
from jitprop.cli.tables import Say
from jitprop.cli.targets import Classes, Quantity, Target
from jitprop.net import optimizers

if TYPE_CHECKING:
    import pandas as pd

ADAM_RATE = {"adam": 0.003, "adamw": 0.003}
"""Learning rates for tables of hundreds of rows. Other optimizers use the default of `Trainer`."""

FULL_BATCH = {cls.name for cls in optimizers.KNOWN if cls.full_batch}
"""Optimizers that need all rows in one batch."""


DEFAULTS: dict[str, Any] = {"hidden": (64, 32), "activation": "relu", "optimizer": "adam"}
"""What the user need not give."""

EPOCHS = 300
"""The most epochs of a small net."""

FAST: dict[str, Any] = {
    **DEFAULTS,
    "learning_rate": None,
    "weight_decay": None,
    "batch_size": None,
    "patience": 30,
    "dtype": "float32",
}
"""The options of the small net, and their defaults."""

FOR_LM: dict[str, Any] = {"hidden": (10,), "activation": "tanh", "optimizer": "lm"}
"""The same for Levenberg-Marquardt, which is for small nets with smooth activations."""

LIKE_LM = {cls.name for cls in (LevenbergMarquardt, BayesianRegularization)}
"""Optimizers of such nets."""

LM_WIDTHS = (5, 10)
LM_DECAYS = (1.0, 0.01)
"""The weight decays that are tried, times the number of training rows. The first one suits noisy
targets, the second one exact ones."""

LM_WORK = 3e10
"""The most multiply-adds of all steps of Levenberg-Marquardt that are tried: up to 15 s."""

LM_VALIDATION = 10
"""With fewer validation rows, it is chance which net is the better one."""


@dataclass(frozen=True)
class Options:
    """
    The options of `jitprop train` for the net and its training, by their names.

    ``fast`` says whether a small net is trained; all but ``epochs``, ``validation`` and ``seed``
    are its options. ``tries_lm`` says whether the user left open which small net is trained, and
    how.
    """

    hidden: tuple[int, ...]
    epochs: int | None
    learning_rate: float | None
    batch_size: int | None
    weight_decay: float | None
    optimizer: str
    activation: str
    validation: float
    patience: int
    seed: int
    dtype: str
    fast: bool = True
    tries_lm: bool = False

    @classmethod
    def of(cls, **given: Any) -> Options:
        """
        Return the options, with defaults for those that are None.

        Any option of the small net means a small net, as ``fast`` does.
        """
        given["fast"] = given["fast"] or any(given[name] is not None for name in FAST)
        net = [*DEFAULTS, "learning_rate", "batch_size"]
        tries_lm = all(given[name] is None for name in net)
        defaults = FAST | (FOR_LM if given["optimizer"] in LIKE_LM else DEFAULTS)
        if given["fast"]:
            defaults["epochs"] = EPOCHS
        for name, default in defaults.items():
            if given[name] is None:
                given[name] = default
        return cls(**given, tries_lm=tries_lm)


class Problem(NamedTuple):
    """
    A table prepared for training.

    Attributes
    ----------
    frame : DataFrame
        The rows with a target.
    columns : tuple of Column or TableColumn
        The columns that the net learns from.
    target : Target
    X : (n_rows, n_inputs) array
        The net's inputs.
    y : (n_rows,) float64 array
        The targets, from `Target.encode`.
    training, validation : arrays of int
        The rows for each.
    """

    frame: pd.DataFrame
    columns: tuple[Column | TableColumn, ...]
    target: Target
    X: Array
    y: npt.NDArray[np.float64]
    training: npt.NDArray[np.intp]
    validation: npt.NDArray[np.intp]

    @property
    def blocks(self) -> dict[str, slice]:
        """The inputs of each column, by its name."""
        ends = np.cumsum([column.n_inputs for column in self.columns]).tolist()
        return {
            column.name: slice(end - column.n_inputs, end)
            for column, end in zip(self.columns, ends, strict=True)
        }


def prepare(
    table: InferredTable, name: str, task: str | None, options: Options, say: Say
) -> tuple[Problem, tuple[Column, ...]]:
    """
    Split the rows of a table, and encode the inputs and targets of a small net.

    Raises
    ------
    RefusedError
        If nothing can be learned from the table.
    """
    frame, spelled = with_target(table, name, say, 2)
    classes = targets.classes(frame[name], task, spelled, table.kind)
    if classes is not None:
        note_equal_numbers(classes, say)
    groups = np.zeros(len(frame)) if classes is None else classes.encode(spelled)
    training, validation = split(groups, options.validation, options.seed)
    target = classes or Quantity.learn(frame[name], training)
    learned = columns.learn(frame.drop(columns=name), training, say, table.ids, table.reading.keep)
    # No notes on values that only validation rows have: the split is random, and the user cannot
    # change it.
    X = columns.transform(learned, frame, lambda sentence: None).astype(options.dtype)
    y = target.encode(frame[name] if classes is None else spelled)
    return Problem(frame, learned, target, X, y, training, validation), learned


def with_target(
    table: InferredTable, name: str, say: Say, fewest: int
) -> tuple[pd.DataFrame, pd.Series]:
    """
    Return the rows of a table that have a target, and the target as the file spells it.

    Raises
    ------
    RefusedError
        If there are too few.
    """
    frame, spelled = table.frame, table.spelled
    missing = values.missing(frame[name])
    if missing.any():
        say(f"rows without a value of the target {name!r} are left out: {missing.sum()}")
        frame, spelled = frame[~missing], spelled[~missing]
    if len(frame) < fewest:
        few = f", of which at least {fewest} are needed" if fewest > 2 else ""
        n = "1 row with a target is" if len(frame) == 1 else f"{len(frame)} rows with a target are"
        raise RefusedError(f"{n} too few to learn from{few}")
    return frame, spelled


def note_equal_numbers(classes: Classes, say: Say) -> None:
    """Note labels that are the same number, such as 1.1 and 1.10; they stay two classes."""
    if classes.kind != "text":
        return
    by_number: dict[float, str] = {}
    for label in classes.labels:
        if not re.match(PLAIN.pattern, label):
            continue
        first = by_number.setdefault(float(label), label)
        if first != label:
            say(
                f"the classes {first!r} and {label!r} of {classes.name!r} are the same number, "
                "spelled differently: they stay two classes"
            )


def split(
    groups: npt.NDArray[np.float64], share: float, seed: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """
    Split rows at random into two parts, stratified by group.

    Both parts have about the same shares of the groups, and the first part has every group.

    Parameters
    ----------
    groups : (n_rows,) array
        The group of each row.
    share : float
        The share of the second part. If above 0, that part has at least one row.
    seed : int

    Returns
    -------
    first, second : arrays of int
        The indices of the rows, sorted.

    Raises
    ------
    RefusedError
        If there are too few rows.
    """
    n = len(groups)
    shuffled = np.random.default_rng(seed).permutation(n)
    # The rank of a row within its group, from 0 to 1. Rows of the highest ranks are the second
    # part, so it takes the same share of each group.
    rank = np.empty(n)
    for group in np.unique(groups):
        members = shuffled[groups[shuffled] == group]
        rank[members] = np.arange(len(members)) / len(members)
    n_second = max(1, round(share * n)) if share > 0 else 0
    if n - n_second < max(2, (rank == 0).sum()):
        raise RefusedError(
            f"{n} rows are too few to hold {n_second} of them out for validation: use more rows, "
            "or --validation 0"
        )
    order = shuffled[np.argsort(rank[shuffled], kind="stable")]
    return np.sort(order[: n - n_second]), np.sort(order[n - n_second :])


def trainer_for(problem: Problem, options: Options) -> Trainer:
    """
    Return the untrained net.

    The default weight decay is 1 / n for n training rows. It is a prior of variance 1 for each
    weight: n times the loss is then -log of the posterior, up to a constant. Compared with no
    weight decay and He's initial weights, this weight decay with Glorot's initial weights changed
    the scores of held-out rows:

    - iris: log loss from 0.35 to 0.09
    - scikit-learn's diabetes data: R2 from 0.34 to 0.41

    Raises
    ------
    RefusedError
        If `Trainer` refuses a setting.
    """
    n = len(problem.training)
    batch_size, rate, decay = options.batch_size, options.learning_rate, options.weight_decay
    if decay is None:  # Bayesian regularization finds its own
        decay = 0.0 if options.optimizer == BayesianRegularization.name else 1 / n
    if batch_size is None and options.optimizer not in FULL_BATCH:
        # The power of 2 from 16 to 256 whose logarithm is nearest to that of n / 32.
        batch_size = next((k for k in (16, 32, 64, 128) if n * n < 2048 * k * k), 256)
    try:
        return Trainer(
            [problem.X.shape[1], *options.hidden, problem.target.n_outputs],
            activation=options.activation,
            output_activation=problem.target.output_activation,
            loss=problem.target.loss,
            optimizer=options.optimizer,
            learning_rate=ADAM_RATE.get(options.optimizer) if rate is None else rate,
            weight_decay=decay,
            batch_size=batch_size,
            dtype=options.dtype,
            seed=options.seed,
        )
    except (TypeError, ValueError) as error:
        raise RefusedError(str(error)) from error


def fit(trainer: Trainer, problem: Problem, options: Options, progress: bool) -> None:
    """
    Train the net. With validation rows, keep the epoch of the lowest validation loss.

    Raises
    ------
    RefusedError
        If training diverges, or `Trainer.fit` refuses a setting.
    KeyboardInterrupt
        On Ctrl-C. The trainer keeps the epochs that were completed.
    """
    X, y, rows, held_out = problem.X, problem.y, problem.training, problem.validation
    try:
        trainer.fit(
            X[rows],
            y[rows],
            options.epochs or EPOCHS,
            validation_data=(X[held_out], y[held_out]) if len(held_out) else None,
            callbacks=[EarlyStopping(patience=options.patience)] if len(held_out) else [],
            progress=progress,
        )
    except DivergenceError as error:
        decay = ", or a smaller --weight-decay" if options.weight_decay else ""
        raise RefusedError(
            f"training diverged in epoch {error.epoch}: use a smaller --learning-rate than "
            f"{trainer.learning_rate:g}{decay}"
        ) from error
    except (TypeError, ValueError) as error:
        raise RefusedError(str(error)) from error


class Compared(NamedTuple):
    """
    Two nets, and their lowest validation losses.

    Attributes
    ----------
    trainer : Trainer
        The better one of both.
    small : Trainer
        The best net of Levenberg-Marquardt.
    loss_of_lm, loss_of_adam : float
    """

    trainer: Trainer
    small: Trainer
    loss_of_lm: float
    loss_of_adam: float


def compare_with_lm(trainer: Trainer, problem: Problem, options: Options) -> Compared | None:
    """
    Train small nets by Levenberg-Marquardt, too, and compare them on the validation rows.

    This is done for the regression of numbers if the user left the net open, if there are enough
    validation rows, and if the work is bounded by `LM_WORK`. Otherwise None is returned.

    On 14 of 15 problems of 80 to 1,000 rows (scikit-learn's diabetes data, and functions with and
    without noise), the net that is chosen so had a lower error on other rows than Adam's net. On
    one of 80 rows its error was higher by a fifth.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C. The given trainer does not change.
    """
    if not (
        options.tries_lm
        and isinstance(problem.target, Quantity)
        and len(problem.validation) >= LM_VALIDATION
        and all(column.kind == "number" for column in problem.columns)
    ):
        return None
    n = len(problem.training)
    decays = LM_DECAYS if options.weight_decay is None else (n * options.weight_decay,)
    candidates = [
        replace(options, **FOR_LM | {"hidden": (width,)}, weight_decay=decay / n, seed=seed)
        for width in LM_WIDTHS
        for decay in decays
        for seed in (options.seed, options.seed + 1)
    ]
    small = [trainer_for(problem, candidate) for candidate in candidates]
    work = sum(LevenbergMarquardt().work(n, 1, net.parameters.size) for net in small)
    if (options.epochs or EPOCHS) * work > LM_WORK:
        return None
    losses = [_validation_loss(net, problem, options) for net in small]
    best = int(np.argmin(losses))
    if not np.isfinite(losses[best]):
        return None
    loss_of_adam = _lowest(trainer)
    better = small[best] if losses[best] < loss_of_adam else trainer
    return Compared(better, small[best], losses[best], loss_of_adam)


def _validation_loss(trainer: Trainer, problem: Problem, options: Options) -> float:
    """Train the net, and return its lowest validation loss; inf if there is none."""
    try:
        fit(trainer, problem, options, progress=False)
    except RefusedError:  # it diverged
        return math.inf
    return _lowest(trainer)


def _lowest(trainer: Trainer) -> float:
    """Return the lowest validation loss of any epoch; inf if there is none."""
    losses = trainer.history.validation_loss
    return float(np.where(np.isnan(losses), np.inf, losses).min(initial=np.inf))


def score(predict: Callable[[Array], Array], problem: Problem) -> Scores:
    """
    Return the scores on the training rows and on the validation rows, and those of the baseline.

    The baseline predicts the mean, or the shares of the classes, of the training rows. It is scored
    on the validation rows, or without any on the training rows.
    """
    made: dict[str, dict[str, float]] = {}

    def add(part: str, rows: npt.NDArray[np.intp], outputs: Array) -> None:
        for name, value in scores.measure(problem.target, problem.y[rows], outputs).items():
            made.setdefault(name, {})[part] = value

    rows = problem.training
    add(TRAINING, rows, predict(problem.X[rows]))
    if len(problem.validation):
        rows = problem.validation
        add(VALIDATION, rows, predict(problem.X[rows]))
    y = problem.y[problem.training]
    add(BASELINE, rows, scores.baseline(problem.target, y, len(rows)))
    return made
