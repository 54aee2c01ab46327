"""The texts of one column: which of them are missing values, which are numbers, which codes."""

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
from jitprop.cli.refused import RefusedError

if TYPE_CHECKING:
    import pandas as pd

MISSING = (
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
    "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null",
)  # fmt: skip
"""Fields of a CSV file that are missing values, beside those of blanks; as pandas has them."""

NO_NUMBER = "None", "NaT"
"""More of them among numbers and dates. Among other texts they may be names."""

MARKS = 5
"""Up to so many different texts among numbers are taken for marks of missing values ..."""

MARKS_SHARE = 0.1
"""... or up to this share of the different numbers ..."""

FEW_NUMBERS = 20
"""... if there are more different numbers than these, which may be names of categories."""

CODE = r"^0\d+$"
"""01234 is a number by its looks alone: the 0 is a part of it, as of a zip code."""


class Amounts(NamedTuple):
    """
    The different numbers of a column.

    Attributes
    ----------
    different : array of str
        As they stand.
    cores : array of str
        Without the sign that all have, such as "$" or "%".
    sign : str
        "" for none.
    read_by : list of Style
        All styles that read every core.
    """

    different: pa.Array
    cores: pa.Array
    sign: str
    read_by: list[Style]

    @property
    def marked(self) -> bool:
        """Whether any has a point or a comma."""
        return numerals.has_marks(self.cores)

    @property
    def plain(self) -> bool:
        """Whether all are integers that are written alike everywhere."""
        return self.cores is self.different and self._at < 0

    @property
    def example(self) -> str:
        """One that shows how they are written."""
        return str(self.different[max(0, self._at)].as_py())

    @property
    def _at(self) -> int:
        return int(pc.index(pc.match_substring_regex(self.different, "[.,' (]"), True).as_py())

    def styles(self, reading: Reading) -> list[Style]:
        """All styles that read every number, with the marks that are known."""
        marks = reading.decimal, reading.thousands
        return [style for style in self.read_by if numerals.fits(style, *marks)]

    def decimals(self) -> set[str]:
        """The decimal marks it may have; none where every mark reads the same numbers."""
        return {style.decimal for style in self.read_by} if self.marked else set()


class Fields:
    """
    The texts of one column.

    Attributes
    ----------
    column : Series
    typed : bool
        Whether the file says that they are texts.
    as_they_stand : bool
        Whether a person says so.
    all : array of str
        Without blanks around them; null where there is nothing, or a mark of a missing value that
        a person gave.
    texts, numbers : array of str
        Null where a value is missing, if these are texts; if these are numbers.
    """

    def __init__(self, column: pd.Series, reading: Reading, typed: bool) -> None:
        name = str(column.name)
        self.column = column
        self.typed = typed
        self.as_they_stand = name in reading.text
        self.must_be_numbers = name in reading.number
        raw = pa.array(column, pa.string(), from_pandas=True)
        if isinstance(raw, pa.ChunkedArray):
            raw = raw.combine_chunks()
        self.all = without(pc.utf8_trim_whitespace(raw), {"", *reading.missing})
        self.texts = self.all if typed or self.as_they_stand else without(self.all, MISSING)
        self.numbers = without(numerals.normalised(self.all), {*MISSING, *NO_NUMBER})
        self.different = pc.drop_null(pc.unique(self.numbers))

    @property
    def codes(self) -> bool:
        """Whether they are numbers, and some begin with a 0 that belongs to it."""
        zeros = pc.any(pc.match_substring_regex(self.different, CODE), min_count=0).as_py()
        return bool(zeros) and PLAIN.reads(self.different)

    @property
    def code(self) -> str:
        """The first of such."""
        at = pc.index(pc.match_substring_regex(self.different, CODE), True).as_py()
        return str(self.different[at].as_py())

    def marks(self) -> list[str]:
        """The usual marks of missing values that it has."""
        lost = pc.and_(pc.is_valid(self.all), pc.is_null(self.texts))
        return sorted(pc.unique(pc.filter(self.all, lost)).to_pylist())

    def told(self) -> Amounts | None:
        """
        Its numbers; None if it holds categories or dates.

        Raises
        ------
        RefusedError
            For numbers with a few texts among them, and for texts that must be numbers.
        """
        if self.as_they_stand or (self.codes and not self.must_be_numbers):
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
        """Whether numbers of a file that calls them text may be names: few, or all of digits."""
        digits = pc.all(pc.match_substring_regex(self.different, r"^\d+$"), min_count=0).as_py()
        return len(self.different) <= FEW_NUMBERS or bool(digits)

    def amounts(self) -> Amounts | None:
        """
        Its numbers, if all are such in one style.

        Raises
        ------
        RefusedError
            If some have another sign with them than others.
        """
        if PLAIN.reads(self.different):
            return Amounts(self.different, self.different, "", numerals.styles(self.different))
        texts = self.different.to_pylist()
        for way in (numerals.bare, *([numerals.without_unit] if self.must_be_numbers else [])):
            parts = [part for part in takewhile(bool, map(way, texts)) if part is not None]
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
                    f"column {name!r} holds {one!r} and {other!r}: write all its numbers alike, "
                    f"or say --text {name}"
                )
            return Amounts(self.different, cores, next(iter(by_sign)), read_by)
        return None

    def no_number(self, reading: Reading) -> RefusedError:
        """What to say of the first value that is not a number, with the marks that are known."""
        name = self.column.name
        marks = reading.decimal, reading.thousands
        possible = [style for style in STYLES if numerals.fits(style, *marks)]
        bad = ~_are_numbers(self.numbers, possible) & _valid(self.numbers)
        if not bad.any():
            return RefusedError(f"column {name!r} must hold numbers that are written alike")
        row, text = values.first_row(self.column, bad), self.numbers[int(bad.argmax())].as_py()
        comma = ""
        if reading.decimal is not None and _are_numbers(pa.array([text]), STYLES)[0]:
            comma = f", whose decimal mark is {reading.decimal!r} (if not, say --decimal)"
        return RefusedError(f"column {name!r} must hold numbers{comma}; row {row} holds {text!r}")

    def refuse_marks(self, regular: npt.NDArray[np.bool_], what: str) -> None:
        """
        Refuse numbers or dates with a few other texts, which may mean that a value is missing.

        Parameters
        ----------
        regular : (n,) array of bool
            Which of the different texts are such numbers, or dates.
        what : str
            What they are.

        Raises
        ------
        RefusedError
        """
        others = self.different.filter(pa.array(~regular)).to_pylist()
        n, name = int(regular.sum()), self.column.name
        if n > FEW_NUMBERS and 0 < len(others) <= max(MARKS, MARKS_SHARE * n):
            row = int(self.column.index[pc.index(self.numbers, others[0]).as_py()]) + 1
            more = ", ..." if len(others) > MARKS else ""
            raise RefusedError(
                f"column {name!r} holds {what} but for {', '.join(map(repr, others[:MARKS]))}"
                f"{more} (the first in row {row}): say --missing {others[0]!r} if that means a "
                f"missing value, --text {name} if the column holds text, or --drop {name}"
            )

    def _refuse_units(self) -> None:
        """Numbers with one word behind all of them are not categories, if there are many."""
        texts = self.different.to_pylist()
        found = [numerals.without_unit(text) for text in texts]
        units = {None if part is None else part[1] for part in found}
        if len(texts) > FEW_NUMBERS and len(units) == 1 and None not in units:
            name = self.column.name
            raise RefusedError(
                f"column {name!r} holds numbers with {units.pop()!r} behind them, such as "
                f"{texts[0]!r}: say --number {name} to read them as numbers, or --text {name}"
            )


def are_texts(column: pd.Series) -> bool:
    """Whether a column holds texts, and nothing else."""
    import pandas as pd

    if isinstance(column.dtype, pd.StringDtype):
        return True
    if column.dtype != object:
        return False
    present = column.dropna()
    return len(present) > 0 and all(isinstance(value, str) for value in present)


def without(texts: pa.Array, marks: Collection[str]) -> pa.Array:
    """Texts, null where one is a mark of missing values."""
    gone = pc.is_in(texts, value_set=pa.array(sorted(marks), pa.string()))
    return pc.if_else(gone, pa.scalar(None, pa.string()), texts)


def _are_numbers(texts: pa.Array, among: Collection[Style]) -> npt.NDArray[np.bool_]:
    """Which texts are numbers, with a sign or without, in the style that most are written in."""
    found = [None if text is None else numerals.bare(text) for text in texts.to_pylist()]
    cores = pa.array(["-" if part is None else part[0] for part in found], pa.string())
    reads = [style.matches(cores).to_numpy(zero_copy_only=False).astype(bool) for style in among]
    return max(reads, key=np.count_nonzero)


def _valid(texts: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.is_valid(texts).to_numpy(zero_copy_only=False), bool)
