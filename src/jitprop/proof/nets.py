"""
A table of 264 nets, made by rules, and the hash of each net's results.

The settings of a net follow from its name alone: each one is picked by a hash of the net's name and
of the setting's. So a net can be added, or a setting get one more value, without a list to write.
Together the nets have all losses, activations, optimizers and schedules in both dtypes, on all
routes through the kernels.

The data are random numbers of 53 bits and products of them. No function of the C library computes
them, so they are the same everywhere.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from jitprop._types import Array
from jitprop.fleet import Fleet
from jitprop.net.descent import LBFGS, ScaledConjugateGradient
from jitprop.net.losses import BinaryCrossEntropy, CrossEntropy, Huber, Quantile
from jitprop.net.optimizers import SGD, Adam, AdamW, RMSprop, Rprop
from jitprop.net.schedules import (
    Cosine,
    Exponential,
    InverseScaling,
    OneCycle,
    ReduceOnPlateau,
    Step,
)
from jitprop.net.second_order import BayesianRegularization, LevenbergMarquardt
from jitprop.sweeps import sweep
from jitprop.trainer import Trainer
from jitprop.training.callbacks import EarlyStopping

T = TypeVar("T")
Settings: TypeAlias = dict[str, Any]
Results: TypeAlias = Iterator[tuple[str, Any]]

DIGITS = 16
"""Hexadecimal digits of a net's hash in the table."""

SIZES = {
    "lanes": ([3, 4, 1], [2, 5, 3], [1, 7, 2], [4, 6, 5, 2], [2, 2, 2, 2], [5, 4], [8, 3, 6]),
    "blocks": (
        [17, 24, 3],
        [64, 32, 10],
        [13, 70, 5],
        [33, 40, 33, 2],
        [100, 50, 10],
        [9, 128, 1],
        [300, 12, 4],
        [31, 17, 19, 23, 6],
        [20, 1030, 3],
        [70, 9],
    ),
    "chunks": ([10, 40, 4], [20, 64, 9], [33, 17, 13, 2], [6, 100, 2]),
    "fleet": ([2, 4, 1], [3, 8, 8, 2], [5, 6, 3], [1, 3, 1], [2, 3, 2, 3, 2], [7, 2]),
    "wide fleet": ([20, 30, 5], [13, 40, 2], [40, 11, 12, 3]),
    "sweep": ([2, 4, 1], [3, 8, 2], [20, 30, 2]),
    "full batch": ([1, 5, 1], [3, 6, 2], [2, 5, 4, 3], [10, 16, 3], [6, 50, 2], [5, 12, 9, 4]),
    "form": ([3, 4, 1], [4, 6, 5, 2], [17, 24, 3], [33, 40, 33, 2], [10, 40, 4]),
    "fleet of a form": ([2, 4, 1], [3, 8, 8, 2], [13, 40, 2]),
}
"""
The layers of each kind of net.

"lanes" and "blocks" are the two routes of a `Trainer`. "chunks" are batches of so many samples that
the gradient is a sum of several. In a "fleet" several members share a vector. Those of a "wide
fleet" are trained one by one. "full batch" are nets and fleets whose optimizer takes all samples at
once: see `FULL_BATCH`. Those of a "form" have one of the optimizers in `FORMS`.
"""

COUNTS = {
    "lanes": 70,
    "blocks": 62,
    "chunks": 16,
    "fleet": 50,
    "wide fleet": 16,
    "sweep": 10,
    "full batch": 24,
    "form": 10,
    "fleet of a form": 6,
}
"""How many nets of each kind there are: 264."""

ESTIMATORS = 20
"""How many estimators there are, beside the 264 nets: they need scikit-learn."""

SAMPLES = {
    "lanes": (4, 9, 23, 64, 101),
    "blocks": (7, 32, 33, 61, 128, 300),
    "chunks": (513, 600, 1100),
    "fleet": (4, 9, 16, 23),
    "wide fleet": (9, 32, 61),
    "sweep": (30, 47),
    "full batch": (9, 40, 150, 400, 700),
    "form": (9, 61, 128, 600),
    "fleet of a form": (9, 23, 32),
}
BATCHES = {
    "lanes": (None, 1, 4, 5, 16),
    "blocks": (None, 1, 10, 16, 50),
    "chunks": (None, 512, 550),
    "fleet": (1, 4, 7, 16),
    "wide fleet": (None, 5, 16),
    "sweep": (4, 7, 16),
    "form": (None, 4, 16, 550),
    "fleet of a form": (None, 4, 16),
}
UPDATES = {
    "lanes": 800,
    "blocks": 50,
    "chunks": 12,
    "fleet": 200,
    "wide fleet": 24,
    "sweep": 80,
    "form": 50,
    "fleet of a form": 50,
}
"""About how many batches a net is trained on."""

ACTIVATIONS = (
    "sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "gelu_tanh", "silu", "identity"
)  # fmt: skip
"""The activations that names choose among. One more here would change most of the nets."""

NEWER = "selu", "mish", "softsign", "gelu"
"""
The activations of the last eight nets of each kind in `WITH_NEWER`. The last four of them have
scaled inputs and a learning rate for each layer, too, if their optimizer allows it.
"""

WITH_NEWER = "lanes", "blocks", "fleet"

ERRORS: tuple[Any, ...] = (
    "half_squared_error",
    "squared_error",
    "absolute_error",
    Huber(0.3),
    Quantile(0.7),
)
"""The losses that go with any output activation but softmax."""

LOSSES: tuple[Any, ...] = (
    *ERRORS,
    "poisson",
    "gaussian_nll",
    "binary_cross_entropy",
    "cross_entropy",
    BinaryCrossEntropy(label_smoothing=0.1, class_weight=(1.0, 3.0)),
    CrossEntropy(label_smoothing=0.1),
)
OUTPUTS: dict[str, tuple[str, ...]] = {
    "poisson": ("exp", "identity"),
    "gaussian_nll": ("identity",),
    "binary_cross_entropy": ("sigmoid",),
    "cross_entropy": ("softmax",),
}
OPTIMIZERS: tuple[tuple[Any, float], ...] = (
    (SGD(), 0.05),
    (SGD(momentum=0.9), 0.002),
    (SGD(momentum=0.8, nesterov=True), 0.008),
    (Adam(epsilon_hat=True), 0.01),
    (Adam(beta_1=0.8, beta_2=0.99, epsilon=1e-6, epsilon_hat=True), 0.005),
    (AdamW(epsilon_hat=True), 0.01),
    (RMSprop(), 0.003),
    (RMSprop(rho=0.95, momentum=0.5), 0.002),
    (Rprop(), 0.01),
)
"""With their learning rates."""

FORMS: tuple[tuple[Any, float], ...] = (
    (Adam(epsilon=1e-4), 0.01),
    (AdamW(beta_2=0.99), 0.01),
    (SGD(momentum=0.9, rate_in_velocity=False), 0.002),
    (SGD(momentum=0.8, nesterov=True, rate_in_velocity=False), 0.008),
    (RMSprop(rho=0.95, momentum=0.5, epsilon=1e-4, epsilon_in_root=True), 0.002),
    (RMSprop(momentum=0.5, rate_in_velocity=False), 0.002),
)
"""The optimizers of other systems, with their learning rates. Biases decay in half of the nets."""

_LM, _BAYESIAN = LevenbergMarquardt(), BayesianRegularization()
_SCG, _LBFGS, _RPROP = ScaledConjugateGradient(), LBFGS(), Rprop(backtracking=True)

FULL_BATCH: tuple[tuple[Any, Any], ...] = (
    (_LM, "half_squared_error"),
    (_LM, "squared_error"),
    (_LM, Huber(0.3)),
    (_LM, "poisson"),
    (_LM, "binary_cross_entropy"),
    (_LM, "cross_entropy"),
    (_LM, BinaryCrossEntropy(label_smoothing=0.1, class_weight=(1.0, 3.0))),
    (LevenbergMarquardt(damping=1e-3, decrease=0.1, min_scale=1e-3), "half_squared_error"),
    (LevenbergMarquardt(increase=10.0, tolerance=0.0, min_gradient=0.0), "squared_error"),
    (_BAYESIAN, "half_squared_error"),
    (_BAYESIAN, "squared_error"),
    (BayesianRegularization(damping=1.0, tolerance=1e-3), "half_squared_error"),
    (BayesianRegularization(decrease=0.1, increase=4.0), "squared_error"),
    (_SCG, "half_squared_error"),
    (_SCG, "absolute_error"),
    (_SCG, "gaussian_nll"),
    (ScaledConjugateGradient(sigma=1e-3, scale=0.1), "cross_entropy"),
    (_LBFGS, "squared_error"),
    (_LBFGS, Quantile(0.7)),
    (_LBFGS, "binary_cross_entropy"),
    (LBFGS(memory=3, c2=0.5, line_steps=4), "poisson"),
    (_RPROP, Huber(0.3)),
    (_RPROP, CrossEntropy(label_smoothing=0.1)),
    (Rprop(backtracking=True, step_max=0.1), "gaussian_nll"),
)
"""The optimizer and the loss of each net "full batch". A number in a name is a place here."""

FITS = ("plain", "plain", "validation", "early stopping", "metrics", "two fits", "batches", "parts")
"""
How a `Trainer` is fitted. "two fits" are one fit that another one continues. "batches" come from a
generator, and "parts" are calls of `Trainer.partial_fit`.
"""


class Net(NamedTuple):
    """
    One net of the table.

    Attributes
    ----------
    name : str
        Such as "blocks 7".
    settings : dict
        All that the results depend on, by the names of `Trainer`'s, `Fleet`'s, `sweep`'s or the
        estimators' arguments; besides "samples", "epochs", "fit" and "weighted".
    """

    name: str
    settings: Settings

    @property
    def kind(self) -> str:
        """The name without the number."""
        return self.name.rpartition(" ")[0]

    def __str__(self) -> str:
        """Describe the net: its name, and its settings."""
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"{self.name}: {settings}"


def pick(net: str, setting: str, values: Sequence[T]) -> T:
    """
    Return the value of a setting that belongs to the net of this name.

    Examples
    --------
    >>> from jitprop.proof.nets import pick
    >>> pick("blocks 7", "dtype", ("float32", "float64"))
    'float64'
    """
    digest = hashlib.sha256(f"{net}, {setting}".encode()).digest()
    return values[int.from_bytes(digest[:8], "big") % len(values)]


def table() -> list[Net]:
    """
    Return the 264 nets.

    Examples
    --------
    >>> from jitprop.proof.nets import table
    >>> len(table())
    264
    """
    made = [f"{kind} {i}" for kind, n in COUNTS.items() for i in range(n)]
    return [Net(name, _settings_of(name)) for name in made]


def estimators() -> list[Net]:
    """
    Return the scikit-learn estimators, which can be made without scikit-learn.

    Those with the solver "lbfgs" are left out: SciPy computes its sums.
    """
    return [Net(name, _estimator(name)) for name in (f"estimator {i}" for i in range(ESTIMATORS))]


def _settings_of(name: str) -> Settings:
    kind, _, number = name.rpartition(" ")
    return _full_batch(name, int(number)) if kind == "full batch" else _settings(name, kind)


def _settings(name: str, kind: str) -> Settings:
    def of(setting: str, values: Sequence[T]) -> T:
        return pick(name, setting, values)

    loss, samples, batch = of("loss", LOSSES), of("samples", SAMPLES[kind]), of("b", BATCHES[kind])
    sizes = _sizes(loss, of("layer_sizes", SIZES[kind]))
    in_lanes, fleet, form = kind in ("fleet", "fleet of a form"), "fleet" in kind, "form" in kind
    optimizer, rate = of("optimizer", OPTIMIZERS[:6] if in_lanes else OPTIMIZERS)
    number = int(name.rpartition(" ")[2])
    if form:
        optimizer, rate = FORMS[number % len(FORMS)]
    if isinstance(optimizer, Rprop):
        batch = None
        samples = min(samples, 61) if kind != "chunks" else samples
    if batch is not None and batch > samples:
        batch = None
    size = samples if batch is None else min(batch, samples)
    epochs = max(4, UPDATES[kind] // -(-samples // size))
    reduction = of("reduction", ("mean", "mean", "sum"))
    if isinstance(optimizer, SGD) and reduction == "sum":
        rate /= size
    deep = len(sizes) > 2
    place = number - COUNTS[kind] + 2 * len(NEWER)
    newer = NEWER[place % len(NEWER)] if kind in WITH_NEWER and place >= 0 else ""
    settings: Settings = {
        "layer_sizes": sizes,
        "activation": newer or of("activation", ACTIVATIONS),
        "output_activation": (_name(loss) not in OUTPUTS and newer) or of("output", _outputs(loss)),
        "loss": loss,
        "reduction": reduction,
        "optimizer": optimizer,
        "learning_rate": _rate(of, rate, epochs, optimizer, fleet or kind == "sweep"),
        "weight_decay": of("decay", (0.0, 0.0, 1e-3, 0.03)),
        "dropout": of("dropout", (0.0, 0.0, 0.1, 0.3)) if deep else 0.0,
        "clip_norm": None if in_lanes else of("clip", (None, None, 0.3)),
        "batch_size": batch,
        "shuffle": of("shuffle", (True, True, False)),
        "dtype": of("dtype", ("float32", "float64")),
        "seed": of("seed", range(1000)),
        "init": of("init", _inits(kind)),
        "n_threads": of("n_threads", (1, 2, None)),
        "samples": samples,
        "epochs": epochs,
        "fit": of("fit", FITS),
        "weighted": of("weighted", (False, False, True)),
    }
    if fleet:
        settings["fit"] = of("fit", ("plain", "early stopping", "two fits"))
        settings["members"] = of("members", (1, 3, 5, 20) if in_lanes else (1, 3, 5, 20, 40))
        settings["apart"] = of("apart", (True, False))
    if kind == "sweep":
        settings["fit"] = of("fit", ("plain", "early stopping"))
        settings["cv"] = of("cv", (2, 3))
    if isinstance(optimizer, Rprop) and settings["fit"] == "batches":
        settings["fit"] = "plain"
    if newer and place >= len(NEWER) and not isinstance(optimizer, Rprop):
        settings["input_scale_rate"] = 2.0
        settings["learning_rate_factors"] = [0.5 + 0.25 * l for l in range(len(sizes) - 1)]
    if form and (number + number // len(FORMS)) % 2 == 0:
        settings["weight_decay"], settings["decay_biases"] = 0.03, True
    return settings


def _full_batch(name: str, number: int) -> Settings:
    def of(setting: str, values: Sequence[T]) -> T:
        return pick(name, setting, values)

    optimizer, loss = FULL_BATCH[number]
    members = of("members", (None, None, 3, 5))
    fits = ("plain", "two fits", "early stopping")
    settings: Settings = {
        "layer_sizes": _sizes(loss, of("layer_sizes", SIZES["full batch"])),
        "activation": of("activation", ACTIVATIONS),
        "output_activation": of("output", _outputs(loss)),
        "loss": loss,
        "reduction": of("reduction", ("mean", "mean", "sum")),
        "optimizer": optimizer,
        "learning_rate": 0.01 if isinstance(optimizer, Rprop) else None,
        "weight_decay": 0.0,
        "dtype": ("float32", "float64")[number % 2],
        "seed": of("seed", range(1000)),
        "init": of("init", _inits("full batch")),
        "n_threads": of("n_threads", (1, 2, None)),
        "samples": of("samples", SAMPLES["full batch"]),
        "epochs": of("epochs", (12, 20, 30)),
        "fit": of("fit", fits if members else (*fits, "validation", "metrics")),
        "weighted": of("weighted", (False, True)),
    }
    if not isinstance(optimizer, BayesianRegularization):  # which finds its own
        settings["weight_decay"] = of("decay", (0.0, 1e-3, 0.03))
    if members:
        settings["members"], settings["apart"] = members, of("apart", (True, False))
    return settings


def _name(loss: Any) -> str:
    return str(loss if isinstance(loss, str) else loss.name)


def _sizes(loss: Any, layers: Sequence[int]) -> list[int]:
    sizes = list(layers)
    if _name(loss) in ("gaussian_nll", "cross_entropy"):
        sizes[-1] += sizes[-1] % 2  # means and variances, or classes
    if isinstance(loss, BinaryCrossEntropy):
        sizes[-1] = 1  # its weights are those of one output's classes
    return sizes


def _outputs(loss: Any) -> tuple[str, ...]:
    return OUTPUTS.get(_name(loss), (*ACTIVATIONS, "exp", "identity"))


def _inits(kind: str) -> tuple[str, ...]:
    names = ("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal")
    return (*names, "uniform") if kind in ("lanes", "fleet") else names


def _rate(of: Any, rate: float, epochs: int, optimizer: Any, many: bool) -> Any:
    schedules: tuple[Any, ...] = (
        None,
        Step(rate, 5, 0.5),
        Exponential(rate, 0.97),
        InverseScaling(rate, 0.5),
        Cosine(rate, epochs, warmup=2, final=rate / 10),
        OneCycle(rate, epochs),
        ReduceOnPlateau(rate, 0.5, 2, monitor="loss"),
    )
    if many:
        schedules = schedules[:-1]
    found = None if isinstance(optimizer, Rprop) else of("schedule", schedules)
    return rate if found is None else found


def _estimator(name: str) -> Settings:
    def of(setting: str, values: Sequence[T]) -> T:
        return pick(name, setting, values)

    kind = of("class", ("MLPClassifier", "MLPRegressor"))
    members = of("n_members", (1, 1, 3))
    return {
        "class": kind,
        "hidden_layer_sizes": of("sizes", ((4,), (5, 3), (30,), (40, 20))),
        "activation": of("activation", ("relu", "tanh", "logistic", "identity")),
        "solver": of("solver", ("sgd", "adam")),
        "alpha": of("alpha", (1e-4, 0.1)),
        "batch_size": of("batch_size", ("auto", 16, 50)),
        "learning_rate": of("rate", ("constant", "invscaling", "adaptive"))
        if members == 1
        else "constant",
        "max_iter": 12,
        "early_stopping": of("early_stopping", (False, False, True)),
        "nesterovs_momentum": of("nesterovs_momentum", (True, False)),
        "dropout": of("dropout", (0.0, 0.2)) if members == 1 else 0.0,
        "n_members": members,
        "random_state": of("random_state", range(1000)),
        "n_threads": of("n_threads", (1, 2, None)),
        "dtype": of("dtype", ("float32", "float64")),
        "samples": of("samples", (61, 200)),
        "classes": 2 if kind == "MLPRegressor" else of("classes", (2, 3)),
    }


class Data(NamedTuple):
    """Samples: X (n, n_in), y (n, n_out) or labels (n,), and weights (n,) or None."""

    X: Array
    y: Array
    weights: Array | None

    def part(self, start: int | None, stop: int | None = None) -> tuple[Any, ...]:
        """Return some of the samples, with their weights if there are any."""
        arrays = (self.X, self.y) if self.weights is None else self
        return tuple(array[start:stop] for array in arrays if array is not None)


def data_of(net: Net) -> Data:
    """Draw the samples of a net of the table, and as many more to validate with."""
    s = net.settings
    rng = np.random.default_rng(int(s["seed"]))
    n, sizes, name = 2 * s["samples"], s["layer_sizes"], _name(s["loss"])
    X, n_out = 2.0 * rng.random((n, sizes[0])) - 1.0, sizes[-1]
    y: npt.NDArray[Any]
    if name == "cross_entropy":
        y = rng.integers(n_out, size=n)
        seen = min(n_out, s["samples"])  # each class is there, if there are enough samples
        y[:seen] = y[s["samples"] : s["samples"] + seen] = np.arange(seen)
    elif name == "binary_cross_entropy":
        y = rng.integers(2, size=(n, n_out)).astype(np.float64)
    elif name == "poisson":
        y = rng.integers(4, size=(n, n_out)).astype(np.float64)
    else:
        width = n_out // 2 if name == "gaussian_nll" else n_out
        y = 0.5 * rng.random((n, width)) + 0.5 * (X[:, :1] * X[:, :1])
    weights = rng.integers(1, 4, size=n) * 0.5 if s["weighted"] else None
    return Data(X.astype(s["dtype"]), y, weights)


def results(net: Net, n_threads: int | None = None) -> Results:
    """
    Train a net, and yield its results by their names.

    Parameters
    ----------
    net : Net
    n_threads : int or None, default None
        The number of threads, in place of the net's own.

    Yields
    ------
    name : str
    array : array-like

    Examples
    --------
    >>> from jitprop.proof.nets import results, table
    >>> names = [name for name, _ in results(table()[0])]
    >>> names[:2]
    ['parameters', 'loss']
    """
    settings = net.settings if n_threads is None else {**net.settings, "n_threads": n_threads}
    run: dict[str, Callable[[Net], Results]] = {"sweep": _sweep, "estimator": _trained_estimator}
    trained = _fleet if "members" in settings else _trainer
    return run.get(net.kind, trained)(Net(net.name, settings))


def hash_of(found: Results) -> str:
    """
    Return the SHA-256 of results: of their names, shapes and little-endian bytes.

    Examples
    --------
    >>> from jitprop.proof.nets import hash_of
    >>> hash_of(iter([("loss", [0.5])])) == hash_of(iter([("loss", [-0.5])]))
    False
    """
    digest = hashlib.sha256()
    for name, numbers in found:
        array = np.asarray(numbers)
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    return digest.hexdigest()


OURS = ("samples", "epochs", "fit", "weighted", "apart", "cv")
"""The settings that are no arguments of the constructor."""


def _arguments(settings: Settings) -> Settings:
    given = {name: value for name, value in settings.items() if name not in OURS}
    return {**given, "backend": "numba"}


def _trainer(net: Net) -> Results:
    s, data = net.settings, data_of(net)
    n, epochs, fit = s["samples"], s["epochs"], s["fit"]
    trainer = Trainer(**_arguments(s))
    X, y, *weights = data.part(0, n)
    weight = weights[0] if weights else None
    held_out: Settings = {"validation_data": data.part(n)}
    if fit == "two fits":
        trainer.fit(X, y, epochs // 2, sample_weight=weight)
        trainer.fit(X, y, epochs - epochs // 2, sample_weight=weight)
    elif fit == "batches":
        size = trainer.batch_size or n
        trainer.fit([data.part(i, min(i + size, n)) for i in range(0, n, size)], epochs=epochs)
    elif fit == "parts":
        for _ in range(epochs):
            trainer.partial_fit(X, y, sample_weight=weight)
    elif fit == "validation":
        trainer.fit(X, y, epochs, sample_weight=weight, **held_out)
    elif fit == "early stopping":
        stopping = EarlyStopping(patience=3)
        trainer.fit(X, y, epochs, sample_weight=weight, **held_out, callbacks=stopping)
    elif fit == "metrics":
        trainer.fit(X, y, epochs, sample_weight=weight, **held_out, metrics=_metrics(s))
    else:
        trainer.fit(X, y, epochs, sample_weight=weight)
    yield "parameters", trainer.parameters
    columns = trainer.history.columns
    yield from ((name, column) for name, column in columns.items() if name != "seconds")
    if net.kind == "full batch":
        yield "ended", trainer.history.ended
    if isinstance(s["optimizer"], BayesianRegularization):
        yield "standard deviations", trainer.predict(data.X, return_std=True)[1]
    yield "predictions", trainer.predict(data.X)
    yield "prediction of one row", trainer.predict(data.X[:1])
    yield "evaluated", trainer.evaluate(*data.part(n)[:2])
    loss, dW, db = trainer.gradients(X, y)
    yield "loss of the gradient", loss
    yield "gradient", np.concatenate([array.ravel() for array in (*dW, *db)])


def _metrics(settings: Settings) -> list[str]:
    classes = _name(settings["loss"]) in ("cross_entropy", "binary_cross_entropy")
    return ["mse", "mae", *(("accuracy", "log_loss") if classes else ("r2",))]


def _fleet(net: Net) -> Results:
    s, data = dict(net.settings), data_of(net)
    n, k, epochs = s["samples"], s["members"], s["epochs"]
    numbers = 1.0 + np.arange(k) / 16
    if s["apart"]:  # each member has settings of its own
        if isinstance(s["learning_rate"], float):
            s["learning_rate"] = s["learning_rate"] / numbers
        s["weight_decay"] = s["weight_decay"] / numbers
        if "dropout" in s:
            s["dropout"] = s["dropout"] / numbers
        if isinstance(s["optimizer"], SGD):
            s["momentum"] = s["optimizer"].momentum / numbers
    fleet = Fleet(**_arguments(s))
    X, y, *weights = data.part(0, n)
    if s["apart"]:  # and the samples in an order of its own
        X, y, *weights = (
            [np.roll(array, i, axis=0) for i in range(k)] for array in (X, y, *weights)
        )
    weight: Settings = {"sample_weight": weights[0]} if weights else {}
    if s["fit"] == "early stopping":
        stopping = EarlyStopping(patience=3)
        course = [
            fleet.fit(X, y, epochs, **weight, validation_data=data.part(n), callbacks=stopping)
        ]
    elif s["fit"] == "two fits":
        course = [fleet.fit(X, y, part, **weight) for part in (epochs // 2, epochs - epochs // 2)]
    else:
        course = [fleet.fit(X, y, epochs, **weight)]
    yield "parameters", fleet.parameters
    for history in course:
        yield "loss", history.loss
        yield "epochs", history.epochs
        if history.validation_loss is not None:
            yield "validation loss", history.validation_loss
        if net.kind == "full batch":
            yield "ended", history.ended
    yield "predictions", fleet.predict(data.X)
    yield "evaluated", fleet.evaluate(*data.part(n)[:2])


def _sweep(net: Net) -> Results:
    s, data = dict(net.settings), data_of(net)
    n, rate = s["samples"], s.pop("learning_rate")
    X, y, *weights = data.part(0, n)
    narrow = [s["layer_sizes"][0], 2, s["layer_sizes"][-1]]
    grid: dict[str, Any] = {"layer_sizes": [narrow, s.pop("layer_sizes")]}
    grid["learning_rate"] = [rate, rate / 2 if isinstance(rate, float) else Exponential(0.01, 0.9)]
    found = sweep(
        X, y, grid,
        cv=s["cv"],
        sample_weight=weights[0] if weights else None,
        metrics="mse",
        early_stopping=EarlyStopping(patience=3) if s["fit"] == "early stopping" else None,
        epochs=s["epochs"],
        **_arguments(s),
    )  # fmt: skip
    yield from sorted(found.measured.items())
    yield "ranks", found.ranks
    if found.trainer is not None:
        yield "parameters", found.trainer.parameters


def _trained_estimator(net: Net) -> Results:
    from jitprop import sklearn as estimators

    s = dict(net.settings)
    n, classes, dtype, kind = (s.pop(name) for name in ("samples", "classes", "dtype", "class"))
    rng = np.random.default_rng(s["random_state"])
    X = (2.0 * rng.random((n, 6)) - 1.0).astype(dtype)
    y = X[:, 0] * X[:, 1] + X[:, 2]
    if kind == "MLPClassifier":
        y = (y > 0).astype(np.int64) + (y > 0.5) * (classes - 2)
    model = getattr(estimators, kind)(**s)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 12 epochs are too few for scikit-learn
        model.fit(X, y)
    for name in ("coefs_", "intercepts_"):
        for i, array in enumerate(getattr(model, name)):
            yield f"{name}[{i}]", array
    yield "loss_curve_", model.loss_curve_
    if model.validation_scores_ is not None:
        yield "validation_scores_", model.validation_scores_
    yield "predictions", model.predict_proba(X) if kind == "MLPClassifier" else model.predict(X)
