"""
The record that Python hands to an entry (`layout`), as numba and LLVM know it.

All of it is written with numba's public parts.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from jitprop_kernels.arrays import Flat, Table
from jitprop_kernels.layout import INTEGER, NOTHING, REAL, RESULT, RecordKind

INT32, INT64 = ir.IntType(32), ir.IntType(64)

KINDS = {
    "?": types.boolean,
    "q": types.int64,
    "d": types.float64,
    "f4": Flat(types.float32),
    "f8": Flat(types.float64),
    "i8": Flat(types.int64),
    "i8x2": Table(types.int64),
}


def type_of(kind: Any) -> Any:
    """Return numba's type for a kind of `layout`."""
    if isinstance(kind, str):
        return KINDS[kind]
    return types.BaseTuple.from_types(types_of(kind), kind.record)


def types_of(kind: RecordKind) -> tuple[Any, ...]:
    """Return numba's types for the fields of a record."""
    return tuple(map(type_of, kind.kinds))


def record_type(context: Any, fields: tuple[Any, ...]) -> Any:
    """Return LLVM's type of the record: the result, and behind it the arguments."""
    kinds = [context.get_value_type(field) for field in fields]
    return ir.LiteralStructType([INT64] * (RESULT // 8) + kinds)


def place(builder: Any, record: Any, i: int) -> Any:
    """Return where field ``i`` of the struct at ``record`` stands."""
    return builder.gep(record, [INT32(0), INT32(i)], inbounds=True)


def argument(builder: Any, record: Any, i: int) -> Any:
    """Return where argument ``i`` stands in the record."""
    return place(builder, record, RESULT // 8 + i)


def store_result(context: Any, builder: Any, record: Any, kind: Any, value: Any) -> None:
    """Write what a kernel has returned, of a type of numba's, into the record."""
    found = NOTHING
    if isinstance(kind, types.Integer | types.Boolean):
        found, value = INTEGER, context.cast(builder, value, kind, types.int64)
    elif isinstance(kind, types.Float):
        found = REAL
        value = builder.bitcast(context.cast(builder, value, kind, types.float64), INT64)
    builder.store(INT64(found), place(builder, record, 0))
    if found != NOTHING:
        builder.store(value, place(builder, record, 1))
