"""Export of nets to ONNX files, with the package onnx: ``pip install 'jitprop[onnx]'``."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import checks
from jitprop._types import Array
from jitprop._version import __version__
from jitprop.checks import quoted
from jitprop.data import cast
from jitprop.export import net as nets
from jitprop.files.atomic import replacing
from jitprop.net.activations import ELU, LeakyReLU, Numbered, Softplus

# Of 2022, so runtimes since then can read the file.
OPSET = 17

# The first one in which ReduceSum takes its axes as an input, and the last one that is tested.
FIRST_OPSET, LAST_OPSET = 13, 28

# lambda and lambda alpha: see `jitprop.functions.selu`.
SELU_SCALE, SELU_DEPTH = 1.0507009873554805, 1.7580993408473768


# (5 + x) Phi(-x) exp(x**2 / 2) as a polynomial of (x - 5) / (x + 5), for x from 0 to 40, with the
# normal distribution Phi. Relative error 1.9e-19.
NORMAL_TAIL = (
    0.76919304975006295954,
    -0.66538250289005684905,
    0.49530561596997606613,
    -0.31353315667128774802,
    0.16502036617040747023,
    -0.069118638706868326504,
    0.020795066799256423393,
    -0.0029933767620158884033,
    -0.00079786938929704626028,
    0.00054489899397653952817,
    -0.000059375806985768950843,
    -0.000049762462228534737946,
    0.00001668163626525395823,
    3.9798236420336540306e-6,
    -2.770706003289815479e-6,
    -3.3460959672905692678e-7,
    4.3625687706162138377e-7,
    4.0217133859257850668e-8,
    -7.0090700238100698762e-8,
    -8.5746103120382926199e-9,
    1.0756945017867782791e-8,
    2.2182190262995858085e-9,
    -1.14756026909289707e-9,
    -3.7706343086300372585e-10,
)


def to_onnx(
    model: Any,
    path: str | os.PathLike[str],
    *,
    dtype: npt.DTypeLike | None = None,
    opset: int = OPSET,
) -> None:
    """
    Write a trained net to an ONNX file, which runs without jitprop.

    Parameters
    ----------
    model : Trainer, Fleet, MLPClassifier or MLPRegressor
        Estimators must be fitted. scikit-learn's own estimators are also accepted. A fleet and an
        estimator with many members become one file with the mean of the members' outputs: for a
        fleet that is ``fleet.predict(X).mean(axis=0)``.
    path : str or path-like
        An existing file is replaced.
    dtype : {None, "float32", "float64"} or NumPy dtype, default None
        The dtype of the input and of the computation; None is the net's own. float32 halves the
        size of the file.
    opset : int, default 17
        The version of ONNX's operators, from 13, of 2020, to 28. The package onnx must know it.
        A runtime reads files of its own and of earlier versions.

    Raises
    ------
    TypeError, ValueError
        For another model, dtype or opset, for custom activations, for parameters that are not
        finite or do not fit into ``dtype``, and for classes that are neither numbers nor text.
    ImportError
        If onnx is not installed.
    OSError
        If the file cannot be written.

    Notes
    -----
    The input is "X", (n, n_inputs), of ``dtype``. For a trainer or a regressor the output is
    "prediction", (n, n_outputs). A classifier has two outputs, as from skl2onnx without zipmap:
    "label", (n,), and "probabilities", (n, n_classes). If a sample may have many labels, "label"
    has the shape (n, n_outputs) and holds 0 and 1.

    All operators belong to ONNX's own domain, and onnxruntime has all of them in both dtypes. That
    is why elu, leaky_relu, selu, softplus, mish, softsign, hard_sigmoid and both gelu are composed
    of simpler operators. So each opset has all activations.

    Examples
    --------
    >>> import numpy as np
    >>> import onnxruntime
    >>> from jitprop import Trainer, export
    >>> trainer = Trainer([2, 3, 1], dtype="float32", seed=0)
    >>> export.to_onnx(trainer, "net.onnx")
    >>> session = onnxruntime.InferenceSession("net.onnx")
    >>> X = np.ones((5, 2), np.float32)
    >>> (prediction,) = session.run(None, {"X": X})
    >>> np.allclose(prediction, trainer.predict(X), rtol=1e-5)
    True
    """
    made = _model(nets.of(model).cast(cast.dtype(dtype)), check_opset(opset))
    with replacing(path) as file:
        file.write(made.SerializeToString())


def check_opset(opset: Any) -> int:
    """
    Return the opset that was asked for, if this module and the package onnx know it.

    Raises
    ------
    TypeError, ValueError
        If they do not.
    ImportError
        If onnx is not installed.
    """
    last = min(LAST_OPSET, package().defs.onnx_opset_version())
    return checks.integer("opset", opset, low=FIRST_OPSET, high=last)


def _model(net: nets.Net, opset: int) -> Any:
    """Return the content of the file: the graph, and the versions that it needs."""
    helper = package().helper
    graph = Graph(net.weights[0].dtype)
    kind, n = helper.np_dtype_to_tensor_dtype(graph.dtype), net.sizes[-1]
    label, name = graph.answer(net, "X")
    width = 2 if net.is_binary else n
    outputs = [helper.make_tensor_value_info(name, kind, [None, width])]
    if label is not None:
        shape = [None, n] if net.answer == "labels" else [None]
        outputs.insert(0, helper.make_tensor_value_info(label, graph.class_type, shape))
    inputs = [helper.make_tensor_value_info("X", kind, [None, net.sizes[0]])]
    return graph.model(inputs, outputs, {"": opset})


def package() -> Any:
    """
    Return the package onnx.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError("to_onnx needs onnx: pip install 'jitprop[onnx]'") from error
    return onnx


def _storable(classes: Array) -> Array:
    """Return classes as ONNX can store them: numbers, or text."""
    if classes.dtype.kind in "biuf":
        return classes
    if all(isinstance(name, str) for name in classes.tolist()):
        return classes.astype(object)
    raise TypeError(
        f"classes must be numbers or text to be exported; got {quoted(classes.tolist()[:5])}"
    )


class Graph:
    """
    The nodes and constants of a graph. Each node has the name of its output.

    Parameters
    ----------
    dtype : NumPy dtype
        The dtype of all numbers.
    prefix : str, default ""
        The beginning of all names, except those of the graph's outputs.

    Attributes
    ----------
    nodes, initializers : lists of what onnx makes
    class_type : int
        The type in ONNX of the classes, once they were added.
    """

    class_type: int

    def __init__(self, dtype: np.dtype[Any], prefix: str = "") -> None:
        self.dtype, self.prefix = dtype, prefix
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def __call__(self, op: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        import onnx

        output = name or f"{self.prefix}{op}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, values: Array, name: str) -> str:
        """Add a constant array and return its name."""
        import onnx

        name = self.prefix + name
        self.initializers.append(onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def number(self, value: float) -> str:
        """Add a constant number of the graph's dtype and return its name."""
        return self.constant(np.array(value, self.dtype), f"number_{len(self.initializers)}")

    def outputs(self, net: nets.Net, a: str, name: str | None, of: str = "") -> str:
        """Add a net, or the mean of its members; return the name of the outputs for inputs a."""
        last, n = len(net.weights) - 1, net.n_members
        for l, (W, b, activation) in enumerate(zip(*net[:3], strict=True)):
            product = self("MatMul", a, self.constant(W, f"{of}W{l}"))
            rows = b if n is None else b[:, np.newaxis]
            z = self("Add", product, self.constant(rows, f"{of}b{l}"))
            a = self.activation(activation, z, name if l == last and n is None else None)
        if n is None:
            return a
        total = self("ReduceSum", a, self.constant(np.array([0]), f"{of}members"), keepdims=0)
        return self("Div", total, self.number(n), name=name)

    def answer(self, net: nets.Net, a: str) -> tuple[str | None, str]:
        """Add what the net predicts for inputs a; return the names of the labels and outputs."""
        name = "prediction" if net.answer == "outputs" else "probabilities"
        a = self.outputs(net, a, None if net.is_binary else name)
        if net.is_binary:
            a = self("Concat", self("Sub", self.number(1), a), a, name=name, axis=1)
        if net.answer == "labels":
            self.class_type = 7  # int64
            return self("Cast", self("Greater", a, self.number(0.5)), name="label", to=7), a
        return (None if net.classes is None else self.label(net.classes, a)), a

    def label(self, classes: Array, probabilities: str) -> str:
        """Add the most probable class and return its name."""
        values = self.constant(_storable(classes), "classes")
        self.class_type = self.initializers[-1].data_type
        best = self("ArgMax", probabilities, axis=1, keepdims=0)
        return self("Gather", values, best, name="label")

    def model(self, inputs: list[Any], outputs: list[Any], opsets: dict[str, int]) -> Any:
        """Return the content of a file: the graph, and the versions that it needs."""
        import onnx

        helper = onnx.helper
        ids = [helper.make_opsetid(*opset) for opset in opsets.items()]
        made = helper.make_model(
            helper.make_graph(self.nodes, "jitprop", inputs, outputs, self.initializers),
            opset_imports=ids,
            # The format of the file: the earliest that these operators may be stored in.
            ir_version=helper.find_min_ir_version_for(ids),
            producer_name="jitprop",
            producer_version=__version__,
        )
        onnx.checker.check_model(made, full_check=True)
        return made

    def activation(self, kind: str | Numbered, z: str, name: str | None) -> str:
        """Add f(z), as in `jitprop.functions`, and return the name of the result."""
        match kind:
            case "identity":
                return self("Identity", z, name=name)
            case "sigmoid" | "tanh" | "relu" | "exp":
                return self(kind.capitalize(), z, name=name)
            case "softmax":
                return self("Softmax", z, name=name, axis=-1)
            case "silu":
                return self("Mul", z, self("Sigmoid", z), name=name)
            case "leaky_relu":
                return self("Max", z, self("Mul", z, self.number(0.01)), name=name)
            case LeakyReLU(negative_slope=slope):  # with a slope above 1 it is the smaller of both
                of_both = "Max" if slope <= 1.0 else "Min"
                return self(of_both, z, self("Mul", z, self.number(slope)), name=name)
            case "elu":
                return self.elu(z, 1.0, 1.0, name)
            case ELU(alpha=alpha):
                return self.elu(z, 1.0, alpha, name)
            case "selu":
                return self.elu(z, SELU_SCALE, SELU_DEPTH, name)
            case "softplus":
                return self.softplus(z, name)
            case Softplus(beta=beta):
                whole = self.softplus(self("Mul", z, self.number(beta)))
                return self("Div", whole, self.number(beta), name=name)
            case "mish":
                return self("Mul", z, self("Tanh", self.softplus(z)), name=name)
            case "softsign":
                return self("Div", z, self("Add", self("Abs", z), self.number(1)), name=name)
            case "hard_sigmoid":
                raised = self("Max", self("Add", z, self.number(3)), self.number(0))
                return self("Div", self("Min", raised, self.number(6)), self.number(6), name=name)
            case "gelu" if self.dtype == np.float32:
                erf = self("Erf", self("Mul", z, self.number(math.sqrt(0.5))))
                half = self("Mul", z, self.number(0.5))
                return self("Mul", half, self("Add", erf, self.number(1)), name=name)
            case "gelu":
                return self.gelu(z, name)
            case "gelu_tanh":
                cube = self("Mul", self("Mul", z, z), self("Mul", z, self.number(0.044715)))
                v = self("Mul", self("Add", z, cube), self.number(2 * math.sqrt(2 / math.pi)))
                return self("Mul", z, self("Sigmoid", v), name=name)
        raise NotImplementedError(kind)

    def gelu(self, z: str, name: str | None) -> str:
        """Add max(z, 0) - x g exp(-x**2 / 2), with x = abs(z): onnxruntime's Erf is float32."""
        x = self("Min", self("Abs", z), self.number(40))  # beyond that exp is 0
        t = self("Div", self.number(1), self("Add", x, self.number(5)))
        s = self("Sub", self.number(1), self("Mul", t, self.number(10)))
        q = self.number(NORMAL_TAIL[-1])
        for coefficient in NORMAL_TAIL[-2::-1]:
            q = self("Add", self("Mul", q, s), self.number(coefficient))
        e = self("Exp", self("Mul", self("Mul", x, x), self.number(-0.5)))
        part = self("Mul", self("Mul", x, self("Mul", q, t)), e)
        return self("Sub", self("Max", z, self.number(0)), part, name=name)

    def elu(self, z: str, scale: float, depth: float, name: str | None) -> str:
        """Add scale * z where z > 0, else depth * (exp(z) - 1)."""
        negative = self("Exp", self("Min", z, self.number(0)))
        below = self("Sub", negative, self.number(1))
        if depth != 1.0:
            below = self("Mul", below, self.number(depth))
        above = z if scale == 1.0 else self("Mul", z, self.number(scale))
        return self("Where", self("Greater", z, self.number(0)), above, below, name=name)

    def softplus(self, z: str, name: str | None = None) -> str:
        """Add log(1 + exp(z))."""
        e = self("Exp", self("Neg", self("Abs", z)))
        logarithm = self("Log", self("Add", e, self.number(1)))
        return self("Add", self("Max", z, self.number(0)), logarithm, name=name)
