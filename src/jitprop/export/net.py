"""What is exported of a model: numbers and names, wherever they came from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.data import cast
from jitprop.fleet import Fleet
from jitprop.trainer import Trainer
from jitprop.training.attributes import PREPARED
from jitprop.warn import warn


class Net(NamedTuple):
    """
    A trained net, apart from what trained it.

    Attributes
    ----------
    weights : list of (n_in, n_out) arrays
    biases : list of (n_out,) arrays
    activations : list of str
        Of each layer, hidden ones first, as `Trainer` names them.
    answer : {"outputs", "class", "labels"}
        What is told of a sample: the outputs themselves; or the likeliest of some classes; or, by
        a 0 or 1 for each output, which of many labels it has.
    classes : array or None
        Those classes. One output alone is the probability of the second of two.
    """

    weights: list[Array]
    biases: list[Array]
    activations: list[str]
    answer: str
    classes: Array | None

    @property
    def sizes(self) -> list[int]:
        """Units of each layer, inputs first."""
        return [len(self.weights[0]), *(len(b) for b in self.biases)]

    def cast(self, dtype: np.dtype[Any] | None) -> Net:
        """
        The same in another dtype, None for its own.

        Raises
        ------
        ValueError
            For parameters beyond it.
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
        """Whether the one output is a probability of two classes."""
        return self.answer == "class" and self.sizes[-1] == 1


def of(model: Any) -> Net:
    """
    The net in a trainer or a fitted estimator.

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        For activations of the user's own, or parameters that are not finite.
    """
    if isinstance(model, Trainer):
        if model._prepared:
            warn(
                f"{PREPARED}. The exported net has neither: the program that runs it must do both",
                UserWarning,
            )
        names = _names(model._spec.activations)
        net = Net([*model.weights], [*model.biases], names, "outputs", None)
    elif isinstance(model, Fleet):
        raise TypeError("one net can be exported: a member's trainer, such as fleet[0]")
    elif hasattr(model, "fleet_"):
        raise ValueError("one net can be exported: a member's trainer, as of model.fleet_[0]")
    elif hasattr(model, "coefs_") and hasattr(model, "out_activation_"):
        net = _of_estimator(model)
    else:
        raise TypeError(
            f"model must be a Trainer or a fitted MLPClassifier or MLPRegressor; "
            f"got {checks.shown(model)}{_hint(model)}"
        )
    if not all(np.isfinite(array).all() for array in (*net.weights, *net.biases)):
        raise ValueError("a net to be exported must have finite parameters")
    return net


def _hint(model: Any) -> str:
    """Where the net is in a model that has one inside."""
    if hasattr(model, "best_estimator_"):
        return ": export its best_estimator_"
    if hasattr(model, "steps"):
        return (
            ": export its last step, model[-1], and let the program that runs the net do what the "
            "other steps do; or convert all of it by skl2onnx"
        )
    if hasattr(model, "hidden_layer_sizes"):
        return ", which is not fitted"
    return ""


def _of_estimator(model: Any) -> Net:
    hidden = model.activation
    if isinstance(hidden, str):
        hidden = [hidden] * (len(model.coefs_) - 1)
    names = _names([*hidden, model.out_activation_])
    classes = getattr(model, "classes_", None)
    if classes is not None and len(classes) == 1:  # of which scikit-learn tells two probabilities
        classes = np.repeat(classes, 2)
    if classes is None:
        answer = "outputs"
    else:
        several = names[-1] == "sigmoid" and len(model.intercepts_[-1]) > 1
        answer = "labels" if several else "class"
    return Net(list(model.coefs_), list(model.intercepts_), names, answer, classes)


def _names(activations: Iterable[Any]) -> list[str]:
    """The trainer's names of activations; scikit-learn has another for one."""
    names = []
    for activation in activations:
        if not isinstance(activation, str):
            raise ValueError(
                "a net to be exported must have activations with a name, not of the user's own; "
                f"got {checks.shown(activation)}"
            )
        names.append("sigmoid" if activation == "logistic" else activation)
    return names
