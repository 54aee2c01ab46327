"""A processor without FMA rounds each product; one warning says so."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import warnings

import numpy as np
import pytest

from jitprop import Trainer
from jitprop_kernels import entry, stored
from jitprop_kernels.target import INTERPRETED

pytestmark = pytest.mark.skipif(INTERPRETED, reason="interpreted kernels have no machine code")


@pytest.fixture
def predicting(monkeypatch):
    """Return a call that asks for the kernel's code anew, and a switch for FMA."""
    monkeypatch.setattr(stored, "_said", set())
    trainer = Trainer([2, 2, 1], seed=0, backend="numba")
    trainer.predict([[0, 1]])

    def call(fused):
        monkeypatch.setattr(entry, "fuses", lambda target: fused)
        monkeypatch.setattr(entry.predict, "codes", {})
        return Trainer([2, 2, 1], seed=0, backend="numba").predict([[0, 1]])

    return call


def test_the_warning_comes_once_in_a_process(predicting):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predicting(fused=True)
    with pytest.warns(RuntimeWarning, match="last digits differ"):
        predicting(fused=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predicting(fused=False)


def test_as_an_error_it_comes_once_too(predicting):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="no fused multiply-add"):
            predicting(fused=False)
        assert predicting(fused=False).shape == (1, 1)


SCRIPT = """
import json, warnings
import numpy as np
from jitprop import Trainer
rng = np.random.default_rng(0)
found = []
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for sizes in ([3, 4, 1], [16, 40, 8]):
        X, y = rng.random((40, sizes[0])), rng.random((40, sizes[-1]))
        for n_threads in (1, 2):
            trainer = Trainer(sizes, seed=1, n_threads=n_threads)
            trainer.fit(X, y, 30)
            found.append(trainer.parameters.tolist())
print(json.dumps([found, [str(w.message) for w in caught]]))
"""


@pytest.mark.long
@pytest.mark.skipif(platform.machine() != "x86_64", reason="of the others all have FMA")
def test_results_are_those_of_other_processors_but_for_last_digits():
    def run(**env):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | env,
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        return json.loads(done.stdout)

    usual, silent = run(NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES="")
    found, said = run(NUMBA_CPU_NAME="generic")
    others, _ = run(NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES="-fma")
    assert not silent
    assert len(said) == 1
    assert "FMA" in said[0]
    assert found == others
    for one, other in zip(found, usual, strict=True):
        assert one != other
        np.testing.assert_allclose(one, other, rtol=1e-9)
    assert found[::2] == found[1::2]  # whatever the number of threads
