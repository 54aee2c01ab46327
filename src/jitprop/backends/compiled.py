"""The numba backend: the functions of `jitprop.reference`, by the kernels."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import jitprop_kernels as kernels
from jitprop._types import Array
from jitprop.backends import TILE, plans, threads
from jitprop.data.samples import Arrays, Steps, stand_ins
from jitprop.data.watched import Falling, Predicted, Stopping, Validation, Watched
from jitprop.net.losses import CrossEntropy
from jitprop.net.spec import Spec
from jitprop.net.state import State, check_trained, check_written
from jitprop_kernels import codes

LONG = 2e8
"""Multiply-adds of a batch or a pass, 4 ms and more, from which even one thread is not the main
one, which then hears Ctrl-C meanwhile. A hand-over costs 50 us."""

VALIDATED_ALONE = 2e7
"""The most multiply-adds of a validation pass, 0.4 ms, in which other threads may be left idle."""

BRIEF = 3e5
"""The most multiply-adds of an update that `Brief` does: some 30 us, for which Python waits."""

NATURAL_ORDER = np.empty(0, np.int64)

HALTED = -1

FIRST_CALL = 2e8
"""Multiply-adds in the first call of `train`: 4 ms on the blocks route, 0.1 s in lanes."""

COMPILED = True

check = kernels.check
uses_lanes = plans.uses_lanes
most_alike = plans.most_alike


class Net(NamedTuple):
    """What this backend wants to be told of a net: for training, or for passes without updates."""

    plan: kernels.Plan
    route: kernels.Route
    memory: list[Array]
    """Scratch, for each thread: in training all the same, or with chunks each its own."""
    gradients: Array
    """(P,), (chunks * P,), or nothing. For passes (threads * P,) or nothing."""
    parts: Array
    """The loss of each part of a batch, or of each tile of a pass."""
    team: threads.Team
    own: list[kernels.Loop]
    """The user's own functions, which are there as long as this is."""
    gate: npt.NDArray[np.int64]
    """Where threads meet, and are halted."""
    long: bool
    """A batch or a pass is worth halting; shorter ones may end."""
    bound: dict[Any, kernels.Bound]
    """The entries that were bound to it, with the arrays of the last call."""


def interpreted() -> bool:
    """Whether NUMBA_DISABLE_JIT is set, so that kernels are plain Python."""
    return kernels.INTERPRETED


def cache_folder() -> str | None:
    """The folder that keeps the compiled kernels; None where none can be written."""
    return next((code.folder for code in kernels.train.codes.values()), None)


def prepare(
    spec: Spec, n_samples: int, dtype: np.dtype[Any], n_threads: int | None, n_updates: int
) -> Net:
    """The plan, the route, the threads, and scratch for one batch of ``n_samples`` samples."""
    batch = spec.batch(n_samples)
    lanes = uses_lanes(spec, batch * dtype.itemsize)
    # With chunks a batch's deltas need not be kept; but each chunk has a gradient of its own.
    fits = spec.n_parameters <= plans.CHUNK * sum(spec.layer_sizes)
    chunked = not lanes and batch >= 2 * plans.CHUNK and fits
    n_parts = -(-batch // (plans.CHUNK if chunked else batch if lanes else kernels.TILE))
    work = 3 * batch * spec.n_parameters
    n = 1 if kernels.INTERPRETED else threads.choose(n_threads, work, n_updates, n_parts)
    samples = kernels.REACH if chunked else batch
    chunk = plans.CHUNK if chunked else 0
    plan, size = plans.make(spec, batch, samples, chunk, lanes, dtype, n)
    memory = [aligned_zeros(size, dtype) for _ in range(n if chunked else 1)]
    clipped = spec.clip_norm is not None
    fused = plan.optimizer == codes.SGD and not clipped
    n_gradients = n_parts if chunked else 0 if fused else 1
    n_squares = -(-spec.n_parameters // kernels.SQUARES_PIECE) if clipped else 0
    return Net(
        plan._replace(squares=n_parts),
        kernels.LANES if lanes else kernels.BLOCKS,
        memory if chunked else memory * n,
        gradients=aligned_zeros(n_gradients * spec.n_parameters, dtype),
        parts=np.zeros(n_parts + n_squares),
        team=threads.Team(n),
        own=plans.own(spec, dtype),
        gate=np.zeros(kernels.GATE_SIZE, np.int64),
        long=work > LONG and not lanes and _can_be_halted(),
        bound={},
    )


def prepare_pass(
    spec: Spec, n_samples: int, dtype: np.dtype[Any], n_threads: int | None, backward: bool
) -> Net:
    """The same for passes of up to ``n_samples`` samples, in tiles of the spec's batch size."""
    tile = spec.batch(n_samples)
    n_tiles = -(-n_samples // tile)
    lanes = uses_lanes(spec, tile * dtype.itemsize)
    work = (3 if backward else 1) * n_samples * spec.n_parameters
    n = 1 if kernels.INTERPRETED else threads.choose(n_threads, work, 1, n_tiles)
    plan, size = plans.make(spec, tile, tile, 0, lanes, dtype, 1)
    return Net(
        plan,
        kernels.LANES if lanes else kernels.BLOCKS,
        [aligned_zeros(size, dtype) for _ in range(n)],
        gradients=aligned_zeros(n * spec.n_parameters if backward and n > 1 else 0, dtype),
        parts=np.zeros(n_tiles),
        team=threads.Team(n),
        own=plans.own(spec, dtype),
        gate=np.zeros(kernels.GATE_SIZE, np.int64),
        long=work > LONG and _can_be_halted(),
        bound={},
    )


def _can_be_halted() -> bool:
    return threads.real() and not kernels.INTERPRETED


def aligned_zeros(size: int, dtype: np.dtype[Any]) -> Array:
    """Memory that begins with a cache line, so that no vector lies across two of them."""
    line = 64
    memory = np.zeros(size + line // dtype.itemsize, dtype)
    start = -memory.ctypes.data % line // dtype.itemsize
    return memory[start : start + size]


def halt(net: Net) -> bool:
    """Let a `train` under way come back soon: see `jitprop.reference.halt`."""
    if net.long:
        net.gate[kernels.HALT] = 1
    # A kernel that has not begun may yet be compiled, for seconds: nothing is changed, so leave.
    return bool(net.gate[kernels.RUNNING]) and not kernels.INTERPRETED


def size(net: Net) -> int:
    """The bytes of memory that a net holds."""
    own = {id(memory): memory.nbytes for memory in net.memory}
    return sum(own.values()) + net.gradients.nbytes + net.parts.nbytes


def close(net: Net) -> None:
    """End the threads that a call started, and forget the arrays that it got."""
    net.team.close()
    net.bound.clear()


def _given(
    X: Array, y: Array, weights: Array | None, rows: Array
) -> tuple[dict[str, Any], kernels.Samples]:
    """The fields of the plan that depend on the samples, and the samples."""
    flat_weights, stand_in = np.empty(0, y.dtype), -1
    if weights is not None:
        flat_weights, stand_in = weights, int(stand_ins(weights))
    fields = {"labels": y.ndim == 1, "weighted": weights is not None, "stand_in": stand_in}
    return fields, kernels.Samples(X.reshape(-1), y.reshape(-1), flat_weights, rows)


def _bound(
    net: Net,
    entry: kernels.Entry,
    seat: kernels.Seat,
    fields: dict[str, Any],
    args: tuple[Any, ...],
    changing: tuple[kernels.Path, ...],
) -> kernels.Bound:
    """
    Bind an entry to the net's plan with some ``fields``, its route, and further ``args``.

    The net keeps it until `close`. Of a kept one only the fields and what is ``changing`` are
    written: 10 us instead of 50.
    """
    key = entry.name, seat.rank, seat.ranks
    bound = net.bound.get(key)
    if bound is None:
        bound = net.bound[key] = entry.bind(net.plan._replace(**fields), net.route, *args)
        return bound
    for name, value in fields.items():
        bound.put((0, name), value)
    for path in changing:
        value = args[int(path[0]) - 2]
        for field in path[1:]:
            value = getattr(value, str(field))
        bound.put(path, value)
    return bound


CHANGING_IN_TRAIN: tuple[kernels.Path, ...] = (
    *((2, name) for name in ("params", "slots", "samples", "losses", "rates")),
    *((place,) for place in (4, 5, 6)),
)
CHANGING_IN_PASS: tuple[kernels.Path, ...] = ((2, "params"), (2, "samples"), (2, "group"))


def _run(net: Net, bind: Callable[[int, int], kernels.Bound]) -> tuple[Any, int, float]:
    """
    Call ``bind(rank, ranks)`` in the threads of the net.

    Returns what rank 0 returns, the number of threads, and how many of them were busy on average.
    All are bound before the first one runs: no thread may compile, and perhaps fail, while others
    wait for it.
    """
    if net.team.n > 1 or net.long:
        n = net.team.size()
        bound = [bind(rank, n) for rank in range(n)]
        began, used = time.perf_counter(), time.process_time()
        try:
            found = net.team.run(n, lambda rank: bound[rank](), lambda: halt(net))
            return found, n, (time.process_time() - used) / (time.perf_counter() - began)
        except threads.NoThreadError:  # the same bits, and Ctrl-C waits for the end
            net.gate[:] = 0
    return bind(0, 1)(), 1, 1.0


def train(
    net: Net, params: Array, slots: Array, steps: Steps, updates: int, dropout_key: int
) -> int:
    """Train on some batches: see `jitprop.reference.train`."""
    return _train(net, _training(net, params, slots, steps, updates, dropout_key), steps.start)


def _training(
    net: Net, params: Array, slots: Array, steps: Steps, updates: int, dropout_key: int
) -> Callable[[int, int], kernels.Bound]:
    """Return what binds the arguments of a `train` for each thread."""
    X, y, weights, order, losses, rates, start, stop = steps
    check_trained(params, slots, X, y, weights)
    check_written(losses=losses)
    rows = NATURAL_ORDER if order is None else order.reshape(-1)
    fields, samples = _given(X, y, weights, rows)
    fields["dropout_key"] = dropout_key
    flat_slots, once = slots.reshape(-1), never(params.dtype)

    def bind(rank: int, ranks: int) -> kernels.Bound:
        arrays = kernels.Work(
            params,
            flat_slots,
            samples,
            losses,
            rates,
            net.memory[rank],
            net.gradients,
            net.parts,
            once,
        )
        seat = kernels.Seat(rank, ranks, net.gate)
        args = arrays, seat, start, stop, updates
        return _bound(net, kernels.train, seat, fields, args, CHANGING_IN_TRAIN)

    return bind


def _train(net: Net, bind: Callable[[int, int], kernels.Bound], start: int) -> int:
    try:
        began = time.perf_counter()
        reached, n, busy = _run(net, bind)
        if net.gate[kernels.LEFT] or net.gate[kernels.AGREED]:
            return HALTED
        seconds = time.perf_counter() - began
        net.team.record(n, seconds / max(1, reached - start), busy)
        return int(reached)
    finally:
        net.gate[:] = 0  # behind the call: a word to halt may come before it


def watcher(
    net: Net,
    n_batches: int,
    divisor: float,
    validation: Validation | None,
    predicted: Sequence[Predicted],
) -> Any:
    """Return a `Watcher`; None where a pass of validation or for metrics is long work."""
    passes = [(each.net, each.X) for each in predicted]
    if validation is not None:
        passes.append((validation.net, validation.samples[0]))
    for passing, X in passes:
        work = net.plan.layers[:, :2].prod(axis=1).sum() * len(X)
        if work > (LONG if passing.team.n <= net.team.n else VALIDATED_ALONE):
            return None
    if predicted and kernels.INTERPRETED:  # which has no machine code to call
        return None
    return Watcher(n_batches, divisor, validation, predicted)


class Watcher:
    """
    Trains many epochs in one call, and does after each what it is told.

    Parameters
    ----------
    n_batches : int
        Of an epoch.
    divisor : float
        What the summed loss of an epoch is divided by.
    validation : Validation or None
    predicted : sequence of Predicted
        The training samples and the validation samples. Empty if there are no metrics.
    """

    def __init__(
        self,
        n_batches: int,
        divisor: float,
        validation: Validation | None,
        predicted: Sequence[Predicted],
    ) -> None:
        self.n_batches, self.divisor, self.validation = n_batches, divisor, validation
        self.predicted = predicted
        self._ended, self._counted = np.zeros(1, np.int64), np.zeros(1, np.int64)

    def begin(self, watched: Watched) -> None:
        """Begin a block, and do what ``watched`` says after each of its epochs."""
        self._watched = watched
        self._ended[0] = self._counted[0] = 0

    @property
    def counted(self) -> int:
        """How many epochs of the block were trained, with finite numbers, and then counted."""
        return int(self._counted[0])

    @property
    def ended(self) -> bool:
        """Whether the block ended with the last epoch that was trained."""
        return bool(self._ended[0])

    @property
    def stopped(self) -> bool:
        """Whether it ended because patience was exhausted, and not because of an overflow."""
        return bool(self._ended[0] == kernels.ENDED_EARLY)

    def train(
        self,
        net: Net,
        params: Array,
        slots: Array,
        steps: Steps,
        updates: int,
        dropout_key: int,
    ) -> int:
        """Train on some batches, as `train` does, or to the end of the epoch in which it ends."""
        watched, validation = self._watched, self.validation
        check_written(rates=steps.rates, validation_losses=watched.validation_losses)
        bind_training = _training(net, params, slots, steps, updates, dropout_key)
        flat_slots = slots.reshape(-1)
        held = []  # the arguments of what the kernel calls must live as long as it runs

        def bind(rank: int, ranks: int) -> kernels.Bound:
            training = bind_training(rank, ranks)
            called = training.callee((FIRST_STEP,))
            validating, callee = 0, called
            if validation is not None:
                validating = min(ranks, validation.net.team.n)
                passing = _validating(validation, params, min(rank, validating - 1), validating)
                callee = passing.callee()
                held.append(passing)
            held.append(training)
            predicting, strides, callees = np.zeros(2, np.int64), np.zeros(2, np.int64), []
            first = steps.start // self.n_batches
            for k, (passed, X) in enumerate(self.predicted):
                predictions = watched.predictions[k]
                predicting[k] = most = min(ranks, passed.team.n)
                strides[k] = predictions[0].nbytes
                out = predictions[first].reshape(-1)
                passing = _predicting(passed, X, params, out, min(rank, most - 1), most)
                held.append(passing)
                callees.append(passing.callee((OUT,)))
            watch = kernels.Watch(
                params=params,
                slots=flat_slots,
                losses=steps.losses,
                divisor=float(self.divisor),
                rates=steps.rates,
                validation=watched.validation_losses,
                validation_divisor=1.0 if validation is None else float(validation.divisor),
                validating=validating,
                predicting=predicting,
                strides=strides,
                n_batches=self.n_batches,
                epoch=watched.epoch,
                stopping=_stopping(watched.stopping, params.dtype),
                falling=_falling(watched.falling),
                ended=self._ended,
                counted=self._counted,
            )
            seat = kernels.Seat(rank, ranks, net.gate)
            start, stop = steps.start, steps.stop
            both = kernels.Predicting(*(callees + [called] * 2)[:2])
            args = watch, called, callee, both, seat, start, stop, updates
            return kernels.train_watched.bind(*args)

        try:
            return _train(net, bind, steps.start)
        finally:
            if validation is not None:
                validation.net.gate[:] = 0
            for passed, _ in self.predicted:
                passed.gate[:] = 0


FIRST_STEP = 4
"""Which argument of `kernels.train` is the first batch."""

OUT = 3
"""Which argument of `kernels.predict` is where predictions are written."""


def _predicting(
    net: Net, X: Array, params: Array, out: Array, rank: int, ranks: int
) -> kernels.Bound:
    fields, samples = _given(X, np.empty((0, 1), X.dtype), None, NATURAL_ORDER)
    fields["look"] = kernels.LOOK_AT_NOTHING
    arrays = kernels.Pass(params, samples, net.memory[rank], net.parts, 1)
    seat = kernels.Seat(rank, ranks, net.gate)
    changing = *CHANGING_IN_PASS, (OUT,)
    return _bound(net, kernels.predict, seat, fields, (arrays, out, seat), changing)


def _validating(validation: Validation, params: Array, rank: int, ranks: int) -> kernels.Bound:
    net, (X, y, weights) = validation.net, validation.samples
    fields, samples = _given(X, y, weights, NATURAL_ORDER)
    fields["look"] = kernels.LOOK_AT_NOTHING
    tiles = max(1, validation.group // net.plan.batch_size)
    arrays = kernels.Pass(params, samples, net.memory[rank], net.parts, tiles)
    seat = kernels.Seat(rank, ranks, net.gate)
    return _bound(net, kernels.evaluate, seat, fields, (arrays, seat), CHANGING_IN_PASS)


def _stopping(stopping: Stopping | None, dtype: np.dtype[Any]) -> kernels.Stopping:
    if stopping is not None:
        return kernels.Stopping(*stopping)
    nothing = np.empty(0, dtype)
    return kernels.Stopping(0, False, 1.0, 0.0, 0, np.empty(0), NATURAL_ORDER, nothing)


def _falling(falling: Falling | None) -> kernels.Falling:
    if falling is not None:
        return kernels.Falling(*falling)
    nothing = np.empty(0)
    return kernels.Falling(0, False, 1.0, 0.0, 0.0, nothing, nothing, NATURAL_ORDER)


def never(dtype: np.dtype[Any]) -> kernels.Once:
    """What says that training is not `Once`."""
    nothing, columns = np.empty(0, dtype), np.empty(0)
    return kernels.Once(nothing, NATURAL_ORDER, 1.0, columns, columns, NATURAL_ORDER)


def _pass(
    net: Net,
    entry: kernels.Entry,
    params: Array,
    samples: Arrays,
    out: tuple[Array, ...],
    how: tuple[int, int],
) -> tuple[Any, bool]:
    """
    Call an entry that passes all samples; also return whether it refused one.

    ``how`` is what it looks at, and the number of tiles in a group.
    """
    look, group = how
    X, y, weights = samples
    fields, given = _given(X, y, weights, NATURAL_ORDER)
    fields["look"] = look
    changing = *CHANGING_IN_PASS, *((3,) for _ in out[:1])

    def bind(rank: int, ranks: int) -> kernels.Bound:
        arrays = kernels.Pass(params, given, net.memory[rank], net.parts, group)
        seat = kernels.Seat(rank, ranks, net.gate)
        return _bound(net, entry, seat, fields, (arrays, *out, seat), changing)

    try:
        found, _, _ = _run(net, bind)
        return found, bool(net.gate[kernels.REFUSED])
    finally:
        net.gate[:] = 0


def evaluate(net: Net, params: Array, samples: Arrays, group: int, look: bool) -> float:
    """Summed loss of all samples, each times its weight: see `jitprop.reference.evaluate`."""
    inputs = kernels.LOOK_AT_INPUTS if look else kernels.LOOK_AT_NOTHING
    tiles = max(1, group // net.plan.batch_size)
    found, refused = _pass(net, kernels.evaluate, params, samples, (), (inputs, tiles))
    return float("nan") if refused else float(found)


def gradient(
    net: Net, params: Array, X: Array, y: Array, weights: Array | None, out: Array
) -> float:
    """Gradient of the reduced loss of one batch into ``out``, (P,). Returns the summed loss."""
    check_written(out=out)
    outs, how = (out, net.gradients), (kernels.LOOK_AT_NOTHING, len(net.parts))
    found, _ = _pass(net, kernels.gradient, params, (X, y, weights), outs, how)
    return float(found)


def predict(net: Net, params: Array, X: Array, out: Array, look: bool) -> bool:
    """Outputs of all samples into ``out``: see `jitprop.reference.predict`."""
    check_written(out=out)
    samples, outs = (X, np.empty((0, 1), X.dtype), None), (out.reshape(-1),)
    inputs = kernels.LOOK_AT_INPUTS if look else kernels.LOOK_AT_NOTHING
    _, refused = _pass(net, kernels.predict, params, samples, outs, (inputs, 1))
    return not refused


class Single:
    """
    A prepared net with one thread, for call after call: only pointers and numbers change.

    A call by `train` or `evaluate` above takes 50 us to lay out its arguments. Here that is done
    once, and then it takes 10 us. Nobody halts a pass, and Ctrl-C does not interrupt it: where
    calls take long, another thread than the main one makes them.

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

    def train(
        self, params: Array, slots: Array, steps: Steps, updates: int, dropout_key: int
    ) -> int:
        """Train on some batches: see `jitprop.reference.train`."""
        X, y, weights, order, losses, rates, start, stop = steps
        check_trained(params, slots, X, y, weights)
        check_written(losses=losses)
        key = "train", y.ndim, weights is None, order is None
        rows = NATURAL_ORDER if order is None else order.reshape(-1)
        call = self._calls.get(key)
        if call is None:
            net = self.net
            fields, samples = _given(X, y, weights, rows)
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

    def go_on(self, start: int, stop: int, updates: int) -> int:
        """Train on other batches, with the arrays that `train` got last."""
        call, gate = self._training, self.net.gate
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
            tiles = max(1, group // net.plan.batch_size)
            fields, given = _given(X, y, weights, NATURAL_ORDER)
            plan = net.plan._replace(**fields)
            work = kernels.Pass(params, given, net.memory[0], net.parts, tiles)
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
            fields, given = _given(X, nothing, None, NATURAL_ORDER)
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
        for call in self._calls.values():
            call.forget()
        self._training = self._passed = None

    def _put_samples(self, call: kernels.Bound, X: Array, y: Array, weights: Array | None) -> None:
        call.put((2, "samples", "X"), X.reshape(-1))
        call.put((2, "samples", "Y"), y.reshape(-1))
        if weights is not None:
            call.put((2, "samples", "weights"), weights)
            call.put((0, "stand_in"), int(stand_ins(weights)))


class Brief:
    """
    The calls of a small net on few samples: a kernel's time, and little more.

    Arguments are copied to arrays of its own, so the kernel's record is written once. The kernel
    looks at the samples. What changes does so in one call, during which neither another thread of
    Python nor a signal handler runs: they see the net before it or after it.

    A method returns None or False where it cannot do it, and then nothing has changed. The usual
    way then does it, or says what is wrong.

    Parameters
    ----------
    spec : Spec
        All samples must be one batch. Its loss has no class weights.
    n_samples : int
        At most `TILE`: then a pass has one tile, and adds in the same order as the usual way.
    state : State
    bounds : (float, float)
        The least and the greatest target that need no word. Labels have their own.
    """

    def __init__(
        self, spec: Spec, n_samples: int, state: State, bounds: tuple[float, float]
    ) -> None:
        params, slots, n_targets = state.params, state.slots, spec.n_targets
        self.params, self.slots = params, slots
        self.dtype = dtype = params.dtype
        self.key = n_samples, spec.layer_sizes[0]  # the shape of X
        self.divisor = spec.divisor(n_samples, None)
        labels = isinstance(spec.loss, CrossEntropy)
        self._net = net = prepare(spec, n_samples, dtype, 1, 1)
        low, high = (0, n_targets - 1) if labels else bounds
        largest = float(np.finfo(dtype).max)  # inf is no target
        self._plan = net.plan._replace(
            labels=labels,
            look=kernels.LOOK_AT_ALL,
            low=max(float(low), -largest),
            high=min(float(high), largest),
            dropout_key=state.dropout_key,
        )
        self._X = np.zeros((n_samples, spec.layer_sizes[0]), dtype)
        self._y = np.zeros((n_samples, 1 if labels else n_targets), dtype)
        self._targets = {self._y.shape: self._y}
        if self._y.shape[1] == 1:
            self._targets[n_samples,] = self._y[:, 0]
        self._out = np.zeros((n_samples, spec.layer_sizes[-1]), dtype)
        self._gradient, self._kept = np.empty(0, dtype), np.empty(0, dtype)
        self._cuts = [
            (slice(w, b), shape, slice(b, b + shape[1]))
            for shape, (w, b) in zip(spec.shapes, spec.offsets, strict=True)
        ]
        nothing = np.empty(0, dtype)
        self._samples = kernels.Samples(
            self._X.reshape(-1), self._y.reshape(-1), nothing, NATURAL_ORDER
        )
        self._pass = kernels.Pass(params, self._samples, net.memory[0], net.parts, 1)
        self._seat = kernels.Seat(0, 1, net.gate)
        self._refused = net.gate[kernels.REFUSED :][:1].data
        self._loss, self._rate = np.zeros(1), np.zeros(1)
        self._counts = state.counts
        self._room: tuple[Array, ...] = ()
        self._calls: dict[str, kernels.Bound] = {}
        # Bytes of memory, besides the state's; some calls add to it.
        self.size = size(net) + self._X.nbytes + self._y.nbytes + self._out.nbytes

    def serves(self, state: State) -> bool:
        """Whether it was made for these arrays, which a fit may have replaced."""
        return self.params is state.params and self._counts is state.counts

    def use(self, params: Array) -> None:
        """Compute with this vector from now on, (P,), of the same dtype."""
        if params is not self.params:
            self.params = params
            self._pass = self._pass._replace(params=params)
            for call in self._calls.values():
                call.put((2, "params"), params)

    def predict(self, X: Array) -> Array | None:
        """Return the outputs, (n_samples, n_outputs)."""
        if X.dtype != self.dtype:
            return None
        self._X[...] = X
        call = self._calls.get("predict")
        if call is None:
            plan = self._plan._replace(look=kernels.LOOK_AT_INPUTS)
            call = self._calls["predict"] = kernels.predict.bind(
                plan, self._net.route, self._pass, self._out.reshape(-1), self._seat
            )
        call.briefly()
        return None if self._is_refused() else self._out.copy()

    def evaluate(self, X: Array, y: Any) -> float | None:
        """Return the loss, reduced as the spec says."""
        if not self._takes(X, y):
            return None
        call = self._calls.get("evaluate")
        if call is None:
            call = self._calls["evaluate"] = kernels.evaluate.bind(
                self._plan, self._net.route, self._pass, self._seat
            )
        loss = float(call.briefly())  # of interpreted kernels NumPy's
        return None if self._is_refused() else loss / self.divisor

    def gradient(self, X: Array, y: Any) -> tuple[float, list[Array], list[Array]] | None:
        """Return the loss and its gradients by all weights and all biases."""
        if not self._takes(X, y):
            return None
        call = self._calls.get("gradient")
        if call is None:
            self._gradient = np.zeros_like(self.params)
            self.size += self._gradient.nbytes
            call = self._calls["gradient"] = kernels.gradient.bind(
                self._plan, self._net.route, self._pass, self._gradient, self._X[0, :0], self._seat
            )
        loss = float(call.briefly())
        if self._is_refused():
            return None
        found = self._gradient.copy()
        weights = [found[w].reshape(shape) for w, shape, _ in self._cuts]
        return loss / self.divisor, weights, [found[b] for _, _, b in self._cuts]

    def train(self, X: Array, y: Any, rate: float, room: tuple[Array, ...]) -> bool:
        """
        Do one update; count it and write its loss and rate to the history.

        ``room`` is where: the columns of the losses and of the rates, and how many are written.
        """
        writable = self.params.flags.writeable and self.slots.flags.writeable
        if not writable or not self._takes(X, y):
            return False
        self._rate[0] = rate
        call = self._calls.get("train")
        if call is None:
            call = self._calls["train"] = self._bound_to(room)
        elif any(new is not old for new, old in zip(room, self._room, strict=True)):
            call.put((2, "once"), self._once(room))
        return bool(call.briefly() == 1)

    def _bound_to(self, room: tuple[Array, ...]) -> kernels.Bound:
        net = self._net
        work = kernels.Work(
            self.params,
            self.slots.reshape(-1),
            self._samples,
            self._loss,
            self._rate,
            net.memory[0],
            net.gradients,
            net.parts,
            self._once(room),
        )
        return kernels.train.bind(self._plan, net.route, work, self._seat, 0, 1, 0)

    def _once(self, room: tuple[Array, ...]) -> kernels.Once:
        self._room = room
        if self._kept.size == 0:
            self._kept = np.empty(self.params.size + self.slots.size, self.dtype)
            self.size += self._kept.nbytes
        losses, rates, written = room
        return kernels.Once(self._kept, self._counts, float(self.divisor), losses, rates, written)

    def _takes(self, X: Array, y: Any) -> bool:
        """Copy samples. The shape of X was looked at."""
        if X.dtype != self.dtype or type(y) is not np.ndarray:
            return False
        target = self._targets.get(y.shape)
        if target is None or not (y.dtype == self.dtype or y.dtype.kind in "biu"):
            return False
        self._X[...] = X
        target[...] = y
        return True

    def _is_refused(self) -> bool:
        if self._refused[0]:
            self._refused[0] = 0
            return True
        return False


def brief(spec: Spec, n_samples: int, state: State, bounds: tuple[float, float]) -> Brief | None:
    """Return a `Brief`; None where the work is too long for one, or samples are many batches."""
    work = 3 * n_samples * spec.n_parameters
    whole = 0 < n_samples <= TILE and spec.batch(n_samples) == n_samples
    weighted = getattr(spec.loss, "class_weight", None) is not None
    if work > BRIEF or not whole or weighted or spec.custom_functions or not HAS_GIL:
        return None
    return Brief(spec, n_samples, state, bounds)


HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether only one thread of Python runs at a time. `Brief` relies on it."""
