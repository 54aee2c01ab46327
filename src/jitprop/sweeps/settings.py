"""The settings of a sweep, and which of them one fleet can train."""

from __future__ import annotations

import inspect
import itertools
import numbers
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitprop import checks
from jitprop.checks import quoted
from jitprop.fleet import Fleet

Setting = dict[str, Any]

KNOWN = (*(set(inspect.signature(Fleet).parameters) - {"members"}), "epochs")
"""The names that a setting may have."""

PER_MEMBER: dict[str, Callable[[str, Any], Any]] = {
    "seed": lambda name, value: checks.integer(name, value, low=0),
    "learning_rate": lambda name, value: checks.number(name, value, above=0.0),
    "weight_decay": lambda name, value: checks.number(name, value, low=0.0),
    "momentum": lambda name, value: checks.number(name, value, low=0.0, below=1.0),
    "dropout": lambda name, value: checks.number(name, value, low=0.0, below=1.0),
}
"""The settings in which members of one fleet may differ, each with its check."""


def expand(grid: Any, fixed: Mapping[str, Any]) -> list[Setting]:
    """
    Return the settings that ``grid`` describes: all combinations of its lists, or its dicts.

    Raises
    ------
    TypeError, ValueError
        For bad input, unknown names, and settings without epochs or layer sizes.
    """
    if isinstance(grid, Mapping):
        values = [_values(name, values) for name, values in grid.items()]
        made = [
            dict(zip(grid, combination, strict=True)) for combination in itertools.product(*values)
        ]
    elif checks.is_list(grid):
        if len(grid) == 0:
            raise ValueError("grid must have at least one setting; got none")
        for i, setting in enumerate(grid):
            if not isinstance(setting, Mapping):
                raise TypeError(
                    f"grid[{i}] must be a dict of settings by name; got {checks.shown(setting)}"
                )
        made = [dict(setting) for setting in grid]
    else:
        raise TypeError(
            "grid must be a dict of lists, whose combinations are all tried, or a list of "
            f"dicts, one for each setting; got {checks.shown(grid)}"
        )
    for name in dict.fromkeys(itertools.chain(fixed, *made)):
        if name not in KNOWN:
            checks.choice("setting", name, tuple(sorted(KNOWN)))
    for i, setting in enumerate(made):
        if "epochs" not in setting and "epochs" not in fixed:
            raise ValueError(f"epochs must be an argument or in grid; setting {i} has none")
        if "layer_sizes" not in setting and "layer_sizes" not in fixed:
            raise ValueError(f"layer_sizes must be an argument or in grid; setting {i} has none")
    return made


def _values(name: str, values: Any) -> list[Any]:
    if not checks.is_list(values):
        raise TypeError(
            f"grid[{quoted(name)}] must be a list of values; got {checks.shown(values)}"
        )
    if len(values) == 0:
        raise ValueError(f"grid[{quoted(name)}] must have at least one value; got none")
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


@dataclass
class Group:
    """
    Settings that one fleet can train.

    Attributes
    ----------
    epochs : int
    shared : dict
        Arguments of `Fleet` that are the same for all settings.
    indices : list of int
        The indices of the settings.
    varied : list of dict
        For each setting, the arguments in which they differ.
    """

    epochs: int
    shared: Setting
    indices: list[int]
    varied: list[Setting]


def groups(settings: list[Setting], fixed: Mapping[str, Any]) -> list[Group]:
    """
    Put settings that one fleet can train into groups.

    Raises
    ------
    TypeError, ValueError
        For a bad value of a setting in which members may differ, naming the setting.
    """
    found: dict[Hashable, Group] = {}
    for index, setting in enumerate(settings):
        shared, varied = {**fixed, **setting}, {}
        try:
            epochs = checks.integer("epochs", shared.pop("epochs"), low=1)
            for name, check in PER_MEMBER.items():
                if name in shared and not _must_be_shared(name, shared[name]):
                    varied[name] = check(name, shared.pop(name))
            if "dropout" in shared:  # one rate for each layer: `Fleet` wants a row for all members
                shared["dropout"] = [list(shared["dropout"])]
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"in setting {index}, {checks.printable(str(setting))}: {error}"
            ) from None
        # A fleet computes neither momentum nor dropout if all members have 0. Its results may then
        # have other bits, so settings with 0 go into a group of their own.
        zero = tuple(name for name in ("momentum", "dropout") if varied.get(name) == 0)
        key = (epochs, _hashable(shared), tuple(varied), zero)
        group = found.setdefault(key, Group(epochs, shared, [], []))
        group.indices.append(index)
        group.varied.append(varied)
    return list(found.values())


def _must_be_shared(name: str, value: Any) -> bool:
    """Whether members of a fleet cannot differ in this value, such as a schedule or None."""
    if name == "learning_rate":
        return not (isinstance(value, numbers.Real) or checks.is_list(value))
    if name == "dropout":
        return checks.is_list(value)
    return name == "momentum" and value is None


def _hashable(value: Any) -> Hashable:
    """A key that is the same for equal values. An object that has no hash equals only itself."""
    if isinstance(value, Mapping):
        return frozenset((name, _hashable(v)) for name, v in value.items())
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, list | tuple):
        return tuple(_hashable(v) for v in value)
    try:
        hash(value)
    except TypeError:
        return id(value)
    return type(value), value
