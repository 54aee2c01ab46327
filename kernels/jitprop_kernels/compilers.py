"""
Which compiler makes machine code of kernels.

Our own (`_private`) is quick, and its code is fast. It overrides parts of numba that are not
public, and a release of numba may change these. The plain one (`_plain`) is numba as everybody uses
it. It takes longer, its code is slower, and computes the same bits.

JITPROP_COMPILER chooses. Without it, our own is taken for the versions of numba that it was tested
with, and given up for the rest of the process where it fails. Importing this needs no numba.
"""

from __future__ import annotations

import re
import sys

from jitprop_kernels import stored
from jitprop_kernels.target import OWN, PLAIN, compiler

TESTED = (0, 62), (0, 68)
"""The first and the last version of numba that our own compiler was tested with."""

HINT = (
    "Compiling takes several times as long, and small nets train slower; the bits are the same. "
    "With JITPROP_COMPILER=plain there is no warning"
)


class CompileError(RuntimeError):
    """No compiler can compile a kernel."""


class _Process:
    """What this process knows of compilers."""

    prepared: str | None = None
    """The compiler that kernels were prepared for when they were imported."""
    failed: str | None = None
    """Why our own is not used any more."""
    kernels: set[str]
    """The modules whose functions were prepared for a compiler."""

    def __init__(self) -> None:
        self.kernels = set()


_process = _Process()


def in_use() -> str:
    """
    Return "own" or "plain": the compiler of what must be compiled.

    Raises
    ------
    ValueError
        If JITPROP_COMPILER is anything else.
    """
    asked = compiler()
    if _process.failed:
        return PLAIN
    return _process.prepared or asked or (OWN if tested(stored.numba_version()) else PLAIN)


def settle() -> str:
    """Return the compiler in use, which stays: kernels are about to be prepared for it."""
    _process.prepared = in_use()
    return _process.prepared


def tested(version: str) -> bool:
    """Return whether our own compiler was tested with this version of numba; so with none, ""."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return not version or (found is not None and TESTED[0] <= _numbers(found) <= TESTED[1])


def _numbers(found: re.Match[str]) -> tuple[int, int]:
    return int(found[1]), int(found[2])


def usable() -> tuple[str, ...]:
    """
    Return the compilers whose machine code on disk may be used, the best first.

    Where nobody asked for the plain one, what our own has made is as good: it is the same bits.
    """
    if in_use() == OWN:
        return (OWN,)
    return (PLAIN,) if compiler() == PLAIN else (OWN, PLAIN)


def note(module: str) -> None:
    """Note that functions of a module were prepared for the compiler in use."""
    _process.kernels.add(module)


def give_up_own(error: Exception) -> None:
    """
    Take the plain compiler for the rest of the process, and warn.

    Kernels were prepared for our own compiler when their modules were imported. So these are
    forgotten, and whoever wants a kernel imports its module once more.
    """
    _process.failed, _process.prepared = f"{type(error).__name__}: {error}", None
    for name in _process.kernels | {"jitprop_kernels._jit"}:
        package, _, module = name.rpartition(".")
        if package == "jitprop_kernels":
            sys.modules.pop(name, None)
            vars(sys.modules[package]).pop(module, None)  # where "from package import" looks first
    stored.warn_once(
        "compiler",
        f"jitprop's own compiler failed ({_process.failed}), so numba alone compiles kernels. "
        f"{HINT}",
    )


def no_compiler(kernel: str, error: Exception) -> CompileError:
    """Return the error that says why no compiler can compile a kernel."""
    reasons = f"numba alone fails with {type(error).__name__}: {error}"
    if _process.failed:
        reasons = f"jitprop's own compiler failed ({_process.failed}), and {reasons}"
    return CompileError(f"the kernel {kernel!r} cannot be compiled: {reasons}")


def warn_of_plain() -> None:
    """Warn once that the plain compiler's code is used, if nobody has asked for it."""
    if compiler() is None and not _process.failed:
        first, last = (".".join(map(str, numbers)) for numbers in TESTED)
        stored.warn_once(
            "compiler",
            f"jitprop's own compiler was tested with numba {first} to {last}, not with "
            f"{stored.numba_version()}, so numba alone compiles kernels. {HINT}",
        )
