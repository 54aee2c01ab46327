"""The values of a target as its file spells them, so that they can be given back so."""

from __future__ import annotations

import re
from collections.abc import Set
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jitprop.cli.fields import Fields

if TYPE_CHECKING:
    import pandas as pd


def spelled(column: pd.Series, fields: Fields | None) -> tuple[pd.Series, str]:
    """
    The values of a column as texts, None where one is missing, and what they are.

    Parameters
    ----------
    column : Series
        As it was told to be.
    fields : Fields or None
        The texts that the file has of it, if it has texts.

    Returns
    -------
    Series, {"text", "integer", "number", "boolean"}
        The second is a type that says just as much as the texts: True, but not true; 1.5, but not
        1.50.
    """
    import pandas as pd

    if fields is None:
        found, kind = _of_values(column)
    else:
        found = np.array(fields.all.to_pylist(), object)
        found[column.isna().to_numpy()] = None
        kind = "text" if fields.typed or fields.as_they_stand else _kind(set(found) - {None})
    return pd.Series(found, index=column.index, name=column.name, dtype=object), kind


def _of_values(column: pd.Series) -> tuple[npt.NDArray[np.object_], str]:
    """Of a file whose columns have types."""
    import pandas as pd

    types = pd.api.types
    made = np.empty(len(column), object)
    present = column.dropna().astype(object)
    for i, value in zip(np.flatnonzero(column.notna().to_numpy()), present, strict=True):
        whole = isinstance(value, float) and value.is_integer()
        made[i] = str(int(value)) if whole else str(value).strip() or None
    booleans = set(made) - {None} <= {"True", "False"}
    if types.is_bool_dtype(column) or (column.dtype == object and booleans):
        return made, "boolean"
    if types.is_integer_dtype(column):
        return made, "integer"
    return made, "number" if types.is_float_dtype(column) else "text"


def _kind(texts: Set[str]) -> str:
    if texts <= {"True", "False"}:
        return "boolean"
    if all(re.fullmatch(r"0|-?[1-9]\d*", text) for text in texts):
        return "integer"
    try:
        return "number" if all(repr(float(text)) == text for text in texts) else "text"
    except ValueError:
        return "text"
