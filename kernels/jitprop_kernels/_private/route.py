"""Our own compiler, as `_jit` takes it."""

from __future__ import annotations

from typing import Any

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

__all__ = ["OPTIONS", "intrinsic", "linked", "prepared", "read"]

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


def prepared(function: Any, apart: bool, inlined: bool) -> Any:
    """Return the function for this compiler: see `_jit.jit`."""
    compiler = InlinedCompiler if inlined else ApartCompiler if apart else InnerCompiler
    dispatcher = numba.njit(
        pipeline_class=compiler,
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        **OPTIONS,
    )(function)
    make_inner(dispatcher)
    return dispatcher
