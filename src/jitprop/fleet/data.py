"""Samples of a fleet: the same for all members, or each member's own."""

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

    @cached_property
    def stand_ins(self) -> npt.NDArray[np.int64]:
        """
        Of each member, or of all, a sample whose weight is not 0: see `samples.stand_ins`.

        (members,), or (1,) where the weights are those of all.
        """
        if self.weights is None:
            return np.array([-1])
        return np.atleast_1d(stand_ins(self.weights.array))

    def of(self, member: int) -> tuple[Array, Array, Array | None]:
        """What one member sees."""
        weights = None if self.weights is None else self.weights.of(member)
        return self.X.of(member), self.y.of(member), weights

    def part(self, members: Any, rows: Any) -> Data:
        """Some rows of some members, (A, b), which become members 0 to A - 1."""

        def taken(part: Part) -> Part:
            return Part(np.stack([part.of(i)[r] for i, r in zip(members, rows, strict=True)]), True)

        weights = None if self.weights is None else taken(self.weights)
        return Data(taken(self.X), taken(self.y), weights)

    def unshared(self, array: Array) -> Data:
        """Those of its arrays copied that share memory with another, which will change."""

        def own(part: Part) -> Part:
            shared = np.may_share_memory(part.array, array)
            return Part(part.array.copy(), part.own) if shared else part

        weights = None if self.weights is None else own(self.weights)
        return Data(own(self.X), own(self.y), weights)

    def divisors(self, spec: Spec, members: Any) -> Any:
        """What each member's summed loss is divided by, as ``reduction`` says."""
        if self.weights is None or not self.weights.own:
            shared = None if self.weights is None else self.weights.array
            return spec.divisor(self.n_samples, shared)
        return np.array([spec.divisor(self.n_samples, self.weights.of(i)) for i in members])


def inputs(X: Any, n_inputs: int, n_members: int, dtype: np.dtype[Any] | None) -> Part:
    """X as (n, n_inputs), or as (members, n, n_inputs)."""
    array = cast.real("X", X)
    of_each = array.ndim == 3 and array.shape[::2] == (n_members, n_inputs) and array.size > 0
    if array.ndim != 2 and not of_each:
        raise ValueError(
            f"X must have shape (n_samples, {n_inputs}), or, with one for each of the {n_members} "
            f"members, ({n_members}, n_samples, {n_inputs}), and at least one sample: layer_sizes "
            f"begins with {n_inputs}; got shape {array.shape}{cast.way_to_2d('X', array)}"
        )
    return _part(array, of_each, lambda rows: cast.inputs(rows, n_inputs, dtype))


def samples(
    X: Any, y: Any, sample_weight: Any, spec: Spec, n_members: int, dtype: np.dtype[Any] | None
) -> Data:
    """
    Check and cast; an array with one dimension more than a `Trainer` takes is one for each member.

    (members, n) is that too, for labels and for single outputs, where it is not also the shape of
    one row for each sample.
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
    of_each = [(n_members, *shape) for shape in shared]
    if array.shape not in shared and array.shape not in of_each:
        raise ValueError(
            f"y must have shape {_either(shared)}, or, with one for each of the {n_members} "
            f"members, {_either(of_each)}: X has {n} samples, and {spec.n_targets} are the "
            f"targets that go with layer_sizes and loss; got shape {array.shape}"
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
        return None if checked is None else Part(checked, own=False)
    with np.errstate(over="ignore", invalid="ignore"):
        made = np.ascontiguousarray(array, dtype)
        totals = made.sum(axis=1, dtype=np.float64)
    good = (totals >= np.finfo(np.float64).tiny) & (totals < np.inf)
    bad = ~((made >= 0).all(axis=1) & good)
    for i in np.flatnonzero(bad)[:1]:
        with _of(i):
            cast.weights(array[i], n, dtype)
    return Part(made, own=True)


def _with_class_weights(weights: Part | None, y: Part, spec: Spec, n_members: int) -> Part | None:
    """The samples' weights times those of their classes, where the loss has any."""
    if spec.loss.sample_weights(y.of(0)) is None:
        return weights
    own, made = y.own or (weights is not None and weights.own), []
    for i in range(n_members if own else 1):
        of_member = None if weights is None else weights.of(i)
        with _of(i) if own else nullcontext():
            made.append(cast.with_class_weights(of_member, y.of(i), spec.loss))
    return Part(np.stack(made) if own else made[0], own)  # type: ignore[arg-type]


def _part(array: Array, own: bool, check: Callable[[Array], Rows]) -> Part:
    """Check and cast what all members see, or, all at once, what each of them does."""
    if not own:
        return Part(check(array)[:], own=False)
    try:
        flat = check(array.reshape(-1, *array.shape[2:]))[:]
    except ValueError:
        for i, rows in enumerate(array):
            with _of(i):
                check(rows)
        raise
    return Part(flat.reshape(len(array), -1, *flat.shape[1:]), own=True)


@contextmanager
def _of(member: int) -> Iterator[None]:
    """Let an error name the member whose data it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{error} (of member {member})") from None


def _either(shapes: list[tuple[int, ...]]) -> str:
    return " or ".join(map(str, dict.fromkeys(shapes)))
