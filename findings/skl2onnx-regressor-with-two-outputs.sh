#!/usr/bin/env bash
# skl2onnx 1.20.0: an MLPRegressor with two outputs becomes a graph with one column of 2 n rows.
#
# One would guess: the graph returns what predict returns, an array (n_samples, 2).
# It does: the converter ends with a reshape to (-1, 1), which is right for one output. The outputs
# of a sample stand below one another. No error or warning is given, and the numbers are right.
set -euo pipefail
"$(dirname "$0")/with-packages" skl2onnx==1.20.0 onnxruntime==1.27.0 scikit-learn==1.8.0 numpy==2.2.6 <<'PY'
import warnings

import numpy as np
from onnxruntime import InferenceSession
from skl2onnx import to_onnx
from sklearn.neural_network import MLPRegressor

warnings.simplefilter("ignore")
X = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
model = MLPRegressor(hidden_layer_sizes=(3,), max_iter=5, random_state=0).fit(X, X)
session = InferenceSession(to_onnx(model, X[:1]).SerializeToString())
found, wanted = session.run(None, {"X": X})[0], model.predict(X)
print("predict", wanted.shape, "graph", found.shape, "declared", session.get_outputs()[0].shape)
assert wanted.shape == (9, 2)
assert found.shape == (18, 1)
np.testing.assert_allclose(found.reshape(9, 2), wanted, atol=1e-6)
PY
