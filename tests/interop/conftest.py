"""Fixtures of the comparisons with other libraries. `make interop` runs them."""

from __future__ import annotations

import os

import numpy as np
import pytest

os.environ["KERAS_BACKEND"] = "jax"  # before any test imports Keras


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
