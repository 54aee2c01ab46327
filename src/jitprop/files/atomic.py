"""Files that are whole or not there: written beside their place, then moved into it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO

from jitprop.interrupts import Expected

ACL = "system.posix_acl_access"
"""The attribute in which Linux keeps access control lists."""

MOST_LINKS = 40
"""As Linux has it."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """
    A file to write to, which takes the place of ``path`` when all is on the disk, or never.

    Until then the bytes stand in a file of the same folder, whose name begins with ".jitprop-".
    It is removed whatever goes wrong, a full disk too, save when the process is killed.

    Parameters
    ----------
    path : str or path-like
        A file that is there keeps its owner, its group and its permissions, and nobody else may
        read the new one before it has them. Where the system forbids the old owner or group, the
        new group may do only what all others may. A link goes on leading to its file. A new file
        gets the permissions that `open` would give it.

    Yields
    ------
    BinaryIO

    Raises
    ------
    OSError
        As `open` and writing do: no such folder, no permission, no space; where ``path`` is there
        and is no regular file; where it may not be written to, as a file of mode 0444; and where a
        symbolic link on the way to it belongs to another user and stands in a folder that its group
        or all may write to. The error names the file. What was at ``path`` is still there.
    """
    target = _resolved(os.fsdecode(path))
    folder = os.path.dirname(target)
    beside = os.path.join(folder, f".jitprop-{secrets.token_hex(8)}.tmp")
    with naming(target, beside):
        old = _old(target)
        file: BinaryIO | None = None
        try:
            file = open(beside, "xb", opener=lambda p, flags: _opened(p, flags, old))  # noqa: SIM115
            yield file
            file.flush()
            if old is not None:
                _take_rights(file.fileno(), beside, target, old)
            # Before the move: else a power cut may leave the new name and none of the bytes.
            os.fsync(file.fileno())
            file.close()  # Windows moves no open file
            os.replace(beside, target)
        except BaseException:
            _discard(file, beside)
            raise
    _sync_folder(folder)


def check(path: str | os.PathLike[str]) -> None:
    """
    See whether a file could take the place of ``path``, before there is one.

    Raises
    ------
    OSError
        As `replacing` does, for what stands there and for the links on the way.
    """
    _old(_resolved(os.fsdecode(path)))


@contextlib.contextmanager
def naming(path: str | os.PathLike[str], beside: str | None = None) -> Iterator[None]:
    """
    Let an OSError from the system say which file it is about: a full disk's does not.

    One that names the file ``beside``, of which the user knows nothing, names ``path`` instead.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, beside):
            error.filename = os.fsdecode(path)
            del error.filename2  # None would be told as another file
        raise


def _old(target: str) -> os.stat_result | None:
    """What the system knows of the file that is to be replaced, None where there is none."""
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return None
    found = status.st_mode
    if stat.S_ISDIR(found):
        raise IsADirectoryError(f"{target!r} is a folder, not a file to write to")
    if not stat.S_ISREG(found):
        raise OSError(f"{target!r} is a device or a pipe, which no file may take the place of")
    # root may write to any file, but one that nobody may write to is meant to stay.
    if not found & 0o222 or not os.access(
        target, os.W_OK, effective_ids=os.access in os.supports_effective_ids
    ):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), target)
    return status


def _opened(path: str, flags: int, old: os.stat_result | None) -> int:
    """A new file for the owner alone where it replaces another: what others may do, chmod says."""
    return os.open(path, flags, 0o666 if old is None else old.st_mode & 0o600)


def _take_rights(handle: int, path: str, target: str, old: os.stat_result) -> None:
    """
    Give an open file the owner, the group and the permissions of the one that it replaces.

    Only root may give a file away, and others only to a group of theirs. Bits that were meant for
    another owner or group are not given to these: the group gets those of all others, as in vim.

    With an access control list the group's bits are the most that any named user or group may do:
    given to the group alone they would let it do more than before.
    """
    mode = stat.S_IMODE(old.st_mode)
    acl = _acl(target)
    if os.name == "posix":
        for owner in (old.st_uid, -1):
            with Expected(OSError):
                os.fchown(handle, owner, old.st_gid)
                break
        new = os.fstat(handle)
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
            mode &= 0o777  # without the bits that run a file as its owner
        if new.st_gid != old.st_gid:
            mode, acl = mode & 0o707 | (mode & 0o007) << 3, None
    os.chmod(path, mode if acl is None else mode & ~0o070)
    if acl is not None:
        with Expected(OSError):
            os.setxattr(handle, ACL, acl)  # and with it the bits


def _acl(path: str) -> bytes | None:
    """The access control list of a file, None where there is none, or the system has no such."""
    if hasattr(os, "getxattr"):
        with Expected(OSError):
            return os.getxattr(path, ACL)
    return None


def _discard(file: BinaryIO | None, path: str) -> None:
    """Close a file that failed, and remove it."""
    try:
        if file is not None:
            with Expected(OSError):  # it writes what is left, on a disk that is full
                file.close()
    finally:
        with Expected(OSError):
            os.unlink(path)


def _resolved(path: str) -> str:
    """
    The file that a path leads to, as `os.path.realpath` finds it.

    Links that another user may have laid to lead astray are refused, by the rule of Linux'
    protected_symlinks: one in a folder that its group or all may write to must belong to who
    follows it or to the owner of the folder, or to root.
    """
    if os.name != "posix":
        return os.path.realpath(path)
    whole = path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
    left = whole.split(os.sep)[::-1]
    at, links = os.sep, 0
    while left:
        part = left.pop()
        if part in ("", os.curdir):
            continue
        if part == os.pardir:
            at = os.path.dirname(at)
            continue
        here = os.path.join(at, part)
        found = _link(here)
        if found is None:
            at = here
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        at = os.sep if found.startswith(os.sep) else at
        left += found.split(os.sep)[::-1]
    return at


def _link(path: str) -> str | None:
    """Where a link leads, None for what is no link."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISLNK(status.st_mode):
        return None
    folder = os.stat(os.path.dirname(path))
    shared = folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if shared and status.st_uid not in (os.geteuid(), folder.st_uid, 0):
        raise PermissionError(
            errno.EACCES,
            "it is a symbolic link of another user's, in a folder that other users may write to",
            path,
        )
    return os.readlink(path)


def _sync_folder(folder: str) -> None:
    """Bring the move itself to the disk; some systems and file systems cannot."""
    with Expected(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
