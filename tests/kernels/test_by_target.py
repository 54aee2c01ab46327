"""One module becomes code for many processors; each gets the blocks that fit its registers."""

from __future__ import annotations

import ctypes
import platform
import re

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from jitprop_kernels import by_target, loading
from jitprop_kernels.by_target.shape import Shape, shape_of
from jitprop_kernels.emitting import OUTSIDE, emitted, needed
from jitprop_kernels.llvm_terms import INT64, by_llvm
from jitprop_kernels.target import LEVELS, Target

X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"

TARGETS = {
    # By its name alone, as documented for clusters of different machines.
    "haswell": Target(X86, "haswell", ""),
    "znver3": Target(X86, "znver3", ""),
    "skylake-avx512": Target(X86, "skylake-avx512", ""),
    "znver4": Target(X86, "znver4", ""),
    "by features": Target(X86, "generic", "+avx,+avx2,+fma"),
    "sandybridge": Target(X86, "sandybridge", ""),
    "generic": Target(X86, "generic", ""),
    "neoverse-n1": Target(ARM, "neoverse-n1", ""),
    "neoverse-v1": Target(ARM, "neoverse-v1", ""),  # its vectors are scalable; LLVM uses NEON's
    "apple-m1": Target("arm64-apple-macosx", "apple-m1", ""),
    **LEVELS,
}

SHAPES = {
    "haswell": Shape(6, 8, masks=True, by_lane=False),
    "znver3": Shape(6, 8, masks=True, by_lane=False),
    "skylake-avx512": Shape(12, 16, masks=True, by_lane=False),
    "znver4": Shape(12, 16, masks=True, by_lane=False),
    "by features": Shape(6, 8, masks=True, by_lane=False),
    "sandybridge": Shape(6, 8, masks=True, by_lane=False),
    "generic": Shape(6, 4, masks=False, by_lane=False),
    "neoverse-n1": Shape(12, 4, masks=False, by_lane=True),
    "neoverse-v1": Shape(12, 4, masks=False, by_lane=True),
    "apple-m1": Shape(12, 4, masks=False, by_lane=True),
    "x86-64-v4": Shape(12, 16, masks=True, by_lane=False),
    "x86-64-v3": Shape(6, 8, masks=True, by_lane=False),
    "aarch64": Shape(12, 4, masks=False, by_lane=True),
}
"""For float32."""

numbers = pytest.mark.parametrize("number", ["float", "double"])
targets = pytest.mark.parametrize("name", TARGETS)


@pytest.fixture(scope="module", autouse=True)
def every_processor() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@targets
def test_blocks_fit_the_registers_that_llvm_uses(name):
    shape = SHAPES[name]
    assert shape_of(TARGETS[name], 32) == shape
    assert shape_of(TARGETS[name], 64) == shape._replace(lanes=shape.lanes // 2)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the code runs on x86-64")
def test_one_module_holds_the_shape_of_each_processor():
    module = ir.Module()
    entry = ir.Function(module, ir.FunctionType(INT64, []), loading.SYMBOL)
    builder = ir.IRBuilder(entry.append_basic_block())
    columns = by_target.declared_for(module, "block_columns", ir.FloatType())
    builder.ret(builder.call(columns, []))
    parsed = llvm.parse_assembly(str(module))
    for name in ("haswell", "skylake-avx512", "znver4", "x86-64-v3", "generic", "x86-64-v4"):
        address = loading.load(emitted(parsed.clone(), TARGETS[name]))
        assert ctypes.CFUNCTYPE(ctypes.c_int64)(address)() == 2 * SHAPES[name].lanes


def functions(name, number):
    """Return the text of each function that the processor's blocks consist of."""
    parts = re.split(r"^define .*?@\"?([\w.]+)\"?\(", by_target.definitions(TARGETS[name], number),
                     flags=re.MULTILINE)  # fmt: skip
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def full_block(name, number):
    rows, lanes, *_ = shape_of(TARGETS[name], by_target.NUMBERS[number])
    return f"block.{rows}.2.{lanes}.False.{number}"


@targets
@numbers
def test_only_blocks_that_fill_no_vector_mask_lanes(name, number):
    masked = {key for key, text in functions(name, number).items() if "llvm.masked" in text}
    if SHAPES[name].masks:
        assert all("True" in key or "shared" in key for key in masked)
        assert masked
    else:
        assert not masked


@targets
@numbers
def test_products_are_fused_where_written_and_nowhere_else(name, number):
    text = by_target.definitions(TARGETS[name], number)
    assert "@llvm.fma." in text or '@"llvm.fma.' in text
    assert "fmuladd" not in text
    assert not re.findall(r"\b(fast|contract|reassoc|arcp|nsz|nnan|ninf|afn)\b", text)


def assembly(name, number, function):
    """Return the assembly of one function."""
    target = TARGETS[name]
    machine = target.machine()
    module = llvm.parse_assembly(by_target.definitions(target, number))
    module.triple, module.data_layout = target.triple, str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(3)
    options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    text = machine.emit_assembly(module)
    return re.search(rf"^_?\"?{re.escape(function)}\"?:\n.*?(?=^\S+func_end|\.cfi_endproc)", text,
                     re.MULTILINE | re.DOTALL)[0]  # fmt: skip


@pytest.mark.parametrize("name", ["haswell", "znver3", "skylake-avx512", "x86-64-v3", "x86-64-v4"])
@numbers
def test_a_full_block_stays_in_the_registers_of_x86(name, number):
    code = assembly(name, number, full_block(name, number))
    kind, rows = ("zmm", 12) if SHAPES[name].rows == 12 else ("ymm", 6)
    assert ("zmm" in code) == (kind == "zmm")
    loop = next(
        part for part in re.split(r"^\.LBB.*:", code, flags=re.MULTILINE) if "vfmadd" in part
    )
    assert len(re.findall(rf"vfmadd\w+\s.*%{kind}", loop)) == 2 * rows
    assert not re.search(r"\(%r[sb]p", loop)  # no sum goes to memory


@pytest.mark.parametrize("name", ["aarch64", "neoverse-n1", "neoverse-v1"])
@numbers
def test_a_full_block_of_arm_multiplies_by_lanes(name, number):
    code = assembly(name, number, full_block(name, number))
    lane = "s" if number == "float" else "d"
    assert len(re.findall(rf"fmla\s.*\.{lane}\[[01]\]", code)) >= 24 + 48
    assert "ld1" not in code  # neither into all lanes nor lane by lane
    assert not re.search(r"\bz\d+\b", code)


def test_what_a_module_does_not_declare_is_not_added():
    module = llvm.parse_assembly(str(ir.Module()))
    by_target.define(module, TARGETS["haswell"])
    assert not list(module.functions)


@pytest.mark.parametrize("name", ["generic", "sandybridge", "haswell", "znver4"])
@numbers
def test_no_processor_calls_the_fma_of_the_c_library(name, number):
    kind = {"float": ir.FloatType(), "double": ir.DoubleType()}[number]
    module = ir.Module()
    block = by_target.declared_for(module, "multiply_block", kind)
    pointer = kind.as_pointer()
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer]), loading.SYMBOL)
    builder = ir.IRBuilder(entry.append_basic_block())
    # Of a number and of a vector, and in a block of two rows and three columns.
    for like in (kind, ir.VectorType(kind, 8)):
        at = builder.bitcast(entry.args[0], like.as_pointer())
        x = builder.load(at, align=8)
        builder.store(by_llvm("fma", builder, x, x, x), at, align=8)
    given = dict(enumerate(map(INT64, [2, 3, 5])))
    args = [
        given.get(i, entry.args[0] if arg.type == pointer else arg.type(1))
        for i, arg in enumerate(block.args)
    ]
    builder.call(block, args)
    builder.ret_void()
    code = emitted(llvm.parse_assembly(str(module)), TARGETS[name])
    assert needed(code) <= OUTSIDE
