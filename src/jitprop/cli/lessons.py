"""``jitprop lesson``: the three teaching notebooks, or a small table, as a page to look at."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jitprop import elementary
from jitprop.cli import terminal
from jitprop.cli.refused import RefusedError
from jitprop.teaching import lesson
from jitprop.teaching.lessons import MOST_CLASSES, MOST_SAMPLES, MOST_UNITS, Lesson
from jitprop.trainer import Trainer


@dataclass(frozen=True)
class Plan:
    """What a lesson is made of."""

    parts: tuple[Trainer, list[list[float]], list[Any]]
    """The trainer, X and y."""
    epochs: int
    title: str
    about: str
    input_names: list[str] | None = None

    def make(self, path: Path | None, epochs: int | None = None) -> Lesson:
        """Train, and write the page."""
        return lesson(
            *self.parts,
            self.epochs if epochs is None else epochs,
            path,
            title=self.title,
            about=self.about,
            input_names=self.input_names,
        )


def one_step() -> Plan:
    """The first notebook: one step through a 2-2-1 net."""
    W, b = [[[0.2, 0.4], [0.1, 0.3]], [[0.5], [0.6]]], [[0.1, 0.2], [0.1]]
    trainer = Trainer([2, 2, 1], loss="squared_error", learning_rate=0.1, init=(W, b))
    return Plan(
        (trainer, [[0.5, 0.3]], [[0.7]]),
        300,
        "One step of backpropagation",
        "A 2-2-1 net and a single sample, whose target is 0.7: the first teaching notebook.",
    )


def xor() -> Plan:
    """The second notebook: XOR in 10,000 epochs."""
    draw = np.random.RandomState(1).random_sample  # the notebook's numbers
    W1, b1, W2, b2 = (draw(shape) for shape in ((3, 4), 4, (4, 1), 1))
    trainer = Trainer([3, 4, 1], reduction="sum", learning_rate=0.1, init=([W1, W2], [b1, b2]))
    return Plan(
        (trainer, [[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]], [[0], [1], [1], [0]]),
        10_000,
        "XOR in 10,000 epochs",
        "A 3-4-1 net learns exclusive or of its first two inputs; the third is always 1. It is "
        "the second teaching notebook.",
    )


def scalar() -> Plan:
    """The third notebook: a net of single numbers."""
    trainer = Trainer([1, 1, 1], learning_rate=0.1, init=([[[0.4]], [[0.7]]], [[0.3], [0.2]]))
    return Plan(
        (trainer, [[0.5]], [[1.0]]),
        2000,
        "A net of single numbers",
        "A 1-1-1 net to follow on paper, with a single sample: the third teaching notebook.",
    )


NOTEBOOKS: dict[str, Callable[[], Plan]] = {"xor": xor, "one-step": one_step, "scalar": scalar}


def run(what: str, out: Path | None, epochs: int | None, quiet: bool, **settings: Any) -> None:
    """
    Make a lesson, and say where it is.

    ``settings`` are those of a table's lesson: None where they are not given.

    Raises
    ------
    RefusedError
        If there is no such lesson, or the table cannot be a lesson.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if what in NOTEBOOKS and given:
        option = "--" + next(iter(given)).replace("_", "-")
        raise RefusedError(f"{option} goes with a table, not with the lesson {what}")
    path = Path(f"{Path(what).stem}.html") if out is None else out
    try:
        plan = NOTEBOOKS[what]() if what in NOTEBOOKS else of_table(Path(what), **given)
        made = plan.make(path, epochs)
    except ValueError as error:
        raise RefusedError(str(error)) from error
    if not quiet:
        size = len(made.html.encode()) / 1000
        terminal.write(f"wrote {path} ({size:.0f} KB): open it in a browser\n")


def of_table(
    path: Path,
    target: str | None = None,
    hidden: tuple[int, ...] = (4,),
    activation: str = "tanh",
    learning_rate: float = 0.1,
    seed: int = 0,
) -> Plan:
    """
    Plan the lesson of a CSV file of numbers.

    The target is the last column, or the one that is named. It may be classes: texts, or the
    numbers 0 and 1.

    Raises
    ------
    RefusedError
        If the table is too large, or has a field that is no number.
    """
    names, rows = _read(path)
    target = names[-1] if target is None else target
    if target not in names:
        raise RefusedError(f"{path} has no column {target!r}; it has {', '.join(map(repr, names))}")
    at = names.index(target)
    inputs = [name for name in names if name != target]
    X = _standard(np.array([_numbers(path, names, k, rows) for k in range(len(names)) if k != at]))
    texts = [row[at] for row in rows]
    about = f"{len(rows)} rows of {path.name}. Each input is scaled to mean 0 and deviation 1."
    settings: dict[str, Any] = {}
    classes = sorted(set(texts))
    y: list[Any]
    if all(map(_is_number, texts)) and {float(text) for text in texts} != {0.0, 1.0}:
        scaled = _standard(np.array([[float(text) for text in texts]]))
        y = scaled.tolist()
        settings, n_outputs = {"output_activation": "identity"}, 1
        about += f" So is the target, {target}."
    elif len(classes) == 2:
        classes = sorted(classes, key=lambda text: float(text) if _is_number(text) else 0)
        y = [[float(text == classes[1])] for text in texts]
        settings, n_outputs = {"loss": "binary_cross_entropy"}, 1
        about += f" The target {target} is 1 for {classes[1]} and 0 for {classes[0]}."
    else:
        n_outputs = len(classes)
        if not 1 < n_outputs <= MOST_CLASSES:
            raise RefusedError(
                f"the column {target!r} must have 2 to {MOST_CLASSES} classes, or numbers; "
                f"it has {n_outputs}"
            )
        y = [classes.index(text) for text in texts]
        settings = {"loss": "cross_entropy", "output_activation": "softmax"}
        listed = ", ".join(f"{i} {name}" for i, name in enumerate(classes))
        about += f" The classes of {target} are {listed}."
    trainer = Trainer(
        [len(inputs), *hidden, n_outputs],
        activation=activation,
        learning_rate=learning_rate,
        seed=seed,
        **settings,
    )
    return Plan((trainer, X.tolist(), y), 2000, path.stem, about, inputs)


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns and the rows, which all have a field for each name."""
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        known = ", ".join(NOTEBOOKS)
        raise RefusedError(
            f"there is no lesson and no file {str(path)!r}; lessons are {known}"
        ) from None
    except UnicodeDecodeError as error:
        raise RefusedError(f"{path} is not UTF-8") from error
    try:
        lines = [row for row in csv.reader(text.splitlines()) if row]
    except csv.Error as error:
        raise RefusedError(f"{path} is not CSV: {error}") from error
    if len(lines) < 2:
        raise RefusedError(f"{path} needs the names of its columns, and rows below them")
    names, *rows = lines
    if not 2 <= len(names) <= MOST_UNITS + 1 or len(set(names)) < len(names):
        raise RefusedError(
            f"{path} must have 1 to {MOST_UNITS} columns of inputs and one of targets, each with "
            f"a name of its own; it has {len(names)} columns"
        )
    if len(rows) > MOST_SAMPLES:
        raise RefusedError(
            f"{path} must have at most {MOST_SAMPLES} rows, since a lesson shows each of them; it "
            f"has {len(rows):,}"
        )
    for number, row in enumerate(rows, 2):
        if len(row) != len(names):
            raise RefusedError(f"{path}, row {number}: {len(row)} fields under {len(names)} names")
    return names, rows


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _numbers(path: Path, names: list[str], k: int, rows: list[list[str]]) -> list[float]:
    for number, row in enumerate(rows, 2):
        if not _is_number(row[k]):
            raise RefusedError(
                f"{path}, row {number}: the column {names[k]!r} must hold numbers; got {row[k]!r}"
            )
    return [float(row[k]) for row in rows]


def _standard(columns: Any) -> Any:
    """Scale each row of columns to mean 0 and deviation 1, and return the samples as rows."""
    n = columns.shape[1]
    centred = columns - np.array([[elementary.total(column) / n] for column in columns])
    squares = [elementary.total(column * column) / n for column in centred]
    return (centred / np.array([[math.sqrt(s) or 1.0] for s in squares])).T
