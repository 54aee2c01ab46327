"""
FANN (Debian's libfann-dev), called by a small C program: SGD on sigmoid nets.

FANN clips outputs to [0.01, 0.99] in its derivatives. So its parameters agree with the others' only
as long as no unit leaves this range, as in the first epochs. It stores the error as a float32.
"""

import ctypes

import numpy as np

from compiler import load, pointer
from work import CannotError

PACKAGES = ()


def prepare(work):
    """Return a function: epochs -> weights, biases, loss of each epoch."""
    if work.optimizer != "sgd":
        raise CannotError(f"has no {work.optimizer.capitalize()}")
    if work.activation != "sigmoid":
        raise CannotError("only set up for sigmoid")
    real = np.dtype(work.dtype)
    kind = {"float32": "float", "float64": "double"}[real.name]
    try:
        library = load("fann.c", "-O3", f"-DKIND={kind}", f"-l{kind}fann", "-lm")
    except CannotError as error:
        if "fann.h" in str(error):
            raise CannotError("libfann-dev is not installed") from None
        raise
    X, y = work.data()
    sizes = np.array(work.sizes, np.uint32)
    # FANN's gradient of a batch is always the mean over samples.
    rate = work.learning_rate * (1 if work.reduction == "mean" else work.batch_size)

    def train(epochs):
        # FANN stores the parameters unit by unit: the incoming weights, then the bias.
        layers = [np.vstack(layer).T for layer in zip(*work.start(), strict=True)]
        params = np.concatenate([layer.ravel() for layer in layers])
        mean_squares = np.empty(epochs)
        library.train(
            ctypes.c_uint(len(sizes)),
            *map(pointer, (sizes, X, y, params, mean_squares)),
            ctypes.c_uint(work.batch_size),
            ctypes.c_uint(work.n_batches),
            ctypes.c_long(epochs),
            ctypes.c_float(rate),
        )
        weights, biases, at = [], [], 0
        for layer in layers:
            trained = params[at : at + layer.size].reshape(layer.shape).T
            weights.append(trained[:-1])
            biases.append(trained[-1])
            at += layer.size
        return weights, biases, mean_squares * (y.size * work.loss_scale)

    return train
