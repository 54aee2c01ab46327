"""Export of small nets with the preparation of their columns inside, to ONNX and C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jitprop.cli.columns import MAX_SPREADS, NumberColumn, TextColumn
from jitprop.cli.models import Model
from jitprop.cli.targets import LARGEST, Classes
from jitprop.export import c99
from jitprop.export import net as nets
from jitprop.export.onnx import Graph, package
from jitprop.files.atomic import replacing
from jitprop.tabular.export.c99 import DECLARED, comment, quoted_text
from jitprop.tabular.export.onnx import (
    DOUBLE,
    ML,
    STRING,
    check_names,
    clip,
    double,
    prefix_for,
)
from jitprop.training.model import model_of

SCALED = f"""\
/* The input of a number, from the median, the mean and the standard deviation. */
static float NAME_scaled(double x, double median, double mean, double spread)
{{
    double z = ((x != x ? median : x) - mean) / spread;
    return (float)fmin(fmax(z, -{MAX_SPREADS!r}), {MAX_SPREADS!r});
}}
"""

ONE_HOT = """\
/* The inputs of one of n categories. */
static void NAME_one_hot(float *x, int category, int n)
{
    int j;
    for (j = 0; j < n; j++)
        x[j] = category == j ? 1.0f : 0.0f;
}
"""


def to_onnx(model: Model, path: Path, opset: int) -> None:
    """
    Write a small net to an ONNX file, which takes the columns as they are.

    Each column is an input of its name and of shape (n, 1): double for numbers, with nan for a
    missing one, and string for texts and booleans, with "" for a missing one. The outputs are those
    of `jitprop.tabular.export.to_onnx`.

    Raises
    ------
    ValueError
        For a column with the name of an output.
    ImportError
        If onnx is not installed.
    OSError
        If the file cannot be written.
    """
    helper, net = package().helper, nets.of_model(model_of(model.trainer))
    names = [column.name for column in model.columns]
    graph = Graph(net.weights[0].dtype, prefix_for(names))
    x = graph("Concat", *(_inputs(graph, column) for column in model.columns), axis=1)
    X = graph("Cast", x, to=helper.np_dtype_to_tensor_dtype(graph.dtype))
    a = graph("Cast", graph.outputs(net, X, None), to=DOUBLE)
    target = model.target
    if isinstance(target, Classes):
        name = "probabilities"
        if target.n_outputs == 1:
            graph("Concat", graph("Sub", double(graph, 1.0), a), a, name=name, axis=1)
        else:
            graph("Identity", a, name=name)
        label = graph.label(target.values, name)
        outputs = [
            helper.make_tensor_value_info(label, graph.class_type, [None]),
            helper.make_tensor_value_info(name, DOUBLE, [None, target.n_classes]),
        ]
    else:
        y = graph("Mul", a, double(graph, target.spread))
        y = clip(graph, graph("Add", y, double(graph, target.mean)), LARGEST)
        name = graph("Identity", y, name="prediction")
        outputs = [helper.make_tensor_value_info(name, DOUBLE, [None, 1])]
    check_names(names, [output.name for output in outputs])
    inputs = [
        helper.make_tensor_value_info(
            column.name, STRING if column.categorical else DOUBLE, [None, 1]
        )
        for column in model.columns
    ]
    content = graph.model(inputs, outputs, {"": opset, ML: 2})
    with replacing(path) as file:
        file.write(content.SerializeToString())


def _inputs(graph: Graph, column: NumberColumn | TextColumn) -> str:
    """Add the inputs of a column, (n_rows, n_inputs) double."""
    if isinstance(column, TextColumn):
        keys = list(column.categories)
        if column.missing and "" not in keys:
            keys.append("")
        codes = [float(i) for i in range(column.n_inputs)]
        code = graph(
            "LabelEncoder",
            column.name,
            domain=ML,
            keys_strings=keys,
            values_floats=codes[: len(keys)],
            default_float=-1.0,
        )
        which = graph.constant(np.array([codes], np.float32), f"codes_{len(graph.initializers)}")
        return graph("Cast", graph("Equal", code, which), to=DOUBLE)
    absent = graph("IsNaN", column.name)
    x = graph("Where", absent, double(graph, column.median), column.name)
    z = graph("Div", graph("Sub", x, double(graph, column.mean)), double(graph, column.spread))
    z = clip(graph, z, MAX_SPREADS)
    return graph("Concat", z, graph("Cast", absent, to=DOUBLE), axis=1) if column.missing else z


def to_c(model: Model, path: Path, name: str) -> None:
    """
    Write a small net to one file of C99, with the function of `jitprop.tabular.export.to_c`.

    Booleans are categories here. A missing category is -1, and a new one -2.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with replacing(path) as file:
        file.write(_source(model, name).encode("ascii"))


def _source(model: Model, name: str) -> str:
    net, dtype = nets.of_model(model_of(model.trainer)), np.dtype(np.float32)
    kinds = {column.kind for column in model.columns}
    code = [
        "#include <math.h>\n",
        DECLARED,
        c99.READ,
        *c99.arrays(net, "NAME_", dtype),
        *c99.functions(net),
        c99.predict(net, "static void NAME_net(const float x[], float y[])", "NAME_", dtype),
        *[SCALED] * ("number" in kinds),
        *[ONE_HOT] * ("text" in kinds),
        _predict(model),
    ]
    return _comment(model) + "\n" + "\n".join(code).replace("NAME", name)


def _predict(model: Model) -> str:
    """Return the public function."""
    body, numbers, categories, at = [], 0, 0, 0
    for column in model.columns:
        if isinstance(column, TextColumn):
            value = f"categories[{categories}]"
            if column.missing:
                value = f"{value} == -1 ? {len(column.categories)} : {value}"
            body.append(f"    NAME_one_hot(x + {at}, {value}, {column.n_inputs});")
            categories += 1
        else:
            value = f"numbers[{numbers}]"
            facts = f"{column.median!r}, {column.mean!r}, {column.spread!r}"
            body.append(f"    x[{at}] = NAME_scaled({value}, {facts});")
            if column.missing:
                body.append(f"    x[{at + 1}] = {value} != {value} ? 1.0f : 0.0f;")
            numbers += 1
        at += column.n_inputs
    target = model.target
    lines = [
        "void NAME_predict(const double numbers[], const int categories[], double y[])",
        "{",
        f"    float x[{at}], out[{target.n_outputs}];",
        *["    int i;"] * (target.n_outputs > 1),
        *["    (void)numbers;"] * (numbers == 0),
        *["    (void)categories;"] * (categories == 0),
        *body,
        "    NAME_net(x, out);",
    ]
    if not isinstance(target, Classes):
        y = f"(double)out[0] * {target.spread!r} + {target.mean!r}"
        lines.append(f"    y[0] = fmin(fmax({y}, -{LARGEST!r}), {LARGEST!r});")
    elif target.n_outputs == 1:
        lines += ["    y[0] = 1.0 - (double)out[0];", "    y[1] = (double)out[0];"]
    else:
        lines += [f"    for (i = 0; i < {target.n_outputs}; i++)", "        y[i] = (double)out[i];"]
    return "\n".join([*lines, "}", ""])


def _comment(model: Model) -> str:
    """List the arguments of the function."""
    lines, numbers, categories = [], 0, 0
    for column in model.columns:
        if isinstance(column, TextColumn):
            what = f"{quoted_text(column.name)}, its number in this list"
            lines.append(f"categories[{categories}]: {what}")
            lines += [f"    {i} {quoted_text(text)}" for i, text in enumerate(column.categories)]
            categories += 1
        else:
            lines.append(f"numbers[{numbers}]: {quoted_text(column.name)}")
            numbers += 1
    target: Any = model.target
    of = target.values.tolist() if isinstance(target, Classes) else None
    return comment(lines, of, "a missing category -1, a new one -2")
