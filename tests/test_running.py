"""An object has one fit at a time; other threads see it as it was before or after an epoch."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import threading

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from jitprop import SGD, Adam, Fleet, Trainer, reference
from jitprop.sklearn import MLPClassifier, MLPRegressor, lbfgs
from jitprop.sklearn.course import Course

LIMIT = 20
"""Seconds after which a test that waits for another thread fails."""

X, Y = np.random.default_rng(0).normal(size=(12, 3)), np.tile([0.2, 0.7], 6)
LABELS = np.tile([0, 1], 6)


class Other:
    """A fit in another thread. When it calls `pause`, it waits for the end of the with block."""

    def __init__(self):
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.result = None

    def pause(self, *_):
        self.reached.set()
        assert self.go_on.wait(LIMIT)

    def run(self, fit):
        def work():
            try:
                self.result = fit()
            except BaseException as error:
                self.result = error
            finally:
                self.reached.set()

        self.thread = threading.Thread(target=work)
        self.thread.start()
        return self

    def __enter__(self):
        assert self.reached.wait(LIMIT)
        assert not isinstance(self.result, BaseException), self.result
        return self

    def __exit__(self, *exception):
        self.go_on.set()
        self.thread.join(LIMIT)
        assert not self.thread.is_alive()
        if exception[0] is None and isinstance(self.result, BaseException):
            raise self.result


def trainer(**settings):
    settings = {"seed": 0, "batch_size": 4, "backend": "numpy"} | settings
    return Trainer([3, 4, 1], optimizer="adam", **settings)


class Slow:
    """Samples that call `pause` while they are cast."""

    def __init__(self, pause):
        self.pause = pause

    def __array__(self, dtype=None, copy=None):
        self.pause()
        return X


FITS = {
    "trainer": (trainer, lambda net, X: net.fit(X, Y, 2)),
    "partial_fit": (trainer, lambda net, X: net.partial_fit(X, Y)),
    "fleet": (lambda: Fleet([3, 4, 1], members=3, seed=0), lambda net, X: net.fit(X, Y, 2)),
    "classifier": (
        lambda: MLPClassifier(4, max_iter=2, n_iter_no_change=9, solver="lbfgs"),
        lambda net, X: net.fit(X, LABELS),
    ),
    "classifier, partial": (
        lambda: MLPClassifier(4),
        lambda net, X: net.partial_fit(X, LABELS, classes=[0, 1]),
    ),
    "regressor": (lambda: MLPRegressor(hidden_layer_sizes=4), lambda net, X: net.partial_fit(X, Y)),
}


@pytest.mark.parametrize("case", FITS)
@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_a_second_fit_is_refused_even_while_the_first_casts(case):
    make, fit = FITS[case]
    net, other = make(), Other()
    with other.run(lambda: fit(net, Slow(other.pause))):
        with pytest.raises(RuntimeError, match=r"in a fit already; .* a copy\.deepcopy of it"):
            fit(net, X)
        fit(copy.deepcopy(net), X)
    fit(net, X)


@pytest.mark.parametrize("case", FITS)
def test_a_refused_fit_lets_the_next_one_begin(case):
    make, fit = FITS[case]
    net = make()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"X|feature"):
            fit(net, X[:, :0])


def batches(other, epoch, batch):
    """Return a function that yields the batches of each epoch and pauses before one of them."""
    epochs = iter(range(1000))

    def each():
        now = next(epochs)
        for i, first in enumerate(range(0, 12, 4)):
            if (now, i) == (epoch, batch):
                other.pause()
            yield X[first : first + 4], Y[first : first + 4]

    return each


def saved(net, tmp_path):
    net.save(tmp_path / "net")
    return type(net).load(tmp_path / "net")


WAYS = {
    "save": saved,
    "deepcopy": lambda net, _: copy.deepcopy(net),
    "copy": lambda net, _: copy.copy(net),
    "pickle": lambda net, _: pickle.loads(pickle.dumps(net)),
}


@pytest.mark.parametrize("way", WAYS)
def test_in_the_middle_of_an_epoch_others_get_the_last_whole_one(way, tmp_path):
    ref = trainer()
    ref.fit(batches(None, -1, -1), epochs=3)
    net, other = trainer(), Other()
    with other.run(lambda: net.fit(batches(other, 3, 2), epochs=5)):
        assert (net.parameters != ref.parameters).any()
        made = WAYS[way](net, tmp_path)
        again = WAYS[way](net, tmp_path)
        assert (net.predict(X) == ref.predict(X)).all()
        assert net.evaluate(X, Y) == ref.evaluate(X, Y)
    assert made.epochs_trained == len(made.history.loss) == 3
    assert (made.parameters == ref.parameters).all()
    assert (made.history.loss == ref.history.loss).all()
    made.fit(batches(None, -1, -1), epochs=2)
    assert (made.parameters == net.parameters).all()
    assert (again.parameters == ref.parameters).all()  # it shares no memory with the other copy


@pytest.mark.parametrize("way", WAYS)
def test_while_a_callback_takes_its_time_others_get_its_epoch(way, tmp_path):
    net, ref, other = trainer(), trainer(), Other()
    ref.fit(X, Y, 3)
    callback = lambda net, epoch, logs: epoch == 2 and other.pause()  # noqa: E731
    with other.run(lambda: net.fit(X, Y, 5, callbacks=callback)):
        made = WAYS[way](net, tmp_path)
    assert made.epochs_trained == len(made.history.loss) == 3
    made.fit(X, Y, 2)
    assert (made.parameters == net.parameters).all()


@pytest.mark.parametrize("way", WAYS)
def test_a_callback_sees_the_trainer_as_it_is(way, tmp_path):
    seen = []

    def look(net, epoch, logs):
        net.parameters[0] = epoch
        seen.append(WAYS[way](net, tmp_path))

    trainer().fit(X, Y, 3, callbacks=look)
    assert [net.epochs_trained for net in seen] == [1, 2, 3]
    assert [net.parameters[0] for net in seen] == [0, 1, 2]
    for net in seen:
        net.fit(X, Y, 1)  # the copy is not in a fit


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), Adam()])
def test_a_fleet_that_is_trained_is_whole_for_others(way, optimizer, tmp_path, monkeypatch):
    def fleet():
        return Fleet(
            [3, 4, 1], members=3, seed=0, batch_size=4, optimizer=optimizer, backend="numpy"
        )

    net, ref, other = fleet(), fleet(), Other()
    ref.fit(X, Y, 2)
    net.fit(X, Y, 2)
    train = type(net._engine(12)).train

    def paused(self, *arguments):  # the orders of the next epochs are drawn by now
        other.pause()
        return train(self, *arguments)

    monkeypatch.setattr(type(net._engine(12)), "train", paused)
    with other.run(lambda: net.fit(X, Y, 3)):
        made, one = WAYS[way](net, tmp_path), net[1]
        monkeypatch.undo()
        assert (net.predict(X) == ref.predict(X)).all()
    assert (made.epochs_trained == 2).all()
    made.fit(X, Y, 3)
    assert (made.parameters == net.parameters).all()
    one.fit(X, Y, 3)
    np.testing.assert_allclose(one.parameters, net.parameters[1], rtol=1e-10)


QUESTIONS = {
    "predict": lambda net, X: net.predict(X),
    "evaluate": lambda net, X: net.evaluate(X, Y),
    "gradients": lambda net, X: np.concatenate([W.ravel() for W in net.gradients(X, Y).weights]),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_trainer_answers_for_a_whole_epoch_though_a_fit_begins_meanwhile(question, monkeypatch):
    net, ref, after = trainer(), trainer(), trainer()
    after.fit(X, Y, 2)
    other, begun, train = Other(), [], reference.train

    class Late:
        """X, which is converted after the parameters were fetched and before they are used."""

        def __array__(self, dtype=None, copy=None):
            if not begun:
                begun.append(other.run(lambda: net.fit(X, Y, 2)))
                assert other.reached.wait(LIMIT)
            return X

    def paused_behind(*arguments):
        trained = train(*arguments)
        other.pause()
        return trained

    monkeypatch.setattr(reference, "train", paused_behind)
    found = QUESTIONS[question](net, Late())
    with other:
        other.go_on.set()
    np.testing.assert_array_equal(found, QUESTIONS[question](ref, X))
    np.testing.assert_array_equal(net.parameters, after.parameters)


@pytest.mark.parametrize("question", ["predict", "evaluate"])
def test_all_members_answer_for_one_epoch_though_a_fit_passes_meanwhile(question, monkeypatch):
    net, ref = (
        Fleet([3, 4, 1], members=3, seed=0, batch_size=4, backend="numpy") for _ in range(2)
    )
    ref.fit(X, Y, 2)
    expected, begun, compute = QUESTIONS[question](ref, X), [], getattr(reference, question)

    def with_a_fit_behind(*arguments):
        made = compute(*arguments)  # for the first member
        if not begun:
            begun.append(Other())
            begun[0].run(lambda: net.fit(X, Y, 2)).thread.join(LIMIT)
        return made

    monkeypatch.setattr(reference, question, with_a_fit_behind)
    np.testing.assert_array_equal(QUESTIONS[question](net, X), expected)
    np.testing.assert_array_equal(net.parameters, ref.parameters)


def test_an_estimator_that_is_trained_is_for_others_what_it_was(monkeypatch):
    model, other = MLPClassifier(4, random_state=0), Other()
    for _ in range(2):
        model.partial_fit(X, LABELS, classes=[0, 1])
    ref = copy.deepcopy(model)
    tell = Course._call_callbacks
    monkeypatch.setattr(Course, "_call_callbacks", lambda course: [tell(course), other.pause()])
    labels = list(LABELS)  # those in an array would be trained in one moment
    with other.run(lambda: model.partial_fit(X, labels)):
        made = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for net in [ref, *made]:
        net.partial_fit(X, LABELS)
        assert net.loss_curve_ == model.loss_curve_
        assert all((a == b).all() for a, b in zip(net.coefs_, model.coefs_, strict=True))


PAUSES = {
    "adam": ({}, Course, "_call_callbacks"),
    "callbacks": ({"callbacks": lambda *_: None}, Course, "_call_callbacks"),
    "early stopping": ({"early_stopping": True}, Course, "_call_callbacks"),
    "lbfgs": ({"solver": "lbfgs"}, lbfgs._AfterStep, "__call__"),
    "members": ({"n_members": 2}, Fleet, "fit"),
}
"""Settings of an estimator, and a method that is called after its fit changed some attributes."""


def paused(other, monkeypatch, where, name):
    plain = getattr(where, name)

    def pausing(*arguments, **keywords):
        other.pause()
        return plain(*arguments, **keywords)

    monkeypatch.setattr(where, name, pausing)


def all_predicted(model, X):
    names = ("predict", "predict_proba", "predict_log_proba", "hidden_activations")
    made = [getattr(model, name)(X) for name in names if hasattr(model, name)
            and not (name == "hidden_activations" and model.n_members > 1)]  # fmt: skip
    return pickle.dumps(made)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("case", PAUSES)
@pytest.mark.filterwarnings("ignore:.*(converge|Maximum iterations)")
def test_an_estimator_predicts_for_others_as_before_its_fit(case, kind, monkeypatch):
    settings, where, name = PAUSES[case]
    model = kind(hidden_layer_sizes=4, max_iter=2, random_state=0, **settings)
    y, other_y = np.repeat([0, 1, 2], 4), np.tile([3, 4], 6)
    others = [Other(), Other()]
    with monkeypatch.context() as patch:
        paused(others[0], patch, where, name)
        with others[0].run(lambda: model.fit(X, y)), pytest.raises(NotFittedError):
            model.predict(X)
    expected = all_predicted(model, X)
    model.set_params(hidden_layer_sizes=5)
    with monkeypatch.context() as patch:
        paused(others[1], patch, where, name)
        with others[1].run(lambda: model.fit(X[:, :2], other_y)):
            model.set_params(activation="tanh")
            assert all_predicted(model, X) == expected
            model.set_params(activation="relu")
    twin = kind(hidden_layer_sizes=5, max_iter=2, random_state=0, **settings)
    twin.fit(X[:, :2], other_y)
    assert all_predicted(model, X[:, :2]) == all_predicted(twin, X[:, :2])


def test_an_estimator_predicts_in_its_callbacks_as_it_is():
    seen = []
    model = MLPRegressor(
        hidden_layer_sizes=4, max_iter=3, callbacks=lambda model, *_: seen.append(model.predict(X))
    )
    with pytest.warns(UserWarning, match="Maximum iterations"):
        model.fit(X, Y)
    assert len(seen) == 3
    assert (seen[0] != seen[2]).any()
    assert (seen[2] == model.predict(X)).all()


def test_what_is_pickled_of_an_estimator_is_not_what_a_fit_changes():
    """A fit in another thread may begin while the estimator is pickled."""
    model = MLPRegressor(hidden_layer_sizes=4).partial_fit(X, Y)
    go_on = threading.Event()
    idle = threading.Thread(target=go_on.wait, args=(LIMIT,))
    idle.start()
    try:
        state = model.__getstate__()
    finally:
        go_on.set()
        idle.join(LIMIT)
    before = pickle.dumps(state)
    model.partial_fit(X, Y)
    assert pickle.dumps(state) == before


def test_others_predict_during_the_first_fit_of_float32(backend):
    net, other = trainer(dtype=None, backend=backend), Other()
    expected = net.predict(X)
    callback = lambda net, epoch, logs: epoch == 0 and other.pause()  # noqa: E731
    with other.run(lambda: net.fit(X.astype(np.float32), Y, 2, callbacks=callback)):
        assert net.predict(X).dtype == np.float32
        assert (net.predict(X) != expected).any()


def test_a_fit_that_begins_waits_for_who_copies(monkeypatch):
    """Otherwise it would change the object while it is copied."""
    net, other, copying = trainer(), Other(), threading.Event()
    snapshot = type(net._model.state).snapshot

    def slow(self):
        if threading.current_thread() is threading.main_thread():
            other.run(lambda: net.fit(X, Y, 3))
            copying.wait(0.2)  # enough time to change something
        return snapshot(self)

    ref = net.parameters.copy()
    idle = threading.Thread(target=copying.wait, args=(LIMIT,))
    idle.start()
    monkeypatch.setattr(type(net._model.state), "snapshot", slow)
    try:
        made = copy.deepcopy(net)
    finally:
        copying.set()
        idle.join(LIMIT)
        other.go_on.set()
        other.thread.join(LIMIT)
    assert (made.parameters == ref).all()
    assert made.epochs_trained == 0 < net.epochs_trained


def test_a_copy_shares_nothing_that_training_changes():
    net = trainer()
    net.fit(X, Y, 1)
    for made in (copy.copy(net), copy.deepcopy(net)):
        before = made.parameters.copy()
        net.fit(X, Y, 1)
        assert (made.parameters == before).all()
        assert made.epochs_trained == len(made.history.loss) < net.epochs_trained
    fleet = Fleet([3, 4, 1], members=2, seed=0)
    made, before = copy.copy(fleet), fleet.parameters.copy()
    fleet.fit(X, Y, 1)
    assert (made.parameters == before).all()


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"random_state": np.random.RandomState(0)},
        {"warm_start": True, "keep_optimizer": True, "batch_size": 4},
        {"warm_start": True, "early_stopping": True},
        {"n_members": 2},
    ],
)
@pytest.mark.filterwarnings("ignore:.*Maximum iterations")
def test_a_copy_of_an_estimator_shares_nothing_that_training_changes(kind, settings):
    settings = {"random_state": 0} | settings
    model = kind(hidden_layer_sizes=4, max_iter=2, **settings).fit(X, LABELS)
    before, made = pickle.dumps(model), copy.copy(model)
    made.fit(X, LABELS)
    assert pickle.dumps(model) == before
    if made.n_members == 1 and not made.early_stopping:
        made.partial_fit(X, LABELS)
    for array in (*made.coefs_, *made.intercepts_):
        array[...] = 0
    assert pickle.dumps(model) == before


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows has no such signal")
def test_a_handler_that_saves_in_the_middle_of_an_epoch_writes_a_whole_one(tmp_path):
    """Jobs of a cluster save like this when the scheduler signals the end of their time."""
    net, ref, found = trainer(), trainer(), []
    ref.fit(batches(None, -1, -1), epochs=3)

    class Here:
        pause = staticmethod(lambda: signal.raise_signal(signal.SIGUSR1))

    before = signal.signal(signal.SIGUSR1, lambda *_: found.append(saved(net, tmp_path)))
    try:
        net.fit(batches(Here, 3, 1), epochs=5)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert found[0].epochs_trained == 3
    assert (found[0].parameters == ref.parameters).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_forked_in_the_middle_of_an_epoch_goes_on_from_the_last_whole_one():
    net, ref, other = trainer(), trainer(), Other()
    ref.fit(batches(None, -1, -1), epochs=4)
    with other.run(lambda: net.fit(batches(other, 3, 2), epochs=4)):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                signal.alarm(LIMIT)
                assert net.epochs_trained == len(net.history.loss) == 3
                net.fit(batches(None, -1, -1), epochs=1)
                assert (net.parameters == ref.parameters).all()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (net.parameters == ref.parameters).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*Maximum iterations")
def test_a_child_forked_in_the_fit_of_an_estimator_has_it_as_before(monkeypatch):
    model, other = MLPRegressor(hidden_layer_sizes=4, max_iter=2, random_state=0), Other()
    model.fit(X, Y)
    expected = pickle.dumps(model)
    model.set_params(random_state=1)
    paused(other, monkeypatch, Course, "_call_callbacks")
    with other.run(lambda: model.fit(X, Y)):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                signal.alarm(LIMIT)
                monkeypatch.undo()
                assert pickle.dumps(model.set_params(random_state=0)) == expected
                model.fit(X, Y)
                assert model.n_iter_ == 2
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
