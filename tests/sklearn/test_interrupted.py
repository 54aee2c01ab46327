"""Ctrl-C in an estimator's fit ends the fit; in a call of scikit-learn it ends that call."""

from __future__ import annotations

import signal

import numpy as np
import pytest
from sklearn.ensemble import AdaBoostClassifier, VotingClassifier
from sklearn.feature_selection import RFE, RFECV
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jitprop import backends
from jitprop.sklearn import MLPClassifier

X = np.random.default_rng(0).normal(size=(60, 3))
Y = np.tile([0, 1], 30)


@pytest.fixture
def pressed(monkeypatch):
    """Send Ctrl-C in the backend's third call of train; the call still runs to its end."""
    backend = backends.load("auto")
    train, calls = backend.train, []

    def trained(*arguments):
        calls.append(0)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return train(*arguments)

    monkeypatch.setattr(backend, "train", trained)
    monkeypatch.setattr(backend, "halt", lambda net: True)
    return calls


def model(**settings):
    return MLPClassifier(4, max_iter=50, random_state=0, n_iter_no_change=np.inf, **settings)


WATCHED = {
    "early stopping": ({"early_stopping": True}, {}),
    "callbacks": ({"callbacks": lambda *logs: None}, {}),
    "X_val": ({}, {"X_val": X, "y_val": Y}),
    "verbose": ({"verbose": True}, {}),
}


@pytest.mark.parametrize("case", WATCHED)
def test_it_is_heard_after_the_epoch(case, pressed):
    settings, arguments = WATCHED[case]
    net = model(**settings)
    with pytest.warns(UserWarning, match="interrupted by user") as warned:
        net.fit(X, Y, **arguments)
    assert warned[0].filename == __file__
    assert net.n_iter_ == len(net.loss_curve_) == len(pressed) == 3


@pytest.mark.parametrize("pipeline", [False, True])
def test_a_fit_that_is_interrupted_ends_as_that_of_scikit_learn(pipeline, pressed):
    net = model(callbacks=lambda *logs: None)
    with pytest.warns(UserWarning, match="interrupted by user"):
        (make_pipeline(StandardScaler(), net) if pipeline else net).fit(X, Y)
    net.predict(X)


def grid(net):
    GridSearchCV(net, {"alpha": [0.0, 1.0]}, n_jobs=1, error_score="raise").fit(X, Y)


def quiet_grid(net):
    GridSearchCV(make_pipeline(net), {"mlpclassifier__alpha": [0.0, 1.0]}).fit(X, Y)


def random(net):
    RandomizedSearchCV(net, {"alpha": [0.0, 1.0]}, n_iter=2).fit(X, Y)


def cross_validation(net):
    cross_val_score(net, X, Y)


def feature_selection(net):
    RFE(net, importance_getter=lambda net: np.abs(net.coefs_[0]).sum(axis=1)).fit(X, Y)


def cross_validated_selection(net):
    RFECV(net, importance_getter=lambda net: np.abs(net.coefs_[0]).sum(axis=1)).fit(X, Y)


def boosting(net):
    AdaBoostClassifier(net, n_estimators=3).fit(X, Y)


def chain(net):
    ClassifierChain(net).fit(X, np.stack([Y, 1 - Y], axis=1))


def one_for_each_class(net):
    OneVsRestClassifier(net).fit(X, np.tile([0, 1, 2], 20))


def pipelines_that_vote(net):
    VotingClassifier([("a", make_pipeline(StandardScaler(), net)), ("b", net)]).fit(X, Y)


CALLERS = [
    grid, quiet_grid, random, cross_validation, feature_selection, cross_validated_selection,
    boosting, chain, one_for_each_class, pipelines_that_vote,
]  # fmt: skip


@pytest.mark.parametrize("caller", CALLERS)
def test_it_ends_all_that_scikit_learn_calls(caller, pressed):
    with pytest.raises(KeyboardInterrupt):
        caller(model(callbacks=lambda *logs: None))
    assert len(pressed) == 3


def test_an_error_in_a_scorer_leaves_whole_epochs():
    """The curves record an epoch only when it is complete."""

    def scorer(estimator, X, y):
        if len(net.loss_curve_) == 2:
            raise RuntimeError("no score")
        return 0.5

    net = model(early_stopping=True, scoring=scorer)
    with pytest.raises(RuntimeError, match="no score"):
        net.fit(X, Y)
    assert net.n_iter_ == 2 == len(net.loss_curve_) == len(net.validation_scores_)
    assert len(net.validation_loss_curve_) == 2
