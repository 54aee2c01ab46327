"""What `jitprop train` shows beside its scores: boosted trees and the importance of each column."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss, root_mean_squared_error

from jitprop.cli import boosting, importances, main, models, pictures, training

TRAIN = "train", "t.csv", "--epochs", "20", "--hidden", "8"


@pytest.fixture(autouse=True)
def table(tmp_path, monkeypatch, rng):
    """A table whose target depends on `strong`, on `colour`, and not on `noise`."""
    monkeypatch.chdir(tmp_path)
    n = 200
    frame = pd.DataFrame(
        {
            "noise": rng.normal(size=n),
            "strong": rng.normal(size=n),
            "colour": rng.choice(["red", "green", "blue"], n),
        }
    )
    frame["y"] = 5 * frame["strong"] + (frame["colour"] == "red") + rng.normal(size=n) / 10
    frame["kind"] = pd.cut(frame["y"], [-np.inf, -1, 1, np.inf], labels=["low", "mid", "high"])
    frame["two"] = np.where(frame["y"] > 0, "up", "down")
    frame.loc[::9, "noise"] = None
    frame.loc[1::9, "colour"] = None
    frame.to_csv("t.csv", index=False)
    return frame


def run(capsys, *arguments, code=0):
    assert main((*TRAIN, *arguments)) == code
    return capsys.readouterr()


def others(target):
    return "--target", target, "--drop", ",".join({"y", "kind", "two"} - {target})


def rows_of(printed, name):
    """The numbers in a row of the printed scores."""
    return re.search(rf"{name} +(.*)", printed)[1].split()


@pytest.mark.parametrize("target", ["y", "kind", "two"])
def test_boosted_trees_are_scored_on_the_same_held_out_rows(capsys, table, target):
    out, _ = run(capsys, *others(target), "--seed", "3", "--no-plot")
    name = "root mean squared error" if target == "y" else "log loss"
    _, validation, _, comp = rows_of(out, name)
    assert re.search(r"baseline +boosted trees", out)
    _, model = models.load(Path("model.safetensors"))
    assert f"{model.scores[name]['validation']:.4g}" == validation
    assert "boosted trees" not in model.scores[name]

    groups = np.zeros(len(table)) if target == "y" else pd.factorize(table[target], sort=True)[0]
    rows, held_out = training.split(groups, 0.2, 3)
    X = table[["noise", "strong", "colour"]].copy()
    X["colour"] = X["colour"].fillna("zzz").astype("category").cat.codes
    kind = HistGradientBoostingRegressor if target == "y" else HistGradientBoostingClassifier
    trees = kind(categorical_features=[False, False, True], random_state=3)
    y = table[target].astype(object if target != "y" else float)
    trees.fit(X.iloc[rows].to_numpy(float), y.iloc[rows])
    X_held_out = X.iloc[held_out].to_numpy(float)
    if target == "y":
        ref = root_mean_squared_error(y.iloc[held_out], trees.predict(X_held_out))
    else:
        ref = log_loss(y.iloc[held_out], trees.predict_proba(X_held_out))
    assert float(comp) == pytest.approx(ref, rel=1e-3)


@pytest.mark.long
def test_a_class_of_one_row_does_not_stop_the_trees_of_a_long_table(capsys, rng):
    n = 10_100
    frame = pd.DataFrame({"x": rng.normal(size=n), "y": rng.choice(["a", "b"], n)})
    frame.loc[5, "y"] = "rare"
    frame.to_csv("t.csv", index=False)
    out, _ = run(capsys, "--target", "y", "--epochs", "1", "--validation", "0.001", "--no-plot")
    assert "boosted trees" in out


def test_without_scikit_learn_or_held_out_rows_there_are_no_trees(capsys, monkeypatch):
    assert "boosted" not in run(capsys, *others("y"), "--validation", "0", "--no-plot")[0]
    with monkeypatch.context() as patch:
        patch.setattr(boosting, "WORK", 1.0)
        assert "boosted" not in run(capsys, *others("y"), "--no-plot")[0]
    assert "boosted" in run(capsys, *others("y"), "--no-plot")[0]
    monkeypatch.setitem(sys.modules, "sklearn", None)
    out, err = run(capsys, *others("y"), "--no-plot")
    assert "baseline" in out
    assert "boosted" not in out
    assert err == ""


@pytest.mark.parametrize("target", ["y", "kind"])
def test_importances_are_the_rise_of_the_loss_if_a_column_is_shuffled(capsys, table, target):
    out, _ = run(capsys, *others(target), "--no-plot")
    name = "root mean squared error" if target == "y" else "log loss"
    assert f"The {name} rises so much if a column's values are shuffled" in out
    found = dict(re.findall(r"^  (noise|strong|colour) +(\S+)", out, re.MULTILINE))
    assert next(iter(found)) == "strong"

    # By hand: shuffle the column in the table, and predict with the model.
    groups = np.zeros(len(table)) if target == "y" else pd.factorize(table[target], sort=True)[0]
    _, rows = training.split(groups, 0.2, 0)
    held_out = table.iloc[rows].reset_index(drop=True)
    rng = np.random.default_rng(0)
    shuffles = [rng.permutation(len(rows)) for _ in range(importances.REPEATS)]

    def loss(frame):
        frame.drop(columns=["y", "kind", "two"]).to_csv("new.csv", index=False)
        arguments = ["--proba"] if target == "kind" else []
        main(["predict", "model.safetensors", "new.csv", "--out", "p.csv", "--quiet", *arguments])
        made = pd.read_csv("p.csv")
        if target == "y":
            return root_mean_squared_error(held_out["y"], made["y"])
        true = [made.loc[i, f"kind={label}"] for i, label in enumerate(held_out["kind"])]
        return -np.mean(np.log(true))

    for column, printed in found.items():
        rises = []
        for shuffle in shuffles:
            shuffled = held_out.copy()
            shuffled[column] = held_out[column].to_numpy()[shuffle]
            rises.append(loss(shuffled) - loss(held_out))
        assert float(printed) == pytest.approx(np.mean(rises), rel=2e-3, abs=1e-6)


def test_importances_of_many_rows_are_measured_on_some_or_not_at_all(capsys, monkeypatch):
    options = *others("y"), "--no-plot", "--optimizer", "adam"
    assert "shuffled" in run(capsys, *options)[0]
    n = 3 * importances.REPEATS * models.load(Path("model.safetensors"))[0].parameters.size
    sizes = []
    measure = importances.scores.measure

    def noted(target, y, outputs):
        sizes.append(len(y))
        return measure(target, y, outputs)

    monkeypatch.setattr(importances, "FEW_ROWS", 10)
    monkeypatch.setattr(importances.scores, "measure", noted)
    monkeypatch.setattr(importances, "WORK", 12 * n)
    assert "shuffled" in run(capsys, *options)[0]
    assert sizes.count(12) == 16
    monkeypatch.setattr(importances, "WORK", 9 * n)
    assert "shuffled" not in run(capsys, *options)[0]


def test_only_the_columns_that_matter_most_are_printed(capsys, rng):
    frame = pd.DataFrame(rng.normal(size=(100, 14)), columns=[f"c{i}" for i in range(14)])
    frame.assign(y=frame["c13"]).to_csv("t.csv", index=False)
    out, _ = run(capsys, "--target", "y", "--no-plot")
    assert len(re.findall(r"^  c\d+ ", out, re.MULTILINE)) == 10
    assert re.search(r"^  c13 ", out, re.MULTILINE)
    assert "4 more columns matter less" in out


@pytest.mark.parametrize("target", ["y", "two"])
@pytest.mark.parametrize("validation", ["0.2", "0"])
def test_the_picture_shows_both(capsys, monkeypatch, target, validation):
    from matplotlib.figure import Figure

    figures = []
    savefig = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: figures.append(self) or savefig(self, *a, **k)
    )
    run(capsys, *others(target), "--quiet", "--validation", validation)
    (figure,) = figures
    _, _, scores, columns = figure.axes[:4]
    bars = [label.get_text() for label in scores.get_yticklabels()]
    assert bars == (["net", "boosted trees", "baseline"] if validation != "0" else
                    ["net", "baseline"])  # fmt: skip
    named = [label.get_text() for label in columns.get_yticklabels()]
    assert sorted(named) == ["colour", "noise", "strong"]
    assert named[0] == "strong"


def test_quiet_without_a_picture_does_not_find_out_what_nobody_sees(capsys, monkeypatch):
    def called(*_):
        raise AssertionError("it was found out")

    monkeypatch.setattr(boosting, "score", called)
    monkeypatch.setattr(importances, "measure", called)
    assert run(capsys, *others("y"), "--quiet", "--no-plot") == ("", "")


def test_ctrl_c_during_the_trees_keeps_the_model(capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(boosting, "score", interrupted)
    _, err = run(capsys, *others("y"), "--no-plot", code=130)
    assert err == "error: interrupted; the model after 20 epochs is in model.safetensors\n"
    assert models.load(Path("model.safetensors"))[1].scores


def test_bars_of_extreme_numbers_have_a_unit():
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert pictures._draw_bars(ax, {"a": 3e300, "b": 1e300}) == 1e300
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([3.0, 1.0])
    assert pictures._in_units("loss", 1e300) == "loss / 1e+300"
    assert pictures._in_units("loss", 1.0) == "loss"
