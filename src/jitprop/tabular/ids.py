"""Columns that identify rows: they say nothing of rows that come later, so nets do not get them."""

from __future__ import annotations

import re

import numpy as np

from jitprop.tabular.encoders import categories
from jitprop.tabular.encoders.dates import are_dates
from jitprop.tabular.table import Column

FEW = 10
"""A column with fewer values has no ids."""

ID_NAME = re.compile(
    r"(?i:.*[^a-z])?(?i:ids?|idx|index|key|rows?|row_?(?:names?|numbers?|nr|no)|nr|no|uuid|#)"
    r"|.*[a-z](?:Id|ID|Idx|Index|Key|Nr|No)|(?i:unnamed: ?\d+)"
)
"""A column with such a name holds ids if its integers all differ."""

KEY = re.compile(r"(?=\D*\d)[\w.:/+#@-]{1,64}", re.ASCII)
"""A text that looks like a key: without blanks, and with a digit."""

LONGEST_NAME = 200
"""A longer name is not looked at."""

NEARLY = 0.95
"""The share of different texts from which a column of keys holds ids."""

DENSE, MANY = 1.5, 50
"""Of so many different integers, at most so many times their number lie in their range."""


def reason(column: Column) -> str:
    """
    Return why a column looks like ids; empty if it does not.

    Integers are ids if all of them differ and they have no gap, or few gaps, as a part of a longer
    table has; or if the column's name says so. Texts are ids if nearly all differ and each looks
    like a key. Dates are no ids.
    """
    if column.kind == "number":
        return "each row has a different integer" if _count_up(column) else ""
    if column.kind in ("text", "category"):
        return "nearly each row has a different key" if _are_keys(column) else ""
    return ""


def _count_up(column: Column) -> bool:
    x = np.sort(column.values)
    n = len(x)
    if n < FEW or not np.isfinite(x).all() or (x % 1 != 0).any() or (x[1:] == x[:-1]).any():
        return False
    span = x[-1] - x[0] + 1
    named = len(column.name) <= LONGEST_NAME and bool(ID_NAME.fullmatch(column.name))
    return bool(span == n or named or (n >= MANY and span <= DENSE * n))


def _are_keys(column: Column) -> bool:
    present = column.values[~column.missing]
    if len(present) < FEW:
        return False
    different, _ = categories.count(present)
    many = len(different) >= NEARLY * len(present)
    return many and all(KEY.fullmatch(text) for text in different) and not are_dates(column)
