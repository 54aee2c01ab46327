"""
Vectors, as numba and LLVM know them; what kernels do with them: `simd`.

All of it is written with numba's public `numba.extending`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import (
    lower_builtin,
    lower_cast,
    models,
    register_model,
    type_callable,
)

from jitprop_kernels.llvm_terms import by_llvm, splat_value


class VectorType(types.Type):  # type: ignore[misc]
    """Numba's type of a vector; of booleans, it is the result of a comparison."""

    def __init__(self, dtype: Any, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(f"Vector({dtype} x {lanes})")


ELEMENTS = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.boolean: ir.IntType(1),
}


@register_model(VectorType)
class VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    """What it is to LLVM."""

    def __init__(self, manager: Any, kind: VectorType) -> None:
        super().__init__(manager, kind, ir.VectorType(ELEMENTS[kind.dtype], kind.lanes))


@type_callable(type)  # type: ignore[untyped-decorator]
def _type_of_type(context: Any) -> Callable[..., Any]:
    """Treat vectors as numbers, whose type makes one from a float (`_from_float`)."""
    del context
    return lambda x: types.NumberClass(x)(x) if isinstance(x, VectorType) else None


@lower_cast(types.Float, VectorType)  # type: ignore[untyped-decorator]
def _from_float(context: Any, builder: Any, source: Any, target: Any, value: Any) -> Any:
    return splat_value(builder, context.cast(builder, value, source, target.dtype), target.lanes)


def _define(function: Any, arity: int, code: Callable[..., Any], compares: bool = False) -> None:
    """Teach numba ``function`` of ``arity`` vectors."""

    def typed(x: Any, *others: Any) -> Any:
        if not isinstance(x, VectorType) or any(other != x for other in others):
            return None
        return (VectorType(types.boolean, x.lanes) if compares else x)(x, *others)

    def of_one(context: Any) -> Any:
        del context
        return lambda x: typed(x)

    def of_two(context: Any) -> Any:
        del context
        return lambda x, y: typed(x, y)

    type_callable(function)(of_one if arity == 1 else of_two)

    @lower_builtin(function, *[VectorType] * arity)  # type: ignore[untyped-decorator]
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        del context, sig
        return code(builder, *args)


def _abs(builder: Any, x: Any) -> Any:
    return by_llvm("fabs", builder, x)


for function in (operator.add, operator.iadd):
    _define(function, 2, lambda builder, x, y: builder.fadd(x, y))
_define(operator.sub, 2, lambda builder, x, y: builder.fsub(x, y))
_define(operator.mul, 2, lambda builder, x, y: builder.fmul(x, y))
_define(operator.truediv, 2, lambda builder, x, y: builder.fdiv(x, y))
_define(operator.neg, 1, lambda builder, x: builder.fneg(x))
_define(abs, 1, _abs)
_define(operator.lt, 2, lambda builder, x, y: builder.fcmp_ordered("<", x, y), compares=True)
_define(operator.gt, 2, lambda builder, x, y: builder.fcmp_ordered(">", x, y), compares=True)
_define(operator.ge, 2, lambda builder, x, y: builder.fcmp_ordered(">=", x, y), compares=True)
