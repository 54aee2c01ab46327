"""Marks of missing values that a person gave, among texts and among what a file has typed."""

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
    """A column of what the file says, without marks of missing values."""
    return column.mask(_are(column, missing)) if missing else column


def _are(column: pd.Series, missing: Sequence[str]) -> pd.Series:
    """Which values are marks of missing ones, as texts or as numbers."""
    found = column.astype(object).map(lambda value: str(value).strip() in missing).astype(bool)
    if values.kind(column) == "number" and as_numbers(missing):
        found |= np.isin(values.numbers(column), as_numbers(missing))
    return found


def as_numbers(missing: Iterable[str]) -> list[float]:
    """Those marks of missing values that are numbers."""
    plain = pa.array(list(missing), pa.string())
    return [float(mark) for mark in pc.filter(plain, PLAIN.matches(plain)).to_pylist()]


def say_found_nowhere(frame: pd.DataFrame, missing: Sequence[str], say: Say) -> None:
    """A mark that no field has may be a slip of the keyboard."""
    for mark in missing:
        if not any(_are(frame[name], [mark]).any() for name in frame.columns):
            say(f"--missing {mark!r}: no field of the table holds that")
