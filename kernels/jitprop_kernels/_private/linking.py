"""
How the kernels are linked: inner functions are optimised once, inside the entry that calls them.

Numba by itself optimises each function as if it were to be called from Python, emits its machine
code, and then does both again inside each caller, level by level. Here an inner function stops at
LLVM's intermediate form. The entry links all of them, private to it, and optimises the whole: that
took two thirds of the time, and since LLVM inlines private functions more readily, XOR 0.26 us an
epoch instead of 0.33.
"""

from __future__ import annotations

from typing import Any, NoReturn

from llvmlite.binding import (
    Linkage,
    create_pass_builder,
    create_pipeline_tuning_options,
    set_option,
)
from numba.core import config
from numba.core.codegen import JITCodeLibrary
from numba.core.types.misc import unliteral

from jitprop_kernels._private.compiling import KernelCompiler
from jitprop_kernels._private.handing import handed

if config.OPT == 0:
    # LLVM then emits machine code by a quick way, which fuses no product with a sum. What that
    # cannot do, wide vectors for one, goes the usual way, which fuses them. So bits depended on the
    # width of vectors, and with that on how many members a fleet has.
    set_option("jitprop", "-fast-isel=false")


class KernelLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The code of one kernel, as numba writes it."""

    def _optimize_functions(self, ll_module: Any) -> None:
        # Numba would, to save memory, before it optimises the whole: 1 s of 6.
        ll_module.data_layout = self._codegen._data_layout


class InnerLibrary(KernelLibrary):
    """The code of one inner function."""

    attribute: str | None = None
    """Of LLVM's, for the function."""

    def add_ir_module(self, ir_module: Any) -> None:
        """Take the function, marked."""
        for function in ir_module.functions:
            defined = not function.is_declaration and function.linkage != "internal"
            if self.attribute and defined:
                function.attributes.add(self.attribute)
        super().add_ir_module(ir_module)

    def finalize(self) -> None:
        """Leave linking, verification, optimisation and machine code to the entry."""
        self._raise_if_finalized()
        self._finalize_dynamic_globals()
        self._finalized = True


class ApartLibrary(InnerLibrary):
    """The code of one inner function that LLVM does not put into another."""

    attribute = "noinline"


class InlinedLibrary(InnerLibrary):
    """The code of one inner function that LLVM puts into each that calls it."""

    attribute = "alwaysinline"


class EntryLibrary(KernelLibrary):
    """The code of an entry, and of all it calls."""

    _linking_libraries: list[Any]

    def finalize(self) -> None:
        """Link all that is called, at whatever depth; optimise; make machine code."""
        libraries = dict.fromkeys(self._linking_libraries)
        waiting = list(libraries)
        while waiting:
            called = [l for l in waiting.pop()._linking_libraries if l not in libraries]
            libraries.update(dict.fromkeys(called))
            waiting.extend(called)
        self._linking_libraries = list(libraries)
        super().finalize()

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if function.linkage == Linkage.linkonce_odr and not function.is_declaration:
                function.linkage = "internal"
        # Nets need no unrolled loops: those over samples become vectors, and of those over units,
        # which are short, an epoch of XOR sees only the branches around them: 0.092 us without,
        # 0.110 us with.
        options = create_pipeline_tuning_options(config.OPT)
        options.loop_vectorization, options.loop_unrolling = True, False
        builder = create_pass_builder(self._codegen._tm, options)
        builder.getModulePassManager().run(self._final_module, builder)


def _no_executable(library: Any, fndesc: Any, env: Any) -> object:
    """Stand for the function which numba would call from Python: it asks only for identity."""
    del library, fndesc, env
    return object()


class InnerCompiler(KernelCompiler):
    """The compiler of inner functions, short of machine code."""

    library: type[InnerLibrary] = InnerLibrary

    def define_pipelines(self) -> list[Any]:
        """The same passes, with our library and no executable."""
        state = self.state
        state.targetctx = state.targetctx.subtarget(get_executable=_no_executable)
        state.library = self.library(state.targetctx.codegen(), state.func_id.func_qualname)
        return super().define_pipelines()


class ApartCompiler(InnerCompiler):
    """The compiler of inner functions that stay functions."""

    library = ApartLibrary


class InlinedCompiler(InnerCompiler):
    """The compiler of inner functions that vanish in those that call them."""

    library = InlinedLibrary


class EntryCompiler(KernelCompiler):
    """The compiler of entries."""

    def define_pipelines(self) -> list[Any]:
        """The same passes, with our library."""
        state = self.state
        state.library = EntryLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return super().define_pipelines()


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
