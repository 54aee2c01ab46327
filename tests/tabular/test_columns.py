"""The columns of tables as inputs of nets."""

from __future__ import annotations

import numpy as np
import pytest

from jitprop.tabular.columns import learn
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
        "two": "all its values are '2.5'",
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
