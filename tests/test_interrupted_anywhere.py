"""Ctrl-C ahead of each line of a fit: nothing is left half done, and none is lost."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import jitprop
from jitprop import Fleet, Trainer
from jitprop.backends import threads
from jitprop.sklearn import MLPClassifier
from jitprop.training import running

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="sends SIGINT to a process"),
    pytest.mark.skipif(sys.gettrace() is not None, reason="another tracer is at work"),
]

ROOMS = (
    "trainer", "fitting", "running", "interrupts", "threads", "state", "history", "sources",
    "telling", "watching", "fleet/fleet", "fleet/course", "fleet/blocks", "fleet/stopping",
    "fleet/state", "sklearn/base", "sklearn/course", "sklearn/descent",
)  # fmt: skip
FILES = {str(Path(jitprop.__file__).parent / f"{room}.py") for room in ROOMS}
X, Y = np.random.default_rng(0).normal(size=(12, 3)), np.tile([0.2, 0.7], 6)


@pytest.fixture(autouse=True)
def own_handler():
    """Python's own, also where the tests run with SIGINT ignored, as under nohup."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def two_blas_threads():
    with threadpool_limits(2, "blas"):
        yield


def blas():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def press_ahead_of_line(number, run):
    """
    Run, with Ctrl-C ahead of a line of the rooms, counted as they are run.

    Returns whether the line was reached, and whether KeyboardInterrupt came out.
    """
    left = number

    def line(frame, event, value):
        nonlocal left
        if event == "line":
            left -= 1
            if left == 0:
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return line

    def call(frame, event, value):
        return line if frame.f_code.co_filename in FILES else None

    came = False
    sys.settrace(call)
    try:
        run()
    except KeyboardInterrupt:
        came = True
    finally:
        sys.settrace(None)
    return left <= 0, came


def all_lines(make, run, check):
    """Do it for each line."""
    before, number = blas(), 1
    assert set(before) <= {2}
    model = make()
    run(model)  # what is imported or compiled once is there now
    while True:
        model = make()
        reached, came = press_ahead_of_line(number, lambda model=model: run(model))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, number
        assert not threads._holders, number
        assert threads._limiter is None, number  # it was put back; to ask BLAS takes 10 ms
        assert not running._running, number
        assert not running._changing._is_owned(), number
        if not reached:
            break
        check(model, came, number)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        number += 1
    assert number > 20
    assert blas() == before


@pytest.mark.parametrize(
    ("dtype", "told"), [(None, False), pytest.param("float32", True, marks=pytest.mark.long)]
)
def test_a_trainer_has_whole_epochs_and_goes_on(told, dtype):
    def make():
        return Trainer(
            [3, 4, 1], batch_size=5, optimizer="adam", seed=0, backend="numpy", dtype=dtype
        )

    arguments = {"validation_data": (X, Y), "callbacks": lambda *told: None} if told else {}

    def run(net):
        net.fit(X, Y, 2, **arguments)

    ref = make()
    ref.fit(X, Y, 4)

    def check(net, came, number):
        assert came, number
        n = net.epochs_trained
        assert len(net.history.loss) == n <= 2, number
        net.fit(X, Y, 4 - n)
        assert (net.parameters == ref.parameters).all(), number
        assert (net.history.loss == ref.history.loss).all(), number

    all_lines(make, run, check)


def test_predict_and_evaluate_put_blas_back():
    net = Trainer([3, 4, 1], seed=0, backend="numpy")

    def run(net):
        net.predict(X)
        net.evaluate(X, Y)
        net.gradients(X, Y)

    def check(net, came, number):
        assert came, number

    all_lines(lambda: net, run, check)


@pytest.mark.long
@pytest.mark.parametrize("told", [False, True])
def test_a_fleet_has_whole_epochs_and_goes_on(told):
    def make():
        return Fleet([3, 4, 1], members=2, batch_size=5, optimizer="adam", seed=0, backend="numpy")

    arguments = {"validation_data": (X, Y), "callbacks": lambda *told: None} if told else {}

    def run(fleet):
        fleet.fit(X, Y, 2, **arguments)

    ref = make()
    ref.fit(X, Y, 4)

    def check(fleet, came, number):
        assert came, number
        n, same = fleet.epochs_trained.tolist()
        assert n == same <= 2, number
        fleet.fit(X, Y, 4 - n)
        assert (fleet.parameters == ref.parameters).all(), number

    all_lines(make, run, check)


@pytest.mark.long
@pytest.mark.parametrize("early_stopping", [False, True])
def test_an_estimator_has_whole_epochs(early_stopping):
    labels = np.tile([0, 1], 20)
    inputs = np.random.default_rng(0).normal(size=(40, 3))

    def make():
        return MLPClassifier(
            4, max_iter=2, random_state=0, early_stopping=early_stopping, batch_size=20
        )

    def run(model):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(inputs, labels)

    def check(model, came, number):
        if not hasattr(model, "coefs_"):
            assert came, number
            return
        n = model.n_iter_
        assert len(model.loss_curve_) == n <= 2, number
        assert model.t_ == n * (36 if early_stopping else 40), number
        for curve in (model.validation_scores_, model.validation_loss_curve_):
            assert curve is None or len(curve) == n, number
        model.predict(inputs)
        run(model)

    all_lines(make, run, check)
