"""
Saving and loading of nets for tables, in one file like that of `jitprop.files.saving`.

What the columns and the target have learned is JSON and arrays. Nothing of it is run when a file is
read.
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

import numpy as np

from jitprop import checks
from jitprop.files import encoding, sealed
from jitprop.files.saving import check_format, check_kind, refusing
from jitprop.net.spec import HIDDEN_ACTIVATIONS, make_spec
from jitprop.net.state import all_finite
from jitprop.tabular import calibration, targets
from jitprop.tabular.columns import Columns
from jitprop.tabular.model import TabularNet, predictor
from jitprop.tabular.targets import Classes

FORMAT = 1
"""The format of the content. A file with a greater number is refused."""

KIND = "table"
"""What such a file calls itself, in "kind"."""

CONTENT = (
    "format",
    "kind",
    "columns",
    "target",
    "sizes",
    "activation",
    "members",
    "temperature",
    "residuals",
    "extra",
)

COLUMNS = "columns."
"""The prefix of the tensors that belong to the columns."""


def write(path: str | os.PathLike[str], net: TabularNet, extra: Any = None) -> None:
    """
    Write one safetensors file, completely or not at all.

    Parameters
    ----------
    path : str or path-like
    net : TabularNet
    extra : value that JSON can hold, optional
        `read` returns it.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    columns, arrays = net.columns.to_file()
    first = net.members[0]
    content = {
        "format": FORMAT,
        "kind": KIND,
        "columns": columns,
        "target": net.target.to_file(),
        "sizes": list(first.layer_sizes),
        "activation": first.activation[0],
        "members": len(net.members),
        "temperature": net.temperature,
        "residuals": len(net.residuals),
        "extra": extra,
    }
    tensors = {
        "parameters": np.stack([member.parameters for member in net.members]),
        "residuals": net.residuals,
        **{COLUMNS + name: array for name, array in arrays.items()},
    }
    sealed.write(path, content, tensors)


def read(path: str | os.PathLike[str]) -> tuple[TabularNet, Any]:
    """
    Read a file that `write` wrote.

    Returns
    -------
    net : TabularNet
    extra : what was given to `write`

    Raises
    ------
    CheckpointError
        For any other file, with its name and the reason.
    OSError
        If the file cannot be read.
    """
    with refusing(path), sealed.reading(path) as file:
        try:
            file.check(_layout(file.content))
            return _net(file), file.content.get("extra")
        except KeyError as error:
            raise ValueError(f"it has no {error}") from None


def _layout(content: dict[str, Any]) -> sealed.Layout:
    """Check the format, and return the dtype and shape of each tensor of a file."""
    check_kind(content, KIND)
    check_format(content, FORMAT)
    encoding.check_known("content", content, CONTENT)
    arrays = Columns.layout(encoding.objects(content, "columns"))
    n_parameters = sum((n_in + 1) * n_out for n_in, n_out in pairwise(_sizes(content)))
    members = checks.integer("members", content.get("members"), low=1)
    n = checks.integer("residuals", content.get("residuals"), low=0)
    return {
        "parameters": (np.dtype(np.float32), (members, n_parameters)),
        "residuals": (np.dtype(np.float64), (n,)),
        **{COLUMNS + name: entry for name, entry in arrays.items()},
    }


def _sizes(content: dict[str, Any]) -> list[int]:
    sizes = content.get("sizes")
    if not isinstance(sizes, list) or len(sizes) < 3:
        raise ValueError(f"sizes must be a list of three or more ints; got {checks.shown(sizes)}")
    return [checks.integer("sizes", size, low=1) for size in sizes]


def _net(file: sealed.Reading) -> TabularNet:
    """Return the net of a file whose tensors have the layout that it says."""
    content = file.content
    target, sizes = targets.from_file(content.get("target")), _sizes(content)
    arrays = {name.removeprefix(COLUMNS): a for name, a in file.tensors(COLUMNS).items()}
    columns = Columns.from_file(encoding.objects(content, "columns"), arrays)
    if (columns.n_inputs, target.n_outputs) != (sizes[0], sizes[-1]):
        raise ValueError(
            f"its columns and its target need a net of {columns.n_inputs} inputs and "
            f"{target.n_outputs} outputs; it has {sizes[0]} and {sizes[-1]}"
        )
    activation = checks.choice("activation", content.get("activation"), HIDDEN_ACTIVATIONS)
    low, high = calibration.RANGE
    temperature = checks.number("temperature", content.get("temperature"), above=0.0)
    if not low <= temperature <= high:
        raise ValueError(f"its temperature must be from {low:g} to {high:g}; got {temperature:g}")
    residuals, parameters = file.tensor("residuals"), file.tensor("parameters")
    if not all_finite(residuals, parameters):
        raise ValueError("its tensors must be finite; they have inf or nan")
    if len(residuals) and (residuals[0] < 0.0 or (np.diff(residuals) < 0.0).any()):
        raise ValueError("its residuals must be at least 0, and sorted")
    output = "softmax" if isinstance(target, Classes) else "identity"
    spec = make_spec(layer_sizes=sizes, activation=activation)
    members = [predictor(sizes, activation, output, spec.split(each)) for each in parameters]
    return TabularNet(columns, target, tuple(members), temperature, residuals)
