"""Conversion of pipelines of scikit-learn, by the package skl2onnx."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitprop.checks import quoted
from jitprop.export import net as nets
from jitprop.export.onnx import FIRST_OPSET, Graph


def register_skl2onnx() -> None:
    """
    Tell skl2onnx how to convert `jitprop.sklearn.MLPClassifier` and `MLPRegressor`.

    Afterwards ``skl2onnx.to_onnx`` and ``skl2onnx.convert_sklearn`` convert pipelines, column
    transformers and ensembles of scikit-learn with these estimators inside. Once in a process is
    enough; a second call changes nothing.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    Notes
    -----
    All activations, losses and numbers of members are converted. The net computes in float64 if the
    samples that skl2onnx is shown are float64, else in float32. skl2onnx stores classes as 64-bit
    integers or texts, so booleans become 0 and 1, and a conversion with other numbers as classes
    raises a ValueError. So does one with a ``target_opset`` below 13.

    Examples
    --------
    >>> import numpy as np
    >>> import skl2onnx
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from jitprop import export
    >>> from jitprop.sklearn import MLPRegressor
    >>> X = np.arange(20.0).reshape(10, 2)
    >>> net = MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", random_state=0)
    >>> model = make_pipeline(StandardScaler(), net).fit(X, X[:, 0])
    >>> export.register_skl2onnx()
    >>> converted = skl2onnx.to_onnx(model, X[:1])
    >>> [output.name for output in converted.graph.output]
    ['variable']
    """
    try:
        import skl2onnx
    except ImportError as error:
        raise ImportError("register_skl2onnx needs skl2onnx: pip install skl2onnx") from error
    from jitprop.sklearn import MLPClassifier, MLPRegressor

    options = {
        "zipmap": [True, False, "columns"],
        "nocl": [True, False],
        "output_class_labels": [False, True],
    }
    for kind, shapes, known in (
        (MLPClassifier, _classifier_shapes, options),
        (MLPRegressor, _regressor_shapes, None),
    ):
        skl2onnx.update_registered_converter(
            kind, f"Jitprop{kind.__name__}", shapes, _convert, options=known
        )


def _classifier_shapes(operator: Any) -> None:
    """Set the types and shapes of the outputs of a classifier."""
    from skl2onnx.common.data_types import Int64TensorType, StringTensorType

    n = operator.inputs[0].get_first_dimension()
    net = nets.of(operator.raw_operator)
    rows = [n, net.sizes[-1]] if net.answer == "labels" else [n]
    texts = net.classes is not None and net.classes.dtype.kind not in "biuf"
    kind = StringTensorType if texts and not _numbered(operator) else Int64TensorType
    operator.outputs[0].set_type(kind(shape=rows))
    _set_numbers(operator, operator.outputs[1], [n, 2 if net.is_binary else net.sizes[-1]])


def _regressor_shapes(operator: Any) -> None:
    """Set the type and shape of the predictions."""
    n = operator.inputs[0].get_first_dimension()
    shape = [n, nets.of(operator.raw_operator).sizes[-1]]
    _set_numbers(operator, operator.outputs[0], shape)


def _set_numbers(operator: Any, output: Any, shape: list[Any]) -> None:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    double = _dtype(operator) == np.float64
    output.set_type((DoubleTensorType if double else FloatTensorType)(shape=shape))


def _dtype(operator: Any) -> np.dtype[Any]:
    """Return the dtype to compute in."""
    from skl2onnx.common.data_types import DoubleTensorType

    double = isinstance(operator.inputs[0].type, DoubleTensorType)
    return np.dtype(np.float64 if double else np.float32)


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of a net to the graph that skl2onnx makes."""
    from onnx import helper, numpy_helper

    opset = container.target_opset_any_domain("")
    if opset < FIRST_OPSET:
        raise ValueError(f"target_opset must be at least {FIRST_OPSET} for a net; got {opset}")
    dtype = _dtype(operator)
    net = nets.of(operator.raw_operator).cast(dtype)
    graph = Graph(dtype)
    X = graph("Cast", "X", to=helper.np_dtype_to_tensor_dtype(dtype))
    label, outputs = graph.answer(net._replace(classes=_classes(operator, net.classes)), X)
    found = [name for name in (label, outputs) if name is not None]
    names = dict(zip(found, (output.full_name for output in operator.outputs), strict=True))
    names["X"] = operator.inputs[0].full_name
    for name in [
        *(node.output[0] for node in graph.nodes),
        *(tensor.name for tensor in graph.initializers),
    ]:
        if name not in names:
            names[name] = scope.get_unique_variable_name(f"jitprop_{name}")
    for tensor in graph.initializers:
        values = numpy_helper.to_array(tensor).ravel()
        container.add_initializer(names[tensor.name], tensor.data_type, list(tensor.dims), values)
    for node in graph.nodes:
        container.add_node(
            node.op_type,
            [names[name] for name in node.input],
            [names[name] for name in node.output],
            op_version=opset,
            name=scope.get_unique_operator_name(node.op_type),
            **{each.name: helper.get_attribute_value(each) for each in node.attribute},
        )


def _numbered(operator: Any) -> bool:
    """Return whether a classifier's classes are their numbers: skl2onnx's option "nocl"."""
    found = operator.scope_inst.get_options(operator.raw_operator, {"nocl": False})
    return bool(found["nocl"])


def _classes(operator: Any, classes: Any) -> Any:
    """Return classes as skl2onnx stores them."""
    if classes is None:
        return None
    if _numbered(operator):
        return np.arange(len(classes))
    if classes.dtype.kind not in "biuf":
        return classes
    with np.errstate(invalid="ignore"):
        whole = classes.astype(np.int64)
    if not (whole == classes).all():
        raise ValueError(
            "skl2onnx stores classes as 64-bit integers or texts, so they must be such; "
            f"got {quoted(classes.tolist()[:5])}"
        )
    return whole
