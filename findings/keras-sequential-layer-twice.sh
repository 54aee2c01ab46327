#!/usr/bin/env bash
# Keras 3.15.1: a Sequential that holds one layer twice is saved with one use of it.
#
# One would guess: a model that shares a layer is saved with both uses, as a functional model is, or
# refused when it is built or saved.
# It does: the model computes with both uses. Its config and its file have the layer once, so the
# loaded model is another function, without an error or a warning.
set -euo pipefail
KERAS_BACKEND=torch "$(dirname "$0")/with-packages" keras==3.15.1 torch==2.13.0 numpy==2.2.6 <<'PY'
import keras
import numpy as np

x = np.ones((1, 4), np.float32)
shared = keras.layers.Dense(4, kernel_initializer="ones")
model = keras.Sequential([keras.Input((4,)), shared, keras.layers.Activation("tanh"), shared])
before = model.predict(x, verbose=0)
model.save("model.keras")
loaded = keras.models.load_model("model.keras")
after = loaded.predict(x, verbose=0)
print("layers", len(model.layers), "then", len(loaded.layers))
print("output", before[0], "then", after[0])
assert np.abs(before - 4 * np.tanh(4)).max() < 1e-5
assert np.abs(after - np.tanh(4)).max() < 1e-5
PY
