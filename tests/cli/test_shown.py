"""What reaches the terminal of what files hold, and model files that no command writes."""

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
from jitprop.cli.refused import RefusedError
from jitprop.cli.targets import Classes, Quantity
from jitprop.files import saving

LONG = "x" * 100_000


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model file in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    trainer = Trainer([3, 1], seed=0, backend="numpy", dtype="float32")
    made = Model(
        trainer,
        (NumberColumn("n", 1.0, 1.0, 0.5, False), TextColumn("t", ("a", "b"), False)),
        Classes("y", ("no", "yes")),
        Reading(".", "", ("?", "?"), text=("t",), signs={"n": "$"}, points={"n": ","}),
        {"accuracy": {"training": 1.0, "baseline": 0.5}},
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


def test_predictions_are_escaped_in_a_terminal_alone(monkeypatch, capsys):
    frame = pd.DataFrame({"kind": ["a\x1b[2J", "b\x9b\u202e,"]})
    files.write_table(frame, None)
    assert capsys.readouterr().out == 'kind\na\x1b[2J\n"b\x9b\u202e,"\n'
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


# Model files.


NUMBER = [
    {"name": 5},
    {"name": None},
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
    {"labels": [True, False]},
    {"labels": [10**400, 1]},
    {"kind": ["text"]},
]
QUANTITY = [{"spread": 0.0}, {"spread": "1"}, {"mean": 10**400}, {"mean": None}, {"name": []}]
READING = [
    {"text": "t"},
    {"text": [1]},
    {"signs": {"n": 1}},
    {"signs": [["n", "$"]]},
    {"points": {"n": "x"}},
    {"points": {"n": None}},
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
        scores.from_json(item)


def test_columns_of_one_name_are_refused():
    column = columns.to_json((NumberColumn("n", 1.0, 1.0, 0.5, True),))[0]
    with pytest.raises(ValueError, match="two columns have the same name"):
        columns.from_json([column, column])


def test_a_model_comes_back(model):
    made = models.load(model)[1]
    assert made.missing == ("?", "?")
    assert made.reading.signs == {"n": "$"}
    assert made.scores == {"accuracy": {"training": 1.0, "baseline": 0.5}}
    assert made.target == Classes("y", ("no", "yes"))
    assert [column.name for column in made.columns] == ["n", "t"]


# Places.


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
