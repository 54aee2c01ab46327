"""Notes on how the numbers of a table are read."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.compute as pc

from jitprop.cli.fields import Amounts
from jitprop.cli.numerals import PLAIN, Style
from jitprop.cli.reading import Reading
from jitprop.cli.tables import Say


class Notes:
    """Collect the style of each column of numbers; print one note for all columns of a style."""

    def __init__(self, say: Say, separator: str) -> None:
        self.say, self.separator = say, separator
        self.styles: dict[str, Style] = {}
        self.signs: dict[str, str] = {}
        self.day_first: list[str] = []
        self.by_style: dict[tuple[Style, str], list[tuple[str, str]]] = {}

    def add(self, name: str, found: Amounts, style: Style) -> None:
        """Take note of the style in which a column was read."""
        if found.marked:
            self.styles[name] = style
        if found.sign:
            self.signs[name] = found.sign
        if not found.plain and (style != PLAIN or found.cores is not found.different):
            at = pc.index(found.different, found.example).as_py()
            number = style.parse(found.cores.slice(at, 1))[0]
            example = f"{found.example!r} is read as {number:.15g}"
            self.by_style.setdefault((style, found.sign), []).append((name, example))

    def say_all(self) -> None:
        """Print a note for each style other than the plain one."""
        for columns in self.by_style.values():
            names = ", ".join(repr(name) for name, _ in columns[:8])
            more = f" and {len(columns) - 8} more" if len(columns) > 8 else ""
            self.say(f"numbers of {names}{more}: {columns[0][1]}")

    def learned(self, requested: Reading, decimal: str | None) -> Reading:
        """Return the options that the user gave, completed by what the columns showed."""
        marks = [style.thousands for style in self.styles.values() if style.thousands]
        if decimal is None and self.separator == ",":
            decimal = "."
        thousands = max(marks, key=marks.count) if marks else None
        return replace(
            requested,
            decimal=decimal,
            thousands=thousands if requested.thousands is None else requested.thousands,
            signs=self.signs,
            day_first=tuple(self.day_first),
            points={
                name: style.decimal
                for name, style in self.styles.items()
                if style.decimal != decimal
            },
        )
