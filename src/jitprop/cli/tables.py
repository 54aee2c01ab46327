"""Tables from files: CSV and Parquet as data frames whose column names are text and differ."""

from __future__ import annotations

import csv
import re
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from jitprop.cli.refused import RefusedError

if TYPE_CHECKING:
    import pandas as pd

Say: TypeAlias = Callable[[str], None]

SEPARATORS = ",;\t|"


def read(
    path: Path, say: Say, *, text: Collection[str] = (), missing: Sequence[str] = ()
) -> pd.DataFrame:
    """
    Read a table.

    Parameters
    ----------
    path : Path
        Of a Parquet file, told by its first bytes, or of a CSV file in UTF-8 with names in its
        first row, separated by comma, semicolon, tab or bar.
    say : function of a sentence
        Is told what was left out.
    text : names of columns
        Columns of a CSV file to be read as text, whatever they look like.
    missing : sequence of str
        Values of a CSV file that mean "missing", beside the empty field, NA, nan, null and such.

    Raises
    ------
    RefusedError
        For a file that is not such a table.
    """
    try:
        with path.open("rb") as file:
            start = file.read(1 << 16)
        if not start.strip():
            raise RefusedError(f"{path} is empty")
        if start.startswith(b"PAR1"):
            frame = _read_parquet(path)
        elif b"\0" in start:
            raise RefusedError(f"{path} is neither a CSV file in UTF-8 nor a Parquet file")
        else:
            frame = _read_csv(path, text, missing)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise RefusedError(
            f"{path} is not UTF-8 (byte 0x{byte:02x}): convert it, as with "
            f"iconv -f latin1 -t utf-8 {path}"
        ) from error
    except OSError as error:
        raise RefusedError(f"cannot read {path}: {error.strerror or error}") from error
    if len(frame) == 0:
        raise RefusedError(f"{path} has no rows below its column names")
    twice = [name for name, n in Counter(frame.columns).items() if n > 1 and name]
    if twice:
        raise RefusedError(f"{path} has more than one column {twice[0]!r}: rename all but one")
    named = [bool(name) for name in frame.columns]
    if not all(named):
        say(f"columns without a name are left out: {len(named) - sum(named)}")
        frame = frame.loc[:, named]
    return frame


def drop(frame: pd.DataFrame, names: Collection[str]) -> pd.DataFrame:
    """
    A table without some columns.

    Raises
    ------
    RefusedError
        If one is not there.
    """
    for name in names:
        if name not in frame.columns:
            raise RefusedError(f"there is no column {name!r} to drop; {listed(frame)}")
    return frame.drop(columns=list(names))


def listed(frame: pd.DataFrame) -> str:
    """The columns of a table, for messages."""
    return f"there are {', '.join(map(repr, frame.columns))}"


def _read_csv(path: Path, text: Collection[str], missing: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    separator, names = _header(path)
    # pandas wants names that differ, so it gets their places.
    try:
        with warnings.catch_warnings():
            # Of fields beyond the last name, which would be dropped.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=separator,
                encoding="utf-8-sig",
                header=0,
                names=list(range(len(names))),
                index_col=False,
                dtype={i: str for i, name in enumerate(names) if name in text},
                na_values=list(missing),
                skipinitialspace=True,
                low_memory=False,  # the type of a column is told from all of it
            )
    except pd.errors.ParserWarning as error:
        raise RefusedError(
            f"{path} has {len(names)} column names, but more fields in its rows"
        ) from error
    except pd.errors.ParserError as error:
        raise RefusedError(f"{path} is not a CSV table: {error}") from error
    frame.columns = pd.Index(names, dtype=object)
    return frame


def _header(path: Path) -> tuple[str, list[str]]:
    """The separator, which is the commonest in the first line, and the names."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        line = next(line for line in file if line.strip())
        bare = re.sub(r'"[^"]*"', "", line)
        separator = max(SEPARATORS, key=bare.count)
        file.seek(0)
        rows = csv.reader(file, delimiter=separator, skipinitialspace=True)
        try:
            names = next(row for row in rows if any(field.strip() for field in row))
        except (csv.Error, StopIteration) as error:
            raise RefusedError(f"{path} has no row of column names") from error
    return separator, [name.strip() for name in names]


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path, partitioning=None)
        # Without pandas' metadata a former index is a column like others.
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    except pa.ArrowException as error:
        raise RefusedError(f"{path} is not a Parquet file that can be read: {error}") from error
    names = table.schema.names
    frame.columns = pd.Index(["" if name.startswith("__index_level") else name for name in names])
    return frame
