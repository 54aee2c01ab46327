"""
The plain compiler: numba by its public parts alone, `numba.njit`, `numba.cfunc`, `numba.extending`.

An entry is a `cfunc` that takes the same record as our own compiler's (`arguments`). Numba gives
the LLVM code of a cfunc and of all that it calls as text. From there on it goes the same way: it is
optimised once more as a whole and made object code (`emitting`), which is kept on disk.

Kernels hand records and arrays to one another by value here.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any, ParamSpec, TypeVar, cast

import llvmlite.binding as llvm
import numba
from numba import types
from numba.extending import intrinsic

from jitprop_kernels import by_target
from jitprop_kernels.arguments import argument, record_type, store_result, types_of
from jitprop_kernels.emitting import enclosed
from jitprop_kernels.layout import RecordKind
from jitprop_kernels.loading import SYMBOL
from jitprop_kernels.target import INTERPRETED

__all__ = ["callback", "intrinsic", "jit_custom", "linked", "prepared", "read"]

P = ParamSpec("P")
R = TypeVar("R")

WITHOUT_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Python calls no kernel but by its entry. It takes twice the time where numba does not know them.
"""

REPORTS = ("Py", "_Py", "numba_", "NRT_")
"""How the names begin of what numba calls to make and to report an exception."""


@cache
def _without_wrappers() -> dict[str, Any]:
    try:
        numba.njit(**WITHOUT_WRAPPERS)(lambda: None)
    except Exception:  # they are no part of numba's documentation
        return {}
    return WITHOUT_WRAPPERS


def prepared(function: Any, options: dict[str, Any], apart: bool, inlined: bool) -> Any:
    """
    Return the function for this compiler: see `_jit.jit`.

    Which functions stay apart and which are inlined changes no bit. Numba leaves that to LLVM.
    """
    del apart, inlined
    return numba.njit(**options, **_without_wrappers())(function)


def read(context: Any, builder: Any, kind: Any, at: Any, *names: str) -> tuple[Any, Any]:
    """What stands in a record under a name, in a record in it under the next; and of what type."""
    del context
    for name in names:
        i = kind.fields.index(name)
        kind, at = kind[i], builder.extract_value(at, i)
    return at, kind


def linked(kernel: Any, kind: RecordKind) -> Any:
    """
    Return the module of an entry and all it calls, which numba has optimised in parts.

    Parameters
    ----------
    kernel : dispatcher
        A function with `_jit.jit`.
    kind : RecordKind
        Of all arguments.
    """
    _name_outside()
    made = _entry(kernel, types_of(kind))
    module = llvm.parse_assembly(made.inspect_llvm())
    module.get_function(made.native_name).name = SYMBOL
    _drop_reports(module)
    return enclosed(module)


def _entry(kernel: Any, fields: tuple[Any, ...]) -> Any:
    """Compile a C function that calls the kernel."""

    @intrinsic  # type: ignore[untyped-decorator]
    def arguments(typing: Any, record: Any) -> Any:
        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            at = builder.bitcast(args[0], record_type(context, fields).as_pointer())
            found = [builder.load(argument(builder, at, i)) for i in range(len(fields))]
            return context.make_tuple(builder, sig.return_type, found)

        return types.Tuple(fields)(record), code

    @intrinsic  # type: ignore[untyped-decorator]
    def put_result(typing: Any, record: Any, result: Any) -> Any:
        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            at = builder.bitcast(args[0], record_type(context, fields).as_pointer())
            store_result(context, builder, at, result, args[1])
            return context.get_dummy_value()

        return types.void(record, result), code

    def entry(record: Any) -> None:
        put_result(record, kernel(*arguments(record)))

    return numba.cfunc(types.void(types.voidptr), error_model="numpy")(entry)


@cache
def _name_outside() -> None:
    """
    Give addresses to the functions that `by_target` will define.

    Numba makes machine code, which nobody runs, and LLVM ends the process if there are none.
    """
    address = ctypes.cast(ctypes.pythonapi.Py_GetVersion, ctypes.c_void_p).value
    for name in by_target.names():
        llvm.add_symbol(name, address)


def _drop_reports(module: Any) -> None:
    """
    Tell LLVM that numba never reports an exception.

    A kernel raises nothing. LLVM cannot always know it: of ``range(a, b, step)``, for one, that the
    step is not 0. Then the branch for the exception would need Python.
    """
    never = []
    for function in module.functions:
        if function.is_declaration and function.name.startswith(REPORTS):
            found = re.search(r"declare (.*\))", str(function))
            assert found is not None
            never.append(f"define {found[1]} {{ unreachable }}")
    made = llvm.parse_assembly("\n".join(never))
    made.triple, made.data_layout = module.triple, module.data_layout
    module.link_in(made)


def jit_custom(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function of the user's as numba does by itself, but for the division by 0."""
    if INTERPRETED or not isinstance(function, FunctionType):  # NumPy's, and what is compiled
        return function
    return cast(Callable[P, R], numba.njit(error_model="numpy")(function))


def callback(signature: Any, function: Callable[..., None]) -> Any:
    """Compile a function to be called by its ``address``, without the GIL."""
    return numba.cfunc(signature, error_model="numpy")(function)
