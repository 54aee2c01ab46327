"""
A user's own function, compiled into a loop that kernels call by its address.

The machine code is there as long as its owner. Importing this needs no numba.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jitprop_kernels._waiting import unbroken
from jitprop_kernels.target import INTERPRETED

POINTERS = 4

PROTOTYPE = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * POINTERS, ctypes.c_int64)


class Loop(NamedTuple):
    """A compiled function, by its address; it is there as long as ``owner`` is."""

    address: int
    owner: object


@unbroken
def compile_loop(
    value: Callable[..., float], derivative: Callable[..., float], arity: int, dtype: np.dtype[Any]
) -> Loop:
    """
    Compile a loop over n numbers.

    Parameters
    ----------
    value, derivative : callable
        Of one number z: the loop makes x[i] value(x[i]) and slope[i] derivative(x[i]). Of two, a
        and y: it makes out[i] value(x[i], y[i]) and slope[i] derivative(x[i], y[i]).
    arity : int
        1 or 2.
    dtype : dtype

    Raises
    ------
    TypeError
        For functions that numba cannot compile, with what it says.
    """
    from numba import errors, types

    from jitprop_kernels._plain import callback, jit_custom

    T = dtype.type
    nan = T(np.nan)
    f, g = jit_custom(value), jit_custom(derivative)

    # An error would end a compiled loop without a word, and leave in memory what was there.
    def of_one(x: Any, y: Any, out: Any, slope: Any, n: int) -> None:
        for i in range(n):
            try:
                z = x[i]
                slope[i] = T(g(z))
                x[i] = T(f(z))
            except Exception:
                x[i] = slope[i] = nan

    def of_two(x: Any, y: Any, out: Any, slope: Any, n: int) -> None:
        for i in range(n):
            try:
                a, t = x[i], y[i]
                slope[i] = T(g(a, t))
                out[i] = T(f(a, t))
            except Exception:
                out[i] = slope[i] = nan

    loop = of_one if arity == 1 else of_two
    if INTERPRETED:
        return _interpreted(loop, dtype)
    number = types.float32 if dtype == np.float32 else types.float64
    pointers = [types.CPointer(number)] * POINTERS
    try:
        made = callback(types.void(*pointers, types.int64), loop)
    except errors.NumbaError as error:
        raise TypeError(str(error)) from error
    return Loop(made.address, made)


def _interpreted(loop: Callable[..., None], dtype: np.dtype[Any]) -> Loop:
    def block(*arguments: int) -> None:
        *pointers, n = arguments
        kind = np.ctypeslib.as_ctypes_type(dtype) * n
        loop(*(np.ctypeslib.as_array(kind.from_address(p)) for p in pointers), n)

    made = PROTOTYPE(block)
    return Loop(ctypes.cast(made, ctypes.c_void_p).value or 0, made)
