"""The choice of the backend, and the first check that it works."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.backends import threads
from jitprop.backends.threads import uninterrupted
from jitprop.checks import quoted
from jitprop.data.samples import Arrays, Steps
from jitprop.data.watched import Predicted, Validation
from jitprop.interrupts import Interrupts, from_a_handler
from jitprop.net.spec import Spec
from jitprop.net.state import State

NAMES = ("auto", "numba", "numpy")

TILE = 256
"""A pass takes so many samples at a time, so that it needs little scratch memory."""


class Backend(Protocol):
    """
    The functions and constants that a backend has. `jitprop.reference` documents the functions.

    Attributes
    ----------
    FIRST_CALL : float
        Multiply-adds in the first call of ``train``. Later calls depend on the speed of earlier
        ones.
    HALTED : int
        What ``train`` returns if it was halted in the middle of a batch.
    COMPILED : bool
        Whether it takes any number of samples in one call, as it needs little memory besides, and
        can be halted. The other one uses BLAS, which may have threads of its own.
    """

    FIRST_CALL: float
    HALTED: int
    COMPILED: bool

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

    def size(self, net: Any) -> int: ...

    def close(self, net: Any) -> None: ...

    def train(
        self,
        net: Any,
        params: Array,
        slots: Array,
        steps: Steps,
        updates: int,
        dropout_key: int,
    ) -> int: ...

    def prepare_pass(
        self,
        spec: Spec,
        n_samples: int,
        dtype: np.dtype[Any],
        n_threads: int | None,
        backward: bool,
    ) -> Any: ...

    def watcher(
        self,
        net: Any,
        n_batches: int,
        divisor: float,
        validation: Validation | None,
        predicted: Sequence[Predicted],
    ) -> Any: ...

    def brief(
        self, spec: Spec, n_samples: int, state: State, bounds: tuple[float, float]
    ) -> Any: ...

    def evaluate(
        self, net: Any, params: Array, samples: Arrays, group: int, look: bool
    ) -> float: ...

    def gradient(
        self, net: Any, params: Array, X: Array, y: Array, weights: Array | None, out: Array
    ) -> float: ...

    def predict(self, net: Any, params: Array, X: Array, out: Array, look: bool) -> bool: ...

    def root_of_inverse(
        self,
        spec: Spec,
        params: Array,
        samples: Arrays,
        decays: Array,
        n_threads: int | None,
    ) -> Array | None: ...

    def variances(
        self, spec: Spec, params: Array, X: Array, root: Array, n_threads: int | None
    ) -> Array: ...

    def Single(self, net: Any) -> Any: ...  # noqa: N802


def one_blas_thread(backend: Backend, watched: bool = False) -> AbstractContextManager[object]:
    """
    Return a context that limits BLAS to one thread, if it is used.

    The NumPy backend uses it. In a fit that is ``watched`` a user's function may use it: then its
    threads would go on spinning for a while, on the cores that the kernel's threads need.
    """
    return threads.one_blas_thread() if watched or not backend.COMPILED else nullcontext()


def check(name: str) -> str:
    """
    Check the name of a backend and return it.

    Raises
    ------
    TypeError, ValueError
        For anything but "auto", "numba" and "numpy".
    """
    return checks.choice("backend", name, NAMES)


@cache
def load(name: str) -> Backend:
    """
    Return the backend of this name.

    "auto" is numba, or NumPy if numba cannot be imported or compiles no kernel.

    Raises
    ------
    ImportError
        For "numba" if numba cannot be imported or compiles no kernel.
    ValueError
        If the environment variable JITPROP_COMPILER has an unknown value.

    Warns
    -----
    RuntimeWarning
        Once, if "auto" is NumPy.
    """
    if name == "numpy":
        return cast(Backend, importlib.import_module("jitprop.reference"))
    found = uninterrupted(_compiled)
    if not isinstance(found, Failure):
        return found
    if name == "numba":
        raise ImportError(
            f"backend='numba' needs a working numba, which failed to {found.work}: "
            + quoted(found.error)
        ) from found.error
    warnings.warn(
        f"numba failed to {found.work} ({quoted(found.error)}); "
        "training with NumPy, which is far slower",
        RuntimeWarning,
        stacklevel=2,
    )
    return load("numpy")


class Failure(NamedTuple):
    """Why there is no backend of the kernels."""

    work: str
    """What numba failed to do."""
    error: Exception


def _compiled() -> Backend | Failure:
    """
    Import the backend of the kernels and return it, or why that failed.

    Numba is imported too, and compiles a small kernel, unless there is machine code already.

    It must be called where no signal can interrupt it: after half an import, numba cannot be
    imported again in the same process.
    """
    try:
        with Interrupts():
            module = importlib.import_module("jitprop.backends.compiled")
    except Exception as error:  # a broken numba may raise other errors than ImportError
        if from_a_handler(error):
            raise
        return Failure("import", error)
    module.check_settings()
    try:
        with Interrupts():
            module.check()
            return cast(Backend, module)
    except module.CompileError as error:
        return Failure("compile", error)
    except Exception as error:
        if from_a_handler(error):
            raise
        return Failure("import", error)
