"""A sweep gives the results of a plain loop over settings and folds."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import Executor

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold

from jitprop import (
    SGD,
    Adam,
    CrossEntropy,
    EarlyStopping,
    Exponential,
    Huber,
    SweepResult,
    Trainer,
    sweep,
)
from jitprop.sweeps import tasks
from jitprop.sweeps.folds import k_folds
from nets import data
from sweep_results import equal

FIXED = {"activation": "tanh", "output_activation": "identity", "epochs": 4, "seed": 3}


def mean_absolute_error(y, prediction):
    return np.abs(y - prediction).mean()


@pytest.mark.parametrize(
    ("grid", "fixed"),
    [
        # One fleet in lanes; the last batch is short.
        ({"learning_rate": [0.02, 0.1], "weight_decay": [0.0, 0.01]}, {"batch_size": 5}),
        # Many settings: each fold is its own fleet.
        ({"learning_rate": np.geomspace(0.01, 0.1, 9), "seed": [5, 6]}, {"optimizer": "adam"}),
        # All kinds of settings; each is its own fleet.
        (
            [
                {"layer_sizes": [3, 20, 20, 2]},
                {"layer_sizes": [3, 2], "activation": "relu", "epochs": 2},
                {"optimizer": SGD(momentum=0.5), "loss": Huber(0.3)},
                {"optimizer": Adam(beta_1=0.8), "learning_rate": Exponential(0.1, 0.9)},
                {"dropout": 0.3, "batch_size": 5},
                {"dropout": [0.2], "clip_norm": 0.1},
                {"batch_size": 7, "shuffle": False, "reduction": "sum", "dtype": "float32"},
            ],
            {"weight_decay": 0.001},
        ),
    ],
)
def test_a_sweep_is_a_loop_over_trainers(grid, fixed, rng):
    X, y = data([3, 4, 2], 23, "half_squared_error", False, rng)
    weight = rng.integers(0, 3, 23)
    fixed = {"layer_sizes": [3, 4, 2], **FIXED, **fixed}
    cv = KFold(3, shuffle=True, random_state=1)
    comp = sweep(
        X, y, grid, cv=cv, sample_weight=weight, metrics=["mae", mean_absolute_error], **fixed
    )
    assert comp.measured["training_loss"].shape == (len(comp.settings), 3)
    for i, setting in enumerate(comp.settings):
        arguments = {**fixed, **setting}
        epochs = arguments.pop("epochs")
        for j, (train, held_out) in enumerate(cv.split(X)):
            trainer = Trainer(**arguments)
            trainer.fit(X[train], y[train], epochs, sample_weight=weight[train])
            prediction = trainer.predict(X[held_out])
            ref = {
                "training_loss": trainer.evaluate(X[train], y[train], sample_weight=weight[train]),
                "validation_loss": trainer.evaluate(
                    X[held_out], y[held_out], sample_weight=weight[held_out]
                ),
                "validation_mae": mean_absolute_error(y[held_out], prediction),
                "validation_mean_absolute_error": mean_absolute_error(y[held_out], prediction),
                "epochs_trained": epochs,
                "diverged": False,
            }
            tolerance = 2e-6 if arguments.get("dtype") == "float32" else 1e-10
            assert list(comp.measured) == list(ref)
            for name, values in comp.measured.items():
                assert values[i, j] == pytest.approx(ref[name], rel=tolerance), (name, setting)
    means = comp.measured["validation_loss"].mean(axis=1)
    assert comp.best == comp.settings[np.argmin(means)]
    np.testing.assert_array_equal(np.argsort(comp.ranks), np.argsort(means))
    arguments = {**fixed, **comp.best}
    ref = Trainer(**{name: value for name, value in arguments.items() if name != "epochs"})
    ref.fit(X, y, arguments["epochs"], sample_weight=weight)
    np.testing.assert_array_equal(comp.trainer.parameters, ref.parameters)


def test_cutting_does_not_show(rng, monkeypatch):
    X, y = data([3, 4, 2], 22, "half_squared_error", False, rng)
    grid = {
        "layer_sizes": [[3, 4, 2], [3, 30, 2]],
        "momentum": [0.0, 0.5, 0.9],
        "dropout": [0.0, 0.3],
    }
    ref = sweep(X, y, grid, cv=4, refit=False, **FIXED)
    for work, lanes in ((1, 1), (1e5, 3)):
        monkeypatch.setattr(tasks, "TASK_WORK", work)
        monkeypatch.setattr(tasks, "LANES", lanes)
        equal(sweep(X, y, grid, cv=4, refit=False, **FIXED), ref)
    # Nor does the rest of the sweep matter.
    alone = sweep(X, y, [ref.settings[4]], cv=4, refit=False, **FIXED)
    for name, values in alone.measured.items():
        np.testing.assert_array_equal(values[0], ref.measured[name][4])


def test_validation_data_take_the_place_of_folds(rng):
    X, y = data([3, 4, 2], 30, "half_squared_error", False, rng)
    weight = rng.uniform(0.5, 1, 10)
    comp = sweep(
        X[:20], y[:20], {"learning_rate": [0.1, 0.2]}, layer_sizes=[3, 4, 2],
        validation_data=(X[20:], y[20:], weight), **FIXED,
    )  # fmt: skip
    for i, rate in enumerate((0.1, 0.2)):
        ref = Trainer([3, 4, 2], activation="tanh", output_activation="identity", seed=3,
                      learning_rate=rate)  # fmt: skip
        ref.fit(X[:20], y[:20], 4)
        loss = ref.evaluate(X[20:], y[20:], sample_weight=weight)
        assert comp.measured["validation_loss"][i] == pytest.approx([loss], rel=1e-10)


def test_labels_and_what_is_best(rng):
    X = rng.normal(size=(50, 2))
    labels = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.8)
    seen = []

    def share(y, prediction):
        seen.append((y.dtype.kind, y.shape, prediction.shape))
        return (y == prediction.argmax(axis=1)).mean()

    fixed = {
        "layer_sizes": [2, 8, 3], "output_activation": "softmax", "optimizer": "adam", "seed": 0,
        "loss": "cross_entropy", "metrics": ["accuracy", share], "cv": 4, "refit": False,
    }  # fmt: skip
    grid = {"learning_rate": [0.0001, 0.1], "epochs": [3, 40]}
    comp = sweep(X, labels, grid, monitor="validation_accuracy", **fixed)
    assert comp.best == {"learning_rate": 0.1, "epochs": 40}
    assert comp.trainer is None
    np.testing.assert_array_equal(
        comp.measured["validation_accuracy"], comp.measured["validation_share"]
    )
    assert {kind for kind, *_ in seen} == {"i"}
    assert {(y, p) for _, y, p in seen} == {((n,), (n, 3)) for n in (12, 13)}
    worst = sweep(X, labels, grid, monitor="validation_accuracy", mode="min", **fixed)
    np.testing.assert_array_equal(
        np.sort(comp.measured["validation_accuracy"].mean(axis=1)[np.argsort(worst.ranks)]),
        comp.measured["validation_accuracy"].mean(axis=1)[np.argsort(worst.ranks)],
    )


@pytest.mark.parametrize(("n", "k"), [(10, 5), (23, 4), (7, 7)])
def test_folds_hold_each_row_out_once(n, k, rng):
    classes = rng.integers(0, 3, n)
    for given in (None, classes):
        folds = k_folds(n, k, given)
        held_out = np.concatenate([rows for _, rows in folds])
        assert sorted(held_out) == list(range(n))
        sizes = [len(rows) for _, rows in folds]
        assert max(sizes) - min(sizes) <= 1
        for train, rows in folds:
            assert sorted([*train, *rows]) == list(range(n))
        if given is not None:
            counts = np.array([np.bincount(classes[rows], minlength=3) for _, rows in folds])
            assert (np.ptp(counts, axis=0) <= 1).all()


def test_folds_are_stratified_for_classes_alone(rng):
    X, y = rng.normal(size=(40, 2)), np.repeat([0, 1], [36, 4])
    fixed = {"layer_sizes": [2, 1], "epochs": 1, "seed": 0, "refit": False, "cv": 4}

    def positives(y, prediction):
        return y.sum()

    grid = [{"loss": "binary_cross_entropy"}]
    comp = sweep(X, y, grid, metrics=positives, **fixed)
    assert comp.measured["validation_positives"].tolist() == [[1.0] * 4]
    comp = sweep(X, y, [*grid, {"loss": "squared_error"}], metrics=positives, **fixed)
    assert comp.measured["validation_positives"][0].tolist() != [1.0] * 4
    given = sweep(X, y, grid, metrics=positives, **{**fixed, "cv": StratifiedKFold(2)})
    assert given.measured["validation_positives"].tolist() == [[2.0, 2.0]]
    rows = list(ShuffleSplit(3, random_state=0).split(X))
    assert sweep(X, y, grid, **{**fixed, "cv": rows}).measured["diverged"].shape == (1, 3)


def test_early_stopping_and_the_epochs_of_the_best(rng):
    X, y = data([3, 4, 2], 40, "half_squared_error", False, rng)
    fixed = {**FIXED, "epochs": 60, "layer_sizes": [3, 4, 2]}
    stopping = EarlyStopping(patience=3)
    grid = {"learning_rate": [0.3, 2.0]}
    comp = sweep(X, y, grid, cv=KFold(3), early_stopping=stopping, **fixed)
    kept = comp.measured["epochs_trained"]
    for i, rate in enumerate(grid["learning_rate"]):
        for j, (train, held_out) in enumerate(KFold(3).split(X)):
            ref = Trainer([3, 4, 2], activation="tanh", output_activation="identity", seed=3,
                          learning_rate=rate)  # fmt: skip
            own = EarlyStopping(patience=3)
            ref.fit(X[train], y[train], 60, validation_data=(X[held_out], y[held_out]),
                    callbacks=own)  # fmt: skip
            assert kept[i, j] == own.best_epoch + 1
            assert comp.measured["validation_loss"][i, j] == pytest.approx(own.best, rel=1e-9)
    assert len(set(kept.ravel())) > 2
    assert comp.trainer.epochs_trained == max(1, round(kept[comp.best_index].mean()))


def test_what_diverges_is_not_the_best(rng):
    X, y = data([3, 4, 2], 20, "half_squared_error", False, rng)
    fixed = {**FIXED, "activation": "relu", "epochs": 300, "layer_sizes": [3, 4, 2], "cv": 2}
    comp = sweep(X, y, {"learning_rate": [1e200, 0.01]}, **fixed)
    assert comp.measured["diverged"].tolist() == [[True, True], [False, False]]
    assert np.isnan(comp.measured["validation_loss"][0]).all()
    assert comp.ranks.tolist() == [2, 1]
    assert comp.best == {"learning_rate": 0.01}
    assert "validation_loss 0." in repr(comp)
    with pytest.warns(RuntimeWarning, match="there is no best one of 1 settings: each diverged"):
        comp = sweep(X, y, {"learning_rate": [1e200]}, **fixed)
    assert comp.best is comp.best_index is comp.trainer is None
    assert repr(comp) == "SweepResult(1 settings, 2 folds, none with a finite validation_loss)"


def test_what_has_no_number_is_not_the_best(rng):
    X, y = data([3, 4, 2], 20, "half_squared_error", False, rng)
    fixed = {**FIXED, "layer_sizes": [3, 4, 2], "cv": 2, "monitor": "validation_odd"}

    def odd(y, prediction):
        return np.nan if np.abs(prediction).max() < 1e-3 else np.abs(prediction).max()

    zeros = [[np.zeros((3, 4)), np.zeros((4, 2))], [np.zeros(4), np.zeros(2)]]
    grid = [{"init": zeros, "learning_rate": 1e-9}, {}]
    message = "validation_odd is nan or infinite in some fold of 1 of 2 settings"
    with pytest.warns(RuntimeWarning, match=message) as caught:
        comp = sweep(X, y, grid, metrics=odd, **fixed)
    assert [warning.filename for warning in caught] == [__file__]
    assert (comp.best_index, comp.ranks.tolist()) == (1, [2, 1])
    with pytest.warns(RuntimeWarning, match="or its validation_odd is not finite"):
        comp = sweep(X, y, grid[:1], metrics=odd, **fixed)
    assert comp.best is comp.trainer is None
    assert not comp.measured["diverged"].any()


def test_of_equals_the_first_is_the_best(rng):
    X, y = data([3, 4, 2], 20, "half_squared_error", False, rng)
    comp = sweep(X, y, [{"learning_rate": 0.001}, {}, {}], cv=2, layer_sizes=[3, 4, 2], **FIXED)
    assert comp.ranks.tolist() == [3, 1, 2]
    assert comp.best_index == 1


def test_results_are_copied_and_pickled(rng):
    X, y = data([3, 4, 2], 20, "half_squared_error", False, rng)
    comp = sweep(X, y, {"loss": ["huber", Huber(2.0)]}, cv=2, layer_sizes=[3, 4, 2], **FIXED)
    for made in (copy.deepcopy(comp), pickle.loads(pickle.dumps(comp))):
        equal(made, comp)
        np.testing.assert_array_equal(made.trainer.parameters, comp.trainer.parameters)
        assert made.best == comp.best


def test_class_weights_that_leave_a_fold_empty(rng, monkeypatch):
    X, y = rng.normal(size=(12, 2)), np.array([0] * 11 + [1])
    monkeypatch.setattr(tasks, "run", None)
    with pytest.raises(ValueError, match=r"in setting 1, .*: in fold \d, y must have a sample"):
        sweep(
            X, y, {"loss": ["cross_entropy", CrossEntropy(class_weight=[0, 1])]}, cv=3, epochs=1,
            layer_sizes=[2, 2], output_activation="softmax",
        )  # fmt: skip


def test_tables(rng):
    X, y = data([3, 4, 2], 20, "half_squared_error", False, rng)
    grid = [
        {"layer_sizes": [3, 2], "seed": 2**63},
        {"layer_sizes": [3, 4, 2], "seed": 1, "learning_rate": 0.2},
    ]
    fixed = {name: value for name, value in FIXED.items() if name != "seed"}
    comp = sweep(X, y, grid, cv=3, refit=False, metrics="r2", **fixed)
    assert isinstance(comp, SweepResult)
    frame, summary = comp.to_frame(), comp.to_frame(summary=True)
    assert list(frame.columns) == [
        "setting", "fold", "layer_sizes", "seed", "learning_rate", "training_loss",
        "validation_loss", "validation_r2", "epochs_trained", "diverged",
    ]  # fmt: skip
    assert frame.setting.tolist() == [0, 0, 0, 1, 1, 1]
    assert frame.fold.tolist() == [0, 1, 2] * 2
    assert frame.layer_sizes.tolist() == [[3, 2]] * 3 + [[3, 4, 2]] * 3
    assert frame.seed.tolist() == [2**63] * 3 + [1] * 3
    assert frame.validation_r2.dtype == float
    groups = frame.groupby("setting").validation_r2
    assert summary.index.name == "setting"
    pd.testing.assert_series_equal(summary.validation_r2_mean, groups.mean(), check_names=False)
    pd.testing.assert_series_equal(summary.validation_r2_std, groups.std(ddof=0), check_names=False)
    assert sorted(summary["rank"]) == [1, 2]
    assert summary.diverged.tolist() == [0, 0]


def test_without_a_seed_settings_share_one(rng):
    X, y = data([3, 4, 2], 20, "half_squared_error", False, rng)
    fixed = {**FIXED, "layer_sizes": [3, 4, 2], "seed": None, "cv": 2}
    comp = sweep(X, y, [{}, {}], **fixed)
    np.testing.assert_array_equal(*comp.measured["validation_loss"])
    again = sweep(X, y, [{}], **fixed)
    assert (again.measured["validation_loss"] != comp.measured["validation_loss"][0]).all()


GOOD = {"layer_sizes": [2, 1], "epochs": 1}


@pytest.mark.parametrize(
    ("grid", "arguments", "message"),
    [
        (3, {}, "grid must be a dict of lists"),
        ([], {}, "grid must have at least one setting"),
        ([3], {}, r"grid\[0\] must be a dict"),
        ({"seed": 3}, {}, r"grid\['seed'\] must be a list of values; got 3"),
        ({"activation": "tanh"}, {}, r"grid\['activation'\] must be a list"),
        ({"seed": []}, {}, r"grid\['seed'\] must have at least one value"),
        ({"learning_rates": [1]}, {}, "setting 'learning_rates' is unknown: did you mean 'learn"),
        ({}, {"members": 2}, "setting 'members' is unknown"),
        ([{"seed": 1}], {"epochs": None}, "epochs must be an integer"),
        ({"seed": [1, -1]}, {}, r"in setting 1, \{'seed': -1\}: seed must be"),
        ({"learning_rate": [0.1, [0.1]]}, {}, "in setting 1.*learning_rate must be a finite numb"),
        ({"layer_sizes": [[2, 1], [3, 1]]}, {"layer_sizes": 0}, "X must have 3 columns"),
        ({"momentum": [0.0, 0.5]}, {"optimizer": SGD(0.5, nesterov=True)}, "in setting 0.*nester"),
        ({"momentum": [0.5]}, {"optimizer": "adam"}, "momentum is a setting of SGD"),
        ({}, {"cv": 1}, "cv must be an integer of at least 2"),
        ({}, {"cv": 7}, "cv must be at most the 6 samples; got 7"),
        ({}, {"cv": 0.5}, "cv must be an int, a splitter"),
        ({}, {"cv": []}, "cv must have at least one fold"),
        ({}, {"cv": [([0, 1],)]}, r"cv\[0\] must be \(rows to train on, rows held out\)"),
        ({}, {"cv": [([0, 6], [1])]}, r"cv\[0\]\[0\] must hold rows from 0 to 5; got 0 to 6"),
        ({}, {"cv": [([0], [0.5])]}, r"cv\[0\]\[1\] must be an array of ints"),
        ({}, {"cv": [([0], [])]}, r"cv\[0\]\[1\] must"),
        ({}, {"validation_data": (1, 2, 3, 4)}, "validation_data must be"),
        ({}, {"validation_data": ([[1]], [1])}, "in validation_data, X must have 2 columns"),
        ({}, {"validation_data": ([[1, 2]], [1, 2])}, "in validation_data, y must have one row"),
        ({}, {"validation_data": ([[1, 2]], [1]), "cv": 2}, "exclude each other"),
        ({}, {"sample_weight": [1, 1, 1, 0, 0, 0], "cv": [([3, 4], [0])]}, "fold 0 of cv must"),
        ({}, {"monitor": "accuracy"}, "monitor 'accuracy' is unknown"),
        ({}, {"mode": "up"}, "mode 'up' is unknown"),
        ({}, {"metrics": "nothing"}, "metrics"),
        ({}, {"early_stopping": 3}, "early_stopping must be an EarlyStopping"),
        ({}, {"early_stopping": EarlyStopping("mse")}, "early_stopping monitors 'mse', which this"),
        ({}, {"refit": 1}, "refit must be True or False"),
        ({}, {"executor": 4}, "executor must be None or a concurrent.futures.Executor"),
        ({}, {"executor": Executor}, "executor must be None or a concurrent.futures.Executor"),
        ({}, {"X": [1, 2]}, "X must be 2-dimensional"),
        ({}, {"y": [1, 2]}, "y must have one row for each of the 6 rows of X"),
        ({"loss": [CrossEntropy()]}, {}, "softmax"),
        ({"optimizer": ["rprop"]}, {"batch_size": 3}, "batch_size must be None or at least"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_anything_is_trained(grid, arguments, message, monkeypatch):
    monkeypatch.setattr(tasks, "run", None)
    arguments = {"X": np.eye(6)[:, :2], "y": np.arange(6), **GOOD, **arguments}
    if arguments["layer_sizes"] == 0:
        del arguments["layer_sizes"]
    X, y = arguments.pop("X"), arguments.pop("y")
    with pytest.raises((TypeError, ValueError), match=message):
        sweep(X, y, grid, **arguments)


def test_missing_settings_are_named(rng):
    X, y = np.eye(6)[:, :2], np.arange(6)
    with pytest.raises(ValueError, match="epochs must be an argument or in grid; setting 0 has"):
        sweep(X, y, {}, layer_sizes=[2, 1])
    with pytest.raises(ValueError, match="layer_sizes must be an argument or in grid; setting 1"):
        sweep(X, y, [{"layer_sizes": [2, 1]}, {}], epochs=2)
