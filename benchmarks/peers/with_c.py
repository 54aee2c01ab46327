"""A C program for W1 only: plain loops over constant sizes."""

import ctypes

import numpy as np

from compiler import load, pointer
from work import CannotError

PACKAGES = ()


def prepare(work, optimize):
    """
    Return a function: epochs -> weights, biases, loss of each epoch.

    ``optimize`` is "-O3" or "-O2". With -O3, GCC 12 first unrolls the loops and then calls exp for
    one number at a time. With -O2 it calls the C library's exp for vectors of four.
    """
    if not work.is_xor:
        raise CannotError("written for the net of W1")
    X, y = work.data()
    library = load("xor.c", optimize, "-ftree-vectorize", "-march=native", "-ffast-math", "-lm")

    def train(epochs):
        weights, biases = work.start()
        losses = np.empty(epochs)
        library.train(
            *map(pointer, (X, y, weights[0], biases[0], weights[1], biases[1], losses)),
            ctypes.c_long(epochs),
            ctypes.c_double(work.learning_rate),
        )
        return weights, biases, losses

    return train
