"""What every system does: nets, data and initial parameters, for fits and for single calls."""

from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np

# FANN stores its learning rate as a float32. All systems use the float32 nearest to 0.1.
TENTH = float(np.float32(0.1))


class CannotError(Exception):
    """A system is not installed or cannot do this fit. The message says which."""


def drawn(sizes, dtype):
    """Return random weights and biases, the same numbers in each dtype."""
    rng = np.random.default_rng(1)
    weights = [rng.normal(0, a**-0.5, (a, b)) for a, b in pairwise(sizes)]
    biases = [rng.normal(0, 0.1, b) for b in sizes[1:]]
    return [
        [array.astype(np.float32).astype(dtype) for array in arrays] for arrays in (weights, biases)
    ]


@dataclass(frozen=True)
class Work:
    """
    One net and its training: half squared error, the same activation in all layers.

    Samples are not shuffled; an epoch has ``n_batches`` full batches. Parameters have jitprop's
    shapes: weights (n_in, n_out) and biases (n_out,) of each layer.
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
        """Describe the work, such as: 64-32-10 sigmoid, batch 32, float32, SGD."""
        sizes, optimizer = "-".join(map(str, self.sizes)), self.optimizer
        return (
            f"{sizes} {self.activation}, batch {self.batch_size:,}, {self.dtype.__name__}, "
            f"{optimizer.upper() if optimizer == 'sgd' else optimizer.capitalize()}"
        )

    @property
    def is_xor(self):
        """Whether this is W1: its data are not random, and the C program is written for it."""
        return self.sizes == (3, 4, 1)

    @property
    def n_samples(self):
        """The number of samples in an epoch."""
        return self.batch_size * self.n_batches

    def as_float64(self):
        """Return the same work with the same numbers, in float64."""
        return replace(self, dtype=np.float64)

    @property
    def loss_scale(self):
        """The factor that makes an epoch's sum of squared errors its loss."""
        return 0.5 / self.n_samples if self.reduction == "mean" else 0.5

    def data(self):
        """Return X and y: the four rows of XOR, or random numbers."""
        if self.is_xor:
            X = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]], self.dtype)
            return X, np.array([[0], [1], [1], [0]], self.dtype)
        rng = np.random.default_rng(0)
        X = rng.random((self.n_samples, self.sizes[0]), np.float32)
        y = rng.random((self.n_samples, self.sizes[-1]), np.float32)
        return X.astype(self.dtype), y.astype(self.dtype)

    def start(self):
        """Return the initial weights and biases, in new arrays at each call."""
        return [[array.copy() for array in arrays] for arrays in self.drawn_start()]

    @cache  # noqa: B019  there are six works
    def drawn_start(self):
        """Draw the initial weights and biases; they are the same numbers in each dtype."""
        return drawn(self.sizes, self.dtype)

    def flops(self):
        """
        Return the number of floating-point operations in the products of one update.

        With m samples in a batch and P weights, the forward pass needs 2 m P, the gradient 2 m P,
        and the backward pass 2 m P without the first layer. Activations, losses and the optimizer
        are not counted.
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


@dataclass(frozen=True)
class Net:
    """
    A net whose calls are timed one by one.

    The loss of a batch is the mean over its samples of half the squared error or of the cross
    entropy. An update is plain SGD.
    """

    sizes: tuple[int, ...]
    dtype: type
    activation: str = "sigmoid"
    output_activation: str = "sigmoid"
    loss: str = "half_squared_error"
    learning_rate: float = TENTH

    def __str__(self):
        """Describe the net, such as: 3-4-1 sigmoid, float64."""
        names = dict.fromkeys([self.activation, self.output_activation])
        return f"{'-'.join(map(str, self.sizes))} {' '.join(names)}, {self.dtype.__name__}"

    def as_float64(self):
        """Return the same net with the same numbers, in float64."""
        return replace(self, dtype=np.float64)

    def data(self, n_samples):
        """Return random X and y; y are random labels, one-hot, if the loss is the cross entropy."""
        rng = np.random.default_rng(0)
        X = rng.random((n_samples, self.sizes[0]), np.float32)
        if self.loss == "cross_entropy":
            y = np.eye(self.sizes[-1])[rng.integers(self.sizes[-1], size=n_samples)]
        else:
            y = rng.random((n_samples, self.sizes[-1]), np.float32)
        return X.astype(self.dtype, copy=False), y.astype(self.dtype, copy=False)

    def start(self):
        """Return the initial weights and biases, the same numbers in each dtype."""
        return drawn(self.sizes, self.dtype)


SMALL = Net((3, 4, 1), np.float64)
BIG = Net((784, 128, 64, 10), np.float32, "relu", "softmax", "cross_entropy")
