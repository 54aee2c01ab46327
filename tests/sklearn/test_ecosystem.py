"""The estimators work in pipelines and searches, with frames and pickles, and in exports."""

from __future__ import annotations

import joblib
import numpy as np
import pandas
import polars
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score, learning_curve
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier as Theirs
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import get_tags

import sklearn
from exported import CLASSIFIED, TARGETS, TOLERANCE, estimator, needs_compiler, run_c, run_onnx
from jitprop import export
from jitprop.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, LABELS = load_iris(return_X_y=True)
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 30, "learning_rate_init": 0.02, "random_state": 0}


@pytest.mark.parametrize("frames", [pandas, polars], ids=lambda module: module.__name__)
def test_a_pipeline_of_a_frame(frames):
    frame = frames.DataFrame(
        {
            "length": X[:, 0],
            "width": X[:, 3],
            "place": np.array(["north", "south", "west"])[np.arange(150) % 3].tolist(),
        }
    )
    columns = make_column_transformer(
        (StandardScaler(), ["length", "width"]), (OneHotEncoder(), ["place"])
    )
    model = make_pipeline(columns, MLPClassifier(**SMALL)).fit(frame, LABELS)
    theirs = make_pipeline(columns, Theirs(**SMALL)).fit(frame, LABELS)
    np.testing.assert_array_equal(model.predict(frame), theirs.predict(frame))
    assert model[-1].n_features_in_ == 5
    assert model.score(frame, LABELS) > 0.9


def test_a_grid_search_in_two_processes_finds_what_scikit_learn_finds():
    grid = {"alpha": [1e-4, 1.0], "activation": ["tanh", "relu"]}
    ours, theirs = (
        GridSearchCV(kind(**SMALL), grid, cv=3, n_jobs=2).fit(X, LABELS)
        for kind in (MLPClassifier, Theirs)
    )
    scores = "mean_test_score"
    np.testing.assert_allclose(ours.cv_results_[scores], theirs.cv_results_[scores])
    assert ours.best_params_ == theirs.best_params_


def test_a_cross_validation():
    ours, theirs = (
        cross_val_score(kind(**SMALL), X, LABELS, cv=4) for kind in (MLPClassifier, Theirs)
    )
    np.testing.assert_allclose(ours, theirs)


@pytest.mark.parametrize(
    "around",
    [
        lambda model: VotingClassifier([("a", model), ("b", clone(model))], voting="soft"),
        lambda model: StackingClassifier([("a", model)], cv=3),
        lambda model: BaggingClassifier(model, 2, random_state=0, n_jobs=2),
        OneVsRestClassifier,
    ],
)
def test_ensembles_of_them_are_as_of_scikit_learns(around):
    ours, theirs = (around(kind(**SMALL)).fit(X, LABELS) for kind in (MLPClassifier, Theirs))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-6)


def test_learning_curves():
    how = {"cv": 2, "shuffle": True, "random_state": 0, "exploit_incremental_learning": True}
    ours, theirs = (
        learning_curve(kind(**SMALL), X, LABELS, **how) for kind in (MLPClassifier, Theirs)
    )
    for comp, ref in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(comp, ref)


@pytest.fixture
def _routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("_routing")
def test_sample_weights_are_routed_through_a_search_and_a_pipeline():
    weights = np.linspace(0.1, 1, 150)
    made = []
    for kind in (MLPClassifier, Theirs):
        model = kind(**SMALL).set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model)
        search = GridSearchCV(pipeline, {f"{kind.__name__.lower()}__alpha": [0.1, 1.0]}, cv=3)
        made.append(search.fit(X, LABELS, sample_weight=weights).cv_results_["mean_test_score"])
    np.testing.assert_allclose(*made)


@pytest.mark.usefixtures("_routing")
def test_validation_samples_are_routed_and_scaled():
    model = MLPClassifier(**SMALL).set_fit_request(X_val=True, y_val=True)
    steps = [("scaler", StandardScaler()), ("mlp", model)]
    pipeline = Pipeline(steps, transform_input=["X_val"]).fit(X, LABELS, X_val=X, y_val=LABELS)
    p = pipeline.predict_proba(X)[np.arange(150), LABELS]
    np.testing.assert_allclose(pipeline[-1].validation_loss_curve_[-1], -np.log(p).mean())


def test_the_picture_of_a_pipeline_shows_the_parameters():
    html = make_pipeline(StandardScaler(), MLPClassifier(dropout=0.25))._repr_html_()
    assert "MLPClassifier" in html
    assert "0.25" in html


def test_a_calibration():
    model = CalibratedClassifierCV(MLPClassifier(**SMALL), cv=3).fit(X, LABELS)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)
    assert model.score(X, LABELS) > 0.9


def test_importances_by_permutation():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 2))
    model = MLPRegressor(**SMALL).fit(points, points[:, 0] ** 2)
    important, other = permutation_importance(
        model, points, points[:, 0] ** 2, n_repeats=3, random_state=0
    ).importances_mean
    assert important > 10 * abs(other)


@pytest.mark.parametrize("n_members", [1, 3])
def test_a_file_of_joblib_goes_on_to_the_same_bits(n_members, tmp_path):
    model = MLPClassifier(**SMALL, n_members=n_members).fit(X, LABELS)
    joblib.dump(model, tmp_path / "model")
    loaded = joblib.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    if n_members == 1:
        model.partial_fit(X, LABELS)
        loaded.partial_fit(X, LABELS)
        np.testing.assert_array_equal(loaded.coefs_[0], model.coefs_[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", TARGETS)
def test_onnx_and_c(name, dtype, tmp_path):
    model, points = estimator(name, dtype, MLPClassifier, MLPRegressor)
    ref = model.predict_proba(points) if name in CLASSIFIED else model.predict(points)
    ref = ref.reshape(len(points), -1)
    export.to_onnx(model, tmp_path / "net.onnx")
    found = run_onnx(tmp_path / "net.onnx", points)
    if name in CLASSIFIED:
        np.testing.assert_array_equal(found["label"], model.predict(points))
    tolerance = TOLERANCE[dtype]
    comp = found["probabilities" if name in CLASSIFIED else "prediction"]
    np.testing.assert_allclose(comp, ref, rtol=tolerance, atol=tolerance)


@needs_compiler
def test_c(tmp_path):
    model, points = estimator("three", "float64", MLPClassifier, MLPRegressor)
    export.to_c(model, tmp_path / "net.c")
    comp = run_c(tmp_path / "net.c", points, 3, np.float32)
    np.testing.assert_allclose(comp, model.predict_proba(points), rtol=1e-4, atol=1e-6)


def test_only_the_regressor_says_that_it_has_several_outputs():
    """Of a classifier the tag would mean several targets of more than two classes each."""
    assert get_tags(MLPRegressor()).target_tags.multi_output
    assert not get_tags(MLPClassifier()).target_tags.multi_output
    assert get_tags(MLPClassifier()).classifier_tags.multi_label
