"""
What kernels hand to one another: of an array its pointer and its size, of a record its pointer.

To LLVM numba's arrays are seven arguments each, which every call and every function takes apart
and puts together again, and a plan is forty. Here an array is two and a record one: a third less
code to compile. An index is never counted from the end: the branch for that hides from LLVM that
neighbours are neighbours. With it XOR took 0.28 us an epoch, without 0.19 (Zen 4).

A record is a NamedTuple. Its fields are numbers, arrays and other records. Who needs an array of a
record in a loop reads it before the loop: LLVM does not know that a store leaves the record alone.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_builtin, lower_cast, lower_getattr, lower_getattr_generic
from numba.core.types.containers import BaseNamedTuple, BaseTuple
from numba.core.types.misc import CPointer
from numba.core.typing.templates import (
    AbstractTemplate,
    AttributeTemplate,
    infer_getattr,
    infer_global,
    signature,
)
from numba.extending import models, register_model

INT64 = ir.IntType(64)


class Flat(types.Type):
    """An `_types.Array` or `_types.Indices`."""

    mutable = True

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(f"Flat({dtype})")


class Table(types.Type):
    """An array of two dimensions, `plan.layers`."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(f"Table({dtype})")


class RecordPointer(types.Type):
    """A pointer to a record."""

    def __init__(self, record: BaseNamedTuple) -> None:
        self.record = record
        super().__init__(f"RecordPointer({record})")


@register_model(Flat)
class _FlatModel(models.StructModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Flat) -> None:
        members = [("data", CPointer(kind.dtype)), ("size", types.int64)]
        super().__init__(manager, kind, members)


@register_model(Table)
class _TableModel(models.StructModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Table) -> None:
        members = [("data", CPointer(kind.dtype)), ("rows", types.int64), ("columns", types.int64)]
        super().__init__(manager, kind, members)


@register_model(RecordPointer)
class _RecordPointerModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: RecordPointer) -> None:
        record = manager.lookup(kind.record).get_value_type()
        super().__init__(manager, kind, record.as_pointer())


def room(builder: Any, kind: Any) -> Any:
    """Room for a value in the function's frame, which numba would fill with zeros first."""
    with builder.goto_entry_block():
        return builder.alloca(kind)


def handed(kind: Any) -> Any:
    """What a kernel gets for an argument of this type."""
    return RecordPointer(kind) if isinstance(kind, BaseNamedTuple) else kind


def pointer(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    """Where ``array[at]`` stands."""
    del context, kind
    return builder.gep(builder.extract_value(array, 0), [at])


@lower_cast(BaseNamedTuple, RecordPointer)  # type: ignore[untyped-decorator]
def _pointer_of(context: Any, builder: Any, source: Any, target: Any, value: Any) -> Any:
    del source, target
    if isinstance(value, ir.LoadInstr):  # a variable's: another copy for each call takes its time
        return value.operands[0]
    at = getattr(value, "kept_at", None)
    if at is None:
        at = room(builder, value.type)
        builder.store(value, at)
        if isinstance(value, ir.Instruction):
            value.kept_at = at  # for the next call in the same block
    return at


@infer_getattr
class _FlatAttributes(AttributeTemplate):  # type: ignore[misc]
    key = Flat

    def resolve_size(self, kind: Flat) -> Any:
        return types.int64

    def resolve_itemsize(self, kind: Flat) -> Any:
        return types.int64


@lower_getattr(Flat, "size")  # type: ignore[untyped-decorator]
def _size(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return builder.extract_value(array, 1)


@lower_getattr(Flat, "itemsize")  # type: ignore[untyped-decorator]
def _itemsize(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return INT64(kind.dtype.bitwidth // 8)


@infer_getattr
class _RecordPointerAttributes(AttributeTemplate):  # type: ignore[misc]
    key = RecordPointer

    def generic_resolve(self, kind: RecordPointer, name: str) -> Any:
        return handed(kind.record[kind.record.fields.index(name)])


@lower_getattr_generic(RecordPointer)  # type: ignore[untyped-decorator]
def field(context: Any, builder: Any, kind: RecordPointer, at: Any, name: str) -> Any:
    """What kernels get for a record's field of this name."""
    i = kind.record.fields.index(name)
    found, of = cgutils.gep_inbounds(builder, at, 0, i), kind.record[i]
    if isinstance(of, BaseNamedTuple):
        return found
    return builder.load(found)


def read(context: Any, builder: Any, kind: RecordPointer, at: Any, *names: str) -> tuple[Any, Any]:
    """What stands in a record under a name, in a record in it under the next; and of what type."""
    for name in names:
        i = kind.record.fields.index(name)
        kind, at = handed(kind.record[i]), field(context, builder, kind, at, name)
    return at, kind


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, keywords: Any) -> Any:
        array, at = args
        if isinstance(array, Flat) and isinstance(at, types.Integer):
            return signature(array.dtype, array, types.int64)
        if isinstance(array, Table):
            return signature(array.dtype, array, at)
        return None


@lower_builtin(operator.getitem, Flat, types.int64)  # type: ignore[untyped-decorator]
def _get(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.load(pointer(context, builder, sig.args[0], *args))


@lower_builtin(operator.getitem, Table, BaseTuple)  # type: ignore[untyped-decorator]
def _get_from_table(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    data, _, columns = cgutils.unpack_tuple(builder, args[0])
    row, column = cgutils.unpack_tuple(builder, args[1])
    at = builder.add(builder.mul(row, columns), column)
    return builder.load(builder.gep(data, [at]))


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, keywords: Any) -> Any:
        array, at, _ = args
        if isinstance(array, Flat) and isinstance(at, types.Integer):
            return signature(types.void, array, types.int64, array.dtype)
        return None


@lower_builtin(operator.setitem, Flat, types.int64, types.Any)  # type: ignore[untyped-decorator]
def _set(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    array, at, value = args
    builder.store(value, pointer(context, builder, sig.args[0], array, at))
    return context.get_dummy_value()


@infer_global(len)
class _Length(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, keywords: Any) -> Any:
        return signature(types.int64, *args) if isinstance(args[0], Table) else None


@lower_builtin(len, Table)  # type: ignore[untyped-decorator]
def _length(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.extract_value(args[0], 1)
