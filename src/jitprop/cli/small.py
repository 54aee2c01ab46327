"""``jitprop train --fast``: a small net, of columns that are standardised or one-hot."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jitprop import History, Trainer
from jitprop.cli import training
from jitprop.cli.column_types import InferredTable
from jitprop.cli.columns import Column
from jitprop.cli.models import Model
from jitprop.cli.reading import Reading
from jitprop.cli.tables import Say
from jitprop.cli.training import Compared, Options, Problem


@dataclass
class SmallTraining:
    """
    The training of a small net.

    Attributes
    ----------
    problem : Problem
    options : Options
    reading : Reading
    trainer : Trainer
        The net that is trained; in the end, the one that is kept.
    learned : tuple of Column
        The columns in the order of the net's inputs.
    compared : Compared or None
        How it compares with small nets of Levenberg-Marquardt, if these were tried.
    """

    problem: Problem
    options: Options
    reading: Reading
    trainer: Trainer
    learned: tuple[Column, ...]
    compared: Compared | None = None

    @classmethod
    def begin(
        cls, table: InferredTable, target: str, task: str | None, options: Options, say: Say
    ) -> SmallTraining:
        """
        Prepare a table and an untrained net.

        Raises
        ------
        RefusedError
            If nothing can be learned from the table, or a setting is bad.
        """
        problem, learned = training.prepare(table, target, task, options, say)
        # Columns of dates are left out, so their order is not needed later.
        reading = replace(table.reading, day_first=())
        return cls(problem, options, reading, training.trainer_for(problem, options), learned)

    @property
    def history(self) -> History:
        """The course of the training."""
        return self.trainer.history

    @property
    def best_epoch(self) -> int:
        """The epoch whose net is the model, counted from 0."""
        return int(np.nanargmin(self.history.validation_loss))

    def columns(self) -> str:
        """Describe the columns in one line."""
        kinds = [column.kind for column in self.problem.columns]
        return (
            f"{kinds.count('number')} of numbers, {kinds.count('text')} of text: "
            f"{self.problem.X.shape[1]} inputs"
        )

    def train(self, progress: bool) -> None:
        """Train; see `training.fit`."""
        training.fit(self.trainer, self.problem, self.options, progress)
        self.compared = training.compare_with_lm(self.trainer, self.problem, self.options)
        if self.compared is not None:
            self.trainer = self.compared.trainer

    def draft(self) -> Model:
        """Return a model that is as large in a file as the one that will be learned."""
        return self.model()

    def model(self) -> Model:
        """Return what was learned, without scores."""
        problem = self.problem
        return Model(self.trainer, self.learned, problem.target, self.reading, {})
