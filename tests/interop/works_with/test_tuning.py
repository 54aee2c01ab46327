"""Searches, clusters, and logs of experiments."""

from __future__ import annotations

import random

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from jitprop import MLflowLogger, OptunaPruning, Trainer

GRID = {"alpha": [1e-4, 1.0], "learning_rate_init": [0.001, 0.02]}


def test_optuna(same, data):
    optuna = pytest.importorskip("optuna")

    def search(net):
        def objective(trial):
            alpha = trial.suggest_float("alpha", 1e-5, 1, log=True)
            return cross_val_score(clone(net).set_params(alpha=alpha), data.X, data.two).mean()

        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
        study.optimize(objective, 3)
        return [trial.value for trial in study.trials] + [study.best_params["alpha"]]

    same(search, "classifier")


def test_optuna_integration(same, data):
    integration = pytest.importorskip("optuna_integration")
    optuna = pytest.importorskip("optuna")
    space = {"alpha": optuna.distributions.FloatDistribution(1e-5, 1, log=True)}

    def search(net):
        made = integration.OptunaSearchCV(net, space, n_trials=3, random_state=0)
        return made.fit(data.X, data.two).predict_proba(data.X)

    same(search, "classifier")


def test_optuna_prunes_a_trainer_and_an_estimator(ours, data):
    optuna = pytest.importorskip("optuna")

    def objective(trial):
        rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
        pruning = OptunaPruning(trial)
        if trial.number % 2:
            model = ours("regressor", callbacks=pruning, learning_rate_init=rate)
            model.fit(data.X, data.y, X_val=data.X, y_val=data.y)
            return model.validation_loss_curve_[-1]
        trainer = Trainer([5, 8, 1], optimizer="adam", learning_rate=rate, seed=0)
        history = trainer.fit(
            data.X, data.y, 30, validation_data=(data.X, data.y), callbacks=pruning
        )
        return history.validation_loss[-1]

    pruner = optuna.pruners.ThresholdPruner(upper=0.01, n_warmup_steps=4)
    study = optuna.create_study(pruner=pruner)
    study.optimize(objective, 4)
    assert {trial.state for trial in study.trials} == {optuna.trial.TrialState.PRUNED}
    assert {len(trial.intermediate_values) for trial in study.trials} == {5}


def test_scikit_optimize(same, data):
    skopt = pytest.importorskip("skopt")

    def search(net):
        space = {"alpha": (1e-5, 1.0, "log-uniform")}
        made = skopt.BayesSearchCV(net, space, n_iter=3, cv=3, random_state=0)
        return made.fit(data.X, data.two).predict_proba(data.X)

    same(search, "classifier")


def test_sklearn_genetic_opt(same, data):
    genetic = pytest.importorskip("sklearn_genetic")
    space = pytest.importorskip("sklearn_genetic.space")

    def search(net):
        random.seed(0)
        np.random.seed(0)  # deap draws from both
        made = genetic.GASearchCV(
            net,
            param_grid={"alpha": space.Continuous(1e-4, 1.0, random_state=0)},
            population_size=4,
            generations=2,
            cv=2,
            verbose=False,
        )
        return made.fit(data.X, data.two).predict_proba(data.X)

    same(search, "classifier")


def test_dask_ml(same, data):
    search = pytest.importorskip("dask_ml.model_selection").GridSearchCV
    same(
        lambda net: (
            search(net, GRID, cv=3, scheduler="synchronous")
            .fit(data.X, data.two)
            .predict_proba(data.X)
        ),
        "classifier",
    )


def test_distributed(same, data):
    distributed = pytest.importorskip("distributed")

    def search(net):
        with joblib.parallel_backend("dask"):
            found = GridSearchCV(net, GRID, cv=3).fit(data.X, data.two)
        return found.cv_results_["mean_test_score"]

    with distributed.Client(processes=False, n_workers=1, dashboard_address=None):
        same(search, "classifier")


def test_ray(same, data):
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.util.joblib").register_ray()

    def search(net):
        with joblib.parallel_backend("ray"):
            found = GridSearchCV(net, GRID, cv=3).fit(data.X, data.two)
        return found.cv_results_["mean_test_score"]

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        same(search, "classifier")
    finally:
        ray.shutdown()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made, folder = pytest.importorskip("mlflow"), tmp_path_factory.mktemp("mlflow")
    made.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    yield made, folder
    made.set_tracking_uri(None)


@pytest.fixture
def mlflow(store, request):
    made, folder = store
    name = request.node.name
    made.set_experiment(experiment_id=made.create_experiment(name, f"file://{folder}/{name}"))
    return made


def test_mlflow_stores_a_model(same, data, mlflow):
    def stored(net):
        net.fit(data.X, data.two)
        info = mlflow.sklearn.log_model(
            net,
            name="net",
            serialization_format="skops",
            skops_trusted_types=[
                "jitprop.sklearn.classifier.MLPClassifier",
                "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
            ],
            pip_requirements=["jitprop"],  # else MLflow starts a process to find them
        )
        return mlflow.sklearn.load_model(info.model_uri).predict_proba(data.X)

    same(stored, "classifier")


def test_mlflow_logs_an_epoch(data, mlflow):
    trainer = Trainer([5, 8, 1], output_activation="identity", seed=0)
    with mlflow.start_run() as run:
        history = trainer.fit(data.X, data.y, 4, callbacks=MLflowLogger())
    found = mlflow.tracking.MlflowClient().get_metric_history(run.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in found] == list(enumerate(history.loss))
    assert mlflow.get_run(run.info.run_id).data.params["layer_sizes"] == "(5, 8, 1)"


def test_mlflow_autolog_sees_a_pipeline_but_not_a_bare_estimator(ours, data, mlflow):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    mlflow.sklearn.autolog(log_models=False)
    try:
        ours("classifier").fit(data.X, data.two)
        assert len(mlflow.search_runs()) == 0
        make_pipeline(StandardScaler(), ours("classifier")).fit(data.X, data.two)
        assert "metrics.training_accuracy_score" in mlflow.search_runs()
    finally:
        mlflow.sklearn.autolog(disable=True)


def test_river(same, data):
    compat = pytest.importorskip("river.compat")

    def online(net):
        model = compat.convert_sklearn_to_river(net, classes=[0, 1])
        for row, label in zip(data.X, data.two, strict=True):
            model.learn_one(dict(enumerate(row)), int(label))
        return [model.predict_proba_one(dict(enumerate(row)))[1] for row in data.X[:20]]

    same(online, "classifier")


def test_callbacks_of_scikit_learn(same, data):
    """Neither net calls them: a pipeline that has some says so, and fits as without."""
    callback = pytest.importorskip("sklearn.callback")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def fitted(net):
        model = make_pipeline(StandardScaler(), net).set_callbacks(callback.ProgressBar())
        with pytest.warns(UserWarning, match="MLPClassifier does not support callbacks"):
            return model.fit(data.X, data.two).predict_proba(data.X)

    same(fitted, "classifier")
