"""How a Keras model is trained: its loss, its optimizer and the optimizer's state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jitprop._types import Array
from jitprop.checks import quoted
from jitprop.convert._converted import Converted
from jitprop.convert._keras_file import KerasFile
from jitprop.net.losses import (
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    HalfSquaredError,
    Huber,
    Loss,
    SquaredError,
)
from jitprop.net.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop

LOSSES = {
    "MeanSquaredError": "mean_squared_error",
    "MeanAbsoluteError": "mean_absolute_error",
    "Huber": "huber",
    "BinaryCrossentropy": "binary_crossentropy",
    "CategoricalCrossentropy": "categorical_crossentropy",
    "SparseCategoricalCrossentropy": "sparse_categorical_crossentropy",
    "mse": "mean_squared_error",
    "MSE": "mean_squared_error",
    "mae": "mean_absolute_error",
    "MAE": "mean_absolute_error",
    "bce": "binary_crossentropy",
    "BCE": "binary_crossentropy",
}
"""The classes and the short names of losses, with the names of Keras' functions."""

REDUCTIONS = {
    "sum_over_batch_size": "mean",
    "mean": "mean",
    "mean_with_sample_weight": "mean",
    "sum": "sum",
}

REFUSED = ("clipnorm", "clipvalue", "use_ema", "loss_scale_factor", "gradient_accumulation_steps")
"""Settings of each optimizer that jitprop does not have."""


def training(
    file: KerasFile, net: Converted, layers: Sequence[Any], settings: Mapping[str, Any]
) -> Converted:
    """
    Add to a net what its file says of the training.

    ``settings`` are those that the user gives. What they replace is not read.

    Raises
    ------
    ValueError
        For what jitprop does not have.
    """
    net = replace(net, learning_rate_factors=_factors(layers))
    compiled = file.config.get("compile_config")
    if compiled is None:
        return net
    compiled = file.mapping(compiled, "compile_config")
    if "loss" not in settings and compiled.get("loss") is not None:
        net = _with_loss(file, net, compiled)
    if "optimizer" not in settings and compiled.get("optimizer") is not None:
        net = _with_optimizer(file, net, layers, compiled["optimizer"], settings)
    return net


def _factors(layers: Sequence[Any]) -> list[tuple[float, float]] | None:
    """Return factors of the learning rate that are 0 for what Keras does not train."""
    factors = [
        (float(trained), float(trained and layer.b is not None))
        for layer in layers
        for trained in [bool(layer.entry.settings.get("trainable", True))]
    ]
    return None if all(pair == (1.0, 1.0) for pair in factors) else factors


def _with_loss(file: KerasFile, net: Converted, compiled: Mapping[str, Any]) -> Converted:
    if compiled.get("loss_weights") is not None:
        raise ValueError(f"{file.source} has loss_weights, which jitprop does not have")
    given, config = compiled["loss"], dict[str, Any]()
    if isinstance(given, dict) and given.get("class_name") == "function":
        given = given.get("config")  # its name
    elif isinstance(given, dict):
        loss = file.entry(given, "the loss")
        given, config = loss.kind, dict(loss.settings)
    name = LOSSES.get(given, given) if isinstance(given, str) else None
    k = net.layer_sizes[-1]
    logits = bool(config.get("from_logits"))
    smoothing = file.as_number(config.get("label_smoothing", 0.0), "label_smoothing")
    made: Loss
    factor = 1.0 / k
    if name == "mean_squared_error":
        made, factor = (HalfSquaredError(), 1.0) if k == 2 else (SquaredError(), factor)
    elif name == "mean_absolute_error":
        made = AbsoluteError()
    elif name == "huber":
        if config and "delta" not in config:
            raise ValueError(
                f"{file.source} has the loss Huber, and Keras does not save its delta: compile "
                "the model with 'huber' for a delta of 1, or pass loss"
            )
        made = Huber(file.as_number(config.get("delta", 1.0), "delta of the loss"))
    elif name == "binary_crossentropy":
        made = BinaryCrossEntropy(label_smoothing=smoothing)
    elif name == "categorical_crossentropy":
        made, factor = CrossEntropy(label_smoothing=smoothing), 1.0
    elif name == "sparse_categorical_crossentropy" and config.get("ignore_class") is None:
        made, factor = CrossEntropy(), 1.0
    else:
        raise ValueError(
            f"{file.source} has the loss {quoted(given)}, which jitprop does not have: pass loss"
        )
    if config.get("axis", -1) not in (-1, 1):
        raise ValueError(f"{file.source} has a loss with axis {quoted(config['axis'])}")
    reduction = REDUCTIONS.get(str(config.get("reduction", "sum_over_batch_size")))
    if reduction is None:
        raise ValueError(
            f"{file.source} has a loss with reduction {quoted(config.get('reduction'))}, which "
            "jitprop does not have: pass loss"
        )
    activations = _activations(file, net, made, logits)
    return replace(net, loss=made, loss_factor=factor, reduction=reduction, activations=activations)


def _activations(file: KerasFile, net: Converted, loss: Loss, logits: bool) -> list[Any]:
    """Return the activations, with the one at the output that belongs to a cross-entropy."""
    *hidden, output = net.activations
    wanted = loss.outputs[0] if loss.outputs else None
    if wanted is None:
        if output == "softmax":
            raise ValueError(
                f"{file.source} has softmax with another loss than a cross-entropy, which jitprop "
                "does not have: pass loss='cross_entropy'"
            )
        return [*hidden, output]
    expected = "identity" if logits else wanted
    if output != expected:
        raise ValueError(
            f"{file.source} must have the output activation {expected} for its loss, "
            f"{loss.name} with from_logits={logits}; it has {output}"
        )
    return [*hidden, wanted]


def _with_optimizer(
    file: KerasFile,
    net: Converted,
    layers: Sequence[Any],
    given: Any,
    settings: Mapping[str, Any],
) -> Converted:
    entry = file.entry(given, "the optimizer")
    config = entry.settings
    for name in (*REFUSED, "amsgrad", "centered"):
        if config.get(name):
            raise ValueError(
                f"{file.source} has {name} in its optimizer {entry.kind}, which jitprop does not "
                "have: pass optimizer"
            )
    made = _optimizer(file, entry.kind, config)
    decay = file.as_number(config.get("weight_decay") or 0.0, "weight_decay")
    if decay and not isinstance(made, AdamW) and made.n_slots:
        raise ValueError(
            f"{file.source} has weight_decay in its optimizer {entry.kind}: in Keras it is "
            "decoupled from the gradient, and jitprop has that in AdamW alone: pass optimizer"
        )
    clip = config.get("global_clipnorm") or None
    if clip is not None:
        clip = file.as_number(clip, "global_clipnorm")
        if net.learning_rate_factors is not None:
            raise ValueError(
                f"{file.source} has global_clipnorm and parameters that are not trained, or a "
                "layer without biases. jitprop counts their gradient too: pass optimizer"
            )
    l2, of_biases = _l2(file, layers)
    if l2 and (clip or decay):
        other = "global_clipnorm" if clip else "weight_decay"
        raise ValueError(
            f"{file.source} has L2 regularizers and {other}, which jitprop does not have together: "
            "pass optimizer"
        )
    rate, n_settings = config.get("learning_rate"), 2
    if isinstance(rate, dict):
        n_settings = 1
        if "learning_rate" not in settings:
            raise ValueError(
                f"{file.source} has the schedule {quoted(rate.get('class_name'))} as learning "
                "rate. It counts updates, and the file does not say how many an epoch has: pass "
                "learning_rate, a number or a schedule of jitprop"
            )
    else:
        rate = file.as_number(rate, "learning_rate")
        if rate <= 0.0 and "learning_rate" not in settings:
            raise ValueError(f"{file.source} must have a learning rate above 0; it has {rate:g}")
    return replace(
        net,
        optimizer=made,
        learning_rate=None if isinstance(rate, dict) else rate,
        weight_decay=l2 or decay,
        decay_biases=of_biases if l2 else decay > 0.0,
        clip_norm=clip,
        **_state(file, made, layers, n_settings),
    )


def _optimizer(file: KerasFile, kind: str, config: Mapping[str, Any]) -> Optimizer:
    def number(name: str, default: float) -> float:
        return file.as_number(config.get(name, default), name)

    try:
        if kind == "SGD":
            momentum = number("momentum", 0.0)
            # Without momentum Keras looks at nesterov no more.
            return SGD(momentum=momentum, nesterov=bool(config.get("nesterov")) and momentum > 0)
        if kind in ("Adam", "AdamW"):
            decays = kind == "AdamW" or config.get("weight_decay")
            return (AdamW if decays else Adam)(
                beta_1=number("beta_1", 0.9),
                beta_2=number("beta_2", 0.999),
                epsilon=number("epsilon", 1e-7),
                epsilon_hat=True,
            )
        if kind == "RMSprop":
            return RMSprop(
                rho=number("rho", 0.9),
                momentum=number("momentum", 0.0),
                epsilon=number("epsilon", 1e-7),
                epsilon_in_root=True,
            )
    except ValueError as error:
        raise ValueError(
            f"{file.source} has a setting that jitprop does not have: {error}"
        ) from None
    raise ValueError(
        f"{file.source} has the optimizer {quoted(kind)}, which jitprop does not have: pass "
        "optimizer"
    )


def _l2(file: KerasFile, layers: Sequence[Any]) -> tuple[float, bool]:
    """
    Return the weight decay of L2 regularizers, and whether it acts on biases.

    Keras adds l2 sum W**2 to the loss, so that the gradient has the term 2 l2 W.
    """
    found: list[list[float]] = [[], []]
    for layer in layers:
        for name, values in zip(("kernel", "bias"), found, strict=True):
            given = layer.entry.settings.get(f"{name}_regularizer")
            if given is None or (name == "bias" and layer.b is None):
                values += [0.0] * (name == "kernel" or layer.b is not None)
                continue
            entry = file.entry(given, f"{name}_regularizer of {layer.name}")
            if entry.kind not in ("L2", "L1L2") or entry.settings.get("l1"):
                raise ValueError(
                    f"{file.source} has the regularizer {quoted(entry.kind)} in layer "
                    f"{layer.name}, which jitprop does not have: pass optimizer"
                )
            values.append(file.as_number(entry.settings.get("l2"), "l2"))
    weights, biases = ({*values} for values in found)
    if len(weights) > 1 or len(biases) > 1 or not biases <= weights | {0.0}:
        raise ValueError(
            f"{file.source} has L2 regularizers that differ between layers, or on biases alone, "
            "which jitprop does not have: pass optimizer"
        )
    return 2.0 * max(weights), bool(biases) and max(biases) > 0.0


def _state(
    file: KerasFile, optimizer: Optimizer, layers: Sequence[Any], n_settings: int
) -> dict[str, Any]:
    """
    Return what the optimizer keeps, and how many updates were done.

    A file has the number of updates, the learning rate if it is no schedule, and then the arrays
    of each variable.
    """
    arrays = file.optimizer_state()
    if len(arrays) <= n_settings:
        return {}
    updates = arrays[0]
    if updates.shape != () or updates.dtype.kind not in "iu" or not 0 <= updates < 2**48:
        raise ValueError(f"{file.source} must have a number of updates in the optimizer's state")
    if updates == 0:
        return {}
    shapes = [
        array.shape
        for layer in layers
        if layer.entry.settings.get("trainable", True)
        for array in (layer.W, layer.b)
        if array is not None
    ]
    kept, n_slots = arrays[n_settings:], optimizer.n_slots
    # Adam keeps both arrays of a variable side by side, the others one kind after the other.
    side_by_side = isinstance(optimizer, Adam)
    expected = (
        [shape for shape in shapes for _ in range(n_slots)] if side_by_side else (shapes * n_slots)
    )
    if [array.shape for array in kept] != expected:
        raise ValueError(
            f"{file.source} must keep arrays of the shapes {expected} in its optimizer; it has "
            f"{[array.shape for array in kept]}"
        )
    if not all(np.isfinite(array).all() for array in kept):
        raise ValueError(f"{file.source} has inf or nan in its optimizer's state")
    n = len(shapes)
    of_kind = [
        kept[i::n_slots] if side_by_side else kept[i * n : (i + 1) * n] for i in range(n_slots)
    ]
    for i in [1] if isinstance(optimizer, Adam) else [0] if isinstance(optimizer, RMSprop) else []:
        if any((array < 0).any() for array in of_kind[i]):
            raise ValueError(f"{file.source} has a mean square below 0 in its optimizer's state")
    if isinstance(optimizer, RMSprop) and n_slots == 2:
        of_kind[1] = [-array for array in of_kind[1]]  # Keras subtracts it, jitprop adds it
    slots = [_by_layer(arrays, layers) for arrays in of_kind]
    return {"slots": slots, "updates": int(updates)}


def _by_layer(arrays: list[Array], layers: Sequence[Any]) -> tuple[list[Array], list[Array]]:
    """Return the arrays of weights and of biases, with 0 for what Keras does not train."""
    left = iter(arrays)
    weights, biases = [], []
    for layer in layers:
        trained = layer.entry.settings.get("trainable", True)
        weights.append(next(left) if trained else np.zeros_like(layer.W))
        biases.append(
            next(left)
            if trained and layer.b is not None
            else np.zeros(layer.W.shape[1], layer.W.dtype)
        )
    return weights, biases
