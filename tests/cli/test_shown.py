"""Texts of files are escaped for the terminal, and forged model files are refused."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jitprop import Trainer, cli
from jitprop.cli import columns, files, models, reading, scores, targets, terminal
from jitprop.cli.columns import NumberColumn, TextColumn
from jitprop.cli.models import KEY, Model
from jitprop.cli.reading import Reading
from jitprop.cli.refused import RefusedError, typed
from jitprop.cli.targets import Classes, Quantity
from jitprop.files import saving

LONG = "x" * 100_000
SCORED = {
    "accuracy": {"training": 1.0, "baseline": 0.5},
    "log loss": {"training": 0.1, "baseline": 0.7},
}


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model file in the working folder."""
    monkeypatch.chdir(tmp_path)
    trainer = Trainer([3, 1], seed=0, backend="numpy", dtype="float32")
    made = Model(
        trainer,
        (NumberColumn("n", 1.0, 1.0, 0.5, False), TextColumn("t", ("a", "b"), False)),
        Classes("y", ("no", "yes")),
        Reading(".", "", ("?", "?"), text=("t",), signs={"n": "$"}, points={"n": ","}),
        SCORED,
    )
    path = Path("model.safetensors")
    made.save(path)
    return path


# Texts.


def test_quotations_are_cut_and_all_is_on_one_line():
    long = "x" * 300
    said = terminal.one_line(f"column {long!r} isn't {'y' * 150!r}, but /a/{long}\x1b[31m\n\r\x07!")
    assert said == f"column 'xxx{'x' * 193}... isn't {'y' * 150!r}, but /a/{long} [31m !"
    assert len(terminal.one_line("z" * 10**6)) == terminal.MAX_LENGTH


@pytest.mark.parametrize("where", ["name", "value"])
@pytest.mark.parametrize(
    "character", ["\x1b", "\x07", "\x00", "\x7f", "\x9b", "\r", "\u202e", "\u2066"]
)
def test_predictions_with_control_characters_go_to_a_file_alone(
    tmp_path, capsys, monkeypatch, where, character
):
    """A pipe may lead to a pager, which passes them to a terminal."""
    monkeypatch.setattr(files, "ROWS", 2)
    texts = ["a", "b\t\r\n", "c", "d" if where == "name" else f"d{character}[2J"]
    frame = pd.DataFrame({f"y{character if where == 'name' else ''}": texts})
    with pytest.raises(RefusedError, match="the predictions hold the control character"):
        files.write_table(frame, None)
    assert capsys.readouterr().out == ""  # not even the rows before
    files.write_table(frame, tmp_path / "out.csv")
    assert character in (tmp_path / "out.csv").read_bytes().decode()
    files.write_table(pd.DataFrame({"y": texts[:3]}), None)
    assert capsys.readouterr().out == 'y\na\n"b\t\r\n"\nc\n'


def test_predictions_are_escaped_in_a_terminal(monkeypatch, capsys):
    frame = pd.DataFrame({"kind": ["a\x1b[2J", "b\x9b\u202e,"]})
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    files.write_table(frame, None)
    assert capsys.readouterr().out == 'kind\na\\x1b[2J\n"b\\x9b\\u202e,"\n'


def test_what_a_model_file_quotes_is_cut_and_escaped(model, capsys):
    trainer, extra = saving.read(model)
    for change in (
        {"target": {"task": "\x1b[2J" + LONG}},
        {"scores": {"\x1b[2J" + LONG: {}}},
        {"columns": [{"kind": "\x1b[2J" + LONG}]},
        {"missing": "\x1b[2J" + LONG},
    ):
        saving.write(model, trainer, {KEY: extra[KEY] | change})
        assert cli.main(["info", str(model)]) == 2
        said = capsys.readouterr().err
        assert len(said) < 500
        assert said.removesuffix("\n").isprintable()


def test_what_a_model_file_names_is_cut_and_escaped(model, capsys):
    """A table may have such names, so a model file with them is valid."""
    names = [f"\x1b[2J{i}{LONG}" for i in range(9)]
    trainer = Trainer(
        [9, 9], output_activation="softmax", loss="cross_entropy", seed=0, backend="numpy"
    )
    made = Model(
        trainer,
        (TextColumn(names[1], tuple(names[:8]), False), NumberColumn("n", 1.0, 1.0, 0.5, False)),
        Classes(names[0], tuple(names)),
        Reading(missing=(*names,)),
        {},
    )
    made.save(model)
    assert cli.main(["info", str(model)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) < 2500
    assert all(map(str.isprintable, lines))
    assert r"\x1b[2J0xxx" in lines[3]


@pytest.mark.parametrize("name", ["total sales", LONG, "\x1b[2J"])
def test_options_in_messages_can_be_typed_or_are_cut(name):
    said = typed("--keep", name)
    assert said == "--keep 'total sales'" if name == "total sales" else len(said) < 220
    assert said.isprintable()


# Model files.


NUMBER = [
    {"name": 5},
    {"name": None},
    {"name": ""},
    {"spread": 0.0},
    {"spread": -1.0},
    {"spread": True},
    {"mean": "1"},
    {"mean": 10**400},
    {"median": float("inf")},
    {"missing": 1},
    {"kind": "text"},
    {"kind": ["number"]},
    {"more": 1},
]
TEXT = [
    {"categories": "ab"},
    {"categories": ["a", "a"]},
    {"categories": ["a", 1]},
    {"categories": ["", "a"]},
    {"categories": {"a": 1}},
    {"name": ["t"]},
    {"missing": None},
    {"kind": "number"},
]
TARGET = [
    {"task": "matrix"},
    {"name": 1},
    {"labels": ["no", "no"]},
    {"labels": ["no", 1]},
    {"labels": ["no", ""]},
    {"labels": [True, False]},
    {"labels": [10**400, 1]},
    {"kind": ["text"]},
    {"kind": "boolean"},
    {"kind": "boolean", "labels": ["False", "true"]},
    {"kind": "integer", "labels": ["1", "01"]},
    {"kind": "integer", "labels": ["1", "1_0"]},
    {"kind": "integer", "labels": ["1", "\u0661"]},
    {"kind": "number", "labels": ["1", "nan"]},
    {"kind": "number", "labels": ["1", "1e999999"]},
    {"kind": "number", "labels": ["1", " 2"]},
    {"more": 1},
]
QUANTITY = [{"spread": 0.0}, {"spread": "1"}, {"mean": 10**400}, {"mean": None}, {"name": []},
            {"labels": ["a", "b"]}]  # fmt: skip
READING = [
    {"text": "t"},
    {"text": [1]},
    {"signs": {"n": 1}},
    {"signs": [["n", "$"]]},
    {"points": {"n": "x"}},
    {"points": {"n": None}},
    {"thousands": "."},
    {"more": 1},
]
SCORES = [
    [1],
    {"accuracy": 1.0},
    {"accuracy": [1.0]},
    {"accuracy": {"training": "1"}},
    {"accuracy": {"training": True}},
    {"accuracy": {"training": 10**400}},
    {"accuracy": {"\x1b[2J": 1.0}},
    {"more": {"training": 1.0}},
    {"accuracy": {"training": 1.5, "baseline": 0.5}},
    {"accuracy": {"training": -0.5, "baseline": 0.5}},
    {"accuracy": {"training": float("nan"), "baseline": 0.5}},
    {"accuracy": SCORED["accuracy"]},
    SCORED | {"log loss": {"training": -0.1, "baseline": 0.7}},
    SCORED | {"log loss": {"training": 0.1}},
    SCORED | {"log loss": {"training": 1e308, "baseline": 0.7}},
    {name: {"training": 0.5} for name in SCORED},
    {name: {"training": 0.5, "validation": 0.5} for name in SCORED},
    {"R2": {"training": 0.5, "baseline": 0.5}},
]


C = targets.to_json(Classes("y", ("a", "b"))) | {"labels": ["a", "b"]}
N, T = columns.to_json((NumberColumn("n", 1.0, 1.0, 0.5, True), TextColumn("t", ("a", "b"), True)))
READERS = {
    "number": (lambda item: columns.from_json([item]), N, NUMBER),
    "text": (lambda item: columns.from_json([item]), T | {"categories": ["a", "b"]}, TEXT),
    "classes": (targets.from_json, C, TARGET),
    "quantity": (targets.from_json, targets.to_json(Quantity("y", 1.0, 2.0)), QUANTITY),
    "reading": (lambda item: reading.from_json(item, ()), Reading(decimal=".").to_json(), READING),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "change"), [(kind, change) for kind in READERS for change in READERS[kind][2]], ids=str
)
def test_what_no_command_writes_is_refused(kind, change):
    read, item, _ = READERS[kind]
    read(item)
    with pytest.raises((ValueError, KeyError, TypeError)):
        read({**item, **change})


@pytest.mark.parametrize("item", SCORES, ids=str)
def test_scores_that_no_command_writes_are_refused(item):
    with pytest.raises(ValueError, match=r"must be|which this version does not know"):
        scores.from_json(item, "classification")


def test_scores_of_quantities():
    item = {name: {"training": 0.5, "baseline": 0.5} for name in scores.MEASURES["regression"]}
    assert scores.from_json(item, "regression") == item
    assert scores.from_json({}, "regression") == {}
    for measure, value in (("R2", 1.5), ("mean absolute error", -1.0)):
        bad = item | {measure: {"training": value, "baseline": 0.5}}
        with pytest.raises(ValueError, match="training must be a number from"):
            scores.from_json(bad, "regression")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"more": 1}, "its settings name 'more'"),
        ({"target": {"task": "classification", "name": "t", "labels": ["a", "b"], "kind": "text"}},
         "the target 't' is one of its columns"),
        ({"target": {"task": "regression", "name": "y", "mean": 0.0, "spread": 1.0}, "scores": {}},
         "regression with the output activation 'sigmoid'"),
    ],
    ids=["more", "target", "activation"],
)  # fmt: skip
def test_parts_of_a_model_file_that_do_not_go_together(model, capsys, change, words):
    trainer, extra = saving.read(model)
    saving.write(model, trainer, {KEY: extra[KEY] | change})
    assert cli.main(["info", str(model)]) == 2
    assert words in capsys.readouterr().err


def test_columns_of_one_name_are_refused():
    column = columns.to_json((NumberColumn("n", 1.0, 1.0, 0.5, True),))[0]
    with pytest.raises(ValueError, match="two columns have the same name"):
        columns.from_json([column, column])


def test_a_model_comes_back(model):
    made = models.load(model)[1]
    assert made.missing == ("?", "?")
    assert made.reading.signs == {"n": "$"}
    assert made.scores == SCORED
    assert made.target == Classes("y", ("no", "yes"))
    assert [column.name for column in made.columns] == ["n", "t"]


# Where files are written.


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_place_that_may_not_be_written_to_is_refused_before_the_work(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    path.chmod(0o444)
    with pytest.raises(
        RefusedError, match=re.escape(f"--out {path} cannot be written: Permission")
    ):
        files.check("--out", path)
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(RefusedError, match="cannot be written: Permission"):
        files.check("--out", link)


def test_many_columns_are_named_in_part():
    frame = pd.DataFrame(np.zeros((1, 500)), columns=[f"c{i}" for i in range(500)])
    made = tuple(NumberColumn(f"n{i}", 1.0, 1.0, 0.5, True) for i in range(500))
    with pytest.raises(RefusedError, match=r"'n19' and 480 more; there are 'c0'") as caught:
        columns.transform(made, frame, print)
    assert len(str(caught.value)) < 500
