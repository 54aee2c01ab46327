"""Short names for what kernels say in LLVM's own terms, by llvmlite alone."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

INT32, INT64, BOOL = ir.IntType(32), ir.IntType(64), ir.IntType(1)


def integers(values: list[int], bits: int = 32) -> Any:
    """Return a constant vector of integers."""
    return ir.VectorType(ir.IntType(bits), len(values))(values)


def splat_value(builder: Any, value: Any, lanes: int) -> Any:
    """Return a vector with the value in each lane."""
    vector = builder.insert_element(
        ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined), value, INT32(0)
    )
    return builder.shuffle_vector(vector, vector, integers([0] * lanes))


def by_llvm(name: str, builder: Any, *args: Any) -> Any:
    """Call LLVM's function of this name for the type of the arguments, which is one for all."""
    function = intrinsic_of(builder.module, name, args[0].type, [args[0].type] * len(args))
    return builder.call(function, args)


def intrinsic_of(module: Any, name: str, kind: Any, arguments: list[Any]) -> Any:
    """Declare LLVM's function of this name for numbers or vectors of type ``kind``."""
    lanes, number = (
        (f"v{kind.count}", kind.element) if isinstance(kind, ir.VectorType) else ("", kind)
    )
    name = f"llvm.{name}.{lanes}f{32 if number == ir.FloatType() else 64}"
    return module.declare_intrinsic(name, (), ir.FunctionType(kind, arguments))


def declare(module: Any, kind: Any, name: str) -> Any:
    """Find a function by its name, or declare it."""
    return module.globals.get(name) or ir.Function(module, kind, name)
