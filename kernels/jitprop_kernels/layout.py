"""
The record that Python hands to an entry: where each argument stands in it.

An entry is a C function of one pointer. The pointer leads to the result and, behind it, to the
entry's arguments: numbers, arrays and records of them, one after the other, each at a multiple of
its size, as C lays out a struct. `Layout` writes them there. `arguments` says to numba and
LLVM where they stand.
"""

from __future__ import annotations

import ctypes
import struct
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Kind: TypeAlias = "str | RecordKind"


class RecordKind(NamedTuple):
    """
    The kind of a tuple.

    Attributes
    ----------
    record : type or None
        The class of a NamedTuple. None for another tuple.
    kinds : tuple of Kind
        Of each field.
    """

    record: type[Any] | None
    kinds: tuple[Kind, ...]

    def __str__(self) -> str:
        name = "" if self.record is None else self.record.__name__
        return f"{name}({','.join(map(str, self.kinds))})"


NUMBER = {bool: "?", np.bool_: "?", int: "q", np.int64: "q", float: "d", np.float64: "d"}
"""The kinds of numbers, by their type. The letters are those of `struct`."""

ARRAYS = {
    (1, np.dtype(np.float32)): "f4",
    (1, np.dtype(np.float64)): "f8",
    (1, np.dtype(np.int64)): "i8",
    (2, np.dtype(np.int64)): "i8x2",
}
"""
The kinds of arrays, by their number of dimensions and dtype.

In a record stands where the array begins, and its size; of a table of two dimensions its rows and
its columns.
"""

FORMATS = {"?": "?", "q": "q", "d": "d", "f4": "qq", "f8": "qq", "i8": "qq", "i8x2": "qqq"}

RESULT = 16
"""Bytes of the result: its kind, as an int64, and itself."""

NOTHING, INTEGER, REAL = range(3)
"""Kinds of results."""


def kind_of(value: Any) -> Kind:
    """
    Return the kind of an argument.

    Raises
    ------
    TypeError
        For a value that no record can hold.
    """
    found = NUMBER.get(type(value))
    if found is not None:
        return found
    if isinstance(value, tuple):
        record = type(value) if hasattr(value, "_fields") else None
        # A call for each number would take half the time.
        kinds = [NUMBER.get(type(field)) or kind_of(field) for field in value]
        return RecordKind(record, tuple(kinds))
    if isinstance(value, np.ndarray):
        if not value.flags.c_contiguous:
            raise TypeError("a kernel's array must be C-contiguous")
        found = ARRAYS.get((value.ndim, value.dtype))
    if found is None:
        raise TypeError(f"a kernel takes no {type(value).__name__} {getattr(value, 'dtype', '')}")
    return found


def leaves(value: Any) -> list[Any]:
    """Return the numbers that stand for a value in a record."""
    found: list[Any] = []
    _add_leaves(value, found)
    return found


def _add_leaves(value: Any, found: list[Any]) -> None:
    if isinstance(value, tuple):
        for field in value:
            if type(field) in NUMBER:  # most are, and a call for each takes half the time
                found.append(field)
            else:
                _add_leaves(field, found)
    elif isinstance(value, np.ndarray):
        found.append(address(value))
        found.extend([value.size] if value.ndim == 1 else value.shape)
    else:
        found.append(value)


def address(array: np.ndarray[Any, Any]) -> int:
    """Return where an array begins. The attribute ``ctypes`` of an array takes 2 us, this 0.4."""
    if array.size == 0:  # its buffer would be refused
        return 0
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except TypeError:  # a read-only array
        return array.ctypes.data


def _format(kind: Kind) -> str:
    if isinstance(kind, str):
        return FORMATS[kind]
    # "0q" ends a record where the next number of 8 bytes may begin.
    return "0q" + "".join(map(_format, kind.kinds)) + "0q" if kind.kinds else ""


class Layout:
    """
    The layout of an entry's arguments, each of a kind.

    Attributes
    ----------
    kind : RecordKind
        Of all arguments together.
    size : int
        Bytes of the record.
    """

    def __init__(self, kind: RecordKind) -> None:
        self.kind = kind
        self._all = struct.Struct("@" + _format(kind))
        self.size = RESULT + self._all.size
        self._places: dict[tuple[int | str, ...], tuple[int, struct.Struct]] = {}

    def write(self, buffer: bytearray, values: tuple[Any, ...]) -> None:
        """Write all arguments."""
        self._all.pack_into(buffer, RESULT, *leaves(values))

    def put(self, buffer: bytearray, path: tuple[int | str, ...], value: Any) -> None:
        """Write one argument, or a field of one. The path begins with the argument's number."""
        at, form = self._place(path)
        form.pack_into(buffer, at, *leaves(value))

    def place(self, path: tuple[int | str, ...]) -> int:
        """Return where in the record, in bytes, the argument or field at the end of a path is."""
        return self._place(path)[0]

    def _place(self, path: tuple[int | str, ...]) -> tuple[int, struct.Struct]:
        place = self._places.get(path)
        if place is None:
            place = self._places[path] = self._found(path)
        return place

    def _found(self, path: tuple[int | str, ...]) -> tuple[int, struct.Struct]:
        kind: Kind = self.kind
        before = ""
        for step in path:
            assert isinstance(kind, RecordKind)
            if isinstance(step, str):
                assert kind.record is not None
                step = kind.record._fields.index(step)
            before += "0q" + "".join(map(_format, kind.kinds[:step]))
            kind = kind.kinds[step]
        form = _format(kind)
        whole = struct.calcsize(f"@{before}{form}")
        return RESULT + whole - struct.calcsize("@" + form), struct.Struct("@" + form)


layout_of = cache(Layout)
