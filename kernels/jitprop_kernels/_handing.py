"""
What kernels hand to one another: of an array its pointer and its size, of the plan its place.

To LLVM numba's arrays are seven arguments each, which every call and every function takes apart
and puts together again, and a plan is forty. Here an array is two, the plan one: a third less code
to compile. Only an entry is called with arrays and a plan, from Python; they become these where it
calls another kernel (`handed`). An index is never counted from the end.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_builtin, lower_cast, lower_getattr, lower_getattr_generic
from numba.core.types.containers import BaseTuple, NamedTuple
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
    """`plan.layers`: where an array of two dimensions stands."""

    def __init__(self, array: types.Array) -> None:
        self.array = array
        super().__init__(f"Table({array})")


class Place(types.Type):
    """Where a plan stands."""

    def __init__(self, plan: NamedTuple) -> None:
        self.plan = plan
        super().__init__(f"Place({plan})")


@register_model(Flat)
class _FlatModel(models.StructModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Flat) -> None:
        members = [("data", CPointer(kind.dtype)), ("size", types.int64)]
        super().__init__(manager, kind, members)


@register_model(Table)
class _TableModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Table) -> None:
        array = manager.lookup(kind.array).get_value_type()
        super().__init__(manager, kind, array.as_pointer())


@register_model(Place)
class _PlaceModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Place) -> None:
        plan = manager.lookup(kind.plan).get_value_type()
        super().__init__(manager, kind, plan.as_pointer())


def handed(kind: Any) -> Any:
    """What a kernel gets for an argument of this type."""
    if isinstance(kind, types.Array) and kind.ndim == 1:
        return Flat(kind.dtype)
    return Place(kind) if isinstance(kind, NamedTuple) else kind


def pointer(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    """Where ``array[at]`` stands."""
    if isinstance(kind, Flat):
        return builder.gep(builder.extract_value(array, 0), [at])
    return builder.gep(context.make_array(kind)(context, builder, array).data, [at])


@lower_cast(types.Array, Flat)  # type: ignore[untyped-decorator]
def _flat_of(context: Any, builder: Any, source: Any, target: Any, value: Any) -> Any:
    array = context.make_array(source)(context, builder, value)
    flat = cgutils.create_struct_proxy(target)(context, builder)
    flat.data, flat.size = array.data, array.nitems
    return flat._getvalue()


@lower_cast(NamedTuple, Place)  # type: ignore[untyped-decorator]
def _place_of(context: Any, builder: Any, source: Any, target: Any, value: Any) -> Any:
    del source, target
    if isinstance(value, ir.LoadInstr):  # a variable's: another copy for each call takes its time
        return value.operands[0]
    place = cgutils.alloca_once(builder, value.type)
    builder.store(value, place)
    return place


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
class _PlaceAttributes(AttributeTemplate):  # type: ignore[misc]
    key = Place

    def generic_resolve(self, kind: Place, name: str) -> Any:
        field = kind.plan[kind.plan.fields.index(name)]
        return Table(field) if isinstance(field, types.Array) else field


@lower_getattr_generic(Place)  # type: ignore[untyped-decorator]
def _field(context: Any, builder: Any, kind: Any, place: Any, name: str) -> Any:
    i = kind.plan.fields.index(name)
    field = cgutils.gep_inbounds(builder, place, 0, i)
    return field if isinstance(kind.plan[i], types.Array) else builder.load(field)


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, keywords: Any) -> Any:
        array, at = args
        if isinstance(array, Flat) and isinstance(at, types.Integer):
            return signature(array.dtype, array, types.int64)
        if isinstance(array, Table):
            return signature(array.array.dtype, array, at)
        return None


@lower_builtin(operator.getitem, Flat, types.int64)  # type: ignore[untyped-decorator]
def _get(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.load(pointer(context, builder, sig.args[0], *args))


@lower_builtin(operator.getitem, Table, BaseTuple)  # type: ignore[untyped-decorator]
def _get_from_table(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    table = context.make_array(sig.args[0].array)(context, builder, ref=args[0])
    columns = builder.extract_value(table.shape, 1)
    row, column = cgutils.unpack_tuple(builder, args[1])
    at = builder.add(builder.mul(row, columns), column)
    return builder.load(builder.gep(table.data, [at]))


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
    table = context.make_array(sig.args[0].array)(context, builder, ref=args[0])
    return builder.extract_value(table.shape, 0)
