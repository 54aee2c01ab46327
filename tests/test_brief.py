"""Calls on few samples take a brief way, and give what the usual way gives."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from jitprop import (
    SGD,
    Adam,
    BinaryCrossEntropy,
    CrossEntropy,
    CustomLoss,
    DivergenceError,
    Huber,
    Step,
    TargetWarning,
    Trainer,
)
from jitprop.backends import brief, prepared, threads

SIZES = {"lanes": [3, 5, 2], "blocks": [3, 64, 40, 2]}
SETTINGS = {
    "plain": {},
    "sum": {"reduction": "sum", "activation": "tanh", "output_activation": "identity"},
    "adam": {"optimizer": "adam", "weight_decay": 0.1, "clip_norm": 0.5},
    "nesterov": {"optimizer": SGD(momentum=0.9, nesterov=True), "dropout": 0.3},
    "rprop": {"optimizer": "rprop"},
    "schedule": {"learning_rate": Step(0.5, factor=0.5, every=2), "loss": Huber(0.1)},
    "smoothed": {"loss": BinaryCrossEntropy(label_smoothing=0.1)},
    "labels": {"loss": CrossEntropy(), "output_activation": "softmax"},
}


def samples(n, dtype, settings):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3)).astype(dtype)
    if isinstance(settings.get("loss"), CrossEntropy):
        return X, rng.integers(0, 2, n)
    return X, rng.uniform(size=(n, 2)).astype(dtype)


def make(route, dtype=np.float64, **settings):
    return Trainer(SIZES[route], dtype=dtype, seed=0, backend="numba", **settings)


class Slow(np.ndarray):
    """An array that does not take the brief way."""


def results(trainer, X, y, n=5):
    for i in range(n):
        if i % 2:
            trainer.partial_fit(X, y)
        else:
            loss = trainer.fit(X, y, 1).loss
    g = trainer.gradients(X, y)
    arrays = [loss, trainer.parameters, trainer._model.state.slots, trainer.predict(X)]
    arrays += [trainer.history.loss, trainer.history.learning_rate, *g.weights, *g.biases]
    numbers = g.loss, trainer.evaluate(X, y), trainer.epochs_trained, trainer._model.state.updates
    return numbers, [(a.shape, a.dtype, a.tobytes()) for a in arrays]


@pytest.fixture
def calls(monkeypatch):
    """Count the calls that were done by the brief way."""
    counts = {"done": 0, "refused": 0}

    def counted(name):
        method = getattr(brief.Brief, name)

        def call(self, *args):
            found = method(self, *args)
            counts["refused" if found is None or found is False else "done"] += 1
            return found

        monkeypatch.setattr(brief.Brief, name, call)

    for name in ("predict", "evaluate", "gradient", "train"):
        counted(name)
    return counts


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("route", SIZES)
@pytest.mark.parametrize("n", [1, 4, 20])
def test_both_ways_have_the_same_bits(n, route, dtype, settings, calls):
    X, y = samples(n, dtype, settings)
    expected = results(make(route, dtype, **settings), X.view(Slow), y)
    assert calls["done"] == 0
    assert results(make(route, dtype, **settings), X, y) == expected
    assert calls == {"done": 8, "refused": 0}


@pytest.mark.parametrize("n", [255, 256, 257, 600])
def test_many_samples_have_the_same_bits_too(n, calls):
    X, y = samples(n, "float64", {})
    trainer = Trainer([3, 2], dtype="float64", seed=0, backend="numba")
    found, expected = (
        [trainer.evaluate(some, y), *(g.tobytes() for g in trainer.gradients(some, y).weights)]
        for some in (X, X.view(Slow))
    )
    assert found == expected
    assert calls["done"] == (2 if n <= 256 else 0)


def test_any_layout_and_any_dtype_of_targets_will_do(calls):
    X, y = np.asfortranarray(np.eye(3)), [0, 1, 1]
    trainer = Trainer([3, 4, 1], dtype="float64", seed=0, backend="numba")
    losses = {trainer.evaluate(X.tolist(), y)}
    for targets in (np.array(y), np.array(y, bool), np.array(y, float), np.array(y)[:, None]):
        losses.add(trainer.evaluate(X, targets))
        losses.add(
            trainer.evaluate(X[::-1], targets[::-1])
            if targets.ndim == 1
            else trainer.evaluate(X, y)
        )
    assert calls["done"] >= 4
    assert len(losses) <= 2


WRONG = {
    "nan": lambda X, y: (np.where(X[1, 2] == X, np.nan, X), y),
    "inf": lambda X, y: (np.where(X[0, 0] == X, -np.inf, X), y),
    "nan in y": lambda X, y: (X, np.where(y == y[0, 1], np.nan, y)),
    "above 1": lambda X, y: (X, y + 1),
    "below 0": lambda X, y: (X, -y),
    "columns": lambda X, y: (X[:, :2], y),
    "rows": lambda X, y: (X, y[:-1]),
    "flat": lambda X, y: (X[0], y),
    "objects": lambda X, y: (X.astype(object), y),
    "complex": lambda X, y: (X + 1j, y),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("use", ["partial_fit", "evaluate", "gradients", "predict"])
def test_wrong_samples_raise_the_same_error_and_change_nothing(use, wrong):
    X, y = samples(4, "float64", {})
    trainer = make("lanes", loss="binary_cross_entropy")
    trainer.partial_fit(X, y)
    before = pickle.dumps(trainer)
    bad = wrong(X, y)
    bad = bad[:1] if use == "predict" else bad
    if use == "predict" and bad[0] is X:
        pytest.skip("a prediction has no targets")
    texts = []
    for first in (bad[0], bad[0].tolist() if bad[0].dtype != object else bad[0].copy()):
        with pytest.raises((ValueError, TypeError)) as error:
            getattr(trainer, use)(first, *bad[1:])
        texts.append(str(error.value))
    assert texts[0].split(";")[0] == texts[1].split(";")[0]
    assert pickle.dumps(trainer) == before


@pytest.mark.parametrize("label", [2, -1])
def test_a_label_of_no_class_is_refused(label):
    settings = SETTINGS["labels"]
    X, y = samples(4, "float64", settings)
    trainer = make("lanes", **settings)
    trainer.partial_fit(X, y)
    y[2] = label
    with pytest.raises(ValueError, match=r"y must hold class labels.*y\[2\]"):
        trainer.partial_fit(X, y)
    with pytest.raises(ValueError, match=r"y must hold class labels.*y\[2\] is 0.5"):
        trainer.partial_fit(X, np.where(y == label, 0.5, y))
    assert trainer.epochs_trained == 1


@pytest.mark.parametrize("scale", [1, 1000])  # the loss overflows first, or a parameter
@pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9), Adam()])
def test_a_loss_or_a_parameter_that_overflows_undoes_the_update(optimizer, scale):
    X, y = samples(4, "float32", {})
    y *= scale

    def diverged(X):
        settings = {"output_activation": "identity", "learning_rate": 1e38}
        trainer = make("lanes", "float32", optimizer=optimizer, **settings)
        with pytest.raises(DivergenceError) as error:  # noqa: PT012
            for _ in range(10):
                trainer.partial_fit(X, y)
        state = trainer._model.state
        return str(error.value), state.params.tobytes(), state.slots.tobytes(), state.epochs

    assert diverged(X) == diverged(X.view(Slow))


def test_targets_out_of_reach_warn_once_and_then_train(calls):
    X, y = samples(4, "float64", {})
    trainer = make("lanes")
    with pytest.warns(TargetWarning):
        trainer.partial_fit(X, y + 1)
    for _ in range(3):
        trainer.partial_fit(X, y + 1)
    assert calls["done"] == 3


def test_what_the_brief_way_cannot_do_goes_the_usual_way(calls):
    X, y = samples(4, "float64", {})
    trainer = make("lanes")
    trainer.partial_fit(X, y, sample_weight=np.ones(4))
    trainer.fit(X, y, 1, callbacks=lambda *_: None)
    trainer.fit(X, y, 2)
    make("lanes", batch_size=2).partial_fit(X, y)
    make("lanes", learning_rate=lambda epoch: 0.1).partial_fit(X, y)
    loss = CustomLoss(lambda a, y: (a - y) ** 2, lambda a, y: 2 * (a - y))
    make("lanes", loss=loss).partial_fit(X, y)
    Trainer([3, 5, 2], seed=0, backend="numba").partial_fit(X, y)  # decides its dtype
    Trainer([3, 5, 2], seed=0, dtype=float, backend="numpy").partial_fit(X, y)
    assert calls["done"] == 0


def test_a_history_with_other_columns_gets_its_epochs(calls):
    X, y = samples(4, "float64", {})
    trainer = make("lanes")
    trainer.fit(X, y, 2, validation_data=(X, y))
    trainer.partial_fit(X, y)
    assert np.isnan(trainer.history.validation_loss).tolist() == [False, False, True]
    assert calls["done"] == 0


@pytest.mark.parametrize("limit", [None, 1, 7])
def test_a_history_grows_by_one_epoch(limit):
    X, y = samples(4, "float64", {})
    trainers = [make("lanes", history_limit=limit) for _ in range(2)]
    for _ in range(60):
        trainers[0].partial_fit(X, y)
        kept = trainers[0].history
    trainers[1].fit(X, y, 60)
    for name in ("loss", "learning_rate"):
        columns = [getattr(trainer.history, name) for trainer in trainers]
        np.testing.assert_array_equal(*columns)
    assert len(kept.loss) == (limit or 60)
    assert (trainers[0].history.seconds > 0).all()


def test_number_20_000_takes_no_more_memory_than_number_1000():
    X, y = samples(4, "float64", {})
    trainer = make("lanes", history_limit=100)
    for _ in range(1000):
        trainer.partial_fit(X, y)
    tracemalloc.start()
    try:
        for _ in range(2000):
            trainer.partial_fit(X, y)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(17_000):
            trainer.partial_fit(X, y)
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()


def test_new_parameters_are_seen():
    X, y = samples(4, "float32", {})
    trainer = Trainer([3, 5, 2], seed=0, backend="numba")
    trainer.predict(X.astype(float))
    trainer.fit(X, y, 1)  # makes it float32
    first = trainer.predict(X)
    trainer.weights[0][:] += 1
    assert (trainer.predict(X) != first).all()
    trainer.set_parameters(
        *[[np.zeros_like(a) for a in part] for part in (trainer.weights, trainer.biases)]
    )
    assert (trainer.predict(X) == 0.5).all()
    trainer.learning_rate = 0.5
    trainer.partial_fit(X, y)
    assert trainer.history.learning_rate[-1] == 0.5


def test_outputs_and_gradients_are_the_callers_own():
    X, y = samples(4, "float64", {})
    trainer = make("lanes")
    first, gradients = trainer.predict(X), trainer.gradients(X, y)
    kept = first.copy(), gradients.weights[0].copy()
    trainer.partial_fit(X, y)
    trainer.predict(-X)
    trainer.gradients(-X, y)
    np.testing.assert_array_equal(first, kept[0])
    np.testing.assert_array_equal(gradients.weights[0], kept[1])


def test_parameters_may_be_samples():
    trainer = Trainer(
        [2, 2], dtype="float64", loss="huber", seed=0, output_activation="identity", backend="numba"
    )
    other = copy.deepcopy(trainer)
    trainer.partial_fit(trainer.weights[0], trainer.weights[0])
    other.partial_fit(other.weights[0].copy(), other.weights[0].copy())
    assert trainer.parameters.tobytes() == other.parameters.tobytes()


def test_prepared_nets_are_few_and_in_no_copy_or_pickle():
    X, _ = samples(20, "float64", {})
    trainer = make("lanes")
    size = len(pickle.dumps(trainer))
    for n in range(1, 20):
        trainer.predict(X[:n])
    assert len(trainer._model.nets._nets) == 4
    assert len(pickle.dumps(trainer)) == size
    assert not copy.deepcopy(trainer)._model.nets._nets


class TimeIsOverError(Exception):
    pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no interval timers")
def test_an_error_of_a_handler_at_any_time_leaves_whole_updates():
    X, y = samples(4, "float64", {})
    expected, trainer = [], make("lanes", optimizer="adam")
    for _ in range(500):
        expected.append(trainer.parameters.tobytes())
        trainer.partial_fit(X, y)

    def end(*_):
        raise TimeIsOverError

    trainer, heard = make("lanes", optimizer="adam"), 0
    before = signal.signal(signal.SIGALRM, end)
    try:
        for i in range(400):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 + i % 40 * 1e-6)
                while trainer.epochs_trained < 499:
                    trainer.partial_fit(X, y)
            except TimeIsOverError:
                heard += 1
            done = trainer.epochs_trained
            assert done == trainer._model.state.updates == len(trainer.history.loss)
            assert trainer.parameters.tobytes() == expected[done]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert heard > 10


def test_threads_that_look_on_see_whole_updates():
    X, y = samples(4, "float64", {})
    expected = {}
    trainer = make("lanes", optimizer="adam")
    for i in range(400):
        expected[trainer.parameters.tobytes()] = i
        trainer.partial_fit(X, y)
    trainer, ended = make("lanes", optimizer="adam"), threading.Event()

    def look_on():
        while not ended.is_set():
            seen = copy.deepcopy(trainer)
            assert expected[seen.parameters.tobytes()] == seen.epochs_trained
            assert len(seen.history.loss) == seen.epochs_trained

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(2) as pool:
            looking = [pool.submit(look_on) for _ in range(2)]
            try:
                for _ in range(399):
                    trainer.partial_fit(X, y)
            finally:
                ended.set()  # the pool waits for its threads
            for future in looking:
                future.result(60)
    finally:
        sys.setswitchinterval(interval)


def test_threads_predict_at_once():
    trainer = make("blocks")
    X, _ = samples(8, "float64", {})
    expected = [trainer.predict(X[: i + 1]).tobytes() for i in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            for i, found in enumerate(
                pool.map(lambda k: trainer.predict(X[: k % 8 + 1]), range(800))
            ):
                assert found.tobytes() == expected[i % 8]
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("route", SIZES)
def test_threads_change_no_bit_of_a_pass(route, dtype, labels, weighted, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 3)
    settings = SETTINGS["labels"] if labels else {}
    X, y = samples(1500, dtype, settings)
    w = np.arange(1500) % 7 if weighted else None

    def passes(n_threads):
        trainer = make(route, dtype, n_threads=n_threads, **settings)
        g = trainer.gradients(X, y, sample_weight=w)
        numbers = g.loss, trainer.evaluate(X, y, sample_weight=w)
        return numbers, [a.tobytes() for a in (trainer.predict(X), *g.weights, *g.biases)]

    one = passes(1)
    monkeypatch.setattr(threads.Team, "size", lambda self: self.n)
    assert passes(2) == passes(3) == one
    reference = Trainer(SIZES[route], dtype=dtype, seed=0, backend="numpy", **settings)
    expected = reference.gradients(X, y, sample_weight=w)
    g = make(route, dtype, n_threads=3, **settings).gradients(X, y, sample_weight=w)
    rtol = 1e-4 if dtype == "float32" else 1e-11
    for found, right in zip(g.weights + g.biases, expected.weights + expected.biases, strict=True):
        np.testing.assert_allclose(found, right, rtol=rtol, atol=rtol * np.abs(right).max())


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("route", SIZES)
def test_a_kernel_sees_what_is_not_finite_anywhere(route, bad, n_threads, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    trainer = make(route, n_threads=n_threads)
    X, y = samples(600, "float64", {})
    for row in (0, 255, 256, 599):
        wrong = X.copy()
        wrong[row, 2] = bad
        for call in (lambda X: trainer.predict(X), lambda X: trainer.evaluate(X, y)):
            with pytest.raises(ValueError, match=rf"X\[{row}, 2\] is {bad}"):
                call(wrong)
    assert np.isfinite(trainer.predict(X)).all()


def test_ctrl_c_ends_a_long_prediction(monkeypatch):
    monkeypatch.setattr(prepared, "LONG", 0)
    trainer = make("blocks")
    X, _ = samples(300, "float64", {})
    expected = trainer.predict(X)
    run = threads.Team.run

    def interrupted(self, size, function, halt):
        def first(rank):
            signal.raise_signal(signal.SIGINT)
            return function(rank)

        return run(self, size, first, halt)

    monkeypatch.setattr(threads.Team, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.predict(X)
    monkeypatch.setattr(threads.Team, "run", run)
    np.testing.assert_array_equal(trainer.predict(X), expected)


def test_a_history_gets_its_epochs_after_a_longer_fit():
    X, y = samples(4, "float64", {})
    trainers = [make("lanes") for _ in range(2)]
    for trainer, first in zip(trainers, (X, X.tolist()), strict=True):
        for _ in range(10):
            trainer.partial_fit(first, y)
        trainer.fit(first, y, 3)  # there is room for more epochs in the same columns
        for _ in range(3):
            trainer.partial_fit(first, y)
    brief, usual = (trainer.history for trainer in trainers)
    assert brief.loss.tobytes() == usual.loss.tobytes()
    assert len(brief.loss) == trainers[0].epochs_trained == 16


def test_read_only_parameters_are_replaced_and_not_written():
    X, y = samples(4, "float64", {})
    trainer = make("lanes")
    trainer.partial_fit(X, y)
    old = trainer.parameters
    before = old.copy()
    old.flags.writeable = False
    trainer.partial_fit(X, y)
    assert old.tobytes() == before.tobytes()
    assert trainer.parameters is not old


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("use", ["partial_fit", "evaluate", "gradients"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_targets_must_be_finite(use, value, dtype):
    X, y = samples(4, dtype, {})
    y[1, 0] = value
    trainer = make("lanes", dtype, loss="absolute_error", output_activation="identity")
    with pytest.raises(ValueError, match=r"y must be finite; y\[1, 0\]"):
        getattr(trainer, use)(X, y)


@pytest.mark.parametrize("epochs", [True, 1.0, np.array([1])])
def test_epochs_must_be_an_integer(epochs):
    X, y = samples(4, "float64", {})
    with pytest.raises(TypeError, match="epochs must be an integer"):
        make("lanes").fit(X, y, epochs)


def test_a_subclass_with_its_own_fit_is_asked():
    class Counting(Trainer):
        fits = 0

        def fit(self, *args, **kwargs):
            self.fits += 1
            return super().fit(*args, **kwargs)

    X, y = samples(4, "float64", {})
    trainer = Counting([3, 5, 2], dtype="float64", seed=0, backend="numba")
    trainer.partial_fit(X, y).partial_fit(X, y)
    assert trainer.fits == 2


def test_a_prediction_is_made_again_if_a_fit_came_and_went(monkeypatch):
    X, y = samples(4, "float64", {})
    trainer = make("lanes")
    predict = brief.Brief.predict

    def slow(self, X):
        found = predict(self, X)
        with ThreadPoolExecutor(1) as pool:  # as if both had been at work at once
            pool.submit(trainer.fit, X.tolist(), y, 2).result(timeout=60)
        return found

    monkeypatch.setattr(brief.Brief, "predict", slow)
    found = trainer.predict(X)
    monkeypatch.undo()
    assert found.tobytes() == trainer.predict(X).tobytes()


def test_a_handler_cannot_train_in_the_middle_of_an_update(monkeypatch):
    X, y = samples(4, "float64", {})
    trainer = make("lanes")
    trainer.partial_fit(X, y)
    room, errors = type(trainer._model.course).room, []

    def interrupted(self):
        found = room(self)
        monkeypatch.undo()
        for train in (trainer.partial_fit, lambda X, y: trainer.fit(X, y, 20)):
            with pytest.raises(RuntimeError, match="in a fit already") as error:
                train(X, y)
            errors.append(error)
        return found

    monkeypatch.setattr(type(trainer._model.course), "room", interrupted)
    trainer.partial_fit(X, y).partial_fit(X, y)
    assert len(errors) == 2
    assert trainer.epochs_trained == len(trainer.history.loss) == 3


def test_a_fit_returns_its_own_epoch_if_another_thread_trains_too(monkeypatch):
    X, y = samples(4, "float64", {})
    trainer = make("lanes")
    trainer.partial_fit(X, y)
    give_back = type(trainer._model).give_back

    def late(self, brief):
        monkeypatch.undo()
        give_back(self, brief)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(trainer.partial_fit, -X, y).result(timeout=60)

    monkeypatch.setattr(type(trainer._model), "give_back", late)
    history = trainer.fit(X, y, 1)
    assert history.loss.tolist() == [trainer.history.loss[1]] != [trainer.history.loss[2]]


def test_interpreted_kernels_give_plain_numbers():
    code = """
import numpy as np
from jitprop import Trainer
trainer = Trainer([1, 1], dtype="float64", backend="numba")
X, y = np.ones((2, 1)), np.ones((2, 1))
print(type(trainer.evaluate(X, y)), type(trainer.gradients(X, y).loss))
try:
    trainer.predict(np.full((1, 1), np.inf))
except ValueError as error:
    print(str(error)[:16])
Trainer([1, 2, 1], dropout=0.5, seed=0, backend="numba").fit(X, y, 2)
"""
    interpreted = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=interpreted,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert found.stdout.split("\n")[:2] == ["<class 'float'> <class 'float'>", "X must be finite"]
