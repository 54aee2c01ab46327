"""Any number of threads gives the same bits, and BLAS keeps its number of threads."""

from __future__ import annotations

import _thread
import concurrent.futures
import concurrent.futures.thread
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from jitprop import DivergenceError, Fleet, Trainer
from jitprop.backends import prepared, threads
from nets import OPTIMIZERS, data


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


# name: (sizes, samples, batch size). Batches and wide layers have partial tiles of 32; the
# last batch is short.
ROUTES = {
    "lanes": ([5, 4, 3], 107, 50),
    "one batch": ([70, 130, 33, 5], 331, None),
    "batches": ([70, 130, 33, 5], 331, 150),
    "packed": ([9, 1030, 5], 331, None),
    "one batch in chunks": ([70, 130, 33, 5], 1300, None),
    "batches in chunks": ([70, 40, 33, 5], 1500, 700),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("route", ROUTES)
def test_bits_do_not_depend_on_the_number_of_threads(
    route, shuffle, optimizer, dtype, rng, monkeypatch
):
    monkeypatch.setattr(threads, "cores", lambda: 8)
    sizes, n_samples, batch_size = ROUTES[route]
    outputs = {"loss": "cross_entropy", "output_activation": "softmax"} if shuffle else {}
    X, y = data(sizes, n_samples, outputs.get("loss", "half_squared_error"), shuffle, rng)
    found = []
    for n_threads in (1, 2, 3, 8):
        trainer = Trainer(
            sizes,
            batch_size=batch_size,
            shuffle=shuffle,
            optimizer=OPTIMIZERS[optimizer],
            learning_rate=0.01,
            weight_decay=0.01,
            dtype=dtype,
            seed=0,
            n_threads=n_threads,
            backend="numba",
            **outputs,
        )
        loss = trainer.fit(X, y, 3).loss
        found.append(np.concatenate([loss, trainer.parameters, trainer._model.state.slots.ravel()]))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("batch_size", [None, 700])
def test_divergence_in_chunks_leaves_the_last_good_epoch(batch_size, n_threads, rng):
    X, y = data([70, 5], 1500, "half_squared_error", False, rng)
    trainers = [
        Trainer(
            [70, 5], output_activation="identity", learning_rate=1e9,
            batch_size=batch_size, seed=0, n_threads=n_threads, backend=backend,
        )
        for backend in ("numpy", "numba")
    ]  # fmt: skip
    errors = []
    for trainer in trainers:
        with pytest.raises(DivergenceError) as caught:
            trainer.fit(X, y, 1000)
        errors.append(caught.value)
    ref, comp = errors
    assert comp.kept_epochs == trainers[1].epochs_trained == ref.kept_epochs > 1
    assert comp.epoch == ref.epoch
    np.testing.assert_allclose(comp.history.loss, ref.history.loss, rtol=1e-9)
    np.testing.assert_allclose(trainers[1].parameters, trainers[0].parameters, rtol=1e-6)


def test_threads_agree_on_divergence(rng):
    X, y = data([70, 5], 200, "half_squared_error", False, rng)
    X[150] = 1e200  # a sample in the third tile
    trainer = Trainer([70, 40, 5], activation="relu", n_threads=4, seed=0, output_activation="relu")
    with pytest.raises(ArithmeticError, match="epoch 0"):
        trainer.fit(X, y, 5)


def test_fits_in_threads_at_once_are_right_and_blas_is_put_back(rng):
    X, y = data([70, 5], 200, "half_squared_error", False, rng)

    def fit(seed):
        trainer = Trainer([70, 40, 5], seed=seed, n_threads=2, batch_size=100)
        trainer.fit(X, y, 5)
        return trainer.parameters

    expected = [fit(seed) for seed in range(6)]
    with threadpool_limits(2, "blas"):
        before = blas_threads()
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(fit, range(6)))
        assert blas_threads() == before
    np.testing.assert_array_equal(found, expected)


def test_blas_is_held_to_one_thread_during_a_fit_and_put_back(rng):
    X, y = data([3, 2], 8, "half_squared_error", False, rng)
    seen = []

    def order(epoch):
        seen.append(blas_threads())
        if epoch == 1:
            raise KeyboardInterrupt
        return np.arange(8)

    with threadpool_limits(2, "blas"):
        before = blas_threads()
        with pytest.raises(KeyboardInterrupt):
            Trainer([3, 2], seed=0, backend="numpy").fit(X, y, 2, order=order)
        assert blas_threads() == before
    assert set(np.ravel(seen)) == {1}


def test_small_work_and_limited_pools_get_one_thread(monkeypatch):
    monkeypatch.setattr(threads, "available", lambda: 8)
    monkeypatch.setattr(threads, "cores", lambda: 16)
    long = threads.START
    assert threads.choose(None, 2 * threads.SHARE - 1, long, 100) == 1
    assert threads.choose(None, 2 * threads.SHARE, long, 100) == 2
    assert threads.choose(None, 100 * threads.SHARE, long, 100) == 8
    assert threads.choose(None, 100 * threads.SHARE, long, 3) == 3  # never more threads than parts
    assert threads.choose(None, 2 * threads.SHARE, 1, 100) == 1  # starting threads would cost more
    assert threads.choose(4, 1, 1, 100) == 4
    assert threads.choose(4, 1, 1, 1) == 1
    assert threads.choose(99, 1, 1, 100) == 16
    monkeypatch.undo()
    with threadpool_limits(1, "blas"):
        assert threads.available() == 1


LIMITED = "can't start new thread"
ENDING = "can't create new thread at interpreter shutdown"


def let_start(monkeypatch, n, message=LIMITED):
    """Let only n more threads start, as in a container with a limit or while Python exits."""
    left, started = iter(range(n)), threading.Thread.start

    def start(self):
        if next(left, None) is None:
            raise RuntimeError(message)
        started(self)

    monkeypatch.setattr(threading.Thread, "start", start)


@pytest.mark.parametrize("message", [LIMITED, ENDING])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_all_threads_run_or_none(n, message, monkeypatch):
    ran = []
    let_start(monkeypatch, n, message)
    with pytest.raises(threads.NoThreadError, match=message):
        threads.Team(3).run(3, lambda rank: ran.append(rank) or 0)
    assert ran == []


def test_no_thread_runs_when_those_of_python_have_ended(monkeypatch):
    ran, team = [], threads.Team(2)
    assert team.run(2, lambda rank: 7) == 7
    monkeypatch.setattr(concurrent.futures.thread, "_shutdown", True)
    for made in team, threads.Team(2):
        with pytest.raises(threads.NoThreadError, match="after interpreter shutdown"):
            made.run(2, lambda rank: ran.append(rank) or 0)
    assert ran == []


def test_an_error_of_a_handler_is_none_of_the_threads(monkeypatch):
    def handler(*arguments):
        raise RuntimeError("can't start new thread")

    def submit(*arguments):
        signal.raise_signal(signal.SIGINT)
        return plain_submit(*arguments)

    plain_submit = ThreadPoolExecutor.submit
    before = signal.signal(signal.SIGINT, handler)
    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
    try:
        with pytest.raises(RuntimeError) as caught:
            threads.Team(2).run(2, lambda rank: rank)
    finally:
        signal.signal(signal.SIGINT, before)
    assert type(caught.value) is RuntimeError


LATE = """
import atexit, concurrent.futures.thread, threading, time
import numpy as np
from jitprop import Fleet, Trainer
from jitprop.backends import prepared, threads

threads.cores = lambda: 8
prepared.LONG = 0  # trains this net in a thread, so that the main one handles Ctrl-C
X = np.random.default_rng(0).random((256, 70))

def fit(n_threads):
    trainer = Trainer([70, 40, 70], seed=0, n_threads=n_threads, backend="numba")
    trainer.fit(X, X, 2)
    fleet = Fleet([70, 8, 70], members=2, seed=0, n_threads=n_threads, backend="numba")
    fleet.fit(X, X, 2)
    return np.concatenate([trainer.parameters, fleet.parameters.ravel()])

expected = fit(2)

def late(*_):
    while not concurrent.futures.thread._shutdown:  # until the main thread has ended
        time.sleep(0.01)
    for n_threads in (1, 2, None):
        assert (fit(n_threads) == expected).all()
    print("done", flush=True)

WHERE
"""


@pytest.mark.parametrize(
    "where", ["atexit.register(late)", "threading.Thread(target=late).start()"]
)
def test_a_fit_while_python_shuts_down_trains_in_the_calling_thread(where):
    command = [sys.executable, "-c", LATE.replace("WHERE", where)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert (run.stdout, run.stderr) == ("done\n", "")


@pytest.mark.parametrize("message", [LIMITED, ENDING])
@pytest.mark.parametrize("n", [0, 1])
def test_where_no_thread_can_be_started_one_trains(n, message, rng, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 8)
    sizes, n_samples, batch_size = ROUTES["batches"]
    X, y = data(sizes, n_samples, "half_squared_error", False, rng)

    def fit(n_threads):
        trainer = Trainer(
            sizes, batch_size=batch_size, seed=0, n_threads=n_threads, backend="numba"
        )
        trainer.fit(X, y, 3)
        return trainer.parameters

    ref = fit(3)
    let_start(monkeypatch, n, message)
    np.testing.assert_array_equal(fit(3), ref)


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("batch_size", [4, 64])
def test_where_no_thread_can_be_started_one_trains_a_fleet(n, batch_size, rng, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 8)
    X, y = data([5, 1], 200, "half_squared_error", False, rng)

    def fit():
        fleet = Fleet(
            [5, 4, 1], members=40, seed=0, batch_size=batch_size, n_threads=3, backend="numba"
        )
        fleet.fit(X, y, 30)
        return fleet.predict(X)

    ref = fit()
    let_start(monkeypatch, n)
    np.testing.assert_array_equal(fit(), ref)


def test_threads_that_take_turns_are_not_used(rng, monkeypatch):
    """With gevent's monkey.patch_all, a thread that waits for another would wait for ever."""
    monkeypatch.setattr(_thread, "start_new_thread", lambda *arguments: 0)
    assert not threads.real()
    assert threads.cores() == threads.available() == 1
    assert threads.choose(8, 1e9, 1e9, 100) == 1
    monkeypatch.setattr(ThreadPoolExecutor, "submit", None)
    monkeypatch.setattr(threading.Thread, "start", None)
    monkeypatch.setattr(prepared, "LONG", 0)
    X, y = data([70, 5], 200, "half_squared_error", False, rng)
    Trainer([70, 40, 5], seed=0, n_threads=2, backend="numba").fit(X, y, 5)


@pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="needs gevent")
def test_a_fit_under_gevent_ends(rng):
    script = """
from gevent import monkey
monkey.patch_all()
import numpy as np
from jitprop import Fleet, Trainer
X = np.random.default_rng(0).normal(size=(2000, 70))
trainer = Trainer([70, 400, 5], seed=0, n_threads=2, backend="numba")
trainer.fit(X, X[:, :5], 2)
Fleet([70, 4, 5], members=40, seed=0, batch_size=8, n_threads=2).fit(X, X[:, :5], 2)
print(trainer.epochs_trained)
"""
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert run.stdout == "2\n", run.stderr


def test_threads_end_with_the_fit(rng):
    X, y = data([70, 5], 200, "half_squared_error", False, rng)
    before = set(threading.enumerate())
    Trainer([70, 40, 5], seed=0, n_threads=2, backend="numba").fit(X, y, 5)
    assert set(threading.enumerate()) <= before  # threads of other tests may end meanwhile


def test_a_second_ctrl_c_waits_for_the_threads_too(monkeypatch):
    done = []

    def slow(rank):
        time.sleep(0.3)
        done.append(rank)
        return 0

    def handler(*arguments):
        raise KeyboardInterrupt

    plain_wait = concurrent.futures.wait

    def pressed(futures, timeout=None):
        signal.raise_signal(signal.SIGINT)
        return plain_wait(futures, timeout)

    before = signal.signal(signal.SIGINT, handler)
    monkeypatch.setattr(concurrent.futures, "wait", pressed)
    try:
        with pytest.raises(KeyboardInterrupt):
            threads.Team(2).run(2, slow)
    finally:
        signal.signal(signal.SIGINT, before)
    assert sorted(done) == [0, 1]


def test_a_container_gets_its_share(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    for text, cores in (("max 100000", 64), ("200000 100000", 2), ("50000 100000", 1), ("", 64)):
        monkeypatch.setattr(threads.Path, "read_text", lambda self, text=text: text)
        assert threads.cores() == cores


def test_disturbed_threads_give_way_to_one_where_that_is_quicker():
    def sizes(n, one, busy):
        team, taken = threads.Team(n), []
        for _ in range(2 * threads.TRIAL):
            taken.append(team.size())
            team.record(taken[-1], {1: one, n: 1.0}[taken[-1]], busy)
        return taken

    assert set(sizes(4, one=0.5, busy=3.9)) == {4}  # if undisturbed, one thread is never tried
    slowed = sizes(4, one=0.5, busy=2.0)
    assert slowed[:5] == [4, 4, 4, 4, 1]
    assert [i + 1 for i, n in enumerate(slowed) if n == 4][4:] == [threads.TRIAL, 2 * threads.TRIAL]
    assert sizes(4, one=2.0, busy=2.0).count(1) == 3  # one thread is tried and dropped
    assert set(sizes(1, one=1.0, busy=0.5)) == {1}
