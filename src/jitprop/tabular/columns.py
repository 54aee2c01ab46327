"""
From the columns of a table to the inputs of a net.

The columns are learned from the training rows alone. Each is encoded by its kind
(`jitprop.tabular.encoders`), and all features are scaled alike (`jitprop.tabular.encoders.scale`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from jitprop._types import Array
from jitprop.files import stored
from jitprop.tabular import ids
from jitprop.tabular.encoders import (
    CategoryEncoder,
    DateEncoder,
    Encoder,
    NumberEncoder,
    TextEncoder,
    scale,
)
from jitprop.tabular.encoders.categories import MOST, count
from jitprop.tabular.encoders.dates import are_dates
from jitprop.tabular.encoders.numbers import numbers
from jitprop.tabular.encoders.texts import are_many
from jitprop.tabular.table import Column, Table, quoted

KINDS = tuple(each.kind for each in (CategoryEncoder, DateEncoder, NumberEncoder, TextEncoder))

ROWS_AT_A_TIME = 1 << 14
"""Rows that are encoded at once, so that the features in float64 take little memory."""


class Columns:
    """
    The columns of a table as inputs of a net, as `learn` makes them.

    Attributes
    ----------
    encoders : tuple of encoders
        One for each column that is used.
    left_out : dict of str to str
        The columns that are not used, and why.
    """

    def __init__(
        self,
        encoders: tuple[Encoder, ...],
        medians: Array,
        factors: Array,
        missing: tuple[bool, ...],
        left_out: dict[str, str],
    ) -> None:
        self.encoders = encoders
        self.medians, self.factors, self.missing = medians, factors, missing
        self.left_out = left_out

    @property
    def n_inputs(self) -> int:
        """The number of inputs."""
        return len(self.medians) + sum(self.missing)

    @property
    def input_names(self) -> list[str]:
        """The name of each input."""
        return [name for names in self._names() for name in names]

    @property
    def blocks(self) -> dict[str, slice]:
        """The inputs of each column that is used."""
        blocks, at = {}, 0
        for encoder, names in zip(self.encoders, self._names(), strict=True):
            blocks[encoder.name] = slice(at, at + len(names))
            at += len(names)
        return blocks

    def _names(self) -> list[list[str]]:
        return [
            [*encoder.features, *[f"{encoder.name} is missing"] * missing]
            for encoder, missing in zip(self.encoders, self.missing, strict=True)
        ]

    def transform(self, table: Table) -> Array:
        """
        Return the inputs of all rows.

        Columns are found by name: their order does not matter, and other columns are ignored. A
        category that was not seen in training has the features of a missing one.

        Parameters
        ----------
        table : Table

        Returns
        -------
        (n_rows, n_inputs) float32 array

        Raises
        ------
        ValueError
            If a column is missing, or holds values of another kind or infinite numbers. The
            message names it.
        """
        absent = [each.name for each in self.encoders if each.name not in table]
        if absent:
            raise ValueError(
                f"column {quoted(absent[0])} is missing"
                + (f", and {len(absent) - 1} more" if absent[1:] else "")
                + ": the table must have all columns of training"
            )
        for each in self.encoders:
            if isinstance(each, NumberEncoder):
                numbers(table[each.name])  # its error names the row, so it sees all of them
        inputs = np.empty((table.n_rows, self.n_inputs), np.float32)
        for first in range(0, table.n_rows, ROWS_AT_A_TIME):
            rows = slice(first, first + ROWS_AT_A_TIME)
            self._transform(table.rows(rows), inputs[rows])
        return inputs

    def _transform(self, table: Table, inputs: Array) -> None:
        at = feature = 0
        for encoder, missing in zip(self.encoders, self.missing, strict=True):
            column, n = table[encoder.name], len(encoder.features)
            of = slice(feature, feature + n)
            medians, factors = self.medians[of], self.factors[of]
            if isinstance(encoder, CategoryEncoder):
                few = scale.scaled(encoder.rows, medians, factors).astype(np.float32)
                inputs[:, at : at + n] = few[encoder.codes(column)]
            else:
                x = encoder.of(column)
                inputs[:, at : at + n] = scale.scaled(x, medians, factors)
                if missing:
                    inputs[:, at + n] = np.isnan(x[:, -1])
            at, feature = at + n + missing, feature + n

    def to_file(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what was learned: values that JSON can hold, and arrays of float32 and float64."""
        items, arrays = [], {"medians": self.medians, "factors": self.factors}
        for i, (encoder, missing) in enumerate(zip(self.encoders, self.missing, strict=True)):
            item = {"name": encoder.name, "kind": encoder.kind, "missing": missing}
            items.append({**item, **encoder.to_file()})
            if isinstance(encoder, TextEncoder):
                arrays |= {f"{name}.{i}": array for name, array in encoder.arrays().items()}
        return {"columns": items, "left_out": self.left_out}, arrays

    @staticmethod
    def layout(content: Mapping[str, Any]) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """
        Return the dtype and shape of each array of a file.

        Raises
        ------
        KeyError, TypeError, ValueError
            If `to_file` did not write ``content``.
        """
        n = 0
        layout: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        for i, item in enumerate(_items(content)):
            if item["kind"] == TextEncoder.kind:
                own = TextEncoder.layout(item)
                layout |= {f"{name}.{i}": shape for name, shape in own.items()}
                n += len(CategoryEncoder.from_file(item["name"], item).features)
                n += item["components"]
            else:
                n += len(_restored(item, i, {}).features)
        float64 = np.dtype(np.float64)
        return {"medians": (float64, (n,)), "factors": (float64, (n,)), **layout}

    @classmethod
    def from_file(cls, content: Mapping[str, Any], arrays: Mapping[str, Array]) -> Columns:
        """
        Restore columns.

        Parameters
        ----------
        content : mapping
            The first that `to_file` returned.
        arrays : mapping of str to arrays
            The second, with the dtypes and shapes of `layout`.

        Raises
        ------
        KeyError, TypeError, ValueError
            If `to_file` did not write this.
        """
        stored.names(content, ("columns", "left_out"), "the columns")
        encoders = [_restored(item, i, arrays) for i, item in enumerate(_items(content))]
        names = [encoder.name for encoder in encoders]
        if len({*names}) < len(names):
            raise ValueError("two columns have the same name")
        missing = tuple(stored.flag(item, "missing") for item in content["columns"])
        if any(
            isinstance(each, CategoryEncoder) and own
            for each, own in zip(encoders, missing, strict=True)
        ):
            raise ValueError("a column of categories has no input for what is missing")
        medians, factors = (stored.finite(name, arrays[name]) for name in ("medians", "factors"))
        if max(np.abs(medians).max(), factors.max()) > scale.LARGEST or factors.min() < 0:
            raise ValueError("medians and factors must be those of a scale")
        return cls(tuple(encoders), medians, factors, missing, stored.mapping(content, "left_out"))


def _items(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the settings of each column of a file."""
    items = content["columns"]
    if not isinstance(items, list) or not items or not all(isinstance(i, dict) for i in items):
        raise ValueError("columns must be a list of objects")
    for item in items:
        if not isinstance(item["name"], str):
            raise ValueError("a column's name must be text")
        stored.names({item["kind"]: 0}, KINDS, "a column's kind")
    return items


def _restored(item: Mapping[str, Any], i: int, arrays: Mapping[str, Array]) -> Encoder:
    """Restore the encoder of column i of a file."""
    name, kind = item["name"], item["kind"]
    if kind == TextEncoder.kind:
        own = {name: arrays[f"{name}.{i}"] for name in TextEncoder.layout(item)}
        return TextEncoder.from_file(name, item, own)
    if kind == DateEncoder.kind:
        return DateEncoder.from_file(name, item)
    if kind == CategoryEncoder.kind:
        return CategoryEncoder.from_file(name, item)
    return NumberEncoder(name)


def learn(
    table: Table,
    rows: Any = None,
    notes: list[str] | None = None,
    *,
    keep: Collection[str] = (),
    texts: bool = True,
) -> Columns:
    """
    Learn how to encode the columns of a table.

    Parameters
    ----------
    table : Table
    rows : array of int, optional
        The training rows, from which everything is learned; default all.
    notes : list, optional
        A sentence is appended for each column that is left out, or used although it looks like ids.
    keep : names of columns
        Columns to use although they look like ids.
    texts : bool, default True
        Whether texts, and categories of which there are more than 100, are encoded by their parts,
        which needs scikit-learn. If not, the 100 most frequent get an input.

    Returns
    -------
    Columns

    Raises
    ------
    ValueError
        For infinite numbers, and if there is no column to learn from.
    ImportError
        For a column of texts, if scikit-learn is not installed.

    Examples
    --------
    >>> from jitprop.tabular.columns import learn
    >>> from jitprop.tabular.table import table_of
    >>> table = table_of({"size": [1.5, None, 3, 2], "colour": ["red", "blue", None, "green"]})
    >>> columns = learn(table)
    >>> columns.input_names
    ['size', 'size is missing', 'colour=blue', 'colour=green', 'colour=red']
    >>> columns.transform(table).shape
    (4, 5)
    """
    training = table if rows is None else table.rows(rows)
    left_out = {column.name: _nothing(column) for column in training}
    # All rows are looked at: some of them, drawn at random, have gaps where ids have none.
    identify = {
        column.name: ids.reason(column)
        for column in table
        if not left_out[column.name] and column.name not in keep
    }
    if all(left_out[name] or identify.get(name) for name in table.names):
        if notes is not None:
            notes += [
                f"column {quoted(name)} looks like ids, but the table has no other column to learn "
                "from"
                for name, why in identify.items()
                if why
            ]
        identify = {}
    left_out |= {name: f"{why}, so it looks like ids" for name, why in identify.items() if why}
    left_out = {name: why for name, why in left_out.items() if why}
    used = [column for column in training if column.name not in left_out]
    if not used:
        raise ValueError(f"the table has no column to learn from{_reasons(left_out)}")
    if notes is not None:
        notes += [f"column {quoted(name)} is left out: {why}" for name, why in left_out.items()]
    encoders = [_encoder(column, texts, notes) for column in used]
    scales = [each.scale(column) for each, column in zip(encoders, used, strict=True)]
    medians, factors = (np.concatenate(each) for each in zip(*scales, strict=True))
    missing = tuple(
        not isinstance(each, CategoryEncoder) and bool(column.missing.any())
        for each, column in zip(encoders, used, strict=True)
    )
    return Columns(tuple(encoders), medians, factors, missing, left_out)


def _encoder(column: Column, texts: bool, notes: list[str] | None) -> Encoder:
    """Learn one column of the training rows."""
    if column.kind == "number":
        return NumberEncoder(column.name)
    if column.kind == "date":
        return DateEncoder.learn(column)
    if column.kind == "boolean":
        return CategoryEncoder.learn(column)
    if column.kind == "text" and are_dates(column):
        if notes is not None:
            notes.append(f"column {quoted(column.name)} holds dates as texts, and is read as dates")
        return DateEncoder.learn(column)
    different, counts = count(column.values)
    if are_many(different, counts):
        if texts:
            return TextEncoder.learn(column)
        if notes is not None and len(different) > MOST:
            notes.append(
                f"column {quoted(column.name)} has {len(different)} different texts: only the "
                f"{MOST} most frequent get an input"
            )
    return CategoryEncoder.learn(column)


def _nothing(column: Column) -> str:
    """Return why nothing can be learned from a column; empty if something can be."""
    gaps = column.missing
    if gaps.all():
        return "it has no values"
    if gaps.any():
        return ""
    first = column.values[0]
    if column.kind == "number":
        numbers(column)
    if (column.values == first).all():
        return f"all its values are {_value(column, first)}"
    return ""


def _value(column: Column, value: Any) -> str:
    if column.kind == "boolean":
        return "true" if value else "false"
    return f"{value:g}" if column.kind == "number" else quoted(str(value))


def _reasons(left_out: Mapping[str, str]) -> str:
    """Say of the first columns why they are left out."""
    told = [f"of {quoted(name)} {why}" for name, why in list(left_out.items())[:3]]
    return f": {'; '.join(told)}" if told else ""
