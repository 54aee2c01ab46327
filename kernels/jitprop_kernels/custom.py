"""
Functions of the user's own, which kernels call by their address.

An address is a number, so that nothing but the functions themselves compiles anew. They are
compiled into a loop over a block, in which LLVM sees all of their code and may make vectors.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import errors, types

from jitprop_kernels._jit import INTERPRETED, callback, jit_custom, pointer
from jitprop_kernels._types import Array
from jitprop_kernels._waiting import unbroken
from jitprop_kernels.simd import compiled

POINTERS = 4


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


PROTOTYPE = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * POINTERS, ctypes.c_int64)


def _interpreted(loop: Callable[..., None], dtype: np.dtype[Any]) -> Loop:
    def block(*arguments: int) -> None:
        *pointers, n = arguments
        kind = np.ctypeslib.as_ctypes_type(dtype) * n
        loop(*(np.ctypeslib.as_array(kind.from_address(p)) for p in pointers), n)

    made = PROTOTYPE(block)
    return Loop(ctypes.cast(made, ctypes.c_void_p).value or 0, made)


def _call(
    typing: Any, address: Any, memory: Any, x: Any, y: Any, out: Any, slope: Any, n: Any
) -> Any:
    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointers = [pointer(context, builder, sig.args[1], args[1], at) for at in args[2:6]]
        kind = ir.FunctionType(ir.VoidType(), [*(p.type for p in pointers), ir.IntType(64)])
        function = builder.inttoptr(args[0], kind.as_pointer())
        builder.call(function, [*pointers, args[6]])
        return context.get_dummy_value()

    return types.void(types.int64, memory, *[types.int64] * 5), code


@compiled(_call)
def call(address: int, memory: Array, x: int, y: int, out: int, slope: int, n: int) -> None:
    """Call a `Loop` on n numbers from the places x, y, out and slope in memory."""
    pointers = [memory.ctypes.data + int(at) * memory.itemsize for at in (x, y, out, slope)]
    PROTOTYPE(int(address))(*pointers, int(n))
