"""
What the compiler of one kernel leaves behind: LLVM's intermediate form, unoptimised.

Numba by itself optimises each function as if it were to be called from Python, emits its machine
code, and then does both again inside each caller, level by level. Here a kernel stops at LLVM's
intermediate form. The entry links all of them, private to it, and optimises the whole (`entering`):
that took two thirds of the time, and since LLVM inlines private functions more readily, XOR 0.26 us
an epoch instead of 0.33.
"""

from __future__ import annotations

from typing import Any, NoReturn

from numba.core.codegen import JITCodeLibrary
from numba.core.types.misc import unliteral

from jitprop_kernels._private.compiling import KernelCompiler
from jitprop_kernels._private.handing import handed


class InnerLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The code of one kernel."""

    attribute: str | None = None
    """Of LLVM's, for the function."""

    def _optimize_functions(self, ll_module: Any) -> None:
        # Numba would, to save memory, before it optimises the whole: 1 s of 6.
        ll_module.data_layout = self._codegen._data_layout

    def add_ir_module(self, ir_module: Any) -> None:
        """Take the function, marked."""
        for function in ir_module.functions:
            defined = not function.is_declaration and function.linkage != "internal"
            # With NUMBA_DEBUGINFO each function has it, and then may not be inlined.
            if self.attribute and defined and "noinline" not in function.attributes:
                function.attributes.add(self.attribute)
        super().add_ir_module(ir_module)

    def finalize(self) -> None:
        """Leave linking, verification, optimisation and machine code to the entry."""
        self._raise_if_finalized()
        self._finalize_dynamic_globals()
        self._finalized = True


class ApartLibrary(InnerLibrary):
    """The code of one kernel that LLVM does not put into another."""

    attribute = "noinline"


class InlinedLibrary(InnerLibrary):
    """The code of one kernel that LLVM puts into each that calls it."""

    attribute = "alwaysinline"


def _no_executable(library: Any, fndesc: Any, env: Any) -> object:
    """Stand for the function which numba would call from Python: it asks only for identity."""
    del library, fndesc, env
    return object()


class InnerCompiler(KernelCompiler):
    """The compiler of kernels, short of machine code."""

    library: type[InnerLibrary] = InnerLibrary

    def define_pipelines(self) -> list[Any]:
        """The same passes, with our library and no executable."""
        state = self.state
        state.targetctx = state.targetctx.subtarget(get_executable=_no_executable)
        state.library = self.library(state.targetctx.codegen(), state.func_id.func_qualname)
        return super().define_pipelines()


class ApartCompiler(InnerCompiler):
    """The compiler of kernels that stay functions."""

    library = ApartLibrary


class InlinedCompiler(InnerCompiler):
    """The compiler of kernels that vanish in those that call them."""

    library = InlinedLibrary


def make_inner(dispatcher: Any) -> None:
    """One compile for each type of argument; a TypeError for calls from Python."""

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"{dispatcher.__name__} is an inner kernel; only kernels can call it")

    def ignore(*args: Any, **kwargs: Any) -> None:
        return None

    find_template = dispatcher.get_call_template

    def without_literals(args: Any, kws: Any) -> Any:
        # To numba a 0 in a call is a type of its own, and what is called compiles once more.
        plain = {name: handed(unliteral(kind)) for name, kind in kws.items()}
        return find_template([handed(unliteral(kind)) for kind in args], plain)

    dispatcher.get_call_template = without_literals
    dispatcher._insert = ignore
    dispatcher._compile_for_args = refuse
