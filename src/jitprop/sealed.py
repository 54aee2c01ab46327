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
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeAlias

import numpy as np
import safetensors.numpy

from jitprop import atomic, checks
from jitprop._types import Array

MAX_HEADER = 1 << 22
"""Bytes of a header: those of a hostile one take 25 times as much when parsed, and 0.3 s."""

_MARK = b'"{\\"sha256\\":\\"'
_NO_SEAL = b"0" * 64
_CODES = {np.dtype(np.float32): "F32", np.dtype(np.float64): "F64"}

Layout: TypeAlias = Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]
"""Dtype and shape of each tensor, by name."""


def write(
    path: str | os.PathLike[str], content: Mapping[str, Any], tensors: Mapping[str, Array]
) -> None:
    """
    Write a file whole, or leave what was there: see `jitprop.atomic`.

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
    sealed = {"sha256": _NO_SEAL.decode(), **content}
    text = json.dumps(sealed, allow_nan=False, separators=(",", ":"))
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    data = safetensors.numpy.save(arrays, {"jitprop": text})
    if (size := int.from_bytes(data[:8], "little")) > MAX_HEADER:
        raise ValueError(
            f"settings, history and extra must take at most {MAX_HEADER} bytes of JSON; got {size}"
        )
    at = data.index(_MARK) + len(_MARK)
    with atomic.replacing(path) as file:
        file.write(data[:at])
        file.write(_seal(data, at))
        file.write(memoryview(data)[at + len(_NO_SEAL) :])


def read(
    path: str | os.PathLike[str], layout: Callable[[dict[str, Any]], Layout]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """
    What `write` was given; every size is looked at before anything of that size is read or made.

    Parameters
    ----------
    path : str or path-like
    layout : callable
        Takes the content, whose seal is not yet verified, and says which tensors belong to it.

    Returns
    -------
    content : dict
    tensors : dict of str to array
        Not to be written to.

    Raises
    ------
    ValueError
        For anything but a file of this layout, with the reason.
    OSError
        Where there is no such file, or it may not be read.
    """
    # Not opened yet: opening a pipe waits for one who writes to it.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is no regular file")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
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
        header = _json(raw, "header")
        metadata = header.pop("__metadata__", None)
        text = metadata.get("jitprop") if isinstance(metadata, dict) else None
        at = 8 + raw.find(_MARK) + len(_MARK)
        if not isinstance(text, str) or at < 8 + len(_MARK):
            raise ValueError("it is a safetensors file, but jitprop did not write it")
        content = _json(text, "metadata")
        content.pop("sha256", None)
        _check_tensors(header, layout(content), size - 8 - n)
        file.seek(0)
        data = file.read(size)
    if len(data) != size or data[at : at + len(_NO_SEAL)] != _seal(data, at):
        raise ValueError("it was altered: its SHA-256 is not the one that is written in it")
    try:
        return content, safetensors.numpy.load(data)
    except safetensors.SafetensorError as error:
        raise ValueError(f"its tensors cannot be read: {error}") from error


def _seal(data: bytes, at: int) -> bytes:
    """The SHA-256 of a file, in hexadecimal, with zeros where the seal stands."""
    view = memoryview(data)
    seal = hashlib.sha256(view[:at])
    seal.update(_NO_SEAL)
    seal.update(view[at + len(_NO_SEAL) :])
    return seal.hexdigest().encode()


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
        raise ValueError(f"its {what} is not the JSON that was expected: {error}") from error
    if not isinstance(made, dict):
        raise ValueError(f"its {what} is not the JSON that was expected: no object")
    return made


def _check_tensors(header: dict[str, Any], layout: Layout, size: int) -> None:
    """Whether these tensors and no others are in a file with ``size`` bytes of them."""
    wanted = {name: (_CODES[dtype], list(shape)) for name, (dtype, shape) in layout.items()}
    if header.keys() != wanted.keys():
        raise ValueError(
            f"its tensors must be {sorted(wanted)}; got {checks.shown(sorted(header))}"
        )
    for name, entry in header.items():
        found = (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else None
        if found != wanted[name]:
            raise ValueError(
                f"its tensor {name!r} must be {checks.shown(wanted[name])}, as its settings say; "
                f"it is {checks.shown(found)}"
            )
    expected = sum(dtype.itemsize * math.prod(shape) for dtype, shape in layout.values())
    if size != expected:
        raise ValueError(f"its tensors take {expected} bytes, and {size} are there")
