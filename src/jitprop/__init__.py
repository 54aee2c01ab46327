"""jitprop: the fast and checked way to train multilayer perceptrons on a CPU."""

from jitprop.callbacks import Callback, Checkpoint, EarlyStopping
from jitprop.custom import CustomActivation, CustomLoss
from jitprop.errors import CheckpointError, DivergenceError
from jitprop.fleet import Fleet, FleetHistory
from jitprop.gradient_check import GradientCheck, check_gradients
from jitprop.history import History
from jitprop.losses import (
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    GaussianNLL,
    HalfSquaredError,
    Huber,
    Poisson,
    Quantile,
    SquaredError,
)
from jitprop.optimizers import SGD, Adam, AdamW, RMSprop, Rprop
from jitprop.schedules import (
    Cosine,
    Exponential,
    InverseScaling,
    OneCycle,
    ReduceOnPlateau,
    Step,
)
from jitprop.sweeps import SweepResult, sweep
from jitprop.trace import Trace
from jitprop.trainer import Gradients, Trainer

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "AbsoluteError",
    "Adam",
    "AdamW",
    "BinaryCrossEntropy",
    "Callback",
    "Checkpoint",
    "CheckpointError",
    "Cosine",
    "CrossEntropy",
    "CustomActivation",
    "CustomLoss",
    "DivergenceError",
    "EarlyStopping",
    "Exponential",
    "Fleet",
    "FleetHistory",
    "GaussianNLL",
    "GradientCheck",
    "Gradients",
    "HalfSquaredError",
    "History",
    "Huber",
    "InverseScaling",
    "OneCycle",
    "Poisson",
    "Quantile",
    "RMSprop",
    "ReduceOnPlateau",
    "Rprop",
    "SquaredError",
    "Step",
    "SweepResult",
    "Trace",
    "Trainer",
    "check_gradients",
    "sweep",
]
