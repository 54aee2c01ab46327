"""
Files of JSON and tensors in the safetensors format, with a seal that reveals any altered bit.

Any reader of safetensors can open such a file. Its layout is::

    8 bytes         n, the length of the header, little-endian
    n bytes         the header, JSON: for each tensor its dtype, its shape, and where it begins and
                    ends in the data; under "__metadata__" the key "jitprop", whose text is JSON
                    again and begins with {"sha256":"...", the seal
    the rest        the data: all tensors, one after the other

The seal is the SHA-256 of the whole file, with 64 zeros in place of the seal. It protects against
accidents, not against an attacker, who can compute a new seal. So nothing in a file is trusted
because its seal is right.

The bytes are those that the safetensors library would write. They are written here directly from
the arrays, since the library first copies all of them, and ends the process if there is no memory
for that.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, NoReturn, TypeAlias

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.checks import quoted
from jitprop.files import atomic

MAX_HEADER = 1 << 22
"""
The most bytes of a header. Parsing the worst header of this size takes 25 times as much memory, and
0.3 s.
"""

CHUNK = 1 << 18
"""The bytes that are read at a time to compute the seal."""

_MARK = b'"{\\"sha256\\":\\"'
_NO_SEAL = b"0" * 64
_CODES = {np.dtype(np.float32): "F32", np.dtype(np.float64): "F64"}

Layout: TypeAlias = Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]
"""Dtype and shape of each tensor, by name."""


def write(
    path: str | os.PathLike[str], content: Mapping[str, Any], tensors: Mapping[str, Array]
) -> None:
    """
    Write a file atomically (see `jitprop.files.atomic`).

    Contiguous arrays are not copied.

    Parameters
    ----------
    path : str or path-like
    content : mapping of str to values that JSON can hold
    tensors : mapping of str to float32 or float64 arrays

    Raises
    ------
    OSError
        If the file cannot be written.
    TypeError, ValueError
        For content that JSON cannot hold, such as inf and nan, or that is too long.
    """
    arrays = {
        name: np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        for name, array in sorted(tensors.items(), key=_order)
    }
    header = _header({"sha256": _NO_SEAL.decode(), **content}, arrays)
    at = header.index(_MARK) + len(_MARK)
    data = [_bytes(array) for array in arrays.values()]
    seal = _seal([header, *data])
    with atomic.replacing(path) as file:
        file.write(header[:at] + seal + header[at + len(seal) :])
        for part in data:
            file.write(part)


def _order(item: tuple[str, Array]) -> tuple[int, str]:
    """Sort key of tensors: widest numbers first, so that all begin at multiples of their size."""
    return -item[1].dtype.itemsize, item[0]


def _header(content: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """The length of the header and the header, as the safetensors library writes them."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    header: dict[str, Any] = {"__metadata__": {"jitprop": text}}
    begin = 0
    for name, array in arrays.items():
        end = begin + array.nbytes
        header[name] = {
            "dtype": _CODES[array.dtype.newbyteorder("=")],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    raw = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    if len(raw) > MAX_HEADER:
        raise ValueError(
            f"settings, history and extra must take at most {MAX_HEADER} bytes as JSON; "
            f"got {len(raw)}"
        )
    return len(raw).to_bytes(8, "little") + raw


def _bytes(array: Array) -> memoryview:
    """The bytes of a contiguous array, without a copy."""
    flat: Any = array.reshape(-1).view(np.uint8)
    return memoryview(flat)


def _seal(parts: Iterable[bytes | memoryview]) -> bytes:
    """The SHA-256, in hexadecimal, of a file that has zeros in place of the seal."""
    seal = hashlib.sha256()
    for part in parts:
        seal.update(part)
    return seal.hexdigest().encode()


@contextlib.contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[Reading]:
    """
    A context that opens a file which `write` made.

    Every size is checked before anything of that size is read or allocated.

    Parameters
    ----------
    path : str or path-like

    Yields
    ------
    Reading

    Raises
    ------
    ValueError
        For a file of another layout, with the reason.
    OSError
        If the file does not exist or cannot be read.
    """
    with atomic.naming(path):
        # Checked before it is opened: opening a pipe would wait for a writer.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError("it is not a regular file")
        with open(path, "rb") as file:
            before = os.fstat(file.fileno())
            yield Reading(file, before.st_size)
            after = os.fstat(file.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise ValueError("it was written to while it was read")


class Reading:
    """
    An open file. First read ``content``, then call `check`, then read tensors.

    Attributes
    ----------
    content : dict
        It has not been verified before `check`.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        if size < 8:
            raise ValueError(f"it has {size} bytes, too few for a safetensors file")
        n = int.from_bytes(file.read(8), "little")
        if n > size - 8:
            raise ValueError(
                f"it is truncated or not in the safetensors format: its header would take {n} "
                f"bytes, and the file has {size}"
            )
        if n > MAX_HEADER:
            raise ValueError(f"its header takes {n} bytes, more than the {MAX_HEADER} allowed")
        raw = file.read(n)
        self._data = 8 + n
        self._header = _json(raw, "header")
        metadata = self._header.pop("__metadata__", None)
        text = metadata.get("jitprop") if isinstance(metadata, dict) else None
        self._at = 8 + raw.find(_MARK) + len(_MARK)
        if not isinstance(text, str) or self._at < 8 + len(_MARK):
            raise ValueError("it is a safetensors file, but was not written by jitprop")
        self.content = _json(text, "metadata")
        self.content.pop("sha256", None)
        self._layout: Layout = {}

    def check(self, layout: Layout) -> None:
        """
        Check that the file holds exactly these tensors, and that its seal is right.

        Raises
        ------
        ValueError
            If not, with the reason.
        """
        _check_tensors(self._header, layout, self._size - self._data)
        self._layout = layout
        self._file.seek(0)
        start = bytearray(self._file.read(self._data))
        seal = bytes(start[self._at : self._at + len(_NO_SEAL)])
        start[self._at : self._at + len(_NO_SEAL)] = _NO_SEAL
        chunks = iter(lambda: self._file.read(CHUNK), b"")
        if seal != _seal(itertools.chain([bytes(start)], chunks)):
            raise ValueError("it was altered: its SHA-256 differs from the one written in it")

    def tensor(self, name: str, out: Array | None = None) -> Array:
        """
        Read a tensor into the contiguous array ``out``, or into a new array.

        Raises
        ------
        ValueError
            If ``out`` has another dtype or shape, or the file is shorter than before.
        MemoryError
            If there is not enough memory for a new array.
        """
        dtype, shape = self._layout[name]
        array = np.empty(shape, dtype) if out is None else out
        if (array.dtype, array.shape) != (dtype, shape):
            raise ValueError(f"its tensor {quoted(name)} is not for a net of its settings")
        self._file.seek(self._data + self._header[name]["data_offsets"][0])
        if self._file.readinto(_bytes(array)) != array.nbytes:  # type: ignore[attr-defined]
            raise ValueError("it became shorter while it was read")
        return array.byteswap(inplace=True) if sys.byteorder == "big" else array

    def tensors(self, prefix: str) -> dict[str, Array]:
        """Read all tensors whose names begin with ``prefix`` into new arrays."""
        return {name: self.tensor(name) for name in self._layout if name.startswith(prefix)}


def _json(text: str | bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object. Python's json would also accept nan, inf and a name used twice."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) < len(items):
            raise ValueError("a name is used twice in an object")
        return made

    def constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not a number")

    try:
        if isinstance(text, bytes):
            text = text.decode()  # json would also accept UTF-16
        made = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"its {what} is not the JSON that was expected: {checks.printable(str(error))}"
        ) from error
    if not isinstance(made, dict):
        raise ValueError(f"its {what} is not the JSON that was expected: it is not an object")
    return made


def _check_tensors(header: dict[str, Any], layout: Layout, size: int) -> None:
    """Check that a file with ``size`` bytes of data holds exactly the tensors of this layout."""
    wanted = {name: (_CODES[dtype], list(shape)) for name, (dtype, shape) in layout.items()}
    if header.keys() != wanted.keys():
        raise ValueError(
            f"its tensors must be {checks.shown(sorted(wanted))}; "
            f"got {checks.shown(sorted(header))}"
        )
    for name, entry in header.items():
        found = (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else None
        if found != wanted[name]:
            raise ValueError(
                f"its tensor {quoted(name)} must be {checks.shown(wanted[name])}, as its settings "
                f"say; it is {checks.shown(found)}"
            )
    sizes = {name: dtype.itemsize * math.prod(shape) for name, (dtype, shape) in layout.items()}
    if size != (expected := sum(sizes.values())):
        raise ValueError(f"its tensors must take {expected} bytes; they take {size}")
    _check_offsets({name: entry.get("data_offsets") for name, entry in header.items()}, sizes)


def _check_offsets(offsets: dict[str, Any], sizes: dict[str, int]) -> None:
    """Check that the tensors follow one after the other."""
    for name, pair in offsets.items():
        if not (isinstance(pair, list) and len(pair) == 2 and {*map(type, pair)} == {int}):
            raise ValueError(
                f"its tensor {quoted(name)} must have two integers as data_offsets; "
                f"got {checks.shown(pair)}"
            )
    begin = 0
    for name in sorted(offsets, key=lambda name: (offsets[name], name)):
        end = begin + sizes[name]
        if offsets[name] != [begin, end]:
            raise ValueError(
                f"its tensor {quoted(name)} must have the data_offsets {[begin, end]}; "
                f"got {checks.shown(offsets[name])}"
            )
        begin = end
