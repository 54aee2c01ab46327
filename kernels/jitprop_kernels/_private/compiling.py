"""
How one kernel is compiled: numba's compiler for nopython mode, short of what kernels do not need.

Compiling is slow because numba asks much of itself for every single operation. Here it asks less;
none of it changes a result.

- Each operation is typed once, and its code looked up once (`contexts`).
- Arrays and plans are few arguments (`handing`), and an operation of integers is one (`Lowering`).
- Passes that look for what no kernel has do not run.

It needs of kernels: a variable has one type, integers that are divided are not negative, nothing is
raised.
"""

from __future__ import annotations

import gc
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite.ir import IRBuilder
from numba.core import types
from numba.core.compiler import CompilerBase, DefaultPassBuilder, PassManager
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.typed_passes import BaseNativeLowering, NativeLowering

from jitprop_kernels._private.contexts import target_context, typing_context
from jitprop_kernels._private.handing import room

UNNEEDED = {
    # What these look for, no kernel has.
    "WithLifting",
    "InlineClosureLikes",
    "RewriteDynamicRaises",
    "MakeFunctionToJitFunction",
    "InlineInlinables",
    "FindLiterallyCalls",
    "LiteralUnroll",
    "InlineOverloads",
    "NopythonRewrites",
    "NoPythonSupportedFeatureValidation",
    "DumpParforDiagnostics",
    "GenericRewrites",
    # A name for each assignment, with another type perhaps; and its end.
    "ReconstructSSA",
    "PreLowerStripPhis",
    # It inserts the ends of variables' lives, where references are given back. There are none.
    "IRLegalization",
}

# Of numbers that are not negative, by what is not 0. Numba asks for both, by thirty operations.
DIVISIONS = {operator.floordiv: IRBuilder.udiv, operator.mod: IRBuilder.urem}


class Lowering(Lower):  # type: ignore[misc]
    """Numba's translation into LLVM's language."""

    def alloca_lltype(self, name: str, lltype: Any, datamodel: Any = None) -> Any:
        """Make room for a variable. A kernel reads none before it writes it."""
        del name, datamodel
        return room(self.builder, lltype)

    def lower_binop(self, resty: Any, expr: Any, op: Any) -> Any:
        """Translate x + y and the like: as typed, where numba types it once more."""
        signature = self.fndesc.calltypes[expr]
        args = [
            self.context.cast(self.builder, self.loadvar(x.name), self.typeof(x.name), kind)
            for x, kind in zip((expr.lhs, expr.rhs), signature.args, strict=True)
        ]
        if op in DIVISIONS and {*signature.args} == {types.int64}:
            return DIVISIONS[op](self.builder, *args)
        typing = self.context.typing_context
        function = typing.resolve_value_type(op)  # for x += y of numbers, that of x + y
        signature = typing.resolve_function_type(function, signature.args, {})
        result = self.context.get_function(function, signature)(self.builder, args)
        return self.context.cast(self.builder, result, signature.return_type, resty)


@register_pass(mutates_CFG=True, analysis_only=False)
class KernelLowering(BaseNativeLowering):  # type: ignore[misc]
    """The pass that runs `Lowering`."""

    _name = "kernel_lowering"
    lowering_class = Lowering


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector from looking at millions of objects which are all in use."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            if not gc.get_freeze_count():  # count them as looked at, which would take 0.2 s
                gc.freeze()
                gc.unfreeze()
            gc.enable()


class KernelCompiler(CompilerBase):  # type: ignore[misc]
    """The compiler of kernels."""

    def __init__(self, typingctx: Any, targetctx: Any, *args: Any) -> None:
        super().__init__(typing_context(typingctx), target_context(targetctx), *args)

    def compile_extra(self, func: Any) -> Any:
        """Compile a Python function."""
        with _uncollected():
            return super().compile_extra(func)

    def define_pipelines(self) -> list[Any]:
        """Numba's passes without the unneeded ones, and our own."""
        passes = PassManager("kernel")
        for kind, description in DefaultPassBuilder.define_nopython_pipeline(self.state).passes:
            if kind is NativeLowering:
                passes.add_pass(KernelLowering, description)
            elif kind.__name__ not in UNNEEDED:
                passes.add_pass(kind, description)
        passes.finalize()
        return [passes]
