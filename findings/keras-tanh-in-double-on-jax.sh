#!/usr/bin/env bash
# Keras 3.15.1 on JAX 0.10.2: with floatx "float64", tanh of a float64 tensor is float32.
#
# One would guess: with floatx "float64" and JAX's x64 a layer computes in float64, whatever its
# activation.
# It does: sigmoid and softplus stay float64. tanh casts to float32, so a Dense layer with
# activation="tanh" rounds its outputs to 7 digits, and the next layer computes with them.
set -euo pipefail
KERAS_BACKEND=jax "$(dirname "$0")/with-packages" keras==3.15.1 jax==0.10.2 numpy==2.2.6 <<'PY'
import jax
import keras
import numpy as np

jax.config.update("jax_enable_x64", True)
keras.config.set_floatx("float64")
z = keras.ops.convert_to_tensor([0.1, 0.7], dtype="float64")
found = {}
for name in ("sigmoid", "softplus", "tanh"):
    found[name] = keras.activations.get(name)(z)
    print(f"{name:9}", found[name].dtype)
assert found["sigmoid"].dtype == found["softplus"].dtype == "float64"
assert found["tanh"].dtype == "float32"
error = abs(np.asarray(found["tanh"], float) - np.tanh([0.1, 0.7])).max()
print("error of tanh", error)
assert error > 1e-10
PY
