"""Which backend computes; numba is imported here, when first asked for, and not before."""

from __future__ import annotations

import importlib
import warnings
from functools import cache
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from jitprop import checks
from jitprop._types import Array
from jitprop.backends.threads import uninterrupted
from jitprop.checks import quoted
from jitprop.interrupts import Interrupts, from_a_handler
from jitprop.net.spec import Spec

NAMES = ("auto", "numba", "numpy")


class Backend(Protocol):
    """What `jitprop.reference` and `jitprop.backends.compiled` offer; the former documents it."""

    FIRST_CALL: float
    HALTED: int

    def prepare(
        self,
        spec: Spec,
        n_samples: int,
        dtype: np.dtype[Any],
        n_threads: int | None,
        n_updates: int,
    ) -> Any: ...

    def most_alike(self, spec: Spec, size: int, dtype: np.dtype[Any]) -> int: ...

    def halt(self, net: Any) -> bool: ...

    def close(self, net: Any) -> None: ...

    def train(
        self,
        net: Any,
        params: Array,
        slots: Array,
        X: Array,
        y: Array,
        weights: Array | None,
        order: npt.NDArray[np.int64] | None,
        losses: npt.NDArray[np.float64],
        rates: npt.NDArray[np.float64],
        start: int,
        stop: int,
        updates: int,
        dropout_key: int,
    ) -> int: ...

    def evaluate(
        self, net: Any, params: Array, X: Array, y: Array, weights: Array | None
    ) -> float: ...

    def gradient(
        self, net: Any, params: Array, X: Array, y: Array, weights: Array | None, out: Array
    ) -> float: ...

    def predict(self, net: Any, params: Array, X: Array, out: Array) -> None: ...


def check(name: str) -> str:
    """The name, if it is one."""
    return checks.choice("backend", name, NAMES)


@cache
def load(name: str) -> Backend:
    """
    The backend of that name; "auto" is numba, or NumPy with one warning where numba is missing.

    Raises
    ------
    ImportError
        For "numba" where numba cannot be imported.
    """
    if name == "numpy":
        return cast(Backend, importlib.import_module("jitprop.reference"))
    found = uninterrupted(_compiled)
    if not isinstance(found, Exception):
        return found
    if name == "numba":
        raise ImportError(
            "backend='numba' needs a working numba, which failed to import: " + quoted(found)
        ) from found
    warnings.warn(
        f"numba failed to import ({quoted(found)}); training with NumPy, which is far slower",
        RuntimeWarning,
        stacklevel=2,
    )
    return load("numpy")


def _compiled() -> Backend | Exception:
    """
    The backend that needs numba, or why there is none.

    To be called where no signal breaks it off: numba cannot be imported again in a process in which
    half of it was.
    """
    try:
        with Interrupts():
            return cast(Backend, importlib.import_module("jitprop.backends.compiled"))
    except Exception as error:  # a broken numba raises more than ImportError
        if from_a_handler(error):
            raise
        return error
