"""
Plans: what kernels are told of a net, in numbers.

Here names become codes and matrices become places in flat vectors; and here is chosen by which
route.
"""

from __future__ import annotations

import math
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

import jitprop_kernels as kernels
from jitprop._types import Array
from jitprop.backends import alike
from jitprop.checks import quoted
from jitprop.net import activations
from jitprop.net.activations import Activation
from jitprop.net.custom import CustomActivation, CustomLoss
from jitprop.net.losses import AbsoluteError, Huber, Loss, Quantile
from jitprop.net.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop, Rprop
from jitprop.net.spec import Spec
from jitprop_kernels import codes

ACTIVATION_CODES = {
    "sigmoid": codes.SIGMOID,
    "tanh": codes.TANH,
    "relu": codes.RELU,
    "leaky_relu": codes.LEAKY_RELU,
    "elu": codes.ELU,
    "softplus": codes.SOFTPLUS,
    "gelu": codes.GELU,
    "gelu_tanh": codes.GELU_TANH,
    "silu": codes.SILU,
    "selu": codes.SELU,
    "mish": codes.MISH,
    "softsign": codes.SOFTSIGN,
    "hard_sigmoid": codes.HARD_SIGMOID,
    "exp": codes.EXP,
    "identity": codes.IDENTITY,
    "softmax": codes.SOFTMAX,
}
LOSS_CODES = {
    "half_squared_error": codes.HALF_SQUARED_ERROR,
    "squared_error": codes.SQUARED_ERROR,
    "absolute_error": codes.PIECEWISE,
    "huber": codes.PIECEWISE,
    "quantile": codes.PIECEWISE,
    "poisson": codes.POISSON,
    "gaussian_nll": codes.GAUSSIAN_NLL,
    "binary_cross_entropy": codes.BINARY_CROSS_ENTROPY,
    "cross_entropy": codes.CROSS_ENTROPY,
}

LANES_WEIGHTS = 40
"""Weights of a layer, on average over the net, up to which the lanes route is the faster: by 1.3
to 2 for widths of 2 to 4. From there to 64 neither is by much, and above it is blocks. Measured
for widths of 2 to 16 with batches of 1 to 300 (Zen 4, float32 and float64)."""

LANES_BYTES = 1 << 25
"""Scratch for one batch up to which the lanes route is the faster: it goes through all of it for
every layer. Beyond the caches blocks, which take 64 samples through all layers, are as fast at
this size and faster from there on. The limit also keeps a batch under 0.1 s, so that the lanes
route need not listen for Ctrl-C."""

CHUNK = 256
"""Samples of a large batch that have a gradient of their own, so that their activations need not be
kept: as long as a gradient is not larger than these. 40 chunks for 10,000 samples: enough for many
threads, and few enough for their sum to cost nothing."""

PACK_BYTES, PACK_SAMPLES = 4096, 12
"""A matrix whose rows are so long is read packed, in the order of use, by batches of more samples
than go through it at once. With rows of 4 KB each lies in a page of its own: 57 GFLOP/s instead of
100 (float32, 1,024 x 1,024, 128 samples). With rows of 2 KB packing gains nothing."""

ACROSS = 32
"""Columns whose gradients may be computed across (`blocks.columns_across`): less, anywhere."""


def uses_lanes(spec: Spec, column: int = 0) -> bool:
    """Choose the route: True for lanes, False for blocks. ``column``: bytes of a batch's unit."""
    n_weights = sum(n_in * n_out for n_in, n_out in spec.shapes)
    few = n_weights <= LANES_WEIGHTS * len(spec.shapes)
    return few and numbers(spec) * column <= LANES_BYTES


def numbers(spec: Spec) -> int:
    """Numbers of scratch for each sample of a batch, in lanes."""
    return spec.layer_sizes[0] + 3 * sum(spec.layer_sizes[1:]) + 2 * spec.layer_sizes[-1]


def most_alike(spec: Spec, size: int, dtype: np.dtype[Any]) -> int:
    """Of the batches whose sums are ordered as those of ``size`` samples, the largest."""
    most = (1 << size.bit_length()) - 1
    if uses_lanes(spec, size * dtype.itemsize):
        most = min(most, LANES_BYTES // (numbers(spec) * dtype.itemsize))
    return most


def make(
    spec: Spec,
    batch: int,
    samples: int,
    chunk: int,
    lanes: bool,
    dtype: np.dtype[Any],
    n_threads: int,
) -> tuple[kernels.Plan, int]:
    """The plan, and the size of its scratch memory, for blocks of ``samples`` samples."""
    if lanes:
        n = kernels.VECTOR_BYTES // dtype.itemsize
        samples = -(-samples // n) * n
    sizes = np.array(spec.layer_sizes, np.int64)
    blocks = np.concatenate([[0], np.cumsum(sizes)]) * samples
    units, outputs = int(blocks[-1] - blocks[1]), samples * spec.layer_sizes[-1]
    end = int(blocks[1]) + 3 * units
    targets, errors = end, end + outputs
    end = errors + outputs
    packed: list[int] = []
    transposed: list[int] = []
    for l, (n_in, n_out) in enumerate(spec.shapes):
        copies = (
            (packed, n_out * dtype.itemsize >= PACK_BYTES and batch > PACK_SAMPLES),
            (transposed, l > 0),
        )
        for places, wanted in copies:
            places.append(end if wanted and not lanes else -1)
            end += n_in * n_out if wanted and not lanes else 0
    wide = [n_out for (_, n_out), at in zip(spec.shapes, packed, strict=True) if at >= 0]
    panels, panel_size = end, min(batch, kernels.DEPTH) * max(wide, default=0)
    panel_size += 0 if lanes else max(n_in * min(n_out, ACROSS) for n_in, n_out in spec.shapes)
    shares = panels + (1 if chunk else n_threads) * panel_size  # with chunks: own scratch
    end = shares + samples
    layers = np.stack(
        [
            sizes[:-1],
            sizes[1:],
            *np.transpose(spec.offsets),
            blocks[:-2],
            blocks[1:-1],
            np.array([_activation_code(activation, dtype) for activation in spec.activations]),
            np.array(packed),
            np.array(transposed),
            dropped(np.array([*spec.dropout, 0.0])),
        ],
        axis=1,
    )
    optimizer, settings = _optimizer(spec, dtype)
    edge, below, above = _pieces(spec.loss)
    gain, offset = spec.loss.smoothing(spec.n_targets)
    plan = kernels.Plan(
        layers=np.ascontiguousarray(layers, np.int64),
        factors=np.array(spec.factors, np.float64).reshape(-1),
        numbers=np.array([activations.number_of(a) or 0.0 for a in spec.activations], np.float64),
        loss=_loss_code(spec.loss, dtype),
        edge=edge,
        below=below,
        above=above,
        n_targets=spec.n_targets,
        gain=gain,
        offset=offset,
        mean=spec.reduction == "mean",
        labels=False,
        weighted=False,
        stand_in=-1,
        look=kernels.LOOK_AT_NOTHING,
        low=-math.inf,
        high=math.inf,
        batch_size=batch,
        chunk=chunk,
        optimizer=optimizer,
        weight_decay=spec.weight_decay,
        decay_biases=spec.decay_biases,
        sklearn=kernels.SklearnRules(
            l2=spec.sklearn.l2,
            reported_l2=spec.sklearn.reported_l2,
            epsilon=float(np.finfo(dtype).eps) if spec.sklearn.clipped_above < math.inf else 0.0,
            clipped_above=spec.sklearn.clipped_above,
            batches_by_size=spec.sklearn.batches_by_size,
        ),
        clip_norm=spec.clip_norm or 0.0,
        settings=settings,
        rate_in_velocity=_rate_in_velocity(spec.optimizer),
        dropout_key=0,
        scale_rows=spec.scale_rows,
        scale_rate=spec.input_scale_rate or 0.0,
        slopes=units,
        deltas=2 * units,
        targets=targets,
        errors=errors,
        panels=panels,
        panel_size=panel_size,
        squares=0,
        shares=shares,
    )
    return plan, end


def make_for_members(
    spec: Spec, n_samples: int, dtype: np.dtype[Any], lanes: int
) -> tuple[kernels.Plan, int]:
    """The plan for a group of nets in the lanes of vectors, and the size of its scratch."""
    batch = spec.batch(n_samples)
    samples = -(-batch // kernels.SAMPLES) * kernels.SAMPLES
    plan, size = make(spec, batch, samples * lanes, 0, True, dtype, 1)
    return plan._replace(panels=size), size + (4 + spec.n_parameters) * lanes


def dropped(p: Array) -> npt.NDArray[np.int64]:
    """Of 2**53 units, how many are dropped with these probabilities."""
    return np.ceil(p * 2.0**53).astype(np.int64)


_loops: WeakKeyDictionary[CustomActivation | CustomLoss, dict[Any, kernels.Loop]] = (
    WeakKeyDictionary()
)


_shared: dict[Any, kernels.Loop] = {}
"""Those that others of the same code may use; numba would not free their machine code anyway."""


def _loop(own: CustomActivation | CustomLoss, dtype: np.dtype[Any]) -> kernels.Loop:
    """The user's own activation or loss, compiled once for each dtype."""
    arity = 1 if isinstance(own, CustomActivation) else 2
    value, derivative = alike.key(own.value), alike.key(own.derivative)
    known: dict[Any, kernels.Loop]
    key: Any
    if value is not None and derivative is not None:
        known, key = _shared, (value, derivative, arity, dtype)
    else:
        known, key = _loops.setdefault(own, {}), dtype
    if key not in known:
        try:
            known[key] = kernels.compile_loop(own.value, own.derivative, arity, dtype)
        except TypeError as error:
            raise TypeError(
                f"numba cannot compile {quoted(own.name)}; write it with numbers, math and NumPy "
                f"alone, or take backend='numpy'. Numba says: {error}"
            ) from error
    return known[key]


def _activation_code(activation: Activation, dtype: np.dtype[Any]) -> int:
    if isinstance(activation, CustomActivation):
        return _loop(activation, dtype).address
    return ACTIVATION_CODES[activations.name_of(activation)]


def _loss_code(loss: Loss, dtype: np.dtype[Any]) -> int:
    return _loop(loss, dtype).address if isinstance(loss, CustomLoss) else LOSS_CODES[loss.name]


def own(spec: Spec, dtype: np.dtype[Any]) -> list[kernels.Loop]:
    """What the addresses in a plan lead to."""
    functions = (*spec.activations, spec.loss)
    return [_loop(f, dtype) for f in functions if isinstance(f, CustomActivation | CustomLoss)]


def _pieces(loss: Loss) -> tuple[float, float, float]:
    """Where a piecewise loss bends, and how steep it is beyond: see `Plan`."""
    match loss:
        case AbsoluteError():
            return 0.0, 1.0, 1.0
        case Huber(delta=delta):
            return delta, delta, delta
        case Quantile(q=q):
            return 0.0, q, 1.0 - q
    return 0.0, 0.0, 0.0


def _rate_in_velocity(optimizer: Optimizer) -> bool:
    """Without a momentum there is no velocity, and both forms are one."""
    if not isinstance(optimizer, SGD | RMSprop):
        return True
    return optimizer.rate_in_velocity or optimizer.momentum == 0.0


def _optimizer(spec: Spec, dtype: np.dtype[Any]) -> tuple[int, tuple[float, float, float, float]]:
    """The optimizer's code and settings: see `jitprop_kernels.optimizers.update`."""
    match spec.optimizer:
        case SGD(momentum=0.0):
            return codes.SGD, (0.0, 0.0, 0.0, 0.0)
        case SGD(momentum=momentum, nesterov=nesterov):
            return codes.NESTEROV if nesterov else codes.MOMENTUM, (momentum, 0.0, 0.0, 0.0)
        case Adam(beta_1=beta_1, beta_2=beta_2, epsilon=epsilon) as adam:
            code = codes.ADAMW if isinstance(adam, AdamW) else codes.ADAM
            least = epsilon if adam.epsilon_hat else float(np.finfo(dtype).smallest_subnormal)
            return code, (beta_1, beta_2, epsilon, least)
        case RMSprop(rho=rho, momentum=momentum, epsilon=epsilon) as rmsprop:
            beside, below = (0.0, epsilon) if rmsprop.epsilon_in_root else (epsilon, 0.0)
            return codes.RMSPROP, (rho, momentum, beside, below)
        case Rprop(eta_minus, eta_plus, step_min, step_max, backtracking):
            code = codes.RPROP_PLUS if backtracking else codes.RPROP
            return code, (eta_minus, eta_plus, step_min, step_max)
    return codes.SGD, (0.0, 0.0, 0.0, 0.0)  # a second-order method does not read this
