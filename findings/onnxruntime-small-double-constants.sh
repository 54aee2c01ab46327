#!/usr/bin/env bash
# onnxruntime 1.32.0: the addition of a double constant that is 0 in float32 is removed from the graph.
#
# One would guess: graph optimizations at the default level do not change results, beyond rounding.
# What happens: x + 1e-50 in double becomes x, although 1e-50 is a common double. The pass
# NoopElimination compares the constant with 0 after it was narrowed to float32. So the root of it is 0
# instead of 1e-25. Without optimizations the result is right.
set -euo pipefail
"$(dirname "$0")/with-packages" onnxruntime==1.32.0 onnx==1.23.2 numpy==2.2.6 <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

nodes = [
    helper.make_node("Mul", ["x", "x"], ["square"]),
    helper.make_node("Add", ["square", "small"], ["sum"]),
    helper.make_node("Sqrt", ["sum"], ["y"]),
]
x, y = (helper.make_tensor_value_info(name, TensorProto.DOUBLE, [1]) for name in ("x", "y"))
small = helper.make_tensor("small", TensorProto.DOUBLE, [], [1e-50])
graph = helper.make_graph(nodes, "graph", [x], [y], [small])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model, full_check=True)
found = {}
for level in ("ORT_ENABLE_ALL", "ORT_DISABLE_ALL"):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found[level] = float(session.run(None, {"x": np.zeros(1)})[0][0])
    print(f"{level:15} sqrt(0 + 1e-50) = {found[level]}")
assert found["ORT_ENABLE_ALL"] == 0.0
assert np.isclose(found["ORT_DISABLE_ALL"], 1e-25)
PY
