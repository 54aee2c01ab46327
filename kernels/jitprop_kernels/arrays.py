"""
Arrays, as numba and LLVM know them.

To LLVM numba's arrays are seven arguments each, which every call and every function takes apart
and puts together again. Here an array is two: its pointer and its size. An index is never counted
from the end: the branch for that hides from LLVM that neighbours are neighbours. With it XOR took
0.28 us an epoch, without 0.19 (Zen 4).

All of it is written with numba's public `numba.extending`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import (
    lower_builtin,
    make_attribute_wrapper,
    models,
    register_model,
    type_callable,
)


class Flat(types.Type):  # type: ignore[misc]
    """An `_types.Array` or `_types.Indices`."""

    mutable = True

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(f"Flat({dtype})")


class Table(types.Type):  # type: ignore[misc]
    """An array of two dimensions, `plan.layers`."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(f"Table({dtype})")


@register_model(Flat)
class FlatModel(models.StructModel):  # type: ignore[misc]
    """What a `Flat` is to LLVM."""

    def __init__(self, manager: Any, kind: Flat) -> None:
        members = [("data", types.CPointer(kind.dtype)), ("size", types.int64)]
        super().__init__(manager, kind, members)


@register_model(Table)
class TableModel(models.StructModel):  # type: ignore[misc]
    """What a `Table` is to LLVM."""

    def __init__(self, manager: Any, kind: Table) -> None:
        data = ("data", types.CPointer(kind.dtype))
        super().__init__(manager, kind, [data, ("rows", types.int64), ("columns", types.int64)])


def pointer(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    """Where ``array[at]`` stands."""
    del context, kind
    return builder.gep(builder.extract_value(array, 0), [at])


make_attribute_wrapper(Flat, "size", "size")


@type_callable(operator.getitem)  # type: ignore[untyped-decorator]
def _type_of_item(context: Any) -> Callable[..., Any]:
    def typed(array: Any, at: Any) -> Any:
        if isinstance(array, Flat) and isinstance(at, types.Integer):
            return array.dtype(array, types.int64)
        return array.dtype(array, at) if isinstance(array, Table) else None

    return typed


@lower_builtin(operator.getitem, Flat, types.int64)  # type: ignore[untyped-decorator]
def _get(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.load(pointer(context, builder, sig.args[0], *args))


@lower_builtin(operator.getitem, Table, types.BaseTuple)  # type: ignore[untyped-decorator]
def _get_from_table(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    data, columns = (builder.extract_value(args[0], i) for i in (0, 2))
    row, column = (builder.extract_value(args[1], i) for i in (0, 1))
    at = builder.add(builder.mul(row, columns), column)
    return builder.load(builder.gep(data, [at]))


@type_callable(operator.setitem)  # type: ignore[untyped-decorator]
def _type_of_change(context: Any) -> Callable[..., Any]:
    def typed(array: Any, at: Any, value: Any) -> Any:
        if isinstance(array, Flat) and isinstance(at, types.Integer):
            return types.void(array, types.int64, array.dtype)
        return None

    return typed


@lower_builtin(operator.setitem, Flat, types.int64, types.Any)  # type: ignore[untyped-decorator]
def _set(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    array, at, value = args
    builder.store(value, pointer(context, builder, sig.args[0], array, at))
    return context.get_dummy_value()


@type_callable(len)  # type: ignore[untyped-decorator]
def _type_of_length(context: Any) -> Callable[..., Any]:
    return lambda table: types.int64(table) if isinstance(table, Table) else None


@lower_builtin(len, Table)  # type: ignore[untyped-decorator]
def _length(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.extract_value(args[0], 1)
