"""Export of nets to one file of C99 or C++, for machines without an operating system."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import checks
from jitprop._types import Array
from jitprop.checks import quoted
from jitprop.data import cast
from jitprop.export import c_training
from jitprop.export import net as nets
from jitprop.export.c_training import Training
from jitprop.files.atomic import replacing
from jitprop.net import activations
from jitprop.net.optimizers import SGD

# The body of each activation as a function of z, and of its number k if it has one. For doubles the
# suffix "f" is removed from names and numbers.
ACTIVATIONS = {
    "sigmoid": "return 1.0f / (1.0f + expf(-z));",
    "tanh": "return tanhf(z);",
    "relu": "return z > 0.0f ? z : 0.0f;",
    "leaky_relu": "return z > 0.0f ? z : k * z;",
    "elu": "return z > 0.0f ? z : k * expm1f(z);",
    "softplus": "return fmaxf(z, 0.0f) + log1pf(expf(-k * fabsf(z))) / k;",
    "gelu": "return 0.5f * z * erfcf(-0.7071067811865476f * z);",
    "gelu_tanh": "return z / (1.0f + expf(-1.5957691216057308f * (z + 0.044715f * z * z * z)));",
    "silu": "return z / (1.0f + expf(-z));",
    "selu": "return z > 0.0f ? 1.0507009873554805f * z : 1.7580993408473768f * expm1f(z);",
    "mish": "return z * tanhf(fmaxf(z, 0.0f) + log1pf(expf(-fabsf(z))));",
    "softsign": "return z / (1.0f + fabsf(z));",
    "hard_sigmoid": "return z > -3.0f ? (z < 3.0f ? (z + 3.0f) / 6.0f : 1.0f) : 0.0f;",
    "exp": "return expf(z);",
}

# erfc for an AVR, with an absolute error of 1.5e-7: formula 7.1.26 of Abramowitz and Stegun,
# *Handbook of Mathematical Functions*, 1964.
ERFC = """\
static float NAME_erfcf(float z)
{
    float t = 1.0f / (1.0f + 0.3275911f * fabsf(z));
    float p = 1.421413741f + t * (-1.453152027f + t * 1.061405429f);
    p = t * (0.254829592f + t * (-0.284496736f + t * p)) * expf(-z * z);
    return z < 0.0f ? 2.0f - p : p;
}
#define erfcf NAME_erfcf"""

# Functions of math.h that avr-libc lacks, by the activation that needs them. The replacements have
# an absolute error of about the epsilon of float.
LACKING = {
    "elu": "#define expm1f(z) (expf(z) - 1.0f)",
    "selu": "#define expm1f(z) (expf(z) - 1.0f)",
    "softplus": "#define log1pf(z) logf(1.0f + (z))",
    "mish": "#define log1pf(z) logf(1.0f + (z))",
    "gelu": ERFC,
}

DECLARED = """\
#ifdef __cplusplus
extern "C" {
#endif
/* From N_IN inputs x to N_OUT outputs y. */
void NAME_predict(const float x[], float y[]);
#ifdef __cplusplus
}
#endif
"""

HEADER = """\
/* A SHAPE net, written by jitprop. */
#ifndef UPPER_PREDICT_H
#define UPPER_PREDICT_H

#define UPPER_INPUTS N_IN
#define UPPER_OUTPUTS N_OUT
NUMBERS
DECLARED

#endif
"""

# What a program needs to know of a net that trains.
NUMBERS = """\
#define UPPER_TARGETS N_TARGETS
#define UPPER_NUMBERS N_NUMBERS /* that save and load copy */
"""

INCLUDES = """\
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
"""

# Functions that have no "f" at the end of their names for doubles.
FUNCTIONS = r"\b(expf|erfcf|logf|tanhf|expm1f|log1pf|fabsf|fmaxf|copysignf)\b"

READ = """\
/* On an AVR, constants stay in flash only if they are marked so, and are read from it by a call. */
#ifdef __AVR__
#include <avr/pgmspace.h>
#define NAME_FLASH PROGMEM
static float NAME_read(const float *p)
{
    float value;
    memcpy_P(&value, p, sizeof value);
    return value;
}
#else
#define NAME_FLASH
static float NAME_read(const float *p)
{
    return *p;
}
#endif
"""

LAYER = """\
/* z = b + W x; of each unit, the weights of all its inputs stand together in w. */
static void NAME_layer(
    const float *x, int n_in, const float *w, const float *b, float *z, int n_out)
{
    int i, j;
    for (j = 0; j < n_out; j++) {
        float sum = NAME_read(b + j);
        for (i = 0; i < n_in; i++)
            sum += NAME_read(w++) * x[i];
        z[j] = sum;
    }
}
"""

APPLIED = """\
static void NAME_KIND(float *a, int nTAKEN)
{
    int i;
    for (i = 0; i < n; i++)
        a[i] = NAME_KIND_of(a[i]GIVEN);
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
    header: str | os.PathLike[str] | None = None,
    train: str | SGD | None = None,
    batches: bool = True,
) -> None:
    """
    Write a trained net to one file of C99, which is also C++ and needs only math.h.

    For ``name="net"``, the one public function of the file is::

        void net_predict(const float x[], float y[]);

    It reads the inputs of one sample and writes the outputs. These are what `Trainer.predict`, a
    regressor's ``predict`` or a classifier's ``predict_proba`` returns for one sample, with classes
    in the order of ``classes_``.

    Parameters
    ----------
    model : Trainer, Fleet, MLPClassifier or MLPRegressor
        Estimators must be fitted. scikit-learn's own estimators are also accepted. The outputs of a
        fleet, and of an estimator with many members, are the mean of the members' outputs.
    path : str or path-like
        An existing file is replaced.
    name : str, default "net"
        The prefix of all names in the file: letters, digits and underscores, and no digit first.
    dtype : {"float32", "float64"} or NumPy dtype, default "float32"
        The dtype of all numbers in C, float or double, whatever dtype the net was trained in.
    header : str or path-like, optional
        Where to write a header for programs that call the function. It declares the function and
        defines the numbers of inputs and outputs, ``NET_INPUTS`` and ``NET_OUTPUTS``. An existing
        file is replaced. The file at ``path`` does not need the header: it can be compiled beside
        the program, or be included in it.
    train : "sgd" or SGD, optional
        The C code can also train the net: see Notes. "sgd" goes on with the net's own `SGD`, with
        its momentum and velocities. An `SGD` begins anew with the net's parameters, whatever
        optimizer the net has. ``model`` must be a `Trainer`. Its loss, reduction and weight decay
        apply.
    batches : bool, default True
        Whether there is a function for batches, which takes P more numbers of RAM. Only with
        ``train``.

    Raises
    ------
    TypeError, ValueError
        For another model or a bad argument, for custom activations, for parameters that are not
        finite or do not fit into ``dtype``, and if ``header`` and ``path`` are the same file. With
        ``train`` also for a net with dropout, ``clip_norm``, ``learning_rate_factors``,
        ``input_scale_rate``, a custom loss or class weights, which the C code does not have.
    OSError
        If the file cannot be written.

    Notes
    -----
    Parameters are static and const: a net with P parameters takes about P numbers of flash or ROM.
    On an AVR, whose compiler would copy constants to RAM, they are marked PROGMEM and read from
    flash. The function needs stack for two arrays as long as the widest hidden layer. It uses no
    heap, keeps nothing between calls, and may be called from many threads at once. It sums in the
    order of the inputs, so the last digits may differ from jitprop's.

    With ``train`` there are also::

        float net_train(const float x[], const float y[], float rate);
        float net_train_batch(const float x[], const float y[], int n, float rate);
        void net_save(float to[]);
        void net_load(const float from[]);

    The first makes one update from one sample. It computes the same bits as a `Trainer` of this
    dtype with ``batch_size=1`` whose learning rate is ``rate``, and so does ``net_predict`` then.
    Compilers give other digits with clang's ``-ffp-contract=fast``; ``-ffast-math`` is an error.
    The second makes one update from n samples; its sums run in another order than a Trainer's. Both
    return the loss before the update, and change nothing if that is infinite or nan. A target y has
    a number for each output; for the loss "cross_entropy" 1 for its class and 0 for the others.
    ``net_save`` copies all parameters in the order of `Trainer.parameters`, and behind them the
    velocities of momentum; ``net_load`` puts them back. The header defines their number,
    ``NET_NUMBERS``, and the number of targets, ``NET_TARGETS``.

    Parameters are static variables then. For P parameters and U units beside the inputs they take
    4 P + 8 U bytes of RAM in float32: 4 P more for batches, and 4 P more for momentum. Nothing is
    allocated. The functions share these variables, so only one may run at a time.

    Examples
    --------
    >>> from pathlib import Path
    >>> from jitprop import Trainer, export
    >>> export.to_c(Trainer([2, 3, 1], seed=0), "net.c")
    >>> "void net_predict(const float x[], float y[])" in Path("net.c").read_text()
    True
    """
    check_name(name)
    kind = cast.dtype(dtype) or np.dtype(np.float32)
    checks.path("path", path)
    if header is not None:
        checks.path("header", header)
    if header is not None and os.path.realpath(header) == os.path.realpath(path):
        raise ValueError(f"header must be another file than path; got {checks.shown(header)}")
    net = nets.of(model)
    training = None
    if train is not None:
        training = c_training.of(model, train, batches, kind)
    elif batches is not True:
        raise ValueError(f"batches is for train only; got {checks.shown(batches)}")
    files = {path: _source(net, name, kind, training)}
    if header is not None:
        files = {header: _header(net, name, kind, training), **files}
    for target, text in files.items():
        with replacing(target) as file:
            file.write(text.encode("ascii"))


def check_name(name: Any) -> None:
    """
    Check that a name can be the prefix of names in C.

    Raises
    ------
    TypeError, ValueError
        If it cannot.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be text; got {checks.shown(name)}")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(
            "name must consist of letters, digits and underscores, and not begin with a digit; "
            f"got {quoted(name)}"
        )


def _filled(
    template: str, net: nets.Net, name: str, dtype: np.dtype[Any], training: Training | None
) -> str:
    """Fill in a template: replace its words by facts of the net, and float by double if needed."""
    words = {
        "DECLARED": DECLARED.rstrip("\n"),
        **({} if training is None else c_training.words(training)),
        "N_IN": str(net.sizes[0]),
        "N_OUT": str(2 if net.is_binary else net.sizes[-1]),
        "SHAPE": "-".join(map(str, net.sizes)),
    }
    for word, value in words.items():
        template = template.replace(word, value)
    if dtype == np.float64:
        template = re.sub(FUNCTIONS, lambda m: m[0][:-1], template)
        template = re.sub(r"(?<=\d)f\b", "", template)
        template = re.sub(r"\bfloat\b(?!\.h)", "double", template)
    names = {"UPPER": name.upper(), "NAME": name}
    return re.sub("UPPER|NAME", lambda m: names[m[0]], template)


def _header(net: nets.Net, name: str, dtype: np.dtype[Any], training: Training | None) -> str:
    numbers = "" if training is None else NUMBERS
    return _filled(HEADER.replace("NUMBERS", numbers), net, name, dtype, training)


def _source(net: nets.Net, name: str, dtype: np.dtype[Any], training: Training | None) -> str:
    title = (
        f"/* A SHAPE net of {' '.join(map(str, net.activations))} layers, written by jitprop. */\n"
    )
    if training is None:
        parts = [title, "#include <math.h>\n", "DECLARED\n", READ, *_of_members(net, dtype)]
    else:
        parts = [title, INCLUDES, "DECLARED\n", *c_training.parts(training)]
    return _filled("\n".join(parts), net, name, dtype, training)


def _of_members(net: nets.Net, dtype: np.dtype[Any]) -> list[str]:
    """Return the parameters and the public function, of a net or of the mean of several."""
    head = "void NAME_predict(const float x[], float y[])"
    if net.n_members is None:
        return [*arrays(net, "NAME_", dtype), *functions(net), predict(net, head, "NAME_", dtype)]
    parts = functions(net)
    lines = [head, "{", "    int i;", *["    float out[N_OUT];"] * (net.n_members > 1)]
    for m, member in enumerate(net.members):
        parts += arrays(member, f"NAME_{m}_", dtype)
        of_member = f"static void NAME_net_{m}(const float x[], float y[])"
        parts.append(predict(member, of_member, f"NAME_{m}_", dtype))
        lines.append(f"    NAME_net_{m}(x, {'out' if m else 'y'});")
        if m:
            lines += ["    for (i = 0; i < N_OUT; i++)", "        y[i] += out[i];"]
    lines += ["    for (i = 0; i < N_OUT; i++)", f"        y[i] /= {net.n_members}.0f;", "}", ""]
    return [*parts, "\n".join(lines)]


def arrays(net: nets.Net, prefix: str, dtype: np.dtype[Any]) -> list[str]:
    """Return the definitions of the parameters of a net."""
    made = []
    for l, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        made += [_array(f"{prefix}w{l}", W.T, dtype), _array(f"{prefix}b{l}", b, dtype)]
    return made


def functions(net: nets.Net) -> list[str]:
    """Return the definitions of a layer and of the activations of a net."""
    parts = [LAYER]
    for kind in dict.fromkeys(map(activations.name_of, net.activations)):
        if kind == "softmax":
            parts.append(SOFTMAX)
        elif kind != "identity":
            if kind in LACKING:
                parts.append(f"#ifdef __AVR__\n{LACKING[kind]}\n#endif\n")
            takes = kind in activations.NAMED
            taken, given = (", float k", ", k") if takes else ("", "")
            head = f"static float NAME_{kind}_of(float z{taken})"
            applied = APPLIED.replace("KIND", kind).replace("TAKEN", taken)
            parts += [f"{head}\n{{\n    {ACTIVATIONS[kind]}\n}}\n", applied.replace("GIVEN", given)]
    return parts


def _array(name: str, values: Array, dtype: np.dtype[Any]) -> str:
    """The definition of a constant array, with enough digits to read back the same numbers."""
    numbers = cast.finite(f"parameters {name.rsplit('_', 1)[1]}", values, dtype).ravel()
    texts = list(map(_number, numbers))
    lines = [", ".join(texts[i : i + 6]) for i in range(0, len(texts), 6)]
    body = ",\n    ".join(lines)
    return f"static const float {name}[{len(texts)}] NAME_FLASH = {{\n    {body}\n}};\n"


def _number(x: Any) -> str:
    """A NumPy number in C, with enough digits to read back the same one."""
    return np.format_float_scientific(x, unique=True, trim="0") + "f"


def predict(net: nets.Net, head: str, prefix: str, dtype: np.dtype[Any]) -> str:
    """Return a function that computes layer after layer, in two arrays by turns."""
    sizes, last = net.sizes, len(net.weights) - 1
    lines = [head, "{"]
    if hidden := sizes[1:-1]:
        # A net with one hidden layer needs only one of the two arrays.
        names = ", ".join(f"a{i}[{max(hidden[i::2])}]" for i in range(min(2, len(hidden))))
        lines.append(f"    float {names};")
    source = "x"
    for l, activation in enumerate(net.activations):
        target = f"a{l % 2}"
        if l == last:
            target = "y + 1" if net.is_binary else "y"
        lines.append(
            f"    NAME_layer({source}, {sizes[l]}, {prefix}w{l}, {prefix}b{l}, "
            f"{target}, {sizes[l + 1]});"
        )
        if activation != "identity":
            number = activations.number_of(activation)
            given = "" if number is None else f", {_number(dtype.type(number))}"
            kind = activations.name_of(activation)
            lines.append(f"    NAME_{kind}({target}, {sizes[l + 1]}{given});")
        source = target
    if net.is_binary:
        lines.append("    y[0] = 1.0f - y[1];")
    return "\n".join([*lines, "}", ""])
