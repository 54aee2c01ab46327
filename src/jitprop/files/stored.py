"""
Read values from a model file; raise a ValueError if one has another type than was written.

Whoever alters a file can also renew its seal, so no value is trusted. A text in place of a list,
for example, would be read as one item per letter, and a spread of 0 would be a divisor.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from jitprop.checks import quoted, shown

LARGEST = sys.float_info.max


def text(of: Mapping[str, Any], key: str) -> str:
    """Return a text that is not empty."""
    value = of[key]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} must be text; got {shown(value)}")
    return value


def texts(of: Mapping[str, Any], key: str, differ: bool = False) -> tuple[str, ...]:
    """Return a list of texts; with ``differ`` they must be different and not empty."""
    value = of[key]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{key} must be a list of texts; got {shown(value)}")
    if differ and (len(set(value)) < len(value) or "" in value):
        raise ValueError(f"{key} must be different texts; got {shown(value)}")
    return tuple(value)


def flag(of: Mapping[str, Any], key: str) -> bool:
    """Return True or False."""
    value = of[key]
    if not isinstance(value, bool):
        raise ValueError(f"{key} must be true or false; got {shown(value)}")
    return value


def number(of: Mapping[str, Any], key: str, above: float = -math.inf) -> float:
    """Return a finite number above ``above``, such as a spread."""
    value = within(of, key, -LARGEST, LARGEST)
    if value <= above:
        raise ValueError(f"{key} must be a finite number above {above:g}; got {shown(value)}")
    return value


def within(of: Mapping[str, Any], key: str, low: float, high: float) -> float:
    """Return a number from ``low`` to ``high``, such as a score."""
    value = of[key]
    # JSON has no inf, but 1e400 is read as inf.
    if type(value) not in (int, float) or not low <= value <= high:
        raise ValueError(f"{key} must be a number from {low:g} to {high:g}; got {shown(value)}")
    return float(value)


def names(of: Mapping[str, Any], known: Collection[str], what: str) -> list[str]:
    """Return the keys of an object; each must be one of ``known``."""
    if not isinstance(of, Mapping):
        raise ValueError(f"{what} must be an object; got {shown(of)}")
    for name in of:
        if name not in known:
            raise ValueError(f"{what} name {quoted(name)}, which this version does not know")
    return list(of)


def mapping(of: Mapping[str, Any], key: str) -> dict[str, str]:
    """Return an object whose values are texts."""
    value = of[key]
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError(f"{key} must be an object of texts; got {shown(value)}")
    return value


def finite(what: str, array: Any) -> Any:
    """Return an array of numbers, none of which is nan or infinite."""
    if not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite numbers")
    return array
