"""
An entry made a C function.

A kernel and all that it calls are linked into one module, private to the entry, and optimised as a
whole (`emitting`). The entry takes a pointer to a record, as `layout` lays it out, and hands the
kernel what stands there. Its code needs nothing but `memset` and the operating system's way to give
way to another thread: no part of numba, and none of Python.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from jitprop_kernels._private.contexts import typing_context
from jitprop_kernels._private.handing import handed
from jitprop_kernels.arguments import argument, record_type, store_result, types_of
from jitprop_kernels.emitting import enclosed
from jitprop_kernels.layout import RecordKind
from jitprop_kernels.loading import SYMBOL


def linked(kernel: Any, kind: RecordKind) -> Any:
    """
    Return the module of an entry and all it calls, before any optimisation.

    Parameters
    ----------
    kernel : dispatcher
        A function with `_jit.jit`.
    kind : RecordKind
        Of all arguments.
    """
    fields = types_of(kind)
    signature = tuple(map(handed, fields))
    typing_context(kernel.typingctx).refresh()  # modules may have been imported since
    kernel.compile(signature)
    result = kernel.overloads[signature]
    module = llvm.parse_assembly(str(_entry(result, fields)))
    libraries = {result.library: None}
    waiting = [result.library]
    while waiting:
        called = [l for l in waiting.pop()._linking_libraries if l not in libraries]
        libraries.update(dict.fromkeys(called))
        waiting.extend(called)
    for library in libraries:
        module.link_in(library._get_module_for_linking(), preserve=True)
    return enclosed(module)


def _entry(result: Any, fields: tuple[Any, ...]) -> ir.Module:
    """Return a module with the C function, which calls the compiled kernel."""
    context, kernel = result.target_context, result.fndesc
    module = ir.Module("entry")
    pointer = record_type(context, fields).as_pointer()
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer]), SYMBOL)
    builder = ir.IRBuilder(entry.append_basic_block())
    record = entry.args[0]
    args = []
    for i, field in enumerate(fields):
        at = argument(builder, record, i)
        args.append(at if handed(field) != field else builder.load(at))
    callee = context.declare_function(module, kernel)
    _, value = context.call_conv.call_function(
        builder, callee, kernel.restype, kernel.argtypes, args
    )
    store_result(context, builder, record, kernel.restype, value)
    builder.ret_void()
    return module
