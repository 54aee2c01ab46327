"""`jitprop train` without --fast: the nets of `jitprop.tabular`, their files and their columns."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_iris, load_wine

from jitprop import Trainer
from jitprop.cli import main, models, tabular
from jitprop.files import sealed
from jitprop.tabular import TabularClassifier, TabularRegressor, saving

EPOCHS = 4
QUICK = "--epochs", str(EPOCHS), "--no-plot"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def made(n=150):
    """A table with all kinds of columns, and gaps."""
    rng = np.random.default_rng(0)
    words = ["good", "bad", "quick", "slow", "blue sky", "rain", "very"]
    frame = pd.DataFrame(
        {
            "id": np.arange(n) + 1000,
            "when": pd.date_range("2023-01-01", periods=n, freq="31h"),
            "size": rng.normal(50, 10, n),
            "colour": rng.choice(["red", "green", "blue"], n),
            "old": rng.random(n) < 0.5,
            "note": [" ".join(rng.choice(words, 6)) for _ in range(n)],
            "zip": rng.integers(10_000, 10_250, n).astype(str),
            "title": [*["True", "once", "twice"] * (n // 3)],
        }
    )
    frame["y"] = 2 * frame["size"] + 10 * (frame["colour"] == "red") + rng.normal(size=n)
    for first, name in enumerate(["size", "colour", "when", "note"]):
        frame.loc[first::9, name] = None
    frame["kind"] = np.where(frame["y"] > 113, "big", "small")
    return frame


def run(capsys, *arguments, code=0):
    assert main(arguments) == code
    return capsys.readouterr()


def refused(capsys, *arguments):
    out, err = run(capsys, *arguments, code=2)
    assert out == ""
    return err.splitlines()[-1]


def the_tables():
    iris = load_iris(as_frame=True)
    iris = iris.frame.assign(target=iris.target_names[iris.target])
    return {
        "iris": (iris, "target", ()),
        "wine": (load_wine(as_frame=True).frame, "target", ()),
        "diabetes": (load_diabetes(as_frame=True).frame, "target", ()),
        "made": (made().drop(columns="kind"), "y", ("--text", "zip")),
        "classes": (made().drop(columns="y"), "kind", ("--text", "zip")),
    }


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("name", ["iris", "wine", "diabetes", "made", "classes"])
def test_python_and_the_command_line_give_the_same_bits(capsys, name, suffix):
    frame, target, options = the_tables()[name]
    if suffix == "csv":
        frame.to_csv("t.csv", index=False)
    else:
        frame.to_parquet("t.parquet")
    table = f"t.{suffix}"
    run(capsys, "train", table, "--target", target, "--seed", "3", *QUICK, *options)
    X, classes = frame.drop(columns=target), name not in ("diabetes", "made")
    kind = TabularClassifier if classes else TabularRegressor
    model = kind(epochs=EPOCHS, random_state=3).fit(X, frame[target])
    np.testing.assert_array_equal(
        models.load(Path("model.safetensors"))[0].parameters, model.net_.members[0].parameters
    )
    predict = "predict", "model.safetensors", table, "--quiet", "--out", "p.parquet"
    run(capsys, *predict, *(["--proba"] if classes else []))
    comp = pd.read_parquet("p.parquet")
    np.testing.assert_array_equal(comp[target].to_numpy(), model.predict(X))
    if classes:
        columns = [f"{target}={label}" for label in model.classes_]
        np.testing.assert_array_equal(comp[columns].to_numpy(), model.predict_proba(X))
    # The file is one of the estimator's too.
    loaded = kind.load("model.safetensors")
    assert loaded.get_params() == model.get_params() | {"random_state": 3}
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_classes_beyond_int64_stay_integers_in_the_file(capsys):
    frame = made().drop(columns=["y", "kind"])
    frame["y"] = np.where(np.arange(len(frame)) % 2, np.uint64(2**64 - 1), np.uint64(7))
    frame.to_parquet("t.parquet")
    run(capsys, "train", "t.parquet", "--target", "y", *QUICK, "--task", "classification")
    model = TabularClassifier.load("model.safetensors")
    np.testing.assert_array_equal(model.classes_, np.array([7, 2**64 - 1], np.uint64), strict=True)


def test_what_is_printed_of_a_table_of_all_kinds(capsys):
    frame = made()
    frame.to_csv("t.csv", index=False)
    out, err = run(capsys, "train", "t.csv", "--target", "y", "--drop", "kind", *QUICK)
    assert "2 of numbers, 3 of categories, 1 of dates, 1 of text" in out
    assert "-256-256-256-1, " in out
    assert " epochs; the model is the net after epoch" in out
    for name in ("size", "colour", "when", "note", "old", "zip"):
        assert f"\n  {name} " in out
    assert "column 'id' is left out: each row has a different integer, so it looks like ids" in err
    assert "--keep id keeps it" in err
    out, _ = run(capsys, "info", "model.safetensors")
    for words in (
        "trained  ",
        "month, day of week",
        "3 categories: blue",
        "by their parts",
    ):
        assert words in out
    assert "median 5" in out


def test_later_tables_have_gaps_new_categories_and_other_orders(capsys):
    frame = made()
    frame.to_csv("t.csv", index=False)
    run(capsys, "train", "t.csv", "--target", "kind", "--drop", "y", *QUICK, "--text", "zip")
    later = frame.sample(frac=1, random_state=0).iloc[:, ::-1]
    later.loc[later.index[:5], "colour"] = "mauve"
    later.loc[later.index[5:9], "zip"] = None
    later["old"] = later["old"].astype(object)
    later.loc[later.index[9], "old"] = None
    later["when"] = later["when"].dt.strftime("%d.%m.%Y %H:%M:%S")
    later.to_csv("later.csv", index=False)
    run(capsys, "predict", "model.safetensors", "later.csv", "--out", "p.csv", "--quiet")
    model = TabularClassifier.load("model.safetensors")
    given = later.drop(columns=["y", "kind"]).assign(when=frame["when"])[model.feature_names_in_]
    np.testing.assert_array_equal(pd.read_csv("p.csv")["kind"], model.predict(given))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"when": "soon"}, "column 'when' had dates in training; row 1 holds 'soon'"),
        ({"old": "perhaps"}, "column 'old' held booleans in training and holds text now"),
        ({"size": "big"}, "column 'size' must hold numbers; row 1 holds 'big'"),
        ({"size": "inf"}, "row 1 holds 'inf'"),
        ({"size": None, "when": None}, "columns are missing: 'when', 'size'"),
    ],
)
def test_columns_that_changed_are_named(capsys, change, words):
    frame = made()
    frame.to_csv("t.csv", index=False)
    run(capsys, "train", "t.csv", "--target", "y", "--drop", "kind", *QUICK)
    gone = [name for name, value in change.items() if value is None]
    frame = frame.assign(**change).drop(columns=gone)
    frame.to_csv("t.csv", index=False)
    assert words in refused(capsys, "predict", "model.safetensors", "t.csv", "--quiet")


@pytest.mark.parametrize(
    "options",
    [
        ("--fast",),
        ("--hidden", "64,32"),
        ("--activation", "relu"),
        ("--optimizer", "adam"),
        ("--learning-rate", "0.003"),
        ("--weight-decay", "0.01"),
        ("--batch-size", "16"),
        ("--patience", "30"),
        ("--dtype", "float32"),
    ],
)
def test_any_option_of_the_small_net_means_fast(capsys, options):
    load_iris(as_frame=True).frame.to_csv("t.csv", index=False)
    run(capsys, "train", "t.csv", "--target", "target", *QUICK, *options)
    assert models.load(Path("model.safetensors"))[0].layer_sizes == (4, 64, 32, 3)


def test_keep_text_drop_and_validation_keep_their_sense(capsys):
    frame = made()
    frame["when"] = frame["when"].dt.strftime("%Y-%m-01")
    frame.to_csv("t.csv", index=False)
    out, err = run(
        capsys, "train", "t.csv", "--target", "y", "--drop", "kind,note", "--keep", "id",
        "--text", "when", "--validation", "0", *QUICK,
    )  # fmt: skip
    assert "left out" not in err
    assert f"{EPOCHS} epochs on all rows" in out
    assert "validation" not in out
    _, model = models.load(Path("model.safetensors"))
    kinds = {column.name: column.kind for column in model.columns}
    assert (kinds["id"], kinds["when"]) == ("number", "category")
    assert "note" not in kinds
    assert set(model.scores["R2"]) == {"training", "baseline"}


def test_without_scikit_learn_long_texts_are_left_out_with_a_word(capsys, monkeypatch):
    made().to_csv("t.csv", index=False)
    run(capsys, "train", "t.csv", "--target", "y", *QUICK, "--quiet", "--out", "with")
    for name in ("sklearn", "sklearn.feature_extraction.text", "sklearn.decomposition"):
        monkeypatch.setitem(sys.modules, name, None)
    options = "--target", "y", "--drop", "kind", *QUICK
    _, err = run(capsys, "train", "t.csv", *options)
    assert "column 'note' is left out: it holds 133 different texts" in err
    assert "pip install 'jitprop[sklearn]'" in err
    run(capsys, "predict", "model.safetensors", "t.csv", "--out", "p.csv", "--quiet")
    line = refused(capsys, "predict", "with", "t.csv", "--quiet")
    assert "column 'note' holds texts, which need scikit-learn" in line
    run(capsys, "train", "t.csv", *options, "--keep", "note", "--quiet")
    columns = {column.name: column for column in models.load(Path("model.safetensors"))[1].columns}
    assert (columns["note"].kind, columns["note"].n_inputs) == ("category", 100)


@pytest.mark.parametrize("target", ["y", "kind"])
def test_ctrl_c_keeps_what_was_learned(capsys, monkeypatch, target):
    made().to_csv("t.csv", index=False)
    fit = Trainer.fit

    def interrupted(self, X, y, epochs, **kwargs):
        fit(self, X, y, 2, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "fit", interrupted)
    other = {"y": "kind", "kind": "y"}[target]
    _, err = run(
        capsys, "train", "t.csv", "--target", target, "--drop", other, *QUICK, "--quiet", code=130
    )
    assert err == "error: interrupted; the model after 2 epochs is in model.safetensors\n"
    _, model = models.load(Path("model.safetensors"))
    assert model.epochs == 2
    assert model.scores
    run(capsys, "predict", "model.safetensors", "t.csv", "--out", "p.csv", "--quiet")


def test_a_model_too_large_for_its_file_is_refused_before_training(capsys, monkeypatch):
    def fit(*_, **__):
        raise AssertionError("it trained")

    monkeypatch.setattr(Trainer, "fit", fit)
    monkeypatch.setattr(sealed, "MAX_HEADER", 3000)
    made().to_csv("t.csv", index=False)
    line = refused(capsys, "train", "t.csv", "--target", "y", *QUICK, "--quiet")
    assert "leave some out with --drop" in line
    assert not Path("model.safetensors").exists()


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ([True, False], "boolean"),
        ([3, 10, 2], "integer"),
        ([0.5, 10.0, 2.5], "number"),
        (["1.10", "1.1", "02"], "text"),
        ([2**63 + 5, 7], "integer"),
    ],
)
def test_labels_come_back_as_the_table_spells_them(capsys, rng, labels, kind):
    which = rng.integers(len(labels), size=60)
    frame = pd.DataFrame({"x": which + rng.normal(size=60) / 50, "y": [labels[i] for i in which]})
    frame.to_csv("t.csv", index=False)
    options = "--target", "y", "--task", "classification", "--epochs", "60", "--no-plot"
    run(capsys, "train", "t.csv", *options)
    assert models.load(Path("model.safetensors"))[1].target.kind == kind
    run(capsys, "predict", "model.safetensors", "t.csv", "--out", "p.csv", "--proba", "--quiet")
    comp = pd.read_csv("p.csv", dtype=str, keep_default_na=False)
    assert (comp["y"] == pd.read_csv("t.csv", dtype=str)["y"]).mean() > 0.9
    named = comp.filter(like="=").astype(float).idxmax(axis=1).str.removeprefix("y=")
    assert (named == comp["y"]).all()


def test_tables_that_teach_nothing(capsys):
    for content, words in (
        ("x,y\n1,a\n2,b\n3,a\n4,b\n", "4 rows with a target are too few to learn from, of which"),
        ("x,y\n1,a\n", "1 row with a target is too few to learn from, of which"),
        ("x,y\n1,a\n2,b\n1,c\n2,d\n1,e\n", "each row has another value of the target 'y'"),
        ("y\n" + "a\nb\n" * 5, "no column is left to learn from except the target"),
        ("x,y\n" + "1,a\n1,b\n" * 5, "the table has no column to learn from"),
        ("x,y\n" + "".join(f"{i},{i}\n" for i in range(9)) + "1e999,1\n", "row 10 holds"),
    ):
        Path("t.csv").write_text(content)
        assert words in refused(capsys, "train", "t.csv", "--target", "y", *QUICK, "--quiet")
        assert not Path("model.safetensors").exists()


def test_ids_alone_are_used_and_named(capsys):
    Path("t.csv").write_text("id,y\n" + "".join(f"{i},{i}.5\n" for i in range(40)))
    told = run(capsys, "train", "t.csv", "--target", "y", *QUICK)[1]
    words = "column 'id' looks like ids, but the table has no other column to learn from"
    assert words in " ".join(told.split())


def test_a_long_training_is_announced(capsys, monkeypatch):
    made().to_csv("t.csv", index=False)
    options = "train", "t.csv", "--target", "y", *QUICK
    assert "minutes" not in run(capsys, *options)[1]
    monkeypatch.setattr(tabular, "LONG", 1e6)
    assert "note: training will take minutes; --fast trains a small" in run(capsys, *options)[1]


def test_a_file_saved_in_python_is_shown_but_does_not_predict(capsys):
    frame = made().drop(columns="kind")
    frame.to_csv("t.csv", index=False)
    TabularRegressor(epochs=1, hidden=4, random_state=0).fit(frame, frame["y"]).save("m")
    assert "-4-1" in run(capsys, "info", "m")[0]
    line = refused(capsys, "predict", "m", "t.csv")
    assert line.endswith("it was saved in Python; the load of its estimator reads it")


@pytest.mark.parametrize(
    "change",
    [
        lambda extra: extra["jitprop.cli"].update(target={"task": "regression"}),
        lambda extra: extra["jitprop.cli"]["target"].update(labels=["a", "b", "c"]),
        lambda extra: extra["jitprop.cli"]["target"].update(name="size"),
        lambda extra: extra["jitprop.cli"].update(epochs=-1),
        lambda extra: extra["jitprop.cli"].update(epochs="4"),
        lambda extra: extra["jitprop.cli"].update(scores={"accuracy": {"training": 2.0}}),
        lambda extra: extra["jitprop.cli"].update(more=1),
        lambda extra: extra["jitprop.cli"].pop("reading"),
        lambda extra: extra["jitprop.cli"]["reading"].update(day_first=[1]),
    ],
)
def test_an_altered_file_is_refused(capsys, change):
    made(60).to_csv("t.csv", index=False)
    run(capsys, "train", "t.csv", "--target", "kind", "--epochs", "1", "--no-plot", "--quiet")
    net, extra = saving.read("model.safetensors")
    extra = json.loads(json.dumps(extra))
    saving.write("same", net, extra)
    run(capsys, "info", "same")
    change(extra)
    saving.write("altered", net, extra)
    assert "does not say which columns" in refused(capsys, "info", "altered")
