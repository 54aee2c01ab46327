"""Tables from files: which are read, which are refused, and the error texts."""

from __future__ import annotations

import gzip
import io
import os
import re
import sys
import types
from pathlib import Path

import pandas as pd
import pytest

from jitprop.cli import tables
from jitprop.cli.refused import RefusedError


def read(tmp_path, content):
    path = tmp_path / "table"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    notes = []
    return tables.read(path, notes.append).frame, notes


@pytest.mark.parametrize(
    "content",
    [
        "a,b c\n1,x\n2,y\n",
        "a;b c\n1;x\n2;y\n",
        "a\tb c\r\n1\tx\r\n2\ty\r\n",
        "a|b c\n1|x\n2|y",
        "\ufeffa,b c\n1,x\n2,y\n",
        "\n a , b c\n 1, x\n\n 2, y\n",
        '"a","b c"\n"1","x"\n"2","y"\n',
    ],
)
def test_a_csv_file_however_written(tmp_path, content):
    frame, notes = read(tmp_path, content)
    assert list(frame.columns) == ["a", "b c"]
    assert frame["a"].tolist() == ["1", "2"]
    assert frame["b c"].tolist() == ["x", "y"]
    blank = "\n\n " in content
    assert notes == (["empty lines are not rows: 1 are left out"] if blank else [])


def test_separators_within_quotes_do_not_count(tmp_path):
    frame, _ = read(tmp_path, '"x; y; z",b\n1,"2\n3"\n')
    assert list(frame.columns) == ["x; y; z", "b"]
    assert frame["b"].tolist() == ["2\n3"]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("price, EUR;area\n1,5;20\n2,5;30\n", ["price, EUR", "area"]),
        ("a;b, c, d, e;f\n1;2;3\n", ["a", "b, c, d, e", "f"]),
        ("a,b;c\n1,x\n2,y\n", ["a", "b;c"]),
        ("sep=;\na,b;c\n1,x;2\n", ["a,b", "c"]),
        ('"sep=|"\r\na|c\r\n1|2\r\n', ["a", "c"]),
        ("\ufeffsep=\t\na\tb\n1\t2\n", ["a", "b"]),
        ("\n \na\n1\n", ["a"]),
    ],
)
def test_the_separator_is_told_from_names_and_rows(tmp_path, content, names):
    assert list(read(tmp_path, content)[0].columns) == names


def test_a_wide_table_is_read(tmp_path):
    names = [f"a column with a name, {i}" for i in range(30_000)]
    frame, _ = read(tmp_path, ";".join(names) + "\n" + ";".join(["1,5"] * len(names)) + "\n")
    assert list(frame.columns) == names


def test_a_line_break_in_a_name_is_a_blank(tmp_path):
    frame, _ = read(tmp_path, '"size\nin cm";"b \r\n c"\n1;"2\n3"\n')
    assert list(frame.columns) == ["size in cm", "b c"]
    assert frame.iloc[0].tolist() == ["1", "2\n3"]


@pytest.mark.parametrize(
    ("content", "fields", "note"),
    [
        ("a\n1\n\n2\n", ["1", "", "2"], None),
        ("a\r\n\r\n1\r\n  \r\n", ["", "1"], "empty lines at the end are not rows: 1"),
        ('a\n1\n""\n', ["1", ""], None),
        ("a\n1\n\n\n\n", ["1"], "empty lines at the end are not rows: 3"),
        ("a,b\n1,\n\n,\n", ["1", ""], "empty lines are not rows: 1 are left out"),
        ("a,b\n1,\n,\n\n\n", ["1", ""], None),
        ('a,b\n1,"x\n\n y"\n', ["1"], None),
    ],
)
def test_an_empty_line_is_a_row_of_a_table_of_one_column_alone(tmp_path, content, fields, note):
    frame, notes = read(tmp_path, content)
    assert frame["a"].tolist() == fields
    assert [note in said for said in notes] == ([] if note is None else [True])


def test_fields_are_the_texts_that_they_are(tmp_path):
    frame, _ = read(tmp_path, 'a,b,c,d\n01,1.10,NA, " x"\ntrue,,"1,5",9007199254740993\n')
    assert frame.to_numpy().tolist() == [
        ["01", "1.10", "NA", " x"],
        ["true", "", "1,5", "9007199254740993"],
    ]


def test_files_that_are_packed_or_piped(tmp_path, monkeypatch):
    content = b"a,b\n1,x\n"
    packed = gzip.compress(content)
    assert read(tmp_path, packed)[0].to_numpy().tolist() == [["1", "x"]]
    with pytest.raises(RefusedError, match="not a complete gzip file"):
        read(tmp_path, packed[:-9])
    pd.DataFrame({"a": [1.5]}).to_parquet(tmp_path / "p")
    assert read(tmp_path, gzip.compress((tmp_path / "p").read_bytes()))[0]["a"].tolist() == [1.5]
    for given in (content, packed, (tmp_path / "p").read_bytes()):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
        assert next(iter(tables.read(Path("-"), print).frame.columns)) == "a"


@pytest.mark.skipif(sys.platform == "win32", reason="has no such files")
def test_a_pipe_is_read_once(tmp_path):
    reader, writer = os.pipe()
    try:
        os.write(writer, b"a,b\n1,x\n")
        os.close(writer)
        assert tables.read(Path(f"/dev/fd/{reader}"), print).frame["b"].tolist() == ["x"]
    finally:
        os.close(reader)


def test_columns_without_a_name_are_left_out_with_a_word(tmp_path):
    frame, notes = read(tmp_path, ",a,\n0,1,\n1,2,\n")
    assert list(frame.columns) == ["a"]
    assert notes == ["columns without a name are left out: 2"]


def test_parquet(tmp_path):
    ref = pd.DataFrame({"n": [1.5, None], "t": ["x", None], "b": [True, False]}, index=[5, 6])
    ref.to_parquet(tmp_path / "named anyhow.csv")
    notes = []
    comp, typed, _ = tables.read(tmp_path / "named anyhow.csv", notes.append)
    assert typed
    assert list(comp.columns) == ["n", "t", "b"]
    assert comp["n"].tolist()[0] == 1.5
    assert comp.index.tolist() == [0, 1]
    assert notes == ["columns without a name are left out: 1"]


def test_integers_of_parquet_stay_integers(tmp_path):
    big = [2**53 + 1, None, 2**53]
    pd.DataFrame({"i": pd.array(big, "Int64")}).to_parquet(tmp_path / "t")
    frame = tables.read(tmp_path / "t", print).frame
    assert frame["i"].dropna().tolist() == [2**53 + 1, 2**53]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("a,b\n", "has no rows"),
        ("a,b,a\n1,2,3\n", "more than one column 'a'"),
        ("a,b\n1,2,3\n4,5,6\n", "2 column names, but more fields"),
        ("a,b\n1,2\n4,5,6\n", "Expected 2 fields in line 3, saw 3"),
        ('a,b\n1,"2\n', "is not a CSV table"),
        ('"a,b\n1,2\n', "has no row of column names|has no rows|is not a CSV"),
        ("a,b\n1,caf\u00e9\n".encode("latin1"), "byte 0xe9.*iconv"),
        ("a\n" + "1\n" * 100_000 + "\u00e9\n", None),
        (("a\n" + "1\n" * 100_000 + "\u00e9\n").encode("latin1"), "byte 0xe9.*iconv"),
        ("a,b\n1,2\n".encode("utf-16"), "is UTF-16: convert it, as with iconv -f utf-16 "),
        ("a,b\n1,2\n".encode("utf-16le"), "is UTF-16: convert it, as with iconv -f utf-16le"),
        ('{"a": 1}\n{"a": 2}\n', r"is JSON: .*read_json\('.*', lines=True\).to_csv"),
        ('[\n  {"a": 1}]', r"is JSON: .*read_json\('.*table'\).to_csv"),
        (b"PK\x03\x04" + b"\0" * 26 + b"[Content_Types].xml", "a spreadsheet, .*read_excel"),
        (b"PK\x03\x04" + b"\0" * 26 + b"docProps/app.xml", "a spreadsheet, .*read_excel"),
        (b"\xd0\xcf\x11\xe0\0\0", "as of Excel: save its sheet as CSV UTF-8"),
        ("<!DOCTYPE html>\n<p>a,b</p>", "is a web page"),
        (b"BZh91AY", "is packed"),
        (b"PAR1 and no more", "not a Parquet file"),
        (b"PK\x03\x04\x00\x00", "is packed: unpack it"),
        (b"a,\x00\n", "neither a CSV file"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, words):
    if words is None:
        read(tmp_path, content)
        return
    with pytest.raises(RefusedError, match=words):
        read(tmp_path, content)


def test_a_file_that_cannot_be_opened_is_refused(tmp_path):
    for path, words in ((tmp_path / "none.csv", "No such file"), (tmp_path, "directory")):
        with pytest.raises(RefusedError, match=words):
            tables.read(path, print)


@pytest.mark.parametrize(
    ("sought", "words"),
    [
        ("PRICE", "did you mean 'price'\\? there are 'price', 'Area', 'b'$"),
        ("area", "did you mean 'Area'\\?"),
        ("prices", "did you mean 'price'\\?"),
        ("other", "^there are 'price'"),
    ],
)
def test_names_that_are_meant(sought, words):
    assert re.search(words, tables.listed(pd.DataFrame(columns=["price", "Area", "b"]), sought))


def test_a_message_does_not_list_all_columns_of_a_wide_table():
    frame = pd.DataFrame(columns=[f"c{i}" for i in range(30_000)])
    assert tables.listed(frame).endswith("'c19' and 29980 more")


def test_drop(tmp_path):
    table = tables.Table(pd.DataFrame({"a": [1], "b": [2]}), typed=True, separator="")
    assert list(tables.drop(table, ["a"]).frame.columns) == ["b"]
    with pytest.raises(RefusedError, match="no column 'c' to drop; there are 'a', 'b'"):
        tables.drop(table, ["c"])


# Streams without end, and tables that are too large.


class Endless(io.RawIOBase):
    """A file that repeats some bytes without end, and fails the test if far too many are read."""

    def __init__(self, piece, begin=b""):
        self.piece, self.begin, self.n_read = piece, begin, 0

    def read(self, n=-1):
        assert n > 0, "all that there is was asked for"
        self.n_read += n
        assert self.n_read < 64 << 20
        begin, self.begin = self.begin, b""
        return (begin + self.piece * (n // len(self.piece) + 1))[:n]


@pytest.fixture
def refused(monkeypatch):
    """Return a function that reads a table from the given stdin, and returns the error."""
    monkeypatch.setattr(tables, "MAX_BYTES", 5 << 20)

    def read(stdin):
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=stdin))
        with pytest.raises(RefusedError) as caught:
            tables.read(Path("-"), print)
        return str(caught.value)

    return read


@pytest.mark.parametrize("piece", [b"\0", b"\0\x01\xff", bytes(range(256))])
def test_what_is_no_table_is_not_read_to_its_end(refused, piece):
    """The stream has no end, like /dev/zero."""
    stdin = Endless(piece)
    assert refused(stdin) == (
        "the standard input is neither a CSV file in UTF-8 nor a Parquet file"
    )
    assert stdin.n_read <= 2 * tables.CHUNK


@pytest.mark.parametrize("begin", [b"", b"PAR1"])
def test_a_table_without_end_is_refused(refused, begin):
    stdin = Endless(b"1,2\n", begin)
    assert refused(stdin) == (
        "the standard input has more than 5,242,880 bytes, which is the limit here: use only "
        "some of its rows or columns"
    )
    assert stdin.n_read <= (5 << 20) + 2 * tables.CHUNK


def test_a_small_packed_file_may_be_a_large_table(refused):
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * (3 << 20))
    assert len(packed) < 1 << 20
    assert "has more than 5,242,880 bytes" in refused(io.BytesIO(packed))


def test_packed_files_one_after_the_other_are_one_table(tmp_path):
    frame, _ = read(tmp_path, gzip.compress(b"a,b\n1,x\n") + gzip.compress(b"2,y\n") + bytes(9))
    assert frame["b"].tolist() == ["x", "y"]


def test_the_limit_goes_by_the_memory(monkeypatch):
    if not hasattr(os, "sysconf"):
        pytest.skip("no sysconf")
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1 << 18}
    monkeypatch.setattr(tables.os, "sysconf", sizes.__getitem__)
    assert tables._limit() == 1 << 28
    sizes["SC_PHYS_PAGES"] = 1 << 40
    assert tables._limit() == tables.MAX_BYTES
