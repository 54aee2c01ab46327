"""Callbacks for MLflow and Optuna, with stand-ins: tests/interop/works_with has the libraries."""

from __future__ import annotations

import inspect
import sys
from types import SimpleNamespace

import pytest

from jitprop import Fleet, MLflowLogger, OptunaPruning, Trainer
from jitprop.sklearn import MLPRegressor

X, Y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]


class PrunedError(Exception):
    pass


class Trial:
    """Prunes after three reports."""

    def __init__(self):
        self.reports = []

    def report(self, value, step):
        self.reports.append((step, value))

    def should_prune(self):
        return len(self.reports) == 3


@pytest.fixture
def logged(monkeypatch):
    made = SimpleNamespace(params=[], metrics=[])
    mlflow = SimpleNamespace(
        log_params=made.params.append,
        log_metrics=lambda metrics, step: made.metrics.append((step, metrics)),
    )
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    return made


@pytest.fixture(autouse=True)
def _optuna(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", SimpleNamespace(TrialPruned=PrunedError))


def test_mlflow_gets_the_settings_once_and_each_epoch(logged):
    trainer, logger = Trainer([2, 3, 1], learning_rate=0.5, seed=4), MLflowLogger()
    for _ in range(2):
        trainer.fit(X, Y, 3, validation_data=(X, Y), callbacks=logger)
    (params,) = logged.params
    assert params["layer_sizes"] == (2, 3, 1)
    assert (params["learning_rate"], params["seed"], params["batch_size"]) == (0.5, 4, None)
    # Where and how fast the net is computed, and what `fit` keeps, are no settings of the net.
    others = {"init", "backend", "n_threads", "history_limit"}
    assert {*params} == {*inspect.signature(Trainer).parameters} - others
    assert [step for step, _ in logged.metrics] == list(range(6))
    history = trainer.history
    for step, metrics in logged.metrics:
        assert metrics["loss"] == history.loss[step]
        assert metrics["validation_loss"] == history.validation_loss[step]
        assert {*map(type, metrics.values())} == {float}


def test_optuna_gets_the_number_and_ends_the_fit():
    trainer, trial = Trainer([2, 3, 1], seed=0), Trial()
    with pytest.raises(PrunedError, match="pruned after epoch 2"):
        trainer.fit(X, Y, 9, callbacks=OptunaPruning(trial, "loss"))
    assert trainer.epochs_trained == 3
    assert trial.reports == list(enumerate(trainer.history.loss))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_estimator_takes_both(logged):
    trial = Trial()
    callbacks = [MLflowLogger(), OptunaPruning(trial, "loss")]
    model = MLPRegressor(hidden_layer_sizes=(3,), max_iter=9, callbacks=callbacks)
    with pytest.raises(PrunedError):
        model.fit(X, Y)
    assert trial.reports == list(enumerate(model.loss_curve_))
    assert [(step, metrics["loss"]) for step, metrics in logged.metrics] == trial.reports
    model.set_params(callbacks=OptunaPruning(Trial()))
    with pytest.raises(ValueError, match=r"monitor must be one of 'loss', .*got 'validation_loss'"):
        model.fit(X, Y)


def test_what_is_refused(logged):
    with pytest.raises(TypeError, match="monitor must be a name"):
        OptunaPruning(Trial(), 3)
    with pytest.raises(ValueError, match="monitor"):
        Trainer([2, 1]).fit(X, Y, 1, callbacks=OptunaPruning(Trial(), "los"))
    for callback in (MLflowLogger(), OptunaPruning(Trial(), "loss")):
        with pytest.raises(TypeError, match="follows the fit of one net"):
            Fleet([2, 1], members=2).fit(X, Y, 1, callbacks=callback)


@pytest.mark.parametrize(("name", "make"), [("mlflow", MLflowLogger), ("optuna", OptunaPruning)])
def test_without_the_library_the_error_says_what_to_install(name, make, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=f"pip install {name}"):
        make(*[Trial()][: name == "optuna"])
