"""What machine code there is for this processor, for people who ask. Nothing is compiled."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

import llvmlite
import llvmlite.binding as llvm

from jitprop_kernels import _trust, compilers, stored
from jitprop_kernels.entry import ENTRIES
from jitprop_kernels.registers import fuses
from jitprop_kernels.target import INTERPRETED, best_level, host, level_of


class Inventory(NamedTuple):
    """
    What runs on this machine.

    Attributes
    ----------
    cpu : str
        The processor, as LLVM names it.
    level : str or None
        Its level, of those for which a wheel brings machine code.
    fused : bool
        Whether the processor fuses a product with a sum: see `registers.fuses`.
    numba : str
        The version of numba; "" if it is not installed.
    compiler : {"own", "plain"}
        What compiles kernels: see `compilers`.
    llvmlite : str
        The version of llvmlite.
    interpreted : bool
        NUMBA_DISABLE_JIT is set, so no machine code is used.
    prebuilt : str or None
        The folder of the machine code that the wheel brought.
    unused : str
        Why it is not used, if it is not.
    caches : list of str
        Folders with code that was compiled on this machine.
    kernels : dict
        For each kernel the numbers of its variants that are prebuilt and that are cached. A variant
        is for a dtype and a route, or a width of vectors.
    """

    cpu: str
    level: str | None
    fused: bool
    numba: str
    compiler: str
    llvmlite: str
    interpreted: bool
    prebuilt: str | None
    unused: str
    caches: list[str]
    kernels: dict[str, tuple[int, int]]


def inventory() -> Inventory:
    """Return what there is for this processor, with the settings of this process."""
    target = host()
    folder, unused = None, "no wheel brought any for this processor"
    try:
        folder = stored.prebuilt(target)
    except (OSError, ValueError) as error:
        unused = str(error)
    if best_level() and not level_of(target):
        unused = "an option of numba asks for other code"
    prebuilt = _count(os.listdir(folder) if folder else ())
    end = tuple(stored.ending(target, compiler) for compiler in compilers.usable())
    cached: Counter[str] = Counter()
    caches = []
    for candidate in stored.folders():
        with suppress(OSError):
            place = _trust.folder(candidate)
            if found := _count(name for name in os.listdir(place) if name.endswith(end)):
                caches.append(place)
                cached |= found  # many folders may have one file
    return Inventory(
        cpu=llvm.get_host_cpu_name(),
        level=best_level(),
        fused=fuses(target),
        numba=stored.numba_version(),
        compiler=compilers.in_use(),
        llvmlite=llvmlite.__version__,
        interpreted=INTERPRETED,
        prebuilt=str(folder) if folder else None,
        unused="" if folder else unused,
        caches=caches,
        kernels={entry.name: (prebuilt[entry.name], cached[entry.name]) for entry in ENTRIES},
    )


def _count(files: Iterable[str]) -> Counter[str]:
    return Counter(name.partition("-")[0] for name in files)
