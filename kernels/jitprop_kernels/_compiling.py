"""
How one kernel is compiled: numba's compiler for nopython mode, short of what kernels do not need.

Compiling is slow because numba asks much of itself for every single operation. Three things here
make it ask less; none changes a result.

- `TypingContext` types each operation once, not at each place where it stands.
- Passes that look for what no kernel has (closures, ``with``, array expressions) do not run.
- `UnsignedIndices` makes the branch go that numba adds to each signed index.
"""

from __future__ import annotations

import gc
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from numba.core import ir, types
from numba.core.compiler import CompilerBase, DefaultPassBuilder, PassManager
from numba.core.compiler_machinery import AnalysisPass, register_pass
from numba.core.typing.context import Context
from numba.core.utils import OPERATORS_TO_BUILTINS

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
    # It inserts the ends of variables' lives, where references are given back. There are none.
    "IRLegalization",
}

# Numba types a power with a literal exponent in a way of its own.
OPERATORS = OPERATORS_TO_BUILTINS.keys() - {operator.pow, operator.ipow}


class TypingContext(Context):  # type: ignore[misc]
    """Numba's typing context, with a memory: what was typed once is not typed again."""

    def __init__(self, context: Context) -> None:
        self.__dict__.update(vars(context))  # the same registries: numba adds to them in place
        self._signatures_known: dict[Any, Any] = {}
        self._attributes_known: dict[Any, Any] = {}

    def resolve_function_type(self, func: Any, args: Any, kws: Any) -> Any:
        """Signature of a builtin for types of arguments."""
        if kws or not isinstance(func, (types.Function, types.NumberClass)):
            return super().resolve_function_type(func, args, kws)
        if isinstance(func, types.Function) and func.typing_key in OPERATORS:
            args = tuple(a.literal_type if isinstance(a, types.IntegerLiteral) else a for a in args)
        key = func, args
        if key not in self._signatures_known:
            found = super().resolve_function_type(func, args, kws)
            if found is None:
                return None
            self._signatures_known[key] = found
        return self._signatures_known[key]

    def resolve_getattr(self, typ: Any, attr: str) -> Any:
        """Type of an attribute."""
        key = typ, attr
        if key not in self._attributes_known:
            found = super().resolve_getattr(typ, attr)
            if found is None:
                return None
            self._attributes_known[key] = found
        return self._attributes_known[key]


_typing_context = cache(TypingContext)


@register_pass(mutates_CFG=False, analysis_only=True)
class UnsignedIndices(AnalysisPass):  # type: ignore[misc]
    """
    Read each computed index as unsigned: none is negative.

    Numba lets a signed index count from the end, and the branch for that hides from LLVM that
    neighbours are neighbours: with it XOR takes 0.28 us an epoch, without 0.19 (Zen 4).
    """

    _name = "unsigned_indices"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Change the signatures of ``array[i]``, ``array[i, j]`` and of writing there."""
        for node, signature in list(state.calltypes.items()):
            if not (isinstance(node, ir.SetItem) or getattr(node, "op", "") == "getitem"):
                continue
            array, _, *value = signature.args
            if not isinstance(array, types.Array):
                continue
            kind = types.containers.UniTuple(types.uintp, 2) if array.ndim == 2 else types.uintp
            del state.calltypes[node]  # it refuses to replace
            state.calltypes[node] = signature.replace(args=(array, kind, *value))
        return False


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector from looking at millions of objects which are all in use."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class KernelCompiler(CompilerBase):  # type: ignore[misc]
    """The compiler of kernels."""

    def compile_extra(self, func: Any) -> Any:
        """Compile a Python function."""
        with _uncollected():
            return super().compile_extra(func)

    def define_pipelines(self) -> list[Any]:
        """Numba's passes without the unneeded ones, and our own."""
        self.state.typingctx = _typing_context(self.state.typingctx)
        passes = PassManager("kernel")
        for kind, description in DefaultPassBuilder.define_nopython_pipeline(self.state).passes:
            if kind.__name__ not in UNNEEDED:
                passes.add_pass(kind, description)
            if kind.__name__ == "NopythonTypeInference":
                passes.add_pass(UnsignedIndices, "read indices as unsigned")
        passes.finalize()
        return [passes]
