"""Files that a command writes: refused before the work, and whole or not there after it."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from jitprop.cli import terminal
from jitprop.cli.refused import RefusedError
from jitprop.files import atomic
from jitprop.files.atomic import replacing

if TYPE_CHECKING:
    import pandas as pd

CSV = "", ".csv", ".txt"
PARQUET = ".parquet", ".pq"

ROWS = 10_000
"""Of a table that are written to the terminal at a time."""

Write: TypeAlias = Callable[[Path], None]
"""A function that writes a file."""


def check(option: str, path: Path, *others: Path) -> None:
    """
    Refuse a place where no file can be written, or where another one of the command's stands.

    Raises
    ------
    RefusedError
        In words that name the option.
    """
    try:
        _check(option, path, others)
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, a loop of links
        raise RefusedError(f"{option} {path}: {reason(error)}") from error


def _check(option: str, path: Path, others: tuple[Path, ...]) -> None:
    folder = path.resolve().parent
    if path.is_dir():
        raise RefusedError(f"{option} {path} is a folder: name a file")
    if not folder.is_dir():
        named = folder if path.is_symlink() else path.parent
        raise RefusedError(f"{option} {path}: there is no folder {named}")
    if not os.access(folder, os.W_OK):
        raise RefusedError(f"{option} {path}: the folder {path.parent} may not be written to")
    try:
        atomic.check(path)
    except OSError as error:
        raise RefusedError(f"{option} {path} cannot be written: {reason(error)}") from error
    if os.path.realpath(path) in map(os.path.realpath, others):
        raise RefusedError(f"{option} {path} would write over another file of this command")


def rehearse(option: str, path: Path, write: Write) -> None:
    """
    Write a file beside the place where it shall stand later, and remove it.

    So a full disk is known before the work.

    Raises
    ------
    RefusedError
        If it cannot be written, in words that name the option.
    """
    beside = path.resolve().parent / f".jitprop-{secrets.token_hex(8)}.tmp"
    try:
        write(beside)
    except OSError as error:
        raise RefusedError(f"{option} {path} cannot be written: {reason(error)}") from error
    finally:
        beside.unlink(missing_ok=True)


def keep(path: Path, write: Write) -> None:
    """
    Write what must not be lost: to its place or, if that fails, to another one.

    The others are the working folder, that of temporary files, and the user's own.

    Raises
    ------
    RefusedError
        If its place cannot be written to; it says where the file is.
    """
    try:
        write(path)
        return
    except OSError as error:
        failed = f"cannot write {path}: {reason(error)}"
    name = f"{path.stem}-{secrets.token_hex(4)}{path.suffix}"
    for folder in (Path(), Path(tempfile.gettempdir()), Path(os.path.expanduser("~"))):
        place = folder.resolve() / name
        try:
            write(place)
        except OSError:
            continue
        raise RefusedError(f"{failed}; it is in {place} instead")
    raise RefusedError(f"{failed}; nor could it be written to {tempfile.gettempdir()}: it is lost")


def check_table(option: str, path: Path) -> None:
    """
    Refuse a name that says another kind of table than there are.

    Raises
    ------
    RefusedError
    """
    if path.suffix.lower() not in CSV + PARQUET:
        raise RefusedError(f"{option} {path}: the name must end in .csv or in .parquet")


def write_table(frame: pd.DataFrame, path: Path | None) -> None:
    """
    A table as CSV to stdout, or to a file; as Parquet if its name ends so.

    Raises
    ------
    RefusedError
        If it cannot be written.
    """
    if path is None:
        watched = sys.stdout is not None and sys.stdout.isatty()
        if not watched:
            terminal.check_data(_texts(frame))
        for i in range(0, max(1, len(frame)), ROWS):
            rows = frame.iloc[i : i + ROWS]
            text = rows.to_csv(header=i == 0, index=False, lineterminator="\n")
            terminal.write(terminal.lines(text) if watched else text)
        return
    try:
        with replacing(path) as file:
            if path.suffix.lower() in PARQUET:
                frame.to_parquet(file, index=False)
            else:
                frame.to_csv(file, index=False, lineterminator="\n")
    except OSError as error:
        raise RefusedError(f"cannot write {path}: {reason(error)}") from error


def _texts(frame: pd.DataFrame) -> set[str]:
    """The names of the columns, and all texts in them."""
    found = set(map(str, frame.columns))
    for _, column in frame.items():
        found.update(value for value in column.unique() if isinstance(value, str))
    return found


def reason(error: Exception) -> str:
    """Why the system refused, without the file, which is named beside it."""
    return getattr(error, "strerror", None) or str(error)
