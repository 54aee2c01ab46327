"""Tables of all kinds of frames hold the same values."""

from __future__ import annotations

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from jitprop.tabular.columns import learn
from jitprop.tabular.table import Table, table_of

UTC = datetime.UTC
DAYS = [datetime.date(2024, 2, 29), None, datetime.date(1969, 12, 31), datetime.date(2000, 1, 1)]
TIMES = [datetime.datetime(2024, 2, 29, 12, 30, 1, 5), None, datetime.datetime(1969, 12, 31, 23)]
TIMES.append(datetime.datetime(2000, 1, 1))
ZONE = datetime.timezone(datetime.timedelta(hours=2))
VALUES = {
    "integers": [3, 1, 2, -5],
    "gaps": [3, None, 2, -5],
    "floats": [0.1, None, 1e300, -2.5],
    "booleans": [True, False, True, False],
    "maybe": [True, None, False, True],
    "texts": ["a", None, "ü b", ""],
    "days": DAYS,
    "times": TIMES,
    "zoned": [None if t is None else t.replace(tzinfo=UTC).astimezone(ZONE) for t in TIMES],
    "spans": [datetime.timedelta(days=1, microseconds=3), None, datetime.timedelta(-1), None],
    "clock": [datetime.time(12, 30, 1, 500_000), None, datetime.time(0), datetime.time(23)],
    "decimals": [Decimal("0.1"), None, Decimal("1234567890.123456789"), Decimal(-3)],
    "none": [None] * 4,
}
KINDS = {
    **dict.fromkeys(("integers", "gaps", "floats", "spans", "clock", "decimals", "none"), "number"),
    **dict.fromkeys(("booleans", "maybe"), "boolean"),
    "texts": "text",
    **dict.fromkeys(("days", "times", "zoned"), "date"),
}


def arrow():
    return pa.table({name: pa.array(values) for name, values in VALUES.items()})


MADE = {
    "dict": lambda: VALUES,
    "dict of arrays": lambda: {name: np.array(v, dtype=object) for name, v in VALUES.items()},
    "pandas": lambda: pd.DataFrame(VALUES),
    "pandas of objects": lambda: pd.DataFrame(
        {k: pd.Series(v, dtype=object) for k, v in VALUES.items()}
    ),
    "pandas nullable": lambda: pd.DataFrame(VALUES).convert_dtypes(),
    "pandas arrow": lambda: arrow().to_pandas(types_mapper=pd.ArrowDtype),
    "polars": lambda: pl.DataFrame(VALUES, strict=False),
    "arrow": arrow,
    "array": lambda: np.array(list(VALUES.values()), dtype=object).T,
}


@pytest.mark.parametrize("name", MADE)
def test_every_container_gives_the_same_table(name):
    ref, comp = table_of(VALUES), table_of(MADE[name]())
    assert comp.names == (list(VALUES) if name != "array" else [f"x{i}" for i in range(13)])
    assert comp.named == (name != "array")
    for a, b in zip(ref, comp, strict=True):
        assert b.kind == a.kind == KINDS[a.name], (name, a.name)
        np.testing.assert_array_equal(b.values, a.values, err_msg=f"{name} {a.name}", strict=True)
        np.testing.assert_array_equal(b.missing, a.missing)


@pytest.mark.parametrize("name", MADE)
def test_and_the_same_inputs(name):
    comp = table_of(MADE[name]())
    ref = table_of(VALUES)
    np.testing.assert_array_equal(learn(comp).transform(comp), learn(ref).transform(ref))


def test_values_are_what_they_say():
    table = table_of(VALUES)
    assert table["times"].values[0] == np.datetime64("2024-02-29T12:30:01.000005")
    np.testing.assert_array_equal(table["zoned"].values, table["times"].values)
    np.testing.assert_array_equal(table["spans"].values, [86400.000003, np.nan, -86400, np.nan])
    np.testing.assert_array_equal(table["clock"].values, [45001.5, np.nan, 0, 82800])
    assert table["texts"].values.tolist() == ["a", None, "ü b", ""]


CATEGORIES = {
    "pandas": lambda values: pd.DataFrame({"c": pd.Categorical(values)}),
    "polars": lambda values: pl.DataFrame({"c": pl.Series(values, dtype=pl.Categorical)}),
    "enum": lambda values: pl.DataFrame({"c": pl.Series(values, dtype=pl.Enum(["x", "y", "z"]))}),
    "arrow": lambda values: pa.table({"c": pa.array(values).dictionary_encode()}),
}


@pytest.mark.parametrize("name", CATEGORIES)
def test_categories(name):
    column = table_of(CATEGORIES[name](["y", None, "x", "y"]))["c"]
    assert column.kind == "category"
    assert column.values.tolist() == ["y", None, "x", "y"]


def test_categories_of_numbers_are_their_texts():
    values = pd.Categorical([3, None, 1, 3])
    assert table_of(pd.DataFrame({"c": values}))["c"].values.tolist() == ["3", None, "1", "3"]


def test_other_dtypes_of_pandas():
    frame = pd.DataFrame(
        {
            "period": pd.period_range("2024-01", periods=3, freq="M"),
            "cut": pd.cut([1, 5, 9], [0, 4, 10]),
            "sparse": pd.arrays.SparseArray([0.0, 0, 3]),
            "nano": pd.to_datetime([1, 2, 3_000], unit="ns"),
            7: np.float16([1, 2, 3]),
        }
    )
    table = table_of(frame)
    assert [column.kind for column in table] == ["date", "category", "number", "date", "number"]
    assert table["period"].values[1] == np.datetime64("2024-02-01")
    assert table["cut"].values.tolist() == ["(0, 4]", "(4, 10]", "(4, 10]"]
    assert table["nano"].values[2] == np.datetime64("1970-01-01T00:00:00.000003")
    assert table.names[-1] == "7"


def test_objects_of_pandas_are_looked_at_to_the_end():
    late = pd.Series([None] * 200 + [3], dtype=object)
    assert table_of(pd.DataFrame({"x": late}))["x"].kind == "number"


def test_numbers_beside_texts_are_texts():
    assert table_of({"x": ["a", 1, None]})["x"].values.tolist() == ["a", "1", None]


def test_arrays_have_columns_by_number():
    table = table_of([[1, "a"], [2, None]])
    assert table.names == ["x0", "x1"]
    assert [column.kind for column in table] == ["number", "text"]
    assert not table.named
    assert table.rows([1])["x0"].values == [2]


def test_the_callers_array_stays_writable():
    X = np.zeros((2, 2))
    table_of(X)
    X[0, 0] = 1.0


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([1.0, 2], r"X must have two dimensions.*shape \(2,\)"),
        (pd.Series([1.0]), "X must have two dimensions; got one column"),
        ({"x": [1, 2], "y": [1]}, "columns must be equally long"),
        ({"x": [[1], [2]]}, "column 'x' must hold numbers, booleans.*got list"),
        ({"x": 3}, "column 'x' must be a list or an array; got 3"),
        (pl.DataFrame({"x": [[1], [2]]}), "column 'x' must hold numbers, booleans.*got List"),
        (np.array([[1j]]), "Complex data not supported: column 'x0'"),
        ({"x": [b"a"]}, "column 'x' must hold .*got bytes"),
        ({"x": [10**400]}, "column 'x' holds a number beyond float64"),
    ],
    ids=str,
)
def test_what_is_no_table(X, message):
    with pytest.raises(ValueError, match=message):
        table_of(X)


def test_two_columns_of_one_name():
    for labels, name in ((["a", "a"], "a"), ([1, "1"], "1"), ([0, 0], "0")):
        frame = pd.DataFrame([[1, 2]], columns=labels)
        with pytest.raises(ValueError, match=f"^column '{name}' occurs twice: names must differ$"):
            table_of(frame)
    with pytest.raises(ValueError, match=r"^column 'a' occurs twice"):
        table_of(pa.table([[1], [2]], names=["a", "a"]))
    with pytest.raises(ValueError, match="column '1' occurs twice"):
        table_of({1: [0], "1": [0]})


def test_numbered_columns_of_a_frame_are_those_of_an_array():
    X = np.array([[1.0, 2.0], [3.0, 4.0]])
    table = table_of(pd.DataFrame(X)[[1, 0]])
    assert (table.names, table.named) == (["x1", "x0"], False)
    assert table["x1"].values.tolist() == [2.0, 4.0]


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas])
def test_frames_without_rows(frame):
    table = table_of(frame(pd.DataFrame(VALUES).convert_dtypes()[:0]))
    assert (table.names, table.n_rows) == (list(VALUES), 0)


def test_lazy_frames_are_to_be_collected():
    with pytest.raises(TypeError, match=r"X\.collect\(\)"):
        table_of(pl.DataFrame({"x": [1]}).lazy())


def test_columns_of_pyarrow_in_a_dict():
    arrays = {"x": pa.array([1.0, None]), "y": pa.array(["a", None]).dictionary_encode()}
    table = table_of({**arrays, "z": pa.chunked_array([[True], [None]])})
    assert [column.kind for column in table] == ["number", "text", "boolean"]
    assert [column.missing.tolist() for column in table] == [[False, True]] * 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({1.0, 2.0}, r"column 'x' must be a list or an array; got \{1.0, 2.0\} \(set\)"),
        ({"a": 1}, "column 'x' must be a list or an array; got"),
        (np.ma.masked_greater([1.0, 2.0], 1.0), "column 'x' must have no masked values"),
    ],
    ids=["set", "dict", "masked"],
)
def test_what_is_no_column(values, message):
    with pytest.raises(ValueError, match=message):
        table_of({"x": values})


def test_a_table_is_a_table():
    table = table_of({"x": [1]})
    assert isinstance(table, Table)
    assert table_of(table) is table
