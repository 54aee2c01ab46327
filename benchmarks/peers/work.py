"""The work that every system is given: nets, data, starting parameters."""

from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np

# FANN keeps its learning rate as a float32; this is one, so that all can have the same.
TENTH = float(np.float32(0.1))


class CannotError(Exception):
    """A system is not installed, or cannot do this work; says which."""


@dataclass(frozen=True)
class Work:
    """
    One net and how it is trained: half squared error, every hidden and output unit alike.

    Samples are presented in their order, in ``n_batches`` whole batches. Parameters are given and
    taken as jitprop keeps them: weights (n_in, n_out) and biases (n_out,) of each layer.
    """

    name: str
    sizes: tuple[int, ...]
    batch_size: int
    n_batches: int
    dtype: type
    activation: str = "sigmoid"
    optimizer: str = "sgd"
    learning_rate: float = TENTH
    reduction: str = "mean"
    check_epochs: int = 1

    def __str__(self):
        """Of the kind: 64-32-10 sigmoid, batch 32, float32, SGD."""
        sizes, optimizer = "-".join(map(str, self.sizes)), self.optimizer
        return (
            f"{sizes} {self.activation}, batch {self.batch_size:,}, {self.dtype.__name__}, "
            f"{optimizer.upper() if optimizer == 'sgd' else optimizer.capitalize()}"
        )

    @property
    def is_xor(self):
        """W1: the one net whose data are not random, and for which there is a C program."""
        return self.sizes == (3, 4, 1)

    @property
    def n_samples(self):
        """Samples of an epoch."""
        return self.batch_size * self.n_batches

    def as_float64(self):
        """The same work and the same numbers, in float64."""
        return replace(self, dtype=np.float64)

    @property
    def loss_scale(self):
        """What a sum of squared errors over an epoch is multiplied by to be its loss."""
        return 0.5 / self.n_samples if self.reduction == "mean" else 0.5

    def data(self):
        """X and y: the four rows of XOR, or random ones."""
        if self.is_xor:
            X = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]], self.dtype)
            return X, np.array([[0], [1], [1], [0]], self.dtype)
        rng = np.random.default_rng(0)
        X = rng.random((self.n_samples, self.sizes[0]), np.float32)
        y = rng.random((self.n_samples, self.sizes[-1]), np.float32)
        return X.astype(self.dtype), y.astype(self.dtype)

    def start(self):
        """Weights and biases to begin with, new arrays at each call."""
        return [[array.copy() for array in arrays] for arrays in self.drawn_start()]

    @cache  # noqa: B019  there are six works
    def drawn_start(self):
        """Draw them; the same numbers in each dtype."""
        rng = np.random.default_rng(1)
        weights = [rng.normal(0, a**-0.5, (a, b)) for a, b in pairwise(self.sizes)]
        biases = [rng.normal(0, 0.1, b) for b in self.sizes[1:]]
        return [
            [array.astype(np.float32).astype(self.dtype) for array in arrays]
            for arrays in (weights, biases)
        ]

    def flops(self):
        """
        Floating-point operations in the products of one update.

        With m samples a batch and P weights: forward 2 m P, gradient 2 m P, backward 2 m P
        without the first layer's. Activations, losses and the optimizer are not counted.
        """
        weights = [a * b for a, b in pairwise(self.sizes)]
        return 2 * self.batch_size * (3 * sum(weights) - weights[0])


WORKS = (
    Work("W1", (3, 4, 1), 4, 1, np.float64, "sigmoid", "sgd", TENTH, "sum", check_epochs=1000),
    Work("W2", (4, 32, 16, 4), 10_000, 1, np.float32, "tanh", "adam", 1e-3, check_epochs=20),
    Work("W3", (64, 32, 10), 32, 100, np.float32),
    Work("W4", (784, 30, 10), 10, 100, np.float64),
    Work("W5", (784, 128, 64, 10), 128, 10, np.float32),
    Work("W6", (784, 512, 512, 10), 128, 10, np.float32),
)
