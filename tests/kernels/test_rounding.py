"""
Where kernels round is written in their source: LLVM does not choose it by the processor.

The optimised code is read for three processors. Whether they give the same numbers is another
test's question; here nothing is left that could make them differ.
"""

from __future__ import annotations

import re

import llvmlite.binding as llvm
import numpy as np
import pytest

from jitprop import Fleet, Trainer
from jitprop_kernels import ENTRIES
from jitprop_kernels.target import INTERPRETED, LEVELS

pytestmark = pytest.mark.skipif(INTERPRETED, reason="interpreted kernels have no machine code")

CHOICES = {"fast", "reassoc", "contract", "arcp", "afn", "nsz", "nnan", "ninf"}
"""Flags by which LLVM may round otherwise, or treat 0, inf or nan otherwise."""

EXACT = {
    "abs", "copysign", "fabs", "fma", "masked", "prefetch", "sqrt", "trunc",
    "lifetime", "memcpy", "memmove", "memset", "assume", "experimental",
    "smax", "smin", "umax", "umin", "umul", "usub", "fshl", "ctlz", "vector", "stepvector",
}  # fmt: skip
"""LLVM's functions that round once, or only move numbers and count."""

OUTSIDE = {"sched_yield", "memset", "memcpy", "memmove"}


def choices(text: str) -> set[str]:
    """Return what leaves rounding to LLVM or to the C library, in a module's text."""
    found = set()
    for line in text.splitlines():
        code = line.split(";")[0]
        operation = re.search(r"= (?:tail |notail |musttail )?(f[a-z]+|call|select|phi) (.*)", code)
        if operation:
            words = re.split(r"[ (]", operation[2])
            flags = []
            for word in words:
                if word not in CHOICES:
                    break
                flags.append(word)
            found.update(flags)
    for name in re.findall(r"^declare .*@\"?([\w.$]+)", text, re.MULTILINE):
        if name.startswith("llvm."):
            found.update({name} if name.split(".")[1] not in EXACT else set())
        elif name not in OUTSIDE:
            found.add(name)
    return found


def use(layers, dtype):
    """Train, evaluate and predict with a net, so that its kernels are known."""
    rng = np.random.default_rng(0)
    X, y = rng.random((12, layers[0])), rng.random((12, layers[-1]))
    trainer = Trainer(layers, seed=0, dtype=dtype, backend="numba")
    trainer.fit(X, y, 2, validation_data=(X, y))
    for method in ("scg", "bayesian"):
        other = Trainer(layers, optimizer=method, seed=0, dtype=dtype, backend="numba")
        other.fit(X, y, 2)
    other.predict(X, return_std=True)
    trainer.gradients(X, y)
    trainer.evaluate(X, y)
    trainer.predict(X)


def use_fleet(members, dtype):
    rng = np.random.default_rng(0)
    X, y = rng.random((12, 3)), rng.random((12, 2))
    fleet = Fleet([3, 4, 2], members=members, seed=0, dtype=dtype, backend="numba")
    fleet.fit(X, y, 2)
    fleet.evaluate(X, y)
    fleet.predict(X)


def test_the_reader_sees_what_it_looks_for():
    assert choices("  %x = fadd contract <4 x float> %y, %z") == {"contract"}
    assert choices("  %x = call reassoc nsz float @f(float %y)") == {"reassoc", "nsz"}
    assert choices("  %x = fmul float %contract, %z") == set()
    assert choices("declare double @exp(double) #1") == {"exp"}
    assert choices("declare <4 x float> @llvm.exp.v4f32(<4 x float>)") == {"llvm.exp.v4f32"}
    assert choices("declare <4 x float> @llvm.fmuladd.v4f32(x)") == {"llvm.fmuladd.v4f32"}
    assert choices("declare <4 x float> @llvm.fma.v4f32(x)\ndeclare void @memset(x)") == set()


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_llvm_does_not_choose_where_to_round(dtype):
    from jitprop_kernels._jit import linked
    from jitprop_kernels.emitting import optimised

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    use([3, 4, 2], dtype)
    use([16, 40, 8], dtype)
    use_fleet(3, dtype)
    use_fleet(20, dtype)
    seen = set()
    for entry in ENTRIES:
        for kind in entry.codes:
            if ("f4" if dtype == "float32" else "f8") not in str(kind):
                continue
            module = linked(entry.function(), kind)
            for level, target in LEVELS.items():
                copy = module.clone()
                optimised(copy, target)
                assert choices(str(copy)) == set(), (entry.name, kind, level)
                seen.add((entry.name, level))
    assert len(seen) == len(ENTRIES) * len(LEVELS)
