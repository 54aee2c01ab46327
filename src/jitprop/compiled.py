"""
The numba backend: the functions of `jitprop.reference`, by the kernels.

Here names become codes and matrices become flat vectors; and here is chosen by which route.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import jitprop_kernels as kernels
from jitprop import threads
from jitprop._types import Array
from jitprop.optimizers import SGD, Adam, AdamW
from jitprop.spec import Spec
from jitprop_kernels import codes

ACTIVATION_CODES = {
    "sigmoid": codes.SIGMOID,
    "tanh": codes.TANH,
    "relu": codes.RELU,
    "leaky_relu": codes.LEAKY_RELU,
    "elu": codes.ELU,
    "softplus": codes.SOFTPLUS,
    "gelu": codes.GELU,
    "silu": codes.SILU,
    "identity": codes.IDENTITY,
    "softmax": codes.SOFTMAX,
}
LOSS_CODES = {
    "half_squared_error": codes.HALF_SQUARED_ERROR,
    "squared_error": codes.SQUARED_ERROR,
    "binary_cross_entropy": codes.BINARY_CROSS_ENTROPY,
    "cross_entropy": codes.CROSS_ENTROPY,
}

LANES_WEIGHTS = 25
"""Weights of a layer, on average over the net, up to which the lanes route is the faster: by 1.3
to 2.5 for widths of 2 to 5. From 8 units on BLAS is, by 1.3 and more. Measured for widths of 1 to
64 with batches of 1 to 256, which made no difference (Zen 4, float32 and float64)."""

NATURAL_ORDER = np.empty(0, np.int64)

FIRST_CALL = 2e8
"""Multiply-adds in the first call of `train`: 5 to 20 ms with BLAS, 0.2 s in lanes."""


class Net(NamedTuple):
    """What this backend wants to be told of a net."""

    plan: kernels.Plan
    gemm: int | None
    memory: Array
    parts: Array
    team: threads.Team


def uses_lanes(spec: Spec) -> bool:
    """Choose the route: True for lanes, False for BLAS."""
    return sum(n_in * n_out for n_in, n_out in spec.shapes) <= LANES_WEIGHTS * len(spec.shapes)


def prepare(spec: Spec, n_samples: int, dtype: np.dtype[Any], n_threads: int | None) -> Net:
    """The plan, the route, the threads, and scratch for one batch of ``n_samples`` samples."""
    lanes = uses_lanes(spec)
    batch = spec.batch(n_samples)
    capacity = -(-batch // kernels.LANES) * kernels.LANES if lanes else batch
    sizes = np.array(spec.layer_sizes, np.int64)
    units_at = np.concatenate([[0], np.cumsum(sizes)]) * capacity
    optimizer, decay_1, decay_2, epsilon = _optimizer(spec)
    layers = np.stack(
        [
            sizes[:-1],
            sizes[1:],
            *np.transpose(spec.offsets),
            units_at[:-2],
            units_at[1:-1],
            np.array([ACTIVATION_CODES[name] for name in spec.activations]),
        ],
        axis=1,
    )
    block, outputs = int(units_at[-1]), capacity * spec.layer_sizes[-1]
    regions = {
        "activations": block,
        "slopes": block,
        "deltas": block,
        "targets": outputs,
        "errors": outputs,
        "ones": capacity,
        "gradient": 0 if optimizer == codes.SGD else spec.n_parameters,
    }
    starts = np.cumsum([0, *regions.values()]).tolist()
    at = dict(zip(regions, starts[:-1], strict=True))
    memory = np.zeros(starts[-1], dtype)
    memory[at["ones"] : at["gradient"]] = 1
    plan = kernels.Plan(
        layers=np.ascontiguousarray(layers, np.int64),
        loss=LOSS_CODES[spec.loss],
        mean=spec.reduction == "mean",
        labels=False,
        batch_size=batch,
        optimizer=optimizer,
        learning_rate=spec.learning_rate,
        weight_decay=spec.weight_decay,
        decay_1=decay_1,
        decay_2=decay_2,
        epsilon=epsilon,
        zero=0,
        slopes=at["slopes"],
        deltas=at["deltas"],
        targets=at["targets"],
        errors=at["errors"],
        ones=at["ones"],
        gradient=at["gradient"],
    )
    work = 3 * batch * spec.n_parameters
    tiles = 1 if lanes else -(-batch // kernels.TILE)
    return Net(
        plan,
        None if lanes else kernels.gemm_address(dtype),
        memory,
        parts=np.zeros(tiles),
        team=threads.Team(1 if kernels.INTERPRETED else threads.choose(n_threads, work, tiles)),
    )


def close(net: Net) -> None:
    """End the threads that `train` started."""
    net.team.close()


def _optimizer(spec: Spec) -> tuple[int, float, float, float]:
    match spec.optimizer:
        case SGD(momentum=0.0):
            return codes.SGD, 0.0, 0.0, 0.0
        case SGD(momentum=momentum, nesterov=nesterov):
            return codes.NESTEROV if nesterov else codes.MOMENTUM, momentum, 0.0, 0.0
        case Adam(beta_1=beta_1, beta_2=beta_2, epsilon=epsilon) as adam:
            code = codes.ADAMW if isinstance(adam, AdamW) else codes.ADAM
            return code, beta_1, beta_2, epsilon


class _Writable:
    """What NumPy makes a writable array of, on the memory of a read-only one."""

    def __init__(self, array: Array) -> None:
        self.array = array
        data = (array.ctypes.data, False)
        self.__array_interface__ = {**array.__array_interface__, "data": data}


def _flat(array: Array) -> Array:
    """
    A flat view that may be written to.

    Kernels write neither X nor y; but numba holds a read-only array for another type, and would
    compile everything a second time for it.
    """
    flat = array.reshape(-1)
    if flat.flags.writeable:
        return flat

    return np.asarray(_Writable(flat))


def _targets(plan: kernels.Plan, y: Array) -> tuple[kernels.Plan, Array]:
    return plan._replace(labels=y.ndim == 1), _flat(y)


def train(
    net: Net,
    params: Array,
    slots: Array,
    X: Array,
    y: Array,
    order: npt.NDArray[np.int64] | None,
    losses: npt.NDArray[np.float64],
    start: int,
    stop: int,
    updates: int,
) -> int:
    """Train on batches ``start`` to ``stop``: see `jitprop.reference.train`."""
    rows = NATURAL_ORDER if order is None else _flat(order)
    plan, targets = _targets(net.plan, y)
    gate = np.zeros(kernels.GATE_SIZE, np.int64)
    flat_slots, flat_X = slots.reshape(-1), _flat(X)

    def work(rank: int, n_threads: int, stop: int) -> int:
        return kernels.train(
            plan,
            net.gemm,
            params,
            flat_slots,
            flat_X,
            targets,
            rows,
            losses,
            start,
            stop,
            updates,
            net.memory,
            net.parts,
            gate,
            rank,
            n_threads,
        )

    n = net.team.n
    if n == 1:
        return work(0, 1, stop)
    work(0, 1, start)  # compiles, if need be: no thread may fail while others wait for it
    return net.team.run(lambda rank: work(rank, n, stop))


def evaluate(net: Net, params: Array, X: Array, y: Array) -> float:
    """Summed loss of all samples."""
    plan, targets = _targets(net.plan, y)
    loss = kernels.evaluate(plan, net.gemm, params, _flat(X), targets, NATURAL_ORDER, net.memory)
    return float(loss)


def gradient(net: Net, params: Array, X: Array, y: Array, out: Array) -> float:
    """Gradient of the reduced loss of one batch into ``out``, (P,). Returns the summed loss."""
    plan, targets = _targets(net.plan, y)
    return kernels.gradient(
        plan, net.gemm, params, _flat(X), targets, NATURAL_ORDER, out, net.memory
    )


def predict(net: Net, params: Array, X: Array, out: Array) -> None:
    """Outputs of all samples into ``out``, (n_samples, n_outputs)."""
    kernels.predict(
        net.plan, net.gemm, params, _flat(X), out.reshape(-1), NATURAL_ORDER, net.memory
    )
