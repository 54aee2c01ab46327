"""
The one decorator of every kernel, each option with its reason.

And the door to what stands in `_private`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, ParamSpec, TypeVar, cast

import numba

from jitprop_kernels._private.entering import linked
from jitprop_kernels._private.handing import read
from jitprop_kernels._private.intrinsic import intrinsic
from jitprop_kernels._private.linking import (
    ApartCompiler,
    InlinedCompiler,
    InnerCompiler,
    make_inner,
)
from jitprop_kernels.emitting import emitted
from jitprop_kernels.layout import RecordKind
from jitprop_kernels.target import INTERPRETED, Target

__all__ = [
    "INTERPRETED",
    "OPTIONS",
    "callback",
    "intrinsic",
    "jit",
    "jit_custom",
    "linked",
    "object_code",
    "read",
]

P = ParamSpec("P")
R = TypeVar("R")

OPTIONS: dict[str, Any] = {
    # No fastmath: with it LLVM chooses where to round, and it chooses by the processor. Each
    # operation rounds once, as IEEE 754 says; what becomes one operation is written `simd.fma`.
    "fastmath": False,
    # IEEE division; the Python model raises, and its branch stops vectorisation.
    "error_model": "numpy",
    # Kernels touch no Python object: let other threads run.
    "nogil": True,
    # No counting of references: kernels allocate nothing, the caller holds every array. Numba
    # counts where it cannot prove that for one function, by atomic steps, some forty in an epoch.
    "_nrt": False,
}


def jit(
    *, apart: bool = False, inlined: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """
    Compile a kernel.

    Parameters
    ----------
    apart : bool, default False
        True for a function that shall stay one in the machine code. LLVM would rather put it into
        the one that calls it, and optimise that: 0.3 s for `train`, of which a long function at the
        end of a chain of calls gains nothing. One in the middle does: with `output_delta` or
        `compute_chunks` apart, fleets and chunks took a third longer.
    inlined : bool, default False
        True for a function that LLVM shall put into each that calls it. `blocks.multiply` gets a
        long record, which then is no memory but registers: 64-32-10 takes 2 % less.

    Returns
    -------
    callable
        The decorator.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if INTERPRETED:
            return function
        compiler = InlinedCompiler if inlined else ApartCompiler if apart else InnerCompiler
        dispatcher = numba.njit(
            pipeline_class=compiler,
            no_cpython_wrapper=True,
            no_cfunc_wrapper=True,
            **OPTIONS,
        )(function)
        make_inner(dispatcher)
        return cast(Callable[P, R], dispatcher)

    return decorate


def jit_custom(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function of the user's as numba does by itself, but for the division by 0."""
    if INTERPRETED or not isinstance(function, FunctionType):  # NumPy's, and what is compiled
        return function
    return cast(Callable[P, R], numba.njit(error_model="numpy")(function))


def callback(signature: Any, function: Callable[..., None]) -> Any:
    """Compile a function to be called by its ``address``, without the GIL."""
    return numba.cfunc(signature, error_model="numpy")(function)


def object_code(kernel: Any, kind: RecordKind, target: Target) -> bytes:
    """
    Compile a kernel for arguments of these kinds and for this processor.

    Parameters
    ----------
    kernel : dispatcher
        A function with `jit`.
    kind : RecordKind
        Of all arguments.
    target : Target

    Returns
    -------
    bytes
        An object file, in the format of the target's system.
    """
    return emitted(linked(kernel, kind), target)
