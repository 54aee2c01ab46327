"""Exported nets for tables predict what the estimators predict, from the columns as they are."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

from exported import COMPILER, STRICT, needs_compiler
from jitprop import export
from jitprop.tabular import TabularClassifier, TabularRegressor
from jitprop.tabular.encoders import CategoryEncoder
from jitprop.tabular.export import to_c, to_onnx
from jitprop.tabular.table import table_of

AWKWARD = "*/ ??/\n\\ NAME N_IN Ä"
"""A name that could end a comment in C, or be taken for a word of a template."""


def data(n=200, seed=0):
    rng = np.random.default_rng(seed)
    gaps = rng.random(n) < 0.1
    days = rng.integers(-2 * 10**16, 2 * 10**16, n)  # from the year 1336 to 2603
    days[:4] = np.array(
        ["2000-02-29", "1900-02-28", "1900-03-01", "1970-01-01"], "datetime64[us]"
    ).view(np.int64)
    return {
        "size": np.where(gaps, np.nan, rng.normal(size=n) * 100),
        "net0_W0": rng.integers(0, 1000, n),
        "flag": rng.random(n) < 0.3,
        "maybe": [None if gap else True for gap in gaps],
        "colour": rng.choice(["red", "grün", "blue", None], n),
        AWKWARD: rng.choice(["a*/", "??/"], n),
        "when": np.where(gaps[::-1], np.datetime64("NaT"), days.view("datetime64[us]")),
        "day": np.datetime64("2024-01-01", "s") + np.arange(n) % 9 * np.timedelta64(86400, "s"),
    }


def target(table, classes):
    y = np.nan_to_num(table["size"]) + 30 * (np.array(table["colour"]) == "red") + 10**6
    return np.where(y > 10**6 + 10, "über", np.where(y < 10**6 - 10, "*/", "mid")) if classes else y


@pytest.fixture(scope="module", params=[1, 2], ids=lambda n: f"{n} members")
def classifier(request):
    model = TabularClassifier((16,), epochs=3, random_state=0, n_members=request.param)
    return model.fit(data(), target(data(), True))


@pytest.fixture(scope="module", params=[1, 2], ids=lambda n: f"{n} members")
def regressor(request):
    model = TabularRegressor((16,), epochs=3, random_state=0, n_members=request.param)
    return model.fit(data(), target(data(), False))


def later():
    table = data(60, seed=1)
    table["colour"][:5] = "new"
    table["size"][5] = 1e300
    return table


def numbers(column):
    """Return a column's numbers as exported nets take them."""
    if column.kind == "date":
        gaps = np.isnat(column.values)
        return np.where(gaps, np.nan, column.values.view(np.int64) / 1e6)
    return column.values


def run_onnx(path, table):
    session = onnxruntime.InferenceSession(path)
    feed = {}
    for each in session.get_inputs():
        column = table_of(table)[each.name]
        texts = column.values.dtype == object
        assert each.type == ("tensor(string)" if texts else "tensor(double)")
        found = [text or "" for text in column.values] if texts else numbers(column)
        feed[each.name] = np.array(found, object if texts else float)[:, None]
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feed), strict=True))


def run_c(path, model, table, n_outputs, name="net", options=()):
    library = path.with_suffix(".so")
    strict = [flag for flag in STRICT if "c++" not in options or flag != "-std=c99"]
    command = [COMPILER, *strict, "-O1", "-shared", "-fPIC", *options, path, "-o", library, "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    x, codes = [], []
    for encoder in model.net_.columns.encoders:
        column = table_of(table)[encoder.name]
        if isinstance(encoder, CategoryEncoder) and not encoder.boolean:
            codes.append(encoder.codes(column))
        else:
            x.append(numbers(column))
    predict = getattr(ctypes.CDLL(library), f"{name}_predict")
    made = np.full((table_of(table).n_rows, n_outputs + 1), 123.0)  # the last number must stay
    for row, out in enumerate(made):
        arrays = np.array([c[row] for c in x]), np.array([c[row] for c in codes], np.intc), out
        predict(*(a.ctypes.data_as(ctypes.c_void_p) for a in arrays))
    assert (made[:, -1] == 123).all()
    return made[:, :-1]


def test_onnx_classifies_the_same(classifier, tmp_path):
    to_onnx(classifier, tmp_path / "net.onnx")
    comp = run_onnx(tmp_path / "net.onnx", later())
    assert list(comp) == ["label", "probabilities"]
    np.testing.assert_array_equal(comp["label"], classifier.predict(later()))
    ref = classifier.predict_proba(later())
    np.testing.assert_allclose(comp["probabilities"], ref, rtol=1e-5, atol=1e-6)


def test_onnx_predicts_the_same(regressor, tmp_path):
    to_onnx(regressor, tmp_path / "net.onnx")
    comp = run_onnx(tmp_path / "net.onnx", later())
    assert list(comp) == ["prediction"]
    assert comp["prediction"].shape == (60, 1)
    ref = regressor.predict(later())
    np.testing.assert_allclose(comp["prediction"][:, 0], ref, rtol=0, atol=1e-4 * np.std(ref))


@needs_compiler
@pytest.mark.parametrize("options", [(), ("-x", "c++", "-std=c++11")], ids=["C", "C++"])
def test_c_classifies_the_same(classifier, options, tmp_path):
    to_c(classifier, tmp_path / "net.c")
    comp = run_c(tmp_path / "net.c", classifier, later(), 3, options=options)
    np.testing.assert_allclose(comp, classifier.predict_proba(later()), rtol=1e-5, atol=1e-6)


@needs_compiler
def test_c_predicts_the_same(regressor, tmp_path):
    to_c(regressor, tmp_path / "net.c", name="flats")
    comp = run_c(tmp_path / "net.c", regressor, later(), 1, name="flats")
    ref = regressor.predict(later())
    np.testing.assert_allclose(comp[:, 0], ref, rtol=0, atol=1e-4 * np.std(ref))


@needs_compiler
@pytest.mark.parametrize("only", ["net0_W0", "colour", "flag"])
def test_one_column_alone(only, tmp_path):
    table = {only: data()[only]}
    model = TabularClassifier((4,), epochs=2, random_state=0).fit(table, target(data(), True))
    to_c(model, tmp_path / "net.c")
    to_onnx(model, tmp_path / "net.onnx")
    ref = model.predict_proba(table)
    np.testing.assert_allclose(run_c(tmp_path / "net.c", model, table, 3), ref, rtol=1e-5)
    comp = run_onnx(tmp_path / "net.onnx", table)["probabilities"]
    np.testing.assert_allclose(comp, ref, rtol=1e-5)


def test_the_c_file_lists_its_arguments(regressor, tmp_path):
    to_c(regressor, tmp_path / "net.c")
    source = (tmp_path / "net.c").read_text("ascii")
    for line in (
        'numbers[0]: "size"',
        'numbers[2]: "flag", 0 for false and 1 for true',
        'categories[0]: "colour", its number in this list',
        '    1 "gr\\u00fcn"',
        'numbers[4]: "when", seconds since 1970 in UTC',
        "y[0]: the prediction",
    ):
        assert f" * {line}\n" in source


@pytest.mark.parametrize("write", [to_onnx, to_c])
def test_texts_are_refused_by_name(write, tmp_path):
    table = data()
    table["story"] = [f"once upon {i * i} times" for i in range(200)]
    model = TabularRegressor((4,), epochs=1, random_state=0).fit(table, target(table, False))
    with pytest.raises(ValueError, match="column 'story' holds texts, which cannot be exported"):
        write(model, tmp_path / "net")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [to_onnx, to_c])
@pytest.mark.parametrize("model", [3, TabularRegressor()], ids=["number", "not fitted"])
def test_what_is_no_net(write, model, tmp_path):
    with pytest.raises(TypeError, match="model must be a fitted TabularClassifier"):
        write(model, tmp_path / "net")


@pytest.mark.parametrize("write", [export.to_onnx, export.to_c])
def test_the_functions_for_other_nets_point_here(write, regressor, tmp_path):
    with pytest.raises(TypeError, match=r"function of this name in jitprop\.tabular\.export"):
        write(regressor, tmp_path / "net")


def test_a_column_with_the_name_of_an_output(tmp_path):
    table = {"prediction": data()["size"], "x": data()["net0_W0"]}
    model = TabularRegressor((4,), epochs=1, random_state=0).fit(table, target(data(), False))
    with pytest.raises(ValueError, match="column 'prediction' must have another name"):
        to_onnx(model, tmp_path / "net.onnx")


def test_bad_names(regressor, tmp_path):
    with pytest.raises(ValueError, match="not begin with a digit"):
        to_c(regressor, tmp_path / "net.c", name="1")


def test_without_onnx_the_error_says_what_to_install(regressor, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'jitprop\[onnx\]'"):
        to_onnx(regressor, tmp_path / "net.onnx")
