"""
What kernels hand to one another: of a record its pointer.

To numba a plan is forty arguments, which every call and every function takes apart and puts
together again. Here it is one. With `arrays` that is a third less code to compile.

A record is a NamedTuple. Its fields are numbers, arrays and other records. Who needs an array of a
record in a loop reads it before the loop: LLVM does not know that a store leaves the record alone.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    lower_cast,
    lower_getattr_generic,
    models,
    register_model,
)
from numba.types import BaseNamedTuple

from jitprop_kernels.arguments import place


class RecordPointer(types.Type):  # type: ignore[misc]
    """A pointer to a record."""

    def __init__(self, record: BaseNamedTuple) -> None:
        self.record = record
        super().__init__(f"RecordPointer({record})")


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
class _RecordPointerAttributes(AttributeTemplate):  # type: ignore[misc]
    key = RecordPointer

    def generic_resolve(self, kind: RecordPointer, name: str) -> Any:
        return handed(kind.record[kind.record.fields.index(name)])


@lower_getattr_generic(RecordPointer)  # type: ignore[untyped-decorator]
def field(context: Any, builder: Any, kind: RecordPointer, at: Any, name: str) -> Any:
    """What kernels get for a record's field of this name."""
    i = kind.record.fields.index(name)
    found, of = place(builder, at, i), kind.record[i]
    if isinstance(of, BaseNamedTuple):
        return found
    return builder.load(found)


def read(context: Any, builder: Any, kind: RecordPointer, at: Any, *names: str) -> tuple[Any, Any]:
    """What stands in a record under a name, in a record in it under the next; and of what type."""
    for name in names:
        i = kind.record.fields.index(name)
        kind, at = handed(kind.record[i]), field(context, builder, kind, at, name)
    return at, kind
