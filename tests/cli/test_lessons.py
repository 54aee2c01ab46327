"""``jitprop lesson``: the notebooks and small tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jitprop.cli import lessons, main


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_notebook(capsys):
    assert main(["lesson", "xor", "--out", "page.html", "--epochs", "5"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("wrote page.html (")
    assert "Epoch" in Path("page.html").read_text("utf-8")
    assert main(["lesson", "one-step", "--epochs", "5", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert Path("one-step.html").exists()


def test_the_xor_lesson_starts_with_the_weights_of_the_notebook():
    np.random.seed(1)
    drawn = [np.random.rand(*shape) for shape in ((3, 4), (4,), (4, 1), (1,))]
    trainer = lessons.xor().parts[0]
    assert np.array_equal(trainer.parameters, np.concatenate([part.ravel() for part in drawn]))


@pytest.mark.parametrize(
    ("targets", "loss", "sizes"),
    [
        ("1 0 0 1", "binary_cross_entropy", [2, 4, 1]),
        ("no yes yes no", "binary_cross_entropy", [2, 4, 1]),
        ("a b c a", "cross_entropy", [2, 4, 3]),
        ("1.5 2 3 4.25", "half_squared_error", [2, 4, 1]),
    ],
)
def test_a_table(targets, loss, sizes):
    rows = zip(("0,0", "0,1", "1,0", "1,1"), targets.split(), strict=True)
    Path("points.csv").write_text("left,right,kind\n" + "".join(f"{x},{y}\n" for x, y in rows))
    plan = lessons.of_table(Path("points.csv"))
    trainer, X, y = plan.parts
    assert trainer.loss.name == loss
    assert list(trainer.layer_sizes) == sizes
    assert plan.input_names == ["left", "right"]
    assert np.array_equal(np.array(X), [[-1, -1], [-1, 1], [1, -1], [1, 1]])
    assert np.shape(y)[0] == 4
    command = ["lesson", "points.csv", "--epochs", "3", "--hidden", "3,2", "--seed", "4"]
    assert main([*command, "--activation", "relu", "--learning-rate", "0.01"]) == 0
    assert Path("points.html").exists()


def test_another_column_may_be_the_target():
    Path("points.csv").write_text("kind,a\nx,1\ny,2\n")
    _, X, y = lessons.of_table(Path("points.csv"), target="kind").parts
    assert (X, y) == ([[-1.0], [1.0]], [[0.0], [1.0]])


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (
            None,
            ["none.csv"],
            "there is no lesson and no file 'none.csv'; lessons are xor, one-step",
        ),
        ("a,b\n1,2\n", ["xor", "--hidden", "3"], "--hidden goes with a table, not with the lesson"),
        ("a,b\n", ["t.csv"], "needs the names of its columns, and rows"),
        ("a,b\n1,2\n3\n", ["t.csv"], "row 3: 1 fields under 2 names"),
        ("a,b\nx,2\ny,3\n", ["t.csv"], "row 2: the column 'a' must hold numbers; got 'x'"),
        ("a,b\n1,2\n", ["t.csv", "--target", "c"], "has no column 'c'; it has 'a', 'b'"),
        ("a,a\n1,2\n", ["t.csv"], "each with a name of its own"),
        ("a,b\n" + "1,2\n" * 201, ["t.csv"], "at most 200 rows, since a lesson shows each"),
        ("a,b\n1,x\n2,x\n", ["t.csv"], "must have 2 to 10 classes, or numbers; it has 1"),
        ("a,b\n1,2\n2,3\n", ["t.csv", "--hidden", "13"], "at most 12 units in each layer"),
        ("a,b\n1,2\n2,3\n", ["t.csv", "--activation", "rule"], "activation"),
    ],
)
def test_bad_input_is_one_line(text, arguments, message, capsys):
    if text is not None:
        Path("t.csv").write_text(text)
    assert main(["lesson", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not list(Path().glob("*.html"))
