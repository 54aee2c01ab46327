"""
Machine code kept on disk between processes: one file for each entry and kind of arguments.

A file holds object code, as a C compiler makes it: it needs neither numba nor Python. Its name is a
hash of all that the code depends on: see `key_of`. So what one installation, version or option left
is never taken by another.

A file is read from the first folder that has it, and written to the first folder that can be
written: see `folders`. It begins with a hash of what follows. A damaged file is never run: the
kernel is compiled again, and the file replaced.

A wheel brings such files for some processors, in the folder `PREBUILT`. They are read first. They
hold the hash of the sources that they were made of, and depend on no version of numba.

Files of other versions, 60 KB each, stay for a time: another environment may be using them. See
`tidying`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import secrets
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import llvmlite

from jitprop_kernels import _trust, tidying
from jitprop_kernels.target import OWN, Target, level_of, settings

SUFFIX = ".kernel"
MAGIC = tidying.MARK + b"1\n"
HASH_SIZE = hashlib.sha256().digest_size
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)

PACKAGE = Path(__file__).parent

PREBUILT = PACKAGE / "prebuilt"
"""In it is a folder for each level of `target.LEVELS`, and a file with the sources' fingerprint."""

VERSION = "version"


@cache
def fingerprint() -> str:
    """Hash of every source file of the kernels; "" where there are none."""
    sources = sorted(PACKAGE.rglob("*.py"))
    digest = hashlib.sha256()
    for path in sources:
        name = path.relative_to(PACKAGE).as_posix()
        digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest() if sources else ""


@cache
def numba_version() -> str:
    """
    Return the version of the numba that would be imported; "" where there is none.

    It is read from a file of numba's: importing `importlib.metadata` takes 10 ms.
    """
    found = importlib.util.find_spec("numba")
    if found is None or not found.origin:
        return ""
    try:
        text = Path(found.origin).with_name("_version.py").read_text()
    except OSError:
        text = ""
    if version := re.search(r'"version": "(.+)"', text):
        return version[1]
    from importlib import metadata

    return metadata.version("numba")


def stamp_of(target: Target, compiler: str = OWN) -> str:
    """
    Return a hash of what all machine code depends on.

    It is the sources, the processor, the versions, and which compiler made it: see `compilers`.
    """
    parts = (fingerprint(), tuple(target), numba_version(), llvmlite.__version__)
    return _hash(repr(parts if compiler == OWN else (*parts, compiler)))


def prebuilt(target: Target) -> Path | None:
    """
    Return the folder of the machine code that came with the wheel; None where there is none.

    Raises
    ------
    OSError
        If others could have written it.
    ValueError
        If it was made of other sources than those that are there.
    """
    level = level_of(target)
    if level is None or not (PREBUILT / level).is_dir():
        return None
    folder = Path(_trust.folder(str(PREBUILT / level)))
    try:
        version = (PREBUILT / VERSION).read_text()
    except FileNotFoundError:
        version = ""
    if version != fingerprint():
        raise ValueError(f"{PREBUILT} is of another version of jitprop")
    return folder


def prebuilt_file(name: str, key: str, level: str) -> tuple[str, str]:
    """Return the name of the file of an entry's prebuilt code, and the key in its seal."""
    return f"{name}-{_hash(key)[:16]}{SUFFIX}", f"{name} {key} {fingerprint()} {level}"


def ending(target: Target, compiler: str = OWN) -> str:
    """Return how the names of a processor's cached files end."""
    return f"-{stamp_of(target, compiler)}{SUFFIX}"


def any_for(target: Target, compilers: Sequence[str] = (OWN,)) -> bool:
    """Return whether these compilers have made machine code of any kernel for this processor."""
    with suppress(OSError, ValueError):
        if OWN in compilers and prebuilt(target):
            return True
    end = tuple(ending(target, compiler) for compiler in compilers)
    for candidate in folders():
        with suppress(OSError):
            if any(name.endswith(end) for name in os.listdir(_trust.folder(candidate))):
                return True
    return False


def folders() -> list[str]:
    """Where files may be: NUMBA_CACHE_DIR, beside the sources, in the user's cache folder."""
    found = [str(PACKAGE / "__pycache__")]
    if named := settings().cache_folder:
        found.insert(0, os.path.join(named, "jitprop_kernels"))
    home = os.path.expanduser(os.environ.get("XDG_CACHE_HOME", "~"))
    if os.path.isabs(home):  # without a home it is "~", in the working folder
        found.append(_users_folder())
    return found


def _users_folder() -> str:
    """The folder for what the user's programs may make anew, as each system has it."""
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA", os.path.join(home, "AppData", "Local"))
        return os.path.join(local, "jitprop", "Cache")
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Caches", "jitprop")
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    return os.path.join(os.path.expanduser(caches), "jitprop")


_said: set[str] = set()


def warn_once(topic: str, message: str) -> None:
    """Issue a RuntimeWarning, if this process has not warned of this topic yet."""
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
    if content != sealed(code, key):
        raise ValueError("its hash does not fit")
    return code


def sealed(code: bytes, key: str) -> bytes:
    """Return the content of a file with this code."""
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


class Stored:
    """
    The file of one entry's machine code for one kind of arguments.

    Parameters
    ----------
    name : str
        The entry's.
    key : str
        What its code depends on, besides the stamp.
    target : Target
    compiler : str
        The one that makes the code.

    Attributes
    ----------
    source : {"prebuilt", "cache"}
        Which one was read.
    folder : str or None
        The folder last read from or written to; None before, and where there is none.
    """

    def __init__(self, name: str, key: str, target: Target, compiler: str = OWN) -> None:
        self.source, self.folder = "cache", None
        self.key = f"{name} {key} {stamp_of(target, compiler)}"
        self._name, self._own_key, self._target = name, key, target
        self._compiler = compiler
        self._file = f"{name}-{_hash(key)[:16]}{ending(target, compiler)}"
        self._unusable: list[str] = []

    folder: str | None

    def found(self) -> Iterator[bytes]:
        """Yield the machine code from each place that has it, the best first."""
        if not fingerprint():
            return
        level = level_of(self._target)
        folder = self._prebuilt() if self._compiler == OWN else None
        if folder and level:
            file, key = prebuilt_file(self._name, self._own_key, level)
            if code := self._read(str(folder), file, key):
                self.source = "prebuilt"
                yield code
        self.source = "cache"
        first, *others = folders()
        for candidate in (first, *others):
            if code := self._read(candidate, self._file, self.key):
                if settings().cache_folder and candidate != first:
                    with suppress(OSError):  # who names a folder finds all kernels there
                        self.folder = _put(first, self._file, sealed(code, self.key))
                tidying.mark_used(self._path)
                yield code

    def _prebuilt(self) -> Path | None:
        try:
            return prebuilt(self._target)
        except OSError:  # not ours to use
            return None
        except ValueError as error:
            self._unusable.append(str(error))
            return None

    def _read(self, candidate: str, file: str, key: str) -> bytes | None:
        try:
            folder = _trust.folder(candidate)
            code = _read(os.path.join(folder, file), key)
        except OSError:  # not there, or not ours to use: another folder may have it
            return None
        except ValueError as error:
            self._unusable.append(f"{os.path.join(folder, file)} is damaged: {error}")
            return None
        self.folder, self._path = folder, os.path.join(folder, file)
        return code

    def refuse(self, error: Exception) -> None:
        """Note that the code that was read cannot be loaded. `save` tells it."""
        self._unusable.append(f"{self._path} cannot be loaded: {error!r}")

    def save(self, code: bytes) -> None:
        """Write the machine code; a full disk is no error."""
        if not fingerprint():
            _warn_unkept(["the source files of the kernels are not on disk"])
            return
        content = sealed(code, self.key)
        reasons = []
        for candidate in folders():
            try:
                self.folder = _put(candidate, self._file, content)
            except OSError as error:
                reasons.append(str(error))
            else:
                break
        else:
            _warn_unkept(reasons)
            reasons.clear()
        if reasons and settings().cache_folder:
            warn_once("unused", f"jitprop does not use NUMBA_CACHE_DIR: {reasons[0]}")
        # Not before: to those who make warnings errors this is one, and now the file is mended.
        if self._unusable:
            unusable, self._unusable = self._unusable, []
            warn_once(
                "unusable",
                f"jitprop compiled a kernel that was on disk: {'; '.join(unusable)}",
            )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _put(candidate: str, file: str, content: bytes) -> str:
    """Write a file to a folder, which is made if need be; returns the folder."""
    folder = _trust.folder(candidate)
    _make_folder(folder)
    _trust.folder(folder)  # another user may have been faster
    _write(os.path.join(folder, file), content)
    tidying.tidy(folder, file)
    return folder


def _warn_unkept(reasons: list[str]) -> None:
    warn_once(
        "unkept",
        f"jitprop cannot keep its kernels on disk ({'; '.join(reasons)}), so each process compiles "
        "them anew. To keep them, set NUMBA_CACHE_DIR to a folder that belongs to you and that "
        "nobody else can write to",
    )
