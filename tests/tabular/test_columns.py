"""The columns of tables as inputs of nets."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from jitprop.tabular import encoders
from jitprop.tabular.columns import Columns, learn
from jitprop.tabular.table import table_of


def clipped(z):
    return z / np.sqrt(1 + (z / 3) ** 2)


def test_numbers_are_scaled_by_their_quartiles_and_clipped():
    x = np.array([3.0, 0, 1, 2, 100])
    columns = learn(table_of({"x": x}))
    # Quartiles 1, 2, 3.
    expected = clipped((x - 2) / 2).astype(np.float32)
    np.testing.assert_array_equal(columns.transform(table_of({"x": x})), expected[:, None])


def test_with_equal_quartiles_the_range_scales():
    x = np.array([5.0] * 7 + [9.0])
    inputs = learn(table_of({"x": x})).transform(table_of({"x": x}))
    np.testing.assert_array_equal(inputs[:, 0], clipped((x - 5) / 2).astype(np.float32))


def test_one_hot_inputs_are_scaled_too():
    x = ["a"] * 6 + ["b"] * 3 + ["c"]
    inputs = learn(table_of({"x": x})).transform(table_of({"x": ["a", "b", "c", None, "new"]}))
    # Of ten rows, a has the quartiles 0, 1; b 0, 0.75; c 0, 0.
    a, b, c = clipped(np.array([-1.0, 1 / 0.75, 2])).astype(np.float32)
    np.testing.assert_array_equal(inputs, [[0, 0, 0], [a, b, 0], [a, 0, c], [a, 0, 0], [a, 0, 0]])


def test_a_gap_in_training_gets_an_input():
    columns = learn(table_of({"x": [1.0, np.nan, 3, 2], "y": [1.0, 2, 5, 4]}))
    assert columns.input_names == ["x", "x is missing", "y"]
    inputs = columns.transform(table_of({"y": [np.nan, 3.0], "x": [np.nan, 2.0]}))
    np.testing.assert_array_equal(inputs, [[0, 1, 0], [0, 0, 0]])
    assert columns.blocks == {"x": slice(0, 2), "y": slice(2, 3)}


@pytest.mark.parametrize(
    "values", [["no", "yes", "no", "no", "yes"], [False, True, None, False, True]]
)
def test_two_categories_are_one_input(values):
    columns = learn(table_of({"x": values}))
    assert columns.n_inputs == 1


def test_nothing_is_learned_from_other_rows():
    x = np.arange(40.0) ** 2
    some, other = learn(table_of({"x": x}), np.arange(20)), learn(table_of({"x": x[:20]}))
    np.testing.assert_array_equal(
        some.transform(table_of({"x": x})), other.transform(table_of({"x": x}))
    )


def test_columns_without_news_are_left_out():
    notes = []
    table = table_of({"x": [1.0, 2, 4], "none": [None] * 3, "one": ["a"] * 3, "two": [2.5] * 3})
    columns = learn(table, notes=notes)
    assert columns.input_names == ["x"]
    assert columns.left_out == {
        "none": "it has no values",
        "one": "all its values are 'a'",
        "two": "all its values are 2.5",
    }
    assert notes[0] == "column 'none' is left out: it has no values"


@pytest.mark.parametrize(
    ("later", "message"),
    [
        ({"x": [1.0]}, "column 'c' is missing"),
        ({"x": ["a"], "c": ["a"]}, "column 'x' held numbers in training and holds text now"),
        ({"x": [1.0], "c": [2.0]}, "column 'c' held text or categories in training and holds num"),
        ({"x": [np.inf], "c": ["a"]}, "column 'x' must hold finite numbers; got inf in row 0"),
    ],
)
def test_bad_tables_are_refused_by_column(later, message):
    columns = learn(table_of({"x": [1.0, 2, 4], "c": ["a", "b", "c"]}))
    with pytest.raises(ValueError, match=message):
        columns.transform(table_of(later))


def test_dates_become_numbers():
    times = ["2024-02-29T18:00", None, "2023-12-31T06:30", "2025-01-06T00:00"]
    table = table_of({"when": np.array(times, "datetime64[us]")})
    columns = learn(table)
    parts = ["year", "month", "day of week", "hour", "days"]
    assert columns.input_names == [f"when {part}" for part in parts] + ["when is missing"]
    features = columns.encoders[0].of(table["when"])
    days = 366 - 307 + 1 - 6.5 / 24 + 18 / 24
    np.testing.assert_array_equal(features[0], [2024, 2, 3, 18, days])
    assert np.isnan(features[1]).all()
    np.testing.assert_array_equal(features[2], [2023, 12, 6, 6.5, 0])
    np.testing.assert_array_equal(features[3, :4], [2025, 1, 0, 0])
    np.testing.assert_array_equal(columns.transform(table)[:, 5], [0, 1, 0, 0])
    np.testing.assert_array_equal(columns.transform(table)[1], [0, 0, 0, 0, 0, 1])


def test_parts_of_dates_that_never_vary_have_no_input():
    days = np.arange("2024-01-01", "2024-01-20", dtype="datetime64[D]")
    assert learn(table_of({"day": days})).input_names == ["day day of week", "day days"]


def test_texts_of_dates_are_dates():
    dates = ["2024-02-29", "2023-12-31 06:30:00", "2025-01-06T02:00:00+02:00", None]
    typed = np.array(["2024-02-29", "2023-12-31T06:30", "2025-01-06T00:00", "NaT"], "M8[us]")
    notes = []
    as_texts = learn(table_of({"d": dates}), notes=notes)
    assert notes == ["column 'd' holds dates as texts, and is read as dates"]
    as_dates = learn(table_of({"d": typed}))
    for values in (dates, typed):
        np.testing.assert_array_equal(
            as_texts.transform(table_of({"d": values})), as_dates.transform(table_of({"d": typed}))
        )
    gap = as_texts.transform(table_of({"d": ["2024-02-30", "2024-02-28"]}))
    np.testing.assert_array_equal(gap[:, -1], [1, 0])
    with pytest.raises(ValueError, match="column 'd' held dates in training and holds text now"):
        as_texts.transform(table_of({"d": ["soon"]}))


def names(n, seed=0):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("abcdefgh "), 12)) for _ in range(n)]


def test_texts_have_a_bounded_number_of_inputs():
    values = names(300) + ["usual text"] * 20 + [None]
    columns = learn(table_of({"t": values}))
    assert columns.n_inputs == 1 + 30 + 1
    assert columns.input_names[:2] == ["t=usual text", "t text 1"]
    inputs = columns.transform(table_of({"t": [values[3], values[3] + "x", "zzz", None]}))
    near, far = np.abs(inputs[1:3] - inputs[0]).sum(axis=1)
    assert near < far
    np.testing.assert_array_equal(inputs[3], [inputs[2, 0]] + [0] * 30 + [1])
    assert np.isfinite(inputs).all()


def test_names_are_no_categories():
    columns = learn(table_of({"t": names(30)}))
    assert columns.input_names == [f"t text {i + 1}" for i in range(29)]
    assert len(learn(table_of({"t": names(20)})).encoders[0].categories) == 20


def test_dates_of_each_row_are_no_ids():
    days = np.arange("2024-01-01", "2024-02-20", dtype="datetime64[D]").astype(str)
    assert "day" in learn(table_of({"day": days, "x": np.arange(50) % 7})).blocks


def test_texts_of_blanks_and_of_bytes_that_were_no_unicode():
    blank = [" " * i for i in range(60)]
    broken = [b"caf\xe9 number %d".decode("utf-8", "surrogateescape") % i for i in range(60)]
    table = table_of({"blank": blank, "broken": broken})
    inputs = learn(table).transform(table)  # a warning would be an error
    assert np.isfinite(inputs).all()
    assert inputs.std() > 0


def test_long_texts_are_no_categories():
    columns = learn(table_of({"t": ["word " * 100, "other " * 90, "third " * 80] * 20}))
    assert columns.input_names == ["t text 1", "t text 2"]


def test_without_texts_the_most_frequent_have_inputs():
    values = [text for i, text in enumerate(names(150)) for _ in range(1 + (i < 100))]
    notes = []
    columns = learn(table_of({"t": values}), notes=notes, texts=False)
    assert columns.n_inputs == 100
    assert notes == ["column 't' has 150 different texts: only the 100 most frequent get an input"]
    assert columns.encoders[0].categories == tuple(sorted(names(150)[:100]))


def test_texts_name_what_they_need(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction.text", None)
    with pytest.raises(ImportError, match=r"column 't' holds texts.*jitprop\[sklearn\]"):
        learn(table_of({"t": names(150)}))


IDS = {
    "counts": np.arange(20),
    "counts down": np.arange(20)[::-1] + 5,
    "shuffled": np.random.default_rng(0).permutation(20) + 100,
    "customer_id": np.arange(20) ** 2,
    "keys": [f"K-{7 * i}" for i in range(20)],
}


@pytest.mark.parametrize("name", IDS)
def test_ids_are_left_out(name):
    table = table_of({name: IDS[name], "x": np.arange(20) % 7})
    columns = learn(table)
    assert columns.input_names == ["x"]
    assert columns.left_out[name].endswith("looks like ids")
    assert list(learn(table, keep=[name]).blocks) == [name, "x"]
    assert list(learn(table_of({name: IDS[name]})).blocks) == [name]  # nothing else is there


def test_ids_are_found_in_a_part_of_a_table():
    part = np.random.default_rng(0).permutation(1000)[:700]
    assert learn(table_of({"n": part, "x": part % 7})).input_names == ["x"]


@pytest.mark.parametrize(
    "values",
    [
        np.arange(20) * 3.5,
        np.arange(20) ** 2,
        np.arange(20) // 2,
        [f"Jane Doe {i}" for i in range(20)],
        [f"K{i % 15}" for i in range(20)],
        ["anna", "berta", "cäsar", "dora", "emil", "friedrich", "gustav", "heinrich", "ida", "j"],
    ],
)
def test_what_is_no_id(values):
    table = table_of({"name": values, "x": np.arange(len(values)) % 7})
    assert "name" in learn(table).blocks


def mixed(n=200, seed=0):
    rng = np.random.default_rng(seed)
    gaps = rng.random(n) < 0.1
    return {
        "number": np.where(gaps, np.nan, rng.normal(size=n)),
        "whole": rng.integers(0, 5, n),
        "flag": rng.random(n) < 0.3,
        "colour": rng.choice(["red", "green", "blue", None], n),
        "day": np.datetime64("2024-01-01", "us") + rng.integers(0, 10**13, n).astype("m8[us]"),
        "text": names(n, seed),
        "id": np.arange(n),
    }


def test_a_file_gives_the_same_inputs():
    table = table_of(mixed())
    columns = learn(table)
    content, arrays = columns.to_file()
    content = json.loads(json.dumps(content))
    shapes = {name: (array.dtype, array.shape) for name, array in arrays.items()}
    assert Columns.layout(content) == shapes
    restored = Columns.from_file(content, arrays)
    later = table_of(mixed(50, seed=1))
    np.testing.assert_array_equal(restored.transform(later), columns.transform(later))
    assert restored.input_names == columns.input_names
    assert restored.left_out == columns.left_out == {"id": columns.left_out["id"]}


def altered(path, value):
    def alter(content, arrays):
        item = content
        for key in path[:-1]:
            item = item[key]
        item[path[-1]] = value

    return alter


def read(content, arrays):
    Columns.layout(content)
    return Columns.from_file(content, arrays)


BAD_FILES = {
    "no columns": altered(["columns"], []),
    "a text": altered(["columns"], "abc"),
    "an unknown kind": altered(["columns", 0, "kind"], "picture"),
    "a name that is no text": altered(["columns", 0, "name"], 3),
    "one name twice": altered(["columns", 0, "name"], "whole"),
    "missing": altered(["columns", 0, "missing"], 1),
    "missing categories": altered(["columns", 3, "missing"], True),
    "categories of numbers": altered(["columns", 3, "categories"], [1, 2, 3]),
    "categories out of order": altered(["columns", 3, "categories"], ["b", "a", "c"]),
    "a date's first": altered(["columns", 4, "first"], 1.5),
    "a date's parts": altered(["columns", 4, "parts"], ["eon"]),
    "components": altered(["columns", 5, "components"], 10**9),
    "texts of booleans": lambda content, arrays: content["columns"][5].update(
        boolean=True, categories=[]
    ),
    "unknown settings": altered(["more"], 1),
    "left out": altered(["left_out"], ["id"]),
    "medians": lambda content, arrays: arrays["medians"].fill(np.nan),
    "factors": lambda content, arrays: arrays["factors"].fill(-1.0),
    "idf": lambda content, arrays: arrays["idf.5"].fill(np.inf),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_files_are_not_trusted(name):
    content, arrays = learn(table_of(mixed())).to_file()
    content, arrays = json.loads(json.dumps(content)), {k: v.copy() for k, v in arrays.items()}
    BAD_FILES[name](content, arrays)
    with pytest.raises(ValueError):
        read(content, arrays)


def test_rows_one_by_one_have_the_same_inputs():
    table = table_of(mixed())
    columns = learn(table)
    together = columns.transform(table)
    for row in (0, 7):
        np.testing.assert_array_equal(columns.transform(table.rows([row]))[0], together[row])


def test_gaps_never_fail():
    columns = learn(table_of(mixed()))
    nothing = columns.transform(table_of({name: [None] for name in columns.blocks}))
    assert np.isfinite(nothing).all()


@pytest.mark.parametrize("x", [[1e308, -1e308, 0, 5e-324], [0, 5e-324, 1e-323, 2e-323]])
def test_extreme_numbers_stay_finite(x):
    inputs = learn(table_of({"x": x})).transform(table_of({"x": [*x, 1.7e308, -1.7e308]}))
    assert np.isfinite(inputs).all()
    assert np.abs(inputs).max() <= 3


def test_an_infinite_number_is_named_by_its_row():
    columns = learn(table_of({"x": np.arange(9) % 5}))
    x = np.zeros(40_000)
    x[30_000] = -np.inf
    with pytest.raises(ValueError, match="got -inf in row 30000"):
        columns.transform(table_of({"x": x}))


def test_infinite_numbers_are_refused_in_training():
    with pytest.raises(ValueError, match="column 'x' must hold finite numbers; got inf in row 1"):
        learn(table_of({"x": [1.0, np.inf, np.nan]}))


def test_nothing_to_learn_from():
    with pytest.raises(ValueError, match="no column to learn from: of 'x' all its values are 1"):
        learn(table_of({"x": [1, 1]}))


def test_long_columns_of_texts_are_learned_from_a_part(monkeypatch):
    values = names(400)
    ref = learn(table_of({"t": sorted(values)[::2]}))
    monkeypatch.setattr(encoders.texts, "LEARNED_FROM", 200)
    comp = learn(table_of({"t": values}))
    for name, array in ref.encoders[0].arrays().items():
        np.testing.assert_array_equal(comp.encoders[0].arrays()[name], array)
