"""A prepared net for call after call, as a fleet of larger nets makes them."""

from __future__ import annotations

from typing import Any

import numpy as np

import jitprop_kernels as kernels
from jitprop._types import Array
from jitprop.backends import descent
from jitprop.backends.prepared import (
    HALTED,
    NATURAL_ORDER,
    Net,
    fields_and_samples,
    never,
    tiles_in,
)
from jitprop.data.samples import Arrays, Steps, stand_ins
from jitprop.net.state import check_trained, check_written


class Single:
    """
    A prepared net with one thread, for call after call: only pointers and numbers change.

    A call of `compiled.train` or `compiled.evaluate` takes 50 us to lay out its arguments. Here
    that is done once, and then it takes 10 us. Nobody halts a pass, and Ctrl-C does not interrupt
    it: where calls take long, another thread than the main one makes them.

    Parameters
    ----------
    net : Net
    """

    def __init__(self, net: Net) -> None:
        self.net = net
        self._seat = kernels.Seat(0, 1, net.gate)
        self._calls: dict[Any, kernels.Bound] = {}
        self._training: Any = None
        self._passed: Arrays | None = None
        self._given: tuple[Any, ...] = ()

    def train(
        self, params: Array, slots: Array, steps: Steps, updates: int, dropout_key: int
    ) -> int:
        """Train on some batches: see `jitprop.reference.train`."""
        if self.net.method is not None:
            self._put_method(params, slots, steps)
            return self.go_on(steps.start, steps.stop, updates)
        X, y, weights, order, losses, rates, start, stop, _ = steps
        check_trained(params, slots, X, y, weights)
        check_written(losses=losses)
        key = "train", y.ndim, weights is None, order is None
        rows = NATURAL_ORDER if order is None else order.reshape(-1)
        call = self._calls.get(key)
        if call is None:
            net = self.net
            fields, samples = fields_and_samples(X, y, weights, rows)
            plan = net.plan._replace(**fields, dropout_key=dropout_key)
            work = kernels.Work(
                params,
                slots.reshape(-1),
                samples,
                losses,
                rates,
                net.memory[0],
                net.gradients,
                net.parts,
                never(params.dtype),
            )
            call = kernels.train.bind(plan, net.route, work, self._seat, start, stop, updates)
            self._calls[key] = call
        else:
            self._put_samples(call, X, y, weights)
            call.put((0, "dropout_key"), dropout_key)
            call.put((2, "params"), params)
            call.put((2, "losses"), losses)
            call.put((2, "rates"), rates)
            if order is not None:
                call.put((2, "samples", "rows"), rows)
            if slots.size > 0:
                call.put((2, "slots"), slots.reshape(-1))
        self._training = call
        return self.go_on(start, stop, updates)

    def _put_method(self, params: Array, slots: Array, steps: Steps) -> None:
        """Bind a full-batch method to these arrays, or tell it which ones are others than last."""
        X, y, weights, _, losses, *_, told = steps
        given, call = (X, y, weights, losses.shape), self._training
        if call is None or told is not None or not _same(given, self._given):
            self._training = descent.bound_training(self.net, params, slots, steps)(0, 1)
            self._given = given
            return
        check_trained(params, slots, X, y, weights)
        check_written(losses=losses)
        call.put((2, "params"), params)
        call.put((2, "slots"), slots.reshape(-1))
        call.put((2, "losses"), losses)

    def go_on(self, start: int, stop: int, updates: int) -> int:
        """Train on other batches, with the arrays that `train` got last."""
        call, gate = self._training, self.net.gate
        if self.net.method is not None:
            descent.put_epochs(self.net, call, start, stop)
        else:
            call.put((4,), start)
            call.put((5,), stop)
            call.put((6,), updates)
        try:
            reached = int(call())
            return HALTED if gate[kernels.LEFT] or gate[kernels.AGREED] else reached
        finally:
            gate[:] = 0

    def evaluate(self, params: Array, samples: Arrays, group: int) -> float:
        """Summed loss of all samples, each times its weight: see `jitprop.reference.evaluate`."""
        X, y, weights = samples
        key = "evaluate", y.ndim, weights is None
        call = self._calls.get(key)
        if call is None:
            net = self.net
            fields, given = fields_and_samples(X, y, weights, NATURAL_ORDER)
            plan = net.plan._replace(**fields)
            work = kernels.Pass(params, given, net.memory[0], net.parts, tiles_in(net, group))
            call = kernels.evaluate.bind(plan, net.route, work, self._seat)
            self._calls[key] = call
        else:
            if samples is not self._passed:
                self._put_samples(call, X, y, weights)
            call.put((2, "params"), params)
        self._passed = samples
        try:
            return float(call())
        finally:
            self.net.gate[:] = 0

    def predict(self, params: Array, X: Array, out: Array) -> None:
        """Outputs of all samples into ``out``: see `jitprop.reference.predict`."""
        check_written(out=out)
        call = self._calls.get("predict")
        if call is None:
            net, nothing = self.net, np.empty((0, 1), X.dtype)
            fields, given = fields_and_samples(X, nothing, None, NATURAL_ORDER)
            plan = net.plan._replace(**fields)
            work = kernels.Pass(params, given, net.memory[0], net.parts, 1)
            call = kernels.predict.bind(plan, net.route, work, out.reshape(-1), self._seat)
            self._calls["predict"] = call
        else:
            call.put((2, "params"), params)
            call.put((2, "samples", "X"), X.reshape(-1))
            call.put((3,), out.reshape(-1))
        try:
            call()
        finally:
            self.net.gate[:] = 0

    def forget(self) -> None:
        """Let go of the arrays of the last call. What the net owns stays."""
        for call in (*self._calls.values(), *self.net.bound.values()):
            call.forget()
        self._training = self._passed = None
        self._given = ()

    def _put_samples(self, call: kernels.Bound, X: Array, y: Array, weights: Array | None) -> None:
        call.put((2, "samples", "X"), X.reshape(-1))
        call.put((2, "samples", "Y"), y.reshape(-1))
        if weights is not None:
            call.put((2, "samples", "weights"), weights)
            call.put((0, "stand_in"), int(stand_ins(weights)))


def _same(given: tuple[Any, ...], before: tuple[Any, ...]) -> bool:
    """Whether the same arrays were given before, and as many losses."""
    return all(x is y for x, y in zip(given[:3], before[:3], strict=True)) and given[3] == before[3]
