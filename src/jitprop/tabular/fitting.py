"""How a net for a table is fitted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop._types import Array
from jitprop.tabular import calibration, intervals, rows, targets
from jitprop.tabular.columns import Columns, learn
from jitprop.tabular.model import Course, TabularNet, predictor
from jitprop.tabular.recipe import Recipe, trainer
from jitprop.tabular.rows import FEWEST, Given
from jitprop.tabular.table import Table
from jitprop.tabular.targets import Classes, Quantity, Target
from jitprop.trainer import Trainer
from jitprop.training.callbacks import EarlyStopping

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """
    How to fit.

    Attributes
    ----------
    recipe : Recipe
    n_members : int
        The number of nets. Each has a seed of its own, and predictions are their mean.
    seed : int
        Of the rows held out and of the first net. The next one has the next seed.
    validation_fraction : float
        The share of the rows that is held out, if no others are given.
    n_threads : int or None
        The most threads, as `Trainer` has it.
    keep : tuple of str
        Columns to use although they look like ids.
    """

    recipe: Recipe
    n_members: int = 1
    seed: int = 0
    validation_fraction: float = 0.2
    n_threads: int | None = None
    keep: tuple[str, ...] = ()


class Encoded(NamedTuple):
    """Rows as the nets get them."""

    X: npt.NDArray[np.float32]
    y: Array
    weights: Numbers | None


def fit(
    table: Table,
    y: Array,
    classes: bool,
    settings: Settings,
    *,
    sample_weight: Any = None,
    validation: tuple[Table, Array] | None = None,
) -> TabularNet:
    """
    Fit a net.

    Parameters
    ----------
    table : Table
    y : (n_rows,) array
        As `targets.values_of` or `targets.numbers_of` returns it.
    classes : bool
        Whether the target is a class; else it is a quantity.
    settings : Settings
    sample_weight : (n_rows,) array-like or float, optional
        Whole numbers are counts of rows.
    validation : (table, y), optional
        Rows that choose the best epoch, in place of some held out.

    Returns
    -------
    TabularNet

    Raises
    ------
    ValueError
        For bad input, in a sentence that names the argument or the column.
    DivergenceError
        If the loss becomes inf or nan.
    """
    given = rows.counted("X", table, y, sample_weight)
    n = given.table.n_rows
    if n < FEWEST:
        some = "" if sample_weight is None else " with a sample_weight above 0"
        raise ValueError(f"X must have at least {FEWEST} rows{some}; got n_samples = {n}")
    known = _known_classes(given.y, sample_weight) if classes else None
    codes = given.y if known is None else known.codes("y", given.y)
    order = rows.in_order(given, codes, settings.seed)
    given, codes = given.take(order)._replace(y=codes[order]), codes[order]
    if validation is None:
        strata = None if known is None else codes
        training, others = rows.hold_out(n, settings.validation_fraction, strata)
        if len(others) == 0:
            raise ValueError(
                f"y must have classes of more than one row, of which some are held out; got {n} "
                "classes in as many rows"
            )
        held_out, given = given.take(others), given.take(training)
    else:
        held_out = rows.counted("X_val", *validation)
        if known is not None:
            held_out = held_out._replace(y=known.codes("y_val", held_out.y))
        if held_out.table.n_rows == 0:
            raise ValueError("X_val must have at least one row; got none")
    columns = learn(given.table, keep=settings.keep)
    target = known or targets.quantity_of(given.y, given.weights)
    fitted = _Fit(columns, target, settings)
    return fitted.run(fitted.encoded(given), fitted.encoded(held_out), held_out.y)


def _known_classes(y: Array, sample_weight: Any) -> Classes:
    try:
        return targets.classes_of("y", y)
    except ValueError as error:
        if sample_weight is None:
            raise
        raise ValueError(f"{error}, among the rows with a sample_weight above 0") from None


@dataclass(frozen=True)
class _Fit:
    """The training of all nets on rows that are checked."""

    columns: Columns
    target: Target
    settings: Settings

    def encoded(self, given: Given) -> Encoded:
        """Return rows as the nets get them."""
        y = given.y
        scaled = self.target.scaled(y) if isinstance(self.target, Quantity) else y
        return Encoded(self.columns.transform(given.table), scaled, given.weights)

    def run(self, training: Encoded, held_out: Encoded, y: Array) -> TabularNet:
        """Train each net; ``y`` are the targets of the rows held out, before scaling."""
        settings, target = self.settings, self.target
        trained, courses = [], []
        for i in range(settings.n_members):
            net, course = self._train(settings.seed + i, training, held_out)
            trained.append(net)
            courses.append(course)
        temperature, residuals = 1.0, np.empty(0)
        if isinstance(target, Classes):
            logits = np.stack(
                [self._plain(net, 1.0, "identity").predict(held_out.X) for net in trained]
            )
            temperature = calibration.temperature(logits, y, held_out.weights)
        output = "softmax" if isinstance(target, Classes) else "identity"
        members = tuple(self._plain(net, temperature, output) for net in trained)
        made = TabularNet(self.columns, target, members, temperature, residuals, tuple(courses))
        if isinstance(target, Quantity):
            residuals = intervals.residuals(y, made.outputs(held_out.X))
        return replace(made, residuals=residuals)

    def _train(self, seed: int, training: Encoded, held_out: Encoded) -> tuple[Trainer, Course]:
        settings = self.settings
        recipe, classes = settings.recipe, isinstance(self.target, Classes)
        n, n_inputs = training.X.shape
        sizes = [n_inputs, *recipe.hidden, self.target.n_outputs]
        net = trainer(recipe, sizes, classes, n, seed, n_threads=settings.n_threads)
        best = EarlyStopping("validation_loss", patience=recipe.epochs)
        validation = tuple(part for part in held_out if part is not None)
        history = net.fit(
            training.X,
            training.y,
            recipe.epochs,
            sample_weight=training.weights,
            validation_data=validation,
            callbacks=best,
        )
        epoch = recipe.epochs - 1 if best.best_epoch is None else best.best_epoch
        return net, Course(history, epoch)

    def _plain(self, net: Trainer, temperature: float, output: str) -> Trainer:
        """Return the net without its optimizer, and with z / temperature in place of z."""
        settings = self.settings
        return predictor(
            net.layer_sizes, str(net.activation[0]), output, (net.weights, net.biases),
            temperature, settings.n_threads,
        )  # fmt: skip
