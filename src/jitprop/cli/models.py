"""The model files: a trained net, its columns, its target and its scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop import Trainer
from jitprop._types import Array
from jitprop.checks import printable, quoted, shown
from jitprop.cli import column_types, columns, frames, reading, scores, targets
from jitprop.cli.columns import Column
from jitprop.cli.frames import TableColumn
from jitprop.cli.reading import Reading
from jitprop.cli.refused import RefusedError
from jitprop.cli.scores import Scores
from jitprop.cli.tables import Say, Table
from jitprop.cli.targets import Classes, Target
from jitprop.files import saving, sealed, stored
from jitprop.tabular import saving as tables_saving
from jitprop.tabular.model import TabularNet
from jitprop.tabular.targets import Quantity as TableQuantity
from jitprop.trainer import trainer_of
from jitprop.training.errors import CheckpointError
from jitprop.training.model import model_of

KEY = saving.COMMAND_LINE
"""The key in a model file of what the command line stores."""


class Predicted(NamedTuple):
    """
    Predictions for the rows of a table.

    Attributes
    ----------
    values : (n_rows,) array
    probabilities : (n_rows, n_classes) float64 array or None
        None for numbers.
    """

    values: npt.NDArray[Any]
    probabilities: npt.NDArray[np.float64] | None


@dataclass(frozen=True)
class Model:
    """
    A small net that was trained on a table.

    Attributes
    ----------
    trainer : Trainer
    columns : tuple of Column
        The columns in the order of the net's inputs.
    target : Target
    reading : Reading
        How the fields of the table were read.
    scores : Scores
        The scores at the end of training.
    """

    trainer: Trainer
    columns: tuple[Column, ...]
    target: Target
    reading: Reading
    scores: Scores

    @property
    def missing(self) -> tuple[str, ...]:
        """The marks of missing values that the user gave."""
        return self.reading.missing

    def outputs(self, X: Array) -> Array:
        """Return the outputs for rows of inputs, (n_rows, n_outputs), as `Target.decode` needs."""
        return self.trainer.predict(X)

    def predict(self, table: Table, say: Say, reading: Reading) -> Predicted:
        """Predict the target of each row of a table."""
        kinds = {column.name: column.kind for column in self.columns}
        frame = column_types.read(table, kinds, reading, say)
        X = columns.transform(self.columns, frame, say)
        outputs = self.trainer.predict(X.astype(self.trainer.parameters.dtype))
        target = self.target
        sure = target.probabilities(outputs) if isinstance(target, Classes) else None
        return Predicted(target.decode(outputs), sure)

    def save(self, path: Path, spare: int = 0) -> None:
        """
        Write the model file. A file that is there is replaced as a whole or not at all.

        Parameters
        ----------
        path : Path
        spare : int, default 0
            Bytes to add to the header, to test whether there is room for them.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If the header is too long.
        """
        extra = {
            "columns": columns.to_json(self.columns),
            "target": targets.to_json(self.target),
            "missing": list(self.missing),
            "reading": self.reading.to_json(),
            "scores": self.scores,
        }
        room = {"spare": " " * spare} if spare else {}
        saving.write(path, model_of(self.trainer), {KEY: extra} | room)


@dataclass(frozen=True)
class TableModel:
    """
    A net for tables (`jitprop.tabular`) that was trained on a table.

    Attributes
    ----------
    net : TabularNet
    target : Target
        A quantity has the mean and the spread of the net's.
    reading : Reading
        How the fields of the table were read.
    scores : Scores
        The scores at the end of training.
    epochs : int
        The number of epochs that were trained.
    used : mapping
        What `TabularClassifier.load` or `TabularRegressor.load` reads of the file.
    """

    net: TabularNet
    target: Target
    reading: Reading
    scores: Scores
    epochs: int
    used: Mapping[str, Any]

    @property
    def trainer(self) -> Trainer:
        """The net without its columns."""
        return self.net.members[0]

    @property
    def columns(self) -> tuple[TableColumn, ...]:
        """The columns in the order of the net's inputs."""
        return frames.columns_of(self.net.columns)

    @property
    def missing(self) -> tuple[str, ...]:
        """The marks of missing values that the user gave."""
        return self.reading.missing

    def outputs(self, X: Array) -> Array:
        """Return the outputs for rows of inputs, (n_rows, n_outputs), as `Target.decode` needs."""
        made = self.net.outputs(X)
        return made if isinstance(self.target, Classes) else self.target.standard(made)[:, None]

    def predict(self, table: Table, say: Say, reading: Reading) -> Predicted:
        """Predict the target of each row of a table."""
        encoders = self.net.columns.encoders
        kinds = {encoder.name: encoder.kind for encoder in encoders}
        frame = column_types.read(table, kinds, reading, say)
        absent = [name for name in kinds if name not in frame.columns]
        if absent:
            raise RefusedError(columns.missing(absent, frame))
        try:
            made = self.net.outputs(self.net.inputs(frames.of_later(frame, encoders)))
        except (ImportError, ValueError) as error:  # texts need scikit-learn
            raise RefusedError(str(error)) from error
        if isinstance(self.target, Classes):
            return Predicted(self.target.decode(made), made)
        return Predicted(made, None)

    def save(self, path: Path, spare: int = 0) -> None:
        """Write the model file, as `Model.save`."""
        extra = {
            "target": targets.to_json(self.target),
            "missing": list(self.missing),
            "reading": self.reading.to_json(),
            "scores": self.scores,
            "epochs": self.epochs,
        }
        room = {"spare": " " * spare} if spare else {}
        tables_saving.write(path, self.net, {**self.used, KEY: extra} | room)


AnyModel: TypeAlias = Model | TableModel

Whole: TypeAlias = Model | TabularNet | Trainer
"""What a model file holds: a net with its columns if the file has any, else a net."""


def load(path: Path) -> tuple[Trainer, AnyModel | None]:
    """
    Load the net of a model file, and the whole model if the command line wrote it.

    Returns
    -------
    Trainer, Model or TableModel or None

    Raises
    ------
    RefusedError
        If the file cannot be read or is not a model file.
    """
    try:
        if _is_table(path):
            return _load_table(path)
        net, extra = saving.read(path)
        trainer = trainer_of(net)
        if extra is None or extra.get(KEY) is None:
            return trainer, None
        return trainer, _model(trainer, extra[KEY])
    except CheckpointError as error:
        raise RefusedError(str(error)) from error
    except OSError as error:
        raise RefusedError(f"cannot read {path}: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = printable(f"{type(error).__name__}: {error}")
        raise RefusedError(
            f"{path} does not say which columns its net was trained on ({reason})"
        ) from error


def whole(path: Path) -> Whole:
    """
    Load all that a model file holds, whether the command line or Python wrote it.

    Raises
    ------
    RefusedError
        As `load`.
    """
    trainer, made = load(path)
    if isinstance(made, TableModel):
        return made.net
    if made is None and _is_table(path):
        return tables_saving.read(path)[0]
    return trainer if made is None else made


def reader(path: Path) -> str:
    """Return what reads a model file in Python."""
    return "the load of its estimator" if _is_table(path) else "Trainer.load"


def _is_table(path: Path) -> bool:
    """Return whether a file holds a net for tables."""
    with saving.refusing(path), sealed.reading(path) as file:
        return bool(file.content.get("kind") == tables_saving.KIND)


def _load_table(path: Path) -> tuple[Trainer, TableModel | None]:
    net, extra = tables_saving.read(path)
    if not isinstance(extra, dict) or extra.get(KEY) is None:
        return net.members[0], None
    made = extra.pop(KEY)
    stored.names(made, ("target", "missing", "reading", "scores", "epochs"), "its settings")
    target = targets.from_json(made["target"])
    if (isinstance(target, Classes), target.n_classes) != _outputs(net):
        raise ValueError(f"{target.task} with a net of {net.target.n_outputs} outputs")
    if any(encoder.name == target.name for encoder in net.columns.encoders):
        raise ValueError(f"the target {quoted(target.name)} is one of its columns")
    model = TableModel(
        net,
        target,
        reading.from_json(made["reading"], stored.texts(made, "missing")),
        scores.from_json(made["scores"], target.task),
        int(stored.within(made, "epochs", 0, 2**53)),
        extra,
    )
    return net.members[0], model


def _outputs(net: TabularNet) -> tuple[bool, int]:
    """Return whether the net predicts classes, and how many."""
    classes = not isinstance(net.target, TableQuantity)
    return classes, net.target.n_outputs


def _model(trainer: Trainer, extra: Mapping[str, Any]) -> Model:
    stored.names(extra, ("columns", "target", "missing", "reading", "scores"), "its settings")
    target = targets.from_json(extra["target"])
    made = Model(
        trainer,
        columns.from_json(extra["columns"]),
        target,
        reading.from_json(extra.get("reading"), stored.texts(extra, "missing")),
        scores.from_json(extra["scores"], target.task),
    )
    if any(column.name == target.name for column in made.columns):
        raise ValueError(f"the target {quoted(target.name)} is one of its columns")
    if trainer.output_activation != target.output_activation:
        raise ValueError(
            f"{target.task} with the output activation {shown(trainer.output_activation)}"
        )
    n_inputs, n_outputs = sum(column.n_inputs for column in made.columns), made.target.n_outputs
    sizes = trainer.layer_sizes
    if (n_inputs, n_outputs) != (sizes[0], sizes[-1]):
        raise ValueError(f"{n_inputs} inputs and {n_outputs} outputs do not fit a net of {sizes}")
    return made
