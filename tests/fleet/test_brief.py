"""Calls of tiny nets on few samples give what the usual way gives."""

from __future__ import annotations

import pickle
import signal
import threading

import numpy as np
import pytest

from jitprop import SGD, Adam, AdamW, EarlyStopping, Fleet
from jitprop.data import cast
from jitprop.fleet.brief import Brief

K = 19


@pytest.fixture
def usual(monkeypatch):
    """Return a function that switches the brief way off."""
    return lambda: monkeypatch.setattr(Fleet, "_brief", lambda self, X: None)


def fleet_of(**settings):
    settings = {
        "seed": 0, "learning_rate": np.linspace(0.01, 0.2, K), "dropout": np.linspace(0, 0.4, K),
        "weight_decay": 0.01, **settings,
    }  # fmt: skip
    return Fleet([3, 4, 2], members=K, **settings)


def numbers(shape, dtype="float64"):
    return np.random.default_rng(1).random(shape).astype(dtype)


def all_calls(fleet, X, y):
    return [
        fleet.predict(X[:1]),
        *(fleet.fit(X, y, 1).loss for _ in range(3)),
        fleet.evaluate(X, y),
        fleet.predict(X),
        fleet.evaluate(X[:3], y[:3]),
    ]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", [SGD(), SGD(0.9), Adam(), AdamW()], ids=repr)
def test_the_brief_way_is_the_usual_way(optimizer, dtype, usual, monkeypatch):
    X, y = numbers((4, 3), dtype), numbers((4, 2), dtype)
    fleets = [fleet_of(optimizer=optimizer, dtype=dtype) for _ in range(2)]
    for fleet in fleets:
        fleet.fit(X, y, 2)
    with monkeypatch.context() as patch:
        patch.setattr(cast, "real", None)  # the usual way calls it
        found = all_calls(fleets[0], X, y)
        history = fleets[0].fit(X, y, 1)
    usual()
    for one, other in zip(found, all_calls(fleets[1], X, y), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    ref = fleets[1].fit(X, y, 1)
    assert vars(history).keys() == vars(ref).keys()
    assert history.diverged == ref.diverged == {}
    assert history.validation_loss is history.best_epoch is None
    np.testing.assert_array_equal(history.epochs, ref.epochs)
    assert pickle.dumps(fleets[0]._model.state) == pickle.dumps(fleets[1]._model.state)


def test_settings_and_parameters_that_change_count(usual):
    X, y = numbers((4, 3)), numbers((4, 2))
    fleets = [fleet_of() for _ in range(2)]
    made = []
    for i, fleet in enumerate(fleets):
        if i == 1:
            usual()
        fleet.fit(X, y, 1)
        fleet.fit(X, y, 1)
        fleet.learning_rate = 0.5
        fleet.parameters[3] = 0.25
        made.append([fleet.fit(X, y, 1).loss, fleet.predict(X), fleet.parameters])
    for one, other in zip(*made, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("batch_size", [None, 2])
def test_one_target_and_several_batches(batch_size, usual):
    X, y = numbers((4, 2)), np.array([0, 1, 1, 0])
    fleets = [Fleet([2, 4, 1], members=5, seed=0, batch_size=batch_size) for _ in range(2)]
    fleets[0].fit(X, y, 1)
    found = [fleets[0].fit(X, y, 1).loss, fleets[0].evaluate(X, y), fleets[0].predict(X)]
    usual()
    fleets[1].fit(X, y, 1)
    ref = [fleets[1].fit(X, y, 1).loss, fleets[1].evaluate(X, y), fleets[1].predict(X)]
    for one, other in zip(found, ref, strict=True):
        np.testing.assert_array_equal(one, other)


BAD = [
    (lambda X, y: (np.where(X > 0, np.nan, X), y), ValueError, "X must be finite"),
    (lambda X, y: (X, np.where(y > 0, np.inf, y)), ValueError, "y must be finite"),
    (lambda X, y: (X[:, :2], y), ValueError, "X must have 3 columns"),
    (lambda X, y: (X, y[:3]), ValueError, "y must have shape"),
    (lambda X, y: (X.astype(complex), y), TypeError, "X must be an array of real numbers"),
    (lambda X, y: (X, y.astype(str)), TypeError, "y must be an array of real numbers"),
]


@pytest.mark.parametrize(("bad", "error", "message"), BAD)
def test_bad_input_changes_nothing(bad, error, message):
    X, y = numbers((4, 3)), numbers((4, 2))
    fleet = fleet_of()
    all_calls(fleet, X, y)
    before = pickle.dumps(fleet._model.state)
    for call in (lambda X, y: fleet.fit(X, y, 1), fleet.evaluate):
        with pytest.raises(error, match=message):
            call(*bad(X, y))
    assert pickle.dumps(fleet._model.state) == before


def test_a_member_that_diverges_goes_back_the_usual_way():
    X, y = numbers((4, 3)), numbers((4, 2))
    fleet = fleet_of(output_activation="identity")
    fleet.fit(X, y, 1)
    rates = fleet.learning_rate
    rates[5] = 1e300
    fleet.learning_rate = rates
    assert not fleet.fit(X, y, 1).diverged
    before = fleet.parameters[5].copy()
    with pytest.warns(RuntimeWarning, match="1 of 19 members diverged"):
        history = fleet.fit(X, y, 1)
    assert set(history.diverged) == {5}
    np.testing.assert_array_equal(fleet.parameters[5], before)
    assert fleet.epochs_trained.tolist() == [3 - (i == 5) for i in range(K)]


def test_targets_out_of_reach_are_warned_of():
    X, y = numbers((4, 3)), numbers((4, 2))
    fleet = fleet_of()
    all_calls(fleet, X, y)
    with pytest.warns(UserWarning, match="reach"):
        fleet.fit(X, y + 2, 1)


def test_early_stopping_that_was_resumed_ends_with_the_next_fit():
    X, y = numbers((4, 3)), numbers((4, 2))
    fleet = fleet_of()
    fleet.fit(X, y, 3, callbacks=EarlyStopping("loss"))
    assert fleet._model.found is not None
    fleet.fit(X, y, 1)
    assert fleet._model.found is None


def test_a_signal_comes_before_or_after_an_update(monkeypatch):
    X, y = numbers((4, 3)), numbers((4, 2))
    fleet, ref = fleet_of(), fleet_of()
    for one in (fleet, ref):
        one.fit(X, y, 2)
    commit = Brief.commit

    def interrupted(self, state):
        signal.raise_signal(signal.SIGINT)
        commit(self, state)

    monkeypatch.setattr(Brief, "commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fleet.fit(X, y, 1)
    monkeypatch.undo()
    ref.fit(X, y, 1)
    assert pickle.dumps(fleet._model.state) == pickle.dumps(ref._model.state)


def test_no_thread_sees_half_an_update(monkeypatch):
    """Another thread predicts while an update is written."""
    X, y = numbers((4, 3)), numbers((4, 2))
    fleet = fleet_of()
    all_calls(fleet, X, y)
    before, commit, seen = fleet.predict(X), Brief.commit, []
    began = threading.Event()

    def look():
        began.set()
        seen.append(fleet.predict(X))

    thread = threading.Thread(target=look)

    def slow(self, state):
        state.params[: K // 2] += 1.0
        thread.start()
        began.wait(10)
        state.params[: K // 2] -= 1.0
        commit(self, state)

    monkeypatch.setattr(Brief, "commit", slow)
    fleet.fit(X, y, 1)
    thread.join(10)
    after = fleet.predict(X)
    assert any(np.array_equal(seen[0], outputs) for outputs in (before, after))


def test_in_a_fit_of_its_own_the_usual_way_is_taken():
    X, y = numbers((4, 3)), numbers((4, 2))
    fleet, made = fleet_of(), []
    all_calls(fleet, X, y)
    fleet.fit(X, y, 2, callbacks=lambda fleet, epoch, logs: made.append(fleet.predict(X)))
    np.testing.assert_array_equal(made[-1], fleet.predict(X))
    with pytest.raises(RuntimeError, match="in a fit already"):
        fleet.fit(X, y, 2, callbacks=lambda fleet, epoch, logs: fleet.fit(X, y, 1))
