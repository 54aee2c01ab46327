"""Files that a command writes: refused before the work, and whole or not there after it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jitprop import atomic
from jitprop.atomic import replacing
from jitprop.cli import terminal
from jitprop.cli.refused import RefusedError

if TYPE_CHECKING:
    import pandas as pd

CSV = "", ".csv", ".txt"
PARQUET = ".parquet", ".pq"


def check(option: str, path: Path, *others: Path) -> None:
    """
    Refuse a place where no file can be written, or where another one of the command's stands.

    Raises
    ------
    RefusedError
        In words that name the option.
    """
    folder = path.parent
    if path.is_dir():
        raise RefusedError(f"{option} {path} is a folder: name a file")
    if not folder.is_dir():
        raise RefusedError(f"{option} {path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise RefusedError(f"{option} {path}: the folder {folder} may not be written to")
    try:
        atomic.check(path)
    except OSError as error:
        raise RefusedError(
            f"{option} {path} cannot be written: {error.strerror or error}"
        ) from error
    if path.resolve() in [other.resolve() for other in others]:
        raise RefusedError(f"{option} {path} would write over another file of this command")


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
    """A table as CSV to stdout, or to a file; as Parquet if its name ends so."""
    if path is None and sys.stdout.isatty():
        sys.stdout.write(terminal.lines(frame.to_csv(index=False, lineterminator="\n")))
        return
    if path is None:
        frame.to_csv(sys.stdout, index=False, lineterminator="\n")
        return
    try:
        with replacing(path) as file:
            if path.suffix.lower() in PARQUET:
                frame.to_parquet(file, index=False)
            else:
                frame.to_csv(file, index=False, lineterminator="\n")
    except OSError as error:
        raise RefusedError(f"cannot write {path}: {error.strerror or error}") from error
