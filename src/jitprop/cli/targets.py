"""The column to predict: its task, and how the net's outputs encode it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop import elementary
from jitprop._types import Array
from jitprop.checks import BRIEF, printable, quoted, shown
from jitprop.cli import values
from jitprop.cli.refused import RefusedError, typed
from jitprop.files import stored

if TYPE_CHECKING:
    import pandas as pd

TASKS = "classification", "regression"

SPELLED = {
    "text": re.compile(r"(?s).*"),
    "integer": re.compile(r"(?a:0|-?[1-9]\d*)"),
    "number": re.compile(r"(?a:-?\d+(?:\.\d+)?(?:e[+-]?\d{1,3})?)"),
    "boolean": re.compile(r"True|False"),
}
"""The types that labels may have in a file with types, and the texts that each allows."""

LARGEST = float(np.finfo(np.float64).max)

MAX_CLASSES = 100
"""The most classes that a net is trained on."""

FEW_INTEGERS = 20
"""A target of integers is classes if it has at most this many different values ..."""

ROWS_PER_INTEGER = 5
"""... and each value has at least this many rows on average."""


@dataclass(frozen=True)
class Classes:
    """
    A target for classification: one probability for each class, or that of the second of two.

    Attributes
    ----------
    name : str
        The name of the target's column.
    labels : tuple of str
        The classes as the table spells them, sorted. 1.1 and 1.10 are different classes.
    kind : {"text", "integer", "number", "boolean"}
        The type of the labels in files whose columns have types.
    """

    task: ClassVar[str] = TASKS[0]
    name: str
    labels: tuple[str, ...]
    kind: str = "text"

    @property
    def n_classes(self) -> int:
        """The number of classes."""
        return len(self.labels)

    @property
    def n_outputs(self) -> int:
        """The number of outputs of a small net."""
        return 1 if len(self.labels) == 2 else len(self.labels)

    @property
    def output_activation(self) -> str:
        """The output activation of the net."""
        return "sigmoid" if self.n_outputs == 1 else "softmax"

    @property
    def loss(self) -> str:
        """The loss of the net."""
        return "binary_cross_entropy" if self.n_outputs == 1 else "cross_entropy"

    def encode(self, spelled: pd.Series) -> npt.NDArray[np.float64]:
        """Return the index of each row's class, (n_rows,), from its label."""
        index = {label: float(i) for i, label in enumerate(self.labels)}
        return np.array([index[text] for text in spelled])

    def decode(self, outputs: Array) -> npt.NDArray[Any]:
        """Return the most probable class of each row, as in the table."""
        return np.asarray(self.values[self.probabilities(outputs).argmax(axis=1)])

    @property
    def values(self) -> npt.NDArray[Any]:
        """The classes as values of ``kind``; texts if an integer does not fit in 64 bits."""
        if self.kind == "boolean":
            return np.array([label == "True" for label in self.labels])
        if self.kind == "number":
            return np.array([float(label) for label in self.labels])
        if self.kind == "integer":
            integers = [int(label) for label in self.labels]
            for dtype in (np.int64, np.uint64):
                limits = np.iinfo(dtype)
                if limits.min <= min(integers) and max(integers) <= limits.max:
                    return np.array(integers, dtype)
        return np.array(self.labels, object)

    def probabilities(self, outputs: Array) -> npt.NDArray[np.float64]:
        """Return the probability of each class, (n_rows, n_classes) float64."""
        outputs = outputs.astype(np.float64)
        return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs

    def describe(self) -> str:
        """Describe the target in one line."""
        shown = ", ".join(printable(label, BRIEF) for label in self.labels[:8])
        return f"{len(self.labels)} classes: {shown}{', ...' if len(self.labels) > 8 else ''}"


@dataclass(frozen=True)
class Quantity:
    """
    A target for regression. The net predicts (y - mean) / spread.

    So the usual learning rates and initial weights suit targets in any unit.

    Attributes
    ----------
    name : str
        The name of the target's column.
    mean, spread : float
        Mean and standard deviation, in the column's units.
    """

    task: ClassVar[str] = TASKS[1]
    n_outputs: ClassVar[int] = 1
    n_classes: ClassVar[int] = 1
    output_activation: ClassVar[str] = "identity"
    loss: ClassVar[str] = "half_squared_error"
    name: str
    mean: float
    spread: float

    @classmethod
    def learn(cls, column: pd.Series, rows: npt.NDArray[np.intp]) -> Quantity:
        """Fit some rows of a column without missing values."""
        y = values.numbers(column)[rows]
        # The division prevents an overflow when large numbers are squared.
        largest = np.abs(y).max() or 1.0
        scaled = y / largest
        mean, spread = elementary.mean(scaled) * largest, elementary.deviation(scaled) * largest
        return cls(str(column.name), float(mean), float(spread) or 1.0)

    def encode(self, column: pd.Series) -> npt.NDArray[np.float64]:
        """Return the standardised values, (n_rows,)."""
        return self.standard(values.numbers(column))

    def standard(self, y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return numbers in units of the spread, from the mean."""
        with np.errstate(over="ignore"):
            z = (y - self.mean) / self.spread
        return z if np.isfinite(z).all() else y / self.spread - self.mean / self.spread

    def decode(self, outputs: Array) -> npt.NDArray[np.float64]:
        """
        Return predictions in the column's units, (n_rows,) float64.

        They are float64, because float32 has 7 digits: near a mean of 1.7e9 its numbers are 128
        apart. Predictions beyond the range of float64 are clipped to its largest number.
        """
        with np.errstate(over="ignore"):
            y = outputs[:, 0].astype(np.float64) * self.spread + self.mean
        return np.clip(y, -LARGEST, LARGEST)

    def describe(self) -> str:
        """Describe the target in one line."""
        return f"mean {self.mean:.6g}, standard deviation {self.spread:.6g}"


Target: TypeAlias = Classes | Quantity


def classes(
    column: pd.Series, task: str | None, spelled: pd.Series | None = None, kind: str = "text"
) -> Classes | None:
    """
    Return the classes of a target for classification; None for regression.

    If no task is given, text, booleans and few different integers mean classification.

    Parameters
    ----------
    column : Series
        The target, without missing values.
    task : {None, "classification", "regression"}
    spelled : Series of str, optional
        The values as the table spells them; None for those of the column.
    kind : str
        The type of the labels, as in `Classes`.

    Raises
    ------
    RefusedError
        If the target holds dates, one value only, too many classes, or text for regression.
    """
    column_kind = values.kind(column)
    name = str(column.name)
    if column_kind == "date":
        raise RefusedError(f"target {name!r} holds dates: convert them to numbers, such as days")
    if column_kind == "text" and task == Quantity.task:
        raise RefusedError(
            f"target {name!r} holds text, which regression cannot learn; "
            f"if it holds numbers, say {typed('--number', name)}"
        )
    labels = set(column.astype(object).map(str) if spelled is None else spelled)
    if column_kind == "text":
        return _classes(name, sorted(labels), len(column), kind)
    y = values.numbers(column)
    different = np.unique(y)
    if task is None:
        few = max(2, min(FEW_INTEGERS, len(y) // ROWS_PER_INTEGER))
        integers = bool((different == np.floor(different)).all())
        task = Classes.task if integers and len(labels) <= few else Quantity.task
    if task == Quantity.task and len(different) == 1:
        labels = {min(labels)}  # there may be several spellings of the one number
    elif task == Quantity.task:
        return None
    by_value = dict(
        zip(column.astype(object).map(str) if spelled is None else spelled, y, strict=True)
    )
    return _classes(
        name, sorted(labels, key=lambda text: _order(text, by_value[text])), len(y), kind
    )


def _order(label: str, value: float) -> tuple[float, int, str]:
    """Sort numbers by size, even large integers that are equal in float64; then by spelling."""
    return value, int(label) if label.removeprefix("-").isdecimal() else 0, label


def _classes(name: str, labels: list[str], n_rows: int, kind: str) -> Classes:
    if len(labels) == 1:
        raise RefusedError(
            f"target {name!r} has only one value, {labels[0]!r}: nothing can be learned"
        )
    if len(labels) > MAX_CLASSES:
        raise RefusedError(
            f"target {name!r} has {len(labels)} different values in {n_rows} rows: "
            f"at most {MAX_CLASSES} classes can be learned"
        )
    return Classes(name, tuple(labels), kind)


def to_json(target: Target) -> dict[str, Any]:
    """Return the target as plain values for the model file."""
    return {"task": target.task, **asdict(target)}


def from_json(item: dict[str, Any]) -> Target:
    """
    Restore a target from a model file.

    Raises
    ------
    KeyError, TypeError, ValueError
        If `to_json` did not write this.
    """
    if item["task"] == Quantity.task:
        stored.names(item, ("task", "name", "mean", "spread"), "the target's settings")
        spread = stored.number(item, "spread", above=0.0)
        return Quantity(stored.text(item, "name"), stored.number(item, "mean"), spread)
    if item["task"] != Classes.task:
        raise ValueError(f"{shown(item['task'])} is not a task")
    stored.names(item, ("task", "name", "labels", "kind"), "the target's settings")
    labels, name = item["labels"], stored.text(item, "name")
    if not (isinstance(labels, list) and len(labels) > 1):
        raise ValueError("labels must be a list of two or more")
    if not any(isinstance(label, str) for label in labels):
        numbers = [stored.number({"a label": label}, "a label") for label in labels]
        return _from_numbers(name, numbers)
    made = Classes(name, stored.texts(item, "labels", differ=True), str(item.get("kind", "text")))
    if made.kind not in SPELLED:
        raise ValueError(f"{shown(made.kind)} is not a kind of labels")
    for label in made.labels:
        if not SPELLED[made.kind].fullmatch(label):
            raise ValueError(f"label {quoted(label)} does not spell a value of type {made.kind}")
    return made


def _from_numbers(name: str, labels: list[float]) -> Classes:
    """Restore classes from an earlier version's file, which has numbers and 1.0 for the label 1."""
    integers = [label.is_integer() for label in labels]
    texts = [str(int(x)) if i else repr(x) for x, i in zip(labels, integers, strict=True)]
    return Classes(name, tuple(texts), "integer" if all(integers) else "number")
