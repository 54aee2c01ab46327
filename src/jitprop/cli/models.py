"""The model file: a trained net, its columns, its target and its scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jitprop import Trainer
from jitprop._types import Array
from jitprop.checks import printable, quoted, shown
from jitprop.cli import column_types, columns, reading, scores, targets
from jitprop.cli.columns import Column
from jitprop.cli.reading import Reading
from jitprop.cli.refused import RefusedError
from jitprop.cli.scores import Scores
from jitprop.cli.tables import Say, Table
from jitprop.cli.targets import Target
from jitprop.files import saving, stored
from jitprop.trainer import trainer_of
from jitprop.training.errors import CheckpointError
from jitprop.training.model import model_of

KEY = saving.COMMAND_LINE
"""The key in a model file of what the command line stores."""


@dataclass(frozen=True)
class Model:
    """
    A net that was trained on a table.

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

    def outputs(self, table: Table, say: Say, reading: Reading) -> Array:
        """Return the net's outputs for each row of a table, (n_rows, n_outputs)."""
        frame = column_types.read(table, self.columns, reading, say)
        X = columns.transform(self.columns, frame, say)
        return self.trainer.predict(X.astype(self.trainer.parameters.dtype))

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


def load(path: Path) -> tuple[Trainer, Model | None]:
    """
    Load the net of a model file, and the whole model if the command line wrote it.

    Returns
    -------
    Trainer, Model or None

    Raises
    ------
    RefusedError
        If the file cannot be read or is not a model file.
    """
    try:
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
