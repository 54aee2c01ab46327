"""The engine for tiny nets. Members are the lanes of vectors, and threads share the groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import jitprop_kernels as kernels
from jitprop._types import Array
from jitprop.backends import compiled, plans
from jitprop.fleet.data import Data, Part
from jitprop.fleet.engines import FIRST_WORK, Indices, Mask, Members, run, threads_for
from jitprop.net.spec import Spec
from jitprop.net.state import check_trained


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
    n_threads : int
    """

    def __init__(self, spec: Spec, n_members: int, n_threads: int) -> None:
        self.spec, self.n_members, self.n_threads = spec, n_members, n_threads
        self.first_work = FIRST_WORK

    def _vectors(self, dtype: np.dtype[Any]) -> tuple[kernels.Width, int]:
        """Return the width of the vectors, and the number of their lanes."""
        few = self.n_members * dtype.itemsize <= 2 * kernels.NARROW_BYTES
        size = kernels.NARROW_BYTES if few else kernels.WIDE_BYTES
        return kernels.NARROW if few else kernels.WIDE, size // dtype.itemsize

    def train(
        self, members: Members, data: Data, orders: Indices | None, losses: Array, rates: Array
    ) -> Mask:
        """See `Engine`."""
        weights = None if data.weights is None else data.weights.array
        check_trained(members.params, members.slots, data.X.array, data.y.array, weights)
        dtype, n = members.params.dtype, data.n_samples
        width, v = self._vectors(dtype)
        plan, size = _plan(self.spec, data, dtype, v)
        params, slots = _to_lanes(members.params[:, None], v), _to_lanes(members.slots, v)
        rows = compiled.NATURAL_ORDER if orders is None else orders.reshape(-1)
        gate = np.zeros(kernels.GATE_SIZE, np.int64)
        rate_step = 0 if rates.strides[0] == 0 else rates.shape[1]
        # Always a copy: a view of a broadcast array is read-only, which is another type to numba.
        rates = rates.copy() if rate_step else rates[0].copy()
        divisors = np.empty(len(members.numbers))
        divisors[:] = data.divisors(self.spec, members.numbers)
        faults = np.empty(len(members.numbers))

        arrays = kernels.FleetWork(
            params=params,
            slots=slots,
            samples=_samples(data, members.numbers, rows),
            settings=_settings(members),
            losses=losses.reshape(-1),
            divisors=divisors,
            faults=faults,
            rates=rates.reshape(-1),
            rate_step=rate_step,
        )

        def work(_: int) -> None:
            kernels.train_members(width, plan, arrays, _scratch(size, v, dtype), gate)

        self._run(work, gate, 3 * params.size * n * len(losses))
        _from_lanes(params, members.params[:, None], v)
        _from_lanes(slots, members.slots, v)
        return np.isfinite(faults)

    def evaluate(self, members: Members, data: Data) -> Array:
        """See `Engine`."""
        dtype = members.params.dtype
        spec = replace(self.spec, batch_size=kernels.SAMPLES)
        width, v = self._vectors(dtype)
        plan, size = _plan(spec, data, dtype, v)
        plan = plan._replace(mean=False)
        params, losses = _to_lanes(members.params[:, None], v), np.zeros(len(members.numbers))
        gate = np.zeros(kernels.GATE_SIZE, np.int64)

        samples, settings = _samples(data, members.numbers), _settings(members)

        def work(_: int) -> None:
            kernels.evaluate_members(
                width, plan, params, samples, settings, losses, _scratch(size, v, dtype), gate
            )

        self._run(work, gate, params.size * data.n_samples)
        return losses

    def predict(self, members: Members, X: Part, out: Array) -> None:
        """See `Engine`."""
        dtype, n = members.params.dtype, X.array.shape[-2]
        width, v = self._vectors(dtype)
        spec = replace(self.spec, batch_size=kernels.SAMPLES)
        plan, size = plans.make_for_members(spec, n, dtype, v)
        params = _to_lanes(members.params[:, None], v)
        gate = np.zeros(kernels.GATE_SIZE, np.int64)

        nothing, numbers = np.empty(0, dtype), members.numbers
        samples = kernels.MemberSamples(
            X.array.reshape(-1), X.step, nothing, 0, nothing, 0, numbers, n, numbers,
            compiled.NATURAL_ORDER,
        )  # fmt: skip
        settings = _settings(members)

        def work(_: int) -> None:
            kernels.predict_members(
                width,
                plan,
                params,
                samples,
                settings,
                out.reshape(-1),
                _scratch(size, v, dtype),
                gate,
            )

        self._run(work, gate, params.size * n)

    def close(self) -> None:
        """Do nothing: this engine holds nothing."""

    def _run(self, work: Callable[[int], None], gate: Indices, size: float) -> None:
        """Call the kernel from several threads. Each takes groups until none is left."""
        n = threads_for(size, self.n_threads)

        def halt() -> None:
            gate[kernels.HALT] = 1

        run(work, max(1, n), n, halt)


def _samples(
    data: Data, numbers: Indices, rows: Indices = compiled.NATURAL_ORDER
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


def _settings(members: Members) -> kernels.MemberSettings:
    return kernels.MemberSettings(
        decays=members.decays,
        momenta=members.momenta,
        dropped=plans.dropped(members.dropout).reshape(-1),
        keys=members.keys,
        updates=members.updates,
    )


def _plan(spec: Spec, data: Data, dtype: np.dtype[Any], v: int) -> tuple[kernels.Plan, int]:
    plan, size = plans.make_for_members(spec, data.n_samples, dtype, v)
    labels = data.y.array.ndim == 1 + data.y.per_member
    return plan._replace(labels=labels, weighted=data.weights is not None), size


def _scratch(size: int, v: int, dtype: np.dtype[Any]) -> kernels.Scratch:
    return kernels.Scratch(compiled.aligned_zeros(size, dtype), np.zeros(kernels.N_SUMS * v))


def _to_lanes(members: Array, v: int) -> Array:
    """
    Return a copy of an (A, s, P) array in the layout (G, s, P, V), as a flat array.

    V members make a group. Their values of the same parameter lie side by side. Copies of the last
    member fill the last group.
    """
    a, s, p = members.shape
    g = -(-a // v)
    lanes = compiled.aligned_zeros(g * s * p * v, members.dtype)
    view = lanes.reshape(g, s, p, v)
    whole = a // v
    view[:whole] = members[: whole * v].reshape(whole, v, s, p).transpose(0, 2, 3, 1)
    if whole < g:
        rest = np.minimum(np.arange(whole * v, g * v), a - 1)
        view[whole] = members[rest].transpose(1, 2, 0)
    return lanes


def _from_lanes(lanes: Array, members: Array, v: int) -> None:
    """Copy the members out of the layout of `_to_lanes` into an (A, s, P) array."""
    a, s, p = members.shape
    view, whole = lanes.reshape(-(-a // v), s, p, v), a // v
    members[: whole * v].reshape(whole, v, s, p)[:] = view[:whole].transpose(0, 3, 1, 2)
    if whole * v < a:
        members[whole * v :] = view[whole, :, :, : a - whole * v].transpose(2, 0, 1)
