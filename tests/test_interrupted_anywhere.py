"""A signal before each line of a fit leaves nothing half done, and no signal is lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import jitprop
from jitprop import Fleet, Trainer, interrupts
from jitprop.backends import threads
from jitprop.sklearn import MLPClassifier
from jitprop.training import running

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="sends signals to a process"),
    pytest.mark.skipif(sys.gettrace() is not None, reason="another tracer is at work"),
]

ROOMS = (
    "trainer", "interrupts", "backends/compiled", "backends/threads", "net/state",
    "training/fitting", "training/running", "training/history", "training/sources",
    "training/callback_list", "training/watching", "fleet/fleet", "fleet/course", "fleet/blocks",
    "fleet/stopping", "fleet/state", "sklearn/base", "sklearn/classifier", "sklearn/course",
    "sklearn/descent", "sklearn/ensemble", "sklearn/lbfgs", "sklearn/net",
)  # fmt: skip
PATHS = [Path(jitprop.__file__).parent / f"{room}.py" for room in ROOMS]
FILES = {str(path) for path in PATHS}
X, Y = np.random.default_rng(0).normal(size=(12, 3)), np.tile([0.2, 0.7], 6)


def test_the_rooms_are_there():
    assert all(path.exists() for path in PATHS)


class Way(NamedTuple):
    """Signals with their handlers, and the error that the fit raises."""

    handlers: dict[int, object]
    error: type[BaseException] | tuple[()]


calls = []


def returns(number, frame):
    assert frame is not None
    calls.append(number)


def too_late(number, frame):
    calls.append(number)
    raise TimeoutError("the time is over")


def graceful(number, frame):
    calls.append(number)
    raise KeyboardInterrupt


WAYS = {} if os.name == "nt" else {
    "Ctrl-C": Way({signal.SIGINT: signal.default_int_handler}, KeyboardInterrupt),
    "own Ctrl-C": Way({signal.SIGINT: graceful}, KeyboardInterrupt),
    "time limit": Way({signal.SIGALRM: too_late}, TimeoutError),
    "returns": Way({signal.SIGUSR1: returns}, ()),
    "two": Way({signal.SIGUSR1: returns, signal.SIGALRM: too_late}, TimeoutError),
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_handler():
    """Python's handler, also if the tests run with SIGINT ignored, as under nohup."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def signals(way):
    """Install the handlers of the named way, and return it."""
    chosen = WAYS[way]
    before = {number: signal.signal(number, h) for number, h in chosen.handlers.items()}
    yield chosen
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def two_blas_threads():
    with threadpool_limits(2, "blas"):
        yield


def blas():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def signal_ahead_of_line(number, way, run):
    """
    Run with the signals before the given line of the files; lines are counted as executed.

    Return whether the line was reached, and whether the error was raised.
    """
    left = number

    def line(frame, event, value):
        nonlocal left
        if event == "line":
            left -= 1
            if left == 0:
                sys.settrace(None)
                raise_all(list(way.handlers))
        return line

    def call(frame, event, value):
        return line if frame.f_code.co_filename in FILES else None

    came = False
    sys.settrace(call)
    try:
        run()
    except way.error:
        came = True
    finally:
        sys.settrace(None)
    return left <= 0, came


def raise_all(numbers):
    """Raise all signals, also if the handler of one raises an error."""
    try:
        signal.raise_signal(numbers[0])
    finally:
        if numbers[1:]:
            raise_all(numbers[1:])


def all_lines(make, run, check, way):
    """Repeat the run with the signals before each line."""
    before, hook, number = blas(), sys.unraisablehook, 1
    assert set(before) <= {2}
    model = make()
    run(model)  # everything is imported and compiled now
    while True:
        model = make()
        calls.clear()
        reached, came = signal_ahead_of_line(number, way, lambda model=model: run(model))
        for signal_number, handler in way.handlers.items():
            assert signal.getsignal(signal_number) is handler, number
        assert interrupts._listener is None, number
        assert sys.unraisablehook == hook, number
        assert not threads._holders, number
        assert threads._limiter is None, number  # it was restored; asking BLAS would take 10 ms
        assert not running._running, number
        assert not running._changing._is_owned(), number
        assert getattr(model, "_under_way", None) is None, number
        if not reached:
            break
        for signal_number, handler in way.handlers.items():
            once = handler is signal.default_int_handler or calls.count(signal_number) == 1
            assert once, (number, calls)
        check(model, came, number)
        if way.error != ():
            with pytest.raises(way.error):
                raise_all(list(way.handlers))
        number += 1
    assert number > 20
    assert blas() == before


def long(*values):
    return pytest.param(*values, marks=pytest.mark.long)


@pytest.mark.parametrize(
    ("way", "dtype", "watched"),
    [
        ("Ctrl-C", None, False),
        ("time limit", None, False),
        *(long(way, None, False) for way in ("own Ctrl-C", "returns", "two")),
        *(long(way, "float32", True) for way in ("Ctrl-C", "time limit")),
    ],
)
def test_a_trainer_has_whole_epochs_and_goes_on(watched, dtype, signals):
    def make():
        return Trainer(
            [3, 4, 1], batch_size=5, optimizer="adam", seed=0, backend="numpy", dtype=dtype
        )

    arguments = {"validation_data": (X, Y), "callbacks": lambda *logs: None} if watched else {}

    def run(net):
        net.fit(X, Y, 2, **arguments)

    ref = make()
    ref.fit(X, Y, 4)

    def check(net, came, number):
        n = net.epochs_trained
        assert came or (signals.error == () and n == 2), number
        assert len(net.history.loss) == n <= 2, number
        net.fit(X, Y, 4 - n)
        assert (net.parameters == ref.parameters).all(), number
        assert (net.history.loss == ref.history.loss).all(), number

    all_lines(make, run, check, signals)


@pytest.mark.long
@pytest.mark.parametrize("way", ["Ctrl-C", "time limit"])
def test_no_thread_of_a_fit_goes_on(signals):
    inputs = np.random.default_rng(0).random((100, 70))
    targets = inputs[:, :5]

    def make():
        return Trainer([70, 40, 5], seed=0, n_threads=2, backend="numba")

    def run(net):
        net.fit(inputs, targets, 2)

    ref = make()
    ref.fit(inputs, targets, 4)

    def check(net, came, number):
        assert came, number
        assert not [thread for thread in threading.enumerate() if "jitprop" in thread.name], number
        n = net.epochs_trained
        assert len(net.history.loss) == n <= 2, number
        net.fit(inputs, targets, 4 - n)
        assert (net.parameters == ref.parameters).all(), number

    all_lines(make, run, check, signals)


@pytest.mark.parametrize("way", WAYS)
def test_predict_and_evaluate_put_blas_back(signals):
    net = Trainer([3, 4, 1], seed=0, backend="numpy")

    def run(net):
        net.predict(X)
        net.evaluate(X, Y)
        net.gradients(X, Y)

    def check(net, came, number):
        assert came == (signals.error != ()), number

    all_lines(lambda: net, run, check, signals)


@pytest.mark.long
@pytest.mark.parametrize(
    ("way", "watched"),
    [("Ctrl-C", False), ("two", False), ("returns", False), ("time limit", True)],
)
def test_a_fleet_has_whole_epochs_and_goes_on(watched, signals):
    def make():
        return Fleet([3, 4, 1], members=2, batch_size=5, optimizer="adam", seed=0, backend="numpy")

    arguments = {"validation_data": (X, Y), "callbacks": lambda *logs: None} if watched else {}

    def run(fleet):
        fleet.fit(X, Y, 2, **arguments)

    ref = make()
    ref.fit(X, Y, 4)

    def check(fleet, came, number):
        n, same = fleet.epochs_trained.tolist()
        assert came or (signals.error == () and n == 2), number
        assert n == same <= 2, number
        fleet.fit(X, Y, 4 - n)
        assert (fleet.parameters == ref.parameters).all(), number

    all_lines(make, run, check, signals)


@pytest.mark.long
@pytest.mark.parametrize(
    ("way", "kind"),
    [
        *(("Ctrl-C", kind) for kind in ("sgd", "early stopping", "lbfgs")),
        *(("time limit", kind) for kind in ("sgd", "early stopping", "lbfgs", "members")),
        ("returns", "sgd"),
    ],
)
def test_an_estimator_has_whole_epochs(kind, signals):
    labels = np.tile([0, 1], 20)
    inputs = np.random.default_rng(0).normal(size=(40, 3))
    settings = {
        "sgd": {"solver": "sgd"},
        "early stopping": {"early_stopping": True},
        "lbfgs": {"solver": "lbfgs"},
        "members": {"n_members": 2},
    }[kind]
    swallowed = kind in ("sgd", "early stopping") and signals.error is KeyboardInterrupt

    def make():
        return MLPClassifier(4, max_iter=2, random_state=0, batch_size=20, **settings)

    def run(model):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(inputs, labels)

    def check(model, came, number):
        if signals.error == ():
            assert not came, number
        elif not swallowed or not hasattr(model, "coefs_"):
            assert came, number
        if not hasattr(model, "coefs_"):
            return
        n = model.n_iter_
        if kind in ("sgd", "early stopping"):
            assert len(model.loss_curve_) == n <= 2, number
            assert model.t_ == n * (36 if kind == "early stopping" else 40), number
            for curve in (model.validation_scores_, model.validation_loss_curve_):
                assert curve is None or len(curve) == n, number
        model.predict(inputs)
        run(model)

    all_lines(make, run, check, signals)
