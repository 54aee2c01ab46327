#!/usr/bin/env bash
# skl2onnx 1.20.0: classes that are integers beyond 32 bits become other integers in the ONNX file.
#
# One would guess: the output "label" is int64, so it holds the classes of scikit-learn, which are
# int64 too, such as the ids of customers. Or the conversion refuses them.
# What happens: the classes of an MLPClassifier are stored as int32 and cast to int64 when the file
# runs. 3,000,000,000 becomes -1,294,967,296, without a word from skl2onnx, the checker of onnx or
# onnxruntime. The probabilities are right, and so are the classes of LogisticRegression and of trees.
set -euo pipefail
"$(dirname "$0")/with-packages" skl2onnx==1.20.0 onnx==1.23.2 onnxruntime==1.32.0 scikit-learn==1.9.1 \
    numpy==2.4.6 <<'PY'
import numpy as np
import onnx
import onnxruntime
import skl2onnx
from sklearn.neural_network import MLPClassifier

X = np.linspace(-1, 1, 40, dtype=np.float32)[:, np.newaxis]
y = (X[:, 0] > 0) + 2_999_999_999
model = MLPClassifier(solver="lbfgs", random_state=0).fit(X, y)
file = skl2onnx.to_onnx(model, X[:1], options={"zipmap": False})
onnx.checker.check_model(file, full_check=True)
label, _ = onnxruntime.InferenceSession(file.SerializeToString()).run(None, {"X": X})
print("scikit-learn", np.unique(model.predict(X)))
print("ONNX        ", np.unique(label), label.dtype)
assert (label == model.predict(X) - 2**32).all()
PY
