"""
Values in a model file: each of the type that was written, or a ValueError.

Who alters a file can seal it anew, so none is believed: a text instead of a list would be one mark
for each of its letters, and a spread of 0 would divide.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Mapping
from typing import Any

from jitprop.checks import quoted, shown

LARGEST = sys.float_info.max


def text(of: Mapping[str, Any], key: str) -> str:
    """A text that is not empty."""
    value = of[key]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} must be text; got {shown(value)}")
    return value


def texts(of: Mapping[str, Any], key: str, differ: bool = False) -> tuple[str, ...]:
    """A list of texts; those that must differ are names, and none of them is empty."""
    value = of[key]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{key} must be a list of texts; got {shown(value)}")
    if differ and (len(set(value)) < len(value) or "" in value):
        raise ValueError(f"{key} must differ from one another; got {shown(value)}")
    return tuple(value)


def flag(of: Mapping[str, Any], key: str) -> bool:
    """True or False."""
    value = of[key]
    if not isinstance(value, bool):
        raise ValueError(f"{key} must be true or false; got {shown(value)}")
    return value


def number(of: Mapping[str, Any], key: str, above: float = -math.inf) -> float:
    """A finite number; of a mean, say."""
    value = within(of, key, -LARGEST, LARGEST)
    if value <= above:
        raise ValueError(f"{key} must be a finite number above {above:g}; got {shown(value)}")
    return value


def within(of: Mapping[str, Any], key: str, low: float, high: float) -> float:
    """A number from ``low`` to ``high``; of a score, say."""
    value = of[key]
    # JSON has no inf, but 1e400 is read as one.
    if type(value) not in (int, float) or not low <= value <= high:
        raise ValueError(f"{key} must be a number from {low:g} to {high:g}; got {shown(value)}")
    return float(value)


def names(of: Mapping[str, Any], known: Collection[str], what: str) -> list[str]:
    """The keys of an object, each of which is known."""
    if not isinstance(of, Mapping):
        raise ValueError(f"{what} must be an object; got {shown(of)}")
    for name in of:
        if name not in known:
            raise ValueError(f"{what} name {quoted(name)}, which this version does not know")
    return list(of)


def mapping(of: Mapping[str, Any], key: str) -> dict[str, str]:
    """Texts by names."""
    value = of[key]
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError(f"{key} must be an object of texts; got {shown(value)}")
    return value
