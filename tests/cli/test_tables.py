"""Tables from files: what is read, and what is refused in which words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from jitprop.cli import tables
from jitprop.cli.refused import RefusedError


def read(tmp_path, content, **kwargs):
    path = tmp_path / "table"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    notes = []
    return tables.read(path, notes.append, **kwargs), notes


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
    assert frame["a"].tolist() == [1, 2]
    assert frame["b c"].tolist() == ["x", "y"]
    assert notes == []


def test_separators_within_quotes_do_not_count(tmp_path):
    frame, _ = read(tmp_path, '"x; y; z",b\n1,"2\n3"\n')
    assert list(frame.columns) == ["x; y; z", "b"]
    assert frame["b"].tolist() == ["2\n3"]


def test_numbers_are_those_that_python_reads(tmp_path, rng):
    written = rng.normal(size=1000) * 10.0 ** rng.integers(-300, 300, 1000)
    frame, _ = read(tmp_path, "\n".join(["a", *map(repr, written.tolist())]))
    np.testing.assert_array_equal(frame["a"], written)


def test_text_columns_stay_text_and_marks_are_missing(tmp_path):
    frame, _ = read(tmp_path, "code,x\n007,?\nNA,1\n", text=["code", "not here"], missing=["?"])
    assert frame["code"].tolist()[0] == "007"
    assert frame.isna().to_numpy().tolist() == [[False, True], [True, False]]


def test_columns_without_a_name_are_left_out_with_a_word(tmp_path):
    frame, notes = read(tmp_path, ",a,\n0,1,\n1,2,\n")
    assert list(frame.columns) == ["a"]
    assert notes == ["columns without a name are left out: 2"]


def test_parquet(tmp_path):
    ref = pd.DataFrame({"n": [1.5, None], "t": ["x", None], "b": [True, False]}, index=[5, 6])
    ref.to_parquet(tmp_path / "named anyhow.csv")
    notes = []
    comp = tables.read(tmp_path / "named anyhow.csv", notes.append)
    assert list(comp.columns) == ["n", "t", "b"]
    assert comp["n"].tolist()[0] == 1.5
    assert comp.index.tolist() == [0, 1]
    assert notes == ["columns without a name are left out: 1"]


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
        ("a,b\n1,2\n".encode("utf-16"), "UTF-8"),
        (b"PAR1 and no more", "not a Parquet file"),
        (b"PK\x03\x04\x00\x00", "neither a CSV file"),
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


def test_drop(tmp_path):
    frame = pd.DataFrame({"a": [1], "b": [2]})
    assert list(tables.drop(frame, ["a"]).columns) == ["b"]
    with pytest.raises(RefusedError, match="no column 'c' to drop; there are 'a', 'b'"):
        tables.drop(frame, ["c"])
