"""
Read tables from CSV and Parquet files into data frames with different text column names.

Fields of a CSV file stay text here; `column_types` infers what they mean. So predictions spell
labels as the table does, and 1,5 is still known when the decimal mark is found.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import os
import re
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias

from jitprop.checks import quoted
from jitprop.cli.refused import RefusedError
from jitprop.files.sealed import MAX_HEADER

if TYPE_CHECKING:
    import pandas as pd

Say: TypeAlias = Callable[[str], None]

SEPARATORS = ",;\t|"

GZIP, PARQUET = b"\x1f\x8b", b"PAR1"
"""The first bytes of files of these kinds."""

MAX_BYTES = 1 << 32
"""The most bytes of a table, or a quarter of the memory if that is less."""

CHUNK = 1 << 20
"""How many bytes are read at a time."""

START = 1 << 16
"""How many bytes are checked to see whether a file can be a table."""

MAX_COLUMNS = MAX_HEADER // 140
"""The most columns of a table. A column needs at least 140 bytes in the header of a model file."""

HEAD = 1 << 20
"""The separator of a CSV file is detected in at most this many bytes ..."""

RECORDS = 50
"""... and at most this many records."""

MAX_NAMES = 20
"""The most columns that a message lists."""

NUMBER = re.compile(r"[+-]?[\d.,' ]*\d[\d.,' ]*%?")
"""Numbers of all styles, for the detection of the separator."""

CONVERT = "python -c \"import pandas as pd; pd.{}.to_csv('table.csv', index=False)\""

HINTS = (
    (rb"\xff\xfe|\xfe\xff", "is UTF-16: convert it, as with iconv -f utf-16 -t utf-8 {path}"),
    (
        rb"PK\x03\x04.{26}(?:xl/|\[Content_Types\]|docProps/|_rels/|mimetype)|\xd0\xcf\x11\xe0",
        "is a spreadsheet, as of Excel: save its sheet as CSV UTF-8, or "
        + CONVERT.format("read_excel('{path}')"),
    ),
    (
        rb"\s*\{\s*\"",
        "is JSON: make a CSV file of it, as with "
        + CONVERT.format("read_json('{path}', lines=True)"),
    ),
    (
        rb"\s*\[\s*[\[{]",
        "is JSON: make a CSV file of it, as with " + CONVERT.format("read_json('{path}')"),
    ),
    (rb"\s*(?i:<!doctype html|<html)", "is a web page: download the file that it shows"),
    (rb"PK\x03\x04|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf", "is packed: unpack it, or use gzip"),
)
"""First bytes of files that cannot be read as tables, and the message for each."""


class Table(NamedTuple):
    """
    A table as read from its file.

    Attributes
    ----------
    frame : DataFrame
        The columns. Fields of a CSV file are texts without leading blanks, "" for an empty field.
    typed : bool
        Whether the file has types for its columns, as Parquet files have.
    separator : str
        The separator of a CSV file; "" for other files.
    """

    frame: pd.DataFrame
    typed: bool
    separator: str


def read(path: Path, say: Say) -> Table:
    """
    Read a table.

    Parameters
    ----------
    path : Path
        A Parquet file, which is recognised by its first bytes, or a CSV file in UTF-8. The first
        row of a CSV file has the column names; the separator is a comma, semicolon, tab or bar.
        Both may be compressed by gzip. ``-`` is the standard input. The file is read once, so it
        may be a pipe.
    say : callable
        Called with a sentence for each thing that is left out.

    Raises
    ------
    RefusedError
        If the file is not such a table or is too large.
    """
    shown = "the standard input" if path == Path("-") else str(path)
    data = _read_bytes(path, shown)
    if data.startswith(PARQUET):
        table = Table(_read_parquet(data, shown), typed=True, separator="")
    else:
        try:
            table = _read_csv(data, shown, say)
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise RefusedError(
                f"{shown} is not UTF-8 (byte 0x{byte:02x}): convert it, as with "
                f"iconv -f latin1 -t utf-8 {shown}"
            ) from error
    frame = table.frame
    if len(frame) == 0:
        raise RefusedError(f"{shown} has no rows below its column names")
    twice = [name for name, n in Counter(frame.columns).items() if n > 1 and name]
    if twice:
        raise RefusedError(f"{shown} has more than one column {twice[0]!r}: rename all but one")
    named = [bool(name) for name in frame.columns]
    if not all(named):
        say(f"columns without a name are left out: {len(named) - sum(named)}")
        frame = frame.loc[:, named]
    return table._replace(frame=frame)


def _read_bytes(path: Path, shown: str) -> bytes:
    """
    Read a file, decompressed.

    A device, a pipe or a small compressed file may give bytes without end. So the first bytes are
    checked before the others are read, and there is a limit.
    """
    if path == Path("-") and sys.stdin is None:
        raise RefusedError(f"cannot read {shown}: it is closed")
    limit = _limit()
    parts: list[bytes] = []
    try:
        with nullcontext(sys.stdin.buffer) if path == Path("-") else path.open("rb") as file:
            first = file.read(len(GZIP))
            source: Any = _WithFirst(first, file)
            if first == GZIP:
                source = gzip.GzipFile(fileobj=source)
            size, checked = 0, False
            while part := source.read(CHUNK):
                parts.append(part)
                size += len(part)
                if not checked and size >= START:
                    _check(b"".join(parts)[:START], shown)
                    checked = True
                if size > limit:
                    raise RefusedError(
                        f"{shown} has more than {limit:,} bytes, which is the limit here: use only "
                        "some of its rows or columns"
                    )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RefusedError(f"{shown} is not a complete gzip file: {error}") from error
    except OSError as error:
        raise RefusedError(f"cannot read {shown}: {error.strerror or error}") from error
    data = b"".join(parts)
    if not checked:
        _check(data, shown)
    return data


class _WithFirst:
    """A file whose first bytes were read already and are returned again."""

    def __init__(self, first: bytes, file: BinaryIO) -> None:
        self.first, self.file = first, file

    def read(self, n: int) -> bytes:
        """Return at most n bytes, and none at the end of the file."""
        first, self.first = self.first, b""
        return first or self.file.read(n)


def _limit() -> int:
    """Return the most bytes to read of a table; parsed, it takes several times as many."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # such as on Windows
        return MAX_BYTES
    return min(MAX_BYTES, memory // 4)


def check_width(frame: pd.DataFrame) -> None:
    """
    Refuse a table with more columns than a model file has room for, before it is analysed.

    Columns of only one value do not count, since they are left out.

    Raises
    ------
    RefusedError
    """
    if len(frame.columns) <= MAX_COLUMNS:
        return
    values = frame.to_numpy(object)
    n = int((values != values[0]).any(axis=0).sum())
    if n > MAX_COLUMNS:
        raise RefusedError(
            f"the table has {n:,} columns with more than one value, but a model file has room for "
            f"at most {MAX_COLUMNS:,}: leave some out with --drop, or use a smaller table"
        )


def drop(table: Table, names: Collection[str]) -> Table:
    """
    Return a table without some columns.

    Raises
    ------
    RefusedError
        If the table lacks one of these columns.
    """
    for name in names:
        if name not in table.frame.columns:
            raise RefusedError(f"there is no column {name!r} to drop; {listed(table.frame, name)}")
    return table._replace(frame=table.frame.drop(columns=list(names)))


def names(frame: pd.DataFrame, given: Iterable[str]) -> tuple[str, ...]:
    """
    Split the values of an option into column names, which are separated by commas.

    A column name may contain commas. So at each position the longest name in the table is taken.

    Parameters
    ----------
    frame : DataFrame
    given : iterable of str
        The values of the option, one for each time that it was given.

    Returns
    -------
    tuple of str
        The names. A text that is not a column's name is included up to the next comma.
    """
    known = set(frame.columns)
    found = []
    for text in given:
        parts = text.split(",")
        while parts:
            joined = ((n, ",".join(parts[:n]).strip()) for n in range(len(parts), 0, -1))
            n, name = next((pair for pair in joined if pair[1] in known), (1, parts[0].strip()))
            found += [name] if name else []
            del parts[:n]
    return tuple(found)


def listed(frame: pd.DataFrame, sought: str = "") -> str:
    """List the columns of a table for a message; names similar to the one sought come first."""
    names = [str(name) for name in frame.columns]
    by_folded = {name.casefold(): name for name in reversed(names)}
    near = difflib.get_close_matches(sought.casefold(), by_folded, n=2, cutoff=0.7)
    hint = f"did you mean {' or '.join(repr(by_folded[name]) for name in near)}? " if near else ""
    return f"{hint}there are {some(names)}"


def some(names: Sequence[str]) -> str:
    """List the first names for a message, and how many more there are."""
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{', '.join(map(quoted, names[:MAX_NAMES]))}{more}"


def _check(start: bytes, shown: str) -> None:
    """Refuse files that are certainly not tables; the message says how to convert them."""
    if not start.strip():
        raise RefusedError(f"{shown} is empty")
    if start.startswith(PARQUET):
        return
    for first, words in HINTS:
        if re.match(first, start, re.DOTALL):
            raise RefusedError(f"{shown} {words.format(path=shown)}")
    if b"\0" in start:
        halves = start[1::2].count(0), start[::2].count(0)
        if max(halves) > len(start) // 4 > 2 * min(halves):
            raise RefusedError(
                f"{shown} is UTF-16: convert it, as with iconv -f utf-16le -t utf-8 {shown}"
            )
        raise RefusedError(f"{shown} is neither a CSV file in UTF-8 nor a Parquet file")


def _read_csv(data: bytes, shown: str, say: Say) -> Table:
    import pandas as pd

    data = data.removeprefix(b"\xef\xbb\xbf")
    declared = re.match(rb'\s*"?sep=([^\r\n])"?[ \t]*\r?\n', data)
    if declared:  # a line for Excel that names the separator
        data = data[declared.end() :]
    data = re.sub(rb"\A(?:[ \t]*\r?\n)+", b"", data)
    separator = declared[1].decode("ascii", "replace") if declared else _separator(data)
    names = _names(data, separator, shown)

    def parsed(data: bytes, **options: object) -> pd.DataFrame:
        return pd.read_csv(
            io.BytesIO(data),
            sep=separator,
            encoding="utf-8",
            header=0,
            # pandas needs different names, so the columns are numbered here.
            names=list(range(len(names))),
            index_col=False,
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            skipinitialspace=True,
            **options,
        )

    try:
        with warnings.catch_warnings():
            # pandas warns of fields beyond the last name, which it drops.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            if len(names) == 1:
                # With one column, an empty line is a row with a missing value, except at the end.
                frame = parsed(_without_empty_end(data, say), skip_blank_lines=False)
            else:
                frame = parsed(data)
                if re.search(rb"\n[ \t]*\r?\n[ \t\r\n]*[^ \t\r\n]", data):
                    lines = parsed(data.rstrip(), usecols=[0], skip_blank_lines=False)
                    if len(lines) > len(frame):
                        say(f"empty lines are not rows: {len(lines) - len(frame)} are left out")
    except pd.errors.ParserWarning as error:
        raise RefusedError(
            f"{shown} has {len(names)} column names, but more fields in its rows. If the first "
            "fields are row names, as R writes them, write the file with row.names = FALSE"
        ) from error
    except pd.errors.ParserError as error:
        raise RefusedError(f"{shown} is not a CSV table: {error}") from error
    frame.columns = pd.Index(names, dtype=object)
    return Table(frame, typed=False, separator=separator)


def _without_empty_end(data: bytes, say: Say) -> bytes:
    bare = data.rstrip()
    n = len(data[len(bare) :].replace(b"\r\n", b"\n").split(b"\n")) - 2
    if n > 0:
        say(f"empty lines at the end are not rows: {n} are left out")
    return bare


def _separator(data: bytes) -> str:
    """
    Detect the separator in the first records.

    It occurs in the first line. With it, most records have as many fields as the first, and fields
    are complete numbers: for ``price, EUR;area`` and ``1,5;20`` it is the semicolon.
    """
    head = data[:HEAD].decode("utf-8", "ignore")
    cut = len(data) > HEAD

    def score(separator: str) -> tuple[bool, float, float, int]:
        reader = csv.reader(
            io.StringIO(head, newline=""), delimiter=separator, skipinitialspace=True
        )
        try:
            records = [record for record in islice(reader, RECORDS) if any(map(str.strip, record))]
        except csv.Error:
            records = []
        if cut and len(records) > 1 and len(records) < RECORDS:
            del records[-1]
        if not records:
            return False, 0.0, 0.0, 0
        first, *rest = records
        same_length = [record for record in rest if len(record) == len(first)]
        fields = [field.strip() for record in same_length for field in record]
        numbers = sum(bool(NUMBER.fullmatch(field)) for field in fields) / max(1, len(fields))
        return len(first) > 1, len(same_length) / max(1, len(rest)), numbers, len(first)

    return max(SEPARATORS, key=score)


def _names(data: bytes, separator: str, shown: str) -> list[str]:
    """Return the column names; line breaks in a name become blanks, so that it can be typed."""
    with io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="") as file:
        rows = csv.reader(file, delimiter=separator, skipinitialspace=True)
        try:
            names = next(row for row in rows if any(field.strip() for field in row))
        except (csv.Error, StopIteration) as error:
            raise RefusedError(f"{shown} has no row of column names") from error
    return [re.sub(r"\s*[\r\n]\s*", " ", name.strip()) for name in names]


def _read_parquet(data: bytes, shown: str) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

    # Without these types, integer columns with missing values become floats, which are inexact
    # above 2**53.
    integer_types = {
        getattr(pa, name.lower())(): getattr(pd, f"{name}Dtype")()
        for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
    }
    try:
        table = parquet.read_table(pa.BufferReader(data), partitioning=None)
        # Without pandas' metadata, a former index is an ordinary column.
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True, types_mapper=integer_types.get)
    except pa.ArrowException as error:
        raise RefusedError(f"{shown} is not a Parquet file that can be read: {error}") from error
    names = table.schema.names
    frame.columns = pd.Index(["" if name.startswith("__index_level") else name for name in names])
    return frame
