"""Object code into memory, by LLVM's own loader, without numba."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm

from jitprop_kernels.target import Target, host, initialize

SYMBOL = "jitprop_entry"
"""The name of the function in an object file."""

_engines: list[Any] = []
"""The owners of the memory in which code lies. It stays until the process ends."""


def load(code: bytes) -> int:
    """
    Return the address of the entry in an object file.

    Raises
    ------
    RuntimeError
        If LLVM cannot load it.
    """
    initialize()
    module = llvm.parse_assembly("")
    module.triple = llvm.get_process_triple()
    target: Target = host()
    # Its own memory manager puts code and constants side by side, as their distance must fit into
    # 32 bits.
    engine = llvm.create_mcjit_compiler(module, target.machine(), use_lmm=True)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address: int = engine.get_function_address(SYMBOL)
    if not address:
        raise RuntimeError(f"there is no {SYMBOL} in it")
    _engines.append(engine)
    return address
