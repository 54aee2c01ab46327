"""Nets of Keras 3, from its .keras files, and parameters in its order. Keras itself is not read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from inspect import isfunction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.checks import quoted
from jitprop.convert._converted import Converted, one_or_fleet
from jitprop.convert._keras_file import Entry, KerasFile
from jitprop.convert._keras_training import training
from jitprop.convert._settings import with_settings
from jitprop.fleet import Fleet
from jitprop.net.activations import ELU, LeakyReLU
from jitprop.trainer import Trainer
from jitprop.training.model import model_of

# Keras' names of activations, as `Dense(activation=...)` takes them.
ACTIVATIONS: dict[str, Any] = {
    "linear": "identity",
    "relu": "relu",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "softmax": "softmax",
    "softplus": "softplus",
    "softsign": "softsign",
    "elu": "elu",
    "selu": "selu",
    "gelu": "gelu",  # approximate=False is the default of the function
    "silu": "silu",
    "swish": "silu",
    "mish": "mish",
    "exponential": "exp",
    "hard_sigmoid": "hard_sigmoid",
    "leaky_relu": LeakyReLU(0.2),  # the layer LeakyReLU has the default 0.3
}


def from_keras(path_or_model: Any, **settings: Any) -> Trainer | Fleet:
    """
    Read a net of Keras 3, which was saved with ``model.save("net.keras")``.

    Keras is not needed to read a file, only h5py: ``pip install 'jitprop[keras]'``.

    Parameters
    ----------
    path_or_model : path, keras.Model, or a list of them
        A ``.keras`` file, or a model itself. A list gives a `Fleet`, with a member for each.
    **settings
        Arguments of `Trainer`, which are used in place of what the model says. ``batch_size`` is
        not part of a model, and is None here, a full batch. Keras' ``fit`` takes 32.

    Returns
    -------
    Trainer or Fleet
        With the layers, the activations and the dtype of the model. If the model was compiled, also
        with its loss, its optimizer, and the state of the optimizer: training goes on where it
        stopped.

    Raises
    ------
    TypeError, ValueError
        For a file that is damaged or of another format. For a layer, an activation, a loss, an
        optimizer or a setting of one that jitprop does not have; the message names it. What the
        model says of the loss is not read if ``loss`` is given. What it says of the optimizer is
        not read if ``optimizer`` is given.
    ImportError
        If h5py is not installed.
    OSError
        If the file cannot be read.

    Notes
    -----
    The model must be a chain: a Sequential, or a functional model without branches. Its layers can
    be Dense, Activation, ReLU, LeakyReLU, ELU, Softmax, Dropout after the activation of a hidden
    layer, and Flatten of inputs that are flat.

    - In Keras a loss of k outputs is their mean, here it is their sum. So `Trainer.evaluate` gives
      k times Keras' loss. Learning rate, epsilon, clipping and state are converted, so that updates
      are the same. A ``learning_rate`` that you pass is in Keras' numbers, if you do not pass an
      optimizer too.
    - A loss with ``from_logits=True`` becomes an output activation: sigmoid or softmax. Then
      `Trainer.predict` gives probabilities, where Keras gives their logits.
    - Keras computes cross-entropies from probabilities that it clips to 1e-7 ... 1 - 1e-7. Beyond
      that its gradient is 0. jitprop computes from logits, and clips nothing.
    - Weight decay of Keras acts on biases too, so ``decay_biases`` is True. A file does not say
      which variables ``exclude_from_weight_decay`` leaves out. For a model this is refused.
    - A schedule of the learning rate counts updates, and a model does not say how many an epoch
      has. So pass ``learning_rate``, a number or a schedule.

    Examples
    --------
    A file as ``model.save`` writes it, here made by hand:

    >>> import io, json, zipfile
    >>> import h5py
    >>> from jitprop import convert
    >>> dense = {"name": "dense", "units": 1, "activation": "tanh", "use_bias": True}
    >>> layers = [{"module": "keras.layers", "class_name": "Dense", "config": dense}]
    >>> config = {"module": "keras", "class_name": "Sequential", "config": {"layers": layers}}
    >>> arrays = io.BytesIO()
    >>> with h5py.File(arrays, "w") as file:
    ...     file["layers/dense/vars/0"] = [[2.0], [-1.0]]
    ...     file["layers/dense/vars/1"] = [0.5]
    >>> with zipfile.ZipFile("net.keras", "w") as archive:
    ...     archive.writestr("config.json", json.dumps(config))
    ...     archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
    ...     archive.writestr("model.weights.h5", arrays.getvalue())

    It becomes a trainer:

    >>> trainer = convert.from_keras("net.keras", optimizer="adam", batch_size=32)
    >>> trainer.layer_sizes, trainer.output_activation, trainer.weights[0].tolist()
    ((2, 1), 'tanh', [[2.0], [-1.0]])
    """
    return one_or_fleet(path_or_model, lambda each: with_settings(_read(each, settings), settings))


def to_keras_weights(trainer: Trainer) -> list[Array]:
    """
    Return the parameters of a trainer in the order of Keras: W[0], b[0], W[1], b[1], ...

    Parameters
    ----------
    trainer : Trainer

    Returns
    -------
    list of arrays
        Copies, for ``model.set_weights`` of a Keras model with the same layers. Its Dense layers
        must have biases.

    Raises
    ------
    TypeError
        If ``trainer`` is not a `Trainer`.

    Examples
    --------
    >>> from jitprop import Trainer, convert
    >>> trainer = Trainer([2, 3, 1], seed=0)
    >>> [array.shape for array in convert.to_keras_weights(trainer)]
    [(2, 3), (3,), (3, 1), (1,)]
    """
    model = model_of(trainer)
    weights, biases = model.spec.split(model.state.params)
    return [array.copy() for pair in zip(weights, biases, strict=True) for array in pair]


def _read(path_or_model: Any, settings: Mapping[str, Any]) -> Converted:
    if isinstance(path_or_model, str | bytes | os.PathLike):
        path = Path(os.fsdecode(path_or_model))
        return _of_file(path, f"Keras' file {quoted(str(path))}", settings)
    if not (callable(getattr(path_or_model, "save", None)) and hasattr(path_or_model, "layers")):
        raise TypeError(
            "path_or_model must be the path of a .keras file or a model of Keras; "
            f"got {checks.shown(path_or_model)}"
        )
    if len({id(layer) for layer in path_or_model.layers}) < len(path_or_model.layers):
        raise ValueError("Keras' model must use each layer once; it has one that is used again")
    optimizer = getattr(path_or_model, "optimizer", None)
    if "optimizer" not in settings and _leaves_out(optimizer):
        raise ValueError(
            "Keras' model has an optimizer with exclude_from_weight_decay, which jitprop does not "
            "have: pass optimizer"
        )
    for function in _functions(path_or_model):
        if not str(getattr(function, "__module__", "")).startswith("keras."):
            raise ValueError(
                f"Keras' model has the function {checks.shown(function)}, which is not Keras' own"
            )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        path_or_model.save(path)
        return _of_file(path, "Keras' model", settings)


def _functions(model: Any) -> list[Any]:
    """Return activations and a loss that are functions: a file has their names alone."""
    found = [getattr(layer, "activation", None) for layer in model.layers]
    return [each for each in (*found, getattr(model, "loss", None)) if isfunction(each)]


def _leaves_out(optimizer: Any) -> bool:
    """Whether an optimizer of Keras leaves variables out of weight decay, which no file holds."""
    names = ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern")
    return bool(getattr(optimizer, "weight_decay", None)) and any(
        getattr(optimizer, name, None) for name in names
    )


def _of_file(path: Path, source: str, settings: Mapping[str, Any]) -> Converted:
    with KerasFile(path, source) as file:
        chain = _chain(file)
        return _net(file, chain, settings)


class Dense(NamedTuple):
    """
    A layer of weights.

    Attributes
    ----------
    name : str
    entry : Entry
        Its settings.
    W, b : arrays
        b is None without biases.
    """

    name: str
    entry: Entry
    W: Array
    b: Array | None


class Net(NamedTuple):
    """The layers of weights of a chain, and what stands between them."""

    layers: list[Dense]
    activations: list[Any]
    """One for each layer; None if there is none."""
    dropout: list[float]
    """One for each layer, what stands behind it."""


def _chain(file: KerasFile) -> Net:
    """Return the layers of the model, in their order."""
    net = Net([], [], [])
    for i, entry in enumerate(file.layers()):
        kind, name = entry.kind, entry.name
        if kind != "InputLayer":  # inputs are cast to the dtype of the first layer
            _check_layer(file, entry)
        if kind == "InputLayer":
            if i > 0:
                raise ValueError(f"{file.source} must have one input; it has more, {name}")
            _check_input(file, entry)
        elif kind == "Dense":
            _check_dense(file, entry)
            arrays = file.weights(entry)
            b = arrays[1] if len(arrays) == 2 else None
            net.layers.append(Dense(name, entry, arrays[0], b))
            net.activations.append(None)
            net.dropout.append(0.0)
            _add_activation(file, net, name, _activation(file, entry))
        elif kind == "Dropout":
            _add_dropout(file, net, entry)
        elif kind == "Flatten":
            continue  # of (n, k), which all values here are
        else:
            _add_activation(file, net, name, _activation_of_layer(file, entry))
    if not net.layers:
        raise ValueError(f"{file.source} must have a Dense layer; it has none")
    return net


def _check_input(file: KerasFile, entry: Entry) -> None:
    shape = entry.settings.get("batch_shape")
    if not isinstance(shape, list) or len(shape) != 2:
        raise ValueError(
            f"{file.source} must have inputs of the shape (n_samples, n_inputs); "
            f"layer {entry.name} has {quoted(shape)}"
        )


def _check_layer(file: KerasFile, entry: Entry) -> None:
    """Refuse what any layer can have, and jitprop does not."""
    if entry.settings.get("activity_regularizer") is not None:
        raise ValueError(
            f"{file.source} has activity_regularizer in layer {entry.name}, which jitprop does not "
            "have"
        )
    policy = entry.settings.get("dtype")
    if isinstance(policy, Mapping):  # a policy, which has a name
        config = policy.get("config")
        policy = config.get("name") if isinstance(config, Mapping) else policy
    if policy not in (None, "float32", "float64"):
        raise ValueError(
            f"{file.source} has the dtype {quoted(policy)} in layer {entry.name}; jitprop computes "
            "in float32 or float64"
        )


def _check_dense(file: KerasFile, entry: Entry) -> None:
    for name in ("kernel_constraint", "bias_constraint", "quantization_config", "lora_rank"):
        if entry.settings.get(name) is not None:
            raise ValueError(
                f"{file.source} has {name} in layer {entry.name}, which jitprop does not have"
            )


def _add_activation(file: KerasFile, net: Net, name: str, activation: Any) -> None:
    if activation == "identity":
        return
    if not net.layers:
        raise ValueError(
            f"{file.source} has an activation before its first Dense layer, {name}, which jitprop "
            "does not have"
        )
    if net.activations[-1] is not None:
        raise ValueError(
            f"{file.source} has two activations behind one Dense layer, the second in {name}, "
            "which jitprop does not have"
        )
    if net.dropout[-1]:
        raise ValueError(
            f"{file.source} has Dropout before the activation {name}; jitprop has dropout behind "
            "the activation alone"
        )
    net.activations[-1] = activation


def _add_dropout(file: KerasFile, net: Net, entry: Entry) -> None:
    rate = file.number(entry, "rate")
    if rate == 0.0:
        return
    if entry.settings.get("noise_shape") is not None:
        raise ValueError(
            f"{file.source} has noise_shape in layer {entry.name}, which jitprop does not have"
        )
    if not net.layers or net.dropout[-1]:
        where = "of the inputs" if not net.layers else "twice"
        raise ValueError(
            f"{file.source} has Dropout {where} in layer {entry.name}; jitprop has it once behind "
            "each hidden layer"
        )
    net.dropout[-1] = rate


def _activation(file: KerasFile, entry: Entry) -> Any:
    """Return jitprop's activation for the setting ``activation`` of a layer."""
    given = entry.settings.get("activation")
    if given is None:
        return "identity"
    if isinstance(given, Mapping):
        layer = file.entry(given, f"the activation of {entry.name}")
        return _activation_of_layer(file, layer)
    if not isinstance(given, str) or given not in ACTIVATIONS:
        raise ValueError(
            f"{file.source} has the activation {quoted(given)} in layer {entry.name}, which "
            "jitprop does not have"
        )
    return ACTIVATIONS[given]


def _activation_of_layer(file: KerasFile, entry: Entry) -> Any:
    """Return jitprop's activation for a layer of Keras that is one."""
    try:
        return _converted(file, entry)
    except ValueError as error:
        if str(error).startswith(file.source):
            raise
        raise ValueError(f"{file.source} has in layer {entry.name}: {error}") from None


def _converted(file: KerasFile, entry: Entry) -> Any:
    settings = entry.settings
    match entry.kind:
        case "Activation":
            return _activation(file, entry)
        case "ReLU":
            if settings.get("max_value") is not None or settings.get("threshold"):
                raise ValueError(
                    f"{file.source} has max_value or threshold in layer {entry.name}, which "
                    "jitprop does not have"
                )
            slope = file.number(entry, "negative_slope") if settings.get("negative_slope") else 0.0
            return LeakyReLU(slope) if slope else "relu"
        case "LeakyReLU":
            return LeakyReLU(file.number(entry, "negative_slope"))
        case "ELU":
            return ELU(file.number(entry, "alpha"))
        case "Softmax":
            if settings.get("axis", -1) not in (-1, 1):
                raise ValueError(f"{file.source} has axis {settings['axis']!r} in {entry.name}")
            return "softmax"
    raise ValueError(
        f"{file.source} has the layer {entry.name} of the class {quoted(entry.kind)}, which "
        "jitprop does not have"
    )


def _net(file: KerasFile, net: Net, settings: Mapping[str, Any]) -> Converted:
    """Return the net and its training, with the output activation that the loss needs."""
    weights = [layer.W for layer in net.layers]
    biases = [
        np.zeros(layer.W.shape[1], layer.W.dtype) if layer.b is None else layer.b
        for layer in net.layers
    ]
    for before, after in zip(net.layers, net.layers[1:], strict=False):
        if before.W.shape[1] != after.W.shape[0]:
            raise ValueError(
                f"{file.source} must have {before.W.shape[1]} inputs in layer {after.name}, the "
                f"outputs of the one before; it has {after.W.shape[0]}"
            )
    if any(layer.W.dtype != weights[0].dtype for layer in net.layers):
        raise ValueError(f"{file.source} must have one dtype in all layers")
    *dropout, last = net.dropout
    if last:
        raise ValueError(f"{file.source} has Dropout behind its last layer; jitprop has not")
    activations = ["identity" if each is None else each for each in net.activations]
    for layer, activation in zip(net.layers[:-1], activations, strict=False):
        if activation in ("softmax", "exp"):
            raise ValueError(
                f"{file.source} has {activation} in the hidden layer {layer.name}; jitprop has it "
                "in the output layer alone"
            )
    made = Converted(
        source=file.source,
        weights=weights,
        biases=biases,
        activations=activations,
        dtype=weights[0].dtype,
        dropout=dropout if any(dropout) else (),
    )
    layers: Sequence[Any] = net.layers
    return training(file, made, layers, settings)
