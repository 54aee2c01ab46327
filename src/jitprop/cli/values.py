"""Values of one column of a table: what kind they are, as numbers, as texts."""

from __future__ import annotations

import datetime
import numbers as abstract
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from jitprop.cli.refused import RefusedError

if TYPE_CHECKING:
    import pandas as pd

DATE = re.compile(r"\d{4}-\d\d?-\d\d?([T ].*)?|\d\d?[/.]\d\d?[/.](\d\d|\d{4})([T ].*)?")

MARKS = 5
"""Up to so many different texts among numbers are taken for marks of missing values ..."""

FEW_NUMBERS = 20
"""... if there are more different numbers than these, which may be names of categories."""

LARGE = 2.0**63
"""The CSV reader leaves integers as text where a column has such."""


def kind(column: pd.Series) -> Literal["number", "text", "date"]:
    """
    Whether a column holds numbers, categories (text, booleans) or dates; if nothing, numbers.

    Raises
    ------
    RefusedError
        For other values, and for numbers with a few texts among them.
    """
    import pandas as pd

    types = pd.api.types
    if isinstance(column.dtype, pd.CategoricalDtype) or types.is_bool_dtype(column):
        return "text"
    if types.is_any_real_numeric_dtype(column):
        return "number"
    if column.dtype.kind in "mM" or isinstance(column.dtype, pd.PeriodDtype):
        return "date"
    present = column.dropna()
    found = {type(value) for value in present}
    if all(issubclass(t, bool | np.bool_) for t in found):
        return "text" if found else "number"
    if all(issubclass(t, abstract.Real | Decimal) for t in found):
        return "number"
    if all(issubclass(t, datetime.date | datetime.time | datetime.timedelta) for t in found):
        return "date"
    if all(issubclass(t, str | bool | np.bool_) for t in found):
        return _kind_of_texts(column)
    names = ", ".join(sorted(t.__name__ for t in found))
    raise RefusedError(
        f"column {column.name!r} holds values of type {names}, which are neither numbers nor "
        f"text: leave it out with --drop"
    )


def _kind_of_texts(column: pd.Series) -> Literal["number", "text", "date"]:
    import pandas as pd

    all_texts = texts(column)
    different = sorted(set(all_texts) - {None})
    if all(DATE.fullmatch(text) for text in different):
        return "date"
    as_numbers = pd.to_numeric(pd.Series(different, dtype=object), errors="coerce").to_numpy(float)
    others = [text for text, x in zip(different, as_numbers, strict=True) if np.isnan(x)]
    if not others and np.abs(as_numbers).max() >= LARGE:
        return "number"
    if 0 < len(others) <= MARKS and len(different) - len(others) > FEW_NUMBERS:
        mark = others[0]
        row = _first(column, np.equal(all_texts, mark))
        quoted = ", ".join(map(repr, others))
        raise RefusedError(
            f"column {column.name!r} holds numbers but for {quoted} (the first in row {row}): "
            f"say --missing {mark!r} if that means a missing value, "
            "or leave the column out with --drop"
        )
    return "text"


def _first(column: pd.Series, where: npt.NDArray[np.bool_]) -> int:
    """The row of the file, counted from 1 below the names, of the first value."""
    return int(column.index[where][0]) + 1


def numbers(column: pd.Series) -> npt.NDArray[np.float64]:
    """
    A column as numbers, nan where one is missing.

    Raises
    ------
    RefusedError
        For the first value that is not a number, or infinite.
    """
    import pandas as pd

    types = pd.api.types
    if not (types.is_any_real_numeric_dtype(column) or types.is_bool_dtype(column)):
        column = column.astype(object)
    try:
        x = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    except OverflowError as error:
        raise RefusedError(f"column {column.name!r}: {error}; leave it out with --drop") from error
    array = np.asarray(x)
    for bad, what in (
        (np.isnan(array) & column.notna().to_numpy(), "must hold numbers"),
        (np.isinf(array), "must hold finite numbers"),
    ):
        if bad.any():
            raise RefusedError(
                f"column {column.name!r} {what}; row {_first(column, bad)} "
                f"holds {str(column[bad].iloc[0])!r}"
            )
    return array


def texts(column: pd.Series) -> npt.NDArray[np.object_]:
    """
    A column as text without blanks around it, None where nothing is left or it is missing.

    Booleans are "false" and "true", and so are texts that differ from these in case alone: a CSV
    file may have "True" or "TRUE", and what a column of both is read as depends on its rows.
    """
    made = np.empty(len(column), object)
    missing = column.isna().to_numpy()
    for i, value in enumerate(column.astype(object)):
        if not missing[i]:
            text = str(value).strip()
            made[i] = text.lower() if text.lower() in ("false", "true") else text or None
    return made


def absent(texts: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    """Where `texts` found nothing."""
    return np.array([text is None for text in texts], bool)


def missing(column: pd.Series) -> npt.NDArray[np.bool_]:
    """Which values are missing; a text of blanks is."""
    return absent(texts(column)) if kind(column) == "text" else np.asarray(column.isna())
