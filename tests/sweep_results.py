"""Helpers for the tests of sweeps."""

from __future__ import annotations

import numpy as np

from jitprop import SweepResult


def equal(a: SweepResult, b: SweepResult) -> None:
    """Check that two results are equal, bit for bit."""
    assert a.settings == b.settings
    assert list(a.measured) == list(b.measured)
    for name, values in a.measured.items():
        np.testing.assert_array_equal(values, b.measured[name], err_msg=name)
    np.testing.assert_array_equal(a.ranks, b.ranks)
