"""
The functions whose code depends on the processor. They are made last, for the processor at hand.

A kernel is compiled once, and its module may become machine code for many processors. So kernels
only declare these functions (`declared_for`), one of each for each type of number, and
`emitting.emitted` gives the module their definitions (`define`), before it is optimised. Nothing in
this package needs numba.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from jitprop_kernels.by_target import columns, products
from jitprop_kernels.by_target.shape import shape_of
from jitprop_kernels.llvm_terms import INT64, declare
from jitprop_kernels.target import Target

PREFIX = "jitprop."
NUMBERS = {"float": 32, "double": 64}
"""The types of numbers, by LLVM's names, and their bits."""


def names() -> list[str]:
    """Return the names of all these functions, for all types of numbers."""
    return [f"{PREFIX}{name}.{number}" for name in FUNCTIONS for number in NUMBERS]


def declared_for(module: Any, name: str, number: Any) -> Any:
    """Declare one of the functions in a module of llvmlite's, to be called."""
    kind_of, _ = FUNCTIONS[name]
    return declare(module, kind_of(number), f"{PREFIX}{name}.{number}")


def define(module: Any, target: Target) -> None:
    """
    Give a parsed module the definitions of the functions that it declares.

    Its triple and its data layout must be the target's.
    """
    names = [function.name for function in module.functions if function.is_declaration]
    for number in NUMBERS:
        if any(n.startswith(PREFIX) and n.endswith(f".{number}") for n in names):
            made = llvm.parse_assembly(definitions(target, number))
            made.triple, made.data_layout = module.triple, module.data_layout
            public = [f.name for f in made.functions if f.name.startswith(PREFIX)]
            module.link_in(made)
            for name in public:
                module.get_function(name).linkage = llvm.Linkage.internal


@cache
def definitions(target: Target, number: str) -> str:
    """Return LLVM's text of all functions for numbers of one type: "float" or "double"."""
    kind = {"float": ir.FloatType(), "double": ir.DoubleType()}[number]
    shape = shape_of(target, NUMBERS[number])
    module = ir.Module()
    for name, (_, write) in FUNCTIONS.items():
        function = declared_for(module, name, kind)
        function.attributes.add("alwaysinline")
        write(function, kind, shape)
    return str(module)


def _block_columns(function: Any, number: Any, shape: Any) -> None:
    ir.IRBuilder(function.append_basic_block()).ret(INT64(shape.columns))


FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Callable[..., None]]] = {
    # () -> columns of the largest block, twice the numbers of a vector
    "block_columns": (lambda number: ir.FunctionType(INT64, []), _block_columns),
    "largest_block": (lambda number: products.LARGEST, products.largest_block),
    "multiply_block": (
        lambda number: products.kind_of(number, INT64),
        products.multiply_block,
    ),
    "sum_columns": (columns.sum_kind, columns.sum_columns),
    "transpose_block": (columns.transpose_kind, columns.transpose_block),
}
"""Each function's type, for numbers of one type, and what writes its code."""
