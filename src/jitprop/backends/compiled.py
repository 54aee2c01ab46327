"""The numba backend: the functions of `jitprop.reference`, by the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

import jitprop_kernels as kernels
from jitprop._types import Array
from jitprop.backends import brief as briefs
from jitprop.backends import curvature, descent, plans, prepared
from jitprop.backends import single as singles
from jitprop.backends import watcher as watchers
from jitprop.backends.prepared import (
    Net,
    bound_pass,
    bound_training,
    run_bound,
    tiles_in,
    train_bound,
)
from jitprop.data.samples import Arrays, Steps
from jitprop.net.second_order import is_second_order
from jitprop.net.spec import Spec
from jitprop.net.state import check_written

FIRST_CALL = 2e8
"""Multiply-adds in the first call of `train`: 4 ms on the blocks route, 0.1 s in lanes."""

COMPILED = True

check = kernels.check
check_settings = kernels.check_settings
CompileError = kernels.CompileError
uses_lanes = plans.uses_lanes
most_alike = plans.most_alike
HALTED = prepared.HALTED
prepare_pass = prepared.prepare_pass
halt = prepared.halt
size = prepared.size
close = prepared.close
watcher = watchers.watcher
brief = briefs.brief
Single = singles.Single
root_of_inverse = curvature.root_of_inverse
variances = curvature.variances


def prepare(
    spec: Spec, n_samples: int, dtype: np.dtype[Any], n_threads: int | None, n_updates: int
) -> Net:
    """Prepare a net for training: see `jitprop.reference.prepare`."""
    how = descent.prepare if is_second_order(spec.optimizer) else prepared.prepare
    return how(spec, n_samples, dtype, n_threads, n_updates)


def interpreted() -> bool:
    """Whether NUMBA_DISABLE_JIT is set, so that kernels are plain Python."""
    return kernels.INTERPRETED


def cache_folder() -> str | None:
    """The folder that keeps the compiled kernels; None where none can be written."""
    return next((code.folder for code in kernels.train.codes.values()), None)


def train(
    net: Net, params: Array, slots: Array, steps: Steps, updates: int, dropout_key: int
) -> int:
    """Train on some batches: see `jitprop.reference.train`."""
    if net.method is not None:
        bind = descent.bound_training(net, params, slots, steps)
    else:
        bind = bound_training(net, params, slots, steps, updates, dropout_key)
    return train_bound(net, bind, steps.start)


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
    bind = bound_pass(net, entry, params, samples, out, how)
    try:
        found, _, _ = run_bound(net, bind)
        return found, bool(net.gate[kernels.REFUSED])
    finally:
        net.gate[:] = 0


def evaluate(net: Net, params: Array, samples: Arrays, group: int, look: bool) -> float:
    """Summed loss of all samples, each times its weight: see `jitprop.reference.evaluate`."""
    inputs = kernels.LOOK_AT_INPUTS if look else kernels.LOOK_AT_NOTHING
    found, refused = _pass(
        net, kernels.evaluate, params, samples, (), (inputs, tiles_in(net, group))
    )
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
