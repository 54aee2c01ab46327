"""A net that was read from another library, before it becomes a trainer or a member of a fleet."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from jitprop import checks
from jitprop._types import Array
from jitprop.data import cast
from jitprop.fleet import Fleet
from jitprop.net.activations import Activation
from jitprop.net.losses import Loss
from jitprop.net.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop, Rprop
from jitprop.net.spec import Spec, with_l2
from jitprop.trainer import Trainer
from jitprop.training.model import BaseModel

Slot = tuple[Sequence[Array], Sequence[Array]]
"""One number for each parameter, in the arrays of the weights and in those of the biases."""


@dataclass(frozen=True)
class Converted:
    """
    A net of another library, with what is known of its training.

    All settings are in the other library's own numbers. `trainer` turns them into jitprop's.

    Attributes
    ----------
    source : str
        What was read, such as "PyTorch's module", for error messages.
    weights : sequence of (n_in, n_out) arrays
    biases : sequence of (n_out,) arrays
    activations : sequence
        One for each layer, output layer last: names of `Trainer`, or objects that it takes.
    dtype : dtype
        float32 or float64.
    loss : str, Loss or None
        None if the source does not know it: then the default, or "cross_entropy" for softmax.
    loss_factor : float
        The source's loss divided by ``loss``, above 0. It is 1/k for a mean over k outputs, where
        jitprop has the sum.
    reduction : {"mean", "sum"}
    optimizer : Optimizer or None
        None if the source does not know it.
    learning_rate : float or None
        None is the optimizer's default.
    weight_decay : float
    decay_biases : bool
    l2 : float
        scikit-learn's ``alpha``: the gradient of a batch of n samples has the term l2 W / n.
    clip_norm : float or None
    learning_rate_factors : sequence or None
        As for `Trainer`.
    dropout : sequence of float
        One for each hidden layer, or empty for none.
    batch_size : int or None
    shuffle : bool
    slots : sequence of (weights, biases)
        What the optimizer keeps for each parameter, in the order of jitprop's slots:

        - `SGD` with momentum: the velocity;
        - `Adam` and `AdamW`: the mean of the gradient, then that of its square, both uncorrected;
        - `RMSprop`: the mean of the square, then with momentum the last step;
        - empty if there is no state.
    updates : int
        How many were done. `Adam` corrects its means by this number. A trainer counts epochs from
        its beginning, and updates from the net's.
    feature_names : tuple of str or None
        The names of the inputs, if the net was trained on a data frame.
    others : mapping
        More arguments of `Trainer`, which are used in place of those above.
    """

    source: str
    weights: Sequence[Array]
    biases: Sequence[Array]
    activations: Sequence[Activation]
    dtype: np.dtype[Any]
    loss: str | Loss | None = None
    loss_factor: float = 1.0
    reduction: str = "mean"
    optimizer: Optimizer | None = None
    learning_rate: float | None = None
    weight_decay: float = 0.0
    decay_biases: bool = False
    l2: float = 0.0
    clip_norm: float | None = None
    learning_rate_factors: Sequence[Any] | None = None
    dropout: Sequence[float] = ()
    batch_size: int | None = None
    shuffle: bool = True
    slots: Sequence[Slot] = ()
    updates: int = 0
    feature_names: tuple[str, ...] | None = None
    others: Mapping[str, Any] = field(default_factory=dict)

    @property
    def layer_sizes(self) -> list[int]:
        """The number of units of each layer, from the inputs to the outputs."""
        return [len(self.weights[0]), *(len(b) for b in self.biases)]

    def trainer(self) -> Trainer:
        """
        Return a trainer with these parameters and settings, and with this state of the optimizer.

        Raises
        ------
        TypeError, ValueError
            For settings that `Trainer` refuses.
        """
        of = self._in_own_numbers()
        made = Trainer(**of._arguments(), **of._own_arguments())
        model = made._model
        of._set(model)
        of._fill(model.spec, model.state.slots)
        model.state.updates = of.updates
        return made

    def _in_own_numbers(self) -> Self:
        """
        Return settings and state that belong to jitprop's loss, with which updates are the same.

        The gradients of jitprop's loss are those of the source's loss divided by ``loss_factor``.
        """
        s = self.loss_factor
        if s == 1.0:
            return self
        optimizer, rate = self.optimizer, self.learning_rate
        divisors = [1.0]  # of each slot
        if optimizer is None or isinstance(optimizer, SGD):
            if not isinstance(rate, numbers.Real | None):
                raise ValueError(
                    f"{self.source} has a loss that is {s:g} times jitprop's, so learning_rate "
                    f"must be a number, which is converted too; got {checks.shown(rate)}"
                )
            rate = None if rate is None else rate * s
            divisors = [1.0 if optimizer is None or optimizer.rate_in_velocity else s]
        elif isinstance(optimizer, Adam):
            divisors = [s, s * s]
            optimizer = replace(optimizer, epsilon=optimizer.epsilon / s)
        elif isinstance(optimizer, RMSprop):
            divisor = s * s if optimizer.epsilon_in_root else s
            optimizer = replace(optimizer, epsilon=optimizer.epsilon / divisor)
            divisors = [s * s, 1.0]
        elif isinstance(optimizer, Rprop):  # it looks at signs alone
            divisors = [1.0, 1.0]
        else:
            raise ValueError(
                f"{self.source} has a loss that is {s:g} times jitprop's: that cannot be converted "
                f"with the optimizer {type(optimizer).__name__}"
            )
        if optimizer is not None and rate is None:
            raise ValueError(f"{self.source} must have a learning rate; it has none")
        decoupled = isinstance(optimizer, AdamW)
        return replace(
            self,
            loss_factor=1.0,
            optimizer=optimizer,
            learning_rate=rate,
            weight_decay=self.weight_decay if decoupled else self.weight_decay / s,
            l2=self.l2 / s,
            clip_norm=None if self.clip_norm is None else self.clip_norm / s,
            slots=[
                ([W / divisor for W in weights], [b / divisor for b in biases])
                for (weights, biases), divisor in zip(self.slots, divisors, strict=False)
            ],
        )

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments of `Trainer` that `Fleet` takes too, one value for all members."""
        *hidden, output = self.activations
        loss = "cross_entropy" if self.loss is None and output == "softmax" else self.loss
        known = {
            "loss": loss,
            "optimizer": self.optimizer,
            "dropout": list(self.dropout) or None,
            "decay_biases": self.decay_biases or None,
        }
        return {
            "layer_sizes": self.layer_sizes,
            "activation": hidden,
            "output_activation": output,
            "reduction": self.reduction,
            "clip_norm": self.clip_norm,
            "learning_rate_factors": self.learning_rate_factors,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "dtype": self.dtype,
            "init": (self.weights, self.biases),
            **{name: value for name, value in known.items() if value is not None},
            **self.others,
        }

    def _own_arguments(self) -> dict[str, Any]:
        """Return those that each member of a fleet has of its own."""
        return {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}

    def _set(self, model: BaseModel) -> None:
        """Set what is no argument of `Trainer` and `Fleet`."""
        if self.l2:
            model.spec = with_l2(model.spec, self.l2)
        model.names = self.feature_names

    def _fill(self, spec: Spec, slots: Array) -> None:
        """Write the state of the optimizer into the slots, (n_slots, P)."""
        if not self.slots:
            return
        if len(self.slots) != len(slots):
            raise ValueError(
                f"{self.source} keeps {len(self.slots)} numbers for each parameter; "
                f"{type(spec.optimizer).__name__} has {len(slots)}"
            )
        for slot, (weights, biases) in zip(slots, self.slots, strict=True):
            made = cast.parameters(weights, biases, spec.shapes, slot.dtype)
            for views, arrays in zip(spec.split(slot), made, strict=True):
                for view, array in zip(views, arrays, strict=True):
                    view[:] = array


SHARED = (
    "layer_sizes",
    "activations",
    "dtype",
    "loss",
    "reduction",
    "optimizer",
    "decay_biases",
    "l2",
    "feature_names",
    "clip_norm",
    "learning_rate_factors",
    "dropout",
    "batch_size",
    "shuffle",
)
"""What all members of a fleet must have in common."""


def fleet_of(nets: Iterable[Converted]) -> Fleet:
    """
    Return a fleet of these nets, each with its own parameters, rate, decay and optimizer's state.

    Raises
    ------
    ValueError
        For no nets, and for nets that differ in anything else.
    """
    all_nets = [net._in_own_numbers() for net in nets]
    if not all_nets:
        raise ValueError("a fleet must have at least 1 net; got an empty list")
    first = all_nets[0]
    for i, other in enumerate(all_nets):
        for name in SHARED:
            here, there = getattr(first, name), getattr(other, name)
            if here != there:
                raise ValueError(
                    f"the nets of a fleet must have the same {name}: net 0 has "
                    f"{checks.shown(here)}, net {i} {checks.shown(there)}"
                )
    rates: Any = [net.learning_rate for net in all_nets]
    one_for_all = None in rates or not isinstance(rates[0], numbers.Real)
    arguments = first._arguments()
    arguments["init"] = tuple(
        [np.stack(members) for members in zip(*arrays, strict=True)]
        for arrays in ([net.weights for net in all_nets], [net.biases for net in all_nets])
    )
    if "dropout" in arguments:
        arguments["dropout"] = [arguments["dropout"]]
    made = Fleet(
        members=len(all_nets),
        learning_rate=rates[0] if one_for_all else rates,
        weight_decay=[net.weight_decay for net in all_nets],
        **arguments,
    )
    model = made._model
    first._set(model)
    for i, net in enumerate(all_nets):
        net._fill(model.spec, model.state.slots[i])
        model.state.updates[i] = net.updates
    return made


def one_or_fleet(given: Any, convert: Any) -> Trainer | Fleet:
    """
    Return the trainer of a converted net; of a list of nets their fleet.

    ``convert`` makes a `Converted` of one of them.
    """
    if isinstance(given, list | tuple):
        return fleet_of(convert(each) for each in given)
    net: Converted = convert(given)
    return net.trainer()


def dtype_of(source: str, arrays: Iterable[npt.NDArray[Any]]) -> np.dtype[Any]:
    """
    Return the dtype that all of the parameters have.

    Raises
    ------
    ValueError
        If that is neither float32 nor float64.
    """
    found = {array.dtype for array in arrays}
    if len(found) != 1 or not found <= {np.dtype(np.float32), np.dtype(np.float64)}:
        names = ", ".join(sorted(map(str, found)))
        raise ValueError(
            f"{source} must have parameters in float32, or all of them in float64; got {names}"
        )
    return found.pop()
