"""The files that a command writes: checked before the work, written whole or not at all."""

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
"""How many rows of a table are written to the terminal at a time."""

Write: TypeAlias = Callable[[Path], None]
"""A function that writes a file."""


def check(option: str, path: Path, *others: Path) -> None:
    """
    Check that a file can be written here, and that it is not another file of the command.

    Raises
    ------
    RefusedError
        If not. The message names the option.
    """
    try:
        _check(option, path, others)
    except (
        OSError,
        RuntimeError,
        ValueError,
    ) as error:  # such as too long a name, or a loop of links
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
        raise RefusedError(f"{option} {path} would overwrite another file of this command")


def rehearse(option: str, path: Path, write: Write) -> None:
    """
    Write a temporary file in the folder of a later file, and remove it.

    This shows a full disk before the work.

    Raises
    ------
    RefusedError
        If the file cannot be written. The message names the option.
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
    Write a file that must not be lost. If that fails, write it to another folder.

    The other folders are the working folder, the folder of temporary files and the home folder.

    Raises
    ------
    RefusedError
        If the file cannot be written. The message says where it is instead.
    """
    try:
        write(path)
        return
    except OSError as error:
        failed = f"cannot write {path}: {reason(error)}"
    name = f"{path.stem}-{secrets.token_hex(4)}{path.suffix}"
    for folder in (Path(), Path(tempfile.gettempdir()), Path(os.path.expanduser("~"))):
        other = folder.resolve() / name
        try:
            write(other)
        except OSError:
            continue
        raise RefusedError(f"{failed}; it is in {other} instead")
    raise RefusedError(f"{failed}; nor could it be written to {tempfile.gettempdir()}: it is lost")


def check_table(option: str, path: Path) -> None:
    """
    Check that a file's name ends in a known format of tables.

    Raises
    ------
    RefusedError
    """
    if path.suffix.lower() not in CSV + PARQUET:
        raise RefusedError(f"{option} {path}: the name must end in .csv or in .parquet")


def write_table(frame: pd.DataFrame, path: Path | None) -> None:
    """
    Write a table to stdout as CSV, or to a file as CSV or Parquet, by the end of its name.

    Raises
    ------
    RefusedError
        If the table cannot be written.
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
    """Return the names of the columns and all texts in them."""
    found = set(map(str, frame.columns))
    for _, column in frame.items():
        found.update(value for value in column.unique() if isinstance(value, str))
    return found


def reason(error: Exception) -> str:
    """Return the system's reason without the file's name, which the message has already."""
    return getattr(error, "strerror", None) or str(error)
