"""
Which folders and files machine code may be taken from.

Who can write to a file of the cache decides what this process runs. So a folder is used only if it
and every folder above it belong to the user or to root, and nobody else can write to them. Windows
has other rules, and a user's folders there are closed to others: nothing is checked.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress


def folder(path: str) -> str:
    """
    Find a folder, if machine code may be taken from it; it need not exist yet.

    Parameters
    ----------
    path : str
        The folder.

    Returns
    -------
    str
        Its path without symbolic links.

    Raises
    ------
    PermissionError
        If someone else could write there, or could move another folder to its place.
    OSError
        If the path cannot be looked at.
    """
    real = os.path.realpath(path)
    above = real
    while True:
        with suppress(FileNotFoundError):
            _check(above, os.stat(above), is_above=above != real)
        parent = os.path.dirname(above)
        if parent == above:
            return real
        above = parent


def file(path: str, descriptor: int) -> None:
    """Raise a PermissionError if someone else could have written an open file."""
    _check(path, os.fstat(descriptor), is_above=False)


def _check(path: str, found: os.stat_result, *, is_above: bool) -> None:
    if sys.platform == "win32":
        return
    # Who owns / is root here: in some containers, as of Apptainer, another number than 0.
    if found.st_uid not in (0, os.geteuid(), os.stat("/").st_uid):
        raise PermissionError(f"{path} belongs to another user")
    # In a sticky folder, such as /tmp, nobody can rename what belongs to another user.
    if is_above and found.st_mode & stat.S_ISVTX:
        return
    if found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and not _own_group(found)):
        raise PermissionError(f"others may write to {path}")


def _own_group(found: os.stat_result) -> bool:
    """Whether a group is root's, or nobody but the owner is in it."""
    import grp
    import pwd

    if found.st_gid == 0:
        return True
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
        group = grp.getgrgid(found.st_gid)
    except KeyError:  # as in many containers
        return False
    if group.gr_name == owner:  # many systems give each user such a group
        return set(group.gr_mem) <= {owner}
    members = {user.pw_name for user in pwd.getpwall() if user.pw_gid == found.st_gid}
    return members.union(group.gr_mem) == {owner}  # of an empty one the members are elsewhere
