"""What LLVM makes of a processor is found out by a look at its assembly."""

from __future__ import annotations

import llvmlite.binding as llvm
import pytest

from jitprop_kernels.registers import Registers, fuses, registers_of
from jitprop_kernels.target import Target

FOUND = {
    ("x86_64-unknown-linux-gnu", "haswell", ""): Registers(32, 16, fused=True),
    ("x86_64-unknown-linux-gnu", "haswell", "-fma"): Registers(32, 16, fused=False),
    ("x86_64-unknown-linux-gnu", "haswell", "+fma,-avx"): Registers(16, 16, fused=False),
    ("x86_64-unknown-linux-gnu", "bdver1", ""): Registers(32, 16, fused=True),  # by FMA4
    ("x86_64-unknown-linux-gnu", "znver5", ""): Registers(64, 32, fused=True),
    ("x86_64-unknown-linux-gnu", "x86-64", ""): Registers(16, 16, fused=False),
    ("x86_64-pc-windows-msvc", "x86-64-v3", ""): Registers(32, 16, fused=True),
    ("x86_64-apple-macosx", "core2", ""): Registers(16, 16, fused=False),
    ("arm64-apple-macosx", "apple-m1", ""): Registers(16, 32, fused=True),
    ("aarch64-unknown-linux-gnu", "neoverse-v1", ""): Registers(16, 32, fused=True),
}


@pytest.mark.parametrize("given", FOUND, ids=lambda given: " ".join(given[:2]))
def test_registers(given):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = Target(*given)
    assert registers_of(target) == FOUND[given]
    assert fuses(target) == FOUND[given].fused


def test_a_target_that_says_that_it_fuses_is_not_compiled_for(monkeypatch):
    monkeypatch.setattr(Target, "machine", None)
    assert fuses(Target("x86_64-unknown-linux-gnu", "new", "+avx,+avx2,+fma"))
    assert fuses(Target("aarch64-unknown-linux-gnu", "new", ""))
