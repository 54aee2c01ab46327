"""Compile every kernel before its first use, for container images and CI."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Sequence

import numpy as np

from jitprop import backends
from jitprop.fleet import Fleet
from jitprop.trainer import Trainer

WIDTHS = 2, 64
"""A width for each route: see `jitprop.backends.compiled.uses_lanes`."""

MEMBERS = 1, 32
"""A number of members for each kind of vector: see `jitprop.fleet.lanes`."""


UNUSABLE = ImportError, RuntimeError, ValueError, RuntimeWarning
"""What `check` raises. A warning is an error for those who ask Python for that."""


def check() -> None:
    """
    Check that kernels can be compiled.

    Raises
    ------
    ImportError
        If numba cannot be imported.
    RuntimeError
        If NUMBA_DISABLE_JIT is set.
    ValueError
        If JITPROP_COMPILER has an unknown value.
    """
    backends.load("numba")
    from jitprop.backends import compiled

    if compiled.interpreted():
        raise RuntimeError("NUMBA_DISABLE_JIT is set, so no kernel is compiled; unset it")


def warm_up(dtypes: Sequence[str] = ("float32", "float64")) -> str | None:
    """
    Compile the kernels of both routes, of fleets and of full-batch methods, or load them.

    Parameters
    ----------
    dtypes : sequence of {"float32", "float64"}, default both

    Returns
    -------
    str or None
        The folder of the cache; None if no folder can be written to.

    Raises
    ------
    ImportError, RuntimeError, ValueError
        As in `check`.
    """
    check()
    for width, dtype in itertools.product(WIDTHS, dtypes):
        trainer = Trainer([width, width], dtype=dtype, seed=0, backend="numba")
        X = np.zeros((1, width), dtype)
        trainer.fit(X, X, epochs=1, validation_data=(X, X))
        trainer.predict(X)
        trainer.evaluate(X, X)
        trainer.gradients(X, X)
        # "lm" has the kernel of "bayesian", and "lbfgs" that of "scg".
        other = Trainer([width, width], optimizer="scg", dtype=dtype, seed=0, backend="numba")
        other.fit(X, X, epochs=1)
        n = min(width, 40)  # standard deviations are for nets of at most 2,000 parameters
        X = X[:, :n]
        other = Trainer([n, n], optimizer="bayesian", dtype=dtype, seed=0, backend="numba")
        other.fit(X, X, epochs=1)
        other.predict(X, return_std=True)
    for members, dtype in itertools.product(MEMBERS, dtypes):
        fleet = Fleet([2, 2], members=members, dtype=dtype, seed=0, backend="numba")
        X = np.zeros((1, 2), dtype)
        fleet.fit(X, X, epochs=1)
        fleet.predict(X)
        fleet.evaluate(X, X)
    from jitprop.backends import compiled

    return compiled.cache_folder()


def main() -> int:
    """
    Warm up, and print how long it took and where the machine code is.

    Returns
    -------
    int
        The exit code: 0, or 2 if kernels cannot be compiled. An error is one line on stderr.
    """
    began = time.perf_counter()
    try:
        check()
    except UNUSABLE as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    folder = warm_up()
    print(f"All kernels ready after {time.perf_counter() - began:.1f} s, in {folder or 'memory'}")
    return 0
