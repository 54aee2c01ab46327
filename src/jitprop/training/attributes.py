"""
The attributes of a net: which can be read, and which can be set.

Without these checks, setting an attribute that nothing reads would silently have no effect. So
settings are read-only, and names that a net does not have are refused. Subclasses may have
attributes of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitprop._types import Array
from jitprop.net.activations import Activation
from jitprop.net.losses import Loss
from jitprop.net.optimizers import Optimizer
from jitprop.training.model import BaseModel

IN_PLACE = ": write {name}{index}[:] = ..., or call set_parameters"

RESULTS = {
    "parameters": IN_PLACE.format(name="parameters", index=""),
    "weights": IN_PLACE.format(name="weights", index="[0]"),
    "biases": IN_PLACE.format(name="biases", index="[0]"),
    "epochs_trained": "",
    "history": "",
    "feature_names_in_": "",
}
"""Properties that are no settings. The text says what to do instead of setting them."""


class Views(tuple[Array, ...]):
    """Views of a net's parameters. Replacing a view by another array would not change the net."""

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        if value is not self[key]:  # it is the same after ``weights[0] += 1``, which wrote to it
            raise TypeError(
                "a new array in the place of a view does not change the net"
                + IN_PLACE.format(name="weights", index="[0]")
            )


class Attributes:
    """The attributes that `Trainer` and `Fleet` have in common."""

    _model: BaseModel

    def __setattr__(self, name: str, value: Any) -> None:
        if name[0] == "_":
            object.__setattr__(self, name, value)
            return
        there = getattr(type(self), name, None)
        if isinstance(there, property) and there.fset is None:
            if name == "parameters" and value is self._model.state.params:
                return  # it is the same after ``parameters += 1``, which wrote to it
            instead = RESULTS.get(name, f": make a new one, with another {name}")
            raise AttributeError(f"{name} of a {type(self).__name__} is read-only{instead}")
        own = type(self).__module__.startswith("jitprop.")
        if own and there is None:
            known = [known for known in dir(self) if not known.startswith("_")]
            from difflib import get_close_matches

            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise AttributeError(
                f"a {type(self).__name__} has no attribute {name!r}: {hint}Attributes of your own "
                "belong to a subclass"
            )
        super().__setattr__(name, value)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """The number of units of each layer, from the inputs to the outputs."""
        return self._model.spec.layer_sizes

    @property
    def activation(self) -> tuple[Activation, ...]:
        """The activation of each hidden layer."""
        return self._model.spec.activations[:-1]

    @property
    def output_activation(self) -> Activation:
        """The activation of the output layer."""
        return self._model.spec.activations[-1]

    @property
    def loss(self) -> Loss:
        """The loss, as an object."""
        return self._model.spec.loss

    @property
    def reduction(self) -> str:
        """Whether the loss of a batch is the "mean" or the "sum" over its samples."""
        return self._model.spec.reduction

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer, as an object."""
        return self._model.spec.optimizer

    @property
    def l2(self) -> float:
        """
        scikit-learn's ``alpha``: the gradient of a batch of n samples has the term l2 W / n.

        It is 0 unless `jitprop.convert.from_sklearn` made the net. With weights of the samples, n
        is their sum.
        """
        return self._model.spec.l2

    @property
    def decay_biases(self) -> bool:
        """Whether the weight decay acts on biases, too."""
        return self._model.spec.decay_biases

    @property
    def clip_norm(self) -> float | None:
        """The largest norm of a batch's gradient. None if gradients are not clipped."""
        return self._model.spec.clip_norm

    @property
    def learning_rate_factors(self) -> tuple[tuple[float, float], ...] | None:
        """For each layer, the factors of the learning rate for weights and biases; or None."""
        return self._model.spec.learning_rate_factors

    @property
    def input_scale_rate(self) -> float | None:
        """The factor of the learning rate for the scales of the inputs; None if there are none."""
        return self._model.spec.input_scale_rate

    @property
    def batch_size(self) -> int | None:
        """The number of samples of a batch. None is all samples."""
        return self._model.spec.batch_size

    @property
    def shuffle(self) -> bool:
        """Whether each epoch presents the samples in a new random order."""
        return self._model.shuffle

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype of parameters and computation. None until the first fit decides it."""
        return self._model.dtype

    @property
    def backend(self) -> str:
        """The argument ``backend``: "auto", "numba" or "numpy"."""
        return self._model.backend

    @property
    def n_threads(self) -> int | None:
        """The largest number of threads. None uses as many as there is work for."""
        return self._model.n_threads

    @property
    def init(self) -> str | None:
        """The name of the method that drew the parameters. None if they were given or loaded."""
        return self._model.init

    @property
    def feature_names_in_(self) -> Any:
        """
        The names of the columns in the first fit with a data frame: (n_inputs,) array of str.

        Before such a fit the attribute does not exist. Later data frames must have the same names
        in the same order.
        """
        if self._model.names is None:
            raise AttributeError("feature_names_in_ is there after a fit with a data frame")
        return np.array(self._model.names, object)
