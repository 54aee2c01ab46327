"""Samples of a fleet: the same for all members, or each member's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jitprop import cast
from jitprop._types import Array
from jitprop.spec import Spec


@dataclass(frozen=True)
class Part:
    """X, y or weights: of all members together, or, one after the other, of each."""

    array: Array
    own: bool

    def of(self, member: int) -> Array:
        """What one member sees."""
        part: Array = self.array[member] if self.own else self.array
        return part

    @property
    def step(self) -> int:
        """Numbers from one member's to the next one's; 0 if all see the same."""
        return self.array[0].size if self.own else 0


@dataclass(frozen=True)
class Data:
    """
    Inputs, targets and weights, checked and cast.

    Attributes
    ----------
    X : Part of (n, n_inputs)
    y : Part of (n, n_targets), or of (n,) labels
    weights : Part of (n,), or None
    """

    X: Part
    y: Part
    weights: Part | None

    @property
    def n_samples(self) -> int:
        """Samples of one member."""
        return int(self.X.array.shape[-2])

    def of(self, member: int) -> tuple[Array, Array, Array | None]:
        """What one member sees."""
        weights = None if self.weights is None else self.weights.of(member)
        return self.X.of(member), self.y.of(member), weights

    def divisors(self, spec: Spec, members: Any) -> Any:
        """What each member's summed loss is divided by, as ``reduction`` says."""
        if self.weights is None or not self.weights.own:
            shared = None if self.weights is None else self.weights.array
            return spec.divisor(self.n_samples, shared)
        return np.array([spec.divisor(self.n_samples, self.weights.of(i)) for i in members])


def inputs(X: Any, n_inputs: int, n_members: int, dtype: np.dtype[Any] | None) -> Part:
    """X as (n, n_inputs), or as (members, n, n_inputs)."""
    array = cast.real("X", X)
    if array.ndim != 3:
        return Part(cast.inputs(array, n_inputs, dtype)[:], own=False)
    _check_members("X", array.shape, n_members)
    flat = cast.inputs(array.reshape(-1, array.shape[2]), n_inputs, dtype)[:]
    return Part(flat.reshape(n_members, -1, n_inputs), own=True)


def samples(
    X: Any, y: Any, sample_weight: Any, spec: Spec, n_members: int, dtype: np.dtype[Any] | None
) -> Data:
    """
    Check and cast; an array with one dimension more than a `Trainer` takes is one for each member.

    (members, n) is that too, for labels and for single outputs, where n is not 1 or the members
    are not as many as the samples.
    """
    x = inputs(X, spec.layer_sizes[0], n_members, dtype)
    n, kind = x.array.shape[-2], x.array.dtype
    array = cast.real("y", y)
    flat_is_enough = spec.loss.name == "cross_entropy" or spec.n_targets == 1
    rows = (n, spec.n_targets)
    own = array.ndim == 3 or (
        array.ndim == 2
        and flat_is_enough
        and array.shape not in (rows, (n, 1))
        and array.shape == (n_members, n)
    )
    if own:
        _check_members("y", array.shape, n_members)
        if array.shape[1] != n:
            raise ValueError(
                f"y must have {n} samples for each of the {n_members} members, as X has; "
                f"got shape {array.shape}"
            )
        flat = cast.targets(
            array.reshape(n_members * n, *array.shape[2:]),
            n_members * n,
            spec.n_targets,
            spec.loss,
            kind,
        )[:]
        targets = Part(flat.reshape(n_members, n, *flat.shape[1:]), own=True)
    else:
        targets = Part(cast.targets(array, n, spec.n_targets, spec.loss, kind)[:], own=False)
    weights = _weights(sample_weight, n, n_members, kind)
    return Data(x, targets, _with_class_weights(weights, targets, spec, n_members))


def _with_class_weights(weights: Part | None, y: Part, spec: Spec, n_members: int) -> Part | None:
    """The samples' weights times those of their classes, where the loss has any."""
    if spec.loss.sample_weights(y.of(0)) is None:
        return weights
    own = y.own or (weights is not None and weights.own)
    made = [
        cast.with_class_weights(None if weights is None else weights.of(i), y.of(i), spec.loss)
        for i in range(n_members if own else 1)
    ]
    return Part(np.stack(made) if own else made[0], own)  # type: ignore[arg-type]


def _weights(value: Any, n: int, n_members: int, dtype: np.dtype[Any]) -> Part | None:
    if value is None:
        return None
    array = cast.real("sample_weight", value)
    if array.ndim != 2:
        checked = cast.weights(array, n, dtype)
        return None if checked is None else Part(checked, own=False)
    _check_members("sample_weight", array.shape, n_members)
    if array.shape[1] != n:
        raise ValueError(
            f"sample_weight must have shape ({n},) or ({n_members}, {n}), one weight for each row "
            f"of X; got shape {array.shape}"
        )
    made = np.empty(array.shape, dtype)
    for i, row in enumerate(array):
        try:
            made[i] = cast.weights(row, n, dtype)
        except ValueError as error:
            raise ValueError(f"{error} (of member {i})") from None
    return Part(made, own=True)


def _check_members(name: str, shape: tuple[int, ...], n_members: int) -> None:
    if shape[0] != n_members:
        raise ValueError(
            f"{name} of {len(shape)} dimensions has one entry for each of the {n_members} members; "
            f"got shape {shape}"
        )
