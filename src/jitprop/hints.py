"""
Words that people bring along from other libraries, and what they are called here.

None of them is accepted: a word means one thing. But the error says what to write.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")

_SQUARED = (
    "the squared error is 'squared_error', with the factor 1/2 'half_squared_error'; both are the "
    "sum over a sample's outputs"
)
_CLASSES = (
    "for several classes it is 'cross_entropy' with output_activation='softmax'; y may hold labels "
    "0, 1, ... or rows of probabilities"
)
_TWO = "for two classes it is 'binary_cross_entropy' with output_activation='sigmoid'"

WORDS: dict[str, dict[str, str]] = {
    "loss": {
        "mse": _SQUARED,
        "mean_squared_error": _SQUARED,
        "l2": _SQUARED,
        "mae": "the absolute error is 'absolute_error'",
        "l1": "the absolute error is 'absolute_error'",
        "mean_absolute_error": "the absolute error is 'absolute_error'",
        "categorical_crossentropy": _CLASSES,
        "sparse_categorical_crossentropy": _CLASSES,
        "crossentropy": _CLASSES,
        "nll": _CLASSES,
        "log_loss": f"{_CLASSES}; {_TWO}",
        "binary_crossentropy": _TWO,
        "bce": _TWO,
        "pinball": "it is 'quantile', or Quantile(q) for another quantile than the median",
    },
    "activation": {
        "linear": "no activation is 'identity'",
        "none": "no activation is 'identity'",
        "logistic": "it is 'sigmoid'",
        "swish": "it is 'silu'",
        "selu": "there is none; 'elu' is the nearest",
        "mish": "there is none; 'silu' is the nearest",
    },
    "optimizer": {
        "momentum": "it is SGD(momentum=0.9)",
        "nesterov": "it is SGD(momentum=0.9, nesterov=True)",
        "lbfgs": "there is none here; the estimators of jitprop.sklearn have solver='lbfgs'",
        "nadam": "there is none; 'adam' is the nearest",
        "adagrad": "there is none; 'rmsprop' is the nearest",
    },
    "metrics": {
        "acc": "it is 'accuracy'",
        "mean_squared_error": "it is 'mse'",
        "mean_absolute_error": "it is 'mae'",
        "r2_score": "it is 'r2'",
    },
    "monitor": {
        "val_loss": "it is 'validation_loss'",
        "val_accuracy": "it is 'validation_accuracy'",
        "val_acc": "it is 'validation_accuracy'",
    },
    "reduction": {"none": "each sample's loss by itself is no loss to train on"},
}
WORDS["output_activation"] = WORDS["activation"]

ARGUMENTS = {
    "lr": "learning_rate",
    "eta": "learning_rate",
    "learning_rate_init": "learning_rate",
    "learning_rate": "learning_rate of Trainer or Fleet: Trainer(..., learning_rate=0.01)",
    "validation_split": "validation_fraction of fit",
    "val_data": "validation_data of fit",
    "n_epochs": "epochs of fit",
    "max_iter": "epochs of fit",
    "nb_epoch": "epochs of fit",
    "num_epochs": "epochs of fit",
    "verbose": "progress of fit: progress=True draws a bar",
    "hidden_layer_sizes": "layer_sizes, which names inputs and outputs too: [4, 16, 1]",
    "hidden": "layer_sizes, which names inputs and outputs too: [4, 16, 1]",
    "momentum": "an argument of the optimizer: optimizer=SGD(momentum=0.9)",
    "nesterov": "an argument of the optimizer: optimizer=SGD(momentum=0.9, nesterov=True)",
    "beta_1": "an argument of the optimizer: optimizer=Adam(beta_1=0.9)",
    "beta_2": "an argument of the optimizer: optimizer=Adam(beta_2=0.999)",
    "beta1": "beta_1",
    "beta2": "beta_2",
    "betas": "beta_1 and beta_2",
    "eps": "epsilon",
    "alpha": "weight_decay",
    "l2": "weight_decay",
    "decay": "weight_decay",
    "random_state": "seed",
    "solver": "optimizer",
    "batchsize": "batch_size",
    "minibatch": "batch_size",
    "class_weight": "an argument of the loss: loss=CrossEntropy(class_weight=...)",
    "n_jobs": "n_threads",
    "clipnorm": "clip_norm",
    "max_norm": "clip_norm",
    "label_smoothing": "an argument of the loss: loss=CrossEntropy(label_smoothing=0.1)",
}
"""Arguments under the names of other libraries. Those of Fleet that a Trainer has not are here too:
what a function does have is never looked up."""


WORDS["setting"] = {name: f"it is {meant}" for name, meant in ARGUMENTS.items()}


def word(argument: str, value: str) -> str:
    """Return a hint for a word that is no value of the argument; "" where there is none."""
    return WORDS.get(argument.partition("[")[0], {}).get(value.lower(), "")


def unknown_argument(who: str, name: str, known: Sequence[str]) -> str:
    """Return the message for an argument that a function does not have."""
    near = difflib.get_close_matches(name, known, n=1)
    if name in ARGUMENTS:
        hint = f"here it is {ARGUMENTS[name]}"
    elif near:
        hint = f"did you mean {near[0]}?"
    else:
        hint = f"there are {', '.join(known)}"
    return f"{who} has no argument {name!r}: {hint}"


def hinting(who: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function answer an unknown argument with the one that was meant."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        names = [name for name in signature(function).parameters if name != "self"]
        known = frozenset(names)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if not kwargs.keys() <= known:
                unknown = next(name for name in kwargs if name not in known)
                raise TypeError(unknown_argument(who, unknown, names))
            return function(*args, **kwargs)

        return call

    return decorate


def hinting_class(cls: type[C]) -> type[C]:
    """Let a class answer an unknown argument with the one that was meant."""
    cls.__init__ = hinting(cls.__name__)(cls.__init__)  # type: ignore[method-assign]
    return cls
