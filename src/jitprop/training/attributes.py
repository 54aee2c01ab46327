"""
What can be read from a net, and set on it.

A setting that is written where nothing reads it does nothing, and says nothing: so settings are
read-only, and a name that a net does not have is refused. Subclasses may have attributes of their
own.
"""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np

from jitprop._types import Array
from jitprop.net.custom import CustomActivation
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
"""Properties that are no settings, and what to do instead of setting them."""


class Views(tuple[Array, ...]):
    """Views of a net's parameters. Another array in the place of one would not change the net."""

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        if value is not self[key]:  # as it is after ``weights[0] += 1``, which has written to it
            raise TypeError(
                "a new array in the place of a view does not change the net"
                + IN_PLACE.format(name="weights", index="[0]")
            )


class Attributes:
    """The attributes that a `Trainer` and a `Fleet` have in common."""

    _model: BaseModel

    def __setattr__(self, name: str, value: Any) -> None:
        if name[0] == "_":
            object.__setattr__(self, name, value)
            return
        there = getattr(type(self), name, None)
        if isinstance(there, property) and there.fset is None:
            if name == "parameters" and value is self._model.state.params:
                return  # as it is after ``parameters += 1``, which has written to it
            instead = RESULTS.get(name, f": make a new one, with another {name}")
            raise AttributeError(f"{name} of a {type(self).__name__} is read-only{instead}")
        own = type(self).__module__.startswith("jitprop.")
        if own and there is None:
            known = [known for known in dir(self) if not known.startswith("_")]
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise AttributeError(
                f"a {type(self).__name__} has no attribute {name!r}: {hint}Attributes of your own "
                "belong to a subclass"
            )
        super().__setattr__(name, value)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Units of each layer, inputs first."""
        return self._model.spec.layer_sizes

    @property
    def activation(self) -> tuple[str | CustomActivation, ...]:
        """The activation of each hidden layer."""
        return self._model.spec.activations[:-1]

    @property
    def output_activation(self) -> str | CustomActivation:
        """The activation of the output layer."""
        return self._model.spec.activations[-1]

    @property
    def loss(self) -> Loss:
        """The loss, as an object."""
        return self._model.spec.loss

    @property
    def reduction(self) -> str:
        """How the samples of a batch combine: "mean" or "sum"."""
        return self._model.spec.reduction

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer, as an object."""
        return self._model.spec.optimizer

    @property
    def clip_norm(self) -> float | None:
        """The largest norm that a batch's gradient may have; None where it is not clipped."""
        return self._model.spec.clip_norm

    @property
    def batch_size(self) -> int | None:
        """Samples of a batch; None for all."""
        return self._model.spec.batch_size

    @property
    def shuffle(self) -> bool:
        """Whether samples are presented in a new random order each epoch."""
        return self._model.shuffle

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype of parameters and computation; None until the first fit settles it."""
        return self._model.dtype

    @property
    def backend(self) -> str:
        """The backend as it was asked for: "auto", "numba" or "numpy"."""
        return self._model.backend

    @property
    def n_threads(self) -> int | None:
        """The most threads that train; None for as many as there is work for."""
        return self._model.n_threads

    @property
    def init(self) -> str | None:
        """How the parameters were drawn; None where they were given, or read from a file."""
        return self._model.init

    @property
    def feature_names_in_(self) -> Any:
        """
        Names of the columns that the first fit with a data frame had: (n_inputs,) array of str.

        There is no such attribute before. Later frames must have the same names, in this order.
        """
        if self._model.names is None:
            raise AttributeError("feature_names_in_ is there after a fit with a data frame")
        return np.array(self._model.names, object)
