"""Everything that training changes, in one place: what a checkpoint must hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop.net.schedules import Plateau


def writable(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """
    Return the array itself, or a copy if it is read-only.

    joblib hands large arrays to its workers as read-only memory maps, arrays inside objects too.
    Pickles with out-of-band buffers and Ray's object store also give read-only arrays.
    """
    return array if array.flags.writeable else np.array(array)


def check_written(**arrays: npt.NDArray[Any]) -> None:
    """
    Refuse read-only arrays that a backend would write to.

    Kernels get pointers and would ignore NumPy's flag.

    Raises
    ------
    ValueError
        Naming the array.
    """
    for name, array in arrays.items():
        if not array.flags.writeable:
            raise ValueError(f"{name} must be writable; it is read-only")


def check_trained(
    params: npt.NDArray[Any],
    slots: npt.NDArray[Any],
    X: npt.NDArray[Any],
    y: npt.NDArray[Any],
    weights: npt.NDArray[Any] | None,
) -> None:
    """
    Check the arrays that a backend is about to train with.

    Raises
    ------
    ValueError
        If ``params`` or ``slots``, which training changes, are read-only.
    TypeError
        If the arrays do not all have one dtype.
    """
    check_written(params=params, slots=slots)
    arrays = {"params": params, "slots": slots, "X": X, "y": y}
    if weights is not None:
        arrays["weights"] = weights
    if any(array.dtype != params.dtype for array in arrays.values()):
        kinds = ", ".join(f"{name} {array.dtype}" for name, array in arrays.items())
        raise TypeError(f"all arrays must have one dtype; got {kinds}")


def cast_params(params: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """
    Copy parameters to another dtype.

    Raises
    ------
    ValueError
        For finite numbers that become infinite in this dtype.
    """
    with np.errstate(over="ignore"):
        made = params.astype(dtype)
    if all_finite(params) and not all_finite(made):
        raise ValueError(
            f"the net's parameters must fit into {dtype}, the dtype that X asks for; some are too "
            "large. Pass X in float64, or make the net with dtype='float64'"
        )
    return made


class Snapshot(NamedTuple):
    """A copy of a `State`, in which the generator is replaced by its own state."""

    params: npt.NDArray[Any]
    slots: npt.NDArray[Any]
    random: Mapping[str, Any]
    epochs: int
    updates: int
    plateau: Plateau

    def state(self, other: State) -> State:
        """Return the state that was copied; ``other`` gives the fields that never change."""
        rng = np.random.Generator(type(other.rng.bit_generator)(0))
        rng.bit_generator.state = self.random
        return replace(
            other,
            params=self.params,
            slots=self.slots,
            rng=rng,
            counts=np.array([self.epochs, self.updates]),
            plateau=self.plateau,
        )


def all_finite(*arrays: npt.NDArray[Any]) -> bool:
    """Whether these arrays hold no inf and no nan."""
    # The sum of finite numbers is nearly always finite, and computing it needs no second array.
    with np.errstate(over="ignore", invalid="ignore"):
        return all(bool(np.isfinite(a.sum()) or np.isfinite(a).all()) for a in arrays)


@dataclass
class State:
    """
    Parameters, optimizer state, random state and counters of one net.

    Attributes
    ----------
    params : (P,) array
    slots : (n_slots, P) array
        What the optimizer keeps for each parameter, such as its momentum.
    rng : numpy.random.Generator
        Shuffles the samples.
    dropout_key : int
        The 63-bit number from which dropout computes its masks. It never changes.
    split : int
        The seed with which each `Trainer.fit` splits off validation samples. It never changes.
    counts : (2,) int64 array
        How many epochs and updates were done so far. An array, so that a kernel can count in the
        same moment in which it changes the parameters.
    plateau : tuple, default ()
        The state of the schedule `ReduceOnPlateau`.
    """

    params: npt.NDArray[Any]
    slots: npt.NDArray[Any]
    rng: np.random.Generator
    dropout_key: int
    split: int
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))
    plateau: Plateau = ()

    @property
    def epochs(self) -> int:
        """How many epochs were done so far."""
        return int(self.counts[0])

    @epochs.setter
    def epochs(self, value: int) -> None:
        self.counts[0] = value

    @property
    def updates(self) -> int:
        """How many updates were done so far."""
        return int(self.counts[1])

    @updates.setter
    def updates(self, value: int) -> None:
        self.counts[1] = value

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        arrays = {name: writable(state[name]) for name in ("params", "slots", "counts")}
        self.__dict__.update({**state, **arrays})

    def is_finite(self) -> bool:
        """Whether the parameters and the optimizer's slots hold no inf and no nan."""
        return all_finite(self.params, self.slots)

    def snapshot(self) -> Snapshot:
        """A copy, from which `restore` can bring this state back."""
        random = self.rng.bit_generator.state
        params, slots = self.params.copy(), self.slots.copy()
        return Snapshot(params, slots, random, self.epochs, self.updates, self.plateau)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot. Arrays change in place, so views of the parameters stay valid."""
        self.params[:] = snapshot.params
        self.slots[:] = snapshot.slots
        self.rng.bit_generator.state = snapshot.random
        self.epochs, self.updates = snapshot.epochs, snapshot.updates
        self.plateau = snapshot.plateau

    def cast(self, dtype: np.dtype[Any]) -> State:
        """Return the state with writable arrays of this dtype; itself where nothing must change."""
        arrays = self.params, self.slots
        if self.params.dtype == dtype and all(array.flags.writeable for array in arrays):
            return self
        params = cast_params(self.params, dtype)
        slots = self.slots.astype(dtype)
        return replace(self, params=params, slots=slots, counts=self.counts.copy())
