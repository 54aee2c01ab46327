"""A net for a table: what it learned about the columns and the target, and the nets behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop._types import Array
from jitprop.tabular.columns import Columns
from jitprop.tabular.table import Table
from jitprop.tabular.targets import Quantity, Target
from jitprop.trainer import Trainer
from jitprop.training.history import History

Numbers = npt.NDArray[np.float64]


class Course(NamedTuple):
    """What happened in the fit of one net."""

    history: History
    best_epoch: int
    """The epoch whose parameters were kept, counted from 0."""


@dataclass(frozen=True, eq=False)
class TabularNet:
    """
    A fitted net for tables, or several whose outputs are averaged.

    Attributes
    ----------
    columns : Columns
        Makes the inputs of the nets from a table.
    target : Classes or Quantity
    members : tuple of Trainer
        The nets. With classes, the temperature is in the weights and biases of the last layer.
    temperature : float
        The nets' outputs before the softmax were divided by it.
    residuals : (n,) float64 array
        The errors of the predictions for the rows held out, sorted; empty with classes.
    courses : tuple of Course
        What happened in the fit of each net; empty for a net that was read from a file.
    """

    columns: Columns
    target: Target
    members: tuple[Trainer, ...]
    temperature: float
    residuals: Numbers
    courses: tuple[Course, ...] = ()

    def inputs(self, table: Table) -> npt.NDArray[np.float32]:
        """Return the inputs of the nets, (n_rows, n_inputs)."""
        return self.columns.transform(table)

    def outputs(self, X: npt.NDArray[np.float32]) -> Numbers:
        """
        Predict for inputs that `inputs` has made.

        Returns
        -------
        (n_rows, n_classes) float64 array of probabilities, or (n_rows,) predictions
        """
        target = self.target
        made: Any = 0.0
        for member in self.members:
            raw = member.predict(X)
            made = made + (
                target.predictions(raw) if isinstance(target, Quantity) else raw.astype(np.float64)
            )
        # In float64 the probabilities of float32 do not add up to 1.
        made /= len(self.members) if isinstance(target, Quantity) else made.sum(1, keepdims=True)
        return np.asarray(made, np.float64)


def predictor(
    sizes: Sequence[int],
    activation: str,
    output: str,
    parameters: tuple[Sequence[Array], Sequence[Array]],
    temperature: float = 1.0,
    n_threads: int | None = None,
) -> Trainer:
    """Return a net that predicts, with z / temperature in place of the outputs z."""
    weights, biases = (
        [*arrays[:-1], arrays[-1] / np.float32(temperature)] for arrays in parameters
    )
    return Trainer(
        sizes,
        activation=activation,
        output_activation=output,
        loss="cross_entropy" if output == "softmax" else "squared_error",
        dtype="float32",
        seed=0,
        init=(weights, biases),
        n_threads=n_threads,
    )
