"""Models in files of other libraries."""

from __future__ import annotations

import xml.etree.ElementTree

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jitprop import convert, export

TRUSTED = ["jitprop.sklearn.classifier.MLPClassifier", "jitprop.sklearn.regressor.MLPRegressor"]
THEIRS = ["sklearn.neural_network._stochastic_optimizers.AdamOptimizer"]


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_skops(kind, same, data):
    io = pytest.importorskip("skops.io")

    def stored(net):
        model = make_pipeline(StandardScaler(), net).fit(data.X, data.two)
        return io.loads(io.dumps(model), trusted=TRUSTED + THEIRS).predict(data.X)

    same(stored, kind)


def test_skops_asks_about_one_type(ours, data):
    io = pytest.importorskip("skops.io")
    model = ours("classifier").fit(data.X, data.two)
    assert io.get_untrusted_types(data=io.dumps(model)) == TRUSTED[:1]


def test_skl2onnx(same, data):
    skl2onnx = pytest.importorskip("skl2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    export.register_skl2onnx()

    def run(net):
        model = make_pipeline(StandardScaler(), net).fit(data.X, data.two)
        file = skl2onnx.to_onnx(model, data.X[:1], options={"zipmap": False}).SerializeToString()
        return onnxruntime.InferenceSession(file).run(None, {"X": data.X})[1]

    same(run, "classifier")


def weights_in(path):
    """Return the weights of a net in a PMML file."""
    found = xml.etree.ElementTree.parse(path).getroot().iter()
    return [float(node.get("weight")) for node in found if node.tag.endswith("}Con")]


def test_sklearn2pmml(ours, data, tmp_path, monkeypatch, capfd):
    """It knows scikit-learn's own class alone, which to_sklearn returns."""
    sklearn2pmml = pytest.importorskip("sklearn2pmml")
    # 0.133.1 refuses models that say they are of scikit-learn 1.9.1; they are as those of 1.9.0.
    monkeypatch.setattr("sklearn.base.__version__", "1.9.0")
    net = ours("classifier").fit(data.X, data.two)
    theirs = convert.to_sklearn(convert.from_sklearn(net), net.classes_)
    path = tmp_path / "net.pmml"
    sklearn2pmml.sklearn2pmml(sklearn2pmml.make_pmml_pipeline(theirs), str(path))
    inputs_of_units = [w for W in net.coefs_ for w in W.T.ravel()]
    comp = [w for w in weights_in(path) if min(abs(w - np.array(inputs_of_units))) == 0]
    assert comp == inputs_of_units
    with pytest.raises(RuntimeError, match="has failed"):
        sklearn2pmml.sklearn2pmml(sklearn2pmml.make_pmml_pipeline(net), str(path))
    assert "jitprop.sklearn.classifier.MLPClassifier" in "".join(capfd.readouterr())


def test_emlearn(same, ours, data):
    emlearn = pytest.importorskip("emlearn")

    def run(net):
        made = emlearn.convert(net.fit(data.X, data.two), method="inline", dtype="float")
        return made.predict(data.X)

    same(run, "classifier", activation="relu")
    with pytest.raises(ValueError, match="Unsupported activation 'gelu'"):
        run(ours("classifier", activation="gelu"))


def test_nyoka(same, ours, data, tmp_path):
    nyoka = pytest.importorskip("nyoka")
    path = tmp_path / "net.pmml"

    def written(net):
        model = make_pipeline(StandardScaler(), net).fit(data.X, data.two)
        nyoka.skl_to_pmml(model, list("abcde"), "two", str(path))
        return weights_in(path)

    same(written, "classifier")
    written(ours("classifier", activation="gelu"))
    assert 'activationFunction="gelu"' in path.read_text()  # PMML has no such function
