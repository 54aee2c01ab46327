"""Samples of a fleet, which all members share, or of which each member has its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop._types import Array
from jitprop.data import cast
from jitprop.data.mapped import Rows
from jitprop.data.samples import stand_ins
from jitprop.net.spec import Spec


@dataclass(frozen=True)
class Part:
    """
    X, y or weights.

    Attributes
    ----------
    array : array
        Its first dimension is the members if each has its own samples.
    per_member : bool
        Whether each member has its own samples.
    """

    array: Array
    per_member: bool

    def of(self, member: int) -> Array:
        """Return the array of one member."""
        part: Array = self.array[member] if self.per_member else self.array
        return part

    @property
    def step(self) -> int:
        """The distance in numbers from one member's array to the next one's; 0 if shared."""
        return self.array[0].size if self.per_member else 0


@dataclass(frozen=True)
class Data:
    """
    Inputs, targets and weights, checked and cast.

    Attributes
    ----------
    X : Part
        (n, n_inputs) for each member.
    y : Part
        (n, n_targets), or (n,) labels, for each member.
    weights : Part or None
        (n,) for each member.
    """

    X: Part
    y: Part
    weights: Part | None

    @property
    def n_samples(self) -> int:
        """The number of samples of one member."""
        return int(self.X.array.shape[-2])

    @cached_property
    def stand_ins(self) -> npt.NDArray[np.int64]:
        """
        A sample whose weight is not 0, of each member: (K,), or (1,) if all share the weights.

        See `jitprop.data.samples.stand_ins`.
        """
        if self.weights is None:
            return np.array([-1])
        return np.atleast_1d(stand_ins(self.weights.array))

    def of(self, member: int) -> tuple[Array, Array, Array | None]:
        """Return X, y and the weights of one member."""
        weights = None if self.weights is None else self.weights.of(member)
        return self.X.of(member), self.y.of(member), weights

    def take(self, members: Any, rows: Any) -> Data:
        """Return some rows, (A, b), of A members, which become members 0 to A - 1."""

        def taken(part: Part) -> Part:
            return Part(np.stack([part.of(i)[r] for i, r in zip(members, rows, strict=True)]), True)

        weights = None if self.weights is None else taken(self.weights)
        return Data(taken(self.X), taken(self.y), weights)

    def unshared(self, array: Array) -> Data:
        """Return this data, with copies of arrays that share memory with ``array``."""

        def unshared_part(part: Part) -> Part:
            shared = np.may_share_memory(part.array, array)
            return Part(part.array.copy(), part.per_member) if shared else part

        weights = None if self.weights is None else unshared_part(self.weights)
        return Data(unshared_part(self.X), unshared_part(self.y), weights)

    def divisors(self, spec: Spec, members: Any) -> Any:
        """Return the number by which ``reduction`` divides each member's summed loss."""
        if self.weights is None or not self.weights.per_member:
            shared = None if self.weights is None else self.weights.array
            return spec.divisor(self.n_samples, shared)
        return np.array([spec.divisor(self.n_samples, self.weights.of(i)) for i in members])


def inputs(X: Any, n_inputs: int, n_members: int, dtype: np.dtype[Any] | None) -> Part:
    """
    Check and cast X, (n, n_inputs) for all members, or (K, n, n_inputs).

    Raises
    ------
    TypeError, ValueError
    """
    array = cast.real("X", X)
    per_member = array.ndim == 3 and array.shape[::2] == (n_members, n_inputs) and array.size > 0
    if array.ndim != 2 and not per_member:
        raise ValueError(
            f"X must have shape (n_samples, {n_inputs}), or, with one for each of the {n_members} "
            f"members, ({n_members}, n_samples, {n_inputs}), and at least one sample: layer_sizes "
            f"begins with {n_inputs}; got shape {array.shape}{cast.way_to_2d('X', array)}"
        )
    return _part(array, per_member, lambda rows: cast.inputs(rows, n_inputs, dtype))


def samples(
    X: Any, y: Any, sample_weight: Any, spec: Spec, n_members: int, dtype: np.dtype[Any] | None
) -> Data:
    """
    Check and cast the arguments of `Fleet.fit`.

    An array with one dimension more than a `Trainer` takes holds an array for each member. For
    labels and single outputs that is (K, n), unless (K, n) is also the shape of one row for each
    sample.

    Raises
    ------
    TypeError, ValueError
    """
    x = inputs(X, spec.layer_sizes[0], n_members, dtype)
    n, kind = x.array.shape[-2], x.array.dtype
    targets = _targets(y, n, spec, n_members, kind)
    weights = _weights(sample_weight, n, n_members, kind)
    return Data(x, targets, _with_class_weights(weights, targets, spec, n_members))


def _targets(y: Any, n: int, spec: Spec, n_members: int, dtype: np.dtype[Any]) -> Part:
    array = cast.real("y", y)
    shared: list[tuple[int, ...]] = [(n, spec.n_targets)]
    if spec.loss.name == "cross_entropy":
        shared += [(n,), (n, 1)]
    elif spec.n_targets == 1:
        shared += [(n,)]
    per_member = [(n_members, *shape) for shape in shared]
    if array.shape not in shared and array.shape not in per_member:
        raise ValueError(
            f"y must have shape {_either(shared)}, or, with one for each of the {n_members} "
            f"members, {_either(per_member)}: X has {n} samples, and layer_sizes and loss make "
            f"n_targets {spec.n_targets}; got shape {array.shape}"
        )
    return _part(
        array,
        array.shape not in shared,
        lambda rows: cast.targets(rows, len(rows), spec.n_targets, spec.loss, dtype),
    )


def _weights(value: Any, n: int, n_members: int, dtype: np.dtype[Any]) -> Part | None:
    if value is None:
        return None
    array = cast.real("sample_weight", value)
    if array.shape not in ((n,), (n_members, n)):
        raise ValueError(
            f"sample_weight must have shape ({n},), or, with one row for each of the {n_members} "
            f"members, ({n_members}, {n}): X has {n} samples; got shape {array.shape}"
        )
    if array.ndim == 1:
        checked = cast.weights(array, n, dtype)
        return None if checked is None else Part(checked, per_member=False)
    with np.errstate(over="ignore", invalid="ignore"):
        made = np.ascontiguousarray(array, dtype)
        totals = made.sum(axis=1, dtype=np.float64)
    good = (totals >= np.finfo(np.float64).tiny) & (totals < np.inf)
    bad = ~((made >= 0).all(axis=1) & good)
    for i in np.flatnonzero(bad)[:1]:
        with _of(i):
            cast.weights(array[i], n, dtype)
    return Part(made, per_member=True)


def _with_class_weights(weights: Part | None, y: Part, spec: Spec, n_members: int) -> Part | None:
    """Multiply the samples' weights by those of their classes, if the loss has class weights."""
    if spec.loss.sample_weights(y.of(0)) is None:
        return weights
    per_member, made = y.per_member or (weights is not None and weights.per_member), []
    for i in range(n_members if per_member else 1):
        of_member = None if weights is None else weights.of(i)
        with _of(i) if per_member else nullcontext():
            made.append(cast.with_class_weights(of_member, y.of(i), spec.loss))
    return Part(np.stack(made) if per_member else made[0], per_member)  # type: ignore[arg-type]


def _part(array: Array, per_member: bool, check: Callable[[Array], Rows]) -> Part:
    """Check and cast an array, all members at once: it is faster than one after the other."""
    if not per_member:
        return Part(check(array)[:], per_member=False)
    try:
        flat = check(array.reshape(-1, *array.shape[2:]))[:]
    except ValueError:
        for i, rows in enumerate(array):
            with _of(i):
                check(rows)
        raise
    return Part(flat.reshape(len(array), -1, *flat.shape[1:]), per_member=True)


@contextmanager
def _of(member: int) -> Iterator[None]:
    """Add the member's number to an error about its data."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{error} (of member {member})") from None


def _either(shapes: list[tuple[int, ...]]) -> str:
    return " or ".join(map(str, dict.fromkeys(shapes)))
