"""
Encode the columns of a table as inputs of a net: numbers standardised, categories one-hot.

A column is fitted on the training rows only. The fitted values are stored in the model file, so
that later tables are encoded alike.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop import elementary
from jitprop.checks import BRIEF, printable
from jitprop.cli import values
from jitprop.cli.refused import RefusedError, typed
from jitprop.cli.tables import Say, listed, some
from jitprop.files import stored

if TYPE_CHECKING:
    import pandas as pd

Inputs: TypeAlias = "npt.NDArray[np.float64]"

MAX_SPREADS = 1000.0
"""Standardised numbers are clipped to plus or minus this, so that no later table can overflow."""

MAX_CATEGORIES = 100
"""The most categories of a column that get an input; the rarest others are encoded as zeros."""

FEW = 20
"""A column of at most this many different texts is categorical, however short the table is."""


@dataclass(frozen=True)
class NumberColumn:
    """
    A numeric column: the input is (x - mean) / spread.

    A missing x is replaced by the median, and a second input is 1 for it.

    Attributes
    ----------
    name : str
    median : float
        The median of the values that are not missing.
    mean, spread : float
        Mean and standard deviation, with missing values replaced by the median. spread is 1 for a
        constant column.
    missing : bool
        Whether training had missing values. Only then does the column have the second input.
    """

    kind: ClassVar[str] = "number"
    categorical: ClassVar[bool] = False
    name: str
    median: float
    mean: float
    spread: float
    missing: bool

    @property
    def n_inputs(self) -> int:
        """The number of inputs: 1, or 2 with missing values."""
        return 1 + self.missing

    @classmethod
    def learn(cls, column: pd.Series, rows: npt.NDArray[np.intp], say: Say) -> NumberColumn | None:
        """Fit some rows of a column; None if nothing can be learned from them."""
        x = values.numbers(column)[rows]
        absent = np.isnan(x)
        present = x[~absent]
        if len(present) == 0:
            say(f"column {column.name!r} is left out: it has no values")
            return None
        constant = present.min() == present.max()
        if constant and not absent.any():
            say(f"column {column.name!r} is left out: all its values are {present[0]:g}")
            return None
        # The division prevents an overflow when large numbers are squared.
        largest = float(np.abs(present).max()) or 1.0
        scaled = present / largest
        median = float(np.median(scaled))
        scaled = np.where(absent, median, x / largest)
        mean = elementary.mean(scaled) * largest
        spread = max(elementary.deviation(scaled) * largest, float(np.finfo(float).tiny))
        spread = 1.0 if constant else spread
        return cls(str(column.name), median * largest, mean, spread, bool(absent.any()))

    def transform(self, column: pd.Series, say: Say) -> Inputs:
        """Return the inputs of every row, (n_rows, n_inputs)."""
        x = values.numbers(column)
        absent = np.isnan(x)
        if absent.any() and not self.missing:
            say(
                f"column {self.name!r} had no missing values in training: {absent.sum()} of its "
                f"{len(x)} values are missing and are replaced by the median, {self.median:g}"
            )
        with np.errstate(over="ignore"):
            z = (np.where(absent, self.median, x) - self.mean) / self.spread
        z = np.clip(z, -MAX_SPREADS, MAX_SPREADS)
        return np.column_stack([z, absent] if self.missing else [z])

    def plain(self, column: pd.Series) -> Inputs:
        """Return the numbers as they are, (n_rows, 1), with nan for a missing one."""
        return values.numbers(column)[:, np.newaxis]

    def describe(self) -> str:
        """Describe the column in one line."""
        tail = ", may be missing" if self.missing else ""
        return f"mean {self.mean:.6g}, standard deviation {self.spread:.6g}{tail}"


@dataclass(frozen=True)
class TextColumn:
    """
    A categorical column: one input for each category, which is 1 in rows of that category.

    A text that was not in training has zeros in all of them.

    Attributes
    ----------
    name : str
    categories : tuple of str
        The categories, sorted; booleans are "false" and "true".
    missing : bool
        Whether training had missing values. "Missing" is then one more category, the last.
    """

    kind: ClassVar[str] = "text"
    categorical: ClassVar[bool] = True
    name: str
    categories: tuple[str, ...]
    missing: bool

    @property
    def n_inputs(self) -> int:
        """The number of inputs."""
        return len(self.categories) + self.missing

    @classmethod
    def learn(
        cls, column: pd.Series, rows: npt.NDArray[np.intp], say: Say, keep: bool = False
    ) -> TextColumn | None:
        """Fit some rows of a column; None if nothing can be learned from them, as from ids."""
        texts = values.texts(column)[rows]
        absent = values.absent(texts)
        # dtype object, since NumPy's texts lose zero characters at their end.
        categories, counts = np.unique(texts[~absent].astype(object), return_counts=True)
        left_out = f"column {column.name!r} is left out: "
        if len(categories) == 0:
            say(left_out + "it has no values")
            return None
        if len(categories) == 1 and not absent.any():
            say(left_out + f"all its values are {str(categories[0])!r}")
            return None
        if len(categories) > max(FEW, counts.sum() // 2) and not keep:
            say(
                left_out + f"it has {len(categories)} different texts in {counts.sum()} rows, such "
                f"as {str(categories[0])!r}, so it looks like names or ids; "
                f"{typed('--keep', column.name)} keeps it"
            )
            return None
        if len(categories) > MAX_CATEGORIES:
            say(
                f"column {column.name!r} has {len(categories)} different texts: only the "
                f"{MAX_CATEGORIES} most frequent get an input"
            )
            commonest = np.argsort(-counts, kind="stable")[:MAX_CATEGORIES]
            categories = np.sort(categories[commonest])
        return cls(str(column.name), tuple(map(str, categories)), bool(absent.any()))

    def transform(self, column: pd.Series, say: Say) -> Inputs:
        """Return the inputs of every row, (n_rows, n_inputs)."""
        texts = values.texts(column)
        found = self._numbered(texts)
        unknown = found < 0
        if unknown.any():
            example = texts[unknown][0]
            say(
                f"column {self.name!r}: {unknown.sum()} of its {len(texts)} values have no input, "
                f"such as {'a missing value' if example is None else repr(example)}"
            )
        inputs = np.zeros((len(texts), self.n_inputs))
        inputs[~unknown, found[~unknown]] = 1.0
        return inputs

    def plain(self, column: pd.Series) -> Inputs:
        """Return the number of each category, (n_rows, 1), with nan for one that has no input."""
        found = self._numbered(values.texts(column)).astype(np.float64)
        return np.where(found < 0, np.nan, found)[:, np.newaxis]

    def _numbered(self, texts: npt.NDArray[np.object_]) -> npt.NDArray[np.intp]:
        """Return the input that is 1 for each text; -1 for none."""
        input_of: dict[str | None, int] = {text: i for i, text in enumerate(self.categories)}
        if self.missing:
            input_of[None] = len(self.categories)
        return np.fromiter((input_of.get(text, -1) for text in texts), np.intp, len(texts))

    def describe(self) -> str:
        """Describe the column in one line."""
        some = [printable(category, BRIEF) for category in self.categories[:8]]
        shown = ", ".join(some) + (", ..." if len(self.categories) > 8 else "")
        tail = ", may be missing" if self.missing else ""
        return f"{len(self.categories)} categories: {shown}{tail}"


Column: TypeAlias = NumberColumn | TextColumn


def learn(
    frame: pd.DataFrame,
    rows: npt.NDArray[np.intp],
    say: Say,
    ids: Collection[str] = (),
    keep: Collection[str] = (),
) -> tuple[Column, ...]:
    """
    Fit all columns of a table from which something can be learned.

    Parameters
    ----------
    frame : DataFrame
    rows : (n,) array of int
        The training rows.
    say : callable
        Called with a sentence for each column that is left out.
    ids : names of columns
        Numeric columns that are ids. They are left out, unless the table has no other column.
    keep : names of columns
        Text columns to keep, however many different texts they have.

    Raises
    ------
    RefusedError
        If a column has values of another type, or no column is left.
    """
    columns: list[Column] = []
    for name in frame.columns:
        if name in ids:
            continue
        kind = values.kind(frame[name])
        if kind == "date" and name in keep:
            raise RefusedError(
                f"{typed('--keep', name)}: this column holds dates or times, which can be learned "
                f"from only as categories: say {typed('--text', name)}"
            )
        if kind == "date":
            say(
                f"column {name!r} is left out: it holds dates or times; add a column for what "
                "matters in them, such as the year or the weekday"
            )
            continue
        learned: Column | None
        if kind == "number":
            learned = NumberColumn.learn(frame[name], rows, say)
        else:
            learned = TextColumn.learn(frame[name], rows, say, keep=name in keep)
        if learned is not None:
            columns.append(learned)
    only_ids = not columns
    for name in (name for name in frame.columns if name in ids):
        if only_ids:
            say(f"column {name!r} looks like ids, but the table has no other column to learn from")
            learned = NumberColumn.learn(frame[name], rows, say)
            columns += [] if learned is None else [learned]
        else:
            say(
                f"column {name!r} is left out: each row has a different integer, so it looks like "
                f"ids; {typed('--keep', name)} keeps it"
            )
    if not columns:
        raise RefusedError("no column is left to learn from except the target")
    return tuple(columns)


def transform(columns: tuple[Column, ...], frame: pd.DataFrame, say: Say) -> Inputs:
    """
    Return the net's inputs, (n_rows, n_inputs), for a table.

    The table's columns are found by name and may be in any order.

    Raises
    ------
    RefusedError
        If a column is missing or holds values of another kind.
    """
    absent = [column.name for column in columns if column.name not in frame.columns]
    if absent:
        raise RefusedError(missing(absent, frame))
    return np.hstack([column.transform(frame[column.name], say) for column in columns])


def missing(absent: Sequence[str], frame: pd.DataFrame) -> str:
    """Say which columns of training a table lacks."""
    return f"columns are missing: {some(absent)}; {listed(frame)}"


def to_json(columns: tuple[Column, ...]) -> list[dict[str, Any]]:
    """Return the columns as plain values for the model file."""
    return [{"kind": column.kind, **asdict(column)} for column in columns]


def from_json(items: list[dict[str, Any]]) -> tuple[Column, ...]:
    """
    Restore columns from a model file.

    Raises
    ------
    KeyError, TypeError, ValueError
        If `to_json` did not write this.
    """
    columns = tuple(_column(item) for item in items)
    if len({column.name for column in columns}) < len(columns):
        raise ValueError("two columns have the same name")
    return columns


def _column(item: dict[str, Any]) -> Column:
    kind: type[Column] = {"number": NumberColumn, "text": TextColumn}[item["kind"]]
    known = ["kind", *(field.name for field in fields(kind))]
    stored.names(item, known, "a column's settings")
    name, missing = stored.text(item, "name"), stored.flag(item, "missing")
    if kind is TextColumn:
        return TextColumn(name, stored.texts(item, "categories", differ=True), missing)
    median, mean = stored.number(item, "median"), stored.number(item, "mean")
    return NumberColumn(name, median, mean, stored.number(item, "spread", above=0.0), missing)
