"""``jitprop train``: a net for tables, by the recipe of `jitprop.tabular`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from jitprop import DivergenceError, History, Trainer
from jitprop.checks import quoted
from jitprop.cli import frames, targets, training, values
from jitprop.cli.column_types import InferredTable
from jitprop.cli.models import TableModel
from jitprop.cli.reading import Reading
from jitprop.cli.refused import RefusedError, typed
from jitprop.cli.tables import Say
from jitprop.cli.targets import Classes, Quantity
from jitprop.cli.training import Options, Problem
from jitprop.tabular import fitting
from jitprop.tabular.encoders import categories, texts
from jitprop.tabular.fitting import Fit, Settings, Trained
from jitprop.tabular.model import TabularNet
from jitprop.tabular.recipe import CLASSES, QUANTITIES
from jitprop.tabular.rows import FEWEST
from jitprop.tabular.table import Table

LONG = 3e12
"""So many multiply-adds take about a minute on two cores. From then on a note says so."""


@dataclass
class TableTraining:
    """
    The training of a net for tables.

    Attributes
    ----------
    problem : Problem
    reading : Reading
    begun : Fit
    trainer : Trainer
        The net that is trained.
    used : dict
        What `TabularClassifier.load` or `TabularRegressor.load` reads of the file.
    trained : Trained or None
        What the training leaves besides the trainer; None before its end.
    compared : None
        No other nets are tried.
    """

    problem: Problem
    reading: Reading
    begun: Fit
    trainer: Trainer
    used: dict[str, Any]
    trained: Trained | None = None
    compared: None = None

    @classmethod
    def begin(
        cls, table: InferredTable, target: str, task: str | None, options: Options, say: Say
    ) -> TableTraining:
        """
        Prepare a table and an untrained net.

        Raises
        ------
        RefusedError
            If nothing can be learned from the table.
        """
        frame, spelled = training.with_target(table, target, say, FEWEST)
        if len(frame.columns) == 1:
            raise RefusedError("no column is left to learn from except the target")
        found = targets.classes(frame[target], task, spelled, table.kind)
        if found is None:
            y: Any = values.numbers(frame[target])
        else:
            training.note_equal_numbers(found, say)
            found, of_net = _sorted(found)
            if len(found.labels) == len(frame):
                raise RefusedError(
                    f"each row has another value of the target {target!r}: a class can be learned "
                    "only from several rows"
                )
            y = of_net[found.encode(spelled).astype(np.intp)]
        given = frames.of_training(frame.drop(columns=target), table.reading.text)
        parts = find_spec("sklearn") is not None
        if not parts:
            given = _without_texts(given, table.reading.keep, say)
        settings = _settings(options, found is not None)
        settings = replace(settings, keep=table.reading.keep, texts=parts)
        notes: list[str] = []
        try:
            begun = fitting.begin(given, y, found is not None, settings, notes=notes)
        except ValueError as error:
            raise RefusedError(str(error)) from error
        for note in notes:
            name = next((n for n in given.names if note.startswith(f"column {quoted(n)} is")), None)
            keeps = f"; {typed('--keep', name)} keeps it" if name and "like ids" in note else ""
            say(note + keeps)
        rows = np.sort(begun.training_rows)
        of_target = found or Quantity.learn(frame[target], rows)
        problem = Problem(
            frame,
            frames.columns_of(begun.columns),
            of_target,
            begun.columns.transform(given),
            of_target.encode(spelled if found else frame[target]),
            rows,
            np.sort(begun.held_out_rows),
        )
        trainer = begun.trainer(0)
        work = 3.0 * trainer.parameters.size * len(rows) * settings.recipe.epochs
        if work > LONG:
            say("training will take minutes; --fast trains a small net in less time")
        return cls(problem, table.reading, begun, trainer, _used(given, begun))

    @property
    def history(self) -> History:
        """The course of the training."""
        return self.trainer.history

    @property
    def best_epoch(self) -> int:
        """The epoch whose net is the model, counted from 0."""
        if self.trained is None:
            return self.trainer.epochs_trained - 1
        return self.trained.course.best_epoch

    def columns(self) -> str:
        """Describe the columns in one line."""
        kinds = [column.kind for column in self.problem.columns]
        names = {"number": "numbers", "category": "categories", "date": "dates", "text": "text"}
        some = [f"{kinds.count(kind)} of {name}" for kind, name in names.items() if kind in kinds]
        return f"{', '.join(some)}: {self.problem.X.shape[1]} inputs"

    def train(self, progress: bool) -> None:
        """
        Train the net.

        Raises
        ------
        RefusedError
            If training diverges.
        KeyboardInterrupt
            On Ctrl-C. The trainer keeps the best of the epochs that were completed.
        """
        try:
            self.trained = self.begun.train(self.trainer, progress=progress)
        except DivergenceError as error:
            raise RefusedError(
                f"training diverged in epoch {error.epoch}: try --fast, whose learning rate is "
                "smaller"
            ) from error

    def draft(self) -> TableModel:
        """Return a model that is as large in a file as the one that will be learned."""
        begun = self.begun
        residuals = np.zeros(
            0 if isinstance(self.problem.target, Classes) else len(begun.held_out_rows)
        )
        net = TabularNet(begun.columns, begun.target, (self.trainer,), 1.0, residuals)
        return self._model(net)

    def model(self) -> TableModel:
        """Return what was learned, without scores."""
        trained = [] if self.trained is None else [self.trained]
        return self._model(self.begun.finished([self.trainer], trained))

    def _model(self, net: TabularNet) -> TableModel:
        epochs = self.trainer.epochs_trained
        return TableModel(net, self.problem.target, self.reading, {}, epochs, self.used)


def _settings(options: Options, classes: bool) -> Settings:
    recipe = CLASSES if classes else QUANTITIES
    if options.epochs is not None:
        recipe = replace(recipe, epochs=options.epochs)
    return Settings(recipe, seed=options.seed, validation_fraction=options.validation)


def _sorted(found: Classes) -> tuple[Classes, Any]:
    """Return classes in the order of the net's, and the net's classes."""
    of_net = found.values
    order = np.argsort(of_net, kind="stable")
    labels = tuple(found.labels[i] for i in order)
    return replace(found, labels=labels), of_net[order]


def _without_texts(table: Table, keep: Collection[str], say: Say) -> Table:
    """Leave out columns whose texts are too many for categories, which need scikit-learn."""
    left = []
    for column in table:
        if column.kind in ("text", "category") and column.name not in keep:
            different, counts = categories.count(column.values)
            if texts.are_many(different, counts) and len(different) > counts.sum() // 2:
                say(
                    f"column {quoted(column.name)} is left out: it holds {len(different)} "
                    "different texts, which need scikit-learn: pip install 'jitprop[sklearn]'"
                )
                continue
        left.append(column)
    return Table(left)


def _used(table: Table, begun: Fit) -> dict[str, Any]:
    """Return what the estimators read of a file besides the net."""
    settings, recipe = begun.settings, begun.settings.recipe
    parameters = {
        "hidden": list(recipe.hidden),
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "learning_rate": None,
        "validation_fraction": settings.validation_fraction or 0.2,
        "keep": list(settings.keep),
        "n_members": 1,
        "random_state": settings.seed,
        "n_threads": None,
        "verbose": False,
    }
    quantity = begun.target.n_outputs == 1
    return {
        "estimator": "TabularRegressor" if quantity else "TabularClassifier",
        "parameters": parameters,
        "n_features": len(table.names),
        "feature_names": table.names,
    }
