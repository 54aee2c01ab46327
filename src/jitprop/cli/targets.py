"""The column to be predicted: its task, what the net is taught of it, what its outputs mean."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop._types import Array
from jitprop.cli import values
from jitprop.cli.refused import RefusedError

if TYPE_CHECKING:
    import pandas as pd

TASKS = "classification", "regression"

MOST_CLASSES = 100
"""More are refused."""

FEW_INTEGERS = 20
"""Up to so many different integers are classes ..."""

ROWS_PER_INTEGER = 5
"""... if each stands in so many rows, on average."""


@dataclass(frozen=True)
class Classes:
    """
    One probability for each class; for two classes, the probability of the second.

    Attributes
    ----------
    name : str
        Of the target's column.
    labels : tuple of str, or tuple of float
        The classes, sorted; numbers where the column held numbers.
    """

    task: ClassVar[str] = TASKS[0]
    name: str
    labels: tuple[str, ...] | tuple[float, ...]

    @property
    def n_outputs(self) -> int:
        """Outputs of the net."""
        return 1 if len(self.labels) == 2 else len(self.labels)

    @property
    def output_activation(self) -> str:
        """Of the net."""
        return "sigmoid" if self.n_outputs == 1 else "softmax"

    @property
    def loss(self) -> str:
        """Of the net."""
        return "binary_cross_entropy" if self.n_outputs == 1 else "cross_entropy"

    @property
    def spelled(self) -> list[str | int | float]:
        """The classes as a table has them: 1, and not 1.0."""
        return [
            int(label) if isinstance(label, float) and label.is_integer() else label
            for label in self.labels
        ]

    def encode(self, column: pd.Series) -> npt.NDArray[np.float64]:
        """The number of each row's class, (n_rows,)."""
        if isinstance(self.labels[0], str):
            places = {label: float(i) for i, label in enumerate(self.labels)}
            return np.array([places[text] for text in _texts(column)])
        return np.searchsorted(self.labels, values.numbers(column)).astype(np.float64)

    def decode(self, outputs: Array) -> npt.NDArray[Any]:
        """The likeliest class of each row, as the table had it."""
        spelled: npt.NDArray[Any] = np.array(self.spelled)
        return np.asarray(spelled[self.probabilities(outputs).argmax(axis=1)])

    def probabilities(self, outputs: Array) -> Array:
        """(n_rows, n_classes)."""
        return np.hstack([1 - outputs, outputs]) if self.n_outputs == 1 else outputs

    def describe(self) -> str:
        """One line for a person."""
        shown = ", ".join(map(str, self.spelled[:8]))
        return f"{len(self.labels)} classes: {shown}{', ...' if len(self.labels) > 8 else ''}"


@dataclass(frozen=True)
class Quantity:
    """
    (y - mean) / spread, so that rates and initial weights suit any unit.

    Attributes
    ----------
    name : str
        Of the target's column.
    mean, spread : float
        Mean and standard deviation, in the column's units.
    """

    task: ClassVar[str] = TASKS[1]
    n_outputs: ClassVar[int] = 1
    output_activation: ClassVar[str] = "identity"
    loss: ClassVar[str] = "half_squared_error"
    name: str
    mean: float
    spread: float

    @classmethod
    def learn(cls, column: pd.Series, rows: npt.NDArray[np.intp]) -> Quantity:
        """From some rows of a column without missing values."""
        y = values.numbers(column)[rows]
        # A division first: squares of large numbers overflow.
        largest = np.abs(y).max() or 1.0
        mean, spread = (y / largest).mean() * largest, (y / largest).std() * largest
        return cls(str(column.name), float(mean), float(spread) or 1.0)

    def encode(self, column: pd.Series) -> npt.NDArray[np.float64]:
        """Standardised, (n_rows,)."""
        return (values.numbers(column) - self.mean) / self.spread

    def decode(self, outputs: Array) -> npt.NDArray[np.float64]:
        """
        In the column's units, (n_rows,) float64.

        float32 has 7 digits, which a large mean would leave nothing of: around 1.7e9 its numbers
        stand 128 apart.
        """
        return outputs[:, 0].astype(np.float64) * self.spread + self.mean

    def describe(self) -> str:
        """One line for a person."""
        return f"mean {self.mean:.6g}, standard deviation {self.spread:.6g}"


Target: TypeAlias = Classes | Quantity


def classes(column: pd.Series, task: str | None) -> Classes | None:
    """
    The classes of a target, None if it is a quantity.

    If no task is given, text, booleans and few different integers are classes.

    Parameters
    ----------
    column : Series
        Without missing values.
    task : {None, "classification", "regression"}

    Raises
    ------
    RefusedError
        For dates, for text as a quantity, for too many classes, for one value alone.
    """
    kind = values.kind(column)
    name = str(column.name)
    if kind == "date":
        raise RefusedError(f"target {name!r} holds dates: make numbers of them, such as days")
    if kind == "text" and task == Quantity.task:
        raise RefusedError(f"target {name!r} holds text, which regression cannot learn")
    if kind == "text":
        return _classes(name, tuple(sorted(set(_texts(column)))), len(column))
    y = values.numbers(column)
    different = np.unique(y)
    if task is None:
        few = max(2, min(FEW_INTEGERS, len(y) // ROWS_PER_INTEGER))
        whole = bool((different == np.floor(different)).all())
        task = Classes.task if whole and len(different) <= few else Quantity.task
    if task == Quantity.task and len(different) > 1:
        return None
    return _classes(name, tuple(different.tolist()), len(y))


def _classes(name: str, labels: tuple[str, ...] | tuple[float, ...], n_rows: int) -> Classes:
    if len(labels) == 1:
        raise RefusedError(
            f"target {name!r} has one value alone, {labels[0]!r}: nothing can be learned"
        )
    if len(labels) > MOST_CLASSES:
        raise RefusedError(
            f"target {name!r} has {len(labels)} different values in {n_rows} rows: "
            f"at most {MOST_CLASSES} classes can be learned"
        )
    return Classes(name, labels)


def _texts(column: pd.Series) -> list[str]:
    """The classes as the table spells them; `values.texts` would change the case of booleans."""
    return [str(value).strip() for value in column.astype(object)]


def to_json(target: Target) -> dict[str, Any]:
    """What `from_json` reads."""
    return {"task": target.task, **asdict(target)}


def from_json(item: dict[str, Any]) -> Target:
    """
    A target from a model file.

    Raises
    ------
    KeyError, TypeError, ValueError
        If this is not what `to_json` wrote.
    """
    if item["task"] == Quantity.task:
        return Quantity(str(item["name"]), float(item["mean"]), float(item["spread"]))
    labels = item["labels"]
    if not (isinstance(labels, list) and len(labels) > 1):
        raise ValueError("labels must be a list of two or more")
    if all(isinstance(label, str) for label in labels):
        return Classes(str(item["name"]), tuple(labels))
    return Classes(str(item["name"]), tuple(map(float, labels)))
