"""Nets for tables as ONNX files: one input for each column."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from jitprop.export.onnx import OPSET, Graph, check_opset, package
from jitprop.files.atomic import replacing
from jitprop.tabular.columns import Columns
from jitprop.tabular.encoders import CategoryEncoder, DateEncoder, NumberEncoder
from jitprop.tabular.encoders.dates import DAY, HOUR
from jitprop.tabular.encoders.scale import BEYOND, LARGEST
from jitprop.tabular.export import parts
from jitprop.tabular.table import quoted
from jitprop.tabular.targets import Classes, Quantity

ML = "ai.onnx.ml"
"""The domain of the operator that numbers texts. Version 2 is of 2019."""

FLOAT, INT64, STRING, DOUBLE = 1, 7, 8, 11
"""Types of tensors in ONNX."""

Op: TypeAlias = Callable[[str, str, str | int], str]


def to_onnx(model: Any, path: str | os.PathLike[str], *, opset: int = OPSET) -> None:
    """
    Write a net for tables to an ONNX file, which takes the columns as they are.

    Parameters
    ----------
    model : TabularClassifier, TabularRegressor or TabularNet
        Estimators must be fitted.
    path : str or path-like
        An existing file is replaced.
    opset : int, default 17
        The version of ONNX's operators, as of `jitprop.export.to_onnx`.

    Raises
    ------
    TypeError, ValueError
        For another model or opset, a column of texts, a column with the name of an output, and
        classes that are neither numbers nor text. The message names the column.
    ImportError
        If onnx is not installed.
    OSError
        If the file cannot be written.

    Notes
    -----
    Each column that the net uses is an input of its name and of shape (n, 1):

    - a number: double, nan where it is missing;
    - a boolean: double, 0 or 1, nan where it is missing;
    - a date: double, seconds since 1970 in UTC, nan where it is missing;
    - a category or a text: string. Any that training did not have, such as "", is missing.

    A classifier has the outputs "label", (n,), and "probabilities", (n, n_classes) double. A
    regressor has "prediction", (n, 1) double. The columns are encoded in float64 and the nets are
    computed in float32, as in `predict`.
    """
    net = parts.of(model)
    names = [encoder.name for encoder in net.columns.encoders]
    onnx, opset = package(), check_opset(opset)
    graph = Graph(np.dtype(np.float32), prefix_for(names))
    inputs, a = _encoded(graph, net.columns)
    helper = onnx.helper
    target = net.target
    made = [
        graph("Cast", graph.outputs(each, a, None, f"net{i}_"), to=DOUBLE)
        for i, each in enumerate(_reordered(net))
    ]
    if isinstance(target, Classes):
        total = made[0] if len(made) == 1 else graph("Sum", *made)
        axes = graph.constant(np.array([1]), "classes_axis")
        name = "probabilities"
        graph("Div", total, graph("ReduceSum", total, axes, keepdims=1), name=name)
        label = graph.label(target.values, name)
        outputs = [
            helper.make_tensor_value_info(label, graph.class_type, [None]),
            helper.make_tensor_value_info(name, DOUBLE, [None, target.n_outputs]),
        ]
    else:
        name = "prediction"
        _predicted(graph, target, made, name)
        outputs = [helper.make_tensor_value_info(name, DOUBLE, [None, 1])]
    check_names(names, [output.name for output in outputs])
    made_inputs = [helper.make_tensor_value_info(n, kind, [None, 1]) for n, kind in inputs]
    content = graph.model(made_inputs, outputs, {"": opset, ML: 2})
    with replacing(path) as file:
        file.write(content.SerializeToString())


def prefix_for(names: list[str]) -> str:
    """Return a beginning of names that no column has."""
    prefix = "jitprop/"
    while any(name.startswith(prefix) for name in names):
        prefix += "/"
    return prefix


def check_names(names: list[str], outputs: list[str]) -> None:
    """
    Check that the columns can be inputs of a graph with these outputs.

    Raises
    ------
    ValueError
        If a column has the name of an output or none. The message names it.
    """
    for name in names:
        if name in outputs or not name:
            raise ValueError(
                f"column {quoted(name)} must have another name to be exported: "
                + ("an output has this one" if name else "ONNX has no empty names")
            )


def _encoded(graph: Graph, columns: Columns) -> tuple[list[tuple[str, int]], str]:
    """Add the encoding of all columns; the inputs that say what is missing come last."""
    inputs, features, gaps = [], [], []
    for encoder, missing in zip(columns.encoders, columns.missing, strict=True):
        name = encoder.name
        if isinstance(encoder, CategoryEncoder):
            inputs.append((name, DOUBLE if encoder.boolean else STRING))
            features.append(_categories(graph, encoder))
            continue
        assert isinstance(encoder, DateEncoder | NumberEncoder)
        inputs.append((name, DOUBLE))
        features.append(_date(graph, encoder) if isinstance(encoder, DateEncoder) else name)
        if missing:
            gaps.append(graph("Cast", graph("IsNaN", name), to=DOUBLE))
    x = graph("Concat", *features, axis=1)
    medians = graph.constant(columns.medians, "medians")
    x = graph("Where", graph("IsNaN", x), medians, x)
    x = graph("Sub", clip(graph, x, LARGEST), medians)
    z = clip(graph, graph("Mul", x, graph.constant(columns.factors, "factors")), BEYOND)
    third = graph("Div", z, double(graph, 3.0))
    root = graph("Sqrt", graph("Add", graph("Mul", third, third), double(graph, 1.0)))
    made = graph("Div", z, root)
    if gaps:
        made = graph("Concat", made, *gaps, axis=1)
    return inputs, graph("Cast", made, to=FLOAT)


def _reordered(net: Any) -> list[Any]:
    """Return the nets for inputs of which those that say what is missing come last."""
    columns = net.columns
    first: list[int] = []
    last: list[int] = []
    for encoder, missing in zip(columns.encoders, columns.missing, strict=True):
        block = range(*columns.blocks[encoder.name].indices(columns.n_inputs))
        first += block[: len(block) - missing]
        last += block[len(block) - missing :]
    order = np.array(first + last)
    return [
        each._replace(weights=[each.weights[0][order], *each.weights[1:]])
        for each in parts.members(net)
    ]


def double(graph: Graph, value: float) -> str:
    """Add a constant double and return its name."""
    return graph.constant(np.array([value], np.float64), f"double_{len(graph.initializers)}")


def _integer(graph: Graph, value: int) -> str:
    return graph.constant(np.array([value], np.int64), f"integer_{len(graph.initializers)}")


def clip(graph: Graph, x: str, most: float) -> str:
    """Add doubles x, clipped to plus or minus ``most``, and return their name."""
    low = graph.constant(np.array(-most), f"low_{len(graph.initializers)}")
    return graph("Min", graph("Max", x, low), double(graph, most))


def _categories(graph: Graph, encoder: CategoryEncoder) -> str:
    """Add the features of a category, (n, n_features) double."""
    categories: Any = encoder.categories
    if encoder.boolean:
        code = encoder.name
        values = [float(text == "true") for text in categories]
    else:
        code = graph(
            "LabelEncoder",
            encoder.name,
            domain=ML,
            keys_strings=list(categories),
            values_floats=[float(i) for i in range(len(categories))],
            default_float=-1.0,
        )
        code = graph("Cast", code, to=DOUBLE)
        values = [float(i) for i in range(len(categories))]
    which = graph.constant(np.array([values]), f"values_{len(graph.initializers)}")
    hot = graph("Cast", graph("Equal", code, which), to=DOUBLE)
    if len(categories) != 2:
        return hot
    signs = graph.constant(np.array([[-1.0, 1.0]]), f"signs_{len(graph.initializers)}")
    axes = graph.constant(np.array([1]), f"axes_{len(graph.initializers)}")
    return graph("ReduceSum", graph("Mul", hot, signs), axes, keepdims=1)


def _date(graph: Graph, encoder: DateEncoder) -> str:
    """Add the features of a date, (n, n_features) double, nan where it is missing."""
    missing = graph("IsNaN", encoder.name)
    number: dict[int, str] = {}

    def of(op: str, a: str, b: str | int) -> str:
        if isinstance(b, int) and b not in number:
            number[b] = _integer(graph, b)
        return graph(op, a, b if isinstance(b, str) else number[b])

    def floor(a: str, b: int) -> str:
        return of("Div", of("Sub", a, of("Mod", a, b)), b)

    seconds = graph("Where", missing, double(graph, 0.0), encoder.name)
    micro = graph("Round", graph("Mul", seconds, double(graph, 1e6)))
    micro = graph("Cast", micro, to=INT64)
    day = floor(micro, DAY)
    found: dict[str, tuple[str, int]] = {
        "day of week": (of("Mod", of("Add", day, 3), 7), 1),
        "hour": (of("Mod", micro, DAY), HOUR),
        "days": (of("Sub", micro, encoder.first), DAY),
    }
    if {"year", "month"} & {*encoder.parts}:
        year, month = _calendar(of, floor, day)
        found |= {"year": (year, 1), "month": (month, 1)}
    features = []
    for part in encoder.parts:
        whole, unit = found[part]
        x = graph("Cast", whole, to=DOUBLE)
        features.append(x if unit == 1 else graph("Div", x, double(graph, float(unit))))
    x = graph("Concat", *features, axis=1)
    return graph("Where", missing, double(graph, np.nan), x)


def _calendar(of: Op, floor: Callable[[str, int], str], day: str) -> tuple[str, str]:
    """
    Add the year and the month of a day since 1970.

    They are computed as H. Hinnant does it (*chrono-compatible low-level date algorithms*, 2013): a
    year begins in March, and an era is 400 years.
    """
    z = of("Add", day, 719_468)  # days since 1 March of the year 0
    era = floor(z, 146_097)
    doe = of("Sub", z, of("Mul", era, 146_097))
    days = of("Add", of("Sub", doe, of("Div", doe, 1460)), of("Div", doe, 36_524))
    yoe = of("Div", of("Sub", days, of("Div", doe, 146_096)), 365)
    past = of("Sub", of("Add", of("Mul", yoe, 365), of("Div", yoe, 4)), of("Div", yoe, 100))
    mp = of("Div", of("Add", of("Mul", of("Sub", doe, past), 5), 2), 153)
    next_year = of("Div", mp, 10)  # January and February, which are 10 and 11 here
    month = of("Sub", of("Add", mp, 3), of("Mul", next_year, 12))
    return of("Add", of("Add", yoe, of("Mul", era, 400)), next_year), month


def _predicted(graph: Graph, target: Quantity, outputs: list[str], name: str) -> None:
    """Add the mean of the predictions of all nets."""
    made = []
    for output in outputs:
        x = graph("Mul", output, double(graph, target.deviation))
        x = graph("Add", x, double(graph, target.mean))
        made.append(graph("Min", graph("Max", x, double(graph, target.low)),
                          double(graph, target.high)))  # fmt: skip
    # onnxruntime has no Mean of double.
    total = made[0] if len(made) == 1 else graph("Sum", *made)
    graph("Div", total, double(graph, float(len(made))), name=name)
