"""
Removes cached machine code that nobody uses any more.

Each version of jitprop, numba or llvmlite, each processor and each option has its own files, and
nobody says when it is gone. So their sizes are added up whenever a file was written, which is rare:
a kernel was just compiled. If a folder has more than `LIMIT`, the files that were not used for the
longest time are removed until it has not.

A file in use stays, however large the folder is: one of the version, processor and options that
the process has itself, and one that any process read or wrote in the last `DAYS_KEPT` days. The
time of change of a file tells when it was used: see `mark_used`.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress

LIMIT = 200 * 2**20
"""Bytes of cached code in one folder."""

DAYS_KEPT = 7
"""Days for which a file counts as in use after it was read or written."""

DAY = 24 * 60 * 60.0

MARK = b"jitprop kernel "
"""How the files of all versions begin."""

# What `stored.Stored` makes: a kernel's name, a hash of its arguments, and the stamp.
CODE = re.compile(r"\w+-[0-9a-f]{16}-(?P<stamp>[0-9a-f]{32})\.kernel")
UNFINISHED = re.compile(CODE.pattern + r"\.[0-9a-f]{16}\.tmp")


def mark_used(path: str) -> None:
    """Note in a file's time of change that it is used; once a day, since it may be on a network."""
    with suppress(OSError):  # it is another user's, or the disk is read-only
        if time.time() - os.stat(path).st_mtime > DAY:
            os.utime(path)


def tidy(folder: str, own: str) -> None:
    """
    Remove files that are not in use, if the folder has too many; raise nothing.

    Other processes may do the same at the same time.

    Parameters
    ----------
    folder : str
        One that `_trust.folder` accepts.
    own : str
        The name of a file in it. All with the same stamp stay.
    """
    now = time.time()
    stamp = _stamp(own)
    size, unused = 0, []
    for name, status in _files(folder):
        if CODE.fullmatch(name):
            size += status.st_size
            # A mark may be a day old when the file is used.
            if _stamp(name) != stamp and now - status.st_mtime > (DAYS_KEPT + 1) * DAY:
                unused.append((status.st_mtime, name, status.st_size))
        elif now - status.st_mtime > DAY:  # who wrote it was killed
            with suppress(OSError):
                os.unlink(os.path.join(folder, name))
    for used, name, its_size in sorted(unused):
        if size <= LIMIT:
            break
        if _removed(os.path.join(folder, name), used):
            size -= its_size


def _stamp(name: str) -> str | None:
    found = CODE.fullmatch(name)
    return found and found["stamp"]


def _files(folder: str) -> list[tuple[str, os.stat_result]]:
    """Return the names and states of the files that have names as ours."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if CODE.fullmatch(entry.name) or UNFINISHED.fullmatch(entry.name):
                with suppress(OSError):  # another process has just removed it
                    if entry.is_file(follow_symlinks=False):
                        found.append((entry.name, entry.stat(follow_symlinks=False)))
    return found


def _removed(path: str, used: float) -> bool:
    """Remove a file if it is ours and was not used meanwhile; return whether it is gone."""
    try:
        with open(path, "rb") as file:
            if file.read(len(MARK)) != MARK or os.fstat(file.fileno()).st_mtime != used:
                return False
        os.unlink(path)
    except FileNotFoundError:  # another process removed it
        return True
    except OSError:  # it is another user's, or open on Windows
        return False
    return True
