"""The values of one column of a table: their kind, and their conversion to numbers and texts."""

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
    Return whether a column holds numbers, categories (text or booleans) or dates.

    A column without values holds numbers.

    Raises
    ------
    RefusedError
        If the column holds values of other types.
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
    """Return the row number in the file of the first True; the row below the names is row 1."""
    return int(column.index[where][0]) + 1


def numbers(column: pd.Series) -> npt.NDArray[np.float64]:
    """
    Convert a column to numbers; missing values become nan.

    Raises
    ------
    RefusedError
        If a value is not a number or is infinite. The message names the first one.
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


def texts(column: pd.Series, lower: bool = True) -> npt.NDArray[np.object_]:
    """
    Convert a column to texts without blanks around them; missing and blank values become None.

    Booleans become "false" and "true". So do texts that differ from these in case only, such as
    "True" and "TRUE" in CSV files, unless ``lower`` is False.
    """
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        # The last entry stays None. Missing values have the code -1, which selects it.
        found = np.empty(len(column.cat.categories) + 1, object)
        found[:-1] = texts(column.cat.categories.to_series(), lower)
        return np.asarray(found[column.cat.codes.to_numpy()], object)
    made = np.empty(len(column), object)
    missing = column.isna().to_numpy()
    for i, value in enumerate(column.astype(object)):
        if not missing[i]:
            text = str(value).strip()
            boolean = lower and text.lower() in ("false", "true")
            made[i] = text.lower() if boolean else text or None
    return made


def absent(texts: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    """Return which texts are None."""
    return np.array([text is None for text in texts], bool)


def missing(column: pd.Series) -> npt.NDArray[np.bool_]:
    """Return which values are missing; blank texts are missing too."""
    return absent(texts(column)) if kind(column) == "text" else np.asarray(column.isna())
