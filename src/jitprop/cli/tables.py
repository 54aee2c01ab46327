"""
Tables from files: CSV and Parquet as data frames whose column names are text and differ.

A field of a CSV file stays the text that it is: `reading` tells what the columns mean. So a label
comes back as the table spells it, and 1,5 is not lost before anybody has seen that it is a number.
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
"""How files of these kinds begin."""

MAX_BYTES = 1 << 32
"""Of a table; less where a quarter of the memory is less."""

CHUNK = 1 << 20
"""Bytes that are read at a time."""

START = 1 << 16
"""Bytes from which it is told whether a file can be a table."""

MAX_COLUMNS = MAX_HEADER // 140
"""Of a table: in the header of a model file a column of numbers takes 140 bytes or more."""

HEAD = 1 << 20
"""Bytes of a CSV file from which its separator is told ..."""

RECORDS = 50
"""... and records in them, at most."""

MOST_NAMES = 20
"""Columns that a message lists."""

NUMBER = re.compile(r"[+-]?[\d.,' ]*\d[\d.,' ]*%?")
"""What numbers look like, for telling separators."""

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
"""First bytes of files that are no tables here, and what is said of them."""


class Table(NamedTuple):
    """
    A table as its file has it.

    Attributes
    ----------
    frame : DataFrame
        Of a CSV file, each field is text, without blanks before it; "" where there is nothing.
    typed : bool
        Whether the file says what its columns hold, as Parquet does.
    separator : str
        Of a CSV file; "" for others.
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
        Of a Parquet file, told by its first bytes, or of a CSV file in UTF-8 with names in its
        first row, separated by comma, semicolon, tab or bar; either may be packed by gzip. ``-``
        is the standard input. It is read once, so it may be a pipe.
    say : function of a sentence
        Is told what was left out.

    Raises
    ------
    RefusedError
        For a file that is not such a table, or that is too large.
    """
    shown = "the standard input" if path == Path("-") else str(path)
    data = _bytes_of(path, shown)
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


def _bytes_of(path: Path, shown: str) -> bytes:
    """
    Return what a file holds, unpacked.

    A device, a pipe or a small packed file may give bytes without end: so the first ones are
    looked at before the others are read, and there is a limit.
    """
    if path == Path("-") and sys.stdin is None:
        raise RefusedError(f"cannot read {shown}: it is closed")
    limit = _limit()
    parts: list[bytes] = []
    try:
        with nullcontext(sys.stdin.buffer) if path == Path("-") else path.open("rb") as file:
            first = file.read(len(GZIP))
            source: Any = _Begun(first, file)
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
                        f"{shown} holds more than {limit:,} bytes, the most that are read here: "
                        "take some of its rows or columns"
                    )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RefusedError(f"{shown} is no whole file of gzip: {error}") from error
    except OSError as error:
        raise RefusedError(f"cannot read {shown}: {error.strerror or error}") from error
    data = b"".join(parts)
    if not checked:
        _check(data, shown)
    return data


class _Begun:
    """A file of which the first bytes were read already."""

    def __init__(self, first: bytes, file: BinaryIO) -> None:
        self.first, self.file = first, file

    def read(self, n: int) -> bytes:
        """Return at most n bytes, none at the end."""
        first, self.first = self.first, b""
        return first or self.file.read(n)


def _limit() -> int:
    """Return how many bytes of a table are read at most; parsed they take several times as many."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # as on Windows
        return MAX_BYTES
    return min(MAX_BYTES, memory // 4)


def check_width(frame: pd.DataFrame) -> None:
    """
    Refuse a table with more columns than a model file has room for, before each is looked at.

    Columns of one value do not count: they are left out.

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
            f"the table has {n:,} columns with more than one value, and a model file has room for "
            f"{MAX_COLUMNS:,} at most: leave some out with --drop, or make a table of fewer"
        )


def drop(table: Table, names: Collection[str]) -> Table:
    """
    A table without some columns.

    Raises
    ------
    RefusedError
        If one is not there.
    """
    for name in names:
        if name not in table.frame.columns:
            raise RefusedError(f"there is no column {name!r} to drop; {listed(table.frame, name)}")
    return table._replace(frame=table.frame.drop(columns=list(names)))


def names(frame: pd.DataFrame, given: Iterable[str]) -> tuple[str, ...]:
    """
    The columns that an option names: one, or several parted by commas.

    A name may hold commas itself: from each place on the longest name that the table has is taken.

    Parameters
    ----------
    frame : DataFrame
    given : iterable of str
        What a person typed, once for each time that the option was given.

    Returns
    -------
    tuple of str
        A text that is no column's name is there too, up to the next comma.
    """
    known = set(frame.columns)
    found = []
    for text in given:
        parts = text.split(",")
        while parts:
            ways = ((n, ",".join(parts[:n]).strip()) for n in range(len(parts), 0, -1))
            n, name = next((way for way in ways if way[1] in known), (1, parts[0].strip()))
            found += [name] if name else []
            del parts[:n]
    return tuple(found)


def listed(frame: pd.DataFrame, sought: str = "") -> str:
    """The columns of a table, for messages; first those that are spelled like the one sought."""
    names = [str(name) for name in frame.columns]
    by_folded = {name.casefold(): name for name in reversed(names)}
    near = difflib.get_close_matches(sought.casefold(), by_folded, n=2, cutoff=0.7)
    hint = f"did you mean {' or '.join(repr(by_folded[name]) for name in near)}? " if near else ""
    return f"{hint}there are {some(names)}"


def some(names: Sequence[str]) -> str:
    """The first names, for messages, and how many more there are."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(map(quoted, names[:MOST_NAMES]))}{more}"


def _check(start: bytes, shown: str) -> None:
    """Refuse what is certainly no table, with a word on how to make one of it."""
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
    said = re.match(rb'\s*"?sep=([^\r\n])"?[ \t]*\r?\n', data)
    if said:  # a line by which programs tell Excel the separator
        data = data[said.end() :]
    data = re.sub(rb"\A(?:[ \t]*\r?\n)+", b"", data)
    separator = said[1].decode("ascii", "replace") if said else _separator(data)
    names = _names(data, separator, shown)

    def parsed(data: bytes, **options: object) -> pd.DataFrame:
        return pd.read_csv(
            io.BytesIO(data),
            sep=separator,
            encoding="utf-8",
            header=0,
            # pandas wants names that differ, so it gets their places.
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
            # Of fields beyond the last name, which would be dropped.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            if len(names) == 1:
                # An empty line is a row whose value is missing, but for those at the end.
                frame = parsed(_without_empty_end(data, say), skip_blank_lines=False)
            else:
                frame = parsed(data)
                if re.search(rb"\n[ \t]*\r?\n[ \t\r\n]*[^ \t\r\n]", data):
                    whole = parsed(data.rstrip(), usecols=[0], skip_blank_lines=False)
                    if len(whole) > len(frame):
                        say(f"empty lines are no rows: {len(whole) - len(frame)} are left out")
    except pd.errors.ParserWarning as error:
        raise RefusedError(
            f"{shown} has {len(names)} column names, but more fields in its rows. If the first "
            "are names of rows, as R writes them, write the file with row.names = FALSE"
        ) from error
    except pd.errors.ParserError as error:
        raise RefusedError(f"{shown} is not a CSV table: {error}") from error
    frame.columns = pd.Index(names, dtype=object)
    return Table(frame, typed=False, separator=separator)


def _without_empty_end(data: bytes, say: Say) -> bytes:
    bare = data.rstrip()
    n = len(data[len(bare) :].replace(b"\r\n", b"\n").split(b"\n")) - 2
    if n > 0:
        say(f"empty lines at the end are no rows: {n} are left out")
    return bare


def _separator(data: bytes) -> str:
    """
    The separator, as the first records tell.

    The first line has it; most records have as many fields as the first; and it leaves numbers
    whole: of ``price, EUR;area`` and ``1,5;20`` it is the semicolon.
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
        alike = [record for record in rest if len(record) == len(first)]
        fields = [field.strip() for record in alike for field in record]
        whole = sum(bool(NUMBER.fullmatch(field)) for field in fields) / max(1, len(fields))
        return len(first) > 1, len(alike) / max(1, len(rest)), whole, len(first)

    return max(SEPARATORS, key=score)


def _names(data: bytes, separator: str, shown: str) -> list[str]:
    """Of the columns; a line break in one is a blank, so that it can be typed."""
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

    # Integers with holes would become floats, and those above 2**53 others.
    whole = {
        getattr(pa, name.lower())(): getattr(pd, f"{name}Dtype")()
        for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
    }
    try:
        table = parquet.read_table(pa.BufferReader(data), partitioning=None)
        # Without pandas' metadata a former index is a column like others.
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True, types_mapper=whole.get)
    except pa.ArrowException as error:
        raise RefusedError(f"{shown} is not a Parquet file that can be read: {error}") from error
    names = table.schema.names
    frame.columns = pd.Index(["" if name.startswith("__index_level") else name for name in names])
    return frame
