"""`jitprop export` writes models with their columns, which predict as `jitprop predict` does."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest

from exported import COMPILER, STRICT, needs_compiler
from jitprop import Trainer
from jitprop.cli import main, models
from jitprop.cli.columns import TextColumn
from jitprop.tabular import TabularRegressor

AWKWARD = "*/ ??/\\ NAME N_IN Ä"


@pytest.fixture
def frame(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    n = 120
    made = pd.DataFrame({"size": rng.normal(1e6, 1e3, n).round(3), "net0_W0": rng.normal(size=n)})
    made[AWKWARD] = rng.choice(["a*/", "grün", "??/"], n)
    made["maybe"] = rng.choice(["yes", "no"], n)
    made["flag"] = rng.choice(["True", "False"], n)
    made.loc[rng.random(n) < 0.1, "net0_W0"] = np.nan
    made.loc[rng.random(n) < 0.1, "maybe"] = None
    made["y"] = made["size"] - 1e6 + 500 * (made["maybe"] == "yes")
    made["two"] = np.where(made["y"] > 0, "über", "*/")
    made["three"] = np.digitize(made["y"], [-500, 600]) * 7
    return made


def trained(frame, target, *options):
    columns = [name for name in frame.columns if name not in {"y", "two", "three"} - {target}]
    frame[columns].to_csv("t.csv", index=False)
    arguments = "--target", target, "--epochs", "3", "--no-plot", "--quiet"
    assert main(["train", "t.csv", *arguments, *options]) == 0


def later(frame):
    """Rows with values that training did not have."""
    made = frame.drop(columns=["y", "two", "three"])
    made.loc[0, ["size", "maybe", AWKWARD, "flag"]] = [np.nan, "perhaps", "new", None]
    made.loc[1, "size"] = 1e300
    made.loc[2, AWKWARD] = None
    made.to_csv("later.csv", index=False)
    return made


def predicted(target):
    proba = [] if target == "y" else ["--proba"]
    files = "model.safetensors", "later.csv", "--out", "p.csv"
    assert main(["predict", *files, "--quiet", *proba]) == 0
    return pd.read_csv("p.csv")


FAST = ["--fast", "--hidden", "5"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", ["y", "two", "three"])
def test_onnx_of_a_small_net(target, dtype, frame):
    trained(frame, target, *FAST, "--dtype", dtype)
    assert main(["export", "model.safetensors", "--onnx", "net.onnx", "--quiet"]) == 0
    session = onnxruntime.InferenceSession("net.onnx")
    rows = later(frame)
    rows["flag"] = rows["flag"].str.lower()
    columns = {
        name: rows[[name]].fillna("").to_numpy(object) for name in ("maybe", "flag", AWKWARD)
    }
    columns |= {name: rows[[name]].to_numpy(np.float64) for name in ("size", "net0_W0")}
    *label, comp = session.run(None, columns)
    ref = predicted(target)
    rtol = 1e-5 if dtype == "float32" else 1e-12
    if label:
        assert label[0].tolist() == ref.iloc[:, 0].tolist()
        np.testing.assert_allclose(comp, ref.iloc[:, 1:], rtol=rtol)
    else:
        np.testing.assert_allclose(comp, ref, rtol=rtol)


@needs_compiler
@pytest.mark.parametrize("target", ["y", "two", "three"])
def test_c_of_a_small_net(target, frame):
    trained(frame, target, *FAST)
    assert main(["export", "model.safetensors", "--c", "net.c", "--name", "my", "--quiet"]) == 0
    command = [COMPILER, *STRICT, "-O1", "-shared", "-fPIC", "net.c", "-o", "net.so", "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    predict = ctypes.CDLL(str(Path("net.so").resolve())).my_predict
    rows, ref = later(frame), predicted(target)
    _, model = models.load(Path("model.safetensors"))
    n = 1 if target == "y" else ref.shape[1] - 1
    comp = np.empty((len(rows), n))
    for row, y in zip(rows.to_dict("records"), comp, strict=True):
        numbers, categories = [], []
        for column in model.columns:
            value = row[column.name]
            if isinstance(column, TextColumn):
                text = str(value).lower() if column.name == "flag" else value
                known = column.categories.index(text) if text in column.categories else -2
                categories.append(-1 if pd.isna(value) else known)
            else:
                numbers.append(value)
        predict(
            (ctypes.c_double * len(numbers))(*numbers),
            (ctypes.c_int * len(categories))(*categories),
            y.ctypes.data_as(ctypes.c_void_p),
        )
    np.testing.assert_allclose(comp, ref.iloc[:, -n:], rtol=1e-5)


@needs_compiler
def test_a_net_for_tables_and_the_opset(frame, capsys):
    trained(frame, "three")
    files = "--onnx", "net.onnx", "--c", "net.c"
    assert main(["export", "model.safetensors", *files, "--opset", "19"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "note: the net with its columns is in net.onnx",
        "note: the net with its columns is in net.c",
    ]
    assert [each.version for each in onnx.load("net.onnx").opset_import] == [19, 2]
    rows = later(frame)[2:3]
    known = {each.name for each in onnxruntime.InferenceSession("net.onnx").get_inputs()}
    assert known == {*rows.columns}
    flag = (rows[["flag"]] == "True").to_numpy(np.float64)
    columns = {name: rows[[name]].fillna("").to_numpy(object) for name in ("maybe", AWKWARD)}
    columns |= {name: rows[[name]].to_numpy(np.float64) for name in ("size", "net0_W0")}
    label, comp = onnxruntime.InferenceSession("net.onnx").run(None, {**columns, "flag": flag})
    ref = predicted("three").iloc[2]
    assert label[0] == ref.iloc[0]
    np.testing.assert_allclose(comp[0], ref.iloc[1:], rtol=1e-5)
    assert "void net_predict(const double numbers[]" in Path("net.c").read_text()


def test_models_that_python_saved(frame, capsys):
    Trainer([2, 3, 1], seed=0).save("trainer")
    table = {"size": np.arange(60.0) ** 2 / 7, "place": np.arange(60) % 3 * 1.5}
    estimator = TabularRegressor((4,), epochs=1, random_state=0).fit(table, np.arange(60.0))
    estimator.save("table")
    for name, inputs in (("trainer", ["X"]), ("table", ["size", "place"])):
        assert main(["export", name, "--onnx", "net.onnx", "--c", "net.c"]) == 0
        found = onnxruntime.InferenceSession("net.onnx").get_inputs()
        assert [each.name for each in found] == inputs
    assert capsys.readouterr().err.splitlines()[0] == "note: the net is in net.onnx"


def test_what_is_refused(frame, capsys):
    trained(frame.rename(columns={"size": "prediction"}), "y", *FAST)

    def refused(*options):
        assert main(["export", "model.safetensors", *options]) == 2
        return capsys.readouterr().err

    assert "say which file to write" in refused()
    assert "would overwrite another file" in refused("--onnx", "a", "--c", "a")
    assert "would overwrite another file" in refused("--c", "model.safetensors")
    assert "--name: name must consist of letters" in refused("--c", "a.c", "--name", "1")
    assert "opset must be an integer of at least 13" in refused("--onnx", "a", "--opset", "3")
    assert "'prediction' must have another name" in refused("--onnx", "a")
    assert not Path("a").exists()
    assert main(["export", "nothing", "--c", "a.c"]) == 2
