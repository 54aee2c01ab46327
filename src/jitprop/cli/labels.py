"""The values of a target as the file spells them; predictions are spelled alike."""

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
    Return the values of a column as texts, None where one is missing, and the texts' type.

    Parameters
    ----------
    column : Series
        The column with its inferred type.
    fields : Fields or None
        The column's texts in the file; None if the file has other values than texts.

    Returns
    -------
    texts : Series
    kind : {"text", "integer", "number", "boolean"}
        The type whose values are printed like the texts: True is a boolean, but true is text; 1.5
        is a number, but 1.50 is text.
    """
    import pandas as pd

    if fields is None:
        found, kind = _of_values(column)
    else:
        found = np.array(fields.all.to_pylist(), object)
        found[column.isna().to_numpy()] = None
        kind = "text" if fields.typed or fields.must_be_text else _kind(set(found) - {None})
    return pd.Series(found, index=column.index, name=column.name, dtype=object), kind


def _of_values(column: pd.Series) -> tuple[npt.NDArray[np.object_], str]:
    """Return the same for a column of a file with types."""
    import pandas as pd

    types = pd.api.types
    made = np.empty(len(column), object)
    present = column.dropna().astype(object)
    for i, value in zip(np.flatnonzero(column.notna().to_numpy()), present, strict=True):
        integral = isinstance(value, float) and value.is_integer()
        made[i] = str(int(value)) if integral else str(value).strip() or None
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
