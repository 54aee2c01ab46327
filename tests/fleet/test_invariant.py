"""A member's bits do not depend on the others, with all settings its own, whoever stops."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jitprop import SGD, Adam, EarlyStopping, Fleet

K, N = 20, 11
NETS = {"lanes": [3, 4, 2], "loop": [5, 48, 3]}


class Everyone:
    """Members with different settings and data; two of them diverge."""

    def __init__(self, sizes, dtype, optimizer):
        rng = np.random.default_rng(7)
        self.sizes = sizes
        self.shared = {
            "activation": "relu", "output_activation": "identity", "batch_size": 4,
            "dtype": dtype, "optimizer": optimizer,
        }  # fmt: skip
        rates = rng.uniform(0.01, 0.1, K)
        rates[[3, 11]] = 1e30
        self.own = {
            "seed": rng.permutation(1000)[:K],
            "learning_rate": rates,
            "weight_decay": rng.uniform(0, 0.01, K),
            "dropout": rng.choice([0.0, 0.2, 0.5], K),
        }
        if isinstance(optimizer, SGD):
            self.own["momentum"] = rng.choice([0.5, 0.9], K)
        self.X, self.y = rng.normal(size=(K, N, sizes[0])), rng.normal(size=(K, N, sizes[-1]))
        self.weights = rng.integers(0, 3, (K, N)) + (np.arange(N) == 0)
        self.held_out = [rng.normal(size=(K, 5, size)) for size in (sizes[0], sizes[-1])]

    def train(self, numbers, n_threads=None):
        """Train some of them; return their parameters, losses, predictions and epochs."""
        own = {name: values[numbers] for name, values in self.own.items()}
        fleet = Fleet(self.sizes, members=len(numbers), n_threads=n_threads, **self.shared, **own)
        watching = {
            "validation_data": [part[numbers] for part in self.held_out],
            "callbacks": EarlyStopping(patience=2),
        }
        X, y, weights = self.X[numbers], self.y[numbers], self.weights[numbers]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            fleet.fit(X, y, 3, sample_weight=weights)
            history = fleet.fit(X, y, 9, sample_weight=weights, **watching)
        losses = np.full((9, len(numbers)), np.nan)
        losses[: len(history.loss)] = history.loss
        return [
            fleet.parameters,
            losses.T,
            fleet.predict(X),
            fleet.evaluate(X, y, sample_weight=weights),
            fleet.epochs_trained,
            history.epochs,
        ]


@pytest.fixture(scope="module")
def everyone():
    known = {}

    def make(kind, dtype, optimizer):
        key = kind, dtype, repr(optimizer)
        if key not in known:
            made = Everyone(NETS[kind], dtype, optimizer)
            known[key] = made, made.train(np.arange(K))
        return known[key]

    return make


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", [SGD(momentum=0.5, nesterov=True), Adam()])
@pytest.mark.parametrize("kind", NETS)
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    numbers=st.lists(st.integers(0, K - 1), min_size=1, max_size=30),
    n_threads=st.sampled_from([1, 2, None]),
)
def test_among_others(kind, optimizer, dtype, numbers, n_threads, everyone):
    """A fleet of some members, in any order and with repetitions, gives the same bits."""
    some, ref = everyone(kind, dtype, optimizer)
    assert len(set(ref[-1].tolist())) > 2, "they stop at different epochs"
    for own, of_all in zip(some.train(np.array(numbers), n_threads), ref, strict=True):
        np.testing.assert_array_equal(own, of_all[numbers])


PROCESS = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import test_invariant as t
for kind, dtype in t.EACH:
    some = t.Everyone(t.NETS[kind], dtype, t.Adam())
    print(t.digest(some.train(np.array([17, 3, 5]), 1)))
"""
EACH = [(kind, dtype) for kind in NETS for dtype in ("float64", "float32")]


def digest(parts):
    parts = [np.ascontiguousarray(part).tobytes() for part in parts]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_in_another_process(everyone, request):
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, str(request.path.parent)],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    refs = [everyone(kind, dtype, Adam())[1] for kind, dtype in EACH]
    assert done.stdout.split() == [digest(part[[17, 3, 5]] for part in ref) for ref in refs]
