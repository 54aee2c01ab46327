#!/usr/bin/env bash
# onnxruntime 1.32.0: most activations of ONNX cannot be run in double, though the standard has them in double.
#
# One would guess: a net that a float64 framework exports, and that onnx's full check accepts, runs in
# onnxruntime on a CPU. Relu, Tanh, Sigmoid, Exp and Softmax do.
# What happens: Erf, Gelu, Elu, Selu, Softplus, Softsign, Mish, LeakyRelu and HardSigmoid raise
# NotImplemented in double, when the session begins. So does Mean. All of them run in float.
set -euo pipefail
"$(dirname "$0")/with-packages" onnxruntime==1.32.0 onnx==1.23.2 numpy==2.2.6 <<'PY'
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as Refused

WORK = ["Relu", "Tanh", "Sigmoid", "Exp", "Softmax"]
FAIL = ["Erf", "Gelu", "Elu", "Selu", "Softplus", "Softsign", "Mish", "LeakyRelu", "HardSigmoid", "Mean"]


def runs(operator, kind):
    x, y = (helper.make_tensor_value_info(name, kind, [1, 1]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "graph", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Refused:
        return False
    return True


for operator in WORK + FAIL:
    found = runs(operator, TensorProto.FLOAT), runs(operator, TensorProto.DOUBLE)
    print(f"{operator:12} float: {found[0]}  double: {found[1]}")
    assert found == (True, operator in WORK), operator
PY
