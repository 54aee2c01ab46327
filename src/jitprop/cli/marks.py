"""The marks of missing values that ``--missing`` names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jitprop.cli import values
from jitprop.cli.numerals import PLAIN
from jitprop.cli.tables import Say

if TYPE_CHECKING:
    import pandas as pd


def without(column: pd.Series, missing: Sequence[str]) -> pd.Series:
    """Return a column with its marks of missing values replaced by missing values."""
    return column.mask(_are(column, missing)) if missing else column


def _are(column: pd.Series, missing: Sequence[str]) -> pd.Series:
    """Return which values are marks of missing values: by their text, or as equal numbers."""
    found = column.astype(object).map(lambda value: str(value).strip() in missing).astype(bool)
    if values.kind(column) == "number" and as_numbers(missing):
        found |= np.isin(values.numbers(column), as_numbers(missing))
    return found


def as_numbers(missing: Iterable[str]) -> list[float]:
    """Return the marks of missing values that are numbers."""
    plain = pa.array(list(missing), pa.string())
    return [float(mark) for mark in pc.filter(plain, PLAIN.matches(plain)).to_pylist()]


def note_unused(frame: pd.DataFrame, missing: Sequence[str], say: Say) -> None:
    """Note each mark that no field has, since it may be misspelled."""
    for mark in missing:
        if not any(_are(frame[name], [mark]).any() for name in frame.columns):
            say(f"--missing {mark!r}: no field of the table has this value")
