#!/usr/bin/env bash
# scikit-learn 1.9.1 with pandas 3.0.3: a classifier fitted on labels of a nullable dtype predicts
# floats.
#
# One would guess: labels come back as they were given, integers as integers and booleans as booleans,
# as they do for every NumPy dtype and for a categorical of the same labels.
# It does: Int64, boolean and the pyarrow integers and booleans, without a single missing value, become
# float64. A lookup of the name by the predicted class, ~predicted, or a join on it then fails or
# gives something else.
set -euo pipefail
"$(dirname "$0")/with-packages" scikit-learn==1.9.1 pandas==3.0.3 pyarrow==22.0.0 numpy==2.2.6 <<'PY'
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

X = np.arange(20.0).reshape(-1, 1)
y = np.arange(20) >= 10
MODELS = (DecisionTreeClassifier(), LogisticRegression(), MLPClassifier(solver="lbfgs"))
for model in MODELS:
    for dtype in ("bool", "int64", "category", "Int64", "boolean", "int64[pyarrow]", "bool[pyarrow]"):
        labels = pd.Series(y if "bool" in dtype else y.astype(int)).astype(dtype)
        found = model.fit(X, labels).predict(X).dtype
        print(f"{type(model).__name__:24}{dtype:16}{found}")
        nullable = dtype in ("Int64", "boolean") or "pyarrow" in dtype
        assert (found == np.float64) == nullable
PY
