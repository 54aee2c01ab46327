"""
From the data frames of the command line to the tables of `jitprop.tabular`.

The kinds of the columns are known: `column_types` found them out when it read the file.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jitprop.checks import BRIEF, printable
from jitprop.cli import values
from jitprop.tabular import table
from jitprop.tabular.columns import Columns
from jitprop.tabular.encoders import CategoryEncoder, DateEncoder, Encoder, TextEncoder
from jitprop.tabular.table import Column, Table

if TYPE_CHECKING:
    import pandas as pd

BOOLEANS = {"false", "true"}


def of_training(frame: pd.DataFrame, categories: Collection[str]) -> Table:
    """
    Return the table of a frame to learn from.

    Parameters
    ----------
    frame : DataFrame
    categories : names of columns
        Columns of text that are categories, whatever the texts look like.
    """
    return Table([_training(frame[name], name in categories) for name in frame.columns])


def _training(column: pd.Series, category: bool) -> Column:
    made = _column(column)
    if category or made.kind != "text":
        return Column(made.name, "category", made.values) if category else made
    return _booleans(made) if _are_booleans(made) else made


def of_later(frame: pd.DataFrame, encoders: Collection[Encoder]) -> Table:
    """Return the table of a frame whose columns were read as those that these encoders know."""
    found = []
    for encoder in encoders:
        if encoder.name not in frame.columns:
            continue  # `Columns.transform` raises the error
        made = _column(frame[encoder.name])
        boolean = isinstance(encoder, CategoryEncoder) and encoder.boolean
        found.append(_booleans(made) if boolean and _are_booleans(made) else made)
    return Table(found)


def _column(column: pd.Series) -> Column:
    """Return a column of numbers, dates or texts."""
    name, kind = str(column.name), values.kind(column)
    if kind == "number":
        return Column(name, "number", values.numbers(column))
    if kind == "text":
        return Column(name, "text", values.texts(column, lower=False))
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert(None)
    typed = column.dtype.kind in "mM"
    return table.table_of({name: column.to_numpy() if typed else column.tolist()})[name]


def _are_booleans(column: Column) -> bool:
    """Return whether all texts of a column are "true" or "false", in any case."""
    different = {*column.values} - {None} if column.kind == "text" else {None}
    return bool(different) and {str(text).lower() for text in different} <= BOOLEANS


def _booleans(column: Column) -> Column:
    numbers = {"false": 0.0, "true": 1.0}
    made = np.array([numbers.get(str(text).lower(), np.nan) for text in column.values])
    return Column(column.name, "boolean", made)


@dataclass(frozen=True, eq=False)
class TableColumn:
    """
    One column that a net for tables learns from.

    Attributes
    ----------
    encoder : Encoder
    n_inputs : int
    median : float
        Of the first feature.
    """

    encoder: Encoder
    n_inputs: int
    median: float

    @property
    def name(self) -> str:
        """The column's name."""
        return self.encoder.name

    @property
    def kind(self) -> str:
        """What the column holds: "number", "category", "date" or "text"."""
        return self.encoder.kind

    @property
    def categorical(self) -> bool:
        """Whether `plain` returns the numbers of categories."""
        return isinstance(self.encoder, CategoryEncoder)

    def plain(self, column: pd.Series) -> npt.NDArray[np.float64]:
        """Return the features before scaling, (n_rows, n_features); of categories the number."""
        made = of_later(column.to_frame(), [self.encoder])[self.name]
        if not isinstance(self.encoder, CategoryEncoder):
            return np.asarray(self.encoder.of(made), np.float64)
        codes = self.encoder.codes(made).astype(np.float64)
        return np.where(codes < 0, np.nan, codes)[:, np.newaxis]

    def describe(self) -> str:
        """Describe the column in one line."""
        encoder = self.encoder
        if isinstance(encoder, DateEncoder):
            return ", ".join(encoder.parts)
        if isinstance(encoder, TextEncoder):
            return "texts, by their parts"
        if not isinstance(encoder, CategoryEncoder):
            tail = ", may be missing" if self.n_inputs > 1 else ""
            return f"median {self.median:.6g}{tail}"
        some = [printable(category, BRIEF) for category in encoder.categories[:8]]
        shown = ", ".join(some) + (", ..." if len(encoder.categories) > 8 else "")
        return f"{len(encoder.categories)} categories: {shown}"


def columns_of(learned: Columns) -> tuple[TableColumn, ...]:
    """Return the columns that were learned, in the order of their inputs."""
    made, first = [], 0
    for each in learned.encoders:
        block = learned.blocks[each.name]
        median = float(learned.medians[first]) if each.features else 0.0
        made.append(TableColumn(each, block.stop - block.start, median))
        first += len(each.features)
    return tuple(made)
