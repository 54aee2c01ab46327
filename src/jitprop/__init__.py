"""jitprop: the fast and checked way to train multilayer perceptrons on a CPU."""

import importlib
from typing import TYPE_CHECKING

from jitprop._version import __version__ as __version__
from jitprop.net.activations import ELU, LeakyReLU, Softplus
from jitprop.net.custom import CustomActivation, CustomLoss
from jitprop.net.descent import LBFGS, ScaledConjugateGradient
from jitprop.net.losses import (
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
from jitprop.net.optimizers import SGD, Adam, AdamW, RMSprop, Rprop
from jitprop.net.schedules import (
    Cosine,
    CosineLog,
    EachUpdate,
    Exponential,
    InverseScaling,
    OneCycle,
    ReduceOnPlateau,
    Step,
)
from jitprop.net.second_order import BayesianRegularization, LevenbergMarquardt
from jitprop.teaching.trace import Trace
from jitprop.trainer import Gradients, Trainer
from jitprop.training.callbacks import Callback, Checkpoint, EarlyStopping
from jitprop.training.errors import CheckpointError, DivergenceError, TargetWarning
from jitprop.training.history import History
from jitprop.training.studies import MLflowLogger, OptunaPruning

if TYPE_CHECKING:
    from jitprop.fleet import Fleet, FleetHistory
    from jitprop.fleet.starts import FunctionFit, Starts, fit_function
    from jitprop.sweeps import SweepResult, sweep
    from jitprop.teaching.gradient_check import GradientCheck, check_gradients


__all__ = [
    "ELU",
    "LBFGS",
    "SGD",
    "AbsoluteError",
    "Adam",
    "AdamW",
    "BayesianRegularization",
    "BinaryCrossEntropy",
    "Callback",
    "Checkpoint",
    "CheckpointError",
    "Cosine",
    "CosineLog",
    "CrossEntropy",
    "CustomActivation",
    "CustomLoss",
    "DivergenceError",
    "EachUpdate",
    "EarlyStopping",
    "Exponential",
    "Fleet",
    "FleetHistory",
    "FunctionFit",
    "GaussianNLL",
    "GradientCheck",
    "Gradients",
    "HalfSquaredError",
    "History",
    "Huber",
    "InverseScaling",
    "LeakyReLU",
    "LevenbergMarquardt",
    "MLflowLogger",
    "OneCycle",
    "OptunaPruning",
    "Poisson",
    "Quantile",
    "RMSprop",
    "ReduceOnPlateau",
    "Rprop",
    "ScaledConjugateGradient",
    "Softplus",
    "SquaredError",
    "Starts",
    "Step",
    "SweepResult",
    "TargetWarning",
    "Trace",
    "Trainer",
    "check_gradients",
    "fit_function",
    "sweep",
]

# A third of the time of `import jitprop`, which a trainer does without.
_IMPORTED_WHEN_USED = {
    "Fleet": "jitprop.fleet",
    "FleetHistory": "jitprop.fleet",
    "FunctionFit": "jitprop.fleet.starts",
    "GradientCheck": "jitprop.teaching.gradient_check",
    "Starts": "jitprop.fleet.starts",
    "SweepResult": "jitprop.sweeps",
    "check_gradients": "jitprop.teaching.gradient_check",
    "fit_function": "jitprop.fleet.starts",
    "sweep": "jitprop.sweeps",
}

if not TYPE_CHECKING:  # to mypy a module with this has every name

    def __getattr__(name):
        if name not in _IMPORTED_WHEN_USED:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_IMPORTED_WHEN_USED[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
