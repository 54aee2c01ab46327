"""Nets as one file of C99, for machines without an operating system."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import cast, checks
from jitprop._types import Array
from jitprop.atomic import replacing
from jitprop.checks import quoted
from jitprop.export import net as nets

# Bodies of functions of z; an "f" after a name or number is left out with doubles.
ACTIVATIONS = {
    "sigmoid": "return 1.0f / (1.0f + expf(-z));",
    "tanh": "return tanhf(z);",
    "relu": "return z > 0.0f ? z : 0.0f;",
    "leaky_relu": "return z > 0.0f ? z : 0.01f * z;",
    "elu": "return z > 0.0f ? z : expm1f(z);",
    "softplus": "return fmaxf(z, 0.0f) + log1pf(expf(-fabsf(z)));",
    "gelu": "return z / (1.0f + expf(-1.5957691216057308f * (z + 0.044715f * z * z * z)));",
    "silu": "return z / (1.0f + expf(-z));",
    "exp": "return expf(z);",
}

LAYER = """\
/* z = b + W x; of each unit, the weights of all its inputs stand together in w. */
static void NAME_layer(
    const float *x, int n_in, const float *w, const float *b, float *z, int n_out)
{
    int i, j;
    for (j = 0; j < n_out; j++) {
        float sum = b[j];
        for (i = 0; i < n_in; i++)
            sum += *w++ * x[i];
        z[j] = sum;
    }
}
"""

APPLIED = """\
static void NAME_KIND(float *a, int n)
{
    int i;
    for (i = 0; i < n; i++)
        a[i] = NAME_KIND_of(a[i]);
}
"""

SOFTMAX = """\
static void NAME_softmax(float *a, int n)
{
    int i;
    float largest = a[0], sum = 0.0f;
    for (i = 1; i < n; i++)
        largest = fmaxf(largest, a[i]);
    for (i = 0; i < n; i++) {
        a[i] = expf(a[i] - largest);
        sum += a[i];
    }
    for (i = 0; i < n; i++)
        a[i] /= sum;
}
"""


def to_c(
    model: Any,
    path: str | os.PathLike[str],
    *,
    name: str = "net",
    dtype: npt.DTypeLike = "float32",
) -> None:
    """
    Write a trained net as one file of C99 that needs nothing but math.h.

    Its one public function, for ``name="net"``, is::

        void net_predict(const float x[], float y[]);

    It reads the inputs of one sample and writes the outputs: what `Trainer.predict`, a regressor's
    ``predict`` or a classifier's ``predict_proba`` gives, the classes in the order of ``classes_``.

    Parameters
    ----------
    model : Trainer, MLPClassifier or MLPRegressor
        Estimators fitted; scikit-learn's own are taken too.
    path : str or path-like
        A file that is there is replaced.
    name : str, default "net"
        What all names in the file begin with: letters, digits and underscores, no digit first.
    dtype : {"float32", "float64"} or NumPy dtype, default "float32"
        float or double, whatever the net was trained in.

    Raises
    ------
    TypeError, ValueError
        For another model or argument, activations of the user's own, parameters that are not
        finite, or not in ``dtype``.
    OSError
        As `open` and writing do.

    Notes
    -----
    Parameters are static and const, about P numbers of flash or ROM for a net of P of them. The
    function takes two arrays as long as the widest hidden layer from the stack and nothing from a
    heap, keeps nothing between calls, and may be called from many threads at once. Sums are taken
    in the order of the inputs, so the last digits may differ from jitprop's.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be text; got {checks.shown(name)}")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(
            f"name must be of letters, digits and underscores, no digit first; got {quoted(name)}"
        )
    kind = cast.dtype(dtype) or np.dtype(np.float32)
    source = _source(nets.of(model), name, kind)
    with replacing(path) as file:
        file.write(source.encode("ascii"))


def _source(net: nets.Net, name: str, dtype: np.dtype[Any]) -> str:
    *_, n_outputs = sizes = net.sizes
    told = 2 if net.is_binary else n_outputs
    shape = "-".join(map(str, sizes))
    parts = [
        f"/* A {shape} net of {' '.join(net.activations)} layers, written by jitprop. */\n",
        "#include <math.h>\n",
        f"/* From {sizes[0]} inputs x to {told} outputs y. */\n"
        "void NAME_predict(const float x[], float y[]);\n",
    ]
    for l, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        parts += [_array(f"NAME_w{l}", W.T, dtype), _array(f"NAME_b{l}", b, dtype)]
    parts.append(LAYER)
    for kind in dict.fromkeys(net.activations):
        if kind == "softmax":
            parts.append(SOFTMAX)
        elif kind != "identity":
            body = f"static float NAME_{kind}_of(float z)\n{{\n    {ACTIVATIONS[kind]}\n}}\n"
            parts += [body, APPLIED.replace("KIND", kind)]
    source = "\n".join([*parts, _predict(net)])
    if dtype == np.float64:
        source = re.sub(r"\b(expf|tanhf|expm1f|log1pf|fabsf|fmaxf)\b", lambda m: m[0][:-1], source)
        source = re.sub(r"(?<=\d)f\b", "", source)
        source = re.sub(r"\bfloat\b", "double", source)
    return source.replace("NAME", name)


def _array(name: str, values: Array, dtype: np.dtype[Any]) -> str:
    """A constant, with as many digits as bring the same number back."""
    numbers = cast.finite(f"parameters {name[5:]}", values, dtype).ravel()
    texts = [np.format_float_scientific(x, unique=True, trim="0") + "f" for x in numbers]
    lines = [", ".join(texts[i : i + 6]) for i in range(0, len(texts), 6)]
    body = ",\n    ".join(lines)
    return f"static const float {name}[{len(texts)}] = {{\n    {body}\n}};\n"


def _predict(net: nets.Net) -> str:
    """The public function: layer after layer, in two arrays that take turns."""
    sizes, last = net.sizes, len(net.weights) - 1
    lines = ["void NAME_predict(const float x[], float y[])", "{"]
    if hidden := sizes[1:-1]:
        # Of one hidden layer the second has no use.
        names = ", ".join(f"a{i}[{max(hidden[i::2])}]" for i in range(min(2, len(hidden))))
        lines.append(f"    float {names};")
    source = "x"
    for l, kind in enumerate(net.activations):
        target = f"a{l % 2}"
        if l == last:
            target = "y + 1" if net.is_binary else "y"
        lines.append(
            f"    NAME_layer({source}, {sizes[l]}, NAME_w{l}, NAME_b{l}, {target}, {sizes[l + 1]});"
        )
        if kind != "identity":
            lines.append(f"    NAME_{kind}({target}, {sizes[l + 1]});")
        source = target
    if net.is_binary:
        lines.append("    y[0] = 1.0f - y[1];")
    return "\n".join([*lines, "}", ""])
