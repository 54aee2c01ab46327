"""The peak memory of a fit is what its docstring says."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from jitprop import Trainer
from jitprop.backends import threads
from jitprop.training.nets import Nets
from nets import limit_calls

SMALL = 20_000
"""Bytes for Python's objects, of which it keeps some for later."""

STATE = {"sgd": 0, "adam": 2}

# (sizes, samples, batch size, threads), (whether there are chunks, copies of weights)
LANES = ([4, 6, 3], 9000, 3000, 1), (False, False)
WHOLE = ([300, 400, 10], 900, 300, 2), (False, True)
NARROW_CHUNKS = ([100, 200, 10], 6000, 2000, 1), (True, True)
TWO_THREADS = ([100, 200, 10], 6000, 2000, 2), (True, True)
VERY_WIDE = ([20, 1100, 1100], 100, 50, 1), (False, True)


def samples(sizes, n_samples):
    rng = np.random.default_rng(0)
    return [rng.random((n_samples, size), np.float32) for size in (sizes[0], sizes[-1])]


def peak(X, y, epochs, sizes, **arguments):
    """Return the bytes of the net plus the peak of what the fit allocates."""
    trainer = Trainer(sizes, dtype="float32", seed=0, backend="numba", **arguments)
    for _ in range(2):  # compiles and imports
        trainer.fit(X, y, 1)
    trainer._model.nets = Nets()  # it forgets the net that it has prepared
    tracemalloc.start()
    try:
        trainer.fit(X, y, epochs)
        allocated = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return allocated + trainer.parameters.nbytes + trainer._model.state.slots.nbytes


def promised(sizes, batch_size, n_threads, chunks, copies, state):
    """Return the docstring's bytes, without those for epochs and shuffling."""
    n_parameters = sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes))
    block = sizes[0] + 3 * sum(sizes[1:]) + 2 * sizes[-1] + 1
    if chunks:
        scratch = n_threads * 64 * block + n_parameters * -(-batch_size // 256)
    else:
        scratch = batch_size * block + n_parameters
    copied = 2 * n_parameters * (n_threads if chunks else 1) if copies else 0
    return 4 * (3 * (1 + state) * n_parameters + scratch + copied)


@pytest.mark.parametrize("optimizer", STATE)
@pytest.mark.parametrize("case", [LANES, WHOLE, NARROW_CHUNKS, TWO_THREADS, VERY_WIDE])
def test_a_fit_takes_what_its_docstring_says(case, optimizer, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    limit_calls(
        monkeypatch, 1
    )  # each epoch is a block, and copies of the state are made and dropped
    (sizes, n_samples, batch_size, n_threads), (chunks, copies) = case
    X, y = samples(sizes, n_samples)
    found = peak(
        X, y, 6, sizes,
        optimizer=optimizer, batch_size=batch_size, shuffle=False, n_threads=n_threads,
    )  # fmt: skip
    expected = promised(sizes, batch_size, n_threads, chunks, copies, STATE[optimizer])
    # Less where the formula says "at most": SGD without chunks stores no gradient, and some
    # matrices need no copy.
    assert 0.7 * expected < found < 1.02 * expected + SMALL


@pytest.mark.parametrize("n_samples", [1_200_000, 1000])
def test_shuffling_takes_16_bytes_a_sample_or_16_mb(n_samples):
    X, y = samples([2, 1], n_samples)
    epochs = 5 * max(1, (1 << 20) // n_samples)
    found = peak(X, y, epochs, [2, 1], batch_size=n_samples // 2)
    found -= promised([2, 1], n_samples // 2, 1, False, False, 0)
    expected = max(16 * n_samples, 16 << 20)
    assert 0.95 * expected < found < 1.02 * expected + 24 * epochs + SMALL


@pytest.mark.parametrize("writable", [True, False])
def test_right_data_are_not_copied(writable):
    X, y = samples([50, 50], 10_000)
    X.flags.writeable = y.flags.writeable = writable
    found = peak(X, y, 2, [50, 50], batch_size=50, shuffle=False)
    assert found < 0.1 * X.nbytes


def test_an_epoch_takes_24_bytes():
    X, y = samples([3, 2], 20)
    # The first one also makes what Python keeps for all later ones.
    _, few, many = (
        peak(X, y, n, [3, 2], batch_size=10, shuffle=False) for n in (201_000, 1000, 201_000)
    )
    assert abs(many - few - 24 * 200_000) < SMALL
