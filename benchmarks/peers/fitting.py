"""Nets that fit functions, and the data that `second_order.py` fits with them."""

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np


@dataclass(frozen=True, eq=False)
class Problem:
    """
    A net of one tanh layer and one linear output, and the rows that it is to fit.

    Inputs and target have mean 0 and standard deviation 1. The loss is half the squared error. All
    numbers are float64.
    """

    name: str
    hidden: int
    X: np.ndarray
    y: np.ndarray

    def __str__(self):
        """Describe the problem, such as: 1-5-1, 250 rows."""
        return f"{'-'.join(map(str, self.sizes))}, {len(self.X):,} rows"

    @cached_property
    def sizes(self):
        """The numbers of inputs, hidden units and outputs."""
        return self.X.shape[1], self.hidden, 1

    def start(self, number):
        """Return the initial weights and biases of a start, in new arrays at each call."""
        rng, (n_in, hidden, n_out) = np.random.default_rng(number), self.sizes
        weights = [
            rng.normal(0, n_in**-0.5, (n_in, hidden)),
            rng.normal(0, hidden**-0.5, (hidden, n_out)),
        ]
        return weights, [rng.normal(0, 0.5, hidden), np.zeros(n_out)]

    def rmse(self, weights, biases):
        """Return the root of the mean squared error, as NumPy computes it."""
        hidden = np.tanh(self.X @ weights[0] + biases[0])
        return float(np.sqrt(np.mean((hidden @ weights[1] + biases[1] - self.y) ** 2)))


def as_vector(weights, biases):
    """Return all parameters in one vector, layer by layer: weights (n_in, n_out), then biases."""
    return np.concatenate([a.ravel() for layer in zip(weights, biases, strict=True) for a in layer])


def as_layers(vector, sizes):
    """Return the weights and biases that `as_vector` has joined."""
    n_in, hidden, n_out = sizes
    first, second = n_in * hidden, (n_in + 1) * hidden
    third = second + hidden * n_out
    W, V = vector[:first].reshape(n_in, hidden), vector[second:third].reshape(hidden, n_out)
    return [W, V], [vector[first:second], vector[third:]]


def problems():
    """Return the three problems: a smooth function of 1, 5 and 8 inputs, and noise."""
    return [
        made("W10", 5, 250, 1, lambda x: np.sin(6 * x) * np.exp(-x) + 0.5 * x, 0.05),
        made("W11", 5, 500, 5, friedman, 0.2),
        made("W12", 10, 1030, 8, borehole, 0.2),
    ]


def made(name, hidden, n_rows, n_in, function, noise):
    """Return a problem of random inputs in [0, 1]; ``noise`` is relative to the target's spread."""
    rng = np.random.default_rng(0)
    X = rng.random((n_rows, n_in))
    y = function(*X.T)
    return Problem(
        name, hidden, scaled(X), scaled(y + rng.normal(0, noise * y.std(), n_rows))[:, None]
    )


def friedman(a, b, c, d, e):
    """Return the first test function of Friedman (1991), "Multivariate adaptive regression"."""
    return 10 * np.sin(np.pi * a * b) + 20 * (c - 0.5) ** 2 + 10 * d + 5 * e


def borehole(*inputs):
    """Return the water that flows through a borehole: Harper and Gupta (1983), 8 inputs."""
    lows = np.array([0.05, 100, 63070, 990, 63.1, 700, 1120, 9855])
    highs = np.array([0.15, 50000, 115600, 1110, 116, 820, 1680, 12045])
    inputs = lows[:, None] + (highs - lows)[:, None] * np.array(inputs)
    radius, reach, upper, upper_head, lower, lower_head, length, conductivity = inputs
    ratio = np.log(reach / radius)
    leak = 2 * length * upper / (ratio * radius**2 * conductivity)
    return 2 * np.pi * upper * (upper_head - lower_head) / (ratio * (1 + leak + upper / lower))


def read(path, hidden):
    """Return the problem of a CSV file with one line of names; the target is the last column."""
    with Path(path).open(newline="") as file:
        table = np.array(list(csv.reader(file))[1:], np.float64)
    return Problem(Path(path).stem, hidden, scaled(table[:, :-1]), scaled(table[:, -1:]))


def scaled(values):
    """Return values with mean 0 and standard deviation 1 in each column."""
    return (values - values.mean(axis=0)) / values.std(axis=0)
