"""
How the kernels are linked: inner functions are optimised once, inside the entry that calls them.

Numba by itself optimises each function as if it were to be called from Python, emits its machine
code, and then does both again inside each caller, level by level. Here an inner function stops at
LLVM's intermediate form. The entry links all of them, private to it, and optimises the whole:
`train` compiles in 4.4 s instead of 7.0 s, and since LLVM inlines private functions more readily,
XOR takes 0.26 us an epoch instead of 0.33.
"""

from __future__ import annotations

from typing import Any, NoReturn

from llvmlite.binding import Linkage
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder


class InnerLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The code of one inner function and of all it calls, linked and not optimised."""

    def finalize(self) -> None:
        """Link; leave optimisation and machine code to the entry."""
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._final_module.verify()
        self._finalize_dynamic_globals()
        self._finalized = True


class EntryLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The code of an entry, and of all it calls."""

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if function.linkage == Linkage.linkonce_odr and not function.is_declaration:
                function.linkage = "internal"
        super()._optimize_final_module()


def _no_executable(library: Any, fndesc: Any, env: Any) -> object:
    """Stand for the function which numba would call from Python: it asks only for identity."""
    del library, fndesc, env
    return object()


class InnerCompiler(CompilerBase):  # type: ignore[misc]
    """Numba's compiler for nopython mode, short of machine code."""

    def define_pipelines(self) -> list[Any]:
        """Numba's own passes, with our library and no executable."""
        state = self.state
        state.targetctx = state.targetctx.subtarget(get_executable=_no_executable)
        state.library = InnerLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        return [DefaultPassBuilder.define_nopython_pipeline(state)]


class EntryCompiler(CompilerBase):  # type: ignore[misc]
    """Numba's compiler for nopython mode."""

    def define_pipelines(self) -> list[Any]:
        """Numba's own passes, with our library."""
        state = self.state
        state.library = EntryLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return [DefaultPassBuilder.define_nopython_pipeline(state)]


def keep_from_python(dispatcher: Any) -> None:
    """Answer a call from Python with a TypeError: there is no machine code to run."""

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"{dispatcher.__name__} is an inner kernel; only kernels can call it")

    def ignore(*args: Any, **kwargs: Any) -> None:
        return None

    dispatcher._insert = ignore
    dispatcher._compile_for_args = refuse
