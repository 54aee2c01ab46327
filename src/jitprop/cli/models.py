"""A trained net with what its inputs and outputs mean: one model file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jitprop import Trainer
from jitprop._types import Array
from jitprop.checks import printable
from jitprop.cli import columns, reading, scores, stored, targets, telling
from jitprop.cli.columns import Column
from jitprop.cli.reading import Reading
from jitprop.cli.refused import RefusedError
from jitprop.cli.scores import Scores
from jitprop.cli.tables import Say, Table
from jitprop.cli.targets import Target
from jitprop.files import saving
from jitprop.training.errors import CheckpointError

KEY = saving.COMMAND_LINE
"""Of what the command line keeps in a model file."""


@dataclass(frozen=True)
class Model:
    """
    A net that was trained on a table.

    Attributes
    ----------
    trainer : Trainer
    columns : tuple of Column
        In the order of the net's inputs.
    target : Target
    reading : Reading
        How the fields of the table were read.
    scores : Scores
        As they were at the end of training.
    """

    trainer: Trainer
    columns: tuple[Column, ...]
    target: Target
    reading: Reading
    scores: Scores

    @property
    def missing(self) -> tuple[str, ...]:
        """Marks of missing values."""
        return self.reading.missing

    def outputs(self, table: Table, say: Say, reading: Reading) -> Array:
        """The net's outputs for each row of a table, (n_rows, n_outputs)."""
        frame = telling.read(table, self.columns, reading, say)
        X = columns.transform(self.columns, frame, say)
        return self.trainer.predict(X.astype(self.trainer.parameters.dtype))

    def save(self, path: Path, spare: int = 0) -> None:
        """
        Write the model file; one that stands there is replaced at once or not at all.

        Parameters
        ----------
        path : Path
        spare : int, default 0
            Bytes by which the header is made longer, to see whether there is room for them.

        Raises
        ------
        OSError
            As writing does.
        ValueError
            If the header gets too long.
        """
        extra = {
            "columns": columns.to_json(self.columns),
            "target": targets.to_json(self.target),
            "missing": list(self.missing),
            "reading": self.reading.to_json(),
            "scores": self.scores,
        }
        room = {"spare": " " * spare} if spare else {}
        saving.write(path, self.trainer, {KEY: extra} | room)


def load(path: Path) -> tuple[Trainer, Model | None]:
    """
    The net in a model file, and all of the model if the command line wrote it.

    Raises
    ------
    RefusedError
        For a file that cannot be read, or is no such file.
    """
    try:
        trainer, extra = saving.read(path)
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
    made = Model(
        trainer,
        columns.from_json(extra["columns"]),
        targets.from_json(extra["target"]),
        reading.from_json(extra.get("reading"), stored.texts(extra, "missing")),
        scores.from_json(extra["scores"]),
    )
    told = sum(column.n_inputs for column in made.columns), made.target.n_outputs
    sizes = trainer.layer_sizes
    if told != (sizes[0], sizes[-1]):
        raise ValueError(f"{told} inputs and outputs of a net of {sizes}")
    return made
