"""How the fields of a table are read: what a person asks for, and what a model file remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jitprop.checks import shown
from jitprop.cli import stored
from jitprop.cli.numerals import PLAIN
from jitprop.cli.refused import RefusedError
from jitprop.cli.tables import listed

if TYPE_CHECKING:
    import pandas as pd

ASKED = "decimal", "thousands", "missing", "text", "number", "keep"
"""What a person may ask for; the names are those of `Reading` and of the options."""


@dataclass(frozen=True)
class Reading:
    """
    How the fields of a table are read.

    `telling.tell` learns what is open in it, and a model file keeps it for later tables.

    Attributes
    ----------
    decimal, thousands : str or None
        Marks in numbers; None where the table shall show them, "" for no mark of thousands.
    missing : tuple of str
        What means "missing", beside the usual.
    text : tuple of str
        Columns whose fields are text as they stand.
    number, keep : tuple of str
        Columns that hold numbers, and that are learned from though they look like ids.
    signs : mapping of str to str
        Of columns of numbers, what stands with each, such as "$" or "%".
    points : mapping of str to str
        The decimal marks of columns that have another than most.
    """

    decimal: str | None = None
    thousands: str | None = None
    missing: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    number: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    signs: Mapping[str, str] = field(default_factory=dict)
    points: Mapping[str, str] = field(default_factory=dict)

    def check(self, frame: pd.DataFrame) -> None:
        """
        Refuse what cannot be meant.

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
        For a table whose numbers are written with other marks; None leaves one as it is.

        Raises
        ------
        RefusedError
            If both are the same.
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
        """What `from_json` reads; the marks of missing values are kept beside it."""
        return {
            "decimal": self.decimal,
            "thousands": self.thousands,
            "text": list(self.text),
            "signs": dict(self.signs),
            "points": dict(self.points),
        }


def from_json(item: Mapping[str, Any] | None, marks: tuple[str, ...]) -> Reading:
    """
    A reading from a model file.

    None is that of a file from before this was kept: then numbers were plain, and None was missing
    among texts too.

    Raises
    ------
    KeyError, TypeError, ValueError
        If this is not what `to_json` wrote.
    """
    if item is None:
        return Reading(*PLAIN, missing=(*marks, "None"))
    return Reading(
        decimal=_mark(item["decimal"], ".", ","),
        thousands=_mark(item["thousands"], "", ".", ",", " ", "'"),
        missing=marks,
        text=stored.texts(item, "text"),
        signs=stored.mapping(item, "signs"),
        points={
            name: str(_mark(mark, ".", ","))
            for name, mark in stored.mapping(item, "points").items()
        },
    )


def _mark(value: object, *known: str) -> str | None:
    if value is not None and value not in known:
        raise ValueError(f"{shown(value)} is none of {known}")
    return value if isinstance(value, str) else None
