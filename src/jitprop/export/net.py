"""The part of a model that is exported, whatever kind of model it comes from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.data import cast
from jitprop.fleet import Fleet
from jitprop.net import activations as kinds
from jitprop.net.activations import Numbered
from jitprop.net.custom import CustomActivation
from jitprop.training.model import PREPARED, Model
from jitprop.warn import warn


class Net(NamedTuple):
    """
    A trained net, or several of one shape, without the object that trained it.

    Attributes
    ----------
    weights : list of (n_in, n_out) or (n_members, n_in, n_out) arrays
        With members, the outputs are the mean of those of all members.
    biases : list of (n_out,) or (n_members, n_out) arrays
    activations : list of str, LeakyReLU, ELU or Softplus
        `Trainer`'s activation of each layer, output layer last.
    answer : {"outputs", "class", "labels"}
        What is predicted for a sample: the outputs themselves; the most probable class; or a 0 or 1
        for each output, which says whether the sample has this label.
    classes : array or None
        The classes. With one output, that is the probability of the second of two classes.
    """

    weights: list[Array]
    biases: list[Array]
    activations: list[str | Numbered]
    answer: str
    classes: Array | None

    @property
    def sizes(self) -> list[int]:
        """The number of units in each layer, inputs first."""
        return [self.weights[0].shape[-2], *(b.shape[-1] for b in self.biases)]

    @property
    def n_members(self) -> int | None:
        """The number of nets whose outputs are averaged; None for a single net."""
        return len(self.biases[0]) if self.biases[0].ndim == 2 else None

    @property
    def members(self) -> list[Net]:
        """The single nets."""
        if self.n_members is None:
            return [self]
        return [
            self._replace(weights=[W[m] for W in self.weights], biases=[b[m] for b in self.biases])
            for m in range(self.n_members)
        ]

    def cast(self, dtype: np.dtype[Any] | None) -> Net:
        """
        Return the net in another dtype; None leaves it as it is.

        Raises
        ------
        ValueError
            For parameters that do not fit into the dtype.
        """
        if dtype is None:
            return self
        weights, biases = (
            [cast.finite(f"{name}[{l}]", array, dtype) for l, array in enumerate(arrays)]
            for name, arrays in (("weights", self.weights), ("biases", self.biases))
        )
        return self._replace(weights=weights, biases=biases)

    @property
    def is_binary(self) -> bool:
        """Whether the net has one output, the probability of the second of two classes."""
        return self.answer == "class" and self.sizes[-1] == 1


def of(model: Any) -> Net:
    """
    Return the net of a trainer or a fitted estimator, or the nets of a fleet or an ensemble.

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        For custom activations, and for parameters that are not finite.

    Warns
    -----
    UserWarning
        If the command line trained the net on prepared inputs: the exported net does not prepare
        them.
    """
    held = getattr(model, "_model", None)
    if isinstance(held, Model):
        if held.prepared:
            warn(
                f"{PREPARED}. The net exported here has neither: the program that runs it must do "
                "both",
                UserWarning,
            )
        return of_model(held)
    elif isinstance(model, Fleet):
        activations = _names(model._model.spec.activations)
        net = Net([*model.weights], [*model.biases], activations, "outputs", None)
    elif hasattr(model, "coefs_") and hasattr(model, "out_activation_"):
        net = _of_estimator(model)
    else:
        raise TypeError(
            f"model must be a Trainer, a Fleet or a fitted MLPClassifier or MLPRegressor; "
            f"got {checks.shown(model)}{_hint(model)}"
        )
    return _finite(net)


def of_model(model: Model) -> Net:
    """
    Return the net of a trainer's model, without a word about its inputs.

    Raises
    ------
    ValueError
        As `of`.
    """
    weights, biases = model.spec.split(model.state.params)
    return _finite(Net(weights, biases, _names(model.spec.activations), "outputs", None))


def _finite(net: Net) -> Net:
    if not all(np.isfinite(array).all() for array in (*net.weights, *net.biases)):
        raise ValueError("a net to be exported must have finite parameters")
    return net


def _hint(model: Any) -> str:
    """For an error message: where to find the net in a model that contains one."""
    if hasattr(model, "best_estimator_"):
        return ": export its best_estimator_"
    if hasattr(model, "net_"):
        return ": for a net for tables call the function of this name in jitprop.tabular.export"
    if hasattr(model, "steps"):
        return (
            ": export its last step, model[-1], and let the program that runs the net do the other "
            "steps; or convert the whole model with skl2onnx"
        )
    if hasattr(model, "hidden_layer_sizes"):
        return ", which is not fitted"
    return ""


def _of_estimator(model: Any) -> Net:
    hidden = model.activation
    if kinds.is_single(hidden):
        hidden = [hidden] * (len(model.coefs_) - 1)
    names = _names([*hidden, model.out_activation_])
    classes = getattr(model, "classes_", None)
    if classes is not None and len(classes) == 1:  # scikit-learn then returns two probabilities
        classes = np.repeat(classes, 2)
    if classes is None:
        answer = "outputs"
    else:
        several = names[-1] == "sigmoid" and model.intercepts_[-1].shape[-1] > 1
        answer = "labels" if several else "class"
    return Net(list(model.coefs_), list(model.intercepts_), names, answer, classes)


def _names(activations: Iterable[Any]) -> list[str | Numbered]:
    """Return `Trainer`'s activations; scikit-learn calls one of them "logistic"."""
    names: list[str | Numbered] = []
    for activation in activations:
        if isinstance(activation, Numbered):
            activation = kinds.resolve("activation", activation, ())
        if isinstance(activation, CustomActivation):
            raise ValueError(
                "a net to be exported must not have custom activations; "
                f"got {checks.shown(activation)}"
            )
        names.append("sigmoid" if activation == "logistic" else activation)
    return names
