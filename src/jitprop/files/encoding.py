"""
Settings and histories as what JSON knows, and back.

An object such as ``Adam()`` is {"class": its name, its fields}; a function of the user's own, or
an object made of such, is {"custom": its name}. No name that is read is imported or run: it is
looked up among the classes here and the objects that the caller gives. What is read is distrusted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.net import losses, optimizers, schedules
from jitprop.training.history import History, Numbers, missing

CLASSES: dict[str, type[Any]] = {
    cls.__name__: cls
    for module in (losses, optimizers, schedules)
    for cls in vars(module).values()
    if isinstance(cls, type) and is_dataclass(cls) and cls.__module__ == module.__name__
    if cls not in (losses.Loss, schedules.Schedule)
}
"""The settings that are objects."""

HISTORY_IN_JSON = 100_000
"""Numbers of a history, in all its columns: at most 2.5 MB of `jitprop.files.sealed.MAX_HEADER`."""

COLUMNS = tuple(field.name for field in fields(History) if field.name != "metrics")

METRICS = "metrics."
"""What the names of metrics begin with, beside those columns."""

TENSOR = "history."
"""What the names of the tensors begin with that are columns."""


def encoded(name: str, value: Any) -> Any:
    """What JSON knows, for a setting or a part of the state."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return [encoded(name, item) for item in value]
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if CLASSES.get(type(value).__name__) is type(value):
        settings = {field.name: getattr(value, field.name) for field in fields(value)}
        if not any(callable(setting) for setting in settings.values()):
            of = {key: encoded(key, setting) for key, setting in settings.items()}
            return {"class": type(value).__name__, **of}
    own = getattr(value, "name", None) or getattr(value, "__name__", None)
    if isinstance(own, str):
        return {"custom": own}
    raise TypeError(f"{name} must have a name to be saved by; got {checks.shown(value)}")


def decoded(value: Any, custom_objects: Mapping[str, Any]) -> Any:
    """A setting or a part of the state, from what JSON knows."""
    if isinstance(value, list):
        return tuple(decoded(item, custom_objects) for item in value)
    if not isinstance(value, dict):
        return value
    if isinstance(name := value.get("custom"), str):
        if name not in custom_objects:
            raise ValueError(
                f"it was saved with {checks.quoted(name)}, a function or object of your own: load "
                f"it with custom_objects={{{checks.quoted(name)}: ...}}"
            )
        return custom_objects[name]
    name = value.get("class")
    if not isinstance(name, str) or name not in CLASSES:
        raise ValueError(f"no settings are of the class {checks.shown(name)}")
    of = {key: decoded(item, custom_objects) for key, item in value.items() if key != "class"}
    check_known(f"settings of {name}", of, [field.name for field in fields(CLASSES[name])])
    return CLASSES[name](**of)


def encoded_history(history: History) -> tuple[dict[str, Any], dict[str, Numbers]]:
    """What JSON knows of it, and those columns that are to be tensors."""
    columns = {name: getattr(history, name) for name in COLUMNS}
    if np.isnan(history.validation_loss).all():
        del columns["validation_loss"]
    columns |= {METRICS + name: column for name, column in history.metrics.items()}
    n_epochs = len(history.loss)
    if n_epochs * len(columns) > HISTORY_IN_JSON:
        tensors = {TENSOR + name: column for name, column in columns.items()}
        return {"epochs": n_epochs, "columns": dict.fromkeys(columns)}, tensors
    lists = {name: _encoded_column(column) for name, column in columns.items()}
    return {"epochs": n_epochs, "columns": lists}, {}


def _encoded_column(column: Numbers) -> list[float | str]:
    values: list[float] = column.tolist()
    return [x if math.isfinite(x) else repr(x) for x in values]


def history_tensors(part: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that belong to an encoded history."""
    shape = (checks.integer("epochs", part.get("epochs"), low=0),)
    return {TENSOR + name: shape for name, column in _columns(part).items() if column is None}


def check_history(part: dict[str, Any], most: int) -> None:
    """
    Refuse what `encoded_history` does not make of at most so many epochs.

    Nothing is read or made of it.
    """
    n_epochs = checks.integer("epochs", part.get("epochs"), low=0)
    for name, column in _columns(part).items():
        if column is None:
            continue
        if not (isinstance(column, list) and len(column) == n_epochs and all(map(_number, column))):
            raise ValueError(f"its history must have {n_epochs} numbers of {checks.quoted(name)}")
    if n_epochs > most:
        raise ValueError(f"its history has {n_epochs} epochs, and at most {most} can be in it")


def _number(value: Any) -> bool:
    return type(value) is float or (type(value) is str and value in ("nan", "inf", "-inf"))


def decoded_history(part: dict[str, Any], tensors: Mapping[str, Array]) -> History:
    """A history from what JSON knows of it, which was checked, and the tensors."""
    columns: dict[str, Numbers] = {
        name: tensors[TENSOR + name] if column is None else np.array(column, np.float64)
        for name, column in _columns(part).items()
    }
    for name in ("learning_rate", "seconds"):
        if name in columns and (columns[name] < 0).any():
            raise ValueError(f"its history has {name} below 0")
    metrics = {name: columns.pop(name) for name in list(columns) if name.startswith(METRICS)}
    return History(
        metrics={name.removeprefix(METRICS): column for name, column in metrics.items()},
        **{name: columns.get(name, missing(part["epochs"])) for name in COLUMNS},
    )


def _columns(part: dict[str, Any]) -> dict[str, Any]:
    columns = objects(part, "columns")
    check_known("history", [n for n in columns if not n.startswith(METRICS)], COLUMNS)
    if "loss" not in columns:  # with no column at all, any number of epochs would do
        raise ValueError("its history has no loss")
    return columns


def objects(of: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The JSON object of that name in another."""
    found = of.get(name)
    if not isinstance(found, dict):
        raise ValueError(f"it has no {name}")
    return found


def check_known(what: str, found: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names that are not known: they would be lost."""
    if unknown := sorted(set(found) - set(known)):
        raise ValueError(
            f"its {what} name {checks.printable(unknown[0])}, which this version does not know"
        )
