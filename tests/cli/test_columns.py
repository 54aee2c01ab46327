"""Columns of a table become inputs of a net, or are refused."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jitprop.cli import columns, values
from jitprop.cli.columns import MAX_CATEGORIES, MAX_SPREADS, NumberColumn, TextColumn
from jitprop.cli.refused import RefusedError
from jitprop.cli.targets import Quantity
from jitprop.cli.training import split
from nets import digest


class Notes(list):
    """The notes for the user."""

    def __call__(self, sentence):
        self.append(sentence)


def learned(values_, name="x", rows=None):
    """Return the fitted columns of a table of one column, the notes, and the table."""
    frame = pd.DataFrame({name: values_, "rest": np.arange(len(values_)) ** 2.0})
    rows = np.arange(len(frame)) if rows is None else np.array(rows)
    notes = Notes()
    made = columns.learn(frame, rows, notes)
    return [column for column in made if column.name == name], notes, frame


def inputs(values_, **kwargs):
    (column,), notes, frame = learned(values_, **kwargs)
    assert notes == []
    return column.transform(frame["x"], notes)


def test_numbers_are_standardised():
    ref = np.array([-1.5, -0.5, 0.5, 1.5])[:, None] / np.sqrt(1.25)
    np.testing.assert_allclose(inputs([1, 2, 3, 4]), ref, rtol=1e-15)


def test_the_mean_is_that_of_the_training_rows():
    (column,), notes, frame = learned([1.0, 3.0, 1000.0], rows=[0, 1])
    assert (column.mean, column.spread, column.median) == (2.0, 1.0, 2.0)
    assert column.transform(frame["x"], notes).ravel().tolist() == [-1.0, 1.0, 998.0]


def test_a_missing_number_is_the_median_and_has_an_input_of_its_own():
    (column,), notes, frame = learned([0.0, None, 2.0, 10.0])
    assert (column.median, column.missing, column.n_inputs) == (2.0, True, 2)
    made = column.transform(frame["x"], notes)
    assert made[:, 1].tolist() == [0, 1, 0, 0]
    assert made[1, 0] == made[2, 0]
    np.testing.assert_allclose(made[:, 0].mean(), 0, atol=1e-15)
    assert notes == []


def test_a_number_missing_later_alone_is_the_median_with_a_word():
    (column,), notes, _ = learned([1.0, 2.0, 4.0])
    made = column.transform(pd.Series([None, 2.0], name="x"), notes)
    assert made[0] == made[1]
    assert "1 of its 2" in notes[0]


def test_text_is_one_hot():
    assert inputs(["b", "a", "b"]).tolist() == [[0, 1], [1, 0], [0, 1]]


def test_missing_text_is_a_category():
    assert inputs(["b", None, "a", " "]).tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 1]]


def test_unknown_text_is_zeros_with_a_word():
    (column,), notes, _ = learned(["b", "a", "b"])
    made = column.transform(pd.Series(["c", "a", None], name="x"), notes)
    assert made.tolist() == [[0, 0], [1, 0], [0, 0]]
    assert "2 of its 3" in notes[0]
    assert "'c'" in notes[0]


@pytest.mark.parametrize("spelled", [[True, False, True], ["TRUE", "false", "True"]])
def test_booleans_are_categories_however_spelled(spelled):
    (column,), _, frame = learned(spelled)
    assert column.categories == ("false", "true")
    assert column.transform(frame["x"], Notes()).tolist() == [[0, 1], [1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("values_", "word"),
    [
        ([7, 7, 7], "all its values are 7"),
        (["a", "a", "a"], "all its values are 'a'"),
        ([None, None, None], "it has no values"),
        ([f"name {i}" for i in range(30)], "looks like names or ids"),
        (["2024-02-29", "2024-03-01"], "dates"),
        (["29.2.2024", None], "dates"),
        ([datetime.date(2024, 2, 29)] * 2, "dates"),
        (pd.to_datetime(["2024-02-29", "2024-03-01"]), "dates"),
        (pd.to_timedelta([1, 2], unit="s"), "dates"),
    ],
)
def test_what_says_nothing_is_left_out_with_a_word(values_, word):
    found, notes, _ = learned(values_)
    assert found == []
    assert len(notes) == 1
    assert word in notes[0]
    assert "'x'" in notes[0]


def test_a_constant_number_that_may_be_missing_stays():
    made = inputs([7.0, None, 7.0])
    assert made.tolist() == [[0, 0], [0, 1], [0, 0]]


def test_the_commonest_categories_get_inputs():
    texts = [f"t{i % 150:03}" for i in range(400)]  # 100 texts three times each, 50 texts twice
    (column,), notes, _ = learned(texts)
    assert column.categories == tuple(f"t{i:03}" for i in range(MAX_CATEGORIES))
    assert "150 different texts" in notes[0]


@pytest.mark.parametrize(
    "values_",
    [
        [Decimal("1.5"), None, Decimal(3)],
        [10**30, 3, None],
        pd.array([1, None, 3], dtype="Int64"),
        pd.array([1.5, None, 3], dtype="Float32"),
        np.array([1, 2], np.uint8),
    ],
)
def test_numbers_of_all_kinds(values_):
    (column,), _, _ = learned(values_)
    assert isinstance(column, NumberColumn)


@pytest.mark.parametrize("values_", [pd.Categorical([1, 2, 1]), ["1", "2", "3+"], ["1", "2"]])
def test_texts_of_all_kinds(values_):
    (column,), _, _ = learned(values_)
    assert isinstance(column, TextColumn)


@pytest.mark.parametrize(
    "values_", [[[1], [2]], [b"a", b"b"], [1.0, np.inf], [10**400, 1], [{"a": 1}, None]]
)
def test_what_cannot_be_learned_is_refused(values_):
    with pytest.raises(RefusedError, match="column 'x'"):
        learned(values_)


def test_a_column_that_became_text_is_refused_with_its_first_row():
    (column,), notes, _ = learned([1.0, 2.0])
    with pytest.raises(RefusedError, match="'x' must hold numbers; row 2 holds 'many'"):
        column.transform(pd.Series(["1", "many"], name="x"), notes)


def test_nothing_left_is_refused():
    with pytest.raises(RefusedError, match="no column is left"):
        columns.learn(pd.DataFrame({"x": [1, 1]}), np.arange(2), Notes())


def test_columns_are_found_by_name_and_missing_ones_named():
    frame = pd.DataFrame({"a": [1, 2, 4], "b": ["u", "v", "u"], "c": [3, 1, 2]})
    made = columns.learn(frame, np.arange(3), Notes())
    ref = columns.transform(made, frame, Notes())
    comp = columns.transform(made, frame[["c", "b", "a"]].assign(d=0), Notes())
    np.testing.assert_array_equal(comp, ref)
    with pytest.raises(RefusedError, match="columns are missing: 'a', 'c'; there are 'b'"):
        columns.transform(made, frame[["b"]], Notes())


FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 1e308, -1e308])


@settings(max_examples=200, deadline=None)
@given(
    arrays(float, st.integers(2, 12), elements=FLOATS | st.just(float("nan"))),
    arrays(float, st.integers(1, 5), elements=FLOATS | st.just(float("nan"))),
)
def test_any_numbers_make_finite_inputs_of_moderate_size(taught, later):
    found, notes, frame = learned(taught)
    for column in found:
        for x in (frame["x"], pd.Series(later, name="x")):
            made = column.transform(x, notes)
            assert np.isfinite(made).all()
            assert np.abs(made).max() <= MAX_SPREADS


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=3) | st.none() | st.booleans(), min_size=2, max_size=30))
@example(["", "\x00"])
def test_any_texts_make_rows_of_one(taught):
    if values.kind(pd.Series(taught, dtype=object)) != "text":
        return
    found, notes, frame = learned(pd.Series(taught, dtype=object))
    for column in found:
        assert (column.transform(frame["x"], notes).sum(axis=1) == 1).all()


def test_columns_come_back_from_json():
    frame = pd.DataFrame({"a": [1, None, 4], "b": ["u", None, "\u00e9,\n"], "c": [0.1, 1e300, 2]})
    made = columns.learn(frame, np.arange(3), Notes())
    assert len(made) == 3
    assert columns.from_json(json.loads(json.dumps(columns.to_json(made)))) == made


@pytest.mark.parametrize(
    "change",
    [{"kind": "matrix"}, {"mean": "nan"}, {"mean": None}, {"other": 1}, {"median": [1]}],
)
def test_altered_columns_are_refused(change):
    (column,), _, _ = learned([1.0, 2.0])
    (item,) = columns.to_json((column,))
    with pytest.raises((KeyError, TypeError, ValueError)):
        columns.from_json([{**item, **change}])


def test_scaling_and_splits_have_the_same_bits_on_every_machine():
    column = pd.Series(np.random.default_rng(0).random(9000), name="x")
    rows = np.arange(9000)
    number, target = NumberColumn.learn(column, rows, Notes()), Quantity.learn(column, rows)
    scales = [number.mean, number.spread, number.median, target.mean, target.spread]
    assert digest(scales) == "7ae188210e3c8b06"
    assert digest(*split(np.arange(97) % 3, 0.25, 5)) == "66c85ffb1617b34d"
