"""
The one decorator of every kernel.

And the door to the compilers, of which it takes the one in use (`compilers`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from jitprop_kernels import compilers
from jitprop_kernels.emitting import emitted
from jitprop_kernels.layout import RecordKind
from jitprop_kernels.target import INTERPRETED, OWN, Target

__all__ = ["INTERPRETED", "intrinsic", "jit", "linked", "object_code", "read"]

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
}
"""Of numba, for both compilers."""

_route: Any = importlib.import_module(
    "jitprop_kernels._private.route"
    if not INTERPRETED and compilers.settle() == OWN
    else "jitprop_kernels._plain"
)
linked, read = _route.linked, _route.read


def intrinsic(definition: Callable[..., Any]) -> Any:
    """Let kernels call ``definition``, which says what LLVM shall do."""
    compilers.note(definition.__module__)
    return _route.intrinsic(definition)


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
        long record, which then is no memory but registers: 64-32-10 takes 2 % less. Neither option
        changes a bit, and the plain compiler heeds none.

    Returns
    -------
    callable
        The decorator.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if INTERPRETED:
            return function
        compilers.note(function.__module__)
        return cast(Callable[P, R], _route.prepared(function, OPTIONS, apart, inlined))

    return decorate


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
