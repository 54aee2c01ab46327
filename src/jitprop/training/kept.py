"""Callback states, so that a fit can be resumed. Trainers, pickles and files hold them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.checks import quoted
from jitprop.files import encoding

TENSOR = "callbacks."
"""Prefix of the names of all tensors that hold arrays of callback states."""

KNOWN = (
    "get_state of {} must return a dict of str to None, bool, int, float, str, float32 or float64 "
    "arrays, and lists and dicts of these; {} is {}"
)

Layout: TypeAlias = dict[str, tuple[np.dtype[Any], tuple[int, ...]]]


class Kept(NamedTuple):
    """
    The state of one callback.

    Attributes
    ----------
    name : str
        Name of the callback's class.
    told : int
        Number of epochs that were reported to the callback, over all calls of `fit`.
    state : dict
        What the callback's ``get_state`` returned.
    """

    name: str
    told: int
    state: Mapping[str, Any]


def apart(kept: Iterable[Kept]) -> list[Kept]:
    """Return the same states, with copies of all arrays that are writable."""
    return [Kept(name, told, {k: _apart(v) for k, v in of.items()}) for name, told, of in kept]


def _apart(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy() if value.flags.writeable else value
    if isinstance(value, Mapping):
        return {key: _apart(item) for key, item in value.items()}
    return [_apart(item) for item in value] if isinstance(value, list | tuple) else value


def encoded(kept: Sequence[Kept]) -> tuple[list[Any], dict[str, Array]]:
    """
    Return the states as JSON values, and the arrays in them by their names in a file.

    Raises
    ------
    TypeError
        If a state holds something that cannot be saved. The message names the callback.
    """
    tensors: dict[str, Array] = {}
    made = []
    for name, told, state in kept:
        if not isinstance(state, Mapping):
            raise TypeError(KNOWN.format(name, "what it returned", checks.shown(state)))
        made.append({"class": name, "told": told, "state": _encoded(name, "it", state, tensors)})
    return made, tensors


def _encoded(name: str, where: str, value: Any, tensors: dict[str, Array]) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(float(value))}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray) and value.dtype in (np.float32, np.float64):
        key = f"{TENSOR}{len(tensors)}"
        tensors[key] = value
        return {"tensor": key, "dtype": value.dtype.name, "shape": list(value.shape)}
    if isinstance(value, list | tuple):
        return [_encoded(name, f"{where}[{i}]", v, tensors) for i, v in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {
            "dict": {
                k: _encoded(name, f"{where}[{quoted(k)}]", v, tensors) for k, v in value.items()
            }
        }
    raise TypeError(KNOWN.format(name, where, checks.shown(value)))


def layout(part: Any) -> Layout:
    """Return the dtype and shape of each tensor that belongs to encoded states, by its name."""
    made: Layout = {}
    for entry in _entries(part):
        _look_for_tensors(entry.get("state"), made)
    return made


def _look_for_tensors(value: Any, made: Layout) -> None:
    if isinstance(value, list):
        for item in value:
            _look_for_tensors(item, made)
    elif isinstance(value, dict) and isinstance(value.get("dict"), dict):
        for item in value["dict"].values():
            _look_for_tensors(item, made)
    elif isinstance(value, dict) and "tensor" in value:
        shape, dtype = value.get("shape"), value.get("dtype")
        if value["tensor"] != f"{TENSOR}{len(made)}":
            raise ValueError(f"its callbacks have no tensor {checks.shown(value['tensor'])}")
        if dtype not in ("float32", "float64") or not isinstance(shape, list):
            raise ValueError(f"its callbacks have a tensor of {checks.shown(dtype)}")
        numbers = tuple(checks.integer("shape", n, low=0) for n in shape)
        made[value["tensor"]] = np.dtype(dtype), numbers


def decoded(part: Any, tensors: Mapping[str, Array], epochs: int) -> list[Kept]:
    """Return the states after ``epochs`` epochs, from their JSON values and tensors."""
    made = []
    for entry in _entries(part):
        encoding.check_known("callbacks", entry, ("class", "told", "state"))
        name, told = entry.get("class"), entry.get("told")
        # A fit that diverges may go back by one epoch that was already reported to callbacks.
        told = checks.integer("told", told, low=0, high=epochs + 1)
        state = _decoded(entry.get("state"), tensors)
        if not isinstance(name, str) or not isinstance(state, dict):
            raise ValueError(f"its callbacks cannot be {checks.shown(entry)}")
        made.append(Kept(name, told, state))
    return made


def _decoded(value: Any, tensors: Mapping[str, Array]) -> Any:
    if isinstance(value, list):
        return [_decoded(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("dict"), dict):
        return {key: _decoded(item, tensors) for key, item in value["dict"].items()}
    if value.get("float") in ("nan", "inf", "-inf"):
        return float(value["float"])
    if value.get("tensor") in tensors:
        array = tensors[value["tensor"]]
        array.flags.writeable = False
        return array
    raise ValueError(f"its callbacks hold {checks.shown(value)}, which no callback keeps")


def _entries(part: Any) -> list[dict[str, Any]]:
    if not isinstance(part, list) or not all(isinstance(entry, dict) for entry in part):
        raise ValueError(f"its callbacks must be a list of objects; got {checks.shown(part)}")
    return part
