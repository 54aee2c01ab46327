"""
Names that people know from other libraries, and what they are called here.

Such a name is not accepted, so that every name has one meaning. But the error says what to write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")

_SQUARED = (
    "the squared error is 'squared_error', with the factor 1/2 'half_squared_error'; both are sums "
    "over a sample's outputs"
)
_FUNCTION = "a metric may also be a function of (y, prediction), such as one of scikit-learn's"
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
        "pinball": "it is 'quantile' for the median, or Quantile(q) for another quantile",
    },
    "activation": {
        "linear": "no activation is 'identity'",
        "purelin": "no activation is 'identity'",
        "none": "no activation is 'identity'",
        "softmax": "'softmax' is only for output_activation",
        "logsig": "it is 'sigmoid'",
        "tansig": "it is 'tanh'",
        "logistic": "it is 'sigmoid'",
        "swish": "it is 'silu'",
    },
    "optimizer": {
        "momentum": "it is SGD(momentum=0.9)",
        "nesterov": "it is SGD(momentum=0.9, nesterov=True)",
        "l-bfgs": "it is 'lbfgs'",
        "l_bfgs": "it is 'lbfgs'",
        "trainscg": "it is 'scg'",
        "trainlm": "it is 'lm'",
        "levenberg_marquardt": "it is 'lm'",
        "trainbr": "it is 'bayesian'",
        "bayesian_regularization": "it is 'bayesian'",
        "nadam": "there is none; 'adam' is the nearest",
        "adagrad": "there is none; 'rmsprop' is the nearest",
    },
    "metrics": {
        "acc": "it is 'accuracy'",
        "mean_squared_error": "it is 'mse'",
        "mean_absolute_error": "it is 'mae'",
        "r2_score": "it is 'r2'",
        "rmse": "it is the root of 'mse'",
        "auc": _FUNCTION,
        "roc_auc": _FUNCTION,
        "f1": _FUNCTION,
        "precision": _FUNCTION,
        "recall": _FUNCTION,
    },
    "solver": {
        name: f"Trainer has optimizer={name!r}; estimators have scikit-learn's solvers"
        for name in ("adamw", "rmsprop", "rprop")
    },
    "loss of a regressor": {
        "mse": "it is 'squared_error'",
        "mean_squared_error": "it is 'squared_error'",
        "half_squared_error": "it is 'squared_error'",
        "mae": "it is 'absolute_error'",
        "mean_absolute_error": "it is 'absolute_error'",
        "pinball": "it is 'quantile'",
    },
    "reduction": {"none": "training needs one loss for the whole batch"},
}
WORDS["output_activation"] = WORDS["activation"]

ARGUMENTS = {
    "lr": "learning_rate",
    "eta": "learning_rate",
    "learning_rate_init": "learning_rate",
    "validation_split": "validation_fraction",
    "val_split": "validation_fraction",
    "val_data": "validation_data",
    "eval_set": "validation_data",
    "n_epochs": "epochs",
    "max_iter": "epochs",
    "nb_epoch": "epochs",
    "num_epochs": "epochs",
    "initial_epoch": "epochs_total",
    "verbose": "progress",
    "hidden_layer_sizes": "layer_sizes",
    "hidden_layers": "layer_sizes",
    "hidden": "layer_sizes",
    "beta1": "beta_1",
    "beta2": "beta_2",
    "betas": "beta_1 and beta_2",
    "eps": "epsilon",
    "eps_in_sqrt": "epsilon_in_root",
    "alpha": "weight_decay",
    "l2": "weight_decay",
    "decay": "weight_decay",
    "random_state": "seed",
    "solver": "optimizer",
    "criterion": "loss",
    "batchsize": "batch_size",
    "minibatch": "batch_size",
    "n_jobs": "n_threads",
    "lr_mult": "learning_rate_factors",
    "trainable": "learning_rate_factors, with 0 for a layer that stays",
    "clipnorm": "clip_norm",
    "max_norm": "clip_norm",
    "restore_best_weights": "restore_best",
    "filepath": "path",
    "save_freq": "every",
    "min_lr": "minimum",
    "max_lr": "peak",
    "eta_min": "final",
    "gamma": "factor",
    "step_size": "every",
    "T_max": "epochs",
    "total_steps": "epochs",
}
"""Names that arguments have in other libraries, and what they are called here."""

OF_CLASS = {
    "LeakyReLU": {"alpha": "negative_slope", "slope": "negative_slope"},
    "ELU": {"negative_slope": "alpha"},
    "RMSprop": {"alpha": "rho", "decay": "rho"},
    "Rprop": {"etas": "eta_minus and eta_plus", "step_sizes": "step_min and step_max"},
}
"""The same for single classes, where a name means something else."""

LACKING = dict.fromkeys(
    ("amsgrad", "centered", "dampening", "ema_momentum", "eps_root", "maximize", "threshold"),
    "jitprop has no such setting",
)
"""Arguments of other libraries that have no counterpart here."""

NOTES = {
    "layer_sizes": ", which includes inputs and outputs: [4, 16, 1]",
    "progress": ": progress=True draws a bar",
}
"""What a hint says about an argument of ours beyond its name."""

_FIT = ("validation_fraction", "validation_data", "metrics", "callbacks", "order")
_NET = ("layer_sizes", "activation", "output_activation", "loss", "optimizer")
_TRAINING = (
    "weight_decay",
    "decay_biases",
    "dropout",
    "clip_norm",
    "batch_size",
    "input_scale_rate",
    "learning_rate_factors",
    "shuffle",
    "dtype",
    "seed",
)

WHERE = {
    **{name: f"trainer.fit(..., {name}=...)" for name in _FIT},
    **{name: f"Trainer(..., {name}=...)" for name in (*_NET, *_TRAINING, "n_threads")},
    "learning_rate": "Trainer(..., learning_rate=0.01)",
    "epochs": "fit(X, y, epochs=100)",
    "progress": "trainer.fit(..., progress=True)",
    "early_stopping": "trainer.fit(..., callbacks=[EarlyStopping()])",
    "momentum": "optimizer=SGD(momentum=0.9)",
    "nesterov": "optimizer=SGD(momentum=0.9, nesterov=True)",
    "beta_1": "optimizer=Adam(beta_1=0.9)",
    "beta_2": "optimizer=Adam(beta_2=0.999)",
    "epsilon_hat": "optimizer=Adam(epsilon_hat=True)",
    "epsilon_in_root": "optimizer=RMSprop(epsilon_in_root=True)",
    "rate_in_velocity": "optimizer=SGD(momentum=0.9, rate_in_velocity=False)",
    "class_weight": "loss=CrossEntropy(class_weight=...)",
    "label_smoothing": "loss=CrossEntropy(label_smoothing=0.1)",
}
"""Where an argument is written; for a function that does not have it."""

ESTIMATORS = {
    "lr": "learning_rate_init",
    "hidden": "hidden_layer_sizes",
    "hidden_layers": "hidden_layer_sizes",
    "layer_sizes": "hidden_layer_sizes",
    "epochs": "max_iter",
    "n_epochs": "max_iter",
    "optimizer": "solver",
    "weight_decay": "alpha",
    "l2": "alpha",
    "seed": "random_state",
    "validation_split": "validation_fraction",
    "patience": "n_iter_no_change",
    "n_jobs": "n_threads",
}
"""The same for the estimators, whose names are scikit-learn's."""

TABULAR = {
    "lr": "learning_rate",
    "learning_rate_init": "learning_rate",
    "hidden_layer_sizes": "hidden",
    "hidden_sizes": "hidden",
    "hidden_layers": "hidden",
    "layer_sizes": "hidden",
    "n_epochs": "epochs",
    "max_iter": "epochs",
    "n_estimators": "n_members",
    "n_ens": "n_members",
    "seed": "random_state",
    "val_fraction": "validation_fraction",
    "validation_split": "validation_fraction",
    "n_jobs": "n_threads",
}
"""The same for the estimators for tables."""

_FOLDS = "a sweep holds out folds, as with cv=5, or takes validation_data=(X, y)"

WORDS["setting"] = {word: f"it is {name}" for word, name in ARGUMENTS.items()} | {
    "validation_split": _FOLDS,
    "validation_fraction": _FOLDS,
    "verbose": "a sweep shows no progress",
    "callbacks": "a sweep takes early_stopping=EarlyStopping()",
    "n_jobs": "a sweep takes executor=concurrent.futures.ProcessPoolExecutor()",
}


def word(argument: str, value: str) -> str:
    """Return a hint for a wrong value of an argument; "" where there is none."""
    table, value = argument.partition("[")[0], value.lower()
    if table == "monitor" and value.startswith("val_"):
        name = value.removeprefix("val_")
        return f"it is 'validation_{'accuracy' if name == 'acc' else name}'"
    return WORDS.get(table, {}).get(value, "")


def unknown_argument(
    who: str, name: str, known: Sequence[str], words: Mapping[str, str] = ARGUMENTS
) -> str:
    """Return the message for an argument that a function does not have."""
    meant = words.get(name, name)
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    if all(part in known for part in meant.split(" and ")):
        hint = f"here it is {meant}{NOTES.get(meant, '')}"
    elif meant in WHERE:
        hint = f"write {WHERE[meant]}"
    elif name in LACKING:
        hint = LACKING[name]
    elif near:
        hint = f"did you mean {near[0]}?"
    else:
        hint = f"its arguments are {', '.join(known)}"
    return f"{who} has no argument {name!r}: {hint}"


def hinting(
    who: str, words: Mapping[str, str] = ARGUMENTS
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function: the error for an unknown argument names the one that was meant."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        names = [name for name in signature(function).parameters if name != "self"]
        known = frozenset(names)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if not kwargs.keys() <= known:
                unknown = next(name for name in kwargs if name not in known)
                raise TypeError(unknown_argument(who, unknown, names, words))
            return function(*args, **kwargs)

        return call

    return decorate


def hinting_class(cls: type[C]) -> type[C]:
    """Decorate a class: the error for an unknown argument names the one that was meant."""
    words = ARGUMENTS | OF_CLASS.get(cls.__name__, {})
    cls.__init__ = hinting(cls.__name__, words)(cls.__init__)  # type: ignore[method-assign]
    return cls
