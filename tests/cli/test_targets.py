"""The target: the task, its encoding for the net, and the decoding of the outputs."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from jitprop.cli import targets
from jitprop.cli.refused import RefusedError
from jitprop.cli.targets import MAX_CLASSES, Classes, Quantity


def target(values, task=None):
    column = pd.Series(values, name="y")
    made = targets.classes(column, task) or Quantity.learn(column, np.arange(len(column)))
    return made, column


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["b", "a"], "classification"),
        ([True, False], "classification"),
        (pd.Categorical([3.5, 4.5]), "classification"),
        ([0, 1] * 3, "classification"),
        ([0.0, 1.0] * 3, "classification"),
        ([1, 2, 3] * 5, "classification"),
        ([1, 2, 3] * 4, "regression"),
        (np.repeat(np.arange(20), 5), "classification"),
        (np.repeat(np.arange(21), 50), "regression"),
        ([0.5, 1.5] * 20, "regression"),
        ([1e300, -1e300], "classification"),
    ],
)
def test_the_task_is_told_from_the_target(values, task):
    assert target(values)[0].task == task


def test_two_spellings_of_one_number_are_no_quantity():
    column, spelled = pd.Series([1.1, 1.1], name="y"), pd.Series(["1.1", "1.10"])
    with pytest.raises(RefusedError, match=r"only one value, '1\.1'"):
        targets.classes(column, "regression", spelled)
    assert targets.classes(column, "classification", spelled).labels == ("1.1", "1.10")


def test_the_task_may_be_given():
    assert target([1, 2, 3] * 5, "regression")[0].task == "regression"
    assert target([1.5, 2.5, 3.5], "classification")[0].labels == ("1.5", "2.5", "3.5")


@pytest.mark.parametrize(
    ("values", "spelled"),
    [
        (["x", " b ", "x", "a,\n"], ["a,", "b", "x"]),
        (["10", "9", "9", "100"], ["9", "10", "100"]),
        (["1.10", "1.1", "1"], ["1", "1.1", "1.10"]),
        ([str(2**53 + 1), str(2**53)], [str(2**53), str(2**53 + 1)]),
    ],
)
def test_classes_there_and_back(values, spelled):
    texts = pd.Series([value.strip() for value in values], dtype=object)
    x = pd.to_numeric(texts, errors="coerce")
    column = (texts if x.isna().any() else x.astype(float)).rename("y")
    made = targets.classes(column, "classification", texts)
    assert list(made.labels) == spelled
    y = made.encode(texts).astype(int)
    assert [spelled[i] for i in y] == texts.tolist()
    outputs = y[:, None].astype(float) if made.n_outputs == 1 else np.eye(len(spelled))[y]
    assert made.decode(outputs).tolist() == [spelled[i] for i in y]
    np.testing.assert_array_equal(made.probabilities(outputs), np.eye(len(spelled))[y])


@pytest.mark.parametrize(
    ("kind", "labels", "values", "dtype"),
    [
        ("text", ("1", "2"), ["1", "2"], "O"),
        ("boolean", ("False", "True"), [False, True], "?"),
        ("number", ("0.5", "1"), [0.5, 1.0], "f8"),
        ("integer", ("-1", "7"), [-1, 7], "i8"),
        ("integer", ("0", str(2**64 - 1)), [0, 2**64 - 1], "u8"),
        ("integer", ("-1", str(2**63)), ["-1", str(2**63)], "O"),
        ("integer", ("0", str(2**64)), ["0", str(2**64)], "O"),
    ],
)
def test_labels_have_the_type_that_holds_them(kind, labels, values, dtype):
    made = Classes("y", labels, kind)
    assert made.decode(np.array([[0.0], [1.0]])).tolist() == values
    assert made.values.dtype == dtype
    assert targets.from_json(json.loads(json.dumps(targets.to_json(made)))) == made


def test_classes_of_files_before_labels_were_texts():
    item = {"task": "classification", "name": "y"}
    assert targets.from_json({**item, "labels": [1.0, 2.0]}) == Classes("y", ("1", "2"), "integer")
    assert targets.from_json({**item, "labels": [0.5, 1.0]}) == Classes("y", ("0.5", "1"), "number")
    assert targets.from_json({**item, "labels": ["a", "b"]}) == Classes("y", ("a", "b"), "text")


def test_a_quantity_there_and_back():
    made, column = target([1e6, 3e6, 5.5e6])
    y = made.encode(column)
    np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-15)
    np.testing.assert_allclose(made.decode(y[:, None]), column, rtol=1e-15)


def test_a_quantity_comes_back_as_float64_from_a_net_of_float32():
    made, column = target([1.7e9, 1.7e9 + 100, 1.7e9 + 250])
    comp = made.decode(made.encode(column)[:, None].astype(np.float32))
    assert comp.dtype == np.float64
    np.testing.assert_allclose(comp, column, rtol=0, atol=1e-3)


def test_a_huge_quantity_does_not_overflow():
    made, column = target([1.5e308, 1.7e308, 1.3e308])
    np.testing.assert_allclose(made.encode(column), [0, np.sqrt(1.5), -np.sqrt(1.5)], atol=1e-12)


@pytest.mark.parametrize(
    ("values", "task", "words"),
    [
        (["2024-02-29", "2024-03-01"], None, "holds dates"),
        (["a", "b"], "regression", "holds text"),
        (["a", "a"], None, "only one value, 'a'"),
        ([1.5, 1.5], None, "only one value, '1.5'"),
        ([3, 3], "regression", "only one value, '3'"),
        ([str(i) + "x" for i in range(MAX_CLASSES + 1)], None, "at most 100 classes"),
        (np.arange(MAX_CLASSES + 1), "classification", "at most 100 classes"),
        ([1.0, np.inf], None, "must hold finite numbers"),
    ],
)
def test_what_cannot_be_learned_is_refused(values, task, words):
    with pytest.raises(RefusedError, match=words):
        target(values, task)


@pytest.mark.parametrize("values", [["b", "a"], [1, 2, 5] * 5, [0.5, 1.5, 4.0]])
def test_targets_come_back_from_json(values):
    made, _ = target(values)
    assert targets.from_json(json.loads(json.dumps(targets.to_json(made)))) == made


@pytest.mark.parametrize(
    "change",
    [
        {"labels": "ab"},
        {"labels": []},
        {"labels": [None, 1]},
        {"labels": None},
        {"kind": "integer"},
        {"kind": "matrix"},
    ],
)
def test_altered_targets_are_refused(change):
    made, _ = target(["b", "a"])
    with pytest.raises((KeyError, TypeError, ValueError)):
        targets.from_json({**targets.to_json(made), **change})


def test_both_kinds_are_known():
    assert (Classes.task, Quantity.task) == targets.TASKS
