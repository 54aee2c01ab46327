"""
Functions of the user's own, which kernels call by their address.

An address is a number, so that nothing but the functions themselves compiles anew. They are
compiled into a loop over a block, in which LLVM sees all of their code and may make vectors: `own`.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from jitprop_kernels._types import Array
from jitprop_kernels.arrays import pointer
from jitprop_kernels.own import PROTOTYPE
from jitprop_kernels.simd import compiled


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
