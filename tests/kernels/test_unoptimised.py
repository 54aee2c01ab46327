"""
The bits under NUMBA_OPT=0, where LLVM makes machine code in other ways.

A sample's prediction must not depend on the samples beside it, since threads split the samples.
A member's training must not depend on the number of members, which decides the vectors' width.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SECONDS = 300  # to wait at most; alone it needs 4

ALONE_AND_TOGETHER = """
import numpy as np
from jitprop import Trainer

X = np.random.default_rng(0).random((40, 64))
trainer = Trainer([64, 64, 8], seed=0, backend="numba", n_threads=1)
together = trainer.predict(X)
for n in (1, 2, 3, 7, 13):
    for first in range(0, 40 - n, 3):
        part = slice(first, first + n)
        assert (trainer.predict(X[part]) == together[part]).all(), (n, first)
"""


FEW_AND_MANY = """
import numpy as np
from jitprop import Fleet

rng = np.random.default_rng(0)
X, y = rng.random((20, 3)), rng.random((20, 2))

def outputs(members):
    fleet = Fleet([3, 4, 2], members=members, seed=0, batch_size=7, backend="numba", n_threads=1)
    fleet.fit(X, y, 3)
    return fleet.predict(X)

many = outputs(20)
for members in (1, 3):
    assert (outputs(members) == many[:members]).all(), members
"""


@pytest.mark.long
@pytest.mark.parametrize("script", [ALONE_AND_TOGETHER, FEW_AND_MANY])
def test_bits_do_not_depend_on_neighbours(script):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, "NUMBA_OPT": "0"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
