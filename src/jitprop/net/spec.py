"""The settings of a net and of its training, checked and immutable: what both backends read."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from jitprop import checks, elementary
from jitprop._types import Array
from jitprop.checks import quoted
from jitprop.net import activations, losses, optimizers, schedules
from jitprop.net.activations import Activation
from jitprop.net.custom import CustomActivation, CustomLoss
from jitprop.net.losses import Loss
from jitprop.net.optimizers import Optimizer
from jitprop.net.schedules import LearningRate
from jitprop.net.second_order import BayesianRegularization, is_second_order

HIDDEN_ACTIVATIONS = (
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "elu",
    "softplus",
    "gelu",
    "gelu_tanh",
    "silu",
    "selu",
    "mish",
    "softsign",
    "hard_sigmoid",
    "identity",
)
OUTPUT_ACTIVATIONS = (*HIDDEN_ACTIVATIONS, "exp", "softmax")
REDUCTIONS = ("mean", "sum")


@dataclass(frozen=True)
class SklearnRules:
    """
    What scikit-learn computes differently: `jitprop.sklearn` sets these rules, `Trainer` does not.

    By default all of them are off. A trainer that `jitprop.convert` made of an estimator has
    ``l2``.
    """

    l2: float = 0.0
    """The gradient of a batch gets the term l2 W / s, where s is the sum of its samples' weights,
    or their number if they have none."""
    reported_l2: float = 0.0
    """The reported loss of a batch, summed over its samples, gets the term reported_l2 sum W**2."""
    clipped_above: float = math.inf
    """Losses above this threshold are reported as scikit-learn reports them: the probability of an
    output is rounded to the dtype and clipped to epsilon ... 1 - epsilon before the cross-entropy
    is computed from it. Other losses are computed from z. Targets must be 0 and 1."""
    batches_by_size: bool = False
    """In the mean loss of an epoch a batch has its number of samples as weight, and not the sum of
    their weights."""


KEPT_OF_SCALES = 3
"""Numbers that are kept for each input: its scale, and at most two that the optimizer keeps."""


def rows_of_scales(n_inputs: int, n_parameters: int) -> int:
    """Return how many rows of P numbers V and the numbers of the scales take."""
    return 1 + -(-KEPT_OF_SCALES * n_inputs // n_parameters)


class Scaled(NamedTuple):
    """
    What a net with scales of the inputs keeps for its first weights W = diag(s) V.

    In the slots there is a row for V, where it has the places of W, and then s and ``kept``.
    """

    V: Array
    """(..., n_in, n_out)."""
    s: Array
    """(..., n_in): the scales."""
    kept: Array
    """(..., 2, n_in): what the optimizer keeps for s."""


@dataclass(frozen=True)
class Spec:
    """
    The settings of a net and of its training.

    The parameters of a net are one flat vector: W[0] row by row, b[0], W[1], b[1], ... So depth
    and width are plain numbers, and an optimizer or a checkpoint handles one array.
    """

    layer_sizes: tuple[int, ...]
    activations: tuple[Activation, ...]
    """One for each W: those of the hidden layers, then that of the output layer."""
    loss: Loss
    reduction: str
    optimizer: Optimizer
    learning_rate: LearningRate
    weight_decay: float
    dropout: tuple[float, ...]
    """For each hidden layer, the probability that a unit is dropped."""
    clip_norm: float | None
    batch_size: int | None
    learning_rate_factors: tuple[tuple[float, float], ...] | None = None
    """For each layer, what the learning rate of its W and that of its b are multiplied by."""
    input_scale_rate: float | None = None
    """What the learning rate of each input's scale is multiplied by; None for no scales."""
    sklearn: SklearnRules = SklearnRules()
    decay_biases: bool = False
    """Whether the weight decay acts on biases, too."""

    @property
    def l2(self) -> float:
        """scikit-learn's ``alpha``: a batch of n samples adds l2 W / n to the gradient."""
        return self.sklearn.l2

    @property
    def n_slots(self) -> int:
        """How many rows the optimizer's state has, (n_slots, P), those of scales included."""
        return self.optimizer.n_slots + self.scale_rows

    @property
    def scale_rows(self) -> int:
        """How many rows of the slots, the last ones, belong to the scales of the inputs."""
        if self.input_scale_rate is None:
            return 0
        return rows_of_scales(self.layer_sizes[0], self.n_parameters)

    def scaled(self, slots: Array) -> Scaled:
        """Views of what the slots, (..., n_slots, P), hold of the inputs' scales."""
        (n_in, n_out), P = self.shapes[0], self.n_parameters
        *members, _, _ = slots.shape
        flat = slots[..., -self.scale_rows :, :].reshape(*members, -1)
        rest = flat[..., P : P + KEPT_OF_SCALES * n_in].reshape(*members, KEPT_OF_SCALES, n_in)
        V = flat[..., : n_in * n_out].reshape(*members, n_in, n_out)
        return Scaled(V, rest[..., 0, :], rest[..., 1:, :])

    @property
    def n_parameters(self) -> int:
        """P, the length of the vector of parameters."""
        return sum((n_in + 1) * n_out for n_in, n_out in self.shapes)

    @property
    def custom_functions(self) -> list[str]:
        """The names of the custom activations and of the custom loss."""
        parts = [*self.activations, self.loss]
        names = [part.name for part in parts if isinstance(part, CustomActivation | CustomLoss)]
        return list(dict.fromkeys(names))

    @property
    def n_targets(self) -> int:
        """The number of targets of a sample."""
        return self.loss.n_targets(self.layer_sizes[-1])

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(n_in, n_out) of each W."""
        return list(zip(self.layer_sizes[:-1], self.layer_sizes[1:], strict=True))

    @property
    def factors(self) -> tuple[tuple[float, float], ...]:
        """The learning rate factors of each layer's W and b: 1 if none are set."""
        return self.learning_rate_factors or ((1.0, 1.0),) * len(self.shapes)

    def decays(self) -> Array:
        """Return the weight decay of each parameter, (P,) float64."""
        decays = np.zeros(self.n_parameters)
        weights, biases = self.split(decays)
        for part in weights + biases if self.decay_biases else weights:
            part[:] = self.weight_decay
        return decays

    def batch(self, n_samples: int) -> int:
        """The number of samples in a full batch, where there are ``n_samples`` in all."""
        return n_samples if self.batch_size is None else min(self.batch_size, n_samples)

    def work(self, n_samples: int) -> float:
        """Return about how many multiply-adds one update on so many samples takes."""
        if is_second_order(method := self.optimizer):
            return method.work(n_samples, self.layer_sizes[-1], self.n_parameters)
        return 3 * n_samples * self.n_parameters

    def divisor(self, n_samples: int, weights: Array | None) -> float:
        """
        The number that a summed loss is divided by, to get the reduced one.

        The sum is that of each sample's loss times its weight. The divisor is 1 for the reduction
        "sum". For "mean" it is the sum of the weights, or the number of samples without weights.
        """
        if self.reduction == "sum":
            return 1.0
        if weights is None or self.sklearn.batches_by_size:
            return n_samples
        return elementary.total(weights)

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """For each layer, the positions in the parameters at which its W and its b begin."""
        pairs, begin = [], 0
        for n_in, n_out in self.shapes:
            pairs.append((begin, begin + n_in * n_out))
            begin += (n_in + 1) * n_out
        return pairs

    def split(self, params: Array) -> tuple[list[Array], list[Array]]:
        """Views of every W and every b in a vector of parameters, (P,)."""
        layers = list(zip(self.shapes, self.offsets, strict=True))
        weights = [params[w:b].reshape(shape) for shape, (w, b) in layers]
        biases = [params[b : b + n_out] for (_, n_out), (_, b) in layers]
        return weights, biases


def make_spec(
    *,
    layer_sizes: Any,
    activation: Any = "sigmoid",
    output_activation: Any = "sigmoid",
    loss: Any = "half_squared_error",
    reduction: Any = "mean",
    optimizer: Any = "sgd",
    learning_rate: Any = None,
    weight_decay: Any = 0.0,
    decay_biases: Any = False,
    dropout: Any = 0.0,
    clip_norm: Any = None,
    batch_size: Any = None,
    learning_rate_factors: Any = None,
    input_scale_rate: Any = None,
) -> Spec:
    """
    Return the spec for `Trainer`'s arguments of these names.

    Each argument is checked by itself, then all together. The defaults are those of `Trainer`.

    Raises
    ------
    TypeError, ValueError
        For a bad argument, or for arguments that do not go together.
    """
    sizes = _layer_sizes(layer_sizes)
    method = optimizers.resolve(optimizer)
    spec = Spec(
        layer_sizes=sizes,
        activations=_activations(activation, output_activation, len(sizes) - 2),
        loss=losses.resolve(loss),
        reduction=checks.choice("reduction", reduction, REDUCTIONS),
        optimizer=method,
        learning_rate=rate_or_default(learning_rate, method),
        weight_decay=checks.number("weight_decay", weight_decay, low=0.0),
        decay_biases=checks.boolean("decay_biases", decay_biases),
        dropout=_dropout(dropout, len(sizes) - 2),
        clip_norm=None if clip_norm is None else checks.number("clip_norm", clip_norm, above=0.0),
        batch_size=checks.optional_integer("batch_size", batch_size, low=1),
        learning_rate_factors=_factors(learning_rate_factors, len(sizes) - 1),
        input_scale_rate=None
        if input_scale_rate is None
        else checks.number("input_scale_rate", input_scale_rate, above=0.0),
    )
    _check_output(spec)
    check_rate(spec.learning_rate, spec.optimizer)
    _check_factors(spec)
    check_method(spec)
    return spec


def rate_or_default(learning_rate: Any, optimizer: Optimizer) -> LearningRate:
    """Check the learning rate; None becomes the optimizer's default."""
    return optimizer.default_rate if learning_rate is None else schedules.resolve(learning_rate)


def with_learning_rate(spec: Spec, learning_rate: Any) -> Spec:
    """Return the spec with another learning rate, which is checked as in `make_spec`."""
    spec = replace(spec, learning_rate=rate_or_default(learning_rate, spec.optimizer))
    check_rate(spec.learning_rate, spec.optimizer)
    return spec


def with_l2(spec: Spec, l2: Any) -> Spec:
    """
    Return the spec with scikit-learn's ``alpha``.

    Raises
    ------
    TypeError, ValueError
        For a number below 0, and for a second-order method, which has no batches.
    """
    l2 = checks.number("l2", l2, low=0.0)
    if l2 > 0.0 and is_second_order(spec.optimizer):
        raise ValueError(f"l2 must be 0 with the optimizer {type(spec.optimizer).__name__}")
    return replace(spec, sklearn=replace(spec.sklearn, l2=l2))


def _layer_sizes(sizes: Any) -> tuple[int, ...]:
    if not checks.is_list(sizes):
        raise TypeError(
            f"layer_sizes must be a list of at least two ints; got {checks.shown(sizes)}"
        )
    if len(sizes) < 2:
        raise ValueError(
            f"layer_sizes must name at least inputs and outputs, as [3, 4, 1] does; "
            f"got {checks.shown(sizes)}"
        )
    return tuple(checks.integer(f"layer_sizes[{i}]", n, low=1) for i, n in enumerate(sizes))


def _activations(hidden: Any, output: Any, n_hidden: int) -> tuple[Activation, ...]:
    if checks.is_list(hidden):
        if len(hidden) != n_hidden:
            raise ValueError(
                f"activation must be one name, or one for each of the {n_hidden} hidden layers; "
                f"got {len(hidden)} names"
            )
        names = [
            activations.resolve(f"activation[{i}]", name, HIDDEN_ACTIVATIONS)
            for i, name in enumerate(hidden)
        ]
    else:
        names = [activations.resolve("activation", hidden, HIDDEN_ACTIVATIONS)] * n_hidden
    return (*names, activations.resolve("output_activation", output, OUTPUT_ACTIVATIONS))


def check_rate(learning_rate: Any, optimizer: Optimizer) -> None:
    """
    Refuse a learning rate that the optimizer does not use as it is meant.

    An optimizer that uses none accepts its default, which `Trainer.learning_rate` shows.
    """
    name = type(optimizer).__name__
    if optimizer.uses_rate == "first update" and not isinstance(learning_rate, float):
        raise ValueError(
            f"learning_rate must be a number with the optimizer {name}, which uses it as the first "
            f"step size and then adapts the steps itself; got {checks.shown(learning_rate)}"
        )
    default = optimizer.default_rate
    plain = isinstance(learning_rate, float) and learning_rate == default
    if optimizer.uses_rate == "never" and not plain:
        raise ValueError(
            f"learning_rate must be None (or {default}) with the optimizer {name}, which finds the "
            f"size of its steps itself; got {checks.shown(learning_rate)}"
        )


def check_method(spec: Spec) -> None:
    """
    Refuse settings that do not go together with a second-order method.

    Raises
    ------
    ValueError
        Naming the argument.
    """
    if not is_second_order(method := spec.optimizer):
        return
    name = type(method).__name__
    losses = method.losses
    own = isinstance(spec.loss, CustomLoss)
    if losses is not None and (own or spec.loss.name not in losses):
        raise ValueError(
            f"loss must be one of {', '.join(map(repr, losses))} with the optimizer {name}; "
            f"got {quoted(spec.loss.name)}"
        )
    if any(spec.dropout):
        raise ValueError(
            f"dropout must be 0 with the optimizer {name}, which computes the same loss again for "
            f"each step that it tries; got {checks.shown(spec.dropout)}"
        )
    if spec.clip_norm is not None:
        raise ValueError(
            f"clip_norm must be None with the optimizer {name}, which limits its steps itself; "
            f"got {spec.clip_norm:g}"
        )
    if isinstance(method, BayesianRegularization) and spec.weight_decay > 0.0:
        raise ValueError(
            f"weight_decay must be 0 with the optimizer {name}, which finds the weight decay "
            f"itself; got {spec.weight_decay:g}"
        )
    if isinstance(method, BayesianRegularization) and spec.decay_biases:
        raise ValueError(
            f"decay_biases must be False with the optimizer {name}, which lets all parameters "
            "decay, biases included; got True"
        )
    size = spec.n_parameters
    if method.most_parameters is not None and size > method.most_parameters:
        raise ValueError(
            f"layer_sizes must make a net of at most {method.most_parameters:,} parameters with "
            f"the optimizer {name}; {list(spec.layer_sizes)} makes {size:,}, and the matrix of the "
            f"method would take {8e-9 * size * size:,.1f} GB"
        )


def check_batch(spec: Spec, n_samples: int | None) -> None:
    """
    With an optimizer of full batches, refuse batches that do not hold all samples.

    ``n_samples`` is None where batches come from an iterable: then their number is unknown.
    """
    if not spec.optimizer.full_batch:
        return
    name = type(spec.optimizer).__name__
    if n_samples is None:
        raise ValueError(
            f"the optimizer {name} needs full batches: pass all samples as arrays X and y"
        )
    if spec.batch(n_samples) < n_samples:
        raise ValueError(
            f"batch_size must be None or at least the number of samples, {n_samples}, with the "
            f"optimizer {name}, which needs full batches; got {spec.batch_size}"
        )


def _dropout(dropout: Any, n_hidden: int) -> tuple[float, ...]:
    if not checks.is_list(dropout):
        return (checks.number("dropout", dropout, low=0.0, below=1.0),) * n_hidden
    if len(dropout) != n_hidden:
        raise ValueError(
            f"dropout must be one number, or one for each of the {n_hidden} hidden layers; "
            f"got {len(dropout)} numbers"
        )
    return tuple(
        checks.number(f"dropout[{i}]", p, low=0.0, below=1.0) for i, p in enumerate(dropout)
    )


def _factors(factors: Any, n_layers: int) -> tuple[tuple[float, float], ...] | None:
    if factors is None:
        return None
    expected = (
        "learning_rate_factors must be a list with an entry for each of the "
        f"{n_layers} layers of weights, a number or a pair (weights, biases)"
    )
    if not checks.is_list(factors):
        raise TypeError(f"{expected}; got {checks.shown(factors)}")
    if len(factors) != n_layers:
        raise ValueError(f"{expected}; got {len(factors)} entries")
    return tuple(_pair(f"learning_rate_factors[{l}]", each) for l, each in enumerate(factors))


def _pair(name: str, value: Any) -> tuple[float, float]:
    if not checks.is_list(value):
        factor = checks.number(name, value, low=0.0)
        return factor, factor
    if len(value) != 2:
        raise ValueError(
            f"{name} must be a number or a pair (weights, biases); got {len(value)} numbers"
        )
    of_weights, of_biases = (
        checks.number(f"{name}[{i}]", factor, low=0.0) for i, factor in enumerate(value)
    )
    return of_weights, of_biases


def _check_factors(spec: Spec) -> None:
    """Refuse factors of the learning rate where it is not the rate of each update."""
    if spec.optimizer.uses_rate == "every update":
        return
    for name in ("learning_rate_factors", "input_scale_rate"):
        if getattr(spec, name) is not None:
            raise ValueError(
                f"{name} must be None with the optimizer {type(spec.optimizer).__name__}, which "
                f"finds the size of its steps itself; got {checks.shown(getattr(spec, name))}"
            )


def _check_output(spec: Spec) -> None:
    output, loss = spec.activations[-1], spec.loss
    if (output == "softmax") != ("softmax" in loss.outputs):
        raise ValueError(
            "output_activation 'softmax' and loss 'cross_entropy' must be used together; "
            f"got output_activation {output!r} and loss {quoted(loss.name)}"
        )
    if output == "softmax" and spec.layer_sizes[-1] == 1:
        raise ValueError(
            "softmax needs at least 2 outputs, one for each class; layer_sizes ends in 1 "
            "(for one output: output_activation 'sigmoid', loss 'binary_cross_entropy')"
        )
    if loss.outputs and output not in loss.outputs:
        raise ValueError(
            f"loss {quoted(loss.name)} needs output_activation "
            f"{' or '.join(map(repr, loss.outputs))}; got output_activation {output!r}"
        )
    loss.check_outputs(spec.layer_sizes[-1])
