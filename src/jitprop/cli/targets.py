"""The column to be predicted: its task, what the net is taught of it, what its outputs mean."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop._types import Array
from jitprop.checks import shown
from jitprop.cli import stored, values
from jitprop.cli.refused import RefusedError

if TYPE_CHECKING:
    import pandas as pd

TASKS = "classification", "regression"

KINDS = "text", "integer", "number", "boolean"
"""What labels may be the spelling of."""

LARGEST = float(np.finfo(np.float64).max)

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
    labels : tuple of str
        The classes as the table spells them, sorted: 1.1 and 1.10 are two.
    kind : {"text", "integer", "number", "boolean"}
        What the labels are the spelling of, for files whose columns have types.
    """

    task: ClassVar[str] = TASKS[0]
    name: str
    labels: tuple[str, ...]
    kind: str = "text"

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

    def encode(self, spelled: pd.Series) -> npt.NDArray[np.float64]:
        """The number of each row's class, (n_rows,), from its label."""
        places = {label: float(i) for i, label in enumerate(self.labels)}
        return np.array([places[text] for text in spelled])

    def decode(self, outputs: Array) -> npt.NDArray[Any]:
        """The likeliest class of each row, as the table had it."""
        return np.asarray(self.values[self.probabilities(outputs).argmax(axis=1)])

    @property
    def values(self) -> npt.NDArray[Any]:
        """What the labels spell, (n_classes,); texts where no type of numbers holds all of it."""
        if self.kind == "boolean":
            return np.array([label == "True" for label in self.labels])
        if self.kind == "number":
            return np.array([float(label) for label in self.labels])
        if self.kind == "integer":
            whole = [int(label) for label in self.labels]
            for dtype in (np.int64, np.uint64):
                limits = np.iinfo(dtype)
                if limits.min <= min(whole) and max(whole) <= limits.max:
                    return np.array(whole, dtype)
        return np.array(self.labels, object)

    def probabilities(self, outputs: Array) -> npt.NDArray[np.float64]:
        """(n_rows, n_classes) float64."""
        outputs = outputs.astype(np.float64)
        return np.hstack([1 - outputs, outputs]) if self.n_outputs == 1 else outputs

    def describe(self) -> str:
        """One line for a person."""
        shown = ", ".join(self.labels[:8])
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
        y = values.numbers(column)
        with np.errstate(over="ignore"):
            z = (y - self.mean) / self.spread
        return z if np.isfinite(z).all() else y / self.spread - self.mean / self.spread

    def decode(self, outputs: Array) -> npt.NDArray[np.float64]:
        """
        In the column's units, (n_rows,) float64.

        float32 has 7 digits, which a large mean would leave nothing of: around 1.7e9 its numbers
        stand 128 apart. What would be beyond the largest number of float64 is that number.
        """
        with np.errstate(over="ignore"):
            y = outputs[:, 0].astype(np.float64) * self.spread + self.mean
        return np.clip(y, -LARGEST, LARGEST)

    def describe(self) -> str:
        """One line for a person."""
        return f"mean {self.mean:.6g}, standard deviation {self.spread:.6g}"


Target: TypeAlias = Classes | Quantity


def classes(
    column: pd.Series, task: str | None, spelled: pd.Series | None = None, kind: str = "text"
) -> Classes | None:
    """
    The classes of a target, None if it is a quantity.

    If no task is given, text, booleans and few different integers are classes.

    Parameters
    ----------
    column : Series
        Without missing values.
    task : {None, "classification", "regression"}
    spelled : Series of str, optional
        The same values as the table spells them; those of the column if None.
    kind : str
        What these spell, as `Classes` has it.

    Raises
    ------
    RefusedError
        For dates, for text as a quantity, for too many classes, for one value alone.
    """
    told = values.kind(column)
    name = str(column.name)
    if told == "date":
        raise RefusedError(f"target {name!r} holds dates: make numbers of them, such as days")
    if told == "text" and task == Quantity.task:
        raise RefusedError(
            f"target {name!r} holds text, which regression cannot learn; "
            f"if it holds numbers, say --number {name}"
        )
    labels = set(column.astype(object).map(str) if spelled is None else spelled)
    if told == "text":
        return _classes(name, sorted(labels), len(column), kind)
    y = values.numbers(column)
    different = np.unique(y)
    if task is None:
        few = max(2, min(FEW_INTEGERS, len(y) // ROWS_PER_INTEGER))
        whole = bool((different == np.floor(different)).all())
        task = Classes.task if whole and len(labels) <= few else Quantity.task
    if task == Quantity.task and len(different) == 1:
        labels = {min(labels)}  # two spellings of one number
    elif task == Quantity.task:
        return None
    by_value = dict(
        zip(column.astype(object).map(str) if spelled is None else spelled, y, strict=True)
    )
    return _classes(
        name, sorted(labels, key=lambda text: _order(text, by_value[text])), len(y), kind
    )


def _order(label: str, value: float) -> tuple[float, int, str]:
    """Numbers by size, those that float64 cannot tell apart too; then by their spelling."""
    return value, int(label) if label.removeprefix("-").isdecimal() else 0, label


def _classes(name: str, labels: list[str], n_rows: int, kind: str) -> Classes:
    if len(labels) == 1:
        raise RefusedError(
            f"target {name!r} has one value alone, {labels[0]!r}: nothing can be learned"
        )
    if len(labels) > MOST_CLASSES:
        raise RefusedError(
            f"target {name!r} has {len(labels)} different values in {n_rows} rows: "
            f"at most {MOST_CLASSES} classes can be learned"
        )
    return Classes(name, tuple(labels), kind)


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
        spread = stored.number(item, "spread", above=0.0)
        return Quantity(stored.text(item, "name"), stored.number(item, "mean"), spread)
    if item["task"] != Classes.task:
        raise ValueError(f"{shown(item['task'])} is no task")
    labels, name = item["labels"], stored.text(item, "name")
    if not (isinstance(labels, list) and len(labels) > 1):
        raise ValueError("labels must be a list of two or more")
    if not any(isinstance(label, str) for label in labels):
        numbers = [stored.number({"a label": label}, "a label") for label in labels]
        return _from_numbers(name, numbers)
    made = Classes(name, stored.texts(item, "labels", differ=True), str(item.get("kind", "text")))
    if made.kind not in KINDS:
        raise ValueError(f"{shown(made.kind)} is no kind of labels")
    made.values  # noqa: B018  a label that is no such number is a ValueError
    return made


def _from_numbers(name: str, labels: list[float]) -> Classes:
    """Classes as files before this had them: numbers, of which 1.0 was spelled 1."""
    whole = [label.is_integer() for label in labels]
    texts = [str(int(x)) if i else repr(x) for x, i in zip(labels, whole, strict=True)]
    return Classes(name, tuple(texts), "integer" if all(whole) else "number")
