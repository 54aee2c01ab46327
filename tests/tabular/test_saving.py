"""Estimators for tables in files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from jitprop import Fleet, Trainer
from jitprop.files import sealed
from jitprop.files.saving import CheckpointError
from jitprop.tabular import TabularClassifier, TabularRegressor, saving

N = 60
TABLE = {
    "size": [*range(1, N), None],
    "colour": ["red", "blue", None] * (N // 3),
    "when": np.datetime64("2020-01-01") + np.arange(N) * 17 % 400,
    "new": [True, False, True] * (N // 3),
}
CLASSES = {
    "text": ["a", "b"] * (N // 2),
    "boolean": [True, False] * (N // 2),
    "integer": [1, 2, 3] * (N // 3),
    "number": [1.0, 2.0] * (N // 2),
}
SMALL = {"hidden": (8, 4), "epochs": 3, "random_state": 0}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


@pytest.mark.parametrize("kind", CLASSES)
def test_a_classifier_is_read_again(kind, path):
    model = TabularClassifier(**SMALL, n_members=2).fit(TABLE, CLASSES[kind])
    model.save(path)
    read = TabularClassifier.load(path)
    np.testing.assert_array_equal(read.predict_proba(TABLE), model.predict_proba(TABLE))
    np.testing.assert_array_equal(read.predict(TABLE), model.predict(TABLE))
    assert read.classes_.tolist() == model.classes_.tolist()
    assert read.get_params() == model.get_params()
    assert read.feature_names_in_.tolist() == list(TABLE)
    assert read.net_.temperature == model.net_.temperature
    assert read.history_ == []


def test_a_regressor_is_read_again(path):
    X = np.random.default_rng(0).normal(size=(N, 3))
    model = TabularRegressor(**{**SMALL, "random_state": np.random.RandomState(0)}).fit(X, X[:, 0])
    model.save(path)
    read = TabularRegressor.load(path)
    np.testing.assert_array_equal(read.predict(X), model.predict(X))
    np.testing.assert_array_equal(read.predict_interval(X, 0.5), model.predict_interval(X, 0.5))
    assert read.n_features_in_ == 3
    assert not hasattr(read, "feature_names_in_")
    assert read.random_state is None
    read.save(path)
    np.testing.assert_array_equal(TabularRegressor.load(path).predict(X), model.predict(X))


def test_other_readers_open_the_file(path):
    TabularClassifier(**SMALL).fit(TABLE, CLASSES["text"]).save(path)
    assert load_file(path)["parameters"].shape[0] == 1
    with safe_open(path, "np") as file:
        assert json.loads(file.metadata()["jitprop"])["kind"] == "table"


def test_the_wrong_class_says_which_one_reads_the_file(path, tmp_path):
    TabularClassifier(**SMALL).fit(TABLE, CLASSES["text"]).save(path)
    with pytest.raises(CheckpointError, match="holds a TabularClassifier, which TabularClassif"):
        TabularRegressor.load(path)
    with pytest.raises(CheckpointError, match=r"net for tables, which TabularClassifier\.load or"):
        Trainer.load(path)
    with pytest.raises(CheckpointError, match=r"net for tables, which TabularClassifier\.load or"):
        Fleet.load(path)
    Trainer([1, 1]).save(path)
    with pytest.raises(CheckpointError, match=r"it holds a trainer, which Trainer\.load reads"):
        TabularClassifier.load(path)


def written(path, change):
    """Save a net, then write the file again with a change and a right seal."""
    model = TabularRegressor(**SMALL).fit(TABLE, np.arange(N) * 1.0)
    model.save(path)
    tensors = load_file(path)
    with safe_open(path, "np") as file:
        content = json.loads(file.metadata()["jitprop"])
    del content["sha256"]
    change(content, tensors)
    sealed.write(path, content, tensors)


def setting(*keys, value):
    def change(content, tensors):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


def tensor(name, **changes):
    def change(content, tensors):
        tensors[name].flat[0] = changes["first"]

    return change


REFUSED = {
    "format": (setting("format", value=2), "its format is 2"),
    "unknown": (setting("later", value=2), "name later"),
    "sizes": (setting("sizes", value=[8, 4]), "sizes must be a list of three"),
    "other sizes": (setting("sizes", value=[9, 8, 4, 1]), "must be"),
    "members": (setting("members", value=0), "members must be"),
    "another name": (
        setting("extra", "feature_names", 0, value="length"),
        "its column 'size' is none of its feature_names",
    ),
    "a name twice": (
        setting("extra", "feature_names", value=["size", "colour", "when", "when"]),
        "its feature_names must be 4 different texts",
    ),
    "columns": (setting("columns", value=[]), "it has no columns"),
    "no kind": (setting("columns", "columns", 0, value={"name": "size"}), "it has no 'kind'"),
    "temperature": (setting("temperature", value=99.0), "its temperature must be from"),
    "activation": (setting("activation", value="exp"), "activation 'exp' is unknown"),
    "target": (setting("target", value={"kind": "price"}), "its target must be"),
    "no target": (setting("target", value=3), "its target must be"),
    "deviation": (setting("target", "deviation", value=0.0), "cannot have the scale"),
    "classes": (
        setting("target", value={"kind": "classes", "of": "text", "values": ["b", "a"]}),
        "its classes must be sorted",
    ),
    "kinds": (
        setting("target", value={"kind": "classes", "of": "text", "values": ["b", 1]}),
        "two or more values of the kind 'text'",
    ),
    "large": (
        setting("target", value={"kind": "classes", "of": "integer", "values": [1, 2**70]}),
        "integers of 64 bits",
    ),
    "outputs": (
        setting("target", value={"kind": "classes", "of": "text", "values": ["a", "b"]}),
        "need a net of .* and 2 outputs",
    ),
    "residuals": (tensor("residuals", first=-1.0), "its residuals must be at least 0"),
    "parameters": (tensor("parameters", first=np.inf), "its tensors must be finite"),
    "extra": (setting("extra", value=None), "net of the command line"),
    "names": (setting("extra", "feature_names", value=["a"]), "must be 4 different texts"),
    "parameter": (setting("extra", "parameters", value={"hidden": 3}), "it has no parameters"),
    "bad parameter": (setting("extra", "parameters", "epochs", value=0), "epochs must be"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_no_save_writes_is_refused(case, path):
    change, message = REFUSED[case]
    written(path, change)
    with pytest.raises(CheckpointError, match=message) as refusal:
        TabularRegressor.load(path)
    assert repr(str(path)) in str(refusal.value)


def test_an_altered_file_is_refused(path):
    TabularRegressor(**SMALL).fit(TABLE, np.arange(N) * 1.0).save(path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="it was altered"):
        TabularRegressor.load(path)


def test_what_is_not_fitted_is_not_saved(path):
    with pytest.raises(ValueError, match="not fitted yet"):
        TabularRegressor().save(path)
    assert not path.exists()


def test_the_command_line_reads_the_net_and_its_notes(path):
    model = TabularRegressor(**SMALL).fit(TABLE, np.arange(N) * 1.0)
    saving.write(path, model.net_, {"target": "price"})
    net, extra = saving.read(path)
    assert extra == {"target": "price"}
    np.testing.assert_array_equal(net.residuals, model.net_.residuals)
