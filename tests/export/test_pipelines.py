"""skl2onnx converts pipelines with jitprop's estimators once it was told of them."""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
import pytest
import skl2onnx
from sklearn.base import is_classifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from exported import CLASSIFIED, TARGETS, TOLERANCE, ensemble, estimator
from jitprop import export
from jitprop.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def _registered():
    export.register_skl2onnx()


def run(model, X, **options):
    if is_classifier(model):
        options.setdefault("options", {"zipmap": False})
    made = skl2onnx.to_onnx(model, X[:1], **options)
    session = onnxruntime.InferenceSession(made.SerializeToString())
    return session.run(None, {"X": X})


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", TARGETS)
def test_a_pipeline_predicts_the_same(name, dtype):
    X = np.random.default_rng(3).normal(size=(60, 4)).astype(dtype) * 5 + 1
    kind = MLPClassifier if name in CLASSIFIED else MLPRegressor
    net = kind(hidden_layer_sizes=(6, 5), activation=["gelu", "mish"], max_iter=20, random_state=0)
    model = make_pipeline(StandardScaler(), net).fit(X, TARGETS[name](X - 1))
    *label, comp = run(model, X)
    assert comp.dtype == dtype
    ref = model.predict_proba(X) if name in CLASSIFIED else model.predict(X).reshape(len(X), -1)
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(comp, ref, rtol=tolerance, atol=tolerance)
    if label:
        np.testing.assert_array_equal(label[0], model.predict(X))


@pytest.mark.parametrize("name", ["two", "labels", "several"])
def test_many_members(name):
    model, X = ensemble(name, "float64")
    *_, comp = run(model, X)
    ref = model.predict_proba(X) if name in CLASSIFIED else model.predict(X)
    np.testing.assert_allclose(comp, ref, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("opset", [13, 18, skl2onnx.__max_supported_opset__])
def test_the_opset_asked_for(opset):
    model, X = ensemble("three", "float32")
    label, comp = run(model, X, target_opset=opset)
    np.testing.assert_array_equal(label, model.predict(X))
    np.testing.assert_allclose(comp, model.predict_proba(X), rtol=2e-5, atol=2e-5)
    with pytest.raises(ValueError, match="target_opset must be at least 13 for a net; got 12"):
        run(model, X, target_opset=12)


def test_options_of_a_classifier():
    model, X = estimator("two", "float32", MLPClassifier)
    ref = model.predict_proba(X)
    _, rows = run(model, X, options={"zipmap": True})
    np.testing.assert_allclose([row["über"] for row in rows], ref[:, 1], rtol=1e-5)
    label, _ = run(model, X, options={"zipmap": False, "nocl": True})
    np.testing.assert_array_equal(label, ref.argmax(axis=1))
    _, _, classes = run(model, X, options={"zipmap": False, "output_class_labels": True})
    np.testing.assert_array_equal(classes, model.classes_)


def test_classes_that_skl2onnx_cannot_hold():
    model, X = estimator("two", "float32", MLPClassifier)
    model.classes_ = np.array([0.5, 1.5])
    with pytest.raises(ValueError, match=r"64-bit integers or texts.*0\.5"):
        run(model, X)


def test_classes_beyond_32_bits():
    """For scikit-learn's own net, skl2onnx 1.20 writes them as 32-bit integers: others."""
    X = np.random.default_rng(0).normal(size=(40, 2))
    model = MLPClassifier((3,), max_iter=2, random_state=0).fit(X, (X[:, 0] > 0) + 3_000_000_000)
    label, _ = run(model, X)
    np.testing.assert_array_equal(label, model.predict(X))


def test_without_skl2onnx_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match="pip install skl2onnx"):
        export.register_skl2onnx()
