"""
Bits under NUMBA_OPT=0, where LLVM fuses some products with sums and others not.

A sample's prediction must not depend on which others are beside it: threads share out samples.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SECONDS = 300  # of patience; alone it needs 4

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


@pytest.mark.long
def test_bits_do_not_depend_on_how_samples_are_shared_out():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE_AND_TOGETHER],
        env={**os.environ, "NUMBA_OPT": "0"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
