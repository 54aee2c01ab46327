"""ONNX files: onnxruntime computes what the model computes."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import onnx
import pytest
from sklearn.base import ClassifierMixin
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from exported import (
    CLASSIFIED,
    NETS,
    TARGETS,
    TOLERANCE,
    ensemble,
    estimator,
    run_onnx,
    trainer,
)
from jitprop import CustomActivation, Fleet, Trainer, export
from jitprop.export.onnx import FIRST_OPSET, LAST_OPSET
from jitprop.sklearn import MLPRegressor


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", NETS)
def test_a_trainer_predicts_the_same(name, dtype, tmp_path):
    model, X = trainer(name, dtype)
    export.to_onnx(model, tmp_path / "net.onnx")
    comp = run_onnx(tmp_path / "net.onnx", X)
    assert list(comp) == ["prediction"]
    assert comp["prediction"].dtype == dtype
    ref = model.predict(X)
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(comp["prediction"], ref, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", TARGETS)
def test_an_estimator_predicts_the_same(name, dtype, tmp_path):
    model, X = estimator(name, dtype)
    export.to_onnx(model, tmp_path / "net.onnx")
    comp = run_onnx(tmp_path / "net.onnx", X)
    tolerance = TOLERANCE[dtype]
    if name in CLASSIFIED:
        assert list(comp) == ["label", "probabilities"]
        np.testing.assert_array_equal(comp["label"], model.predict(X))
        ref = model.predict_proba(X)
        np.testing.assert_allclose(comp["probabilities"], ref, rtol=tolerance, atol=tolerance)
    else:
        ref = model.predict(X).reshape(len(X), -1)
        np.testing.assert_allclose(comp["prediction"], ref, rtol=tolerance, atol=tolerance)


def test_one_sample_or_many_and_the_file_says_who_wrote_it(tmp_path):
    model, X = trainer("softmax", "float32")
    export.to_onnx(model, str(tmp_path / "net.onnx"))
    one = run_onnx(tmp_path / "net.onnx", X[:1])["prediction"]
    np.testing.assert_allclose(one, model.predict(X[:1]), rtol=1e-5)
    assert onnx.load(tmp_path / "net.onnx").producer_name == "jitprop"


def test_classes_that_no_file_can_hold(tmp_path):
    model, _ = estimator("three", "float64")
    model.classes_ = np.array([(1, 2), None, "a"], dtype=object)
    with pytest.raises(TypeError, match="classes must be numbers or text"):
        export.to_onnx(model, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_without_onnx_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'jitprop\[onnx\]'"):
        export.to_onnx(trainer("shallow", "float32")[0], tmp_path / "net.onnx")


@pytest.mark.parametrize("write", [export.to_onnx, export.to_c])
def test_what_is_no_net_is_refused(write, tmp_path):
    with pytest.raises(TypeError, match="model must be a Trainer, a Fleet or a fitted"):
        write(object(), tmp_path / "net")
    own = CustomActivation(lambda z: 2.0 * z, lambda z: 2.0, name="double")
    with pytest.raises(ValueError, match="must not have custom activations"):
        write(Trainer([2, 3, 1], activation=own), tmp_path / "net")
    model, _ = trainer("shallow", "float64")
    model.parameters[0] = np.nan
    with pytest.raises(ValueError, match="finite parameters"):
        write(model, tmp_path / "net")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", ["two", "labels", "several"])
def test_an_estimator_in_the_dtype_asked_for(name, dtype, tmp_path):
    model, X = estimator(name, "float64")
    export.to_onnx(model, tmp_path / "net.onnx", dtype=dtype)
    comp = run_onnx(tmp_path / "net.onnx", X.astype(dtype))
    last = list(comp)[-1]
    assert comp[last].dtype == dtype
    ref = model.predict_proba(X) if name in CLASSIFIED else model.predict(X).reshape(len(X), -1)
    np.testing.assert_allclose(comp[last], ref, rtol=1e-4, atol=1e-5)


def test_all_activations_in_the_other_dtype(tmp_path):
    model, X = trainer("all", "float64")
    export.to_onnx(model, tmp_path / "net.onnx", dtype=np.float32)
    comp = run_onnx(tmp_path / "net.onnx", X.astype(np.float32))["prediction"]
    np.testing.assert_allclose(comp, model.predict(X), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("dtype", "error"), [("int8", ValueError), ("x", TypeError)])
def test_bad_dtypes(dtype, error, tmp_path):
    with pytest.raises(error, match="dtype must be None, 'float32' or 'float64'"):
        export.to_onnx(trainer("shallow", "float32")[0], tmp_path / "net.onnx", dtype=dtype)
    assert not list(tmp_path.iterdir())


def test_parameters_beyond_the_dtype(tmp_path):
    model, _ = trainer("shallow", "float64")
    model.parameters[-1] = 1e300
    with pytest.raises(ValueError, match=r"biases\[1\].* 1e\+300, which is beyond float32"):
        export.to_onnx(model, tmp_path / "net.onnx", dtype="float32")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [export.to_onnx, export.to_c])
def test_what_has_a_net_inside_is_refused_with_the_way_to_it(write, tmp_path):
    model, X = estimator("one", "float64")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = GridSearchCV(
            MLPRegressor(hidden_layer_sizes=(3,), max_iter=2), {"alpha": [0.1]}, cv=2
        )
        search.fit(X, X[:, 0])
    for refused, words in (
        (make_pipeline(StandardScaler(), model), r"its last step, model\[-1\]"),
        (search, "export its best_estimator_"),
        (MLPRegressor(), "which is not fitted"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            write(refused, tmp_path / "net")
    assert not list(tmp_path.iterdir())
    write(search.best_estimator_, tmp_path / "net")


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", TARGETS)
def test_an_ensemble_is_one_file(name, dtype, tmp_path):
    model, X = ensemble(name, dtype)
    assert model.fleet_.predict(X).std(axis=0).max() > 1e-2  # the members differ
    export.to_onnx(model, tmp_path / "net.onnx")
    comp = run_onnx(tmp_path / "net.onnx", X)
    tolerance = TOLERANCE[dtype]
    if name in CLASSIFIED:
        np.testing.assert_array_equal(comp["label"], model.predict(X))
        ref = model.predict_proba(X)
        np.testing.assert_allclose(comp["probabilities"], ref, rtol=tolerance, atol=tolerance)
    else:
        ref = model.predict(X).reshape(len(X), -1)
        np.testing.assert_allclose(comp["prediction"], ref, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("sizes", "members", "output"),
    [([4, 5, 3, 2], 7, "softmax"), ([4, 1], 1, "sigmoid"), ([4, 6, 3], 2, "identity")],
)
def test_a_fleet_is_one_file_of_the_mean(sizes, members, output, dtype, tmp_path):
    loss = "cross_entropy" if output == "softmax" else "half_squared_error"
    settings = {"output_activation": output, "loss": loss, "dtype": dtype}
    fleet = Fleet(sizes, members=members, activation="gelu", seed=0, **settings)
    X = np.random.default_rng(0).normal(size=(20, 4)).astype(dtype)
    export.to_onnx(fleet, tmp_path / "net.onnx")
    comp = run_onnx(tmp_path / "net.onnx", X)["prediction"]
    tolerance = TOLERANCE[dtype]
    ref = fleet.predict(X).mean(axis=0)
    np.testing.assert_allclose(comp, ref, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("opset", range(FIRST_OPSET, LAST_OPSET + 1))
def test_each_opset(opset, tmp_path):
    last = min(onnx.defs.onnx_opset_version(), LAST_OPSET)
    if opset > last:
        pytest.skip(f"onnx {onnx.__version__} knows opsets up to {last}")
    path = tmp_path / "net.onnx"
    models = [
        *(trainer(name, dtype) for name in ("all", "softmax", "scaled") for dtype in TOLERANCE),
        ensemble("three", "float64"),
        ensemble("labels", "float32"),
    ]
    for model, X in models:
        export.to_onnx(model, path, opset=opset)
        assert onnx.load(path).opset_import[0].version == opset
        *_, comp = run_onnx(path, X).values()
        classes = isinstance(model, ClassifierMixin)
        ref = model.predict_proba(X) if classes else model.predict(X)
        tolerance = TOLERANCE[X.dtype.name]
        np.testing.assert_allclose(comp, ref, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("opset", "error", "words"),
    [
        (12, ValueError, "opset must be an integer of at least 13; got 12"),
        (99, ValueError, "opset must be an integer of at most"),
        ("17", TypeError, "opset must be an integer"),
    ],
)
def test_bad_opsets(opset, error, words, tmp_path):
    with pytest.raises(error, match=words):
        export.to_onnx(trainer("shallow", "float32")[0], tmp_path / "net.onnx", opset=opset)
    assert not list(tmp_path.iterdir())
