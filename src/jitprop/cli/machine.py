"""Which machine code runs here, printed."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jitprop_kernels.inventory import Inventory

WIDTH = 16
"""Of the names in the first column."""

WITHOUT_FMA = "twice, without FMA: last digits differ from those of processors with it"

COMPILERS = {"own": "own", "plain": "plain: numba by its public parts alone"}


def main() -> int:
    """
    Print the processor, the versions, and which kernels are prebuilt or cached.

    It needs neither numba nor the extra ``cli``.

    Returns
    -------
    int
        The exit code: 0, or 2 if the kernels cannot be imported.
    """
    try:
        from jitprop_kernels.inventory import inventory

        found = inventory()
    except Exception as error:  # a broken llvmlite may raise any
        print(f"error: the kernels failed to import: {error}", file=sys.stderr)
        return 2
    rows = [
        *_compiler(found),
        ("prebuilt", found.prebuilt or f"none: {found.unused}"),
        ("cache", ", ".join(found.caches) or "nothing yet"),
    ]
    if found.interpreted:
        rows.append(("kernels", "run as Python, as NUMBA_DISABLE_JIT is set"))
    for name, (prebuilt, cached) in found.kernels.items():
        counts = [f"{prebuilt} prebuilt"] * bool(prebuilt) + [f"{cached} cached"] * bool(cached)
        rows.append((name, ", ".join(counts) or "compiled when it is first used"))
    print_rows(rows)
    return 0


def print_rows(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and what belongs to them, in two columns."""
    for name, value in rows:
        print(f"{name:{WIDTH}}  {value}")


def compiler() -> list[tuple[str, str]]:
    """Return rows about the processor that code is made for, and about what makes it."""
    from jitprop_kernels.inventory import inventory

    return _compiler(inventory())


def _compiler(found: Inventory) -> list[tuple[str, str]]:
    from jitprop_kernels.target import host

    cpu = host().cpu
    other = "" if cpu == found.cpu else f"; NUMBA_CPU_NAME asks for code for {cpu}"
    return [
        ("processor", f"{found.cpu}, level {found.level or 'without prebuilt code'}{other}"),
        ("rounding", "once, by FMA" if found.fused else WITHOUT_FMA),
        ("numba", found.numba or "not installed: nothing can be compiled"),
        ("compiler", COMPILERS[found.compiler]),
        ("llvmlite", found.llvmlite),
    ]


def loaded() -> str:
    """Return how many kernels this process loaded, and whence: "30 cache, 2 compiled"."""
    from jitprop_kernels import ENTRIES

    sources = Counter(code.source for entry in ENTRIES for code in entry.codes.values())
    return ", ".join(f"{n} {source}" for source, n in sorted(sources.items()))
