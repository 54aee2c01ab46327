"""
Infer the type of each column of a table.

`tables` reads a file: texts from CSV, typed values from Parquet. This module converts each column
to numbers (float64, nan for a missing value) or categories (pandas' type, of texts), or finds that
it holds dates. Each conversion that a user might not expect is said in a note. The decisions are
stored in the model file, so that later tables are read alike. `columns` then encodes the columns.

Other libraries infer types from CSV files too. These were tried:

- DuckDB 2.0, polars 2.1 and pandas 3.1 read 1.10 as the number 1.1. None of them detects decimal
  commas, thousands separators, currencies or percent signs. Only DuckDB keeps the 0 of 01.
- clevercsv 0.8 detects only the separator, and takes 0.7 s for 20,000 rows.

So pandas splits the fields, and the types follow simple rules that fit in a note.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jitprop.cli import dates, labels, marks, numerals, values
from jitprop.cli.fields import Amounts, Fields, are_texts
from jitprop.cli.notes import Notes
from jitprop.cli.numerals import Style
from jitprop.cli.reading import Reading
from jitprop.cli.refused import RefusedError, typed
from jitprop.cli.tables import Say, Table, listed

if TYPE_CHECKING:
    import pandas as pd

SAMPLE = 50
"""The number of different texts in which to look for a date."""

FEW_ROWS = 10
"""A table of fewer rows has no ids, and fewer numbers of eight digits are not dates."""

ID_NAME = re.compile(
    r"(?i:.*[^a-z])?(?i:ids?|idx|index|key|rows?|row_?(?:names?|numbers?|nr|no)|nr|no|uuid|#)"
    r"|.*[a-z](?:Id|ID|Idx|Index|Key|Nr|No)|(?i:unnamed: ?\d+)"
)
"""A column with such a name holds ids if its numbers all differ."""


class InferredTable(NamedTuple):
    """
    A table with the inferred types of its columns.

    Attributes
    ----------
    frame : DataFrame
        The converted columns.
    spelled : Series
        The target's values as the file spells them, None where one is missing.
    kind : {"text", "integer", "number", "boolean"}
        The type of the target's values: see `labels.spelled`.
    reading : Reading
        How to read later tables.
    ids : frozenset of str
        Numeric columns that are ids.
    """

    frame: pd.DataFrame
    spelled: pd.Series
    kind: str
    reading: Reading
    ids: frozenset[str]


def infer(table: Table, target: str, requested: Reading, say: Say) -> InferredTable:
    """
    Infer the types of the columns of a training table.

    Parameters
    ----------
    table : Table
    target : str
        The column to predict.
    requested : Reading
        The user's options.
    say : callable
        Called with a sentence for each conversion that a user might not expect.

    Raises
    ------
    RefusedError
        If a column is ambiguous. The message names it and the option that decides.
    """
    frame = table.frame
    if target not in frame.columns:
        raise RefusedError(f"there is no column {target!r} for the target; {listed(frame, target)}")
    requested.check(frame)
    marks.note_unused(frame, requested.missing, say)
    fields = {
        name: Fields(frame[name], requested, table.typed)
        for name in frame.columns
        if are_texts(frame[name])
    }
    amounts = {name: each.inferred_numbers() for name, each in fields.items()}
    decimal = _decimal(requested, [each for each in amounts.values() if each])
    notes = Notes(say, table.separator)
    made = {}
    for name in frame.columns:
        found = amounts.get(name)
        local = _local(found, requested, decimal)
        made[name] = _inferred(frame[name], fields.get(name), found, local, notes)
    notes.say_all()
    ids = frozenset(
        name for name in made if name not in (target, *requested.keep) and _is_id(name, made[name])
    )
    spelled, kind = labels.spelled(made[target], fields.get(target))
    missing = fields[target].marks() if target in fields else []
    if missing and values.kind(made[target]) == "text":
        say(
            f"{', '.join(map(repr, missing))} in the target {target!r} means a missing value; "
            f"{typed('--text', target)} makes it a class"
        )
    reading = notes.learned(requested, decimal)
    return InferredTable(_frame(made, frame), spelled, kind, reading, ids)


def read(table: Table, kinds: Mapping[str, str], reading: Reading, say: Say) -> pd.DataFrame:
    """
    Read the columns of a later table that a model uses, as the training table was read.

    Parameters
    ----------
    table : Table
    kinds : mapping of str to str
        The kind of each column by its name: "number", "date", or any other for texts.
    reading : Reading
    say : callable
        Called with a sentence for each conversion that a user might not expect.

    Raises
    ------
    RefusedError
        If a column that had numbers in training holds other values.
    """
    frame = table.frame
    notes = Notes(say, table.separator)
    made: dict[str, pd.Series] = {}
    for name, kind in kinds.items():
        if name not in frame.columns:
            continue  # `columns.transform` raises the error, which names all missing columns
        fields = Fields(frame[name], reading, table.typed) if are_texts(frame[name]) else None
        if kind == "date":
            made[name] = _known_dates(frame[name], fields, reading)
        elif kind != "number":
            made[name] = _categories(frame[name], fields, reading)
        elif fields is None:
            made[name] = marks.without(frame[name], reading.missing)
        else:
            local = replace(reading, decimal=reading.points.get(name, reading.decimal))
            made[name] = _numbers(fields, _known(fields, local), local, notes)
    notes.say_all()
    return _frame(made, frame)


def _frame(made: Mapping[str, pd.Series], like: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(dict(made), index=like.index, columns=pd.Index(list(made), dtype=object))


def _known(fields: Fields, reading: Reading) -> Amounts:
    """Return the numbers of a column that had numbers in training; the sign must be the same."""
    name = str(fields.column.name)
    fields.must_be_numbers = True
    found, sign = fields.amounts(), reading.signs.get(name, "")
    if found is None or not found.styles(reading):
        raise fields.no_number(reading)
    plain_money = "" in (found.sign, sign) and numerals.is_money(found.sign + sign)
    if found.sign != sign and not plain_money and len(found.different):
        before, now = (f"{each!r}" if each else "no sign" for each in (sign, found.sign))
        raise RefusedError(
            f"column {name!r} had {before} beside its numbers in training and has {now} in this "
            f"table, as in {found.example!r}: write its numbers as in training"
        )
    return found


def _known_dates(column: pd.Series, fields: Fields | None, reading: Reading) -> pd.Series:
    """Read a column that had dates in training."""
    made = marks.without(column, reading.missing) if fields is None else column
    if fields is not None:
        texts = fields.numbers.to_pylist()
        texts = [text if text is None else dates.with_dashes(text) for text in texts]
    elif values.kind(made) == "number":
        texts = _digits(values.numbers(made))
    else:
        return made
    read = _stamps(texts, column.name in reading.day_first, column)
    bad = read.isna().to_numpy() & np.array([text is not None for text in texts], bool)
    if bad.any() and not all(dates.is_date(str(text)) for text in np.array(texts, object)[bad]):
        other = next(i for i in np.flatnonzero(bad) if not dates.is_date(str(texts[i])))
        raise RefusedError(
            f"column {column.name!r} had dates in training; row {column.index[other] + 1} holds "
            f"{texts[other]!r}"
        )
    return read


def _decimal(requested: Reading, found: Sequence[Amounts]) -> str | None:
    """Return the decimal mark of a table: the user's, or the one that most columns show."""
    if requested.decimal is not None:
        return requested.decimal
    if requested.thousands in (".", ","):
        return {".": ",", ",": "."}[requested.thousands]
    shown = [min(mark) for mark in (each.decimals() for each in found) if len(mark) == 1]
    if shown:
        return max((".", ","), key=shown.count)
    return None


def _local(found: Amounts | None, requested: Reading, decimal: str | None) -> Reading:
    """Return the reading of one column, which may have another decimal mark than most."""
    shown = set() if found is None else found.decimals()
    if len(shown) == 1 and requested.decimal is None and requested.thousands not in (".", ","):
        return replace(requested, decimal=min(shown))
    return replace(requested, decimal=decimal)


def _inferred(
    column: pd.Series, fields: Fields | None, found: Amounts | None, reading: Reading, notes: Notes
) -> pd.Series:
    """Convert a column to its inferred type."""
    import pandas as pd

    if column.name in reading.text:
        return _categories(column, fields, reading)
    if fields is None:
        made = marks.without(column, reading.missing)
        if column.name in reading.number:
            return pd.Series(values.numbers(made), index=column.index, name=column.name)
        return _dates_of_digits(made, notes)
    if found is not None:
        made = _numbers(fields, found, reading, notes)
        if fields.typed and not fields.must_be_numbers:
            notes.say(
                f"column {column.name!r} has the type text in its file, but holds only numbers, "
                f"and is read as numbers; {typed('--text', column.name)} keeps it text"
            )
        return made if fields.must_be_numbers else _dates_of_digits(made, notes)
    different = fields.different.to_pylist()
    if dates.are(different):
        return _dates(column, fields, notes)
    if any(map(dates.is_date, different[:SAMPLE])):
        fields.refuse_marks(np.array([dates.is_date(text) for text in different]), "dates")
    if fields.codes:
        notes.say(
            f"column {column.name!r} is read as text, since {fields.code!r} begins with 0 and "
            f"looks like a code; {typed('--number', column.name)} reads numbers"
        )
    elif not fields.typed and (other := fields.beside_numbers()):
        notes.say(
            f"column {column.name!r} is read as text, since {other!r} stands beside its numbers: "
            f"say --missing {other!r} if that means a missing value; "
            f"{typed('--text', column.name)} says that it is text"
        )
    return _categories(column, fields, reading)


def _numbers(fields: Fields, found: Amounts, reading: Reading, notes: Notes) -> pd.Series:
    """Parse a column of numbers, in the simplest style that reads all of it."""
    import pandas as pd

    column, possible = fields.column, found.styles(reading)
    if not possible:
        raise fields.no_number(reading)
    style = possible[0]
    if found.marked and any(other.decimal != style.decimal for other in possible):
        style = _guess(str(column.name), found, possible, notes)
    x = style.parse(found.cores)
    x = np.where(np.isin(x, marks.as_numbers(reading.missing)), np.nan, x)
    if len(x):
        notes.add(str(column.name), found, style)
        indices = pc.index_in(fields.numbers, value_set=found.different)
        x = pa.array(x).take(indices).to_numpy(zero_copy_only=False)
    else:
        x = np.full(len(column), np.nan)
    return pd.Series(np.array(x, np.float64), index=column.index, name=column.name)


def _guess(name: str, found: Amounts, possible: Sequence[Style], notes: Notes) -> Style:
    """
    Choose the style of numbers that either decimal mark reads, if no column shows the mark.

    A point is read as a decimal point, as is usual in computing. In a file whose fields are
    separated by commas, a comma inside quotes separates thousands. Any other comma is refused.
    """
    comma = bool(pc.any(pc.match_substring(found.cores, ",")).as_py())
    if not comma:
        if notes.separator == ";":
            notes.say(
                f"column {name!r}: the point in {found.example!r} is read as a decimal point; if "
                "it separates thousands, say --thousands ."
            )
        return next(style for style in possible if style.decimal == ".")
    if notes.separator == ",":
        return next(style for style in possible if style.thousands == ",")
    raise RefusedError(
        f"column {name!r} holds {found.example!r}, whose comma may be a decimal comma or a "
        "thousands separator: say --decimal , or --thousands ,"
    )


def _categories(column: pd.Series, fields: Fields | None, reading: Reading) -> pd.Series:
    """Convert a column to categories."""
    if fields is None:
        found = values.texts(column)
        found[[text in reading.missing for text in found]] = None
    else:
        found = fields.texts.to_pylist()
    return _series(found, column).astype("category")


def _series(texts: Sequence[str | None] | npt.NDArray[np.object_], like: pd.Series) -> pd.Series:
    import pandas as pd

    return pd.Series(texts, index=like.index, name=like.name, dtype=object)


def _dates(column: pd.Series, fields: Fields, notes: Notes) -> pd.Series:
    """Read a column of dates in the order of day and month that it shows."""
    day_first, example = dates.order(fields.different.to_pylist())
    if day_first:
        notes.day_first.append(str(column.name))
    if example:
        notes.say(
            f"column {column.name!r}: no date shows whether the day or the month comes first, so "
            f"{example!r} is read with the month first"
        )
    return _stamps(fields.numbers.to_pylist(), day_first, column)


def _stamps(texts: Sequence[str | None], day_first: bool, like: pd.Series) -> pd.Series:
    import pandas as pd

    return pd.Series(dates.read(texts, day_first), index=like.index, name=like.name)


def _dates_of_digits(column: pd.Series, notes: Notes) -> pd.Series:
    """Convert a column to dates if all its numbers are dates such as 20240229."""
    if values.kind(column) != "number":
        return column
    x = values.numbers(column)
    present = np.unique(x[~np.isnan(x)])
    integers = len(present) >= FEW_ROWS and present[-1] < 1e9 and not (present % 1).any()
    if not integers or not dates.digits(present.astype(int).tolist()):
        return column
    notes.say(
        f"column {column.name!r} is read as dates, such as {present[0]:.0f}; "
        f"{typed('--number', column.name)} reads numbers"
    )
    return _stamps(_digits(x), False, column)


def _digits(x: npt.NDArray[np.float64]) -> list[str | None]:
    """Return numbers such as 20240229 as dates such as 2024-02-29."""
    found = [None if np.isnan(value) else f"{value:.0f}" for value in x]
    return [text and f"{text[:4]}-{text[4:6]}-{text[6:]}" for text in found]


def _is_id(name: str, column: pd.Series) -> bool:
    """
    Return whether a column holds ids.

    Ids are integers that all differ. Either they have no gap when sorted, or the column has a name
    such as ``id``.
    """
    import pandas as pd

    if len(column) < FEW_ROWS or not pd.api.types.is_any_real_numeric_dtype(column):
        return False
    x = values.numbers(column)
    if np.isnan(x).any() or (x % 1).any() or len(np.unique(x)) < len(x):
        return False
    with np.errstate(over="ignore"):
        gapless = x.max() - x.min() == len(x) - 1
    return bool(gapless or ID_NAME.fullmatch(name))
