"""Atomic writes: a file is first written beside its target and then moved to it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO

from jitprop import checks
from jitprop.interrupts import Expected

ACL = "system.posix_acl_access"
"""The extended attribute in which Linux keeps access control lists."""

MOST_LINKS = 40
"""The most symbolic links that are followed on the way to a file; Linux has the same limit."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """
    A context that gives a file to write to, which replaces ``path`` once all of it is on the disk.

    Until then the bytes are in a file of the same folder, whose name begins with ".jitprop-". If
    anything goes wrong, such as a full disk, that file is removed and ``path`` stays as it was. It
    is left behind only if the process is killed.

    Parameters
    ----------
    path : str or path-like
        If the file exists, the new one gets its owner, group and permissions, and nobody else can
        read it before. If the system forbids the old owner or group, the new group may only do what
        all others may. A symbolic link stays, and the file that it leads to is replaced. A new file
        gets the permissions that `open` would give it.

    Yields
    ------
    BinaryIO

    Raises
    ------
    OSError
        As for `open` and writing: no such folder, no permission, no space. Also if ``path`` exists
        and is not a regular file, or may not be written to, as with the mode 0444. Also if a
        symbolic link on the way to it belongs to another user and is in a folder that its group or
        everybody may write to. The error names the file.
    """
    target = _resolved(os.fsdecode(checks.path("path", path)))
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
            # Without this, a power cut after the move could leave an empty file at the new name.
            os.fsync(file.fileno())
            file.close()  # Windows cannot move an open file
            os.replace(beside, target)
        except BaseException:
            _discard(file, beside)
            raise
    _sync_folder(folder)


def check(path: str | os.PathLike[str]) -> None:
    """
    Check early whether `replacing` could replace ``path``.

    Raises
    ------
    OSError
        As `replacing` raises it for an existing file and for the links on the way to it.
    """
    _old(_resolved(os.fsdecode(path)))


@contextlib.contextmanager
def naming(path: str | os.PathLike[str], beside: str | None = None) -> Iterator[None]:
    """
    A context that adds the name of the file to an OSError, which that of a full disk lacks.

    An error that names the temporary file ``beside``, which the user does not know, is changed to
    name ``path``.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, beside):
            error.filename = os.fsdecode(path)
            del error.filename2  # the message would show None as a second file
        raise


def _old(target: str) -> os.stat_result | None:
    """Check the file that is to be replaced and return its status; None if it does not exist."""
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return None
    found = status.st_mode
    if stat.S_ISDIR(found):
        raise IsADirectoryError(f"{target!r} is a folder, not a file to write to")
    if not stat.S_ISREG(found):
        raise OSError(f"{target!r} is a device or a pipe, which cannot be replaced by a file")
    # root may write to any file, but a file that nobody may write to is meant to be kept.
    if not found & 0o222 or not os.access(
        target, os.W_OK, effective_ids=os.access in os.supports_effective_ids
    ):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), target)
    return status


def _opened(path: str, flags: int, old: os.stat_result | None) -> int:
    """Open a new file. If it replaces another, only its owner has access until chmod."""
    return os.open(path, flags, 0o666 if old is None else old.st_mode & 0o600)


def _take_rights(handle: int, path: str, target: str, old: os.stat_result) -> None:
    """
    Give an open file the owner, group and permissions of the one that it replaces.

    Only root may change the owner of a file; other users may only change its group to another of
    their own groups. If the group cannot be kept, the new group gets the permissions of all others,
    as in vim, since those of the old group were not meant for it.

    If a file has an access control list, the group bits of its mode are the most that any named
    user or group may do. Without the list they would let the group do more than before.
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
            mode &= 0o777  # without setuid and setgid, which run a file as its owner or group
        if new.st_gid != old.st_gid:
            mode, acl = mode & 0o707 | (mode & 0o007) << 3, None
    os.chmod(path, mode if acl is None else mode & ~0o070)
    if acl is not None:
        with Expected(OSError):
            os.setxattr(handle, ACL, acl)  # this also sets the group bits


def _acl(path: str) -> bytes | None:
    """The access control list of a file; None if it has none, or the system does not know any."""
    if hasattr(os, "getxattr"):
        with Expected(OSError):
            return os.getxattr(path, ACL)
    return None


def _discard(file: BinaryIO | None, path: str) -> None:
    """Close a file that failed, and remove it."""
    try:
        if file is not None:
            with Expected(OSError):  # closing writes the rest, which fails on a full disk
                file.close()
    finally:
        with Expected(OSError):
            os.unlink(path)


def _resolved(path: str) -> str:
    """
    Return the file that a path leads to, as `os.path.realpath` finds it.

    Symbolic links that another user may have planted are refused, by the rule of Linux'
    protected_symlinks: a link in a folder that its group or everybody may write to must belong to
    the current user, to the owner of the folder or to root.
    """
    if os.name != "posix":
        return os.path.realpath(path)
    absolute = path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
    remaining = absolute.split(os.sep)[::-1]
    resolved, links = os.sep, 0
    while remaining:
        part = remaining.pop()
        if part in ("", os.curdir):
            continue
        if part == os.pardir:
            resolved = os.path.dirname(resolved)
            continue
        here = os.path.join(resolved, part)
        target = _link(here)
        if target is None:
            resolved = here
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        resolved = os.sep if target.startswith(os.sep) else resolved
        remaining += target.split(os.sep)[::-1]
    return resolved


def _link(path: str) -> str | None:
    """Return where a symbolic link leads; None for anything else."""
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
            "it is another user's symbolic link, in a folder that other users may write to",
            path,
        )
    return os.readlink(path)


def _sync_folder(folder: str) -> None:
    """Write the move itself to the disk, if the system and the file system can do that."""
    with Expected(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
