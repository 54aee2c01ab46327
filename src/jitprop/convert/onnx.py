"""Nets in ONNX files, with the package onnx: ``pip install 'jitprop[onnx]'``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.checks import quoted
from jitprop.convert import _onnx_activations as activations
from jitprop.convert._converted import Converted, dtype_of, one_or_fleet
from jitprop.convert._onnx_activations import Formula
from jitprop.convert._settings import with_settings
from jitprop.fleet import Fleet
from jitprop.trainer import Trainer

DOMAINS = ("", "ai.onnx")
"""What ONNX calls its own operators."""


def from_onnx(path: Any, *, output: str | None = None, **settings: Any) -> Trainer | Fleet:
    """
    Read a net from an ONNX file.

    Parameters
    ----------
    path : path, or a list of paths
        The file. A list gives a `Fleet`, with a member for each file.
    output : str, optional
        The output of the graph that is the net's. None takes the one output that can be converted,
        if there is one alone: of a classifier that is the one with the probabilities.
    **settings
        Arguments of `Trainer`. An ONNX file says nothing of training, so without them the trainer
        has `Trainer`'s defaults, or "cross_entropy" for softmax.

    Returns
    -------
    Trainer or Fleet
        With the layers, the activations and the dtype of the graph. float16 becomes float32.

    Raises
    ------
    TypeError, ValueError
        For a damaged file. For a graph that is no chain of layers and activations; the message
        names the node and its operator. For bad settings.
    ImportError
        If onnx is not installed.
    OSError
        If the file cannot be read.

    Notes
    -----
    A layer is a Gemm, or a MatMul with an Add. Its numbers are initializers or Constant nodes, in
    the file or beside it. alpha and beta of a Gemm are multiplied into the weights and biases. A
    layer without biases gets biases of 0 that are not trained, by ``learning_rate_factors``.

    An activation is one operator or many: those that `jitprop.export.to_onnx`, PyTorch, Keras and
    skl2onnx write for the activations of jitprop. Nodes that change nothing are left out: Identity,
    Dropout, and Flatten, Reshape or Cast to the shape or type that is there already.

    Of a binary classifier's two probabilities, 1 - a and a, the net is the one output a. A ZipMap,
    which makes dicts of probabilities, is left out too. Labels and their names are not read.

    Examples
    --------
    >>> from jitprop import Trainer, convert, export
    >>> trainer = Trainer([2, 3, 1], dtype="float32", seed=0)
    >>> export.to_onnx(trainer, "net.onnx")
    >>> again = convert.from_onnx("net.onnx", optimizer="adam")
    >>> bool((again.predict([[1, 2]]) == trainer.predict([[1, 2]])).all())
    True
    """
    if output is not None and not isinstance(output, str):
        raise TypeError(f"output must be the name of an output; got {checks.shown(output)}")
    return one_or_fleet(path, lambda each: with_settings(_read(each, output), settings))


def _read(path: Any, output: str | None) -> Converted:
    file = Path(os.fsdecode(checks.path("path", path)))
    source = f"the ONNX file {quoted(str(file))}"
    return _Reader(source, _load(file, source)).net(output)


def _load(file: Path, source: str) -> Any:
    """Return the content of a file, with the numbers that stand in files beside it."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ImportError("from_onnx needs onnx: pip install 'jitprop[onnx]'") from error
    try:
        return onnx.load(file)
    except (DecodeError, onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise ValueError(f"{source} is no ONNX file, or damaged: {error}") from error


class Value(NamedTuple):
    """
    A value within a layer: a function of z, the sum of the layer's products and its biases.

    Attributes
    ----------
    layer : int
        The number of the layer; 0 stands for the input of the graph, whose z is the input itself.
    formula : Formula
        The function.
    """

    layer: int
    formula: Formula


class Unknown(NamedTuple):
    """A value that jitprop has no net for, with the reason."""

    reason: str


class _Layer:
    def __init__(self, W: Array | None, b: Array | None, before: Value | None) -> None:
        self.W, self.b, self.before = W, b, before
        self.closed = b is not None
        """Whether no biases can be added any more."""

    @property
    def size(self) -> int | None:
        return None if self.W is None else int(self.W.shape[1])


class _Reader:
    """Goes through the nodes of a graph, and keeps what each value is."""

    def __init__(self, source: str, model: Any) -> None:
        self.source, self.graph = source, model.graph
        self.values: dict[str, Array | Value | Unknown] = {}
        self.layers = [_Layer(None, None, None)]
        self.opset = max(
            (each.version for each in model.opset_import if each.domain in DOMAINS), default=0
        )
        self.dtype: np.dtype[Any] | None = None

    def net(self, output: str | None) -> Converted:
        """Return the net of an output."""
        from onnx import numpy_helper

        for tensor in self.graph.initializer:
            try:
                self.values[tensor.name] = numpy_helper.to_array(tensor)
            except (TypeError, ValueError, KeyError) as error:
                reason = f"the initializer {quoted(tensor.name)} cannot be read: {error}"
                self.values[tensor.name] = Unknown(reason)
        inputs = [each for each in self.graph.input if each.name not in self.values]
        if len(inputs) != 1:
            names = ", ".join(quoted(each.name) for each in inputs)
            raise ValueError(f"{self.source} must have one input; it has {names or 'none'}")
        kind = inputs[0].type.tensor_type
        if not kind.HasField("shape") or len(kind.shape.dim) != 2:
            raise ValueError(
                f"{self.source} must have inputs of the shape (n_samples, n_inputs); the shape of "
                f"{quoted(inputs[0].name)} is another"
            )
        self.input_size = kind.shape.dim[1].dim_value or None
        self.values[inputs[0].name] = Value(0, activations.Z)
        for node in self.graph.node:
            self._node(node)
        return self._of_output(output)

    def _of_output(self, output: str | None) -> Converted:
        names = [each.name for each in self.graph.output]
        if output is not None and output not in names:
            known = ", ".join(map(quoted, names))
            raise ValueError(f"output {quoted(output)} is unknown: {self.source} has {known}")
        found: dict[str, Converted] = {}
        reasons = []
        for name in names if output is None else [output]:
            try:
                found[name] = self._chain(self._value(name))
            except ValueError as error:
                reasons.append(str(error))
        if len(found) == 1:
            return found.popitem()[1]
        if found:
            known = ", ".join(map(quoted, found))
            raise ValueError(f"{self.source} has several outputs, {known}: pass output")
        raise ValueError(reasons[0] if reasons else f"{self.source} has no output")

    def _value(self, name: str) -> Array | Value | Unknown:
        return self.values.get(name, Unknown(f"the value {quoted(name)} comes from no node"))

    # From the output back to the input.

    def _chain(self, value: Array | Value | Unknown) -> Converted:
        """Return the net whose output is this value."""
        if isinstance(value, Unknown):
            raise ValueError(f"{self.source}: {value.reason}")
        if not isinstance(value, Value):
            raise ValueError(f"{self.source} has an output that does not depend on the input")
        weights, biases, kinds, with_bias = [], [], [], []
        while value.layer > 0:
            layer = self.layers[value.layer]
            assert layer.W is not None
            assert layer.before is not None
            weights.append(layer.W)
            biases.append(np.zeros_like(layer.W[0]) if layer.b is None else layer.b)
            with_bias.append(layer.b is not None)
            kinds.append(self._activation(value, layer.W.dtype))
            value = layer.before
        if not weights:
            raise ValueError(f"{self.source} must have a Gemm or a MatMul on the way to its output")
        if not value.formula.is_z:
            raise ValueError(
                f"{self.source} computes with the inputs before the first layer, at node "
                f"{value.formula.node}, which jitprop does not have"
            )
        if weights[-1].shape[0] != (self.input_size or weights[-1].shape[0]):
            raise ValueError(
                f"{self.source} has {self.input_size} inputs, and a first layer of "
                f"{weights[-1].shape[0]}"
            )
        for i, kind in enumerate(kinds[1:]):
            if kind in ("softmax", "exp"):
                raise ValueError(
                    f"{self.source} has {kind} in hidden layer {len(kinds) - 1 - i}; jitprop has "
                    "it in the output layer alone"
                )
        dtype = dtype_of(self.source, [*weights, *biases])
        factors = [(1.0, float(b)) for b in with_bias[::-1]]
        return Converted(
            source=self.source,
            weights=weights[::-1],
            biases=biases[::-1],
            activations=kinds[::-1],
            dtype=dtype,
            learning_rate_factors=None if all(with_bias) else factors,
        )

    def _activation(self, value: Value, dtype: np.dtype[Any]) -> Any:
        found = activations.known(value.formula, dtype)
        if found is None:
            raise ValueError(
                f"{self.source} has nodes up to {value.formula.node} that are no activation of "
                f"jitprop: {value.formula.shown()}"
            )
        return found

    # From the input on.

    def _node(self, node: Any) -> None:
        names = [name for name in node.input if name]
        inputs = [self._value(name) for name in names]
        label = node.name or next(iter(node.output), "")
        name = f"{quoted(label)} ({quoted(node.op_type)})"
        unknown = next((each for each in inputs if isinstance(each, Unknown)), None)
        if unknown is not None:
            made: Any = unknown
        else:
            try:
                made = self._made(node, name, inputs)
            except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
                made = Unknown(f"node {name} cannot be converted: {error}")
        for i, each in enumerate(node.output):
            if each:
                self.values[each] = (
                    made if i == 0 else Unknown(f"node {name} has several outputs, {quoted(each)}")
                )

    def _made(self, node: Any, name: str, inputs: list[Any]) -> Array | Value | Unknown:
        """Return what a node makes."""
        from onnx import helper

        settings = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        if node.domain == "ai.onnx.ml" and node.op_type == "ZipMap":
            return inputs[0]  # type: ignore[no-any-return]
        if node.domain not in DOMAINS:
            return Unknown(f"node {name} of {quoted(node.domain)} is none that jitprop knows")
        if all(isinstance(each, np.ndarray) for each in inputs):
            return _constant(node.op_type, name, inputs, settings)  # type: ignore[no-any-return]
        known: Callable[..., Any] | None = getattr(self, f"_{node.op_type.lower()}", None)
        if node.op_type in SPECIAL and known is not None:
            return known(name, inputs, settings)  # type: ignore[no-any-return]
        if node.op_type == "Concat" and len(inputs) == 2:
            return self._binary(name, inputs, settings)
        return self._elementwise(node.op_type, name, inputs, settings)

    def _matmul(self, name: str, inputs: list[Any], settings: Any) -> Value | Unknown:
        a, W = inputs
        if not isinstance(a, Value) or not isinstance(W, np.ndarray) or W.ndim != 2:
            return Unknown(f"node {name} must multiply the layer before it by a constant matrix")
        return self._layer(name, a, W, None)

    def _gemm(self, name: str, inputs: list[Any], settings: Any) -> Value | Unknown:
        a, W, *rest = inputs
        if not isinstance(a, Value) or not isinstance(W, np.ndarray) or W.ndim != 2:
            return Unknown(f"node {name} must multiply the layer before it by a constant matrix")
        if settings.get("transA"):
            return Unknown(f"node {name} has transA, which jitprop does not have")
        W = _number_array(W.T if settings.get("transB") else W)
        W = W * W.dtype.type(settings.get("alpha", 1.0))
        if not rest:
            return self._layer(name, a, W, None)
        if not isinstance(rest[0], np.ndarray):
            return Unknown(f"node {name} must add a constant, which does not depend on the input")
        b = _number_array(_row(rest[0], W.shape[1]))
        return self._layer(name, a, W, b * b.dtype.type(settings.get("beta", 1.0)))

    def _layer(self, name: str, a: Value, W: Array, b: Array | None) -> Value | Unknown:
        size = self._size(a)
        if size is not None and size != W.shape[0]:
            return Unknown(f"node {name} has {W.shape[0]} inputs, the layer before it {size}")
        made = [None if each is None else _number_array(each) for each in (W, b)]
        self.layers.append(_Layer(made[0], made[1], a))
        return Value(len(self.layers) - 1, activations.Z._replace(node=name))

    def _add(self, name: str, inputs: list[Any], settings: Any) -> Any:
        """Add biases, or a number, or another function of the same z."""
        constants = [each for each in inputs if isinstance(each, np.ndarray)]
        values = [each for each in inputs if isinstance(each, Value)]
        if len(constants) == 1 and len(values) == 1 and values[0].formula.is_z:
            before = self.layers[values[0].layer]
            if before.W is not None and not before.closed:
                b = _number_array(_row(constants[0], before.W.shape[1]))
                # A new layer: another node may use the sum without biases.
                self.layers.append(_Layer(before.W, b, before.before))
                return Value(len(self.layers) - 1, activations.Z._replace(node=name))
        return self._elementwise("Add", name, inputs, settings)

    def _same(self, name: str, inputs: list[Any], settings: Any) -> Any:
        return inputs[0]

    _identity = _same

    def _dropout(self, name: str, inputs: list[Any], settings: Any) -> Any:
        # An input may say whether it is training: a constant, or an input of the graph.
        training = any(not isinstance(each, np.ndarray) for each in inputs[1:]) or any(
            each.dtype == np.bool_ and each.any() for each in inputs[1:]
        )
        if training:
            return Unknown(f"node {name} drops units at random: export the net for inference")
        return inputs[0]

    def _cast(self, name: str, inputs: list[Any], settings: Any) -> Any:
        from onnx import TensorProto

        if settings.get("to") not in (TensorProto.FLOAT, TensorProto.DOUBLE):
            return Unknown(f"node {name} casts to another type than float32 and float64")
        dtype = np.dtype(np.float32 if settings["to"] == TensorProto.FLOAT else np.float64)
        value = inputs[0]
        W = self.layers[value.layer].W
        if W is not None and W.dtype != dtype:
            return Unknown(f"node {name} casts from {W.dtype} to {dtype}; jitprop has one dtype")
        return value

    def _flatten(self, name: str, inputs: list[Any], settings: Any) -> Any:
        if settings.get("axis", 1) not in (1, -1):
            return Unknown(f"node {name} must have axis 1")
        return inputs[0]

    def _reshape(self, name: str, inputs: list[Any], settings: Any) -> Any:
        value, shape = inputs
        size = self._size(value) if isinstance(value, Value) else None
        wanted = [*map(int, np.ravel(shape))]
        # 0 keeps a size, -1 is what is left.
        if len(wanted) == 2 and (
            wanted == [0, -1] or (wanted[0] in (0, -1) and wanted[1] in (0, size))
        ):
            return value
        return Unknown(f"node {name} changes the shape to {wanted}, which jitprop does not do")

    def _softmax(self, name: str, inputs: list[Any], settings: Any) -> Any:
        if settings.get("axis", -1 if self.opset >= 13 else 1) not in (-1, 1):
            return Unknown(f"node {name} must have the last axis")
        return self._elementwise("Softmax", name, inputs, {})

    def _binary(self, name: str, inputs: list[Any], settings: Any) -> Value | Unknown:
        """Return a, of the probabilities 1 - a and a of two classes, side by side."""
        other, a = inputs
        if (
            isinstance(a, Value)
            and isinstance(other, Value)
            and other.layer == a.layer
            and other.formula.is_rest_of(a.formula)
            and self._size(a) == 1
            and settings.get("axis") in (1, -1)
        ):
            return a
        return Unknown(f"node {name} joins values; jitprop has one way from the input on")

    def _elementwise(
        self, op: str, name: str, inputs: list[Any], settings: dict[str, Any]
    ) -> Value | Unknown:
        """Apply an operator to functions of the same z, and to single numbers."""
        if op not in activations.OPERATORS:
            return Unknown(f"node {name} is no operator that jitprop knows")
        values = [each for each in inputs if isinstance(each, Value)]
        if len({value.layer for value in values}) != 1:
            return Unknown(f"node {name} joins two layers; jitprop has one way from the input on")
        parts: list[Any] = []
        for each in inputs:
            if isinstance(each, np.ndarray):
                if each.size != 1:
                    return Unknown(
                        f"node {name} computes with {each.size} numbers; jitprop has activations "
                        "that are the same for all units"
                    )
                parts.append(activations.number(each))
            else:
                parts.append(each.formula)
        return Value(values[0].layer, activations.apply(op, name, parts, settings))

    def _size(self, value: Value) -> int | None:
        return self.input_size if value.layer == 0 else self.layers[value.layer].size


SPECIAL = (
    "MatMul",
    "Gemm",
    "Add",
    "Identity",
    "Dropout",
    "Cast",
    "Flatten",
    "Reshape",
    "Softmax",
)
"""Operators with a method of `_Reader`."""


def _constant(op: str, name: str, inputs: Sequence[Array], settings: dict[str, Any]) -> Any:
    """Compute a node of constants."""
    from onnx import helper, numpy_helper

    if op == "Constant" and len(settings) == 1:
        (kind, value), *_ = settings.items()
        if kind == "value":
            return np.asarray(numpy_helper.to_array(value))
        if kind in ("value_float", "value_floats"):
            return np.asarray(value, np.float32)
        if kind in ("value_int", "value_ints"):
            return np.asarray(value, np.int64)
    if op == "Identity":
        return inputs[0]
    if op == "Transpose" and inputs[0].ndim <= 8:
        return inputs[0].transpose(settings.get("perm"))
    if op == "Cast":
        return inputs[0].astype(helper.tensor_dtype_to_np_dtype(settings["to"]))
    return Unknown(
        f"node {name} computes with constants alone, in a way that jitprop does not know"
    )


def _row(array: Array, n: int) -> Array:
    """Return biases as (n,); one number stands for all, as ONNX says."""
    flat = array.reshape(-1) if array.ndim < 2 or array.shape[0] == 1 else None
    if flat is None or array.ndim > 2 or flat.size not in (1, n):
        raise ValueError(f"biases must have {n} numbers; their shape is {array.shape}")
    return np.array(np.broadcast_to(flat, (n,)))


def _number_array(array: Array) -> Array:
    """Return parameters as float32 or float64."""
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    if array.dtype not in (np.float32, np.float64):
        raise ValueError(f"parameters must be floating-point numbers; they are {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError("parameters must be finite; they have inf or nan")
    return np.ascontiguousarray(array)
