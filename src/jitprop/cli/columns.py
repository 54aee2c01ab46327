"""
Columns of a table as inputs of a net: numbers standardised, categories one-hot.

A column learns what it needs from the training part of a table alone, is a few plain values that
travel in the model file, and makes the same inputs of any later table.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop.cli import stored, values
from jitprop.cli.refused import RefusedError
from jitprop.cli.tables import Say, listed, some

if TYPE_CHECKING:
    import pandas as pd

Inputs: TypeAlias = "npt.NDArray[np.float64]"

MOST_SPREADS = 1000.0
"""Standardised numbers end here, at either side: no value of a later table can overflow."""

MOST_CATEGORIES = 100
"""Categories of a column that get an input; the others, the rarest, have zeros."""

FEW = 20
"""Up to so many different texts are categories, however short the table."""


@dataclass(frozen=True)
class NumberColumn:
    """
    (x - mean) / spread; a missing x is the median, and has a 1 in an input of its own.

    Attributes
    ----------
    name : str
    median : float
        Of the values present.
    mean, spread : float
        Mean and standard deviation, with missing values at the median. spread is 1 for a constant.
    missing : bool
        Whether any value was missing in training: only then there is the input that says so.
    """

    kind: ClassVar[str] = "number"
    name: str
    median: float
    mean: float
    spread: float
    missing: bool

    @property
    def n_inputs(self) -> int:
        """One, or two."""
        return 1 + self.missing

    @classmethod
    def learn(cls, column: pd.Series, rows: npt.NDArray[np.intp], say: Say) -> NumberColumn | None:
        """From some rows of a column; None where they have nothing to say."""
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
        # A division first: squares of large numbers overflow.
        largest = float(np.abs(present).max()) or 1.0
        scaled = present / largest
        median = float(np.median(scaled))
        scaled = np.where(absent, median, x / largest)
        spread = 1.0 if constant else max(float(scaled.std() * largest), np.finfo(float).tiny)
        mean = float(scaled.mean() * largest)
        return cls(str(column.name), median * largest, mean, spread, bool(absent.any()))

    def transform(self, column: pd.Series, say: Say) -> Inputs:
        """Inputs of every row, (n_rows, n_inputs)."""
        x = values.numbers(column)
        absent = np.isnan(x)
        if absent.any() and not self.missing:
            say(
                f"column {self.name!r} had no missing values in training: "
                f"{absent.sum()} of its {len(x)} are taken to be its median, {self.median:g}"
            )
        with np.errstate(over="ignore"):
            z = (np.where(absent, self.median, x) - self.mean) / self.spread
        z = np.clip(z, -MOST_SPREADS, MOST_SPREADS)
        return np.column_stack([z, absent] if self.missing else [z])

    def describe(self) -> str:
        """One line for a person."""
        tail = ", may be missing" if self.missing else ""
        return f"mean {self.mean:.6g}, standard deviation {self.spread:.6g}{tail}"


@dataclass(frozen=True)
class TextColumn:
    """
    One input for each category, 1 for the row's own; another text has zeros in all of them.

    Attributes
    ----------
    name : str
    categories : tuple of str
        Sorted; booleans are "false" and "true".
    missing : bool
        Whether any value was missing in training: then that is a category too, the last.
    """

    kind: ClassVar[str] = "text"
    name: str
    categories: tuple[str, ...]
    missing: bool

    @property
    def n_inputs(self) -> int:
        """The number of categories."""
        return len(self.categories) + self.missing

    @classmethod
    def learn(
        cls, column: pd.Series, rows: npt.NDArray[np.intp], say: Say, keep: bool = False
    ) -> TextColumn | None:
        """From some rows of a column; None where they have nothing to say, or are ids."""
        texts = values.texts(column)[rows]
        absent = values.absent(texts)
        # As objects: a text of NumPy ends before its last zero characters.
        categories, counts = np.unique(texts[~absent].astype(object), return_counts=True)
        said = f"column {column.name!r} is left out: "
        if len(categories) == 0:
            say(said + "it has no values")
            return None
        if len(categories) == 1 and not absent.any():
            say(said + f"all its values are {str(categories[0])!r}")
            return None
        if len(categories) > max(FEW, counts.sum() // 2) and not keep:
            say(
                said + f"it has {len(categories)} different texts in {counts.sum()} rows, such as "
                f"{str(categories[0])!r}, as names and ids have; --keep {column.name} keeps it"
            )
            return None
        if len(categories) > MOST_CATEGORIES:
            say(
                f"column {column.name!r} has {len(categories)} different texts: the commonest "
                f"{MOST_CATEGORIES} have inputs of their own"
            )
            commonest = np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]
            categories = np.sort(categories[commonest])
        return cls(str(column.name), tuple(map(str, categories)), bool(absent.any()))

    def transform(self, column: pd.Series, say: Say) -> Inputs:
        """Inputs of every row, (n_rows, n_inputs)."""
        places: dict[str | None, int] = {text: i for i, text in enumerate(self.categories)}
        if self.missing:
            places[None] = len(self.categories)
        texts = values.texts(column)
        found = np.fromiter((places.get(text, -1) for text in texts), np.intp, len(texts))
        unknown = found < 0
        if unknown.any():
            example = texts[unknown][0]
            say(
                f"column {self.name!r}: {unknown.sum()} of its {len(texts)} values have no input "
                f"of their own, such as {'a missing one' if example is None else repr(example)}"
            )
        inputs = np.zeros((len(texts), self.n_inputs))
        inputs[~unknown, found[~unknown]] = 1.0
        return inputs

    def describe(self) -> str:
        """One line for a person."""
        shown = ", ".join(self.categories[:8]) + (", ..." if len(self.categories) > 8 else "")
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
    All columns of a table that say something in the rows given.

    Parameters
    ----------
    frame : DataFrame
    rows : (n,) array of int
        Those that train.
    say : function of a sentence
        Is told what is left out, and why.
    ids : names of columns
        Numbers that name rows: left out, unless nothing else is left.
    keep : names of columns
        Texts to be learned from, however many there are.

    Raises
    ------
    RefusedError
        For a column of neither numbers nor categories, and if none is left.
    """
    columns: list[Column] = []
    for name in frame.columns:
        if name in ids:
            continue
        kind = values.kind(frame[name])
        if kind == "date" and name in keep:
            raise RefusedError(
                f"--keep {name}: it holds dates or times, which are learned from as categories "
                f"alone: --text {name}"
            )
        if kind == "date":
            say(
                f"column {name!r} is left out: it holds dates or times; what of them matters, "
                "such as the year or the weekday, must be columns of its own"
            )
            continue
        learned: Column | None
        if kind == "number":
            learned = NumberColumn.learn(frame[name], rows, say)
        else:
            learned = TextColumn.learn(frame[name], rows, say, keep=name in keep)
        if learned is not None:
            columns.append(learned)
    alone = not columns
    for name in (name for name in frame.columns if name in ids):
        if alone:
            say(f"column {name!r} counts rows, as ids do, but is all there is to learn from")
            learned = NumberColumn.learn(frame[name], rows, say)
            columns += [] if learned is None else [learned]
        else:
            say(
                f"column {name!r} is left out: each row has a whole number of its own, as ids "
                f"have; --keep {name} keeps it"
            )
    if not columns:
        raise RefusedError("no column is left to learn from, beside the target")
    return tuple(columns)


def transform(columns: tuple[Column, ...], frame: pd.DataFrame, say: Say) -> Inputs:
    """
    The net's inputs, (n_rows, n_inputs), of a table that has the columns by name, in any order.

    Raises
    ------
    RefusedError
        For columns that are missing or of another kind.
    """
    absent = [column.name for column in columns if column.name not in frame.columns]
    if absent:
        raise RefusedError(f"columns are missing: {some(absent)}; {listed(frame)}")
    return np.hstack([column.transform(frame[column.name], say) for column in columns])


def to_json(columns: tuple[Column, ...]) -> list[dict[str, Any]]:
    """What `from_json` reads."""
    return [{"kind": column.kind, **asdict(column)} for column in columns]


def from_json(items: list[dict[str, Any]]) -> tuple[Column, ...]:
    """
    Columns from a model file.

    Raises
    ------
    KeyError, TypeError, ValueError
        If this is not what `to_json` wrote.
    """
    columns = tuple(_column(item) for item in items)
    if len({column.name for column in columns}) < len(columns):
        raise ValueError("two columns have one name")
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
