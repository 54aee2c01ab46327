"""Targets of tables: classes of any kind, or a quantity."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import checks, elementary
from jitprop._types import Array

Numbers = npt.NDArray[np.float64]

KINDS = {"text": str, "boolean": bool, "integer": int, "number": float}
"""The kinds of classes, and the Python type of each."""


@dataclass(frozen=True, eq=False)
class Classes:
    """
    The classes of a target.

    Attributes
    ----------
    values : (n_classes,) array
        The classes, sorted, in the dtype of the target.
    """

    values: Array

    @property
    def n_outputs(self) -> int:
        """The number of classes."""
        return len(self.values)

    def codes(self, name: str, y: Any) -> npt.NDArray[np.int64]:
        """
        Return the number of each row's class.

        Raises
        ------
        ValueError
            For a missing value, and for a class that is not known.
        """
        y = values_of(name, y)
        try:
            places = np.minimum(np.searchsorted(self.values, y), len(self.values) - 1)
            wrong = self.values[places] != y
        except TypeError:
            raise ValueError(f"{name} must hold classes of one kind; got mixed kinds") from None
        if np.any(wrong):
            raise ValueError(
                f"{name} has the class {checks.shown(y[wrong].tolist()[0])}, which no row of the "
                "training has"
            )
        codes: npt.NDArray[np.int64] = places.astype(np.int64)
        return codes

    def to_file(self) -> dict[str, Any]:
        """Return what a file keeps, as JSON."""
        first = self.values.tolist()[0]
        kind = next(kind for kind, of in KINDS.items() if type(first) is of)
        return {"kind": "classes", "of": kind, "values": self.values.tolist()}


@dataclass(frozen=True)
class Quantity:
    """
    The scale of a target that is a number.

    Attributes
    ----------
    mean, deviation : float
        Of the rows that were trained on, by their weights. The net gets (y - mean) / deviation.
    low, high : float
        The range of these rows. Predictions are clipped to it.
    """

    mean: float
    deviation: float
    low: float
    high: float

    n_outputs = 1

    def scaled(self, y: Numbers) -> npt.NDArray[np.float32]:
        """Return the targets of the net, (n, 1)."""
        with np.errstate(over="ignore"):
            return ((y - self.mean) / self.deviation).astype(np.float32).reshape(-1, 1)

    def predictions(self, outputs: Array) -> Numbers:
        """Return the predictions of a net with these outputs, (n,)."""
        made = outputs.reshape(-1).astype(np.float64) * self.deviation + self.mean
        return np.clip(made, self.low, self.high)

    def to_file(self) -> dict[str, Any]:
        """Return what a file keeps, as JSON."""
        numbers = {name: getattr(self, name) for name in ("mean", "deviation", "low", "high")}
        return {"kind": "quantity", **numbers}


Target = Classes | Quantity


def values_of(name: str, y: Any) -> Array:
    """
    Return the classes of a target as an array of text, booleans, integers or numbers.

    Raises
    ------
    ValueError
        For a missing value, for mixed kinds, and for anything that is no class.
    """
    array = _column(name, y)
    if array.dtype == object:
        found = array.tolist()
        if any(_is_missing(value) for value in found):
            raise ValueError(f"{name} must have no missing values; drop these rows first")
        kinds = {type(value.item() if isinstance(value, np.generic) else value) for value in found}
        if kinds == {str}:
            return array
        if not kinds <= {bool, int, float} or (bool in kinds and len(kinds) > 1):
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise ValueError(
                f"{name} must hold classes of one kind: texts, booleans or numbers; got {names}. "
                "Unknown label type"
            )
        array = np.array(found, bool if kinds == {bool} else float if float in kinds else np.int64)
    if array.dtype.kind == "U":
        return array
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} must hold classes: texts, booleans or numbers; got {array.dtype}. "
            "Unknown label type"
        )
    if array.dtype.kind == "f":
        _refuse_not_finite(name, array)
    return array


def classes_of(name: str, y: Any) -> Classes:
    """
    Return the classes of a target.

    Raises
    ------
    ValueError
        If there is one class alone, or a value is missing or is no class.
    """
    array = values_of(name, y)
    values = np.unique(array)
    if len(values) < 2:
        only = checks.shown(values.tolist()[0])
        raise ValueError(f"{name} must have at least two classes; got 1 class, {only}")
    return Classes(values)


def numbers_of(name: str, y: Any) -> Numbers:
    """
    Return a target that is a number.

    Raises
    ------
    ValueError
        For a missing or an infinite value, and for anything that is no number.
    """
    array = _column(name, y)
    if array.dtype == object:
        found = array.tolist()
        if any(_is_missing(value) for value in found):
            raise ValueError(f"{name} must have no missing values (NaN); drop these rows first")
    try:
        if array.dtype.kind not in "biufOUS":
            raise TypeError
        made = array.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must hold numbers; got {array.dtype}. Classes need a classifier"
        ) from None
    _refuse_not_finite(name, made)
    return made


def quantity_of(y: Numbers, weights: Numbers | None) -> Quantity:
    """Return the scale of the targets of the rows to train on."""
    unit = elementary.unit(y)
    small = y / unit
    mean = elementary.mean(small, weights)
    deviation = math.sqrt(elementary.mean(np.square(small - mean), weights)) * unit
    low, high = float(y.min()), float(y.max())
    return Quantity(mean * unit, deviation if deviation > 0.0 else 1.0, low, high)


def from_file(part: Any) -> Target:
    """
    Return the target that a file keeps.

    Raises
    ------
    TypeError, ValueError
        For anything that `to_file` does not return.
    """
    if not isinstance(part, dict):
        raise ValueError(f"its target must be an object; got {checks.shown(part)}")
    if part.get("kind") == "quantity":
        return _quantity(part)
    of, values = part.get("of"), part.get("values")
    if part.get("kind") != "classes" or of not in KINDS or not isinstance(values, list):
        raise ValueError(f"its target must be classes or a quantity; got {checks.shown(part)}")
    if len(values) < 2 or any(type(value) is not KINDS[of] for value in values):
        raise ValueError(f"its classes must be two or more values of the kind {of!r}")
    dtype = None
    if of == "integer":
        low, high = min(values), max(values)
        dtype = np.int64 if high < 2**63 else np.uint64
        if low < np.iinfo(dtype).min or high > np.iinfo(dtype).max:
            raise ValueError("its classes must be integers of 64 bits")
    made = np.array(values, dtype)
    if any(a >= b for a, b in pairwise(values)):
        raise ValueError("its classes must be sorted, and each must be there once")
    return Classes(made)


def _quantity(part: dict[str, Any]) -> Quantity:
    numbers = {
        name: checks.number(name, part.get(name)) for name in ("mean", "deviation", "low", "high")
    }
    if numbers["deviation"] <= 0.0 or numbers["low"] > numbers["high"]:
        raise ValueError(f"its target cannot have the scale {checks.shown(part)}")
    return Quantity(**numbers)


def _column(name: str, y: Any) -> Array:
    """Return one column of values as a 1-D array."""
    if y is None:
        raise ValueError(f"{name} must be a column of targets; got None")
    if hasattr(y, "to_numpy") and not hasattr(y, "to_pylist"):  # a series of pandas or polars
        y = y.to_numpy()
    array = np.asarray(y)
    if array.dtype.kind == "U" and not isinstance(y, np.ndarray):
        array = np.asarray(y, object)  # NumPy would make texts of numbers beside texts
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(
            f"{name} must have one target for each row, shape (n_rows,); got shape {array.shape}"
        )
    if len(array) == 0:
        raise ValueError(f"{name} must have a target for each row; got none")
    return array


def _is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN, NaT or pandas' NA."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def _refuse_not_finite(name: str, array: Array) -> None:
    if np.isnan(array).any():
        raise ValueError(f"Input {name} contains NaN: {name} must have no missing values")
    if np.isinf(array).any():
        raise ValueError(f"Input {name} contains infinity: {name} must be finite")
