"""
What LLVM makes of a processor: how wide its vectors are, how many it has, whether products fuse.

A processor may be given by its name alone, and what LLVM knows by a name cannot be asked for. So a
few lines are compiled, and the assembly tells.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

import llvmlite.binding as llvm

from jitprop_kernels.target import Target, initialize


class Registers(NamedTuple):
    """
    The registers for vectors, as LLVM uses them.

    Attributes
    ----------
    size : int
        The bytes of one.
    n : int
        How many there are.
    fused : bool
        Whether x * y + z is one operation, with one rounding. Without it LLVM calls `fma` of the C
        library, which is slow.
    """

    size: int
    n: int
    fused: bool


VECTORS = 33
"""One more than any processor has registers, so that all of them are used."""

VECTOR = "<16 x float>"
"""As wide as the widest register that kernels make use of."""

SIZES = {"zmm": 64, "ymm": 32, "xmm": 16, "q": 16}
"""The bytes of a register by what its name begins with, on x86-64 and on aarch64."""

NAMES = re.compile(r"\b([xyz]mm|q)(\d+)\b")


@cache
def registers_of(target: Target) -> Registers:
    """
    Return the registers of a processor. Takes some 10 ms.

    LLVM must be initialized for its architecture, if that is not this machine's.
    """
    initialize()
    machine = target.machine()
    moved, fused = (_assembly(machine, target, text) for text in (_moved(), _FUSED))
    found = set(NAMES.findall(moved))
    size = max((SIZES[kind] for kind, _ in found), default=16)
    n = len({number for kind, number in found if SIZES[kind] == size})
    return Registers(size, 32 if n >= 32 else 16, "fmaf" not in fused)


def fuses(target: Target) -> bool:
    """Return whether x * y + z is one operation. Of most processors it is known at once."""
    named = set(target.features.split(","))
    if target.triple.startswith(("aarch64", "arm64")) or {"+avx", "+fma"} <= named:
        return True
    return registers_of(target).fused


def _assembly(machine: Any, target: Target, text: str) -> str:
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = target.triple, str(machine.target_data)
    assembly: str = machine.emit_assembly(module)
    return assembly


def _moved() -> str:
    """Move so many vectors that each register is used. None may be left out or put off."""
    lines = [f"%v{i} = load volatile {VECTOR}, ptr %from, align 4" for i in range(VECTORS)]
    lines += [f"store volatile {VECTOR} %v{i}, ptr %to, align 4" for i in range(VECTORS)]
    return "\n".join(["define void @move(ptr %from, ptr %to) {", *lines, "ret void", "}"])


_FUSED = """
declare float @llvm.fma.f32(float, float, float)

define float @product_and_sum(float %x, float %y, float %z) {
    %r = call float @llvm.fma.f32(float %x, float %y, float %z)
    ret float %r
}
"""
