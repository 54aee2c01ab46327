"""All that training changes, in one place: what a checkpoint must hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop.net.schedules import Plateau

if TYPE_CHECKING:
    from jitprop.training.kept import Kept


def writable(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """
    Return the array, or a copy if NumPy calls it read-only.

    joblib hands its workers large arrays as read-only maps of a file, those inside an object too;
    pickles with buffers out of band, and Ray's object store, give read-only arrays as well.
    """
    return array if array.flags.writeable else np.array(array)


def check_written(**arrays: npt.NDArray[Any]) -> None:
    """
    Refuse read-only arrays where a backend would write to them.

    Kernels get pointers, which know nothing of NumPy's flag.
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
    Check the arrays that a backend is to train with: one dtype, and what changes is writable.

    Raises
    ------
    ValueError, TypeError
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
    Copy parameters in another dtype.

    Raises
    ------
    ValueError
        For numbers that this dtype does not hold.
    """
    with np.errstate(over="ignore"):
        made = params.astype(dtype)
    if all_finite(params) and not all_finite(made):
        raise ValueError(
            f"the net's parameters must be numbers that {dtype} can hold, which X would make its "
            "dtype; some are beyond it. Take X in float64, or dtype='float64'"
        )
    return made


class Snapshot(NamedTuple):
    """A copy of a `State`, the generator by its own state."""

    params: npt.NDArray[Any]
    slots: npt.NDArray[Any]
    random: Mapping[str, Any]
    epochs: int
    updates: int
    plateau: Plateau

    def state(self, other: State) -> State:
        """A state as it was then; what never changes is that of ``other``."""
        rng = np.random.Generator(type(other.rng.bit_generator)(0))
        rng.bit_generator.state = self.random
        return replace(
            other,
            params=self.params,
            slots=self.slots,
            rng=rng,
            epochs=self.epochs,
            updates=self.updates,
            plateau=self.plateau,
        )


class Whole(NamedTuple):
    """What a fit publishes: all that it had at the end of an epoch."""

    snapshot: Snapshot
    done: int
    """Epochs of this fit."""
    kept: Sequence[Kept]
    """What its callbacks kept."""


def all_finite(*arrays: npt.NDArray[Any]) -> bool:
    """Whether no inf and no nan is in these arrays."""
    # The sum of finite numbers is finite, nearly always; it needs no second array.
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
        What the optimizer keeps of each parameter.
    rng : numpy.random.Generator
        Of the shuffles.
    dropout_key : int
        Of the units that dropout drops: 63 bits, never changed.
    split : int
        The seed of every `Trainer.fit`'s split into training and validation samples.
    epochs, updates : int
        Done so far.
    plateau : tuple
        Of the schedule `ReduceOnPlateau`.
    """

    params: npt.NDArray[Any]
    slots: npt.NDArray[Any]
    rng: np.random.Generator
    dropout_key: int
    split: int
    epochs: int = 0
    updates: int = 0
    plateau: Plateau = ()

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        arrays = {name: writable(state[name]) for name in ("params", "slots")}
        self.__dict__.update({**state, **arrays})

    def is_finite(self) -> bool:
        """Whether no inf and no nan is in the parameters and in what the optimizer keeps."""
        return all_finite(self.params, self.slots)

    def snapshot(self) -> Snapshot:
        """What `restore` needs to come back here."""
        random = self.rng.bit_generator.state
        params, slots = self.params.copy(), self.slots.copy()
        return Snapshot(params, slots, random, self.epochs, self.updates, self.plateau)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back, in place: views of the parameters stay views."""
        self.params[:] = snapshot.params
        self.slots[:] = snapshot.slots
        self.rng.bit_generator.state = snapshot.random
        self.epochs, self.updates = snapshot.epochs, snapshot.updates
        self.plateau = snapshot.plateau

    def cast(self, dtype: np.dtype[Any]) -> State:
        """In this dtype, with arrays that can be written to: itself if all is so already."""
        arrays = self.params, self.slots
        if self.params.dtype == dtype and all(array.flags.writeable for array in arrays):
            return self
        params = cast_params(self.params, dtype)
        return replace(self, params=params, slots=self.slots.astype(dtype))
