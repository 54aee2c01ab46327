"""The peak memory of a fleet and of its fit is what the docstring says."""

from __future__ import annotations

import time
import tracemalloc
import weakref

import numpy as np
import pytest

from jitprop import EarlyStopping, Fleet
from jitprop.fleet import engines

SMALL = 200_000
"""Bytes for Python's objects, for scratch, and for drawing the parameters."""

WATCHED = 1 << 20
"""Bytes for the members after each epoch of a block."""

NETS = {
    "lanes": ([3, 4, 1], 5_000, 4),
    "wider lanes": ([8, 8, 8], 1_000, 8),
    "loop": ([30, 60, 4], 200, 8),
}


@pytest.mark.parametrize("how", ["plain", "shuffled", "stopped"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("net", NETS)
def test_a_fleet_takes_what_its_docstring_says(net, optimizer, how):
    sizes, k, n = NETS[net]
    rng = np.random.default_rng(0)
    X, y = (rng.random((n, width), np.float32) for width in (sizes[0], sizes[-1]))
    arguments = {
        "optimizer": optimizer, "dtype": "float32", "seed": 0, "n_threads": 1,
        "shuffle": how == "shuffled", "batch_size": n // 2 if how == "shuffled" else None,
    }  # fmt: skip
    stopping = [EarlyStopping(monitor="loss", patience=99)] if how == "stopped" else []
    epochs = 10
    Fleet(sizes, members=20, **arguments).fit(X, y, 2, callbacks=stopping)  # compiles, imports
    tracemalloc.start()
    try:
        fleet = Fleet(sizes, members=k, **arguments)
        begun = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        fleet.fit(X, y, epochs, callbacks=stopping)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    n_parameters = fleet.parameters.shape[1]
    numbers = 4 * n_parameters * (1 + fleet._model.state.slots.shape[1])
    ref = k * (numbers + 100)
    assert 0.9 * ref < begun < ref + SMALL
    ref += k * (numbers * (2 if net == "loop" else 3) + 150 + 8 * epochs)
    if how == "shuffled":
        ref += 1700 * k + min(max(1 << 23, 8 * n * k), 8 * n * k * epochs)
    if how == "stopped":
        ref += 4 * n_parameters * k
        ref += min(numbers * k * epochs, WATCHED) * (2 if net == "loop" else 3)
    # A fit of one block keeps no copy of the parameters before it.
    assert 0.4 * ref < peak < ref + SMALL


def test_a_thread_that_ends_late_holds_no_array(monkeypatch):
    reach = engines.End.reach

    def late(end):
        reach(end)
        time.sleep(0.2)

    monkeypatch.setattr(engines.End, "reach", late)
    array = np.zeros(8)
    alive = weakref.ref(array)

    def work(i, array=array):
        array[i] = 1.0

    engines.run(work, 2, 1)
    del work, array
    assert alive() is None
