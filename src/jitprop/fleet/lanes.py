"""The engine for tiny nets. Members are the lanes of vectors, and threads share the groups."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import jitprop_kernels as kernels
from jitprop._types import Array
from jitprop.backends import plans, prepared
from jitprop.fleet.data import Data, Part
from jitprop.fleet.engines import (
    FIRST_WORK,
    Indices,
    Later,
    Mask,
    Members,
    run,
    threads_for,
)
from jitprop.net.spec import Spec
from jitprop.net.state import check_trained
from jitprop.training.nets import KEPT_BYTES
from jitprop_kernels.entry import Entry


class Lanes:
    """
    An engine whose kernel trains as many members at once as a vector has lanes.

    Parameters
    ----------
    spec : Spec
        It holds for all members, except for weight decay, momentum and dropout.
    n_members : int
        The number of members of the fleet. If they fit into two narrow vectors, narrow vectors are
        used, because two of them take no longer than a wide one. The width stays the same when
        members stop early. Otherwise kernels would be compiled in the middle of a fit.
    n_threads : int or None
        The most threads; None for as many as the process may use.
    """

    def __init__(self, spec: Spec, n_members: int, n_threads: int | None) -> None:
        self.spec, self.n_members, self.n_threads = spec, n_members, n_threads
        self.first_work = FIRST_WORK
        self.call_work = 0.0  # a call trains all members
        self._passing = replace(spec, batch_size=kernels.SAMPLES)
        self._calls: dict[Any, Call] = {}

    def _vectors(self, dtype: np.dtype[Any]) -> tuple[kernels.Width, int]:
        """Return the width of the vectors, and the number of their lanes."""
        few = self.n_members * dtype.itemsize <= 2 * kernels.NARROW_BYTES
        size = kernels.NARROW_BYTES if few else kernels.WIDE_BYTES
        return kernels.NARROW if few else kernels.WIDE, size // dtype.itemsize

    def train(
        self,
        members: Members,
        data: Data,
        orders: Indices | None,
        losses: Array,
        rates: Array,
        later: Later | None = None,
    ) -> Mask:
        """See `Engine`."""
        weights = None if data.weights is None else data.weights.array
        check_trained(members.params, members.slots, data.X.array, data.y.array, weights)
        n, a = data.n_samples, len(members.numbers)
        call = self.call("train", members, n, data.y, weights is not None)
        v, params, slots = call.v, call.params, call.slots
        to_lanes(members.params[:, None], params, v)
        to_lanes(members.slots, slots, v)
        rows = prepared.NATURAL_ORDER if orders is None else orders.reshape(-1)
        rate_step = 0 if rates.strides[0] == 0 else rates.shape[1]
        rates = rates if rate_step else rates[0]
        divisors, faults = np.empty(a), np.empty(a)
        divisors[:] = data.divisors(self.spec, members.numbers)
        n_later = 0 if later is None else len(losses)
        dtype = members.params.dtype
        later_params = np.empty(n_later * params.size, dtype)
        later_slots = np.empty(n_later * slots.size, dtype)

        work = kernels.FleetWork(
            params=params,
            slots=slots,
            samples=samples_of(data, members.numbers, rows),
            settings=settings_of(members),
            losses=losses.reshape(-1),
            divisors=divisors,
            faults=faults,
            rates=np.ascontiguousarray(rates.reshape(-1)),
            rate_step=rate_step,
            later_params=later_params,
            later_slots=later_slots,
        )
        call.run(kernels.train_members, (work,), self._threads(3 * params.size * n * len(losses)))
        from_lanes(params, members.params[:, None], v)
        from_lanes(slots, members.slots, v)
        if later is not None:
            from_lanes(later_params, later.params[:, :, None], v)
            from_lanes(later_slots, later.slots, v)
        return np.isfinite(faults)

    def evaluate(self, members: Members, data: Data) -> Array:
        """See `Engine`."""
        call = self.call("evaluate", members, data.n_samples, data.y, data.weights is not None)
        to_lanes(members.params[:, None], call.params, call.v)
        losses = np.zeros(len(members.numbers))
        samples, settings = samples_of(data, members.numbers), settings_of(members)
        n = self._threads(call.params.size * data.n_samples)
        call.run(kernels.evaluate_members, (call.params, samples, settings, losses), n)
        return losses

    def predict(self, members: Members, X: Part, out: Array) -> None:
        """See `Engine`."""
        n = out.shape[1]
        call = self.call("predict", members, n)
        to_lanes(members.params[:, None], call.params, call.v)
        nothing, numbers = np.empty(0, X.array.dtype), members.numbers
        samples = kernels.MemberSamples(
            X.array.reshape(-1), X.step, nothing, 0, nothing, 0, numbers, n, numbers,
            prepared.NATURAL_ORDER,
        )  # fmt: skip
        arrays = call.params, samples, settings_of(members), out.reshape(-1)
        call.run(kernels.predict_members, arrays, self._threads(call.params.size * n))

    def size(self) -> int:
        """Return the bytes of memory that calls hold."""
        return sum(call.size() for call in self._calls.values())

    def close(self) -> None:
        """Release the memory of calls."""
        self._calls.clear()

    def call(
        self, name: str, members: Members, n: int, y: Part | None = None, weighted: bool = False
    ) -> Call:
        """Return what an entry needs for so many members and samples, kept or made."""
        a, dtype = len(members.numbers), members.params.dtype
        labels = y is not None and y.array.ndim == 1 + y.per_member
        key = name, a, n, dtype, labels, weighted
        call = self._calls.get(key)
        if call is None:
            width, v = self._vectors(dtype)
            spec = self.spec if name == "train" else self._passing
            plan, size = plans.make_for_members(spec, n, dtype, v)
            mean = plan.mean and name != "evaluate"
            plan = plan._replace(labels=labels, weighted=weighted, mean=mean)
            n_slots = members.slots.shape[1] if name == "train" else 0
            # Members that stop one after the other leave calls behind that nobody needs any more.
            while self._calls and (len(self._calls) >= MOST_CALLS or self.size() > KEPT_BYTES):
                del self._calls[next(iter(self._calls))]
            shape = a, n_slots, spec.n_parameters
            call = self._calls[key] = Call(width, v, plan, size, shape, dtype)
        return call

    def _threads(self, size: float) -> int:
        return threads_for(size, self.n_threads)


MOST_CALLS = 4
"""So many are kept at once: for training, for validation and for two others."""


class Call:
    """
    What calls of one entry for so many members and samples have in common.

    Parameters
    ----------
    width : Width
    v : int
        The lanes of a vector.
    plan : Plan
    scratch : int
        The numbers of scratch for a thread.
    shape : (int, int, int)
        The numbers of members, of slots and of parameters.
    dtype : dtype

    Attributes
    ----------
    params, slots : arrays
        The members in groups: see `to_lanes`.
    gate : array
        Where threads take groups. It must be 0 before each call.
    """

    def __init__(
        self,
        width: kernels.Width,
        v: int,
        plan: kernels.Plan,
        scratch: int,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
    ) -> None:
        self.width, self.v, self.plan = width, v, plan
        a, n_slots, n_parameters = shape
        size = -(-a // v) * v * n_parameters
        self.params = prepared.aligned_zeros(size, dtype)
        self.slots = prepared.aligned_zeros(size * n_slots, dtype)
        self.gate = np.zeros(kernels.GATE_SIZE, np.int64)
        self._scratch_size, self._dtype = scratch, dtype
        self._scratch: list[kernels.Scratch] = []
        self._bound: list[kernels.Bound] = []

    def bind(self, entry: Entry, arrays: tuple[Any, ...]) -> kernels.Bound:
        """Bind an entry to these arrays, with scratch of its own."""
        memory = prepared.aligned_zeros(self._scratch_size, self._dtype)
        scratch = kernels.Scratch(memory, np.zeros(kernels.N_SUMS * self.v))
        self._scratch.append(scratch)
        return entry.bind(self.width, self.plan, *arrays, scratch, self.gate)

    def run(self, entry: Entry, arrays: tuple[Any, ...], n_threads: int) -> None:
        """Call an entry from several threads. Each takes groups of members until none is left."""
        gate, bound = self.gate, self._bound
        for rank in range(max(1, n_threads)):
            if rank == len(bound):
                bound.append(self.bind(entry, arrays))
            else:
                for i, value in enumerate(arrays):
                    bound[rank].put((2 + i,), value)

        def halt() -> None:
            gate[kernels.HALT] = 1

        try:
            run(lambda rank: bound[rank](), max(1, n_threads), n_threads, halt)
        finally:
            gate[:] = 0
            for one in bound:
                one.forget()

    def size(self) -> int:
        """Return the bytes of memory that the call holds."""
        scratch = max(1, len(self._scratch)) * self._scratch_size * self._dtype.itemsize
        return self.params.nbytes + self.slots.nbytes + scratch


def samples_of(
    data: Data, numbers: Indices, rows: Indices = prepared.NATURAL_ORDER
) -> kernels.MemberSamples:
    """Return the samples of the members with these numbers, as kernels take them."""
    weights, weights_step = np.empty(0, data.X.array.dtype), 0
    if data.weights is not None:
        weights, weights_step = data.weights.array, data.weights.step
    found = data.stand_ins
    return kernels.MemberSamples(
        X=data.X.array.reshape(-1),
        X_step=data.X.step,
        Y=data.y.array.reshape(-1),
        Y_step=data.y.step,
        weights=weights.reshape(-1),
        weights_step=weights_step,
        stand_ins=np.repeat(found, len(numbers)) if len(found) == 1 else found[numbers],
        n_samples=data.n_samples,
        members=numbers,
        rows=rows,
    )


def settings_of(members: Members) -> kernels.MemberSettings:
    """Return the settings of the members, as kernels take them."""
    return kernels.MemberSettings(
        decays=members.decays,
        momenta=members.momenta,
        dropped=plans.dropped(members.dropout).reshape(-1),
        keys=members.keys,
        updates=members.updates,
    )


def to_lanes(members: Array, lanes: Array, v: int) -> None:
    """
    Copy an (A, s, P) array to a flat one, in the layout (G, s, P, V).

    V members make a group. Their values of the same parameter lie side by side. Copies of the last
    member fill the last group.
    """
    a, s, p = members.shape
    view, whole = lanes.reshape(-(-a // v), s, p, v), a // v
    if whole > 0:
        view[:whole] = members[: whole * v].reshape(whole, v, s, p).transpose(0, 2, 3, 1)
    if whole < len(view):
        rest = np.minimum(np.arange(whole * v, len(view) * v), a - 1)
        view[whole] = members[rest].transpose(1, 2, 0)


def from_lanes(lanes: Array, members: Array, v: int) -> None:
    """
    Copy members out of the layout of `to_lanes` into an (A, s, P) array.

    Or some times as many, one time after the other, into a (times, A, s, P) array.
    """
    members = members if members.ndim == 4 else members[None]
    n, a, s, p = members.shape
    whole = a // v
    view = lanes.reshape(n, -(-a // v), s, p, v)
    # To split a dimension copies nothing.
    members[:, : whole * v].reshape(n, whole, v, s, p)[:] = view[:, :whole].transpose(0, 1, 4, 2, 3)
    if whole * v < a:
        members[:, whole * v :] = view[:, whole, :, :, : a - whole * v].transpose(0, 3, 1, 2)
