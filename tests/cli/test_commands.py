"""The commands, run in this process: their files, messages and exit codes."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jitprop import Trainer
from jitprop.cli import columns, main, models, training
from jitprop.cli.models import KEY
from jitprop.files import saving

QUICK = "--epochs", "3", "--no-plot", "--hidden", "4"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(rng, n=60):
    """A table of numbers, text, booleans, missing values, an id, a date and a constant."""
    size, colour = rng.normal(50, 10, n), rng.choice(["red", "green, dark", "blue"], n)
    frame = pd.DataFrame(
        {
            "id": [f"k{i}" for i in range(n)],
            "when": pd.date_range("2024-01-01", periods=n).astype(str),
            "size [cm]": size,
            "colour": colour,
            "old": rng.random(n) < 0.5,
            "always": 1,
        }
    )
    frame["price"] = 3 * size + 50.0 * (colour == "red") + rng.normal(0, 1, n)
    frame["kind"] = np.where(frame["price"] > 165, "big", "small")
    frame.loc[::7, "size [cm]"] = None
    frame.loc[3::9, "colour"] = None
    return frame


@pytest.fixture
def frame(rng):
    made = table(rng)
    made.to_csv("data.csv", index=False)
    return made


def run(capsys, *arguments, code=0):
    """Run a command; return what it wrote to stdout and to stderr."""
    assert main(arguments) == code
    return capsys.readouterr()


def refused(capsys, *arguments):
    """Return the one line of a command that fails; it must write nothing to stdout."""
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    out, err = run(capsys, *arguments, code=2)
    assert out == ""
    *notes, line = err.splitlines()
    assert all(note.startswith("note: ") for note in notes)
    assert line.startswith("error: ")
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before
    return line


def test_train_info_predict(capsys, frame):
    out, err = run(
        capsys, "train", "data.csv", "--target", "kind", "--drop", "price", "--epochs", "40",
        "--fast",
    )  # fmt: skip
    assert "kind: classification, 2 classes: big, small" in out
    assert "60 rows" in out
    assert "1 of numbers, 2 of text: 8 inputs" in out
    assert "accuracy" in out
    for name in ("id", "when", "always"):
        assert f"column '{name}' is left out" in err
    assert Path("model.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in Path().iterdir()) == [
        "data.csv", "model.png", "model.safetensors",
    ]  # fmt: skip

    out, _ = run(capsys, "info", "model.safetensors")
    for word in ("8-64-32-1", "kind", "big, small", "size [cm]", "red", "missing", "40"):
        assert word in out

    out, err = run(capsys, "predict", "model.safetensors", "data.csv", "--proba")
    assert "'id', 'when', 'always', 'price', 'kind'" in err
    made = pd.read_csv(io.StringIO(out))
    assert list(made.columns) == ["kind", "kind=big", "kind=small"]
    assert (made["kind"] == frame["kind"]).mean() > 0.8
    np.testing.assert_allclose(made[["kind=big", "kind=small"]].sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("name", ["price", "kind", "colour"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_predictions_are_the_trainers_own(capsys, frame, name, suffix):
    if suffix == ".parquet":
        frame.to_parquet("data.parquet")
    table = "data" + suffix
    run(capsys, "train", table, "--target", name, "--dtype", "float64", *QUICK, "--quiet")
    trainer, model = models.load(Path("model.safetensors"))
    assert trainer.parameters.dtype == np.float64

    # The inputs by hand, for the model's columns in its order.
    rows = frame[frame[name].notna()].reset_index(drop=True)
    parts = []
    for column in model.columns:
        if column.kind == "number":
            x = rows[column.name].to_numpy(float)
            parts.append((np.where(np.isnan(x), column.median, x) - column.mean) / column.spread)
            if column.missing:
                parts.append(np.isnan(x).astype(float))
        else:
            texts = rows[column.name].astype(object)
            parts += [texts.astype(str).str.lower() == c.lower() for c in column.categories]
            if column.missing:
                parts.append(texts.isna())
    outputs = trainer.predict(np.column_stack(parts).astype(float))
    if name == "price":
        ref = outputs[:, 0] * model.target.spread + model.target.mean
    elif name == "kind":
        ref = np.where(outputs[:, 0] > 0.5, "small", "big")
    else:
        ref = np.array(["blue", "green, dark", "red"])[outputs.argmax(axis=1)]

    # Columns and rows may be in any order.
    shuffled = rows.sample(frac=1, random_state=0).iloc[:, ::-1]
    shuffled.to_csv("new.csv", index=False)
    run(capsys, "predict", "model.safetensors", "new.csv", "--out", "p.csv", "--quiet")
    run(capsys, "predict", "model.safetensors", "new.csv", "--out", "p.parquet", "--quiet")
    for comp in (pd.read_csv("p.csv"), pd.read_parquet("p.parquet")):
        assert list(comp.columns) == [name]
        np.testing.assert_array_equal(comp[name], ref[shuffled.index])


@pytest.mark.parametrize(
    ("mean", "spread"), [(1e9, 1.0), (1e-9, 1e-12), (1.7e9, 100.0), (-1e-9, 1e-9), (0.0, 1e300)]
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_predictions_reach_the_scores_that_training_printed(capsys, rng, mean, spread, suffix):
    x = rng.normal(size=80)
    pd.DataFrame({"x": x, "y": mean + spread * x}).to_csv("t.csv", index=False)
    out, _ = run(
        capsys, "train", "t.csv", "--target", "y", "--validation", "0", "--no-plot",
        "--hidden", "none", "--learning-rate", "0.05", "--epochs", "50",
    )  # fmt: skip
    printed = float(re.search(r"R2 +(\S+)", out)[1])
    assert printed > 0.99
    run(capsys, "predict", "model.safetensors", "t.csv", "--out", "p" + suffix)
    comp = (pd.read_csv if suffix == ".csv" else pd.read_parquet)("p" + suffix)["y"].to_numpy()
    assert comp.dtype == np.float64
    # In units of the spread, since squares of 1e300 overflow.
    y, z = pd.read_csv("t.csv")["y"].to_numpy() / spread, comp / spread
    assert f"{1 - ((y - z) ** 2).sum() / ((y - y.mean()) ** 2).sum():.4g}" == f"{printed:.4g}"


def test_the_same_seed_gives_the_same_net(capsys, frame):
    for out in ("a", "b"):
        run(capsys, "train", "data.csv", "--target", "kind", "--out", out, "--seed", "5", *QUICK)
    a, b = (models.load(Path(name)) for name in ("a", "b"))
    np.testing.assert_array_equal(a[0].parameters, b[0].parameters)
    assert a[1].scores == b[1].scores


def test_quiet_says_nothing(capsys, frame):
    assert run(capsys, "train", "data.csv", "--target", "kind", *QUICK, "--quiet") == ("", "")


def test_settings_reach_the_trainer(capsys, frame):
    run(
        capsys, "train", "data.csv", "--target", "price", "--hidden", "5,3", "--epochs", "2",
        "--learning-rate", "0.01", "--batch-size", "7", "--optimizer", "sgd", "--no-plot",
        "--activation", "tanh", "--validation", "0", "--weight-decay", "0.5", "--out", "m",
    )  # fmt: skip
    trainer, _ = models.load(Path("m"))
    assert trainer.layer_sizes[1:] == (5, 3, 1)
    assert trainer.epochs_trained == 2
    assert trainer.learning_rate == 0.01
    spec = trainer._model.spec
    assert (spec.batch_size, spec.optimizer.name, spec.weight_decay) == (7, "sgd", 0.5)
    assert spec.activations == ("tanh", "tanh", "identity")


@pytest.mark.parametrize(
    ("optimizer", "rate"), [("adam", 0.003), ("adamw", 0.003), ("rmsprop", 0.001), ("sgd", 0.1)]
)
def test_each_optimizer_has_its_own_learning_rate(optimizer, rate, capsys, frame):
    run(capsys, "train", "data.csv", "--target", "kind", *QUICK, "--optimizer", optimizer)
    assert models.load(Path("model.safetensors"))[0].learning_rate == rate


def test_no_hidden_layer_is_a_linear_model(capsys, frame):
    run(capsys, "train", "data.csv", "--target", "price", *QUICK, "--hidden", "none")
    assert len(models.load(Path("model.safetensors"))[0].layer_sizes) == 2


def test_training_stops_when_validation_gets_no_better(capsys, rng):
    pd.DataFrame({"x": rng.random(40), "y": rng.random(40)}).to_csv("noise.csv", index=False)
    out, _ = run(capsys, "train", "noise.csv", "--target", "y", "--patience", "5", "--no-plot")
    trainer, _ = models.load(Path("model.safetensors"))
    assert trainer.epochs_trained < 300
    assert f"{trainer.epochs_trained} epochs; the model is the net after epoch" in out


def test_marks_of_missing_values_travel(capsys, rng):
    x = [*map(str, rng.random(30).round(3)), "?"]
    pd.DataFrame({"x": x, "y": rng.random(31)}).to_csv("q.csv", index=False)
    line = refused(capsys, "train", "q.csv", "--target", "y", *QUICK)
    assert "--missing '?'" in line
    run(capsys, "train", "q.csv", "--target", "y", "--missing", "?", *QUICK)
    out, _ = run(capsys, "predict", "model.safetensors", "q.csv")
    assert len(out.splitlines()) == 32


def test_rows_without_a_target_are_left_out_with_a_word(capsys, frame):
    frame.loc[:9, "kind"] = [None, " "] * 5
    frame.to_csv("data.csv", index=False)
    out, err = run(capsys, "train", "data.csv", "--target", "kind", *QUICK)
    assert "rows without a value of the target 'kind' are left out: 10" in err
    assert "50 rows" in out


def test_a_class_with_one_member_is_trained_on(capsys, frame):
    frame.loc[5, "kind"] = "rare"
    frame.to_csv("data.csv", index=False)
    run(capsys, "train", "data.csv", "--target", "kind", *QUICK)
    assert models.load(Path("model.safetensors"))[1].target.labels == ("big", "rare", "small")


def test_names_may_hold_anything(capsys, rng):
    wild = "$\\alpha$ [bold]\u00e9\u732b"
    frame = pd.DataFrame({wild: rng.random(30), "y $x^": rng.choice(["$\\b", "[red]"], 30)})
    frame.to_csv("wild.csv", index=False)
    run(capsys, "train", "wild.csv", "--target", "y $x^", "--epochs", "2")
    out, _ = run(capsys, "info", "model.safetensors")
    assert "[bold]" in out
    assert "[red]" in out


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
@pytest.mark.parametrize("target", ["price", "colour"])
def test_pictures(capsys, frame, suffix, target):
    picture = "p" + suffix
    arguments = "--target", target, "--plot", picture, "--epochs", "2", "--validation", "0"
    run(capsys, "train", "data.csv", *arguments)
    assert Path(picture).read_bytes().startswith(b"<?xml" if suffix == ".svg" else b"%PDF")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train"], "Missing argument 'TABLE'"),
        (["train", "data.csv"], "Missing option '--target'"),
        (["train", "none.csv", "--target", "kind"], "cannot read none.csv: No such file"),
        (["train", ".", "--target", "kind"], "cannot read .: Is a directory"),
        (["train", "data.csv", "--target", "Kind"], "the target; did you mean 'kind'? there are"),
        (["train", "data.csv", "--target", "kind", "--drop", "a"], "no column 'a' to drop"),
        (["train", "data.csv", "--target", "kind", "--drop", "kind"], "no column 'kind'"),
        (["train", "data.csv", "--target", "kind", "--task", "regression"], "holds text"),
        (["train", "data.csv", "--target", "when"], "holds dates"),
        (["train", "data.csv", "--target", "always"], "only one value"),
        (["train", "data.csv", "--target", "kind", "--hidden", "64;32"], "such as 64,32"),
        (["train", "data.csv", "--target", "kind", "--hidden", "0"], "such as 64,32"),
        (["train", "data.csv", "--target", "kind", "--epochs", "0"], "'--epochs'"),
        (["train", "data.csv", "--target", "kind", "--learning-rate", "x"], "'--learning-rate'"),
        (["train", "data.csv", "--target", "kind", "--optimizer", "adm"], "did you mean 'adam'"),
        (["train", "data.csv", "--target", "kind", "--activation", "rel"], "did you mean 'relu'"),
        (["train", "data.csv", "--target", "kind", "--validation", "1"], "'--validation'"),
        (["train", "data.csv", "--target", "kind", "--out", "no/model"], "there is no folder no"),
        (["train", "data.csv", "--target", "kind", "--out", "."], "is a folder"),
        (["train", "data.csv", "--target", "kind", "--out", "data.csv"], "another file"),
        (["train", "data.csv", "--target", "kind", "--plot", "p.bmp"], "must end in .png"),
        (["train", "data.csv", "--target", "kind", "--out", "m.png"], "another file"),
        (["train", "data.csv", "--target", "price", "--optimizer", "sgd", "--learning-rate", "1e9",
          "--weight-decay", "0", "--quiet"], "smaller --learning-rate"),
        (["predict", "data.csv", "data.csv"], "data.csv"),
        (["predict", "none", "data.csv"], "cannot read none: No such file"),
        (["info", "data.csv"], "data.csv"),
        (["info", "none"], "cannot read none: No such file"),
        (["trian", "data.csv"], "trian"),
        (["train", "data.csv", "--targte", "kind"], "--targte"),
        (["warmup", "now"], "unexpected extra argument"),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_exit_code_2(capsys, frame, arguments, words):
    assert words in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x,y\n1,a\n", "1 row with a target is too few"),
        ("x,y\n1,\n2,\n", "0 rows with a target are too few"),
        ("x,y\n1,a\n2,b\n", "2 rows are too few to hold 1 of them"),
        ("x,y\n1,a\n1,b\n1,a\n1,b\n", "no column is left"),
        ("y\na\nb\na\nb\n", "no column is left"),
        ("x,y\n,a\n,b\n,a\n,b\n", "no column is left"),
        ("x,y,x\n1,2,3\n", "more than one column 'x'"),
    ],
)
def test_tables_that_teach_nothing(capsys, content, words):
    Path("t.csv").write_text(content)
    assert words in refused(capsys, "train", "t.csv", "--target", "y", *QUICK)


def test_predict_names_the_columns_that_are_missing(capsys, frame):
    run(capsys, "train", "data.csv", "--target", "kind", *QUICK)
    frame.drop(columns=["price", "colour"]).to_csv("new.csv", index=False)
    line = refused(capsys, "predict", "model.safetensors", "new.csv", "--out", "p.csv")
    assert "columns are missing: 'colour', 'price'" in line


def test_probabilities_are_for_classes(capsys, frame):
    run(capsys, "train", "data.csv", "--target", "price", *QUICK)
    assert "--proba is for classification" in refused(
        capsys, "predict", "model.safetensors", "data.csv", "--proba"
    )


def test_a_net_saved_in_python_is_shown_but_does_not_predict(capsys, frame):
    Trainer([2, 3, 1], seed=0).save("plain.safetensors")
    assert "2-3-1" in run(capsys, "info", "plain.safetensors")[0]
    assert "Trainer.load" in refused(capsys, "predict", "plain.safetensors", "data.csv")


@pytest.mark.parametrize(
    "change",
    [
        {"columns": []},
        {"columns": None},
        {"columns": [{"kind": "number"}]},
        {"target": {"task": "regression"}},
        {"target": {}},
        {"missing": 1},
        {"scores": [1]},
    ],
)
def test_an_altered_model_file_is_refused(capsys, frame, change):
    run(capsys, "train", "data.csv", "--target", "kind", *QUICK)
    trainer, extra = saving.read("model.safetensors")
    saving.write("model.safetensors", trainer, {KEY: {**extra[KEY], **change}})
    for arguments in (["info", "model.safetensors"], ["predict", "model.safetensors", "data.csv"]):
        assert "does not say which columns" in refused(capsys, *arguments)


def test_what_is_saved_is_json(frame):
    made = columns.to_json(columns.learn(frame.drop(columns="price"), np.arange(60), print))
    assert json.loads(json.dumps(made, allow_nan=False)) == json.loads(json.dumps(made))


def test_the_parts_are_stratified():
    groups = np.repeat([0.0, 1.0, 2.0], [50, 30, 1])
    first, second = training.split(groups, 0.2, 0)
    assert sorted([*first, *second]) == list(range(81))
    assert np.bincount(groups[first].astype(int), minlength=3).tolist() == [40, 24, 1]
    assert len(training.split(groups, 0.0, 0)[1]) == 0
    assert not np.array_equal(second, training.split(groups, 0.2, 1)[1])


def test_ctrl_c_keeps_what_was_learned(capsys, frame, monkeypatch):
    fit = Trainer.fit

    def interrupted(self, X, y, epochs, **kwargs):
        fit(self, X, y, 2, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "fit", interrupted)
    _, err = run(capsys, "train", "data.csv", "--target", "kind", code=130)
    assert err.splitlines()[-1] == (
        "error: interrupted; the model after 2 epochs is in model.safetensors"
    )
    assert models.load(Path("model.safetensors"))[1] is not None
    assert not Path("model.png").exists()


def test_ctrl_c_before_the_first_epoch_writes_nothing(capsys, frame, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "fit", interrupted)
    _, err = run(capsys, "train", "data.csv", "--target", "kind", code=130)
    assert err.splitlines()[-1] == "error: interrupted; no model was written"
    assert not Path("model.safetensors").exists()


def test_help_and_version(capsys):
    for name in ("demo", "lesson", "train", "predict", "export", "info", "warmup", "verify"):
        assert name in run(capsys, "--help")[0]
        assert "Usage: jitprop " + name in run(capsys, name, "-h")[0]
    assert run(capsys, "--version")[0].startswith("jitprop ")
    assert "Usage" in run(capsys, code=2)[1]


WITHOUT = """
import sys
sys.modules[sys.argv.pop(1)] = None
from jitprop.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("lacking", "arguments"),
    [
        ("click", []),
        ("click", ["--help"]),
        ("click", ["warmup", "now"]),
        ("pandas", ["train", "data.csv", "--target", "kind"]),
        ("rich", ["info", "data.csv"]),
    ],
)
def test_without_the_extra_it_says_what_to_install(lacking, arguments, frame):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, lacking, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (f"error: the command line needs {lacking}: pip install 'jitprop[cli]'\n")


def test_importing_jitprop_imports_nothing_of_the_command_line():
    code = """
import sys, jitprop
found = {"jitprop.cli", "click", "rich", "pandas", "pyarrow", "matplotlib"} & set(sys.modules)
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
