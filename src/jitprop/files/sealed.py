"""
Files of JSON and tensors, in the safetensors format, with a seal: one altered bit is noticed.

The layout, which any safetensors reader opens::

    8 bytes         n, the header's length, little-endian
    n bytes         the header, JSON: for each tensor its dtype, shape and place among the data;
                    under "__metadata__" the key "jitprop", whose text is JSON again and begins
                    with {"sha256":"...": the seal
    all the rest    the tensors, one after the other

The seal is the SHA-256 of the whole file with 64 zeros in the seal's place. It is against
accidents: who alters a file on purpose can seal it anew, so nothing is trusted for its sake.

The bytes are those that the safetensors library writes. They are written here, straight from the
arrays: the library first makes one copy of all of them, and where there is no memory for it, it
ends the process.
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
"""Bytes of a header: those of a hostile one take 25 times as much when parsed, and 0.3 s."""

CHUNK = 1 << 18
"""Bytes that are read at a time for the seal."""

_MARK = b'"{\\"sha256\\":\\"'
_NO_SEAL = b"0" * 64
_CODES = {np.dtype(np.float32): "F32", np.dtype(np.float64): "F64"}

Layout: TypeAlias = Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]
"""Dtype and shape of each tensor, by name."""


def write(
    path: str | os.PathLike[str], content: Mapping[str, Any], tensors: Mapping[str, Array]
) -> None:
    """
    Write a file whole, or leave what was there: see `jitprop.files.atomic`.

    Contiguous arrays are not copied.

    Parameters
    ----------
    path : str or path-like
    content : mapping of str to what JSON knows
    tensors : mapping of str to float32 or float64 arrays

    Raises
    ------
    OSError
        As `open` and writing do.
    TypeError, ValueError
        For content that JSON does not know, inf and nan among it, or too much of it.
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
    """The widest numbers first, so that all stand at multiples of their size."""
    return -item[1].dtype.itemsize, item[0]


def _header(content: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """The header and its length, as the safetensors library has them."""
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
            f"settings, history and extra must take at most {MAX_HEADER} bytes of JSON; "
            f"got {len(raw)}"
        )
    return len(raw).to_bytes(8, "little") + raw


def _bytes(array: Array) -> memoryview:
    """The bytes of a contiguous array, not copied."""
    flat: Any = array.reshape(-1).view(np.uint8)
    return memoryview(flat)


def _seal(parts: Iterable[bytes | memoryview]) -> bytes:
    """The SHA-256, in hexadecimal, of a file that has zeros where the seal will stand."""
    seal = hashlib.sha256()
    for part in parts:
        seal.update(part)
    return seal.hexdigest().encode()


@contextlib.contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[Reading]:
    """
    A file that `write` made, opened.

    Every size is looked at before anything of that size is read or made.

    Parameters
    ----------
    path : str or path-like

    Yields
    ------
    Reading

    Raises
    ------
    ValueError
        For anything but a file of this layout, with the reason.
    OSError
        Where there is no such file, or it may not be read.
    """
    with atomic.naming(path):
        # Not opened yet: opening a pipe waits for one who writes to it.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError("it is no regular file")
        with open(path, "rb") as file:
            before = os.fstat(file.fileno())
            yield Reading(file, before.st_size)
            after = os.fstat(file.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise ValueError("it was written to while it was read")


class Reading:
    """
    An open file: first its content is there, then it is checked, then tensors can be had.

    Attributes
    ----------
    content : dict
        Not verified before `check`.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        if size < 8:
            raise ValueError(f"it has {size} bytes, too few for any")
        n = int.from_bytes(file.read(8), "little")
        if n > size - 8:
            raise ValueError(
                f"it is truncated, or not of the safetensors format: the header alone would take "
                f"{n} bytes, and the file has {size}"
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
            raise ValueError("it is a safetensors file, but jitprop did not write it")
        self.content = _json(text, "metadata")
        self.content.pop("sha256", None)
        self._layout: Layout = {}

    def check(self, layout: Layout) -> None:
        """
        See that these tensors and no others are in the file, and that the seal is right.

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
            raise ValueError("it was altered: its SHA-256 is not the one that is written in it")

    def tensor(self, name: str, out: Array | None = None) -> Array:
        """
        One tensor, in an array of its own, or in the contiguous one that is given.

        Raises
        ------
        MemoryError
            Where there is no memory for it.
        """
        dtype, shape = self._layout[name]
        array = np.empty(shape, dtype) if out is None else out
        if (array.dtype, array.shape) != (dtype, shape):
            raise ValueError(f"its tensor {quoted(name)} is not for a net of its settings")
        self._file.seek(self._data + self._header[name]["data_offsets"][0])
        if self._file.readinto(_bytes(array)) != array.nbytes:  # type: ignore[attr-defined]
            raise ValueError("it was cut off while it was read")
        return array.byteswap(inplace=True) if sys.byteorder == "big" else array

    def tensors(self, prefix: str) -> dict[str, Array]:
        """Those whose names begin so, each in an array of its own."""
        return {name: self.tensor(name) for name in self._layout if name.startswith(prefix)}


def _json(text: str | bytes, what: str) -> dict[str, Any]:
    """An object, by JSON's standard: no name twice, and no nan and inf, all of which json takes."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) < len(items):
            raise ValueError("a name stands in it twice")
        return made

    def constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is no number")

    try:
        if isinstance(text, bytes):
            text = text.decode()  # json would guess at UTF-16
        made = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"its {what} is not the JSON that was expected: {checks.printable(str(error))}"
        ) from error
    if not isinstance(made, dict):
        raise ValueError(f"its {what} is not the JSON that was expected: no object")
    return made


def _check_tensors(header: dict[str, Any], layout: Layout, size: int) -> None:
    """Whether these tensors and no others are in a file with ``size`` bytes of them."""
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
        raise ValueError(f"its tensors take {expected} bytes, and {size} are there")
    _check_places({name: entry.get("data_offsets") for name, entry in header.items()}, sizes)


def _check_places(places: dict[str, Any], sizes: dict[str, int]) -> None:
    """Whether the tensors stand one after the other."""
    for name, place in places.items():
        if not (isinstance(place, list) and len(place) == 2 and {*map(type, place)} == {int}):
            raise ValueError(f"its tensor {quoted(name)} cannot stand at {checks.shown(place)}")
    at = 0
    for name in sorted(places, key=lambda name: (places[name], name)):
        end = at + sizes[name]
        if places[name] != [at, end]:
            raise ValueError(
                f"its tensor {quoted(name)} must stand at {[at, end]}; "
                f"got {checks.shown(places[name])}"
            )
        at = end
