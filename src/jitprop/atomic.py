"""Files that are whole or not there: written beside their place, then moved into it."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """
    A file to write to, which takes the place of ``path`` when all is on the disk, or never.

    Until then the bytes stand in a file of the same folder, whose name begins with ".jitprop-".
    It is removed whatever goes wrong, save when the process is killed.

    Parameters
    ----------
    path : str or path-like
        A file that is there keeps its permissions, a link goes on leading to it; a new file gets
        those that `open` would give it.

    Yields
    ------
    BinaryIO

    Raises
    ------
    OSError
        As `open` and writing do: no such folder, no permission, no space; and where ``path`` is
        there and is no regular file. What was at ``path`` is still there.
    """
    target = os.path.realpath(os.fsdecode(path))
    mode = None
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(target).st_mode
        if stat.S_ISDIR(found):
            raise IsADirectoryError(f"{target} is a folder, not a file to write to")
        if not stat.S_ISREG(found):
            raise OSError(f"{target} is a device or a pipe, which no file may take the place of")
        mode = stat.S_IMODE(found)
    folder = os.path.dirname(target)
    beside = os.path.join(folder, f".jitprop-{secrets.token_hex(8)}.tmp")
    with open(beside, "xb") as file:
        try:
            yield file
            file.flush()
            if mode is not None:
                os.chmod(beside, mode)
            # Before the move: else a power cut may leave the new name and none of the bytes.
            os.fsync(file.fileno())
            file.close()  # Windows moves no open file
            os.replace(beside, target)
        except BaseException:
            file.close()
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Bring the move itself to the disk; some systems and file systems cannot."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
