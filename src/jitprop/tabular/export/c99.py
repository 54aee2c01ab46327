"""Nets for tables as one file of C99 or C++: one function, with the encoding inside."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from jitprop import checks
from jitprop.export import c99
from jitprop.files.atomic import replacing
from jitprop.tabular.columns import Columns
from jitprop.tabular.encoders import CategoryEncoder, DateEncoder, NumberEncoder
from jitprop.tabular.encoders.dates import PARTS
from jitprop.tabular.encoders.scale import BEYOND, LARGEST
from jitprop.tabular.export import parts
from jitprop.tabular.model import TabularNet
from jitprop.tabular.targets import Classes

DECLARED = """\
#ifdef __cplusplus
extern "C" {
#endif
void NAME_predict(const double numbers[], const int categories[], double y[]);
#ifdef __cplusplus
}
#endif
"""

SCALED = f"""\
/* The input of feature i; 0 if it is missing. */
static float NAME_scaled(double x, int i)
{{
    double z;
    if (x != x)
        return 0.0f;
    z = fmin(fmax(x, -{LARGEST!r}), {LARGEST!r}) - NAME_medians[i];
    z = fmin(fmax(z * NAME_factors[i], -{BEYOND!r}), {BEYOND!r});
    return (float)(z / sqrt(1.0 + z / 3.0 * (z / 3.0)));
}}
"""

ONE_HOT = """\
/* The inputs of one of n categories, whose features begin with i. */
static void NAME_one_hot(float *x, int category, int n, int i)
{
    int j;
    if (n == 2) {
        x[0] = NAME_scaled(category == 0 ? -1.0 : category == 1 ? 1.0 : 0.0, i);
        return;
    }
    for (j = 0; j < n; j++)
        x[j] = NAME_scaled(category == j ? 1.0 : 0.0, i + j);
}
"""

BOOLEAN = """\
/* 0 for false, 1 for true, another number if it is missing. */
static int NAME_boolean(double x)
{
    return x == 0.0 ? 0 : x == 1.0 ? 1 : -2;
}
"""

DATE = """\
/*
 * The year, month, day of the week, hour and days since first of a date in seconds since 1970, nan
 * if it is missing. Years begin in March here, and an era is 400 years (H. Hinnant, 2013,
 * chrono-compatible low-level date algorithms).
 */
static void NAME_date(double seconds, double first, double date[5])
{
    double day = floor(seconds / 86400.0);
    double era, doe, yoe, doy, mp;
    era = floor((day + 719468.0) / 146097.0);
    doe = day + 719468.0 - 146097.0 * era;
    yoe = floor(doe / 1460.0);
    yoe = floor((doe - yoe + floor(doe / 36524.0) - floor(doe / 146096.0)) / 365.0);
    doy = doe - 365.0 * yoe - floor(yoe / 4.0) + floor(yoe / 100.0);
    mp = floor((5.0 * doy + 2.0) / 153.0);
    date[1] = mp < 10.0 ? mp + 3.0 : mp - 9.0;
    date[0] = yoe + 400.0 * era + (date[1] < 3.0 ? 1.0 : 0.0);
    date[2] = day + 3.0 - 7.0 * floor((day + 3.0) / 7.0);
    date[3] = (seconds - 86400.0 * day) / 3600.0;
    date[4] = (seconds - first) / 86400.0;
    if (seconds != seconds)
        date[0] = date[1] = seconds;
}
"""


def to_c(model: Any, path: str | os.PathLike[str], *, name: str = "net") -> None:
    """
    Write a net for tables to one file of C99, which is also C++ and needs only math.h.

    For ``name="net"``, the one public function of the file is::

        void net_predict(const double numbers[], const int categories[], double y[]);

    It reads one row and writes the prediction, or the probability of each class. A comment at the
    beginning of the file lists what stands where.

    Parameters
    ----------
    model : TabularClassifier, TabularRegressor or TabularNet
        Estimators must be fitted.
    path : str or path-like
        An existing file is replaced.
    name : str, default "net"
        The prefix of all names in the file: letters, digits and underscores, and no digit first.

    Raises
    ------
    TypeError, ValueError
        For another model, a bad argument, and a column of texts, which the message names.
    OSError
        If the file cannot be written.

    Notes
    -----
    Numbers, booleans (0 or 1) and dates (seconds since 1970 in UTC) are in ``numbers``, NAN where
    one is missing. Of a category its number is in ``categories``, -1 for a missing or a new one.
    The columns are encoded in double, which must have 64 bits, and the nets are computed in float.
    The function uses no heap, keeps nothing between calls, and may be called from many threads at
    once.
    """
    c99.check_name(name)
    checks.path("path", path)
    source = _source(parts.of(model), name)
    with replacing(path) as file:
        file.write(source.encode("ascii"))


def _source(net: TabularNet, name: str) -> str:
    members = parts.members(net)
    columns = net.columns
    kinds = {type(encoder) for encoder in columns.encoders}
    booleans = any(isinstance(e, CategoryEncoder) and e.boolean for e in columns.encoders)
    code = ["#include <math.h>\n", DECLARED, c99.READ]
    for i, member in enumerate(members):
        code += c99.arrays(member, f"NAME_{i}_", np.dtype(np.float32))
    code += c99.functions(members[0])
    code += [
        c99.predict(
            each,
            f"static void NAME_net_{i}(const float x[], float y[])",
            f"NAME_{i}_",
            np.dtype(np.float32),
        )
        for i, each in enumerate(members)
    ]
    code += [_doubles("medians", columns.medians), _doubles("factors", columns.factors), SCALED]
    code += [ONE_HOT] * (CategoryEncoder in kinds) + [BOOLEAN] * booleans
    code += [DATE] * (DateEncoder in kinds) + [_predict(net)]
    return _comment(net) + "\n" + "\n".join(code).replace("NAME", name)


def _doubles(name: str, values: Iterable[Any]) -> str:
    texts = [repr(float(value)) for value in values]
    body = ",\n    ".join(texts)
    return f"static const double NAME_{name}[{len(texts)}] = {{\n    {body}\n}};\n"


def _predict(net: TabularNet) -> str:
    """Return the public function."""
    columns, target = net.columns, net.target
    n = target.n_outputs
    body, (numbers, categories) = _encode(columns)
    lines = [
        "void NAME_predict(const double numbers[], const int categories[], double y[])",
        "{",
        f"    float x[{columns.n_inputs}], out[{n}];",
        *["    double date[5];"] * any(isinstance(e, DateEncoder) for e in columns.encoders),
        *(["    double total = 0.0;", "    int i;"] if isinstance(target, Classes) else []),
        *["    (void)numbers;"] * (numbers == 0),
        *["    (void)categories;"] * (categories == 0),
        *body,
    ]
    if isinstance(target, Classes):
        lines += [f"    for (i = 0; i < {n}; i++)", "        y[i] = 0.0;"]
    else:
        lines.append("    y[0] = 0.0;")
    for i in range(len(net.members)):
        lines.append(f"    NAME_net_{i}(x, out);")
        if isinstance(target, Classes):
            lines += [f"    for (i = 0; i < {n}; i++)", "        y[i] += (double)out[i];"]
        else:
            value = f"(double)out[0] * {target.deviation!r} + {target.mean!r}"
            lines.append(f"    y[0] += fmin(fmax({value}, {target.low!r}), {target.high!r});")
    if isinstance(target, Classes):
        lines += [f"    for (i = 0; i < {n}; i++)", "        total += y[i];"]
        lines += [f"    for (i = 0; i < {n}; i++)", "        y[i] /= total;"]
    else:
        lines.append(f"    y[0] /= {float(len(net.members))!r};")
    return "\n".join([*lines, "}", ""])


def _encode(columns: Columns) -> tuple[list[str], tuple[int, int]]:
    """Return the lines that fill x, and how many numbers and categories there are."""
    lines, numbers, categories, feature = [], 0, 0, 0
    for encoder, missing in zip(columns.encoders, columns.missing, strict=True):
        at = columns.blocks[encoder.name].start
        if isinstance(encoder, CategoryEncoder):
            value = f"categories[{categories}]"
            if encoder.boolean:
                value = f"NAME_boolean(numbers[{numbers}])"
                value += " - 1" * (encoder.categories == ("true",))
            n = len(encoder.categories)
            lines.append(f"    NAME_one_hot(x + {at}, {value}, {n}, {feature});")
            categories, numbers = categories + (not encoder.boolean), numbers + encoder.boolean
        elif isinstance(encoder, DateEncoder):
            lines.append(f"    NAME_date(numbers[{numbers}], {encoder.first / 1e6!r}, date);")
            lines += [
                f"    x[{at + i}] = NAME_scaled(date[{PARTS.index(part)}], {feature + i});"
                for i, part in enumerate(encoder.parts)
            ]
        else:
            lines.append(f"    x[{at}] = NAME_scaled(numbers[{numbers}], {feature});")
        n = len(encoder.features)
        if not isinstance(encoder, CategoryEncoder):
            if missing:
                value = f"numbers[{numbers}]"
                lines.append(f"    x[{at + n}] = {value} != {value} ? 1.0f : 0.0f;")
            numbers += 1
        feature += n
    return lines, (numbers, categories)


def _comment(net: TabularNet) -> str:
    """List the arguments of the function."""
    lines, numbers, categories = [], 0, 0
    for encoder in net.columns.encoders:
        if isinstance(encoder, CategoryEncoder) and not encoder.boolean:
            lines.append(
                f"categories[{categories}]: {quoted_text(encoder.name)}, its number in this list"
            )
            lines += [f"    {i} {quoted_text(text)}" for i, text in enumerate(encoder.categories)]
            categories += 1
        else:
            what = {NumberEncoder: "", DateEncoder: ", seconds since 1970 in UTC"}
            tail = what.get(type(encoder), ", 0 for false and 1 for true")
            lines.append(f"numbers[{numbers}]: {quoted_text(encoder.name)}{tail}")
            numbers += 1
    classes = net.target.values.tolist() if isinstance(net.target, Classes) else None
    return comment(lines, classes, "a missing or new category -1")


def comment(arguments: list[str], classes: list[Any] | None, category: str) -> str:
    """Return the comment at the beginning of a file; ``category`` says what a missing one is."""
    if classes is None:
        outputs = ["y[0]: the prediction"]
    else:
        outputs = [
            f"y[{i}]: the probability of {quoted_text(value)}" for i, value in enumerate(classes)
        ]
    head = f"A net for tables, written by jitprop. A missing number is NAN, {category}."
    lines = (f" * {line}" for line in arguments + outputs)
    return "\n".join([f"/*\n * {head}\n *", *lines, " */\n"])


def quoted_text(value: Any) -> str:
    """Return a value in ASCII that neither ends a comment nor is a trigraph."""
    return json.dumps(value).replace("/", "\\/")
