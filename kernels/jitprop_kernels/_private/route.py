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

__all__ = ["intrinsic", "linked", "prepared", "read"]

# No counting of references: kernels allocate nothing, the caller holds every array. Numba counts
# where it cannot prove that for one function, by atomic steps, some forty in an epoch.
UNCOUNTED: dict[str, Any] = {"_nrt": False}


def prepared(function: Any, options: dict[str, Any], apart: bool, inlined: bool) -> Any:
    """Return the function for this compiler: see `_jit.jit`."""
    compiler = InlinedCompiler if inlined else ApartCompiler if apart else InnerCompiler
    dispatcher = numba.njit(
        pipeline_class=compiler,
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        **options,
        **UNCOUNTED,
    )(function)
    make_inner(dispatcher)
    return dispatcher
