"""
Settings and histories as JSON, and back.

An object such as ``Adam()`` is encoded as {"class": its name, its fields}. A custom function, or an
object made of some, is encoded as {"custom": its name}. What is read is not trusted: a name is
never imported or run, but looked up among the classes here and the objects that the caller passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.net import activations, descent, losses, optimizers, schedules, second_order
from jitprop.training.history import History, Numbers, missing

CLASSES: dict[str, type[Any]] = {
    cls.__name__: cls
    for module in (activations, losses, optimizers, second_order, descent, schedules)
    for cls in vars(module).values()
    if isinstance(cls, type) and is_dataclass(cls) and cls.__module__ == module.__name__
    if cls not in (losses.Loss, schedules.Schedule)
}
"""The classes of settings, by name."""

BEFORE: dict[str, dict[str, Any]] = {name: {"epsilon_hat": True} for name in ("Adam", "AdamW")}
"""What a class's missing field means, where that is not its default: files that were written before
the field came have another form."""

HISTORY_IN_JSON = 100_000
"""
The most numbers of a history, in all its columns, that are stored as JSON. They take at most 2.5 MB
of the header, which is limited to `jitprop.files.sealed.MAX_HEADER`.
"""

COLUMNS = tuple(field.name for field in fields(History) if field.name not in ("metrics", "ended"))
"""The columns beside those of metrics. Why a method has ended stands in the optimizer's state."""

METRICS = "metrics."
"""The prefix of the columns of metrics, beside those in `COLUMNS`."""

TENSOR = "history."
"""The prefix of tensors that are columns of the history."""


def encoded(name: str, value: Any) -> Any:
    """
    Encode a setting or a part of the state as JSON.

    Raises
    ------
    TypeError
        For a custom object without a name.
    """
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
        # A schedule may hold another one, or a function that has a name of its own.
        own = not isinstance(value, schedules.Schedule) and any(map(callable, settings.values()))
        if not own:
            encoded_fields = {key: encoded(key, setting) for key, setting in settings.items()}
            return {"class": type(value).__name__, **encoded_fields}
    custom = getattr(value, "name", None) or getattr(value, "__name__", None)
    if isinstance(custom, str):
        return {"custom": custom}
    raise TypeError(f"{name} must have a name to be saved under; got {checks.shown(value)}")


def decoded(value: Any, custom_objects: Mapping[str, Any]) -> Any:
    """
    Decode a setting or a part of the state.

    Raises
    ------
    ValueError
        For a class that is not in `CLASSES`, and for a name that is not in ``custom_objects``.
    TypeError, ValueError
        As the class raises them for its settings.
    """
    if isinstance(value, list):
        return tuple(decoded(item, custom_objects) for item in value)
    if not isinstance(value, dict):
        return value
    if isinstance(name := value.get("custom"), str):
        if name not in custom_objects:
            raise ValueError(
                f"it was saved with {checks.quoted(name)}, a custom function or object: load "
                f"it with custom_objects={{{checks.quoted(name)}: ...}}"
            )
        return custom_objects[name]
    name = value.get("class")
    if not isinstance(name, str) or name not in CLASSES:
        raise ValueError(f"its settings have the unknown class {checks.shown(name)}")
    settings = {key: decoded(item, custom_objects) for key, item in value.items() if key != "class"}
    check_known(f"settings of {name}", settings, [field.name for field in fields(CLASSES[name])])
    return CLASSES[name](**BEFORE.get(name, {}) | settings)


def encoded_history(history: History) -> tuple[dict[str, Any], dict[str, Numbers]]:
    """Encode a history as JSON, and return with it the columns that must be stored as tensors."""
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
    """Return the names and shapes of the tensors that belong to an encoded history."""
    shape = (checks.integer("epochs", part.get("epochs"), low=0),)
    return {TENSOR + name: shape for name, column in _columns(part).items() if column is None}


def check_history(part: dict[str, Any], most: int) -> None:
    """
    Check an encoded history of at most ``most`` epochs, without decoding it.

    Raises
    ------
    TypeError, ValueError
        For anything that `encoded_history` does not return.
    """
    n_epochs = checks.integer("epochs", part.get("epochs"), low=0)
    for name, column in _columns(part).items():
        if column is None:
            continue
        if not (isinstance(column, list) and len(column) == n_epochs and all(map(_number, column))):
            raise ValueError(f"its history must have {n_epochs} numbers of {checks.quoted(name)}")
    if n_epochs > most:
        raise ValueError(f"its history must have at most {most} epochs; it has {n_epochs}")


def _number(value: Any) -> bool:
    return type(value) is float or (type(value) is str and value in ("nan", "inf", "-inf"))


def decoded_history(part: dict[str, Any], tensors: Mapping[str, Array]) -> History:
    """
    Decode a history that `check_history` has passed, with its tensors.

    Raises
    ------
    ValueError
        For a learning rate or seconds below 0.
    """
    columns: dict[str, Numbers] = {
        name: tensors[TENSOR + name] if column is None else np.array(column, np.float64)
        for name, column in _columns(part).items()
    }
    for name in ("learning_rate", "seconds"):
        if name in columns and (columns[name] < 0).any():
            raise ValueError(f"its history has {name} below 0")
    metrics = {name: columns.pop(name) for name in list(columns) if name.startswith(METRICS)}
    always: dict[str, Any] = {name: columns.get(name, missing(part["epochs"])) for name in COLUMNS}
    return History(
        metrics={name.removeprefix(METRICS): column for name, column in metrics.items()},
        **always,
    )


def _columns(part: dict[str, Any]) -> dict[str, Any]:
    columns = objects(part, "columns")
    check_known("history", [n for n in columns if not n.startswith(METRICS)], COLUMNS)
    if "loss" not in columns:  # without any column, nothing would limit the number of epochs
        raise ValueError("its history has no loss")
    return columns


def objects(of: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the JSON object with this name in another one."""
    found = of.get(name)
    if not isinstance(found, dict):
        raise ValueError(f"it has no {name}")
    return found


def check_known(what: str, found: Iterable[str], known: Iterable[str]) -> None:
    """Refuse unknown names, which would otherwise be lost when the net is saved again."""
    if unknown := sorted(set(found) - set(known)):
        raise ValueError(
            f"its {what} name {checks.printable(unknown[0])}, which this version does not know"
        )
