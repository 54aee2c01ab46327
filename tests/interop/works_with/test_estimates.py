"""Intervals, causal effects, fairness, faulty labels, unbalanced classes, steps of pipelines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone


def test_mapie(same, data):
    regression = pytest.importorskip("mapie.regression")

    def interval(net):
        made = regression.CrossConformalRegressor(net, confidence_level=0.9, cv=3, random_state=0)
        points, intervals = made.fit_conformalize(data.X, data.y).predict_interval(data.X)
        return np.column_stack([points, intervals[..., 0]])

    same(interval, "regressor")


def test_mapie_of_classes(same, data):
    classification = pytest.importorskip("mapie.classification")

    def sets(net):
        made = classification.SplitConformalClassifier(net, prefit=False)
        made.fit(data.X[:60], data.two[:60]).conformalize(data.X[60:90], data.two[60:90])
        return made.predict_set(data.X[90:])[1]

    same(sets, "classifier")


def test_doubleml(same, data):
    doubleml = pytest.importorskip("doubleml")

    def effect(net):
        frame = pd.DataFrame(data.X, columns=list("abcde")).assign(y=data.y)
        np.random.seed(0)
        made = doubleml.DoubleMLPLR(
            doubleml.DoubleMLData(frame, "y", "a"), clone(net), clone(net), n_folds=2
        )
        return made.fit().coef

    same(effect, "regressor", rtol=1e-6)


def test_econml(same, data):
    dml = pytest.importorskip("econml.dml")

    def effect(net):
        made = dml.LinearDML(model_y=clone(net), model_t=clone(net), cv=2, random_state=0)
        made.fit(data.y, data.X[:, 0], X=data.X[:, 1:])
        return made.effect(data.X[:, 1:])

    same(effect, "regressor", rtol=1e-6)


def test_fairlearn(same, data):
    reductions = pytest.importorskip("fairlearn.postprocessing")

    def fair(net):
        made = reductions.ThresholdOptimizer(estimator=net, predict_method="predict_proba")
        groups = data.X[:, 1] > 0
        made.fit(data.X, data.two, sensitive_features=groups)
        return made.predict(data.X, sensitive_features=groups, random_state=0)

    same(fair, "classifier")


def test_cleanlab(same, data):
    classification = pytest.importorskip("cleanlab.classification")

    def quality(net):
        made = classification.CleanLearning(net, cv_n_folds=3, seed=0)
        return made.find_label_issues(data.X, data.two)["label_quality"]

    same(quality, "classifier", max_iter=100)


def test_imbalanced_learn(same, data):
    imblearn = pytest.importorskip("imblearn")
    from imblearn.over_sampling import SMOTE

    few = np.flatnonzero(np.cumsum(data.two) < 20)

    def balanced(net):
        made = imblearn.pipeline.make_pipeline(SMOTE(random_state=0, k_neighbors=3), net)
        return made.fit(data.X[few], data.two[few]).predict_proba(data.X)

    same(balanced, "classifier")


def test_imbalanced_learn_ensemble(same, data):
    ensemble = pytest.importorskip("imblearn.ensemble")
    same(
        lambda net: (
            ensemble.BalancedBaggingClassifier(net, 3, random_state=0)
            .fit(data.X, data.two)
            .predict_proba(data.X)
        ),
        "classifier",
    )


def test_skrub(same, data):
    skrub = pytest.importorskip("skrub")
    frame = pd.DataFrame(data.X).rename(columns="x{}".format)
    frame["place"] = np.where(data.X[:, 0] > 0.3, "north", "south")
    same(
        lambda net: skrub.tabular_pipeline(net).fit(frame, data.two).predict_proba(frame),
        "classifier",
        rtol=1e-5,  # skrub hands over float32
    )


def test_mlxtend(same, data):
    selection = pytest.importorskip("mlxtend.feature_selection")

    def search(net):
        made = selection.SequentialFeatureSelector(net, k_features=2, cv=3)
        found = made.fit(data.X, data.y).subsets_
        return [found[k]["avg_score"] for k in sorted(found)]

    same(search, "regressor")


def test_feature_engine(same, data):
    selection = pytest.importorskip("feature_engine.selection")

    def drifts(net):
        frame = pd.DataFrame(data.X).rename(columns="x{}".format)
        made = selection.SelectByShuffling(net, scoring="r2", cv=3, random_state=0)
        return list(made.fit(frame, pd.Series(data.y)).performance_drifts_.values())

    same(drifts, "regressor")


def test_scikit_lego(same, data):
    meta = pytest.importorskip("sklego.meta")

    def grouped(net):
        frame = pd.DataFrame(data.X).rename(columns="x{}".format).assign(group=data.two)
        made = meta.GroupedPredictor(net, groups=["group"])
        return made.fit(frame, data.y).predict(frame)

    same(grouped, "regressor")


def test_skore(same, data):
    skore = pytest.importorskip("skore")

    def report(net):
        made = skore.EstimatorReport(
            net,
            X_train=data.X[:80],
            y_train=data.two[:80],
            X_test=data.X[80:],
            y_test=data.two[80:],
        )
        return [made.metrics.log_loss(), made.metrics.roc_auc()]

    same(report, "classifier")


def test_tslearn(same, data):
    preprocessing = pytest.importorskip("tslearn.preprocessing")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    def series(net):
        flat = FunctionTransformer(lambda X: X[..., 0])
        made = make_pipeline(preprocessing.TimeSeriesScalerMeanVariance(), flat, net)
        return made.fit(data.X[..., None], data.two).predict_proba(data.X[..., None])

    same(series, "classifier")
