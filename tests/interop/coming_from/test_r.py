"""R's nnet: the value and the gradient of the same net, by one Rscript."""

import shutil
import subprocess
from math import log

import numpy as np
import pytest

from jitprop import Trainer

SCRIPT = __file__.replace("test_r.py", "nnet.R")

CASES = {
    "logistic outputs": ({"loss": "squared_error"}, (0, 0, 0)),
    "linout": ({"loss": "squared_error", "output_activation": "identity"}, (1, 0, 0)),
    "entropy": ({"loss": "binary_cross_entropy"}, (0, 1, 0)),
    "softmax": ({"loss": "cross_entropy", "output_activation": "softmax"}, (0, 0, 1)),
}


def vector(weights, biases):
    """Return nnet's vector: of each receiving unit its bias, then its weights."""
    layers = zip(weights, biases, strict=True)
    return np.concatenate([np.vstack([b, W]).T.ravel() for W, b in layers])


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="Rscript is not installed")
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient_of_nnet(tmp_path, case, decay):
    settings, options = CASES[case]
    rng = np.random.default_rng(3)
    X = rng.normal(size=(30, 3))
    y = rng.uniform(size=(30, 2))
    if case in ("entropy", "softmax"):
        y = np.eye(2)[rng.integers(2, size=30)]
    settings = {**settings, "weight_decay": 2 * decay, "decay_biases": True}
    net = Trainer([3, 4, 2], reduction="sum", learning_rate=1.0, dtype="float64", **settings)
    for array in (*net.weights, *net.biases):
        array[...] = rng.normal(size=array.shape)
    start = vector(net.weights, net.biases)
    parts = {"X": X, "y": y, "start": start, "settings": [4, decay, *options]}
    for name, numbers in parts.items():
        np.savetxt(tmp_path / f"{name}.csv", numbers, "%.17g", delimiter=",")
    done = subprocess.run(
        ["Rscript", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    value, *after = map(float, done.stdout.split())

    # nnet adds decay sum w**2, of weights and biases: the gradient gets 2 decay w.
    loss = net.evaluate(X, y)
    np.testing.assert_allclose(value, loss + decay * (start**2).sum(), rtol=1e-13)
    net.fit(X, y, 1)  # at a rate of 1
    gradient = start - vector(net.weights, net.biases)
    step = start - np.array(after)
    size = np.linalg.norm(step) / np.linalg.norm(gradient)
    # The first step of BFGS goes against the gradient. Its length is a power of 0.2.
    np.testing.assert_allclose(log(size, 0.2), round(log(size, 0.2)), atol=1e-10)
    np.testing.assert_allclose(step, size * gradient, rtol=0, atol=1e-13 * np.abs(step).max())
