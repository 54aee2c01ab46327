"""Values of one column of a table: what kind they are, as numbers, as texts."""

from __future__ import annotations

import datetime
import numbers as abstract
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from jitprop.cli import dates
from jitprop.cli.refused import RefusedError

if TYPE_CHECKING:
    import pandas as pd


def kind(column: pd.Series) -> Literal["number", "text", "date"]:
    """
    Whether a column holds numbers, categories (text, booleans) or dates; if nothing, numbers.

    Raises
    ------
    RefusedError
        For other values.
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
        return "date" if dates.are(sorted(set(texts(column)) - {None})) else "text"
    names = ", ".join(sorted(t.__name__ for t in found))
    raise RefusedError(
        f"column {column.name!r} holds values of type {names}, which are neither numbers nor "
        f"text: leave it out with --drop"
    )


def first_row(column: pd.Series, where: npt.NDArray[np.bool_]) -> int:
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
                f"column {column.name!r} {what}; row {first_row(column, bad)} "
                f"holds {str(column[bad].iloc[0])!r}"
            )
    return array


def texts(column: pd.Series) -> npt.NDArray[np.object_]:
    """
    A column as text without blanks around it, None where nothing is left or it is missing.

    Booleans are "false" and "true", and so are texts that differ from these in case alone: a CSV
    file may have "True" or "TRUE", and what a column of both is read as depends on its rows.
    """
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        found = np.empty(len(column.cat.categories) + 1, object)  # the last is None, of code -1
        found[:-1] = texts(column.cat.categories.to_series())
        return np.asarray(found[column.cat.codes.to_numpy()], object)
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
