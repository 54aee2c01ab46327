"""
The part of an exported net that trains in C, with the bits of `jitprop.Trainer`.

Parameters stand in RAM, in the order of `Trainer.parameters`. The sums of one sample run in the
order of the kernels: ``jitprop_kernels.lanes`` for small nets, ``jitprop_kernels.blocks`` for
others. The two differ only in where a sum begins, at the bias or at 0.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.checks import quoted
from jitprop.data import cast
from jitprop.export import c_arithmetic as arithmetic
from jitprop.export import c_functions as functions
from jitprop.export import c_templates as templates
from jitprop.net import activations
from jitprop.net.activations import Activation
from jitprop.net.custom import CustomLoss
from jitprop.net.losses import Huber, Quantile
from jitprop.net.optimizers import SGD
from jitprop.net.spec import Spec
from jitprop.training.model import Model

OF_Z = ("binary_cross_entropy", "cross_entropy", "poisson", "gaussian_nll")
"""Losses that are computed from z of the output layer."""


class Layer(NamedTuple):
    """A layer's place in the arrays: its parameters begin at ``p``, its units at ``unit``."""

    source: str
    n_in: int
    n_out: int
    p: int
    unit: int

    @property
    def a(self) -> str:
        """What its units put out."""
        return f"NAME_a + {self.unit}"

    @property
    def d(self) -> str:
        """Their slopes, then their deltas."""
        return f"NAME_d + {self.unit}"


class Training(NamedTuple):
    """
    How a net trains in C.

    Attributes
    ----------
    spec : Spec
    params : (P,) array
        The parameters to start from, in the dtype of all numbers.
    velocities : (P,) array or None
        Those of momentum, if there is any.
    batches : bool
        Whether it also trains on several samples at once.
    """

    spec: Spec
    params: Array
    velocities: Array | None
    batches: bool

    @property
    def number(self) -> Any:
        """NumPy's type of all numbers."""
        return self.params.dtype.type

    @property
    def units(self) -> int:
        """The number of units, inputs aside."""
        return sum(self.spec.layer_sizes[1:])

    @property
    def layers(self) -> list[Layer]:
        """The layers, first one first."""
        made: list[Layer] = []
        for (n_in, n_out), (p, _) in zip(self.spec.shapes, self.spec.offsets, strict=True):
            source, unit = ("x", 0) if not made else (made[-1].a, made[-1].unit + n_in)
            made.append(Layer(source, n_in, n_out, p, unit))
        return made

    @property
    def activations(self) -> list[Activation | None]:
        """The activation of each layer in training: none where the loss is one of z."""
        *hidden, output = self.spec.activations
        return [*hidden, None if self.spec.loss.name in OF_Z else output]

    @property
    def finish(self) -> list[Activation]:
        """The activation that only predictions need, if there is one."""
        output = self.spec.activations[-1]
        return [output] if self.spec.loss.name in OF_Z and output != "identity" else []


def of(model: Any, train: Any, batches: Any, dtype: np.dtype[Any]) -> Training:
    """
    Return how a trainer's net trains in C.

    Raises
    ------
    TypeError, ValueError
        For anything that the C code does not do.
    """
    batches = checks.boolean("batches", batches)
    if not (isinstance(train, SGD) or (isinstance(train, str) and train == "sgd")):
        raise ValueError(f"train must be None, 'sgd' or an SGD; got {checks.shown(train)}")
    held = getattr(model, "_model", None)
    if not isinstance(held, Model):
        raise TypeError(
            "model must be a Trainer if train is given, such as a fleet's member fleet[0]; "
            f"got {checks.shown(model)}"
        )
    spec, slots = held.spec, held.state.slots
    _check(spec)
    if isinstance(train, SGD):
        spec, slots = replace(spec, optimizer=train), np.zeros((1, spec.n_parameters))
    elif not isinstance(spec.optimizer, SGD):
        raise ValueError(
            "train='sgd' goes on with the net's own SGD, but the optimizer of this net is "
            f"{type(spec.optimizer).__name__}; train=SGD() begins a new SGD with its parameters"
        )
    params = cast.finite("parameters", held.state.params, dtype)
    velocities = cast.finite("velocities", slots[0], dtype) if spec.n_slots else None
    return Training(spec, params, velocities, batches)


def _check(spec: Spec) -> None:
    """Refuse settings that the C code does not have."""
    settings = {
        "dropout": any(spec.dropout),
        "clip_norm": spec.clip_norm is not None,
        "learning_rate_factors": spec.learning_rate_factors is not None,
        "input_scale_rate": spec.input_scale_rate is not None,
        "scikit-learn's alpha": spec.l2 != 0.0,
        "class_weight": getattr(spec.loss, "class_weight", None) is not None,
        f"the custom loss {quoted(spec.loss.name)}": isinstance(spec.loss, CustomLoss),
    }
    for name, is_set in settings.items():
        if is_set:
            raise ValueError(f"a net with {name} cannot be exported with train: C does not have it")


def words(training: Training) -> dict[str, str]:
    """Return the values of words that stand in declarations too."""
    spec, n = training.spec, training.spec.n_parameters
    numbers, kinds = n, "the parameters"
    if training.velocities is not None:
        numbers, kinds = 2 * n, "the parameters, then their velocities"
    return {
        "DECLARED": templates.DECLARED.replace(
            "BATCHES", templates.BATCHES if training.batches else ""
        ).rstrip("\n"),
        "N_TARGETS": str(spec.n_targets),
        "N_NUMBERS": str(numbers),
        "N_PARAMETERS": str(n),
        "KINDS": kinds,
        "REDUCTION": spec.reduction,
    }


def parts(training: Training) -> list[str]:
    """Return the C code as templates, without includes and declarations."""
    kind = training.params.dtype.name
    used = [
        *_passes(training),
        *_updates(training),
        *_public(training),
    ]
    return [
        arithmetic.DEMANDS[kind],
        _state(training),
        arithmetic.FMA[kind],
        *_needed("".join(used), _library(training, kind)),
        *used,
    ]


def _state(training: Training) -> str:
    """The arrays in RAM, and how many bytes they take."""
    P, U, size = training.params.size, training.units, training.params.itemsize
    arrays = 1 + training.batches + (training.velocities is not None)
    lines = [
        f"/* RAM: {arrays * size} P + {2 * size} U = {size * (arrays * P + 2 * U)} bytes, for "
        f"P = {P} parameters and U = {U} units.",
        f"   Flash: {size} P = {size * P} bytes for the first parameters, and the code. */",
        _array("p", training.params),
    ]
    if training.velocities is not None:
        lines.append(_array("v", training.velocities))
    if training.batches:
        lines.append(f"static float NAME_g[{P}]; /* the gradient of a batch */")
    lines.append(f"static float NAME_a[{U}]; /* what each unit puts out */")
    lines.append(f"static float NAME_d[{U}]; /* its slope, then its delta */")
    return "\n".join(lines) + "\n"


def _array(name: str, numbers: Array) -> str:
    if not numbers.any():
        return f"static float NAME_{name}[{numbers.size}];"
    texts = [_literal(x) for x in numbers]
    body = ",\n    ".join(", ".join(texts[i : i + 6]) for i in range(0, len(texts), 6))
    return f"static float NAME_{name}[{len(texts)}] = {{\n    {body}\n}};"


def _setting(training: Training, setting: float) -> str:
    """A setting in C, rounded to the dtype of all numbers as the kernels round it."""
    with np.errstate(over="ignore"):
        return _literal(training.number(setting))


def _literal(number: Any) -> str:
    """A number with enough digits to read back the same."""
    if np.isinf(number):
        return "INFINITY"
    return np.format_float_scientific(number, unique=True, trim="0") + "f"


def _library(training: Training, kind: str) -> dict[str, str]:
    """The functions that others may call, by name without the prefix."""
    applied = {activations.name_of(each) for each in training.spec.activations} - {"softmax"}
    return {
        "times": arithmetic.TIMES,
        "exp_parts": arithmetic.EXP_PARTS[kind],
        "exp_of_negative": arithmetic.EXP_OF_NEGATIVE,
        "exp": arithmetic.EXP,
        "log_reduced": arithmetic.LOG_REDUCED[kind],
        "log1p": arithmetic.LOG1P,
        "log": arithmetic.LOG[kind],
        "gaussian_parts": arithmetic.GAUSSIAN_PARTS[kind],
        "tanh_of": functions.TANH[kind],
        **functions.ACTIVATIONS,
        "all_softmax": functions.SOFTMAX,
        **{f"all_{name}": _of_all(name) for name in applied},
    }


def _of_all(name: str) -> str:
    """The function that applies an activation to all units of a layer."""
    taken, given = (", float k", "k, ") if name in activations.NAMED else ("", "")
    return replaced(templates.APPLIED, {"KIND": name, "TAKEN": taken, "GIVEN": given})


def _applied(training: Training, activation: Activation, layer: Layer) -> str:
    """The call of such a function, with the activation's number if it has one."""
    number = activations.number_of(activation)
    given = "" if number is None else f", {_setting(training, number)}"
    name = activations.name_of(activation)
    return f"NAME_all_{name}({layer.a}, {layer.d}, {layer.n_out}{given});"


def _needed(text: str, library: dict[str, str]) -> list[str]:
    """Of a library, what a text calls; each function behind those that it calls itself."""
    made: dict[str, str] = {}

    def add_called_in(text: str) -> None:
        for name in re.findall(r"NAME_(\w+)\(", text):
            if name in library and name not in made:
                add_called_in(library[name].split("{", 1)[1])
                made[name] = library[name]

    add_called_in(text)
    return list(made.values())


def _passes(training: Training) -> list[str]:
    """Forward, the loss, and back to the deltas of all layers."""
    from jitprop.backends.plans import uses_lanes  # it imports the kernels

    begin, end = ("b", "sum") if uses_lanes(training.spec) else ("0.0f", "sum + b")
    forward, back = [], []
    for layer, activation in zip(training.layers, training.activations, strict=True):
        given = f"{layer.source}, {layer.n_in}, NAME_p + {layer.p}, {layer.a}, {layer.n_out}"
        forward.append(f"NAME_layer({given});")
        if activation is not None:
            forward.append(_applied(training, activation, layer))
        if layer.source != "x":
            before = layer.source.replace("NAME_a", "NAME_d")
            given = f"{layer.d}, {layer.n_out}, NAME_p + {layer.p}, {before}, {layer.n_in}"
            back.append(f"NAME_back({given});")
    return [
        replaced(templates.LAYER, {"BEGIN": begin, "END": end}),
        with_steps(templates.FORWARD, forward),
        _loss(training),
        *([templates.BACK] if back else []),
        with_steps(templates.PASS, back[::-1]),
    ]


def _loss(training: Training) -> str:
    loss = training.spec.loss
    whole = {"cross_entropy": functions.CROSS_ENTROPY, "gaussian_nll": functions.GAUSSIAN}
    edge, below, above = 0.0, 1.0, 1.0
    match loss:
        case Huber(delta=delta):
            edge = below = above = delta
        case Quantile(q=q):
            below, above = q, 1.0 - q
    target, (gain, offset) = "y[i]", loss.smoothing(training.spec.n_targets)
    if gain != 1.0:
        target = f"NAME_times({_setting(training, gain)}, y[i]) + {_setting(training, offset)}"
    template = whole.get(loss.name, functions.LOSS)
    body = functions.LOSSES.get(loss.name, functions.LOSSES["piecewise"])
    values = {
        "WANTED": target,
        "CORNER": "0.5f" if edge else "0.0f",
        "EDGE": _setting(training, edge),
        "BELOW": _setting(training, below),
        "ABOVE": _setting(training, above),
        "AT_OUTPUT": str(training.layers[-1].unit),
    }
    return replaced(template.replace("BODY", body), values)


def _updates(training: Training) -> list[str]:
    """What an update does with one parameter, and with those of a layer."""
    spec = training.spec
    values = dict.fromkeys(("KEPT_LINE", "DECAY", "OF_WEIGHTS", "OF_BIASES", "KEEP"), "")
    decays = spec.weight_decay != 0.0
    if training.velocities is None:
        made = [*([templates.KEPT] if decays else []), templates.PLAIN]
        decay, of_weights, of_biases = "kept", "kept", "1.0f"
        if decays:
            values |= {"KEEP": "kept * ", "KEPT_LINE": "    float kept = NAME_kept(rate);\n"}
    else:
        method = spec.optimizer
        assert isinstance(method, SGD)
        made, keep = [templates.MOMENTUM], _setting(training, method.momentum)
        decay, of_weights, of_biases = "decay", _setting(training, spec.weight_decay), "0.0f"
        g = "NAME_fma(decay, *p, g)" if decays else "g"
        values |= {
            "KEEP": keep,
            "MOVE": f"NAME_fma({keep}, *v, -step)" if method.nesterov else "*v",
            "INNER": f"rate * {g}" if method.rate_in_velocity else f"-{g}",
            "OUTER": "1.0f" if method.rate_in_velocity else "-rate",
        }
    if decays:
        values |= {
            "WEIGHT_DECAY": repr(spec.weight_decay),
            "DECAY": f", float {decay}",
            "OF_WEIGHTS": f", {of_weights}",
            "OF_BIASES": f", {of_weights if spec.decay_biases else of_biases}",
        }
    made += [templates.STEP, *([templates.BATCH] if training.batches else [])]
    return [replaced(text, values) for text in made]


def _public(training: Training) -> list[str]:
    """The functions that a program calls."""
    spec, layers = training.spec, training.layers
    last = layers[-1]
    finish = [_applied(training, activation, last) for activation in training.finish]
    predict = templates.PREDICT.replace("AT_OUTPUT", str(last.unit))
    steps, adds, steps_of_batch = [], [], []
    for layer in layers:
        given = f"{layer.source}, {layer.n_in}, {layer.d}, {layer.n_out}"
        steps.append(f"NAME_step({given}, NAME_p + {layer.p}, rate);")
        adds.append(f"    NAME_add({given}, NAME_g + {layer.p});")
        steps_of_batch.append(f"NAME_step_of_batch({layer.p}, {layer.n_in}, {layer.n_out}, rate);")
    made = [with_steps(predict, finish), with_steps(templates.TRAIN, steps)]
    if training.batches:
        mean = spec.reduction == "mean"
        values = {
            "SHARE": "1.0f / (float)n" if mean else "1.0f",
            "LOSS": "loss / (float)n" if mean else "loss",
        }
        batch = replaced(templates.TRAIN_BATCH, values)
        made.append(with_steps(with_steps(batch, adds, "ADDS"), steps_of_batch))
    return [*made, templates.SAVE if training.velocities is None else templates.SAVE_BOTH]


def with_steps(template: str, statements: list[str], word: str = "STEPS") -> str:
    """Put statements, one a line, where the word stands."""
    return template.replace(f"{word}\n", "".join(f"    {text}\n" for text in statements))


def replaced(template: str, values: dict[str, str]) -> str:
    """Put values in the place of words."""
    words = "|".join(sorted(values, key=len, reverse=True))
    return re.sub(words, lambda match: values[match[0]], template)
