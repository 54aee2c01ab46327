"""The texts of one column: which of them are missing values, numbers or codes."""

from __future__ import annotations

from collections.abc import Collection
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jitprop.cli import numerals, values
from jitprop.cli.numerals import PLAIN, STYLES, Style
from jitprop.cli.reading import Reading
from jitprop.cli.refused import RefusedError, typed

if TYPE_CHECKING:
    import pandas as pd

MISSING = (
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
    "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null",
)  # fmt: skip
"""Fields of a CSV file that mean a missing value, in addition to blank ones; pandas' list."""

NO_NUMBER = "None", "NaT"
"""More marks of missing values in columns of numbers or dates. In other columns they are text."""

MAX_MARKS = 5
"""At most this many different texts among numbers may be marks of missing values ..."""

MARKS_SHARE = 0.1
"""... or at most this share of the number of different numbers ..."""

FEW_NUMBERS = 20
"""... if there are more different numbers than this. Fewer numbers may be names of categories."""

CODE = r"^0\d+$"
"""Texts such as 01234 look like numbers, but are codes: the 0 is a part of a zip code, say."""


class Amounts(NamedTuple):
    """
    The different numbers of a column.

    Attributes
    ----------
    different : array of str
        The numbers as the file spells them.
    cores : array of str
        The numbers without the sign that all have, such as "$" or "%".
    sign : str
        That sign; "" for none.
    read_by : list of Style
        All styles that read every core.
    """

    different: pa.Array
    cores: pa.Array
    sign: str
    read_by: list[Style]

    @property
    def marked(self) -> bool:
        """Whether any number has a point or a comma."""
        return numerals.has_marks(self.cores)

    @property
    def plain(self) -> bool:
        """Whether all are integers that every style writes alike."""
        return self.cores is self.different and self._first_styled < 0

    @property
    def example(self) -> str:
        """A number that shows the style."""
        return str(self.different[max(0, self._first_styled)].as_py())

    @property
    def _first_styled(self) -> int:
        """The index of the first number that shows a style; -1 if none does."""
        return int(pc.index(pc.match_substring_regex(self.different, "[.,' (]"), True).as_py())

    def styles(self, reading: Reading) -> list[Style]:
        """Return all styles that read every number and agree with the known marks."""
        marks = reading.decimal, reading.thousands
        return [style for style in self.read_by if numerals.fits(style, *marks)]

    def decimals(self) -> set[str]:
        """Return the possible decimal marks; the empty set if the mark makes no difference."""
        return {style.decimal for style in self.read_by} if self.marked else set()


class Fields:
    """
    The texts of one column.

    Attributes
    ----------
    column : Series
    typed : bool
        Whether the file has types, and this column's is text.
    must_be_text, must_be_numbers : bool
        Whether the user said --text or --number for this column.
    all : array of str
        The texts without blanks around them. Null where the field is blank or is a mark of missing
        values that the user gave.
    texts : array of str
        ``all`` with nulls also for the usual marks of missing values in columns of texts.
    numbers : array of str
        ``all`` with nulls also for the marks of missing values in columns of numbers, and with
        plain minus signs, spaces and apostrophes.
    different : array of str
        The different values of ``numbers``.
    """

    def __init__(self, column: pd.Series, reading: Reading, typed: bool) -> None:
        name = str(column.name)
        self.column = column
        self.typed = typed
        self.must_be_text = name in reading.text
        self.must_be_numbers = name in reading.number
        raw = pa.array(column, pa.string(), from_pandas=True)
        if isinstance(raw, pa.ChunkedArray):
            raw = raw.combine_chunks()
        self.all = without(pc.utf8_trim_whitespace(raw), {"", *reading.missing})
        self.texts = self.all if typed or self.must_be_text else without(self.all, MISSING)
        self.numbers = without(numerals.normalised(self.all), {*MISSING, *NO_NUMBER})
        self.different = pc.drop_null(pc.unique(self.numbers))

    @property
    def codes(self) -> bool:
        """Whether all are numbers by their looks, but some are codes that begin with 0."""
        zeros = pc.any(pc.match_substring_regex(self.different, CODE), min_count=0).as_py()
        return bool(zeros) and PLAIN.reads(self.different)

    @property
    def code(self) -> str:
        """The first code."""
        first = pc.index(pc.match_substring_regex(self.different, CODE), True).as_py()
        return str(self.different[first].as_py())

    def marks(self) -> list[str]:
        """Return the usual marks of missing values that the column has."""
        marked = pc.and_(pc.is_valid(self.all), pc.is_null(self.texts))
        return sorted(pc.unique(pc.filter(self.all, marked)).to_pylist())

    def inferred_numbers(self) -> Amounts | None:
        """
        Return the numbers of the column; None if it holds categories or dates.

        Raises
        ------
        RefusedError
            If there are a few texts among many numbers, or texts in a column that must be numbers.
        """
        if self.must_be_text or (self.codes and not self.must_be_numbers):
            return None
        found = self.amounts()
        if found is not None:
            return (
                None if self.typed and not self.must_be_numbers and self._may_be_text() else found
            )
        if self.must_be_numbers:
            raise self.no_number(Reading())
        self.refuse_marks(_are_numbers(self.different, STYLES), "numbers")
        self._refuse_units()
        return None

    def _may_be_text(self) -> bool:
        """
        Return whether numbers in a column of type text may be names after all.

        They may be if they are few, or if all consist of digits only.
        """
        digits = pc.all(pc.match_substring_regex(self.different, r"^\d+$"), min_count=0).as_py()
        return len(self.different) <= FEW_NUMBERS or bool(digits)

    def amounts(self) -> Amounts | None:
        """
        Return the numbers of the column if one style reads all texts, else None.

        Raises
        ------
        RefusedError
            If the numbers have different signs.
        """
        if PLAIN.reads(self.different):
            return Amounts(self.different, self.different, "", numerals.styles(self.different))
        texts = self.different.to_pylist()
        splits = [numerals.split_sign] + [numerals.split_unit] * self.must_be_numbers
        for split in splits:
            parts = [part for part in takewhile(bool, map(split, texts)) if part is not None]
            if len(parts) < len(texts):
                continue
            cores = pa.array([core for core, _ in parts], pa.string())
            read_by = numerals.styles(cores)
            if not read_by:
                continue
            by_sign = {sign: text for text, (_, sign) in zip(texts, parts, strict=True)}
            if len(by_sign) > 1:
                name = self.column.name
                one, other = sorted(by_sign.values())[:2]
                raise RefusedError(
                    f"column {name!r} holds {one!r} and {other!r}: write all its numbers in one "
                    f"style, or say {typed('--text', name)}"
                )
            return Amounts(self.different, cores, next(iter(by_sign)), read_by)
        return None

    def no_number(self, reading: Reading) -> RefusedError:
        """Return the error for the first value that is not a number with the known marks."""
        name = self.column.name
        marks = reading.decimal, reading.thousands
        possible = [style for style in STYLES if numerals.fits(style, *marks)]
        bad = ~_are_numbers(self.numbers, possible) & _valid(self.numbers)
        if not bad.any():
            return RefusedError(f"column {name!r} must hold numbers in one style")
        row, text = values.first_row(self.column, bad), self.numbers[int(bad.argmax())].as_py()
        decimal = ""
        if reading.decimal is not None and _are_numbers(pa.array([text]), STYLES)[0]:
            decimal = f" with the decimal mark {reading.decimal!r} (say --decimal if it is another)"
        return RefusedError(f"column {name!r} must hold numbers{decimal}; row {row} holds {text!r}")

    def refuse_marks(self, regular: npt.NDArray[np.bool_], what: str) -> None:
        """
        Refuse numbers or dates with a few other texts, which may be marks of missing values.

        Parameters
        ----------
        regular : (n,) array of bool
            Which of the different texts are numbers, or dates.
        what : str
            "numbers" or "dates".

        Raises
        ------
        RefusedError
        """
        others = self.different.filter(pa.array(~regular)).to_pylist()
        n, name = int(regular.sum()), self.column.name
        if n > FEW_NUMBERS and 0 < len(others) <= max(MAX_MARKS, MARKS_SHARE * n):
            row = int(self.column.index[pc.index(self.numbers, others[0]).as_py()]) + 1
            more = ", ..." if len(others) > MAX_MARKS else ""
            raise RefusedError(
                f"column {name!r} holds {what} except {', '.join(map(repr, others[:MAX_MARKS]))}"
                f"{more} (the first in row {row}): say --missing {others[0]!r} if that means a "
                f"missing value, {typed('--text', name)} if the column holds text, or "
                f"{typed('--drop', name)}"
            )

    def beside_numbers(self) -> str | None:
        """
        Return a text that stands beside numbers; None if few values are numbers, or all are.

        It may mark a missing value in a column that has too few numbers to be refused.
        """
        regular = _are_numbers(self.different, STYLES)
        others = self.different.filter(pa.array(~regular))
        few = 0 < len(others) <= MAX_MARKS and len(others) < regular.sum()
        return str(others[0].as_py()) if few else None

    def _refuse_units(self) -> None:
        """Refuse many numbers that all have the same unit, since they are not categories."""
        texts = self.different.to_pylist()
        found = [numerals.split_unit(text) for text in texts]
        units = {None if part is None else part[1] for part in found}
        if len(texts) > FEW_NUMBERS and len(units) == 1 and None not in units:
            name = self.column.name
            raise RefusedError(
                f"column {name!r} holds numbers with the unit {units.pop()!r}, such as "
                f"{texts[0]!r}: say {typed('--number', name)} to read them as numbers, or "
                f"{typed('--text', name)}"
            )


def are_texts(column: pd.Series) -> bool:
    """Return whether all values of a column are texts."""
    import pandas as pd

    if isinstance(column.dtype, pd.StringDtype):
        return True
    if column.dtype != object:
        return False
    present = column.dropna()
    return len(present) > 0 and all(isinstance(value, str) for value in present)


def without(texts: pa.Array, marks: Collection[str]) -> pa.Array:
    """Replace texts that are marks of missing values by null."""
    gone = pc.is_in(texts, value_set=pa.array(sorted(marks), pa.string()))
    return pc.if_else(gone, pa.scalar(None, pa.string()), texts)


def _are_numbers(texts: pa.Array, styles: Collection[Style]) -> npt.NDArray[np.bool_]:
    """Return which texts are numbers, with or without a sign, in the style that reads the most."""
    found = [None if text is None else numerals.split_sign(text) for text in texts.to_pylist()]
    cores = pa.array(["-" if part is None else part[0] for part in found], pa.string())
    reads = [style.matches(cores).to_numpy(zero_copy_only=False).astype(bool) for style in styles]
    return max(reads, key=np.count_nonzero)


def _valid(texts: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.is_valid(texts).to_numpy(zero_copy_only=False), bool)
