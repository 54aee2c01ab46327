#!/usr/bin/env bash
# Keras 3.15.1: a Huber loss is saved without its delta, so a loaded model trains with delta 1.
#
# One would guess: get_config of a loss holds the arguments it was made with, and from_config, which
# loading a model calls, makes the same loss.
# It does: the config of Huber has its name, reduction and dtype. from_config makes a Huber with the
# default delta of 1. A model that was compiled with Huber(delta=0.25), saved and loaded has a loss of
# 0.5 where it had 0.21875, without a warning.
set -euo pipefail
KERAS_BACKEND=torch "$(dirname "$0")/with-packages" keras==3.15.1 torch==2.13.0 numpy==2.2.6 <<'PY'
import keras
import numpy as np

y, a = np.zeros((1, 1)), np.ones((1, 1))
huber = keras.losses.Huber(delta=0.25)
again = keras.losses.Huber.from_config(huber.get_config())
print("config  ", huber.get_config())
print("loss    ", float(huber(y, a)), "then", float(again(y, a)))
assert "delta" not in huber.get_config()
assert (float(huber(y, a)), float(again(y, a))) == (0.21875, 0.5)

model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
model.compile(loss=huber)
before = model.evaluate(a, y, verbose=0)
model.save("model.keras")
after = keras.models.load_model("model.keras").evaluate(a, y, verbose=0)
print("model   ", before, "then", after)
assert (before, after) == (0.21875, 0.5)
PY
