"""
What the columns of a table hold: the room between a file's fields and the inputs of a net.

`tables` gives texts (CSV) or what the file says (Parquet). Here a column becomes numbers
(float64, nan where one is missing), categories (pandas' type of that name, of texts) or stays
dates; what was decided on the way is said in notes, and kept, so that later tables are read alike.
`columns` then makes inputs of it.

Libraries read types from CSV files too. DuckDB 2.0, polars 2.1 and pandas 3.1 were tried: each
makes 1.10 the number 1.1, none tells decimal commas, thousands, currency or percent from a file,
and of the three only DuckDB keeps 01. clevercsv 0.8 tells the separator alone, in 0.7 s for 20,000
rows. So pandas parts the fields, and rules that can be said in a note tell what they mean.
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
from jitprop.cli.columns import Column
from jitprop.cli.fields import Amounts, Fields, are_texts
from jitprop.cli.notes import Notes
from jitprop.cli.numerals import Style
from jitprop.cli.reading import Reading
from jitprop.cli.refused import RefusedError
from jitprop.cli.tables import Say, Table, listed

if TYPE_CHECKING:
    import pandas as pd

SAMPLE = 50
"""Texts in which a date shows, if a column holds dates."""

FEW_ROWS = 10
"""In fewer rows nothing is taken for an id, and fewer numbers are not taken for dates."""

ID_NAME = re.compile(
    r"(?i:.*[^a-z])?(?i:ids?|idx|index|key|rows?|row_?(?:names?|numbers?|nr|no)|nr|no|uuid|#)"
    r"|.*[a-z](?:Id|ID|Idx|Index|Key|Nr|No)|(?i:unnamed: ?\d+)"
)
"""Names of columns whose numbers name rows, if all differ."""


class Told(NamedTuple):
    """
    A table whose columns are known.

    Attributes
    ----------
    frame : DataFrame
        Its types say what each column holds.
    spelled : Series
        The target's values as the file spells them, None where one is missing.
    kind : {"text", "integer", "number", "boolean"}
        What they are the spelling of.
    reading : Reading
        With which later tables are read.
    ids : frozenset of str
        Columns of numbers that name rows.
    """

    frame: pd.DataFrame
    spelled: pd.Series
    kind: str
    reading: Reading
    ids: frozenset[str]


def tell(table: Table, target: str, asked: Reading, say: Say) -> Told:
    """
    Tell what the columns of a table hold, to learn from it.

    Parameters
    ----------
    table : Table
    target : str
        The column to be predicted.
    asked : Reading
        What a person asked for.
    say : function of a sentence
        Is told what is read in another way than as it stands.

    Raises
    ------
    RefusedError
        For a column that may mean two things, in words that name it and the option that tells.
    """
    frame = table.frame
    if target not in frame.columns:
        raise RefusedError(
            f"there is no column {target!r} to be the target; {listed(frame, target)}"
        )
    asked.check(frame)
    marks.say_found_nowhere(frame, asked.missing, say)
    fields = {
        name: Fields(frame[name], asked, table.typed)
        for name in frame.columns
        if are_texts(frame[name])
    }
    amounts = {name: each.told() for name, each in fields.items()}
    decimal = _decimal(asked, table.separator, [each for each in amounts.values() if each])
    notes = Notes(say, table.separator)
    made = {}
    for name in frame.columns:
        found = amounts.get(name)
        local = _local(found, asked, decimal)
        made[name] = _told(frame[name], fields.get(name), found, local, notes)
    notes.say_all()
    ids = frozenset(
        name for name in made if name not in (target, *asked.keep) and _is_id(name, made[name])
    )
    spelled, kind = labels.spelled(made[target], fields.get(target))
    lost = fields[target].marks() if target in fields else []
    if lost and values.kind(made[target]) == "text":
        say(
            f"{', '.join(map(repr, lost))} in the target {target!r} means a missing value; "
            f"--text {target} makes a class of it"
        )
    return Told(_frame(made, frame), spelled, kind, notes.learned(asked, decimal), ids)


def read(table: Table, columns: Sequence[Column], reading: Reading, say: Say) -> pd.DataFrame:
    """
    The columns of a later table that a model knows, read as those it was trained on.

    Raises
    ------
    RefusedError
        For a column of numbers that holds others.
    """
    frame = table.frame
    notes = Notes(say, table.separator)
    made: dict[str, pd.Series] = {}
    for name, kind in ((column.name, column.kind) for column in columns):
        if name not in frame.columns:
            continue  # `columns.transform` names all that are missing
        fields = Fields(frame[name], reading, table.typed) if are_texts(frame[name]) else None
        if kind != "number":
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
    """The numbers of a column that had numbers in training, with the same sign."""
    name = str(fields.column.name)
    fields.must_be_numbers = True
    found, sign = fields.amounts(), reading.signs.get(name, "")
    if found is None or not found.styles(reading):
        raise fields.no_number(reading)
    plain_money = "" in (found.sign, sign) and numerals.is_money(found.sign + sign)
    if found.sign != sign and not plain_money and len(found.different):
        there, here = (f"{each!r}" if each else "nothing" for each in (sign, found.sign))
        raise RefusedError(
            f"column {name!r} had {there} beside its numbers in training and has {here} now, as in "
            f"{found.example!r}: write its numbers as they were"
        )
    return found


def _decimal(asked: Reading, separator: str, found: Sequence[Amounts]) -> str | None:
    """The decimal mark of a table: what was asked for, or what most columns show."""
    if asked.decimal is not None:
        return asked.decimal
    if asked.thousands in (".", ","):
        return {".": ",", ",": "."}[asked.thousands]
    shown = [min(mark) for mark in (each.decimals() for each in found) if len(mark) == 1]
    if shown:
        return max((".", ","), key=shown.count)
    return None


def _local(found: Amounts | None, asked: Reading, decimal: str | None) -> Reading:
    """The reading of one column: it may show another decimal mark than most do."""
    shown = set() if found is None else found.decimals()
    if len(shown) == 1 and asked.decimal is None and asked.thousands not in (".", ","):
        return replace(asked, decimal=min(shown))
    return replace(asked, decimal=decimal)


def _told(
    column: pd.Series, fields: Fields | None, found: Amounts | None, reading: Reading, notes: Notes
) -> pd.Series:
    """A column as what it was told to be."""
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
                f"column {column.name!r} is text in its file, and all of it are numbers: so it is "
                f"read; --text {column.name} keeps it text"
            )
        return made if fields.must_be_numbers else _dates_of_digits(made, notes)
    different = fields.different.to_pylist()
    if dates.are(different):
        return _series(fields.numbers.to_pylist(), column)
    if any(map(dates.is_date, different[:SAMPLE])):
        fields.refuse_marks(np.array([dates.is_date(text) for text in different]), "dates")
    if fields.codes:
        notes.say(
            f"column {column.name!r} is read as text, for {fields.code!r} begins with 0, as codes "
            f"do; --number {column.name} reads numbers"
        )
    return _categories(column, fields, reading)


def _numbers(fields: Fields, found: Amounts, reading: Reading, notes: Notes) -> pd.Series:
    """A column of numbers, in the one style that it may have."""
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
        places = pc.index_in(fields.numbers, value_set=found.different)
        x = pa.array(x).take(places).to_numpy(zero_copy_only=False)
    else:
        x = np.full(len(column), np.nan)
    return pd.Series(np.array(x, np.float64), index=column.index, name=column.name)


def _guess(name: str, found: Amounts, possible: Sequence[Style], notes: Notes) -> Style:
    """
    Of numbers that either decimal mark reads, in a table that does not tell which it has.

    A point is a decimal point, as everywhere in computing. A comma within quotes, in a file that
    has commas between its fields, parts thousands. Other commas are refused.
    """
    comma = bool(pc.any(pc.match_substring(found.cores, ",")).as_py())
    if not comma:
        if notes.separator == ";":
            notes.say(
                f"column {name!r}: the point in {found.example!r} is read as a decimal point; if "
                "it parts thousands, say --thousands ."
            )
        return next(style for style in possible if style.decimal == ".")
    if notes.separator == ",":
        return next(style for style in possible if style.thousands == ",")
    raise RefusedError(
        f"column {name!r} holds {found.example!r}, whose comma may be a decimal comma or part "
        "thousands: say --decimal , or --thousands ,"
    )


def _categories(column: pd.Series, fields: Fields | None, reading: Reading) -> pd.Series:
    """A column of texts that are categories."""
    if fields is None:
        found = values.texts(column)
        found[[text in reading.missing for text in found]] = None
    else:
        found = fields.texts.to_pylist()
    return _series(found, column).astype("category")


def _series(texts: Sequence[str | None] | npt.NDArray[np.object_], like: pd.Series) -> pd.Series:
    import pandas as pd

    return pd.Series(texts, index=like.index, name=like.name, dtype=object)


def _dates_of_digits(column: pd.Series, notes: Notes) -> pd.Series:
    """Numbers as they are, or dates if all are such as 20240229."""
    if values.kind(column) != "number":
        return column
    x = values.numbers(column)
    present = np.unique(x[~np.isnan(x)])
    whole = len(present) >= FEW_ROWS and present[-1] < 1e9 and not (present % 1).any()
    if not whole or not dates.digits(present.astype(int).tolist()):
        return column
    notes.say(
        f"column {column.name!r} is read as dates, such as {present[0]:.0f}; "
        f"--number {column.name} reads numbers"
    )
    digits = [None if np.isnan(value) else f"{value:.0f}" for value in x]
    made = [text and f"{text[:4]}-{text[4:6]}-{text[6:]}" for text in digits]
    return _series(made, column)


def _is_id(name: str, column: pd.Series) -> bool:
    """
    Whether numbers name rows.

    They are integers that all differ, and either have no gap, in whatever order, or the column's
    name says so.
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
