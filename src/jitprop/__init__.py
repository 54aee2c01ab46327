"""jitprop: the fast and checked way to train multilayer perceptrons on a CPU."""

from jitprop.errors import DivergenceError
from jitprop.history import History
from jitprop.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    HalfSquaredError,
    SquaredError,
)
from jitprop.optimizers import SGD, Adam, AdamW
from jitprop.trainer import Gradients, Trainer

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "DivergenceError",
    "Gradients",
    "HalfSquaredError",
    "History",
    "SquaredError",
    "Trainer",
]
