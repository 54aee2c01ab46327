"""A column of dates or times: numbers that say when in the year, the week and the day."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jitprop._types import Array
from jitprop.checks import shown
from jitprop.files import stored
from jitprop.tabular.encoders import scale
from jitprop.tabular.encoders.numbers import changed
from jitprop.tabular.table import Column

HOUR, DAY = 3_600_000_000, 86_400_000_000
"""In microseconds."""

PARTS = ("year", "month", "day of week", "hour", "days")
"""All features that a date can have, in order."""

ISO = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)
"""Texts that are read as dates, such as 2024-02-29 and 2024-02-29T12:30:00Z."""


@dataclass(frozen=True)
class DateEncoder:
    """
    A date is up to five features.

    They are the year; the month, 1 to 12; the day of the week, 0 (Monday) to 6; the hour of the
    day with its fraction; and the days since the earliest date of training, with their fraction.
    A feature that is the same in all training rows is left out. Times are in UTC.

    Attributes
    ----------
    name : str
        The column's name.
    first : int
        The earliest date of training, in microseconds since 1970.
    parts : tuple of str
        The features, from `PARTS`.
    """

    kind: ClassVar[str] = "date"
    name: str
    first: int
    parts: tuple[str, ...]

    @classmethod
    def learn(cls, column: Column) -> DateEncoder:
        """Find the first date, and the features that vary."""
        dates = dates_of(column)
        present = dates[~np.isnat(dates)].view(np.int64)
        first = int(present.min())
        found = _features(present, first)
        varying = [part for part in PARTS[:-1] if found[part].min() < found[part].max()]
        return cls(column.name, first, (*varying, PARTS[-1]))

    @property
    def features(self) -> list[str]:
        """The names of the features."""
        return [f"{self.name} {part}" for part in self.parts]

    def of(self, column: Column) -> Array:
        """Return the features, (n_rows, n_features) float64, nan where a date is missing."""
        dates = dates_of(column)
        missing = np.isnat(dates)
        found = _features(np.where(missing, 0, dates.view(np.int64)), self.first)
        made = np.column_stack([found[part] for part in self.parts])
        made[missing] = np.nan
        return made

    def scale(self, column: Column) -> tuple[Array, Array]:
        """Return the median and the factor of each feature, from the training rows."""
        medians, factors = np.array([scale.of_values(x) for x in self.of(column).T]).T
        return medians, factors

    def to_file(self) -> dict[str, Any]:
        """Return the settings as JSON has them."""
        return {"first": self.first, "parts": list(self.parts)}

    @classmethod
    def from_file(cls, name: str, item: Mapping[str, Any]) -> DateEncoder:
        """Restore an encoder; raise a ValueError for what `to_file` does not write."""
        first, parts = item["first"], stored.texts(item, "parts", differ=True)
        if type(first) is not int or not -(2**62) < first < 2**62:
            raise ValueError(f"first must be an integer of microseconds; got {shown(first)}")
        if not parts or [part for part in PARTS if part in parts] != list(parts):
            raise ValueError(f"parts must be some of {PARTS}; got {shown(parts)}")
        return cls(name, first, parts)


def _features(stamps: Array, first: int) -> dict[str, Array]:
    """Return all features of dates in microseconds since 1970."""
    months = stamps.view("datetime64[us]").astype("datetime64[M]").view(np.int64)
    return {
        "year": (1970 + months // 12).astype(np.float64),
        "month": (1 + months % 12).astype(np.float64),
        "day of week": ((stamps // DAY + 3) % 7).astype(np.float64),  # 1970 began on a Thursday
        "hour": stamps % DAY / HOUR,
        "days": (stamps - first) / DAY,
    }


def dates_of(column: Column) -> Array:
    """
    Return the dates of a column; NaT where one is missing, and for a text that is no date.

    Raises
    ------
    ValueError
        For a column of another kind, and for texts of which none is a date.
    """
    if column.kind == "date":
        return column.values
    gaps = column.missing
    if column.kind in ("text", "category"):
        found = {text: _parsed(text) for text in {*column.values[~gaps]}}
        nothing = np.datetime64("NaT", "us")
        dates = np.array([found.get(text, nothing) for text in column.values], "datetime64[us]")
        if gaps.all() or not np.isnat(dates).all():
            return dates
    elif gaps.all():
        return np.full(len(gaps), "NaT", "datetime64[us]")
    raise changed(column, "dates")


def are_dates(column: Column) -> bool:
    """Whether a column of texts holds nothing but dates in the ISO form."""
    different = {*column.values[~column.missing]}
    return bool(different) and all(not np.isnat(_parsed(text)) for text in different)


def _parsed(text: str) -> np.datetime64:
    """A text in the ISO form as a date in UTC; NaT for any other."""
    if ISO.fullmatch(text):
        try:
            found = datetime.datetime.fromisoformat(text)
            if found.tzinfo is not None:
                found = found.astimezone(datetime.UTC).replace(tzinfo=None)
            return np.datetime64(found, "us")
        except (ValueError, OverflowError):
            pass  # such as 30 February
    return np.datetime64("NaT", "us")
