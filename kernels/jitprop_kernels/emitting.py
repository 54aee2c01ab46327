"""
The module of an entry, which holds it and all that it calls, made object code for any processor.

This needs LLVM alone, and no numba.
"""

from __future__ import annotations

import struct
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding import (
    Linkage,
    create_pass_builder,
    create_pipeline_tuning_options,
)

from jitprop_kernels.by_target import define
from jitprop_kernels.loading import SYMBOL
from jitprop_kernels.registers import fuses
from jitprop_kernels.target import Target

OUTSIDE = {"", "memset", "memcpy", "memmove", "sched_yield", "SwitchToThread"}
"""What kernels may need, of the C library of every system; the last one of Windows."""

N_OUTSIDE = 8
"""Functions from outside that an entry may call, and more."""

# LLVM's loader writes the addresses of the functions that are called from outside into memory for
# variables, and reserves none for them.
ADDRESSES = f"@jitprop_addresses = global [{N_OUTSIDE} x i64] zeroinitializer"


def enclosed(module: Any) -> Any:
    """Hide all functions and variables of a module but the entry; return the module."""
    for variable in module.global_variables:  # numba's, which no kernel reads
        if variable.linkage == Linkage.common:
            variable.linkage = Linkage.internal
    for i, function in enumerate(module.functions):
        if function.name != SYMBOL and not function.is_declaration:
            function.linkage = Linkage.internal
            function.name = f"f{i}"  # numba's names, of hundreds of letters, end up in the file
    module.link_in(llvm.parse_assembly(ADDRESSES))
    return module


def emitted(module: Any, target: Target) -> bytes:
    """
    Optimise a module for a processor, and return its object code.

    Raises
    ------
    RuntimeError
        If it calls what no C library has, such as parts of numba or of Python.
    """
    machine = optimised(module, target)
    if target.opt > 0 and (called := called_outside(module) - OUTSIDE):
        raise RuntimeError(f"its code needs {', '.join(sorted(called))} from outside")
    code: bytes = machine.emit_object(module)
    return code


def called_outside(module: Any) -> set[str]:
    """Return the functions and variables of a module that are not defined in it."""
    named = (*module.functions, *module.global_variables)
    return {x.name for x in named if x.is_declaration and not x.name.startswith("llvm.")}


def optimised(module: Any, target: Target) -> Any:
    """Optimise a module for a processor; return LLVM's object for that."""
    machine = target.machine()
    module.triple = target.triple
    module.data_layout = str(machine.target_data)
    define(module, target)
    if not fuses(target):
        _round_products(module)
    # Nets need no unrolled loops: those over samples become vectors, and of those over units,
    # which are short, an epoch of XOR sees only the branches around them: 0.092 us without,
    # 0.110 us with.
    options = create_pipeline_tuning_options(target.opt)
    options.loop_vectorization, options.loop_unrolling = True, False
    builder = create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return machine


def _round_products(module: Any) -> None:
    """
    Turn products that are fused with a sum into products and sums.

    Without an instruction for it, LLVM calls `fma` of the C library, one lane at a time.
    """
    for function in module.functions:
        if function.name.startswith("llvm.fma."):
            # By this name LLVM may fuse, where the processor can.
            function.name = function.name.replace("llvm.fma.", "llvm.fmuladd.")


def needed(code: bytes) -> set[str]:
    """Return the symbols that an object file of ELF, of 64 bits, needs from outside."""
    sections = llvm.ObjectFileRef.from_data(code).sections()
    parts = {section.name(): section.data() for section in sections}
    names, symbols = parts[b".strtab"], parts[b".symtab"]
    found = set()
    for at, _, _, where, _, _ in struct.iter_unpack("<IBBHQQ", symbols):
        if where == 0:
            found.add(names[at : names.index(0, at)].decode())
    return found
