"""What a person is told of the numbers of a table, and what a model keeps of it."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.compute as pc

from jitprop.cli.fields import Amounts
from jitprop.cli.numerals import PLAIN, Style
from jitprop.cli.reading import Reading
from jitprop.cli.tables import Say


class Notes:
    """What is said of several columns at once, and kept of each."""

    def __init__(self, say: Say, separator: str) -> None:
        self.say, self.separator = say, separator
        self.styles: dict[str, Style] = {}
        self.signs: dict[str, str] = {}
        self.alike: dict[tuple[Style, str], list[tuple[str, str]]] = {}

    def add(self, name: str, found: Amounts, style: Style) -> None:
        """A column of numbers was read in a style."""
        if found.marked:
            self.styles[name] = style
        if found.sign:
            self.signs[name] = found.sign
        if not found.plain and (style != PLAIN or found.cores is not found.different):
            at = pc.index(found.different, found.example).as_py()
            number = style.parse(found.cores.slice(at, 1))[0]
            said = f"{found.example!r} is read as {number:.15g}"
            self.alike.setdefault((style, found.sign), []).append((name, said))

    def say_all(self) -> None:
        """One line for each way to write numbers that is not the plain one."""
        for members in self.alike.values():
            names = ", ".join(repr(name) for name, _ in members[:8])
            more = f" and {len(members) - 8} more" if len(members) > 8 else ""
            self.say(f"numbers of {names}{more}: {members[0][1]}")

    def learned(self, asked: Reading, decimal: str | None) -> Reading:
        """What was asked for, with what the columns showed."""
        marks = [style.thousands for style in self.styles.values() if style.thousands]
        if decimal is None and self.separator == ",":
            decimal = "."
        thousands = max(marks, key=marks.count) if marks else None
        return replace(
            asked,
            decimal=decimal,
            thousands=thousands if asked.thousands is None else asked.thousands,
            signs=self.signs,
            points={
                name: style.decimal
                for name, style in self.styles.items()
                if style.decimal != decimal
            },
        )
