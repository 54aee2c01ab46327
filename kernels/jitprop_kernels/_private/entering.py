"""
An entry made a C function, and its object code for any processor.

A kernel and all that it calls are linked into one module, private to the entry, and optimised as a
whole. The entry takes a pointer to a record, as `layout` lays it out, and hands the kernel what
stands there. Its code needs nothing but `memset` and the operating system's way to give way to
another thread: no part of numba, and none of Python.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from llvmlite.binding import (
    Linkage,
    create_pass_builder,
    create_pipeline_tuning_options,
)
from numba.core import cgutils, types
from numba.core.types.containers import BaseTuple

from jitprop_kernels._private.contexts import typing_context
from jitprop_kernels._private.handing import Flat, Table, handed
from jitprop_kernels.layout import INTEGER, NOTHING, REAL, RESULT, RecordKind
from jitprop_kernels.loading import SYMBOL
from jitprop_kernels.target import Target

N_OUTSIDE = 8
"""Functions from outside that an entry may call, and more."""

KINDS = {
    "?": types.boolean,
    "q": types.int64,
    "d": types.float64,
    "f4": Flat(types.float32),
    "f8": Flat(types.float64),
    "i8": Flat(types.int64),
    "i8x2": Table(types.int64),
}


def type_of(kind: Any) -> Any:
    """Return numba's type for a kind of `layout`."""
    if isinstance(kind, str):
        return KINDS[kind]
    fields = tuple(map(type_of, kind.kinds))
    return BaseTuple.from_types(fields, kind.record)


def object_code(kernel: Any, kind: RecordKind, target: Target) -> bytes:
    """
    Compile a kernel for arguments of these kinds and for this processor.

    Parameters
    ----------
    kernel : dispatcher
        A function with `_jit.jit`.
    kind : RecordKind
        Of all arguments.
    target : Target

    Returns
    -------
    bytes
        An object file, in the format of the target's system.
    """
    return emitted(linked(kernel, kind), target)


def linked(kernel: Any, kind: RecordKind) -> Any:
    """Return the module of an entry and all it calls, before any optimisation."""
    fields = tuple(map(type_of, kind.kinds))
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
    for variable in module.global_variables:  # numba's, which no kernel reads
        if variable.linkage == Linkage.common:
            variable.linkage = Linkage.internal
    for i, function in enumerate(module.functions):
        if function.name != SYMBOL and not function.is_declaration:
            function.linkage = Linkage.internal
            function.name = f"f{i}"  # numba's names, of hundreds of letters, end up in the file
    return module


def _entry(result: Any, fields: tuple[Any, ...]) -> ir.Module:
    """Return a module with the C function, which calls the compiled kernel."""
    context, kernel = result.target_context, result.fndesc
    module = ir.Module("entry")
    int64 = ir.IntType(64)
    # LLVM's loader writes the addresses of the functions that are called from outside into memory
    # for variables, and reserves none for them.
    addresses = ir.ArrayType(int64, N_OUTSIDE)
    room = ir.GlobalVariable(module, addresses, "jitprop_addresses")
    room.initializer = ir.Constant(addresses, None)
    kinds = [context.get_value_type(field) for field in fields]
    record = ir.LiteralStructType([int64] * (RESULT // 8) + kinds)
    pointer = record.as_pointer()
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer]), SYMBOL)
    builder = ir.IRBuilder(entry.append_basic_block())
    args = []
    for i, field in enumerate(fields):
        at = cgutils.gep_inbounds(builder, entry.args[0], 0, RESULT // 8 + i)
        args.append(at if handed(field) != field else builder.load(at))
    callee = context.declare_function(module, kernel)
    _, value = context.call_conv.call_function(
        builder, callee, kernel.restype, kernel.argtypes, args
    )
    found = NOTHING
    if isinstance(kernel.restype, types.Integer | types.Boolean):
        found, value = INTEGER, context.cast(builder, value, kernel.restype, types.int64)
    elif isinstance(kernel.restype, types.Float):
        found = REAL
        value = builder.bitcast(context.cast(builder, value, kernel.restype, types.float64), int64)
    builder.store(int64(found), cgutils.gep_inbounds(builder, entry.args[0], 0, 0))
    if found != NOTHING:
        builder.store(value, cgutils.gep_inbounds(builder, entry.args[0], 0, 1))
    builder.ret_void()
    return module


def emitted(module: Any, target: Target) -> bytes:
    """Optimise a module for a processor, and return its object code."""
    code: bytes = optimised(module, target).emit_object(module)
    return code


def optimised(module: Any, target: Target) -> Any:
    """Optimise a module for a processor; return LLVM's object for that."""
    machine = target.machine()
    module.triple = target.triple
    module.data_layout = str(machine.target_data)
    # Nets need no unrolled loops: those over samples become vectors, and of those over units,
    # which are short, an epoch of XOR sees only the branches around them: 0.092 us without,
    # 0.110 us with.
    options = create_pipeline_tuning_options(target.opt)
    options.loop_vectorization, options.loop_unrolling = True, False
    builder = create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return machine
