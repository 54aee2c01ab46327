"""How the fields of a table are read: the user's options, and what a model file stores of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jitprop.checks import shown
from jitprop.cli.numerals import PLAIN
from jitprop.cli.refused import RefusedError
from jitprop.cli.tables import listed
from jitprop.files import stored

if TYPE_CHECKING:
    import pandas as pd

READING_OPTIONS = "decimal", "thousands", "missing", "text", "number", "keep"
"""The options for reading, by their names in `Reading` and on the command line."""


@dataclass(frozen=True)
class Reading:
    """
    How the fields of a table are read.

    `column_types.infer` fills in what is None. A model file stores the result for later tables.

    Attributes
    ----------
    decimal, thousands : str or None
        The decimal mark and the thousands separator. None means that the table shows it, "" that
        numbers have no thousands separator.
    missing : tuple of str
        Marks of missing values, in addition to the usual ones.
    text : tuple of str
        Columns whose fields are text, without any conversion.
    number : tuple of str
        Columns that must hold numbers.
    keep : tuple of str
        Columns to keep though they look like ids.
    signs : mapping of str to str
        For each column of numbers that has one, the sign beside its numbers, such as "$" or "%".
    points : mapping of str to str
        The decimal mark of each column that has another one than ``decimal``.
    day_first : tuple of str
        Columns of dates such as 29/2/2024, in which the day comes first.
    """

    decimal: str | None = None
    thousands: str | None = None
    missing: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    number: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    signs: Mapping[str, str] = field(default_factory=dict)
    points: Mapping[str, str] = field(default_factory=dict)
    day_first: tuple[str, ...] = ()

    def check(self, frame: pd.DataFrame) -> None:
        """
        Check the options against each other and against the table's columns.

        Raises
        ------
        RefusedError
        """
        self._check_marks()
        for option in ("text", "number", "keep"):
            for name in getattr(self, option):
                if name not in frame.columns:
                    raise RefusedError(
                        f"--{option}: there is no column {name!r}; {listed(frame, name)}"
                    )
        both = set(self.text) & set(self.number)
        if both:
            raise RefusedError(f"column {min(both)!r} is both in --text and in --number")

    def with_marks(self, decimal: str | None, thousands: str | None) -> Reading:
        """
        Return the reading of a table with other marks in its numbers; None keeps a mark.

        Raises
        ------
        RefusedError
            If both marks are the same.
        """
        if decimal is None and thousands is None:
            return self
        if decimal is None:
            decimal = {".": ",", ",": "."}.get(thousands or "", self.decimal)
        made = replace(self, decimal=decimal, thousands=thousands, points={})
        made._check_marks()
        return made

    def _check_marks(self) -> None:
        if self.decimal is not None and self.decimal == self.thousands:
            raise RefusedError(f"--decimal and --thousands are both {self.decimal!r}")

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `from_json`; the model file has the missing marks elsewhere."""
        return {
            "decimal": self.decimal,
            "thousands": self.thousands,
            "text": list(self.text),
            "signs": dict(self.signs),
            "points": dict(self.points),
            "day_first": list(self.day_first),
        }


def from_json(item: Mapping[str, Any] | None, marks: tuple[str, ...]) -> Reading:
    """
    Restore a reading from a model file.

    ``item`` is None for files that an earlier version wrote. That version read plain numbers only,
    and took the text "None" for a missing value.

    Raises
    ------
    KeyError, TypeError, ValueError
        If `to_json` did not write this.
    """
    if item is None:
        return Reading(*PLAIN, missing=(*marks, "None"))
    known = "decimal", "thousands", "text", "signs", "points", "day_first"
    stored.names(item, known, "its reading's settings")
    made = Reading(
        decimal=_mark(item["decimal"], ".", ","),
        thousands=_mark(item["thousands"], "", ".", ",", " ", "'"),
        missing=marks,
        text=stored.texts(item, "text"),
        signs=stored.mapping(item, "signs"),
        points={
            name: str(_mark(mark, ".", ","))
            for name, mark in stored.mapping(item, "points").items()
        },
        # Earlier versions used no dates.
        day_first=stored.texts({"day_first": [], **item}, "day_first"),
    )
    if made.decimal is not None and made.decimal == made.thousands:
        raise ValueError(f"decimal and thousands are both {made.decimal!r}")
    return made


def _mark(value: object, *known: str) -> str | None:
    if value is not None and value not in known:
        raise ValueError(f"{shown(value)} is not one of {known}")
    return value if isinstance(value, str) else None
