"""
FANN (Debian's libdoublefann), trained from the same weights.

All units stay where FANN's slopes are the derivatives: logistic ones between 0.01 and 0.99.
"""

import ctypes
import math
from ctypes import POINTER, c_char_p, c_double, c_float, c_int, c_uint, c_void_p

import numpy as np
import pytest

from jitprop import SGD, CustomActivation, CustomLoss, Trainer

try:
    fann = ctypes.CDLL("libdoublefann.so.2")
except OSError:
    pytest.skip("libfann2 is not installed", allow_module_level=True)

LINEAR, SIGMOID, SYMMETRIC = 0, 3, 5
INCREMENTAL, BATCH = 0, 1
PLAIN, TANH = 0, 1  # error functions


class Connection(ctypes.Structure):
    _fields_ = (("start", c_uint), ("end", c_uint), ("weight", c_double))


fann.fann_create_standard_array.restype = c_void_p
fann.fann_create_standard_array.argtypes = c_uint, POINTER(c_uint)
fann.fann_read_train_from_file.restype = c_void_p
fann.fann_read_train_from_file.argtypes = (c_char_p,)
fann.fann_train_epoch.argtypes = c_void_p, c_void_p
fann.fann_train_epoch.restype = c_float
fann.fann_get_connection_array.argtypes = c_void_p, POINTER(Connection)
fann.fann_set_weight_array.argtypes = c_void_p, POINTER(Connection), c_uint
fann.fann_get_total_connections.argtypes = (c_void_p,)
fann.fann_destroy.argtypes = (c_void_p,)
fann.fann_destroy_train.argtypes = (c_void_p,)
for name, kind in {
    "activation_function_hidden": c_int,
    "activation_function_output": c_int,
    "activation_steepness_hidden": c_double,
    "activation_steepness_output": c_double,
    "training_algorithm": c_int,
    "train_error_function": c_int,
    "learning_rate": c_float,
    "learning_momentum": c_float,
}.items():
    getattr(fann, f"fann_set_{name}").argtypes = c_void_p, kind

RATE = float(np.float32(0.3))


def half(z):
    return 0.5 * z


def slope_of_half(z):
    return 0.5


def tanh_error(a, y):
    """What FANN_ERRORFUNC_TANH is the slope of, without its limit near 1."""
    d = y - a
    return 2 * d * math.atanh(d) + math.log(1 - d * d)


def slope_of_tanh_error(a, y):
    return -2 * math.atanh(y - a)


ROWS = {
    # name: activations of FANN, steepness, ours, the factor of weights, that of the rate, others
    "batch, SIGMOID": (SIGMOID, SIGMOID, 0.5, "sigmoid", "sigmoid", 1.0, 1.0, {}),
    "SIGMOID, steepness 0.8": (SIGMOID, SIGMOID, 0.8, "sigmoid", "sigmoid", 1.6, 2.56, {}),
    "SYMMETRIC": (SYMMETRIC, SYMMETRIC, 0.5, "tanh", "tanh", 0.5, 0.125, {}),
    "SYMMETRIC, steepness 0.8": (SYMMETRIC, SYMMETRIC, 0.8, "tanh", "tanh", 0.8, 0.32, {}),
    "SYMMETRIC and LINEAR": (SYMMETRIC, LINEAR, 1.0, "tanh", "identity", 1.0, 1.0, {}),
    "LINEAR at 0.5": (
        SIGMOID,
        LINEAR,
        0.5,
        "sigmoid",
        CustomActivation(half, slope_of_half),
        1.0,
        1.0,
        {},
    ),
    "INCREMENTAL, momentum": (
        SIGMOID,
        SIGMOID,
        0.5,
        "sigmoid",
        "sigmoid",
        1.0,
        1.0,
        {"batch_size": 1, "shuffle": False, "optimizer": SGD(momentum=float(np.float32(0.4)))},
    ),
    "TANH error function": (
        SIGMOID,
        SIGMOID,
        0.5,
        "sigmoid",
        "sigmoid",
        1.0,
        1.0,
        {"loss": CustomLoss(tanh_error, slope_of_tanh_error)},
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_the_same_course(tmp_path, row):
    hidden, output, steepness, ours, ours_out, factor, of_rate, others = ROWS[row]
    rng = np.random.default_rng(0)
    # FANN divides the rate by the number of samples, in float32. With 16 that is exact.
    X = rng.uniform(-1.0, 1.0, size=(16, 3))
    y = rng.uniform(0.2, 0.8, size=(16, 2))
    weights = [rng.normal(size=(3, 4)) * 0.4, rng.normal(size=(4, 2)) * 0.4]
    biases = [rng.normal(size=4) * 0.4, rng.normal(size=2) * 0.4]

    peer = fann.fann_create_standard_array(3, (c_uint * 3)(3, 4, 2))
    lines = [
        "16 3 2",
        *(
            " ".join(map(repr, map(float, numbers)))
            for pair in zip(X, y, strict=True)
            for numbers in pair
        ),
    ]
    (tmp_path / "samples.data").write_text("\n".join(lines) + "\n")
    data = fann.fann_read_train_from_file(bytes(tmp_path / "samples.data"))
    fann.fann_set_activation_function_hidden(peer, hidden)
    fann.fann_set_activation_function_output(peer, output)
    fann.fann_set_activation_steepness_hidden(peer, steepness)
    fann.fann_set_activation_steepness_output(peer, steepness)
    incremental = "batch_size" in others
    fann.fann_set_training_algorithm(peer, INCREMENTAL if incremental else BATCH)
    fann.fann_set_train_error_function(peer, TANH if "loss" in others else PLAIN)
    fann.fann_set_learning_rate(peer, RATE)
    fann.fann_set_learning_momentum(peer, 0.4 if incremental else 0.0)
    connections = (Connection * fann.fann_get_total_connections(peer))()
    fann.fann_get_connection_array(peer, connections)
    vector = np.concatenate(
        [np.vstack([W, b]).T.ravel() for W, b in zip(weights, biases, strict=True)]
    )
    for connection, weight in zip(connections, vector, strict=True):
        connection.weight = weight
    fann.fann_set_weight_array(peer, connections, len(connections))
    for _ in range(20):
        fann.fann_train_epoch(peer, data)
    fann.fann_get_connection_array(peer, connections)
    end = np.array([connection.weight for connection in connections])
    fann.fann_destroy(peer)
    fann.fann_destroy_train(data)

    net = Trainer(
        [3, 4, 2],
        activation=ours,
        output_activation=ours_out,
        learning_rate=of_rate * RATE,
        dtype="float64",
        init=([factor * W for W in weights], [factor * b for b in biases]),
        **others,
    )
    net.fit(X, y, 20)
    found = np.concatenate(
        [np.vstack([W, b]).T.ravel() for W, b in zip(net.weights, net.biases, strict=True)]
    )
    assert np.abs(found / factor - vector).max() > 0.01
    np.testing.assert_allclose(found / factor, end, rtol=0, atol=1e-13)
