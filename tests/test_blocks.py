"""Epochs that are watched and still trained in blocks give what single epochs give, bit for bit."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from jitprop import (
    Callback,
    Cosine,
    CustomLoss,
    DivergenceError,
    EachUpdate,
    EarlyStopping,
    ReduceOnPlateau,
    Step,
    Trainer,
)
from jitprop.backends import threads, watcher
from jitprop.training.watching import Watch
from jitprop_kernels import watching
from nets import data, limit_calls

LANES, BLOCKS, CHUNKS = [4, 6, 3], [20, 64, 3], [70, 40, 3]


def nothing(trainer, epoch, logs):
    """Do nothing; but a function of the user's own needs a call after each epoch."""


class Nothing(EarlyStopping):
    """A subclass, which could override anything."""


def plateau(**changes):
    settings = {"factor": 0.5, "patience": 2, "min_delta": 1e-3, "minimum": 1e-3}
    return ReduceOnPlateau(0.2, **settings | changes)


@pytest.fixture
def measured(monkeypatch):
    """Return a list to which each call of Python after an epoch adds."""
    calls = []
    measure = Watch.measure
    monkeypatch.setattr(
        Watch, "measure", lambda self, params: calls.append(0) or measure(self, params)
    )
    return calls


def bits(trainer, stopping=None):
    """Return all that a fit leaves, except times."""
    model, state = trainer._model, trainer._model.state
    columns = {k: v.tobytes() for k, v in trainer.history.columns.items() if k != "seconds"}
    found = [
        columns,
        state.params.tobytes(),
        state.slots.tobytes(),
        state.rng.bit_generator.state,
        state.counts.tolist(),
        state.plateau,
        [(kept.name, kept.told) for kept in model.kept],
    ]
    if stopping is not None:
        kept = stopping.get_state()
        parameters = kept.pop("parameters")
        kept["parameters"] = None if parameters is None else parameters.tobytes()
        found += [kept, stopping.stopped, stopping._last]
    return found


def fitted(epochs, samples, others, stopping, settings, extra=None, *, slowly=False):
    """Return what a fit leaves, and the trainer."""
    trainer = Trainer(**settings)
    callback = None if stopping is None else EarlyStopping(**stopping)
    callbacks = [callback] if callback else []
    trainer.fit(
        *samples,
        epochs,
        validation_data=others,
        callbacks=callbacks + [nothing] * slowly,
        **extra or {},
    )
    return bits(trainer, callback), trainer


CASES = {
    "validation alone": (LANES, {}, None),
    "stopped": (LANES, {}, {"patience": 3}),
    "not stopped": (BLOCKS, {}, {"patience": 200}),
    "batches": (LANES, {"batch_size": 16}, {"patience": 4, "min_delta": 1e-4}),
    "batches of the wide route": (BLOCKS, {"batch_size": 64}, {"patience": 4}),
    "training loss": (LANES, {"batch_size": 16}, {"monitor": "loss", "patience": 2}),
    "higher": (BLOCKS, {}, {"mode": "max", "patience": 5, "restore_best": False}),
    "never better": (LANES, {"learning_rate": 1e-300}, {"patience": 3}),
    "adam": (LANES, {"optimizer": "adam", "learning_rate": 0.05}, {"patience": 3}),
    "clipped momentum": (BLOCKS, {"clip_norm": 0.1, "dropout": 0.2}, {"patience": 3}),
    "ties": (LANES, {"learning_rate": 1e-300}, {"patience": 3, "ties": "last"}),
    "falls": (LANES, {"learning_rate": plateau()}, None),
    "falls, stops": (BLOCKS, {"learning_rate": plateau()}, {"patience": 9}),
    "falls by loss": (LANES, {"learning_rate": plateau(monitor="loss"), "batch_size": 16}, None),
    "schedule": (LANES, {"learning_rate": Step(0.3, 5, 0.5)}, {"patience": 3}),
    "each update": (
        BLOCKS,
        {"learning_rate": EachUpdate(Cosine(0.3, 60)), "batch_size": 64},
        {"patience": 3},
    ),
    "sum": (LANES, {"reduction": "sum", "learning_rate": 0.003}, {"patience": 3}),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_block_gives_the_bits_of_single_epochs(case, weighted, dtype, rng, measured):
    sizes, settings, stopping = CASES[case]
    classes = {"output_activation": "softmax", "loss": "cross_entropy"} if weighted else {}
    settings = {"layer_sizes": sizes, "dtype": dtype, "seed": 0, "backend": "numba"} | settings
    loss = classes.get("loss", "half_squared_error")
    samples, others = (data(sizes, n, loss, True, rng) for n in (107, 61))
    extra = {}
    if weighted:
        extra["sample_weight"] = rng.integers(0, 3, 107)
        others = (*others, rng.integers(0, 3, 61))
    given = samples, others, stopping, settings | classes, extra
    found, trainer = fitted(60, *given)
    assert not measured, "Python was called after an epoch"
    expected, twin = fitted(60, *given, slowly=True)
    assert measured
    assert found == expected
    # The random state is that of the last epoch trained: another fit goes on alike.
    for each in (trainer, twin):
        each.fit(*samples, 2, validation_data=others, **extra)
    assert bits(trainer) == bits(twin)


NUMBERS = ["mse", "mae", "r2"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("sizes", [LANES, BLOCKS])
@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("validated", [False, True])
def test_named_metrics_are_those_of_single_epochs(validated, labels, sizes, dtype, rng, measured):
    classes = {"output_activation": "softmax", "loss": "cross_entropy"} if labels else {}
    loss = classes.get("loss", "half_squared_error")
    settings = {"layer_sizes": sizes, "dtype": dtype, "batch_size": 16, "seed": 0, "n_threads": 1}
    settings |= {"backend": "numba", **classes}
    samples, others = (data(sizes, n, loss, True, rng) for n in (107, 31))
    given = samples, others if validated else None, {"monitor": "loss", "patience": 9}, settings
    extra = {"metrics": [*NUMBERS, *["accuracy", "log_loss"] * labels]}
    found, _ = fitted(40, *given, extra)
    assert not measured
    expected, trainer = fitted(40, *given, extra, slowly=True)
    assert found == expected
    assert len(trainer.history.metrics) == len(extra["metrics"]) * (1 + validated)
    assert all(np.isfinite(column).all() for column in trainer.history.metrics.values())


TARGETS = {
    "labels": ([5, 9, 4], {"output_activation": "softmax", "loss": "cross_entropy"}),
    "one-hot": ([5, 9, 4], {"output_activation": "softmax", "loss": "cross_entropy"}),
    "one output": ([5, 9, 1], {"loss": "binary_cross_entropy"}),
    "wide": ([5, 90, 4], {"output_activation": "softmax", "loss": "cross_entropy"}),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["accuracy", "validation_accuracy"])
@pytest.mark.parametrize("ties", ["first", "last"])
@pytest.mark.parametrize("kind", TARGETS)
def test_the_accuracy_that_stops_a_block_is_that_of_single_epochs(
    kind, ties, name, dtype, rng, measured
):
    sizes, loss = TARGETS[kind]
    settings = {"layer_sizes": sizes, "dtype": dtype, "batch_size": 16, "seed": 0, "n_threads": 1}
    settings |= {"backend": "numba", "learning_rate": 0.3, **loss}
    samples, others = [], []
    for n, made in ((107, samples), (31, others)):
        X, y = rng.normal(size=(n, 5)), rng.integers(0, max(2, sizes[-1]), n)
        y[X[:, 0] > 0] = 1
        made += [X, np.eye(4)[y] if kind == "one-hot" else y]
    stopping = {"monitor": "validation_accuracy", "patience": 6, "ties": ties}
    given = samples, others, stopping, settings, {"metrics": [name]}
    found, trainer = fitted(60, *given)
    assert not measured, "Python was called after an epoch"
    expected, _ = fitted(60, *given, slowly=True)
    assert measured
    assert found == expected
    accuracies = trainer.history.metrics["validation_accuracy"]
    assert 6 < len(accuracies) < 60
    assert ("accuracy" in trainer.history.metrics) == (name == "accuracy")
    best = np.flatnonzero(accuracies == accuracies.max())[0 if ties == "first" else -1]
    assert found[-3]["best_epoch"] == best
    assert trainer.evaluate(*others) == trainer.history.validation_loss[best]


def test_nan_is_no_accuracy_and_targets_of_no_class_are_refused(rng, measured):
    settings = {"layer_sizes": [3, 4, 2], "seed": 0, "backend": "numba"}
    X, y = data([3, 2], 20, "half_squared_error", False, rng)
    given = (X, y), (X, 3 * y), {"monitor": "validation_accuracy"}, settings
    for slowly in (False, True):
        with pytest.raises(ValueError, match="accuracy"):
            fitted(5, *given, {"metrics": ["validation_accuracy"]}, slowly=slowly)
    predictions = np.array([0.1, 0.9, np.nan, 0.3, 0.6, 0.6], np.float32)
    classes = np.array([1])
    accuracy = getattr(watching.accuracy, "py_func", watching.accuracy)
    found = [accuracy(predictions, at, classes, 2) for at in (0, 2, 4)]
    np.testing.assert_array_equal(found, [1.0, np.nan, 0.0])


@pytest.mark.parametrize("room", [0, 3 * 3 * 138, 10**9])
def test_metrics_do_not_depend_on_the_length_of_blocks(room, rng, monkeypatch, measured):
    """With no room for two epochs of predictions, each epoch is a block or a call of its own."""
    samples, others = (data(LANES, n, "half_squared_error", False, rng) for n in (107, 31))
    settings = {"layer_sizes": LANES, "batch_size": 16, "seed": 0, "backend": "numba"}
    given = samples, others, {"patience": 30}, settings, {"metrics": NUMBERS}
    expected, _ = fitted(20, *given)
    monkeypatch.setattr("jitprop.training.blocks.ROOM", room)
    assert fitted(20, *given)[0] == expected
    assert bool(measured) == (room == 0)


def test_a_metric_that_fails_leaves_the_trainer_as_it_was(rng):
    samples = data([3, 2], 10, "half_squared_error", False, rng)
    trainer = Trainer([3, 2], output_activation="identity", seed=0, backend="numba")
    before = trainer.parameters.copy()
    with pytest.raises(ValueError, match="accuracy needs labels"):
        trainer.fit(samples[0], 3 * samples[1] - 1, 9, metrics="accuracy")
    assert trainer.epochs_trained == len(trainer.history.loss) == 0
    np.testing.assert_array_equal(trainer.parameters, before)


def test_fits_with_other_columns_leave_each_others_alone(rng):
    samples = data([3, 2], 10, "half_squared_error", False, rng)
    trainer = Trainer([3, 2], seed=0, backend="numba")
    trainer.fit(*samples, 3, validation_data=samples)
    trainer.fit(*samples, 3, metrics="mse")
    assert np.isnan(trainer.history.validation_loss[3:]).all()
    assert np.isnan(trainer.history.metrics["mse"][:3]).all()
    assert np.isfinite(trainer.history.validation_loss[:3]).all()
    assert np.isfinite(trainer.history.metrics["mse"][3:]).all()


@pytest.mark.parametrize("sizes", [BLOCKS, CHUNKS, [9, 1030, 5]])
def test_any_number_of_threads_gives_the_same_bits(sizes, rng, monkeypatch, measured):
    monkeypatch.setattr(threads, "cores", lambda: 3)
    monkeypatch.setattr(threads, "SHARE", 1)
    monkeypatch.setattr(threads, "START", 1)
    monkeypatch.setattr(watcher, "VALIDATED_ALONE", np.inf)
    samples, others = (data(sizes, n, "squared_error", False, rng) for n in (1100, 600))
    found, metrics = [], {"metrics": NUMBERS}
    for n_threads in (1, 2, 3):
        settings = {
            "layer_sizes": sizes, "learning_rate": plateau(), "n_threads": n_threads,
            "batch_size": 600, "seed": 0, "backend": "numba",
        }  # fmt: skip
        found.append(fitted(12, samples, others, {"patience": 3}, settings, metrics)[0])
    assert not measured
    assert found[0] == found[1] == found[2]
    settings["n_threads"] = 1
    slow, _ = fitted(12, samples, others, {"patience": 3}, settings, metrics, slowly=True)
    assert slow == found[0]


@pytest.mark.parametrize("sizes", [BLOCKS, [9, 1030, 5]])
def test_any_number_of_threads_finds_the_same_accuracy(sizes, rng, monkeypatch, measured):
    monkeypatch.setattr(threads, "cores", lambda: 3)
    monkeypatch.setattr(threads, "SHARE", 1)
    monkeypatch.setattr(threads, "START", 1)
    monkeypatch.setattr(watcher, "VALIDATED_ALONE", np.inf)
    classes = {"output_activation": "softmax", "loss": "cross_entropy"}
    samples, others = (data(sizes, n, "cross_entropy", True, rng) for n in (1100, 600))
    found, metrics = [], {"metrics": ["validation_accuracy"]}
    stopping = {"monitor": "validation_accuracy", "patience": 3, "ties": "last"}
    for n_threads in (1, 2, 3):
        settings = {"layer_sizes": sizes, "n_threads": n_threads, "batch_size": 600, "seed": 0}
        settings |= {"backend": "numba", **classes}
        found.append(fitted(12, samples, others, stopping, settings, metrics)[0])
    assert not measured
    assert found[0] == found[1] == found[2]
    assert fitted(12, samples, others, stopping, settings, metrics, slowly=True)[0] == found[0]


@pytest.mark.parametrize("work", [1, 5000, 40_000])
def test_bits_do_not_depend_on_the_length_of_calls_and_blocks(work, rng, monkeypatch, measured):
    samples, others = (data(LANES, n, "half_squared_error", False, rng) for n in (50, 20))
    settings = {
        "layer_sizes": LANES, "batch_size": 16, "learning_rate": plateau(), "seed": 0,
        "backend": "numba",
    }  # fmt: skip
    expected, _ = fitted(40, samples, others, {"patience": 12}, settings)
    limit_calls(monkeypatch, work)
    assert fitted(40, samples, others, {"patience": 12}, settings)[0] == expected
    assert not measured


def loss_of(name):
    return CustomLoss(lambda a, y: (a - y) ** 2, lambda a, y: 2 * (a - y), name=name)


@pytest.mark.parametrize(
    ("settings", "watching", "in_blocks"),
    [
        ({}, {}, True),
        ({"loss": loss_of("mine")}, {}, True),
        ({}, {"callbacks": EarlyStopping()}, True),
        ({}, {"callbacks": EarlyStopping("learning_rate")}, False),
        ({}, {"callbacks": Nothing()}, False),
        ({}, {"callbacks": [EarlyStopping(), EarlyStopping("loss")]}, False),
        ({}, {"callbacks": [EarlyStopping(), Callback()]}, False),
        ({}, {"callbacks": nothing}, False),
        ({}, {"metrics": "mse"}, True),
        ({}, {"metrics": lambda y, prediction: 0.0}, False),
        ({}, {"metrics": "mse", "callbacks": EarlyStopping("validation_mse")}, False),
        ({}, {"metrics": "validation_mse"}, True),
        ({}, {"metrics": "accuracy", "callbacks": EarlyStopping("validation_accuracy")}, True),
        ({}, {"metrics": "accuracy", "callbacks": EarlyStopping("accuracy")}, False),
        ({}, {"order": lambda epoch: np.arange(10)}, False),
        ({"learning_rate": lambda epoch: 0.1}, {}, False),
        ({"backend": "numpy"}, {}, False),
    ],
)
def test_only_functions_of_the_users_need_a_call_after_each_epoch(
    settings, watching, in_blocks, rng, measured
):
    samples = data([3, 2], 10, "half_squared_error", False, rng)
    trainer = Trainer(**{"layer_sizes": [3, 2], "seed": 0, "backend": "numba"} | settings)
    trainer.fit(*samples, 5, validation_data=samples, **watching)
    assert len(measured) == (0 if in_blocks else 5)


def test_streams_and_long_validation_are_watched_epoch_by_epoch(rng, measured, monkeypatch):
    samples = data([3, 2], 10, "half_squared_error", False, rng)
    trainer = Trainer([3, 2], seed=0, backend="numba")
    trainer.fit([samples], epochs=2, validation_data=samples)
    assert len(measured) == 2
    monkeypatch.setattr(watcher, "LONG", 10)
    trainer.fit(*samples, 3, validation_data=samples)
    assert len(measured) == 5


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("sizes", [[3, 2], [3, 64, 2]])
def test_divergence_leaves_what_it_leaves_in_single_epochs(sizes, batch_size, optimizer, rng):
    """The loss grows by a factor each epoch, and the rate falls, until a number overflows."""
    samples, others = (data(sizes, n, "half_squared_error", False, rng) for n in (10, 5))
    rate = 40.0 if optimizer == "sgd" else 1e200
    falling = ReduceOnPlateau(rate, factor=0.99, patience=3)
    settings = {
        "layer_sizes": sizes, "output_activation": "identity", "optimizer": optimizer,
        "learning_rate": falling, "batch_size": batch_size, "seed": 0, "backend": "numba",
    }  # fmt: skip
    found = []
    for slowly in (False, True):
        trainer, stopping = Trainer(**settings), EarlyStopping(patience=5000)
        callbacks = [stopping, *[nothing] * slowly]
        with pytest.raises(DivergenceError) as caught:
            trainer.fit(*samples, 9000, validation_data=others, callbacks=callbacks, metrics="mse")
        error = caught.value
        notes = getattr(error, "__notes__", [])
        losses = error.history.loss.tobytes(), error.history.metrics["mse"].tobytes()
        found.append(
            [
                str(error), error.epoch, error.kept_epochs, *losses, notes,
                *bits(trainer, stopping),
            ]
        )  # fmt: skip
    assert found[0] == found[1]


def test_an_overflow_that_the_loss_hides_is_found_after_its_epoch(rng):
    """Units of relu that are 0 for all samples hide what their own weights have become."""
    X, y = rng.uniform(size=(8, 2)), np.full((8, 1), 1e200)
    found = []
    for slowly in (False, True):
        trainer = Trainer(
            [2, 3, 1], activation="relu", output_activation="identity", loss="absolute_error",
            optimizer="adam", learning_rate=1e-3, weight_decay=1e200, seed=0, backend="numba",
        )  # fmt: skip
        stopping = EarlyStopping(patience=5000)
        try:
            trainer.fit(
                X, y, 500, validation_data=(X, y), callbacks=[stopping, *[nothing] * slowly]
            )
            error = None
        except DivergenceError as raised:
            error = str(raised), raised.epoch, raised.kept_epochs
        found.append([error, *bits(trainer, stopping)])
    assert found[0][0] is not None
    assert found[0] == found[1]


def interrupted(monkeypatch, call):
    """Make the watcher's call of this number train, and raise KeyboardInterrupt."""
    calls, train = [], watcher.Watcher.train

    def stop(self, *given):
        calls.append(0)
        reached = train(self, *given)
        if len(calls) == call:
            raise KeyboardInterrupt
        return reached

    monkeypatch.setattr(watcher.Watcher, "train", stop)


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("call", [1, 2, 4])
def test_ctrl_c_keeps_whole_blocks_and_the_fit_resumes(call, saved, rng, monkeypatch, tmp_path):
    samples, others = (data(LANES, n, "half_squared_error", False, rng) for n in (50, 20))
    settings = {
        "layer_sizes": LANES, "batch_size": 16, "learning_rate": plateau(), "seed": 0,
        "optimizer": "adam", "backend": "numba",
    }  # fmt: skip
    limit_calls(monkeypatch, 80_000)  # some epochs
    expected, ref = fitted(60, samples, others, {"patience": 20}, settings)
    trainer, stopping = Trainer(**settings), EarlyStopping(patience=20)
    with monkeypatch.context() as patched:
        interrupted(patched, call)
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(*samples, 60, validation_data=others, callbacks=stopping)
    n = trainer.epochs_trained
    assert n == len(trainer.history.loss) < ref.epochs_trained
    assert (n == 0) == (call == 1)
    if n:
        best = int(np.argmin(ref.history.validation_loss[:n]))
        assert stopping.best_epoch == best
        assert trainer.evaluate(*others) == stopping.best == trainer.history.validation_loss[best]
        assert trainer._model.kept[0].told == n
    if saved:
        trainer.save(tmp_path / "net")
        trainer = Trainer.load(tmp_path / "net")
        stopping = EarlyStopping(patience=20)
    trainer.fit(*samples, epochs_total=60, validation_data=others, callbacks=stopping)
    assert bits(trainer, stopping) == expected


def test_another_thread_copies_the_end_of_a_block(rng, monkeypatch):
    samples, others = (data(LANES, n, "half_squared_error", False, rng) for n in (50, 20))
    settings = {
        "layer_sizes": LANES, "batch_size": 16, "learning_rate": plateau(), "seed": 0,
        "backend": "numba",
    }  # fmt: skip
    limit_calls(monkeypatch, 80_000)
    expected, _ = fitted(60, samples, others, {"patience": 20}, settings)
    trainer, stopping, copies = Trainer(**settings), EarlyStopping(patience=20), []
    train = watcher.Watcher.train

    def copied(self, *given):
        reached = train(self, *given)
        thread = threading.Thread(target=lambda: copies.append(copy.deepcopy(trainer)))
        thread.start()
        thread.join(timeout=60)
        return reached

    with monkeypatch.context() as patched:
        patched.setattr(watcher.Watcher, "train", copied)
        trainer.fit(*samples, 60, validation_data=others, callbacks=stopping)
    assert bits(trainer, stopping) == expected
    assert len({each.epochs_trained for each in copies}) > 2
    for each in copies:
        assert len(each.history.loss) == each.epochs_trained
        stopping = EarlyStopping(patience=20)
        each.fit(*samples, epochs_total=60, validation_data=others, callbacks=stopping)
        assert bits(each, stopping) == expected


def test_interpreted_kernels_watch_too():
    code = """
import numpy as np
from jitprop import EarlyStopping, ReduceOnPlateau, Trainer
from jitprop.training.watching import Watch
rng = np.random.default_rng(0)
X, y = rng.normal(size=(9, 2)), rng.uniform(size=(9, 1))
found, calls, measure = [], [], Watch.measure
Watch.measure = lambda self, params: calls.append(0) or measure(self, params)
for backend in ("numpy", "numba"):
    rate, stopping = ReduceOnPlateau(0.5, patience=1, min_delta=1e-3), EarlyStopping(patience=2)
    trainer = Trainer([2, 3, 1], learning_rate=rate, batch_size=4, seed=0, backend=backend)
    history = trainer.fit(X, y, 12, validation_data=(X[::-1], y), callbacks=stopping)
    found.append((trainer.parameters, history.validation_loss, history.learning_rate))
    found[-1] += (len(history.loss), stopping.best_epoch, len(calls))
for a, b in zip(*found):
    np.testing.assert_allclose(a, b, rtol=1e-9)
"""
    interpreted = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=interpreted, timeout=120)
