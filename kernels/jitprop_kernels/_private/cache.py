"""
Machine code kept on disk between processes: one file for each entry and signature.

The name of a file is a hash of all that its machine code depends on: see `_key`. So what one
installation, version or option left is never taken by another.

A file is read from the first folder that has it, and written to the first folder that can be
written: see `_folders`. It begins with a hash of what follows. A damaged file is never run: the
kernel is compiled again, and the file replaced.

Files of other versions, 0.3 MB each, stay: another environment may be using them.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import os
import pickle
import platform
import secrets
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite.binding import llvm_version_info
from numba.core import config
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

from jitprop_kernels import _trust

SUFFIX = ".kernel"
MAGIC = b"jitprop kernel 1\n"
HASH_SIZE = hashlib.sha256().digest_size
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)

CODE_OPTIONS = (
    "BOUNDSCHECK",
    "CPU_FEATURES",
    "CPU_NAME",
    "DEBUGINFO_DEFAULT",
    "DEBUG_JIT",
    "DEBUG_NRT",
    "DIFF_IR",
    "DISABLE_INTEL_SVML",
    "ENABLE_AVX",
    "ENABLE_PROFILING",
    "EXTEND_VARIABLE_LIFETIMES",
    "JIT_COVERAGE",
    "LLVM_REFPRUNE_FLAGS",
    "LLVM_REFPRUNE_PASS",
    "LOOP_VECTORIZE",
    "NRT_STATS",
    "OPT",
    "SLP_VECTORIZE",
    "USE_LEGACY_TYPE_SYSTEM",  # of numba 0.62
    "USING_SVML",
)
"""The options of numba.config that change machine code. The environment sets most of them."""


@cache
def fingerprint(options: str) -> str:
    """Hash of every source file of the kernels and of the compiler's options; "" without files."""
    package = Path(__file__).parents[1]
    sources = sorted(package.rglob("*.py"))
    digest = hashlib.sha256(options.encode())
    for path in sources:
        name = path.relative_to(package).as_posix()
        digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest() if sources else ""


def _key(fingerprint: str, sig: Any, codegen: Any) -> str:
    """All that machine code depends on: sources, types, processor, versions and options."""
    settings = [f"{name}={getattr(config, name, None)!r}" for name in CODE_OPTIONS]
    versions = (
        numba.__version__,
        llvmlite.__version__,
        llvm_version_info,
        np.__version__,
        platform.python_version(),
        # Python with and without the GIL are one version, and their objects have two layouts.
        importlib.machinery.EXTENSION_SUFFIXES[0],
    )
    return repr((fingerprint, str(sig), codegen.magic_tuple(), versions, settings))


def _folders() -> list[str]:
    """Where files may be: NUMBA_CACHE_DIR, beside the sources, in the user's cache folder."""
    found = [str(Path(__file__).parents[1] / "__pycache__")]
    if config.CACHE_DIR:
        found.insert(0, os.path.join(config.CACHE_DIR, "jitprop_kernels"))
    home = os.path.expanduser(os.environ.get("XDG_CACHE_HOME", "~"))
    if os.path.isabs(home):  # without a home it is "~", in the working folder
        found.append(AppDirs("jitprop", appauthor=False).user_cache_dir)
    return found


_said: set[str] = set()


def _warn_once(topic: str, message: str) -> None:
    if topic not in _said:
        _said.add(topic)
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def _read(path: str, key: str) -> bytes:
    """
    Read the machine code that was written for a key.

    Raises
    ------
    OSError
        If there is no file, or it cannot be read, or others could have written it.
    ValueError
        If it is not what was written.
    """
    with open(path, "rb") as file:
        _trust.file(path, file.fileno())
        content = file.read()
    code = content[len(MAGIC) + HASH_SIZE :]
    if content != _sealed(code, key):
        raise ValueError("its hash does not fit")
    return code


def _sealed(code: bytes, key: str) -> bytes:
    # With the key in the hash, a file that was given the name of another is damaged, too.
    return MAGIC + hashlib.sha256(key.encode() + b"\0" + code).digest() + code


def _write(path: str, content: bytes) -> None:
    """Write a file whole, or not at all."""
    beside = f"{path}.{secrets.token_hex(8)}.tmp"
    try:
        # The mode is given, for the umask may let others write.
        with open(os.open(beside, NEW_FILE, 0o644), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the name and not the bytes
        try:
            os.replace(beside, path)
        except PermissionError:
            # Windows replaces no open file. Another process has just written the same code.
            if sys.platform != "win32" or not os.path.exists(path):
                raise
    finally:
        with suppress(OSError):  # it is not there if it was moved
            os.unlink(beside)


def _make_folder(path: str) -> None:
    """Make a folder and those above it, so that only the user can write to them."""
    if not os.path.isdir(path):
        parent = os.path.dirname(path)
        if parent != path:
            _make_folder(parent)
        with suppress(FileExistsError):  # another process was faster
            os.mkdir(path, 0o755)


class KernelCache:
    """
    The disk cache of one entry function; what numba's dispatcher asks of a cache.

    Parameters
    ----------
    function : callable
        The Python function.
    options : mapping
        The options it is compiled with.
    """

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        described = [(k, sorted(v) if isinstance(v, set) else v) for k, v in options.items()]
        self._name = function.__qualname__
        self._fingerprint = fingerprint(repr(described))
        self._used: str | None = None
        self._unusable: list[str] = []

    @property
    def cache_path(self) -> str | None:
        """The folder last read from or written to; None before, and where there is none."""
        return self._used

    def flush(self) -> None:
        """Nothing: a file is replaced when its kernel is compiled."""

    def _file(self, key: str) -> str:
        stamp = hashlib.sha256(f"{self._name} {key}".encode()).hexdigest()[:32]
        return f"{self._name}-{stamp}{SUFFIX}"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Read the machine code for a signature; None where there is none that may be run."""
        if not self._fingerprint:
            return None
        # Numba would load all it knows, 0.12 s, of which machine code needs this alone.
        rtsys.initialize(target_context)
        key = _key(self._fingerprint, sig, target_context.codegen())
        file = self._file(key)
        self._unusable.clear()
        first, *others = _folders()
        for candidate in (first, *others):
            try:
                folder = _trust.folder(candidate)
                code = _read(os.path.join(folder, file), key)
            except OSError:  # not there, or not ours to use: another folder may have it
                continue
            except ValueError as error:
                self._unusable.append(f"{os.path.join(folder, file)} is damaged: {error}")
                continue
            try:
                result = CompileResult._rebuild(target_context, *pickle.loads(code))
            except Exception as error:  # numba's own may be any
                self._unusable.append(f"{os.path.join(folder, file)} cannot be loaded: {error!r}")
                continue
            self._used = folder
            if config.CACHE_DIR and candidate != first:
                with suppress(OSError):  # who names a folder finds all kernels there
                    self._used = _put(first, file, _sealed(code, key))
            return result
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write the machine code for a signature; a full disk is no error."""
        if data.library.has_dynamic_globals:  # addresses of this process
            return
        if not self._fingerprint:
            _warn_unkept(["the source files of the kernels are not on disk"])
            return
        key = _key(self._fingerprint, sig, data.codegen)
        content = _sealed(dumps(data._reduce()), key)
        reasons = []
        for candidate in _folders():
            try:
                self._used = _put(candidate, self._file(key), content)
            except OSError as error:
                reasons.append(str(error))
            else:
                break
        else:
            _warn_unkept(reasons)
            reasons.clear()
        if reasons and config.CACHE_DIR:
            _warn_once("unused", f"jitprop does not use NUMBA_CACHE_DIR: {reasons[0]}")
        # Not before: to those who make warnings errors this is one, and now the file is mended.
        if self._unusable:
            _warn_once(
                "unusable",
                f"jitprop compiled a kernel that was on disk: {'; '.join(self._unusable)}",
            )


def _put(candidate: str, file: str, content: bytes) -> str:
    """Write a file to a folder, which is made if need be; returns the folder."""
    folder = _trust.folder(candidate)
    _make_folder(folder)
    _trust.folder(folder)  # another user may have been faster
    _write(os.path.join(folder, file), content)
    return folder


def _warn_unkept(reasons: list[str]) -> None:
    _warn_once(
        "unkept",
        f"jitprop cannot keep its kernels on disk ({'; '.join(reasons)}), so each process compiles "
        "them anew. To keep them, set NUMBA_CACHE_DIR to a folder that belongs to you and that "
        "nobody else can write to",
    )
