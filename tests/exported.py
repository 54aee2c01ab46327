"""Models to export, each with inputs and its outputs for them."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import warnings
from functools import partial

import numpy as np
import onnxruntime
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

import jitprop.sklearn
from jitprop import ELU, LeakyReLU, Softplus, Trainer
from nets import HIDDEN

LOSSES = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy", "exp": "poisson"}

COMPILER = os.environ.get("CC", "cc")
STRICT = [
    "-std=c99",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-pedantic",
    "-Wconversion",
    "-Wdouble-promotion",
]
TOLERANCE = {"float32": 2e-5, "float64": 1e-13}

needs_compiler = pytest.mark.skipif(
    shutil.which(COMPILER) is None, reason="there is no C compiler here"
)


# Sizes and activations of nets; each activation is in one of them.
NETS = {
    "all": ([4, *[7, 6, 5] * 4, 7, 6, 3], HIDDEN, "identity"),
    "shallow": ([4, 9, 1], ("relu",), "sigmoid"),
    "no-hidden": ([4, 2], (), "tanh"),
    "softmax": ([4, 3, 8, 5], ("tanh", "gelu"), "softmax"),
    "rates": ([4, 3, 2], ("elu",), "exp"),
    "gates": ([4, 6, 2], ("silu",), "softplus"),
    "scaled": ([4, 6, 2], ("selu",), "mish"),
    "signs": ([4, 6, 2], ("softsign",), "selu"),
    "numbers": ([4, 6, 5, 5, 2], (LeakyReLU(0.2), ELU(0.5), LeakyReLU(1.5)), Softplus(3.0)),
    "two of a kind": ([4, 6, 5, 2], (Softplus(0.3), "softplus"), ELU(1.7)),
    "pieces": ([4, 6, 2], ("hard_sigmoid",), "hard_sigmoid"),
}


def trainer(name, dtype):
    sizes, hidden, output = NETS[name]
    made = Trainer(
        sizes,
        activation=hidden,
        output_activation=output,
        loss=LOSSES.get(output, "half_squared_error"),
        dtype=dtype,
    )
    rng = np.random.default_rng(7)
    made.parameters[:] = rng.normal(size=len(made.parameters)) * 0.7
    return made, rng.normal(size=(40, sizes[0])).astype(dtype) * 3


TARGETS = {
    "two": lambda X: np.where(X[:, 0] > 0, "über", "unter"),
    "three": lambda X: np.array([10, 20, 70])[(X > 0).sum(axis=1) // 2],
    "booleans": lambda X: X[:, 0] > 0,
    "only": lambda X: np.full(len(X), 7),
    "labels": lambda X: (X[:, :3] > 0).astype(int),
    "one": lambda X: X[:, 0] * X[:, 1],
    "several": lambda X: X[:, :2] ** 2,
}
CLASSIFIED = ("two", "three", "booleans", "only", "labels")


def estimator(name, dtype, classifier=MLPClassifier, regressor=MLPRegressor):
    X = np.random.default_rng(3).normal(size=(60, 4)).astype(dtype)
    kind = classifier if name in CLASSIFIED else regressor
    made = kind(hidden_layer_sizes=(6, 5), activation="tanh", max_iter=20, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        made.fit(X, TARGETS[name](X))
    return made, X


def ensemble(name, dtype):
    """Return a fitted estimator with three members, and its samples."""
    kinds = jitprop.sklearn.MLPClassifier, jitprop.sklearn.MLPRegressor
    return estimator(name, dtype, *(partial(kind, n_members=3) for kind in kinds))


def run_onnx(path, X):
    """Return what onnxruntime computes, by the names of the outputs."""
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": X}), strict=True))


def run_c(path, X, n_outputs, dtype, name="net", options=()):
    """Compile the file and call its function for each sample."""
    library = path.with_suffix(".so")
    strict = [flag for flag in STRICT if "c++" not in options or flag != "-std=c99"]
    command = [COMPILER, *strict, "-O1", "-shared", "-fPIC"]
    command += [*options, path, "-o", library, "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    predict = getattr(ctypes.CDLL(library), f"{name}_predict")
    X = np.ascontiguousarray(X, dtype)
    out = np.full((len(X), n_outputs + 1), 123, dtype)  # the last number must stay
    for x, y in zip(X, out, strict=True):
        predict(x.ctypes.data_as(ctypes.c_void_p), y.ctypes.data_as(ctypes.c_void_p))
    assert (out[:, -1] == 123).all()
    return out[:, :-1]
